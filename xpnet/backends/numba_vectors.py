"""Products of a matrix with a panel of vectors, whose sums stay in registers.

LLVM does not find this shape in a loop of numbers: here it is given as vectors of 64 bytes, which
it takes as one or several registers, whatever a machine has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

#: Bytes of a vector, and how many rows of the matrix meet one at a time.
VECTOR, TILE = 64, 8


@intrinsic
def multiply_rows(context: Any, w: Any, row: Any, panel: Any, out: Any) -> Any:
    """Write rows ``row`` … ``row`` + 7 of w · panel to those of ``out``; the last row again beyond.

    ``w`` is (m, k), ``panel`` (k, lanes) and ``out`` (m, lanes), all contiguous; the lanes are 64
    bytes.
    """
    return types.void(w, row, panel, out), _multiply_rows


def _multiply_rows(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    w, panel, out = (make_array(sig.args[i])(context, builder, args[i]) for i in (0, 2, 3))
    (m, depth), row = cgutils.unpack_tuple(builder, w.shape), args[1]
    number = w.data.type.pointee
    lanes = VECTOR // context.get_abi_sizeof(number)
    vector = ir.VectorType(number, lanes)
    last = builder.sub(m, m.type(1))
    rows = []
    for r in range(TILE):
        wanted = builder.add(row, m.type(r))
        rows.append(builder.select(builder.icmp_signed("<", wanted, last), wanted, last))
    weights = [builder.gep(w.data, [builder.mul(r, depth)]) for r in rows]
    zero = ir.Constant(vector, [number(0.0)] * lanes)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in rows]
    vectors, written = (builder.bitcast(a.data, vector.as_pointer()) for a in (panel, out))
    align = context.get_abi_sizeof(number)
    with cgutils.for_range(builder, depth) as loop:
        features = builder.load(builder.gep(vectors, [loop.index]), align=align)
        for weight, total in zip(weights, sums, strict=True):
            factor = _splat(builder, builder.load(builder.gep(weight, [loop.index])), vector)
            product = builder.fmul(factor, features, flags=("contract",))
            builder.store(builder.fadd(product, builder.load(total), flags=("contract",)), total)
    for r, total in zip(rows, sums, strict=True):
        builder.store(builder.load(total), builder.gep(written, [r]), align=align)
    return context.get_dummy_value()


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector of one number."""
    undefined, i32 = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, value, i32(0))
    everywhere = ir.Constant(ir.VectorType(i32, vector.count), [i32(0)] * vector.count)
    return builder.shuffle_vector(one, undefined, everywhere)
