"""Pictures: a name is drawn as it stands, and a file is whole or not there."""

import math

import matplotlib.mathtext
import numpy as np
import pytest

import xpnet as xn
from xpnet.analysis import plots
from xpnet.files import atomic

ROWS = [{"examples": n, "train_error": 0.1, "dev_error": 0.2} for n in (10, 20)]

#: What Matplotlib would take for a formula, and fail at, and what it has no sign for.
NAMES = ["$x$", "cost_$x_{$", r"a\$b$c$", "\\alpha", "line\nbreak", "\x1b]0;t\x07", "\udce9"]


@pytest.fixture
def no_formulas(monkeypatch):
    """Make each formula an error."""
    monkeypatch.setattr(matplotlib.mathtext.MathTextParser, "parse", lambda *_, **__: 1 / 0)


def history():
    found = xn.History()
    for epoch in (1, 2):
        errors = dict.fromkeys(("train_loss", "train_error", "dev_loss", "dev_error"), 0.5)
        found.rows.append({"epoch": epoch, **errors})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_stands(tmp_path, no_formulas, name):
    plots.learning_curve(ROWS, tmp_path / "a.png", name, name)
    plots.training_history(history(), tmp_path / "b.png", name, name, 0.1)
    plots.schedules([(name, name, [0.1] * 5)], tmp_path / "c.png", 4.0, name)
    row = {"batch_size": 1, "samples_per_second": 1.0, "seconds_q1": 1.0, "seconds_q3": 1.0}
    series = {"device": name, "mode": "training", "knee": 1, "rows": [row]}
    plots.throughput([series], {"training": 1}, tmp_path / "d.png", name)
    pictures = sorted(tmp_path.iterdir())
    assert [picture.name for picture in pictures] == ["a.png", "b.png", "c.png", "d.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("best_epoch", [None, 2, [1, 2, 2]])
def test_members_have_a_line_each_and_their_mean(tmp_path, best_epoch, monkeypatch):
    """A member that has ended has no figure any more."""
    found, drawn = xn.History(members=3), []
    for epoch, last in ((1, 0.9), (2, math.nan)):
        errors = {
            f"{part}_{what}": [0.1, 0.2, last]
            for part in ("train", "dev")
            for what in ("loss", "error")
        }
        found.rows.append({"epoch": epoch, **errors})
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    plots.training_history(found, tmp_path / "a.png", "title", "error", 0.1, best_epoch)
    lines = drawn[0].axes[0].get_lines()
    means = [line.get_ydata() for line in lines if line.get_label() in ("training", "development")]
    assert len(means) == 2
    for mean in means:
        np.testing.assert_allclose(mean, [0.4, 0.15])
    marks = [line for line in lines if line.get_linestyle() == "--"]
    assert len(marks) == len({*np.ravel(best_epoch or [])})


def test_several_histories(tmp_path):
    plots.several_histories([history(), history()], tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_ending_says_the_format(tmp_path):
    for name, begins in (("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")):
        plots.learning_curve(ROWS, str(tmp_path / name), "title")
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    class Full(atomic.Disk):
        def write(self, file, data):
            file.write(data[:100])
            raise OSError(28, "No space left on device")

    picture = tmp_path / "a.png"
    picture.write_bytes(b"old")
    monkeypatch.setattr(atomic, "DISK", Full())
    with pytest.raises(OSError, match="No space left"):
        plots.learning_curve(ROWS, picture, "title")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
