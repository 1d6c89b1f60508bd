"""Model files: named arrays and a description, in safetensors, checked on reading.

A file holds NumPy arrays by name and, in its metadata, a version and a JSON document. Reading runs
no code from the file. This module knows nothing of networks.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

#: The metadata entry that holds the description, and the version of its layout.
FORMAT = "xpnet"
VERSION = 1


class ModelFileError(ValueError):
    """A model file can't be read: the message says which and why."""


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
    """
    path = Path(path)
    data = encode(arrays, description)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def encode(arrays: dict[str, np.ndarray[Any, Any]], description: dict[str, Any]) -> bytes:
    """Return the content of the file that `write` writes."""
    from safetensors.numpy import save

    # One entry: safetensors writes several in any order, and equal models should be equal bytes.
    document = json.dumps({**description, "version": VERSION}, allow_nan=False)
    return save({k: np.asarray(v, order="C") for k, v in arrays.items()}, {FORMAT: document})


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Read what `write` wrote.

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
        If it is not a whole model file of this library.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError, AttributeError, KeyError) as error:
        raise ModelFileError(f"{path}: not a whole safetensors file ({error})") from error
    if FORMAT not in metadata:
        raise ModelFileError(f"{path}: a safetensors file, but not one that xpnet wrote")
    try:
        description = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its description is not JSON ({error})") from error
    if not isinstance(description, dict):
        raise ModelFileError(f"{path}: its description is not a JSON object")
    version = description.pop("version", None)
    if version != VERSION:
        raise ModelFileError(
            f"{path}: format version {version}, and this xpnet reads {VERSION}: "
            "use the xpnet that wrote it, or a newer one"
        )
    return arrays, description


def require_finite(arrays: dict[str, np.ndarray[Any, Any]], target: str) -> None:
    """Raise a ValueError if an array holds what `check_arrays` would refuse to read again."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{target} is not written: {name} holds NaN or infinite values")


def check_arrays(
    arrays: dict[str, np.ndarray[Any, Any]],
    expected: dict[str, tuple[int, ...]],
    dtype: Any,
    source: str,
) -> None:
    """Raise a ModelFileError unless the arrays have just the expected names, shapes and dtype.

    Also refuses values that are NaN or infinite.
    """
    missing, extra = (
        sorted(expected.keys() - arrays.keys()),
        sorted(arrays.keys() - expected.keys()),
    )
    if missing or extra:
        raise ModelFileError(f"{source}: arrays missing: {missing}, not expected: {extra}")
    for name, shape in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise ModelFileError(
                f"{source}: {name} is {array.dtype} of shape {array.shape}, "
                f"expected {np.dtype(dtype)} of shape {shape}"
            )
        if not np.isfinite(array).all():
            raise ModelFileError(f"{source}: {name} holds values that are NaN or infinite")
