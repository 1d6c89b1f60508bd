"""Which of the processes that share a study are alive.

Each writes a beat into the storage over and over: a number that changes. Nobody's clock is compared
with another's: who has looked at a beat twice, and found it the same after a time of grace by a
clock of its own, takes its worker for dead. A process that has gone from the observer's own machine
is dead at once. Both may be wrong about one that was only suspended, so nothing is lost by that:
see `attempts`.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._typing import Tree

#: How often a worker's beat is written within the time of grace.
BEATS = 4


def this_process() -> Tree:
    """Return what tells this process from all others, of this machine and of others.

    Examples
    --------
    >>> is_gone(this_process())
    False
    """
    pid = os.getpid()
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a process has ended, as far as that can be seen from here: on its machine."""
    machine, started = process.get("machine"), process.get("started")
    if machine is None or started is None or machine != _machine():
        return False
    return bool(_started(process["pid"]) != started)


def _machine() -> str | None:
    """Return what names this machine since it was started, and the processes that it shows.

    None where the system does not tell. A container has processes of its own.
    """
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    return None


def _started(pid: int) -> str | None:
    """Return when a process was started, in the system's ticks; None if it has ended."""
    with contextlib.suppress(OSError):
        # After the program's name, which may hold anything: the state is the first field, and the
        # time the twentieth.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX":  # it has ended, and its parent has not asked how
            return fields[19]
    return None


class Watch:
    """Tells the living workers from the dead, from what is read of their beats at each look.

    Parameters
    ----------
    grace : float
        Seconds after which one whose beat is the same as before is dead.
    clock : function
        Returns seconds.

    Examples
    --------
    >>> seconds = iter([0, 5, 14, 15])
    >>> watch = Watch(10, lambda: next(seconds))
    >>> [watch.is_alive("a", {"beat": beat}) for beat in (1, 2, 2, 2)]
    [True, True, True, False]
    """

    def __init__(self, grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.grace, self._clock = grace, clock
        self._seen: dict[str, tuple[Any, float]] = {}

    def is_alive(self, worker: str, told: Mapping[str, Any] | None) -> bool:
        """Return whether a worker is alive, as far as can be seen.

        Parameters
        ----------
        worker : str
            Its name.
        told : dict or None
            What the storage has of it: its process and "beat"; None if there is nothing, or it has
            said that it ends.
        """
        if told is None or is_gone(told):
            return False
        now, beat = self._clock(), told.get("beat")
        if worker not in self._seen or self._seen[worker][0] != beat:
            self._seen[worker] = beat, now
        return now - self._seen[worker][1] < self.grace


class Pulse:
    """Calls a method again and again, in a thread, until it is stopped or its object is no more.

    What it raises is passed over: the next call may go well.

    Parameters
    ----------
    beat : method
        What is called.
    seconds : float
        How long it waits before each call.
    """

    def __init__(self, beat: Callable[[], object], seconds: float) -> None:
        self._beat, self._seconds = weakref.WeakMethod(beat), seconds
        self._stopped, self._last = threading.Event(), -math.inf
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_late(self) -> bool:
        """Return whether there was no call in good time, as after the process was suspended."""
        return time.monotonic() - self._last > 2 * self._seconds

    def call(self) -> None:
        """Call it now."""
        beat = self._beat()
        if beat is not None:
            beat()
            self._last = time.monotonic()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds) and self._beat() is not None:
            with contextlib.suppress(Exception):
                self.call()

    def stop(self) -> None:
        """Stop it; a call that goes on is waited for."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
