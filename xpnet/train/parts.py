"""What is measured after each epoch: some training examples, and the development set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import Array, HostArray
from ..data.batches import take_rows
from ..data.subsets import Subsets, alike
from ..nn.members import alone
from ..nn.network import Network
from ..randomness import Purpose, generator
from .step import Step


@dataclass(frozen=True)
class Part:
    """Examples on which loss and error are measured.

    Attributes
    ----------
    x, y : array
        What `Network.prepare` returned.
    rows : sequence of array, or None
        Which of them each member is measured on; None: all of them are, on all.
    """

    x: Array
    y: Array
    rows: Subsets | None = None

    def evaluate(self, step: Step) -> dict[str, Any]:
        """Return loss and error, as in prediction; of members lists."""
        if self.rows is None:
            return step.network.predictor.evaluate(self.x, self.y)
        return step.one_by_one.views.evaluate(self.x, self.y, self.rows)

    def has_error(self, network: Network) -> bool:
        """Return whether the error is defined, for each member."""
        xp, parts = network.backend.xp, [self.y]
        if self.rows is not None:
            parts = [take_rows(self.y, rows) for rows in self.rows]
        losses = alone(network.loss)
        return not any(math.isnan(loss.error_count(xp, y)) for loss in losses for y in parts)


def training_part(
    x: Array, y: Array, monitor: int, seeds: Sequence[int], subsets: Subsets | None
) -> Part | None:
    """Return the training examples that the training error is measured on; None if on none.

    Parameters
    ----------
    x, y : array
        The training set.
    monitor : int
        On how many of it, at most.
    seeds : sequence of int
        The seed of each member, or of the network.
    subsets : sequence of array, or None
        Which examples each member has.
    """
    if monitor == 0:
        return None
    if subsets is None and x.shape[0] <= monitor:
        return Part(x, y)
    whole: HostArray = np.arange(x.shape[0])
    rows = []
    for i, seed in enumerate(seeds):
        own = whole if subsets is None else subsets[i]
        if len(own) > monitor:
            order = generator(seed, Purpose.MONITOR).permutation(len(own))[:monitor]
            own = own[np.sort(order)]
        rows.append(own)
    if alike(rows):
        return Part(take_rows(x, rows[0]), take_rows(y, rows[0]))
    return Part(x, y, rows)
