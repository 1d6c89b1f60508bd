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
        self._columns: dict[tuple[str, int], Array] = {}

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

    def column(self, name: str, numbers: Numbers, n: int = 1) -> float | Array:
        """Return what is set as ``name``, over n, as a kernel takes it: an array (k, 1) of several.

        The array stays until `forget`.
        """
        if not isinstance(numbers, tuple):
            return numbers / n
        column = self._columns.get((name, n))
        if column is None:
            shares = [number / n for number in numbers]
            column = as_column(shares, self._backend, self._dtype, 1)
            self._columns[name, n] = column
        return column

    def put_member(self, name: str, i: int, number: float) -> None:
        """Write member i's number into the arrays of what is set as ``name``."""
        for (owner, n), column in self._columns.items():
            if owner == name:
                column[i] = number / n

    def forget(self) -> None:
        """Let go of the columns: nothing reads those of numbers that are set anew."""
        self._columns.clear()
