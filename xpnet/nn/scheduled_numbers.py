"""The numbers of layers that change from step to step, where the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._typing import Array, HostArray
from ..backends.protocol import Backend
from .layer import Layer
from .members import schedules_of

#: A step's number and the epoch it is in, of each step of a plan.
When = Sequence[tuple[int, float]]


class ScheduledNumbers:
    """Hands layers that are scheduled the arrays of their numbers, and computes these.

    Parameters
    ----------
    layers : sequence of Layer
        All of a network, before they are bound.
    array : array, int32, shape (s, 1), or (s, k, 1, 1) of k networks at once
        For those that are scheduled.

    Attributes
    ----------
    layers : list of Layer
        Those that are scheduled.
    """

    def __init__(self, layers: Sequence[Layer], array: Array) -> None:
        self.layers, self.array = [layer for layer in layers if layer.is_scheduled], array
        for place, layer in enumerate(self.layers):
            layer.connect_number(array[place])

    @classmethod
    def at_start(
        cls, layers: Sequence[Layer], backend: Backend, leading_shape: tuple[int, ...]
    ) -> ScheduledNumbers:
        """Return those of the first step, for one network or k."""
        shape = (*leading_shape, 1, 1) if leading_shape else (1,)
        n = sum(layer.is_scheduled for layer in layers)
        made = cls(layers, backend.xp.zeros((n, *shape), np.int32))
        if n:
            start = made.planned([[(0, 0.0)]], [True] * (leading_shape[0] if leading_shape else 1))
            made.array[...] = backend.asarray(start, np.int32).reshape(n, *shape)
        return made

    def of_member(self, layers: Sequence[Layer], i: int) -> ScheduledNumbers:
        """Return those of member i alone, over the same array."""
        return ScheduledNumbers(layers, self.array[:, i, 0])

    def planned(self, when: Sequence[When], trained: Sequence[bool]) -> HostArray:
        """Return the numbers of steps: those of a layer's members stand side by side.

        Parameters
        ----------
        when : sequence
            The steps, which all networks make, or those of each.
        trained : sequence of bool
            Which of the networks are asked for their numbers: of others they are 0.

        Returns
        -------
        array of NumPy, shape (steps, s · k)
        """
        columns = []
        for layer in self.layers:
            alike = len(schedules_of(layer)) == 1 and len(when) == 1
            found: list[list[int]] = []
            for i, asked in enumerate(trained):
                steps = when[i if len(when) > 1 else 0]
                if not asked:
                    found.append([0] * len(steps))
                elif alike and i and trained[0]:
                    found.append(found[0])
                else:
                    found.append([layer.scheduled_number(i, *at) for at in steps])
            columns += found
        return np.array(columns, np.int32).T
