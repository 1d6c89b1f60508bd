"""Randomness as a function: everything random is computed from a seed and counters.

Nothing in the library holds the state of a random generator. What is drawn depends only on the
run's seed, what it is drawn for, and where in the run it is drawn (layer, epoch or step). So the
same seed gives the same weights and the same mini-batches on every backend and in every precision,
and a run can be resumed exactly from its counters.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ._typing import Array

#: Added from one counter to the next, and the two multipliers of the finaliser: the constants of
#: SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
#: finaliser by Stafford, variant 13).
GAMMA = 0x9E3779B97F4A7C15
MULTIPLIER_1 = 0xBF58476D1CE4E5B9
MULTIPLIER_2 = 0x94D049BB133111EB


class Purpose(IntEnum):
    """What random numbers are drawn for: each purpose has streams of its own."""

    WEIGHTS = 0
    BATCHES = 1
    DROPOUT = 2
    PARTITION = 3
    MONITOR = 4
    AUGMENTATION = 5
    SEARCH = 6
    BINS = 7
    QUANTILES = 8
    NOISE = 9


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Return the NumPy generator that belongs to a seed, a purpose and counters.

    Parameters
    ----------
    seed : int
        The run's seed, 0 or more.
    purpose : Purpose
        What the numbers are for.
    *key : int
        Where they are drawn: a layer's index, an epoch, …

    Examples
    --------
    >>> generator(0, Purpose.BATCHES, 3).permutation(4)
    array([2, 0, 3, 1])
    >>> generator(0, Purpose.BATCHES, 3).permutation(4)
    array([2, 0, 3, 1])
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key)))


def word(seed: int, purpose: Purpose, *key: int) -> int:
    """Return 64 random bits for a seed, a purpose and counters, as an int."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose), *key))
    return int(sequence.generate_state(1, np.uint64)[0])


def step_keys(
    seeds: Sequence[int], steps: range, behind: Sequence[int] | None = None
) -> NDArray[np.uint64]:
    """Return 64-bit keys for each step: what dropout's masks of that step are computed from.

    Parameters
    ----------
    seeds : sequence of int
        The seeds of the k networks that are trained at once, one or more.
    steps : range
        The steps' numbers.
    behind : sequence of int, or None
        How many steps fewer each network has made.

    Returns
    -------
    numpy.ndarray
        uint64, shape (len(steps), k): ``mix64`` of a counter, so neighbours share nothing.
    """
    fewer = [0] * len(seeds) if behind is None else behind
    return np.hstack(
        [
            _keys(word(seed, Purpose.DROPOUT), range(steps.start - less, steps.stop - less))
            for seed, less in zip(seeds, fewer, strict=True)
        ]
    )


def augmentation_keys(seed: int, epoch: int, batches: int) -> NDArray[np.uint64]:
    """Return one 64-bit key for each mini-batch of an epoch: what it is augmented from."""
    return _keys(word(seed, Purpose.AUGMENTATION, epoch), range(batches))


def _keys(start: int, counted: range) -> NDArray[np.uint64]:
    counters = np.arange(counted.start, counted.stop, dtype=np.uint64)[:, None]
    return np.asarray(mix64(np.uint64(start) + counters * np.uint64(GAMMA)))


def mix64(x: Array) -> Array:
    """Scramble an array of 64-bit counters into random bits (SplitMix64's finaliser).

    The array may live on any backend. ``Kernels.dropout`` does the same in buffers.

    Examples
    --------
    The first outputs of SplitMix64 from state 0:

    >>> [hex(int(v)) for v in mix64(np.array([GAMMA], np.uint64))]
    ['0xe220a8397b1dcdaf']
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(MULTIPLIER_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(MULTIPLIER_2)
    return x ^ (x >> np.uint64(31))
