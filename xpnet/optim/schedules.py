"""Learning-rate schedules: pure functions from where a run stands to a rate.

A schedule is called with ``(step, epoch)``: the number of updates made so far, and the number of
epochs made so far with the fraction of the running one. The notes' decays (chapter 7.5) count whole
epochs ``i``; with ``per="step"`` they count updates instead. Any function of the same two arguments
may stand in for a schedule; a subclass of `Schedule` is one whose options are known, so that files
of estimators may hold it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from ..checks import check_fields, check_not_negative
from ..registry import Registered, Registry

#: What gives a learning rate: a `Schedule`, or any function of (step, epoch).
RateFunction: TypeAlias = Callable[[int, float], float]


@dataclass(frozen=True)
class Schedule(Registered):
    """The base of the schedules: a frozen dataclass of options, called with (step, epoch).

    Attributes
    ----------
    formula : str
        What it computes, for people.

    Examples
    --------
    >>> import xpnet as xn
    >>> @dataclass(frozen=True)
    ... class Sawtooth(xn.Schedule):
    ...     high: float
    ...     period: int = 10
    ...     def __call__(self, step, epoch):
    ...         return self.high * (1 - step % self.period / self.period)
    >>> xn.SGD(Sawtooth(0.1, period=4)).rate(step=5, epoch=0.0)
    0.07500000000000001
    """

    registry: ClassVar[Registry[Schedule]] = Registry("schedule")

    formula: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, step: int, epoch: float) -> float:
        """Return the rate at a step of an epoch."""


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


@dataclass(frozen=True)
class Cosine(Decay):
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

    total: float = 10.0
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
        now = float(self._count(step, epoch, self.per)) if self.per == "step" else epoch
        if now < self.warm_up:
            return self.initial * now / self.warm_up
        t = min((now - self.warm_up) / (self.total - self.warm_up), 1.0)
        return self.final + (self.initial - self.final) * (1.0 + math.cos(math.pi * t)) / 2.0
