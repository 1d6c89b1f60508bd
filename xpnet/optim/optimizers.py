"""Optimisers: each one update over a network's flat buffers.

An optimiser is a frozen description; its moments live with the `Trainer`, as flat arrays beside the
parameters. What changes from step to step (the rate, bias corrections) is a pure function of the
number of the update, `Optimizer.scalars`, and reaches the kernels in device memory.

The learning rate is a number or a schedule: any function of (step, epoch).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from .._typing import Array
from ..backends.reference import Kernels
from ..backends.updates import UPDATES, Update
from ..checks import Numbers, check_fields, check_not_negative, check_positive, each, one
from ..nn.schedule import Rates as Rates
from ..nn.schedule import check_rates, value_at
from ..registry import Registered, Registry
from .options import check_each, is_array, require_fraction


@dataclass(frozen=True)
class Optimizer(Registered):
    """The base of the optimisers.

    An optimiser is a row of `updates.UPDATES`, whose options are fields of the same names. One of a
    user's own, a frozen dataclass of its options, gives `update` itself, `n_moments` unless it
    keeps one, `n_scratch` unless it needs one, and `scalars` if more than the rate changes from
    step to step. An option annotated `Numbers` may be a number for each member of a network with
    members: `update` then finds an array (k, 1) in its place, `scalars` each member's number.

    Parameters
    ----------
    learning_rate : float or callable, or a sequence of them
        α, above 0, or a schedule: a function of (step, epoch). Several: one for each member of a
        network with members; so may momentum, β, ε and weight decay be.

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
    ...     def update(self, k, p, g, moments, scalars, scratch, n_weights):
    ...         xp, v, rest = k.xp, moments[0], scratch[0]
    ...         xp.multiply(v, self.beta, out=v)
    ...         xp.multiply(g, 1 - self.beta, out=rest)
    ...         xp.add(v, rest, out=v)
    ...         xp.sign(v, out=rest)
    ...         xp.multiply(rest, scalars[0], out=rest)
    ...         xp.subtract(p, rest, out=p)
    >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device="cpu")
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> history = xn.Trainer(net, Signum(0.01)).fit(X, y, batch_size=20, epochs=50)
    >>> bool(net.evaluate(X, y)["error"] < 0.01)
    True
    """

    registry: ClassVar[Registry[Optimizer]] = Registry(
        "optimiser", spell=lambda cls: cls.__name__.lower()
    )

    learning_rate: Rates = 1e-3

    #: Which row it is.
    row: ClassVar[str] = ""
    #: Whether the last of `scalars` is what weights are multiplied by before the row's update.
    decays: ClassVar[bool] = False

    @property
    def rule(self) -> Update | None:
        """The row; None: `update` needs none."""
        return UPDATES.get(self.row)

    @cached_property
    def options(self) -> tuple[float | Array, ...]:
        """The values of the row's options: numbers, or the arrays in which `update` finds them."""
        names = self.rule.options if self.rule else ()
        values = {name: getattr(self, name) for name in names}
        return tuple(x if is_array(x) else float(one(x, name)) for name, x in values.items())

    @property
    def n_moments(self) -> int:
        """How many moments it keeps."""
        return len(self.rule.moments) if self.rule else 1

    @property
    def n_scratch(self) -> int:
        """How many arrays of scratch it takes."""
        return self.rule.registers_for(self.options) if self.rule else 1

    def __post_init__(self) -> None:
        check_fields(self)
        rates = check_rates(self.learning_rate, "learning_rate", check_positive)
        object.__setattr__(self, "learning_rate", rates)

    def rate(self, step: int, epoch: float) -> float:
        """Return the learning rate of an update, ``step`` counted from 0; not of several members.

        Raises
        ------
        ValueError
            If a schedule gives a rate that is negative, NaN or infinite, or no number.
        TypeError
            If each member has a rate of its own.
        """
        return value_at(one(self.learning_rate, "learning_rate"), step, epoch, "rate")

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return what changes from step to step, as the kernel takes it."""
        return (self.rate(step, epoch),)

    def update(
        self,
        k: Kernels,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        scratch: Sequence[Array],
        n_weights: int,
        factors: Sequence[Array] = (),
    ) -> None:
        """Update the parameters p from the gradients g, in place.

        Parameters
        ----------
        k : Kernels
            The backend's kernels.
        p, g : array, shape (…, P)
            Flat parameters and gradients.
        moments : sequence of array, shape (…, P)
            The optimiser's own averages, zero at the start: `n_moments`.
        scalars : sequence of array, shape (1,), or (k, 1)
            This step's `scalars`, on the device: of each member where any has its own.
        scratch : sequence of array, shape (…, P)
            Overwritten: at least `n_scratch`.
        n_weights : int
            How many of the P are weights, which come first; biases and batch norm's γ and β follow.
        factors : sequence of array, shape (P,)
            What each gradient, the change of its parameter, and the share that this decays by are
            multiplied by. Given where a trainer has some: one's own `update` may do without.
        """
        rule = self.rule
        if rule is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a row nor an update")
        rule = rule.with_factors(self.decays) if factors else rule
        n_decayed = n_weights if self.decays and not factors else 0
        if self.decays and not (n_decayed or factors):
            scalars = scalars[:-1]
        k.update(rule, p, g, moments, scalars, self.options, scratch, n_decayed, factors)


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

    learning_rate: Rates = 1e-2
    momentum: Numbers = 0.0
    nesterov: bool = False

    @property
    def rule(self) -> Update:
        """The row."""
        if not is_array(self.momentum) and not self.momentum:
            return UPDATES["sgd"]
        return UPDATES["nesterov" if self.nesterov else "sgd_momentum"]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("momentum", self.momentum, whole=True)
        if self.nesterov and 0 in each(self.momentum):
            raise ValueError("nesterov needs a momentum above 0, such as 0.9")


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

    learning_rate: Rates = 1e-2
    beta: Numbers = 0.9

    row: ClassVar[str] = "momentum"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("beta", self.beta)


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

    learning_rate: Rates = 1e-3
    beta: Numbers = 0.9
    eps: Numbers = 1e-8

    row: ClassVar[str] = "rmsprop"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("beta", self.beta)
        check_each(check_positive, self.eps, "eps")


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adaptive gradients: s ← s + g², p ← p − α g / (√s + ε).

    Duchi, Hazan & Singer, JMLR 12, 2011. A parameter's own rate shrinks with all the gradients that
    it has had, which suits features that are seldom there.

    Parameters
    ----------
    learning_rate : float or callable
        α.
    eps : float
        ε, above 0.

    Examples
    --------
    >>> Adagrad(0.05)
    Adagrad(learning_rate=0.05, eps=1e-10)
    """

    learning_rate: Rates = 1e-2
    eps: Numbers = 1e-10

    row: ClassVar[str] = "adagrad"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(check_positive, self.eps, "eps")


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

    learning_rate: Rates = 1e-3
    beta_1: Numbers = 0.9
    beta_2: Numbers = 0.999
    eps: Numbers = 1e-8

    row: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("beta_1", self.beta_1)
        require_fraction("beta_2", self.beta_2)
        check_each(check_positive, self.eps, "eps")

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return α/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ), t = step + 1."""
        t = step + 1
        rate = self.rate(step, epoch) / (1.0 - one(self.beta_1, "beta_1") ** t)
        return rate, 1.0 / math.sqrt(1.0 - one(self.beta_2, "beta_2") ** t)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, in PyTorch's form).

    Weights are first multiplied by 1 − α λ, biases and batch norm's γ and β are not; then all are
    updated as by `Adam`. Unlike the trainer's ``l2``, the decay is no part of the gradient, and so
    is not divided by √ŝ.

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta_1, beta_2 : float
        β₁ and β₂ in [0, 1).
    eps : float
        ε, above 0.
    weight_decay : float or callable
        λ, 0 or more, or a schedule of it.

    Examples
    --------
    >>> AdamW(1e-3, weight_decay=0.1)
    AdamW(learning_rate=0.001, beta_1=0.9, beta_2=0.999, eps=1e-08, weight_decay=0.1)
    """

    weight_decay: Rates = 1e-2

    decays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_decay(self)

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return Adam's, and 1 − α λ."""
        keep = 1.0 - self.rate(step, epoch) * _decay(self.weight_decay, step, epoch)
        return *super().scalars(step, epoch), keep


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov's look-ahead (Dozat, ICLR 2016 workshop, in PyTorch's form).

    With v, s and ŝ as in `Adam`, μₜ = β₁ (1 − 0.96^(t ψ) / 2) and Πₜ = μ₁ ⋯ μₜ:
    p ← p − α [(1 − μₜ)/(1 − Πₜ) g + μₜ₊₁/(1 − Πₜ₊₁) v] / (√ŝ + ε).

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta_1, beta_2 : float
        β₁ and β₂ in [0, 1).
    eps : float
        ε, above 0.
    momentum_decay : float
        ψ, 0 or more.

    Examples
    --------
    >>> NAdam(2e-3).momentum_decay
    0.004
    """

    learning_rate: Rates = 2e-3
    momentum_decay: Numbers = 4e-3

    row: ClassVar[str] = "nadam"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each(check_not_negative, self.momentum_decay, "momentum_decay")

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return α (1 − μₜ)/(1 − Πₜ), α μₜ₊₁/(1 − Πₜ₊₁) and 1/√(1 − β₂ᵗ), t = step + 1."""
        t, rate = step + 1, self.rate(step, epoch)
        now, following = self._momentum(t), self._momentum(t + 1)
        product = self._product(t)
        correction = 1.0 / math.sqrt(1.0 - one(self.beta_2, "beta_2") ** t)
        ahead = rate * following / (1.0 - product * following)
        return rate * (1.0 - now) / (1.0 - product), ahead, correction

    def _momentum(self, t: int) -> float:
        """μₜ."""
        beta, decay = one(self.beta_1, "beta_1"), one(self.momentum_decay, "momentum_decay")
        return beta * (1.0 - 0.5 * math.pow(0.96, t * decay))

    def _product(self, t: int) -> float:
        """Πₜ, of the step alone: 0 once that makes no difference to 1 − Πₜ.

        Its logarithm is t log β₁ + Σᵢ log(1 − qⁱ/2) with q = 0.96^ψ; the sum over i of each term of
        the logarithm's series is that of a geometric one.
        """
        beta = one(self.beta_1, "beta_1")
        start = t * math.log(beta) if beta else -math.inf
        if start < -40.0:
            return 0.0
        log_q = one(self.momentum_decay, "momentum_decay") * math.log(0.96)
        total = 0.0
        for k in range(1, 60):
            x = k * log_q
            powers = math.exp(x) * math.expm1(x * t) / math.expm1(x) if x else float(t)
            total += powers / (k * 2.0**k)
        return math.exp(start - total)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Evolved sign momentum (Chen et al., NeurIPS 2023), with decoupled weight decay.

    Weights are first multiplied by 1 − α λ, biases and batch norm's γ and β are not; then
    p ← p − α sign(β₁ v + (1 − β₁) g), v ← β₂ v + (1 − β₂) g. Each update changes a parameter by α:
    take a rate of a third to a tenth of Adam's, and λ larger by as much.

    Parameters
    ----------
    learning_rate : float or callable
        α.
    beta_1, beta_2 : float
        β₁ and β₂ in [0, 1).
    weight_decay : float or callable
        λ, 0 or more, or a schedule of it.

    Examples
    --------
    >>> Lion(3e-4, weight_decay=0.1)
    Lion(learning_rate=0.0003, beta_1=0.9, beta_2=0.99, weight_decay=0.1)
    """

    learning_rate: Rates = 1e-4
    beta_1: Numbers = 0.9
    beta_2: Numbers = 0.99
    weight_decay: Rates = 0.0

    row: ClassVar[str] = "lion"
    decays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("beta_1", self.beta_1)
        require_fraction("beta_2", self.beta_2)
        _check_decay(self)

    def scalars(self, step: int, epoch: float) -> tuple[float, ...]:
        """Return α and 1 − α λ."""
        rate = self.rate(step, epoch)
        return rate, 1.0 - rate * _decay(self.weight_decay, step, epoch)


def _check_decay(optimizer: AdamW | Lion) -> None:
    decay = check_rates(optimizer.weight_decay, "weight_decay", check_not_negative)
    object.__setattr__(optimizer, "weight_decay", decay)


def _decay(weight_decay: Rates, step: int, epoch: float) -> float:
    return value_at(one(weight_decay, "weight_decay"), step, epoch, "weight decay")


def check_optimizer(optimizer: Optimizer | None) -> Optimizer:
    """Return an optimiser, `Adam` with its defaults for None, or raise a TypeError."""
    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        kinds = ", ".join(kind.__name__ for kind in Optimizer.registry.values())
        raise TypeError(
            f"optimizer is {optimizer!r}: give one such as Adam(learning_rate=0.001), of {kinds}"
        )
    return optimizer or Adam()
