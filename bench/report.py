"""Turn results of the throughput suite into a Markdown table.

::

    OPENBLAS_NUM_THREADS=1 pytest bench --benchmark-json=step.json
    python bench/report.py step.json

A row is a net and a batch size; each backend has the median time of a step, and the samples per
second that follow from it. Where there are two, the last column is how many times as fast the
second is. Needs the standard library alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOTHING = "–"


class ReportError(ValueError):
    """The file holds no results that a table could be made of."""


@dataclass(frozen=True)
class Timing:
    """One benchmark: what was timed, and the median time of a step in seconds."""

    net: str
    batch: int
    backend: str
    device: str
    seconds: float


def read(path: str | Path) -> tuple[list[Timing], dict[str, Any]]:
    """Return the timings in a pytest-benchmark JSON file, and what it says of the machine.

    Raises
    ------
    ReportError
        If it can't be read, is not JSON, or holds no benchmark of a step.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ReportError(f"{path} is not JSON ({error}): was the run broken off?") from error
    try:
        timings = [_timing(b) for b in saved["benchmarks"] if "net" in b["extra_info"]]
        machine = dict(saved["machine_info"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{path} is not as pytest --benchmark-json writes it ({type(error).__name__}: {error})"
        ) from error
    if not timings:
        raise ReportError(f"{path} holds no benchmark of a step: was every one skipped?")
    return timings, machine


def _timing(benchmark: dict[str, Any]) -> Timing:
    about = benchmark["extra_info"]
    return Timing(
        str(about["net"]),
        int(about["batch"]),
        str(about["backend"]),
        str(about["device"]),
        float(benchmark["stats"]["median"]),
    )


def table(timings: Sequence[Timing]) -> str:
    """Return the timings as a Markdown table, nets and backends in the order they were run in."""
    found = {(t.net, t.batch, t.backend): t.seconds for t in timings}
    nets = list(dict.fromkeys(t.net for t in timings))
    backends = list(dict.fromkeys(t.backend for t in timings))
    heads = ["net", "batch"]
    for backend in backends:
        heads += [f"{backend}, µs a step", "samples/s"]
    if len(backends) == 2:
        heads.append("speed-up")
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for index, batch in sorted({(nets.index(t.net), t.batch) for t in timings}):
        row = [nets[index], str(batch)]
        seconds = [found.get((nets[index], batch, backend)) for backend in backends]
        for s in seconds:
            row += [NOTHING if s is None else _figures(s * 1e6), _quotient(batch, s)]
        if len(backends) == 2:
            row.append(_quotient(*seconds))
        rows.append(row)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _quotient(a: float | None, b: float | None) -> str:
    """Return a / b; a dash if one is missing, or b is a time too short for the clock."""
    return NOTHING if a is None or not b else _figures(a / b)


def _figures(value: float) -> str:
    """Return a number to three figures: more would be noise."""
    rounded = float(f"{value:.3g}")
    decimals = 0 if rounded >= 100 else 1 if rounded >= 10 else 2
    return f"{rounded:,.{decimals}f}"


def place(timings: Sequence[Timing], machine: dict[str, Any]) -> str:
    """Return a Markdown list of where, and with what, the timings were taken."""
    lines = list(dict.fromkeys(t.device for t in timings))
    cpu = machine.get("cpu") or {}
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    lines.append(", ".join(filter(None, (cpu.get("brand_raw"), cores, machine.get("blas")))))
    versions = {"Python": machine.get("python_version"), **(machine.get("versions") or {})}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    return "".join(f"- {line}\n" for line in lines if line)


def report(path: str | Path) -> str:
    """Return the whole report on a results file, in Markdown."""
    timings, machine = read(path)
    return (
        "One training step (float32, Adam) on a batch that is on the device already; medians.\n\n"
        f"{place(timings, machine)}\n{table(timings)}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the report on a file."""
    parser = argparse.ArgumentParser(description="results of pytest bench as a Markdown table")
    parser.add_argument("json", help="what pytest bench --benchmark-json=… has written")
    path = parser.parse_args(arguments).json
    try:
        text = report(path)
    except ReportError as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
