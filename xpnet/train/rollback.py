"""The last good state of a training: a snapshot every 100 steps, in case the loss turns NaN."""

from __future__ import annotations

from typing import Any

from .._typing import Array, Tree
from ..backends.protocol import Backend

#: Steps from one snapshot of weights and moments to the next.
SNAPSHOT_EVERY = 100


class Rollback:
    """Copies of a training's arrays, as they were at most `SNAPSHOT_EVERY` steps before.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    state : list of array
        The arrays, which training writes in place.

    Attributes
    ----------
    state, copies : list of array
        The arrays, and their snapshot.
    since : int
        The step that the steps of putting by are counted from.
    replaced : dict of int to int
        At which step members were put in others' places since then.
    """

    def __init__(self, backend: Backend, state: list[Array]) -> None:
        self._xp, self.state = backend.xp, state
        self.copies = [self._xp.zeros_like(array) for array in state]
        self.since, self.replaced = 0, dict[int, int]()

    def begin(self, step: int, finite: Array) -> None:
        """Count from a step on, and put its state by."""
        self.since, self.replaced = step, {}
        self.snapshot(finite)

    def put_member(self, i: int, step: int) -> None:
        """Put member i's state by as it is after so many steps, in which others had its place."""
        self.replaced[i] = step
        for copy, array in zip(self.copies, self.state, strict=True):
            copy[i] = array[i]

    def is_due(self, step: int) -> bool:
        """Return whether this step is one to put the state by."""
        return (step - self.since) % SNAPSHOT_EVERY == 0

    def snapshot(self, finite: Array) -> None:
        """Put the state by if the loss it gave is finite: an array of the device, which decides."""
        for copy, array in zip(self.copies, self.state, strict=True):
            self._xp.copyto(copy, array, where=finite[..., None])

    def good_step(self, bad: int, member: int = 0) -> int:
        """Return after how many steps the last good state was.

        Parameters
        ----------
        bad : int
            The first step, counted from 0, whose loss was not finite.
        member : int
            Of which member.
        """
        behind = (bad - 1 - self.since) // SNAPSHOT_EVERY * SNAPSHOT_EVERY
        return max(self.since, self.since + behind, self.replaced.get(member, self.since))

    def restore(self, place: Any = ...) -> None:
        """Bring the last good state back, of all members or of one."""
        for copy, array in zip(self.copies, self.state, strict=True):
            array[place] = copy[place]

    def tree(self) -> Tree:
        """Return the arrays and their copies for a checkpoint."""
        return {"now": self.state, "snapshot": self.copies, "since": self.since}

    def load_tree(self, tree: Tree) -> None:
        """Set the arrays and their copies to what `tree` returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is no such tree; nothing is changed then.
        """
        targets = [*self.state, *self.copies]
        pairs = list(zip(targets, [*tree["now"], *tree["snapshot"]], strict=True))
        for target, array in pairs:
            if array.shape != target.shape or array.dtype != target.dtype:
                raise ValueError(
                    f"an array is {array.dtype} of shape {array.shape}, and should be "
                    f"{target.dtype} of shape {target.shape}"
                )
        self.since = int(tree["since"])
        for target, array in pairs:
            self._xp.copyto(target, array)
