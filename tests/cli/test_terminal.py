"""What is shown: names and labels that others have chosen steer no terminal."""

import io
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import plain
from test_cli import GOOD, QUICK, needs_signals, run  # noqa: F401 - fixtures

import xpnet as xn
from xpnet.cli import app, console, resume
from xpnet.plain_text import printable

#: Pieces of names: a title, a cleared screen, clipboards, links, C1 controls, bells, line breaks,
#: writing that turns round, half a pair, markup, emoji codes, colours, and harmless text.
PIECES = [
    "\x1b]0;title\x07", "\x1b[2J", "\x1b[31m", "\x1b]52;c;eA==\x1b\\", "\x1b]8;;http://a\x1b\\",
    "\x9b2J", "\x9d0;t\x9c", "\x07", "\x08\x08", "\r", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c",
    "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\udce9", "\ud800", "\x7f", "\x00",
    "\ufeff", "\U000e0041", "[red]", "[/]", "[link=http://a]", ":smile:", "$x$", "{0}", "%s",
    "'", '"', "\\", "a", "λ", "日本", " ",
]  # fmt: skip


def names(count, seed=0):
    """Return hostile names, no two alike."""
    choose = random.Random(seed)
    found = (f"{n}{''.join(choose.choices(PIECES, k=choose.randint(1, 5)))}" for n in range(count))
    return list(found)


NAMES = names(10_000)


class Screen(io.StringIO):
    """A terminal that can neither move the cursor nor show colours."""

    def isatty(self):
        return True

    def lines(self):
        """Return what was written, line by line, once it is found that nothing but text was."""
        lines = self.getvalue().removesuffix("\n").split("\n")
        for line in lines:
            assert line.isprintable()
        return lines


def on_a_screen(monkeypatch):
    """Show standard output and standard error on one screen, and return it."""
    screen = Screen()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def wide():
    """Return a console on a screen that is wide enough for any table."""
    terminal = console.make_console()
    terminal.width, terminal.height = 5000, 25
    return terminal


def squeezed(lines):
    """Return lines without spaces, with which a table fills its columns."""
    return ["".join(line.split()) for line in lines]


@pytest.mark.slow
def test_sentences_notes_and_errors(monkeypatch):
    screen = on_a_screen(monkeypatch)
    for name in NAMES:
        console.make_console().print(f"{name}: 3 examples")
        app._note(UserWarning(name), UserWarning)
        console.tell(f"error: {name}")
    expected = [
        line
        for n in map(printable, NAMES)
        for line in (f"{n}: 3 examples", f"note: {n}", f"error: {n}")
    ]
    assert screen.lines() == expected


@pytest.mark.slow
def test_tables(monkeypatch):
    screen = on_a_screen(monkeypatch)
    figures = dict.fromkeys(("precision", "recall", "f1-score", "support"), 1.0)
    wide().print(console.class_table(dict.fromkeys(NAMES, figures)))
    heading, *rows = squeezed(screen.lines())
    assert heading == "precisionrecallf1-scoreexamples"
    assert rows == squeezed(f"{printable(name)}1.0001.0001.0001" for name in NAMES)


def test_the_columns_of_a_table_stand_below_each_other(monkeypatch):
    screen = on_a_screen(monkeypatch)
    figures = dict.fromkeys(("precision", "recall", "f1-score", "support"), 1.0)
    for some in ("\x1b[2J\n", "short"), ("λ" * 30, "\u202e"):
        wide().print(console.class_table(dict.fromkeys(some, figures)))
    lines = screen.lines()
    for heading, *rows in (lines[:3], lines[3:]):
        assert {row.index("1.000") + 5 for row in rows} == {heading.index("precision") + 9}


@pytest.mark.slow
def test_confusion_matrices(monkeypatch):
    for start in range(0, 1000, 20):
        screen = on_a_screen(monkeypatch)
        some = NAMES[start : start + 20]
        wide().print(console.matrix_table(np.eye(20), some))
        title, heading, *counts = squeezed(screen.lines())
        some = squeezed(map(printable, some))
        assert (title, heading) == ("true↓predicted→", "".join(some))
        expected = [f"{name}{'0' * i}1{'0' * (19 - i)}" for i, name in enumerate(some)]
        assert counts == expected


def test_pairs_and_headings(monkeypatch):
    screen = on_a_screen(monkeypatch)
    terminal = console.make_console()
    for name in NAMES[:100]:
        console.print_pairs(terminal, [("device", name)])
        console.SweepTable(terminal, "λ", "l2", name)
    assert len(screen.lines()) == 200


def test_what_a_moving_line_says(monkeypatch):
    """In a terminal that can move the cursor: Rich's own codes are there, and no others."""
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    terminal = console.make_console()
    with console.status(terminal) as say:
        for name in NAMES[:500]:
            say(name)
            terminal.print(name)
    shown = without_codes(screen.getvalue())
    assert printable(NAMES[0]) in shown


#: What Rich itself writes to move the cursor, to hide it, and in bold or colours.
CODES = re.compile(r"\x1b\[(?:\d+(?:;\d+)*m|\?25[lh]|2K|1A|\d*[A-D]|[HJ])")


def without_codes(shown):
    """Return what was shown without Rich's codes, once it is found that there are no others."""
    text = CODES.sub("", shown)
    assert {c for c in text if not c.isprintable()} <= {"\r", "\n"}
    return text


@pytest.mark.parametrize("option", ["--\x1b[2J", "--epochs=\x1b]0;t\x07", "--epochs=\n"])
def test_a_wrong_use_is_told_in_a_line(run, option):  # noqa: F811
    for arguments in (["train", "iris", option], [option], ["fly\x1b[2J"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.removesuffix("\n").isprintable()


def test_a_fault_of_our_own_is_shown_as_safely(run, monkeypatch):  # noqa: F811
    def fail(*_, **__):
        raise ZeroDivisionError("\x1b[2J\n\u202e")

    monkeypatch.setattr("xpnet.tabular.readers.read", fail)
    code, _, err = run("train", "iris")
    assert code == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "ZeroDivisionError: \\x1b[2J\n\\u202e\n" in err
    assert all(line.isprintable() for line in err.split("\n"))


def test_programs_get_the_labels_as_they_are(run):  # noqa: F811
    label = np.where(GOOD[1] > 0, "\x1b]0;a\x07", "b\n\u202e,λ")
    np.savez("d.npz", X=GOOD[0], y=label)
    assert run("train", "d.npz", "-q", *QUICK)[0] == 0
    _, out, _ = run("evaluate", "d.safetensors", "d.npz", "--json")
    assert json.loads(out)["classes"] == ["\x1b]0;a\x07", "b\n\u202e,λ"]
    run("predict", "d.safetensors", "d.npz", "-o", "o.csv")
    _, out, _ = run("predict", "d.safetensors", "d.npz")
    for written in (out, Path("o.csv").read_text("utf-8")):
        head = 'prediction,p(\x1b]0;a\x07),"p(b\n\u202e,λ)"\n'
        assert written.startswith(head)


def test_predictions_in_a_terminal_are_shown_as_labels_are(run, monkeypatch):  # noqa: F811
    label = np.where(GOOD[1] > 0, "\x1b]0;a\x07", "b\n\u202e,λ")
    np.savez("d.npz", X=GOOD[0], y=label)
    run("train", "d.npz", "-q", *QUICK)
    screen = on_a_screen(monkeypatch)
    run("predict", "d.safetensors", "d.npz")
    lines = screen.lines()
    assert lines[0] == r'prediction,p(\x1b]0;a\x07),"p(b\n\u202e,λ)"'
    assert len(lines) == 1 + len(label)


# -- a folder's name that one is told to type ----

FOLDERS = ["run", "my run", "it's", "a\nb", "\x1b[2J'\\$x`", "λ\u2028", "caf\udce9"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_name_to_type_is_printable(name):
    typed = resume.quoted(name)
    assert typed.isprintable()
    assert typed.startswith("$'") or shlex.split(typed) == [name]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="there is no bash")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_shell_reads_it_as_the_name(name):
    command = f"printf %s {resume.quoted(name)}"
    shown = subprocess.run(["/bin/bash", "-c", command], capture_output=True, check=True).stdout
    assert shown == os.fsencode(name)


def test_ctrl_c_says_how_to_go_on_from_any_folder(run, monkeypatch):  # noqa: F811
    def press(self, trainer):
        begin(self, trainer)
        signal.raise_signal(signal.SIGINT)

    manager = xn.train.checkpoint_manager.CheckpointManager
    begin = manager.begin
    monkeypatch.setattr(manager, "begin", press)
    code, out, err = run("train", "iris", *QUICK, "--checkpoint", "a\x1b[2J")
    assert (code, err) == (130, "")
    assert out.endswith("go on with: xpnet train --resume $'a\\x1b[2J'\n")


# -- a real terminal ----


def in_a_terminal(folder, *arguments, python=("-m", "xpnet")):
    """Run a command, or Python, in a terminal; return its exit code and what is shown."""
    import pty

    ours, theirs = pty.openpty()
    environment = dict(os.environ, TERM="xterm", PYTHONPATH=os.pathsep.join(sys.path))
    environment["COLUMNS"] = "400"
    process = subprocess.Popen(
        [sys.executable, *python, *plain(arguments)],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 1 << 16):
            shown += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return process.wait(), shown.decode()


SHOW = """
import json, sys
from pathlib import Path
from xpnet.cli import app, console
names = json.loads(Path("names.json").read_text())
terminal = console.make_console(least_width=2000)
for name in names:
    terminal.print(f"{name}: 3 examples")
    app._note(UserWarning(name), UserWarning)
    console.tell(f"error: {name}")
figures = dict.fromkeys(("precision", "recall", "f1-score", "support"), 1.0)
terminal.print(console.class_table(dict.fromkeys(names, figures)))
"""


@pytest.mark.slow
@needs_signals
def test_ten_thousand_names_in_a_real_terminal(tmp_path):
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    code, shown = in_a_terminal(tmp_path, python=("-c", SHOW))
    assert code == 0
    lines = without_codes(shown).split("\r\n")
    assert len(lines) == 4 * len(NAMES) + 2  # a table's heading, and the end
    assert all(line.isprintable() for line in lines)


@pytest.mark.slow
@needs_signals
def test_nothing_of_others_reaches_a_real_terminal(tmp_path):
    name = "d\x1b]0;t\x07\n\u202e\x9b2J"
    labels = ["a\x1b]0;t\x07", "b\n\n\u202e", "c\x9b2J\r", "[red]d[/]:smile:"]
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    X = np.eye(4)[y] + 0.1 * rng.normal(size=(120, 4))
    np.savez(tmp_path / f"{name}.npz", X=X, y=np.array(labels)[y])
    options = ["--hidden", "8", "--epochs", "20", "--learning-rate", "0.05", "--device", "cpu"]
    folder = ["--checkpoint", "run\x1b[5m"]
    code, shown = in_a_terminal(tmp_path, "train", f"{name}.npz", *options, *folder)
    assert code == 0
    text = without_codes(shown)
    assert f"saved {printable(name)}.safetensors and {printable(name)}.png\r\n" in text
    # What a file tells of itself may be anything.
    model = xn.load_model(tmp_path / f"{name}.safetensors", device="cpu")
    model.training.update(data="\x1b[2J", target="\x1b[2J\n")
    model.save(tmp_path / "m\x07.safetensors")
    code, shown = in_a_terminal(tmp_path, "evaluate", "m\x07.safetensors", f"{name}.npz")
    assert code == 0
    text = without_codes(shown)
    for label in labels:
        assert text.count(printable(label)) == 3
    code, shown = in_a_terminal(tmp_path, "predict", "m\x07.safetensors", f"{name}.npz")
    assert (code, len(without_codes(shown).splitlines())) == (0, 121)
    for arguments in (
        ["train", "nosuch\x1b[2J.npz"],
        ["train", f"{name}.npz", *folder],
        ["train", "--resume", "run\x1b[5m", "--hidden", "\x1b[2J"],
        ["evaluate", "\x9b2J.safetensors", "iris"],
        ["info", "--\x1b[2J"],
        ["info", "--picture", "\x1b[2J.jpg", "--schedules"],
        ["fly\x1b[2J"],
    ):
        code, shown = in_a_terminal(tmp_path, *arguments)
        assert code == 2
        assert without_codes(shown).startswith("error: ")
        assert shown.count("\n") == 1
    code, shown = in_a_terminal(tmp_path, "info")
    assert code == 0
    without_codes(shown)


@pytest.mark.slow
@needs_signals
def test_columns_of_others_do_not_either(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    column = "size\x1b]0;t\x07"
    rows = "".join(f"{i}.5,{'ab'[i % 2]}\x1b[2J\n" for i in range(60))
    (tmp_path / "d.csv").write_text(f"{column},kind\x9b\n{rows}")
    options = ["--hidden", "8", "--epochs", "2", "--device", "cpu"]
    code, shown = in_a_terminal(tmp_path, "train", "d.csv", "--target", "kind\x9b", *options)
    assert code == 0
    without_codes(shown)
    (tmp_path / "d.csv").write_text(f"{column},kind\x9b\n{rows}1x\x1b[2J,a\n")
    for target in ("kind\x9b", "none\x1b[2J"):
        code, shown = in_a_terminal(tmp_path, "train", "d.csv", "--target", target)
        assert code == 2
        assert without_codes(shown).startswith("error: ")
    (tmp_path / "d.csv").write_text(f"colour\x1b[2J,kind\x9b\n{rows}")
    code, shown = in_a_terminal(tmp_path, "evaluate", "d.safetensors", "d.csv")
    assert code == 2
    without_codes(shown)
