"""A stack of dense layers in one compiled call: what predicts few examples.

For few examples BLAS takes most of its time to prepare, and Python takes more than BLAS does. Here
a product goes through W as it lies: four rows of it at a time meet four examples, whose sixteen
sums stay in registers, so a row of W is read once for four examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from .._typing import Array
from .activations import ROWS
from .dense_stack import ACTIVATION, BATCH_NORM, PRODUCT
from .numba_members import Vector, compiled, inlined
from .numba_rows import scalar_function


def _finite(x: Array) -> bool:
    """Return whether all are: a number times 0 is 0, anything else NaN."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j] * x.dtype.type(0)
    return total == 0


def _one_row(x: Array, w: Array, out: Array) -> None:
    """X Wᵀ of one example, four outputs at a time; the last ones again where m is no multiple."""
    last, zero = w.shape[0] - 1, x.dtype.type(0)
    for j in range(0, w.shape[0], 4):
        j1, j2, j3 = min(j + 1, last), min(j + 2, last), min(j + 3, last)
        s0 = s1 = s2 = s3 = zero
        for k in range(x.shape[1]):
            v = x[0, k]
            s0 += v * w[j, k]
            s1 += v * w[j1, k]
            s2 += v * w[j2, k]
            s3 += v * w[j3, k]
        out[0, j], out[0, j1], out[0, j2], out[0, j3] = s0, s1, s2, s3


def _rows(x: Array, w: Array, out: Array) -> None:
    """X Wᵀ, four outputs of four examples at a time; the last ones again at the edges."""
    last_row, last, zero = x.shape[0] - 1, w.shape[0] - 1, x.dtype.type(0)
    for j in range(0, w.shape[0], 4):
        j1, j2, j3 = min(j + 1, last), min(j + 2, last), min(j + 3, last)
        for i in range(0, x.shape[0], 4):
            i1, i2, i3 = min(i + 1, last_row), min(i + 2, last_row), min(i + 3, last_row)
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for k in range(x.shape[1]):
                a, b, c, d = x[i, k], x[i1, k], x[i2, k], x[i3, k]
                v = w[j, k]
                s00 += a * v
                s10 += b * v
                s20 += c * v
                s30 += d * v
                v = w[j1, k]
                s01 += a * v
                s11 += b * v
                s21 += c * v
                s31 += d * v
                v = w[j2, k]
                s02 += a * v
                s12 += b * v
                s22 += c * v
                s32 += d * v
                v = w[j3, k]
                s03 += a * v
                s13 += b * v
                s23 += c * v
                s33 += d * v
            out[i, j], out[i, j1], out[i, j2], out[i, j3] = s00, s01, s02, s03
            out[i1, j], out[i1, j1], out[i1, j2], out[i1, j3] = s10, s11, s12, s13
            out[i2, j], out[i2, j1], out[i2, j2], out[i2, j3] = s20, s21, s22, s23
            out[i3, j], out[i3, j1], out[i3, j2], out[i3, j3] = s30, s31, s32, s33


def _add_row(z: Array, row: Vector) -> None:
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] += row[j]


def _standardise(
    z: Array, gamma: Vector, beta: Vector, mean: Vector, variance: Vector, eps: float
) -> None:
    """In place z ← γ (z − μ) / √(σ² + ε) + β."""
    scale = gamma / np.sqrt(variance + z.dtype.type(eps))
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] = (z[i, j] - mean[j]) * scale[j] + beta[j]


finite, one_row, rows = (inlined(f, "reassoc") for f in (_finite, _one_row, _rows))
add_row, standardise = inlined(_add_row), inlined(_standardise)


def activate(kind: int, z: Array, option: float) -> None:
    """In place z ← f(z), in the loop that is made; this one has no rows."""


def _stack(
    x: Array,
    parameters: Vector,
    statistics: Vector,
    table: Array,
    options: Vector,
    room: Array,
    out: Array,
) -> None:
    """Go through a stack; ``room`` has two rows, which hold the outputs of steps in turns."""
    n, steps, turn, a = x.shape[0], table.shape[0], 0, x
    if table[0, 0] != PRODUCT:  # it would write over the caller's
        a, turn = room[0, : x.size].reshape(x.shape), 1
        a[:, :] = x
    for s in range(steps):
        operation, m_in, m_out, at, more = table[s, 0], table[s, 1], table[s, 2], table[s, 3], 0
        if operation == ACTIVATION:
            activate(at, a, options[s])
        elif operation == BATCH_NORM:
            beta, mean, variance = table[s, 4], table[s, 5], table[s, 6]
            standardise(
                a,
                parameters[at : at + m_out],
                parameters[beta : beta + m_out],
                statistics[mean : mean + m_out],
                statistics[variance : variance + m_out],
                options[s],
            )
        else:
            w, more = parameters[at : at + m_in * m_out].reshape(m_out, m_in), table[s, 4]
            z = room[turn, : n * m_out].reshape(n, m_out)
            if n == 1:
                one_row(a, w, z)
            else:
                rows(a, w, z)
            if more >= 0:
                add_row(z, parameters[more : more + m_out])
            a, turn = z, 1 - turn
    out[:, :] = a


def _dense_stack(
    x: Array,
    parameters: Array,
    statistics: Array,
    table: Array,
    options: Vector,
    widest: int,
    out: Array,
) -> bool:
    """Go through a stack of one network, or of each member; return whether x is finite."""
    if not finite(x):
        return False
    room = np.empty((2, x.shape[0] * widest), x.dtype)
    if out.ndim == 2:
        stack(x, parameters, statistics, table, options, room, out)
    else:
        for i in range(len(out)):
            stack(x, parameters[i], statistics[i], table, options, room, out[i])
    return True


@cache
def dense_stack() -> Callable[..., bool]:
    """Return the loop over a stack, with all rows of the activations.

    Machine code is kept under a function's name: this one's changes with the table of activations.
    """
    sources = [row.forward.to_python(f"f{kind}") for kind, row in enumerate(ROWS.values())]
    digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
    lines, found = ["def activate(kind, z, option):"], {}
    for kind, source in enumerate(sources):
        found[f"f{kind}"] = scalar_function(f"f{kind}", source)
        lines += [
            f"    if kind == {kind}:",
            "        for i in range(z.shape[0]):",
            "            for j in range(z.shape[1]):",
            f"                z[i, j] = f{kind}(z[i, j], z[i, j], option)",
        ]
    exec(compile("\n".join(lines), __file__, "exec"), found)
    inner = _with(_stack, "_stack", activate=inlined(found["activate"]))
    return compiled(_with(_dense_stack, f"dense_stack_{digest}", stack=inlined(inner)))


def _with(function: Callable[..., Any], name: str, **functions: Any) -> Callable[..., Any]:
    """Return a function of another name, with some in place of its globals."""
    code = function.__code__.replace(co_name=name)
    made = FunctionType(code, {**function.__globals__, **functions}, name)
    made.__qualname__, made.__module__ = name, function.__module__
    return made
