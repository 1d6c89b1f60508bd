"""A batch's gradient computed in parts that fit into memory, and added up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from .._typing import Array
from ..checks import check_count
from ..nn.network import Network
from ..randomness import GAMMA


class Parts:
    """Computes the loss and the gradient of a batch in several parts, one after the other.

    Parameters
    ----------
    network : Network
        Whose gradient it is.

    Attributes
    ----------
    count : int
        How many parts; 1 is the whole batch.
    splits : bool
        Whether there may be more of them where memory does not suffice.
    """

    def __init__(self, network: Network) -> None:
        self._network, self.count, self.splits = network, 1, False
        self._sum: Array = None
        self._shares: dict[int, Array] = {}

    @contextmanager
    def wished(self, parts: int | str) -> Iterator[None]:
        """Compute in so many parts meanwhile; "auto": whole, and in more where that doesn't fit."""
        splits = parts == "auto"
        self.count, self.splits = 1 if splits else check_count(parts, "parts"), splits
        try:
            yield
        finally:
            self.count, self.splits = 1, False

    def size(self, n: int) -> int:
        """Return the examples in the largest part of a batch of n."""
        return n if self.count == 1 else max(b - a for a, b in pairwise(self._edges(n)))

    def _edges(self, n: int) -> list[int]:
        """Return where parts begin and end; none is too small for batch norm."""
        count = max(1, min(self.count, n // self._network.min_batch))
        return [i * n // count for i in range(count + 1)]

    def loss_and_gradient(self, x: Array, y: Array, share: Array | None) -> Array:
        """Do what `Network.loss_and_gradient` does, in parts.

        The result is the same to rounding, but that batch norm takes each part's statistics, and
        dropout draws other masks.
        """
        net = self._network
        if self.count == 1:
            return net.loss_and_gradient(x, y, share)
        xp, n = net.backend.xp, x.shape[-2]
        if self._sum is None:
            self._sum, self._loss = xp.empty_like(net.gradients), xp.empty(net.lead, net.dtype)
        share = self._even(n) if share is None else share
        self._sum[...] = 0.0
        self._loss[...] = 0.0
        for a, b in pairwise(self._edges(n)):
            loss = net.loss_and_gradient(x[a:b], y[a:b], share[a:b])
            xp.add(self._sum, net.gradients, out=self._sum)
            xp.add(self._loss, loss, out=self._loss)
            # Other masks in the next part; the next step sets the key anew.
            xp.add(net.step_key, np.uint64(GAMMA // 2 | 1), out=net.step_key)
        xp.copyto(net.gradients, self._sum)
        return self._loss

    def _even(self, n: int) -> Array:
        """Return equal shares (n, 1) of n examples, which graphs go on reading."""
        if n not in self._shares:
            self._shares[n] = self._network.backend.xp.full((n, 1), 1.0 / n, self._network.dtype)
        return self._shares[n]

    def forget(self) -> None:
        """Let go of what graphs read, once they are gone."""
        self._shares.clear()
