"""Locks that a fork leaves free: a child has the thread that forked alone.

A lock that another thread holds would be held in the child for ever. And what that thread was in
the midst of would be half-done there: OpenBLAS, for one, hangs in the first product of a child that
was forked during a product. So a fork waits for what takes little time.
"""

from __future__ import annotations

import logging  # noqa: F401 - before a fork its lock is taken too: after these, if it comes first
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

#: Seconds that a fork waits for a prediction or a step in another thread.
PATIENCE = 1.0


class ForkSafeLock:
    """A lock that is free in a forked child.

    Parameters
    ----------
    patience : float
        How many seconds a fork in another thread waits for it, so that what it guards is whole in
        the child; 0: none, −1: as many as it takes.

    Attributes
    ----------
    lock : RLock
        To be looked up each time it is taken: a child has another one if another thread held it.

    Examples
    --------
    >>> turn = ForkSafeLock()
    >>> with turn.lock:
    ...     print("one thread at a time")
    one thread at a time
    """

    __slots__ = ("__weakref__", "lock", "patience")

    def __init__(self, patience: float = 0.0) -> None:
        self.patience = patience
        self.lock = threading.RLock()
        if _forking.acquire(blocking=False):
            try:
                _locks[self] = None
            finally:
                _forking.release()
            return
        # A fork has begun, which does not know of this lock any more.
        if patience > 0:
            self.lock = _AfterFork(self.lock)  # type: ignore[assignment]
        _locks[self] = None


class _AfterFork:
    """What is found in a lock's place from when a fork begins, and taken after the fork.

    Else the fork might wait for ever for what a thread takes again and again.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        with _forking:
            pass
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


_locks: WeakKeyDictionary[ForkSafeLock, None] = WeakKeyDictionary()
_forking = threading.RLock()
_replaced: list[tuple[ForkSafeLock, threading.RLock]] = []
_taken: list[threading.RLock] = []


def _before() -> None:
    """Take what a fork waits for; one fork at a time."""
    _forking.acquire()
    # What compiles in the midst of a step holds that one's lock too: it is waited for last.
    awaited = sorted(
        (lock for lock in _present() if lock.patience), key=lambda lock: -lock.patience
    )
    held = [_real(lock) for lock in awaited]
    for lock, real in zip(awaited, held, strict=True):
        if lock.patience > 0:
            _replaced.append((lock, real))
            lock.lock = _AfterFork(real)  # type: ignore[assignment]
    for lock, real in zip(awaited, held, strict=True):
        if real.acquire(timeout=lock.patience):
            _taken.append(real)


def _after() -> None:
    for lock, real in _replaced:
        lock.lock = real
    _replaced.clear()
    while _taken:
        _taken.pop().release()
    _forking.release()


def _in_child() -> None:
    _after()
    for lock in _present():
        lock.lock = real = _real(lock)
        if real.acquire(blocking=False):  # nobody's, or the forking thread's own
            real.release()
        else:
            lock.lock = threading.RLock()


def _real(lock: ForkSafeLock) -> threading.RLock:
    """Return the lock itself, also where something else is found in its place."""
    return lock.lock.lock if isinstance(lock.lock, _AfterFork) else lock.lock


def _present() -> list[ForkSafeLock]:
    """Return all locks there are, whatever other threads do."""
    found = [reference() for reference in _locks.keyrefs()]
    return [lock for lock in found if lock is not None]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

_whole = ForkSafeLock(patience=-1)


@contextmanager
def defer_fork() -> Iterator[None]:
    """Have forks in other threads wait meanwhile. As a decorator, during each call.

    For an import or a compilation, which have locks of their own: a child that found them locked
    could do neither.

    Examples
    --------
    >>> with defer_fork():
    ...     import decimal
    """
    with _whole.lock:
        yield
