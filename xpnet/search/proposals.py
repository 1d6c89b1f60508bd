"""Optuna's words for a space, and what its sampler proposes next."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .distributions import Choice, Distribution, Interval, IntUniform
from .space import Space, When, is_active, plain
from .trials import Setting

#: A hyper-parameter's values as Optuna has them: numbers, and names of options.
Params = dict[str, Any]


def is_one_minus(distribution: Distribution) -> bool:
    """Return whether Optuna has 1 − x in place of x: that is what lies on a log scale."""
    found = plain(distribution)
    return isinstance(found, Interval) and found.scale == "log of 1 - x"


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """Return Optuna's distribution for one of ours; of options it has the names.

    Examples
    --------
    >>> from xpnet.search.distributions import choice, one_minus_log_uniform
    >>> optuna_distribution(choice([(64,), (512, 256)]))
    CategoricalDistribution(choices=('(64,)', '(512, 256)'))
    >>> optuna_distribution(one_minus_log_uniform(0.5, 0.75))
    FloatDistribution(high=0.5, log=True, low=0.25, step=None)
    """
    found = plain(distribution)
    match found:
        case Choice():
            return CategoricalDistribution(found.names)
        case IntUniform():
            return IntDistribution(found.low, found.high)
        case Interval() if is_one_minus(found):
            return FloatDistribution(1.0 - found.high, 1.0 - found.low, log=True)
        case Interval():
            return FloatDistribution(found.low, found.high, log=found.scale == "log")
    raise TypeError(
        f"{found!r} has no counterpart in Optuna: give one of xpnet's distributions as it is"
    )


def as_params(space: Space, setting: Mapping[str, Any]) -> Params:
    """Return a setting's values as Optuna has them."""
    return {name: as_param(space[name], value) for name, value in setting.items()}


def as_param(distribution: Distribution, value: Any) -> Any:
    """Return a value as Optuna has it."""
    return 1.0 - value if is_one_minus(distribution) else distribution.encode(value)


def as_setting(space: Space, params: Mapping[str, Any]) -> Setting:
    """Return the setting of what Optuna has, in the space's order."""
    return {
        name: _as_value(distribution, params[name], name)
        for name, distribution in space.items()
        if name in params
    }


def _as_value(distribution: Distribution, param: Any, name: str) -> Any:
    found = plain(distribution)
    if isinstance(found, Interval):
        value = 1.0 - param if is_one_minus(found) else param
        return min(max(float(value), found.low), found.high)  # rounding may have led out
    return found.decode(param, name)


def propose(
    space: Space, trials: Sequence[FrozenTrial], minimize: bool, seed: int, fixed: Params
) -> Params:
    """Return the values that Optuna proposes: TPE over those that are there together.

    Parameters
    ----------
    space : dict of str to Distribution
        What is searched in.
    trials : sequence of FrozenTrial
        All that is known; from those that run it keeps a distance.
    minimize : bool
        Whether less of the objective is better.
    seed : int
        The sampler's, below 2**32.
    fixed : dict
        Values, as Optuna has them, that are given.
    """
    conditional = any(isinstance(distribution, When) for distribution in space.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(seed=seed, group=conditional)
    study = as_study(trials, minimize, sampler)
    trial = new_trial({}, {}, {}, number=len(trials))
    together = sampler.infer_relative_search_space(study, trial)
    together = {name: d for name, d in together.items() if name not in fixed}
    drawn = sampler.sample_relative(study, trial, together)
    params: Params = {}
    for name, ours in space.items():
        if not is_active(space, name, as_setting(space, params)):
            continue
        distribution = optuna_distribution(ours)
        if name in fixed:
            params[name] = fixed[name]
        elif name in drawn:
            params[name] = drawn[name]
        elif isinstance(distribution, CategoricalDistribution) and distribution.single():
            params[name] = distribution.choices[0]
        else:
            params[name] = sampler.sample_independent(study, trial, name, distribution)
    return params


def new_trial(
    params: Params,
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
    number: int = -1,
) -> FrozenTrial:
    """Return a trial that runs, from which a storage makes one of its own."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params=params,
        distributions=dict(distributions),
        user_attrs=dict(attributes),
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def as_study(
    trials: Sequence[FrozenTrial], minimize: bool, sampler: BaseSampler | None = None
) -> Study:
    """Return a study of Optuna's that has some trials, to propose more or to draw pictures of."""
    return Study("", _Shown(trials, minimize), sampler)


class _Shown(InMemoryStorage):
    """What Optuna is shown: trials as they were read once, with no look into the storage."""

    def __init__(self, trials: Sequence[FrozenTrial], minimize: bool) -> None:
        super().__init__()
        self._shown = trials
        self._direction = StudyDirection.MINIMIZE if minimize else StudyDirection.MAXIMIZE

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [self._direction]

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [t for t in self._shown if states is None or t.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Let it go: the trial is made with all its values at once, for others to see."""
