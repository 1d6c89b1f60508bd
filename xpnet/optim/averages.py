"""Moving averages of numbers and arrays, wherever they live (notes, chapter 7.1).

They use the arrays' own operators alone, so they need not know on which backend they run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .._typing import NO_ARRAY, Array, ArrayLike, Tree
from ..checks import check_count, check_fields


@dataclass
class MovingAverage:
    """The base of the averages: `update` takes a value in, `value` is the average so far.

    Attributes
    ----------
    count : int
        How many values were taken in.
    """

    count: int = field(init=False, default=0)
    _shape: tuple[int, ...] = field(init=False, repr=False, default=())

    def update(self, x: ArrayLike) -> None:
        """Take a value in: a number, or an array of the same shape each time.

        Raises
        ------
        ValueError
            If its shape is not that of the values before.
        """
        x = x if hasattr(x, "shape") else np.asarray(x, np.float64)
        if self.count and tuple(x.shape) != self._shape:
            raise ValueError(f"x has shape {tuple(x.shape)}: the values before had {self._shape}")
        self._shape = tuple(x.shape)
        self.count += 1
        self._take_in(x)

    @property
    def value(self) -> Array:
        """The average of the values so far, as a new array where they live.

        Raises
        ------
        ValueError
            If there were none.
        """
        if not self.count:
            raise ValueError("there is no average yet: call update first")
        return self._average()

    def state(self) -> Tree:
        """Return what was taken in so far, as a checkpoint keeps it: numbers and arrays by name."""
        return {"count": self.count} | ({"arrays": self._arrays()} if self.count else {})

    def load_state(self, state: Tree) -> None:
        """Go on from what `state` returned; its arrays are then this average's own."""
        self.count = state["count"]
        if self.count:
            self._shape = tuple(state["arrays"][0].shape)
            self._set_arrays(state["arrays"])

    def _arrays(self) -> list[Array]:
        raise NotImplementedError

    def _set_arrays(self, arrays: list[Array]) -> None:
        raise NotImplementedError

    def _take_in(self, x: Array) -> None:
        raise NotImplementedError

    def _average(self) -> Array:
        raise NotImplementedError


def _own(x: Array) -> Array:
    """Return a copy to compute in: floating, and never the caller's memory."""
    return x.copy() if x.dtype.kind == "f" else x.astype(np.float64)


@dataclass
class SimpleMovingAverage(MovingAverage):
    """The mean of the last k values: x̂ₜ₊₁ = 1/k Σⱼ xⱼ, j = t − k + 1 … t (notes, chapter 7.1).

    While there are fewer than k, the mean of those there are. It keeps copies of the k values.

    Parameters
    ----------
    window : int
        k.

    Raises
    ------
    TypeError, ValueError
        If the window is no whole number or less than 1.

    Examples
    --------
    >>> average = SimpleMovingAverage(window=3)
    >>> for x in (1.0, 2.0, 3.0, 10.0):
    ...     average.update(x)
    >>> float(average.value)
    5.0
    """

    window: int

    def __post_init__(self) -> None:
        check_count(self.window, "window")
        self._last: deque[Array] = deque(maxlen=int(self.window))

    def _arrays(self) -> list[Array]:
        return list(self._last)

    def _set_arrays(self, arrays: list[Array]) -> None:
        self._last.extend(arrays)

    def _take_in(self, x: Array) -> None:
        self._last.append(_own(x))

    def _average(self) -> Array:
        first, *others = self._last
        total = first.copy()
        for x in others:
            total += x
        return total / len(self._last)


@dataclass
class ExponentialMovingAverage(MovingAverage):
    """An average that forgets: Vₜ = β Vₜ₋₁ + (1 − β) xₜ from V₀ = 0 (notes, chapter 7.1).

    It weighs about the last 1 / (1 − β) values. For V₀ = 0 it starts too small; the correction
    divides by 1 − βᵗ, the sum of the weights. As in Kingma & Ba, "Adam", ICLR 2015, section 3, it
    is V itself that recurs and a corrected copy that is returned; the notes' code feeds the
    corrected one back.

    Parameters
    ----------
    beta : float
        β in [0, 1).
    bias_correction : bool
        Whether `value` is divided by 1 − βᵗ.

    Attributes
    ----------
    raw : array
        Vₜ.

    Raises
    ------
    ValueError
        If beta is not in [0, 1).

    Examples
    --------
    >>> average = ExponentialMovingAverage(beta=0.5)
    >>> for x in (1.0, 2.0):
    ...     average.update(x)
    >>> float(average.raw), round(float(average.value), 4)
    (1.25, 1.6667)
    """

    beta: float = 0.9
    bias_correction: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta is {self.beta}: give a number in [0, 1)")
        self.raw: Array = NO_ARRAY

    def _arrays(self) -> list[Array]:
        return [self.raw]

    def _set_arrays(self, arrays: list[Array]) -> None:
        (self.raw,) = arrays
        self._term = self.raw.copy()

    def _take_in(self, x: Array) -> None:
        if self.count == 1:
            self.raw = _own(x)
            self.raw *= 1.0 - self.beta
            self._term = self.raw.copy()
            return
        # In place: from the second value on nothing is allocated.
        self._term[...] = x
        self._term *= 1.0 - self.beta
        self.raw *= self.beta
        self.raw += self._term

    def _average(self) -> Array:
        weights = 1.0 - self.beta**self.count if self.bias_correction else 1.0
        return self.raw / weights
