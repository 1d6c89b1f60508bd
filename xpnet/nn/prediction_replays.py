"""Predictions that are replayed: what a batch size launches is kept, and launched again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .._typing import Array
from ..backends.protocol import Backend

#: Batch sizes that are replayed, those asked for last; each has an input of its own.
MOST_SIZES = 8
#: The most rows of one: kernels take longer than launching them from some hundreds on.
MOST_ROWS = 1024

Shape = tuple[int, ...]


class PredictionReplays:
    """Calls what predicts a batch, by its shape: from the second time on by way of the backend.

    A size that comes once is computed as it is. What replays a size reads the network's arrays
    where they are, so that it follows whoever writes them; it is bound to the buffers of batches
    that it was made with, and to the thread whose they are.

    Parameters
    ----------
    backend : Backend
        Says whether it can replay.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seen: dict[Shape, None] = {}
        self._found: dict[Shape, Callable[[Array], Array]] = {}

    def __call__(
        self, predict: Callable[[Array], Array], x: Array, scratch: Sequence[Array]
    ) -> Array:
        """Return predict(x), or what stands for it, in an array that the next call writes over.

        Parameters
        ----------
        predict : function of (array)
            Predicts a batch of the shape of x.
        x : array, shape (…, n, n_features)
            On the device.
        scratch : sequence of array
            What it writes into, and need not keep.
        """
        shape = x.shape
        if shape[-2] > MOST_ROWS or not x.flags.c_contiguous:
            return predict(x)
        replay = self._found.pop(shape, None)
        if replay is None:
            if not self._came_before(shape):
                return predict(x)
            replay = self._backend.replay(predict, (), lambda: scratch)
        self._found[shape] = replay  # behind those that were asked for before
        _drop_first(self._found)
        return replay(x)

    def _came_before(self, shape: Shape) -> bool:
        """Return whether a shape is among the last ones that came once, and take note of it."""
        if shape in self._seen:
            del self._seen[shape]
            return True
        self._seen[shape] = None
        _drop_first(self._seen)
        return False

    def clear(self) -> None:
        """Let go of all, and of the memory that is theirs."""
        self._seen.clear()
        self._found.clear()


def _drop_first(kept: dict[Shape, Any]) -> None:
    """Let go of what was asked for longest ago, if there is too much."""
    if len(kept) > MOST_SIZES:
        del kept[next(iter(kept))]
