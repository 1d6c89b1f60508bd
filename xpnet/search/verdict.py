"""Whether a search was worth it: the best setting against the default one, with other seeds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_count
from ..train.callback import Callback
from ..train.measures import Measure
from .candidates import Candidate, Subject
from .search import ALL_FAIL, Search
from .study import Study
from .trials import Setting, State, Trial

#: A difference that chance would make this often, at most, is no chance.
CHANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether a search was worth it. Printed it is a sentence.

    Attributes
    ----------
    metric : str
        What the objective is called.
    minimize : bool
        Whether less of it is better.
    default, best : list of float
        The objective of each training with the default setting, and with the best one that was
        found: NaN where it diverged, or could not be made.
    p : float
        How often so large a difference, or a larger one, comes by chance alone if both settings
        are equally good: of Welch's t-test, one-sided (Welch, "The generalization of 'Student's'
        problem when several different population variances are involved", Biometrika 34, 1947).
    """

    metric: str
    minimize: bool
    default: list[float]
    best: list[float]
    p: float

    @property
    def gain(self) -> float:
        """How much better the best setting's mean is, in the objective's unit."""
        difference = _mean(self.default) - _mean(self.best)
        return difference if self.minimize else -difference

    @property
    def worth(self) -> bool:
        """Whether the best setting is better than the default, beyond the noise between seeds.

        One that has failed at all is not, unless it is the default that fails.
        """
        through, through_before = len(_there(self.best)), len(_there(self.default))
        if through_before < 2:
            return through > through_before
        return through == len(self.best) and self.gain > 0 and self.p < CHANCE

    @property
    def sentence(self) -> str:
        """What came of it, in words."""
        if self.worth:
            found = "the search was worth it"
        elif self.gain > 0:
            found = "the search has found nothing that is surely better than the default setting"
        else:
            found = "the search has found nothing better than the default setting"
        both = f"{_told(self.best)} against {_told(self.default)} of the default setting"
        return f"{found}: {self.metric} {both} ({self._why}; seeds: {len(self.best)} each)"

    @property
    def _why(self) -> str:
        """What the verdict rests on."""
        failed = [len(values) - len(_there(values)) for values in (self.best, self.default)]
        if any(failed):
            return f"{failed[0]} and {failed[1]} trainings have failed"
        if self.gain == 0:
            return "no difference"
        if self.gain < 0:
            return "it is worse"
        beyond = "beyond" if self.worth else "within"
        return f"{beyond} the noise between seeds, p = {self.p:.2g}"

    def __str__(self) -> str:
        return self.sentence


def compare(
    subject: Subject,
    metric: Measure,
    default: Setting,
    best: Setting,
    repeats: int = 5,
    members: int = 16,
    watch: Callable[[Trial], object] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Verdict:
    """Train the default setting and the best one several times, and say whether they differ.

    The seeds are others than those of the search, since its best value is the best of many, and
    good luck a part of it. The examples are the same: how good the best setting is on new ones, a
    test set alone can say. The trainings are members of one network where they can be, as in a
    search, and each has the value of the best of its epochs.

    Parameters
    ----------
    subject : Subject
        What was searched for.
    metric : Measure
        The objective.
    default, best : dict
        The settings.
    repeats : int
        How often to train each, 2 or more; with folds all folds each time.
    members : int
        How many networks to train at once, at most.
    watch : function or None
        Called with each training that has ended, as a trial whose setting has "setting" and
        "repeat".
    callbacks : sequence of Callback
        What else watches the fits, as for `Search`.

    Raises
    ------
    TypeError, ValueError
        If a number is not as it must be.
    """
    repeats = check_count(repeats, "repeats", 2)
    studies = _Repeats(default, repeats, metric.minimize), _Repeats(best, repeats, metric.minimize)
    for each in studies:
        search = Search(
            _Repeated(subject), each, metric, members=members, watch=watch, callbacks=callbacks
        )
        try:
            search.run()
        except ValueError:
            if not each.has_failed:
                raise
    before, after = ([_value(trial) for trial in each.trials()] for each in studies)
    p = chance(before, after) if metric.minimize else chance(after, before)
    return Verdict(metric.name, metric.minimize, before, after, p)


def chance(more: list[float], less: list[float]) -> float:
    """Return how likely it is that so much more comes by chance alone: p of Welch's t-test.

    What is NaN is left out; NaN if there are fewer than two left of one.

    Examples
    --------
    >>> round(chance([0.31, 0.33, 0.32], [0.21, 0.25, 0.23]), 4), chance([0.5, 0.5], [0.5, 0.5])
    (0.0032, 1.0)
    """
    from scipy.special import stdtr

    a, b = (np.array(_there(values)) for values in (more, less))
    if min(len(a), len(b)) < 2:
        return math.nan
    largest = max(np.abs(a).max(), np.abs(b).max()) or 1.0  # so that no square is too large
    a, b = a / largest, b / largest
    of_a, of_b = (x.var(ddof=1) / len(x) for x in (a, b))
    difference, noise = a.mean() - b.mean(), of_a + of_b
    if noise == 0:
        return 0.0 if difference > 0 else 1.0
    freedom = noise**2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    return float(stdtr(freedom, -difference / math.sqrt(noise)))


class _Repeated:
    """Makes networks of a setting that says which of its repeats it is."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    @property
    def n_folds(self) -> int:
        """How many networks a repeat is judged by."""
        return self._subject.n_folds

    def candidate(self, setting: Setting, repeat: int = 0) -> Candidate:
        """Return a candidate with a seed that the search has not used."""
        searched = setting["repeat"] * self.n_folds
        return self._subject.candidate(setting["setting"], searched + repeat)


class _Repeats(Study):
    """A study of one setting, trained several times: repeats from 1 on, since 0 was the search."""

    def __init__(self, setting: Setting, repeats: int, minimize: bool) -> None:
        self.space, self.minimize, self.limit, self.where = {}, minimize, repeats, "memory"
        self._trials = [Trial(i, {"setting": setting, "repeat": 1 + i}) for i in range(repeats)]
        self._left = deque(self._trials)

    @property
    def has_failed(self) -> bool:
        """Whether so many have failed, and none has not, that a search is given up."""
        ended = [trial.state for trial in self._trials if trial.state is not State.RUNNING]
        return ended.count(State.FAILED) == len(ended) >= ALL_FAIL

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Trial | None:
        return self._left.popleft() if self._left else None

    def report(self, trial: Trial, epochs: int, value: float) -> None:
        trial.reports[epochs] = value

    def reports_at(self, epochs: int) -> list[float]:
        return [t.reports[epochs] for t in self._trials if epochs in t.reports]

    def end(self, trial: Trial) -> None:
        pass

    def give_back(self, trial: Trial) -> None:
        self._left.append(trial)

    def trials(self) -> list[Trial]:
        return self._trials

    def close(self) -> None:
        pass


def _value(trial: Trial) -> float:
    return trial.value if trial.state is State.COMPLETE and trial.value is not None else math.nan


def _there(values: list[float]) -> list[float]:
    """Return the values of the trainings that have come through."""
    return [value for value in values if math.isfinite(value)]


def _mean(values: list[float]) -> float:
    there = _there(values)
    return float(np.mean(there)) if there else math.nan


def _told(values: list[float]) -> str:
    """Return mean and standard deviation in few characters."""
    there = _there(values)
    spread = f" ± {np.std(there, ddof=1):.2g}" if len(there) > 1 else ""
    return f"{_mean(values):.4g}{spread}" if there else "none"
