"""The one seam between the library and the machine: which backend computes, and why.

`select` turns ``device="auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` into a `Backend`. Nothing
else in the library asks where it runs: layers, losses, optimisers and training take a backend's
``xp`` and ``kernels`` as they come.
"""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any

import numpy as np

from ..checks import check_flag
from ..interrupts import defer_sigint
from ..locks import defer_fork
from .numpy_backend import NumpyBackend, NumpyKernels
from .protocol import Backend
from .reference import Kernels


class DeviceError(RuntimeError):
    """The device that was asked for can't be used here."""


#: How the products of float32 numbers are rounded.
PRECISIONS = ("full", "tf32", "bfloat16")

#: The compute capability, times ten, from which on there are tensor cores for bfloat16: Ampere.
BFLOAT16_NEEDS = 80


def select(
    device: str | Backend = "auto", *, fused: bool = True, precision: str = "full"
) -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        "auto" takes the first CUDA device if there is one, else the CPU. A backend is returned as
        it is.
    fused : bool
        False: the reference kernels everywhere.
    precision : {"full", "tf32", "bfloat16"}
        "tf32": a GPU since Ampere may round the factors of float32 products to 10 bits of mantissa
        and multiply them on its tensor cores. "bfloat16": they are rounded to 7 bits, which the
        tensor cores take twice as many of by NVIDIA's data sheets; it needs wide layers and large
        batches for that to outweigh the rounding. Sums, parameters and all else stay in float32.
        On the CPU both change nothing.

    Raises
    ------
    TypeError, ValueError
        If device, fused or precision is not one of those above.
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
    fused = check_flag(fused, "fused")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: give one of {', '.join(PRECISIONS)}")
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if match is None:
        raise ValueError(f"device is {device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if device == "cpu":
        return _open("cpu", 0, fused, "full")
    why = why_no_cuda()
    if why is not None:
        if device == "auto":
            return _open("cpu", 0, fused, "full")
        raise DeviceError(f"device is {device!r}, but CUDA: {why}. Use device='cpu' or 'auto'")
    ordinal = int(match[1] or 0)
    count = cupy().device_count()
    if ordinal >= count:
        raise DeviceError(
            f"device is {device!r}, but there are {count} CUDA devices: 0 to {count - 1}"
        )
    capability = cupy().compute_capability(ordinal)
    if precision == "bfloat16" and capability < BFLOAT16_NEEDS:
        raise DeviceError(
            f"precision is 'bfloat16', for which {device!r} is too old (compute capability "
            f"{capability / 10}, not {BFLOAT16_NEEDS / 10}): give 'full'"
        )
    return _open("cuda", ordinal, fused, precision)


@lru_cache
def _open(kind: str, ordinal: int, fused: bool, precision: str) -> Backend:
    if kind == "cpu":
        return NumpyBackend(_cpu_kernels() if fused else Kernels(np))
    backend: Backend = cupy().CupyBackend(ordinal, fused, precision)
    return backend


def _cpu_kernels() -> Kernels:
    """Return the kernels that Numba compiles, where it is installed; else NumPy's."""
    if why_not_compiled() is None:
        return _numba().NumbaKernels(np)  # type: ignore[no-any-return]
    return NumpyKernels(np)


@lru_cache
def _numba() -> Any:
    with defer_fork(), defer_sigint():
        return importlib.import_module("xpnet.backends.numba_kernels")


@lru_cache
def why_not_compiled() -> str | None:
    """Return why the CPU's kernels are not compiled, in a few words; None if they are."""
    try:
        why: str | None = _numba().why_unavailable()
    except Exception as error:  # a Numba that does not suit NumPy or LLVM raises whatever it likes
        return _why_not_imported(error, "numba", "Numba")
    return why


@lru_cache
def cupy() -> Any:
    """Return the module of CuPy's backend, or raise what importing it raises."""
    with defer_fork(), defer_sigint():
        return importlib.import_module("xpnet.backends.cuda.cupy_backend")


@lru_cache
def why_no_cuda() -> str | None:
    """Return why no CUDA device can be used, in a few words; None if one can.

    CuPy imports without a device, so it is the device that is asked, not the import.
    """
    try:
        why: str | None = cupy().why_unavailable()
    except ImportError as error:
        return _why_not_imported(error, "cupy", "CuPy")
    return why


def _why_not_imported(error: Exception, module: str, name: str) -> str:
    if isinstance(error, ImportError) and error.name == module:
        return f"{name} is not installed"
    return f"{name} can't be imported ({' '.join(str(error.__cause__ or error).split())})"


def every(device: str = "auto") -> list[Backend]:
    """Return the backends to compare: the CPU's and that of the first CUDA device, if there is one.

    A device other than "auto" stands for itself alone.
    """
    if device != "auto":
        return [select(device)]
    return [select("cpu"), *([select("cuda")] if why_no_cuda() is None else [])]


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


def info() -> dict[str, Any]:
    """Return what is known of the machine: CUDA's state, devices and versions."""
    why = why_no_cuda()
    found: dict[str, Any] = {"cuda": why or "available", "devices": []}
    try:
        found["versions"] = cupy().versions()
    except ImportError:
        found["versions"] = {}
    if why is None:
        found["devices"] = cupy().describe_devices()
    return found
