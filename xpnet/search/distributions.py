"""Distributions of hyper-parameters: values to draw at random, or to lay out as a grid.

The notes' chapter 8 draws rates on a log scale. A distribution's ``rvs`` is what scikit-learn's
``RandomizedSearchCV`` and ``ParameterSampler`` call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .._typing import Tree
from ..checks import check_count, check_number

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

    def check(self, value: Any, name: str) -> Any:
        """Return a value as it is drawn, or raise a TypeError or ValueError if it can't be drawn.

        Parameters
        ----------
        value : object
            What is given for it: NumPy's number for Python's, a list for an option that is a tuple.
        name : str
            What to call it.
        """
        return value

    def encode(self, value: Any) -> Any:
        """Return what stands for a value in JSON: a number as it is, an option's name."""
        return value

    def decode(self, told: Any, name: str) -> Any:
        """Return the value that `encode` was given, or raise an error as `check` does."""
        return self.check(told, name)

    def describe(self) -> Tree:
        """Return it as JSON; that of two is equal if they are drawn from alike."""
        return {"kind": type(self).__qualname__, "is": repr(self)}

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

    def check(self, value: Any, name: str) -> float:
        """Return a number of the interval as a float, or raise a TypeError or ValueError."""
        number = check_number(value, name)
        if not self.low <= number <= self.high:
            raise ValueError(f"{name} is {value}: give a number from {self.low} to {self.high}")
        return number

    def describe(self) -> Tree:
        """Return scale and ends."""
        return {"kind": self.scale, "low": self.low, "high": self.high}


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

    def check(self, value: Any, name: str) -> int:
        """Return one of the numbers, or raise a TypeError or ValueError."""
        number = check_count(value, name, -(2**63))
        if not self.low <= number <= self.high:
            raise ValueError(f"{name} is {value}: give a number from {self.low} to {self.high}")
        return number

    def describe(self) -> Tree:
        """Return the ends."""
        return {"kind": "whole numbers", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Choice(Distribution):
    """One of several options, each as likely as the others.

    Attributes
    ----------
    options : tuple
        The options.
    names : tuple of str
        What each is called where it can't stand itself: in files, storages and tables.
    """

    options: Sequence[Any] | Mapping[str, Any]
    names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        options: Any = self.options
        if isinstance(options, np.ndarray):
            options = options.tolist()
        named = isinstance(options, Mapping)
        if not named and (isinstance(options, str | bytes) or not isinstance(options, Sequence)):
            raise TypeError(
                f"options is {options!r}: give a list or tuple of options, or a dict of them"
            )
        if not options:
            raise ValueError(f"options is {options!r}: give at least one option")
        names = [_check_option_name(name) for name in options] if named else _names(options)
        object.__setattr__(self, "options", tuple(options.values() if named else options))
        object.__setattr__(self, "names", tuple(names))

    def draw(self, generator: np.random.Generator) -> Any:
        """Draw one of the options."""
        return self.options[int(generator.integers(len(self.options)))]  # type: ignore[index]

    def grid(self, n: int) -> list[Any]:
        """Return all options, whatever n is."""
        check_count(n, "n")
        return list(self.options)

    def check(self, value: Any, name: str) -> Any:
        """Return the option that a value is equal to, or raise a ValueError."""
        return self.options[self._index(value, name)]  # type: ignore[index]

    def encode(self, value: Any) -> str:
        """Return the name of an option, or raise a ValueError."""
        return self.names[self._index(value, "value")]

    def decode(self, told: Any, name: str) -> Any:
        """Return the option of a name, or raise a ValueError."""
        if told not in self.names:
            raise ValueError(f"{name} is {told!r}: give one of {', '.join(self.names)}")
        return self.options[self.names.index(told)]  # type: ignore[index]

    def describe(self) -> Tree:
        """Return the options' names, and what they are as far as it can be told."""
        return {"kind": "choice", "names": [*self.names], "options": self._told}

    def _index(self, value: Any, name: str) -> int:
        """Return which option is equal to a value: the same object, or of the same type, first."""
        options = list(self.options)
        found = [i for i, option in enumerate(options) if _is_same(option, value)]
        if not found:
            raise ValueError(f"{name} is {value!r}: give one of {', '.join(self._told)}")
        return min(
            found, key=lambda i: (options[i] is not value, type(options[i]) is not type(value))
        )

    @property
    def _told(self) -> list[str]:
        """What each option is, as far as it can be told."""
        return [option_name(option) for option in self.options]


def option_name(option: Any) -> str:
    """Return what an option is called: a string itself, of other things what Python shows of it.

    Lists are called as tuples are, and NumPy's numbers as Python's; where an object lies in memory
    is left out.

    Examples
    --------
    >>> option_name("relu"), option_name([256, 128]), option_name(np.float64(0.5)), option_name(abs)
    ('relu', '(256, 128)', '0.5', 'abs')
    """
    if isinstance(option, str):
        return option if option and option.isprintable() else ascii(option)
    return _shown(option)


def _shown(value: Any) -> str:
    """Return a value's text in one line, the same in every process."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in (list, tuple):
        inner = ", ".join(map(_shown, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is dict:
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return ascii(value)
    name = getattr(value, "__qualname__", None)  # a function's or a class's
    return name if isinstance(name, str) else " ".join(_ADDRESS.sub("", repr(value)).split())


#: Where an object lies in memory, as its ``repr`` tells it.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def _names(options: Sequence[Any]) -> list[str]:
    """Return a name for each option, or raise a ValueError if two have the same."""
    names = [option_name(option) for option in options]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"options {names.index(name)} and {i} are both called {name!r}: give options that "
                "differ, or a dict with a name for each"
            )
    return names


def _check_option_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"options has the name {name!r}: give names that are strings")
    if not name or not name.isprintable():
        raise ValueError(f"options has the name {name!r}: give names of characters that print")
    return name


def _is_same(option: Any, value: Any) -> bool:
    """Return whether a value is what an option is; lists count as tuples do, True not as 1."""
    if isinstance(value, np.generic):
        value = value.item()
    if option is value:
        return True
    if isinstance(option, list | tuple) and isinstance(value, list | tuple):
        return len(option) == len(value) and all(map(_is_same, option, value))
    if isinstance(option, dict) and isinstance(value, dict):
        return option.keys() == value.keys() and all(_is_same(option[k], value[k]) for k in option)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (option, value))
    if not numbers and type(option) is not type(value):
        return False
    try:
        equal = bool(option == value)
    except Exception:  # as arrays raise
        return False
    return equal or (type(option) is type(value) and _looks_same(option, value))


def _looks_same(option: Any, value: Any) -> bool:
    """Return whether two things show the same, which tells more than that they are two things."""
    shown = repr(option)
    return shown == repr(value) and _ADDRESS.search(shown) is None


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


def choice(options: Sequence[Any] | Mapping[str, Any]) -> Distribution:
    """Return the uniform distribution over options: one alone fixes a hyper-parameter.

    Parameters
    ----------
    options : sequence, or dict of str to object
        Anything, in a list, a tuple or an array. The elements of an array become Python's. Files
        and tables hold an option's name: what Python shows of it, or its key in a dict.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or empty, or two options look the same and have no names. A string is
        taken for a mistake.

    Examples
    --------
    >>> choice(["relu", "tanh"]).grid(1)
    ['relu', 'tanh']
    >>> choice({"small": (64,), "large": (512, 256)}).grid(1)
    [(64,), (512, 256)]
    """
    return Choice(options)


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"low is {low}, high is {high}: give low below high")


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
