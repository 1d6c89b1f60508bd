"""Initial weights, drawn on the host so that every backend starts from the same ones.

A weight matrix has the notes' shape (m_l, m_{l-1}): outputs first. Weights are drawn from normal
distributions in float64 and rounded to the network's dtype afterwards.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checks import check_fields
from ..registry import Registered, Registry


@dataclass(frozen=True)
class Initializer(Registered):
    """The base of the initialisers: weights from N(0, σ²), with σ from the layer's size.

    A subclass, a frozen dataclass of its options, gives `standard_deviation`; one that draws from
    another distribution also gives `draw`. Where it has been defined, it is known by its name in
    lower case, as in ``Linear(3, init="uniform")``, and to model files.

    Examples
    --------
    >>> import xpnet as xn
    >>> @dataclass(frozen=True)
    ... class Uniform(xn.Initializer):
    ...     bound: float = 0.1
    ...     def standard_deviation(self, n_inputs, n_outputs):
    ...         return self.bound / math.sqrt(3)
    ...     def draw(self, generator, n_inputs, n_outputs):
    ...         return generator.uniform(-self.bound, self.bound, (n_outputs, n_inputs))
    >>> net = xn.Network([xn.Linear(100, init=Uniform(0.2))], loss="mean_squared_error",
    ...                  n_features=100, device="cpu")
    >>> bool(0.19 < abs(net.parameters).max() <= 0.2)
    True
    """

    registry: ClassVar[Registry[Initializer]] = Registry(
        "initialiser", key="name", spell=lambda cls: cls.__name__.lower()
    )

    @abstractmethod
    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return σ for a layer of the given size."""

    def draw(
        self, generator: np.random.Generator, n_inputs: int, n_outputs: int
    ) -> NDArray[np.float64]:
        """Draw a weight matrix of shape (n_outputs, n_inputs) in float64."""
        sigma = self.standard_deviation(n_inputs, n_outputs)
        return sigma * generator.standard_normal((n_outputs, n_inputs))


@dataclass(frozen=True)
class Normal(Initializer):
    """Weights from N(0, σ²), whatever the layer's size.

    Parameters
    ----------
    sigma : float
        The standard deviation, 0 or more. The notes' chapter 2.3.2 uses 0.01.

    Raises
    ------
    ValueError
        If sigma is negative or not finite.

    Examples
    --------
    >>> Normal(0.01).standard_deviation(n_inputs=784, n_outputs=100)
    0.01
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        check_fields(self)
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma is {self.sigma}: give a finite number, 0 or more")

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return σ."""
        return self.sigma


@dataclass(frozen=True)
class He(Initializer):
    """Weights from N(0, 2 / ((1 + β²) m_in)): keeps the activations' scale through ReLU layers.

    He, Zhang, Ren & Sun, "Delving deep into rectifiers", ICCV 2015, eq. 10 and 15. The notes'
    chapter 6 has 1/m_in for ReLU, half of what holds the scale.

    Parameters
    ----------
    slope : float
        β of a leaky ReLU; 0 for ReLU.

    Examples
    --------
    >>> He().standard_deviation(n_inputs=200, n_outputs=10)
    0.1
    """

    slope: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not math.isfinite(self.slope):
            raise ValueError(f"slope is {self.slope}: give a finite number")

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return √(2 / ((1 + β²) m_in))."""
        return math.sqrt(2.0 / ((1.0 + self.slope**2) * n_inputs))


@dataclass(frozen=True)
class Xavier(Initializer):
    """Weights from N(0, 2 / (m_in + m_out)): for tanh, sigmoid and linear layers.

    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, eq. 12.

    Examples
    --------
    >>> Xavier().standard_deviation(n_inputs=150, n_outputs=50)
    0.1
    """

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return √(2 / (m_in + m_out))."""
        return math.sqrt(2.0 / (n_inputs + n_outputs))


@dataclass(frozen=True)
class LeCun(Initializer):
    """Weights from N(0, 1 / m_in).

    LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998, eq. 16.

    Examples
    --------
    >>> LeCun().standard_deviation(n_inputs=100, n_outputs=10)
    0.1
    """

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return √(1 / m_in)."""
        return math.sqrt(1.0 / n_inputs)


@dataclass(frozen=True)
class Zeros(Initializer):
    """All weights zero. With a hidden layer nothing is learnt from there (notes, chapter 2.3.1).

    Examples
    --------
    >>> bool(Zeros().draw(np.random.default_rng(0), n_inputs=2, n_outputs=1).any())
    False
    """

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return 0."""
        return 0.0


def resolve(init: str | Initializer) -> Initializer:
    """Return an initialiser, by its name or as it is.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    if isinstance(init, Initializer):
        return init
    if not isinstance(init, str) or init not in Initializer.registry:
        known = ", ".join(["auto", *Initializer.registry])
        raise ValueError(f"init is {init!r}: give one of {known}, or an initialiser as Normal(0.1)")
    return Initializer.registry[init]()


def check_scale(init: str | Initializer, n_inputs: int, n_outputs: int) -> None:
    """Raise a ValueError if the weights of a layer of this size would not be finite."""
    if not math.isfinite(resolve(init).standard_deviation(n_inputs, n_outputs)):
        raise ValueError(f"init is {init!r}: its weights are not finite")
