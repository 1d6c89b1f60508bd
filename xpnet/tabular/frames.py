"""Data sets from what is in memory: data frames, tables and arrays, with the labels apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends.arrays import to_host
from ..data.arrays import are_dicts, as_host_array, is_arrow, is_frame
from ..data.labels import is_missing, is_numeric
from ..data.streaming import is_sparse
from .columns.schema import Schema
from .dataset import Dataset, arrow_for
from .features.array_features import OTHERS

#: What the columns of an array are called, by their places, where it is read as a table.
COLUMN = "x{}"

Array = np.ndarray[Any, Any]


def dataset_of(
    X: Any,
    y: Any,
    X_val: Any = None,
    y_val: Any = None,
    name: str = "data",
    *,
    kinds: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
) -> Dataset:
    """Return rows and labels as a data set, and others as its development set.

    Parameters
    ----------
    X : data frame, table, array or list, n rows
        The rows. Frames and tables of pandas, Polars and Arrow, and lists of dicts, are tables; so
        are arrays and lists in which there are text, gaps or other objects, with columns x0, x1, …
        Arrays of finite numbers, (n, m), stay arrays.
    y : array, column or list, shape (n,) or (n, k)
        Their labels.
    X_val, y_val : as X and y, or None
        A development set. The schema of a table, the classes and all else are learnt of X and y
        alone, and X_val is read by them.
    name : str
        What to call the data.
    kinds : dict of str to str, or None
        What some columns are said to be, as ``{"zip": "category"}``: `kinds.KINDS`, and for dates
        also ``date:%d/%m/%Y``. An array is a table then.
    drop : sequence of str
        Columns to leave out. An array is a table then.

    Returns
    -------
    Dataset
        Of which nothing has to be held out for a development set where one is given.

    Raises
    ------
    TypeError, ValueError
        If X or X_val is none of these, they don't go together, or one of X_val and y_val lacks; if
        there is no column that is named in ``kinds`` or ``drop``.
    ImportError
        If pyarrow is needed and not installed.

    Examples
    --------
    >>> X, y = np.arange(12.0).reshape(6, 2), ["a", "b"] * 3
    >>> found = dataset_of(X, y, X[:2] + 0.5, y[:2])
    >>> found.rows.shape, found.dev_rows.shape, found.apart
    ((6, 2), (2, 2), {'dev': 'X_val'})
    """
    if y is None:
        raise TypeError("y is None: give a label for each row of X")
    if (X_val is None) != (y_val is None):
        there, lacking = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{there} is given and no {lacking}: give both, or neither")
    given = {"X": _rows(X, "X")} | ({} if X_val is None else {"X_val": _rows(X_val, "X_val")})
    if kinds or drop or any(not _stays(rows) for rows in given.values()):
        _require_alike(given)
        given = {called: table_of_rows(rows, called) for called, rows in given.items()}
        _require_columns(given["X"], drop, "drop")
        if {*names_of(given["X"])} <= {*drop}:
            raise ValueError("drop names all columns of X: leave one at least")
        _require_columns(given["X"], kinds or (), "columns")
        given = {called: without(rows, drop) for called, rows in given.items()}
    own: dict[str, Any] = {}
    if X_val is not None:
        labels = _labels(y_val)
        own = {"dev_rows": given["X_val"], "dev_target": labels, "apart": {"dev": "X_val"}}
    label = getattr(y, "name", None)
    target = label if isinstance(label, str) else None
    labels = _labels(y)
    return Dataset(name, given["X"], labels, target_name=target, kinds=kinds or {}, **own)


def rows_for(schema: Schema | None, X: Any) -> Any:
    """Return rows as a model takes them that was trained on what `dataset_of` returned.

    Parameters
    ----------
    schema : Schema or None
        That of the data set; None of arrays.
    X : data frame, table, array or list
        The rows.

    Raises
    ------
    TypeError, ValueError
        If they are not of the kind of the training's.

    Examples
    --------
    >>> rows_for(None, [[1, 2], [3, 4]]).shape
    (2, 2)
    """
    rows = _rows(X, "X")
    of_array = schema is None or schema.names == _names(len(schema.names))
    if isinstance(rows, np.ndarray) and not of_array:
        raise TypeError("the model was trained on a table with named columns: give such a table")
    if schema is None and not isinstance(rows, np.ndarray):
        raise TypeError("the model was trained on an array, without named columns: give an array")
    if schema is None or not isinstance(rows, np.ndarray):
        return rows
    if rows.shape[1] != len(schema.names):
        raise ValueError(
            f"X has {rows.shape[1]} columns and the model was trained on {len(schema.names)}"
        )
    return table_of_rows(rows, "X")


def names_of(rows: Any) -> list[str]:
    """Return the names of a frame's or table's columns, as they are known in its data set.

    Examples
    --------
    >>> import types
    >>> names_of(types.SimpleNamespace(columns=[0, "a"], dtypes=None))
    ['0', 'a']
    """
    return [*map(str, rows.column_names if is_arrow(rows) else rows.columns)]


def only(rows: Any, wanted: Collection[str]) -> Any:
    """Return a frame or table with some of its columns, as far as it has them."""
    chosen = [name in wanted for name in names_of(rows)]
    if all(chosen):
        return rows
    if hasattr(rows, "iloc"):
        return rows.loc[:, chosen]
    return rows.select([name for name, wants in zip(names_of(rows), chosen, strict=True) if wants])


def without(rows: Any, drop: Collection[str]) -> Any:
    """Return a frame or table without some columns, whether it has them or not."""
    return only(rows, {*names_of(rows)} - {*drop})


def _rows(X: Any, called: str) -> Any:
    """Return a frame or table as it is, and all else as an array (n, m) on the host."""
    if is_frame(X) or is_arrow(X):
        return X
    if is_sparse(X):
        raise TypeError(f"{called} is a sparse matrix: give {called}.toarray()")
    X = dicts_as_table(X, called)
    if is_arrow(X):
        return X
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(
            *((X.astype(float), np.nan) if is_numeric(X) else (X.astype(object), None))
        )
    found = to_host(X)
    if isinstance(found, list | tuple):
        found = array_of(found, called)
    found = as_host_array(found, called)
    if found.ndim != 2:
        hint = f"; one row is {called}.reshape(1, -1)" if found.ndim == 1 else ""
        raise ValueError(f"{called} has shape {found.shape}: give (rows, columns){hint}")
    return found


def dicts_as_table(X: Any, called: str) -> Any:
    """Return a list of rows that are dicts as a table of Arrow's, and all else as it is."""
    if not are_dicts(X):
        return X
    arrow_for(called)
    from .columns.tables import of_dicts

    return of_dicts(X)


def array_of(rows: Any, called: str) -> Array:
    """Return a list of rows as an array: numbers as such, beside text as they are."""
    found = as_host_array(rows, called)
    return found if is_numeric(found) else np.asarray(rows, object)


def _stays(rows: Any) -> bool:
    """Return whether rows are an array of finite numbers, as a network takes it."""
    if not isinstance(rows, np.ndarray) or not is_numeric(rows):
        return False
    return rows.dtype.kind != "f" or not np.isnan(rows).any()


def table_of_rows(rows: Any, called: str) -> Any:
    """Return rows as a frame or table, an array's columns by their places."""
    if not isinstance(rows, np.ndarray):
        return rows
    pa = arrow_for(called)
    from .columns.tables import of_objects

    names = _names(rows.shape[1])
    if rows.dtype.kind in OTHERS and rows.dtype.kind not in "mM":
        raise TypeError(f"{called} holds {OTHERS[rows.dtype.kind]}: turn them into numbers first")
    if rows.dtype != object:
        columns = [pa.array(np.ascontiguousarray(c), from_pandas=True) for c in rows.T]
        return pa.table(columns, names=names)
    gone = np.array([[*map(is_missing, row)] for row in rows], np.bool_).reshape(rows.shape)
    told = zip(names, rows.T, gone.T, strict=True)
    return pa.table([of_objects(*column) for column in told], names=names)


def _names(n: int) -> list[str]:
    """Return the names of the columns of an array that is read as a table."""
    return [COLUMN.format(i) for i in range(n)]


def _require_columns(rows: Any, wanted: Collection[str], what: str) -> None:
    """Raise a ValueError if columns are named that a frame or table has not."""
    known = names_of(rows)
    if missing := [name for name in wanted if name not in known]:
        told = ", ".join(known[:20])
        raise ValueError(f"{what} has {missing[0]!r}, and X has no such column; it has {told}")


def _require_alike(given: dict[str, Any]) -> None:
    """Raise an error if X has named columns and X_val none, or the reverse, or other numbers."""
    widths = {name: rows.shape[1] for name, rows in given.items() if isinstance(rows, np.ndarray)}
    if 0 < len(widths) < len(given):
        raise TypeError(
            "one of X and X_val has named columns and the other has none: give both of one kind"
        )
    if len({*widths.values()}) > 1:
        told = " and ".join(f"{name} has {n} columns" for name, n in widths.items())
        raise ValueError(f"{told}: give as many")


def _labels(y: Any) -> Any:
    """Return labels on the host; of a frame or array with a single column, that column."""
    found = to_host(np.asarray(y) if is_frame(y) or is_arrow(y) else y)
    if isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] == 1:
        return found[:, 0]
    return found
