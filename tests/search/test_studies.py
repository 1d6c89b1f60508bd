"""Studies made, loaded, and drawn."""

import importlib.metadata
import math
import warnings

import numpy as np
import pytest

pytest.importorskip("optuna", reason="Optuna is not installed (extra 'tune')")

import matplotlib as mpl
import optuna
from matplotlib import image, pyplot

from xpnet.search import pictures, storages, studies
from xpnet.search.distributions import (
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from xpnet.search.loaded_study import space_of
from xpnet.search.optuna_study import OptunaStudy
from xpnet.search.random_study import RandomStudy
from xpnet.search.space import describe, random_draws, when
from xpnet.search.studies import load_study, make_study
from xpnet.search.trials import State, Trial

SPACE = {
    "hidden": choice([(64,), (512, 256)]),
    "learning_rate": log_uniform(1e-4, 1),
    "beta": one_minus_log_uniform(0.9, 0.999),
    "layers": int_uniform(1, 3),
    "dropout": when("layers", [2, 3], when("hidden", [(64,)], uniform(0, 0.5))),
}


def run(study):
    """End all trials of a study: most complete, some stopped, some failed."""
    while (trial := study.ask()) is not None:
        study.report(trial, 1, 9.0)
        trial.epochs, trial.best_epoch = 3, 2
        trial.state = [State.COMPLETE, State.COMPLETE, State.STOPPED, State.FAILED][
            trial.number % 4
        ]
        if trial.state is State.FAILED:
            trial.reason = "the loss was nan"
        else:
            trial.value = (math.log10(trial.setting["learning_rate"]) + 2) ** 2
        study.end(trial)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.study.db"
    study = make_study(SPACE, 24, storage=path, about={"data": {"rows": 3}})
    run(study)
    study.close()
    return path


def test_optuna_proposes_where_it_is_installed():
    study = make_study(SPACE, 3, False, 5)
    assert type(study) is OptunaStudy
    assert (study.limit, study.minimize, study.where) == (3, False, "memory")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, r"Optuna is not installed \(extra 'tune'\): the settings are drawn at random"),
        ("4.5.0", r"Optuna 4\.5\.0 is installed, and 5 or newer is needed .*drawn at random"),
    ],
)
def test_without_optuna_settings_are_drawn_at_random(tmp_path, monkeypatch, found, message):
    if found is None:
        monkeypatch.setattr(studies, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: found)
    with pytest.warns(UserWarning, match=message) as caught:
        study = make_study(SPACE, 3, storage=tmp_path / "a.study.jsonl")
    assert type(study) is RandomStudy
    assert caught[0].filename == __file__
    study.close()
    for storage in ("postgresql://host/a", "journal:a", optuna.storages.InMemoryStorage()):
        with pytest.raises(ValueError, match="give a path: Optuna"):
            make_study(SPACE, 3, storage=storage)
    with pytest.raises(ImportError, match=r"install xpnet\[tune\]"):
        load_study(tmp_path / "a.study.db")


# -- loading ----


def test_a_loaded_study_has_all_that_was_kept(path):
    before = path.read_bytes()
    study = load_study(path)
    assert (study.name, study.where, study.minimize) == ("xpnet", str(path), True)
    assert study.about == {"data": {"rows": 3}}
    assert [t.number for t in study.trials] == list(range(24))
    assert study.best.value == min(t.value for t in study.trials if t.state is State.COMPLETE)
    assert study.trials[3].reason == "the loss was nan"
    there = OptunaStudy(SPACE, 24, storage=path, about={"data": {"rows": 3}}, resume=True)
    for loaded, kept in zip(study.trials, there.trials(), strict=True):
        assert loaded.setting == kept.setting | {"hidden": str(kept.setting["hidden"])}
        assert loaded.state is kept.state
    there.close()
    assert isinstance(study.optuna, optuna.Study)
    assert len(study.optuna.trials) == 24
    assert path.read_bytes() == before


def test_what_was_asked_beyond_the_limit_is_no_trial(tmp_path):
    """Two were asked at the same time, and one was enough."""
    path = tmp_path / "a.study.db"
    study = make_study(SPACE, 1, storage=path)
    other = make_study(SPACE, 1, storage=path, resume="auto")
    assert other.trials() == []  # it has looked
    assert study.ask() is not None
    other._looked = math.inf  # and does not look again
    other._reads = other._known.reads
    assert other._new(0, {}, alone=True) is None
    assert [len(s.trials()) for s in (study, other)] == [1, 1]
    assert len(load_study(path).trials) == 1
    assert len(load_study(path).optuna.trials) == 2
    study.close()
    other.close()
    more = make_study(SPACE, 2, storage=path, resume=True)
    run(more)
    more.close()
    assert [t.state for t in load_study(path).trials] == [State.COMPLETE, State.COMPLETE]


def test_a_space_comes_back_from_its_description():
    found = space_of(describe(SPACE))
    assert describe(found) == describe(SPACE) | {
        "hidden": describe({"a": choice(["(64,)", "(512, 256)"])})["a"]
    }


def test_one_of_several_is_named(path):
    OptunaStudy(SPACE, 3, storage=path, name="other").close()
    with pytest.raises(ValueError, match="there are several studies: name one of xpnet, other"):
        load_study(path)
    assert load_study(path, "xpnet").best.number >= 0
    other = load_study(path, "other")
    with pytest.raises(ValueError, match="no trial of 'other' has a value"):
        other.best  # noqa: B018 - it is what raises
    with pytest.raises(FileNotFoundError, match="there is no study 'third': give one of xpnet"):
        load_study(path, "third")


def test_what_is_no_study_of_ours_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no study: give the path"):
        load_study(tmp_path / "a.study.db")
    empty = tmp_path / "b.study.db"
    storages.open_storage(empty).close()
    with pytest.raises(FileNotFoundError, match="there is no study: give where one is kept"):
        load_study(empty)
    there = optuna.storages.InMemoryStorage()
    with storages.quiet():
        optuna.create_study(storage=there, study_name="a")
    with pytest.raises(ValueError, match="was made by other means: load it with"):
        load_study(there)


# -- what mattered ----


def test_what_mattered_most_comes_first(path):
    assert set(load_study(path).importances()) <= set(SPACE)
    study = make_study(SPACE, 80)
    run(study)
    found = pictures.importances(SPACE, study.trials(), True)
    assert next(iter(found)) == "learning_rate"
    assert sum(found.values()) == pytest.approx(1)


def test_pictures_are_drawn_and_matplotlib_is_as_before(path, tmp_path):
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = load_study(path).plot(tmp_path / "a.study", "error")
    assert [p.name for p in drawn] == [
        "a.study.history.png",
        "a.study.importances.png",
        "a.study.slices.png",
    ]
    for picture in drawn:
        pixels = image.imread(picture)
        assert pixels.shape[0] > 300
        assert np.ptp(pixels[..., :3]) > 0.5
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_study_that_goes_on_is_drawn_as_a_loaded_one(path, tmp_path):
    study = OptunaStudy(SPACE, 24, storage=path, about={"data": {"rows": 3}}, resume=True)
    drawn = pictures.draw(study.space, study.trials(), study.minimize, tmp_path / "b")
    study.close()
    for ours, theirs in zip(drawn, load_study(path).plot(tmp_path / "c"), strict=True):
        assert np.array_equal(image.imread(ours), image.imread(theirs))


def test_too_few_trials_are_told(tmp_path):
    study = make_study(SPACE, 1)
    run(study)
    with pytest.raises(ValueError, match="1 trials have a value: it takes 2"):
        pictures.draw(study.space, study.trials(), True, tmp_path / "a")
    assert [*tmp_path.iterdir()] == []


def test_what_is_infinite_is_not_drawn(tmp_path):
    study = make_study({"learning_rate": log_uniform(1e-4, 1)}, 6)
    while (trial := study.ask()) is not None:
        trial.state, trial.value = State.COMPLETE, math.inf if trial.number % 2 else trial.number
        study.end(trial)
    assert len(pictures.draw(study.space, study.trials(), True, tmp_path / "a")) == 3


def complete(values, settings):
    return [
        Trial(i, setting, State.COMPLETE, value, 1, 1)
        for i, (value, setting) in enumerate(zip(values, settings, strict=True))
    ]


def test_of_one_value_there_is_no_slice(tmp_path):
    """Optuna would draw it, with a warning, and of a single slice a grid that has no height."""
    space = {"hidden": choice([(4,), (8,)]), "dropout": uniform(0, 0.5)}
    trials = complete([0.1, 0.2], [{"hidden": (4,), "dropout": p} for p in (0.1, 0.3)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.draw_one("slices", space, trials, True, tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").shape[0] > 300
    trials = complete([0.1, 0.2], [{"hidden": (4,), "dropout": 0.1}] * 2)
    with pytest.raises(ValueError, match="no hyper-parameter had two values"):
        pictures.draw_one("slices", space, trials, True, tmp_path / "b.png")


def test_where_all_values_are_the_same_nothing_matters(tmp_path):
    space = {"dropout": uniform(0, 0.5)}
    trials = complete([0.1] * 4, [{"dropout": 0.1 * i} for i in range(4)])
    message = "have the same value: there is nothing to tell importances by"
    with pytest.raises(ValueError, match=message):
        pictures.draw_one("importances", space, trials, True, tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        pictures.importances(space, trials, True)
    for kind in ("history", "slices"):
        pictures.draw_one(kind, space, trials, True, tmp_path / f"{kind}.png")


def test_a_random_study_s_file_is_told_by_what_it_is(tmp_path):
    with pytest.raises(ValueError, match="is a study of settings drawn at random, without Optuna"):
        load_study(tmp_path / "a.study.jsonl")


def test_what_made_trials_bad_matters_though_they_were_stopped():
    space = {"x": uniform(0, 1), "z": uniform(0, 1)}
    trials = []
    for number, setting in enumerate(random_draws(space, 60)):
        x, z = setting["x"], setting["z"]
        state = State.COMPLETE if x < 0.3 else State.STOPPED
        value = (x if x > 0.3 else 0.0) + 0.01 * z  # of the survivors z alone decides
        trials.append(Trial(number, setting, state, value, 1, 1))
    assert [*pictures.importances(space, trials, True)] == ["x", "z"]
