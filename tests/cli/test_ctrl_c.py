"""Ctrl-C before the command line is there, and after it has ended: no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import needs_signals

import xpnet as xn
from xpnet import _command

pytestmark = [pytest.mark.slow, needs_signals]

PRESS = "import signal; signal.raise_signal(signal.SIGINT)"

#: What pip writes as the command.
SCRIPT = "import sys\nfrom xpnet.__main__ import main\nsys.exit(main())\n"


@pytest.fixture(params=["module", "script"])
def command(tmp_path, request):
    """Return a function that runs the command, with modules and lines of its own."""
    (tmp_path / "modules").mkdir()
    paths = [tmp_path / "modules", Path(xn.__file__).parents[1], *sys.path]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, paths)))
    script = tmp_path / "xpnet"
    start = ["-m", "xpnet"] if request.param == "module" else [str(script)]

    def run(*arguments, first="", **modules):
        for name, text in modules.items():
            (tmp_path / "modules" / f"{name}.py").write_text(text)
        (tmp_path / "modules" / "sitecustomize.py").write_text(first)
        script.write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, *start, *arguments], env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("module", ["numpy", "typer", "rich", "dataclasses"])
@pytest.mark.parametrize("caught", ["", "\nraise ImportError", "\nwhile True: pass"])
def test_while_something_is_imported(command, module, caught):
    """At the package's beginning or in the command line; whatever an import makes of it."""
    press = f"try:\n    {PRESS}\nexcept BaseException as error:\n    pass{caught}"
    found = command("info", **{module: press})
    assert found == (130, "", "stopped at once by Ctrl-C\n")


def test_after_the_work_it_takes_nothing_back(command):
    first = f"import atexit\n@atexit.register\ndef press():\n    {PRESS}\n"
    assert command("--version", first=first) == (0, f"xpnet {xn.__version__}\n", "")
    code, out, err = command("train", "nosuch.npz", first=first)
    assert (code, out, err) == (2, "", "error: nosuch.npz: no such file\n")


def test_in_the_background_it_stays_ignored(command):
    first = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    press = f"{PRESS}\nraise ImportError('went on')"
    code, _, err = command("--version", first=first, rich=press)
    assert code != 130
    assert "went on" in err


@pytest.mark.parametrize(
    ("arguments", "given", "expected"),
    [
        (["-m"], ["python", "-X", "dev", "-m", "xpnet", "train"], True),
        (["-m"], ["python", "-m", "tool", "xpnet"], False),
        (["/bin/xpnet", "train"], ["python", "/bin/xpnet", "train"], True),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_a_library_s_user_keeps_his_ctrl_c(monkeypatch, arguments, given, expected):
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys, "orig_argv", given)
    assert _command.is_running() == expected
    assert signal.getsignal(signal.SIGINT) is not _command.end
