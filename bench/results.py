"""Saved results of the suites: what is kept of pytest-benchmark's JSON, and how it is read.

Needs the standard library alone.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ResultError(ValueError):
    """The file holds no results that something could be made of."""


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    q1: float
    median: float
    q3: float

    @classmethod
    def of(cls, saved: dict[str, Any], share: float = 1.0) -> "Spread":
        """Return what is saved under those names, times a share."""
        return cls(*(share * float(saved[name]) for name in ("q1", "median", "q3")))


@dataclass(frozen=True)
class Rival:
    """One that ran in turns with ours: its seconds, and round by round its time over ours."""

    seconds: Spread
    ratio: Spread


@dataclass(frozen=True)
class Result:
    """One benchmark: what was timed, and the seconds of one call.

    ``case`` is the net or the kernel; ``samples`` are the examples that a call handles; ``flops``
    and ``bytes`` are the work that it can't do without, as far as it is known; ``absent`` says who
    could not run, and why.
    """

    name: str
    suite: str
    case: str
    batch: int
    dtype: str
    backend: str
    device: str
    samples: int
    seconds: Spread
    rivals: dict[str, Rival] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Saved:
    """A file of results, and what it says of the machine."""

    results: list[Result]
    machine: dict[str, Any]


def read(path: str | Path) -> Saved:
    """Read what run.py or ``pytest bench --benchmark-json`` has written.

    Raises
    ------
    ResultError
        If it can't be read, is not JSON, or holds no benchmark of these suites.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is not JSON ({error}): was the run broken off?") from error
    try:
        results = [_result(b) for b in saved["benchmarks"] if "suite" in b["extra_info"]]
        machine = dict(saved["machine_info"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path} is not as pytest --benchmark-json writes it ({type(error).__name__}: {error})"
        ) from error
    if not results:
        raise ResultError(f"{path} holds no benchmark: was every one skipped?")
    return Saved(results, machine)


def _result(benchmark: dict[str, Any]) -> Result:
    about = benchmark["extra_info"]
    return Result(
        name=str(benchmark["name"]),
        suite=str(about["suite"]),
        case=str(about.get("net") or about["kernel"]),
        batch=int(about["batch"]),
        dtype=str(about["dtype"]),
        backend=str(about["backend"]),
        device=str(about["device"]),
        samples=int(about["samples"]),
        # A race times several steps at once, and says how many.
        seconds=Spread.of(benchmark["stats"], 1.0 / about.get("steps", 1)),
        rivals={
            str(name): Rival(Spread.of(found), Spread.of(found["ratio"]))
            for name, found in about.get("rivals", {}).items()
        },
        absent=dict(about.get("absent", {})),
        flops=float(about.get("flops", 0.0)),
        bytes=float(about.get("bytes", 0.0)),
    )


#: What is kept of each benchmark's statistics.
STATISTICS = ("min", "q1", "median", "q3", "rounds", "iterations")


def kept(saved: dict[str, Any]) -> dict[str, Any]:
    """Return what is worth keeping of pytest-benchmark's JSON: no single values."""
    return {
        "machine_info": saved["machine_info"],
        "commit": {key: saved["commit_info"].get(key) for key in ("id", "dirty")},
        "datetime": saved["datetime"],
        "benchmarks": [
            {
                "name": benchmark["name"],
                "extra_info": _short(benchmark["extra_info"]),
                "stats": {name: _short(benchmark["stats"][name]) for name in STATISTICS},
            }
            for benchmark in saved["benchmarks"]
        ],
    }


def _short(value: Any) -> Any:
    """Return numbers to five figures: more would be noise."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def write(path: Path, text: str) -> None:
    """Write a file so that there is never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def as_json(saved: dict[str, Any]) -> str:
    """Return JSON with one benchmark in a line."""
    head = json.dumps({k: v for k, v in saved.items() if k != "benchmarks"}, indent=1)
    lines = ",\n  ".join(json.dumps(b, ensure_ascii=False) for b in saved["benchmarks"])
    return f'{head[:-2]},\n "benchmarks": [\n  {lines}\n ]\n}}\n'


def markdown(rows: Iterable[Iterable[str]], left: int) -> str:
    """Return a Markdown table; so many columns go to the left, the others hold numbers."""
    head, *rest = (list(row) for row in rows)
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rest))


def figures(value: float) -> str:
    """Return a number to three figures: more would be noise."""
    rounded = float(f"{value:.3g}")
    decimals = 0 if rounded >= 100 else 1 if rounded >= 10 else 2
    return f"{rounded:,.{decimals}f}"
