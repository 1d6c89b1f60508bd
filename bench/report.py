"""Turn saved results of the suites into Markdown tables.

::

    OPENBLAS_NUM_THREADS=1 pytest bench --benchmark-json=all.json
    python bench/report.py all.json

A row is a net or kernel, a dtype and a batch size. Where backends stand side by side, each has the
median time and the samples per second that follow from it, and with two of them the last column is
how many times as fast the second is. Races have a table for each backend. Needs the standard
library alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from results import Result, ResultError, Saved, Spread, figures, markdown, read

NOTHING = "–"

TITLES = {
    "ceilings": "Ceilings: what the machine can do at most",
    "step": "Training steps: `Trainer.step` with Adam, the batch on the device already",
    "epoch": "Epochs: `Trainer.fit`, with checks, shuffling and feeding",
    "predict": "Prediction: `Network.predict_proba`",
    "answers": "Answers: `Network.predict_proba` against others",
    "kernels": "Kernels: the backend's own against the reference",
    "rivals": "Rivals: one training step",
    "members": "Members: one training step of many networks, which share the batch",
    "tabm": "Members that share weights: one training step of TabM, 32 members, with AdamW",
    "fits": "Fits of the estimators: 20 epochs with scikit-learn's parameters",
    "estimators": "Predictions of the estimators: 64 or 10 columns, 128 and 64 hidden units",
}
RATIOS = (
    "A ratio is the other's time over ours in the same round, median (quartiles): above 1 ours is "
    "faster.\n\n"
)
#: What the last table says.
FLOORS = (
    "\nThe floor of a step is its products at the rate of large ones, or one pass over parameters "
    "and moments at the rate of copies, whichever takes longer.\n\n"
)


def report(saved: Saved) -> str:
    """Return the whole report, in Markdown."""
    parts = ["# Benchmarks\n", f"Medians.\n\n{place(saved)}"]
    for suite in dict.fromkeys(r.suite for r in saved.results):
        results = [r for r in saved.results if r.suite == suite]
        parts.append(f"## {TITLES.get(suite, suite)}\n")
        if suite == "ceilings":
            parts.append(ceilings(results))
        elif any(r.rivals for r in results):
            parts.append(races(results))
        else:
            parts.append(table(results))
        if suite in ("step", "rivals"):
            parts.append(floors(results, rates(saved.results)))
    return "\n".join(filter(None, parts))


def ceilings(results: Sequence[Result]) -> str:
    """Return the rates of large products and of copies."""
    rows = [["", "dtype", "on", "GFLOP/s", "GB/s"]]
    for r in results:
        row = [f"{r.case}, {r.batch:,}", r.dtype, r.backend]
        rows.append(row + [_over(x or None, r.seconds.median * 1e9) for x in (r.flops, r.bytes)])
    return markdown(rows, left=3)


def rates(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """Return operations per second by backend and dtype, and bytes by backend and "copy"."""
    found = {}
    for r in results:
        if r.suite == "ceilings" and r.seconds.median:
            key = r.backend, "copy" if r.case == "copy" else r.dtype
            found[key] = (r.flops or r.bytes) / r.seconds.median
    return found


def floors(results: Sequence[Result], rate: dict[tuple[str, str], float]) -> str:
    """Return how near each step comes to what the ceilings allow; nothing where there are none."""
    rows = [["net", "dtype", "batch", "on", "GFLOP/s", "of the products' rate", "of the floor"]]
    for r in results:
        products, copying = rate.get((r.backend, r.dtype)), rate.get((r.backend, "copy"))
        if not (r.flops and products and copying and r.seconds.median):
            continue
        floor, done = max(r.flops / products, r.bytes / copying), r.flops / r.seconds.median
        shares = (f"{share:.0%}" for share in (done / products, floor / r.seconds.median))
        rows.append([r.case, r.dtype, str(r.batch), r.backend, figures(done / 1e9), *shares])
    return FLOORS + markdown(rows, left=2) if len(rows) > 1 else ""


def _rows(results: Sequence[Result]) -> dict[tuple[str, str, int], dict[str, Result]]:
    """Return the results by case, dtype and batch, and then by backend: in the order they ran."""
    cases = list(dict.fromkeys(r.case for r in results))
    dtypes = list(dict.fromkeys(r.dtype for r in results))
    found: dict[tuple[str, str, int], dict[str, Result]] = {}
    for r in sorted(results, key=lambda r: (cases.index(r.case), dtypes.index(r.dtype), r.batch)):
        found.setdefault((r.case, r.dtype, r.batch), {})[r.backend] = r
    return found


def _backends(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(r.backend for r in results))


def table(results: Sequence[Result]) -> str:
    """Return the times of one suite, backends side by side."""
    backends = _backends(results)
    heads = ["net", "dtype", "batch"]
    for backend in backends:
        heads += [f"{backend}, µs", "samples/s"]
    two = len(backends) == 2
    rows = [heads + ["speed-up"] * two]
    for (case, dtype, batch), by in _rows(results).items():
        row = [case, dtype, str(batch)]
        for r in map(by.get, backends):
            row += [NOTHING] * 2 if r is None else [_micro(r), _over(r.samples, r.seconds.median)]
        if two:
            a, b = (by[k].seconds.median if k in by else None for k in backends)
            row.append(_over(a, b))
        rows.append(row)
    return markdown(rows, left=2)


def races(results: Sequence[Result]) -> str:
    """Return for each backend a table of ours and the rivals' ratios to it."""
    parts = [RATIOS]
    for backend in _backends(results):
        own = [r for r in results if r.backend == backend]
        names = list(dict.fromkeys(name for r in own for name in r.rivals))
        rows = [["on " + backend, "dtype", "batch", "ours, µs", *names]]
        for (case, dtype, batch), by in _rows(own).items():
            r = by[backend]
            ratios = [_ratio(r.rivals[k].ratio) if k in r.rivals else NOTHING for k in names]
            rows.append([case, dtype, str(batch), _micro(r), *ratios])
        parts.append(markdown(rows, left=2) + "\n")
        absent = dict.fromkeys(f"{k}: {why}" for r in own for k, why in r.absent.items())
        parts += [f"Left out where there is a dash: {'; '.join(absent)}.\n\n"] * bool(absent)
    return "".join(parts).rstrip("\n") + "\n"


def _ratio(ratio: Spread) -> str:
    return f"{figures(ratio.median)} ({figures(ratio.q1)}–{figures(ratio.q3)})"


def _micro(result: Result) -> str:
    return figures(result.seconds.median * 1e6)


def _over(a: float | None, b: float | None) -> str:
    """Return a / b; a dash if one is missing, or b is a time too short for the clock."""
    return NOTHING if a is None or not b else figures(a / b)


def place(saved: Saved) -> str:
    """Return a Markdown list of where, and with what, the times were taken."""
    machine = saved.machine
    lines = list(dict.fromkeys(r.device for r in saved.results))
    cpu = machine.get("cpu") or {}
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    lines.append(", ".join(filter(None, (cpu.get("brand_raw"), cores, machine.get("blas")))))
    if machine.get("threads"):
        lines.append(f"threads that everyone may use on the CPU: {machine['threads']}")
    versions = {"Python": machine.get("python_version"), **(machine.get("versions") or {})}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    lines.append(machine.get("note") or "")
    return "".join(f"- {line}\n" for line in lines if line)


def main(arguments: list[str] | None = None) -> int:
    """Print the report on a file."""
    parser = argparse.ArgumentParser(description="results of the suites as Markdown tables")
    parser.add_argument(
        "json", type=Path, help="what bench/run.py or pytest bench --benchmark-json=… has written"
    )
    try:
        text = report(read(parser.parse_args(arguments).json))
    except ResultError as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
