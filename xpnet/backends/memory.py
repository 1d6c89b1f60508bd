"""When memory runs out: an error that says for what, and what to try."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable

from .protocol import Backend

#: From so many bytes on a device is asked beforehand whether it has them.
LARGE = 2**28


class OutOfMemoryError(MemoryError):
    """The device has not enough memory for what was asked; the message says what to try.

    What was taken for it is free again.
    """


def explain(
    backend: Backend, error: Exception, what: str, advice: str, let_go: Callable[[], None]
) -> None:
    """Raise an `OutOfMemoryError` if an error says that a device's memory is used up.

    Parameters
    ----------
    backend : Backend
        Where the memory is.
    error : Exception
        What was raised.
    what : str
        What was being done, as in "training on batches of 64 examples".
    advice : str
        What to try.
    let_go : function of ()
        Frees what was taken for it.

    Raises
    ------
    OutOfMemoryError
        If it says so; for any other error nothing is done.
    """
    if not backend.is_out_of_memory(error):
        return
    free(backend, error, let_go)
    if isinstance(error, OutOfMemoryError):  # explained already, further in
        return
    failure = " ".join(str(error).split()) or type(error).__name__
    raise OutOfMemoryError(
        f"{backend.device} ran out of memory in {what}: {failure}. {advice}"
    ) from error


def require(backend: Backend, nbytes: int, what: str, advice: str) -> None:
    """Raise an `OutOfMemoryError` if a device says that it has less memory than something takes.

    A host would otherwise give it out, and end the process once it is written to. Of less than
    `LARGE` nobody is asked.
    """
    room = backend.memory_free() if nbytes >= LARGE else None
    if room is not None and nbytes > room:
        raise OutOfMemoryError(
            f"{what} would take {nbytes / 1e9:.1f} GB and {backend.device} has {room / 1e9:.1f} GB "
            f"left. {advice}"
        )


def free(backend: Backend, error: Exception, let_go: Callable[[], None]) -> None:
    """Free what was taken by work that ended in an error."""
    traceback.clear_frames(error.__traceback__)  # they hold on to arrays
    let_go()
    gc.collect()
    backend.release_memory()
