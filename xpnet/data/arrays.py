"""The door: what comes from outside is checked here, before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple, cast

import numpy as np

from .._typing import Array, HostArray
from ..backends.arrays import NUMPY, backend_of, from_dlpack, move
from ..backends.protocol import Backend
from .labels import is_missing, is_numeric, these_values
from .streaming import Streamed, is_in_file, is_sparse

#: Rows and elements looked at at once when checking for NaN, so that the check needs little memory.
CHUNK, ELEMENTS = 65536, 2**22


def check_features(X: Any, backend: Backend, n_features: int, dtype: Any, name: str = "X") -> Array:
    """Return features as an array (examples, features) of the backend, in the given dtype.

    Sparse ones, those in a file, and those that the device has no room for become `Streamed`, which
    stays on the host and is used alike.

    Raises
    ------
    TypeError
        If X does not hold numbers.
    ValueError
        If it has another shape, no rows, or values that are too large for the dtype, NaN or
        infinite: which columns and how many.
    """
    if _is_ready(X, backend, n_features, dtype):
        return cast(Array, X)
    X = as_array(X, name)
    if not is_numeric(X):
        raise TypeError(_no_dtype_message(X, name))
    if X.ndim != 2 or X.shape[1] != n_features:
        hint = "; one example is X.reshape(1, -1)" if X.ndim == 1 else ""
        raise ValueError(
            f"{name} has shape {tuple(X.shape)}: the network takes (examples, {n_features}){hint}"
        )
    if X.shape[0] == 0:
        raise ValueError(f"{name} has no rows: give at least one example")
    if is_sparse(X):
        streamed = Streamed(X, backend, dtype)
        highest = largest(streamed.values)
        if not math.isfinite(highest):
            raise ValueError(f"{name} has values that are NaN or infinite: remove or replace them")
        if highest > np.finfo(dtype).max:
            what = f"values that are too large for {np.dtype(dtype)}"
            raise ValueError(f"{name} has {what}: {_against_overflow(dtype)}")
        return cast(Array, streamed)  # it is used alike
    size = X.shape[0] * n_features * np.dtype(dtype).itemsize
    large = isinstance(X, np.ndarray) and not backend.fits(size)
    stays = is_in_file(X) or large
    with np.errstate(over="ignore"):  # what is too large for the dtype is refused here
        array: Any = Streamed(X, backend, dtype) if stays else move(X, backend, dtype)
        if X.dtype.kind == "f" or not is_in_file(X):  # a file of whole numbers need not be read
            checked: Any = Streamed(X, NUMPY, dtype) if stays else array
            where = NUMPY if stays else backend
            check_finite(checked, where, name, X)
    return cast(Array, array)


def _is_ready(X: Any, backend: Backend, n_features: int, dtype: Any) -> bool:
    """Return whether features can be used as they are; False where it takes longer to find out."""
    if isinstance(X, Streamed):  # it was checked before
        return X.backend is backend and (X.shape[1], X.dtype) == (n_features, dtype)
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype != dtype or not backend.owns(X):
        return False
    if X.shape[1] != n_features or not (X.size and X.flags.c_contiguous):
        return False
    with np.errstate(over="ignore", invalid="ignore"):  # a sum is not finite if a value is not
        return math.isfinite(np.add.reduce(X, axis=None))


def as_array(X: Any, name: str) -> Any:
    """Return what has NumPy's dtypes as it is, whosever array it is; all else as NumPy's array.

    Raises
    ------
    TypeError
        If it is no array, table or list, or a table's column holds no numbers.
    ValueError
        If it has rows of different lengths, or masked values.
    """
    X = from_dlpack(X)
    if isinstance(getattr(X, "dtype", None), np.dtype) and not isinstance(X, np.ma.MaskedArray):
        return X
    return _as_numbers(X, name)


def _as_numbers(X: Any, name: str) -> np.ndarray[Any, Any]:
    """Return a list, table or masked array as a NumPy array."""
    if isinstance(X, np.ma.MaskedArray):
        return _unmasked(X, name)
    if is_frame(X) and hasattr(X, "iloc"):
        array = np.asarray(X)  # of numbers of one kind, without a copy
        if is_numeric(array):
            return array
    if (table := table_of(X)) is not None:
        return _stack(table, len(X), name)
    if hasattr(X, "dtype"):  # a column of a frame
        return column_values(X)
    return _of_list(X, name)


def _of_list(X: Any, name: str) -> np.ndarray[Any, Any]:
    """Return a list, or what NumPy knows, as an array."""
    array = as_host_array(X, name)
    if array.ndim == 0 and array.dtype.kind in "OUS":
        raise TypeError(f"{name} is a {type(X).__name__}: give an array, a table, or a list")
    return array


def _unmasked(X: np.ma.MaskedArray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Return a masked array's values, or raise a ValueError if some are masked."""
    if np.ma.is_masked(X):
        raise ValueError(
            f"{name} has {np.sum(np.ma.getmaskarray(X))} masked values: remove their rows, or fill "
            "them with numpy.ma.filled"
        )
    return np.asarray(X)


def _no_dtype_message(X: Array, name: str) -> str:
    """Return in words that an array has a type of no numbers, and what to do."""
    hint = {
        **dict.fromkeys("OUST", "; if they are numbers, as X.astype(float)"),
        "M": "; of days, as (X - X.min()) / numpy.timedelta64(1, 'D')",
        "m": "; of days, as X / numpy.timedelta64(1, 'D')",
        "V": "; of fields, as numpy.lib.recfunctions.structured_to_unstructured(X)",
    }
    return f"{name} has dtype {X.dtype}: give an array of numbers{hint.get(X.dtype.kind, '')}"


def as_host_array(X: Any, name: str) -> np.ndarray[Any, Any]:
    """Return a list, data frame or the like as a NumPy array, or a clear error."""
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"{name} is not a rectangular array of numbers: give rows of one length ({error})"
        ) from error


def is_arrow(X: Any) -> bool:
    """Return whether something is a table of Arrow's, or a batch of its rows."""
    return hasattr(X, "column_names") and hasattr(X, "schema")


def is_frame(X: Any) -> bool:
    """Return whether something is a data frame, with named columns of several kinds."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def are_dicts(X: Any) -> bool:
    """Return whether something is a list of rows, each a dict of its columns."""
    return isinstance(X, list | tuple) and len(X) > 0 and all(isinstance(row, dict) for row in X)


class Table(NamedTuple):
    """A table's columns, each of a type of its own, and their names."""

    columns: list[Any]
    names: list[Any]


def table_of(X: Any) -> Table | None:
    """Return the columns of a table of pandas, Polars or Arrow, and None of what is none."""
    if is_arrow(X):
        return Table([X.column(i) for i in range(X.num_columns)], list(X.column_names))
    if not is_frame(X):
        return None
    if hasattr(X, "iloc"):
        return Table([X.iloc[:, i] for i in range(X.shape[1])], [*X.columns])
    return Table(X.get_columns(), [*X.columns]) if hasattr(X, "get_columns") else None  # Polars'


def _stack(table: Table, n: int, name: str) -> np.ndarray[Any, Any]:
    """Return a table's columns side by side, or raise a TypeError if some hold no numbers."""
    arrays = [column_values(column) for column in table.columns]
    bad = {i: array for i, array in enumerate(arrays) if array.ndim > 1 or not is_numeric(array)}
    if bad:
        raise TypeError(_no_columns_message(table, bad, name))
    return np.stack(arrays, axis=1) if arrays else np.empty((n, 0))


def _no_columns_message(table: Table, bad: dict[int, np.ndarray[Any, Any]], name: str) -> str:
    """Return in words which columns, by place, hold no numbers, what they hold, and what to do."""
    told, ways, why = [], [], ""
    for i, values in [*bad.items()][:5]:
        kind = str(getattr(table.columns[i], "dtype", None) or table.columns[i].type)
        if kind in ("object", "category"):
            kind += f" of {' and '.join(sorted({type(v).__name__ for v in values.tolist()})[:5])}"
        told.append(f"{table.names[i]!r} ({kind})")
        way, reason = _way_to_numbers(kind.lower(), values)
        ways.append(way)
        why = why or reason
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return (
        f"{name} has columns without numbers: {', '.join(told)}{more}: turn them into numbers, as "
        f"{', '.join(dict.fromkeys(ways))}, or leave them out{why}"
    )


def _way_to_numbers(kind: str, values: np.ndarray[Any, Any]) -> tuple[str, str]:
    """Return what makes numbers of values, and NumPy's own words for why it does not."""
    if any(word in kind for word in ("date", "time", "duration", "period")):
        return "a number of days", ""
    if values.dtype.kind == "c":
        return "their real and imaginary parts", ""
    several = any(word in kind for word in ("list", "tuple", "array", "struct", "of dict"))
    way = "a column for each of their elements" if several else "pandas.get_dummies does"
    if values.ndim > 1:
        return way, ""
    try:
        values.astype(np.float64)
    except (TypeError, ValueError) as error:
        return way, f" ({error})"
    return "astype(float) does", ""


def require_numbers(X: Any, name: str) -> Any:
    """Return features of the host as they are, lists as an array, for scikit-learn to convert.

    It would take dates as nanoseconds, text as the number that it spells, and masked values as they
    are. Python's numbers among objects are numbers.

    Raises
    ------
    TypeError
        If X or a column of it holds something else.
    ValueError
        If values are masked or missing, or rows have different lengths.

    Examples
    --------
    >>> require_numbers(np.array([[1, "2"]], object), "X")
    Traceback (most recent call last):
    TypeError: X has columns without numbers: 1 (object of str): turn them into numbers, as ...
    """
    if type(X) is np.ndarray and _is_of_numbers(X.dtype):
        return X
    if isinstance(X, np.ma.MaskedArray):
        return _unmasked(X, name)
    if is_frame(X) and hasattr(X, "iloc") and all(map(_is_of_numbers, X.dtypes)):
        return X
    if (table := table_of(X)) is not None:
        _require_columns(table, name)
    elif not hasattr(X, "dtype"):
        X = _of_list(X, name)
    if isinstance(X, np.ndarray) and not _is_of_numbers(X.dtype):
        if X.dtype.kind != "O":
            raise TypeError(_no_dtype_message(X, name))
        if X.ndim == 2:
            _require_columns(Table([*X.T], [*range(X.shape[1])]), name)
    return X


def _is_of_numbers(dtype: Any) -> bool:
    """Return whether a type, of NumPy or pandas, is one of numbers or truth values."""
    return getattr(dtype, "kind", None) in [*"fiubc"]


def _require_columns(table: Table, name: str) -> None:
    """Raise an error if a table's columns hold anything but numbers, also as Python's objects."""
    bad, missing = {}, np.zeros(len(table.columns), np.int64)
    for i, column in enumerate(table.columns):
        if _is_of_numbers(getattr(column, "dtype", None)):
            continue
        values = column_values(column)
        if values.ndim == 1 and values.dtype.kind == "O":
            there = [v for v in values.tolist() if not is_missing(v)]
            missing[i] = len(values) - len(there)
            others = not all(issubclass(t, Real | Decimal | np.bool_) for t in {*map(type, there)})
        else:
            others = values.ndim > 1 or not _is_of_numbers(values.dtype)
        if others:
            bad[i] = values
    if bad:
        raise TypeError(_no_columns_message(table, bad, name))
    if missing.any():
        what = describe_columns(missing, table.names, "missing")
        raise ValueError(f"{name} has {what}: remove or replace them")


def column_values(column: Any) -> np.ndarray[Any, Any]:
    """Return a column's values as a NumPy array of its own type.

    Of whole numbers and truth values with gaps floats are made, with NaN there.
    """
    dtype = getattr(column, "dtype", None)  # which Arrow's columns don't have
    kind = getattr(dtype, "kind", "")
    if kind and kind in "fiub" and not isinstance(dtype, np.dtype):
        own = np.dtype(getattr(dtype, "numpy_dtype", None) or getattr(dtype, "subtype", float))
        gaps = kind == "f" or column.isna().any()
        held = float if gaps and kind != "f" else own
        return np.asarray(column.to_numpy(dtype=held, na_value=np.nan if gaps else 0))
    values = np.asarray(column)
    if values.dtype.kind == "O" and str(getattr(column, "type", dtype)) in ("bool", "Boolean"):
        return np.array([np.nan if v is None else v for v in values], np.float64)
    return values


def check_finite(array: Array, backend: Backend, name: str, given: Array) -> None:
    """Raise a ValueError that names the columns if an array (rows, columns) is not finite.

    ``given`` is what it was made from, maybe in another precision.
    """
    xp = backend.xp
    counts = np.zeros(array.shape[1], dtype=np.int64)
    step = max(1, min(CHUNK, ELEMENTS // max(1, array.shape[1])))
    for start in range(0, array.shape[0], step):
        bad = xp.logical_not(xp.isfinite(array[start : start + step]))
        if bool(backend.to_host(xp.any(bad))):
            counts += backend.to_host(xp.sum(bad, axis=0))
    if counts.any() and math.isfinite(largest(given)):
        what = describe_columns(counts, what=f"too large for {array.dtype}")
        raise ValueError(f"{name} has {what}: {_against_overflow(array.dtype)}")
    if counts.any():
        raise ValueError(f"{name} has {describe_columns(counts)}: remove or replace them")


def largest(X: Array) -> float:
    """Return the largest absolute value, wherever they live; NaN if there is one."""
    source, step = backend_of(X, NUMPY), max(1, ELEMENTS * len(X) // max(1, X.size))
    with source.active():
        parts = [float(abs(X[i : i + step]).max()) for i in range(0, len(X), step)]
    return float(np.max(parts, initial=0.0))


def _against_overflow(dtype: Any) -> str:
    return "scale them" + (", or give dtype='float64'" if dtype == np.float32 else "")


def describe_columns(
    counts: np.ndarray[Any, Any], names: list[str] | None = None, what: str = "NaN or infinite"
) -> str:
    """Return in words how many values are NaN or infinite, and in which columns.

    Examples
    --------
    >>> describe_columns(np.array([0, 2, 0, 1]))
    '3 values that are NaN or infinite, in columns 1 (2), 3 (1)'
    """
    columns = np.flatnonzero(counts)
    shown = ", ".join(f"{names[c] if names else c} ({counts[c]})" for c in columns[:5])
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    noun = "column" if len(columns) == 1 else "columns"
    return f"{these_values(int(counts.sum()), what)}, in {noun} {shown}{more}"


def check_lengths(X: Array, y: Array, name: str = "") -> None:
    """Raise a ValueError if arrays X and y have different numbers of examples."""
    for array, what in ((X, f"{name}X"), (y, f"{name}y")):
        if array.ndim == 0:
            raise ValueError(f"{what} is a single value: give one for each example")
    rows, labels = X.shape[0], y.shape[0]
    if rows != labels:
        raise ValueError(
            f"{name}X has {rows} rows and {name}y has {labels}: give one label for each example"
        )


def prepare_weights(
    weights: Any,
    n: int,
    backend: Backend,
    dtype: Any,
    members: int | None = None,
    subsets: Sequence[HostArray] | None = None,
) -> Array:
    """Return examples' weights as an array (n, 1) of the backend; (k, n, 1) of those of members.

    Raises
    ------
    ValueError
        If there is not one for each example, one is negative or not finite, or all are 0, or all
        of a member's, among those that it has.
    """
    weights = as_array(weights, "sample_weight")
    shape = tuple(weights.shape)
    own = members is not None and shape == (members, n) and shape != (n, 1)
    if not own and shape not in ((n,), (n, 1)):
        hint = "" if members is None else f", or ({members}, {n}) for members"
        raise ValueError(f"sample_weight has shape {shape}: give one for each of {n}{hint}")
    array = move(weights, backend, dtype).reshape(*shape[: int(own)], n, 1)
    low, high = (float(backend.to_host(f(array))) for f in (backend.xp.min, backend.xp.max))
    if low == high == 0:
        raise ValueError("all values of sample_weight are zero: give some above 0")
    if not 0 <= low <= high < math.inf:
        raise ValueError(
            f"sample_weight has values from {low} to {high}: give finite ones, 0 or more"
        )
    host = backend.to_host(array[..., 0]) if own or subsets is not None else np.ones((0, n))
    for i in range(members or 0) if host.size else ():
        row = host[i] if own else host
        if not (row if subsets is None else row[subsets[i]]).any():
            raise ValueError(
                f"all values of sample_weight of member {i} are zero: give some above 0"
            )
    return array
