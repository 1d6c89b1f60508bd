"""Medians and quartiles of columns whose rows come some at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..randomness import Purpose, generator

Array = np.ndarray[Any, Any]

#: Of more rows than this, or more numbers, quantiles are those of rows drawn at random.
MOST_ROWS, MOST_NUMBERS = 1_000_000, 2**26

#: So many rows are looked at whatever the number of columns. A quartile of so many is off by some
#: 0.4 % of the rows.
FEWEST_ROWS = 10_000


class Spread(NamedTuple):
    """Where a column's numbers lie, gaps apart: each of shape (m,), NaN of nothing but gaps."""

    median: Array
    quartile_range: Array
    whole_range: Array


def spread(chunks: Iterable[Array]) -> Spread:
    """Return where the numbers of columns lie; NaN stands for a gap.

    Parameters
    ----------
    chunks : iterable of array, shape (n, m)
        Some rows each.

    Examples
    --------
    >>> found = spread([np.array([[1.0], [2.0], [np.nan]]), np.array([[3.0], [9.0], [4.0]])])
    >>> float(found.median[0]), float(found.quartile_range[0]), float(found.whole_range[0])
    (3.0, 2.0, 8.0)
    """
    lows, highs, sample = [], [], Sample()
    for values in chunks:
        lows.append(np.fmin.reduce(values))
        highs.append(np.fmax.reduce(values))
        sample.add(values)
    quartiles = np.array([_quartiles(column) for column in sample.rows().T]).reshape(-1, 3)
    whole: Array = np.fmax.reduce(highs) - np.fmin.reduce(lows)
    return Spread(quartiles[:, 1], quartiles[:, 2] - quartiles[:, 0], whole)


def _quartiles(column: Array) -> Array:
    there = column[~np.isnan(column)]
    quartiles: Array = np.quantile(there, (0.25, 0.5, 0.75)) if len(there) else np.full(3, np.nan)
    return quartiles


class Sample:
    """Rows as they come, or, of too many, some of them drawn at random, the same each time.

    Each row gets a random number, and those with the least stay: so it makes no difference how many
    come at a time, and how many there will be need not be known.
    """

    def __init__(self) -> None:
        self._generator = generator(0, Purpose.QUANTILES)
        self._keys: list[Array] = []
        self._rows: list[Array] = []
        self._most = MOST_ROWS

    def add(self, rows: Array) -> None:
        """Take rows in, shape (n, m)."""
        self._most = min(MOST_ROWS, max(FEWEST_ROWS, MOST_NUMBERS // max(1, rows.shape[1])))
        self._keys.append(self._generator.random(len(rows)))
        self._rows.append(rows)
        if sum(map(len, self._rows)) > 2 * self._most:
            self._thin()

    def rows(self) -> Array:
        """Return those that stay."""
        self._thin()
        return self._rows[0]

    def _thin(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self._most:
            stay = np.argpartition(keys, self._most)[: self._most]
            keys, rows = keys[stay], rows[stay]
        self._keys, self._rows = [keys], [rows]
