"""A study's trials as this process knows them: what it writes itself it need not read again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from .storages import Opened, in_turn


class Known:
    """The trials of a study in a storage, as they were when they were read, and its own changes.

    Reading them takes a database as long as training a small network: a process that is alone
    with a study reads it once.

    Parameters
    ----------
    storage : Opened
        Where the study is.
    study : int
        Its number there.

    Attributes
    ----------
    reads : int
        How often they were read.
    """

    def __init__(self, storage: Opened, study: int) -> None:
        self._storage, self._study = storage, study
        self._trials: dict[int, FrozenTrial] = {}
        self.reads = 0

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return [*self._trials.values()]

    def read(self) -> list[FrozenTrial]:
        """Return all trials as they are now, of all processes."""
        found = self._storage.get_all_trials(self._study, deepcopy=False)
        self.reads += 1
        self._trials = {trial._trial_id: trial for trial in found}
        return self.trials

    def create(self, template: FrozenTrial) -> int:
        """Make a trial, and return its id."""
        made: int = self._storage.create_new_trial(self._study, template)
        trial, number = copy.copy(template), len(self._trials)
        trial.number, trial._trial_id = number, made
        if self._is_number(number, made):
            self._trials[made] = trial
        else:  # others have made some
            self.read()
        return made

    def _is_number(self, number: int, trial: int) -> bool:
        try:
            found = self._storage.storage.get_trial_id_from_study_id_trial_number(
                self._study, number
            )
        except KeyError:
            return False
        return bool(found == trial)

    def report(self, trial: int, step: int, value: float) -> None:
        """Keep an intermediate value of a trial."""
        self._storage.set_trial_intermediate_value(trial, step, value)
        values = self._trials[trial].intermediate_values | {step: value}
        self._change(trial, intermediate_values=values)

    def note(self, trial: int, key: str, value: Any) -> None:
        """Keep an attribute of a trial."""
        self._storage.set_trial_user_attr(trial, key, value)
        self._change(trial, user_attrs=self._trials[trial].user_attrs | {key: value})

    def end(self, trial: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End a trial, or raise an UpdateFinishedTrialError if it has ended."""
        with in_turn():
            is_ended = self._storage.set_trial_state_values(trial, state, values)
        if not is_ended:
            raise UpdateFinishedTrialError("another process was quicker")
        self._change(trial, state=state, values=values)

    def _change(self, trial: int, **changes: Any) -> None:
        changed = copy.copy(self._trials[trial])
        for name, value in changes.items():
            setattr(changed, name, value)
        self._trials[trial] = changed
