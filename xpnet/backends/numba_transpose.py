# mypy: disallow-untyped-calls=False
"""Transposing matrices: a square of 64 bytes a side at a time, in registers.

LLVM makes no vectors of a loop that does it, which takes five times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from .._typing import Array
from .numba_members import network_loop

#: Bytes of a square's row.
SIDE = 64


@intrinsic
def _transpose_square(context: Any, a: Any, i: Any, j: Any, out: Any) -> Any:
    """Write the square of a at (i, j) to that of ``out`` at (j, i)."""
    return types.void(a, types.intp, types.intp, out), _squares


def _squares(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    source, target = sig.args[0], sig.args[3]
    number = context.get_data_type(source.dtype)
    size = context.get_abi_sizeof(number)
    _, i, j, _ = args
    rows = _row_pointers(context, builder, source, args[0], i, j, SIDE // size)
    values = [builder.load(row, align=size) for row in rows]
    for value, row in zip(
        exchanged(builder, values),
        _row_pointers(context, builder, target, args[3], j, i, SIDE // size),
        strict=True,
    ):
        builder.store(value, row, align=size)
    return context.get_dummy_value()


def _row_pointers(
    context: Any, builder: Any, kind: Any, array: Any, i: Any, j: Any, side: int
) -> list[Any]:
    """Return where the rows of a square at (i, j) of an array begin."""
    held = make_array(kind)(context, builder, array)
    stride = cgutils.unpack_tuple(builder, held.strides)[0]
    first = builder.add(builder.mul(i, stride), builder.mul(j, held.itemsize))
    vector = ir.VectorType(context.get_data_type(kind.dtype), side).as_pointer()
    offsets = [builder.add(first, builder.mul(i.type(row), stride)) for row in range(side)]
    return [
        builder.bitcast(cgutils.pointer_add(builder, held.data, offset), vector)
        for offset in offsets
    ]


def exchanged(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the columns of a square, given its rows: its halves change places, then theirs."""
    side = len(rows)
    half = side // 2
    while half:
        for upper in (row for row in range(side) if not row & half):
            a, b = rows[upper], rows[upper + half]
            columns = range(side)
            first = [c if not c & half else side + c - half for c in columns]
            second = [c + half if not c & half else side + c for c in columns]
            rows[upper], rows[upper + half] = (
                _picked(builder, a, b, first),
                _picked(builder, a, b, second),
            )
        half //= 2
    return rows


def _picked(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    """Return a vector of elements of two others, counted through both."""
    whole = ir.IntType(32)
    mask = ir.Constant(ir.VectorType(whole, len(places)), [whole(place) for place in places])
    return builder.shuffle_vector(a, b, mask)


def _transpose(a: Array, out: Array) -> None:
    """Out ← aᵀ."""
    n, m = a.shape
    side = SIDE // a.itemsize
    rows, columns = n - n % side, m - m % side
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            _transpose_square(a, i, j, out)  # type: ignore[call-arg]
    for i in range(n):
        for j in range(columns if i < rows else 0, m):
            out[j, i] = a[i, j]


#: For loops that do more than that; and for one network's array, or several ones'.
transpose_one: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(_transpose)
transpose = network_loop(_transpose)
