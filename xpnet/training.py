"""Training: the step, the epoch, the fit, and what is told of them.

The path of a mini-batch:
``Batches → Network.forward → Loss.gradient → Network.backward → Optimizer.update → Meter``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ._typing import Array
from .augmentation import Augmentation
from .data import Batches, take_rows
from .history import DivergedError, History, Meter
from .measuring import Feeding, choose
from .network import Network
from .optimizers import Adam, Optimizer
from .randomness import Purpose, generator, step_keys
from .schedules import OwnSchedule, Schedule
from .throughput import BatchSize
from .validation import admit_weights, check_count, check_not_negative

_log = logging.getLogger(__name__)

#: Steps whose numbers are computed at once and moved to the device together.
PLAN = 1024

#: Every so many steps weights and moments are put by, in case the loss turns NaN.
PUT_BY = 100


#: A rate that changes no weight, so that every step does the same work and no number is driven to
#: zero, through denormal ones, which a CPU is slow at.
TINY = 1e-12


class Callback:
    """Something that watches a fit; subclass it and override what you need.

    Any plain function of (trainer, row) may stand in for one: it is called after each epoch.
    """

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Do something before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Do something before an epoch, such as setting ``trainer.learning_rate``."""

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Do something after an update with n examples. The device may still be at it."""

    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Do something between an epoch's last update and the measuring of its errors."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Do something after an epoch, with its row of the history."""

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Do something after the last epoch."""

    def on_divergence(self, trainer: Trainer, error: DivergedError) -> None:
        """Do something when a fit ends because its loss is not finite; no `on_fit_end` follows."""


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Trainer, dict[str, float]], Any]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        self._function(trainer, row)


class Trainer:
    """Trains a network: `step` for one update, `fit` for epochs.

    Parameters
    ----------
    network : Network
        What to train.
    optimizer : Optimizer
        How to update; `Adam` with its defaults if None.
    l2 : float
        λ of the L2 term λ/2n ‖W‖² that is added to a batch's cost, n its examples: weights only,
        no biases, γ or β (notes, chapter 5).

    Attributes
    ----------
    steps, epochs : int
        Updates and epochs made so far.
    history : History
        Of the running or last fit.

    Raises
    ------
    ValueError
        If l2 is negative or not finite.

    Examples
    --------
    >>> import xpnet as xn
    >>> X = np.random.default_rng(0).standard_normal((200, 2)); y = (X[:, 0] * X[:, 1] > 0) * 1
    >>> net = xn.Network([xn.Linear(16), xn.Tanh(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=2, device="cpu")
    >>> history = xn.Trainer(net, xn.Adam(0.03)).fit(X, y, batch_size=20, epochs=40)
    >>> bool(history["train_loss"][-1] < 0.15)
    True
    """

    def __init__(
        self, network: Network, optimizer: Optimizer | None = None, l2: float = 0.0
    ) -> None:
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer is {optimizer!r}: give one such as Adam(learning_rate=0.001)"
            )
        self.network = network
        self.backend = network.backend
        self.optimizer = optimizer or Adam()
        self.l2 = check_not_negative(l2, "l2")
        self.steps = self.epochs = 0
        self.history = History()
        self._stopping = ""
        with self.backend.active():
            self._allocate()

    def _allocate(self) -> None:
        xp, net = self.backend.xp, self.network
        self.moments = [xp.zeros_like(net.parameters) for _ in range(self.optimizer.n_moments)]
        self._scratch = xp.empty_like(net.parameters)
        weights = slice(0, net.n_weights)
        self._decayed = [a[..., weights] for a in (net.gradients, net.parameters, self._scratch)]
        self._state = [net.parameters, net.statistics, *self.moments]
        self._put_by = [xp.zeros_like(array) for array in self._state]
        self._put_by_since = 0
        self._meter = Meter(self.backend, net.lead)
        self._shares = xp.empty((0, 1), net.dtype)
        names = ("total", "safe", "decay")
        self._weighing = SimpleNamespace(**{k: xp.empty((1, 1), net.dtype) for k in names})
        width = len(self.optimizer.numbers(0, 0.0))
        self._row = xp.empty(width, net.dtype)
        self._numbers = [self._row[i : i + 1] for i in range(width)]
        self._plan = range(0)
        # From this step, at this epoch, so many steps make an epoch.
        self._pace: tuple[int, int, int | None] = (0, 0, None)

    # -- the step ----

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> Array:
        """Make one update on a batch.

        Parameters
        ----------
        x : array-like, shape (n, n_features)
            Features.
        y : array-like, shape (n,) or (n, k)
            Labels. What lies on the network's device already, in the types that it computes with
            (its dtype; int32 labels for softmax), is taken as it is; all else is checked.
        sample_weight : array-like, shape (n,), or None
            How much each example counts, 0 or more.

        Returns
        -------
        array, shape ()
            The mean loss over the batch before the update, weighted, without the L2 term; on the
            device.

        Raises
        ------
        TypeError, ValueError
            If x or y is not as the network needs it.
        """
        with self.backend.active():
            x, y = self._admit(x, y)
            weights = None
            if sample_weight is not None:
                self.network._require_single("sample_weight")
                weights = admit_weights(sample_weight, x.shape[0], self.backend, x.dtype)
            return self._update(x, y, weights).copy()

    def _admit(self, x: Any, y: Any) -> tuple[Array, Array]:
        net = self.network
        if not net.holds(x, y):
            x, y = net.admit(x, y)
            x = x[:]  # of what is streamed, all: it is one batch
        if x.shape[0] < net.min_batch:
            raise ValueError(f"the batch has {x.shape[0]} example: batch norm needs at least 2")
        return x, y

    def _update(self, x: Array, y: Array, weights: Array | None = None) -> Array:
        """Make one update: the path of a mini-batch. Returns the loss in a static buffer."""
        net, kernels, n = self.network, self.backend.kernels, x.shape[-2]
        self._advance()
        share, decay = (None, self.l2 / n) if weights is None else self._weigh(weights)
        loss = net.loss_and_gradient(x, y, share)
        if self.l2:
            g, p, scratch = self._decayed
            kernels.add_decay(g, p, decay, scratch)
        self._meter.add(loss, n)
        if (self.steps - self._put_by_since) % PUT_BY == 0:
            self._put_state_by()
        self.optimizer.update(
            kernels, net.parameters, net.gradients, self.moments, self._numbers, self._scratch
        )
        self.steps += 1
        return loss

    def _weigh(self, weights: Array) -> tuple[Array, Array]:
        """Return the share of each example in the loss, and λ over the sum of the weights."""
        n, xp = weights.shape[0], self.backend.xp
        if len(self._shares) < n:
            self._shares = xp.empty((n, 1), weights.dtype)
        work = self._weighing
        work.share = self._shares[:n]
        self.backend.kernels.weigh(weights, self.l2, work)
        return work.share, work.decay[0]

    def _advance(self) -> None:
        """Bring this step's numbers and dropout key to where the kernels read them."""
        if self.steps not in self._plan:
            self._make_plan()
        i = self.steps - self._plan.start
        self.backend.xp.copyto(self._row, self._table[i])
        self.backend.xp.copyto(self.network.step_key, self._keys[i])

    def _make_plan(self) -> None:
        """Compute the numbers of the next steps, and move them to the device together."""
        plan = range(self.steps, self.steps + self._ahead())
        numbers = [self.optimizer.numbers(step, self._epoch_at(step)) for step in plan]
        self._table = self.backend.asarray(np.array(numbers), self.network.dtype)
        self._keys = self.backend.asarray(step_keys(self.network.random_state, plan))
        self._plan = plan

    def _ahead(self) -> int:
        """Return how many steps to plan; the user's own function may not know those after a fit."""
        start, _, per_epoch = self._pace
        rate = self.optimizer.learning_rate
        if per_epoch is None and callable(rate) and not isinstance(rate, OwnSchedule):
            return 1
        # Longer from plan to plan, for who changes the rate by hand makes a new one each time.
        ahead = min(PLAN, max(8, 4 * len(self._plan)))
        return ahead if per_epoch is None else max(1, min(ahead, start + per_epoch - self.steps))

    def _set_pace(self, steps_per_epoch: int | None) -> None:
        """Say how many steps make an epoch from here on; outside a fit none do."""
        self._pace = (self.steps, self.epochs, steps_per_epoch)
        self._plan = range(0)

    def _epoch_at(self, step: int) -> float:
        """Return how many epochs have been made by a step, with the fraction of the running one."""
        start, epoch, per_epoch = self._pace
        return epoch + (step - start) / per_epoch if per_epoch else float(epoch)

    def _put_state_by(self) -> None:
        """Keep a copy of the state, if the loss it gave is finite: the device decides."""
        for copy, array in zip(self._put_by, self._state, strict=True):
            self.backend.xp.copyto(copy, array, where=self._meter.finite[..., None])

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule to change it by hand."""
        return self.optimizer.rate(self.steps, self._epoch_at(self.steps))

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self.optimizer = replace(self.optimizer, learning_rate=rate)
        self._plan = range(0)

    # -- the fit ----

    def stop(self, reason: str = "stop() was called") -> None:
        """End the running fit after the present update, or the next fit after its first one.

        May be called from a signal handler.

        Parameters
        ----------
        reason : str
            Why; it is found in the attribute ``reason`` of the history.
        """
        self._stopping = reason

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        batch_size: int | str = 128,
        epochs: int = 20,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer, dict[str, float]], Any]] = (),
        shuffle: bool = True,
        monitor: int = 10_000,
        augmentation: Augmentation | None = None,
        sample_weight: Any = None,
    ) -> History:
        """Train for some epochs in mini-batches. A second fit goes on where the first one ended.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            Features.
        y : array-like, shape (n,) or (n, k)
            Labels: integers for softmax, 0/1 for sigmoid, numbers for regression.
        batch_size : int or "auto"
            Examples in a mini-batch; n is batch gradient descent, 1 stochastic (notes, chapter 7).
            "auto": what `choose_batch_size` says, logged, and kept in ``history.batch_size``. Then
            the run depends on how fast the machine is; give that number to get it again.
        epochs : int
            How often to go through the data.
        validation_data : (X, y) or None
            The development set, evaluated after each epoch.
        callbacks : sequence of Callback or function
            See `Callback`.
        shuffle : bool
            Whether to shuffle in every epoch.
        monitor : int
            On how many training examples to measure the training error after each epoch, as in
            prediction; 0 leaves it out.
        augmentation : Augmentation or None
            Changes each mini-batch at random before it is trained on (notes, chapter 5.2). Errors
            are measured on the data as they are.
        sample_weight : array-like, shape (n,), or None
            How much each example counts in the loss, 0 or more: a batch's cost is
            (Σ wᵢ Lᵢ + λ/2 ‖W‖²) / Σ wᵢ. Errors count examples, unweighted.

        Returns
        -------
        History
            A row for each epoch; also in the attribute `history` while the fit runs.

        Raises
        ------
        TypeError, ValueError
            If X, y or an option is not as it must be, or y has one class only.
        DivergedError
            If the loss turns NaN or infinite. Weights, moments and `steps` are then back where they
            were at most 100 updates before, and training can go on at a smaller rate.
        """
        net = self.network
        net._require_single("fit")
        if validation_data is not None and len(validation_data) != 2:
            raise ValueError(f"validation_data has {len(validation_data)} parts: give (X, y)")
        with self.backend.active():
            x, labels = net.admit(X, y)
            _check_varied(self.backend.to_host(labels))
            weights = None
            if sample_weight is not None:
                weights = admit_weights(sample_weight, x.shape[0], self.backend, net.dtype)
            dev = None if validation_data is None else net.admit(*validation_data, name="dev ")
            return self.fit_admitted(
                x,
                labels,
                weights,
                dev,
                batch_size=batch_size,
                epochs=epochs,
                callbacks=callbacks,
                shuffle=shuffle,
                monitor=monitor,
                augmentation=augmentation,
            )

    def fit_admitted(
        self,
        x: Array,
        labels: Array,
        weights: Array | None,
        dev: tuple[Array, Array] | None,
        *,
        batch_size: int | str,
        epochs: int,
        callbacks: Sequence[Callback | Callable[[Trainer, dict[str, float]], Any]] = (),
        shuffle: bool = True,
        monitor: int = 0,
        augmentation: Augmentation | None = None,
    ) -> History:
        """Train on what `Network.admit` and `admit_weights` returned; see `fit`."""
        net = self.network
        epochs, monitor = check_count(epochs, "epochs"), check_count(monitor, "monitor", 0)
        if isinstance(callbacks, Callback) or not hasattr(callbacks, "__iter__"):
            raise TypeError(f"callbacks is {callbacks!r}: give a list")
        watchers = [_as_callback(c) for c in callbacks]
        if not (augmentation is None or isinstance(augmentation, Augmentation)):
            raise TypeError(f"augmentation is {augmentation!r}: give an Augmentation")
        with self.backend.active():
            if isinstance(batch_size, str):
                batch_size = self._choose_batch_size(x, labels, batch_size, epochs)
            batches = Batches(
                x,
                labels,
                batch_size,
                weights=weights,
                backend=self.backend,
                seed=net.random_state,
                shuffle=shuffle,
                min_batch=net.min_batch,
                augmentation=augmentation,
            )
            sample = self._sample(x, labels, monitor)
            net.reserve(batches.largest, training=True)
            try:
                return self._run(batches, epochs, dev, sample, watchers)
            except DivergedError as error:
                for watcher in watchers:
                    watcher.on_divergence(self, error)
                raise
            finally:  # however it ends, the next fit and step must not inherit its stop or its pace
                self._stopping = ""
                self._set_pace(None)

    def choose_batch_size(self, X: Any, y: Any, *, epochs: int = 20) -> BatchSize:
        """Measure which batch size to train with, as ``fit(batch_size="auto")`` does.

        It is the smallest with at least 90 % of the best samples/s, among powers of two from 8 to
        1024. Larger ones than a twentieth of the examples are left out as well: an epoch would have
        few updates, and throughput is not accuracy. `xpnet.profile` looks at all sizes.

        Copies of the network are timed, for a twentieth of the time that the fit may take, but
        between 0.1 and 1 s; augmentation and sample weights are left out. The trainer and its
        network stay as they are. The choice depends on how fast the machine is, and how busy.

        Parameters
        ----------
        X, y : array-like
            Features and labels, as for `fit`.
        epochs : int
            How long the fit is to be.

        Returns
        -------
        BatchSize
            With ``batch_size``, ``reason`` in one line, and the ``timings``.

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        self.network._require_single("choose_batch_size")
        with self.backend.active():
            return self._measure_batch_sizes(*self.network.admit(X, y), epochs)

    def _measure_batch_sizes(self, x: Array, labels: Array, epochs: int) -> BatchSize:
        def copy() -> tuple[Callable[[Array, Array], Array], Trainer]:
            gentle = replace(self.optimizer, learning_rate=TINY)
            other = Trainer(self.network.twin(), gentle, self.l2)
            return other.step, other

        bench = Feeding(copy, x, labels, self.backend)
        return choose(bench, x.shape[0], epochs, stop=lambda: bool(self._stopping))

    def _choose_batch_size(self, x: Array, labels: Array, wish: str, epochs: int) -> int:
        """Return the number that "auto" stands for."""
        if wish != "auto":
            raise ValueError(f"batch_size is {wish!r}: give a whole number, or 'auto'")
        chosen = self._measure_batch_sizes(x, labels, epochs)
        _log.info("%s", chosen.reason)
        return chosen.batch_size

    def _run(
        self,
        batches: Batches,
        epochs: int,
        dev: tuple[Array, Array] | None,
        sample: tuple[Array, Array] | None,
        watchers: Sequence[Callback],
    ) -> History:
        judged = {k: data for k, data in (("train", sample), ("dev", dev)) if data is not None}
        self.history = History(columns=_columns(judged), batch_size=batches.batch_size)
        self._meter.reset()
        self._put_state_by()
        self._put_by_since = self.steps
        for watcher in watchers:
            watcher.on_fit_begin(self, batches, epochs)
        for left in reversed(range(epochs)):
            for watcher in watchers:
                watcher.on_epoch_begin(self)
            first = self.steps
            row = self._run_epoch(batches, watchers)
            cut = self.steps - first < len(batches)
            for watcher in watchers:
                watcher.on_evaluation_begin(self)
            for name, data in judged.items():
                measured = self.network._evaluate(*data)
                row[f"{name}_error"] = measured["error"]
                row.setdefault(f"{name}_loss", measured["loss"])
            self.history.rows.append(row)
            for watcher in watchers:
                watcher.on_epoch_end(self, row)
            if self._stopping:
                if cut or left > 0:
                    self.history.stopped, self.history.reason = True, self._stopping
                break
        for watcher in watchers:
            watcher.on_fit_end(self, self.history)
        return self.history

    def _run_epoch(self, batches: Batches, watchers: Sequence[Callback]) -> dict[str, float]:
        """Train on all batches, or until something says stop; return the epoch's row."""
        self._set_pace(len(batches))
        self._meter.reset()
        self.backend.synchronize()  # or the host might still see the sum of an earlier epoch
        first, seen, rate = self.steps, 0, self.learning_rate
        began = time.perf_counter()
        for x, y, weights in batches.epoch(self.epochs):
            rate = self.learning_rate
            self._update(x, y, weights)
            seen += x.shape[0]
            if self._meter.diverged():
                self._give_up(first)
            for watcher in watchers:
                watcher.on_step_end(self, x.shape[0])
            if self._stopping:
                break
        self.backend.synchronize()
        seconds = time.perf_counter() - began
        total, finite_steps = self._meter.read()
        if finite_steps < self.steps - first or not self._is_finite():
            self._give_up(first)
        self.epochs += 1
        return {
            "epoch": self.epochs,
            "step": self.steps,
            "learning_rate": rate,
            "train_loss": total / seen,
            "seconds": seconds,
            "samples_per_second": seen / seconds,
        }

    def _is_finite(self) -> bool:
        """Return whether parameters and statistics are finite: the last update has no loss yet."""
        xp, net = self.backend.xp, self.network
        sums = [xp.isfinite(array).all() for array in (net.parameters, net.statistics)]
        return bool(xp.logical_and(*sums))

    def _give_up(self, first: int) -> None:
        """Go back to the last good state and raise."""
        self.backend.synchronize()
        bad = first + self._meter.read()[1]
        since = self._put_by_since
        good = max(since, since + (bad - 1 - since) // PUT_BY * PUT_BY)
        # The update before the loss that shows it, which may be the last that the schedule knows.
        culprit = max(bad - 1, 0)
        rate = self.optimizer.rate(culprit, self._epoch_at(culprit))
        for copy, array in zip(self._put_by, self._state, strict=True):
            self.backend.xp.copyto(array, copy)
        self.steps = good
        raise DivergedError(
            f"the loss turned NaN or infinite in epoch {self.epochs + 1}, step {bad + 1}; the "
            f"weights are back at those of step {good}. Try a smaller learning rate (it was "
            f"{rate:g}), standardised features, or batch norm",
            self.epochs + 1,
            bad + 1,
            good,
            self.history,
        )

    def _sample(self, x: Array, y: Array, monitor: int) -> tuple[Array, Array] | None:
        """Return the training examples that the training error is measured on."""
        n = x.shape[0]
        if monitor == 0:
            return None
        if n <= monitor:
            return x, y
        order = generator(self.network.random_state, Purpose.MONITOR).permutation(n)[:monitor]
        return take_rows(x, np.sort(order)), take_rows(y, np.sort(order))


def _columns(judged: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of a row of the history, where errors on some parts are measured."""
    own = ("epoch", "step", "learning_rate", "train_loss", "seconds", "samples_per_second")
    more = (f"{name}_{what}" for name in judged for what in ("error", "loss"))
    return tuple(dict.fromkeys((*own, *more)))


def _as_callback(watcher: Any) -> Callback:
    if isinstance(watcher, Callback):
        return watcher
    if not callable(watcher) or isinstance(watcher, type):
        raise TypeError(f"callback {watcher!r}: give a Callback or a function of (trainer, row)")
    return _Function(watcher)


def _check_varied(y: np.ndarray[Any, Any]) -> None:
    """Raise a ValueError if all labels are the same: there is nothing to learn."""
    if (y == y[0]).all():
        what = "class" if y.dtype.kind == "i" else "value"
        raise ValueError(f"y has one {what} only ({np.ravel(y)[0]:g}): there is nothing to learn")
