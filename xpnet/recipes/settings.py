"""What a training run is set to, in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..checks import check_name
from ..data import augmentation
from ..data.augmentation import Augmentation, Transform
from ..nn.activations import ACTIVATIONS
from ..nn.ensemble_linear import EnsembleLinear
from ..nn.layer import Layer
from ..nn.linear import Linear
from ..nn.loss import Loss
from ..nn.scale import Scale
from ..nn.schedule import Schedule
from ..nn.stacks import hidden_stack
from ..optim.optimizers import Optimizer
from ..optim.schedules import Piecewise
from . import specs
from .embeddings import EMBEDDINGS, Inputs

#: The batch size if nobody says, or all of a smaller training set; and for how many epochs.
BATCH_SIZE, EPOCHS = 64, 30

#: Schedules on the command line, NAME or NAME:KEY=VALUE,…: each with options, as
#: ``xpnet info --schedules`` shows them.
SCHEDULE_EXAMPLES = {
    "constant": "constant",
    "inverse-time": "inverse-time:decay=0.1",
    "exponential": "exponential:decay=0.95",
    "inverse-square-root": "inverse-square-root",
    "piecewise": "piecewise:30=0.03,60=0.01",
    "cosine": "cosine:warm_up=10",
    "log-cosine": "log-cosine:cycles=4",
    "one-cycle": "one-cycle:warm_up=0.3",
    "flat-cosine": "flat-cosine:flat=0.5",
}

#: The classes that they stand for.
SCHEDULES: dict[str, type[Schedule]] = {
    name: Schedule.registry[name.title().replace("-", "")] for name in SCHEDULE_EXAMPLES
}

#: A transform on the command line: NAME or NAME:VALUE, and the class it stands for.
TRANSFORMS: dict[str, type[Transform]] = {
    "flip": augmentation.HorizontalFlip,
    "shift": augmentation.Shift,
    "rotation": augmentation.Rotation,
    "zoom": augmentation.Zoom,
    "cutout": augmentation.Cutout,
    "noise": augmentation.GaussianNoise,
    "mixup": augmentation.Mixup,
}


@dataclass
class Settings:
    """What a training run is set to; the defaults suit small and middling tables.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer; none for logistic or linear regression.
    activation : str
        NAME or NAME:KEY=VALUE,…, as "leaky_relu:negative_slope=0.2".
    dropout : tuple of float
        Probability of dropping after each hidden layer; a single one is for all.
    input_dropout : float
        Probability of dropping a feature.
    augment : str
        Transforms as `parse_augmentation` takes them; empty for none.
    image_shape : tuple of int or None
        How features make an image, for transforms of images.
    patience : int or None
        Stop after so many epochs without a better development loss; None: don't.
    clip_norm : float or None
        The largest norm of a gradient; None: any.
    optimizer : str
        NAME or NAME:KEY=VALUE,…, as "rmsprop:beta=0.8".
    loss : str or None
        NAME or NAME:KEY=VALUE,…; None: what fits the task.
    learning_rate : float or None
        None: the optimiser's own default.
    schedule : str
        NAME or NAME:KEY=VALUE,… as `parse_schedule` takes it.
    batch_size : int, "auto" or None
        None: `BATCH_SIZE`, or all of a smaller training set. "auto": measured, see
        `Trainer.choose_batch_size`.
    epochs : int or None
        None: `EPOCHS`, and on small sets as many as make `ENOUGH` updates.
    task : str or None
        "binary", "multiclass", "regression"; None: inferred.
    goal : float
        The error that would satisfy, for the verdict on bias and variance.
    members : int or None
        Train so many networks at once, with seeds from `seed` on, whose mean predicts; None: one.
    recipe : str
        Which of `recipes.RECIPES` the settings come from.
    scaling : {"mean", "median"}
        How numbers are brought to a common scale: by mean and deviation, or median and quartiles.
    clip : float or None
        Where numbers are clipped smoothly then, as `SmoothClip` has it; None: nowhere.
    embedding : str
        How numbers are embedded: NAME or NAME:KEY=VALUE,…, of `embeddings.EMBEDDINGS`; empty: not.
    input_scale : bool
        Whether a factor of each input is learnt.
    parametrization : {"standard", "ntk"}
        Of the linear layers; see `Linear`.
    last_init : str
        The initial weights of the last layer, by name.
    bias_std : float
        Initial biases of the hidden layers are from N(0, bias_std²).
    bias_rate, input_scale_rate : float
        What the learning rate is multiplied by for biases, and for the factors of inputs.
    ensemble : int or None
        So many members within each network, which share all weights but a vector on either side of
        each layer: see `EnsembleLinear`; None: none.
    folds : int or None
        Cut all that is not the test set into so many folds, of which each member is trained on all
        but one, in turn, and measured on that; None: there is a development set.
    keep_best : bool
        Whether the weights of the best epoch are kept, also without `patience`.
    monitor : {"loss", "error"}
        The development set's figure by which the best epoch is told.
    calibrate : bool
        Whether probabilities are calibrated on what a network was not trained on.
    clamp : bool
        Whether predicted values are clamped to the range of the training labels.
    """

    hidden: tuple[int, ...] = (256, 128)
    activation: str = "relu"
    batch_norm: bool = False
    dropout: tuple[float, ...] = (0.0,)
    input_dropout: float = 0.0
    augment: str = ""
    image_shape: tuple[int, ...] | None = None
    patience: int | None = None
    l2: float = 0.0
    clip_norm: float | None = None
    optimizer: str = "adam"
    loss: str | None = None
    learning_rate: float | None = None
    schedule: str = "constant"
    batch_size: int | str | None = None
    epochs: int | None = None
    dtype: str = "float32"
    seed: int = 0
    task: str | None = None
    goal: float = 0.01
    members: int | None = None
    recipe: str = "plain"
    scaling: Literal["mean", "median"] = "mean"
    clip: float | None = None
    embedding: str = ""
    input_scale: bool = False
    parametrization: Literal["standard", "ntk"] = "standard"
    last_init: str = "auto"
    bias_std: float = 0.0
    bias_rate: float = 1.0
    input_scale_rate: float = 1.0
    ensemble: int | None = None
    folds: int | None = None
    keep_best: bool = False
    monitor: Literal["loss", "error"] = "loss"
    calibrate: bool = False
    clamp: bool = False

    @property
    def uses_dev(self) -> bool:
        """Whether something is decided by what networks are not trained on, not just measured."""
        return self.patience is not None or self.keep_best or self.calibrate

    def make_optimizer(self, epochs: int, batches: int) -> Optimizer:
        """Return the optimiser with its schedule, for so many epochs of so many batches.

        Raises
        ------
        ValueError
            If a name or option is not known or a number out of range.
        """
        constant = self.make_constant_optimizer()
        schedule = parse_schedule(self.schedule, constant.rate(0, 0.0), epochs, batches)
        return replace(constant, learning_rate=schedule)

    def make_constant_optimizer(self) -> Optimizer:
        """Return the optimiser at the rate that a schedule begins with, however long the run is.

        Raises
        ------
        ValueError
            If a name or option is not known or a number out of range.
        """
        known = Optimizer.registry
        name, rate = self.optimizer.partition(":")[0], self.learning_rate
        if rate is None:
            rate = check_name(name, known, "optimizer")().rate(0, 0.0)
        return specs.make(self.optimizer, known, "optimizer", learning_rate=rate)

    def depends_on_epochs(self) -> bool:
        """Return whether the rates depend on how many epochs the run has.

        Raises
        ------
        ValueError
            If the schedule can't be understood.

        Examples
        --------
        >>> texts = "cosine:warm_up=5", "cosine:total=20", "inverse-time"
        >>> [Settings(schedule=text).depends_on_epochs() for text in texts]
        [True, False, False]
        """
        kind, options = _read_schedule(self.schedule)
        return kind.spans_run and "total" not in options

    def at_rates_of(self, epochs: int, batches: int) -> Settings:
        """Return the same at the rates of a run of so many epochs, however long its own is.

        Examples
        --------
        >>> Settings(schedule="cosine:warm_up=5").at_rates_of(30, 10).schedule
        'cosine:warm_up=5,total=30'
        """
        if not self.depends_on_epochs():
            return self
        _, given = _read_schedule(self.schedule)
        total = epochs * batches if given.get("per") == "step" else epochs
        joint = "," if ":" in self.schedule else ":"
        return replace(self, schedule=f"{self.schedule}{joint}total={total}")

    def make_loss(self, default: str, known: Mapping[str, type[Loss]]) -> Loss:
        """Return the loss that is asked for, else the default, of those that fit the labels.

        Raises
        ------
        ValueError
            If it is not known, or is for other labels.
        """
        return specs.make(default if self.loss is None else self.loss, known, "loss")

    def make_layers(self, n_outputs: int) -> list[Layer]:
        """Return the layers: each Linear, batch norm, activation, dropout; the last Linear alone.

        Before them stand the factors of inputs, if these are learnt.

        Raises
        ------
        ValueError
            If the activation is not known or a number out of range.
        """
        n = len(self.hidden)
        activation = specs.make(self.activation, ACTIVATIONS, "activation")
        if any(self.dropout) and not n:
            raise ValueError(
                f"dropout is {self.dropout}, and there is no hidden layer to drop from"
            )
        drops = self.dropout * n if len(self.dropout) == 1 else self.dropout
        if len(drops) != n:
            raise ValueError(
                f"dropout is {self.dropout} and there are {n} hidden layers: give "
                "one probability for all, or one for each"
            )
        stack = hidden_stack(
            self.hidden,
            [activation] * n,
            n_outputs,
            batch_norm=self.batch_norm,
            dropout=drops,
            input_dropout=self.input_dropout,
            linear=self._linear,
        )
        return [Scale(), *stack] if self.input_scale else stack

    def _linear(self, n_outputs: int, last: bool) -> Layer:
        init = self.last_init if last else "auto"
        if self.ensemble is not None:
            return EnsembleLinear(n_outputs, self.ensemble, shared=not last, init=init)
        bias_std = 0.0 if last else self.bias_std
        return Linear(n_outputs, init=init, parametrization=self.parametrization, bias_std=bias_std)

    def make_embedding(self, inputs: Inputs) -> list[Layer]:
        """Return the layers that embed numbers, if any do.

        Raises
        ------
        ValueError
            If the embedding is not known or a number out of range.
        """
        if not self.embedding:
            return []
        return specs.make(self.embedding, EMBEDDINGS, "embedding").layers(inputs)

    def rate_factors(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return what the rates of a network's parameters are multiplied by, as `Trainer` takes it.

        Examples
        --------
        >>> Settings(bias_rate=0.1, input_scale_rate=6.0).rate_factors([Scale(), Linear(3)])
        {'*.bias': 0.1, '0.weight': 6.0}
        """
        scales = [f"{i}.weight" for i, layer in enumerate(layers) if isinstance(layer, Scale)]
        found = {"*.bias": self.bias_rate} | dict.fromkeys(scales, self.input_scale_rate)
        return {name: rate for name, rate in found.items() if rate != 1.0}


def parse_schedule(text: str, rate: float, epochs: int, batches: int = 1) -> Schedule:
    """Return the schedule that a text describes, from a highest rate on.

    Parameters
    ----------
    text : str
        A name of `SCHEDULES`, with options after a colon as ``exponential:decay=0.9``;
        ``piecewise:10=0.01,20=0.001`` changes the rate at epochs 10 and 20. ``cosine`` and others
        that span the run end with the last epoch unless ``total`` is given.
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
    kind, options = _read_schedule(text)
    if kind.spans_run:
        steps = options.get("per") == "step"
        options.setdefault("total", float(epochs * batches if steps else epochs))
    try:
        schedule: Schedule = kind(rate, **options)
        schedule(0, 0.0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule is {text!r}: {error}") from error
    return schedule


def _read_schedule(text: str) -> tuple[Any, dict[str, Any]]:
    """Return the class of the schedule that a text describes, and the options that it gives."""
    name, _, rest = text.partition(":")
    kind = check_name(name, SCHEDULES, "schedule")
    try:
        if kind is Piecewise:
            pairs = [option.partition("=") for option in rest.split(",") if option]
            boundaries = tuple(int(key) for key, _, _ in pairs)
            return kind, {"boundaries": boundaries, "rates": tuple(float(v) for _, _, v in pairs)}
        return kind, specs.read_options(rest, kind, {"initial": None})
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule is {text!r}: {error}") from error


def parse_augmentation(text: str, image_shape: tuple[int, ...] | None) -> Augmentation | None:
    """Return the augmentation that a text describes, or None for an empty one.

    Parameters
    ----------
    text : str
        NAME or NAME:VALUE,… in the order in which they are done: ``flip`` (its probability),
        ``shift`` (pixels), ``rotation`` (degrees), ``zoom`` (share), ``cutout`` (pixels), ``noise``
        (σ) and ``mixup`` (α).
    image_shape : tuple of int or None
        How features make an image.

    Raises
    ------
    ValueError
        If the text can't be understood, or a transform is for images and there is no shape.

    Examples
    --------
    >>> parse_augmentation("shift:1,noise:0.2", (8, 8))
    Augmentation([Shift(pixels=1), GaussianNoise(sigma=0.2)], image_shape=(8, 8))
    """
    if image_shape is not None and not text:
        shape = "x".join(map(str, image_shape))
        raise ValueError(f"image_shape is {shape}, and nothing is augmented: leave it out")
    transforms = []
    for item in map(str.strip, text.split(",") if text else ()):
        name, _, value = item.partition(":")
        if name not in TRANSFORMS:
            raise ValueError(f"augment has {item!r}: give {', '.join(TRANSFORMS)}, as shift:2")
        kind = TRANSFORMS[name]
        try:
            transforms.append(kind(*([_number(value)] if value else [])))
        except (TypeError, ValueError) as error:
            raise ValueError(f"augment has {item!r}: {error}") from error
        if kind.of_images and image_shape is None:
            raise ValueError(
                f"augment has {item!r}, for images: give image_shape (--image-shape), as 28x28"
            )
    return Augmentation(transforms, image_shape) if transforms else None


def _number(text: str) -> float:
    """Return a whole number as one, for pixels are whole."""
    number = float(text)
    return int(number) if number.is_integer() else number
