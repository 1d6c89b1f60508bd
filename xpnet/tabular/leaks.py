"""What stands twice in data: columns of one name, the target among features, rows of two sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from ..data.arrays import is_arrow
from ..data.labels import is_numeric
from ..warning import warn
from .dataset import DataError, Dataset
from .formats.source import in_a_list
from .row_hashes import row_hashes

#: Rows by which most columns are told from the target; only the others are looked at further.
FIRST = 256


def require_different(dataset: Dataset) -> None:
    """Raise a DataError if two columns of one name hold the same.

    Warns
    -----
    UserWarning
        If a feature is the same as the target in every row.
    """
    for name, columns in _grouped(dataset.renamed, dataset.renamed.get):
        held = {c: _of_table(dataset.rows, c) for c in columns if c in dataset.rows.column_names}
        if second := _twin(held):
            raise DataError(
                f"{dataset.name}: there are two columns named {name!r}, which hold the same: leave "
                f"one out, as by --drop {in_a_list(second)!r}"
            )
    for column in _copies(dataset):
        named = is_arrow(dataset.rows)
        name = dataset.rows.column_names[column] if named else f"{column} of the data"
        called = repr(name) if named else name
        how = f" by --drop {in_a_list(name)!r}" if named else ""
        warn(
            f"column {called} holds the same as the target in every row: if it is not known where "
            f"predictions are made, leave it out{how}"
        )


def require_apart(dataset: Dataset) -> None:
    """Raise a DataError if a set of one's own, as a file for the test, is the data themselves.

    Warns
    -----
    UserWarning
        If many rows of such a set stand in the data as well, or in the other set: all, or many
        more than by chance, of rows as often the same as those of the data are.
    """
    if not dataset.apart:
        return
    n, kept = len(dataset.rows), {name: rows for name, (rows, _) in dataset.kept().items()}
    for part, name in dataset.apart.items():
        if len(kept[part]) == n and dataset.fingerprint(part) == dataset.fingerprint():
            raise DataError(
                f"{name}: holds the same as {dataset.name}, row by row: give other rows, or leave "
                "it out, and a part of the data is held out"
            )
    own = np.unique(row_hashes(dataset.rows))
    repeated = 1.0 - len(own) / n
    before = {dataset.name: own}
    for part, name in dataset.apart.items():
        found = np.sort(row_hashes(kept[part]))
        for other, known in before.items():
            places = np.minimum(np.searchsorted(known, found), len(known) - 1)
            _tell_of_rows(name, other, known[places] == found, repeated)
        before[f"the {part} set, {name},"] = found


def _tell_of_rows(name: str, other: str, known: Any, repeated: float) -> None:
    """Warn if more rows of a set are known from another one than by chance."""
    count, chance = int(known.sum()), repeated * len(known)
    if count > chance + 3.0 * np.sqrt(chance + 1.0) or (count == len(known) and repeated < 0.5):
        warn(
            f"{name}: {count:,} of {len(known):,} rows stand in {other} as well: what is measured "
            "on rows that are known says little of new ones"
        )


def _twin(columns: dict[str, Any]) -> str | None:
    """Return a column that holds the same as one before it, if there is one."""
    groups = [[*columns]]
    for key in (lambda c: _hash(columns[c][:FIRST]), lambda c: _hash(columns[c])):
        parted = (alike for group in groups for _, alike in _grouped(group, key))
        groups = [alike for alike in parted if len(alike) > 1]
    pairs = (pair for group in groups for pair in combinations(group, 2))
    return next((b for a, b in pairs if _same(columns[a], columns[b])), None)


def _grouped(names: Iterable[str], key: Callable[[str], Any]) -> list[tuple[Any, list[str]]]:
    """Return the names of each key, in their order."""
    found: dict[Any, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return [*found.items()]


def _hash(values: Any) -> int:
    """Return a number that is the same for columns that are the same."""
    if not is_numeric(values):
        return hash(tuple(map(str, values)))
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float64) + 0.0  # 0 and -0 are the same
    numbers[np.isnan(numbers)] = np.nan
    return hash(numbers.tobytes())


def _copies(dataset: Dataset) -> Iterator[int]:
    """Go through the features that are the same as the target, or as a column of it."""
    rows, target = dataset.rows, np.asarray(dataset.target)
    for y in target.reshape(len(target), -1).T:
        if is_arrow(rows):
            start = rows.slice(0, FIRST)
            for i, name in enumerate(rows.column_names):
                if _same(_of_table(start, name), y[:FIRST]) and _same(_of_table(rows, name), y):
                    yield i
        elif is_numeric(rows) and is_numeric(y):
            alike = np.flatnonzero((rows[:FIRST] == y[:FIRST, None]).all(axis=0))
            yield from (int(i) for i in alike if _same(rows[:, i], y))


def _of_table(rows: Any, name: str) -> Any:
    """Return a column's values, with NaN or None for gaps."""
    from .columns.tables import as_numpy

    return as_numpy(rows[name])


def _same(a: Any, b: Any) -> bool:
    """Return whether two columns hold the same numbers, or the same text; gaps are the same too."""
    if is_numeric(a) != is_numeric(b):
        return False
    for rows in (slice(FIRST), slice(None)):
        first, second = a[rows], b[rows]
        if is_numeric(a):
            gaps = (first != first) & (second != second)
            same = bool(((first == second) | gaps).all())
        else:
            same = [*map(str, first)] == [*map(str, second)]
        if not same:
            return False
    return True
