"""What happens in a fit when a loss is not finite: back to the last good state.

One network's fit ends with an error. Of several members those alone go back, and are trained no
longer; the others go on as if nothing had happened.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.batches import Batches
from ..nn.members import member_of
from ..warning import warn
from . import member_ends
from .divergence import locate
from .factors import Factors
from .history import DivergedError, MemberEnd
from .step import Step

if TYPE_CHECKING:
    from .fit import Fit

ADVICE = "clip_norm=1, standardised features, or batch norm"


@dataclass(frozen=True)
class Fall:
    """Where a network, or a member of one, has diverged.

    Attributes
    ----------
    epoch : int
        The running epoch, counted from 1 as its own.
    began : int
        The step at which it began, as if no other step had been made. All steps are counted among
        the network's own, or the member's.
    bad, good : int
        Which step, from 0, had a loss that is not finite, and after how many the last good state
        was.
    unchanged : int
        From which step on they can be made again.
    rate : float
        That of the update before.
    """

    epoch: int
    began: int
    bad: int
    good: int
    unchanged: int
    rate: float

    def told(self, where: str, whose: str = "the") -> str:
        """Return in words what happened, and first where."""
        return (
            f"the loss turned NaN or infinite in epoch {self.epoch}, step {self.bad + 1}"
            f"{f' (first {where})' * bool(where)}; {whose} weights are back at those of step "
            f"{self.good}. Try a smaller learning rate (it was {self.rate:g}), {ADVICE}"
        )


def recover(fit: Fit, batches: Batches, first: int) -> None:
    """Bring the last good state back of what has a loss that is not finite, and say where it arose.

    Parameters
    ----------
    fit : Fit
        What goes on, if a member is left.
    batches : Batches
        What it is trained on.
    first : int
        The running epoch's first step.

    Raises
    ------
    DivergedError
        If it is one network, or all members have diverged by now.

    Warns
    -----
    UserWarning
        Of each member that has diverged while others have not.
    """
    fit.trainer.backend.synchronize()
    falls = _falls(fit, batches, first)
    if fit.network.members is None:
        fall = falls[0]
        raise _error(fit, fall, fall.told(_search(fit, batches, fall)))
    _restore(fit, falls, first)
    *others, last = falls
    where = {i: _search_alone(fit, batches, i, fall) for i, fall in falls.items()}
    all_diverged = len(fit.trainer.history.diverged) == len(fit.epochs)
    if all_diverged:
        _count_anew(fit.step)
    for i in others if all_diverged else falls:
        warn(f"member {i} has diverged, and is trained no longer: {falls[i].told(where[i], 'its')}")
    if all_diverged:
        whose = "all members have diverged, this one last: " if len(fit.epochs) > 1 else ""
        raise _error(fit, falls[last], whose + falls[last].told(where[last]))


def _count_anew(step: Step) -> None:
    """Count the steps of the member that has made the most."""
    own = step.own_counts()
    step.count = max(own)
    step.idle[:] = [step.count - made for made in own]


def _own_number(fit: Fit, batches: Batches, i: int, step: int) -> int:
    """Return the number of a step of this fit among those of a member, which waits for others."""
    idle, per_epoch, made = fit.step.idle[i], batches.per_epoch, fit.state.batch
    if not isinstance(per_epoch, tuple):
        return step - idle
    began, own = fit.step.count - made, per_epoch[i]
    epochs, at = divmod(step - began, len(batches))
    return began - (idle - max(0, made - own)) + epochs * own + min(at, own)


def _falls(fit: Fit, batches: Batches, first: int) -> dict[int, Fall]:
    """Return where each has diverged that has."""
    step = fit.step
    steps, finite = np.reshape(step.meter.read()[1], -1), step.are_finite()
    epochs, began = fit.trainer.own_epochs, step.count - fit.state.batch
    falls = {}
    for i in np.flatnonzero((first + steps < step.count) | ~finite).tolist():
        bad = first + int(steps[i])
        # The update before the loss that shows it, which may be the last that the schedule knows.
        rates = step.scalars.rates(max(bad - 1, 0), step.scalars.alone, False)
        rate = rates[i] if isinstance(rates, list) else rates
        unchanged = max(step.unchanged_since, step.rollback.replaced.get(i, 0))
        told = began, bad, step.rollback.good_step(bad, i), unchanged
        own = [_own_number(fit, batches, i, number) for number in told]
        falls[i] = Fall(epochs[i] + 1, own[0], own[1], own[2], own[3], rate)
    return falls


def _restore(fit: Fit, falls: dict[int, Fall], first: int) -> None:
    """Bring members back, and freeze them there."""
    step, epoch = fit.step, fit.trainer.epochs + 1
    for i, fall in falls.items():
        step.rollback.restore(i)
        step.idle[i] = step.count - fall.good
        step.meter.forget(i, step.count - first)
    fit.trainer.backend.synchronize()  # or the host might still see the sum that is not finite
    ends = {
        i: MemberEnd(epoch, fall.bad + 1, diverged=True, good_step=fall.good)
        for i, fall in falls.items()
    }
    member_ends.end(fit, ends)


def _error(fit: Fit, fall: Fall, message: str) -> DivergedError:
    bad = fall.bad + 1
    return DivergedError(message, fall.epoch, bad, fall.good, fit.trainer.history)


def _search(fit: Fit, batches: Batches, fall: Fall) -> str:
    """Return in words where it went wrong; the network is in its last good state then."""
    step, where = fit.step, ""
    step.go_back(fall.bad)
    step.meter.resume(math.nan, 0)  # no snapshot is taken on the way
    try:
        with suppress(Exception):  # the error that is raised is that of the training
            where = locate(step, batches, fall.epoch - 1, fall.began, fall.good, fall.bad)
    finally:  # after Ctrl-C as well
        step.go_back(fall.bad)
    return where


def _search_alone(fit: Fit, batches: Batches, i: int, fall: Fall) -> str:
    """Return in words where a member went wrong, which its steps show when it makes them alone."""
    where = ""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of batches that were made before
        step, anew = _alone(fit.step, i, fall), fit.make_batches(batches.batch_size, i)
        step.set_pace(fall.began, [fall.epoch - 1], len(anew), anew.batch_size)
        where = locate(step, anew, fall.epoch - 1, fall.began, fall.good, fall.bad)
    return where


def _alone(step: Step, i: int, fall: Fall) -> Step:
    """Return the steps of a member alone, from its last good state on."""
    network, optimizer = step.network.member(i), member_of(step.optimizer, i)
    factors = Factors(network, optimizer, step.factors.rate, step.factors.decay)
    alone = Step(network, optimizer, *step.cost.of_member(i), factors)
    for moment, moments in zip(alone.moments, step.moments, strict=False):  # one may have fewer
        moment[...] = moments[i]
    alone.accumulation.count = step.accumulation.count
    alone.count, alone.unchanged_since = fall.good, fall.unchanged
    return alone
