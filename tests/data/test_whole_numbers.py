"""Whole numbers that become equal as floating-point numbers: told by column, of any data."""

import warnings

import numpy as np
import pytest
from scipy import sparse

import xpnet as xn
from xpnet.data import arrays
from xpnet.data.whole_numbers import warn_of_merged

N = 20
ODD = np.arange(N) % 2
Y = (np.arange(N) > 9) * 1

#: Pairs of whole numbers, and how many bits of a mantissa it takes to tell them apart.
PAIRS = {
    "float64": [(2**53, 2**53 + 1), (-(2**53), -(2**53) - 1), (2**62, 2**62 + 100)],
    "float32": [(2**24, 2**24 + 1), (-(2**24), -(2**24) - 1), (10**9, 10**9 + 7)],
}
#: Those that are told apart.
DISTINCT = {
    "float64": [(2**53 - 1, 2**53), (2**53, 2**53 + 2), (0, 2**62), (2**53 + 1, 7)],
    "float32": [(2**24 - 1, 2**24), (2**24, 2**24 + 2), (0, 10**9), (123, 2**24 + 1)],
}
each_dtype = pytest.mark.parametrize("dtype", PAIRS)


def pandas():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")


def column(pair):
    return np.array(pair)[ODD]


#: Tables of two columns, the second of which is given, and what it is called.
TABLES = {
    "array": (lambda c: np.stack([Y, c], axis=1), 1),
    "uint64": (lambda c: np.stack([Y, c], axis=1).astype(np.uint64), 1),
    "list": (lambda c: np.stack([Y, c], axis=1).tolist(), 1),
    "list with fractions": (lambda c: [[y / 4, v] for y, v in zip(Y, c.tolist(), strict=True)], 1),
    "object array": (lambda c: np.stack([Y, c], axis=1).astype(object), 1),
    "sparse": (lambda c: sparse.csr_array(np.stack([Y, c], axis=1)), 1),
    "sparse, by rows": (lambda c: sparse.lil_array(np.stack([Y, c], axis=1)), 1),
    "frame": (lambda c: pandas().DataFrame({"a": Y / 4, "b": c}), "b"),
    "frame, Int64": (lambda c: pandas().DataFrame({"a": Y, "b": c}).astype("Int64"), "b"),
    "frame of objects": (lambda c: pandas().DataFrame({"a": Y, "b": c.astype(object)}), "b"),
    "Arrow": (lambda c: pytest.importorskip("pyarrow").table({"a": Y / 4, "b": c}), "b"),
}


def network(dtype="float64", device="cpu"):
    layers, loss = [xn.Linear(2)], "softmax_cross_entropy"
    return xn.Network(layers, loss=loss, n_features=2, dtype=dtype, device=device)


def told(*given):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_merged(*given)
    return [str(one.message) for one in found]


@each_dtype
@pytest.mark.parametrize("table", TABLES)
def test_numbers_that_become_equal_are_told_by_column(dtype, table):
    make, name = TABLES[table]
    for pair in PAIRS[dtype]:
        if table == "uint64" and pair[0] < 0:
            continue
        what = rf"X has 1 value that is not told apart from others in {dtype}, in column {name} \(1"
        with pytest.warns(UserWarning, match=what + r"\): subtract a number near them"):
            warn_of_merged(make(column(pair)), dtype, "X")
    assert ("give dtype='float64'" in told(make(column(pair)), dtype, "X")[0]) == (
        dtype == "float32"
    )
    for pair in DISTINCT[dtype]:
        assert told(make(column(pair)), dtype, "X") == []


@each_dtype
def test_beyond_63_bits_too(dtype):
    X = np.stack([Y.astype(np.uint64), np.array([2**63, 2**63 + 1], np.uint64)[ODD]], axis=1)
    for given in (X, X.tolist(), X.astype(object)):
        assert "column 1 (1)" in told(given, dtype, "X")[0]
    assert "column 0 (1)" in told(np.array([[-(2**63)], [-(2**63) + 1]]), dtype, "X")[0]


def test_what_is_counted_are_different_values():
    X = np.stack([2**53 + np.arange(N), Y, 2**60 + ODD], axis=1)
    assert told(X, "float64", "dev X") == [
        "dev X has 10 values that are not told apart from others in float64, in columns 0 (9), 2 "
        "(1): subtract a number near them, such as the smallest"
    ]


def test_a_file_is_looked_at_too(tmp_path):
    np.save(tmp_path / "X.npy", np.stack([Y, column((2**53, 2**53 + 1))], axis=1))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    for given in (X, xn.Rows(X, np.arange(N))):
        assert "column 1 (1)" in told(given, "float64", "X")[0]


@pytest.mark.parametrize(
    "X",
    [np.zeros((3, 2)), np.full((3, 2), 2.0**60, np.float32), np.full((3, 2), 200, np.uint8),
     np.ones((3, 2), bool), np.zeros((0, 2), int), sparse.dok_array((3, 2))],
    ids=lambda X: f"{X.dtype} {X.shape}",
)  # fmt: skip
def test_other_numbers_are_not_even_looked_at(X, monkeypatch):
    monkeypatch.delattr("xpnet.data.whole_numbers.largest")
    assert told(X, "float32", "X") == []


def test_a_trainer_and_an_evaluation_tell(device):
    X = np.stack([Y, column((2**24, 2**24 + 1))], axis=1)
    trainer = xn.Trainer(network("float32", device))
    on_device = trainer.backend.asarray(X)
    for given in (X, on_device):
        with pytest.warns(UserWarning, match="^X has 1 value that is not told .* float32") as found:
            trainer.fit(given, Y, epochs=1)
        assert found[0].filename == __file__
    with pytest.warns(UserWarning, match="^dev X has 1 value that is not told apart"):
        trainer.fit(X * 1.0, Y, epochs=1, validation_data=(X, Y))
    with pytest.warns(UserWarning, match="^X has 1 value"):
        trainer.network.evaluate(X, Y)
    xn.Trainer(network("float64", device)).fit(X, Y, epochs=1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [xn.MLPClassifier, xn.MLPRegressor])
def test_an_estimator_tells(kind):
    X = np.stack([Y, column((2**53, 2**53 + 1))], axis=1)
    model = kind(hidden_layer_sizes=(2,), max_iter=1, device="cpu")
    classes = {"classes": [0, 1]} if kind is xn.MLPClassifier else {}
    for fit in (model.fit, lambda X, y: model.partial_fit(X, y, **classes)):
        with pytest.warns(UserWarning, match="^X has 1 value that is .* float64, in column 1"):
            fit(X, Y)
    model.predict(X)
    small = np.stack([Y, column((2**24, 2**24 + 1))], axis=1)
    model.fit(small, Y)
    with pytest.warns(UserWarning, match="^X has 1 value that is .* float32, in column 1"):
        model.set_params(dtype="float32").fit(small, Y)


def test_tensors_of_pytorch_are_looked_at():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'oracle')")
    for values, n in ((column((2**53, 2**53 + 1)), 1), (column((1, 2)), 0)):
        X = torch.as_tensor(np.stack([Y, values], axis=1))
        assert len(told(X, "float64", "X")) == n
    assert told(torch.zeros(3, 2), "float32", "X") == []
    xn.Trainer(network()).fit(X, torch.as_tensor(Y), epochs=1)


def test_largest_is_by_size():
    assert arrays.largest(np.array([[-3, 2]])) == 3.0
