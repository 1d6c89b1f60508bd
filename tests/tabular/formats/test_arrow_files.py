"""Feather, and Arrow's files and streams."""

import numpy as np
import pytest

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.opening import open_table

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
feather = pytest.importorskip("pyarrow.feather")

T = pa.table(
    {
        "a": pa.array([1, None, 3], pa.int16()),
        "b": ["x", None, "z"],
        "c": pa.array(["u", "v", "u"]).dictionary_encode(),
    }
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_file(name, table, **options):
    with pa.ipc.new_file(name, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)


def as_stream(name, table, **options):
    with pa.ipc.new_stream(name, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)


def read(source, columns=None):
    return pa.concat_tables(open_table(source).chunks(columns))


@pytest.mark.parametrize("write", [as_file, as_stream])
@pytest.mark.parametrize("name", ["d.arrow", "d.ipc", "d.feather"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_files_and_streams(write, name, compression):
    write(name, T, compression=compression)
    assert read(name) == T
    assert read(name, ["c", "a"]) == T.select(["c", "a"])
    assert [chunk.num_rows for chunk in open_table(name).chunks([])] == [3]
    assert open_table(name).columns == ["a", "b", "c"]


@pytest.mark.parametrize("write", [as_file, as_stream])
def test_no_rows(write):
    write("d.arrow", T.slice(0, 0))
    assert read("d.arrow") == T.slice(0, 0)


def test_feather():
    feather.write_feather(T, "d.feather")
    assert read("d.feather") == T


def test_feather_of_version_1_is_refused(folder):
    (folder / "d.feather").write_bytes(b"FEA1" + bytes(100))
    with pytest.raises(DataError, match=r"^d\.feather: is Feather of version 1.*write it anew"):
        open_table("d.feather")


def test_large_batches_come_in_pieces():
    table = pa.table({"a": np.arange(2 * 10**6, dtype=np.float64), "b": ["x" * 7] * 2 * 10**6})
    as_file("d.arrow", table)
    chunks = [*open_table("d.arrow").chunks()]
    assert pa.concat_tables(chunks).combine_chunks() == table.combine_chunks()
    assert max(chunk.num_rows for chunk in chunks) <= 2**16


def test_what_pandas_says_of_an_index_is_left_out(pd):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["u", "v"], name="id"))
    as_file("d.arrow", pa.Table.from_pandas(frame))
    assert read("d.arrow").schema.metadata is None
    assert read("d.arrow").to_pydict() == {"a": [1, 2], "id": ["u", "v"]}


@pytest.mark.parametrize("write", [as_file, as_stream])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_files_that_end_early(folder, write, share):
    write("d.arrow", pa.table({"a": range(1000), "b": ["x", "y"] * 500}))
    content = (folder / "d.arrow").read_bytes()
    (folder / "d.arrow").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"^d\.arrow: can't be read as \.arrow \([^\n]+\)$"):
        read("d.arrow")


@pytest.mark.parametrize("content", [b"hello, I am no Arrow file at all", b"x", b"ARROW1"])
def test_what_is_no_file_of_arrows(folder, content):
    (folder / "d.feather").write_bytes(content)
    with pytest.raises(DataError, match=r"^d\.feather: can't be read as \.feather \([^\n]+\)$"):
        read("d.feather")


def test_offsets_that_lead_out_of_a_column_are_refused(folder):
    """Whoever followed them would read memory that is not the table's."""
    as_stream("d.arrow", pa.table({"a": ["abcd", "efgh"]}))
    content = (folder / "d.arrow").read_bytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 4, 8))
    wrong = b"".join(n.to_bytes(4, "little") for n in (0, 4, 2**30))
    assert content.count(offsets) == 1
    (folder / "d.arrow").write_bytes(content.replace(offsets, wrong))
    with pytest.raises(DataError, match=r"^d\.arrow: can't be read as \.arrow"):
        read("d.arrow")


def test_a_name_that_is_no_text(folder):
    as_stream("d.arrow", pa.table({"a name": ["abcd"]}))
    content = (folder / "d.arrow").read_bytes()
    (folder / "d.arrow").write_bytes(content.replace(b"a name", b"a \xff\xfe !"))
    with pytest.raises(DataError, match=r"^d\.arrow: can't be read as \.arrow \(.*utf-8"):
        open_table("d.arrow")


def test_two_columns_of_one_name():
    as_file("d.arrow", pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(DataError, match=r"^d\.arrow: there are two columns named 'a': rename one"):
        open_table("d.arrow")
