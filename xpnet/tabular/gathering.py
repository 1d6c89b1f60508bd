"""Many tables as one: in memory, or, where that has no room for them, in a temporary file."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from . import memory
from .tables import common, concatenate


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
        self._files: list[_File] = []
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
            for file in self._files:
                closing.callback(file.close)

    def add(self, table: pa.Table) -> None:
        """Add a table below the others."""
        self._size += table.nbytes
        self._tables.append(table)
        self.in_file = self.in_file or not memory.fits(self._size)
        if self.in_file:
            self._write()

    def _write(self) -> None:
        """Write what is in memory, to another file where types are no longer those before."""
        for table in map(_plain, self._tables):
            if not self._files or self._files[-1].schema != table.schema:
                for before in self._files[-1:]:
                    before.finish()
                self._files.append(_File(table.schema))
            self._files[-1].writer.write_table(table)
        self._tables.clear()

    def table(self) -> pa.Table:
        """Return all of it."""
        if not self._files:
            return concatenate(self._tables)
        tables = [file.map() for file in self._files]
        names = tables[0].column_names
        kinds = [common([table.schema.field(name).type for table in tables]) for name in names]
        schema = pa.schema([*zip(names, kinds, strict=True)])
        return pa.concat_tables([table.cast(schema) for table in tables])


class _File:
    """A file of tables of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        descriptor, name = tempfile.mkstemp(prefix="xpnet-", suffix=".arrow")
        os.close(descriptor)
        self._path = Path(name)
        self.writer: Any = pa.ipc.new_file(name, schema)

    def finish(self) -> None:
        """Write the end, and leave the file to others."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def map(self) -> pa.Table:
        """Return what was written, without reading it."""
        self.finish()
        with pa.memory_map(str(self._path)) as mapped:
            return pa.ipc.open_file(mapped).read_all()

    def close(self) -> None:
        """Give the file up: what is mapped stays."""
        try:
            self.finish()  # if there is room for it
        finally:
            self._path.unlink(missing_ok=True)


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, of which a file may have one for each column alone."""
    for i, kind in enumerate(table.schema.types):
        if pt.is_dictionary(kind):
            table = table.set_column(i, table.column_names[i], pc.cast(table[i], pa.string()))
    return table
