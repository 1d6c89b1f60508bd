"""A study that draws at random: what it asks, keeps, and goes on with after a kill."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scripted import Blobs

import xpnet as xn
from xpnet.files import atomic
from xpnet.search.about import difference
from xpnet.search.distributions import choice, log_uniform, one_minus_log_uniform
from xpnet.search.random_study import RandomStudy
from xpnet.search.search import Search
from xpnet.search.space import random_draws, when
from xpnet.search.trials import State
from xpnet.train.metrics import as_metric

SPACE = {
    "learning_rate": log_uniform(1e-4, 1),
    "optimizer": choice(["adam", "momentum"]),
    "beta": when("optimizer", ["momentum"], one_minus_log_uniform(0.8, 0.999)),
    "hidden": choice({"small": (64,), "large": (512, 256)}),
}
DATA = {"data": {"rows": 150, "sha256": "ab"}, "metric": "error"}


def begin(file=None, limit=6, seed=0, space=SPACE, minimize=True, about=DATA, resume=False):
    return RandomStudy(space, limit, minimize, seed, file, about=about, resume=resume)


def end(study, trial, value=None, state=State.COMPLETE, reason=""):
    trial.state, trial.value, trial.reason = state, value, reason
    trial.epochs, trial.best_epoch = 9, None if value is None else 4
    study.end(trial)


def ask_all(study):
    return [*iter(study.ask, None)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "iris.study.jsonl"


@pytest.fixture(params=["memory", "file"])
def anywhere(request, file):
    return file if request.param == "file" else None


def as_after_a_kill(study, folder):
    """Return what is on the disk of a study that is still open."""
    return Path(shutil.copy(study.where, folder / f"left-{time.monotonic_ns()}.jsonl"))


# -- what is asked ----


def test_its_settings_are_the_random_draws(anywhere):
    study = begin(anywhere, seed=3)
    asked = ask_all(study)
    assert [t.setting for t in asked] == random_draws(SPACE, 6, 3)
    assert [t.number for t in asked] == [0, 1, 2, 3, 4, 5]
    assert {t.state for t in asked} == {State.RUNNING}
    assert study.where == ("memory" if anywhere is None else str(anywhere))


def test_what_is_fixed_is_not_drawn(anywhere):
    study = begin(anywhere)
    fixed = {"hidden": [512, 256], "beta": np.float64(0.9), "learning_rate": 0.01}
    found = [study.ask(fixed).setting for _ in range(6)]
    expected = [
        setting
        | {"hidden": (512, 256), "learning_rate": 0.01}
        | ({"beta": 0.9} if "beta" in setting else {})
        for setting in random_draws(SPACE, 6)
    ]
    assert found == expected
    assert len({"beta" in setting for setting in found}) == 2
    assert all(type(setting.get("beta", 0.1)) is float for setting in found)


def test_what_is_fixed_decides_conditions():
    settings = [begin(limit=1).ask({"optimizer": name}).setting for name in ("adam", "momentum")]
    assert ["beta" in setting for setting in settings] == [False, True]


def test_what_is_given_back_is_asked_first(anywhere):
    study = begin(anywhere)
    trials = [study.ask() for _ in range(4)]
    for i in (2, 1):
        study.report(trials[i], 3, 0.5)
        study.give_back(trials[i])
    assert study.reports_at(3) == []
    again = [study.ask() for _ in range(3)]
    assert [t.number for t in again] == [1, 2, 4]
    assert [t.setting for t in again] == [random_draws(SPACE, 6)[i] for i in (1, 2, 4)]
    assert again[0] is not trials[1]
    end(study, trials[0], 0.1)
    assert [t.number for t in ask_all(study)] == [5]
    assert [t.number for t in study.trials()] == [0, 1, 2, 3, 4, 5]


def test_a_trial_that_was_given_back_is_no_longer_ones_own(anywhere):
    study = begin(anywhere)
    old = study.ask()
    study.give_back(old)
    new = study.ask()
    for use in (lambda t: study.report(t, 1, 0.5), study.give_back, lambda t: end(study, t, 0.5)):
        with pytest.raises(
            ValueError, match=r"^trial 0 is none that runs .*: it has ended, or was"
        ):
            use(old)
    end(study, new, 0.2)
    with pytest.raises(ValueError, match=r"^trial 0 is none that runs in this study"):
        study.end(new)


def test_a_trial_ends_with_a_state():
    study = begin()
    trial = study.ask()
    with pytest.raises(ValueError, match=r"^trial 0 is still running: give its state"):
        study.end(trial)
    with pytest.raises(ValueError, match=r"^epochs is 0: give 1 or more"):
        study.report(trial, 0, 0.5)


def test_reports_are_found_by_epochs():
    study = begin()
    trials = [study.ask() for _ in range(3)]
    for i, trial in enumerate(trials):
        study.report(trial, 3, np.float32(i / 4))
    study.report(trials[1], 9, 0.125)
    end(study, trials[0], 0.0, State.STOPPED)
    assert study.reports_at(3) == [0, 0.25, 0.5]
    assert study.reports_at(9) == [0.125]
    assert study.reports_at(27) == []
    assert trials[1].reports == {3: 0.25, 9: 0.125}


@pytest.mark.parametrize(("minimize", "order"), [(True, [3, 0, 4, 1]), (False, [0, 4, 3, 1])])
def test_the_best_are_those_that_are_complete(minimize, order):
    study = begin(minimize=minimize)
    trials = ask_all(study)
    for i, value in {0: 0.3, 3: 0.2, 4: 0.3}.items():
        end(study, trials[i], value)
    end(study, trials[1], 0.1, State.STOPPED)
    end(study, trials[2], None, State.FAILED, "diverged")
    assert [t.number for t in study.best()] == order


# -- in a file ----


def test_a_study_goes_on_where_it_was(file):
    study = begin(file)
    trials = [study.ask() for _ in range(4)]
    study.report(trials[0], 3, 0.5)
    end(study, trials[0], 0.25)
    end(study, trials[2], math.inf, State.FAILED, "its loss is not finite")
    study.report(trials[1], 3, 0.75)
    study.close()

    again = begin(file, limit=8, resume=True)
    assert again.trials()[0] == trials[0]
    assert again.trials()[2] == trials[2]
    assert again.reports_at(3) == [0.5]  # what trial 1 had reported it reports anew
    assert [t.number for t in ask_all(again)] == [1, 3, 4, 5, 6, 7]
    assert [t.setting for t in again.trials()] == random_draws(SPACE, 8)


@pytest.mark.parametrize("resume", [True, "auto"])
def test_what_a_killed_process_had_asked_is_asked_again(file, tmp_path, resume):
    study = begin(file)
    fixed = {"hidden": (512, 256)}
    trials = [study.ask(fixed) for _ in range(3)]
    end(study, trials[1], 0.5)
    again = begin(as_after_a_kill(study, tmp_path), resume=resume)
    asked = ask_all(again)
    assert [t.number for t in asked] == [0, 2, 3, 4, 5]
    assert [t.setting for t in asked[:2]] == [trials[0].setting, trials[2].setting]
    assert again.trials()[1] == trials[1]


def test_a_smaller_limit_counts_what_was_trained(file):
    study = begin(file)
    for trial in [study.ask() for _ in range(4)][:3]:
        end(study, trial, 0.5)
    study.close()
    assert begin(file, limit=3, resume=True).ask() is None
    again = begin(file, limit=4, resume=True)
    assert [t.number for t in ask_all(again)] == [3]


def test_auto_begins_what_is_not_there(file):
    assert begin(file, resume="auto").ask().number == 0
    assert file.exists()
    assert begin(resume="auto").ask().number == 0


def test_every_event_is_a_line_of_json(file):
    study = begin(file)
    trial = study.ask()
    study.report(trial, 3, 0.5)
    end(study, trial, 0.25)
    head, asked, ended = map(json.loads, file.read_text().splitlines())
    assert head["about"]["metric"] == "error"
    assert head["about"]["space"]["hidden"]["names"] == ["small", "large"]
    assert asked["asked"] == 0
    assert asked["setting"]["hidden"] in ("small", "large")
    assert (ended["state"], ended["value"], ended["reports"]) == ("complete", 0.25, {"3": 0.5})


@pytest.mark.parametrize("rest", [b'{"ended": 0, "st', b"\0" * 40, b'{"ended": 0}garbage\n'])
def test_a_last_line_that_was_cut_off_is_left_out(file, tmp_path, rest):
    study = begin(file)
    trials = [study.ask() for _ in range(2)]
    end(study, trials[0], 0.5)
    left = as_after_a_kill(study, tmp_path)
    whole = left.read_bytes()
    left.write_bytes(whole + rest)
    again = begin(left, resume=True)
    assert again.trials()[0].value == 0.5
    end(again, again.ask(), 0.25)
    assert left.read_bytes().startswith(whole)
    again.close()
    assert [t.value for t in begin(left, resume=True).trials()] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [*lines[:2], b"{garbage", *lines[2:]], "line 3 is damaged: restore it"),
        (lambda lines: [b"{}", *lines[1:]], "is no study of this library: give another name"),
        (lambda lines: [b"a,b,c", b"1,2,3"], "is no study of this library: give another name"),
        (lambda lines: [b"\x93NUMPY\x01\0v"], "is no study of this library"),
        (lambda lines: [b"SQLite format 3\0\x10"], r"is a database, .* install xpnet\[tune\], or"),
        (
            lambda lines: [lines[0].replace(b'"version": 1', b'"version": 2'), *lines[1:]],
            "has version 2, and 1 can be read: use the release that wrote it, or a newer one",
        ),
        (lambda lines: [*lines, lines[1]], "line 6 is none of this study's: trial 0 after 2"),
        (lambda lines: [*lines, lines[4]], "line 6 is none .*: trial 0 ends a second time"),
        (lambda lines: [*lines, b'{"ended": 7}'], "line 6 is none of this study's: 7"),
        (lambda lines: [*lines, b'{"ended": 1}'], "line 6 is none of this study's: 'state'"),
        (
            lambda lines: [*lines, b'{"asked": 3, "setting": {"hidden": "huge"}}'],
            "line 6 is none of this study's: hidden is 'huge': give one of small, large",
        ),
        (lambda lines: [*lines, b'{"asked": 3, "setting": {}}'], "line 6 .*: the setting lacks"),
    ],
)
def test_a_damaged_file_is_refused_and_stays(file, tmp_path, damage, message):
    study = begin(file)
    trials = [study.ask() for _ in range(3)]
    end(study, trials[0], 0.5)
    left = as_after_a_kill(study, tmp_path)
    left.write_bytes(b"\n".join([*damage(left.read_bytes().splitlines()), b""]))
    before = left.read_bytes()
    for _ in range(2):  # and it is not locked by that
        with pytest.raises(ValueError, match=f"^{left}: {message}"):
            begin(left, resume=True)
    assert left.read_bytes() == before


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            {"space": SPACE | {"learning_rate": log_uniform(1e-3, 1)}},
            r"space\.learning_rate\.low is 0\.0001 there, and 0\.001 is given",
        ),
        ({"space": SPACE | {"l2": log_uniform(1, 2)}}, r"space\.l2 is not there, and \{'kind'"),
        (
            {"space": {"learning_rate": SPACE["learning_rate"]}},
            r"space\.optimizer is \{'kind': .* there, and none is given",
        ),
        (
            {"space": SPACE | {"beta": one_minus_log_uniform(0.8, 0.999)}},
            r"space\.beta\.when is \[\['optimizer', \['momentum'\]\]\] there, and none is given",
        ),
        (
            {"space": SPACE | {"hidden": choice({"small": (32,), "large": (512, 256)})}},
            r"space\.hidden\.options is \['\(64,\)', '\(512, 256\)'\] there",
        ),
        ({"about": DATA | {"metric": "loss"}}, "metric is 'error' there, and 'loss' is given"),
        (
            {"about": DATA | {"data": {"rows": 120, "sha256": "cd"}}},
            r"data\.rows is 150 there, and 120 is given",
        ),
        ({"about": None}, r"data is \{'rows': .* there, and none is given"),
        ({"minimize": False}, "minimize is True there, and False is given"),
        ({"seed": 1}, "seed is 0 there, and 1 is given"),
    ],
)
def test_a_study_of_something_else_is_refused_by_name_and_stays(file, other, told):
    study = begin(file)
    end(study, study.ask(), 0.5)
    study.close()
    before = file.read_bytes()
    message = f"^{file}: is another study: {told}.*; go on with what it was begun with, or give"
    for resume in (True, "auto"):
        with pytest.raises(ValueError, match=message):
            begin(file, **other, resume=resume)
    assert file.read_bytes() == before
    assert len(begin(file, resume=True).trials()) == 1


def test_a_file_that_is_there_is_not_begun_anew(file):
    begin(file).close()
    before = file.read_bytes()
    with pytest.raises(
        FileExistsError, match=f"^{file}: is there already: go on with it by resume"
    ):
        begin(file)
    assert file.read_bytes() == before


def test_there_has_to_be_something_to_go_on_with(file):
    with pytest.raises(FileNotFoundError, match=f"^{file}: there is no study to go on with: begin"):
        begin(file, resume=True)
    assert not file.exists()
    with pytest.raises(ValueError, match=r"^resume is True and the study is in memory: give its"):
        begin(resume=True)


@pytest.mark.parametrize("closed", [True, False])
def test_a_second_one_is_kept_out_by_name(file, closed):
    study = begin(file)
    if not closed:
        with pytest.raises(
            BlockingIOError, match=rf"^{file}: process {os.getpid()} on .* has this"
        ):
            begin(file, resume=True)
    study.close()
    study.close()
    assert begin(file, resume=True).ask().number == 0


def test_a_closed_study_can_be_looked_at_alone(anywhere):
    study = begin(anywhere)
    trials = [study.ask() for _ in range(2)]
    end(study, trials[0], 0.5)
    study.close()
    assert [t.value for t in study.trials()] == [0.5, None]
    assert study.best()[0].number == 0
    for use in (study.ask, lambda: study.report(trials[1], 1, 0.5), lambda: study.end(trials[1])):
        with pytest.raises(RuntimeError, match=r"^the study in .* is closed: open it again"):
            use()


class FullDisk(atomic.Disk):
    """A disk that takes no more bytes at all."""

    def write(self, file, data):
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")


def test_a_full_disk_loses_nothing(file, monkeypatch):
    study = begin(file)
    first = study.ask()
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "DISK", FullDisk())
        with pytest.raises(OSError, match="No space left"):
            study.ask()
        first.state, first.value = State.COMPLETE, 0.5
        with pytest.raises(OSError, match="No space left"):
            study.end(first)
        assert len(study.trials()) == 1
    study.end(first)
    assert study.ask().number == 1
    study.close()
    again = begin(file, resume=True)
    assert [t.value for t in again.trials()] == [0.5, None]


def test_a_folder_that_is_not_there_is_told_by_name(tmp_path):
    with pytest.raises(OSError, match=r"missing"):
        begin(tmp_path / "missing" / "a.jsonl")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "^limit is 0: give 1 or more"),
        ({"limit": 2.5}, TypeError, "^limit is 2.5: give a whole number"),
        ({"minimize": 1}, TypeError, "^minimize is 1: give True or False"),
        ({"seed": -1}, ValueError, "^seed is -1: give 0 or more"),
        ({"space": {}}, ValueError, "^space is {}: give at least one"),
        ({"about": {"x": object()}}, TypeError, r"^about\.x is <object"),
        ({"resume": "yes"}, TypeError, "^resume is 'yes': give True or False"),
    ],
)
def test_arguments_that_are_refused(file, options, error, message):
    with pytest.raises(error, match=message):
        begin(file, **options)
    assert not any(file.parent.iterdir())


@pytest.mark.parametrize(
    ("fixed", "error", "message"),
    [
        (
            {"rate": 0.1},
            ValueError,
            "^the setting has the name 'rate': the space has ",
        ),
        ({"learning_rate": 2}, ValueError, "^learning_rate is 2: give a number from 0.0001 to 1.0"),
        ([0.1], TypeError, "^the setting is "),
    ],
)
def test_fixed_values_that_are_refused(fixed, error, message):
    study = begin()
    with pytest.raises(error, match=message):
        study.ask(fixed)
    assert study.trials() == []


# -- in a search ----

NETWORKS = {"rate": log_uniform(1e-3, 1e-1), "units": choice([4, 8])}


def search(study, until=None):
    """Search on, and stop after some trials have ended; return what was found."""
    ended = []

    def watch(trial):
        ended.append(trial)
        if len(ended) == until:
            found.stop("these are enough")

    found = Search(Blobs(epochs=3), study, as_metric("loss"), members=3, watch=watch)
    found.run()
    return study.trials()


def test_a_search_has_the_same_study_again(anywhere):
    once, again = search(begin(space=NETWORKS)), search(begin(anywhere, space=NETWORKS))
    assert once == again
    assert {t.state for t in once} == {State.COMPLETE}


def test_a_search_that_was_stopped_goes_on(file):
    study = begin(file, space=NETWORKS)
    before = search(study, until=2)
    asked = [t.setting for t in before]
    assert 2 <= sum(t.state is State.COMPLETE for t in before) < 6
    study.close()
    after = search(begin(file, space=NETWORKS, resume=True))
    assert {t.state for t in after} == {State.COMPLETE}
    assert [t.setting for t in after][: len(asked)] == asked
    done = [t for t in before if t.state is State.COMPLETE]
    assert [after[t.number] for t in done] == done
    assert len(after) == 6


# -- what differs ----


@pytest.mark.parametrize(
    ("kept", "given", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, ""),
        ({"a": math.nan}, {"a": math.nan}, ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ""),
        ({"a": True}, {"a": 1}, "a is True there, and 1 is given"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a is [1, 2] there, and [2, 1] is given"),
        ({"a": {"b": 1}}, {"a": 1}, "a is {'b': 1} there, and 1 is given"),
        ({"a": None}, {}, "a is None there, and none is given"),
        ({}, {"a": None}, "a is not there, and None is given"),
        ({"a": "x" * 100}, {"a": "y"}, f"a is '{'x' * 79}… there, and 'y' is given"),
    ],
    ids=repr,
)
def test_what_differs_is_told(kept, given, told):
    assert difference(kept, given) == told


# -- a process that is killed ----

SEARCH = """
import sys, time
from xpnet.search.distributions import log_uniform
from xpnet.search.random_study import RandomStudy
from xpnet.search.trials import State
study = RandomStudy({"a": log_uniform(1e-4, 1)}, 40, True, 7, sys.argv[1], resume="auto")
print("open", flush=True)
running = []
while True:
    while len(running) < 4 and (trial := study.ask()) is not None:
        running.append(trial)
    if not running:
        break
    trial = running.pop(0)
    study.report(trial, 1, trial.setting["a"])
    time.sleep(0.002)
    trial.state, trial.value = State.COMPLETE, trial.setting["a"]
    study.end(trial)
print("done", flush=True)
"""


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing(file):
    env = os.environ | {"PYTHONPATH": str(Path(xn.__file__).parents[1])}
    rng, kills = np.random.default_rng(0), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", SEARCH, str(file)], stdout=subprocess.PIPE, env=env, text=True
        )
        with process:
            assert process.stdout.readline() == "open\n"
            if kills < 5:
                time.sleep(rng.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
                kills += 1
                continue
            assert process.stdout.readline() == "done\n"
        break
    events = [json.loads(line) for line in file.read_text().splitlines()][1:]
    assert [e["asked"] for e in events if "asked" in e] == [*range(40)]
    assert sorted(e["ended"] for e in events if "ended" in e) == [*range(40)]
    study = RandomStudy({"a": log_uniform(1e-4, 1)}, 40, True, 7, file, resume=True)
    assert [t.setting for t in study.trials()] == random_draws({"a": log_uniform(1e-4, 1)}, 40, 7)
    assert all(t.value == t.setting["a"] == t.reports[1] for t in study.trials())


def stop(study, trial):
    """Stop a trial after nine epochs."""
    end(study, trial, 0.5, State.STOPPED)


@pytest.mark.parametrize(("value", "told"), [(None, "has no value"), (math.nan, "the value nan")])
def test_a_trial_is_complete_with_a_value(anywhere, value, told):
    study = begin(anywhere)
    trial = study.ask()
    with pytest.raises(ValueError, match=told):
        end(study, trial, value)


class TestATrialThatGoesOn:
    def test_it_ends_again(self, tmp_path):
        file = tmp_path / "a.study.jsonl"
        study = begin(file)
        trial = study.ask()
        study.report(trial, 2, 0.5)
        stop(study, trial)
        assert study.reopen(trial)
        end(study, trial, 0.25)
        assert not study.reopen(trial)  # it is complete
        study.close()
        [again] = begin(file, resume=True).trials()
        assert (again.state, again.value, again.epochs) == (State.COMPLETE, 0.25, 9)
        assert again.reports == {2: 0.5}

    @pytest.mark.parametrize("ends", ["close", "give back", "kill"])
    def test_it_stays_stopped_if_it_does_not_end(self, tmp_path, ends):
        file = tmp_path / "a.study.jsonl"
        study = begin(file)
        trial = study.ask()
        stop(study, trial)
        study.reopen(trial)
        trial.value, trial.epochs = 0.25, 11
        if ends == "give back":
            study.give_back(trial)
            assert study.ask().number == 1
        if ends != "kill":
            study.close()
            assert study.trials()[0].value == 0.5
        else:
            study._let_go()  # as the system does
        again = begin(file, resume=True).trials()[0]
        assert (again.state, again.value, again.epochs) == (State.STOPPED, 0.5, 9)

    def test_only_one_of_this_study_s(self):
        study = begin()
        running = study.ask()
        assert not study.reopen(running)
        other = begin()
        trial = other.ask()
        stop(other, trial)
        assert not study.reopen(trial)
