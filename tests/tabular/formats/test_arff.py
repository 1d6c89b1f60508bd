"""Weka's attribute-relation files: what is read of them, and what is refused."""

import gzip
import math

import pytest

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.opening import open_table

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arff(attributes, data):
    return f"% from somewhere\n@relation r\n\n{attributes}\n\n@data\n{data}\n"


def read(content, name="d.arff"):
    content = content if isinstance(content, bytes) else content.encode()
    with open(name, "wb") as file:
        file.write(content)
    return pa.concat_tables(open_table(name).chunks())


NUMBERS = "@attribute a numeric\n@attribute b real\n@attribute c INTEGER\n@ATTRIBUTE d Integer"


def test_numbers_and_gaps():
    found = read(arff(NUMBERS, "1,2.5,3,4\n?,NaN,?,0.5\n% and\n-1e3, .5 ,+7,?"))
    assert found.schema.types == [pa.float64(), pa.float64(), pa.int64(), pa.float64()]
    values = found.to_pydict()
    assert values["a"] == [1, None, -1000]
    assert math.isnan(values["b"].pop(1))
    assert values["b"] == [2.5, 0.5]
    assert values["c"] == [3, None, 7]
    assert values["d"] == [4, 0.5, None]


def test_whole_numbers_beyond_those_that_floats_tell_apart_stay_floats():
    found = read(arff("@attribute a integer", "9007199254740993\n1"))
    assert found.schema.types == [pa.float64()]


def test_classes_keep_all_that_are_declared():
    declared = "{ 'light blue' , red,green, \"q'x\", 'it\\'s', ''}"
    found = read(arff(f"@attribute 'my class' {declared}", "red\n?\n'light blue'\n\"q'x\"\n''"))
    assert found.column_names == ["my class"]
    column = found["my class"].combine_chunks()
    assert pa.types.is_dictionary(column.type)
    assert column.dictionary.to_pylist() == ["light blue", "red", "green", "q'x", "it's", ""]
    assert column.to_pylist() == ["red", None, "light blue", "q'x", ""]


@pytest.mark.parametrize(
    ("written", "name"),
    [("'a b'", "a b"), ('"it\'s"', "it's"), (r"'it\'s'", "it's"), ("a-b.c", "a-b.c"), ("é", "é")],
)
def test_names(written, name):
    found = read(arff(f"@attribute {written} {{'u v' , \"w\" }}", "w"))
    assert found.to_pydict() == {name: ["w"]}


def test_numbers_as_classes_are_classes():
    found = read(arff("@attribute a {3,1,2}", "1\n3"))
    assert found["a"].to_pylist() == ["1", "3"]


def test_text_and_dates_are_text():
    attributes = "@attribute s string\n@attribute d date 'yyyy-MM-dd'\n@attribute e DATE"
    found = read(arff(attributes, "'two words',2024-02-29,\"2024-02-29T00:00:00\"\n?,?,?\n'?',x,é"))
    assert found.schema.types == [pa.string()] * 3
    assert found["s"].to_pylist() == ["two words", None, "?"]
    assert found["d"].to_pylist() == ["2024-02-29", None, "x"]
    assert found["e"].to_pylist() == ["2024-02-29T00:00:00", None, "é"]


def test_what_is_not_written_in_a_sparse_row_is_zero():
    attributes = "@attribute a numeric\n@attribute b {x,y}\n@attribute c integer"
    found = read(arff(attributes, "{0 3.5, 1 y}\n{}\n{1 ?, 2 7}\n{ 2 1 }"))
    assert found.to_pydict() == {
        "a": [3.5, 0, 0, 0],
        "b": ["y", "x", None, "x"],
        "c": [0, 0, 7, 1],
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("@relation r\r\n@attribute a numeric\r\n@data\r\n1\r\n", [1]),
        ("\ufeff@relation r\n@attribute a numeric\n@data\n1", [1]),
        ("@relation r\n@attribute\ta\tnumeric\n@data\n1", [1]),
        (" @RELATION 'a b'\n  @Attribute   a   REAL\n @DATA\n 1 \n\n2", [1, 2]),
        ("@relation r\n@attribute a numeric\n@data\n", []),
    ],
)
def test_how_it_may_be_written(content, expected):
    assert read(content).to_pydict() == {"a": expected}


def test_a_compressed_file():
    content = gzip.compress(arff("@attribute a numeric", "1\n2").encode())
    assert read(content, "d.arff.gz")["a"].to_pylist() == [1, 2]


def test_it_is_gone_through_in_pieces():
    read(arff("@attribute a integer\n@attribute b {x,y}", "1,x\n2,y\n" * 40_000))
    chunks = [*open_table("d.arff").chunks(["b"])]
    assert sum(chunk.num_rows for chunk in chunks) == 80_000
    assert max(chunk.num_rows for chunk in chunks) <= 2**16


A, B = "@attribute a numeric", "@attribute b {x,y}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (arff(f"{A}\n{B}", "1,x\n1"), "line 9 can't be read as .arff"),
        (arff(f"{A}\n{B}", "1,x,{5}"), "line 8 can't be read as .arff"),
        (arff(A, "1\nx"), "line 8 can't be read as .arff .Invalid numerical value.$"),
        (arff(B, "x\n50%"), "line 8 .*Data value 50% not found in nominal declaration.$"),
        (arff(A, "'50% \""), "line 7 .*Invalid layout of the ARFF file. Error parsing .*50%"),
        (arff(B, "x\nz"), "line 8 .*Data value z not found in nominal declaration.$"),
        (arff(f"{A}\n{A}", "1,2"), "there are two columns named 'a': rename one$"),
        (arff("@attribute a", "1"), "line 4 .*an attribute's name and type are expected.$"),
        (arff("@attribute 'a numeric", "1"), "line 4 .*an attribute's name and type are expected"),
        (arff(f"{A}\n@attribute t relational", "1,2"), "line 5 .*there are tables within a field"),
        (arff("@attribute a complex", "1"), "line 4 can't be read as .arff .Bad @ATTRIBUTE type.$"),
        (arff("@attribute s string", "{0 x}"), "line 7 .*sparse rows have no text"),
        (arff("@attribute s date", "x\n{}"), "line 8 .*sparse rows have no text"),
        (arff(A, "1").encode() + b"%\xff\n", "line 8 is no text in UTF-8 .*save it as UTF-8"),
        ("@relation r\n@attribute a numeric\n", "line 2 can't be read"),
        ("hello\n", "line 1 can't be read"),
        ("", "the file is empty"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(DataError, match=rf"^d\.arff: {message}") as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_a_compressed_file_that_ends_early():
    content = gzip.compress(arff("@attribute a numeric", "1\n2" * 99).encode())
    with pytest.raises(DataError, match=r"^d\.arff\.gz: can't be read as \.arff \(Truncated"):
        read(content[:-20], "d.arff.gz")
