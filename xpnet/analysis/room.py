"""How many networks of a description can be trained as members of one."""

from __future__ import annotations

from ..nn.network import Network
from ..optim.optimizers import Optimizer

#: How many bytes the members of one network may take; no more than half of what is free.
MOST_BYTES = 2**31


def most_members(
    network: Network, optimizer: Optimizer, batch_size: int, n: int, wanted: int
) -> int:
    """Return how many are trained at once: as many as memory holds and as are quick together.

    Parameters
    ----------
    network : Network
        One of them. If a layer, the loss or the optimiser is a user's own class, which may not know
        of members, it is one.
    optimizer : Optimizer
        How they are updated.
    batch_size, n : int
        Examples in a mini-batch, and in the largest data set that they are trained or measured on.
    wanted : int
        No more than so many.
    """
    parts = (*network.layers, network.loss, optimizer)
    if not all(type(part) in type(part).registry.own.values() for part in parts):
        return 1
    free, quick = network.backend.memory_free(), network.backend.quick_bytes()
    room = MOST_BYTES if free is None else min(MOST_BYTES, free // 2)
    most = min(wanted, room // bytes_of_a_member(network, optimizer, batch_size, n))
    if quick is not None:
        most = min(most, quick // bytes_of_a_step(network, optimizer, min(batch_size, n)))
    return max(1, most)


def bytes_of_a_member(network: Network, optimizer: Optimizer, batch_size: int, n: int) -> int:
    """Return about how much memory a member takes: its flat buffers, and its activations."""
    copies = 5 + 2 * optimizer.n_moments + optimizer.n_scratch
    rows = min(max(batch_size, network.predictor.chunk), n)
    return _bytes(network, copies, rows)


def bytes_of_a_step(network: Network, optimizer: Optimizer, batch_size: int) -> int:
    """Return about how much memory a member's step goes through."""
    return _bytes(network, 2 + optimizer.n_moments, batch_size)


def _bytes(network: Network, copies: int, rows: int) -> int:
    """Return the bytes of so many flat buffers, and of the arrays of so many examples."""
    widths = sum(layer.n_inputs for layer in network.layers) + network.n_outputs
    widths *= network.passes.members or 1  # those that share weights
    return network.dtype.itemsize * (copies * network.n_parameters + 3 * rows * widths)
