"""A stack of dense layers in one compiled call: what predicts few examples.

For few examples BLAS takes most of its time to prepare, and Python takes more than BLAS does. Here
a product goes through W as it lies. Up to `FEW` examples stay in rows: four rows of W at a time
meet four of them, whose sixteen sums stay in registers. More become panels, each the features of so
many examples as fit into a vector, side by side: (panels, m, lanes).
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
from .dense_stack import ABSENT, ACTIVATION, BATCH_NORM, PRODUCT, DenseStack
from .numba_members import PARTS, Vector, compiled, inlined
from .numba_rows import scalar_function
from .numba_transpose import transpose_one
from .numba_vectors import TILE, VECTOR, multiply_one, multiply_two

#: Up to so many examples stay in rows, and so many are gone through at a time: what comes out of a
#: layer stays in a near cache.
FEW, BLOCK = 12, 256

#: Up to so many examples a stack is gone through in one call where BLAS has one thread.
AT_ONCE = 8192


def _finite(x: Array) -> bool:
    """Return whether all are: a number times 0 is 0, anything else NaN."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j] * x.dtype.type(0)
    return bool(total == 0)


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


def _standardise_features(
    z: Array, gamma: Vector, beta: Vector, mean: Vector, variance: Vector, eps: float
) -> None:
    """In place z ← γ (z − μ) / √(σ² + ε) + β, of panels."""
    scale = gamma / np.sqrt(variance + z.dtype.type(eps))
    for p in range(z.shape[0]):
        for j in range(z.shape[1]):
            for lane in range(z.shape[2]):
                z[p, j, lane] = (z[p, j, lane] - mean[j]) * scale[j] + beta[j]


def _panels(x: Array, w: Array, bias: Vector, out: Array) -> None:
    """X Wᵀ + b of panels; the rows of W of a tile stay in the nearest cache."""
    pairs = len(x) // 2 * 2
    for j in range(0, w.shape[0], TILE):
        for p in range(0, pairs, 2):
            multiply_two(w, bias, j, x, p, out)  # type: ignore[call-arg]
        if pairs < len(x):
            multiply_one(w, bias, j, x, pairs, out)  # type: ignore[call-arg]


def _pack(x: Array, out: Array) -> None:
    """Make panels of rows; the last one is filled up with the last row."""
    n, lanes = x.shape[0], out.shape[2]
    whole = n // lanes
    for p in range(whole):
        transpose_one(x[p * lanes : (p + 1) * lanes], out[p])
    for p in range(whole, len(out)):
        for k in range(x.shape[1]):
            for lane in range(lanes):
                out[p, k, lane] = x[min(p * lanes + lane, n - 1), k]


def _unpack(x: Array, out: Array) -> None:
    """Make rows of panels."""
    n, lanes = out.shape[0], x.shape[2]
    whole = n // lanes
    for p in range(whole):
        transpose_one(x[p], out[p * lanes : (p + 1) * lanes])
    for i in range(whole * lanes, n):
        for j in range(out.shape[1]):
            out[i, j] = x[whole, j, i - whole * lanes]


finite, one_row, rows = (inlined(f, "reassoc") for f in (_finite, _one_row, _rows))
add_row, standardise = inlined(_add_row), inlined(_standardise)
part_1, part_2 = PARTS[1], PARTS[2]
standardise_features = inlined(_standardise_features)
panels, pack, unpack = inlined(_panels), inlined(_pack), inlined(_unpack)


def activate(kind: Any, z: Array, option: Any) -> None:
    """In place z ← f(z), in the loop that is made; this one has no rows."""


def _through_rows(
    x: Array,
    parameters: Vector,
    statistics: Vector,
    table: Array,
    options: Vector,
    room: Array,
    out: Array,
) -> None:
    """Go through a stack; ``room`` has two rows, which hold the outputs of steps in turns."""
    n, turn, a = x.shape[0], 1, room[0, : x.size].reshape(x.shape)
    if table[0, 0] == PRODUCT:
        a, turn = x, 0
    else:  # what works in place would write over the caller's
        a[:, :] = x
    for s in range(table.shape[0]):
        m_in, m_out, at, second = table[s, 1], table[s, 2], table[s, 3], table[s, 4]
        if table[s, 0] == ACTIVATION:
            activate(at, a, options[s])
        elif table[s, 0] == BATCH_NORM:
            gamma, beta = parameters[at : at + m_out], parameters[second : second + m_out]
            third, fourth = table[s, 5], table[s, 6]
            mean, variance = statistics[third : third + m_out], statistics[fourth : fourth + m_out]
            standardise(a, gamma, beta, mean, variance, options[s])
        else:
            w, z = parameters[at : at + m_in * m_out].reshape(m_out, m_in), room[turn, : n * m_out]
            a, before, turn = z.reshape(n, m_out), a, 1 - turn
            if n == 1:
                one_row(before, w, a)
            else:
                rows(before, w, a)
            if second != ABSENT:
                add_row(a, parameters[second : second + m_out])
    out[:, :] = a


def _through_panels(
    x: Array,
    parameters: Vector,
    statistics: Vector,
    table: Array,
    options: Vector,
    room: Array,
    out: Array,
) -> None:
    """Go through a stack with panels x; ``room`` is as for `_through_rows`."""
    n, _, lanes = x.shape
    turn, a = 1, room[0, : x.size].reshape(x.shape)
    if table[0, 0] == PRODUCT:
        a, turn = x, 0
    else:
        a[:, :, :] = x
    for s in range(table.shape[0]):
        m_in, m_out, at, second = table[s, 1], table[s, 2], table[s, 3], table[s, 4]
        if table[s, 0] == ACTIVATION:
            activate(at, a.reshape(n * m_in, lanes), options[s])
        elif table[s, 0] == BATCH_NORM:
            gamma, beta = parameters[at : at + m_out], parameters[second : second + m_out]
            third, fourth = table[s, 5], table[s, 6]
            mean, variance = statistics[third : third + m_out], statistics[fourth : fourth + m_out]
            standardise_features(a, gamma, beta, mean, variance, options[s])
        else:
            w, z = parameters[at : at + m_in * m_out].reshape(m_out, m_in), room[turn]
            a, before, turn = z[: n * m_out * lanes].reshape(n, m_out, lanes), a, 1 - turn
            bias = parameters[second : second + m_out] if second != ABSENT else parameters[:0]
            panels(before, w, bias, a)
    unpack(a, out)


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
    n, m = x.shape
    block, lanes = min(n, BLOCK), VECTOR // x.itemsize
    n_panels = -(-block // lanes)
    room = np.empty((2, n_panels * lanes * widest), x.dtype)
    packed = np.empty((n_panels if n > FEW else 0, m, lanes), x.dtype)
    for start in range(0, n, block):
        rows = x[start : start + block]
        if not finite(rows):
            return False
        if len(rows) > FEW:
            x_panels = packed[: -(-len(rows) // lanes)]
            pack(rows, x_panels)
        for i in range(len(out) if out.ndim == 3 else 1):
            own = part_1(parameters, i), part_1(statistics, i), table, options, room
            z = part_2(out, i)[start : start + block]
            if len(rows) > FEW:
                through_panels(x_panels, *own, z)
            else:
                through_rows(rows, *own, z)
    return True


def go_through(
    x: Array, parameters: Array, statistics: Array, stack: DenseStack, out: Array
) -> bool:
    """Go through a stack, as `Kernels.dense_stack` says."""
    flags: Any = x.flags
    given = x if flags.carray else x.copy()  # for which alone it is compiled
    tables = stack.table, stack.options, stack.widest
    return dense_stack()(given, parameters, statistics, *tables, out)


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
    given = {"activate": inlined(found["activate"])}
    ways = [_with(f, f.__name__, given) for f in (_through_rows, _through_panels)]
    given = {way.__name__[1:]: inlined(way) for way in ways}
    return compiled(_with(_dense_stack, f"dense_stack_{digest}", given))


def _with(function: Callable[..., Any], name: str, functions: dict[str, Any]) -> Callable[..., Any]:
    """Return a function of another name, with some in place of its globals."""
    code = function.__code__.replace(co_name=name)
    made = FunctionType(code, {**function.__globals__, **functions}, name)
    made.__qualname__, made.__module__ = name, function.__module__
    return made


#: Stand for what `dense_stack` makes of these.
through_rows, through_panels = _through_rows, _through_panels
