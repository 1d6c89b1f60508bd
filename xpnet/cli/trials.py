"""A search as it is shown: a line for each trial that has ended, a bar, the table of the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..recipes.specs import told
from ..search.distributions import Choice, Distribution
from ..search.space import conditions, plain
from ..search.trials import State, Trial

#: How a number of a setting is shown, at most so wide.
NUMBER, WIDTH = ".3g", 9

#: What is shown of a trial that has ended in another way than all others.
NOTES = {State.STOPPED: "stopped", State.COMPLETE: "", State.RUNNING: "running"}

#: What ``--set`` has before the ends of a range, by its scale.
PREFIXES = {"log": "log:", "log of 1 - x": "1-log:"}


class Objective:
    """How the figures of a search are shown.

    Parameters
    ----------
    name : str
        What the objective is called.
    percent : bool
        Whether it is a share.
    minimize : bool
        Whether less is better.
    """

    def __init__(self, name: str, percent: bool, minimize: bool) -> None:
        self.name, self._percent, self._minimize = name, percent, minimize

    def told(self, value: float | None) -> str:
        """Return a figure as it is shown."""
        if value is None:
            return "-"
        return f"{value:.2%}" if self._percent else f"{value:.5g}"

    def better(self, value: float, than: float | None) -> bool:
        """Return whether a figure is better than another one, or there is none."""
        if than is None:
            return True
        return value < than if self._minimize else value > than


def cell(setting: Mapping[str, Any], name: str) -> str:
    """Return a setting's value as a table has it; a dash where it has none."""
    if name not in setting:
        return "-"
    value = setting[name]
    return f"{value:{NUMBER}}" if isinstance(value, float) else told(value)


class TrialReporter:
    """Shows a search: a line for each trial that has ended, and a bar in a terminal.

    Parameters
    ----------
    console : rich.console.Console
        Where to.
    space : dict of str to Distribution
        What is searched in.
    objective : Objective
        What the search goes by.
    limit : int
        How many trials there are to be.
    before : sequence of Trial
        Those that the study has already.
    """

    def __init__(
        self,
        console: Console,
        space: Mapping[str, Distribution],
        objective: Objective,
        limit: int,
        before: Sequence[Trial] = (),
    ) -> None:
        self._console, self._objective = console, objective
        self._widths = {name: _width(name, d) for name, d in space.items() if varies(d)}
        self._heading, self.has_written = f"dev {objective.name}", False
        self._best: Trial | None = None
        self._ended: set[int] = set()
        for trial in before:
            if trial.state is not State.RUNNING:
                self._ended.add(trial.number)
                self._is_best(trial)
        self._progress = Progress(
            TextColumn("{task.completed:.0f} of {task.total:.0f} trials"),
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )
        self._bar = self._progress.add_task("", total=limit, completed=len(self._ended))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Return a context in which the bar is there, below the lines."""
        self._tell()
        self._progress.start()
        try:
            yield
        finally:
            self._progress.stop()

    def watch(self, trial: Trial) -> None:
        """Write the line of a trial that has ended; one that was stopped may go on and end anew."""
        if not self.has_written:
            names = "".join(f"  {name:>{width}}" for name, width in self._widths.items())
            self._console.print(f"{'trial':>5}  {'epochs':>6}  {self._heading:>9}{names}")
            self.has_written = True
        best = self._is_best(trial)
        cells = "".join(f"  {cell(trial.setting, n):>{w}}" for n, w in self._widths.items())
        note = f"failed: {trial.reason}" if trial.state is State.FAILED else NOTES[trial.state]
        went_on = "went on" if trial.number in self._ended else ""
        note = ", ".join(filter(None, (went_on, note, "best so far" if best else "")))
        value = self._objective.told(trial.value).rjust(max(9, len(self._heading)))
        line = f"{trial.number:>5}  {trial.epochs:>6}  {value}{cells}"
        self._console.print(f"{line}  {note}".rstrip())
        self._ended.add(trial.number)
        self._tell()

    def _tell(self) -> None:
        best = self._best
        told = "" if best is None else f"best {self._objective.told(best.value)}"
        self._progress.update(self._bar, description=told, completed=len(self._ended))

    def _is_best(self, trial: Trial) -> bool:
        """Return whether a trial is the best so far of those that were trained to their end."""
        if trial.state is not State.COMPLETE or trial.value is None:
            return False
        before = None if self._best is None else self._best.value
        if not self._objective.better(trial.value, before):
            return False
        self._best = trial
        return True


def varies(distribution: Distribution) -> bool:
    """Return whether a hyper-parameter has more than one value, or is not always there."""
    return not isinstance(distribution, Choice) or len(distribution.options) > 1


def _width(name: str, distribution: Distribution) -> int:
    """Return how wide the column of a hyper-parameter is."""
    found = plain(distribution)
    names = found.names if isinstance(found, Choice) else ()
    return max(len(name), *(len(text) for text in names), 1 if names else WIDTH)


def best_table(
    trials: Sequence[Trial], space: Mapping[str, Distribution], objective: Objective
) -> Table:
    """Return the best trials as a table, in the order given."""
    names = [name for name, distribution in space.items() if varies(distribution)]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("trial", f"dev {objective.name}", "best epoch", *names):
        table.add_column(heading, justify="right")
    for trial in trials:
        epoch = f"{trial.best_epoch} of {trial.epochs}"
        cells = [cell(trial.setting, name) for name in names]
        table.add_row(str(trial.number), objective.told(trial.value), epoch, *cells)
    return table


def counted(trials: Sequence[Trial]) -> str:
    """Return in words how many trials have ended in which way.

    Examples
    --------
    >>> counted([Trial(0, {}, State.COMPLETE), Trial(1, {}, State.STOPPED)])
    '2 trials: 1 trained to the end, 1 stopped early'
    """
    words = {
        State.COMPLETE: "trained to the end",
        State.STOPPED: "stopped early",
        State.FAILED: "failed",
        State.RUNNING: "not ended yet",
    }
    counts = Counter(trial.state for trial in trials)
    told = ", ".join(f"{counts[state]:,} {word}" for state, word in words.items() if counts[state])
    return f"{len(trials):,} trials: {told}" if told else "no trials"


def space_table(space: Mapping[str, Distribution]) -> Table:
    """Return what is searched in, as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("hyper-parameter", "range"):
        table.add_column(heading, overflow="fold")
    for name, distribution in space.items():
        table.add_row(name, _range(distribution, space))
    return table


def _range(distribution: Distribution, space: Mapping[str, Distribution]) -> str:
    """Return a distribution in the words of ``--set``."""
    beside = []
    for condition in conditions(distribution):
        values = "|".join(map(str, map(space[condition.name].encode, condition.values)))
        beside.append(f"if {condition.name}={values}")
    found = plain(distribution)
    if isinstance(found, Choice):
        told = "|".join(found.names)
    else:
        ends: Any = found
        told = f"{PREFIXES.get(getattr(ends, 'scale', ''), '')}{ends.low:g}:{ends.high:g}"
    return " ".join([told, *beside])
