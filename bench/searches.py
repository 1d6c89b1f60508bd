r"""Searches for hyper-parameters: how long they take, and what they find.

::

    pip install '.[tune]' torch
    python bench/searches.py speed                # 64 trials on digits: ours, Optuna, PyTorch
    python bench/searches.py quality --seconds 20 # what is found by then, on five data sets
    python bench/searches.py pruners              # what is stopped early, of the same trials
    python bench/searches.py workers --storage postgresql://me@localhost/studies

The data are scikit-learn's own. Everyone may use one thread, or ``--threads``; ``--quick`` makes a
small run of any of them on wine, which shows that it works and nothing else. ``--out`` keeps all as
JSON.

``speed`` runs in rounds: each search once, one after the other, so that what slows the machine for
a while slows all alike; a ratio is taken round by round. A round has a seed of its own, which is
that of every sampler. These are Optuna's TPE, which go different ways once results differ, so
``work`` says how many multiplications the architectures cost that were chosen, against ours.

``quality`` gives each the same seconds and compares the best development error that a trial had
after any epoch by then; trials and epochs say how much was tried. A smaller error on the
development set is what a search is for; it is no estimate for new data.

``pruners`` trains each trial of a search of ours to its end, and asks Optuna's pruners which they
would have stopped; ``worse`` is how much the best one left is behind the best of all.

``workers`` has several processes search one study.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness import spread, threads
from machine import installed
from results import figures, markdown, write
from run import THREADS
from search_rivals import (
    BATCH_SIZE,
    EPOCHS,
    MEMBERS,
    SHAPES,
    Budget,
    Found,
    Task,
    fit_ours,
    line_up,
    load,
    make_trainer,
    warm_up,
)

import xpnet as xn
from xpnet.search.halving import Halving

DATA = ("digits", "breast_cancer", "wine", "iris", "diabetes")
OURS = "xpnet.tune"
HALVING = Halving(EPOCHS)
NOTHING = "–"


@dataclass
class Measured:
    """One search of a round or of a data set."""

    name: str
    halving: bool
    data: str
    seed: int
    found: Found

    @property
    def title(self) -> str:
        """Who it was, for a table."""
        return f"{self.name}, halving" if self.halving else self.name


# -- speed ----


def speed(options: argparse.Namespace) -> list[Measured]:
    """Let all make so many trials on a data set, in turns."""
    searches, task, measured = _line_up(), load(options.data[0], options.hidden), []
    for search in searches.values():
        warm_up(search, task)
    order = [(name, halving) for name in searches for halving in (None, HALVING)]
    for seed in range(options.rounds):
        for name, halving in order:
            gc.collect()
            found = searches[name](Budget(task, options.trials, seed=seed, halving=halving))
            measured.append(Measured(name, halving is not None, task.name, seed, found))
            _tell(f"round {seed + 1}: {measured[-1].title} {found.seconds:.1f} s")
        order.append(order.pop(0))
    return measured


def show_speed(measured: Sequence[Measured]) -> str:
    """Return a table: a row for each that searched, with its time over ours, round by round."""
    rows = [["", "s", "over ours", "over ours, halving", "epochs", "work", "best error"]]
    ours = {title: _of(measured, title) for title in (OURS, f"{OURS}, halving")}
    for title in dict.fromkeys(m.title for m in measured):
        found = _of(measured, title)
        rows.append(
            [
                title,
                figures(_median(f.seconds for f in found)),
                *(_ratio(found, own, "seconds") for own in ours.values()),
                f"{_median(f.epochs for f in found):,.0f}",
                _ratio(found, ours[OURS], "products", spread_out=False),
                f"{_median(f.best for f in found):.2%}",
            ]
        )
    return markdown(rows, left=1)


# -- quality ----


def quality(options: argparse.Namespace) -> list[Measured]:
    """Let all search for the same time on each data set, in turns."""
    searches, measured = _line_up(), []
    for name in options.data:
        task = load(name, options.hidden)
        for search in searches.values():
            warm_up(search, task)
        order = [(who, halving) for who in searches for halving in (None, HALVING)]
        for seed in range(options.rounds):
            for who, halving in order:
                gc.collect()
                budget = Budget(task, 10**6, options.seconds, seed, halving)
                found = searches[who](budget)
                measured.append(Measured(who, halving is not None, name, seed, found))
                _tell(f"{name}, round {seed + 1}: {measured[-1].title} {found.best:.4f}")
            order.append(order.pop(0))
    return measured


def show_quality(measured: Sequence[Measured]) -> str:
    """Return a table: a row for each data set and each that searched."""
    rows = [["data", "", "best error", "quartiles", "trials", "epochs"]]
    for data in dict.fromkeys(m.data for m in measured):
        here = [m for m in measured if m.data == data]
        for title in dict.fromkeys(m.title for m in here):
            found = _of(here, title)
            best = _spread([f.best for f in found])
            about = [
                f"{best['median']:.2%}",
                f"{best['q1']:.2%}–{best['q3']:.2%}",
                f"{_median(f.trials for f in found):,.0f}",
                f"{_median(f.epochs for f in found):,.0f}",
            ]
            rows.append([data, title, *about])
    return markdown(rows, left=2)


# -- pruners ----


@dataclass
class Pruned:
    """What a pruner made of the trials of a search: a share of epochs, and how much was lost."""

    name: str
    seed: int
    epochs: float
    best: float
    best_of_all: float


def pruners(options: argparse.Namespace) -> list[Pruned]:
    """Have Optuna's pruners decide about the trials of a search of ours, trained to their end."""
    task, measured = load(options.data[0], options.hidden), []
    for seed in range(options.rounds):
        trials = _tune(task, trials=options.trials, halving=HALVING, random_state=seed).trials
        curves = [learning_curve(task, trial.setting) for trial in trials]
        best, total = min(map(min, curves)), sum(map(len, curves))
        left = [trial for trial in trials if trial.state == "complete"]
        epochs = sum(trial.epochs for trial in trials) / total
        ours = min((trial.value for trial in left if trial.value is not None), default=math.inf)
        measured.append(Pruned("ours: successive halving", seed, epochs, ours, best))
        for name, pruner in optunas_pruners().items():
            kept = replay(curves, pruner)
            epochs = sum(kept) / total
            ends = [curve for curve, n in zip(curves, kept, strict=True) if n == len(curve)]
            own = min(map(min, ends), default=math.inf)
            measured.append(Pruned(name, seed, epochs, own, best))
        _tell(f"round {seed + 1} of {options.rounds}")
    return measured


def learning_curve(task: Task, setting: dict[str, Any]) -> list[float]:
    """Return the development error after each epoch."""
    curve: list[float] = []

    def after_epoch(value: float) -> bool:
        curve.append(value)
        return True

    fit_ours(task, setting, after_epoch)
    return curve


def optunas_pruners() -> dict[str, Any]:
    """Return the pruners that there are, by name."""
    from optuna import pruners as of

    least = HALVING.rungs[0]
    return {
        "SuccessiveHalvingPruner": of.SuccessiveHalvingPruner(least, HALVING.eta),
        "HyperbandPruner": of.HyperbandPruner(least, EPOCHS, HALVING.eta),
        "MedianPruner (the default)": of.MedianPruner(),
        "PercentilePruner(25)": of.PercentilePruner(25.0),
    }


def replay(curves: Sequence[Sequence[float]], pruner: Any) -> list[int]:
    """Return for how many epochs each trial is trained, if a pruner decides after each."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, kept = optuna.create_study(study_name="replay", pruner=pruner), []

    def objective(trial: Any) -> float:
        curve = curves[trial.number]
        for epoch in range(1, len(curve)):
            trial.report(min(curve[:epoch]), epoch)
            if trial.should_prune():
                kept.append(epoch)
                raise optuna.TrialPruned
        kept.append(len(curve))
        return min(curve)

    study.optimize(objective, n_trials=len(curves))
    return kept


def show_pruners(measured: Sequence[Pruned]) -> str:
    """Return a table: a row for each pruner."""
    rows = [["", "epochs", "best error", "worse"]]
    for name in dict.fromkeys(m.name for m in measured):
        own = [m for m in measured if m.name == name]
        best = (_median(m.best for m in own), _median(m.best - m.best_of_all for m in own))
        shares = f"{_median(m.epochs for m in own):.0%}"
        rows.append([name, shares, *(f"{figure:.2%}" for figure in best)])
    return markdown(rows, left=1)


# -- workers ----


@dataclass
class Shared:
    """What so many processes made of one study."""

    workers: int
    trials: int
    seconds: float


def workers(options: argparse.Namespace) -> list[Shared]:
    """Have one process, then several, search a study of so many trials."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.workers:
            storage = options.storage or f"sqlite:///{folder}/{count}.db"
            name = f"searches-{os.getpid()}-{count}"
            seconds = share(count, storage, name, options.data[0], options.trials)
            measured.append(Shared(count, options.trials, seconds))
            _tell(f"{count} workers: {options.trials / seconds:.2f} trials/s")
    return measured


def share(count: int, *study: Any) -> float:
    """Return the seconds that so many processes take together, from when all are ready."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(count + 1)
    processes = [context.Process(target=work, args=(ready, *study)) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        while ready.n_waiting < count:
            _require_well(processes)
            time.sleep(0.01)
        ready.wait()
        began = time.perf_counter()
        for process in processes:
            process.join()
        seconds = time.perf_counter() - began
        _require_well(processes)
    finally:
        for process in processes:
            process.terminate()
    return seconds


def _require_well(processes: Sequence[Any]) -> None:
    if any(process.exitcode for process in processes):
        raise SystemExit("searches.py: a worker has failed")


def work(ready: Any, storage: str, name: str, data: str, trials: int) -> None:
    """Search in a study that others search in, once all are ready."""
    task = load(data)
    _tune(replace(task, epochs=1), trials=MEMBERS)
    ready.wait()
    _tune(task, trials=trials, halving=HALVING, storage=storage, name=name, resume="auto")


def show_workers(measured: Sequence[Shared]) -> str:
    """Return a table: a row for each number of processes."""
    rows = [["workers", "trials", "s", "trials/s", "against the first"]]
    rates = [m.trials / m.seconds for m in measured]
    for m, rate in zip(measured, rates, strict=True):
        cells = [figures(m.seconds), figures(rate), figures(rate / rates[0])]
        rows.append([f"{m.workers}", f"{m.trials:,}", *cells])
    return markdown(rows, left=0)


# -- what they have in common ----


def _tune(task: Task, **options: Any) -> Any:
    """Search in our space with ours."""
    given: dict[str, Any] = {"halving": False, "members": MEMBERS, "refit": False} | options
    return xn.tune(
        partial(make_trainer, task),
        *task.train,
        task.space,
        X_val=task.dev[0],
        y_val=task.dev[1],
        batch_size=BATCH_SIZE,
        epochs=task.epochs,
        **given,
    )


def _line_up() -> dict[str, Callable[[Budget], Found]]:
    """Return those who can search, and say why the others can't."""
    searches, absent = line_up()
    for name, why in absent.items():
        _tell(f"without {name}: {why}")
    return searches


def _of(measured: Sequence[Measured], title: str) -> list[Found]:
    return [m.found for m in measured if m.title == title]


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def _spread(values: list[float]) -> dict[str, float]:
    """Return median and quartiles, of a single value as well."""
    return spread(values if len(values) > 1 else values * 2)


def _ratio(found: list[Found], ours: list[Found], what: str, spread_out: bool = True) -> str:
    """Return how many times as much one has as ours, round by round: median (quartiles)."""
    pairs = zip(found, ours, strict=True)
    ratio = _spread([getattr(other, what) / getattr(own, what) for other, own in pairs])
    quartiles = f" ({figures(ratio['q1'])}–{figures(ratio['q3'])})" if spread_out else ""
    return f"{figures(ratio['median'])}{quartiles}"


def _tell(text: str) -> None:
    print(f"searches.py: {text}", file=sys.stderr, flush=True)


PARTS: dict[str, tuple[Callable[..., list[Any]], Callable[[Sequence[Any]], str]]] = {
    "speed": (speed, show_speed),
    "quality": (quality, show_quality),
    "pruners": (pruners, show_pruners),
    "workers": (workers, show_workers),
}


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--trials", type=_count, default=64, help="of a search (default: 64)")
    parser.add_argument("--rounds", type=_count, default=5, help="as many seeds (default: 5)")
    parser.add_argument("--seconds", type=_seconds, default=20.0, help="of a search, for quality")
    parser.add_argument(
        "--data", type=_data, default=DATA, help="as digits,wine: all for quality, else the first"
    )
    parser.add_argument(
        "--hidden",
        type=_shapes,
        default=SHAPES,
        help="units of hidden layers, as '64|256,128'; one alone: all trials cost the same",
    )
    parser.add_argument("--workers", type=_counts, default=(1, 4), help="how many, as 1,2,4")
    parser.add_argument("--storage", help="for workers: any of Optuna's (default: SQLite)")
    parser.add_argument("--threads", type=_count, default=1, help="for everyone (default: 1)")
    parser.add_argument("--quick", action="store_true", help="a small run, hardly measured")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write all of it as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.trials, options.rounds, options.seconds = min(options.trials, 8), 1, 1.0
        options.data, options.workers = ("wine",), options.workers[:2]
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def _shapes(text: str) -> tuple[tuple[int, ...], ...]:
    return tuple(_counts(shape) for shape in text.split("|"))


def _data(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in DATA:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DATA)}")
    return names


def main(arguments: list[str] | None = None) -> int:
    """Measure a part, and show its table."""
    options = options_of(arguments)
    measure, show = PARTS[options.part]
    measured = measure(options)
    print(show(measured))
    if options.out is not None:
        packages = ("xpnet", "optuna", "torch", "numpy", "numba", "scikit-learn")
        saved = {
            "part": options.part,
            "threads": threads(),
            "cores": os.cpu_count(),
            "versions": {name: installed(name) for name in packages},
            "measured": [asdict(m) for m in measured],
        }
        write(options.out, json.dumps(saved, indent=1) + "\n")
    return 0


def hold_to(count: int) -> None:
    """Start anew where libraries were told otherwise how many threads they may use."""
    told = dict.fromkeys(THREADS, str(count))
    if any(os.environ.get(name) != value for name, value in told.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | told)


if __name__ == "__main__":
    hold_to(options_of(None).threads)
    sys.exit(main())
