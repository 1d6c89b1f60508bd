"""Ctrl-C at moments at which it would leave a library broken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def defer_sigint() -> Iterator[None]:
    """Defer Ctrl-C meanwhile: it comes right after. As a decorator, during each call.

    An import or a compilation that is broken off half-way may fail for the rest of the process.
    Only the main thread hears Ctrl-C, so in others there is nothing to defer.

    Examples
    --------
    >>> try:
    ...     with defer_sigint():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("this is done first")
    ... except KeyboardInterrupt:
    ...     print("then it is heard")
    this is done first
    then it is heard
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not (main and callable(before)):  # what is no function of Python's ignores it, or ends all
        yield
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)
