"""Buffers that kernels are given to work in, by the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._typing import NO_ARRAY, Array


@dataclass
class ScalarTable:
    """Tables of what changes from step to step, for `Kernels.advance`; all have two axes.

    Attributes
    ----------
    cursor : array, int64, shape (1,)
        The row that comes next.
    scalars, keys, starts : array, shape (rows, …)
        The optimiser's scalars, dropout's keys (uint64), where batches begin (int64).
    row, key, start : array, shape (1, …)
        What the row last copied says.
    """

    cursor: Array
    scalars: Array
    row: Array
    keys: Array
    key: Array
    starts: Array
    start: Array


@dataclass
class DropoutWork:
    """Buffers of `Kernels.dropout`.

    Attributes
    ----------
    counters, bits, shifted : array, uint64, shape (…, n, words)
        What the bits are computed from, the bits, and scratch.
    lanes : array, uint16, shape (…, n, m)
        A view of the bits, 16 for each element.
    lives : array, bool, shape (…, n, m)
        Scratch.
    mask : array, shape (…, n, m)
        0 where an element is dropped, else the scale.
    """

    counters: Array
    bits: Array
    shifted: Array
    lanes: Array
    lives: Array
    mask: Array


@dataclass
class Weighing:
    """Buffers of `Kernels.normalize_weights`.

    Attributes
    ----------
    total, safe, decay : array, shape (1, 1)
        The sum of the weights, the same but never 0, and λ over it.
    example_weight : array, shape (n, 1)
        The weights, divided by their sum.
    """

    total: Array
    safe: Array
    decay: Array
    example_weight: Array = NO_ARRAY


@dataclass
class RunningLoss:
    """Buffers of `Kernels.observe`, each of shape (…).

    Attributes
    ----------
    total, steps : array, float64
        Σ n · loss, and how many steps left it finite.
    term : array, float64
        Scratch.
    finite : array, bool
        Whether the sum is finite.
    """

    total: Array
    steps: Array
    term: Array
    finite: Array


@dataclass
class LossBuffers:
    """What a loss writes for a batch, and scratch.

    Attributes
    ----------
    dz : array, shape (…, n, m)
        The gradient with respect to the logits.
    loss : array, shape (…)
        The loss.
    terms : array, shape (…, n, m)
        Each output's own, or scratch.
    row : array, shape (…, n, 1)
        Scratch.
    registers : sequence of array, shape (…, n, m)
        Scratch of `OutputLoss.program`.
    mask : array of bool, shape (…, n, m), or None
        The same.
    """

    dz: Array
    loss: Array
    terms: Array
    row: Array
    registers: Sequence[Array] = ()
    mask: Array | None = None


@dataclass
class SoftmaxBuffers(LossBuffers):
    """The buffers of softmax cross-entropy.

    Attributes
    ----------
    other : array, shape (…, n, 1)
        Scratch.
    classes : array, shape (m,)
        0 … m−1.
    hot : array of bool, shape (…, n, m)
        Whether a class is the label.
    """

    other: Array = NO_ARRAY
    classes: Array = NO_ARRAY
    hot: Array = NO_ARRAY
