"""A network whose outputs are brought to another scale, by the parameters of its last layer."""

from __future__ import annotations

from .._typing import HostArray
from .network import Network


def rescale_outputs(network: Network, scale: HostArray, shift: HostArray) -> None:
    """Make a network's outputs z ∘ scale + shift: W ← scale ∘ W and b ← scale ∘ b + shift.

    So a network that was trained on standardised values predicts values.

    Parameters
    ----------
    network : Network
        Whose last layer is a `Linear` or `EnsembleLinear` with a bias. It is changed.
    scale, shift : array, shape (n_outputs,)
        On the host.

    Raises
    ------
    ValueError
        If its last layer is another one.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> net = xn.Network([xn.Linear(2)], loss="mean_squared_error", n_features=1, device="cpu",
    ...                  dtype="float64")
    >>> net.load_state({"0.weight": np.ones((2, 1)), "0.bias": np.zeros(2)})
    >>> rescale_outputs(net, np.array([10.0, 100.0]), np.array([0.5, 0.0]))
    >>> net.predict([[3.0]])
    array([[ 30.5, 300. ]])
    """
    last = network.layers[-1]
    if last.proportional_to != ("weight", "bias") or "bias" not in last.parameters:
        raise ValueError(
            f"the network's last layer is {last!r}: a scale is folded into a Linear with a bias"
        )
    backend, weight, bias = network.backend, last.parameters["weight"], last.parameters["bias"]
    with backend.active():
        factors, shifts = (backend.asarray(a, network.dtype) for a in (scale, shift))
        weight *= factors[:, None]
        bias *= factors
        bias += shifts
