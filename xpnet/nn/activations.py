"""Activation functions as layers, each with its derivative (notes, chapter 2.2).

They write over their input where the layer before does not need it, and turn the gradient in
place. All derivatives but softmax's are products with a diagonal (notes, lemma 2.2); softmax's is
the product with its full Jacobian, never formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from .._typing import Array
from ..backends.reference import ActivationSpec
from ..checks import check_fields
from .initializers import He, Initializer
from .layers import Allocator, Layer


@dataclass(eq=False)
class Activation(Layer):
    """The base of the activations: ``backward`` computes from the layer's own output."""

    keeps_output: ClassVar[bool] = True

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it: Xavier."""
        return "xavier"


@dataclass(eq=False)
class Sigmoid(Activation):
    """σ(z) = 1 / (1 + exp(−z)), σ' = σ(1 − σ) (notes, chapter 2.2.1). Never overflows."""

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute along with its own output."""
        return ActivationSpec("sigmoid")

    def forward(self, x: Array, b: Any) -> Array:
        """σ(x)."""
        self.kernels.sigmoid(x, b.y)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Dy · σ(1 − σ)."""
        self.kernels.sigmoid_backward(b.y, dy, b.scratch)
        return dy


@dataclass(eq=False)
class Tanh(Activation):
    """tanh(z), tanh' = 1 − tanh² (notes, chapter 2.2.2)."""

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute along with its own output."""
        return ActivationSpec("tanh")

    def forward(self, x: Array, b: Any) -> Array:
        """tanh(x)."""
        self.kernels.tanh(x, b.y)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Dy · (1 − tanh²)."""
        self.kernels.tanh_backward(b.y, dy, b.scratch)
        return dy


@dataclass(eq=False)
class ReLU(Activation):
    """max(0, z) (notes, chapter 2.2.3).

    At z = 0, where there is no derivative, it is taken as 0, as in PyTorch; the notes take 1.
    """

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it: He."""
        return He()

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute along with its own output."""
        return ActivationSpec("relu")

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y and where y is positive."""
        y = x if overwrite else new.rows("y", self.n_inputs)
        return SimpleNamespace(y=y, positive=new.rows("positive", self.n_inputs, np.bool_))

    def forward(self, x: Array, b: Any) -> Array:
        """max(0, x)."""
        self.kernels.relu(x, b.y)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Dy where y > 0, else 0."""
        self.kernels.relu_backward(b.y, dy, b.positive)
        return dy


@dataclass(eq=False)
class LeakyReLU(Activation):
    """max(βz, z) (notes, chapter 2.2.3). At z = 0 the derivative is taken as β.

    Parameters
    ----------
    negative_slope : float
        β in [0, 1).

    Raises
    ------
    ValueError
        If negative_slope is not in [0, 1).
    """

    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.negative_slope < 1:
            raise ValueError(f"negative_slope is {self.negative_slope}: give a number in [0, 1)")

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it: He's, with the slope."""
        return He(slope=self.negative_slope)

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute along with its own output."""
        return ActivationSpec("leaky_relu", self.negative_slope)

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y, where y is positive, and scratch."""
        b = super().buffers(new, x, overwrite, needs_dx)
        b.positive = new.rows("positive", self.n_inputs, np.bool_)
        return b

    def forward(self, x: Array, b: Any) -> Array:
        """max(βx, x)."""
        self.kernels.leaky_relu(x, self.negative_slope, b.scratch, b.y)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Dy where y > 0, else β dy."""
        self.kernels.leaky_relu_backward(b.y, dy, self.negative_slope, b.positive, b.scratch)
        return dy


@dataclass(eq=False)
class Softmax(Activation):
    """exp(z) / Σ exp(z) over the features (notes, chapter 2.2.4).

    Its Jacobian is Sⁱ(δᵢⱼ − Sʲ), with a minus where the notes' last line has a plus. For
    classification put no softmax at the end: the loss "softmax_cross_entropy" has its own.
    """

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y, scratch, and one number for each example."""
        b = super().buffers(new, x, overwrite, needs_dx)
        b.row = new.rows("row", 1)
        return b

    def forward(self, x: Array, b: Any) -> Array:
        """softmax(x)."""
        self.kernels.softmax(x, b.row, b.y)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Y · (dy − ⟨dy, y⟩): the Jacobian times dy, without the m × m matrix."""
        self.kernels.softmax_backward(b.y, dy, b.row, b.scratch)
        return dy


#: Activations by the names that the command line and model files use.
ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
}
