"""Averages of the weights of members that make different numbers of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .._typing import Array, Tree
from ..optim.averages import MovingAverage


class MemberAverages:
    """An average for each member, that takes its own steps in.

    Parameters
    ----------
    average : MovingAverage
        Of which each has a copy.
    weights : array, shape (k, …)
        What is averaged: the network's own, written in place.
    """

    def __init__(self, average: MovingAverage, weights: Array) -> None:
        self._each = [replace(average) for _ in range(len(weights))]
        self._kind, self._weights = average, weights

    @classmethod
    def parted(cls, whole: MovingAverage, kind: MovingAverage, weights: Array) -> MemberAverages:
        """Return the averages of each member that go on from one of all together."""
        found, state = cls(kind, weights), whole.state()
        for i, average in enumerate(found._each):
            arrays = [array[i].copy() for array in state.get("arrays", ())]
            average.load_state({"count": whole.count, "arrays": arrays})
        return found

    def renew(self, i: int) -> None:
        """Begin anew with member i."""
        self._each[i] = replace(self._kind)

    @property
    def count(self) -> int:
        """How many values were taken in, of the member with the most."""
        return max(average.count for average in self._each)

    def update(self, members: Sequence[int]) -> None:
        """Take the weights of some members in."""
        for i in members:
            self._each[i].update(self._weights[i])

    @property
    def value(self) -> Array:
        """The averages so far; of a member that has none its weights."""
        found = self._weights.copy()
        for i, average in enumerate(self._each):
            if average.count:
                found[i] = average.value
        return found

    def state(self) -> Tree:
        """Return what was taken in so far, as a checkpoint keeps it."""
        return {"each": [average.state() for average in self._each]}

    def load_state(self, state: Tree) -> None:
        """Go on from what `state` returned."""
        for average, own in zip(self._each, state["each"], strict=True):
            average.load_state(own)
