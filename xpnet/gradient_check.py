"""Numerical check that the backward pass is the derivative of the forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from .network import Network
from .validation import check_not_negative


def check_gradients(
    network: Network, X: Any, y: Any, *, l2: float = 0.0, epsilon: float = 1e-6
) -> float:
    """Compare a network's gradients with two-sided differences of its cost (notes, chapter 6.1).

    The relative error is ‖F − ∇J‖ / (‖F‖ + ‖∇J‖), where F holds
    (J(p + ε eᵢ) − J(p − ε eᵢ)) / 2ε for each parameter, and J is the mean
    loss plus λ/2n ‖W‖². Dropout keeps one mask throughout.

    Parameters
    ----------
    network : Network
        In float64. Its parameters and statistics are as before afterwards.
    X, y : array-like
        A small batch.
    l2 : float
        λ.
    epsilon : float
        ε, the size of the step.

    Returns
    -------
    float
        The relative error; below 1e-7 for a right backward pass.

    Raises
    ------
    ValueError
        If the network is in float32: its rounding, some 1e-7, divided by ε drowns the difference.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Linear(4), xn.Tanh(), xn.Linear(2)], loss="mean_squared_error",
    ...                  n_features=3, dtype="float64", device="cpu")
    >>> rng = np.random.default_rng(0)
    >>> bool(check_gradients(net, rng.normal(size=(5, 3)), rng.normal(size=(5, 2))) < 1e-7)
    True
    """
    if network.dtype != np.float64:
        raise ValueError(
            f"the network is in {network.dtype}: a gradient check needs dtype='float64', because "
            "float32 rounds the cost by more than the difference that is measured"
        )
    network._require_single("check_gradients")
    l2 = check_not_negative(l2, "l2")
    with network.backend.active():
        x, labels = network.admit(X, y)
        n: int = x.shape[0]
        p = network.parameters
        weights = p[: network.n_weights]
        statistics = network.statistics.copy()

        def cost() -> float:
            loss = float(network.loss_and_gradient(x, labels))
            return loss + float((weights * weights).sum()) * l2 / (2 * n)

        cost()
        decayed, scratch = network.gradients[: network.n_weights], weights.copy()
        network.backend.kernels.add_decay(decayed, weights, l2 / n, scratch)
        gradient = network.backend.to_host(network.gradients).copy()
        differences = np.empty_like(gradient)
        for i in range(len(gradient)):
            value = float(p[i])
            p[i] = value + epsilon
            above = cost()
            p[i] = value - epsilon
            below = cost()
            p[i] = value
            differences[i] = (above - below) / (2 * epsilon)
        network.statistics[...] = statistics
    size = float(np.linalg.norm(differences) + np.linalg.norm(gradient))
    return float(np.linalg.norm(differences - gradient)) / size if size else 0.0
