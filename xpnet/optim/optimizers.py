"""Optimisers: each one update over a network's flat buffers.

An optimiser is a frozen description; its moments live with the `Trainer`, as flat arrays beside the
parameters. What changes from step to step (the rate, bias corrections) is a pure function of the
number of the update, `Optimizer.scalars`, and reaches the kernels in device memory.

The learning rate is a number or a schedule: any function of (step, epoch).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .._typing import Array
from ..backends.reference import Kernels
from ..checks import check_fields, check_positive
from ..registry import Registered, Registry
from .schedules import RateFunction


def _require_fraction(name: str, value: float, whole: bool = False) -> None:
    if not (0 <= value < 1 or (whole and value == 1)):
        raise ValueError(f"{name} is {value}: give a number in [0, 1{']' if whole else ')'}")


@dataclass(frozen=True)
class Optimizer(Registered):
    """The base of the optimisers.

    A subclass, a frozen dataclass of its options, gives `update`, `n_moments` unless it keeps one,
    and `scalars` if more than the rate changes from step to step.

    Parameters
    ----------
    learning_rate : float or callable
        α, above 0, or a schedule: a function of (step, epoch).

    Raises
    ------
    TypeError
        When a class is defined: if the library has an optimiser of its name, or it has an
        ``__init__``.

    Examples
    --------
    An optimiser of one's own, p ← p − α sign(v) with v ← β v + (1 − β) g:

    >>> import numpy as np, xpnet as xn
    >>> @dataclass(frozen=True)
    ... class Signum(xn.Optimizer):
    ...     beta: float = 0.9
    ...     def update(self, k, p, g, moments, scalars, scratch):
    ...         xp, v = k.xp, moments[0]
    ...         xp.multiply(v, self.beta, out=v)
    ...         xp.multiply(g, 1 - self.beta, out=scratch)
    ...         xp.add(v, scratch, out=v)
    ...         xp.sign(v, out=scratch)
    ...         xp.multiply(scratch, scalars[0], out=scratch)
    ...         xp.subtract(p, scratch, out=p)
    >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device="cpu")
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> history = xn.Trainer(net, Signum(0.01)).fit(X, y, batch_size=20, epochs=50)
    >>> bool(net.evaluate(X, y)["error"] < 0.01)
    True
    """

    registry: ClassVar[Registry[Optimizer]] = Registry(
        "optimiser", spell=lambda cls: cls.__name__.lower()
    )

    learning_rate: float | RateFunction = 1e-3

    @property
    def n_moments(self) -> int:
        """How many moments it keeps."""
        return 1

    def __post_init__(self) -> None:
        check_fields(self)
        if not callable(self.learning_rate):
            check_positive(self.learning_rate, "learning_rate")

    def rate(self, step: int, epoch: float) -> float:
        """Return the learning rate of an update, ``step`` counted from 0.

        Raises
        ------
        ValueError
            If a schedule gives a rate that is negative, NaN or infinite.
        """
        if not callable(self.learning_rate):
            return float(self.learning_rate)
        rate = float(self.learning_rate(step, epoch))
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(
                f"the schedule {self.learning_rate!r} gives the rate {rate} at step {step}, epoch "
                f"{epoch:g}: give finite numbers, 0 or more"
            )
        return rate

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return what changes from step to step, as the kernel takes it."""
        return (self.rate(step, epoch),)

    @abstractmethod
    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Array,
    ) -> None:
        """Update the parameters p from the gradients g, in place.

        Parameters
        ----------
        k : Kernels
            The backend's kernels.
        p, g : array, shape (…, P)
            Flat parameters and gradients.
        moments : sequence of array, shape (…, P)
            The optimiser's own averages, zero at the start.
        scalars : sequence of array, shape (1,)
            This step's `scalars`, on the device.
        scratch : array, shape (…, P)
            Overwritten.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: p ← p − α g (notes, chapters 1 and 7), with momentum on request.

    With momentum μ: v ← μ v + g, p ← p − α v (Sutskever et al., ICML 2013, in PyTorch's form); with
    ``nesterov``: p ← p − α (g + μ v).

    Parameters
    ----------
    learning_rate : float or callable
        α.
    momentum : float
        μ in [0, 1]; at 1 no gradient is ever forgotten.
    nesterov : bool
        Nesterov's look-ahead; needs a momentum.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    learning_rate: float | RateFunction = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def n_moments(self) -> int:
        """How many moments it keeps: one with momentum, else none."""
        return 1 if self.momentum else 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_fraction("momentum", self.momentum, whole=True)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, such as 0.9")

    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Array,
    ) -> None:
        """Update the parameters in place."""
        if self.momentum == 0:
            k.sgd(p, g, scalars[0], scratch)
        else:
            k.sgd_momentum(p, g, moments[0], scalars[0], self.momentum, self.nesterov, scratch)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent along a moving average: v ← β v + (1 − β) g, p ← p − α v.

    The notes' chapter 7.2. It is SGD with momentum β at the rate α (1 − β).

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta : float
        β in [0, 1).
    """

    learning_rate: float | RateFunction = 1e-2
    beta: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_fraction("beta", self.beta)

    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Array,
    ) -> None:
        """Update the parameters in place."""
        k.momentum(p, g, moments[0], scalars[0], self.beta, scratch)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Root mean squared propagation: s ← β s + (1 − β) g², p ← p − α g / (√s + ε).

    The notes' chapter 7.3, with ε outside the root as in their code (their text has it inside);
    after Hinton's lecture 6e of "Neural networks for machine learning", 2012.

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta : float
        β₂ in [0, 1).
    eps : float
        ε, above 0.
    """

    learning_rate: float | RateFunction = 1e-3
    beta: float = 0.9
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_fraction("beta", self.beta)
        check_positive(self.eps, "eps")

    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Array,
    ) -> None:
        """Update the parameters in place."""
        k.rmsprop(p, g, moments[0], scalars[0], self.beta, self.eps, scratch)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moment estimation (notes, chapter 7.4; Kingma & Ba, ICLR 2015, algorithm 1).

    v ← β₁ v + (1 − β₁) g, s ← β₂ s + (1 − β₂) g², and with v̂ = v/(1 − β₁ᵗ), ŝ = s/(1 − β₂ᵗ):
    p ← p − α v̂ / (√ŝ + ε), where t counts the updates from 1. The raw averages recur; only the
    copies v̂ and ŝ are corrected.

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta_1, beta_2 : float
        β₁ and β₂ in [0, 1).
    eps : float
        ε, above 0.

    Examples
    --------
    >>> Adam(learning_rate=1e-3)
    Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, eps=1e-08)
    """

    learning_rate: float | RateFunction = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    eps: float = 1e-8

    @property
    def n_moments(self) -> int:
        """How many moments it keeps: v and s."""
        return 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_fraction("beta_1", self.beta_1)
        _require_fraction("beta_2", self.beta_2)
        check_positive(self.eps, "eps")

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return α/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ), t = step + 1."""
        t = step + 1
        rate = self.rate(step, epoch) / (1.0 - self.beta_1**t)
        return rate, 1.0 / math.sqrt(1.0 - self.beta_2**t)

    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Array,
    ) -> None:
        """Update the parameters in place."""
        v, s = moments
        rate, correction = scalars
        k.adam(p, g, v, s, rate, correction, self.beta_1, self.beta_2, self.eps, scratch)


def check_optimizer(optimizer: Optimizer | None) -> Optimizer:
    """Return an optimiser, `Adam` with its defaults for None, or raise a TypeError."""
    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        raise TypeError(f"optimizer is {optimizer!r}: give one such as Adam(learning_rate=0.001)")
    return optimizer or Adam()
