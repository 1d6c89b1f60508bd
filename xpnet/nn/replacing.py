"""A member of a network replaced by another network, in place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from .layer import Layer
from .members import changed_to, changes, check_same_type, on_device, write_members
from .network import Network
from .stacking import SHARED


class Changes(NamedTuple):
    """The options of which a network's members get other values, by name.

    Attributes
    ----------
    layers : sequence of dict
        Of each layer.
    loss : dict
        Of the loss.
    """

    layers: Sequence[dict[str, Any]]
    loss: dict[str, Any]


def find_changes(network: Network, i: int, other: Network) -> Changes:
    """Return what changes where a network takes member i's place.

    Raises
    ------
    ValueError
        If it differs in what members share.
    """
    other.require_single("a member's place")
    for what, of in SHARED:
        its, ours = of(other), of(network)
        if its != ours:
            raise ValueError(f"{what} is {its}, and {ours} in the network: members share it")
    members, pairs = len(network.seeds), [*zip(network.layers, other.layers, strict=True)]
    for j, pair in enumerate(pairs):  # before options that follow from other layers
        check_same_type(*pair, f"layer {j}")
        _require_alike(*pair, j)
    layers = [changes(mine, i, its, members, f"layer {j}") for j, (mine, its) in enumerate(pairs)]
    return Changes(layers, changes(network.loss, i, other.loss, members, "the loss"))


def _require_alike(mine: Layer, its: Layer, j: int) -> None:
    """Raise a ValueError if what changes from step to step in one layer does not in the other."""
    if mine.is_scheduled != its.is_scheduled:
        raise ValueError(
            f"layer {j} is {its!r}, and {mine!r} in the network: members have numbers, or "
            "schedules of one kind"
        )


def replace_member(network: Network, i: int, other: Network, changed: Changes) -> bool:
    """Put a copy of a network in member i's place; the backend must be active.

    Parameters
    ----------
    network : Network
        With members.
    i : int
        Which one is replaced.
    other : Network
        Of one network.
    changed : Changes
        What `find_changes` returned.

    Returns
    -------
    bool
        Whether all was written in place. Else buffers are made anew, and with them what was
        captured.
    """
    seeds = [*network.seeds[:i], other.seeds[0], *network.seeds[i + 1 :]]
    network.seeds, network.random_state = tuple(seeds), seeds
    network.copy_arrays(other.parameters, other.statistics, i)
    in_place = True
    for layer, values in zip(network.layers, changed.layers, strict=True):
        for name, value in values.items():
            object.__setattr__(layer, name, value)  # which a user is refused
        held = partial(network.passes.held, layer.index)
        if not layer.take_member(i, seeds[i], values, held):
            layer.connect(network.seeds, network.step_key)
            layer.bind(network.backend.kernels)
            in_place = False
    loss = network.passes.loss
    if changed.loss:
        network.loss = changed_to(network.loss, changed.loss)
        if not write_members(loss, i, changed.loss):
            loss = on_device(network.loss, network.backend, network.dtype, 1, 1)
            in_place = False
    if in_place:
        network.passes.take_member(i)
    else:
        network.passes.rebuild(loss)
    if changed.loss:
        network.predictor.take_loss(network.loss)
    return in_place
