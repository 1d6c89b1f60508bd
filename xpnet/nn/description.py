"""Networks as JSON-ready data: what a file may say, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike

from .._typing import DType, Tree
from ..checks import check_count
from .layer import Layer
from .loss import Loss

#: The precisions that a network may have.
DTYPES = ("float32", "float64")

#: What `Network.config` holds, and a model file may say.
CONFIG = {"layers", "loss", "n_features", "dtype", "random_state"}

#: Layers that a file may hold: far more than anyone has, and few enough to look at.
MOST_LAYERS = 10_000


def described(document: Tree) -> tuple[list[Layer], Tree]:
    """Return the layers and the other options that ``Network.config`` gave as data.

    Raises
    ------
    UnknownNameError
        If a class that it names has not been defined.
    KeyError, TypeError, ValueError
        If something is missing, or not as there.
    """
    config = dict(document)
    if config.keys() - {"members"} != CONFIG:
        odd = ", ".join(map(repr, sorted(config.keys() - {"members"} ^ CONFIG)))
        raise ValueError(f"missing or unknown: {odd}")
    entries = config.pop("layers")
    if not isinstance(entries, list) or len(entries) > MOST_LAYERS:
        raise TypeError(f"layers are no list of at most {MOST_LAYERS:,}")
    layers = [Layer.registry.build(entry) for entry in entries]
    config["loss"] = Loss.from_config(config["loss"])
    if config["dtype"] not in DTYPES:
        raise ValueError(f"dtype is {config['dtype']!r}")
    for seed in config["random_state"] if "members" in config else [config["random_state"]]:
        check_count(seed, "random_state", least=0)
    return layers, config


def shapes_of(layers: list[Layer], n_features: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of what a file with these layers must hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = check_count(n_features, "n_features")
    for index, layer in enumerate(layers):
        width = layer.build(index, width, layers[index + 1 :])
        layer.check_initial()  # it is not drawn on loading
        named = layer.weight_shapes() | layer.other_shapes() | layer.statistic_shapes()
        shapes |= {f"{index}.{name}": shape for name, shape in named.items()}
    return shapes


def check_dtype(dtype: DTypeLike) -> DType:
    """Return the precision of a network, or raise a ValueError."""
    try:
        name = "" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: give one of {', '.join(DTYPES)}")
    return np.dtype(name)  # by its name, so in this machine's byte order


def check_seed(seed: int | None) -> int:
    """Return a seed; one that is drawn for None."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    return check_count(seed, "random_state", least=0)


def check_layers(layers: Sequence[Layer], loss: Loss) -> list[Layer]:
    """Return copies of layers, or raise an error if no network can be made of them."""
    if not hasattr(layers, "__iter__"):
        raise TypeError(f"layers is {layers!r}: give a list such as [Linear(9), ReLU(), Linear(1)]")
    for layer in layers:
        if not isinstance(layer, Layer):
            is_class = isinstance(layer, type)
            hint = "did you mean to call it?" if is_class else "give one such as ReLU()"
            raise TypeError(f"{layer!r} is not a layer: {hint}")
    if layers and type(layers[-1]).__name__ == loss.output_activation:
        raise ValueError(
            f"the last layer is {loss.output_activation} and {loss.name} applies it too: "
            f"leave the last {loss.output_activation} out (predict_proba gives its values)"
        )
    return [replace(layer) for layer in layers]
