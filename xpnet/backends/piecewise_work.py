"""What the kernels of piecewise-linear encodings work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, HostArray
from .work import ColumnWork


class Lines(NamedTuple):
    """Clipped lines of one number: min(max((x − low) · slope, least), most).

    The slope is theirs from ``start`` on and below ``stop``; elsewhere it is 0.
    """

    low: Array
    slope: Array
    least: Array
    most: Array
    start: Array
    stop: Array


#: Lines that are 0, 1 and x for every x.
ZERO = Lines(0.0, 1.0, 0.0, 0.0, np.inf, np.inf)  # type: ignore[arg-type]
ONE = ZERO._replace(least=1.0, most=1.0)  # type: ignore[arg-type]
IDENTICAL = Lines(0.0, 1.0, -np.inf, np.inf, -np.inf, np.inf)  # type: ignore[arg-type]


@dataclass
class PiecewiseWork(ColumnWork):
    """What they work with; a kernel that needs none of it makes none.

    Of a column with rising edges b₀ … b_T bin t goes from b_t to b_{t+1}. The bins of all columns
    are N, one column's behind another's. Edges are rounded to the input's type before anything is
    compared with them, on every backend.

    Parameters
    ----------
    edges : tuple of tuple of float
        Of each column in ``columns``.
    n_dims : int
        Numbers that a column becomes, d; 0: one for each bin.
    dtype : dtype
        Of the input.
    row : function of (name, width)
        Returns an array (…, 1, width).
    clamp : bool
        Whether the first and last bin end at their edges.
    relu : bool
        Whether a ReLU is behind an embedding.
    linear : bool
        Whether an embedding has a linear term.
    """

    edges: tuple[tuple[float, ...], ...]
    n_dims: int
    dtype: Any
    row: Callable[..., Array]
    clamp: bool = False
    relu: bool = False
    linear: bool = False

    # -- for all kernels ----

    @cached_property
    def bins(self) -> Array:
        """The bins as lines, a row for each of the names of `Lines`: shape (6, N)."""
        return self.constant("bins", np.concatenate(self._columns, axis=1))

    @property
    def bin_lines(self) -> Lines:
        """The same by name, each array of shape (N,)."""
        return Lines(*(self.bins[i] for i in range(len(Lines._fields))))

    @cached_property
    def counts(self) -> Array:
        """How many bins the columns have: int64, shape (c,)."""
        return self.constant("counts", np.array(self._counts, np.int64))

    @cached_property
    def firsts(self) -> Array:
        """Their first bins among all: int64, shape (c,)."""
        return self.constant("firsts", np.array(self._firsts, np.int64))

    @cached_property
    def owners(self) -> Array:
        """To which column each bin belongs, counted from 0: int64, shape (N,)."""
        return self.constant("owners", np.repeat(np.arange(len(self.columns)), self._counts))

    @property
    def slices(self) -> list[slice]:
        """Where the columns' bins are among all."""
        return [slice(f, f + k) for f, k in zip(self._firsts, self._counts, strict=True)]

    @cached_property
    def sums(self) -> Array:
        """Room for a number for each bin and dimension: shape (…, N, d)."""
        return self._in_front("sums", sum(self._counts), self.n_dims)

    # -- for the reference ----

    @cached_property
    def source(self) -> Array:
        """From which column of the input each of the encoding comes: int64, shape (width,)."""
        others, columns = np.split(self._order, [self.n_others])
        found = np.concatenate([others, np.repeat(columns, self._counts)])
        return self.constant("source", found)

    @cached_property
    def spread(self) -> Array:
        """Room for the input's numbers in those places: shape (…, n, width)."""
        return self.rows("spread", self.n_others + sum(self._counts))

    @cached_property
    def lines(self) -> Lines:
        """The same number of lines for each column, L: each array of shape (c, 1, L).

        Its bins come first, then what is always 0, and last what is always 1, for the bias, and x
        itself, if there is a linear term.
        """
        found = np.empty((len(Lines._fields), len(self.columns), 1, self.n_lines), self.dtype)
        for i in range(len(found)):
            found[i] = ZERO[i]
            found[i, :, 0, self.n_bins] = ONE[i]
            found[i, :, 0, self.n_bins + 1 :] = IDENTICAL[i]
        for j, column in enumerate(self._columns):
            found[:, j, 0, : column.shape[1]] = column
        lines = self.constant("lines", found)
        return Lines(*(lines[i] for i in range(len(found))))

    @property
    def n_bins(self) -> int:
        """The most bins of a column, T."""
        return max(self._counts)

    @property
    def n_lines(self) -> int:
        """Lines of each column, L."""
        return self.n_bins + 1 + self.linear

    @cached_property
    def bin_of_line(self) -> Array:
        """The bin, among all, of each line: int64, shape (c · L,); else 0."""
        found = np.zeros(len(self.columns) * self.n_lines, np.int64)
        found[self._line_of_bin] = np.arange(sum(self._counts))
        return self.constant("bin_of_line", found)

    @cached_property
    def line_of_bin(self) -> Array:
        """The line, among all, of each bin: int64, shape (N,)."""
        return self.constant("line_of_bin", self._line_of_bin)

    @cached_property
    def values(self) -> Array:
        """Room for a number for each line: shape (…, c, n, L)."""
        return self._by_column("values", self.n_lines)

    @cached_property
    def outside(self) -> Array:
        """Room for whether x is beside a line's slope: bool, of lines, or of bins (…, n, N)."""
        if not self.n_dims:
            return self.rows("outside", sum(self._counts), np.bool_)
        return self._by_column("outside", self.n_lines, np.bool_)

    @cached_property
    def products(self) -> Array:
        """Room for the embeddings: shape (…, c, n, d)."""
        return self._by_column("products", self.n_dims)

    @cached_property
    def dead(self) -> Array:
        """Room for whether the ReLU is 0: bool, shape (…, c, n, d)."""
        return self._by_column("dead", self.n_dims, np.bool_)

    @cached_property
    def tables(self) -> Array:
        """Room for each line's parameters, or their gradients: shape (…, c, L, d)."""
        return self._in_front("tables", len(self.columns), self.n_lines, self.n_dims)

    def blocks(self, out: Array) -> Array:
        """Return the embeddings in an output (…, n, width): a view (…, c, n, d)."""
        shape = *out.shape[:-1], len(self.columns), self.n_dims
        return out[..., self.n_others :].reshape(*shape).swapaxes(-2, -3)

    @property
    def numbers(self) -> Array:
        """What of ``ordered`` is embedded: a view (…, c, n, 1)."""
        return self.ordered[..., self.n_others :].swapaxes(-1, -2)[..., None]

    # -- on the host ----

    @property
    def _counts(self) -> list[int]:
        return [len(edges) - 1 for edges in self.edges]

    @property
    def _firsts(self) -> list[int]:
        return [0, *accumulate(self._counts[:-1])]

    @property
    def _line_of_bin(self) -> HostArray:
        columns = [j * self.n_lines + np.arange(k) for j, k in enumerate(self._counts)]
        return np.concatenate(columns)

    @property
    def _columns(self) -> list[HostArray]:
        """The bins of each column as lines: arrays (6, T)."""
        return [self._lines_of(np.asarray(edges, self.dtype)) for edges in self.edges]

    def _lines_of(self, edges: HostArray) -> HostArray:
        start, stop = edges[:-1], edges[1:]
        found = np.stack([start, 1 / (stop - start), 0 * start, 0 * start + 1, start, stop])
        if not self.clamp:
            found[[2, 4], 0] = -np.inf  # least and start of the first bin,
            found[[3, 5], -1] = np.inf  # most and stop of the last one
        return found

    # -- rooms ----

    def _by_column(self, name: str, width: int, dtype: Any = None) -> Array:
        """Return room (…, c, n, width)."""
        c = len(self.columns)
        room = self.rows(name, c * width, dtype)
        return room.reshape(*room.shape[:-2], c, room.shape[-2], width)

    def _in_front(self, name: str, *shape: int) -> Array:
        """Return room (…, *shape), whatever the number of examples."""
        room = self.row(name, int(np.prod(shape)))
        return room.reshape(*room.shape[:-2], *shape)
