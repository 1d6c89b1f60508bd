"""An estimator's members: each is the estimator alone, with a seed and figures of its own.

What is done for each network, counting epochs without improvement, holding examples out, weighing
classes, is done for an estimator. Of one with members these are plain estimators made for it, whose
figures then become lists in the one that the user has.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..nn.members import check_member, member_of
from ..registry import Registered
from .parameters import OWN, Estimator, goes_with, is_several

#: What is written for each member, and the name by which the estimator has a list of it.
FIGURES = {
    "n_iter_": "_n_iter",
    "_no_improvement_count": "_no_improvement_counts",
    **{
        name: name
        for name in (
            *("t_", "loss_", "loss_curve_", "best_loss_"),
            *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
        )
    },
}


def alone(estimator: Estimator, seeds: Sequence[int], members: int | None) -> list[Estimator]:
    """Return the estimator of each member, unfitted but for its figures; of one network its own."""
    if members is None:
        return [estimator]
    params = estimator.get_params(deep=False)
    found = [
        type(estimator)(**{name: _own(name, value, i) for name, value in params.items()})
        for i in range(members)
    ]
    for member, seed in zip(found, seeds, strict=True):
        member.members, member.random_state = None, seed
    there = estimator.__dict__
    for name, several in FIGURES.items():
        if several in there:
            values = there[several]
            for i, member in enumerate(found):
                setattr(member, name, None if values is None else values[i])
    return found


def _own(name: str, value: Any, i: int) -> Any:
    """Return the value of a parameter that member i has."""
    if name in OWN and is_several(value):
        return value[i]
    return member_of(value, i) if isinstance(value, Registered) else value


def gather(estimator: Estimator, each: Sequence[Estimator]) -> None:
    """Write the figures of each member as lists; of one network they are there already."""
    if each[0] is estimator:
        return
    for name, several in FIGURES.items():
        if all(name in member.__dict__ for member in each):
            values = [getattr(member, name) for member in each]
            setattr(estimator, several, None if all(v is None for v in values) else values)
    estimator.n_iter_ = max(estimator._n_iter)


def member(estimator: Estimator, i: int) -> Estimator:
    """Return member i as a fitted estimator; see `MLP.member`."""
    network = estimator.network_
    place = check_member(i, network.members)
    if not goes_with(estimator, network.members):
        raise ValueError(
            f"members is {estimator.members} now and there are {network.members}: set it back"
        )
    found = alone(estimator, network.seeds, network.members)[place]
    own = {*FIGURES, *FIGURES.values(), *found.get_params(deep=False)}
    own |= {"network_", "_optimizer", "_kept"}
    shared = {name: value for name, value in estimator.__dict__.items() if name not in own}
    found.__dict__.update(copy.deepcopy(shared))
    for name in FIGURES:
        if isinstance(found.__dict__.get(name), list):
            setattr(found, name, [*getattr(found, name)])
    found.network_, found._optimizer = network.member(place), None
    return found
