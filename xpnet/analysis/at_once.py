"""Trainings of one network's description: as members of one network, as many as memory holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._typing import Array
from ..data.arrays import as_array, prepare_weights
from ..data.batches import USUAL, take_rows
from ..data.streaming import Streamed
from ..data.subsets import check_order_seed, check_subsets
from ..nn.members import joined
from ..nn.network import Network
from ..optim.optimizers import Optimizer
from ..train.batch_size import measure_batch_sizes
from ..train.callback import Callback, as_callback
from ..train.fit import FitOptions
from ..train.history import DivergedError, History, MemberEnd
from ..train.member_ends import check_epochs
from ..train.recovery import ADVICE
from ..train.replacing import take_out
from ..train.trainer import Trainer
from .room import most_members

#: The fewest examples that members may have, as a share of the most. Whose epochs are shorter has
#: fewer steps in common with the others, and stands idle in the rest: that takes longer than one
#: training after the other.
LEAST_SHARE = 0.9

#: Options of `Trainer.fit` that are data, and those of them that members alone have.
OF_MEMBERS = ("subsets", "validation_subsets")
OF_DATA = ("sample_weight", *OF_MEMBERS)

#: Options of `Trainer.fit` that several trainings can't share: a folder holds one run.
OF_ONE_FIT = ("checkpoint", "resume")

#: Features and labels, prepared.
Prepared = tuple[Array, Array]

Indices = np.ndarray[Any, Any]


def check_watch(watch: Any) -> None:
    """Raise a TypeError if it can't be called, before anything is trained."""
    if watch is not None and not callable(watch):
        raise TypeError(f"watch is {watch!r}: give a function of (trainer, row)")


@dataclass(frozen=True)
class Variant:
    """What one of several trainings has of its own.

    Attributes
    ----------
    seed : int
        Of initial weights, mini-batches and dropout masks.
    l2 : float
        λ.
    examples, held_out : array of int, or None
        What it is trained on, and what it is measured on after each epoch: indices; None: all of
        the training set, and the development set.
    optimizer : Optimizer or None
        How to update; None: as all.
    epochs, batch_size : int or None
        As for `Trainer.fit`; None: as all.
    """

    seed: int
    l2: float
    examples: Indices | None = None
    held_out: Indices | None = None
    optimizer: Optimizer | None = None
    epochs: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Trained:
    """A training that has ended: the network holds its weights until the next one is looked at.

    Attributes
    ----------
    variant : Variant
        What it had of its own.
    trainer : Trainer
        As if the network had been trained alone.
    error : DivergedError or None
        Why it ended, if it diverged.
    """

    variant: Variant
    trainer: Trainer
    error: DivergedError | None = None


class Trainings:
    """Trains a network's description again and again, with the same options and other data or λ.

    They are members of one network, as many as memory holds and as are quick together; one after
    the other where a layer, loss, optimiser or callback of a user's own may not know of members,
    where they have very different numbers of examples, and where each has its own of what is
    streamed.

    Parameters
    ----------
    network : Network
        What to train: one network.
    optimizer : Optimizer
        How to update.
    train : (x, y)
        The training set, prepared.
    dev : (x, y) or None
        The development set, prepared; None where each training holds its own examples out.
    fit : dict
        Options of `Trainer.fit`.
    **of_trainer
        Other options of `Trainer`, the same of all: ``clip_norm``, ``rate_factors``, …

    Raises
    ------
    TypeError, ValueError
        If an option is none, or is for members; if a factor is not as it must be.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        train: Prepared,
        dev: Prepared | None,
        fit: Mapping[str, Any],
        **of_trainer: Any,
    ) -> None:
        self.network, self.optimizer, self._of_trainer = network, optimizer, of_trainer
        self.train, self.dev, self.fit = train, dev, dict(fit)
        self._callbacks = self._check_options()

    def _check_options(self) -> list[Callback]:
        """Raise an error of options that one network does not take; return the callbacks."""
        names = [f.name for f in fields(FitOptions) if f.name not in OF_ONE_FIT]
        for name in self.fit:
            if name in OF_ONE_FIT:
                raise TypeError(f"{name} can't be given here: checkpoints are of one fit")
            if name not in (*names, *OF_DATA):
                known = ", ".join((*names, "sample_weight"))
                raise TypeError(f"{name} is no option of the trainings: those of fit are {known}")
        options = FitOptions(**{k: v for k, v in self.fit.items() if k not in OF_DATA})
        check_epochs(options.epochs, self.network)
        check_order_seed(options.order_seed, None)
        weights, net = self.fit.get("sample_weight"), self.network
        if weights is not None:
            with net.backend.active():
                prepare_weights(weights, len(self.train[1]), net.backend, net.dtype)
        for name in OF_MEMBERS:
            check_subsets(self.fit.get(name), None, len(self.train[1]), name)
        self._trainer(net, self.optimizer, 0.0)
        return [as_callback(callback) for callback in options.callbacks]

    def _trainer(self, network: Network, optimizer: Optimizer, l2: Any) -> Trainer:
        """Return what trains a network, or several as members."""
        return Trainer(network, optimizer, l2, **self._of_trainer)

    def run(self, variants: Sequence[Variant]) -> Iterator[Iterator[Trained]]:
        """Train all, and go through them by those that were trained at once.

        Raises
        ------
        TypeError, ValueError, OutOfMemoryError
            As `Trainer.fit` does.
        """
        left, most = [*variants], self._most_members(variants)
        while left:
            groups = -(-len(left) // most)
            group = left[: -(-len(left) // groups)]
            try:
                trained = self._alone(*group) if len(group) == 1 else self._at_once(group)
            except MemoryError:
                if len(group) == 1:
                    raise
                most = len(group) // 2
                continue
            del left[: len(group)]
            yield trained

    def _alone(self, variant: Variant) -> Iterator[Trained]:
        """Train one network: the given one, unless its seed is another."""
        net = self.network
        if net.seeds[0] != variant.seed:
            net = _described(net, variant.seed)
        net.initialize()
        optimizer = variant.optimizer or self.optimizer
        trainer, error = self._trainer(net, optimizer, variant.l2), None
        options = self._options([variant]) | {"validation_data": self.held_out(variant)}
        if self.fit.get("sample_weight") is not None and variant.examples is not None:
            weights = as_array(self.fit["sample_weight"], "sample_weight")
            options["sample_weight"] = take_rows(weights, variant.examples)
        try:
            trainer.fit(*self.examples(variant), **options)
        except DivergedError as diverged:
            error = diverged
        return iter([Trained(variant, trainer, error)])

    def _at_once(self, group: Sequence[Variant]) -> Iterator[Trained]:
        """Train the members of one network, and return what takes each of them out in turn."""
        together = _described(self.network, [v.seed for v in group], len(group))
        l2 = [v.l2 for v in group]
        optimizer = joined([v.optimizer or self.optimizer for v in group], "the optimiser")
        trainer = self._trainer(together, optimizer, _one_for_all(l2))
        options = self._options(group) | {"validation_data": self.dev or self.train}
        if group[0].examples is not None:
            options["subsets"] = [v.examples for v in group]
        if group[0].held_out is not None:
            options["validation_subsets"] = [v.held_out for v in group]
        if options.get("batch_size") == "auto":  # one for all, as each alone would choose it
            alone = self._trainer(self.network, self.optimizer, l2[0])
            epochs = options.get("epochs", FitOptions.epochs)
            chosen = measure_batch_sizes(alone, *self.train, epochs)
            options["batch_size"] = chosen.batch_size
        with suppress(DivergedError), warnings.catch_warnings():
            # Each has its error, and whoever asked is told by that.
            warnings.filterwarnings("ignore", r"member \d+ has diverged", UserWarning)
            if group[0].batch_size is not None:  # that of the largest: for others it may be all
                warnings.filterwarnings("ignore", "batch_size is .* training on one batch")
            trainer.fit(*self.train, **options)
        return (self._taken_out(trainer, i, variant) for i, variant in enumerate(group))

    def _options(self, group: Sequence[Variant]) -> dict[str, Any]:
        """Return the options of `Trainer.fit` for some of them."""
        options = dict(self.fit)
        if group[0].epochs is not None:
            options["epochs"] = _one_for_all([v.epochs or 0 for v in group])
        if group[0].batch_size is not None:  # of members with fewer examples one batch is all
            options["batch_size"] = max(v.batch_size or 0 for v in group)
        return options

    def _taken_out(self, trainer: Trainer, i: int, variant: Variant) -> Trained:
        """Return a member's training as if the network had been trained alone."""
        own = self.network if self.network.seeds[0] == variant.seed else None
        alone = take_out(trainer, i, own)
        return Trained(variant, alone, _divergence(trainer.history.ended.get(i), alone.history))

    def examples(self, variant: Variant) -> Prepared:
        """Return what one of them is trained on."""
        return _taken(self.train, variant.examples)

    def held_out(self, variant: Variant) -> Prepared:
        """Return what one of them is measured on."""
        return _taken(self.dev or self.train, variant.held_out)

    def _most_members(self, variants: Sequence[Variant]) -> int:
        """Return how many trainings may be members of one network."""
        counts = [len(v.examples) for v in variants if v.examples is not None]
        if not all(callback.takes_members for callback in self._callbacks):
            return 1
        if counts and isinstance(self.train[0], Streamed):
            return 1
        if counts and min(counts) < LEAST_SHARE * max(counts):
            return 1
        size = self.fit.get("batch_size", USUAL)
        batch_size = size if isinstance(size, int) else USUAL
        n = len(self.train[1])
        return most_members(self.network, self.optimizer, batch_size, n, len(variants))


def measure(network: Network, train: Prepared, dev: Prepared) -> dict[str, float]:
    """Return loss and error of a network on both parts, as in prediction."""
    parts = {"train": network.evaluate(*train), "dev": network.evaluate(*dev)}
    return {f"{part}_{k}": value for part, found in parts.items() for k, value in found.items()}


def _described(network: Network, seed: int | list[int], members: int | None = None) -> Network:
    """Return an untrained network, or several, of a description."""
    return Network(
        network.layers,
        loss=network.loss,
        n_features=network.n_features,
        device=network.backend,
        dtype=network.dtype,
        random_state=seed,
        members=members,
    )


def _divergence(end: MemberEnd | None, history: History) -> DivergedError | None:
    """Return the error with which a training ended, if it diverged."""
    if end is None or not end.diverged:
        return None
    return DivergedError(
        f"the loss turned NaN or infinite in epoch {end.epoch}, step {end.step}; the weights are "
        f"back at those of step {end.good_step}. Try a smaller learning rate, {ADVICE}",
        end.epoch,
        end.step,
        end.good_step,
        history,
    )


def _taken(data: Prepared, indices: Indices | None) -> Prepared:
    """Return some examples of a data set, or all."""
    return data if indices is None else (take_rows(data[0], indices), take_rows(data[1], indices))


def _one_for_all(values: Sequence[float]) -> Any:
    """Return values as one, if they are all the same."""
    return values[0] if len({*values}) == 1 else tuple(values)
