"""Rules for labels that losses, estimators and tables share: NumPy arrays on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

Labels = np.ndarray[Any, Any]


def is_numeric(array: Any) -> bool:
    """Return whether an array holds numbers or truth values."""
    return array.dtype.kind in "fiub"


def is_whole(array: Labels) -> bool:
    """Return whether all numbers in an array are whole; NaN and infinite ones are not.

    Examples
    --------
    >>> is_whole(np.array([1.0, -2.0])), is_whole(np.array([1.0, np.inf]))
    (True, False)
    """
    return array.dtype.kind != "f" or bool((np.isfinite(array) & (array == np.floor(array))).all())


def class_codes(y: Labels, classes: Labels) -> tuple[Labels, Labels]:
    """Return the number of each label's class, and which labels are of none.

    Parameters
    ----------
    y : array, shape (n,)
        Labels.
    classes : array, shape (m,)
        The classes, in any order.

    Returns
    -------
    codes : array of int, shape (n,)
        From 0 to m − 1; where a label is of no class, any of these.
    unknown : array of bool, shape (n,)
        Which are of none.

    Examples
    --------
    >>> codes, unknown = class_codes(np.array(["b", "c", "a"]), np.array(["b", "a"]))
    >>> codes[~unknown], unknown
    (array([0, 1]), array([False,  True, False]))
    """
    if is_numeric(y) != is_numeric(classes):
        return np.zeros(len(y), np.intp), np.ones(len(y), np.bool_)
    order = np.argsort(classes)
    place = np.searchsorted(classes, y, sorter=order)
    codes = order[np.minimum(place, len(classes) - 1)]
    return codes, classes[codes] != y


def these_values(n: int, what: str = "NaN or infinite") -> str:
    """Return in words how many values are something that they may not be.

    Examples
    --------
    >>> these_values(1), these_values(3, "missing")
    ('1 value that is NaN or infinite', '3 values that are missing')
    """
    return f"{'1 value that is' if n == 1 else f'{n} values that are'} {what}"
