"""Networks from hyper-parameters: the layers and the loss of estimators and ``xpnet train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..checks import Numbers
from .batch_norm import BatchNorm
from .dropout import Dropout
from .layer import Layer
from .linear import Linear
from .loss import Loss
from .losses import SigmoidCrossEntropy


def hidden_stack(
    sizes: Sequence[int],
    activations: Sequence[Layer | None],
    n_outputs: int,
    *,
    batch_norm: bool = False,
    dropout: Sequence[Numbers] = (),
    input_dropout: Numbers = 0.0,
    linear: Callable[[int, bool], Layer] = lambda n_outputs, last: Linear(n_outputs),
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
    dropout : sequence of float, or of a tuple with one for each member
        Probability of dropping a unit, one for each hidden layer; none: nothing is dropped.
    input_dropout : float, or a tuple with one for each member
        Probability of dropping a feature.
    linear : function of (n_outputs, last)
        Returns a linear layer; whether it is the last one is the second argument.

    Examples
    --------
    >>> from xpnet.nn.activations import ReLU
    >>> hidden_stack((8,), [ReLU()], 3, dropout=[0.5])
    [Linear(n_outputs=8, bias=None, init='auto'), ReLU(), Dropout(p=0.5), Linear(n_outputs=3, \
bias=None, init='auto')]
    """
    layers: list[Layer] = [Dropout(input_dropout)] if input_dropout else []
    drops: Sequence[Numbers] = dropout or [0.0] * len(sizes)
    for size, activation, drop in zip(sizes, activations, drops, strict=True):
        layers.append(linear(size, False))
        layers += [BatchNorm()] if batch_norm else []
        layers += [replace(activation)] if activation is not None else []
        layers += [Dropout(drop)] if drop else []
    return [*layers, linear(n_outputs, True)]


def losses_for(of_classes: bool) -> dict[str, type[Loss]]:
    """Return the losses for labels that are classes, or for values, by name."""
    return {name: kind for name, kind in Loss.registry.items() if kind.of_classes == of_classes}


def units_for(loss: Loss, n_classes: int) -> int:
    """Return how many outputs a loss needs where each example is in one of so many classes.

    Raises
    ------
    ValueError
        If it can't tell so many apart.

    Examples
    --------
    >>> from xpnet.nn.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
    >>> units_for(SigmoidCrossEntropy(), 2), units_for(SoftmaxCrossEntropy(), 2)
    (1, 2)
    """
    if not isinstance(loss, SigmoidCrossEntropy):
        return n_classes
    if n_classes > 2:
        raise ValueError(
            f"loss is {loss.name} and there are {n_classes} classes, each example in one: give "
            "'softmax_cross_entropy', or leave it out"
        )
    return 1
