"""How much memory a data set may take: what needs more lies in temporary files."""

from __future__ import annotations

import re
from pathlib import Path

#: The share of what is free that one copy of a data set may take.
SHARE = 4

#: Bytes that are free, where the system does not say.
UNKNOWN = 4 * 2**30

_allowed: int | None = None


def allow(n_bytes: int | None) -> None:
    """Set how much memory data may take in all; None: as much as the machine has free."""
    global _allowed
    _allowed = n_bytes


def fits(n_bytes: int) -> bool:
    """Return whether an array or table may be held in memory.

    Examples
    --------
    >>> allow(2**20)
    >>> fits(2**20 // SHARE), fits(2**20)
    (True, False)
    >>> allow(None)
    """
    return n_bytes <= (free() if _allowed is None else _allowed) // SHARE


def free() -> int:
    """Return how many bytes the machine has free, and a control group allows."""
    found = [_available(), *(_left(Path(group)) for group in _groups())]
    return min((n for n in found if n is not None), default=UNKNOWN)


def _available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _groups() -> list[str]:
    """Return the folder of this process's control group, and of those that it is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None:
        return []
    place = Path("/sys/fs/cgroup") / own.lstrip("/")
    root = Path("/sys/fs/cgroup")
    return [str(p) for p in (place, *place.parents) if p == root or root in p.parents]


def _left(group: Path) -> int | None:
    """Return how many bytes a control group leaves; None if it has no limit."""
    try:
        limit, used = (
            (group / f"memory.{name}").read_text("ascii").strip() for name in ("max", "current")
        )
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))
