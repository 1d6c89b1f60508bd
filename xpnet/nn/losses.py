"""Losses: the value and its gradient together, computed from the network's output z (the logits).

Each is the mean over the examples of the sum over the outputs, as in the notes. A loss also knows
what goes with it: how labels are checked and stored, what z says about probabilities and classes,
and what counts as an error.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from .._typing import Array
from ..backends.activations import SIGMOID
from ..backends.reference import Kernels
from ..data.labels import is_numeric, is_whole, these_values
from ..registry import Registered, Registry, describe
from .layers import Allocator


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

    Attributes
    ----------
    name : str
        What a `Network` calls it; the class's name in lower case with underscores, if the class
        gives none.
    output_activation : str
        The layer type that may not come last, because the loss applies it itself.
    of_classes : bool
        Whether labels are classes, not values.

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

    def buffers(self, new: Allocator, n_outputs: int) -> SimpleNamespace:
        """Return the buffers for a batch: dz, the loss, and scratch."""
        return SimpleNamespace(
            dz=new.rows("dz", n_outputs),
            terms=new.rows("terms", n_outputs),
            row=new.rows("row", 1),
            other=new.rows("other", 1),
            loss=new.scalar("loss"),
        )

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
        self, k: Kernels, z: Array, y: Array, b: Any, example_weight: Array | None = None
    ) -> Array:
        """Write the loss to ``b.loss`` and its gradient to ``b.dz``; return the gradient.

        ``example_weight`` (n, 1) weighs the examples and adds up to 1; None: each by 1/n.
        """
        self.compute(k, z, y, 1.0 / z.shape[-2] if example_weight is None else example_weight, b)
        return b.dz

    @abstractmethod
    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: Any) -> None:
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
        b : SimpleNamespace
            What `buffers` returned: ``dz`` and ``terms`` have the shape of z, ``row`` and ``other``
            (…, n, 1), ``loss`` (…); what they held before is no matter. Neither z nor y may be
            written to.
        """

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
    """

    output_activation = "Softmax"

    def buffers(self, new: Allocator, n_outputs: int) -> SimpleNamespace:
        """Return the buffers for a batch."""
        found = super().buffers(new, n_outputs)
        found.classes = new.constant("classes", np.arange(n_outputs, dtype=np.int32))
        found.hot = new.rows("hot", n_outputs, np.bool_)
        return found

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
        k.softmax_cross_entropy(z, y, example_weight, b, b.dz, b.loss)

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

    output_activation = "Sigmoid"

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

    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: Any) -> None:
        """Write loss and gradient."""
        k.sigmoid_cross_entropy(z, y, example_weight, b, b.dz, b.loss)

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

    of_classes = False

    #: What (z − y)² is multiplied by.
    scale: ClassVar[float] = 1.0

    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: Any) -> None:
        """Write loss and gradient."""
        k.squared_error(z, y, example_weight, self.scale, b, b.dz, b.loss)

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

    scale = 0.5


@dataclass(frozen=True)
class PoissonDeviance(MeanSquaredError):
    """1/n Σ [exp(z) − yz + y log y − y] for counts y ≥ 0, half the mean Poisson deviance.

    The prediction is exp(z), the expected count; the gradient is (exp(z) − y) / n. The error is the
    share of variance that exp(z) leaves unexplained.
    """

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

    def compute(self, k: Kernels, z: Array, y: Array, example_weight: Any, b: Any) -> None:
        """Write loss and gradient."""
        k.poisson(z, y, example_weight, b, b.dz, b.loss)

    def decide(self, xp: Any, z: Array) -> Array:
        """Return exp(z)."""
        return xp.exp(z)

    def error_sum(self, xp: Any, z: Array, y: Array) -> Array:
        """Return the sum of squared errors of exp(z)."""
        return super().error_sum(xp, xp.exp(z), y)


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
