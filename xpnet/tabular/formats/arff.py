"""Weka's attribute-relation files, by the reader that scikit-learn keeps for OpenML.

SciPy's reader knows no text, no sparse rows and no classes beyond ASCII, and takes the gap of a
class for a class of its own.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dataset import DataError
from .source import ROWS, Source, as_data_errors
from .text_rows import decoded, uncompressed

if TYPE_CHECKING:
    import pyarrow as pa

#: An attribute's name, as it is written, and its type.
ATTRIBUTE = re.compile(
    r"""\s*@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s'"{},%]+)\s*(\S.*)""",
    re.IGNORECASE,
)

#: Types under the names that the reader gets: dates are text, as they are written, and what is
#: declared as whole is not cut to be so.
READ_AS = {"date": "string", "integer": "numeric"}


def open_arff(path: Path, source: str) -> Source:
    """Read an ARFF file into memory, and return it as a source.

    Numbers are float64, and int64 where an attribute is declared as integer and holds whole numbers
    alone; classes keep all that are declared, as categories; text and dates are text. In a sparse
    row what is not written is 0, or the first of the declared classes.

    Raises
    ------
    DataError
        If it is no such file, or has tables within a field, or text in sparse rows.
    """
    with as_data_errors(source, ".arff"):
        with closing(uncompressed(path)) as file:
            lines = file.read().removeprefix(codecs.BOM_UTF8).splitlines()
        return Source.in_memory(source, _table(_Lines(lines, source)))


class _Lines:
    """The lines of a file as the reader takes them.

    Attributes
    ----------
    number : int
        Of the line that it got last.
    names, declared : list of str
        The names of the attributes, and their types as they are written.
    """

    def __init__(self, lines: list[bytes], source: str) -> None:
        self.lines, self.source = lines, source
        self.number, self.names, self.declared = 0, list[str](), list[str]()

    def __iter__(self) -> Iterator[str]:
        rows = False
        for number, line in enumerate(self.lines, 1):
            self.number, text = number, decoded(line, number, self.source)
            if rows:
                if text.lstrip().startswith("{") and {"string", "date"} & {*self.declared}:
                    raise self.error("sparse rows have no text: what is left out would be any")
            elif text.lstrip().lower().startswith("@attribute"):
                text = self._attribute(text)
            rows = rows or text.strip().lower().startswith("@data")
            yield text

    def _attribute(self, text: str) -> str:
        """Note an attribute, and return it for the reader, by a name that needs no quotes."""
        found = ATTRIBUTE.fullmatch(text.rstrip())
        if found is None:
            raise self.error("an attribute's name and type are expected")
        name, kind = found.groups()
        name = re.sub(r"\\(.)", r"\1", name[1:-1]) if name[0] in "'\"" else name
        self.names.append(name)
        self.declared.append(kind.split()[0].lower())
        if self.declared[-1] == "relational":
            raise self.error("there are tables within a field")
        return f"@attribute a{len(self.names)} {READ_AS.get(self.declared[-1], kind)}"

    def error(self, why: Exception | str) -> DataError:
        """Return the error of the line that the reader got last."""
        # Of the reader's own errors str() fails if a value with a % is in them.
        reason = re.sub(r",? (at|in) line %d", "", getattr(why, "message", None) or str(why))
        reason = reason.replace("%%", "%").strip().removesuffix(".") or type(why).__name__
        return DataError(f"{self.source}: line {self.number} can't be read as .arff ({reason})")


def _table(lines: _Lines) -> pa.Table:
    """Return the rows of a file."""
    import pyarrow as pa
    from sklearn.externals import _arff

    try:
        found = _arff.load(iter(lines), return_type=_arff.DENSE_GEN)
        chunks = [*_chunks(found["data"], [kind for _, kind in found["attributes"]])]
    except (_arff.ArffException, ValueError) as error:
        raise error if isinstance(error, DataError) else lines.error(error) from error
    columns = [pa.chunked_array(parts) for parts in zip(*chunks, strict=True)]
    for i, declared in enumerate(lines.declared):
        if declared == "integer":
            columns[i] = _whole(columns[i])
    return pa.table(columns, names=lines.names)


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats as int64, if they are whole and no float stands for several whole numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    largest = pc.max(pc.abs(column)).as_py()
    with suppress(pa.ArrowInvalid):  # some are not whole
        return column.cast(pa.int64()) if (largest or 0) < 2**53 else column
    return column


def _chunks(rows: Iterator[list[Any]], kinds: Sequence[Any]) -> Iterator[list[pa.Array]]:
    """Go through the columns of some rows at a time; there is at least one chunk."""
    some = [*islice(rows, ROWS)]
    while True:
        yield [_array([row[i] for row in some], kind) for i, kind in enumerate(kinds)]
        if not (some := [*islice(rows, ROWS)]):
            return


def _array(values: list[Any], kind: Any) -> pa.Array:
    """Return values of a type, or of a list of classes."""
    import pyarrow as pa

    if isinstance(kind, str):
        return pa.array(values, pa.string() if kind == "STRING" else pa.float64())
    classes = [*dict.fromkeys(name for name in kind if name is not None)]
    codes = {name: i for i, name in enumerate(classes)}
    indices = pa.array([codes.get(value) for value in values], pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(classes, pa.string()))
