"""A batch's gradient accumulated over micro-batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .._typing import NO_ARRAY, Array
from ..checks import check_count
from ..nn.network import Network
from ..randomness import GAMMA

if TYPE_CHECKING:
    from ..nn.member_views import MemberView


class GradientAccumulation:
    """Computes the loss and the gradient of a batch by micro-batches, one after the other.

    Parameters
    ----------
    network : Network or MemberView
        Whose gradient it is.

    Attributes
    ----------
    count : int
        How many micro-batches; 1 is the whole batch.
    splits : bool
        Whether there may be more of them where memory does not suffice.
    """

    def __init__(self, network: Network | MemberView) -> None:
        self._network, self.count, self.splits = network, 1, False
        self._sum: Array | None = None
        self._loss = NO_ARRAY
        self._example_weights: dict[int, Array] = {}
        self._copies: dict[tuple[object, ...], Array] = {}

    @contextmanager
    def using(self, micro_batches: int | str) -> Iterator[None]:
        """Take so many micro-batches meanwhile; "auto": one, and more where that doesn't fit."""
        splits = micro_batches == "auto"
        count = 1 if splits else check_count(micro_batches, "micro_batches")
        self.count, self.splits = count, splits
        try:
            yield
        finally:
            self.count, self.splits = 1, False

    def size(self, n: int) -> int:
        """Return the examples in the largest micro-batch of a batch of n."""
        return n if self.count == 1 else max(b - a for a, b in pairwise(self._edges(n)))

    def _edges(self, n: int) -> list[int]:
        """Return where micro-batches begin and end; none is too small for batch norm."""
        count = max(1, min(self.count, n // self._network.min_batch))
        return [i * n // count for i in range(count + 1)]

    def loss_and_gradient(self, x: Array, y: Array, example_weight: Array | None) -> Array:
        """Do what `Passes.loss_and_gradient` does, by micro-batches.

        The result is the same to rounding, but that batch norm takes each one's statistics, and
        dropout draws other masks.
        """
        net = self._network
        if self.count == 1:
            return net.passes.loss_and_gradient(x, y, example_weight)
        xp, n = net.backend.xp, x.shape[-2]
        if self._sum is None:
            self._sum = xp.empty_like(net.gradients)
            self._loss = xp.empty(net.leading_shape, net.dtype)
        example_weight = self._even(n) if example_weight is None else example_weight
        self._sum[...] = 0.0
        self._loss[...] = 0.0
        for a, b in pairwise(self._edges(n)):
            part = (
                self._rows("x", x, a, b, axes=2),
                self._rows("y", y, a, b, axes=y.ndim - x.ndim + 2),
            )
            weight = self._rows("weight", example_weight, a, b, axes=2)
            loss = net.passes.loss_and_gradient(*part, weight)
            xp.add(self._sum, net.gradients, out=self._sum)
            xp.add(self._loss, loss, out=self._loss)
            # Other masks in the next one; the next step sets the key anew.
            xp.add(net.step_key, np.uint64(GAMMA // 2 | 1), out=net.step_key)
        xp.copyto(net.gradients, self._sum)
        return self._loss

    def _rows(self, name: str, array: Array, first: int, last: int, axes: int) -> Array:
        """Return some examples; of members, which have their own, a copy that lies together.

        ``axes`` is how many the array has for one network.
        """
        if array.ndim == axes:
            return array[first:last]
        rows = array[:, first:last]
        key = name, rows.shape
        if key not in self._copies:
            self._copies[key] = self._network.backend.xp.empty(rows.shape, rows.dtype)
        self._network.backend.xp.copyto(self._copies[key], rows)
        return self._copies[key]

    def _even(self, n: int) -> Array:
        """Return equal shares (n, 1) of n examples, which graphs go on reading."""
        if n not in self._example_weights:
            self._example_weights[n] = self._network.backend.xp.full(
                (n, 1), 1.0 / n, self._network.dtype
            )
        return self._example_weights[n]

    def forget(self) -> None:
        """Let go of what graphs read, once they are gone."""
        self._example_weights.clear()
        self._copies.clear()
