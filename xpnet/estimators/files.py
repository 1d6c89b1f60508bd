"""How an estimator is kept: pickles that hold NumPy alone, and safetensors files."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ..files import json_tree, safetensors_files
from ..files.safetensors_files import ModelFileError
from ..nn.layer import Layer
from ..nn.loading import from_description
from ..nn.loss import Loss
from ..nn.members import member_of
from ..nn.schedule import Schedule
from ..nn.snapshots import restore
from ..optim.optimizers import Optimizer
from ..registry import Registered, Registry, UnknownNameError, check_options, make
from ..train.trainer import Trainer
from ..warning import warn
from .members import FIGURES
from .parameters import Estimator, goes_with, settings_of

T = TypeVar("T")

#: Fitted attributes that a file holds beside the network, and what they may be.
_FITTED: dict[str, Any] = {
    **dict.fromkeys(("n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_", "_width"), int),
    **dict.fromkeys(("classes_", "feature_names_in_"), np.ndarray),
    "_bounds": np.ndarray,
    "temperature_": float | None,
    **dict.fromkeys(("loss_", "best_loss_", "best_validation_score_"), int | float | None),
    **dict.fromkeys(("loss_curve_", "validation_scores_", "validation_loss_curve_"), list | None),
    "_multilabel": bool,
    "out_activation_": str,
    "_sklearn_output_config": dict,
    "_n_iter": int,
}

#: What building from a file that nobody wrote, or somebody altered, may raise.
_MISMADE = (
    *(KeyError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError, SyntaxError, MemoryError),
)


#: What the moments of a pickled trainer come with, beside the steps that members have not made.
COUNTERS = ("steps", "epochs", "optimizer")


def _encoded(value: Any, name: str) -> Any:
    """Return what stands in JSON for a parameter or attribute that is no plain value."""
    if isinstance(value, np.ndarray):
        return {"array": json_tree.encode(value.tolist(), _encoded, name), "dtype": value.dtype.str}
    if isinstance(value, tuple):
        return {"tuple": [json_tree.encode(item, _encoded, name) for item in value]}
    if isinstance(value, dict):
        pairs = [[json_tree.encode(x, _encoded, name) for x in item] for item in value.items()]
        return {"pairs": pairs}
    if isinstance(value, Registered):
        kind, registry = type(value), type(value).registry
        values = check_options(kind, settings_of(value)[1])
        return {
            registry.kind: registry.name_of(kind),
            "values": {k: json_tree.encode(v, _encoded, f"{name}.{k}") for k, v in values.items()},
        }
    return None


def _made(registry: Registry[Any], told: dict[str, Any]) -> Any:
    """Return an object of a registered class, as a file tells of it."""
    return make(registry[told[registry.kind]], told["values"])


#: What makes a value again of what stands for it.
_DECODED: dict[str, Any] = {
    "array": lambda told: np.array(told["array"], dtype=_plain_dtype(told["dtype"])),
    "tuple": lambda told: tuple(told["tuple"]),
    "pairs": lambda told: dict(told["pairs"]),
    "float": lambda told: float(told["float"]),  # as files of 0.1.0 have it
    **{
        base.registry.kind: partial(_made, base.registry)
        for base in (Schedule, Optimizer, Layer, Loss)
    },
}


def _plain_dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype that a file names: of numbers, truth values, strings or Python objects."""
    dtype = np.dtype(text)
    if dtype.kind not in "biufUO":
        raise TypeError(f"no arrays of {dtype} are kept")
    # A file may name strings of any length: how long they are is for the strings to say.
    return np.dtype(str) if dtype.kind == "U" else dtype


def without_trainer(state: dict[str, Any]) -> dict[str, Any]:
    """Return an estimator's state for a pickle: of its trainer moments and counters alone."""
    state = dict(state)
    trainer = state.pop("_optimizer", None)
    if trainer is not None:
        state["_kept"] = _kept(trainer)
    return state


def _kept(trainer: Trainer) -> dict[str, Any]:
    moments = [np.array(trainer.backend.to_host(m)) for m in trainer.moments]
    return counters_of(trainer) | {"moments": moments}


def counters_of(trainer: Trainer) -> dict[str, Any]:
    """Return how far a trainer has come, and its optimiser."""
    idle = [*trainer.update_step.idle]
    return {name: getattr(trainer, name) for name in COUNTERS} | {"idle": idle}


def set_counters(trainer: Trainer, kept: dict[str, Any]) -> None:
    """Set what `counters_of` returned."""
    for name in COUNTERS:
        setattr(trainer, name, kept[name])
    if "idle" in kept:  # not in pickles of 0.1.0
        trainer.update_step.idle[:] = kept["idle"]


def moments_of(estimator: Estimator, i: int) -> dict[str, Any] | None:
    """Return what `take_moments` gives a new trainer of member i alone, if there is a trainer."""
    trainer = estimator._optimizer
    kept = estimator.__dict__.get("_kept") if trainer is None else _kept(trainer)
    if kept is None:
        return None
    return {
        "steps": kept["steps"] - kept["idle"][i],
        "epochs": kept["epochs"],
        "optimizer": member_of(kept["optimizer"], i),
        "moments": [m[i] for m in kept["moments"]],
    }


def take_moments(estimator: Estimator, trainer: Trainer, wanted: bool) -> None:
    """Give a new trainer the moments that were pickled with the estimator, if it goes on."""
    kept = estimator.__dict__.pop("_kept", None)
    if wanted and kept is not None and len(kept["moments"]) == len(trainer.moments):
        with trainer.backend.active():
            restore(trainer.moments, [trainer.backend.asarray(m) for m in kept["moments"]])
        set_counters(trainer, kept)


def save(estimator: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file; parameters that can't be written are left out."""
    params = {}
    for name, value in estimator.get_params(deep=False).items():
        try:
            params[name] = json_tree.encode(value, _encoded)
        except TypeError:
            message = f"{name} is {value!r}, which can't be written: it is left out"
            warn(message)
    there = estimator.__dict__
    fitted = {n: json_tree.encode(there[n], _encoded) for n in _FITTED if n in there}
    arrays = estimator.network_.state()
    safetensors_files.require_finite(arrays, str(path))
    description = {
        "network": estimator.network_.config(),
        "estimator": {"class": type(estimator).__name__, "params": params, "fitted": fitted},
    }
    safetensors_files.write(path, arrays, description)


def load(cls: type[T], path: str | os.PathLike[str], device: str) -> T:
    """Read a fitted estimator of a class from a file."""
    arrays, description = safetensors_files.read(path)
    told = description.get("estimator")
    if not isinstance(told, dict) or told.get("class") != cls.__name__:
        kind = told.get("class") if isinstance(told, dict) else "no estimator"
        raise ModelFileError(f"{path}: holds {kind}, not {cls.__name__}")
    network = from_description(arrays, description, device, str(path))
    try:
        params, fitted = (
            {name: json_tree.decode(value, _DECODED) for name, value in told[part].items()}
            for part in ("params", "fitted")
        )
        estimator = cls(**params)
        if unknown := fitted.keys() - _FITTED:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        for name, value in fitted.items():
            _require_sound(name, value, network.members)
        estimator.__dict__.update(fitted, network_=network, _optimizer=None)
        _require_whole(estimator)
    except UnknownNameError as error:
        raise ModelFileError(f"{path}: {error}, then load again") from error
    except _MISMADE as error:
        raise ModelFileError(f"{path}: no estimator in it can be built ({error!r})") from error
    return estimator


def _require_sound(name: str, value: Any, members: int | None) -> None:
    """Raise if a fitted attribute, or that of a member, is not what it may be."""
    several = [value]
    if members is not None and name in FIGURES.values() and value is not None:
        if not isinstance(value, list) or len(value) != members:
            raise TypeError(f"{name} is {value!r}, and there are {members} members")
        several = value
    if not all(isinstance(one, _FITTED[name]) and np.ndim(one) <= 1 for one in several):
        raise TypeError(f"{name} is {value!r}")


def _require_whole(estimator: Estimator) -> None:
    """Raise if what a file gave does not fit the network in it."""
    network = estimator.network_
    output = estimator._output(None if estimator.recipe is None else network.loss)
    bounds = estimator.__dict__.get("_bounds")
    if bounds is not None and (bounds.dtype.kind, bounds.size) != ("f", 2 * network.n_outputs):
        raise ValueError(f"there are {bounds.size} bounds for {network.n_outputs} outputs")
    if estimator.n_features_in_ != network.n_features:
        raise ValueError(
            f"n_features_in_ is {estimator.n_features_in_!r}, its network takes "
            f"{network.n_features}"
        )
    if network.members is not None and not goes_with(estimator, network.members):
        raise ValueError(f"members is {estimator.members!r}, its network has {network.members}")
    if (output.loss.name, output.n_outputs) != (network.loss.name, network.n_outputs):
        raise ValueError(
            f"it is for {output.n_outputs} outputs and the {output.loss.name} loss, its network "
            f"for {network.n_outputs} and the {network.loss.name} loss"
        )
