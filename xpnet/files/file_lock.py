"""Locks on files, which the system releases when their process ends, however that comes."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import stat
import weakref
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:  # pragma: no cover - where the system has no such locks, nobody is kept out
    fcntl = None  # type: ignore[assignment]


#: What a system says where files can't be locked.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class FileLock:
    """The lock on an open file, which one holder has at a time; a forked child does not hold it.

    Parameters
    ----------
    descriptor : int
        Of the open file, which belongs to the lock from now on: it is closed with it.
    wait : bool
        Whether to wait for another holder to let go.

    Attributes
    ----------
    is_exclusive : bool
        Whether others are kept out. They are not where the system or the disk has no such locks.

    Raises
    ------
    BlockingIOError
        If another holds it, and ``wait`` is False.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     with FileLock(os.open(file.name, os.O_RDWR)):
    ...         try:
    ...             FileLock(os.open(file.name, os.O_RDWR))
    ...         except BlockingIOError:
    ...             print("it is held")
    it is held
    """

    def __init__(self, descriptor: int, wait: bool = False) -> None:
        self._descriptor = descriptor
        self.is_exclusive = fcntl is not None
        _held.add(self)
        try:
            if self.is_exclusive:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            self.is_exclusive = False
            if error.errno not in _NO_LOCKS:
                self.forget()
                raise

    def __enter__(self) -> Self:
        """Return itself; it is released in the end."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release it."""
        self.release()

    def release(self) -> None:
        """Let another have it; once it is released, nothing comes of that."""
        if self in _held and self.is_exclusive:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close the file, as a forked child does; who else has it open keeps the lock."""
        if self in _held:
            _held.remove(self)
            os.close(self._descriptor)

    def label(self, text: str) -> None:
        """Write into the file whose it is, if that can be."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, text.encode())

    def is_of(self, path: str | os.PathLike[str]) -> bool:
        """Return whether it is held, and its file still has this name."""
        try:
            return self in _held and os.path.samestat(os.fstat(self._descriptor), os.lstat(path))
        except FileNotFoundError:
            return False


class NamedLock:
    """The lock on a file that is there for that alone, made when it is taken and then removed.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    BlockingIOError
        If it is taken, in this process or another: ``strerror`` says by which.
    OSError
        If the file can't be made.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / ".lock"
    >>> lock = NamedLock(path)
    >>> NamedLock(path)     # doctest: +ELLIPSIS
    Traceback (most recent call last):
    BlockingIOError: [Errno 11] process ...
    >>> lock.release()
    >>> path.exists()
    False
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, _take(path)
        self.is_exclusive = self._lock.is_exclusive

    def is_held(self) -> bool:
        """Return whether it is still what keeps others out, and was not removed or replaced."""
        return self._lock.is_of(self._path)

    def touch(self) -> None:
        """Show that it is in use to whoever clears old files away."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def release(self) -> None:
        """Let another have it."""
        with contextlib.suppress(OSError):
            if self.is_held():
                self._path.unlink()
        self._lock.release()


def _take(path: Path) -> FileLock:
    while True:
        try:
            lock = FileLock(_open(path))
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, _holder(path)) from None
        if lock.is_of(path):
            lock.label(f"process {os.getpid()} on {platform.node()}")
            return lock
        lock.release()  # its holder has let go just now, and removed it


def _holder(path: Path) -> str:
    """Return who has a lock, as far as that is told by one who may."""
    with contextlib.suppress(OSError), os.fdopen(_open(path), "rb") as file:
        told = file.read(100).decode("utf-8", "replace")
        if _HOLDER.fullmatch(told):
            return told
    return "another process"


def _open(path: Path) -> int:
    """Open a plain file, which is made if it is missing; one of another user as far as allowed."""
    options = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, os.O_RDWR | options, 0o666)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | options)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return descriptor


#: What a holder writes into the file.
_HOLDER = re.compile(r"process \d+ on [\w.-]*", re.ASCII)

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _let_go() -> None:
    """Close what a forked child has got of its parent's locks, which stay the parent's."""
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
