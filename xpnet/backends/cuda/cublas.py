"""Matrix products by cuBLAS that a graph can capture.

CuPy's own products can't be captured: before each it tells its handle the stream anew, which CUDA
refuses while that stream is captured. Here every stream has a handle of its own, told once, with
workspace that stays in place. The library is the one that CuPy has loaded; nothing here imports
CuPy.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ..._typing import Array

#: cuBLAS's numbers for what is passed to it, from its header ``cublas_api.h``.
NOT_TRANSPOSED, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1

#: Bytes of a handle's workspace: what NVIDIA recommends for Hopper, and more than others need.
WORKSPACE = 32 * 2**20


class Kind(NamedTuple):
    """How cuBLAS computes: its numbers for the factors' type, the result's, the sums', C's type."""

    factors: int
    result: int
    sums: int
    number: Callable[[float], Any]


#: By the characters of the factors' dtype and the result's: CUDA_R_32F with CUBLAS_COMPUTE_32F,
#: CUDA_R_64F with CUBLAS_COMPUTE_64F; 16-bit integers hold the bits of CUDA_R_16BF.
KINDS = {
    "ff": Kind(0, 0, 68, ctypes.c_float),
    "dd": Kind(1, 1, 70, ctypes.c_double),
    "Hf": Kind(14, 0, 68, ctypes.c_float),
}

#: CUBLAS_COMPUTE_32F_FAST_TF32: factors rounded to 10 bits, sums in float32.
TF32 = Kind(0, 0, 77, ctypes.c_float)


class CublasError(RuntimeError):
    """A call of cuBLAS did not succeed."""


class Matrix(NamedTuple):
    """How a matrix, or a stack of them, lies in memory, counted in elements."""

    operation: int
    #: From one row to the next, or, if it is stored transposed, from one column to the next.
    leading_dimension: int
    #: From one matrix of a stack to the next; 0 if all are the same.
    step: int


def layout(x: Array) -> Matrix | None:
    """Return how matrices (rows, columns) or (k, rows, columns) lie; None if cuBLAS can't take it.

    One axis has to be without gaps.
    """
    rows, columns = x.shape[-2:]
    down, across = (stride // x.itemsize for stride in x.strides[-2:])
    step = x.strides[0] // x.itemsize if x.ndim == 3 else 0
    # The stride of an axis with one element says nothing.
    if columns == 1 or across == 1:
        leading_dimension = columns if rows == 1 else down
        if leading_dimension >= columns:
            return Matrix(NOT_TRANSPOSED, leading_dimension, step)
    if rows == 1 or down == 1:
        leading_dimension = rows if columns == 1 else across
        if leading_dimension >= rows:
            return Matrix(TRANSPOSED, leading_dimension, step)
    return None


class Cublas:
    """Products by cuBLAS on the current stream.

    Parameters
    ----------
    library : ctypes.CDLL
        cuBLAS.
    stream : function of ()
        Returns the address of the current stream.
    allocate : function of int
        Returns so many bytes of the device's memory, an array.
    tf32 : bool
        Whether products of float32 may round their factors to TF32, for which GPUs since Ampere
        have faster units.
    """

    def __init__(
        self,
        library: Any,
        stream: Callable[[], int],
        allocate: Callable[[int], Array],
        tf32: bool = False,
    ) -> None:
        self._library, self.stream, self._allocate = library, stream, allocate
        self._kinds = {**KINDS, "ff": TF32} if tf32 else KINDS
        # A handle is for one thread at a time. None is let go: graphs read its workspace.
        self._handles: dict[tuple[int, int], Handle] = {}

    def multiply(self, a: Array, b: Array, out: Array) -> bool:
        """Write a b, of matrices or of stacks of them; return False if cuBLAS can't take them.

        All are of one dtype, float32 or float64; or the factors are bfloat16, their bits as
        unsigned integers, and the result float32.

        Raises
        ------
        CublasError
            If cuBLAS reports a failure.
        """
        kind = self.kind(a.dtype.char + out.dtype.char)
        if kind is None or a.dtype != b.dtype or out.ndim > 3:
            return False
        la, lb, lo = layout(a), layout(b), layout(out)
        if la is None or lb is None or lo is None or lo.operation == TRANSPOSED:
            return False
        if 0 in (*a.shape, *b.shape):
            return False
        (n, k), m = a.shape[-2:], b.shape[-1]
        one, zero = (ctypes.byref(kind.number(value)) for value in (1.0, 0.0))
        # cuBLAS counts along columns first: what it takes for matrices are their transposes, and
        # outᵀ = bᵀ aᵀ.
        start: tuple[Any, ...] = self.handle().value, lb.operation, la.operation, m, n, k, one
        if out.ndim == 2:
            function = self._library.cublasGemmEx
            stack: tuple[int, ...] = ()
            steps: list[tuple[int, ...]] = [(), (), ()]
        else:
            function, stack = self._library.cublasGemmStridedBatchedEx, (out.shape[0],)
            steps = [(lb.step,), (la.step,), (lo.step,)]
        types = kind.factors, kind.factors, kind.result
        x, y, z = (
            (array.data.ptr, code, how.leading_dimension, *step)
            for array, code, how, step in zip((b, a, out), types, (lb, la, lo), steps, strict=True)
        )
        status = function(*start, *x, *y, zero, *z, *stack, kind.sums, DEFAULT_ALGORITHM)
        check(status, "a product")
        return True

    def kind(self, chars: str) -> Kind | None:
        """Return how to compute, by the characters of factors and result; None if it can't."""
        return self._kinds.get(chars)

    def handle(self) -> Handle:
        """Return the handle of the current stream in this thread."""
        stream = self.stream()
        key = threading.get_ident(), stream
        if key not in self._handles:
            self._handles[key] = Handle(self._library, stream, self._allocate(WORKSPACE))
        return self._handles[key]


class Handle:
    """A cuBLAS handle that works on one stream, and its workspace."""

    def __init__(self, library: Any, stream: int, workspace: Array) -> None:
        self._library, self.stream, self.workspace = library, stream, workspace
        self.value = ctypes.c_void_p()
        check(library.cublasCreate_v2(ctypes.byref(self.value)), "making a handle")
        check(library.cublasSetStream_v2(self.value, stream), "setting the stream")
        # After the stream, which would reset it.
        size = workspace.nbytes
        check(library.cublasSetWorkspace_v2(self.value, workspace.data.ptr, size), "workspace")

    def __del__(self) -> None:
        if self.value:
            self._library.cublasDestroy_v2(self.value)


def check(status: int, what: str) -> None:
    """Raise a CublasError unless a call succeeded."""
    if status:
        name = STATUS.get(status, "")
        raise CublasError(f"cuBLAS failed at {what}: status {status} {name}".rstrip())


#: What `cublasStatus_t` may say, but for 0, success.
STATUS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
}


def load(path: str) -> Any:
    """Return cuBLAS with its functions' parameters declared: a Python int is 32 bits otherwise.

    Raises
    ------
    OSError, AttributeError
        If there is no such library, or it lacks a function.
    """
    library = ctypes.CDLL(path)
    pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
    size = ctypes.c_size_t
    factor, stacked = [pointer, integer, integer], [pointer, integer, integer, long]
    start = [pointer, *[integer] * 5, pointer]
    parameters = {
        "cublasCreate_v2": [pointer],
        "cublasDestroy_v2": [pointer],
        "cublasSetStream_v2": [pointer, pointer],
        "cublasSetWorkspace_v2": [pointer, pointer, size],
        "cublasGemmEx": [*start, *factor, *factor, pointer, *factor, integer, integer],
        "cublasGemmStridedBatchedEx": [
            *(*start, *stacked, *stacked, pointer, *stacked),
            *(integer, integer, integer),
        ],
    }
    for name, types in parameters.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, integer
    return library
