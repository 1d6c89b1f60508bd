"""How each member of a network ends its training within a fit: its epochs, its stop, its NaN.

One network is the case of one member, whose end is the fit's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .._typing import Tree
from ..checks import as_tuple, check_count, check_length
from ..nn.members import check_member
from ..nn.network import Network
from .history import MemberEnd, MemberStart, Row

if TYPE_CHECKING:
    from .fit import Fit

Ends = dict[int, MemberEnd]

#: Why a fit ends whose members have all ended.
ALL_ENDED = "no member is trained any more"


def check_epochs(epochs: Any, network: Network) -> tuple[int, ...]:
    """Return how many epochs each member is trained for, of one number or one for each.

    Raises
    ------
    TypeError, ValueError
        If they are no whole numbers above 0, or more or fewer than members.
    """
    count, several = len(network.seeds), as_tuple(epochs, "epochs")
    if not isinstance(several, tuple):
        return (check_count(epochs, "epochs"),) * count
    several = tuple(check_count(number, "epochs") for number in several)
    check_length(several, "epochs", network.members)
    return several


def end(fit: Fit, ends: Ends) -> None:
    """Freeze members as they are now, and note how they ended; with the last one the fit ends."""
    fit.state.ended.update(ends)
    if fit.network.members is not None:
        fit.step.freezing.freeze([*ends])
        if not fit.step.freezing.active.any():
            fit.trainer.requests.stop = fit.trainer.requests.stop or ALL_ENDED


def note_stops(fit: Fit, epoch: int, examples: Any, rate: Any, through: Any) -> None:
    """End the members that were asked to stop, after an update or an epoch.

    Parameters
    ----------
    fit : Fit
        Whose members they are.
    epoch, examples, rate
        The running epoch, from 1, how many examples it has had, and the rate of the last update.
    through : bool or list of bool
        Whether it is through, of all or of each member, which may have fewer batches; when it is
        through of all, the members end as well whose epochs are made.
    """
    requests = fit.trainer.requests
    asked, requests.members = requests.members, {}
    ends_here = [i for i in range(len(fit.epochs)) if fit.last_of(i) == epoch < fit.last]
    is_whole = all(through) if isinstance(through, list) else through
    reasons = dict.fromkeys(ends_here if is_whole else (), "") | asked
    found = {}
    for i, reason in reasons.items():
        if i not in fit.state.ended:
            cut = bool(reason) and not (_own(through, i) and fit.last_of(i) == epoch)
            found[i] = MemberEnd(
                epoch,
                fit.step.own_counts()[i],
                reason,
                cut,
                examples=_own(examples, i),
                learning_rate=_own(rate, i),
            )
    if found:
        end(fit, found)


def starts(epochs: int, behind: Sequence[int]) -> dict[int, MemberStart]:
    """Return how those members count that have made fewer epochs than the trainer."""
    return {i: MemberStart(epochs, fewer) for i, fewer in enumerate(behind) if fewer}


def behind(epochs: int, before: Sequence[int], ended: Ends) -> list[int]:
    """Return how many epochs fewer members have made, of how many it was before a fit."""
    found = [*before]
    for i, end in ended.items():
        found[i] += max(0, epochs - end.epoch + end.diverged)
    return found


def _own(figures: Any, i: int) -> Any:
    """Return a member's own figure of those of all, or the one that all have."""
    return figures[i] if isinstance(figures, list) else figures


def own_rates(fit: Fit, rates: Any) -> Any:
    """Return the rate of the last update of an epoch, or those of members, which may have ended."""
    if isinstance(rates, list):
        for i, end in fit.state.ended.items():
            if end.epoch == fit.trainer.epochs:
                rates[i] = end.learning_rate
    return rates


def mean_losses(fit: Fit, totals: Any) -> Any:
    """Return the mean loss of the epoch that is through, of one network or of each member."""
    examples = fit.state.examples
    if not isinstance(totals, list):
        return totals / examples
    ended, epoch = fit.state.ended, fit.trainer.epochs
    last = {i: end.examples for i, end in ended.items() if end.epoch == epoch}
    return [total / (last.get(i) or _own(examples, i)) for i, total in enumerate(totals)]


def blank(fit: Fit, row: Row) -> None:
    """Set the figures of a row to NaN of the members that were not trained, or have diverged."""
    trained = fit.trainer.history.trained(row["epoch"])
    gone = [i for i in range(len(fit.epochs)) if i not in trained]
    for figures in row.values():
        if isinstance(figures, list):
            for i in gone:
                figures[i] = math.nan


class OtherEpochsError(ValueError):
    """A run can't go on with these epochs: a member has had more, or ended after fewer."""


def resumed(found: Sequence[Any], fit: Fit, first: int, made: int, whole: bool) -> Ends:
    """Return the ends in a checkpoint, as the fit goes on from them.

    Parameters
    ----------
    found : sequence of dict
        What `tree` returned.
    fit : Fit
        What goes on.
    first, made : int
        Epochs before the fit, and those of it that have been begun.
    whole : bool
        Whether the last of them is through.

    Raises
    ------
    OtherEpochsError
        If the members' epochs are others than the checkpoint's, for one that has ended, or fewer
        than have been made.
    KeyError, TypeError, ValueError
        If they are no ends.
    """
    ended = {check_member(told["member"], len(fit.epochs)): _end_of(told) for told in found}
    for i, epochs in enumerate(fit.epochs):
        end = ended.get(i)
        if end is None and epochs < made:
            raise OtherEpochsError(
                f"epochs of member {i} is {epochs}, and the checkpoint was written in its epoch "
                f"{made}: give {made} or more"
            )
        if end is None or end.reason or end.diverged or end.epoch - first == epochs:
            continue
        if not (whole and end.epoch - first == made < epochs):
            raise OtherEpochsError(
                f"epochs of member {i} is {epochs}, and in the checkpoint it ended after "
                f"{end.epoch - first}: give that"
            )
        del ended[i]  # it goes on
    return ended


def tree(ended: Ends) -> list[Tree]:
    """Return ends for a checkpoint."""
    return [{"member": i, **asdict(end)} for i, end in ended.items()]


def _end_of(told: Tree) -> MemberEnd:
    end = MemberEnd(**{name: value for name, value in told.items() if name != "member"})
    for name in ("epoch", "step", "good_step", "examples"):
        check_count(getattr(end, name), name, 0)
    return end
