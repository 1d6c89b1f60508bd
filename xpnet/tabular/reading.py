"""Reading a column as a kind: Arrow's values in, values as features and labels are made of out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from . import text_forms
from .schema import HOLD, Column
from .tables import as_text, held, is_text, one, plain, require_usable

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
    forms = [text_forms.Form(kind, column.pattern) for kind in kinds]
    for form in forms:
        if form.fits(text, column.missing):
            return form.read(text, column.missing)[0]
    others = forms[-1].read(text, column.missing)[1]
    raise TypeError(
        f"column {column.name!r} holds text where {HOLD[column.kind]} belong: {len(others)} values "
        f"such as {others[0].as_py()!r}"
    )


def _typed(column: Column, values: Any) -> pa.Array:
    """Return values of a type of their own, if that goes with the kind."""
    kind = values.type
    if column.kind in ("number", "integer", "boolean"):
        if pt.is_boolean(kind):
            return values if column.kind == "boolean" else pc.cast(values, pa.int64())
        if pt.is_duration(kind):
            return pc.cast(values, pa.int64())
        if pt.is_float16(kind) or pt.is_float32(kind):
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
    raise TypeError(
        f"column {column.name!r} holds {held(kind)} where {HOLD[column.kind]} belong: "
        f"{len(values) - values.null_count} values such as {pc.drop_null(values)[0].as_py()!s}"
    )
