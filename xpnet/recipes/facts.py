"""What a recipe goes by: how many rows there are, of what, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._typing import HostArray


@dataclass(frozen=True)
class Facts:
    """What is known of data before anything is trained.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
        What is predicted.
    n : int
        Rows to train on, those that are held out in turn among them.
    n_columns : int
        Columns of the table, or of the array.
    least : int
        Rows of the rarest class; 0 of a regression.
    pixels : bool
        Whether the columns share a unit, as pixels and counts do.
    own_dev : bool
        Whether there is a development set that rows need not be held out for.
    one_training : bool
        Whether a network is asked for that is trained once, on one training set: for a choice of λ
        or a learning curve.
    """

    task: str
    n: int
    n_columns: int
    least: int = 0
    pixels: bool = False
    own_dev: bool = False
    one_training: bool = False

    @property
    def of_classes(self) -> bool:
        """Whether classes are predicted."""
        return self.task != "regression"


def rarest(labels: HostArray) -> int:
    """Return how many rows the rarest class has.

    Examples
    --------
    >>> rarest(np.array(["a", "b", "a"]))
    1
    """
    return int(np.unique(labels, return_counts=True)[1].min())
