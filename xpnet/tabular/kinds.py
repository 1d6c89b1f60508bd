"""Kinds of columns: what they are called, what becomes of them, and how their text is written."""

from __future__ import annotations

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
PATTERNS = {
    "integer": (ZEROS, ",."),
    "number": (
        *(f"{both}{mark}" for both in (".,", ",.") for mark in ("", *MARKS)),
        *(f"{decimal} {mark}" for decimal in ".," for mark in ("", *MARKS)),
        ZEROS,
    ),
    "date": ("zone", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y"),
}

#: What columns of each kind hold, in words.
HOLD = {
    "number": "numbers",
    "integer": "numbers",
    "boolean": "truth values",
    "date": "dates",
    "time": "times",
}
