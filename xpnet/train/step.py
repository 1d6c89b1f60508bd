"""The update: the path of a mini-batch, as work of the device that can be replayed.

``batch → Network.forward → Loss.gradient → Network.backward → Optimizer.update → Meter``
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from .._typing import Array
from ..backends.memory import explain, free
from ..checks import check_not_negative
from ..nn.network import Network
from ..optim.optimizers import Optimizer
from .accumulation import GradientAccumulation
from .history import Meter
from .rollback import Rollback
from .step_scalars import StepScalars

#: Batch sizes whose steps are kept for replay: a caller may try every size.
MOST_REPLAYS = 64


class Updates:
    """Makes updates of a network, and holds what they write: moments, sums, the last good state.

    Parameters
    ----------
    network : Network
        What is updated.
    optimizer : Optimizer
        How.
    l2 : float
        λ of the L2 term.
    clip_norm : float or None
        The largest norm of a gradient; a longer one is shortened.

    Attributes
    ----------
    moments : list of array
        The optimiser's, as the network's parameters.
    meter : Meter
        Adds up the losses.
    rollback : Rollback
        Where to go back to when they are not finite.
    scalars : StepScalars
        What changes from step to step.
    accumulation : GradientAccumulation
        In how many micro-batches a gradient is computed.
    unchanged_since : int
        The first step since the optimiser, its rate, λ or the largest norm was last set anew, and
        since the last step on data that are not at hand any more.
    """

    def __init__(
        self, network: Network, optimizer: Optimizer, l2: float, clip_norm: float | None = None
    ) -> None:
        self.network, self.backend, xp = network, network.backend, network.backend.xp
        self.scalars = StepScalars(network, optimizer)
        self.optimizer, self.l2, self.clip_norm = optimizer, l2, clip_norm
        self.moments = [xp.zeros_like(network.parameters) for _ in range(optimizer.n_moments)]
        self.meter = Meter(self.backend, network.leading_shape)
        self.rollback = Rollback(
            self.backend, [network.parameters, network.statistics, *self.moments]
        )
        n_scratch = max(1, optimizer.n_scratch)
        self._registers = [xp.empty_like(network.parameters) for _ in range(n_scratch)]
        self._scratch = self._registers[0]
        weights = slice(0, network.n_weights)
        decayed = network.gradients, network.parameters, self._scratch
        self._decayed = [array[..., weights] for array in decayed]
        self._norm = xp.empty((*network.leading_shape, 2), network.dtype)
        self._example_weights: dict[int, Array] = {}
        names = ("total", "safe", "decay")
        self._weighing = SimpleNamespace(**{k: xp.empty((1, 1), network.dtype) for k in names})
        self.accumulation = GradientAccumulation(network)
        self._statistics_before = xp.empty_like(network.statistics)
        self.unchanged_since, self._has_changed = 0, False
        self._replayed: Any = None
        self._replays: dict[Any, Callable[..., Array]] = {}

    @property
    def optimizer(self) -> Optimizer:
        """How to update."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        old = getattr(self, "_optimizer", optimizer)
        if type(optimizer) is not type(old) or optimizer.n_moments != old.n_moments:
            raise TypeError(
                f"optimizer is {optimizer!r}: give one that goes on with the moments of {old!r}, "
                "or make a new Trainer of this network"
            )
        self._has_changed = True
        self._optimizer = optimizer
        #: All but the rate is a part of what is replayed.
        self._fixed = replace(optimizer, learning_rate=1.0)
        self.scalars.forget()

    @property
    def l2(self) -> float:
        """λ of the L2 term."""
        return self._l2

    @l2.setter
    def l2(self, l2: float) -> None:
        self._l2 = check_not_negative(l2, "l2")
        self._has_changed = True

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of a gradient, or None."""
        return self._clip_norm

    @clip_norm.setter
    def clip_norm(self, limit: float | None) -> None:
        if limit is not None and not check_not_negative(limit, "clip_norm"):
            raise ValueError("clip_norm is 0: give a number above 0, or None for no clipping")
        self._clip_norm = None if limit is None else float(limit)
        self._has_changed = True

    def forget_changes(self, step: int) -> None:
        """Begin at a step: those from it on can be made again, until something changes."""
        self.unchanged_since, self._has_changed = step, False

    def note_changes(self, step: int) -> None:
        """Take note of what was set anew before a step."""
        if self._has_changed:
            self.forget_changes(step)

    def make(self, step: int, n: int, batch: Callable[..., Any], *arrays: Array | None) -> Array:
        """Make an update with n examples.

        ``batch(start, n, *arrays)`` is rows, labels and weights; ``start``, an array of shape (1,),
        says how many examples of the epoch came before.

        Returns the mean loss before it, in a static buffer.
        """
        self.note_changes(step)
        if self.accumulation.splits:
            self.backend.xp.copyto(self._statistics_before, self.network.statistics)
        self.scalars.seek(step, self._optimizer)
        snapshots = self.rollback.is_due(step)
        replay = self._replay(n, batch, snapshots, arrays[-1] is None)
        loss: Array = replay(partial(self._compute, batch, n, snapshots), *arrays)
        self.scalars.advanced(step)
        return loss

    def split(self, error: Exception, n: int) -> bool:
        """Take twice as many micro-batches if an error says that memory does not suffice.

        Returns
        -------
        bool
            Whether to try again: False for another error, and where one is as small as may be.
        """
        accumulation, least = self.accumulation, self.network.min_batch
        too_small = 2 * accumulation.count * least > n
        if not accumulation.splits or too_small or not self.backend.is_out_of_memory(error):
            return False
        free(self.backend, error, self._let_go)
        self.backend.xp.copyto(self.network.statistics, self._statistics_before)
        accumulation.count *= 2
        norm = " Batch norm then takes each micro-batch's statistics." if least > 1 else ""
        message = (
            f"batches of {n:,} examples don't fit: in {accumulation.count} micro-batches from now "
            f"on.{norm}"
        )
        warnings.warn(message, UserWarning, stacklevel=2)
        return True

    def _let_go(self) -> None:
        self.forget()
        self.network.let_go()

    def explain(self, error: Exception, n: int) -> None:
        """Raise an OutOfMemoryError if an error with batches of n says so, and free their buffers.

        Raises
        ------
        OutOfMemoryError
            In that case; for any other error nothing is done.
        """
        net = self.network
        size = f"{net.n_parameters:,} parameters, {net.dtype.name}"
        what = f"training on batches of {n:,} examples ({size})"
        ways = ["a smaller batch_size"]
        if not self.accumulation.splits:
            ways.append("micro_batches='auto'")
        if net.dtype.itemsize > 4:
            ways.append("dtype='float32'")
        explain(self.backend, error, what, f"Try {' or '.join(ways)}", self._let_go)

    def is_finite(self) -> bool:
        """Return whether parameters and statistics are: what the last update made has no loss yet.

        No memory is taken that grows with the network.
        """
        xp, net = self.backend.xp, self.network
        xp.multiply(net.parameters, 0.0, out=self._scratch)  # NaN where one is not finite
        return bool((self._scratch.sum() == 0.0) & xp.isfinite(net.statistics).all())

    def _compute(
        self, batch: Callable[..., Any], n: int, snapshots: bool, *arrays: Array | None
    ) -> Array:
        """Compute an update: all of it is work of the device."""
        net, kernels = self.network, self.backend.kernels
        self.scalars.advance()
        x, y, weights = batch(self.scalars.start, n, *arrays)
        example_weight, decay = (
            (None, self._l2 / n) if weights is None else self.normalize_weights(weights)
        )
        loss = self.accumulation.loss_and_gradient(x, y, example_weight)
        if self._l2:
            g, p, scratch = self._decayed
            kernels.add_decay(g, p, decay, scratch)
        if self._clip_norm is not None:
            kernels.clip_norm(net.gradients, self._clip_norm, self._norm, self._scratch)
        self.meter.add(loss, n)
        if snapshots:
            self.rollback.snapshot(self.meter.finite)
        scalars = self.scalars.scalars
        buffers = net.parameters, net.gradients, self.moments
        self._optimizer.update(kernels, *buffers, scalars, self._registers, net.n_weights)
        return loss

    def normalize_weights(self, weights: Array) -> tuple[Array, Array]:
        """Return the share of each example in the loss, and λ over the sum of the weights."""
        n, xp = weights.shape[0], self.backend.xp
        if (
            n not in self._example_weights
        ):  # a graph reads it: none may be let go before the graphs are
            self._example_weights[n] = xp.empty((n, 1), weights.dtype)
        work = self._weighing
        work.example_weight = self._example_weights[n]
        self.backend.kernels.normalize_weights(weights, self._l2, work)
        return work.example_weight, work.decay[0]

    def _replay(
        self, n: int, batch: Callable[..., Any], snapshots: bool, lacking: bool
    ) -> Callable[..., Array]:
        """Return what replays the same update: on the same buffers, from the same data set.

        Those of another data set stay: a callback may go to and fro between two.
        """
        buffers = self.network.reserve(self.accumulation.size(n), training=True)
        fixed = self._fixed, self._l2, self._clip_norm, self.accumulation.count
        repeated = buffers, fixed
        if repeated != self._replayed or len(self._replays) > MOST_REPLAYS:
            self.forget()
            self._replayed = repeated
        key = batch, n, snapshots, lacking
        if key not in self._replays:
            self._replays[key] = self.backend.replay(self._lasting(snapshots), self._fresh)
        return self._replays[key]

    def _lasting(self, snapshots: bool) -> list[Array]:
        """Return the arrays that an update changes and that later ones read."""
        copies = self.rollback.copies if snapshots else []
        net = self.network
        counters = [*self.meter.arrays, *self.scalars.arrays]
        return [net.parameters, net.statistics, *self.moments, *copies, *counters]

    def _fresh(self) -> list[Array]:
        """Return what an update writes before it reads it, and may find there already."""
        weighing = [*vars(self._weighing).values(), *self._example_weights.values()]
        return [self.meter.finite, *self.scalars.found, *weighing]

    def forget(self) -> None:
        """Let go of what is replayed, and of the buffers and the data set in it."""
        self._replayed = None
        self._replays.clear()
        self._example_weights.clear()
        self.accumulation.forget()
