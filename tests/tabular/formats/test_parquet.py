"""Parquet files and folders of them: types, parts that go together, and parts that don't."""

import datetime
from decimal import Decimal

import pytest

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.opening import open_table

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
pq = pytest.importorskip("pyarrow.parquet")

T = pa.table({"a": [1, 2], "b": ["x", None]})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, *tables, below=()):
    """Write parts into a folder, or into some below it."""
    for i, table in enumerate(tables):
        place = folder / "d" / (below[i] if below else ".")
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, place / f"part-{i}.parquet")
    return "d"


def read(source, columns=None):
    """Return all rows of a source as one table."""
    chunks = [*open_table(source).chunks(columns)]
    assert len({chunk.schema for chunk in chunks}) == 1
    return pa.concat_tables(chunks)


def test_a_file_keeps_its_types():
    table = pa.table(
        {
            "whole": pa.array([1, None], pa.int16()),
            "text": ["x", None],
            "class": pa.array(["u", "v"]).dictionary_encode(),
            "money": pa.array([Decimal("1.25"), None], pa.decimal128(9, 2)),
            "day": pa.array([datetime.date(2024, 2, 29), None]),
            "time": pa.array([datetime.datetime(2024, 2, 29), None], pa.timestamp("us", "UTC")),
            "flag": [True, None],
            "list": [[1], None],
            "bytes": [b"\xff", None],
        }
    )
    pq.write_table(table, "d.parquet")
    assert read("d.parquet") == table
    source = open_table("d.parquet")
    assert (source.columns, source.written["text"]) == (table.column_names, "text")
    assert source.size > 0


def test_columns_can_be_chosen():
    table = T.append_column("a.b", pa.array([5, 6])).append_column("a b", pa.array([7, 8]))
    pq.write_table(table, "d.parquet")
    assert read("d.parquet", ["a.b", "a"]) == table.select(["a.b", "a"])
    assert [chunk.num_rows for chunk in open_table("d.parquet").chunks([])] == [2]
    with pytest.raises(
        DataError, match=r"^d\.parquet: there is no column 'x'; there are a, b, a\.b"
    ):
        read("d.parquet", ["x"])


def test_groups_of_rows_are_read_some_rows_at_a_time():
    table = pa.table({"a": range(200_000), "s": ["x" * 100] * 200_000})
    pq.write_table(table, "d.parquet", row_group_size=150_000, use_dictionary=False)
    chunks = [*open_table("d.parquet").chunks()]
    assert pa.concat_tables(chunks) == table
    assert max(chunk.nbytes for chunk in chunks) < 2**24
    assert max(chunk.num_rows for chunk in chunks) <= 2**16


def test_the_whole_file_is_never_in_memory():
    table = pa.table({f"c{i}": pa.array([0.1 * i] * 400_000) for i in range(8)})
    writer = pq.ParquetWriter("d.parquet", table.schema, use_dictionary=False, compression="none")
    for _ in range(3):
        writer.write_table(table)
    writer.close()
    source, before = open_table("d.parquet"), pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in source.chunks())
    assert most < 0.6 * source.size


def test_what_pandas_makes_an_index_is_a_column(pd, folder):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["u", "v"], name="id"))
    frame.to_parquet("named.parquet")
    frame.rename_axis(None).to_parquet("nameless.parquet")
    assert read("named.parquet").to_pydict() == {"a": [1, 2], "id": ["u", "v"]}
    assert open_table("nameless.parquet").columns == ["a", "__index_level_0__"]
    assert read("named.parquet").schema.metadata is None


def test_times_of_96_bits_go_beyond_2262():
    times = [datetime.datetime(9999, 12, 31, 23, 59), datetime.datetime(1600, 1, 1)]
    table = pa.table({"t": pa.array(times, pa.timestamp("us"))})
    pq.write_table(table, "d.parquet", use_deprecated_int96_timestamps=True)
    assert read("d.parquet") == table


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_keep_unit_and_zone(unit, zone):
    table = pa.table({"t": pa.array([1_700_000_000_000, None], pa.timestamp(unit, zone))})
    pq.write_table(table, "d.parquet")
    assert read("d.parquet") == table


# -- folders ----


def test_parts_are_joined_by_name(folder):
    other = pa.table({"b": ["y"], "a": [3]})
    assert read(write(folder, T, other)).to_pydict() == {"a": [1, 2, 3], "b": ["x", None, "y"]}


def test_parts_are_in_the_order_of_their_names(folder):
    write(folder, *(pa.table({"a": [i]}) for i in range(9)))
    assert read("d")["a"].to_pylist() == [*range(9)]


def test_what_is_hidden_is_no_part(folder):
    write(folder, T)
    pq.write_table(T, folder / "d" / "_part.parquet")
    for name in ("_SUCCESS", "_metadata", ".part-0.parquet.crc"):
        (folder / "d" / name).write_bytes(b"no Parquet")
    (folder / "d" / "_temporary").mkdir()
    pq.write_table(T, folder / "d" / "_temporary" / "part-0.parquet")
    assert read("d") == T


def test_a_folder_may_be_called_as_a_file_is(folder):
    write(folder, T)
    (folder / "d").rename(folder / "d.parquet")
    assert read("d.parquet") == T


@pytest.mark.parametrize("rows", [0, 2])
def test_parts_without_rows(folder, rows):
    found = read(write(folder, T.slice(0, 0), T.slice(0, rows)))
    assert found == T.slice(0, rows)


def one(kind, *values):
    return pa.table({"x": pa.array(values, kind)})


DAY, BIG = datetime.datetime(2024, 1, 2), 2**40


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (one(pa.int32(), 1), one(pa.int64(), BIG), pa.int64()),
        (one(pa.uint8(), 255), one(pa.int8(), -1), pa.int16()),
        (one(pa.int64(), BIG), one(pa.float64(), 0.5), pa.float64()),
        (one(pa.int32(), 2**31 - 1), one(pa.float32(), 0.5), pa.float64()),
        (one(pa.float32(), 0.5), one(pa.float64(), 0.1), pa.float64()),
        (
            one(pa.decimal128(5, 2), Decimal("1.25")),
            one(pa.decimal128(9, 5), Decimal("0.00001")),
            pa.decimal128(38, 5),
        ),
        (one(pa.decimal128(5, 2), Decimal("1.25")), one(pa.int64(), BIG), pa.decimal128(38, 2)),
        (one(pa.decimal128(5, 2), Decimal("1.25")), one(pa.float32(), 0.5), pa.float64()),
        (one(pa.string(), "x"), one(pa.large_string(), "y"), pa.string()),
        (one(pa.string(), "x"), pa.table({"x": pa.array(["y"]).dictionary_encode()}), pa.string()),
        (one(pa.null(), None), one(pa.int64(), 1), pa.int64()),
        (one(pa.string(), "x"), one(pa.null(), None), pa.string()),
        (one(pa.timestamp("ms"), DAY), one(pa.timestamp("us"), DAY), pa.timestamp("us")),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_types_are_widened(folder, first, second, kind, order):
    tables = [first, second][::order]
    found = read(write(folder, *tables))
    assert found.schema.types == [kind]
    assert found["x"].to_pylist() == [value for t in tables for value in t["x"].to_pylist()]


def test_categories_stay_categories(folder):
    parts = [pa.table({"x": pa.array(texts).dictionary_encode()}) for texts in (["u", "v"], ["w"])]
    found = read(write(folder, *parts))
    assert pa.types.is_dictionary(found.schema.types[0])
    assert found["x"].to_pylist() == ["u", "v", "w"]


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        (pa.string(), "1", "int64 in d/part-0.parquet and string in d/part-1.parquet"),
        (pa.bool_(), True, "int64 in .* and bool in"),
        (pa.timestamp("us"), DAY, r"int64 in .* and timestamp\[us\] in"),
        (pa.binary(), b"1", "int64 in .* and binary in"),
        (pa.list_(pa.int64()), [1], "int64 in .* and list<.*> in"),
    ],
)
def test_types_that_no_other_holds_are_refused_where_they_are_read(folder, kind, value, what):
    other = pa.table({"a": pa.array([value], kind), "b": ["y"]})
    write(folder, T, other)
    with pytest.raises(DataError, match=rf"^d: column 'a' is {what}.*: write both of one type$"):
        read("d")
    assert read("d", ["b"])["b"].to_pylist() == ["x", None, "y"]


def test_text_and_bytes_or_times_of_two_zones_are_not_one(folder):
    write(folder, one(pa.string(), "x"), one(pa.binary(), b"x"))
    with pytest.raises(DataError, match=r"string in .* and binary in"):
        read("d")
    write(folder, one(pa.timestamp("us", "UTC"), DAY), one(pa.timestamp("us"), DAY))
    with pytest.raises(DataError, match=r"timestamp\[us, tz=UTC\] in .* and timestamp\[us\] in"):
        read("d")


def test_values_that_the_common_type_does_not_hold(folder):
    write(folder, one(pa.float64(), 0.5), one(pa.int64(), 2**53 + 1))
    with pytest.raises(
        DataError, match=r"^d/part-1\.parquet: column 'x' is int64 and has values that double"
    ):
        read("d")


def test_a_column_that_lacks_in_a_part_is_refused_where_it_is_read(folder):
    write(folder, T, T.select(["a"]))
    with pytest.raises(DataError, match=r"^d: d/part-1\.parquet has no column 'b', which d/part-0"):
        read("d")
    assert read("d", ["a"])["a"].to_pylist() == [1, 2, 1, 2]


def test_folders_give_columns_of_text(folder):
    below = ("k=01/j=a%2Fb", "k=02/j=__HIVE_DEFAULT_PARTITION__", "k=02/j=x")
    write(folder, T, T.slice(0, 1), T.slice(1), below=below)
    source = open_table("d")
    assert source.columns == ["a", "b", "k", "j"]
    assert read("d", ["k", "j", "a"]).to_pydict() == {
        "k": ["01", "01", "02", "02"],
        "j": ["a/b", "a/b", None, "x"],
        "a": [1, 2, 1, 2],
    }
    assert read("d", ["k"])["k"].to_pylist() == ["01", "01", "02", "02"]


def test_a_key_that_the_files_have_too_is_theirs(folder):
    write(folder, T, T, below=("a=7", "a=8"))
    assert read("d") == pa.concat_tables([T, T])


def test_a_key_that_some_folders_lack(folder):
    write(folder, T, T, below=("k=7", "other"))
    with pytest.raises(
        DataError, match=r"d/other/part-1\.parquet has no column 'k', which d/k=7/p"
    ):
        read("d")


# -- what is no table ----


@pytest.mark.parametrize(("name", "kind"), [("_delta_log", "Delta Lake"), (".hoodie", "Hudi")])
def test_tables_of_other_kinds_are_refused(folder, name, kind):
    write(folder, T)
    (folder / "d" / name).mkdir()
    with pytest.raises(DataError, match=rf"^d: is a table of {kind}.*: write it as plain Parquet$"):
        read("d")


def test_a_folder_without_parts(folder):
    (folder / "d" / "e").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^d: there is no Parquet file in this folder$"):
        read("d")


def test_a_file_of_another_kind_among_the_parts(folder):
    write(folder, T)
    (folder / "d" / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match=r"^d/readme\.txt: can't be read as \.parquet \([^\n]+\)$"):
        read("d")


def _blank(content, place, size=60):
    return content[:place] + bytes(size) + content[place + size :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[:-9],
        lambda c: c[: len(c) // 2],
        lambda c: b"hello",
        lambda c: c[:4] + c[-8:],
        lambda c: _blank(c, 4),
    ],
)
def test_damaged_files(folder, damage):
    pq.write_table(pa.table({"a": range(1000), "b": ["x", "y"] * 500}), "d.parquet")
    content = (folder / "d.parquet").read_bytes()
    (folder / "d.parquet").write_bytes(damage(content))
    with pytest.raises(DataError, match=r"^d\.parquet: can't be read as \.parquet \([^\n]+\)$"):
        read("d.parquet")


def test_text_that_is_none(folder):
    words = pa.array(["aaaa", "bbbb"])
    pq.write_table(pa.table({"s": words}), "d.parquet", use_dictionary=False, compression="none")
    content = (folder / "d.parquet").read_bytes()
    (folder / "d.parquet").write_bytes(content.replace(b"bbbb", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(DataError, match=r"^d\.parquet: can't be read as \.parquet \(.*UTF8"):
        read("d.parquet")


def test_two_columns_of_one_name(folder):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, "d.parquet")
    with pytest.raises(
        DataError, match=r"^d\.parquet: there are two columns named 'a': rename one"
    ):
        open_table("d.parquet")
    write(folder, T, table)
    with pytest.raises(DataError, match=r"^d/part-1\.parquet: there are two columns named 'a'"):
        open_table("d")
