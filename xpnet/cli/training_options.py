"""What ``xpnet train`` and ``xpnet tune`` share: how a training is set, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..nn.loss import Loss
from ..optim.optimizers import Optimizer
from ..recipes.recipes import RECIPES
from ..recipes.settings import BATCH_SIZE, EPOCHS, SCHEDULES, Settings
from ..tabular.memory import allow
from . import options

#: What holds where an option is not given.
defaults = Settings()
HIDDEN = ",".join(map(str, defaults.hidden))

#: What the help calls the default of an option that a recipe sets where it is not given.
RECIPES_OWN = "the recipe's"

Memory = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        help="How much memory data may take, before they lie in files; else what is free.",
    ),
]
Task = Annotated[
    str | None, typer.Option(help="binary, multiclass or regression; inferred if not given.")
]
Hidden = Annotated[str, typer.Option(help="Units of each hidden layer; none for no hidden layer.")]
Activation = Annotated[str, typer.Option(help=options.ACTIVATION_HELP)]
BatchNorm = Annotated[bool, typer.Option("--batch-norm", help="Batch norm before each activation.")]
Dropout = Annotated[
    str,
    typer.Option(
        metavar="P",
        help="Probability of dropping after each hidden layer; 0.2,0.5 for one each.",
    ),
]
InputDropout = Annotated[float, typer.Option(help="Probability of dropping a feature.")]
ClipNorm = Annotated[
    float | None,
    typer.Option(metavar="C", help="Shorten a gradient g to g · min(1, C/‖g‖)."),
]
Augment = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Changes of the mini-batches: flip, shift, rotation, zoom, cutout (for images), "
        "noise, mixup, as shift:2,rotation:10,noise:0.1.",
    ),
]
ImageShape = Annotated[
    str, typer.Option(metavar="HxW", help="How features make an image: 28x28 or 32x32x3.")
]
OptimizerText = Annotated[
    str,
    typer.Option(help=f"{', '.join(Optimizer.registry.own)}; with options as rmsprop:beta=0.8."),
]
LossText = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(Loss.registry.own)}.", show_default="what fits the task"),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="The rate, or the one that a schedule goes from.", show_default="the optimiser's"
    ),
]
ScheduleText = Annotated[
    str,
    typer.Option(
        help=f"{', '.join(SCHEDULES)}; with options as exponential:decay=0.9 or "
        "piecewise:10=0.01,20=0.001."
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Examples in a mini-batch. auto: measured.",
        show_default=str(BATCH_SIZE),
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="Times through the data.", show_default=f"{EPOCHS}, more on small sets"),
]
Recipe = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(RECIPES)}: what sets all that is not given here. --show tells what and "
        "why.",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="Hold no development set out, but a fold of K for each network, so that every row "
        "trains.",
        show_default=RECIPES_OWN,
    ),
]
Time = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="The best training that fits into so many seconds: fewer networks, then fewer epochs. "
        "The data are read before.",
    ),
]
Show = Annotated[
    bool,
    typer.Option("--show", help="Show what would be trained, and why, and train nothing."),
]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The model file; else NAME.safetensors.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors and notes.")]


def by_recipe(option: Any) -> Any:
    """Return the same option of a command that has recipes, for its help to say so."""
    found = copy(get_args(option)[1])
    found.show_default = RECIPES_OWN
    return found


#: How the text of an option becomes what `Settings` has; the others are read already.
READERS: dict[str, Callable[[str], Any]] = {
    "hidden": options.hidden,
    "dropout": lambda text: tuple(options.numbers("dropout", text)),
    "image_shape": options.image_shape,
    "batch_size": options.batch_size,
}


def settings_of(**given: Any) -> Settings:
    """Return the settings that options come to.

    Parameters
    ----------
    **given
        The options by the names that `Settings` has for them, as the command line gives them.

    Raises
    ------
    ValueError
        If one can't be, in the words of the command line.
    """
    read = {name: READERS[name](v) if name in READERS else v for name, v in given.items()}
    settings = Settings(**read)
    norm, goal = settings.clip_norm, settings.goal
    for name, least in (("members", 1), ("folds", 2)):
        value = getattr(settings, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} is {value}: give {least} or more, or leave it out")
    if norm is not None and not (math.isfinite(norm) and norm > 0):
        raise ValueError(f"--clip-norm is {norm:g}: give a number above 0, or leave it out")
    if settings.seed < 0:
        raise ValueError(f"--seed is {settings.seed}: give 0 or more")
    if not 0 < goal < 1:
        raise ValueError(f"--goal is {goal:g}: give an error above 0 and below 1, as 0.01 for 1 %")
    return settings


def allow_memory(gigabytes: float | None) -> None:
    """Set how much memory data may take, in GB; None: what is free."""
    if gigabytes is not None and not (math.isfinite(gigabytes) and gigabytes > 0):
        raise ValueError(f"--memory is {gigabytes:g}: give GB, a number above 0")
    allow(None if gigabytes is None else int(gigabytes * 1e9))
