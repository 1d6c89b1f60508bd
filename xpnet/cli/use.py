"""The command ``xpnet predict`` and ``xpnet evaluate``."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..files import atomic
from ..plain_text import printable
from ..tabular import readers
from ..tabular.columns.schema import Schema
from ..tabular.dataset import DataError, Dataset
from ..tabular.formats.source import TextOptions
from ..tabular.model import Model, load_model
from ..tabular.parts import PARTS, cut, names_of_parts
from . import console, options
from .options import Data, Decimal, Device, Drop, Json, ModelFile, Separator, Target, Threads


def predict(
    ctx: typer.Context,
    model: ModelFile,
    data: Data,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv file; else standard output.")
    ] = None,
    std: Annotated[
        bool,
        typer.Option(
            "--std",
            help="A column with the spread of the members: the standard deviation of the predicted "
            "class's probability, or of the value.",
        ),
    ] = False,
    drop: Drop = "",
    separator: Separator = None,
    decimal: Decimal = ".",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Predict each row of DATA: the prediction, and for classes the probability of each.

    A model with members says what their mean says.

    A table is read some rows at a time: it may be larger than the memory.
    """
    options.use_threads(ctx, threads)
    if output is not None:
        if output.suffix.lower() != ".csv":
            raise ValueError(f"--output is {output}: predictions are written as .csv")
        options.require_writable(output, data, str(model))
    found = load_model(model, device)
    if std and found.network.members is None:
        raise ValueError(f"--std is for models with members, and {model} is one network")
    parts = _parts(found, data, options.split_names(drop), TextOptions(separator, decimal))
    answers = _answers(found, parts, std)
    if output is None:
        if not sys.stdout.isatty() and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        _write_csv(sys.stdout.write, answers, sys.stdout.isatty())
        return
    with atomic.written_whole(output) as write:
        n = _write_csv(lambda text: write(text.encode()), answers)
    console.make_console().print(f"wrote {n:,} predictions to {output}")


def _parts(model: Model, data: str, drop: list[str], text: TextOptions) -> Iterator[Any]:
    """Go through raw rows: of a table for a model of tables some at a time."""
    schema = _schema_of(model)
    if schema is None or not readers.has_columns(data):
        n = model.network.n_features
        yield readers.read(data, None, drop, labels=False, text=text, n_features=n).rows
        return
    plan = readers.plan(data, None, drop, text=text, schema=schema)
    some = False
    for rows, _ in plan.chunks():
        if len(rows):
            some = True
            yield rows
    if not some:
        raise DataError(f"{data}: there are no rows")


def _schema_of(model: Model) -> Schema | None:
    """Return how the tables are read that a model was trained on; None if it was none."""
    return getattr(model.features, "schema", None)


def _answers(model: Model, parts: Iterable[Any], std: bool) -> Iterator[dict[str, Any]]:
    """Go through what a model says, a column of each at a time."""
    for predictions, p, spread in model.answers(parts, std):
        columns = _columns("prediction", predictions)
        if p is not None:
            columns |= {
                f"p({label})": p[:, i] for i, label in enumerate(model.target.classes or ())
            }
        if spread is not None:
            columns |= _columns("std", spread)
        yield columns


def _columns(name: str, values: Any) -> dict[str, Any]:
    """Return values as a column, or of several outputs as one for each."""
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{i}": column for i, column in enumerate(values.T)}


def evaluate(
    ctx: typer.Context,
    model: ModelFile,
    data: Data,
    target: Target = None,
    drop: Drop = "",
    part: Annotated[
        str | None,
        typer.Option(
            help="train, dev, test or all. If not given: test, where DATA is what the model was "
            "trained on and has it, else all."
        ),
    ] = None,
    separator: Separator = None,
    decimal: Decimal = ".",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a model on DATA: error, confusion matrix, and figures for each class."""
    from ..tabular.evaluation import measure

    options.use_threads(ctx, threads)
    out = console.make_console(quiet=as_json)
    found = load_model(model, device)
    text = TextOptions(separator, decimal)
    dataset = _read_again(found, data, target, options.split_names(drop), text)
    rows, labels, which = _choose(found, dataset, part)
    measured = measure(found, rows, labels)
    out.print(f"{which}: {len(labels):,} examples")
    out.print()
    if as_json:
        options.write_json(
            {"data": dataset.name, "part": which, "examples": len(labels), **measured}
        )
        return
    _show(out, measured)


def _read_again(
    model: Model, data: str, target: str | None, drop: list[str], text: TextOptions
) -> Dataset:
    """Read labelled data; of a table, the columns that the model was trained on, as it did."""
    schema = _schema_of(model)
    if schema is None:
        return readers.read(data, target, drop, text=text, n_features=model.network.n_features)
    if not readers.has_columns(data):
        raise TypeError("the model was trained on a table with named columns: give such a table")
    target = model.training.get("target") if target is None else target
    column = model.target.column
    return readers.read(data, target, drop, text=text, schema=schema, column=column)


def _choose(model: Model, dataset: Dataset, wanted: str | None) -> tuple[Any, Any, str]:
    """Return the rows and labels to evaluate on, and what they are."""
    if wanted not in (None, "all", *PARTS):
        raise ValueError(f"--part is {wanted!r}: give train, dev, test or all")
    if wanted == "all":
        return *dataset.everything(), f"{dataset.name}, all of it"
    if wanted in (None, "test") and dataset.test_rows is not None:
        # Whatever it was trained on: a test set that is kept apart is never among that.
        return dataset.test_rows, dataset.test_target, f"{dataset.name}, its test set"
    for name, told in model.training.get("sets", {}).items():
        if dataset.is_known_by(told["fingerprint"]):
            if wanted not in (None, name):
                raise ValueError(
                    f"--part is {wanted}, and {dataset.name} is the model's {name} set: leave "
                    "--part out"
                )
            which = f"{dataset.name}, the model's {name} set, {_seen(model, name)}"
            return dataset.rows, dataset.target, which
    if not dataset.is_known_by(model.training.get("fingerprint")):
        if wanted is not None:
            raise ValueError(f"--part is {wanted}, but the model was not trained on {dataset.name}")
        return dataset.rows, dataset.target, dataset.name
    return _part_of(model, dataset, wanted)


def _part_of(model: Model, dataset: Dataset, wanted: str | None) -> tuple[Any, Any, str]:
    """Return a part of the data that a model was trained on; all, if no test set is among it."""
    parts = model.training.get("parts", names_of_parts(dataset))
    name = wanted or "test"
    if name in parts:
        chosen = cut(dataset, model.target, model.training["settings"]["seed"], parts)[name]
        which = f"{dataset.name}, the model's {name} set, {_seen(model, name)}"
        return chosen.rows, chosen.target, which
    told = model.training.get("sets", {}).get(name)
    if wanted is not None:
        where = f"its {name} set was {told['data']}: give that" if told else "there was none"
        raise ValueError(
            f"--part is {wanted}, and no part of {dataset.name} was the model's {name} set: {where}"
        )
    sets = f"{' and '.join(parts)} set{'s' if len(parts) > 1 else ''}"
    where = f"its test set was {told['data']}" if told else "it had no test set"
    which = f"{dataset.name}, all of it, the model's {sets}: no measure of new rows ({where})"
    return dataset.rows, dataset.target, which


def _seen(model: Model, name: str) -> str:
    """Return in words whether a model was trained on a part."""
    trained = name in model.training.get("trained_on", ["train"])
    return "which the model was trained on" if trained else "which it was not trained on"


def _show(out: Console, measured: dict[str, Any]) -> None:
    """Show what was measured."""
    figures = {k: v for k, v in measured.items() if isinstance(v, float)}
    pairs = [(k.replace("_", " "), _number(k, v)) for k, v in figures.items()]
    for name, values in measured.get("members", {}).items():
        if len(values) == 1:
            continue
        what = f"{name.replace('_', ' ')} of each of {len(values)} members"
        pairs.append((what, console.mean_and_spread(values, percent=True)))
    console.print_pairs(out, pairs)
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


def _write_csv(
    write: Callable[[str], object], parts: Iterable[dict[str, Any]], to_terminal: bool = False
) -> int:
    """Write columns as they are; to a terminal as they may be shown, as `ls` does.

    Returns
    -------
    int
        How many rows there were.
    """
    n = 0
    for columns in parts:
        rows: Iterable[Iterable[Any]] = zip(*(c.tolist() for c in columns.values()), strict=True)
        rows = rows if n else itertools.chain([columns], rows)
        if to_terminal:
            rows = ([printable(v) if isinstance(v, str) else v for v in row] for row in rows)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write(text.getvalue())
        n += len(next(iter(columns.values())))
    return n
