"""What ``xpnet train`` shows of a training when it is through."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console

from ..analysis.sweeps import L2Choice
from ..tabular.experiment import Experiment
from . import console, options
from .introduction import plan_rows
from .schema import columns_of

#: What the folds are called that networks were not trained on, each on its own.
HELD_OUT = "held out"


def show_results(out: Console, experiment: Experiment, choice: L2Choice | None) -> dict[str, Any]:
    """Evaluate, show the results and return them."""
    model, history = experiment.model, experiment.trainer.history
    errors = experiment.evaluate()
    verdict = experiment.diagnose(errors)
    name = options.error_name(model)
    if history.stopped:
        out.print(f"stopped in epoch {experiment.trainer.epochs}: {history.reason}")
    if history.diverged:
        out.print(f"members that diverged, left out: {', '.join(map(str, history.diverged))}")
    if isinstance(experiment.best_epoch, list) and len(experiment.best_epoch) > 1:
        epochs = ", ".join(map(str, experiment.best_epoch))
        out.print(f"the members' weights are those of epochs {epochs}")
    elif experiment.best_epoch is not None:
        (epoch,) = np.atleast_1d(experiment.best_epoch)
        out.print(f"the weights are those of epoch {epoch}")
    if choice is not None:
        out.print()
        out.print(f"chosen on the development set: λ = {choice.l2:g}")
    if experiment.temperature is not None:
        out.print(f"the logits are divided by {experiment.temperature:.3g}, for probabilities")
    sizes = experiment.sizes()
    out.print()
    called = {} if experiment.folds is None else {"dev": HELD_OUT}
    out.print(console.results_table(errors, name, sizes, called))
    found = verdict.verdict.replace("neither", "neither high bias nor high variance")
    out.print()
    out.print(f"verdict: {found}. {verdict.reasons[0].upper()}{verdict.reasons[1:]}.")
    if verdict.advice:
        out.print(f"to try: {', or '.join(verdict.advice)}")
    told = _told(experiment) | {"examples": sizes, "results": errors}
    told |= {"verdict": verdict.verdict, "reasons": verdict.reasons, "advice": verdict.advice}
    return told | {"l2_choice": None if choice is None else choice.rows}


def _told(experiment: Experiment) -> dict[str, Any]:
    """Return what programs are told of a training, but for its errors."""
    model, history = experiment.model, experiment.trainer.history
    return {
        "data": experiment.dataset.name,
        "device": model.network.backend.device,
        "task": model.target.task,
        "settings": model.training["settings"],
        "plan": plan_rows(experiment),
        "temperature": experiment.temperature,
        "sets": model.training.get("sets", {}),
        "columns": columns_of(experiment),
        "history": history.rows,
        "stopped": history.stopped,
        "reason": history.reason,
        "best_epoch": experiment.best_epoch,
        "diverged": list(history.diverged),
    }
