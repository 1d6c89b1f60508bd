"""What ``xpnet train`` leaves behind: the model and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from ..analysis import plots
from ..tabular.dataset import Dataset
from ..tabular.experiment import Experiment
from ..warning import warn
from . import options
from .resume import Run


class Files(NamedTuple):
    """What a training writes; without a learning curve there is no picture of one."""

    model: Path
    picture: Path
    curve: Path | None


def files_of(run: Run, dataset: Dataset, learning_curve: bool) -> Files:
    """Return the files to write, once it is found that they can be written."""
    model_file = run.output or Path(f"{dataset.name}.safetensors")
    options.require_writable(model_file, *run.sources)
    picture = options.beside(model_file, ".png")
    curve = options.beside(model_file, ".curve.png") if learning_curve else None
    for path in filter(None, (picture, curve)):
        options.require_writable(path, *run.sources, str(model_file))
    return Files(model_file, picture, curve)


def save_model(experiment: Experiment, run: Run, model_file: Path) -> None:
    """Save the model, or say why not and what may be done."""
    try:
        experiment.model.save(model_file)
    except OSError as error:
        why = f"{model_file}: the model can't be saved ({error.strerror or error})"
        go_on = f". Go on with: {run.command()} -o ANOTHER" if run.has_checkpoints() else ""
        raise type(error)(f"{why}{go_on}") from error


def draw_history(
    out: Console, experiment: Experiment, result: dict[str, Any], files: Files
) -> dict[str, Any]:
    """Draw the training; say and return what is saved."""
    l2 = "" if result["l2_choice"] is None else f", λ = {result['settings']['l2']:g}"
    drawn = draw(
        files.picture,
        lambda file: plots.training_history(
            experiment.trainer.history,
            file,
            experiment.dataset.name + l2,
            options.error_name(experiment.model),
            result["results"]["test"]["error"],
            experiment.best_epoch,
        ),
    )
    saved = [str(files.model), *([str(files.picture)] if drawn else [])]
    out.print()
    out.print(f"saved {' and '.join(saved)}")
    return {"model": str(files.model), "picture": str(files.picture) if drawn else None}


def draw(picture: Path, draw: Callable[[Path], object]) -> bool:
    """Draw a picture; return whether it could be: a picture that fails takes nothing with it."""
    try:
        draw(picture)
    except Exception as error:
        failed = "written" if isinstance(error, OSError) else "drawn"
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        message = f"the picture {picture} can't be {failed} ({why}): there is none"
        warn(message)
        return False
    return True
