"""Loops over columns of codes that Numba compiles: one-hot blocks, embeddings, their gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from .numba_members import Vector, compiled, network_loop

#: Up to so many rows are added up one after the other; longer batches in parts, for float32 to keep
#: its digits.
LONG_BATCH = 4096


@compiled
def category_of(code: Any, size: int) -> int:
    """Return the category that a code stands for; −1 if it is none of 0 … size − 1."""
    if not 0 <= code < size:  # NaN too
        return -1
    category = int(code)
    return category if category == code else -1


@network_loop
def one_hot(x: Array, source: Vector, columns: Vector, sizes: Vector, out: Array) -> None:
    """Write the other columns, then the blocks: zeros, and a 1 in the place of the category."""
    zero, one = out.dtype.type(0), out.dtype.type(1)
    others = x.shape[1] - len(columns)
    for i in range(x.shape[0]):
        for j in range(others):
            out[i, j] = x[i, source[j]]
        out[i, others:] = zero
        place: Any = others
        for block in range(len(columns)):
            category = category_of(x[i, columns[block]], sizes[block])
            if category >= 0:
                out[i, place + category] = one
            place += sizes[block]


@network_loop
def embedding(
    x: Array,
    weight: Array,
    source: Vector,
    columns: Vector,
    sizes: Vector,
    starts: Vector,
    out: Array,
) -> None:
    """Write the other columns, then the blocks: rows of the tables."""
    zero, dims = out.dtype.type(0), weight.shape[1]
    others = x.shape[1] - len(columns)
    for i in range(x.shape[0]):
        for j in range(others):
            out[i, j] = x[i, source[j]]
        place = others
        for block in range(len(columns)):
            category = category_of(x[i, columns[block]], sizes[block])
            if category >= 0:
                row = starts[block] + category
                for j in range(dims):
                    out[i, place + j] = weight[row, j]
            else:
                for j in range(dims):
                    out[i, place + j] = zero
            place += dims


@network_loop
def embedding_backward(
    dy: Array, x: Array, columns: Vector, sizes: Vector, starts: Vector, d_weight: Array
) -> None:
    """∂W: each example's δ is added to the row of its category."""
    n = len(dy)
    d_weight[...] = 0
    if n <= LONG_BATCH:
        _add_rows(dy, x, columns, sizes, starts, d_weight)
        return
    part = np.empty_like(d_weight)
    for start in range(0, n, LONG_BATCH):
        stop = min(start + LONG_BATCH, n)
        part[...] = 0
        _add_rows(dy[start:stop], x[start:stop], columns, sizes, starts, part)
        d_weight += part


@compiled
def _add_rows(
    dy: Array, x: Array, columns: Array, sizes: Array, starts: Array, d_weight: Array
) -> None:
    """Add some examples' δ to the rows of their categories."""
    dims, others = d_weight.shape[1], x.shape[1] - len(columns)
    for i in range(len(dy)):
        place = others
        for block in range(len(columns)):
            category = category_of(x[i, columns[block]], sizes[block])
            if category >= 0:
                row = starts[block] + category
                for j in range(dims):
                    d_weight[row, j] += dy[i, place + j]
            place += dims
