"""The command ``xpnet predict`` and ``xpnet evaluate``."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from ..data.arrays import is_frame
from ..files import atomic
from ..plain_text import printable
from ..tabular import readers
from ..tabular.experiment import PARTS, part_dataset
from ..tabular.model import Model, load_model
from . import console, options
from .options import Data, Device, Drop, Json, ModelFile, Target


def predict(
    model: ModelFile,
    data: Data,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv file; else standard output.")
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
    rows = readers.read(data, None, options.split_names(drop), labels=False).rows
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
    text = io.StringIO(newline="")
    _write_csv(text, columns)
    atomic.write_whole(output, text.getvalue().encode())
    console.make_console().print(f"wrote {len(predictions):,} predictions to {output}")


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
    from ..tabular.evaluation import measure

    out = console.make_console(quiet=as_json)
    found = load_model(model, device)
    dataset = _read_again(found, data, target, options.split_names(drop))
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


def _read_again(model: Model, data: str, target: str | None, drop: list[str]) -> readers.Dataset:
    """Read labelled data; of a table, the columns that the model was trained on."""
    features = model.features
    if features is None or features.names is None:
        return readers.read(data, target, drop)
    if target is None and readers.has_columns(data):
        target = model.training.get("target")
    dataset = readers.read(data, target, drop, only={*features.names, *features.categories})
    if not is_frame(dataset.rows):
        raise TypeError("the model was trained on a table with named columns: give such a table")
    return dataset


def _choose(model: Model, dataset: readers.Dataset, wanted: str | None) -> tuple[Any, Any, str]:
    """Return the rows and labels to evaluate on, and what they are."""
    if wanted not in (None, "all", *PARTS):
        raise ValueError(f"--part is {wanted!r}: give train, dev, test or all")
    if wanted == "all":
        return *dataset.everything(), f"{dataset.name}, all of it"
    if wanted in (None, "test") and dataset.test_rows is not None:
        # Whatever it was trained on: a test set that is kept apart is never among that.
        return dataset.test_rows, dataset.test_target, f"{dataset.name}, its test set"
    if not dataset.is_known_by(model.training.get("fingerprint")):
        if wanted is not None:
            raise ValueError(f"--part is {wanted}, but the model was not trained on {dataset.name}")
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


def _write_csv(file: Any, columns: dict[str, Any]) -> None:
    """Write columns as they are, in UTF-8; to a terminal as they may be shown, as `ls` does."""
    rows: Iterable[Iterable[Any]] = zip(*(c.tolist() for c in columns.values()), strict=True)
    rows = itertools.chain([columns], rows)
    if file.isatty():
        rows = ([printable(v) if isinstance(v, str) else v for v in row] for row in rows)
    elif isinstance(file, io.TextIOWrapper):
        file.reconfigure(encoding="utf-8")
    csv.writer(file, lineterminator="\n").writerows(rows)
