"""Comma- and tab-separated text, plain or compressed: columns of strings, as they are written.

A field is text whatever it looks like, and an empty one is "", with quotes and without. Rows have
as many fields as the header, but for two habits of programs that write such files: a separator at
the end of every row, and R's row names, which have no name in the header. Blank lines are left out,
unless there is one column: there each is a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset import DataError
from .source import (
    Source,
    TextOptions,
    as_data_errors,
    at_least_one,
    pieces,
    unique_names,
    unreadable,
)
from .text_rows import COMPRESSED, Header, Rows, Seams, read_bytes, read_header, uncompressed

if TYPE_CHECKING:
    import pyarrow as pa

#: What separates fields, by a file's ending.
SEPARATORS = {".csv": ",", ".tsv": "\t"}

#: Bytes of a file that are parsed at a time; a size after the first only where a row has more.
#: Arrow reads some 32 of them ahead.
BLOCKS = (2**21, 2**23, 2**25, 2**28)


@dataclass(frozen=True)
class Layout:
    """Where the fields of a text file's rows are, and what they are called.

    Attributes
    ----------
    path : path
        The file.
    source, kind : str
        What messages call it, and its ending.
    separator : str
        What stands between two fields.
    header : Header
        Its first row.
    written : list of str
        For each field of the other rows its name; "" if it has none.
    """

    path: Path
    source: str
    kind: str
    separator: str
    header: Header
    written: Sequence[str]

    @property
    def fields(self) -> list[str]:
        """The names of the fields, all different."""
        return unique_names(self.written)

    def body(self) -> Any:
        """Open the file behind its header."""
        file = uncompressed(self.path)
        read_bytes(file, self.header.size)
        return file

    @property
    def rows(self) -> Rows:
        """The rows of the file, gone through with more care than haste."""
        width, longest = len(self.written), BLOCKS[-1]
        return Rows(self.body(), self.source, self.separator, self.header, width, longest)

    @cached_property
    def fault(self) -> str | None:
        """What is wrong with the rows, if anything is: all of them are gone through once."""
        return self.rows.fault()

    @property
    def checked(self) -> bool:
        """Whether they were."""
        return "fault" in vars(self)


def text_suffix(path: Path) -> str | None:
    """Return .csv or .tsv if a file has such an ending, maybe before that of a compressed file.

    Examples
    --------
    >>> text_suffix(Path("a.tsv.GZ")), text_suffix(Path("a.csv")), text_suffix(Path("a.gz"))
    ('.tsv', '.csv', None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in SEPARATORS else None


def open_text(path: Path, source: str, options: TextOptions) -> Source:
    """Return a text file as a source.

    Parameters
    ----------
    path : path
        A file that `text_suffix` knows.
    source : str
        What messages call it.
    options : TextOptions
        How it is written.

    Raises
    ------
    DataError
        If it is no such text. Rows are only looked at where the number of their fields, or a column
        without a name at the end, leaves open what the columns are; else `Source.chunks` finds
        what is wrong with them.
    """
    suffix = text_suffix(path) or ".csv"
    compressed = path.suffix.lower() in COMPRESSED
    kind = suffix + path.suffix.lower() * compressed
    separator = options.separator or SEPARATORS[suffix]
    with as_data_errors(source, kind):
        header = read_header(path, source, separator)
        _require_separated(header, source, options.separator is not None)
        layout = Layout(path, source, kind, separator, header, header.names)
        layout, empty = _lay_out(layout)
        written = dict(zip(layout.fields, layout.written, strict=True))
        columns = [name for name in written if name not in empty]
        return Source(
            source,
            columns,
            {name: written[name] for name in columns},
            lambda chosen: _chunks(layout, columns if chosen is None else chosen),
            size=None if compressed else path.stat().st_size,
            decimal=options.decimal,
        )


def _require_separated(header: Header, source: str, given: bool) -> None:
    """Raise a DataError if a header seems to be separated by something else than it was read by.

    ``given`` says that the separator was: then one column is meant to be one.
    """
    if found := re.fullmatch(r'"?sep=(.)"?', header.line, re.IGNORECASE):
        raise DataError(
            f"{source}: line 1 is {header.line!r}, which is for Excel alone: remove it, and give "
            f"--separator {found[1]!r}"
        )
    name = header.names[0]
    others = [c for c in (";", "\t", "|", ",") if c in name]
    if not given and len(header.names) == 1 and others and header.line.strip() == name.strip():
        raise DataError(
            f"{source}: the header is one column, {name[:60]!r}: if fields are parted by another "
            f"character, give it, as --separator {others[0]!r}"
        )


def _lay_out(layout: Layout) -> tuple[Layout, set[str]]:
    """Return what the fields of the rows are, and those that are no columns: without name and text.

    Raises
    ------
    DataError
        If the first row has fewer or more fields than the header can be for.
    """
    names = layout.header.names
    width = layout.rows.first_width()
    if width == len(names) + 1:
        longer = replace(layout, written=[*names, ""])
        empty = _empty_ends(longer)
        if longer.fields[-1] in empty:
            return longer, empty
        return replace(layout, written=["", *names]), set()
    if width == len(names) - 1 and not names[-1]:
        layout = replace(layout, written=names[:-1])
    elif width != len(names):
        raise _explained(layout, f"the first row has {width} fields and the header {len(names)}")
    return layout, _empty_ends(layout)


def _empty_ends(layout: Layout) -> set[str]:
    """Return the last fields, those without a name that hold nothing in any row."""
    import pyarrow.compute as pc

    nameless = [*takewhile(lambda i: not layout.written[i], range(len(layout.written))[::-1])]
    names = [layout.fields[i] for i in nameless]
    full: set[str] = set()
    for chunk in _chunks(layout, names) if names else ():
        full |= {name for name in names if pc.max(pc.binary_length(chunk[name])).as_py()}
    return {*takewhile(lambda name: name not in full, names)}


def _chunks(layout: Layout, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Go through the rows of some columns."""
    import pyarrow as pa

    rows = (piece for chunk in _read(layout, columns) for piece in pieces(chunk))
    return at_least_one(rows, pa.schema([(name, pa.string()) for name in columns]))


def _read(layout: Layout, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Go through the rows by blocks, and by larger ones from where a row is not read by them."""
    done, block = 0, BLOCKS[0]
    while True:
        passed, seams = 0, Seams(layout.body, block)
        with as_data_errors(layout.source, layout.kind):
            try:
                for number, chunk in enumerate(_read_blocks(layout, columns, block)):
                    if passed >= done and seams.tear(number, _first_row(chunk)):
                        block += block // 16 + 1  # soon few blocks, wherever lines end
                        break
                    passed += chunk.num_rows
                    fresh = min(chunk.num_rows, max(0, passed - done))
                    done = max(done, passed)
                    yield chunk.slice(chunk.num_rows - fresh, fresh)
                else:
                    return
            except ValueError as error:
                block = _next_block(layout, block, error)


def _first_row(chunk: pa.Table) -> list[str]:
    """Return the fields of the first row, if there is one."""
    return [column[0].as_py() for column in chunk.columns] if chunk.num_rows else []


def _next_block(layout: Layout, block: int, error: ValueError) -> int:
    """Return the size of the blocks to try again by.

    Raises
    ------
    DataError
        If that would not help.
    """
    if isinstance(error, DataError):
        raise error
    if "straddling" in str(error):  # a row that is longer than a block
        larger = [size for size in BLOCKS if size > block]
        if larger:
            return larger[0]
    elif not layout.checked and layout.fault is None:
        return block  # but for lines of spaces, which are skipped now
    raise _explained(layout, error) from error


def _read_blocks(layout: Layout, columns: Sequence[str], block: int) -> Iterator[pa.Table]:
    """Go through the rows by blocks of one size: a table for each batch, empty ones too."""
    import pyarrow as pa

    final, last = "", layout.fields[-1]
    for batch in _reader(layout, block, [*dict.fromkeys([*columns, last])]) or ():
        if batch.num_rows:
            final = batch[last][-1].as_py()
        yield pa.Table.from_batches([batch]).select(columns)
    # A quote that is left open swallows all the lines after it.
    if ("\n" in final or "\r" in final) and layout.fault:
        raise unreadable(layout.source, layout.kind, layout.fault)


def _reader(layout: Layout, block: int, columns: list[str]) -> Any:
    """Return Arrow's reader of some columns, None if there are no rows."""
    import pyarrow as pa
    from pyarrow import csv

    def skip_blank(row: Any) -> str:  # Arrow can only show it rows in UTF-8
        return "error" if row.text.strip() or layout.separator in row.text else "skip"

    try:
        # The file is closed when nobody reads of it any more: Arrow reads ahead.
        return csv.open_csv(
            layout.body(),
            csv.ReadOptions(block_size=block, column_names=layout.fields),
            csv.ParseOptions(
                delimiter=layout.separator,
                newlines_in_values=True,
                ignore_empty_lines=len(layout.written) > 1,
                invalid_row_handler=skip_blank if layout.checked else None,
            ),
            csv.ConvertOptions(
                column_types={name: pa.string() for name in columns}, include_columns=columns
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return None
        raise


def _explained(layout: Layout, error: Exception | str) -> DataError:
    """Return the error of rows that can't be read: which line it is, if that is found."""
    return unreadable(layout.source, layout.kind, layout.fault or error)
