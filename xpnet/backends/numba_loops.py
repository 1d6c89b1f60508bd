"""Loops over arrays that Numba compiles: one pass over memory where NumPy makes several.

How they are written decides whether LLVM makes vectors of them: over whole rows, from 0 up, each
writing few arrays, and all numbers of the arrays' own type. Sums over examples are taken in blocks
of rows, so that float32 keeps its digits over long batches; those along a row in any order. Arrays
are contiguous and have two axes, examples and features, or one; parameters and statistics of a
layer have shape (1, m). Each loop is for one network; `network_loop` makes it one for several.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._typing import Array
from ..randomness import GAMMA, MULTIPLIER_1, MULTIPLIER_2
from .numba_members import Cell, Vector, compiled, network_loop, summing_loop
from .numba_transpose import transpose_one

#: At least so many rows are added up before their sum is added to that of the rows before.
BLOCK = 128


# -- loops that compute an activation as well: `numba_rows` makes them, row by row ----


def forward(z: Any, y: Any, option: float) -> Any:
    """f(z), in the loops that are made; this one is the identity."""
    return z


def backward(dy: Any, kept: Any, option: float) -> Any:
    """dy · f', in the loops that are made; this one is the identity's."""
    return dy


@compiled
def _rows_per_block(n: int) -> int:
    """Return how many rows to add up at a time: √n of them lose the fewest digits."""
    return max(BLOCK, int(math.sqrt(n)))


@compiled
def sign_of(x: Any) -> Any:
    """1, −1, or x itself if it is 0 or NaN."""
    one = type(x)(1)
    if x > 0:
        return one
    return -one if x < 0 else x


@network_loop
def erf(x: Array, out: Array) -> None:
    """Write the error function of float32 numbers, right to 5e-8; SciPy takes 35 times as long.

    It is x P(x²) / Q(x²), fitted to erf's relative error on [−3.92, 3.92], beyond which it is ±1 in
    float32. The polynomials are computed in float64.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            c: Any = np.float64(x[i, j])
            c = 3.92 if c > 3.92 else c
            c = -3.92 if c < -3.92 else c
            t = c * c
            p = ((2.05008553726e-06 * t + 0.000284883897636) * t + 0.00376565366669) * t
            p = ((p + 0.0527488379505) * t + 0.19040727194) * t + 1.12837914613
            q = ((3.80917586387e-05 * t + 0.00116254505625) * t + 0.01496928998) * t
            q = ((q + 0.114109452056) * t + 0.502076791933) * t + 1.0
            out[i, j] = c * p / q


# -- linear layers ----


def bias_activation(z: Array, bias: Array, option: float) -> None:
    """In place z ← f(z + b)."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[i, j] + bias[0, j]
            z[i, j] = forward(v, v, option)


def transposed_bias_activation(zt: Array, bias: Array, option: float, z: Array) -> None:
    """Z = f(ztᵀ + b)."""
    transpose_one(zt, z)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[i, j] + bias[0, j]
            z[i, j] = forward(v, v, option)


def bias_activation_backward(
    dy: Array, kept: Array, option: float, scale: float, total: Array
) -> None:
    """In place dy ← dy · f' · scale; total = Σ dy over the examples."""
    n, rows, up = len(dy), _rows_per_block(len(dy)), dy.dtype.type(scale)
    block = np.empty_like(total[0])
    total[...] = 0
    for start in range(0, n, rows):
        block[...] = 0
        for i in range(start, min(start + rows, n)):
            for j in range(dy.shape[1]):
                v = up * backward(dy[i, j], kept[i, j], option)
                dy[i, j] = v
                block[j] += v
        for j in range(dy.shape[1]):
            total[0, j] += block[j]


@network_loop
def outer(dy: Array, x: Array, d_weight: Array) -> None:
    """∂W = δᵀ x for one example."""
    for i in range(dy.shape[1]):
        for j in range(x.shape[1]):
            d_weight[i, j] = dy[0, i] * x[0, j]


# -- batch norm ----


@network_loop
def moments(x: Array, mean: Array, variance: Array) -> None:
    """Mean and variance (biased) of each feature."""
    n, m = x.shape
    rows = _rows_per_block(n)
    inverse_n = x.dtype.type(1.0 / n)
    block = np.empty_like(mean[0])
    mean[...] = 0
    for start in range(0, n, rows):
        block[...] = 0
        for i in range(start, min(start + rows, n)):
            for j in range(m):
                block[j] += x[i, j]
        for j in range(m):
            mean[0, j] += block[j] * inverse_n
    variance[...] = 0
    for start in range(0, n, rows):
        block[...] = 0
        for i in range(start, min(start + rows, n)):
            for j in range(m):
                d = x[i, j] - mean[0, j]
                block[j] += d * d
        for j in range(m):
            variance[0, j] += block[j] * inverse_n


def normalise(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    inverse: Array,
    out: Array,
    option: float,
) -> None:
    """x ← x̂ = (x − μ) · inverse deviation, in place; out = f(γ x̂ + β)."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = (x[i, j] - mean[0, j]) * inverse[0, j]
        for j in range(x.shape[1]):
            v = gamma[0, j] * x[i, j] + beta[0, j]
            out[i, j] = forward(v, v, option)


def standardise(
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    mean: Array,
    variance: Array,
    option: float,
) -> None:
    """In place x ← f(γ (x − μ) / √(σ² + ε) + β), with given statistics."""
    epsilon = x.dtype.type(eps)
    scale = gamma[0] / np.sqrt(variance[0] + epsilon)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = (x[i, j] - mean[0, j]) * scale[j] + beta[0, j]
            x[i, j] = forward(v, v, option)


def normalise_back(
    dy: Array,
    kept: Array,
    option: float,
    scale: float,
    x_hat: Array,
    gamma: Array,
    inverse: Array,
    d_gamma: Array,
    d_beta: Array,
    dx: Array,
) -> None:
    """∂γ, ∂β and ∂x from dy · f' · scale."""
    n, m = dy.shape
    rows = _rows_per_block(n)
    up, inverse_n = dy.dtype.type(scale), dy.dtype.type(1.0 / n)
    sums, products = np.empty_like(gamma[0]), np.empty_like(gamma[0])
    d_beta[...] = 0
    d_gamma[...] = 0
    for start in range(0, n, rows):
        sums[...] = 0
        products[...] = 0
        for i in range(start, min(start + rows, n)):
            for j in range(m):
                v = up * backward(dy[i, j], kept[i, j], option)
                dx[i, j] = v
                sums[j] += v
                products[j] += v * x_hat[i, j]
        for j in range(m):
            d_beta[0, j] += sums[j]
        for j in range(m):
            d_gamma[0, j] += products[j]
    factor = gamma[0] * inverse[0]
    sums[...] = d_beta[0] * inverse_n
    products[...] = d_gamma[0] * inverse_n
    for i in range(n):
        for j in range(m):
            dx[i, j] = factor[j] * (dx[i, j] - sums[j] - x_hat[i, j] * products[j])


@network_loop
def average(average: Array, value: Array, scale: float, fraction: float) -> None:
    """In place average ← average + fraction · (scale · value − average)."""
    s, f = value.dtype.type(scale), value.dtype.type(fraction)
    for j in range(average.shape[1]):
        average[0, j] += f * (s * value[0, j] - average[0, j])


# -- dropout ----


@network_loop
def draw(counters: Array, key: Any, bits: Array) -> None:
    """Bits = mix64(counters + key)."""
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            x: Any = counters[i, j] + key
            x = (x ^ (x >> np.uint64(30))) * np.uint64(MULTIPLIER_1)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(MULTIPLIER_2)
            bits[i, j] = x ^ (x >> np.uint64(31))


@network_loop
def drop_in_place(x: Array, key: Any, salt: Any, threshold: int) -> None:
    """Draw and drop, row by row; the counters follow from the salt."""
    n, m = x.shape
    zero, limit = x.dtype.type(0), np.uint16(threshold)
    up = x.dtype.type(65536 / (65536 - threshold))
    step = np.uint64(GAMMA)
    bits = np.empty((m + 3) // 4, np.uint64)
    lanes = bits.view(np.uint16)
    for i in range(n):
        first = key + salt + np.uint64(i) * np.uint64(len(bits)) * step
        for j in range(len(bits)):
            v = first + np.uint64(j) * step
            v = (v ^ (v >> np.uint64(30))) * np.uint64(MULTIPLIER_1)
            v = (v ^ (v >> np.uint64(27))) * np.uint64(MULTIPLIER_2)
            bits[j] = v ^ (v >> np.uint64(31))
        for j in range(m):
            x[i, j] = x[i, j] * (up if lanes[j] >= limit else zero)


@network_loop
def drop(x: Array, bits: Array, threshold: int, mask: Array, out: Array) -> None:
    """Turn bits into the mask, and multiply x by it."""
    zero, limit = x.dtype.type(0), np.uint16(threshold)
    up = x.dtype.type(65536 / (65536 - threshold))
    for i in range(x.shape[0]):
        lanes = bits[i].view(np.uint16)
        for j in range(x.shape[1]):
            mask[i, j] = up if lanes[j] >= limit else zero
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * mask[i, j]


# -- softmax ----


@network_loop
def subtract_max(z: Array, out: Array) -> None:
    """Out = z − max z."""
    for i in range(z.shape[0]):
        largest = z[i, 0]
        for j in range(1, z.shape[1]):
            if z[i, j] > largest:  # a NaN passes, and comes out of the sum
                largest = z[i, j]
        for j in range(z.shape[1]):
            out[i, j] = z[i, j] - largest


@network_loop
def exp(z: Array) -> None:
    """In place z ← exp(z)."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] = math.exp(z[i, j])


@summing_loop
def divide_by_sum(z: Array) -> None:
    """In place z ← z / Σ z."""
    for i in range(z.shape[0]):
        total = z.dtype.type(0)
        for j in range(z.shape[1]):
            total += z[i, j]
        for j in range(z.shape[1]):
            z[i, j] /= total


@network_loop
def softmax(z: Array, out: Array) -> None:
    """Softmax of each row, in one call."""
    subtract_max(z, out)
    exp(out)
    divide_by_sum(out)


# -- softmax and cross-entropy: what goes before exp and what comes after it ----


@network_loop
def subtract_row_max(z: Array, y: Vector, target_logit: Array, dz: Array) -> None:
    """dz = z − max z; target_logit = dz at the label, 0 where there is no such class."""
    n, m = z.shape
    for i in range(n):
        largest = z[i, 0]
        for j in range(1, m):
            if z[i, j] > largest:  # a NaN passes, and comes out of the sum
                largest = z[i, j]
        for j in range(m):
            dz[i, j] = z[i, j] - largest
        target_logit[i, 0] = dz[i, y[i]] if 0 <= y[i] < m else dz.dtype.type(0)


@network_loop
def subtract_row(z: Array, y: Vector, largest: Array, target_logit: Array, dz: Array) -> None:
    """`subtract_row_max` of rows whose largest element is known."""
    n, m = z.shape
    for i in range(n):
        for j in range(m):
            dz[i, j] = z[i, j] - largest[i, 0]
        target_logit[i, 0] = dz[i, y[i]] if 0 <= y[i] < m else dz.dtype.type(0)


@summing_loop
def smooth(dz: Array, smoothing: float, target_logit: Array) -> None:
    """target_logit ← (1 − ε) target_logit + ε · the mean of the row."""
    n, m = dz.shape
    label, others = dz.dtype.type(1 - smoothing), dz.dtype.type(smoothing / m)
    for i in range(n):
        total = dz.dtype.type(0)
        for j in range(m):
            total += dz[i, j]
        target_logit[i, 0] = label * target_logit[i, 0] + others * total


@summing_loop
def softmax_cross_entropy_backward(
    dz: Array,
    y: Vector,
    smoothing: float,
    target_logit: Array,
    example_weights: Array,
    example_weight: float,
    loss: Cell,
) -> None:
    """From exp(z − max z): dz = (softmax − t) · weight; loss = Σ weight · (log Σ exp − own)."""
    n, m = dz.shape
    zero, one, each = dz.dtype.type(0), dz.dtype.type(1), dz.dtype.type(example_weight)
    label, others = dz.dtype.type(1 - smoothing), dz.dtype.type(smoothing / m)
    cost = 0.0
    for i in range(n):
        part = each * example_weights[i, 0]
        total = zero
        for j in range(m):
            total += dz[i, j]
        factor, shift = part * (one / total), part * others
        for j in range(m):
            dz[i, j] = dz[i, j] * factor - shift
        if 0 <= y[i] < m:
            dz[i, y[i]] -= part * label
        cost += part * (math.log(total) - target_logit[i, 0])
    loss[()] = cost


# -- losses of one output at a time: `numba_rows` compiles a loop for each row ----


def _output_loss(z: Any, y: Any, dz: Any, term: Any, *options: float) -> Any:
    """Stand in for a row's function, which is put in place of this one."""
    raise NotImplementedError


def output_loss(
    z: Array,
    y: Array,
    options: tuple[float, ...],
    terms: Array,
    dz: Array,
    example_weights: Array,
    example_weight: float,
    loss: Cell,
) -> None:
    """dz = derivative · weight; loss = Σ weight · term. The function is told what was in both."""
    zero, each = z.dtype.type(0), z.dtype.type(example_weight)
    cost = 0.0
    for i in range(z.shape[0]):
        part, total = each * example_weights[i, 0], zero
        for j in range(z.shape[1]):
            given = z[i, j], y[i, j], dz[i, j], terms[i, j]
            derivative, term = _output_loss(*given, *options)
            dz[i, j] = part * derivative
            total += term
        cost += part * total
    loss[()] = cost


# -- optimisers, over the flat buffers ----


@network_loop
def decay(g: Vector, p: Vector, factor: float) -> None:
    """G ← g + factor · p."""
    f = g.dtype.type(factor)
    for i in range(len(p)):
        g[i] += f * p[i]


# Loops over a row's update, for so many moments: `numba_rows` compiles one for each row.


def _update(p: Any, g: Any, *numbers: Any) -> Any:
    """Stand in for a row's function, which is put in place of this one."""
    raise NotImplementedError


def update_0(p: Vector, g: Vector, numbers: tuple[float, ...]) -> None:
    """Update p."""
    for i in range(len(p)):
        p[i] = _update(p[i], g[i], *numbers)


def update_1(p: Vector, g: Vector, v: Vector, numbers: tuple[float, ...]) -> None:
    """Update p and a moment."""
    for i in range(len(p)):
        p[i], v[i] = _update(p[i], g[i], v[i], *numbers)


def update_2(p: Vector, g: Vector, v: Vector, s: Vector, numbers: tuple[float, ...]) -> None:
    """Update p and two moments."""
    for i in range(len(p)):
        p[i], v[i], s[i] = _update(p[i], g[i], v[i], s[i], *numbers)


def factored_0(
    p: Vector, g: Vector, a: Vector, b: Vector, c: Vector, numbers: tuple[float, ...]
) -> None:
    """Update p by factors a, b and c."""
    for i in range(len(p)):
        p[i] = _update(p[i], g[i], a[i], b[i], c[i], *numbers)


def factored_1(
    p: Vector, g: Vector, v: Vector, a: Vector, b: Vector, c: Vector, numbers: tuple[float, ...]
) -> None:
    """Update p and a moment by factors."""
    for i in range(len(p)):
        p[i], v[i] = _update(p[i], g[i], v[i], a[i], b[i], c[i], *numbers)


def factored_2(
    p: Vector,
    g: Vector,
    v: Vector,
    s: Vector,
    a: Vector,
    b: Vector,
    c: Vector,
    numbers: tuple[float, ...],
) -> None:
    """Update p and two moments by factors."""
    for i in range(len(p)):
        p[i], v[i], s[i] = _update(p[i], g[i], v[i], s[i], a[i], b[i], c[i], *numbers)


#: By the number of moments: without factors, and with them.
UPDATE_LOOPS = (update_0, update_1, update_2)
FACTORED_LOOPS = (factored_0, factored_1, factored_2)


@network_loop
def observe(loss: Cell, n: int, total: Cell, steps: Cell, finite: Cell) -> None:
    """Add a loss of n examples up, and count the steps whose sum is finite."""
    total[()] += n * loss[()]
    finite[()] = math.isfinite(total[()])
    steps[()] += finite[()]
