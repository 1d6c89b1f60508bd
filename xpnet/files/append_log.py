"""A file that only grows: a line of JSON for each record, and a mark that says how far it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .._typing import Tree
from ..checks import check_count
from . import atomic, json_tree

#: Bytes of a line, at most.
_MOST_BYTES = 2**20


class AppendLog:
    """Records in a file, to which some are added at a time, at a cost that does not grow with it.

    Parameters
    ----------
    path : path
        The file; it is made with the first record.

    Attributes
    ----------
    lines : int
        How many records it holds.

    Examples
    --------
    What was added after a mark is forgotten by whoever goes on from it:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log"
    >>> log = AppendLog(path)
    >>> log.extend_to([{"epoch": 1}, {"epoch": 2}])
    >>> mark = log.mark()
    >>> log.extend_to([{"epoch": 1}, {"epoch": 2}, {"epoch": 3}])
    >>> AppendLog(path).read(mark)
    ([{'epoch': 1}, {'epoch': 2}], True)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.lines, self._bytes, self._digest = 0, 0, hashlib.sha256()

    def mark(self) -> Tree:
        """Return what `read` needs to know its records again."""
        return {"lines": self.lines, "bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def extend_to(self, records: Sequence[Any], rule: json_tree.Rule | None = None) -> None:
        """Add what it lacks of some records: on the disk when it returns, none after an error.

        Parameters
        ----------
        records : sequence of tree
            All that it shall hold, as `json_tree.encode` takes them, with the same ``rule``. Those
            that it holds are not looked at, unless the file was cut or removed since.

        Raises
        ------
        OSError
            If they can't be written.
        TypeError
            If one can't be encoded.
        """
        if self.lines and self._is_cut():
            self._begin()
        new = records[self.lines :]
        if not new:
            return
        encoded = (json.dumps(json_tree.encode(r, rule), allow_nan=False) for r in new)
        data = "".join(f"{line}\n" for line in encoded).encode()
        with atomic.DISK.reopen(self.path, self._bytes) as file:
            atomic.DISK.write(file, data)
            file.truncate()  # a run that was cut off may have got further
            atomic.DISK.sync(file)
        self._count(data, len(new))

    def _is_cut(self) -> bool:
        try:
            return self.path.stat().st_size < self._bytes
        except FileNotFoundError:
            return True

    def _count(self, data: bytes, lines: int) -> None:
        self._digest.update(data)
        self._bytes += len(data)
        self.lines += lines

    def read(self, mark: Tree) -> tuple[list[Any], bool]:
        """Go on from a mark: return its records, and whether they are all there as they were.

        If they are not, those from the first one on that can't be read are left out.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no mark.
        """
        wanted = check_count(mark["lines"], "lines", 0)
        records: list[Any] = []
        try:
            with self.path.open("rb") as file:
                while len(records) < wanted and (record := self._next(file)) is not None:
                    records.append(record)
        except OSError:
            pass  # then there are fewer
        return records, self.mark() == mark

    def _next(self, file: BinaryIO) -> Any:
        """Return the record in the next line, or None if there is none."""
        line = file.readline(_MOST_BYTES)
        if not line.endswith(b"\n"):
            return None
        try:
            record = json_tree.decode(json_tree.parse(line.decode()), {})
        except ValueError:
            return None
        self._count(line, 1)
        return record
