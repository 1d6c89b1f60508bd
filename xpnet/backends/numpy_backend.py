"""The backend of the CPU: NumPy, and the kernels that NumPy has a better call for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from .._typing import Array, Namespace
from .blas import BLOCKS, SMALL_PRODUCT, blas, describe_blas, host, matmul
from .reference import Kernels
from .reference_categories import each_network
from .threads import count_threads
from .work import CategoryWork, ScalarTable

#: `NumpyKernels.max_features` goes column by column up to 32 columns, from 256 rows up.
FEW_COLUMNS, MANY_ROWS = 32, 256

#: `NumpyKernels.embedding_backward` leaves columns of so many categories to products.
FEW_CATEGORIES = 32

#: `NumpyKernels.product` turns short batches around for matrices of so many elements.
SHORT_BATCH, LARGE_MATRIX = 128, 2**15

#: Where BLAS is quick with small products: batches of so many rows, or the matrices of weights, for
#: so many multiplications.
FEW_ROWS, MANY_PRODUCTS = 10, 4 * 10**6

#: Bytes of a line of the cache.
LINE = 64

#: Shapes in which scratch is found again.
MOST_VIEWS = 256


class Turning(Enum):
    """What of a product is turned around first."""

    NOTHING, BATCH, WEIGHT = range(3)


class Room:
    """Memory that is handed out again and again, in any shape."""

    def __init__(self, dtype: Any) -> None:
        self._held: Array = np.empty(0, dtype)
        self.views: dict[tuple[int, ...], Array] = {}

    def view(self, shape: tuple[int, ...]) -> Array:
        """Return it as an array of a shape."""
        found = self.views.get(shape)
        if found is None:
            size = math.prod(shape)
            if self._held.size < size or len(self.views) > MOST_VIEWS:
                self.views.clear()
            if self._held.size < size:
                self._held = np.empty(size, self._held.dtype)
            found = self.views[shape] = self._held[:size].reshape(*shape)
        return found


class NumpyKernels(Kernels):
    """The reference kernels, but for those where NumPy has a call that is faster or needs no heap.

    NumPy's own sums over one axis of a small matrix take three to ten times as long as the product
    with ones, which BLAS computes.
    """

    def __init__(self, xp: Namespace) -> None:
        super().__init__(xp)
        self._ones: dict[tuple[int, int, str], Array] = {}
        self._local = threading.local()

    def _of_ones(self, rows: int, columns: int, char: str) -> Array:
        """Return an array of ones of a dtype, by its character, to be found again."""
        found = self._ones.get((rows, columns, char))
        if found is None:
            if len(self._ones) > 256:
                self._ones.clear()
            found = self._ones[rows, columns, char] = np.ones((rows, columns), char)
        return found

    def sum_examples(self, x: Array, out: Array) -> None:
        """1ᵀ x."""
        ones = self._ones.get(key := (1, x.shape[-2], x.dtype.char))
        host.matmul(self._of_ones(*key) if ones is None else ones, x, out=out)

    def sum_features(self, x: Array, out: Array) -> None:
        """x 1."""
        host.matmul(x, self._of_ones(x.shape[-1], 1, x.dtype.char), out=out)

    def max_features(self, x: Array, out: Array) -> None:
        """Take the larger of one column after the other, where they are few and long."""
        m = x.shape[-1]
        if not (1 < m <= FEW_COLUMNS and x.shape[-2] >= MANY_ROWS):
            # NumPy's `max` takes a microsecond to come here.
            host.maximum.reduce(x, axis=-1, keepdims=True, out=out)  # type: ignore[attr-defined]
            return
        host.maximum(x[..., :1], x[..., 1:2], out=out)
        for i in range(2, m):
            host.maximum(out, x[..., i : i + 1], out=out)

    def product(self, x: Array, weight_t: Array, out: Array) -> None:
        """X Wᵀ; BLAS would turn W, where turning a short batch is less work: as (W Xᵀ)ᵀ."""
        size = weight_t.size
        many = size >= LARGE_MATRIX or x.shape[-2] * size >= MANY_PRODUCTS
        if not (many and self._product_by_turning(x, weight_t, out)):
            # A column times a row, entry by entry, is several times as fast as by BLAS.
            (host.multiply if x.shape[-1] == 1 else host.matmul)(x, weight_t, out=out)

    def _product_by_turning(self, x: Array, weight_t: Array, out: Array) -> bool:
        """Compute X Wᵀ with something turned around; return False if nothing is gained by that."""
        turning = self._turning(x.shape[-2], weight_t)
        if turning is Turning.BATCH:
            self._turn(self._turned_product(x, weight_t, out), out)
        elif turning is Turning.WEIGHT:
            turned = self._scratch(weight_t.shape, weight_t.dtype, "w")
            self._turn(weight_t.swapaxes(-1, -2), turned)
            matmul(x, turned, out)
        return turning is not Turning.NOTHING

    #: Whether `_turn` takes little time beside a small product.
    turns_quickly: ClassVar[bool] = False

    def _turning(self, n: int, weight_t: Array) -> Turning:
        """Return what to turn around for a product with n examples."""
        (m, m_out), many = weight_t.shape[-2:], n * weight_t.size
        each = m * m_out
        quick = n >= FEW_ROWS and many >= MANY_PRODUCTS and self.turns_quickly and blas().quick
        if n * (m + m_out) < each:
            turns = quick or each >= LARGE_MATRIX
            return Turning.BATCH if turns and 1 < n <= SHORT_BATCH else Turning.NOTHING
        fits = n * each <= SMALL_PRODUCT or (blas().splits and BLOCKS[-1] * each <= SMALL_PRODUCT)
        return Turning.WEIGHT if quick and fits else Turning.NOTHING

    def _turned_product(self, x: Array, weight_t: Array, out: Array) -> Array:
        """Return W Xᵀ, in scratch; ``out`` is as X Wᵀ."""
        xt = self._scratch((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype, "x")
        turned = self._scratch((*out.shape[:-2], out.shape[-1], out.shape[-2]), out.dtype, "z")
        self._turn(x, xt)
        matmul(weight_t.swapaxes(-1, -2), xt, turned)
        return turned

    def _turn(self, a: Array, out: Array) -> None:
        """aᵀ."""
        host.copyto(out, a.swapaxes(-1, -2))

    def _scratch(self, shape: tuple[int, ...], dtype: Any, name: str = "") -> Array:
        """Return an array of the thread's own that the next call may hand out again."""
        rooms = self._local.__dict__
        room = rooms.get(name := f"{dtype.char} {name}")
        if room is None:
            room = rooms[name] = Room(dtype)
        return room.view(shape)

    def _scratch_like(self, like: Array, name: str, dtype: Any) -> Array:
        """Return an array of the thread's own."""
        return self._scratch(like.shape, np.dtype(dtype or like.dtype), name)

    def weight_gradient(self, dy: Array, x: Array, out: Array) -> None:
        """δᵀ X."""
        if dy.shape[-2] == 1:
            host.multiply(dy.swapaxes(-1, -2), x, out=out)
        elif dy.size * x.shape[-1] <= SMALL_PRODUCT:
            host.matmul(dy.swapaxes(-1, -2), x, out=out)
        else:
            matmul(dy.swapaxes(-1, -2), x, out)

    def input_gradient(self, dy: Array, weight: Array, out: Array) -> None:
        """δ W."""
        if dy.shape[-1] == 1:
            host.multiply(dy, weight, out=out)
        elif dy.size * weight.shape[-1] <= SMALL_PRODUCT:
            host.matmul(dy, weight, out=out)
        else:
            matmul(dy, weight, out)

    def clip_norm(self, g: Array, limit: Any, norm: Array, scratch: Array) -> None:
        """One pass by BLAS, and one more where something is clipped."""
        if g.ndim > 1:
            self._clip_norms(g, limit, norm, scratch)
            return
        length = math.sqrt(host.dot(g, g))
        if length == math.inf:
            largest = float(host.abs(g, out=scratch).max())
            host.divide(g, largest, out=scratch)
            length = largest * math.sqrt(host.dot(scratch, scratch))
        if not length <= limit:  # NaN too
            host.multiply(g, limit / length, out=g)

    def _clip_norms(self, g: Array, limit: Any, norm: Array, scratch: Array) -> None:
        """`clip_norm` of several networks."""
        length, factor = norm[:, :1], norm[:, 1:]
        host.matmul(g[:, None], g[..., None], out=length[..., None])
        host.sqrt(length, out=length)
        if host.isinf(length).any():
            super().clip_norm(g, limit, norm, scratch)
            return
        host.divide(limit, length, out=factor)  # infinite where g = 0
        host.minimum(factor, 1.0, out=factor)
        if not (factor == 1.0).all():
            host.multiply(g, factor, out=g)

    def gather(
        self, order: Array, start: Array, work: Any, pairs: Sequence[tuple[Array, Array]]
    ) -> None:
        """Copy rows. NumPy's default mode, "raise", would go through a temporary of out's size."""
        first = start.item(0)
        chosen = order[..., first : first + pairs[0][1].shape[order.ndim - 1]]
        for rows, out in pairs:
            if chosen.ndim == 1 or rows.ndim < out.ndim:
                host.take(rows, chosen, axis=0, out=out, mode="clip")
            else:
                for i in range(len(out)):
                    host.take(rows[i], chosen[i], axis=0, out=out[i], mode="clip")

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """Add up by NumPy's count of numbers, which takes no time for categories that don't occur.

        Its sums are in float64, in memory of their own: it is Numba's loop that needs none.
        """
        if max(size for _, size in work.coded) <= FEW_CATEGORIES:
            super().embedding_backward(dy, x, work, d_weight)
            return
        self._find(host.take(x, work.columns, axis=-1), work)
        dims, blocks = np.arange(work.n_dims), work.blocks(dy)
        networks = each_network(d_weight, blocks, work.places, work.unknown)
        for written, delta, places, unknown in networks:
            known = ~unknown
            numbers = places[known][:, None] * work.n_dims + dims
            total = host.bincount(numbers.reshape(-1), delta[known].reshape(-1), written.size)
            host.copyto(written, total.reshape(*written.shape), casting="same_kind")

    def _take(self, a: Array, indices: Array, axis: int, out: Array) -> None:
        """Copy what stands at indices, without a temporary."""
        host.take(a, indices, axis=axis, out=out, mode="clip")

    def advance(self, scalar_table: ScalarTable) -> None:
        """Copy a row and two numbers; assigning these takes a third of the time of `copyto`."""
        cursor = scalar_table.cursor.item(0)
        scalar_table.row[0] = scalar_table.scalars[cursor]
        scalar_table.key[0] = scalar_table.keys[cursor]
        scalar_table.start[0, 0] = scalar_table.starts.item(cursor)
        if scalar_table.thresholds is not None:
            scalar_table.threshold[0] = scalar_table.thresholds[cursor]  # type: ignore[index]
        scalar_table.cursor[0] = (cursor + 1) % len(scalar_table.starts)

    def put_back(self, array: Array, copy: Array, frozen: Array) -> None:
        """Copy row by row: an entry that NumPy masks takes several times as long as one copied."""
        for i in range(len(array)):
            if frozen.item(i):
                array[i] = copy[i]


class NumpyBackend:
    """Arrays in host memory, computed on by NumPy.

    Parameters
    ----------
    kernels : Kernels or None
        What computes; None: `NumpyKernels`.
    """

    xp = np
    device = "cpu"

    def __init__(self, kernels: Kernels | None = None) -> None:
        self.kernels = kernels or NumpyKernels(np)

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""
        compiler = self.kernels.compiler
        return f"the CPU with NumPy {np.__version__}" + (f" and {compiler}" if compiler else "")

    def arithmetic(self) -> str:
        """Return what else than the data decides how results are rounded, in words."""
        return f"{self.describe()}, {describe_blas()}"

    def threads(self) -> int | None:
        """Return how many threads BLAS has; None: it does not tell."""
        return count_threads()

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

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros from where a line of the cache begins: no vector lies in two of them."""
        size, itemsize = math.prod(shape), np.dtype(dtype).itemsize
        held: Any = np.zeros(size + LINE // itemsize, dtype)
        start = -held.ctypes.data % LINE // itemsize
        found: Array = held[start : start + size].reshape(shape)
        return found

    def to_host(self, x: Array) -> np.ndarray[Any, Any]:
        """Return x as a NumPy array: the same memory."""
        return np.asarray(x)

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, np.ndarray[Any, Any]]:
        """Return zeros that the device writes and the host can look at, and the host's view."""
        array = np.zeros(shape, dtype)
        return array, array

    def synchronize(self) -> None:
        """Wait until the device has done all it was given: NumPy always has."""

    def stage(self, shape: tuple[int, ...], dtype: Any) -> NumpyStage:
        """Return what gives batches their place in memory: they are where they are needed."""
        return NumpyStage(np.empty(shape, dtype))

    def fits(self, nbytes: int) -> bool:
        """Return True: it is in this memory already."""
        return True

    def replay(
        self,
        function: Callable[..., Any],
        state: Sequence[Array] = (),
        fresh: Callable[[], Iterable[Array]] = tuple,
    ) -> Callable[..., Any]:
        """Return the function: nothing is gained by capturing what it does."""
        return function

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether an error says that memory is used up."""
        return isinstance(error, MemoryError)

    def memory_free(self) -> int | None:
        """Return the bytes that can still be had without swapping; None where nobody says.

        Linux alone says. Asking for too much would not be refused there, but end the process.
        """
        try:
            with open("/proc/meminfo", encoding="ascii") as file:
                sizes = dict(line.split(":") for line in file)
            return int(sizes["MemAvailable"].split()[0]) * 1024
        except (OSError, KeyError, ValueError):
            return None

    def quick_bytes(self) -> int | None:
        """Return what a processor's caches hold, of a middling one."""
        return 2**24

    def memory_taken(self) -> int | None:
        """Return None: NumPy has no memory pool."""

    def release_memory(self) -> None:
        """Do nothing: NumPy has no memory pool."""


class NumpyStage:
    """A place for a batch, which the next one takes."""

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self._rows = rows

    def send(self, n: int, fill: Callable[[np.ndarray[Any, Any]], None]) -> Array:
        """Return n rows that ``fill(rows)`` writes."""
        rows = self._rows[:n]
        fill(rows)
        return rows
