"""Reading a column as a kind: Arrow's values in, values as features and labels are made of out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from . import text_forms
from .kinds import HOLD
from .tables import as_text, countable, floats, held, is_text, one, plain, require_usable

if TYPE_CHECKING:
    from .schema import Column

#: In the order in which a later file's text is tried: whole numbers may have become others.
NEXT = {"integer": ("integer", "number"), "boolean": ("boolean", "integer", "number")}


def read(column: Column, values: Any) -> pa.Array:
    """Return a column's values as its kind has them; see `Column.read`.

    NumPy's numbers stay NumPy's where numbers or truth values belong.
    """
    if isinstance(values, np.ndarray):
        if column.kind in COUNTS:
            return values
        native = values.astype(values.dtype.newbyteorder("="), copy=False)  # Arrow takes no other
        values = pa.array(native, from_pandas=True)
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


#: Kinds of columns of numbers.
COUNTS = ("number", "integer", "boolean")

#: What may be numbers, as `tables.held` calls it.
COUNTED = ("truth values", "numbers", "durations")

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
        return encoded(as_text(column.name, values))
    known = text_forms.gaps_as_null(values.dictionary)
    if known.null_count == 0:
        return values
    return pc.dictionary_encode(pc.take(known, values.indices))


def encoded(text: pa.Array) -> pa.Array:
    """Return text as categories, with gaps as nulls."""
    found = pc.dictionary_encode(text_forms.gaps_as_null(text))
    return pc.cast(found, EMPTY["category"])


def _of_text(column: Column, text: Any) -> pa.Array:
    kinds = NEXT.get(column.kind, (column.kind,))
    forms = [text_forms.Form(k, column.pattern if k == kinds[-1] else "") for k in kinds]
    for form in forms:
        if (values := form.values(text)) is not None:
            return values
    # Of truth values and numbers what most values are.
    found = (form.read(text)[1] for form in (forms[0], forms[-1]))
    others = min(found, key=len)
    raise _strange(column, "text", len(others), repr(others[0].as_py()))


def _typed(column: Column, values: Any) -> pa.Array:
    """Return values of a type of their own, if that goes with the kind."""
    kind = values.type
    fits = {"date": pt.is_date(kind) or pt.is_timestamp(kind), "time": pt.is_time(kind)}
    fits |= {"boolean": pt.is_boolean(kind)}
    if fits.get(column.kind):
        return countable(column.name, values)
    if column.kind in COUNTS and held(kind) in COUNTED:
        values = countable(column.name, values)
        kind = values.type
        if pt.is_float64(kind) or pt.is_decimal(kind) or pt.is_uint64(kind):
            return values
        return pc.cast(values, pa.float64() if pt.is_float32(kind) else pa.int64())
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
    """Return a target's column as an array, by its kind; with None for gaps, if there are.

    Raises
    ------
    TypeError
        If it holds what can't be predicted.
    """
    if column.kind not in (*COUNTS, "category"):
        what = f"holds {HOLD[column.kind]}" if column.used else f"is said to be {column.kind}"
        raise TypeError(
            f"the target {column.name!r} {what}: give numbers, or classes by --column "
            f"{column.name}=category"
        )
    values = one(column.read(values))
    if column.kind == "category":
        values = pc.cast(values, pa.string())
    if pt.is_uint64(values.type) and (pc.max(values).as_py() or 0) < 2**63:
        values = pc.cast(values, pa.int64())
    if values.null_count or not (pt.is_primitive(values.type) or pt.is_boolean(values.type)):
        if column.kind == "integer" and pt.is_decimal(values.type) and values.type.scale <= 0:
            return _whole(column.name, values)
        if pt.is_decimal(values.type):
            values = floats(values)
        else:
            return np.array(values.to_pylist(), object)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _whole(name: str, values: pa.Array) -> np.ndarray[Any, Any]:
    """Return whole numbers as Python's."""
    found = np.array([None if v is None else int(v) for v in values.to_pylist()], object)
    if any(v is not None and not -(2**63) <= v < 2**64 for v in found):
        raise TypeError(
            f"the target {name!r} holds whole numbers of more than 64 bits: say --column "
            f"{name}=number, or {name}=category if they are classes"
        )
    return found
