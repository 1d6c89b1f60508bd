r"""The critical batch size that gradient noise foretells, and what training with other sizes shows.

::

    pip install pandas
    python bench/accuracy_sets.py fetch SETS --sets digits,mnist5k     # once
    python bench/critical_batch.py --folder SETS --into bench/results  # some minutes

Of each set four fifths of the rows are for training, the others for development. A network with one
hidden layer is trained with SGD and with Adam, with batches of 8, 16, … 1,024 examples. How many
steps it takes until the loss on 1,000 training examples is at the target is looked at every 5 % of
the steps. The learning rate is the one of a grid, in which each is twice the one before, that takes
the fewest with seed 0; the steps are the mean over seeds 1, 2 and 3. Through these the law

    S(B) = S_min (1 + B_crit / B)

is laid, by least squares of the logarithms: that is the critical batch that training shows. What
gradient noise foretells is of a training with batches of 128 to the same loss, at its rate.

Then with a quarter, half, once, twice and four times the size that is foretold, as a power of two,
it is trained for the same number of epochs, at the rate that has the lowest development loss with
seed 0, of those up to four times more or less than what took the fewest steps, and with seeds 1, 2
and 3. The rate is chosen and the error measured on the same rows: sizes may be compared, and errors
are no estimates for new data.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_report import machine
from machine import installed
from results import figures, markdown, write
from run import THREADS

import xpnet as xn

SEEDS, TUNED_BY = (1, 2, 3), 0
SIZES = tuple(2**i for i in range(3, 11))
#: Beside the size that is foretold.
SHARES = {"a quarter": 0.25, "half": 0.5, "once": 1.0, "twice": 2.0, "four times": 4.0}
#: With which batches the training is made that foretells.
TRAINED_WITH = 128
#: How many training examples the loss is looked at on, and after what share of the steps again.
LOOKED_AT, PACE = 1000, 1.05
#: The learning rates that are tried.
RATES = {
    "SGD": tuple(0.025 * 2**i for i in range(8)),
    "Adam": tuple(0.0005 * 2**i for i in range(10)),
}
#: The most steps until the target is given up.
MOST_STEPS = 3000
#: How far from the rate that takes the fewest steps those are that equal epochs are tried with.
NEAR = 4.0


@dataclass(frozen=True)
class Problem:
    """A data set, the hidden units, the loss to get to, and the epochs that all have."""

    name: str
    train: tuple[Any, Any]
    dev: tuple[Any, Any]
    hidden: int
    target: float
    epochs: int

    def network(self, seed: int) -> xn.Network:
        """Return the network before its training."""
        features, classes = self.train[0].shape[1], int(self.train[1].max()) + 1
        layers = [xn.Linear(self.hidden), xn.ReLU(), xn.Linear(classes)]
        loss = "softmax_cross_entropy"
        options = {"n_features": features, "device": "cpu", "random_state": seed}
        return xn.Network(layers, loss=loss, **options)

    def optimizer(self, kind: str, rate: float) -> xn.Optimizer:
        """Return an optimiser of a kind."""
        return getattr(xn, kind)(rate)


@dataclass
class Size:
    """What a batch size takes: the rate that suits it, the steps with each seed and their mean."""

    batch_size: int
    rate: float
    steps: list[int]

    @property
    def mean(self) -> float:
        """The mean of the steps."""
        return statistics.fmean(self.steps)


@dataclass
class Reached:
    """What equal epochs reach with a batch size; development error and loss with each seed."""

    share: str
    batch_size: int
    rate: float
    error: list[float]
    loss: list[float]
    seconds: float


@dataclass
class Case:
    """A set and an optimiser: what is foretold, and what was seen."""

    problem: str
    optimizer: str
    examples: int
    target: float
    epochs: int
    sizes: list[Size]
    fewest: float
    shown: float
    foretold: list[dict[str, Any]]
    default: dict[str, Any]
    reached: list[Reached] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """The median of what is foretold."""
        return statistics.median(found["critical_batch"] for found in self.foretold)


class Until(xn.Callback):
    """Ends a fit when the loss on some examples is at a target, or after so many steps."""

    def __init__(self, x: Any, y: Any, target: float, most: float) -> None:
        self.x, self.y, self.target, self.most = x, y, target, most
        self.next, self.steps = 1.0, None

    def on_step_end(self, trainer: xn.Trainer, n: int) -> None:
        """Look at the loss, if it is time to."""
        if trainer.steps >= self.next:
            self.next = max(trainer.steps + 1, PACE * trainer.steps)
            loss = trainer.network.predictor.evaluate(self.x, self.y)["loss"]
            if loss <= self.target:
                self.steps = trainer.steps
        if self.steps or trainer.steps >= self.most:
            trainer.stop()


def steps_to(
    problem: Problem, kind: str, rate: float, batch_size: int, seed: int, most: float
) -> int | None:
    """Return the steps until the target; None if it is not reached within so many."""
    net = problem.network(seed)
    x, y = net.prepare(*(part[:LOOKED_AT] for part in problem.train))
    until = Until(x, y, problem.target, most)
    options = {"batch_size": batch_size, "epochs": MOST_STEPS, "monitor": 0}
    trainer = xn.Trainer(net, problem.optimizer(kind, rate))
    try:
        trainer.fit(*problem.train, callbacks=[until], **options)
    except xn.DivergedError:
        return None
    return until.steps


def steps_of(problem: Problem, kind: str, batch_size: int, near: float) -> Size | None:
    """Return what a batch size takes at the rate that suits it; None if no rate does.

    Rates next to a given one are tried first: those after it are given up the sooner.
    """
    best, fewest = None, MOST_STEPS
    for rate in sorted(RATES[kind], key=lambda rate: abs(np.log(rate / near))):
        steps = steps_to(problem, kind, rate, batch_size, TUNED_BY, fewest)
        if steps is not None and steps < fewest:
            best, fewest = rate, steps
    if best is None:
        return None
    found = [steps_to(problem, kind, best, batch_size, seed, 4 * fewest) for seed in SEEDS]
    reached = [steps for steps in found if steps is not None]
    return Size(batch_size, best, reached) if len(reached) == len(SEEDS) else None


def law(sizes: Sequence[Size]) -> tuple[float, float]:
    """Return S_min and B_crit of the law that lies nearest to what sizes take.

    Examples
    --------
    >>> fewest, critical = law([Size(n, 1.0, [round(100 * (1 + 64 / n))]) for n in (8, 64, 512)])
    >>> round(fewest), round(critical)
    (100, 64)
    """
    batches = np.array([size.batch_size for size in sizes], float)
    steps = np.log([size.mean for size in sizes])
    grid = np.geomspace(1.0, 1e5, 2000)
    rest = steps - np.log(1 + grid[:, None] / batches)
    best = int(np.argmin(rest.var(axis=1)))
    return float(np.exp(rest[best].mean())), float(grid[best])


def foretell(problem: Problem, kind: str, size: Size) -> list[dict[str, Any]]:
    """Return what gradient noise says of a training to the target, with each seed."""
    options = {
        "optimizer": problem.optimizer(kind, size.rate),
        "batch_size": size.batch_size,
        "steps": round(size.mean),
    }
    return [
        asdict(xn.critical_batch_size(problem.network(seed), *problem.train, **options))
        for seed in SEEDS
    ]


def train(
    problem: Problem, kind: str, rate: float, batch_size: int, seed: int
) -> tuple[float, float, float] | None:
    """Return development error and loss after the epochs, and the seconds of the fit."""
    net = problem.network(seed)
    trainer, began = xn.Trainer(net, problem.optimizer(kind, rate)), time.perf_counter()
    try:
        trainer.fit(*problem.train, batch_size=batch_size, epochs=problem.epochs, monitor=0)
    except xn.DivergedError:
        return None
    seconds = time.perf_counter() - began
    found = net.evaluate(*problem.dev)
    return found["error"], found["loss"], seconds


def reach(problem: Problem, kind: str, batch_size: int, share: str, near: float) -> Reached:
    """Return what the epochs reach with a batch size, at the rate that suits it."""
    rates = [rate for rate in RATES[kind] if 1 / NEAR <= rate / near <= NEAR]
    tried = {rate: train(problem, kind, rate, batch_size, TUNED_BY) for rate in rates}
    rate = min((rate for rate, found in tried.items() if found), key=lambda rate: tried[rate][1])
    found = [train(problem, kind, rate, batch_size, seed) for seed in SEEDS]
    error, loss, seconds = zip(*filter(None, found), strict=True)
    return Reached(share, batch_size, rate, [*error], [*loss], statistics.median(seconds))


def run(problem: Problem, kind: str, sizes: Sequence[int]) -> Case:
    """Measure a set with an optimiser."""
    n = len(problem.train[1])
    seen: list[Size] = []
    for size in sizes:
        near = seen[-1].rate if seen else RATES[kind][len(RATES[kind]) // 2]
        found = steps_of(problem, kind, size, near) if size <= n else None
        seen += [] if found is None else [found]
    by_size = {size.batch_size: size for size in seen}
    base = by_size.get(TRAINED_WITH, seen[-1])
    default = asdict(xn.critical_batch_size(problem.network(SEEDS[0]), *problem.train))
    about = problem.name, kind, n, problem.target, problem.epochs
    case = Case(*about, seen, *law(seen), foretell(problem, kind, base), default)
    power = 2 ** round(np.log2(case.middle))
    for share, factor in SHARES.items():
        size = int(power * factor)
        if 1 <= size <= n:
            next_to = min(seen, key=lambda other: abs(np.log(other.batch_size / size)))
            case.reached.append(reach(problem, kind, size, share, next_to.rate))
    print(f"critical_batch.py: {problem.name}, {kind}: {case.middle:.0f} is foretold, and "
          f"{case.shown:.0f} shown", file=sys.stderr, flush=True)  # fmt: skip
    return case


# -- what is shown ----


def report(cases: Sequence[Case]) -> str:
    """Return all as Markdown."""
    head = ("set", "optimiser", "loss", "foretold", "with the seeds", "shown", "foretold / shown",
            "at the defaults")  # fmt: skip
    rows = [head]
    for case in cases:
        each = [figures(found["critical_batch"]) for found in case.foretold]
        rows.append(
            (case.problem, case.optimizer, f"{case.target:g}", figures(case.middle),
             ", ".join(each), figures(case.shown), figures(case.middle / case.shown),
             figures(case.default["critical_batch"]))
        )  # fmt: skip
    parts = [f"# The critical batch size\n\n{LEGEND}\n\n{markdown(rows, 2)}"]
    parts += [_steps(case) + _reached(case) for case in cases]
    versions = {name: installed(name) for name in ("xpnet", "numpy", "numba", "scikit-learn")}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    parts.append(f"{machine()['cpu']}, one thread; {told}.\n")
    return "\n".join(parts)


LEGEND = (
    "Foretold: by `xn.critical_batch_size` of a training with batches of 128 to that training "
    "loss, the median over three seeds. Shown: of the law S(B) = S_min (1 + B_crit / B), laid "
    "through the steps that batches of 8 to 1,024 take to that loss, each at the rate that suits "
    "it. At the defaults: what `xn.critical_batch_size(net, X, y)` says, which looks at Adam at a "
    "rate of 0.001, for 20 epochs or 400 steps."
)


def _steps(case: Case) -> str:
    rows = [("batch", "rate", "steps", "over the fewest", "the law", "foretold", "epochs")]
    for size in case.sizes:
        n = size.batch_size
        rows.append(
            (f"{n:,}", f"{size.rate:g}", figures(size.mean), figures(size.mean / case.fewest),
             figures(1 + case.shown / n), figures(1 + case.middle / n),
             figures(size.mean * n / case.examples))
        )  # fmt: skip
    title = f"## {case.problem}, {case.optimizer}: steps to a training loss of {case.target:g}"
    return f"{title}\n\n{markdown(rows, 0)}\n"


def _reached(case: Case) -> str:
    rows = [("of the foretold", "batch", "rate", "development error", "with the seeds",
             "development loss", "seconds")]  # fmt: skip
    for found in case.reached:
        each = ", ".join(f"{error:.2%}" for error in found.error)
        rows.append(
            (found.share, f"{found.batch_size:,}", f"{found.rate:g}",
             f"{statistics.fmean(found.error):.2%}", each,
             figures(statistics.fmean(found.loss)), figures(found.seconds))
        )  # fmt: skip
    return f"After {case.epochs} epochs:\n\n{markdown(rows, 1)}"


def as_json(cases: Sequence[Case]) -> str:
    """Return all as JSON, a case in a line."""
    head = json.dumps({"machine": machine()}, indent=1)
    lines = ",\n  ".join(json.dumps(_short(asdict(case))) for case in cases)
    return f'{head[:-2]},\n "cases": [\n  {lines}\n ]\n}}\n'


def _short(value: Any) -> Any:
    """Return numbers to five figures: more would be noise."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


# -- the command ----


def problems(folder: Path | None, names: Sequence[str]) -> list[Problem]:
    """Return data sets, their features from 0 to 1."""
    import accuracy_sets

    about = {"digits": (64, 0.1, 20), "mnist5k": (64, 0.1, 10)}
    found = []
    for name in names:
        X, y, _ = accuracy_sets.load(name, folder)
        x = X.to_numpy(np.float32)
        order, n = np.random.default_rng(0).permutation(len(x)), len(x) * 4 // 5
        x, labels = x[order] / x.max(), np.unique(y, return_inverse=True)[1][order]
        found.append(Problem(name, (x[:n], labels[:n]), (x[n:], labels[n:]), *about[name]))
    return found


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="of the sets (default: $XPNET_SETS)")
    parser.add_argument("--sets", default="digits,mnist5k", metavar="NAMES")
    parser.add_argument("--optimizers", default="SGD,Adam", metavar="NAMES")
    parser.add_argument("--into", type=Path, metavar="DIR", help="where to write JSON and Markdown")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, show and write; return the exit status."""
    options = options_of(arguments)
    cases = [
        run(problem, kind, SIZES)
        for problem in problems(options.folder, options.sets.split(","))
        for kind in options.optimizers.split(",")
    ]
    print(report(cases))
    if options.into is not None:
        options.into.mkdir(parents=True, exist_ok=True)
        text = f"{machine()['cpu']} 1 thread critical batch".lower()
        stem = re.sub(r"[^a-z0-9]+", "-", text)
        write(options.into / f"{stem}.json", as_json(cases))
        write(options.into / f"{stem}.md", report(cases))
    return 0


if __name__ == "__main__":
    told = dict.fromkeys(THREADS, "1")
    if any(os.environ.get(name) != value for name, value in told.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | told)
    sys.exit(main())
