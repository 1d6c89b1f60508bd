"""What may watch a fit: the interface of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from .._typing import Tree
from ..data.batches import Batches
from .history import DivergedError, History, Row

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Something that watches a fit; subclass it and override what you need.

    Any plain function of (trainer, row) may stand in for one: it is called after each epoch.

    Attributes
    ----------
    takes_members : bool
        Whether it knows networks with members, whose rows of the history hold lists: what trains
        several networks in its place looks at it, `Trainer.fit` does not.
    """

    takes_members: ClassVar[bool] = False

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Do something before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Do something before an epoch, such as setting ``trainer.learning_rate``."""

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Do something after an update with n examples. The device may still be at it.

        Where members have different numbers of examples, n is the largest.
        """

    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Do something between an epoch's last update and the measuring of its errors."""

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Do something after an epoch, with its row of the history: see `History`."""

    def on_replace(self, trainer: Trainer, member: int) -> None:
        """Do something when `Trainer.replace` has put another network in a member's place."""

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Do something after the last epoch."""

    def on_divergence(self, trainer: Trainer, error: DivergedError) -> None:
        """Do something when a fit ends because its loss is not finite; no `on_fit_end` follows.

        Of members: when that of each is not. One that diverges while others go on is in the
        history's `ended`.
        """

    def state(self) -> Tree:
        """Return what a checkpoint must keep for this callback to go on exactly.

        Arrays of the device or of NumPy, numbers, strings, booleans, None, lists and dicts of them.
        What stands under "settings" must be the same when the run goes on; else it is refused.
        """
        return {}

    def load_state(self, trainer: Trainer, state: Tree) -> None:
        """Take back what `state` gave; called after `on_fit_begin` when a run goes on.

        Arrays come back where they lived, in memory of their own.
        """


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Trainer, Row], object]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self._function(trainer, row)


def as_callback(watcher: object) -> Callback:
    """Return a callback, or a function as one."""
    if isinstance(watcher, Callback):
        return watcher
    if not callable(watcher) or isinstance(watcher, type):
        raise TypeError(f"callback {watcher!r}: give a Callback or a function of (trainer, row)")
    return _Function(watcher)
