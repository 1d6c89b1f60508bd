"""Fingerprints of data sets, to know them again.

They tell names, types, shapes and values, and nothing of how these are kept: text is text, be it in
an array of strings or of Python's objects, and Python's numbers are what `as_labels` makes of them.
Of a table they tell what its schema has read, whatever file or frame it came from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.arrays import CHUNK, ELEMENTS, is_arrow
from ..data.labels import as_labels, is_missing, text_of
from ..data.scaling import split

#: What fingerprints begin with. Those of model files before told of a table what pandas had read.
KIND = "3:"


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
        if is_arrow(part):
            digest.update(json.dumps([what, _told_of_table(part)]).encode())
        elif part is not None:
            values = _plain(part)
            kind, chunks = _told(values)
            digest.update(json.dumps([what, None, kind, values.shape]).encode())
            for chunk in chunks:
                digest.update(chunk)
    return f"{KIND}{digest.hexdigest()[:16]}"


def _told_of_table(table: Any) -> list[tuple[str, str]]:
    from .columns.tables import chunks
    from .table_digest import TableDigest

    digest = TableDigest()
    for chunk in chunks(table):
        digest.update(chunk)
    return digest.parts()


def _plain(values: Any) -> Any:
    """Return an array of Python's numbers as `as_labels` has them; others as they are."""
    if values.dtype.kind != "O" or any(isinstance(value, str | bytes) for value in values.flat):
        return values
    try:
        return as_labels(values, "the data")
    except ValueError:  # no numbers: as text they are told apart
        return values


def _told(values: Any) -> tuple[str, Iterator[Any]]:
    """Return what values are, and bytes that tell them, some at a time."""
    dtype = values.dtype
    if dtype.kind in "OSTU":
        return "text", (_texts(chunk) for chunk in _chunks(values, min(CHUNK, ELEMENTS)))
    chunks = _chunks(values, ELEMENTS)
    if dtype.kind == "f" and dtype.itemsize > 8:
        return "long double", map(_parts, chunks)
    dtype = dtype.newbyteorder("<")
    arrays = (np.ascontiguousarray(chunk, dtype) for chunk in chunks)
    return dtype.str, (array.reshape(-1).view(np.uint8).data for array in arrays)


def _chunks(values: Any, elements: int) -> Iterator[Any]:
    """Go through the rows of an array or a column, some of them at a time."""
    step = max(1, elements // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), step):
        yield values[start : start + step]


def _parts(values: Any) -> bytes:
    """Return bytes of long doubles: of their own some mean nothing."""
    high, low = split(values)
    return np.stack([high, np.zeros_like(high) if low is None else low], axis=-1).tobytes()


def _texts(values: Any) -> bytes:
    """Return bytes of text: of each how many it has, and these."""
    return b"".join(map(_text, values.ravel().tolist()))


def _text(value: Any) -> bytes:
    if is_missing(value):
        return b"-"
    text = text_of(value, "the data").encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(text), text)
