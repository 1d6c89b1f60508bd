"""What an estimator for tables takes for rows: by names where columns have them, else by places.

Tables are told by their names: at prediction the columns may stand in another order, and there may
be more of them. Rows without names, as of an array, are told by their places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from ..backends.arrays import to_host
from ..data.arrays import is_arrow, is_frame
from ..data.labels import is_numeric
from .columns.schema import Schema
from .frames import array_of, dicts_as_table, names_of, only, rows_for, table_of_rows


def as_rows(X: Any, name: str = "X") -> Any:
    """Return rows as a frame or table without an index, or as an array (n, m) on the host.

    Raises
    ------
    TypeError, ValueError
        If they are none, in scikit-learn's words.

    Examples
    --------
    >>> as_rows([[1, "a"], [2, None]]).tolist()
    [[1, 'a'], [2, None]]
    """
    if type(X) is np.ndarray and X.ndim == 2 and X.size and is_numeric(X):
        return X  # as scikit-learn would say, which takes long
    X = dicts_as_table(X, name)
    if is_frame(X) or is_arrow(X):
        if len(X) == 0:
            raise ValueError(f"Found array with 0 sample(s) in {name}: a minimum of 1 is required.")
        return _without_index(X)
    X = array_of(X, name) if isinstance(X, list | tuple) else to_host(X)
    if isinstance(X, np.ma.MaskedArray):
        whole = X.dtype.kind in "biufc"
        X = np.ma.filled(*((X.astype(float), np.nan) if whole else (X.astype(object), None)))
    return check_array(X, dtype=None, ensure_all_finite=False, input_name=name)


def _without_index(rows: Any) -> Any:
    """Return a frame without an index of pandas' that would count as a column: a named one."""
    named = hasattr(rows, "iloc") and any(name is not None for name in rows.index.names)
    return rows.reset_index(drop=True) if named else rows


def learn_columns(estimator: Any, rows: Any) -> None:
    """Set what scikit-learn's estimators know of their columns, and all their names, or None."""
    validate_data(estimator, rows, skip_check_array=True)
    estimator._columns = names_of(rows) if is_frame(rows) or is_arrow(rows) else None


def known_rows(estimator: Any, schema: Schema | None, X: Any) -> Any:
    """Return rows as a model takes them that was trained on such with `learn_columns`.

    Warns
    -----
    UserWarning
        If columns have names and had none when the estimator was fitted, or the reverse.

    Raises
    ------
    TypeError, ValueError
        If they are not of the kind of the training's.
    """
    rows = as_rows(X)
    named = not isinstance(rows, np.ndarray)
    if named and estimator._columns is not None and schema is not None:
        # Of a frame no more is taken than is used.
        return rows if hasattr(rows, "iloc") else only(rows, {c.name for c in schema.used})
    nameless = not (named or hasattr(estimator, "feature_names_in_"))
    if not nameless or rows.shape[1] != estimator.n_features_in_:
        validate_data(estimator, rows, skip_check_array=True, reset=False)
    if named:  # told by their places, as those of the training
        rows = _by_places(rows)
    if schema is None:
        return rows_for(None, rows)
    table = table_of_rows(rows, "X")
    if estimator._columns is not None:
        table = table.rename_columns(estimator._columns)
    return only(table, {column.name for column in schema.used})


def _by_places(rows: Any) -> np.ndarray[Any, Any]:
    """Return a frame's or table's rows as an array: of numbers, if all are."""
    if not is_arrow(rows):
        return np.asarray(rows)
    columns = [np.asarray(column) for column in rows.columns]
    if all(map(is_numeric, columns)):
        return np.column_stack(columns)
    return np.column_stack([column.astype(object) for column in columns])
