"""A batch that a user gives for a step: checked, and taken as it is."""

from __future__ import annotations

from .._typing import Array, ArrayLike
from ..data.arrays import prepare_weights
from ..nn.network import Network
from ..nn.own_batches import are_own, prepare_own
from .step import Step

#: Features, labels, and the examples' weights.
Given = tuple[Array, Array, Array | None]


def prepare(step: Step, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike) -> Given:
    """Return a batch on the device, as the network computes with it; see `Trainer.step`."""
    net, weights = step.network, None
    try:
        if not net.passes.holds(x, y):
            x, y = (prepare_own if are_own(net, x) else Network.prepare)(net, x, y)
            x = x[:]  # of what is streamed, all: it is one batch
        n = x.shape[-2]
        if n < net.min_batch:
            raise ValueError(f"the batch has {n} example: batch norm needs at least 2")
        if sample_weight is not None:
            weights = prepare_weights(sample_weight, n, net.backend, x.dtype, net.members)
    except MemoryError as error:
        step.explain(error, len(x))
        raise
    return x, y, weights


def shared(start: Array, n: int, x: Array, y: Array, weights: Array | None) -> Given:
    """Return a batch that is given."""
    return x, y, weights


def own(start: Array, n: int, x: Array, y: Array, weights: Array | None) -> Given:
    """Return a batch that is given, of members' own examples: its arrays have one more axis."""
    return x, y, weights
