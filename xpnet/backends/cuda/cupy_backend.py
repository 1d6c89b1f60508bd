"""The backend of CUDA GPUs: the only file that imports CuPy. It is itself imported lazily."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import cupy
import numpy as np

from ..._typing import Array
from ..capture import CapturedStep
from ..reference import Kernels
from .bfloat16 import Bfloat16Kernels
from .cublas import Cublas, load
from .cublaslt import EpilogueKernels, Epilogues
from .cublaslt import load as load_lt
from .kernels import CudaKernels
from .launch import WORKSPACE, Grid, Pair, definitions, source

_log = logging.getLogger(__name__)


class CupyBackend:
    """Arrays in the memory of a CUDA device, computed on by CuPy.

    Parameters
    ----------
    ordinal : int
        Which device, counted from 0.
    fused : bool
        False: the reference kernels alone, whose products CuPy computes.
    precision : {"full", "tf32", "bfloat16"}
        How the fused kernels multiply float32 numbers.
    """

    xp = cupy

    def __init__(self, ordinal: int = 0, fused: bool = True, precision: str = "full") -> None:
        self.device = f"cuda:{ordinal}"
        self._device = cupy.cuda.Device(ordinal)
        self._fused, self._local = fused, threading.local()
        self._warned: set[str] = set()
        #: Of recorders that are gone, by thread: the next one of a thread goes on with it. What
        #: cuBLAS and kernels have for a stream stays, so threads that come and go need no more.
        self._streams: dict[int, Any] = {}
        self.kernels = Kernels(cupy)
        if fused:
            self.kernels = open_kernels(precision, self.active(), self.to_host)
        self.kernels.erf = _erf

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""
        name = cupy.cuda.runtime.getDeviceProperties(self._device.id)["name"].decode()
        return f"{self.device} ({name}) with CuPy {cupy.__version__}"

    def arithmetic(self) -> str:
        """Return what else than the data decides how results are rounded, in words."""
        return self.describe()

    def threads(self) -> int | None:
        """Return None: the host computes no products."""

    def active(self) -> AbstractContextManager[Any]:
        """Return a context inside which work goes to this device."""
        return cupy.cuda.Device(self._device.id)  # type: ignore[no-any-return]

    def owns(self, x: object) -> bool:
        """Return whether x is an array in this device's memory."""
        return isinstance(x, cupy.ndarray) and x.device.id == self._device.id

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return x as an array of this backend, copied only if need be."""
        with self.active():
            array: Array = cupy.ascontiguousarray(cupy.asarray(x, dtype=dtype))
            return array

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros: CuPy's arrays begin at a multiple of 512 bytes."""
        with self.active():
            array: Array = cupy.zeros(shape, dtype)
            return array

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
            # Not from CuPy's pool, which would hand it on while steps are still writing to it.
            pinned = cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(size), 0)
            memory = cupy.cuda.UnownedMemory(pinned.ptr, size, pinned, self._device.id)
            array = cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
        view = np.frombuffer(pinned, dtype, int(np.prod(shape))).reshape(shape)
        view[...] = 0
        return array, view

    def synchronize(self) -> None:
        """Wait until the device has done all it was given on the current stream."""
        with self.active():
            cupy.cuda.get_current_stream().synchronize()

    def stage(self, shape: tuple[int, ...], dtype: Any) -> CupyStage:
        """Return what copies batches to the device while it is at work on the one before."""
        with self.active():
            return CupyStage(shape, np.dtype(dtype))

    def fits(self, nbytes: int) -> bool:
        """Return whether the device has that, and a quarter of it to work with."""
        with self.active():
            free = self._device.mem_info[0] + cupy.get_default_memory_pool().free_bytes()
        return bool(1.25 * nbytes <= free)

    def replay(
        self,
        function: Callable[..., Any],
        state: Sequence[Array] = (),
        fresh: Callable[[], Iterable[Array]] = tuple,
    ) -> Callable[..., Any]:
        """Return what captures a function's work as a graph, and replays that.

        The graphs of a thread share a recorder: they are launched one after the other. The
        reference is run as it is.
        """
        if not self._fused:
            return function
        if not hasattr(self._local, "recorder"):
            self._local.recorder = self._record()
        return CapturedStep(self._local.recorder, function, state, fresh)

    def _record(self) -> CupyRecorder:
        """Return a recorder for this thread, which lives as long as anything that it captured."""
        thread = threading.get_ident()
        stream = self._streams.pop(thread, None) or cupy.cuda.Stream(non_blocking=True)
        recorder = CupyRecorder(stream, self._warned)
        weakref.finalize(recorder, self._streams.__setitem__, thread, stream).atexit = False
        return recorder

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether an error says that the device's memory is used up.

        CuPy's allocator raises a MemoryError of its own; CUDA and cuBLAS, which allocate too,
        report it by a status.
        """
        texts = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "STATUS_ALLOC_FAILED")
        return isinstance(error, MemoryError) or any(text in str(error) for text in texts)

    def memory_free(self) -> int | None:
        """Return None: the device refuses what is too much, and nothing is harmed."""

    def quick_bytes(self) -> int | None:
        """Return None: more work at once is never slower."""

    def memory_taken(self) -> int | None:
        """Return the bytes that CuPy's memory pool has taken from the device."""
        with self.active():
            return int(cupy.get_default_memory_pool().total_bytes())

    def release_memory(self) -> None:
        """Give what the memory pool holds unused back to the device."""
        with self.active():
            cupy.get_default_memory_pool().free_all_blocks()


#: Raises a flag where two arrays differ; all threads that do so write the same.
_raise_flag = cupy.ElementwiseKernel(
    "T x, T y", "raw bool differ", "if (x != y) differ[0] = true", "xpnet_raise_flag"
)


def _bits(array: Array) -> Array:
    """Return an array's memory as whole numbers: NaN is equal to itself then."""
    return array.view(f"u{array.itemsize}")


class CupyStage:
    """Two places for batches, filled in turns: page-locked on the host, and on the device.

    While the device is at work on a batch in one of them, the host fills the other, and a stream of
    its own copies it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._places = [_Place(shape, dtype) for _ in range(2)]

    def send(self, n: int, fill: Callable[[np.ndarray[Any, Any]], None]) -> Array:
        """Return n rows on the device that ``fill(rows)`` writes on the host."""
        current = cupy.cuda.get_current_stream()
        place, other = self._places
        self._places.reverse()
        other.read.record(current)  # by now all work on what it holds has been given to the device
        place.copied.synchronize()  # or the host would write over what is not copied yet
        fill(place.host[:n])
        self._stream.wait_event(place.read)
        size = n * place.host[0].nbytes
        place.device.data.copy_from_host_async(place.host.ctypes.data, size, self._stream)
        place.copied.record(self._stream)
        current.wait_event(place.copied)
        rows: Array = place.device[:n]
        return rows


class _Place:
    """Memory for a batch on the host and on the device, and what has happened to it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = int(np.prod(shape))
        self._pinned = cupy.cuda.alloc_pinned_memory(size * dtype.itemsize)
        self.host = np.frombuffer(self._pinned, dtype, size).reshape(shape)
        self.device = cupy.empty(shape, dtype)
        self.read, self.copied = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self.read.record()  # who had this memory before may still be at work on it


def _erf(x: Array, out: Array) -> None:
    from cupyx.scipy.special import erf

    erf(x, out)


def open_kernels(
    precision: str, active: AbstractContextManager[Any], to_host: Callable[[Array], Array]
) -> CudaKernels:
    """Return the fused kernels, with as much of cuBLAS as there is; the log tells what is not."""
    launcher = CupyLauncher()
    cublas = _opened("cublas", load, "products are CuPy's, which no graph can capture")
    if cublas is None:
        return CudaKernels(cupy, launcher)

    def stream() -> int:
        return int(cupy.cuda.get_current_stream().ptr)

    products = Cublas(cublas, stream, lambda size: cupy.empty(size, np.uint8), precision == "tf32")
    if precision == "bfloat16":
        return Bfloat16Kernels(cupy, launcher, products.multiply)
    cublaslt = _opened("cublasLt", load_lt, "biases are added in a pass of their own")
    if cublaslt is None:
        return CudaKernels(cupy, launcher, products.multiply)

    def captures() -> bool:
        return bool(cupy.cuda.get_current_stream().is_capturing())

    epilogues = Epilogues(cublaslt, products, captures)
    kernels = EpilogueKernels(cupy, launcher, products.multiply, epilogues)
    with active:
        kernels.prove(to_host)
    return kernels


def _opened(name: str, loaded: Callable[[str], Any], otherwise: str) -> Any:
    """Return a library of CUDA's; None, and a line in the log, where there is none."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # CuPy finds its libraries by it, too

        return loaded(load_nvidia_dynamic_lib(name).abs_path)
    except Exception as error:  # whatever is missing, CuPy's own products remain
        _log.warning("%s: %s is not found (%s)", otherwise, name, error)
        return None


class CupyRecorder:
    """Captures graphs on a stream of its own; they are launched on the current one.

    A graph keeps the addresses that it was captured with, and no memory alive: so what is allocated
    while it is captured is held as long as it is.

    Parameters
    ----------
    stream : cupy.cuda.Stream
        That no other recorder has; it does not wait for the default one by itself.
    warned : set of str
        Why something could not be captured, as the log was told.
    """

    def __init__(self, stream: Any, warned: set[str]) -> None:
        self._stream, self.warned = stream, warned

    @contextmanager
    def _aside(self) -> Iterator[Any]:
        """Let the stream go on from where the current one is, and that one wait for it."""
        current = cupy.cuda.get_current_stream()
        self._stream.wait_event(current.record())
        try:
            with self._stream:
                yield self._stream
        finally:
            current.wait_event(self._stream.record())

    def run(self, function: Callable[..., Any], *arrays: Array | None) -> Any:
        """Run a function on the stream: what belongs to a stream is made now, not in a capture."""
        with self._aside():
            return function(*arrays)

    def capture(
        self, function: Callable[..., Any], *arrays: Array | None
    ) -> tuple[Callable[[], None], Any]:
        """Return the launch of a graph of the function's work, and its result."""
        held: list[Any] = []
        malloc = cupy.cuda.get_allocator()

        def hold(size: int) -> Any:
            held.append(malloc(size))
            return held[-1]

        with self._aside() as stream, cupy.cuda.using_allocator(hold):
            stream.begin_capture()
            try:
                result = function(*arrays)
            except BaseException:
                with suppress(Exception):  # what broke it has been raised already
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return Launch(graph, held), result

    def hold(self, array: Array) -> Array:
        """Return a copy."""
        return array.copy()

    def copy(self, out: Array, array: Array) -> None:
        """Copy on the current stream."""
        out.data.copy_from_device_async(array.data, array.nbytes)

    def snapshot(self, array: Array) -> Array:
        """Return a copy in the device's memory."""
        out: Array = cupy.empty(array.shape, array.dtype)
        self.restore(out, array)
        return out

    def restore(self, out: Array, array: Array) -> None:
        """Copy on the current stream; CUDA finds out on which side each of the two lies."""
        copy, kind = cupy.cuda.runtime.memcpyAsync, cupy.cuda.runtime.memcpyDefault
        copy(out.data.ptr, array.data.ptr, array.nbytes, kind, cupy.cuda.get_current_stream().ptr)

    def same(self, pairs: Iterable[tuple[Array, Array]]) -> bool:
        """Return whether the bits are the same: one copy to the host in all."""
        differ = cupy.zeros(1, np.bool_)
        for pair in pairs:
            _raise_flag(*map(_bits, pair), differ)
        return not bool(differ[0])


class Launch:
    """Launches a graph on the current stream, and holds its memory."""

    def __init__(self, graph: Any, held: list[Any]) -> None:
        self._graph, self._held = graph, held

    def __call__(self) -> None:
        """Launch it."""
        self._graph.launch()


class CupyLauncher:
    """Compiles the CUDA program by NVRTC when it is first needed, and launches its kernels.

    CuPy keeps what it has compiled on disk. A launcher belongs to one device.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str, bool], Any] = {}
        self._workspaces: dict[tuple[int, int], Array] = {}

    def __call__(self, name: str, double: bool, grid: Grid, block: Pair, *arguments: Any) -> None:
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
    array: Array = cupy.from_dlpack(x)
    return array


def device_count() -> int:
    """Return how many CUDA devices there are."""
    return int(cupy.cuda.runtime.getDeviceCount())


def compute_capability(ordinal: int) -> int:
    """Return a device's compute capability, times ten."""
    return int(cupy.cuda.Device(ordinal).compute_capability)


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
