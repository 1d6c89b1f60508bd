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
- What its constructor takes is fixed once it is in a network. On a GPU a batch size that comes
  again is replayed, in training and in prediction: the same kernels on the same arrays, without a
  call of the layer. What changes has to be in arrays.
- A layer may make a row for each of k members of each row: its ``expansion``. All rows of the first
  member come first, then those of the second one, …; ``new.times(k)`` hands out arrays for them.
  Where members have parameters of their own, ``alone`` says what one of them has in its place.
- A layer that takes codes of categories names their columns, ``code_columns``, for no augmentation
  to change them; ``passed_columns`` are those of its input that its output begins with.
- Arrays have shape (…, examples, features): axes before the last two are free.
- An option annotated `Numbers` may be a tuple, a number for each member of a network with members:
  ``new.numbers(name, option)`` brings it to the device.
- Values follow the notes with examples in rows: Z = X Wᵀ + b, W of shape (outputs, inputs).
"""

from __future__ import annotations

import typing
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from .._typing import NO_ARRAY, Array, HostArray, Tree
from ..backends.activations import IDENTITY, ActivationSpec, Mask
from ..backends.dense_stack import DenseStep
from ..backends.reference import Kernels
from ..checks import Numbers
from ..registry import Registered, Registry, describe
from .initializers import Initializer

Fill: TypeAlias = Callable[[tuple[int, ...]], HostArray]

#: Returns the arrays that a layer's buffers hold under a name, whole.
Held: TypeAlias = Callable[[str], Sequence[Array]]


class Allocator(Protocol):
    """Hands a layer static arrays for n examples; a short batch gets the first rows of them."""

    n: int

    def times(self, factor: int) -> Allocator:
        """Return what hands out arrays for so many times as many rows."""

    def rows(
        self, name: str, width: int, dtype: DTypeLike | None = None, fill: Fill | None = None
    ) -> Array:
        """Return an array (…, n, width). ``fill(shape)`` gives its first content, on the host."""

    def row(self, name: str, width: int) -> Array:
        """Return an array (…, 1, width)."""

    def scalar(self, name: str) -> Array:
        """Return an array (…)."""

    def constant(self, name: str, value: HostArray) -> Array:
        """Return a host array's copy on the device."""

    def numbers(self, name: str, value: Numbers) -> float | Array:
        """Return an option as it is, or as an array (k, 1, 1) if each member has its own."""


@dataclass
class LayerBuffers:
    """What a layer writes into, and what of a pass it keeps for the way back.

    Attributes
    ----------
    y : array, shape (…, n, m)
        The output.
    activation : ActivationSpec
        What the layer computes along with its own output.
    z : array as y, or None
        Where it keeps that output, if the activation's derivative wants it.
    kept : array as y
        What that derivative is computed from: z, or y.
    scratch : array, shape (…, n, n_inputs)
        For layers that ask for no buffers of their own.
    """

    y: Array = NO_ARRAY
    activation: ActivationSpec = IDENTITY
    z: Array | None = None
    kept: Array = NO_ARRAY
    scratch: Array = NO_ARRAY


if TYPE_CHECKING:
    from typing_extensions import TypeVar  # of Python 3.13: with a default

    B = TypeVar("B", bound=LayerBuffers, default=Any)
else:
    B = typing.TypeVar("B", bound=LayerBuffers)


@dataclass(eq=False)
class Layer(Registered, Generic[B]):
    """The base of all layers: a function of its input without parameters.

    A subclass, a dataclass of its options, gives `forward` and `backward`; the module's docstring
    has the contract. Model files know it by its class's name, wherever it has been defined.

    Attributes
    ----------
    keeps_output : bool
        Whether ``backward`` reads the layer's own output: the next layer may not write over it.
    absorbs_bias : bool
        Whether a bias in the linear layer before it would be idle.
    mixes_examples : bool
        Whether in training an example's output depends on the others of the batch.
    min_batch : int
        The fewest examples that a training batch may have.
    of_input_alone : bool
        Whether the output depends on nothing but the input: members that share a batch then compute
        it once, without their axis.
    takes_shared_input : bool
        Whether an input without the members' axis may meet parameters that have it; else each
        member gets a copy.
    proportional_to : tuple of str
        Names of parameters: if all of them are multiplied by a number, so is the output.

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
    >>> @dataclass
    ... class RippleBuffers(xn.LayerBuffers):
    ...     slope: object = None
    >>> @dataclass(eq=False)
    ... class Ripple(xn.Layer):
    ...     height: float = 0.5
    ...     def buffers(self, new, x, overwrite, needs_dx):
    ...         return RippleBuffers(y=new.rows("y", self.n_inputs),
    ...                              slope=new.rows("slope", self.n_inputs))
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
    mixes_examples: ClassVar[bool] = False
    min_batch: ClassVar[int] = 1
    of_input_alone: ClassVar[bool] = False
    takes_shared_input: ClassVar[bool] = False
    proportional_to: ClassVar[tuple[str, ...]] = ()

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

    def __init_subclass__(cls, **options: object) -> None:
        """Let a class with a rule of its own be fused with another layer only if it says so.

        It says so where it defines the rule, or nearer: not by what a class further up says of
        another rule.
        """
        super().__init_subclass__(**options)
        rule = min(_distance(cls, name) for name in ("forward", "infer", "backward"))
        # What it prepares may be other arrays than its parameters.
        prepared = min(rule, *(_distance(cls, name) for name in ("bind", "inference_buffers")))
        told = dict.fromkeys(("activation", "fuses_activation", "mask", "of_input_alone"), rule)
        for name, nearest in (told | {"dense_steps": prepared}).items():
            if nearest < _distance(cls, name):
                setattr(cls, name, vars(Layer)[name])

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to change a setting once the layer is at work: buffers and graphs hold it."""
        if "kernels" in vars(self) and name in {f.name for f in fields(self) if f.init}:
            raise AttributeError(
                f"{name} of a {type(self).__name__} can't be changed within a network: "
                "build another network, and give its load_state this one's state()"
            )
        super().__setattr__(name, value)

    def alone(self, i: int) -> tuple[Layer, dict[str, Array]]:
        """Return what member i of an ensemble has in this one's place, and its arrays."""
        return replace(self), self.parameters | self.statistics

    @property
    def expansion(self) -> int | None:
        """How many rows the output has for each row of the input, if it makes members of it."""
        return None

    @property
    def code_columns(self) -> Mapping[int, int]:
        """The input's columns that hold codes of categories, each with how many there are.

        Augmentation leaves them alone.
        """
        return {}

    @property
    def passed_columns(self) -> Sequence[int]:
        """The input's columns that the output begins with, as they are."""
        return ()

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

    def dense_steps(self) -> Sequence[DenseStep] | None:
        """Return what it computes in prediction as steps that a kernel knows; None if it can't be.

        A network of such layers alone goes through all of them in one call, for few examples.
        """
        return None

    def config(self) -> Tree:
        """Return the layer as JSON-ready data: its type and its options.

        Raises
        ------
        TypeError
            If a file can't hold an option.
        """
        return describe(self)

    def connect(self, seed: int | tuple[int, ...], key: Array) -> None:
        """Learn the run's seed, and the array that holds the key of the step: for random layers.

        Of networks trained at once these are k seeds, and keys of shape (k, 1, 1).
        """

    @property
    def is_scheduled(self) -> bool:
        """Whether it has a number that changes from step to step.

        It then is asked for it by `scheduled_number`, and finds it in an array of the device.
        """
        return False

    def connect_number(self, number: Array) -> None:
        """Learn the array that holds the step's number, before `bind`: int32, shape (1,).

        Of networks trained at once it has shape (k, 1, 1).
        """

    def scheduled_number(self, i: int, step: int, epoch: float) -> int:
        """Return the number of a step, of member i; of one network that is 0."""
        raise NotImplementedError(f"{type(self).__name__} has nothing that changes by itself")

    def take_member(self, i: int, seed: int, changed: Collection[str], held: Held) -> bool:
        """Go on with another network as member i, whose options the layer has already.

        Parameters
        ----------
        i : int
            Which member.
        seed : int
            Its seed.
        changed : collection of str
            The options of which it has other values than the one before.
        held : function
            Returns the arrays for the largest batches that buffers hold under a name.

        Returns
        -------
        bool
            Whether that was all: False has `connect` and `bind` called, and buffers made anew.
        """
        return not changed and type(self).connect is Layer.connect

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

    def update_scales(self) -> dict[str, float]:
        """Return how parameters are scaled for the update, by name; those left out are not.

        The layer holds W = s θ and computes with W, while θ is what an optimiser updates, from the
        gradient ∂/∂θ = s ∂/∂W. Scales are finite and above 0.
        """
        return {}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return the initial value of a parameter or statistic: a host array or a number."""
        return 0.0

    def check_initial(self) -> None:
        """Raise an error if the initial values can't be drawn, as they are not for a file."""

    def bind(self, kernels: Kernels) -> None:
        """Prepare for running, once the flat buffers' views are in place."""
        self.kernels = kernels

    def buffers(self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool) -> B:
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
        y, scratch = self.output(new, x, overwrite), new.rows("scratch", self.n_inputs)
        return LayerBuffers(y=y, scratch=scratch)  # type: ignore[return-value]

    def output(self, new: Allocator, x: Array | None, overwrite: bool) -> Array:
        """Return an array for an output as wide as the input: over that, where it is free."""
        return x if overwrite and x is not None else new.rows("y", self.n_inputs)

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> B:
        """Return the buffers for predicting ``new.n`` examples."""
        return self.buffers(new, x, overwrite, needs_dx=False)

    @abstractmethod
    def forward(self, x: Array, b: B) -> Array:
        """Return the output for a batch, as in training."""

    def infer(self, x: Array, b: B) -> Array:
        """Return the output for a batch, as in prediction."""
        return self.forward(x, b)

    @abstractmethod
    def backward(self, dy: Array, b: B) -> Array | None:
        """Write the gradients and return the one with respect to the input."""


def _distance(cls: type, name: str) -> int:
    """Return how far up, in the order in which Python looks, a class has a name from."""
    return next(i for i, owner in enumerate(cls.__mro__) if name in vars(owner))
