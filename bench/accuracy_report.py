"""Runs of the benchmark of accuracy, as they are kept, and the tables that are made of them."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import accuracy_sets
from results import figures, markdown, write

CLASSES = "classes"
#: With fewer rows a set is shown, and no part of a mean: a few mistakes more or less decide it.
ENOUGH_ROWS = 500
NOTHING = "–"
#: What is compared as a set's error, by task.
ERROR = {CLASSES: "error", "values": "rmse"}


@dataclass
class Run:
    """A set, a seed and a rival: the rows, the figures, the seconds, or why it failed.

    ``seconds`` has "fit", and "predict" for a thousand rows.
    """

    set: str
    seed: int
    rival: str
    task: str
    rows: dict[str, int]
    heavy: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failed: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """What there is one run of."""
        return self.set, self.seed, self.rival

    def as_line(self) -> str:
        """Return a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    def told(self) -> str:
        """Return its error in a few words."""
        if self.failed is not None:
            return f"failed: {self.failed}"
        return ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())


def read_runs(path: Path) -> Iterator[Run]:
    """Go through a file of runs; there are none if it is not there; half a line is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Run(**json.loads(line))
        except ValueError:  # broken off within a line
            continue


class Table:
    """What the runs say of each set and rival.

    Two are compared by the seeds that both have. ``common``: all are by what every rival has run,
    seeds as well as sets.
    """

    def __init__(self, runs: Sequence[Run], reference: str, common: bool = False) -> None:
        self.reference = reference
        self.runs = {run.key: run for run in runs if run.failed is None}
        self.rivals = list(dict.fromkeys(run.rival for run in runs))
        self.sets = list(dict.fromkeys(run.set for run in runs))
        self.task = {run.set: run.task for run in runs}
        self.heavy = {run.set: run.heavy for run in runs}
        self.rows = {run.set: sum(run.rows.values()) for run in runs}
        if common:
            shared = {name: self.seeds(name, self.rivals) for name in self.sets}
            self.sets = [name for name in self.sets if shared[name]]
            self.runs = {k: run for k, run in self.runs.items() if run.seed in shared[run.set]}

    def of(self, name: str, rival: str) -> list[Run]:
        """Return a rival's runs on a set."""
        return [run for key, run in self.runs.items() if key[0] == name and key[2] == rival]

    def counted(self, task: str | None = None) -> list[str]:
        """Return the sets that are large enough to count, of a task."""
        return [
            name
            for name in self.sets
            if self.rows[name] >= ENOUGH_ROWS and task in (None, self.task[name])
        ]

    def seeds(self, name: str, rivals: Sequence[str]) -> set[int]:
        """Return the seeds with which all of some rivals have run a set."""
        each = [{run.seed for run in self.of(name, rival)} for rival in rivals]
        return set.intersection(*each) if each else set()

    def mean(self, name: str, rival: str, figure: str, seeds: set[int]) -> float:
        """Return a figure's mean over seeds; NaN where there is none."""
        runs = [run for run in self.of(name, rival) if run.seed in seeds]
        return fmean(_figure(run, figure) for run in runs) if runs else math.nan

    def ratio(self, name: str, rival: str, figure: str) -> float:
        """Return a figure's mean over the reference's, over the seeds that both have."""
        seeds = self.seeds(name, [rival, self.reference])
        other = self.mean(name, self.reference, figure, seeds)
        return self.mean(name, rival, figure, seeds) / other if seeds else math.nan

    def ratios(self, rival: str, figure: str | None = None, names: Any = None) -> list[float]:
        """Return the ratios of sets where there are any; by default those of the error."""
        names = self.counted() if names is None else names
        found = [self.ratio(name, rival, figure or ERROR[self.task[name]]) for name in names]
        return [ratio for ratio in found if not math.isnan(ratio)]

    def ranked(self) -> list[str]:
        """Return the sets that every rival has run with some seed."""
        return [name for name in self.counted() if self.seeds(name, self.rivals)]

    def rank(self, rival: str) -> float:
        """Return the mean rank by error, over sets and seeds that all have; equal ones share."""
        places = []
        for name in self.ranked():
            seeds, figure = self.seeds(name, self.rivals), ERROR[self.task[name]]
            of = {who: self.mean(name, who, figure, seeds) for who in self.rivals}
            less = sum(value < of[rival] for value in of.values())
            places.append(less + (1 + sum(value == of[rival] for value in of.values())) / 2)
        return fmean(places) if places else math.nan


def _figure(run: Run, name: str) -> float:
    """Return a figure; of an error of classes with half a mistake more, for none is no ratio's."""
    if name != "error":
        return run.figures[name]
    n = run.rows["test"]
    return (run.figures[name] * n + 0.5) / (n + 1)


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean; NaN of nothing."""
    return math.exp(fmean(map(math.log, values))) if values else math.nan


# -- tables ----


def summary(table: Table) -> str:
    """Return a row for each rival: means of ratios to the reference, rank, seconds."""
    values, heavy = table.counted("values"), [n for n in table.counted() if table.heavy[n]]
    classes = table.counted(CLASSES)
    columns: list[tuple[str, Callable[[str], str]]] = [
        ("error", lambda who: _ratio(table.ratios(who))),
        ("of classes", lambda who: _ratio(table.ratios(who, names=classes))),
        ("log-loss", lambda who: _ratio(table.ratios(who, "log_loss", classes))),
        ("of values", lambda who: _ratio(table.ratios(who, names=values))),
        ("MAE", lambda who: _ratio(table.ratios(who, "mae", values))),
        ("trimmed, heavy tails", lambda who: _ratio(table.ratios(who, "trimmed_rmse", heavy))),
        ("mean rank", lambda who: _number(table.rank(who))),
        ("fit, s", lambda who: _seconds(table, who, "fit")),
        ("1,000 rows, ms", lambda who: _milliseconds(table, who)),
        ("sets", lambda who: str(len(table.ratios(who)))),
    ]
    rows = [["", *(head for head, _ in columns)]]
    for rival in table.rivals:
        rows.append([rival, *(cell(rival) for _, cell in columns)])
    return markdown(rows, left=1)


def _ratio(values: list[float]) -> str:
    return f"{geometric(values):.3f}" if values else NOTHING


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else figures(value)


def _seconds(table: Table, rival: str, what: str) -> str:
    """Return the sum over sets, large enough or not, of the mean over seeds."""
    found = [[run.seconds[what] for run in table.of(name, rival)] for name in table.sets]
    return _number(math.fsum(fmean(each) for each in found if each))


def _milliseconds(table: Table, rival: str) -> str:
    found = [run.seconds["predict"] for name in table.sets for run in table.of(name, rival)]
    return _number(1e3 * geometric(found))


def of_sets(table: Table, figure: str | None = None, names: Sequence[str] | None = None) -> str:
    """Return a row for each set: a figure's mean over the seeds of all that have run it."""
    rows = [["", "rows", *table.rivals]]
    for name in table.sets if names is None else names:
        key = figure or ERROR[table.task[name]]
        seeds = table.seeds(name, [rival for rival in table.rivals if table.of(name, rival)])
        row = [name, f"{table.rows[name]:,}"]
        for rival in table.rivals:
            found = [run.figures[key] for run in table.of(name, rival) if run.seed in seeds]
            row.append(_shown(key, fmean(found)) if found else NOTHING)
        rows.append(row)
    return markdown(rows, left=1)


def _shown(figure: str, value: float) -> str:
    return f"{value:.2%}" if figure == "error" else f"{value:,.4g}"


def write_report(table: Table, runs: Sequence[Run], into: Path | None) -> str:
    """Return the tables as Markdown; write them to a folder, beside all runs as JSON."""
    text = report(table, runs)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^a-z0-9]+", "-", f"{machine()['cpu']} 1 thread accuracy".lower())
        write(into / f"{stem}.json", as_json(runs))
        write(into / f"{stem}.md", text)
    return text


def as_json(runs: Sequence[Run]) -> str:
    """Return runs as JSON, one in a line; versions once for each rival, numbers to five figures."""
    versions = {run.rival: run.versions for run in runs if run.versions}
    head = {"datetime": datetime.now(UTC).isoformat(), "machine": machine(), "versions": versions}
    kept = []
    for run in runs:
        saved = asdict(run)
        del saved["versions"]
        for name in ("figures", "seconds"):
            saved[name] = {key: float(f"{value:.5g}") for key, value in saved[name].items()}
        kept.append(json.dumps(saved, ensure_ascii=False))
    lines = ",\n  ".join(kept)
    return f'{json.dumps(head, indent=1)[:-2]},\n "runs": [\n  {lines}\n ]\n}}\n'


def report(table: Table, runs: Sequence[Run]) -> str:
    """Return all tables, and what they were measured with."""
    classes = [name for name in table.sets if table.task[name] == CLASSES]
    values = [name for name in table.sets if table.task[name] != CLASSES]
    failed = [f"{run.rival} on {run.set}: {run.failed}" for run in runs if run.failed is not None]
    parts = [
        "# Accuracy\n\n",
        _about(table),
        summary(table),
        "\n## Error\n\n" + of_sets(table),
    ]
    parts += ["\n## Log-loss\n\n" + of_sets(table, "log_loss", classes)] * bool(classes)
    parts += ["\n## 1 − R²\n\n" + of_sets(table, "unexplained", values)] * bool(values)
    parts += ["\n## Mean absolute error\n\n" + of_sets(table, "mae", values)] * bool(values)
    parts += ["\n## What failed\n\n" + "".join(f"- {line}\n" for line in failed)] * bool(failed)
    parts += ["\n## The sets\n\n" + sources(table)]
    parts += ["\n## Measured with\n\n" + _place(runs)]
    return "".join(parts)


def _about(table: Table) -> str:
    """Return what a reader must know of the first table."""
    return (
        f"Everyone's defaults, one thread, the same rows; ratios are to `{table.reference}`, "
        f"geometric means over the sets of {ENOUGH_ROWS} rows and more. An error is the share of "
        "wrong classes (with half a mistake more, for none has no logarithm) or the root mean "
        "squared error; trimmed, without the hundredth of the rows whose errors are largest. The "
        f"mean rank is of the {len(table.ranked())} sets that all have run. Seconds are the "
        "processor's: to fit, summed over all sets; for 1,000 rows, a geometric mean. Made by "
        "`bench/accuracy.py run` and `report`, which say how the rows are split.\n\n"
    )


def sources(table: Table) -> str:
    """Return a row for each set: what it is, and from which package, under which licence."""
    rows = [["", "what it is there for", "from", "package", "licence", "target"]]
    for name in table.sets:
        with suppress(accuracy_sets.SetError):  # it was another one's
            about = accuracy_sets.named(name)
            package = f"{about.source.name} {about.source.version}".strip()
            of = [about.origin, package, about.source.licence, about.target]
            rows.append([name, about.about, *of])
    return markdown(rows, left=6)


def _place(runs: Sequence[Run]) -> str:
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        for package, number in run.versions.items():
            versions.setdefault(package, {})[number] = None
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    about = machine()
    lines = [f"{about['cpu']}, {about['cores']} cores; seeds {seeds}"]
    lines += [", ".join(f"{name} {' / '.join(found)}" for name, found in versions.items())]
    return "".join(f"- {line}\n" for line in lines)


def machine() -> dict[str, Any]:
    """Return the processor's name and the count of its cores."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # it has another name elsewhere
    return {"cpu": name, "cores": os.cpu_count()}
