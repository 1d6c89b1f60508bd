"""Compare two saved results, and fail if something has become slower beyond the noise.

::

    python bench/compare.py old.json new.json

A benchmark is slower if the lower quartile of its new times lies above the upper quartile of the
old ones, by more than the tolerance. Machines drift between runs: who ran in both as a rival, with
code that has not changed, shows by how much. Exit status: 0, or 1 if something is slower, or 2 if
the files can't be compared. Needs the standard library alone.
"""

import argparse
import math
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from results import Result, ResultError, Saved, figures, markdown, read

SLOWER, FASTER, SAME = "SLOWER", "faster", "as before"


@dataclass(frozen=True)
class Change:
    """One benchmark in both files."""

    old: Result
    new: Result

    @property
    def ratio(self) -> float:
        """The new median over the old one."""
        old, new = self.old.seconds.median, self.new.seconds.median
        return new / old if old else math.nan

    def verdict(self, tolerance: float) -> str:
        """Say whether it has changed beyond the noise of both and the tolerance."""
        old, new = self.old.seconds, self.new.seconds
        if new.q1 > old.q3 * (1.0 + tolerance):
            return SLOWER
        return FASTER if new.q3 * (1.0 + tolerance) < old.q1 else SAME


def changes(old: Saved, new: Saved) -> list[Change]:
    """Return the benchmarks that are in both.

    Raises
    ------
    ResultError
        If there are none.
    """
    before = {r.name: r for r in old.results}
    found = [Change(before[r.name], r) for r in new.results if r.name in before]
    if not found:
        raise ResultError("the files have no benchmark in common")
    return found


def table(found: list[Change], tolerance: float) -> str:
    """Return all changes as a Markdown table."""
    rows = [["benchmark", "verdict", "old, µs", "new, µs", "new / old"]]
    for change in found:
        times = (figures(r.seconds.median * 1e6) for r in (change.old, change.new))
        rows.append([change.new.name, change.verdict(tolerance), *times, f"{change.ratio:.2f}"])
    return markdown(rows, left=2)


def warnings(old: Saved, new: Saved) -> list[str]:
    """Return what makes the two files hard to compare, in words."""
    found = [
        f"{name} differ: {a} and {b}"
        for name, a, b in zip(
            ("machines", "devices", "BLAS", "threads", "versions"),
            _circumstances(old.machine),
            _circumstances(new.machine),
            strict=True,
        )
        if a != b
    ]
    names = [{r.name for r in saved.results} for saved in (old, new)]
    for which, only in (("old", names[0] - names[1]), ("new", names[1] - names[0])):
        if only:
            found.append(f"only in the {which} file: {len(only)} benchmarks, as {min(only)}")
    return found


def _circumstances(machine: dict[str, Any]) -> list[Any]:
    cpu = (machine.get("cpu") or {}).get("brand_raw"), machine.get("cores")
    devices = [device.get("name") for device in machine.get("devices") or []]
    versions = {"python": machine.get("python_version"), **(machine.get("versions") or {})}
    return [cpu, devices, machine.get("blas"), machine.get("threads"), versions]


def drift(found: list[Change]) -> str | None:
    """Return in words how the rivals' times have changed between the runs."""
    ratios: dict[str, list[float]] = {}
    for change in found:
        for name in change.old.rivals.keys() & change.new.rivals.keys():
            old, new = (r.rivals[name].seconds.median for r in (change.old, change.new))
            if change.new.suite == "rivals" and old:
                ratios.setdefault(name, []).append(new / old)
    words = [f"{name} {statistics.median(values):.2f}" for name, values in sorted(ratios.items())]
    return f"new / old of the rivals, medians: {', '.join(words)}" if words else None


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def main(arguments: list[str] | None = None) -> int:
    """Print what has changed; return the exit status."""
    parser = argparse.ArgumentParser(
        description="compare two results; exit with 1 if something is slower beyond the noise"
    )
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument(
        "--tolerance",
        metavar="SHARE",
        default="0.1",
        help="how much slower is still no regression, beside the noise (default: 0.1)",
    )
    options = parser.parse_args(arguments)
    try:
        tolerance = _tolerance(options.tolerance)
    except ValueError:
        print(
            f"compare.py: --tolerance is {options.tolerance}: give a share, as 0.1", file=sys.stderr
        )
        return 2
    try:
        old, new = read(options.old), read(options.new)
        found = changes(old, new)
    except ResultError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    for warning in warnings(old, new):
        print(f"compare.py: warning: {warning}", file=sys.stderr)
    print(table(found, tolerance))
    if (words := drift(found)) is not None:
        print(words)
    verdicts = [change.verdict(tolerance) for change in found]
    counts = [f"{verdicts.count(v)} {v}" for v in (SLOWER, FASTER, SAME)]
    print(f"{len(found)} benchmarks: {', '.join(counts)}")
    return 1 if SLOWER in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
