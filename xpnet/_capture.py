"""Work that is done again and again: run a few times, captured as one graph, then replayed.

On a GPU a training step is some twenty kernels, and launching each from Python takes longer than
many of them run. A captured graph launches them all at once. What is captured is a function of
arrays: what changes from call to call has to be in the arrays' memory, for a replay runs the same
kernels on the same addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from ._typing import Array

_log = logging.getLogger(__name__)

#: Calls that run as ever, before the one that is captured: kernels are compiled in the first, and
#: the memory for what a call allocates is there after it.
WARM_UP = 2


def call(function: Callable[..., Any], *arrays: Array | None) -> Any:
    """Return function(*arrays): how to repeat what nothing is gained by capturing."""
    return function(*arrays)


class Recorder(Protocol):
    """What captures graphs on a device: a stream, and memory that belongs to the graphs.

    Attributes
    ----------
    told : set of str
        Why something could not be captured, as the log was told.
    """

    told: set[str]

    def run(self, function: Callable[..., Any], *arrays: Array | None) -> Any:
        """Run a function where it will be captured, as part of the work of the current stream."""

    def capture(
        self, function: Callable[..., Any], *arrays: Array | None
    ) -> tuple[Callable[[], None], Any]:
        """Return what launches the function's work on the current stream, and its result.

        Raises
        ------
        Exception
            Whatever says that something in it can't be captured; nothing has been computed then.
        """

    def hold(self, array: Array) -> Array:
        """Return a copy that graphs may read."""

    def copy(self, out: Array, array: Array) -> None:
        """Copy an array into one that `hold` returned."""


class Repeat:
    """Calls a function of arrays: the first times as it is, from then on as a captured graph.

    Each call has to mean the same work, on arrays of the same shapes and dtypes; what it returns is
    an array that the next call writes over. Where something can't be captured, it goes on as it is,
    and says so once in the log.

    Parameters
    ----------
    recorder : Recorder
        What captures.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._calls = 0
        self._replay: Callable[[], None] | None = None
        self._own: list[Array | None] = []
        self._result: Any = None

    def __call__(self, function: Callable[..., Any], *arrays: Array | None) -> Any:
        """Return function(*arrays), or what stands for it."""
        if self._replay is not None:
            self._bring(arrays)
            self._replay()
            return self._result
        if self._calls < WARM_UP:
            result = self._recorder.run(function, *arrays)
            self._calls += 1  # one that was broken off has not warmed up
            return result
        if self._calls == WARM_UP and self._capture(function, arrays):
            return self(function, *arrays)
        return function(*arrays)

    def _bring(self, arrays: tuple[Array | None, ...]) -> None:
        """Copy arrays to where the graph reads them."""
        for own, array in zip(self._own, arrays, strict=True):
            if own is not None:
                self._recorder.copy(own, array)

    def _capture(self, function: Callable[..., Any], arrays: tuple[Array | None, ...]) -> bool:
        """Capture the function; return whether that went well."""
        try:
            own = [None if array is None else self._recorder.hold(array) for array in arrays]
            replay, result = self._recorder.capture(function, *own)
        except Exception as error:  # CUDA, cuBLAS and CuPy each raise their own
            why = " ".join(str(error).split()) or type(error).__name__
            if why not in self._recorder.told:
                self._recorder.told.add(why)
                _log.warning(
                    "a step can't be captured as a graph and runs kernel by kernel, which is "
                    "slower for small batches (%s)",
                    why,
                )
            self._calls += 1
            return False
        self._own, self._result, self._replay = own, result, replay
        return True
