"""The figures of a model on labelled rows, against figures counted by hand."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.data.scaling import Scales
from xpnet.tabular.evaluation import measure
from xpnet.tabular.model import Model
from xpnet.tabular.target import Target


def passes_on(n, loss):
    """Return a network whose logits are its features."""
    net = xn.Network([xn.Linear(n)], loss=loss, n_features=n, device="cpu", dtype="float64")
    net.layers[0].parameters["weight"][...] = np.eye(n)
    return net


def test_classes():
    # Predicted are b, b, a, c; right would be a, b, a, a.
    rows = np.eye(3)[[1, 1, 0, 2]]
    model = Model(
        passes_on(3, "softmax_cross_entropy"), None, Target("multiclass", ["a", "b", "c"])
    )
    measured = measure(model, rows, np.array(["a", "b", "a", "a"]))
    assert measured["error"] == 0.5
    assert measured["confusion_matrix"] == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    a, b, c = (measured["per_class"][k] for k in "abc")
    assert (a["precision"], a["recall"], a["support"]) == (1.0, pytest.approx(1 / 3), 3)
    assert (b["precision"], b["recall"], b["support"]) == (0.5, 1.0, 1)
    assert (c["precision"], c["recall"], c["support"]) == (0.0, 0.0, 0)


def test_values():
    model = Model(
        passes_on(1, "mean_squared_error"), None, Target("regression", None, Scales([10], [2]))
    )
    # Predicted are 10, 12, 14, 16.
    measured = measure(model, np.arange(4.0)[:, None], np.array([10.0, 12.0, 14.0, 12.0]))
    assert measured["unexplained_variance"] == pytest.approx(16 / 8)
    assert measured["r2"] == pytest.approx(-1.0)
    assert measured["root_mean_squared_error"] == pytest.approx(2.0)
    assert measured["mean_absolute_error"] == pytest.approx(1.0)


@pytest.mark.parametrize(("mean", "scale"), [(0, 1e200), (0, 1e-200), (17 * 10**17, 10**5)])
def test_values_whose_squares_are_no_numbers(mean, scale):
    target = Target("regression", None, Scales([mean], [scale]))
    model = Model(passes_on(1, "mean_squared_error"), None, target)
    y = mean + scale * np.array([0, 1, 2, 1])
    measured = measure(model, np.arange(4.0)[:, None], y)
    assert measured["unexplained_variance"] == pytest.approx(4 / 2)
    assert measured["root_mean_squared_error"] == pytest.approx(1.0 * scale)
    assert measured["mean_absolute_error"] == pytest.approx(0.5 * scale)


@pytest.mark.parametrize("far", [1e155, 1e200, 1e307])
def test_values_far_from_those_of_the_training(far):
    model = Model(passes_on(1, "mean_squared_error"), None, Target("regression"))
    # Predicted are 0, 1, 2, 3.
    measured = measure(model, np.arange(4.0)[:, None], far * np.array([0.0, 1.0, 2.0, 1.0]))
    assert measured["unexplained_variance"] == pytest.approx(6 / 2)
    assert measured["root_mean_squared_error"] == pytest.approx(np.sqrt(6 / 4) * far)
    assert measured["mean_absolute_error"] == pytest.approx(far)


def test_figures_that_no_float_holds_are_infinite():
    largest = np.finfo(float).max
    target = Target("regression", None, Scales([0.0], [largest]))
    model = Model(passes_on(1, "mean_squared_error"), None, target)
    measured = measure(model, np.array([[1.0], [-1.0]]), np.array([-largest, largest]))
    assert measured["mean_absolute_error"] == measured["root_mean_squared_error"] == np.inf
    assert measured["unexplained_variance"] == pytest.approx(4)


def test_values_too_far_from_those_of_the_training_are_refused():
    target = Target("regression", None, Scales([0.0], [1e-10]))
    with pytest.raises(ValueError, match="target has 1 value that is too far from those of the t"):
        target.encode(np.array([1e308, 0.0]))


def test_values_that_are_all_the_same_have_no_r2():
    model = Model(passes_on(1, "mean_squared_error"), None, Target("regression"))
    measured = measure(model, np.zeros((3, 1)), np.ones(3))
    assert measured["r2"] is None
    assert measured["mean_absolute_error"] == 1.0


def test_probabilities_stand_in_the_order_of_the_classes():
    target = Target("binary", ["no", "yes"])
    model = Model(passes_on(1, "sigmoid_cross_entropy"), None, target)
    rows = np.array([[-5.0], [5.0]])
    assert model.predict(rows).tolist() == ["no", "yes"]
    p = model.predict_proba(rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p.argmax(axis=1) == [0, 1]).all()
