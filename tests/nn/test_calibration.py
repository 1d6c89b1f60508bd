"""Temperature scaling: the minimum of the loss, against closed forms and all temperatures."""

import math

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

import xpnet as xn

RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 4))
Y3 = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=N), [-0.6, 0.6])
Y2 = (Y3 > 0) * 1
Y_SEVERAL = np.stack([Y2, (X[:, 1] + RNG.normal(size=N) > 0) * 1], axis=1)
TASKS = {
    "softmax": ("softmax_cross_entropy", 3, Y3),
    "sigmoid": ("sigmoid_cross_entropy", 1, Y2),
    "several": ("sigmoid_cross_entropy", 2, Y_SEVERAL),
}
each_task = pytest.mark.parametrize("task", TASKS)


def log_loss(p, y):
    """Return the mean of −log of the probability of each label, summed over the outputs."""
    if p.ndim == 2 and y.ndim == 1:
        return -np.log(p[np.arange(len(y)), y]).mean()
    with np.errstate(divide="ignore"):
        terms = -np.log(np.where(y == 1, p, 1 - p))
    return terms.reshape(len(y), -1).sum(axis=1).mean()


def probabilities(z, y):
    return softmax(z, axis=-1) if z.shape[-1] == 3 else expit(z)


def trained(task, device="cpu", dtype="float64", layers=None, epochs=30, **options):
    loss, n_outputs, y = TASKS[task]
    layers = layers or [xn.Linear(32), xn.ReLU(), xn.Linear(n_outputs)]
    net = xn.Network(layers, loss=loss, n_features=4, device=device, dtype=dtype, **options)
    xn.Trainer(net, xn.Adam(0.03)).fit(X[:30], y[:30], batch_size=10, epochs=epochs, monitor=0)
    return net, y


# -- the pure part ----


@pytest.mark.parametrize("size", [1e-3, 0.5, 8.0, 20.0])
def test_of_logits_of_one_size_it_is_known(size):
    labels = np.arange(40) % 2
    logits = np.where(labels == 1, size, -size)
    logits[:10] *= -1  # three of four are right
    expected = min(max(size / math.log(3), 1 / 20), 20)
    assert xn.temperature_of(logits, labels) == pytest.approx(expected, rel=1e-7)
    assert xn.temperature_of(logits[:, None], labels) == pytest.approx(expected, rel=1e-7)
    two = np.stack([np.full(40, 5.0), 5.0 + logits], axis=1)
    assert xn.temperature_of(two, labels) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "several"])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_least_of_all_temperatures(members, kind, weighted):
    y = TASKS[kind][2]
    lead = () if members is None else (members,)
    z = 4 * RNG.normal(size=(*lead, N, *([3] if kind == "softmax" else y.shape[1:])))
    z += 3 * (np.eye(3)[y] if kind == "softmax" else y - 0.5)
    weights = RNG.integers(0, 4, N) if weighted else np.ones(N, int)
    found = xn.temperature_of(z, y, weights if weighted else None, members is not None)
    again = np.repeat(np.arange(N), weights)

    def loss(temperature):
        p = softmax(z / temperature, axis=-1) if kind == "softmax" else expit(z / temperature)
        p = p if members is None else p.mean(axis=0)
        return log_loss(p[again], y[again])

    losses = [loss(t) for t in np.geomspace(1 / 20, 20, 500)]
    assert loss(found) <= min(losses)
    assert loss(found) == pytest.approx(min(losses), rel=1e-3)
    assert loss(found) <= loss(found * (1 + 1e-4))
    assert loss(found) <= loss(found / (1 + 1e-4))


def test_what_is_all_right_or_no_better_than_chance_stays_within_bounds():
    labels = np.arange(20) % 2
    right = np.where(labels == 1, 1.0, -1.0)
    assert xn.temperature_of(right, labels) == pytest.approx(1 / 20)
    assert xn.temperature_of(-right, labels) == pytest.approx(20)
    assert xn.temperature_of(np.zeros(20), labels) == 1.0
    assert xn.temperature_of(1e300 * right, labels) == 1.0  # nothing is better


def test_large_sets_are_gone_through_in_parts(monkeypatch):
    logits, labels = RNG.normal(size=(N, 3)) * 3, Y3
    whole = xn.temperature_of(logits, labels)
    monkeypatch.setattr("xpnet.nn.calibration.ELEMENTS", 50)
    assert xn.temperature_of(logits, labels) == pytest.approx(whole, rel=1e-7)


@pytest.mark.parametrize(
    ("logits", "labels", "options", "message"),
    [
        (np.zeros((4, 3)), [0, 1, 2], {}, r"logits have shape \(4, 3\) and labels \(3,\)"),
        (np.zeros((4, 3)), [0, 1, 2, 3], {}, "labels are not whole numbers from 0 to 2"),
        (np.zeros((4, 3)), [0, 1, 2, 0.5], {}, "labels are not whole numbers"),
        (np.zeros((4, 2)), [[0, 1, 1]] * 4, {}, "give as many labels as outputs"),
        (np.zeros(4), [0, 0, 0, 0], {}, "all labels are 0: .* two classes"),
        (np.zeros(4), [0, 1, 0, 1], {"sample_weight": [1, 0, 2, 0]}, "all labels are 0"),
        (np.zeros(4), [0, 1, 0, 1], {"sample_weight": [1, 1]}, "sample_weight has shape"),
        (np.zeros(4), [0, 1, 0, 1], {"sample_weight": [1, -1, 1, 1]}, "0 or more"),
        ([0, 1, math.nan, 1], [0, 1, 0, 1], {}, "NaN or infinite"),
        (np.zeros(0), [], {}, "one label for each"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, options, message):
    with pytest.raises(ValueError, match=message):
        xn.temperature_of(logits, np.array(labels), **options)


# -- networks ----


@each_task
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_is_divided_by_it(task, dtype, device, tmp_path):
    net, y = trained(task, device, dtype)
    z, before = net.activations(X[30:], [-1])[0], net.evaluate(X[30:], y[30:])["loss"]
    predicted = net.predict(X)
    temperature = xn.calibrate(net, X[30:], y[30:])
    assert 1.2 < temperature < 20  # it was trained too long
    rtol = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(net.activations(X[30:], [-1])[0], z / temperature, rtol, rtol)
    after = net.evaluate(X[30:], y[30:])["loss"]
    assert after < before
    assert after == pytest.approx(log_loss(net.predict_proba(X[30:]), y[30:]), rel=1e-5)
    np.testing.assert_array_equal(net.predict(X), predicted)
    assert xn.calibrate(net, X[30:], y[30:]) == pytest.approx(1, abs=1e-4)
    net.save(tmp_path / "net.safetensors")
    again = xn.load(tmp_path / "net.safetensors", device="cpu")
    np.testing.assert_allclose(again.predict_proba(X), net.predict_proba(X), rtol=1e-6, atol=1e-9)


@each_task
def test_members_get_one_for_the_mean_of_their_probabilities(task, device):
    net, y = trained(task, device, members=3)
    z = np.stack([net.member(i).activations(X[30:], [-1])[0] for i in range(3)])
    temperature = xn.calibrate(net, X[30:], y[30:])
    p = net.predict_proba(X[30:])
    assert p == pytest.approx(probabilities(z / temperature, y).mean(axis=0).reshape(p.shape))
    for other in (temperature * 1.01, temperature / 1.01):
        worse = probabilities(z / other, y).mean(axis=0).reshape(p.shape)
        assert log_loss(p, y[30:]) < log_loss(worse, y[30:])


@each_task
def test_each_member_gets_its_own_if_asked_for(task):
    net, y = trained(task, members=3)
    alone = [net.member(i) for i in range(3)]
    expected = [xn.calibrate(one, X[30:], y[30:]) for one in alone]
    assert xn.calibrate(net, X[30:], y[30:], each=True) == pytest.approx(expected, rel=1e-6)
    for i, one in enumerate(alone):
        np.testing.assert_allclose(net.parameters[i], one.parameters, rtol=1e-6)


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_members_that_share_weights_too(members, shared):
    layers = [xn.EnsembleLinear(8, 4), xn.ReLU(), xn.EnsembleLinear(3, 4, shared=shared)]
    net, y = trained("softmax", layers=layers, members=members)
    of_members = net.predict_proba(X[30:], members=True)
    before = log_loss(net.predict_proba(X[30:]), y[30:])
    temperature = xn.calibrate(net, X[30:], y[30:])
    z = np.log(of_members.reshape(-1, N - 30, 3)) / temperature
    expected = np.exp(log_softmax(z, axis=-1)).mean(axis=0)
    np.testing.assert_allclose(net.predict_proba(X[30:]), expected, rtol=1e-9)
    assert log_loss(net.predict_proba(X[30:]), y[30:]) < before


def test_label_smoothing_plays_no_part_and_weights_do():
    loss = xn.SoftmaxCrossEntropy(label_smoothing=0.2)
    net = xn.Network([xn.Linear(3)], loss=loss, n_features=4, device="cpu", dtype="float64")
    plain = xn.Network([xn.Linear(3)], loss="softmax_cross_entropy", n_features=4, device="cpu",
                       dtype="float64")  # fmt: skip
    weights = RNG.integers(0, 3, N)
    found = xn.calibrate(net, X, Y3, weights)
    again = np.repeat(np.arange(N), weights)
    assert found == pytest.approx(xn.calibrate(plain, X[again], Y3[again]), rel=1e-6)


@pytest.mark.parametrize(
    ("layers", "loss", "options", "message"),
    [
        ([xn.Linear(1)], "mean_squared_error", {}, "loss is mean_squared_error: a temperature is"),
        (
            [xn.Linear(3), xn.Dropout(0.1)],
            "softmax_cross_entropy",
            {},
            r"last layer is Dropout\(p=0.1\): a temperature is folded into a last Linear",
        ),
        ([xn.Linear(3)], "softmax_cross_entropy", {"each": True}, "each is True, and these are no"),
    ],
)
def test_networks_that_can_not_take_it_are_refused(layers, loss, options, message):
    net = xn.Network(layers, loss=loss, n_features=4, device="cpu")
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=message):
        xn.calibrate(net, X, Y3, **options)
    np.testing.assert_array_equal(net.parameters, before)


def test_examples_of_one_class_are_refused():
    net, _ = trained("softmax", epochs=1)
    with pytest.raises(ValueError, match="all labels are 2: a temperature needs examples of two"):
        xn.calibrate(net, X, np.full(N, 2))
