"""One training run on raw data, from settings to a model and its errors.

It parts the data, learns the preprocessing from the training part, builds the network, trains and
evaluates it. The command line only reads its settings and shows its results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .._typing import Array
from ..analysis.diagnosis import Diagnosis, diagnose
from ..analysis.sweeps import (
    SIZES,
    L2Choice,
    LearningCurve,
    Watch,
    choose_l2,
    learning_curve,
    nested_order,
    smallest_part,
)
from ..backends.protocol import Backend
from ..data.augmentation import Augmentation
from ..data.scaling import Scaling
from ..nn.stacking import stack
from ..recipes.held_out import Folds
from ..recipes.recipes import Asked, Plan
from ..recipes.settings import Settings, parse_augmentation
from ..recipes.training import (
    calibrate_on,
    for_labels_as_they_are,
    length_of,
    make_stopping,
    make_trainer,
    most_rows,
)
from ..train.callback import Callback
from ..train.callbacks import EarlyStopping
from ..train.checkpoints import Checkpoints
from ..train.history import History
from ..train.time_limit import TimeLimit
from ..train.trainer import Trainer
from .building import (
    about,
    about_parts,
    choose_batch_size,
    draw_folds,
    facts_of,
    inputs_of,
    learn_target,
    make_network,
)
from .dataset import Dataset
from .model import Model
from .parts import (
    PARTS,
    Part,
    part_dataset,
    part_without_dev,
    prepare_parts,
)


@dataclass
class Experiment:
    """A training run: its data in parts, and its model; `prepare` makes one.

    Attributes
    ----------
    dataset : Dataset
        The raw data, with labels.
    settings : Settings
        What to do with it; a batch size that was measured stands in them.
    parts : dict of str to Part
        "train", "dev" and "test", as far as there are such.
    model : Model
        Untrained, until `run` was called.
    trainer : Trainer
        What trains it, and its network: that of the model, but for members that diverge.
    batch_size, epochs : int
        Its mini-batches, and how long it trains.
    batch_size_reason : str
        Why these, if "auto" was asked for.
    folds : Folds or None
        Which rows each member is not trained on, where there is no development set for that.
    best_epoch : int, list of int, or None
        With early stopping the epoch whose weights the model holds, once it is trained; of members
        that of each.
    temperature : float or None
        What the logits were divided by, if they were calibrated; they are not where all that is
        held out is of one class.
    plan : Plan or None
        What a recipe has set, and why, if it was asked.
    time_limit : float or None
        After so many seconds the training ends.
    time_reason : str
        What that has left out.
    """

    dataset: Dataset
    settings: Settings
    parts: dict[str, Part]
    model: Model
    trainer: Trainer
    batch_size: int
    epochs: int
    batch_size_reason: str = ""
    augmentation: Augmentation | None = None
    stopping: EarlyStopping | None = None
    folds: Folds | None = None
    best_epoch: int | list[int] | None = None
    temperature: float | None = None
    plan: Plan | None = None
    time_limit: float | None = None
    time_reason: str = ""

    @classmethod
    def prepare(
        cls,
        dataset: Dataset,
        settings: Settings,
        device: str | Backend,
        dev: bool | None = True,
        test: bool = True,
        recipe: Asked | None = None,
    ) -> Experiment:
        """Part the data, learn the preprocessing, and build the network and what trains it.

        Parameters
        ----------
        dataset : Dataset
            The raw data, with labels.
        settings : Settings
            What to do with it.
        device : str or Backend
            Where to train.
        dev : bool or None
            Whether there is a development set; else its examples are among those of the training
            set. None: where the settings have a use for it, or the data keep one apart.
        test : bool
            Whether there is a test set where the data keep none apart.
        recipe : Asked or None
            What sets all that is not set by hand; None: `settings` say all.

        Raises
        ------
        TypeError, ValueError
            If data or settings are not as they must be; found before anything is trained.
        """
        diagnose(0.0, 0.0, settings.goal)  # refuses a goal before the training, not after
        target = learn_target(dataset, settings)
        plan = None if recipe is None else recipe.plan(facts_of(dataset, target, test), settings)
        settings = settings if plan is None else plan.settings
        if dev is None:
            dev = settings.uses_dev or "dev" in dataset.kept()
        dev = dev and settings.folds is None
        parting = part_dataset if dev else part_without_dev
        parts = parting(dataset, target, settings.seed, test)
        loss = settings.make_loss(target.loss, target.losses)
        scaling = Scaling(settings.scaling, settings.clip)
        clamp = settings.clamp and target.classes is None
        features = prepare_parts(dataset, parts, target, loss, settings, scaling, clamp)
        inputs = inputs_of(features, parts["train"], target)
        network = make_network(features, inputs, target, settings, device)
        told = about(dataset, settings) | about_parts(dataset, dev, test)
        model = Model(network, features, target, told)
        model.require_writable()
        settings, reason = choose_batch_size(network, parts["train"], settings)
        return cls._of(dataset, settings, parts, model, reason, plan)

    @classmethod
    def _of(
        cls,
        dataset: Dataset,
        settings: Settings,
        parts: dict[str, Part],
        model: Model,
        reason: str = "",
        plan: Plan | None = None,
    ) -> Experiment:
        """Return what trains a model, as settings say that have a batch size by now."""
        folds = draw_folds(model, parts["train"], settings)
        n = most_rows(folds, len(parts["train"].labels))
        of_recipe = plan is not None and "batch_size" not in plan.given
        if of_recipe and isinstance(settings.batch_size, int):  # of a set of any size
            settings = replace(settings, batch_size=min(settings.batch_size, n))
        augmentation = parse_augmentation(settings.augment, settings.image_shape)
        if augmentation is not None:
            augmentation.check(model.network.n_features)
        model.training = model.training | {"settings": asdict(settings)}
        batch_size, batches, epochs = length_of(settings, n)
        optimizer = settings.make_optimizer(epochs, batches)
        plan = None if plan is None else plan.at(settings)
        return cls(
            dataset,
            settings,
            parts,
            model,
            make_trainer(model.network, settings, optimizer),
            batch_size,
            epochs,
            reason,
            augmentation,
            make_stopping(settings, "dev" in parts or folds is not None),
            folds,
            plan=plan,
        )

    def variant(self, settings: Settings) -> Experiment:
        """Return the training on the same data, prepared alike, of what other settings describe.

        The data are parted and prepared as the settings of this one say.

        Raises
        ------
        TypeError, ValueError
            If there is no such training.
        """
        model, own = self.model, self.model.network
        inputs = inputs_of(model.features, self.parts["train"], model.target)
        network = make_network(model.features, inputs, model.target, settings, own.backend)
        other = Model(network, model.features, model.target, model.training)
        return self._of(self.dataset, settings, self.parts, other)

    @property
    def batches(self) -> int:
        """How many mini-batches an epoch has."""
        most = most_rows(self.folds, len(self.parts["train"].labels))
        return math.ceil(most / self.batch_size)

    def release_rows(self) -> None:
        """Give up the raw rows: what is trained on are features."""
        for part in self.parts.values():
            part.source = None
        self.dataset.release_rows()

    def run(
        self,
        callbacks: Sequence[Callback] = (),
        checkpoint: Checkpoints | None = None,
        resume: bool = False,
    ) -> None:
        """Train; checkpoints are as `Trainer.fit` has them.

        A member that has diverged is no part of the model then.
        """
        options = self._fit_options(callbacks) | {"checkpoint": checkpoint, "resume": resume}
        if self.folds is not None:
            options |= {"validation_data": self._data("train")} | self.folds.fit_options()
        elif "dev" in self.parts:
            options |= {"validation_data": self._data("dev")}
        try:
            self.trainer.fit(*self._data("train"), **options)
        finally:
            self.best_epoch = self._epoch_kept() if self.trainer.history.rows else None
        if self.trainer.history.diverged:
            kept = self._kept()
            self.model.network = stack([self.trainer.network.member(i) for i in kept])
            self.folds = None if self.folds is None else self.folds.of(kept)
        self._complete()

    def _complete(self) -> None:
        """Make the model of what was trained: labels are smoothed in training alone; calibrate."""
        network = self.model.network = for_labels_as_they_are(self.model.network)
        of_classes = network.loss.has_probabilities and self.model.target.classes is not None
        if self.settings.calibrate and of_classes and "dev" in self.sizes():
            with network.backend.active():
                self.temperature = calibrate_on(network, *self._held_out_logits())

    def _held_out_logits(self) -> tuple[Array, Array]:
        """Return what networks say of examples that they were not trained on, and the labels."""
        network = self.model.network
        if self.folds is not None:
            return self.folds.out_of_fold(network, *network.prepare(*self._data("train")))
        x, y = network.prepare(*self._data("dev"))
        return network.predictor.logits(x), y

    def sizes(self) -> dict[str, int]:
        """Return how many examples errors are measured on; with folds "dev" are those held out."""
        found = {name: len(part.labels) for name, part in self.parts.items()}
        if self.folds is not None:
            found |= {"dev": int(np.isin(self.folds.of_each, self.folds.held).sum())}
        return {name: found[name] for name in PARTS if name in found}

    def _kept(self) -> list[int]:
        """Return the members that have not diverged."""
        count = self.trainer.network.members or 0
        return [i for i in range(count) if i not in self.trainer.history.diverged]

    def _epoch_kept(self) -> int | list[int] | None:
        """Return the epoch whose weights early stopping brought back, of members that of each."""
        history = self.trainer.history
        if self.stopping is None:
            return None
        names = [self.stopping.monitor, "dev_loss"]
        if self.trainer.network.members is None:
            return _best_epoch(history, names)
        return [_best_epoch(history.member(i), names) for i in self._kept()]

    def choose_l2(
        self,
        values: Sequence[float],
        callbacks: Sequence[Callback] = (),
        watch: Watch | None = None,
    ) -> L2Choice:
        """Train for each λ and keep the model that is best on the development set.

        See `xpnet.choose_l2`. Settings, history and trainer are then those of the chosen λ.
        """
        trainers: dict[float, Trainer] = {}

        def remember(trainer: Trainer, row: dict[str, float]) -> bool | None:
            trainers[row["l2"]] = trainer
            return watch(trainer, row) if watch is not None else None

        choice = choose_l2(
            self.model.network,
            self._data("train"),
            self._data("dev"),
            l2=values,
            clip_norm=self.settings.clip_norm,
            optimizer=self.trainer.optimizer,
            rate_factors=self.trainer.rate_factors,
            watch=remember,
            **self._fit_options(callbacks),
        )
        self.trainer = trainers[choice.l2]
        self.best_epoch = self._epoch_kept()
        self._complete()
        self.settings = replace(self.settings, l2=choice.l2)
        self.model.training["settings"] = asdict(self.settings)
        return choice

    def learning_curve(
        self, callbacks: Sequence[Callback] = (), watch: Watch | None = None
    ) -> LearningCurve:
        """Measure the errors for training sets of several sizes; see `xpnet.learning_curve`.

        Each makes about as many updates as the model made; nothing stops early. It trains the
        network anew: save what you want to keep before.
        """
        options = self._fit_options(callbacks)
        options["callbacks"] = callbacks
        options["epochs"] = max(1, len(self.trainer.history))
        return learning_curve(
            self.trainer.network,  # with the loss that is trained on: the model's may be another
            self._data("train"),
            self._data("dev"),
            sizes=self.curve_sizes(),
            optimizer=self.trainer.optimizer,
            l2=self.settings.l2,
            clip_norm=self.settings.clip_norm,
            rate_factors=self.trainer.rate_factors,
            watch=watch,
            **options,
        )

    def curve_sizes(self) -> list[float]:
        """Return the shares of the training set that a learning curve can be measured at.

        Raises
        ------
        ValueError
            If there are fewer than two, for want of examples.
        """
        _, y = self.model.network.prepare(*self._data("train"))
        least = smallest_part(y, nested_order(self.model.network, y))
        sizes = [size for size in SIZES if round(size * len(y)) >= least]
        if len(sizes) < 2:
            raise ValueError(f"{len(y)} training examples are too few for a learning curve")
        return sizes

    def _data(self, name: str) -> tuple[Any, Any]:
        return self.parts[name].data

    def _fit_options(self, callbacks: Sequence[Callback]) -> dict[str, Any]:
        # The one that stops comes last: the others may still look at the weights of the epoch.
        own: list[Callback] = [] if self.time_limit is None else [TimeLimit(self.time_limit)]
        own += [] if self.stopping is None else [self.stopping]
        return {
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "callbacks": [*callbacks, *own],
            "augmentation": self.augmentation,
        }

    def evaluate(self) -> dict[str, dict[str, Any]]:
        """Return loss and error on each part, as the model predicts: clamped if its target says so.

        In the history, and wherever else a network is measured alone, they are of what it says
        before that. Of members they are of what their mean says; "members" holds a dict with "loss"
        and "error" of each.
        """
        found = {name: self._evaluate(*part.data) for name, part in self.parts.items()}
        if self.folds is not None:
            found["dev"] = self._evaluate_held_out()
        return {name: found[name] for name in PARTS if name in found}

    def _evaluate_held_out(self) -> dict[str, Any]:
        network = self.model.network
        bounds = self.model.target.output_bounds(network.loss)
        with network.backend.active():
            logits, labels = self._held_out_logits()
            return network.predictor.evaluate_logits(logits, labels, bounds)

    def _evaluate(self, features: Any, labels: Any) -> dict[str, Any]:
        network, predictor = self.model.network, self.model.network.predictor
        bounds = self.model.target.output_bounds(network.loss)
        with network.backend.active():
            prepared = network.prepare(features, labels)
            found = predictor.evaluate(*prepared, bounds)
            if network.members is None:
                return found
            return predictor.evaluate_mean(*prepared, bounds) | {"members": found}

    def diagnose(self, errors: dict[str, dict[str, float]]) -> Diagnosis:
        """Return the verdict on bias and variance."""
        return diagnose(errors["train"]["error"], errors["dev"]["error"], self.settings.goal)


def _best_epoch(history: History, names: Sequence[str]) -> int:
    """Return the epoch with the least of the first figure, and of the next; 0 for none."""
    found = [(*(row[name] for name in names), row["epoch"]) for row in history.rows]
    return int(min((key for key in found if key[0] < math.inf), default=(0,))[-1])
