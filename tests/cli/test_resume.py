"""``xpnet train --checkpoint`` and ``--resume``, as a user meets them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import plain
from test_cli import full, interrupted, needs_signals, run  # noqa: F401 - fixtures

import xpnet as xn
from xpnet.cli.resume import going_on
from xpnet.recipes.settings import Settings
from xpnet.train import checkpoint_manager

#: iris in batches of 20: 5 steps an epoch, the last one of 10.
QUICK = ["iris", "--hidden", "8", "--epochs", "4", "--batch-size", "20", "--device", "cpu"]


def leave(newest, folder="run"):
    """Make a folder as if the training had been killed after a step."""
    for path in Path(folder).glob("step-*"):
        if int(path.name[5:14]) > newest:
            path.unlink()


def undisturbed(run, *options):  # noqa: F811
    """Train without checkpoints; return the model file's content."""
    code, _, err = run("train", *options, "-o", "undisturbed.safetensors")
    assert (code, err) == (0, "")
    return Path("undisturbed.safetensors").read_bytes()


@pytest.mark.slow  # takes long
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--optimizer", "sgd", "--learning-rate", "0.1", "--schedule", "cosine:warm_up=1"],
        ["--optimizer", "momentum", "--schedule", "inverse-time:decay=0.5,per=step"],
        ["--optimizer", "rmsprop", "--batch-norm", "--dropout", "0.3", "--input-dropout", "0.1"],
        ["--augment", "noise:0.1,mixup", "--patience", "1", "--l2", "0.1", "--seed", "7"],
        ["--hidden", "none", "--dtype", "float64", "--schedule", "piecewise:1=0.01"],
        ["--activation", "tanh", "--hidden", "8,4", "--dropout", "0.2,0.1", "--goal", "0.1"],
    ],
)
def test_a_training_that_goes_on_writes_the_same_file(run, options):  # noqa: F811
    expected = undisturbed(run, *QUICK, *options)
    where = ["--checkpoint", "run", "--checkpoint-every", "3", "--keep", "99"]
    assert run("train", *QUICK, *options, *where)[0] == 0
    for newest in (18, 3):
        leave(newest)
        Path("iris.safetensors").unlink()
        code, out, err = run("train", "--resume", "run")
        assert (code, err) == (0, "")
        assert re.search(rf"going on from run/step-{newest:09d}.safetensors, \d epochs made", out)
        assert "saved iris.safetensors and iris.png" in out
        assert Path("iris.safetensors").read_bytes() == expected


def test_a_table_with_its_target(run, tmp_path):  # noqa: F811
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{'ab'[k % 2]},{k % 3},{k}" for k in range(90)]
    Path("table.csv").write_text("\n".join(["size,name,kind,id", *rows]))
    options = ["table.csv", "--target", "kind", "--drop", "id", "--task", "multiclass", *QUICK[1:]]
    expected = undisturbed(run, *options)
    run("train", *options, "--checkpoint", "run", "--keep", "9")
    leave(6)
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")  # the data are found again from anywhere
    code, out, err = run("train", "--resume", tmp_path / "run")
    assert (code, err) == (0, "")
    assert f"saved {tmp_path / 'table.safetensors'}" in out
    assert (tmp_path / "table.safetensors").read_bytes() == expected


@pytest.mark.slow
@needs_signals
def test_killed_and_gone_on_with(tmp_path):
    """As the README has it, with a real SIGKILL in the middle of it."""
    options = ["digits", "--epochs", "40", "--batch-norm", "--dropout", "0.2", "--device", "cpu"]
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(sys.path))

    def start(*arguments):
        command = [sys.executable, "-m", "xpnet", *plain(["train", *arguments])]
        keywords = {"cwd": tmp_path, "env": environment, "text": True}
        return subprocess.Popen(command, stdout=subprocess.PIPE, **keywords)

    start(*options, "-o", "undisturbed.safetensors").communicate()
    process = start(*options, "--checkpoint", "run", "--checkpoint-every", "5")
    for line in process.stdout:
        if line.split()[:1] == ["3"]:
            process.kill()
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "digits.safetensors").exists()
    process = start("--resume", "run")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "going on from run/step-" in out
    expected = (tmp_path / "undisturbed.safetensors").read_bytes()
    assert (tmp_path / "digits.safetensors").read_bytes() == expected


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("more", [[], ["--quiet"], ["--json"]])
def test_ctrl_c_says_how_to_go_on(tmp_path, more):
    options = ["digits", "--epochs", "300", "--checkpoint", "run", "--checkpoint-every", "100000"]
    if more:  # no line to wait for: the first checkpoint stands when it has begun
        script = (
            "import signal, sys\n"
            "from xpnet.cli import app\n"
            "from xpnet.train import checkpoint_manager as manager\n"
            "begin = manager.CheckpointManager.begin\n"
            "def press(self, trainer):\n"
            "    begin(self, trainer)\n"
            "    signal.raise_signal(signal.SIGINT)\n"
            "manager.CheckpointManager.begin = press\n"
            "app.main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *plain(["train", *options, *more]), "--device", "cpu"],
            cwd=tmp_path,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True,
            text=True,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
        assert err == "go on with: xpnet train --resume run\n"
        if more == ["--json"]:
            assert json.loads(out)["resume"] == "xpnet train --resume run"
    else:
        code, out, err = interrupted(tmp_path, options, "2 ")
        assert err == ""
        assert "go on with: xpnet train --resume run\n" in out
    assert code == 130
    # Of where it stood there is a checkpoint, though none was due.
    newest = xn.Checkpoints(tmp_path / "run").files()[0]
    assert newest.name != "step-000000000.safetensors"
    assert (tmp_path / "digits.safetensors").exists()


@pytest.mark.slow
@needs_signals
def test_after_ctrl_c_the_file_is_the_same(tmp_path, run):  # noqa: F811
    expected = undisturbed(run, "digits", "--epochs", "12", "--patience", "3", "--device", "cpu")
    options = ["digits", "--epochs", "12", "--patience", "3", "--checkpoint", "run"]
    code, _, _ = interrupted(tmp_path, options, "3 ", delay=0.005)
    assert code == 130
    assert Path("digits.safetensors").read_bytes() != expected
    assert run("train", "--resume", "run")[0] == 0
    assert Path("digits.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_batch_size_auto_is_measured_once(run, monkeypatch):  # noqa: F811
    options = ["digits", "--batch-size", "auto", "--epochs", "3", "--device", "cpu", "--json"]
    first = json.loads(run("train", *options, "--checkpoint", "run", "--keep", "9")[1])
    chosen = first["settings"]["batch_size"]
    expected = Path("digits.safetensors").read_bytes()
    newest = sorted(Path("run").glob("step-*"))[1]
    leave(int(newest.name[5:14]))
    monkeypatch.setattr(xn.Trainer, "choose_batch_size", lambda *_, **__: 1 / 0)
    second = json.loads(run("train", "--resume", "run", "--json")[1])
    assert second["settings"]["batch_size"] == chosen
    assert Path("digits.safetensors").read_bytes() == expected


def test_more_epochs(run):  # noqa: F811
    options = [*QUICK, "--schedule", "exponential:decay=0.9"]
    expected = undisturbed(run, *options, "--epochs", "7")
    run("train", *options, "--checkpoint", "run")
    code, _, _ = run("train", "--resume", "run", "--epochs", "7", "-o", "longer.safetensors")
    assert code == 0
    assert Path("longer.safetensors").read_bytes() == expected


#: Longer than the shortest run would be.
SCHEDULE = "cosine:warm_up=2"


@pytest.fixture
def begun(run):  # noqa: F811
    """Begin a training with checkpoints in the folder "run"; return the fixture `run`."""
    assert run("train", *QUICK, "--schedule", SCHEDULE, "--checkpoint", "run")[0] == 0
    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "run", "--hidden", "9"], "--hidden can't be given with --resume: the check"),
        (["--resume", "run", "--seed", "0", "--l2", "1"], "--l2, --seed can't be given with"),
        (["--resume", "run", "--checkpoint", "run"], "--checkpoint can't be given with --res"),
        (["--resume", "run", "--learning-curve"], "--learning-curve can't be given"),
        (["--resume", "run", "--epochs", "9"], "--epochs can't be changed: the schedule, cosine:w"),
        (["--resume", "run", "--epochs", "2"], "--epochs can't be changed: the schedule, cosine:w"),
        (["--resume", ""], "--resume is '': give a folder's name"),
        ([*QUICK, "--checkpoint", ""], "--checkpoint is '': give a folder's name"),
        (["wine", "--resume", "run"], "0020.safetensors: is of other data: the fingerprint of"),
        (["--resume", "nowhere"], "--resume is nowhere: there is no such folder; give"),
        (["--resume", "iris.png"], "iris.png: is no folder; give one for checkpoints"),
        ([*QUICK, "--checkpoint", "run"], "run: holds checkpoints of a run; go on with xpnet train "
                                          "--resume run, or give another folder"),
        ([*QUICK, "--checkpoint", "no/run"], "no/run: no checkpoints can be written there (No"),
        ([*QUICK, "--checkpoint", "iris.png"], "iris.png: is no folder; give one for checkpoi"),
        ([*QUICK, "--checkpoint", "x", "--l2", "0,1"], "--l2 has 2 values: --checkpoint goes with"),
        ([*QUICK, "--checkpoint", "x", "--learning-curve"], "--learning-curve trains many times"),
        ([*QUICK, "--keep", "2"], "--keep goes with --checkpoint FOLDER"),
        ([*QUICK, "--checkpoint-every", "2"], "--checkpoint-every goes with --check"),
        ([*QUICK, "--checkpoint", "x", "--keep", "0"], "--keep is 0: give 1 or more"),
        ([*QUICK, "--checkpoint", "x", "--checkpoint-every", "-1"], "--checkpoint-every is -1: g"),
        ([], "DATA is missing: say what to train on, or what to go on with: --resume"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_a_line(begun, arguments, message):
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    code, _, err = begun("train", *arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert message in err
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before
    assert not Path("x").exists()


def test_other_data_of_the_same_name(run):  # noqa: F811
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    np.savez("data.npz", X=X, y=y)
    assert run("train", "data.npz", *QUICK[1:], "--checkpoint", "run")[0] == 0
    other = X.copy()
    other[0, 0] += 1
    np.savez("data.npz", X=other, y=y)
    code, _, err = run("train", "--resume", "run")
    assert code == 2
    # Though the row that is another is in the test set, and nothing is trained on it.
    message = r"0008\.\w+: is of other data: the fingerprint of .*/data\.npz is 3:\w{16}, and in "
    assert re.search(message + r"the checkpoint 3:\w{16}$", err)
    Path("data.npz").unlink()
    code, _, err = run("train", "--resume", "run")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "data.npz: no such file; if it was moved: xpnet train DATA --resume run\n" in err
    # It was moved: its new place may be told.
    np.savez("moved.npz", X=X, y=y)
    assert run("train", "moved.npz", "--resume", "run")[0] == 0


@pytest.mark.parametrize(
    "schedule",
    [
        *("cosine", "cosine:warm_up=2", "cosine:warm_up=8,per=step"),
        *("log-cosine", "one-cycle:per=step", "flat-cosine", "exponential:decay=0.9"),
    ],
)
def test_of_a_finished_run_nothing_is_left_to_make(run, schedule):  # noqa: F811
    run("train", *QUICK, "--schedule", schedule, "--checkpoint", "run")
    code, out, err = run("train", "--resume", "run")
    assert (code, err) == (0, "")
    more = "; --epochs may be larger" if schedule.startswith("exponential") else ""
    assert f"all 4 epochs are made{more}\n" in out
    assert "samples/s" not in out
    if more:
        code, _, err = run("train", "--resume", "run", "--epochs", "2")
        assert code == 2
        assert re.search(r"epochs is 2, and .* was written in epoch 4: give 4 or more\n$", err)


def forge(change):
    """Change all checkpoints in "run", and give them the checksums that go with them."""
    for path in Path("run").glob("step-*"):
        arrays, document = xn.files.checkpoint_folder.read(path)
        change(document)
        path.write_bytes(xn.files.checkpoint_folder.encode(arrays, document))


def test_nothing_in_a_checkpoint_steers_the_terminal(begun):
    forge(lambda document: document.update(machine="\x1b[2Jthe abacus"))
    code, out, err = begun("train", "--resume", "run")
    assert code == 0
    assert "was written by \\x1b[2Jthe abacus, and this is" in err
    assert "\x1b" not in out + err


def test_a_checkpoint_that_says_nothing_of_itself(begun):
    forge(lambda document: document["written"].update(about=None))
    code, _, err = begun("train", "--resume", "run")
    assert code == 2
    assert "no run can go on from it (TypeError('about is None'))\n" in err


@pytest.mark.parametrize("options", [[], ["--schedule", "cosine:warm_up=2"]])
def test_a_model_that_can_t_be_saved_may_be_saved_elsewhere(run, full, options):  # noqa: F811
    expected = undisturbed(run, *QUICK, *options)
    full(".safetensors", but="step-")
    code, out, err = run("train", *QUICK, *options, "--checkpoint", "run")
    assert code == 2
    assert "verdict:" in out
    assert err == (
        "error: iris.safetensors: the model can't be saved (No space left on device). Go on with: "
        "xpnet train --resume run -o ANOTHER\n"
    )
    full()
    assert run("train", "--resume", "run", "-o", "another.safetensors")[0] == 0
    assert Path("another.safetensors").read_bytes() == expected


def test_ctrl_c_at_once_says_how_to_go_on(run, monkeypatch):  # noqa: F811
    def press(self, trainer):
        begin(self, trainer)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    begin = checkpoint_manager.CheckpointManager.begin
    monkeypatch.setattr(checkpoint_manager.CheckpointManager, "begin", press)
    code, _, err = run("train", *QUICK, "--checkpoint", "run")
    assert (code, err) == (
        130,
        "stopped at once by Ctrl-C: what was not saved is lost; go on with: xpnet train --resume "
        "run\n",
    )


@pytest.mark.slow
@needs_signals
def test_sigterm_writes_a_checkpoint_and_ends(tmp_path):
    options = ["digits", "--epochs", "300", "--checkpoint", "run", "--checkpoint-every", "100000"]
    code, out, err = interrupted(tmp_path, options, "2 ", sent=signal.SIGTERM)
    assert (code, err) == (128 + signal.SIGTERM, "")
    assert re.search(r"stopped in epoch \d+: SIGTERM came", out)
    assert "go on with: xpnet train --resume run\n" in out
    assert xn.Checkpoints(tmp_path / "run").files()[0].name != "step-000000000.safetensors"
    assert (tmp_path / "digits.safetensors").exists()


@pytest.mark.slow
@needs_signals
def test_sigterm_without_checkpoints_ends_at_once(tmp_path):
    options = ["digits", "--epochs", "300"]
    code, out, _ = interrupted(tmp_path, options, "2 ", sent=signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert "saved" not in out


def test_a_damaged_checkpoint_is_told_of(begun):
    (newest, *_) = xn.Checkpoints("run").files()
    newest.write_bytes(newest.read_bytes()[:-1])
    code, out, err = begun("train", "--resume", "run")
    assert code == 0
    assert "going on from run/step-000000015.safetensors, 3 epochs made" in out
    assert err.count("note:") == 1
    assert "0020.safetensors: not a whole safetensors file" in err
    assert "Going on from run/step-000000015.safetensors" in err


def test_a_folder_that_vanishes_is_told_of(run, monkeypatch):  # noqa: F811
    expected = undisturbed(run, *QUICK)
    write = xn.files.checkpoint_folder.Folder.write
    count = []

    def vanish(self, *arguments):
        count.append(1)
        if len(count) == 3:
            shutil.rmtree("run")
        return write(self, *arguments)

    monkeypatch.setattr(xn.files.checkpoint_folder.Folder, "write", vanish)
    code, _, err = run("train", *QUICK, "--checkpoint", "run")
    assert code == 0
    assert err == (
        "note: no checkpoint can be written to run (No such file or directory): the training goes "
        "on; the last good one is run/step-000000005.safetensors\n"
    )
    assert Path("iris.safetensors").read_bytes() == expected


def test_checkpoints_of_another_program(run):  # noqa: F811
    X, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    net = xn.Network([xn.Linear(1)], loss="sigmoid_cross_entropy", n_features=3, device="cpu")
    xn.Trainer(net).fit(X, y, epochs=1, checkpoint="run", batch_size=10)
    code, _, err = run("train", "--resume", "run")
    assert code == 2
    assert "step-000000005.safetensors: xpnet train did not write it; go on with it in Py" in err


def test_the_settings_come_back_as_they_were(begun):
    found = going_on(Path("run"), ["output"], {"output": Path("other")})
    expected = Settings(hidden=(8,), epochs=4, batch_size=20, schedule=SCHEDULE)
    assert found.settings == expected
    assert (found.data, found.target, found.drop, found.device) == ("iris", None, [], "cpu")
    assert (found.output, found.keep, found.every, found.begun.step) == (Path("other"), 3, None, 20)


def test_an_answer_in_json(begun):
    result = json.loads(begun("train", "--resume", "run", "--json")[1])
    assert result["interrupted"] is False
    assert "resume" not in result
    assert len(result["history"]) == 4


@pytest.fixture
def nowhere(begun, tmp_path, monkeypatch):
    """Begin a training in "run", and go to a folder that is deleted; return the fixture `run`."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    yield begun
    monkeypatch.undo()


@needs_signals
def test_from_a_folder_that_was_deleted_a_whole_name_is_found(nowhere, tmp_path):
    code, out, err = nowhere("train", "--resume", tmp_path / "run")
    assert (code, err) == (0, "")
    assert f"saved {tmp_path / 'iris.safetensors'} and" in out


@needs_signals
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--resume", "run"], "--resume is run: there is no such folder; give the one"),
        (["train", "iris"], "iris.safetensors: can't be written (No such file or directory)"),
        (["train", "d.npz"], "d.npz: no such file"),
        (["evaluate", "iris.safetensors", "iris"], "iris.safetensors: no such file"),
        (
            ["info", "--schedules", "--picture", "p.png"],
            "p.png: can't be written (No such file or directory)",
        ),
    ],
)
def test_in_a_folder_that_was_deleted_it_says_so(nowhere, arguments, message):
    code, _, err = nowhere(*arguments)
    assert code == 2
    assert err.startswith(f"error: {message}")
    assert err.endswith(
        "; the current directory was deleted: change to another one, or give names that begin "
        "with /\n"
    )
