"""Fingerprints: what is the same data set, and what is another."""

import numpy as np
import pytest

from xpnet.tabular.dataset import Dataset
from xpnet.tabular.fingerprints import fingerprint
from xpnet.tabular.readers import read

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 3
TEXT = np.array(["u", "v"] * 6)


def of(rows, *others):
    return Dataset("d", rows, *others).fingerprint()


def test_every_part_type_shape_and_value_counts():
    whole = (X, Y, X[:4], Y[:4])
    others = [
        (X + 1e-12, Y, X[:4], Y[:4]),
        (X, Y[::-1], X[:4], Y[:4]),
        (X, Y, X[1:5], Y[:4]),
        (X, Y, X[:4], 2 - Y[:4]),
        (X, Y),
        (X.astype(np.float32), Y, X[:4], Y[:4]),
        (X.view(np.int64), Y, X[:4], Y[:4]),
        (X, Y.astype(np.int32), X[:4], Y[:4]),
        (X, Y.astype(str), X[:4], Y[:4]),
        (X.reshape(6, 6), Y, X[:4], Y[:4]),
        (X, Y.reshape(6, 2), X[:4], Y[:4]),
        (X, None),
    ]
    found = [of(*parts) for parts in (whole, *others)]
    assert len(set(found)) == len(found)
    assert all(text.startswith("3:") and len(text) == 18 for text in found)
    assert of(*map(np.copy, whole)) == found[0]


def test_how_an_array_is_kept_does_not_count(tmp_path, monkeypatch):
    whole = of(X, TEXT)
    np.save(tmp_path / "X.npy", X)
    ways = [np.asfortranarray(X), X.astype(">f8"), np.load(tmp_path / "X.npy", mmap_mode="r")]
    for rows in ways:
        assert of(rows, TEXT) == whole
    for text in (TEXT.astype(object), TEXT.astype("U9"), TEXT.astype("S"), TEXT.astype("T")):
        assert of(X, text) == whole
    wide = of(X.astype(np.longdouble) / 3, TEXT)
    monkeypatch.setattr("xpnet.tabular.fingerprints.ELEMENTS", 7)
    assert of(X, TEXT) == whole
    assert of(X.astype(np.longdouble) / 3, TEXT) == wide


def test_objects_are_what_labels_make_of_them():
    numbers = np.array([1, 2], object)
    assert fingerprint(y=numbers) == fingerprint(y=np.array([1, 2]))
    assert fingerprint(y=numbers) != fingerprint(y=np.array(["1", "2"], object))
    mixed = np.array([1, "a"], object)
    assert fingerprint(y=mixed) == fingerprint(y=np.array(["1", "a"]))
    assert fingerprint(y=np.array([1, None], object)) == fingerprint(
        y=np.array(["1", None], object)
    )


def test_texts_are_told_apart_wherever_they_end():
    texts = (
        ["ab", "c"],
        ["a", "bc"],
        ["abc", ""],
        ["1:a", ""],
        ["a", "-"],
        ["a", None],
        ["\ud800"],
    )
    found = [fingerprint(y=np.array(text, object)) for text in texts]
    assert len(set(found)) == len(texts)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(
    "ways",
    [
        ["Int64", "Int32", "int64[pyarrow]", "uint8[pyarrow]"],
        ["boolean", "bool[pyarrow]", object],
        ["float64", "Float64", "Float32", "double[pyarrow]"],
    ],
)
def test_pandas_own_types_are_what_they_hold(pd, ways, gaps):
    values = [True, False, True, None] if "boolean" in ways else [1, 0, 3, None]
    values = values if gaps else [*values[:3], values[0]]
    found = {of(pd.DataFrame({"a": pd.Series(values, dtype=way)})) for way in ways}
    assert len(found) == 1
    others = [pd.Series([2, 0, 3, 3]), pd.Series([1.5, 0, 3, 1]), pd.Series(["1", "x", "y", "z"])]
    assert found.isdisjoint({of(pd.DataFrame({"a": other})) for other in others})


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_it_is_no_matter_how_many_rows_are_told_at_a_time(pa, rows):
    from decimal import Decimal

    from xpnet.tabular.columns.tables import chunks
    from xpnet.tabular.table_digest import TableDigest

    columns = {
        "text": pa.array([*TEXT, None, "é"]).dictionary_encode(),
        "plain": pa.array(["", "a", None, *TEXT[:11]]),
        "numbers": pa.array([*X[:, 0], None, 0.0]),
        "whole": pa.array([*range(12), None, 2**63], pa.uint64()),
        "large": pa.array([Decimal(10**30), None, *map(Decimal, range(12))], pa.decimal128(38, 0)),
        "flags": pa.array([True, None] * 7),
        "dates": pa.array([None, *range(13)], pa.timestamp("us")),
        "times": pa.array([None, *range(13)], pa.time64("us")),
    }
    found = []
    for step in (rows, 14):
        digest = TableDigest()
        for chunk in chunks(pa.table(columns), step):
            digest.update(chunk)
        found.append(digest.parts())
    assert found[0] == found[1]
    assert len({value for _, value in found[0]}) == len(columns)


def test_whole_numbers_are_the_same_in_every_type(pa):
    from xpnet.tabular.table_digest import ColumnDigest

    def value(kind):
        digest = ColumnDigest()
        digest.update(pa.array([1, 7, 2**40]).cast(kind))
        return digest.value()

    kinds = (pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal256(76, 0))
    assert len({*map(value, kinds)}) == 1


def test_long_doubles_count_by_their_values():
    wide = np.empty((12, 3), np.longdouble)
    wide.view(np.uint8)[...] = 255  # what the bytes between them hold means nothing
    wide[...] = X
    assert of(wide) == of(X.astype(np.longdouble)) != of(X)


def test_names_and_values_of_a_tables_columns_count_and_not_their_order(pd):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": TEXT})
    whole = of(frame, Y)
    assert of(frame[["c", "b", "a"]], Y) == whole
    for other in (
        frame.rename(columns={"a": "z"}),
        frame.rename(columns={"a": "b", "b": "a"}),
        frame.rename(columns={"c": "d"}),  # after the others as well
        frame.assign(c="u"),
        frame.assign(a=X[:, 0] + 1e-9),
        frame.assign(c=Y),
        frame.drop(columns="a"),
        frame.iloc[::-1],
    ):
        assert of(other, Y) != whole


@pytest.mark.parametrize("gaps", [False, True])
def test_how_pandas_keeps_text_does_not_count(pd, gaps):
    text = pd.Series([*TEXT[:-1], None if gaps else "w"], dtype=object)
    ways = [text, text.astype("category"), text.astype("string")]
    if int(pd.__version__.split(".")[0]) >= 3:
        ways.append(text.astype("str"))
    assert len({of(pd.DataFrame({"a": way})) for way in ways}) == 1
    assert fingerprint(y=np.array(["a", None], object)) != fingerprint(y=np.array(["a", "None"]))


def test_a_csv_is_the_frame_that_was_written(pd, tmp_path):
    # Of many digits a reader of text may take the last one for another.
    frame = pd.DataFrame({"a": np.round(X[:, 0], 3), "b": TEXT, "c": Y})
    frame.to_csv(tmp_path / "d.csv", index=False)
    found = read(str(tmp_path / "d.csv"), target="c")
    assert found.fingerprint() == of(frame[["b", "a"]], Y)


def test_one_of_an_older_kind_says_nothing():
    dataset = Dataset("d", X, Y)
    assert dataset.is_known_by(dataset.fingerprint())
    assert not dataset.is_known_by(of(X + 1, Y))
    assert not dataset.is_known_by(None)
    message = "older kind, 0123456789abcdef, which does not say whether d is .*: .* by --part all"
    with pytest.raises(ValueError, match=message):
        dataset.is_known_by("0123456789abcdef")


def test_decimals_are_known_as_the_floats_that_text_of_them_is():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    from decimal import Decimal

    from xpnet.tabular.columns.schema import Column, Schema

    schema = Schema((Column("a", "number"),))
    values = [Decimal(k) / 100 for k in range(300)]

    def known(column):
        return fingerprint(rows=schema.read(pa.table({"a": column})))

    assert known(values) == known([*map(str, values)]) == known([*map(float, values)])
    large = [value + 10**17 for value in values]
    assert known(large) != known([*map(float, large)])  # which float64 does not hold


def test_text_is_text_in_a_dictionary_or_not():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    text = pa.array(["x", None, "y"])
    found = {fingerprint(rows=pa.table({"a": a})) for a in (text, text.dictionary_encode())}
    assert len(found) == 1
