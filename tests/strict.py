"""A stand-in for CuPy where there is no GPU: NumPy inside, CuPy's rules outside.

NumPy forgives much that CuPy does not, and hides what is dear on a GPU. So code that runs on a
`StrictBackend` says more of itself than code that runs on NumPy:

- An array never becomes a NumPy array by itself, and never meets one in an operation. Python's and
  NumPy's scalars may be operands.
- There are only the functions in `UFUNCS` and `FUNCTIONS`, with the keywords that CuPy takes.
- Whatever computes or allocates needs the device to be current, which ``with backend.active()``
  makes it. Views and copies to the host do without, as in CuPy.
- Everything is an array: where NumPy returns a scalar, this returns an array without axes.
- What CuPy does silently is counted; see `StrictBackend`.

Where CuPy lets a fault pass, this raises: an index out of range (CuPy wraps it around), a reduction
into its own input (CuPy computes something).
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

from xpnet.backends.capture import CapturedStep
from xpnet.backends.reference import Kernels

#: The keywords of CuPy's ufuncs; NumPy's "where" is not among them.
UFUNC_KEYWORDS = ("out", "dtype", "casting")

#: The elementwise functions that there are.
UFUNCS = (
    *("abs", "negative", "invert", "reciprocal", "sign", "sqrt", "square"),
    *("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "floor"),
    *("isfinite", "isinf", "isnan", "logical_not"),
    *("add", "subtract", "multiply", "divide", "power", "remainder", "floor_divide"),
    *("maximum", "minimum"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "bitwise_and", "bitwise_or", "bitwise_xor"),
    *("left_shift", "right_shift"),
)

#: The other functions that there are: the parameters that CuPy 14 takes, as far as NumPy has them.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "all": ("a", "axis", "out", "keepdims"),
    "any": ("a", "axis", "out", "keepdims"),
    "arange": ("start", "stop", "step", "dtype"),
    "argmax": ("a", "axis"),
    "argmin": ("a", "axis"),
    "asarray": ("a", "dtype"),
    "ascontiguousarray": ("a", "dtype"),
    "broadcast_to": ("array", "shape"),
    "concatenate": ("tup", "axis"),
    "copyto": ("dst", "src", "casting", "where"),
    "empty": ("shape", "dtype"),
    "empty_like": ("prototype", "dtype"),
    "full": ("shape", "fill_value", "dtype"),
    "matmul": ("x1", "x2", "out"),
    "max": ("a", "axis", "out", "keepdims"),
    "mean": ("a", "axis", "dtype", "out", "keepdims"),
    "min": ("a", "axis", "out", "keepdims"),
    "ones": ("shape", "dtype"),
    "ones_like": ("a", "dtype"),
    "sort": ("a", "axis"),
    "stack": ("tup", "axis"),
    "std": ("a", "axis", "dtype", "out", "ddof", "keepdims"),
    "sum": ("a", "axis", "dtype", "out", "keepdims"),
    "take": ("a", "indices", "axis", "out"),
    "where": ("condition", "x", "y"),
    "zeros": ("shape", "dtype"),
    "zeros_like": ("a", "dtype"),
}


class FreedMemoryError(RuntimeError):
    """A graph was launched that uses memory which has been freed."""


class WrongDeviceError(RuntimeError):
    """Something was computed while the array's device was not the current one."""


class StrictBackend:
    """The stand-in's `xpnet.backends.protocol.Backend`; make a fresh one for each test.

    Parameters
    ----------
    late : bool
        Whether the host's view of `shared` memory stays as it is until the host waits for the
        device, as it may if the device is far behind. False: the host sees all at once.
    memory : int or None
        How many bytes the device has; None: as many as are asked for.
    captures_products : bool
        Whether products may be part of a graph: CuPy's own can't.

    Attributes
    ----------
    transfers : int
        Copies from the device to the host: ``float(x)``, ``x.item()``, ``x.get()``, `to_host`, and
        what needs one inside (an index of booleans).
    uploads : int
        Copies of arrays from the host to the device.
    waits : int
        Calls of `synchronize`.
    allocations : int
        New arrays on the device.
    taken : int
        Bytes that arrays on the device take at present.
    hidden_copies : int
        Copies that CuPy makes of an operand: an input that shares memory with ``out`` and is not
        the same object, a matrix that cuBLAS can't take as it lies.
    captures, replays : int
        Graphs that were captured, and how often any was launched.

    Notes
    -----
    While a graph is captured nothing is computed: what would be is noted, with the memory that it
    reads and writes and with Python's numbers as they are, and done when the graph is launched.
    Copies to the host, uploads and waits are refused then, as CUDA refuses them. A graph holds the
    memory that was allocated while it was captured; launching it is refused if other memory that it
    uses has been freed.
    """

    device = "cuda:0"

    def __init__(
        self, late: bool = False, memory: int | None = None, captures_products: bool = True
    ) -> None:
        self.captures = self.replays = 0
        self.warned: set[str] = set()
        self.captures_products = captures_products
        self._graph: Graph | None = None
        self.xp = Namespace(self)
        self.kernels = Kernels(self.xp)
        self.kernels.erf = self.erf
        self.transfers = self.uploads = self.waits = self.allocations = self.hidden_copies = 0
        self.taken, self.memory = 0, memory
        self._late = late
        self._shared: list[tuple[np.ndarray, np.ndarray]] = []
        self._depth = 0

    def erf(self, x: StrictArray, out: StrictArray) -> None:
        self.launch("erf")
        given, target = self.bare(x), self.output(out)
        self.do(lambda: special.erf(given, out=target))
        self.note_overlap([x], out)

    def describe(self) -> str:
        return f"{self.device} (a strict stand-in) with NumPy {np.__version__}"

    def arithmetic(self) -> str:
        return self.describe()

    def threads(self) -> None:
        """Return None: the host computes no products."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the device current; NumPy's warnings are off, as CuPy has none."""
        self._depth += 1
        try:
            with np.errstate(all="ignore"):
                yield
        finally:
            self._depth -= 1

    def owns(self, x: object) -> bool:
        return isinstance(x, StrictArray) and x.backend is self

    def asarray(self, x: Any, dtype: Any = None) -> StrictArray:
        with self.active():
            return self.xp.ascontiguousarray(self.xp.asarray(x, dtype=dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> StrictArray:
        with self.active():
            return self.xp.zeros(shape, dtype)

    def to_host(self, x: Any) -> np.ndarray:
        return x.get() if isinstance(x, StrictArray) else np.asarray(x)

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[StrictArray, np.ndarray]:
        memory = np.zeros(shape, dtype)
        view = memory.copy() if self._late else memory
        self._shared.append((memory, view))
        return StrictArray(self, memory, Memory()), view

    def stage(self, shape: tuple[int, ...], dtype: Any) -> Stage:
        return Stage(self, shape, dtype)

    def fits(self, nbytes: int) -> bool:
        return self.memory is None or 1.25 * nbytes <= self.memory - self.taken

    # -- graphs: the stand-in is its own recorder ----

    def replay(
        self,
        function: Callable[..., Any],
        state: Sequence[StrictArray] = (),
        fresh: Callable[[], Iterable[StrictArray]] = tuple,
    ) -> CapturedStep:
        return CapturedStep(self, function, state, fresh)

    def run(self, function: Callable[..., Any], *arrays: Any) -> Any:
        return function(*arrays)

    def capture(self, function: Callable[..., Any], *arrays: Any) -> Any:
        graph = self._graph = Graph()
        try:
            result = function(*arrays)
        finally:
            self._graph = None
        self.captures += 1
        return partial(self._replay, graph), result

    def _replay(self, graph: Graph) -> None:
        self.launch("a graph")
        self.replays += 1
        if any(memory() is None for memory in graph.used):
            raise FreedMemoryError("a graph uses memory that has been freed since")
        for operation in graph.operations:
            operation()

    def hold(self, array: StrictArray) -> StrictArray:
        return array.copy()

    def copy(self, out: StrictArray, array: StrictArray) -> None:
        self.launch("a copy")
        if not (out.flags.c_contiguous and array.flags.c_contiguous):
            raise ValueError("bytes are copied one after the other: there must be no gaps")
        np.copyto(out.data, array.data, casting="no")

    def snapshot(self, array: StrictArray) -> StrictArray:
        return array.copy()

    def restore(self, out: StrictArray, array: StrictArray) -> None:
        self.copy(out, array)

    def same(self, pairs: Iterable[tuple[StrictArray, StrictArray]]) -> bool:
        bits = [[x.view(f"u{x.itemsize}") for x in pair] for pair in pairs]
        return bool(self.xp.stack([(a == b).all() for a, b in bits]).all())

    def do(self, operation: Callable[[], Any]) -> None:
        """Do an operation that writes into arrays, or note it for the graph that is captured."""
        if self._graph is None:
            operation()
        else:
            self._graph.operations.append(operation)

    def outside(self, what: str) -> None:
        """Raise if a graph is being captured."""
        if self._graph is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")

    def synchronize(self) -> None:
        self.outside("synchronize")
        self.waits += 1
        self._settle()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def memory_free(self) -> None:
        return None

    def quick_bytes(self) -> None:
        return None

    def memory_taken(self) -> int:
        return self.taken

    def release_memory(self) -> None:
        pass

    # -- what the arrays and functions do ----

    def _settle(self) -> None:
        """Let the host see what the device has written to shared memory."""
        for memory, view in self._shared:
            view[...] = memory

    def fetch(self, data: np.ndarray) -> np.ndarray:
        """Return a copy on the host."""
        self.outside("a copy to the host")
        self.transfers += 1
        self._settle()
        return data.copy()

    def send(self, x: Any, dtype: Any = None) -> StrictArray:
        """Return a host array's copy on the device."""
        self.outside("an upload")
        data = np.array(x, dtype=dtype, order="C")
        if data.dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {data.dtype}")
        self.uploads += 1
        return self.new(data)

    def made(self, function: Callable[[], Any]) -> StrictArray:
        """Return what a function computes as a new array."""
        array = self.new(function())
        if self._graph is not None:
            target = array.data
            # Nothing is computed yet; integers may be indices, which have to be within bounds.
            target[...] = np.nan if target.dtype.kind == "f" else 0
            self.do(lambda: np.copyto(target, function(), casting="no"))
        return array

    def new(self, data: Any) -> StrictArray:
        """Return freshly computed data as an array."""
        self.allocations += 1
        array = np.asarray(data)
        if self.memory is not None and self.taken + array.nbytes > self.memory:
            gc.collect()
            if self.taken + array.nbytes > self.memory:
                raise MemoryError(f"out of memory allocating {array.nbytes:,} bytes")
        self.taken += array.nbytes
        weakref.finalize(array, self._free, array.nbytes)
        memory = Memory()
        if self._graph is not None:
            self._graph.held.append(memory)
        return StrictArray(self, array, memory)

    def _free(self, nbytes: int) -> None:
        self.taken -= nbytes

    def launch(self, what: str) -> None:
        """Raise unless this is the current device."""
        if not self._depth:
            raise WrongDeviceError(f"{what} outside `with backend.active()`: on another device")

    def bare(self, x: Any) -> Any:
        """Return an operand as NumPy computes with it; raise a TypeError if it may not be one."""
        if isinstance(x, StrictArray):
            if x.backend is not self:
                raise WrongDeviceError("an array of another device")
            return x.data
        if type(x) in (bool, int, float, complex) or isinstance(x, np.number | np.bool_):
            return x
        raise TypeError(f"Unsupported type {type(x)}")

    def output(self, x: Any) -> np.ndarray:
        """Return where to write a result."""
        if not isinstance(x, StrictArray):
            raise TypeError("Output arguments type must be cupy.ndarray")
        return self.bare(x)

    def note_overlap(self, inputs: Any, out: Any) -> None:
        """Count what CuPy copies because it shares memory with another array, out."""
        for x in inputs:
            apart = x is out or not isinstance(x, StrictArray)
            if not apart and np.may_share_memory(x.data, out.data):
                self.hidden_copies += 1


class Memory:
    """Memory of the device: it is free again when no array over it is left."""


class Graph:
    """Operations to repeat, the memory that belongs to them, and what else they read and write."""

    def __init__(self) -> None:
        self.operations: list[Callable[[], Any]] = []
        self.held: list[Memory] = []
        self.used: set[weakref.ref[Memory]] = set()


class Stage:
    """Two places for batches in turns; what the host writes is poisoned once it has been copied."""

    def __init__(self, backend: StrictBackend, shape: tuple[int, ...], dtype: Any) -> None:
        self._backend, self._host = backend, np.empty(shape, dtype)
        self._places = [backend.xp.empty(shape, dtype) for _ in range(2)]

    def send(self, n: int, fill: Callable[[np.ndarray], None]) -> StrictArray:
        self._backend.outside("an upload")
        self._backend.uploads += 1
        self._places.reverse()
        place = self._places[0]
        place.data[...] = _poison(place.dtype)
        fill(self._host[:n])
        place.data[:n] = self._host[:n]
        self._host[...] = _poison(self._host.dtype)
        return place[:n]


def _poison(dtype: np.dtype) -> Any:
    """Return what no computation should rest on."""
    return np.nan if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


class Namespace:
    """The stand-in's ``xp``: CuPy's functions, as far as the tables go."""

    __version__ = np.__version__

    def __init__(self, backend: StrictBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in UFUNCS:
            return partial(self._ufunc, name)
        if name in FUNCTIONS:
            return partial(self._function, name)
        raise AttributeError(f"{name} is not in the tables of strict.py: is it in CuPy?")

    def _ufunc(self, name: str, *args: Any, **keywords: Any) -> StrictArray:
        b, function = self._backend, getattr(np, name)
        b.launch(name)
        unknown = keywords.keys() - set(UFUNC_KEYWORDS)
        if unknown:
            raise TypeError(f"Wrong arguments {sorted(unknown)}")
        inputs, rest = args[: function.nin], args[function.nin :]
        out = rest[0] if rest else keywords.pop("out", None)
        data = [b.bare(x) for x in inputs]
        if out is None:
            return b.made(lambda: function(*data, **keywords))
        target = b.output(out)
        b.do(lambda: function(*data, out=target, **keywords))
        b.note_overlap(inputs, out)
        return out

    def _function(self, name: str, *args: Any, **keywords: Any) -> Any:
        parameters = FUNCTIONS[name]
        if len(args) > len(parameters):
            raise TypeError(f"{name} takes {parameters}, and {len(args)} were given")
        given = dict(zip(parameters, args, strict=False))
        unknown = keywords.keys() - set(parameters[len(args) :])
        if unknown:
            raise TypeError(f"{name} got an unexpected keyword argument {sorted(unknown)}")
        self._backend.launch(name)
        special = vars(Namespace).get(f"_{name}")
        if special is not None:
            return special(self, **given, **keywords)
        return self._plain(name, **given, **keywords)

    def _plain(self, name: str, out: Any = None, **given: Any) -> StrictArray:
        """Make an array, or reduce one."""
        b, function = self._backend, getattr(np, name)
        for parameter in ("a", "prototype"):
            if parameter not in FUNCTIONS[name]:
                continue
            x = given.pop(parameter)
            if not isinstance(x, StrictArray):
                raise TypeError(f"{name} takes an array of the device, not {type(x)}")
            function = partial(function, b.bare(x))
            if out is not None and np.may_share_memory(b.bare(x), b.output(out)):
                raise ValueError(f"{name} into its own input: the result is not defined")
        if out is None:
            return b.made(lambda: function(**given))
        target = b.output(out)
        b.do(lambda: function(out=target, **given))
        return out

    def _arange(
        self, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None
    ) -> StrictArray:
        return self._backend.made(lambda: np.arange(start, stop, step, dtype))

    def _asarray(self, a: Any, dtype: Any = None) -> StrictArray:
        if not isinstance(a, StrictArray):
            return self._backend.send(a, dtype)
        return a if dtype is None else a.astype(dtype, copy=False)

    def _ascontiguousarray(self, a: Any, dtype: Any = None) -> StrictArray:
        a = self._asarray(a, dtype)
        return a if a.data.flags.c_contiguous else a.copy()

    def _broadcast_to(self, array: Any, shape: Any) -> StrictArray:
        data = np.broadcast_to(self._backend.bare(array), shape)
        return StrictArray(self._backend, data, array.memory)

    def _concatenate(self, tup: Any, axis: int = 0) -> StrictArray:
        data = [self._backend.bare(x) for x in tup]
        return self._backend.made(lambda: np.concatenate(data, axis))

    def _stack(self, tup: Any, axis: int = 0) -> StrictArray:
        data = [self._backend.bare(x) for x in tup]
        return self._backend.made(lambda: np.stack(data, axis))

    def _where(self, condition: Any, x: Any, y: Any) -> StrictArray:
        data = [*map(self._backend.bare, (condition, x, y))]
        return self._backend.made(lambda: np.where(*data))

    def _copyto(self, dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
        b = self._backend
        if isinstance(src, np.ndarray) and src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        data = src.reshape(()) if isinstance(src, np.ndarray) else b.bare(src)
        mask = True if where is None else b.bare(where)
        if np.asarray(mask).dtype != np.bool_:
            raise TypeError("Cannot cast where to bool according to the rule 'safe'")
        target = b.output(dst)
        b.do(lambda: np.copyto(target, data, casting=casting, where=mask))
        b.note_overlap((src, where), dst)

    def _take(self, a: Any, indices: Any, axis: int | None = None, out: Any = None) -> StrictArray:
        b = self._backend
        data = b.bare(a)
        if not isinstance(indices, StrictArray) and not np.isscalar(indices):
            indices = b.send(indices, int)
        chosen = b.bare(indices)
        if out is None:
            return b.made(lambda: np.take(data, chosen, axis=axis))
        target = b.output(out)
        if target.dtype != data.dtype:
            raise TypeError("Output dtype mismatch")
        if target.shape != np.take(data, np.zeros_like(chosen), axis=axis).shape:
            raise ValueError("Output shape mismatch")
        b.do(lambda: np.copyto(target, np.take(data, chosen, axis=axis)))
        return out

    def _matmul(self, x1: Any, x2: Any, out: Any = None) -> StrictArray:
        """Multiply by cuBLAS, which wants matrices whose rows or columns lie without gaps.

        CuPy gives a stack of matrices to cuBLAS only if its rows do.
        """
        b = self._backend
        if not b.captures_products:
            b.outside("cuBLAS's setStream")
        factors = b.bare(x1), b.bare(x2)
        stacked = max(x.ndim for x in factors) > 2
        dtype = np.result_type(*factors)
        for x in factors:
            fits = x.flags.c_contiguous or (x.flags.f_contiguous and not stacked)
            b.hidden_copies += not fits or x.dtype != dtype
        if out is None:
            return b.made(lambda: np.matmul(*factors))
        target = b.output(out)
        b.hidden_copies += (
            not target.flags.c_contiguous
            or target.dtype != dtype
            or any(np.may_share_memory(x, target) for x in factors)
        )
        b.do(lambda: np.matmul(*factors, out=target))
        return out


def _attribute(name: str) -> property:
    return property(lambda array: getattr(array._data, name))


def _unary(name: str) -> Callable[..., StrictArray]:
    return lambda array: getattr(array.backend.xp, name)(array)


def _compared(name: str) -> Callable[..., StrictArray]:
    return lambda array, other: getattr(array.backend.xp, name)(array, other)


def _arithmetic(name: str) -> tuple[Callable[..., StrictArray], ...]:
    """Return an operator, its reflection, and the operator in place."""
    return (
        lambda array, other: getattr(array.backend.xp, name)(array, other),
        lambda array, other: getattr(array.backend.xp, name)(other, array),
        lambda array, other: getattr(array.backend.xp, name)(array, other, out=array),
    )


def _method(name: str) -> Callable[..., StrictArray]:
    return lambda array, *args, **keywords: getattr(array.backend.xp, name)(
        array, *args, **keywords
    )


class StrictArray:
    """The stand-in's array. ``data`` is the device's memory: it is not for library code."""

    __slots__ = ("_data", "backend", "memory")

    #: By this, and by `device`, `xpnet.backends.arrays.backend_of` knows where CuPy's arrays lie.
    __module__ = "cupy"

    #: NumPy's functions and operators are to leave it alone. (CuPy's arrays take NumPy's functions
    #: over; library code should not lean on that.)
    __array_ufunc__ = None

    def __init__(self, backend: StrictBackend, data: np.ndarray, memory: Memory) -> None:
        self.backend, self._data, self.memory = backend, data, memory

    @property
    def data(self) -> np.ndarray:
        if self.backend._graph is not None:
            self.backend._graph.used.add(weakref.ref(self.memory))
        return self._data

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} of an array of the device: use xp")

    dtype, itemsize, nbytes, ndim, shape, size, strides, flags = map(
        _attribute,
        ("dtype", "itemsize", "nbytes", "ndim", "shape", "size", "strides", "flags"),
    )

    @property
    def device(self) -> SimpleNamespace:
        return SimpleNamespace(id=int(self.backend.device.partition(":")[2]))

    # -- to the host ----

    def get(self) -> np.ndarray:
        return self.backend.fetch(self.data)

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous")
        return bool(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, specification: str) -> str:
        return format(self.get(), specification)

    # -- elements ----

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[StrictArray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def _key(self, key: Any) -> tuple[tuple[Any, ...], bool]:
        """Return an index as NumPy takes it, and whether it picks elements out one by one."""
        items, picks = [], False
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, list | np.ndarray):
                k = self.backend.send(k)
            picks |= isinstance(k, StrictArray)
            items.append(self.backend.bare(k) if isinstance(k, StrictArray) else k)
        if not picks and not any(k is Ellipsis for k in items):
            items.append(Ellipsis)  # so that one element is a view, too
        return tuple(items), picks

    def __getitem__(self, key: Any) -> StrictArray:
        key, picks = self._key(key)
        if not picks:
            return StrictArray(self.backend, self._data[key], self.memory)
        self.backend.launch("indexing")
        if any(isinstance(k, np.ndarray) and k.dtype == np.bool_ for k in key):
            self.backend.outside("an index of booleans")
            self.backend.transfers += 1  # the host has to know how many there are
        data = self.data
        return self.backend.made(lambda: data[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.backend.launch("assignment")
        key, picks = self._key(key)
        data = self.data
        if not isinstance(value, StrictArray):
            if np.ndim(value):
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            self.backend.do(lambda: data.__setitem__(key, value))
            return
        source = self.backend.bare(value)
        if not picks:
            target = data[key]
            same = target.__array_interface__ == source.__array_interface__
            shared = np.may_share_memory(target, source)
            self.backend.hidden_copies += shared and not same
        self.backend.do(lambda: data.__setitem__(key, source))

    # -- other shapes and types of the same memory, and copies ----

    def _view(self, name: str, *arguments: Any) -> StrictArray:
        """Return what should be a view; where NumPy has to copy, CuPy has to as well."""
        function = partial(getattr(np.ndarray, name), self._data, *arguments)
        found = function()
        if np.may_share_memory(self._data, found) or not found.size:
            return StrictArray(self.backend, found, self.memory)
        self.backend.launch("a copy")
        self.backend.bare(self)
        return self.backend.made(function)

    def reshape(self, *shape: Any) -> StrictArray:
        return self._view("reshape", *shape)

    def ravel(self) -> StrictArray:
        return self._view("ravel")

    def view(self, dtype: Any = None) -> StrictArray:
        return self._view("view", dtype or self.dtype)

    def swapaxes(self, axis1: int, axis2: int) -> StrictArray:
        return self._view("swapaxes", axis1, axis2)

    def squeeze(self, axis: Any = None) -> StrictArray:
        return self._view("squeeze", axis)

    @property
    def T(self) -> StrictArray:
        return self._view("transpose")

    def astype(self, dtype: Any, copy: bool = True) -> StrictArray:
        if self.dtype == dtype and not copy:
            return self
        self.backend.launch("astype")
        return self.backend.made(partial(self.data.astype, dtype))

    def copy(self) -> StrictArray:
        self.backend.launch("a copy")
        return self.backend.made(self.data.copy)

    def fill(self, value: Any) -> None:
        self[...] = value

    # -- computing ----

    __neg__, __abs__, __invert__ = map(_unary, ("negative", "abs", "invert"))
    __lt__, __le__, __gt__, __ge__ = map(
        _compared, ("less", "less_equal", "greater", "greater_equal")
    )
    __eq__, __ne__ = map(_compared, ("equal", "not_equal"))
    __add__, __radd__, __iadd__ = _arithmetic("add")
    __sub__, __rsub__, __isub__ = _arithmetic("subtract")
    __mul__, __rmul__, __imul__ = _arithmetic("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _arithmetic("divide")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _arithmetic("floor_divide")
    __mod__, __rmod__, __imod__ = _arithmetic("remainder")
    __pow__, __rpow__, __ipow__ = _arithmetic("power")
    __and__, __rand__, __iand__ = _arithmetic("bitwise_and")
    __or__, __ror__, __ior__ = _arithmetic("bitwise_or")
    __xor__, __rxor__, __ixor__ = _arithmetic("bitwise_xor")
    __lshift__, __rlshift__, __ilshift__ = _arithmetic("left_shift")
    __rshift__, __rrshift__, __irshift__ = _arithmetic("right_shift")
    __matmul__ = _method("matmul")
    all, any, argmax, argmin, max, mean, min, sum = map(
        _method, ("all", "any", "argmax", "argmin", "max", "mean", "min", "sum")
    )
