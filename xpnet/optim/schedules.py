"""Schedules: pure functions from where a run stands to a learning rate, or another number.

What a schedule is, `Schedule` says. The notes' decays (chapter 7.5) count whole epochs ``i``; with
``per="step"`` they count updates instead. Those over the share of the run count epochs with their
fraction.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..checks import check_count, check_fields, check_not_negative
from ..nn.schedule import Schedule
from .options import require_fraction

#: Of more cosines in a run each of the first has no step any more.
MOST_CYCLES = 50


@dataclass(frozen=True)
class Decay(Schedule):
    """A schedule that starts from a rate, over a counter ``i``: whole epochs, or steps."""

    initial: float

    def __post_init__(self) -> None:
        check_fields(self)
        check_not_negative(self.initial, "initial")
        per = getattr(self, "per", "epoch")
        if per not in ("epoch", "step"):
            raise ValueError(f"per is {per!r}: give 'epoch' or 'step'")

    def _count(self, step: int, epoch: float, per: str) -> int:
        return step if per == "step" else int(epoch)


@dataclass(frozen=True)
class Constant(Decay):
    """The same rate for ever: α(i) = α₀.

    Examples
    --------
    >>> Constant(0.1)(step=1000, epoch=10.0)
    0.1
    """

    formula: ClassVar[str] = "α(i) = α₀"

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        return self.initial


@dataclass(frozen=True)
class InverseTime(Decay):
    """Decay with one over the time: α(i) = α₀ / (1 + η i) (notes, chapter 7.5).

    Parameters
    ----------
    initial : float
        α₀.
    decay : float
        η, 0 or more.
    per : {"epoch", "step"}
        What i counts.

    Examples
    --------
    >>> [InverseTime(0.1, decay=1.0)(step=0, epoch=i) for i in (0, 1, 3)]
    [0.1, 0.05, 0.025]
    """

    formula: ClassVar[str] = "α(i) = α₀ / (1 + decay · i)"

    decay: float = 1.0
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.decay, "decay")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        return self.initial / (1.0 + self.decay * self._count(step, epoch, self.per))


@dataclass(frozen=True)
class Exponential(Decay):
    """Exponential decay: α(i) = α₀ ηⁱ (notes, chapter 7.5).

    Parameters
    ----------
    initial : float
        α₀.
    decay : float
        η in (0, 1].
    per : {"epoch", "step"}
        What i counts.

    Examples
    --------
    >>> [Exponential(0.1, decay=0.5)(step=0, epoch=i) for i in (0, 1, 2)]
    [0.1, 0.05, 0.025]
    """

    formula: ClassVar[str] = "α(i) = α₀ · decay^i"

    decay: float = 0.95
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}: give a number in (0, 1]")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        return self.initial * self.decay ** self._count(step, epoch, self.per)


@dataclass(frozen=True)
class InverseSquareRoot(Decay):
    """Decay with one over the root of the time: α(i) = α₀ η / √(i + 1).

    The notes' chapter 7.5 divides by √i, which has no value at i = 0, where every run begins; here
    the count is shifted by one.

    Parameters
    ----------
    initial : float
        α₀.
    scale : float
        η, 0 or more.
    per : {"epoch", "step"}
        What i counts.

    Examples
    --------
    >>> [InverseSquareRoot(0.1)(step=0, epoch=i) for i in (0, 3)]
    [0.1, 0.05]
    """

    formula: ClassVar[str] = "α(i) = α₀ · scale / √(i + 1)"

    scale: float = 1.0
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.scale, "scale")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        return self.initial * self.scale / math.sqrt(self._count(step, epoch, self.per) + 1)


@dataclass(frozen=True)
class Piecewise(Decay):
    """Rates set by hand: α₀ up to the first boundary, then one rate from each boundary on.

    Parameters
    ----------
    initial : float
        The rate before the first boundary.
    boundaries : sequence of int
        Where the rate changes, rising.
    rates : sequence of float
        The rate from each boundary on.
    per : {"epoch", "step"}
        What the boundaries count.

    Examples
    --------
    >>> by_hand = Piecewise(0.1, boundaries=(10, 20), rates=(0.01, 0.001))
    >>> [by_hand(step=0, epoch=i) for i in (0, 9.9, 10, 25)]
    [0.1, 0.1, 0.01, 0.001]
    """

    formula: ClassVar[str] = "α₀, then a rate from each boundary on"

    boundaries: Sequence[int] = ()
    rates: Sequence[float] = ()
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("boundaries", "rates"):
            if isinstance(getattr(self, name), str) or not hasattr(getattr(self, name), "__len__"):
                raise TypeError(f"{name} is {getattr(self, name)!r}: give a list of numbers")
        for rate in self.rates:
            check_not_negative(rate, "a rate")
        if len(self.boundaries) != len(self.rates):
            raise ValueError(
                f"{len(self.boundaries)} boundaries and {len(self.rates)} rates: "
                "give one rate for each boundary"
            )
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(f"boundaries are {tuple(self.boundaries)}: give them rising")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        passed = bisect_right(self.boundaries, self._count(step, epoch, self.per))
        return (self.initial, *self.rates)[passed]


# -- over a run ----


@dataclass(frozen=True)
class OverRun(Decay):
    """A schedule from the beginning of a run to its end, ``total``, in epochs or steps.

    Epochs count with their fraction, so the rate changes at every step.
    """

    spans_run: ClassVar[bool] = True

    total: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.total < math.inf:
            raise ValueError(f"total is {self.total}: give a finite number above 0")

    def _now(self, step: int, epoch: float, per: str) -> float:
        """Return where the run stands, in the unit of ``total``."""
        return float(step) if per == "step" else epoch

    def _share(self, step: int, epoch: float, per: str) -> float:
        """Return the share of the run that is over, 0 to 1."""
        return min(self._now(step, epoch, per) / self.total, 1.0)


def _cosine(first: float, last: float, t: float) -> float:
    """Return half a cosine from the first rate to the last one, 0 ≤ t ≤ 1."""
    return last + (first - last) * (1.0 + math.cos(math.pi * t)) / 2.0


@dataclass(frozen=True)
class Cosine(OverRun):
    """Half a cosine from α₀ down to a last rate, after a linear warm-up.

    With t the time since the warm-up over the time left for the decay, 0 ≤ t ≤ 1:
    α = α_end + (α₀ − α_end)(1 + cos πt) / 2 (Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5, without
    restarts). During the warm-up the rate rises in a straight line to α₀.

    Parameters
    ----------
    initial : float
        α₀, the highest rate.
    total : float
        Where the decay ends, in epochs (or steps, with ``per="step"``); from there on α_end.
    warm_up : float
        How long the warm-up takes, in the same unit.
    final : float
        α_end.
    per : {"epoch", "step"}
        The unit. Epochs count with their fraction, so the rate changes at every step.

    Examples
    --------
    >>> cosine = Cosine(0.1, total=10, warm_up=2)
    >>> [round(cosine(step=0, epoch=e), 3) for e in (0, 1, 2, 6, 10, 11)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    formula: ClassVar[str] = "final + (α₀ − final)(1 + cos πt) / 2 after warm-up"

    warm_up: float = 0.0
    final: float = 0.0
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.final, "final")
        check_not_negative(self.warm_up, "warm_up")
        if not self.total > self.warm_up:
            raise ValueError(
                f"total is {self.total}, warm_up {self.warm_up}: give a total above the warm-up"
            )

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        now = self._now(step, epoch, self.per)
        if now < self.warm_up:
            return self.initial * now / self.warm_up
        t = min((now - self.warm_up) / (self.total - self.warm_up), 1.0)
        return _cosine(self.initial, self.final, t)


@dataclass(frozen=True)
class LogCosine(OverRun):
    """Ever longer cosines: α = α₀ (1 − cos(2π log₂(1 + (2ᶜ − 1) t))) / 2, t the share of the run.

    RealMLP's "coslog" (Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024). The
    rate begins and ends at 0 and has c peaks, each cycle about twice as long as the one before: the
    run is tried short first, and then longer.

    Parameters
    ----------
    initial : float
        α₀, the highest rate.
    total : float
        How long the run is, in epochs (or steps, with ``per="step"``); from there on the rate is 0.
    cycles : int
        c, from 1 to 50.
    per : {"epoch", "step"}
        The unit. Epochs count with their fraction, so the rate changes at every step.

    Examples
    --------
    The first of four cycles takes a fifteenth of the run, and the last one eight of them:

    >>> rate = LogCosine(0.1, total=15)
    >>> [round(rate(step=0, epoch=e), 3) for e in (0, 0.5, 1, 3, 7, 15)]
    [0.0, 0.093, 0.0, 0.0, 0.0, 0.0]
    >>> round(rate(step=0, epoch=2**3.5 - 1), 3)
    0.1
    """

    formula: ClassVar[str] = "α₀ sin²(π log₂(1 + (2^cycles − 1) t))"

    cycles: int = 4
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if check_count(self.cycles, "cycles") > MOST_CYCLES:
            raise ValueError(f"cycles is {self.cycles}: give at most {MOST_CYCLES}")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        t = self._share(step, epoch, self.per)
        cycle = math.log2(1.0 + (2.0**self.cycles - 1.0) * t)
        return self.initial * (1.0 - math.cos(2.0 * math.pi * cycle)) / 2.0


@dataclass(frozen=True)
class OneCycle(OverRun):
    """One cycle: half a cosine up to α₀, and one down to next to nothing.

    Smith & Topin, "Super-convergence", 2018, with cosines as in PyTorch's ``OneCycleLR``. There the
    run's first and last update, ``total_steps`` − 1 steps apart, have the first and last rate. The
    momentum stays as it is.

    Parameters
    ----------
    initial : float
        α₀, the highest rate.
    total : float
        How long the run is, in epochs (or steps, with ``per="step"``); from there on the last rate.
    warm_up : float
        The share of the run in which the rate rises, in [0, 1).
    start : float
        The first rate as a share of α₀, in [0, 1].
    final : float
        The last rate as a share of the first one, in [0, 1].
    per : {"epoch", "step"}
        The unit. Epochs count with their fraction, so the rate changes at every step.

    Examples
    --------
    >>> cycle = OneCycle(0.1, total=10)
    >>> [round(cycle(step=0, epoch=e), 6) for e in (0, 1.5, 3, 6.5, 10, 11)]
    [0.004, 0.052, 0.1, 0.05, 0.0, 0.0]
    """

    formula: ClassVar[str] = "half a cosine up to α₀, and one down"

    warm_up: float = 0.3
    start: float = 0.04
    final: float = 1e-4
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("warm_up", self.warm_up)
        require_fraction("start", self.start, whole=True)
        require_fraction("final", self.final, whole=True)

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        t, first = self._share(step, epoch, self.per), self.initial * self.start
        if t < self.warm_up:
            return _cosine(first, self.initial, t / self.warm_up)
        return _cosine(self.initial, first * self.final, (t - self.warm_up) / (1 - self.warm_up))


@dataclass(frozen=True)
class FlatCosine(OverRun):
    """The same rate for a part of the run, then half a cosine down to a last rate.

    With t the share of what is left of the run: α = α_end + (α₀ − α_end)(1 + cos πt) / 2.

    Parameters
    ----------
    initial : float
        α₀, the highest rate.
    total : float
        Where the decay ends, in epochs (or steps, with ``per="step"``); from there on α_end.
    flat : float
        The share of the run at α₀, in [0, 1).
    final : float
        α_end.
    per : {"epoch", "step"}
        The unit. Epochs count with their fraction, so the rate changes at every step.

    Examples
    --------
    >>> rate = FlatCosine(0.1, total=10)
    >>> [round(rate(step=0, epoch=e), 3) for e in (0, 5, 7.5, 10, 11)]
    [0.1, 0.1, 0.05, 0.0, 0.0]
    """

    formula: ClassVar[str] = "α₀, then final + (α₀ − final)(1 + cos πt) / 2"

    flat: float = 0.5
    final: float = 0.0
    per: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("flat", self.flat)
        check_not_negative(self.final, "final")

    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""
        t = self._share(step, epoch, self.per)
        return _cosine(self.initial, self.final, max(t - self.flat, 0.0) / (1.0 - self.flat))
