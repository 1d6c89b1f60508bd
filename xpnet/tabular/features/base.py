"""From raw rows to numbers of a common scale: what arrays and tables have in common.

How is learnt from the training part alone, and travels in the model file. See `preprocessing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...data.scaling import Scales, called
from ...nn.layer import Layer

Array = np.ndarray[Any, Any]

#: The categories of each column that training did not have.
Unknown = dict[str, set[str]]


class Features(ABC):
    """From raw rows to features: what all kinds of them have in common."""

    scales: Scales

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features that the network gets."""

    @abstractmethod
    def transform(self, rows: Any, dtype: Any) -> Array:
        """Return features, shape (n, n_features), of raw rows.

        Raises
        ------
        TypeError, ValueError
            If the rows are not of the kind that was learnt from; the message says what differs.
        """

    def transform_part(self, rows: Any, dtype: Any, unknown: Unknown) -> Array:
        """Return features of some of the rows; what is to be told of them goes into a dict."""
        return self.transform(rows, dtype)

    @contextmanager
    def telling_unknown(self) -> Iterator[Unknown]:
        """Return a context with such a dict, which warns at its end of what is in it."""
        yield {}

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""

    @property
    @abstractmethod
    def numbers(self) -> Sequence[int]:
        """Which features are numbers with scales of their own, that embeddings may take."""

    def layers(self) -> list[Layer]:
        """Return what a network begins with that gets these features."""
        return []

    def became(self) -> dict[str, str]:
        """Return in words what became of each named column."""
        return {}

    def require_no_overflow(
        self, features: Array, numbers: Array, names: list[str] | None = None
    ) -> None:
        """Raise a ValueError if numbers lie so far from those learnt from that they are infinite.

        Parameters
        ----------
        features : array
            What they became.
        numbers : array
            The raw ones, with NaN where one was missing.
        names : list of str or None
            What the columns are called.
        """
        finite = np.isfinite(features)
        if not finite.all():
            bad = np.flatnonzero(~finite.all(axis=0))
            column, largest = bad[0], float(np.nanmax(np.abs(numbers[:, bad[0]])))
            raise ValueError(
                f"column {called(column, names)} of the data has values up to {largest:.3g}, too "
                "far from those of the training: correct them, or leave them out"
            )
