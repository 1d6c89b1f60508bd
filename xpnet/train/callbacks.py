"""Callbacks that come with the library: early stopping, and averages of the weights."""

from __future__ import annotations

import math
from dataclasses import replace

from .._typing import Array, Tree
from ..checks import check_count, check_flag, check_not_negative
from ..data.batches import Batches
from ..nn.snapshots import check_snapshot, restore, snapshot, weights_of
from ..optim.averages import ExponentialMovingAverage, MovingAverage
from ..warning import warn
from .callback import Callback
from .history import DivergedError, History
from .run_description import describe
from .trainer import Trainer


class EarlyStopping(Callback):
    """Ends a fit that no longer improves, and brings the best weights back (notes, chapter 5.3).

    After `patience` epochs in a row in which the watched figure has not fallen by more than
    `min_improvement` below the best one, the fit ends. However it ends, also if it diverges, the
    network then holds the weights and running statistics of the best epoch. After Prechelt, "Early
    stopping — but when?", 1998, whose criterion UP_s this is for strips of one epoch.

    Parameters
    ----------
    patience : int
        Epochs without improvement to wait for, 1 or more.
    monitor : str
        A loss or an error in the history's columns: "dev_loss", "dev_error" (they need
        ``validation_data``), "train_loss" or "train_error".
    min_improvement : float
        How much smaller counts as better.
    restore_best : bool
        Whether to bring the best weights back. The optimiser's moments stay those of the last step.

    Attributes
    ----------
    best_epoch : int
        The epoch with the best figure, as the history counts; 0 before the first.
    best : float
        That figure.
    stopped_epoch : int or None
        The epoch after which it ended the fit; None if it did not.

    Raises
    ------
    TypeError, ValueError
        If patience is less than 1, min_improvement negative, or `monitor` not measured in the fit;
        if it is the error of values that are all the same, which is NaN.

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
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "dev_loss",
        min_improvement: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.patience = check_count(patience, "patience")
        self.min_improvement = check_not_negative(min_improvement, "min_improvement")
        self.monitor, self.restore_best = monitor, check_flag(restore_best, "restore_best")
        self._forget()

    def _forget(self) -> None:
        # The first epoch has none before it that it could improve on.
        self.best, self.best_epoch, self._waited = math.inf, 0, -1
        self.stopped_epoch: int | None = None
        self._state: list[Array] = []

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Begin anew; refuse to watch what is not measured."""
        self._forget()
        measured = [c for c in trainer.history.columns if c.endswith(("_loss", "_error"))]
        if self.monitor not in measured:
            hint = ": give validation_data" if self.monitor in ("dev_loss", "dev_error") else ""
            raise ValueError(
                f"EarlyStopping watches {self.monitor!r}, and this fit measures "
                f"{', '.join(measured)}{hint}"
            )
        if self.monitor in trainer.history.undefined:
            raise ValueError(
                f"EarlyStopping watches {self.monitor!r}, and all values that it is measured on "
                "are the same: there is no variance to explain. Give more examples, or watch a loss"
            )

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Keep the weights if they are the best so far; stop if there were none for too long."""
        value = row[self.monitor]
        if value < self.best - self.min_improvement:  # and no NaN
            self.best, self.best_epoch, self._waited = value, int(row["epoch"]), 0
            if self.restore_best:
                self._state = snapshot(weights_of(trainer.network))
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = int(row["epoch"])
            since = f"no better {self.monitor} since epoch {self.best_epoch}"
            trainer.stop(since if self.best_epoch else f"no finite {self.monitor}")

    def state(self) -> Tree:
        """Return what it is set to, what was best so far, and those weights."""
        names = ("patience", "monitor", "min_improvement", "restore_best")
        return {
            "settings": {name: getattr(self, name) for name in names},
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "stopped_epoch": self.stopped_epoch,
            "weights": self._state,
        }

    def load_state(self, trainer: Trainer, state: Tree) -> None:
        """Go on from there."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._waited, self.stopped_epoch = state["waited"], state["stopped_epoch"]
        self._state = check_snapshot(trainer.network, state["weights"])

    def on_divergence(self, trainer: Trainer, error: DivergedError) -> None:
        """Bring the best weights back, if there are any, and say so."""
        if self._state:
            error.args = (f"{error}. Early stopping brought those of epoch {self.best_epoch} back",)
            self.on_fit_end(trainer, trainer.history)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Bring the best weights back, or warn that there are none."""
        if history.rows and not self.best_epoch:
            message = f"{self.monitor} was NaN or infinite in every epoch: the last weights stay"
            warn(message)
        restore(weights_of(trainer.network), self._state)
        self._state = []


class WeightAverage(Callback):
    """Averages the weights over the steps of a fit, and judges the network by the average.

    The training goes on with the weights themselves. At the end of each epoch the average stands in
    for them while errors are measured and other callbacks look; after the fit the network keeps it.
    After Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
    averages are those of the notes' chapter 7.1. Running statistics of batch norm are averaged like
    the weights.

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

    def __init__(self, average: MovingAverage | None = None, every: int = 1) -> None:
        average = ExponentialMovingAverage(0.999) if average is None else average
        if not isinstance(average, MovingAverage):
            raise TypeError(f"average is {average!r}: give one as ExponentialMovingAverage(0.999)")
        self.every = check_count(every, "every")
        self.parameters, self.statistics = replace(average), replace(average)
        self._own: list[Array] = []
        self._looked_at = 0

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Begin anew."""
        self.parameters, self.statistics = replace(self.parameters), replace(self.statistics)
        self._own = []
        self._looked_at = trainer.steps

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Take the weights in."""
        before, self._looked_at = self._looked_at, trainer.steps
        if trainer.steps // self.every > before // self.every:
            self.parameters.update(trainer.network.parameters)
            self.statistics.update(trainer.network.statistics)

    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Put the average in the weights' place."""
        if self.parameters.count:
            weights = weights_of(trainer.network)
            self._own = snapshot(weights)
            restore(weights, [self.parameters.value, self.statistics.value])

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Put the weights back in their place, for the training to go on."""
        restore(weights_of(trainer.network), self._own)
        self._own = []

    def state(self) -> Tree:
        """Return what it is set to, the averages, and the weights while the average stands in."""
        return {
            "settings": {"average": describe(self.parameters), "every": self.every},
            "parameters": self.parameters.state(),
            "statistics": self.statistics.state(),
            "own": self._own,
            "looked_at": self._looked_at,
        }

    def load_state(self, trainer: Trainer, state: Tree) -> None:
        """Go on from there."""
        averages = self.parameters, self.statistics
        for average, name in zip(averages, ("parameters", "statistics"), strict=True):
            average.load_state(state[name])
        if self.parameters.count:
            check_snapshot(trainer.network, [average.value for average in averages])
        self._own = check_snapshot(trainer.network, state["own"])
        self._looked_at = check_count(state["looked_at"], "looked_at", 0)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Warn if there is no average."""
        if not self.parameters.count:
            message = f"the fit had fewer than {self.every} steps: no weights were averaged"
            warn(message)
