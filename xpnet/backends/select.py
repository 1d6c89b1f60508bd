"""The one seam between the library and the machine: which backend computes, and why.

`select` turns ``device="auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` into a `Backend`. Nothing
else in the library asks where it runs: layers, losses, optimisers and training take a backend's
``xp`` and ``kernels`` as they come.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from .._typing import Array, Namespace
from ..checks import check_flag
from ..interrupts import defer_sigint
from .numpy_backend import NumpyBackend, NumpyKernels
from .reference import Kernels


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

    def stage(self, shape: tuple[int, ...], dtype: Any) -> Stage:
        """Return what brings batches, of so many rows at most, from the host to the device."""

    def fits(self, nbytes: int) -> bool:
        """Return whether an array of the host, so large, had better be copied here than streamed.

        It fits if it leaves room for the work on it.
        """

    def replay(
        self,
        function: Callable[..., Any],
        state: Sequence[Array] = (),
        fresh: Callable[[], Iterable[Array]] = tuple,
    ) -> Callable[..., Any]:
        """Return a function of arrays that does what another one does, to be called often.

        Each call has to mean the same work, on arrays of the same shapes and dtypes: a GPU may
        capture it and replay it. What changes from call to call, apart from the arrays that are
        given, has to be in arrays that stay where they are. An array in the result is written over
        by the next call. ``state`` is what a call changes for the next ones, by which a replay is
        judged before it is trusted; ``fresh()`` is what each call writes before it reads it.
        """

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether an error says that the device's memory is used up."""

    def memory_free(self) -> int | None:
        """Return the bytes that can still be had; None: ask, and be refused what is too much."""

    def memory_taken(self) -> int | None:
        """Return the bytes that the memory pool has taken from the device; None: there is none."""

    def release_memory(self) -> None:
        """Give what the memory pool holds unused back to the device."""


class Stage(Protocol):
    """Where batches pass on their way from the host to the device, behind the work on others."""

    def send(self, n: int, fill: Callable[[np.ndarray[Any, Any]], None]) -> Array:
        """Return n rows on the device that ``fill(rows)`` writes on the host.

        They are the next call's but one to write over.
        """


class DeviceError(RuntimeError):
    """The device that was asked for can't be used here."""


#: The host's backend, with which `backend_of` begins to ask.
NUMPY = NumpyBackend()


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
    count = _cupy().device_count()
    if ordinal >= count:
        raise DeviceError(
            f"device is {device!r}, but there are {count} CUDA devices: 0 to {count - 1}"
        )
    capability = _cupy().compute_capability(ordinal)
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
    backend: Backend = _cupy().CupyBackend(ordinal, fused, precision)
    return backend


def _cpu_kernels() -> Kernels:
    """Return the kernels that Numba compiles, where it is installed; else NumPy's."""
    if why_not_compiled() is None:
        return _numba().NumbaKernels(np)  # type: ignore[no-any-return]
    return NumpyKernels(np)


@lru_cache
def _numba() -> Any:
    with defer_sigint():
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
def _cupy() -> Any:
    with defer_sigint():
        return importlib.import_module("xpnet.backends.cuda.cupy_backend")


@lru_cache
def why_no_cuda() -> str | None:
    """Return why no CUDA device can be used, in a few words; None if one can.

    CuPy imports without a device, so it is the device that is asked, not the import.
    """
    try:
        why: str | None = _cupy().why_unavailable()
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


def backend_of(x: object, first: Backend) -> Backend:
    """Return the backend in whose memory x lies, asking ``first`` first; lists live on the CPU."""
    if first.owns(x):
        return first
    if type(x).__module__.partition(".")[0] == "cupy":
        return select(f"cuda:{x.device.id}")  # type: ignore[attr-defined]
    return select("cpu")


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
    return _cupy().from_dlpack(x)


def move(x: Any, to: Backend, dtype: Any = None) -> Array:
    """Return x as an array of the backend ``to``, whatever it is and wherever it lies."""
    source = backend_of(x, to)
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
