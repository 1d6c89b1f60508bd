"""Standard output and standard error that fail: nothing that was learnt is lost for that."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import plain
from test_cli import QUICK, interrupted, needs_signals, run  # noqa: F401 - fixtures

import xpnet as xn
from xpnet.cli import console, streams

TRAIN = ["train", "iris", *QUICK]


class Failing(io.RawIOBase):
    """Takes some bytes, and then fails."""

    def __init__(self, number, room):
        self._number, self._room = number, room
        self.taken = b""

    def writable(self):
        return True

    def write(self, data):
        part = bytes(data)[: max(0, self._room - len(self.taken))]
        self.taken += part
        if not part and len(data):
            raise OSError(self._number, os.strerror(self._number))
        return len(part)


def text(raw, buffered=True):
    buffer = io.BufferedWriter(raw) if buffered else raw
    return io.TextIOWrapper(buffer, "utf-8", write_through=not buffered)


@pytest.fixture
def failing(run, monkeypatch):  # noqa: F811
    """Run a command whose standard output fails; return exit code, what it took, and errors."""

    def command(number, room, *arguments, buffered=True):
        raw = Failing(number, room)
        monkeypatch.setattr(sys, "stdout", text(raw, buffered))
        code, _, err = run(*arguments)
        return code, raw.taken.decode(), err

    return command


WHY = {errno.EPIPE: (141, "Broken pipe"), errno.ENOSPC: (1, "No space left on device"),
       errno.EIO: (1, "Input/output error")}  # fmt: skip


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("room", [0, 10, 300])
@pytest.mark.parametrize("number", WHY)
def test_a_training_goes_on_and_saves(failing, number, room, buffered):
    code, taken, err = failing(number, room, *TRAIN, buffered=buffered)
    expected, why = WHY[number]
    assert code == expected
    assert len(taken) <= room
    note = f"note: standard output can't be written to ({why}): the training goes on\n"
    assert err == note
    assert sorted(os.listdir()) == ["iris.png", "iris.safetensors"]


@pytest.mark.parametrize("number", WHY)
def test_so_it_does_where_json_is_wanted(failing, number):
    """All of it comes at the end, when the buffers are emptied."""
    code, _, err = failing(number, 0, *TRAIN, "--json")
    assert (code, err.count("note: ")) == (WHY[number][0], 1)
    assert Path("iris.safetensors").exists()


def test_where_nothing_is_shown_nothing_fails(failing):
    assert failing(errno.ENOSPC, 0, *TRAIN, "--quiet") == (0, "", "")


def test_a_failing_training_keeps_its_exit_code(failing):
    code, _, err = failing(errno.EPIPE, 0, "train", "nosuch.npz")
    assert (code, err) == (2, "error: nosuch.npz: no such file\n")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "iris.safetensors", "iris"],
        ["evaluate", "iris.safetensors", "iris", "--json"],
        ["predict", "iris.safetensors", "iris"],
        ["info", "--schedules"],
        ["--version"],
        ["--help"],
    ],
)
def test_a_reader_who_has_seen_enough_is_no_fault(run, failing, command):  # noqa: F811
    run(*TRAIN, "-q")
    assert failing(errno.EPIPE, 4, *command)[::2] == (141, "")
    why = "error: standard output can't be written to (No space left on device)\n"
    assert failing(errno.ENOSPC, 4, *command)[::2] == (1, why)


def test_standard_error_may_fail_too(failing, monkeypatch):
    monkeypatch.setattr(sys, "stderr", text(Failing(errno.EIO, 0)))
    assert failing(errno.EIO, 0, *TRAIN)[0] == 1
    assert Path("iris.safetensors").exists()


def test_streams_that_were_closed_from_the_beginning(run, monkeypatch):  # noqa: F811
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert run(*TRAIN, "--json")[0] == 0
    assert run("predict", "iris.safetensors", "iris")[0] == 0
    assert run("train", "nosuch.npz") == (2, "", "")
    assert sys.stdout is None


@needs_signals
def test_a_full_pipe_that_does_not_wait_is_waited_for():
    there, here = os.pipe()
    os.set_blocking(here, False)
    found = []

    class Emptied(io.FileIO):
        """Is a pipe that is emptied when `select` asks for its number."""

        def fileno(self):
            found.append(os.read(there, 1 << 20))
            return super().fileno()

    with Emptied(here, "wb") as pipe:
        outlet = streams.Outlet(pipe, lambda error: None)
        assert outlet.write(b"x" * 200_000) == 200_000
    found.append(os.read(there, 1 << 20))
    os.close(there)
    assert (b"".join(found), outlet.error) == (b"x" * 200_000, None)


def test_the_streams_are_as_before_in_the_end():
    before = sys.stdout, sys.stderr
    with streams.guarded() as output:
        assert output.exit_code == 0
    assert (sys.stdout, sys.stderr) == before


# -- processes ----


def start(folder, *arguments, **options):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, *options.pop("python", ()), "-m", "xpnet", *plain(arguments)]
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("python", [[], ["-u"]])
@pytest.mark.parametrize("more", [[], ["--json"], ["--checkpoint", "run"]])
def test_a_real_pipe_without_a_reader(tmp_path, python, more):
    there, here = os.pipe()
    os.close(there)
    process = start(
        tmp_path, *TRAIN, *more, python=python, stdout=here, stderr=subprocess.PIPE, text=True
    )
    os.close(here)
    _, err = process.communicate()
    assert process.returncode == 141
    assert err == (
        "note: standard output can't be written to (Broken pipe): the training goes on\n"
    )
    assert xn.load_model(tmp_path / "iris.safetensors", device="cpu")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_real_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        process = start(tmp_path, *TRAIN, stdout=full, stderr=subprocess.PIPE, text=True)
        _, err = process.communicate()
        assert (process.returncode, err.count("\n")) == (1, 1)
        assert "(No space left on device): the training goes on" in err
        assert (tmp_path / "iris.safetensors").exists()
        process = start(tmp_path, *TRAIN, stdout=full, stderr=full)
        process.communicate()
        assert process.returncode == 1


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_descriptors_that_are_really_closed(tmp_path, closed):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = f'"$0" -m xpnet train iris --recipe plain --hidden 8 --epochs 2 --device cpu {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], cwd=tmp_path, env=environment, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert xn.load_model(tmp_path / "iris.safetensors", device="cpu")


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("controlling", [False, True])
def test_a_terminal_that_is_closed(tmp_path, controlling):
    """With its bar of progress; SIGHUP comes too where it is the process's own terminal."""
    import fcntl
    import pty
    import termios

    np.savez(tmp_path / "d.npz", X=np.eye(60), y=np.arange(60) % 2)
    ours, theirs = pty.openpty()

    def own():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    epochs = "100000" if controlling else "500"
    options = ["d.npz", "--hidden", "8", "--epochs", epochs, "--device", "cpu"]
    process = start(
        tmp_path,
        "train",
        *options,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=own if controlling else None,
    )
    os.close(theirs)
    seen = b""
    while b"  1 " not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    process.communicate()
    assert process.returncode == (128 + signal.SIGHUP if controlling else 1)
    assert xn.load_model(tmp_path / "d.safetensors", device="cpu")


@pytest.mark.slow
@needs_signals
def test_sighup_ends_a_training_as_ctrl_c_does(tmp_path):
    code, out, err = interrupted(tmp_path, ["digits", "--epochs", "300"], "2 ", sent=signal.SIGHUP)
    assert (code, err) == (129, "")
    assert "SIGHUP came" in out
    assert "saved digits.safetensors" in out


@needs_signals
def test_sighup_that_comes_again_does_no_more(monkeypatch):
    before = signal.getsignal(signal.SIGHUP)
    ctrl_c = console.CtrlC()
    with ctrl_c.watched():
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert (ctrl_c.reason, ctrl_c.exit_code) == ("SIGHUP came", 129)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGHUP) == before


@needs_signals
def test_under_nohup_sighup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with console.CtrlC().watched():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_json_is_whole_where_the_stream_takes_it_in_pieces(run, monkeypatch):  # noqa: F811
    class Slow(io.RawIOBase):
        taken = b""

        def writable(self):
            return True

        def write(self, data):
            self.taken += bytes(data)[:7]
            return min(7, len(data))

    for buffered in (True, False):
        raw = Slow()
        monkeypatch.setattr(sys, "stdout", text(raw, buffered))
        assert run(*TRAIN, "--json")[0] == 0
        assert len(json.loads(raw.taken)["history"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_predictions_in_a_pipe_are_those_of_a_file(tmp_path, monkeypatch, encoding):
    """In UTF-8, whatever people's own text is written in: else λ and μ would be the same ?."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "d.npz", X=X, y=np.where(X[:, 0] > 0, "λ", "μ"))
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    model = "d.safetensors", "d.npz"
    start(tmp_path, "train", "d.npz", "--epochs", "2", "-q").communicate()
    start(tmp_path, "predict", *model, "-o", "o.csv", stdout=subprocess.DEVNULL).communicate()
    out, _ = start(tmp_path, "predict", *model, stdout=subprocess.PIPE).communicate()
    assert out == (tmp_path / "o.csv").read_bytes()
    assert {line.split(",")[0] for line in out.decode().splitlines()[1:]} == {"λ", "μ"}


@needs_signals
def test_a_signal_that_is_ignored_stays_ignored():
    """As in a command that a script has put into the background with &."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with console.CtrlC().watched():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
