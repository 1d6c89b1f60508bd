"""Networks as the members of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .members import check_one_type, joined
from .network import Network, check_network

#: What members share apart from layers and loss: what it is called, and of a network its own.
SHARED: tuple[tuple[str, Callable[[Network], object]], ...] = (
    ("n_features", lambda net: net.n_features),
    ("the number of layers", lambda net: len(net.layers)),
    ("dtype", lambda net: net.dtype.name),
    ("device", lambda net: net.backend.device),
    ("the kind of kernels", lambda net: net.backend.describe()),
)


def stack(networks: Sequence[Network]) -> Network:
    """Return networks as the members of one, as `Network.member` gives them back.

    Parameters
    ----------
    networks : sequence of Network
        Of the same architecture, loss, precision and device. What members may have of their own,
        seeds, dropout's p and label smoothing, may differ.

    Returns
    -------
    Network
        With copies of their weights.

    Raises
    ------
    TypeError, ValueError
        If something else differs, there is none, or one has members already.

    Examples
    --------
    >>> import xpnet as xn
    >>> nets = [xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=4, device="cpu",
    ...                    random_state=seed) for seed in (3, 7)]
    >>> together = xn.stack(nets)
    >>> together.members, together.seeds
    (2, (3, 7))
    >>> bool((together.member(1).parameters == nets[1].parameters).all())
    True
    """
    if not hasattr(networks, "__iter__"):
        raise TypeError(f"networks is {networks!r:.100}: give a list of networks")
    networks = [check_network(network) for network in networks]
    if not networks:
        raise ValueError("networks is empty: give one or more")
    first = networks[0]
    for i, other in enumerate(networks):
        other.require_single("stack")
        for what, of in SHARED:
            if of(other) != of(first):
                raise ValueError(
                    f"{what} is {of(first)} in network 0 and {of(other)} in network {i}: members "
                    "share it"
                )
    places = [*zip(*(net.layers for net in networks), strict=True)]
    for i, same in enumerate(places):  # before options that follow from other layers
        check_one_type(same, f"layer {i}")
    layers = [joined(same, f"layer {i}") for i, same in enumerate(places)]
    loss = joined([net.loss for net in networks], "the loss")
    seeds = [net.seeds[0] for net in networks]
    together = Network.blank(
        layers,
        first.backend,
        loss=loss,
        n_features=first.n_features,
        dtype=first.dtype,
        random_state=seeds,
        members=len(networks),
    )
    for i, net in enumerate(networks):
        together.copy_arrays(net.parameters, net.statistics, i)
    return together


def can_be_stacked(networks: Sequence[Network]) -> bool:
    """Return whether networks can be the members of one."""
    try:
        stack(networks)
    except (TypeError, ValueError):
        return False
    return True
