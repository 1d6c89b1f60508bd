"""Networks that are trained at once: their seeds, and descriptions with a number for each.

Where a description, a layer's or a loss's or an optimiser's, says `Numbers`, there may be one
number for all members or one for each. All else is shared.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from .._typing import Array, DType
from ..backends.protocol import Backend
from ..checks import Numbers, check_count
from .description import check_seed

T = TypeVar("T")


def member_seeds(random_state: int | Sequence[int] | None, members: int) -> tuple[int, ...]:
    """Return a seed for each member: of one seed s they are s, s + 1 and so on.

    Raises
    ------
    TypeError, ValueError
        If it is no seed and no ``members`` of them.

    Examples
    --------
    >>> member_seeds(5, 3), member_seeds([7, 7, 9], 3)
    ((5, 6, 7), (7, 7, 9))
    """
    if random_state is None or isinstance(random_state, (int, np.integer, str)):
        first = check_seed(random_state)
        return tuple(first + i for i in range(members))
    if not hasattr(random_state, "__iter__"):
        raise TypeError(f"random_state is {random_state!r}: give a seed, or one for each member")
    seeds = tuple(check_count(seed, "random_state", least=0) for seed in random_state)
    if len(seeds) != members:
        raise ValueError(f"random_state has {len(seeds)} seeds and there are {members} members")
    return seeds


def resolve_seeds(
    random_state: int | Sequence[int] | None, members: int | None
) -> tuple[int | list[int], tuple[int, ...]]:
    """Return what describes the seeds of one network or several, and the seed of each."""
    if members is None:
        seed = check_seed(random_state)  # type: ignore[arg-type]
        return seed, (seed,)
    seeds = member_seeds(random_state, members)
    return list(seeds), seeds


def check_member(i: int, members: int) -> int:
    """Return the place of a member, counted from the first one, or raise an error."""
    if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
        raise TypeError(f"a member is {i!r}: give a whole number")
    if not -members <= i < members:
        raise IndexError(f"there is no member {i}: there are {members}, 0 to {members - 1}")
    return int(i) % members


def own_numbers(description: Any) -> dict[str, tuple[Any, ...]]:
    """Return the options of a description that have a value for each member.

    Examples
    --------
    >>> from xpnet import Dropout
    >>> own_numbers(Dropout([0.1, 0.5])), own_numbers(Dropout(0.5))
    ({'p': (0.1, 0.5)}, {})
    """
    found = {}
    for f in fields(description):
        value = getattr(description, f.name, None) if f.init else None
        if isinstance(value, tuple) and _varies(f.type):
            found[f.name] = value
    return found


def _varies(annotation: Any) -> bool:
    """Return whether an option may have a value for each member, by its annotation."""
    return annotation == Numbers or any(name in str(annotation) for name in ("Numbers", "Rates"))


def check_own_numbers(description: Any, members: int | None) -> None:
    """Raise a ValueError if a description has values for more or fewer members than there are."""
    what = type(description).__name__
    for name, values in own_numbers(description).items():
        if members is None:
            raise ValueError(
                f"{name} of {what} has {len(values)} values, for so many members, and this is one "
                f"network: give one, or members={len(values)} to the Network"
            )
        if len(values) != members:
            raise ValueError(
                f"{name} of {what} has {len(values)} values and there are {members} members: give "
                "one for all, or one for each"
            )


def member_of(description: T, i: int) -> T:
    """Return the description of member i alone.

    Examples
    --------
    >>> from xpnet import Dropout
    >>> member_of(Dropout([0.1, 0.5]), 1)
    Dropout(p=0.5)
    """
    own = own_numbers(description)
    return replace(description, **{name: values[i] for name, values in own.items()})  # type: ignore[type-var]


def joined(descriptions: Sequence[T], what: str) -> T:
    """Return the description of several members: what differs becomes a value for each.

    Raises
    ------
    ValueError
        If they differ in what all members share.

    Examples
    --------
    >>> from xpnet import Dropout
    >>> joined([Dropout(0.1), Dropout(0.5)], "layer 1")
    Dropout(p=(0.1, 0.5))
    """
    first = descriptions[0]
    different: dict[str, tuple[Any, ...]] = {}
    for i, other in enumerate(descriptions):
        if type(other) is not type(first):
            raise ValueError(
                f"{what} is {first!r} in network 0 and {other!r} in network {i}: members share "
                "their architecture"
            )
    for f in fields(first):  # type: ignore[arg-type]
        values = tuple(getattr(d, f.name) for d in descriptions) if f.init else ()
        i = next((i for i, value in enumerate(values) if value != values[0]), 0)
        if i and not _varies(f.type):
            raise ValueError(
                f"{f.name} of {what} is {values[0]!r} in network 0 and {values[i]!r} in network "
                f"{i}: members share it"
            )
        if i:
            different[f.name] = values
    return replace(first, **different)  # type: ignore[type-var]


def on_device(description: T, backend: Backend, dtype: DType, *axes: int) -> T:
    """Return a copy for computing, whose values for each member are arrays (k, *axes)."""
    own = own_numbers(description)
    if not own:
        return description
    bound = copy.copy(description)
    for name, values in own.items():
        if all(isinstance(value, float) for value in values):
            object.__setattr__(bound, name, as_column(values, backend, dtype, *axes))
    return bound


def as_column(values: Sequence[float], backend: Backend, dtype: DType | type, *axes: int) -> Array:
    """Return a value for each member as an array (k, *axes) on the device."""
    return backend.asarray(np.array(values).reshape(len(values), *axes), dtype)


def leading_shape(members: int | None) -> tuple[int, ...]:
    """Return the axes before an array's own: none for one network."""
    return () if members is None else (check_count(members, "members"),)
