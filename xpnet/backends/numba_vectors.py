"""Products whose sums stay in registers, which LLVM does not find in loops over numbers.

Few examples lie in rows: their features meet those of W as many at once as fit into a vector. More
examples lie in panels, (panels, m, lanes): the features of as many as fit into a vector, side by
side, so that a number of W meets a vector of examples. W is taken as it lies. Arrays are given as
the buffers in which they lie, each with where in it they begin.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from .numba_transpose import exchanged

#: Bytes of a vector, how many rows of W meet one or two panels at a time, and how many examples in
#: rows meet `WIDE` rows of W: AVX-512 has 32 registers of 64 bytes, others have 16 of 32, or 32 of
#: 16.
VECTOR, TILE, TALL = (64, 8, 4) if binding.get_host_cpu_features().get("avx512f") else (32, 4, 2)
WIDE = 4

_I32 = ir.IntType(32)


class _Tile(NamedTuple):
    """What a tile of X Wᵀ + b is made of, as LLVM's values; ``i`` is an example, or a panel."""

    builder: Any
    parameters: Any
    weight: Any
    bias: Any
    row: Any
    x: Any
    i: Any
    out: Any
    depth: Any
    width: Any
    vector: Any
    size: int

    def weight_row(self, row: Any) -> Any:
        """Return where a row of W begins."""
        at = self.builder.add(self.weight, self.builder.mul(row, self.depth))
        return self.builder.gep(self.parameters, [at])

    def bias_of(self, row: Any, kind: Any) -> Any:
        """Return b from a row on, or zeros if there is none."""
        builder = self.builder
        found = cgutils.alloca_once_value(builder, ir.Constant(kind, None))
        with builder.if_then(builder.icmp_signed(">=", self.bias, row.type(0))):
            place = builder.gep(self.parameters, [builder.add(self.bias, row)])
            builder.store(self.load(place, kind), found)
        return builder.load(found)

    def load(self, place: Any, kind: Any) -> Any:
        """Return numbers from a place on."""
        whole = self.builder.bitcast(place, kind.as_pointer())
        return self.builder.load(whole, align=self.size)

    def store(self, value: Any, place: Any) -> None:
        """Write numbers from a place on."""
        whole = self.builder.bitcast(place, value.type.as_pointer())
        self.builder.store(value, whole, align=self.size)


def _tile(multiply: Callable[..., None], *shape: int) -> Any:
    """Return a compiled function for a tile of X Wᵀ + b, of ``shape``.

    Its arguments are the buffer of parameters, where in it W and b begin (b: or −1), the first row
    of W; the buffer of X, an example or a panel; that of what comes out; how many features go in
    and come out.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parameters, x, out = (
            make_array(sig.args[at])(context, builder, args[at]).data for at in (0, 4, 6)
        )
        size = context.get_abi_sizeof(x.type.pointee)
        vector = ir.VectorType(x.type.pointee, VECTOR // size)
        weight, bias, row, i, depth, width = (args[at] for at in (1, 2, 3, 5, 7, 8))
        places = builder, parameters, weight, bias, row, x, i, out, depth, width
        multiply(_Tile(*places, vector, size), *shape)
        return context.get_dummy_value()

    @intrinsic
    def tile(
        context: Any,
        parameters: Any,
        weight: Any,
        bias: Any,
        row: Any,
        x: Any,
        i: Any,
        out: Any,
        depth: Any,
        width: Any,
    ) -> Any:
        whole = types.intp
        given = parameters, whole, whole, whole, x, whole, out, whole, whole
        return types.void(*given), generate

    return tile


# -- examples in panels ----


def _multiply_panels(tile: _Tile, n_panels: int) -> None:
    """Write `TILE` outputs of panels; those beyond the last one are that one again."""
    builder, vector, whole = tile.builder, tile.vector, tile.depth.type
    last = builder.sub(tile.width, whole(1))
    rows = [_at_most(builder, tile.row, r, last) for r in range(TILE)]
    weights = [tile.weight_row(row) for row in rows]
    panels = [builder.add(tile.i, whole(p)) for p in range(n_panels)]
    features = [_panel(tile, tile.x, panel, tile.depth) for panel in panels]
    zero = ir.Constant(vector, None)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in panels] for _ in rows]
    with cgutils.for_range(builder, tile.depth) as loop:
        columns = [tile.load(builder.gep(f, [loop.index]), vector) for f in features]
        for weight, totals in zip(weights, sums, strict=True):
            factor = _splat(builder, builder.load(builder.gep(weight, [loop.index])), vector)
            for column, total in zip(columns, totals, strict=True):
                _add_product(builder, factor, column, total)
    written = [_panel(tile, tile.out, panel, tile.width) for panel in panels]
    for row, totals in zip(rows, sums, strict=True):
        shift = _splat(builder, tile.bias_of(row, vector.element), vector)
        for place, total in zip(written, totals, strict=True):
            tile.store(builder.fadd(builder.load(total), shift), builder.gep(place, [row]))


def _panel(tile: _Tile, buffer: Any, panel: Any, width: Any) -> Any:
    """Return where the vectors of a panel begin."""
    start = tile.builder.bitcast(buffer, tile.vector.as_pointer())
    return tile.builder.gep(start, [tile.builder.mul(panel, width)])


def _at_most(builder: Any, start: Any, more: int, last: Any) -> Any:
    """Return start + more, or the last one before that."""
    wanted = builder.add(start, start.type(more))
    return builder.select(builder.icmp_signed("<", wanted, last), wanted, last)


# -- examples in rows ----


def _multiply_rows(tile: _Tile, n_examples: int, n_outputs: int) -> None:
    """Write outputs of examples; there must be as many of both."""
    builder, whole, lanes = tile.builder, tile.depth.type, tile.vector.count
    examples = [builder.add(tile.i, whole(e)) for e in range(n_examples)]
    features = [builder.gep(tile.x, [builder.mul(e, tile.depth)]) for e in examples]
    weights = [tile.weight_row(builder.add(tile.row, whole(r))) for r in range(n_outputs)]
    zero = ir.Constant(tile.vector, None)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in weights] for _ in examples]

    def add(load: Callable[[Any], Any]) -> None:
        columns = [load(weight) for weight in weights]
        for example, totals in zip(features, sums, strict=True):
            feature = load(example)
            for column, total in zip(columns, totals, strict=True):
                _add_product(builder, feature, column, total)

    rest = builder.srem(tile.depth, whole(lanes))
    end = builder.sub(tile.depth, rest)
    with cgutils.for_range_slice(builder, whole(0), end, whole(lanes), whole) as (k, _):
        add(lambda row: tile.load(builder.gep(row, [k]), tile.vector))
    with builder.if_then(builder.icmp_signed(">", rest, whole(0))):
        add(lambda row: _first(tile, builder.gep(row, [end]), rest))
    totals = _totals(builder, [builder.load(s) for row in sums for s in row])
    shift = tile.bias_of(tile.row, ir.VectorType(tile.vector.element, n_outputs))
    for e, example in enumerate(examples):
        vector, at = divmod(e * n_outputs, totals[0].type.count)
        found = _picked(builder, totals[vector], totals[vector], range(at, at + n_outputs))
        place = builder.add(builder.mul(example, tile.width), tile.row)
        tile.store(builder.fadd(found, shift), builder.gep(tile.out, [place]))


def _first(tile: _Tile, place: Any, count: Any) -> Any:
    """Return the first numbers from a place on, and zeros: what lies beyond is not touched."""
    builder, vector = tile.builder, tile.vector
    lanes = ir.Constant(ir.VectorType(_I32, vector.count), list(range(vector.count)))
    number = _splat(builder, builder.trunc(count, _I32), lanes.type)
    mask = builder.icmp_signed("<", lanes, number)
    pointer = builder.bitcast(place, vector.as_pointer())
    letter = {4: "f32", 8: "f64"}[tile.size]
    kind = ir.FunctionType(vector, [pointer.type, _I32, mask.type, vector])
    name = f"llvm.masked.load.v{vector.count}{letter}.p0"
    load = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(load, [pointer, _I32(tile.size), mask, ir.Constant(vector, None)])


def _totals(builder: Any, sums: list[Any]) -> list[Any]:
    """Return the sums of the numbers in each vector, side by side in as many vectors as they fill.

    Half by half, neighbours are added: those of two vectors become one vector.
    """
    for _ in range(sums[0].type.count.bit_length() - 1):
        count = sums[0].type.count
        if len(sums) > 1:
            pairs, number = list(zip(sums[::2], sums[1::2], strict=True)), 2 * count
        else:
            pairs, number = [(sums[0], sums[0])], count
        sums = [
            builder.fadd(
                _picked(builder, a, b, range(0, number, 2)),
                _picked(builder, a, b, range(1, number, 2)),
            )
            for a, b in pairs
        ]
    return sums


# -- vectors ----


def _add_product(builder: Any, a: Any, b: Any, total: Any) -> None:
    product = builder.fmul(a, b, flags=("contract",))
    builder.store(builder.fadd(product, builder.load(total), flags=("contract",)), total)


def _picked(builder: Any, a: Any, b: Any, places: Any) -> Any:
    """Return a vector of elements of two others, counted through both."""
    mask = ir.Constant(ir.VectorType(_I32, len(places)), list(places))
    return builder.shuffle_vector(a, b, mask)


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector of one number."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, _I32(0))
    return _picked(builder, one, undefined, [0] * vector.count)


@intrinsic
def flat(context: Any, array: Any) -> Any:
    """Return all of an array without gaps as one row."""
    return array.copy(ndim=1, layout="C")(array), _flatten


def _flatten(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    whole = make_array(sig.args[0])(context, builder, args[0])
    row = make_array(sig.return_type)(context, builder)
    populate_array(
        row,
        data=whole.data,
        shape=[whole.nitems],
        strides=[whole.itemsize],
        itemsize=whole.itemsize,
        meminfo=whole.meminfo,
        parent=whole.parent,
    )
    return impl_ret_borrowed(context, builder, sig.return_type, row._getvalue())


@intrinsic
def exchange(context: Any, a: Any, at: Any, step: Any, out: Any, to: Any, out_step: Any) -> Any:
    """Transpose a square of `VECTOR` bytes a side; its rows are so many numbers apart."""
    whole = types.intp
    return types.void(a, whole, whole, out, whole, whole), _exchange


def _exchange(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    source, target = (make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 3))
    size = context.get_abi_sizeof(source.type.pointee)
    vector = ir.VectorType(source.type.pointee, VECTOR // size)

    def places(data: Any, at: Any, step: Any) -> list[Any]:
        starts = [builder.add(at, builder.mul(step, step.type(r))) for r in range(vector.count)]
        return [builder.bitcast(builder.gep(data, [s]), vector.as_pointer()) for s in starts]

    rows = [builder.load(place, align=size) for place in places(source, args[1], args[2])]
    for row, place in zip(exchanged(builder, rows), places(target, args[4], args[5]), strict=True):
        builder.store(row, place, align=size)
    return context.get_dummy_value()


#: One panel and two; and of examples in rows, as many as registers hold, half of them, or one.
one_panel, two_panels = _tile(_multiply_panels, 1), _tile(_multiply_panels, 2)
tall_rows, two_rows, one_row = (_tile(_multiply_rows, n, WIDE) for n in (TALL, 2, 1))
#: One output of one example.
one_output = _tile(_multiply_rows, 1, 1)
