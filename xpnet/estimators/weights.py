"""An estimator's weights as scikit-learn shows them: ``coefs_`` and ``intercepts_``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import Array
from ..nn.layers import Linear
from ..nn.network import Network


class Weights:
    """`coefs_` and `intercepts_` of an estimator with a network."""

    network_: Network

    @property
    def coefs_(self) -> list[np.ndarray[Any, Any]]:
        """Weights of each layer (inputs, outputs): read-only copies; assign one or all to set."""
        weights = [self._host(w).T for w in self._weights_and_biases()[0]]
        return ReadOnlyWeights(weights, self, "coefs_")

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._set(self._weights_and_biases()[0], [np.asarray(v).T for v in values], "coefs_")

    @property
    def intercepts_(self) -> list[np.ndarray[Any, Any]]:
        """Biases of each layer, under batch norm its β: read-only copies; assign one or all."""
        biases = [self._host(b) for b in self._weights_and_biases()[1]]
        return ReadOnlyWeights(biases, self, "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._set(self._weights_and_biases()[1], [np.asarray(v) for v in values], "intercepts_")

    def _weights_and_biases(self) -> tuple[list[Array], list[Array]]:
        check_is_fitted(self, "network_")
        layers = self.network_.layers
        linear = [layer for layer in layers if isinstance(layer, Linear)]
        bearers = [layer if layer.bias else layers[layer.index + 1] for layer in linear]
        weights = [layer.parameters["weight"] for layer in linear]
        return weights, [layer.parameters["bias"] for layer in bearers]

    def _set(self, arrays: list[Array], values: list[Any], name: str) -> None:
        shapes = [tuple(array.shape) for array in arrays]
        if [value.shape for value in values] != shapes:
            raise ValueError(f"{name} must have the shapes of those there are")
        backend = self.network_.backend
        with backend.active():
            for array, value in zip(arrays, values, strict=True):
                array[...] = backend.asarray(value, array.dtype)

    def _host(self, x: Array) -> np.ndarray[Any, Any]:
        return self.network_.backend.to_host(x)


class ReadOnlyWeights(list[np.ndarray[Any, Any]]):
    """Copies of an estimator's arrays that can't be written to: that would change nothing.

    A new array put in the place of one goes into the estimator.
    """

    def __init__(self, arrays: list[np.ndarray[Any, Any]], estimator: Weights, name: str) -> None:
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
