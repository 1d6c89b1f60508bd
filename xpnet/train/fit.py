"""A fit: epochs over mini-batches, with all that may end it, and what is told of it.

The path of a mini-batch: ``Batches.epoch → Step.make``, which is on one screen in `step`.
"""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Array, Tree
from ..checks import check_count, check_flag
from ..data.augmentation import Augmentation
from ..data.batches import USUAL, Batches, take_rows
from ..data.subsets import Subsets, alike, check_order_seed, flattened, order_seeds
from ..nn.categories import code_columns
from . import fit_state, member_ends
from .batch_size import measure_batch_sizes
from .callback import Callback, as_callback
from .checkpoint_manager import make_manager
from .checkpoints import Checkpoints
from .fit_state import FitState
from .history import OWN, DivergedError, History, Row
from .metrics import as_metrics
from .parts import Part, training_part
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
    order_seed: int | Sequence[int] | None = None
    metrics: Mapping[str, Any] | None = None

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
        as_metrics(self.metrics)


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
    subsets, dev_subsets : sequence of array, or None
        What `check_subsets` returned: which examples each member is trained on, and which of the
        development set it is measured on.

    Attributes
    ----------
    epochs : tuple of int
        How many it has for each member; for one network one number.
    state : FitState
        Where it stands.
    between_epochs : bool
        Whether an epoch is through and the next one has not begun: members may be replaced.

    Raises
    ------
    TypeError, ValueError
        If the number of epochs is none for this network, or a metric can't be measured.
    """

    def __init__(
        self,
        trainer: Trainer,
        x: Array,
        labels: Array,
        weights: Array | None,
        dev: Prepared | None,
        options: FitOptions,
        subsets: Subsets | None = None,
        dev_subsets: Subsets | None = None,
    ) -> None:
        self.trainer, self.step, self.network = trainer, trainer.update_step, trainer.network
        self._x, self._labels, self._weights, self._dev = x, labels, weights, dev
        self._subsets, self._dev_subsets = subsets, dev_subsets
        self._order_seed = check_order_seed(options.order_seed, self.network.members)
        self.options, self._watchers = options, [as_callback(c) for c in options.callbacks]
        self.epochs = member_ends.check_epochs(options.epochs, trainer.network)
        self.state = FitState(trainer.epochs, trainer.steps, behind=[*trainer.behind])
        self.between_epochs = False
        #: The seeds that the examples were drawn by on which errors are measured, and those.
        self._measured: tuple[tuple[int, ...], dict[str, Part]] | None = None
        if options.metrics and dev is None:
            raise ValueError("metrics are measured on validation_data: give that too")
        self._undefined = self._find_undefined()

    @property
    def last(self) -> int:
        """The epoch that is its last one, over the trainer's life."""
        return max(self.last_of(i) for i in range(len(self.epochs)))

    def last_of(self, i: int) -> int:
        """Return the epoch that is member i's last one, over the trainer's life."""
        start = self.trainer.history.starts.get(i)
        return (self.state.first if start is None else start.epoch) + self.epochs[i]

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
        chosen = measure_batch_sizes(self.trainer, self._x, self._labels, max(self.epochs))
        _log.info("%s", chosen.reason)
        return chosen.batch_size

    def _train(self, batch_size: int) -> History:
        """Train on batches, and see to all that may end it. They are made here, and so let go."""
        trainer, batches = self.trainer, self.make_batches(batch_size)
        self.network.passes.reserve(self.step.accumulation.size(batches.largest), training=True)
        self._validate_run(batches)
        try:
            return self._run(batches)
        except DivergedError as error:
            for watcher in self._watchers:
                watcher.on_divergence(trainer, error)
            raise
        finally:  # however it ends, the next fit and step must not inherit its stop or its pace
            trainer.requests.clear()
            self.step.freezing.release()
            self.step.set_pace(self.steps, trainer.own_epochs, None)
            self.step.forget()

    def make_batches(self, batch_size: int, member: int | None = None) -> Batches:
        """Return the batches that the network is trained on, or those of a member alone."""
        x, y, weights, subsets = self._x, self._labels, self._weights, self._subsets
        seeds = order_seeds(self._order_seed, self.network.seeds)
        own = self._drawn and len({*self._draws().values()}) > 1
        own = own or (weights is not None and weights.ndim > 2)
        own = own or (subsets is not None and not alike(subsets))
        place = next(iter(self._draws()), 0) if member is None else member
        if not own or member is not None:  # for all the same, or for one
            if weights is not None and weights.ndim > 2:
                weights = weights[place]
            if subsets is not None:
                chosen = subsets[place]
                x, y = take_rows(x, chosen), take_rows(y, chosen)
                weights = None if weights is None else take_rows(weights, chosen)
            subsets, own = None, False
        return Batches(
            x,
            y,
            batch_size,
            weights=weights,
            backend=self.trainer.backend,
            seed=seeds if own else seeds[place],
            subsets=subsets,
            shuffle=self.options.shuffle,
            min_batch=self.network.min_batch,
            augmentation=self.options.augmentation,
            code_columns=[*code_columns(self.network.layers, self.network.n_features)],
        )

    @property
    def _drawn(self) -> bool:
        """Whether batches depend on a seed and an epoch."""
        return self.options.shuffle or self.options.augmentation is not None

    def _draws(self) -> dict[int, tuple[int, int]]:
        """Return from which seed and epoch the batches come of each member that is trained."""
        seeds = order_seeds(self._order_seed, self.network.seeds)
        draws = enumerate(zip(seeds, self.trainer.own_epochs, strict=True))
        active = self.step.freezing.active
        return {i: draw for i, draw in draws if active[i]}

    def _batches_now(self, batches: Batches) -> Batches:
        """Return the batches of the epoch that begins, as members now are."""
        draws = self._draws()
        if batches.are_own:
            batches.seeds = order_seeds(self._order_seed, self.network.seeds)
        elif self._drawn and len({*draws.values()}) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of batches that were made before
                return self.make_batches(batches.batch_size)
        elif draws:
            batches.seeds = [next(iter(draws.values()))[0]]
        return batches

    def _epoch_of(self, batches: Batches) -> int | list[int]:
        """Return the epoch that batches are of, counted from 0, or that of each member."""
        if batches.are_own:
            return self.trainer.own_epochs
        return next(iter(self._draws().values()), (0, self.trainer.epochs))[1]

    def _validate_run(self, batches: Batches) -> None:
        """Have the checkpoint's run compared with this one, and its folder made ready."""
        data: Tree = {"X": self._x, "y": self._labels, "sample_weight": self._weights}
        data["validation X"], data["validation y"] = self._dev or (None, None)
        data["subsets"] = flattened(self._subsets)
        data["validation_subsets"] = flattened(self._dev_subsets)
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
            "factors": step.factors.changed or None,
            "batch_size": batches.batch_size,
            "shuffle": batches.shuffle,
            "order_seed": self._order_seed,
            "monitor": self.options.monitor,
            "micro_batches": step.accumulation.count,
            "augmentation": describe(batches.augmentation),
            "metrics": describe(self.options.metrics),
        }

    def _parts(self) -> dict[str, Part]:
        """Return what is measured after each epoch, by its name in the history."""
        seeds, monitor = self.network.seeds, self.options.monitor
        if self._measured is None or self._measured[0] != seeds:
            train = training_part(self._x, self._labels, monitor, seeds, self._subsets)
            metrics = as_metrics(self.options.metrics)
            dev = None if self._dev is None else Part(*self._dev, self._dev_subsets, metrics)
            parts = ("train", train), ("dev", dev)
            self._measured = seeds, {name: part for name, part in parts if part is not None}
        return self._measured[1]

    def _find_undefined(self) -> tuple[str, ...]:
        """Return the columns that are NaN whatever is predicted, or raise a ValueError."""
        found = {name: part.undefined(self.network) for name, part in self._parts().items()}
        return tuple(f"{name}_{what}" for name, figures in found.items() for what in figures)

    def _new_history(self, batches: Batches) -> History:
        measured = [f"{name}_{what}" for name, p in self._parts().items() for what in p.figures]
        return History(
            columns=tuple(dict.fromkeys((*OWN, *measured))),
            undefined=self._undefined,
            batch_size=batches.batch_size,
            members=self.network.members,
            ended=self.state.ended,
            starts=member_ends.starts(self.trainer.epochs, self.trainer.behind),
        )

    # -- the epochs ----

    def _run(self, batches: Batches) -> History:
        trainer, step, manager, state = self.trainer, self.step, self._manager, self.state
        trainer.history = self._new_history(batches)
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
            batches = self._batches_now(batches)
            row = self._run_epoch(batches)
            state.cut, state.batch = state.batch < len(batches), 0
            for watcher in self._watchers:
                watcher.on_evaluation_begin(trainer)
            self._evaluate(row)
            member_ends.blank(self, row)
            trainer.history.rows.append(row)
            self._tell_epoch_end(row)
            self._end_epoch(row)
        if state.stopped and (state.cut or trainer.epochs < self.last):
            trainer.history.stopped, trainer.history.reason = True, state.stopped
        for watcher in self._watchers:
            watcher.on_fit_end(trainer, trainer.history)
        return trainer.history

    def _tell_epoch_end(self, row: Row) -> None:
        """Tell those who watch that an epoch is through; they may replace members."""
        self.between_epochs = True
        try:
            for watcher in self._watchers:
                watcher.on_epoch_end(self.trainer, row)
        finally:
            self.between_epochs = False

    def require_replaceable(self) -> None:
        """Raise an error if no member can be replaced now.

        Raises
        ------
        RuntimeError
            If it is not between two epochs.
        ValueError
            If it writes checkpoints.
        """
        if not self.between_epochs:
            raise RuntimeError(
                "a member can't be replaced now: do it between fits, or in the on_epoch_end of a "
                "callback"
            )
        if self._manager.watches:
            raise ValueError(
                "a member can't be replaced in a fit that writes checkpoints, which go on with one "
                "run for each member: leave checkpoint out"
            )

    def replaced(self, i: int) -> None:
        """Take note that another network has member i's place, and tell those who watch."""
        trainer = self.trainer
        trainer.requests.members.pop(i, None)  # that was asked of the one before
        if trainer.requests.stop == member_ends.ALL_ENDED:
            trainer.requests.stop = ""
        for watcher in self._watchers:
            watcher.on_replace(trainer, i)

    def _evaluate(self, row: Row) -> None:
        """Measure loss, error and what else is asked for as in prediction, for a row."""
        for name, part in self._parts().items():
            for what, figure in part.evaluate(self.step).items():
                row.setdefault(f"{name}_{what}", figure)

    def _end_epoch(self, row: Row) -> None:
        """Note whether the fit ends here. A checkpoint does not know of an interruption."""
        state, requests, epochs = self.state, self.trainer.requests, self.trainer.epochs
        if not state.cut_off:
            rate = row["learning_rate"]
            member_ends.note_stops(self, epochs, state.examples, rate, through=not state.cut)
            self.step.freezing.hold()  # a callback may have set frozen members anew
            state.stopped = requests.stop
            final = bool(requests.stop or requests.interrupt) or epochs == self.last
            self._manager.after_epoch(self, row, final)
        state.stopped = state.stopped or requests.interrupt

    def _run_epoch(self, batches: Batches) -> Row:
        """Train on all batches, or until something says stop; return the epoch's row."""
        trainer, step, state, n_batches = self.trainer, self.step, self.state, len(batches)
        requests, manager = trainer.requests, self._manager
        self._begin_epoch(batches)
        pace = trainer.own_epochs, batches.per_epoch, batches.batch_size
        step.set_pace(step.count - state.batch, *pace)
        scalars, first, total = step.scalars, state.first_step, step.meter.total
        alone, made = scalars.alone, step.count
        state.began = time.perf_counter() - state.seconds
        for n, *arrays in batches.epoch(self._epoch_of(batches), state.batch):
            if step.count - state.batch != scalars.began:  # a callback made steps of its own
                scalars.shift(step.count - state.batch)
            alone, made = step.scalars.alone, step.count
            step.make(n, batches.gather, *arrays)
            state.batch += 1
            if not math.isfinite(total()):
                recover(self, batches, first)
            for watcher in self._watchers:
                watcher.on_step_end(trainer, n if isinstance(n, int) else max(n))
            if requests.members:
                self._check_finite(batches, first)
                rate, examples = step.scalars.rates(made, alone, False), self._examples(batches)
                through = batches.are_through(state.batch)
                member_ends.note_stops(self, trainer.epochs + 1, examples, rate, through)
            stop, interrupt = requests.stop, requests.interrupt
            if manager.watches and state.batch < n_batches and not stop:
                manager.after_step(self, interrupted=bool(interrupt))
            if stop or interrupt:
                state.cut_off = state.batch < n_batches and not stop
                break
        trainer.backend.synchronize()
        seconds = time.perf_counter() - state.began
        rate = step.scalars.rates(made, alone, False)
        self._check_finite(batches, first)
        trainer.count_epoch()
        state.examples, state.seconds = self._examples(batches), 0.0
        return {
            "epoch": trainer.epochs,
            "step": step.own_counts() if step.scalars.apart else step.count,
            "learning_rate": member_ends.own_rates(self, rate),
            "train_loss": member_ends.mean_losses(self, step.meter.read()[0]),
            "seconds": seconds,
            "samples_per_second": float(np.max(state.examples)) / seconds,
        }

    def _check_finite(self, batches: Batches, first: int) -> None:
        """Go back where a loss of the epoch, or what the last update has made, is not finite."""
        step = self.step
        step.backend.synchronize()
        if step.meter.fewest() < step.count - first or not step.are_finite().all():
            recover(self, batches, first)

    def _examples(self, batches: Batches) -> int | list[int]:
        """Return how many examples the running epoch has had; a list where members have others."""
        seen, others = batches.seen(self.state.batch), self.state.other_examples
        return [own + others for own in seen] if isinstance(seen, list) else seen + others

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
