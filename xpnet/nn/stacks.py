"""Layer stacks from hyper-parameters: what the estimators and ``xpnet train`` build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .layers import BatchNorm, Dropout, Layer, Linear


def hidden_stack(
    sizes: Sequence[int],
    activations: Sequence[Layer | None],
    n_outputs: int,
    *,
    batch_norm: bool = False,
    dropout: Sequence[float] = (),
    input_dropout: float = 0.0,
) -> list[Layer]:
    """Return Linear, batch norm, activation and dropout for each hidden layer, and a last Linear.

    Parameters
    ----------
    sizes : sequence of int
        Units of each hidden layer.
    activations : sequence of Layer or None
        One for each hidden layer, of which copies are used; None is the identity.
    n_outputs : int
        Units of the last layer.
    batch_norm : bool
        Whether batch norm comes before each activation.
    dropout : sequence of float
        Probability of dropping a unit, one for each hidden layer; none: nothing is dropped.
    input_dropout : float
        Probability of dropping a feature.

    Examples
    --------
    >>> from xpnet.nn.activations import ReLU
    >>> hidden_stack((8,), [ReLU()], 3, dropout=[0.5])
    [Linear(n_outputs=8, bias=None, init='auto'), ReLU(), Dropout(p=0.5), Linear(n_outputs=3, \
bias=None, init='auto')]
    """
    layers: list[Layer] = [Dropout(input_dropout)] if input_dropout else []
    drops = dropout or [0.0] * len(sizes)
    for size, activation, drop in zip(sizes, activations, drops, strict=True):
        layers.append(Linear(size))
        layers += [BatchNorm()] if batch_norm else []
        layers += [replace(activation)] if activation is not None else []
        layers += [Dropout(drop)] if drop else []
    return [*layers, Linear(n_outputs)]
