"""Reading data sets: scikit-learn's bundled ones, files, and OpenML's.

`read` takes what the command line takes as DATA and returns a `Dataset`: raw rows and labels, as
they are. What becomes of them is `preprocessing`'s business.
"""

from __future__ import annotations

import hashlib
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.arrays import is_frame

#: scikit-learn's bundled data sets, by the name of the function that loads them.
BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes")

FILES = (".npz", ".npy", ".csv", ".parquet")

#: What NumPy raises of a damaged file: its headers are read as Python's own words are.
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class DataError(ValueError):
    """A data set can't be read, or is not what it must be: the message says why."""


@dataclass
class Dataset:
    """Rows and labels, as they were found.

    Attributes
    ----------
    name : str
        What to call it: a bundled set's name or a file's stem.
    rows : numpy.ndarray or pandas.DataFrame
        The features, (n, m).
    target : numpy.ndarray or None
        The labels, (n,) or (n, k); None if there are none.
    test_rows, test_target
        A test set that the source keeps apart, if it does.
    target_name : str or None
        The column that the labels come from, in a table.
    """

    name: str
    rows: Any
    target: np.ndarray[Any, Any] | None = None
    test_rows: Any = None
    test_target: np.ndarray[Any, Any] | None = None
    target_name: str | None = None

    def everything(self) -> tuple[Any, Any]:
        """Return all rows and labels, a test set that is kept apart among them."""
        if self.test_rows is None:
            return self.rows, self.target
        labels = None if self.target is None else np.concatenate([self.target, self.test_target])
        return np.concatenate([self.rows, self.test_rows]), labels

    def fingerprint(self) -> str:
        """Return a hash of rows and labels, to know the data set again; columns in any order."""
        digest = hashlib.sha256()
        part: Any
        for part in (self.rows, self.target):
            if is_frame(part):
                import pandas as pd

                ordered = part[sorted(part.columns)]
                digest.update(pd.util.hash_pandas_object(ordered, index=False).to_numpy().tobytes())
            elif part is not None:
                text = part.dtype.kind in "OU"
                data = "\0".join(map(str, part.ravel())).encode() if text else part.tobytes()
                digest.update(data)
        return digest.hexdigest()[:16]


def read(
    source: str, target: str | None = None, drop: Sequence[str] = (), labels: bool = True
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source : str
        ``digits``, ``breast_cancer``, ``wine``, ``iris`` or ``diabetes``; a file ``.npz`` (with X
        and y, or X_train, y_train, X_test and y_test), ``.npy`` (X, with y beside it: see `_npy`),
        ``.csv`` or ``.parquet``; or ``openml:NAME``, if need be ``openml:NAME@VERSION``.
    target : str or None
        The column with the labels, in a ``.csv`` or ``.parquet`` file, or in an OpenML set instead
        of its own target.
    drop : sequence of str
        Columns of a table to leave out.
    labels : bool
        Whether labels are needed. Without, a table need not have the target column.

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
        return _openml(source, target, drop, labels)
    path = Path(source)
    if path.suffix.lower() not in FILES:
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
    if suffix in (".npz", ".npy"):
        found = _npz(path, labels) if suffix == ".npz" else _npy(path, labels)
        return _only_arrays(found, target, drop)
    return _table(path.stem, _read_table(path), target, drop, labels, str(path))


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


def _load(path: Path) -> Any:
    """Return the array in an ``.npy`` file, or a dict of the arrays in an ``.npz`` one."""
    try:
        # Opened here, because numpy.load leaves a broken archive's file open.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return {name: loaded[name] for name in loaded.files}
            return loaded
    except DAMAGED as error:
        text = str(error)
        if "max_header_size" in text:
            text = "its header is longer than that of any array of numbers"
        elif "pickle" in text:
            text = "it holds Python objects, or is no NumPy file; save plain arrays of numbers"
        raise DataError(f"{path}: can't be read as {path.suffix} ({text})") from error


def _npz(path: Path, labels: bool) -> Dataset:
    arrays = _load(path)
    if not isinstance(arrays, dict):
        raise DataError(f"{path}: not an .npz archive; a single array's name ends in .npy")
    if "X_test" in arrays and not labels:  # what there is to predict
        found = Dataset(path.stem, arrays["X_test"])
    elif "X" in arrays:
        found = Dataset(path.stem, arrays["X"], arrays.get("y"))
    elif "X_train" in arrays:
        found = Dataset(path.stem, arrays["X_train"], arrays.get("y_train"))
        if "X_test" in arrays and "y_test" in arrays:
            found.test_rows, found.test_target = arrays["X_test"], arrays["y_test"]
    elif "X_test" in arrays:
        found = Dataset(path.stem, arrays["X_test"], arrays.get("y_test"))
    else:
        held = ", ".join(arrays) or "nothing"
        raise DataError(f"{path}: holds {held}; give X and y, or X_train, y_train, X_test, y_test")
    return _checked(found, labels, str(path))


def _npy(path: Path, labels: bool) -> Dataset:
    """Read a pair: ``X.npy`` beside ``y.npy``, or ``NAME_X.npy`` beside ``NAME_y.npy``."""
    rows = _load(path)
    stem = path.stem
    partner = path.with_name(f"{stem[:-1]}y.npy") if stem.endswith("X") else None
    target = _load(partner) if partner is not None and partner.is_file() else None
    if target is None and labels:
        wanted = f"no {partner.name} is beside it" if partner else "its name must end in X.npy"
        raise DataError(f"{path}: labels are looked for in a second file: {wanted}")
    name = stem.removesuffix("X").rstrip("_-") or path.resolve().parent.name
    return _checked(Dataset(name, rows, target), labels, str(path))


def _checked(found: Dataset, labels: bool, source: str) -> Dataset:
    """Check shapes and lengths; images (n, h, w) are flattened."""
    for rows, target, what in (
        (found.rows, found.target, ""),
        (found.test_rows, found.test_target, "test "),
    ):
        if rows is None:
            continue
        if rows.ndim < 2:
            raise DataError(f"{source}: {what}X has shape {rows.shape}: give (examples, features)")
        if rows.shape[0] == 0:
            raise DataError(f"{source}: {what}X has no rows")
        if target is not None and len(np.atleast_1d(target)) != len(rows):
            raise DataError(
                f"{source}: {what}X has {len(rows)} rows and {what}y "
                f"{len(np.atleast_1d(target))}: give one label for each row"
            )
    if labels and found.target is None:
        raise DataError(f"{source}: there are no labels (y)")
    found.rows = found.rows.reshape(len(found.rows), -1)
    if found.test_rows is not None:
        found.test_rows = found.test_rows.reshape(len(found.test_rows), -1)
    if found.target is not None and found.target.ndim == 2 and found.target.shape[1] == 1:
        found.target = found.target[:, 0]
    return found


def _read_table(path: Path) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{path}: tables need pandas: pip install 'xpnet[files]'") from error
    csv = path.suffix.lower() == ".csv"
    try:
        if csv:
            _require_text(path)
        return pd.read_csv(path) if csv else pd.read_parquet(path)
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
    name: str, frame: Any, target: str | None, drop: Sequence[str], labels: bool, source: str
) -> Dataset:
    """Part a frame into rows and labels."""
    frame.columns = [str(c) for c in frame.columns]
    if not frame.columns.is_unique:
        twice = sorted(frame.columns[frame.columns.duplicated()])
        raise DataError(f"{source}: there are two columns named {twice[0]!r}: rename one")
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
    return Dataset(name, rows, y, target_name=target)


def _openml(source: str, target: str | None, drop: Sequence[str], labels: bool) -> Dataset:
    from sklearn.datasets import fetch_openml

    name, _, version = source.removeprefix("openml:").partition("@")
    if not name or (version and not version.isdecimal()):
        raise DataError(f"{source}: give a name and if need be a version, as openml:titanic@1")
    which = int(version) if version else "active"
    try:
        bunch = fetch_openml(name, version=which, as_frame=True, parser="auto")
    except (ValueError, OSError) as error:
        raise DataError(f"{source}: can't be fetched ({error})") from error
    frame = bunch.frame
    own = getattr(bunch.target, "name", None)  # several targets are a frame, and have none
    return _table(name, frame, target or own, drop, labels, source)
