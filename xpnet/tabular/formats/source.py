"""A table that can be gone through again and again, some rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ..dataset import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: What a chunk of a table has at most: rows, and bytes in memory if it has more than one row.
ROWS, BYTES = 2**16, 2**23

#: Chunks of fewer rows are joined, up to so many bytes: each costs some time for each column.
FEWEST, WIDEST = 2**10, 2**26

#: What a column without a name is called, by its place: as pandas calls it.
UNNAMED = "Unnamed: {}"


@dataclass(frozen=True)
class TextOptions:
    r"""How the numbers and fields of a text file are written.

    Attributes
    ----------
    separator : str or None
        What stands between two fields, one character, or ``\t`` spelled out for a tab. None: a
        comma in .csv, a tab in .tsv.
    decimal : str
        What stands before a number's decimal places: "." or ",".

    Examples
    --------
    >>> TextOptions(separator=r"\t").separator
    '\t'
    >>> TextOptions(separator=", ")
    Traceback (most recent call last):
    ValueError: --separator is ', ': give one character, such as ';', or \t for a tab
    """

    separator: str | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        separator = self.separator
        if separator == r"\t":
            object.__setattr__(self, "separator", separator := "\t")
        alone = separator is None or (len(separator) == 1 and separator.isascii())
        if not alone or (separator is not None and separator in '"\r\n\0'):
            raise ValueError(
                f"--separator is {separator!r}: give one character, such as ';', or "
                r"\t for a tab"
            )
        if self.decimal not in (".", ","):
            raise ValueError(f"--decimal is {self.decimal!r}: give . or ,")


#: How they are written if nothing is said.
PLAIN = TextOptions()


@dataclass
class Source:
    """A table in a file, or in memory, that can be gone through again and again.

    Attributes
    ----------
    name : str
        What messages call it: the path as it was given.
    columns : list of str
        Its columns, all different, in the file's order.
    written : dict of str to str
        What the file calls each of them. Of two columns "a" of a text file the second is "a.1", and
        a column without a name is "Unnamed: 0", by its place: "a" and "" are what is written.
    open : function
        Called with the names of columns, or None for all, begins anew and returns an iterator of
        chunks. `chunks` calls it.
    target : str or None
        The column that the source itself names as the one to predict.
    size : int or None
        Its bytes, as far as they are known without reading it; uncompressed.
    decimal : str
        What stands before the decimal places of numbers that are still text.
    """

    name: str
    columns: list[str]
    written: dict[str, str]
    open: Callable[[Sequence[str] | None], Iterator[pa.Table]]
    target: str | None = None
    size: int | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError(f"{self.name}: there are no columns")

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Go through the rows, from the first on.

        Each chunk is a table with the same columns of the same types, save that categories may
        differ from chunk to chunk. There is at least one chunk; it may have no rows.

        Parameters
        ----------
        columns : sequence of str or None
            Which columns, in which order; None for all. With none the chunks still know how many
            rows they have.

        Raises
        ------
        DataError
            If there is no such column, or the file is damaged: some chunks may have come before.
        """
        for column in columns or ():
            if column not in self.written:
                known = ", ".join(self.columns[:20])
                raise DataError(f"{self.name}: there is no column {column!r}; there are {known}")
        return self.open(None if columns is None else [*columns])

    @classmethod
    def in_memory(cls, name: str, table: pa.Table, target: str | None = None) -> Source:
        """Return a table as a source.

        Raises
        ------
        DataError
            If two columns have one name.
        """
        names = [*table.column_names]
        require_unique(names, name)
        plain = without_metadata(table)

        def rows(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            chosen = plain if columns is None else plain.select(columns)
            return at_least_one(pieces(chosen), chosen.schema)

        return cls(name, names, {c: c for c in names}, rows, target, table.nbytes)


def joined(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Go through chunks, joined where rows are so wide that there are few in each."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = size = 0
    for chunk in chunks:
        if not chunk.num_columns:  # joined they would lose their rows
            yield chunk
            continue
        waiting.append(chunk)
        rows, size = rows + len(chunk), size + chunk.nbytes
        if rows >= FEWEST or size >= WIDEST:
            yield pa.concat_tables(waiting)
            waiting.clear()
            rows = size = 0
    if waiting:
        yield pa.concat_tables(waiting)


def aligned(columns: Sequence[Sequence[pa.Array]]) -> Iterator[list[pa.Array]]:
    """Go through columns, each of which is in parts of its own, by parts that are of one length.

    Examples
    --------
    >>> import pyarrow as pa
    >>> a, b = [pa.array([1, 2]), pa.array([3])], [pa.array([4]), pa.array([5, 6])]
    >>> [[part.to_pylist() for part in parts] for parts in aligned([a, b])]
    [[[1], [4]], [[2], [5]], [[3], [6]]]
    """
    ends = sorted({end for parts in columns for end in accumulate(map(len, parts))})
    cut = [_cut(parts, ends) for parts in columns]
    yield from (list(parts) for parts in zip(*cut, strict=True))


def _cut(parts: Iterable[pa.Array], ends: Sequence[int]) -> Iterator[pa.Array]:
    """Go through a column's parts by some ends, those of its own parts among them."""
    begin, places = 0, iter(ends)
    for part in parts:
        start, stop = 0, len(part)
        while start < stop:
            end = next(places) - begin
            yield part[start:end]
            start = end
        begin += stop


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Go through a table by chunks of some tens of thousands of rows and some megabytes."""
    a_row = max(1, table.nbytes // max(1, table.num_rows))
    step = max(1, min(ROWS, BYTES // a_row))
    if table.num_rows <= step:
        yield from [table] if table.num_rows else []
        return
    for start in range(0, table.num_rows, step):
        # Without columns a slice has as many rows as were asked for.
        yield table.slice(start, min(step, table.num_rows - start))


def at_least_one(chunks: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Go through chunks; if there are none, there is one of a schema without rows."""
    some = False
    for chunk in chunks:
        some = True
        yield chunk
    if not some:
        yield schema.empty_table()


def without_metadata(table: pa.Table) -> pa.Table:
    """Return a table whose columns are names and types alone, whatever pandas wrote beside them."""
    import pyarrow as pa

    fields = [pa.field(f.name, f.type) for f in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields)) if fields else table


def unique_names(written: Sequence[str]) -> list[str]:
    """Return names that are all different: what is there twice is numbered, as pandas does it.

    Examples
    --------
    >>> unique_names(["a", "a", "a.1", "", ""])
    ['a', 'a.2', 'a.1', 'Unnamed: 3', 'Unnamed: 4']
    """
    taken, found = {*written}, dict[int, str]()
    numbers: dict[str, int] = {}
    for i in sorted(range(len(written)), key=lambda i: not written[i]):  # made-up names come last
        unique = name = written[i] or UNNAMED.format(i)
        if name in numbers or (name in taken and not written[i]):
            number = numbers.get(name, 1)
            while (unique := f"{name}.{number}") in taken:
                number += 1
            numbers[name] = number
        else:
            numbers[name] = 1
        taken.add(unique)
        found[i] = unique
    return [found[i] for i in range(len(written))]


def in_a_list(name: str) -> str:
    """Return a name as a list of names has it, as for --drop: in quotes where a comma is in it.

    Examples
    --------
    >>> in_a_list("height"), in_a_list("height, cm")
    ('height', '"height, cm"')
    """
    if not {*',"\r\n'} & {*name}:
        return name
    return '"' + name.replace('"', '""') + '"'


def require_unique(columns: Iterable[str], source: str) -> None:
    """Raise a DataError if two columns of a table have the same name.

    Examples
    --------
    >>> require_unique(["a", "b", "a"], "t.parquet")
    Traceback (most recent call last):
    xpnet.tabular.dataset.DataError: t.parquet: there are two columns named 'a': rename one
    """
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{source}: there are two columns named {twice[0]!r}: rename one")


@contextmanager
def as_data_errors(source: str, kind: str) -> Iterator[None]:
    """Turn what libraries raise of a damaged file into a DataError that names it, in one line.

    Parameters
    ----------
    source : str
        The file.
    kind : str
        What it was to be read as, as ".parquet".
    """
    try:
        yield
    except (DataError, FileNotFoundError, ImportError):
        raise
    except Exception as error:
        if not _is_of_the_file(error):
            raise
        raise unreadable(source, kind, error) from error


def unreadable(source: str, kind: str, error: Exception | str) -> DataError:
    """Return the error of a file that can't be read, with the first line of the reason."""
    reason = str(error).strip() or type(error).__name__
    return DataError(f"{source}: can't be read as {kind} ({reason.splitlines()[0]})")


def _is_of_the_file(error: Exception) -> bool:
    """Return whether an error may come of what is in a file."""
    from pyarrow import ArrowCancelled, ArrowException

    if isinstance(error, ArrowException):
        return not isinstance(error, ArrowCancelled)
    return isinstance(error, ValueError | OSError | EOFError | OverflowError)
