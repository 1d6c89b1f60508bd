"""What a recipe and an estimator's parameters set together: what was changed by hand stays."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ..nn.activations import ACTIVATIONS
from ..optim.optimizers import Optimizer
from ..recipes.facts import Facts
from ..recipes.recipes import Asked, Plan
from ..recipes.settings import Settings
from ..recipes.training import Length
from . import parameters
from .parameters import Estimator


def _activation(e: Estimator) -> str:
    return "sigmoid" if e.activation == "logistic" else str(e.activation)


def _patience(e: Estimator) -> int | None:
    return None if math.isinf(e.n_iter_no_change) else int(e.n_iter_no_change)


#: Parameters that stand for settings: the setting's name, and its value.
SETTINGS: dict[str, tuple[str, Callable[[Estimator], Any]]] = {
    "hidden_layer_sizes": ("hidden", lambda e: tuple(parameters.sizes_of(e))),
    "activation": ("activation", _activation),
    "alpha": ("l2", lambda e: float(e.alpha)),
    "batch_size": ("batch_size", lambda e: int(e.batch_size)),
    "learning_rate_init": ("learning_rate", lambda e: float(e.learning_rate_init)),
    "max_iter": ("epochs", lambda e: int(e.max_iter)),
    "early_stopping": ("patience", _patience),
    "n_iter_no_change": ("patience", _patience),
    "batch_norm": ("batch_norm", lambda e: bool(e.batch_norm)),
    "dropout": ("dropout", lambda e: (float(e.dropout),)),
    "input_dropout": ("input_dropout", lambda e: float(e.input_dropout)),
    "members": ("members", parameters.check_members),
}

#: Parameters that stand for options of an optimiser, where the recipe's has such an option.
OPTIONS = {
    "learning_rate": "learning_rate",
    "beta_1": "beta_1",
    "beta_2": "beta_2",
    "epsilon": "eps",
    "momentum": "momentum",
    "nesterovs_momentum": "nesterov",
}

#: Values that don't go with a recipe, and what to do.
REFUSED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("solver", lambda v: isinstance(v, str) and v == "lbfgs", "give 'adam' or another that steps"),
    ("learning_rate", lambda v: v in ("invscaling", "adaptive"), "give a schedule as Cosine(…)"),
    ("warm_start", bool, "leave it False: a recipe is of a whole training"),
    (
        "activation",
        lambda v: not (isinstance(v, str) and (v == "logistic" or v in ACTIVATIONS)),
        f"give one name for all: logistic, {', '.join(ACTIVATIONS)}",
    ),
)


def check_recipe(e: Estimator, X: Any = None) -> None:
    """Raise an error of what does not go with a recipe.

    Raises
    ------
    TypeError, ValueError
        If there is no such recipe, X is sparse, or a parameter has a value that it can't follow.
    """
    told = f"which recipe={e.recipe!r} does not go with"
    Asked(e.recipe)
    for name in parameters.OWN:
        if name != "random_state" and parameters.is_several(getattr(e, name)):
            raise ValueError(f"{name} has a value for each member, {told}: give one for all")
    for name, is_so, advice in REFUSED:
        if is_so(getattr(e, name)):
            raise ValueError(f"{name} is {getattr(e, name)!r}, {told}: {advice}")
    if issparse(X):
        raise TypeError(
            f"X is sparse, {told}: its columns are centred, which leaves no zeros. Give "
            "X.toarray(), or recipe=None"
        )


def changed(e: Estimator) -> set[str]:
    """Return the names of the parameters that are not at their default.

    Examples
    --------
    >>> from xpnet import MLPClassifier
    >>> sorted(changed(MLPClassifier([100], alpha=1, dtype="float64")))
    ['alpha', 'dtype']
    """
    known = inspect.signature(type(e).__init__).parameters
    params = e.get_params(deep=False)
    return {name for name, value in params.items() if not _is(value, known[name].default)}


def _is(value: Any, default: Any) -> bool:
    if value is default:
        return True
    if isinstance(default, tuple):
        return np.array_equal(np.atleast_1d(value), default)
    kinds = (int, float, np.number) if isinstance(default, int | float) else (str,)
    return isinstance(value, kinds) and bool(value == default)


def plan_for(e: Estimator, facts: Facts, given: set[str], seed: int) -> Plan:
    """Return what a fit will do: the recipe's settings, and those of parameters in their place.

    Parameters
    ----------
    e : object
        The estimator.
    facts : Facts
        What is known of the data.
    given : set of str
        The parameters that were `changed`, and "loss" if the data leave no choice.
    seed : int
        Of the first network.
    """
    own = {SETTINGS[name][0]: SETTINGS[name][1](e) for name in sorted(given & SETTINGS.keys())}
    others = {"loss"} & given | (
        {"learning_rate", "schedule"} if "learning_rate" in given else set()
    )
    if "solver" in given:
        others |= {"optimizer", "learning_rate", "schedule"}
    return Asked(e.recipe, {*own, *others}).plan(facts, Settings(seed=seed, **own))


def optimizer_for(e: Estimator, settings: Settings, given: set[str], length: Length) -> Optimizer:
    """Return the optimiser: by the parameters alone if a solver was given by hand.

    Else it is that of the settings, with the options that were.
    """
    if "solver" in given:
        return parameters.optimizer_of(e)
    found = settings.make_optimizer(length.epochs, length.batches)
    known = {f.name for f in fields(found)}
    names = {name for name in OPTIONS.keys() & given if OPTIONS[name] in known}
    return replace(found, **{OPTIONS[name]: getattr(e, name) for name in names})
