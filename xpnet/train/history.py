"""What is told of a run: where it stands, the history of its epochs, and how it went wrong."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.select import Backend


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
    stopped : bool
        Whether `Trainer.stop` or `interrupt` ended the fit before its last epoch was through.
    reason : str
        Why, as they were told.
    batch_size : int or None
        Examples in a mini-batch, where "auto" was asked for as well.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    columns: tuple[str, ...] = ()
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


class Meter:
    """Adds up an epoch's loss on the device, where the host can look without stopping it."""

    def __init__(self, backend: Backend, leading_shape: tuple[int, ...]) -> None:
        xp = backend.xp
        self._kernels = backend.kernels
        self._record, self._seen = backend.shared((2, *leading_shape), np.float64)
        self._work = SimpleNamespace(
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
        return self._work.finite

    @property
    def arrays(self) -> list[Array]:
        """What `add` writes and goes on from."""
        return [self._record, self.finite]

    def add(self, loss: Array, n: int) -> None:
        """Add the mean loss of a batch of n examples."""
        self._kernels.observe(loss, n, self._work)

    def diverged(self) -> bool:
        """Return whether the host has seen a sum that is not finite; it may lag behind a GPU."""
        return not math.isfinite(self._seen.item(0))

    def resume(self, total: float, steps: int) -> None:
        """Go on in the middle of an epoch, from what `read` returned."""
        self._record[0, ...] = total
        self._record[1, ...] = steps

    def read(self) -> tuple[float, int]:
        """Return Σ n · loss and the number of finite steps; synchronise the device first."""
        return self._seen.item(0), int(self._seen.item(1))


@dataclass
class FitState:
    """Where a fit stands.

    Attributes
    ----------
    first : int
        Epochs that had been made when it began.
    first_step : int
        Steps that had been made when the running epoch began.
    batch : int
        Batches that were made of the running epoch; 0 between epochs.
    other_examples : int
        Examples that were trained on within the running epoch by a callback's own steps.
    seconds, began : float
        How long the running epoch has taken before this process, and when it then began.
    stopped : str
        Why it was stopped, if it was.
    cut : bool
        Whether that was in the middle of an epoch.
    cut_off : bool
        Whether an interruption has cut the epoch short: no checkpoint is made of it.
    """

    first: int
    first_step: int
    batch: int = 0
    other_examples: int = 0
    seconds: float = 0.0
    began: float = 0.0
    stopped: str = ""
    cut: bool = False
    cut_off: bool = False

    def tree(self) -> dict[str, Any]:
        """Return this for a checkpoint, from which another process is to go on."""
        seconds = time.perf_counter() - self.began if self.batch else 0.0
        return asdict(replace(self, seconds=seconds, began=0.0))
