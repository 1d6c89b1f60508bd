"""Throughput: what the times of a step at several batch sizes say, and which size to use.

Noise is met in two ways. A time is the median of rounds, of which `measuring` spreads those of one
size over time. And one size counts as quicker than another only where it is so by more than the
uncertainty of both medians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: A batch size is good enough if it has this share of the best samples/s.
ENOUGH = 0.9

#: That share by the medians alone, however uncertain they are.
IN_DOUBT = 0.8

#: A step is launch-bound if the host's part makes at least this share of it.
LAUNCH_BOUND = 0.75

#: That share by the medians alone, however uncertain they are.
LAUNCH_BOUND_IN_DOUBT = 0.65

#: `choose` looks between `LEAST` and `MOST` examples, and leaves at least `UPDATES` updates in an
#: epoch: more than that costs accuracy, which no timing shows.
LEAST, MOST, UPDATES = 8, 1024, 20


@dataclass(frozen=True)
class Timing:
    """The time of a step at one batch size.

    Attributes
    ----------
    batch_size : int
        Examples in a batch.
    seconds, q1, q3 : float
        Median and quartiles of a step's time over the rounds, in seconds.
    host_seconds : float
        Median of the time after which the host has issued a step. Where the host waits for the
        result, as with NumPy, it is the step's whole time.
    rounds : int
        How many rounds there were.
    """

    batch_size: int
    seconds: float
    q1: float
    q3: float
    host_seconds: float
    rounds: int

    @classmethod
    def of(cls, batch_size: int, rounds: Sequence[tuple[float, float]]) -> Timing:
        """Return the timing that rounds of (step seconds, host seconds) add up to."""
        steps, hosts = zip(*rounds, strict=True)
        q1, median, q3 = (float(q) for q in np.quantile(steps, (0.25, 0.5, 0.75)))
        return cls(batch_size, median, q1, q3, float(np.median(hosts)), len(rounds))

    @property
    def rate(self) -> float:
        """Samples per second, by the median."""
        return self.batch_size / self.seconds

    @property
    def least(self) -> float:
        """The lower end of what the median may be, in seconds: its notch.

        1.57 interquartile ranges over √rounds on either side: about a 95 % interval for comparing
        medians (McGill, Tukey & Larsen, "Variations of box plots", 1978). It ends at the quartile:
        a few disturbed rounds say nothing of how fast a step may be.
        """
        return max(self.seconds - self._notch, self.q1)

    @property
    def most(self) -> float:
        """The upper end of what the median may be, in seconds."""
        return min(self.seconds + self._notch, self.q3)

    @property
    def _notch(self) -> float:
        return 1.57 * (self.q3 - self.q1) / math.sqrt(self.rounds)


def fastest(timings: Sequence[Timing]) -> Timing:
    """Return the timing with the most samples per second."""
    return max(timings, key=lambda t: t.rate)


def knee(timings: Sequence[Timing]) -> Timing:
    """Return the smallest batch with at least 90 % of the best samples per second.

    Larger batches hardly pay: the last tenth takes a doubling or more, and each doubling halves the
    updates in an epoch. In doubt the smaller batch wins: a larger one is ahead only if it is so by
    more than the uncertainty of both medians. But the doubt goes no further than to 80 %.

    Examples
    --------
    >>> def even(n, seconds):
    ...     return Timing(n, seconds, seconds, seconds, seconds, 5)
    >>> knee([even(1, 1.0), even(2, 1.1), even(4, 2.0), even(8, 3.8)]).batch_size
    4
    """
    sure = max(t.batch_size / t.most for t in timings)
    least = IN_DOUBT * fastest(timings).rate
    reaching = [t for t in timings if t.batch_size / t.least >= ENOUGH * sure and t.rate >= least]
    return min(reaching, key=lambda t: t.batch_size)


def in_words(chosen: Timing, best: Timing, among: str = "") -> str:
    """Return why a knee was chosen.

    Examples
    --------
    >>> best, other = (Timing(n, t, t, t, t, 5) for n, t in ((16, 0.9), (8, 0.5)))
    >>> in_words(other, best)
    'the smallest with at least 90% of the best speed (16 of 18 samples/s, at 16)'
    >>> in_words(best, best, among=" of 8 to 16")
    'the quickest of 8 to 16 (18 samples/s)'
    """
    if chosen is best:
        return f"the quickest{among} ({best.rate:,.0f} samples/s)"
    clear = chosen.rate >= ENOUGH * best.rate
    words = "with at least" if clear else "that is not, beyond the noise, below"
    speeds = f"{chosen.rate:,.0f} of {best.rate:,.0f} samples/s, at {best.batch_size:,}"
    return f"the smallest{among} {words} {ENOUGH:.0%} of the best speed ({speeds})"


def crossover(timings: Sequence[Timing], others: Sequence[Timing]) -> int | None:
    """Return the smallest batch from which on the others are quicker; None if they never are.

    Of the batch sizes that both have. At the crossover itself they are so by more than the
    uncertainty of both medians; above it the medians alone decide.
    """
    mine = {t.batch_size: t for t in timings}
    pairs = [(mine[t.batch_size], t) for t in others if t.batch_size in mine]
    found = None
    for a, b in sorted(pairs, key=lambda pair: pair[0].batch_size, reverse=True):
        if b.seconds >= a.seconds:
            break
        if b.most < a.least:
            found = a.batch_size
    return found


def host_shares(timings: Sequence[Timing]) -> list[float]:
    """Return the host's part of a step at each size, between 0 and 1.

    The host's time is that after which it has issued the step, but no more than the shortest step
    of all. For where the host waits for each result, as with NumPy, issuing can't be told from
    computing; but what a step takes with hardly an example in it, it takes at every size: Python,
    the calls, and the passes over weights and moments. One example alone does not count: with it
    the products are of vectors, another computation.
    """
    several = [t.seconds for t in timings if t.batch_size > 1] or [t.seconds for t in timings]
    shortest = min(several, default=0.0)
    return [min(t.host_seconds, shortest, t.seconds) / t.seconds for t in timings]


def launch_bound(timings: Sequence[Timing]) -> int:
    """Return the largest batch whose time is the host's for 75 % or more; 0 if there is none.

    Up to it the host is what takes time, and further examples are nearly free. A smaller batch is
    launch-bound too, whatever its noise. In doubt a batch counts as launch-bound; but the doubt
    goes no further than to 65 %.
    """
    shares = host_shares(timings)
    bound = [
        t.batch_size
        for t, share in zip(timings, shares, strict=True)
        if share * t.seconds >= LAUNCH_BOUND * t.least and share >= LAUNCH_BOUND_IN_DOUBT
    ]
    return max(bound, default=0)


# -- for a fit ----


@dataclass(frozen=True)
class BatchSize:
    """A batch size that was chosen.

    Attributes
    ----------
    batch_size : int
        The choice.
    reason : str
        Why, in one line.
    timings : list of Timing
        What was measured; empty where there was nothing to choose from.
    """

    batch_size: int
    reason: str
    timings: list[Timing]


def candidates(n: int) -> list[int]:
    """Return the batch sizes to choose from for n examples: powers of two, and few of them.

    Not above 1024, nor above n/20, so that an epoch has 20 updates or more; but 8 where that is
    less, or all n of fewer.

    Examples
    --------
    >>> candidates(60_000), candidates(1000), candidates(100), candidates(5)
    ([8, 16, 32, 64, 128, 256, 512, 1024], [8, 16, 32], [8], [5])
    """
    sizes = [min(LEAST, n)]
    while 2 * sizes[-1] <= min(MOST, n // UPDATES):
        sizes.append(2 * sizes[-1])
    return sizes
