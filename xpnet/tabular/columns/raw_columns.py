"""A table's columns as they are given: NumPy's numbers as they lie, all else as Arrow's.

A way through Arrow takes some ten times as long as what is then made of a few numbers, so those of
data frames don't take it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from .tables import ROWS, of_series, one, plain, without_named_index


@dataclass(frozen=True)
class RawColumns:
    """Some columns of a table, which are used as those of `pyarrow.Table` are.

    Attributes
    ----------
    columns : dict of str to array
        Each NumPy's, of numbers or truth values, or Arrow's.
    n : int
        How many rows there are.
    """

    columns: dict[str, Any]
    n: int

    @classmethod
    def of(cls, rows: Any, wanted: Collection[str]) -> RawColumns:
        """Return those columns of a table, whosever it is, that are wanted and there.

        A named index of pandas is a column like others.

        Raises
        ------
        TypeError
            If a column holds objects that are neither numbers nor text.
        ValueError
            If two columns have one name that is wanted, or bytes are no text.

        Examples
        --------
        >>> RawColumns.of({"a": [1, 2], "b": ["x", "y"]}, ["b", "c"]).column_names
        ['b']
        """
        if hasattr(rows, "iloc"):
            return cls._of_pandas(without_named_index(rows), wanted)
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
        places = _places(table.column_names, wanted)
        found = {name: _of_arrow(name, table.column(i)) for name, i in places.items()}
        return cls(found, len(table))

    @classmethod
    def _of_pandas(cls, frame: Any, wanted: Collection[str]) -> RawColumns:
        places = _places(frame.columns.to_list(), wanted)
        kinds = {*frame.dtypes.to_numpy()}
        if len(kinds) == 1 and is_plain(*kinds):
            rows = frame.to_numpy()
            return cls({name: rows[:, i] for name, i in places.items()}, len(rows))
        of_place = {i: name for name, i in places.items()}
        columns = enumerate(series for _, series in frame.items())
        found = {of_place[i]: _of_series(of_place[i], s) for i, s in columns if i in of_place}
        return cls(found, len(frame))

    @property
    def column_names(self) -> list[str]:
        """The names of the columns that are there."""
        return [*self.columns]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def each(self, read: Callable[[str, Any], Any]) -> RawColumns:
        """Return what is made of each column, by its name and values."""
        return RawColumns({name: read(name, v) for name, v in self.columns.items()}, self.n)

    def parts(self, rows: int = ROWS) -> Iterator[RawColumns]:
        """Go through the rows, some at a time; where there are none comes one part."""
        if self.n <= rows:
            yield self
            return
        for start in range(0, self.n, rows):
            part = slice(start, min(start + rows, self.n))
            found = {name: values[part] for name, values in self.columns.items()}
            yield RawColumns(found, part.stop - start)


def is_plain(kind: Any) -> bool:
    """Return whether a column's type is one of NumPy's, of numbers that float64s make up.

    Examples
    --------
    >>> [is_plain(np.dtype(kind)) for kind in ("i8", "f2", "?", "c16", "U1")]
    [True, True, True, False, False]
    """
    return isinstance(kind, np.dtype) and kind.kind in "fiub" and kind.itemsize <= 8


def _of_arrow(name: str, column: Any) -> Any:
    """Return a column of Arrow's as NumPy's where that has all its numbers, with NaN for gaps."""
    kind = column.type
    if pt.is_floating(kind) or (column.null_count == 0 and pt.is_integer(kind)):
        return one(column).to_numpy(zero_copy_only=False)
    return plain(name, column)


def _of_series(name: str, series: Any) -> Any:
    """Return a column of pandas as NumPy's where it holds these, or Arrow's."""
    return series.to_numpy() if is_plain(series.dtype) else plain(name, of_series(name, series))


def _places(labels: list[Any], wanted: Collection[str]) -> dict[str, int]:
    """Return the places of the columns that are wanted, by their names."""
    names = [str(label) for label in labels]
    places = {name: i for i, name in enumerate(names) if name in wanted}
    if len({*names}) < len(names):
        twice = [name for name in places if names.count(name) > 1]
        if twice:
            raise ValueError(f"the data has two columns of the same name, {twice[0]!r}: rename one")
    return places
