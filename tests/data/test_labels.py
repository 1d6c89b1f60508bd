"""Rules for labels: whole numbers, and the numbers of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data.labels import as_labels, class_array, class_codes, is_numeric, is_whole

CLASSES = {
    "ints": [3, -1, 7],
    "floats": [0.5, 2.0],
    "truth": [True, False],
    "strings": ["b", "a", "long one"],
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
@given(data=st.data())
def test_a_label_gets_the_number_of_its_class(classes, data):
    y = data.draw(st.lists(st.sampled_from(classes), min_size=1))
    codes, unknown = class_codes(np.array(y), np.array(classes))
    assert not unknown.any()
    assert [classes[code] for code in codes] == y


@pytest.mark.parametrize(
    ("y", "classes", "unknown"),
    [
        ([1, 2, 9, -5], [1, 2], [False, False, True, True]),
        ([1.0, 1.5], [1, 2], [False, True]),
        ([True, False], [1, 2], [False, True]),
        (["1", "2"], [1, 2], [True, True]),
        ([1, 2], ["1", "2"], [True, True]),
        (["a", "aa", ""], ["a", "b"], [False, True, True]),
    ],
)
def test_labels_of_no_class_are_found(y, classes, unknown):
    codes, found = class_codes(np.array(y), np.array(classes))
    assert found.tolist() == unknown
    assert 0 <= codes.min() <= codes.max() < len(classes)


def test_objects_are_labels_too():
    codes, unknown = class_codes(np.array(["b", "x"], object), np.array(["a", "b"], object))
    assert (codes[0], unknown.tolist()) == (1, [False, True])


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -np.inf])
def test_what_is_not_whole(value):
    assert not is_whole(np.array([1.0, value]))


@pytest.mark.parametrize(
    ("array", "numeric"),
    [(np.zeros(2), True), (np.zeros(2, bool), True), (np.array(["1"]), False),
     (np.array([None]), False), (np.zeros(2, complex), False)],
)  # fmt: skip
def test_what_is_numeric(array, numeric):
    assert is_numeric(array) == numeric


@pytest.mark.parametrize(
    ("y", "classes", "known"),
    [
        (np.array([2.0**53, 3.0, 3.5]), np.array([3, 2**53 + 1]), [False, True, False]),
        (np.array([2**53 + 1, 3]), np.array([3.0, 2.0**53]), [False, True]),
        (np.array([2**63 + 5, 7], np.uint64), np.array([7, 2**63 - 5 - 2**62]), [False, True]),
        (np.array([-1, 7]), np.array([7, 2**64 - 1], np.uint64), [False, True]),
        (np.array([np.nan, np.inf, 1.0]), np.array([1, -(2**63)]), [False, False, True]),
        (np.array([0, 1, 2]), np.array([False, True]), [True, True, False]),
        (np.array([1, 2], np.longdouble), np.array([1.0, 2.0]), [True, True]),
    ],
    ids=str,
)
def test_labels_of_another_type_are_known_if_they_are_the_same_numbers(y, classes, known):
    codes, unknown = class_codes(y, classes)
    np.testing.assert_array_equal(~unknown, known)
    np.testing.assert_array_equal(classes[codes[known]].astype(float), y[known].astype(float))


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [([1, 2**63], "uint64"), ([-1, 2**63 - 1], "int64"), ([False, True], "bool"), (["a"], "<U1")],
)
def test_classes_of_a_list_become_no_floats(classes, dtype):
    assert class_array(classes).dtype == dtype
    assert class_array(classes).tolist() == classes


def test_objects_keep_their_shape():
    assert as_labels(np.array([[1, 2], [3, 4]], object), "y").tolist() == [[1, 2], [3, 4]]
    assert as_labels([], "y").shape == as_labels(np.array([], object), "y").shape == (0,)
