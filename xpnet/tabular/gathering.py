"""Many tables as one: in memory, or, where that has no room for them, in a temporary file."""

from __future__ import annotations

import mmap
import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from . import memory
from .columns.tables import as_type, common, concatenate


class Gathered:
    """Gathers tables of one schema, one below another.

    What is too large for memory is written to a file without a name, which the system removes with
    the last that uses it, and is mapped from there: reading it takes memory only as long as nobody
    else needs that.

    Parameters
    ----------
    size : int or None
        How many bytes are expected, if that is known.

    Examples
    --------
    >>> with Gathered(None) as gathered:
    ...     gathered.add(pa.table({"a": [1, 2]}))
    ...     gathered.add(pa.table({"a": [3]}))
    ...     gathered.table()["a"].to_pylist()
    [1, 2, 3]
    """

    def __init__(self, size: int | None) -> None:
        self._tables: list[pa.Table] = []
        self._files: dict[pa.Schema, _File] = {}
        self._batches: list[tuple[_File, int]] = []
        self._size = 0
        self.in_file = size is not None and not memory.fits(size)

    def __enter__(self) -> Gathered:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as closing:
            for file in self._files.values():
                closing.callback(file.close)

    def add(self, table: pa.Table) -> None:
        """Add a table below the others."""
        self._size += table.nbytes
        self._tables.append(table)
        self.in_file = self.in_file or not memory.fits(self._size)
        if self.in_file:
            self._write()

    def _write(self) -> None:
        """Write what is in memory, to a file for each schema: types may change, and again."""
        for table in map(_plain, self._tables):
            file = self._files.get(table.schema)
            if file is None:
                file = self._files[table.schema] = _File(table.schema)
            self._batches += [(file, file.write(batch)) for batch in table.to_batches()]
        self._tables.clear()

    def table(self) -> pa.Table:
        """Return all of it."""
        if not self._files:
            return concatenate(self._tables)
        mapped = {file: file.map() for file in self._files.values()}
        batches = [mapped[file].get_batch(i) for file, i in self._batches]
        columns = []
        for name in (names := next(iter(self._files)).names):
            kind = common([schema.field(name).type for schema in self._files])
            columns.append(pa.chunked_array([as_type(b[name], kind) for b in batches], kind))
        return pa.table(columns, names=names)


class _File:
    """A file without a name, of batches of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), schema)
        self._count = 0

    def write(self, batch: pa.RecordBatch) -> int:
        """Write a batch; return its number."""
        self._writer.write_batch(batch)
        self._count += 1
        return self._count - 1

    def map(self) -> Any:
        """Return a reader of what was written, which reads nothing yet."""
        self._writer.close()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.py_buffer(mapped))

    def close(self) -> None:
        """Give the file up: what is mapped stays."""
        self._file.close()


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, of which a file may have one for each column alone."""
    for i, kind in enumerate(table.schema.types):
        if pt.is_dictionary(kind):
            table = table.set_column(i, table.column_names[i], pc.cast(table[i], pa.string()))
    return table
