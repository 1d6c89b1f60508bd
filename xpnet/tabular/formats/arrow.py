"""Feather, and Arrow's files and streams: batches of rows as they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset import DataError
from .source import Source, as_data_errors, at_least_one, pieces, require_unique, without_metadata

if TYPE_CHECKING:
    import pyarrow as pa

#: What files begin with.
FILE, FEATHER_1 = b"ARROW1", b"FEA1"


def open_arrow(path: Path, source: str) -> Source:
    """Return a file of Arrow's, in the format of files or of streams, as a source.

    A batch of rows that is compressed is in memory as a whole.

    Raises
    ------
    DataError
        If it is none, is damaged, or has two columns of one name.
    """
    kind = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(len(FILE))
    if start.startswith(FEATHER_1):
        raise DataError(
            f"{source}: is Feather of version 1, which Arrow gives up: write it anew by "
            "pyarrow.feather.write_feather, or as Parquet"
        )
    with as_data_errors(source, kind):
        schema = _reader(path, start == FILE, []).schema
        names = [*schema.names]
    require_unique(names, source)

    def chunks(chosen: Sequence[str] | None) -> Iterator[pa.Table]:
        columns = names if chosen is None else chosen
        rows = _rows(path, start == FILE, schema, columns, source)
        found = schema.empty_table().select(columns)
        return at_least_one(rows, without_metadata(found).schema)

    written = {name: name for name in names}
    return Source(source, names, written, chunks, size=path.stat().st_size)


def _reader(path: Path, is_file: bool, fields: list[int]) -> Any:
    """Open a file or stream; of some fields, or of all if none are named."""
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(included_fields=fields)
    opener = pa.ipc.open_file if is_file else pa.ipc.open_stream
    return opener(pa.memory_map(str(path)), options=options)


def _rows(
    path: Path, is_file: bool, schema: pa.Schema, columns: Sequence[str], source: str
) -> Iterator[pa.Table]:
    """Go through the rows of some columns."""
    import pyarrow as pa

    fields = sorted({schema.names.index(name) for name in columns}) or [0]
    with as_data_errors(source, path.suffix.lower()):
        reader = _reader(path, is_file, fields)
        if is_file:
            reader = map(reader.get_batch, range(reader.num_record_batches))
        for batch in reader:
            batch.validate(full=True)  # what is damaged would else be found by a crash
            table = pa.Table.from_batches([batch]).select(columns)
            yield from pieces(without_metadata(table))
