"""Pictures of a search, by Optuna's own plots: its history, importances and slices."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from ..analysis.plots import save
from .proposals import as_params, as_study, is_one_minus, optuna_distribution
from .space import Space
from .trials import State, Trial

#: What Optuna calls the states of trials.
STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.STOPPED: TrialState.COMPLETE,  # left out, what made trials bad would seem to matter least
    State.FAILED: TrialState.FAIL,
}

#: What there are pictures of.
KINDS = ("history", "importances", "slices")

#: Trials with a value, without which there is nothing to tell importances by.
FEWEST = 2


def draw(
    space: Space,
    trials: Sequence[Trial],
    minimize: bool,
    prefix: str | os.PathLike[str],
    objective: str = "objective",
) -> list[Path]:
    """Draw the pictures of a search, and return their paths.

    Parameters
    ----------
    space : dict of str to Distribution
        What was searched in.
    trials : sequence of Trial
        All trials, by number.
    minimize : bool
        Whether less of the objective is better.
    prefix : path
        What the names begin with: ``.history.png``, ``.importances.png`` and ``.slices.png``
        follow.
    objective : str
        What the objective is called.

    Raises
    ------
    ValueError
        If fewer than two trials have a value, or all have the same.
    OSError
        If a picture can't be written.
    """
    paths = {kind: Path(f"{os.fspath(prefix)}.{kind}.png") for kind in KINDS}
    for kind, path in paths.items():
        draw_one(kind, space, trials, minimize, path, objective)
    return [*paths.values()]


def draw_one(
    kind: str,
    space: Space,
    trials: Sequence[Trial],
    minimize: bool,
    path: str | os.PathLike[str],
    objective: str = "objective",
) -> None:
    """Draw one of the pictures: "history", "importances" or "slices"; see `draw`."""
    from optuna.visualization import matplotlib as plots

    study = _view(space, trials, minimize)
    if kind == "importances":
        _require_difference(study)
    plot: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "importances": plots.plot_param_importances,
        "slices": partial(plots.plot_slice, params=_varied(study) if kind == "slices" else None),
    }
    _draw(plot[kind], study, objective, Path(path))


def _draw(plot: Callable[..., Any], study: Study, objective: str, path: Path) -> None:
    """Draw one picture; what Optuna sets for all of Matplotlib's is set back."""
    import matplotlib as mpl
    from matplotlib import pyplot

    with mpl.rc_context(), _without_notes():
        axes = plot(study, target_name=objective)
        figure = getattr(axes, "flat", [axes])[0].figure
        try:
            _make_room(figure)
            save(figure, path)
        finally:
            pyplot.close(figure)


@contextmanager
def _without_notes() -> Iterator[None]:
    """Return a context in which nothing is said of what is experimental, or of few values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "Attempting to set identical")
        warnings.filterwarnings("ignore", "Target and region quantiles")
        yield


def _require_difference(study: Study) -> None:
    """Raise a ValueError if all trials have the same value."""
    values = {trial.value for trial in study.trials if trial.state is TrialState.COMPLETE}
    if len(values) == 1:
        raise ValueError("all trials have the same value: there is nothing to tell importances by")


def _varied(study: Study) -> list[str]:
    """Return the hyper-parameters of which several values were trained."""
    values: dict[str, set[Any]] = {}
    for trial in study.trials:
        if trial.state is TrialState.COMPLETE:
            for name, value in trial.params.items():
                values.setdefault(name, set()).add(value)
    found = [name for name, several in values.items() if len(several) > 1]
    if not found:
        raise ValueError("no hyper-parameter had two values in trials that have a value")
    return found


def _make_room(figure: Any) -> None:
    """Let no name be cut off, nor names or numbers at an axis lie one on the other."""
    from matplotlib.category import StrCategoryFormatter

    for axes in figure.axes:
        is_wide = isinstance(axes.xaxis.get_major_formatter(), StrCategoryFormatter)
        if is_wide or axes.get_xscale() == "log":
            axes.tick_params(axis="x", which="both", labelrotation=90)
    # Beside a single slice its colours stand in a grid with rows of no height, which that refuses.
    grids = [axes.get_gridspec() for axes in figure.axes]
    flat = any(0 in (grid.get_height_ratios() or ()) for grid in grids if grid is not None)
    figure.set_layout_engine("tight" if flat else "constrained")


def importances(space: Space, trials: Sequence[Trial], minimize: bool) -> dict[str, float]:
    """Return how much each hyper-parameter mattered, the most important one first; their sum is 1.

    By Optuna's PED-ANOVA, of all trials that have a value, those that were stopped among them.

    Parameters
    ----------
    space, trials, minimize
        As for `draw`.

    Raises
    ------
    ValueError
        If fewer than two trials have a value.
    """
    study = _view(space, trials, minimize)
    _require_difference(study)
    with _without_notes():
        found = get_param_importances(study)
    names = {_shown_name(space, name): name for name in space}
    return {names[shown]: float(share) for shown, share in found.items()}


def _view(space: Space, trials: Sequence[Trial], minimize: bool) -> Study:
    """Return the study that Optuna is shown, of one trial for each setting."""
    valued = sum(_has_value(trial) for trial in trials)
    if valued < FEWEST:
        raise ValueError(f"{valued} trials have a value: it takes {FEWEST} to tell what mattered")
    return as_study([_frozen(space, trial) for trial in trials], minimize)


def _has_value(trial: Trial) -> bool:
    """Return whether a trial has ended with a value that can be drawn."""
    has_value = trial.value is not None and math.isfinite(trial.value)
    return trial.state in (State.COMPLETE, State.STOPPED) and has_value


def _frozen(space: Space, trial: Trial) -> FrozenTrial:
    state, now = STATES[trial.state], datetime.now()
    if state is TrialState.COMPLETE and not _has_value(trial):
        state = TrialState.FAIL
    params = as_params(space, trial.setting)
    return FrozenTrial(
        number=trial.number,
        state=state,
        value=trial.value if state is TrialState.COMPLETE else None,
        datetime_start=now,
        datetime_complete=now if state.is_finished() else None,
        params={_shown_name(space, name): param for name, param in params.items()},
        distributions={
            _shown_name(space, name): optuna_distribution(space[name]) for name in params
        },
        user_attrs={},
        system_attrs={},
        intermediate_values=trial.reports,
        trial_id=trial.number,
    )


def _shown_name(space: Space, name: str) -> str:
    """Return what stands at an axis."""
    return f"1 - {name}" if is_one_minus(space[name]) else name
