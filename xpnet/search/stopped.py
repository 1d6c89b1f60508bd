"""Runs that were stopped early, and may go on when they turn out to be among the best."""

from __future__ import annotations

from collections.abc import Hashable

from ..analysis.room import MOST_BYTES
from .halving import Halving
from .runs import Run
from .study import Study


class Stopped:
    """Keeps runs with their networks as they were when they were stopped.

    Parameters
    ----------
    study : Study
        What has their trials.
    halving : Halving
        Says which go on.
    minimize : bool
        Whether less of the objective is better.
    most_bytes : int
        How much memory they may take; beyond that the oldest are let go.
    """

    def __init__(
        self, study: Study, halving: Halving, minimize: bool, most_bytes: int = MOST_BYTES // 4
    ) -> None:
        self._study, self._halving, self._minimize = study, halving, minimize
        self._runs: list[Run] = []
        self._left = most_bytes

    def wants(self, run: Run) -> bool:
        """Return whether a run that is stopped now is worth keeping."""
        trial = run.trial
        reports = self._study.reports_at(trial.epochs)
        return trial.value is not None and self._halving.may_go_on_later(
            trial.value, reports, self._minimize
        )

    def put(self, run: Run) -> None:
        """Keep a run, whose trainers are as far as it has come."""
        self._runs.append(run)
        self._left -= run.n_bytes
        while self._left < 0 and self._runs:
            self._let_go(self._runs[0])

    def take(self, key: Hashable = None) -> Run | None:
        """Return one that goes on now, with a key if one is given: the farthest, then the best."""
        sign = 1.0 if self._minimize else -1.0
        behind: set[int] = set()  # rungs whose best one is not good enough, nor is any other
        for run in sorted(
            (run for run in self._runs if key is None or run.key == key),
            key=lambda run: (-run.trial.epochs, sign * (run.trial.value or 0.0)),
        ):
            if run.trial.epochs in behind:
                continue
            value, reports = run.trial.value, self._study.reports_at(run.trial.epochs)
            if value is None or not self._halving.keeps(value, reports, self._minimize):
                behind.add(run.trial.epochs)
                continue
            self._let_go(run)
            if self._study.reopen(run.trial):
                return run
        return None

    def _let_go(self, run: Run) -> None:
        self._runs.remove(run)
        self._left += run.n_bytes
