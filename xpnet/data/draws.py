"""The random numbers of a mini-batch, computed from its key on the device."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .._typing import Array, Namespace
from ..randomness import GAMMA, Purpose, mix64, word


class Draws:
    """Random numbers of one mini-batch: the k-th call gives stream k of the batch's key.

    Parameters
    ----------
    xp : module
        The array namespace.
    key : array, uint64, shape (1,)
        64 bits, on the device.
    dtype : dtype
        Of the numbers.
    """

    def __init__(self, xp: Namespace, key: Array, dtype: Any) -> None:
        self._xp, self._key, self._dtype = xp, key, np.dtype(dtype).type
        self._streams = 0

    def bits(self, *shape: int) -> Array:
        """Return 64 random bits for each element."""
        self._streams += 1
        counters: Array = self._xp.arange(math.prod(shape), dtype=np.uint64)
        counters *= np.uint64(GAMMA)
        counters += np.uint64(_salt(self._streams))
        counters += self._key
        return mix64(counters).reshape(shape)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        """Return numbers from [low, high), in steps of 2⁻²⁴ of it: the same in either precision."""
        return self._unit(self.bits(*shape)) * (high - low) + low

    def whole(self, low: int, high: int, *shape: int) -> Array:
        """Return whole numbers from low to high, both included."""
        return self._xp.floor(self.uniform(low, high + 1, *shape))

    def normal(self, *shape: int) -> Array:
        """Return numbers from N(0, 1), by Box and Muller's transform of two uniform ones."""
        xp, bits = self._xp, self.bits(*shape)
        radius = xp.sqrt(-2.0 * xp.log(1.0 - self._unit(bits)))
        return radius * xp.cos(2.0 * math.pi * self._unit(bits << np.uint64(24)))

    def _unit(self, bits: Array) -> Array:
        unit: Array = (bits >> np.uint64(40)).astype(self._dtype) * self._dtype(2.0**-24)
        return unit


@lru_cache
def _salt(stream: int) -> int:
    return word(stream, Purpose.AUGMENTATION)
