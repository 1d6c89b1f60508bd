"""What stands twice in a data set: columns of one name, and the target among the features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from ..data.arrays import column_values, is_frame
from ..data.labels import is_numeric
from .readers import DataError, Dataset

#: Rows by which most columns are told from the target; only the others are looked at further.
FIRST = 256


def require_different(dataset: Dataset) -> None:
    """Raise a DataError if two columns of one name hold the same.

    Warns
    -----
    UserWarning
        If a feature is the same as the target in every row.
    """
    for first, second in combinations(dataset.renamed, 2):
        name = dataset.renamed[first]
        if name == dataset.renamed[second] and _same(*_values(dataset.rows[[first, second]])):
            raise DataError(
                f"{dataset.name}: there are two columns named {name!r}, which hold the same: leave "
                f"one out, as by --drop {second!r}"
            )
    for column in _copies(dataset):
        named = is_frame(dataset.rows)
        called = repr(dataset.rows.columns[column]) if named else f"{column} of the data"
        how = f" by --drop {called}" if named else ""
        warnings.warn(
            f"column {called} holds the same as the target in every row: if it is not known where "
            f"predictions are made, leave it out{how}",
            UserWarning,
            stacklevel=3,
        )


def _copies(dataset: Dataset) -> Iterator[int]:
    """Go through the features that are the same as the target, or as a column of it."""
    rows, target = dataset.rows, np.asarray(dataset.target)
    for y in target.reshape(len(target), -1).T:
        if is_frame(rows):
            yield from (i for i, column in enumerate(_values(rows)) if _same(column, y))
        elif is_numeric(rows) and is_numeric(y):
            alike = np.flatnonzero((rows[:FIRST] == y[:FIRST, None]).all(axis=0))
            yield from (int(i) for i in alike if _same(rows[:, i], y))


def _values(rows: Any) -> Iterator[Any]:
    return (column_values(rows.iloc[:, i]) for i in range(rows.shape[1]))


def _same(a: Any, b: Any) -> bool:
    """Return whether two columns hold the same numbers, or the same text; gaps are the same too."""
    if is_numeric(a) != is_numeric(b):
        return False
    for rows in (slice(FIRST), slice(None)):
        first, second = a[rows], b[rows]
        if is_numeric(a):
            gaps = (first != first) & (second != second)
            same = bool(((first == second) | gaps).all())
        else:
            same = [*map(str, first)] == [*map(str, second)]
        if not same:
            return False
    return True
