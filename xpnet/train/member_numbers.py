"""Numbers of a training that each member of a network may have of its own, on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._typing import Array, DType
from ..backends.protocol import Backend
from ..checks import Numbers, check_length, check_numbers, each
from ..nn.members import as_column, check_own_numbers, on_device
from ..optim.optimizers import Optimizer


class MemberNumbers:
    """Checks numbers for a network's members, and brings them to the device.

    Parameters
    ----------
    backend : Backend
        Where they are needed.
    dtype : dtype
        In which type.
    members : int or None
        How many members there are; None for one network.
    """

    def __init__(self, backend: Backend, dtype: DType, members: int | None) -> None:
        self._backend, self._dtype, self._members = backend, dtype, members
        self._columns: dict[tuple[float, ...], Array] = {}

    def checked(self, value: Numbers, name: str, check: Callable[[float, str], object]) -> Numbers:
        """Return a number for all members, or one for each.

        Raises
        ------
        TypeError, ValueError
            If one fails the check, or there are more or fewer than members.
        """
        numbers = check_numbers(value, name)
        for number in each(numbers):
            check(number, name)
        if isinstance(numbers, tuple):
            check_length(numbers, name, self._members)
        return numbers

    def fixed(self, optimizer: Optimizer) -> Optimizer:
        """Return an optimiser without its rate, which changes from step to step.

        Raises
        ------
        ValueError
            If it has numbers for more or fewer members than there are.
        """
        check_own_numbers(optimizer, self._members)
        return replace(optimizer, learning_rate=1.0)

    def bound(self, optimizer: Optimizer) -> Optimizer:
        """Return an optimiser whose members' own numbers are arrays (k, 1) on the device.

        They are of float64: 1 − β has few digits of a β in float32.
        """
        return on_device(optimizer, self._backend, np.dtype(np.float64), 1)

    def column(self, numbers: Numbers) -> float | Array:
        """Return numbers as a kernel takes them: an array (k, 1) of several."""
        if not isinstance(numbers, tuple):
            return numbers
        if numbers not in self._columns:
            self._columns[numbers] = as_column(numbers, self._backend, self._dtype, 1)
        return self._columns[numbers]

    def forget(self) -> None:
        """Let go of the columns: nothing reads those of numbers that are set anew."""
        self._columns.clear()

    def share(self, numbers: Numbers, n: int) -> float | Array:
        """Return numbers over n, as `column` does."""
        if not isinstance(numbers, tuple):
            return numbers / n
        return self.column(tuple(number / n for number in numbers))
