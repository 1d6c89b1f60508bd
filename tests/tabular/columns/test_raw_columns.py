"""A table's columns as they are given: the same features as by Arrow, whoever's they are."""

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

from xpnet.tabular.columns import reading  # noqa: E402
from xpnet.tabular.columns.raw_columns import RawColumns, is_plain  # noqa: E402
from xpnet.tabular.columns.schema import Column  # noqa: E402
from xpnet.tabular.columns.tables import as_table  # noqa: E402
from xpnet.tabular.features import preprocessing  # noqa: E402
from xpnet.tabular.features.categories import Categories  # noqa: E402

N = 60
DRAW = np.random.default_rng(0)
COLUMNS = {
    "size": np.where(DRAW.random(N) < 0.2, np.nan, DRAW.normal(size=N)),
    "small": DRAW.normal(size=N).astype(np.float32),
    "half": DRAW.integers(0, 9, N).astype(np.float16),
    "id": 10**17 + DRAW.integers(0, 10**6, N),
    "large": np.uint64(2**63) + DRAW.integers(0, 10**6, N).astype(np.uint64),
    "few": DRAW.integers(0, 5, N).astype(np.int8),
    "flag": DRAW.random(N) < 0.5,
    "colour": np.array([*"rgb", None], object)[DRAW.integers(0, 4, N)],
    "shop": np.array([*"NSEW"], object)[DRAW.integers(0, 4, N)],
    "day": np.datetime64("2024-01-01", "s") + DRAW.integers(0, 10**7, N),
}


def frame(**others):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    return pd.DataFrame(COLUMNS | others)


def features(learnt, rows):
    return learnt.transform(rows, np.float64)


@pytest.fixture(scope="module")
def learnt():
    return preprocessing.learn(as_table(pa.table(COLUMNS)))


def test_numbers_of_a_frame_stay_where_they_are():
    data = frame()
    found = RawColumns.of(data, ["size", "flag", "colour", "absent"])
    assert found.column_names == ["size", "flag", "colour"]
    assert np.shares_memory(found["size"], data["size"].to_numpy())
    assert found["flag"].dtype == np.bool_
    assert found["colour"].type == pa.string()
    assert len(found) == N


@pytest.mark.parametrize("rows", [slice(None), slice(3, 4), slice(None, None, -2), slice(0, 0)])
def test_a_frame_s_features_are_those_of_the_same_table_of_arrow(learnt, rows):
    data = frame().iloc[rows]
    np.testing.assert_array_equal(features(learnt, data), features(learnt, as_table(data)))


@pytest.mark.parametrize("kind", [">f8", "f4", "i8", "?", "O", "str", "category", "Int64"])
def test_numbers_in_other_types(learnt, kind):
    data = frame(size=DRAW.integers(0, 2, N))
    whole = features(learnt, data)
    np.testing.assert_array_equal(features(learnt, data.astype({"size": kind})), whole)


@pytest.mark.parametrize("kind", ["O", "str", "category", "large_string[pyarrow]"])
def test_text_in_other_types(learnt, kind):
    data = frame()
    text = data[["colour", "shop"]]
    other = text.astype(kind).where(text.notna(), None)  # pandas 2 makes "None" of gaps
    found = features(learnt, data.assign(colour=other["colour"], shop=other["shop"]))
    np.testing.assert_array_equal(found, features(learnt, data))


def test_numbers_alone_in_one_type():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    rows = pd.DataFrame(DRAW.normal(size=(9, 3)), columns=[*"abc"])
    learnt = preprocessing.learn(rows)
    other = rows[["c", "a", "b"]].assign(d=1.0)
    np.testing.assert_array_equal(features(learnt, other), features(learnt, as_table(rows)))


def test_gaps_of_arrow_s_numbers():
    table = pa.table({"a": [1.0, None, 3.0], "b": pa.array([2**60 + 1, None, 7], pa.int64())})
    found = RawColumns.of(table, ["a", "b"])
    np.testing.assert_array_equal(found["a"], [1.0, np.nan, 3.0])
    assert found["b"].to_pylist() == [2**60 + 1, None, 7]  # a float64 would not hold the first


def test_a_named_index_is_a_column_like_others(learnt):
    data = frame()
    found = RawColumns.of(data.set_index("id"), ["id", "size"])
    assert sorted(found.column_names) == ["id", "size"]
    assert found["id"].tolist() == data["id"].tolist()
    np.testing.assert_array_equal(features(learnt, data.set_index("id")), features(learnt, data))


def test_numbers_of_more_digits_than_float64_has_are_not_taken_as_they_are():
    assert not is_plain(np.dtype(np.longdouble)) or np.dtype(np.longdouble).itemsize == 8


def test_what_is_not_used_is_not_looked_at(learnt):
    data = frame(strange=[1j] * N)
    np.testing.assert_array_equal(features(learnt, data), features(learnt, frame()))


def test_a_name_that_is_not_wanted_may_be_any():
    data = frame()
    data.columns = data.columns.astype(object)
    data["\ud800"] = 1.0
    found = RawColumns.of(data, ["size", "colour"])
    assert found.column_names == ["size", "colour"]


@pytest.mark.parametrize("kind", [">f8", ">i4"])
def test_categories_in_the_other_byte_order(kind):
    found = reading.read(Column("shop", "category"), np.array([1, 2, 1], kind))
    assert found.to_pylist() == ["1", "2", "1"]


def test_a_column_that_is_there_twice(learnt):
    data = frame(other=1.0)
    with pytest.raises(ValueError, match="two columns of the same name, 'size'"):
        features(learnt, data.rename(columns={"other": "size"}))


def test_many_rows_go_in_parts():
    found = RawColumns.of(pa.table({"a": range(10), "b": [*"abcdefghij"]}), ["a", "b"])
    parts = [*found.parts(4)]
    assert [len(part) for part in parts] == [4, 4, 2]
    assert np.concatenate([part["a"] for part in parts]).tolist() == [*range(10)]
    assert [v for part in parts for v in part["b"].to_pylist()] == [*"abcdefghij"]


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", None], ["", "a"], ["a", "\ud800"]])
@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize(
    "text", [["b", "a"], ["b", None], ["a", ""], ["a", "z", "b"], ["z", None], []]
)
def test_text_has_the_codes_of_its_categories(names, rare, text):
    known, values = Categories(names, rare), pa.array(text, pa.string())
    whole = pa.array([v or None for v in text], pa.string()).dictionary_encode()
    codes, unknown = known.codes(values)
    expected, others = known.codes(whole)
    assert codes.tolist() == expected.tolist()
    assert unknown == others
