"""What a recipe goes by: how many rows there are, of what, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass


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
    pixels : bool
        Whether the columns share a unit, as pixels and counts do.
    own_dev : bool
        Whether there is a development set that rows need not be held out for.
    one_training : bool
        Whether a network is asked for that is trained once, on one training set: for a choice of λ
        or a learning curve.
    members : int or None
        How many networks are asked for, if that is said.
    """

    task: str
    n: int
    n_columns: int
    pixels: bool = False
    own_dev: bool = False
    one_training: bool = False
    members: int | None = None

    @property
    def of_classes(self) -> bool:
        """Whether classes are predicted."""
        return self.task != "regression"
