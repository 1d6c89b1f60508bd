"""The command line: ``xpnet train | predict | evaluate | profile | info``."""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from . import __version__, console, options, plots, profile_subject, propagation, readers, system
from .backend import every, explain, why_no_cuda
from .experiment import PARTS, Experiment, part_dataset
from .history import DivergedError
from .model import Model, load_model
from .preprocessing import is_frame
from .profile_result import Profile
from .profiling import profile as measure_profile
from .settings import SCHEDULE_EXAMPLES, SCHEDULES, Settings, parse_schedule
from .sweeps import L2Choice, Watch, check_l2_values
from .training import Trainer

app = typer.Typer(
    name="xpnet",
    help="Train neural networks where your arrays live: NumPy on the CPU, CuPy on CUDA GPUs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="digits, breast_cancer, wine, iris or diabetes; a file .npz, .npy, .csv or .parquet; "
        "or openml:NAME.",
    ),
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that train wrote.")]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The column to predict, in a table.")
]
Drop = Annotated[str, typer.Option(metavar="COLUMNS", help="Columns to leave out: a,b,c.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N. auto: a GPU if there is one.")
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object, nothing else.")]

_defaults = Settings()


@app.command()
def train(
    data: Data,
    target: Target = None,
    drop: Drop = "",
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression; inferred if not given.")
    ] = None,
    hidden: Annotated[
        str, typer.Option(help="Units of each hidden layer; none for no hidden layer.")
    ] = ",".join(map(str, _defaults.hidden)),
    activation: Annotated[
        str, typer.Option(help="relu, leaky_relu, tanh, sigmoid or softmax.")
    ] = _defaults.activation,
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Batch norm before each activation.")
    ] = False,
    dropout: Annotated[
        str,
        typer.Option(
            metavar="P",
            help="Probability of dropping after each hidden layer; 0.2,0.5 for one each.",
        ),
    ] = "0",
    input_dropout: Annotated[
        float, typer.Option(help="Probability of dropping a feature.")
    ] = _defaults.input_dropout,
    l2: Annotated[
        str,
        typer.Option(
            metavar="λ",
            help="λ of the L2 term λ/2n ‖W‖². Of several, as 0,0.01,0.1,1, the one that is best on "
            "the development set is chosen.",
        ),
    ] = "0",
    augment: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Changes of the mini-batches: flip, shift, rotation, zoom, cutout (for images), "
            "noise, mixup, as shift:2,rotation:10,noise:0.1.",
        ),
    ] = _defaults.augment,
    image_shape: Annotated[
        str, typer.Option(metavar="HxW", help="How features make an image: 28x28 or 32x32x3.")
    ] = "",
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many epochs without a better development loss."),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="adam, sgd, momentum or rmsprop.")
    ] = _defaults.optimizer,
    learning_rate: Annotated[
        float | None, typer.Option(help="If not given, the optimiser's own default.")
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            help="constant, inverse-time, exponential, inverse-square-root, cosine, or piecewise, "
            "with options as exponential:decay=0.9 or piecewise:10=0.01,20=0.001."
        ),
    ] = _defaults.schedule,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Examples in a mini-batch; if not given 64. auto: measured."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Times through the data; if not given 30, and more on small sets."),
    ] = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = _defaults.dtype,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = _defaults.seed,
    goal: Annotated[
        float, typer.Option(help="The error that would satisfy you, for the verdict.")
    ] = _defaults.goal,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve",
            help="Also train on parts of the training set, to see whether more data would help.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The model file; else NAME.safetensors.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing but errors and notes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a network on DATA, write it to a file, and say what to try next.

    The data is parted into training, development and test set; numbers are standardised, strings
    one-hot encoded. Ctrl-C ends the training and saves what there is; a second one quits at once.
    """
    out = console.make_console(quiet=quiet or as_json)
    lambdas = check_l2_values(options.numbers("l2", l2))
    dataset = readers.read(data, target, options.names(drop))
    model_file = output or Path(f"{dataset.name}.safetensors")
    options.require_writable(model_file, data)
    picture = options.beside(model_file, ".png")
    curve = options.beside(model_file, ".curve.png")
    for path in (picture, curve) if learning_curve else (picture,):
        options.require_writable(path, data, str(model_file))
    settings = Settings(
        hidden=options.hidden(hidden),
        activation=activation,
        batch_norm=batch_norm,
        dropout=tuple(options.numbers("dropout", dropout)),
        input_dropout=input_dropout,
        augment=augment,
        image_shape=options.image_shape(image_shape),
        patience=patience,
        l2=lambdas[0],
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=options.batch_size(batch_size),
        epochs=epochs,
        dtype=dtype,
        seed=seed,
        task=task,
        goal=goal,
    )
    experiment = Experiment(dataset, settings, device)
    if learning_curve:
        experiment.curve_sizes()  # refuses too few examples before the training, not after
    _introduce(out, experiment, device)
    ctrl_c = console.CtrlC()
    with ctrl_c.watched():
        choice = _train(out, experiment, lambdas, model_file, ctrl_c)
        result = _finish(out, experiment, choice, model_file, picture)
        if learning_curve and not ctrl_c.pressed:
            result |= _learn_on_parts(out, experiment, curve, ctrl_c)
        if ctrl_c.pressed:
            out.print(f"{ctrl_c.REASON}: the rest was left out")
        if as_json:
            _write_json(result | {"interrupted": ctrl_c.pressed})
    if ctrl_c.pressed:
        raise typer.Exit(ctrl_c.EXIT_CODE)


def _train(
    out: Console,
    experiment: Experiment,
    lambdas: list[float],
    model_file: Path,
    ctrl_c: console.CtrlC,
) -> L2Choice | None:
    """Train once, or for each λ; Ctrl-C ends the training and leaves what there is."""
    name = _error_name(experiment.model)
    reporter = console.Reporter(out, name, rows=len(lambdas) == 1)
    try:
        if len(lambdas) == 1:
            experiment.run([reporter, ctrl_c])
            return None
        table = console.SweepTable(out, "λ", "l2", name)
        choice = experiment.choose_l2(lambdas, [reporter, ctrl_c], _adding(table, ctrl_c))
        if len(choice.rows) < len(lambdas):
            out.print(f"{ctrl_c.REASON}: {len(choice.rows)} of {len(lambdas)} values were tried")
        return choice
    except DivergedError as error:
        reporter.close()
        every = "the training diverged for every λ; the last one: " if len(lambdas) > 1 else ""
        raise _saved_what_was_good(error, experiment, model_file, every) from error
    finally:
        reporter.close()


def _adding(table: console.SweepTable, ctrl_c: console.CtrlC) -> Watch:
    """Return what adds each training of a sweep to a table, and says whether Ctrl-C cut it."""

    def watch(trainer: Trainer, row: dict[str, float]) -> bool:
        cut = ctrl_c.cut(trainer)
        table.add(row, note="   cut short" if cut else "")
        return cut

    return watch


def _introduce(out: Console, experiment: Experiment, device: str) -> None:
    """Say which device and why, and what is trained on what."""
    model, parts = experiment.model, experiment.parts
    network, target = model.network, model.target
    out.print(explain(network.backend, device))
    classes = f" with {network.n_outputs} classes" if target.task == "multiclass" else ""
    inferred = "" if experiment.settings.task else " (inferred; --task sets it)"
    sizes = " + ".join(f"{len(p.labels):,} {name}" for name, p in parts.items())
    out.print(f"{experiment.dataset.name}: {sizes} examples, {target.task}{classes}{inferred}")
    widths = [network.n_features, *experiment.settings.hidden, network.n_outputs]
    out.print(
        f"network {'-'.join(map(str, widths))}, {network.n_parameters:,} parameters, "
        f"{experiment.settings.optimizer}, batches of {experiment.batch_size}, "
        f"{experiment.epochs} epochs"
    )
    if experiment.batch_size_reason:
        out.print(experiment.batch_size_reason)
    out.print()


def _finish(
    out: Console,
    experiment: Experiment,
    choice: L2Choice | None,
    model_file: Path,
    picture: Path,
) -> dict[str, Any]:
    """Evaluate, save, draw, show the results and return them."""
    model, history = experiment.model, experiment.trainer.history
    model.save(model_file)
    errors = experiment.evaluate()
    verdict = experiment.diagnose(errors)
    name = _error_name(model)
    if history.stopped:
        out.print(f"stopped in epoch {history.rows[-1]['epoch']:.0f}: {history.reason}")
    if experiment.best_epoch is not None:
        out.print(f"the weights are those of epoch {experiment.best_epoch}")
    if choice is not None:
        out.print(f"\nchosen on the development set: λ = {choice.l2:g}")
    sizes = {k: len(p.labels) for k, p in experiment.parts.items()}
    out.print()
    out.print(console.results_table(errors, name, sizes))
    found = verdict.verdict.replace("neither", "neither high bias nor high variance")
    out.print(f"\nverdict: {found}. {verdict.reasons[0].upper()}{verdict.reasons[1:]}.")
    if verdict.advice:
        out.print(f"to try: {', or '.join(verdict.advice)}")
    plots.training_history(
        history,
        picture,
        experiment.dataset.name + (f", λ = {choice.l2:g}" if choice is not None else ""),
        name,
        errors["test"]["error"],
        experiment.best_epoch,
    )
    out.print(f"\nsaved {model_file} and {picture}")
    return {
        "data": experiment.dataset.name,
        "device": model.network.backend.device,
        "task": model.target.task,
        "settings": model.training["settings"],
        "examples": sizes,
        "results": errors,
        "verdict": verdict.verdict,
        "reasons": verdict.reasons,
        "advice": verdict.advice,
        "history": history.rows,
        "stopped": history.stopped,
        "reason": history.reason,
        "best_epoch": experiment.best_epoch,
        "l2_choice": None if choice is None else choice.rows,
        "model": str(model_file),
        "picture": str(picture),
    }


def _learn_on_parts(
    out: Console, experiment: Experiment, picture: Path, ctrl_c: console.CtrlC
) -> dict[str, Any]:
    """Train on parts of the training set, and show how the errors depend on its size."""
    name = _error_name(experiment.model)
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
    curve.plot(picture, experiment.dataset.name, name)
    out.print(f"\nsaved {picture}")
    return {"learning_curve": curve.rows, "curve_picture": str(picture)}


def _saved_what_was_good(
    error: DivergedError, experiment: Experiment, model_file: Path, prefix: str
) -> ValueError:
    if error.good_step == 0 and not experiment.best_epoch:
        return ValueError(f"{prefix}{error} (nothing was learnt by then, and nothing is saved)")
    experiment.model.save(model_file)
    return ValueError(f"{prefix}{error}. They are saved in {model_file}")


@app.command()
def predict(
    model: ModelFile,
    data: Data,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv file; else the terminal.")
    ] = None,
    drop: Drop = "",
    device: Device = "auto",
) -> None:
    """Predict each row of DATA: the prediction, and for classes the probability of each."""
    if output is not None:
        if output.suffix.lower() != ".csv":
            raise ValueError(f"--output is {output}: predictions are written as .csv")
        options.require_writable(output, data, str(model))
    found = load_model(model, device)
    rows = readers.read(data, None, options.names(drop), labels=False).rows
    predictions = np.asarray(found.predict(rows))
    columns = {"prediction": predictions}
    if predictions.ndim == 2:
        columns = {f"prediction_{i}": c for i, c in enumerate(predictions.T)}
    if found.target.classes is not None:
        p = found.predict_proba(rows)
        columns |= {f"p({label})": p[:, i] for i, label in enumerate(found.target.classes)}
    if output is None:
        _write_csv(sys.stdout, columns)
        return
    with output.open("w", newline="", encoding="utf-8") as file:
        _write_csv(file, columns)
    console.make_console().print(f"wrote {len(predictions):,} predictions to {output}")


@app.command()
def evaluate(
    model: ModelFile,
    data: Data,
    target: Target = None,
    drop: Drop = "",
    part: Annotated[
        str | None,
        typer.Option(
            help="train, dev, test or all. If not given: test, where DATA is what the model was "
            "trained on, else all."
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a model on DATA: error, confusion matrix, and figures for each class."""
    from .evaluation import measure

    out = console.make_console(quiet=as_json)
    found = load_model(model, device)
    dataset = _read_again(found, data, target, options.names(drop))
    rows, labels, which = _choose(found, dataset, part)
    measured = measure(found, rows, labels)
    out.print(f"{which}: {len(labels):,} examples\n")
    if as_json:
        _write_json({"data": dataset.name, "part": which, "examples": len(labels), **measured})
        return
    _show(out, measured)


def _read_again(model: Model, data: str, target: str | None, drop: list[str]) -> readers.Dataset:
    """Read labelled data; of a table, the columns that the model was trained on."""
    features = model.features
    if features is None or features.names is None:
        return readers.read(data, target, drop)
    dataset = readers.read(data, target or model.training.get("target"), drop)
    if is_frame(dataset.rows):
        used = {*features.names, *features.categories}
        dataset.rows = dataset.rows[[c for c in dataset.rows.columns if c in used]]
    return dataset


def _choose(model: Model, dataset: readers.Dataset, wanted: str | None) -> tuple[Any, Any, str]:
    """Return the rows and labels to evaluate on, and what they are."""
    if wanted not in (None, "all", *PARTS):
        raise ValueError(f"--part is {wanted!r}: give train, dev, test or all")
    known = model.training.get("fingerprint") == dataset.fingerprint()
    if wanted in ("train", "dev") and not known:
        raise ValueError(f"--part is {wanted}, but the model was not trained on {dataset.name}")
    if wanted == "all":
        return *dataset.everything(), f"{dataset.name}, all of it"
    if not known and dataset.test_rows is not None:
        return dataset.test_rows, dataset.test_target, f"{dataset.name}, its test set"
    if not known:
        if wanted == "test":
            raise ValueError(f"--part is test, but the model was not trained on {dataset.name}")
        return dataset.rows, dataset.target, dataset.name
    name = wanted or "test"
    chosen = part_dataset(dataset, model.target, model.training["settings"]["seed"])[name]
    seen = "which the model was trained on" if name == "train" else "which it was not trained on"
    return chosen.rows, chosen.target, f"{dataset.name}, the model's {name} set, {seen}"


def _show(out: Console, measured: dict[str, Any]) -> None:
    """Show what was measured."""
    figures = {k: v for k, v in measured.items() if isinstance(v, float)}
    console.print_pairs(out, [(k.replace("_", " "), _number(k, v)) for k, v in figures.items()])
    if "classes" in measured:
        names = [str(c) for c in measured["classes"]]
        out.print()
        if len(names) <= 20:
            out.print(console.matrix_table(measured["confusion_matrix"], names))
        else:
            out.print(f"the confusion matrix of {len(names)} classes is in the output of --json")
        out.print()
        out.print(console.class_table(measured["per_class"]))


def _number(key: str, value: float) -> str:
    return f"{value:.2%}" if key in ("error", "unexplained_variance") else f"{value:.4g}"


@app.command()
def profile(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A file that train wrote.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="As for train; if not given, made up."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS", help="Instead of MODEL: features, units, outputs."),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="relu, leaky_relu, tanh, sigmoid or softmax.")
    ] = None,
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Batch norm before each activation.")
    ] = False,
    dropout: Annotated[
        str | None, typer.Option(metavar="P", help="Probability of dropping, as for train.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    target: Target = None,
    drop: Drop = "",
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda or cuda:N. auto: the CPU, and a GPU if there is one."),
    ] = "auto",
    only_training: Annotated[
        bool, typer.Option("--train", help="Training alone; if neither is given, both.")
    ] = False,
    only_prediction: Annotated[bool, typer.Option("--predict", help="Prediction alone.")] = False,
    max_batch: Annotated[int | None, typer.Option(help="The largest batch to try.")] = None,
    seconds: Annotated[float, typer.Option(help="How long it may take, about.")] = 20.0,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the samples/s into a .png.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write all of it; -: to the output, alone."),
    ] = None,
) -> None:
    """Measure throughput by batch size on every backend, and say which batch size to use.

    Batches of 1, 2, 4, … are timed until memory or time is used up. Throughput is not accuracy:
    with larger batches an epoch has fewer updates. Ctrl-C shows what was measured so far.

    For example: xpnet profile digits.safetensors digits

    Or: xpnet profile --layers 784-512-256-10 --batch-norm --picture profile.png
    """
    out = console.make_console(quiet=json_file == "-")
    _check_outputs(picture, json_file, [name for name in (model, data) if name])
    described = {
        "activation": activation,
        "batch_norm": batch_norm or None,
        "dropout": None if dropout is None else tuple(options.numbers("dropout", dropout)),
        "dtype": dtype,
    }
    given = {name: value for name, value in described.items() if value is not None}
    widths = None if layers is None else options.layers(layers)
    subject = profile_subject.find(model, data, widths, given, target, options.names(drop))
    why = why_no_cuda()
    ctrl_c = console.CtrlC()
    with ctrl_c.watched(), console.status(out) as watch:
        out.print(
            f"{subject.name}: {subject.network.n_parameters:,} parameters, "
            f"{subject.network.dtype.name}{'' if why is None else f'; CUDA: {why}'}\n"
        )
        found = measure_profile(
            subject.network,
            subject.X,
            subject.y,
            devices=every(device),
            max_batch=max_batch,
            seconds=seconds,
            training=only_training or not only_prediction,
            prediction=only_prediction or not only_training,
            stop=lambda: ctrl_c.pressed,
            watch=watch,
        )
    _show_profile(out, found, subject.name, picture, json_file, ctrl_c)
    if ctrl_c.pressed:
        raise typer.Exit(ctrl_c.EXIT_CODE)


def _show_profile(
    out: Console,
    found: Profile,
    name: str,
    picture: Path | None,
    json_file: str | None,
    ctrl_c: console.CtrlC,
) -> None:
    """Show a profile, draw it and write it, as asked for."""
    console.print_profile(out, found)
    if ctrl_c.pressed:
        out.print(f"\n{ctrl_c.REASON}: the rest was left out")
    saved = []
    document = found.as_dict() | {
        "subject": name,
        "interrupted": ctrl_c.pressed,
        "machine": system.describe(),
    }
    if json_file == "-":
        _write_json(document)
    elif json_file is not None:
        Path(json_file).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
        saved.append(json_file)
    if picture is not None and any(series.rows for series in found.series):
        found.plot(picture, name)
        saved.append(str(picture))
    if saved:
        out.print(f"\nsaved {' and '.join(saved)}")


def _check_outputs(picture: Path | None, json_file: str | None, sources: list[str]) -> None:
    """Refuse names of files that can't be written, before anything is measured."""
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise ValueError(f"--picture is {picture}: pictures are written as .png")
        options.require_writable(picture, *sources)
    if json_file not in (None, "-"):
        options.require_writable(Path(str(json_file)), *sources)


@app.command()
def info(
    schedules: Annotated[
        bool, typer.Option("--schedules", help="Show the learning-rate schedules instead.")
    ] = False,
    initializers: Annotated[
        bool,
        typer.Option("--initializers", help="Show instead what initial weights do to deep nets."),
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw what is shown into a .png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is found: backends, devices, versions, BLAS and its threads."""
    if schedules and initializers:
        raise ValueError("--schedules and --initializers are given: give one of them")
    if picture is not None:
        if not (schedules or initializers):
            raise ValueError("--picture draws --schedules or --initializers: give one of them")
        if picture.suffix.lower() != ".png":
            raise ValueError(f"--picture is {picture}: pictures are written as .png")
        options.require_writable(picture)
    if schedules:
        _show_schedules(picture, as_json)
    if initializers:
        _show_initializers(picture, as_json)
    if schedules or initializers:
        return
    found = system.describe()
    if as_json:
        _write_json(found)
        return
    console.print_pairs(console.make_console(), system.as_lines(found))


def _show_schedules(picture: Path | None, as_json: bool) -> None:
    """Show each schedule's formula and rates over 100 epochs, from 0.1 on."""
    found: list[dict[str, Any]] = []
    for name, example in SCHEDULE_EXAMPLES.items():
        schedule = parse_schedule(example, 0.1, epochs=100)
        rates = [schedule(0, float(epoch)) for epoch in range(101)]
        found.append({"schedule": example, "formula": SCHEDULES[name].formula, "rates": rates})
    if as_json:
        _write_json({"schedules": found})
    else:
        console.make_console(least_width=130).print(console.schedule_table(found))
    if picture is not None:
        panels = []
        for row in found:
            schedule = parse_schedule(row["schedule"], 0.1, epochs=100)
            fine = [schedule(0, epoch) for epoch in np.linspace(0.0, 100.0, 2001)]
            panels.append((row["schedule"], row["formula"], fine))
        plots.schedules(panels, picture, 100.0, "epoch")


def _show_initializers(picture: Path | None, as_json: bool) -> None:
    """Show how activations fare in 20 layers of 500 units."""
    found = propagation.study()
    if as_json:
        _write_json({"initializers": [row | {"init": str(row["init"])} for row in found]})
    else:
        console.make_console(least_width=110).print(console.propagation_table(found))
    if picture is not None:
        plots.propagation(found, picture)


def _version(show: bool) -> None:
    if show:
        print(f"xpnet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train neural networks where your arrays live."""


def _error_name(model: Model) -> str:
    return "1 - R²" if model.target.task == "regression" else "error"


def _write_json(document: dict[str, Any]) -> None:
    json.dump(document, sys.stdout, indent=2, default=_plain, allow_nan=False)
    print()


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a NumPy number or array."""
    return value.tolist()


def _write_csv(file: Any, columns: dict[str, Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(c.tolist() for c in columns.values()), strict=True))


def _note(message: Warning | str, category: type[Warning], *_: Any) -> None:
    console.make_console(stderr=True).print(f"note: {message}")


def main() -> None:
    """Run the command line: what is wrong with the input is told in one line, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # where there is no λ, there is a ?
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _note  # type: ignore[assignment]
            sys.exit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False))
    except KeyboardInterrupt:
        print("stopped at once by Ctrl-C: what was not saved is lost", file=sys.stderr)
        sys.exit(console.CtrlC.EXIT_CODE)
    except Exception as error:
        told = getattr(error, "format_message", None)  # a wrong use of the command's options
        if told is None and not isinstance(error, EXPECTED):
            raise
        if os.environ.get("XPNET_DEBUG"):
            raise
        line = " ".join(str(told() if told else error).split()) or type(error).__name__
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


#: What wrong input raises.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


if __name__ == "__main__":
    main()
