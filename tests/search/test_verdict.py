"""Whether a search was worth it: what is trained for it, and what is said."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind
from scripted import Blobs

from xpnet.search.search import ALL_FAIL
from xpnet.search.trials import State
from xpnet.search.verdict import CHANCE, Verdict, chance, compare
from xpnet.train.metrics import as_metric

NAN = math.nan


def verdict(default, best, minimize=True):
    p = chance(default, best) if minimize else chance(best, default)
    return Verdict("error", minimize, default, best, p)


def best_alone(subject, setting, repeat, metric):
    """Return the best objective over the epochs of a network trained alone, or the folds' mean."""
    curves = []
    for fold in range(subject.n_folds):
        made = subject.candidate(setting, repeat * subject.n_folds + fold)
        train, dev = subject.data.train, subject.data.dev
        if subject.data.folds is not None:
            own, held_out = subject.data.folds[fold]
            train, dev = (train[0][own], train[1][own]), (dev[0][held_out], dev[1][held_out])
        curves.append([])
        made.trainer.fit(
            *train,
            batch_size=made.batch_size,
            epochs=made.epochs,
            callbacks=[lambda t, row, dev=dev: curves[-1].extend(metric.measure(t.network, *dev))],
        )
    mean = np.mean(curves, axis=0)
    return min(mean) if metric.minimize else max(mean)


# -- what is trained ----


@pytest.mark.parametrize("members", [1, 2, 16])
@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("name", ["loss", "balanced_accuracy"])
def test_each_value_is_that_of_the_network_alone_with_another_seed(members, folds, name):
    subject, metric = Blobs(folds=folds), as_metric(name)
    settings = {"rate": 0.003}, {"rate": 0.03, "units": 4, "epochs": 4}
    found = compare(subject, metric, *settings, repeats=3, members=members)
    for values, setting in zip((found.default, found.best), settings, strict=True):
        expected = [best_alone(subject, setting, repeat, metric) for repeat in (1, 2, 3)]
        assert values == pytest.approx(expected, rel=1e-10)
        assert len(set(values)) > 1
    assert (found.metric, found.minimize) == (metric.name, metric.minimize)


@pytest.mark.parametrize("folds", [1, 3])
def test_no_seed_of_the_search_is_used(folds):
    subject = Blobs(folds=folds)
    compare(subject, as_metric("loss"), {}, {"p": 0.2}, repeats=2)
    for setting in ({}, {"p": 0.2}):
        asked = [repeat for given, repeat in subject.asked if given == setting]
        assert sorted(asked) == [*range(folds, 3 * folds)]


def test_a_difference_is_found_where_there_is_one():
    found = compare(Blobs(), as_metric("loss"), {"rate": 1e-5}, {"rate": 0.03})
    assert found.worth
    assert len(found.best) == len(found.default) == 5
    assert found.p < 0.01
    assert "the search was worth it: loss " in str(found)


def test_none_is_found_where_there_is_none():
    found = compare(Blobs(), as_metric("loss"), {}, {"rate": 0.01, "units": 8})
    assert found.default == found.best
    assert not found.worth
    assert str(found).startswith("the search has found nothing better than the default setting: ")


def test_what_is_watched():
    watched, epochs = [], []
    compare(
        Blobs(),
        as_metric("loss"),
        {"rate": 0.02},
        {},
        repeats=2,
        watch=watched.append,
        callbacks=[lambda trainer, row: epochs.append(row["epoch"])],
    )
    assert [t.setting["setting"] for t in watched] == [{"rate": 0.02}] * 2 + [{}] * 2
    assert {t.state for t in watched} == {State.COMPLETE}
    assert epochs == [*range(1, 7)] * 2


@pytest.mark.parametrize("fails", [{"rate": 1e308}, {"p": 1.5}], ids=["diverges", "no network"])
@pytest.mark.parametrize("repeats", [2, ALL_FAIL])
def test_a_setting_that_fails_each_time(fails, repeats):
    metric = as_metric("loss")
    found = compare(Blobs(epochs=2), metric, fails, {}, repeats=repeats)
    assert np.isnan(found.default).tolist() == [True] * repeats
    assert np.isfinite(found.best).all()
    assert found.worth
    assert f"against none of the default setting (0 and {repeats} trainings" in found.sentence
    found = compare(Blobs(epochs=2), metric, {}, fails, repeats=repeats)
    assert not found.worth
    assert found.sentence.startswith("the search has found nothing better than the default")


def test_what_is_wrong_with_the_data_is_no_setting_that_fails():
    subject = Blobs()
    subject.data.train[0][0, 0] = NAN
    with pytest.raises(ValueError, match="NaN"):
        compare(subject, as_metric("loss"), {}, {"p": 0.2}, repeats=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"repeats": 1}, ValueError, "^repeats is 1: give 2 or more"),
        ({"repeats": 2.0}, TypeError, "^repeats is 2.0: give a whole number"),
        ({"members": 0}, ValueError, "^members is 0: give 1 or more"),
    ],
)
def test_numbers_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        compare(Blobs(), as_metric("loss"), {}, {}, **options)


# -- what is said ----


@pytest.mark.parametrize(
    ("default", "best", "worth", "found"),
    [
        ([0.31, 0.33, 0.32], [0.21, 0.25, 0.23], True, "the search was worth it: "),
        ([0.31, 0.33, 0.32], [0.30, 0.34, 0.31], False, "nothing that is surely better than the "),
        ([0.31, 0.33, 0.32], [0.35, 0.36, 0.37], False, "nothing better than the default setting"),
        ([0.5, 0.5], [0.5, 0.5], False, "nothing better than the default setting"),
        ([0.5, 0.5], [0.25, 0.25], True, "the search was worth it: "),
        ([NAN, NAN, NAN], [0.3, 0.3, 0.3], True, "the search was worth it: "),
        ([NAN, NAN, 0.3], [0.3, 0.3, NAN], True, "the search was worth it: "),
        ([NAN, 0.5, 0.52], [0.3, 0.31, 0.3], True, "the search was worth it: "),
        ([0.5, 0.5, 0.5], [0.3, 0.3, NAN], False, "nothing that is surely better"),
        ([0.5, 0.5, 0.5], [NAN, NAN, NAN], False, "nothing better than the default"),
        ([NAN, NAN], [NAN, NAN], False, "nothing better than the default"),
    ],
)
@pytest.mark.parametrize("minimize", [True, False])
def test_worth_is_what_is_better_beyond_the_noise(default, best, worth, found, minimize):
    if not minimize:
        default, best = [1 - v for v in default], [1 - v for v in best]
    given = verdict(default, best, minimize)
    assert given.worth is worth
    assert found in given.sentence
    assert str(given) == given.sentence


def test_the_sentence_has_means_spreads_and_why():
    assert verdict([0.31, 0.33, 0.32], [0.21, 0.25, 0.23]).sentence == (
        "the search was worth it: error 0.23 ± 0.02 against 0.32 ± 0.01 of the default setting "
        "(beyond the noise between seeds, p = 0.0032; seeds: 3 each)"
    )
    within = verdict([0.31, 0.33, 0.32], [0.30, 0.34, 0.31]).sentence
    assert "(within the noise between seeds, p = 0.4" in within
    assert "(it is worse; seeds: 2 each)" in verdict([0.2, 0.3], [0.4, 0.4]).sentence
    assert "(no difference; seeds: 2 each)" in verdict([0.5, 0.5], [0.5, 0.5]).sentence
    assert "(1 and 2 trainings have failed;" in verdict([NAN, NAN, 1], [0.5, 0.5, NAN]).sentence


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_chance_is_welchs(scale):
    a, b = np.array([3.1, 2.9, 3.4, 3.3]), np.array([2.5, 2.9, 2.2])
    for more, less in ((a, b), (b, a)):
        expected = ttest_ind(more, less, equal_var=False, alternative="greater").pvalue
        found = chance([*(scale * more), NAN], [*(scale * less)])
        assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("more", "less", "expected"),
    [
        ([1.0, NAN], [0.5, 0.5], NAN),
        ([], [0.5, 0.5], NAN),
        ([0.5, 0.5], [0.5, 0.5], 1),
        ([0.0, 0.0], [0.0, 0.0], 1),
        ([0.5, 0.5], [0.6, 0.6], 1),
        ([0.6, 0.6], [0.5, 0.5], 0),
        ([0.6, 0.6 + 1e-16], [0.5, 0.5], 0),
    ],
)
def test_chance_where_there_is_no_noise(more, less, expected):
    assert chance(more, less) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_two_settings_that_are_equally_good_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    found = [verdict(*rng.normal(0.3, 0.02, (2, 5)).tolist()).worth for _ in range(2000)]
    assert np.mean(found) == pytest.approx(CHANCE, abs=0.015)  # 3 σ
