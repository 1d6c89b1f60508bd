"""A setting that was asked for, and the attempts to train it: why none is lost or ended twice.

In a storage each attempt is a trial of Optuna's, which names its worker, the first attempt at the
same setting, and how many came before it. The storage does two things whole or not at all, one
process after the other: it makes a trial with all that belongs to it, and it ends one that has not
ended. On these two alone rests what holds when processes die at any point, or are taken for dead:

- *No setting is lost.* It is there with its first attempt, and until an attempt has ended it with
  a result, somebody may make the next one: when the newest attempt's worker is dead, or has given
  it back, which is to end it without a result.
- *None is ended twice.* Who makes the next attempt trains it only once all earlier ones have ended;
  if one of them has got a result meanwhile, that is the setting's. From then on the earlier ones
  can't get one any more: a worker that was only suspended is told so by the storage. Of several
  attempts with the same number the first made counts, and the others are ended by who made them.
- *None is left running.* What was made and not trained, since its maker died or came second, is
  ended by whoever asks next. A maker that died before it trained is as any other dead worker.
- *There are as many as the limit says.* Settings are numbered in the order in which their first
  attempts were made. Those beyond the limit are ended by who made them, or who asks next.

A trial that was stopped may go on where it was trained, which is one more attempt: until that has a
result the setting has the earlier one, so it is neither lost nor trained by anyone else when the
worker dies.

A failure is a result as well, but for Optuna an end without a value: its reason is written before.
So it counts while no later attempt is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from .proposals import as_setting
from .space import Space
from .trials import State, Trial

#: The attributes of a trial of Optuna's that tell whose attempt it is, and what came of it.
ATTEMPT, RESULT = "xpnet:attempt", "xpnet:result"

#: The attribute of an attempt at a setting that was one too many.
BEYOND = "xpnet:beyond the limit"

#: What the states that are results are called.
RESULTS = {TrialState.COMPLETE: State.COMPLETE, TrialState.PRUNED: State.STOPPED}


@dataclass
class Asked:
    """A setting that was asked for.

    Attributes
    ----------
    number : int
        Its number, from 0.
    attempts : list of FrozenTrial
        The attempts to train it, as they were made.
    """

    number: int
    attempts: list[FrozenTrial]

    @property
    def first(self) -> FrozenTrial:
        """The first attempt."""
        return self.attempts[0]

    @property
    def newest(self) -> FrozenTrial:
        """The one that counts: of those with the highest count the first made."""
        return max(self.attempts, key=lambda t: (count(t), -t.number))

    @property
    def ended(self) -> FrozenTrial | None:
        """The attempt that has got a result, if one has; of one that went on the later one."""
        results = [attempt for attempt in self.attempts if attempt.state in RESULTS]
        if results:
            return max(results, key=count)
        newest = self.newest
        return newest if has_failed(newest) else None

    @property
    def state(self) -> State:
        """What has become of it."""
        ended = self.ended
        return State.RUNNING if ended is None else RESULTS.get(ended.state, State.FAILED)

    def reports(self) -> dict[int, float]:
        """Return what was reported of it: by the attempt that counts, else by earlier ones."""
        if len(self.attempts) == 1:
            return dict(sorted(self.first.intermediate_values.items()))
        found: dict[int, float] = {}
        for attempt in sorted(self.attempts, key=lambda t: (count(t), -t.number)):
            found |= attempt.intermediate_values
        if self.ended is not None:
            found |= self.ended.intermediate_values
        return dict(sorted(found.items()))

    def superfluous(self) -> list[FrozenTrial]:
        """Return the attempts that need not be trained, whoever made them.

        One that goes on where another was stopped is among them: its maker trains it nevertheless.
        """
        running = [t for t in self.attempts if t.state is TrialState.RUNNING]
        if self.ended is not None:
            return running
        counting: dict[int, FrozenTrial] = {}
        for attempt in self.attempts:
            counting.setdefault(count(attempt), attempt)
        return [t for t in running if counting[count(t)] is not t]


def count(attempt: FrozenTrial) -> int:
    """Return how many attempts came before one."""
    return int(attempt.user_attrs[ATTEMPT]["count"])


def worker(attempt: FrozenTrial) -> str:
    """Return the name of the worker that an attempt is of."""
    return str(attempt.user_attrs[ATTEMPT]["worker"])


def has_failed(attempt: FrozenTrial) -> bool:
    """Return whether an attempt has ended with a failure, and was not just given up."""
    result = attempt.user_attrs.get(RESULT, {})
    return attempt.state is TrialState.FAIL and result.get("state") == State.FAILED


def goes_on(attempt: FrozenTrial) -> bool:
    """Return whether an attempt goes on where an earlier one was stopped."""
    return bool(attempt.user_attrs[ATTEMPT].get("goes_on"))


def as_attempt(worker: str, earlier: Asked | None = None) -> dict[str, Any]:
    """Return the attribute of a worker's new attempt, the first or the next one at a setting."""
    if earlier is None:
        return {"worker": worker, "first": None, "count": 0}
    return {"worker": worker, "first": earlier.first.number, "count": count(earlier.newest) + 1}


def asked(trials: Iterable[FrozenTrial]) -> list[Asked]:
    """Return the settings by number, of all trials of a study as Optuna has them, by number."""
    found: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        about = trial.user_attrs.get(ATTEMPT)
        if about is not None:  # not one that somebody added by other means
            first = trial.number if about["first"] is None else about["first"]
            found.setdefault(first, []).append(trial)
    return [Asked(number, attempts) for number, attempts in enumerate(found.values())]


def within(settings: Sequence[Asked], limit: int) -> list[Asked]:
    """Return the settings that count: those up to a limit, and beyond it those that have ended."""
    return [s for s in settings if s.number < limit or s.ended is not None]


def told(space: Space, setting: Asked) -> Trial:
    """Return a setting's trial."""
    ended, params = setting.ended, setting.first.params
    trial = Trial(
        setting.number,
        as_setting(space, params),
        state=setting.state,
        reports=setting.reports(),
    )
    if ended is not None:
        result = ended.user_attrs.get(RESULT, {})
        trial.value, trial.best_epoch = result.get("value"), result.get("best_epoch")
        trial.epochs, trial.reason = result.get("epochs", 0), result.get("reason", "")
    return trial
