"""What may be given as data: each kind of input trains as the plain array does, or is refused.

The tables say which. "Trains" is to the bit: the numbers are small and whole, so every type holds
them exactly. What is refused is told by what was given, what is expected, and what to do.
"""

import decimal
import re
import tracemalloc
import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse

import xpnet as xn
from xpnet import Rows
from xpnet.data.arrays import column_values


def pandas():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")


def arrow():
    pandas()  # one extra brings both
    return pytest.importorskip("pyarrow")


# Of NumPy's matrices, which are data like any other here.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

N, M = 24, 3
_RNG = np.random.default_rng(0)
X = _RNG.integers(0, 4, (N, M)).astype(float)
Y = (X[:, 0] + X[:, 1] > 2).astype(int)
GAP = X.copy()
GAP[4, 1] = GAP[9, 1] = np.nan

#: What each refusal says, by the name used in the tables.
REFUSALS = {
    "dtype": (TypeError, r"X has dtype .*: give an array of numbers"),
    "object": (
        TypeError,
        r"X has dtype .*give an array of numbers; if they are numbers, as X\.ast",
    ),
    "columns": (
        TypeError,
        r"X has columns without numbers: .* \(.*\): turn them into numbers, as .*, or leave them",
    ),
    "gaps": (
        ValueError,
        r"X has \d values? that (is|are) NaN .*column 1 \(\d\): remove or replace",
    ),
    "sparse gaps": (ValueError, r"X has values that are NaN or infinite: remove or replace"),
    "masked": (ValueError, r"X has \d+ masked values: remove their rows, or fill them"),
    "kind": (TypeError, r"X is a \w+: give an array, a table, or a list"),
    "single": (ValueError, r"X is a single value: give one for each example"),
    "1-d": (
        ValueError,
        r"X has shape \(24,\): the network takes \(examples, 3\); one example is X",
    ),
    "shape": (ValueError, r"X has shape \(.*\): the network takes \(examples, 3\)"),
    "rows": (ValueError, r"X has 0 rows and (dev )?y has 24: give one label for each example"),
    "ragged": (ValueError, r"X is not a rectangular array of numbers: give rows of one length"),
}


@dataclass
class Case:
    """An input, and what becomes of it.

    ``like`` is the plain array that it must train as; else ``refused`` is a key of `REFUSALS`. The
    estimator decides as the trainer does, unless ``estimator`` says "trains" or "refused".
    """

    name: str
    make: Any
    like: np.ndarray | None = None
    refused: str = ""
    estimator: str = ""

    @property
    def by_estimator(self) -> bool:
        return self.estimator == "trains" if self.estimator else self.like is not None


CASES: list[Case] = []


def trains(name, make, like=X, estimator=""):
    CASES.append(Case(name, make, like, estimator=estimator))


def refused(name, make, why, estimator=""):
    CASES.append(Case(name, make, None, why, estimator))


def frame(values=X, columns=("a", "b", "c"), **more):
    return pandas().DataFrame(values, columns=list(columns), **more)


def table(first, second=None, third=None):
    second = X[:, 1] if second is None else second
    return arrow().table({"a": first, "b": second, "c": X[:, 2] if third is None else third})


def read_only():
    array = X.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    """Return an array that begins at an odd address."""
    memory = bytearray(array.nbytes + 1)
    found = np.frombuffer(memory, array.dtype, array.size, 1).reshape(array.shape)
    found[...] = array
    return found


sklearn_version = tuple(map(int, sklearn.__version__.split(".")[:2]))
#: What scikit-learn has columns of one name be.
OF_ONE_NAME = "refused" if sklearn_version >= (1, 9) else ""

TEXT = np.array(["x", "y"] * (N // 2))
DAYS = np.array(["2020-01-01", "2021-02-03"] * (N // 2), "M8[ns]")

# Python's own.
trains("list", X.tolist)
trains("list of whole numbers", X.astype(int).tolist)
trains("tuple of tuples", lambda: tuple(map(tuple, X)))
trains("list of arrays", lambda: list(X))
trains(
    "list of lists and arrays", lambda: [row.tolist() if i % 2 else row for i, row in enumerate(X)]
)
trains("memoryview", lambda: memoryview(X.copy()))
refused(
    "list of decimals",
    lambda: [[decimal.Decimal(int(v)) for v in r] for r in X],
    "object",
    "trains",
)
refused("list with None", lambda: [[None, 1, 2]] * N, "object")
refused("list of strings", lambda: [["a", "b", "c"]] * N, "object")
refused("list of large whole numbers", lambda: [[2**70, 1, 0]] * N, "object", "trains")
refused("ragged list", lambda: [[1, 2, 3], [1, 2]] * (N // 2), "ragged")
refused("empty list", list, "rows")
refused("generator", lambda: (row for row in X), "kind")
refused("dict", lambda: {"a": X[:, 0]}, "kind")
refused("set", lambda: {1, 2}, "kind")
refused("None", lambda: None, "kind")
refused("str", lambda: "X.npy", "kind")
refused("bytes", lambda: b"X", "kind")
refused("a number", lambda: 3.0, "single")
refused("range", lambda: range(N), "1-d")

# NumPy's types.
for _t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f8", "g"):
    trains(np.dtype(_t).name, lambda t=_t: X.astype(t))
for _t in (">i2", ">i4", ">i8", ">u2", ">f2", ">f4", ">f8", "<f8"):
    trains(f"byte order {_t}", lambda t=_t: X.astype(t), estimator="")
trains("float32", lambda: X.astype("f4"))
trains("bool", lambda: X > 1, (X > 1).astype(float))
refused("complex64", lambda: X.astype("c8"), "dtype")
refused("complex128", lambda: X.astype("c16"), "dtype")
refused("object array of numbers", lambda: X.astype(object), "object", "trains")
refused("object array with None", lambda: np.array([[None, 1, 2]] * N, object), "object")
refused("object array with text", lambda: np.array([["a", 1, 2]] * N, object), "object")
refused("object array of lists", lambda: np.array([[[1], [2], [3, 4]]] * N, object), "object")
refused("strings", lambda: np.array([["a", "b", "c"]] * N), "object")
refused("strings of numbers", lambda: X.astype(str), "object")
refused("NumPy's own strings of numbers", lambda: X.astype("T"), "object")
refused("bytes of numbers", lambda: X.astype("S5"), "object")
refused("object array of strings of numbers", lambda: X.astype(str).astype(object), "object")
refused("object array with fractions", lambda: X.astype(object) * Fraction(1), "object", "trains")
refused("object array with dates", lambda: np.array([[DAYS[0], 1, 2]] * N, object), "object")
refused("dates", lambda: np.stack([DAYS] * 3, axis=1), "dtype")
refused("durations", lambda: X.astype("m8[s]"), "dtype")
refused("structured", lambda: np.zeros(N, [("a", float), ("b", float)]), "dtype")
refused("record array", lambda: np.rec.fromarrays(X.T), "dtype")
refused("void", lambda: np.zeros((N, M), "V4"), "dtype")

# NumPy's shapes and layouts.
trains("read-only", read_only)
trains("Fortran order", lambda: np.asfortranarray(X))
trains("every second row and column", lambda: np.repeat(np.repeat(X, 2, 0), 2, 1)[::2, ::2])
trains("turned twice", lambda: X[::-1].copy()[::-1])
trains("transposed", lambda: X.T.copy().T)
trains("broadcast", lambda: np.broadcast_to(X[:, :1], (N, M)), np.repeat(X[:, :1], M, axis=1))
trains("unaligned", lambda: unaligned(X))
trains("duplicate columns", lambda: X[:, [0, 0, 1]], X[:, [0, 0, 1]])
trains("constant columns", lambda: X * [1, 0, 0], X * [1, 0, 0])
trains("np.matrix", lambda: np.asmatrix(X), estimator="refused")
trains("masked, nothing hidden", lambda: np.ma.masked_array(X, mask=X > 99))
refused("masked", lambda: np.ma.masked_array(X, mask=X > 2), "masked")
refused("0-d", lambda: np.array(3.0), "single")
refused("1-d", lambda: X[:, 0], "1-d")
refused("3-d", lambda: X[:, :, None], "shape")
refused("no rows", lambda: X[:0], "rows")
refused("no columns", lambda: X[:, :0], "shape")
refused("a column too few", lambda: X[:, :2], "shape", "trains")
refused("a column too many", lambda: np.c_[X, X[:, 0]], "shape", "trains")
refused("NaN", lambda: GAP, "gaps")
refused("infinite", lambda: np.where(np.isnan(GAP), -np.inf, GAP), "gaps")
refused("NaN in float16", lambda: GAP.astype("f2"), "gaps")

# SciPy's.
for _kind in ("csr_array", "csc_array", "coo_array", "lil_array", "dok_array", "csr_matrix"):
    trains(f"sparse {_kind}", lambda k=_kind: getattr(sparse, k)(X))
trains("sparse, of whole numbers", lambda: sparse.csr_array(X.astype("i4")))
refused("sparse with NaN", lambda: sparse.csr_array(GAP), "sparse gaps")
refused("sparse of complex numbers", lambda: sparse.csr_array(X + 0j), "dtype")

# pandas'.
trains("frame", frame)
trains("frame, shuffled index", lambda: frame(index=range(N, 0, -1)))
trains("frame of whole numbers", lambda: frame(X.astype("i8")))
trains("frame of several types", lambda: frame().astype({"a": "i2", "b": "f4"}))
trains(
    "frame with a column of truth values",
    lambda: frame().assign(c=X[:, 2] > 1),
    np.c_[X[:, :2], X[:, 2] > 1],
)
trains("frame, Int64", lambda: frame().astype("Int64"))
trains("frame, UInt8 and Float32", lambda: frame().astype({"a": "UInt8", "b": "Float32"}))
trains("frame, boolean", lambda: frame(X > 1).astype("boolean"), (X > 1).astype(float))
trains("frame, Arrow types", lambda: frame().convert_dtypes(dtype_backend="pyarrow"))
trains("frame, categories that are numbers", lambda: frame(X.astype(int)).astype("category"))
trains("frame, two columns of one name", lambda: frame(columns="aab"), estimator=OF_ONE_NAME)
trains("frame, sparse columns", lambda: frame().astype(pandas().SparseDtype(float, 0.0)))
refused("frame with NaN", lambda: frame(GAP), "gaps")
refused("frame, Float64 with gaps", lambda: frame(GAP).astype("Float64"), "gaps")
refused("frame, Int64 with gaps", lambda: frame(GAP).astype("Int64"), "gaps")
refused(
    "frame, Arrow types with gaps",
    lambda: frame(GAP).convert_dtypes(dtype_backend="pyarrow"),
    "gaps",
)
refused("frame with text", lambda: frame().assign(b=TEXT), "columns")
refused("frame with text of numbers", lambda: frame().astype({"b": str}), "columns")
refused("frame with bytes", lambda: frame().assign(b=[b"1", b"2"] * 12), "columns")
refused("frame with categories", lambda: frame().assign(b=pandas().Categorical(TEXT)), "columns")
refused("frame with dates", lambda: frame().assign(b=DAYS), "columns")
refused("frame of dates", lambda: frame(np.stack([DAYS] * 3, axis=1)), "columns")
refused(
    "frame with dates of a zone",
    lambda: frame().assign(b=pandas().Series(DAYS).dt.tz_localize("UTC")),
    "columns",
)
refused("frame with durations", lambda: frame().assign(b=DAYS - DAYS[0]), "columns")
refused(
    "frame with periods",
    lambda: frame().assign(b=pandas().Series(DAYS).dt.to_period("M")),
    "columns",
)
refused(
    "frame with categories that are dates",
    lambda: frame().assign(b=pandas().Categorical(DAYS)),
    "columns",
)
refused(
    "frame with categories that are text of numbers",
    lambda: frame().assign(b=pandas().Categorical(["1", "2"] * 12)),
    "columns",
)
refused("frame with lists", lambda: frame().assign(b=[[1], [2, 3]] * 12), "columns")
refused("frame with dicts", lambda: frame().assign(b=[{"a": 1}] * N), "columns")
refused("frame of objects", lambda: frame().astype(object), "columns", "trains")
refused("frame of objects with gaps", lambda: frame().astype(object).where(X > 0, None), "columns")
refused(
    "frame with decimals",
    lambda: frame().assign(b=[decimal.Decimal("1.5")] * N),
    "columns",
    "trains",
)
refused("frame of complex numbers", lambda: frame(X + 0j), "columns")
refused("series", lambda: pandas().Series(X[:, 0]), "1-d")
refused("frame without columns", lambda: frame()[[]], "shape")

# Arrow's.
trains("Arrow table", lambda: table(X[:, 0]))
trains("Arrow table of several types", lambda: table(X[:, 0].astype("i4"), X[:, 1].astype("f4")))
trains(
    "Arrow table in pieces",
    lambda: arrow().concat_tables([table(X[:, 0])[:10], table(X[:, 0])[10:]]),
)
trains("Arrow table with truth values", lambda: table(X[:, 0] > 1), np.c_[X[:, 0] > 1, X[:, 1:]])
trains("Arrow record batch", lambda: table(X[:, 0]).to_batches()[0])
trains("Arrow tensor", lambda: arrow().Tensor.from_numpy(X))
refused("Arrow table with gaps", lambda: table(X[:, 0], arrow().array([None, *X[1:, 1]])), "gaps")
refused(
    "Arrow table, truth values with gaps",
    lambda: table(X[:, 0], arrow().array([None, *(X[1:, 1] > 1)])),
    "gaps",
)
refused("Arrow table with text", lambda: table(X[:, 0], TEXT), "columns")
refused("Arrow table with dates", lambda: table(X[:, 0], DAYS), "columns")
refused("Arrow table with lists", lambda: table(X[:, 0], arrow().array([[1], [2]] * 12)), "columns")
refused("Arrow table with structs", lambda: table(X[:, 0], [{"a": 1}] * N), "columns")
refused("Arrow table with bytes", lambda: table(X[:, 0], [b"1", b"2"] * 12), "columns")
refused("Arrow table with text of numbers", lambda: table(X[:, 0], ["1", "2"] * 12), "columns")
refused("Arrow array", lambda: arrow().array(X[:, 0]), "1-d")


class Column:
    """A column of `OtherTable`."""

    def __init__(self, values, dtype):
        self.values, self.dtype = values, dtype

    def __array__(self, dtype=None, copy=None):
        return self.values


class OtherTable:
    """A table such as Polars' data frames: with columns, of types that NumPy knows nothing of.

    As an array all of it is numbers: dates are those of days.
    """

    def __init__(self, **columns):
        self.columns, self.dtypes = list(columns), [str(v.dtype).title() for v in columns.values()]
        self._values = [*columns.values()]

    def get_columns(self):
        return [Column(v, d) for v, d in zip(self._values, self.dtypes, strict=True)]

    def __len__(self):
        return len(self._values[0])

    def __array__(self, dtype=None, copy=None):
        return np.stack([v.astype(float) for v in self._values], axis=1)


def other(second=None):
    return OtherTable(a=X[:, 0], b=X[:, 1] if second is None else second, c=X[:, 2].astype(int))


# Another library's.
trains("other table", other)
refused("other table with dates", lambda: other(DAYS.astype("M8[D]")), "columns")
refused("other table with durations", lambda: other(DAYS - DAYS[0]), "columns")
refused("other table with text of numbers", lambda: other(X[:, 1].astype(str)), "columns")
refused("other table with arrays", lambda: other(X[:, :2]), "columns")


def mapped(folder, array=X):
    np.save(folder / "X.npy", array)
    return np.load(folder / "X.npy", mmap_mode="r")


# In a file; the function gets a folder.
trains("memory map", lambda folder: mapped(folder))
trains("memory map, Fortran order", lambda folder: mapped(folder, np.asfortranarray(X)))
trains("memory map, a part", lambda folder: mapped(folder, np.r_[X, X])[N:])
trains("rows of a memory map", lambda folder: Rows(mapped(folder), np.arange(N)))
refused("memory map with NaN", lambda folder: mapped(folder, GAP), "gaps")
refused(
    "rows of a memory map with NaN", lambda folder: Rows(mapped(folder, GAP), np.arange(N)), "gaps"
)


def test_the_table_is_large_and_no_name_stands_twice():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) > 100
    assert {case.refused for case in CASES} - {""} == set(REFUSALS)


def make(case, folder):
    """Return a case's input, anew each time: some can be read once."""
    return case.make(folder) if "memory map" in case.name else case.make()


def network(device="cpu", loss="softmax_cross_entropy", n=2):
    layers = [xn.Linear(4), xn.Tanh(), xn.Linear(n)]
    return xn.Network(layers, loss=loss, n_features=M, device=device, dtype="float64")


def trained(features, labels=Y, device="cpu", **more):
    net = network(device, **more)
    xn.Trainer(net).fit(features, labels, batch_size=7, epochs=2, validation_data=(X, Y))
    return net


def same(found, expected):
    for name, value in expected.state().items():
        np.testing.assert_array_equal(found.state()[name], value, err_msg=name)


@pytest.fixture(params=["cpu", "stand-in"])
def where(request, strict):
    return "cpu" if request.param == "cpu" else strict


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_a_trainer_takes_it_or_says_why_not(case, where, tmp_path):
    if case.like is not None:
        net = trained(make(case, tmp_path), device=where)
        expected = trained(case.like, device=where)
        same(net, expected)
        predicted = net.predict(make(case, tmp_path))
        assert type(predicted) is np.ndarray
        np.testing.assert_array_equal(predicted, expected.predict(case.like))
        assert net.evaluate(make(case, tmp_path), Y) == expected.evaluate(case.like, Y)
        return
    error, message = REFUSALS[case.refused]
    net = network(where)
    before = net.state()
    with pytest.raises(error, match=message):
        xn.Trainer(net).fit(make(case, tmp_path), Y)
    with pytest.raises(error, match="dev " + message):
        xn.Trainer(net).fit(X, Y, validation_data=(make(case, tmp_path), Y))
    with pytest.raises((TypeError, ValueError), match=r"^X .*: ") as caught:
        net.predict(make(case, tmp_path))
    if case.refused not in ("rows", "single"):  # there is no y that it could not go with
        assert caught.type is error
        assert re.search(message, str(caught.value))
    for name, value in before.items():
        np.testing.assert_array_equal(net.state()[name], value)


@each_case
def test_an_estimator_takes_it_or_says_why_not(case, tmp_path):
    def fit(features):
        options = {"activation": "tanh", "max_iter": 2, "batch_size": 7, "dtype": "float64"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model = xn.MLPClassifier((4,), **options, random_state=0, device="cpu")
            return model.fit(features, Y)

    if case.by_estimator:
        found = fit(make(case, tmp_path))
        if case.like is not None:
            same(found.network_, fit(case.like).network_)
        return
    model = fit(X)
    before = model.network_.state()
    for use in (
        fit,
        model.predict,
        lambda features: model.partial_fit(features, Y),
        lambda features: model.score(features, Y),
    ):
        with (
            warnings.catch_warnings(action="ignore"),  # that it was fitted without names
            pytest.raises((TypeError, ValueError)) as caught,
        ):
            use(make(case, tmp_path))
        assert len(str(caught.value)) > 20
        if "complex" not in case.name and case.refused in ("columns", "object", "masked", "kind"):
            assert re.search(r"^X (has|is) .*: (give|turn|remove)", str(caught.value))
            assert case.refused != "columns" or re.search(r"'b' \(|, b \(", str(caught.value))
    for name, value in before.items():
        np.testing.assert_array_equal(model.network_.state()[name], value)


# -- arrays of a device ----

ON_DEVICE = {
    "float64": (X, X),
    "float32": (X.astype("f4"), X),
    "float16": (X.astype("f2"), X),
    "int8": (X.astype("i1"), X),
    "uint64": (X.astype("u8"), X),
    "bool": (X > 1, (X > 1).astype(float)),
    "complex": (X.astype("c8"), "dtype"),
    "NaN": (GAP, "gaps"),
    "1-d": (X[:, 0], "1-d"),
    "3-d": (X[:, :, None], "shape"),
    "no rows": (X[:0], "rows"),
}


@pytest.mark.parametrize("layout", ["as it is", "columns", "turned"])
@pytest.mark.parametrize("name", ON_DEVICE)
@pytest.mark.parametrize("net_on", ["cpu", "device"])
def test_arrays_of_a_device(strict, name, layout, net_on):
    values, outcome = ON_DEVICE[name]
    if layout == "columns":
        features = strict.asarray(values.T.copy()).T
    elif layout == "turned":
        features = strict.asarray(values[::-1].copy())[::-1]
    else:
        features = strict.asarray(values)
    assert np.array_equal(features.data, values, equal_nan=values.dtype.kind == "f")
    where = strict if net_on == "device" else "cpu"
    with strict.active():  # CuPy's own functions need it, for a transposed array of 3-D
        labels = strict.asarray(Y)
    if isinstance(outcome, str):
        error, message = REFUSALS[outcome]
        shape = r"X has shape \(.*\): the network takes"
        with pytest.raises(error, match=shape if outcome in ("1-d", "shape") else message):
            xn.Trainer(network(where)).fit(features, labels)
        return
    net = trained(features, labels, where)
    expected = trained(outcome, Y, where)
    same(net, expected)
    predicted = net.predict(features)
    assert strict.owns(predicted)
    np.testing.assert_array_equal(predicted.get(), expected.predict(outcome))


# -- few rows, few columns, many rows ----


def wide(m, dtype="float64"):
    layers = [xn.Linear(2)]
    return xn.Network(
        layers, loss="mean_squared_error", n_features=m, device="cpu", dtype=dtype, random_state=1
    )


def test_one_row():
    """A fit has nothing to learn from it; a step and a prediction take it."""
    net = wide(3)
    with pytest.raises(ValueError, match="y has one value only"):
        xn.Trainer(net).fit([[1, 2, 3]], [[1.0, 2.0]], batch_size=1)
    trainer = xn.Trainer(net, xn.SGD(0.05))
    losses = [float(trainer.step([[1, 2, 3]], [[1.0, 2.0]])) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert net.predict([[1, 2, 3]]).shape == (1, 2)


def test_one_column():
    column = np.arange(N)
    nets = [wide(1), wide(1)]
    for net, features in zip(nets, (column[:, None], [[v] for v in column.tolist()]), strict=True):
        xn.Trainer(net, xn.SGD(1e-3)).fit(features, np.c_[column, -column], batch_size=5, epochs=2)
    same(*nets)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_ten_million_rows_of_one_column(dtype):
    """Beside the data the training needs a few index arrays, and no further copy of float32."""
    n = 10**7
    column = np.zeros((n, 1), dtype)
    column[::2] = 1
    net = wide(1, "float32")
    y = np.concatenate([column, 1 - column], axis=1).astype("f4")
    tracemalloc.start()
    try:
        xn.Trainer(net, xn.SGD(0.1)).fit(column, y, batch_size=10**6, epochs=1, monitor=10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The order of the rows twice, the labels' check, and a copy where the type is another.
    assert peak < 400e6
    assert net.predict(column[:2]).shape == (2, 2)


# -- labels ----

LOSSES = {"softmax_cross_entropy": 2, "sigmoid_cross_entropy": 1, "mean_squared_error": 1}

#: Labels that are those of `Y` to every loss.
GOOD_LABELS = {
    "list": Y.tolist,
    "truth values": lambda: Y > 0,
    "list of truth values": lambda: (Y > 0).tolist(),
    "a column": lambda: Y[:, None],
    "list of columns": lambda: [[int(v)] for v in Y],
    "read-only": lambda: np.broadcast_to(Y, (1, N))[0],
    "turned twice": lambda: Y[::-1].copy()[::-1],
    "every second": lambda: np.repeat(Y, 2)[::2],
    "matrix": lambda: np.asmatrix(Y).T,
    "masked, nothing hidden": lambda: np.ma.masked_array(Y),
    "series": lambda: pandas().Series(Y, index=range(N, 0, -1)),
    "series Int64": lambda: pandas().Series(Y).astype("Int64"),
    "series boolean": lambda: pandas().Series(Y > 0).astype("boolean"),
    "series, Arrow type": lambda: pandas().Series(Y).convert_dtypes(dtype_backend="pyarrow"),
    "series of categories": lambda: pandas().Series(Y).astype("category"),
    "frame": lambda: pandas().DataFrame({"y": Y}),
    "Arrow array": lambda: arrow().array(Y),
    "Arrow array of truth values": lambda: arrow().array(Y > 0),
    "Arrow array in pieces": lambda: arrow().chunked_array([Y[:5], Y[5:]]),
    "Arrow table": lambda: arrow().table({"y": Y}),
    **{t: lambda t=t: Y.astype(t) for t in ("i1", "u1", "u8", ">i4", "f2", "f4", "f8", ">f8", "g")},
}

_ONE_HOT = np.eye(2)[Y]
_WHOLE = r"y has labels that are not whole numbers|y has \d+ values? that (is|are) NaN or infinite"

#: Labels that are refused, and what is said: to cross-entropy with softmax, the others.
BAD_LABELS = {
    "strings": (
        lambda: np.where(Y, "b", "a"),
        r"y has dtype <U1: .*needs (integer labels: num|num)",
    ),
    "objects": (lambda: Y.astype(object), r"y has dtype object: .*needs (integer labels|numbers)"),
    "None in it": (lambda: [None, *Y[1:].tolist()], r"y has dtype object"),
    "series of strings": (lambda: pandas().Series(np.where(Y, "b", "a")), r"y has dtype object"),
    "Arrow array of strings": (lambda: arrow().array(["a", "b"] * 12), r"y has dtype object"),
    "dates": (lambda: DAYS, r"y has dtype datetime64"),
    "complex": (lambda: Y + 0j, r"y has dtype complex128"),
    "NaN": (lambda: np.where(Y, np.nan, 0), _WHOLE),
    "infinite": (lambda: np.where(Y, np.inf, 0), _WHOLE),
    "Int64 with gaps": (lambda: pandas().Series(Y).astype("Int64").mask(Y > 0), _WHOLE),
    "Arrow array with gaps": (lambda: arrow().array([None, *Y[1:].tolist()]), _WHOLE),
    "masked": (lambda: np.ma.masked_array(Y, mask=Y > 0), r"y has \d+ masked values: remove"),
    "one class": (lambda: Y * 0, r"y has one (class|value) only \(0\): there is nothing to learn"),
    "too few": (lambda: Y[:5], r"X has 24 rows and y has 5: give one label for each example"),
    "too many": (lambda: [*Y, 1], r"X has 24 rows and y has 25"),
    "none": (list, r"X has 24 rows and y has 0"),
    "a single one": (lambda: 1, r"y is a single value: give one for each example"),
    "3-d": (lambda: Y[:, None, None], r"y has shape \(24, 1, 1\)"),
    "one-hot": (lambda: _ONE_HOT, r"y has shape \(24, 2\): .*(y\.argmax\(axis=1\)|\(24, 1\))"),
    "ragged": (lambda: [[1], [1, 2]] * (N // 2), r"y is not a rectangular array of numbers: give"),
    "generator": (lambda: (v for v in Y), r"y is a generator: give an array, a table, or a list"),
    "nothing": (lambda: None, r"y is a NoneType: give an array"),
    "frame of strings": (
        lambda: pandas().DataFrame({"y": np.where(Y, "b", "a")}),
        r"y has columns without numbers: 'y' \((str|object of str)\)",
    ),
}

#: Refused where labels are classes; a regression takes them as the numbers that they are.
BAD_CLASSES = {
    "negative": (lambda: Y - 1, r"y has labels from -1 to 0: .*return_inverse|-1: .*needs 0 or 1"),
    "gaps between": (lambda: Y * 5, r"y has labels from 0 to 5: .*return_inverse|as 5: .*0 or 1"),
    "huge": (lambda: Y * 10**15, r"y has labels from 0 to 1e\+15: .*|such as 1e\+15: .*0 or 1"),
    "halves": (lambda: Y * 0.5, r"y has labels that are not whole numbers|such as 0\.5: .*0 or 1"),
}

each_loss = pytest.mark.parametrize("loss", LOSSES)


@each_loss
@pytest.mark.parametrize("name", GOOD_LABELS)
def test_labels_that_train(loss, name, where):
    n = LOSSES[loss]
    net = trained(X, GOOD_LABELS[name](), where, loss=loss, n=n)
    same(net, trained(X, Y, where, loss=loss, n=n))
    assert net.evaluate(X, GOOD_LABELS[name]()) == net.evaluate(X, Y)


@each_loss
@pytest.mark.parametrize("name", [*BAD_LABELS, *BAD_CLASSES])
def test_labels_that_are_refused(loss, name, where):
    make_labels, message = (BAD_LABELS | BAD_CLASSES)[name]
    n = LOSSES[loss]
    if name in BAD_CLASSES and loss == "mean_squared_error":
        labels = make_labels()
        same(
            trained(X, labels, where, loss=loss, n=n),
            trained(X, labels.astype(float), where, loss=loss, n=n),
        )
        return
    with pytest.raises((TypeError, ValueError), match=message):
        trained(X, make_labels(), where, loss=loss, n=n)


#: Labels that an estimator takes, which learns what classes there are; as what it predicts.
CLASSES = {
    "strings": np.where(Y, "b", "a"),
    "objects": np.where(Y, "b", "a").astype(object),
    "truth values": Y > 0,
    "floats": Y.astype(float),
    "negative": Y - 1,
    "gaps between": Y * 5,
    "huge": Y * 10**15,
}


@pytest.mark.parametrize("name", CLASSES)
def test_an_estimator_learns_which_classes_there_are(name):
    def fit(labels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            return xn.MLPClassifier((4,), max_iter=3, random_state=0, device="cpu").fit(X, labels)

    found, expected = fit(CLASSES[name]), fit(Y)
    same(found.network_, expected.network_)
    values = np.unique(CLASSES[name])
    np.testing.assert_array_equal(found.predict(X), values[expected.predict(X)])


@pytest.mark.parametrize(
    ("dtype", "own", "with_gaps"),
    [
        ("Int32", "i4", "f8"),
        ("UInt8", "u1", "f8"),
        ("boolean", "?", "f8"),
        ("Float32", "f4", "f4"),
        ("int16[pyarrow]", "i2", "f8"),
        ("bool[pyarrow]", "?", "f8"),
        ("float[pyarrow]", "f4", "f4"),
        ("Sparse[int32]", "i4", None),
        ("Sparse[bool]", "?", None),
        ("Sparse[float32]", "f4", "f4"),
    ],
)
def test_columns_of_pandas_own_types_have_numpys_types(dtype, own, with_gaps):
    if "arrow" in dtype:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    found = column_values(pandas().Series([1, 0, 1]).astype(dtype))
    np.testing.assert_array_equal(found, np.array([1, 0, 1], own), strict=True)
    if with_gaps is not None:
        found = column_values(pandas().Series([1, None, 0], dtype=dtype))
        np.testing.assert_array_equal(found, np.array([1, np.nan, 0], with_gaps), strict=True)
