"""Products whose sums stay in registers, which LLVM does not find in loops over numbers.

Examples lie in panels, (panels, m, lanes): the features of as many as fit into a vector, side by
side. So a number of W, as it lies, meets a vector of examples.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

#: Bytes of a vector, and how many rows of a matrix meet one or two vectors at a time: AVX-512 has
#: 32 registers of 64 bytes, others have 16 of 32, or 32 of 16.
VECTOR, TILE = (64, 8) if binding.get_host_cpu_features().get("avx512f") else (32, 4)


@intrinsic
def multiply_one(context: Any, w: Any, bias: Any, row: Any, x: Any, panel: Any, out: Any) -> Any:
    """Write rows ``row`` to ``row`` + TILE − 1 of w · x[panel] + bias to ``out[panel]``.

    ``w`` is (m, k), ``bias`` (m,) or (0,), ``x`` (panels, k, lanes), ``out`` (panels, m, lanes),
    all contiguous. Rows beyond the last one are that one again.
    """
    arguments = w, bias, row, x, panel, out
    return types.void(*arguments), _multiply_one


@intrinsic
def multiply_two(context: Any, w: Any, bias: Any, row: Any, x: Any, panel: Any, out: Any) -> Any:
    """Do the same with two panels."""
    arguments = w, bias, row, x, panel, out
    return types.void(*arguments), _multiply_two


def _multiply_one(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _multiply(context, builder, sig, args, 1)


def _multiply_two(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _multiply(context, builder, sig, args, 2)


def _multiply(context: Any, builder: Any, sig: Any, args: Any, n_panels: int) -> Any:
    w, bias, x, out = (make_array(sig.args[i])(context, builder, args[i]) for i in (0, 1, 3, 5))
    m, depth = cgutils.unpack_tuple(builder, w.shape)
    vector, align = _vector_of(context, w)
    rows = [_at_most(builder, args[2], r, builder.sub(m, m.type(1))) for r in range(TILE)]
    weights = [builder.gep(w.data, [builder.mul(r, depth)]) for r in rows]
    panels = [builder.add(args[4], m.type(p)) for p in range(n_panels)]
    features = [_panel(builder, x, vector, p, depth) for p in panels]
    zero = ir.Constant(vector, [vector.element(0.0)] * vector.count)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in panels] for _ in rows]
    with cgutils.for_range(builder, depth) as loop:
        columns = [builder.load(builder.gep(f, [loop.index]), align=align) for f in features]
        for weight, totals in zip(weights, sums, strict=True):
            factor = _splat(builder, builder.load(builder.gep(weight, [loop.index])), vector)
            for column, total in zip(columns, totals, strict=True):
                product = builder.fmul(factor, column, flags=("contract",))
                sum_ = builder.fadd(product, builder.load(total), flags=("contract",))
                builder.store(sum_, total)
    has_bias = builder.icmp_signed("!=", cgutils.unpack_tuple(builder, bias.shape)[0], m.type(0))
    with builder.if_then(has_bias):
        for r, totals in zip(rows, sums, strict=True):
            shift = _splat(builder, builder.load(builder.gep(bias.data, [r])), vector)
            for total in totals:
                builder.store(builder.fadd(builder.load(total), shift), total)
    written = [_panel(builder, out, vector, p, m) for p in panels]
    for r, totals in zip(rows, sums, strict=True):
        for place, total in zip(written, totals, strict=True):
            builder.store(builder.load(total), builder.gep(place, [r]), align=align)
    return context.get_dummy_value()


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector of one number."""
    undefined = ir.Constant(vector, ir.Undefined)
    i32 = ir.IntType(32)
    one = builder.insert_element(undefined, value, i32(0))
    everywhere = ir.Constant(ir.VectorType(i32, vector.count), [i32(0)] * vector.count)
    return builder.shuffle_vector(one, undefined, everywhere)


def _vector_of(context: Any, array: Any) -> tuple[Any, int]:
    """Return the type of vectors of an array's numbers, and the size of one."""
    number = array.data.type.pointee
    size = context.get_abi_sizeof(number)
    return ir.VectorType(number, VECTOR // size), size


def _panel(builder: Any, array: Any, vector: Any, panel: Any, width: Any) -> Any:
    """Return where the vectors of a panel begin."""
    start = builder.bitcast(array.data, vector.as_pointer())
    return builder.gep(start, [builder.mul(panel, width)])


def _at_most(builder: Any, start: Any, more: int, last: Any) -> Any:
    """Return start + more, or the last one before that."""
    wanted = builder.add(start, start.type(more))
    return builder.select(builder.icmp_signed("<", wanted, last), wanted, last)
