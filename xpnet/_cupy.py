"""The backend of CUDA GPUs: the only file that imports CuPy. It is itself imported lazily."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import cupy
import numpy as np

from ._cuda import WORKSPACE, Pair, definitions, source
from ._cuda_kernels import CudaKernels
from ._typing import Array
from .kernels import Kernels


class CupyBackend:
    """Arrays in the memory of a CUDA device, computed on by CuPy.

    Parameters
    ----------
    ordinal : int
        Which device, counted from 0.
    fused : bool
        False: the reference kernels alone.
    """

    xp = cupy

    def __init__(self, ordinal: int = 0, fused: bool = True) -> None:
        self.device = f"cuda:{ordinal}"
        self.kernels = CudaKernels(cupy, CupyLauncher()) if fused else Kernels(cupy)
        self._device = cupy.cuda.Device(ordinal)

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""
        name = cupy.cuda.runtime.getDeviceProperties(self._device.id)["name"].decode()
        return f"{self.device} ({name}) with CuPy {cupy.__version__}"

    def active(self) -> AbstractContextManager[Any]:
        """Return a context inside which work goes to this device."""
        return cupy.cuda.Device(self._device.id)  # type: ignore[no-any-return]

    def owns(self, x: object) -> bool:
        """Return whether x is an array in this device's memory."""
        return isinstance(x, cupy.ndarray) and x.device.id == self._device.id

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return x as an array of this backend, copied only if need be."""
        with self.active():
            return cupy.ascontiguousarray(cupy.asarray(x, dtype=dtype))

    def to_host(self, x: Array) -> np.ndarray[Any, Any]:
        """Return a NumPy copy of x, once the device has computed it."""
        with self.active():
            return cupy.asnumpy(x)  # type: ignore[no-any-return]

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, np.ndarray[Any, Any]]:
        """Return zeros that the device writes and the host can look at, and the host's view.

        It is page-locked host memory, which CUDA's unified addressing lets kernels write to. The
        host sees what has been written without a copy or a wait.
        """
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        with self.active():
            pinned = cupy.cuda.alloc_pinned_memory(size)
            memory = cupy.cuda.UnownedMemory(pinned.ptr, size, pinned, self._device.id)
            array = cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
        view = np.frombuffer(pinned, dtype, int(np.prod(shape))).reshape(shape)
        view[...] = 0
        return array, view

    def synchronize(self) -> None:
        """Wait until the device has done all it was given on the current stream."""
        with self.active():
            cupy.cuda.get_current_stream().synchronize()


class CupyLauncher:
    """Compiles the CUDA program by NVRTC when it is first needed, and launches its kernels.

    CuPy keeps what it has compiled on disk. A launcher belongs to one device.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str, bool], Any] = {}
        self._workspaces: dict[tuple[int, int], Array] = {}

    def __call__(self, name: str, double: bool, grid: Pair, block: Pair, *arguments: Any) -> None:
        """Launch a kernel on the current stream."""
        function = self._functions.get((name, double))
        if function is None:
            module = cupy.RawModule(code=source(), options=("-std=c++17", *definitions(double)))
            # The function itself, as RawKernel's own call would look it up each time.
            function = self._functions[name, double] = module.get_function(name).kernel
        function(grid, block, arguments)

    def workspace(self) -> Array:
        """Return the current stream's workspace: kernels on one stream run one after the other.

        A graph keeps that of the stream it was captured on: its replays may not overlap with other
        work that uses it.

        Raises
        ------
        RuntimeError
            If there is none yet while the stream is captured: a graph must not be what fills it
            with zeros.
        """
        stream = cupy.cuda.get_current_stream()
        # Each thread's own default stream has the same handle.
        own = stream.ptr == cupy.cuda.Stream.ptds.ptr
        key = stream.ptr, threading.get_ident() if own else 0
        found = self._workspaces.get(key)
        if found is None:
            if stream.is_capturing():
                raise RuntimeError("what is captured has to have run on this stream once before")
            found = self._workspaces.setdefault(key, cupy.zeros(WORKSPACE, np.uint8))
        return found


def why_unavailable() -> str | None:
    """Return why no CUDA device can be used, in a few words; None if one can."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        text = str(error)
        if "NoDevice" in text:
            return "no device found"
        if "InsufficientDriver" in text:
            return "no driver, or one too old for this CuPy"
        return text
    return None if count else "no device found"


def from_dlpack(x: Any) -> Array:
    """Return a CUDA array of another library as CuPy's, over the same memory."""
    return cupy.from_dlpack(x)


def device_count() -> int:
    """Return how many CUDA devices there are."""
    return int(cupy.cuda.runtime.getDeviceCount())


def describe_devices() -> list[dict[str, Any]]:
    """Return name, memory in bytes and compute capability of each CUDA device."""
    devices = []
    for ordinal in range(device_count()):
        properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
        devices.append(
            {
                "device": f"cuda:{ordinal}",
                "name": properties["name"].decode(),
                "memory": int(properties["totalGlobalMem"]),
                "compute_capability": f"{properties['major']}.{properties['minor']}",
            }
        )
    return devices


def versions() -> dict[str, str]:
    """Return the versions of CuPy, and of CUDA's runtime and driver as CuPy sees them."""
    found = {"cupy": str(cupy.__version__)}
    for name in ("runtimeGetVersion", "driverGetVersion"):
        try:
            version = int(getattr(cupy.cuda.runtime, name)())
        except (AttributeError, cupy.cuda.runtime.CUDARuntimeError):
            continue
        key = "cuda_runtime" if name.startswith("runtime") else "cuda_driver"
        found[key] = f"{version // 1000}.{version % 1000 // 10}"
    return found
