"""Features that stay on the host, and reach the device batch by batch: sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._typing import Array
from .backend import Backend


def is_sparse(X: object) -> bool:
    """Return whether X is a sparse matrix or array of SciPy's."""
    return hasattr(X, "tocsr") and hasattr(X, "toarray")


class Streamed:
    """A sparse matrix that is used like an array of the device: each part of it becomes dense.

    Parameters
    ----------
    X : scipy.sparse matrix or array
        The features.
    backend : Backend
        Where parts of it are to go.
    dtype : dtype
        What they are to be in.

    Attributes
    ----------
    shape, ndim, dtype
        As of the array it stands for.
    """

    ndim = 2

    def __init__(self, X: Any, backend: Backend, dtype: Any) -> None:
        self._rows, self._backend = X.tocsr(), backend
        self.shape, self.dtype = tuple(X.shape), np.dtype(dtype)

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """The stored elements, on the host."""
        return np.asarray(self._rows.data)

    def __getitem__(self, key: slice) -> Array:
        """Return a stretch of rows, dense, on the device."""
        return self._backend.asarray(self._rows[key].toarray(), self.dtype)

    def take(self, indices: np.ndarray[Any, Any]) -> Streamed:
        """Return the rows with given indices, still sparse."""
        return Streamed(self._rows[indices], self._backend, self.dtype)

    def gather(self, indices: np.ndarray[Any, Any], out: Array) -> None:
        """Write the rows with given indices to an array of the device."""
        out[...] = self._backend.asarray(self._rows[indices].toarray(), self.dtype)
