"""Loss and error of what members say in the mean."""

import tracemalloc

import numpy as np
import pytest

import xpnet as xn

K, N = 3, 40
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(N, 4))

LABELS = {
    "softmax_cross_entropy": (3, DRAW.integers(3, size=N)),
    "sigmoid_cross_entropy": (1, DRAW.integers(2, size=N)),
    "mean_squared_error": (2, DRAW.normal(size=(N, 2))),
    "half_squared_error": (1, DRAW.normal(size=N)),
    "poisson_deviance": (1, DRAW.integers(6, size=N)),
    "huber": (1, DRAW.normal(size=N)),
    "quantile": (1, DRAW.normal(size=N)),
}


def make(loss, device, members=K, **options):
    return xn.Network(
        [xn.Linear(8), xn.Tanh(), xn.Linear(LABELS[loss][0])],
        loss=loss, n_features=4, device=device, members=members, **{"dtype": "float64"} | options,
    )  # fmt: skip


@pytest.mark.parametrize("loss", LABELS)
def test_members_that_agree_are_as_one_of_them(loss, device):
    y = LABELS[loss][1]
    net = make(loss, device, random_state=[5] * K)
    with device.active():
        found = net.predictor.evaluate_mean(*net.prepare(X, y))
    alone = make(loss, device, None, random_state=5).evaluate(X, y)
    assert found == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_loss_and_error_of_the_mean(device, chunk):
    y = LABELS["softmax_cross_entropy"][1]
    net = make("softmax_cross_entropy", device)
    net.predictor.chunk = chunk
    with device.active():
        found = net.predictor.evaluate_mean(*net.prepare(X, y))
    p = net.predict_proba(X)
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(N), y]).mean())
    assert found["error"] == (p.argmax(axis=1) != y).mean()
    assert found["loss"] < np.mean(net.evaluate(X, y)["loss"])


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "predict_std"])
def test_members_outputs_are_not_all_in_memory(ask):
    k, n, m = 16, 40_000, 10
    net = xn.Network([xn.Linear(m)], loss="softmax_cross_entropy", n_features=4, device="cpu",
                     members=k)  # fmt: skip
    many, do = np.zeros((n, 4), np.float32), getattr(net, ask)
    net.predictor.chunk = 100
    do(many[:100])
    tracemalloc.start()
    try:
        do(many)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < k * n * m * many.itemsize / 4


@pytest.mark.parametrize("ask", ["predict", "predict_proba"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("members", [False, True])
def test_so_many_at_a_time_are_as_all_at_once(ask, loss, members, device):
    net = make(loss, device)
    whole = getattr(net, ask)(X, members=members)
    net.predictor.chunk = 7
    found = getattr(net, ask)(X, members=members)
    assert found.shape == whole.shape
    np.testing.assert_allclose(found, whole, rtol=1e-12)
