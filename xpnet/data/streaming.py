"""Features that stay on the host, and reach the device batch by batch.

Those are sparse ones, memory-mapped files, and arrays that the device has no room for. A file may
be larger than memory: of it no more is read at a time than a batch, or some megabytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.protocol import Backend


def is_sparse(X: object) -> bool:
    """Return whether X is a sparse matrix or array of SciPy's."""
    return hasattr(X, "tocsr") and hasattr(X, "toarray")


class Rows:
    """Some rows of a memory-mapped array, read from its file when they are used.

    It has an array's ``shape``, ``dtype``, ``ndim`` and ``size``; indexing it, or handing it to
    ``np.asarray``, reads.

    Parameters
    ----------
    array : numpy.memmap or Rows
        Where the rows are.
    indices : array of int, shape (n,), or of bool
        Which ones, in which order.

    Raises
    ------
    TypeError, IndexError
        If indices are no row numbers, or there are no such rows.

    Examples
    --------
    >>> rows = Rows(np.arange(10.0).reshape(5, 2), np.array([4, 0, 2]))
    >>> rows.shape, rows[1:]
    ((3, 2), array([[0., 1.], [4., 5.]]))
    """

    def __init__(self, array: Any, indices: np.ndarray[Any, Any]) -> None:
        indices = np.asarray(indices)
        if indices.dtype == np.bool_:
            indices = np.flatnonzero(indices)
        if indices.dtype.kind not in "iu" or indices.ndim != 1:
            raise TypeError(f"indices are {indices.dtype}, {indices.ndim}-D: give row numbers (n,)")
        if len(indices) and not -len(array) <= indices.min() <= indices.max() < len(array):
            raise IndexError(
                f"indices from {indices.min()} to {indices.max()}, of {len(array)} rows"
            )
        inner = isinstance(array, Rows)
        self.array: Any = array.array if inner else array
        self.indices: np.ndarray[Any, Any] = array.indices[indices] if inner else indices
        self.shape: tuple[int, ...] = (len(indices), *array.shape[1:])
        self.dtype, self.ndim = array.dtype, array.ndim
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indices)

    def __getitem__(self, key: Any) -> Any:
        """Read rows: a number, a slice, or an array of numbers or booleans; then what else."""
        first, *others = key if isinstance(key, tuple) else (key,)
        chosen = self.indices[first]
        if chosen.ndim == 0:
            return self.array[(chosen, *others)]
        result = _in_order(self.array, chosen)
        return result[(slice(None), *others)] if others else result

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        """Read them all."""
        if copy is False:
            raise ValueError("rows of a file can't become an array without a copy")
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"Rows(shape={self.shape}, dtype={self.dtype}, of {type(self.array).__name__})"


def is_in_file(X: object) -> bool:
    """Return whether X is a memory-mapped array, or `Rows` of one."""
    return isinstance(X, np.memmap | Rows)


def _in_order(array: Any, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return rows of a file in the order of their indices, read from front to back: the fastest."""
    order = np.argsort(indices, kind="stable")
    found = np.asarray(array[indices[order]])
    result = np.empty_like(found)
    result[order] = found
    return result


class Streamed:
    """Features on the host that are used like an array of the device: parts of it get there.

    Parameters
    ----------
    X : scipy.sparse matrix or array, numpy.memmap, Rows or numpy.ndarray
        The features.
    backend : Backend
        Where parts of it are to go.
    dtype : dtype
        Their dtype.

    Attributes
    ----------
    shape, ndim, dtype
        As of the array it stands for.
    backend : Backend
        Where parts of it go.
    """

    ndim = 2

    def __init__(self, X: Any, backend: Backend, dtype: Any) -> None:
        self._sparse = is_sparse(X)
        self._rows, self.backend = X.tocsr() if self._sparse else X, backend
        self.shape, self.dtype = tuple(X.shape), np.dtype(dtype)

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """The stored elements of a sparse matrix, on the host."""
        return np.asarray(self._rows.data)

    def __getitem__(self, key: slice) -> Array:
        """Return a stretch of rows, dense, on the device."""
        rows = self._rows[key]
        return self.backend.asarray(rows.toarray() if self._sparse else rows, self.dtype)

    def take(self, indices: np.ndarray[Any, Any]) -> Streamed:
        """Return the rows with given indices, still on the host."""
        rows = self._rows[indices] if self._sparse else Rows(self._rows, indices)
        return Streamed(rows, self.backend, self.dtype)

    def write(self, indices: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        """Write the rows with given indices, dense, to an array of the host."""
        if self._sparse:
            out[...] = self._rows[indices].toarray()
        elif is_in_file(self._rows):
            out[...] = _in_order(self._rows, indices)
        elif self._rows.dtype == out.dtype:
            np.take(self._rows, indices, axis=0, out=out, mode="clip")
        else:
            out[...] = self._rows[indices]
