"""Numbers that may change from step to step: a schedule in place of a number.

A schedule is called with ``(step, epoch)``: the number of updates made so far, and the number of
epochs made so far with the fraction of the running one. Any function of the same two arguments may
stand in for it; a subclass of `Schedule` is one whose options are known, so that files may hold it.
The library's own are in ``optim.schedules``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from ..checks import PER_MEMBER, as_tuple
from ..registry import Registered, Registry

#: What gives a number of a step: a `Schedule`, or any function of (step, epoch).
RateFunction: TypeAlias = Callable[[int, float], float]


@dataclass(frozen=True)
class Schedule(Registered):
    """The base of the schedules: a frozen dataclass of options, called with (step, epoch).

    Attributes
    ----------
    formula : str
        What it computes, for people.
    spans_run : bool
        Whether it has a ``total``, which is that of the run where nobody says.

    Examples
    --------
    >>> import xpnet as xn
    >>> @dataclass(frozen=True)
    ... class Sawtooth(xn.Schedule):
    ...     high: float
    ...     period: int = 10
    ...     def __call__(self, step, epoch):
    ...         return self.high * (1 - step % self.period / self.period)
    >>> xn.SGD(Sawtooth(0.1, period=4)).rate(step=5, epoch=0.0)
    0.07500000000000001
    """

    registry: ClassVar[Registry[Schedule]] = Registry("schedule")

    formula: ClassVar[str] = ""
    spans_run: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, step: int, epoch: float) -> float:
        """Return the number at a step of an epoch."""


#: A number or a schedule, or one for each of the networks that are trained at once.
Rates: TypeAlias = Annotated[
    float
    | Schedule
    | RateFunction
    | tuple[float, ...]
    | tuple[Schedule, ...]
    | tuple[RateFunction, ...],
    PER_MEMBER,
]


def check_rates(given: object, name: str, check: Callable[[Any, str], float]) -> Any:
    """Return a number or a schedule, or several as a tuple, or raise an error.

    ``check(number, name)`` returns a number or raises an error; what schedules give is not known
    before they are asked.

    Examples
    --------
    >>> from xpnet.checks import check_positive
    >>> check_rates([0.1, 0.2], "learning_rate", check_positive)
    (0.1, 0.2)
    """
    several = given if callable(given) else as_tuple(given, name)
    if not isinstance(several, tuple):
        return several if callable(several) else check(several, name)
    require_one_kind(several, name)
    return tuple(rate if callable(rate) else check(rate, name) for rate in several)


def require_one_kind(values: tuple[Any, ...], name: str) -> None:
    """Raise a ValueError if some members have numbers and some schedules, or of several kinds."""
    kinds = {kind_of(value): value for value in values}
    if any(map(callable, values)) and len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise ValueError(
            f"{name} holds {first!r} and {second!r}: give all members numbers, or schedules of one "
            "kind"
        )


def kind_of(value: Any) -> type[Any]:
    """Return of what kind a value is: members have numbers, or schedules of one kind."""
    return type(value) if callable(value) else float


def is_scheduled(given: Any) -> bool:
    """Return whether something changes from step to step, or that of members does.

    Examples
    --------
    >>> is_scheduled(0.1), is_scheduled((0.1, 0.2)), is_scheduled(lambda step, epoch: 0.1)
    (False, False, True)
    """
    return any(map(callable, given if isinstance(given, tuple) else (given,)))


def value_at(given: Any, step: int, epoch: float, what: str, below: float = math.inf) -> float:
    """Return the number of a step, from a number or a schedule.

    Raises
    ------
    ValueError
        If a schedule gives what is negative, not below a number, or no number.

    Examples
    --------
    >>> value_at(lambda step, epoch: 0.1 / (1 + epoch), step=30, epoch=1.0, what="rate")
    0.05
    """
    if not callable(given):
        return float(given)
    found = given(step, epoch)
    try:
        value = float(found)
    except (TypeError, ValueError):  # no number
        value = math.nan
    if not 0 <= value < below:
        wanted = "finite numbers, 0 or more" if below == math.inf else f"numbers in [0, {below:g})"
        raise ValueError(
            f"the schedule {given!r} gives the {what} {found!s:.50} at step {step}, "
            f"epoch {epoch:g}: give {wanted}"
        )
    return value
