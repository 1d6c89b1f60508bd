"""Files that are whole or not there: written beside, flushed to the disk, then renamed.

A process may be killed, or a machine go down, at any moment: what stands under the file's name is
then the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .file_lock import FileLock

#: What a file is called that is being written: hidden, with its name to be, or how that begins.
_UNFINISHED = re.compile(r"\.(?P<name>.*)\.[0-9a-f]{8}\.unfinished", re.DOTALL)

#: How many characters of that name it has: all could be more than a name may have.
_SHOWN = 40


class Disk:
    """What is done to files, a method for each operation.

    All that must not be lost goes through one of these, so that a test can put one in its place
    that fails, or ends the process, at any of the operations.
    """

    def create(self, path: Path, mode: int = 0o666) -> BinaryIO:
        """Open a new file; its permissions are those of ``mode`` that the umask leaves."""
        return open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))

    def reopen(self, path: Path, place: int) -> BinaryIO:
        """Open a file that is there, to write on from a place."""
        file = open(path, "r+b")  # noqa: SIM115 - who asks for it closes it
        file.seek(place)
        return file

    def write(self, file: BinaryIO, data: bytes) -> None:
        """Write to a file."""
        file.write(data)

    def sync(self, file: BinaryIO) -> None:
        """Wait until a file's content is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its name, in one stroke; one of that name is gone."""
        os.replace(old, new)

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are on the disk, where the system can."""
        if hasattr(os, "O_DIRECTORY"):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)


#: The one in use.
DISK = Disk()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file: whatever happens, under its name stands the old one or the new one, whole.

    When it returns, the new one is on the disk. It has the old one's permissions, and where the
    name is a symbolic link, it stays one. What killed writers of this name have left is removed.

    Parameters
    ----------
    path : path
        Where to; a file there is replaced.
    data : bytes
        The whole content.

    Raises
    ------
    OSError
        If it can't be written, or something else than a plain file is there; it names ``path``.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", b"whole")
    >>> [path.read_bytes() for path in folder.iterdir()]
    [b'whole']
    """
    with written_whole(path) as write:
        write(data)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Return a context with what writes a file piece by piece, as `write_whole` does at once.

    If the context ends with an error, what stood there stays.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with written_whole(path) as write:
    ...     write(b"wh")
    ...     write(b"ole")
    >>> path.read_bytes()
    b'whole'
    """
    with _named(path):
        old, target = _find(path)
        remove_abandoned(target.parent, re.compile(re.escape(target.name[:_SHOWN])))
        with _begun(target, old) as (file, beside):
            yield functools.partial(DISK.write, file)
            DISK.sync(file)
            file.close()
            DISK.rename(beside, target)
        DISK.sync_folder(target.parent)


def try_to_write(path: Path) -> None:
    """Write an empty file beside where one shall be written, and remove it again.

    Raises
    ------
    OSError
        If `write_whole` can't write there; it names ``path``.
    """
    with _named(path):
        old, target = _find(path)
        with _begun(target, old) as (file, beside):
            file.close()
            DISK.remove(beside)


def remove_abandoned(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what writers have left that were killed: who still writes a file holds its lock.

    Parameters
    ----------
    folder : path
        Where.
    names : pattern
        What the first 40 characters of the files' names fit.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.fullmatch(entry.name)
            fits = found and names.fullmatch(found["name"])
            if fits and entry.is_file(follow_symlinks=False):
                _remove_if_abandoned(folder / entry.name)


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError), FileLock(os.open(path, os.O_RDONLY)) as lock:
        if lock.is_exclusive:
            DISK.remove(path)


def _find(path: Path) -> tuple[os.stat_result | None, Path]:
    """Return what is known of the file that a name stands for, if there is one, and its own name.

    Raises
    ------
    OSError
        If there is something else than a plain file, or no file can have that name.
    """
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return None, Path(os.path.realpath(path))
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "is no plain file")
    return old, Path(os.path.realpath(path))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Return a context in which errors of the system name a file, whatever they came of."""
    try:
        yield
    except OSError as error:
        other = error.filename is not None and not _of(str(error.filename), path)
        if error.errno is None or other:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _of(name: str, path: Path) -> bool:
    """Return whether a name is that of a file, or of the unfinished one beside it."""
    folder = os.path.dirname(os.path.realpath(path))
    return name == str(path) or os.path.dirname(os.path.realpath(name)) in (folder, "")


@contextlib.contextmanager
def _begun(path: Path, old: os.stat_result | None) -> Iterator[tuple[BinaryIO, Path]]:
    """Return a context with a new file beside another, which is locked, and gone after an error."""
    beside = path.with_name(f".{path.name[:_SHOWN]}.{secrets.token_hex(4)}.unfinished")
    try:
        # Nobody may read it who could not read the old one.
        file, lock = _created(beside, 0o666 if old is None else 0o600)
        with file, lock:
            if old is not None:
                _take_after(old, file)
            yield file, beside
    except BaseException:
        with contextlib.suppress(OSError):
            DISK.remove(beside)
        raise


def _created(path: Path, mode: int) -> tuple[BinaryIO, FileLock]:
    """Return a new file, and the lock by which others see that somebody is at it."""
    while True:
        file = DISK.create(path, mode)
        lock = FileLock(os.dup(file.fileno()), wait=True)
        if lock.is_of(path):
            return file, lock
        lock.release()  # one who clears away has come between
        file.close()


def _take_after(old: os.stat_result, file: BinaryIO) -> None:
    """Give a file the permissions of an older one, and its owner and group as far as allowed."""
    if not hasattr(os, "fchown"):
        return
    descriptor, mode = file.fileno(), stat.S_IMODE(old.st_mode) & 0o777
    with contextlib.suppress(OSError):
        os.fchown(descriptor, old.st_uid, -1)
    try:
        os.fchown(descriptor, -1, old.st_gid)
    except OSError:  # then the group is another one, which may no more than all others may
        mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    os.fchmod(descriptor, mode)
