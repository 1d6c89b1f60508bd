"""Copies of networks: a member as a network of its own, or all of one with another loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .layer import Layer
from .loss import Loss
from .members import check_member, member_of

if TYPE_CHECKING:
    from .network import Network


def extract(network: Network, i: int) -> Network:
    """Return a copy of member i alone; see `Network.member`."""
    if network.members is None:
        return _of_shared_weights(network, i)
    place = check_member(i, network.members)
    layers = [member_of(layer, place) for layer in network.layers]
    alone = _blank(network, layers, member_of(network.loss, place), network.seeds[place])
    alone.copy_arrays(network.parameters[place], network.statistics[place])
    return alone


def _of_shared_weights(network: Network, i: int) -> Network:
    """Return a network whose layers have the weights that those of the ensemble make for i."""
    place = check_member(i, network.passes.members or 1)
    parts = [layer.alone(place) for layer in network.layers]
    alone = _blank(network, [layer for layer, _ in parts], network.loss, network.seeds[0])
    with network.backend.active():
        for layer, (_, arrays) in zip(alone.layers, parts, strict=True):
            for name, held in (layer.parameters | layer.statistics).items():
                held[...] = arrays[name]
    return alone


def with_loss(network: Network, loss: Loss) -> Network:
    """Return a copy of a network that has another loss, with as many outputs."""
    copy = network.blank(
        network.layers,
        network.backend,
        loss=loss,
        n_features=network.n_features,
        dtype=network.dtype,
        random_state=network.random_state,
        members=network.members,
    )
    copy.copy_arrays(network.parameters, network.statistics)
    return copy


def _blank(network: Network, layers: Sequence[Layer], loss: Loss, seed: int) -> Network:
    return network.blank(
        layers,
        network.backend,
        loss=loss,
        n_features=network.n_features,
        dtype=network.dtype,
        random_state=seed,
    )
