"""Where a fit stands, and the tree of a checkpoint from which another one goes on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from .._typing import Tree
from ..checks import all_finite, check_count
from ..nn.schedule import is_scheduled
from . import member_ends
from .history import MemberEnd, Row
from .step import Step

if TYPE_CHECKING:
    from .fit import Fit


#: More steps and epochs than a training has.
LARGEST = 2**63


@dataclass
class FitState:
    """Where a fit stands.

    Attributes
    ----------
    first : int
        Epochs that had been made when it began.
    first_step : int
        Steps that had been made when the running epoch began.
    batch : int
        Batches that were made of the running epoch; 0 between epochs.
    other_examples : int
        Examples that were trained on within the running epoch by a callback's own steps.
    seconds, began : float
        How long the running epoch has taken before this process, and when it then began.
    stopped : str
        Why it was stopped, if it was.
    cut : bool
        Whether that was in the middle of an epoch.
    cut_off : bool
        Whether an interruption has cut the epoch short: no checkpoint is made of it.
    examples : int or list of int
        How many examples the last epoch has had; of each member where they have their own.
    ended : dict of int to MemberEnd
        The members that have ended before the fit.
    behind : list of int
        How many epochs fewer than the trainer each member had made when the fit began.
    """

    first: int
    first_step: int
    batch: int = 0
    other_examples: int = 0
    seconds: float = 0.0
    began: float = 0.0
    stopped: str = ""
    cut: bool = False
    cut_off: bool = False
    examples: int | list[int] = 0
    ended: dict[int, MemberEnd] = field(default_factory=dict)
    behind: list[int] = field(default_factory=list)

    def tree(self) -> Tree:
        """Return this for a checkpoint, from which another process is to go on."""
        seconds = time.perf_counter() - self.began if self.batch else 0.0
        ended = member_ends.tree(self.ended)
        return asdict(replace(self, seconds=seconds, began=0.0, ended={})) | {"ended": ended}


def tree(fit: Fit) -> Tree:
    """Return all that the further training depends on: see `load_tree`. The history is apart."""
    step, trainer = fit.step, fit.trainer
    trainer.backend.synchronize()
    step.note_changes()
    rate = step.optimizer.learning_rate
    return {
        "weights": step.rollback.tree(),
        "steps": step.count,
        "idle": step.idle,
        "epochs": trainer.epochs,
        "unchanged_since": step.unchanged_since,
        "learning_rate": None if is_scheduled(rate) else rate,
        "epoch_so_far": step.meter.read(),
        "fit": fit.state.tree(),
    }


def load_tree(fit: Fit, tree: Tree, rows: list[Row]) -> None:
    """Set weights, moments, counters and where the fit stands to what `tree` returned.

    The history is then ``rows``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is not the state of such a fit; nothing is changed then.
    """
    step, trainer = fit.step, fit.trainer
    state, rate = FitState(**tree["fit"] | {"ended": {}}), tree["learning_rate"]
    steps, epochs, unchanged_since = _check_counters(tree, state, step)
    made, whole = epochs - state.first + (state.batch > 0), not state.batch
    state.ended = member_ends.resumed(tree["fit"]["ended"], fit, state.first, made, whole)
    total, finite_steps = tree["epoch_so_far"]
    for array in tree["weights"]["now"][:2]:
        if not all_finite(array, trainer.backend.xp):
            raise ValueError("its weights are NaN or infinite")
    step.rollback.load_tree(tree["weights"])
    step.meter.resume(total, finite_steps)
    step.idle[:] = tree["idle"]
    fit.state, trainer.history.rows, step.count, trainer.epochs = state, rows, steps, epochs
    trainer.history.ended = state.ended
    trainer.history.starts = member_ends.starts(state.first, state.behind)
    trainer.behind = member_ends.behind(epochs, state.behind, state.ended)
    if state.ended:
        step.freezing.freeze([*state.ended])
    rate = tuple(rate) if isinstance(rate, list) else rate
    if rate is not None and rate != step.optimizer.learning_rate:
        trainer.learning_rate = rate
    step.forget_changes(unchanged_since)


def _check_counters(tree: Tree, state: FitState, step: Step) -> list[int]:
    """Return the steps and epochs made and the first step unchanged, or raise an error."""
    names = "steps", "epochs", "unchanged_since"
    steps, epochs, unchanged_since = (check_count(tree[name], name, 0) for name in names)
    for name in ("first", "first_step", "batch", "other_examples"):
        check_count(getattr(state, name), name, 0)
    examples = state.examples if isinstance(state.examples, list) else [state.examples]
    for number in examples:
        check_count(number, "a number of examples", 0)
    state.behind = state.behind or [0] * len(step.idle)  # in files of earlier versions
    for number in (*tree["idle"], *state.behind):
        check_count(number, "a number of steps or epochs", -LARGEST)  # below 0: it has made more
    if len(state.behind) != len(step.idle):
        raise ValueError("its epochs are of other members")
    if state.first > epochs or state.first_step + state.batch > steps:
        raise ValueError("its counters contradict each other")
    if len(tree["idle"]) != len(step.idle) or max(tree["idle"]) > steps:
        raise ValueError("its idle steps are of other members")
    return [steps, epochs, unchanged_since]
