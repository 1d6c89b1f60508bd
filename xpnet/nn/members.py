"""Networks that are trained at once: their seeds, and descriptions with a number for each.

Where a description, a layer's or a loss's or an optimiser's, says `Numbers`, there may be one
number for all members or one for each. All else is shared.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from .._typing import Array, DType
from ..backends.protocol import Backend
from ..checks import PER_MEMBER, Numbers, as_tuple, check_count, check_numbers, each
from ..registry import annotations_of, is_own
from .description import check_seed
from .schedule import RateFunction, require_one_kind

T = TypeVar("T")

#: More networks than anyone trains at once, and few enough to count.
MOST_MEMBERS = 2**20


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
    several = as_tuple(random_state, "random_state")
    if not isinstance(several, tuple):
        first = check_seed(several)
        return tuple(first + i for i in range(members))
    seeds = tuple(check_count(seed, "random_state", least=0) for seed in several)
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
    values = {name: getattr(description, name) for name in _own_options(type(description))}
    return {name: value for name, value in values.items() if isinstance(value, tuple)}


def schedules_of(description: Any) -> list[RateFunction]:
    """Return the schedules and functions among the options of a description.

    Examples
    --------
    >>> from xpnet import Adam, Cosine, Dropout
    >>> schedules_of(Adam(0.1)), schedules_of(Dropout([Cosine(0.1), Cosine(0.3)]))[1].initial
    ([], 0.3)
    """
    several = [getattr(description, name) for name in _own_options(type(description))]
    values = [value for found in several for value in each(found)]
    return [value for value in values if callable(value)]


#: What `_own_options` has found.
_found: WeakKeyDictionary[type[Any], frozenset[str]] = WeakKeyDictionary()


def _own_options(cls: type[Any]) -> frozenset[str]:
    """Return the options of which each member may have its own, as their annotations say."""
    if cls not in _found:
        marks = {name: getattr(a, "__metadata__", ()) for name, a in annotations_of(cls).items()}
        _found[cls] = frozenset(name for name, found in marks.items() if PER_MEMBER in found)
    return _found[cls]


def varies(cls: type[Any], name: str) -> bool:
    """Return whether each member may have its own of a description's option.

    Examples
    --------
    >>> from xpnet import Dropout, Linear
    >>> varies(Dropout, "p"), varies(Linear, "units")
    (True, False)
    """
    return name in _own_options(cls)


def check_own_numbers(description: Any, members: int | None) -> None:
    """Raise an error if a description has values for more or fewer members than there are.

    Those of a user's own class, which may check nothing itself, are made numbers or tuples.
    """
    what = type(description).__name__
    for name in _own_options(type(description)):
        value = getattr(description, name)
        if annotations_of(type(description))[name] == Numbers and not isinstance(value, float):
            object.__setattr__(description, name, check_numbers(value, f"{name} of {what}"))
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


def alone(description: T) -> list[T]:
    """Return the description, or that of each member alone where they have values of their own.

    Examples
    --------
    >>> from xpnet import Dropout
    >>> alone(Dropout(0.1)), alone(Dropout([0.1, 0.5]))
    ([Dropout(p=0.1)], [Dropout(p=0.1), Dropout(p=0.5)])
    """
    own = own_numbers(description)
    if not own:
        return [description]
    return [member_of(description, i) for i in range(len(next(iter(own.values()))))]


def check_one_type(descriptions: Sequence[Any], what: str) -> None:
    """Raise a ValueError if descriptions of several members are of different types."""
    first = descriptions[0]
    for i, other in enumerate(descriptions):
        if type(other) is not type(first):
            raise ValueError(
                f"{what} is {first!r} in network 0 and {other!r} in network {i}: members share "
                "their architecture"
            )


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
    check_one_type(descriptions, what)
    first = descriptions[0]
    different: dict[str, tuple[Any, ...]] = {}
    for f in fields(first):  # type: ignore[arg-type]
        values = tuple(getattr(d, f.name) for d in descriptions) if f.init else ()
        i = next((i for i, value in enumerate(values) if value != values[0]), 0)
        if i and f.name not in _own_options(type(first)):
            raise ValueError(
                f"{f.name} of {what} is {values[0]!r} in network 0 and {values[i]!r} in network "
                f"{i}: members share it"
            )
        if i:
            different[f.name] = values
    return replace(first, **different)  # type: ignore[type-var]


def check_same_type(description: Any, other: Any, what: str) -> None:
    """Raise a ValueError if another description can't be that of a member."""
    if type(other) is not type(description):
        raise ValueError(
            f"{what} is {other!r}, and {description!r} in the network: members share their "
            "architecture"
        )


def changes(description: Any, i: int, other: Any, members: int, what: str) -> dict[str, Any]:
    """Return the options that change where member i becomes what another description says.

    Parameters
    ----------
    description : Layer, Loss or Optimizer
        Of all members.
    i : int
        Which one is replaced.
    other : Layer, Loss or Optimizer
        Of one network.
    members : int
        How many there are.
    what : str
        What it is called.

    Returns
    -------
    dict
        By name a value for each member.

    Raises
    ------
    ValueError
        If they differ in what all members share.

    Examples
    --------
    >>> from xpnet import Dropout
    >>> changes(Dropout(0.1), 2, Dropout(0.5), 3, "layer 1")
    {'p': (0.1, 0.1, 0.5)}
    """
    check_same_type(description, other, what)
    changed: dict[str, Any] = {}
    for name in (f.name for f in fields(description) if f.init):
        value, held = getattr(other, name), getattr(description, name)
        if name not in _own_options(type(description)):
            if value != held:
                raise ValueError(
                    f"{name} of {what} is {value!r}, and {held!r} in the network: members share it"
                )
            continue
        several = held if isinstance(held, tuple) else (held,) * members
        if value != several[i]:
            changed[name] = (*several[:i], value, *several[i + 1 :])
            require_one_kind(changed[name], f"{name} of {what}")
    return changed


def changed_to(description: T, changed: Mapping[str, Any]) -> T:
    """Return a description with other values of options, which were checked already.

    Examples
    --------
    >>> from xpnet import Adam
    >>> changed_to(Adam((0.1, 0.2)), {"learning_rate": (0.1, 0.3)}).learning_rate
    (0.1, 0.3)
    """
    if not changed:
        return description
    if not is_own(type(description)):  # it may keep what it computes from them
        return replace(description, **changed)  # type: ignore[type-var]
    found = copy.copy(description)
    held = vars(found)
    for name in held.keys() - {f.name for f in fields(found)}:  # type: ignore[arg-type]
        del held[name]  # was computed from the values before
    held.update(changed)
    return found


def write_members(bound: Any, i: int, changed: Mapping[str, Any]) -> bool:
    """Write member i's values into the arrays of a copy for computing, if that holds such arrays.

    Parameters
    ----------
    bound : Loss or Optimizer
        What `on_device` returned.
    i : int
        Which member.
    changed : mapping
        What `changes` returned.

    Returns
    -------
    bool
        Whether they were written: else a copy must be made anew.
    """
    arrays = [getattr(bound, name) for name in changed]
    if changed and not (is_own(type(bound)) and all(hasattr(a, "ndim") for a in arrays)):
        return False
    for array, values in zip(arrays, changed.values(), strict=True):
        array[i] = values[i]
    return True


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
    if members is None:
        return ()
    if check_count(members, "members") > MOST_MEMBERS:
        raise ValueError(f"members is {members}: give at most {MOST_MEMBERS:,}")
    return (int(members),)
