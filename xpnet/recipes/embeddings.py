"""How a network begins that gets numbers: layers that embed them, made for a training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .._typing import HostArray
from ..checks import check_count, check_fields
from ..data.bins import piecewise_bins
from ..nn.layer import Layer
from ..nn.periodic import PeriodicEmbedding
from ..nn.piecewise import PiecewiseLinearEmbedding
from ..nn.repeated_columns import RepeatedColumns


@dataclass(frozen=True)
class Inputs:
    """What embeddings are made for.

    Attributes
    ----------
    features : array, shape (n, n_features)
        The features of training examples.
    numbers : sequence of int
        Which columns are numbers.
    labels : array, shape (n,) or (n, k)
        Their labels, as the loss takes them.
    of_classes : bool
        Whether these are classes.
    """

    features: HostArray
    numbers: Sequence[int]
    labels: HostArray
    of_classes: bool


class NumberEmbedding(Protocol):
    """What makes such layers."""

    def layers(self, inputs: Inputs) -> list[Layer]:
        """Return them: none where nothing is to be embedded."""


@dataclass(frozen=True)
class Piecewise:
    """Numbers as their places among bins, beside themselves: `PiecewiseLinearEmbedding`.

    A column of a single bin is not embedded: it has no threshold.

    Parameters
    ----------
    n_bins : int
        The most bins of a column.
    by_target : bool
        Whether a decision tree of the column finds them, where the target changes; else quantiles.
    n_dims : int
        How many numbers a column becomes; 0: one for each bin.
    """

    n_bins: int = 48
    by_target: bool = True
    n_dims: int = 0

    def __post_init__(self) -> None:
        check_count(self.n_bins, "n_bins", 2)
        check_count(self.n_dims, "n_dims", 0)

    def layers(self, inputs: Inputs) -> list[Layer]:
        """Return the layers, with edges that are found in the training set."""
        numbers = [*inputs.numbers]
        if not numbers:
            return []
        rows: Any = np.asarray(inputs.features[:, numbers])
        labels = inputs.labels if self.by_target else None
        found = piecewise_bins(rows, self.n_bins, labels, classification=inputs.of_classes)
        several = {numbers[j]: edges for j, edges in found.items() if len(edges) > 2}
        if not several:
            return []
        copies = dict(enumerate(several.values(), inputs.features.shape[1]))
        return [RepeatedColumns([*several]), PiecewiseLinearEmbedding(copies, self.n_dims or None)]


@dataclass(frozen=True)
class Periodic:
    """Numbers as waves of learnt frequencies, in the form of RealMLP: `PeriodicEmbedding`.

    Parameters
    ----------
    n_dims : int
        How many numbers a column becomes, itself among them: 2 or more.
    n_frequencies, frequency_scale
        As for `PeriodicEmbedding`.
    """

    n_dims: int = 4
    n_frequencies: int = 16
    frequency_scale: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        check_count(self.n_dims, "n_dims", 2)

    def layers(self, inputs: Inputs) -> list[Layer]:
        """Return the layers: of copies, so that columns stay where layers behind expect them."""
        if not len(inputs.numbers):
            return []
        n, copied = inputs.features.shape[1], RepeatedColumns(tuple(inputs.numbers))
        copies = range(n, n + len(copied.columns))
        sizes = self.n_dims - 1, self.n_frequencies, self.frequency_scale
        return [copied, PeriodicEmbedding(copies, *sizes, relu=False, phase=True)]


#: The embeddings that can be asked for, by name.
EMBEDDINGS: dict[str, type[NumberEmbedding]] = {"piecewise": Piecewise, "periodic": Periodic}
