"""Columns that become several each: the base of embeddings, of categories and of numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .layer import B, Layer

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

    #: What to do where there would be too many outputs.
    with_fewer: ClassVar[str] = "give fewer columns, or fewer outputs for each"

    @property
    @abstractmethod
    def embedded(self) -> tuple[int, ...]:
        """The columns that are embedded, in the order of their blocks."""

    @property
    @abstractmethod
    def block_widths(self) -> Sequence[int]:
        """How many outputs each column becomes, in the columns' order."""

    @property
    def n_passed(self) -> int:
        """How many columns come first in the output: a file may say 2⁵³, which nobody can list."""
        return self.n_inputs - len(self.embedded)

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
        self.n_outputs = self.n_passed + sum(self.block_widths)
        if self.n_outputs > MOST_OUTPUTS:
            raise ValueError(
                f"{name} makes {self.n_outputs:,} outputs of {n_inputs:,} inputs, more than "
                f"{MOST_OUTPUTS:,}: {self.with_fewer}"
            )
        return self.n_outputs
