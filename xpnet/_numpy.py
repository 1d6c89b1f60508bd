"""The backend of the CPU: NumPy, and the kernels that NumPy has a better call for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ._typing import Array
from .kernels import Kernels


class NumpyKernels(Kernels):
    """The reference kernels, but for those where NumPy needs another call to stay off the heap."""

    def gather(self, rows: Array, indices: Array, out: Array) -> None:
        """Copy rows. NumPy's default mode, "raise", would go through a temporary of out's size."""
        np.take(rows, indices, axis=0, out=out, mode="clip")


class NumpyBackend:
    """Arrays in host memory, computed on by NumPy.

    Parameters
    ----------
    fused : bool
        False: the reference kernels alone.
    """

    xp = np
    device = "cpu"

    def __init__(self, fused: bool = True) -> None:
        self.kernels = NumpyKernels(np) if fused else Kernels(np)

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""
        return f"the CPU with NumPy {np.__version__}"

    def active(self) -> AbstractContextManager[Any]:
        """Return a context inside which work goes to this device.

        NumPy's warnings of overflow are off in it, as CuPy has none: a loss that is not finite is
        noticed by the trainer.
        """
        return np.errstate(all="ignore")

    def owns(self, x: object) -> bool:
        """Return whether x is an array in this backend's memory."""
        return isinstance(x, np.ndarray)

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return x as an array of this backend, copied only if need be."""
        return np.ascontiguousarray(np.asarray(x, dtype=dtype))

    def to_host(self, x: Array) -> np.ndarray[Any, Any]:
        """Return x as a NumPy array: the same memory."""
        return np.asarray(x)

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, np.ndarray[Any, Any]]:
        """Return zeros that the device writes and the host can look at, and the host's view."""
        array = np.zeros(shape, dtype)
        return array, array

    def synchronize(self) -> None:
        """Wait until the device has done all it was given: NumPy always has."""
