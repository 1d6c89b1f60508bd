"""A stack of dense layers in one compiled call: what predicts few examples.

For few examples BLAS takes most of its time to prepare, and Python takes more than BLAS does. Here
a product goes through W as it lies. Up to `FEW` examples stay in rows; more become panels, each the
features of so many examples as fit into a vector, side by side, (panels, m, lanes), and what is
left over stays in rows. To whatever works number by number, rows are panels of one lane.

Compilers are slow: what is compiled knows the operations and activations of the stack at hand, and
no others.
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
from .dense_stack import ACTIVATION, BATCH_NORM, PRODUCT, DenseStack
from .numba_members import PARTS, Vector, compiled, inlined, spliced
from .numba_rows import scalar_function
from .numba_vectors import (
    TALL,
    TILE,
    VECTOR,
    WIDE,
    exchange,
    flat,
    one_output,
    one_panel,
    one_row,
    tall_rows,
    two_panels,
    two_rows,
)

# mypy: disable-error-code="call-arg"

#: Up to so many examples stay in rows, and so many are gone through at a time: what comes out of a
#: layer stays in a near cache.
FEW, BLOCK = 12, 256

#: Up to so many examples a stack is gone through in one call where BLAS has one thread.
AT_ONCE = 8192

_NAMES = tuple(ROWS)


def _finite(x: Array) -> bool:
    """Return whether all are: a number times 0 is 0, anything else NaN."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j] * x.dtype.type(0)
    return bool(total == 0)


def _transpose(
    a: Array, at: int, step: int, out: Array, to: int, out_step: int, shape: tuple[int, int]
) -> None:
    """Transpose a matrix of ``shape`` from one buffer to another; its rows are so far apart."""
    (n, m), side = shape, VECTOR // a.itemsize
    rows, columns = n - n % side, m - m % side
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            exchange(a, at + i * step + j, step, out, to + j * out_step + i, out_step)
    for i in range(n):
        for j in range(columns if i < rows else 0, m):
            out[to + j * out_step + i] = a[at + i * step + j]


def _copy(a: Vector, out: Vector) -> None:
    for i in range(len(a)):
        out[i] = a[i]


def _standardise(
    z: Vector,
    lanes: int,
    gamma: Vector,
    beta: Vector,
    mean: Vector,
    variance: Vector,
    eps: float,
) -> None:
    """In place z ← γ (z − μ) / √(σ² + ε) + β, of panels."""
    m, scale = len(gamma), gamma / np.sqrt(variance + z.dtype.type(eps))
    if lanes == 1:
        for start in range(0, len(z), m):
            for j in range(m):
                z[start + j] = (z[start + j] - mean[j]) * scale[j] + beta[j]
        return
    for start in range(0, len(z), m * lanes):
        for j in range(m):
            for i in range(start + j * lanes, start + (j + 1) * lanes):
                z[i] = (z[i] - mean[j]) * scale[j] + beta[j]


def _panels(
    parameters: Vector, w: int, b: int, x: Vector, n: int, out: Vector, m_in: int, m_out: int
) -> None:
    """X Wᵀ + b of panels; the rows of W of a tile stay in the nearest cache."""
    pairs = n // 2 * 2
    for j in range(0, m_out, TILE):
        for p in range(0, pairs, 2):
            two_panels(parameters, w, b, j, x, p, out, m_in, m_out)
        if pairs < n:
            one_panel(parameters, w, b, j, x, pairs, out, m_in, m_out)


def _rows(
    parameters: Vector, w: int, b: int, x: Vector, n: int, out: Vector, m_in: int, m_out: int
) -> None:
    """X Wᵀ + b of rows; W is read once, and the last of its rows again where m is no multiple."""
    for i in range(n if m_out < WIDE else 0):
        for j in range(m_out):
            one_output(parameters, w, b, j, x, i, out, m_in, m_out)
    tall = n // TALL * TALL
    pairs = n // 2 * 2
    for start in range(0, m_out if m_out >= WIDE else 0, WIDE):
        j = min(start, m_out - WIDE)
        for i in range(0, tall, TALL):
            tall_rows(parameters, w, b, j, x, i, out, m_in, m_out)
        if tall < pairs:
            two_rows(parameters, w, b, j, x, tall, out, m_in, m_out)
        if pairs < n:
            one_row(parameters, w, b, j, x, pairs, out, m_in, m_out)


finite = inlined(_finite, "reassoc")
transpose, copy = inlined(_transpose), inlined(_copy)
standardise, panels, rows = spliced(_standardise), spliced(_panels), spliced(_rows)
part_1, part_2 = PARTS[1], PARTS[2]


def change(
    s: int,
    z: Vector,
    lanes: int,
    parameters: Vector,
    statistics: Vector,
    table: Array,
    options: Vector,
) -> None:
    """Take a step in place, in the loop that is made; this one knows none."""


def _through(
    a: Vector,
    n: int,
    lanes: int,
    parameters: Vector,
    statistics: Vector,
    table: Array,
    options: Vector,
    room: Array,
) -> Vector:
    """Return what becomes of n panels; ``room`` holds the outputs of products in turns."""
    turn = 0
    if table[0, 0] != PRODUCT:  # what works in place would write over what others read
        size = n * table[0, 1] * lanes
        copy(a[:size], room[1])
        a = room[1]
    for s in range(table.shape[0]):
        m_in, m_out, at, second = table[s, 1], table[s, 2], table[s, 3], table[s, 4]
        if table[s, 0] != PRODUCT:
            change(s, a[: n * m_out * lanes], lanes, parameters, statistics, table, options)
            continue
        z = room[turn]
        if lanes == 1:
            rows(parameters, at, second, a, n, z, m_in, m_out)
        else:
            panels(parameters, at, second, a, n, z, m_in, m_out)
        a, turn = z, 1 - turn
    return a


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
    lanes, k = VECTOR // x.itemsize, out.shape[out.ndim - 1]
    block = min(n, BLOCK)
    features: Vector = flat(x)
    size = -(-block // lanes) * lanes
    packed, room = np.empty(size * m, x.dtype), np.empty((2, size * widest), x.dtype)
    for start in range(0, n, block):
        count = min(block, n - start)
        if not finite(x[start : start + count]):
            return False
        left = count if count <= FEW else count % lanes
        whole = count if left > max(FEW, lanes // 2) else count - left
        n_panels = -(-whole // lanes)
        for p in range(n_panels):
            to, used = p * lanes * m, min(lanes, whole - p * lanes)
            if used < lanes:
                packed[to : to + lanes * m] = 0
            transpose(features, (start + p * lanes) * m, m, packed, to, lanes, (used, m))
        rest = packed[n_panels * lanes * m :]
        copy(features[(start + whole) * m : (start + count) * m], rest)
        for i in range(len(out) if out.ndim == 3 else 1):
            own, of_statistics = part_1(parameters, i), part_1(statistics, i)
            z = flat(part_2(out, i))
            for of, parts, side in ((packed, n_panels, lanes), (rest, count - whole, 1)):
                if not parts:
                    continue
                a = through(of, parts, side, own, of_statistics, table, options, room)
                if side == 1:
                    copy(a[: parts * k], z[(start + whole) * k :])
                    continue
                for p in range(parts):
                    to, used = (start + p * lanes) * k, min(lanes, whole - p * lanes)
                    transpose(a, p * lanes * k, lanes, z, to, k, (k, used))
    return True


def go_through(
    x: Array, parameters: Array, statistics: Array, stack: DenseStack, out: Array
) -> bool:
    """Go through a stack, as `Kernels.dense_stack` says."""
    flags: Any = x.flags
    given = x if flags.carray else x.copy()  # for which alone it is compiled
    tables = stack.table, stack.options, stack.widest
    return dense_stack(stack.in_place)(given, parameters, statistics, *tables, out)


_STANDARDISE = """
        at, second, third, fourth = table[s, 3], table[s, 4], table[s, 5], table[s, 6]
        m = table[s, 2]
        standardise(
            z, lanes, parameters[at : at + m], parameters[second : second + m],
            statistics[third : third + m], statistics[fourth : fourth + m], options[s],
        )"""


@cache
def dense_stack(in_place: frozenset[tuple[int, int]]) -> Callable[..., bool]:
    """Return the loop over stacks whose steps in place are those, as `DenseStack` has them.

    Machine code is kept, and linked, under functions' names: those that differ from stack to stack
    have a hash of what the rows of the activations give. Without it, code from the disk would be
    linked with what this process has compiled for another stack.
    """
    lines = ["def change(s, z, lanes, parameters, statistics, table, options):", "    pass"]
    found: dict[str, Any] = {"standardise": standardise}
    for operation, kind in sorted(in_place):
        if operation == BATCH_NORM:
            lines += [f"    if table[s, 0] == {BATCH_NORM}:", _STANDARDISE]
            continue
        source = ROWS[_NAMES[kind]].forward.to_python(f"f{kind}")
        found[f"f{kind}"] = scalar_function(f"f{kind}", source)
        lines += [
            f"    if table[s, 0] == {ACTIVATION} and table[s, 3] == {kind}:  # {source!r}",
            "        for i in range(len(z)):",
            f"            z[i] = f{kind}(z[i], z[i], options[s])",
        ]
    source = "\n".join(lines)
    exec(compile(source, __file__, "exec"), found)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    given = {"change": spliced(found["change"])}
    through = inlined(_with(_through, f"through_{digest}", given))
    return compiled(_with(_dense_stack, f"dense_stack_{digest}", {"through": through}))


def _with(function: Callable[..., Any], name: str, functions: dict[str, Any]) -> Callable[..., Any]:
    """Return a function of another name, with some in place of its globals."""
    code = function.__code__.replace(co_name=name)
    made = FunctionType(code, {**function.__globals__, **functions}, name)
    made.__qualname__, made.__module__ = name, function.__module__
    return made


#: Stands for what `dense_stack` makes of it.
through = _through
