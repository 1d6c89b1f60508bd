"""A study: the trials of a search, from which it learns what to try next."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from .trials import State, Trial


def check_end(trial: Trial) -> None:
    """Raise a ValueError if a trial can't end as it is: running, or complete without a value."""
    if trial.state is State.RUNNING:
        raise ValueError(f"trial {trial.number} is still running: give its state, or give_back")
    if trial.state is State.COMPLETE and trial.value is None:
        raise ValueError(f"trial {trial.number} is complete and has no value: give it one")
    if trial.value is not None and math.isnan(trial.value):
        raise ValueError(f"trial {trial.number} has the value nan: give a number, or None")


class Study(ABC):
    """The trials of a search, kept by one process or shared by several.

    Attributes
    ----------
    space : dict of str to Distribution
        What is searched in.
    minimize : bool
        Whether less of the objective is better.
    limit : int
        How many trials the study has in all, of all processes.
    where : str
        Where it is kept, in words for people: a file, an address, or "memory".
    """

    space: Mapping[str, Any]
    minimize: bool
    limit: int
    where: str

    @abstractmethod
    def ask(self, fixed: Mapping[str, Any] | None = None) -> Trial | None:
        """Return a new trial that is to be trained, or None if there are to be no more.

        What was asked for by a process that has died, or was given back, is asked again first.

        Parameters
        ----------
        fixed : mapping or None
            Values that the setting shall have, by name; those of names that its conditions leave
            out are left out. What is asked again may have others.
        """

    @abstractmethod
    def report(self, trial: Trial, epochs: int, value: float) -> None:
        """Note the objective's best value after so many epochs, and keep it in `Trial.reports`."""

    @abstractmethod
    def reports_at(self, epochs: int) -> list[float]:
        """Return what all trials, of all processes, have reported after so many epochs."""

    @abstractmethod
    def end(self, trial: Trial) -> None:
        """Keep what has become of a trial: its state, which is not running, value and reason.

        A trial that another process has taken over meanwhile is left to that, with a note.
        """

    def reopen(self, trial: Trial) -> bool:
        """Have a trial that was stopped here trained on here; return whether that may be.

        For all others it stays what it was until it ends again. It is ended, not given back.
        """
        return False

    @abstractmethod
    def give_back(self, trial: Trial) -> None:
        """Have a trial that can't be trained to its end now asked again, with the same setting."""

    @abstractmethod
    def trials(self) -> list[Trial]:
        """Return all trials of all processes, each setting that was asked once, by number."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; trials that still run here are given back."""

    def elsewhere(self) -> int:
        """Return how many trials run in other processes, or were left by them and ask for a worker.

        While there are any, `ask` may have one after it had none.
        """
        return 0

    def best(self) -> list[Trial]:
        """Return the trials that have a value, the best first; of equal ones the first asked.

        Those that were stopped have one too, and come after all that are complete.
        """
        return ranked(self.trials(), self.minimize)


def ranked(trials: Iterable[Trial], minimize: bool) -> list[Trial]:
    """Return the trials that have a value, the best first, as `Study.best` does."""
    found = [t for t in trials if t.value is not None and t.state is not State.FAILED]
    sign = 1.0 if minimize else -1.0
    return sorted(found, key=lambda t: (t.state is State.STOPPED, sign * t.value, t.number))  # type: ignore[operator]
