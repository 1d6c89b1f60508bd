"""A trial: a setting of the hyper-parameters that is trained, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

#: The hyper-parameters' values by name, as a `Space` draws them.
Setting: TypeAlias = dict[str, Any]


class State(StrEnum):
    """What has become of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"  # trained for all of its epochs
    STOPPED = "stopped"  # by successive halving: others were better after as many epochs
    FAILED = "failed"  # its training diverged, or could not be made


@dataclass
class Trial:
    """A setting that is trained, and what came of it.

    Attributes
    ----------
    number : int
        Its number in the study, from 0.
    setting : dict
        The hyper-parameters' values by name.
    state : State
        What has become of it.
    value : float or None
        The objective after the best of its epochs; None while there is none.
    best_epoch : int or None
        That epoch, from 1.
    epochs : int
        How many it was trained for.
    reports : dict of int to float
        After how many epochs the objective's best value was which: one for each rung that it came
        to.
    reason : str
        Why it failed.
    """

    number: int
    setting: Setting
    state: State = State.RUNNING
    value: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    reports: dict[int, float] = field(default_factory=dict)
    reason: str = ""
