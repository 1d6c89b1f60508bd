"""What a search has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..train.measures import Measure
from .study import Study
from .trials import Setting, State, Trial

#: How many trials the table has.
SHOWN = 10


@dataclass
class Tuning:
    """What `tune` has found. Printed it is a table of the best trials.

    Attributes
    ----------
    study : Study
        All trials: `Study.trials`.
    metric : Measure
        The objective.
    reason : str
        Why the search ended before its time; empty if it has not.
    epochs : int
        How many epochs of trials were trained, in this process.
    seconds : float
        How long it took.
    default : dict
        The values that the hyper-parameters have if nobody searches.
    verdict : object or None
        Whether it was worth it, see `Verdict`; None where it was not asked.
    model : object or None
        What was made with the best setting, if it was asked for.
    """

    study: Study
    metric: Measure
    reason: str = ""
    epochs: int = 0
    seconds: float = 0.0
    default: Mapping[str, Any] = field(default_factory=dict)
    verdict: Any = None
    model: Any = None

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return self.study.trials()

    @property
    def best(self) -> Trial:
        """The best trial: of those that were trained to their end, or else of those stopped early.

        Raises
        ------
        ValueError
            If none has a value.
        """
        found = self.study.best()
        if not found:
            raise ValueError(
                f"no trial has a value: {len(self.trials)} were asked; give more time or trials"
            )
        return found[0]

    def __str__(self) -> str:
        rows = table(self.study.best()[:SHOWN], self.metric)
        counts = dict.fromkeys(State, 0)
        for trial in self.trials:
            counts[trial.state] += 1
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return "\n".join(["  ".join(row).rstrip() for row in rows] + [told or "no trials"])


def table(trials: list[Trial], metric: Measure) -> list[list[str]]:
    """Return trials as the cells of a table, heading first, each column as wide as its widest."""
    names = [*dict.fromkeys(name for trial in trials for name in trial.setting)]
    rows = [["trial", metric.name, "epoch", *names]]
    for trial in trials:
        value = "" if trial.value is None else f"{trial.value:.5g}"
        epoch = f"{trial.best_epoch} of {trial.epochs}"
        rows.append([str(trial.number), value, epoch, *(_told(trial.setting, n) for n in names)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]


def _told(setting: Setting, name: str) -> str:
    """Return a value in few characters; nothing where a setting does not have it."""
    if name not in setting:
        return ""
    value = setting[name]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
