"""What an update goes down: a batch's cost, and its gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .._typing import Array
from ..backends.work import Weighing
from ..checks import Numbers
from ..nn.network import Network
from .accumulation import GradientAccumulation
from .member_numbers import MemberNumbers

if TYPE_CHECKING:
    from ..nn.member_views import MemberView


class Cost:
    """A batch's cost, its mean loss with the L2 term λ/2n ‖W‖²; its gradient may be shortened.

    Parameters
    ----------
    network : Network or MemberView
        Whose gradients are written.
    scratch : array, shape (…, P)
        Overwritten.

    Attributes
    ----------
    l2, clip_norm : Numbers, Numbers or None
        λ, and the largest norm of a gradient, infinite for a member that has none; what steps that
        are replayed are made with.
    accumulation : GradientAccumulation
        In how many micro-batches it is computed.
    """

    def __init__(self, network: Network | MemberView, scratch: Array) -> None:
        xp, weights = network.backend.xp, slice(0, network.n_weights)
        self._network, self._kernels, self._scratch = network, network.backend.kernels, scratch
        self._numbers = MemberNumbers(network.backend, network.dtype, network.members)
        self._count = network.members or 1
        self.l2: Numbers = 0.0
        self.clip_norm: Numbers | None = None
        self.accumulation = GradientAccumulation(network)
        decayed = network.gradients, network.parameters, scratch
        self._decayed = [array[..., weights] for array in decayed]
        self._norm = xp.empty((*network.leading_shape, 2), network.dtype)
        self._weighing: dict[tuple[int, ...], Weighing] = {}

    def loss_and_gradient(self, x: Array, y: Array, weights: Array | None) -> Array:
        """Write the gradient of a batch's cost; return the mean loss, in a static buffer."""
        net, example_weight = self._network, None
        decay: float | Array | None = None
        if weights is not None:
            example_weight, decay = self.normalize_weights(weights)
        single = self.accumulation.count == 1
        passes = net.passes if single else self.accumulation
        loss: Array = passes.loss_and_gradient(x, y, example_weight)
        if self.l2:
            g, p, scratch = self._decayed
            if decay is None:
                decay = self._numbers.column("l2", self.l2, x.shape[-2])
            self._kernels.add_decay(g, p, decay, scratch)
        if self.clip_norm is not None:
            limit = self._numbers.column("clip_norm", self.clip_norm)
            self._kernels.clip_norm(net.gradients, limit, self._norm, self._scratch)
        return loss

    def normalize_weights(self, weights: Array) -> tuple[Array, Array]:
        """Return the weight of each example in the loss, and λ over the sum of the weights.

        Each member may have weights, (k, n, 1), and a λ of its own.
        """
        work = self._weighing.get(weights.shape) or self._make_weighing(weights)
        l2 = self._numbers.column("l2", self.l2)
        l2 = l2 if isinstance(l2, float) else l2[..., None]
        self._kernels.normalize_weights(weights, l2, work)
        return work.example_weight, work.decay[..., 0]

    def _make_weighing(self, weights: Array) -> Weighing:
        """Make buffers for weights, which graphs go on reading."""
        *lead, n, _ = weights.shape
        empty, dtype = self._network.backend.xp.empty, weights.dtype
        own = self._network.leading_shape if isinstance(self.l2, tuple) else lead
        total, safe, decay = (empty((*axes, 1, 1), dtype) for axes in (lead, lead, own))
        made = Weighing(total, safe, decay, empty((*lead, n, 1), dtype))
        self._weighing[weights.shape] = made
        return made

    def of_member(self, i: int) -> tuple[float, float | None]:
        """Return member i's λ and largest norm."""
        l2, clip_norm = (n[i] if isinstance(n, tuple) else n for n in (self.l2, self.clip_norm))
        return l2 or 0.0, None if clip_norm == math.inf else clip_norm

    def put_member(self, i: int, l2: float, clip_norm: float | None) -> bool:
        """Set member i's λ and largest norm.

        Returns
        -------
        bool
            Whether they were written in place: else what is replayed must be forgotten.
        """
        in_place, limit = True, math.inf if clip_norm is None else clip_norm
        for name, number in (("l2", l2), ("clip_norm", limit)):
            held = getattr(self, name)
            one = math.inf if held is None else held
            several: Any = held if isinstance(held, tuple) else (one,) * self._count
            if number == several[i]:
                continue
            setattr(self, name, (*several[:i], number, *several[i + 1 :]))
            self._numbers.put_member(name, i, number)
            in_place = in_place and isinstance(held, tuple)
        return in_place

    @property
    def fresh(self) -> list[Array]:
        """What an update writes before it reads it, and may find there already."""
        return [
            array
            for w in self._weighing.values()
            for array in (w.total, w.safe, w.decay, w.example_weight)
        ]

    def forget(self) -> None:
        """Let go of what graphs read, once they are gone."""
        self._weighing.clear()
        self._numbers.forget()
        self.accumulation.forget()
