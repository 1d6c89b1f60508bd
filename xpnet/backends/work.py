"""Buffers that kernels are given to work in, by the kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray

#: The reference computes the gradients of so many rows of an embedding's table at a time.
MOST_CATEGORIES_AT_ONCE = 1024


@dataclass
class ScalarTable:
    """Tables of what changes from step to step, for `Kernels.advance`; all have two axes.

    Attributes
    ----------
    cursor : array, int64, shape (1,)
        The row that comes next.
    scalars, keys, starts : array, shape (rows, …)
        The optimiser's scalars, dropout's keys (uint64), where batches begin (int64).
    row, key, start : array, shape (1, …)
        What the row last copied says.
    """

    cursor: Array
    scalars: Array
    row: Array
    keys: Array
    key: Array
    starts: Array
    start: Array


@dataclass
class DropoutWork:
    """Buffers of `Kernels.dropout`.

    Attributes
    ----------
    counters, bits, shifted : array, uint64, shape (…, n, words)
        What the bits are computed from, the bits, and scratch.
    lanes : array, uint16, shape (…, n, m)
        A view of the bits, 16 for each element.
    lives : array, bool, shape (…, n, m)
        Scratch.
    mask : array, shape (…, n, m)
        0 where an element is dropped, else the scale.
    """

    counters: Array
    bits: Array
    shifted: Array
    lanes: Array
    lives: Array
    mask: Array


@dataclass
class Weighing:
    """Buffers of `Kernels.normalize_weights`.

    Attributes
    ----------
    total, safe : array, shape (…, 1, 1)
        The sum of the weights, and the same but never 0.
    decay : array, shape (…, 1, 1)
        λ over it.
    example_weight : array, shape (…, n, 1)
        The weights, divided by their sum.
    """

    total: Array
    safe: Array
    decay: Array
    example_weight: Array = NO_ARRAY


@dataclass
class RunningLoss:
    """Buffers of `Kernels.observe`, each of shape (…).

    Attributes
    ----------
    total, steps : array, float64
        Σ n · loss, and how many steps left it finite.
    term : array, float64
        Scratch.
    finite : array, bool
        Whether the sum is finite.
    """

    total: Array
    steps: Array
    term: Array
    finite: Array


@dataclass
class LossBuffers:
    """What a loss writes for a batch, and scratch.

    Attributes
    ----------
    dz : array, shape (…, n, m)
        The gradient with respect to the logits.
    loss : array, shape (…)
        The loss.
    terms : array, shape (…, n, m)
        Each output's own, or scratch.
    row : array, shape (…, n, 1)
        Scratch.
    registers : sequence of array, shape (…, n, m)
        Scratch of `OutputLoss.program`.
    mask : array of bool, shape (…, n, m), or None
        The same.
    """

    dz: Array
    loss: Array
    terms: Array
    row: Array
    registers: Sequence[Array] = ()
    mask: Array | None = None


@dataclass
class SoftmaxBuffers(LossBuffers):
    """The buffers of softmax cross-entropy.

    Attributes
    ----------
    other : array, shape (…, n, 1)
        Scratch.
    classes : array, shape (m,)
        0 … m−1.
    hot : array of bool, shape (…, n, m)
        Whether a class is the label.
    """

    other: Array = NO_ARRAY
    classes: Array = NO_ARRAY
    hot: Array = NO_ARRAY


@dataclass
class CategoryWork:
    """What the kernels of categories work with; a kernel that needs none of it makes none.

    The input has ``n_inputs`` columns, some of which hold codes. The output has the others, in
    their order, and then a block for each column of codes: a column for each category, or the
    numbers of an embedding. The tables of embeddings stand one below another in the same order.

    Parameters
    ----------
    coded : tuple of (int, int)
        The columns of codes, each with its number of categories.
    n_inputs : int
        The input's columns, m.
    n_dims : int
        Numbers of an embedding; 0 for one-hot blocks.
    dtype : dtype
        Of the input.
    rows : function of (name, width, dtype)
        Returns an array (…, n, width), of the input's dtype if none is given.
    constant : function of (name, host array)
        Returns its copy on the device.
    """

    coded: tuple[tuple[int, int], ...]
    n_inputs: int
    n_dims: int
    dtype: Any
    rows: Callable[..., Array]
    constant: Callable[[str, HostArray], Array]

    @property
    def n_others(self) -> int:
        """How many columns hold no codes."""
        return self.n_inputs - len(self.coded)

    def blocks(self, out: Array) -> Array:
        """Return the embeddings in an output (…, n, width): a view (…, n, c, n_dims)."""
        shape = *out.shape[:-1], len(self.coded), self.n_dims
        return out[..., self.n_others :].reshape(*shape)

    @cached_property
    def columns(self) -> Array:
        """The columns of codes: int64, shape (c,)."""
        return self._whole("columns", [column for column, _ in self.coded])

    @cached_property
    def sizes(self) -> Array:
        """Their numbers of categories: int64, shape (c,)."""
        return self._whole("sizes", self._sizes)

    @cached_property
    def last(self) -> Array:
        """Their largest codes: int64, shape (c,)."""
        return self._whole("last", np.subtract(self._sizes, 1))

    @cached_property
    def starts(self) -> Array:
        """The first rows of their tables: int64, shape (c,)."""
        return self._whole("starts", np.cumsum([0, *self._sizes[:-1]]))

    @cached_property
    def source(self) -> Array:
        """From which column of the input each of the output comes: int64, shape (width,)."""
        columns = [column for column, _ in self.coded]
        widths = [self.n_dims] * len(columns) if self.n_dims else self._sizes
        others = np.delete(np.arange(self.n_inputs), columns)
        return self._whole("source", [*others, *np.repeat(columns, widths)])

    @cached_property
    def target(self) -> Array:
        """To which of the output each column without codes goes: int64, shape (m,); else 0."""
        target = np.zeros(self.n_inputs, np.int64)
        target[~self._is_coded] = np.arange(self.n_others)
        return self._whole("target", target)

    @cached_property
    def is_coded(self) -> Array:
        """Whether a column holds codes: bool, shape (m,)."""
        return self.constant("is_coded", self._is_coded)

    @cached_property
    def categories(self) -> Array:
        """The code of each row of the tables, or one-hot column: the input's dtype, shape (N,)."""
        codes = [np.arange(size, dtype=self.dtype) for size in self._sizes]
        return self.constant("categories", np.concatenate(codes))

    @cached_property
    def places(self) -> Array:
        """Room for the rows in which embeddings stand: int64, shape (…, n, c)."""
        return self.rows("places", len(self.coded), np.int64)

    @cached_property
    def unknown(self) -> Array:
        """Room for whether a code stands for no category: bool, shape (…, n, c)."""
        return self.rows("unknown", len(self.coded), np.bool_)

    @cached_property
    def hot(self) -> Array:
        """Room for one-hot vectors of some categories: shape (…, n, some)."""
        return self.rows("hot", min(max(self._sizes), MOST_CATEGORIES_AT_ONCE))

    @cached_property
    def block(self) -> Array:
        """Room for a column's embeddings: shape (…, n, n_dims)."""
        return self.rows("block", self.n_dims)

    @property
    def _sizes(self) -> list[int]:
        return [size for _, size in self.coded]

    @property
    def _is_coded(self) -> HostArray:
        return np.isin(np.arange(self.n_inputs), [column for column, _ in self.coded])

    def _whole(self, name: str, values: Any) -> Array:
        return self.constant(name, np.asarray(values, np.int64))


@dataclass
class ColumnWork:
    """What the kernels of embedded numeric columns work with.

    The input has ``n_inputs`` columns, c of which are embedded. The output has the others, in their
    order, and then a block for each that is embedded.

    Parameters
    ----------
    columns : tuple of int
        The columns that are embedded.
    n_inputs : int
        The input's columns, m.
    rows : function of (name, width, dtype)
        Returns an array (…, n, width), of the input's dtype if none is given.
    constant : function of (name, host array)
        Returns its copy on the device.
    """

    columns: tuple[int, ...]
    n_inputs: int
    rows: Callable[..., Array]
    constant: Callable[[str, HostArray], Array]

    @property
    def n_others(self) -> int:
        """How many columns are passed on."""
        return self.n_inputs - len(self.columns)

    @cached_property
    def order(self) -> Array:
        """The columns that are passed on, then those that are embedded: int64, shape (m,)."""
        return self.constant("order", self._order)

    @cached_property
    def places(self) -> Array:
        """Where each column stands in `order`: int64, shape (m,)."""
        return self.constant("places", np.argsort(self._order))

    @cached_property
    def ordered(self) -> Array:
        """Room for the input, or its gradient, with the columns in that order: shape (…, n, m)."""
        return self.rows("ordered", self.n_inputs)

    @property
    def _order(self) -> HostArray:
        others = np.delete(np.arange(self.n_inputs), self.columns)
        return np.concatenate([others, self.columns]).astype(np.int64)
