"""Constants that bring columns to a common scale: what they do, are learnt from, and refuse."""

import numpy as np
import pytest
from oracle import Alone

import xpnet as xn

CENTRE, SCALE = (1.0, -2.0, 0.5, 1e3), (2.0, 0.5, 0.0, 1e-3)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 9])
def test_it_is_its_formula(backend, dtype, n):
    rng = np.random.default_rng(n)
    x, dy = (rng.standard_normal((n, 4)).astype(dtype) for _ in range(2))
    x[:, 3] += dtype == "float64" and 1000
    factors = np.array([0.5, 2.0, 0.0, 1e3])
    alone = Alone(backend, [xn.Standardize(CENTRE, SCALE)], n, 4, dtype)
    near = {"rtol": 1e-5 if dtype == "float32" else 1e-12}
    np.testing.assert_allclose(alone.forward(x.copy()), (x - CENTRE) * factors, **near)
    np.testing.assert_allclose(alone.backward(dy.copy()), dy * factors, **near)


@pytest.mark.parametrize(
    "before",
    [
        [],
        [xn.Linear(4), xn.Tanh()],
        [xn.Scale()],
        [xn.Linear(4), xn.BatchNorm(), xn.GELU()],
        [xn.Linear(4), xn.ReLU(), xn.Dropout(0.3)],
        [xn.SmoothClip()],
    ],
    ids=str,
)
def test_gradients_are_derivatives(backend, before):
    """Also those of layers before it, whose outputs it may not write over."""
    constants = xn.Standardize((*CENTRE[:3], 0.1), (*SCALE[:3], 0.7))
    net = network(backend, [*before, constants, xn.SmoothClip(), xn.Linear(2)])
    rng = np.random.default_rng(1)
    assert xn.check_gradients(net, rng.standard_normal((9, 4)), rng.standard_normal((9, 2))) < 1e-7


def test_a_network_takes_raw_columns_and_its_file_says_how(device, tmp_path):
    X = np.random.default_rng(0).normal(50.0, [1.0, 20.0, 1e-3, 1e6], (60, 4))
    net = network(device, [xn.Standardize.learn(X, "mean"), xn.Linear(1)])
    standardised = net.activations(X, layers=[0])[0]
    np.testing.assert_allclose(standardised, (X - X.mean(axis=0)) / X.std(axis=0), atol=1e-9)
    net.save(tmp_path / "net.safetensors")
    again = xn.load(tmp_path / "net.safetensors", device="cpu")
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-12)
    assert again.layers[0].scale == net.layers[0].scale
    assert {*net.state()} == {"1.weight", "1.bias"}  # constants are no arrays of the file


def test_constants_are_robust():
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=99), np.r_[np.zeros(90), np.arange(9.0)], np.full(99, 7.0)]).T
    X[3, 0] = 1e9
    layer = xn.Standardize.learn(X)
    low, high = np.quantile(X[:, 0], [0.25, 0.75])
    assert layer.centre == pytest.approx((np.median(X[:, 0]), 0.0, 7.0))
    assert layer.scale == pytest.approx((high - low, 4.0, 0.0))  # half of the range; none


def test_pixels_share_their_unit():
    X = np.random.default_rng(0).integers(0, 17, (100, 20)).astype(float)
    layer = xn.Standardize.learn(X)
    assert layer.centre == pytest.approx([X.mean()] * 20)
    assert layer.scale == pytest.approx([X.std()] * 20)


def test_float32_has_no_infinite_factor(backend):
    net = network(backend, [xn.Standardize([0.0] * 4, [1e-300] * 4), xn.Linear(1)], dtype="float32")
    assert (net.activations(np.zeros((2, 4)), layers=[0])[0] == 0).all()


@pytest.mark.parametrize(
    ("centre", "scale", "error", "message"),
    [
        (0.0, (1.0,), TypeError, r"centre is 0\.0: give several"),
        ((0.0,), ("1",), TypeError, "a number of scale is '1': give a number"),
        ((0.0, 1.0), (1.0,), ValueError, "there are 2 centres and 1 scales"),
        ((0.0,), (-1.0,), ValueError, r"scale has -1\.0: give numbers that are 0 or more"),
        ((np.nan,), (1.0,), ValueError, "centre has a number that is not finite"),
    ],
)
def test_bad_constants(centre, scale, error, message):
    with pytest.raises(error, match=message):
        xn.Standardize(centre, scale)


def test_as_many_as_inputs():
    with pytest.raises(ValueError, match=r"2 columns.* gets 4 inputs: give as many constants"):
        network("cpu", [xn.Standardize((0.0, 1.0), (1.0, 1.0)), xn.Linear(1)])
