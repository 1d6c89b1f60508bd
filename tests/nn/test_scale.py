"""A factor for each input: what it computes, wherever it stands."""

import tracemalloc

import numpy as np
import pytest
from oracle import Alone, draw_state, gradients

import xpnet as xn


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


@pytest.mark.parametrize("n", [1, 2, 9, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_its_formula(backend, n, dtype):
    rng = np.random.default_rng(n)
    x, dy = rng.standard_normal((n, 5)), rng.standard_normal((n, 5))
    s = rng.standard_normal(5)
    alone = Alone(backend, [xn.Scale()], n, 5, dtype)
    alone.load({"1.weight": s.astype(dtype)})
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 0, "atol": 1e-13}
    np.testing.assert_allclose(alone.forward(x.astype(dtype)), x * s, **near)
    np.testing.assert_allclose(alone.backward(dy.astype(dtype)), dy * s, **near)
    np.testing.assert_allclose(gradients(alone.net)["1.weight"], (dy * x).sum(axis=0), **near)


def test_it_begins_as_nothing(device):
    net = network(device, [xn.Scale(), xn.Linear(3)])
    X = np.random.default_rng(0).standard_normal((6, 4))
    np.testing.assert_array_equal(net.activations(X, layers=[0])[0], X)
    assert not xn.Scale().config().keys() - {"type"}


@pytest.mark.parametrize(
    "layers",
    [
        [xn.Scale()],
        [xn.SmoothClip(), xn.Scale(), xn.Linear(5), xn.Tanh()],
        [xn.Linear(5), xn.Scale(), xn.GELU(), xn.Scale(), xn.BatchNorm()],
        [xn.Linear(5), xn.ReLU(), xn.Scale(), xn.Dropout(0.3), xn.Scale()],
    ],
    ids=str,
)
@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_gradients_are_derivatives(backend, layers, l2):
    net = network(backend, [*layers, xn.Linear(2)])
    net.load_state(draw_state(net, 1, scale=0.8))
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    assert xn.check_gradients(net, X, y, l2=l2) < 1e-7


def test_nothing_goes_back_beyond_the_first_layer(backend):
    net = network(backend, [xn.Scale(), xn.Scale(), xn.Linear(1)])
    calls = net.passes.bind(5, training=True).backward
    assert [call.buffers.needs_dx for call in calls[1:]] == [True, False]


@pytest.mark.parametrize(
    ("optimizer", "l2"), [(xn.AdamW(0.1, weight_decay=1.0), 0.0), (xn.SGD(0.1), 0.5)], ids=str
)
def test_decay_and_l2_leave_it_alone(device, optimizer, l2):
    net = network(device, [xn.Scale(), xn.Linear(1, bias=False)])
    net.load_state({"0.weight": np.full(4, 2.0), "1.weight": np.ones((1, 4))})
    trainer = xn.Trainer(net, optimizer, l2=l2)
    trainer.step(np.zeros((20, 4)), np.zeros(20))  # without a gradient
    state = net.state()
    assert (state["0.weight"] == 2.0).all()
    assert (state["1.weight"] < 1.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_warm_step_makes_no_arrays(dtype):
    net = xn.Network(
        [xn.SmoothClip(), xn.Scale(), xn.Linear(4)],
        loss="mean_squared_error",
        n_features=50,
        device="cpu",
        dtype=dtype,
    )
    trainer = xn.Trainer(net, xn.SGD(1e-3))
    X = np.random.default_rng(0).standard_normal((2000, 50)).astype(dtype)
    y = X[:, :4].copy()
    for _ in range(3):
        trainer.step(X, y)
    tracemalloc.start()
    trainer.step(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes / 4
