"""Which examples each member of a network is trained on, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np

from .._typing import HostArray
from ..checks import as_tuple, check_count, check_length

#: The rows of a data set that each member has.
Subsets: TypeAlias = Sequence[HostArray]


def check_subsets(
    subsets: Any, members: int | None, n: int, name: str = "subsets"
) -> list[HostArray] | None:
    """Return the rows of n that each member has, as arrays of row numbers; None if that is given.

    Parameters
    ----------
    subsets : sequence of array of int, array of bool, shape (k, n), or None
        Row numbers for each member, or which rows it has.
    members : int or None
        k; None for one network, which has no subsets.
    n : int
        How many rows there are.
    name : str
        What they are called.

    Raises
    ------
    TypeError, ValueError
        If there is not one for each member, or one is empty, holds a row twice, or rows that are
        not there.

    Examples
    --------
    >>> check_subsets([[2, 0], [1]], 2, 3)
    [array([2, 0]), array([1])]
    """
    if subsets is None:
        return None
    if members is None:
        raise ValueError(f"{name} are for members, and this is one network: give it X[rows]")
    if isinstance(subsets, str | Set | Mapping) or not hasattr(subsets, "__len__"):
        raise TypeError(f"{name} is {subsets!r}: give the row numbers of each of {members} members")
    if len(subsets) != members:
        raise ValueError(f"{name} has {len(subsets)} parts and there are {members} members")
    return [_rows(rows, n, f"{name}[{i}]") for i, rows in enumerate(subsets)]


def _rows(rows: Any, n: int, name: str) -> HostArray:
    """Return a member's rows as row numbers, or raise an error."""
    array = np.asarray(rows)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: give row numbers in one axis")
    if array.dtype.kind == "b":
        if len(array) != n:
            raise ValueError(f"{name} has {len(array)} truth values, and there are {n} rows")
        array = np.flatnonzero(array)
    if not array.size:
        raise ValueError(f"{name} is empty: give each member at least one row")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: give row numbers, or truth values")
    if array.min() < 0 or array.max() >= n:
        raise ValueError(
            f"{name} has rows from {array.min()} to {array.max()}: there are {n}, 0 to {n - 1}"
        )
    found, counts = np.unique(array, return_counts=True)
    if len(found) < len(array):
        raise ValueError(f"{name} has row {found[counts.argmax()]} more than once")
    return array.astype(np.int64)


def check_order_seed(order_seed: Any, members: int | None) -> int | tuple[int, ...] | None:
    """Return a seed of the order of batches, or that of each member, or None.

    Raises
    ------
    TypeError, ValueError
        If it is no seed and no k of them.

    Examples
    --------
    >>> check_order_seed([3, 3, 4], 3)
    (3, 3, 4)
    """
    if order_seed is None:
        return None
    several = as_tuple(order_seed, "order_seed")
    if not isinstance(several, tuple):
        return check_count(order_seed, "order_seed", 0, ", or one for each member")
    seeds = tuple(check_count(seed, "order_seed", 0) for seed in several)
    check_length(seeds, "order_seed", members)
    return seeds


def order_seeds(
    order_seed: int | tuple[int, ...] | None, seeds: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the seed of each member's order: for None its own of ``seeds``."""
    if order_seed is None:
        return seeds
    return order_seed if isinstance(order_seed, tuple) else (order_seed,) * len(seeds)


def alike(subsets: Subsets) -> bool:
    """Return whether all members have the same rows in the same order."""
    return all(np.array_equal(rows, subsets[0]) for rows in subsets)


def flattened(subsets: Subsets | None) -> HostArray | None:
    """Return all rows in one array, -1 behind those of each member."""
    return None if subsets is None else np.concatenate([np.append(rows, -1) for rows in subsets])
