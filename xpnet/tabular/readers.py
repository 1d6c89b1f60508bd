"""Reading data sets: scikit-learn's bundled ones, files, and OpenML's.

`read` takes what the command line takes as DATA and returns a `Dataset`: raw rows and labels, as
they are. What becomes of them is the business of `features` and `target`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import DataError as DataError
from .dataset import Dataset as Dataset
from .formats import libsvm, openml
from .formats.arrays import read_npy, read_npz
from .formats.source import in_a_list, require_unique

#: scikit-learn's bundled data sets, by the name of the function that loads them.
BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes")

FILES = (".npz", ".npy", ".csv", ".parquet", *libsvm.SUFFIXES)


def read(
    source: str,
    target: str | None = None,
    drop: Sequence[str] = (),
    labels: bool = True,
    only: Collection[str] | None = None,
    training: bool = False,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source : str
        ``digits``, ``breast_cancer``, ``wine``, ``iris`` or ``diabetes``; a file ``.npz`` (with X
        and y, or X_train, y_train, X_test and y_test), ``.npy`` (X, with y beside it: see
        `formats.arrays.read_npy`), ``.svm``, ``.libsvm`` or ``.svmlight``, ``.csv`` or
        ``.parquet``; or ``openml:NAME``, if need be ``openml:NAME@VERSION``.
    target : str or None
        The column with the labels, in a ``.csv`` or ``.parquet`` file, or in an OpenML set instead
        of its own target.
    drop : sequence of str
        Columns of a table to leave out.
    labels : bool
        Whether labels are needed. Without, a table need not have the target column.
    only : names or None
        The columns of a table that become features, if not all do: what others are called, and
        hold, is no matter.
    training : bool
        Whether they are for training: then an ``.npz`` must have more than X_test and y_test.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is not what its name says, or lacks something.
    ImportError
        If pandas or pyarrow is needed and not installed.
    """
    if source in BUNDLED:
        return _only_arrays(_bundled(source), target, drop)
    if source.startswith("openml:"):
        return _openml(source, target, drop, labels, only)
    path = Path(source)
    if path.suffix.lower() not in FILES and not libsvm.is_libsvm(path):
        raise DataError(
            f"{source}: give one of {', '.join(BUNDLED)}, a file ending in "
            f"{', '.join(FILES)}, or openml:NAME"
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{source}: {what}")
    if path.stat().st_size == 0:
        raise DataError(f"{source}: the file is empty")
    suffix = path.suffix.lower()
    if libsvm.is_libsvm(path):
        return _only_arrays(libsvm.read_libsvm(path, source), target, drop)
    if suffix in (".npz", ".npy"):
        found = read_npz(path, labels, training) if suffix == ".npz" else read_npy(path, labels)
        return _only_arrays(found, target, drop)
    frame, header = _read_table(path)
    return _table(path.stem, frame, target, drop, labels, only, str(path), header)


def has_columns(source: str) -> bool:
    """Return whether a source is a table with named columns, by its name.

    Examples
    --------
    >>> has_columns("t.csv"), has_columns("openml:titanic"), has_columns("d.npz")
    (True, True, False)
    """
    return source.startswith("openml:") or Path(source).suffix.lower() in (".csv", ".parquet")


def _only_arrays(found: Dataset, target: str | None, drop: Sequence[str]) -> Dataset:
    if target is not None or drop:
        raise DataError(f"{found.name} has no named columns: leave --target and --drop out")
    return found


def _bundled(name: str) -> Dataset:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    target = bunch.target
    names = getattr(bunch, "target_names", None)
    if name != "digits" and names is not None and len(names):
        target = np.asarray(names)[target]
    return Dataset(name, bunch.data, target)


def _read_table(path: Path) -> tuple[Any, Sequence[str]]:
    """Return a table, and its columns' names as they stand in the file."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{path}: tables need pandas: pip install 'xpnet[files]'") from error
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            require_unique(parquet.read_schema(path).names, str(path))
            return (frame := pd.read_parquet(path)), frame.columns
        _require_text(path)
        # pandas gives the second of two columns "a" the name "a.1": what stands there is asked for.
        first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        return pd.read_csv(path), first.iloc[0].tolist()
    except DataError:
        raise
    except ImportError as error:
        raise ImportError(f"{path}: Parquet needs pyarrow: pip install 'xpnet[files]'") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 ({error}): save it as UTF-8") from error
    except (ValueError, OSError, KeyError) as error:  # pandas' and Arrow's errors derive from these
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: can't be read as {path.suffix} ({reason})") from error


def _require_text(path: Path) -> None:
    """Raise a UnicodeDecodeError if a file begins as UTF-16 or as no text at all."""
    with path.open("rb") as file:
        start = file.read(4096)
    if (place := start.find(0)) >= 0:
        raise UnicodeDecodeError("utf-8", start, place, place + 1, "a zero byte")


def _table(
    name: str,
    frame: Any,
    target: str | None,
    drop: Sequence[str],
    labels: bool,
    only: Collection[str] | None,
    source: str,
    header: Sequence[str],
) -> Dataset:
    """Part a frame into rows and labels; ``header`` has the names in the file."""
    frame.columns = [str(c) for c in frame.columns]
    require_unique(frame.columns, source)
    known = ", ".join(frame.columns[:20])
    if len(frame) == 0:
        raise DataError(f"{source}: there are no rows")
    if labels and target is None:
        raise DataError(f"{source}: say which column to predict: --target COLUMN ({known})")
    for column in (*drop, *([target] if target and labels else [])):
        if column not in frame.columns:
            raise DataError(f"{source}: there is no column {column!r}; there are {known}")
    if labels and target in drop:
        raise DataError(f"{source}: {target!r} is the column to be predicted: don't leave it out")
    y = frame[target].to_numpy() if target in frame.columns else None
    gone = [*drop, *([target] if y is not None else [])]
    rows = frame.drop(columns=gone)
    if rows.shape[1] == 0:
        raise DataError(f"{source}: no columns are left to predict from")
    if only is not None:
        rows = rows[[c for c in rows.columns if c in only]]
    written = dict(zip(frame.columns, map(str, header), strict=True))
    if y is not None:
        _require_one(str(target), rows.columns, written, source)
    counts = Counter(written[c] for c in rows.columns)
    renamed = {c: written[c] for c in rows.columns if written[c] and counts[written[c]] > 1}
    return Dataset(name, rows, y, target_name=target, renamed=renamed)


def _require_one(target: str, columns: Any, written: dict[str, str], source: str) -> None:
    """Raise a DataError if another column has the name of the one that is to be predicted."""
    for column in columns:
        if written[column].strip() == written[target].strip():
            same = written[column] == written[target]
            twice = (
                f"two columns named {written[target]!r}"
                if same
                else (f"columns named {written[target]!r} and {written[column]!r}")
            )
            raise DataError(
                f"{source}: there are {twice}, and {target!r} is to be predicted: leave the other "
                f"out by --drop {in_a_list(column)!r}, or rename it"
            )


def _openml(
    source: str,
    target: str | None,
    drop: Sequence[str],
    labels: bool,
    only: Collection[str] | None,
) -> Dataset:
    bunch = openml.fetch(source)
    frame = bunch.frame
    name = source.removeprefix(openml.PREFIX).partition("@")[0]
    own = getattr(bunch.target, "name", None)  # several targets are a frame, and have none
    return _table(name, frame, target or own, drop, labels, only, source, frame.columns)
