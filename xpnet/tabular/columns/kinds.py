"""Kinds of columns: what they are called, what becomes of them, and how their text is written."""

from __future__ import annotations

import re

#: What a column may be. Of the last three no features are made.
KINDS = (
    *("number", "integer", "boolean", "category", "date", "time"),
    *("text", "identifier", "constant"),
)
LEFT_OUT = KINDS[-3:]

#: What stands for a missing value among numbers, truth values, dates and times.
GAPS = (
    *("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NaT"),
    *("NULL", "Null", "null", "None", "none", "nil"),
)

#: What becomes of columns of each kind, in words.
FATES = {
    "number": "standardised",
    "integer": "standardised",
    "boolean": "standardised",
    "category": "0 or 1 for each category; of very many, learnt numbers",
    "date": "year, month, day, weekday, hour, elapsed time, as far as they vary",
    "time": "time of the day",
    "text": "left out: hardly any two rows have the same",
    "identifier": "left out: another in every row",
    "constant": "left out: the same in every row",
}

#: Marks of a currency, and that of a percentage, before or behind a number.
MARKS = ("$", "€", "£", "¥", "₹", "%")

#: The pattern of numbers that may have leading zeros.
ZEROS = "0"

#: How text may be written, in the order in which that is tried: see `text_forms.Form`.
_NUMBERS = (
    *(f"{both}{mark}" for both in (".,", ",.") for mark in ("", *MARKS)),
    *(f"{decimal} {mark}" for decimal in ".," for mark in ("", *MARKS)),
    ZEROS,
)
PATTERNS = {
    "integer": _NUMBERS,  # of a column that is said to be one, and of later files' fractions
    "number": _NUMBERS,
    "date": ("zone", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
}


def written(pattern: str) -> str:
    """Return an example of how a column's text is written, by its pattern.

    Examples
    --------
    >>> [written(pattern) for pattern in (".,", ",.€", ". %", "%d.%m.%Y", "zone", "0")]
    ['1,234.5', '1.234,5 €', '1 234.5 %', '31.12.2024', '2024-12-31T12:00Z', '0042']
    """
    if pattern in ("zone", ZEROS):
        return "2024-12-31T12:00Z" if pattern == "zone" else "0042"
    if pattern.startswith("%"):
        parts = {"%d": "31", "%m": "12", "%Y": "2024", "%y": "24"}
        return re.sub("%.", lambda part: parts[part[0]], pattern)
    return f"1{pattern[1]}234{pattern[0]}5 {pattern[2:]}".rstrip()


#: What columns of each kind hold, in words.
HOLD = {
    "number": "numbers",
    "integer": "numbers",
    "boolean": "truth values",
    "date": "dates",
    "time": "times",
}
