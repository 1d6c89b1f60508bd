"""Rules for labels: whole numbers, and the numbers of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data.labels import class_codes, is_numeric, is_whole

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
