"""Folds: a data set cut into parts, each of which is held out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..randomness import Purpose, generator


def fold_of_each(
    n: int, folds: int, labels: np.ndarray[Any, Any] | None, seed: int, repeat: int = 0
) -> np.ndarray[Any, Any]:
    """Return which fold each of n examples is in, drawn at random.

    Folds differ in size by one example at most; with labels (n,) each also has its share of every
    label, to one example.

    Parameters
    ----------
    n, folds : int
        Examples, and folds.
    labels : array, shape (n,), or None
        What to stratify by.
    seed, repeat : int
        What the draw depends on.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> fold = fold_of_each(6, 2, labels, seed=0)
    >>> np.bincount(fold).tolist(), np.bincount(fold, labels).tolist()
    ([3, 3], [1.0, 1.0])
    """
    order = generator(seed, Purpose.PARTITION, 2, repeat).permutation(n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % folds
    return fold


def check_folds(
    folds: int,
    n: int,
    labels: np.ndarray[Any, Any] | None,
    names: Sequence[Any] | None = None,
) -> None:
    """Raise a ValueError if a fold would be empty, or lack a class.

    ``names`` are those of the classes that labels number; None: labels are their own.
    """
    if folds > n:
        raise ValueError(f"folds is {folds} and there are {n} examples: give {n} or fewer")
    if labels is None:
        return
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < folds:
        rare = classes[counts.argmin()]
        name = f"{rare:g}" if names is None else names[int(rare)]
        raise ValueError(
            f"folds is {folds} and class {name} has {counts.min()} examples: give fewer folds, "
            "or more examples of that class"
        )
