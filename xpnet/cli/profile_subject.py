"""What ``xpnet profile`` profiles: the network of a model, or one of given widths; with data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.layer import Layer
from ..nn.loading import load
from ..nn.network import Network
from ..recipes.settings import Settings
from ..tabular import readers
from ..tabular.features import preprocessing
from ..tabular.model import load_model
from ..tabular.target import Target


@dataclass(frozen=True)
class Subject:
    """A network and the data to make its batches of; X and y are None where they are made up."""

    name: str
    network: Network
    X: Any = None
    y: Any = None


def find(
    model: str | None,
    data: str | None,
    widths: tuple[int, ...] | None,
    given: dict[str, Any],
    target: str | None,
    drop: list[str],
) -> Subject:
    """Return what the command line names.

    Parameters
    ----------
    model, data : str or None
        The arguments. With widths the first one is the data.
    widths : tuple of int or None
        Features, units, outputs.
    given : dict
        Settings of a network of these widths.
    target : str or None
        The column with the labels, in a table.
    drop : list of str
        Columns to leave out.

    Raises
    ------
    ValueError, OSError
        If they don't go together.
    """
    if widths is not None:
        if data is not None:
            raise ValueError(f"--layers is given and so is MODEL {model}: give one of them")
        return of_layers(widths, Settings(hidden=widths[1:-1], **given), model, target, drop)
    if model is None:
        raise ValueError("there is nothing to profile: give MODEL, or --layers as 784-512-10")
    if given:
        option = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{option} goes with --layers: {model} says for itself")
    return of_model(model, data, target, drop)


def of_model(path: str, data: str | None, target: str | None, drop: list[str]) -> Subject:
    """Return the network of a model file, with data as the model takes them.

    Raises
    ------
    ValueError, OSError
        If the file is none, or the data do not fit the model.
    """
    if readers.is_data(path):
        raise ValueError(
            f"{path} is data, not a model: give MODEL before it, or --layers as 64-128-10"
        )
    if data is None:
        return Subject(Path(path).name, load(path, device="cpu"))
    model = load_model(path, device="cpu")
    schema = getattr(model.features, "schema", None)
    if target is None and readers.has_columns(data):
        target = model.training.get("target")
    dataset = readers.read(
        data,
        target,
        drop,
        schema=schema,
        column=model.target.column,
        n_features=model.network.n_features,
    )
    X = model.prepare(dataset.rows)
    y = model.target.encode(np.asarray(dataset.target))
    return Subject(f"{Path(path).name} on {dataset.name}", model.network, X, y)


def of_layers(
    widths: tuple[int, ...],
    settings: Settings,
    data: str | None,
    target: str | None,
    drop: list[str],
) -> Subject:
    """Return a network of given widths, with data if there are any.

    Its loss is that of the data's task; without data softmax cross-entropy, or sigmoid
    cross-entropy for a single output.

    Raises
    ------
    ValueError, OSError
        If the data do not fit the widths.
    """
    inputs, outputs = widths[0], widths[-1]
    text = "-".join(map(str, widths))
    loss = Target.LOSSES["multiclass" if outputs > 1 else "binary"]
    name, X, y = text, None, None
    front: list[Layer] = []
    if data is not None:
        if not readers.is_data(data) and Path(data).is_file():
            raise ValueError(f"--layers is given and {data} is no data: give one of them")
        dataset = readers.read(data, target, drop)
        features = preprocessing.learn(dataset.rows, dataset.schema)
        X = features.transform(dataset.rows, settings.dtype)
        front = features.layers()
        if X.shape[1] != inputs:
            raise ValueError(
                f"--layers begins with {inputs} and {dataset.name} has {X.shape[1]} features: "
                "give the same"
            )
        name = f"{text} on {dataset.name}"
        goal = Target.learn(np.asarray(dataset.target), settings.task)
        loss, y = goal.loss, goal.encode(np.asarray(dataset.target))
        if goal.n_outputs != outputs:
            raise ValueError(
                f"--layers ends with {outputs} and {dataset.name} needs {goal.n_outputs} "
                f"for {goal.task}: give the same"
            )
    network = Network(
        [*front, *settings.make_layers(outputs)],
        loss=loss,
        n_features=inputs,
        device="cpu",
        dtype=settings.dtype,
        random_state=settings.seed,
    )
    return Subject(name, network, X, y)
