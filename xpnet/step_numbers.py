"""The numbers of each update, and its dropout key: computed ahead, and moved to the device at once.

Both are pure functions of the step's number, so they can be computed before the step is made.
"""

from __future__ import annotations

import numpy as np

from .network import Network
from .optimizers import Optimizer
from .randomness import step_keys
from .schedules import OwnSchedule

#: Steps whose numbers are computed at once and moved to the device together.
PLAN = 1024


class StepNumbers:
    """What changes from step to step, where the kernels read it.

    Parameters
    ----------
    network : Network
        Whose dropout keys are written.
    optimizer : Optimizer
        How many numbers there are.

    Attributes
    ----------
    numbers : list of array, shape (1,)
        The optimiser's numbers of the step that `advance` was called with.
    """

    def __init__(self, network: Network, optimizer: Optimizer) -> None:
        self._network, self._backend = network, network.backend
        width = len(optimizer.numbers(0, 0.0))
        self._row = self._backend.xp.empty(width, network.dtype)
        self.numbers = [self._row[i : i + 1] for i in range(width)]
        self._plan = range(0)
        # From this step, at this epoch, so many steps make an epoch.
        self._pace: tuple[int, int, int | None] = (0, 0, None)

    def set_pace(self, step: int, epoch: int, steps_per_epoch: int | None) -> None:
        """Say how many steps make an epoch from a step on; outside a fit none do."""
        self._pace = (step, epoch, steps_per_epoch)
        self._plan = range(0)

    def forget(self) -> None:
        """Compute them anew, because the schedule has changed."""
        self._plan = range(0)

    def epoch_at(self, step: int) -> float:
        """Return how many epochs have been made by a step, with the fraction of the running one."""
        start, epoch, per_epoch = self._pace
        return epoch + (step - start) / per_epoch if per_epoch else float(epoch)

    def advance(self, step: int, optimizer: Optimizer) -> None:
        """Bring a step's numbers and dropout key to where the kernels read them."""
        if step not in self._plan:
            self._make_plan(step, optimizer)
        i = step - self._plan.start
        self._backend.xp.copyto(self._row, self._table[i])
        self._backend.xp.copyto(self._network.step_key, self._keys[i])

    def _make_plan(self, step: int, optimizer: Optimizer) -> None:
        """Compute the numbers of the next steps, and move them to the device together."""
        plan = range(step, step + self._ahead(step, optimizer))
        numbers = [optimizer.numbers(i, self.epoch_at(i)) for i in plan]
        self._table = self._backend.asarray(np.array(numbers), self._network.dtype)
        self._keys = self._backend.asarray(step_keys(self._network.random_state, plan))
        self._plan = plan

    def _ahead(self, step: int, optimizer: Optimizer) -> int:
        """Return how many steps to plan; the user's own function may not know those after a fit."""
        start, _, per_epoch = self._pace
        rate = optimizer.learning_rate
        if per_epoch is None and callable(rate) and not isinstance(rate, OwnSchedule):
            return 1
        # Longer from plan to plan, for who changes the rate by hand makes a new one each time.
        ahead = min(PLAN, max(8, 4 * len(self._plan)))
        return ahead if per_epoch is None else max(1, min(ahead, start + per_epoch - step))
