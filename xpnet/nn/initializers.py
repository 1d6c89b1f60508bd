"""Initial weights, drawn on the host so that every backend starts from the same ones.

A weight matrix has the notes' shape (m_l, m_{l-1}): outputs first. Weights are drawn from normal
distributions in float64 and rounded to the network's dtype afterwards.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..checks import check_fields


@dataclass(frozen=True)
class Initializer:
    """The base of the initialisers: weights from N(0, σ²), with σ from the layer's size."""

    def standard_deviation(self, n_inputs: int, n_outputs: int) -> float:
        """Return σ for a layer of the given size."""
        raise NotImplementedError

    def draw(
        self, generator: np.random.Generator, n_inputs: int, n_outputs: int
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
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


INITIALIZERS: dict[str, type[Initializer]] = {
    "he": He,
    "xavier": Xavier,
    "lecun": LeCun,
    "normal": Normal,
    "zeros": Zeros,
}


def resolve(init: str | dict[str, Any] | Initializer) -> Initializer:
    """Return the initialiser for a name or for what `to_config` returned.

    Raises
    ------
    ValueError
        If the name is not one of he, xavier, lecun, normal, zeros.
    """
    if isinstance(init, Initializer):
        return init
    arguments = dict(init) if isinstance(init, dict) else {"name": init}
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in INITIALIZERS:
        known = ", ".join(["auto", *INITIALIZERS])
        raise ValueError(f"init is {name!r}: give one of {known}, or an initialiser as Normal(0.1)")
    return INITIALIZERS[name](**arguments)


def to_config(init: str | Initializer) -> str | dict[str, Any]:
    """Return an initialiser as JSON-ready data."""
    if isinstance(init, str):
        return init
    name = next((name for name, kind in INITIALIZERS.items() if type(init) is kind), None)
    if name is None:
        known = ", ".join(kind.__name__ for kind in INITIALIZERS.values())
        raise ValueError(f"{init!r} can't be written to a file: of initialisers only {known} can")
    return {"name": name, **asdict(init)}
