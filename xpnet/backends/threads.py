"""The threads that BLAS computes products with: how many there are, may be, and a limit of them.

The compiled kernels and NumPy's own loops run on the thread that calls them; it is the products of
matrices alone that several threads share.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..checks import check_count
from ..interrupts import defer_sigint
from ..locks import ForkSafeLock, defer_fork
from ..warning import warn
from .blas import blas, pools_of_numpy, threads_in_words

#: Where Linux tells of control groups, which containers and batch systems make.
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many cores this process may use: of its affinity, and of a container's share.

    Logical ones, as the system counts them. Of a share of 1.5 cores it is 2.

    Examples
    --------
    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    found, share = len(affinity()), _share(GROUPS, OWN_GROUP)
    return found if share == math.inf else max(1, min(found, math.ceil(share)))


def affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return list(range(os.cpu_count() or 1))


def _share(groups: Path, own: Path) -> float:
    """Return how many cores' time control groups leave to this process; infinite: they don't say.

    Version 2 has "QUOTA PERIOD" in microseconds in ``cpu.max`` of the group and of those around it,
    version 1 a file for each.
    """
    least = math.inf
    for folder in _folders(groups, own):
        try:
            quota, period = map(float, (folder / "cpu.max").read_text("ascii").split())
        except (OSError, ValueError):  # "max" means no limit
            continue
        least = min(least, quota / period)
    try:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = (float((groups / "cpu" / name).read_text("ascii")) for name in names)
    except (OSError, ValueError):
        return least
    return min(least, quota / period) if quota > 0 else least


def _folders(groups: Path, own: Path) -> list[Path]:
    """Return the folder of this process's control group, and those around it."""
    try:
        lines = own.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return [groups]
    folder = next(
        (groups / line[3:].strip("/") for line in lines if line.startswith("0::")), groups
    )
    return [place for place in (folder, *folder.parents) if place.is_relative_to(groups)]


def count_threads() -> int | None:
    """Return how many threads NumPy's BLAS computes with; None: it is one that does not tell.

    Examples
    --------
    >>> with limit_threads(1):
    ...     count_threads()
    1
    """
    return max((pool["num_threads"] for pool in pools_of_numpy()), default=None)


def check_threads(threads: Any, name: str = "threads") -> int:
    """Return a number of threads, or raise an error if it is none, or more than there are cores."""
    n, most = check_count(threads, name), cores()
    if n > most:
        some = f"{most} cores" if most > 1 else "one core"
        other = f"1 to {most}" if most > 1 else "1"
        raise ValueError(f"{name} is {n}: this process may use {some}; give {other}")
    return n


class _Limits:
    """The limits that hold, the newest last, and what the libraries had before the first one."""

    def __init__(self) -> None:
        self._turn = ForkSafeLock()
        self._limits: list[list[int]] = []
        self._before: dict[str, int] = {}

    @defer_sigint()
    def enter(self, limit: list[int]) -> int | None:
        """Have a limit hold, which is an object of its own; return how many threads BLAS has."""
        with self._turn.lock:
            self._limits.append(limit)
            self._apply()
            return count_threads()

    @defer_sigint()
    def leave(self, limit: list[int]) -> None:
        """Have the newest of the other limits hold, or what there was before all of them.

        Where the limit does not hold yet, all stays as it is.
        """
        with self._turn.lock:
            self._limits = [other for other in self._limits if other is not limit]
            self._apply()

    @defer_fork()
    def _apply(self) -> None:
        import threadpoolctl

        libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
        for library in libraries:
            if self._limits:
                self._before.setdefault(library.filepath, library.num_threads)
                _set(library, self._limits[-1][0])
            elif library.filepath in self._before:
                _set(library, self._before[library.filepath])
        if not self._limits:
            self._before.clear()
        blas.cache_clear()  # on one thread products are computed in other blocks


def _set(library: Any, threads: int) -> None:
    """Give a library of threadpoolctl's a number of threads, whichever thread gave it the last.

    Of OpenBLAS threadpoolctl 3.8 hears the thread alone that was first, until that says it is done.
    Here they take turns.
    """
    done = getattr(library, "clear_controlling_thread", lambda force: None)
    done(force=True)
    library.set_num_threads(threads)
    done(force=True)


_limits = _Limits()


@contextmanager
def limit_threads(threads: int | None) -> Iterator[None]:
    """Return a context in which BLAS computes with so many threads, and as before afterwards.

    That takes effect for the whole process: of limits that overlap, be they within each other or in
    several threads, the one that was entered last holds until it is left. So enter it before
    threads are started that compute. A BLAS that is loaded within it, as SciPy brings one, is not
    limited. Results may differ between numbers of threads, by rounding.

    More threads pay in large products alone. Where other work shares the cores fewer are often
    quicker by far: BLAS's threads spin while they wait for each other. `profile` measures it.

    Parameters
    ----------
    threads : int or None
        From 1 to the number of cores; None: as it is.

    Raises
    ------
    TypeError, ValueError
        If it is no such number.

    Warns
    -----
    UserWarning
        If NumPy's BLAS takes fewer, or is one that `threadpoolctl
        <https://github.com/joblib/threadpoolctl>`_ does not know, as Apple's Accelerate.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.ones((300, 300))
    >>> with limit_threads(1):
    ...     product = a @ a
    >>> limit_threads(0).__enter__()
    Traceback (most recent call last):
        ...
    ValueError: threads is 0: give 1 or more
    """
    if threads is None:
        yield
        return
    limit = [check_threads(threads)]
    try:  # before it holds: Ctrl-C may come right after
        _tell_if_fewer(_limits.enter(limit), threads)
        yield
    finally:
        _limits.leave(limit)


def _tell_if_fewer(there: int | None, threads: int) -> None:
    """Warn if BLAS does not have so many threads."""
    if there is None:
        warn("NumPy's BLAS does not let its threads be counted or limited: they stay as they are")
    elif there < threads:
        warn(f"BLAS takes no more than {threads_in_words(there)}: {threads} are asked for")
