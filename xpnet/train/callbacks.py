"""Callbacks that come with the library: early stopping, and averages of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from .._typing import Array, Tree
from ..checks import check_count, check_flag, check_name, check_not_negative
from ..data.batches import Batches
from ..nn.snapshots import check_snapshot, restore, snapshot, weights_of
from ..optim.averages import ExponentialMovingAverage, MovingAverage
from ..warning import warn
from .callback import Callback
from .history import DivergedError, History, Row
from .member_averages import MemberAverages
from .run_description import describe
from .trainer import Trainer


@dataclass
class Waiting:
    """What early stopping has seen of a network, or of a member of one.

    Attributes
    ----------
    best, best_epoch, stopped_epoch
        See `EarlyStopping`.
    waited : int
        Epochs since the last improvement. The first has none before it that it could improve on.
    loss : float
        The loss of the best epoch, where ties are broken by it.
    """

    best: float = math.inf
    best_epoch: int = 0
    waited: int = -1
    stopped_epoch: int | None = None
    loss: float = math.inf


#: Whether less of a figure is better, or more: and what none is worse than.
MODES = {"min": math.inf, "max": -math.inf}

#: What early stopping does with an epoch that is as good as the best one.
TIES = ("first", "last", "loss")


class EarlyStopping(Callback):
    """Ends a fit that no longer improves, and brings the best weights back (notes, chapter 5.3).

    After `patience` epochs in a row in which the watched figure has not fallen by more than
    `min_improvement` below the best one (or risen above it), the fit ends. However it ends, also if
    it diverges, the network then holds the weights and running statistics of the best epoch. After
    Prechelt, "Early stopping — but when?", 1998, whose criterion UP_s this is for strips of one
    epoch.

    Of a network with members each is watched by itself: one that no longer improves is trained no
    longer, while the others are.

    Parameters
    ----------
    patience : int
        Epochs without improvement to wait for, 1 or more.
    monitor : str
        A figure in the history's columns: "dev_loss", "dev_error", one of ``metrics`` as "dev_auc"
        (they need ``validation_data``), "train_loss" or "train_error".
    min_improvement : float
        How much smaller, or larger, counts as better.
    restore_best : bool
        Whether to bring the best weights back. The optimiser's moments stay those of the last step.
    mode : {"min", "max"}
        Whether less of the figure is better, or more.
    ties : {"first", "last", "loss"}
        Which of several epochs with the same best figure, as errors of few examples often are, is
        the best one: the first; the last, as in RealMLP (Holzmüller, Grinsztajn & Steinwart,
        "Better by default", NeurIPS 2024); or that with the least loss on the same examples.
        Patience counts from the first of them in each case: a tie is no improvement.

    Attributes
    ----------
    best_epoch : int
        The epoch with the best figure, as the history counts; 0 before the first.
    best : float
        That figure.
    stopped_epoch : int or None
        The epoch after which it ended the fit; None if it did not. Of members these three are lists
        with a figure for each.

    Raises
    ------
    TypeError, ValueError
        If patience is less than 1, min_improvement negative, mode or ties not known, or `monitor`
        not measured in the fit; if it is not defined, as the error of values that are all the same.

    Warns
    -----
    UserWarning
        If the watched figure was NaN or infinite in every epoch, so that no weights were the best.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 5)); y = (X[:, 0] + rng.normal(size=60) > 0) * 1
    >>> net = xn.Network([xn.Linear(32), xn.Tanh(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=5, device="cpu")
    >>> stopping = EarlyStopping(patience=5)
    >>> history = xn.Trainer(net, xn.Adam(0.01)).fit(
    ...     X[:40], y[:40], batch_size=10, epochs=200, validation_data=(X[40:], y[40:]),
    ...     callbacks=[stopping])
    >>> stopping.stopped_epoch - stopping.best_epoch, len(history) < 200
    (5, True)
    >>> round(net.evaluate(X[40:], y[40:])["loss"] - min(history["dev_loss"]), 6)
    0.0

    The epoch with the largest area under the ROC curve:

    >>> stopping = EarlyStopping(patience=5, monitor="dev_auc", mode="max", ties="loss")
    >>> history = xn.Trainer(net, xn.Adam(0.01)).fit(
    ...     X[:40], y[:40], epochs=20, validation_data=(X[40:], y[40:]),
    ...     callbacks=[stopping], metrics={"auc": "roc_auc"})
    >>> stopping.best == max(history["dev_auc"])
    True
    """

    takes_members: ClassVar[bool] = True

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "dev_loss",
        min_improvement: float = 0.0,
        restore_best: bool = True,
        mode: str = "min",
        ties: str = "first",
    ) -> None:
        self.patience = check_count(patience, "patience")
        self.min_improvement = check_not_negative(min_improvement, "min_improvement")
        self.monitor, self.restore_best = monitor, check_flag(restore_best, "restore_best")
        self._worst, self.mode = check_name(mode, MODES, "mode"), mode
        self.ties = check_name(ties, dict(zip(TIES, TIES, strict=True)), "ties")
        self._forget(None)

    def _forget(self, members: int | None) -> None:
        self._members = members
        self._seen = [Waiting(self._worst) for _ in range(members or 1)]
        self._state: list[Array] = []

    def _of(self, name: str) -> Any:
        """Return what was seen of the network, or as a list of its members."""
        found = [getattr(seen, name) for seen in self._seen]
        return found[0] if self._members is None else found

    @property
    def best(self) -> Any:
        """The best figure so far."""
        return self._of("best")

    @property
    def best_epoch(self) -> Any:
        """The epoch with that figure."""
        return self._of("best_epoch")

    @property
    def stopped_epoch(self) -> Any:
        """The epoch after which the training was ended."""
        return self._of("stopped_epoch")

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Begin anew; refuse to watch what is not measured."""
        self._forget(trainer.network.members)
        measured = [c for c in trainer.history.columns if c.startswith(("train_", "dev_"))]
        if self.monitor not in measured:
            hint = ""
            if self.monitor.startswith("dev_"):
                given = "dev_loss" in measured
                hint = ": give it as one of metrics" if given else ": give validation_data"
            raise ValueError(
                f"EarlyStopping watches {self.monitor!r}, and this fit measures "
                f"{', '.join(measured)}{hint}"
            )
        if self.monitor in trainer.history.undefined:
            raise ValueError(
                f"EarlyStopping watches {self.monitor!r}, and all values that it is measured on "
                "are the same, or others that it is not defined for. Give more examples, or watch "
                "a loss"
            )

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Keep the weights if they are the best so far; stop if there were none for too long."""
        epoch, better = int(row["epoch"]), []
        for i in trainer.history.trained(epoch):
            seen, value, loss = self._seen[i], _of_member(row[self.monitor], i), self._loss(row, i)
            gain = value - seen.best if self.mode == "max" else seen.best - value
            if gain > self.min_improvement or (gain == 0 and self._wins_tie(loss, seen)):  # no NaN
                seen.best, seen.best_epoch, seen.loss = value, epoch, loss
                better.append(i)
            if gain > self.min_improvement:
                seen.waited = 0
                continue
            seen.waited += 1
            if seen.waited >= self.patience:
                seen.stopped_epoch = epoch
                own = epoch - seen.waited - trainer.behind[i]  # as its history counts
                since = f"no better {self.monitor} since epoch {own}"
                reason = since if seen.best_epoch else f"no finite {self.monitor}"
                trainer.stop(reason, members=[i])
        if better and self.restore_best:
            self._keep(weights_of(trainer.network), better)

    def _loss(self, row: Row, i: int) -> float:
        """Return the loss on the examples of the watched figure, if ties are broken by it."""
        if self.ties != "loss":
            return math.inf
        part = self.monitor.partition("_")[0]
        return float(_of_member(row[f"{part}_loss"], i))

    def _wins_tie(self, loss: float, seen: Waiting) -> bool:
        """Return whether an epoch as good as the best one takes its place."""
        return self.ties == "last" or (self.ties == "loss" and loss < seen.loss)

    def on_replace(self, trainer: Trainer, member: int) -> None:
        """Begin anew with the network that has the member's place."""
        self._seen[member] = Waiting(self._worst)

    def _keep(self, weights: list[Array], members: list[int]) -> None:
        if self._members is None or not self._state:
            self._state = snapshot(weights)
        else:
            restore(self._state, weights, members)

    def state(self) -> Tree:
        """Return what it is set to, what was best so far, and those weights."""
        names = ("patience", "monitor", "min_improvement", "restore_best")
        settings = {name: getattr(self, name) for name in names}
        # As files of earlier versions have it, where nothing else is asked for.
        settings |= {"mode": self.mode} if self.mode != "min" else {}
        settings |= {"ties": self.ties} if self.ties != TIES[0] else {}
        seen = {name: self._of(name) for name in self._kept}
        return {"settings": settings, **seen, "weights": self._state}

    @property
    def _kept(self) -> list[str]:
        """What a checkpoint holds of what was seen."""
        return [f.name for f in fields(Waiting) if f.name != "loss" or self.ties == "loss"]

    def load_state(self, trainer: Trainer, state: Tree) -> None:
        """Go on from there."""
        for name in self._kept:
            values = [state[name]] if self._members is None else state[name]
            for seen, value in zip(self._seen, values, strict=True):
                setattr(seen, name, value)
        self._state = check_snapshot(trainer.network, state["weights"])

    def on_divergence(self, trainer: Trainer, error: DivergedError) -> None:
        """Bring the best weights back, if there are any, and say so."""
        if self._state:
            epochs = {seen.best_epoch for seen in self._seen} - {0}
            which = f"those of epoch {epochs.pop()}" if len(epochs) == 1 else "each one's best"
            error.args = (f"{error}. Early stopping brought {which} back",)
            self.on_fit_end(trainer, trainer.history)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Bring the best weights back, or warn that there are none."""
        found = [i for i, seen in enumerate(self._seen) if seen.best_epoch]
        none = [i for i in range(len(self._seen)) if i not in found and i not in history.diverged]
        if history.rows and none:
            of = "" if self._members is None else f" of members {', '.join(map(str, none))}"
            what = f"{self.monitor}{of} was NaN or infinite in every epoch"
            warn(f"{what}: the last weights stay")
        weights = weights_of(trainer.network)
        restore(weights, self._state, None if self._members is None else found)
        self._state = []


def _of_member(figures: Any, i: int) -> Any:
    """Return a member's own figure, or that of the one network."""
    return figures[i] if isinstance(figures, list) else figures


class WeightAverage(Callback):
    """Averages the weights over the steps of a fit, and judges the network by the average.

    The training goes on with the weights themselves. At the end of each epoch the average stands in
    for them while errors are measured and other callbacks look; after the fit the network keeps it.
    After Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
    averages are those of the notes' chapter 7.1. Running statistics of batch norm are averaged like
    the weights. A member that is trained no longer keeps the average that it then had.

    Parameters
    ----------
    average : MovingAverage or None
        `ExponentialMovingAverage` or `SimpleMovingAverage`, of which copies are used;
        ``ExponentialMovingAverage(0.999)`` if None.
    every : int
        Take the weights in after every so many steps; those that another callback makes count.

    Raises
    ------
    TypeError, ValueError
        If the average is none, or every less than 1.

    Warns
    -----
    UserWarning
        If a fit has fewer steps than `every`, and so no average.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5)); y = X @ rng.normal(size=5) + rng.normal(size=200)
    >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=5, device="cpu")
    >>> average = WeightAverage(ExponentialMovingAverage(0.98))
    >>> history = xn.Trainer(net, xn.SGD(0.1)).fit(X, y, batch_size=10, callbacks=[average])
    >>> bool(np.array_equal(net.parameters, average.parameters.value))
    True
    """

    takes_members: ClassVar[bool] = True

    def __init__(self, average: MovingAverage | None = None, every: int = 1) -> None:
        average = ExponentialMovingAverage(0.999) if average is None else average
        if not isinstance(average, MovingAverage):
            raise TypeError(f"average is {average!r}: give one as ExponentialMovingAverage(0.999)")
        self.every, self._kind = check_count(every, "every"), average
        self._forget([0])

    def _forget(self, steps: list[int]) -> None:
        kind = self._kind
        self.parameters: MovingAverage | MemberAverages = replace(kind)
        self.statistics: MovingAverage | MemberAverages = replace(kind)
        self._own: list[Array] = []
        #: The updates that were looked at, of all members or of each.
        self._looked_at = steps
        #: The averages when members ended in the midst of the running epoch.
        self._ended: dict[int, list[Array]] = {}

    def _begin(self, trainer: Trainer, apart: bool) -> None:
        """Begin anew, for each member by its own updates where they are apart."""
        self._forget(trainer.update_step.own_counts() if apart else [trainer.steps])
        if apart:
            self.parameters = MemberAverages(self._kind, trainer.network.parameters)
            self.statistics = MemberAverages(self._kind, trainer.network.statistics)

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Begin anew."""
        waits = isinstance(batches.per_epoch, tuple)  # some members for the others
        self._begin(trainer, waits or len({*trainer.update_step.own_counts()}) > 1)

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Take the weights in."""
        averages, weights = (self.parameters, self.statistics), weights_of(trainer.network)
        apart, before = isinstance(self.parameters, MemberAverages), self._looked_at
        self._looked_at = trainer.update_step.own_counts() if apart else [trainer.steps]
        pairs = enumerate(zip(self._looked_at, before, strict=True))
        due = [i for i, (now, then) in pairs if now // self.every > then // self.every]
        if due and not apart:
            self._keep_ended(trainer)
        for average, array in zip(averages, weights, strict=True):
            if isinstance(average, MemberAverages):
                average.update(due)
            elif due:
                average.update(array)

    def _keep_ended(self, trainer: Trainer) -> None:
        """Keep the averages of members that have ended, before others' weights are taken in."""
        ended = [i for i, e in trainer.history.ended.items() if e.epoch == trainer.epochs + 1]
        new = [i for i in ended if i not in self._ended] if self.parameters.count else []
        averages = self._averages() if new else []
        for i in new:
            self._ended[i] = snapshot([average[i] for average in averages])

    def _averages(self) -> list[Array]:
        return [self.parameters.value, self.statistics.value]

    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Put the average in the weights' place."""
        if not self.parameters.count:
            return
        weights, averages = weights_of(trainer.network), self._averages()
        self._own = snapshot(weights)
        if trainer.network.members is None:
            restore(weights, averages)
            return
        for i in trainer.history.trained(trainer.epochs):
            own = self._ended.get(i, [average[i] for average in averages])
            restore([array[i] for array in weights], own)
        self._ended = {}

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Put the weights back in their place, for the training to go on."""
        several = trainer.network.members is not None
        active = [*trainer.active.nonzero()[0].tolist()] if several else None
        restore(weights_of(trainer.network), self._own, active)
        self._own = []

    def on_replace(self, trainer: Trainer, member: int) -> None:
        """Begin anew with the network that has the member's place; the others' averages go on."""
        weights, counts = weights_of(trainer.network), trainer.update_step.own_counts()
        for own, array in zip(self._own, weights, strict=bool(self._own)):
            own[member] = array[member]
        parted = []
        for average, array in zip((self.parameters, self.statistics), weights, strict=True):
            if not isinstance(average, MemberAverages):
                average = MemberAverages.parted(average, self._kind, array)
                self._looked_at = counts
            average.renew(member)
            parted.append(average)
        self.parameters, self.statistics = parted
        self._looked_at[member] = counts[member]
        self._ended.pop(member, None)

    def state(self) -> Tree:
        """Return what it is set to, the averages, and the weights while the average stands in."""
        return {
            "settings": {"average": describe(self._kind), "every": self.every},
            "parameters": self.parameters.state(),
            "statistics": self.statistics.state(),
            "own": self._own,
            "looked_at": self._looked_at,
            "ended": [{"member": i, "average": rows} for i, rows in self._ended.items()],
        }

    def load_state(self, trainer: Trainer, state: Tree) -> None:
        """Go on from there."""
        self._begin(trainer, "each" in state["parameters"])
        averages = self.parameters, self.statistics
        for average, name in zip(averages, ("parameters", "statistics"), strict=True):
            average.load_state(state[name])
        if self.parameters.count:
            check_snapshot(trainer.network, [average.value for average in averages])
        self._own = check_snapshot(trainer.network, state["own"])
        pairs = zip(state["looked_at"], self._looked_at, strict=True)
        self._looked_at = [check_count(steps, "looked_at", 0) for steps, _ in pairs]
        self._ended = {each["member"]: each["average"] for each in state["ended"]}

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Warn if there is no average."""
        if not self.parameters.count:
            message = f"the fit had fewer than {self.every} steps: no weights were averaged"
            warn(message)
