"""What hyper-parameters are searched in: distributions, drawn from at random or as a grid.

The notes' chapter 8 draws at random, since a grid spends most of its trainings on hyper-parameters
that hardly matter (Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13,
2012), and draws rates on a log scale. A distribution's ``rvs`` is what scikit-learn's
``RandomizedSearchCV`` and ``ParameterSampler`` call.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from ..checks import check_count
from ..randomness import Purpose, generator

#: The largest end of an interval: what is computed from it stays finite.
LARGEST = 1e300

#: Scale: from a value to its place on it, and back.
SCALES: dict[str, Any] = {
    "linear": (lambda x: x, lambda r: r),
    "log": (math.log10, lambda r: 10.0**r),
    "log of 1 - x": (lambda x: math.log10(1.0 - x), lambda r: 1.0 - 10.0**r),
}


@dataclass(frozen=True)
class Distribution:
    """The base of the distributions: Python values, drawn at random or laid out as a grid."""

    def draw(self, generator: np.random.Generator) -> Any:
        """Draw one value."""
        raise NotImplementedError

    def grid(self, n: int) -> list[Any]:
        """Return n values, evenly spaced on the distribution's scale from low to high.

        One value alone is the scale's middle. Of whole numbers there may be fewer than n; of
        options there are always all.
        """
        raise NotImplementedError

    def rvs(self, size: int | None = None, random_state: Any = None) -> Any:
        """Draw one value, or with a size a list of them, as scikit-learn asks for it.

        Parameters
        ----------
        size : int or None
            How many values; None for one that is not in a list.
        random_state : None, int, numpy.random.RandomState or numpy.random.Generator
            What to draw from. None: other values each time.

        Raises
        ------
        TypeError, ValueError
            If the size is no whole number or less than 1, or random_state none of those.
        """
        source = _source(random_state)
        if size is None:
            return self.draw(source)
        return [self.draw(source) for _ in range(check_count(size, "size"))]


@dataclass(frozen=True)
class Interval(Distribution):
    """Numbers spread evenly over an interval, on one of the scales."""

    low: float
    high: float
    scale: Literal["linear", "log", "log of 1 - x"]

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            given: Any = getattr(self, name)
            given = given.item() if isinstance(given, np.generic) else given
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise TypeError(f"{name} is {given!r}: give a number")
            if not -LARGEST <= given <= LARGEST:
                raise ValueError(f"{name} is {given}: give a number up to ±{LARGEST:g}")
            value = float(given)
            object.__setattr__(self, name, value)
            if self.scale == "log" and value <= 0:
                raise ValueError(f"{name} is {value}: give a number above 0, where logs are")
            if self.scale == "log of 1 - x" and not 0 <= value < 1:
                raise ValueError(f"{name} is {value}: give a number in [0, 1)")
        _check_order(self.low, self.high)

    def _between(self, left: float, right: float) -> float:
        """Return the value at the weighted mean of the ends' places on the scale."""
        place, value = SCALES[self.scale]
        mean = (left * place(self.low) + right * place(self.high)) / (left + right)
        return min(max(float(value(mean)), self.low), self.high)  # rounding may have led out

    def draw(self, generator: np.random.Generator) -> float:
        """Draw one value."""
        u = float(generator.random())
        return self._between(1.0 - u, u)

    def grid(self, n: int) -> list[float]:
        """Return n values, evenly spaced on the scale from low to high."""
        steps = check_count(n, "n") - 1
        if steps == 0:
            return [self._between(1, 1)]
        between = (self._between(steps - i, i) for i in range(1, steps))
        # Between two neighbouring numbers rounding may turn those within round.
        return sorted([self.low, *between, self.high])


@dataclass(frozen=True)
class IntUniform(Distribution):
    """Whole numbers, each as likely as the others."""

    low: int
    high: int

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = check_count(getattr(self, name), name, -(2**63))
            if value >= 2**63:
                raise ValueError(f"{name} is {value}: give {2**63 - 1} or less")
            object.__setattr__(self, name, value)
        _check_order(self.low, self.high)

    def draw(self, generator: np.random.Generator) -> int:
        """Draw one of the numbers."""
        return int(generator.integers(self.low, self.high, endpoint=True))

    def grid(self, n: int) -> list[int]:
        """Return n of the numbers, as evenly spaced as they can be; all if there are fewer."""
        span = self.high - self.low
        steps = min(check_count(n, "n") - 1, span)
        if steps == 0:
            return [self.low + span // 2]
        # Rounded in whole numbers, so that both ends are exact however large they are.
        return [self.low + (2 * i * span + steps) // (2 * steps) for i in range(steps + 1)]


@dataclass(frozen=True)
class Choice(Distribution):
    """One of several options, each as likely as the others."""

    options: Sequence[Any]

    def __post_init__(self) -> None:
        options: Any = self.options
        if isinstance(options, np.ndarray):
            options = options.tolist()
        if isinstance(options, str | bytes) or not isinstance(options, Sequence):
            raise TypeError(f"options is {options!r}: give a list or tuple of options")
        if not options:
            raise ValueError(f"options is {options!r}: give at least one option")
        object.__setattr__(self, "options", tuple(options))

    def draw(self, generator: np.random.Generator) -> Any:
        """Draw one of the options."""
        return self.options[int(generator.integers(len(self.options)))]

    def grid(self, n: int) -> list[Any]:
        """Return all options, whatever n is."""
        check_count(n, "n")
        return list(self.options)


def uniform(low: float, high: float) -> Distribution:
    """Return the uniform distribution over [low, high]: x = low + u (high − low), u from [0, 1).

    Over several decades nearly all of it lies in the last one: use `log_uniform` there.

    Raises
    ------
    TypeError, ValueError
        If an end is no number or not finite, or low is not below high.

    Examples
    --------
    >>> uniform(0, 0.5).grid(3)
    [0.0, 0.25, 0.5]
    """
    return Interval(low, high, "linear")


def log_uniform(low: float, high: float) -> Distribution:
    """Return the log-uniform distribution over [low, high]: x = 10^r, r uniform between the logs.

    For learning rates and λ: every decade gets the same share (notes, chapter 8; Bergstra & Bengio,
    2012). The notes' 8.0.1 draws r = p u, which can begin at 1 alone; here
    r = (1 − u) log₁₀ low + u log₁₀ high, for any two ends above 0.

    Raises
    ------
    TypeError, ValueError
        If an end is no number or not finite, low is not above 0 or not below high.

    Examples
    --------
    >>> log_uniform(1e-4, 1).grid(5)
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    return Interval(low, high, "log")


def one_minus_log_uniform(low: float, high: float) -> Distribution:
    """Return a distribution over [low, high] of which 1 − x is log-uniform: x = 1 − 10^r.

    For β of a moving average, which weighs about the last 1 / (1 − β) values: near 1 a small change
    of β is a large change of that number, and it is that number which is spread evenly here (notes,
    chapter 8, remark 8.1).

    Raises
    ------
    TypeError, ValueError
        If an end is no number or not in [0, 1), or low is not below high.

    Examples
    --------
    >>> one_minus_log_uniform(0.9, 0.999).grid(3)
    [0.9, 0.99, 0.999]
    """
    return Interval(low, high, "log of 1 - x")


def int_uniform(low: int, high: int) -> Distribution:
    """Return the uniform distribution over the whole numbers from low to high, both included.

    Raises
    ------
    TypeError, ValueError
        If an end is no whole number or takes more than 64 bits, or low is not below high.

    Examples
    --------
    >>> int_uniform(1, 9).grid(3), int_uniform(1, 3).grid(10)
    ([1, 5, 9], [1, 2, 3])
    """
    return IntUniform(low, high)


def choice(options: Sequence[Any]) -> Distribution:
    """Return the uniform distribution over options: one alone fixes a hyper-parameter.

    Parameters
    ----------
    options : sequence
        Anything, in a list, a tuple or an array. The elements of an array become Python's.

    Raises
    ------
    TypeError, ValueError
        If it is no sequence, or an empty one. A string is taken for a mistake.

    Examples
    --------
    >>> choice(["relu", "tanh"]).grid(1)
    ['relu', 'tanh']
    """
    return Choice(options)


def random_draws(
    space: dict[str, Distribution], n: int, random_state: int = 0
) -> list[dict[str, Any]]:
    """Draw n settings at random, each hyper-parameter by itself (notes, chapter 8).

    A value depends on the seed, the setting's number and the hyper-parameter's name alone: a larger
    n extends the list, and another hyper-parameter leaves the others' values as they were.

    Parameters
    ----------
    space : dict of str to Distribution
        The hyper-parameters.
    n : int
        How many settings.
    random_state : int
        The seed.

    Raises
    ------
    TypeError, ValueError
        If the space is empty or holds anything but distributions, or n is less than 1.

    Examples
    --------
    >>> space = {"learning_rate": log_uniform(1e-4, 1), "units": int_uniform(10, 100)}
    >>> for setting in random_draws(space, n=2):
    ...     print(round(setting["learning_rate"], 5), setting["units"])
    0.0179 68
    0.00056 84
    """
    _check_space(space)
    seed = check_count(random_state, "random_state", 0)
    keys = {name: zlib.crc32(name.encode()) for name in space}
    return [
        {name: d.draw(generator(seed, Purpose.SEARCH, i, keys[name])) for name, d in space.items()}
        for i in range(check_count(n, "n"))
    ]


def grid(space: dict[str, Distribution], n: int | dict[str, int]) -> list[dict[str, Any]]:
    """Return the full grid: each value of each hyper-parameter with each of the others.

    It grows with the power of their number: K hyper-parameters at n values are nᴷ settings (notes,
    chapter 8; Bergstra & Bengio, 2012).

    Parameters
    ----------
    space : dict of str to Distribution
        The hyper-parameters. The last one changes fastest.
    n : int or dict of str to int
        How many values of each; a dict names each hyper-parameter of the space.

    Raises
    ------
    TypeError, ValueError
        If the space is empty or holds anything but distributions, a number of values is less than
        1, or n has other names than the space.

    Examples
    --------
    >>> grid({"l2": log_uniform(0.01, 1), "init": choice(["he", "xavier"])}, 2)[:3]
    [{'l2': 0.01, 'init': 'he'}, {'l2': 0.01, 'init': 'xavier'}, {'l2': 1.0, 'init': 'he'}]
    """
    _check_space(space)
    counts = n if isinstance(n, dict) else dict.fromkeys(space, check_count(n, "n"))
    if set(counts) != set(space):
        raise ValueError(f"n has the names {list(counts)}: give a number for each of {list(space)}")
    values = [d.grid(check_count(counts[name], f"n[{name!r}]")) for name, d in space.items()]
    return [dict(zip(space, point, strict=True)) for point in product(*values)]


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"low is {low}, high is {high}: give low below high")


def _check_space(space: Any) -> None:
    if not isinstance(space, dict):
        raise TypeError(f"space is {space!r}: give a dict from names to distributions")
    if not space:
        raise ValueError("space is {}: give at least one hyper-parameter and its distribution")
    for name, distribution in space.items():
        if not isinstance(name, str):
            raise TypeError(f"space has the name {name!r}: give names that are strings")
        if not isinstance(distribution, Distribution):
            raise TypeError(
                f"space[{name!r}] is {distribution!r}: give a distribution such as "
                "log_uniform(1e-4, 1), or choice([value]) for a fixed value"
            )


def _source(random_state: Any) -> np.random.Generator:
    """Return the generator to draw from for what scikit-learn and SciPy call a random state."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        # Seeded from its stream, which goes on by that.
        return np.random.default_rng(random_state.randint(2**32, size=4, dtype=np.uint32))
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise TypeError(
            f"random_state is {random_state!r}: give None, a whole number, "
            "a numpy.random.RandomState or a numpy.random.Generator"
        )
    return np.random.default_rng(check_count(random_state, "random_state", 0))
