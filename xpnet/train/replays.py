"""Steps that are replayed: what they do is kept, and done again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from .._typing import Array
from ..nn.passes import Passes

#: Steps that are kept for replay: a caller may try every batch size.
MOST_REPLAYS = 64

Update = Callable[..., Array]


class Replays:
    """What replays steps, by what they do.

    They are bound to the buffers that they were made with: when those for a batch are made anew,
    all are let go.

    Parameters
    ----------
    passes : Passes
        Whose buffers they are.

    Attributes
    ----------
    found : dict
        What replays a step, by the generation of the buffers and what it does.
    """

    def __init__(self, passes: Passes) -> None:
        self._passes, self._generation = passes, passes.generation
        self.found: dict[tuple[int, Hashable], Update] = {}

    def reserve(self, n: int) -> None:
        """Make room for batches of n examples, before a step is added."""
        self._passes.reserve(n, training=True)
        if self._generation != self._passes.generation or len(self.found) > MOST_REPLAYS:
            self.clear()
        self._generation = self._passes.generation

    def add(self, key: Hashable, update: Update) -> Update:
        """Keep what replays a step, and return it."""
        self.found[self._generation, key] = update
        return update

    def drop(self, stale: Callable[[Any], bool]) -> None:
        """Let go of those whose key says that they are stale."""
        for kept in [kept for kept in self.found if stale(kept[1])]:
            del self.found[kept]

    def clear(self) -> None:
        """Let go of all."""
        self.found.clear()
