"""The search: trials are asked for, trained many at a time, judged, and ended."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Hashable, Sequence

from ..checks import check_count, check_positive
from ..train.callback import Callback
from ..train.history import DivergedError
from ..train.measures import Measure
from ..warning import warn
from .candidates import Subject
from .halving import Halving
from .places import Places
from .runs import Run, Runs
from .stopped import Stopped
from .study import Study
from .trials import State, Trial

#: If the first trials fail, so many of them, something else is wrong than their settings.
ALL_FAIL = 10

#: What a fit warns of that is known here: trials fail by it, or folds are of uneven sizes.
KNOWN = (r"member \d+ has diverged", r"batch_size is \d+ and member \d+ has")

#: Seconds between looks at what other processes do, when nothing is left to do here.
PATIENCE = 0.5

#: Why the search ends when it has had its seconds.
TIME_IS_UP = "the time was up"


class Search:
    """Trains the trials of a study, many at a time, and keeps what has become of them.

    Trials whose networks differ in numbers alone are members of one network, and a place that
    becomes free goes to the next one while the others go on. A trial of another architecture waits
    for its turn. Each becomes what it becomes when it is trained alone.

    Parameters
    ----------
    subject : Subject
        Makes networks of settings.
    study : Study
        Where settings come from.
    metric : Measure
        The objective, on the development set or as the mean over the folds.
    members : int
        How many networks to train at once, at most; fewer where memory or caches hold fewer. The
        folds of a setting are always trained together, also where they are more.
    halving : Halving or None
        Which trials are stopped early; None: none.
    seconds : float or None
        After how many seconds to end; what is in training then counts as stopped.
    watch : function or None
        Called with each trial that has ended.
    callbacks : sequence of Callback
        What else watches the fits; their networks have members, unless there is a single place.

    Attributes
    ----------
    reason : str
        Why it has ended before its time; empty if it has not.
    epochs : int
        How many epochs of trials it has trained.
    is_cut : bool
        Whether `stop` was called.

    Raises
    ------
    TypeError, ValueError
        If a number is not as it must be.
    """

    def __init__(
        self,
        subject: Subject,
        study: Study,
        metric: Measure,
        *,
        members: int = 16,
        halving: Halving | None = None,
        seconds: float | None = None,
        watch: Callable[[Trial], object] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.study, self.metric, self.callbacks = study, metric, callbacks
        self._halving, self._watch = halving, watch
        places = max(1, check_count(members, "members") // subject.n_folds)
        self._seconds = math.inf if seconds is None else check_positive(seconds, "seconds")
        self._deadline = math.inf
        self._stopped = None if halving is None else Stopped(study, halving, metric.minimize)
        self._runs = Runs(subject, study, places, self.fail, self._go_on)
        self._training: Places | None = None
        self._ended = self._failed = 0
        self._gone_on: set[int] = set()
        self._has_told = False
        self.reason, self.epochs, self.is_cut = "", 0, False

    def stop(self, reason: str) -> None:
        """End the search after the present update; may be called from a signal handler."""
        self.reason, self.is_cut = reason, True
        if self._training is not None:
            self._training.trainer.interrupt(reason)

    def run(self) -> None:
        """Train until the study has all its trials, the time is up, or `stop` was called.

        Trials in training then are given back to the study, to be asked again, unless it is the
        time that was up.

        Raises
        ------
        ValueError
            If the first trials fail, all of them.
        """
        self._deadline = time.monotonic() + self._seconds
        try:
            while not self.is_over():
                if runs := self._runs.group():
                    self._train(runs)
                elif not self._waits_for_others():
                    break
        finally:
            while (run := self._runs.take_any()) is not None:
                self._give_up(run)

    def _waits_for_others(self) -> bool:
        """Wait a while if trials are in training elsewhere: those of a process that dies come back.

        Returns
        -------
        bool
            Whether there are such.
        """
        there = self.study.elsewhere()
        if there and not self._has_told:
            warn(
                f"{there} trials are left to other processes: waiting until these have ended them, "
                "or are silent"
            )
            self._has_told = True
        if there:
            time.sleep(PATIENCE)
        return bool(there)

    def is_over(self) -> bool:
        """Return whether no more trials are to begin."""
        if not self.reason and time.monotonic() >= self._deadline:
            self.reason = TIME_IS_UP
        return bool(self.reason)

    def next_run(self, key: Hashable) -> Run | None:
        """Return a run for a free place among those with a key, or None."""
        return None if self.is_over() else self._runs.next(key)

    def _train(self, runs: list[Run]) -> None:
        """Train runs in one network, and those that take their places."""
        try:
            self._training = places = Places(self, runs)
        except MemoryError as error:
            self._begin_anew(runs, error)
            return
        try:
            if not self.is_cut:  # before there was anything to interrupt
                with warnings.catch_warnings():
                    for told in KNOWN:
                        warnings.filterwarnings("ignore", told, UserWarning)
                    places.train()
        except DivergedError:
            for run in places.clear():
                self.fail_diverged(run)
        except MemoryError as error:
            self._begin_anew(places.clear(), error)
        finally:
            self._training = None
            for run in places.leave():
                self._runs.put(run)

    def _begin_anew(self, runs: list[Run], error: MemoryError) -> None:
        """Have runs trained again from their beginnings, half as many at a time.

        What was stopped and went on is left as it was then.
        """
        if len(runs) == 1:
            self.fail(runs[0].trial, str(error) or "memory did not suffice")
            return
        self._runs.halve(runs[0].key, len(runs))
        for run in runs:
            if run.trial.number in self._gone_on:
                self.study.give_back(run.trial)
            else:
                self._runs.put(self._runs.remake(run))

    # -- what becomes of trials ----

    def report(self, run: Run) -> None:
        """Tell the study of a trial that has come to a rung."""
        self.epochs += 1
        trial = run.trial
        if self._is_at_rung(run) and trial.value is not None:
            self.study.report(trial, trial.epochs, trial.value)

    def has_ended(self, run: Run) -> bool:
        """Return whether a run has ended after the present epoch; if so it is kept what became."""
        trial = run.trial
        if not (run.is_through or self._is_at_rung(run)):
            return False
        if trial.value is None:
            self.fail(trial, f"{self.metric.name} was never a finite number")
        elif run.is_through:
            self._end(trial, State.COMPLETE)
        elif self._halving is not None:
            reports = self.study.reports_at(trial.epochs)
            if self._halving.keeps(trial.value, reports, self.metric.minimize):
                return False
            self._end(trial, State.STOPPED)
        return True

    def may_go_on_later(self, run: Run) -> bool:
        """Return whether a run that has ended was stopped, and is worth keeping."""
        was_stopped = run.trial.state is State.STOPPED
        return was_stopped and self._stopped is not None and self._stopped.wants(run)

    def keep(self, run: Run) -> None:
        """Keep a run that was stopped."""
        if self._stopped is not None:
            self._stopped.put(run)

    def _go_on(self, key: Hashable) -> Run | None:
        """Return a run that was stopped and goes on; of any key for None."""
        run = None if self._stopped is None else self._stopped.take(key)
        if run is not None:
            self._gone_on.add(run.trial.number)
        return run

    def fail_diverged(self, run: Run) -> None:
        """Keep that a run's training has diverged in the present epoch."""
        self.fail(run.trial, f"the training diverged in epoch {run.trial.epochs + 1}")

    def fail(self, trial: Trial, reason: str) -> None:
        """Keep that a trial has failed, and why; one that was stopped and went on is so again."""
        trial.reason = reason
        if trial.number in self._gone_on:
            self._end(trial, State.STOPPED)
            return
        self._end(trial, State.FAILED)
        if self._ended == self._failed >= ALL_FAIL:
            raise ValueError(f"the first {ALL_FAIL} trials have failed; the last one: {reason}")

    def _is_at_rung(self, run: Run) -> bool:
        rungs = () if self._halving is None or run.is_through else self._halving.rungs
        return run.trial.epochs in rungs

    def _give_up(self, run: Run) -> None:
        """End a run that is not through: what it has come to counts if the time was up.

        One that was stopped before is so again.
        """
        if run.trial.state is not State.RUNNING:  # an error came right after its end
            return
        was_stopped = run.trial.number in self._gone_on
        if was_stopped or (self.reason == TIME_IS_UP and run.trial.value is not None):
            run.trial.reason = self.reason
            self._end(run.trial, State.STOPPED)
        else:
            self.study.give_back(run.trial)

    def _end(self, trial: Trial, state: State) -> None:
        trial.state = state
        self._ended += 1
        self._failed += state is State.FAILED
        self.study.end(trial)
        if self._watch is not None:
            self._watch(trial)
