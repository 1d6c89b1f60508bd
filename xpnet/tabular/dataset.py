"""A data set: rows and labels as they were found, checked and known again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.arrays import as_host_array, column_values, is_arrow, is_frame
from ..data.labels import as_labels, is_numeric, unite
from .columns.schema import Column, Schema
from .fingerprints import KIND, fingerprint

#: The sets that may be kept apart from what is trained on.
KEPT = ("test", "dev")

#: What a data set's parts are called where the source has no names for them.
FIELDS = ("rows", "target", "test_rows", "test_target", "dev_rows", "dev_target")


class DataError(ValueError):
    """A data set can't be read, or is not what it must be: the message says why."""


@dataclass
class Dataset:
    r"""Rows and labels.

    Attributes
    ----------
    name : str
        What to call it: a bundled set's name or a file's stem, as text that can be shown and
        written: bytes of a file's name that are no UTF-8 stand there as ``\xe9``.
    rows : numpy.ndarray or pyarrow.Table
        The features, (n, m). A data frame becomes a table: of the columns that features are made
        of, as the schema reads them.
    target : numpy.ndarray or None
        The labels, (n,) or (n, k); None if there are none.
    test_rows, test_target, dev_rows, dev_target
        A test set and a development set that are kept apart, if they are.
    target_name : str or None
        The column that the labels come from, in a table.
    renamed : dict of str to str
        What a table's file calls columns of a name that stands there twice, by the names they have.
    schema : Schema or None
        What a table's columns hold; if it is not given it is learnt from them.
    target_column : Column or None
        How a table's labels are read.
    apart : dict of str to str
        Which of "test" and "dev" are not from the source of the rows, and what theirs are called,
        as a file. They are read as the rows are: they have no part in the schema, the classes and
        the fingerprint.
    kinds : mapping of str to str
        What some columns of a data frame are said to be, instead of what is learnt: see `learn`.
    """

    name: str
    rows: Any
    target: Any = None
    test_rows: Any = None
    test_target: Any = None
    dev_rows: Any = None
    dev_target: Any = None
    target_name: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    schema: Schema | None = None
    target_column: Column | None = None
    apart: dict[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = _shown(self.name)
        self.apart = {part: _shown(name) for part, name in self.apart.items()}
        for rows, target in zip(FIELDS[::2], FIELDS[1::2], strict=True):
            setattr(self, rows, _as_rows(getattr(self, rows)))
            setattr(self, target, _as_target(getattr(self, target)))
        if is_frame(self.rows) or (is_arrow(self.rows) and self.schema is None):
            self._read_frames()

    def _read_frames(self) -> None:
        """Turn data frames into tables, by a schema of all rows but those of sets in `apart`."""
        arrow_for(self.name)
        from .columns.scan import learn
        from .columns.tables import as_table, chunks, text_where_one_has_text

        kept = [part for part in KEPT if self._has(part) and part not in self.apart]
        own = ["rows", *(f"{part}_rows" for part in kept)]
        tables = [as_table(getattr(self, name)) for name in own]
        if len({frozenset(table.column_names) for table in tables}) > 1:
            for name, table in zip(own, tables, strict=True):
                setattr(self, name, table)
            return  # which `require_alike` refuses
        tables = text_where_one_has_text(tables)
        if self.schema is None:
            names = tables[0].column_names
            every = lambda some: (c for t in tables for c in chunks(t.select(some)))  # noqa: E731
            self.schema = learn(every, names, self.kinds).schema
        self.schema.require_some()
        for name, table in zip(own, tables, strict=True):
            setattr(self, name, self.schema.read(table))
        for part, source in self.apart.items():
            with naming(source):
                table = as_table(getattr(self, f"{part}_rows"))
                setattr(self, f"{part}_rows", self.schema.read(table))

    def _has(self, part: str) -> bool:
        return getattr(self, f"{part}_rows") is not None

    def kept(self) -> dict[str, tuple[Any, Any]]:
        """Return rows and labels of the sets that are kept apart, by their names."""
        return {
            part: (getattr(self, f"{part}_rows"), getattr(self, f"{part}_target"))
            for part in KEPT
            if self._has(part)
        }

    def everything(self) -> tuple[Any, Any]:
        """Return all rows and labels of the source, sets that it keeps apart among them."""
        own = [self.rows, *(rows for rows, _ in self._kept_by_source())]
        return own[0] if len(own) == 1 else united(own), self.labels()

    def labels(self) -> Any:
        """Return all labels of the source; None if there are none."""
        own = [self.target, *(target for _, target in self._kept_by_source())]
        there = [target for target in own if target is not None]
        return unite(there, "the target") if len(own) > 1 and there else self.target

    def _kept_by_source(self) -> list[tuple[Any, Any]]:
        return [pair for part, pair in self.kept().items() if part not in self.apart]

    def require_alike(self, source: str, names: Sequence[str] = FIELDS) -> None:
        """Raise a DataError if rows and labels, or training and test set, don't go together.

        Parameters
        ----------
        source : str
            What the data set is called in the message.
        names : sequence of str
            What rows, labels, rows and labels for the test are called there.
        """
        require_pair(self.rows, self.target, source, *names[:2])
        for i, part in enumerate(KEPT, 1):
            called = [*names[2 * i : 2 * i + 2]]
            if part in self.apart:
                self._require_alike(self.apart[part], part, [*FIELDS[:2], *FIELDS[:2]])
            elif called:
                self._require_alike(source, part, [*names[:2], *called])

    def _require_alike(self, source: str, part: str, names: list[str]) -> None:
        """Raise a DataError if a set that is kept apart does not go with rows and labels."""
        rows, target = getattr(self, f"{part}_rows"), getattr(self, f"{part}_target")
        if (rows is None) != (target is None):
            there, lacking = names[2:] if target is None else names[:1:-1]
            raise DataError(f"{source}: there is {there} and no {lacking}: give both, or neither")
        if rows is None:
            return
        if self.target is None:
            raise DataError(f"{source}: there is {names[3]} and no {names[1]}: give both")
        require_pair(rows, target, source, *names[2:])
        parts = (self.rows, self.target, rows, target)
        told = [*map(_told, parts, (f"{source}: {name}" for name in names), (False, True) * 2)]
        whose = f"of {self.name} " if part in self.apart else ""
        for i in range(2):
            if told[i] != told[i + 2]:
                raise DataError(
                    f"{source}: {names[i]} {whose}{told[i]} and {names[i + 2]} {told[i + 2]}: "
                    "give both of one kind, with as many columns"
                )

    def fingerprint(self, of: str = "data") -> str:
        """Return a hash of all rows and labels, to know the data set again; columns in any order.

        The name of the target's column has no part in it: the labels have. What is in `apart` has
        fingerprints of its own: ``of`` is "test" or "dev" then.
        """
        if of in self._fingerprints:
            return self._fingerprints[of]
        if of != "data":
            rows, target = self.kept()[of]
            return fingerprint(rows=rows, target=target)
        own = [name for name in FIELDS if name.partition("_")[0] not in self.apart]
        return fingerprint(**{name: getattr(self, name) for name in own})

    def sets(self) -> dict[str, dict[str, str]]:
        """Return of each set in `apart` what it is called and its fingerprint, JSON-ready."""
        return {
            part: {"data": name, "fingerprint": self.fingerprint(part)}
            for part, name in self.apart.items()
        }

    def release_rows(self) -> None:
        """Give up the rows, for the memory that they take; the fingerprints are still known."""
        self._fingerprints = {of: self.fingerprint(of) for of in ("data", *self.apart)}
        of_arrow = is_arrow(self.rows)
        self.rows = self.test_rows = self.dev_rows = None
        if of_arrow:
            import pyarrow as pa

            pa.default_memory_pool().release_unused()

    def is_known_by(self, told: str | None) -> bool:
        """Return whether a fingerprint is that of this data set.

        Raises
        ------
        ValueError
            If it is of an older kind, which tells too little to say so.
        """
        if told is not None and not told.startswith(KIND):
            raise ValueError(
                f"the model has a fingerprint of an older kind, {told}, which does not say whether "
                f"{self.name} is what it was trained on: measure on all of it by --part all, or "
                "train anew"
            )
        return told == self.fingerprint()


@contextmanager
def naming(source: str | None) -> Iterator[None]:
    """Return a context in which errors of what data hold begin with a name, if there is one."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError) or source is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else DataError
        raise kind(f"{source}: {error}") from error


def arrow_for(source: str) -> Any:
    """Return pyarrow.

    Raises
    ------
    ImportError
        If it is not installed: the message names the file, and what to install.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"{source}: tables need pyarrow: pip install 'xpnet[files]'") from error
    return pyarrow


def some_rows(rows: Any) -> Iterator[Any]:
    """Go through rows: those of a table some at a time."""
    if not is_arrow(rows):
        return iter([rows])
    from .columns.tables import chunks

    return chunks(rows)


def require_pair(rows: Any, target: Any, source: str, X: str = "rows", y: str = "target") -> None:
    """Raise a DataError if there are no rows, or not one label for each.

    Parameters
    ----------
    rows : array or table
        The features.
    target : array or None
        The labels, if there are any.
    source, X, y : str
        What the data set, its rows and its labels are called in the message.

    Examples
    --------
    >>> require_pair(np.zeros((3, 2)), np.array([]), "d")
    Traceback (most recent call last):
    xpnet.tabular.dataset.DataError: d: rows has 3 rows and target 0: give one label for each row
    """
    if len(rows) == 0:
        raise DataError(f"{source}: {X} has no rows")
    if target is not None and np.ndim(target) == 0:
        raise DataError(f"{source}: {y} is a single value: give one label for each row")
    if target is not None and len(target) != len(rows):
        raise DataError(
            f"{source}: {X} has {len(rows)} rows and {y} {len(target)}: give one label for each row"
        )


def _as_rows(rows: Any) -> Any:
    """Return a list of rows as an array; arrays and tables as they are."""
    return as_host_array(rows, "rows") if isinstance(rows, list | tuple) else rows


def _as_target(target: Any) -> Any:
    """Return labels as an array, however they are kept: what they hold is for `as_labels`."""
    if target is None or isinstance(target, np.ndarray):
        return target
    if isinstance(target, list | tuple):
        return np.asarray(target, object)  # NaN and None stay what they are beside text
    return column_values(target)


def united(parts: Sequence[Any]) -> Any:
    """Return rows of several parts that go together, one below another."""
    if is_arrow(parts[0]):
        from .columns.tables import concatenate

        return concatenate(parts)
    if len({part.dtype for part in parts}) > 1 and all(map(is_numeric, parts)):
        # The type that holds whole numbers of 64 bits and floats, where there is one.
        return np.concatenate(parts, dtype=np.longdouble)
    return np.concatenate(parts)


def _shown(name: str) -> str:
    """Return a name as text that can be shown and written."""
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = name.encode("utf-8", "backslashreplace")
    return encoded.decode("utf-8", "backslashreplace")


def _told(part: Any, called: str, of_labels: bool) -> str:
    """Return in words what must be the same of a training set and a test set."""
    if of_labels:
        part = as_labels(part, called)
    if is_arrow(part):
        return f"has the columns {', '.join(map(str, part.column_names))}"
    kind = part.dtype.kind
    if kind in "OSTU":
        what = "text"
    elif kind == "b" and of_labels:  # features may be: they are numbers then
        what = "truth values"
    else:
        what = "numbers" if is_numeric(part) else str(part.dtype)
    return f"holds {what} of shape {('n', *part.shape[1:])}".replace("'n'", "n")
