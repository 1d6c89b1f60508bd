"""Reading data sets: scikit-learn's bundled ones, files, and OpenML's.

`read` takes what the command line takes as DATA and returns a `Dataset`: raw rows and labels, as
they are. What becomes of them is the business of `features` and `target`.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.arrays import is_frame
from ..data.labels import as_labels, is_numeric, unite
from .fingerprints import KIND, fingerprint

#: scikit-learn's bundled data sets, by the name of the function that loads them.
BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes")

FILES = (".npz", ".npy", ".csv", ".parquet")

#: What a data set's parts are called where the source has no names for them.
FIELDS = ("rows", "target", "test_rows", "test_target")

#: What rows and labels are called in an .npz archive.
WHOLE, TRAIN, TEST = ("X", "y"), ("X_train", "y_train"), ("X_test", "y_test")

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
    r"""Rows and labels, as they were found.

    Attributes
    ----------
    name : str
        What to call it: a bundled set's name or a file's stem, as text that can be shown and
        written: bytes of a file's name that are no UTF-8 stand there as ``\xe9``.
    rows : numpy.ndarray or pandas.DataFrame
        The features, (n, m).
    target : numpy.ndarray or None
        The labels, (n,) or (n, k); None if there are none.
    test_rows, test_target
        A test set that the source keeps apart, if it does.
    target_name : str or None
        The column that the labels come from, in a table.
    renamed : dict of str to str
        What a table's file calls columns of a name that stands there twice, by the names they have.
    """

    name: str
    rows: Any
    target: np.ndarray[Any, Any] | None = None
    test_rows: Any = None
    test_target: np.ndarray[Any, Any] | None = None
    target_name: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            name = os.fsencode(self.name)
        except UnicodeEncodeError:
            name = self.name.encode("utf-8", "backslashreplace")
        self.name = name.decode("utf-8", "backslashreplace")

    def everything(self) -> tuple[Any, Any]:
        """Return all rows and labels, a test set that is kept apart among them."""
        if self.test_rows is None:
            return self.rows, self.target
        labels = [part for part in (self.target, self.test_target) if part is not None]
        rows = _united(self.rows, self.test_rows)
        return rows, unite(labels, "the target") if labels else None

    def require_alike(self, source: str, names: Sequence[str] = FIELDS) -> None:
        """Raise a DataError if training and test set don't go together.

        Parameters
        ----------
        source : str
            What the data set is called in the message.
        names : sequence of str
            What rows, labels, rows and labels for the test are called there.
        """
        if (self.test_rows is None) != (self.test_target is None):
            there, lacking = names[2:] if self.test_target is None else names[:1:-1]
            raise DataError(f"{source}: there is {there} and no {lacking}: give both, or neither")
        if self.test_rows is None:
            return
        if self.target is None:
            raise DataError(f"{source}: there is {names[3]} and no {names[1]}: give both")
        parts = (self.rows, self.target, self.test_rows, self.test_target)
        told = [*map(_told, parts, (f"{source}: {name}" for name in names), (False, True) * 2)]
        for i in range(2):
            if told[i] != told[i + 2]:
                raise DataError(
                    f"{source}: {names[i]} {told[i]} and {names[i + 2]} {told[i + 2]}: give both "
                    "of one kind, with as many columns"
                )

    def fingerprint(self) -> str:
        """Return a hash of all rows and labels, to know the data set again; columns in any order.

        The name of the target's column has no part in it: the labels have.
        """
        return fingerprint(
            rows=self.rows,
            target=self.target,
            test_rows=self.test_rows,
            test_target=self.test_target,
        )

    def is_known_by(self, told: str | None) -> bool:
        """Return whether a fingerprint is that of this data set.

        Raises
        ------
        ValueError
            If it is of an older kind, which tells too little to say so.
        """
        if told is not None and not told.startswith(KIND):
            raise ValueError(
                f"the model has a fingerprint of an older kind, {told}, which does not say whether "
                f"{self.name} is what it was trained on: measure on all of it by --part all, or "
                "train anew"
            )
        return told == self.fingerprint()


def _united(rows: Any, others: Any) -> Any:
    """Return the rows of two parts that go together."""
    if is_frame(rows):
        import pandas as pd

        return pd.concat([rows, others], ignore_index=True)
    if rows.dtype != others.dtype and is_numeric(rows) and is_numeric(others):
        # The type that holds whole numbers of 64 bits and floats, where there is one.
        return np.concatenate([rows, others], dtype=np.longdouble)
    return np.concatenate([rows, others])


def _told(part: Any, called: str, of_labels: bool) -> str:
    """Return in words what must be the same of a training set and a test set."""
    if of_labels:
        part = as_labels(part, called)
    if is_frame(part):
        return f"has the columns {', '.join(map(str, part.columns))}"
    kind = part.dtype.kind
    if kind in "OSTU":
        what = "text"
    elif kind == "b" and of_labels:  # features may be: they are numbers then
        what = "truth values"
    else:
        what = "numbers" if is_numeric(part) else str(part.dtype)
    return f"holds {what} of shape {('n', *part.shape[1:])}".replace("'n'", "n")


def read(
    source: str,
    target: str | None = None,
    drop: Sequence[str] = (),
    labels: bool = True,
    only: Collection[str] | None = None,
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
    only : names or None
        The columns of a table that become features, if not all do: what others are called, and
        hold, is no matter.

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
    names = _names(arrays, labels, str(path))
    parts: Any = [arrays.get(name) for name in names]
    return _checked(Dataset(path.stem, *parts), str(path), names)


def _names(arrays: Iterable[str], labels: bool, source: str) -> tuple[str, ...]:
    """Return the names of rows and labels in an archive, and those for the test if they are there.

    Without labels, these are what to predict: what is there for the test comes first.
    """
    held = [name for name in (*WHOLE, *TRAIN, *TEST) if name in arrays]
    if labels:
        known: Any = [WHOLE, TRAIN, (*TRAIN, *TEST), TEST]
        found = next((names for names in known if {*names} == {*held}), None)
        wanted = "X and y, or X_train and y_train, and with these X_test and y_test for the test"
    else:
        several = WHOLE[0] in held and {TRAIN[0], TEST[0]} & {*held}
        known = [] if several else [TEST, WHOLE, TRAIN]
        found = next((names for names in known if names[0] in held), None)
        wanted = "what is to be predicted as X, or as X_test"
    if found is None:
        there = ", ".join(arrays) or "nothing"
        lone = [pair for pair in (WHOLE, TRAIN, TEST) if len({*pair} & {*held}) == 1 and labels]
        lacking = [name for pair in lone for name in pair if name not in held]
        there += f" and no {' and '.join(lacking)}" if lacking else ""
        raise DataError(f"{source}: holds {there}; give {wanted}")
    return found  # type: ignore[no-any-return]


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
    return _checked(Dataset(name, rows, target), str(path), WHOLE)


def _checked(found: Dataset, source: str, names: Sequence[str]) -> Dataset:
    """Check shapes and lengths; images (n, h, w) are flattened, and columns of labels (n, 1)."""
    found.rows, found.target = _pair(found.rows, found.target, source, *names[:2])
    if found.test_rows is not None:
        test = _pair(found.test_rows, found.test_target, source, *names[2:])
        found.test_rows, found.test_target = test
        found.require_alike(source, names)
        found.test_rows = found.test_rows.reshape(len(found.test_rows), -1)
    found.rows = found.rows.reshape(len(found.rows), -1)
    return found


def _pair(rows: Any, target: Any, source: str, X: str, y: str) -> tuple[Any, Any]:
    """Return rows and labels, once they are found to go together."""
    if rows.ndim < 2:
        raise DataError(f"{source}: {X} has shape {rows.shape}: give (examples, features)")
    if rows.shape[0] == 0:
        raise DataError(f"{source}: {X} has no rows")
    if target is None:
        return rows, None
    if target.ndim not in (1, 2):
        raise DataError(f"{source}: {y} has shape {target.shape}: give one label for each row")
    if len(target) != len(rows):
        raise DataError(
            f"{source}: {X} has {len(rows)} rows and {y} {len(target)}: give one label for each row"
        )
    return rows, target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target


def _read_table(path: Path) -> tuple[Any, Sequence[str]]:
    """Return a table, and its columns' names as they stand in the file."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{path}: tables need pandas: pip install 'xpnet[files]'") from error
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            _require_unique(parquet.read_schema(path).names, str(path))
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
    _require_unique(frame.columns, source)
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


def _require_unique(columns: Iterable[str], source: str) -> None:
    """Raise a DataError if two columns of a table have the same name."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{source}: there are two columns named {twice[0]!r}: rename one")


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
                f"out by --drop {column!r}, or rename it"
            )


def _openml(
    source: str,
    target: str | None,
    drop: Sequence[str],
    labels: bool,
    only: Collection[str] | None,
) -> Dataset:
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
    return _table(name, frame, target or own, drop, labels, only, source, frame.columns)
