"""A number for each row, by which rows that stand in two sets are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.arrays import is_arrow

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]

#: Rows that are looked at at a time.
ROWS = 2**13

#: What stands for a gap.
GAP = 0x9E3779B97F4A7C15


def row_hashes(rows: Any) -> Array:
    """Return a number for each row of an array or table, equal where all its values are.

    Numbers are compared in float64. Those of text are others in each process.

    Parameters
    ----------
    rows : array of numbers, shape (n, m), or table of n rows
        The rows, of a table as its schema has read them.

    Returns
    -------
    array of uint64, shape (n,)
        Of rows that differ two are equal by chance, once in 2⁶⁴ pairs.

    Examples
    --------
    >>> found = row_hashes(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    >>> found[0] == found[2], found[0] == found[1]
    (np.True_, np.False_)
    """
    return np.concatenate([_mixed(columns, n) for n, columns in _chunks(rows)])


def _chunks(rows: Any) -> Iterator[tuple[int, Iterator[Array]]]:
    """Go through rows, some at a time: how many they are, and the bits of each column."""
    if is_arrow(rows):
        from .columns.tables import chunks, one

        for table in chunks(rows, ROWS):
            yield len(table), (_bits_of_column(one(column)) for column in table.columns)
        return
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        yield len(part), (_bits(column) for column in part.T)


def _mixed(columns: Iterator[Array], n: int) -> Array:
    """Return one number of each row's, by the finaliser of SplitMix64 (Steele et al., 2014)."""
    found = np.zeros(n, np.uint64)
    for bits in columns:
        found ^= bits
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            found ^= found >> np.uint64(shift)
            found *= np.uint64(factor)
        found ^= found >> np.uint64(31)
        found += np.uint64(GAP)
    return found


def _bits(values: Array) -> Array:
    """Return the bits of numbers in float64: 0 and -0 are the same, and NaN is."""
    numbers = np.asarray(values, np.float64) + 0.0
    return np.where(np.isnan(numbers), np.uint64(GAP), numbers.view(np.uint64))


def _bits_of_column(values: pa.Array) -> Array:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    from .columns.tables import floats, is_text

    if is_text(values.type):
        values = pc.dictionary_encode(values)
    if pt.is_dictionary(values.type):
        texts = values.dictionary.to_pylist()
        numbers = [GAP, *(hash(text) % 2**64 for text in texts)]
        places = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        found: Array = np.array(numbers, np.uint64)[places + 1]
        return found
    if pt.is_temporal(values.type):
        values = pc.cast(values, pa.int64())
    if pt.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    return _bits(floats(values).to_numpy(zero_copy_only=False))
