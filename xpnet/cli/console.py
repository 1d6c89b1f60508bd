"""What the command line shows: a bar and a row per epoch, tables, and one line for an error."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..data.batches import Batches
from ..plain_text import printable
from ..train.callback import Callback
from ..train.history import History
from ..train.trainer import Trainer

#: What comes when the terminal is closed, on systems that have it.
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)

#: What a signal does when it comes again; the others end the process. A shell that is closed, and
#: the system, both send SIGHUP.
AGAIN: dict[int | None, Any] = {
    signal.SIGINT: signal.default_int_handler,
    HANG_UP: signal.SIG_IGN,
}

#: Seconds between two looks of the progress bar: it must not slow small steps down.
GLANCE = 0.1


class Terminal(Console):
    """A console on which every text is shown as it stands, whoever wrote it.

    No markup, no emoji, no colours for numbers; what could steer the terminal is escaped, before
    the widths of a table are measured. A line is what one `print` writes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as Rich's `Console` prints and measures it."""
        return super().render_str(printable(text), **options)


def make_console(stderr: bool = False, quiet: bool = False, least_width: int = 0) -> Console:
    """Return a console that writes plain text when its output is piped.

    Tables are made for ``least_width`` columns at least: in a narrower terminal their lines are
    wrapped, not cut.
    """
    console = Terminal(stderr=stderr, quiet=quiet)
    if not console.is_terminal:
        console.width = 10_000  # tables are not cut where there is no edge
    console.width = max(console.width, least_width)
    return console


def print_whole(console: Console, table: Table) -> None:
    """Print a table of which nothing is cut: in a narrow terminal its lines are wrapped."""
    options = console.options.update(max_width=10_000)
    width = Measurement.get(console, options, table).maximum
    make_console(quiet=console.quiet, least_width=width).print(table)


def tell(line: str) -> None:
    """Write a line to standard error."""
    make_console(stderr=True).print(line)


class Reporter(Callback):
    """Shows a fit: a progress bar with samples/s in a terminal, and a row per epoch everywhere.

    Parameters
    ----------
    console : rich.console.Console
        Where to.
    error_name : str
        What the error is called in the rows' heading.
    rows : bool
        Whether to write the rows, or to show the bar alone. Of members a row has their means, and
        the standard deviations between them.
    """

    takes_members: ClassVar[bool] = True

    def __init__(self, console: Console, error_name: str, rows: bool = True) -> None:
        self._console, self._error_name, self._rows = console, error_name, rows
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[speed]:>12,.0f} samples/s", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Write the heading and start the bar."""
        if self._rows and epochs:
            self._console.print(
                f"{'epoch':>5}  {_headings(self._error_name)}  {'rate':>9}  {'samples/s':>11}"
            )
        self._last = trainer.epochs + epochs
        for old in self._progress.task_ids:
            self._progress.remove_task(old)
        self._bar = self._progress.add_task("", total=epochs * batches.n, speed=0.0)
        self._seen = 0
        self._begin_epoch(trainer.epochs + 1)
        self._progress.start()

    def _begin_epoch(self, epoch: int) -> None:
        self._seen_before, self._began = self._seen, time.monotonic()
        self._glanced = self._began
        self._progress.update(self._bar, description=f"epoch {min(epoch, self._last)}/{self._last}")

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Move the bar, ten times a second at most."""
        self._seen += n
        now = time.monotonic()
        if now - self._glanced >= GLANCE:
            speed = (self._seen - self._seen_before) / (now - self._began)
            self._progress.update(self._bar, completed=self._seen, speed=speed)
            self._glanced = now

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Write the epoch's row, and move the bar: an epoch may be shorter than a glance."""
        self._progress.update(self._bar, completed=self._seen, speed=row["samples_per_second"])
        if self._rows:
            self._console.print(
                f"{row['epoch']:>5.0f}{_figures(row)}  "
                f"{row['learning_rate']:>9.3g}  {row['samples_per_second']:>11,.0f}"
            )
        self._begin_epoch(trainer.epochs + 1)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away, also after an error."""
        self._progress.stop()


class CtrlC(Callback):
    """Makes the first Ctrl-C end the fit after its present step; a second one quits at once.

    What was learnt is then evaluated and saved as usual; no further training begins. The same does
    SIGHUP, which comes when the terminal is closed, any number of times; and SIGTERM, by which a
    batch system or a service manager ends a process, if that is wanted.

    Attributes
    ----------
    pressed : bool
        Whether it was pressed.
    reason : str
        Which of them it was, in words.
    exit_code : int
        What a shell expects of a command that was ended so: 128 and the signal's number.
    """

    takes_members: ClassVar[bool] = True
    reason = "Ctrl-C was pressed"
    exit_code = 128 + signal.SIGINT

    def __init__(self) -> None:
        self.pressed = False
        self._stop: Callable[[str], object] = lambda reason: None

    @contextmanager
    def watched(self, terminated: bool = False) -> Iterator[None]:
        """Return a context in which Ctrl-C and SIGHUP do so, and SIGTERM if ``terminated``."""
        numbers = [signal.SIGINT, *([signal.SIGTERM] if terminated else [])]
        numbers += [] if HANG_UP is None else [HANG_UP]
        # What who started the command has it ignore stays so, as with `nohup`, or `&` in a script.
        numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._press) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _press(self, number: int, frame: Any) -> None:
        signal.signal(number, AGAIN.get(number, signal.SIG_DFL))
        if self.pressed:  # another one came before
            if number != HANG_UP:
                signal.raise_signal(number)
            return
        self.pressed = True
        if number != signal.SIGINT:
            self.reason, self.exit_code = f"{signal.Signals(number).name} came", 128 + number
        self._stop(self.reason)

    def stops(self, stop: Callable[[str], object]) -> None:
        """Have it call a function, with the reason, from now on; at once if it was pressed."""
        self._stop = stop
        if self.pressed:
            stop(self.reason)

    def cut(self, trainer: Trainer) -> bool:
        """Return whether it ended a training before its time."""
        return trainer.history.reason == self.reason

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Learn which fit to stop; it may have been pressed before."""
        self.stops(trainer.interrupt)


@contextmanager
def telling_how_to_go_on(command: Callable[[], str | None]) -> Iterator[None]:
    """Return a context in which a Ctrl-C that ends all at once says how to go on, if one can.

    ``command`` returns the command that does.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if (how := command()) is None:
            raise
        raise KeyboardInterrupt(f"go on with: {how}") from stop


@contextmanager
def status(console: Console) -> Iterator[Callable[[str], object]]:
    """Return a context that shows, in a terminal, the words that its function is called with."""
    if not console.is_terminal or console.quiet:
        yield lambda text: None
        return
    with console.status("") as line:
        yield lambda text: line.update(console.render_str(text))


class SweepTable:
    """Shows trainings side by side, a row for each as it ends.

    Parameters
    ----------
    console : rich.console.Console
        Where to.
    heading, key : str
        What differs between them, for people and in the rows.
    error_name : str
        What the error is called.
    """

    def __init__(self, console: Console, heading: str, key: str, error_name: str) -> None:
        self._console, self._key = console, key
        console.print(f"{heading:>8}  {_headings(error_name)}")

    def add(self, row: dict[str, float], note: str = "") -> None:
        """Write a row."""
        figures = _figures(row) if "dev_error" in row else "  the training diverged"
        self._console.print(f"{row[self._key]:>8,g}{figures}{note}")


def _headings(error_name: str) -> str:
    errors = [f"{part} {error_name}" for part in ("train", "dev")]
    return f"{'train loss':>10}  {errors[0]:>11}  {'dev loss':>10}  {errors[1]:>11}"


def _figures(row: dict[str, Any]) -> str:
    """Return a row's losses and errors, or the means of members with their spread.

    Each column begins with the two spaces before it, which a mean with its spread may reach into.
    """
    names = ("train_loss", "train_error", "dev_loss", "dev_error")
    return "".join(
        f"{_figure(row[name], percent):>{13 if percent else 12}}"
        for name in names
        for percent in [name.endswith("error")]
    )


def _figure(value: Any, percent: bool) -> str:
    if isinstance(value, list):
        return mean_and_spread(value, percent)
    return f"{value:.2%}" if percent else f"{value:.4f}"


def mean_and_spread(values: Sequence[float], percent: bool = False) -> str:
    """Return members' mean and standard deviation in 11 characters, where they are not huge.

    What is not finite is left out.

    Examples
    --------
    >>> mean_and_spread([0.25, 0.35]), mean_and_spread([0.2, 0.25, math.nan], percent=True)
    ('0.300±0.050', '22.5%±2.5%')
    >>> mean_and_spread([1234.5, 1235.5]), mean_and_spread([math.nan])
    ('1235.0±0.5', 'nan')
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "nan"
    mean, deviation = float(np.mean(known)), float(np.std(known))
    form = "%" if percent else "f"
    for digits in (2, 1, 0) if percent else (3, 2, 1, 0):
        told = f"{mean:.{digits}{form}}±{deviation:.{digits}{form}}"
        if len(told) <= 11:
            break
    return told


def results_table(
    errors: dict[str, dict[str, Any]],
    error_name: str,
    sizes: dict[str, int],
    called: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Return a table of loss and error on each part, as it is called; of members also of each."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    each = [len(next(iter(m["members"].values()))) for m in errors.values() if "members" in m]
    members = max(each, default=1) > 1
    more = ("loss of each member", f"{error_name} of each") if members else ()
    for heading in ("examples", "loss", error_name, *more):
        table.add_column(heading, justify="right")
    for name, measured in errors.items():
        own = measured.get("members", {}) if members else {}
        table.add_row(
            called.get(name, name),
            f"{sizes[name]:,}",
            f"{measured['loss']:.4f}",
            f"{measured['error']:.2%}",
            *(mean_and_spread(values, percent=what == "error") for what, values in own.items()),
        )
    return table


#: So many columns of a table are shown before a training.
MOST_COLUMNS = 40


def print_columns(console: Console, rows: list[dict[str, str]], every: bool = False) -> None:
    """Print what a table's columns hold and what becomes of them; of many the first ones."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("column", "kind", "what becomes of it"):
        table.add_column(heading, overflow="fold")
    shown = rows if every else rows[:MOST_COLUMNS]
    for row in shown:
        table.add_row(*row.values())
    console.print(table)
    if len(shown) < len(rows):
        console.print(f"and {len(rows) - len(shown):,} more: --schema shows all")
    console.print()


def matrix_table(matrix: Any, classes: list[str]) -> Table:
    """Return a confusion matrix as a table: rows are true classes, columns predicted ones."""
    table = Table(box=None, pad_edge=False, title="true ↓   predicted →", title_justify="left")
    table.add_column("")
    for name in classes:
        table.add_column(name, justify="right")
    for name, row in zip(classes, matrix, strict=True):
        table.add_row(name, *(str(int(count)) for count in row))
    return table


def print_pairs(console: Console, pairs: list[tuple[str, str]]) -> None:
    """Write names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        console.print(f"{name:<{width}}   {value}")


def class_table(per_class: dict[str, dict[str, float]]) -> Table:
    """Return precision, recall and F1 score of each class as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for heading in ("precision", "recall", "f1-score", "examples"):
        table.add_column(heading, justify="right")
    for name, figures in per_class.items():
        rates = [f"{figures[k]:.3f}" for k in ("precision", "recall", "f1-score")]
        table.add_row(name, *rates, f"{figures['support']:,.0f}")
    return table


def schedule_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return schedules as a table: formula, and the rate at some epochs."""
    epochs = (0, 10, 25, 50, 75, 100)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("--schedule")
    table.add_column("formula, α₀ = 0.1")
    for epoch in epochs:
        table.add_column(f"{'epoch ' if epoch == 0 else ''}{epoch}", justify="right")
    for row in rows:
        rates = (f"{row['rates'][epoch]:.3g}" for epoch in epochs)
        table.add_row(row["schedule"], row["formula"], *rates)
    return table


def propagation_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the study of initial weights as a table: scales behind some layers."""
    depth = len(rows[0]["expected"])
    layers = sorted({1, depth // 4, depth // 2, depth} - {0})
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("activation", "initial weights"):
        table.add_column(heading)
    for layer in layers:
        table.add_column(f"{'rms behind layer ' if layer == 1 else ''}{layer}", justify="right")
    table.add_column(f"in theory {depth}", justify="right")
    for row in rows:
        scales = (f"{row['activations'][layer - 1]:.3g}" for layer in layers)
        table.add_row(row["activation"], str(row["init"]), *scales, f"{row['expected'][-1]:.3g}")
    return table
