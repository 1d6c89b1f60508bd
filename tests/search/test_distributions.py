"""Values of distributions: which are taken, what stands for them in JSON, and options' names."""

import json
import math
import re
from collections import deque

import numpy as np
import pytest

import xpnet as xn
from xpnet.search.distributions import (
    Distribution,
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    option_name,
    uniform,
)


def plain(x):
    """Stand for a function among the options."""


class Bare:
    """What Python shows by its address alone."""


def shown(value):
    """Return what shows of a value in each process alike."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


class Fixed(Distribution):
    """A distribution of a user's own."""

    def __repr__(self):
        return "Fixed()"


DISTRIBUTIONS = [
    uniform(-2, 3),
    log_uniform(1e-4, 1),
    one_minus_log_uniform(0.9, 0.999),
    int_uniform(-(2**63), 2**63 - 1),
    choice([(64,), [256, 128], None, "relu", 1, 1.0, True, xn.LeakyReLU(0.2), plain]),
    choice({"small": (64,), "large": (512, 256)}),
]
each_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=shown)


@each_distribution
def test_a_value_comes_back_from_json_as_it_was_drawn(distribution):
    source = np.random.default_rng(0)
    for value in [distribution.draw(source) for _ in range(50)] + distribution.grid(3):
        told = json.loads(json.dumps(distribution.encode(value), allow_nan=False))
        back = distribution.decode(told, "x")
        assert back == value == distribution.check(value, "x")
        assert type(back) is type(value)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("relu", "relu"),
        ("two words", "two words"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        ("\ud800", r"'\ud800'"),
        (None, "None"),
        (True, "True"),
        (0.001, "0.001"),
        (np.float32(0.5), "0.5"),
        (math.nan, "nan"),
        ((), "()"),
        ((64,), "(64,)"),
        ([256, 128], "(256, 128)"),
        ([np.int64(1), ["a"]], "(1, ('a',))"),
        ({"a": [1]}, "{'a': (1,)}"),
        (plain, "plain"),
        (Bare, "Bare"),
        (Bare(), f"<{__name__}.Bare object>"),
        (xn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (xn.ReLU(), "ReLU()"),
        (np.zeros((2, 2)), "array([[0., 0.], [0., 0.]])"),
        (deque([1]), "deque([1])"),
    ],
    ids=shown,
)
def test_what_an_option_is_called(option, name):
    assert option_name(option) == name
    assert option_name(option).isprintable()


def test_options_of_a_dict_have_its_names():
    sizes = choice({"small": (64,), "large": (512, 256)})
    assert sizes.names == ("small", "large")
    assert sizes.options == ((64,), (512, 256))
    assert sizes.encode([512, 256]) == "large"
    assert sizes.decode("large", "hidden") == (512, 256)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([256, 128], (256, 128)),
        ((np.int64(256), 128.0), (256, 128)),
        (np.float64(0.5), 0.5),
        (1, 1),
        (1.0, 1.0),
        (True, True),
        (None, None),
        (math.nan, math.nan),
        ({"a": [1]}, {"a": (1,)}),
        (xn.LeakyReLU(0.2), xn.LeakyReLU(0.2)),
        (plain, plain),
    ],
    ids=shown,
)
def test_a_value_is_taken_for_the_option_that_it_equals(given, expected):
    options = [
        *(None, (256, 128), 0.5, True, 1, 1.0, math.nan, "relu", plain),
        *({"a": (1,)}, np.ones(3), xn.LeakyReLU(0.1), xn.LeakyReLU(0.2)),
    ]
    found = choice(options).check(given, "x")
    assert repr(found) == repr(expected)
    assert any(found is option for option in options)


def test_an_option_itself_goes_before_its_equals():
    options = {"first": Bare(), "second": Bare()}
    assert [choice(options).encode(option) for option in options.values()] == [*options]
    with pytest.raises(ValueError, match=r"^x is .*: give one of <"):
        choice(options).check(Bare(), "x")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["a", "b", "a"], "0 and 2 are both called 'a'"),
        ([None, "None"], "0 and 1 are both called 'None'"),
        ([(64,), [64]], r"0 and 1 are both called '\(64,\)'"),
        ([Bare(), Bare()], "0 and 1 are both called '<"),
        ([lambda: 1, lambda: 2], "0 and 1 are both called '"),
    ],
    ids=["strings", "None", "list", "addresses", "lambdas"],
)
def test_options_that_look_the_same_are_refused(options, names):
    with pytest.raises(ValueError, match=f"^options {names}.*give options that differ, or a dict"):
        choice(options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "^options is {}: give at least one option"),
        ({1: "a"}, TypeError, "^options has the name 1: give names that are strings"),
        ({"": 1}, ValueError, "^options has the name '': give names of characters that print"),
        ({"a\x00": 1}, ValueError, r"^options has the name 'a\\x00': give names of characters"),
    ],
)
def test_names_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        choice(options)


@pytest.mark.parametrize(
    ("distribution", "value", "error", "message"),
    [
        (log_uniform(1e-4, 1), 2, ValueError, "rate is 2: give a number from 0.0001 to 1.0"),
        (log_uniform(1e-4, 1), math.nan, ValueError, "rate is nan: give a number from 0.0001 to"),
        (uniform(0, 1), "0.5", TypeError, "rate is '0.5': give a number"),
        (uniform(0, 1), True, TypeError, "rate is True: give a number"),
        (uniform(0, 1), None, TypeError, "rate is None: give a number"),
        (int_uniform(1, 9), 10, ValueError, "rate is 10: give a number from 1 to 9"),
        (int_uniform(1, 9), 0, ValueError, "rate is 0: give a number from 1 to 9"),
        (int_uniform(1, 9), 3.0, TypeError, "rate is 3.0: give a whole number"),
        (choice(["a", (1, 2)]), "b", ValueError, r"rate is 'b': give one of a, \(1, 2\)"),
        (choice([None]), "None", ValueError, "rate is 'None': give one of None"),
        (choice([np.ones(3)]), np.ones(3), ValueError, r"rate is array\(.*: give one of array"),
        (choice([1, 2]), True, ValueError, "rate is True: give one of 1, 2"),
        (choice([(1, 2)]), (1, 2, 3), ValueError, r"rate is \(1, 2, 3\): give one of \(1, 2\)"),
    ],
)
def test_values_that_are_refused(distribution, value, error, message):
    with pytest.raises(error, match=f"^{message}"):
        distribution.check(value, "rate")


@pytest.mark.parametrize("told", ["huge", 3, None, ["small"], (64,)])
def test_names_that_no_option_has(told):
    with pytest.raises(ValueError, match=r"^hidden is .*: give one of small, large"):
        choice({"small": (64,), "large": (512, 256)}).decode(told, "hidden")


@pytest.mark.parametrize(
    ("given", "kind"), [(3, float), (np.float32(0.5), float), (np.int8(2), float)], ids=shown
)
def test_a_number_of_an_interval_becomes_a_float(given, kind):
    assert type(uniform(0, 5).check(given, "x")) is kind


def test_descriptions_are_equal_where_distributions_are():
    again = [
        uniform(-2.0, np.int8(3)),
        log_uniform(1e-4, 1.0),
        one_minus_log_uniform(0.9, 0.999),
        int_uniform(-(2**63), 2**63 - 1),
        choice([[64], (256, 128), None, "relu", 1, 1.0, True, xn.LeakyReLU(0.2), plain]),
        choice({"small": [64], "large": (512, 256)}),
    ]
    others = [
        log_uniform(2, 3),
        uniform(2, 3),
        uniform(1, 3),
        int_uniform(2, 3),
        choice([2, 3]),
        choice([3, 2]),
        choice({"small": (32,), "large": (512, 256)}),
        choice({"large": (512, 256), "small": (64,)}),
        choice({"small": (64,), "big": (512, 256)}),
    ]
    told = [d.describe() for d in DISTRIBUTIONS]
    assert told == [d.describe() for d in again]
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    texts = [json.dumps(d.describe()) for d in DISTRIBUTIONS + others]
    assert len(set(texts)) == len(texts)


def test_a_distribution_of_ones_own_is_told_by_what_it_shows():
    assert Fixed().describe() == {"kind": "Fixed", "is": "Fixed()"}
    assert Fixed().check([1], "x") == [1]
    assert Fixed().encode(0.5) == Fixed().decode(0.5, "x") == 0.5
