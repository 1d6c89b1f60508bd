"""From a table's file to a data set: by a schema that is learnt from it, or by a model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .columns.schema import Column, Schema
from .dataset import DataError, Dataset, naming
from .formats.opening import name_of
from .formats.source import aligned, in_a_list, joined

if TYPE_CHECKING:
    import pyarrow as pa

    from .columns.scan import Learnt
    from .formats.source import Source


@dataclass(frozen=True)
class Request:
    """What is wanted of a table.

    Attributes
    ----------
    target : str or None
        The column with the labels; None: the one that the source names.
    drop : sequence of str
        Columns to leave out.
    labels : bool
        Whether labels are needed.
    kinds : dict of str to str
        What some columns are said to be, instead of what is learnt.
    schema : Schema or None
        A model's, by which the columns are read; None: one is learnt.
    column : Column or None
        How the model's labels are read.
    """

    target: str | None = None
    drop: Sequence[str] = ()
    labels: bool = True
    kinds: Mapping[str, str] = field(default_factory=dict)
    schema: Schema | None = None
    column: Column | None = None


@dataclass
class Plan:
    """How a source is read: its schema, and the column of its labels, if it has it.

    Attributes
    ----------
    source : Source
        The table.
    schema : Schema
        Of its features.
    target : Column or None
        How the labels are read.
    target_name : str or None
        The column that is to be predicted, whether it is there or not.
    values : dict of str to list of pyarrow.Array, or None
        What the columns hold, if that is known already.
    """

    source: Source
    schema: Schema
    target: Column | None
    target_name: str | None
    values: dict[str, list[pa.Array]] | None = None

    def chunks(self) -> Iterator[tuple[pa.Table, Any]]:
        """Go through features, read by the schema, and labels, or None for these."""
        from .columns.reading import labels

        for chunk in self._raw():
            with naming(self.source.name):
                own = self.target
                y = None if own is None else labels(own, chunk[own.name])
                table = self.schema.read(chunk)
            yield table, y

    def _raw(self) -> Iterator[pa.Table]:
        """Go through the columns, as they are in the source or as they were read of it."""
        names = [column.name for column in self.schema.used]
        names += [] if self.target is None else [self.target.name]
        if self.values is None:
            yield from joined(self.source.chunks(names))
            return
        import pyarrow as pa

        for parts in aligned([self.values[name] for name in names]):
            yield pa.table(parts, names=names)

    def renamed(self) -> dict[str, str]:
        """Return what the file calls the columns of a name that stands there twice."""
        written = {c.name: self.source.written[c.name] for c in self.schema.used}
        counts = Counter(written.values())
        return {name: w for name, w in written.items() if w and counts[w] > 1}

    def load(self) -> Dataset:
        """Read all of it.

        Raises
        ------
        DataError
            If there are no rows, or no columns.
        """
        import pyarrow as pa

        from .gathering import Gathered

        self.schema.require_some()
        labels = []
        with Gathered(self.source.size) as gathered:
            for table, y in self.chunks():
                gathered.add(table)
                labels.append(y)
            rows = gathered.table()
        self.values = None
        pa.default_memory_pool().release_unused()  # what the text took
        if len(rows) == 0:
            raise DataError(f"{self.source.name}: there are no rows")
        return Dataset(
            name_of(self.source.name),
            rows,
            None if self.target is None else _joined(labels),
            target_name=self.target_name,
            renamed=self.renamed(),
            schema=self.schema,
            target_column=self.target,
        )


def plan(source: Source, wanted: Request) -> Plan:
    """Find out how a source is to be read.

    Raises
    ------
    DataError
        If it lacks a column, or it is not said which one is to be predicted.
    TypeError, ValueError
        If a column holds what no feature is made of.
    """
    target = wanted.target or source.target
    _require_columns(source, wanted, target)
    there = target is not None and target in source.columns and target not in wanted.drop
    names = [c for c in source.columns if c not in wanted.drop and not (there and c == target)]
    if not names:
        raise DataError(f"{source.name}: no columns are left to predict from")
    if wanted.schema is not None:
        with naming(source.name):
            wanted.schema.require_in(names)
        column = None
        if there:
            column = _known_column(source, wanted, str(target))
        found = Plan(source, wanted.schema, column, target)
    else:
        learnt = _learn(source, wanted, names, str(target) if there else None)
        found = Plan(source, learnt.schema, learnt.target, target, learnt.values)
    if there:
        _require_one(str(target), [c.name for c in found.schema.used], source)
    return found


def _known_column(source: Source, wanted: Request, target: str) -> Column | None:
    """Return how a model's labels are read from a column; learnt, if the model does not say."""
    if wanted.column is not None:
        return replace(wanted.column, name=target)
    return _learn(source, wanted, [], target).target


def _learn(source: Source, wanted: Request, names: list[str], target: str | None) -> Learnt:
    from .columns.scan import learn

    every = [*names, *([target] if target is not None else [])]
    with naming(source.name):
        chunks = lambda some: joined(source.chunks(some))  # noqa: E731
        return learn(chunks, every, wanted.kinds, target, source.decimal)


def _require_columns(source: Source, wanted: Request, target: str | None) -> None:
    known = ", ".join(source.columns[:20])
    if wanted.labels and target is None:
        raise DataError(f"{source.name}: say which column to predict: --target COLUMN ({known})")
    for column in (*wanted.drop, *([target] if target and wanted.labels else [])):
        if column not in source.columns:
            raise DataError(f"{source.name}: there is no column {column!r}; there are {known}")
    if wanted.labels and target in wanted.drop:
        raise DataError(
            f"{source.name}: {target!r} is the column to be predicted: don't leave it out"
        )


def _require_one(target: str, names: Sequence[str], source: Source) -> None:
    """Raise a DataError if another column has the name of the one that is to be predicted."""
    wanted = source.written[target]
    for name in names:
        written = source.written[name]
        if written.strip() == wanted.strip():
            twice = f"columns named {wanted!r} and {written!r}"
            twice = f"two columns named {wanted!r}" if written == wanted else twice
            raise DataError(
                f"{source.name}: there are {twice}, and {target!r} is to be predicted: leave the "
                f"other out by --drop {in_a_list(name)!r}, or rename it"
            )


def _joined(labels: list[Any]) -> Any:
    """Return labels of several chunks as one array, whole numbers as whole numbers."""
    import numpy as np

    if len({part.dtype for part in labels}) > 1:  # NumPy would make floats of whole numbers
        return np.concatenate([part.astype(object) for part in labels])
    return np.concatenate(labels)
