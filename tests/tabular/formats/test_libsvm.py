"""LIBSVM's text."""

import bz2
import gzip

import numpy as np
import pytest

from xpnet.tabular.formats import libsvm
from xpnet.tabular.formats.libsvm import read_libsvm
from xpnet.tabular.readers import DataError, read


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, content, name="d.svm"):
    content = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("suffix", ["svm", "libsvm", "SVMLIGHT"])
def test_rows_and_labels(folder, suffix):
    write(folder, "# comment\n+1 1:0.5 3:2 # one\n-1 2:1e3\n\n+1\n", f"d.{suffix}")
    found = read(f"d.{suffix}")
    assert found.name == "d"
    np.testing.assert_array_equal(found.rows, [[0.5, 0, 2], [0, 1000, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found.target, [1, -1, 1])
    assert (found.rows.dtype, found.target.dtype) == (np.float64, np.int64)


def test_labels_that_are_not_whole(folder):
    write(folder, "0.5 1:1\n2 1:1\n")
    np.testing.assert_array_equal(read("d.svm").target, [0.5, 2])


def test_features_may_be_counted_from_zero_and_their_number_be_known(folder):
    path = write(folder, "1 0:5 2:7\n")
    np.testing.assert_array_equal(read_libsvm(path, "d.svm").rows, [[5, 0, 7]])
    np.testing.assert_array_equal(read_libsvm(path, "d.svm", 4).rows, [[5, 0, 7, 0]])
    np.testing.assert_array_equal(read_libsvm(path, "d.svm", 2).rows, [[5, 0, 7]])
    np.testing.assert_array_equal(read("d.svm", n_features=4).rows, [[5, 0, 7, 0]])


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_compressed(folder, pack, suffix):
    content = pack(b"1 1:5\n" * 1000)
    write(folder, content, f"d.svm.{suffix}")
    assert (read(f"d.svm.{suffix}").rows == 5).all()
    write(folder, content[:-12], f"d.svm.{suffix}")
    with pytest.raises(DataError, match=rf"^d\.svm\.{suffix}: can't be read as LIBSVM's text"):
        read(f"d.svm.{suffix}")


def test_queries_are_told_of(folder):
    write(folder, "3 qid:1 1:0.5\n2 qid:2 1:1\n")
    with pytest.warns(UserWarning, match=r"^d\.svm: rows belong to queries \(qid\), which play no"):
        found = read("d.svm")
    np.testing.assert_array_equal(found.target, [3, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,3 1:0.5\n2 1:1\n", "has several labels in a row, as 1,3: give one for each row"),
        ("x 1:2\n", "can't be read as LIBSVM's text"),
        ("1 3:1 1:2\n", "can't be read as LIBSVM's text .Feature indices .* sorted and unique"),
        ("1 -1:2\n", "can't be read as LIBSVM's text .Invalid index -1"),
        ("1 9999999999:1\n", "can't be read as LIBSVM's text"),
        ("1 1:0.5 3:", "can't be read as LIBSVM's text"),
        ("a,b\n1,2\n", "can't be read as LIBSVM's text"),
        ("# nothing\n", "rows has no rows"),
        ("", "the file is empty"),
        ("1 2147483647:1\n", "1 rows of 2147483647 features take 16 GiB as an array, more than 8"),
    ],
)
def test_what_is_refused(folder, content, message):
    write(folder, content)
    with pytest.raises(DataError, match=rf"^d\.svm: {message}") as caught:
        read("d.svm")
    assert "\n" not in str(caught.value)


def test_what_is_too_large_is_refused_before_it_is_made(folder, monkeypatch):
    monkeypatch.setattr(libsvm, "LARGEST", 8 * 5)
    write(folder, "1 1:1\n" * 5)
    assert read("d.svm").rows.shape == (5, 1)
    write(folder, "1 1:1\n" * 6)
    with pytest.raises(
        DataError, match=r"6 rows of 1 features take .*: train on the sparse matrix"
    ):
        read("d.svm")
