"""A Parquet file, or a folder of them: Arrow's types, by groups of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset import DataError
from .folders import Joined, Part, find_parts, join_schemas
from .source import (
    BYTES,
    ROWS,
    Source,
    as_data_errors,
    at_least_one,
    require_unique,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes that are read of a column at a time; without that all of a group of rows would be.
BUFFER = 2**20


def open_parquet(path: Path, source: str) -> Source:
    """Return a Parquet file, or all those in a folder, as a source.

    In a folder, columns are joined by name (`join_schemas`), and folders called ``year=2024`` give
    a column of text, unless the files have one of that name themselves. Columns that pandas would
    make an index are columns.

    Raises
    ------
    DataError
        If a file is damaged or no Parquet, or has two columns of one name. That columns don't go
        together is told by `Source.chunks`, of those that are asked for.
    """
    parts = find_parts(path, source) if path.is_dir() else [Part(path, source)]
    schemas, size = [], 0
    for part in parts:
        with as_data_errors(part.name, ".parquet"), _file(part) as file:
            require_unique(file.schema_arrow.names, part.name)
            schemas.append(file.schema_arrow)
            size += sum(
                file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)
            )
    joined = join_schemas(parts, schemas)
    columns = [*joined.types]
    written = {name: name for name in columns}

    def chunks(chosen: Sequence[str] | None) -> Iterator[pa.Table]:
        return _chunks(parts, joined, columns if chosen is None else chosen, source)

    return Source(source, columns, written, chunks, size=size)


def _file(part: Part) -> Any:
    """Open a Parquet file."""
    from pyarrow import parquet

    return parquet.ParquetFile(
        str(part.path),
        buffer_size=BUFFER,
        pre_buffer=False,  # of the whole file, and kept
        # Times of 96 bits, as Spark wrote them, would in nanoseconds end in the year 2262.
        coerce_int96_timestamp_unit="us",
    )


def _chunks(
    parts: Sequence[Part], joined: Joined, columns: Sequence[str], source: str
) -> Iterator[pa.Table]:
    """Go through the rows of some columns, part by part."""
    import pyarrow as pa

    for name in columns:
        if name in joined.faults:
            raise DataError(f"{source}: {joined.faults[name]}")
    schema = pa.schema([(name, joined.types[name]) for name in columns])
    return at_least_one((chunk for part in parts for chunk in _rows(part, schema)), schema)


def _rows(part: Part, schema: pa.Schema) -> Iterator[pa.Table]:
    """Go through the rows of a part, in the types of a schema."""
    import pyarrow as pa

    with as_data_errors(part.name, ".parquet"), _file(part) as file:
        held = {*file.schema_arrow.names}
        own = [name for name in schema.names if name in held]
        for batch in file.iter_batches(_batch_size(file), columns=own):
            if not batch.num_rows:
                continue
            batch.validate(full=True)  # bytes may be called text that are none
            table = pa.Table.from_batches([batch])
            if not schema.names:
                yield table.select([])
                continue
            arrays = [
                _as_type(table[name], schema.field(name), part)
                if name in held
                else pa.repeat(pa.scalar(part.keys[name], pa.string()), len(batch))
                for name in schema.names
            ]
            yield pa.Table.from_arrays(arrays, schema=schema)


def _batch_size(file: Any) -> int:
    """Return how many rows are read at a time: some tens of thousands, of some megabytes."""
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    a_row = max((g.total_byte_size // max(1, g.num_rows) for g in groups), default=0)
    return max(1, min(ROWS, BYTES // max(1, a_row)))


def _as_type(column: pa.ChunkedArray, field: pa.Field, part: Part) -> pa.ChunkedArray:
    """Return a column as the type that its values have in all parts."""
    import pyarrow as pa

    if column.type.equals(field.type):
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(
            f"{part.name}: column {field.name!r} is {column.type} and has values that "
            f"{field.type}, the type for all parts, does not hold ({error})"
        ) from error
