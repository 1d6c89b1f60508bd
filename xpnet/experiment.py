"""One training run on raw data, from settings to a model and its errors.

It parts the data, learns the preprocessing from the training part, builds the network, trains and
evaluates it. The command line only reads its settings and shows its results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from . import optimizers, schedules
from .activations import ACTIVATIONS
from .backend import Backend
from .data import SMALL, partition_indices
from .diagnosis import Diagnosis, diagnose
from .layers import BatchNorm, Dropout, Layer, Linear
from .model import Model
from .network import Network
from .preprocessing import Features, Target, check_rows, is_frame
from .readers import Dataset
from .training import Callback, Trainer
from .validation import check_count

PARTS = ("train", "dev", "test")

#: With fewer updates than this a network with the usual rates has hardly begun to learn.
ENOUGH = 500

#: A schedule on the command line: NAME or NAME:KEY=VALUE,…, and the class it stands for.
SCHEDULES: dict[str, type] = {
    "constant": schedules.Constant,
    "inverse-time": schedules.InverseTime,
    "exponential": schedules.Exponential,
    "inverse-square-root": schedules.InverseSquareRoot,
    "piecewise": schedules.Piecewise,
    "cosine": schedules.Cosine,
}


@dataclass
class Settings:
    """What a training run is set to; the defaults suit small and middling tables.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer; none for logistic or linear regression.
    activation : str
        "relu", "leaky_relu", "tanh", "sigmoid" or "softmax".
    learning_rate : float or None
        None: the optimiser's own default.
    schedule : str
        NAME or NAME:KEY=VALUE,… as `parse_schedule` takes it.
    batch_size : int or None
        None: 64, or all of a smaller training set.
    epochs : int or None
        None: 30, and on small sets as many as make `ENOUGH` updates.
    task : str or None
        "binary", "multiclass", "regression"; None: inferred.
    goal : float
        The error that would satisfy, for the verdict on bias and variance.
    """

    hidden: tuple[int, ...] = (256, 128)
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    l2: float = 0.0
    optimizer: str = "adam"
    learning_rate: float | None = None
    schedule: str = "constant"
    batch_size: int | None = None
    epochs: int | None = None
    dtype: str = "float32"
    seed: int = 0
    task: str | None = None
    goal: float = 0.01

    def make_optimizer(self, epochs: int, batches: int) -> optimizers.Optimizer:
        """Return the optimiser with its schedule, for so many epochs of so many batches.

        Raises
        ------
        ValueError
            If a name is not known or a number out of range.
        """
        if self.optimizer not in optimizers.OPTIMIZERS:
            known = ", ".join(optimizers.OPTIMIZERS)
            raise ValueError(f"optimizer is {self.optimizer!r}: give one of {known}")
        kind = optimizers.OPTIMIZERS[self.optimizer]
        rate = kind().rate(0, 0.0) if self.learning_rate is None else self.learning_rate
        kind(rate)  # refuses a rate that no schedule could mend
        return kind(parse_schedule(self.schedule, rate, epochs, batches))

    def make_layers(self, n_outputs: int) -> list[Layer]:
        """Return the layers: Linear, batch norm, activation, dropout; the last Linear alone.

        Raises
        ------
        ValueError
            If the activation is not known or a number out of range.
        """
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation is {self.activation!r}: give one of {known}")
        layers: list[Layer] = []
        for units in self.hidden:
            layers.append(Linear(units))
            if self.batch_norm:
                layers.append(BatchNorm())
            layers.append(ACTIVATIONS[self.activation]())
            layers.append(Dropout(self.dropout))
        layers = [layer for layer in layers if not (isinstance(layer, Dropout) and layer.p == 0)]
        return [*layers, Linear(n_outputs)]


def parse_schedule(
    text: str, rate: float, epochs: int, batches: int = 1
) -> float | schedules.Schedule:
    """Return the schedule that a text describes, from a highest rate on.

    Parameters
    ----------
    text : str
        ``constant``, ``inverse-time``, ``exponential``, ``inverse-square-root`` or ``cosine``, with
        options after a colon as ``exponential:decay=0.9``; ``piecewise:10=0.01,20=0.001`` changes
        the rate at epochs 10 and 20. ``cosine`` ends with the last epoch unless ``total`` is given.
    rate : float
        α₀.
    epochs, batches : int
        Length of the run, and of an epoch.

    Raises
    ------
    ValueError
        If the text can't be understood.

    Examples
    --------
    >>> parse_schedule("exponential:decay=0.5", rate=0.1, epochs=10)
    Exponential(initial=0.1, decay=0.5, per='epoch')
    """
    name, _, rest = text.partition(":")
    if name not in SCHEDULES:
        raise ValueError(f"schedule is {text!r}: give one of {', '.join(SCHEDULES)}")
    pairs = [option.partition("=") for option in rest.split(",") if option]
    try:
        if name == "piecewise":
            boundaries = tuple(int(key) for key, _, _ in pairs)
            return schedules.Piecewise(rate, boundaries, tuple(float(v) for _, _, v in pairs))
        options: dict[str, Any] = {k: v if k == "per" else float(v) for k, _, v in pairs}
        if name == "cosine":
            steps = options.get("per") == "step"
            options.setdefault("total", float(epochs * batches if steps else epochs))
        schedule: schedules.Schedule = SCHEDULES[name](rate, **options)
        schedule(0, 0.0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule is {text!r}: {error}") from error
    return schedule


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
        self.batch_size = self._batch_size()
        self.epochs = self._epochs()
        optimizer = settings.make_optimizer(self.epochs, self._batches())
        network = Network(
            settings.make_layers(target.n_outputs),
            loss=target.loss,
            n_features=features.n_features,
            device=device,
            dtype=settings.dtype,
            random_state=settings.seed,
        )
        training = {
            "data": dataset.name,
            "target": dataset.target_name,
            "fingerprint": dataset.fingerprint(),
            "settings": asdict(settings),
        }
        self.model = Model(network, features, target, training)
        self.trainer = Trainer(network, optimizer, l2=settings.l2)

    def _batch_size(self) -> int:
        """Return how many examples go into a mini-batch."""
        if self.settings.batch_size is not None:
            return check_count(self.settings.batch_size, "batch_size")
        return min(64, len(self.parts["train"].labels))

    def _epochs(self) -> int:
        """Return how many epochs to train for."""
        if self.settings.epochs is not None:
            return check_count(self.settings.epochs, "epochs")
        return max(30, math.ceil(ENOUGH / self._batches()))

    def _batches(self) -> int:
        """Return how many mini-batches make an epoch."""
        return math.ceil(len(self.parts["train"].labels) / self.batch_size)

    def run(
        self, callbacks: Sequence[Callback | Callable[[Trainer, dict[str, float]], Any]] = ()
    ) -> None:
        """Train."""
        train, dev = self.parts["train"], self.parts["dev"]
        self.trainer.fit(
            train.features,
            train.labels,
            batch_size=self.batch_size,
            epochs=self.epochs,
            validation_data=(dev.features, dev.labels),
            callbacks=callbacks,
        )

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
