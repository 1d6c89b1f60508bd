"""The verdict on bias and variance, and the metrics that it stands on."""

import numpy as np
import pytest

from xpnet import accuracy, diagnose, error_rate
from xpnet.analysis.metrics import unexplained_variance


@pytest.mark.parametrize(
    ("train", "dev", "optimal", "verdict"),
    [
        (0.001, 0.002, 0.0, "neither"),
        (0.001, 0.05, 0.0, "high variance"),
        (0.0, 0.5, 0.0, "high variance"),
        (0.15, 0.16, 0.0, "high bias"),
        (0.15, 0.12, 0.0, "high bias"),
        (0.15, 0.40, 0.0, "high bias and high variance"),
        (0.03, 0.035, 0.0, "neither"),
        (0.03, 0.08, 0.0, "high variance"),
        (0.099, 0.105, 0.0, "neither"),
        (0.1, 0.105, 0.0, "high bias"),
        # What nobody can do better than is no bias.
        (0.15, 0.155, 0.15, "neither"),
        (0.15, 0.30, 0.15, "high variance"),
        (0.10, 0.11, 0.15, "neither"),
    ],
)
def test_verdicts(train, dev, optimal, verdict):
    found = diagnose(train, dev, target=0.01, optimal_error=optimal)
    assert found.verdict == verdict
    assert bool(found.advice) == (verdict != "neither")
    assert f"{train:.2%}" in found.reasons
    assert f"{dev:.2%}" in found.reasons


def test_bias_comes_before_variance():
    assert diagnose(0.5, 0.99).verdict == "high bias"
    assert diagnose(0.2, 0.9).advice == diagnose(0.2, 0.2).advice


def test_the_target_decides():
    assert diagnose(0.05, 0.06, target=0.1).verdict == "neither"
    assert diagnose(0.05, 0.06, target=0.005).verdict == "high bias"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.1), "train_error is -0.1"),
        ((0.1, float("nan")), "dev_error is nan"),
        ((0.1, 0.1, 0.0), "target is 0.0"),
        ((0.1, 0.1, 0.01, -1.0), "optimal_error is -1.0"),
    ],
)
def test_bad_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        diagnose(*arguments)


def test_error_counts_what_is_wrong(backend):
    y, predicted = (backend.asarray(np.array(v)) for v in ([0, 1, 2, 2], [0, 1, 2, 1]))
    assert error_rate(y, predicted) == 0.25
    assert accuracy(y, predicted) == 0.75


def test_of_several_answers_all_must_be_right():
    y = np.array([[0, 1], [1, 1], [0, 0]])
    assert error_rate(y, np.array([[0, 1], [1, 0], [1, 1]])) == pytest.approx(2 / 3)


def test_unexplained_variance_is_one_for_the_mean():
    y = np.random.default_rng(0).normal(size=(50, 2))
    assert unexplained_variance(y, np.broadcast_to(y.mean(axis=0), y.shape)) == pytest.approx(1.0)
    assert unexplained_variance(y, y) == 0.0


@pytest.mark.parametrize("measure", [error_rate, unexplained_variance])
def test_metrics_refuse_what_does_not_fit(measure):
    with pytest.raises(ValueError, match="shape"):
        measure(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="empty"):
        measure(np.zeros(0), np.zeros(0))


def test_constant_values_have_no_variance_to_explain():
    with pytest.raises(ValueError, match="constant"):
        unexplained_variance(np.ones(3), np.zeros(3))
