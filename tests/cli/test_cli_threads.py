"""``--threads`` of the commands: a limit while they run, and what is told of a wrong one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import QUICK, run  # noqa: F401 - a fixture

from xpnet.analysis import profiling
from xpnet.backends import threads
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.threads import count_threads, limit_threads
from xpnet.cli import system

pytestmark = pytest.mark.skipif(count_threads() is None, reason="a BLAS that tells no threads")

MODEL = "iris.safetensors"
COMMANDS = {
    "train": ["train", "iris", *QUICK, "-q"],
    "predict": ["predict", MODEL, "iris"],
    "evaluate": ["evaluate", MODEL, "iris"],
    "profile": ["profile", MODEL, "--device", "cpu", "--seconds", "0.01", "--max-batch", "2"],
    "tune": ["tune", "iris", *QUICK, "--trials", "1", "--repeats", "0", "-q", "-o", "t"],
}

each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """Have four cores, whatever there is, and two threads; spare the measuring of products."""
    for module in (threads, profiling, system):
        monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.setattr(profiling, "product_rate", lambda *_: 1e11)
    with limit_threads(2):
        yield


@pytest.fixture
def seen(monkeypatch):
    """Return how many threads BLAS has where something is computed."""
    found, active = set(), NumpyBackend.active

    def noted(self):
        found.add(count_threads())
        return active(self)

    monkeypatch.setattr(NumpyBackend, "active", noted)
    return found


def model(run):  # noqa: F811
    assert run(*COMMANDS["train"])[0] == 0


@pytest.mark.slow  # a search
@each_command
def test_threads_are_limited_while_a_command_runs(run, seen, command):  # noqa: F811
    model(run)
    assert seen == {2}
    seen.clear()
    code, _, err = run(*COMMANDS[command], "--threads", "3")
    assert (code, err) == (0, "")
    assert 3 in seen
    assert command == "profile" or seen == {3}
    assert count_threads() == 2


@each_command
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0", "--threads is 0: give 1 or more"),
        ("-1", "--threads is -1: give 1 or more"),
        ("1.5", "'1.5'"),  # Typer's words, which differ between its versions
        ("many", "'many'"),
        ("", "''"),
        ("1000000", "--threads is 1000000: this process may use 4 cores; give 1 to 4"),
    ],
)
def test_a_wrong_number_is_told_in_one_line(run, command, given, message):  # noqa: F811
    code, out, err = run(*COMMANDS[command], f"--threads={given}")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "--threads" in err
    assert message in err
    assert err.count("\n") == 1
    assert count_threads() == 2


def test_a_limit_ends_with_a_command_that_fails(run):  # noqa: F811
    code, _, err = run("predict", "nosuch.safetensors", "iris", "--threads", "1")
    assert code == 2
    assert "no such file" in err
    assert count_threads() == 2


def test_a_training_goes_on_with_the_threads_that_it_began_with(run, seen):  # noqa: F811
    where = ["--threads", "3", "--checkpoint", "run"]
    assert run(*COMMANDS["train"], *where)[0] == 0
    going_on = ["train", "--resume", "run", "-q"]
    for epochs, options, expected in ((3, [], 3), (4, ["--threads", "1"], 1), (5, [], 1)):
        seen.clear()
        code, _, err = run(*going_on, "--epochs", epochs, *options)
        assert code == 0
        # The rest may differ by rounding, which is told; not once all is as it was.
        assert ("on 3 threads, and this is " in err) == bool(options)
        assert seen == {expected}


@pytest.mark.slow
def test_a_profile_tells_how_many_threads_to_use(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(NumpyBackend, "threads", lambda self: 2)
    options = ["--layers", "4-8-3", "--max-batch", "4", "--seconds", "0.2", "--device", "cpu"]
    code, out, err = run("profile", *options, "--train", "--json", "p.json")
    assert (code, err) == (0, "")
    assert re.search(r"^training on the CPU with NumPy .*, by threads$", out, re.MULTILINE)
    assert re.search(r"^ +1 +[\d,]+ +\d +\d +100", out, re.MULTILINE)
    assert out.count("← use") == 1
    (chosen,) = re.findall(r"^training on the CPU .*, (\d) threads?$", out, re.MULTILINE)
    told = rf"^Training: use batches of \d and {chosen} threads? on cpu"
    assert re.search(told, out.replace("\n", "\n"), re.MULTILINE)
    assert out.count("← knee") == 1
    document = json.loads(Path("p.json").read_text("utf-8"))
    assert [s["threads"] for s in document["series"]] == [1, 2]
    assert document["machine"]["cores"] == 4


@pytest.mark.slow
def test_a_profile_of_some_numbers_of_threads(run):  # noqa: F811
    options = ["--layers", "4-3", "--max-batch", "2", "--seconds", "0.05", "--device", "cpu"]
    for given, expected in (("1", [1]), ("3,1", [1, 3])):
        code, out, _ = run("profile", *options, "--predict", "--threads", given, "--json", "-")
        assert code == 0
        assert [s["threads"] for s in json.loads(out)["series"]] == expected
    assert "by threads" not in run("profile", *options, "--threads", "2")[1]


def test_info_tells_cores_and_threads(run):  # noqa: F811
    out = run("info")[1]
    assert re.search(r"^blas .*, 2 threads$", out, re.MULTILINE)
    assert json.loads(run("info", "--json")[1])["cores"] == 4
    found = system.describe() | {"cpus": 8}
    assert dict(system.as_lines(found))["processor"].endswith(
        "8 CPUs, of which this process may use 4"
    )
    found["cores"] = found["cpus"] = 1
    assert dict(system.as_lines(found))["processor"].endswith(", 1 CPU")


# -- a model and data that don't fit each other ----


def test_labels_of_several_columns_are_refused_by_what_predicts_a_class(run):  # noqa: F811
    X, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    np.savez("d.npz", X=X, y=y)
    np.savez("two.npz", X=X, y=np.stack([y, y], axis=1))
    assert run("train", "d.npz", *QUICK, "-q")[0] == 0
    for command in ("profile", "evaluate"):
        code, _, err = run(command, "d.safetensors", "two.npz")
        assert code == 2
        assert err == (
            "error: the target has 2 columns and the model predicts one class: give one label for "
            "each row\n"
        )
