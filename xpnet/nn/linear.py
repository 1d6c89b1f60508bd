"""The affine layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray, Tree
from ..backends.dense_stack import PRODUCT, DenseStep
from ..backends.reference import Kernels
from ..checks import check_count, check_not_negative
from . import initializers
from .initializers import Initializer
from .layer import Allocator, Layer, LayerBuffers

#: Options that files of before don't have, and what they are then.
USUAL: Final = {"parametrization": "standard", "bias_std": 0.0}


@dataclass
class LinearBuffers(LayerBuffers):
    """A linear layer's buffers: x is the input, by reference; dx the gradient, if it is needed."""

    x: Array = NO_ARRAY
    dx: Array | None = None


@dataclass(eq=False)
class Linear(Layer[LinearBuffers]):
    """An affine layer: Z = X Wᵀ + b (notes, chapters 1 to 3).

    Parameters
    ----------
    n_outputs : int
        Number of outputs m_l.
    bias : bool or None
        Whether there is a b. None: yes, unless batch norm follows, whose β takes its place
        (notes, chapter 9).
    init : str or Initializer
        "he", "xavier", "lecun", "normal", "zeros", or an initialiser such as ``Normal(0.1)``.
        "auto": what suits the activation that follows, He for a ReLU, else Xavier; LeCun with
        "ntk".
    parametrization : {"standard", "ntk"}
        What an optimiser updates: W, or θ = √m_in W, the neural tangent kernel's parametrisation
        (Jacot, Gabriel & Hongler, NeurIPS 2018). Initial θ are from N(0, 1), and Z = X θᵀ/√m_in + b
        changes by as much at a rate whatever the layer's width.
    bias_std : float
        σ, 0 or more: initial biases are from N(0, σ²). RealMLP's have σ = 1.

    Raises
    ------
    TypeError, ValueError
        If n_outputs is no whole number or less than 1, bias_std negative or no number, or bias,
        init or parametrization is not known.

    Notes
    -----
    The network holds W and computes with W in either parametrisation; so ``init``, L2 and
    ``clip_norm`` are of W, and so are files. With s = 1/√m_in the update alone takes s ∂/∂W for the
    gradient ∂/∂θ, and W ← W + s Δθ: to SGD that is a rate times s², to Adam about one times s.
    Decoupled weight decay is the same of W as of θ.

    Examples
    --------
    >>> Linear(3)
    Linear(n_outputs=3, bias=None, init='auto')

    The last layer as in RealMLP (Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024):

    >>> Linear(3, init="zeros", parametrization="ntk")
    Linear(n_outputs=3, bias=None, init=Zeros(), parametrization='ntk')
    """

    takes_shared_input: ClassVar[bool] = True
    proportional_to: ClassVar[tuple[str, ...]] = ("weight", "bias")

    n_outputs: int
    bias: bool | None = None
    init: str | Initializer = "auto"
    parametrization: Literal["standard", "ntk"] = "standard"
    bias_std: float = 0.0

    def __post_init__(self) -> None:
        self.n_outputs = check_count(self.n_outputs, "n_outputs")
        if self.bias is not None and not isinstance(self.bias, (bool, np.bool_)):
            raise TypeError(f"bias is {self.bias!r}: give True, False or None")
        if not (isinstance(self.init, str) and self.init == "auto"):
            self.init = initializers.resolve(self.init)
        if self.parametrization not in ("standard", "ntk"):
            raise ValueError(
                f"parametrization is {self.parametrization!r}: give 'standard' or 'ntk'"
            )
        self.bias_std = check_not_negative(self.bias_std, "bias_std")

    def __repr__(self) -> str:
        own = {name: getattr(self, name) for name in USUAL}
        more = "".join(f", {k}={value!r}" for k, value in own.items() if value != USUAL[k])
        return f"Linear(n_outputs={self.n_outputs}, bias={self.bias}, init={self.init!r}{more})"

    def config(self) -> Tree:
        """Return type and options; what is usual goes without saying, as in old files.

        Raises
        ------
        TypeError
            If a file can't hold an option.
        """
        told = super().config().items()
        return {k: value for k, value in told if k not in USUAL or value != USUAL[k]}

    @property
    def suits(self) -> str | Initializer | None:
        """A linear layer right behind another one: Xavier."""
        return "xavier"

    @property
    def fuses_activation(self) -> bool:
        """With a bias it can: that is the pass in which it is computed."""
        return bool(self.bias)

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs."""
        super().build(index, n_inputs, following)
        if self.bias is None:
            self.bias = not (following and following[0].absorbs_bias)
        if self.init == "auto":
            suits = next((f.suits for f in following if f.suits is not None), "xavier")
            self.init = initializers.resolve("lecun" if self.parametrization == "ntk" else suits)
        return self.n_outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return W's shape."""
        return {"weight": (self.n_outputs, self.n_inputs)}

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return b's shape."""
        return {"bias": (self.n_outputs,)} if self.bias else {}

    def update_scales(self) -> dict[str, float]:
        """Return 1/√m_in for W = θ/√m_in, if θ is what is updated."""
        return {} if self.parametrization == "standard" else {"weight": self.n_inputs**-0.5}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return initial weights, or biases, which have a stream of their own."""
        if name == "bias":
            if not self.bias_std:
                return 0.0
            (own,) = generator.spawn(1)
            return self.bias_std * own.standard_normal(self.n_outputs)
        return initializers.resolve(self.init).draw(generator, self.n_inputs, self.n_outputs)

    def check_initial(self) -> None:
        """Raise an error if initial weights can't be drawn."""
        initializers.check_scale(self.init, self.n_inputs, self.n_outputs)

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        self._weight = self.parameters["weight"]
        self._weight_t = self._weight.swapaxes(-1, -2)
        self._bias = self.parameters["bias"][..., None, :] if self.bias else None
        self._d_weight = self.gradients["weight"]
        self._d_bias = self.gradients["bias"][..., None, :] if self.bias else None

    def dense_steps(self) -> Sequence[DenseStep] | None:
        """X Wᵀ + b."""
        names = ("weight", "bias") if self.bias else ("weight",)
        return [DenseStep(PRODUCT, self.n_outputs, names)]

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> LinearBuffers:
        """Return y, and dx if it is needed; the input is kept by reference."""
        dx = new.rows("dx", self.n_inputs) if needs_dx else None
        return LinearBuffers(y=new.rows("y", self.n_outputs), dx=dx)

    def forward(self, x: Array, b: LinearBuffers) -> Array:
        """f(X Wᵀ + b), where f is the activation that the network fused with the layer, if any."""
        b.x = x
        self.kernels.linear(x, self._weight_t, self._bias, b.y, b.activation, b.z)
        return b.y

    def backward(self, dy: Array, b: LinearBuffers) -> Array | None:
        """δ = dy · f', ∂W = δᵀ X, ∂b = Σ δ, ∂X = δ W."""
        self.kernels.linear_backward(
            dy, b.kept, b.x, self._weight, self._d_weight, self._d_bias, b.dx, b.activation
        )
        return b.dx
