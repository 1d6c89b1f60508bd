"""When memory runs out: an error that says for what, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .backend import Backend


class OutOfMemoryError(MemoryError):
    """The device has not enough memory for what was asked; the message says what to try.

    Nothing has been changed by the update or prediction that it was raised in, and what was taken
    for it is free again.
    """


@contextmanager
def explained(
    backend: Backend, what: str, advice: str, let_go: Callable[[], None]
) -> Iterator[None]:
    """Turn a device's error about memory into an `OutOfMemoryError`.

    Parameters
    ----------
    backend : Backend
        Where the memory is.
    what : str
        What is being done, as in "training on batches of 64 examples".
    advice : str
        What to try.
    let_go : function of ()
        Frees what was taken for it.

    Raises
    ------
    OutOfMemoryError
        If the device's memory is used up; any other error passes as it is.
    """
    failure = ""
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        failure = " ".join(str(error).split()) or type(error).__name__
    if failure:
        # Not within the except clause: the first error would hold on to frames with their arrays.
        let_go()
        backend.release_memory()
        raise OutOfMemoryError(f"{backend.device} ran out of memory in {what}: {failure}. {advice}")
