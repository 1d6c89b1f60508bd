"""Folds of which members hold one out each, and a temperature that is not too sure."""

import numpy as np
import pytest

from xpnet.nn.calibration import LARGEST, temperature_of
from xpnet.recipes.held_out import Folds, careful_temperature


@pytest.mark.parametrize(("folds", "members"), [(3, 3), (2, 5), (5, 2), (4, 1)])
def test_subsets_are_all_but_the_fold_that_is_held(folds, members):
    labels = np.arange(23) % 3
    drawn = Folds.draw(folds, members, labels, True, 4)
    options = drawn.fit_options()
    assert len(options["subsets"]) == len(options["validation_subsets"]) == members
    for i, (own, held) in enumerate(zip(*options.values(), strict=True)):
        assert sorted([*own, *held]) == [*range(23)]
        assert {*drawn.of_each[held]} == {i % folds}


def test_classes_have_their_share_and_values_are_drawn_without():
    labels = np.repeat([0, 1, 2], [20, 8, 2])
    drawn = Folds.draw(4, 4, labels, True, 0)
    counts = [np.bincount(labels[drawn.of_each == i], minlength=3) for i in range(4)]
    assert np.ptp(counts, axis=0).max() <= 1
    several = Folds.draw(4, 4, np.zeros((30, 2)), False, 0)
    assert np.ptp(np.bincount(several.of_each)) <= 1


def test_the_draw_is_the_seed_s():
    labels = np.zeros(40)
    one, again, other = (Folds.draw(4, 4, labels, False, seed).of_each for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_some_of_the_members():
    drawn = Folds.draw(3, 5, np.zeros(9), False, 0)
    some = drawn.of([4, 0])
    assert [*some.held] == [1, 0]
    assert some.of_each is drawn.of_each


def test_all_right_is_not_quite_sure():
    """Of n that are all alike and right p is what n right and one wrong fit best: n/(n + 1)."""
    for n in (5, 50):
        for m in (1, 2):
            logits = np.full((n, 1), 4.0) if m == 1 else np.tile([0.0, 4.0], (n, 1))
            labels = np.ones(n, int)
            T = careful_temperature(logits, labels)
            assert 1 / (1 + np.exp(-4.0 / T)) == pytest.approx(n / (n + 1), rel=1e-5)


def test_the_second_class_is_the_one_that_is_wrong():
    logits, labels = np.tile([0.0, 5.0, 3.0], (10, 1)), np.ones(10, int)
    doubled = np.concatenate([logits, logits])
    weights = np.repeat([1.0, 0.1], 10)
    expected = temperature_of(doubled, np.repeat([1, 2], 10), weights)
    assert careful_temperature(logits, labels) == pytest.approx(expected)


def test_more_examples_care_less():
    rng = np.random.default_rng(0)
    gaps = []
    for n in (30, 30_000):
        z = rng.normal(size=(n, 3)) * 4
        p = np.exp(z / 2) / np.exp(z / 2).sum(axis=1, keepdims=True)
        labels = np.array([rng.choice(3, p=row) for row in p])
        careful, best = careful_temperature(z, labels), temperature_of(z, labels)
        gaps.append(careful / best - 1)
    assert gaps[0] > gaps[1] > 0
    assert gaps[1] < 1e-3
    assert best == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("shape", [(12, 3), (2, 12, 3), (2, 2, 12, 3), (12, 1), (3, 12, 1)])
def test_axes_of_members_come_first(shape):
    rng = np.random.default_rng(1)
    z, m = rng.normal(size=shape), max(shape[-1], 2)
    labels = rng.integers(m, size=12)
    mean = z.reshape(-1, *shape[-2:]).mean(axis=0)
    mean = np.concatenate([0 * mean, mean], axis=1) if shape[-1] == 1 else mean
    second = mean.argsort(axis=1)[:, -2]
    doubled = np.concatenate([z, z], axis=-2).reshape(-1, 24, shape[-1])
    weights = np.repeat([1.0, 1 / 12], 12)
    expected = temperature_of(doubled, np.append(labels, second), weights, members=True)
    assert careful_temperature(z, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_all_wrong_is_not_sure_at_all(m):
    logits = np.tile(np.arange(3.0)[:m] + 1, (7, 1))
    assert careful_temperature(logits, np.full(7, max(m - 2, 0))) == LARGEST
