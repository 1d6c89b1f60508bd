"""From a table to features: standardised numbers, calendars of dates, codes of categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ...data.arrays import are_dicts, describe_columns
from ...data.scaling import USUAL, DoubleDouble, Scales, Scaling, require_list
from ...nn.categories import Embedding, OneHot
from ...nn.layer import Layer
from ...warning import warn
from ..columns import reading
from ..columns.raw_columns import RawColumns
from ..columns.scan import learn_of
from ..columns.schema import Column, Schema
from ..columns.tables import as_table, chunks, count, is_text, of_dicts, one
from . import numeric
from .base import Array, Features, Unknown
from .categories import DIMENSIONS, Categories

#: What tables have that give themselves as Arrow's.
ARROW_STREAM = "__arrow_c_stream__"

Parts = Callable[[], Iterable[pa.Table]]


class TableFeatures(Features):
    """From a table's columns to features.

    Numbers are standardised (see `Scaling`), dates and times become several numbers (see
    `numeric`), and what is missing is filled with the mean, or median; where training rows had gaps
    a further feature says where. Of categories there are codes, which the network's first layers
    turn into columns of 0 and 1, or, of more than `categories.MOST_ONE_HOT`, into learnt numbers.
    What was the same in all training rows is left out.

    Attributes
    ----------
    schema : Schema
        How a table is read.
    names : list of str
        The numbers, of all that `numeric.names_of` the columns.
    scales : Scales
        Theirs, from the training rows.
    gaps : list of str
        The numbers that had gaps, of each column one.
    categories : dict of str to Categories
        The categories of columns.
    coded : bool
        Whether the network gets codes; files of before have it get 0 and 1.
    """

    def __init__(
        self,
        schema: Schema,
        names: list[str],
        scales: Scales,
        gaps: list[str],
        categories: dict[str, Categories],
        coded: bool = True,
    ) -> None:
        self.schema, self.names, self.scales = schema, names, scales
        self.gaps, self.categories, self.coded = gaps, categories, coded
        self._columns = [c for c in schema.used if c.kind != "category"]
        every = {name: i for i, name in enumerate(numeric.names_of(self._columns))}
        self._kept = [every[name] for name in names]
        self._gaps = [every[name] for name in gaps]
        self._used = {c.name: c for c in schema.used}

    @classmethod
    def learn_table(
        cls, frame: Any, schema: Schema | None = None, scaling: Scaling = USUAL
    ) -> TableFeatures:
        """Learn from a table of training rows, whosever it is; without a schema that as well."""
        table = as_table(frame)
        schema = learn_of(table) if schema is None else schema
        schema.require_some()
        read = schema.read
        return cls.learn_parts(lambda: map(read, chunks(table)), schema, scaling)

    @classmethod
    def learn_parts(cls, parts: Parts, schema: Schema, scaling: Scaling = USUAL) -> TableFeatures:
        """Learn from training rows, some at a time.

        Parameters
        ----------
        parts : function
            Returns the parts, as often as it is called, as `Schema.read` gives them.
        schema : Schema
            What they were read by.
        scaling : Scaling
            How numbers are brought to a common scale.

        Raises
        ------
        ValueError
            If numbers are infinite, or nothing differs from row to row.
        """
        columns = [c for c in schema.used if c.kind != "category"]
        every = numeric.names_of(columns)
        seen = _look(parts, columns, schema.of_kind("category"))
        kept, gaps = seen.differing, seen.with_gaps
        names = [every[i] for i in kept]
        leading = {*numeric.leading(columns)}
        held = {c: Categories.learn(n, c) for c, n in seen.counts.items()}
        categories = {column: found for column, found in held.items() if found.size > 1}
        marked = [every[i] for i in gaps if every[i] in leading]
        if not (names or marked or categories):
            raise ValueError("no column of the data differs from one training row to another")
        numbers = lambda: (_take(numeric.numbers(p, columns), kept) for p in parts())  # noqa: E731
        noise = np.where(seen.exact, 0.0, numeric.noise_in(columns))[kept]
        bounds = seen.least[kept], seen.most[kept]
        scales = Scales.learn_parts(numbers, noise, "the data", names, bounds, scaling)
        return cls(schema, names, scales, marked, categories)

    @property
    def n_features(self) -> int:
        """Number of features that the network gets."""
        sizes = (1 if self.coded else found.size for found in self.categories.values())
        return len(self.names) + len(self.gaps) + sum(sizes)

    @property
    def numbers(self) -> Sequence[int]:
        """The first features; gaps' marks and codes of categories come behind them."""
        return range(len(self.names))

    def layers(self) -> list[Layer]:
        """Return the layers that codes of categories go through."""
        if not self.coded:
            return []
        start = len(self.names) + len(self.gaps)
        sizes = [(start + i, found) for i, found in enumerate(self._ordered().values())]
        embedded = {i: found.size for i, found in sizes if found.embedded}
        one_hot = {i: found.size for i, found in sizes if not found.embedded}
        layers: list[Layer] = [OneHot(one_hot)] if one_hot else []
        return [*layers, *([Embedding(embedded, DIMENSIONS)] if embedded else [])]

    def _ordered(self) -> dict[str, Categories]:
        """Return the categories in the order of their codes: those to be embedded first."""
        return dict(sorted(self.categories.items(), key=lambda item: not item[1].embedded))

    def transform(self, rows: Any, dtype: Any) -> Array:
        """Return features, shape (n, n_features), of raw rows; see `Features.transform`.

        Warns
        -----
        UserWarning
            If a column holds categories that training rows did not have, and none were rare.
        """
        table = self._columns_of(rows)
        features = np.empty((len(table), self.n_features), dtype)
        start = 0
        with self.telling_unknown() as unknown:
            for part in table.parts():
                place = slice(start, start := start + len(part))
                self._fill(features[place], part.each(self._read), unknown)
        return features

    def transform_part(self, rows: Any, dtype: Any, unknown: Unknown) -> Array:
        """Return features of some of the rows; categories that are unknown go into a dict."""
        table = self._columns_of(rows)
        features = np.empty((len(table), self.n_features), dtype)
        self._fill(features, table.each(self._read), unknown)
        return features

    def _columns_of(self, rows: Any) -> RawColumns:
        """Return the columns of raw rows that features are made of."""
        found = _columns_of(rows, self._used)
        self.schema.require_in(found.columns)
        return found

    def _read(self, name: str, values: Any) -> Any:
        """Return a column's values as its kind has them; text of categories stays text."""
        column = self._used[name]
        of_arrow = not isinstance(values, np.ndarray)
        if column.kind == "category" and of_arrow and is_text(values.type):
            return one(values)
        return reading.read(column, values)

    @contextmanager
    def telling_unknown(self) -> Iterator[Unknown]:
        """Return a context with a dict of unknown categories, which warns of them at its end."""
        unknown: Unknown = {}
        yield unknown
        for name, others in unknown.items():
            warn(
                f"column {name!r} holds categories that training did not have, such as "
                f"{min(others)!r}: none is set for them"
            )

    def _fill(self, features: Array, table: RawColumns, unknown: Unknown) -> None:
        """Write the features of a table that was read."""
        numbers = numeric.numbers(table, self._columns)
        _require_finite(numbers.high, self._columns)
        kept = _take(numbers, self._kept)
        m, absent = len(self.names), np.isnan(kept.high)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.scales.standardise(kept)
            found[absent] = 0.0
            features[:, :m] = found
        self.require_no_overflow(features[:, :m], kept.high, self.names)
        features[:, m : (place := m + len(self.gaps))] = np.isnan(numbers.high[:, self._gaps])
        for column, known in self._ordered().items():
            codes, others = known.codes(table[column])
            if others:
                unknown.setdefault(column, set()).update(others)
            if self.coded:
                features[:, place] = codes
                place += 1
            else:
                features[:, place : place + known.size] = codes[:, None] == np.arange(known.size)
                place += known.size

    def became(self) -> dict[str, str]:
        """Return in words what became of each column of the schema."""
        parts, kept = numeric.parts_of(self.schema.used), {*self.names}
        every = {name: self._became(parts[name], kept) for name in parts}
        of_text = self.schema.of_kind("category")
        every |= {name: self._became_of_categories(name) for name in of_text}
        return {c.name: every[c.name] if c.used else c.fate for c in self.schema.columns}

    def _became(self, parts: dict[str, str], kept: set[str]) -> str:
        made = [part or self.scales.scaling.words for part, name in parts.items() if name in kept]
        marked = any(name in self.gaps for name in parts.values())
        made += ["gaps filled and marked"] if marked else []
        return ", ".join(made) or "left out: the same in every training row"

    def _became_of_categories(self, name: str) -> str:
        found = self.categories.get(name)
        if found is None:
            return "left out: the same in every training row"
        rare = ", rare and unknown ones as one" if found.rare else ""
        gap = ", gaps as one" if None in found.names else ""
        how = f"{DIMENSIONS} learnt numbers for each of" if found.embedded else "0 or 1 for each of"
        return f"{how} {found.size} categories{rare}{gap}"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TableFeatures:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it does not fit together.
        """
        if "schema" not in config:
            config = _of_before(config)
        known = {"names", "mean", "scale", "gaps", "categories", "schema", "coded"}
        if not known <= config.keys() <= known | {"remainder", *Scaling.KEYS}:
            raise TypeError(f"the features are {[*config]!r:.100}")
        schema, scales = Schema.from_config(config["schema"]), Scales.from_config(config)
        names, gaps, coded = config["names"], config["gaps"], config["coded"]
        require_list(names, (str,), "names")
        require_list(gaps, (str,), "gaps")
        columns = [c for c in schema.used if c.kind != "category"]
        if {*names, *gaps} - {*numeric.names_of(columns)}:
            raise ValueError("numbers or gaps are of no column of the schema")
        if len(names) != len(scales.mean):
            raise ValueError(f"there are {len(names)} names of {len(scales.mean)} columns")
        told = config["categories"]
        if type(told) is not dict or told.keys() - {*schema.of_kind("category")}:
            raise TypeError("categories are no dict of columns of the schema")
        if type(coded) is not bool:
            raise TypeError(f"coded is {coded!r:.100}")
        categories = {column: Categories.from_config(c, column) for column, c in told.items()}
        return cls(schema, names, scales, gaps, categories, coded)

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        return {
            "schema": self.schema.config(),
            "names": self.names,
            **self.scales.config(),
            "gaps": self.gaps,
            "categories": {column: found.config() for column, found in self.categories.items()},
            "coded": self.coded,
        }


def _columns_of(rows: Any, wanted: Collection[str]) -> RawColumns:
    """Return columns of rows by name, or raise a TypeError if they have no named columns."""
    told = "the model was trained on a table with named columns: give such a table"
    named = isinstance(rows, dict) or any(hasattr(rows, a) for a in ("columns", ARROW_STREAM))
    if are_dicts(rows):
        return RawColumns.of(of_dicts(rows), wanted)
    if not named:
        raise TypeError(f"{told}, not {type(rows).__name__}")
    try:
        return RawColumns.of(rows, wanted)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{told} ({error})") from error


def _of_before(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a file tells that has no schema: of numbers and categories alone."""
    names, categories, gaps = config["names"], config["categories"], config["gaps"]
    require_list(names, (str,), "names")
    require_list(gaps, (int,), "gaps")
    if type(categories) is not dict or any(type(c) is not list for c in categories.values()):
        raise TypeError("categories are no dict of lists")
    if "coded" in config or categories.keys() & {*names}:
        raise TypeError("the features have no schema")
    if any(not 0 <= place < len(names) for place in gaps):
        raise ValueError(f"gaps are {gaps!r:.100}, of {len(names)} columns")
    kinds = [(name, "number") for name in names] + [(name, "category") for name in categories]
    return config | {
        "schema": [{"name": name, "kind": kind} for name, kind in kinds],
        "gaps": [names[place] for place in gaps],
        "coded": False,
    }


class Seen(NamedTuple):
    """What was seen of training rows.

    Attributes
    ----------
    differing, with_gaps : list of int
        Which numbers differ from row to row, and which have gaps.
    exact : array of bool, shape (m,)
        Which are no floats.
    least, most : array of float64, shape (m,)
        The least and the largest of each number; NaN where there is none.
    counts : dict of str to Counter
        How often each category of each column is there.
    """

    differing: list[int]
    with_gaps: list[int]
    exact: Array
    least: Array
    most: Array
    counts: dict[str, Counter[str | None]]


def _look(parts: Parts, columns: list[Column], categories: list[str]) -> Seen:
    """Look once at all training rows."""
    lows, highs, more, gaps, exact = [], [], [], [], []
    counts: dict[str, Counter[str | None]] = {name: Counter() for name in categories}
    for part in parts():
        if len(part) == 0:
            continue
        numbers = numeric.numbers(part, columns)
        _require_finite(numbers.high, columns)
        lows.append(np.fmin.reduce(numbers.high))
        highs.append(np.fmax.reduce(numbers.high))
        low = np.zeros((1, len(lows[-1]))) if numbers.low is None else numbers.low
        more.append((np.fmin.reduce(low), np.fmax.reduce(low)))
        gaps.append(np.isnan(numbers.high).any(axis=0))
        exact.append((low != 0).any(axis=0))
        for name in categories:
            counts[name].update(count(one(part[name])))
    least, most = np.fmin.reduce(lows), np.fmax.reduce(highs)
    # Two whole numbers may be one float64, and differ in what that leaves over.
    under, over = (f([m[i] for m in more]) for i, f in enumerate((np.fmin.reduce, np.fmax.reduce)))
    differ = (least < most) | (under < over)
    differing, with_gaps = (np.flatnonzero(w).tolist() for w in (differ, np.any(gaps, axis=0)))
    return Seen(differing, with_gaps, np.any(exact, axis=0), least, most, counts)


def _take(numbers: DoubleDouble, columns: list[int]) -> DoubleDouble:
    if columns == [*range(numbers.high.shape[1])]:
        return numbers
    low = None if numbers.low is None else numbers.low[:, columns]
    return DoubleDouble(numbers.high[:, columns], low)


def require_finite(table: pa.Table, schema: Schema) -> None:
    """Raise a ValueError if a table holds infinite numbers: how many, and in which columns."""
    columns = [c for c in schema.used if c.kind != "category"]
    parts = (np.isinf(numeric.numbers(part, columns).high).sum(axis=0) for part in chunks(table))
    _require_none(sum(parts), columns)


def _require_finite(numbers: Array, columns: list[Column]) -> None:
    infinite = np.isinf(numbers)
    if infinite.any():
        _require_none(infinite.sum(axis=0), columns)


def _require_none(infinite: Any, columns: list[Column]) -> None:
    """Raise a ValueError if some of the numbers are infinite."""
    if infinite.any():
        names = numeric.names_of(columns)
        raise ValueError(f"the data has {describe_columns(infinite, names)}: replace them")
