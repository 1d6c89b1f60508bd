"""Errors of predictions: their values, of whatever kind the labels are, and what is refused."""

import numpy as np
import pytest

from xpnet import accuracy, error_rate
from xpnet.nn.metrics import unexplained_variance

each_measure = pytest.mark.parametrize("measure", [error_rate, unexplained_variance])


def test_error_counts_what_is_wrong(backend):
    y, predicted = (backend.asarray(np.array(v)) for v in ([0, 1, 2, 2], [0, 1, 2, 1]))
    assert error_rate(y, predicted) == 0.25
    assert accuracy(y, predicted) == 0.75


def test_of_several_answers_all_must_be_right(backend):
    y, predicted = [[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 0], [1, 1]]
    assert error_rate(y, predicted) == pytest.approx(2 / 3)
    on_device = (backend.asarray(np.array(v)) for v in (y, predicted))
    assert error_rate(*on_device) == pytest.approx(2 / 3)


def test_unexplained_variance_is_one_for_the_mean():
    y = np.random.default_rng(0).normal(size=(50, 2))
    assert unexplained_variance(y, np.broadcast_to(y.mean(axis=0), y.shape)) == pytest.approx(1.0)
    assert unexplained_variance(y, y) == 0.0


@each_measure
def test_lists_and_arrays_of_a_device_and_of_the_host_give_the_same(measure, backend):
    y, predicted = [1.0, 2.0, 4.0, 4.0], [1.0, 3.0, 4.0, 2.0]
    wanted = measure(np.array(y), np.array(predicted))
    on_device = [backend.asarray(np.array(v)) for v in (y, predicted)]
    for first in (y, tuple(y), on_device[0]):
        for second in (predicted, np.array(predicted), on_device[1]):
            assert measure(first, second) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("y", "predicted", "error"),
    [
        ([True, False, True], [1, 0, 0], 1 / 3),
        ([1, 2], [1.0, 2.5], 0.5),
        (np.array([-1]), np.array([2**64 - 1], np.uint64), 1.0),
        (np.array([2**53 + 1, 2**53]), np.array([2.0**53, 2.0**53]), 0.5),
        ([2**60, 2**60 + 1], [2**60 + 1, 2**60 + 1], 0.5),
        ([1, 2**63 + 1], np.array([1, 2**63], np.uint64), 0.5),
        (["a", "b"], np.array(["a", "c"], object), 0.5),
        (np.array(["a", "b"], np.dtypes.StringDType()), ["a", "b"], 0.0),
        (["a", "long"], ["a", "l"], 0.5),
    ],
    ids=str,
)
def test_labels_are_compared_as_what_they_are(y, predicted, error):
    assert error_rate(y, predicted) == error_rate(predicted, y) == pytest.approx(error)
    assert accuracy(y, predicted) == pytest.approx(1 - error)


def test_small_types_do_not_overflow():
    y, predicted = np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)
    assert unexplained_variance(y, predicted) == 4.0
    assert unexplained_variance(np.array([True, False]), np.array([False, True])) == 4.0
    large = np.array([0, 300], np.float16)
    assert unexplained_variance(large, large + 1) == pytest.approx(2 / 45000, rel=1e-6)


def test_columns_are_compared_by_place():
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    assert error_rate(pd.Series([1, 2], index=[5, 6]), pd.Series([1, 3])) == 0.5
    assert error_rate(pd.array(["a", "b"], dtype="string"), ["a", "b"]) == 0.0
    assert unexplained_variance(pd.Series([1, 2], dtype="Int64"), [1, 3]) == 2.0
    for gap in (pd.array([1, None], dtype="Int64"), pd.array([True, None], dtype="boolean")):
        with pytest.raises(ValueError, match="y has 1 value that is missing: remove"):
            error_rate(gap, [1, 1])


@pytest.mark.parametrize("values", [[2**60, None], [True, None], ["a", None]])
def test_gaps_of_arrow_s_are_missing(values):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    for y in (pa.array(values), pa.chunked_array([values[:1], values[1:]])):
        with pytest.raises(ValueError, match="y has 1 value that is missing: remove"):
            error_rate(y, [1, 1])


@each_measure
@pytest.mark.parametrize(
    ("y", "predicted", "message"),
    [
        ([0, 1, 2], [0, 1], r"y has shape \(3,\) and y_predicted \(2,\): give the same"),
        ([0, 1], [[0], [1]], r"y has shape \(2,\) and y_predicted \(2, 1\): give the same"),
        ([], [], "y is empty: there is nothing to measure"),
        (3, 3, r"y has shape \(\): give \(n,\) or \(n, k\)"),
        ("ab", "ab", r"y has shape \(\): give"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), r"y has shape \(2, 2, 2\): give"),
        ([0, 1], np.array([0.0, np.nan]), "y_predicted has 1 value that is NaN or infinite: rem"),
        ([0, np.inf], [0, 1], "y has 1 value that is NaN or infinite: remove those rows"),
        ([0, None], [0, 1], "y has 1 value that is missing: remove those rows"),
        (np.ma.array([0, 1], mask=[0, 1]), [0, 1], "y has 1 value that is masked: remove"),
        ([[0], [1, 2]], [0, 1], "y is not a rectangular array: give rows of one length"),
        (np.array([0, 1], "M8[D]"), [0, 1], "y has dtype datetime64.D.: give numbers or strings"),
        ({0, 1}, [0, 1], "y holds set: give numbers or strings"),
        ([0, 1], ["0", "1"], "(y holds numbers and )?y_predicted (holds )?strings: give "),
        (["a", "b"], [0, 1], "y holds strings( and y_predicted numbers)?: give "),
    ],
    ids=str,
)
def test_what_can_not_be_measured_is_refused(measure, y, predicted, message):
    with pytest.raises(ValueError, match=message):
        measure(y, predicted)


@each_measure
def test_what_a_device_holds_is_refused_alike(measure, backend):
    y = backend.asarray(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="y_predicted has 1 value that is NaN or infinite: remove"):
        measure(y, backend.asarray(np.array([0.0, np.nan])))
    with pytest.raises(ValueError, match="y has dtype complex64: give numbers or strings"):
        measure(backend.asarray(np.array([0, 1], np.complex64)), y)


@pytest.mark.parametrize("y", [np.ones(3), [0.1] * 3, [[0.1, 2]] * 7, [5]])
def test_constant_values_have_no_variance_to_explain(y):
    with pytest.raises(ValueError, match="constant"):
        unexplained_variance(y, np.zeros(np.shape(y)))
