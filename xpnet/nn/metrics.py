"""Errors and scores of predictions, on arrays of either backend, lists and columns.

Arrays of one device are measured there, all else on the host. For confusion matrices and per-class
figures use scikit-learn's, on the host.
"""

from __future__ import annotations

import numpy as np

from .._typing import Array, ArrayLike
from ..backends.arrays import NUMPY, backend_of, from_dlpack, on_host, to_host
from ..backends.protocol import Backend
from ..data.labels import as_labels, differing, is_numeric, these_values


def error_rate(y: ArrayLike, y_predicted: ArrayLike) -> float:
    """Return the share of examples whose prediction is wrong: ε = 1 where y ≠ ŷ.

    The notes' chapter 4 has ε = 1 where y = ŷ, which is the accuracy.

    Parameters
    ----------
    y, y_predicted : array-like, shape (n,) or (n, k)
        Labels: numbers or truth values, or strings. Of k labels an example has right all or none.

    Raises
    ------
    ValueError
        If the shapes differ or there are no examples; if labels are missing, NaN or infinite; if
        the ones are strings and the others numbers.

    Examples
    --------
    >>> error_rate([0, 1, 2, 2], [0, 1, 2, 1])
    0.25
    """
    y, y_predicted, backend = _prepare(y, y_predicted)
    if is_numeric(y) != is_numeric(y_predicted):
        kinds = ["numbers" if is_numeric(labels) else "strings" for labels in (y, y_predicted)]
        raise ValueError(f"y holds {kinds[0]} and y_predicted {kinds[1]}: give labels of one kind")
    with backend.active():
        wrong = differing(y, y_predicted)
        if wrong.ndim == 2:
            wrong = wrong.any(axis=-1)
        return float(wrong.mean())


def accuracy(y: ArrayLike, y_predicted: ArrayLike) -> float:
    """Return the share of examples whose prediction is right: 1 − `error_rate`, and refuses alike.

    Examples
    --------
    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 1])
    0.75
    """
    return 1.0 - error_rate(y, y_predicted)


def unexplained_variance(y: ArrayLike, y_predicted: ArrayLike) -> float:
    """Return Σ (y − ŷ)² / Σ (y − ȳ)² = 1 − R²: 0 is perfect, 1 is no better than the mean.

    It is computed in float64.

    Parameters
    ----------
    y, y_predicted : array-like, shape (n,) or (n, k)
        Values.

    Raises
    ------
    ValueError
        If the shapes differ, there are no examples, or y is constant; if values are no numbers, or
        missing, NaN or infinite.

    Examples
    --------
    >>> unexplained_variance([0.0, 2.0, 4.0], [0.0, 2.0, 2.0])
    0.5
    """
    y, y_predicted, backend = _prepare(y, y_predicted)
    for values, name in ((y, "y"), (y_predicted, "y_predicted")):
        if not is_numeric(values):
            raise ValueError(f"{name} holds strings: give numbers, as {name}.astype(float)")
    with backend.active():
        y, y_predicted = y.astype(np.float64), y_predicted.astype(np.float64)
        if bool((y == y[:1]).all()):
            raise ValueError("y is constant: R² is not defined")
        around = float(((y - y.mean(axis=0)) ** 2).sum())
        return float(((y - y_predicted) ** 2).sum()) / around


def _prepare(y: ArrayLike, y_predicted: ArrayLike) -> tuple[Array, Array, Backend]:
    """Return labels and predictions as arrays in one place, and whose that is."""
    given = {"y": from_dlpack(y), "y_predicted": from_dlpack(y_predicted)}
    backend, other = (backend_of(labels, NUMPY) for labels in given.values())
    arrays: list[Array]
    if backend is not other or on_host(given["y"]):
        backend = NUMPY
        arrays = [as_labels(to_host(labels), name) for name, labels in given.items()]
    else:
        arrays = [_finite(labels, backend, name) for name, labels in given.items()]
    y, y_predicted = arrays
    if y.shape != y_predicted.shape:
        shapes = f"y has shape {y.shape} and y_predicted {y_predicted.shape}"
        raise ValueError(f"{shapes}: give the same")
    if y.ndim not in (1, 2):
        raise ValueError(f"y has shape {y.shape}: give (n,) or (n, k)")
    if y.size == 0:
        raise ValueError("y is empty: there is nothing to measure")
    return y, y_predicted, backend


def _finite(labels: Array, backend: Backend, name: str) -> Array:
    """Return labels on a device, or raise a ValueError if some are NaN or infinite."""
    if not is_numeric(labels):
        raise ValueError(f"{name} has dtype {labels.dtype}: give numbers or strings")
    with backend.active():
        bad = int(backend.xp.logical_not(backend.xp.isfinite(labels)).sum())
    if bad:
        raise ValueError(f"{name} has {these_values(bad)}: remove those rows")
    return labels
