"""What changes from step to step: scalars of the optimiser and of dropout, where a batch begins.

All are pure functions of the step's number and of where the epoch began. So they are computed
ahead, moved to the device together, and found there: the device itself goes from row to row, and
a step that is replayed waits for no copy of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from .._typing import Array, HostArray
from ..backends.work import ScalarTable
from ..data.batches import Size
from ..nn.members import member_of, own_numbers, schedules_of
from ..nn.network import Network
from ..nn.schedule import Schedule
from ..nn.scheduled_numbers import When
from ..optim.optimizers import Optimizer
from ..randomness import step_keys

#: The epoch and how many steps it has, of each member where they differ, and of how many examples.
Pace: TypeAlias = tuple[int | Sequence[int], Size | None, int]

#: Steps whose scalars are computed at once and moved to the device together.
PLAN = 1024


class StepScalars:
    """What changes from step to step, where the kernels read it.

    Parameters
    ----------
    network : Network
        Whose dropout keys, and thresholds if they change, are written.
    optimizer : Optimizer
        How many scalars there are.
    idle : sequence of int
        How many of the steps each member was not part of, kept up to date by who makes them: its
        own steps are the others. Negative of one that has made more before it took its place.
    apart : bool
        Whether members may have made different numbers of steps.
    active : array of bool of NumPy, shape (k,), or None
        Which members are trained, kept up to date likewise: of others no rate is asked.

    Attributes
    ----------
    alone : list of Optimizer
        The optimiser, or that of each member where they have numbers of their own, or are apart.
    scalars : list of array, shape (1,), or (k, 1) for k members that are in `alone`
        The optimiser's scalars of the step that was advanced to.
    start : array, int64, shape (1,)
        Where its batch begins in the epoch's order.
    table : ScalarTable
        Where `Kernels.advance` finds them.
    plan : range
        The steps whose scalars are in the table.
    began : int
        The step at which the running epoch began.
    next : int or None
        The step of the row that comes next on the device, if that is known.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        idle: Sequence[int],
        apart: bool = False,
        active: HostArray | None = None,
    ) -> None:
        self._network, self._backend = network, network.backend
        self._idle, self.apart, self._active = idle, apart, active
        self.alone = self._members(optimizer)
        first = self.alone[0]
        members, names = len(self.alone), range(len(first.scalars(0, 0.0)))
        xp, width, seeds = self._backend.xp, len(names) * members, len(network.seeds)
        self.table = ScalarTable(
            cursor=xp.zeros(1, np.int64),
            scalars=xp.zeros((PLAN, width), network.dtype),
            row=xp.zeros((1, width), network.dtype),
            keys=xp.zeros((PLAN, seeds), np.uint64),
            key=network.step_key.reshape(1, seeds),
            starts=xp.zeros((PLAN, 1), np.int64),
            start=xp.zeros((1, 1), np.int64),
        )
        if network.scheduled.layers:
            self.table.threshold = network.scheduled.array.reshape(1, -1)
            self.table.thresholds = xp.zeros((PLAN, self.table.threshold.size), np.int32)
        own = self.table.row.reshape(len(names), members)
        self.scalars = [own[i, :, None] if members > 1 else own[i] for i in names]
        self.start = self.table.start[0]
        self.plan = range(0)
        self.next: int | None = None
        # From step `began` on, at this epoch, so many steps of so many examples make an epoch.
        self.began = 0
        self._pace: Pace = (0, None, 0)

    def set_pace(
        self,
        step: int,
        epoch: int | Sequence[int],
        steps_per_epoch: Size | None,
        batch_size: int = 0,
    ) -> None:
        """Say how many steps of what size make an epoch from a step on; outside a fit none do.

        Members that are apart may be in different epochs, and have different numbers of steps.
        """
        self.began, self._pace = step, (epoch, steps_per_epoch, batch_size)
        self.plan = range(0)

    def keep_pace(self, other: StepScalars) -> None:
        """Go on at the same place of the same epoch as others."""
        self.began, self._pace = other.began, other._pace
        self.plan = range(0)

    def shift(self, step: int) -> None:
        """Say that the epoch began at this step, as it were: others than its own came between."""
        self.set_pace(step, *self._pace)

    def epoch_at(self, step: int, per_epoch: int | None, place: int = 0) -> float:
        """Return how many epochs of so many steps have been made, with the fraction of this one."""
        made = self._pace[0]
        epoch = made if isinstance(made, int) else made[place]
        return epoch + (step - self.began) / per_epoch if per_epoch else float(epoch)

    def _steps_of(self, place: int) -> int | None:
        """Return how many steps an epoch has, for one of `alone`."""
        per_epoch = self._pace[1]
        return per_epoch[place] if isinstance(per_epoch, tuple) else per_epoch

    @property
    def _longest(self) -> int | None:
        """How many steps an epoch has, of the member that has the most."""
        per_epoch = self._pace[1]
        return max(per_epoch) if isinstance(per_epoch, tuple) else per_epoch

    def _members(self, optimizer: Optimizer) -> list[Optimizer]:
        if not (self.apart or own_numbers(optimizer)):
            return [optimizer]
        return [member_of(optimizer, i) for i in range(len(self._network.seeds))]

    def _behind(self, place: int) -> int:
        """Return how many steps fewer have been made, for one of `alone`."""
        # Together are members that are trained in each step: none was idle in fewer than they.
        return self._idle[place] if self.apart else min(self._idle)

    def _rests(self, place: int) -> bool:
        """Return whether that one of `alone` is trained no longer."""
        several = len(self.alone) > 1 and self._active is not None
        return several and not self._active[place]  # type: ignore[index]

    def rates(
        self, step: int, alone: Sequence[Optimizer], all_of_them: bool = True
    ) -> float | list[float]:
        """Return the rate of a step by optimisers as in `alone`: of several a list.

        Unless all are wanted it is NaN for those that are trained no longer.
        """
        rates = []
        for i, optimizer in enumerate(alone):
            if not all_of_them and self._rests(i):
                rates.append(math.nan)
                continue
            per_epoch, at = self._steps_of(i), step
            if self.apart and per_epoch:  # its last one, where it has no more
                at = min(step, self.began + per_epoch - 1)
            # Steps of a callback's own shift the epoch, which may then seem to begin after it.
            epoch = max(self.epoch_at(at, per_epoch, i), 0.0)
            # Before its first step a member is at that one's rate.
            rates.append(optimizer.rate(max(step - self._behind(i), 0), epoch))
        return rates if len(rates) > 1 else rates[0]

    def _when(self, place: int, plan: range, waits: bool) -> When:
        """Return where each step stands, for one of `alone`, which may wait for others."""
        per_epoch, behind = self._steps_of(place), self._behind(place)
        # A step behind the epoch's last is none of its own, and is made at that one's rate.
        last = self.began + per_epoch - 1 if per_epoch else plan.stop
        found = []
        for step in plan:
            # Its schedule may not know steps that others alone make: it stays at its own last one.
            idle = step > last and (waits or step > plan.start)
            at = max(last, plan.start - 1) if idle else step
            epoch = self.epoch_at(min(at, last), per_epoch, place)
            found.append((at - behind, epoch))
        return found

    def _scalars(self, place: int, when: When) -> list[tuple[float, ...]]:
        """Return the scalars of steps, for one of `alone`."""
        if self._rests(place):
            return [(0.0,) * len(self.scalars)] * len(when)
        return [self.alone[place].scalars(*at) for at in when]

    def _thresholds(self, when: Sequence[When]) -> HostArray:
        """Return dropout's thresholds of steps."""
        all_of_them = [True] * len(self._network.seeds)
        trained = all_of_them if self._active is None else self._active.tolist()
        return self._network.scheduled.planned(when, trained)

    def fits(self, optimizer: Optimizer) -> bool:
        """Return whether another optimiser's scalars have room here."""
        return len(self._members(optimizer)) == len(self.alone)

    def remade(self, optimizer: Optimizer) -> StepScalars:
        """Return those of another optimiser, at the same place of the same epoch."""
        parts = self._network, optimizer, self._idle, self.apart, self._active
        other = StepScalars(*parts)
        other.keep_pace(self)
        return other

    def take(self, optimizer: Optimizer) -> None:
        """Go on with another optimiser, whose members have numbers of their own as before."""
        self.alone = self._members(optimizer)
        self.plan = range(0)

    def take_member(self, i: int, optimizer: Optimizer) -> None:
        """Go on with another optimiser as that of member i, which has numbers of its own."""
        self.alone[i] = optimizer
        self.plan = range(0)

    def seek(self, step: int, sizes: Sequence[int] = ()) -> None:
        """See to it that the row that comes next is a step's.

        ``sizes`` are its examples of each member, where they differ: one that has none waits.
        """
        if step not in self.plan:
            self._make_plan(step, sizes)
        self.table.cursor[...] = step - self.plan.start
        self.next = step

    @property
    def found(self) -> list[Array]:
        """What the device finds anew in each step, but for where the batch begins."""
        changing = [] if self.table.threshold is None else [self.table.threshold]
        return [self.table.row, self.table.key, *changing]

    @property
    def arrays(self) -> list[Array]:
        """What the device writes: what it found, and where it stands then."""
        return [*self.found, self.table.start, self.table.cursor]

    def _make_plan(self, step: int, sizes: Sequence[int]) -> None:
        """Compute the scalars of the next steps, and move them to the device together."""
        plan = range(step, step + self._ahead(step))
        self.plan, self.next = range(0), None  # what is broken off below is no plan
        per_epoch, batch_size = self._longest, self._pace[2]
        waits = [not size for size in sizes] or [False] * len(self.alone)
        when = [self._when(place, plan, waits[place]) for place in range(len(self.alone))]
        scalars = [self._scalars(place, steps) for place, steps in enumerate(when)]
        held, steps = self.table, np.arange(plan.start, plan.stop)[:, None]
        tables = [
            (held.scalars, np.transpose(scalars, (1, 2, 0)).reshape(len(plan), -1)),
            (held.keys, step_keys(self._network.seeds, plan, self._idle)),
            (held.starts, (steps - self.began) % (per_epoch or 1) * batch_size),
        ]
        if held.thresholds is not None:
            tables.append((held.thresholds, self._thresholds(when)))
        for table, values in tables:
            found = self._backend.asarray(np.array(values), table.dtype)
            self._backend.xp.copyto(table[: len(plan)], found)
        self.plan = plan

    def _ahead(self, step: int) -> int:
        """Return how many steps to plan; the user's own function may not know those after a fit."""
        per_epoch = self._longest
        given = (*self.alone, *self._network.scheduled.layers)
        functions = [function for changing in given for function in schedules_of(changing)]
        unknown = not all(isinstance(function, Schedule) for function in functions)
        if per_epoch is None and unknown:
            return 1
        # Longer from plan to plan, for a rate that is changed by hand makes a new one each time.
        ahead = min(PLAN, max(8, 4 * len(self.plan)))
        return ahead if per_epoch is None else max(1, min(ahead, self.began + per_epoch - step))
