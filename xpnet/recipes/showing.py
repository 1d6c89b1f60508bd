"""What a plan says, as rows and as text: which settings there are, their values, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .recipes import Plan

#: The reason of what the recipe has no part in.
GIVEN = "set by hand"


class Row(NamedTuple):
    """A setting, its value as text, and the reason."""

    setting: str
    value: str
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
    hidden | 64, 32 | set by hand
    scaling | median | quartiles: far values have no part in the scale
    clip | 3.0 | a smooth clip, x/√(1 + (x/3)²): nor do they reach far
    """
    given = [Row(n, _told(getattr(plan.settings, n)), GIVEN) for n in plan.given]
    return given + [Row(step.name, _told(step.value), step.why) for step in plan.steps]


def text_of(plan: Plan) -> str:
    """Return a plan as text: a line for each row of its table, below the recipe's name."""
    rows = table_of(plan)
    names, values = (max((len(row[i]) for row in rows), default=0) for i in range(2))
    lines = [f"{row.setting:<{names}}  {row.value:<{values}}  {row.why}" for row in rows]
    return "\n".join([f"recipe {plan.settings.recipe!r}", *lines])


def _told(value: Any) -> str:
    """Return a setting's value as it is written by hand."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    names = {True: "yes", False: "no", None: "none"}
    return names[value] if value is None or isinstance(value, bool) else str(value)
