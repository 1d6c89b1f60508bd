"""What a study is of, and whether it is what one wants to go on with."""

from __future__ import annotations

from typing import Any

#: Stands for what one of two trees lacks.
MISSING = object()

#: How many characters of a value are told.
SHOWN = 80


def difference(kept: Any, given: Any, name: str = "") -> str:
    """Return in words where two trees of JSON differ first, or nothing if they are equal.

    Parameters
    ----------
    kept, given : tree
        What a study was begun with, and what it should go on with.
    name : str
        The place of both in trees around them.

    Examples
    --------
    >>> difference({"data": {"rows": 150}}, {"data": {"rows": 120}})
    'data.rows is 150 there, and 120 is given'
    """
    if isinstance(kept, dict) and isinstance(given, dict):
        for key in {**kept, **given}:
            inner = f"{name}.{key}".lstrip(".")
            told = difference(kept.get(key, MISSING), given.get(key, MISSING), inner)
            if told:
                return told
        return ""
    if kept is MISSING:
        return f"{name} is not there, and {_shown(given)} is given"
    if given is MISSING:
        return f"{name} is {_shown(kept)} there, and none is given"
    alike = isinstance(kept, bool) is isinstance(given, bool) and kept == given
    if alike or repr(kept) == repr(given):  # as NaN is
        return ""
    return f"{name} is {_shown(kept)} there, and {_shown(given)} is given"


def check_about(kept: Any, given: Any, where: str) -> None:
    """Raise a ValueError if a study is of something else than what it should go on with.

    Parameters
    ----------
    kept, given : tree
        What it was begun with, and what it should go on with.
    where : str
        What the study is called.

    Examples
    --------
    >>> check_about({"metric": "error"}, {"metric": "loss"}, "a.study.db")
    Traceback (most recent call last):
    ValueError: a.study.db: is another study: metric is 'error' there, and 'loss' is given; go on \
with what it was begun with, or give another name
    """
    told = difference(kept, given)
    if told:
        raise ValueError(
            f"{where}: is another study: {told}; go on with what it was begun with, or give "
            "another name"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
