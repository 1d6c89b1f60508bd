"""Fingerprints of data sets, to know them again.

They tell names, types, shapes and values, and nothing of how these are kept: text is text, be it in
an array of strings, of Python's objects, or in one of pandas' columns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.arrays import ELEMENTS, column_values, is_frame
from ..data.labels import is_missing
from .scaling import split

#: What fingerprints begin with. Those of model files before had no beginning; they told nothing of
#: names, types and shapes, and nothing of a test set.
KIND = "2:"


def fingerprint(**parts: Any) -> str:
    """Return a hash of arrays and tables by what they are called; a table's columns in any order.

    No more than some megabytes are copied, or read of a file, at a time.

    Examples
    --------
    >>> text = np.array(["a", "b"])
    >>> fingerprint(y=text) == fingerprint(y=text.astype(object)) != fingerprint(z=text)
    True
    """
    digest = hashlib.sha256()
    for what, part in parts.items():
        for name, values in _columns(part):
            kind = "text" if values.dtype.kind in "OSTU" else values.dtype.newbyteorder("<").str
            digest.update(json.dumps([what, name, kind, values.shape]).encode())
            for chunk in _texts(values) if kind == "text" else _numbers(values):
                digest.update(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)
    return f"{KIND}{digest.hexdigest()[:16]}"


def _columns(part: Any) -> Iterator[tuple[str | None, Any]]:
    """Go through a table's columns by their names, or return an array without one."""
    if is_frame(part):
        places = sorted(range(part.shape[1]), key=lambda i: str(part.columns[i]))
        yield from ((str(part.columns[i]), column_values(part.iloc[:, i])) for i in places)
    elif part is not None:
        yield None, part


def _chunks(values: Any) -> Iterator[Any]:
    """Go through an array's rows, some of them at a time."""
    step = max(1, ELEMENTS // max(1, math.prod(values.shape[1:])))
    return (values[start : start + step] for start in range(0, len(values), step))


def _numbers(values: Any) -> Iterator[Any]:
    """Go through numbers as arrays whose bytes tell their values, and no more."""
    for chunk in _chunks(values):
        if values.dtype.kind == "f" and values.dtype.itemsize > 8:  # some of its bytes mean nothing
            yield from (part for part in split(chunk) if part is not None)
        else:
            yield chunk.astype(values.dtype.newbyteorder("<"), copy=False)


def _texts(values: Any) -> Iterator[Any]:
    """Go through text: how manieth of the different ones each is, and then these."""
    known: dict[str | None, int] = {}
    for chunk in _chunks(values):
        texts = (v if type(v) is str else _text(v) for v in chunk.ravel().tolist())
        yield np.array([known.setdefault(text, len(known)) for text in texts], "<i8")
    yield np.frombuffer(json.dumps([*known]).encode(), np.uint8)


def _text(value: Any) -> str | None:
    """Return an object as text, None where it is missing."""
    if is_missing(value):
        return None
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
