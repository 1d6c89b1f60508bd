"""Loops that Numba compiles, for one network or for several at once.

A loop is written for one network. `network_loop` compiles around it the loop over members: where
the first array has one axis more than the loop was written for, all members are gone through in one
call. Each member's part of an array lies without gaps, and only if it is typed so does LLVM make
vectors of it: hence `_part_of`.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeAlias

import numba
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from .._typing import Array
from ..interrupts import defer_sigint
from ..locks import defer_fork
from .numba_cache import keep_on_disk

#: In a loop's signature: an array of one axis for one network, and one of none. `Array` has two.
Vector: TypeAlias = Array
Cell: TypeAlias = Array


def compiled(function: Callable[..., Any], *liberties: str) -> Callable[..., Any]:
    """Compile at the first call; keep the machine code on disk if there is a folder for it."""
    loop: Callable[..., Any] = numba.njit(function, **_options(liberties))
    if loop is not function:  # as it is with NUMBA_DISABLE_JIT
        keep_on_disk(loop)
        # What Numba calls when it meets arguments of new types, which costs no later call anything.
        compile_for = defer_fork()(defer_sigint()(loop._compile_for_args))  # type: ignore[attr-defined]
        loop._compile_for_args = compile_for  # type: ignore[attr-defined]
    return loop


def inlined(function: Callable[..., Any], *liberties: str) -> Any:
    """Compile what compiled loops alone call: it becomes a part of them, on disk too."""
    return numba.njit(function, **_options(liberties), **_WITHOUT_DOORS)


def spliced(function: Callable[..., Any]) -> Any:
    """Write what a compiled loop calls at one place into it: compiled once, in less time."""
    return numba.njit(function, inline="always", **_options(()), **_WITHOUT_DOORS)


def _options(liberties: tuple[str, ...]) -> dict[str, Any]:
    return {"nogil": True, "error_model": "numpy", "fastmath": {"contract", *liberties}}


#: Spare what lets Python and C call a function.
_WITHOUT_DOORS: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def network_loop(function: Callable[..., Any], *liberties: str) -> Callable[..., Any]:
    """Compile a loop over one network's arrays, to be called with those of one or of several.

    Its signature says what it takes: `Array`, `Vector` and `Cell` are each network's own, or one
    that all share; anything else is a number, or a tuple of numbers, for which an array may stand
    that holds one for each member, or one for all.
    """
    names = signature(function).parameters
    axes = {name: _AXES.get(p.annotation) for name, p in names.items()}
    first = next(iter(axes))
    one, each = (", ".join(_argument(*item, i) for item in axes.items()) for i in ("0", "i"))
    source = (
        f"def {function.__name__}({', '.join(axes)}):\n"
        f"    if {first}.ndim == {axes[first]}:\n"
        f"        loop({one})\n"
        f"    else:\n"
        f"        for i in range(len({first})):\n"
        f"            loop({each})\n"
    )
    found: dict[str, Any] = {"loop": inlined(function, *liberties), "number": number}
    found |= {f"part_{ndim}": part for ndim, part in PARTS.items()}
    # Machine code is kept under the name of the loop's file, and anew when that changes.
    exec(compile(source, function.__code__.co_filename, "exec"), found)
    members = found[function.__name__]
    members.__module__, members.__doc__ = function.__module__, function.__doc__
    return compiled(members, *liberties)


def summing_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile so that a sum along a row may be taken in any order: several numbers at once."""
    return network_loop(function, "reassoc")


def _argument(name: str, ndim: int | None, member: str) -> str:
    return f"number({name}, {member})" if ndim is None else f"part_{ndim}({name}, {member})"


def _part_of(ndim: int) -> Any:
    """Return a compiled function: a member's part of an array, or all of what has ``ndim`` axes."""

    @intrinsic
    def part(context: Any, array: Any, i: Any) -> Any:
        if array.ndim == ndim:
            return array(array, i), lambda context, builder, sig, args: impl_ret_borrowed(
                context, builder, array, args[0]
            )
        if array.ndim != ndim + 1:
            raise numba.TypingError(f"an array has {array.ndim} axes, not {ndim} or {ndim + 1}")
        return array.copy(ndim=ndim, layout="C")(array, i), _take_part

    return part


def _take_part(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Return array[i] with the layout that the signature says it has; raise if it has another."""
    whole = make_array(sig.args[0])(context, builder, args[0])
    part = make_array(sig.return_type)(context, builder)
    shape, strides = (cgutils.unpack_tuple(builder, t) for t in (whole.shape, whole.strides))
    step = whole.itemsize
    for length, stride in zip(shape[:0:-1], strides[:0:-1], strict=True):
        gap = builder.and_(
            builder.icmp_signed("!=", stride, step),
            builder.icmp_signed(">", length, length.type(1)),
        )
        with builder.if_then(gap, likely=False):
            context.call_conv.return_user_exc(builder, ValueError, (_GAPS,))
        step = builder.mul(step, length)
    i = context.cast(builder, args[1], sig.args[1], types.intp)
    data = cgutils.pointer_add(builder, whole.data, builder.mul(i, strides[0]), whole.data.type)
    populate_array(
        part,
        data=data,
        shape=shape[1:],
        strides=strides[1:],
        itemsize=whole.itemsize,
        meminfo=whole.meminfo,
        parent=whole.parent,
    )
    return impl_ret_borrowed(context, builder, sig.return_type, part._getvalue())


_GAPS = "a member's part of an array has gaps between its elements"

#: Take a member's part of an array, or all of what has so many axes.
PARTS = {ndim: _part_of(ndim) for ndim in (0, 1, 2)}

#: Axes of one network's array, by the annotation.
_AXES = {"Cell": 0, "Vector": 1, "Array": 2}


def number(value: Any, i: int) -> Any:
    """Return member i's of a number that stands for all, or of an array with one for each.

    A tuple of such gives one of numbers.
    """
    raise NotImplementedError


@overload(number, strict=False)  # it would compare annotations too
def _number(value: Any, i: Any) -> Any:
    if isinstance(value, types.Array):
        return _FROM_ARRAY[value.ndim]
    given = value.types if isinstance(value, (types.Tuple, types.UniTuple)) else ()
    if any(isinstance(t, types.Array) for t in given):
        if len(given) == 1:
            return lambda value, i: (number(value[0], i),)
        return lambda value, i: (number(value[0], i), *number(value[1:], i))
    return lambda value, i: value


#: By the number of axes; an array with one axis holds a number for all.
_FROM_ARRAY = {
    1: lambda value, i: value[0],
    2: lambda value, i: value[i, 0],
    3: lambda value, i: value[i, 0, 0],
}
