"""Sparse text of LIBSVM and SVMlight: a label in each row, and the features that are not 0."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...data.labels import is_whole
from ...warning import warn
from ..dataset import DataError, Dataset, require_pair
from .opening import name_of

#: The endings of such files, with .gz or .bz2 behind them or without.
SUFFIXES = (".svm", ".libsvm", ".svmlight")

#: Bytes that the rows may take as an array: it has a place for each 0 too.
LARGEST = 2**33


def is_libsvm(path: Path) -> bool:
    """Return whether a file is one of LIBSVM's, by its name.

    Examples
    --------
    >>> is_libsvm(Path("a9a.svm")), is_libsvm(Path("a9a.svm.gz")), is_libsvm(Path("a9a.txt"))
    (True, True, False)
    """
    inner = Path(path.stem) if path.suffix.lower() in (".gz", ".bz2") else path
    return inner.suffix.lower() in SUFFIXES


def read_libsvm(path: Path, source: str, least: int = 0) -> Dataset:
    """Read a file of LIBSVM's into an array.

    The first feature is number 1, or 0 if there is a 0 in the file. Labels that are all whole are
    int64, else float64.

    Parameters
    ----------
    path : path
        The file, maybe compressed, as .gz or .bz2.
    source : str
        What messages call it.
    least : int
        How many features there are at least: in a small file the last may all be 0.

    Raises
    ------
    DataError
        If it is no such file, has several labels in a row, features in another order than that of
        their numbers, or more than 8 GiB as an array.

    Warns
    -----
    UserWarning
        If rows belong to queries (``qid:3``), which play no part here.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        rows, target, queries = load_svmlight_file(str(path), query_id=True)
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(source, error) from error
    if len(queries):
        warn(f"{source}: rows belong to queries (qid), which play no part")
    rows.resize(rows.shape[0], max(rows.shape[1], least))
    size = rows.shape[0] * rows.shape[1] * rows.dtype.itemsize
    if size > LARGEST:
        raise DataError(
            f"{source}: {rows.shape[0]} rows of {rows.shape[1]} features take {size / 2**30:.0f} "
            f"GiB as an array, more than {LARGEST >> 30}: train on the sparse matrix from Python, "
            "by xpnet.Trainer or xpnet.MLPClassifier"
        )
    found = rows.toarray()
    require_pair(found, target, source)
    return Dataset(name_of(str(path)), found, _labels(target))


def _unreadable(source: str, error: Any) -> DataError:
    """Return the error of a file that scikit-learn can't read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if re.search(r"to float: b'[-+.\d]+,[-+.\d,]+'", reason):
        return DataError(f"{source}: has several labels in a row, as 1,3: give one for each row")
    return DataError(f"{source}: can't be read as LIBSVM's text ({reason})")


def _labels(target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return labels as whole numbers if all are."""
    whole = is_whole(target) and bool((np.abs(target) < 2**53).all())
    return target.astype(np.int64) if whole else target
