"""Rules for labels that losses, estimators and tables share: NumPy arrays on the host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Labels = np.ndarray[Any, Any]

#: What objects may stand for, by the kinds of NumPy's types; a truth value is an int too.
_KINDS: dict[str, Any] = {
    "b": bool | np.bool_,
    "i": int | np.integer,
    "f": float | np.floating,
    "U": str,
    "S": bytes,
}


def is_numeric(array: Any) -> bool:
    """Return whether an array holds numbers or truth values."""
    return array.dtype.kind in "fiub"


def is_whole(array: Labels) -> bool:
    """Return whether all numbers in an array are whole; NaN and infinite ones are not.

    Examples
    --------
    >>> is_whole(np.array([1.0, -2.0])), is_whole(np.array([1.0, np.inf]))
    (True, False)
    """
    return array.dtype.kind != "f" or bool((np.isfinite(array) & (array == np.floor(array))).all())


def class_codes(y: Labels, classes: Labels) -> tuple[Labels, Labels]:
    """Return the number of each label's class, and which labels are of none.

    Parameters
    ----------
    y : array, shape (n,)
        Labels.
    classes : array, shape (m,)
        The classes, in any order.

    Returns
    -------
    codes : array of int, shape (n,)
        From 0 to m − 1; where a label is of no class, any of these.
    unknown : array of bool, shape (n,)
        Which are of none.

    Examples
    --------
    >>> codes, unknown = class_codes(np.array(["b", "c", "a"]), np.array(["b", "a"]))
    >>> codes[~unknown], unknown
    (array([0, 1]), array([False,  True, False]))
    """
    if is_numeric(y) != is_numeric(classes):
        return np.zeros(len(y), np.intp), np.ones(len(y), np.bool_)
    held, changed = _as_type(y, classes.dtype)
    order = np.argsort(classes)
    place = np.searchsorted(classes, held, sorter=order)
    codes = order[np.minimum(place, len(classes) - 1)]
    return codes, (classes[codes] != held) | changed


def _as_type(y: Labels, dtype: np.dtype[Any]) -> tuple[Labels, Labels | bool]:
    """Return labels as another type of numbers, and which are not the same there."""
    if y.dtype == dtype or not is_numeric(y):
        return y, False
    # Compared as they are, 2⁵³ + 1 and 2⁵³ would be the same float64.
    with np.errstate(invalid="ignore", over="ignore"):
        held = y.astype(dtype)
        return held, (held.astype(y.dtype) != y) | ((held < 0) != (y < 0))


def differing(y: Any, others: Any) -> Any:
    """Return where labels differ from others of the same shape, as a boolean array.

    They are arrays in one place. Numbers of two types are compared as the numbers that they are:
    NumPy would have both be floats.

    Examples
    --------
    >>> differing(np.array([2**53 + 1, 3]), np.array([2.0**53, 3.0]))
    array([ True, False])
    """
    held, changed = _as_type(y, others.dtype)
    return (held != others) | changed


def class_array(classes: list[Any]) -> Labels:
    """Return classes, as a list has them, as an array: whole numbers never as floats.

    Examples
    --------
    >>> class_array([1, 2**63 + 1])
    array([                  1, 9223372036854775809], dtype=uint64)
    """
    large = type(classes[-1]) is int and 2**63 <= max(classes) < 2**64
    return np.array(classes, np.uint64 if large else None)


def as_labels(y: Any, what: str) -> Labels:
    """Return labels as an array of truth values, whole numbers, float64 or smaller, or strings.

    Python's objects and bytes become what they stand for, and long doubles the nearest float64.

    Raises
    ------
    ValueError
        If some are missing, NaN, infinite or masked, or nothing of these.

    Examples
    --------
    >>> as_labels(np.array([1, 2], object), "y"), as_labels(np.array([b"a"]), "y")
    (array([1, 2]), array(['a'], dtype='<U1'))
    """
    require_present(y, what)
    labels = _as_array(y, what)
    if labels.dtype.kind in "OST":
        labels = _of_objects(labels, what)
    if not (is_numeric(labels) or labels.dtype.kind == "U"):
        raise ValueError(f"{what} has dtype {labels.dtype}: give numbers or strings")
    if labels.dtype.kind == "f":
        if bad := int((~np.isfinite(labels)).sum()):
            raise ValueError(f"{what} has {these_values(bad)}: remove those rows")
        return as_float64(labels, what) if labels.dtype.itemsize > 8 else labels
    return labels


def _as_array(y: Any, what: str) -> Labels:
    """Return labels as an array; whole numbers in a list, where NumPy makes floats, as objects."""
    try:
        labels: Labels = np.asarray(y)
        if labels.dtype.kind == "f" and isinstance(y, list | tuple):
            return np.asarray(y, object)
    except ValueError as error:
        message = f"{what} is not a rectangular array: give rows of one length ({error})"
        raise ValueError(message) from error
    return labels


def unite(parts: Sequence[Any], what: str) -> Labels:
    """Return the labels of several parts as one array for `as_labels`, each as it is.

    Of different types of numbers NumPy would make floats, which may be others.

    Raises
    ------
    ValueError
        If `as_labels` refuses a part.

    Examples
    --------
    >>> as_labels(unite([np.array([2**53 + 1]), np.array([7], np.uint64)], "y"), "y")
    array([9007199254740993,                7])
    """
    held = [as_labels(part, what) for part in parts]
    if all(part.dtype.kind == "U" for part in held):
        return np.concatenate(held)
    arrays = [np.asarray(part) for part in parts]
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)


def as_float64(y: Labels, what: str) -> Labels:
    """Return floating-point numbers in float64, or raise a ValueError if some are too large."""
    with np.errstate(over="ignore"):
        found = y.astype(np.float64)
    if (bad := np.isinf(found) & np.isfinite(y)).any():
        raise ValueError(
            f"{what} has {these_values(int(bad.sum()), 'too large for float64')}: scale them"
        )
    return found


def kinds_of(types: Iterable[type]) -> set[str]:
    """Return the kinds of NumPy's types that objects of some types stand for; "" for others.

    Examples
    --------
    >>> sorted(kinds_of({bool, np.float32, str, list}))
    ['', 'U', 'b', 'f']
    """
    return {next((k for k in _KINDS if issubclass(t, _KINDS[k])), "") for t in types}


def named(types: Iterable[type]) -> str:
    """Return types by name.

    Examples
    --------
    >>> named({str, int})
    'int and str'
    """
    return " and ".join(sorted(t.__name__ for t in types))


def _of_objects(y: Labels, what: str) -> Labels:
    """Return Python's objects, or bytes, as an array of what they are."""
    flat = y.ravel().tolist()
    types = {*map(type, flat)}
    kinds = kinds_of(types)
    if "" in kinds or ("b" in kinds and kinds & {"i", "f"} and "U" not in kinds):
        raise ValueError(f"{what} holds {named(types)}: give numbers or strings, all of one kind")
    if kinds & {"U", "S"}:  # and numbers: a table's reader took some of the text for these
        found = np.array([_text(value, what) for value in flat], np.str_)
    else:
        found = _numbers(flat, kinds, what)
    return found.reshape(y.shape)


def require_present(y: Any, what: str) -> None:
    """Raise a ValueError if labels are missing or masked; NaN is for `as_labels` to refuse.

    Examples
    --------
    >>> require_present(np.ma.array([1, 2], mask=[True, False]), "y")
    Traceback (most recent call last):
    ValueError: y has 1 value that is masked: remove those rows
    """
    if isinstance(y, np.ma.MaskedArray):
        bad, why = int(np.ma.getmaskarray(y).sum()), "masked"
    elif hasattr(y, "isna") and not isinstance(getattr(y, "dtype", None), np.dtype):
        bad, why = int(np.asarray(y.isna()).sum()), "missing"  # of pandas' own types
    elif hasattr(y, "null_count"):  # Arrow's and Polars'
        count = y.null_count() if callable(y.null_count) else y.null_count
        bad, why = int(np.asarray(count).sum()), "missing"
    else:
        y = np.asarray(y, object if isinstance(y, list | tuple) else None)  # NaN is no "nan"
        objects = y.ravel().tolist() if y.dtype.kind in "OT" else []
        bad, why = sum(map(is_missing, objects)), "missing"
    if bad:
        raise ValueError(f"{what} has {these_values(bad, why)}: remove those rows")


def is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN, or what pandas has for it."""
    if isinstance(label, float | np.floating):
        return bool(label != label)
    return label is None or type(label).__name__ in ("NAType", "NaTType")


def _numbers(values: list[Any], kinds: set[str], what: str) -> Labels:
    """Return Python's numbers as an array of the type that holds them."""
    dtype: Any = np.bool_ if kinds == {"b"} else np.float64 if "f" in kinds else np.int64
    if kinds == {"i"}:
        values = [int(value) for value in values]
        dtype = np.uint64 if min(values) >= 0 and max(values) >= 2**63 else dtype
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise ValueError(
            f"{what} has whole numbers of more than 64 bits: give them as text, or scale them"
        ) from error


def _text(label: Any, what: str) -> str:
    """Return a label as a string that an array of strings can hold."""
    if (text := text_of(label, what)).endswith("\0"):
        raise ValueError(f"{what} has the label {text!r}: leave out the zero characters at its end")
    return text


def text_of(value: Any, what: str) -> str:
    """Return a string as it is, bytes as the string they are in UTF-8, all else as `str` has it.

    Raises
    ------
    ValueError
        If bytes are no text.

    Examples
    --------
    >>> [text_of(value, "y") for value in (np.str_("é"), "é".encode(), 1)]
    ['é', 'é', '1']
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} has {value!r}, no text in UTF-8: rename it") from error
    # An Enum may be a string, and what str() says of it is then its name.
    return str.__str__(value) if isinstance(value, str) else str(value)


def require_utf8(texts: Iterable[Any], what: str) -> None:
    r"""Raise a ValueError if a text has characters that UTF-8 has no bytes for, as files need it.

    Examples
    --------
    >>> require_utf8(["é", "\ud800"], "there is a column named")
    Traceback (most recent call last):
    ValueError: there is a column named '\ud800', which UTF-8 has no bytes for: rename it
    """
    for text in texts:
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            message = f"{what} {text!r}, which UTF-8 has no bytes for: rename it"
            raise ValueError(message) from error


def these_values(n: int, what: str = "NaN or infinite") -> str:
    """Return in words how many values are something that they may not be.

    Examples
    --------
    >>> these_values(1), these_values(3, "missing")
    ('1 value that is NaN or infinite', '3 values that are missing')
    """
    return f"{'1 value that is' if n == 1 else f'{n} values that are'} {what}"


def check_varied(y: Labels, subsets: Sequence[Labels] | None) -> None:
    """Raise a ValueError if all labels are the same: there is nothing to learn."""
    for i, labels in enumerate([y] if subsets is None else [y[rows] for rows in subsets]):
        if (labels == labels[0]).all():
            what = "class" if y.dtype.kind == "i" else "value"
            whose = "" if subsets is None else f" of member {i}"
            raise ValueError(
                f"y{whose} has one {what} only ({np.ravel(labels)[0]:g}): there is nothing to learn"
            )
