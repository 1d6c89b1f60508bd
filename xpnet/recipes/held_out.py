"""Folds of which each member holds one out: what it says of that, and what is learnt of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import Array, HostArray
from ..data.folds import fold_of_each
from ..nn.calibration import LARGEST, temperature_of
from ..nn.network import Network


@dataclass(frozen=True)
class Folds:
    """A training set in folds, each of which some members of a network are not trained on.

    Attributes
    ----------
    of_each : array of int, shape (n,)
        Which fold each row is in; −1: in none, every member is trained on it.
    held : list of int
        The fold that each member holds out.
    """

    of_each: HostArray
    held: Sequence[int]

    @classmethod
    def draw(
        cls, folds: int, members: int, labels: HostArray, of_classes: bool, seed: int
    ) -> Folds:
        """Cut rows into folds, by label where labels are classes; member i holds out fold i mod k.

        A class may be so rare that some folds have none of it. The row of a class that has no other
        is never held out: every member knows every class. So are values treated, the commonest and
        all others as two classes, where some members might else have values that are all the same.

        Raises
        ------
        ValueError
            If fewer rows can be held out than there are folds.

        Examples
        --------
        >>> Folds.draw(2, 2, np.array([0, 0, 1, 0, 0]), of_classes=True, seed=0).of_each
        array([ 1,  1, -1,  0,  0])
        """
        n = len(labels)
        classes = labels if of_classes and labels.ndim == 1 else _one_and_others(labels, folds)
        free = np.ones(n, np.bool_)
        if classes is not None:
            _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
            free = counts[codes] > 1
        if folds > (count := int(free.sum())):
            others = "" if count == n else f", {n - count} of which are the only ones of their kind"
            advice = "give fewer folds, or more rows" if count > 1 else "give more rows of a kind"
            raise ValueError(f"folds is {folds} and there are {n} rows{others}: {advice}")
        of_each = np.full(n, -1, np.int64)
        strata = None if classes is None else classes[free]
        of_each[free] = fold_of_each(count, folds, strata, seed)
        return cls(of_each, [i % folds for i in range(members)])

    def fit_options(self) -> dict[str, Any]:
        """Return which rows each member is trained on, and on which it is measured."""
        return {
            "subsets": [np.flatnonzero(self.of_each != fold) for fold in self.held],
            "validation_subsets": [np.flatnonzero(self.of_each == fold) for fold in self.held],
        }

    def of(self, members: Sequence[int]) -> Folds:
        """Return the same of some of the members."""
        return Folds(self.of_each, [self.held[i] for i in members])

    @property
    def first_of_each(self) -> list[int]:
        """The first member that holds a fold out, of each fold."""
        return [i for i, fold in enumerate(self.held) if fold not in self.held[:i]]

    def out_of_fold(self, network: Network, x: Array, y: Array) -> tuple[Array, Array]:
        """Return logits of rows by a member that was not trained on them, and the rows' labels.

        Parameters
        ----------
        network : Network
            With these members.
        x, y : array
            The training set, prepared. The backend must be active.

        Returns
        -------
        logits, labels : array
            Of the rows of which there is such a member.
        """
        rows = {i: np.flatnonzero(self.of_each == self.held[i]) for i in self.first_of_each}
        return held_out_logits(network, x, y, rows)


def held_out_logits(
    network: Network, x: Array, y: Array, rows: Mapping[int, HostArray]
) -> tuple[Array, Array]:
    """Return logits of rows by members that were not trained on them, and the rows' labels.

    Parameters
    ----------
    network : Network
        With members.
    x, y : array
        The training set, prepared. The backend must be active.
    rows : mapping of int to array of int
        The rows that a member says something of.
    """
    backend, every = network.backend, network.predictor.logits(x)
    on_device = {i: backend.asarray(own, np.int64) for i, own in sorted(rows.items())}
    pieces = [every[i][..., own, :] for i, own in on_device.items()]
    labels = [y[own] for own in on_device.values()]
    return backend.xp.concatenate(pieces, axis=-2), backend.xp.concatenate(labels)


def _one_and_others(labels: HostArray, folds: int) -> HostArray | None:
    """Return which rows have the commonest value, if all but one fold may have no other."""
    rows = labels.reshape(len(labels), -1)
    _, codes, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    if counts.max() < len(rows) - math.ceil(len(rows) / folds):
        return None
    found: HostArray = codes.reshape(-1) == counts.argmax()
    return found


def careful_temperature(logits: HostArray, labels: HostArray) -> float:
    """Return a temperature that examples and one more, which is wrong, fit best.

    Of n examples that are all right the best temperature would be 0. As by Laplace's rule of
    succession, one more is counted with them, of average certainty, whose label is the class that
    comes second: each example a second time, with the weight 1/n. (Platt, "Probabilistic outputs
    for support vector machines", 1999, does so for each class.) Where none is right it is the
    highest.

    Parameters
    ----------
    logits : array, shape (…, n, m)
        What a network, or its members, say: `temperature_of` has the shapes.
    labels : array, shape (n,)
        The classes.

    Examples
    --------
    >>> logits = np.array([[4.0, 0.0], [0.0, 4.0]] * 10)
    >>> labels = np.array([0, 1] * 10)
    >>> round(temperature_of(logits, labels), 2), round(careful_temperature(logits, labels), 2)
    (0.05, 1.34)
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels).reshape(-1).astype(np.int64)
    several = z.ndim > 2
    mean = z.mean(axis=tuple(range(z.ndim - 2)))
    if mean.shape[1] == 1:
        second = 1 - (mean[:, 0] >= 0).astype(np.int64)
    else:
        second = np.argsort(mean, axis=1)[:, -2]
    if (y == y[0]).all() and (second == y[0]).all():  # not one is right
        return LARGEST
    weights = np.concatenate([np.ones(len(y)), np.full(len(y), 1.0 / len(y))])
    doubled = np.concatenate([z, z], axis=-2).reshape(-1, 2 * len(y), mean.shape[1])
    found: float = temperature_of(
        doubled if several else doubled[0], np.concatenate([y, second]), weights, members=several
    )
    return found
