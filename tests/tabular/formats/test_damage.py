"""Files of each format, changed at random: they are read, or refused by a DataError in one line."""

import gzip
import random

import pytest

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.libsvm import read_libsvm
from xpnet.tabular.formats.opening import open_table

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
feather = pytest.importorskip("pyarrow.feather")
pq = pytest.importorskip("pyarrow.parquet")

TABLE = pa.table(
    {
        "a": range(200),
        "b": ["x", "yy", None, "é"] * 50,
        "c": pa.array(["u", "v"] * 100).dictionary_encode(),
        "d": pa.array([[1, 2], None] * 100),
    }
)
CSV = "a,b,c\n" + "".join(f'{i},"x ""{i}""\n",é\n' for i in range(100))
ARFF = "@relation r\n@attribute a numeric\n@attribute 'b c' {x,'z w'}\n@attribute s string\n@data\n"


def stream(path):
    with pa.ipc.new_stream(path, TABLE.schema) as writer:
        writer.write_table(TABLE)


WRITERS = {
    "d.csv": lambda path: path.write_text(CSV, "utf-8"),
    "d.csv.gz": lambda path: path.write_bytes(gzip.compress(CSV.encode())),
    "d.parquet": lambda path: pq.write_table(TABLE, path),
    "d.feather": lambda path: feather.write_feather(TABLE, str(path), compression="zstd"),
    "d.arrow": lambda path: stream(str(path)),
    "d.arff": lambda path: path.write_text(ARFF + "1,'z w',\"t\"\n?,x,?\n" * 40, "utf-8"),
    "d.svm": lambda path: path.write_text("+1 1:2 7:5\n-1 2:3\n" * 40, "utf-8"),
}


def damaged(content, draw):
    """Return bytes with a few changes: other ones, some fewer, some more, an early end."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content))
        match draw.randrange(5):
            case 0 | 1:
                content[place] = draw.randrange(256)
            case 2:
                del content[place : place + draw.randint(1, 40)]
            case 3:
                content[place:place] = draw.choice([draw.randbytes(5), b"\xff" * 8, b'"', b"\n,"])
            case 4:
                content = content[: max(1, place)]
    return bytes(content)


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_read_or_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path, draw = tmp_path / name, random.Random(0)
    WRITERS[name](path)
    content, refused = path.read_bytes(), []
    for _ in range(60):
        path.write_bytes(damaged(content, draw))
        try:
            if name == "d.svm":
                read_libsvm(path, name)
            else:
                for chunk in open_table(name).chunks():
                    chunk.to_pydict()
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert [message for message in refused if not message.startswith("d.") or "\n" in message] == []
