"""Columns of numbers, truth values, dates and times as numbers, exact beyond 2⁵³.

A date gives its year, month, day of the month, day of the week from Monday as 0, hour with its
fraction, and the microseconds since 1970; of month, day of the week and hour also sine and cosine,
since after the last comes the first. A time of the day gives its microseconds, sine and cosine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...data.scaling import DoubleDouble, noise_of, split
from ..columns.schema import Column
from ..columns.tables import floats

Array = np.ndarray[Any, Any]

#: Of what goes round: how many there are until the first comes again.
PERIODS = {"month": 12, "weekday": 7, "hour": 24}

#: What the numbers of a date are called, behind its name.
DATE = (
    *("year", "month", "day", "weekday", "hour", "elapsed"),
    *(f"{name} {wave}" for name in PERIODS for wave in ("sin", "cos")),
)
TIME = ("time", "time sin", "time cos")

#: The parts of the columns that are no number themselves.
PARTS: dict[str, tuple[str, ...]] = {"date": DATE, "time": TIME, "category": ()}

DAY = 24 * 3600 * 1_000_000


def names_of(columns: Iterable[Column]) -> list[str]:
    """Return what the numbers of columns are called.

    Examples
    --------
    >>> names_of([Column("a", "number"), Column("t", "time")])
    ['a', 't: time', 't: time sin', 't: time cos']
    """
    return [name for parts in parts_of(columns).values() for name in parts.values()]


def parts_of(columns: Iterable[Column]) -> dict[str, dict[str, str]]:
    """Return for each column its parts, and what the number of each is called.

    Examples
    --------
    >>> parts_of([Column("t", "time"), Column("t: time", "number")])["t"]["time"]
    't: time (time)'
    """
    columns = [*columns]
    plain = {c.name for c in columns if c.kind not in PARTS}
    return {c.name: _parts(c, plain) for c in columns}


def _parts(column: Column, taken: set[str]) -> dict[str, str]:
    if column.kind not in PARTS:
        return {"": column.name}
    names = {part: f"{column.name}: {part}" for part in PARTS[column.kind]}
    for part, name in names.items():
        while names[part] in taken:
            names[part] = name = f"{name} ({column.kind})"
    return names


def leading(columns: Iterable[Column]) -> list[str]:
    """Return the name of the number of each column that says where it has gaps."""
    found = parts_of(columns).values()
    return [parts[part] for parts in found for part in ("", "elapsed", "time") if part in parts]


def noise_in(columns: Iterable[Column]) -> Array:
    """Return the noise of each number, as `scaling.noise_of` has it of floating point."""
    noise = noise_of(np.dtype(np.float64))
    exact = {"integer", "boolean"}
    counts = [(c, len(PARTS.get(c.kind, ("",)))) for c in columns]
    return np.array(
        [0.0 if c.kind in exact else noise for c, count in counts for _ in range(count)]
    )


def numbers(table: Any, columns: list[Column]) -> DoubleDouble:
    """Return the numbers of a table that was read by its schema, with NaN for gaps.

    Parameters
    ----------
    table : pyarrow.Table or RawColumns, n rows
        The table.
    columns : list of Column
        Those to take, in order.

    Returns
    -------
    DoubleDouble, shape (n, m)
        In the order of `names_of`.
    """
    m = sum(len(PARTS.get(column.kind, ("",))) for column in columns)
    high, low, place = np.empty((len(table), m)), None, 0
    for column in columns:
        for values in _numbers_of(column, table[column.name]):
            high[:, place] = values.high
            if values.low is not None:
                low = np.zeros(high.shape) if low is None else low
                low[:, place] = values.low
            place += 1
    return DoubleDouble(high, low)


def _numbers_of(column: Column, values: Any) -> Iterator[DoubleDouble]:
    if isinstance(values, np.ndarray):
        yield DoubleDouble(values, None) if values.dtype.kind == "f" else split(values)
        return
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if column.kind == "category":
        return
    if column.kind == "date":
        yield from _of_date(values)
    elif column.kind == "time":
        since = pc.cast(values, pa.int64())
        yield _exact(since)
        angle = _floats(since) / DAY * 2 * np.pi
        yield from (DoubleDouble(wave(angle), None) for wave in (np.sin, np.cos))
    else:
        yield _exact(values)


def _of_date(values: pa.Array) -> Iterator[DoubleDouble]:
    since = pc.cast(values, pa.int64())
    hour = np.mod(_floats(since), DAY) / (DAY / 24)  # at times before 1970 too
    found = {
        "year": _floats(pc.year(values)),
        "month": _floats(pc.month(values)),
        "day": _floats(pc.day(values)),
        "weekday": _floats(pc.day_of_week(values)),
        "hour": hour,
    }
    yield from (DoubleDouble(part, None) for part in found.values())
    yield _exact(since)
    for name, period in PERIODS.items():
        angle = found[name] / period * 2 * np.pi
        yield from (DoubleDouble(wave(angle), None) for wave in (np.sin, np.cos))


def _floats(values: Any) -> Array:
    """Return values as float64, with NaN for gaps."""
    filled: Array = np.asarray(floats(values).to_numpy(zero_copy_only=False), np.float64)
    return filled


def _exact(values: pa.Array) -> DoubleDouble:
    """Return numbers of any type, with NaN for gaps."""
    if pt.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    if pt.is_decimal(values.type):
        return _of_decimals(values)
    high = _floats(values)
    if pt.is_floating(values.type) or not _reaches(high, 2.0**53):
        return DoubleDouble(high, None)
    whole = pc.fill_null(values, 0).to_numpy()
    return DoubleDouble(high, split(whole).low)


def _of_decimals(values: pa.Array) -> DoubleDouble:
    high = _floats(values)
    if not _reaches(high, 2.0**53 / 10.0 ** max(0, values.type.scale)):
        return DoubleDouble(high, None)
    pairs = zip(values.to_pylist(), high.tolist(), strict=True)
    low = [0.0 if exact is None else float(exact - Decimal(near)) for exact, near in pairs]
    return DoubleDouble(high, np.array(low))


def _reaches(values: Array, bound: float) -> bool:
    return bool(len(values)) and bool(np.fmax.reduce(np.abs(values)) >= bound)
