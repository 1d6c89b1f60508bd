"""Cross-validation: every example is held out once, by a network that did not learn from it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, HostArray
from ..backends.arrays import to_host
from ..checks import check_count, check_not_negative
from ..data.folds import check_folds, fold_of_each
from ..nn.members import check_own_numbers
from ..nn.network import Network, check_network
from ..optim.optimizers import Optimizer, check_optimizer
from ..train.callbacks import EarlyStopping
from ..train.factors import ByPattern
from ..train.fit import FitOptions
from ..train.history import History
from ..train.trainer import Trainer
from . import plots
from .at_once import Trained, Trainings, Variant, check_watch, measure

#: Options of `Trainer.fit` that cross-validation sees to itself, or that are for one training.
NOT_HERE = {
    "validation_data": "each fold is measured on what it holds out",
    "subsets": "the folds are the subsets",
    "validation_subsets": "the folds are the subsets",
    "checkpoint": "checkpoints are of one fit",
    "resume": "checkpoints are of one fit",
}

#: Is called with (trainer, row) for each training, as its figures are there.
Watch = Callable[[Trainer, dict[str, float]], object]


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` found.

    Printed it is a table: a line for each training, then means and standard deviations.

    Attributes
    ----------
    rows : list of dict
        For each training: "repeat", "fold" (both from 0), "seed", "train_loss", "train_error",
        "dev_loss" and "dev_error", the last two on the fold that was held out; the first three
        alone, if the training diverged.
    histories : list of History
        What was measured after each epoch, in the order of the rows.
    folds : array of int, shape (repeats, n)
        In which fold each example was held out.
    predictions : array of NumPy, shape (repeats, n) or (repeats, n, m)
        What the network that did not learn from an example says of it: probabilities as
        `Network.predict_proba` has them, or the values of a regression; NaN where it diverged.
    """

    rows: list[dict[str, float]]
    histories: list[History]
    folds: HostArray
    predictions: HostArray

    def column(self, name: str) -> list[float]:
        """Return a figure of each training; NaN where it diverged.

        Parameters
        ----------
        name : str
            As "dev_error".
        """
        return [row.get(name, math.nan) for row in self.rows]

    @property
    def error(self) -> float:
        """The mean error on what was held out."""
        return float(np.mean(self.column("dev_error")))

    @property
    def loss(self) -> float:
        """The mean loss on what was held out."""
        return float(np.mean(self.column("dev_loss")))

    @property
    def error_std(self) -> float:
        """The standard deviation between the trainings' errors: √(Σ (eᵢ − ē)² / k).

        It says how much one training may be off, not how exact the mean is: folds share most of
        what they learn from.
        """
        return float(np.std(self.column("dev_error")))

    @property
    def loss_std(self) -> float:
        """The standard deviation between the trainings' losses."""
        return float(np.std(self.column("dev_loss")))

    def __str__(self) -> str:
        names = ("train_loss", "train_error", "dev_loss", "dev_error")
        lines = [f"{'repeat':>6}  {'fold':>4}  " + "  ".join(f"{name:>11}" for name in names)]
        for row in self.rows:
            told = "  ".join(_figure(name, row[name]) for name in names if name in row)
            lines.append(f"{row['repeat']:>6}  {row['fold']:>4}  {told or 'the training diverged'}")
        for what, figure in (("mean", np.mean), ("std", np.std)):
            told = "  ".join(_figure(name, float(figure(self.column(name)))) for name in names)
            lines.append(f"{what:>6}  {'':>4}  {told}")
        return "\n".join(lines)

    def plot(
        self, path: str | os.PathLike[str], title: str = "", error_name: str = "error"
    ) -> None:
        """Draw each training's loss and error over the epochs into a file, as ``folds.png``.

        Each has a thin line, and their mean a thick one.
        """
        longest = max(self.histories, key=len)
        names = [name for name in longest.columns if name.endswith(("_loss", "_error"))]
        rows = [
            {"epoch": row["epoch"]} | {name: self._epoch(i, name) for name in names}
            for i, row in enumerate(longest.rows)
        ]
        plots.training_history(History(rows), path, title, error_name)

    def _epoch(self, i: int, name: str) -> list[float]:
        """Return a figure of an epoch, of each training; NaN where one had ended."""
        histories = self.histories
        return [history[name][i] if i < len(history) else math.nan for history in histories]


def _figure(name: str, value: float) -> str:
    return f"{value:>11.2%}" if name.endswith("error") else f"{value:>11.4f}"


def cross_validate(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 1,
    optimizer: Optimizer | None = None,
    l2: float = 0.0,
    clip_norm: float | None = None,
    rate_factors: ByPattern | None = None,
    decay_factors: ByPattern | None = None,
    watch: Watch | None = None,
    **fit: Any,
) -> CrossValidation:
    """Estimate how well a network learns: train on all folds but one, measure on that one.

    The data are cut into folds at random, by class where labels are classes, anew in each repeat.
    All folds of all repeats are trained at once, as the members of one network, as many as memory
    and caches hold, and each becomes what it becomes when it is trained alone: fold f of repeat r
    is the network with seed s + r · folds + f, s that of ``network``, trained on
    ``X[folds[r] != f]``.

    Parameters
    ----------
    network : Network
        What to train: its description alone; it stays as it is.
    X : array-like, shape (n, n_features)
        Features.
    y : array-like, shape (n,) or (n, k)
        Labels, as for training.
    folds : int
        Into how many parts to cut the data, 2 or more.
    repeats : int
        How often to do so.
    optimizer, l2, clip_norm, rate_factors, decay_factors
        As for `Trainer`.
    watch : function or None
        Called with (trainer, row) for each training, in the order of the rows.
    **fit
        Options of `Trainer.fit`: ``batch_size``, ``epochs``, ``callbacks``, ``sample_weight``, …
        A training that stops early by what it holds out would be judged too well, so that
        `EarlyStopping` may watch the training's figures alone.

    Returns
    -------
    CrossValidation
        The figures of each training, means and standard deviations, and predictions for all
        examples by networks that did not learn from them.

    Raises
    ------
    TypeError, ValueError
        If there are fewer examples than folds, or of a class; if the network has members, the data
        are not as it needs them, or an option is none that can be given here.
    DivergedError
        If every training diverged.

    Examples
    --------
    >>> import xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5)); y = (X[:, 0] + 0.5 * rng.normal(size=200) > 0) * 1
    >>> net = xn.Network([xn.Linear(16), xn.ReLU(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=5, device="cpu")
    >>> found = cross_validate(net, X, y, folds=5, repeats=2, optimizer=xn.Adam(0.01), epochs=10)
    >>> len(found.rows), found.predictions.shape, bool(0.05 < found.error < 0.3)
    (10, (2, 200), True)
    """
    check_network(network).require_single("cross_validate")
    folds, repeats = check_count(folds, "folds", 2), check_count(repeats, "repeats")
    optimizer, l2 = check_optimizer(optimizer), check_not_negative(l2, "l2")
    check_own_numbers(optimizer, None)
    check_watch(watch)
    _check_options(fit)
    data = network.prepare(X, y)
    labels = _classes(network, data[1])
    check_folds(folds, len(data[1]), labels)
    seed, n = network.seeds[0], len(data[1])
    drawn = np.array([fold_of_each(n, folds, labels, seed, repeat) for repeat in range(repeats)])
    places = [(repeat, fold) for repeat in range(repeats) for fold in range(folds)]
    variants = [
        Variant(
            seed + i,
            l2,
            np.flatnonzero(drawn[repeat] != fold),
            np.flatnonzero(drawn[repeat] == fold),
        )
        for i, (repeat, fold) in enumerate(places)
    ]
    factors = {"rate_factors": rate_factors, "decay_factors": decay_factors}
    trainings = Trainings(
        network.clone(), optimizer, data, None, fit, clip_norm=clip_norm, **factors
    )
    found = CrossValidation([], [], drawn, _room(network, repeats, n))
    failure = None
    for group in trainings.run(variants):
        for trained in group:
            repeat, fold = places[len(found.rows)]
            row: dict[str, Any] = {"repeat": repeat, "fold": fold, "seed": trained.variant.seed}
            if trained.error is None:
                row |= _measure(trained, trainings, found.predictions[repeat])
            failure = trained.error or failure
            found.rows.append(row)
            found.histories.append(trained.trainer.history)
            if watch is not None:
                watch(trained.trainer, row)
    if failure is not None and all("dev_error" not in row for row in found.rows):
        raise failure
    return found


def _check_options(fit: dict[str, Any]) -> None:
    """Raise an error of options that can't be given here."""
    for name in fit:
        if name in NOT_HERE:
            raise TypeError(f"cross_validate takes no {name}: {NOT_HERE[name]}")
    for callback in FitOptions(callbacks=fit.get("callbacks", ())).callbacks:
        if isinstance(callback, EarlyStopping) and callback.monitor.startswith("dev_"):
            raise ValueError(
                f"EarlyStopping watches {callback.monitor!r}, which is measured on the fold that "
                "is held out: it would be judged too well. Watch 'train_loss', or give epochs alone"
            )


def _classes(network: Network, y: Array) -> HostArray | None:
    """Return what to stratify by: one class for each example; None if there is no such thing."""
    labels = network.backend.to_host(y)
    return labels.ravel() if network.loss.of_classes and labels.size == len(labels) else None


def _room(network: Network, repeats: int, n: int) -> HostArray:
    """Return an array for what is said of each example, in each repeat."""
    m = network.n_outputs
    return np.full((repeats, n, *([] if m == 1 else [m])), math.nan, network.dtype)


def _measure(trained: Trained, trainings: Trainings, predictions: HostArray) -> dict[str, float]:
    """Return loss and error on both parts, as in prediction; keep what is said of the second."""
    net, held_out = trained.trainer.network, trainings.held_out(trained.variant)
    loss = net.loss
    says = net.predict_proba if loss.has_probabilities else net.predict
    predictions[trained.variant.held_out] = to_host(says(held_out[0]))
    return measure(net, trainings.examples(trained.variant), held_out)
