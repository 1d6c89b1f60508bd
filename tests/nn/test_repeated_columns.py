"""Columns a second time: where the copies stand, and what comes back from them."""

import numpy as np
import pytest
from oracle import Alone, draw_state

import xpnet as xn

COLUMNS = [(0,), (3,), (3, 0), (0, 1, 2, 3, 4), (4, 3, 2), (1, 2, 4, 0, 3)]


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 5, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("columns", COLUMNS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_stand_behind_the_input_and_give_their_gradient_to_it(backend, columns, n, dtype):
    rng = np.random.default_rng(n)
    x, dy = (rng.standard_normal((n, 5 + m)).astype(dtype) for m in (0, len(columns)))
    alone = Alone(backend, [xn.RepeatedColumns(columns)], n, 5, dtype)
    np.testing.assert_array_equal(alone.forward(x), np.concatenate([x, x[:, columns]], axis=1))
    expected = dy[:, :5].copy()
    expected[:, columns] += dy[:, 5:]
    np.testing.assert_array_equal(alone.backward(dy), expected)


@pytest.mark.parametrize(
    "layers",
    [
        [xn.RepeatedColumns((4, 0, 1))],
        [xn.RepeatedColumns((2,)), xn.PiecewiseLinearEmbedding({5: (-1.0, 0.1, 1.0)}, 2)],
        [xn.Linear(4), xn.Tanh(), xn.RepeatedColumns((1, 3, 2)), xn.BatchNorm()],
        [xn.Linear(4), xn.RepeatedColumns((0, 1)), xn.RepeatedColumns((5, 0)), xn.Scale()],
    ],
    ids=str,
)
def test_gradients_are_derivatives(backend, layers):
    net = network(backend, [*layers, xn.Linear(2)])
    net.load_state(draw_state(net, 1, scale=0.8))
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((9, 5)), rng.standard_normal((9, 2))
    assert xn.check_gradients(net, X, y, l2=0.1) < 1e-7


def test_a_lost_copy_s_gradient_is_found(backend):
    class Forgetful(xn.RepeatedColumns):
        def backward(self, dy, b):
            return dy[..., : self.n_inputs]

    net = network(backend, [xn.Linear(3), Forgetful((1,)), xn.Linear(1)])
    X = np.random.default_rng(0).standard_normal((9, 5))
    assert xn.check_gradients(net, X, X[:, 1]) > 1e-3


def test_an_embedding_of_the_copies_leaves_the_codes_where_they_are(device):
    layers = [
        *(xn.RepeatedColumns((1,)), xn.PiecewiseLinearEmbedding({3: (0.0, 1.0, 2.0)})),
        *(xn.OneHot({2: 3}), xn.Linear(1)),
    ]
    net = network(device, layers, n_features=3)
    found = net.activations([[7.0, 0.5, 2.0]], layers=[2])[0]
    np.testing.assert_array_equal(found, [[7.0, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ((), ValueError, "columns is empty"),
        ((1, 1), ValueError, "columns has 1 twice"),
        ((-1,), ValueError, "a column is -1"),
        ((0.5,), TypeError, "a column is 0.5"),
        ("12", TypeError, "columns is '12'"),
    ],
)
def test_what_are_no_columns(columns, error, message):
    with pytest.raises(error, match=message):
        xn.RepeatedColumns(columns)


def test_a_column_that_the_input_lacks(device):
    with pytest.raises(ValueError, match="RepeatedColumns takes column 5 and its input has 5"):
        network(device, [xn.RepeatedColumns((0, 5)), xn.Linear(1)])


@pytest.mark.parametrize("members", [None, 3])
def test_a_file_keeps_it(device, members, tmp_path):
    layers = [
        xn.RepeatedColumns((4, 1)),
        xn.PiecewiseLinearEmbedding({6: (0.0, 1.0)}),
        xn.Linear(1),
    ]
    net = network(device, layers, members=members)
    net.save(tmp_path / "n.safetensors")
    again = xn.load(tmp_path / "n.safetensors", device=device)
    X = np.random.default_rng(0).standard_normal((4, 5))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
