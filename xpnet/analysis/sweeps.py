"""The same network trained several times: over values of λ, and over sizes of the training set."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.arrays import NUMPY, backend_of
from ..checks import check_count, check_not_negative, check_number, check_several
from ..data.batches import USUAL, proportional_order
from ..nn.network import Network, check_network
from ..nn.schedule import RateFunction
from ..nn.snapshots import restore, snapshot, weights_of
from ..optim.optimizers import Optimizer, check_optimizer
from ..randomness import Purpose, generator
from ..train.factors import ByPattern
from ..train.trainer import Trainer
from . import plots
from .at_once import Trainings, Variant, check_watch, measure

#: The shares of the training set that a learning curve is measured at.
SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)

#: A part of a data set: X and y.
Data = tuple[Any, Any]

#: What is told of each training. It returns True if that was cut short: then it was the last, and
#: does not count, unless there is no other.
Watch = Callable[[Trainer, dict[str, float]], bool | None]


@dataclass(frozen=True)
class L2Choice:
    """What `choose_l2` found.

    Attributes
    ----------
    l2 : float
        The λ that was chosen.
    rows : list of dict
        For each λ: "l2", "train_loss", "train_error", "dev_loss" and "dev_error"; "l2" alone, if
        the training diverged.
    test : dict or None
        "loss" and "error" on the test set, with the chosen λ alone.
    """

    l2: float
    rows: list[dict[str, float]]
    test: dict[str, float] | None


def choose_l2(
    network: Network,
    train: Data,
    dev: Data,
    test: Data | None = None,
    *,
    l2: Sequence[float],
    optimizer: Optimizer | None = None,
    clip_norm: float | None = None,
    rate_factors: ByPattern | None = None,
    decay_factors: ByPattern | None = None,
    watch: Watch | None = None,
    **fit: Any,
) -> L2Choice:
    """Choose λ: train for each, take the best on the development set (notes, chapter 5).

    For each λ the network starts from the same initial weights and sees the same mini-batches. The
    smallest development error wins; of equal ones that with the smaller development loss. The test
    set is looked at once, for the winner, so that its error is no part of the choice.

    All are trained at once, as the members of one network, as many as memory and caches hold: each
    becomes what it becomes alone, to rounding. Where a layer, loss, optimiser or callback of one's
    own takes part, which may not know of members, it is one after the other.

    Parameters
    ----------
    network : Network
        What to train. Afterwards it holds the winner's weights.
    train, dev, test : (X, y)
        The parts, as from `partition`.
    l2 : sequence of float
        The values of λ.
    optimizer, clip_norm, rate_factors, decay_factors
        As for `Trainer`.
    watch : function or None
        Called with (trainer, row) when a λ has been tried, with a trainer and a network as if it
        had been tried alone. If it returns True, the training was cut short: no other is tried, and
        those that were trained at once with it don't count, unless they are the first.
    **fit
        Options of `Trainer.fit`: ``batch_size``, ``epochs``, ``callbacks``, ``augmentation``, …

    Returns
    -------
    L2Choice
        The λ, a row for each one tried, and the error on the test set.

    Raises
    ------
    TypeError, ValueError
        If a λ is negative, not finite or given twice, there is none, or the data are not as the
        network needs them; if the error on the development set is not defined, since all of its
        values are the same, or not finite for any λ.
    DivergedError
        If the training diverged for every λ.

    Examples
    --------
    >>> import xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 20)); y = (X[:, 0] + rng.normal(size=200) > 0) * 1
    >>> net = xn.Network([xn.Linear(32), xn.ReLU(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=20, device="cpu")
    >>> choice = choose_l2(net, *xn.partition(X, y), l2=(0, 1, 10), batch_size=20, epochs=20)
    >>> [row["l2"] for row in choice.rows], choice.l2 > 0
    ([0.0, 1.0, 10.0], True)
    """
    values = check_l2_values(l2)
    check_network(network).require_single("choose_l2")
    check_watch(watch)
    train, dev = _prepare(network, train, "train"), _prepare_dev(network, dev)
    test = None if test is None else _prepare(network, test, "test")
    rows: list[dict[str, float]] = []
    best, failure = _Best(), None
    factors = {"rate_factors": rate_factors, "decay_factors": decay_factors}
    trainings = Trainings(
        network, check_optimizer(optimizer), train, dev, fit, clip_norm=clip_norm, **factors
    )
    for group in trainings.run([Variant(network.seeds[0], value) for value in values]):
        before, tried, cut = best, [], False
        for trained in group:
            row = {"l2": trained.variant.l2}
            if trained.error is None:
                row |= measure(network, train, dev)
            failure = trained.error or failure  # no candidate; the others may be
            cut |= watch is not None and bool(watch(trained.trainer, row))
            best = best.or_better(network, row)
            tried.append(row)
        if cut and before.weights:  # those before had the time that these had not
            best = before
            break
        rows += tried
        if cut:
            break
    if not best.weights:
        raise failure or ValueError(
            "the development error is NaN or infinite for every λ: look at the features of dev, "
            "which may be far from those of train"
        )
    with network.backend.active():
        restore(weights_of(network), best.weights)
    return L2Choice(best.l2, rows, None if test is None else network.evaluate(*test))


@dataclass(frozen=True)
class _Best:
    """The best training so far: its λ and weights, and what it is judged by."""

    l2: float = math.nan
    rank: tuple[float, float] = (math.inf, math.inf)
    weights: Sequence[Array] = ()

    def or_better(self, network: Network, row: dict[str, float]) -> _Best:
        """Return the one that a network holds, if it is better."""
        rank = _rank(row)
        if not math.isfinite(rank[0]) or (self.weights and rank >= self.rank):
            return self
        with network.backend.active():
            return _Best(row["l2"], rank, snapshot(weights_of(network)))


def _rank(row: dict[str, float]) -> tuple[float, float]:
    """Return what a training is judged by, smaller is better; NaN and what is missing is infinite.

    Comparisons with NaN are false, so that it would win or lose by its place in the order.
    """
    error, loss = (row.get(name, math.nan) for name in ("dev_error", "dev_loss"))
    return (math.inf if math.isnan(error) else error, math.inf if math.isnan(loss) else loss)


def _prepare_dev(network: Network, dev: Data) -> tuple[Array, Array]:
    """Check a development set, whose error is to be compared, and bring it to the device."""
    x, y = _prepare(network, dev, "dev")
    with network.backend.active():
        count = network.loss.error_count(network.backend.xp, y)
    if math.isnan(count):
        raise ValueError(
            "all values of dev y are the same: its error, the share of the variance that is left, "
            "is not defined. Give a larger development set"
        )
    return x, y


def _prepare(network: Network, part: Data, name: str) -> tuple[Array, Array]:
    """Check a part of a data set and bring it to the device."""
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise TypeError(f"{name} is no pair: give (X, y)")
    return check_network(network).prepare(*part, name="" if name == "train" else f"{name} ")


def check_l2_values(l2: Sequence[float]) -> list[float]:
    """Return values of λ to choose from, or raise a ValueError."""
    if not hasattr(l2, "__iter__"):
        raise TypeError(f"l2 is {l2!r}: give several values, as (0, 0.01, 0.1, 1)")
    values = [check_not_negative(value, "a value of l2") for value in l2]
    if not values or len(set(values)) < len(values):
        raise ValueError(f"l2 is {tuple(values)}: give different values, as (0, 0.01, 0.1, 1)")
    return values


@dataclass(frozen=True)
class LearningCurve:
    """Errors against the size of the training set, from `learning_curve`.

    Attributes
    ----------
    rows : list of dict
        For each size: "examples", "epochs", "train_loss", "train_error", "dev_loss", "dev_error".
    """

    rows: list[dict[str, float]]

    def plot(
        self, path: str | os.PathLike[str], title: str = "", error_name: str = "error"
    ) -> None:
        """Draw both errors over the number of training examples into a file, as ``curve.png``."""
        plots.learning_curve(self.rows, path, title, error_name)


def learning_curve(
    network: Network,
    train: Data,
    dev: Data,
    *,
    sizes: Sequence[float] = SIZES,
    optimizer: Optimizer | None = None,
    l2: float = 0.0,
    clip_norm: float | None = None,
    rate_factors: ByPattern | None = None,
    decay_factors: ByPattern | None = None,
    batch_size: int = USUAL,
    epochs: int = 20,
    watch: Watch | None = None,
    **fit: Any,
) -> LearningCurve:
    """Measure the errors for training sets of several sizes, to see whether more data would help.

    A development error that still falls at the right end says yes, and belongs to high variance;
    two errors that have met above the target say no, and belong to high bias (notes, chapter 4).

    Each training starts from the same initial weights and makes about as many updates as the one on
    the whole set, at the same rates, so that small sets are not the worse for having been trained
    less. A smaller set is part of each larger one, with its share of each class.

    Sizes that are nearly the same are trained at once, others one after the other: members whose
    epochs have different numbers of batches share few steps.

    Parameters
    ----------
    network : Network
        What to train. Afterwards it holds the weights of the last size.
    train, dev : (X, y)
        The parts, as from `partition`.
    sizes : sequence of float
        Shares of the training set in (0, 1], rising.
    optimizer, l2, clip_norm, rate_factors, decay_factors
        As for `Trainer`. A smaller part has more epochs, by which the optimiser's schedules are
        stretched; one of dropout is not.
    batch_size, epochs : int
        As for `Trainer.fit`, on the whole training set.
    watch : function or None
        Called with (trainer, row) after each size. If it returns True, the training was cut short:
        it does not count, and no other follows.
    **fit
        Other options of `Trainer.fit`.

    Returns
    -------
    LearningCurve
        A row for each size; ``plot("curve.png")`` draws them.

    Raises
    ------
    TypeError, ValueError
        If the sizes are no rising shares, or the smallest part has no two examples with different
        labels; if the data are not as the network needs them, or all values of the development set
        are the same. Found before anything is trained.
    DivergedError
        If the training diverges.

    Examples
    --------
    >>> import xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 10)); y = (X[:, 0] * X[:, 1] > 0) * 1
    >>> net = xn.Network([xn.Linear(32), xn.ReLU(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=10, device="cpu")
    >>> train, dev, test = xn.partition(X, y)
    >>> curve = learning_curve(net, train, dev, sizes=(0.1, 1.0), batch_size=30, epochs=30)
    >>> small, whole = curve.rows
    >>> small["examples"], whole["examples"], small["dev_error"] > whole["dev_error"]
    (30, 300, True)
    """
    check_network(network).require_single("learning_curve")
    check_watch(watch)
    l2 = check_not_negative(l2, "l2")
    train, dev = _prepare(network, train, "train"), _prepare_dev(network, dev)
    optimizer, order = check_optimizer(optimizer), nested_order(network, train[1])
    counts = _counts(sizes, train[1], order)
    batch_size, epochs = check_count(batch_size, "batch_size"), check_count(epochs, "epochs")
    updates = epochs * math.ceil(len(order) / batch_size)
    variants = []
    for count in counts:
        batch = min(batch_size, count)
        times = max(1, round(updates / math.ceil(count / batch)))
        # In the given order, so that the whole set gives what a plain fit gives.
        chosen = np.sort(order[:count])
        slowed = _slowed(optimizer, epochs / times)
        variants.append(Variant(network.seeds[0], l2, chosen, None, slowed, times, batch))
    factors = {"rate_factors": rate_factors, "decay_factors": decay_factors}
    trainings = Trainings(network, optimizer, train, dev, fit, clip_norm=clip_norm, **factors)
    rows: list[dict[str, float]] = []
    for group in trainings.run(variants):
        cut = False
        for trained in group:
            if trained.error is not None:
                raise trained.error
            part = trainings.examples(trained.variant)
            row: dict[str, Any] = {"examples": len(part[1]), "epochs": trained.variant.epochs}
            row |= measure(network, part, dev)
            if watch is not None and watch(trained.trainer, row):
                cut = True
            else:
                rows.append(row)
        if cut:
            break
    return LearningCurve(rows)


def _slowed(optimizer: Optimizer, pace: float) -> Optimizer:
    """Return the optimiser with schedules for which an epoch is but a part of one."""
    values = {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.init}
    slowed = {name: _at_pace(value, pace) for name, value in values.items() if callable(value)}
    return replace(optimizer, **slowed)


def _at_pace(rate: RateFunction, pace: float) -> RateFunction:
    return lambda step, epoch: rate(step, pace * epoch)


def _counts(sizes: Sequence[float], y: Array, order: np.ndarray[Any, Any]) -> list[int]:
    several = check_several(sizes, "sizes", "(0.1, 1.0)")
    shares = [check_number(size, "a size") for size in several]
    if not shares or shares != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] <= 1:
        raise ValueError(f"sizes are {sizes}: give rising shares in (0, 1], as (0.1, 1.0)")
    least = smallest_part(y, order)
    counts = list(dict.fromkeys(round(share * len(order)) for share in shares))
    if counts[0] < least:
        raise ValueError(
            f"{shares[0]:g} of {len(order)} examples is {counts[0]}, and the first {least} are "
            "needed to have different labels: give a larger first size"
        )
    return counts


def smallest_part(y: Array, order: np.ndarray[Any, Any]) -> int:
    """Return how many examples, in an order, it takes for two to have different labels."""
    labels = np.asarray(backend_of(y, NUMPY).to_host(y)).reshape(len(order), -1)[order]
    differ = (labels != labels[0]).any(axis=1)
    return int(np.argmax(differ)) + 1 if differ.any() else len(order)


def nested_order(network: Network, y: Array) -> np.ndarray[Any, Any]:
    """Return an order of the training set, each beginning of which holds its share of classes."""
    labels = network.backend.to_host(y)
    classes = network.loss.of_classes and labels.size == len(labels)
    draw = generator(network.seeds[0], Purpose.PARTITION, 1)
    return proportional_order(len(labels), labels.ravel() if classes else None, draw)
