"""Errors and scores of predictions, on arrays of either backend.

They use the arrays' own methods alone, so they need not know where the arrays live. For confusion
matrices and per-class figures use scikit-learn's, on the host.
"""

from __future__ import annotations

from .._typing import Array


def _check(y: Array, y_predicted: Array) -> None:
    if y.shape != y_predicted.shape:
        raise ValueError(f"y has shape {y.shape} and the predictions {y_predicted.shape}")
    if y.size == 0:
        raise ValueError("y is empty: there is nothing to measure")


def error_rate(y: Array, y_predicted: Array) -> float:
    """Return the share of examples whose prediction is wrong: ε = 1 where y ≠ ŷ.

    The notes' chapter 4 has ε = 1 where y = ŷ, which is the accuracy.

    Parameters
    ----------
    y, y_predicted : array, shape (n,) or (n, k)
        Labels. Of k labels an example has right all or none.

    Raises
    ------
    ValueError
        If the shapes differ or there are no examples.

    Examples
    --------
    >>> import numpy as np
    >>> error_rate(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]))
    0.25
    """
    _check(y, y_predicted)
    wrong = y != y_predicted
    if wrong.ndim == 2:
        wrong = wrong.any(axis=-1)
    return float(wrong.mean())


def accuracy(y: Array, y_predicted: Array) -> float:
    """Return the share of examples whose prediction is right.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]))
    0.75
    """
    return 1.0 - error_rate(y, y_predicted)


def unexplained_variance(y: Array, y_predicted: Array) -> float:
    """Return Σ (y − ŷ)² / Σ (y − ȳ)² = 1 − R²: 0 is perfect, 1 is no better than the mean.

    Parameters
    ----------
    y, y_predicted : array, shape (n,) or (n, k)
        Values.

    Raises
    ------
    ValueError
        If the shapes differ, there are no examples, or y is constant.

    Examples
    --------
    >>> import numpy as np
    >>> unexplained_variance(np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0, 2.0]))
    0.5
    """
    _check(y, y_predicted)
    around = float(((y - y.mean(axis=0)) ** 2).sum())
    if around == 0:
        raise ValueError("y is constant: R² is not defined")
    return float(((y - y_predicted) ** 2).sum()) / around
