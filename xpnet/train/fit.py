"""A fit: epochs over mini-batches, with all that may end it, and what is told of it.

The path of a mini-batch: ``Batches.epoch → Step.make``, which is on one screen in `step`.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._typing import Array, Tree
from ..checks import check_count, check_flag
from ..data.augmentation import Augmentation
from ..data.batches import USUAL, Batches, take_rows
from ..nn.categories import code_columns
from ..randomness import Purpose, generator
from . import fit_state, member_ends
from .callback import Callback, as_callback
from .checkpoint_manager import make_manager
from .checkpoints import Checkpoints
from .fit_state import FitState
from .history import OWN, DivergedError, History, Row
from .recovery import recover
from .run_description import describe

if TYPE_CHECKING:
    from .trainer import Trainer

_log = logging.getLogger(__name__)

#: Features and labels, prepared.
Prepared = tuple[Array, Array]


@dataclass(frozen=True)
class FitOptions:
    """What a fit is set to; `Trainer.fit` says what each option means.

    Raises
    ------
    TypeError, ValueError
        If one is not as it must be.
    """

    batch_size: int | str = USUAL
    epochs: int | Sequence[int] = 20
    callbacks: Sequence[Callback | Callable[[Trainer, Row], object]] = ()
    shuffle: bool = True
    monitor: int = 10_000
    augmentation: Augmentation | None = None
    micro_batches: int | str = 1
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None
    resume: bool | str = False

    def __post_init__(self) -> None:
        check_count(self.monitor, "monitor", 0)
        if not isinstance(self.batch_size, str):
            check_count(self.batch_size, "batch_size", other=", or 'auto'")
        elif self.batch_size != "auto":
            raise ValueError(f"batch_size is {self.batch_size!r}: give a whole number, or 'auto'")
        check_flag(self.shuffle, "shuffle")
        if isinstance(self.callbacks, Callback) or not hasattr(self.callbacks, "__iter__"):
            raise TypeError(f"callbacks is {self.callbacks!r}: give a list")
        object.__setattr__(self, "callbacks", [as_callback(c) for c in self.callbacks])
        if not (self.augmentation is None or isinstance(self.augmentation, Augmentation)):
            raise TypeError(f"augmentation is {self.augmentation!r}: give an Augmentation")


class Fit:
    """A fit of a trainer's network to data.

    Parameters
    ----------
    trainer : Trainer
        What makes the steps.
    x, labels : array
        What `Network.prepare` returned.
    weights : array or None
        What `prepare_weights` returned.
    dev : (x, labels) or None
        The development set, prepared likewise.
    options : FitOptions
        What the fit is set to.

    Attributes
    ----------
    epochs : tuple of int
        How many it has for each member; for one network one number.
    state : FitState
        Where it stands.

    Raises
    ------
    TypeError, ValueError
        If the number of epochs is none for this network.
    """

    def __init__(
        self,
        trainer: Trainer,
        x: Array,
        labels: Array,
        weights: Array | None,
        dev: Prepared | None,
        options: FitOptions,
    ) -> None:
        self.trainer, self.step, self.network = trainer, trainer.update_step, trainer.network
        self._x, self._labels, self._weights, self._dev = x, labels, weights, dev
        self.options, self._watchers = options, [as_callback(c) for c in options.callbacks]
        self.epochs = member_ends.check_epochs(options.epochs, trainer.network)
        self.state = FitState(trainer.epochs, trainer.steps)

    @property
    def last(self) -> int:
        """The epoch that is its last one, over the trainer's life."""
        return self.state.first + max(self.epochs)

    @property
    def steps(self) -> int:
        """Updates made so far."""
        return self.step.count

    @property
    def rows(self) -> list[Row]:
        """The history of its epochs."""
        return self.trainer.history.rows

    def run(self) -> History:
        """Train, and return the history.

        Raises
        ------
        OutOfMemoryError, DivergedError, ModelFileError, OSError, ValueError
            As `Trainer.fit` says.
        """
        options, backend = self.options, self.trainer.backend
        self._manager = make_manager(options.checkpoint, options.resume, backend)
        try:
            with self.step.accumulation.using(options.micro_batches):
                batch_size = options.batch_size
                if isinstance(batch_size, str):  # "auto"
                    batch_size = self._manager.run.get("batch_size") or self._choose_batch_size()
                try:
                    return self._train(batch_size)
                except Exception as error:
                    self.step.explain(error, batch_size)
                    raise
        finally:
            self._manager.close()

    def _choose_batch_size(self) -> int:
        chosen = self.trainer.measure_batch_sizes(self._x, self._labels, max(self.epochs))
        _log.info("%s", chosen.reason)
        return chosen.batch_size

    def _train(self, batch_size: int) -> History:
        """Train on batches, and see to all that may end it. They are made here, and so let go."""
        trainer, batches = self.trainer, self.make_batches(batch_size)
        sample = self._sample(batches.X, batches.y)
        self.network.passes.reserve(self.step.accumulation.size(batches.largest), training=True)
        self._validate_run(batches)
        try:
            return self._run(batches, sample)
        except DivergedError as error:
            for watcher in self._watchers:
                watcher.on_divergence(trainer, error)
            raise
        finally:  # however it ends, the next fit and step must not inherit its stop or its pace
            trainer.requests.clear()
            self.step.scalars.set_pace(self.steps, trainer.epochs, None)
            self.step.forget()
            self.step.freezing.release()

    def make_batches(self, batch_size: int) -> Batches:
        """Return the batches that the network is trained on."""
        options = self.options
        return Batches(
            self._x,
            self._labels,
            batch_size,
            weights=self._weights,
            backend=self.trainer.backend,
            seed=self.network.seeds[0],
            shuffle=options.shuffle,
            min_batch=self.network.min_batch,
            augmentation=options.augmentation,
            code_columns=[*code_columns(self.network.layers, self.network.n_features)],
        )

    def _validate_run(self, batches: Batches) -> None:
        """Have the checkpoint's run compared with this one, and its folder made ready."""
        data = {"X": batches.X, "y": batches.y, "sample_weight": batches.weights}
        data["validation X"], data["validation y"] = self._dev or (None, None)
        stateful = [w for w in self._watchers if type(w).state is not Callback.state]
        self._manager.validate_run(lambda: self._describe_run(batches), data, stateful)

    def _describe_run(self, batches: Batches) -> Tree:
        """Return what a run must have in common with the one that it goes on from."""
        step = self.step
        return {
            "network": self.network.config(),
            "optimizer": describe(step.optimizer),
            "l2": step.l2,
            "clip_norm": step.clip_norm,
            "batch_size": batches.batch_size,
            "shuffle": batches.shuffle,
            "monitor": self.options.monitor,
            "micro_batches": step.accumulation.count,
            "augmentation": describe(batches.augmentation),
        }

    def _sample(self, x: Array, y: Array) -> Prepared | None:
        """Return the training examples that the training error is measured on."""
        n, monitor = x.shape[0], self.options.monitor
        if monitor == 0:
            return None
        if n <= monitor:
            return x, y
        order = generator(self.network.seeds[0], Purpose.MONITOR).permutation(n)[:monitor]
        return take_rows(x, np.sort(order)), take_rows(y, np.sort(order))

    # -- the epochs ----

    def _run(self, batches: Batches, sample: Prepared | None) -> History:
        trainer, step, manager, state = self.trainer, self.step, self._manager, self.state
        parts = {k: data for k, data in (("train", sample), ("dev", self._dev)) if data is not None}
        trainer.history = History(
            columns=_columns(parts),
            undefined=tuple(f"{k}_error" for k, (_, y) in parts.items() if not self._has_error(y)),
            batch_size=batches.batch_size,
            members=self.network.members,
            ended=state.ended,
        )
        step.meter.reset()
        step.rollback.begin(step.count, step.meter.finite)
        step.forget_changes()
        manager.restore(self, max(self.epochs))
        state = self.state
        for watcher in self._watchers:
            watcher.on_fit_begin(trainer, batches, self.last - trainer.epochs)
        manager.begin(self)
        while trainer.epochs < self.last and not state.stopped:
            if not state.batch:
                for watcher in self._watchers:
                    watcher.on_epoch_begin(trainer)
            row = self._run_epoch(batches)
            state.cut, state.batch = state.batch < len(batches), 0
            for watcher in self._watchers:
                watcher.on_evaluation_begin(trainer)
            self._evaluate(parts, row)
            member_ends.blank(self, row)
            trainer.history.rows.append(row)
            for watcher in self._watchers:
                watcher.on_epoch_end(trainer, row)
            self._end_epoch(row)
        if state.stopped and (state.cut or trainer.epochs < self.last):
            trainer.history.stopped, trainer.history.reason = True, state.stopped
        for watcher in self._watchers:
            watcher.on_fit_end(trainer, trainer.history)
        return trainer.history

    def _has_error(self, y: Array) -> bool:
        """Return whether the error on a part is defined."""
        return not math.isnan(self.network.loss.error_count(self.trainer.backend.xp, y))

    def _evaluate(self, parts: dict[str, Prepared], row: Row) -> None:
        """Measure loss and error on some parts, as in prediction, for a row of the history."""
        for name, data in parts.items():
            measured = self.network.predictor.evaluate(*data)
            row[f"{name}_error"] = measured["error"]
            row.setdefault(f"{name}_loss", measured["loss"])

    def _end_epoch(self, row: Row) -> None:
        """Note whether the fit ends here. A checkpoint does not know of an interruption."""
        state, requests, epochs = self.state, self.trainer.requests, self.trainer.epochs
        if not state.cut_off:
            rate = row["learning_rate"]
            member_ends.note_stops(self, epochs, state.examples, rate, is_whole=not state.cut)
            self.step.freezing.hold()  # a callback may have set frozen members anew
            state.stopped = requests.stop
            final = bool(requests.stop or requests.interrupt) or epochs == self.last
            self._manager.after_epoch(self, row, final)
        state.stopped = state.stopped or requests.interrupt

    def _run_epoch(self, batches: Batches) -> Row:
        """Train on all batches, or until something says stop; return the epoch's row."""
        trainer, step, state, n_batches = self.trainer, self.step, self.state, len(batches)
        requests, manager, scalars = trainer.requests, self._manager, step.scalars
        self._begin_epoch(batches)
        scalars.set_pace(step.count - state.batch, trainer.epochs, n_batches, batches.batch_size)
        first, total = state.first_step, step.meter.total
        alone, made = scalars.alone, step.count
        state.began = time.perf_counter() - state.seconds
        for n, *arrays in batches.epoch(trainer.epochs, state.batch):
            if step.count - state.batch != scalars.began:  # a callback made steps of its own
                scalars.shift(step.count - state.batch)
            alone, made = step.scalars.alone, step.count
            step.make(n, batches.gather, *arrays)
            state.batch += 1
            if not math.isfinite(total()):
                recover(self, batches, first)
            for watcher in self._watchers:
                watcher.on_step_end(trainer, n)
            if requests.members:
                rate = step.scalars.rates(made, alone)
                examples = batches.edges[state.batch] + state.other_examples
                is_whole = state.batch == n_batches
                member_ends.note_stops(self, trainer.epochs + 1, examples, rate, is_whole)
            stop, interrupt = requests.stop, requests.interrupt
            if manager.watches and state.batch < n_batches and not stop:
                manager.after_step(self, interrupted=bool(interrupt))
            if stop or interrupt:
                state.cut_off = state.batch < n_batches and not stop
                break
        trainer.backend.synchronize()
        seconds = time.perf_counter() - state.began
        rate = step.scalars.rates(made, alone)
        if step.meter.fewest() < step.count - first or not step.are_finite().all():
            recover(self, batches, first)
        trainer.epochs += 1
        seen, state.seconds = batches.edges[state.batch] + state.other_examples, 0.0
        state.examples = seen
        return {
            "epoch": trainer.epochs,
            "step": step.count,
            "learning_rate": rate,
            "train_loss": member_ends.mean_losses(self, step.meter.read()[0], seen),
            "seconds": seconds,
            "samples_per_second": seen / seconds,
        }

    def _begin_epoch(self, batches: Batches) -> None:
        """Reset the sums, unless the epoch goes on in the middle."""
        step, state, backend = self.step, self.state, self.trainer.backend
        backend.synchronize()  # or the host might still see the sum of an earlier epoch
        if state.batch:
            return
        if step.meter.diverged():  # in a step that a callback made between epochs
            recover(self, batches, state.first_step)
        step.meter.reset()
        backend.synchronize()
        state.first_step, state.other_examples = step.count, 0

    def is_sound(self) -> bool:
        """Return whether the loss, the parameters and the statistics are finite as far as known."""
        self.trainer.backend.synchronize()
        return not self.step.meter.diverged() and bool(self.step.are_finite().all())

    def tree(self) -> Tree:
        """Return all that the further training depends on; see `fit_state.tree`."""
        return fit_state.tree(self)

    def load_tree(self, tree: Tree, rows: list[Row]) -> None:
        """Go on from what `tree` returned, with a history; see `fit_state.load_tree`."""
        fit_state.load_tree(self, tree, rows)


def _columns(parts: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of a row of the history, where errors on some parts are measured."""
    more = (f"{name}_{what}" for name in parts for what in ("error", "loss"))
    return tuple(dict.fromkeys((*OWN, *more)))
