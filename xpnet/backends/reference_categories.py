"""The reference kernels of categories, whose codes stand in columns of the input."""

from __future__ import annotations

from collections.abc import Iterator

from .._typing import Array
from .reference_sums import SumKernels
from .work import CategoryWork


def each_network(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield the arrays of one network after the other.

    They lie along the axes before the last two of the first array.
    """
    if arrays[0].ndim == 2:
        yield arrays
        return
    for i in range(len(arrays[0])):
        yield from each_network(*(array[i] for array in arrays))


class CategoryKernels(SumKernels):
    """The reference kernels of categories; see `reference.Kernels`.

    An input x (…, n, m) has columns of codes, which ``work`` names. A code is a number 0, 1, 2, …
    below the column's number of categories. Any other, as −1, 0.5 or NaN, stands for no category.
    """

    def one_hot(self, x: Array, work: CategoryWork, out: Array) -> None:
        """Write the other columns, then 1 or 0 for each category of each column of codes."""
        self._take(x, work.source, -1, out)
        blocks = out[..., work.n_others :]
        self.xp.equal(blocks, work.categories, out=blocks)

    def embedding(self, x: Array, weight: Array, work: CategoryWork, out: Array) -> None:
        """Write the other columns, then the embedding of each code: zeros for no category.

        ``weight`` (…, N, n_dims) has the columns' tables, one below another.
        """
        self._take(x, work.source, -1, out)
        blocks = work.blocks(out)
        self._find(blocks[..., 0], work)
        for table, places, rows in each_network(weight, work.places, blocks):
            self._take(table, places, 0, rows)
        self.xp.copyto(blocks, 0.0, where=work.unknown[..., None])

    def _find(self, codes: Array, work: CategoryWork) -> None:
        """Write in which rows the codes' embeddings stand, and whether there are none."""
        xp, places = self.xp, work.places
        xp.copyto(places, codes, casting="unsafe")  # of what is no whole number anything is made
        xp.maximum(places, 0, out=places)
        xp.minimum(places, work.last, out=places)
        xp.not_equal(places, codes, out=work.unknown)
        xp.add(places, work.starts, out=places)

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """∂W: for each category the sum of its examples' δ, zero where there are none."""
        networks = each_network(d_weight, x, work.blocks(dy), work.hot, work.block)
        for tables, rows, blocks, hot, delta in networks:
            start = 0
            for block, (column, size) in enumerate(work.coded):
                codes, table = rows[:, column : column + 1], slice(start, start + size)
                self.xp.copyto(delta, blocks[:, block])
                self._sum_each(codes, work.categories[table], delta, hot, tables[table])
                start += size

    def _sum_each(
        self, codes: Array, categories: Array, delta: Array, hot: Array, out: Array
    ) -> None:
        """Add up δ for each category: the product with one-hot vectors, of some at a time."""
        n, some = hot.shape
        for first in range(0, len(out), some):
            part = out[first : first + some]
            chosen = hot.reshape(-1)[: n * len(part)].reshape(n, len(part))
            self.xp.equal(codes, categories[first : first + some], out=chosen)
            self.xp.matmul(chosen.swapaxes(0, 1), delta, out=part)

    def other_columns_backward(self, dy: Array, work: CategoryWork, dx: Array) -> None:
        """∂X of `one_hot` and `embedding`: dy where a column has been passed on, 0 for codes."""
        self._take(dy, work.target, -1, dx)
        self.xp.copyto(dx, 0.0, where=work.is_coded)

    def _take(self, a: Array, indices: Array, axis: int, out: Array) -> None:
        """Copy what stands at indices, which are all in range."""
        self.xp.take(a, indices, axis=axis, out=out)
