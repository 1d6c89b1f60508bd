"""A file that only grows: a line of JSON for each record, and a mark that says how far it holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .._typing import Tree
from ..checks import check_count
from . import atomic, json_tree

#: Bytes of a line, at most.
MOST_BYTES = 2**26


class AppendLog:
    """Records in a file, to which some are added at a time, at a cost that does not grow with it.

    Parameters
    ----------
    path : path
        The file; it is made with the first record.
    rule : function or None
        What stands for values that are none of JSON's, as `json_tree.encode` takes it.

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

    def __init__(self, path: Path, rule: json_tree.Rule | None = None) -> None:
        self.path, self._rule = path, rule
        self._begin()

    def _begin(self) -> None:
        self.lines, self._bytes, self._digest = 0, 0, hashlib.sha256()
        self._newest, self._before = b"", self._digest
        self._record: Any = None
        self._seen: tuple[int, ...] | None = None

    def mark(self) -> Tree:
        """Return what `read` needs to know its records again."""
        return {"lines": self.lines, "bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def line(self, record: Any) -> bytes:
        """Return the line of a record, or raise a TypeError or ValueError if it can't have one."""
        text = json.dumps(json_tree.encode(record, self._rule), allow_nan=False)
        json_tree.parse(text)
        line = f"{text}\n".encode()
        if len(line) > MOST_BYTES:
            raise ValueError(f"it has {len(line):,} bytes, more than {MOST_BYTES:,}")
        return line

    def extend_to(self, records: Sequence[Any]) -> None:
        """Bring it to hold some records: on the disk when it returns, as before after an error.

        Parameters
        ----------
        records : sequence of tree
            All that it shall hold. Of those that it holds the last one alone is looked at again:
            the others should be as they were, or it another object.

        Raises
        ------
        OSError
            If the file can't be written.
        TypeError, ValueError
            If a record can't be.
        """
        if self.lines and not self._goes_on(records):
            self._begin()
        if self.lines and self.line(records[self.lines - 1]) != self._newest:
            self._forget_newest()
        new = [self.line(record) for record in records[self.lines :]]
        if not new:
            return
        if self.lines:
            self._append(b"".join(new))
        else:
            atomic.write_whole(self.path, b"".join(new))
        for line in new:
            self._count(line)
        self._record = records[-1]
        self._seen = self._look()

    def _append(self, data: bytes) -> None:
        self._seen = None  # until it is through
        with atomic.DISK.reopen(self.path, self._bytes) as file:
            atomic.DISK.write(file, data)
            file.truncate()  # a run that was cut off may have got further
            atomic.DISK.sync(file)

    def _goes_on(self, records: Sequence[Any]) -> bool:
        """Return whether the file is as it was left, and can be added to where it stands."""
        if len(records) < self.lines or records[self.lines - 1] is not self._record:
            return False
        if not os.access(self.path, os.W_OK):
            return False
        seen = self._look()
        return seen is not None and (seen == self._seen or self._seen is None)

    def _look(self) -> tuple[int, ...] | None:
        """Return what tells the file from another one; None if nothing can be added to it.

        That is so if it has another name as well, which should stand for what it was.
        """
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            whole = stat.S_ISREG(found.st_mode) and found.st_size >= self._bytes
            if whole and found.st_nlink == 1:
                return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        return None

    def _count(self, line: bytes) -> None:
        self._newest, self._before = line, self._digest.copy()
        self._digest.update(line)
        self._bytes += len(line)
        self.lines += 1

    def _forget_newest(self) -> None:
        self._digest, self._bytes = self._before.copy(), self._bytes - len(self._newest)
        self.lines -= 1

    def read(
        self, mark: Tree, fits: Callable[[Any], bool] = lambda record: True
    ) -> tuple[list[Any], bool]:
        """Go on from a mark: return its records, and whether they are all there as they were.

        If they are not, those from the first one on that can't be read are left out.

        Parameters
        ----------
        mark : dict
            From `mark`.
        fits : function
            Whether a record is one of those that were written.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no mark.
        """
        wanted = check_count(mark["lines"], "lines", 0)
        records: list[Any] = []
        with contextlib.suppress(OSError), _open_plain(self.path) as file:
            while len(records) < wanted and (line := file.readline(MOST_BYTES)).endswith(b"\n"):
                try:
                    record = json_tree.decode(json_tree.parse(line.decode()), {})
                except (TypeError, ValueError):
                    break
                if not fits(record):
                    break
                records.append(record)
                self._count(line)
                self._record = record
        return records, self.mark() == mark


def _open_plain(path: Path) -> BinaryIO:
    """Open a plain file to read it; what is none, as a pipe, could be waited for without end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: is no plain file")
    return os.fdopen(descriptor, "rb")
