"""A data set: rows and labels as they were found, checked and known again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.arrays import as_host_array, column_values, is_arrow, is_frame
from ..data.labels import as_labels, is_numeric, unite
from .columns.schema import Column, Schema
from .fingerprints import KIND, fingerprint

#: What a data set's parts are called where the source has no names for them.
FIELDS = ("rows", "target", "test_rows", "test_target")


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
    test_rows, test_target
        A test set that the source keeps apart, if it does.
    target_name : str or None
        The column that the labels come from, in a table.
    renamed : dict of str to str
        What a table's file calls columns of a name that stands there twice, by the names they have.
    schema : Schema or None
        What a table's columns hold; if it is not given it is learnt from them.
    target_column : Column or None
        How a table's labels are read.
    """

    name: str
    rows: Any
    target: Any = None
    test_rows: Any = None
    test_target: Any = None
    target_name: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    schema: Schema | None = None
    target_column: Column | None = None
    _fingerprint: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            name = os.fsencode(self.name)
        except UnicodeEncodeError:
            name = self.name.encode("utf-8", "backslashreplace")
        self.name = name.decode("utf-8", "backslashreplace")
        self.rows, self.test_rows = map(_as_rows, (self.rows, self.test_rows))
        self.target, self.test_target = map(_as_target, (self.target, self.test_target))
        if is_frame(self.rows) or (is_arrow(self.rows) and self.schema is None):
            self._read_frames()

    def _read_frames(self) -> None:
        """Turn data frames into tables, by a schema of all their rows."""
        arrow_for(self.name)
        from .columns.scan import learn
        from .columns.tables import as_table, chunks, text_where_one_has_text

        tables = [as_table(part) for part in (self.rows, self.test_rows) if part is not None]
        if len({frozenset(table.column_names) for table in tables}) > 1:
            self.rows, self.test_rows = tables
            return  # which `require_alike` refuses
        tables = text_where_one_has_text(tables)
        if self.schema is None:
            names = tables[0].column_names
            every = lambda some: (c for t in tables for c in chunks(t.select(some)))  # noqa: E731
            self.schema = learn(every, names).schema
        self.schema.require_some()
        self.rows = self.schema.read(tables[0])
        if len(tables) > 1:
            self.test_rows = self.schema.read(tables[1])

    def everything(self) -> tuple[Any, Any]:
        """Return all rows and labels, a test set that is kept apart among them."""
        if self.test_rows is None:
            return self.rows, self.target
        labels = [part for part in (self.target, self.test_target) if part is not None]
        rows = _united(self.rows, self.test_rows)
        return rows, unite(labels, "the target") if labels else None

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
        if (self.test_rows is None) != (self.test_target is None):
            there, lacking = names[2:] if self.test_target is None else names[:1:-1]
            raise DataError(f"{source}: there is {there} and no {lacking}: give both, or neither")
        if self.test_rows is None:
            return
        if self.target is None:
            raise DataError(f"{source}: there is {names[3]} and no {names[1]}: give both")
        require_pair(self.test_rows, self.test_target, source, *names[2:])
        parts = (self.rows, self.target, self.test_rows, self.test_target)
        told = [*map(_told, parts, (f"{source}: {name}" for name in names), (False, True) * 2)]
        for i in range(2):
            if told[i] != told[i + 2]:
                raise DataError(
                    f"{source}: {names[i]} {told[i]} and {names[i + 2]} {told[i + 2]}: give both "
                    "of one kind, with as many columns"
                )

    def fingerprint(self) -> str:
        """Return a hash of all rows and labels, to know the data set again; columns in any order.

        The name of the target's column has no part in it: the labels have.
        """
        if self._fingerprint is not None:
            return self._fingerprint
        return fingerprint(
            rows=self.rows,
            target=self.target,
            test_rows=self.test_rows,
            test_target=self.test_target,
        )

    def release_rows(self) -> None:
        """Give up the rows, for the memory that they take; the fingerprint is still known."""
        self._fingerprint = self.fingerprint()
        of_arrow = is_arrow(self.rows)
        self.rows = self.test_rows = None
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


def _united(rows: Any, others: Any) -> Any:
    """Return the rows of two parts that go together."""
    if is_arrow(rows):
        from .columns.tables import concatenate

        return concatenate([rows, others])
    if rows.dtype != others.dtype and is_numeric(rows) and is_numeric(others):
        # The type that holds whole numbers of 64 bits and floats, where there is one.
        return np.concatenate([rows, others], dtype=np.longdouble)
    return np.concatenate([rows, others])


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
