"""Folds: what may be held out, so that every member has all classes, and different values."""

import numpy as np
import pytest

from xpnet.recipes.facts import Facts
from xpnet.recipes.held_out import Folds
from xpnet.recipes.recipes import Asked
from xpnet.recipes.settings import Settings
from xpnet.recipes.showing import table_of


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "labels", [[0, 0, 1, 0, 0, 0], [0, 1, 2, 2, 2, 2], [0, 0, 1, 1], [3, 1, 1, 2, 2, 2, 2]], ids=str
)
def test_every_member_has_every_class(labels, seed):
    y = np.array(labels)
    found = Folds.draw(2, 3, y, of_classes=True, seed=seed)
    for rows in found.fit_options()["subsets"]:
        assert {*y[rows]} == {*y}
    for rows in found.fit_options()["validation_subsets"]:
        assert len(rows)
    single = np.bincount(y)[y] == 1
    np.testing.assert_array_equal(found.of_each == -1, single)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.zeros(9), 1.0],
        np.r_[np.zeros(5), np.ones(2), 2.0],
        np.r_[np.zeros(4), 1.0, 2.0],
        np.stack([np.r_[np.zeros(9), 1.0], np.ones(10)], axis=1),
    ],
    ids=["one other", "few others", "half", "two outputs"],
)
def test_no_member_has_values_that_are_all_the_same(values, folds, seed):
    found = Folds.draw(folds, folds, values, of_classes=False, seed=seed)
    for rows in found.fit_options()["subsets"]:
        assert (values[rows] != values[rows[0]]).any()


def test_different_values_are_drawn_as_ever():
    values = np.random.default_rng(0).normal(size=20)
    found = Folds.draw(4, 4, values, of_classes=False, seed=1)
    assert np.bincount(found.of_each).tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.arange(4),
            "folds is 2 and there are 4 rows, 4 of which are the only ones of their"
            " kind: give more rows of a kind",
        ),
        (np.array([0, 0]), "folds is 3 and there are 2 rows: give fewer folds, or more rows"),
    ],
)
def test_too_few_rows_are_refused(labels, message):
    folds = int(message.split()[2])
    with pytest.raises(ValueError, match=message):
        Folds.draw(folds, folds, labels, of_classes=True, seed=0)


def test_a_plan_is_shown_with_all_that_it_has_set():
    settings = Settings(hidden=(), dropout=(0.1,))
    plan = Asked("auto", ["hidden"]).plan(Facts("binary", 1000, 8), settings)
    rows = table_of(plan)
    assert rows[0] == ("hidden", (), "set by hand")
    assert [row.name for row in rows[1:]] == [step.name for step in plan.steps]
    lines = str(plan).splitlines()
    assert len(lines) == 1 + len(rows)
    assert all(line.endswith(row.why) for line, row in zip(lines[1:], rows, strict=True))
