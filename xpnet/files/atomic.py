"""Files that are whole or not there: written beside, flushed to the disk, then renamed.

A process may be killed, or a machine go down, at any moment: what stands under the file's name is
then the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO

#: What a file that is being written is called: hidden, and with this ending.
UNFINISHED = ".unfinished"


class Disk:
    """What is done to files, a method for each operation.

    All that must not be lost goes through one of these, so that a test can put one in its place
    that fails, or ends the process, at any of the operations.
    """

    def create(self, path: Path) -> BinaryIO:
        """Open a new file."""
        return path.open("xb")

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

    When it returns, the new one is on the disk.

    Parameters
    ----------
    path : path
        Where to; a file there is replaced.
    data : bytes
        The whole content.

    Raises
    ------
    OSError
        If it can't be written; it names ``path``.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", b"whole")
    >>> [path.read_bytes() for path in folder.iterdir()]
    [b'whole']
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        try:
            with DISK.create(beside) as file:
                DISK.write(file, data)
                DISK.sync(file)
            DISK.rename(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                DISK.remove(beside)
            raise
        DISK.sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_unfinished(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder.

    Raises
    ------
    OSError
        If the folder can't be read, or a file not be removed.
    """
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name.endswith(UNFINISHED):
            DISK.remove(path)
