"""Options of optimisers, of which each of the networks trained at once may have its own."""

from __future__ import annotations

from collections.abc import Callable

from ..checks import Numbers, each


def require_fraction(name: str, values: Numbers, whole: bool = False) -> None:
    """Raise a ValueError if a number, or a member's, is not in [0, 1), or in [0, 1]."""
    for value in each(values):
        if not (0 <= value < 1 or (whole and value == 1)):
            raise ValueError(f"{name} is {value}: give a number in [0, 1{']' if whole else ')'}")


def is_array(value: object) -> bool:
    """Return whether an option is an array of members' own values, as `update` finds them."""
    return bool(getattr(value, "ndim", 0))


def check_each(check: Callable[[float, str], object], values: Numbers, name: str) -> None:
    """Check a number, or each member's."""
    for value in each(values):
        check(value, name)
