"""Numbers and flags that a user gives: what is none is refused, with what to give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from numbers import Real
from typing import Annotated, Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from .registry import annotations_of

T = TypeVar("T")

#: Marks the annotation of an option of which each of the networks trained at once may have its own.
PER_MEMBER = "one for all members, or one for each"

#: A number, or one for each of the networks that are trained at once.
Numbers: TypeAlias = Annotated[float | tuple[float, ...], PER_MEMBER]


def check_number(value: Any, name: str) -> float:
    """Return a number, infinite if it is too large for a float, or raise a TypeError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}: give a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_not_negative(value: float, name: str) -> float:
    """Return a finite number that is 0 or more, or raise a TypeError or ValueError."""
    number = check_number(value, name)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} is {value}: give a finite number, 0 or more")
    return number


def check_positive(value: float, name: str) -> float:
    """Return a finite number above 0, or raise a TypeError or ValueError."""
    number = check_number(value, name)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {value}: give a finite number above 0")
    return number


def check_count(value: Any, name: str, least: int = 1, other: str = "") -> int:
    """Return a whole number that is at least ``least``, or raise a TypeError or ValueError.

    ``other`` says what else there is to give, as ", or 'auto'".
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}: give a whole number{other}")
    if value < least:
        raise ValueError(f"{name} is {value}: give {least} or more{other}")
    return int(value)


def check_flag(value: Any, name: str) -> bool:
    """Return True or False, or raise a TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}: give True or False")
    return bool(value)


def check_name(name: Any, known: Mapping[str, T], what: str) -> T:
    """Return what a name stands for, or raise a ValueError that lists the known ones.

    Examples
    --------
    >>> check_name("tanh", {"relu": max}, "activation")
    Traceback (most recent call last):
    ValueError: activation is 'tanh': give one of relu
    """
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{what} is {name!r}: give one of {', '.join(known)}")
    return known[name]


def all_finite(array: Any, xp: Any = np) -> bool:
    """Return whether an array of the namespace ``xp`` holds finite numbers alone."""
    return bool(xp.isfinite(array).all())


def check_several(value: Any, name: str, example: str) -> list[Any]:
    """Return a sequence as a list, or raise a TypeError; a string counts as one thing.

    Examples
    --------
    >>> check_several(0.5, "sizes", "(0.1, 1.0)")
    Traceback (most recent call last):
    TypeError: sizes is 0.5: give several, as (0.1, 1.0)
    """
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} is {value!r}: give several, as {example}")
    return list(value)


def check_numbers(value: Any, name: str) -> Numbers:
    """Return a number, or as a tuple those of an array or a sequence, or raise a TypeError.

    Examples
    --------
    >>> check_numbers(np.array([0.1, 0.2]), "p"), check_numbers(0.5, "p")
    ((0.1, 0.2), 0.5)
    """
    several = as_tuple(value, name)
    if not isinstance(several, tuple):
        return check_number(several, name)
    return tuple(check_number(number, name) for number in several)


def as_tuple(value: Any, name: str) -> Any:
    """Return what is given for each member as a tuple, and what is one for all as it is.

    Raises
    ------
    TypeError, ValueError
        If there is none, or they have no order.

    Examples
    --------
    >>> as_tuple([1, 2], "p"), as_tuple("ab", "p")
    ((1, 2), 'ab')
    """
    if isinstance(value, Set | Mapping):
        raise TypeError(f"{name} is {value!r:.100}: give a list, in the order of the members")
    no_axis = getattr(value, "ndim", 1) == 0
    if no_axis or isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    several = tuple(value)
    if not several:
        raise ValueError(f"{name} is {value!r:.100}: give one, or one for each member")
    return several


def check_length(values: tuple[Any, ...], name: str, members: int | None) -> None:
    """Raise a ValueError if there are values for more or fewer members than there are.

    Examples
    --------
    >>> check_length((0.1, 0.2), "l2", None)
    Traceback (most recent call last):
    ValueError: l2 has 2 values and this is one network: give one number
    """
    if members is None:
        raise ValueError(
            f"{name} has {len(values)} values and this is one network: give one number"
        )
    if len(values) != members:
        raise ValueError(
            f"{name} has {len(values)} values and there are {members} members: give one number, or "
            "one for each member"
        )


def each(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """Return a number or the like, or several, as a tuple.

    Examples
    --------
    >>> each(0.5), each((0.1, 0.2))
    ((0.5,), (0.1, 0.2))
    """
    return value if isinstance(value, tuple) else (value,)


def one(value: T | tuple[T, ...], name: str) -> T:
    """Return what is one for all, or a member's own, or raise a TypeError."""
    if isinstance(value, tuple):
        raise TypeError(f"{name} is {value!r:.100}, one for each member: give one")
    return value


#: What a dataclass's field is checked by, as its annotation says.
CHECKS: Sequence[tuple[object, Callable[[Any, str], Any]]] = (
    (float, check_number),
    (bool, check_flag),
    (Numbers, check_numbers),
)

#: What `check_fields` checks of a class.
_checks: WeakKeyDictionary[type[Any], list[tuple[str, Callable[[Any, str], Any]]]] = (
    WeakKeyDictionary()
)


def check_fields(instance: Any) -> None:
    """Raise a TypeError if a dataclass's argument is no number, or no flag, where it has to be.

    Several numbers, where they may be, become a tuple.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Spring:
    ...     length: float
    ...     def __post_init__(self):
    ...         check_fields(self)
    >>> Spring("long")
    Traceback (most recent call last):
    TypeError: length is 'long': give a number
    """
    cls = type(instance)
    if cls not in _checks:
        given = annotations_of(cls).items()
        _checks[cls] = [(n, check) for n, a in given for kind, check in CHECKS if a == kind]
    for name, check in _checks[cls]:
        value = check(getattr(instance, name), name)
        if isinstance(value, tuple):
            object.__setattr__(instance, name, value)
