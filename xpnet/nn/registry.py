"""Networks as JSON-ready data: what a file may say, checked before anything is built from it."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from ..checks import check_count
from .activations import ACTIVATIONS
from .initializers import resolve
from .layers import BatchNorm, Dropout, Layer, Linear

#: The precisions that a network may have.
DTYPES = ("float32", "float64")

#: What `Network.config` holds, and a model file may say.
CONFIG = {"layers", "loss", "n_features", "dtype", "random_state"}

LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (Linear, BatchNorm, Dropout, *(type(make()) for make in ACTIVATIONS.values()))
}

#: Layers that a file may hold: far more than anyone has, and few enough to look at. Its options'
#: whole numbers go as far as a float knows them apart.
MOST_LAYERS, LARGEST = 10_000, 2**53

#: What a file may hold for an option of a layer, by the option's annotation.
_OPTIONS: dict[Any, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool | None": (bool, type(None)),
    "str": (str,),
    "str | Initializer": (str, dict),
}


def _layers(entries: Any) -> list[Layer]:
    """Return the layers that a file describes, or raise an error if an option is none of theirs."""
    if not isinstance(entries, list) or len(entries) > MOST_LAYERS:
        raise TypeError(f"layers are no list of at most {MOST_LAYERS:,}")
    layers = []
    for entry in entries:
        arguments = dict(entry)
        kind = LAYERS[arguments.pop("type")]
        options = {f.name: _OPTIONS[f.type] for f in fields(kind) if f.init}
        for name, value in arguments.items():
            huge = type(value) is int and abs(value) > LARGEST
            if huge or type(value) not in options.get(name, ()):
                raise TypeError(f"{name} is {value!r}, which no {kind.__name__} takes")
        layers.append(kind(**arguments))
    return layers


def described(document: Any) -> tuple[list[Layer], dict[str, Any]]:
    """Return the layers and the other options that ``Network.config`` gave as data.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing, or not as there.
    """
    config = dict(document)
    if config.keys() != CONFIG:
        odd = ", ".join(map(repr, sorted(config.keys() ^ CONFIG)))
        raise ValueError(f"missing or unknown: {odd}")
    layers = _layers(config.pop("layers"))
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
    if any(isinstance(value, bool) for value in vars(init).values()):
        raise TypeError(f"init is {init!r}")
    if not math.isfinite(init.standard_deviation(layer.n_inputs, layer.n_outputs)):
        raise ValueError(f"init is {init!r}: its weights are not finite")
