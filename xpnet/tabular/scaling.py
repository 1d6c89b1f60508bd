"""Means and deviations that columns are standardised by, and what of them a file may say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.labels import is_whole


def share_a_unit(rows: np.ndarray[Any, Any]) -> bool:
    """Return whether an array looks like pixels or counts, whose columns share a unit.

    So do 16 columns or more of whole numbers from 0 to 255, where at least half of the columns
    reach half of the largest number.

    Examples
    --------
    >>> share_a_unit(np.random.default_rng(0).integers(0, 17, (100, 64)))
    True
    >>> share_a_unit(np.random.default_rng(0).normal(size=(100, 64)))
    False
    """
    if rows.shape[1] < 16 or rows.min() < 0 or rows.max() > 255:
        return False
    if not is_whole(rows):
        return False
    largest = rows.max(axis=0)
    return bool(np.mean(largest >= 0.5 * largest.max()) >= 0.5)


def mean_and_deviation(
    rows: np.ndarray[Any, Any], what: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return each column's mean and standard deviation, once they are found to be finite."""
    with np.errstate(over="ignore"):
        mean, scale = rows.mean(axis=0, dtype=np.float64), deviation(rows)
    require_standardisable(rows, mean, scale, what)
    return mean, scale


def deviation(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each column's standard deviation, and 1 for a constant one."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = rows.std(axis=0, dtype=np.float64)
    # A constant column's deviation need not come out as 0: its mean is rounded.
    size = np.abs(rows).max(axis=0) if len(rows) else scale
    return np.where(scale <= 1e-12 * size, 1.0, scale)


def require_standardisable(
    rows: np.ndarray[Any, Any],
    mean: np.ndarray[Any, Any],
    scale: np.ndarray[Any, Any],
    what: str,
    names: Sequence[str] | None = None,
) -> None:
    """Raise a ValueError if a column's values are so large that its mean or scale is not finite."""
    bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(scale)))
    if len(bad):
        column, largest = bad[0], float(np.abs(rows[:, bad[0]]).max())
        raise ValueError(
            f"column {called(column, names)} of {what} has values up to {largest:.3g}, too large "
            "to standardise: scale it, or leave it out"
        )


def called(column: int, names: Sequence[str] | None) -> str:
    """Return what a column is called, by its name where it has one."""
    return str(column) if names is None else repr(names[column])


def check_scales(mean: Any, scale: Any) -> int:
    """Return how many means and deviations a file gives, or raise a TypeError or ValueError."""
    for values in (mean, scale):
        numbers = type(values) is list and all(type(v) in (int, float) for v in values)
        if not (numbers and all(math.isfinite(v) and float(v) == v for v in values)):
            raise TypeError(f"means and scales are {values!r:.100}")
    if len(mean) != len(scale) or any(v <= 0 for v in scale):
        raise ValueError(f"{len(mean)} means have {len(scale)} scales, or one that is not positive")
    return len(mean)


def require_list(values: Any, kinds: tuple[type, ...], what: str) -> None:
    """Raise a TypeError or ValueError if a file does not give a list of different values."""
    if type(values) is not list or any(type(value) not in kinds for value in values):
        raise TypeError(f"{what} are {values!r:.100}")
    if len(set(values)) < len(values):
        raise ValueError(f"{what} are {values!r:.100}: one stands there twice")
