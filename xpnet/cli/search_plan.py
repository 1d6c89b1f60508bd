"""What a search is to do, as the command line has it: its numbers, and the files that it leaves."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..plain_text import without_password
from ..search.halving import Halving
from ..search.studies import why_no_optuna
from . import options
from .resume import Run, quoted

#: What the pictures of a study are of.
PICTURES = ("history", "importances", "slices")


@dataclass(frozen=True)
class Plan:
    """What is wanted of a search, apart from the data and the settings.

    Attributes
    ----------
    trials, members, folds, eta, keep, repeats : int
        As the command's options; of folds None for none.
    seconds : float or None
        When to end the search.
    halving, resume, worker : bool
        As the command's options.
    storage, name : str or None
        Where the study is kept, and what it is called there.
    """

    trials: int
    members: int
    seconds: float | None
    folds: int | None
    halving: bool
    eta: int
    storage: str | None
    name: str | None
    resume: bool
    worker: bool
    keep: int
    repeats: int

    def __post_init__(self) -> None:
        least = {"trials": 1, "members": 1, "folds": 2, "eta": 2, "keep": 1, "repeats": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"--{name} is {value}: give {smallest} or more")
        if self.repeats == 1:
            raise ValueError("--repeats is 1: give 2 or more to see the noise, or 0 for none")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"--time is {self.seconds:g}: give seconds, a number above 0")
        for name in ("storage", "name"):
            if (text := getattr(self, name)) is not None and not text.strip():
                raise ValueError(f"--{name} is {text!r}: there is nothing in it")
        if self.worker and self.storage is None:
            raise ValueError("--worker is for a study that others share: give --storage as well")

    def require_one_judge(self, dev: str | None) -> None:
        """Raise a ValueError if settings are to be judged by folds and by a set of one's own."""
        if dev is not None and self.folds is not None:
            raise ValueError(
                f"--dev is {dev} and --folds {self.folds}: settings are judged by one of them; "
                "leave the other out"
            )

    def successive_halving(self, epochs: int) -> Halving | None:
        """Return what stops trials early that may have so many epochs; None: nothing does."""
        found = Halving(epochs, self.eta) if self.halving else None
        return found if found is not None and found.rungs else None

    @property
    def goes_on(self) -> bool | Literal["auto"]:
        """Whether the study has to be there; of those that share one the first makes it."""
        return True if self.resume else ("auto" if self.storage is not None else False)


@dataclass(frozen=True)
class Files:
    """What a search writes.

    Attributes
    ----------
    model : path
        The model.
    study : path
        The study, where no other storage is given.
    pictures : dict of str to path
        By what they are of.
    """

    model: Path
    study: Path
    pictures: dict[str, Path]

    @classmethod
    def of(cls, run: Run, plan: Plan, name: str) -> Files:
        """Return the files of a search, once it is found that they can be written.

        Raises
        ------
        OSError, ValueError
            If one can't be, or there is no study to go on with.
        """
        model = run.output or Path(f"{name}.safetensors")
        study = ".study.db" if why_no_optuna() is None else ".study.jsonl"
        pictures = {of: options.beside(model, f".study.{of}.png") for of in PICTURES}
        found = cls(model, options.beside(model, study), pictures)
        kept = [] if plan.storage is None else [_file_of(plan.storage)]
        if not plan.worker:
            options.require_writable(model, *run.sources, *kept)
            for path in pictures.values():
                options.require_writable(path, *run.sources, str(model), *kept)
        if plan.storage is None:
            options.require_writable(found.study, *run.sources, str(model))
            if plan.resume and not found.study.exists():
                raise FileNotFoundError(
                    f"{found.study}: there is no study to go on with; leave --resume out to begin "
                    "one"
                )
        return found


def _file_of(storage: str) -> str:
    """Return the path in what ``--storage`` says, if there is one."""
    return storage.removeprefix("journal:").removeprefix("sqlite:///")


def command_to_go_on() -> str:
    """Return the command that goes on with the search of this process, without a password."""
    given = [*map(without_password, sys.argv[1:])]
    given += [] if "--resume" in given else ["--resume"]
    return " ".join(["xpnet", *map(quoted, given)])


def json_ready(value: Any) -> Any:
    """Return a tree as JSON gives it back: tuples are lists there."""
    if isinstance(value, dict):
        return {name: json_ready(item) for name, item in value.items()}
    return [*map(json_ready, value)] if isinstance(value, tuple | list) else value
