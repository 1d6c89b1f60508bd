"""Processes that die, or are taken for dead, at any call of the storage: no setting is lost."""

import threading
import warnings
from collections import Counter

import pytest

pytest.importorskip("optuna", reason="Optuna is not installed (extra 'tune')")

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from xpnet.search import optuna_study, storages
from xpnet.search.attempts import as_attempt, asked, goes_on
from xpnet.search.distributions import choice, log_uniform
from xpnet.search.optuna_study import OptunaStudy
from xpnet.search.trials import State

SPACE = {"learning_rate": log_uniform(1e-4, 1), "hidden": choice([(64,), (512, 256)])}

LIMIT = 3


class Died(BaseException):
    """What stands for the end of a process."""


class Calls(BaseStorage):
    """A storage that others share, in which something happens at one of this process's calls.

    Parameters
    ----------
    shared : BaseStorage
        The storage.
    n : int
        At which call, from 1; 0: at none.
    happens : function
        What happens.
    after : bool
        Whether the call is made before it happens.
    """

    def __init__(self, shared, n=0, happens=None, after=False):
        self.shared, self.n, self.happens, self.after, self.made = shared, n, happens, after, 0

    def _call(self, name, *values, **options):
        self.made += 1
        if self.made == self.n and not self.after:
            self.happens()
        result = getattr(self.shared, name)(*values, **options)
        if self.made == self.n and self.after:
            self.happens()
        return result


def _forwarded(name):
    return lambda self, *values, **options: self._call(name, *values, **options)


for _name in [n for n in dir(BaseStorage) if not n.startswith("_") and n != "remove_session"]:
    setattr(Calls, _name, _forwarded(_name))
Calls.__abstractmethods__ = frozenset()


class NoPulse:
    """A pulse without a thread."""

    def __init__(self, beat, seconds):
        self._beat, self._has_beaten = beat, False

    def is_late(self):
        return not self._has_beaten

    def call(self):
        self._has_beaten = True
        self._beat()

    def stop(self):
        pass


@pytest.fixture(autouse=True)
def dead(monkeypatch):
    """Return the names of the workers that are dead, which others see at once."""
    dead = set()
    monkeypatch.setattr(optuna_study, "Pulse", NoPulse)
    monkeypatch.setattr(optuna_study, "REFRESH", 0.0)  # what happens here takes no time
    monkeypatch.setattr(
        optuna_study.Watch,
        "is_alive",
        lambda self, worker, told: told is not None and worker not in dead,
    )
    return dead


def opened(storage, limit=LIMIT):
    return OptunaStudy(SPACE, limit, storage=storage, resume="auto")


def live(study, together=2):
    """Train what there is: one is given back, one fails, others are complete or stopped."""
    running, gave_back = [], False
    while True:
        while len(running) < together and (trial := study.ask()) is not None:
            running.append(trial)
        if not running:
            return
        trial = running.pop(0)
        if not gave_back:
            gave_back = True
            study.give_back(trial)
            continue
        study.report(trial, 1, 0.5)
        trial.state = [State.COMPLETE, State.FAILED, State.STOPPED][trial.number % 3]
        trial.value, trial.epochs = 0.25, 3
        study.end(trial)
        if study.reopen(trial):
            study.report(trial, 4, 0.125)
            trial.state, trial.value, trial.epochs = State.STOPPED, 0.125, 5
            study.end(trial)


def live_and_close(study):
    live(study)
    study.close()


def all_is_well(shared, limit=LIMIT):
    """See that each setting has been trained to its end, once, and that nothing is left running."""
    study = opened(shared, limit)
    trials = shared.get_all_trials(study._id, deepcopy=False)
    settings = asked(trials)
    assert [s.number for s in settings if s.ended is None and s.number < limit] == []
    assert not [t for t in trials if not t.state.is_finished()]
    for setting in settings:
        ends = [t for t in setting.attempts if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        ends = [t for t in ends if not goes_on(t)]
        assert len(ends) == (setting.number < limit and setting.number % 3 != 1), setting
        assert len({repr(t.params) for t in setting.attempts}) == 1
    found = study.trials()
    assert [t.number for t in found] == list(range(limit))
    assert [t.state for t in found] == [State.COMPLETE, State.FAILED, State.STOPPED][:limit]
    assert all((t.epochs, t.value) in ((3, 0.25), (5, 0.125)) for t in found if t.number % 3 == 2)
    study.close()
    return settings


def calls_of_a_life(shared=None):
    storage = Calls(shared or InMemoryStorage())
    live_and_close(opened(storage))
    return storage.made


def dies(shared, dead, n, after):
    """Have a process live on a study that dies at a call; return whether it came to that."""

    def die():
        raise Died

    storage = Calls(shared, n, die, after)
    try:
        study = opened(storage)
    except Died:
        return True
    try:
        live_and_close(study)
    except Died:
        dead.add(study._worker)
        return True
    return False


each_side = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


def test_a_life_that_nothing_befalls_is_well():
    shared = InMemoryStorage()
    assert 30 < calls_of_a_life(shared) < 60
    settings = all_is_well(shared)
    assert [len(s.attempts) for s in settings] == [2, 1, 2]


@each_side
def test_a_process_may_die_at_any_call(dead, after):
    for n in range(1, calls_of_a_life() + 1):
        shared = InMemoryStorage()
        assert dies(shared, dead, n, after)
        live(opened(shared))
        all_is_well(shared)


@each_side
def test_who_goes_on_may_die_at_any_call_as_well(dead, after):
    most = calls_of_a_life() + 1
    for n in range(12, most, 3):
        m = 0
        while True:
            m += 1
            shared = InMemoryStorage()
            dies(shared, dead, n, after)
            if not dies(shared, dead, m, after):
                break
            live(opened(shared))
            all_is_well(shared)
        assert m > 8


@each_side
def test_two_may_go_on_at_the_same_time(dead, after):
    """At any call of the one the other goes on as far as it can, and then the first."""
    most = calls_of_a_life() + 1
    for n in range(12, most, 3):
        for m in range(1, most):
            shared = InMemoryStorage()
            dies(shared, dead, n, after)
            between = Calls(shared, m, lambda shared=shared: live(opened(shared)), after)
            live(opened(between))
            live(opened(shared))
            all_is_well(shared)


@each_side
def test_who_is_taken_for_dead_may_come_back_at_any_call(dead, after):
    noted = Counter()
    for n in range(8, calls_of_a_life() + 1):
        shared = InMemoryStorage()

        def suspended(shared=shared):
            dead.add(study._worker)  # noqa: B023 - the one of this round
            live(opened(shared))
            dead.discard(study._worker)  # noqa: B023

        study = opened(Calls(shared, n, suspended, after))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            live(study)
        study.close()
        all_is_well(shared)
        noted[len(caught)] += 1
        assert all("was taken over by another process" in str(w.message) for w in caught)
    assert noted[0]
    assert noted[1]


@each_side
def test_others_are_never_more_than_the_limit(dead, after):
    for m in range(1, 15):
        shared = InMemoryStorage()

        def be_quicker(shared=shared):
            other = opened(shared, 1)
            trial = other.ask()
            if trial is not None:
                trial.state, trial.value = State.COMPLETE, 0.25
                other.end(trial)

        study = opened(Calls(shared, m, be_quicker, after), 1)
        trial = study.ask()
        if trial is not None:
            trial.state, trial.value = State.COMPLETE, 0.25
            study.end(trial)
        study.close()
        live(opened(shared, 1))
        settings = all_is_well(shared, 1)
        assert len(settings) <= 2


def test_what_was_taken_over_and_left_is_asked_again_once_it_is_let_go_of_here(dead):
    shared = InMemoryStorage()
    study, other = opened(shared, 1), opened(shared, 1)
    trial = study.ask()
    dead.add(study._worker)
    assert other.ask().setting == trial.setting
    dead.clear()
    dead.add(other._worker)
    assert study.ask() is None
    assert study.elsewhere() == 0
    with pytest.warns(UserWarning, match="trial 0 was taken over by another process"):
        study.report(trial, 1, 0.5)
    study.report(trial, 3, 0.5)  # it is said once
    trial.state, trial.value = State.COMPLETE, 0.25
    study.end(trial)
    assert study.elsewhere() == 1
    again = study.ask()
    assert (again.number, again.setting) == (0, trial.setting)
    again.state, again.value = State.COMPLETE, 0.5
    study.end(again)
    assert [t.value for t in study.trials()] == [0.5]
    all_is_well(shared, 1)


def test_a_ctrl_c_leaves_nothing_behind(dead):
    """It cuts off a call as an end does, but the process goes on, and closes the study."""
    for n in range(8, calls_of_a_life()):
        shared = InMemoryStorage()

        def press():
            raise KeyboardInterrupt

        study = opened(Calls(shared, n, press, after=True))
        with pytest.raises(KeyboardInterrupt):
            live_and_close(study)
        study.close()
        live(opened(shared))
        all_is_well(shared)


# -- storages that end a trial for one process alone ----


@pytest.fixture(params=["a.study.db", "a.journal"])
def opens(request, tmp_path):
    """Return what opens one storage as several processes do."""
    made = []

    def opens():
        made.append(storages.open_storage(tmp_path / request.param))
        return made[-1].storage

    yield opens
    for opened in made:
        opened.close()


def test_one_of_several_ends_a_trial(opens):
    """Each believes that it has: only one is right."""
    study = OptunaStudy(SPACE, 50, storage=opens(), resume="auto")
    attempts = [study._create({"learning_rate": 0.1}, as_attempt("a")) for _ in range(20)]
    ends = {state: [] for state in (TrialState.COMPLETE, TrialState.FAIL)}
    barrier = threading.Barrier(len(ends))

    def run(state):
        storage = opens()
        for attempt in attempts:
            barrier.wait()
            value = [0.5] if state is TrialState.COMPLETE else None
            try:
                with storages.in_turn():
                    storage.set_trial_state_values(attempt, state, value)
            except storages.UpdateFinishedTrialError:
                continue
            ends[state].append(attempt)
        storage.remove_session()

    threads = [threading.Thread(target=run, args=(state,)) for state in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends[TrialState.COMPLETE] + ends[TrialState.FAIL]) == attempts
    there = {t._trial_id: t.state for t in opens().get_all_trials(study._id)}
    for state, ended in ends.items():
        assert {there[attempt] for attempt in ended} <= {state}
    study.close()
