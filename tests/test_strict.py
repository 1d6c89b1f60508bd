"""CuPy's stand-in itself: what it refuses and counts, and that CuPy has all that it offers."""

import inspect
import math

import numpy as np
import pytest
from strict import FUNCTIONS, UFUNC_KEYWORDS, UFUNCS, StrictArray, StrictBackend, WrongDeviceError

import xpnet as xn
from xpnet.backends.arrays import backend_of, move


@pytest.fixture
def active(strict):
    with strict.active():
        yield strict


def row(backend, n=3):
    """Return 0, 1, … as float32."""
    return backend.asarray(np.arange(n), np.float32)


HOST = np.ones(3, np.float32)

#: Case: what is done, the error, and a part of its message.
REFUSED = {
    "to NumPy": (lambda b: np.asarray(row(b)), TypeError, "Implicit conversion"),
    "to NumPy in a list": (lambda b: np.array([row(b)[0]]), TypeError, "Implicit conversion"),
    "into a host array": (
        lambda b: HOST.copy().__setitem__(slice(None), row(b)),
        TypeError,
        "Implicit conversion",
    ),
    "a function of NumPy's": (lambda b: np.sum(row(b)), TypeError, "use xp"),
    "a ufunc of NumPy's": (lambda b: np.sqrt(row(b)), TypeError, "does not support ufuncs"),
    "array + host": (lambda b: row(b) + HOST, TypeError, "Unsupported type"),
    "host + array": (lambda b: HOST + row(b), TypeError, "Unsupported type"),
    "array += host": (lambda b: row(b).__iadd__(HOST), TypeError, "Unsupported type"),
    "host += array": (lambda b: HOST.copy().__iadd__(row(b)), TypeError, "support ufuncs"),
    "array < host": (lambda b: row(b) < HOST, TypeError, "Unsupported type"),
    "array == host": (lambda b: row(b) == HOST, TypeError, "Unsupported type"),
    "array @ host": (lambda b: row(b) @ HOST, TypeError, "Unsupported type"),
    "xp.add with host": (lambda b: b.xp.add(row(b), HOST), TypeError, "Unsupported type"),
    "xp.add with a list": (lambda b: b.xp.add(row(b), [1, 2, 3]), TypeError, "Unsupported type"),
    "xp.add to host": (
        lambda b: b.xp.add(row(b), 1.0, out=HOST.copy()),
        TypeError,
        "must be cupy",
    ),
    "xp.sum of host": (lambda b: b.xp.sum(HOST), TypeError, "an array of the device"),
    "xp.sum to host": (lambda b: b.xp.sum(row(b), out=np.array(0.0)), TypeError, "must be cupy"),
    "xp.take from host": (lambda b: b.xp.take(HOST, row(b)), TypeError, "Unsupported type"),
    "xp.matmul with host": (lambda b: b.xp.matmul(row(b), HOST), TypeError, "Unsupported type"),
    "xp.where with host": (lambda b: b.xp.where(row(b) > 0, HOST, 0.0), TypeError, "Unsupported"),
    "xp.stack of host": (lambda b: b.xp.stack([HOST, row(b)]), TypeError, "Unsupported type"),
    "xp.copyto from host": (lambda b: b.xp.copyto(row(b), HOST), ValueError, "non-scalar numpy"),
    "xp.copyto to host": (lambda b: b.xp.copyto(HOST.copy(), row(b)), TypeError, "must be cupy"),
    "assignment of host": (lambda b: row(b).__setitem__(..., HOST), ValueError, "non-scalar"),
    "assignment of a list": (lambda b: row(b).__setitem__(..., [1, 2, 3]), ValueError, "scalar"),
    "another device's array": (
        lambda b: row(b) + move(HOST, StrictBackend()),
        WrongDeviceError,
        "another device",
    ),
    "text": (lambda b: b.asarray(["a"]), ValueError, "Unsupported dtype"),
    "objects": (lambda b: b.asarray([None]), ValueError, "Unsupported dtype"),
    "a ufunc's where": (
        lambda b: b.xp.add(row(b), 1.0, out=row(b), where=row(b) > 0),
        TypeError,
        "Wrong arguments",
    ),
    "a ufunc's order": (lambda b: b.xp.add(row(b), 1, order="C"), TypeError, "Wrong arguments"),
    "take's mode": (
        lambda b: b.xp.take(row(b), row(b).astype(int), mode="clip"),
        TypeError,
        "unexpected keyword",
    ),
    "take's mode in its place": (
        lambda b: b.xp.take(row(b), row(b).astype(int), 0, row(b), "clip"),
        TypeError,
        "5 were given",
    ),
    "take to another dtype": (
        lambda b: b.xp.take(row(b), row(b).astype(int), out=b.xp.zeros(3)),
        TypeError,
        "dtype mismatch",
    ),
    "take to another shape": (
        lambda b: b.xp.take(row(b), row(b).astype(int), out=row(b, 4)),
        ValueError,
        "shape mismatch",
    ),
    "take out of range": (
        lambda b: b.xp.take(row(b), b.asarray([3])),
        IndexError,
        "out of bounds",
    ),
    "a reduction's where": (lambda b: b.xp.sum(row(b), where=True), TypeError, "unexpected"),
    "a reduction's initial": (lambda b: b.xp.max(row(b), initial=0), TypeError, "unexpected"),
    "a reduction into its input": (
        lambda b: (lambda a: b.xp.sum(a, axis=0, out=a[0]))(row(b)),
        ValueError,
        "into its own input",
    ),
    "a reduction to another shape": (
        lambda b: b.xp.sum(row(b), axis=0, keepdims=True, out=row(b)),
        ValueError,
        "the length of the axis",
    ),
    "copyto where not bool": (
        lambda b: b.xp.copyto(row(b), row(b), where=row(b)),
        TypeError,
        "safe",
    ),
    "a wide result in narrow integers": (
        lambda b: b.xp.add(row(b), 1.5, out=row(b).astype(int)),
        TypeError,
        "Cannot cast",
    ),
    "astype's casting": (lambda b: row(b).astype(int, casting="unsafe"), TypeError, "casting"),
    "a function off the table": (lambda b: b.xp.einsum("i->", row(b)), AttributeError, "einsum"),
    "NumPy's own names": (lambda b: b.xp.ndarray, AttributeError, "ndarray"),
    "the length of a number": (lambda b: len(row(b)[0]), TypeError, "unsized"),
    "the elements of a number": (lambda b: list(row(b)[0]), TypeError, "0-d"),
    "the truth of a row": (lambda b: bool(row(b)), ValueError, "ambiguous"),
    "an item of a row": (lambda b: row(b).item(), ValueError, "size 1"),
    "an index by a number": (lambda b: [1, 2][row(b).astype(int)[0]], TypeError, "indices"),
    "a key of a dict": (lambda b: {row(b): 1}, TypeError, "unhashable"),
}


@pytest.mark.parametrize(("do", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_it_refuses(active, do, error, message):
    with pytest.raises(error, match=message):
        do(active)


#: Case: what is done with a matrix x and indices i.
COMPUTED = {
    "an operator": lambda b, x, i: x + 1,
    "an operator in place": lambda b, x, i: x.__imul__(2),
    "a ufunc": lambda b, x, i: b.xp.exp(x),
    "a reduction": lambda b, x, i: x.sum(),
    "a product": lambda b, x, i: x @ x.T,
    "a new array": lambda b, x, i: b.xp.zeros(3),
    "a copy": lambda b, x, i: x.copy(),
    "a copy to another array": lambda b, x, i: b.xp.copyto(x, x),
    "another type": lambda b, x, i: x.astype(np.float64),
    "an assignment": lambda b, x, i: x.__setitem__(0, 1.0),
    "an array as index": lambda b, x, i: x[i],
    "a shape that needs a copy": lambda b, x, i: x.T.reshape(12),
    "an upload": lambda b, x, i: b.xp.asarray(HOST),
}


@pytest.mark.parametrize("do", COMPUTED.values(), ids=COMPUTED)
def test_it_computes_on_the_current_device_alone(strict, do):
    x = strict.asarray(np.arange(12).reshape(3, 4), np.float32)
    i = strict.asarray([0, 2])
    with strict.active():
        do(strict, x, i)
    with pytest.raises(WrongDeviceError, match="outside"):
        do(strict, x, i)


#: Case: what is done with a matrix (3, 4), and what comes of it.
VIEWS = {
    "an element": (lambda x: x[1, 2], ()),
    "a row": (lambda x: x[1], (4,)),
    "a part": (lambda x: x[..., :2], (3, 2)),
    "an axis more": (lambda x: x[:, None], (3, 1, 4)),
    "another shape": (lambda x: x.reshape(2, 6), (2, 6)),
    "a shape as a tuple": (lambda x: x.reshape((4, 3)), (4, 3)),
    "one axis": (lambda x: x.ravel(), (12,)),
    "axes swapped": (lambda x: x.swapaxes(0, 1), (4, 3)),
    "transposed": (lambda x: x.T, (4, 3)),
    "a stack of one": (lambda x: x[None], (1, 3, 4)),
    "an axis less": (lambda x: x[:1].squeeze(0), (4,)),
    "another type": (lambda x: x.view(np.uint32), (3, 4)),
    "the first in a loop": (lambda x: next(iter(x)), (4,)),
}


@pytest.mark.parametrize(("do", "shape"), VIEWS.values(), ids=VIEWS)
def test_a_view_costs_nothing_and_writes_through(strict, do, shape):
    x = strict.asarray(np.ones((3, 4)), np.float32)
    before = counted(strict)
    view = do(x)
    assert isinstance(view, StrictArray)
    assert view.shape == shape
    assert counted(strict) == before
    with strict.active():
        view[...] = 0
    assert (x.get() == 0).sum() == math.prod(shape)


# -- what is counted ----

COUNTERS = ("transfers", "uploads", "waits", "allocations", "hidden_copies")


def counted(backend):
    return {name: getattr(backend, name) for name in COUNTERS}


def change(backend, do, *args):
    """Return which counters something changes, and by how much."""
    before = counted(backend)
    do(*args)
    after = counted(backend)
    return {name: after[name] - before[name] for name in COUNTERS if after[name] != before[name]}


def test_a_fresh_one_starts_from_zero():
    assert set(counted(StrictBackend()).values()) == {0}


TRANSFERS = {
    "float": float,
    "int": int,
    "bool": bool,
    "item": lambda x: x.item(),
    "get": lambda x: x.get(),
    "tolist": lambda x: x.tolist(),
    "repr": repr,
    "str": str,
    "format": lambda x: f"{x}",
    "if": lambda x: 1 if x else 0,
    "max of Python": lambda x: max(x, x),
    "to_host": lambda x: x.backend.to_host(x),
}


@pytest.mark.parametrize("do", TRANSFERS.values(), ids=TRANSFERS)
def test_a_copy_to_the_host_is_counted(active, do):
    x = row(active)[1]
    assert change(active, do, x)["transfers"] == 1


def test_an_index_of_booleans_is_counted_as_a_transfer(active):
    x = row(active)
    assert change(active, lambda: x[x > 1])["transfers"] == 1
    assert "transfers" not in change(active, lambda: x[x.astype(int)])


UPLOADS = {
    "asarray": lambda b, x: b.asarray(HOST),
    "asarray of a list": lambda b, x: b.asarray([1.0, 2.0]),
    "asarray of a number": lambda b, x: b.asarray(1.0),
    "xp.asarray": lambda b, x: b.xp.asarray(HOST, dtype=np.float32),
    "indices": lambda b, x: x[np.array([0, 1])],
    "a list of indices": lambda b, x: x[[0, 1]],
    "indices to take": lambda b, x: b.xp.take(x, np.array([0, 1])),
}


@pytest.mark.parametrize("do", UPLOADS.values(), ids=UPLOADS)
def test_an_upload_is_counted(active, do):
    x = row(active)
    assert change(active, do, active, x)["uploads"] == 1


def test_an_upload_is_a_copy(strict):
    host = np.ones(3)
    x = strict.asarray(host)
    host[:] = 2
    assert x.tolist() == [1, 1, 1]
    assert strict.asarray(x) is x
    assert strict.uploads == 1


def test_scalars_are_no_uploads(active):
    x = row(active)
    assert change(active, lambda: (x + 1.5) * np.float32(2)) == {"allocations": 2}
    assert change(active, x.fill, 3.0) == {}
    assert change(active, active.xp.copyto, x, 3.0) == {}


def test_what_goes_to_out_is_no_allocation(active):
    x, y, total = row(active), row(active), active.xp.zeros((), np.float32)
    i = x.astype(int)
    assert change(active, lambda: active.xp.add(x, y, out=y)) == {}
    assert change(active, lambda: active.xp.sum(x, out=total)) == {}
    assert change(active, lambda: active.xp.take(x, i, out=y)) == {}
    assert change(active, lambda: active.xp.copyto(y, x)) == {}
    assert change(active, lambda: active.xp.add(x, y)) == {"allocations": 1}
    assert change(active, lambda: active.xp.zeros(3)) == {"allocations": 1}


#: Case: an operation over a matrix x (4, 4), and the copies that CuPy makes for it.
OVERLAPS = {
    "the same object": (lambda xp, x: xp.add(x, 1, out=x), 0),
    "an equal view": (lambda xp, x: xp.add(x[...], 1, out=x), 1),
    "two equal views": (lambda xp, x: xp.add(x[...], x[...], out=x), 2),
    "a view moved by one": (lambda xp, x: xp.add(x[1:], 1, out=x[:-1]), 1),
    "views apart": (lambda xp, x: xp.add(x[:2], 1, out=x[2:]), 0),
    "views interleaved": (lambda xp, x: xp.add(x[:, ::2], 1, out=x[:, 1::2]), 1),
    "in place": (lambda xp, x: x.__iadd__(1), 0),
    "a part in place": (lambda xp, x: x.__setitem__(0, x[0].__iadd__(1)), 0),
    "a part assigned to another": (lambda xp, x: x.__setitem__(0, x[1]), 0),
    "a part assigned, moved by one": (
        lambda xp, x: x.__setitem__(slice(1, None), x[:-1]),
        1,
    ),
    "copyto, moved by one": (lambda xp, x: xp.copyto(x[1:], x[:-1]), 1),
    "copyto where": (lambda xp, x: xp.copyto(x, 0.0, where=x > 1), 0),
    "a product": (lambda xp, x: xp.matmul(x, x, out=xp.zeros((4, 4))), 0),
    "a product, transposed": (lambda xp, x: xp.matmul(x.T, x, out=xp.zeros((4, 4))), 0),
    "a product of parts of rows": (lambda xp, x: xp.matmul(x[:, :2], x[:2]), 1),
    "a product to its factor": (lambda xp, x: xp.matmul(x, x, out=x), 1),
    "a product to parts of rows": (
        lambda xp, x: xp.matmul(x, x[:, :2].copy(), out=xp.zeros((4, 4))[:, :2]),
        1,
    ),
    "a product of a stack": (lambda xp, x: xp.matmul(x[None], x[None]), 0),
    "a product of a stack, transposed": (lambda xp, x: xp.matmul(x[None], x.T[None]), 1),
    "a product of two types": (lambda xp, x: xp.matmul(x, x.astype(np.float32)), 1),
}


@pytest.mark.parametrize(("do", "copies"), OVERLAPS.values(), ids=OVERLAPS)
def test_hidden_copies_are_counted(active, do, copies):
    x = active.asarray(np.arange(16.0).reshape(4, 4))
    do(active.xp, x)
    assert active.hidden_copies == copies


@pytest.mark.parametrize("late", [False, True])
def test_looking_at_shared_memory_is_no_transfer(late):
    strict = StrictBackend(late=late)
    array, view = strict.shared((2,), np.float64)
    assert isinstance(view, np.ndarray)
    with strict.active():
        array[...] = 1
    assert view.tolist() == ([0, 0] if late else [1, 1])
    strict.synchronize()
    assert view.tolist() == [1, 1]
    assert counted(strict) == dict.fromkeys(COUNTERS, 0) | {"waits": 1}


def test_memory_is_limited_if_asked_for_and_comes_back():
    strict = StrictBackend(memory=1000)
    with strict.active():
        kept = strict.xp.zeros(50)
        assert strict.taken == 400
        with pytest.raises(MemoryError, match="out of memory allocating 800 bytes"):
            strict.xp.zeros(100)
        view = kept[:10]
        del kept
        assert strict.taken == 400  # a view holds on to it
        del view
        assert strict.taken == 0
        assert strict.xp.zeros(100).size == 100


def test_a_copy_to_the_host_waits_for_shared_memory():
    strict = StrictBackend(late=True)
    array, view = strict.shared((), np.float64)
    with strict.active():
        array[...] = 1
        float(strict.xp.zeros(()))
    assert view == 1


# -- results ----


#: Case: what is computed from 0, 1, 2 in float32, and the result's dtype and value.
RESULTS = {
    "a sum": (lambda x, half: x.sum(), np.float32, 3),
    "a mean": (lambda x, half: x.mean(), np.float32, 1),
    "an element": (lambda x, half: x[2], np.float32, 2),
    "times Python's float": (lambda x, half: x[2] * 2.0, np.float32, 4),
    "times NumPy's float64": (lambda x, half: x[2] * np.float64(2), np.float64, 4),
    "plus a float64 array": (lambda x, half: x[2] + half, np.float64, 2.5),
    "Python's int minus": (lambda x, half: 3 - x[2], np.float32, 1),
    "NumPy's float64 to the power": (lambda x, half: np.float64(3) ** x[2], np.float64, 9),
    "a count": (lambda x, half: (x > 0).sum(), np.int64, 2),
    "an index": (lambda x, half: x.argmax(), np.int64, 2),
    "a question": (lambda x, half: (x == 1).any(), np.bool_, True),
    "a negation": (lambda x, half: -x[1], np.float32, -1),
    "a product": (lambda x, half: x @ x, np.float32, 5),
}


@pytest.mark.parametrize(("do", "dtype", "value"), RESULTS.values(), ids=RESULTS)
def test_a_number_is_an_array_of_numpy_s_dtype(active, do, dtype, value):
    found = do(row(active), active.asarray(0.5))
    assert isinstance(found, StrictArray)
    assert (found.dtype, found.shape, found.item()) == (dtype, (), value)


def of_ufunc(name):
    """Return arguments for a ufunc: numbers for which it is defined."""
    whole = name in ("invert", "left_shift", "right_shift") or name.startswith("bitwise")
    numbers = np.array([[1, 2, 3], [3, 2, 1]]) if whole else np.array([[0.5, 2, 3], [3, 2, 1]])
    return tuple(numbers[: getattr(np, name).nin])


MATRIX = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]])

#: Function: positional arguments and keywords.
SAMPLES = {
    **{name: (of_ufunc(name), {}) for name in UFUNCS},
    "all": ((MATRIX,), {"axis": 0}),
    "any": ((MATRIX,), {"axis": -1, "keepdims": True}),
    "arange": ((1, 7, 2), {"dtype": np.int32}),
    "argmax": ((MATRIX,), {"axis": -1}),
    "argmin": ((MATRIX, 0), {}),
    "asarray": ((MATRIX,), {"dtype": np.float32}),
    "ascontiguousarray": ((MATRIX.T,), {}),
    "broadcast_to": ((MATRIX, (2, 2, 3)), {}),
    "concatenate": (([MATRIX, MATRIX],), {"axis": 1}),
    "full": (((2, 3), 7.0), {"dtype": np.float32}),
    "matmul": ((MATRIX, MATRIX.T), {}),
    "max": ((MATRIX,), {"axis": 0, "keepdims": True}),
    "mean": ((MATRIX,), {"axis": (-2, -1)}),
    "std": ((MATRIX,), {"axis": 0}),
    "min": ((MATRIX,), {}),
    "ones": (((2, 3),), {"dtype": np.bool_}),
    "ones_like": ((MATRIX,), {"dtype": np.int32}),
    "sort": ((MATRIX[::-1],), {"axis": 0}),
    "stack": (([MATRIX, MATRIX],), {"axis": -1}),
    "sum": ((MATRIX,), {"axis": -2, "dtype": np.float32}),
    "take": ((MATRIX, np.array([1, 0])), {"axis": 0}),
    "where": ((MATRIX > 2, MATRIX, 0.0), {}),
    "zeros": ((3,), {}),
    "zeros_like": ((MATRIX,), {}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_function_does_what_numpy_s_does(active, name):
    def on_device(argument):
        if isinstance(argument, list):
            return [active.asarray(a) for a in argument]
        return active.asarray(argument) if isinstance(argument, np.ndarray) else argument

    args, keywords = SAMPLES[name]
    found = getattr(active.xp, name)(*map(on_device, args), **keywords)
    expected = getattr(np, name)(*args, **keywords)
    assert isinstance(found, StrictArray)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.get(), expected, strict=True)


def test_every_function_of_the_tables_was_called():
    # These two leave what is in the memory; copyto is in other tests.
    assert {*UFUNCS, *FUNCTIONS} - {"empty", "empty_like", "copyto"} == SAMPLES.keys()


def test_copyto_takes_a_mask(active):
    x = row(active)
    active.xp.copyto(x, 9.0, where=x > 1)
    active.xp.copyto(x[:1], active.xp.full((1,), 5.0), where=active.xp.ones((), np.bool_))
    assert x.tolist() == [5, 1, 9]


@pytest.mark.parametrize("name", ["empty", "empty_like"])
def test_new_memory_has_shape_and_dtype(active, name):
    argument = (3,) if name == "empty" else row(active)
    found = getattr(active.xp, name)(argument, dtype=np.uint64)
    assert (found.shape, found.dtype) == ((3,), np.uint64)


# -- as a backend of the library ----


def test_the_library_takes_it_for_a_device(strict):
    assert backend_of(strict.asarray(HOST), strict) is strict
    assert backend_of(strict.asarray(HOST), xn.backends.select.select("cpu")) is strict
    assert backend_of(HOST, strict).device == "cpu"
    assert strict.owns(strict.asarray(HOST))
    assert not strict.owns(HOST)
    assert not strict.owns(StrictBackend().asarray(HOST))
    np.testing.assert_array_equal(
        move(strict.asarray(HOST), xn.backends.select.select("cpu")), HOST
    )
    assert strict.transfers == 1


def test_active_can_be_nested_and_ends_after_an_error(strict):
    with strict.active():
        with strict.active():
            pass
        strict.xp.zeros(1)
    with pytest.raises(KeyError), strict.active():
        raise KeyError
    with pytest.raises(WrongDeviceError):
        strict.xp.zeros(1)


# -- and CuPy itself, which says what it has without a GPU, too ----


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="CuPy is not installed")


@pytest.mark.parametrize("name", UFUNCS)
def test_cupy_has_the_ufunc(cupy, name):
    function = getattr(cupy, name)
    assert isinstance(function, cupy.ufunc)
    assert function.nin == getattr(np, name).nin
    given = dict.fromkeys(UFUNC_KEYWORDS) | {"casting": "same_kind"}
    numbers = (1,) * function.nin
    # CuPy looks at the keywords before it looks for a GPU, so any other error will do.
    assert "Wrong arguments" not in str(error_of(function, *numbers, **given))
    assert "Wrong arguments" in str(error_of(function, *numbers, where=True))


def error_of(function, *args, **keywords):
    try:
        function(*args, **keywords)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_cupy_has_the_function_with_these_parameters(cupy, name):
    signature = inspect.signature(getattr(cupy, name))
    parameters = FUNCTIONS[name]
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        # A generalised ufunc: its arrays have no names.
        assert {p for p in parameters if not p.startswith("x")} <= signature.parameters.keys()
        return
    assert tuple(signature.parameters)[: len(parameters)] == parameters


def test_cupy_s_arrays_have_what_the_stand_in_s_have(cupy):
    ours = {n for n in vars(StrictArray) if not n.startswith("_")} - {"backend", "data", "memory"}
    assert ours <= set(dir(cupy.ndarray))
    operators = {n for n, f in vars(StrictArray).items() if n.startswith("__") and callable(f)}
    assert operators <= set(dir(cupy.ndarray))
