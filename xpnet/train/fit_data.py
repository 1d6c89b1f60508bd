"""What a fit is made on, checked and on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._typing import Array, ArrayLike
from ..data.arrays import prepare_weights
from ..data.labels import check_varied
from ..data.subsets import Subsets, check_subsets
from ..nn.network import Network


class FitData(NamedTuple):
    """The data of a fit.

    Attributes
    ----------
    x, labels : array
        What `Network.prepare` returned.
    weights : array, shape (n, 1) or (k, n, 1), or None
        What `prepare_weights` returned.
    dev : (x, labels) or None
        The development set, prepared likewise.
    subsets, dev_subsets : sequence of array, or None
        Which examples each member is trained on, and measured on of the development set.
    """

    x: Array
    labels: Array
    weights: Array | None = None
    dev: tuple[Array, Array] | None = None
    subsets: Subsets | None = None
    dev_subsets: Subsets | None = None


def prepare_data(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike = None,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    subsets: Sequence[ArrayLike] | None = None,
    validation_subsets: Sequence[ArrayLike] | None = None,
) -> FitData:
    """Check the data of a fit and bring them to the device; `Trainer.fit` says what they are.

    Raises
    ------
    TypeError, ValueError
        If something about them is not as the network needs it.
    """
    backend, members = network.backend, network.members
    x, labels = network.prepare(X, y)
    own = check_subsets(subsets, members, x.shape[0])
    check_varied(backend.to_host(labels), own)
    weights = None
    if sample_weight is not None:
        to = backend, network.dtype, members, own
        weights = prepare_weights(sample_weight, x.shape[0], *to)
    if validation_data is None:
        if validation_subsets is not None:
            raise ValueError("validation_subsets are of validation_data: give that too")
        return FitData(x, labels, weights, None, own)
    if len(validation_data) != 2:
        raise ValueError(f"validation_data has {len(validation_data)} parts: give (X, y)")
    dev = x, labels
    if validation_data[0] is not X or validation_data[1] is not y:
        dev = network.prepare(*validation_data, name="dev ")
    rows = check_subsets(validation_subsets, members, dev[0].shape[0], "validation_subsets")
    return FitData(x, labels, weights, dev, own, rows)
