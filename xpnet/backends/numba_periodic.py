"""Loops over waves of columns of numbers, which Numba compiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from .numba_loops import _rows_per_block
from .numba_members import Vector, compiled, network_loop, summing_loop

_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_INVERSE_2_PI = np.float32(0.5 / np.pi)

#: sin(2πr) / r and cos(2πr), in r², fitted on |r| ≤ 1/4: right to 1e-8, before rounding.
_SINE = tuple(map(np.float32, (6.28318519, -41.3416607, 81.6012907, -76.5553987, 39.5743293)))
_COSINE = tuple(
    map(np.float32, (1.0, -19.7392085, 64.9393466, -85.4535716, 60.1440152, -24.982238))
)


@compiled
def wave(t: Any) -> tuple[Any, Any]:
    """cos 2πt and sin 2πt of a float32 number; compilers make vectors of it, as of no libm's.

    With r = t − q/2 for the whole number q that makes |r| ≤ 1/4, both are those of r times (−1)^q.
    """
    q = np.floor(_TWO * t + _HALF)
    r = t - _HALF * q
    z = r * r
    sign = _ONE - _TWO * (q - _TWO * np.floor(_HALF * q))
    s = ((_SINE[4] * z + _SINE[3]) * z + _SINE[2]) * z
    s = (s + _SINE[1]) * z + _SINE[0]
    c = ((_COSINE[5] * z + _COSINE[4]) * z + _COSINE[3]) * z
    c = ((c + _COSINE[2]) * z + _COSINE[1]) * z + _COSINE[0]
    return sign * c, sign * r * s


@network_loop
def pairs(x: Array, columns: Vector, frequencies: Array, values: Array, out: Array) -> None:
    """Write each column, and of it [cos 2πwx, sin 2πwx]; in float32."""
    n, k = len(x), frequencies.shape[1]
    for block in range(len(columns)):
        w = frequencies[block]
        for i in range(n):
            v = x[i, columns[block]]
            row = block * n + i
            values[row, 0] = v
            cosines, sines = out[row, :k], out[row, k:]
            for j in range(k):
                cosines[j], sines[j] = wave(v * w[j])


@network_loop
def with_phases(
    x: Array,
    columns: Vector,
    frequencies: Array,
    phases: Array,
    values: Array,
    sines: Array,
    out: Array,
    wanted: bool,
) -> None:
    """Write each column, and of it cos(2πwx + b), and if they are ``wanted`` sines; in float32."""
    n = len(x)
    for block in range(len(columns)):
        w, b = frequencies[block], phases[block]
        for i in range(n):
            v = x[i, columns[block]]
            row = block * n + i
            values[row, 0] = v
            c, s = out[row], sines[row]
            if wanted:
                for j in range(len(w)):
                    c[j], s[j] = wave(v * w[j] + _INVERSE_2_PI * b[j])
            else:
                for j in range(len(w)):
                    c[j] = wave(v * w[j] + _INVERSE_2_PI * b[j])[0]


@compiled
def _dot(a: Array, b: Array) -> Any:
    """Σ a b."""
    total = a.dtype.type(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@summing_loop
def pairs_backward(
    dy: Array,
    y: Array,
    values: Array,
    frequencies: Array,
    d_frequencies: Array,
    d_values: Array,
    wanted: bool,
) -> None:
    """∂w = 2π Σ δ x with δ = ∂sin cos − ∂cos sin; ∂x = 2π Σ δ w, if it is ``wanted``."""
    c, k = d_frequencies.shape
    n = len(values) // c
    rows, turn = _rows_per_block(n), dy.dtype.type(2 * np.pi)
    part, delta = np.empty_like(d_frequencies[0]), np.empty_like(d_frequencies[0])
    d_frequencies[...] = 0
    for block in range(c):
        for start in range(0, n, rows):
            part[...] = 0
            for i in range(block * n + start, block * n + min(start + rows, n)):
                v = values[i, 0]
                for j in range(k):
                    delta[j] = dy[i, k + j] * y[i, j] - dy[i, j] * y[i, k + j]
                    part[j] += delta[j] * v
                if wanted:
                    d_values[i, 0] = turn * _dot(delta, frequencies[block])
            for j in range(k):
                d_frequencies[block, j] += turn * part[j]


@summing_loop
def with_phases_backward(
    dy: Array,
    sines: Array,
    values: Array,
    frequencies: Array,
    d_frequencies: Array,
    d_phases: Array,
    d_values: Array,
    wanted: bool,
) -> None:
    """Do the same with δ = −dy sin, and ∂b = Σ δ."""
    c, k = d_frequencies.shape
    n = len(values) // c
    rows, turn = _rows_per_block(n), dy.dtype.type(2 * np.pi)
    delta = np.empty_like(d_frequencies[0])
    part, part_of_phases = np.empty_like(d_frequencies[0]), np.empty_like(d_frequencies[0])
    d_frequencies[...] = 0
    d_phases[...] = 0
    for block in range(c):
        for start in range(0, n, rows):
            part[...] = 0
            part_of_phases[...] = 0
            for i in range(block * n + start, block * n + min(start + rows, n)):
                v = values[i, 0]
                for j in range(k):
                    delta[j] = -dy[i, j] * sines[i, j]
                    part[j] += delta[j] * v
                    part_of_phases[j] += delta[j]
                if wanted:
                    d_values[i, 0] = turn * _dot(delta, frequencies[block])
            for j in range(k):
                d_frequencies[block, j] += turn * part[j]
                d_phases[block, j] += part_of_phases[j]
