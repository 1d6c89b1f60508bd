"""The verdict on bias and variance."""

import pytest

from xpnet import diagnose


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


def test_an_error_as_large_as_the_target_is_not_said_to_be_above_it():
    reasons = diagnose(0.01, 0.01, target=0.01).reasons
    assert "1.00% is not below the target of 1.00%, but under ten times it" in reasons


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
