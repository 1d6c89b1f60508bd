"""Losses: the value and its gradient together, computed from the network's output z (the logits).

Each is the mean over the examples of the sum over the outputs, as in the notes. A loss also knows
what goes with it: how labels are checked and stored, what z says about probabilities and classes,
and what counts as an error.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .._typing import Array
from ..backends.activations import SIGMOID
from ..backends.output_losses import OUTPUT_LOSSES, OutputLoss
from ..backends.reference import Kernels
from ..backends.reference_losses import LossBuffers, SoftmaxBuffers
from ..checks import check_fields, check_positive
from ..data.labels import is_numeric, is_whole, these_values
from ..registry import Registered, Registry, describe
from .layer import Allocator


@dataclass(frozen=True)
class Loss(Registered):
    """The base of the losses: subclass it, as a frozen dataclass of its options, for one's own.

    `compute` writes the mean loss and its gradient with respect to z; `decide` makes predictions of
    z; `error_sum` over `error_count` is the error that histories and `Network.evaluate` show.
    `targets` checks labels and says how they are stored (together with `target_shape` and
    `target_dtype`): as (n, n_outputs) numbers in the network's dtype, if it is not overridden.
    `probabilities` is for losses that know any, and `buffers` for those that need more room.

    A loss that is defined has a name, by which a `Network` and model files know it: "log_cosh" for
    ``LogCosh``. All its methods run on whichever device the network is on; those that get ``k`` or
    ``xp`` find its array functions there.

    A loss of one output at a time is a row of `output_losses.OUTPUT_LOSSES`, whose options are
    attributes of the same names; another one gives `compute` itself, and the `buffers` for it.

    Attributes
    ----------
    name : str
        What a `Network` calls it; the class's name in lower case with underscores, if the class
        gives none.
    output_activation : str
        The layer type that may not come last, because the loss applies it itself.
    of_classes : bool
        Whether labels are classes, not values.
    row : str
        Which row it is; "" if it gives `compute` itself.

    Raises
    ------
    TypeError
        When a class is defined: if the library has a loss of its name, or it has an ``__init__``.

    Examples
    --------
    A loss of one's own, log cosh(z − y) summed over the outputs, with the error of the mean squared
    error; it is used by its name, or with options as an object:

    >>> import os, tempfile
    >>> import numpy as np, xpnet as xn
    >>> @dataclass(frozen=True)
    ... class LogCosh(xn.MeanSquaredError):
    ...     weight: float = 1.0
    ...     def compute(self, k, z, y, example_weight, b):
    ...         xp = k.xp
    ...         xp.subtract(z, y, out=b.dz)
    ...         xp.cosh(b.dz, out=b.terms)
    ...         xp.log(b.terms, out=b.terms)
    ...         xp.multiply(b.terms, self.weight * example_weight, out=b.terms)
    ...         xp.sum(b.terms, axis=(-2, -1), out=b.loss)
    ...         xp.tanh(b.dz, out=b.dz)
    ...         xp.multiply(b.dz, self.weight * example_weight, out=b.dz)
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> net = xn.Network([xn.Linear(1)], loss=LogCosh(2.0), n_features=3, device="cpu",
    ...                  dtype="float64")
    >>> xn.check_gradients(net, X[:5], y[:5]) < 1e-7
    True
    >>> history = xn.Trainer(net, xn.Adam(0.1)).fit(X, y, batch_size=20, epochs=30)
    >>> bool(net.evaluate(X, y)["error"] < 0.01)
    True
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.safetensors"))
    ...     xn.load(os.path.join(folder, "net.safetensors"), device="cpu").loss
    LogCosh(weight=2.0)
    >>> xn.Network([xn.Linear(1)], loss="log_cosh", n_features=3, device="cpu").loss
    LogCosh(weight=1.0)
    """

    registry: ClassVar[Registry[Loss]] = Registry("loss", spell=lambda cls: cls.name)

    name: ClassVar[str] = ""
    output_activation: ClassVar[str] = ""
    of_classes: ClassVar[bool] = True
    row: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_fields(self)

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class its name, and enter the registry."""
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        super().__init_subclass__(**options)

    def config(self) -> str | dict[str, Any]:
        """Return the loss as JSON-ready data: its name, and its options unless all are defaults."""
        data = describe(self)
        is_default = all(getattr(self, f.name) == f.default for f in fields(self) if f.init)
        return self.name if is_default else data

    @classmethod
    def from_config(cls, data: Any) -> Loss:
        """Return the loss that `config` described.

        Raises
        ------
        UnknownNameError
            If it has not been defined.
        KeyError, TypeError, ValueError
            If the data are no such description.
        """
        return cls.registry.build({"type": data} if isinstance(data, str) else data)

    @property
    def rule(self) -> OutputLoss | None:
        """The row, if it is one."""
        return OUTPUT_LOSSES.get(self.row)

    def buffers(self, new: Allocator, n_outputs: int) -> LossBuffers:
        """Return the buffers for a batch: dz, the loss, and scratch."""
        buffers = LossBuffers(
            dz=new.rows("dz", n_outputs),
            loss=new.scalar("loss"),
            terms=new.rows("terms", n_outputs),
            row=new.rows("row", 1),
        )
        if self.rule:
            program = self.rule.program(self.options)
            names = [f"register {i}" for i in range(program.n_registers)]
            buffers.registers = [new.rows(name, n_outputs) for name in names]
            buffers.mask = new.rows("mask", n_outputs, np.bool_) if program.masks else None
        return buffers

    @property
    def options(self) -> tuple[float, ...]:
        """The values of the row's options."""
        return tuple(float(getattr(self, name)) for name in self.rule.options) if self.rule else ()

    def target_shape(self, n: int, n_outputs: int) -> tuple[int, ...]:
        """Return the shape of n examples' labels as they are stored."""
        return n, n_outputs

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of labels as they are stored, for a network in ``dtype``."""
        return dtype

    def targets(
        self, y: np.ndarray[Any, Any], n_outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Any:
        """Check labels on the host and return them as they are stored.

        Raises
        ------
        ValueError
            If they don't fit the loss or the number of outputs; the message says why.
        """
        if not is_numeric(y):
            hint = "; if they are numbers, as y.astype(float)"
            if self.of_classes:
                hint = ": numpy.unique(y, return_inverse=True)[1]"
            raise ValueError(f"{name} has dtype {y.dtype}: {self.name} needs numbers{hint}")
        rows = y.reshape(len(y), 1) if y.ndim == 1 else y
        if rows.ndim != 2 or rows.shape[1] != n_outputs:
            raise ValueError(
                f"{name} has shape {y.shape}: the network has {n_outputs} outputs, "
                f"so {self.name} needs shape ({len(y)}, {n_outputs})"
                + (f" or ({len(y)},)" if n_outputs == 1 else "")
            )
        with np.errstate(over="ignore"):  # what is too large for the dtype counts as infinite
            stored = np.ascontiguousarray(rows, dtype=dtype)
        bad = ~np.isfinite(stored)
        if bad.any():
            if np.isfinite(rows).all():
                raise ValueError(
                    f"{name} has values up to {np.abs(rows).max():g}, too large for {dtype}: scale "
                    "them, or give dtype='float64'"
                )
            raise ValueError(
                f"{name} has {these_values(int(bad.sum()))}, the first in row "
                f"{int(np.argwhere(bad)[0, 0])}: remove or replace them"
            )
        return stored

    def gradient(
        self, k: Kernels, z: Array, y: Array, b: LossBuffers, example_weight: Array | None = None
    ) -> Array:
        """Write the loss to ``b.loss`` and its gradient to ``b.dz``; return the gradient.

        ``example_weight`` (n, 1) weighs the examples and adds up to 1; None: each by 1/n.
        """
        self.compute(k, z, y, 1.0 / z.shape[-2] if example_weight is None else example_weight, b)
        return b.dz

    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: LossBuffers) -> None:
        """Write the loss to ``b.loss`` and its gradient to ``b.dz``.

        Parameters
        ----------
        k : Kernels
            The backend's kernels; ``k.xp`` is its array namespace.
        z : array, shape (…, n, n_outputs)
            The network's output.
        y : array
            The labels as `targets` stored them.
        example_weight : float or array, shape (n, 1)
            How much each example counts; over the batch it adds up to 1.
        b : LossBuffers
            What `buffers` returned: ``dz`` and ``terms`` have the shape of z, ``row`` (…, n, 1),
            ``loss`` (…); what they held before is no matter. Neither z nor y may be
            written to.
        """
        if self.rule is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a row nor a compute")
        k.output_loss(self.rule, z, y, example_weight, self.options, b, b.dz, b.loss)

    def probabilities(self, k: Kernels, z: Array) -> Array:
        """Return what z says of the classes' probabilities; z is used up.

        Raises
        ------
        ValueError
            If the loss knows no probabilities.
        """
        raise ValueError(f"{self.name} has no probabilities: use predict")

    @abstractmethod
    def decide(self, xp: Any, z: Array) -> Array:
        """Return the predictions, classes or values, from z of shape (…, n, n_outputs)."""

    @abstractmethod
    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return what a batch adds to the error, before `error_count` divides it: a scalar."""

    def error_count(self, xp: Any, y: Array) -> float:
        """Return what the sum of mistakes is divided by: the number of examples."""
        return float(y.shape[0])


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """−1/n Σ log softmax(z)_y for classes 0 … m−1 (notes, chapters 2.2.4 and 3).

    Its gradient is (softmax(z) − onehot(y)) / n. It is computed from z by way of
    log Σ exp(z − max z): finite unless logits differ by more than the largest number there is.

    With label smoothing ε (Szegedy et al., CVPR 2016, as in PyTorch) it is −1/n Σ t log softmax(z)
    with t = (1 − ε) onehot(y) + ε/m, and the gradient (softmax(z) − t) / n.

    Parameters
    ----------
    label_smoothing : float
        ε in [0, 1).

    Examples
    --------
    >>> SoftmaxCrossEntropy(label_smoothing=0.1)
    SoftmaxCrossEntropy(label_smoothing=0.1)
    """

    label_smoothing: float = 0.0

    output_activation: ClassVar[str] = "Softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}: give a number in [0, 1)")

    def buffers(self, new: Allocator, n_outputs: int) -> SoftmaxBuffers:
        """Return the buffers for a batch."""
        return SoftmaxBuffers(
            **vars(super().buffers(new, n_outputs)),
            other=new.rows("other", 1),
            classes=new.constant("classes", np.arange(n_outputs, dtype=np.int32)),
            hot=new.rows("hot", n_outputs, np.bool_),
        )

    def target_shape(self, n: int, n_outputs: int) -> tuple[int, ...]:
        """Return the shape of n labels."""
        return (n,)

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return int32."""
        return np.dtype(np.int32)

    def targets(
        self, y: np.ndarray[Any, Any], n_outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Any:
        """Check that labels are whole numbers in 0 … n_outputs − 1; return int32."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim != 1:
            hint = ": of one-hot rows y.argmax(axis=1)" if y.ndim == 2 else ""
            raise ValueError(
                f"{name} has shape {y.shape}: {self.name} needs integer labels of shape "
                f"({len(y)},){hint}"
            )
        if not is_numeric(y):
            raise ValueError(
                f"{name} has dtype {y.dtype}: {self.name} needs integer labels: "
                "numpy.unique(y, return_inverse=True)[1]"
            )
        if not is_whole(y):
            raise ValueError(
                f"{name} has labels that are not whole numbers: {self.name} needs integers"
            )
        if len(y) and (y.min() < 0 or y.max() >= n_outputs):
            raise ValueError(
                f"{name} has labels from {y.min():g} to {y.max():g}: a network with {n_outputs} "
                f"outputs needs labels 0 to {n_outputs - 1}: "
                + (
                    "give Linear(2), or loss='sigmoid_cross_entropy'"
                    if n_outputs == 1 and y.min() == 0 and y.max() == 1
                    else "numpy.unique(y, return_inverse=True)[1], and an output for each class"
                )
            )
        return np.ascontiguousarray(y, dtype=np.int32)

    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: Any) -> None:
        """Write loss and gradient."""
        smoothing = float(self.label_smoothing)
        k.softmax_cross_entropy(z, y, example_weight, b, b.dz, b.loss, smoothing)

    def probabilities(self, k: Kernels, z: Array) -> Array:
        """softmax(z), in place."""
        row = k.xp.max(z, axis=-1, keepdims=True)
        k.softmax(z, row, z)
        return z

    def decide(self, xp: Any, z: Array) -> Array:
        """Return the class with the largest logit."""
        return xp.argmax(z, axis=-1)

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the number of examples whose class is wrong."""
        return xp.sum(xp.argmax(z, axis=-1) != y, axis=-1)


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """−1/n Σ [y log σ(z) + (1 − y) log(1 − σ(z))], the log-loss (notes, chapter 1).

    Its gradient is (σ(z) − y) / n. It is computed from z as max(z, 0) − zy + log(1 + exp(−|z|)),
    finite for every finite z; the notes' page computes log(0). Labels are 0 or 1, shape (n,) or
    (n, k): each of k outputs is a question of its own. An example counts as an error if any answer
    is wrong.
    """

    output_activation: ClassVar[str] = "Sigmoid"
    row: ClassVar[str] = "sigmoid_cross_entropy"

    def targets(
        self, y: np.ndarray[Any, Any], n_outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Any:
        """Check that labels are 0 or 1."""
        rows = super().targets(y, n_outputs, dtype, name)
        other = (y != 0) & (y != 1)  # as they were given: rounding makes 1e-60 a 0
        if other.any():
            raise ValueError(
                f"{name} has {int(other.sum())} labels other than 0 and 1, such as "
                f"{y[other][0]:g}: {self.name} needs 0 or 1"
            )
        return rows

    def probabilities(self, k: Kernels, z: Array) -> Array:
        """σ(z), in place."""
        k.activation(SIGMOID, z, z)
        return z

    def decide(self, xp: Any, z: Array) -> Array:
        """Return 1 where σ(z) ≥ 1/2, that is z ≥ 0, else 0."""
        return (z >= 0).astype(np.int64)

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the number of examples with any wrong answer."""
        return xp.sum(xp.any((z >= 0) != (y > 0), axis=-1), axis=-1)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """1/n Σ (z − y)², summed over the outputs; its gradient is 2 (z − y) / n.

    Its error is the share of the variance that is left unexplained, 1 − R²: 0 is perfect, 1 is no
    better than the mean.
    """

    of_classes: ClassVar[bool] = False
    row: ClassVar[str] = "squared_error"

    #: What (z − y)² is multiplied by.
    scale: ClassVar[float] = 1.0

    def decide(self, xp: Any, z: Array) -> Array:
        """Return z."""
        return z

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the sum of squared errors."""
        return xp.sum(xp.square(z - y, dtype=np.float64), axis=(-2, -1))

    def error_count(self, xp: Any, y: Array) -> float:
        """Return the sum of squares around the mean; NaN if there is none, as R² is undefined."""
        around = xp.square(y - xp.mean(y, axis=0), dtype=np.float64)
        return float(xp.sum(around)) or float("nan")


@dataclass(frozen=True)
class HalfSquaredError(MeanSquaredError):
    """1/2n Σ (z − y)², summed over the outputs; its gradient is (z − y) / n.

    It is in the scale of scikit-learn's MLPRegressor; the error is that of `MeanSquaredError`.
    """

    scale: ClassVar[float] = 0.5


@dataclass(frozen=True)
class PoissonDeviance(MeanSquaredError):
    """1/n Σ [exp(z) − yz + y log y − y] for counts y ≥ 0, half the mean Poisson deviance.

    The prediction is exp(z), the expected count; the gradient is (exp(z) − y) / n. The error is the
    share of variance that exp(z) leaves unexplained.
    """

    row: ClassVar[str] = "poisson"

    def targets(
        self, y: np.ndarray[Any, Any], n_outputs: int, dtype: np.dtype[Any], name: str = "y"
    ) -> Any:
        """Check that values are 0 or more."""
        rows = super().targets(y, n_outputs, dtype, name)
        if (rows < 0).any():
            raise ValueError(
                f"{name} has {int((rows < 0).sum())} values below 0: {self.name} needs counts or "
                "rates, 0 or more"
            )
        return rows

    def decide(self, xp: Any, z: Array) -> Array:
        """Return exp(z)."""
        return xp.exp(z)

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the sum of squared errors of exp(z)."""
        return super().error_sum(xp, xp.exp(z), y)


@dataclass(frozen=True)
class Huber(MeanSquaredError):
    """1/n Σ h(z − y), summed over the outputs: squared for small errors, linear for large ones.

    h(d) = d²/2 for |d| ≤ δ, else δ (|d| − δ/2) (Huber, Annals of Mathematical Statistics 35, 1964,
    as PyTorch's ``HuberLoss``); its derivative is d, held between −δ and δ. So outliers pull less
    than in `MeanSquaredError`. The error is that of `MeanSquaredError`.

    Parameters
    ----------
    delta : float
        δ, above 0.

    Examples
    --------
    >>> Huber(delta=0.5)
    Huber(delta=0.5)
    """

    delta: float = 1.0

    row: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.delta, "delta")


@dataclass(frozen=True)
class Quantile(MeanSquaredError):
    """1/n Σ ρ(y − z), summed over the outputs: least where z is the q-quantile of y given x.

    ρ(r) = q r for r ≥ 0, else (q − 1) r: the pinball loss (Koenker & Bassett, Econometrica 46,
    1978). With q = 1/2 it is half the absolute error, and z the median. The derivative with respect
    to z is 1 − q above y, −q below it, and 1/2 − q at y.

    Its error is the share that is left of the loss of the best constant, the q-quantile of y: 0 is
    perfect, 1 is no better than the constant. It is 1 − D² of scikit-learn's ``d2_pinball_score``.

    Parameters
    ----------
    q : float
        Which quantile, in (0, 1).

    Examples
    --------
    >>> Quantile(q=0.9)
    Quantile(q=0.9)
    """

    q: float = 0.5

    row: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.q < 1:
            raise ValueError(f"q is {self.q}: give a number between 0 and 1, as 0.9")

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the sum of the losses."""
        return self._pinball(xp, y - z)

    def error_count(self, xp: Any, y: Array) -> float:
        """Return the best constant's sum of losses; NaN if there is none, as D² is undefined."""
        # The q-quantile is one of the values: of n the ⌈n q⌉-th.
        rank = max(math.ceil(len(y) * self.q) - 1, 0)
        constant = xp.sort(y, axis=0)[rank]
        return float(self._pinball(xp, y - constant)) or float("nan")

    def _pinball(self, xp: Any, rest: Array) -> Array:
        """Σ ρ(rest), in float64."""
        terms = xp.maximum(rest * self.q, rest * (self.q - 1.0))
        return xp.sum(terms, axis=(-2, -1), dtype=np.float64)


def resolve(loss: str | Loss) -> Loss:
    """Return a loss, by its name or as it is.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in Loss.registry:
        known = ", ".join(Loss.registry)
        raise ValueError(
            f"loss is {loss!r}: give one of {known}, or an object such as MeanSquaredError()"
        )
    return Loss.registry[loss]()
