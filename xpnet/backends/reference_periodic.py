"""The reference kernels of periodic embeddings, and of blocks that columns of numbers become."""

from __future__ import annotations

import math
from collections.abc import Callable

from .._typing import Array
from .reference_ensemble import by_member
from .reference_sums import SumKernels
from .work import ColumnWork


def blocks_of(out: Array, work: ColumnWork) -> Array:
    """Return the blocks in an output (…, n, width): a view (…, n, c, block width)."""
    blocks, columns = out[..., work.n_others :], len(work.columns)
    return blocks.reshape(*out.shape[:-1], columns, blocks.shape[-1] // columns)


class PeriodicKernels(SumKernels):
    """The reference kernels of periodic embeddings; see `reference.Kernels`.

    Of an input x (…, n, m) c columns are embedded, which ``work`` names. What is computed of them
    has a row for each column of each example, (…, c n, width): all examples of the first column,
    then all of the second, and so on.
    """

    _take: Callable[..., None]

    def periodic(
        self,
        x: Array,
        frequencies: Array,
        phases: Array | None,
        work: ColumnWork,
        scaled: Array,
        values: Array,
        angle: Array,
        out: Array,
    ) -> None:
        """Out ← [cos a, sin a] with a = 2π w x, or with phases b: cos a with a = 2π w x + b.

        ``frequencies`` w and ``phases`` have shape (…, c, k), ``out`` (…, c n, 2 k) or (…, c n, k).
        ``values`` (…, c n, 1) gets the columns that are embedded. ``angle`` (…, c n, k) is scratch
        for pairs; with phases it gets sin a, or is out, if nobody asks for that. ``scaled`` is
        scratch as w.
        """
        xp, (c, k) = self.xp, frequencies.shape[-2:]
        self._take(x, work.order, -1, work.ordered)
        each, waves = by_member(values, c), by_member(angle, c)
        xp.copyto(each[..., 0], work.ordered[..., work.n_others :].swapaxes(-1, -2))
        xp.multiply(frequencies, 2 * math.pi, out=scaled)
        xp.multiply(each, scaled[..., None, :], out=waves)
        if phases is None:
            xp.cos(angle, out=out[..., :k])
            xp.sin(angle, out=out[..., k:])
            return
        xp.add(waves, phases[..., None, :], out=waves)
        xp.cos(angle, out=out)
        if angle is not out:
            xp.sin(angle, out=angle)

    def periodic_backward(
        self,
        dy: Array,
        y: Array,
        angle: Array,
        values: Array,
        frequencies: Array,
        scaled: Array,
        d_frequencies: Array,
        d_phases: Array | None,
        d_values: Array | None,
    ) -> None:
        """δ = −dy sin a, for pairs + dy cos a; ∂w = 2π Σ δ x, ∂b = Σ δ, ∂x = 2π Σ δ w.

        The sums for w and b go over the examples, that for ∂x over the frequencies; it is computed
        only if ``d_values``, as ``values``, is given. y, ``angle`` and ``values`` are `periodic`'s;
        dy and ``angle`` are used up. ``scaled`` is scratch as w.
        """
        xp, c = self.xp, frequencies.shape[-2]
        self._angle_gradient(dy, y, angle, pairs=d_phases is None)
        delta = by_member(angle, c)
        of_w = d_frequencies[..., None, :]
        xp.matmul(by_member(values, c).swapaxes(-1, -2), delta, out=of_w)
        xp.multiply(d_frequencies, 2 * math.pi, out=d_frequencies)
        if d_phases is not None:
            self.sum_examples(delta, d_phases[..., None, :])
        if d_values is not None:
            xp.multiply(frequencies, 2 * math.pi, out=scaled)
            xp.matmul(delta, scaled[..., None], out=by_member(d_values, c))

    def _angle_gradient(self, dy: Array, y: Array, angle: Array, pairs: bool) -> None:
        """Write δ to ``angle``; dy is used up."""
        xp, k = self.xp, angle.shape[-1]
        if not pairs:
            xp.multiply(dy, angle, out=angle)
            xp.negative(angle, out=angle)
            return
        xp.multiply(dy[..., k:], y[..., :k], out=angle)
        of_cosines = dy[..., :k]
        xp.multiply(of_cosines, y[..., k:], out=of_cosines)
        xp.subtract(angle, of_cosines, out=angle)

    def place_blocks(
        self, x: Array, values: Array, rows: Array, work: ColumnWork, out: Array
    ) -> None:
        """Write the columns that are passed on, then the blocks: each its column's ``rows``.

        ``rows`` have shape (…, c n, d). Where blocks are wider by one they begin with the column
        itself, of which ``values`` (…, c n, 1) has the numbers.
        """
        xp, c, first = self.xp, len(work.columns), work.n_others
        if first:
            self._take(x, work.order, -1, work.ordered)
            xp.copyto(out[..., :first], work.ordered[..., :first])
        blocks = blocks_of(out, work)
        beside = blocks.shape[-1] - rows.shape[-1]
        if beside:
            xp.copyto(blocks[..., :1], by_member(values, c).swapaxes(-2, -3))
        xp.copyto(blocks[..., beside:], by_member(rows, c).swapaxes(-2, -3))

    def take_blocks(self, dy: Array, work: ColumnWork, d_rows: Array) -> None:
        """Write the gradient of `place_blocks` with respect to its ``rows``."""
        blocks = blocks_of(dy, work)
        beside = blocks.shape[-1] - d_rows.shape[-1]
        rows = by_member(d_rows, len(work.columns))
        self.xp.copyto(rows, blocks[..., beside:].swapaxes(-2, -3))

    def embedded_columns_backward(
        self, dy: Array, d_values: Array, work: ColumnWork, beside: bool, dx: Array
    ) -> None:
        """∂X: dy where a column has been passed on, ``d_values`` (…, c n, 1) where it is embedded.

        If blocks have the column itself ``beside`` the embedding, dy of that as well.
        """
        xp, first = self.xp, work.n_others
        columns = work.ordered[..., first:]
        xp.copyto(work.ordered[..., :first], dy[..., :first])
        xp.copyto(columns, by_member(d_values, len(work.columns))[..., 0].swapaxes(-1, -2))
        if beside:
            xp.add(columns, blocks_of(dy, work)[..., 0], out=columns)
        self._take(work.ordered, work.places, -1, dx)
