"""Edges of bins: by quantiles, by trees, and of columns that have hardly any."""

import numpy as np
import pytest
from scipy import sparse

import xpnet as xn
from xpnet.data.bins import fits


def draw(n=400, m=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m)).astype(np.float32)
    return X, np.sin(3 * X[:, 0]) + 0.1 * rng.standard_normal(n)


def test_quantiles():
    X, _ = draw()
    found = xn.piecewise_bins(X, 8)
    assert found.keys() == {0, 1, 2}
    for j, edges in found.items():
        assert len(edges) == 9
        assert all(type(edge) is float for edge in edges)
        expected = np.quantile(X[:, j], np.linspace(0, 1, 9))
        np.testing.assert_allclose(edges, expected, rtol=1e-6)
        counts = np.histogram(X[:, j], edges)[0]
        assert counts.sum() == len(X)
        assert np.ptp(counts) <= 2
    assert len(xn.piecewise_bins(X)[0]) == 17


def test_frequent_values_are_one_edge():
    x = np.concatenate([np.zeros(70), np.arange(1, 31)])[:, None]
    edges = xn.piecewise_bins(x, 10)[0]
    assert len(edges) == 5
    assert edges[0] == 0
    assert edges[-1] == 30
    assert np.all(np.diff(edges) > 0)


def test_columns_of_few_values():
    alike = [0, -2e38, 1e30]
    X = np.array([[5, 1, *alike, 1e-42], [5, 3, *alike, 0], [5, 1, *alike, 0]])
    for y in (None, [0.0, 1.0, 2.0]):
        found = xn.piecewise_bins(X, 4, y)
        assert found[0] == (2.5, 5.0)
        assert found[1] == (1.0, 3.0)
        assert found[2] == (-1.0, 0.0)
        assert found[3] == pytest.approx((-2e38, -1e38))
        assert found[4] == pytest.approx((5e29, 1e30))
        assert len(found[5]) == 2
        layer = xn.PiecewiseLinearEmbedding(found)
        net = xn.Network(
            [layer, xn.Linear(1)], loss="mean_squared_error", n_features=6, device="cpu"
        )
        output = net.activations(X, layers=[0])[0]
        assert np.isfinite(output).all()
        np.testing.assert_allclose(output[:, 1], [0, 1, 0])


def test_all_edges_are_different_in_float32():
    x = 1.6e9 + np.arange(1000.0)[:, None]  # float32 tells every 128th apart
    for y in (None, x[:, 0] > x.mean()):
        edges = np.array(xn.piecewise_bins(x, 100, y)[0])
        assert fits(edges).all()
    xn.PiecewiseLinearEmbedding(xn.piecewise_bins(x, 100))


def test_a_tree_finds_where_the_target_changes():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (2000, 2))
    values = np.where(X[:, 0] < 0.2, 0.0, np.where(X[:, 0] < 0.7, 3.0, 1.0))
    names = np.array(["low", "high", "mid"])[np.searchsorted([0.2, 0.7], X[:, 0])]
    for y in (values, names, names.tolist(), values > 2, values[:, None], values.astype(int)):
        edges = xn.piecewise_bins(X, 3, y)[0]
        np.testing.assert_allclose(edges, [0, 0.2, 0.7, 1], atol=0.005)
    both = np.stack([values, X[:, 1] > 0.5], axis=1)
    np.testing.assert_allclose(xn.piecewise_bins(X, 2, both)[1], [0, 0.5, 1], atol=0.005)


def test_a_column_that_says_nothing_has_one_bin():
    X, _ = draw()
    edges = xn.piecewise_bins(X, 8, np.ones(len(X)))
    for j in range(3):
        assert edges[j] == (X[:, j].min(), X[:, j].max())


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_tree_sees_values_of_every_size(scale):
    """scikit-learn's takes what differs by less than 1e-7 for equal."""
    x = np.linspace(1, 2, 400)[:, None] * np.float32(scale)
    edges = np.array(xn.piecewise_bins(x, 2, x[:, 0] > 1.25 * scale)[0])
    np.testing.assert_allclose(edges / scale, [1, 1.25, 2], rtol=0.01)


def test_leaves_have_so_many_examples():
    X, y = draw(600)
    for least in (20, 150):
        edges = xn.piecewise_bins(X, 50, y, min_samples_leaf=least)[0]
        counts = np.histogram(X[:, 0], edges)[0]
        assert counts.min() >= least
    # By default 64 at most, and a quarter of equal bins.
    for n, least in ((100, 1), (640, 10), (8192, 64)):
        X, y = draw(n)
        assert np.histogram(X[:, 0], xn.piecewise_bins(X, 16, y)[0])[0].min() >= least


def test_of_many_examples_some_are_drawn():
    X, y = draw(3000)
    some = xn.piecewise_bins(X, 8, max_rows=1000)
    assert some == xn.piecewise_bins(X, 8, max_rows=1000)
    assert some != xn.piecewise_bins(X, 8, max_rows=1000, random_state=1)
    every = xn.piecewise_bins(X, 8)
    np.testing.assert_allclose(some[0][1:-1], every[0][1:-1], atol=0.2)
    with_y = xn.piecewise_bins(X, 4, y, max_rows=1000)
    np.testing.assert_allclose(with_y[0][1:-1], xn.piecewise_bins(X, 4, y)[0][1:-1], atol=0.2)


def test_wherever_x_lives(tmp_path):
    X, y = draw()
    expected = xn.piecewise_bins(X, 4), xn.piecewise_bins(X, 4, y)
    few = xn.piecewise_bins(X, 4, max_rows=99)
    np.save(tmp_path / "x.npy", X)
    for given in (X.tolist(), X.astype("f8"), np.load(tmp_path / "x.npy", mmap_mode="r")):
        assert xn.piecewise_bins(given, 4) == expected[0]
        assert xn.piecewise_bins(given, 4, y) == expected[1]
        assert xn.piecewise_bins(given, 4, max_rows=99) == few


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    X, y = draw()
    frame = pandas.DataFrame(X, columns=list("abc"), index=np.arange(len(X))[::-1])
    labels = pandas.Series(y, index=frame.index)
    assert xn.piecewise_bins(frame, 4, labels) == xn.piecewise_bins(X, 4, y)
    assert xn.piecewise_bins(frame, 4, max_rows=50) == xn.piecewise_bins(X, 4, max_rows=50)


@pytest.mark.parametrize("kind", ["quantiles", "values", "classes"])
def test_they_are_the_reference_s(kind):
    torch = pytest.importorskip("torch")
    compute_bins = pytest.importorskip("rtdl_num_embeddings").compute_bins
    X, y = draw(500)
    y = {"quantiles": None, "values": y, "classes": (y > 0).astype(int)}[kind]
    options = {}
    if y is not None:
        options = {
            "tree_kwargs": {"min_samples_leaf": 20, "random_state": 0},
            "y": torch.tensor(y),
            "regression": kind == "values",
        }
    theirs = compute_bins(torch.tensor(X), 12, **options)
    ours = xn.piecewise_bins(X, 12, y, min_samples_leaf=20)
    for j, edges in enumerate(theirs):
        np.testing.assert_allclose(ours[j], edges.numpy(), rtol=1e-5, atol=1e-6)


X, Y = draw(40)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"X": X[:, 0]}, ValueError, r"X has shape \(40,\): give \(examples, columns\)"),
        ({"X": X[:0]}, ValueError, r"X has shape \(0, 3\)"),
        ({"X": X[:, :0]}, ValueError, r"X has shape \(40, 0\)"),
        ({"X": np.where(X[3, 1] == X, np.nan, X)}, ValueError, "X has 1 value that is NaN"),
        ({"X": X.astype("f8") * 1e300}, ValueError, "too large for float32"),
        ({"X": X.astype(str)}, TypeError, "X has dtype <U"),
        ({"X": sparse.csr_matrix(X)}, TypeError, r"X is sparse.*: give X.toarray\(\)"),
        ({"n_bins": 1}, ValueError, "n_bins is 1: give 2 or more"),
        ({"n_bins": 2.5}, TypeError, "n_bins is 2.5: give a whole number"),
        ({"y": Y[:9]}, ValueError, "X has 40 rows and y has 9"),
        ({"y": 1.0}, ValueError, "y is a single value"),
        ({"y": np.where(Y[0] == Y, np.nan, Y)}, ValueError, "y has 1 value that is NaN"),
        ({"y": ["a", None] * 20}, ValueError, "y has 1?20? values? that are missing"),
        ({"y": ["a", "b"] * 20, "classification": False}, ValueError, "y has dtype <U1"),
        ({"y": Y.reshape(40, 1, 1)}, ValueError, r"y has shape \(40, 1, 1\)"),
        ({"y": Y, "classification": 1}, TypeError, "classification is 1: give True or False"),
        ({"y": Y, "min_samples_leaf": 0}, ValueError, "min_samples_leaf is 0: give 1 or more, or"),
        ({"max_rows": 0}, ValueError, "max_rows is 0: give 1 or more"),
        ({"random_state": -1}, ValueError, "random_state is -1"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_can_t_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        xn.piecewise_bins(**{"X": X, **options})


def test_many_whole_numbers_may_be_classes_or_values():
    y = np.arange(400)
    X, _ = draw(400)
    with pytest.raises(ValueError, match="y has 400 different whole numbers: give classification"):
        xn.piecewise_bins(X, 4, y)
    assert xn.piecewise_bins(X, 4, y, classification=False) == xn.piecewise_bins(X, 4, y * 1.0)
    classes = xn.piecewise_bins(X, 4, y // 4, classification=True)
    assert classes != xn.piecewise_bins(X, 4, y // 4, classification=False)


def test_many_classes_are_no_warning_here():
    X = np.random.default_rng(0).normal(size=(40, 2))
    assert len(xn.piecewise_bins(X, n_bins=4, y=np.arange(40) % 25)) == 2
