"""What is searched in: hyper-parameters with their distributions, by name.

The notes' chapter 8 draws at random, since a grid spends most of its trainings on hyper-parameters
that hardly matter (Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13,
2012). One that has a meaning only beside some values of another has the condition `when`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .._typing import Tree
from ..checks import check_count, check_several
from ..randomness import Purpose, generator
from .distributions import Choice, Distribution, IntUniform
from .trials import Setting

#: Hyper-parameters' distributions by name; conditions name earlier ones.
Space: TypeAlias = Mapping[str, Distribution]


@dataclass(frozen=True)
class When(Distribution):
    """A distribution of a hyper-parameter that is there only beside some values of another.

    Attributes
    ----------
    name : str
        The other one.
    values : sequence
        Its values.
    distribution : Distribution
        What is drawn from.
    """

    name: str
    values: Sequence[Any]
    distribution: Distribution

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name is {self.name!r}: give a hyper-parameter's name")
        values = check_several(self.values, "values", '["adam", "nadam"]')
        if not values:
            raise ValueError(f"values is {self.values!r}: give at least one value")
        if not isinstance(self.distribution, Distribution):
            raise TypeError(
                f"distribution is {self.distribution!r}: give one such as log_uniform(1e-4, 1)"
            )
        object.__setattr__(self, "values", tuple(values))

    def draw(self, generator: np.random.Generator) -> Any:
        """Draw one value, as where it is there."""
        return self.distribution.draw(generator)

    def grid(self, n: int) -> list[Any]:
        """Return the grid that it has where it is there."""
        return self.distribution.grid(n)

    def rvs(self, size: int | None = None, random_state: Any = None) -> Any:
        """Raise a TypeError: scikit-learn's samplers would draw it beside any value."""
        raise TypeError(
            f"this is drawn only when {self.name!r} has one of some values: draw whole settings, "
            "with xpnet.random_draws or xpnet.tune"
        )

    def check(self, value: Any, name: str) -> Any:
        """Return a value as it is drawn, or raise a TypeError or ValueError."""
        return self.distribution.check(value, name)

    def encode(self, value: Any) -> Any:
        """Return what stands for a value in JSON."""
        return self.distribution.encode(value)

    def decode(self, told: Any, name: str) -> Any:
        """Return the value that `encode` was given."""
        return self.distribution.decode(told, name)

    def describe(self) -> Tree:
        """Return what the distribution is; `describe` of a space tells the condition too."""
        return self.distribution.describe()


def when(name: str, values: Sequence[Any], distribution: Distribution) -> Distribution:
    """Return a distribution for a hyper-parameter that is there only beside values of another.

    A setting in which the other one has another value, or is not there itself, has none of it.
    Within another `when` it takes both.

    Parameters
    ----------
    name : str
        The other hyper-parameter: one that stands earlier in the space, of options or of whole
        numbers.
    values : sequence
        Its values beside which this one is there.
    distribution : Distribution
        What is drawn from.

    Raises
    ------
    TypeError, ValueError
        If the name is no string, there are no values, or the distribution is none.

    Examples
    --------
    >>> from xpnet import choice, uniform
    >>> space = {"optimizer": choice(["adam", "momentum"]),
    ...          "beta": when("optimizer", ["momentum"], uniform(0.8, 1))}
    >>> for setting in grid(space, 2):
    ...     print(setting)
    {'optimizer': 'adam'}
    {'optimizer': 'momentum', 'beta': 0.8}
    {'optimizer': 'momentum', 'beta': 1.0}
    """
    return When(name, values, distribution)


def random_draws(
    space: dict[str, Distribution], n: int, random_state: int = 0
) -> list[dict[str, Any]]:
    """Draw n settings at random, each hyper-parameter by itself (notes, chapter 8).

    A value depends on the seed, the setting's number and the hyper-parameter's name alone: a larger
    n extends the list, and another hyper-parameter leaves the others' values as they were. Whether
    it is there is what its conditions say.

    Parameters
    ----------
    space : dict of str to Distribution
        The hyper-parameters; those that `when` names stand before those that name them.
    n : int
        How many settings.
    random_state : int
        The seed.

    Raises
    ------
    TypeError, ValueError
        If the space is empty, holds anything but distributions or a condition that can't be, or n
        is less than 1.

    Examples
    --------
    >>> from xpnet import int_uniform, log_uniform
    >>> space = {"learning_rate": log_uniform(1e-4, 1), "units": int_uniform(10, 100)}
    >>> for setting in random_draws(space, n=2):
    ...     print(round(setting["learning_rate"], 5), setting["units"])
    0.0179 68
    0.00056 84
    """
    check_space(space)
    seed = check_count(random_state, "random_state", 0)
    return [draw(space, seed, number) for number in range(check_count(n, "n"))]


def draw(space: Space, seed: int, number: int, fixed: Mapping[str, Any] | None = None) -> Setting:
    """Return the setting of a number, which has been checked; what is fixed is not drawn."""
    setting: Setting = {}
    for name, distribution in space.items():
        if not is_active(space, name, setting):
            continue
        if fixed is not None and name in fixed:
            setting[name] = fixed[name]
        else:
            key = zlib.crc32(name.encode())
            setting[name] = distribution.draw(generator(seed, Purpose.SEARCH, number, key))
    return setting


def grid(space: dict[str, Distribution], n: int | dict[str, int]) -> list[dict[str, Any]]:
    """Return the full grid: each value of each hyper-parameter with each of the others.

    It grows with the power of their number: K hyper-parameters at n values are nᴷ settings (notes,
    chapter 8; Bergstra & Bengio, 2012).

    Parameters
    ----------
    space : dict of str to Distribution
        The hyper-parameters. The last one changes fastest, and is left out where its conditions
        say so.
    n : int or dict of str to int
        How many values of each; a dict names each hyper-parameter of the space.

    Raises
    ------
    TypeError, ValueError
        If the space is empty, holds anything but distributions or a condition that can't be, a
        number of values is less than 1, or n has other names than the space.

    Examples
    --------
    >>> from xpnet import choice, log_uniform
    >>> grid({"l2": log_uniform(0.01, 1), "init": choice(["he", "xavier"])}, 2)[:3]
    [{'l2': 0.01, 'init': 'he'}, {'l2': 0.01, 'init': 'xavier'}, {'l2': 1.0, 'init': 'he'}]
    """
    check_space(space)
    counts = n if isinstance(n, dict) else dict.fromkeys(space, check_count(n, "n"))
    if set(counts) != set(space):
        raise ValueError(f"n has the names {list(counts)}: give a number for each of {list(space)}")
    settings: list[Setting] = [{}]
    for name, distribution in space.items():
        values = distribution.grid(check_count(counts[name], f"n[{name!r}]"))
        settings = [
            longer
            for setting in settings
            for longer in (
                [setting | {name: value} for value in values]
                if is_active(space, name, setting)
                else [setting]
            )
        ]
    return settings


def is_active(space: Space, name: str, setting: Mapping[str, Any]) -> bool:
    """Return whether a hyper-parameter is there, in a setting that has all earlier ones.

    Examples
    --------
    >>> from xpnet import choice, uniform
    >>> space = {"layers": choice([1, 2]), "dropout": when("layers", [2], uniform(0, 0.5))}
    >>> is_active(space, "dropout", {"layers": 1}), is_active(space, "dropout", {"layers": 2})
    (False, True)
    """
    for condition in conditions(space[name]):
        if condition.name not in setting:
            return False
        code = space[condition.name].encode
        if code(setting[condition.name]) not in map(code, condition.values):
            return False
    return True


def describe(space: Space) -> Tree:
    """Return a space as JSON: equal for two in which the same is searched.

    Examples
    --------
    >>> from xpnet import int_uniform
    >>> describe({"units": int_uniform(1, 9)})
    {'units': {'kind': 'whole numbers', 'low': 1, 'high': 9}}
    """
    told = {name: distribution.describe() for name, distribution in space.items()}
    for name, distribution in space.items():
        for condition in conditions(distribution):
            values = sorted({*map(space[condition.name].encode, condition.values)})
            told[name].setdefault("when", []).append([condition.name, values])
    return told


def encode(space: Space, setting: Mapping[str, Any]) -> Tree:
    """Return a setting as JSON: numbers, and names of options."""
    return {name: space[name].encode(value) for name, value in setting.items()}


def decode(space: Space, told: Any) -> Setting:
    """Return the setting that `encode` was given.

    Raises
    ------
    TypeError, ValueError
        If it is none of the space.
    """
    _check_names(space, told)
    setting = {name: space[name].decode(told[name], name) for name in space if name in told}
    return check_setting(space, setting, whole=True)


def check_setting(space: Space, setting: Any, whole: bool = False) -> Setting:
    """Return a setting with values as they are drawn, in the space's order.

    Parameters
    ----------
    space : dict of str to Distribution
        The hyper-parameters.
    setting : mapping
        Values by name; a list for an option that is a tuple, and NumPy's numbers.
    whole : bool
        Whether all that the conditions ask for must be there, and nothing else.

    Raises
    ------
    TypeError, ValueError
        If a name is none of the space's, a value none that is drawn, or one is missing or should
        not be there.

    Examples
    --------
    >>> from xpnet import uniform
    >>> check_setting({"dropout": uniform(0, 0.5)}, {"dropout": 0.7})
    Traceback (most recent call last):
    ValueError: dropout is 0.7: give a number from 0.0 to 0.5
    """
    _check_names(space, setting)
    found = {name: space[name].check(setting[name], name) for name in space if name in setting}
    for name in space if whole else ():
        active = is_active(space, name, found)
        if active and name not in found:
            raise ValueError(f"the setting lacks {name!r}: give a value for it")
        if not active and name in found:
            raise ValueError(
                f"the setting has {name!r}, which is there when {_told(space[name])}: leave it out"
            )
    return found


def check_space(space: Any) -> None:
    """Raise a TypeError or ValueError unless it is a dict of distributions that can be drawn."""
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
    _check_order(space)
    for name, distribution in space.items():
        for condition in conditions(distribution):
            _check_values(space, name, condition)


def _check_order(space: Space) -> None:
    """Raise a ValueError if a condition names what is not there, or not before it."""
    named = {name: [c.name for c in conditions(d)] for name, d in space.items()}
    for name, others in named.items():
        for other in others:
            if other not in space:
                raise ValueError(
                    f"space[{name!r}] asks for {other!r}, which the space lacks: give one of "
                    f"{[n for n in space if n != name]}"
                )
            if _leads_to(named, other, name):
                raise ValueError(
                    f"space[{name!r}] asks for {other!r}, and that in turn for {name!r}: give one "
                    "of them no condition"
                )
    for i, (name, others) in enumerate(named.items()):
        for other in others:
            if other not in list(space)[:i]:
                raise ValueError(
                    f"space[{name!r}] asks for {other!r}, which stands after it: put {other!r} "
                    "first"
                )


def _leads_to(named: Mapping[str, list[str]], start: str, goal: str) -> bool:
    """Return whether one that asks for others comes to a name, by any way."""
    seen, ahead = set(), [start]
    while ahead:
        name = ahead.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            ahead += named.get(name, [])
    return False


def _check_values(space: Space, name: str, condition: When) -> None:
    """Raise a TypeError or ValueError if one that a condition names can't have its values."""
    other = plain(space[condition.name])
    if not isinstance(other, Choice | IntUniform):
        raise TypeError(
            f"space[{name!r}] asks for values of {condition.name!r}, which is {other!r}: name one "
            "of options or whole numbers"
        )
    for value in condition.values:
        other.check(value, f"space[{name!r}] asks for {condition.name!r}, whose value")


def _check_names(space: Space, setting: Any) -> None:
    if not isinstance(setting, Mapping):
        raise TypeError(f"the setting is {setting!r}: give a dict from names to values")
    for name in setting:
        if name not in space:
            raise ValueError(f"the setting has the name {name!r}: the space has {', '.join(space)}")


def conditions(distribution: Distribution) -> Iterator[When]:
    """Yield the conditions of a hyper-parameter, the outermost first."""
    while isinstance(distribution, When):
        yield distribution
        distribution = distribution.distribution


def plain(distribution: Distribution) -> Distribution:
    """Return what a hyper-parameter is drawn from where it is there: without its conditions."""
    while isinstance(distribution, When):
        distribution = distribution.distribution
    return distribution


def _told(distribution: Distribution) -> str:
    """Return in words when a hyper-parameter is there."""
    return " and ".join(
        f"{c.name!r} is {' or '.join(map(repr, c.values))}" for c in conditions(distribution)
    )
