"""Loops over the rows of members that share weights, which Numba compiles.

Those of all examples for a member lie one below another, behind those of the member before.
"""

from __future__ import annotations

import numpy as np

from .._typing import Array
from .numba_loops import _rows_per_block, backward, forward
from .numba_members import network_loop


def member_affine(x: Array, scale: Array, bias: Array, out: Array, option: float) -> None:
    """out = f(x ∘ s + b), with the member's s and b; x has as many rows, or is all members'."""
    n = len(out) // len(scale)
    for row in range(len(out)):
        member = row // n
        source = row % len(x)
        for j in range(out.shape[1]):
            v = x[source, j] * scale[member, j] + bias[member, j]
            out[row, j] = forward(v, v, option)


@network_loop
def member_scale(x: Array, scale: Array, out: Array) -> None:
    """out = x ∘ s."""
    n = len(out) // len(scale)
    for row in range(len(out)):
        member = row // n
        source = row % len(x)
        for j in range(out.shape[1]):
            out[row, j] = x[source, j] * scale[member, j]


def member_affine_backward(
    dy: Array,
    kept: Array,
    x: Array,
    scale: Array,
    d_scale: Array,
    d_bias: Array,
    option: float,
    up: float,
) -> None:
    """In place δ = dy · f' · up, and dy ← δ ∘ s; ∂s = Σ δ ∘ x and ∂b = Σ δ of each member."""
    n, m = len(dy) // len(scale), dy.shape[1]
    rows, factor = _rows_per_block(n), dy.dtype.type(up)
    block, block_of_bias = np.empty_like(scale[0]), np.empty_like(scale[0])
    d_scale[...] = 0
    d_bias[...] = 0
    for member in range(len(scale)):
        for start in range(0, n, rows):
            block[...] = 0
            block_of_bias[...] = 0
            for i in range(start, min(start + rows, n)):
                row = member * n + i
                source = row % len(x)
                for j in range(m):
                    v = factor * backward(dy[row, j], kept[row, j], option)
                    block_of_bias[j] += v
                    block[j] += v * x[source, j]
                    dy[row, j] = v * scale[member, j]
            for j in range(m):
                d_scale[member, j] += block[j]
                d_bias[member, j] += block_of_bias[j]


@network_loop
def member_scale_backward(
    dy: Array, x: Array, scale: Array, d_scale: Array, dx: Array, sums: bool
) -> None:
    """∂s = Σ dy ∘ x of each member; dx = dy ∘ s, added up over the members if it ``sums``."""
    n, m = len(dy) // len(scale), dy.shape[1]
    rows = _rows_per_block(n)
    block = np.empty_like(scale[0])
    d_scale[...] = 0
    if sums:
        dx[...] = 0
    for member in range(len(scale)):
        for start in range(0, n, rows):
            block[...] = 0
            for i in range(start, min(start + rows, n)):
                row = member * n + i
                source = row % len(x)
                for j in range(m):
                    block[j] += dy[row, j] * x[source, j]
                if sums:
                    for j in range(m):
                        dx[i, j] += dy[row, j] * scale[member, j]
                else:
                    for j in range(m):
                        dx[row, j] = dy[row, j] * scale[member, j]
            for j in range(m):
                d_scale[member, j] += block[j]
