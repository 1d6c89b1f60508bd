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

from ..checks import check_name
from ..nn.activations import ACTIVATIONS, Activation
from ..nn.layer import Layer
from ..nn.loss import Loss
from ..nn.stacks import hidden_stack, losses_for
from ..optim.optimizers import SGD, Adam, Optimizer, RMSProp
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


def _closed(low: float, high: float | None, closed: str = "left", kind: type = Real) -> Interval:
    return Interval(kind, low, high, closed=closed)


#: What scikit-learn's validation checks the parameters by.
CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", _closed(1, None, kind=Integral)],
    "activation": [StrOptions({*NAMED}), list, tuple, Activation],
    "solver": [str, Optimizer],
    "alpha": [_closed(0, None)],
    "batch_size": [StrOptions({"auto"}), _closed(1, None, kind=Integral)],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    "learning_rate_init": [_closed(0, None, "neither")],
    "power_t": [_closed(0, None)],
    "max_iter": [_closed(1, None, kind=Integral)],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_closed(0, None)],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [_closed(0, 1, "both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_closed(0, 1)],
    "beta_1": [_closed(0, 1)],
    "beta_2": [_closed(0, 1)],
    "epsilon": [_closed(0, None, "neither")],
    "n_iter_no_change": [_closed(1, None, kind=Integral), Options(Real, {math.inf})],
    "max_fun": [_closed(1, None, kind=Integral)],
    "batch_norm": ["boolean"],
    "dropout": [_closed(0, 1)],
    "input_dropout": [_closed(0, 1)],
    "callbacks": [list, tuple, None],
    "device": [str, HasMethods(["asarray", "to_host"])],
    "dtype": [StrOptions({"float32", "float64"}), None],
}


def keep(estimator: Estimator, arguments: dict[str, Any]) -> None:
    """Set a constructor's arguments as attributes, as scikit-learn wants them."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def seed_of(estimator: Estimator) -> int:
    """Return the seed that `random_state` stands for."""
    state = estimator.random_state
    if isinstance(state, Integral):
        return int(state)
    return int(check_random_state(state).randint(2**31 - 1))


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
        dropout=[estimator.dropout] * len(sizes),
        input_dropout=estimator.input_dropout,
    )


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
    rate = e.learning_rate if callable(e.learning_rate) else e.learning_rate_init
    if isinstance(e.solver, Optimizer):
        if callable(e.learning_rate):
            raise ValueError(
                f"solver is {e.solver!r}, which has a learning rate of its own: give the schedule "
                "to it, not as learning_rate"
            )
        return e.solver
    match e.solver:
        case "adam":
            return Adam(rate, e.beta_1, e.beta_2, e.epsilon)
        case "sgd":
            return SGD(rate, e.momentum, bool(e.nesterovs_momentum and e.momentum))
        case "rmsprop":
            return RMSProp(rate, e.beta_2, e.epsilon)
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
