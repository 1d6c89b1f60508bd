"""Labels for members that share weights: each member's examples have the batch's own."""

from __future__ import annotations

import math

from .._typing import Array, DType
from ..backends.reference import Kernels
from .layer import Allocator
from .loss import Loss


class Repetition:
    """Repeats a batch's labels and weights for each member, in static buffers.

    A member's examples weigh one k-th of what they weigh in the batch: so the loss is the mean of
    the members' losses.

    Parameters
    ----------
    new : Allocator
        Where arrays for the rows of all members come from.
    loss : Loss
        Whose labels they are.
    n_outputs : int
        The network's outputs.
    dtype : dtype
        The network's.
    members : int
        How many there are, k.
    """

    def __init__(
        self, new: Allocator, loss: Loss, n_outputs: int, dtype: DType, members: int
    ) -> None:
        self._members = members
        shape = loss.target_shape(new.n, n_outputs)
        width = math.prod(shape[1:])
        self._rows = new.rows("repeated labels", width, loss.target_dtype(dtype))
        self._axes, lead = len(shape), self._rows.shape[:-2]
        self._labels = self._rows.reshape(*lead, *shape)
        self._weights = new.rows("repeated weights", 1)

    def labels(self, kernels: Kernels, y: Array) -> Array:
        """Return the labels, once for each member."""
        rows = y.shape[: y.ndim - self._axes + 1]  # of several networks, if each has its own
        kernels.repeat_rows(y.reshape(*rows, -1), None, self._members, self._rows)
        return self._labels

    def weights(self, kernels: Kernels, example_weight: Array) -> Array:
        """Return the weights, one k-th for each member."""
        kernels.repeat_rows(example_weight, 1.0 / self._members, self._members, self._weights)
        return self._weights
