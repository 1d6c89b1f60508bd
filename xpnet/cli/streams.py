"""Standard output and standard error that may fail: the work goes on, and the exit code says so.

A reader may go away (``| head``), a disk be full, a terminal be closed. What a command has to save
must not be lost for that.
"""

from __future__ import annotations

import errno
import io
import os
import selectors
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: What a shell expects of a command whose reader went away: 128 and the number of SIGPIPE.
READER_GONE = 141


class Outlet(io.RawIOBase):
    """Writes to a stream until that fails for the first time; all further writing is for nobody.

    Parameters
    ----------
    raw : io.RawIOBase
        The stream.
    on_failure : callable
        Called with the first error.

    Attributes
    ----------
    error : OSError or None
        The first error.
    """

    def __init__(self, raw: io.RawIOBase, on_failure: Callable[[OSError], object]) -> None:
        self._raw, self._on_failure = raw, on_failure
        self.error: OSError | None = None

    @property
    def name(self) -> Any:
        """What the stream is called."""
        return getattr(self._raw, "name", None)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._raw.isatty()

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it, or nothing after a failure; return how much is done with."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while rest and self.error is None:
                written = self._raw.write(rest)
                if written is None:  # a pipe that is full, of the kind that doesn't wait
                    with selectors.DefaultSelector() as selector:
                        selector.register(self._raw, selectors.EVENT_WRITE)
                        selector.select()
                rest = rest[written or 0 :]
        except OSError as error:
            self.error = error
            self._on_failure(error)
        return length


class Output:
    """What became of standard output.

    Parameters
    ----------
    goes_on : str or None
        What goes on without it, as "the training goes on"; None if it is what the command is for.
    """

    def __init__(self, goes_on: str | None) -> None:
        self._goes_on = goes_on
        self._error: OSError | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of a command that has done all else that it should."""
        if self._error is None:
            return 0
        return READER_GONE if self._error.errno == errno.EPIPE else 1

    def fail(self, error: OSError, stderr: Any) -> None:
        """Learn that it can't be written to, and say so, unless a reader has seen enough."""
        self._error = error
        why = f"standard output can't be written to ({error.strerror or error})"
        if self._goes_on is not None:
            print(f"note: {why}: {self._goes_on}", file=stderr, flush=True)
        elif error.errno != errno.EPIPE:
            print(f"error: {why}", file=stderr, flush=True)


@contextmanager
def guarded(goes_on: str | None = None) -> Iterator[Output]:
    """Return a context in which no failure to write to standard output or error ends the work.

    Where there is no λ, there is a ?. A stream that was closed from the beginning takes what it is
    given, and shows nothing.

    Parameters
    ----------
    goes_on : str or None
        As for `Output`.
    """
    output, before = Output(goes_on), (sys.stdout, sys.stderr)
    stderr = _guard(sys.stderr, lambda error: None)
    stdout = _guard(sys.stdout, lambda error: output.fail(error, stderr))
    sys.stdout, sys.stderr = stdout, stderr
    try:
        yield output
    finally:
        stdout.flush()
        stderr.flush()
        sys.stdout, sys.stderr = before
        for old, new in zip(before, (stdout, stderr), strict=True):
            if old is None:
                new.close()


def _guard(stream: Any, on_failure: Callable[[OSError], object]) -> Any:
    """Return a stream that writes where another one does; that itself if it is no file."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if not isinstance(raw, io.RawIOBase):
        return stream
    stream.flush()
    outlet: Any = Outlet(raw, on_failure)
    return io.TextIOWrapper(
        outlet if buffer is raw else io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
