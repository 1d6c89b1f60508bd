"""The best training that fits into a given time."""

from __future__ import annotations

import time
from dataclasses import replace

from ..checks import check_positive
from ..train.callback import as_callback
from .experiment import Experiment

#: How much longer an epoch takes than its steps: errors are measured after each.
MORE = 1.5

#: Epochs of so few steps are timed whole: what is measured after each counts there.
SHORT = 50

#: Steps that are made before the clock starts, and while it runs.
WARM_UP, TIMED = 2, 3


def within(experiment: Experiment, seconds: float) -> Experiment:
    """Return a training on the same data that ends within some seconds.

    A few steps of a copy are timed. If the training takes longer, it is of fewer networks, as many
    as there is time for; and if one takes longer still, of fewer epochs, over which its schedule
    then goes. In any case it ends when the time is up.

    Parameters
    ----------
    experiment : Experiment
        Not run yet.
    seconds : float
        The time of the training, above 0; reading and preparing the data do not count.

    Returns
    -------
    Experiment
        Whose `time_limit` is set, and `time_reason` if it had to be shortened.

    Raises
    ------
    TypeError, ValueError
        If seconds is not a number above 0.
    """
    seconds = check_positive(seconds, "seconds")
    settings, members = experiment.settings, len(experiment.model.network.seeds)
    epoch = _seconds_per_step(experiment) * experiment.batches * MORE
    if experiment.batches <= SHORT and epoch * experiment.epochs <= seconds:
        epoch = max(epoch, _seconds_per_epoch(experiment))
    needed = epoch * experiment.epochs
    fewer = max(1, min(members, int(members * seconds / needed)))
    of_fewer = needed * fewer / members
    epochs = max(1, min(experiment.epochs, int(experiment.epochs * seconds / of_fewer)))
    found = experiment
    if (fewer, epochs) != (members, experiment.epochs):
        own = settings.members if fewer == members else fewer
        own = None if own == 1 and settings.folds is None else own
        found = experiment.variant(replace(settings, members=own, epochs=epochs))
        found.batch_size_reason = experiment.batch_size_reason
        if experiment.plan is not None:
            found.plan = experiment.plan.at(found.settings, "for the time that there is")
        counts = {"folds": settings.folds, "members": fewer, "epochs": epochs}
        by = ", ".join(f"{name} {n}" for name, n in counts.items() if n is not None)
        found.time_reason = (
            f"time has decided: {_told(members, experiment.epochs)} would take some {needed:.3g} s;"
            f" instead it is {_told(fewer, epochs)}"
            f" (which {by} repeat)"
        )
    found.time_limit = seconds
    return found


def _told(members: int, epochs: int) -> str:
    counts = {"network": members, "epoch": epochs}
    return " of ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


def _seconds_per_epoch(experiment: Experiment) -> float:
    """Return how long the second epoch of a copy takes, with all that is measured after it."""
    copy, ends = experiment.variant(experiment.settings), []
    copy.epochs = 2
    copy.run([as_callback(lambda trainer, row: ends.append(time.perf_counter()))])
    return ends[-1] - ends[0]


def _seconds_per_step(experiment: Experiment) -> float:
    """Return how long a step takes, measured on a copy of the training."""
    trainer, train = experiment.variant(experiment.settings).trainer, experiment.parts["train"]
    n = experiment.batch_size
    x, y = trainer.network.prepare(train.features[:n], train.labels[:n])
    least = float("inf")
    for i in range(WARM_UP + TIMED):
        began = time.perf_counter()
        trainer.step(x, y)
        trainer.backend.synchronize()
        if i >= WARM_UP:
            least = min(least, time.perf_counter() - began)
    return least
