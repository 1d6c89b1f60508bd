"""How many threads to use: what series that differ in nothing else say of it, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..backends.blas import threads_in_words
from ..throughput import timing
from ..throughput.timing import Timing

if TYPE_CHECKING:
    from .profile_result import Series

#: A step is large for n threads if its products have n times so many operations: milliseconds of
#: work for one, beside which no meeting of threads takes long.
LARGE = 2.5e7

#: Threads spin on cores that others use if they take so many times as long as the fewest.
SLOWER = 1.25


def groups(series: Sequence[Series], mode: str) -> list[list[Series]]:
    """Return the series of each device in a mode that have measurements, by rising threads."""
    return [group for group in by_device(series, mode) if group[0].rows]


def by_device(series: Sequence[Series], mode: str) -> list[list[Series]]:
    """Return what `groups` does, and of a device without measurements its first series."""
    found: dict[tuple[str, str], list[Series]] = {who: [] for who in devices(series, mode)}
    for s in sorted(series, key=lambda s: s.threads or 0):
        if s.mode == mode:
            found[s.device, s.name].append(s)
    return [[s for s in group if s.rows] or group[:1] for group in found.values()]


def devices(series: Sequence[Series], mode: str) -> list[tuple[str, str]]:
    """Return the devices that were to be measured in a mode, with what they are in words."""
    return list(dict.fromkeys((s.device, s.name) for s in series if s.mode == mode))


def recommended(group: Sequence[Series]) -> Series:
    """Return the series with the fewest threads that has at least 90 % of the best speed.

    Threads that gain nothing take cores from others. In doubt fewer win, as in `timing.knee`; and
    threads that spin on shared cores are never taken, whatever they reach in between.
    """
    sound = [s for s in group if slowdown(group[0], s) <= SLOWER]
    best = [timing.fastest(s.timings()) for s in sound]
    sure = timing.ENOUGH * max(t.batch_size / t.most for t in best)
    least = timing.IN_DOUBT * max(t.rate for t in best)
    return next(
        s
        for s, t in zip(sound, best, strict=True)
        if t.batch_size / t.least >= sure and t.rate >= least
    )


def slowdown(fewest: Series, other: Series) -> float:
    """Return how many times as long as the fewest threads others take in large products.

    The median over the batch sizes of what the slowest quarter of the rounds takes at least, or
    what the rates of large products come to. On cores of its own it is 1 at most: more threads are
    slower for two reasons alone. One is that they meet more often than it pays, which `LARGE`
    leaves out. The other is that the system gives one of their cores to other work: then the rest
    spin until that one has had its turn.
    """
    if fewest is other or other.threads is None:
        return 0.0
    mine = {row.batch_size: row for row in fewest.rows}
    ratios = [
        row.seconds_q3 / mine[row.batch_size].seconds_q3
        for row in other.rows
        if row.batch_size in mine and row.flops * row.seconds >= LARGE * other.threads
    ]
    of_products = fewest.product_rate / other.product_rate
    return max(of_products, float(np.median(ratios)) if ratios else 0.0)


def in_words(group: Sequence[Series]) -> str | None:
    """Return what the threads of a device's series gain, in a sentence; None if there is one."""
    fewest, chosen = group[0], recommended(group)
    others = [s for s in group if s is not fewest]
    if not others:
        return None
    spinning = next((s for s in others if slowdown(fewest, s) > SLOWER), None)
    if spinning is not None:
        return _of_spinning(fewest, spinning, chosen.threads or 1)
    ours = fewest.timings()
    if chosen is not fewest:
        theirs = chosen.timings()
        text = f"{fewest.mode}: {chosen.threads} threads are up to {_times(_gain(ours, theirs))}"
        start = timing.crossover(fewest.sure(), chosen.sure())
        where = "" if start is None else f", and quicker from batches of {start:,} on"
        return f"{text} as quick as {fewest.threads}{where}"
    best = max(others, key=lambda s: timing.fastest(s.timings()).rate)
    gain = timing.fastest(best.timings()).rate / timing.fastest(ours).rate
    if gain < 1.01:
        return f"{fewest.mode}: more threads than {fewest.threads} are no quicker"
    doubtful = gain * timing.ENOUGH > 1
    why = "but the times vary too much" if doubtful else "too little for the cores they take"
    what = f"{best.threads} threads reach {gain:.2f} times the speed of {fewest.threads}"
    return f"{fewest.mode}: {what}, {why}"


def _times(ratio: float) -> str:
    """Return a ratio with as many digits as mean something.

    Examples
    --------
    >>> _times(1.84), _times(99.7)
    ('1.8 times', '100 times')
    """
    return f"{ratio:,.{1 if ratio < 10 else 0}f} times"


def _gain(ours: Sequence[Timing], theirs: Sequence[Timing]) -> float:
    """Return by how much others are quicker at most, of the batch sizes that both have."""
    mine = {t.batch_size: t.rate for t in ours}
    return max(t.rate / mine[t.batch_size] for t in theirs if t.batch_size in mine)


def _of_spinning(fewest: Series, spinning: Series, n: int) -> str:
    """Return that threads get in the way of other work, and to use n threads."""
    return (
        f"{fewest.mode}: {spinning.threads} threads take {_times(slowdown(fewest, spinning))} as "
        f"long as {fewest.threads} in large products: other work is on their cores, and BLAS's "
        f"threads spin while they wait for each other; use {threads_in_words(n)} "
        f"(--threads {n}, in Python xpnet.limit_threads({n})), or stop that work"
    )
