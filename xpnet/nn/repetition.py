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

    def __call__(
        self, kernels: Kernels, y: Array, example_weight: Array | None
    ) -> tuple[Array, Array | None]:
        """Return the labels once for each member, and the weights, one k-th for each."""
        k, each = self._members, y.shape[: y.ndim - self._axes + 1]  # each network's, or all have y
        kernels.repeat_rows(y.reshape(*each, -1), None, k, self._rows)
        if example_weight is None:
            return self._labels, None
        kernels.repeat_rows(example_weight, 1.0 / k, k, self._weights)
        return self._labels, self._weights
