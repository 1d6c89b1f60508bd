"""An estimator's weights as scikit-learn shows them: ``coefs_`` and ``intercepts_``.

Of members they have one more axis, the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import Array
from ..nn.linear import Linear
from ..nn.network import Network
from .parameters import Estimator


def linear_layers(network: Network) -> list[Linear]:
    """Return the layers that have weights.

    Raises
    ------
    AttributeError
        If members share weights, which have no such form.
    """
    if network.passes.members is not None:
        raise AttributeError(
            "members share weights here, as in the recipe 'tabm': there are no coefs_ and "
            "intercepts_. network_.state() has the arrays; network_.member(i) is one network"
        )
    return [layer for layer in network.layers if isinstance(layer, Linear)]


def _arrays(estimator: Estimator, name: str) -> list[Array]:
    """Return the network's own weights (inputs, outputs), or its biases: under batch norm its β."""
    check_is_fitted(estimator, "network_")
    network = estimator.network_
    linear = linear_layers(network)
    if name == "coefs_":
        return [layer.parameters["weight"].swapaxes(-1, -2) for layer in linear]
    bearers = [layer if layer.bias else network.layers[layer.index + 1] for layer in linear]
    biases = [layer.parameters["bias"] for layer in bearers]
    return [bias.reshape(*network.leading_shape, -1) for bias in biases]


def assign(estimator: Estimator, name: str, values: Sequence[Any]) -> None:
    """Set the arrays of one of the two names, or raise a ValueError for other shapes."""
    arrays, given = _arrays(estimator, name), [np.asarray(value) for value in values]
    if [value.shape for value in given] != [tuple(array.shape) for array in arrays]:
        raise ValueError(f"{name} must have the shapes of those there are")
    backend = estimator.network_.backend
    with backend.active():
        for array, value in zip(arrays, given, strict=True):
            array[...] = backend.asarray(value, array.dtype)


class ReadOnlyWeights(list[np.ndarray[Any, Any]]):
    """Copies of an estimator's arrays that can't be written to: that would change nothing.

    A new array put in the place of one goes into the estimator.
    """

    def __init__(self, estimator: Estimator, name: str) -> None:
        arrays = _arrays(estimator, name)
        to_host = estimator.network_.backend.to_host
        copies = [np.array(to_host(array)) for array in arrays]
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
