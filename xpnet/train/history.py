"""What is told of a run: the history of its epochs, and how it went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from numbers import Real
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.protocol import Backend
from ..backends.work import RunningLoss
from ..nn.members import check_member

#: The columns that every row has.
OWN = ("epoch", "step", "learning_rate", "train_loss", "seconds", "samples_per_second")

#: Those that members may have figures of their own in.
OF_MEMBERS = ("step", "learning_rate", "train_loss")

#: A row: its figures by column, and of members lists of them.
Row = dict[str, Any]


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


@dataclass(frozen=True)
class MemberEnd:
    """How the training of a member of a network ended, before that of others.

    Attributes
    ----------
    epoch : int
        Its last epoch, as the history's rows count; if it diverged, the one in which it did.
    step : int
        The updates made until then; if it diverged, the step whose loss is not finite, from 1.
    reason : str
        Why it was stopped; empty if its epochs were made, or it diverged.
    cut : bool
        Whether it was stopped before its last epoch was through.
    diverged : bool
        Whether its loss turned NaN or infinite.
    good_step : int
        If so, after how many updates its weights were what they are again.
    examples : int
        How many its last epoch had.
    learning_rate : float
        The rate of its last update.
    """

    epoch: int
    step: int
    reason: str = ""
    cut: bool = False
    diverged: bool = False
    good_step: int = 0
    examples: int = 0
    learning_rate: float = 0.0


@dataclass(frozen=True)
class MemberStart:
    """Where the rows of a member begin, and how it counts its epochs.

    Attributes
    ----------
    epoch : int
        The epoch after which it was put in another one's place, as the rows count.
    behind : int
        How many epochs fewer it had made then; negative if more.
    """

    epoch: int
    behind: int


@dataclass
class History:
    """What `Trainer.fit` measured, a row for each epoch.

    Of a network with members the losses, the errors, and the rates where each has its own, are
    lists with a figure for each: NaN for one that was not trained in that epoch, or diverged in it.

    Attributes
    ----------
    rows : list of dict
        Keys: "epoch" and "step" (both counted over the trainer's life), "learning_rate" (of the
        epoch's last batch), "train_loss" (mean over the epoch's batches as they were trained on,
        without the L2 term), "train_error", "dev_loss", "dev_error" and "dev_" with the name of
        each metric (as in prediction, where asked for), "seconds" and "samples_per_second"
        (training alone, without evaluation). Steps that a callback makes in the midst of an epoch
        count in its loss and its samples/s.
    columns : tuple of str
        The keys of each row, known from the fit's beginning on.
    undefined : tuple of str
        Those of them that are NaN in each row, whatever the network predicts: the error of values
        that are all the same, since there is no variance to explain, or a metric of such labels.
    stopped : bool
        Whether `Trainer.stop` or `interrupt` ended the fit before its last epoch was through.
    reason : str
        Why, as they were told.
    batch_size : int or None
        Examples in a mini-batch, where "auto" was asked for as well.
    members : int or None
        How many members the network has.
    ended : dict of int to MemberEnd
        The members whose training ended before the fit, or that diverged, and how.
    starts : dict of int to MemberStart
        The members that count their epochs otherwise than the rows do: they were put in others'
        places, or waited for others in a fit before.

    Examples
    --------
    >>> history = History([{"epoch": 1, "step": 4, "train_loss": [0.5, 0.25]}], members=2)
    >>> history["train_loss"], history.member(1)["train_loss"]
    ([[0.5, 0.25]], [0.25])
    """

    rows: list[Row] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    stopped: bool = False
    reason: str = ""
    batch_size: int | None = None
    members: int | None = None
    ended: dict[int, MemberEnd] = field(default_factory=dict)
    starts: dict[int, MemberStart] = field(default_factory=dict)

    def __getitem__(self, key: str) -> list[Any]:
        """Return one column; NaN where a row does not have it.

        Of members it is a list of lists, epochs by members, where they have figures of their own.
        """
        if self.rows and not any(key in row for row in self.rows):
            raise KeyError(f"{key!r} was not measured; there are {', '.join(self.rows[-1])}")
        return [row.get(key, math.nan) for row in self.rows]

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.rows)

    @property
    def diverged(self) -> tuple[int, ...]:
        """The members whose loss turned NaN or infinite; `ended` says when."""
        return tuple(sorted(i for i, end in self.ended.items() if end.diverged))

    def trained(self, epoch: int) -> list[int]:
        """Return the members that were trained in an epoch, and did not diverge in it."""
        count = 1 if self.members is None else self.members
        return [
            i
            for i in range(count)
            if (i not in self.ended or epoch <= self.ended[i].epoch - self.ended[i].diverged)
            and (i not in self.starts or epoch > self.starts[i].epoch)
        ]

    def member(self, i: int) -> History:
        """Return the history of a member, as it has it when it is trained alone.

        Its rows begin where it was put in another one's place, and end with the last epoch that it
        was trained in; if it diverged, with the one before. Epochs are counted as its own.

        Parameters
        ----------
        i : int
            Which one, counted from 0; −1 is the last.

        Raises
        ------
        TypeError, ValueError, IndexError
            If it is the history of one network, or there is no such member.
        """
        if self.members is None:
            raise ValueError("this is the history of one network: it has no members")
        i = check_member(i, self.members)
        end, start = self.ended.get(i), self.starts.get(i, MemberStart(0, 0))
        since = takewhile(lambda row: row["epoch"] > start.epoch, reversed(self.rows))
        rows = [self._row_of(row, i) for row in since][::-1]
        stopped, reason = self.stopped, self.reason
        if end is not None:
            rows = [row for row in rows if row["epoch"] <= end.epoch - end.diverged]
            stopped, reason = end.cut, end.reason if end.cut else ""
            if rows and not end.diverged:
                rows[-1] |= {"step": end.step, "learning_rate": end.learning_rate}
        for row in rows:
            row["epoch"] -= start.behind
        alone = replace(self, rows=rows, stopped=stopped, reason=reason)
        return replace(alone, members=None, ended={}, starts={})

    def _row_of(self, row: Row, i: int) -> Row:
        """Return a member's own figures of a row; what others have added stays as it is."""
        own = {
            key: row[key][i]
            for key in (*self.columns, *OWN)
            if isinstance(row.get(key), list) and len(row[key]) == self.members
        }
        return row | own


def is_row(value: object) -> bool:
    """Return whether a value is a row of a history: what is always measured are numbers.

    Of members, losses and rates may be lists of numbers.

    Examples
    --------
    >>> is_row({"epoch": 1})
    False
    """
    return isinstance(value, dict) and all(_is_figure(value.get(c), c in OF_MEMBERS) for c in OWN)


def _is_figure(value: object, may_differ: bool) -> bool:
    if may_differ and isinstance(value, list) and value:
        return all(isinstance(number, Real) for number in value)
    return isinstance(value, Real)


def mean_of(figure: Any) -> float:
    """Return a row's figure, or the mean of those of the members that have one.

    Examples
    --------
    >>> mean_of(0.5), mean_of([0.5, math.nan, 1.0])
    (0.5, 0.75)
    """
    if not isinstance(figure, list):
        return float(figure)
    there = [number for number in figure if math.isfinite(number)]
    return sum(there) / len(there) if there else math.nan


class Meter:
    """Adds up an epoch's loss on the device, where the host can look without stopping it.

    Attributes
    ----------
    work : RunningLoss
        Where `Kernels.observe` adds it up.
    seen : array of NumPy, float64, shape (2, …)
        What the host sees of it: the sum, which may lag behind a GPU's, and the finite steps.
    total : function
        Returns what the host sees of the sum, of all members together.
    """

    def __init__(self, backend: Backend, leading_shape: tuple[int, ...]) -> None:
        xp, self._backend = backend.xp, backend
        self._record, self.seen = backend.shared((2, *leading_shape), np.float64)
        self.work = RunningLoss(
            total=self._record[0, ...],
            steps=self._record[1, ...],
            term=xp.zeros(leading_shape, np.float64),
            finite=xp.ones(leading_shape, np.bool_),
        )
        self.total: Callable[[], float] = partial(self.seen.item, 0)
        if leading_shape:
            self.total = self._sum

    def _sum(self) -> float:
        return float(sum(self.seen[0].tolist()))

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
        return not math.isfinite(self.total())

    def fewest(self) -> int:
        """Return the finite steps, of the member that has the fewest; synchronise first."""
        return int(self.seen[1].min())

    def forget(self, member: int, steps: int) -> None:
        """Begin anew with a member that has diverged, as if its steps had been finite."""
        self._record[0, member] = 0.0
        self._record[1, member] = float(steps)
        self.finite[member] = True

    def resume(self, total: Any, steps: Any) -> None:
        """Go on in the middle of an epoch, from what `read` returned.

        Raises
        ------
        ValueError
            If it is of more or fewer members.
        """
        record = np.array([total, steps], np.float64)
        if record.shape != self.seen.shape:
            raise ValueError(f"sums of shape {record.shape} are given: {self.seen.shape} is there")
        self._record[...] = self._backend.asarray(record)

    def read(self) -> tuple[Any, Any]:
        """Return Σ n · loss and the number of finite steps; synchronise the device first.

        Of members both are lists.
        """
        return self.seen[0].tolist(), self.seen[1].astype(int).tolist()
