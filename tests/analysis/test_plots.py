"""Pictures: a name is drawn as it stands, and a file is whole or not there."""

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
    plots.throughput([a_series(name)], {"training": 1}, tmp_path / "d.png", name)
    pictures = sorted(tmp_path.iterdir())
    assert [picture.name for picture in pictures] == ["a.png", "b.png", "c.png", "d.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


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


# -- throughput ----


def a_series(device="cpu", sure=(True, True, True)):
    """Return a sweep in which each step takes a second, or 0.8 to 1.25."""
    times = {"seconds": 1.0, "seconds_least": 0.8, "seconds_most": 1.25}
    sizes = zip((1, 2, 4), sure, strict=True)
    rows = [{"batch_size": n, "sure": known, **times} for n, known in sizes]
    return {"device": device, "mode": "training", "threads": 1, "knee": 2, "rows": rows}


def test_a_profile_s_picture_shows_what_is_sure(drawn):
    plots.throughput([a_series(sure=(True, True, False))], {}, "a.png", "title")
    (axes,) = drawn[0].axes
    known, unsure, knee = axes.lines
    assert known.get_xydata().tolist() == [[1, 1], [2, 2]]
    assert unsure.get_xydata().tolist() == [[4, 4]]
    assert (unsure.get_linestyle(), unsure.get_markerfacecolor()) == ("None", "white")
    assert knee.get_xydata().tolist() == [[2, 2]]
    area, bar = (c.get_paths()[0].vertices.tolist() for c in axes.collections)
    assert {(1, 0.8), (1, 1.25), (2, 1.6), (2, 2.5)} == {tuple(corner) for corner in area}
    assert bar == [[4, 3.2], [4, 5.0]]


# -- members ----


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that are saved."""
    found = []
    monkeypatch.setattr(plots, "save", lambda figure, path: found.append(figure))
    return found


def of_members():
    losses = [[0.9, 0.7, 0.5], [0.8, np.nan, 0.4], [0.6, np.nan, np.nan]]
    names = ("train_loss", "train_error", "dev_loss", "dev_error")
    rows = [{"epoch": e, **dict.fromkeys(names, row)} for e, row in enumerate(losses, 1)]
    return xn.History(rows, members=3)


def test_members_are_thin_lines_with_their_mean(drawn):
    plots.training_history(of_members(), "a.png", "title", test_error=0.3, best_epoch=[3, 1, 0])
    for axes in drawn[0].axes:
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
        thin = [line for line in lines if line.get_linewidth() < 1]
        thick = [line for line in lines if line.get_linewidth() > 1]
        assert (len(thin), len(thick)) == (6, 2)
        for line in thick:  # of those that are trained
            np.testing.assert_allclose(line.get_ydata(), [0.7, 0.6, 0.6])
            assert line.get_label().endswith(", mean of 3")
        marks = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
        assert marks == [1, 3]
    labels = [text.get_text() for text in drawn[0].axes[1].get_legend().get_texts()]
    assert labels[-1] == "test, each one's best: 30.00%"


def test_a_mean_of_none_is_no_point(drawn):
    history = of_members()
    history.rows.append(dict.fromkeys(history.rows[0], [np.nan] * 3) | {"epoch": 4})
    plots.training_history(history, "a.png", "title")
    (mean,) = [li for li in drawn[0].axes[0].get_lines() if li.get_label()[:8] == "training"]
    np.testing.assert_allclose(mean.get_ydata(), [0.7, 0.6, 0.6, np.nan])


def test_one_network_is_one_line(drawn):
    plots.training_history(history(), "a.png", "title", test_error=0.1, best_epoch=2)
    assert [len(axes.get_lines()) for axes in drawn[0].axes] == [3, 4]
    assert drawn[0].axes[0].get_lines()[0].get_label() == "training"


def test_a_learning_curve_may_be_of_members(drawn):
    rows = [{"examples": n, "train_error": [0.1, 0.3], "dev_error": [0.2, 0.4]} for n in (10, 20)]
    plots.learning_curve(rows, "a.png", "title")
    means = [line for line in drawn[0].axes[0].get_lines() if "mean of 2" in line.get_label()]
    np.testing.assert_allclose([line.get_ydata() for line in means], [[0.2] * 2, [0.3] * 2])
