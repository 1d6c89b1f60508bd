"""The estimators' door: what they take for data, and what they hold out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import column_or_1d, validate_data

from ..backends.select import NUMPY, from_dlpack, on_host, to_host
from ..data.arrays import prepare_weights
from ..data.batches import take_rows
from .files import Kept


class Preparing(Kept):
    """An estimator that checks its data and holds a part of them out."""

    n_features_in_: int

    def _encode_more(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Check labels of a validation set, which may lack some, and return them for the loss."""
        raise NotImplementedError

    def _admit_features(self, X: Any, reset: bool) -> Any:
        """Check features; what lies on a device stays there."""
        X = from_dlpack(X)
        if on_host(X):
            return validate_data(
                self, X, reset=reset, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32)
            )
        if X.ndim != 2:
            raise ValueError(f"Expected 2D array, got an array of shape {X.shape} instead")
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)

    def _prepare(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray[Any, Any]]:
        """Check features and labels; the labels come to the host."""
        if y is None:
            # scikit-learn's own words, which its checks look for.
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        X, y = from_dlpack(X), to_host(y)
        if not on_host(X):
            X = self._admit_features(X, reset)
            y = np.asarray(y)
            if len(y) != X.shape[0]:
                raise ValueError(f"X has {X.shape[0]} rows and y has {len(y)}")
        else:
            X, y = validate_data(
                self,
                X,
                y,
                reset=reset,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                y_numeric=isinstance(self, RegressorMixin),
                dtype=(np.float64, np.float32),
            )
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _split(
        self, X: Any, y: Any, codes: Any, weights: Any, validation: tuple[Any, Any], seed: int
    ) -> tuple[Any, Any, Any, Any, Any]:
        """Take the validation set out of the data, if it is to come from there."""
        X_val, y_val = validation
        if X_val is not None:
            X_val, y_val = self._prepare(X_val, y_val, reset=False)
            return X, y, codes, weights, (X_val, y_val, self._encode_more(y_val), None)
        if not self.early_stopping or self.solver == "lbfgs":
            return X, y, codes, weights, None
        train, dev = self._hold_out(codes, seed)
        if len(dev) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        held = None if weights is None else weights[dev]
        kept = None if weights is None else weights[train]
        out = (take_rows(X, dev), y[dev], codes[dev], held)
        return take_rows(X, train), y[train], codes[train], kept, out

    def _hold_out(self, codes: np.ndarray[Any, Any], seed: int) -> Any:
        """Return the rows to train on and those held out; of two classes each has its share."""
        options = {"test_size": self.validation_fraction, "random_state": seed}
        rows = np.arange(len(codes))
        if not (isinstance(self, ClassifierMixin) and self._loss_name()[1] == 1):
            return train_test_split(rows, **options)
        try:
            # A column of truth values: scikit-learn's messages then call the second class 'True'.
            return train_test_split(rows, stratify=codes.astype(bool)[:, None], **options)
        except ValueError as error:
            raise ValueError(f"{error} ('True' is the class {self.classes_[-1]!r})") from error


def weights_of(n: int, sample_weight: Any) -> Any:
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
