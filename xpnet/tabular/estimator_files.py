"""Estimators for tables in files: the model's, with the parameters and the columns' names."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import numpy as np

from ..files import json_tree, safetensors_files
from ..files.safetensors_files import ModelFileError
from ..warning import warn
from .columns.schema import Schema
from .frames import COLUMN
from .model import MISMADE, Model, load_model

T = TypeVar("T", bound=Any)

#: What a model's training remembers of an estimator stands there.
ENTRY = "estimator"


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator's model to a file; parameters that can't be written are left out."""
    params = {}
    for name, value in estimator.get_params(deep=False).items():
        if isinstance(value, np.ndarray):
            value = value.tolist()
        try:
            params[name] = json_tree.encode(value)
        except TypeError:
            warn(f"{name} is {value!r:.100}, which can't be written: it is left out")
    names = getattr(estimator, "feature_names_in_", None)
    told = {
        "params": params,
        "columns": estimator._columns,
        "named": names is not None,
        "n_features": estimator.n_features_in_,
    }
    model = estimator.model_
    training = model.training | {ENTRY: told}
    Model(model.network, model.features, model.target, training).save(path)


def load(cls: type[T], path: str | os.PathLike[str], device: str) -> T:
    """Read a fitted estimator of a class from a file."""
    model = load_model(path, device)
    told = model.training.get(ENTRY, {})
    try:
        params = json_tree.decode(told.get("params", {}), {})
        found: T = cls(**params)
        found._validate_params()
        found._adopt(model.target)
        _take_columns(found, model, told)
    except MISMADE as error:
        why = safetensors_files.short(error)
        raise ModelFileError(f"{path}: no {cls.__name__} can be made of it ({why})") from error
    found.model_, found.plan_, found.history_ = model, None, None
    found.best_epoch_, found.temperature_, found.time_reason_ = None, None, ""
    return found


def _take_columns(estimator: Any, model: Model, told: dict[str, Any]) -> None:
    """Set what is known of the columns, as a file tells of them, or raise an error."""
    schema: Schema | None = getattr(model.features, "schema", None)
    width = model.network.n_features if schema is None else len(schema.names)
    n, names = told.get("n_features", width), told.get("columns")
    if not told and schema is not None and schema.names != [COLUMN.format(i) for i in range(n)]:
        names = schema.names
    named = told.get("named", names is not None)
    if type(n) is not int or n < 1 or type(named) is not bool:
        raise TypeError(f"it has {n!r:.50} features, named: {named!r:.50}")
    if names is not None:
        if type(names) is not list or any(type(name) is not str for name in names):
            raise TypeError(f"its columns are {names!r:.100}")
        if schema is None or len(names) != n or {c.name for c in schema.used} - {*names}:
            raise ValueError(f"its columns are {names!r:.100}, and its features of others")
    elif named or (schema is None and n != width) or n < width:
        raise ValueError(f"{n} columns have no names, or are not those of its features")
    estimator._columns, estimator.n_features_in_ = names, n
    if named:
        estimator.feature_names_in_ = np.array(names, object)
