"""The reference kernels of piecewise-linear encodings, and of embeddings made of them."""

from __future__ import annotations

from .._typing import Array
from .piecewise_work import Lines, PiecewiseWork
from .reference_categories import CategoryKernels, each_network


class PiecewiseKernels(CategoryKernels):
    """The reference kernels of piecewise-linear encodings; see `reference.Kernels`.

    An input x (…, n, m) has columns of numbers, which ``work`` names with their edges. The encoding
    of such a number is the value of a clipped line for each bin: 0 below it, 1 above it. An
    embedding is the product of the encoding, a 1 and x itself with the parameters of the column.
    """

    def piecewise_encoding(self, x: Array, work: PiecewiseWork, out: Array) -> None:
        """Write the other columns, then a number for each bin of each column."""
        self._take(x, work.source, -1, out)
        numbers = out[..., work.n_others :]
        self._follow(numbers, work.bin_lines, numbers)

    def piecewise_encoding_backward(
        self, dy: Array, x: Array, work: PiecewiseWork, dx: Array
    ) -> None:
        """∂X. dy is used up."""
        self._take(x, work.source, -1, work.spread)
        d, ordered, first = dy[..., work.n_others :], work.ordered, work.n_others
        self._slope(work.spread[..., first:], work.bin_lines, work.outside, d)
        for j, bins in enumerate(work.slices):
            self.xp.sum(d[..., bins], axis=-1, out=ordered[..., first + j])
        self._restore(dy, work, dx)

    def piecewise_embedding(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        out: Array,
    ) -> None:
        """Write the other columns, then b + a x + Σ e_t W_t for each column; ReLU if there is one.

        ``weight`` (…, N, d) has the columns' bins, one column's below another's; ``bias`` and
        ``linear``, a, have shape (…, c, d).
        """
        xp, first = self.xp, work.n_others
        self._lines_of(x, work)
        self._stack_tables(weight, bias, linear, work)
        xp.matmul(work.values, work.tables, out=work.products)
        xp.copyto(out[..., :first], work.ordered[..., :first])
        blocks = work.blocks(out)
        xp.copyto(blocks, work.products)
        if work.relu:
            xp.maximum(blocks, 0.0, out=blocks)

    def piecewise_embedding_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        d_weight: Array,
        d_bias: Array,
        d_linear: Array | None,
        dx: Array | None,
    ) -> None:
        """∂W, ∂b and ∂a: sums of δ eₜ, δ and δ x; and ∂X if it is wanted.

        ``kept`` is the output.
        """
        xp = self.xp
        xp.copyto(work.products, work.blocks(dy))
        if work.relu:
            xp.less_equal(work.blocks(kept), 0.0, out=work.dead)
            xp.copyto(work.products, 0.0, where=work.dead)
        self._lines_of(x, work)
        for values, delta, table in each_network(work.values, work.products, work.tables):
            xp.matmul(values.swapaxes(0, 1), delta, out=table)
        self._part_tables(work, d_weight, d_bias, d_linear)
        if dx is None:
            return
        self._stack_tables(weight, bias, linear, work)
        for values, delta, table in each_network(work.values, work.products, work.tables):
            xp.matmul(delta, table.swapaxes(0, 1), out=values)
        self._slope(work.numbers, work.lines, work.outside, work.values)
        embedded = work.ordered[..., work.n_others :].swapaxes(-1, -2)
        xp.sum(work.values, axis=-1, out=embedded)
        self._restore(dy, work, dx)

    # -- lines ----

    def _follow(self, x: Array, lines: Lines, out: Array) -> None:
        """Write the lines' values at x."""
        xp = self.xp
        xp.subtract(x, lines.low, out=out)
        xp.multiply(out, lines.slope, out=out)
        xp.maximum(out, lines.least, out=out)
        xp.minimum(out, lines.most, out=out)

    def _slope(self, x: Array, lines: Lines, outside: Array, d: Array) -> None:
        """Multiply d by the lines' slopes at x."""
        xp = self.xp
        xp.multiply(d, lines.slope, out=d)
        xp.less(x, lines.start, out=outside)
        xp.copyto(d, 0.0, where=outside)
        xp.greater_equal(x, lines.stop, out=outside)
        xp.copyto(d, 0.0, where=outside)

    def _lines_of(self, x: Array, work: PiecewiseWork) -> None:
        self._take(x, work.order, -1, work.ordered)
        self._follow(work.numbers, work.lines, work.values)

    def _restore(self, dy: Array, work: PiecewiseWork, dx: Array) -> None:
        """Write ∂X: dy where a column has been passed on, else what stands in ``work.ordered``."""
        first = work.n_others
        self.xp.copyto(work.ordered[..., :first], dy[..., :first])
        self._take(work.ordered, work.places, -1, dx)

    # -- the parameters of a column's lines ----

    def _stack_tables(
        self, weight: Array, bias: Array, linear: Array | None, work: PiecewiseWork
    ) -> None:
        """Write the parameters of each line; what meets a 0 may be any."""
        tables = work.tables
        flat = tables.reshape(*tables.shape[:-3], -1, tables.shape[-1])
        for rows, of_lines in each_network(weight, flat):
            self._take(rows, work.bin_of_line, 0, of_lines)
        self.xp.copyto(tables[..., work.n_bins, :], bias)
        if linear is not None:
            self.xp.copyto(tables[..., work.n_bins + 1, :], linear)

    def _part_tables(
        self, work: PiecewiseWork, d_weight: Array, d_bias: Array, d_linear: Array | None
    ) -> None:
        """Write the gradients of each parameter, from those of the lines."""
        tables = work.tables
        flat = tables.reshape(*tables.shape[:-3], -1, tables.shape[-1])
        for rows, of_lines in each_network(d_weight, flat):
            self._take(of_lines, work.line_of_bin, 0, rows)
        self.xp.copyto(d_bias, tables[..., work.n_bins, :])
        if d_linear is not None:
            self.xp.copyto(d_linear, tables[..., work.n_bins + 1, :])
