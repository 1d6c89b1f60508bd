"""When memory runs out: an error that says for what, and what to try."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable

from .protocol import Backend


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


def free(backend: Backend, error: Exception, let_go: Callable[[], None]) -> None:
    """Free what was taken by work that ended in an error."""
    traceback.clear_frames(error.__traceback__)  # they hold on to arrays
    let_go()
    gc.collect()
    backend.release_memory()
