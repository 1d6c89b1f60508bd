"""Pictures, drawn with Matplotlib into files: no window, no global state."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.blas import threads_in_words
from ..files import atomic
from ..plain_text import printable
from ..train.history import History

BLUE, ORANGE, GREY = "#1f6fb4", "#d1601f", "#444444"


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all."""
    path, content = Path(path), io.BytesIO()
    figure.savefig(content, dpi=120, format=path.suffix.removeprefix(".") or "png")
    atomic.write_whole(path, content.getvalue())


def _plain(text: str) -> str:
    r"""Return a text that is drawn as it stands: a dollar sign begins no formula.

    Examples
    --------
    >>> print(_plain("cost_$x_{$\x1b"))
    cost_\$x_{\$\x1b
    """
    return printable(text).replace("$", r"\$")


def _tidy(axes: Any) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def training_history(
    history: History,
    path: str | os.PathLike[str],
    title: str,
    error_name: str = "error",
    test_error: float | None = None,
    best_epoch: int | Sequence[int] | None = None,
) -> None:
    """Draw loss and error of the training and the development set over the epochs.

    Of members each is a thin line, and their mean a thick one: in an epoch that some are no longer
    trained in, the mean of the others.

    Parameters
    ----------
    history : History
        Of a fit with validation data.
    path : path
        Where to; its ending says the format, as ``.png``.
    title : str
        Above the picture, as it stands.
    error_name : str
        What the error is called.
    test_error : float or None
        The final error on the test set, drawn as a line.
    best_epoch : int, sequence of int, or None
        The epoch whose weights were kept, marked by a line; of members one each, 0 for none.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = _figure(10, 4)
    epochs = history["epoch"]
    marker, best = "o" if len(epochs) < 3 else None, _best_epochs(best_epoch)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "error"), strict=True):
        for part, name, colour in (
            ("train", "training", BLUE),
            ("dev", "development", ORANGE),
        ):
            column = history[f"{part}_{what}"]
            _draw_column(axes, epochs, column, name, colour, marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        _tidy(axes)
        axes.set_ylabel(_plain(error_name) if what == "error" else "loss")
        for epoch in best:
            axes.axvline(epoch, color=GREY, linewidth=1 / len(best) ** 0.5, linestyle="--")
    if test_error is not None:
        when = f"epoch {best[0]}" if len(best) == 1 else "each one's best" if best else "at the end"
        label = f"test, {when}: {test_error:.2%}"
        axes.axhline(test_error, color=GREY, linestyle=":", label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in figure.axes:
        axes.legend(frameon=False)
    figure.suptitle(_plain(title))
    save(figure, path)


def _best_epochs(best_epoch: int | Sequence[int] | None) -> list[int]:
    if best_epoch is None:
        return []
    several = [best_epoch] if isinstance(best_epoch, int) else best_epoch
    return sorted({*several} - {0})


def _draw_column(
    axes: Any, along: Sequence[float], column: Sequence[Any], name: str, colour: str, **style: Any
) -> None:
    """Draw figures: a line, or one for each member and their mean."""
    style = {"color": colour} | style
    if not any(isinstance(figures, list) for figures in column):
        axes.plot(along, column, label=name, **style)
        return
    figures = np.array(column, np.float64)  # rows by members
    axes.plot(along, figures, linewidth=0.6, alpha=0.45, **style)
    there = np.isfinite(figures)
    total, count = np.where(there, figures, 0.0).sum(axis=1), there.sum(axis=1)
    mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    label = f"{name}, mean of {figures.shape[1]}"
    axes.plot(along, mean, label=label, linewidth=2, **style)


def learning_curve(
    rows: Sequence[dict[str, float]],
    path: str | os.PathLike[str],
    title: str,
    error_name: str = "error",
) -> None:
    """Draw training and development error over the number of training examples.

    Parameters
    ----------
    rows : sequence of dict
        "examples", "train_error" and "dev_error" of each size; of members lists of errors.
    path : path
        Where to; its ending says the format, as ``.png``.
    title : str
        Above the picture, as it stands.
    error_name : str
        What the error is called.
    """
    from matplotlib.ticker import PercentFormatter

    figure = _figure(6, 4)
    axes = figure.subplots()
    examples = [row["examples"] for row in rows]
    for part, name, colour in (("train", "training", BLUE), ("dev", "development", ORANGE)):
        errors = [row[f"{part}_error"] for row in rows]
        _draw_column(axes, examples, errors, name, colour, marker="o", clip_on=False)
    axes.set_xlabel("training examples")
    axes.set_ylabel(_plain(error_name))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _tidy(axes)
    axes.legend(frameon=False)
    axes.set_title(_plain(title))
    save(figure, path)


def schedules(
    named: Sequence[tuple[str, str, Sequence[float]]],
    path: str | os.PathLike[str],
    last: float,
    unit: str,
) -> None:
    """Draw learning-rate schedules, each in a panel of its own.

    Parameters
    ----------
    named : sequence of (name, formula, rates)
        The rates at evenly spaced times.
    path : path
        Where to; its ending says the format, as ``.png``.
    last : float
        The last time.
    unit : str
        What is counted along the axis.
    """
    columns = 3
    figure = _figure(11, 3 * -(-len(named) // columns))
    panels = figure.subplots(-(-len(named) // columns), columns, sharey=True, sharex=True).flat
    for axes, (name, formula, rates) in zip(panels, named, strict=False):
        axes.plot(np.linspace(0, last, len(rates)), rates, color=BLUE)
        axes.set_title(f"{_plain(name)}\n{_plain(formula)}", fontsize=10)
        axes.set_ylim(bottom=0)
        _tidy(axes)
    figure.supxlabel(_plain(unit))
    figure.supylabel("learning rate")
    save(figure, path)


def _draw_rates(axes: Any, series: dict[str, Any], style: dict[str, Any]) -> None:
    """Draw the samples per second of a series: a line of what is sure, and points of what isn't."""
    rows, colour = series["rows"], style["color"]
    sizes, rates, slowest, quickest = _rates([row for row in rows if row["sure"]])
    axes.plot(sizes, rates, marker="o", markersize=4, **style)
    axes.fill_between(sizes, slowest, quickest, color=colour, alpha=0.25, linewidth=0)
    sizes, rates, slowest, quickest = _rates([row for row in rows if not row["sure"]])
    axes.vlines(sizes, slowest, quickest, color=colour, alpha=0.5, linewidth=1)
    axes.plot(sizes, rates, "o", markersize=4, color=colour, mfc="white")
    sizes, rates, _, _ = _rates([row for row in rows if row["batch_size"] == series["knee"]])
    axes.plot(sizes, rates, "o", markersize=13, mfc="none", color=colour)


def _rates(rows: Sequence[dict[str, Any]]) -> tuple[list[float], ...]:
    """Return batch sizes, and samples per second: as measured, at least and at most."""
    names = "seconds", "seconds_most", "seconds_least"
    sizes = [row["batch_size"] for row in rows]
    return sizes, *([row["batch_size"] / row[name] for row in rows] for name in names)


def throughput(
    series: Sequence[dict[str, Any]],
    crossovers: dict[str, int | None],
    path: str | os.PathLike[str],
    title: str,
) -> None:
    """Draw samples per second over the batch size, on each device, in training and in prediction.

    Of several numbers of threads the lines are the paler the more there are.

    Parameters
    ----------
    series : sequence of dict
        "device", "mode", "threads", "knee" and "rows", as `profile_result.Series` has them; none
        without rows.
    crossovers : dict
        For each mode the batch size from which on the last device is quicker, or None.
    path : path
        Where to; its ending says the format, as ``.png``.
    title : str
        Above the picture.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = _figure(10, 5)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    devices = list(dict.fromkeys(s["device"] for s in series))
    modes = {"training": "-", "prediction": "--"}
    for s in series:
        several = sorted({o["threads"] for o in series if o["device"] == s["device"]} - {None})
        among = several.index(s["threads"]) if len(several) > 1 else 0
        colour = _paler((BLUE, ORANGE, GREY)[min(devices.index(s["device"]), 2)], among)
        threads = f", {threads_in_words(s['threads'])}" if len(several) > 1 else ""
        label = f"{_plain(s['device'])}{threads}, {s['mode']}\n○ knee: {s['knee']:,}"
        _draw_rates(axes, s, {"color": colour, "linestyle": modes[s["mode"]], "label": label})
    for mode, crossover in crossovers.items():
        if crossover is not None:
            label = f"{mode}: {_plain(devices[-1])}\nquicker from {crossover:,} on"
            axes.axvline(crossover, color=GREY, linewidth=1, linestyle=modes[mode], label=label)
    every = sorted({row["batch_size"] for s in series for row in s["rows"]})
    axes.set_xticks(every[:: max(1, -(-len(every) // 9))], minor=False)
    axes.set_xticks([], minor=True)
    in_full = FuncFormatter(lambda number, _: f"{number:,.0f}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(in_full)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_formatter(in_full if high < 100 * low else NullFormatter())
    axes.set_xlabel("batch size, examples")
    axes.set_ylabel("samples per second")
    _tidy(axes)
    axes.set_title(_plain(title))
    figure.legend(loc="outside right center", frameon=False, labelspacing=1.0)
    save(figure, path)


def _paler(colour: str, steps: int) -> str:
    """Return a colour with a part of white in it, the larger the more steps.

    Examples
    --------
    >>> _paler("#000000", 0), _paler("#000000", 1), _paler("#000000", 2)
    ('#000000', '#666666', '#a3a3a3')
    """
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - c) * 0.6**steps):02x}" for c in channels)


def propagation(study: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw how activations and gradients grow or fade through the layers.

    Parameters
    ----------
    study : sequence of dict
        What `propagation.study` returned.
    path : path
        Where to; its ending says the format, as ``.png``.
    """
    figure = _figure(11, 7)
    kinds = list(dict.fromkeys(row["activation"] for row in study))
    panels = figure.subplots(2, len(kinds), sharex=True, squeeze=False)
    for column, kind in enumerate(kinds):
        rows = [row for row in study if row["activation"] == kind]
        for number, row in enumerate(rows):
            layers, colour = range(1, len(row["expected"]) + 1), f"C{number}"
            style = {"color": colour, "marker": "o", "markersize": 4}
            top, bottom = panels[:, column]
            name = _plain(str(row["init"]))
            top.plot(layers, row["activations"], linestyle="", label=name, **style)
            top.plot(layers, row["expected"], color=colour, linewidth=1)
            bottom.plot(layers, row["gradients"], linewidth=1, **style)
        panels[0, column].set_title(f"{_plain(kind)}: activations (lines: theory)")
        panels[1, column].set_title(f"{_plain(kind)}: gradients of the weights")
    for axes in panels.flat:
        axes.set_yscale("log")
        axes.set_ylabel("root mean square")
        _tidy(axes)
    for axes in panels[1]:
        axes.set_xlabel("layer")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0, 0].legend(frameon=False)
    save(figure, path)
