"""Whose an array is, and bringing it to where it is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from . import select as backends
from .numpy_backend import NumpyBackend
from .protocol import Backend

#: The host's backend, with which `backend_of` begins to ask.
NUMPY = NumpyBackend()


def backend_of(x: object, first: Backend) -> Backend:
    """Return the backend in whose memory x lies, asking ``first`` first; lists live on the CPU."""
    if first.owns(x):
        return first
    if type(x).__module__.partition(".")[0] == "cupy":
        return backends.select(f"cuda:{x.device.id}")  # type: ignore[attr-defined]
    return backends.select("cpu")


def on_host(x: object) -> bool:
    """Return whether x lies in host memory, where NumPy can take it."""
    return backend_of(x, NUMPY).device == "cpu"


def to_host(x: Any) -> Any:
    """Return an array of any library as NumPy's; what is on the host already stays as it is."""
    x = from_dlpack(x)
    return x if on_host(x) else backend_of(x, NUMPY).to_host(x)


def resolve_device(device: str | Backend, X: object) -> str | Backend:
    """Return where to compute on X: for "auto" on the device where it lies, if it is on one."""
    return backend_of(X, NUMPY) if device == "auto" and not on_host(X) else device


def from_dlpack(x: Any) -> Any:
    """Return another library's array, such as a PyTorch tensor, as NumPy's or CuPy's.

    By DLPack, so without a copy, and on the device where it lies. What is no such array is returned
    as it is.
    """
    if isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__"):
        return x
    if type(x).__module__.partition(".")[0] in ("cupy", "pyarrow"):
        return x  # Arrow's have gaps, strings and more that DLPack knows nothing of
    kind, _ = x.__dlpack_device__()
    if int(kind) == 1:  # kDLCPU
        return np.from_dlpack(x)
    return backends.cupy().from_dlpack(x)


def move(x: Any, to: Backend, dtype: Any = None) -> Array:
    """Return x as an array of the backend ``to``, whatever it is and wherever it lies."""
    source = backend_of(x, to)
    if source is not to and source.device != "cpu":
        x = source.to_host(x)
    return to.asarray(x, dtype)
