"""The step: the path of a mini-batch, as work of the device that can be replayed.

``batch → Passes.loss_and_gradient → Optimizer.update``, with what belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .._typing import Array, HostArray
from ..backends.memory import explain, free, require
from ..checks import Numbers, check_not_negative
from ..data.batches import Size
from ..locks import PATIENCE, ForkSafeLock
from ..nn.members import changed_to, own_numbers, write_members
from ..nn.network import Network
from ..optim.optimizers import Optimizer
from ..warning import warn
from .cost import Cost
from .factors import Factors
from .freezing import Freezing
from .history import Meter
from .member_numbers import MemberNumbers
from .member_steps import MemberSteps
from .replays import Replays, Update
from .rollback import SNAPSHOT_EVERY, Rollback
from .step_scalars import StepScalars

#: What makes a batch: a function of where it starts in the epoch's order, its examples, and arrays.
Batch = Callable[..., tuple[Any, Any, Any]]


class Step:
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
    factors : Factors or None
        Of the network's parameters; None: those that its layers ask for.

    Attributes
    ----------
    count : int
        The updates made so far.
    moments : list of array
        The optimiser's, as the network's parameters.
    meter : Meter
        Adds up the losses.
    rollback : Rollback
        Where to go back to when they are not finite.
    freezing : Freezing
        Which members are trained.
    scalars : StepScalars
        What changes from step to step.
    idle : list of int
        How many of the updates each member was not part of; negative of one that has made more
        before it took another one's place.
    replaces : bool
        Whether a member has been replaced: then they may be apart at any time.
    cost : Cost
        What an update goes down.
    accumulation : GradientAccumulation
        In how many micro-batches a gradient is computed.
    unchanged_since : int
        The first step since the optimiser, its rate, λ or the largest norm was last set anew, and
        since the last step on data that are not at hand any more.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        l2: Numbers,
        clip_norm: Numbers | None = None,
        factors: Factors | None = None,
    ) -> None:
        self.network, self.backend, xp = network, network.backend, network.backend.xp
        self._numbers = MemberNumbers(network.backend, network.dtype, network.members)
        self.count = self.unchanged_since = 0
        self._replays = Replays(network.passes)
        self.idle, self.replaces = [0] * len(network.seeds), False
        self._optimizer, self._fixed = optimizer, self._numbers.fixed(optimizer)
        self._bound = self._numbers.bound(self._fixed)
        self.factors = factors or Factors(network, optimizer)
        copies = 2 + 2 * optimizer.n_moments + self.factors.n_scratch(self._bound)
        nbytes = copies * network.parameters.nbytes
        require(self.backend, nbytes, "the training", "Give fewer members, or narrower layers")
        self.moments = [xp.zeros_like(network.parameters) for _ in range(optimizer.n_moments)]
        self.meter = Meter(self.backend, network.leading_shape)
        self.rollback = Rollback(
            self.backend, [network.parameters, network.statistics, *self.moments]
        )
        updated = [network.parameters, *self.moments]
        self.freezing = Freezing(self.backend, network.members, network.statistics, updated)
        self.scalars = StepScalars(network, optimizer, self.idle, active=self.freezing.active)
        self._registers = [xp.empty_like(network.parameters)]
        self._add_registers()
        self._scratch = self._registers[0]
        self.cost = Cost(network, self._scratch)
        self.accumulation = self.cost.accumulation
        self.cost.l2, self.cost.clip_norm = self._check_l2(l2), self._check_clip_norm(clip_norm)
        self._one_by_one: MemberSteps | None = None
        self._statistics_before = xp.empty_like(network.statistics)
        self._has_changed = False
        #: A fork waits for an update: its child finds none that is half-made.
        self._turn = ForkSafeLock(PATIENCE)

    def make(self, n: Size, batch: Batch, *arrays: Array | None) -> Array:
        """Make an update with n examples; return the mean loss before it, in a static buffer.

        ``batch(start, n, *arrays)`` is rows, labels and weights; ``start``, an array of shape (1,),
        says how many examples of the epoch came before. If members have different numbers of them,
        it is lists of each one's own; one that has none is left as it is.

        Raises
        ------
        OutOfMemoryError
            If the device's memory does not suffice; no parameter has been updated then.
        """
        if self._has_changed:
            self.forget_changes()
        if self.accumulation.splits:
            self.backend.xp.copyto(self._statistics_before, self.network.statistics)
        alike, scalars = isinstance(n, int), self.scalars
        snapshots = not (self.count - self.rollback.since) % SNAPSHOT_EVERY
        try:
            if self.count != scalars.next or self.count not in scalars.plan:
                scalars.seek(self.count, () if isinstance(n, int) else n)
            micro_batches, last = self.accumulation.count, arrays[-1]
            frozen = self.freezing.some if alike else (*self._trained(n),)
            key = batch, n, snapshots, last is None or last.ndim, micro_batches, frozen
            kept = self.network.passes.generation, key
            update = self._replays.found.get(kept) or self._replay(*key)
            scalars.next = None  # the device may fail before it has advanced, or after
            with self._turn.lock:
                loss = update(*arrays)
        except Exception as error:
            if self._split(error, n):
                return self.make(n, batch, *arrays)
            self.explain(error, n)
            raise
        scalars.next = self.count = self.count + 1
        if self.freezing.some or not alike:
            self._count_idle(n)
        return loss

    def _compute(
        self, batch: Batch, n: int, snapshots: bool, frozen: bool, *arrays: Array | None
    ) -> Array:
        """Compute an update: all of it is work of the device."""
        net, kernels, scalars = self.network, self.backend.kernels, self.scalars
        kernels.advance(scalars.table)
        loss = self.cost.loss_and_gradient(*batch(scalars.start, n, *arrays))
        counted = self.freezing.counted(loss) if frozen else loss
        kernels.observe(counted, n, self.meter.work)
        if snapshots:
            self.rollback.snapshot(self.meter.finite)
        self._bound.update(
            kernels,
            net.parameters,
            net.gradients,
            self.moments,
            scalars.scalars,
            self._registers,
            net.n_weights,
            *self.factors.given,
        )
        if frozen:
            self.freezing.put_back()
        return loss

    def _compute_one_by_one(
        self,
        batch: Batch,
        sizes: tuple[int, ...],
        snapshots: bool,
        trained: tuple[int, ...],
        *arrays: Array | None,
    ) -> Array:
        """Compute an update of some members, which have different numbers of examples."""
        scalars, apart = self.scalars, self.one_by_one
        self.backend.kernels.advance(scalars.table)
        loss = apart.loss_and_gradient(trained, *batch(scalars.start, sizes, *arrays))
        if snapshots:
            self.rollback.snapshot(self.meter.finite)
        apart.update(trained, scalars)
        return loss

    @property
    def one_by_one(self) -> MemberSteps:
        """What makes steps of the members one after the other."""
        if self._one_by_one is None:
            parts = self._fixed, self.cost, self.meter, self.moments, self._registers, self.factors
            self._one_by_one = MemberSteps(self.network, *parts)
        return self._one_by_one

    def _trained(self, n: Size) -> list[int]:
        """Return the members that a step with so many examples trains."""
        sizes = [n] * len(self.idle) if isinstance(n, int) else n
        return [i for i, active in enumerate(self.freezing.active) if active and sizes[i]]

    def own_counts(self) -> list[int]:
        """Return the updates of each member: those that it was part of."""
        return [self.count - idle for idle in self.idle]

    def _count_idle(self, n: Size) -> None:
        for i in {*range(len(self.idle))}.difference(self._trained(n)):
            self.idle[i] += 1

    def set_pace(
        self, step: int, epochs: Sequence[int], per_epoch: Size | None, batch_size: int = 0
    ) -> None:
        """Say how many steps of what size make an epoch from a step on; outside a fit none do.

        Members count their own steps and epochs from here on, where these differ.

        Parameters
        ----------
        step : int
            The first step of the epoch.
        epochs : sequence of int
            How many epochs each member has made before.
        per_epoch : int, tuple of int, or None
            How many steps there are in an epoch.
        batch_size : int
            How many examples they are of.
        """
        fewest, active = min(self.idle), self.freezing.active
        own = {(idle, e) for idle, e, on in zip(self.idle, epochs, active, strict=True) if on}
        alike = all(idle == fewest for idle, _ in own) and len(own) < 2
        apart = self.replaces or not alike or isinstance(per_epoch, tuple)
        if apart != self.scalars.apart:
            self.forget()
            parts = self.network, self._optimizer, self.idle, apart, active
            self.scalars = StepScalars(*parts)
        epoch = epochs if apart or not own else own.pop()[1]
        self.scalars.set_pace(step, epoch, per_epoch, batch_size)

    # -- what is set ----

    @property
    def optimizer(self) -> Optimizer:
        """How to update."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        old = self._optimizer
        if type(optimizer) is not type(old) or optimizer.n_moments != old.n_moments:
            raise TypeError(
                f"optimizer is {optimizer!r}: give one that goes on with the moments of {old!r}, "
                "or make a new Trainer of this network"
            )
        self.factors.check(optimizer)
        fixed = self._numbers.fixed(optimizer)
        self._has_changed = True
        if fixed == self._fixed and self.scalars.fits(optimizer):
            self.scalars.take(optimizer)
        else:  # all but the rate is a part of what is replayed
            self.forget()
            with self.backend.active():
                self._bound = self._numbers.bound(fixed)
                self._add_registers()
                self.scalars = self.scalars.remade(optimizer)
        self._optimizer, self._fixed = optimizer, fixed

    @property
    def l2(self) -> Numbers:
        """λ of the L2 term."""
        return self.cost.l2

    @l2.setter
    def l2(self, l2: Numbers) -> None:
        self._set("l2", self._check_l2(l2))

    @property
    def clip_norm(self) -> Numbers | None:
        """The largest norm of a gradient, or None."""
        return self.cost.clip_norm

    @clip_norm.setter
    def clip_norm(self, limit: Numbers | None) -> None:
        self._set("clip_norm", self._check_clip_norm(limit))

    def _add_registers(self) -> None:
        """See to it that there is as much scratch as the optimiser takes."""
        while len(self._registers) < self.factors.n_scratch(self._bound):
            self._registers.append(self.backend.xp.empty_like(self.network.parameters))

    def _check_l2(self, l2: Numbers) -> Numbers:
        return self._numbers.checked(l2, "l2", check_not_negative)

    def _check_clip_norm(self, limit: Numbers | None) -> Numbers | None:
        return limit if limit is None else self._numbers.checked(limit, "clip_norm", _check_limit)

    def _set(self, name: str, value: Numbers | None) -> None:
        if value != getattr(self.cost, name):
            self.forget()
        setattr(self.cost, name, value)
        self._has_changed = True

    def forget_changes(self, step: int | None = None) -> None:
        """Begin at a step, or here: those from it on can be made again until something changes."""
        self.unchanged_since = self.count if step is None else step
        self._has_changed = False

    def go_back(self, bad: int) -> int:
        """Bring the last good state back, if the loss of step ``bad`` is not finite; return its."""
        self.rollback.restore()
        self.count = self.rollback.good_step(bad)
        return self.count

    def note_changes(self) -> None:
        """Take note of what was set anew before the next step."""
        if self._has_changed:
            self.forget_changes()

    def put_member(self, i: int, other: Step, optimizer: Optimizer, in_place: bool) -> None:
        """Go on with another network's step as member i's; the network has its place already.

        Parameters
        ----------
        i : int
            Which member.
        other : Step
            Of one network.
        optimizer : Optimizer
            What all members then are updated by.
        in_place : bool
            Whether the network's buffers stayed: else what was captured must be made anew.
        """
        has_changed, values = self._has_changed, own_numbers(optimizer)
        if not self.cost.put_member(i, *other.cost.of_member(0)) or not in_place:
            self.forget()
        values.pop("learning_rate", None)
        if values.keys() == own_numbers(self._fixed).keys() and write_members(
            self._bound, i, values
        ):
            self._optimizer, self._fixed = optimizer, changed_to(self._fixed, values)
        else:
            self.optimizer = optimizer
        if self.scalars.apart or len(self.scalars.alone) > 1:
            self.scalars.take_member(i, other.optimizer)
        for place, moment in enumerate(self.moments):
            moment[i] = other.moments[place] if place < len(other.moments) else 0.0
        self.idle[i], self.replaces = self.count - other.count, True
        self.rollback.put_member(i, self.count)
        self._has_changed = has_changed
        if self._one_by_one is not None:
            self._one_by_one.renew(i, self._fixed)
            self._replays.drop(lambda key: not isinstance(key[1], int))  # in which it was alone

    # -- replays ----

    def _replay(
        self,
        batch: Batch,
        n: Size,
        snapshots: bool,
        kind: int,
        micro_batches: int,
        frozen: bool | tuple[int, ...],
    ) -> Update:
        """Return what makes the same update again: on the same buffers, from the same data set.

        Those of another data set stay: a callback may go to and fro between two.
        """
        largest = self.accumulation.size(_most(n))
        if isinstance(n, int):
            compute: Update = self._compute
        else:
            compute = self._compute_one_by_one
            self.one_by_one.reserve(largest)
        self._replays.reserve(largest)
        update = partial(compute, batch, n, snapshots, frozen)
        key = batch, n, snapshots, kind, micro_batches, frozen
        return self._replays.add(
            key, self.backend.replay(update, self._lasting(snapshots), self._fresh)
        )

    def _lasting(self, snapshots: bool) -> list[Array]:
        """Return the arrays that an update changes and that later ones read."""
        copies = self.rollback.copies if snapshots else []
        net = self.network
        counters = [*self.meter.arrays, *self.scalars.arrays]
        return [net.parameters, net.statistics, *self.moments, *copies, *counters]

    def _fresh(self) -> list[Array]:
        """Return what an update writes before it reads it, and may find there already."""
        own = [] if self._one_by_one is None else self._one_by_one.fresh
        return [self.meter.finite, *self.scalars.found, *self.cost.fresh, *own]

    def forget(self) -> None:
        """Let go of what is replayed, and of the buffers and the data set in it."""
        self._replays.clear()
        self.cost.forget()
        self._numbers.forget()
        self._one_by_one = None

    # -- memory ----

    def _split(self, error: Exception, size: Size) -> bool:
        """Take twice as many micro-batches if an error says that memory does not suffice.

        Returns
        -------
        bool
            Whether to try again: False for another error, and where one is as small as may be.
        """
        accumulation, least, n = self.accumulation, self.network.min_batch, _most(size)
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
        warn(message)
        return True

    def explain(self, error: Exception, size: Size) -> None:
        """Raise an OutOfMemoryError if an error with batches of n says so, and free their buffers.

        Raises
        ------
        OutOfMemoryError
            In that case; for any other error nothing is done.
        """
        net = self.network
        what = (
            f"training on batches of {_most(size):,} examples ({net.n_parameters:,} parameters, "
            f"{net.dtype.name})"
        )
        ways = ["a smaller batch_size"]
        if not self.accumulation.splits:
            ways.append("micro_batches='auto'")
        if net.dtype.itemsize > 4:
            ways.append("dtype='float32'")
        explain(self.backend, error, what, f"Try {' or '.join(ways)}", self._let_go)

    def _let_go(self) -> None:
        self.forget()
        self.network.passes.let_go()

    def are_finite(self) -> HostArray:
        """Return whether parameters and statistics are: what the last update made has no loss yet.

        No memory is taken that grows with the network.

        Returns
        -------
        array of bool of NumPy, shape (k,)
            Of each member; of one network k is 1.
        """
        xp, net = self.backend.xp, self.network
        xp.multiply(net.parameters, 0.0, out=self._scratch)  # NaN where one is not finite
        finite = (self._scratch.sum(axis=-1) == 0.0) & xp.isfinite(net.statistics).all(axis=-1)
        return np.reshape(self.backend.to_host(finite), -1)


def _check_limit(limit: float, name: str) -> float:
    if not check_not_negative(limit, name):
        raise ValueError(f"{name} is 0: give a number above 0, or None for no clipping")
    return float(limit)


def _most(size: Size) -> int:
    """Return a batch's examples, of the member that has the most."""
    return size if isinstance(size, int) else max(size)
