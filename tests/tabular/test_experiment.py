"""A training run on raw data: what is learnt from which part, and for how long it trains."""

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.model import load_model
from xpnet.tabular.readers import read


def make(dataset, **settings):
    return Experiment.prepare(dataset, Settings(hidden=(4,), **settings), "cpu")


@pytest.fixture
def dataset():
    draw = np.random.default_rng(0)
    X = draw.normal(3.0, 2.0, (100, 3))
    return Dataset("d", X, X[:, 0] + draw.normal(50.0, 9.0, 100))


def test_scales_are_learnt_from_the_training_part_alone(dataset):
    experiment = make(dataset)
    train = experiment.parts["train"]
    np.testing.assert_allclose(experiment.model.features.scales.mean, train.rows.mean(axis=0))
    np.testing.assert_allclose(experiment.model.target.scales.mean, train.target.mean())
    np.testing.assert_allclose(experiment.model.target.scales.scale, train.target.std())
    assert abs(train.features.mean()) < 1e-6
    assert abs(train.labels.mean()) < 1e-12
    # The other parts lie where they lie.
    assert abs(experiment.parts["dev"].features.mean()) > 1e-3
    assert abs(experiment.parts["test"].labels.mean()) > 1e-3


def test_parts_are_the_whole(dataset):
    parts = make(dataset).parts
    assert [len(parts[name].labels) for name in ("train", "dev", "test")] == [60, 20, 20]
    together = np.concatenate([part.rows[:, 0] for part in parts.values()])
    assert sorted(together) == sorted(dataset.rows[:, 0])


@pytest.mark.parametrize(
    ("settings", "batch_size", "epochs"),
    [
        ({}, 60, 500),  # one batch of all 60: as many epochs as make 500 updates
        ({"batch_size": 10}, 10, 84),
        ({"batch_size": 1}, 1, 30),
        ({"epochs": 7}, 60, 7),
    ],
)
def test_small_sets_train_for_enough_updates(dataset, settings, batch_size, epochs):
    experiment = make(dataset, **settings)
    assert (experiment.batch_size, experiment.epochs) == (batch_size, epochs)


def test_layers_in_the_notes_order():
    settings = {"batch_norm": True, "dropout": (0.2,), "activation": "tanh"}
    names = [type(layer).__name__ for layer in make(read("iris"), **settings).model.network.layers]
    assert names == ["Linear", "BatchNorm", "Tanh", "Dropout", "Linear"]
    plain = [type(layer).__name__ for layer in make(read("iris")).model.network.layers]
    assert plain == ["Linear", "ReLU", "Linear"]


@pytest.mark.parametrize(
    ("y", "loss", "outputs"),
    [
        (np.arange(100) % 2, "softmax_cross_entropy", 2),
        (np.arange(100) % 2, "sigmoid_cross_entropy", 1),
        (np.arange(100) % 3, "softmax_cross_entropy", 3),
        (np.arange(100) % 37 / 2, "poisson_deviance", 1),
        (np.arange(100) % 37 / 2, "half_squared_error", 1),
        (np.arange(100) % 37 / 2, "huber:delta=0.5", 1),
        (np.arange(100) % 37 / 2, "quantile:q=0.9", 1),
    ],
)
def test_the_loss_that_is_asked_for_is_trained_saved_and_loaded(
    dataset, y, loss, outputs, tmp_path
):
    experiment = make(Dataset("d", dataset.rows, y), loss=loss, epochs=2)
    network = experiment.model.network
    assert (network.loss.name, network.n_outputs) == (loss.partition(":")[0], outputs)
    experiment.run()
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu")
    predicted = again.predict(dataset.rows)
    np.testing.assert_array_equal(predicted, experiment.model.predict(dataset.rows))
    if loss == "poisson_deviance":  # of counts as they are: standardised some were below 0
        assert (experiment.model.target.scales.mean, experiment.model.target.scales.scale) == (0, 1)
        assert predicted.min() > 0
    if loss.endswith("cross_entropy"):
        assert {*predicted} <= {*y}
        assert again.predict_proba(dataset.rows).shape == (100, max(outputs, 2))


@pytest.mark.parametrize(
    ("y", "loss", "message"),
    [
        (np.arange(100) % 3, "sigmoid_cross_entropy", "there are 3 classes"),
        (np.arange(100) % 3, "poisson_deviance", "give one of softmax_cross_entropy, sigmoid"),
        (np.arange(100) / 7, "softmax_cross_entropy", "give one of mean_squared_error, half"),
        (np.arange(100) / 7 - 3, "poisson_deviance", "values below 0"),
        (np.arange(100) / 7, "poisson_deviance:delta=1", "delta is no option of it"),
    ],
)
def test_a_loss_for_other_targets_is_refused(dataset, y, loss, message):
    with pytest.raises(ValueError, match=message):
        make(Dataset("d", dataset.rows, y), loss=loss, epochs=1).run()


def test_raw_rows_may_be_given_up(dataset):
    known = dataset.fingerprint()
    experiment = make(dataset, epochs=2)
    train = experiment.parts["train"]
    raw = experiment.model.prepare(train.rows)
    experiment.release_rows()
    assert (dataset.rows, train.source, dataset.fingerprint()) == (None, None, known)
    experiment.run()
    np.testing.assert_array_equal(train.features, raw)


def test_a_choice_of_l2_and_a_learning_curve_train_as_a_run_does(dataset):
    """With the rates of its parameters; the largest training set of a curve is the whole."""
    settings = {"input_scale": True, "input_scale_rate": 6.0, "bias_rate": 0.1, "epochs": 3}
    run, choice, curve = (make(dataset, l2=0.5, **settings) for _ in range(3))
    run.run()
    choice.choose_l2([0.5])
    curve.trainer.history = run.trainer.history  # of as many epochs
    curve.learning_curve()
    for other in (choice, curve):
        assert other.trainer.rate_factors == {"*.bias": 0.1, "0.weight": 6.0}
        for name, array in run.model.network.state().items():
            np.testing.assert_allclose(other.model.network.state()[name], array, rtol=1e-6)
