"""A fit by a recipe: the network that it describes, its training, and what is made of it then.

The network takes raw columns: it begins with constants that standardise them. Values are trained on
standardised, and are values again in the network that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .._typing import Array, HostArray
from ..backends.arrays import to_host
from ..checks import all_finite
from ..data.scaling import Scales, share_a_unit, split
from ..interrupts import defer_sigint
from ..nn.activations import SmoothClip
from ..nn.layer import Layer
from ..nn.linear import Linear
from ..nn.losses import PoissonDeviance
from ..nn.network import Network
from ..nn.rescaling import rescale_outputs
from ..nn.stacks import losses_for
from ..nn.standardize import Standardize
from ..recipes.embeddings import Inputs
from ..recipes.facts import Facts
from ..recipes.held_out import Folds, held_out_logits
from ..recipes.settings import Settings
from ..recipes.training import (
    calibrate_on,
    for_labels_as_they_are,
    length_of,
    make_stopping,
    make_trainer,
)
from ..train.callback import Callback
from ..train.fit import FitOptions
from ..train.history import DivergedError, History
from ..train.trainer import Trainer
from ..warning import warn
from . import parameters
from .convergence import NOT_FINITE, rows_of
from .fitting import build_of, prepared_dev, weights_for
from .inputs import Part, check_weights
from .labels import Classes
from .members import alone, gather
from .parameters import Estimator
from .recipe_settings import changed, check_recipe, optimizer_for, plan_for
from .validation import Sets, part_data, take

#: The share of examples that is held out for the best epoch, if nobody says.
HELD_OUT = 0.2


def fit(
    e: Estimator, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any] = (None, None)
) -> None:
    """Fit a new network to checked data, as ``recipe`` and the parameters say."""
    check_recipe(e, X)
    if len(y) < 2:
        raise ValueError(f"n_samples = {len(y)}: a recipe needs two rows at least")
    e._learn_labels(y)
    data = Part(X, y, e._labels.encode(y), check_weights(len(y), sample_weight))
    given = changed(e) | ({"loss"} if _needs_sigmoid(e) else set())
    apart = validation[0] is not None or e.early_stopping
    first_seed = parameters.seeds_of(e, parameters.check_members(e))[0]
    plan = plan_for(e, _facts(e, data, apart), given, first_seed)
    settings = plan.settings
    members = settings.members or settings.folds
    seeds = [first_seed + i for i in range(members or 1)]
    if parameters.is_several(e.random_state):
        seeds = parameters.seeds_of(e, members)
    sets, folds = _sets(e, data, validation, settings, seeds, members, given)
    sets = _that_count(sets)
    values = _columns(sets.data.codes)
    sets, target = _standardise_values(e, sets)
    with defer_sigint():
        layers, output = _layers(e, sets.data, settings, given)
        build_of(e, layers, output, X, seeds, members)
    run = _Run(e, sets, settings, given)
    e.n_layers_, e.plan_ = len(settings.hidden) + 2, plan.at(run.settings)
    history = run.train()
    _write_figures(alone(e, seeds, members), e, history, sets, run.keeps_best)
    _complete(e, run, folds)
    if target is not None:
        rescale_outputs(e.network_, target.scale, target.mean)
    if settings.clamp and not isinstance(e._labels, Classes):
        e._bounds = np.concatenate([values.min(axis=0), values.max(axis=0)]).astype(np.float64)
    with e.network_.backend.active():
        finite = all_finite(e.network_.parameters, e.network_.backend.xp)
    if not finite:
        raise ValueError(f"{NOT_FINITE}.")


# -- what is known before ----


def _needs_sigmoid(e: Estimator) -> bool:
    """Return whether there is one loss that fits: of several labels at once, or of one class."""
    labels = e._labels
    return isinstance(labels, Classes) and (labels.multilabel or len(labels.labels) < 2)


def _facts(e: Estimator, data: Part, own_dev: bool) -> Facts:
    """Return what the recipe goes by."""
    labels, (n, n_columns) = e._labels, data.X.shape
    task = "regression"
    if isinstance(labels, Classes):
        task = "binary" if labels.multilabel or len(labels.labels) <= 2 else "multiclass"
    return Facts(task, n, n_columns, share_a_unit(to_host(data.X)), own_dev=own_dev)


def _sets(
    e: Estimator,
    data: Part,
    validation: tuple[Any, Any],
    settings: Settings,
    seeds: Sequence[int],
    members: int | None,
    given: set[str],
) -> tuple[Sets, Folds | None]:
    """Return what is trained on and what each network is measured on, and folds if it is these."""
    if settings.folds is None:
        by_hand = e.early_stopping or "validation_fraction" in given
        fraction = e.validation_fraction if by_hand else HELD_OUT
        fraction = fraction if settings.uses_dev else None
        return part_data(e, data, validation, seeds, members, fraction), None
    of_classes = isinstance(e._labels, Classes)
    folds = Folds.draw(settings.folds, len(seeds), data.codes, of_classes, seeds[0])
    rows = folds.fit_options()
    return Sets(data, rows["subsets"], [], rows["validation_subsets"]), folds


def _that_count(sets: Sets) -> Sets:
    """Return the sets without examples to measure on whose weight is 0.

    Raises
    ------
    ValueError
        If a network has none left.
    """
    weights = sets.data.weights
    dev = [p if p.weights is None else take(p, np.flatnonzero(p.weights > 0)) for p in sets.dev]
    held = sets.dev_subsets
    if held is not None and weights is not None:
        held = [rows[weights[rows] > 0] for rows in held]
    if not all(map(len, [part.codes for part in dev] if held is None else held)):
        raise ValueError(
            "sample_weight is zero for all examples of a validation set: give X_val and y_val"
        )
    return sets._replace(dev=dev, dev_subsets=held)


def _standardise_values(e: Estimator, sets: Sets) -> tuple[Sets, Scales | None]:
    """Return the sets with standardised values, and by what; classes and counts stay."""
    if isinstance(e._labels, Classes) or isinstance(e._output().loss, PoissonDeviance):
        return sets, None
    rows = _columns(sets.data.codes)
    scales = Scales.learn(rows, "y")

    def of(part: Part) -> Part:
        found = scales.standardise(split(_columns(part.codes)))
        return part._replace(codes=found.reshape(np.shape(part.codes)))

    return sets._replace(data=of(sets.data), dev=[of(part) for part in sets.dev]), scales


def _columns(values: Any) -> HostArray:
    return np.asarray(values).reshape(len(values), -1)


# -- the network ----


def _layers(
    e: Estimator, data: Part, settings: Settings, given: set[str]
) -> tuple[list[Layer], Any]:
    """Return the layers, for columns as they are in the training set, and what they end with."""
    loss = None
    of_classes = isinstance(e._labels, Classes)
    if settings.loss is not None and "loss" not in given:
        loss = settings.make_loss(settings.loss, losses_for(of_classes))
    output = e._output(loss)
    rows = to_host(data.X)
    constants, pixels = Standardize.learn(rows, settings.scaling), share_a_unit(rows)
    clips = [] if settings.clip is None or pixels else [SmoothClip(settings.clip)]
    embedding: list[Layer] = []
    if settings.embedding:
        numbers = [] if pixels else np.flatnonzero(constants.scale).tolist()
        several = isinstance(e._labels, Classes) and e._labels.multilabel
        seen = _outputs_of([constants, *clips], rows)
        inputs = Inputs(seen, numbers, data.codes, of_classes and not several)
        embedding = settings.make_embedding(inputs)
    hidden = settings.make_layers(output.n_outputs)
    return [constants, *clips, *embedding, *hidden], output


def _outputs_of(layers: list[Layer], rows: HostArray) -> HostArray:
    """Return what layers make of rows."""
    options = {"n_features": rows.shape[1], "dtype": rows.dtype.name, "device": "cpu"}
    network = Network([*layers, Linear(1)], loss="mean_squared_error", **options)
    return np.asarray(network.activations(rows, [len(layers) - 1])[0])


# -- the training ----


@dataclass
class _Run:
    """A training of an estimator's network.

    Attributes
    ----------
    x, labels : array
        What is trained on, on the device.
    dev : (x, labels) or None
        What is measured on; with ``sets.dev_subsets`` rows of that are.
    """

    e: Estimator
    sets: Sets
    settings: Settings
    given: set[str]

    def __post_init__(self) -> None:
        network, n = self.e.network_, self.sets.n_examples
        self.x, self.labels = network.prepare(self.sets.data.X, self.sets.data.codes)
        self.weights = weights_for(self.e, self.sets, False)
        self.dev = prepared_dev(network, (self.x, self.labels, self.weights), self.sets)
        size = self.settings.batch_size
        if isinstance(size, int):
            self.settings = replace(self.settings, batch_size=min(size, n))
        self.length = length_of(self.settings, n)

    @property
    def keeps_best(self) -> bool:
        """Whether the weights are those of the best epoch."""
        return make_stopping(self.settings, self.dev is not None) is not None

    def train(self) -> History:
        """Train; return what was measured.

        Raises
        ------
        ValueError
            If the network, or a member, diverges.
        """
        e, length = self.e, self.length
        optimizer = optimizer_for(e, self.settings, self.given, length)
        trainer = make_trainer(e.network_, self.settings, optimizer)
        options = FitOptions(
            batch_size=length.batch_size,
            epochs=length.epochs,
            callbacks=self._callbacks(),
            shuffle=e.shuffle,
            monitor=0,
        )
        data = self.x, self.labels, self.weights, self.dev
        try:
            trainer.fit_prepared(*data, options, self.sets.subsets, self.sets.dev_subsets)
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        except DivergedError as error:
            raise ValueError(f"{NOT_FINITE}: {error}") from error
        if trainer.history.diverged:
            raise ValueError(f"{NOT_FINITE}: members {sorted(trainer.history.diverged)} diverged")
        return trainer.history

    def _callbacks(self) -> list[Any]:
        stopping = make_stopping(self.settings, self.dev is not None)
        if stopping is not None and "tol" in self.given:
            stopping.min_improvement = float(self.e.tol)
        told = [_Telling()] if self.e.verbose else []
        # The one that stops comes last: the others may still look at the weights of the epoch.
        return [*(self.e.callbacks or ()), *told, *([] if stopping is None else [stopping])]

    def held_out(self, network: Network, folds: Folds | None) -> tuple[Array, Array] | None:
        """Return logits of examples that networks were not trained on, and the classes of these."""
        if self.sets.dev_subsets is not None:
            rows = dict(enumerate(self.sets.dev_subsets))
            if folds is not None:  # each row once
                rows = {i: rows[i] for i in folds.first_of_each}
            return held_out_logits(network, self.x, self.labels, rows)
        return None if self.dev is None else (network.predictor.logits(self.dev[0]), self.dev[1])


class _Telling(Callback):
    """Prints the loss of each epoch."""

    takes_members: ClassVar[bool] = True

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Print it, of each member that there is."""
        members = trainer.network.members
        for i, own in enumerate(rows_of(row, members or 1)):
            name = "" if members is None else f"Member {i}: "
            print(f"{name}Iteration {row['epoch']}, loss = {own['train_loss']:.8f}")


def _write_figures(
    each: Sequence[Estimator], e: Estimator, history: History, sets: Sets, keeps_best: bool
) -> None:
    """Write what a fit tells, from what was measured."""
    measured = "dev_loss" in history.columns
    for i, one in enumerate(each):
        own = history if history.members is None else history.member(i)
        losses = [float(loss) for loss in own["train_loss"]] if len(own) else []
        n = sets.n_examples if sets.subsets is None else len(sets.subsets[i])
        one.n_iter_, one.t_, one._no_improvement_count = len(own), len(own) * n, 0
        one.loss_curve_, one.loss_ = losses, losses[-1] if losses else np.inf
        one.best_loss_ = None if keeps_best else min(losses, default=np.inf)
        scores = [1.0 - float(error) for error in own["dev_error"]] if measured else None
        one.validation_scores_ = scores
        one.validation_loss_curve_ = [*map(float, own["dev_loss"])] if measured else None
        one.best_validation_score_ = max(scores, default=None) if scores is not None else None
    gather(e, each)


def _complete(e: Estimator, run: _Run, folds: Folds | None) -> None:
    """Make the network that is kept of the trained one: labels smoothed no more; calibrated."""
    e.network_, e.temperature_ = for_labels_as_they_are(e.network_), None
    of_classes = isinstance(e._labels, Classes) and not _needs_sigmoid(e)
    if not (run.settings.calibrate and of_classes and e.network_.loss.has_probabilities):
        return
    with e.network_.backend.active():
        found = run.held_out(e.network_, folds)
        if found is not None:
            e.temperature_ = calibrate_on(e.network_, *found)
