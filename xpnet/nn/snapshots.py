"""Snapshots of a network's weights: copies on its device, put back in place."""

from __future__ import annotations

from collections.abc import Sequence

from .._typing import Array
from .network import Network


def weights_of(network: Network) -> list[Array]:
    """Return what a network computes from: its parameters and running statistics, not copied."""
    return [network.parameters, network.statistics]


def snapshot(arrays: Sequence[Array]) -> list[Array]:
    """Return copies of arrays, where they live; the backend must be active."""
    return [array.copy() for array in arrays]


def restore(
    arrays: Sequence[Array], copies: Sequence[Array], members: Sequence[int] | None = None
) -> None:
    """Write copies back into their arrays, of some members or all; nothing without a snapshot."""
    places = [...] if members is None else members
    for array, copy in zip(arrays, copies, strict=bool(copies)):
        for place in places:
            array[place] = copy[place]


def check_snapshot(network: Network, arrays: list[Array]) -> list[Array]:
    """Return arrays from a checkpoint, or raise a ValueError if they are not of the network."""
    shapes = [array.shape for array in weights_of(network)]
    if arrays and [array.shape for array in arrays] != shapes:
        raise ValueError(f"weights of shapes {[a.shape for a in arrays]}, of a network of {shapes}")
    return arrays
