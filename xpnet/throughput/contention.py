"""Contention: what else the machine does while something is timed, and how to say so.

The one place that knows what a platform tells of its processors' time. What it doesn't is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..backends.threads import affinity

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Contention is worth a word if it takes this share of the time that is measured.
LOST = 0.1

#: So many cores taken by others, or so large a share of time taken by the hypervisor, are a cause.
TAKEN = 0.3


class ThreadTime(NamedTuple):
    """What the system has counted for the calling thread.

    Attributes
    ----------
    seconds : float
        How long it has run on a processor.
    switches : int
        How often it has given the processor up of itself, to wait for something.
    """

    seconds: float
    switches: int


class MachineTime(NamedTuple):
    """What the system has counted so far.

    Attributes
    ----------
    wall, own : float
        The time, and the processor time of all threads of this process, in seconds.
    busy : float or None
        Seconds for which the cores that this process may use were busy, summed over them.
    stolen : float or None
        Seconds for which a hypervisor gave those cores to others.
    load : float or None
        How many threads of the machine have run or wanted to, on average over a minute.
    cores : int
        How many cores this process may use.
    """

    wall: float
    own: float
    busy: float | None
    stolen: float | None
    load: float | None
    cores: int


class Clock(Protocol):
    """The time in seconds, and what the system counts beside it."""

    def __call__(self) -> float:
        """Return the time in seconds."""

    def thread(self) -> ThreadTime | None:
        """Return what was counted for the calling thread; None if that is not known."""

    def machine(self) -> MachineTime | None:
        """Return what was counted for the machine; None if that is not known."""


class SystemClock:
    """The machine's own clock."""

    def __call__(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()

    def thread(self) -> ThreadTime | None:
        """Return what was counted for the calling thread; None if that is not known."""
        which = getattr(resource, "RUSAGE_THREAD", None)
        if which is None:
            return None
        switches = resource.getrusage(which).ru_nvcsw
        return ThreadTime(time.thread_time(), switches)

    def machine(self) -> MachineTime | None:
        """Return what was counted for the machine."""
        cores = affinity()
        busy, stolen = _core_seconds(cores)
        own = time.process_time()
        return MachineTime(time.perf_counter(), own, busy, stolen, _load(), len(cores))


class OnlyTime:
    """A clock of which nothing is known but the time that a function returns."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now()

    def thread(self) -> None:
        """Return None."""

    def machine(self) -> None:
        """Return None."""


SYSTEM = SystemClock()


def as_clock(clock: Clock | Callable[[], float]) -> Clock:
    """Return a function of the time as a `Clock`, and a `Clock` as it is.

    Examples
    --------
    >>> as_clock(SYSTEM) is SYSTEM
    True
    >>> clock = as_clock(lambda: 2.5)
    >>> clock(), clock.thread(), clock.machine()
    (2.5, None, None)
    """
    return clock if hasattr(clock, "thread") else OnlyTime(clock)  # type: ignore[return-value]


@dataclass(frozen=True)
class Contention:
    """What others took while something was timed.

    Attributes
    ----------
    cause : {"others", "hypervisor", "own threads", "unknown", "none"}
        Who made the times longer: other processes; a hypervisor; more threads of this process than
        there are cores; somebody that the system doesn't tell of; or nobody.
    lost : float
        The share of the measured time that undisturbed steps would not have taken.
    kept : float or None
        The share for which the measuring thread was ready and had no processor.
    cores : int or None
        How many cores this process may use.
    own, others, stolen : float or None
        How many of them it used, other processes used, and a hypervisor gave to others.
    """

    cause: str
    lost: float
    kept: float | None = None
    cores: int | None = None
    own: float | None = None
    others: float | None = None
    stolen: float | None = None

    def in_words(self, threads: int | None = None) -> str:
        """Return in one line who disturbs and what to do about it; "" if nobody does.

        Of one thread it is not said to compute on fewer; None: how many there were is not known.

        Examples
        --------
        >>> print(Contention("others", lost=0.42, cores=2, own=1.1, others=0.94).in_words())
        other processes take about one of two cores, and 42% of the time was lost: the figures are \
of the moments between; end them, or compute on fewer threads, and measure again
        >>> print(Contention("others", lost=0.42, cores=2, others=0.94).in_words(threads=1))
        other processes take about one of two cores, and 42% of the time was lost: the figures are \
of the moments between; end them, and measure again
        >>> Contention("none", lost=0.02).in_words()
        ''
        """
        if self.cause == "none":
            return ""
        fewer = "" if threads == 1 else "compute on fewer threads"
        of = f"of {_in_letters(self.cores or 1)} cores"
        who, todo = {
            "others": (
                f"other processes take about {_count(self.others or 0.0)} {of}",
                f"end them{fewer and ', or '}{fewer}",
            ),
            "hypervisor": (
                f"the hypervisor gives others about {_count(self.stolen or 0.0)} {of}",
                f"{fewer or 'compute'}{fewer and ', or'} on a machine of your own",
            ),
            "own threads": (
                f"this process has more busy threads than it may use {of}",
                "compute on fewer threads",
            ),
            "unknown": (
                "something that the system does not tell of takes the processor away",
                "look for other work, or for a limit on processor time",
            ),
        }[self.cause]
        went = f"and {self.lost:.0%} of the time was lost: the figures are of the moments between"
        return f"{who}, {went}; {todo}, and measure again"


def judge(
    lost: float, kept: float | None, before: MachineTime | None, after: MachineTime | None
) -> Contention:
    """Return what others took between two readings, and whether that is why time was lost.

    Parameters
    ----------
    lost, kept : float, float or None
        As `Contention` has them.
    before, after : MachineTime or None
        At the beginning and at the end; None if that is not known.

    Notes
    -----
    Rounds that differ are noise as long as nobody can be named: a clock that changes its speed, or
    a neighbour in a cache. They are contention if a tenth of the time was lost and others were at
    work on as good as all cores, or if the thread was ready for so long and had no processor.
    """
    if before is None or after is None or after.wall <= before.wall:
        return Contention("unknown" if (kept or 0.0) >= LOST else "none", lost, kept)
    wall, cores = after.wall - before.wall, after.cores
    own = (after.own - before.own) / wall
    stolen = _between(before.stolen, after.stolen, wall)
    busy = _between(before.busy, after.busy, wall)
    if busy is not None:
        others: float | None = max(busy - own, 0.0)
    else:
        others = None if after.load is None else max(after.load - own, 0.0)
    full = others is not None and own + others + (stolen or 0.0) >= cores - TAKEN
    if lost < LOST:
        cause = "none"
    elif stolen is not None and stolen >= TAKEN and stolen >= (others or 0.0):
        cause = "hypervisor"
    elif others is not None and others >= TAKEN and full:
        cause = "others"
    elif (kept or 0.0) < LOST:
        cause = "none"
    else:
        cause = "own threads" if own >= cores - TAKEN else "unknown"
    return Contention(cause, lost, kept, cores, own, others, stolen)


def _between(before: float | None, after: float | None, wall: float) -> float | None:
    return None if before is None or after is None else (after - before) / wall


def _core_seconds(cores: list[int]) -> tuple[float | None, float | None]:
    """Return for how long cores were busy, and were taken by a hypervisor, where Linux tells.

    The columns of ``/proc/stat`` are user, nice, system, idle, iowait, irq, softirq, steal, and the
    time of guests, which user has already; in ticks.
    """
    names = {f"cpu{core}" for core in cores}
    try:
        with open("/proc/stat", encoding="ascii") as file:
            rows = [line.split() for line in file if line.startswith("cpu")]
        counts = [[int(ticks) for ticks in row[1:9]] for row in rows if row[0] in names]
        tick = 1.0 / os.sysconf("SC_CLK_TCK")
        busy = sum(sum(count[:3]) + sum(count[5:7]) for count in counts)
        return (busy * tick, sum(count[7] for count in counts) * tick) if counts else (None, None)
    except (OSError, ValueError, IndexError):
        return None, None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _count(number: float) -> str:
    """Return a number of cores in words, to a tenth where it is no whole one.

    Examples
    --------
    >>> [_count(n) for n in (0.31, 0.9, 1.4, 2.04, 13.7)]
    ['0.3', 'one', '1.4', 'two', '13.7']
    """
    whole = max(round(number), 1)
    return _in_letters(whole) if abs(number - whole) <= 0.15 else f"{number:.1f}"


def _in_letters(number: int) -> str:
    small = ("no", "one", "two", "three", "four")
    return small[number] if number < len(small) else f"{number}"
