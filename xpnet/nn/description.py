"""Networks as JSON-ready data: what a file may say, checked before anything is built from it."""

from __future__ import annotations

import math

from .._typing import Tree
from ..checks import check_count
from .initializers import resolve
from .layer import Layer
from .linear import Linear
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
    if config.keys() != CONFIG:
        odd = ", ".join(map(repr, sorted(config.keys() ^ CONFIG)))
        raise ValueError(f"missing or unknown: {odd}")
    entries = config.pop("layers")
    if not isinstance(entries, list) or len(entries) > MOST_LAYERS:
        raise TypeError(f"layers are no list of at most {MOST_LAYERS:,}")
    layers = [Layer.registry.build(entry) for entry in entries]
    config["loss"] = Loss.from_config(config["loss"])
    if config["dtype"] not in DTYPES:
        raise ValueError(f"dtype is {config['dtype']!r}")
    check_count(config["random_state"], "random_state", least=0)
    return layers, config


def shapes_of(layers: list[Layer], n_features: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of what a file with these layers must hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = check_count(n_features, "n_features")
    for index, layer in enumerate(layers):
        width = layer.build(index, width, layers[index + 1 :])
        if isinstance(layer, Linear):
            _check_init(layer)
        named = layer.weight_shapes() | layer.other_shapes() | layer.statistic_shapes()
        shapes |= {f"{index}.{name}": shape for name, shape in named.items()}
    return shapes


def _check_init(layer: Linear) -> None:
    """Raise an error if a layer's initial weights can't be drawn: it is not done on loading."""
    init = resolve(layer.init)
    if not math.isfinite(init.standard_deviation(layer.n_inputs, layer.n_outputs)):
        raise ValueError(f"init is {init!r}: its weights are not finite")
