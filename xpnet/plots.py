"""Pictures, drawn with Matplotlib into files: no window, no global state."""

from __future__ import annotations

import os

from .history import History


def learning_curves(
    history: History,
    path: str | os.PathLike[str],
    title: str,
    error_name: str = "error",
    test_error: float | None = None,
) -> None:
    """Draw loss and error of the training and the development set over the epochs.

    Parameters
    ----------
    history : History
        Of a fit with validation data.
    path : path
        Where to; its ending says the format, as ``.png``.
    title : str
        Above the picture.
    error_name : str
        What the error is called.
    test_error : float or None
        The final error on the test set, drawn as a line.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = history["epoch"]
    marker = "o" if len(epochs) < 3 else None
    for axes, what in zip(figure.subplots(1, 2), ("loss", "error"), strict=True):
        for part, name, colour in (
            ("train", "training", "#1f6fb4"),
            ("dev", "development", "#d1601f"),
        ):
            axes.plot(epochs, history[f"{part}_{what}"], label=name, color=colour, marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel(error_name if what == "error" else "loss")
    if test_error is not None:
        label = f"test, at the end: {test_error:.2%}"
        axes.axhline(test_error, color="#444444", linestyle=":", label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in figure.axes:
        axes.legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
