"""What an estimator's parameters may be, and what they stand for: layers, optimiser, seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions

from ..checks import Numbers, check_count, check_name, each
from ..nn.activations import ACTIVATIONS, Activation
from ..nn.layer import Layer
from ..nn.loss import Loss
from ..nn.members import check_own_numbers
from ..nn.stacks import hidden_stack, losses_for
from ..optim.optimizers import SGD, Adam, Optimizer, Rates, RMSProp
from ..recipes.recipes import RECIPES
from ..registry import Registered
from ..warning import warn

#: An `MLPClassifier` or `MLPRegressor`, whose parameters and fitted attributes are read and set.
Estimator: TypeAlias = Any

#: Hidden activations by name: scikit-learn's names beside those of the library.
NAMED: dict[str, Callable[[], Layer] | None] = {
    "identity": None,
    "logistic": ACTIVATIONS["sigmoid"],
    **{name: kind for name, kind in ACTIVATIONS.items() if name != "identity"},
}

#: The batch size that "auto" stands for, as in scikit-learn: this, or all of a smaller data set.
BATCH_SIZE = 200


#: The largest seed that scikit-learn takes.
LARGEST_SEED = 2**32 - 1

#: The parameters that may be one for each member.
OWN = (
    *("alpha", "learning_rate", "learning_rate_init", "power_t", "random_state", "tol"),
    *("momentum", "beta_1", "beta_2", "epsilon", "dropout", "input_dropout"),
)


class OneForEach(Interval):  # type: ignore[misc]
    """Several numbers of an interval, one for each member."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is such a sequence."""
        inside = super().is_satisfied_by
        return is_several(val) and len(val) > 0 and all(inside(number) for number in val)

    def __str__(self) -> str:
        """Return what to give, for scikit-learn's messages."""
        return "one for each member"


def is_several(value: Any) -> bool:
    """Return whether a parameter has a value for each member."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _closed(low: float, high: float | None, closed: str = "left", kind: type = Real) -> Interval:
    return Interval(kind, low, high, closed=closed)


def _own(low: float, high: float | None, closed: str = "left") -> list[Interval]:
    """Return the constraint of a number that may be one for each member."""
    return [kind(Real, low, high, closed=closed) for kind in (Interval, OneForEach)]


#: What scikit-learn's validation checks the parameters by.
CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", _closed(1, None, kind=Integral)],
    "activation": [StrOptions({*NAMED}), list, tuple, Activation],
    "solver": [str, Optimizer],
    "alpha": _own(0, None),
    "batch_size": [StrOptions({"auto"}), _closed(1, None, kind=Integral)],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable, list, tuple],
    "learning_rate_init": _own(0, None, "neither"),
    "power_t": _own(0, None),
    "max_iter": [_closed(1, None, kind=Integral)],
    "shuffle": ["boolean"],
    "random_state": ["random_state", OneForEach(Integral, 0, LARGEST_SEED, closed="both")],
    "tol": _own(0, None),
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": _own(0, 1, "both"),
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_closed(0, 1)],
    "beta_1": _own(0, 1),
    "beta_2": _own(0, 1),
    "epsilon": _own(0, None, "neither"),
    "n_iter_no_change": [_closed(1, None, kind=Integral), Options(Real, {math.inf})],
    "max_fun": [_closed(1, None, kind=Integral)],
    "batch_norm": ["boolean"],
    "dropout": _own(0, 1),
    "input_dropout": _own(0, 1),
    "callbacks": [list, tuple, None],
    "device": [str, HasMethods(["asarray", "to_host"])],
    "dtype": [StrOptions({"float32", "float64"}), None],
    "members": [_closed(1, None, kind=Integral), None],
    "recipe": [StrOptions({*RECIPES}), None],
}


def keep(estimator: Estimator, arguments: dict[str, Any]) -> None:
    """Set a constructor's arguments as attributes, as scikit-learn wants them."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def check_members(estimator: Estimator) -> int | None:
    """Return how many members there are; None: it is one network.

    Raises
    ------
    TypeError, ValueError
        If a parameter has a value for each of more or fewer, or learning rates are no schedules.
    """
    e = estimator
    members = 1 if e.members is None else check_count(e.members, "members")
    for name in OWN:
        value = getattr(e, name)
        if not is_several(value):
            continue
        if members == 1:
            or_members = f", or members={len(value)}" if len(value) > 1 else ", without a sequence"
            raise ValueError(
                f"{name} has {len(value)} values and this is one network: give one{or_members}"
            )
        if len(value) != members:
            raise ValueError(
                f"{name} has {len(value)} values and there are {members} members: give one for "
                "all, or one for each"
            )
    for thing in (e.solver, getattr(e, "loss", None)):
        if isinstance(thing, Registered):
            check_own_numbers(thing, members if members > 1 else None)
    if is_several(e.learning_rate) and not all(map(callable, e.learning_rate)):
        raise ValueError(
            f"learning_rate is {e.learning_rate!r}: give a schedule for each member; numbers for "
            "each are given as learning_rate_init"
        )
    return members if members > 1 else None


def goes_with(estimator: Estimator, members: int | None) -> bool:
    """Return whether a network of so many members is what the parameters say; a recipe may too."""
    by_recipe = estimator.recipe is not None and estimator.members is None
    return by_recipe or check_members(estimator) == members


def has_schedule(estimator: Estimator) -> bool:
    """Return whether the learning rate is a schedule, or one for each member."""
    return callable(estimator.learning_rate) or is_several(estimator.learning_rate)


def numbers_of(value: Any) -> Numbers:
    """Return a parameter as the library takes it: a number, or a tuple with one for each member."""
    return tuple(map(float, value)) if is_several(value) else float(value)


def seeds_of(estimator: Estimator, members: int | None) -> list[int]:
    """Return the seed of each member, or of the one network, that `random_state` stands for."""
    state = estimator.random_state
    if is_several(state):
        return [int(seed) for seed in state]
    if not isinstance(state, Integral):
        state = check_random_state(state).randint(2**31 - 1)
    first, k = int(state), members or 1
    if first + k - 1 > LARGEST_SEED:
        raise ValueError(
            f"random_state is {first}, and the last of {k} members has {first + k - 1}: give at "
            f"most {LARGEST_SEED - k + 1}"
        )
    return [first + i for i in range(k)]


def sizes_of(estimator: Estimator) -> list[int]:
    """Return the units of each hidden layer."""
    sizes = estimator.hidden_layer_sizes
    listed = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(s, Integral) and not isinstance(s, bool | np.bool_) for s in listed):
        raise TypeError(f"hidden_layer_sizes is {sizes!r}: give whole numbers, as in (100, 50)")
    if any(size <= 0 for size in listed):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {listed}.")
    return [int(size) for size in listed]


def layers_of(estimator: Estimator, n_outputs: int) -> list[Layer]:
    """Return the network's layers, as the parameters describe them."""
    sizes = sizes_of(estimator)
    return hidden_stack(
        sizes,
        _activations(estimator.activation, len(sizes)),
        n_outputs,
        batch_norm=estimator.batch_norm,
        dropout=[_probability(estimator.dropout)] * len(sizes),
        input_dropout=_probability(estimator.input_dropout),
    )


def _probability(given: Any) -> Numbers:
    """Return a probability of dropping: 0 where no member drops any."""
    p = numbers_of(given)
    return p if isinstance(p, float) or any(p) else 0.0


def _activations(given: Any, n: int) -> list[Layer | None]:
    """Return the activation of each hidden layer."""
    several = list(given) if isinstance(given, list | tuple) else [given] * n
    known = all(isinstance(a, Activation) or (isinstance(a, str) and a in NAMED) for a in several)
    if not known or len(several) != n:
        raise ValueError(
            f"activation is {given!r} and there are {n} hidden layers: give one name or instance, "
            f"or one for each, out of {', '.join(NAMED)}"
        )
    kinds = [a if isinstance(a, Activation) else NAMED[a] for a in several]
    return [kind() if callable(kind) else kind for kind in kinds]


def optimizer_of(estimator: Estimator) -> Optimizer:
    """Return the optimiser; one given as an instance is taken as it is."""
    e = estimator
    rate: Rates = numbers_of(e.learning_rate_init)
    if has_schedule(e):
        several = is_several(e.learning_rate)
        rate = tuple(e.learning_rate) if several else e.learning_rate
    if isinstance(e.solver, Optimizer):
        if has_schedule(e):
            raise ValueError(
                f"solver is {e.solver!r}, which has a learning rate of its own: give the schedule "
                "to it, not as learning_rate"
            )
        return e.solver
    match e.solver:
        case "adam":
            return Adam(rate, *map(numbers_of, (e.beta_1, e.beta_2, e.epsilon)))
        case "sgd":
            momentum = numbers_of(e.momentum)
            return SGD(rate, momentum, bool(e.nesterovs_momentum and any(each(momentum))))
        case "rmsprop":
            return RMSProp(rate, *map(numbers_of, (e.beta_2, e.epsilon)))
    return check_name(e.solver, Optimizer.registry, "solver")(rate)


def find_loss(loss: Any, of_classes: bool, named: Mapping[str, type[Loss]] | None = None) -> Loss:
    """Return a loss by name, or as it is given, or raise a ValueError if it is for other labels.

    ``named`` are further names.
    """
    if isinstance(loss, Loss) and loss.of_classes == of_classes:
        return loss
    return check_name(loss, {**(named or {}), **losses_for(of_classes)}, "loss")()


def batch_size_of(estimator: Estimator, n: int) -> int:
    """Return how many of n examples go into a mini-batch."""
    if estimator.batch_size == "auto":
        return min(BATCH_SIZE, n)
    if estimator.batch_size > n:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return min(int(estimator.batch_size), n)


def settings_of(thing: Any) -> tuple[str, dict[str, Any]]:
    """Return what tells a layer or a loss from another one: its class, and what it is set to."""
    options = fields(thing) if is_dataclass(thing) else ()
    return type(thing).__name__, {f.name: getattr(thing, f.name) for f in options if f.init}
