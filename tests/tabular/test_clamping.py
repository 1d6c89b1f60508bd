"""Predictions clamped to the range of training labels: where, and what the figures say then."""

import json
import math

import numpy as np
import pytest

import xpnet as xn
from xpnet.data.scaling import Scales
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.evaluation import measure
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.model import Model, load_model
from xpnet.tabular.parts import part_dataset, prepare_parts
from xpnet.tabular.target import Target

FEATURES = np.array([[-3.0], [-1.0], [0.0], [2.0], [5.0]])
LABELS = np.array([8.0, 9.0, 10.0, 13.0, 17.0])


def model(loss="mean_squared_error", members=None, **target):
    """Return a model that predicts 10 + 2x, clamped to 8 … 14; members are apart by their bias."""
    net = xn.Network([xn.Linear(1)], loss=loss, n_features=1, device="cpu", dtype="float64",
                     members=members)  # fmt: skip
    net.layers[0].parameters["weight"][...] = 1.0
    if members is not None:
        net.layers[0].parameters["bias"][...] = np.arange(members)[:, None]
    scales = None if loss == "poisson_deviance" else Scales([10.0], [2.0])
    target = {"clamp": ([8.0], [14.0])} | target
    return Model(net, None, Target("regression", None, scales, **target))


CLAMPED = np.array([8.0, 8.0, 10.0, 14.0, 14.0])


def test_predictions_are_clamped():
    np.testing.assert_allclose(model().predict(FEATURES), CLAMPED)
    (answer,) = model().answers([FEATURES])
    np.testing.assert_allclose(answer.predictions, CLAMPED)
    plain = model(clamp=None).predict(FEATURES)
    np.testing.assert_allclose(plain, [4, 8, 10, 14, 20])


def test_labels_never_are():
    np.testing.assert_allclose(model().target.encode([-90.0, 90.0]), [-50, 40])


def unexplained(right, said):
    return ((right - said) ** 2).sum() / ((right - right.mean()) ** 2).sum()


def test_figures_are_of_clamped_predictions():
    measured = measure(model(), FEATURES, LABELS)
    assert measured["unexplained_variance"] == pytest.approx(unexplained(LABELS, CLAMPED))
    assert measured["root_mean_squared_error"] == pytest.approx(
        np.sqrt(((LABELS - CLAMPED) ** 2).mean())
    )


def test_the_mean_of_members_is_clamped_and_each_for_itself():
    several = model(members=3)
    each = np.clip(10 + 2 * (FEATURES[:, 0] + np.arange(3)[:, None]), 8, 14)
    mean = np.clip(10 + 2 * (FEATURES[:, 0] + 1), 8, 14)
    np.testing.assert_allclose(several.predict(FEATURES), mean)
    measured = measure(several, FEATURES, LABELS)
    assert measured["unexplained_variance"] == pytest.approx(unexplained(LABELS, mean))
    assert measured["members"]["unexplained_variance"] == pytest.approx(
        [unexplained(LABELS, said) for said in each]
    )


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(
    ("loss", "of"),
    [
        ("mean_squared_error", lambda z, y: (z - y) ** 2),
        ("half_squared_error", lambda z, y: (z - y) ** 2 / 2),
        ("huber", lambda z, y: np.where(abs(z - y) <= 1, (z - y) ** 2 / 2, abs(z - y) - 0.5)),
        ("quantile", lambda z, y: abs(z - y) / 2),
        ("poisson_deviance", lambda z, y: np.exp(z) - y * z + y * np.log(y) - y),
    ],
)
def test_loss_and_error_of_an_experiment_are_of_clamped_predictions(loss, of, members, device):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(100, 2))
    y = np.exp(X[:, 0]) + 0.1
    settings = Settings(hidden=(), loss=loss, members=members, dtype="float64", epochs=1)
    experiment = Experiment.prepare(Dataset("d", X, y), settings, device)
    own, network = experiment.model, experiment.model.network
    low, high = np.quantile(own.predict(experiment.parts["test"].rows), (0.2, 0.8))
    own.target.clamp_to(np.array([low, high]))
    found = experiment.evaluate()["test"]
    part = experiment.parts["test"]
    said = own.predict(part.rows)
    assert (said.min(), said.max()) == pytest.approx((low, high))
    z = np.log(said) if loss == "poisson_deviance" else own.target.encode(said)
    labels = own.target.encode(part.target)
    assert found["loss"] == pytest.approx(of(z, labels).mean())
    if loss != "quantile":
        assert found["error"] == pytest.approx(unexplained(part.target, said))
        told = measure(own, part.rows, part.target)
        assert found["error"] == pytest.approx(told["unexplained_variance"])
    raw = network.evaluate(*part.data)
    assert np.all(raw["loss"] != found["loss"])
    if members is not None:
        low, high = own.target.output_bounds(network.loss)
        each = np.clip(network.activations(part.features, [-1])[0][..., 0], low, high)
        assert found["members"]["loss"] == pytest.approx([of(z, labels).mean() for z in each])


def test_several_outputs_have_ranges_of_their_own():
    y = np.array([[1.0, 100.0], [3.0, 50.0], [2.0, 75.0]])
    target = Target.learn(y, "regression")
    target.standardise(y)
    target.clamp_to(y)
    far = 9.0 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    np.testing.assert_allclose(target.decode(far), [[3, 50], [1, 100]])
    members = np.stack([far, far, far])
    np.testing.assert_allclose(target.clamp_values(members)[1], target.encode(target.decode(far)))
    again = Target.from_config(json.loads(json.dumps(target.config())))
    assert again.config() == target.config()
    np.testing.assert_array_equal(again.decode(far), target.decode(far))


def test_counts_from_0_on_are_clamped_above_alone():
    one = model("poisson_deviance", clamp=([0.0], [7.0]))
    np.testing.assert_allclose(one.predict(FEATURES), np.minimum(np.exp(FEATURES[:, 0]), 7))
    low, high = one.target.output_bounds(one.network.loss)
    assert (low[0], high[0]) == (-math.inf, math.log(7))
    x, y = one.network.prepare(FEATURES, np.ones(5))
    assert math.isfinite(one.network.predictor.evaluate(x, y, (low, high))["loss"])


def test_a_file_keeps_it_and_one_without_has_no_word_of_it(tmp_path):
    model().save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", "cpu")
    np.testing.assert_allclose(again.predict(FEATURES), CLAMPED)
    assert "clamp" in model().target.config()
    assert "clamp" not in model(clamp=None).target.config()


@pytest.mark.parametrize("clamp", [False, True])
def test_the_range_is_that_of_the_training_labels(clamp):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 2))
    dataset, settings = Dataset("d", X, X[:, 0] ** 3), Settings()
    target = Target.learn(dataset.target, "regression")
    parts = part_dataset(dataset, target, 0)
    prepare_parts(dataset, parts, target, xn.MeanSquaredError(), settings, clamp=clamp)
    if not clamp:
        assert target.clamp is None
        return
    train = parts["train"].target
    assert (target.clamp[0][0], target.clamp[1][0]) == (train.min(), train.max())
    assert dataset.target.max() > train.max() or dataset.target.min() < train.min()
    exact = target.decode(target.encode(train))
    np.testing.assert_allclose(exact, train, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "clamped to None"),
        ([[8.0]], "clamped to"),
        ([[8.0], [14]], "clamped to"),
        ([[8.0], ["14"]], "clamped to"),
        ([[8.0], [True]], "clamped to"),
        ([8.0, 14.0], "clamped to"),
        ([[8.0, 1.0], [14.0, 2.0]], "two numbers for each output"),
        ([[8.0], [7.0]], "the least, and then the largest"),
        ([[8.0], [math.inf]], "the least, and then the largest"),
        ([[math.nan], [1.0]], "the least, and then the largest"),
        ([[], []], "two numbers for each output"),
    ],
)
def test_a_file_with_other_bounds_is_refused(told, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Target.from_config(model().target.config() | {"clamp": told})


def test_classes_are_not_clamped():
    config = Target("binary", ["a", "b"]).config() | {"clamp": [[0.0], [1.0]]}
    with pytest.raises(ValueError, match="the task is binary: values alone are clamped"):
        Target.from_config(config)
    with pytest.raises(ValueError, match="does not say which outputs"):
        model().target.output_bounds(xn.SigmoidCrossEntropy())
