"""Updates in which members have different numbers of examples: made one member after the other.

Each is the step of the member alone, over views of the arrays that all of them share. Few steps of
an epoch are such, as a rule the last one or two.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._typing import Array
from ..backends.work import RunningLoss
from ..nn.member_views import MemberViews
from ..nn.members import member_of
from ..nn.network import Network
from ..optim.optimizers import Optimizer
from .cost import Cost
from .factors import Factors
from .history import Meter
from .step_scalars import StepScalars


class MemberSteps:
    """Makes a step of members one after the other.

    Parameters
    ----------
    network : Network
        With members.
    optimizer : Optimizer
        How to update; its rate is not looked at.
    cost : Cost
        Of all members, with what it is set to.
    meter : Meter
        Adds up the losses.
    moments, registers : list of array, shape (k, P)
        The optimiser's, and its scratch.
    factors : Factors
        Of the parameters.

    Attributes
    ----------
    views : MemberViews
        The members.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        cost: Cost,
        meter: Meter,
        moments: Sequence[Array],
        registers: Sequence[Array],
        factors: Factors,
    ) -> None:
        self._kernels, xp, self._cost = network.backend.kernels, network.backend.xp, cost
        self.views = MemberViews(network)
        self._losses = xp.zeros(network.leading_shape, network.dtype)
        self._optimizers, self._costs, self._meters = [], [], []
        self._moments, self._registers = [], []
        work, self._factors = meter.work, factors.given
        for i in range(len(self.views.each)):
            self._optimizers.append(member_of(optimizer, i))
            self._registers.append([array[i] for array in registers])
            self._moments.append([array[i] for array in moments])
            self._costs.append(self._cost_of(i))
            arrays = work.total, work.steps, work.term, work.finite
            self._meters.append(RunningLoss(*(array[i, ...] for array in arrays)))

    def _cost_of(self, i: int) -> Cost:
        own = Cost(self.views.each[i], self._registers[i][0])
        own.l2, own.clip_norm = self._cost.of_member(i)
        return own

    def renew(self, i: int, optimizer: Optimizer) -> None:
        """Go on with the network that has member i's place now, and its optimiser."""
        self.views.renew(i)
        self._optimizers[i], self._costs[i] = member_of(optimizer, i), self._cost_of(i)

    def reserve(self, n: int) -> None:
        """Make room for batches of n examples, if there is none."""
        self.views.reserve(n, training=True)

    def loss_and_gradient(
        self,
        members: Sequence[int],
        x: Sequence[Array],
        y: Sequence[Array],
        weights: Sequence[Array | None],
    ) -> Array:
        """Write the gradients of some members, and add their losses up; return all losses (k,)."""
        self._losses[...] = 0.0
        for i in members:
            own = self._costs[i]
            own.accumulation.count = self._cost.accumulation.count
            self._losses[i] = own.loss_and_gradient(x[i], y[i], weights[i])
        # Once all are there: where memory does not suffice they are computed again.
        for i, work in enumerate(self._meters):
            self._kernels.observe(self._losses[i, ...], len(x[i]) if i in members else 0, work)
        return self._losses

    def update(self, members: Sequence[int], scalars: StepScalars) -> None:
        """Update some members; the others stay as they are."""
        for i in members:
            view = self.views.each[i]
            own = [array[i] if array.ndim > 1 else array for array in scalars.scalars]
            optimizer = self._optimizers[i]
            optimizer.update(
                self._kernels,
                view.parameters,
                view.gradients,
                self._moments[i][: optimizer.n_moments],  # alone, a momentum of 0 has none
                own,
                self._registers[i],
                view.n_weights,
                *self._factors,
            )

    @property
    def fresh(self) -> list[Array]:
        """What a step writes before it reads it, and may find there already."""
        return [array for cost in self._costs for array in cost.fresh]
