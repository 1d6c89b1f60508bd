"""What stands twice in a data set: columns of one name, and the target among the features."""

import re
import warnings
from collections import Counter

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular import leaks
from xpnet.tabular.dataset import DataError, Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.leaks import require_different
from xpnet.tabular.readers import read

SPECIES = ["u", "v", "w"] * 10
NUMBERS = np.random.default_rng(0).normal(size=(30, 2)).round(3).tolist()


@pytest.fixture
def write(tmp_path, pa):
    """Return what writes a table with two columns of numbers, and further ones, for a header."""

    def write(header, *columns, start=""):
        rows = zip(NUMBERS, *columns, strict=True)
        lines = [",".join(map(str, [*numbers, *others])) for numbers, *others in rows]
        (tmp_path / "d.csv").write_text("\n".join([start + header, *lines]) + "\n", "utf-8")
        return str(tmp_path / "d.csv")

    return write


def prepare(dataset):
    return Experiment.prepare(dataset, Settings(hidden=(2,)), "cpu")


@pytest.mark.parametrize(
    ("header", "start", "message"),
    [
        ("a,b,y,y", "", "two columns named 'y', and 'y' is to be predicted: .* by --drop 'y.1'"),
        ('a,b,"y","y"', "", "two columns named 'y'"),
        ('"a",b,y,"y"', "\ufeff", "two columns named 'y'"),
        ("a,b,y,y", "\n\n", "two columns named 'y'"),
        ("a,b,y,y ", "", "columns named 'y' and 'y ', and 'y' is .* by --drop 'y '"),
        ("a,b, y,y", "", "columns named 'y' and ' y'"),
        ("y,b,y,c", "", "two columns named 'y'"),
    ],
)
def test_a_target_that_stands_twice_is_refused(write, header, start, message):
    path = write(header, SPECIES, SPECIES, start=start)
    with pytest.raises(DataError, match=message):
        read(path, target="y")
    assert read(path, labels=False).rows.shape == (30, 4)


def test_a_name_with_a_line_break_in_it_stands_twice_too(write):
    path = write('a,b,"y\nz","y\nz"', SPECIES, SPECIES)
    with pytest.raises(DataError, match=re.escape(r"two columns named 'y\nz'")):
        read(path, target="y\nz")


def test_the_other_column_may_be_left_out(write):
    path = write("a,b,y,y", SPECIES, SPECIES)
    assert [*read(path, target="y", drop=["y.1"]).rows.column_names] == ["a", "b"]
    assert [*read(path, target="y.1", drop=["y"]).rows.column_names] == ["a", "b"]


def test_a_name_that_only_looks_as_if_pandas_had_made_it_is_fine(write):
    found = read(write("a,b,y,y.1", SPECIES, SPECIES[::-1]), target="y")
    assert [*found.rows.column_names] == ["a", "b", "y.1"]
    assert found.renamed == {}


def test_features_of_one_name_are_refused_where_they_are_equal(write):
    path = write("a,b,y,a", SPECIES, [row[0] for row in NUMBERS])
    with pytest.raises(DataError, match=r"two columns named 'a', which hold the same: .*'a\.1'"):
        prepare(read(path, target="y"))
    prepare(read(path, target="y", drop=["a.1"]))


def test_features_of_one_name_that_differ_go_on_as_pandas_names_them(write):
    found = read(write("a,b,y,a", SPECIES, range(0, 60, 2)), target="y")
    assert [*found.rows.column_names] == ["a", "b", "a.1"]
    prepare(found)


def test_equal_text_with_gaps_under_one_name(write):
    text = ["p", "", "q"] * 10
    path = write("a,b,y,c,c", [0, 1] * 15, text, text)
    with pytest.raises(DataError, match="two columns named 'c'"):
        prepare(read(path, target="y"))


@pytest.mark.parametrize("values", [SPECIES, [7, 3] * 15, [0.5, 2.25, 1] * 10])
def test_the_target_under_another_name_is_said(write, values):
    path = write("a,b,y,kind", values, values)
    with pytest.warns(UserWarning, match="'kind' holds the same as the target .* --drop 'kind'"):
        prepare(read(path, target="y"))


def named_a(pd, *columns):
    names = ["a", *(f"a.{i}" for i in range(1, len(columns)))]
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)))
    return Dataset("d", frame, np.arange(len(frame)) % 7 / 2, renamed=dict.fromkeys(names, "a"))


ROWS = np.random.default_rng(1).integers(0, 3, 600)


@pytest.mark.parametrize(
    "columns",
    [
        (ROWS, ROWS.astype(float)),
        (ROWS - 1.0, np.where(ROWS == 1, -0.0, ROWS - 1.0)),
        (np.where(ROWS == 1, np.nan, ROWS), np.where(ROWS == 1, -np.nan, ROWS)),
        (ROWS.astype(bool), ROWS.astype(bool).astype(np.int8)),
        (ROWS.astype(str), ROWS.astype(object)),
    ],
)
def test_columns_of_one_name_are_equal_by_what_they_hold(pd, columns):
    with pytest.raises(DataError, match=r"hold the same: leave one out, as by --drop 'a\.2'"):
        require_different(named_a(pd, columns[0], np.arange(600), columns[1]))


@pytest.mark.parametrize("change", [1, "x"])
def test_columns_of_one_name_that_differ_in_one_row(pd, change):
    columns = [np.char.add("v", ROWS.astype(str)) if change == "x" else ROWS + 2**53] * 5
    for i in range(1, 5):
        columns[i] = columns[i].copy()
        columns[i][-i] = change if change == "x" else columns[i][-i] ^ 1  # as floats the same
    require_different(named_a(pd, *columns))


def test_each_column_is_looked_at_once_for_its_name(pd, monkeypatch):
    looked = []
    values = leaks._of_table
    monkeypatch.setattr(leaks, "_of_table", lambda t, c: (looked.append(c), values(t, c))[1])
    require_different(named_a(pd, *np.random.default_rng(0).normal(size=(20, 300))))
    assert max(Counter(looked).values()) == 2  # and once for the target


def test_the_target_in_an_array_is_said():
    X, y = np.random.default_rng(0).normal(size=(600, 3)), np.arange(600) % 3
    X[:, 1] = y
    with pytest.warns(UserWarning, match="column 1 of the data holds the same as the target"):
        prepare(Dataset("d", X, y))
    X[599, 1] += 1  # one row is enough to tell them
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(Dataset("d", X, y))


def test_parquet_with_two_columns_of_one_name_is_refused(pa, tmp_path, pd):
    from pyarrow import parquet

    table = pa.table([[1, 2], [3, 4], ["u", "v"], ["u", "v"]], names=["a", "b", "y", "y"])
    parquet.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"d\.parquet: .* two columns named 'y': rename one"):
        read(str(tmp_path / "d.parquet"), target="y")


def test_columns_that_differ_early_are_not_held_as_a_whole(pa, monkeypatch):
    from xpnet.tabular.columns import tables

    held, plain = [], tables.as_numpy

    def as_numpy(column):
        held.append(len(column))
        return plain(column)

    monkeypatch.setattr(tables, "as_numpy", as_numpy)
    y = np.arange(1000) % 2
    rows = pa.table({"a": [*"uv"] * 500, "b": y, "c": np.arange(1000.0)})
    with pytest.warns(UserWarning, match="column 'b' holds the same as the target"):
        require_different(Dataset("d", rows, y))
    assert sorted(held) == [leaks.FIRST] * 3 + [1000]
