"""Distributions of hyper-parameters: their scales, their ends, and how they are drawn from."""

import math
import zlib
from dataclasses import FrozenInstanceError
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, spearmanr
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV
from sklearn.tree import DecisionTreeClassifier

from xpnet.randomness import Purpose, generator
from xpnet.search.distributions import (
    LARGEST,
    Distribution,
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from xpnet.search.space import grid, random_draws

#: Name: a distribution over an interval, and its scale.
INTERVALS = {
    "uniform": (uniform(-2, 3), lambda x: x),
    "log_uniform": (log_uniform(3e-3, 0.2), np.log10),
    "log_uniform_above_1": (log_uniform(2, 5e4), np.log10),
    "one_minus_log_uniform": (one_minus_log_uniform(0.9, 0.999), lambda x: np.log10(1 - x)),
    "one_minus_from_0": (one_minus_log_uniform(0, 0.99), lambda x: np.log10(1 - x)),
}
each_interval = pytest.mark.parametrize(("interval", "scale"), INTERVALS.values(), ids=INTERVALS)

SPACE = {
    "learning_rate": log_uniform(1e-4, 1),
    "beta": one_minus_log_uniform(0.9, 0.999),
    "dropout": uniform(0, 0.5),
    "units": int_uniform(10, 100),
    "activation": choice(["relu", "tanh", "sigmoid"]),
}
each_of_the_space = pytest.mark.parametrize("name", SPACE)


def draws(distribution, n=20_000, seed=0):
    source = np.random.default_rng(seed)
    return [distribution.draw(source) for _ in range(n)]


def p_uniform(values, low, high):
    """Return how likely it is that uniform draws from [low, high] look less uniform than these."""
    return kstest(values, "uniform", (low, high - low)).pvalue


class Fixed:
    """A generator whose one number is given."""

    def __init__(self, u):
        self.u = u

    def random(self):
        return self.u


def pairs(low=-LARGEST, high=LARGEST, **more):
    """Draw two numbers, the first below the second."""
    numbers = st.floats(low, high, **more)
    return st.tuples(numbers, numbers).map(sorted).filter(lambda pair: pair[0] < pair[1])


#: Name: what makes a distribution, and ends it takes.
ENDS = {
    "uniform": (uniform, pairs()),
    "log_uniform": (log_uniform, pairs(0, exclude_min=True)),
    "one_minus_log_uniform": (one_minus_log_uniform, pairs(0, 1, exclude_max=True)),
}
each_kind_of_ends = pytest.mark.parametrize(("make", "ends"), ENDS.values(), ids=ENDS)


# -- the scales ----


@each_interval
def test_draws_are_spread_evenly_on_the_scale(interval, scale):
    low, high = sorted(scale(np.array([interval.low, interval.high])))
    values = scale(np.array(draws(interval)))
    assert p_uniform(values, low, high) > 0.01
    # The same test tells an interval that is a little wider.
    assert p_uniform(values, low, high + (high - low) / 30) < 1e-6


@each_interval
def test_draws_run_from_end_to_end(interval, scale):
    found = [interval.draw(Fixed(u)) for u in (0.0, 0.5, 1 - 2**-53)]
    expected = [interval.low, *interval.grid(1), interval.high]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_each_decade_gets_its_share_on_a_log_scale_alone():
    def shares(distribution):
        return np.histogram(draws(distribution), [1e-4, 1e-3, 1e-2, 1e-1, 1])[0] / 20_000

    np.testing.assert_allclose(shares(log_uniform(1e-4, 1)), 0.25, atol=0.012)  # 4 σ
    # "The majority of the random points will likely be in [0.1, 1]."
    np.testing.assert_allclose(
        shares(uniform(1e-4, 1)), np.diff([1e-4, 1e-3, 1e-2, 1e-1, 1]) / (1 - 1e-4), atol=0.009
    )


def notes_scale(k, p):
    """Return k draws as the notes' 8.0.1 draws them."""
    return 10 ** (p * np.random.default_rng(0).random(k))


def test_it_is_the_notes_scale_where_that_begins_at_1():
    # Ours begins at low, theirs at high.
    np.testing.assert_allclose(
        draws(log_uniform(1e-4, 1), 500), 1e-4 / notes_scale(500, -4), rtol=1e-12
    )


@pytest.mark.parametrize("p", [*np.linspace(-4, 4, 17), math.log10(3e-3), math.log10(0.2)])
def test_the_notes_scale_has_no_place_for_another_interval(p):
    def outside(values):
        return np.mean((np.array(values) < 3e-3) | (np.array(values) > 0.2))

    # It begins at 1, whatever p is: at least 28 % of its draws lie above 0.2 or below 3e-3.
    assert outside(notes_scale(5000, p)) > 0.25
    assert outside(draws(log_uniform(3e-3, 0.2), 5000)) == 0


def test_one_over_one_minus_beta_is_what_is_spread_evenly():
    # Remark 8.1: 0.999 weighs 1000 days and 0.9995 weighs 2000.
    def days(values):
        return 1 / (1 - np.array(values))

    betas = one_minus_log_uniform(0.9, 0.9995)
    np.testing.assert_allclose(days([0.999, 0.9995]), [1000, 2000])
    assert p_uniform(np.log10(days(draws(betas))), 1, math.log10(2000)) > 0.01
    np.testing.assert_allclose(days(betas.grid(5)), np.geomspace(10, 2000, 5), rtol=1e-10)
    # Without the scale one draw in two hundred weighs over 1000 days, with it one in eight.
    over = [np.mean(days(draws(d)) > 1000) for d in (uniform(0.9, 0.9995), betas)]
    np.testing.assert_allclose(over, [0.0005 / 0.0995, math.log(2) / math.log(200)], rtol=0.15)


@pytest.mark.parametrize(("low", "high"), [(1, 6), (-3, 3), (0, 1)])
def test_whole_numbers_are_equally_likely_and_both_ends_are_among_them(low, high):
    values, counts = np.unique(draws(int_uniform(low, high)), return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    assert chisquare(counts).pvalue > 0.01


def test_options_are_equally_likely():
    counts = np.unique(draws(SPACE["activation"]), return_counts=True)[1]
    assert len(counts) == 3
    assert chisquare(counts).pvalue > 0.01


# -- never outside, and no NumPy scalars ----


@each_kind_of_ends
@given(data=st.data())
def test_nothing_lies_outside(make, ends, data):
    low, high = data.draw(ends)
    interval = make(low, high)
    u = data.draw(st.floats(0, 1, exclude_max=True))
    values = [interval.draw(Fixed(u)), *interval.grid(1), *interval.grid(7)]
    assert all(type(value) is float and low <= value <= high for value in values)


@pytest.mark.parametrize(
    ("interval", "u"),
    [
        (log_uniform(0.005, 0.5), 0.0),  # 10^(log₁₀ 0.005) is 0.004999999999999999
        (log_uniform(3e-5, 3e-3), 1 - 2**-53),
        (one_minus_log_uniform(0.1, 0.9), 0.0),
    ],
    ids=str,
)
def test_rounding_does_not_lead_out(interval, u):
    assert interval.low <= interval.draw(Fixed(u)) <= interval.high


@each_kind_of_ends
@given(data=st.data())
def test_a_grid_rises_from_end_to_end(make, ends, data):
    low, high = data.draw(ends)
    points = make(low, high).grid(data.draw(st.integers(2, 12)))
    assert (points[0], points[-1]) == (low, high)
    assert points == sorted(points)


def test_a_grid_rises_between_neighbouring_numbers_too():
    low, high = 9.999999999999998e299, 9.999999999999999e299
    points = uniform(low, high).grid(5)
    assert points == sorted(points)
    assert (points[0], points[-1]) == (low, high)


@given(st.integers(-(2**63), 2**63 - 2), st.integers(1, 2**64 - 1), st.integers(1, 50))
def test_a_grid_of_whole_numbers_is_as_even_as_it_can_be(low, span, n):
    high = min(low + span, 2**63 - 1)
    points = int_uniform(low, high).grid(n)
    assert len(points) == min(n, high - low + 1)
    assert all(type(point) is int for point in points)
    if n == 1:
        assert points == [(low + high) // 2]
        return
    assert (points[0], points[-1]) == (low, high)
    steps = [b - a for a, b in pairwise(points)]
    assert min(steps) >= 1
    assert max(steps) - min(steps) <= 1


@each_of_the_space
def test_values_are_pythons_own(name):
    distribution = SPACE[name]
    kind = {"units": int, "activation": str}.get(name, float)
    values = [*draws(distribution, 5), *distribution.grid(4), *distribution.rvs(3, 0)]
    assert {type(value) for value in values} == {kind}


@pytest.mark.parametrize(
    "interval",
    [
        uniform(np.float32(1), np.int8(100)),
        log_uniform(np.float16(1), np.float64(100)),
        int_uniform(np.int8(1), np.uint8(100)),
    ],
    ids=str,
)
def test_ends_may_be_numpys(interval):
    values = [*draws(interval, 5), *interval.grid(4)]
    assert (values[-4], values[-1]) == (1, 100)
    assert {type(value) for value in values} <= {int, float}


def test_64_bits_can_be_drawn():
    values = draws(int_uniform(-(2**63), 2**63 - 1), 100)
    assert min(values) < -(2**62) < 2**62 < max(values)


def test_an_option_is_handed_out_itself():
    options = [None, (1, 2), {"a": 1}, [3]]
    given_out = [*draws(choice(options), 100), *choice(options).grid(1)]
    assert {id(option) for option in given_out} == {id(option) for option in options}


def test_an_arrays_options_become_pythons():
    assert {type(value) for value in draws(choice(np.array([1.5, 2.5])), 20)} == {float}


def test_a_distribution_stays_as_it_is():
    options = ["a", "b"]
    distribution = choice(options)
    options.append("c")
    assert distribution.grid(1) == ["a", "b"]
    with pytest.raises(FrozenInstanceError):
        distribution.options = ("c",)


# -- grids ----


@pytest.mark.parametrize(
    ("distribution", "n", "expected"),
    [
        (uniform(0, 1), 11, [i / 10 for i in range(11)]),
        (uniform(-1, 3), 1, [1.0]),
        (uniform(-1, 3), 2, [-1.0, 3.0]),
        (log_uniform(1e-4, 1), 5, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),  # the notes' partition
        (log_uniform(1e-4, 1), 1, [1e-2]),
        (log_uniform(1e-3, 1e3), 7, [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0]),
        (one_minus_log_uniform(0.9, 0.999), 3, [0.9, 0.99, 0.999]),
        (one_minus_log_uniform(0.9, 0.999), 1, [0.99]),
        (one_minus_log_uniform(0, 0.99), 3, [0.0, 0.9, 0.99]),
        (int_uniform(1, 10), 1, [5]),
        (int_uniform(1, 10), 2, [1, 10]),
        (int_uniform(1, 10), 4, [1, 4, 7, 10]),
        (int_uniform(1, 4), 3, [1, 3, 4]),
        (int_uniform(-1, 1), 100, [-1, 0, 1]),
    ],
    ids=str,
)
def test_grid_of_a_distribution(distribution, n, expected):
    assert distribution.grid(n) == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("n", [1, 9])
def test_a_grid_of_options_holds_all(n):
    assert choice(["a", "b", "c"]).grid(n) == ["a", "b", "c"]


def test_a_full_grid_holds_each_with_each_and_the_last_name_fastest():
    space = {
        "l2": log_uniform(0.01, 1),
        "units": int_uniform(1, 9),
        "init": choice(["he", "lecun"]),
    }
    expected = product([0.01, 0.1, 1.0], [1, 5, 9], ["he", "lecun"])
    settings = grid(space, 3)
    assert [tuple(setting.values()) for setting in settings] == list(expected)
    assert {tuple(setting) for setting in settings} == {("l2", "units", "init")}


def test_a_full_grid_with_a_number_for_each_name():
    space = {"l2": log_uniform(0.01, 1), "units": int_uniform(1, 9)}
    expected = product([0.1], [1, 3, 5, 7, 9])
    settings = grid(space, {"units": 5, "l2": 1})
    assert settings == [{"l2": l2, "units": units} for l2, units in expected]


# -- random draws ----


def test_more_draws_extend_the_list():
    assert random_draws(SPACE, 20)[:7] == random_draws(SPACE, 7)


@each_of_the_space
def test_a_parameter_does_not_know_the_others(name):
    alone = [setting[name] for setting in random_draws({name: SPACE[name]}, 10, 3)]
    reverse = random_draws(dict(reversed(SPACE.items())), 10, 3)
    assert [setting[name] for setting in random_draws(SPACE, 10, 3)] == alone
    assert [setting[name] for setting in reverse] == alone
    assert len(set(alone)) > 1


def test_settings_have_the_names_in_order():
    assert {tuple(setting) for setting in random_draws(SPACE, 3)} == {tuple(SPACE)}


def test_a_draw_comes_from_the_seed_its_number_and_the_name():
    key = zlib.crc32(b"dropout")
    expected = [SPACE["dropout"].draw(generator(5, Purpose.SEARCH, i, key)) for i in range(4)]
    assert [setting["dropout"] for setting in random_draws(SPACE, 4, random_state=5)] == expected


def test_another_seed_gives_other_draws():
    assert random_draws(SPACE, 5, 0) == random_draws(SPACE, 5)
    zero, one = (random_draws(SPACE, 5, seed) for seed in (0, 1))
    assert not {s["dropout"] for s in zero} & {s["dropout"] for s in one}


def spread(settings):
    """Return two names' draws, as shares of their intervals."""
    return np.array([(math.log10(s["learning_rate"]) / 4 + 1, s["dropout"] * 2) for s in settings])


def one_after_the_other(n):
    source = np.random.RandomState(1)
    return [{name: d.rvs(None, source) for name, d in SPACE.items()} for _ in range(n)]


@pytest.mark.parametrize(
    "settings",
    [
        lambda n: random_draws(SPACE, n),
        lambda n: ParameterSampler(SPACE, n, random_state=0),
        one_after_the_other,
    ],
    ids=["random_draws", "ParameterSampler", "RandomState"],
)
def test_draws_are_uniform_and_independent(settings):
    rates, dropouts = spread(settings(2000)).T
    assert p_uniform(rates, 0, 1) > 0.01
    assert p_uniform(dropouts, 0, 1) > 0.01
    for a, b in [(rates, dropouts), (rates[1:], rates[:-1]), (dropouts[1:], rates[:-1])]:
        assert abs(spearmanr(a, b).statistic) < 0.08  # 3.6 σ


# -- rvs, and scikit-learn ----


@each_of_the_space
@pytest.mark.parametrize(
    "make", [int, np.int64, np.random.RandomState, np.random.default_rng], ids=lambda m: m.__name__
)
def test_rvs_gives_the_same_from_the_same_random_state(name, make):
    first, second, other = (SPACE[name].rvs(50, make(seed)) for seed in (7, 7, 8))
    assert first == second != other
    # One alone is no list.
    assert SPACE[name].rvs(random_state=make(7)) == SPACE[name].rvs(size=1, random_state=make(7))[0]


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_rvs_goes_on_in_a_generators_stream(make):
    source = make(0)
    assert len({SPACE["dropout"].rvs(random_state=source) for _ in range(20)}) == 20


def test_rvs_without_a_random_state_gives_other_values_each_time():
    assert len({SPACE["dropout"].rvs() for _ in range(20)}) == 20


def test_scikit_learns_sampler_draws_from_a_space():
    first, second = (list(ParameterSampler(SPACE, 10, random_state=4)) for _ in range(2))
    assert first == second != list(ParameterSampler(SPACE, 10, random_state=5))
    # Lists may stand beside distributions, as ever.
    mixed = list(ParameterSampler({"units": SPACE["units"], "l2": [0.5]}, 5, random_state=0))
    assert [setting["l2"] for setting in mixed] == [0.5] * 5
    assert all(10 <= setting["units"] <= 100 for setting in mixed)


def test_scikit_learns_random_search_searches_in_a_space():
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    space = {
        "max_depth": int_uniform(1, 4),
        "min_samples_split": uniform(0.1, 0.9),
        "ccp_alpha": log_uniform(1e-4, 1e-1),
        "criterion": choice(["gini", "entropy"]),
    }
    search = RandomizedSearchCV(
        DecisionTreeClassifier(random_state=0), space, n_iter=6, cv=3, random_state=0
    ).fit(X, y)
    tried = search.cv_results_["params"]
    assert tried == list(ParameterSampler(space, 6, random_state=0))
    assert len({setting["ccp_alpha"] for setting in tried}) == 6
    assert search.best_params_ in tried
    assert search.best_score_ > 0.9


# -- what is refused ----


@pytest.mark.parametrize("make", [uniform, log_uniform, one_minus_log_uniform, int_uniform])
class TestEnds:
    @pytest.mark.parametrize(("low", "high"), [(0.5, 0.25), (0.5, 0.5)])
    def test_low_is_below_high(self, make, low, high):
        if make is int_uniform:
            low, high = int(8 * low), int(8 * high)
        with pytest.raises(ValueError, match=f"^low is {low}, high is {high}: give low below high"):
            make(low, high)

    @pytest.mark.parametrize("bad", ["0.1", None, True, 1j, [0.1], np.array([0.1]), np.bool_(True)])
    def test_they_are_numbers(self, make, bad):
        with pytest.raises(TypeError, match=r"^low is .*: give a (whole )?number"):
            make(bad, 5)
        with pytest.raises(TypeError, match=r"^high is .*: give a (whole )?number"):
            make(0 if make is one_minus_log_uniform else 1, bad)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, np.float32("inf"), 1e301, 10**400])
    def test_they_are_finite(self, make, bad):
        low = 0 if make is one_minus_log_uniform else 1
        with pytest.raises(
            (TypeError, ValueError), match=r"^high is .*: give .*(up to|whole|less)"
        ):
            make(low, bad)
        with pytest.raises((TypeError, ValueError), match=r"^low is .*: give .*(up to|whole|more)"):
            make(-bad, 5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: log_uniform(0, 1), ValueError, "low is 0.0: give a number above 0"),
        (lambda: log_uniform(-1, 1), ValueError, "low is -1.0: give a number above 0"),
        (lambda: one_minus_log_uniform(-0.1, 0.9), ValueError, r"low is -0.1: give .* in \[0, 1\)"),
        (lambda: one_minus_log_uniform(0.9, 1), ValueError, r"high is 1.0: give .* in \[0, 1\)"),
        (lambda: int_uniform(1.0, 2), TypeError, "low is 1.0: give a whole number"),
        (lambda: int_uniform(1, 2**63), ValueError, "high is 9223372036854775808: give .* or less"),
        (lambda: choice([]), ValueError, r"options is \[\]: give at least one option"),
        (lambda: choice(np.array([])), ValueError, "give at least one option"),
        (lambda: choice("relu"), TypeError, "options is 'relu': give a list or tuple"),
        (lambda: choice({"relu", "tanh"}), TypeError, "options is .*: give a list or tuple"),
        (lambda: choice(3), TypeError, "options is 3: give a list or tuple"),
        (lambda: choice(np.array(3)), TypeError, "options is 3: give a list or tuple"),
        (lambda: uniform(0, 1).rvs(0), ValueError, "size is 0: give 1 or more"),
        (lambda: uniform(0, 1).rvs((2, 3)), TypeError, r"size is \(2, 3\): give a whole number"),
        (
            lambda: uniform(0, 1).rvs(None, "0"),
            TypeError,
            "random_state is '0': give None, a whole",
        ),
        (lambda: uniform(0, 1).rvs(None, True), TypeError, "random_state is True: give None"),
        (lambda: uniform(0, 1).rvs(None, -1), ValueError, "random_state is -1: give 0 or more"),
        (lambda: random_draws(SPACE, 0), ValueError, "n is 0: give 1 or more"),
        (lambda: random_draws(SPACE, 2.5), TypeError, "n is 2.5: give a whole number"),
        (lambda: random_draws(SPACE, 1, -1), ValueError, "random_state is -1: give 0 or more"),
        (lambda: random_draws(SPACE, 1, None), TypeError, "random_state is None: give a whole"),
        (lambda: grid(SPACE, 0), ValueError, "n is 0: give 1 or more"),
        (lambda: grid(SPACE, "3"), TypeError, "n is '3': give a whole number"),
        (
            lambda: grid({"a": uniform(0, 1)}, {"a": 0}),
            ValueError,
            r"n\['a'\] is 0: give 1 or more",
        ),
        (
            lambda: grid({"a": uniform(0, 1), "b": uniform(0, 1)}, {"a": 2}),
            ValueError,
            r"n has the names \['a'\]: give a number for each of \['a', 'b'\]",
        ),
        (
            lambda: grid({"a": uniform(0, 1)}, {"a": 2, "c": 2}),
            ValueError,
            r"n has the names \['a', 'c'\]: give a number for each of \['a'\]",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@each_of_the_space
@pytest.mark.parametrize("bad", [0, -3])
def test_a_grid_has_at_least_one_value(name, bad):
    with pytest.raises(ValueError, match=f"^n is {bad}: give 1 or more"):
        SPACE[name].grid(bad)


@pytest.mark.parametrize("use", [random_draws, grid])
@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({}, ValueError, "^space is {}: give at least one"),
        ({"a": 0.1}, TypeError, r"^space\['a'\] is 0.1: give a distribution such as log_uniform"),
        ({"a": [0.1, 1]}, TypeError, r"^space\['a'\] is \[0.1, 1\]: give a distribution"),
        ({"a": log_uniform}, TypeError, r"^space\['a'\] is <function"),
        ({1: uniform(0, 1)}, TypeError, "^space has the name 1: give names that are strings"),
        ([uniform(0, 1)], TypeError, "^space is .*: give a dict from names"),
    ],
)
def test_a_space_is_a_dict_of_distributions(use, space, error, message):
    with pytest.raises(error, match=message):
        use(space, 2)


@pytest.mark.parametrize("distribution", SPACE.values(), ids=SPACE)
def test_all_have_one_base(distribution):
    assert isinstance(distribution, Distribution)
