"""How text is read: as numbers, truth values, dates and times, by one rule for every format.

A `Form` is one way of writing the values of a column. `FORMS` has them in the order in which they
are tried on a whole column; what is of none of them stays text. The rules:

- An empty text is a gap everywhere. `GAPS` are gaps where all else in the column is of a form;
  among text each of them is a text like others.
- Whole numbers with leading zeros, ``007``, are codes: text.
- ``0x10``, ``1_000``, ``yes`` and ``T`` are text. Spaces around a value don't matter.
- ``1,234`` is read with a thousands comma, unless another value of the column, as ``1,5``, shows
  that the comma is decimal. A percentage ``12.3%`` is 12.3.
- Dates begin with the year, or have the day before the month where dots part them. Of ``3/4/2024``
  and ``3/4/24`` only a value above 12 tells which is the day. Years of two digits are those from
  1969 to 2068, as POSIX has them, and stand behind slashes alone: ``3.11.24`` may be a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .kinds import GAPS, PATTERNS, ZEROS
from .tables import require_calendar

#: As many values tell most columns from a form.
FIRST = 64

#: Whole numbers of more digits are held as floats.
MOST_DIGITS = 76

#: What parts thousands where it is no comma and no point: spaces and apostrophes.
SPACES = " '\u2019\u00a0\u202f"

#: The year that two digits stand for is from this one on, in the last century, or in this one.
FIRST_YEAR = 69

ZONE = r"\s*(Z|[+-]\d\d:?\d\d)$"
CLOCK = r"[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?"


@dataclass(frozen=True)
class Form:
    """A way of writing values.

    Attributes
    ----------
    kind : {"boolean", "integer", "number", "date", "time"}
        What they are.
    pattern : str
        Of numbers: the decimal mark, the thousands mark and that of a currency or percentage, as
        far as there are such; or `ZEROS`. Of dates: "zone" for an instant with its time zone, else
        the order, as ``%d.%m.%Y``; nothing for ISO 8601.
    """

    kind: str
    pattern: str = ""

    def fits(self, text: pa.Array) -> bool:
        """Return whether all values of a column are of the form, or gaps.

        Examples
        --------
        >>> Form("number").fits(pa.array(["1.5", " 2", "", "NA"]))
        True
        >>> Form("integer").fits(pa.array(["01", "2"]))
        False
        """
        return self.values(text) is not None

    def values(self, text: pa.Array) -> pa.Array | None:
        """Return the values of a column, null for gaps; None if some are not of the form."""
        try:
            if len(text) > 2 * FIRST:
                self._read(text[:FIRST])
            return self._read(text)
        except ValueError:
            return None

    def read(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return the values, null for gaps and for what is not of the form, and the latter.

        Parameters
        ----------
        text : pyarrow.Array of string
            The text.

        Examples
        --------
        >>> values, others = Form("number").read(pa.array(["1", "two", ""]))
        >>> values.to_pylist(), others.to_pylist()
        ([1.0, None, None], ['two'])
        """
        if (values := self.values(text)) is not None:
            return values, text[:0]
        others = [*self._others(pc.drop_null(pc.unique(_trimmed(text))))]
        bad = pc.fill_null(pc.is_in(_trimmed(text), pa.array(others, pa.string())), False)
        values = self._read(pc.if_else(bad, pa.scalar(None, pa.string()), text))
        return values, pc.filter(text, bad)

    def _others(self, texts: pa.Array) -> Iterator[str]:
        """Go through those texts that are not of the form, which are found by halves."""
        half = len(texts) // 2
        if self.fits(texts):
            return
        if half == 0:
            yield texts[0].as_py()
            return
        yield from self._others(texts[:half])
        yield from self._others(texts[half:])

    def _read(self, text: pa.Array) -> pa.Array:
        read = READ[self.kind]
        try:
            return read(gaps_as_null(text), self.pattern)
        except ValueError:  # Arrow's errors of values derive from it
            return read(_trimmed(text), self.pattern)


def gaps_as_null(text: pa.Array) -> pa.Array:
    """Return text with nulls where it is empty."""
    empty = pc.equal(pc.binary_length(text), 0)
    return pc.if_else(empty, pa.scalar(None, text.type), text) if pc.any(empty).as_py() else text


def _trimmed(text: pa.Array) -> pa.Array:
    """Return text without spaces around it, with nulls for gaps."""
    text = pc.utf8_trim_whitespace(text)
    gaps = pc.is_in(text, pa.array(["", *GAPS], pa.string()))
    return pc.if_else(gaps, pa.scalar(None, pa.string()), text)


def _match_all(text: pa.Array, pattern: str) -> bool:
    """Return whether a regular expression matches each text that is there."""
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py() is not False)


def _boolean(text: pa.Array, pattern: str) -> pa.Array:
    if not _match_all(text, r"^(true|false|True|False|TRUE|FALSE)$"):
        raise ValueError("no truth values")
    return pc.cast(text, pa.bool_())


def _require_no_codes(text: pa.Array) -> None:
    """Raise a ValueError if there are whole numbers with leading zeros."""
    zeros = _begin_with_zeros(text)
    some = pc.filter(text, pa.array(zeros)) if zeros.any() else text[:0]
    if len(some) and pc.any(pc.match_substring_regex(some, r"^[+-]?0\d+$")).as_py():
        raise ValueError("codes with leading zeros")


def _begin_with_zeros(text: pa.Array) -> np.ndarray[Any, Any]:
    """Return which texts begin with a 0 and a digit, after a sign or without."""
    _, offsets, data = text.buffers()
    if len(text) == 0 or data is None or data.size < 2:
        return np.zeros(len(text), np.bool_)
    places = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    start, length = places[:-1], np.diff(places)
    letters = np.frombuffer(data, np.uint8)
    last = len(letters) - 1
    first, second = letters[np.minimum(start, last)], letters[np.minimum(start + 1, last)]
    digits = (first == ord("0")) & (second - ord("0") < 10)  # of eight bits: below "0" is above
    signed = ((first == ord("-")) | (first == ord("+"))) & (second == ord("0"))
    found: np.ndarray[Any, Any] = (digits & (length > 1)) | (signed & (length > 2))
    return found


def _number(text: pa.Array, pattern: str) -> pa.Array:
    if pattern not in ("", ZEROS):
        text = _unformatted(text, pattern)
    values = pc.cast(text, pa.float64())
    if pattern != ZEROS:
        _require_no_codes(text)
    return values


def _integer(text: pa.Array, pattern: str) -> pa.Array:
    """Return whole numbers in the smallest type that holds them all."""
    pc.cast(text, pa.float64())  # refuses hexadecimal digits
    _require_no_codes(text)
    try:
        return pc.cast(text, pa.int64())
    except pa.ArrowInvalid:
        if not _match_all(text, rf"^[+-]?\d{{1,{MOST_DIGITS}}}$"):
            raise
    text = pc.replace_substring_regex(text, r"^\+", "")
    for held in (pa.int64(), pa.uint64()):
        try:
            return pc.cast(text, held)
        except pa.ArrowInvalid:
            continue
    # The cast of pyarrow 26.0.1 gives other numbers, and no error, for more digits than there are.
    fit = _match_all(text, r"^-?\d{1,38}$")
    return pc.cast(text, pa.decimal128(38, 0) if fit else pa.decimal256(MOST_DIGITS, 0))


def _unformatted(text: pa.Array, pattern: str) -> pa.Array:
    """Return numbers as plain ones are written."""
    decimal, thousands, mark = pattern[0], pattern[1], pattern[2:]
    t, d, m = (f"[{c}]" for c in (SPACES if thousands == " " else thousands, decimal, mark))
    sign = "[+\\-\u2212]?"
    around = (rf"({m}\s*)?", rf"(\s*{m})?") if mark else ("", "")
    if mark == "%":
        around = ("", rf"\s*{m}")
    digits = rf"(\d{{1,3}}({t}\d{{3}})+|\d+)({d}\d*)?"
    if not _match_all(text, f"^{sign}{around[0]}{sign}{digits}{around[1]}$"):
        raise ValueError("numbers of another form")
    _require_no_codes(text)
    text = pc.replace_substring_regex(text, rf"{t}|{m}|\s" if mark else rf"{t}|\s", "")
    text = pc.replace_substring(text, decimal, ".")
    return pc.replace_substring(text, "\u2212", "-")


def _date(text: pa.Array, pattern: str) -> pa.Array:
    if pattern == "zone":
        if not _match_all(text, ZONE):
            raise ValueError("times without a zone")
        text = pc.replace_substring_regex(text, r"\s+(Z|[+-])", r"\1")
        text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
        found = pc.cast(pc.cast(text, pa.timestamp("us", "UTC")), pa.timestamp("us"))
        require_calendar(found, "the text tells")
        return found
    if pattern:
        text = _as_iso(text, pattern)
    elif not _match_all(text, rf"^\d{{4}}-\d\d-\d\d({CLOCK})?$"):
        raise ValueError("no dates")
    if pc.any(pc.match_substring_regex(text, r"\.\d{7,}$")).as_py():
        text = pc.replace_substring_regex(text, r"(\.\d{6})\d+$", r"\1")
    found = pc.cast(text, pa.timestamp("us"))
    require_calendar(found, "the text tells")
    return found


def _as_iso(text: pa.Array, pattern: str) -> pa.Array:
    """Return dates of another order in that of ISO 8601."""
    order, mark = pattern[1::3], pattern[2]
    names = {"Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}"}
    parts = f"[{mark}]".join(f"(?P<{c}>{names[c]})" for c in order)
    found = pc.extract_regex(text, f"^{parts}(?P<rest>(?:{CLOCK})?)$")
    if found.null_count > text.null_count:
        raise ValueError("no dates of this order")
    year, month, day, rest = (
        pc.struct_field(found, [name]) for name in ("Y" if "Y" in order else "y", "m", "d", "rest")
    )
    if "y" in order:
        before = pc.greater_equal(pc.cast(year, pa.int64()), FIRST_YEAR)
        year = pc.binary_join_element_wise(pc.if_else(before, "19", "20"), year, "")
    rest = pc.replace_substring_regex(rest, r"^([T ])(\d):", r"\10\2:")
    padded = (pc.utf8_lpad(part, 2, "0") for part in (month, day))
    iso = pc.binary_join_element_wise(year, *padded, "-")
    iso = pc.binary_join_element_wise(iso, rest, "")
    return pc.if_else(pc.is_null(text), pa.scalar(None, pa.string()), iso)


def _time(text: pa.Array, pattern: str) -> pa.Array:
    if not _match_all(text, r"^([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$"):
        raise ValueError("no times")
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+$", r"\1")
    text = pc.utf8_lpad(text, 5, "0")
    text = pc.replace_substring_regex(text, r"^(\d:)", r"0\1")
    text = pc.replace_substring_regex(text, r"^(\d\d:\d\d)$", r"\1:00")
    since = pc.cast(pc.binary_join_element_wise("1970-01-01", text, "T"), pa.timestamp("us"))
    return pc.cast(pc.cast(since, pa.int64()), pa.time64("us"))


READ: dict[str, Callable[[Any, str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "date": _date,
    "time": _time,
}

#: Dates whose day and month may be told from each other by values alone: with the month first,
#: each with the form that has the day first.
MONTH_FIRST = {
    Form("date", f"%m/%d/%{year}"): Form("date", f"%d/%m/%{year}") for year in ("Y", "y")
}

#: The forms, in the order in which they are tried. What is of one is of some of the later ones too.
FORMS = (
    *map(Form, ("boolean", "integer", "number")),
    *(Form("number", pattern) for pattern in PATTERNS["number"] if pattern != ZEROS),
    Form("date"),
    *(Form("date", pattern) for pattern in PATTERNS["date"]),
    Form("time"),
)
