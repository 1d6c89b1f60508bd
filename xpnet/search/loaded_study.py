"""A study as it is kept, to look at."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from . import pictures
from .attempts import BEYOND, asked, told
from .distributions import Choice, Distribution, Interval, IntUniform
from .optuna_study import ABOUT
from .space import Space, When
from .storages import open_storage, quiet
from .study import ranked
from .trials import Trial


class LoadedStudy:
    """A study that has been loaded; nothing in it is changed.

    Parameters
    ----------
    storage : path, str or optuna.storages.BaseStorage
        Where it is kept.
    name : str or None
        What it is called there; None: the only one.

    Attributes
    ----------
    name, where : str
        What it is called, and where it is kept.
    minimize : bool
        Whether less of the objective is better.
    space : dict of str to Distribution
        What was searched in; options are their names.
    about : dict
        What else it was begun with.
    trials : list of Trial
        All trials by number, as they were when it was loaded.
    """

    def __init__(self, storage: Any, name: str | None = None) -> None:
        self._storage, opened = storage, open_storage(storage, True, must_exist=True)
        self.where = opened.where
        try:
            there = {s.study_name: s for s in opened.get_all_studies()}
            self.name = _chosen([*there], name, self.where)
            about = there[self.name].user_attrs.get(ABOUT)
            if about is None:
                raise ValueError(
                    f"{self.where}: the study {self.name!r} was made by other means: load it with "
                    "optuna.load_study"
                )
            self.minimize: bool = about["minimize"]
            self.space = space_of(about["space"])
            self.about = {key: about[key] for key in about if key not in ("minimize", "space")}
            found = asked(opened.get_all_trials(there[self.name]._study_id, deepcopy=False))
        finally:
            opened.close()
        self.trials = [told(self.space, s) for s in found if BEYOND not in s.newest.user_attrs]

    def __repr__(self) -> str:
        """Return what it is called, where it is and how many trials it has."""
        return f"{type(self).__name__}({self.name!r} in {self.where}, {len(self.trials):,} trials)"

    @property
    def optuna(self) -> optuna.Study:
        """The study as Optuna has it: with each attempt at a trial that was broken off."""
        opened = open_storage(self._storage, True, must_exist=True)
        with quiet():
            study = optuna.load_study(study_name=self.name, storage=opened.storage)
        weakref.finalize(study, opened.close)
        return study

    @property
    def best(self) -> Trial:
        """The best trial: of those that were trained to their end, or else of those stopped early.

        Raises
        ------
        ValueError
            If none has a value.
        """
        found = ranked(self.trials, self.minimize)
        if not found:
            raise ValueError(f"{self.where}: no trial of {self.name!r} has a value")
        return found[0]

    def importances(self) -> dict[str, float]:
        """Return how much of the objective's variation each hyper-parameter explains, most first.

        Their sum is 1; by Optuna's PED-ANOVA, of all trials that have a value, those that were
        stopped among them.

        Raises
        ------
        ValueError
            If fewer than two have one.
        """
        return pictures.importances(self.space, self.trials, self.minimize)

    def plot(self, prefix: str | os.PathLike[str], objective: str = "objective") -> list[Path]:
        """Draw its history, importances and slices, and return the pictures' paths.

        Parameters
        ----------
        prefix : path
            What the names begin with: ``.history.png``, ``.importances.png`` and ``.slices.png``
            follow.
        objective : str
            What the objective is called.

        Raises
        ------
        ValueError
            If fewer than two trials have a value.
        OSError
            If a picture can't be written.
        """
        return pictures.draw(self.space, self.trials, self.minimize, prefix, objective)


def space_of(described: Mapping[str, Any]) -> Space:
    """Return the space that was described, with their names for options.

    Examples
    --------
    >>> from xpnet.search.distributions import choice, uniform
    >>> from xpnet.search.space import describe, when
    >>> space = {"layers": choice([1, 2]), "dropout": when("layers", [2], uniform(0, 0.5))}
    >>> space_of(describe(space))["dropout"].values
    ('2',)
    """
    space: dict[str, Distribution] = {}
    for name, said in described.items():
        match said["kind"]:
            case "choice":
                found: Distribution = Choice({option: option for option in said["names"]})
            case "whole numbers":
                found = IntUniform(said["low"], said["high"])
            case scale:
                found = Interval(said["low"], said["high"], scale)
        for other, values in reversed(said.get("when", [])):
            found = When(other, values, found)
        space[name] = found
    return space


def _chosen(there: list[str], name: str | None, where: str) -> str:
    if not there:
        raise FileNotFoundError(f"{where}: there is no study: give where one is kept")
    if name is None and len(there) > 1:
        raise ValueError(f"{where}: there are several studies: name one of {', '.join(there)}")
    if name is not None and name not in there:
        raise FileNotFoundError(
            f"{where}: there is no study {name!r}: give one of {', '.join(there)}"
        )
    return there[0] if name is None else name
