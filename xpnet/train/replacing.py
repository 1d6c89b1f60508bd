"""Members taken out of a training, and other networks put in their places while it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..nn.members import changed_to, changes, check_member, member_of
from ..nn.network import Network
from ..nn.replacing import find_changes, replace_member
from ..optim.optimizers import Optimizer
from .history import MemberStart

if TYPE_CHECKING:
    from .trainer import Trainer


def check_place(trainer: Trainer, i: int) -> int:
    """Return the place of a member, counted from the first one, or raise an error."""
    if trainer.network.members is None:
        raise ValueError("this is the trainer of one network: it has no members")
    return check_member(i, trainer.network.members)


def take_out(trainer: Trainer, i: int, network: Network | None = None) -> Trainer:
    """Return member i alone; see `Trainer.member`.

    ``network`` is one like it, whose weights become the member's; None: a new one.
    """
    i, step, together = check_place(trainer, i), trainer.update_step, trainer.network
    if network is None:
        network = together.member(i)
    else:
        network.copy_arrays(together.parameters[i], together.statistics[i])
    limits, factors = step.cost.of_member(i), step.factors.options
    alone = type(trainer)(network, member_of(step.optimizer, i), *limits, **factors)
    with trainer.backend.active():
        # Of an optimiser with a momentum of 0 there are none alone.
        for own, every in zip(alone.moments, step.moments, strict=False):
            own[...] = every[i]
    alone.steps, alone.epochs = step.own_counts()[i], trainer.own_epochs[i]
    if trainer.history.members is not None:
        alone.history = trainer.history.member(i)
    return alone


def put_in(trainer: Trainer, i: int, other: Trainer) -> None:
    """Put a copy of a training in member i's place; see `Trainer.replace`."""
    i, net = check_place(trainer, i), trainer.network
    if not isinstance(other, type(trainer)):
        raise TypeError(f"other is {other!r:.100}: give a Trainer")
    fit, history = trainer.running_fit, trainer.history
    if fit is not None:
        fit.require_replaceable()
    with net.claim, other.network.claim, net.backend.active():
        _put_in(trainer, i, other)
        if fit is None:  # that of a fit that is over stays as `fit` has returned it
            ended, starts = dict(history.ended), dict(history.starts)
            history = trainer.history = replace(history, ended=ended, starts=starts)
        history.ended.pop(i, None)
        history.starts[i] = MemberStart(trainer.epochs, trainer.behind[i])
        if fit is not None:
            fit.replaced(i)


def _put_in(trainer: Trainer, i: int, other: Trainer) -> None:
    """Check that it can be, and write it all."""
    net, step = trainer.network, trainer.update_step
    changed = find_changes(net, i, other.network)
    optimizer = _joined(step.optimizer, i, other.optimizer, len(net.seeds))
    step.factors.require_same(other.update_step.factors)
    if not other.update_step.are_finite().all():
        raise ValueError("the network to put in a member's place has weights that are not finite")
    trainer.backend.synchronize()
    in_place = replace_member(net, i, other.network, changed)
    step.put_member(i, other.update_step, optimizer, in_place)
    trainer.behind[i] = trainer.epochs - other.epochs
    step.set_pace(step.count, trainer.own_epochs, None)
    step.freezing.thaw(i)


def _joined(optimizer: Optimizer, i: int, other: Optimizer, members: int) -> Optimizer:
    """Return the optimiser of all where another one has member i's place."""
    changed = changes(optimizer, i, other, members, "the optimiser")
    joined = changed_to(optimizer, changed)
    if joined.n_moments != optimizer.n_moments:
        raise ValueError(
            f"the optimiser is {other!r}, and {optimizer!r} in the network, which keeps other "
            "moments: give that one the number of each member from the start"
        )
    return joined
