"""Successive halving: trials that are behind after a few epochs are not trained to their end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..checks import check_count


class Halving:
    """Stops trials early, at rungs that lie a factor η of epochs apart.

    After as many epochs as a rung has, a trial goes on if it is among the best 1/η of all that have
    come to that rung so far, itself included, and is stopped otherwise. If it is among them later,
    as worse ones follow, it goes on then: Jamieson & Talwalkar,
    "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016; not
    waiting for others, Li et al., "A system for massively parallel hyperparameter tuning", MLSys
    2020.

    Parameters
    ----------
    epochs : int
        How many epochs a trial has that is never stopped.
    eta : int
        η, 2 or more.
    least : int or None
        The fewest epochs before the first decision; None: a share η⁻² of all, 1 at least.

    Attributes
    ----------
    rungs : list of int
        After how many epochs is decided, ascending; after all of them nothing is.

    Raises
    ------
    TypeError, ValueError
        If one is no whole number, or too small; or ``least`` is as large as ``epochs``.

    Examples
    --------
    >>> Halving(30).rungs, Halving(30, eta=2, least=5).rungs
    ([4, 10], [8, 15])
    """

    def __init__(self, epochs: int, eta: int = 3, least: int | None = None) -> None:
        self.epochs, self.eta = check_count(epochs, "epochs"), check_count(eta, "eta", 2)
        if least is None:
            least = math.ceil(self.epochs / self.eta**2)
        elif check_count(least, "least") >= self.epochs > 1:
            raise ValueError(f"least is {least} and there are {epochs} epochs: give fewer")
        self.least = least
        self.rungs: list[int] = []
        rung = self.epochs
        while (rung := math.ceil(rung / self.eta)) >= least and rung not in (*self.rungs, epochs):
            self.rungs.insert(0, rung)

    def keeps(self, value: float, values: Sequence[float], minimize: bool) -> bool:
        """Return whether a trial goes on.

        Parameters
        ----------
        value : float
            The best value that it has come to.
        values : sequence of float
            Those of all trials at this rung, this one's among them.
        minimize : bool
            Whether less is better.

        Examples
        --------
        >>> [Halving(9).keeps(v, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True) for v in (0.2, 0.3)]
        [True, False]
        >>> [Halving(9).keeps(v, [0.1, 0.2, 0.3, 0.4], True) for v in (0.2, 0.3)]
        [True, False]
        """
        return self._rank(value, values, minimize) < len(values) / self.eta

    def may_go_on_later(self, value: float, values: Sequence[float], minimize: bool) -> bool:
        """Return whether a trial that is stopped is near enough to those that go on.

        As more come to its rung and are worse, it may be among the best 1/η after all. It is kept
        for that if it is among the best 2/η.
        """
        return self._rank(value, values, minimize) < 2 * len(values) / self.eta

    @staticmethod
    def _rank(value: float, values: Sequence[float], minimize: bool) -> int:
        """Return how many are better."""
        return sum(other < value if minimize else other > value for other in values)
