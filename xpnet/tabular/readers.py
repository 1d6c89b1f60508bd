"""Reading data sets: scikit-learn's bundled ones, files, and OpenML's.

`read` takes what the command line takes as DATA and returns a `Dataset`; `plan` is for those who go
through a table some rows at a time. What becomes of rows and labels is the business of `features`
and `target`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .columns.schema import Column, Schema
from .dataset import DataError, Dataset
from .formats import libsvm
from .formats.arrays import read_npy, read_npz
from .formats.opening import TABLES, format_of, open_table
from .formats.openml import PREFIX
from .formats.source import PLAIN, TextOptions
from .loading import Plan, Request
from .loading import plan as make_plan

#: scikit-learn's bundled data sets, by the name of the function that loads them.
BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes")

ARRAYS = (".npz", ".npy", *libsvm.SUFFIXES)


def read(
    source: str,
    target: str | None = None,
    drop: Sequence[str] = (),
    labels: bool = True,
    *,
    training: bool = False,
    kinds: Mapping[str, str] | None = None,
    text: TextOptions = PLAIN,
    schema: Schema | None = None,
    column: Column | None = None,
    n_features: int = 0,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source : str
        ``digits``, ``breast_cancer``, ``wine``, ``iris`` or ``diabetes``; a file ``.npz`` (with X
        and y, or X_train, y_train, X_test and y_test), ``.npy`` (X, with y beside it: see
        `formats.arrays.read_npy`), ``.svm``, ``.libsvm`` or ``.svmlight``; or a table, as
        `formats.opening.open_table` takes it.
    target : str or None
        The column with the labels, in a table; in an OpenML set instead of its own target.
    drop : sequence of str
        Columns of a table to leave out.
    labels : bool
        Whether labels are needed. Without, a table need not have the target column.
    training : bool
        Whether they are for training: then an ``.npz`` must have more than X_test and y_test.
    kinds : dict of str to str
        What columns of a table are said to hold, instead of what is found.
    text : TextOptions
        How a text file is written.
    schema, column : Schema, Column, or None
        How a table's columns and labels are read, by a model; else that is learnt from them.
    n_features : int
        How many features a model takes: what is left out at the end of sparse rows is 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is not what its name says, or lacks something.
    TypeError, ValueError
        If a table's column holds what no feature is made of, or not what the schema says.
    ImportError
        If pyarrow is needed and not installed.
    """
    if has_columns(source):
        request = Request(target, drop, labels, kinds or {}, schema, column)
        return make_plan(open_table(source, text), request).load()
    arrays = source, labels, training, n_features
    found = _bundled(source) if source in BUNDLED else _arrays(*arrays)
    if target is not None or drop or kinds:
        raise DataError(f"{found.name} has no named columns: leave --target, --drop, --column out")
    return found


def plan(
    source: str,
    target: str | None = None,
    drop: Sequence[str] = (),
    *,
    kinds: Mapping[str, str] | None = None,
    text: TextOptions = PLAIN,
    schema: Schema | None = None,
    column: Column | None = None,
    labels: bool = False,
) -> Plan:
    """Return how a table is read, some rows at a time; the parameters are `read`'s.

    Raises
    ------
    DataError
        If the source is no table; and as for `read`.
    """
    if not has_columns(source):
        raise DataError(f"{source} has no named columns: give a table")
    request = Request(target, drop, labels, kinds or {}, schema, column)
    return make_plan(open_table(source, text), request)


def has_columns(source: str) -> bool:
    """Return whether a source is a table with named columns, by its name.

    Examples
    --------
    >>> has_columns("t.csv"), has_columns("openml:titanic"), has_columns("d.npz")
    (True, True, False)
    """
    return format_of(source) is not None


def is_data(source: str) -> bool:
    """Return whether a name is that of data.

    Examples
    --------
    >>> is_data("digits"), is_data("t.csv"), is_data("m.safetensors")
    (True, True, False)
    """
    return source in BUNDLED or is_array(source) or has_columns(source)


def is_file(source: str) -> bool:
    """Return whether data come from a file or folder, by the name."""
    return is_data(source) and source not in BUNDLED and not source.startswith(PREFIX)


def is_array(source: str) -> bool:
    """Return whether a name is that of a file with arrays."""
    path = Path(source)
    return path.suffix.lower() in ARRAYS or libsvm.is_libsvm(path)


def _arrays(source: str, labels: bool, training: bool, n_features: int) -> Dataset:
    """Read a file of arrays."""
    path = Path(source)
    if not is_array(source):
        raise DataError(
            f"{source}: give one of {', '.join(BUNDLED)}, a file ending in "
            f"{', '.join((*ARRAYS, *TABLES))}, a folder of Parquet files, or openml:NAME"
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{source}: {what}")
    if path.stat().st_size == 0:
        raise DataError(f"{source}: the file is empty")
    if libsvm.is_libsvm(path):
        return libsvm.read_libsvm(path, source, n_features)
    npz = path.suffix.lower() == ".npz"
    return read_npz(path, labels, training) if npz else read_npy(path, labels)


def _bundled(name: str) -> Dataset:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    target = bunch.target
    names = getattr(bunch, "target_names", None)
    if name != "digits" and names is not None and len(names):
        target = np.asarray(names)[target]
    return Dataset(name, bunch.data, target)
