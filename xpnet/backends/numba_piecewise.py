"""Loops over columns of numbers and their bins that Numba compiles.

The sum of a column's weights up to a bin is looked up in a table, and a part of that bin's weights
added: so a number costs the same however many bins there are. The way back adds a gradient to its
bin alone; sums from the last bin down then give those of the weights.

``bins`` (6, N) are the bins as `Lines`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from .numba_categories import LONG_BATCH
from .numba_members import Vector, compiled, network_loop


@compiled
def bin_of(x: Any, bins: Array, first: int, count: int) -> int:
    """Return the last of some bins, from ``first`` on, that begins at x or below, or the first."""
    begins: Any = bins[0, first + 1 : first + count]
    found = first
    for t in range(len(begins)):  # several at once: to halve them would be branches that none knows
        found += begins[t] <= x
    return found


@compiled
def value_at(x: Any, bins: Array, t: int) -> Any:
    """Return how far x is in a bin: from 0 to 1, and beyond in an outer one that goes on."""
    value = (x - bins[0, t]) * bins[1, t]
    if value < bins[2, t]:
        return bins[2, t]
    return bins[3, t] if value > bins[3, t] else value


@compiled
def slope_at(x: Any, bins: Array, t: int) -> Any:
    """Return the slope of that."""
    if x < bins[4, t] or x >= bins[5, t]:
        return bins.dtype.type(0)
    return bins[1, t]


@network_loop
def piecewise_encoding(
    x: Array, order: Vector, counts: Vector, firsts: Vector, bins: Array, out: Array
) -> None:
    """Write the other columns, then the blocks: how far x is in each bin."""
    others = len(order) - len(counts)
    for i in range(len(x)):
        for j in range(others):
            out[i, j] = x[i, order[j]]
        for c in range(len(counts)):
            first: Any = firsts[c]
            block: Any = out[i, others + first : others + first + counts[c]]
            low, slope = bins[0, first:], bins[1, first:]
            least, most = bins[2, first:], bins[3, first:]
            v = x[i, order[others + c]]
            for t in range(len(block)):
                value = (v - low[t]) * slope[t]
                value = least[t] if value < least[t] else value  # no branch
                block[t] = most[t] if value > most[t] else value


@network_loop
def piecewise_encoding_backward(
    dy: Array, x: Array, order: Vector, counts: Vector, firsts: Vector, bins: Array, dx: Array
) -> None:
    """∂X: only the bin in which x lies has a slope."""
    others = len(order) - len(counts)
    for i in range(len(x)):
        for j in range(others):
            dx[i, order[j]] = dy[i, j]
        for c in range(len(counts)):
            column = order[others + c]
            v = x[i, column]
            t = bin_of(v, bins, firsts[c], counts[c])
            dx[i, column] = dy[i, others + t] * slope_at(v, bins, t)


@network_loop
def piecewise_embedding(
    x: Array,
    weight: Array,
    bias: Array,
    linear: Array,
    sums: Array,
    order: Vector,
    counts: Vector,
    firsts: Vector,
    bins: Array,
    relu: bool,
    out: Array,
) -> None:
    """Write the other columns, then the blocks. ``linear`` has no rows where there is none."""
    dims, others = weight.shape[1], len(order) - len(counts)
    _add_up(weight, bias, counts, firsts, sums)
    for i in range(len(x)):
        for j in range(others):
            out[i, j] = x[i, order[j]]
        for c in range(len(counts)):
            v, place = x[i, order[others + c]], others + c * dims
            t = bin_of(v, bins, firsts[c], counts[c])
            value, y = value_at(v, bins, t), out[i, place : place + dims]
            full, part = sums[t], weight[t]
            for k in range(dims):
                y[k] = full[k] + value * part[k]
        for c in range(len(linear)):  # a condition above would keep LLVM from making vectors
            v, y, slope = x[i, order[others + c]], out[i, others + c * dims :], linear[c]
            for k in range(dims):
                y[k] += v * slope[k]
        if relu:
            for j in range(others, out.shape[1]):
                if out[i, j] < 0:  # NaN stays
                    out[i, j] = 0


@compiled
def _add_up(weight: Array, bias: Array, counts: Array, firsts: Array, sums: Array) -> None:
    """Write for each bin the column's bias and what the bins below it give, which are full."""
    for c in range(len(counts)):
        sums[firsts[c]] = bias[c]
        first: Any = firsts[c]
        for t in range(first + 1, first + counts[c]):
            for k in range(weight.shape[1]):
                sums[t, k] = sums[t - 1, k] + weight[t - 1, k]


@network_loop
def piecewise_embedding_backward(
    dy: Array,
    kept: Array,
    x: Array,
    sums: Array,
    order: Vector,
    counts: Vector,
    firsts: Vector,
    bins: Array,
    relu: bool,
    d_weight: Array,
    d_bias: Array,
    d_linear: Array,
) -> None:
    """∂W, ∂b and, where it has rows, ∂a. dy is multiplied by the ReLU's slope, if there is one."""
    n = len(dy)
    others = len(order) - len(counts)
    if relu:
        for i in range(n):
            for j in range(others, dy.shape[1]):
                if kept[i, j] <= 0:
                    dy[i, j] = 0
    sums[...] = 0
    d_weight[...] = 0
    d_linear[...] = 0
    if n <= LONG_BATCH:
        _add_rows(dy, x, order, counts, firsts, bins, sums, d_weight, d_linear)
    else:  # in parts, for float32 to keep its digits
        parts = np.empty_like(sums), np.empty_like(sums), np.empty_like(d_linear)
        for start in range(0, n, LONG_BATCH):
            rows = slice(start, min(start + LONG_BATCH, n))
            for part in parts:
                part[...] = 0
            _add_rows(dy[rows], x[rows], order, counts, firsts, bins, *parts)
            sums += parts[0]
            d_weight += parts[1]
            d_linear += parts[2]
    _add_down(sums, counts, firsts, d_weight, d_bias)


@compiled
def _add_rows(
    dy: Array,
    x: Array,
    order: Array,
    counts: Array,
    firsts: Array,
    bins: Array,
    sums: Array,
    d_weight: Array,
    d_linear: Array,
) -> None:
    """Add some examples' δ to their bins: as it is, and by how far they are in it."""
    dims, others = sums.shape[1], len(order) - len(counts)
    for i in range(len(dy)):
        for c in range(len(counts)):
            v, place = x[i, order[others + c]], others + c * dims
            t = bin_of(v, bins, firsts[c], counts[c])
            value, d = value_at(v, bins, t), dy[i, place : place + dims]
            full, part = sums[t], d_weight[t]
            for k in range(dims):
                full[k] += d[k]
                part[k] += value * d[k]
        for c in range(len(d_linear)):
            v, d, slope = x[i, order[others + c]], dy[i, others + c * dims :], d_linear[c]
            for k in range(dims):
                slope[k] += v * d[k]


@compiled
def _add_down(sums: Array, counts: Array, firsts: Array, d_weight: Array, d_bias: Array) -> None:
    """Give each bin the δ of the bins above it, in which it is full; the bias gets all."""
    for c in range(len(counts)):
        d_bias[c] = 0
        first: Any = firsts[c]
        for t in range(first + counts[c] - 1, first - 1, -1):
            for k in range(sums.shape[1]):
                d_weight[t, k] += d_bias[c, k]
                d_bias[c, k] += sums[t, k]


@network_loop
def piecewise_input_gradient(
    dy: Array,
    x: Array,
    weight: Array,
    linear: Array,
    order: Vector,
    counts: Vector,
    firsts: Vector,
    bins: Array,
    dx: Array,
) -> None:
    """∂X of an embedding, behind the ReLU's slope."""
    dims, others = weight.shape[1], len(order) - len(counts)
    for i in range(len(x)):
        for j in range(others):
            dx[i, order[j]] = dy[i, j]
        place: Any = others
        for c in range(len(counts)):
            column = order[others + c]
            v = x[i, column]
            t = bin_of(v, bins, firsts[c], counts[c])
            slope: Any = slope_at(v, bins, t)
            total: Any = dy.dtype.type(0)
            for k in range(dims):
                total += slope * weight[t, k] * dy[i, place + k]
            if len(linear):
                for k in range(dims):
                    total += linear[c, k] * dy[i, place + k]
            dx[i, column] = total
            place += dims
