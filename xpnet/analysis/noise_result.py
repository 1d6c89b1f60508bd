"""Gradient noise: what follows from measured gradients of parts of the data, and in which words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._typing import HostArray
from .profile_result import Profile, Series

#: The part that an average keeps of what it was, from one moment of the training to the next.
KEPT = 0.8

#: A batch this much slower than the quickest, and smaller, is as good.
SLACK = 0.05

#: Standard errors to either side of the critical batch: an interval of 95 %.
ERRORS = 1.96


@dataclass(frozen=True)
class GradientNoise:
    """The critical batch size of a training, from `critical_batch_size`.

    Attributes
    ----------
    critical_batch : float or None
        B_crit: at this batch a training takes twice the steps, and twice the examples, of the
        fewest that it can be done with. Of members the median. None: it is too large to be told
        from so few examples.
    interval : (float, float) or None
        Where it lies with 95 %, as far as the measuring goes; another seed may lead elsewhere.
    batch_size : int
        The power of two next to it, as far as there are examples.
    preconditioned : bool
        Whether it is that of the optimiser's steps, which divides by the root of a second moment,
        or that of the plain gradient.
    steps : int
        The updates of the training that was looked at.
    trained_with : int
        Its batch size.
    n_examples : int
        Its examples.
    ended : {"steps", "time", "stopped"}
        Why it ended.
    at : list of int
        After which updates gradients were measured.
    noise_scale : list of float or None
        The noise scale there, of moving averages; of members the median.
    members : list of float or None, or None
        The critical batch of each member; None for one network.
    """

    critical_batch: float | None
    interval: tuple[float, float] | None
    batch_size: int
    preconditioned: bool
    steps: int
    trained_with: int
    n_examples: int
    ended: str
    at: list[int]
    noise_scale: list[float | None]
    members: list[float | None] | None = None

    def __str__(self) -> str:
        cut = "" if self.ended == "steps" else ", ended early"
        seen = f"from {self.steps:,} steps with batches of {self.trained_with:,}{cut}"
        if self.critical_batch is None or self.interval is None:
            return (
                f"the critical batch by gradient noise ({seen}) is too large to be told from "
                f"{self.n_examples:,} examples: any batch of them still pays"
            )
        low, high = (_rounded(bound) for bound in self.interval)
        return (
            f"the critical batch by gradient noise is about {_rounded(self.critical_batch)} "
            f"({low} to {high}, {seen}): far below it, twice the batch saves nearly half of the "
            "steps; far above it, hardly any"
        )


def _rounded(value: float) -> str:
    """Return a number of examples to two figures: more would be noise."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.1f}"


def estimate(
    part_square: HostArray, mean_square: HostArray, part: int, count: int, n: int
) -> tuple[HostArray, HostArray]:
    """Return unbiased estimates of tr Σ and of |G|², of the examples that there are.

    Of ``count`` parts of ``part`` examples each, drawn from n without replacement, gᵢ are the
    gradients and ḡ is their mean. With B = part · count,

        tr Σ = part · count / (count − 1) · (mean |gᵢ|² − |ḡ|²),   |G|² = |ḡ|² − (1/B − 1/n) tr Σ.

    The first two are appendix A.1 of McCandlish et al., "An empirical model of large-batch
    training", 2018 (arXiv:1812.06162), with B_small = part and B_big = B; the last is theirs for n
    without bound. G is the mean gradient of the n examples, which the training goes down, and Σ has
    the divisor n − 1.

    Parameters
    ----------
    part_square, mean_square : array
        The mean of |gᵢ|², and |ḡ|².
    part, count, n : int
        Examples in a part, parts, and examples in all.
    """
    noise = part * count / (count - 1) * (part_square - mean_square)
    return noise, mean_square - (1.0 / (part * count) - 1.0 / n) * noise


def averages(values: HostArray) -> HostArray:
    """Return exponential moving averages over the first axis, without the bias of the start."""
    found, total, weight = np.empty(values.shape), np.zeros(values.shape[1:]), 0.0
    for i, value in enumerate(values):
        total, weight = KEPT * total + value, KEPT * weight + 1.0
        found[i] = total / weight
    return found


def critical(noise: HostArray, gradient: HostArray, batch_size: int) -> tuple[HostArray, HostArray]:
    """Return the critical batch of a whole training, and its standard error; by member.

    A step with batch B makes 1 / (1 + N/B) of the progress of one without noise, N = tr Σ / |G|²
    (the paper's equation 2.7). What it takes with another batch b is then the sum over that
    progress of 1 + N/b, so that the critical batch is the mean of N over the progress:

        B_crit = Σ (tr Σ / E) / Σ (|G|² / E),   E = |G|² + tr Σ / B.

    E is the mean square of a batch's gradient: of parts that are all of the examples, or batches,
    it is well known. The error is that of the measuring, from differences between neighbours.

    Parameters
    ----------
    noise, gradient : array, shape (moments, k)
        tr Σ and |G|², as `estimate` returns them.
    batch_size : int
        B, of the training.

    Returns
    -------
    critical, error : array, shape (k,)
        NaN where |G|² can't be told from 0.
    """
    above, below = _over_square(noise, gradient, batch_size)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = below.sum(axis=0)
        found = np.where(total > 0, above.sum(axis=0) / total, np.nan)
        jumps = np.diff(above - found * below, axis=0)
        count = len(above)
        variance = (jumps**2).sum(axis=0) * count / (2 * (count - 1))
        error = np.sqrt(variance) / total
    told = found > ERRORS * error  # also False for NaN
    return np.where(told, found, np.nan), np.where(told, error, np.nan)


def _over_square(
    noise: HostArray, gradient: HostArray, batch_size: int
) -> tuple[HostArray, HostArray]:
    """Return both over E: a loss that falls by orders of magnitude takes them along.

    Of such parts |G|² is never estimated far below 0.
    """
    part = noise / batch_size
    expected = np.maximum(part + np.maximum(gradient, -part / 2), np.finfo(float).tiny)
    return noise / expected, gradient / expected


def conclude(
    noise: HostArray, gradient: HostArray, about: Mapping[str, Any], least: int, several: bool
) -> GradientNoise:
    """Return the result of estimates (moments, k).

    Parameters
    ----------
    noise, gradient : array
        tr Σ and |G|², as `estimate` returns them.
    about : dict
        The fields that say what was looked at.
    least : int
        The fewest examples that a batch may have.
    several : bool
        Whether the k are members.
    """
    trained_with, n = about["trained_with"], about["n_examples"]
    found, errors = critical(noise, gradient, trained_with)
    above, below = map(averages, _over_square(noise, gradient, trained_with))
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = np.where(below > 0, above / below, np.nan)
    middle, interval = _median(found), None
    if middle is not None:
        low, high = (_median(found + sign * ERRORS * errors) for sign in (-1, 1))
        interval = (low or 0.0, high or 0.0)
    near = n if middle is None else min(n, max(1.0, middle))
    power = 2 ** min(round(math.log2(near)), int(math.log2(n)))
    return GradientNoise(
        critical_batch=middle,
        interval=interval,
        batch_size=max(power, least),
        noise_scale=[_median(row) for row in curve],
        members=[_median(one) for one in found[:, None]] if several else None,
        **about,
    )


def _median(values: HostArray) -> float | None:
    """Return the median, NaN being more than any number; None if that is it."""
    middle = float(np.median(np.where(np.isfinite(values), values, np.inf)))
    return middle if math.isfinite(middle) else None


def soonest(noise: GradientNoise, series: Sequence[Series]) -> tuple[int, str] | None:
    """Return with which batch a training reaches a given loss in the least time, and where.

    With batch B it takes 1 + B_crit/B as many steps as the fewest possible, each of the time that
    was measured. Of batches that are nearly as good it is the smallest.
    """
    if noise.critical_batch is None:
        return None
    trainings = []
    for s in series:
        if s.mode == "training":
            times = {
                row.batch_size: row.seconds * (1 + noise.critical_batch / row.batch_size)
                for row in s.rows
                if row.sure and row.batch_size <= noise.n_examples
            }
            if times:
                trainings.append((min(times.values()), s.device, times))
    if not trainings:
        return None
    least, device, times = min(trainings, key=lambda t: t[0])
    return min(n for n, seconds in times.items() if seconds <= (1 + SLACK) * least), device


def with_noise(profile: Profile, noise: GradientNoise) -> Profile:
    """Return a profile with the critical batch size, and with advice on it."""
    advice = [*profile.advice, f"training: {noise}"]
    found = soonest(noise, profile.recommended("training"))
    if found is not None:
        advice.append(
            f"training: steps and their time together, batches of {found[0]:,} on {found[1]} reach "
            "a given loss the soonest, at a learning rate that suits the batch"
        )
    return replace(profile, noise=noise, advice=advice)
