"""A hash of a table that was read by its schema, some rows at a time, whatever these parts are."""

from __future__ import annotations

import hashlib
import json
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from .columns.tables import one


class TableDigest:
    """Hashes of each column: of where it has values, and of these."""

    def __init__(self) -> None:
        self._columns: dict[str, ColumnDigest] = {}

    def update(self, table: pa.Table) -> None:
        """Take some rows into account."""
        for name in table.column_names:
            self._columns.setdefault(name, ColumnDigest()).update(one(table[name]))

    def parts(self) -> list[tuple[str, str]]:
        """Return name and hash of each column, sorted by name."""
        return sorted((name, digest.value()) for name, digest in self._columns.items())


class ColumnDigest:
    """Hashes of a column."""

    def __init__(self) -> None:
        self.kind, self.rows = "", 0
        self._there, self._values, self._lengths = (hashlib.sha256() for _ in range(3))

    def update(self, values: pa.Array) -> None:
        """Take some values into account."""
        self.rows += len(values)
        self._there.update(_bytes(pc.is_valid(values)))
        present = pc.drop_null(values)
        if pt.is_dictionary(present.type):
            present = pc.cast(present, pa.string())
        self.kind = self.kind if len(values) == 0 else _kind(values.type)
        if pt.is_string(present.type):
            self._text(present)
        elif pt.is_decimal(present.type):
            plain = _whole if present.type.scale <= 0 else _fraction
            for value in present.to_pylist():
                self._values.update(plain(value))
        elif pt.is_floating(present.type):
            self._values.update((present.to_numpy() + 0.0).tobytes())  # 0 and -0 are the same
        else:
            self._values.update(_bytes(present))

    def _text(self, text: pa.Array) -> None:
        self._lengths.update(_bytes(pc.binary_length(text)))
        if len(text):
            _, offsets, data = text.buffers()
            ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
            self._values.update(memoryview(data)[ends[0] : ends[-1]] if data else b"")

    def value(self) -> str:
        """Return the hash of all of it."""
        parts = [d.hexdigest() for d in (self._there, self._values, self._lengths)]
        told = json.dumps([self.kind, self.rows, *parts])
        return hashlib.sha256(told.encode()).hexdigest()


def _kind(kind: Any) -> str:
    """Return what a type holds: it is "whole" in whatever type whole numbers are held."""
    if pt.is_integer(kind) or (pt.is_decimal(kind) and kind.scale <= 0):
        return "whole"
    if pt.is_floating(kind) or pt.is_decimal(kind):
        return "fractions"
    return "text" if pt.is_dictionary(kind) or pt.is_string(kind) else str(kind)


def _whole(value: Decimal) -> bytes:
    """Return the bytes of a decimal: of one in 64 bits those that it has as a whole number."""
    if -(2**63) <= value < 2**64:
        return (int(value) % 2**64).to_bytes(8, "little")
    return f"{value:f};".encode()


def _fraction(value: Decimal) -> bytes:
    """Return the bytes of a decimal: those of float64 if that is written as the same number."""
    near = float(value)
    if Decimal(repr(near)) == value:
        return struct.pack("<d", near + 0.0)
    return f"{value:f}".rstrip("0").encode() + b";"


def _bytes(values: pa.Array) -> bytes:
    """Return the bytes of truth values, whole numbers, dates or times."""
    if pt.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    if pt.is_temporal(values.type):
        values = pc.cast(values, pa.int64())
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes()
