"""The places of a network with members that trials are trained in, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..nn.members import joined
from ..nn.stacking import stack
from ..train.callback import Callback
from ..train.history import Row
from ..train.trainer import Trainer
from .runs import Run

if TYPE_CHECKING:
    from .search import Search

#: More epochs than a fit makes: its members are ended one by one.
ENDLESS = 10**9

#: Why a fit ends whose places are for others.
GIVEN_UP = "its places are given up"


class Places(Callback):
    """Trains runs as members of one network.

    After each epoch a run that has ended leaves its places to another one, which begins there while
    the others go on. Where there is none they are left as they are, and when half of the places are
    empty all are given up: what is not through goes on in a smaller network.

    Parameters
    ----------
    search : Search
        Judges the runs, and has those that come next.
    runs : list of Run
        Those that begin.

    Attributes
    ----------
    runs : list of Run or None
        Who is where; a run of several folds has as many places.
    """

    takes_members: ClassVar[bool] = True

    def __init__(self, search: Search, runs: Sequence[Run]) -> None:
        self._search = search
        self.runs: list[Run | None] = [*runs]
        self._key, self._first = runs[0].key, runs[0].candidates[0]
        self._width, folds = len(runs[0].candidates), self._first.data.folds or ()
        several = self._width > 1
        self._subsets = [own for own, _ in folds] * len(runs) if several else None
        self._held_out = [own for _, own in folds] * len(runs) if several else None
        self.trainer = _together([trainer for run in runs for trainer in run.trainers])

    def train(self) -> None:
        """Train until all have ended, or the places are given up.

        Raises
        ------
        DivergedError
            If all diverge at once.
        """
        first = self._first
        self.trainer.fit(
            *first.data.train,
            batch_size=first.batch_size,
            epochs=ENDLESS,
            validation_data=first.data.dev,
            callbacks=[self, *self._search.callbacks],
            monitor=0,
            augmentation=first.augmentation,
            sample_weight=first.data.sample_weight,
            subsets=self._subsets,
            validation_subsets=self._held_out,
        )

    def leave(self) -> list[Run]:
        """Return those that are not through, with their networks as they are now."""
        if not self._search.is_over():
            for place, run in enumerate(self.runs):
                if run is not None:
                    self._take_out(place, run)
        return self.clear()

    def _take_out(self, place: int, run: Run) -> None:
        """Have a run hold its networks as they are now; one that is alone holds it anyway."""
        if self.trainer.network.members is not None:
            run.trainers = [self.trainer.member(i) for i in self._members(place)]

    def clear(self) -> list[Run]:
        """Return those that are not through, and let them go."""
        busy, self.runs = [run for run in self.runs if run is not None], []
        return busy

    def _members(self, place: int) -> range:
        return range(place * self._width, (place + 1) * self._width)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Measure all, see which go on, and give free places away."""
        search = self._search
        if search.is_cut:
            return
        self._measure(row)
        for place, run in enumerate(self.runs):  # once all have said what they have come to
            if run is not None and search.has_ended(run):
                self.runs[place] = None
                if search.may_go_on_later(run):
                    self._take_out(place, run)
                    search.keep(run)
        if trainer.network.members is not None:
            self._fill()
        empty = [place for place, run in enumerate(self.runs) if run is None]
        if search.is_over() or 2 * len(empty) >= len(self.runs):
            trainer.stop(GIVEN_UP)
        trainer.stop("its trial has ended", [i for place in empty for i in self._members(place)])

    def _measure(self, row: Row) -> None:
        """Take note of the objective of each run; those that have diverged are out."""
        search, ended = self._search, self.trainer.history.ended
        gone = {i for i, end in ended.items() if end.diverged}
        figures = self._figures(row)
        losses = _members(row["dev_loss"])
        for place, run in enumerate(self.runs):
            if run is None:
                continue
            if gone.intersection(self._members(place)):
                self.runs[place] = None
                search.fail_diverged(run)
                continue
            value, loss = (
                float(np.mean([of[i] for i in self._members(place)])) for of in (figures, losses)
            )
            run.add(value, search.metric.minimize, loss)
            search.report(run)

    def _figures(self, row: Row) -> Sequence[float]:
        """Return the objective of each member."""
        metric = self._search.metric
        if metric.column is None:
            return metric.measure(self.trainer.network, *self._first.data.dev, self._held_out)
        return _members(row[metric.column])

    def _fill(self) -> None:
        """Give free places to runs that wait, or to new ones."""
        for place, run in enumerate(self.runs):
            if run is None:
                new = self._search.next_run(self._key)
                if new is None:
                    return
                self.runs[place] = new
                for i, own in zip(self._members(place), new.trainers, strict=True):
                    self.trainer.replace(i, own)


def _members(figure: Any) -> list[float]:
    """Return a row's figure of each member; of one network a list of one."""
    return figure if isinstance(figure, list) else [figure]


def _together(trainers: Sequence[Trainer]) -> Trainer:
    """Return a trainer whose members are as far as each of some trainers of one network is."""
    if len(trainers) == 1:
        return trainers[0]
    l2: Any = tuple(trainer.l2 for trainer in trainers)
    limits: Any = tuple(trainer.clip_norm for trainer in trainers)  # all have one, or none has
    together = Trainer(
        stack([trainer.network for trainer in trainers]),
        joined([trainer.optimizer for trainer in trainers], "the optimiser"),
        l2,
        None if limits[0] is None else limits,
        **trainers[0].update_step.factors.options,  # the same of all
    )
    for i, trainer in enumerate(trainers):
        if trainer.steps:
            together.replace(i, trainer)
    return together
