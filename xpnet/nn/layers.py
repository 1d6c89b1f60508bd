"""Layers: what a network is stacked from.

A layer that a user writes, ``Linear(512)``, is a description. A `Network` copies it, tells it its
number of inputs (`Layer.build`), hands it views of its flat buffers (`Layer.parameters`,
`Layer.gradients`, `Layer.statistics`), and asks it for buffers for a batch size (`Layer.buffers`).
From then on ``forward`` and ``backward`` write into those buffers and allocate nothing.

The contract, for whoever adds a layer:

- ``forward(x, b)`` returns the output; ``infer(x, b)`` is its counterpart for prediction; ``b`` are
  the layer's own buffers, and ``backward`` reads only what ``forward`` left in them.
- ``backward(dy, b)`` overwrites the layer's gradients and returns the gradient with respect to the
  input, or None where nobody needs it. It may use up ``dy``.
- A layer with an ``activation`` is elementwise; the layer before it may compute it, if that
  ``fuses_activation``: it then finds it as ``b.activation`` in its buffers, which is `IDENTITY`
  otherwise. The same goes for a layer with a ``mask``, dropout, behind a ReLU. Where the
  activation's derivative is computed from its input, ``forward`` writes that to ``b.z``, which is
  None otherwise; ``b.kept`` is what ``backward`` gives the kernels: ``b.z`` or ``b.y``.
- A layer may keep its input by reference, as Linear does: of the layers behind the one that wrote
  it only the next one may write over it.
- What its constructor takes is fixed once it is in a network.
- Arrays have shape (…, examples, features): axes before the last two are free.
- Values follow the notes with examples in rows: Z = X Wᵀ + b, W of shape (outputs, inputs).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from .._typing import Array
from ..backends.activations import ActivationSpec, Mask
from ..backends.reference import Kernels, dropout_work
from ..checks import check_count, check_fields, check_positive
from ..randomness import GAMMA, Purpose, word
from ..registry import Registered, Registry, describe
from . import initializers
from .initializers import Initializer

Fill: TypeAlias = Callable[[tuple[int, ...]], "np.ndarray[Any, Any]"]


class Allocator(Protocol):
    """Hands a layer static arrays for n examples; a short batch gets the first rows of them."""

    n: int

    def rows(self, name: str, width: int, dtype: Any = None, fill: Fill | None = None) -> Array:
        """Return an array (…, n, width). ``fill(shape)`` gives its first content, on the host."""

    def row(self, name: str, width: int) -> Array:
        """Return an array (…, 1, width)."""

    def scalar(self, name: str) -> Array:
        """Return an array (…)."""

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> Array:
        """Return a host array's copy on the device."""


@dataclass(eq=False)
class Layer(Registered):
    """The base of all layers: a function of its input without parameters.

    A subclass, a dataclass of its options, gives `forward` and `backward`; the module's docstring
    has the contract. Model files know it by its class's name, wherever it has been defined.

    Attributes
    ----------
    keeps_output : bool
        Whether ``backward`` reads the layer's own output: the next layer may not write over it.
    absorbs_bias : bool
        Whether a bias in the linear layer before it would be idle.
    min_batch : int
        The fewest examples that a training batch may have.

    Raises
    ------
    TypeError
        When a class is defined: if the library has a layer of its name, or it has an ``__init__``.

    Examples
    --------
    A layer of one's own, y = x + a sin x. What ``backward`` needs, ``forward`` leaves in buffers of
    its own; the array ``b.y`` may not be x, which ``backward`` reads:

    >>> import os, tempfile
    >>> import numpy as np, xpnet as xn
    >>> @dataclass(eq=False)
    ... class Ripple(xn.Layer):
    ...     height: float = 0.5
    ...     def buffers(self, new, x, overwrite, needs_dx):
    ...         return SimpleNamespace(y=new.rows("y", self.n_inputs),
    ...                                slope=new.rows("slope", self.n_inputs))
    ...     def forward(self, x, b):
    ...         xp = self.kernels.xp
    ...         xp.cos(x, out=b.slope)
    ...         xp.multiply(b.slope, self.height, out=b.slope)
    ...         xp.add(b.slope, 1.0, out=b.slope)
    ...         xp.sin(x, out=b.y)
    ...         xp.multiply(b.y, self.height, out=b.y)
    ...         xp.add(b.y, x, out=b.y)
    ...         return b.y
    ...     def backward(self, dy, b):
    ...         self.kernels.xp.multiply(dy, b.slope, out=dy)
    ...         return dy
    >>> net = xn.Network([xn.Linear(8), Ripple(0.3), xn.Linear(1)], loss="mean_squared_error",
    ...                  n_features=3, device="cpu", dtype="float64")
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> xn.check_gradients(net, X[:5], y[:5]) < 1e-7
    True
    >>> history = xn.Trainer(net, xn.Adam(0.01)).fit(X, y, batch_size=20, epochs=20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.safetensors"))
    ...     again = xn.load(os.path.join(folder, "net.safetensors"), device="cpu")
    >>> again.layers[1], bool((again.predict(X) == net.predict(X)).all())
    (Ripple(height=0.3), True)
    """

    registry: ClassVar[Registry[Layer]] = Registry("layer")

    keeps_output: ClassVar[bool] = False
    absorbs_bias: ClassVar[bool] = False
    min_batch: ClassVar[int] = 1

    index: int = field(init=False, repr=False, default=0)
    n_inputs: int = field(init=False, repr=False, default=0)
    kernels: Kernels = field(init=False, repr=False)
    parameters: dict[str, Array] = field(init=False, repr=False, default_factory=dict)
    gradients: dict[str, Array] = field(init=False, repr=False, default_factory=dict)
    statistics: dict[str, Array] = field(init=False, repr=False, default_factory=dict)

    @property
    def suits(self) -> str | Initializer | None:
        """The initial weights that suit the linear layer before this one; None: ask the next."""
        return None

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a class with a rule of its own be fused with another layer only if it says so.

        It says so where it defines the rule, or nearer: not by what a class further up says of
        another rule.
        """
        super().__init_subclass__(**options)
        rule = min(_distance(cls, name) for name in ("forward", "infer", "backward"))
        for name in ("activation", "fuses_activation", "mask"):
            if rule < _distance(cls, name):
                setattr(cls, name, vars(Layer)[name])

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change a setting once the layer is at work: buffers and graphs hold it."""
        if "kernels" in vars(self) and name in {f.name for f in fields(self) if f.init}:
            raise AttributeError(
                f"{name} of a {type(self).__name__} can't be changed within a network: "
                "build another network, and give its load_state this one's state()"
            )
        super().__setattr__(name, value)

    @property
    def activation(self) -> ActivationSpec | None:
        """What the layer before may compute in this one's place: an elementwise activation."""
        return None

    @property
    def mask(self) -> Mask | None:
        """What a layer before may drop in this one's place, if it computes a ReLU."""
        return None

    @property
    def fuses_activation(self) -> bool:
        """Whether the layer can compute the activation behind it along with its own output.

        Its buffers then tell it the ``activation``.
        """
        return False

    def config(self) -> dict[str, Any]:
        """Return the layer as JSON-ready data: its type and its options.

        Raises
        ------
        TypeError
            If a file can't hold an option.
        """
        return describe(self)

    def connect(self, seed: int, key: Array) -> None:
        """Learn the run's seed, and the array that holds the key of the step: for random layers."""

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs."""
        self.index, self.n_inputs = index, n_inputs
        return n_inputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of each parameter that weight decay applies to."""
        return {}

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of each other parameter."""
        return {}

    def statistic_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of each array that is kept but not trained."""
        return {}

    def initial(self, name: str, generator: np.random.Generator) -> Any:
        """Return the initial value of a parameter or statistic: a host array or a number."""
        return 0.0

    def bind(self, kernels: Kernels) -> None:
        """Prepare for running, once the flat buffers' views are in place."""
        self.kernels = kernels

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return the buffers for a training step on ``new.n`` examples.

        Parameters
        ----------
        new : Allocator
            Where arrays come from.
        x : array or None
            The array that the layer before writes its output into.
        overwrite : bool
            Whether the layer may write over x: nobody else reads it again.
        needs_dx : bool
            Whether anybody reads the gradient with respect to the input.
        """
        y = x if overwrite else new.rows("y", self.n_inputs)
        return SimpleNamespace(y=y, scratch=new.rows("scratch", self.n_inputs))

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> Any:
        """Return the buffers for predicting ``new.n`` examples."""
        return self.buffers(new, x, overwrite, needs_dx=False)

    @abstractmethod
    def forward(self, x: Array, b: Any) -> Array:
        """Return the output for a batch, as in training."""

    def infer(self, x: Array, b: Any) -> Array:
        """Return the output for a batch, as in prediction."""
        return self.forward(x, b)

    @abstractmethod
    def backward(self, dy: Array, b: Any) -> Array | None:
        """Write the gradients and return the one with respect to the input."""


def _distance(cls: type, name: str) -> int:
    """Return how far up, in the order in which Python looks, a class has a name from."""
    return next(i for i, owner in enumerate(cls.__mro__) if name in vars(owner))


@dataclass(eq=False)
class Linear(Layer):
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
        "auto": what suits the activation that follows, He for a ReLU, else Xavier. Biases start
        at zero.

    Raises
    ------
    TypeError, ValueError
        If n_outputs is no whole number or less than 1, or bias or init is not known.

    Examples
    --------
    >>> Linear(3)
    Linear(n_outputs=3, bias=None, init='auto')
    """

    n_outputs: int
    bias: bool | None = None
    init: str | Initializer = "auto"

    def __post_init__(self) -> None:
        self.n_outputs = check_count(self.n_outputs, "n_outputs")
        if self.bias is not None and not isinstance(self.bias, (bool, np.bool_)):
            raise TypeError(f"bias is {self.bias!r}: give True, False or None")
        if not (isinstance(self.init, str) and self.init == "auto"):
            self.init = initializers.resolve(self.init)

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
            self.init = initializers.resolve(suits)
        return self.n_outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return W's shape."""
        return {"weight": (self.n_outputs, self.n_inputs)}

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return b's shape."""
        return {"bias": (self.n_outputs,)} if self.bias else {}

    def initial(self, name: str, generator: np.random.Generator) -> Any:
        """Return initial weights; biases start at zero."""
        if name == "bias":
            return 0.0
        return initializers.resolve(self.init).draw(generator, self.n_inputs, self.n_outputs)

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        self._weight = self.parameters["weight"]
        self._weight_t = self._weight.swapaxes(-1, -2)
        self._bias = self.parameters["bias"][..., None, :] if self.bias else None
        self._d_weight = self.gradients["weight"]
        self._d_bias = self.gradients["bias"][..., None, :] if self.bias else None

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y, and dx if it is needed; the input is kept by reference."""
        return SimpleNamespace(
            x=None,
            y=new.rows("y", self.n_outputs),
            dx=new.rows("dx", self.n_inputs) if needs_dx else None,
        )

    def forward(self, x: Array, b: Any) -> Array:
        """f(X Wᵀ + b), where f is the activation that the network fused with the layer, if any."""
        b.x = x
        self.kernels.linear(x, self._weight_t, self._bias, b.y, b.activation, b.z)
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """δ = dy · f', ∂W = δᵀ X, ∂b = Σ δ, ∂X = δ W."""
        self.kernels.linear_backward(
            dy, b.kept, b.x, self._weight, self._d_weight, self._d_bias, b.dx, b.activation
        )
        return b.dx


@dataclass(eq=False)
class BatchNorm(Layer):
    """Batch normalisation: γ (x − μ) / √(σ² + ε) + β, per feature (notes, chapter 9).

    In training μ and σ² are the batch's own; in prediction they are running averages. The backward
    pass is the notes' lemma 9.2 with its indices put right: per feature,
    ∂x̂_a/∂x_b = (δ_ab − 1/n − x̂_a x̂_b / n) / √(σ² + ε). After Ioffe & Szegedy, "Batch
    normalization", ICML 2015; the running variance is the unbiased one, as there and in PyTorch.

    Parameters
    ----------
    momentum : float
        The fraction in (0, 1] of the running averages that each batch replaces, as in PyTorch
        (Keras gives the fraction that stays).
    eps : float
        ε, above 0.

    Raises
    ------
    ValueError
        If momentum or eps is out of range.
    """

    absorbs_bias: ClassVar[bool] = True
    min_batch: ClassVar[int] = 2

    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}: give a number in (0, 1]")
        check_positive(self.eps, "eps")

    @property
    def fuses_activation(self) -> bool:
        """It can."""
        return True

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of γ and β, under PyTorch's names."""
        return {"weight": (self.n_inputs,), "bias": (self.n_inputs,)}

    def statistic_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the running averages, under PyTorch's names."""
        return {"running_mean": (self.n_inputs,), "running_var": (self.n_inputs,)}

    def initial(self, name: str, generator: np.random.Generator) -> Any:
        """Return 1 for γ and the running variance, 0 for β and the running mean."""
        return 1.0 if name in ("weight", "running_var") else 0.0

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        self._gamma, self._beta, self._d_gamma, self._d_beta, self._mean, self._variance = (
            array[..., None, :]
            for array in (
                self.parameters["weight"],
                self.parameters["bias"],
                self.gradients["weight"],
                self.gradients["bias"],
                self.statistics["running_mean"],
                self.statistics["running_var"],
            )
        )

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y, x̂ (over the input where that is free), dx, and rows for the statistics."""
        m = self.n_inputs
        return SimpleNamespace(
            y=new.rows("y", m),
            x_hat=x if overwrite else new.rows("x_hat", m),
            dx=new.rows("dx", m),
            mean=new.row("mean", m),
            variance=new.row("variance", m),
            inverse_deviation=new.row("inverse_deviation", m),
            row=new.row("row", m),
            unbiased=new.n / max(new.n - 1, 1),
        )

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> Any:
        """Return y (over the input where that is free) and a row."""
        y = x if overwrite else new.rows("y", self.n_inputs)
        return SimpleNamespace(y=y, row=new.row("row", self.n_inputs))

    def forward(self, x: Array, b: Any) -> Array:
        """Normalise with the batch's statistics and take them into the running averages."""
        k = self.kernels
        k.batch_norm(
            x,
            self._gamma,
            self._beta,
            self.eps,
            b.mean,
            b.variance,
            b.inverse_deviation,
            b.x_hat,
            b.y,
            b.activation,
            b.z,
        )
        k.running_average(self._mean, b.mean, 1.0, self.momentum, b.row)
        k.running_average(self._variance, b.variance, b.unbiased, self.momentum, b.row)
        return b.y

    def infer(self, x: Array, b: Any) -> Array:
        """Normalise with the running statistics."""
        self.kernels.batch_norm_inference(
            x,
            self._gamma,
            self._beta,
            self.eps,
            self._mean,
            self._variance,
            b.row,
            b.y,
            b.activation,
        )
        return b.y

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Write ∂γ and ∂β, return ∂x. It uses x̂ up: one backward for each forward."""
        self.kernels.batch_norm_backward(
            dy,
            b.kept,
            b.x_hat,
            self._gamma,
            b.inverse_deviation,
            self._d_gamma,
            self._d_beta,
            b.row,
            b.dx,
            b.activation,
        )
        return b.dx


@dataclass(eq=False)
class Dropout(Layer):
    """Inverted dropout: zero each element with probability p, scale the others by 1/(1 − p).

    The notes' chapter 5.1, and Srivastava et al., "Dropout", JMLR 2014. Each step has a fresh mask,
    computed from the run's seed, the layer and the step; prediction drops nothing. As the first
    layer of a network it is dropout on the input.

    Parameters
    ----------
    p : float
        The probability of dropping, in [0, 1), as in PyTorch and Keras; the notes' keep
        probability is 1 − p. It is rounded to a multiple of 2⁻¹⁶.

    Raises
    ------
    ValueError
        If p is not in [0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.p < 1:
            raise ValueError(
                f"dropout's p is {self.p}: give the probability of dropping, in [0, 1)"
            )

    def connect(self, seed: int, key: Array) -> None:
        """Learn the run's seed and the array that holds the step's key."""
        self._seed, self._key = seed, key
        self._threshold = min(round(self.p * 65536), 65535)

    @property
    def mask(self) -> Mask | None:
        """The step's mask, of one network; several at once have one each."""
        return Mask(self._key, self._salt(), self._threshold)

    def _salt(self, *place: int) -> int:
        """Return the first counter, of one of the networks that are trained at once."""
        return word(self._seed, Purpose.DROPOUT, self.index, *place)

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> SimpleNamespace:
        """Return y and what the mask is computed in; see ``Kernels.dropout``."""
        m = self.n_inputs
        counters = new.rows("counters", -(-m // 4), np.uint64, fill=self._count)
        work = dropout_work(m, counters, new.rows)
        work.y = x if overwrite else new.rows("y", m)
        return work

    def _count(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return the counters: a Weyl sequence, from a salt of each network trained at once."""
        *leading_shape, n, words = shape
        steps = np.arange(n * words, dtype=np.uint64) * np.uint64(GAMMA)
        counters = np.empty(shape, np.uint64)
        for place in np.ndindex(*leading_shape):
            counters[place] = (steps + np.uint64(self._salt(*place))).reshape(n, words)
        return counters

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> Any:
        """Return nothing: prediction passes the input on."""
        return SimpleNamespace(y=x)

    def forward(self, x: Array, b: Any) -> Array:
        """Drop and scale."""
        self.kernels.dropout(x, self._key, self._threshold, b, b.y)
        return b.y

    def infer(self, x: Array, b: Any) -> Array:
        """Pass the input on."""
        return x

    def backward(self, dy: Array, b: Any) -> Array | None:
        """Drop and scale the gradient alike."""
        self.kernels.dropout_backward(dy, b)
        return dy
