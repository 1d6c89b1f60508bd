"""Tables in memory, whosever they are, as Arrow's: with plain types, and gaps as nulls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Number
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...data.labels import is_missing, require_utf8, text_of

#: Rows that are looked at at a time: so few that what is made of them stays in the cache.
ROWS = 2**13

#: What columns may hold that no features are made of, by the names of Arrow's tests.
REFUSED: dict[str, Callable[[Any], bool]] = {
    "lists": lambda t: pt.is_list(t) or pt.is_large_list(t) or pt.is_fixed_size_list(t),
    "records": pt.is_struct,
    "maps": pt.is_map,
    "unions": pt.is_union,
    "intervals": pt.is_interval,
}

#: What the columns of other kinds hold, in words.
HELD: dict[str, Callable[[Any], bool]] = {
    "truth values": pt.is_boolean,
    "numbers": lambda t: pt.is_integer(t) or pt.is_floating(t) or pt.is_decimal(t),
    "dates": lambda t: pt.is_date(t) or pt.is_timestamp(t),
    "times": pt.is_time,
    "durations": pt.is_duration,
    "text": lambda t: is_text(t) or pt.is_dictionary(t),
}

#: What arrays of pandas have that give themselves as Arrow's.
ARROW_ARRAY = "__arrow_array__"

#: The microseconds from 1970 to the year 1, and to the end of 9999.
YEARS = (-62_135_596_800_000_000, 253_402_300_800_000_000)

TOO_FAR = "outside the years 1 to 9999: correct them, or leave it out"


def is_text(kind: Any) -> bool:
    """Return whether a column's type is one of text."""
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def held(kind: Any) -> str:
    """Return in words what a column of a type holds.

    Examples
    --------
    >>> held(pa.list_(pa.int64())), held(pa.date32())
    ('lists', 'dates')
    """
    return next((name for name, test in (REFUSED | HELD).items() if test(kind)), str(kind))


def require_usable(name: str, kind: Any) -> None:
    """Raise a TypeError if no feature can be made of a column of a type."""
    known = any(test(kind) for test in HELD.values()) or pt.is_null(kind)
    if any(test(kind) for test in REFUSED.values()) or not known:
        raise TypeError(
            f"column {name!r} holds {held(kind)}: make columns of numbers or text of them, or "
            "leave it out"
        )


def as_table(frame: Any) -> pa.Table:
    """Return a data frame, or a table of Arrow's or Polars', as a table of plain types.

    A named index of pandas is a column like others.

    Raises
    ------
    TypeError
        If a column holds objects that are neither numbers nor text.
    ValueError
        If two columns have one name, or bytes are no text.
    """
    if not isinstance(frame, pa.Table):
        frame = _of_pandas(frame) if hasattr(frame, "iloc") else pa.table(frame)
    names = [str(name) for name in frame.column_names]
    require_utf8(names, "the data has a column named")
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the data has two columns of the same name, {twice!r}: rename one")
    arrays = [plain(name, column) for name, column in zip(names, frame.columns, strict=True)]
    return pa.table(arrays, names=names)


def _of_pandas(frame: Any) -> Any:
    frame = without_named_index(frame)
    names = [str(name) for name in frame.columns]
    require_utf8(names, "the data has a column named")
    arrays = [of_series(name, frame.iloc[:, i]) for i, name in enumerate(names)]
    return pa.table(arrays, names=names)


def without_named_index(frame: Any) -> Any:
    """Return a frame of pandas with a named index as a column like others."""
    named = any(name is not None for name in frame.index.names)
    return frame.reset_index() if named else frame


def of_series(name: str, series: Any) -> Any:
    """Return a column of pandas as Arrow's; of objects of several kinds, as text."""
    if getattr(series.dtype, "kind", "O") in "cV":
        kinds = {"c": "complex numbers", "V": "records"}
        raise TypeError(
            f"column {name!r} holds {kinds[series.dtype.kind]}: turn them into numbers first"
        )
    if hasattr(series.dtype, "fill_value"):  # pandas' sparse ones
        series = series.sparse.to_dense()
    categories = getattr(getattr(series.dtype, "categories", None), "dtype", None)
    if str(categories).startswith(("interval", "period")):  # as pandas.cut makes them
        series = series.cat.rename_categories([*map(str, series.cat.categories)])
    if series.dtype != object:
        held = series.array  # some are Arrow's themselves, which is slower found of a series
        return pa.array(held if hasattr(held, ARROW_ARRAY) else series, from_pandas=True)
    return of_objects(name, series.to_numpy(), series.isna().to_numpy())


def of_dicts(rows: Sequence[dict[Any, Any]]) -> pa.Table:
    """Return rows that are dicts as a table: of the columns that any has, with gaps elsewhere.

    Examples
    --------
    >>> of_dicts([{"a": 1}, {"b": "x"}, {"a": float("nan"), "b": None}]).to_pydict()
    {'a': [1, None, None], 'b': [None, 'x', None]}
    """
    names = [*dict.fromkeys(name for row in rows for name in row)]
    columns = []
    for name in names:
        values = np.fromiter((row.get(name) for row in rows), object, len(rows))
        missing = np.fromiter(map(is_missing, values), np.bool_, len(rows))
        values[missing] = None
        columns.append(of_objects(str(name), values, missing))
    return pa.table(columns, names=[*map(str, names)])


def of_objects(name: str, values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any]) -> Any:
    """Return an array of objects as Arrow's; of several kinds, as text.

    Raises
    ------
    TypeError
        If some are neither numbers nor text.

    Examples
    --------
    >>> found = of_objects("a", np.array([1, "b", None], object), np.array([False, False, True]))
    >>> found.to_pylist()
    ['1', 'b', None]
    """
    try:
        found = pa.array(values, from_pandas=True)
    except UnicodeEncodeError:
        require_utf8([*values[~missing]], f"column {name!r} holds")
        raise
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        found = None
    # Text that Arrow takes from a subclass is not what an Enum's member stands for.
    if found is not None and not is_text(found.type) and not pt.is_decimal(found.type):
        return found
    told = zip(values, missing, strict=True)
    return pa.array([None if gone else _text(value, name) for value, gone in told], pa.string())


def _text(value: Any, name: str) -> str:
    """Return as text what a column of objects may hold."""
    if isinstance(value, Fraction):
        value = float(value)
    if not isinstance(value, str | bytes | Number | Decimal | np.generic):
        raise TypeError(
            f"column {name!r} holds objects of type {type(value).__name__}: give numbers or text, "
            "or leave it out"
        )
    return text_of(value, f"column {name!r}")


def plain(name: str, column: Any) -> Any:
    """Return a column as one of a plain type: text as string, bytes as the text they are."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        raise TypeError(
            f"column {name!r} holds {kind}: turn it into numbers or text, or leave it out"
        )
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pc.cast(column, pa.string())
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        try:
            return pc.cast(pc.cast(column, pa.binary()), pa.string())
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"column {name!r} has bytes that are no text in UTF-8: leave it out"
            ) from error
    if pt.is_run_end_encoded(kind):
        return plain(name, pc.run_end_decode(column))
    if pt.is_dictionary(kind):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        made = [_categories(c.indices, as_text(name, c.dictionary)) for c in chunks]
        return pa.chunked_array(made, pa.dictionary(pa.int32(), pa.string()))
    return column


def _categories(codes: pa.Array, texts: pa.Array) -> pa.DictionaryArray:
    """Return categories by their codes; a gap is none of them."""
    if texts.null_count:  # which Arrow can't bring together with others
        return pc.dictionary_encode(pc.take(texts, codes))
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), texts)


def countable(name: str, values: pa.Array) -> pa.Array:
    """Return values in one of Arrow's types that its functions know.

    Durations and times become microseconds, dates those since 1970; float16 becomes float64.

    Raises
    ------
    ValueError
        If dates lie outside the calendar of the years 1 to 9999, or durations are too long.
    """
    kind = values.type
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return _instants(name, values)
    if pt.is_duration(kind):
        return pc.cast(_in_microseconds(name, values, pa.duration("us")), pa.int64())
    if pt.is_time(kind):
        return _in_microseconds(name, values, pa.time64("us"))
    return pc.cast(values, pa.float64()) if pt.is_float16(kind) else values


def _instants(name: str, values: pa.Array) -> pa.Array:
    zoned = pt.is_timestamp(values.type) and values.type.tz is not None
    target = pa.timestamp("us", values.type.tz) if zoned else pa.timestamp("us")
    found = pc.cast(_in_microseconds(name, values, target), pa.timestamp("us"))
    require_calendar(found, f"column {name!r} holds")
    return found


def _in_microseconds(name: str, values: pa.Array, target: Any) -> pa.Array:
    try:
        return pc.cast(values, options=pc.CastOptions(target, allow_time_truncate=True))
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {name!r} holds {held(values.type)} {TOO_FAR}") from error


def require_calendar(values: pa.Array, what: str) -> None:
    """Raise a ValueError if instants, in microseconds, lie outside the years 1 to 9999."""
    bounds = pc.min_max(pc.cast(values, pa.int64()))
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is not None and not (YEARS[0] <= low <= high < YEARS[1]):
        raise ValueError(f"{what} dates {TOO_FAR}")


def floats(values: pa.Array) -> pa.Array:
    """Return numbers of any type in float64, each the nearest.

    Examples
    --------
    >>> floats(pa.array([Decimal("0.07"), None])).to_pylist()
    [0.07, None]
    """
    if pt.is_decimal(values.type):  # pyarrow 26.0.1 itself casts these to a float64 nearby
        values = pc.cast(values, pa.string())
    return pc.cast(values, pa.float64(), safe=False)


def count(values: pa.DictionaryArray) -> Counter[str | None]:
    """Return how often each category is there; None counts the gaps.

    Examples
    --------
    >>> count(pa.array(["a", None, "b", "a"]).dictionary_encode())
    Counter({'a': 2, 'b': 1, None: 1})
    """
    found: Counter[str | None] = Counter()
    names = values.dictionary.to_pylist()
    times = np.bincount(values.indices.fill_null(len(names)).to_numpy(), minlength=len(names) + 1)
    for name, n in zip([*names, None], times.tolist(), strict=True):
        if n:
            found[name] += n
    return found


def as_text(name: str, column: Any) -> Any:
    """Return any column as text; whole numbers in floating point without a point.

    Examples
    --------
    >>> as_text("a", pa.array([1.0, None, 2.5])).to_pylist()
    ['1', None, '2.5']
    """
    kind = column.type
    if pt.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
    if is_text(column.type) or pt.is_binary(column.type) or pt.is_large_binary(column.type):
        return plain(name, column)
    if pt.is_boolean(kind):
        return pc.if_else(column, "True", "False")
    if pt.is_integer(kind) or pt.is_null(kind):
        return pc.cast(column, pa.string())
    if pt.is_floating(kind):
        own = kind.to_pandas_dtype()  # 0.1 is 0.1 in float32 too
        texts = (None if v is None or v != v else _number(v, own) for v in column.to_pylist())
        return pa.array(texts, pa.string())
    return pc.cast(column, pa.string())


def _number(value: float, dtype: Any) -> str:
    return str(int(value) if value == value // 1 else dtype(value))


def text_where_one_has_text(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return tables of the same columns: what is text in one of them is text in all.

    In data frames a column of objects, ``[1, "a"]``, may be one of numbers in another part.
    """
    found = [*tables]
    for name in tables[0].column_names:
        mixed = any(is_text(table[name].type) for table in tables)
        for i, table in enumerate(found):
            kind = table[name].type
            if mixed and not (is_text(kind) or pt.is_dictionary(kind) or pt.is_nested(kind)):
                place = table.column_names.index(name)
                found[i] = table.set_column(place, name, as_text(name, one(table[name])))
    return found


def chunks(table: pa.Table, rows: int = ROWS) -> Iterator[pa.Table]:
    """Go through a table, some rows at a time; of one without rows comes one part."""
    for start in range(0, max(1, len(table)), rows):
        # Arrow takes a length beyond the end at its word where there are no columns.
        yield table.slice(start, min(rows, len(table) - start)).combine_chunks()


def one(column: Any) -> Any:
    """Return a column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of one schema, one below another.

    Whole numbers of several types are held in one that has them all, so that none changes.

    Examples
    --------
    >>> large = pa.table({"a": pa.array([2**63], pa.uint64())})
    >>> concatenate([pa.table({"a": [-1]}), large])["a"].to_pylist()
    [Decimal('-1'), Decimal('9223372036854775808')]
    """
    names = tables[0].column_names
    return pa.table([join([table[name] for table in tables]) for name in names], names=names)


def common(kinds: Sequence[Any]) -> Any:
    """Return a type that holds the values of several; one that is the only one as it is."""
    if len({*kinds}) == 1:
        return kinds[0]
    if all(is_text(kind) or pt.is_dictionary(kind) for kind in kinds):
        return pa.string()
    if pa.float64() in kinds:
        return pa.float64()
    if {*kinds} == {pa.bool_(), pa.int64()}:
        return pa.int64()
    scale = max((kind.scale for kind in kinds if pt.is_decimal(kind)), default=0)
    small = scale <= 18 and not any(map(pt.is_decimal256, kinds))
    return pa.decimal128(38, max(scale, 0)) if small else pa.decimal256(76, scale)


def as_type(values: Any, kind: Any) -> Any:
    """Return values in the type that `common` found for them; others as they are."""
    if values.type == kind:
        return values
    if pt.is_boolean(values.type):
        values = pc.cast(values, pa.int64())
    if kind == pa.float64():
        return floats(values)
    return pc.cast(values, kind)


def join(parts: Sequence[Any]) -> pa.ChunkedArray:
    """Return the parts of a column as one, without a copy of those that are of its type."""
    held = common([part.type for part in parts])
    pieces = [chunk for part in parts for chunk in getattr(part, "chunks", [part])]
    pieces = [as_type(piece, held) for piece in pieces]
    return pa.chunked_array(pieces, held).unify_dictionaries()


def as_numpy(column: Any) -> np.ndarray[Any, Any]:
    """Return a column as NumPy's: numbers with NaN for gaps, text and decimals as objects.

    Whole numbers with gaps are floats, but where these would be other numbers: objects.
    """
    values = one(column)
    if pt.is_dictionary(values.type):
        values = pc.cast(values, pa.string())
    if values.null_count and pt.is_integer(values.type):
        held = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        if np.fmax.reduce(np.abs(held)) < 2.0**53:
            return np.asarray(held)
        return np.array(values.to_pylist(), object)
    if values.null_count and pt.is_boolean(values.type):
        values = pc.cast(pc.cast(values, pa.int8()), pa.float64())
    if is_text(values.type) or pt.is_decimal(values.type):
        return np.array(values.to_pylist(), object)
    return np.asarray(values.to_numpy(zero_copy_only=False))
