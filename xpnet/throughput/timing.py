"""Throughput: what the times of a step at several batch sizes say, and which size to use.

Others on the machine make a step longer, and never shorter. So what counts is what the machine can
do: the fast decile of rounds, which `measuring` spreads over time, and of each round the time
that the thread was on a processor, where that is what a step takes. What is left of the doubt is an
interval, and one size counts as quicker than another only where it is so beyond both intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

#: The quantile of rounds that counts: one in ten has to be undisturbed.
FAST = 0.1

#: Quartiles.
QUARTILES = 0.25, 0.5, 0.75

#: Standard deviations on either side of a quantile's rank: 90 % of a normal distribution.
DEVIATIONS = 1.645

#: A step is timed by the processor's time if no more than this share of a round went to waiting for
#: the device.
IDLE = 0.01

#: A time is in doubt if a larger batch takes less than this share of it.
SHORTER = 0.9

#: A time is measured again if its samples/s are less than this share of a smaller batch's, and is
#: unsure if they are still less than half.
FALL, HALF = 0.8, 0.5

#: A time is measured again if its interval is wider than this share of it, and is unsure if it is
#: still wider than that.
WIDE, UNSURE = 0.05, 0.25

#: A batch size is good enough if it has this share of the best samples/s.
ENOUGH = 0.9

#: That share by the times alone, however uncertain they are.
IN_DOUBT = 0.8

#: A step is launch-bound if the host's part makes at least this share of it.
LAUNCH_BOUND = 0.75

#: That share by the times alone, however uncertain they are.
LAUNCH_BOUND_IN_DOUBT = 0.65

#: `choose` looks between `LEAST` and `MOST` examples, and leaves at least `UPDATES` updates in an
#: epoch: more than that costs accuracy, which no timing shows.
LEAST, MOST, UPDATES = 8, 1024, 20


class Round(NamedTuple):
    """Steps that were timed as one, each as their mean.

    Attributes
    ----------
    seconds, host_seconds : float
        The time of a step, and that after which the host had issued it.
    processor : float or None
        The time of a step for which the thread was on a processor; None if that is not known, or if
        the thread gave the processor up of itself.
    waited : float
        The share of the round that went to waiting for the device at its end.
    """

    seconds: float
    host_seconds: float
    processor: float | None = None
    waited: float = 0.0


@dataclass(frozen=True)
class Timing:
    """The time of a step at one batch size.

    Attributes
    ----------
    batch_size : int
        Examples in a batch.
    seconds : float
        What a step takes undisturbed: the fast decile of `undisturbed` rounds, in seconds.
    least, most : float
        Between what that decile lies, in nine of ten cases.
    host_seconds : float
        The fast decile of the time after which the host has issued a step. Where the host waits
        for the result, as with NumPy, it is the step's whole time.
    rounds : int
        How many rounds there were.
    quartiles : (float, float, float)
        Of the time that rounds took, disturbed or not.
    """

    batch_size: int
    seconds: float
    least: float
    most: float
    host_seconds: float
    rounds: int
    quartiles: tuple[float, float, float]

    @classmethod
    def of(cls, batch_size: int, rounds: Sequence[Round]) -> Timing:
        """Return the timing that rounds add up to.

        The interval needs no distribution: of n rounds, the number that are quicker than the
        quantile q is binomial, with the mean n q and the variance n q (1 − q) (Conover, *Practical
        Nonparametric Statistics*, 3rd ed., 1999, section 3.2).
        """
        n, doubt = len(rounds), DEVIATIONS * math.sqrt(FAST * (1 - FAST) / len(rounds))
        ranks = max(FAST - doubt, 0.0), FAST, min(FAST + doubt, 1.0)
        least, seconds, most = (float(q) for q in np.quantile(undisturbed(rounds), ranks))
        host = float(np.quantile([r.host_seconds for r in rounds], FAST))
        q1, median, q3 = (float(q) for q in np.quantile([r.seconds for r in rounds], QUARTILES))
        return cls(batch_size, seconds, least, most, host, n, (q1, median, q3))

    @property
    def rate(self) -> float:
        """Samples per second, undisturbed."""
        return self.batch_size / self.seconds

    @property
    def spread(self) -> float:
        """The interval as a share of the time."""
        return (self.most - self.least) / self.seconds


def undisturbed(rounds: Sequence[Round]) -> list[float]:
    """Return what a step would have taken in each round, had the thread had a processor throughout.

    That is its processor time, where the host does the work, or the device waits for the host. A
    host that waits for the device, or gives its processor up, has the time by the clock.
    """
    if float(np.median([r.waited for r in rounds])) > IDLE:
        return [r.seconds for r in rounds]
    return [r.seconds if r.processor is None else min(r.processor, r.seconds) for r in rounds]


def contradicted(timings: Sequence[Timing], fall: float = FALL) -> set[int]:
    """Return the batch sizes whose time can't be right, by what larger and smaller ones take.

    A larger batch takes no less time, though a single example may take another way than several.
    Samples per second rise up to the knee and fall little after it: to no less than a share
    ``fall`` of the best. Of two times that contradict each other the longer one is in doubt.

    Examples
    --------
    >>> def even(n, seconds):
    ...     return Timing(n, seconds, seconds, seconds, seconds, 5, (seconds,) * 3)
    >>> times = [even(1, 1.0), even(2, 3.0), even(4, 1.2), even(8, 2.3), even(16, 9.0)]
    >>> sorted(contradicted(times))
    [2, 16]
    """
    found = set()
    for t in timings:
        n = t.batch_size
        larger = min((o.seconds for o in timings if o.batch_size > n > 1), default=math.inf)
        smaller = max((o.rate for o in timings if o.batch_size < n), default=0.0)
        if larger < SHORTER * t.seconds or t.rate < fall * smaller:
            found.add(n)
    return found


def doubtful(timings: Sequence[Timing]) -> set[int]:
    """Return the batch sizes to measure again: contradicted, or not known to a twentieth."""
    return contradicted(timings) | {t.batch_size for t in timings if t.spread > WIDE}


def unsure(timings: Sequence[Timing]) -> set[int]:
    """Return the batch sizes whose time is not to be relied on, after all measuring."""
    return contradicted(timings, HALF) | {t.batch_size for t in timings if t.spread > UNSURE}


def fastest(timings: Sequence[Timing]) -> Timing:
    """Return the timing with the most samples per second."""
    return max(timings, key=lambda t: t.rate)


def knee(timings: Sequence[Timing]) -> Timing:
    """Return the smallest batch with at least 90 % of the best samples per second.

    Larger batches hardly pay: the last tenth takes a doubling or more, and each doubling halves the
    updates in an epoch. In doubt the smaller batch wins: a larger one is ahead only if it is so by
    more than the uncertainty of both times. But the doubt goes no further than to 80 %.

    Examples
    --------
    >>> def even(n, seconds):
    ...     return Timing(n, seconds, seconds, seconds, seconds, 5, (seconds,) * 3)
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
    >>> best, other = (Timing(n, t, t, t, t, 5, (t, t, t)) for n, t in ((16, 0.9), (8, 0.5)))
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
    uncertainty of both times; above it the times alone decide.
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
