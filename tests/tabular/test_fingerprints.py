"""Fingerprints: what is the same data set, and what is another."""

import numpy as np
import pytest

from xpnet.tabular import fingerprints
from xpnet.tabular.fingerprints import fingerprint
from xpnet.tabular.readers import Dataset, read

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 3
TEXT = np.array(["u", "v"] * 6)


@pytest.fixture
def pd():
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'files')")


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
    assert all(text.startswith("2:") and len(text) == 18 for text in found)
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


def test_objects_are_what_labels_and_tables_make_of_them(pd):
    numbers = np.array([1, 2], object)
    assert fingerprint(y=numbers) == fingerprint(y=np.array([1, 2]))
    assert fingerprint(y=numbers) != fingerprint(y=np.array(["1", "2"], object))
    mixed = np.array([1, "a"], object)
    assert fingerprint(y=mixed) == fingerprint(y=np.array(["1", "a"]))
    assert fingerprint(y=np.array([1, None], object)) == fingerprint(
        y=np.array(["1", None], object)
    )
    frames = [pd.DataFrame({"a": pd.Series(v, dtype=object)}) for v in ([1, 2], ["1", "2"])]
    assert fingerprint(rows=frames[0]) == fingerprint(rows=frames[1])
    assert fingerprint(rows=frames[0]) != fingerprint(rows=pd.DataFrame({"a": [1, 2]}))


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
    ("own", "ways"),
    [
        ("int64", ["Int64", "int64[pyarrow]", "Sparse[int64]"]),
        ("int32", ["Int32", "int32[pyarrow]", "Sparse[int32]"]),
        ("uint8", ["UInt8", "uint8[pyarrow]"]),
        ("bool", ["boolean", "bool[pyarrow]", "Sparse[bool]"]),
        ("float32", ["Float32", "float[pyarrow]", "Sparse[float32]"]),
        ("float64", ["Float64", "double[pyarrow]", "Sparse[float64]"]),
    ],
)
def test_pandas_own_types_are_numpys_and_with_gaps_float64_as_in_a_csv(pd, own, ways, gaps):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    values = [1, 0, None if gaps else 1]
    dtype = "float64" if gaps and not own.startswith("float") else own
    plain = fingerprint(rows=pd.DataFrame({"a": pd.Series(values, dtype=dtype)}))
    for way in ways:
        if gaps and way.startswith("Sparse") and "float" not in way:
            continue
        assert fingerprint(rows=pd.DataFrame({"a": pd.Series(values, dtype=way)})) == plain
    others = {"int64", "int32", "uint8", "bool", "float32", "float64"} - {own}
    if not gaps:
        for other in others:
            assert fingerprint(rows=pd.DataFrame({"a": pd.Series(values, dtype=other)})) != plain


def test_a_column_of_text_is_told_in_parts(pd, monkeypatch):
    frame = pd.DataFrame({"a": pd.Series([*TEXT, None], dtype="string")})
    whole = of(frame)
    assert whole == of(frame.astype(object))
    monkeypatch.setattr("xpnet.tabular.fingerprints.CHUNK", 5)
    looked = []
    monkeypatch.setattr(fingerprints, "column_values", lambda c: (looked.append(c), np.array(c))[1])
    assert of(frame) == whole
    assert [*map(len, looked)] == [5, 5, 3]


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
        frame.assign(a=X[:, 0].astype(np.float32)),
        frame.assign(c=Y),
        frame.drop(columns="a"),
        frame.iloc[::-1],
    ):
        assert of(other, Y) != whole


@pytest.mark.parametrize("gaps", [False, True])
def test_how_pandas_keeps_text_and_numbers_does_not_count(pd, gaps):
    text = pd.Series([*TEXT[:-1], None if gaps else "w"], dtype=object)
    ways = [text, text.astype("category"), text.astype("string")]
    if hasattr(pd, "StringDtype") and int(pd.__version__.split(".")[0]) >= 3:
        ways.append(text.astype("str"))
    assert len({fingerprint(rows=pd.DataFrame({"a": way})) for way in ways}) == 1
    whole = pd.Series(Y)
    ways = [whole, whole.astype("Int64"), whole.astype("category")]
    assert len({fingerprint(rows=pd.DataFrame({"a": way})) for way in ways}) == 1
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
