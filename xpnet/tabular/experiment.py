"""One training run on raw data, from settings to a model and its errors.

It parts the data, learns the preprocessing from the training part, builds the network, trains and
evaluates it. The command line only reads its settings and shows its results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

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
from ..backends.select import Backend
from ..checks import check_count
from ..data.batches import SMALL, partition_indices
from ..nn.network import Network
from ..train.callback import Callback
from ..train.callbacks import EarlyStopping
from ..train.checkpoints import Checkpoints
from ..train.trainer import Trainer
from .features import Features, check_rows, is_frame
from .model import Model
from .readers import Dataset
from .settings import Settings, parse_augmentation
from .target import Target

PARTS = ("train", "dev", "test")

#: With fewer updates than this a network with the usual rates has hardly begun to learn.
ENOUGH = 500

#: For how many epochs to train if nobody says.
EPOCHS = 30


@dataclass
class Part:
    """One part of the data, raw and prepared."""

    rows: Any
    target: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any] = field(init=False)
    labels: np.ndarray[Any, Any] = field(init=False)


class Experiment:
    """A training run: its data in parts, and its model.

    Parameters
    ----------
    dataset : Dataset
        The raw data, with labels.
    settings : Settings
        What to do with it.
    device : str or Backend
        Where to train.

    Attributes
    ----------
    parts : dict of str to Part
        "train", "dev" and "test".
    model : Model
        Untrained, until `run` was called.
    trainer : Trainer
        What trains it.
    batch_size, epochs : int
        Its mini-batches, and how long it trains.
    batch_size_reason : str
        Why these, if "auto" was asked for; ``settings`` then have the number.
    best_epoch : int or None
        With early stopping the epoch whose weights the model holds, once it is trained.

    Raises
    ------
    TypeError, ValueError
        If data or settings are not as they must be; found before anything is trained.
    """

    def __init__(self, dataset: Dataset, settings: Settings, device: str | Backend) -> None:
        if dataset.target is None:
            raise ValueError(f"{dataset.name}: there are no labels to train on")
        self.dataset, self.settings = dataset, settings
        diagnose(0.0, 0.0, settings.goal)  # refuses a goal before the training, not after
        for rows in (dataset.rows, dataset.test_rows):
            if rows is not None:
                check_rows(rows)
        target = Target.learn(dataset.everything()[1], settings.task)
        self.parts = part_dataset(dataset, target, settings.seed)
        features = Features.learn(self.parts["train"].rows)
        if target.task == "regression":
            _standardise(target, self.parts)
        for piece in self.parts.values():
            piece.features = features.transform(piece.rows, settings.dtype)
            piece.labels = target.encode(piece.target)
        self._augmentation = parse_augmentation(settings.augment, settings.image_shape)
        if self._augmentation is not None:
            self._augmentation.check(features.n_features)
        patience = settings.patience
        self._stopping = None if patience is None else EarlyStopping(patience)
        self.best_epoch: int | None = None
        network = Network(
            settings.make_layers(target.n_outputs),
            loss=target.loss,
            n_features=features.n_features,
            device=device,
            dtype=settings.dtype,
            random_state=settings.seed,
        )
        self.batch_size_reason = ""
        self.batch_size = self._batch_size(network)
        self.epochs = self._epochs()
        optimizer = settings.make_optimizer(self.epochs, self._batches())
        training = {
            "data": dataset.name,
            "target": dataset.target_name,
            "fingerprint": dataset.fingerprint(),
            "settings": asdict(self.settings),
        }
        self.model = Model(network, features, target, training)
        self.trainer = Trainer(network, optimizer, settings.l2, settings.clip_norm)

    def _batch_size(self, network: Network) -> int:
        """Return how many examples go into a mini-batch; what was measured, settings then hold."""
        wish, settings = self.settings.batch_size, self.settings
        if wish is None:
            return min(64, len(self.parts["train"].labels))
        if wish != "auto":
            return check_count(wish, "batch_size")
        trainer = Trainer(
            network,
            settings.make_optimizer(epochs=1, batches=1),
            settings.l2,
            settings.clip_norm,
        )
        chosen = trainer.choose_batch_size(*self._data("train"), epochs=settings.epochs or EPOCHS)
        self.batch_size_reason = chosen.reason
        self.settings = replace(settings, batch_size=chosen.batch_size)
        return chosen.batch_size

    def _epochs(self) -> int:
        """Return how many epochs to train for."""
        if self.settings.epochs is not None:
            return check_count(self.settings.epochs, "epochs")
        return max(EPOCHS, math.ceil(ENOUGH / self._batches()))

    def _batches(self) -> int:
        """Return how many mini-batches make an epoch."""
        return math.ceil(len(self.parts["train"].labels) / self.batch_size)

    def run(
        self,
        callbacks: Sequence[Callback] = (),
        checkpoint: Checkpoints | None = None,
        resume: bool = False,
    ) -> None:
        """Train; checkpoints are as `Trainer.fit` has them."""
        train, dev = (self._data(name) for name in ("train", "dev"))
        where = {"checkpoint": checkpoint, "resume": resume}
        try:
            self.trainer.fit(*train, validation_data=dev, **self._fit_options(callbacks) | where)
        finally:
            self.best_epoch = self._epoch_kept()

    def _epoch_kept(self) -> int | None:
        """Return the epoch whose weights early stopping brought back in the last training."""
        return self._stopping.best_epoch if self._stopping is not None else None

    def choose_l2(
        self,
        values: Sequence[float],
        callbacks: Sequence[Callback] = (),
        watch: Watch | None = None,
    ) -> L2Choice:
        """Train for each λ and keep the model that is best on the development set.

        See `xpnet.choose_l2`. Settings, history and trainer are then those of the chosen λ.
        """
        trainers: dict[float, tuple[Trainer, int | None]] = {}

        def remember(trainer: Trainer, row: dict[str, float]) -> bool | None:
            trainers[row["l2"]] = trainer, self._epoch_kept()
            return watch(trainer, row) if watch is not None else None

        choice = choose_l2(
            self.model.network,
            self._data("train"),
            self._data("dev"),
            l2=values,
            clip_norm=self.settings.clip_norm,
            optimizer=self.trainer.optimizer,
            watch=remember,
            **self._fit_options(callbacks),
        )
        self.trainer, self.best_epoch = trainers[choice.l2]
        self.settings = replace(self.settings, l2=choice.l2)
        self.model.training["settings"] = asdict(self.settings)
        return choice

    def learning_curve(
        self, callbacks: Sequence[Callback] = (), watch: Watch | None = None
    ) -> LearningCurve:
        """Measure the errors for training sets of several sizes; see `xpnet.learning_curve`.

        Each makes about as many updates as the model made; nothing stops early. It trains the
        model's network anew: save what you want to keep before.
        """
        options = self._fit_options(callbacks) | {"callbacks": callbacks}
        options["epochs"] = max(1, len(self.trainer.history))
        return learning_curve(
            self.model.network,
            self._data("train"),
            self._data("dev"),
            sizes=self.curve_sizes(),
            optimizer=self.trainer.optimizer,
            l2=self.settings.l2,
            clip_norm=self.settings.clip_norm,
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
        return self.parts[name].features, self.parts[name].labels

    def _fit_options(self, callbacks: Sequence[Callback]) -> dict[str, Any]:
        # The one that stops comes last: the others may still look at the weights of the epoch.
        own = [] if self._stopping is None else [self._stopping]
        return {
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "callbacks": [*callbacks, *own],
            "augmentation": self._augmentation,
        }

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return loss and error on each part, as in prediction."""
        network = self.model.network
        return {k: network.evaluate(p.features, p.labels) for k, p in self.parts.items()}

    def diagnose(self, errors: dict[str, dict[str, float]]) -> Diagnosis:
        """Return the verdict on bias and variance."""
        return diagnose(errors["train"]["error"], errors["dev"]["error"], self.settings.goal)


def part_dataset(dataset: Dataset, target: Target, seed: int) -> dict[str, Part]:
    """Part a data set by the notes' ratios, by label where labels are classes.

    A test set that the data keeps apart stays the test set; the rest gives training and
    development set, 80/20 up to 10⁴ examples and 99/1 above.
    """
    rows, y = dataset.rows, np.asarray(dataset.target)
    n = len(rows)
    kept_apart = dataset.test_rows is not None
    shares = (0.8, 0.2) if n <= SMALL else (0.99, 0.01)
    labels = None if target.classes is None else target.encode(y)
    indices = partition_indices(n, shares if kept_apart else "auto", labels, seed)
    pieces = [Part(_take(rows, chosen), y[chosen]) for chosen in indices]
    if kept_apart:
        pieces.append(Part(dataset.test_rows, np.asarray(dataset.test_target)))
    return dict(zip(PARTS, pieces, strict=True))


def _take(rows: Any, chosen: np.ndarray[Any, Any]) -> Any:
    return rows.iloc[chosen] if is_frame(rows) else rows[chosen]


def _standardise(target: Target, parts: dict[str, Part]) -> None:
    """Take the scale of a regression's labels from the training part; refuse constant parts."""
    target.standardise(parts["train"].target)
    for name, piece in parts.items():
        if (piece.target == piece.target[0]).all():
            raise ValueError(
                f"the target is {np.ravel(piece.target)[0]} in every row of the {name} set: "
                "1 - R² is not defined there; give more data or another --seed"
            )
