"""Sources: names that are all different, tables in memory, errors that name the file."""

import pytest

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.source import (
    Source,
    as_data_errors,
    at_least_one,
    in_a_list,
    joined,
    pieces,
    unique_names,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["a", "a", "a"], ["a", "a.1", "a.2"]),
        (["a", "a", "a.1"], ["a", "a.2", "a.1"]),
        (["a", "a", "a.1", "a"], ["a", "a.2", "a.1", "a.3"]),
        (["a.1", "a", "a"], ["a.1", "a", "a.2"]),
        (["", "a", ""], ["Unnamed: 0", "a", "Unnamed: 2"]),
        (["", "Unnamed: 0"], ["Unnamed: 0.1", "Unnamed: 0"]),
        (["Unnamed: 1", ""], ["Unnamed: 1", "Unnamed: 1.1"]),
        ([" a", "a"], [" a", "a"]),
        ([], []),
    ],
)
def test_names_are_made_different(written, expected):
    assert unique_names(written) == expected


def test_names_are_those_of_pandas(pd):
    from io import StringIO
    from itertools import product

    for written in product(["a", "a.1", "a.2", "", "Unnamed: 0"], repeat=4):
        content = ",".join(written) + "\n1,2,3,4\n"
        assert unique_names(written) == [*pd.read_csv(StringIO(content)).columns]


def test_a_table_in_memory(pa):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]}).replace_schema_metadata({"pandas": "{}"})
    source = Source.in_memory("d", table, target="b")
    assert (source.columns, source.target, source.size) == (["a", "b"], "b", table.nbytes)
    for _ in range(2):
        [chunk] = source.chunks()
        assert chunk == table
        assert chunk.schema.metadata is None
    assert [chunk.column_names for chunk in source.chunks(["b", "a"])] == [["b", "a"]]
    assert [chunk.num_rows for chunk in source.chunks([])] == [2]
    with pytest.raises(DataError, match=r"^d: there is no column 'c'; there are a, b$"):
        source.chunks(["a", "c"])


def test_a_table_without_columns_or_with_two_of_one_name(pa):
    with pytest.raises(DataError, match=r"^d: there are no columns$"):
        Source.in_memory("d", pa.table({}))
    with pytest.raises(DataError, match=r"^d: there are two columns named 'a': rename one$"):
        Source.in_memory("d", pa.table([pa.array([1])] * 2, names=["a", "a"]))


def test_there_is_a_chunk_without_rows(pa):
    table = pa.table({"a": pa.array([], pa.int64())})
    assert [*Source.in_memory("d", table).chunks()] == [table]
    assert [*at_least_one([], table.schema)] == [table]


@pytest.mark.parametrize("width", [1, 10_000, 2**24])
def test_pieces(pa, width):
    rows = {1: 100_000, 10_000: 3000, 2**24: 3}[width]
    table = pa.table({"a": range(rows), "s": pa.repeat("x" * width, rows)})
    found = [*pieces(table)]
    assert [n for piece in found for n in piece["a"].to_pylist()] == [*range(rows)]
    assert all(piece.num_rows == 1 or piece.nbytes < 2**24 for piece in found)
    assert max(piece.num_rows for piece in found) <= 2**16


def test_pieces_without_columns_have_rows(pa):
    table = pa.table({"a": range(100_000)}).select([])
    assert [piece.num_rows for piece in pieces(table)] == [2**16, 100_000 - 2**16]


@pytest.mark.parametrize(
    ("name", "expected"), [("a b", "a b"), ("a,b", '"a,b"'), ('a"b', '"a""b"'), ("a\nb", '"a\nb"')]
)
def test_a_name_in_a_list(name, expected):
    assert in_a_list(name) == expected


@pytest.mark.usefixtures("pa")
def test_errors_that_are_not_of_the_file_stay_what_they_are():
    for error in (AttributeError("x"), MemoryError("x"), FileNotFoundError("x"), ImportError("x")):
        with pytest.raises(type(error)), as_data_errors("d", ".csv"):
            raise error
    message = r"^d: can't be read as \.csv \(EOFError\)$"
    with pytest.raises(DataError, match=message), as_data_errors("d", ".csv"):
        raise EOFError


def test_a_table_without_columns_keeps_its_rows(pa):
    from xpnet.tabular.columns.tables import chunks

    table = pa.table({"a": range(10)}).select([])
    assert [len(chunk) for chunk in joined([table, table])] == [10, 10]
    assert [len(chunk) for chunk in chunks(table, rows=4)] == [4, 4, 2]
