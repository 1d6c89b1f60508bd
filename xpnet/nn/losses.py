"""Losses: the value and its gradient together, computed from the network's output z (the logits).

Each is the mean over the examples of the sum over the outputs, as in the notes. A loss also knows
what goes with it: how labels are checked and stored, what z says about probabilities and classes,
and what counts as an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._typing import Array, DType, HostArray, Namespace
from ..backends.activations import SIGMOID
from ..backends.reference import Kernels
from ..backends.work import SoftmaxBuffers
from ..checks import Numbers, check_positive, each
from ..data.labels import is_numeric, is_whole
from .layer import Allocator
from .loss import Loss


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """−1/n Σ log softmax(z)_y for classes 0 … m−1 (notes, chapters 2.2.4 and 3).

    Its gradient is (softmax(z) − onehot(y)) / n. It is computed from z by way of
    log Σ exp(z − max z): finite unless logits differ by more than the largest number there is.

    With label smoothing ε (Szegedy et al., CVPR 2016, as in PyTorch) it is −1/n Σ t log softmax(z)
    with t = (1 − ε) onehot(y) + ε/m, and the gradient (softmax(z) − t) / n.

    Parameters
    ----------
    label_smoothing : float, or sequence of float
        ε in [0, 1). Several: one for each member.

    Examples
    --------
    >>> SoftmaxCrossEntropy(label_smoothing=0.1)
    SoftmaxCrossEntropy(label_smoothing=0.1)
    """

    label_smoothing: Numbers = 0.0

    output_activation: ClassVar[str] = "Softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= smoothing < 1 for smoothing in each(self.label_smoothing)):
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

    def target_dtype(self, dtype: DType) -> DType:
        """Return int32."""
        return np.dtype(np.int32)

    def targets(self, y: HostArray, n_outputs: int, dtype: DType, name: str = "y") -> HostArray:
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

    def compute(  # type: ignore[override]  # the buffers are its own
        self, k: Kernels, z: Array, y: Array, example_weight: Array | float, b: SoftmaxBuffers
    ) -> None:
        """Write loss and gradient."""
        smoothing = self.label_smoothing  # for members an array, where each has its own
        k.softmax_cross_entropy(z, y, example_weight, b, b.dz, b.loss, smoothing)

    def probabilities(self, k: Kernels, z: Array) -> Array:
        """softmax(z), in place."""
        k.softmax(z, k.xp.empty((*z.shape[:-1], 1), z.dtype), z)
        return z

    def average(self, xp: Namespace, z: Array) -> Array:
        """Return log of the mean of softmax(z)."""
        z = z - xp.max(z, axis=-1, keepdims=True)
        z = z - xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True))
        return _log_mean_exp(xp, z)

    def decide(self, xp: Namespace, z: Array) -> Array:
        """Return the class with the largest logit."""
        return xp.argmax(z, axis=-1)

    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
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

    def targets(self, y: HostArray, n_outputs: int, dtype: DType, name: str = "y") -> HostArray:
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

    def average(self, xp: Namespace, z: Array) -> Array:
        """Return log p − log(1 − p) of the mean p of σ(z)."""
        log_p = xp.minimum(z, 0.0) - xp.log1p(xp.exp(-abs(z)))  # and log σ(−z) = log σ(z) − z
        return _log_mean_exp(xp, log_p) - _log_mean_exp(xp, log_p - z)

    def decide(self, xp: Namespace, z: Array) -> Array:
        """Return 1 where σ(z) ≥ 1/2, that is z ≥ 0, else 0."""
        return (z >= 0).astype(np.int64)

    def choose(self, xp: Namespace, p: Array) -> Array:
        """Return 1 where p ≥ 1/2, else 0."""
        return (p >= 0.5).astype(np.int64)

    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
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

    def decide(self, xp: Namespace, z: Array) -> Array:
        """Return z."""
        return z

    def outputs_for(self, xp: Namespace, values: Array) -> Array:
        """Return the values."""
        return values

    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
        """Return the sum of squared errors."""
        return xp.sum(xp.square(z - y, dtype=np.float64), axis=(-2, -1))

    def error_count(self, xp: Namespace, y: Array) -> float:
        """Return the sum of squares around the mean; NaN if there is none, as R² is undefined."""
        # Of values that are all the same the differences are 0, and those from their mean, which is
        # rounded, may not be.
        rest = xp.subtract(y, y[:1], dtype=np.float64)
        return float(xp.sum(xp.square(rest - xp.mean(rest, axis=0)))) or float("nan")


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

    def targets(self, y: HostArray, n_outputs: int, dtype: DType, name: str = "y") -> HostArray:
        """Check that values are 0 or more."""
        rows = super().targets(y, n_outputs, dtype, name)
        if (rows < 0).any():
            raise ValueError(
                f"{name} has {int((rows < 0).sum())} values below 0: {self.name} needs counts or "
                "rates, 0 or more"
            )
        return rows

    def decide(self, xp: Namespace, z: Array) -> Array:
        """Return exp(z)."""
        return xp.exp(z)

    def outputs_for(self, xp: Namespace, values: Array) -> Array:
        """Return the logarithm of values, −∞ for 0."""
        with np.errstate(divide="ignore"):
            return xp.log(values)

    def average(self, xp: Namespace, z: Array) -> Array:
        """Return log of the mean of exp(z)."""
        return _log_mean_exp(xp, z)

    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
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

    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
        """Return the sum of the losses."""
        return self._pinball(xp, y - z)

    def error_count(self, xp: Namespace, y: Array) -> float:
        """Return the best constant's sum of losses; NaN if there is none, as D² is undefined."""
        # The q-quantile is one of the values: of n the ⌈n q⌉-th.
        rank = max(math.ceil(len(y) * self.q) - 1, 0)
        constant = xp.sort(y, axis=0)[rank]
        return float(self._pinball(xp, y - constant)) or float("nan")

    def _pinball(self, xp: Namespace, rest: Array) -> Array:
        """Σ ρ(rest), in float64."""
        terms = xp.maximum(rest * self.q, rest * (self.q - 1.0))
        return xp.sum(terms, axis=(-2, -1), dtype=np.float64)


def _log_mean_exp(xp: Namespace, a: Array) -> Array:
    """Return log of the mean of exp(a) over the members, (…, k, n, m) to (…, n, m)."""
    largest = xp.max(a, axis=-3, keepdims=True)
    return xp.log(xp.mean(xp.exp(a - largest), axis=-3)) + largest[..., 0, :, :]


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
