"""Products with a bias and an activation in the same pass, by cuBLASLt; of members a stack.

What follows a product there is called its epilogue. cuBLASLt says for each shape whether it has a
kernel with one; where it has none, the product, the bias and the activation are two passes as
ever. So they are where its ReLU makes NaN a zero, as it did in 2025 [1]_: a training that diverges
would go on in silence, without the units that did.

References
----------
.. [1] "Incorrect result of cublasLtMatmul with CUBLASLT_EPILOGUE_RELU when input is NaN", NVIDIA
   Developer Forums, topic 329783, 2025.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from ..._typing import Array
from ..activations import IDENTITY, ActivationSpec
from .cublas import (
    STATUS,
    TRANSPOSED,
    WORKSPACE,
    Cublas,
    Handle,
    Kind,
    Matrix,
    check,
    layout,
)
from .kernels import CudaKernels
from .run_kernels import is_dense, member_step

_log = logging.getLogger(__name__)

#: cuBLASLt's numbers for what is passed to it, from its header ``cublasLt.h``: attributes of an
#: operation, the epilogues, attributes of a layout, and of a search for a kernel.
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE, BIAS_POINTER, BIAS_STEP = 3, 4, 7, 8, 10
BIAS, BIAS_AND_RELU = 4, 6
STACK_SIZE, STACK_STEP = 5, 6
MOST_WORKSPACE, ALIGNMENTS = 1, (5, 6, 7, 8)
NOT_SUPPORTED = 15

#: Kernels that are remembered: someone may try every batch size.
MOST_PLANS = 1024


class Found(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``: a kernel for a product."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class Epilogues:
    """Products with a bias, and ReLU if it is wanted, on the current stream.

    Parameters
    ----------
    library : ctypes.CDLL
        cuBLASLt, from `load`.
    cublas : Cublas
        Whose handles and workspaces are used: cuBLASLt takes cuBLAS's handles.
    captures : callable
        Whether what is given to the current stream is captured, not run: no kernel is looked for
        then, for the host would have to wait for its trial.
    """

    def __init__(self, library: Any, cublas: Cublas, captures: Callable[[], bool]) -> None:
        self._library, self._cublas, self._captures = library, cublas, captures
        self._plans: dict[Any, Plan | None] = {}

    def linear(self, x: Array, weight_t: Array, bias: Array, out: Array, relu: bool) -> bool:
        """Write x Wᵀ + b, or its positive part; return False where cuBLASLt has no kernel for it.

        All are matrices of one dtype, float32 or float64; ``bias`` is a row without gaps. Or they
        are stacks of these, of which ``x`` may be one matrix for all.
        """
        kind = self._cublas.kind(x.dtype.char + out.dtype.char)
        bias_step = member_step(x, bias)
        same = x.dtype == weight_t.dtype == out.dtype and out.ndim < 4
        ways = [way for way in map(layout, (weight_t, x, out)) if way]
        if kind is None or not same or len(ways) < 3 or ways[2].operation == TRANSPOSED:
            return False
        if bias_step is None or 0 in (*x.shape, *out.shape):
            return False
        pointers = [*(array.data.ptr for array in (weight_t, x, out, bias)), bias_step]
        steps = [*(way.step for way in ways), bias_step]
        # What all matrices of a stack begin at multiples of says which kernels may be used.
        starts = [a | b * x.itemsize for a, b in zip(pointers, steps, strict=False)]
        alignments = tuple(min(start & -start, 256) for start in starts)
        shape = *out.shape[:-1], x.shape[-1], out.shape[-1]
        key = threading.get_ident(), kind, shape, tuple(ways), relu, alignments
        try:
            plan = self._plans[key]
        except KeyError:
            if self._captures():
                return self._run(self._stricter(key), pointers)
            if len(self._plans) >= MOST_PLANS:  # not all: a capture may be about to need one
                self._plans.pop(next(iter(list(self._plans)), None), None)
            plan = self._plan(kind, shape, ways, relu, alignments[:3], pointers[3:])
            if plan and relu and not self._keeps_nan(plan, pointers, bias, out):
                _log.info("cuBLASLt's ReLU makes NaN 0 at a product of %s: it is not used", shape)
                plan = None
            self._plans[key] = plan
        return self._run(key, pointers)

    def _stricter(self, key: Any) -> Any:
        """Return the key of a known kernel for the same product that asks for no more alignment.

        What a graph reads are copies, which lie on wider boundaries than what they were made from.
        """
        *product, alignments = key
        for other, plan in list(self._plans.items()):
            fits = all(a <= b for a, b in zip(other[-1], alignments, strict=True))
            if plan and fits and [*other[:-1]] == product:
                return other
        return None

    def _run(self, key: Any, pointers: list[int]) -> bool:
        """Compute a product by its kernel; return False if it has none, or that fails."""
        plan = self._plans.get(key)
        if plan is None:
            return False
        status = plan.run(self._cublas.handle(), *pointers)
        if status:
            self._plans[key] = None
            what = STATUS.get(status, "")
            _log.warning("cuBLASLt failed at a product of %s: status %d %s", key[2], status, what)
        return not status

    def _plan(
        self,
        kind: Kind,
        shape: tuple[int, ...],
        ways: list[Matrix],
        relu: bool,
        alignments: tuple[int, ...],
        bias: list[int],
    ) -> Plan | None:
        """Return a kernel for a product and its epilogue; None if there is none."""
        (*stack, n, k, m), (a, b, d) = shape, ways
        plan = Plan(self._library, kind.sums, kind.result, kind.number, stack)
        plan.set(TRANSPOSE_A, ctypes.c_int(a.operation))
        plan.set(TRANSPOSE_B, ctypes.c_int(b.operation))
        plan.set(EPILOGUE, ctypes.c_int(BIAS_AND_RELU if relu else BIAS))
        plan.set_bias(*bias)
        # cuBLASLt counts along columns first, as cuBLAS does: it computes outᵀ = W xᵀ, and adds
        # the bias to each column.
        for (rows, columns), how in (((m, k), a), ((k, n), b), ((m, n), d)):
            stored = (columns, rows) if how.operation == TRANSPOSED else (rows, columns)
            plan.lay_out(kind.result, *stored, how)
        return plan if plan.search(self._cublas.handle(), alignments) else None

    def _keeps_nan(self, plan: Plan, pointers: list[int], bias: Array, out: Array) -> bool:
        """Return whether all is NaN where the bias is; a kernel that fails is for others to see."""
        nan, (a, b, d, *_) = bias * np.nan, pointers
        step = nan.strides[0] // nan.itemsize if nan.ndim == 3 else 0
        failed = plan.run(self._cublas.handle(), a, b, d, nan.data.ptr, step)
        # As much as a tile, and the end, which may be another's; of a stack the last matrix.
        last = (out[-1] if out.ndim == 3 else out)[-256:]
        return bool(failed) or not bool((last == last).any())


class Plan:
    """A product as cuBLASLt describes it: operation, layouts, and the kernel that was found.

    ``stack`` is empty for matrices, and says for stacks of them how many there are.
    """

    def __init__(
        self, library: Any, sums: int, scale: int, number: Any, stack: Sequence[int]
    ) -> None:
        self._library, self._stack = library, stack
        self._layouts: list[ctypes.c_void_p] = []
        self._operation = ctypes.c_void_p()
        self._one, self._zero = number(1.0), number(0.0)
        create = library.cublasLtMatmulDescCreate
        check(create(ctypes.byref(self._operation), sums, scale), "describing a product")

    def set(self, attribute: int, value: Any) -> None:
        """Set an attribute of the operation."""
        size = ctypes.sizeof(value)
        done = self._library.cublasLtMatmulDescSetAttribute(
            self._operation, attribute, ctypes.byref(value), size
        )
        check(done, "describing a product")

    def set_bias(self, pointer: int, step: int) -> None:
        """Say where the bias is, and in a stack how far it is from one to the next."""
        self.set(BIAS_POINTER, ctypes.c_void_p(pointer))
        if self._stack:
            self.set(BIAS_STEP, ctypes.c_int64(step))

    def lay_out(self, kind: int, rows: int, columns: int, how: Matrix) -> None:
        """Say how the next of the matrices A, B, D lies; C is D."""
        layout = ctypes.c_void_p()
        create = self._library.cublasLtMatrixLayoutCreate
        made = create(ctypes.byref(layout), kind, rows, columns, how.leading_dimension)
        check(made, "describing a matrix")
        self._layouts.append(layout)
        values: list[tuple[int, Any]] = [(STACK_SIZE, ctypes.c_int32(n)) for n in self._stack]
        values += [(STACK_STEP, ctypes.c_int64(how.step))] * len(values)
        for attribute, value in values:
            size = ctypes.sizeof(value)
            done = self._library.cublasLtMatrixLayoutSetAttribute(
                layout, attribute, ctypes.byref(value), size
            )
            check(done, "describing a stack")

    def search(self, handle: Handle, alignments: tuple[int, ...]) -> bool:
        """Look for a kernel for A, B and D of these alignments; return whether there is one."""
        wish = ctypes.c_void_p()
        library = self._library
        check(library.cublasLtMatmulPreferenceCreate(ctypes.byref(wish)), "a search")
        try:
            a, b, d = alignments
            values: list[tuple[int, Any]] = [(MOST_WORKSPACE, ctypes.c_uint64(WORKSPACE))]
            values += zip(ALIGNMENTS, map(ctypes.c_uint32, (a, b, d, d)), strict=True)
            for attribute, value in values:
                size = ctypes.sizeof(value)
                done = library.cublasLtMatmulPreferenceSetAttribute(
                    wish, attribute, ctypes.byref(value), size
                )
                check(done, "a search")
            count, self._found = ctypes.c_int(), Found()
            la, lb, ld = self._layouts
            status = library.cublasLtMatmulAlgoGetHeuristic(
                *(handle.value, self._operation, la, lb, ld, ld, wish, 1),
                *(ctypes.byref(self._found), ctypes.byref(count)),
            )
        finally:
            library.cublasLtMatmulPreferenceDestroy(wish)
        if status not in (0, NOT_SUPPORTED):
            what = STATUS.get(status, "")
            _log.warning("cuBLASLt failed at a search: status %d %s", status, what)
        return not status and count.value == 1 and not self._found.state

    def run(self, handle: Handle, a: int, b: int, d: int, bias: int, bias_step: int) -> int:
        """Give it to the handle's stream; return cuBLASLt's status."""
        self.set_bias(bias, bias_step)
        la, lb, ld = self._layouts
        one, zero = ctypes.byref(self._one), ctypes.byref(self._zero)
        status: int = self._library.cublasLtMatmul(
            *(handle.value, self._operation, one, a, la, b, lb, zero, d, ld, d, ld),
            *(ctypes.byref(self._found), handle.workspace.data.ptr, WORKSPACE, handle.stream),
        )
        return status

    def __del__(self) -> None:
        for described in self._layouts:
            self._library.cublasLtMatrixLayoutDestroy(described)
        if self._operation:
            self._library.cublasLtMatmulDescDestroy(self._operation)


class EpilogueKernels(CudaKernels):
    """The CUDA kernels, with a linear layer's way forward in one pass where cuBLASLt has that."""

    def __init__(self, xp: Any, launcher: Any, multiply: Any, epilogues: Epilogues) -> None:
        super().__init__(xp, launcher, multiply)
        self._epilogues = epilogues
        #: The dtypes, activations and axes for which it computes what is defined.
        self._right: set[tuple[str, str, int]] = set()

    def linear(
        self,
        x: Array,
        weight_t: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """One pass."""
        known = (out.dtype.char, activation.name, out.ndim) in self._right
        if (
            bias is None
            or not (known and activation.mask is None and is_dense(out))
            or not self._epilogues.linear(x, weight_t, bias, out, activation.name == "relu")
        ):
            super().linear(x, weight_t, bias, out, activation, z)

    def prove(self, to_host: Callable[[Array], Any]) -> None:
        """Let each epilogue compute what is known; those that err are not used, which is logged."""
        try:
            for char, name, axes in product("fd", ("identity", "relu"), (2, 3)):
                if self._is_right(char, name, axes, to_host):
                    self._right.add((char, name, axes))
        except Exception as error:  # memory may be full; what does without goes on
            self._right.clear()
            _log.warning("cuBLASLt's epilogues are not used: %s", error)

    def _is_right(self, char: str, name: str, axes: int, to_host: Callable[[Array], Any]) -> bool:
        """Return whether there is such an epilogue, and it computes what it should."""
        # Each column of the result is one of x's, with a bias of its own; half of it is negative.
        # All is exact, even with factors of 10 bits.
        n, k, m = 128, 64, 96
        x = (3 * np.arange(n)[:, None] + 5 * np.arange(k)) % n - n / 2 + 0.5
        weight, bias = np.eye(m, k)[7 * np.arange(m) % k], np.arange(m)[None] / 4
        xs = [x]
        if axes == 3:  # members' own parameters, a step apart; their own x, or one for all
            weight, bias = (np.stack([a, a[::-1, ::-1], a + a]) for a in (weight, bias))
            xs = [np.stack([x, -x, x[::-1]]), x]
        for given in xs:
            z = given @ weight.swapaxes(-1, -2) + bias
            out = self.xp.zeros(z.shape, char)
            parameters = self._parameters(weight, bias, char)
            if not self._epilogues.linear(
                self.xp.asarray(given.astype(char)), *parameters, out, name == "relu"
            ):
                return False
            if not np.array_equal(to_host(out), np.maximum(z, 0) if name == "relu" else z):
                what = name, char, axes
                _log.warning("cuBLASLt's epilogue (%s, %s, %d axes) errs: it is not used", *what)
                return False
        return True

    def _parameters(self, weight: Any, bias: Any, char: str) -> tuple[Array, Array]:
        """Return Wᵀ and b as they lie in a flat buffer of each member's."""
        host = [array.reshape(*weight.shape[:-2], -1) for array in (weight, bias, bias)]
        flat = self.xp.asarray(np.concatenate(host, axis=-1).astype(char))
        size = host[0].shape[-1]
        w, b = flat[..., :size], flat[..., size : size + bias.shape[-1]]
        return w.reshape(weight.shape).swapaxes(-1, -2), b.reshape(bias.shape)


def load(path: str) -> Any:
    """Return cuBLASLt with its functions' parameters declared.

    Raises
    ------
    OSError, AttributeError
        If there is no such library, or it lacks a function.
    """
    library = ctypes.CDLL(path)
    pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    size = ctypes.c_size_t
    parameters = {
        "cublasLtMatmulDescCreate": [pointer, integer, integer],
        "cublasLtMatmulDescSetAttribute": [pointer, integer, pointer, size],
        "cublasLtMatmulDescDestroy": [pointer],
        "cublasLtMatrixLayoutCreate": [pointer, integer, ctypes.c_uint64, ctypes.c_uint64, long],
        "cublasLtMatrixLayoutSetAttribute": [pointer, integer, pointer, size],
        "cublasLtMatrixLayoutDestroy": [pointer],
        "cublasLtMatmulPreferenceCreate": [pointer],
        "cublasLtMatmulPreferenceSetAttribute": [pointer, integer, pointer, size],
        "cublasLtMatmulPreferenceDestroy": [pointer],
        "cublasLtMatmulAlgoGetHeuristic": [*[pointer] * 7, integer, pointer, pointer],
        "cublasLtMatmul": [*[pointer] * 14, size, pointer],
    }
    for name, types in parameters.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, integer
    return library
