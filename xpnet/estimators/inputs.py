"""What estimators take for data, checked, and what of it is held out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import column_or_1d, validate_data

from ..backends.arrays import NUMPY, from_dlpack, on_host, to_host
from ..data.arrays import column_values, is_frame, prepare_weights, require_numbers
from ..data.batches import take_rows
from ..data.labels import as_labels, is_numeric, require_present, text_of
from ..data.whole_numbers import warn_of_merged
from .labels import Classes, Values
from .parameters import Estimator


class Part(NamedTuple):
    """Examples: features, labels as given, labels as the loss takes them, and weights or None."""

    X: Any
    y: Any
    codes: Any
    weights: Any


def check_features(estimator: Estimator, X: Any, reset: bool) -> Any:
    """Check features; what lies on a device stays there."""
    X = from_dlpack(X)
    if on_host(X):
        return validate_data(
            estimator,
            require_numbers(X, "X"),
            reset=reset,
            accept_sparse=["csr", "csc"],
            dtype=(np.float64, np.float32),
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
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def check_data(estimator: Estimator, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
    """Check features and labels; the labels come to the host."""
    if y is None:
        # scikit-learn's own words, which its checks look for.
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    X, y = from_dlpack(X), plain_labels(y)
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
            dtype=(np.float64, np.float32),
        )
    warn_of_merged(given, estimator.dtype or np.float64, "X")
    y = y.toarray() if hasattr(y, "toarray") else y
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return X, y


def plain_labels(y: Any) -> Any:
    """Return labels of types that scikit-learn does not know, or takes for others, as arrays.

    These are NumPy's own strings, pandas' own numbers and truth values, and objects that are
    strings and more, such as an Enum's. All else comes back as it is, on the host.

    Raises
    ------
    ValueError
        If labels of an array or a column are missing or masked.

    Examples
    --------
    >>> plain_labels(np.array(["a", "b"], np.dtypes.StringDType()))
    array(['a', 'b'], dtype='<U1')
    """
    y = to_host(y)
    if is_frame(y):
        own = any(not isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in y.dtypes)
        columns = [y.iloc[:, i] for i in range(y.shape[1])]
        return np.stack([*map(column_values, columns)], axis=1) if own else y
    dtype = getattr(y, "dtype", None)
    if isinstance(y, list | tuple) and any(isinstance(label, str) for label in y):
        require_present(y, "y")
    if dtype is None or issparse(y):
        return y
    require_present(y, "y")
    values = y if isinstance(dtype, np.dtype) else column_values(y)
    if values.dtype.kind == "T":
        return as_labels(values, "y")
    kinds = {*map(type, np.ravel(values).tolist())} if values.dtype.kind == "O" else {str}
    if any(issubclass(kind, str) and kind is not str for kind in kinds):
        flat = (text_of(v, "y") if isinstance(v, str) else v for v in np.ravel(values))
        return np.fromiter(flat, object).reshape(values.shape)
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


def hold_out(data: Part, labels: Classes | Values, fraction: float, seed: int) -> tuple[Part, Part]:
    """Return what is trained on and what is held out; of two classes each has its share."""
    options = {"test_size": fraction, "random_state": seed}
    rows = np.arange(len(data.codes))
    if labels.strata is None:
        train, dev = train_test_split(rows, **options)
    else:
        try:
            # A column of truth values: scikit-learn's messages then call the second class 'True'.
            two = data.codes.astype(bool)[:, None]
            train, dev = train_test_split(rows, stratify=two, **options)
        except ValueError as error:
            raise ValueError(f"{error} ('True' is the class {labels.strata[-1]!r})") from error
    if len(dev) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    return _take(data, train), _take(data, dev)


def require_score(dev: Part, labels: Classes | Values) -> None:
    """Raise a ValueError if predictions for a validation set have no score, whatever they are."""
    counted = dev.y if dev.weights is None else dev.y[dev.weights > 0]
    if len(counted) == 0:
        raise ValueError(
            f"sample_weight is zero for all {len(dev.y)} examples of the validation set: increase "
            "validation_fraction, or give X_val and y_val"
        )
    labels.require_score(counted)


def _take(data: Part, rows: Any) -> Part:
    weights = None if data.weights is None else data.weights[rows]
    return Part(take_rows(data.X, rows), data.y[rows], data.codes[rows], weights)
