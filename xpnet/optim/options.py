"""Options of optimisers, of which each of the networks trained at once may have its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from ..checks import PER_MEMBER, Numbers, as_tuple, check_positive, each
from .schedules import RateFunction

#: A learning rate or a schedule, or one for each of the networks that are trained at once.
Rates: TypeAlias = Annotated[
    float | RateFunction | tuple[float, ...] | tuple[RateFunction, ...], PER_MEMBER
]


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


def check_rates(rates: object) -> Any:
    """Return a rate or a schedule, or several as a tuple, or raise an error."""
    several = rates if callable(rates) else as_tuple(rates, "learning_rate")
    if not isinstance(several, tuple):
        if not callable(several):
            check_positive(several, "learning_rate")
        return several
    checked = [r if callable(r) else check_positive(r, "learning_rate") for r in several]
    kinds = {type(rate) if callable(rate) else float: rate for rate in several}
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise ValueError(
            f"learning_rate holds {first!r} and {second!r}: give all members numbers, or schedules "
            "of one kind"
        )
    return tuple(checked)
