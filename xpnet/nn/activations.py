"""Activation functions as layers, each with its derivative (notes, chapter 2.2).

They write over their input where the layer before does not need it, and multiply the gradient in
place. All derivatives but softmax's are products with a diagonal (notes, lemma 2.2): these come
from the rows of `backends.activations`. Softmax's is the product with its full Jacobian, which is
never formed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from .._typing import NO_ARRAY, Array
from ..backends.activations import (
    NO_OPTION,
    NO_WORK,
    ROWS,
    ActivationSpec,
    ActivationWork,
    Row,
    activation_work,
    specify,
)
from ..backends.dense_stack import ACTIVATION, DenseStep
from ..backends.expressions import Program
from ..backends.reference import Kernels
from ..checks import check_fields
from .initializers import He, Initializer
from .layer import Allocator, B, Layer, LayerBuffers


@dataclass(eq=False)
class Activation(Layer[B]):
    """The base of the activations: ``backward`` computes from the layer's own output."""

    keeps_output: ClassVar[bool] = True
    of_input_alone: ClassVar[bool] = True

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it: Xavier."""
        return "xavier"


@dataclass
class ElementwiseBuffers(LayerBuffers):
    """An elementwise activation's buffers: ``kept`` is what its derivative is computed from."""

    work: ActivationWork = NO_WORK


@dataclass
class SoftmaxBuffers(LayerBuffers):
    """Softmax's buffers: one number for each example."""

    row: Array = NO_ARRAY


@dataclass(eq=False)
class Elementwise(Activation[ElementwiseBuffers]):
    """The base of the activations that are rows of the table, of which a class gives the name.

    The row's option, if it has one, is a field of the same name.
    """

    row_name: ClassVar[str]

    def __init_subclass__(cls, **options: object) -> None:
        """Let the row say whether the output is kept."""
        super().__init_subclass__(**options)
        if "row_name" in vars(cls):
            cls.keeps_output = ROWS[cls.row_name].derivative_from == "output"

    def __post_init__(self) -> None:
        check_fields(self)
        self._spec()  # refuses an option that is out of range

    @property
    def row(self) -> Row:
        """The row of the table."""
        return ROWS[self.row_name]

    def _spec(self) -> ActivationSpec:
        option = self.row.option
        given = {} if option is NO_OPTION else {option.name: getattr(self, option.name)}
        return specify(self.row.name, **given)

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it."""
        return self.row.initializer

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute along with its own output."""
        return self._spec()

    def dense_steps(self) -> Sequence[DenseStep] | None:
        """f(x)."""
        return [DenseStep(ACTIVATION, self.n_inputs, activation=self._spec())]

    def bind(self, kernels: Kernels) -> None:
        """Prepare what forward and backward tell the kernels."""
        super().bind(kernels)
        self._bound = self._spec()
        self._wants_input = self.row.derivative_from == "input"

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> ElementwiseBuffers:
        """Return y, over the input where that is free and not kept, and scratch."""
        spec, y = self._spec(), self.output(new, x, overwrite and not self._wants_input)
        return ElementwiseBuffers(y=y, kept=y, work=self._work(new, spec.forward, spec.backward))

    def inference_buffers(
        self, new: Allocator, x: Array | None, overwrite: bool
    ) -> ElementwiseBuffers:
        """Return y, over the input where that is free, and scratch."""
        y = self.output(new, x, overwrite)
        return ElementwiseBuffers(y=y, work=self._work(new, self._spec().forward))

    def _work(self, new: Allocator, *programs: Program) -> ActivationWork:
        return activation_work(lambda name, dtype: new.rows(name, self.n_inputs, dtype), *programs)

    def forward(self, x: Array, b: ElementwiseBuffers) -> Array:
        """f(x)."""
        if self._wants_input:
            b.kept = x
        self.kernels.activation(self._bound, x, b.y, b.work)
        return b.y

    def backward(self, dy: Array, b: ElementwiseBuffers) -> Array | None:
        """Dy · f'."""
        self.kernels.activation_backward(self._bound, b.kept, dy, b.work)
        return dy


@dataclass(eq=False)
class ReLU(Elementwise):
    """max(0, z) (notes, chapter 2.2.3).

    At z = 0, where there is no derivative, it is taken as 0, as in PyTorch; the notes take 1.
    """

    row_name: ClassVar[str] = "relu"


@dataclass(eq=False)
class LeakyReLU(Elementwise):
    """max(βz, z) (notes, chapter 2.2.3). At z = 0 the derivative is taken as β.

    Parameters
    ----------
    negative_slope : float
        β in [0, 1).

    Raises
    ------
    ValueError
        If negative_slope is not in [0, 1).

    Examples
    --------
    >>> LeakyReLU(0.2)
    LeakyReLU(negative_slope=0.2)
    """

    row_name: ClassVar[str] = "leaky_relu"

    negative_slope: float = ROWS["leaky_relu"].option.default

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit it: He's, with the slope."""
        return He(slope=self.negative_slope)


@dataclass(eq=False)
class Tanh(Elementwise):
    """tanh(z), tanh' = 1 − tanh² (notes, chapter 2.2.2)."""

    row_name: ClassVar[str] = "tanh"


@dataclass(eq=False)
class Sigmoid(Elementwise):
    """σ(z) = 1 / (1 + exp(−z)), σ' = σ(1 − σ) (notes, chapter 2.2.1). Never overflows."""

    row_name: ClassVar[str] = "sigmoid"


@dataclass(eq=False)
class GELU(Elementwise):
    """z Φ(z), with the normal distribution's Φ(z) = (1 + erf(z/√2)) / 2.

    Hendrycks & Gimpel, "Gaussian error linear units (GELUs)", 2016, arXiv:1606.08415.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh": Φ(z) ≈ (1 + tanh(√(2/π) (z + 0.044715 z³))) / 2, the paper's section 2, which is
        faster on a CPU. The names are PyTorch's.

    Raises
    ------
    ValueError
        If approximate is neither.

    Examples
    --------
    >>> GELU(approximate="tanh")
    GELU(approximate='tanh')
    """

    row_name: ClassVar[str] = "gelu"

    approximate: str = "none"

    def __post_init__(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is {self.approximate!r}: give 'none' or 'tanh'")
        super().__post_init__()

    @property
    def row(self) -> Row:
        """The row of the table."""
        return ROWS["gelu_tanh" if self.approximate == "tanh" else "gelu"]


@dataclass(eq=False)
class SiLU(Elementwise):
    """z σ(z), also called swish.

    Elfwing, Uchibe & Doya, "Sigmoid-weighted linear units for neural network function approximation
    in reinforcement learning", Neural Networks 107, 2018, arXiv:1702.03118.
    """

    row_name: ClassVar[str] = "silu"


@dataclass(eq=False)
class Mish(Elementwise):
    """z tanh(log(1 + exp(z))).

    Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020,
    arXiv:1908.08681. It is computed as z n / (n + 2) with n = w (w + 2) and w = exp(z).
    """

    row_name: ClassVar[str] = "mish"


@dataclass(eq=False)
class ELU(Elementwise):
    """Z above 0, α (exp(z) − 1) below.

    Clevert, Unterthiner & Hochreiter, "Fast and accurate deep network learning by exponential
    linear units (ELUs)", ICLR 2016, arXiv:1511.07289. At z = 0 the derivative is taken as α.

    Parameters
    ----------
    alpha : float
        α, finite and above 0.

    Raises
    ------
    ValueError
        If alpha is not.

    Examples
    --------
    >>> ELU(0.5)
    ELU(alpha=0.5)
    """

    row_name: ClassVar[str] = "elu"

    alpha: float = ROWS["elu"].option.default


@dataclass(eq=False)
class SELU(Elementwise):
    """λz above 0, λα (exp(z) − 1) below, with λ = 1.0507… and α = 1.6732….

    Klambauer, Unterthiner, Mayr & Hochreiter, "Self-normalizing neural networks", NeurIPS 2017,
    arXiv:1706.02515: behind LeCun's initial weights, which "auto" gives, outputs tend to mean 0 and
    variance 1.
    """

    row_name: ClassVar[str] = "selu"


@dataclass(eq=False)
class Softplus(Elementwise):
    """log(1 + exp(z)), a smooth ReLU; its derivative is σ(z) = 1 − exp(−y).

    Dugas, Bengio, Bélisle, Nadeau & Garcia, "Incorporating second-order functional knowledge for
    better option pricing", NIPS 2000.
    """

    row_name: ClassVar[str] = "softplus"


@dataclass(eq=False)
class SmoothClip(Elementwise):
    """z / √(1 + (z / c)²): nearly z where |z| is small beside c, and never beyond ±c.

    So do Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024, with inputs that
    they have scaled, for outliers to lie near ±3 whatever they were. Before them: the inverse
    square root unit of Carlile, Delamarter, Kinney, Marti & Whitney, 2017, arXiv:1710.09967. With
    t = y / c the derivative is (1 − t²)^(3/2).

    Parameters
    ----------
    limit : float
        c, finite and above 0.

    Raises
    ------
    ValueError
        If limit is not.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> net = xn.Network([xn.SmoothClip(), xn.Linear(1)], loss="mean_squared_error", n_features=3,
    ...                  device="cpu")
    >>> net.activations(np.array([[0.1, -4.0, 1e30]]), layers=[0])[0].round(3)
    array([[ 0.1, -2.4,  3. ]], dtype=float32)
    """

    row_name: ClassVar[str] = "smooth_clip"

    limit: float = ROWS["smooth_clip"].option.default


@dataclass(eq=False)
class Softmax(Activation[SoftmaxBuffers]):
    """exp(z) / Σ exp(z) over the features (notes, chapter 2.2.4).

    Its Jacobian is Sⁱ(δᵢⱼ − Sʲ), with a minus where the notes' last line has a plus. For
    classification put no softmax at the end: the loss "softmax_cross_entropy" has its own.
    """

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SoftmaxBuffers:
        """Return y, scratch, and one number for each example."""
        y, scratch = self.output(new, x, overwrite), new.rows("scratch", self.n_inputs)
        return SoftmaxBuffers(y=y, scratch=scratch, row=new.rows("row", 1))

    def forward(self, x: Array, b: SoftmaxBuffers) -> Array:
        """softmax(x)."""
        self.kernels.softmax(x, b.row, b.y)
        return b.y

    def backward(self, dy: Array, b: SoftmaxBuffers) -> Array | None:
        """Y · (dy − ⟨dy, y⟩): the Jacobian times dy, without the m × m matrix."""
        self.kernels.softmax_backward(b.y, dy, b.row, b.scratch)
        return dy


_MADE: dict[str, Callable[[], Activation]] = {
    **{kind.row_name: kind for kind in Elementwise.__subclasses__()},
    "gelu_tanh": partial(GELU, approximate="tanh"),
}

#: What makes the activations, by the names that the command line and model files use.
ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    **{name: _MADE[name] for name in ROWS if name in _MADE},
    "softmax": Softmax,
}
