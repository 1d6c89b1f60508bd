"""Sums and maxima along an axis: what other kernels are made of, and a backend may do better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._typing import Array, Namespace


def host_erf(x: Array, out: Array) -> None:
    """Write the error function of a host's array."""
    from scipy.special import erf

    erf(x, out=out)


class SumKernels:
    """The reference kernels for sums; see `reference.Kernels`."""

    def __init__(self, xp: Namespace) -> None:
        self.xp = xp
        self.erf: Callable[..., Any] = host_erf

    def sum_examples(self, x: Array, out: Array) -> None:
        """Add up over the examples: ``out`` has shape (…, 1, m)."""
        self.xp.sum(x, axis=-2, keepdims=True, out=out)

    def sum_features(self, x: Array, out: Array) -> None:
        """Add up over the features: ``out`` has shape (…, n, 1)."""
        self.xp.sum(x, axis=-1, keepdims=True, out=out)

    def max_features(self, x: Array, out: Array) -> None:
        """Take the largest feature of each example: ``out`` has shape (…, n, 1)."""
        self.xp.max(x, axis=-1, keepdims=True, out=out)
