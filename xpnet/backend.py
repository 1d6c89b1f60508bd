"""The one seam between the library and the machine: which backend computes, and why.

`select` turns ``device="auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` into a `Backend`. Nothing
else in the library asks where it runs: layers, losses, optimisers and training take a backend's
``xp`` and ``kernels`` as they come.
"""

from __future__ import annotations

import importlib
import re
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ._numpy import NumpyBackend
from ._typing import Array, Namespace
from .kernels import Kernels


class Backend(Protocol):
    """What the library asks of a device. ``NumpyBackend`` and ``CupyBackend`` have it.

    Attributes
    ----------
    xp : module
        The array namespace, ``numpy`` or ``cupy``.
    kernels : Kernels
        The hot operations, fused where that pays.
    device : str
        ``"cpu"``, ``"cuda:0"``, …
    """

    def __hash__(self) -> int: ...

    @property
    def xp(self) -> Namespace: ...  # noqa: D102 - see Attributes

    @property
    def kernels(self) -> Kernels: ...  # noqa: D102

    @property
    def device(self) -> str: ...  # noqa: D102

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""

    def active(self) -> AbstractContextManager[Any]:
        """Return a context inside which work goes to this device."""

    def owns(self, x: object) -> bool:
        """Return whether x is an array in this backend's memory."""

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return x as a C-contiguous array of this backend, copied only if need be."""

    def to_host(self, x: Array) -> np.ndarray[Any, Any]:
        """Return x as a NumPy array."""

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, np.ndarray[Any, Any]]:
        """Return zeros that the device writes and the host can look at, and the host's view."""

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""


class DeviceError(RuntimeError):
    """The device that was asked for can't be used here."""


#: The host's backend, with which `home` begins to ask.
NUMPY = NumpyBackend()


def select(device: str | Backend = "auto", *, fused: bool = True) -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        "auto" takes the first CUDA device if there is one, else the CPU. A backend is returned as
        it is.
    fused : bool
        False: the reference kernels everywhere.

    Raises
    ------
    TypeError, ValueError
        If the name is not one of those above.
    DeviceError
        If a CUDA device is asked for and there is none.

    Examples
    --------
    >>> select("cpu").device
    'cpu'
    """
    if not isinstance(device, str):
        if not hasattr(device, "kernels"):
            raise TypeError(f"device is {device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:N'")
        return device
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device is {device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if device == "cpu":
        return _open("cpu", 0, fused)
    why = why_no_cuda()
    if why is not None:
        if device == "auto":
            return _open("cpu", 0, fused)
        raise DeviceError(f"device is {device!r}, but CUDA: {why}. Use device='cpu' or 'auto'")
    ordinal = int(match[1] or 0)
    count = _cupy().device_count()
    if ordinal >= count:
        raise DeviceError(
            f"device is {device!r}, but there are {count} CUDA devices: 0 to {count - 1}"
        )
    return _open("cuda", ordinal, fused)


@lru_cache
def _open(kind: str, ordinal: int, fused: bool) -> Backend:
    if kind == "cpu":
        return NumpyBackend(fused)
    backend: Backend = _cupy().CupyBackend(ordinal, fused)
    return backend


@lru_cache
def _cupy() -> Any:
    return importlib.import_module("xpnet._cupy")


@lru_cache
def why_no_cuda() -> str | None:
    """Return why no CUDA device can be used, in a few words; None if one can.

    CuPy imports without a device, so it is the device that is asked, not the import.
    """
    try:
        why: str | None = _cupy().why_unavailable()
    except ImportError as error:
        if error.name == "cupy":
            return "CuPy is not installed"
        return f"CuPy can't be imported ({' '.join(str(error.__cause__ or error).split())})"
    return why


def explain(backend: Backend, requested: str = "auto") -> str:
    """Return one line that says which device computes, and why.

    Examples
    --------
    >>> explain(select("cpu"), requested="cpu")     # doctest: +ELLIPSIS
    'training on the CPU with NumPy ...'
    """
    line = f"training on {backend.describe()}"
    why = why_no_cuda() if requested == "auto" else None
    return f"CUDA: {why}, {line}" if why is not None else line


def home(x: object, first: Backend) -> Backend:
    """Return the backend in whose memory x lies, asking ``first`` first; lists live on the CPU."""
    if first.owns(x):
        return first
    if type(x).__module__.partition(".")[0] == "cupy":
        return select(f"cuda:{x.device.id}")  # type: ignore[attr-defined]
    return select("cpu")


def move(x: Any, to: Backend, dtype: Any = None) -> Array:
    """Return x as an array of the backend ``to``, whatever it is and wherever it lies."""
    source = home(x, to)
    if source is not to and source.device != "cpu":
        x = source.to_host(x)
    return to.asarray(x, dtype)


def info() -> dict[str, Any]:
    """Return what is known of the machine: CUDA's state, devices and versions."""
    why = why_no_cuda()
    found: dict[str, Any] = {"cuda": why or "available", "devices": []}
    try:
        found["versions"] = _cupy().versions()
    except ImportError:
        found["versions"] = {}
    if why is None:
        found["devices"] = _cupy().describe_devices()
    return found
