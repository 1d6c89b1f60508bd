"""Learning a schema from a whole table, some rows at a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...data.labels import require_utf8
from .. import memory
from .kinds import HOLD, KINDS, LEFT_OUT, PATTERNS, ZEROS, written
from .schema import Column, Schema
from .tables import chunks, count, countable, is_text, one, plain, require_usable
from .text_forms import FORMS, MONTH_FIRST, Form, gaps_as_null

#: Up to so many different texts are counted; a column of more is none of categories.
MOST_COUNTED = 100_000

#: So many different texts, or numbers of rows, are categories however few rows there are.
FEW = 20

Chunks = Callable[[list[str] | None], Iterable[pa.Table]]


class Learnt(NamedTuple):
    """What was learnt of a table.

    Attributes
    ----------
    schema : Schema
        Of the columns but the target.
    target : Column or None
        The target's.
    values : dict of str to list of pyarrow.Array, or None
        What the used columns hold, as it was read on the way, for `Column.read`; None: they are too
        large to be kept.
    """

    schema: Schema
    target: Column | None
    values: dict[str, list[pa.Array]] | None


def learn(
    chunks: Chunks,
    names: list[str],
    kinds: Mapping[str, str] | None = None,
    target: str | None = None,
    decimal: str = ".",
) -> Learnt:
    """Learn the kind of each column from a whole table.

    Parameters
    ----------
    chunks : function
        Returns the table some rows at a time, of some columns, as often as it is called.
    names : list of str
        The columns to learn of.
    kinds : dict of str to str
        What some columns are said to be: a kind, or ``date:%d/%m/%Y``.
    target : str or None
        The column that is to be predicted, which is among them.
    decimal : str
        The decimal mark that is tried first.

    Raises
    ------
    TypeError, ValueError
        If a column holds what no feature can be made of, or there are no rows.
    """
    kinds = _checked(kinds or {}, names)
    scans = {n: Scan(n, kinds.get(n, ""), n == target, decimal) for n in names}
    again = [*names]
    while again:
        for scan in (scans[name] for name in again):
            scan.begin()
        for chunk in chunks(again):
            for name in again:
                scans[name].see(one(chunk[name]))
            if not memory.fits(sum(scan.kept_bytes for scan in scans.values())):
                for scan in scans.values():
                    scan.kept = None
        again = [name for name in again if scans[name].changed]
    if all(scan.rows == 0 for scan in scans.values()):
        raise ValueError("there are no rows")
    columns = {name: scan.column() for name, scan in scans.items()}
    values = {n: scan.values(columns[n]) for n, scan in scans.items() if columns[n].used}
    own = None if target is None else columns.pop(target)
    kept = {name: parts for name, parts in values.items() if parts is not None}
    return Learnt(Schema(tuple(columns.values())), own, kept if len(kept) == len(values) else None)


def learn_of(table: pa.Table) -> Schema:
    """Learn the kinds of a table that is in memory.

    Examples
    --------
    >>> learn_of(pa.table({"a": ["1", "2.5"], "b": ["x", "y"]})).of_kind("number")
    ['a']
    """
    return learn(
        lambda names: chunks(table if names is None else table.select(names)), table.column_names
    ).schema


def _checked(kinds: Mapping[str, str], names: list[str]) -> Mapping[str, str]:
    """Return what columns are said to be, or raise a ValueError."""
    for name, kind in kinds.items():
        if name not in names:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(names[:20])}")
        head, colon, pattern = kind.partition(":")
        dates = head == "date" and pattern in PATTERNS["date"]
        if head not in KINDS or (colon and not dates):
            raise ValueError(
                f"column {name!r} is said to be {kind!r}: give one of {', '.join(KINDS)}; of dates "
                "also date:%d/%m/%Y or date:%m/%d/%Y"
            )
    return kinds


class Scan:
    """What is known of a column, of the rows seen so far.

    Attributes
    ----------
    changed : bool
        Whether it turned out that rows seen before have to be seen again.
    """

    def __init__(self, name: str, said: str, is_target: bool, decimal: str) -> None:
        self.name, self.is_target, self.decimal = name, is_target, decimal
        self.said, _, pattern = said.partition(":")
        self.forms = _forms(self.said, pattern, decimal)
        self.form = 0  # of those that may be, or how many there are: text
        self.kind = ""  # of a column that has a type of its own
        self.zoned = False  # whether that is one of instants with a time zone
        self.begin()

    def begin(self) -> None:
        """Forget what has been counted."""
        self.rows = self.gaps = 0
        self.changed = False
        self.ambiguous = True
        self.counts: Counter[str] | None = Counter()
        self.bounds: tuple[Any, Any] | None = None
        self.next: int | None = 0  # what follows if the column counts its rows
        #: The numbers of a column without a name, as long as all of them differ.
        self.different: set[int] | None = set() if NAMELESS.fullmatch(self.name) else None
        self.kept: list[pa.Array] | None = []
        self.kept_bytes = 0
        self.first = True

    def see(self, values: pa.Array) -> None:
        """Take some rows into account."""
        if self.said in LEFT_OUT:
            self.rows += len(values)
            return
        values = one(plain(self.name, values))
        require_usable(self.name, values.type)
        before = self.rows
        self.rows += len(values)
        if is_text(values.type):
            values = self._see_text(values, before)
        else:
            kind = self._kind_of(values.type)
            self._require_one_kind(kind)
            self.kind = kind
            self.zoned |= pt.is_timestamp(values.type) and values.type.tz is not None
        self.gaps += values.null_count
        if self.changed:  # what is counted now will be forgotten
            return
        self._keep(values)
        if self.said:
            return
        if pt.is_dictionary(values.type):
            self._count(values)
        elif values.null_count < len(values):
            self._bound(countable(self.name, values))

    def _keep(self, values: pa.Array) -> None:
        if self.kept is not None:
            self.kept.append(values)
            self.kept_bytes += values.nbytes

    def _see_text(self, text: pa.Array, before: int) -> pa.Array:
        """Find the form that all text so far has; return its values."""
        began, values = self.form, None
        while self.form < len(self.forms) and values is None:
            values = self._form.values(text)
            self.form += values is None
        if self.form != began and before:
            wider = began < len(self.forms) and self.forms[began].kind == "integer"
            self.changed |= not (wider and self.form < len(self.forms) and self._form == NUMBER)
        if self.form == len(self.forms):
            return pc.dictionary_encode(gaps_as_null(text))
        if (other := MONTH_FIRST.get(self._form)) is not None:
            self.ambiguous = self.ambiguous and other.fits(text)
        return values

    @property
    def _form(self) -> Form:
        return self.forms[self.form]

    def _kind_of(self, kind: Any) -> str:
        """Return what a column of a type is; what it was so far is kept where that says more."""
        if pt.is_null(kind):
            return self.kind
        if pt.is_dictionary(kind):
            return "category"
        if pt.is_boolean(kind):
            return "boolean"
        if pt.is_date(kind) or pt.is_timestamp(kind):
            return "date"
        if pt.is_time(kind):
            return "time"
        whole = pt.is_integer(kind) or pt.is_duration(kind)
        whole = whole or (pt.is_decimal(kind) and kind.scale <= 0)
        return "integer" if whole and self.kind in ("", "integer") else "number"

    def _require_one_kind(self, kind: str) -> None:
        """Raise a TypeError if some rows have a type of numbers, say, and others one of dates."""
        now, before = (HOLD.get(k, "categories") for k in (kind, self.kind))
        numbers = {HOLD["number"], HOLD["boolean"]}
        if self.kind and now != before and {now, before} != numbers:
            raise TypeError(f"column {self.name!r} holds {before} and {now}: give it one type")

    def _count(self, values: pa.Array) -> None:
        if self.counts is None:
            return
        self.counts.update({name: n for name, n in count(values).items() if name is not None})
        if len(self.counts) > MOST_COUNTED:
            self.counts = None

    def _bound(self, values: pa.Array) -> None:
        """Note the least and the largest value, and whether the column counts its rows."""
        found = pc.min_max(values)
        low, high = _bare(found["min"]), _bare(found["max"])
        if self.bounds is not None:
            low, high = min(low, self.bounds[0]), max(high, self.bounds[1])
        self.bounds = low, high
        if self.next is None and self.different is None:
            return
        if not pt.is_integer(values.type) or values.null_count:
            self.next = self.different = None
            return
        numbers = values.to_numpy()
        self._compare(numbers)
        if self.next is None:
            return
        start = numbers[0] if self.first else self.next
        self.first = False
        counting = int(numbers[0]) == int(start) and bool((np.diff(numbers) == 1).all())
        self.next = int(numbers[-1]) + 1 if counting else None

    def _compare(self, numbers: np.ndarray[Any, Any]) -> None:
        """Note whether a column without a name has a number for the second time."""
        if self.different is None or len(self.different) > MOST_COUNTED:
            return
        before = len(self.different)
        self.different.update(numbers.tolist())
        if len(self.different) < before + len(numbers):
            self.different = None

    def values(self, column: Column) -> list[pa.Array] | None:
        """Return what was read, if that is what the column is read from."""
        if self.said:  # a number, say, which was read as whole ones
            return None
        if self.kept and column.kind == "category":
            same = all(pt.is_dictionary(part.type) or self.kind for part in self.kept)
            return self.kept if same else None
        return self.kept

    def column(self) -> Column:
        """Return what the column is."""
        if self.said == "date" and self.form < len(self.forms):
            self._require_one_order()
        if self.said:
            return self._made(self.said)
        if self.gaps == self.rows and not self.is_target:
            return Column(self.name, "constant")
        of_text = self.form == len(self.forms) or self.gaps == self.rows
        kind = self.kind or ("category" if of_text else self._form.kind)
        if kind == "date" and self.form < len(self.forms):
            self._require_one_order()
        if self.is_target:
            return self._made(kind)
        if kind == "category":
            return self._made(self._kind_of_text())
        low, high = self.bounds or (0, 0)
        if low == high and not self.gaps:
            return Column(self.name, "constant")
        counts = self.next is not None or self.different is not None
        if kind == "integer" and counts and self.rows > FEW:
            return Column(self.name, "identifier")
        return self._made(kind)

    def _made(self, kind: str) -> Column:
        pattern = "zone" if kind == "date" and self.zoned else ""
        if self.form < len(self.forms) and not self.kind:
            pattern = self._form.pattern if kind != "category" else ""
            pattern = ",." if kind == "integer" and self.decimal == "," else pattern
        return Column(self.name, kind, pattern)

    def _kind_of_text(self) -> str:
        """Return what a column of text is, from how many different texts there are."""
        there = self.rows - self.gaps
        if self.counts is None:
            return "text"
        require_utf8(self.counts, f"column {self.name!r} holds")
        if len(self.counts) == 1 and not self.gaps:
            return "constant"
        if not self.kind:
            self._reject_slips(self.counts)
            if len(self.counts) > max(FEW, there / 2):
                return "identifier" if len(self.counts) == there else "text"
        return "category"

    def _reject_slips(self, counts: Counter[str]) -> None:
        """Raise a TypeError if text is mostly dates, times or numbers: the others are slips."""
        texts = pa.array([*counts], pa.string())
        some = texts[:FEW].to_pylist()
        for form in DATES:
            if sum(form.fits(pa.array([text])) for text in some) > 0.5 * len(some):
                self._require_all(form.kind, counts, *form.read(texts), texts)
        like_numbers = pc.filter(texts, pc.match_substring_regex(texts, LIKE_NUMBERS)).to_pylist()
        if sum(counts[text] for text in like_numbers) > 0.5 * counts.total():
            found, others = NUMBER.read(texts)
            others = Form("number", ZEROS).read(others)[1]
            self._require_all("number", counts, found, others, texts)

    def _require_all(
        self, kind: str, counts: Counter[str], found: pa.Array, others: pa.Array, texts: pa.Array
    ) -> None:
        """Raise a TypeError if most values are of a kind, and others are not."""
        of_kind = sum(counts[text] for text in pc.filter(texts, found.is_valid()).to_pylist())
        if of_kind > 0.5 * counts.total() and len(others):
            slips = sum(counts[text] for text in others.to_pylist())
            values = "1 value" if slips == 1 else f"{slips} values"
            raise TypeError(
                f"column {self.name!r} holds text where {HOLD[kind]} belong: {values} such as "
                f"{others[0].as_py()!r}: correct them, or say --column {self.name}=category"
            )

    def _require_one_order(self) -> None:
        """Raise a ValueError if nothing tells day and month apart."""
        if len(self.forms) > 1 and self._form in MONTH_FIRST and self.ambiguous:
            month, day = self._form.pattern, MONTH_FIRST[self._form].pattern
            raise ValueError(
                f"column {self.name!r} holds dates as {written(month)}, and no value tells which "
                f"is the day: say --column {self.name}=date:{day} or {self.name}=date:{month}, or "
                "leave it out"
            )


NUMBER = Form("number")
DATES = tuple(form for form in FORMS if form.kind in ("date", "time"))

#: What columns are called that have no name, and what pandas calls an index without one.
NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)?|__index_level_\d+__")

#: What all text that is a number without more is like; most other text is not.
LIKE_NUMBERS = r"(?i)^\s*[+-]?(\.?\d[\d.e+-]*|inf|infinity|nan)\s*$"


def _bare(scalar: Any) -> Any:
    """Return a number as Python's, a date or time as the number that it is held as.

    Without pandas those with nanoseconds are none of Python's.
    """
    return scalar.value if hasattr(scalar, "value") else scalar.as_py()


def _forms(said: str, pattern: str, decimal: str) -> tuple[Form, ...]:
    """Return the forms that a column may have, in the order in which they are tried."""
    if said == "date" and pattern:
        return (Form("date", pattern),)
    if said in ("integer", "number"):
        found = [form for form in FORMS if form.kind in ("integer", "number")]
        found.append(Form("number", ZEROS))
    elif said in ("boolean", "date", "time"):
        found = [form for form in FORMS if form.kind == said]
    elif said:
        return ()
    else:
        found = [*FORMS]
    if decimal == ",":
        found.sort(key=lambda form: form.kind == "number" and form.pattern[:1] != ",")
    return tuple(found)
