"""Medians, quartile ranges and the smooth clip, against NumPy's quantiles and the formula."""

import json
from fractions import Fraction

import numpy as np
import pytest

from xpnet.data import quantiles
from xpnet.data.quantiles import Sample, spread
from xpnet.data.scaling import Scales, Scaling, smooth_clip, split
from xpnet.tabular.features import preprocessing

DRAW = np.random.default_rng(0)
NORMAL = DRAW.normal(size=61)
ROBUST = Scaling("median")
REALMLP = Scaling("median", clip=3.0)
LARGE = 17 * 10**17


def directly(rows, clip=None):
    """Return an array's columns as RealMLP scales them, by the paper's formula."""
    low, median, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
    scale = np.where(high > low, high - low, (rows.max(axis=0) - rows.min(axis=0)) / 2)
    found = (rows - median) / scale
    return found if clip is None else found / np.sqrt(1 + (found / clip) ** 2)


def again(learnt):
    """Return features as a file gives them back."""
    config = json.loads(json.dumps(learnt.config()))
    found = preprocessing.from_config(config)
    assert found.config() == config
    return found


ROWS = np.column_stack(
    [
        3 + NORMAL,
        np.exp(3 * NORMAL),  # a heavy tail
        np.where(NORMAL > 1.5, 8.0, 2.0),  # quartiles that are the same
        DRAW.integers(0, 2, 61),
        1e200 * NORMAL,
        1e-200 * NORMAL,
    ]
)


def test_quartiles_may_lie_further_apart_than_float64_can_tell():
    rows = np.repeat([[-1.7e308], [0.0], [1.7e308]], [20, 1, 20], axis=0)
    learnt = again(preprocessing.learn(rows, scaling=ROBUST))
    assert learnt.transform(rows, np.float64)[[0, 20, 40], 0] == pytest.approx(
        [-0.945, 0, 0.945], 0.01
    )


@pytest.mark.parametrize("clip", [None, 3.0, 0.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_are_scaled_by_medians_and_quartile_ranges(clip, dtype):
    learnt = again(preprocessing.learn(ROWS, scaling=Scaling("median", clip)))
    found = learnt.transform(ROWS, dtype)
    rtol = 1e-12 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(found, directly(ROWS, clip), rtol=rtol, atol=rtol)
    assert clip is None or abs(found).max() <= clip


def test_means_can_be_clipped_too():
    found = again(preprocessing.learn(ROWS, scaling=Scaling(clip=3.0))).transform(ROWS, np.float64)
    plain = preprocessing.learn(ROWS).transform(ROWS, np.float64)
    np.testing.assert_allclose(found, plain / np.sqrt(1 + plain**2 / 9), rtol=1e-12)


def test_a_table_is_scaled_like_an_array_and_marks_and_codes_stay(pd):
    kinds = {f"c{i}": column for i, column in enumerate(ROWS.T)}
    gappy = np.where(NORMAL > 0.7, np.nan, ROWS[:, 1])
    frame = pd.DataFrame({**kinds, "gappy": gappy, "kind": np.where(NORMAL > 0, "a", "b")})
    learnt = again(preprocessing.learn(frame, scaling=REALMLP))
    found = learnt.transform(frame, np.float64)
    np.testing.assert_allclose(found[:, :6], directly(ROWS, 3.0), rtol=1e-12, atol=1e-12)
    there = ~np.isnan(gappy)
    expected = directly(gappy[there][:, None], 3.0)[:, 0]
    np.testing.assert_allclose(found[there, 6], expected, rtol=1e-12, atol=1e-12)
    assert (found[~there, 6] == 0).all()  # the median
    np.testing.assert_array_equal(found[:, 7], ~there)
    np.testing.assert_array_equal(found[:, 8], NORMAL <= 0)
    told = learnt.became()["gappy"]
    assert told.startswith("less the median, over the quartile range, smoothly clipped at 3, gaps")


@pytest.mark.parametrize("kind", ["int64", "uint64", "Int64"])
def test_numbers_of_18_digits_keep_all_of_them(pd, kind):
    whole = LARGE + DRAW.integers(-50, 50, 61)
    numbers = sorted(Fraction(int(value)) for value in whole)
    at = {q: numbers[15 * q] for q in (1, 2, 3)}  # of 61 the quartiles are numbers of the column
    expected = [float((int(v) - at[2]) / (at[3] - at[1])) for v in whole]
    frame = pd.DataFrame({"a": pd.array(whole, dtype=kind), "b": NORMAL})
    rows = [frame] if kind == "Int64" else [frame, whole.astype(kind)[:, None]]
    for each in rows:
        learnt = again(preprocessing.learn(each, scaling=ROBUST))
        found = learnt.transform(each, np.float64)[:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_a_constant_column_is_as_it_is_without():
    rows = np.column_stack([np.full(9, 0.3), np.full(9, 7), NORMAL[:9]])
    rows[0, 0] = 0.1 + 0.2  # but for rounding
    found, usual = (Scales.learn(rows, "X", scaling) for scaling in (ROBUST, Scaling()))
    np.testing.assert_array_equal(found.scale[:2], usual.scale[:2])
    assert found.scale[0] == 1.0
    np.testing.assert_allclose(found.mean[:2], usual.mean[:2], rtol=1e-15)


def test_a_table_without_numbers_has_no_spread():
    for found in spread([np.zeros((3, 0)), np.zeros((2, 0))]):
        assert found.shape == (0,)


def test_noise_between_quartiles_is_no_scale():
    column = np.where(NORMAL > 0, 0.1 + 0.2, 0.3)
    column[:2] = 5.0
    assert Scales.learn(column[:, None], "X", ROBUST).scale == pytest.approx(4.7 / 2)


def test_pixels_that_share_a_unit_stay_as_they_are():
    rows = DRAW.integers(0, 17, (100, 64))
    assert preprocessing.learn(rows, scaling=REALMLP).config() == preprocessing.learn(rows).config()


def test_far_values_are_clipped_and_never_infinite():
    learnt = preprocessing.learn(NORMAL[:, None], scaling=REALMLP)
    far = np.array([[1e300], [-1e200], [1e30]])
    np.testing.assert_allclose(learnt.transform(far, np.float32), [[3], [-3], [3]])
    values = np.array([1e308, -1e-308, 0.0, 4.0])
    np.testing.assert_allclose(smooth_clip(values, 3.0), [3, -1e-308, 0, 4 / np.sqrt(1 + 16 / 9)])


# -- rows that come some at a time ----


@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_make_no_difference(size, monkeypatch):
    whole = Scales.learn(ROWS, "X", ROBUST)
    monkeypatch.setattr("xpnet.data.scaling.CHUNK", size)
    parts = Scales.learn(ROWS, "X", ROBUST)
    np.testing.assert_array_equal(parts.mean, whole.mean)
    np.testing.assert_array_equal(parts.scale, whole.scale)


def test_of_many_rows_some_are_drawn_the_same_ones_however_they_come(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_ROWS", 2000)
    rows = DRAW.normal(size=(50_000, 2)) * [1.0, 100.0]
    rows[::7, 1] = np.nan
    found = [
        spread(rows[start : start + size] for start in range(0, len(rows), size))
        for size in (50_000, 9_999, 611)
    ]
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found[0].whole_range, np.ptp(np.nan_to_num(rows), axis=0))
    # Of 2000 normal numbers a quartile has a standard error of 0.03.
    np.testing.assert_allclose(found[0].median / [1, 100], 0, atol=0.12)
    np.testing.assert_allclose(found[0].quartile_range / [1, 100], 1.349, atol=0.17)


def test_a_sample_is_all_rows_if_they_are_few_and_else_bounded(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_ROWS", 100)
    for n in (1, 99, 100, 101, 201, 1000):
        sample, held = Sample(), 0
        for start in range(0, n, 10):
            sample.add(np.arange(start, min(n, start + 10))[:, None].astype(float))
            held = max(held, sum(map(len, sample._rows)))
        rows = sample.rows()
        assert rows.shape == (min(n, 100), 1)
        assert len(np.unique(rows)) == len(rows)
        assert held <= 200
    assert rows.mean() == pytest.approx(500, abs=100)


def test_wide_tables_are_drawn_from_earlier(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_NUMBERS", 4000)
    monkeypatch.setattr(quantiles, "FEWEST_ROWS", 50)
    for m, kept in ((2, 2000), (10, 400), (1000, 50)):
        sample = Sample()
        sample.add(np.zeros((3000, m)))
        assert len(sample.rows()) == kept


# -- what files say ----


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"centre": "mode"}, "centre is 'mode'"),
        ({"centre": "mean"}, "numbers are scaled by 'mean'"),  # nobody writes it
        ({"centre": ["median"]}, r"centre is \['median'\]"),
        ({"clip": None}, "numbers are scaled by"),
        ({"clip": 3}, "numbers are scaled by"),
        ({"clip": True}, "numbers are scaled by"),
        ({"clip": "3"}, "numbers are scaled by"),
        ({"clip": 0.0}, "clip is 0"),
        ({"clip": -1.0}, "clip is -1"),
        ({"clip": float("inf")}, "clip is inf"),
        ({"clip": float("nan")}, "clip is nan"),
    ],
)
def test_a_file_with_another_scaling_is_refused(told, message):
    config = preprocessing.learn(ROWS).config() | told
    with pytest.raises((TypeError, ValueError), match=message):
        preprocessing.from_config(config)


def test_what_is_usual_is_not_in_a_file():
    usual, robust = (preprocessing.learn(ROWS, scaling=s).config() for s in (Scaling(), REALMLP))
    assert not {"centre", "clip"} & usual.keys()
    assert (robust["centre"], robust["clip"]) == ("median", 3.0)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"centre": "mode"}, ValueError), ({"clip": 0}, ValueError), ({"clip": "3"}, TypeError)],
)
def test_a_scaling_that_is_none_is_refused(options, error):
    with pytest.raises(error):
        Scaling(**options)


def test_scales_of_nothing_but_a_clip_restore_what_is_not_clipped():
    scales = Scales.learn(ROWS, "X", ROBUST)
    np.testing.assert_allclose(scales.restore(scales.standardise(split(ROWS))), ROWS, rtol=1e-12)


def test_numbers_that_dwarf_the_others_are_told_of():
    """From some 10¹⁵ quartile ranges on the others are rounding beside them."""
    rows = np.random.default_rng(0).normal(size=(400, 2))
    rows[:4, 1] = 1e20
    with pytest.warns(UserWarning, match="column 1 of X has numbers so far from the others"):
        Scales.learn(rows, "X", Scaling("median", clip=3.0))
    rows[:4, 1] = 1e12
    scales = Scales.learn(rows, "X", Scaling("median", clip=3.0))  # and nothing is told
    assert scales.scale[1] == pytest.approx(1.35, rel=0.1)


@pytest.mark.parametrize("column", [np.arange(100) % 2, np.arange(100) >= 90, np.arange(100)])
def test_few_values_are_no_such_numbers(column):
    scales = Scales.learn(column[:, None].astype(float), "X", Scaling("median"))
    assert scales.scale[0] > 0
