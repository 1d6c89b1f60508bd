"""The bytes of a text file with a table: uncompressed, its header, what follows, and its faults."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..dataset import DataError

#: The endings of compressed files, and what Arrow calls them.
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}

#: What is said of a row within which the file ends.
UNCLOSED = "opens a quote that is never closed"

#: Bytes in which a header is looked for first.
HEAD = 2**16

#: Characters before a line's end by which its place is known.
NEAR = 64


def uncompressed(path: Path) -> Any:
    """Open a file as Arrow's stream; what is read of it is not compressed any more.

    A file of Python's would do for all but Arrow's own threads: what these read ahead of it, while
    Python ends, ends it with an abort.
    """
    import pyarrow as pa

    return pa.input_stream(str(path), compression=COMPRESSED.get(path.suffix.lower()))


@dataclass(frozen=True)
class Header:
    """The first row of a text file.

    Attributes
    ----------
    names : list of str
        Its fields.
    size, lines : int
        How many bytes and lines it takes, with the blank lines before and after it.
    line : str
        Its first line as it is written.
    """

    names: list[str]
    size: int
    lines: int
    line: str


def read_header(path: Path, source: str, separator: str) -> Header:
    """Return the header of a text file.

    Raises
    ------
    DataError
        If there is none, or no text in UTF-8 there.
    """
    size = HEAD
    while True:
        with closing(uncompressed(path)) as file:
            start = read_bytes(file, size)
        if found := find_header(start, source, separator, whole=len(start) < size):
            return found
        size *= 8


def read_bytes(file: Any, size: int) -> bytes:
    """Return so many bytes, or all there are."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def find_header(start: bytes, source: str, separator: str, whole: bool) -> Header | None:
    r"""Return the header in the first bytes of a file; None if it may go on after them.

    Parameters
    ----------
    start : bytes
        How the file begins.
    source : str
        What messages call it.
    separator : str
        What stands between two fields.
    whole : bool
        Whether that is all of the file.

    Raises
    ------
    DataError
        If there is none, or no text in UTF-8 there.

    Examples
    --------
    >>> find_header(b'a,"b,\nc"\n1,2\n', "t.csv", ",", whole=True)
    Header(names=['a', 'b,\nc'], size=9, lines=2, line='a,"b,')
    """
    if (place := start.find(0)) >= 0:  # as there are in UTF-16
        raise _no_text(start.count(b"\n", 0, place) + 1, source, "there is a zero byte")
    mark = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
    lines = start[mark:].splitlines(keepends=True)
    lines = lines if whole else lines[:-1]
    blank = _blank_lines(lines, separator)
    if blank == len(lines):
        if whole:
            raise DataError(f"{source}: there is no header: give the columns' names in line 1")
        return None
    texts: list[str] = []
    try:
        reader = csv.reader(_noted(lines[blank:], blank, source, texts), delimiter=separator)
        names, used = next(reader), blank + reader.line_num
        if used == len(lines) and not whole:
            return None
        _require_closed(texts, separator)
    except csv.Error as error:
        raise DataError(
            f"{source}: line {blank + 1}, the header, can't be read ({error})"
        ) from error
    # A line of spaces is a row only if a row has one field.
    used += _blank_lines(lines[used:], separator) if len(names) > 1 else 0
    size = mark + sum(map(len, lines[:used]))
    if len(names) > 1 and b"".join(lines[used : used + 1]).startswith(codecs.BOM_UTF8):
        # Arrow leaves out a mark with which what it reads begins: begin with the line's end before.
        size, used = size - 1, used - 1
    return Header(names, size, used, texts[0].rstrip("\r\n"))


def _noted(lines: list[bytes], before: int, source: str, texts: list[str]) -> Iterator[str]:
    """Go through lines as text, and note those that were asked for."""
    for number, line in enumerate(lines, before + 1):
        texts.append(decoded(line, number, source))
        yield texts[-1]


def _blank_lines(lines: Iterable[bytes], separator: str) -> int:
    """Return how many lines are blank before one is not; of separators alone it is a row."""
    mark = separator.encode()
    return sum(1 for _ in takewhile(lambda line: not (line.strip() or mark in line), lines))


def _require_closed(lines: list[str], separator: str) -> None:
    """Raise csv.Error if a quote is left open in some lines."""
    try:
        next(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        if "end of data" in str(error):
            raise csv.Error("a quote is opened there and never closed") from error


def decoded(line: bytes, number: int, source: str) -> str:
    """Return a line as text.

    Raises
    ------
    DataError
        If it is none in UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _no_text(number, source, error) from error


def _no_text(number: int, source: str, why: UnicodeDecodeError | str) -> DataError:
    return DataError(f"{source}: line {number} is no text in UTF-8 ({why}): save it as UTF-8")


class Seams:
    r"""Where two blocks of a file part a line's end: there Arrow may have read a row wrongly.

    Of a "\r\n" that begins in one block and ends in the next it leaves out the "\n", within quotes
    too. Where rows hold "\r" at all the file itself is gone through beside them, to find that out.

    Parameters
    ----------
    body : function
        Opens the file behind its header.
    block : int
        How many bytes a block has.
    """

    def __init__(self, body: Callable[[], Any], block: int) -> None:
        self._body, self._block = body, block
        self._file: Any = None
        self._read = self._blank = 0  # blocks; the first that hold blank lines alone
        self._parted: dict[int, bytes] = {}  # the end of what is before such a block
        self._end = b""

    def tear(self, batch: int, row: Iterable[str]) -> bool:
        r"""Return whether the first row of a batch lacks a "\n".

        Only the first row of a batch can begin in the block before.

        Parameters
        ----------
        batch : int
            Which: Arrow makes one of each block, but none of those before the first with rows.
        row : iterable of str
            The row's fields.
        """
        fields = ['"' + text.replace('"', '""') for text in row if "\r" in text]
        places = [(field, found.end()) for field in fields for found in re.finditer("\r", field)]
        ends = tuple(field[max(0, at - NEAR) : at].encode() for field, at in places)
        return bool(ends) and any(end.endswith(ends) for end in self._ends(batch))

    def _ends(self, batch: int) -> list[bytes]:
        """Return the ends of what is before those blocks that the batch may be made of.

        The first row ends in the first block that isn't blank, or in the next.
        """
        self._file = self._file or self._body()
        while self._read < batch + self._blank + 2:
            if not (part := read_bytes(self._file, self._block)):
                break
            if self._end.endswith(b"\r") and part.startswith(b"\n"):
                self._parted[self._read] = self._end
            self._blank += self._blank == self._read and not part.strip()
            self._read, self._end = self._read + 1, part[-4 * NEAR :]
        return [end for block, end in self._parted.items() if block >= batch]


class Body(io.RawIOBase):
    """What follows the header, and one more row, of empty fields alone.

    Text that ends within quotes swallows that row: by this it is found out.

    Parameters
    ----------
    file : file
        A text file behind its header.
    separator : str
        What stands between two fields.
    width : int
        How many fields a row has.
    """

    def __init__(self, file: Any, separator: str, width: int) -> None:
        self._file = file
        self._last = (separator * (width - 1) or '""').encode() + b"\n"
        self._end: io.BytesIO | None = None
        self._ended = True  # the line that was read last

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return how many bytes."""
        data = b"" if self._end else self._file.read(len(buffer))
        if data:
            self._ended = data.endswith((b"\n", b"\r"))
        else:
            self._end = self._end or io.BytesIO((b"" if self._ended else b"\n") + self._last)
            data = self._end.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Rows:
    """The rows of a text file as Python's reader has them: slow, and it knows their lines.

    Parameters
    ----------
    file : file
        The file behind its header.
    source : str
        What messages call it.
    separator : str
        What stands between two fields.
    header : Header
        The file's.
    width : int
        How many fields a row must have.
    longest : int
        How many characters a field may have.

    Attributes
    ----------
    start, end : int
        The first and the last line of the row that came last.
    """

    def __init__(
        self, file: Any, source: str, separator: str, header: Header, width: int, longest: int
    ) -> None:
        raw = io.BufferedReader(Body(file, separator, width))
        text = io.TextIOWrapper(raw, "utf-8", errors="surrogateescape", newline="")
        self._reader = csv.reader(_decodable(text, header.lines, source), delimiter=separator)
        self._header, self._width, self._longest = header, width, longest
        self.start = self.end = header.lines

    def __iter__(self) -> Iterator[list[str]]:
        """Go through the rows, without blank lines; the one that `Body` adds is the last."""
        before = csv.field_size_limit(self._longest)
        try:
            for row in self._reader:
                self.start, self.end = self.end + 1, self._header.lines + self._reader.line_num
                blank = self._width > 1 and len(row) < 2 and not "".join(row).strip()
                if not blank:
                    yield row or [""]
        finally:
            csv.field_size_limit(before)

    def first_width(self) -> int:
        """Return how many fields the first row has; of a file without rows as many as they must."""
        try:
            return len(next(iter(self)))
        except csv.Error:
            return self._width

    def fault(self) -> str | None:
        """Return what is wrong with the first row that can't be read, if it is found.

        Raises
        ------
        DataError
            If a line is no text in UTF-8.
        """
        row, rows = [""] * self._width, iter(self)
        try:
            for row in rows:
                if len(row) != self._width:
                    break
            else:
                return f"line {self.start} {UNCLOSED}" if any(row) else None
            start, end = self.start, self.end
            # The row that `Body` adds is swallowed by this one, if no other comes after it.
            if end > start and next(rows, None) is None:
                return f"line {start} {UNCLOSED}"
        except csv.Error as error:
            size = f"more than {self._longest >> 20} MB: is a quote left open?"
            return (
                f"line {self.end + 1} begins a field of {size}" if "limit" in str(error) else None
            )
        wanted = f"the header {len(self._header.names)}"
        if self._width != len(self._header.names):
            wanted = f"the rows before it {self._width}, {wanted}"
        place = f"line {start}" if start == end else f"the row in lines {start} to {end}"
        return f"{place} has {len(row)} field{'s' * (len(row) != 1)} and {wanted}"


def _decodable(lines: Iterable[str], before: int, source: str) -> Iterator[str]:
    """Go through lines that a DataError tells of if they can't be decoded."""
    for number, line in enumerate(lines, before + 1):
        if not line.isascii():
            decoded(line.encode("utf-8", "surrogateescape"), number, source)
        yield line
