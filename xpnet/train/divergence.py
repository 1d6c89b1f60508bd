"""Where a diverging training went wrong: its last steps are made again, one layer at a time.

All of a step is a function of the weights and of counters, so what happened can be looked at after
the fact, and watching costs the training nothing.
"""

from __future__ import annotations

from .._typing import Array
from ..checks import all_finite
from ..data.batches import Batches
from ..nn.layer import Layer
from ..nn.passes import Bound
from .step import Step


def locate(update: Step, batches: Batches, epoch: int, first: int, good: int, bad: int) -> str:
    """Return in words where the first value arose that is not finite; nothing if it is not found.

    The steps from a good state on are made again, which changes the weights; not if the optimiser
    was set anew since, or a step was made on other data: they would be other steps.

    Parameters
    ----------
    update : Step
        In its last good state.
    batches : Batches
        What was trained on.
    epoch, first : int
        The running epoch, counted from 0, and its first step.
    good, bad : int
        How many steps the good state has seen; and which step, from 0, had a loss that is not
        finite.
    """
    if update.unchanged_since > good:
        return ""
    behind, at = divmod(good - first, len(batches))
    steps = iter(range(good, bad + 1))
    for each in range(epoch + behind, epoch + 1):
        for n, *arrays in batches.epoch(each, at):
            step = next(steps, bad)
            found = _weights(update, step)
            whole = update.accumulation.count == 1  # else memory has no room for a whole batch
            if not found and whole:
                update.scalars.seek(step)
                update.backend.kernels.advance(update.scalars.table)
                update.scalars.next = None
                found = _layer(update, batches.gather(update.scalars.start, n, *arrays), step)
            if found or step == bad:
                return found
            update.make(n, batches.gather, *arrays)
        at = 0
    return _weights(update, bad)


def _weights(update: Step, step: int) -> str:
    """Return where a parameter is not finite, and by which update."""
    for layer in update.network.layers:
        for name, array in (layer.parameters | layer.statistics).items():
            if not all_finite(array, update.backend.xp):
                return f"in the {name} of {_called(layer)}, by the update of step {step}"
    return ""


def _layer(update: Step, batch: tuple[Array, Array, Array | None], step: int) -> str:
    """Return where a batch's way forward and back is not finite."""
    net, (x, y, weights) = update.network, batch
    run = net.passes.bind(x.shape[-2], training=True)
    for layer, forward, buffers in run.forward:
        x = forward(x, buffers)
        if not all_finite(x, update.backend.xp):
            return f"in the output of {_called(layer)}, in step {step + 1}"
    dz = _gradient(update, run, x, y, weights)
    if not all_finite(run.loss.loss, update.backend.xp):
        return f"in the loss, in step {step + 1}"
    for layer, backward, buffers in run.backward:
        dz = backward(dz, buffers)
        arrays = [*layer.gradients.values(), *([] if dz is None else [dz])]
        if not all(all_finite(array, update.backend.xp) for array in arrays):
            return f"in the gradient of {_called(layer)}, in step {step + 1}"
    return ""


def _gradient(update: Step, run: Bound, z: Array, y: Array, weights: Array | None) -> Array:
    example_weight = None if weights is None else update.cost.normalize_weights(weights)[0]
    net, kernels = update.network, update.backend.kernels
    if run.repetition is not None:
        y, example_weight = run.repetition(kernels, y, example_weight)
    share = 1.0 / z.shape[-2] if example_weight is None else example_weight
    net.loss.compute(kernels, z, y, share, run.loss)
    return run.loss.dz


def _called(layer: Layer) -> str:
    return f"layer {layer.index} ({type(layer).__name__})"
