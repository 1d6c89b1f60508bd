"""Whole numbers that a floating-point type does not tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._typing import Array, DType
from ..backends.arrays import from_dlpack, to_host
from ..warning import warn
from .arrays import column_values, describe_columns, is_frame, largest, table_of
from .streaming import is_sparse

#: The kinds of NumPy's types that may hold large whole numbers.
_KINDS = [*"iuO"]


def warn_of_merged(X: Any, dtype: Any, name: str) -> None:
    """Warn if features hold different whole numbers that are the same in a floating-point type.

    Parameters
    ----------
    X : array-like, shape (n, n_features)
        Features as they were given, wherever they live, before they are converted.
    dtype : dtype
        What they are converted to.
    name : str
        What they are called.

    Warns
    -----
    UserWarning
        By column: how many values become equal to others.
    """
    dtype = np.dtype(dtype)
    names, columns = [], []
    for column, values in _large_columns(X, 2 ** (np.finfo(dtype).nmant + 1)):
        names.append(column)
        columns.append(count_merged(values, dtype))
    counts = np.array(columns, np.int64)
    if counts.any():
        what = describe_columns(counts, names, f"not told apart from others in {dtype}")
        hint = ", or give dtype='float64'" if dtype == np.float32 else ""
        warn(f"{name} has {what}: subtract a number near them, such as the smallest{hint}")


def count_merged(values: np.ndarray[Any, Any], dtype: DType) -> int:
    """Return how many of the different values are the same as another one in a type.

    Examples
    --------
    >>> count_merged(np.array([2**53, 2**53 + 1, 2**53 + 1, 7]), np.dtype(float))
    1
    """
    held = np.unique(values).astype(dtype)
    return int((held[1:] == held[:-1]).sum())


def _large_columns(X: Any, limit: int) -> Iterator[tuple[Any, np.ndarray[Any, Any]]]:
    """Yield name and values of columns with whole numbers beyond the last one that is exact."""
    X = from_dlpack(X)
    if is_frame(X) and hasattr(X, "iloc"):
        X = X.iloc[:, [i for i, t in enumerate(X.dtypes) if getattr(t, "kind", "O") in _KINDS]]
    if (table := table_of(X)) is not None:
        yield from _among(zip(table.names, map(column_values, table.columns), strict=True), limit)
    elif is_sparse(X):
        X = X.tocsc() if X.dtype.kind in _KINDS else None
        if X is not None and _may_be_large(X.data, limit):
            columns = ((i, X[:, [i]].data) for i in range(X.shape[1]))
            yield from _among(columns, limit)
    else:
        if not hasattr(X, "dtype"):
            X, given = np.asarray(X), X
            if X.dtype.kind == "f" and largest(X) >= limit:  # maybe rounded just now
                X = np.asarray(given, object)
        if X.ndim == 2 and _may_be_large(X, limit):
            columns = ((i, to_host(X[:, i])) for i in range(X.shape[1]))
            yield from _among(columns, limit)


def _may_be_large(X: Array, limit: int) -> bool:
    """Return whether an array may hold whole numbers beyond a limit; no floats are looked at."""
    if X.dtype.kind in "iu":
        return bool(np.iinfo(X.dtype).max > limit and X.size and largest(X) >= limit)
    return X.dtype.kind == "O"


def _among(
    columns: Iterator[tuple[Any, np.ndarray[Any, Any]]], limit: int
) -> Iterator[tuple[Any, np.ndarray[Any, Any]]]:
    """Yield those columns that hold whole numbers beyond a limit, and of them these numbers."""
    for name, values in columns:
        if values.dtype.kind == "O":
            whole = [v for v in values.ravel().tolist() if isinstance(v, int | np.integer)]
            values = np.array(whole, object)
        elif values.dtype.kind not in "iu":
            continue
        if values.size and max(int(values.max()), -int(values.min())) > limit:
            yield name, values
