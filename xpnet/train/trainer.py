"""Training: the step, the epoch, the fit, and what is told of them.

The path of a mini-batch:
``Batches → Network.forward → Loss.gradient → Network.backward → Optimizer.update → Meter``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .._typing import Array
from ..checks import all_finite, check_count, check_flag
from ..data.arrays import prepare_weights
from ..data.augmentation import Augmentation
from ..data.batches import USUAL, Batches, take_rows
from ..nn.network import Network, check_network
from ..optim.optimizers import Optimizer, check_optimizer
from ..optim.schedules import Schedule
from ..randomness import Purpose, generator
from ..throughput.measuring import Feeding, choose
from ..throughput.timing import BatchSize
from .checkpoints import Checkpoints, NullCheckpointManager, describe, make_manager
from .divergence import locate
from .history import DivergedError, FitState, History
from .step import Updates

_log = logging.getLogger(__name__)

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

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep for this callback to go on exactly.

        Arrays of the device or of NumPy, numbers, strings, booleans, None, lists and dicts of them.
        What stands under "settings" must be the same when the run goes on; else it is refused.
        """
        return {}

    def load_state(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Take back what `state` gave; called after `on_fit_begin` when a run goes on.

        Arrays come back where they lived, in memory of their own.
        """


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Trainer, dict[str, float]], Any]) -> None:
        self._function = function

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        self._function(trainer, row)


class Trainer:
    """Trains a network: `step` for one update, `fit` for epochs. It is for one thread at a time.

    Parameters
    ----------
    network : Network
        What to train.
    optimizer : Optimizer
        How to update; `Adam` with its defaults if None.
    l2 : float
        λ of the L2 term λ/2n ‖W‖² that is added to a batch's cost, n its examples: weights only,
        no biases, γ or β (notes, chapter 5).
    clip_norm : float or None
        A batch's gradient g, of all parameters and with the L2 term, is shortened to
        g · min(1, c/‖g‖), against explosions: Pascanu et al., "On the difficulty of training
        recurrent neural networks", ICML 2013. None: it is not.

    Attributes
    ----------
    steps, epochs : int
        Updates and epochs made so far.
    history : History
        Of the running or last fit.

    Raises
    ------
    ValueError
        If l2 is negative or not finite, or clip_norm not above 0.

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
        self,
        network: Network,
        optimizer: Optimizer | None = None,
        l2: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.network = check_network(network)
        self.backend = network.backend
        self.steps = self.epochs = 0
        self.history = History()
        #: Why the running fit is to end: the training's own reason, and one from outside.
        self._stopping = self._interruption = ""
        self._fit = FitState(0, 0)
        with self.backend.active():
            self.updates = Updates(network, check_optimizer(optimizer), l2, clip_norm)

    # -- the step ----

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> Array:
        """Make one update on a batch.

        A callback may do so in the midst of a fit. Such a step counts in `steps` and in the mean
        loss of the running epoch, but is none of its batches: the schedule stands still in the
        epoch, and no callback is told.

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
        OutOfMemoryError
            If the device's memory does not suffice; no parameter has been updated then.
        """
        with self.backend.active():
            weights = None
            try:
                x, y = self._prepare(x, y)
                if sample_weight is not None:
                    self.network._require_single("sample_weight")
                    weights = prepare_weights(sample_weight, x.shape[0], self.backend, x.dtype)
            except MemoryError as error:
                self.updates.explain(error, len(x))
                raise
            n = x.shape[0]
            loss = self._update(n, _as_it_is, x, y, weights).copy()
            self.updates.forget_changes(self.steps)  # what came before it can't be made again
            self._fit.other_examples += n
            return loss

    def _prepare(self, x: Any, y: Any) -> tuple[Array, Array]:
        net = self.network
        if not net.holds(x, y):
            x, y = net.prepare(x, y)
            x = x[:]  # of what is streamed, all: it is one batch
        if x.shape[0] < net.min_batch:
            raise ValueError(f"the batch has {x.shape[0]} example: batch norm needs at least 2")
        return x, y

    def _update(self, n: int, batch: Callable[..., Any], *arrays: Array | None) -> Array:
        try:
            loss = self.updates.make(self.steps, n, batch, *arrays)
        except Exception as error:
            if self.updates.split(error, n):
                return self._update(n, batch, *arrays)
            self.updates.explain(error, n)
            raise
        self.steps += 1
        return loss

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a Trainer can't be copied or pickled: copy or pickle its network, or write "
            "checkpoints with fit(..., checkpoint=FOLDER)"
        )

    @property
    def optimizer(self) -> Optimizer:
        """How to update; set to another one of its kind, it goes on with the moments."""
        return self.updates.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self.updates.optimizer = optimizer

    @property
    def l2(self) -> float:
        """λ of the L2 term."""
        return self.updates.l2

    @l2.setter
    def l2(self, l2: float) -> None:
        self.updates.l2 = l2

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of a gradient, or None."""
        return self.updates.clip_norm

    @clip_norm.setter
    def clip_norm(self, limit: float | None) -> None:
        self.updates.clip_norm = limit

    @property
    def moments(self) -> list[Array]:
        """The optimiser's moments, each as the network's parameters."""
        return self.updates.moments

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule to change it by hand."""
        return self.optimizer.rate(self.steps, self.updates.scalars.epoch_at(self.steps))

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self.optimizer = replace(self.optimizer, learning_rate=rate)

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

    def interrupt(self, reason: str = "it was interrupted") -> None:
        """End the running fit as `stop` does, for a reason that is no part of the training.

        Where checkpoints are written, one is made of where it stands, and a fit that goes on from
        it knows nothing of the interruption. May be called from a signal handler.

        Parameters
        ----------
        reason : str
            Why; it is found in the attribute ``reason`` of the history.
        """
        self._interruption = reason

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        batch_size: int | str = USUAL,
        epochs: int = 20,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer, dict[str, float]], Any]] = (),
        shuffle: bool = True,
        monitor: int = 10_000,
        augmentation: Augmentation | None = None,
        sample_weight: Any = None,
        micro_batches: int | str = 1,
        checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
        resume: bool | str = False,
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
        micro_batches : int or "auto"
            By how many micro-batches to accumulate a batch's gradient: the same update with less
            memory. "auto": one, and twice as many whenever memory does not suffice, with a
            warning. Dropout then draws other masks, and batch norm takes each one's statistics.
        checkpoint : path, Checkpoints or None
            A folder for checkpoints, from which the fit can go on after its process has ended,
            however that came; `Checkpoints` says how often. If one can't be written, a warning says
            so and the training goes on.
        resume : bool or "auto"
            True: go on from the newest whole checkpoint in that folder. The network, the
            optimiser, the data and all options must be those of its run; ``epochs`` alone may be
            larger. The end is that of a fit that was never cut off, to the last bit, on the same
            machine and libraries. "auto": the same if there is one, else begin.

        Returns
        -------
        History
            A row for each epoch; also in the attribute `history` while the fit runs.

        Raises
        ------
        TypeError, ValueError
            If X, y or an option is not as it must be, or y has one class only; if the folder holds
            checkpoints and ``resume`` is False, or they are of another run.
        OSError
            If the folder can't be written to, or has no checkpoint to go on from.
        ModelFileError
            If none of its checkpoints is whole.
        OutOfMemoryError
            If the device's memory does not suffice.
        DivergedError
            If the loss turns NaN or infinite. Weights, moments and `steps` are then back where they
            were at most 100 updates before, and training can go on at a smaller rate.
        """
        net = self.network
        net._require_single("fit")
        if validation_data is not None and len(validation_data) != 2:
            raise ValueError(f"validation_data has {len(validation_data)} parts: give (X, y)")
        with self.backend.active():
            x, labels = net.prepare(X, y)
            _check_varied(self.backend.to_host(labels))
            weights = None
            if sample_weight is not None:
                weights = prepare_weights(sample_weight, x.shape[0], self.backend, net.dtype)
            dev = None if validation_data is None else net.prepare(*validation_data, name="dev ")
            return self.fit_prepared(
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
                micro_batches=micro_batches,
                checkpoint=checkpoint,
                resume=resume,
            )

    def fit_prepared(
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
        micro_batches: int | str = 1,
        checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
        resume: bool | str = False,
    ) -> History:
        """Train on what `Network.prepare` and `prepare_weights` returned; see `fit`."""
        net = self.network
        epochs, monitor = check_count(epochs, "epochs"), check_count(monitor, "monitor", 0)
        if not isinstance(batch_size, str):
            batch_size = check_count(batch_size, "batch_size", other=", or 'auto'")
        shuffle = check_flag(shuffle, "shuffle")
        if isinstance(callbacks, Callback) or not hasattr(callbacks, "__iter__"):
            raise TypeError(f"callbacks is {callbacks!r}: give a list")
        watchers = [_as_callback(c) for c in callbacks]
        if not (augmentation is None or isinstance(augmentation, Augmentation)):
            raise TypeError(f"augmentation is {augmentation!r}: give an Augmentation")
        with self.backend.active(), self.updates.accumulation.using(micro_batches):
            manager = make_manager(checkpoint, resume, self.backend)
            if batch_size == "auto" and "batch_size" in manager.run:
                batch_size = manager.run["batch_size"]
            if isinstance(batch_size, str):
                batch_size = self._choose_batch_size(x, labels, batch_size, epochs)
            cut_up = partial(
                Batches,
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
            try:
                return self._train(cut_up, epochs, dev, monitor, watchers, manager)
            except Exception as error:
                self.updates.explain(error, batch_size)
                raise

    def _train(
        self,
        cut_up: Callable[[], Batches],
        epochs: int,
        dev: tuple[Array, Array] | None,
        monitor: int,
        watchers: Sequence[Callback],
        manager: NullCheckpointManager,
    ) -> History:
        """Train on batches, and see to all that may end it. They are made here, and so let go."""
        batches = cut_up()
        sample = self._sample(batches.X, batches.y, monitor)
        self.network.reserve(self.updates.accumulation.size(batches.largest), training=True)
        stateful = [w for w in watchers if type(w).state is not Callback.state]
        data = {"X": batches.X, "y": batches.y, "sample_weight": batches.weights}
        data["validation X"], data["validation y"] = dev or (None, None)
        manager.validate_run(self._describe(batches, monitor), data, stateful)
        try:
            return self._run(batches, epochs, dev, sample, watchers, manager)
        except DivergedError as error:
            for watcher in watchers:
                watcher.on_divergence(self, error)
            raise
        finally:  # however it ends, the next fit and step must not inherit its stop or its pace
            self._stopping = self._interruption = ""
            self.updates.scalars.set_pace(self.steps, self.epochs, None)
            self.updates.forget()

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
            How many epochs the fit will have.

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
            return self._measure_batch_sizes(*self.network.prepare(X, y), epochs)

    def _measure_batch_sizes(self, x: Array, labels: Array, epochs: int) -> BatchSize:
        def copy() -> tuple[Callable[[Array, Array], Array], Trainer]:
            gentle = replace(self.optimizer, learning_rate=TINY)
            other = Trainer(self.network.clone(), gentle, self.l2, self.clip_norm)
            return other.step, other

        bench = Feeding(copy, x, labels, self.backend)
        return choose(
            bench, x.shape[0], epochs, stop=lambda: bool(self._stopping or self._interruption)
        )

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
        manager: NullCheckpointManager,
    ) -> History:
        judged = {k: data for k, data in (("train", sample), ("dev", dev)) if data is not None}
        self.history = History(columns=_columns(judged), batch_size=batches.batch_size)
        self.updates.meter.reset()
        self.updates.rollback.begin(self.steps, self.updates.meter.finite)
        self.updates.forget_changes(self.steps)
        self._fit = FitState(self.epochs, self.steps)
        manager.restore(self, epochs)
        fit = self._fit
        last = fit.first + epochs
        for watcher in watchers:
            watcher.on_fit_begin(self, batches, last - self.epochs)
        manager.begin(self)
        while self.epochs < last and not fit.stopped:
            if not fit.batch:
                for watcher in watchers:
                    watcher.on_epoch_begin(self)
            row = self._run_epoch(batches, watchers, manager)
            fit.cut, fit.batch = fit.batch < len(batches), 0
            for watcher in watchers:
                watcher.on_evaluation_begin(self)
            self._judge(judged, row)
            self.history.rows.append(row)
            for watcher in watchers:
                watcher.on_epoch_end(self, row)
            self._end_epoch(manager, row, last)
        if fit.stopped and (fit.cut or self.epochs < last):
            self.history.stopped, self.history.reason = True, fit.stopped
        for watcher in watchers:
            watcher.on_fit_end(self, self.history)
        return self.history

    def _judge(self, judged: dict[str, tuple[Array, Array]], row: dict[str, float]) -> None:
        """Measure loss and error on some parts, as in prediction, for a row of the history."""
        for name, data in judged.items():
            measured = self.network._evaluate(*data)
            row[f"{name}_error"] = measured["error"]
            row.setdefault(f"{name}_loss", measured["loss"])

    def _end_epoch(self, manager: NullCheckpointManager, row: dict[str, float], last: int) -> None:
        """Note whether the fit ends here. A checkpoint does not know of an interruption."""
        fit = self._fit
        if not fit.cut_off:
            fit.stopped = self._stopping
            final = bool(self._stopping or self._interruption) or self.epochs == last
            manager.after_epoch(self, row, final)
        fit.stopped = fit.stopped or self._interruption

    def _run_epoch(
        self, batches: Batches, watchers: Sequence[Callback], manager: NullCheckpointManager
    ) -> dict[str, float]:
        """Train on all batches, or until something says stop; return the epoch's row."""
        fit, scalars = self._fit, self.updates.scalars
        self.backend.synchronize()  # or the host might still see the sum of an earlier epoch
        if not fit.batch:
            if self.updates.meter.diverged():  # in a step that a callback made between epochs
                self._give_up(batches, fit.first_step)
            self.updates.meter.reset()
            self.backend.synchronize()
            fit.first_step, fit.other_examples = self.steps, 0
        scalars.set_pace(self.steps - fit.batch, self.epochs, len(batches), batches.batch_size)
        first, rate = fit.first_step, self.learning_rate
        fit.began = time.perf_counter() - fit.seconds
        for n, *arrays in batches.epoch(self.epochs, fit.batch):
            scalars.shift(self.steps - fit.batch)
            rate = self.learning_rate
            self._update(n, batches.gather, *arrays)
            fit.batch += 1
            if self.updates.meter.diverged():
                self._give_up(batches, first)
            for watcher in watchers:
                watcher.on_step_end(self, n)
            stopping, interruption = self._stopping, self._interruption
            if fit.batch < len(batches) and not stopping:
                manager.after_step(self, interrupted=bool(interruption))
            if stopping or interruption:
                fit.cut_off = fit.batch < len(batches) and not stopping
                break
        self.backend.synchronize()
        seconds = time.perf_counter() - fit.began
        total, finite_steps = self.updates.meter.read()
        if finite_steps < self.steps - first or not self.updates.is_finite():
            self._give_up(batches, first)
        self.epochs += 1
        seen, fit.seconds = batches.edges[fit.batch] + fit.other_examples, 0.0
        return {
            "epoch": self.epochs,
            "step": self.steps,
            "learning_rate": rate,
            "train_loss": total / seen,
            "seconds": seconds,
            "samples_per_second": seen / seconds,
        }

    def _give_up(self, batches: Batches, first: int) -> None:
        """Go back to the last good state, find out where it went wrong, and raise."""
        self.backend.synchronize()
        bad = first + self.updates.meter.read()[1]
        # The update before the loss that shows it, which may be the last that the schedule knows.
        culprit = max(bad - 1, 0)
        # Steps of a callback's own shift the epoch, which may then seem to begin after it.
        rate = self.optimizer.rate(culprit, max(self.updates.scalars.epoch_at(culprit), 0.0))
        rollback = self.updates.rollback
        good = rollback.restore(bad)
        where = ""
        try:
            with suppress(Exception):  # the error that is raised is that of the training
                epoch_began = self.steps - self._fit.batch  # as if no other step had been made
                where = locate(self.updates, batches, self.epochs, epoch_began, good, bad)
        finally:  # after Ctrl-C as well
            self.steps = rollback.restore(bad)
        raise DivergedError(
            f"the loss turned NaN or infinite in epoch {self.epochs + 1}, step {bad + 1}"
            f"{f' (first {where})' * bool(where)}; the weights are back at those of step {good}. "
            f"Try a smaller learning rate (it was {rate:g}), clip_norm=1, standardised features, "
            "or batch norm",
            self.epochs + 1,
            bad + 1,
            good,
            self.history,
        )

    # -- checkpoints ----

    def _describe(self, batches: Batches, monitor: int) -> dict[str, Any]:
        """Return what a run must have in common with the one that it goes on from."""
        return {
            "network": self.network.config(),
            "optimizer": describe(self.optimizer),
            "l2": self.l2,
            "clip_norm": self.clip_norm,
            "batch_size": batches.batch_size,
            "shuffle": batches.shuffle,
            "monitor": monitor,
            "micro_batches": self.updates.accumulation.count,
            "augmentation": describe(batches.augmentation),
        }

    def state(self) -> dict[str, Any]:
        """Return all that the further training depends on: see `load_state`."""
        self.backend.synchronize()
        self.updates.note_changes(self.steps)
        rate = self.optimizer.learning_rate
        return {
            "weights": self.updates.rollback.tree(),
            "steps": self.steps,
            "epochs": self.epochs,
            "unchanged_since": self.updates.unchanged_since,
            "learning_rate": None if callable(rate) else rate,
            "epoch_so_far": self.updates.meter.read(),
            "fit": self._fit.tree(),
            "rows": self.history.rows,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Set weights, moments, counters and where the fit stands to what `state` returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not the state of such a trainer; nothing is changed then.
        """
        fit, rows, rate = FitState(**state["fit"]), list(state["rows"]), state["learning_rate"]
        names = "steps", "epochs", "unchanged_since"
        steps, epochs, unchanged_since = (check_count(state[name], name, 0) for name in names)
        for name in ("first", "first_step", "batch", "other_examples"):
            check_count(getattr(fit, name), name, 0)
        if fit.first > epochs or fit.first_step + fit.batch > steps:
            raise ValueError("its counters contradict each other")
        total, finite_steps = state["epoch_so_far"]
        for array in state["weights"]["now"][:2]:
            if not all_finite(array, self.backend.xp):
                raise ValueError("its weights are NaN or infinite")
        self.updates.rollback.load_tree(state["weights"])
        self.updates.meter.resume(total, finite_steps)
        self._fit, self.history.rows, self.steps, self.epochs = fit, rows, steps, epochs
        if rate is not None and rate != self.optimizer.learning_rate:
            self.learning_rate = rate
        self.updates.forget_changes(unchanged_since)

    def is_sound(self) -> bool:
        """Return whether the loss, the parameters and the statistics are finite as far as known."""
        self.backend.synchronize()
        return not self.updates.meter.diverged() and self.updates.is_finite()

    def _sample(self, x: Array, y: Array, monitor: int) -> tuple[Array, Array] | None:
        """Return the training examples that the training error is measured on."""
        n = x.shape[0]
        if monitor == 0:
            return None
        if n <= monitor:
            return x, y
        order = generator(self.network.random_state, Purpose.MONITOR).permutation(n)[:monitor]
        return take_rows(x, np.sort(order)), take_rows(y, np.sort(order))


def _as_it_is(
    start: Array, n: int, x: Array, y: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return a batch that is given."""
    return x, y, weights


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
