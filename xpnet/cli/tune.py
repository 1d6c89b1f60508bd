"""The command ``xpnet tune``."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from ..tabular.formats.source import TextOptions
from ..tabular.tuning import TableSubject
from . import console, options
from .options import (
    Columns,
    Data,
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
from .ranges import DEFAULT, space_of
from .resume import Run
from .search_plan import Files, Plan, command_to_go_on
from .search_run import SearchRun
from .training_options import (
    HIDDEN,
    Activation,
    Augment,
    BatchNorm,
    BatchSize,
    ClipNorm,
    Dropout,
    Dtype,
    Epochs,
    Hidden,
    ImageShape,
    InputDropout,
    LearningRate,
    LossText,
    Memory,
    OptimizerText,
    Output,
    Quiet,
    ScheduleText,
    Seed,
    Task,
    allow_memory,
    defaults,
    settings_of,
)


def tune(
    ctx: typer.Context,
    data: Data,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=RANGE",
            help="Search this instead of the default space: learning_rate=log:1e-4:0.1, "
            "hidden=64|256,128, dropout=0:0.5, 'dropout=0:0.5 if batch_norm=false', "
            "optimizer.beta_2=1-log:0.9:0.999. `--set default` adds to the default space.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="How many settings are tried, in all.")] = 100,
    members: Annotated[
        int, typer.Option(metavar="K", help="How many networks are trained at once, at most.")
    ] = 16,
    seconds: Annotated[
        float | None, typer.Option("--time", metavar="SECONDS", help="Search no longer than that.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Judge each setting by N folds instead of the development set."
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(help="error, loss, or one of scikit-learn's scorers, as roc_auc or f1_macro."),
    ] = "error",
    halving: Annotated[
        bool,
        typer.Option(
            "--halving/--no-halving",
            help="Stop trials early that are behind others after as many epochs.",
        ),
    ] = True,
    eta: Annotated[
        int, typer.Option(metavar="η", help="One of η trials goes on, for η times the epochs.")
    ] = 3,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the study is kept: a path, or an address as Optuna takes it, which several "
            "processes and machines may share. If not given, NAME.study.db.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The study's name there; if not given that of the data.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study.")] = False,
    worker: Annotated[
        bool,
        typer.Option("--worker", help="Only search, for a study that others share by --storage."),
    ] = False,
    keep: Annotated[
        int,
        typer.Option(metavar="K", help="The model is the mean of K networks, of the best trials."),
    ] = 1,
    repeats: Annotated[
        int,
        typer.Option(
            help="How often the best setting and the default one are trained, with other seeds, to "
            "see whether the search was worth it; 0: not at all."
        ),
    ] = 5,
    test: Test = None,
    dev: Dev = None,
    target: Target = None,
    drop: Drop = "",
    column: Columns = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    memory: Memory = None,
    task: Task = None,
    hidden: Hidden = HIDDEN,
    activation: Activation = defaults.activation,
    batch_norm: BatchNorm = False,
    dropout: Dropout = "0",
    input_dropout: InputDropout = defaults.input_dropout,
    l2: Annotated[
        float, typer.Option(metavar="λ", help="λ of the L2 term λ/2n ‖W‖².")
    ] = defaults.l2,
    clip_norm: ClipNorm = None,
    augment: Augment = defaults.augment,
    image_shape: ImageShape = "",
    optimizer: OptimizerText = defaults.optimizer,
    loss: LossText = None,
    learning_rate: LearningRate = None,
    schedule: ScheduleText = defaults.schedule,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    device: Device = "auto",
    threads: Threads = None,
    dtype: Dtype = defaults.dtype,
    seed: Seed = defaults.seed,
    output: Output = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search for settings that suit DATA, and write the network that they give to a file.

    Many networks are trained at once. Without --set it is the hidden layers, learning rate, λ and
    dropout that are searched; options of a training that are given hold for all trials. The best
    setting is trained anew on training and development set, and measured once on the test set;
    both may be given by --dev and --test.
    Ctrl-C or SIGTERM ends the search, and what was found is saved; --resume goes on with it.
    """
    options.use_threads(ctx, threads)
    out = console.make_console(quiet=quiet or as_json)
    plan = Plan(
        trials,
        members,
        seconds,
        folds,
        halving,
        eta,
        storage,
        name,
        resume,
        worker,
        keep,
        repeats,
    )
    plan.require_one_judge(dev)
    settings = settings_of(
        hidden=hidden,
        activation=activation,
        batch_norm=batch_norm,
        dropout=dropout,
        input_dropout=input_dropout,
        augment=augment,
        image_shape=image_shape,
        l2=l2,
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
    )
    asked, given = ranges or [DEFAULT], options.given(ctx)
    if DEFAULT not in asked:
        space_of(asked, settings, {}, given)  # refuses it before the data are read
    names, kinds = options.split_names(drop), options.kinds(column)
    text = TextOptions(separator, decimal)
    more: dict[str, Any] = {"kinds": kinds, "text": text, "test": test, "dev": dev}
    run = Run(data, target, names, settings, device, output, **more)
    allow_memory(memory)
    dataset = run.read()
    files = Files.of(run, plan, dataset.name)
    subject = TableSubject.prepare(dataset, settings, device, plan.folds)
    space = space_of(asked, settings, subject.default_space(given), given)
    subject.check(space)
    goes_by = subject.metric(metric)
    if metric == "loss" and (own := [name for name in space if name.startswith("loss.")]):
        raise ValueError(f"--metric is loss, and {own[0]} is searched: losses would not compare")
    ctrl_c, how = console.CtrlC(), command_to_go_on
    with contextlib.ExitStack() as stack:
        stack.enter_context(console.telling_how_to_go_on(how))
        stack.enter_context(ctrl_c.watched(terminated=True))
        search = SearchRun(out, run, plan, files, subject, space, goes_by)
        stack.callback(search.study.close)
        result = search.carry_out(ctrl_c)
        if as_json:
            options.write_json(result)
    if ctrl_c.pressed:
        sys.exit(ctrl_c.exit_code)
