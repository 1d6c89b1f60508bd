"""Columns of numbers that become several each: the base of embeddings of numeric features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.work import ColumnWork
from ..checks import check_count, check_several
from .embedded_columns import EmbeddedColumns
from .layer import Allocator, B


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
