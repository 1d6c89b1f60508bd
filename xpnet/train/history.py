"""What is told of a run: the history of its epochs, and how it went wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from .._typing import Array
from ..backends.protocol import Backend
from ..backends.work import RunningLoss

#: The columns that every row has.
OWN = ("epoch", "step", "learning_rate", "train_loss", "seconds", "samples_per_second")


class DivergedError(FloatingPointError):
    """The loss turned NaN or infinite; network and trainer are back in their last good state.

    Attributes
    ----------
    epoch, step : int
        Where it happened, both counted from 1; steps over the trainer's life.
    good_step : int
        Which state that is: the one after so many updates.
    history : History
        The epochs before.
    """

    def __init__(
        self, message: str, epoch: int, step: int, good_step: int, history: History
    ) -> None:
        super().__init__(message)
        self.epoch, self.step, self.good_step, self.history = epoch, step, good_step, history


@dataclass
class History:
    """What `Trainer.fit` measured, a row for each epoch.

    Attributes
    ----------
    rows : list of dict
        Keys: "epoch" and "step" (both counted over the trainer's life), "learning_rate" (of the
        epoch's last batch), "train_loss" (mean over the epoch's batches as they were trained on,
        without the L2 term), "train_error", "dev_loss" and "dev_error" (as in prediction, where
        asked for), "seconds" and "samples_per_second" (training alone, without evaluation). Steps
        that a callback makes in the midst of an epoch count in its loss and its samples/s.
    columns : tuple of str
        The keys of each row, known from the fit's beginning on.
    undefined : tuple of str
        Those of them that are NaN in each row, whatever the network predicts: the error of values
        that are all the same, since there is no variance to explain.
    stopped : bool
        Whether `Trainer.stop` or `interrupt` ended the fit before its last epoch was through.
    reason : str
        Why, as they were told.
    batch_size : int or None
        Examples in a mini-batch, where "auto" was asked for as well.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    stopped: bool = False
    reason: str = ""
    batch_size: int | None = None

    def __getitem__(self, key: str) -> list[float]:
        """Return one column; NaN where a row does not have it."""
        if self.rows and not any(key in row for row in self.rows):
            raise KeyError(f"{key!r} was not measured; there are {', '.join(self.rows[-1])}")
        return [row.get(key, math.nan) for row in self.rows]

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.rows)


def is_row(value: object) -> bool:
    """Return whether a value is a row of a history: what is always measured are numbers.

    Examples
    --------
    >>> is_row({"epoch": 1})
    False
    """
    return isinstance(value, dict) and all(isinstance(value.get(c), Real) for c in OWN)


class Meter:
    """Adds up an epoch's loss on the device, where the host can look without stopping it.

    Attributes
    ----------
    work : RunningLoss
        Where `Kernels.observe` adds it up.
    seen : array of NumPy, float64
        What the host sees of it: the sum, which may lag behind a GPU's, and the finite steps.
    """

    def __init__(self, backend: Backend, leading_shape: tuple[int, ...]) -> None:
        xp = backend.xp
        self._record, self.seen = backend.shared((2, *leading_shape), np.float64)
        self.work = RunningLoss(
            total=self._record[0, ...],
            steps=self._record[1, ...],
            term=xp.zeros(leading_shape, np.float64),
            finite=xp.ones(leading_shape, np.bool_),
        )

    def reset(self) -> None:
        """Begin an epoch."""
        self._record[...] = 0
        self.finite[...] = True

    @property
    def finite(self) -> Array:
        """On the device: whether all losses so far were finite."""
        return self.work.finite

    @property
    def arrays(self) -> list[Array]:
        """What an update writes and goes on from."""
        return [self._record, self.finite]

    def diverged(self) -> bool:
        """Return whether the host has seen a sum that is not finite; it may lag behind a GPU."""
        return not math.isfinite(self.seen.item(0))

    def resume(self, total: float, steps: int) -> None:
        """Go on in the middle of an epoch, from what `read` returned."""
        self._record[0, ...] = total
        self._record[1, ...] = steps

    def read(self) -> tuple[float, int]:
        """Return Σ n · loss and the number of finite steps; synchronise the device first."""
        return self.seen.item(0), int(self.seen.item(1))
