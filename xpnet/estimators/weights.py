"""An estimator's weights as scikit-learn shows them: ``coefs_`` and ``intercepts_``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..nn.layers import Linear
from ..nn.network import Network

Weights = np.ndarray[Any, Any]


def coefs_of(network: Network) -> list[Array]:
    """Return the weights of each layer, (outputs, inputs) each: the network's own."""
    return [layer.parameters["weight"] for layer in linear_layers(network)]


def intercepts_of(network: Network) -> list[Array]:
    """Return the biases of each layer, under batch norm its β: the network's own."""
    bearers = [
        layer if layer.bias else network.layers[layer.index + 1] for layer in linear_layers(network)
    ]
    return [layer.parameters["bias"] for layer in bearers]


def linear_layers(network: Network) -> list[Linear]:
    """Return the layers that have weights."""
    return [layer for layer in network.layers if isinstance(layer, Linear)]


def assign(network: Network, arrays: list[Array], values: list[Weights], name: str) -> None:
    """Write values into arrays of a network, or raise a ValueError for other shapes."""
    if [value.shape for value in values] != [tuple(array.shape) for array in arrays]:
        raise ValueError(f"{name} must have the shapes of those there are")
    backend = network.backend
    with backend.active():
        for array, value in zip(arrays, values, strict=True):
            array[...] = backend.asarray(value, array.dtype)


class ReadOnlyWeights(list[Weights]):
    """Copies of an estimator's arrays that can't be written to: that would change nothing.

    A new array put in the place of one goes into the estimator.
    """

    def __init__(self, arrays: list[Weights], estimator: object, name: str) -> None:
        copies = [np.array(array) for array in arrays]
        for copy in copies:
            copy.flags.writeable = False
        super().__init__(copies)
        self._estimator, self._name = estimator, name

    def __setitem__(self, index: Any, value: Any) -> None:
        now = list(getattr(self._estimator, self._name))  # others may have been set since
        now[index] = value
        setattr(self._estimator, self._name, now)
        super().__setitem__(index, getattr(self._estimator, self._name)[index])

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)
