"""How an estimator is kept: pickles that hold NumPy alone, and safetensors files."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import fields
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..files import safetensors_files
from ..files.safetensors_files import ModelFileError
from ..nn.network import Network, from_description
from ..optim.schedules import Schedule
from ..registry import UnknownNameError, check_options, make
from ..train.trainer import Trainer

#: Fitted attributes that a file holds beside the network, and what they may be.
_FITTED: dict[str, Any] = {
    **dict.fromkeys(("n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_", "_width"), int),
    **dict.fromkeys(("classes_", "feature_names_in_"), np.ndarray),
    **dict.fromkeys(("loss_", "best_loss_", "best_validation_score_"), int | float | None),
    **dict.fromkeys(("loss_curve_", "validation_scores_", "validation_loss_curve_"), list | None),
    "_multilabel": bool,
    "out_activation_": str,
    "_sklearn_output_config": dict,
}


#: What building from a file that nobody wrote, or somebody altered, may raise.
_MISMADE = (
    *(KeyError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RecursionError, SyntaxError, MemoryError),
)


def _pack(value: Any) -> Any:
    """Return a parameter or attribute as JSON-ready data from which `_unpack` makes it again.

    Raises
    ------
    TypeError
        If it is of a kind that is not known here.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return {"array": _pack(value.tolist()), "dtype": value.dtype.str}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_pack(item) for item in value]}
    if isinstance(value, dict):
        return {"pairs": [[_pack(k), _pack(v)] for k, v in value.items()]}
    if isinstance(value, Schedule):
        parts = check_options(type(value), {f.name: getattr(value, f.name) for f in fields(value)})
        name = Schedule.registry.name_of(type(value))
        return {"schedule": name, "values": {name: _pack(part) for name, part in parts.items()}}
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no such numbers
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} can't be written")


def _unpack(value: Any) -> Any:
    """Return what `_pack` was given."""
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(_unpack(value["array"]), dtype=_plain_dtype(value["dtype"]))
    if "tuple" in value:
        return tuple(_unpack(item) for item in value["tuple"])
    if "pairs" in value:
        return {_unpack(k): _unpack(v) for k, v in value["pairs"]}
    if "schedule" in value:
        parts = {name: _unpack(part) for name, part in value["values"].items()}
        return make(Schedule.registry[value["schedule"]], parts)
    return float(value["float"])


def _plain_dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype that a file names: of numbers, truth values, strings or Python objects."""
    dtype = np.dtype(text)
    if dtype.kind not in "biufUO":
        raise TypeError(f"no arrays of {dtype} are kept")
    # A file may name strings of any length: how long they are is for the strings to say.
    return np.dtype(str) if dtype.kind == "U" else dtype


class Kept(BaseEstimator):
    """Pickling, `save` and `load` of an estimator."""

    network_: Network
    n_features_in_: int
    _optimizer: Trainer | None

    def _loss_name(self) -> tuple[str, int, str]:
        """Return the loss, the number of outputs, and what scikit-learn calls their activation."""
        raise NotImplementedError

    # -- pickling: NumPy alone ----

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        trainer = state.pop("_optimizer", None)
        if trainer is not None:
            moments = [np.array(trainer.backend.to_host(m)) for m in trainer.moments]
            names = ("steps", "epochs", "optimizer")
            state["_kept"] = {name: getattr(trainer, name) for name in names} | {"moments": moments}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            self._optimizer = None

    def _resume(self, trainer: Trainer, wanted: bool) -> None:
        """Give a new trainer the moments that were pickled with the estimator, if it goes on."""
        kept = self.__dict__.pop("_kept", None)
        if wanted and kept is not None and len(kept["moments"]) == len(trainer.moments):
            with trainer.backend.active():
                for array, value in zip(trainer.moments, kept["moments"], strict=True):
                    array[...] = trainer.backend.asarray(value)
            for name in ("steps", "epochs", "optimizer"):
                setattr(trainer, name, kept[name])

    # -- files, for callers that must not unpickle ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file, which `load` reads.

        The arrays have PyTorch's names; parameters and classes stand in the metadata as JSON.
        `xpnet.load` reads the network alone.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.

        Warns
        -----
        UserWarning
            If a parameter can't be written, such as a callback: `load` gives its default.
        """
        check_is_fitted(self, "network_")
        params = {}
        for name, value in self.get_params(deep=False).items():
            try:
                params[name] = _pack(value)
            except TypeError:
                message = f"{name} is {value!r}, which can't be written: it is left out"
                warnings.warn(message, UserWarning, stacklevel=2)
        fitted = {name: _pack(self.__dict__[name]) for name in _FITTED if name in self.__dict__}
        arrays = self.network_.state()
        safetensors_files.require_finite(arrays, str(path))
        description = {
            "network": self.network_.config(),
            "estimator": {"class": type(self).__name__, "params": params, "fitted": fitted},
        }
        safetensors_files.write(path, arrays, description)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a fitted estimator from a file that `save` wrote.

        Parameters
        ----------
        path : path
            The file.
        device : {"auto", "cpu", "cuda", "cuda:N"}
            Where its network is to live.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is not a whole file of an estimator of this class.
        """
        arrays, description = safetensors_files.read(path)
        told = description.get("estimator")
        if not isinstance(told, dict) or told.get("class") != cls.__name__:
            kind = told.get("class") if isinstance(told, dict) else "no estimator"
            raise ModelFileError(f"{path}: holds {kind}, not {cls.__name__}")
        network = from_description(arrays, description, device, str(path))
        try:
            estimator = cls(**{name: _unpack(value) for name, value in told["params"].items()})
            fitted = {name: _unpack(value) for name, value in told["fitted"].items()}
            if unknown := fitted.keys() - _FITTED:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
            for name, value in fitted.items():
                if not isinstance(value, _FITTED[name]) or np.ndim(value) > 1:
                    raise TypeError(f"{name} is {value!r}")
            estimator.__dict__.update(fitted, network_=network, _optimizer=None)
            estimator._check_whole()
        except UnknownNameError as error:
            raise ModelFileError(f"{path}: {error}, then load again") from error
        except _MISMADE as error:
            raise ModelFileError(f"{path}: no estimator in it can be built ({error!r})") from error
        return estimator

    def _check_whole(self) -> None:
        """Raise if what a file gave does not fit the network in it."""
        if self.n_features_in_ != self.network_.n_features:
            raise ValueError(
                f"n_features_in_ is {self.n_features_in_!r}, its network takes "
                f"{self.network_.n_features}"
            )
        loss, n_outputs, _ = self._loss_name()
        if (loss, n_outputs) != (self.network_.loss.name, self.network_.n_outputs):
            raise ValueError(
                f"it is for {n_outputs} outputs and the {loss} loss, its network for "
                f"{self.network_.n_outputs} and the {self.network_.loss.name} loss"
            )
