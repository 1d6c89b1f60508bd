"""Checkpoints of a fit: where they are written, how often, and what is told of the newest one.

A checkpoint holds all that the further run depends on, and no generator's state: randomness is a
function of the seed and of counters. So a run that goes on ends with the same bits as one that was
never interrupted, on the same machine, libraries and number of threads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .._typing import Tree
from ..checks import check_count
from ..files import json_tree
from ..files.checkpoint_folder import Folder
from ..files.safetensors_files import ModelFileError

#: What comes of taking something for a state that is none.
NOT_A_STATE = (AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Checkpoints:
    """Where `Trainer.fit` writes its checkpoints, how often, and how many stay.

    The newest ones stay, and the one of the best epoch so far: that with the smallest loss on the
    development set, or the smallest training loss where there is none; of members, the mean of
    those that are trained. Beside them lies
    ``history.jsonl``, with a row for each epoch. Only one training at a time may use a folder.

    Parameters
    ----------
    path : path
        A folder; it is made if it is missing, the folder around it is not.
    every : int or None
        Steps from one checkpoint to the next; further ones are written after an epoch that is the
        best so far, and after the last. None: after each epoch.
    keep : int
        How many of the newest stay.
    about : dict
        What else to write into each: JSON-ready data of your own.

    Raises
    ------
    TypeError, ValueError
        If `every` or `keep` is no whole number above 0, or `path` empty.

    Examples
    --------
    A training is cut off after two epochs, and another process takes it to its end:

    >>> import tempfile
    >>> import numpy as np, xpnet as xn
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> def trainer():
    ...     net = xn.Network([xn.Linear(8), xn.ReLU(), xn.Dropout(0.2), xn.Linear(1)],
    ...                      loss="mean_squared_error", n_features=3, device="cpu")
    ...     return xn.Trainer(net, xn.Adam(0.01))
    >>> whole, cut, resumed = trainer(), trainer(), trainer()
    >>> history = whole.fit(X, y, batch_size=30, epochs=5)
    >>> run = xn.Checkpoints(tempfile.mkdtemp(), every=3)
    >>> history = cut.fit(X, y, batch_size=30, epochs=2, checkpoint=run)
    >>> history = resumed.fit(X, y, batch_size=30, epochs=5, checkpoint=run, resume=True)
    >>> len(history), bool((resumed.network.parameters == whole.network.parameters).all())
    (5, True)
    >>> [file.name for file in run.files()]
    ['step-000000020.safetensors', 'step-000000018.safetensors', 'step-000000016.safetensors']
    """

    path: str | os.PathLike[str]
    every: int | None = None
    keep: int = 3
    about: Tree = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not os.fspath(self.path):
            raise ValueError("the folder for checkpoints is '': give its name")
        if self.every is not None:
            check_count(self.every, "every")
        check_count(self.keep, "keep")

    def files(self) -> list[Path]:
        """Return the checkpoints there are, newest first."""
        return self._folder().files()

    def _folder(self) -> Folder:
        return Folder(Path(self.path), self.keep)


@dataclass(frozen=True)
class Newest:
    """What is told of a folder's newest whole checkpoint: see `newest`."""

    file: Path
    step: int
    epoch: int
    every: int | None
    keep: int
    about: Tree


def newest(path: str | os.PathLike[str]) -> Newest:
    """Return what the newest whole checkpoint in a folder says of itself.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ModelFileError
        If none is whole.
    """
    found = Folder(Path(path), 1).newest(tell=False)
    if found is None:
        raise FileNotFoundError(nothing(Path(path)))
    file, _, document = found
    try:
        counters, told = document["trainer"], json_tree.decode(document["written"], {})
        newest = Newest(file, counters["steps"], counters["epochs"], **told)
        for name in ("step", "epoch", "keep"):
            check_count(getattr(newest, name), name, least=0)
        if type(newest.about) is not dict:
            raise TypeError(f"about is {newest.about!r:.100}")
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(file, error) from error
    return newest


def nothing(path: Path) -> str:
    """Return in words that a folder holds no checkpoint."""
    return f"{path}: there is no checkpoint to go on from"


def unreadable(file: Path | None, error: Exception) -> ModelFileError:
    """Return the error of a checkpoint that is whole, and none that a trainer wrote."""
    return ModelFileError(f"{file}: no run can go on from it ({error!r})")
