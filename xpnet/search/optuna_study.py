"""A study in Optuna's hands: it proposes, and its storages share it among processes."""

from __future__ import annotations

import contextlib
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .._typing import Tree
from ..checks import check_count, check_flag, check_number
from ..files import json_tree
from ..randomness import Purpose, generator
from ..warning import warn
from .about import check_about
from .attempts import (
    ATTEMPT,
    BEYOND,
    RESULT,
    Asked,
    as_attempt,
    asked,
    goes_on,
    has_failed,
    told,
    within,
    worker,
)
from .known import Known
from .proposals import as_params, as_setting, new_trial, optuna_distribution, propose
from .space import Space, check_setting, check_space, describe
from .storages import open_storage, quiet
from .study import Study, check_end
from .trials import State, Trial
from .workers import BEATS, Pulse, Watch, this_process

#: The attributes of a study of Optuna's: what it is about, and one for each worker.
ABOUT, WORKER = "xpnet:about", "xpnet:worker:"

#: Seconds after which what others have done is read again.
REFRESH = 1.0

#: What Optuna calls the states that are results.
STATES = {
    State.COMPLETE: TrialState.COMPLETE,
    State.STOPPED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}


class OptunaStudy(Study):
    """A study whose settings Optuna's TPE proposes, in memory or in a storage that others share.

    Parameters
    ----------
    space : dict of str to Distribution
        What is searched in.
    limit : int
        How many trials there are in all, of all processes.
    minimize : bool
        Whether less of the objective is better.
    seed : int
        The same seed gives one process that is alone the same study.
    storage : None, path, str or optuna.storages.BaseStorage
        Where it is kept, as `storages.open_storage` takes it; None: in memory.
    name : str
        What it is called there.
    about : dict or None
        What must be equal for all who go on with it, as JSON: data, objective.
    resume : bool or "auto"
        Whether it may have trials: False: not; True: it must be there; "auto": either.
    grace : float
        Seconds after which a process of another machine that is not heard of is taken for dead, and
        one of this machine that is there and silent.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of those, or the study that is there is about something else.
    FileExistsError, FileNotFoundError
        If the study is there and should not be, or the other way round.
    OSError
        If the storage can't be reached.
    """

    def __init__(
        self,
        space: Space,
        limit: int,
        minimize: bool = True,
        seed: int = 0,
        storage: Any = None,
        name: str = "xpnet",
        about: Tree | None = None,
        resume: bool | str = False,
        grace: float = 60.0,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"name is {name!r}: give the study a name")
        check_space(space)
        self.space, self.minimize = dict(space), check_flag(minimize, "minimize")
        if resume != "auto":
            resume = check_flag(resume, "resume")
        self.limit, self._seed = check_count(limit, "limit"), check_count(seed, "seed", 0)
        if not 0 < check_number(grace, "grace") < math.inf:
            raise ValueError(f"grace is {grace}: give seconds, more than 0")
        described = {"minimize": self.minimize, "space": describe(space)}
        self._about: Tree = described | json_tree.encode(about or {}, name="about")
        self._distributions = {name: optuna_distribution(d) for name, d in space.items()}
        self._storage = open_storage(storage, must_exist=resume is True)
        self.name, self.where = name, self._storage.where
        try:
            self._id = self._find(resume)
        except BaseException:
            self._storage.close()
            raise
        self._known = Known(self._storage, self._id)
        self._others: Tree | None = None  # what was last told of them
        self._alive: set[str] = set()  # whom it takes for alive
        self._looked, self._reads = -math.inf, 0  # when, and how often it had read then
        self._watch = Watch(grace)
        self._pulse: Pulse | None = None
        self._pid, self._worker, self._beats = os.getpid(), uuid.uuid4().hex, 0
        self._mine: dict[int, int] = {}  # the ids of the trials that run here, by number
        self._lost: set[int] = set()  # those of them that others have taken over
        self._is_closed = False

    # -- the study in the storage ----

    def _find(self, resume: bool | str) -> int:
        """Return the study's number in the storage, made if it is not there."""
        there = {study.study_name: study._study_id for study in self._storage.get_all_studies()}
        if resume is True and self.name not in there:
            others = f"there are {', '.join(there)}" if there else "there is none"
            raise FileNotFoundError(
                f"{self.where}: there is no study {self.name!r} to go on with, {others}: begin it "
                "first"
            )
        if self.name not in there:
            direction = StudyDirection.MINIMIZE if self.minimize else StudyDirection.MAXIMIZE
            with quiet(), contextlib.suppress(DuplicatedStudyError):  # another was quicker
                self._storage.create_new_study([direction], self.name)
        study: int = self._storage.get_study_id_from_name(self.name)
        # In this order: who makes trials has told before what they are about.
        trials = self._storage.get_all_trials(study, deepcopy=False)
        told = self._storage.get_study_user_attrs(study)
        if trials and resume is False:
            raise FileExistsError(
                f"{self.where}: there is a study {self.name!r} of {len(asked(trials))} trials: go "
                "on with it by resume (--resume), or give another name"
            )
        if ABOUT in told:
            self._check_about(told)
        elif trials:
            raise ValueError(
                f"{self.where}: the study {self.name!r} was made by other means: give another name"
            )
        else:
            self._storage.set_study_user_attr(study, ABOUT, self._about)
        return study

    def _check_about(self, told: Tree) -> None:
        """Raise a ValueError if the study is about something else."""
        check_about(told[ABOUT], self._about, f"{self.where}: {self.name!r}")

    # -- the workers ----

    def _enter(self) -> None:
        """Be one of the workers."""
        if self._is_closed:
            raise RuntimeError("the study is closed: make it anew")
        if os.getpid() != self._pid:
            raise RuntimeError("the study was opened in another process: open it in this one")
        if not self._storage.is_shared:
            return
        if self._pulse is None:
            self._pulse = Pulse(self._beat, self._watch.grace / BEATS)
        if self._pulse.is_late():  # it begins, or was suspended
            self._pulse.call()

    def _beat(self) -> None:
        self._beats += 1
        told = this_process() | {"beat": self._beats}
        self._storage.set_study_user_attr(self._id, WORKER + self._worker, told)

    def _look(self, late: float = 0.0) -> set[str]:
        """Bring what is known up to date, but for so many seconds; return who is alive."""
        now = time.monotonic()
        if now - self._looked < late and self._known.reads == self._reads:
            return self._alive
        told = self._storage.get_study_user_attrs(self._id)
        self._check_about(told)  # two may have begun it at the same time
        others = {k.removeprefix(WORKER): v for k, v in told.items() if k.startswith(WORKER)}
        others.pop(self._worker, None)
        alive = {name for name, other in others.items() if self._watch.is_alive(name, other)}
        if alive or others != self._others:
            self._known.read()
        self._others, self._looked, self._alive = others, now, alive | {self._worker}
        self._reads = self._known.reads
        return self._alive

    def _is_at_work(self, attempt: FrozenTrial, alive: set[str]) -> bool:
        """Return whether an attempt is being trained, or its maker about to."""
        if attempt.state is not TrialState.RUNNING or worker(attempt) not in alive:
            return False
        # What a Ctrl-C has cut off here is nobody's, though its worker is alive.
        return worker(attempt) != self._worker or attempt._trial_id in self._mine.values()

    def _is_free(self, setting: Asked, alive: set[str]) -> bool:
        """Return whether a setting has nobody who trains it; one that was lost is still at it."""
        is_held = self._is_at_work(setting.newest, alive) or setting.number in self._mine
        return setting.ended is None and not is_held

    # -- asking ----

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Trial | None:
        """Return a new trial that is to be trained, or None if there are to be no more for now.

        While `elsewhere` is not 0 there may be more later: those of processes that die.
        """
        given = check_setting(self.space, dict(fixed or {}))
        self._enter()
        for late in (REFRESH, 0.0):
            alive = self._look(late)
            settings = asked(self._known.trials)
            self._clear(settings, alive)
            for setting in settings[: self.limit]:
                if self._is_free(setting, alive):
                    trial = self._take_over(setting)
                    if trial is not None:
                        return trial
            if len(settings) < self.limit:
                return self._new(len(settings), given, alone=alive == {self._worker})
        return None

    def _new(self, number: int, given: Mapping[str, Any], alone: bool) -> Trial | None:
        # Of several workers no two must draw the same; one that is alone draws what its seed says.
        more = () if alone else (int(self._worker[:15], 16),)
        source = generator(self._seed, Purpose.SEARCH, number, *more)
        params = propose(
            self.space,
            self._known.trials,
            self.minimize,
            int(source.integers(2**32)),
            as_params(self.space, given),
        )
        attempt = self._create(params, as_attempt(self._worker))
        setting = _of(asked(self._known.trials), attempt)
        if setting.number >= self.limit:  # others were quicker
            self._put_off(attempt)
            return None
        return self._as_mine(setting, params, attempt)

    def _take_over(self, earlier: Asked) -> Trial | None:
        """Make the next attempt at a setting, and return it as a trial unless another has it."""
        params = dict(earlier.first.params)
        attempt = self._create(params, as_attempt(self._worker, earlier))
        setting = _of(asked(self._known.read()), attempt)
        if setting.newest._trial_id != attempt:
            self._give_up(attempt)
            return None
        for other in setting.attempts:
            if other._trial_id != attempt and not other.state.is_finished():
                self._give_up(other._trial_id)
        setting = _of(asked(self._known.read()), attempt)
        mine = next(t for t in setting.attempts if t._trial_id == attempt)
        failed = [t for t in setting.attempts if has_failed(t)]
        if mine.state.is_finished():  # another has taken it over from here
            return None
        if setting.ended is not None:  # one that was taken for dead has come to its end after all
            self._give_up(attempt)
            return None
        if failed:
            self._finish(attempt, State.FAILED, None, failed[-1].user_attrs[RESULT])
            return None
        return self._as_mine(setting, params, attempt)

    def _create(self, params: Mapping[str, Any], attempt: Tree) -> int:
        distributions = {name: self._distributions[name] for name in params}
        trial = new_trial(dict(params), distributions, {ATTEMPT: attempt})
        return self._known.create(trial)

    def _as_mine(self, setting: Asked, params: Mapping[str, Any], attempt: int) -> Trial:
        self._mine[setting.number] = attempt
        self._lost.discard(setting.number)
        return Trial(setting.number, as_setting(self.space, params))

    def _clear(self, settings: Sequence[Asked], alive: set[str]) -> None:
        """End what nobody trains: what was made and died, or came second, or beyond the limit."""
        for setting in settings:
            for attempt in setting.superfluous():
                if not (goes_on(attempt) and self._is_at_work(attempt, alive)):
                    self._give_up(attempt._trial_id)
            newest = setting.newest
            runs = newest.state is TrialState.RUNNING
            if setting.number >= self.limit and runs and not self._is_at_work(newest, alive):
                self._put_off(newest._trial_id)

    def _give_up(self, attempt: int) -> None:
        """End an attempt without a result."""
        with contextlib.suppress(UpdateFinishedTrialError):
            self._known.end(attempt, TrialState.FAIL)

    def _put_off(self, attempt: int) -> None:
        """End an attempt at a setting beyond the limit; with a larger one it is asked again."""
        with contextlib.suppress(UpdateFinishedTrialError):
            self._known.note(attempt, BEYOND, True)
        self._give_up(attempt)

    # -- what becomes of a trial ----

    def report(self, trial: Trial, epochs: int, value: float) -> None:
        """Note the objective's best value after so many epochs, and keep it in `Trial.reports`."""
        attempt = self._attempt(trial)
        trial.reports[epochs] = value
        with self._unless_taken_over(trial):
            self._known.report(attempt, epochs, float(value))

    def reports_at(self, epochs: int) -> list[float]:
        """Return what all trials have reported after so many epochs, others' as of a second ago."""
        self._look(late=REFRESH)
        found = (setting.reports() for setting in within(asked(self._known.trials), self.limit))
        return [reports[epochs] for reports in found if epochs in reports]

    def end(self, trial: Trial) -> None:
        """Keep what has become of a trial: its state, which is not running, value and reason.

        A trial that another process has taken over meanwhile is left to that, with a note.
        """
        attempt = self._attempt(trial)
        check_end(trial)
        result = {
            "state": str(trial.state),
            "value": None if trial.value is None else float(trial.value),
            "best_epoch": trial.best_epoch,
            "epochs": trial.epochs,
            "reason": trial.reason,
        }
        value = None if trial.state is State.FAILED else result["value"]
        with self._unless_taken_over(trial):
            self._finish(attempt, trial.state, value, result)
        self._mine.pop(trial.number, None)

    def _finish(self, attempt: int, state: State, value: Any, result: Tree) -> None:
        self._known.note(attempt, RESULT, result)
        self._known.end(attempt, STATES[state], None if value is None else [value])

    @contextlib.contextmanager
    def _unless_taken_over(self, trial: Trial) -> Iterator[None]:
        try:
            yield
        except UpdateFinishedTrialError:
            if trial.number not in self._lost:
                self._lost.add(trial.number)
                warn(
                    f"trial {trial.number} was taken over by another process, which had not heard "
                    f"of this one for {self._watch.grace:g} s: what comes of it here is left out"
                )

    def _attempt(self, trial: Trial) -> int:
        if trial.number not in self._mine:
            raise ValueError(f"trial {trial.number} is not running here: give one from ask")
        return self._mine[trial.number]

    def reopen(self, trial: Trial) -> bool:
        """Have a trial that was stopped trained on; if this process dies, it stays stopped."""
        self._enter()
        settings = asked(self._known.trials)
        if trial.number in self._mine or trial.number >= len(settings):
            return False
        setting = settings[trial.number]
        if setting.state is not State.STOPPED or trial.state is not State.STOPPED:
            return False
        attempt = as_attempt(self._worker, setting) | {"goes_on": True}
        self._mine[trial.number] = self._create(setting.first.params, attempt)
        trial.state, trial.reason = State.RUNNING, ""
        return True

    def give_back(self, trial: Trial) -> None:
        """Have a trial that can't be trained to its end now asked again, with the same setting."""
        self._give_up(self._attempt(trial))
        del self._mine[trial.number]

    # -- all trials ----

    def elsewhere(self) -> int:
        """Return how many trials run in other processes, or have been left by them."""
        settings = within(asked(self._known.read()), self.limit)
        return sum(s.ended is None and s.number not in self._mine for s in settings)

    def trials(self) -> list[Trial]:
        """Return all trials of all processes, each setting that was asked once, by number.

        Of a study that is closed, as they were then.
        """
        found = self._known.trials if self._is_closed else self._known.read()
        return [told(self.space, s) for s in within(asked(found), self.limit)]

    def close(self) -> None:
        """Let go of files and connections; trials that still run here are given back."""
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        try:
            if self._pulse is not None:
                self._pulse.stop()
            for attempt in (t for s in asked(self._known.read()) for t in s.attempts):
                runs = attempt.state is TrialState.RUNNING
                if runs and worker(attempt) == self._worker:
                    self._give_up(attempt._trial_id)
            if self._pulse is not None:
                self._storage.set_study_user_attr(self._id, WORKER + self._worker, None)
        finally:
            self._storage.close()


def _of(settings: Sequence[Asked], attempt: int) -> Asked:
    """Return the setting that an attempt is at."""
    return next(s for s in settings if any(t._trial_id == attempt for t in s.attempts))
