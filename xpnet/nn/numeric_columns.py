"""Columns of numbers that become several each: the base of embeddings of numeric features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.work import ColumnWork
from ..checks import check_count, check_several
from .layer import Allocator, B, Layer

#: An example of so many outputs takes 64 MB.
MOST_OUTPUTS = 2**24


@dataclass(eq=False)
class EmbeddedColumns(Layer[B]):
    """The base of layers that embed some of their inputs: the others are passed on, before them.

    The output has the other columns, in their order, and then a block for each column that is
    embedded, in the order in which they are given. A subclass says which they are, and how wide
    their blocks.

    Raises
    ------
    ValueError
        Within a network: if the input lacks a column, or there are more than 2²⁴ outputs.
    """

    @property
    @abstractmethod
    def embedded(self) -> tuple[int, ...]:
        """The columns that are embedded, in the order of their blocks."""

    @property
    @abstractmethod
    def block_widths(self) -> Sequence[int]:
        """How many outputs each column becomes, in the columns' order."""

    @property
    def passed_columns(self) -> Sequence[int]:
        """The other columns, which come first in the output."""
        embedded = set(self.embedded)
        return [j for j in range(self.n_inputs) if j not in embedded]

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs.

        Raises
        ------
        ValueError
            If the input lacks a column, or there are more than 2²⁴ outputs.
        """
        super().build(index, n_inputs, following)
        name, last = type(self).__name__, max(self.embedded)
        if last >= n_inputs:
            raise ValueError(
                f"{name} takes column {last} and its input has {n_inputs}: give columns from 0 to "
                f"{n_inputs - 1}"
            )
        self.n_outputs = n_inputs - len(self.embedded) + sum(self.block_widths)
        if self.n_outputs > MOST_OUTPUTS:
            raise ValueError(
                f"{name} makes {self.n_outputs:,} outputs of {n_inputs:,} inputs, more than "
                f"{MOST_OUTPUTS:,}: give fewer columns, or fewer outputs for each"
            )
        return self.n_outputs


@dataclass(eq=False)
class NumericColumns(EmbeddedColumns[B]):
    """The base of those whose option says which columns, and no more of each.

    Parameters
    ----------
    columns : sequence of int
        Which columns, counted from 0.

    Raises
    ------
    TypeError, ValueError
        If columns is no sequence of whole numbers; one is negative or named twice; or there is
        none. Within a network: if the input lacks one, or there are more than 2²⁴ outputs.
    """

    columns: Sequence[int]

    def __post_init__(self) -> None:
        self.columns = check_numeric_columns(self.columns)

    @property
    def embedded(self) -> tuple[int, ...]:
        """The columns that are embedded, in the order of their blocks."""
        return tuple(self.columns)

    def column_work(self, new: Allocator) -> ColumnWork:
        """Return what the kernels of columns work with."""
        return ColumnWork(self.embedded, self.n_inputs, new.rows, new.constant)


def check_numeric_columns(columns: Any) -> tuple[int, ...]:
    """Return columns as whole numbers, or raise an error.

    Examples
    --------
    >>> check_numeric_columns([3, 0])
    (3, 0)
    >>> check_numeric_columns([3, 3])
    Traceback (most recent call last):
    ValueError: columns has 3 twice: give each column once
    """
    given = check_several(columns, "columns", "(0, 3)")
    found = tuple(check_count(column, "a column", 0) for column in given)
    if not found:
        raise ValueError("columns is empty: give some, as (0, 3)")
    for i, column in enumerate(found):
        if column in found[:i]:
            raise ValueError(f"columns has {column} twice: give each column once")
    return found
