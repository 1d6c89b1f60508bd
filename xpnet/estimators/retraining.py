"""The best of a search trained anew, on what was held out as well."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from sklearn.exceptions import ConvergenceWarning

from ..nn.network import Network
from ..nn.stacking import can_be_stacked, stack
from ..search.trials import State, Trial
from ..train.callback import Callback
from ..train.trainer import Trainer
from ..warning import warn
from .estimator_subject import EstimatorSubject, last_step
from .function_subject import FunctionSubject, reseeded
from .parameters import OWN, optimizer_of

#: Parameters of which members may have one each, whatever their values are.
VARIED = {*OWN} - {"learning_rate"}


class OwnEpochs(Callback):
    """Ends the training of each member after epochs of its own."""

    takes_members: ClassVar[bool] = True

    def __init__(self, epochs: Sequence[int]) -> None:
        self._epochs = epochs

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Stop those whose last one this was."""
        through = [i for i, last in enumerate(self._epochs) if row["epoch"] == last]
        trainer.stop("its epochs were made", through)


def retrain(subject: EstimatorSubject | FunctionSubject, trials: Sequence[Trial], keep: int) -> Any:
    """Return the best trials trained anew on all examples, each for its best number of epochs.

    One that was stopped early is trained for as many as the best one.

    Parameters
    ----------
    subject : EstimatorSubject or FunctionSubject
        What was searched for.
    trials : sequence of Trial
        Those that have a value, the best first.
    keep : int
        How many to train: the best one, and the next ones of the same architecture, whose seeds are
        those after its own.

    Returns
    -------
    estimator, Pipeline or Network
        Fitted; of several networks the mean predicts.
    """
    if isinstance(subject, FunctionSubject):
        return _retrain_function(subject, trials, keep)
    kept = [trial for trial in trials if _goes_with(subject, trials[0], trial)][:keep]
    _tell_fewer(len(kept), keep)
    epochs = [_epochs(trial, trials[0]) for trial in kept]
    own: dict[str, Any] = {
        "max_iter": max(epochs),
        "early_stopping": False,
        "tol": 0.0,
        "n_iter_no_change": math.inf,
    }
    if len(kept) > 1:
        own |= {"members": len(kept), "callbacks": [OwnEpochs(epochs)], **_varied(subject, kept)}
    best = {name: v for name, v in trials[0].setting.items() if name != subject.epochs_name}
    prefixed = {f"{subject.prefix}{name}": value for name, value in own.items()}
    model = subject.with_setting(best | prefixed)
    weights = subject.sample_weight
    fit = {} if weights is None else {f"{subject.prefix}sample_weight": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are those that were best
        model.fit(subject.X, subject.y, **fit)
    return model.set_params(**{f"{subject.prefix}callbacks": None})


def _epochs(trial: Trial, best: Trial) -> int:
    """Return how many epochs of a trial were best, or would be, had it not been stopped."""
    found = (best if trial.state is State.STOPPED else trial).best_epoch
    return found or trial.epochs


def _goes_with(subject: EstimatorSubject, best: Trial, trial: Trial) -> bool:
    """Return whether two trials can be members of one estimator."""
    here, there = (_whole(subject, trial) for trial in (best, trial))
    names = [name for name in here if name != subject.epochs_name]
    alike = all(_varies(subject, name) or here[name] == there[name] for name in names)
    return alike and _n_moments(subject, best) == _n_moments(subject, trial)


def _n_moments(subject: EstimatorSubject, trial: Trial) -> int:
    """Return how many moments a trial's optimiser keeps: with a momentum of 0 it has none."""
    last, _ = last_step(subject.with_setting(trial.setting))
    return optimizer_of(last).n_moments


def _whole(subject: EstimatorSubject, trial: Trial) -> dict[str, Any]:
    """Return a trial's setting with the values that its model has where the setting has none."""
    return subject.default(subject.searched) | trial.setting


def _varies(subject: EstimatorSubject, name: str) -> bool:
    return name.startswith(subject.prefix) and name.removeprefix(subject.prefix) in VARIED


def _varied(subject: EstimatorSubject, kept: Sequence[Trial]) -> dict[str, Any]:
    """Return the parameters of which each of the kept trials has its own value."""
    settings = [_whole(subject, trial) for trial in kept]
    return {
        name.removeprefix(subject.prefix): [setting[name] for setting in settings]
        for name in settings[0]
        if _varies(subject, name)
    }


def _retrain_function(subject: FunctionSubject, trials: Sequence[Trial], keep: int) -> Network:
    """Train networks of a function one after another, and return them as the members of one."""
    kept: list[tuple[Trial, Trainer]] = []
    for trial in trials:
        trainer = subject.trainer(trial.setting)
        if not kept or can_be_stacked([kept[0][1].network, trainer.network]):
            kept.append((trial, trainer))
        if len(kept) == keep:
            break
    _tell_fewer(len(kept), keep)
    networks = []
    for i, (trial, trainer) in enumerate(kept):
        own = reseeded(trainer, kept[0][1].network.seeds[0] + i) if i else trainer
        batch_size, _ = subject.batch_size_and_epochs(trial.setting)
        own.fit(
            subject.X,
            subject.y,
            batch_size=min(batch_size, len(subject.y)),
            epochs=_epochs(trial, trials[0]),
            sample_weight=subject.sample_weight,
        )
        networks.append(own.network)
    return networks[0] if len(networks) == 1 else stack(networks)


def _tell_fewer(found: int, keep: int) -> None:
    if found < keep:
        warn(
            f"keep is {keep}, and the architecture of the best trial has {found} that have a "
            "value: these are kept"
        )
