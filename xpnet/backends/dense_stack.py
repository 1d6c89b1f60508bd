"""A stack of dense layers as a table: what a kernel needs to go through all of them in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from .._typing import HostArray
from .activations import KINDS, ActivationSpec

#: What a step computes, as the table's first column says.
PRODUCT, BATCH_NORM, ACTIVATION = range(3)

#: In the table, the place of an array that there is not.
ABSENT: Final = -1


class DenseStep(NamedTuple):
    """A step of a layer's way in prediction: its operation, and what it is given.

    Attributes
    ----------
    operation : int
        `PRODUCT`: X Wᵀ, and + b if there is a second name. `BATCH_NORM`: γ (x − μ) / √(σ² + ε) + β.
        `ACTIVATION`: f(x).
    width : int
        How many features come out.
    names : tuple of str
        The layer's own arrays: W and b; or γ, β, μ and σ².
    activation : ActivationSpec or None
        f.
    eps : float
        ε.
    """

    operation: int
    width: int
    names: tuple[str, ...] = ()
    activation: ActivationSpec | None = None
    eps: float = 0.0


@dataclass(frozen=True)
class DenseStack:
    """Dense layers in a row.

    Attributes
    ----------
    table : array, int64, shape (steps, 7)
        Of each step its operation, how many features go in and come out, and four numbers: where
        in the flat buffers W and b begin, or γ, β, μ and σ²; or the row of the activation.
    options : array, float64, shape (steps,)
        ε, or the activation's option.
    widest : int
        The most features that go into a step, or come out.
    in_place : frozenset of (int, int)
        The operations that there are but products, each with the row of its activation, or 0.
    calls_functions : bool
        Whether an activation calls exp, tanh or their like.
    """

    table: HostArray
    options: HostArray
    widest: int
    in_place: frozenset[tuple[int, int]]
    calls_functions: bool


def tabulate(n_features: int, steps: Sequence[tuple[DenseStep, Sequence[int]]]) -> DenseStack:
    """Return the table of steps, each with the places of its arrays in the flat buffers.

    Examples
    --------
    >>> from xpnet.backends.activations import specify
    >>> steps = [(DenseStep(PRODUCT, 2, ("weight", "bias")), (0, 6)),
    ...          (DenseStep(ACTIVATION, 2, activation=specify("relu")), ())]
    >>> tabulate(3, steps).table.tolist()
    [[0, 3, 2, 0, 6, -1, -1], [2, 2, 2, 1, -1, -1, -1]]
    """
    table = np.full((len(steps), 7), ABSENT, np.int64)
    options, width = np.zeros(len(steps)), n_features
    in_place, specs = set(), []
    for row, (step, places) in enumerate(steps):
        table[row, :3] = step.operation, width, step.width
        table[row, 3 : 3 + len(places)] = places
        options[row], kind = step.eps, 0
        if step.activation is not None:
            specs.append(step.activation)
            kind, options[row] = KINDS[step.activation.name], step.activation.option
            table[row, 3] = kind
        if step.operation != PRODUCT:
            in_place.add((step.operation, kind))
        width = step.width
    functions = any(bool(spec.row.forward.functions) for spec in specs)
    return DenseStack(table, options, int(table[:, 1:3].max()), frozenset(in_place), functions)
