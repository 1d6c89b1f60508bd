"""What estimators take for data, checked."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from ..backends.arrays import NUMPY, from_dlpack, on_host, to_host
from ..data.arrays import column_values, prepare_weights, require_numbers, table_of
from ..data.labels import as_labels, is_numeric, kinds_of, named, require_present, text_of
from ..data.whole_numbers import warn_of_merged
from .parameters import Estimator

#: The types in which features are taken as they are.
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


class Part(NamedTuple):
    """Examples: features, labels as given, labels as the loss takes them, and weights or None."""

    X: Any
    y: Any
    codes: Any
    weights: Any


def check_features(estimator: Estimator, X: Any, reset: bool) -> Any:
    """Check features; what lies on a device stays there."""
    if not reset and _is_ready(estimator, X):
        return X
    X = from_dlpack(X)
    if on_host(X):
        return validate_data(
            estimator,
            require_numbers(X, "X"),
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype=FLOATS,
        )
    if not is_numeric(X):
        raise TypeError(f"X has dtype {X.dtype}: give an array of numbers")
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead")
    if reset:
        estimator.n_features_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    return X if X.dtype in FLOATS else X.astype(np.float64)


def _is_ready(estimator: Estimator, X: Any) -> bool:
    """Return whether X is what scikit-learn's checks, longer than a small network's work, let pass.

    That is an array of finite floats, as wide as that of the fit, whose columns had no names.
    """
    if type(X) is not np.ndarray or X.dtype not in FLOATS or X.ndim != 2 or X.size == 0:
        return False
    if X.shape[1] != estimator.n_features_in_ or hasattr(estimator, "feature_names_in_"):
        return False
    return bool(np.isfinite(X).all())


def check_data(estimator: Estimator, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
    """Check features and labels; the labels come to the host."""
    if y is None:
        # scikit-learn's own words, which its checks look for.
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    X, y = from_dlpack(X), plain_labels(y, isinstance(estimator, ClassifierMixin))
    given = X
    if not on_host(X):
        X = check_features(estimator, X, reset)
        y = np.asarray(y)
        if len(y) != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows and y has {len(y)}")
    else:
        X, y = validate_data(
            estimator,
            require_numbers(X, "X"),
            y,
            reset=reset,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=isinstance(estimator, RegressorMixin),
            dtype=FLOATS,
        )
    warn_of_merged(given, estimator.dtype or np.float64, "X")
    y = y.toarray() if hasattr(y, "toarray") else y
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return X, y


def plain_labels(y: Any, of_classes: bool, what: str = "y") -> Any:
    """Return labels as arrays of truth values, whole numbers, floats or strings, as they are.

    scikit-learn does not know NumPy's own strings, pandas' and Arrow's types, numbers among objects
    and objects that are strings and more, such as an Enum's; of whole numbers of 64 bits it may
    make floats. What is none of these comes back as it is.

    Raises
    ------
    ValueError
        If labels are missing or masked, of several kinds, or no numbers where ``of_classes`` is
        false.

    Examples
    --------
    >>> plain_labels([1, 2**63 + 1], of_classes=True)
    array([                  1, 9223372036854775809], dtype=uint64)
    """
    y = to_host(y)
    if y is None or issparse(y) or (type(y) is np.ndarray and is_numeric(y)):
        return y
    if (table := table_of(y)) is not None:
        if not table.columns:
            raise ValueError(f"{what} has no columns: give one of labels")
        columns = [plain_labels(column, of_classes, what) for column in table.columns]
        return np.stack(columns, axis=1)
    values = _values(y)
    if values is None:
        return y
    require_present(values if isinstance(y, list | tuple) else y, what)
    if values.dtype.kind == "T":
        return as_labels(values, what)
    if values.dtype.kind != "O":
        return values
    found = _of_objects(values, of_classes, what)
    return y if found is values and isinstance(y, list | tuple) else found


def _values(y: Any) -> np.ndarray[Any, Any] | None:
    """Return what an array, a column or a list holds, and None of what is none of these."""
    if isinstance(y, list | tuple):
        try:
            return np.asarray(y, object)
        except ValueError:  # rows of different lengths, which scikit-learn tells
            return None
    if isinstance(getattr(y, "dtype", None), np.dtype):
        return np.asarray(y)
    return column_values(y) if hasattr(y, "dtype") or hasattr(y, "type") else None


def _of_objects(values: np.ndarray[Any, Any], of_classes: bool, what: str) -> np.ndarray[Any, Any]:
    """Return Python's objects as an array of numbers, or plain strings; others as they are."""
    flat = values.ravel().tolist()
    types = {*map(type, flat)}
    kinds = kinds_of(types)
    if not of_classes:
        if others := [t for t in types if not issubclass(t, Real | Decimal | np.bool_)]:
            raise ValueError(f"{what} holds {named(others)}: give numbers")
        return values
    if kinds == {"U"}:
        if types == {str}:
            return values
        texts = (text_of(v, what) for v in flat)
        return np.fromiter(texts, object, len(flat)).reshape(values.shape)
    if kinds and kinds <= {"b", "i", "f", "U"}:
        if "U" in kinds:
            one_kind = "give numbers or strings, all of one kind"
            raise ValueError(f"{what} holds {named(types)}: {one_kind}")
        held = as_labels(values, what)
        if kinds == {"i", "f"} and (lost := [v for v in flat if float(v) != v]):
            message = f"{what} holds {lost[0]} beside floats, and float64 does not hold it"
            raise ValueError(f"{message}: give whole numbers alone, or strings")
        return held
    return values


def check_weights(n: int, sample_weight: Any) -> Any:
    """Return the weight of each example on the host, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(to_host(sample_weight))
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n,)}: one for each row"
        )
    prepare_weights(weights, n, NUMPY, np.float64)
    return weights
