"""What a plan says, as rows and as text: which settings there are, their values, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .specs import told

if TYPE_CHECKING:
    from .recipes import Plan

#: The reason of what the recipe has no part in.
GIVEN = "set by hand"


class Row(NamedTuple):
    """A setting, its value, and the reason."""

    name: str
    value: Any
    why: str


def table_of(plan: Plan) -> list[Row]:
    """Return what a plan has set: first what was set by hand, then the recipe's steps.

    Examples
    --------
    >>> from xpnet.recipes.facts import Facts
    >>> from xpnet.recipes.recipes import Asked
    >>> from xpnet.recipes.settings import Settings
    >>> plan = Asked("realmlp", ["hidden"]).plan(
    ...     Facts("binary", n=1000, n_columns=8), Settings(hidden=(64, 32)))
    >>> for row in table_of(plan)[:3]:
    ...     print(*row, sep=" | ")
    hidden | (64, 32) | set by hand
    scaling | median | quartiles: far values have no part in the scale
    clip | 3.0 | a smooth clip, x/√(1 + (x/3)²): nor do they reach far
    """
    given = [Row(n, getattr(plan.settings, n), GIVEN) for n in plan.given]
    return given + [Row(step.name, step.value, step.why) for step in plan.steps]


def text_of(plan: Plan) -> str:
    """Return a plan as text: a line for each row of its table, below the recipe's name."""
    rows = [(row.name, told(row.value), row.why) for row in table_of(plan)]
    names, values = (max((len(row[i]) for row in rows), default=0) for i in range(2))
    lines = [f"{name:<{names}}  {value:<{values}}  {why}" for name, value, why in rows]
    return "\n".join([f"recipe {plan.settings.recipe!r}", *lines])
