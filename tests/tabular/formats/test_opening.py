"""Which format a table has, what is needed for it, and OpenML's."""

import sys

import pytest
import sklearn

from xpnet.tabular.dataset import DataError
from xpnet.tabular.formats.opening import TABLES, format_of, open_table
from xpnet.tabular.formats.source import TextOptions


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        *((f"a.b/d{suffix}", suffix) for suffix in TABLES),
        ("d.csv.gz", ".csv"),
        ("d.TSV.Zst", ".tsv"),
        ("d.arff.bz2", ".arff"),
        ("openml:titanic@1", "openml:"),
        ("d.parquet.gz", None),
        ("d.gz", None),
        ("d.txt", None),
        ("d", None),
        ("csv", None),
        ("d.npz", None),
    ],
)
def test_a_format_is_known_by_the_name(source, kind):
    assert format_of(source) == kind


def test_a_folder_is_one_of_parquet_files(folder):
    for name in ("d", "d.v2", "d.parquet"):
        (folder / name).mkdir()
        assert format_of(name) == ".parquet"


@pytest.mark.parametrize("name", ["d.txt", "d", "d.npz", "d.csv.zip"])
def test_what_has_no_known_format(folder, name):
    (folder / name).write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=rf"^{name}: give a file ending in \.csv, \.tsv, \.parquet,"
    ):
        open_table(name)


@pytest.mark.parametrize("options", [TextOptions(separator=";"), TextOptions(decimal=",")])
@pytest.mark.parametrize("source", ["d.parquet", "d.arff", "openml:iris"])
def test_how_text_is_written_is_said_of_text_alone(source, options):
    message = rf"^{source}: --separator and --decimal are for \.csv and \.tsv$"
    with pytest.raises(DataError, match=message):
        open_table(source, options)


@pytest.mark.parametrize("suffix", [*TABLES, ".csv.gz"])
def test_no_such_file(suffix):
    with pytest.raises(FileNotFoundError, match=rf"^d\{suffix}: no such file$"):
        open_table(f"d{suffix}")


def test_a_folder_where_a_file_is_expected(folder):
    (folder / "d.csv").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^d\.csv: is a folder$"):
        open_table("d.csv")


@pytest.mark.parametrize("suffix", TABLES)
def test_empty_files(folder, suffix):
    (folder / f"d{suffix}").write_bytes(b"")
    with pytest.raises(DataError, match=rf"^d\{suffix}: the file is empty$"):
        open_table(f"d{suffix}")


@pytest.mark.parametrize("source", ["d.csv", "openml:iris"])
def test_without_pyarrow_it_is_said_what_to_install(folder, monkeypatch, source):
    (folder / "d.csv").write_text("a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=rf"^{source}: tables need pyarrow: pip install 'xpnet\["):
        open_table(source)


# -- OpenML ----


@pytest.fixture
def new(monkeypatch):
    monkeypatch.setattr(sklearn, "__version__", "1.9.0")


@pytest.mark.usefixtures("new", "pa")
def test_openml(monkeypatch, pd):
    """What scikit-learn is asked for, and what becomes of its answer; nothing is fetched."""
    kinds = pd.Categorical(["f", "m"], categories=["f", "m", "x"])
    frame = pd.DataFrame({"age": [1.0, None], "sex": kinds, "name": ["u", None], "y": ["0", "1"]})
    asked = {}

    def fetch_openml(name, **options):
        asked.update(options, name=name)
        return sklearn.utils.Bunch(frame=frame, target=frame["y"])

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    source = open_table("openml:titanic@1")
    assert (asked["name"], asked["version"], asked["as_frame"]) == ("titanic", 1, True)
    assert (source.name, source.target) == ("openml:titanic@1", "y")
    [chunk] = source.chunks()
    assert chunk.schema.metadata is None
    assert chunk["sex"].chunk(0).dictionary.to_pylist() == ["f", "m", "x"]
    assert chunk.to_pydict() == {
        "age": [1.0, None],
        "sex": ["f", "m"],
        "name": ["u", None],
        "y": ["0", "1"],
    }
    open_table("openml:titanic")
    assert asked["version"] == "active"


@pytest.mark.usefixtures("new", "pa")
def test_several_targets_are_none(monkeypatch, pd):
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    bunch = sklearn.utils.Bunch(frame=frame, target=frame)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: bunch)
    assert open_table("openml:some").target is None


@pytest.mark.usefixtures("pa")
@pytest.mark.parametrize("version", ["1.8.2", "1.7.0rc1", "0.24"])
def test_an_older_scikit_learn_is_refused_by_its_version(monkeypatch, version):
    monkeypatch.setattr(sklearn, "__version__", version)
    message = rf"^openml:iris: needs scikit-learn 1\.9 or newer, and here is {version}: "
    with pytest.raises(ImportError, match=message):
        open_table("openml:iris")


@pytest.mark.parametrize("version", ["1.9.0", "1.10.dev0", "2.0"])
def test_a_newer_one_is_not(version):
    from xpnet.tabular.formats.openml import require_new

    require_new("openml:iris", version)


@pytest.mark.usefixtures("new", "pa")
@pytest.mark.parametrize("source", ["openml:", "openml:titanic@one"])
def test_openml_needs_a_name(source):
    with pytest.raises(DataError, match=f"^{source}: give a name and if need be a version"):
        open_table(source)


@pytest.mark.usefixtures("new", "pa")
@pytest.mark.parametrize("error", [ValueError, OSError, TimeoutError, ConnectionError])
def test_what_openml_does_not_give_is_named_in_one_line(monkeypatch, error):
    def refuse(*_, **__):
        raise error("unreachable\nand more")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    with pytest.raises(DataError, match=r"^openml:zzz: can't be fetched \(unreachable\)$"):
        open_table("openml:zzz")
