"""Rules for labels: whole numbers, and the numbers of classes."""

from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data.labels import (
    as_labels,
    class_array,
    class_codes,
    differing,
    is_numeric,
    is_whole,
    text_of,
    unite,
)

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


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([np.array([2**53 + 1, 3]), np.array([2**53], np.uint64)], [2**53 + 1, 3, 2**53]),
        ([np.array([1], np.int8), np.array([2**63 + 1], np.uint64)], [1, 2**63 + 1]),
        ([np.array([1], np.int8), np.array([2**40])], [1, 2**40]),
        ([np.array([1]), np.array([0.5])], [1.0, 0.5]),
        ([np.array(["é"]), np.array(["long é".encode()]), np.array([b"x"], object)], "é,long é,x"),
        ([np.array([[1, 2]]), np.array([[3, 4]], np.uint8)], [[1, 2], [3, 4]]),
        ([np.array([True]), np.array([False], object)], [True, False]),
    ],
    ids=str,
)
def test_labels_of_parts_are_united_as_they_are(parts, wanted):
    wanted = wanted.split(",") if isinstance(wanted, str) else wanted
    found = as_labels(unite(parts, "y"), "y")
    assert repr(found.tolist()) == repr(wanted)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([np.array([True]), np.array([1])], "y holds bool and int: give"),
        ([np.array([1]), np.array([None, 2], object)], "y has 1 value that is missing"),
        ([np.array([-1]), np.array([2**63], np.uint64)], "more than 64 bits"),
    ],
)
def test_labels_of_parts_that_are_of_several_kinds_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        as_labels(unite(parts, "y"), "y")


def test_a_string_that_is_also_something_else_is_its_value():
    class Colour(str):  # as `class Colour(str, Enum)` makes one
        def __str__(self):
            return "Colour.RED"

    red = Colour("red")

    class Number(IntEnum):
        ONE = 1

    assert text_of(red, "y") == "red"
    assert as_labels(np.array([red, "b"], object), "y").tolist() == ["red", "b"]
    assert as_labels(np.array([Number.ONE, "b"], object), "y").tolist() == ["1", "b"]
    assert as_labels(np.array([Number.ONE, 2], object), "y").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2**63 + 1], "uint64"), ([2**60, 2**60 + 1], "int64"), ([1, 0.5], "float64"),
        ([0.5, 1.5], "float64"), ([True, False], "bool"), ([[1, 2**63 + 1], [2, 3]], "uint64"),
    ],
    ids=str,
)  # fmt: skip
def test_a_list_s_numbers_are_those_that_stand_there(values, dtype):
    for several in (values, tuple(values)):
        labels = as_labels(several, "y")
        assert (labels.dtype, labels.tolist()) == (dtype, values)


def test_rows_of_different_lengths_are_no_labels():
    with pytest.raises(ValueError, match="y is not a rectangular array: give rows of one length"):
        as_labels([[1], [1, 2]], "y")


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (np.array([1, 2]), np.array([1.0, 2.5]), [False, True]),
        (np.array([True, False]), np.array([1, 2]), [False, True]),
        (np.array([-1, 5]), np.array([2**64 - 1, 5], np.uint64), [True, False]),
        (np.array([2**53 + 1, 2**53]), np.array([2.0**53] * 2), [True, False]),
        (np.array(["a", "b"]), np.array(["a", "long"]), [False, True]),
        (np.array([[1, 2]]), np.array([[1, 3]]), [[False, True]]),
    ],
    ids=str,
)
def test_labels_that_differ(a, b, wanted):
    assert differing(a, b).tolist() == differing(b, a).tolist() == wanted


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_a_gap_in_a_list_of_strings_is_no_string(gap):
    with pytest.raises(ValueError, match="y has 1 value that is missing: remove"):
        as_labels(["a", gap], "y")
