"""NumPy's archives of arrays, and pairs of files: rows and labels without names."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset import DataError, Dataset, require_pair

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


def read_npz(path: Path, labels: bool = True, training: bool = False) -> Dataset:
    """Read an archive with X and y, or X_train and y_train, and with these X_test and y_test.

    Parameters
    ----------
    path : path
        The archive; other arrays in it are no matter.
    labels : bool
        Whether labels are needed. Without, X_test comes before what is there beside it.
    training : bool
        Whether they are for training: then X_test and y_test alone are refused.

    Raises
    ------
    DataError
        If it is damaged, or its parts don't go together.
    """
    arrays = _load(path)
    if not isinstance(arrays, dict):
        raise DataError(f"{path}: not an .npz archive; a single array's name ends in .npy")
    names = _names(arrays, labels, training, str(path))
    parts: Any = [arrays.get(name) for name in names]
    return _checked(Dataset(path.stem, *parts), str(path), names)


def _names(arrays: Iterable[str], labels: bool, training: bool, source: str) -> tuple[str, ...]:
    """Return the names of rows and labels in an archive, and those for the test if they are there.

    Without labels, these are what to predict: what is there for the test comes first.
    """
    held = [name for name in (*WHOLE, *TRAIN, *TEST) if name in arrays]
    if labels:
        known: Any = [WHOLE, TRAIN, (*TRAIN, *TEST), *([] if training else [TEST])]
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
    return tuple(found)


def read_npy(path: Path, labels: bool = True) -> Dataset:
    """Read a pair: ``X.npy`` beside ``y.npy``, or ``NAME_X.npy`` beside ``NAME_y.npy``.

    Parameters
    ----------
    path : path
        The file of the rows.
    labels : bool
        Whether labels are needed.

    Raises
    ------
    DataError
        If one is damaged, lacks, or they don't go together.
    """
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
    if target is not None and target.ndim not in (1, 2):
        raise DataError(f"{source}: {y} has shape {target.shape}: give one label for each row")
    require_pair(rows, target, source, X, y)
    if target is None:
        return rows, None
    return rows, target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
