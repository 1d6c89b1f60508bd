"""The command line as a user meets it: what it writes, what it says, and with which exit code."""

import csv
import errno
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import plain
from rich.console import Console

import xpnet as xn
from xpnet.analysis import plots, profile_result
from xpnet.backends.select import why_no_cuda
from xpnet.cli import app, console
from xpnet.files import atomic
from xpnet.recipes import settings
from xpnet.tabular import experiment, readers

QUICK = ["--hidden", "8", "--epochs", "2", "--device", "cpu"]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["xpnet", *plain(arguments)])
        code = 0
        try:
            app.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return command


@pytest.fixture
def table(tmp_path):
    """Write a small table with text, gaps and three classes that can be told apart."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 120)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "colour", "kind"])
        for k in label:
            size = "" if rng.random() < 0.1 else round(float(k + 0.1 * rng.normal()), 4)
            writer.writerow([size, ["red", "green", "blue"][k], ["low", "mid", "high"][k]])
    return "table.csv"


def test_digits_below_three_per_cent(run):
    """The main job, with its defaults."""
    code, out, err = run("train", "digits", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["results"]["test"]["error"] < 0.03
    assert result["results"]["train"]["error"] < 0.01
    assert result["examples"] == {"train": 1078, "dev": 360, "test": 359}
    assert len(result["history"]) == 30


def test_train_says_what_it_does(run):
    code, out, err = run("train", "iris", *QUICK)
    assert (code, err) == (0, "")
    assert "training on the CPU with NumPy" in out
    assert "iris: 90 train + 30 dev + 30 test examples, multiclass with 3 classes" in out
    assert "network 4-8-3, 67 parameters" in out
    rows = [line.split() for line in out.splitlines() if line.strip()[:1] in ("1", "2")]
    assert [row[0] for row in rows] == ["1", "2"]
    for word in ("verdict:", "train ", "dev ", "test ", "saved iris.safetensors and iris.png"):
        assert word in out
    assert "\x1b" not in out
    assert Path("iris.png").read_bytes().startswith(b"\x89PNG")
    assert xn.load("iris.safetensors", device="cpu").n_outputs == 3


@pytest.mark.skipif(why_no_cuda() is None, reason="there is a GPU")
def test_says_why_no_gpu(run):
    _, out, _ = run("train", "iris", "--hidden", "8", "--epochs", "1")
    assert out.startswith(f"CUDA: {why_no_cuda()}, training on the CPU with NumPy")
    code, _, err = run("train", "iris", "--device", "cuda")
    assert code == 2
    assert err.startswith("error: device is 'cuda', but CUDA:")


def test_quiet(run):
    assert run("train", "iris", "--quiet", "-o", "m.safetensors", *QUICK) == (0, "", "")
    assert Path("m.safetensors").exists()
    assert Path("m.png").exists()


def test_json_alone_on_the_output(run):
    code, out, _ = run("train", "wine", "--json", *QUICK)
    assert code == 0
    result = json.loads(out)
    assert set(result["results"]) == {"train", "dev", "test"}
    assert result["settings"]["hidden"] == [8]
    assert result["history"][1]["epoch"] == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--hidden", "none"],
        ["--hidden", "16,8", "--activation", "tanh", "--batch-norm"],
        ["--activation", "leaky_relu", "--dropout", "0.2", "--l2", "0.1"],
        ["--activation", "sigmoid", "--optimizer", "sgd", "--learning-rate", "0.1"],
        ["--optimizer", "momentum", "--schedule", "exponential:decay=0.9"],
        ["--optimizer", "rmsprop", "--schedule", "cosine:warm_up=1"],
        ["--schedule", "log-cosine:cycles=2"],
        ["--schedule", "one-cycle"],
        ["--schedule", "flat-cosine:flat=0.2"],
        ["--schedule", "piecewise:1=0.0001", "--batch-size", "16"],
        ["--schedule", "inverse-time:decay=0.5,per=step", "--dtype", "float64", "--seed", "7"],
        ["--optimizer", "sgd:momentum=0.9,nesterov=true", "--learning-rate", "0.01"],
        ["--optimizer", "rmsprop:beta=0.8", "--activation", "leaky_relu:negative_slope=0.2"],
        ["--optimizer", "adamw:weight_decay=0.01", "--activation", "gelu:approximate=tanh"],
        ["--loss", "softmax_cross_entropy:label_smoothing=0.1", "--activation", "gelu_tanh"],
        ["--schedule", "inverse-square-root", "--task", "multiclass", "--goal", "0.05"],
        ["--input-dropout", "0.1", "--hidden", "16,8", "--dropout", "0.2,0"],
        ["--augment", "noise:0.1,mixup", "--patience", "1"],
        ["--augment", "cutout:1,flip", "--image-shape", "13x1"],
    ],
)
def test_options(run, options):
    code, out, err = run("train", "wine", *QUICK, *options)
    assert (code, err) == (0, "")
    assert "verdict" in out


def test_each_layer_may_have_its_own_dropout(run):
    options = ["--input-dropout", "0.25", "--hidden", "6,5,4", "--dropout", "0.5,0,0.125"]
    run("train", "wine", "--epochs", "1", "-q", *options)
    network = xn.load("wine.safetensors", device="cpu")
    assert [
        (layer.index, layer.p) for layer in network.layers if isinstance(layer, xn.Dropout)
    ] == [(0, 0.25), (3, 0.5), (8, 0.125)]


def test_of_several_lambdas_the_best_on_the_development_set_is_kept(run):
    values = ["0", "3", "1000"]
    found = {}
    for value in values:
        _, out, _ = run(
            "train", "wine", *QUICK, "--l2", value, "--json", "-o", f"{value}.safetensors"
        )
        found[value] = json.loads(out)["results"]
    code, out, err = run("train", "wine", *QUICK, "--l2", ",".join(values), "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert [row["l2"] for row in result["l2_choice"]] == [0.0, 3.0, 1000.0]
    for row, value in zip(result["l2_choice"], values, strict=True):
        assert row["dev_error"] == found[value]["dev"]["error"]
        assert row["train_loss"] == pytest.approx(found[value]["train"]["loss"], rel=1e-6)
    chosen = min(values, key=lambda v: (found[v]["dev"]["error"], found[v]["dev"]["loss"]))
    assert result["settings"]["l2"] == float(chosen)
    assert result["results"] == found[chosen]
    assert len(result["history"]) == 2
    # The file is the winner's, and says so.
    model = xn.load_model("wine.safetensors", device="cpu")
    assert model.training["settings"]["l2"] == float(chosen)
    winner = xn.load(f"{chosen}.safetensors", device="cpu")
    np.testing.assert_array_equal(model.network.parameters, winner.parameters)


def test_several_lambdas_are_shown_in_a_table(run):
    _, out, _ = run("train", "wine", *QUICK, "--l2", "0,1")
    lines = [line.split() for line in out.splitlines()]
    assert ["λ", "train", "loss", "train", "error", "dev", "loss", "dev", "error"] in lines
    assert [line[0] for line in lines if len(line) == 5 and line[-1].endswith("%")][:2] == [
        "0",
        "1",
    ]
    assert "chosen on the development set: λ = " in out


def test_a_lambda_that_diverges_is_shown_as_such(run):
    options = ["--optimizer", "sgd", "--learning-rate", "0.1", "--epochs", "60"]
    code, out, err = run("train", "wine", *options, "--l2", "1e9,0")
    assert (code, err) == (0, "")
    assert "1e+09  the training diverged" in out
    assert "λ = 0" in out
    code, out, err = run("train", "wine", *options, "--l2", "1e9,1e10", "-o", "none.safetensors")
    assert code == 2
    assert "the training diverged for every λ" in err
    assert not Path("none.safetensors").exists()


def test_patience_ends_the_training_and_says_so(run):
    _, out, _ = run("train", "diabetes", "--patience", "3", "--device", "cpu")
    stopped, best = re.search(
        r"stopped in epoch (\d+): no better dev_loss since epoch (\d+)\n"
        r"the weights are those of epoch \2\n",
        out,
    ).groups()
    assert int(stopped) == int(best) + 3


def test_augmentation_changes_the_training_alone(run):
    options = ["train", "digits", "--epochs", "2", "--json", "--device", "cpu"]
    plain = json.loads(run(*options)[1])
    augmented = json.loads(run(*options, "--augment", "shift:1", "--image-shape", "8x8")[1])
    assert plain["settings"]["augment"] == ""
    assert augmented["settings"]["augment"] == "shift:1"
    assert augmented["settings"]["image_shape"] == [8, 8]
    losses = [run["history"][0]["train_loss"] for run in (plain, augmented)]
    assert losses[1] > losses[0]


def interrupted(folder, arguments, line, delay=0.0, command="train", sent=signal.SIGINT):
    """Run a command, press Ctrl-C when a line comes that begins so; return code, output, errors."""
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet", *plain([command, *arguments]), "--device", "cpu"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = []
    for text in process.stdout:
        before.append(text)
        if " ".join(text.split()).startswith(line):
            break
    time.sleep(delay)
    process.send_signal(sent)
    out, err = process.communicate()
    return process.returncode, "".join(before) + out, err


needs_signals = pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_that_ends_at_once_says_so(run, monkeypatch, presses):
    """A second one in the training, or one before it."""

    def press(*_, **__):
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(
        *((readers, "read") if presses == 1 else (experiment.Experiment, "run")), press
    )
    code, _, err = run("train", "iris", *QUICK)
    assert (code, err) == (130, "stopped at once by Ctrl-C: what was not saved is lost\n")
    assert os.listdir() == []


def test_ctrl_c_while_the_options_are_read(run, monkeypatch):
    monkeypatch.setattr(app, "__version__", Pressed())
    code, out, err = run("--version")
    assert (code, out) == (130, "")
    assert err == "stopped at once by Ctrl-C: what was not saved is lost\n"


class Pressed:
    """Presses Ctrl-C when it is shown."""

    def __format__(self, how):
        signal.raise_signal(signal.SIGINT)
        return ""


def test_the_bar_moves_in_epochs_that_are_shorter_than_a_glance(monkeypatch):
    monkeypatch.setattr(console, "GLANCE", math.inf)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    reporter = console.Reporter(terminal, "error")
    seen = []

    def look(trainer, row):
        (task,) = reporter._progress.tasks
        seen.append(task.completed)
        assert task.fields["speed"] == row["samples_per_second"]

    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device="cpu")
    figures = {"train_error": 0.0, "dev_error": 0.0, "dev_loss": 0.0}
    monkeypatch.setattr(console, "_figures", lambda row: str(row | figures))
    xn.Trainer(net).fit(GOOD[0], GOOD[0][:, 0], batch_size=40, epochs=3, callbacks=[reporter, look])
    assert seen == [40, 80, 120]


@pytest.mark.slow
@needs_signals
def test_ctrl_c_ends_a_choice_of_lambda_too(tmp_path):
    options = ["digits", "--epochs", "4000", "--l2", "0,1,2,3"]
    code, out, err = interrupted(tmp_path, options, "λ train loss", delay=1.0)
    assert (code, err) == (130, "")
    # All were trained at once, and are cut short at the same update: the best of them is kept.
    assert out.count("cut short") == 4
    chosen = float(re.search(r"chosen on the development set: λ = (\d)\n", out)[1])
    model = xn.load_model(tmp_path / "digits.safetensors", device="cpu")
    assert model.training["settings"]["l2"] == chosen
    assert "saved digits.safetensors" in out


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("line", ["train 1,078", "verdict:"])
def test_ctrl_c_after_the_training_loses_nothing(tmp_path, line):
    code, out, err = interrupted(tmp_path, ["digits", "--epochs", "3"], line)
    assert (code, err) == (130, "")
    assert "saved digits.safetensors and digits.png" in out
    assert xn.load_model(tmp_path / "digits.safetensors", device="cpu")
    assert (tmp_path / "digits.png").stat().st_size > 1000


@pytest.mark.slow
@needs_signals
def test_ctrl_c_in_a_learning_curve_keeps_what_there_is(tmp_path):
    options = ["digits", "--epochs", "100", "--learning-curve", "--hidden", "64"]
    code, out, err = interrupted(tmp_path, options, "216 ")
    assert (code, err) == (130, "")
    assert "saved digits.curve.png" in out
    assert out.count("cut short") == 1


@pytest.mark.slow
def test_a_program_is_told_of_interrupts_and_of_the_best_epoch(run):
    options = ["--epochs", "60", "--patience", "3", "--l2", "0,0.1,1,10,100"]
    _, out, _ = run("train", "breast_cancer", *options, "--json")
    result = json.loads(out)
    assert result["interrupted"] is False
    # Of the chosen λ, not of the last one.
    losses = [row["dev_loss"] for row in result["history"]]
    assert result["best_epoch"] == 1 + losses.index(min(losses))
    _, out, _ = run("train", "breast_cancer", *options)
    best = int(re.search(r"no better dev_loss since epoch (\d+)", out)[1])
    assert f"the weights are those of epoch {best}\n" in out


def test_early_stopping_s_best_weights_are_saved_when_the_loss_diverges(run):
    options = ["--patience", "9", "--optimizer", "sgd", "--learning-rate", "0.1", "--epochs", "20"]
    code, _, err = run("train", "digits", *options, "--schedule", "piecewise:6=1e25")
    assert code == 2
    told = re.search(r"Early stopping brought those of epoch (\d) back. They are saved", err)
    best = int(told[1])
    run("train", "digits", *options[2:-1], str(best), "-o", "short.safetensors")
    kept, short = (xn.load(f"{n}.safetensors", device="cpu") for n in ("digits", "short"))
    np.testing.assert_array_equal(kept.parameters, short.parameters)


def test_if_every_lambda_diverges_late_the_last_good_weights_are_saved(run):
    options = ["--schedule", "piecewise:10=1e30", "--optimizer", "sgd", "--batch-size", "8"]
    code, _, err = run("train", "diabetes", *options, "--epochs", "20", "--l2", "0,1")
    assert code == 2
    assert "diverged for every λ" in err
    assert "They are saved in diabetes.safetensors" in err
    assert Path("diabetes.safetensors").exists()


def test_too_few_examples_for_a_curve_are_refused_before_the_training(run, monkeypatch):
    # As if it took all examples to see two labels.
    monkeypatch.setattr(experiment, "smallest_part", lambda y, order: len(order))
    _save(X=GOOD[0][:10], y=np.arange(10) % 2)
    code, out, err = run("train", "d.npz", *QUICK, "--learning-curve")
    assert (code, out) == (2, "")
    assert "are too few for a learning curve" in err
    assert not Path("d.safetensors").exists()


def test_a_curve_leaves_out_sizes_without_two_labels(run):
    y = np.zeros(200, int)
    y[::20] = 1
    _save(X=np.random.default_rng(0).normal(size=(200, 3)), y=y)
    _, out, _ = run("train", "d.npz", *QUICK, "--learning-curve", "--json")
    result = json.loads(out)
    assert [row["examples"] for row in result["learning_curve"]][-1] == 120
    assert result["curve_picture"] == "d.curve.png"
    assert Path("d.curve.png").exists()


def test_the_last_point_of_a_curve_is_the_model(run):
    _, out, _ = run("train", "wine", "--epochs", "5", "--learning-curve", "--json")
    result = json.loads(out)
    last = result["learning_curve"][-1]
    for part in ("train", "dev"):
        assert last[f"{part}_error"] == result["results"][part]["error"]
        assert last[f"{part}_loss"] == pytest.approx(result["results"][part]["loss"], rel=1e-6)


def test_a_curve_s_trainings_are_as_long_as_the_model_s(run):
    options = ["--patience", "2", "--epochs", "300", "--learning-rate", "0.01"]
    _, out, _ = run("train", "diabetes", *options, "--learning-curve", "--json")
    result = json.loads(out)
    assert result["stopped"]
    assert result["learning_curve"][-1]["epochs"] == len(result["history"]) < 300


def test_pictures_of_two_models_are_two(run):
    for name in ("v1.2", "v1.3"):
        run("train", "wine", *QUICK, "-q", "-o", name)
    assert {p.name for p in Path().iterdir()} >= {"v1.2", "v1.2.png", "v1.3", "v1.3.png"}


@pytest.mark.slow
def test_output_without_greek_letters(tmp_path):
    environment = dict(os.environ, PYTHONIOENCODING="ascii", PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, "-m", "xpnet", *plain(["train", "wine", *QUICK, "--l2", "0,1"])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "chosen on the development set: ? = " in done.stdout


def test_without_a_command_there_is_help(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "Usage" in out


def test_schedules_are_shown_with_formula_and_picture(run):
    code, out, err = run("info", "--schedules", "--picture", "schedules.png")
    assert (code, err) == (0, "")
    for name in settings.SCHEDULES:
        assert re.search(rf"^{name}.*α", out, re.MULTILINE)
    assert out.endswith("\nsaved schedules.png\n")
    assert Path("schedules.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    rows = json.loads(run("info", "--schedules", "--json")[1])["schedules"]
    assert rows[2]["rates"][:2] == [0.1, 0.095]
    assert {len(row["rates"]) for row in rows} == {101}


def test_every_schedule_has_an_example():
    assert settings.SCHEDULE_EXAMPLES.keys() == settings.SCHEDULES.keys()
    for name, example in settings.SCHEDULE_EXAMPLES.items():
        assert isinstance(settings.parse_schedule(example, 0.1, 100), settings.SCHEDULES[name])


@pytest.mark.slow
def test_initial_weights_are_shown_with_a_picture(run):
    code, out, err = run("info", "--initializers", "--picture", "initial.png")
    assert (code, err) == (0, "")
    assert re.search(r"relu +He\(slope=0.0\) +1 ", out)
    assert Path("initial.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_rate_follows_the_schedule(run):
    _, out, _ = run("train", "wine", *QUICK, "--schedule", "piecewise:1=0.0004", "--json")
    assert [row["learning_rate"] for row in json.loads(out)["history"]] == [0.001, 0.0004]


@pytest.mark.parametrize(
    ("data", "task"), [("breast_cancer", "binary"), ("diabetes", "regression")]
)
def test_other_tasks(run, data, task):
    _, out, _ = run("train", data, *QUICK, "--json")
    assert json.loads(out)["task"] == task
    code, out, _ = run("evaluate", f"{data}.safetensors", data)
    assert code == 0
    assert ("r2" if task == "regression" else "benign") in out
    _, out, _ = run("predict", f"{data}.safetensors", data)
    assert out.startswith("prediction\n" if task == "regression" else "prediction,p(benign),p(mal")


def test_raw_rows_of_a_table(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    code, out, _ = run(
        "train", table, "--target", "kind", "--epochs", "40", "--device", "cpu", "--json"
    )
    assert code == 0
    assert json.loads(out)["results"]["test"]["error"] == 0.0
    # Rows to predict need no label column, may come in another order, and have gaps.
    Path("new.csv").write_text("colour,size\nred,0.0\ngreen,\nblue,2.0\n")
    code, _, _ = run("predict", "table.safetensors", "new.csv", "-o", "out.csv")
    assert code == 0
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == ["low", "mid", "high"]
    for row in rows:
        p = {k: float(v) for k, v in row.items() if k.startswith("p(")}
        assert sum(p.values()) == pytest.approx(1.0)
        assert max(p, key=p.get) == f"p({row['prediction']})"


def test_evaluate_says_where_a_model_is_too_old_to_know_its_data(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    assert run("train", table, "--target", "kind", *QUICK)[0] == 0
    model = xn.load_model("table.safetensors", device="cpu")
    model.training["fingerprint"] = "0123456789abcdef"  # as they were once
    model.save("table.safetensors")
    for options in ([], ["--part", "test"], ["--part", "train"]):
        code, out, err = run("evaluate", "table.safetensors", table, *options)
        assert (code, out) == (2, "")
        assert "a fingerprint of an older kind, 0123456789abcdef, which does not say" in err
    assert run("evaluate", "table.safetensors", table, "--part", "all")[0] == 0


def test_evaluate_takes_the_part_that_was_not_trained_on(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    _, out, _ = run("train", table, "--target", "kind", *QUICK, "--json")
    trained = json.loads(out)
    for part, options in (("test", []), ("train", ["--part", "train"])):
        code, out, _ = run("evaluate", "table.safetensors", table, "--json", *options)
        assert code == 0
        measured = json.loads(out)
        assert measured["examples"] == trained["examples"][part]
        assert measured["error"] == pytest.approx(trained["results"][part]["error"])
        assert np.sum(measured["confusion_matrix"]) == trained["examples"][part]
    _, out, _ = run("evaluate", "table.safetensors", table, "--part", "all", "--json")
    assert json.loads(out)["examples"] == 120


def test_test_set_of_a_file(run):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 4)), rng.integers(0, 2, 100)
    np.savez("d.npz", X_train=X[:80], y_train=y[:80], X_test=X[80:], y_test=y[80:])
    _, out, _ = run("train", "d.npz", *QUICK, "--json")
    trained = json.loads(out)
    assert trained["examples"] == {"train": 64, "dev": 16, "test": 20}
    _, out, _ = run("evaluate", "d.safetensors", "d.npz", "--json")
    assert json.loads(out)["error"] == pytest.approx(trained["results"]["test"]["error"])


def test_model_of_the_python_interface(run):
    net = xn.Network([xn.Linear(3)], loss="softmax_cross_entropy", n_features=2, device="cpu")
    net.save("net.safetensors")
    X = np.random.default_rng(0).normal(size=(6, 2))
    np.savez("d.npz", X=X)
    _, out, _ = run("predict", "net.safetensors", "d.npz")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["prediction"]) for row in rows] == net.predict(X).tolist()


def test_same_seed_same_model(run):
    for name in ("a", "b"):
        run("train", "wine", *QUICK, "--dropout", "0.3", "-q", "-o", f"{name}.safetensors")
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_info(run):
    code, out, _ = run("info")
    assert code == 0
    for word in ("xpnet", "Python", "numpy", "blas", "thread", "backend cupy"):
        assert word in out
    assert json.loads(run("info", "--json")[1])["packages"]["numpy"] == np.__version__


def test_version_and_help(run):
    assert run("--version")[1] == f"xpnet {xn.__version__}\n"
    code, out, _ = run("--help")
    assert code == 0
    for command in ("train", "predict", "evaluate", "profile", "info"):
        assert command in out


def _save(**arrays):
    np.savez("d.npz", **arrays)


RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=(40, 3)), RNG.integers(0, 3, 40)
HOLES = GOOD[0].copy()
HOLES[1, 2] = np.nan
HOLES[2, 2] = np.inf


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((HOLES, GOOD[1]), [], "2 values that are NaN or infinite, in column 2 (2)"),
        ((GOOD[0], np.where(GOOD[1], np.nan, 0.5)), [], "the target has"),
        ((GOOD[0], GOOD[1] * 0), [], "one class only"),
        ((GOOD[0].astype(str), GOOD[1]), [], "text where numbers belong"),
        ((GOOD[0], GOOD[1][:9]), [], "X has 40 rows and y 9"),
        ((GOOD[0][:2], np.array([0, 9])), [], "leave a part empty"),
        (GOOD, ["--batch-size", "0"], "batch_size is 0"),
        (GOOD, ["--batch-size", "-4"], "batch_size is -4"),
        (GOOD, ["--batch-size", "big"], "--batch-size is 'big': give a whole number, or auto"),
        (GOOD, ["--batch-size", "1.5"], "--batch-size is '1.5'"),
        (GOOD, ["--batch-size", "1", "--batch-norm"], "batch norm needs at least 2"),
        (GOOD, ["--epochs", "0"], "epochs is 0"),
        (GOOD, ["--hidden", "8,x"], "--hidden is '8,x'"),
        (GOOD, ["--hidden", "0"], "--hidden is '0'"),
        (GOOD, ["--activation", "swosh"], "give one of relu"),
        (GOOD, ["--optimizer", "tiger"], "give one of sgd"),
        (GOOD, ["--schedule", "steep"], "give one of constant"),
        (GOOD, ["--schedule", "exponential:decay=2"], "(0, 1]"),
        (GOOD, ["--schedule", "cosine:colour=2"], "colour"),
        (GOOD, ["--learning-rate", "0"], "learning_rate is 0"),
        (GOOD, ["--dropout", "1"], "[0, 1)"),
        (GOOD, ["--dropout", "-0.1"], "[0, 1)"),
        (GOOD, ["--dropout", "0.1,0.2,0.3"], "there are 2 hidden layers"),
        (GOOD, ["--dropout", "0.1", "--hidden", "none"], "no hidden layer to drop from"),
        (GOOD, ["--dropout", "some"], "--dropout is 'some'"),
        (GOOD, ["--input-dropout", "1"], "[0, 1)"),
        (GOOD, ["--l2", "0,x"], "--l2 is '0,x'"),
        (GOOD, ["--l2", "1,1"], "give different values"),
        (GOOD, ["--l2", "0,-1"], "a value of l2 is -1"),
        (GOOD, ["--patience", "0"], "patience is 0"),
        (GOOD, ["--augment", "blur"], "augment has 'blur': give flip, shift"),
        (GOOD, ["--augment", "shift:1"], "give image_shape (--image-shape), as 28x28"),
        (GOOD, ["--augment", "shift:1.5", "--image-shape", "3x1"], "augment has 'shift:1.5'"),
        (GOOD, ["--augment", "shift:1", "--image-shape", "2x2"], "and X has 3"),
        (GOOD, ["--augment", "shift:1", "--image-shape", "3"], "--image-shape is '3'"),
        (GOOD, ["--image-shape", "0x3"], "--image-shape is '0x3'"),
        (
            GOOD,
            ["--image-shape", "3x1"],
            "image_shape is 3x1, and nothing is augmented: leave it out",
        ),
        (GOOD, ["--augment", ","], "augment has ''"),
        (
            GOOD,
            ["--augment", "shift:1", "--image-shape", "3x1"],
            "moves images of shape (3, 1) away",
        ),
        (GOOD, ["--patience", "1.5"], "--patience"),
        (GOOD, ["--nosuch"], "No such option"),
        (GOOD, ["--l2", "-1"], "l2 is -1"),
        (GOOD, ["--goal", "0"], "--goal is 0: give an error above 0 and below 1"),
        (GOOD, ["--goal", "2"], "--goal is 2"),
        (GOOD, ["--goal", "nan"], "--goal is nan"),
        (GOOD, ["--hidden", ""], "--hidden is '': give sizes such as 128,64, or none"),
        (GOOD, ["--clip-norm", "0"], "--clip-norm is 0: give a number above 0, or leave it out"),
        (GOOD, ["--clip-norm", "-1"], "--clip-norm is -1"),
        (GOOD, ["--checkpoint", ""], "--checkpoint is '': give a folder's name"),
        (GOOD, ["--optimizer", "rmsprop:gamma=1"], "gamma is no option of it; there are beta, eps"),
        (GOOD, ["--optimizer", "sgd:learning_rate=1"], "there are momentum, nesterov"),
        (GOOD, ["--optimizer", "sgd:nesterov=maybe"], "nesterov is 'maybe': give true or false"),
        (GOOD, ["--optimizer", "sgd:momentum=2"], "momentum is 2.0: give a number in [0, 1]"),
        (GOOD, ["--activation", "leaky_relu:slope=1"], "there are negative_slope"),
        (GOOD, ["--activation", "tanh:slope=1"], "slope is no option of it; there are none"),
        (GOOD, ["--activation", "leaky_relu:negative_slope=x"], "leaky_relu:negative_slope=x"),
        (GOOD, ["--activation", "gelu_tanh:approximate=none"], "approximate is no option of it"),
        (GOOD, ["--loss", "hinge"], "give one of softmax_cross_entropy, sigmoid_cross_entropy"),
        (GOOD, ["--loss", "mean_squared_error"], "give one of softmax_cross_entropy, sigm"),
        (GOOD, ["--schedule", "exponential:foo=1"], "foo is no option of it; there are decay, per"),
        (GOOD, ["--schedule", "constant:decay=1"], "decay is no option of it; there are none"),
        (GOOD, ["--dtype", "float16"], "give one of float32"),
        (GOOD, ["--seed", "-1"], "--seed is -1: give 0 or more"),
        (GOOD, ["--task", "ranking"], "give one of binary"),
        (GOOD, ["--device", "tpu"], "give 'auto'"),
        (GOOD, ["--target", "y"], "no named columns"),
        (GOOD, ["-o", "nosuch/m.safetensors"], "there is no folder nosuch"),
        (GOOD, ["-o", "."], "is a folder"),
    ],
)
def test_wrong_input(run, arrays, options, message):
    """One line, exit code 2, and found before anything is written."""
    _save(X=arrays[0], y=arrays[1])
    code, _, err = run("train", "d.npz", *options)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert os.listdir() == ["d.npz"]


@pytest.mark.parametrize(
    ("options", "option", "value"),
    [(["--epochs", "x"], "--epochs", "x"), (["--epochs", "4", "--goal=much"], "--goal", "much")],
)
def test_a_value_that_can_t_be_read_is_told(run, options, option, value):
    """Some versions of Typer say it themselves."""
    code, _, err = run("train", "iris", *options)
    assert code == 2
    assert re.fullmatch(rf"error: .*{option}\b.*'{value}'.*\n", err)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "nosuch.csv"], "no such file"),
        (["predict", "nosuch.safetensors", "digits"], "no such file"),
        (["predict", "broken.safetensors", "digits"], "not a whole safetensors file"),
        (["predict", "iris.safetensors", "digits"], "64 features and the model takes 4"),
        (["predict", "iris.safetensors", "iris", "-o", "out.txt"], "written as .csv"),
        (["predict", "iris.safetensors", "iris", "-o", "nosuch/out.csv"], "no folder"),
        (["evaluate", "iris.safetensors", "digits"], "labels that the model does not know"),
        (["evaluate", "iris.safetensors", "iris", "--part", "half"], "give train, dev, test"),
        (["evaluate", "iris.safetensors", "wine", "--part", "test"], "was not trained on wine"),
    ],
)
def test_wrong_files(run, command, message):
    run("train", "iris", *QUICK, "-q")
    Path("broken.safetensors").write_bytes(Path("iris.safetensors").read_bytes()[:200])
    code, _, err = run(*command)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_model_of_a_table_says_that_it_takes_one(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    run("train", table, "--target", "kind", "-q", *QUICK)
    _save(X=GOOD[0], y=GOOD[1])
    for command in (["evaluate"], ["predict"], ["profile", "--device", "cpu"]):
        code, out, err = run(command[0], "table.safetensors", "d.npz", *command[1:])
        assert (code, out) == (2, "")
        assert "trained on a table with named columns: give such a table" in err


def test_usage_errors_end_with_two(run):
    assert run("train", "iris", "--epochs", "many")[0] == 2
    assert run("fly")[0] == 2


class Full(atomic.Disk):
    """Has no room for files with some ending, but those whose names begin in a way."""

    def __init__(self, *endings, but=None):
        self._endings, self._but = endings, but

    def rename(self, old, new):
        spared = self._but is not None and new.name.startswith(self._but)
        if new.suffix in self._endings and not spared:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().rename(old, new)


@pytest.fixture
def full(monkeypatch):
    """Fill the disk, for files with some ending."""

    def fill(*endings, but=None):
        monkeypatch.setattr(atomic, "DISK", Full(*endings, but=but))

    return fill


def test_results_come_before_a_model_that_can_t_be_saved(run, full):
    full(".safetensors")
    why = "error: iris.safetensors: the model can't be saved (No space left on device)\n"
    code, out, err = run("train", "iris", *QUICK)
    assert (code, err) == (2, why)
    assert "verdict:" in out
    assert "saved" not in out
    code, out, err = run("train", "iris", "--json", *QUICK)
    assert (code, err) == (2, why)
    told = json.loads(out)
    assert (told["model"], told["picture"]) == (None, None)
    assert set(told["results"]) == {"train", "dev", "test"}
    assert os.listdir() == []


def test_without_a_picture_there_is_a_note(run, full):
    full(".png")
    code, out, err = run("train", "wine", *QUICK, "--learning-curve")
    assert code == 0
    reason = "can't be written (No space left on device): there is none"
    names = ["wine.png", "wine.curve.png"]
    assert err.splitlines() == [f"note: the picture {name} {reason}" for name in names]
    assert "saved wine.safetensors\n" in out
    assert os.listdir() == ["wine.safetensors"]
    result = json.loads(run("train", "wine", *QUICK, "--learning-curve", "--json")[1])
    assert (result["picture"], result["curve_picture"]) == (None, None)


@pytest.fixture
def failing_pictures(monkeypatch):
    """Have every picture fail."""

    def fail(*_, **__):
        raise ZeroDivisionError("no\x1b[2J ink")

    for name in ("training_history", "learning_curve", "schedules", "propagation", "throughput"):
        monkeypatch.setattr(plots, name, fail)


def test_a_picture_that_fails_takes_nothing_with_it(run, failing_pictures):
    reason = r"can't be drawn (no\x1b[2J ink): there is none"
    notes = [f"note: the picture wine.{name} {reason}" for name in ("png", "curve.png")]
    code, out, err = run("train", "wine", *QUICK, "--learning-curve")
    assert (code, err.splitlines()) == (0, notes)
    assert "saved wine.safetensors\n" in out
    code, out, err = run("train", "wine", *QUICK, "--learning-curve", "--json")
    assert (code, err.splitlines()) == (0, notes)
    result = json.loads(out)
    assert (result["picture"], result["curve_picture"]) == (None, None)
    assert len(result["learning_curve"]) > 1
    assert os.listdir() == ["wine.safetensors"]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_picture_of_schedules_may_fail(run, failing_pictures, more):
    code, out, err = run("info", "--schedules", "--picture", "p.png", *more)
    assert code == 0
    assert "inverse-time" in out
    assert "saved" not in out
    assert err == "note: the picture p.png can't be drawn (no\\x1b[2J ink): there is none\n"


@pytest.mark.slow
def test_the_picture_of_a_profile_may_fail(run, failing_pictures):
    files = ["--json", "p.json", "--picture", "p.png"]
    code, out, err = run(*PROFILE, "--layers", "4-3", "--max-batch", "2", *files)
    assert (code, err.count("note: the picture p.png can't be drawn")) == (0, 1)
    assert out.endswith("\n\nsaved p.json\n")
    assert os.listdir() == ["p.json"]


def test_a_name_like_a_broken_formula_is_drawn(run):
    np.savez("cost_$x_{$.npz", X=GOOD[0], y=GOOD[1])
    code, out, err = run("train", "cost_$x_{$.npz", *QUICK, "--learning-curve")
    assert (code, err) == (0, "")
    assert "saved cost_$x_{$.safetensors and cost_$x_{$.png\n" in out
    assert out.endswith("\nsaved cost_$x_{$.curve.png\n")


def test_predictions_that_can_t_be_written_leave_the_old_ones(run, full):
    run("train", "iris", *QUICK, "-q")
    Path("o.csv").write_text("old")
    full(".csv")
    code, out, err = run("predict", "iris.safetensors", "iris", "-o", "o.csv")
    assert (code, out, err) == (2, "", "error: o.csv: No space left on device\n")
    assert Path("o.csv").read_text() == "old"


def test_read_only_folder_is_found_before_training(run, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic.DISK, "create", refuse)
    code, out, err = run("train", "iris", *QUICK)
    why = "error: iris.safetensors: can't be written (Read-only file system)\n"
    assert (code, out, err) == (2, "", why)


@pytest.mark.skipif(os.name != "posix", reason="names are as long as POSIX's disks take them")
@pytest.mark.parametrize("what", ["model", "picture"])
def test_a_name_that_is_too_long_is_found_before_training(run, what):
    most = os.pathconf(".", "PC_NAME_MAX")
    name = "n" * (most + 1 if what == "model" else most)  # the picture's is longer
    code, out, err = run("train", "iris", *QUICK, "-o", name)
    assert (code, out) == (2, "")
    assert "File name too long" in err
    code, _, err = run("train", "iris", *QUICK, "-o", f"{'n' * (most - 12)}.safetensors")
    assert (code, err) == (0, "")


def test_batch_larger_than_the_set_trains_on_one(run):
    code, _, err = run("train", "iris", *QUICK, "--batch-size", "1000")
    assert code == 0
    assert err == "note: batch_size is 1000 and there are 90 examples: training on one batch\n"


def test_diverging_run(run):
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--batch-size", "8"]
    code, _, err = run("train", "diabetes", *options, "--device", "cpu")
    assert code == 2
    assert "the loss turned NaN or infinite in epoch 1, step" in err
    assert "Try a smaller learning rate (it was 1e+30)" in err
    assert "nothing is saved" in err
    assert not Path("diabetes.safetensors").exists()


def test_diverging_later_saves_the_last_good_weights(run):
    # 34 batches an epoch: harmless for 10 epochs, then a rate that no network survives.
    options = ["--schedule", "piecewise:10=1e30", "--optimizer", "sgd", "--batch-size", "8"]
    code, _, err = run("train", "diabetes", *options, "--epochs", "20", "--device", "cpu")
    assert code == 2
    assert "They are saved in diabetes.safetensors" in err
    net = xn.load("diabetes.safetensors", device="cpu")
    assert np.isfinite(net.parameters).all()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_ctrl_c_saves_what_there_is(tmp_path):
    command = [sys.executable, "-m", "xpnet", *plain(["train", "digits", "--epochs", "400"])]
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        [*command, "--device", "cpu"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.split()[:1] == ["2"]:  # the second epoch is through
            break
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert err == ""
    assert re.search(r"stopped in epoch \d+: Ctrl-C was pressed", out)
    assert "verdict" in out
    assert "saved digits.safetensors" in out
    model = xn.load_model(tmp_path / "digits.safetensors", device="cpu")
    assert np.isfinite(model.network.parameters).all()


def test_a_column_that_was_left_out_stays_out(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    run("train", table, "--target", "kind", "--drop", "colour", "-q", *QUICK)
    _, out, _ = run("evaluate", "table.safetensors", table, "--json")
    assert json.loads(out)["examples"] == 24
    assert "test set" in json.loads(out)["part"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "table.csv", "--target", "kind", "-o", "table.csv"], "written over table.csv"),
        (["train", "iris", "-o", "m.png"], "models are written as .safetensors"),
        (["train", "iris", "-o", "reg.CSV"], "models are written as .safetensors"),
        (["train", "iris", "-o", "pipe"], "is no plain file"),
        (["predict", "iris.safetensors", "table.csv", "-o", "table.csv"], "written over table.csv"),
    ],
)
def test_nothing_is_written_over_what_is_read(run, table, arguments, message):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names on this system")
    os.mkfifo("pipe")
    run("train", "iris", "-q", *QUICK)
    before = Path("table.csv").read_bytes()
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert Path("table.csv").read_bytes() == before


def test_labels_are_shown_as_they_are(run):
    label = np.where(GOOD[1] > 0, "[/low]", ":smile: a long label that is not cut")
    _save(X=GOOD[0], y=label)
    run("train", "d.npz", "-q", *QUICK)
    code, out, err = run("evaluate", "d.safetensors", "d.npz")
    assert (code, err) == (0, "")
    assert out.count("[/low]") == 3
    assert out.count(":smile: a long label that is not cut") == 3


@pytest.mark.parametrize(
    "y",
    [
        np.array([b"a", b"b"] * 20),
        np.array([-1, 7] * 20),
        np.array([0.5, 1.5] * 20),
        np.array([True, False] * 20),
    ],
)
def test_labels_of_any_kind(run, y):
    _save(X=GOOD[0], y=y)
    assert run("train", "d.npz", "-q", "--task", "binary", *QUICK)[0] == 0
    code, _, err = run("evaluate", "d.safetensors", "d.npz")
    assert (code, err) == (0, "")


def test_dates_are_no_labels(run):
    _save(X=GOOD[0], y=np.arange(40).astype("M8[D]"))
    code, _, err = run("train", "d.npz")
    assert code == 2
    assert "the target has dtype datetime64" in err


def test_a_slip_in_a_column_of_numbers(run):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rows = "".join(f"{i}.5,{i % 2}\n" for i in range(60))
    Path("d.csv").write_text(f"a,y\n{rows}12x,1\n")
    code, _, err = run("train", "d.csv", "--target", "y")
    assert code == 2
    assert "column 'a' holds text where numbers belong: 1 value such as '12x'" in err


def test_outputs_of_different_scales(run):
    z = np.random.default_rng(0).normal(size=(300, 2))
    _save(X=z, y=np.column_stack([1e6 + z[:, 0], 1e-3 * z[:, 1]]))
    _, out, _ = run("train", "d.npz", "--json", "--epochs", "60", "--device", "cpu")
    assert json.loads(out)["results"]["test"]["error"] < 0.02
    _, out, _ = run("predict", "d.safetensors", "d.npz")
    rows = np.array([[float(v) for v in line.split(",")] for line in out.splitlines()[1:]])
    np.testing.assert_allclose(rows[:, 0] - 1e6, z[:, 0], atol=0.5)
    np.testing.assert_allclose(1e3 * rows[:, 1], z[:, 1], atol=0.5)


def test_a_target_that_is_constant_in_a_part(run):
    y = np.zeros(100)
    y[3] = 0.5
    _save(X=np.random.default_rng(0).normal(size=(100, 2)), y=y)
    code, _, err = run("train", "d.npz", "--task", "regression")
    assert code == 2
    assert "in every row of the" in err


def test_all_of_a_file_with_a_test_set(run):
    _save(X_train=GOOD[0], y_train=GOOD[1], X_test=GOOD[0][:7], y_test=GOOD[1][:7])
    run("train", "d.npz", "-q", *QUICK)
    _, out, _ = run("evaluate", "d.safetensors", "d.npz", "--part", "all", "--json")
    assert json.loads(out)["examples"] == 47
    _, out, _ = run("predict", "d.safetensors", "d.npz")
    assert len(out.splitlines()) == 1 + 7


def test_cosine_by_step_lasts_for_the_run(run):
    options = ["--schedule", "cosine:per=step", "--hidden", "8", "--epochs", "4", "--json"]
    _, out, _ = run("train", "wine", *options, "--device", "cpu")
    rates = [row["learning_rate"] for row in json.loads(out)["history"]]
    assert rates == sorted(rates, reverse=True)
    assert rates[-2] > 0


def test_a_table_without_the_column_that_was_left_out(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    run("train", table, "--target", "kind", "--drop", "colour", "-q", *QUICK)
    Path("new.csv").write_text("kind,size\nlow,0.0\nhigh,2.0\n")
    code, out, err = run("evaluate", "table.safetensors", "new.csv", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["examples"] == 2


def test_columns_in_another_order_are_the_same_data(run, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    run("train", table, "--target", "kind", "-q", *QUICK)
    rows = [line.split(",") for line in Path(table).read_text().splitlines()]
    Path("other.csv").write_text("".join(f"{c},{b},{a}\n" for a, b, c in rows))
    _, out, _ = run("evaluate", "table.safetensors", "other.csv", "--json")
    assert json.loads(out)["examples"] == 24


def test_a_target_of_another_width(run):
    z = np.random.default_rng(0).normal(size=(100, 2))
    _save(X=z, y=z)
    run("train", "d.npz", "-q", *QUICK)
    np.savez("one.npz", X=z, y=z[:, 0])
    code, _, err = run("evaluate", "d.safetensors", "one.npz")
    assert code == 2
    assert "the target has 1 columns and the model predicts 2" in err


def test_a_batch_size_is_measured_whatever_the_schedule(run):
    """However long its warm-up is: how many steps there will be is not known yet."""
    for schedule in ("cosine:warm_up=3", "cosine:warm_up=40,per=step"):
        options = ["--epochs", "5", "--batch-size", "auto", "--schedule", schedule, "--json"]
        code, out, err = run("train", "iris", "--hidden", "8", "--device", "cpu", *options)
        assert (code, err) == (0, "")
        rates = [row["learning_rate"] for row in json.loads(out)["history"]]
        assert max(rates) > 0.0008 > rates[0]


# -- profile, and the batch size that is measured ----

#: Of a small network, with little time: what matters is what is said, not what is measured.
PROFILE = ["profile", "--device", "cpu", "--threads", "1", "--seconds", "0.2"]


@pytest.mark.slow
def test_profile_shows_tables_and_advice(run):
    code, out, err = run(*PROFILE, "--layers", "4-8-3", "--batch-norm", "--max-batch", "16")
    assert (code, err) == (0, "")
    assert out.startswith("4-8-3: 75 parameters, float32")
    for mode in ("training", "prediction"):
        assert f"{mode} on the CPU with NumPy" in out
        assert re.search(rf"^{mode.capitalize()}: use batches of \d+ on cpu", out, re.MULTILINE)
    rows = re.findall(r"^ *(\d+) +[\d.]+ +[\d.]+ to [\d.]+ +[\d,]+ +\d+% +(\w+) ", out, re.M)
    assert rows[0][0] == "2"
    assert {bound for _, bound in rows} <= {"launch", "compute"}
    assert out.count("← knee") == 2
    assert "throughput is not accuracy" in out
    assert "\x1b" not in out
    assert os.listdir() == []


@pytest.mark.slow
def test_profile_writes_json_and_a_picture(run):
    files = ["--json", "p.json", "--picture", "p.png"]
    code, out, err = run(*PROFILE, "--layers", "4-8-3", "--max-batch", "4", *files)
    assert (code, err) == (0, "")
    assert out.endswith("saved p.json and p.png\n")
    document = json.loads(Path("p.json").read_text("utf-8"))
    assert document["format"] == profile_result.FORMAT
    assert document["interrupted"] is False
    assert document["machine"]["packages"]["numpy"] == np.__version__
    assert [s["mode"] for s in document["series"]] == ["training", "prediction"]
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "modes"),
    [
        (["--train"], ["training"]),
        (["--predict"], ["prediction"]),
        (["--train", "--predict"], ["training", "prediction"]),
    ],
)
def test_profile_of_one_mode_as_json_alone(run, options, modes):
    code, out, err = run(*PROFILE, "--layers", "4-3", "--max-batch", "2", "--json", "-", *options)
    assert (code, err) == (0, "")
    assert [s["mode"] for s in json.loads(out)["series"]] == modes


@pytest.mark.slow
def test_profile_of_a_model_with_its_data(run):
    run("train", "iris", *QUICK, "-q", "--dtype", "float64")
    Path("iris.png").unlink()
    before = Path("iris.safetensors").read_bytes()
    for data in ([], ["iris"]):
        code, out, err = run(*PROFILE, "iris.safetensors", *data, "--max-batch", "2")
        assert (code, err) == (0, "")
        name = " on ".join(["iris.safetensors", *data])
        assert out.startswith(f"{name}: 67 parameters, float64")
    assert Path("iris.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("data", "widths"), [("iris", "4-8-3"), ("diabetes", "10-4-1")])
def test_profile_of_layers_with_data(run, data, widths):
    code, out, err = run(*PROFILE, "--layers", widths, data, "--max-batch", "2", "--predict")
    assert (code, err) == (0, "")
    assert out.startswith(f"{widths} on {data}: ")


@pytest.mark.slow
def test_profile_of_data_has_the_critical_batch_size(run):
    given = [*PROFILE, "--layers", "4-8-3", "iris", "--max-batch", "2"]
    code, out, err = run(*given, "--json", "p.json")
    assert (code, err) == (0, "")
    assert "Training: the critical batch by gradient noise " in out
    noise = json.loads(Path("p.json").read_text("utf-8"))["noise"]
    assert noise["n_examples"] == 150
    assert len(noise["at"]) == len(noise["noise_scale"]) >= 4
    for without in (["--no-noise"], ["--predict"]):
        code, out, err = run(*given, *without)
        assert (code, err) == (0, "")
        assert "gradient noise" not in out


@pytest.mark.slow
def test_profile_says_why_there_is_no_critical_batch_size(run):
    Path("few.csv").write_text("a,b,y\n1,2,p\n2,1,q\n3,1,p\n", "utf-8")
    given = [*PROFILE, "--layers", "2-1", "few.csv", "--target", "y", "--max-batch", "2"]
    code, out, err = run(*given)
    assert (code, err) == (0, "")
    assert "Training: no critical batch size: there are 3 examples: gradient noise needs" in out


@pytest.mark.slow
def test_profile_of_a_network_that_no_model_can_be(run):
    """Several yes-or-no outputs: `load_model` refuses it, but without data no labels matter."""
    net = xn.Network([xn.Linear(3)], loss="sigmoid_cross_entropy", n_features=2, device="cpu")
    net.save("net.safetensors")
    code, _, err = run(*PROFILE, "net.safetensors", "--max-batch", "2")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to profile: give MODEL, or --layers"),
        (["digits"], "digits is data, not a model: give MODEL before it, or --layers"),
        (["nosuch.safetensors"], "no such file"),
        (["iris.safetensors", "digits"], "64 features and the model takes 4"),
        (["iris.safetensors", "--dtype", "float64"], "--dtype goes with --layers"),
        (["iris.safetensors", "--batch-norm"], "--batch-norm goes with --layers"),
        (["--layers", "64"], "--layers is '64': give features, units and outputs"),
        (["--layers", "64-x-10"], "--layers is '64-x-10'"),
        (["--layers", "64-0-10"], "--layers is '64-0-10'"),
        (["--layers", "64-32-3", "iris"], "--layers begins with 64 and iris has 4 features"),
        (["--layers", "4-32-5", "iris"], "--layers ends with 5 and iris needs 3"),
        (["--layers", "4-3", "iris.safetensors"], "iris.safetensors is no data"),
        (["--layers", "4-3", "iris.safetensors", "iris"], "give one of them"),
        (["--layers", "4-3", "nosuch"], "give one of digits"),
        (["--layers", "4-3", "--dropout", "0.1"], "no hidden layer to drop from"),
        (["--layers", "4-8-3", "--activation", "swosh"], "give one of relu"),
        (["--layers", "4-3", "--seconds", "0"], "seconds is 0.0"),
        (["--layers", "4-3", "--target", "x"], "--target and --drop are for DATA, and none is"),
        (["iris.safetensors", "--drop", "x"], "--target and --drop are for DATA, and none is"),
        (["--layers", "4-3", "--max-batch", "0"], "max_batch is 0: give 1 or more"),
        (["--layers", "4-3", "--device", "tpu"], "give 'auto'"),
        (["--layers", "4-3", "--picture", "p.jpg"], "pictures are written as .png"),
        (["--layers", "4-3", "--json", "nosuch/p.json"], "there is no folder nosuch"),
        (["iris.safetensors", "--json", "iris.safetensors"], "written over iris.safetensors"),
    ],
)
def test_wrong_profiles(run, arguments, message):
    if "iris.safetensors" in arguments:
        run("train", "iris", *QUICK, "-q")
    before = sorted(os.listdir())
    code, _, err = run("profile", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(os.listdir()) == before


@pytest.mark.slow
@needs_signals
def test_ctrl_c_in_a_profile_shows_what_was_measured(tmp_path):
    options = ["--layers", "4-8-3", "--seconds", "1000", "--json", "p.json"]
    code, out, err = interrupted(tmp_path, options, "4-8-3: ", delay=2.0, command="profile")
    assert (code, err) == (130, "")
    assert "Ctrl-C was pressed: the rest was left out" in out
    assert json.loads((tmp_path / "p.json").read_text("utf-8"))["interrupted"] is True


@pytest.mark.slow
def test_a_profile_of_nothing_is_shown_too(run, monkeypatch):
    """Ctrl-C may come before the first size, when there is nothing to draw either."""
    monkeypatch.setattr(app.console.CtrlC, "pressed", True, raising=False)
    monkeypatch.setattr(app.console.CtrlC, "__init__", lambda self: None)
    monkeypatch.setattr(app.console.CtrlC, "_trainer", None, raising=False)
    code, out, err = run(*PROFILE, "--layers", "4-3", "--picture", "p.png")
    assert (code, err) == (130, "")
    assert "the rest was left out" in out
    assert os.listdir() == []


@pytest.mark.slow
def test_train_with_a_batch_size_that_is_measured(run):
    code, out, err = run("train", "digits", "--batch-size", "auto", *QUICK, "-o", "a.safetensors")
    assert (code, err) == (0, "")
    size = int(re.search(r"batches of (\d+), 2 epochs\nbatch size \1: the ", out)[1])
    assert size in (8, 16, 32)
    # The number is what the model remembers, and gives the same one again.
    model = xn.load_model("a.safetensors", device="cpu")
    assert model.training["settings"]["batch_size"] == size
    run("train", "digits", "--batch-size", size, *QUICK, "-q", "-o", "b.safetensors")
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()
