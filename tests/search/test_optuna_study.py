"""A study in Optuna's hands: what it proposes, keeps, shares and refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("optuna", reason="Optuna is not installed (extra 'tune')")

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from xpnet.search import storages
from xpnet.search.distributions import (
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from xpnet.search.optuna_study import OptunaStudy
from xpnet.search.space import check_setting, when
from xpnet.search.trials import State

SPACE = {
    "hidden": choice([(64,), (512, 256)]),
    "learning_rate": log_uniform(1e-4, 1),
    "beta": one_minus_log_uniform(0.9, 0.999),
    "epochs": int_uniform(1, 9),
    "batch_size": choice([32]),
    "dropout": when("hidden", [(512, 256)], uniform(0, 0.5)),
}

#: Name: a storage in a folder.
STORAGES = {
    "memory": lambda folder: None,
    "sqlite": lambda folder: folder / "a.study.db",
    "journal": lambda folder: folder / "a.journal",
}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES)
def storage(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def study_of():
    """Make studies, which are closed in the end."""
    made = []

    def make(storage=None, limit=20, space=SPACE, **options):
        made.append(OptunaStudy(space, limit, storage=storage, **options))
        return made[-1]

    yield make
    for study in made:
        study.close()


def objective(setting):
    """Return what is to be small: best at a rate of 0.01 and the small network."""
    return (math.log10(setting["learning_rate"]) + 2) ** 2 + len(setting["hidden"])


def end(study, trial, state=State.COMPLETE, value=None):
    trial.state, trial.best_epoch, trial.epochs = state, 3, 4
    if state is State.FAILED:
        trial.reason = "the loss was nan after 3 epochs"
    else:
        trial.value = objective(trial.setting) if value is None else value
    study.end(trial)


def run(study, together=1):
    """Train all trials there are, so many at a time, and return them."""
    running, done = [], []
    while True:
        while len(running) < together and (trial := study.ask()) is not None:
            running.append(trial)
        if not running:
            return done
        done.append(running.pop(0))
        study.report(done[-1], 1, objective(done[-1].setting) + 1)
        end(study, done[-1])


class TestATrialThatGoesOn:
    def stopped(self, study):
        trial = study.ask()
        study.report(trial, 2, 0.5)
        end(study, trial, State.STOPPED, 0.5)
        return trial

    def test_it_ends_again(self, storage, study_of):
        study = study_of(storage, 3)
        trial = self.stopped(study)
        assert study.reopen(trial)
        assert trial.state is State.RUNNING
        assert not study.reopen(trial)  # it goes on already
        assert study.trials()[0].state is State.STOPPED  # for others, until it ends
        study.report(trial, 4, 0.25)
        trial.epochs = 9
        end(study, trial, State.COMPLETE, 0.25)
        [found] = study.trials()
        assert (found.state, found.value) == (State.COMPLETE, 0.25)
        assert found.reports == {2: 0.5, 4: 0.25}
        assert study.reports_at(2) == [0.5]
        assert not study.reopen(trial)
        assert [t.number for t in iter(study.ask, None)] == [1, 2]

    def test_others_leave_it_alone_while_its_process_lives(self, study_of, tmp_path):
        path = tmp_path / "a.study.db"
        study, other = study_of(path, 9), study_of(path, 9, resume=True)
        trial = self.stopped(study)
        assert study.reopen(trial)
        assert other.ask().number == 1
        assert other.elsewhere() == 0
        end(study, trial, State.COMPLETE, 0.25)
        assert other.trials()[0].value == 0.25

    def test_if_it_does_not_end_it_stays_stopped(self, storage, study_of):
        study = study_of(storage, 3)
        trial = self.stopped(study)
        study.reopen(trial)
        study.give_back(trial)
        assert study.ask().number == 1
        assert study.trials()[0].state is State.STOPPED
        assert not [t for t in as_optuna_has(study) if t.state is TrialState.RUNNING][1:]

    def test_only_one_that_was_stopped(self, storage, study_of):
        study = study_of(storage, 3)
        running, done = study.ask(), study.ask()
        end(study, done)
        assert not study.reopen(running)
        assert not study.reopen(done)


def as_optuna_has(study):
    """Return all trials as they are in the storage."""
    return study._storage.get_all_trials(study._id, deepcopy=False)


def states(study):
    return [trial.state for trial in as_optuna_has(study)]


# -- what is proposed ----


def test_all_settings_are_of_the_space(study_of, storage):
    found = run(study_of(storage, limit=30), together=4)
    assert [t.number for t in found] == list(range(30))
    for trial in found:
        assert check_setting(SPACE, trial.setting, whole=True) == trial.setting
        assert list(trial.setting) == [name for name in SPACE if name in trial.setting]
        assert type(trial.setting["hidden"]) is tuple
        assert type(trial.setting["epochs"]) is int
    assert {"dropout" in t.setting for t in found} == {True, False}


def test_it_learns_from_what_it_was_told(study_of):
    found = run(study_of(limit=60))
    values = [t.value for t in found]
    assert sum(values[40:]) < sum(values[:20]) / 1.5


def test_more_can_be_better(study_of):
    study = study_of(limit=60, minimize=False)
    while (trial := study.ask()) is not None:
        end(study, trial, value=-objective(trial.setting))
    values = [t.value for t in study.trials()]
    assert study.best()[0].value == max(values)
    assert sum(values[40:]) > sum(values[:20]) / 1.5


def test_the_same_seed_gives_the_same_study(study_of, storage, tmp_path):
    first, other, third = (
        [t.setting for t in run(study_of(place, seed=seed), together=4)]
        for place, seed in ((storage, 5), (None, 5), (None, 6))
    )
    assert first == other != third


def test_what_is_fixed_is_what_it_is_given(study_of):
    study = study_of(limit=30)
    run(replace_limit(study, 15))
    study.limit = 30
    given = {"hidden": [512, 256], "learning_rate": 0.5, "beta": 0.99, "dropout": 0.25}
    trial = study.ask(given)
    assert trial.setting["hidden"] == (512, 256)
    assert trial.setting["learning_rate"] == 0.5
    assert trial.setting["beta"] == pytest.approx(0.99, rel=1e-15)
    assert trial.setting["dropout"] == 0.25
    # What its condition leaves out is left out.
    assert "dropout" not in study.ask(given | {"hidden": (64,)}).setting


def replace_limit(study, limit):
    study.limit = limit
    return study


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": 2.0}, "learning_rate is 2.0: give a number from 0.0001 to 1"),
        ({"hidden": (3,)}, r"hidden is \(3,\): give one of"),
        ({"rate": 1}, "the setting has the name 'rate': the space has hidden"),
    ],
)
def test_what_is_fixed_is_of_the_space(study_of, given, message):
    study = study_of()
    with pytest.raises(ValueError, match=message):
        study.ask(given)
    assert study.trials() == []


# -- what is kept ----


def test_what_becomes_of_trials_is_kept(study_of, storage):
    study = study_of(storage, limit=5, about={"data": {"rows": 3}})
    trials = [study.ask() for _ in range(4)]
    for epochs in (1, 3):
        study.report(trials[1], epochs, 2.0 / epochs)
    end(study, trials[0], value=math.inf)
    end(study, trials[1], State.STOPPED, value=0.5)
    end(study, trials[2], State.FAILED)
    assert study.trials() == trials
    assert study.trials()[1].reports == {1: 2.0, 3: 2.0 / 3}
    assert study.reports_at(3) == [2.0 / 3]
    assert study.reports_at(2) == []
    assert [t.number for t in study.best()] == [0, 1]
    assert states(study) == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    if storage is None:
        return
    study.close()
    again = study_of(storage, limit=5, about={"data": {"rows": 3}}, resume=True)
    assert again.trials() == trials
    assert again.reports_at(3) == [2.0 / 3]


def test_what_was_not_ended_is_asked_again_first(study_of, storage):
    study = study_of(storage, limit=3)
    first, second = study.ask(), study.ask()
    study.report(first, 1, 0.5)
    study.give_back(first)
    if storage is not None:
        study.close()
        study = study_of(storage, limit=3, resume=True)
    again = study.ask()
    assert (again.number, again.setting, again.reports) == (0, first.setting, {})
    assert study.reports_at(1) == [0.5]
    if storage is not None:
        assert study.ask().setting == second.setting
    end(study, again, value=1.0)
    assert next(t.value for t in study.trials()) == 1.0
    assert study.reports_at(1) == [0.5]


def test_a_reported_value_of_a_later_attempt_counts(study_of):
    study = study_of()
    first = study.ask()
    study.report(first, 1, 0.5)
    study.give_back(first)
    again = study.ask()
    study.report(again, 1, 0.25)
    assert study.reports_at(1) == [0.25]


def test_there_are_as_many_as_the_limit_says(study_of, storage):
    study = study_of(storage, limit=2)
    first, second = study.ask(), study.ask()
    assert study.ask() is None
    end(study, first, State.FAILED)
    assert study.ask() is None
    study.give_back(second)
    assert study.ask().setting == second.setting
    assert len(study.trials()) == 2


def test_a_study_goes_on_with_a_larger_limit(study_of, tmp_path):
    path = tmp_path / "a.study.db"
    study = study_of(path, limit=2)
    run(study)
    study.close()
    study = study_of(path, limit=4, resume=True)
    assert [t.number for t in run(study)] == [2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "trial 0 is still running: give its state"),
        ({"state": State.COMPLETE}, "trial 0 is complete and has no value"),
        ({"state": State.COMPLETE, "value": math.nan}, "trial 0 has the value nan"),
    ],
)
def test_an_end_says_what_became_of_it(study_of, changes, message):
    study = study_of()
    trial = study.ask()
    with pytest.raises(ValueError, match=message):
        study.end(replace(trial, **changes))
    assert study.trials()[0].state is State.RUNNING


def test_only_what_runs_here_can_be_ended(study_of):
    study = study_of()
    trial = study.ask()
    end(study, trial)
    for told in (study.end, study.give_back, lambda trial: study.report(trial, 1, 0.5)):
        with pytest.raises(ValueError, match="trial 0 is not running here: give one from ask"):
            told(trial)


def test_a_closed_study_asks_no_more(study_of, tmp_path):
    study = study_of(tmp_path / "a.study.db")
    study.ask()
    study.close()
    study.close()
    with pytest.raises(RuntimeError, match="the study is closed"):
        study.ask()
    assert [p.name for p in tmp_path.iterdir()] == ["a.study.db"]


# -- what is refused ----


def test_a_closed_study_has_its_trials_and_lets_the_file_go(study_of, storage, monkeypatch):
    study = study_of(storage, 3)
    done, running = study.ask(), study.ask()
    end(study, done)
    study.close()
    monkeypatch.setattr(study, "_storage", None)
    monkeypatch.setattr(study._known, "_storage", None)  # nothing is asked of it any more
    found = study.trials()
    assert [t.state for t in found] == [State.COMPLETE, State.RUNNING]
    assert found[0].value == done.value
    assert found[1].setting == running.setting
    assert study.best()[0].number == done.number


def test_a_study_is_gone_on_with_only_on_purpose(study_of, tmp_path):
    path = tmp_path / "a.study.db"
    with pytest.raises(FileNotFoundError, match="there is no study: give the path of one"):
        study_of(path, resume=True)
    assert not path.exists()
    study_of(path, name="other")
    with pytest.raises(FileNotFoundError, match=r"no study 'xpnet' .* there are other: begin it"):
        study_of(path, resume=True)
    study_of(path, resume="auto").ask()
    before = study_of(path, resume=True).trials()
    with pytest.raises(FileExistsError, match=r"there is a study 'xpnet' of 1 trials: go on with"):
        study_of(path)
    assert study_of(path, resume="auto").trials() == before
    assert study_of(path, name="third").trials() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": SPACE | {"epochs": int_uniform(1, 8)}}, "space.epochs.high is 9 there, and 8"),
        ({"space": SPACE | {"l2": uniform(0, 1)}}, "space.l2 is not there, and"),
        ({"minimize": False}, "minimize is True there, and False is given"),
        ({"about": {"data": {"rows": 4}}}, "data.rows is 3 there, and 4 is given"),
    ],
)
def test_a_study_of_something_else_is_left_alone(study_of, tmp_path, changes, message):
    path = tmp_path / "a.study.db"
    study = study_of(path, about={"data": {"rows": 3}})
    study.ask()
    before = as_optuna_has(study)
    options = {"space": SPACE, "about": {"data": {"rows": 3}}} | changes
    with pytest.raises(ValueError, match=message):
        study_of(path, resume=True, **options)
    assert as_optuna_has(study) == before


def test_what_it_is_about_may_hold_what_json_has_no_word_for(study_of, tmp_path):
    about = {"sizes": (1, 2), "missing": math.nan, "rows": np.int64(3)}
    study_of(tmp_path / "a.study.db", about=about)
    study_of(tmp_path / "a.study.db", about=about, resume=True)
    with pytest.raises(TypeError, match=r"about\.metric is <built-in function abs>"):
        study_of(about={"metric": abs})


def test_a_study_of_other_means_is_left_alone(study_of):
    there = InMemoryStorage()
    with storages.quiet():
        optuna.create_study(storage=there, study_name="xpnet").ask()
    with pytest.raises(ValueError, match="was made by other means: give another name"):
        study_of(there, resume="auto")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit is 0"),
        ({"name": ""}, ValueError, "name is '': give the study a name"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"grace": 0}, ValueError, "grace is 0: give seconds, more than 0"),
        ({"space": {}}, ValueError, "at least one hyper-parameter"),
        ({"resume": "yes"}, TypeError, "resume is 'yes'"),
        ({"minimize": 1}, TypeError, "minimize is 1"),
        ({"storage": 3}, TypeError, "storage is 3: give a path, an address or a storage"),
    ],
)
def test_arguments_are_checked(study_of, options, error, message):
    with pytest.raises(error, match=message):
        study_of(**options)
