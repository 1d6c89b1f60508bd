"""Work that is done again and again: run a few times, captured as one graph, then replayed.

On a GPU a training step is some twenty kernels, and launching each from Python takes longer than
many of them run; of a prediction it is alike. A captured graph launches them all at once. What is
captured is a function of arrays: what changes from call to call has to be in the arrays' memory,
for a replay runs the same kernels on the same addresses.

No graph is believed unseen: CUDA knows work that a capture drops without an error. Before a graph
is used its launch is compared, bit by bit, with the work itself, at the cost of one call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from .._typing import Array
from ..interrupts import defer_sigint

_log = logging.getLogger(__name__)

#: Calls that run as usual, before the one that is captured: kernels are compiled in the first, and
#: the memory for what a call allocates is there after it.
WARM_UP = 2

#: What the log says, at level DEBUG, of each graph that is used from now on.
CAPTURED = "captured what is repeated as a graph"


class Recorder(Protocol):
    """What captures graphs on a device: a stream, and memory that belongs to the graphs.

    Attributes
    ----------
    warned : set of str
        Why something could not be captured, as the log was told.
    """

    warned: set[str]

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

    def snapshot(self, array: Array) -> Array:
        """Return a copy of an array, which may lie in memory that is shared with the host."""

    def restore(self, out: Array, array: Array) -> None:
        """Copy between an array and its `snapshot`, in either direction."""

    def same(self, pairs: Iterable[tuple[Array, Array]]) -> bool:
        """Return whether the arrays of each pair have the same bits; waits for the device."""


class CapturedStep:
    """Calls a function of arrays: the first times as it is, from then on as a captured graph.

    Each call has to mean the same work, on arrays of the same shapes and dtypes; what it returns is
    an array that the next call writes over. Where something can't be captured, or a graph does not
    do what the function does, it goes on as it is, and says so once in the log.

    Parameters
    ----------
    recorder : Recorder
        What captures.
    function : callable
        What is called.
    state : sequence of array
        What a call changes and a later one reads: a graph is checked on it, and on its result.
    fresh : callable
        Returns arrays that each call writes before it reads them, or leaves alone. They may well
        hold the same in every call, so that a graph which leaves them as they are would pass: NaN
        stands there before, or 0 where there is none.
    """

    def __init__(
        self,
        recorder: Recorder,
        function: Callable[..., Any],
        state: Sequence[Array] = (),
        fresh: Callable[[], Iterable[Array]] = tuple,
    ) -> None:
        self._recorder, self.function, self._fresh = recorder, function, fresh
        self._state = [array for array in state if array.size]
        self._calls = 0
        self._replay: Callable[[], None] | None = None
        self._own: list[Array | None] = []
        self._result: Any = None

    def __call__(self, *arrays: Array | None) -> Any:
        """Return function(*arrays), or what stands for it."""
        if self._replay is not None:
            self._bring(arrays)
            self._replay()
            return self._result
        if self._calls < WARM_UP:
            result = self._recorder.run(self.function, *arrays)
            self._calls += 1  # one that was broken off has not warmed up
            return result
        if self._calls == WARM_UP:
            return self._capture(arrays)
        return self.function(*arrays)

    def _bring(self, arrays: tuple[Array | None, ...]) -> None:
        """Copy arrays to where the graph reads them."""
        for own, array in zip(self._own, arrays, strict=True):
            if own is not None and array is not None:
                self._recorder.copy(own, array)

    def _capture(self, arrays: tuple[Array | None, ...]) -> Any:
        """Capture the function, try the graph, and return function(*arrays)."""
        recorder, function = self._recorder, self.function
        try:
            own = [None if array is None else recorder.hold(array) for array in arrays]
            replay, result = recorder.capture(function, *own)
            found = self._try(replay, result)
        except Exception as error:  # CUDA, cuBLAS and CuPy each raise their own
            self._give_up(error)
            return function(*arrays)
        computed = recorder.run(function, *arrays)
        try:
            if not recorder.same(zip(found, self._watched(computed), strict=True)):
                raise RuntimeError("its graph computes something else")
        except Exception as error:  # the step is made all the same
            self._give_up(error)
        else:
            self._own, self._result, self._replay = own, result, replay
            _log.debug(CAPTURED)
        return computed

    def _try(self, replay: Callable[[], None], result: Any) -> list[Array]:
        """Return what the graph makes of the state, and its result; no array is changed by it.

        It goes before the function itself, which would leave the right values in every buffer that
        the graph should have written.
        """
        recorder, fresh = self._recorder, [array for array in self._fresh() if array.size]
        kept = [*self._state, *fresh]
        before = [recorder.snapshot(array) for array in kept]
        found = [recorder.snapshot(array) for array in self._watched(result)]
        with defer_sigint():  # Ctrl-C must not leave a part of the state behind
            try:
                for array in fresh:
                    array[...] = np.nan if array.dtype.kind == "f" else 0
                replay()
                for copy, array in zip(found, self._watched(result), strict=True):
                    recorder.restore(copy, array)
            finally:
                for array, copy in zip(kept, before, strict=True):
                    recorder.restore(array, copy)
        return found

    def _watched(self, result: Any) -> list[Array]:
        """Return the arrays that a graph is judged by."""
        return [*self._state, *([] if result is None else [result])]

    def _give_up(self, error: Exception) -> None:
        """Do without a graph, and say why in the log; once for each reason."""
        self._calls += 1
        why = " ".join(str(error).split()) or type(error).__name__
        if why not in self._recorder.warned:
            self._recorder.warned.add(why)
            _log.warning(
                "what is repeated can't be captured as a graph and runs kernel by kernel, which "
                "is slower for small batches (%s)",
                why,
            )
