"""Trees of values as JSON: tags stand for what JSON has no word for, and reading is guarded.

A tree holds numbers, strings, booleans, None, lists, and dicts with strings for keys. What else a
file may hold, such as arrays, it encodes and decodes by rules of its own, each with a tag: the key
that tells a dict which stands for something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

#: Values in a document, levels of one inside another: at most.
MOST_VALUES, MOST_LEVELS = 4_000_000, 64

#: The tags of a number that is NaN or infinite, and of a text that UTF-8 has no bytes for, as the
#: name of a file may be one: in hexadecimal, with bytes of their own for halves of surrogate pairs.
FLOAT, TEXT = "$float", "$text"

#: Returns what stands for a value at a place in the tree, or None: that it is nothing special.
Rule = Callable[[Any, str], Any]


def encode(value: Any, rule: Rule | None = None, name: str = "") -> Any:
    """Return a tree as JSON-ready data; tuples become lists, NumPy's numbers Python's.

    Parameters
    ----------
    value : tree
        What to encode.
    rule : function of (value, name) or None
        What stands for other values; it is asked first.
    name : str
        The place of the value in a tree around it, as ``layers.0``.

    Raises
    ------
    TypeError
        If something else is in it; the message says where.

    Examples
    --------
    >>> encode({"best": math.inf, "sizes": (np.int64(3), 4)})
    {'best': {'$float': 'inf'}, 'sizes': [3, 4]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    found = None if rule is None else rule(value, name)
    if found is not None:
        return found
    if isinstance(value, dict) and all(map(_is_key, value)):
        return {k: encode(inner, rule, f"{name}.{k}".lstrip(".")) for k, inner in value.items()}
    if isinstance(value, list | tuple):
        return [encode(inner, rule, f"{name}.{i}".lstrip(".")) for i, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if isinstance(value, str) and not _is_utf8(value):
        return {TEXT: value.encode("utf-8", "surrogatepass").hex()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{name or 'the tree'} is {value!r}: it takes arrays, numbers, strings, booleans, None, "
        "lists, and dicts with strings in UTF-8 for keys, which don't begin with $"
    )


def _is_key(value: Any) -> bool:
    """Return whether a value can be a key; with $ begin those that are tags."""
    return isinstance(value, str) and not value.startswith("$") and _is_utf8(value)


def _is_utf8(text: str) -> bool:
    """Return whether UTF-8 has bytes for a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(value: Any, tags: Mapping[str, Callable[[dict[str, Any]], Any]]) -> Any:
    """Return the tree that `encode` was given.

    Parameters
    ----------
    value : JSON data
        What `encode` returned.
    tags : dict of str to function
        For each tag what makes a value of the dict that has it, the values in which are decoded.

    Examples
    --------
    >>> decode([1, {"set": [2, 3]}], {"set": lambda told: {*told["set"]}})
    [1, {2, 3}]
    """
    if isinstance(value, list):
        return [decode(inner, tags) for inner in value]
    if not isinstance(value, dict):
        return value
    told = {key: decode(inner, tags) for key, inner in value.items()}
    if FLOAT in told:
        return float(told[FLOAT])
    if TEXT in told:
        return bytes.fromhex(told[TEXT]).decode("utf-8", "surrogatepass")
    for tag, make in tags.items():
        if tag in told:
            return make(told)
    return told


def parse(text: str) -> Any:
    """Return a JSON document, once it is found to be of a size and depth that can be handled.

    Raises
    ------
    ValueError
        If the text is none, holds a name twice in one object, a number that is not finite or half
        a character, or too many values or levels.
    """
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    try:
        document = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    _check_values(document)
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, once no name is found twice in it: which one holds, nobody can tell."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _check_values(document: Any) -> None:
    """Raise a ValueError if something is nested too deep, infinite, or no text."""
    level, left = 0, [document]
    while left:
        if level > MOST_LEVELS:
            raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
        inner: list[Any] = []
        for value in left:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("it holds a number too large")  # 1e999
            elif isinstance(value, str):
                value.encode()  # half of a surrogate pair is a ValueError
        level, left = level + 1, inner
