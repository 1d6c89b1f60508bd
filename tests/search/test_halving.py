"""Successive halving: where its rungs are, and which trials go on."""

import pytest

from xpnet.search.halving import Halving


@pytest.mark.parametrize(
    ("options", "rungs"),
    [
        ((30,), [4, 10]),
        ((30, 2), [8, 15]),
        ((30, 3, 1), [1, 2, 4, 10]),
        ((81, 3, 1), [1, 3, 9, 27]),
        ((1,), []),
        ((2,), [1]),
        ((3, 5), [1]),
        ((10**9, 2, 10**8), [125000000, 250000000, 500000000]),
    ],
)
def test_rungs(options, rungs):
    assert Halving(*options).rungs == rungs


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([0.3], [True]),
        ([0.3, 0.2], [False, True]),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [True, True, False, False, False, False]),
        ([0.1, 0.2, 0.3, 0.4], [True, True, False, False]),
        ([0.2, 0.2, 0.2], [True, True, True]),  # none is behind
    ],
)
@pytest.mark.parametrize("minimize", [True, False])
def test_the_best_third_goes_on(values, kept, minimize):
    values = values if minimize else [-value for value in values]
    assert [Halving(9).keeps(value, values, minimize) for value in values] == kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 9, "eta": 1}, "eta is 1: give 2 or more"),
        ({"epochs": 9, "least": 0}, "least is 0"),
        ({"epochs": 9, "least": 9}, "least is 9 and there are 9 epochs: give fewer"),
        ({"epochs": 9.5}, r"epochs is 9.5: give a whole number"),
    ],
)
def test_wrong_numbers(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Halving(**options)
