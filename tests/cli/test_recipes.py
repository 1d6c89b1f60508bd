"""``xpnet train --recipe``, and what goes with it: ``--folds``, ``--show`` and ``--time``."""

import json
import math

import numpy as np
import pytest
import test_cli
from test_cli import interrupted, needs_signals, run  # noqa: F401 - fixtures

import xpnet as xn
from xpnet.cli.training_options import HIDDEN
from xpnet.recipes.recipes import Asked
from xpnet.recipes.settings import Settings
from xpnet.tabular import readers, time_budget
from xpnet.tabular.experiment import Experiment

#: Trainings that take no time: by the recipe, but for these.
QUICK = ["--hidden", "8", "--epochs", "2", "--device", "cpu"]


@pytest.fixture
def typed(run, monkeypatch):  # noqa: F811
    """Run commands as they are typed: none is given the plain recipe."""
    monkeypatch.setattr(test_cli, "plain", lambda arguments: [*map(str, arguments)])
    return run


@pytest.fixture
def told(typed):
    """Return what a command says in JSON."""

    def command(*arguments):
        code, out, err = typed(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return command


@pytest.fixture
def seconds(monkeypatch):
    """Set how long a step takes."""

    def set_to(value):
        monkeypatch.setattr(time_budget, "_seconds_per_step", lambda experiment: value)

    return set_to


def why(found):
    return {row["name"]: row["why"] for row in found["plan"]}


def values(found):
    return {row["name"]: row["value"] for row in found["plan"]}


# -- which recipe, and what it does ----


def test_the_default_recipe_trains_networks_on_folds(typed):
    code, out, err = typed("train", "iris", *QUICK)
    assert (code, err) == (0, "")
    assert "iris: 120 train (in 5 folds) + 30 test examples" in out
    assert "\n5 networks 4-8-3, " in out
    assert "recipe auto (--show tells what it does, and why)" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("held out")] == [
        ["held", "out", "120"]
    ]
    model = xn.load_model("iris.safetensors", device="cpu")
    assert model.network.members == 5
    assert model.training["settings"]["recipe"] == "auto"


@pytest.mark.parametrize("recipe", ["plain", "realmlp", "tabm", "auto"])
def test_a_recipe_sets_what_it_shows(told, recipe):
    options = ["iris", "--recipe", recipe, "--batch-size", "60", *QUICK]
    shown, trained = told("train", *options, "--show"), told("train", *options)
    assert shown["settings"] == trained["settings"]
    assert shown["plan"] == trained["plan"]
    assert trained["settings"]["recipe"] == recipe
    by_recipe = [row for row in shown["plan"] if row["why"] != "set by hand"]
    assert bool(by_recipe) == (recipe != "plain")
    assert all(row["why"] and row["value"] == shown["settings"][row["name"]] for row in by_recipe)
    model = xn.load_model("iris.safetensors", device="cpu")
    assert model.training["settings"] == trained["settings"]


def test_show_trains_nothing_and_writes_nothing(typed, tmp_path):
    code, out, err = typed("train", "iris", "--device", "cpu", "--show")
    assert (code, err) == (0, "")
    assert "5 networks 4-256-256-256-3" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["setting", "value", "why"] in rows
    assert ["folds", "5", "every"] in [row[:3] for row in rows]
    assert not [*tmp_path.iterdir()]
    assert typed("train", "iris", "--show", "--quiet") == (0, "", "")


def test_what_is_given_by_hand_wins(told):
    given = {"hidden": [6, 5], "activation": "relu", "optimizer": "momentum", "learning_rate": 0.02}
    given |= {"schedule": "constant", "batch_size": 30, "epochs": 3, "members": 2, "folds": 4}
    given |= {"loss": "softmax_cross_entropy"}
    options = []
    for name, value in given.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        options += [f"--{name.replace('_', '-')}", text]
    shown = told("train", "iris", "--device", "cpu", *options, "--show")
    assert {name: shown["settings"][name] for name in given} == given
    assert {why(shown)[name] for name in given} == {"set by hand"}
    assert shown["settings"]["scaling"] == "median"
    assert len(shown["plan"]) == len(why(shown))


def test_a_default_that_is_given_is_given(told):
    shown = told("train", "iris", "--hidden", HIDDEN, "--activation", "relu", "--show")
    assert (shown["settings"]["hidden"], shown["settings"]["activation"]) == ([256, 128], "relu")


@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_the_same_seed_gives_the_same_file(typed, data):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert typed("train", data, *QUICK, "--seed", seed, "-q", "-o", name) == (0, "", "")
    a, b, c = (xn.load_model(name, device="cpu").network.parameters for name in "abc")
    assert (a == b).all()
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_a_model_predicts_the_same_after_loading(tmp_path, data):
    dataset = readers.read(data)
    settings = Settings(hidden=(8,), epochs=2)
    asked = Asked("auto", ["hidden", "epochs"])
    experiment = Experiment.prepare(dataset, settings, "cpu", recipe=asked)
    experiment.run()
    model, file = experiment.model, tmp_path / "m.safetensors"
    model.save(file)
    loaded = xn.load_model(file, device="cpu")
    assert (loaded.predict(dataset.rows) == model.predict(dataset.rows)).all()
    if data == "iris":
        assert (loaded.predict_proba(dataset.rows) == model.predict_proba(dataset.rows)).all()


@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_evaluate_finds_what_the_training_found(told, data):
    trained = told("train", data, *QUICK)
    found = told("evaluate", f"{data}.safetensors", data)
    name = "error" if data == "iris" else "unexplained_variance"
    assert found[name] == pytest.approx(trained["results"]["test"]["error"], rel=1e-6)
    assert found["members"][name] == pytest.approx(
        trained["results"]["test"]["members"]["error"], rel=1e-6
    )


def test_mean_of_a_target_with_two_columns(told, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "d.npz", X=X, y=X[:, :2] ** 2)
    trained = told("train", "d.npz", *QUICK)
    assert trained["task"] == "regression"
    assert math.isfinite(trained["results"]["dev"]["error"])


def test_classes_of_one_row_each(told, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "d.npz", X=X, y=[*"uv"] * 18 + [*"pqrs"])
    found = told("train", "d.npz", *QUICK)["examples"]
    # Of four such classes one is in the test set; nobody else could learn the rows of the others.
    assert (found["train"], found["dev"]) == (32, 29)


def test_ten_rows(typed, tmp_path):
    X = np.random.default_rng(0).normal(size=(10, 3))
    np.savez(tmp_path / "d.npz", X=X, y=[0, 1] * 5)
    code, out, _ = typed("train", "d.npz", *QUICK)
    assert code == 0
    assert "8 train (in 2 folds) + 2 test examples" in out


# -- folds ----


@pytest.mark.parametrize(
    ("options", "folds", "members", "held_out"),
    [
        (["--folds", "3", "--recipe", "plain"], 3, 3, 120),
        (["--folds", "3"], 3, 5, 120),
        (["--folds", "4", "--members", "2"], 4, 2, 60),
        (["--members", "3"], 5, 3, 72),
        (["--members", "10"], 10, 10, 120),
        (["--members", "1", "--folds", "8"], 8, 1, 15),
    ],
)
def test_folds_and_members(typed, told, options, folds, members, held_out):
    trained = told("train", "iris", *QUICK, *options)
    assert trained["examples"] == {"train": 120, "dev": held_out, "test": 30}
    assert (trained["settings"]["folds"]) == folds
    assert len(trained["results"]["test"]["members"]["error"]) == members
    _, out, _ = typed("train", "iris", *QUICK, *options)
    several = members > 1
    assert f"(in {folds} folds)" in out
    assert (f"{members} networks 4-8-3" in out, "of each" in out) == (several, several)
    assert several or "\nnetwork 4-8-3" in out


def test_one_member_has_a_development_set(typed, told):
    trained = told("train", "iris", *QUICK, "--members", "1")
    assert trained["examples"] == {"train": 90, "dev": 30, "test": 30}
    assert (trained["settings"]["folds"], trained["settings"]["members"]) == (None, None)
    assert "members" not in trained["results"]["test"]
    _, out, _ = typed("evaluate", "iris.safetensors", "iris", "--part", "dev")
    assert "the model's dev set, which it was not trained on" in out


def test_of_a_development_set_in_folds_evaluate_says_that_it_was_trained_on(typed):
    assert typed("train", "iris", *QUICK, "-q") == (0, "", "")
    for part, seen in (("dev", True), ("train", True), ("test", False)):
        _, out, _ = typed("evaluate", "iris.safetensors", "iris", "--part", part)
        said = "which the model was trained on" if seen else "which it was not trained on"
        assert f"the model's {part} set, {said}" in out


def test_a_development_set_of_ones_own_takes_the_place_of_folds(typed, told, tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("dev", 20)):
        X = rng.normal(size=(n, 3))
        np.savez(tmp_path / f"{name}.npz", X=X, y=(X[:, 0] > 0) * 1)
    files = ["train.npz", "--dev", "dev.npz"]
    trained = told("train", *files, *QUICK)
    assert trained["settings"]["folds"] is None
    assert trained["examples"] == {"train": 48, "dev": 20, "test": 12}
    code, out, err = typed("train", *files, "--folds", "3", *QUICK)
    assert (code, out) == (2, "")
    assert "with folds there is no development set; leave one of them out" in err


@pytest.mark.parametrize(
    "many", [["--l2", "0,0.1"], ["--learning-curve"]], ids=["l2", "learning_curve"]
)
def test_many_trainings_are_of_one_network(typed, told, many):
    trained = told("train", "iris", *QUICK, *many)
    assert trained["examples"] == {"train": 90, "dev": 30, "test": 30}
    assert trained["settings"]["members"] is None
    for alone in (["--folds", "3"], ["--members", "2"], ["--time", "9"]):
        code, out, err = typed("train", "iris", *QUICK, *many, *alone)
        assert (code, out) == (2, "")
        assert f"{alone[0]} goes with one training" in err


def test_of_several_lambdas_each_is_trained_as_alone(told):
    """The factors of the rates, of biases and of inputs, take part in the choice as well."""
    options = ["train", "iris", *QUICK, "--recipe", "realmlp", "--batch-size", "30"]
    alone, chosen = told(*options, "--l2", "0.1"), told(*options, "--l2", "0,0.1")
    row = next(row for row in chosen["l2_choice"] if row["l2"] == 0.1)
    kept = alone["history"][alone["best_epoch"] - 1]
    assert row["dev_loss"] == pytest.approx(kept["dev_loss"], rel=1e-4)


# -- time ----


def test_time_that_is_enough_changes_nothing(told, seconds):
    seconds(1e-6)
    trained = told("train", "iris", *QUICK)
    within = told("train", "iris", *QUICK, "--time", "1000")
    assert within["settings"] == trained["settings"]
    assert within["results"] == trained["results"]


def test_with_less_time_there_are_fewer_networks(typed, told, seconds):
    # 5 networks of 40 epochs of 6 steps, of 96 examples in batches of 16.
    seconds(1.0)
    needed = 40 * 6 * time_budget.MORE
    options = ["train", "iris", "--device", "cpu", "--time", str(needed / 2)]
    _, out, _ = typed(*options, "--show")
    assert "\n2 networks " in out
    assert f"time has decided: 5 networks of 40 epochs would take some {needed:.3g} s" in out
    assert (
        "instead it is 2 networks of 40 epochs (which folds 5, members 2, epochs 40 repeat)" in out
    )
    shown = told(*options, "--show")
    assert why(shown)["members"] == "for the time that there is"
    assert why(shown)["epochs"] != "for the time that there is"
    assert values(shown)["members"] == 2


def test_with_still_less_there_are_fewer_epochs_and_it_can_be_repeated(typed, told, seconds):
    seconds(1.0)
    some = 40 * 6 * time_budget.MORE / 5 * 3 / 40
    options = ["train", "iris", "--hidden", "8", "--device", "cpu"]
    _, out, _ = typed(*options, "--time", str(some * 1.01))
    assert "instead it is 1 network of 3 epochs (which folds 5, members 1, epochs 3 repeat)" in out
    assert "\nnetwork 4-8-3, " in out
    within = told(*options, "--time", str(some * 1.01))
    repeated = told(*options, "--folds", "5", "--members", "1", "--epochs", "3")
    assert within["settings"] == repeated["settings"]
    assert within["results"] == repeated["results"]


def test_of_one_network_there_are_fewer_epochs(told, seconds):
    seconds(1.0)  # 2 epochs of 2 steps, of 90 examples in batches of 64, fit in
    options = ["train", "iris", "--recipe", "plain", "--hidden", "8", "--device", "cpu"]
    within = told(*options, "--epochs", "4", "--time", str(2 * 2 * time_budget.MORE * 1.01))
    assert within["results"] == told(*options, "--epochs", "2")["results"]


def test_it_ends_when_time_is_up(told, seconds):
    seconds(1e-9)  # what it does not take
    trained = told("train", "iris", "--epochs", "100000", "--hidden", "8", "--time", "0.2")
    assert trained["stopped"]
    assert trained["reason"] == "the time of 0.2 s is up"
    assert math.isfinite(trained["results"]["test"]["loss"])


# -- wrong input ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "autp"], "recipe is 'autp': give one of plain, realmlp, tabm, auto"),
        (["--folds", "1"], "--folds is 1: give 2 or more, or leave it out"),
        (["--folds", "1000"], "folds is 1000 and there are 120 rows: give fewer folds"),
        (["--members", "0"], "--members is 0: give 1 or more, or leave it out"),
        (["--patience", "0"], "patience is 0: give 1 or more"),
        *((["--time", value], f"--time is {float(value)}: give") for value in ("0", "-1", "nan")),
        (["--time", "inf"], "--time is inf: give"),
    ],
)
def test_wrong_input(typed, options, message):
    code, out, err = typed("train", "iris", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


# -- checkpoints ----


def test_a_run_with_folds_goes_on(typed, tmp_path):
    options = ["iris", *QUICK, "--schedule", "constant", "--batch-size", "30", "-q"]
    assert typed("train", *options, "--epochs", "5", "-o", "whole.safetensors") == (0, "", "")
    more = ["--epochs", "3", "--checkpoint", "run", "-o", "parts.safetensors"]
    assert typed("train", *options, *more) == (0, "", "")
    assert typed("train", "--resume", "run", "--epochs", "5", "-q") == (0, "", "")
    whole, parts = (xn.load_model(f"{n}.safetensors", device="cpu") for n in ("whole", "parts"))
    assert (whole.network.parameters == parts.network.parameters).all()
    assert whole.training["settings"] == parts.training["settings"]


def test_what_a_fit_refuses_is_told(typed):
    assert typed("train", "iris", *QUICK, "--checkpoint", "run", "-q") == (0, "", "")
    experiment = Experiment.prepare(
        readers.read("iris"), Settings(), "cpu", recipe=Asked("auto", ["members"])
    )
    with pytest.raises(ValueError, match="is of another run: network"):
        experiment.run(checkpoint="run", resume=True)


def test_its_length_is_the_recipes(typed):
    assert typed("train", "iris", *QUICK, "--checkpoint", "run", "-q") == (0, "", "")
    code, _, err = typed("train", "--resume", "run", "--epochs", "9")
    assert code == 2
    assert "--epochs can't be changed: the schedule, log-cosine, depends on it" in err


@pytest.mark.parametrize("option", [["--show"], ["--time", "3"], ["--recipe", "plain"]])
def test_a_run_that_goes_on_is_set(typed, option):
    assert typed("train", "iris", *QUICK, "--checkpoint", "run", "-q") == (0, "", "")
    code, _, err = typed("train", "--resume", "run", *option)
    assert code == 2
    assert f"{option[0]} can't be given with --resume: the checkpoint has all settings" in err


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("limit", [[], ["--time", "1000"]], ids=["", "time"])
def test_after_ctrl_c_it_goes_on_bit_by_bit(typed, tmp_path, limit):
    options = ["digits", "--recipe", "auto", "--epochs", "6", "--members", "3", "--hidden", "32"]
    whole = ["-q", "--device", "cpu", "-o", "whole.safetensors"]
    assert typed("train", *options, *whole) == (0, "", "")
    code, out, err = interrupted(tmp_path, [*options, *limit, "--checkpoint", "run"], "2 ")
    assert (code, err) == (130, "")
    assert "go on with: xpnet train --resume run\n" in out
    code, out, err = typed("train", "--resume", "run")
    assert (code, err) == (0, "")
    assert "going on from run/step-" in out
    whole, parts = (xn.load_model(f"{n}.safetensors", device="cpu") for n in ("whole", "digits"))
    assert (whole.network.parameters == parts.network.parameters).all()


@pytest.mark.slow
@needs_signals
def test_a_run_that_goes_on_has_all_of_its_time_again(typed, tmp_path):
    options = ["iris", "--recipe", "auto", "--epochs", "100000", "--hidden", "8", "--members", "2"]
    more = ["--time", "5", "--checkpoint", "run"]
    code, _, err = interrupted(tmp_path, [*options, *more], "2 ")
    assert (code, err) == (130, "")
    code, out, err = typed("train", "--resume", "run")
    assert (code, err) == (0, "")
    assert "the time of 5 s is up" in out
