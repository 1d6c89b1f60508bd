"""A copy of a network with another loss, and figures of logits that are there already."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.nn.calibration import divide_logits
from xpnet.nn.extraction import with_loss

SMOOTHED = xn.SoftmaxCrossEntropy(label_smoothing=0.2)


def network(device="cpu", layers=None, loss=SMOOTHED, **options):
    layers = [xn.Linear(5), xn.BatchNorm(), xn.Tanh(), xn.Linear(3)] if layers is None else layers
    return xn.Network(layers, loss=loss, n_features=4, device=device, dtype="float64", **options)


def data(n=30):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(3, size=n)


@pytest.mark.parametrize("members", [None, 3])
def test_all_but_the_loss_is_the_same(device, members):
    net = network(device, members=members, random_state=None if members is None else [5, 2, 9])
    xn.Trainer(net).fit(*data(), batch_size=10, epochs=2)
    before = net.state()
    copy = with_loss(net, xn.SoftmaxCrossEntropy())
    assert copy.seeds == net.seeds
    assert (copy.loss.label_smoothing, net.loss.label_smoothing) == (0.0, 0.2)
    for name, array in copy.state().items():
        np.testing.assert_array_equal(array, before[name])
    X, y = data()
    np.testing.assert_array_equal(copy.predict_proba(X), net.predict_proba(X))
    p = net.predict_proba(X, members=True) if members else net.predict_proba(X)[None]
    expected = -np.log(p[:, np.arange(len(y)), y]).mean(axis=1)
    np.testing.assert_allclose(copy.evaluate(X, y)["loss"], expected if members else expected[0])
    xn.Trainer(copy).fit(X, y, epochs=1)  # it is a network of its own
    for name, array in net.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "layers",
    [
        [xn.Linear(5), xn.ReLU(), xn.Linear(3)],
        [xn.EnsembleLinear(5, 2), xn.ReLU(), xn.EnsembleLinear(3, 2, shared=False)],
        [xn.EnsembleLinear(5, 2), xn.ReLU(), xn.EnsembleLinear(3, 2)],
    ],
    ids=["plain", "ensemble", "shared"],
)
@pytest.mark.parametrize("members", [None, 2])
def test_logits_are_divided_wherever_they_come_from(device, layers, members):
    net = network(device, layers, members=members)
    xn.Trainer(net).fit(*data(), epochs=2)
    before = net.activations(data()[0], layers=[-1])[0]
    with net.backend.active():
        divide_logits(net, 2.5)
    np.testing.assert_allclose(net.activations(data()[0], layers=[-1])[0], before / 2.5)


def test_values_have_no_temperature():
    with pytest.raises(ValueError, match="a temperature is for probabilities of classes"):
        divide_logits(network(loss="mean_squared_error"), 2.0)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("ensemble", [False, True])
def test_figures_of_logits_are_those_of_the_rows(device, loss, members, ensemble):
    linear = [xn.EnsembleLinear(5, 2), xn.Tanh(), xn.EnsembleLinear(3, 2, shared=False)]
    net = network(device, linear if ensemble else None, loss=loss, members=members)
    X, y = data()
    y = np.random.default_rng(1).normal(size=(30, 3)) if loss.startswith("mean") else y
    bounds = (np.full(3, -0.3), np.full(3, 0.4)) if loss.startswith("mean") else None
    with net.backend.active():
        x, labels = net.prepare(X, y)
        for given in {None: None, "bounds": bounds}.values():
            expected = net.predictor.evaluate_mean(x, labels, given)
            found = net.predictor.evaluate_logits(net.predictor.logits(x), labels, given)
            assert found == pytest.approx(expected)
