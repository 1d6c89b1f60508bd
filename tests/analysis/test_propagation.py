"""How activations and gradients fare in deep networks, measured against theory."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.analysis import plots
from xpnet.analysis.propagation import (
    activation_scales,
    expected_scales,
    gradient_scales,
    study,
)


@pytest.fixture(scope="module")
def rows():
    return {(row["activation"], str(row["init"])): row for row in study(width=500, depth=20)}


@pytest.mark.slow
def test_twenty_layers_of_each_kind(rows):
    assert len(rows) == 8
    for row in rows.values():
        assert len(row["activations"]) == len(row["expected"]) == len(row["gradients"]) == 20


@pytest.mark.slow
def test_activations_are_what_theory_says(rows):
    for row in rows.values():
        # Of layers that are not infinitely wide the scale wanders, by some 1/√width in each.
        np.testing.assert_allclose(np.log(row["activations"]), np.log(row["expected"]), atol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "init", "low", "high"),
    [
        ("tanh", "Normal(sigma=0.01)", 1e-14, 1e-12),  # vanishes: each layer takes √(m σ²) = 0.22
        ("relu", "Normal(sigma=0.01)", 1e-17, 1e-15),  # and ReLUs half the square besides
        ("relu", "Normal(sigma=0.1)", 5e3, 2e4),  # explodes: √(m σ² / 2) = 1.6
        ("tanh", "Normal(sigma=0.1)", 0.7, 0.8),  # can't: it saturates
        ("tanh", "Xavier()", 0.1, 0.2),  # holds nearly
        ("relu", "Xavier()", 5e-4, 2e-3),  # half the square in each layer
        ("relu", "He(slope=0.0)", 0.7, 1.3),  # holds
    ],
)
def test_it_vanishes_explodes_or_holds(rows, activation, init, low, high):
    assert low < rows[activation, init]["activations"][-1] < high


@pytest.mark.slow
def test_gradients_vanish_and_explode_too(rows):
    gradients = {key: row["gradients"] for key, row in rows.items()}
    assert max(gradients["tanh", "Normal(sigma=0.01)"]) < 1e-12
    assert max(gradients["relu", "Normal(sigma=0.01)"]) < 1e-12
    assert min(gradients["relu", "Normal(sigma=0.1)"]) > 1e3
    # Saturated tanh: activations hold, and gradients grow on their way back all the same.
    saturated = gradients["tanh", "Normal(sigma=0.1)"]
    assert saturated[0] > 10 * saturated[-1]
    for key in (("relu", "He(slope=0.0)"), ("tanh", "Xavier()")):
        assert max(gradients[key]) < 5 * min(gradients[key])


def test_theory_of_relus_is_a_power():
    for variance in (1.0, 2.0, 5.0):
        expected = np.sqrt(variance / 2) ** np.arange(1, 21)
        np.testing.assert_allclose(expected_scales("relu", variance, 20), expected, rtol=1e-10)


def test_theory_of_tanh_is_the_mean_over_normal_inputs():
    z = np.random.default_rng(0).standard_normal(2_000_000)
    square = 1.0
    for found in expected_scales("tanh", 1.7, 3):
        square = np.mean(np.tanh(np.sqrt(1.7 * square) * z) ** 2)
        assert found == pytest.approx(np.sqrt(square), rel=2e-3)


def test_scales_are_root_mean_squares(device):
    net = xn.Network(
        [xn.Linear(5), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.5), xn.Linear(2)],
        loss="mean_squared_error",
        n_features=3,
        device=device,
        dtype="float64",
    )
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    a = X @ net.state()["0.weight"].T
    expected = [a, a / np.sqrt(1 + 1e-5)]
    expected += [np.maximum(expected[-1], 0)] * 2
    expected.append(expected[-1] @ net.state()["4.weight"].T)
    scales = xn.activation_scales(net, X)
    np.testing.assert_allclose(scales, [np.sqrt((a**2).mean()) for a in expected], rtol=1e-9)
    for found, layer in zip(net.activations(X), expected, strict=True):
        np.testing.assert_allclose(found, layer, rtol=1e-9)
    before = net.state()
    found = xn.gradient_scales(net, X, y)
    gradients = [net.layers[i].gradients["weight"] for i in (0, 4)]
    squares = [(net.backend.to_host(g) ** 2).mean() for g in gradients]
    np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-12)
    for name, array in net.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_activations_come_back_where_the_data_live_in_one_piece(device):
    net = xn.Network(
        [xn.Linear(4), xn.ReLU(), xn.Linear(3)],
        loss="softmax_cross_entropy",
        n_features=5,
        device=device,
    )
    net.predictor.chunk = 7  # as if there were many more
    X = np.random.default_rng(0).normal(size=(20, 5))
    on_host, there = net.activations(X), net.activations(device.asarray(X))
    assert [a.shape for a in on_host] == [(20, 4), (20, 4), (20, 3)]
    for a, b in zip(on_host, there, strict=True):
        assert isinstance(a, np.ndarray)
        assert device.owns(b)
        np.testing.assert_array_equal(a, device.to_host(b))
    np.testing.assert_array_equal(on_host[-1].argmax(axis=1), net.predict(X))


def test_other_activations_have_no_theory_here():
    with pytest.raises(ValueError, match="activation is 'softmax': give one of tanh, relu"):
        expected_scales("softmax", 1.0, 2)


def test_pictures(tmp_path):
    plots.propagation(study(width=20, depth=4), tmp_path / "study.png")
    plots.schedules([("constant", "α", [0.1] * 5)] * 4, tmp_path / "schedules.png", 4.0, "epoch")
    for name in ("study", "schedules"):
        assert (tmp_path / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_scales_of_members_are_those_of_each():
    layers = [xn.Linear(5), xn.Tanh(), xn.Linear(2)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=3, device="cpu", members=2)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    together = activation_scales(net, X), gradient_scales(net, X, Y)
    for i in range(2):
        alone = activation_scales(net.member(i), X), gradient_scales(net.member(i), X, Y)
        for several, one in zip(together, alone, strict=True):
            np.testing.assert_allclose([scales[i] for scales in several], one, rtol=1e-5)
