"""Who searches: ours, and Optuna's loop around single trainings, by ours or by PyTorch.

All search in one space, with Optuna's sampler as it comes, and judge a trial by the best of its
development errors after each epoch. With halving ours has `Halving`, and the loop Optuna's
`SuccessiveHalvingPruner` at the same rungs; both compare the best so far. (With ours a trial that
was stopped may go on later.)

A rival is a function of a `Budget` that returns what it has `Found`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from harness import threads
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import xpnet as xn
from xpnet.search.distributions import Choice, Distribution, Interval
from xpnet.search.halving import Halving

#: What is searched in: units of hidden layers, and numbers.
SHAPES = ((128,), (512,), (256, 128))
NUMBERS: dict[str, Distribution] = {
    "learning_rate": xn.log_uniform(3e-4, 3e-2),
    "l2": xn.log_uniform(1e-4, 10),
    "dropout": xn.uniform(0, 0.5),
}
BATCH_SIZE = 32
#: Epochs of a trial; a third and a ninth are whole numbers, so that both halvings have the same
#: rungs.
EPOCHS = 27
#: How many of ours are trained at once.
MEMBERS = 16

Setting = dict[str, Any]
#: Called after each epoch with the development error; says whether to go on.
AfterEpoch = Callable[[float], bool]


@dataclass(frozen=True)
class Task:
    """A data set, and for how long networks are trained on it.

    Features are standardised, and so are values; classes None: y are values.
    """

    name: str
    train: tuple[Any, Any]
    dev: tuple[Any, Any]
    classes: int | None
    epochs: int = EPOCHS
    shapes: tuple[tuple[int, ...], ...] = SHAPES

    @property
    def space(self) -> dict[str, Distribution]:
        """What is searched in: as the library's own space for arrays, at one batch size."""
        return {"hidden": xn.choice(self.shapes)} | NUMBERS

    def widths(self, setting: Setting) -> tuple[int, ...]:
        """Return a network's widths, from the features to the outputs."""
        return self.train[0].shape[1], *setting["hidden"], self.classes or 1

    def products(self, setting: Setting, epochs: int) -> float:
        """Return the multiplications of so many epochs' forward passes."""
        pairs = pairwise(self.widths(setting))
        return float(epochs * len(self.train[1]) * sum(a * b for a, b in pairs))


def load(name: str, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> Task:
    """Return one of scikit-learn's own data sets, a fifth of it for development."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    values = y.dtype.kind == "f"
    parts = train_test_split(X, y, test_size=0.2, random_state=0, stratify=None if values else y)
    X, X_dev = _standardised(*parts[:2])
    if not values:
        labels = (part.astype(np.int32) for part in parts[2:])
        y, y_dev = labels
        return Task(name, (X, y), (X_dev, y_dev), int(y.max()) + 1, shapes=shapes)
    y, y_dev = (part[:, 0] for part in _standardised(*(part[:, None] for part in parts[2:])))
    return Task(name, (X, y), (X_dev, y_dev), None, shapes=shapes)


def _standardised(train: Any, dev: Any) -> list[Any]:
    scaler = StandardScaler().fit(train)
    return [scaler.transform(part).astype(np.float32) for part in (train, dev)]


@dataclass(frozen=True)
class Budget:
    """How long to search: so many trials, or until so many seconds are over."""

    task: Task
    trials: int
    seconds: float = math.inf
    seed: int = 0
    halving: Halving | None = None

    @property
    def deadline(self) -> float:
        """When time is up, if it begins now."""
        return time.perf_counter() + self.seconds


@dataclass
class Found:
    """What a search has come to: the best development error before the time was up.

    ``products`` are the multiplications of all forward passes of all trials: what the sampler's
    choice of architectures has cost.
    """

    seconds: float = 0.0
    best: float = math.inf
    trials: int = 0
    epochs: int = 0
    products: float = 0.0


# -- ours ----


def make_trainer(task: Task, setting: Mapping[str, Any]) -> xn.Trainer:
    """Return a trainer of the network that a setting says: ReLUs with dropout, Adam, L2."""
    layers: list[xn.Layer] = []
    for units in setting["hidden"]:
        layers += [xn.Linear(units), xn.ReLU(), xn.Dropout(setting["dropout"])]
    network = xn.Network(
        [*layers, xn.Linear(task.classes or 1)],
        loss="softmax_cross_entropy" if task.classes else "mean_squared_error",
        n_features=task.train[0].shape[1],
        device="cpu",
        dtype="float32",
    )
    return xn.Trainer(network, xn.Adam(setting["learning_rate"]), l2=setting["l2"])


def members(budget: Budget) -> Found:
    """Search with `xpnet.tune`."""
    task, began = budget.task, time.perf_counter()
    tuning = xn.tune(
        partial(make_trainer, task),
        *task.train,
        task.space,
        X_val=task.dev[0],
        y_val=task.dev[1],
        trials=budget.trials,
        members=MEMBERS,
        seconds=None if math.isinf(budget.seconds) else budget.seconds,
        batch_size=BATCH_SIZE,
        epochs=task.epochs,
        halving=budget.halving or False,
        random_state=budget.seed,
        refit=False,
    )
    found = Found(time.perf_counter() - began)
    for trial in tuning.trials:
        found.trials += 1
        found.epochs += trial.epochs
        found.products += task.products(trial.setting, trial.epochs)
        found.best = min(found.best, math.inf if trial.value is None else trial.value)
    return found


def fit_ours(task: Task, setting: Setting, after_epoch: AfterEpoch) -> None:
    """Train one network by `Trainer.fit`."""

    def watch(trainer: xn.Trainer, row: Any) -> None:
        if not after_epoch(row["dev_error"]):
            trainer.stop()

    make_trainer(task, setting).fit(
        *task.train,
        batch_size=BATCH_SIZE,
        epochs=task.epochs,
        validation_data=task.dev,
        monitor=0,
        callbacks=[watch],
    )


# -- PyTorch ----


class TorchNet:
    """The same network in PyTorch, as it is usually written, with Adam in one fused kernel."""

    def __init__(self, task: Task, setting: Setting) -> None:
        import torch

        torch.set_num_threads(threads())
        torch.manual_seed(0)
        self.task, layers = task, []
        pairs = [*pairwise(task.widths(setting))]
        for a, b in pairs:
            linear = torch.nn.Linear(a, b)
            torch.nn.init.kaiming_normal_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
            layers += [linear, torch.nn.ReLU(), torch.nn.Dropout(setting["dropout"])]
        self.model = torch.nn.Sequential(*layers[:-2])
        self.linear = [layer for layer in self.model if isinstance(layer, torch.nn.Linear)]
        # λ/2n of a whole batch's n; biases have none.
        groups = [
            {"params": [k.weight for k in self.linear], "weight_decay": setting["l2"] / BATCH_SIZE},
            {"params": [k.bias for k in self.linear], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.Adam(groups, setting["learning_rate"], fused=True)
        self.train, self.dev = self._tensors(*task.train), self._tensors(*task.dev)

    def _tensors(self, X: Any, y: Any) -> tuple[Any, Any]:
        import torch

        labels = torch.from_numpy(y)
        return torch.from_numpy(X), labels.long() if self.task.classes else labels[:, None]

    def cost(self, x: Any, y: Any) -> Any:
        """Return the mean loss of a batch."""
        import torch

        if self.task.classes:
            return torch.nn.functional.cross_entropy(self.model(x), y)
        return torch.nn.functional.mse_loss(self.model(x), y)

    def epoch(self, batch_size: int = BATCH_SIZE) -> None:
        """Train on all examples once, in random order."""
        import torch

        self.model.train()
        X, y = self.train
        for rows in torch.randperm(len(y)).split(batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            self.cost(X[rows], y[rows]).backward()
            self.optimizer.step()

    def error(self) -> float:
        """Return the development error, as `Network.evaluate` defines it."""
        import torch

        self.model.eval()
        X, y = self.dev
        with torch.inference_mode():
            output = self.model(X)
            if self.task.classes:
                return float((output.argmax(1) != y).float().mean())
            return float(((output - y) ** 2).mean() / y.var(correction=0))


def fit_torch(task: Task, setting: Setting, after_epoch: AfterEpoch) -> None:
    """Train one network by a loop in PyTorch."""
    net = TorchNet(task, setting)
    for _ in range(task.epochs):
        net.epoch()
        if not after_epoch(net.error()):
            return


# -- Optuna's loop ----


def suggest(trial: Any, space: Mapping[str, Distribution]) -> Setting:
    """Return a setting that Optuna proposes, choices by their names."""
    setting: Setting = {}
    for name, given in space.items():
        match given:
            case Choice():
                setting[name] = given.decode(trial.suggest_categorical(name, given.names), name)
            case Interval():
                log = given.scale == "log"
                setting[name] = trial.suggest_float(name, given.low, given.high, log=log)
    return setting


def loop(
    fit: Callable[[Task, Setting, AfterEpoch], None], budget: Budget, sampler: Any = None
) -> Found:
    """Search with `Study.optimize`: one training after the other."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task, found, began = budget.task, Found(), time.perf_counter()
    deadline, rungs = budget.deadline, budget.halving.rungs if budget.halving else []

    def objective(trial: Any) -> float:
        setting, curve, pruned = suggest(trial, task.space), [], False

        def after_epoch(value: float) -> bool:
            nonlocal pruned
            if time.perf_counter() > deadline:
                return False
            curve.append(value)
            found.best = min(found.best, value)
            if len(curve) in rungs:
                trial.report(min(curve), len(curve))
                pruned = trial.should_prune()
            return not pruned

        found.trials += 1
        fit(task, setting, after_epoch)
        found.epochs += len(curve)
        found.products += task.products(setting, len(curve))
        if pruned or not curve:
            raise optuna.TrialPruned
        return min(curve)

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=budget.seed) if sampler is None else sampler,
        pruner=pruner(budget.halving),
    )
    timeout = None if math.isinf(budget.seconds) else budget.seconds
    study.optimize(objective, n_trials=budget.trials, timeout=timeout, catch=(xn.DivergedError,))
    found.seconds = time.perf_counter() - began
    return found


def pruner(halving: Halving | None) -> Any:
    """Return Optuna's pruner that decides at the same rungs."""
    import optuna

    if halving is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=halving.rungs[0], reduction_factor=halving.eta
    )


SEARCHES: dict[str, Callable[[Budget], Found]] = {
    "xpnet.tune": members,
    "Optuna, xpnet": partial(loop, fit_ours),
    "Optuna, torch": partial(loop, fit_torch),
}


def line_up() -> tuple[dict[str, Callable[[Budget], Found]], dict[str, str]]:
    """Return those who can search, by name; and why the others can't."""
    absent = {}
    for name in SEARCHES:
        needed = {"Optuna, xpnet": ("optuna",), "Optuna, torch": ("optuna", "torch")}.get(name, ())
        missing = [package for package in needed if find_spec(package) is None]
        if missing:
            absent[name] = f"{' and '.join(missing)} not installed"
    return {name: search for name, search in SEARCHES.items() if name not in absent}, absent


def warm_up(search: Callable[[Budget], Found], task: Task) -> None:
    """Search for a moment, so that what is loaded and compiled once is."""
    search(Budget(replace(task, epochs=1), trials=2 * MEMBERS))
