"""What a setting comes to: a network to train, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..data.augmentation import Augmentation
from ..train.trainer import Trainer
from .trials import Setting

Indices = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Data:
    """What networks are trained and measured on. Candidates of the same data share the object.

    Attributes
    ----------
    train : (X, y)
        The training set, as for `Trainer.fit`.
    dev : (X, y)
        The development set; with folds the same as ``train``, or as long.
    sample_weight : array, shape (n,), or None
        How much each training example counts.
    folds : sequence of (examples, held_out), or None
        For each fold the row numbers of ``train`` that it is trained on, and those of ``dev`` that
        it is measured on; None: all of both.
    """

    train: tuple[Any, Any]
    dev: tuple[Any, Any]
    sample_weight: Any = None
    folds: Sequence[tuple[Indices, Indices]] | None = None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network to train, as a setting says.

    Attributes
    ----------
    trainer : Trainer
        Of one network, untrained; optimiser, λ and `clip_norm` are its own.
    data : Data
        What it is trained and measured on.
    batch_size, epochs : int
        As for `Trainer.fit`.
    augmentation : Augmentation or None
        As for `Trainer.fit`; the same object for candidates that are alike.
    """

    trainer: Trainer
    data: Data
    batch_size: int
    epochs: int
    augmentation: Augmentation | None = None


class Subject(Protocol):
    """What is searched for: makes candidates of settings."""

    @property
    def n_folds(self) -> int:
        """How many networks a setting is judged by: 1, or the number of folds."""

    def candidate(self, setting: Setting, repeat: int = 0) -> Candidate:
        """Return what a setting comes to.

        Parameters
        ----------
        setting : dict
            Values of the space; none: the default ones.
        repeat : int
            Which of several networks that differ in their seed alone: seed + repeat. With folds
            that of the fold.

        Raises
        ------
        TypeError, ValueError
            If no network can be made of it: the trial fails with that reason.
        """
