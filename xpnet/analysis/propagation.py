"""How signals grow or fade on their way through a deep network (notes, chapter 6).

Weights that are too small make activations and gradients vanish, layer by layer; weights that are
too large make them explode. `activation_scales` measures it on a network, `expected_scales` says
what theory expects of wide layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import check_count
from ..nn.activations import ReLU, Tanh
from ..nn.initializers import He, Initializer, Normal, Xavier
from ..nn.layer import Layer
from ..nn.linear import Linear
from ..nn.network import Network, check_network


def activation_scales(network: Network, X: Any) -> list[Any]:
    """Measure the root mean square of each layer's outputs for some examples, as in prediction.

    Parameters
    ----------
    network : Network
        Usually one that has not been trained yet.
    X : array-like, shape (n, n_features)
        Examples.

    Returns
    -------
    list of float
        √ mean(a²) over examples and units, one number for each of ``network.layers``; for a network
        with members a list of theirs.

    Raises
    ------
    TypeError, ValueError
        If X is not as the network needs it.

    Examples
    --------
    >>> import xpnet as xn
    >>> layers = [xn.Linear(200, init=xn.Normal(0.01)), xn.ReLU()] * 10 + [xn.Linear(1)]
    >>> net = xn.Network(layers, loss="mean_squared_error", n_features=200, device="cpu")
    >>> scales = activation_scales(net, np.random.default_rng(0).normal(size=(100, 200)))
    >>> scales[1] > 0.05, scales[19] < 1e-9                    # they vanish
    (True, True)
    """
    check_network(network)
    with network.backend.active():
        return [_scale(a) for a in network.activations(X)]


def gradient_scales(network: Network, X: Any, y: Any) -> list[Any]:
    """Measure the root mean square of the gradient of each linear layer's weights on a batch.

    Parameters
    ----------
    network : Network
        Usually one that has not been trained yet.
    X, y : array-like
        A batch, as for training.

    Returns
    -------
    list of float
        √ mean((∂J/∂W)²), one number for each `Linear`, or a list of those of members.

    Raises
    ------
    TypeError, ValueError
        If X or y is not as the network needs it.
    """
    check_network(network)
    with network.claim, network.backend.active():
        statistics = network.statistics.copy()
        network.passes.loss_and_gradient(*network.prepare(X, y))
        network.statistics[...] = statistics  # to look at it must not train it
        linear = [layer for layer in network.layers if isinstance(layer, Linear)]
        return [_scale(layer.gradients["weight"]) for layer in linear]


def _scale(a: Any) -> Any:
    """Return √ mean(a²) of a matrix, or of each of several."""
    squares = (a * a).reshape(*a.shape[:-2], -1).mean(axis=-1)
    return (
        [math.sqrt(float(mean)) for mean in squares] if squares.ndim else math.sqrt(float(squares))
    )


def expected_scales(activation: str, weight_variance: float, depth: int) -> list[float]:
    """Return the root mean squares that theory expects behind each activation of a wide network.

    With inputs of mean square 1 and weights of variance v / m_in, the pre-activations of a wide
    layer are normal with variance q_l = v E[a²_{l−1}], so E[a²_l] = E[φ(√q_l Z)²], Z from N(0, 1);
    for a ReLU that is q_l / 2, hence He's v = 2. (Poole et al., "Exponential expressivity in deep
    neural networks through transient chaos", NeurIPS 2016, eq. 3.)

    Parameters
    ----------
    activation : {"relu", "tanh"}
        φ.
    weight_variance : float
        v: 2 for He, 1 for Xavier between layers of the same width, m σ² for N(0, σ²).
    depth : int
        Number of layers.

    Raises
    ------
    ValueError
        If the activation is neither.

    Examples
    --------
    >>> [round(scale, 3) for scale in expected_scales("relu", 2.0, 3)]        # He: they hold
    [1.0, 1.0, 1.0]
    >>> [round(scale, 3) for scale in expected_scales("relu", 1.0, 3)]        # the notes' 1/m
    [0.707, 0.5, 0.354]
    """
    functions: dict[str, Callable[[Any], Any]] = {"tanh": np.tanh, "relu": lambda z: z * (z > 0)}
    if activation not in functions:
        raise ValueError(f"activation is {activation!r}: give one of {', '.join(functions)}")
    z, share = np.polynomial.hermite_e.hermegauss(100)
    share = share / share.sum()
    square, scales = 1.0, []
    for _ in range(check_count(depth, "depth")):
        outputs = functions[activation](math.sqrt(weight_variance * square) * z)
        square = float(share @ outputs**2)
        scales.append(math.sqrt(square))
    return scales


#: The initial weights that `study` compares.
STUDIED: tuple[Initializer, ...] = (Normal(0.01), Normal(0.1), Xavier(), He())


def study(width: int = 500, depth: int = 20, random_state: int = 0) -> list[dict[str, Any]]:
    """Compare initial weights in deep networks of tanh and of ReLU layers, on standard normal data.

    Parameters
    ----------
    width, depth : int
        Units of each layer, and how many layers.
    random_state : int
        The seed of data and weights.

    Returns
    -------
    list of dict
        For each activation and initialiser: "activation", "init", "weight_variance" (m σ²), and for
        each layer "activations" (measured), "expected" (theory) and "gradients" (measured).

    Examples
    --------
    >>> he = study(width=100, depth=3)[-1]
    >>> he["activation"], he["init"], [round(scale, 1) for scale in he["expected"]]
    ('relu', He(slope=0.0), [1.0, 1.0, 1.0])
    """
    draw = np.random.default_rng(random_state)
    X, y = draw.standard_normal((300, width)), draw.standard_normal(300)
    found = []
    for name, kind in (("tanh", Tanh), ("relu", ReLU)):
        for init in STUDIED:
            layers: list[Layer] = [
                layer for _ in range(depth) for layer in (Linear(width, init=init), kind())
            ]
            net = Network(
                [*layers, Linear(1, init=init)],
                loss="mean_squared_error",
                n_features=width,
                device="cpu",
                dtype="float64",
                random_state=random_state,
            )
            variance = width * init.standard_deviation(width, width) ** 2
            found.append(
                {
                    "activation": name,
                    "init": init,
                    "weight_variance": variance,
                    "activations": activation_scales(net, X)[1:-1:2],
                    "expected": expected_scales(name, variance, depth),
                    "gradients": gradient_scales(net, X, y)[:-1],
                }
            )
    return found
