"""Studies made and loaded: Optuna's where it is installed, else one that draws at random."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .._typing import Tree
from ..plain_text import without_password
from ..warning import warn
from .random_study import RandomStudy
from .space import Space
from .study import Study

if TYPE_CHECKING:
    from .loaded_study import LoadedStudy

#: The usual ending of a random study's file.
RANDOM = ".jsonl"

#: The oldest release of Optuna's that is used.
OLDEST = 5


def why_no_optuna() -> str | None:
    """Return why Optuna can't be used, or None if it can."""
    if find_spec("optuna") is None:
        return "Optuna is not installed (extra 'tune')"
    from importlib import metadata  # it takes long to load

    version = metadata.version("optuna")
    if int(version.partition(".")[0]) < OLDEST:
        return f"Optuna {version} is installed, and {OLDEST} or newer is needed (extra 'tune')"
    return None


def make_study(
    space: Space,
    limit: int,
    minimize: bool = True,
    seed: int = 0,
    *,
    storage: Any = None,
    name: str = "xpnet",
    about: Tree | None = None,
    resume: bool | str = False,
    grace: float = 60.0,
) -> Study:
    """Return a study: `OptunaStudy`, or without Optuna a `RandomStudy`, which is said in a line.

    Parameters
    ----------
    space, limit, minimize, seed, about, resume, grace
        As for `OptunaStudy`.
    storage : None, path, str or optuna.storages.BaseStorage
        Where it is kept; None: in memory. Without Optuna memory or a path.
    name : str
        What it is called there; a random study has its file for itself.

    Raises
    ------
    TypeError, ValueError, OSError
        As the study does.
    """
    reason = why_no_optuna()
    if reason is None:
        from .optuna_study import OptunaStudy

        return OptunaStudy(space, limit, minimize, seed, storage, name, about, resume, grace)
    if storage is not None and (not isinstance(storage, str | os.PathLike) or is_address(storage)):
        told = without_password(str(storage))
        raise ValueError(f"storage is {told!r}: give a path: {reason}")
    warn(f"{reason}: the settings are drawn at random")
    return RandomStudy(space, limit, minimize, seed, storage, about=about, resume=resume)


def is_address(storage: str | os.PathLike[str]) -> bool:
    """Return whether a text is the address of a storage, and no path.

    Examples
    --------
    >>> is_address("sqlite:///a.db"), is_address("journal:a"), is_address("a.study.db")
    (True, True, False)
    """
    text = os.fspath(storage)
    return "://" in text or text.startswith("journal:")


def load_study(storage: Any, name: str | None = None) -> LoadedStudy:
    """Load a study to look at: its trials, the best of them, what mattered, and pictures.

    Parameters
    ----------
    storage : path, str or optuna.storages.BaseStorage
        Where it is kept, as for `tune`.
    name : str or None
        What it is called there; None: the only one.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    OSError
        If there is none, or it can't be read.
    ValueError
        If there are several and no name is given, or it is no study of this library's in Optuna's
        hands.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet.search.distributions import log_uniform
    >>> from xpnet.search.trials import State
    >>> path = Path(tempfile.mkdtemp()) / "a.study.db"
    >>> study = make_study({"learning_rate": log_uniform(1e-4, 1)}, 3, storage=path)
    >>> while (trial := study.ask()) is not None:
    ...     trial.state, trial.value = State.COMPLETE, trial.setting["learning_rate"]
    ...     study.end(trial)
    >>> study.close()
    >>> found = load_study(path)
    >>> found.best.value == min(trial.value for trial in found.trials)
    True
    """
    reason = why_no_optuna()
    if reason is not None:
        raise ImportError(f"{reason}: install xpnet[tune]")
    if str(storage).endswith(RANDOM):
        raise ValueError(
            f"{storage}: is a study of settings drawn at random, without Optuna: xpnet.tune(…, "
            "storage=…, resume=True), or xpnet tune --resume without Optuna, has its trials"
        )
    from .loaded_study import LoadedStudy

    return LoadedStudy(storage, name)
