"""Trials as trainings: those that wait for a place in a network, and how they are asked for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ..analysis.room import MOST_BYTES, bytes_of_a_member, most_members
from ..train.trainer import Trainer
from . import groups
from .candidates import Candidate, Subject
from .study import Study
from .trials import Setting, Trial

#: By which share equal figures may differ that were summed in another order.
ROUNDING = 1e-12


@dataclass(eq=False)
class Run:
    """A trial in training, or one that waits for places in a network.

    Attributes
    ----------
    trial : Trial
        Its value, best epoch and number of epochs are kept up to date.
    candidates : list of Candidate
        What it trains: one network, or one for each fold.
    key : hashable
        Which others can be members of the same network.
    trainers : list of Trainer
        How far each network is, while it has no place.
    """

    trial: Trial
    candidates: list[Candidate]
    key: Hashable = field(init=False)
    trainers: list[Trainer] = field(init=False)
    _loss: float = field(init=False, default=math.nan)

    def __post_init__(self) -> None:
        self.key = groups.key(self.candidates[0])
        self.trainers = [candidate.trainer for candidate in self.candidates]

    @property
    def is_through(self) -> bool:
        """Whether all of its epochs are made."""
        return self.trial.epochs >= self.candidates[0].epochs

    @property
    def n_bytes(self) -> int:
        """About how much memory its networks take, with what updates them."""
        trainer = self.candidates[0].trainer
        return len(self.candidates) * bytes_of_a_member(trainer.network, trainer.optimizer, 1, 1)

    def add(self, value: float, minimize: bool, loss: float) -> None:
        """Take note of the objective after one more epoch; one that is not finite is none.

        Of epochs that are equally good that with the least loss is the best one; those are equally
        good that rounding alone tells apart, as of a mean over folds.
        """
        trial, best = self.trial, self.trial.value
        trial.epochs += 1
        if not math.isfinite(value):
            return
        if best is not None and math.isclose(value, best, rel_tol=ROUNDING):
            if loss < self._loss and not math.isclose(loss, self._loss, rel_tol=ROUNDING):
                trial.best_epoch, self._loss = trial.epochs, loss
        elif best is None or (value < best if minimize else value > best):
            trial.value, trial.best_epoch, self._loss = value, trial.epochs, loss


#: How many times as many trials as are trained at once are asked for freely in the beginning, when
#: nothing is known: each architecture gets its share. Of a short study half, or one time as many.
BEGINNING = 2


class Runs:
    """Runs that wait, by which of them can be trained together; new ones are asked for.

    Parameters
    ----------
    subject : Subject
        Makes candidates of settings.
    study : Study
        Where trials come from.
    places : int
        How many are trained at once, at most.
    fail : function of (trial, reason)
        What to do with a trial of which no network can be made.
    go_on : function of a key or None
        Returns a run that was stopped and goes on, of any key for None; or None.
    """

    def __init__(
        self,
        subject: Subject,
        study: Study,
        places: int,
        fail: Callable[[Trial, str], object],
        go_on: Callable[[Hashable], Run | None],
    ) -> None:
        self._go_on = go_on
        self._most: dict[Hashable, int] = {}  # where memory has held fewer than it seemed
        self._beginning = min(BEGINNING * places, max(places, study.limit // 2))
        self._subject, self._study, self.places, self._fail = subject, study, places, fail
        self._waiting: dict[Hashable, deque[Run]] = {}
        self._shared = groups.shared_names(subject, study.space) if places > 1 else frozenset()

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._waiting.values()))

    def put(self, run: Run) -> None:
        """Let a run wait."""
        self._waiting.setdefault(run.key, deque()).append(run)

    def take(self, key: Hashable) -> Run | None:
        """Return the one that has waited longest of those with a key, if there is one."""
        queue = self._waiting.get(key)
        if not queue:
            return None
        run = queue.popleft()
        if not queue:
            del self._waiting[key]
        return run

    def take_any(self) -> Run | None:
        """Return one of any key, if there is one."""
        return self.take(next(iter(self._waiting))) if self._waiting else None

    def group(self) -> list[Run]:
        """Return runs to train together: those of the key of which the most wait, and new ones.

        In a study's beginning many are asked for before the first are trained, of any architecture.
        New ones are asked for with what its architecture is. None if there are to be no more, and
        none that was stopped goes on.
        """
        self._begin()
        if not self._waiting:
            new = self._ask() or self._go_on(None)
            if new is None:
                return []
            self.put(new)
        key = max(self._waiting, key=lambda key: len(self._waiting[key]))
        first = self._waiting[key][0]
        places, runs = self._places_for(first), [*self._taken(key)]
        runs, rest = runs[:places], runs[places:]
        for run in rest:
            self.put(run)
        fixed = {n: v for n, v in first.trial.setting.items() if n in self._shared}
        while len(runs) < places and (new := self._go_on(key) or self._ask(fixed)):
            if new.key != key:  # asked again, after another process has died
                self.put(new)
                break
            runs.append(new)
        return runs

    def _begin(self) -> None:
        """Ask freely for what a study begins with, as far as memory holds the networks."""
        left = MOST_BYTES // 4
        while len(self) < self._beginning and left > 0:
            new = self._ask()
            if new is None or new.trial.number + 1 >= self._beginning:
                self._beginning = 0  # others have asked for the rest, or there is none
            if new is None:
                return
            left -= new.n_bytes
            self.put(new)
        self._beginning = 0

    def _taken(self, key: Hashable) -> deque[Run]:
        return self._waiting.pop(key)

    def next(self, key: Hashable) -> Run | None:
        """Return a run for a place that is free, among those with a key; None: leave it free.

        One that was stopped and is among the best after all comes before new ones. A new one need
        not fit, and then waits. Once so many wait as are trained at once, it is their turn.
        """
        run = self.take(key) or self._go_on(key)
        while run is None and len(self) < self.places:
            new = self._ask()
            if new is None:
                return None
            if new.key == key:
                return new
            self.put(new)
        return run

    def halve(self, key: Hashable, together: int) -> None:
        """Train no more than half as many runs with a key at once from now on."""
        self._most[key] = max(1, together // 2)

    def remake(self, run: Run) -> Run:
        """Return a run that begins anew with its trial."""
        trial = run.trial
        trial.epochs, trial.value, trial.best_epoch = 0, None, None
        return Run(trial, self._candidates(trial.setting))

    def _ask(self, fixed: Setting | None = None) -> Run | None:
        """Return a new trial as a run; those of which no network can be made fail."""
        while (trial := self._study.ask(fixed)) is not None:
            try:
                return Run(trial, self._candidates(trial.setting))
            except (TypeError, ValueError, MemoryError) as error:
                self._fail(trial, str(error) or type(error).__name__)
        return None

    def _candidates(self, setting: Setting) -> list[Candidate]:
        folds = range(self._subject.n_folds)
        return [self._subject.candidate(setting, fold) for fold in folds]

    def _places_for(self, run: Run) -> int:
        """Return how many runs like one are trained at once: as memory and caches hold."""
        candidate, width = run.candidates[0], len(run.candidates)
        trainer, n = candidate.trainer, len(candidate.data.train[1])
        wanted = self._most.get(run.key, self.places) * width
        most = most_members(trainer.network, trainer.optimizer, candidate.batch_size, n, wanted)
        return max(1, most // width)
