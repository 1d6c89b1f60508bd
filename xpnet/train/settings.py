"""What a trainer's updates are set to, which may change between them."""

from __future__ import annotations

from dataclasses import replace

from .._typing import Array, HostArray
from ..checks import Numbers
from ..optim.optimizers import Optimizer, Rates
from .step import Step


class StepSettings:
    """What the updates of a step are set to, and what they go on from.

    Attributes
    ----------
    update_step : Step
        What makes them.
    """

    update_step: Step

    @property
    def steps(self) -> int:
        """Updates made so far; set with moments and `epochs` by whoever goes on from them."""
        return self.update_step.count

    @steps.setter
    def steps(self, steps: int) -> None:
        self.update_step.count = steps

    @property
    def optimizer(self) -> Optimizer:
        """How to update; set to another one of its kind, it goes on with the moments."""
        return self.update_step.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self.update_step.optimizer = optimizer

    @property
    def l2(self) -> Numbers:
        """λ of the L2 term."""
        return self.update_step.l2

    @l2.setter
    def l2(self, l2: Numbers) -> None:
        self.update_step.l2 = l2

    @property
    def clip_norm(self) -> Numbers | None:
        """The largest norm of a gradient, or None; infinite of a member put here without one."""
        return self.update_step.clip_norm

    @clip_norm.setter
    def clip_norm(self, limit: Numbers | None) -> None:
        self.update_step.clip_norm = limit

    @property
    def rate_factors(self) -> dict[str, float]:
        """The factors of the rate, by pattern.

        Examples
        --------
        Biases at a tenth of the rate, and the first layer's weights left as they are:

        >>> import numpy as np, xpnet as xn
        >>> net = xn.Network([xn.Linear(2), xn.Linear(1)], loss="mean_squared_error", n_features=3,
        ...                  device="cpu")
        >>> trainer = xn.Trainer(net, rate_factors={"*.bias": 0.1, "0.weight": 0.0})
        >>> before, loss = net.state(), trainer.step(np.ones((5, 3)), np.ones(5))
        >>> [name for name, array in net.state().items() if (array == before[name]).all()]
        ['0.weight']
        """
        return dict(self.update_step.factors.rate)

    @property
    def decay_factors(self) -> dict[str, float]:
        """The factors of the weight decay, by pattern."""
        return dict(self.update_step.factors.decay)

    @property
    def moments(self) -> list[Array]:
        """The optimiser's moments, each as the network's parameters."""
        return self.update_step.moments

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule to change it by hand.

        Where members have rates of their own, it is a list of them, and set to one for each.
        """
        scalars = self.update_step.scalars
        return scalars.rates(self.steps, scalars.alone)  # type: ignore[return-value]

    @learning_rate.setter
    def learning_rate(self, rate: Rates) -> None:
        self.optimizer = replace(self.optimizer, learning_rate=rate)

    @property
    def active(self) -> HostArray:
        """Which members are trained now: bool, shape (k,); of one network (1,)."""
        return self.update_step.freezing.active.copy()
