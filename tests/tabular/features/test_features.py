"""From raw columns to features, and from labels to what a loss takes."""

import json

import numpy as np
import pytest

from xpnet.data.scaling import share_a_unit
from xpnet.tabular.features import preprocessing
from xpnet.tabular.target import Target, infer_task


def test_array_is_standardised_by_column():
    rows = np.random.default_rng(0).normal([1.0, -50.0], [2.0, 0.1], size=(500, 2))
    features = preprocessing.learn(rows).transform(rows, np.float64)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(features.std(axis=0), 1.0, atol=1e-12)


def test_training_rows_alone_are_learnt_from():
    learnt = preprocessing.learn(np.array([[0.0], [2.0]]))
    np.testing.assert_allclose(learnt.transform(np.array([[4.0]]), np.float64), [[3.0]])


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e9])
def test_constant_column_becomes_zero(value):
    rows = np.column_stack([np.full(100, value), np.arange(100.0)])
    features = preprocessing.learn(rows).transform(rows, np.float64)
    np.testing.assert_allclose(features[:, 0], 0.0, atol=1e-6)


def test_a_column_that_was_constant_counts_as_constant_later_on():
    rows = np.column_stack([np.full(100, 7.0), np.arange(100.0)])
    learnt = preprocessing.learn(rows)
    later = rows + np.array([5.0, 0.0])
    with pytest.warns(
        UserWarning, match="column 0 of the data was the same in all training rows and"
    ):
        features = learnt.transform(later, np.float64)
    np.testing.assert_array_equal(features, learnt.transform(rows, np.float64))
    again = preprocessing.from_config(json.loads(json.dumps(learnt.config())))
    with pytest.warns(UserWarning, match="column 0 of the data was the same"):
        np.testing.assert_array_equal(again.transform(later, np.float64), features)


def test_pixels_that_were_never_lit_stay_dark_without_a_word():
    rows = np.random.default_rng(0).integers(0, 256, (50, 20)).astype(np.uint8)
    rows[:, 3] = 0
    later = rows.copy()
    later[:, 3] = 9
    learnt = preprocessing.learn(rows)
    np.testing.assert_array_equal(
        learnt.transform(later, np.float32), learnt.transform(rows, np.float32)
    )


def test_whole_numbers_that_were_constant():
    rows = np.column_stack([np.full(9, 2**60 + 1), np.arange(9)])
    learnt = preprocessing.learn(rows)
    with pytest.warns(UserWarning, match="column 0"):
        assert (learnt.transform(rows + np.array([8192, 0]), np.float32)[:, 0] == 0).all()


def test_pixels_share_their_scale():
    rows = np.random.default_rng(0).integers(0, 256, (50, 20)).astype(np.uint8)
    rows[:, 3] = 0
    rows[7, 3] = 1  # a pixel that is hardly ever lit must not be blown up
    features = preprocessing.learn(rows)
    assert len(set(features.scales.mean)) == len(set(features.scales.scale)) == 1
    assert features.transform(rows, np.float32).dtype == np.float32
    assert np.ptp(features.transform(rows, np.float32)[:, 3]) < 0.1


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        (np.full((4, 16), 9), True),
        (np.full((4, 15), 9), False),
        (np.full((4, 16), -9), False),
        (np.full((4, 16), 256), False),
        (np.full((4, 16), 9.5), False),
        # ages beside grades: one column far above the others
        (np.column_stack([np.full((4, 1), 90), np.full((4, 19), 5)]), False),
    ],
)
def test_when_columns_share_a_unit(rows, shared):
    assert share_a_unit(rows) is shared


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.array([["a", "b"]]), TypeError, "text where numbers belong"),
        (np.ones((2, 2), complex), TypeError, "dtype complex128: complex numbers where numb"),
        (np.ones((2, 2), "M8[s]"), TypeError, r"dtype datetime64\[s\]: dates where numbers belong"),
        (np.ones((2, 2), "V4"), TypeError, r"dtype \|V4: records where numbers belong"),
        (np.array([[1.0, np.nan], [np.inf, np.nan]]), ValueError, r"columns 0 \(1\), 1 \(2\)"),
        (np.zeros((2, 2, 2)), ValueError, "shape"),
    ],
)
def test_bad_arrays(rows, error, message):
    with pytest.raises(error, match=message):
        preprocessing.learn(rows)


@pytest.mark.filterwarnings("error")
def test_what_lies_too_far_from_the_training_is_refused():
    rows = np.random.default_rng(0).normal(size=(9, 3))
    far = rows.copy()
    far[4, 2] = 1e39  # more than a float32 holds
    message = r"has values up to 1e\+39, too far from those of the training"
    with pytest.raises(ValueError, match=f"column 2 of the data {message}"):
        preprocessing.learn(rows).transform(far, np.float32)
    assert np.isfinite(preprocessing.learn(rows).transform(far, np.float64)).all()


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.array(["no", "yes"] * 5), "binary"),
        (np.array(["a", "b", "c"], dtype=object), "multiclass"),
        (np.array([True, False]), "binary"),
        (np.arange(10), "multiclass"),
        (np.arange(25), "regression"),
        (np.tile(np.arange(26), 60), "multiclass"),
        (np.array([0.0, 1.0]), "binary"),
        (np.arange(11.0), "regression"),
        (np.array([0.5, 1.0]), "regression"),
        (np.zeros((5, 2)), "regression"),
    ],
)
def test_task_is_inferred(y, task):
    assert infer_task(y) == task


@pytest.mark.parametrize("labels", [["no", "yes", "no"], [7, 3, 7], [True, False, True]])
def test_labels_there_and_back(labels):
    y = np.array(labels)
    target = Target.learn(y)
    codes = target.encode(y)
    assert set(codes) == {0, 1}
    np.testing.assert_array_equal(target.decode(codes), y)
    assert Target.from_config(target.config()).classes == target.classes


def test_values_there_and_back():
    y = np.random.default_rng(0).normal(30.0, 5.0, 100)
    target = Target.learn(y)
    target.standardise(y)
    z = target.encode(y)
    assert abs(z.mean()) < 1e-12
    assert z.std() == pytest.approx(1.0)
    np.testing.assert_allclose(target.decode(z), y)


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (np.array(["a", "a"]), None, "one class only"),
        (np.array([1.5, 1.5]), None, "nothing to learn"),
        (np.array([0, 1, 2]), "binary", "binary and the target has 3 classes"),
        (np.array(["a", "b"]), "regression", "holds text"),
        (np.array([0, 1]), "ranking", "task is 'ranking'"),
        (np.array([0.5, np.nan]), None, "1 value that is NaN or infinite"),
        (np.array(["a", None, None], dtype=object), None, "2 values that are missing"),
        (np.zeros((4, 2)), "multiclass", "one label for each row"),
    ],
)
def test_bad_targets(y, task, message):
    with pytest.raises(ValueError, match=message):
        Target.learn(y, task)


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match="does not know: z; it knows a, b"):
        Target.learn(np.array(["a", "b"])).encode(np.array(["a", "z"]))


def test_a_mean_may_dwarf_what_varies_round_it():
    z = np.random.default_rng(0).normal(size=(1000, 1))
    features = preprocessing.learn(1.7e9 + 100 * z).transform(1.7e9 + 100 * z, np.float32)
    np.testing.assert_allclose(features, (z - z.mean()) / z.std(), atol=1e-5)
    target = Target.learn(1.7e9 + 100 * z[:, 0])
    target.standardise(1.7e9 + 100 * z[:, 0])
    again = target.decode(target.encode(1.7e9 + 100 * z[:, 0]).astype(np.float32))
    np.testing.assert_allclose(again - 1.7e9, 100 * z[:, 0], atol=1e-3)
