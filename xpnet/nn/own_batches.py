"""Batches in which each member of a network has examples of its own, checked."""

from __future__ import annotations

from .._typing import Array, ArrayLike
from ..data.arrays import as_array
from .network import Network


def are_own(network: Network, X: ArrayLike) -> bool:
    """Return whether features are a batch for each member, of shape (k, n, n_features)."""
    if network.members is None:
        return False
    array = as_array(X, "X") if isinstance(X, (list, tuple)) else X
    return bool(getattr(array, "ndim", 2) == 3)


def prepare_own(network: Network, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Check a batch for each member and bring it to the device, as `Network.prepare` does.

    Parameters
    ----------
    network : Network
        With members.
    X : array, shape (k, n, n_features)
        Features.
    y : array-like, shape (k, n) or (k, n, m)
        Labels.

    Returns
    -------
    x, y : array
        On the device, as the network computes with them.

    Raises
    ------
    TypeError, ValueError
        If something about them is not as the network needs it.
    """
    X, y = as_array(X, "X"), as_array(y, "y")
    shape = network.members, X.shape[1]
    if X.shape[0] != network.members:
        raise ValueError(
            f"X has shape {tuple(X.shape)}: give a batch for each of {network.members} members, "
            f"({network.members}, examples, {network.n_features}), or one for all, (examples, "
            f"{network.n_features})"
        )
    if tuple(y.shape[:2]) != shape:
        raise ValueError(
            f"X has a batch of {shape[1]} examples for each of {shape[0]} members and y has shape "
            f"{tuple(y.shape)}: give labels of shape {shape}"
        )
    rows = X.reshape(-1, X.shape[2]), y.reshape(-1, *y.shape[2:])
    x, labels = network.prepare(*rows)
    x = x[:]  # of what is streamed, all
    return x.reshape(*shape, -1), labels.reshape(*shape, *labels.shape[1:])
