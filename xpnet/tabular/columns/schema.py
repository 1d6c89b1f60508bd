"""What kind of values each column of a table holds, and how a later table is read as the same.

A schema is learnt from a whole file (`scan`), travels in the model file, and reads every later one:
what was text stays text, be it that a file holds nothing but digits there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .kinds import FATES, KINDS, LEFT_OUT, PATTERNS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        Its name.
    kind : str
        One of `kinds.KINDS`.
    pattern : str
        How its text is written, as in `text_forms.Form`, where that has to be known.
    """

    name: str
    kind: str
    pattern: str = ""

    @property
    def used(self) -> bool:
        """Whether features are made of it."""
        return self.kind not in LEFT_OUT

    @property
    def fate(self) -> str:
        """What becomes of it, in words."""
        return FATES[self.kind]

    def read(self, values: pa.Array) -> pa.Array:
        """Return values as the kind has them: whole numbers in any type, text as a dictionary.

        Numbers are float64, decimals or whole numbers; dates microseconds since 1970, times since
        midnight.

        Raises
        ------
        TypeError
            If some are not of the kind: how many, and such as which.
        """
        from . import reading

        return reading.read(self, values)

    def config(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        found: dict[str, Any] = {"name": self.name, "kind": self.kind}
        return found | ({"pattern": self.pattern} if self.pattern else {})

    @classmethod
    def from_config(cls, told: Any) -> Column:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        known = {"name", "kind", "pattern"}
        if type(told) is not dict or not {"name", "kind"} <= told.keys() <= known:
            raise TypeError(f"a column is {told!r:.100}")
        name, kind = told["name"], told["kind"]
        if type(name) is not str or type(kind) is not str:
            raise TypeError(f"a column is {told!r:.100}")
        if kind not in KINDS:
            raise ValueError(f"column {name!r:.50} is of kind {kind!r:.50}")
        if "pattern" in told and told["pattern"] not in PATTERNS.get(kind, ()):
            raise ValueError(f"column {name!r:.50} is written as {told['pattern']!r:.50}")
        return cls(name, kind, told.get("pattern", ""))


@dataclass(frozen=True)
class Schema:
    """The columns of a table, those that are to be predicted left out."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len({*names}) < len(names):
            raise ValueError("two columns of a schema have one name")

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [column.name for column in self.columns]

    @property
    def used(self) -> list[Column]:
        """The columns that features are made of."""
        return [column for column in self.columns if column.used]

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the names of the columns of some kinds."""
        return [column.name for column in self.columns if column.kind in kinds]

    def require_some(self) -> None:
        """Raise a ValueError if there is no column to make features of."""
        if not self.used:
            told = ", ".join(f"{c.name!r} is {c.fate}" for c in self.columns[:5])
            raise ValueError(f"no column of the data is left to learn from: {told}")

    def require_in(self, names: Iterable[str]) -> None:
        """Raise a ValueError if a table lacks a column that features are made of."""
        there = {*names}
        if missing := [column.name for column in self.used if column.name not in there]:
            raise ValueError(f"the data has no column {', '.join(map(repr, missing))}")

    def read(self, table: pa.Table) -> pa.Table:
        """Return a table's used columns as their kinds have them, in the schema's order.

        Raises
        ------
        TypeError
            If a column holds what it does not hold in the schema.
        ValueError
            If the table lacks one.
        """
        import pyarrow as pa

        self.require_in(table.column_names)
        arrays = [column.read(table[column.name]) for column in self.used]
        return pa.table(arrays, names=[column.name for column in self.used])

    def config(self) -> list[dict[str, Any]]:
        """Return it JSON-ready."""
        return [column.config() for column in self.columns]

    @classmethod
    def from_config(cls, told: Any) -> Schema:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        if type(told) is not list:
            raise TypeError(f"a schema is {told!r:.100}")
        return cls(tuple(map(Column.from_config, told)))
