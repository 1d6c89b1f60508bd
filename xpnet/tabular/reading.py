"""Reading a column as a kind: Arrow's values in, values as features and labels are made of out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from . import text_forms
from .kinds import HOLD
from .tables import as_text, countable, held, is_text, one, plain, require_usable

if TYPE_CHECKING:
    from .schema import Column

#: In the order in which a later file's text is tried: whole numbers may have become others.
NEXT = {"integer": ("integer", "number"), "boolean": ("boolean", "integer", "number")}


def read(column: Column, values: Any) -> pa.Array:
    """Return a column's values as its kind has them; see `Column.read`."""
    values = one(plain(column.name, one(values)))
    require_usable(column.name, values.type)
    if pt.is_null(values.type):
        return pa.nulls(len(values), EMPTY[column.kind])
    if column.kind == "category":
        return _category(column, values)
    if pt.is_dictionary(values.type):
        values = as_text(column.name, values)
    if is_text(values.type):
        return _of_text(column, values)
    return _typed(column, values)


#: Types of columns without any value.
EMPTY = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "date": pa.timestamp("us"),
    "time": pa.time64("us"),
}


def _category(column: Column, values: Any) -> pa.Array:
    if not pt.is_dictionary(values.type):
        text = text_forms.gaps_as_null(as_text(column.name, values))
        if column.missing:
            gone = pc.is_in(text, pa.array(column.missing, pa.string()))
            text = pc.if_else(gone, pa.scalar(None, pa.string()), text)
        return pc.cast(pc.dictionary_encode(text), EMPTY["category"])
    known = text_forms.gaps_as_null(values.dictionary)
    if known.null_count == 0:
        return values
    return pc.dictionary_encode(pc.take(known, values.indices))


def _of_text(column: Column, text: Any) -> pa.Array:
    kinds = NEXT.get(column.kind, (column.kind,))
    forms = [text_forms.Form(k, column.pattern if k == kinds[-1] else "") for k in kinds]
    for form in forms:
        if form.fits(text, column.missing):
            return form.read(text, column.missing)[0]
    others = forms[-1].read(text, column.missing)[1]
    raise _strange(column, "text", len(others), repr(others[0].as_py()))


def _typed(column: Column, values: Any) -> pa.Array:
    """Return values of a type of their own, if that goes with the kind."""
    kind = values.type
    if column.kind in ("number", "integer", "boolean"):
        if pt.is_boolean(kind):
            return values if column.kind == "boolean" else pc.cast(values, pa.int64())
        values = countable(values)
        kind = values.type
        if pt.is_float32(kind):
            return pc.cast(values, pa.float64())
        if pt.is_float64(kind) or pt.is_decimal(kind) or pt.is_uint64(kind):
            return values
        if pt.is_integer(kind):
            return pc.cast(values, pa.int64())
    if column.kind == "date" and (pt.is_date(kind) or pt.is_timestamp(kind)):
        zoned = pt.is_timestamp(kind) and kind.tz is not None
        target = pa.timestamp("us", kind.tz) if zoned else pa.timestamp("us")
        return pc.cast(pc.cast(values, target, safe=False), pa.timestamp("us"), safe=False)
    if column.kind == "time" and pt.is_time(kind):
        return pc.cast(values, pa.time64("us"), safe=False)
    there = pc.drop_null(values)
    if len(there) == 0:
        return pa.nulls(len(values), EMPTY[column.kind])
    raise _strange(column, held(kind), len(there), as_text(column.name, there[:1])[0].as_py())


def _strange(column: Column, what: str, count: int, example: str) -> TypeError:
    """Return the error of values that are not of the kind."""
    values = "1 value" if count == 1 else f"{count} values"
    return TypeError(
        f"column {column.name!r} holds {what} where {HOLD[column.kind]} belong: {values} such as "
        f"{example}"
    )


def labels(column: Column, values: Any) -> np.ndarray[Any, Any]:
    """Return a target's column, read as its kind, as an array; with None for gaps, if there are.

    Raises
    ------
    TypeError
        If it holds what can't be predicted.
    """
    if column.kind not in ("number", "integer", "boolean", "category"):
        raise TypeError(
            f"the target {column.name!r} holds {HOLD.get(column.kind, column.kind)}: give numbers, "
            f"or classes by --column {column.name}=category"
        )
    values = one(values)
    if column.kind == "category":
        values = pc.cast(values, pa.string())
    if values.null_count or not (pt.is_primitive(values.type) or pt.is_boolean(values.type)):
        if pt.is_decimal(values.type) and values.type.scale == 0:
            return np.array([None if v is None else int(v) for v in values.to_pylist()], object)
        if pt.is_decimal(values.type):
            values = pc.cast(values, pa.float64())
        else:
            return np.array(values.to_pylist(), object)
    return np.asarray(values.to_numpy(zero_copy_only=False))
