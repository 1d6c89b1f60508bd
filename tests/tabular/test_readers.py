"""Reading data sets: each source, and each way in which it can be wrong."""

import zipfile

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import DataError, Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.readers import BUNDLED, read

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled(name):
    found = read(name)
    assert found.name == name
    assert len(found.rows) == len(found.target) > 100


def test_class_names_instead_of_numbers():
    assert set(read("iris").target) == {"setosa", "versicolor", "virginica"}
    assert set(read("digits").target) == set(range(10))


def test_npz(folder):
    np.savez("d.npz", X=X, y=Y)
    found = read("d.npz")
    assert found.name == "d"
    np.testing.assert_array_equal(found.rows, X)
    np.testing.assert_array_equal(found.target, Y)


def test_npz_with_a_test_set(folder):
    np.savez("d.npz", X_train=X, y_train=Y, X_test=X[:4], y_test=Y[:4])
    found = read("d.npz")
    np.testing.assert_array_equal(found.test_rows, X[:4])
    np.testing.assert_array_equal(found.test_target, Y[:4])


def test_images_are_flattened_and_column_labels_too(folder):
    np.savez("d.npz", X=np.zeros((5, 4, 3)), y=np.zeros((5, 1)))
    found = read("d.npz")
    assert found.rows.shape == (5, 12)
    assert found.target.shape == (5,)


TRAIN = {"X_train": X, "y_train": Y}


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            {"X_test": X[:4], "y_test": Y[:4].astype(str)},
            r"y_train holds numbers of shape \(n,\) and y_test holds text of shape \(n,\): give",
        ),
        (
            {"X_test": X[:4].astype(str), "y_test": Y[:4]},
            r"X_train holds numbers of shape \(n, 3\) and X_test holds text of shape \(n, 3\):",
        ),
        (
            {"X_test": X[:4, :2], "y_test": Y[:4]},
            r"X_train holds numbers of shape \(n, 3\) and X_test .* \(n, 2\): .* as many columns",
        ),
        (
            {"X_test": X[:4], "y_test": np.eye(4)},
            r"y_train holds numbers of shape \(n,\) and y_test holds numbers of shape \(n, 4\)",
        ),
        ({"X_test": X[:4], "y_test": Y}, "X_test has 4 rows and y_test 12"),
        ({"X_test": X[:4], "y_test": np.zeros((4, 1, 2))}, r"y_test has shape \(4, 1, 2\)"),
        ({"X_test": X[0], "y_test": Y[:1]}, r"X_test has shape \(3,\)"),
        (
            {"X_test": X[:4].reshape(4, 1, 3), "y_test": Y[:4]},
            r"X_train holds numbers of shape \(n, 3\) and X_test .* \(n, 1, 3\): give both of one",
        ),
    ],
)
def test_a_test_set_that_does_not_go_with_the_training_set(folder, test, message):
    np.savez("d.npz", **TRAIN, **test)
    with pytest.raises(DataError, match=rf"^d\.npz: {message}"):
        read("d.npz")


WHOLE, TEST = {"X": X, "y": Y}, {"X_test": X[:4], "y_test": Y[:4]}
NAMES = {"feature_names": np.array(["a", "b", "c"])}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (("X_train", "y_train", "X_test"), "X_train, y_train, X_test and no y_test; give X and y"),
        (("X_train", "y_train", "y_test"), "X_train, y_train, y_test and no X_test; give X and y"),
        (("y_train", "X_test", "y_test"), "y_train, X_test, y_test and no X_train; give X and y"),
        (("X_train", "X_test", "y_test"), "X_train, X_test, y_test and no y_train; give X and y"),
        (("X", "y", "X_train", "y_train"), "X, y, X_train, y_train; give X and y, or X_train and"),
        (("X", "y", "X_test", "y_test"), "X, y, X_test, y_test; give X and y, or X_train and y_tr"),
        (("X", "y", "X_test"), "X, y, X_test and no y_test; give X and y"),
        (("X", "y_train"), "X, y_train and no y and X_train; give X and y"),
        (("feature_names",), "feature_names; give X and y"),
    ],
)
def test_an_archive_whose_parts_do_not_go_together(folder, held, message):
    whole = WHOLE | TRAIN | TEST | NAMES
    np.savez("d.npz", **{name: whole[name] for name in held})
    with pytest.raises(DataError, match=rf"^d\.npz: holds {message}"):
        read("d.npz")


def test_images_of_the_test_set_are_flattened_too(folder):
    images = np.arange(48).reshape(12, 2, 2)
    np.savez("d.npz", X_train=images, y_train=Y, X_test=images[:4], y_test=Y[:4])
    found = read("d.npz")
    assert (found.rows.shape, found.test_rows.shape) == ((12, 4), (4, 4))


@pytest.mark.parametrize("arrays", [WHOLE, TRAIN, TRAIN | TEST, TEST])
def test_other_arrays_in_an_archive_are_no_matter(folder, arrays):
    np.savez("d.npz", **arrays, **NAMES)
    assert len(read("d.npz").rows) == len(next(iter(arrays.values())))


@pytest.mark.parametrize(
    ("arrays", "taken"), [(WHOLE, True), (TRAIN, True), (TRAIN | TEST, True), (TEST, False)]
)
def test_a_test_set_alone_is_nothing_to_train_on(folder, arrays, taken):
    np.savez("d.npz", **arrays, **NAMES)
    if taken:
        assert len(read("d.npz", training=True).rows) == 12
        return
    message = r"^d\.npz: holds X_test, y_test, feature_names; give X and y, or X_train and y_train"
    with pytest.raises(DataError, match=message):
        read("d.npz", training=True)


@pytest.mark.parametrize(
    ("arrays", "rows"),
    [
        ({"X": X} | NAMES, 12),
        ({"X_test": X[:4]} | NAMES, 4),
        (TRAIN | {"X_test": X[:4]}, 4),
        (TRAIN, 12),
        (WHOLE | TRAIN, None),
        ({"X": X, "X_test": X[:4]}, None),
        ({"y": Y}, None),
    ],
)
def test_what_is_predicted_of_an_archive(folder, arrays, rows):
    np.savez("d.npz", **arrays)
    if rows is not None:
        assert len(read("d.npz", labels=False).rows) == rows
        return
    with pytest.raises(DataError, match=r"holds .*; give what is to be predicted as X, or as X_te"):
        read("d.npz", labels=False)


def test_columns_of_labels_are_flattened_in_the_test_set_too(folder):
    np.savez("d.npz", **TRAIN, X_test=X[:4], y_test=Y[:4, None])
    assert read("d.npz").test_target.shape == (4,)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((X, Y, X, Y.astype(str)), r"target holds numbers .* and test_target holds text"),
        ((X, Y.astype(object), X, Y.astype(str).astype(object)), "test_target holds text"),
        ((X, Y, X[:, :1], Y), r"rows holds .* \(n, 3\) and test_rows holds .* \(n, 1\)"),
        ((X, Y, X), "there is test_rows and no test_target: give both, or neither"),
        ((X, Y, None, Y), "there is test_target and no test_rows"),
        ((X, Y.astype(bool), X, Y), "target holds truth values .* test_target holds numbers"),
    ],
)
def test_parts_from_python_that_do_not_go_together(parts, message):
    with pytest.raises(DataError, match=message):
        Experiment.prepare(Dataset("d", *parts), Settings(), "cpu")


def test_all_the_rows_of_parts_of_several_types_are_what_they_were(pd):
    whole = np.array([[2**53 + 1], [2]])
    found, _ = Dataset("d", whole, Y[:2], whole.astype(np.uint64), Y[:2]).everything()
    if np.finfo(np.longdouble).nmant > 60:
        assert [*map(int, found[:, 0])] == [2**53 + 1, 2] * 2
    first, second = (pd.DataFrame({"a": values, "b": ["u", "v"]}) for values in ([1, 2], [3, 4]))
    found, _ = Dataset("d", first, Y[:2], second, Y[:2]).everything()
    assert found.to_pydict() == {"a": [1, 2, 3, 4], "b": ["u", "v"] * 2}


def test_npz_without_labels_to_predict(folder):
    np.savez("d.npz", X=X)
    assert read("d.npz", labels=False).target is None
    with pytest.raises(DataError, match="holds X and no y; give X and y, or"):
        read("d.npz")


@pytest.mark.parametrize(
    ("rows", "labels", "name"), [("X", "y", "folder"), ("d_X", "d_y", "d"), ("d-X", "d-y", "d")]
)
def test_npy_pair(tmp_path, rows, labels, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / f"{rows}.npy", X)
    np.save(folder / f"{labels}.npy", Y)
    found = read(str(folder / f"{rows}.npy"))
    assert found.name == name
    np.testing.assert_array_equal(found.target, Y)


def test_npy_without_its_partner(folder):
    np.save("X.npy", X)
    np.save("data.npy", X)
    with pytest.raises(DataError, match=r"no y\.npy is beside it"):
        read("X.npy")
    with pytest.raises(DataError, match=r"must end in X\.npy"):
        read("data.npy")
    assert read("data.npy", labels=False).rows.shape == X.shape


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_table(folder, pd, suffix):
    frame = pd.DataFrame({"a": X[:, 0], "b": ["u", "v"] * 6, "y": Y})
    writer = frame.to_csv if suffix == "csv" else frame.to_parquet
    writer(f"d.{suffix}", index=False)
    found = read(f"d.{suffix}", target="y", drop=["b"])
    assert list(found.rows.column_names) == ["a"]
    assert found.target_name == "y"
    np.testing.assert_array_equal(found.target, Y)
    assert "y" in read(f"d.{suffix}", labels=False).rows.column_names


def _content(name, content):
    def write(folder):
        path = folder / name
        if isinstance(content, dict):
            np.savez(path, **content)
        elif isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_bytes(content)

    return name, write


def _truncated(folder):
    np.savez(folder / "d.npz", X=X, y=Y)
    whole = (folder / "d.npz").read_bytes()
    (folder / "d.npz").write_bytes(whole[: len(whole) // 2])


def _headed(folder, change):
    """Write an array whose header is another."""
    np.save(folder / "dX.npy", X)
    whole = (folder / "dX.npy").read_bytes()
    (folder / "dX.npy").write_bytes(change(whole))


def _unclosed(folder):
    _headed(folder, lambda whole: whole.replace(b"}", b" ", 1))


def _not_python(folder):
    _headed(folder, lambda whole: whole.replace(b"'shape': (", b"'shape': $(", 1))


def _unclosed_inside(folder):
    _unclosed(folder)
    with zipfile.ZipFile(folder / "d.npz", "w") as archive:
        archive.write("dX.npy", "X.npy")


def _long_header(folder):
    header = str({"descr": "<f8", "fortran_order": False, "shape": (2, 2)}).encode()
    header = header.ljust(60_000) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (folder / "dX.npy").write_bytes(start + header + bytes(32))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("dX.npy", _unclosed, r"dX\.npy: can't be read as \.npy"),
        ("dX.npy", _not_python, r"dX\.npy: can't be read as \.npy"),
        ("d.npz", _unclosed_inside, r"d\.npz: can't be read as \.npz"),
        ("dX.npy", _long_header, "its header is longer than that of any array of numbers"),
        (*_content("d.npz", b""), "empty"),
        (*_content("d.npz", b"hello"), "can't be read as .npz"),
        (*_content("dX.npy", b"hello"), "can't be read as .npy"),
        ("d.npz", _truncated, "d.npz"),
        (*_content("d.npz", {"a": X}), "holds a; give X and y"),
        (*_content("d.npz", {"X": X, "y": Y[:5]}), "X has 12 rows and y 5"),
        (*_content("d.npz", {"X": X[:, 0], "y": Y}), "give .examples, features"),
        (*_content("d.npz", {"X": X[:0], "y": Y[:0]}), "no rows"),
        (*_content("d.npz", {"X": X.astype(object), "y": Y}), "Python objects"),
        (
            *_content("d.npz", {"X_train": X, "y_train": Y, "X_test": X, "y_test": Y[:3]}),
            "X_test has 12 rows and y_test 3",
        ),
        (*_content("d.txt", b"1,2"), "give one of digits"),
        (*_content("d", b"1,2"), "give one of digits"),
    ],
)
def test_broken_arrays(folder, name, write, message):
    write(folder)
    with pytest.raises(DataError, match=message):
        read(name)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("d.csv", b"", {}, "empty"),
        ("d.csv", b"a,b\n", {"target": "b"}, "no rows"),
        ("d.csv", b"a,b\n1,2\n", {}, "--target COLUMN .a, b"),
        ("d.csv", b"a,b\n1,2\n", {"target": "c"}, "no column 'c'; there are a, b"),
        ("d.csv", b"a,b\n1,2\n", {"target": "b", "drop": ["d"]}, "no column 'd'"),
        ("d.csv", b"b\n1\n", {"target": "b"}, "no columns are left"),
        ("d.csv", b"a,b\n1,2,3\n4\n5,6,7,8,9\n", {"target": "b"}, "can't be read as .csv"),
        ("d.csv", bytes(range(128, 256)), {"target": "b"}, "is no text in UTF-8 .*: save it as U"),
        ("d.csv", "a,b\n1,2\n".encode("utf-16"), {"target": "b"}, "d.csv: .*: save it as UTF-8"),
        ("d.csv", "a,b\n1,2\n".encode("utf-16-le"), {"target": "b"}, "zero byte.*: save it as U"),
        ("d.csv", b"a,b\n1,2\n", {"target": "b", "drop": ["b"]}, "'b' is the column to be pred"),
        ("d.parquet", b"hello", {"target": "b"}, "can't be read as .parquet"),
    ],
)
def test_broken_tables(folder, pa, name, content, options, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(name, **options)


def test_no_such_file(folder):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read("nosuch.npz")
    (folder / "d.csv").mkdir()
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read("d.csv")


def test_arrays_have_no_columns_to_name():
    with pytest.raises(DataError, match="no named columns"):
        read("digits", target="y")


@pytest.fixture
def new(monkeypatch):
    """Let scikit-learn be one that finds OpenML."""
    monkeypatch.setattr("sklearn.__version__", "1.9.0")


@pytest.mark.usefixtures("new")
def test_openml(monkeypatch, pd):
    """What scikit-learn is asked for, and what becomes of its answer; nothing is fetched."""
    frame = pd.DataFrame({"age": [1.0, 2.0], "sex": ["f", "m"]})
    frame["survived"] = pd.Categorical(["0", "1"])
    asked = {}

    def fetch_openml(name, **options):
        from sklearn.utils import Bunch

        asked.update(options, name=name)
        return Bunch(frame=frame.copy(), target=frame["survived"])

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    found = read("openml:titanic@1")
    assert (asked["name"], asked["version"], asked["as_frame"]) == ("titanic", 1, True)
    assert found.name == "titanic"
    assert list(found.rows.column_names) == ["age", "sex"]
    assert list(found.target) == ["0", "1"]
    assert list(read("openml:titanic", target="sex").rows.column_names) == ["age", "survived"]
    assert asked["version"] == "active"


@pytest.mark.parametrize("source", ["openml:", "openml:titanic@one"])
def test_openml_needs_a_name(pa, source):
    with pytest.raises(DataError, match="openml"):
        read(source)


@pytest.mark.usefixtures("new")
@pytest.mark.parametrize("error", [ValueError, OSError])
def test_what_openml_does_not_give_is_named(monkeypatch, pa, error):
    def refuse(*_, **__):
        raise error("unreachable")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    with pytest.raises(DataError, match=r"openml:zzz: can't be fetched \(unreachable\)"):
        read("openml:zzz")


@pytest.mark.usefixtures("new")
def test_openml_without_pandas_says_what_to_install(monkeypatch, pa):
    def refuse(*_, **__):
        raise ImportError("pandas is needed")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    with pytest.raises(ImportError, match=r"openml:zzz: OpenML needs pandas: pip .*xpnet\[openml"):
        read("openml:zzz")


@pytest.mark.usefixtures("new")
def test_openml_target_that_is_not_one_column(monkeypatch, pd):
    from sklearn.utils import Bunch

    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    monkeypatch.setattr(
        "sklearn.datasets.fetch_openml", lambda *_, **__: Bunch(frame=frame, target=None)
    )
    with pytest.raises(DataError, match="--target COLUMN"):
        read("openml:some")


def test_whole_numbers_as_labels_are_exact_in_every_part_of_a_file(tmp_path, pa):
    path = tmp_path / "t.csv"
    labels = [2**53 + 1, *range(70_000), 2**63 + 1]
    path.write_text("a,y\n" + "".join(f"{i},{y}\n" for i, y in enumerate(map(str, labels), 1)))
    path.write_text(path.read_text().replace("1,", "5,", 1))  # a feature that does not count
    found = read(str(path), "y").target
    assert [int(found[0]), int(found[-1])] == [2**53 + 1, 2**63 + 1]


def test_a_column_that_changes_its_mind_in_batches_of_wide_rows(tmp_path, pa):
    n = 3000
    late = {"n": ["1", "2"] * (n // 2), "c": ["1"] * 1000 + ["u", "v"] * 1000}
    wide = ["x" * 10_000, "y" * 10_000] * (n // 2)
    table = pa.table(late | {"w": wide, "y": [i % 2 for i in range(n)]})
    path = tmp_path / "t.feather"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    rows = read(str(path), "y").rows
    assert rows["n"].to_pylist() == [1, 2] * (n // 2)
    assert rows["c"].to_pylist() == late["c"]
    assert rows["w"].to_pylist() == wide


def test_what_is_wrong_with_a_later_table_is_told_with_its_name(tmp_path, pa):
    from xpnet.tabular.columns.schema import Column, Schema

    path = tmp_path / "later.csv"
    path.write_text("a,y\none,1\n")
    schema, column = Schema((Column("a", "number"),)), Column("y", "integer")
    with pytest.raises(TypeError, match=r"later.csv: column 'a' holds text where numbers"):
        read(str(path), "y", schema=schema, column=column)
    with pytest.raises(DataError, match=r"later.csv: the data has no column 'b'"):
        read(str(path), "y", schema=Schema((Column("b", "number"),)), column=column)
