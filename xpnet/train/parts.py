"""What is measured after each epoch: some training examples, and the development set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._typing import Array, HostArray
from ..data.batches import take_rows
from ..data.subsets import Subsets, alike
from ..nn.members import alone
from ..nn.network import Network
from ..randomness import Purpose, generator
from .measures import Measure
from .step import Step


@dataclass(frozen=True)
class Part:
    """Examples on which loss, error and other figures are measured.

    Attributes
    ----------
    x, y : array
        What `Network.prepare` returned.
    rows : sequence of array, or None
        Which of them each member is measured on; None: all of them are, on all.
    metrics : dict of str to Measure
        What else is measured on them, by name.
    """

    x: Array
    y: Array
    rows: Subsets | None = None
    metrics: Mapping[str, Measure] = field(default_factory=dict)

    @property
    def figures(self) -> tuple[str, ...]:
        """What is measured, by name."""
        return ("error", "loss", *self.metrics)

    def evaluate(self, step: Step) -> dict[str, Any]:
        """Return each of the `figures`, as in prediction; of members lists."""
        x, y, rows, network = self.x, self.y, self.rows, step.network
        views = None
        if rows is None:
            measured = network.predictor.evaluate(x, y)
        else:
            views = step.one_by_one.views
            measured = views.evaluate(x, y, rows)
        for name, metric in self.metrics.items():
            found = metric.measure(network, x, y, rows, views)
            measured[name] = found[0] if network.members is None else found
        return {name: measured[name] for name in self.figures}

    def undefined(self, network: Network) -> list[str]:
        """Return which of the `figures` are NaN for some member, whatever is predicted.

        Raises
        ------
        ValueError
            If a metric does not take such labels.
        """
        loss = network.loss
        defined = {"error": self._has_error(network), "loss": True}
        defined |= {n: m.is_defined(loss, self.y, self.rows) for n, m in self.metrics.items()}
        return [name for name in self.figures if not defined[name]]

    def _has_error(self, network: Network) -> bool:
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
