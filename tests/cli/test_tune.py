"""``xpnet tune`` as a user meets it."""

import json
import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_cli import QUICK, interrupted, needs_signals, run, table  # noqa: F401 - fixtures

import xpnet as xn
from xpnet.cli import console, search_run, trials
from xpnet.search import studies
from xpnet.search.search import Search
from xpnet.search.trials import State, Trial

SPACE = ["--set", "hidden=4|8", "--set", "learning_rate=log:1e-3:0.1"]
SMALL = ["--epochs", "3", "--device", "cpu", "--members", "4", *SPACE]
NO_MORE = ["--repeats", "0"]

has_optuna = find_spec("optuna") is not None


@pytest.fixture
def at_random(monkeypatch):
    """Let Optuna not be there."""
    monkeypatch.setattr(studies, "find_spec", lambda name: None)


WITHOUT = "note: Optuna is not installed (extra 'tune'): the settings are drawn at random\n"

pytestmark = pytest.mark.usefixtures("at_random")


def lines_of(out, heading, count):
    """Return the first cells of so many lines below a heading."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    return [line.split() for line in lines[start + 1 : start + 1 + count]]


def test_tune_says_what_it_does(run):  # noqa: F811
    code, out, err = run("tune", "iris", "--trials", "5", *SMALL)
    assert (code, err) == (0, WITHOUT)
    for text in (
        "training on the CPU with NumPy",
        "iris: 90 train + 30 dev + 30 test examples, multiclass with 3 classes",
        "5 trials of 3 epochs (those behind end after 1), by error on the development set",
        "the study is kept in iris.study.jsonl",
        "hidden            4|8",
        "learning_rate     log:0.001:0.1",
        "5 trials: ",
        "trained anew on train + dev",
        "train + dev        120 ",
        "test                30 ",
        "saved iris.safetensors\n",
        "verdict: the search ",
        "seeds: 5 each",
    ):
        assert text in out
    ended = lines_of(out, "trial  epochs", 5)
    assert sorted(int(row[0]) for row in ended) == [0, 1, 2, 3, 4]
    best = lines_of(out, "trial   dev error   best epoch", 5)
    assert {row[0] for row in best} == {row[0] for row in ended}
    assert sum("best so far" in line for line in out.splitlines()) >= 1
    assert "\x1b" not in out
    assert sorted(os.listdir()) == ["iris.safetensors", "iris.study.jsonl"]


def test_the_model_is_as_any_other(run):  # noqa: F811
    code, out, _ = run("tune", "wine", "--trials", "3", *SMALL, *NO_MORE, "--json")
    assert code == 0
    result = json.loads(out)
    model = xn.load_model("wine.safetensors", device="cpu")
    assert model.training["trained_on"] == ["train", "dev"]
    assert model.training["study"]["name"] == "wine"
    assert model.training["study"]["trials"][0]["number"] == result["best"]["number"]
    measured = json.loads(run("evaluate", "wine.safetensors", "wine", "--json")[1])
    assert measured["error"] == pytest.approx(result["results"]["test"]["error"])
    out = run("evaluate", "wine.safetensors", "wine", "--part", "dev")[1]
    assert "the model's dev set, which the model was trained on" in out
    assert run("predict", "wine.safetensors", "wine", "-o", "p.csv")[0] == 0


def test_json_alone_on_the_output(run):  # noqa: F811
    code, out, err = run("tune", "iris", "--trials", "4", *SMALL, "--json", "--repeats", "2")
    assert (code, err) == (0, WITHOUT)
    result = json.loads(out)
    assert result["examples"] == {"train": 90, "dev": 30, "test": 30}
    assert (result["objective"], result["minimize"], result["folds"]) == ("error", True, None)
    assert result["space"]["hidden"]["names"] == ["4", "8"]
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in result["trials"]} <= {"complete", "stopped"}
    assert set(result["trials"][0]["setting"]) == {"hidden", "learning_rate"}
    assert result["best"] in result["trials"]
    assert result["settings"]["epochs"] == result["best"]["best_epoch"]
    assert set(result["results"]) == {"train + dev", "test"}
    assert len(result["verdict"]["default"]) == len(result["verdict"]["best"]) == 2
    assert result["verdict"]["sentence"].startswith("the search ")
    assert (result["interrupted"], result["resume"], result["reason"]) == (False, None, "")
    assert result["model"] == "iris.safetensors"


def test_quiet(run):  # noqa: F811
    assert run("tune", "iris", "--trials", "2", *SMALL, "-q", "-o", "m.safetensors") == (
        0,
        "",
        WITHOUT,
    )
    assert sorted(os.listdir()) == ["m.safetensors", "m.study.jsonl"]


def test_the_same_seed_gives_the_same_study(run):  # noqa: F811
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        options = ["--seed", seed, "-o", f"{name}.safetensors", "--json", *NO_MORE]
        result = json.loads(run("tune", "iris", "--trials", "4", *SMALL, *options)[1])
        found.append([(t["setting"], t["value"], t["best_epoch"]) for t in result["trials"]])
    assert found[0] == found[1] != found[2]


def test_a_study_goes_on(run):  # noqa: F811
    options = [*SMALL, *NO_MORE]
    first = json.loads(run("tune", "iris", "--trials", "3", *options, "--json")[1])
    code, _, err = run("tune", "iris", "--trials", "5", *options)
    assert code == 2
    command = " ".join(["xpnet tune iris --trials 5", *SMALL[:6]])
    assert f"iris.study.jsonl: holds a study; go on with {command}" in err
    assert "--resume, or give another --output" in err
    code, out, _ = run("tune", "iris", "--trials", "5", *options, "--resume")
    assert code == 0
    assert "the study goes on: 3 trials: " in out
    assert [row[0] for row in lines_of(out, "trial  epochs", 2)] == ["3", "4"]
    whole = json.loads(run("tune", "iris", "--trials", "5", *options, "--resume", "--json")[1])
    assert whole["trials"][:3] == first["trials"]
    assert len(whole["trials"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "4"], "settings.epochs is 3 there, and 4 is given"),
        (["--activation", "tanh"], "settings.activation is 'relu' there, and 'tanh' is given"),
        (["--metric", "loss"], "objective is 'error' there, and 'loss' is given"),
        (["--folds", "3"], "folds is None there, and 3 is given"),
        (["--no-halving"], "halving is 3 there, and None is given"),
        (["--set", "l2=0:1"], "space.l2 is not there"),
    ],
)
def test_another_study_is_refused_by_name(run, options, message):  # noqa: F811
    run("tune", "iris", "--trials", "2", *SMALL, *NO_MORE, "-q")
    before = Path("iris.study.jsonl").read_bytes()
    code, _, err = run("tune", "iris", "--trials", "2", *SMALL, *NO_MORE, *options, "--resume")
    assert code == 2
    assert err.startswith(f"{WITHOUT}error: iris.study.jsonl: is another study: ")
    assert message in err
    assert Path("iris.study.jsonl").read_bytes() == before


def test_other_data_are_refused_by_name(run):  # noqa: F811
    run("tune", "iris", "--trials", "2", *SMALL, *NO_MORE, "-q", "-o", "m.safetensors")
    options = [*SMALL, *NO_MORE, "-o", "m.safetensors", "--resume"]
    code, _, err = run("tune", "wine", "--trials", "2", *options)
    assert code == 2
    assert "m.study.jsonl: is another study: data is '" in err


def test_the_model_may_be_the_mean_of_several(run):  # noqa: F811
    options = ["--epochs", "3", "--device", "cpu", "--set", "l2=0:1", "--no-halving", *NO_MORE]
    code, out, _ = run("tune", "iris", "--trials", "5", *options, "--keep", "3")
    assert code == 0
    assert re.search(r"trials \d, \d, \d trained anew on train \+ dev, for \d, \d, \d epochs", out)
    assert "loss of each member   error of each" in out
    model = xn.load_model("iris.safetensors", device="cpu")
    assert model.network.members == 3
    assert run("predict", "iris.safetensors", "iris", "--std", "-o", "p.csv")[0] == 0
    options += ["-o", "m.safetensors"]
    out = run("tune", "iris", "--trials", "2", *options, "--keep", "3")[1]
    assert "--keep is 3: of that architecture 2 came to the end" in out


def test_options_of_a_training_hold_for_all(run):  # noqa: F811
    options = ["--hidden", "6,5", "--learning-rate", "0.02", "--optimizer", "adamw", *NO_MORE]
    code, out, _ = run("tune", "iris", "--trials", "2", "--epochs", "2", *options, "--json")
    assert code == 0
    result = json.loads(out)
    assert [*result["space"]] == ["l2", "dropout", "batch_size"]
    settings = result["settings"]
    assert (settings["hidden"], settings["learning_rate"]) == ([6, 5], 0.02)
    assert (settings["optimizer"], settings["batch_size"]) == ("adamw", 32)


@pytest.mark.parametrize(
    "options",
    [
        ["--folds", "3", "--metric", "loss"],
        ["--metric", "f1_macro", "--eta", "2", "--no-halving"],
        ["--set", "optimizer=adam|sgd", "--set", "optimizer.momentum=0:0.9", "--dropout", "0.1"],
        ["--set", "batch_norm=true|false", "--set", "l2=0:1 if batch_norm=true", "--keep", "2"],
        ["--augment", "noise:0.1", "--schedule", "cosine", "--dtype", "float64", "--members", "1"],
        ["--set", "loss.label_smoothing=0:0.2", "--clip-norm", "1", "--batch-size", "auto"],
        ["--time", "3600"],
    ],
)  # fmt: skip
def test_options(run, options):  # noqa: F811
    code, out, err = run("tune", "wine", "--trials", "4", *SMALL, "--repeats", "2", *options)
    assert (code, err) == (0, WITHOUT)
    assert "verdict" in out


def test_a_regression_by_a_metric_in_its_own_units(run):  # noqa: F811
    options = [*SMALL, "--metric", "neg_root_mean_squared_error", "--json", *NO_MORE]
    code, out, _ = run("tune", "diabetes", "--trials", "3", *options)
    assert code == 0
    result = json.loads(out)
    assert not result["minimize"]
    assert result["best"]["value"] == max(trial["value"] for trial in result["trials"])
    measured = json.loads(run("evaluate", "diabetes.safetensors", "diabetes", "--json")[1])
    figure = result["test"]["neg_root_mean_squared_error"]
    assert figure == pytest.approx(-measured["root_mean_squared_error"], rel=1e-5)


@pytest.mark.usefixtures("pa")
def test_tables(run, table):  # noqa: F811
    options = ["--target", "kind", "--column", "size=number", *SMALL, *NO_MORE]
    code, out, err = run("tune", table, "--trials", "2", *options)
    assert (code, err) == (0, WITHOUT)
    assert "the target: multiclass" in out
    assert run("evaluate", "table.safetensors", table)[0] == 0


WILD = ["--optimizer", "sgd", "--learning-rate", "0.1", "--hidden", "8"]


def test_trials_that_fail_say_why(run):  # noqa: F811
    options = ["--set", "l2=0|1e9", *WILD, "--epochs", "60", "--no-halving", "--members", "2"]
    code, out, err = run("tune", "wine", "--trials", "6", "--device", "cpu", *options, *NO_MORE)
    assert (code, err) == (0, WITHOUT)
    assert re.search(r" 1e\+09  failed: the training diverged in epoch \d", out)
    assert re.search(r"6 trials: .*\d failed; ", out)


def test_where_all_fail_there_is_nothing_to_save(run):  # noqa: F811
    options = ["--set", "l2=1e9|2e9", *WILD, "--epochs", "60", "--no-halving"]
    code, _, err = run("tune", "wine", "--trials", "20", "--device", "cpu", *options, *NO_MORE)
    assert code == 2
    assert "error: the first 10 trials have failed; the last one: the training diverged" in err
    assert not Path("wine.safetensors").exists()


def test_where_all_of_few_fail_it_is_an_error(run):  # noqa: F811
    options = ["--set", "l2=1e9|2e9", *WILD, "--epochs", "60", "--no-halving"]
    code, out, err = run("tune", "wine", "--trials", "3", "--device", "cpu", *options, *NO_MORE)
    assert code == 2
    assert "\n\n3 trials: 3 failed; " in out
    assert "error: all 3 trials have failed; the last one: the training diverged in epoch" in err
    assert not Path("wine.safetensors").exists()


@pytest.mark.usefixtures("pa")
def test_a_fold_without_a_class_is_told_by_the_name_of_the_class(run):  # noqa: F811
    rows = [f"{i % 11},{'often' if i % 8 else 'rare'}" for i in range(80)]
    Path("t.csv").write_text("\n".join(["x,y", *rows, ""]))
    code, _, err = run("tune", "t.csv", "--target", "y", "--folds", "9", "-o", "m.safetensors")
    assert code == 2
    assert re.search("folds is 9 and class rare has 8 examples: give fewer folds", err)


def test_a_model_that_can_not_be_saved_is_no_end_of_the_search(run, monkeypatch):  # noqa: F811
    def full(self, path):
        raise OSError(28, "No space left on device")

    options = ["tune", "iris", "--trials", "2", *SMALL, *NO_MORE]
    with monkeypatch.context() as patch:
        patch.setattr("xpnet.tabular.model.Model.save", full)
        code, _, err = run(*options)
    assert code == 2
    why = "iris.safetensors: the model can't be saved (No space left on device)"
    assert re.search(rf"error: {re.escape(why)}; go on with: xpnet tune iris .*--resume\n", err)
    assert run(*options, "--resume")[0] == 0
    assert Path("iris.safetensors").exists()


@pytest.mark.parametrize("storage", ["s.jsonl", "./s.jsonl"])
def test_a_model_is_not_written_over_a_study(run, storage):  # noqa: F811
    run("tune", "iris", "--trials", "1", *SMALL, *NO_MORE, "--storage", storage, "-q")
    before = Path("s.jsonl").read_bytes()
    for command in (["train", "iris"], ["tune", "iris", *SMALL]):
        code, _, err = run(*command, "-o", "s.jsonl")
        assert (code, "--output is s.jsonl: models are written as .safetensors" in err) == (2, True)
    os.rename("s.jsonl", "study")
    options = [*SMALL, *NO_MORE, "--storage", "study", "--resume", "-o", "./study"]
    code, _, err = run("tune", "iris", "--trials", "2", *options)
    assert (code, "study: would be written over study; give another --output" in err) == (2, True)
    assert Path("study").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "--trials is 0: give 1 or more"),
        (["--members", "0"], "--members is 0: give 1 or more"),
        (["--time", "0"], "--time is 0: give seconds, a number above 0"),
        (["--time", "nan"], "--time is nan: give seconds"),
        (["--folds", "1"], "--folds is 1: give 2 or more"),
        (["--folds", "99"], "folds is 99 and class setosa has 40 examples"),
        (["--eta", "1"], "--eta is 1: give 2 or more"),
        (["--keep", "0"], "--keep is 0: give 1 or more"),
        (["--repeats", "1"], "--repeats is 1: give 2 or more to see the noise, or 0 for none"),
        (["--metric", "err"], "metric is 'err': give 'error', 'loss', or a name"),
        (["--set", "l2"], "--set is 'l2': give NAME=RANGE"),
        (["--set", "l2=log:0:1"], "--set l2=log:0:1: low is 0.0: give a number above 0"),
        (["--set", "l2=0:"], "--set l2=0:: a range has two ends"),
        (["--set", "dropout=0:1"], "dropout = 1.0: "),
        (["--set", "optimizer=adm|sgd"], "optimizer = adm: "),
        (["--learning-rate", "0.1"], "--learning-rate is given as well"),
        (["--set", "loss.label_smoothing=0:0.2", "--metric", "loss"], "loss.label_smoothing"),
        (["--storage", " "], "--storage is ' ': there is nothing in it"),
        (["--storage", "postgresql://me:secret@nowhere/db"], "Optuna is not installed"),
        (["--worker"], "--worker is for a study that others share: give --storage as well"),
        (["--resume"], "iris.study.jsonl: there is no study to go on with"),
        (["-o", "m.study.db"], "--output is m.study.db: models are written as .safetensors"),
        (["-o", "m.csv"], "--output is m.csv: models are written as .safetensors"),
        (["--hidden", "x"], "--hidden is 'x'"),
        (["--seed", "-1"], "--seed is -1: give 0 or more"),
    ],
)  # fmt: skip
def test_bad_options(run, options, message):  # noqa: F811
    code, out, err = run("tune", "iris", "--trials", "2", *SMALL, *NO_MORE, *options)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    assert message in line
    assert "secret" not in err
    assert os.listdir() == []


def press(monkeypatch, times=1, sent=signal.SIGINT, after=2):
    """Have Ctrl-C come in the search, when so many trials have ended."""
    watch = trials.TrialReporter.watch
    ended = []

    def pressed(self, trial):
        watch(self, trial)
        ended.append(trial)
        if len(ended) == after:
            for _ in range(times):
                signal.raise_signal(sent)

    monkeypatch.setattr(trials.TrialReporter, "watch", pressed)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_search_and_keeps_what_was_found(run, monkeypatch, sent):  # noqa: F811
    options = [*SMALL, "--no-halving", "--members", "2"]
    with monkeypatch.context() as patch:
        press(patch, sent=sent)
        code, out, err = run("tune", "iris", "--trials", "9", *options)
    assert (code, err) == (128 + sent, WITHOUT)
    reason = "Ctrl-C was pressed" if sent == signal.SIGINT else "SIGTERM came"
    assert f"{reason}: the search ends here" in out
    assert "saved iris.safetensors\n" in out
    assert f"{reason}: the rest was left out" in out
    assert "verdict" not in out
    command = re.search(r"^go on with: xpnet (tune iris .* --resume)$", out, re.MULTILINE)[1]
    assert xn.load_model("iris.safetensors", device="cpu")
    code, out, _ = run(*re.sub("'", "", command).split(), "--json", *NO_MORE)
    assert code == 0
    result = json.loads(out)
    alone = json.loads(
        run("tune", "iris", "--trials", "9", *options, "-o", "m.safetensors", "--json", *NO_MORE)[1]
    )
    assert [t["number"] for t in result["trials"]] == [*range(9)]
    for found, expected in zip(result["trials"], alone["trials"], strict=True):
        assert found["setting"]["learning_rate"] == expected["setting"]["learning_rate"]


def test_a_second_ctrl_c_quits_at_once_and_says_how_to_go_on(run, monkeypatch):  # noqa: F811
    press(monkeypatch, times=2)
    code, _, err = run("tune", "iris", "--trials", "9", *SMALL)
    assert code == 130
    assert "stopped at once by Ctrl-C: what was not saved is lost; go on with: xpnet tune" in err
    assert err.endswith("--resume\n")
    assert os.listdir() == ["iris.study.jsonl"]


def test_ctrl_c_in_the_verdict_leaves_it_out(run, monkeypatch):  # noqa: F811
    def compare(*_, **__):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it goes on")

    monkeypatch.setattr(search_run, "compare", compare)
    code, out, _ = run("tune", "iris", "--trials", "3", *SMALL)
    assert code == 130
    assert "Ctrl-C was pressed: the rest was left out" in out
    assert "go on with" not in out
    assert Path("iris.safetensors").exists()


def test_before_a_trial_has_ended_there_is_nothing_to_save(run, monkeypatch):  # noqa: F811
    ask = Search.run

    def pressed(self):
        signal.raise_signal(signal.SIGINT)
        ask(self)

    with monkeypatch.context() as patch:
        patch.setattr(search_run.Search, "run", pressed)
        code, out, _ = run("tune", "iris", "--trials", "3", *SMALL, "--json")
    assert code == 130
    result = json.loads(out)
    assert (result["best"], result["model"], result["interrupted"]) == (None, None, True)
    assert result["resume"].endswith("--resume")
    assert os.listdir() == ["iris.study.jsonl"]
    code, out, _ = run("tune", "iris", "--trials", "3", *SMALL, *NO_MORE, "--resume")
    assert code == 0
    assert "3 trials: " in out


def test_when_the_time_is_up(run):  # noqa: F811
    options = [*SMALL, "--time", "0.001", *NO_MORE]
    code, out, _ = run("tune", "digits", "--trials", "99", *options)
    assert code == 0
    assert "the time was up: the search ends here" in out
    assert "go on with: xpnet tune digits --trials 99" in out


needs_optuna = pytest.mark.skipif(not has_optuna, reason="Optuna is not installed (extra 'tune')")


@needs_optuna
@pytest.mark.filterwarnings("default")
class TestWithOptuna:
    @pytest.fixture
    def at_random(self):
        """Let it be there."""

    def test_all_of_it(self, run):  # noqa: F811
        options = [*SMALL, "--no-halving", "--repeats", "2"]
        code, out, err = run("tune", "iris", "--trials", "4", *options)
        assert (code, err) == (0, "")
        pictures = [f"iris.study.{of}.png" for of in ("history", "importances", "slices")]
        assert f"saved {', '.join(pictures)}\n" in out
        for picture in pictures:
            assert Path(picture).read_bytes().startswith(b"\x89PNG")
        files = {name for name in os.listdir() if not name.startswith("iris.study.db-")}
        assert files == {"iris.safetensors", "iris.study.db", *pictures}
        code, _, err = run("tune", "iris", "--trials", "4", *options)
        assert code == 2
        assert "iris.study.db: holds a study; go on with xpnet tune iris" in err
        code, out, err = run("tune", "iris", "--trials", "6", *options, "--resume")
        assert (code, err) == (0, "")
        assert "the study goes on: 4 trials: 4 trained to the end" in out

    def test_a_file_without_that_study_is_no_dead_end(self, run):  # noqa: F811
        options = ["--trials", "2", *SMALL, *NO_MORE]
        Path("iris.study.db").touch()  # a kill came before all else
        code, _, err = run("tune", "iris", *options, "--resume")
        assert (code, "there is no study 'iris' to go on with" in err) == (2, True)
        assert run("tune", "iris", *options)[0] == 0
        assert run("tune", "iris", *options)[0] == 2
        assert run("tune", "iris", *options, "--name", "other")[0] == 0
        both = [xn.load_study("iris.study.db", name) for name in ("iris", "other")]
        assert [len(study.trials) for study in both] == [2, 2]
        assert re.fullmatch(r"LoadedStudy\('iris' in .*iris\.study\.db, 2 trials\)", repr(both[0]))

    def test_a_study_that_several_share(self, run):  # noqa: F811
        options = [*SMALL, "--storage", "sqlite:///s.db", "--name", "both", *NO_MORE]
        code, out, err = run("tune", "iris", "--trials", "2", *options, "--worker")
        assert (code, err) == (0, "")
        assert "saved" not in out
        assert "s.db" in out
        assert os.listdir() == ["s.db"]
        code, out, err = run("tune", "iris", "--trials", "3", *options)  # which joins in
        assert (code, err) == (0, "")
        assert "the study goes on: 2 trials" in out
        model = xn.load_model("iris.safetensors", device="cpu")
        assert model.training["study"]["name"] == "both"

    def test_a_storage_that_cannot_be_reached(self, run):  # noqa: F811
        options = [*SMALL, "--storage", "sqlite:////no/such/folder/s.db"]
        code, _, err = run("tune", "iris", "--trials", "2", *options)
        assert code == 2
        assert err.count("\n") == 1
        assert "/no/such/folder/s.db" in err

    def test_a_password_is_not_shown(self, run, monkeypatch):  # noqa: F811
        options = ["--trials", "2", *SMALL, "--storage", "mysql+foo://me:secret@host/db"]
        code, out, err = run("tune", "iris", *options)
        assert code == 2
        assert "secret" not in out + err
        from xpnet.cli.search_plan import command_to_go_on

        assert "secret" not in command_to_go_on()
        assert "me:***@host/db" in command_to_go_on()


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_is_cut_off_goes_on(tmp_path, sent):
    options = ["digits", "--trials", "500", "--epochs", "30", "--members", "4", *SPACE]
    code, out, err = interrupted(tmp_path, options, "0 ", command="tune", sent=sent)
    assert code == 128 + sent
    assert "saved digits.safetensors" in out
    assert "go on with: xpnet tune digits" in out
    assert "Traceback" not in err
    assert xn.load_model(tmp_path / "digits.safetensors", device="cpu")


@pytest.mark.slow
@needs_signals
def test_a_search_that_is_killed_goes_on(tmp_path, run):  # noqa: F811
    options = ["digits", "--trials", "8", "--epochs", "4", "--members", "2", *SPACE]
    code, _, _ = interrupted(tmp_path, options, "1 ", command="tune", sent=signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, out, _ = interrupted(tmp_path, [*options, "--resume", *NO_MORE], "never", command="tune")
    assert code == 0
    (before, after) = re.findall(r"\d trials: .*", out)
    assert "not ended yet" in before
    assert after.startswith("8 trials: ")
    assert "not ended yet" not in after


class TestWhatIsShown:
    def test_how_many_ended_in_which_way(self):
        states = [State.COMPLETE, State.FAILED, State.RUNNING]
        found = trials.counted([Trial(i, {}, state) for i, state in enumerate(states)])
        assert found == "3 trials: 1 trained to the end, 1 failed, 1 not ended yet"
        assert trials.counted([]) == "no trials"

    def test_figures(self):
        percent, plain = (trials.Objective("x", p, True) for p in (True, False))
        assert (percent.told(0.125), plain.told(-12.34567), plain.told(None)) == (
            *("12.50%", "-12.346", "-"),
        )
        assert percent.better(0.1, None)
        assert percent.better(0.1, 0.2)
        assert not trials.Objective("x", False, False).better(0.1, 0.2)
        assert not percent.better(np.nan, 0.2)

    def test_nothing_of_a_wide_table_is_cut(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        out = console.Terminal(width=40)
        space = {f"number_{i}": xn.uniform(0, 1) for i in range(9)}
        trial = Trial(0, dict.fromkeys(space, 0.125), State.COMPLETE, 0.2, 3, 6)
        best = trials.best_table([trial], space, trials.Objective("error", True, True))
        console.print_whole(out, best)
        heading, row = capsys.readouterr().out.splitlines()
        assert heading.split()[-9:] == [*space]
        assert row.split() == ["0", "20.00%", "3", "of", "6", *["0.125"] * 9]

    def test_one_that_was_stopped_and_went_on_is_counted_once(self, capsys):
        out = console.make_console()
        reporter = trials.TrialReporter(
            out, {"l2": xn.uniform(0, 1)}, trials.Objective("error", True, True), 9
        )
        reporter.watch(Trial(0, {"l2": 0.5}, State.STOPPED, 0.3, 1, 2))
        reporter.watch(Trial(0, {"l2": 0.5}, State.COMPLETE, 0.2, 3, 6))
        _, first, second = capsys.readouterr().out.splitlines()
        assert first.endswith("0.5  stopped")
        assert second.endswith("0.5  went on, best so far")
        (task,) = reporter._progress.tasks
        assert task.completed == 1

    def test_the_best_so_far_is_one_that_was_trained_to_its_end(self, capsys):
        out = trials.TrialReporter
        shown = []

        class Lines:
            is_terminal, quiet = False, True

            def print(self, line):
                shown.append(line)

        from rich.console import Console

        terminal = Console(quiet=True)
        reporter = out(terminal, {"l2": xn.uniform(0, 1)}, trials.Objective("error", True, True), 9)
        reporter._console = Lines()
        states = [State.STOPPED, State.COMPLETE, State.COMPLETE, State.COMPLETE]
        heading = "trial  epochs  dev error         l2"
        for i, (state, value) in enumerate(zip(states, [0.1, 0.3, 0.3, 0.2], strict=True)):
            reporter.watch(Trial(i, {"l2": 0.5}, state, value, 1, 2))
        assert shown.pop(0) == heading
        assert ["best so far" in line for line in shown] == [False, True, False, True]
        assert {line.index("0.5") + 3 for line in shown} == {len(heading)}
