"""The command ``xpnet train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..analysis.sweeps import L2Choice, Watch, check_l2_values
from ..recipes.recipes import Asked
from ..tabular.dataset import Dataset
from ..tabular.experiment import Experiment
from ..tabular.formats.source import TextOptions
from ..tabular.time_budget import within
from ..train.history import DivergedError
from ..train.trainer import Trainer
from . import console, options
from .introduction import introduce, show_training
from .options import (
    DATA_HELP,
    Columns,
    Decimal,
    Dev,
    Device,
    Drop,
    Json,
    Separator,
    Target,
    Test,
    Threads,
)
from .outputs import Files, draw, draw_history, files_of, save_model
from .results import show_results
from .resume import Run, going_on
from .schema import columns_of, show
from .training_options import (
    HIDDEN,
    RECIPES_OWN,
    Activation,
    Augment,
    BatchNorm,
    BatchSize,
    ClipNorm,
    Dropout,
    Dtype,
    Epochs,
    Folds,
    Hidden,
    ImageShape,
    InputDropout,
    LearningRate,
    LossText,
    Memory,
    OptimizerText,
    Output,
    Quiet,
    Recipe,
    ScheduleText,
    Seed,
    Show,
    Task,
    Time,
    allow_memory,
    by_recipe,
    defaults,
    settings_of,
)


def train(
    ctx: typer.Context,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    test: Test = None,
    dev: Dev = None,
    target: Target = None,
    drop: Drop = "",
    column: Columns = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    memory: Memory = None,
    task: Task = None,
    hidden: Annotated[str, by_recipe(Hidden)] = HIDDEN,
    activation: Annotated[str, by_recipe(Activation)] = defaults.activation,
    batch_norm: BatchNorm = False,
    dropout: Annotated[str, by_recipe(Dropout)] = "0",
    input_dropout: InputDropout = defaults.input_dropout,
    l2: Annotated[
        str,
        typer.Option(
            metavar="λ",
            help="λ of the L2 term λ/2n ‖W‖². Of several, as 0,0.01,0.1,1, the one that is best on "
            "the development set is chosen.",
        ),
    ] = "0",
    clip_norm: ClipNorm = None,
    augment: Augment = defaults.augment,
    image_shape: ImageShape = "",
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a better development loss.",
            show_default=RECIPES_OWN,
        ),
    ] = None,
    optimizer: Annotated[str, by_recipe(OptimizerText)] = defaults.optimizer,
    loss: Annotated[str | None, by_recipe(LossText)] = None,
    learning_rate: Annotated[float | None, by_recipe(LearningRate)] = None,
    schedule: Annotated[str, by_recipe(ScheduleText)] = defaults.schedule,
    batch_size: Annotated[str | None, by_recipe(BatchSize)] = None,
    epochs: Annotated[int | None, by_recipe(Epochs)] = None,
    device: Device = "auto",
    threads: Threads = None,
    dtype: Dtype = defaults.dtype,
    seed: Seed = defaults.seed,
    members: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Train K networks at once, with seeds from --seed on: the model predicts their "
            "mean.",
            show_default=RECIPES_OWN,
        ),
    ] = None,
    recipe: Recipe = "auto",
    folds: Folds = None,
    time: Time = None,
    show_plan: Show = False,
    goal: Annotated[
        float, typer.Option(help="The error that would satisfy you, for the verdict.")
    ] = defaults.goal,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve",
            help="Also train on parts of the training set, to see whether more data would help.",
        ),
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Write checkpoints there, to go on if the training is cut off."
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--checkpoint-every",
            metavar="N",
            help="Steps between checkpoints; if not given one after each epoch.",
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="How many checkpoints stay; if not given 3, and the best.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Go on from the newest checkpoint there; the data and all settings come from it.",
        ),
    ] = None,
    show_schema: Annotated[
        bool,
        typer.Option("--schema", help="Show what the columns of a table hold, and train nothing."),
    ] = False,
    output: Output = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a network on DATA, write it to a file, and say what to try next.

    The data is parted into training, development and test set, but for those that are given by
    --test and --dev: with both, all of DATA is trained on. With folds, as --recipe auto has them,
    no development set is held out, but some rows of each network. Numbers are standardised, dates
    become numbers, and categories 0 or 1 for each. Ctrl-C ends the training and saves what there
    is; a second one quits at once. With --checkpoint SIGTERM does as Ctrl-C, and a training that
    was cut off, however, goes on by --resume.
    """
    out = console.make_console(quiet=quiet or as_json)
    lambdas = check_l2_values(options.numbers("l2", l2))
    asked = None
    begun, folder = options.folder("resume", resume), options.folder("checkpoint", checkpoint)
    if begun is not None:
        free = {"data": data, "epochs": epochs, "device": device, "output": output}
        free |= {"test": test, "dev": dev, "threads": threads}
        run = going_on(begun, options.given(ctx), free | {"every": every, "keep": keep})
    else:
        if data is None:
            raise ValueError(
                "DATA is missing: say what to train on, or what to go on with: --resume"
            )
        settings = settings_of(
            hidden=hidden,
            activation=activation,
            batch_norm=batch_norm,
            dropout=dropout,
            input_dropout=input_dropout,
            augment=augment,
            image_shape=image_shape,
            patience=patience,
            l2=lambdas[0],
            clip_norm=clip_norm,
            optimizer=optimizer,
            loss=loss,
            learning_rate=learning_rate,
            schedule=schedule,
            batch_size=batch_size,
            epochs=epochs,
            dtype=dtype,
            seed=seed,
            task=task,
            goal=goal,
            members=None if members == 1 and folds is None else members,
            folds=folds,
        )
        asked = Asked(recipe, options.given(ctx), len(lambdas) > 1 or learning_curve)
        names, kinds = options.split_names(drop), options.kinds(column)
        text = TextOptions(separator, decimal)
        where = folder, every, keep
        more: dict[str, Any] = {"kinds": kinds, "text": text, "test": test, "dev": dev}
        more |= {"time": time, "threads": threads}
        run = Run(data, target, names, settings, device, output, *where, **more)
    options.use_threads(ctx, run.threads)
    run.require_alone(lambdas, learning_curve)
    run.require_unused()
    allow_memory(memory)
    if show_schema:
        show(run, out, as_json)
        return
    dataset = run.read()
    files = files_of(run, dataset, learning_curve)
    experiment = _prepare(dataset, run, asked)
    if show_plan:
        show_training(out, experiment, run, as_json)
        return
    if learning_curve:
        experiment.curve_sizes()  # refuses too few examples before the training, not after
    experiment.release_rows()
    introduce(out, experiment, run)
    console.print_columns(out, columns_of(experiment))
    ctrl_c = console.CtrlC()
    with (
        console.telling_how_to_go_on(run.command_now),
        ctrl_c.watched(terminated=run.folder is not None),
    ):
        result, failure = _carry_out(out, experiment, lambdas, run, files, ctrl_c)
        if run.folder is not None and ctrl_c.cut(experiment.trainer):
            result["resume"] = run.command()
            console.make_console(stderr=quiet or as_json).print(f"go on with: {run.command()}")
        if as_json:
            options.write_json(result | {"interrupted": ctrl_c.pressed})
    if failure is not None:
        raise failure
    if ctrl_c.pressed:
        sys.exit(ctrl_c.exit_code)


def _prepare(dataset: Dataset, run: Run, asked: Asked | None) -> Experiment:
    """Return the training of a run, by a recipe and within a time where these are asked for."""
    experiment = Experiment.prepare(dataset, run.settings, run.device, recipe=asked)
    if run.time is not None and run.begun is None:
        return within(experiment, run.time)
    experiment.time_limit = run.time  # what has begun stays as it is
    return experiment


def _carry_out(
    out: Console,
    experiment: Experiment,
    lambdas: list[float],
    run: Run,
    files: Files,
    ctrl_c: console.CtrlC,
) -> tuple[dict[str, Any], OSError | None]:
    """Train, show the results, save; return what came of it, and why no model could be saved."""
    choice = _train(out, experiment, lambdas, run, files.model, ctrl_c)
    result = show_results(out, experiment, choice)
    try:
        save_model(experiment, run, files.model)
    except OSError as error:
        return result | {"model": None, "picture": None}, error
    result |= draw_history(out, experiment, result, files)
    if files.curve is not None and not ctrl_c.pressed:
        result |= _learn_on_parts(out, experiment, files.curve, ctrl_c)
    if ctrl_c.pressed:
        out.print(f"{ctrl_c.reason}: the rest was left out")
    return result, None


def _train(
    out: Console,
    experiment: Experiment,
    lambdas: list[float],
    run: Run,
    model_file: Path,
    ctrl_c: console.CtrlC,
) -> L2Choice | None:
    """Train once, or for each λ; Ctrl-C ends the training and leaves what there is."""
    name = options.error_name(experiment.model)
    reporter = console.Reporter(out, name, rows=len(lambdas) == 1)
    try:
        if len(lambdas) == 1:
            more = run.fit_options(experiment.dataset, experiment.settings, model_file)
            experiment.run([reporter, ctrl_c], **more)
            return None
        table = console.SweepTable(out, "λ", "l2", name)
        choice = experiment.choose_l2(lambdas, [reporter, ctrl_c], _adding(table, ctrl_c))
        if len(choice.rows) < len(lambdas):
            out.print(f"{ctrl_c.reason}: {len(choice.rows)} of {len(lambdas)} values were tried")
        return choice
    except DivergedError as error:
        reporter.close()
        every = "the training diverged for every λ; the last one: " if len(lambdas) > 1 else ""
        raise _saved_what_was_good(error, experiment, run, model_file, every) from error
    finally:
        reporter.close()


def _adding(table: console.SweepTable, ctrl_c: console.CtrlC) -> Watch:
    """Return what adds each training of a sweep to a table, and says whether Ctrl-C cut it."""

    def watch(trainer: Trainer, row: dict[str, float]) -> bool:
        cut = ctrl_c.cut(trainer)
        table.add(row, note="   cut short" if cut else "")
        return cut

    return watch


def _learn_on_parts(
    out: Console, experiment: Experiment, picture: Path, ctrl_c: console.CtrlC
) -> dict[str, Any]:
    """Train on parts of the training set, and show how the errors depend on its size."""
    name = options.error_name(experiment.model)
    out.print()
    table = console.SweepTable(out, "examples", "examples", name)
    reporter = console.Reporter(out, name, rows=False)
    try:
        curve = experiment.learning_curve([reporter, ctrl_c], _adding(table, ctrl_c))
    except DivergedError as error:
        out.print(f"the learning curve ends here: {error}")
        return {"learning_curve": None}
    finally:
        reporter.close()
    if not curve.rows:
        return {"learning_curve": []}
    drawn = draw(picture, lambda file: curve.plot(file, experiment.dataset.name, name))
    if drawn:
        out.print()
        out.print(f"saved {picture}")
    return {"learning_curve": curve.rows, "curve_picture": str(picture) if drawn else None}


def _saved_what_was_good(
    error: DivergedError, experiment: Experiment, run: Run, model_file: Path, prefix: str
) -> ValueError:
    if error.good_step == 0 and not experiment.best_epoch:
        return ValueError(f"{prefix}{error} (nothing was learnt by then, and nothing is saved)")
    try:
        save_model(experiment, run, model_file)
    except OSError as failure:
        return ValueError(f"{prefix}{error}. They are not saved: {failure}")
    return ValueError(f"{prefix}{error}. They are saved in {model_file}")
