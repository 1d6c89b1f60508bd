"""Comma- and tab-separated text: what its columns are, and each way in which it can be wrong."""

import bz2
import csv
import gzip
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import xpnet
from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats import text, text_rows
from xpnet.tabular.formats.opening import open_table
from xpnet.tabular.formats.source import TextOptions

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

SEMICOLON = TextOptions(separator=";")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(content, name="d.csv"):
    content = content if isinstance(content, bytes) else content.encode()
    with open(name, "wb") as file:
        file.write(content)
    return name


def rows(source, columns=None):
    """Return all rows of a source as tuples."""
    chunks = [*source.chunks(columns)]
    names = source.columns if columns is None else columns
    assert all(chunk.column_names == names for chunk in chunks)
    assert {kind for chunk in chunks for kind in chunk.schema.types} <= {pa.string()}
    return [tuple(row.values()) for chunk in chunks for row in chunk.to_pylist()]


def read(content, options=TextOptions(), name="d.csv"):  # noqa: B008
    source = open_table(write(content, name), options)
    return source.columns, rows(source)


# -- what is read ----


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"], [("1", "2"), ("3", "4")]),
        ("a,b\n1,2\n3,4", ["a", "b"], [("1", "2"), ("3", "4")]),
        ("a,b\r\n1,2\r\n\r\n3,4\r\n", ["a", "b"], [("1", "2"), ("3", "4")]),
        ("a,b\r1,2\r3,4\r", ["a", "b"], [("1", "2"), ("3", "4")]),
        ("\ufeffa,b\n1,2\n", ["a", "b"], [("1", "2")]),
        ('\ufeff"a",b\n1,2\n', ["a", "b"], [("1", "2")]),
        ("\n  \na,b\n \n1,2\n\n   \n3,4\n\n", ["a", "b"], [("1", "2"), ("3", "4")]),
        ("a,b\n", ["a", "b"], []),
        ("a,b", ["a", "b"], []),
        ("a,b\n\n\n", ["a", "b"], []),
        ("a,b\n,\n,\n", ["a", "b"], [("", ""), ("", "")]),
        ('a,b\n"","1"\n', ["a", "b"], [("", "1")]),
        ("a,b\n01, x \n", ["a", "b"], [("01", " x ")]),
        ('a,"b,\n""c"""\n"1,5","x\ny"\n', ["a", 'b,\n"c"'], [("1,5", "x\ny")]),
        ('a,b\n1,6" pipe\n2,3"\n', ["a", "b"], [("1", '6" pipe'), ("2", '3"')]),
        ('a,b\n1,"x\n"\n', ["a", "b"], [("1", "x\n")]),
        ("ä,b\nö,😀\n", ["ä", "b"], [("ö", "😀")]),
        ("a,b\n1,2\n#,3\n", ["a", "b"], [("1", "2"), ("#", "3")]),
        ("a,b\n\ufeff1,2\n", ["a", "b"], [("\ufeff1", "2")]),
        ("\ufeffa,b\r\n\r\n\ufeff,2\r\n3,4", ["a", "b"], [("\ufeff", "2"), ("3", "4")]),
    ],
)
def test_rows_are_text_as_it_is_written(content, columns, expected):
    assert read(content) == (columns, expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\n1\n\n3\n", ["1", "", "3"]),
        ("a\n1\n\n", ["1", ""]),
        ("a\r1\r\r3\r", ["1", "", "3"]),
        ("a\n\n1\n", ["", "1"]),
        ('a\n""\n1', ["", "1"]),
        ("a\n", []),
    ],
)
def test_in_one_column_each_line_is_a_row(content, expected):
    assert read(content) == (["a"], [(value,) for value in expected])


def test_columns_can_be_chosen_and_gone_through_again():
    source = open_table(write("a,b,c\n1,2,3\n4,5,6\n"))
    assert rows(source, ["c", "a"]) == [("3", "1"), ("6", "4")]
    assert rows(source) == rows(source) == [("1", "2", "3"), ("4", "5", "6")]
    assert [chunk.num_rows for chunk in source.chunks([])] == [2]
    with pytest.raises(DataError, match=r"^d\.csv: there is no column 'x'; there are a, b, c$"):
        source.chunks(["x"])


def test_what_a_source_says_of_itself():
    path = write("a;b\n1,5;2\n")
    source = open_table(path, TextOptions(";", ","))
    assert (source.name, source.size, source.decimal) == ("d.csv", os.path.getsize(path), ",")
    assert source.target is None
    assert source.written == {"a": "a", "b": "b"}


# -- separators ----


@pytest.mark.parametrize(
    ("name", "options", "content"),
    [
        ("d.csv", TextOptions(), "a,b\n1,2\n"),
        ("d.tsv", TextOptions(), "a\tb\n1\t2\n"),
        ("d.CSV", SEMICOLON, "a;b\n1;2\n"),
        ("d.csv", TextOptions(r"\t"), "a\tb\n1\t2\n"),
        ("d.tsv", TextOptions(" "), "a b\n1 2\n"),
    ],
)
def test_separators(name, options, content):
    assert read(content, options, name) == (["a", "b"], [("1", "2")])


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_header_of_one_column_that_holds_another_separator(separator):
    content = f"a{separator}b\n1{separator}2\n"
    given = r"\\t" if separator == "\t" else re.escape(separator)
    with pytest.raises(
        DataError, match=rf"^d\.csv: the header is one column.*--separator '{given}'"
    ):
        read(content)
    assert read(content, TextOptions(",")) == (
        [f"a{separator}b"],
        [(f"1{separator}2",)],
    )


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("options", [TextOptions(), SEMICOLON])
def test_a_line_for_excel_is_refused(line, options):
    with pytest.raises(DataError, match=r"^d\.csv: line 1 is .*Excel.*--separator ';'$"):
        read(f"{line}\na;b\n1;2\n", options)


def test_another_separator_within_quotes_or_beside_others_is_a_name():
    assert read('"a;b"\n1\n') == (["a;b"], [("1",)])
    assert read("a;b,c\n1,2\n") == (["a;b", "c"], [("1", "2")])


@pytest.mark.parametrize("separator", ["", ", ", '"', "\n", "é", "\0"])
def test_what_is_no_separator(separator):
    with pytest.raises(ValueError, match=r"--separator is .*: give one character"):
        TextOptions(separator)


def test_what_is_no_decimal_point():
    with pytest.raises(ValueError, match="--decimal is ';': give"):
        TextOptions(decimal=";")


# -- names, and how many fields a row has ----


def test_what_is_named_twice_or_not_at_all():
    source = open_table(write("a,a,,a.1\n1,2,3,4\n"))
    assert source.columns == ["a", "a.2", "Unnamed: 2", "a.1"]
    assert source.written == {"a": "a", "a.2": "a", "Unnamed: 2": "", "a.1": "a.1"}
    assert rows(source) == [("1", "2", "3", "4")]


ROW_NAMES = ["Unnamed: 0", "y", "a"]


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        # a separator at the end of each row
        ("y,a,b\n0,3,2,\n1,4,5,\n", ["y", "a", "b"], [("0", "3", "2"), ("1", "4", "5")]),
        ('y,a\n0,3,""\n', ["y", "a"], [("0", "3")]),
        # R's row names
        ("y,a\nr1,3,2\nr2,4,5\n", ROW_NAMES, [("r1", "3", "2"), ("r2", "4", "5")]),
        ("y,a\nr1,3,\nr2,4,5\n", ROW_NAMES, [("r1", "3", ""), ("r2", "4", "5")]),
        ("y\nr1,3\n\nr2,4\n", ROW_NAMES[:2], [("r1", "3"), ("r2", "4")]),
        ("y\n1,\n\n2,\n", ["y"], [("1",), ("2",)]),
        # pandas' index
        (",y,a\n0,3,2\n", ROW_NAMES, [("0", "3", "2")]),
        # a separator at the end of the header, too or alone
        ("y,a,\n0,3,\n1,4,\n", ["y", "a"], [("0", "3"), ("1", "4")]),
        ("y,a,\n0,3\n1,4\n", ["y", "a"], [("0", "3"), ("1", "4")]),
        ("y,a,,,\n0,3,,,\n,,,,\n", ["y", "a"], [("0", "3"), ("", "")]),
        # a column without a name that holds something
        ("y,a,\n0,3,\n1,4,x\n", ["y", "a", "Unnamed: 2"], [("0", "3", ""), ("1", "4", "x")]),
        ("y,,\n0,,x\n", ["y", "Unnamed: 1", "Unnamed: 2"], [("0", "", "x")]),
        ("y,,a\n0,,x\n", ["y", "Unnamed: 1", "a"], [("0", "", "x")]),
    ],
)
def test_one_field_more_than_the_header_has(content, columns, expected):
    assert read(content) == (columns, expected)
    source = open_table("d.csv")
    assert source.written == {
        name: name.replace("Unnamed: ", "")[2:] or name for name in columns
    } | {name: "" for name in columns if name.startswith("Unnamed")}


def test_a_trailing_separator_is_told_from_row_names_by_the_whole_file():
    many = "0,3,\n" * 300_000
    assert read("y,a\n" + many)[0] == ["y", "a"]
    assert read("y,a\n" + many + "1,2,x\n")[0] == ROW_NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields and the header 2"),
        ("a,b,c\n1,2,3\n1\n", "line 3 has 1 field and the header 3"),
        ("a,b\n1,2,3,4\n", "line 2 has 4 fields and the header 2"),
        ("a,b,c\n1\n", "line 2 has 1 field and the header 3"),
        ("a,b\n1,2,\n1,2\n", "line 3 has 2 fields and the rows before it 3, the header 2"),
        ("a,b\n1,2,\n1,2,3,4\n", "line 3 has 4 fields and the rows before it 3, the header 2"),
        ("a,b\n1,2\n1,2,\n", "line 3 has 3 fields and the header 2"),
        # Lines of the file, whatever a row takes of them.
        ('\n"a\n1",b\n\n"x\ny",2\n   \n1,2,3\n', "line 8 has 3 fields and the header 2"),
        ("a,b\r1,2\r\r1,2,3\r", "line 4 has 3 fields and the header 2"),
        ("a,b\r\n1,2\r\n\r\n1,2,3\r\n", "line 4 has 3 fields and the header 2"),
        ('a,b\n1,2\n1,"x\ny",3\n1,2\n', "the row in lines 3 to 4 has 3 fields and the header 2"),
        ("a\tb\n1\t2\n\t\t\n", "line 3 has 3 fields and the header 2"),
        # Quotes that are left open.
        ('a,b\n1,2\n3,"x\n5,6\n', "line 3 opens a quote that is never closed"),
        ('a,b\n1,2\n3,"x\n5,6', "line 3 opens a quote that is never closed"),
        ('a,b,c\n1,"2,3\n3,4,5\n', "line 2 opens a quote that is never closed"),
        ('a,"b\n1,2\n', "line 1, the header, can't be read .a quote is opened there and never"),
    ],
)
def test_rows_of_another_number_of_fields_are_refused(content, message):
    name = "d.tsv" if "\t" in content else "d.csv"
    with pytest.raises(DataError, match=rf"^d\.[ct]sv: .*{message}"):
        read(content, name=name)


def test_a_line_of_separators_alone_is_a_row_and_one_of_spaces_is_not():
    assert read("a\tb\n\t\n \n1\t2\n", name="d.tsv")[1] == [("", ""), ("1", "2")]


# -- what is no text ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,\xe9\n", "line 2 is no text in UTF-8 .*: save it as UTF-8"),
        (b"a,b\n1,2\n\xe9\n", "line 3 is no text in UTF-8 .*: save it as UTF-8"),
        (b"a,b\n" + b"1,2\n" * 10**6 + b"1,\xe9\n", "line 1000002 is no text in UTF-8"),
        (b"\xe9,b\n1,2\n", "line 1 is no text in UTF-8 .*: save it as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is no text in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"line 1 is no text in UTF-8 \(there is a zero byte\)"),
        (b"a,b\n1,2\n3,\0\n", r"line 3 is no text in UTF-8 \(there is a zero byte\)"),
        (b"", "the file is empty"),
        (b"\n  \n", "there is no header: give the columns' names in line 1"),
        (b"\xef\xbb\xbf", "there is no header"),
        (b"a" * 200_000 + b",b\n1,2\n", "line 1, the header, can't be read"),
        (b',\n"",""\n', "there are no columns"),
    ],
)
def test_what_is_no_table_of_text(content, message):
    with pytest.raises(DataError, match=rf"^d\.csv: {message}"):
        read(content)


# -- blocks ----


@pytest.fixture
def small(monkeypatch):
    """Let a file be parsed by few bytes at a time."""
    monkeypatch.setattr(text, "BLOCKS", (64, 256, 4096))


@pytest.mark.usefixtures("small")
def test_rows_that_are_longer_than_a_block():
    plain, long = [("1", "2")] * 50, [("1", "x" * 300), ("y\n" * 1500, "z")]
    with open("d.csv", "w", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *plain, *long, *plain, long[0]])
    source = open_table("d.csv")
    assert rows(source) == [*plain, *long, *plain, long[0]]
    assert len([*source.chunks()]) > 2


@pytest.mark.usefixtures("small")
def test_a_first_row_that_is_longer_than_a_block():
    assert read("a,b\n" + "x" * 500 + ",2,\n1,2,\n") == (["a", "b"], [("x" * 500, "2"), ("1", "2")])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("start", ["a,b\n", "a,b\n" + "1,2\n" * 100])
def test_a_row_that_is_longer_than_any_block(start):
    line = start.count("\n") + 1
    message = rf"line {line} begins a field of more than 0 MB: is a quote left open\?"
    with pytest.raises(DataError, match=message):
        read(start + '1,"' + "1,2\n" * 2000)
    assert csv.field_size_limit() == 131072


@pytest.mark.usefixtures("small")
def test_a_fault_behind_many_blocks_comes_after_their_rows():
    source = open_table(write("a,b\n" + "1,2\n" * 1000 + "1,2,3\n" + "1,2\n" * 1000))
    sizes = []
    with pytest.raises(DataError, match="line 1002 has 3 fields"):
        sizes.extend(chunk.num_rows for chunk in source.chunks())
    assert 900 < sum(sizes) <= 1000


def unpacked(content, name):
    """Return what a file of some name holds."""
    return compress(content, name[-3:]) if name.endswith(".gz") else content


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("text", ["\r\nz", "\r\n\nz", "\r\n", '"\r\n"'])
def test_a_line_end_within_quotes_may_lie_anywhere(name, end, before, text):
    """Arrow drops the second byte of one that two blocks part."""
    plain = [("1", "2")] * 9 * before
    for size in range(130):
        table = [*plain, ("x" * (size // 2), "y" * (size - size // 2) + text), ("3", "\r\n")]
        lines = [",".join(quoted(field, False) for field in row) for row in [("a", "b"), *table]]
        content = "".join(line + end for line in lines).encode()
        assert read(unpacked(content, name), name=name)[1] == table, size


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz"])
def test_line_ends_within_quotes_all_over(name):
    table = [(f"{i}", "\r\n" * (i % 40), "x\r\ny\r" * (i % 7)) for i in range(400)]
    lines = [",".join(quoted(field, False) for field in row) for row in [("a", "b", "c"), *table]]
    source = open_table(write(unpacked("\r\n".join(lines).encode(), name), name))
    assert rows(source) == table
    assert rows(source, ["b"]) == [row[1:2] for row in table]
    assert rows(source, ["c", "a"]) == [row[::-2] for row in table]
    assert sum(chunk.num_rows for chunk in source.chunks([])) == 400


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("blank", ["\n", "\r\n", "  \n", " \r\n"])
@pytest.mark.parametrize(
    ("header", "place"),
    [("y,a", "before"), ("y,a", "between"), ("y,a", "both"), ("y", "between")],
)
def test_blocks_of_blank_lines_count(monkeypatch, header, blank, place):
    """Arrow makes a batch of such a block only where a row came before it."""
    monkeypatch.setattr(text_rows, "HEAD", 8)
    torn, row = f'{"x" * 30},"y\r\nz"\n', "1,2\n"
    for size in range(130):
        lines = blank * (size + 100) + "\n" * (size % 3)
        start, amid = [lines * (place in ("both", other)) for other in ("before", "between")]
        content = f"{header}\n{start}{row if place != 'before' else ''}{amid}{torn}{row}"
        table = [("1", "2")] * (place != "before") + [("x" * 30, "y\r\nz"), ("1", "2")]
        assert read(content)[1] == table, size


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz"])
def test_carriage_returns_alone_are_parsed_once(small, monkeypatch, name, end):
    opened = []
    reader = text._reader
    monkeypatch.setattr(text, "_reader", lambda *given: opened.append(given) or reader(*given))
    table = [(f"{i}", f"x{i**3}\ry") for i in range(500)]
    content = "".join(f'{a},"{b}"{end}' for a, b in [("a", "b"), *table]).encode()
    source = open_table(write(unpacked(content, name), name))
    assert rows(source) == table
    assert len(opened) == 1


def test_a_long_header():
    names = [f"column {i}" for i in range(20_000)]
    assert read(",".join(names) + "\n" + ",".join(map(str, range(20_000))) + "\n")[0] == names


def test_a_row_behind_a_mark_in_the_first_one_is_named_by_its_line():
    with pytest.raises(DataError, match="line 3 has 3 fields"):
        read("a,b\n\ufeff1,2\n1,2,3\n")


def test_chunks_are_of_bounded_size():
    source = open_table(write("a,b\n" + "1,2\n" * 500_000))
    sizes = [chunk.num_rows for chunk in source.chunks()]
    assert (sum(sizes), max(sizes)) == (500_000, 2**16)
    source = open_table(write("a,b\n" + f"1,{'x' * 1000}\n" * 30_000))
    assert max(chunk.nbytes for chunk in source.chunks()) < 2**23


FIELD = st.text(
    st.sampled_from([*'ab1 ,;"', "\n", "\r", "é", "\t", "😀"]) | st.characters(codec="utf-8"),
    max_size=6,
).filter(lambda text: "\0" not in text)


def quoted(field, always):
    """Return a field as it stands in a file."""
    special = always or {*field} & {*',"\r\n'}
    return '"' + field.replace('"', '""') + '"' if special else field


@given(
    table=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.tuples(*[FIELD] * width), min_size=1, max_size=12)
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    always=st.booleans(),
    block=st.sampled_from([16, 64, 2**20]),
    last=st.booleans(),
)
@example([("", ""), ("", "x"), ("a", "\n")], "\n", False, 16, True)
@example([("", "\n")], "\r", False, 16, False)
@example(
    [
        *[("",) * 5] * 2,
        ("", "", "", "", "\n"),
        ("", "", "", "", "a\n"),
        ("", "", "aaaa\x80", 'aaa"é', "aaaa,𐀀"),
        ("", "", 'aaa"', 'aaaa"\x80', 'aa"\x80\x80\x80'),
        ("", "", "aaa,😀ࠀ", 'aaa"é\x80', "\r\n"),
        ("",) * 5,
    ],
    "\r\n",
    False,
    64,
    False,
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_fields_hold_is_read(table, end, always, block, last):
    """Quotes, separators, lines' ends: the rows come back, by blocks of any size."""
    names = [f"c{i}" for i in range(len(table[0]))]
    lines = [",".join(quoted(field, always) for field in row) for row in [names, *table]]
    content = end.join(lines) + end * last
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCKS", (block, 2**20))
        assert read(content)[1] == table


# -- compressed ----


def compress(content, how):
    if how == ".gz":  # two parts, as `cat a.gz b.gz` makes them
        return gzip.compress(content[:7]) + gzip.compress(content[7:])
    if how == ".bz2":
        return bz2.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("how", [".gz", ".zst", ".bz2"])
def test_compressed_text(how):
    content = ("a,b\n" + "".join(f"{i},{i * 7919 % 10007}\n" for i in range(9999))).encode()
    packed = compress(content, how)
    source = open_table(write(packed, f"d.csv{how}"))
    assert rows(source) == [(str(i), str(i * 7919 % 10007)) for i in range(9999)]
    assert source.size is None
    assert read(compress(b"a\tb\n1\t2\n", how), name=f"d.tsv{how}") == (["a", "b"], [("1", "2")])


@pytest.mark.parametrize("how", [".gz", ".zst", ".bz2"])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"hello" + b[5:], lambda b: b[:20]])
def test_damaged_compressed_text(how, damage):
    content = "".join(f"{i},{i * 7919 % 10007}\n" for i in range(99_999)).encode()
    write(damage(compress(content, how)), f"d.csv{how}")
    with pytest.raises(DataError, match=rf"^d\.csv{how}: can't be read as \.csv{how} \([^\n]+\)$"):
        rows(open_table(f"d.csv{how}"))


# -- what ends early ----


def test_going_through_can_be_given_up():
    source = open_table(write("a,b\n" + "1,2\n" * 3_000_000))
    for _ in range(3):
        assert next(source.chunks()).num_rows
    os.remove("d.csv")
    with pytest.raises(FileNotFoundError):
        next(source.chunks())


SCRIPT = """
import signal, sys
from xpnet.tabular.formats.opening import open_table

signal.signal(signal.SIGINT, signal.default_int_handler)
chunks = open_table("d.csv").chunks()
next(chunks)
if sys.argv[1] == "leave":
    sys.exit(7)
if sys.argv[1] == "fail":
    raise ValueError("given up")
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status"), [("leave", 7), ("fail", 1), ("interrupt", -signal.SIGINT)]
)
def test_a_process_may_end_amid_a_file(how, status):
    """Arrow reads ahead, in threads of its own: they must not call Python, which ends."""
    write("a,b\n" + "1,2\n" * 5_000_000)
    env = os.environ | {"PYTHONPATH": str(Path(xpnet.__file__).parents[1])}
    run = partial(subprocess.run, [sys.executable, "-c", SCRIPT, how], env=env, capture_output=True)
    assert [run().returncode for _ in range(5)] == [status] * 5
