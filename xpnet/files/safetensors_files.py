"""Model files: named arrays and a description, in safetensors, checked on reading.

A file holds NumPy arrays by name and, in its metadata, one JSON document: a checksum of the whole
file, the version of this layout, and the description. Reading runs no code from the file, and
allocates nothing before sizes, shapes and the document are found to be in order. This module knows
nothing of networks.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import all_finite
from . import atomic, json_tree

#: The metadata entry that holds the document, and the version of its layout.
FORMAT = "xpnet"
VERSION = 2

#: The versions that can be read. The first one had no checksum.
READABLE = (1, VERSION)

#: The kinds of arrays that there may be, by safetensors' names.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"F{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{f"{k.upper()}{8 * n}": np.dtype(f"{k}{n}") for k in "iu" for n in (1, 2, 4, 8)},
}

#: Bytes of a file's header, at most, and of what it says of an array beside its name.
MOST_BYTES, _ENTRY = 2**26, 256

#: Where the checksum stands, which safetensors keeps first in the header, and its digits.
_BEFORE = b'{"__metadata__":{"xpnet":"{\\"sha256\\": \\"'
_DIGITS = 64
_BLANK = "0" * _DIGITS

#: Bytes of a file that are looked at together.
_BLOCK = 2**20


class ModelFileError(ValueError):
    """A model file can't be read: the message says which and why."""


class DamagedFileError(ModelFileError):
    """It is not what was written, and never will be."""


def short(value: object) -> str:
    """Return a value as text for a message, cut where it is long: a file may hold anything.

    Examples
    --------
    >>> short([1, 2]), len(short("x" * 10_000))
    ('[1, 2]', 301)
    """
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


@dataclass(frozen=True)
class Entry:
    """What a file's header says of an array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Stored(Mapping[str, "np.ndarray[Any, Any]"]):
    """The arrays of a file by name, each of which is read when it is asked for.

    Attributes
    ----------
    header : dict of str to Entry
        Type and shape of each.
    """

    def __init__(self, file: Any, header: dict[str, Entry], source: str) -> None:
        self._file, self.header, self._source = file, header, source

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """Read an array."""
        entry = self.header[name]
        try:
            array: np.ndarray[Any, Any] = self._file.get_tensor(name)
        except MemoryError as error:
            raise ModelFileError(
                f"{self._source}: there is no memory for {name}, {entry.dtype} of shape "
                f"{entry.shape}"
            ) from error
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise DamagedFileError(f"{self._source}: {name} holds what is neither true nor false")
        return array

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self.header)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.header)


def write(
    path: str | os.PathLike[str],
    arrays: dict[str, np.ndarray[Any, Any]],
    description: dict[str, Any],
) -> None:
    """Write arrays and a description to a file: the new one, or on failure the old one stays.

    Parameters
    ----------
    path : path
        Where to; a file there is replaced.
    arrays : dict of str to numpy.ndarray
        The arrays.
    description : dict
        JSON-ready data.

    Raises
    ------
    OSError
        If the file can't be written.
    ValueError
        If the description is larger than `read` takes, or an array holds no plain numbers.
    """
    atomic.write_whole(Path(path), encode(arrays, description))


def encode(arrays: dict[str, np.ndarray[Any, Any]], description: dict[str, Any]) -> bytes:
    """Return the content of the file that `write` writes: equal for equal arguments."""
    from safetensors.numpy import save

    rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in rows.items():
        if array.dtype.newbyteorder("=") not in DTYPES.values():
            raise ValueError(f"{name} holds {array.dtype}, which model files do not")
    # One entry: safetensors writes several in any order, and equal models should be equal bytes.
    data = save(rows, {FORMAT: document(rows, description)})
    # The checksum is that of the file with zeros in its place.
    place = 8 + len(_BEFORE)
    digits = hashlib.sha256(data).hexdigest().encode()
    return data[:place] + digits + data[place + _DIGITS :]


def document(names: Iterable[str], description: dict[str, Any]) -> str:
    """Return the JSON document of a file with arrays of some names, once `read` will take it.

    Raises
    ------
    ValueError
        If the description is larger than that, or no JSON.
    """
    text = json.dumps({"sha256": _BLANK, **description, "version": VERSION}, allow_nan=False)
    _parse(text, "the model")
    quoted = len(text) + text.count('"') + text.count("\\")
    _check_bytes(quoted + sum(len(name) + _ENTRY for name in names), "the model")
    return text


def read(
    path: str | os.PathLike[str], oldest: int = READABLE[0]
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Read what `write` wrote.

    Parameters
    ----------
    path : path
        The file.
    oldest : int
        The first version that is taken.

    Returns
    -------
    arrays : dict of str to numpy.ndarray
        The arrays.
    description : dict
        The JSON data.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole model file of this library, or was altered since it was written.
    """
    stored, description = look(path, oldest)
    return dict(stored), description


def look(path: str | os.PathLike[str], oldest: int = READABLE[0]) -> tuple[Stored, dict[str, Any]]:
    """Read a file's description, while its arrays stay there: for callers that check them first.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        As for `read`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        stored, metadata = _look(path)
    except _NotWhole as error:
        why = f"not a whole safetensors file ({short(error)})"
        raise DamagedFileError(f"{path}: {why}") from error
    if FORMAT not in metadata:
        raise DamagedFileError(f"{path}: a safetensors file, but not one that xpnet wrote")
    description = _parse(metadata[FORMAT], str(path))
    version, digits = (description.pop(name, None) for name in ("version", "sha256"))
    fits = digits is not None and digits == _checksum(path)
    if type(version) is not int or version not in READABLE:
        kind = ModelFileError if fits else DamagedFileError
        raise kind(
            f"{path}: format version {short(version)}, and this xpnet reads {VERSION} and before: "
            "use the xpnet that wrote it, or a newer one"
        )
    if version < oldest:
        raise DamagedFileError(
            f"{path}: format version {version}, and files of its kind have {oldest} at least"
        )
    if not fits and (version > 1 or digits is not None):
        raise DamagedFileError(
            f"{path}: altered or damaged since it was written, for its checksum does not fit: "
            "get the file anew"
        )
    return stored, description


class _NotWhole(Exception):
    """A file is not one of safetensors."""


def _look(path: Path) -> tuple[Stored, dict[str, str]]:
    """Open a file, and return its arrays, none of which is read yet, and its metadata.

    That offsets lie within the file, one after the other and as far apart as type and shape say,
    with nothing before, between or behind them, safetensors sees to.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise _NotWhole("no plain file")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_length(int.from_bytes(file.read(8), "little"), size, str(path))
        opened: Any = safe_open(path, framework="numpy")
        metadata = opened.metadata() or {}
        header = {name: _entry(opened.get_slice(name), name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OverflowError) as error:
        raise _NotWhole(str(error)) from error
    return Stored(opened, header, str(path)), metadata


def _check_length(length: int, size: int, source: str) -> None:
    """Raise an error if the length of a header can't be true, in a file of a size."""
    if size < 8 or length > size - 8:
        raise _NotWhole(f"its header would have {length:,} bytes, of {size:,}")
    _check_bytes(length, source)


def _check_bytes(length: int, source: str) -> None:
    """Raise an error if a header is longer than anything is read."""
    if length > MOST_BYTES:
        raise ModelFileError(
            f"{source}: its description has {length:,} bytes, more than {MOST_BYTES:,}"
        )


def _entry(told: Any, name: str) -> Entry:
    kind, shape = told.get_dtype(), tuple(told.get_shape())
    if kind not in DTYPES:
        raise _NotWhole(f"{name} is of type {kind}; there may be {', '.join(DTYPES)}")
    # An array without elements takes no bytes, so nothing else bounds its axes.
    if len(shape) > 8 or max(shape, default=0) > 2**40:
        raise _NotWhole(f"{name} has the shape {shape}")
    return Entry(DTYPES[kind], shape)


def _checksum(path: Path) -> str | None:
    """Return the checksum that belongs into a file, or None where it has no place in the header."""
    with path.open("rb") as file:
        start = file.read(8 + len(_BEFORE))
        if start[8:] != _BEFORE:
            return None
        digest = hashlib.sha256(start + _BLANK.encode())
        file.seek(_DIGITS, os.SEEK_CUR)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _parse(text: str, source: str) -> dict[str, Any]:
    """Return a description, or raise an error if it is none or can't be handled."""
    try:
        document = json_tree.parse(text)
    except ValueError as error:
        why = f"its description is not JSON ({short(error)})"
        raise DamagedFileError(f"{source}: {why}") from error
    if not isinstance(document, dict):
        raise DamagedFileError(f"{source}: its description is not a JSON object")
    return document


def require_finite(arrays: dict[str, np.ndarray[Any, Any]], target: str) -> None:
    """Raise a ValueError if an array holds what `check_arrays` would refuse to read again."""
    for name, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"{target} is not written: {name} holds NaN or infinite values")


def check_arrays(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    expected: dict[str, tuple[int, ...]],
    dtype: Any,
    source: str,
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays, once they are found to have just the expected names, shapes and dtype.

    Those of a file are read only then.

    Raises
    ------
    ModelFileError
        If something is not as expected, or a value is NaN or infinite.
    """
    told = arrays.header if isinstance(arrays, Stored) else arrays
    missing, extra = sorted(expected.keys() - told.keys()), sorted(told.keys() - expected.keys())
    if missing or extra:
        raise ModelFileError(
            f"{source}: arrays missing: {short(missing)}, not expected: {short(extra)}"
        )
    for name, shape in expected.items():
        array = told[name]
        if array.shape != shape or array.dtype != dtype:
            raise ModelFileError(
                f"{source}: {name} is {array.dtype} of shape {array.shape}, "
                f"expected {np.dtype(dtype)} of shape {shape}"
            )
    found = dict(arrays)
    for name, array in found.items():
        if not all_finite(array):
            raise ModelFileError(f"{source}: {name} holds values that are NaN or infinite")
    return found
