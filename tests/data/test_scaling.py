"""Means and deviations of columns of any size and type, against exact arithmetic."""

import json
from fractions import Fraction

import numpy as np
import pytest

from xpnet.data.scaling import Scales
from xpnet.tabular.features import preprocessing
from xpnet.tabular.target import Target

LARGE = 17 * 10**17
DRAW = np.random.default_rng(0)
NORMAL, SMALL = DRAW.normal(size=60), DRAW.integers(-10, 10, 60)

COLUMNS = {
    "near 1": 3.0 + NORMAL,
    "whose squares underflow": 1e-200 * NORMAL,
    "whose squares overflow": 1e300 * NORMAL,
    "the largest there are": np.where(NORMAL > 0, 1.7e308, -1.7e308),
    "smaller than normal numbers": 1e-314 * np.where(NORMAL > 0, 900.0, -400.0),
    "whole, round 1.7e18": LARGE + SMALL,
    "two neighbours near 2**53": 2**53 + (NORMAL > 0),
    "unsigned beyond int64": np.uint64(2**63) + (SMALL + 10).astype(np.uint64),
    "the whole of int64": np.where(NORMAL > 0, 2**63 - 1, -(2**63)),
    "floating, round 1.7e18": LARGE + np.round(1e5 * NORMAL),
    "truth values": NORMAL > 0,
    "uint8": (SMALL + 10).astype(np.uint8),
    "float16, whose sum overflows": (60_000 + 100 * SMALL).astype(np.float16),
    "float32": (1e-30 * NORMAL).astype(np.float32),
    "long double": np.longdouble(LARGE) + NORMAL.astype(np.longdouble),
}

each_column = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


def exactly_standardised(column):
    """Return a column less its mean over its deviation, by fractions."""
    if column.dtype == np.longdouble:  # which Fraction takes for a float64
        high = column.astype(np.float64)
        pairs = zip(high.tolist(), (column - high).astype(np.float64).tolist(), strict=True)
        numbers = [Fraction(a) + Fraction(b) for a, b in pairs]
    else:
        numbers = [Fraction(value) for value in column.tolist()]
    mean = sum(numbers) / len(numbers)
    apart = [number - mean for number in numbers]
    largest = max(map(abs, apart))
    shares = np.array([float(a / largest) for a in apart])
    return shares / np.sqrt(np.mean(shares**2))


@each_column
def test_features_of_every_size_and_type_are_standardised(column):
    rows = np.column_stack([column, column[::-1]])
    learnt = preprocessing.from_config(json.loads(json.dumps(preprocessing.learn(rows).config())))
    wanted = exactly_standardised(column)
    for dtype in (np.float64, np.float32):
        found = learnt.transform(rows, dtype)
        np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(found[::-1, 1], wanted, rtol=1e-6, atol=2e-6)


@each_column
def test_a_frames_columns_are_standardised_as_an_array_is(pd, column):
    if column.dtype == np.longdouble:  # a frame's are taken as float64
        column = (LARGE + 1e5 * (column - LARGE)).astype(np.float64)
    frame = pd.DataFrame({"a": column, "b": SMALL})
    found = preprocessing.learn(frame).transform(frame, np.float64)
    np.testing.assert_allclose(found[:, 0], exactly_standardised(column), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "int64[pyarrow]", "float64"])
def test_a_frames_gaps_are_left_out_of_mean_and_deviation(pd, dtype):
    base = 1000 if dtype == "float64" else LARGE
    values = [base + 1, base + 3, None, base + 5]
    frame = pd.DataFrame({"a": pd.array(values, dtype=dtype)})
    found = preprocessing.learn(frame).transform(frame, np.float64)
    np.testing.assert_allclose(found[:, 0], np.array([-2, 0, 0, 2]) / np.sqrt(2), rtol=1e-12)
    np.testing.assert_array_equal(found[:, 1], [0, 0, 1, 0])


@each_column
def test_a_target_of_every_size_and_type_is_standardised_and_comes_back(column):
    if column.dtype == bool:
        pytest.skip("truth values are classes")
    if column.dtype == np.longdouble:  # a target's are taken as float64
        column = LARGE + 1e5 * (column - LARGE)
    target = Target.learn(column, "regression")
    target.standardise(column)
    target = Target.from_config(json.loads(json.dumps(target.config())))
    found = target.encode(column)
    column = column.astype(np.float64) if column.dtype == np.longdouble else column
    np.testing.assert_allclose(found, exactly_standardised(column), rtol=1e-6, atol=2e-6)
    again, largest = target.decode(found), abs(column.astype(np.float64)).max()
    np.testing.assert_allclose(again / largest, column / largest, rtol=0, atol=1e-15)


def test_rows_are_centred_by_a_mean_from_rows_of_another_type():
    whole = LARGE + SMALL[:, None]
    learnt = preprocessing.learn(whole)
    shifted = preprocessing.learn(whole.astype(np.uint64))
    wanted = learnt.transform(whole, np.float64)
    for rows in (whole.astype(np.uint64), whole.astype(np.longdouble)):
        np.testing.assert_array_equal(learnt.transform(rows, np.float64), wanted)
        np.testing.assert_array_equal(shifted.transform(rows, np.float64), wanted)
    assert abs(learnt.transform(whole.astype(np.float64), np.float64)).max() < 128


@pytest.mark.parametrize(
    ("column", "constant"),
    [
        ([0.1 + 0.2, 0.3, 0.3], True),
        ([-7.0, -7.0, -7.0], True),
        ([1.0, 1.0 + 8 * 2.0**-52, 1.0], False),
        ([2**53, 2**53 + 1, 2**53], False),
        ([2**62, 2**62, 2**62], True),
        ([5e-324, 0.0, 0.0], False),
        ([0.0, 0.0, -0.0], True),
        ([True, True, True], True),
    ],
    ids=str,
)
def test_a_column_is_constant_if_least_and_largest_are_the_same_but_for_rounding(column, constant):
    rows = np.array(column)[:, None]
    scales = Scales.learn(rows, "X")
    assert (scales.scale == 1.0) == constant
    found = preprocessing.learn(rows).transform(rows, np.float64)
    assert abs(found).max() < 1e-15 if constant else found.std() > 0.3


@pytest.mark.parametrize("size", [1e300, -1e300, 1e20, 1.7e18, 0.3, 1e-200])
def test_noise_of_a_constant_column_is_at_most_1(pd, size):
    column = np.where(NORMAL > 0, size, np.nextafter(size, np.inf))
    column[:2] = np.nextafter(column[:2], np.inf)
    frame = pd.DataFrame({"a": column, "b": NORMAL, "gaps": np.where(SMALL > 0, column, np.nan)})
    target = Target.learn(column, "regression")
    target.standardise(column)
    rows = np.c_[column, NORMAL]
    for found in (
        preprocessing.learn(rows).transform(rows, np.float32)[:, 0],
        *preprocessing.learn(frame).transform(frame, np.float32)[:, [0, 2]].T,
        target.encode(column),
    ):
        assert abs(found).max() <= 1
        assert abs(found).max() < 1e-15 or size > 1 or size < -1
    np.testing.assert_allclose(target.decode(target.encode(column)), column, rtol=1e-15)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_a_frames_sparse_columns_are_standardised_as_dense_ones(pd, fill):
    dense = pd.DataFrame({"a": np.where(SMALL > 5, NORMAL, fill), "b": NORMAL, "c": SMALL})
    kinds = {"a": pd.SparseDtype(float, fill), "b": pd.SparseDtype("float32"), "c": "Sparse[int]"}
    dense["b"] = dense["b"].astype(np.float32)
    sparse = dense.astype(kinds)
    found = preprocessing.learn(sparse).transform(sparse, np.float64)
    np.testing.assert_array_equal(found, preprocessing.learn(dense).transform(dense, np.float64))


def test_chunks_make_no_difference(monkeypatch):
    rows = np.column_stack([COLUMNS["near 1"], COLUMNS["whole, round 1.7e18"]]).astype(np.int64)
    whole = Scales.learn(rows, "X").config()
    monkeypatch.setattr("xpnet.data.scaling.CHUNK", 7)
    for name, values in Scales.learn(rows, "X").config().items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)


def test_columns_that_share_a_unit_are_standardised_in_float64():
    rows = DRAW.integers(0, 256, (3000, 16)).astype(np.float16)  # whose sum is infinite
    found = preprocessing.learn(rows).transform(rows, np.float64)
    assert abs(found.mean()) < 1e-12
    assert found.std() == pytest.approx(1.0)


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no long doubles")
def test_what_float64_does_not_hold_is_refused():
    rows = np.ones((9, 3), np.longdouble)
    rows[:2, 1] = np.longdouble("1e4000")
    with pytest.raises(ValueError, match=r"column 1 of X has values beyond 1\.8e\+308, too large"):
        preprocessing.learn(rows)
    with pytest.raises(ValueError, match=r"the target has 2 values that are too large for float64"):
        Target.learn(rows, "regression")


def test_a_file_whose_remainders_do_not_fit_is_refused():
    told = Scales.learn(COLUMNS["whole, round 1.7e18"][:, None], "X").config()
    assert told["remainder"] != [0.0]
    for wrong in ([], [1.0, 2.0], [np.inf], ["1"], 1.0):
        with pytest.raises((TypeError, ValueError), match="means"):
            Scales.from_config(told | {"remainder": wrong})
