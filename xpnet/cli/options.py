"""What the commands share: what is typed is read into Python's types, or refused; answers."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..backends.threads import check_threads, limit_threads
from ..files import atomic
from ..nn.activations import ACTIVATIONS
from ..tabular import readers
from ..tabular.columns.kinds import KINDS
from ..tabular.formats.opening import TABLES
from ..tabular.model import Model


def split_names(text: str) -> list[str]:
    """Return the names in ``a,b,c``, as a line of a CSV file has them: with a comma in quotes.

    Raises
    ------
    ValueError
        If a quote is opened and not closed, or a line ends outside quotes.

    Examples
    --------
    >>> split_names('age,"height, cm",weight')
    ['age', 'height, cm', 'weight']
    """
    try:
        # A quote that is left open would take the second row into the first.
        found, *more = csv.reader([f"{text}\n", "\n"])
    except csv.Error as error:
        raise ValueError(f"{text!r} are no names: put one with a line's end in quotes") from error
    if not more:
        raise ValueError(f"{text!r} are no names: a quote is opened and not closed")
    return [name for name in found if name]


def kinds(texts: list[str] | None) -> dict[str, str]:
    """Return what columns are said to hold, from several ``NAME=KIND``."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, kind = text.rpartition("=")
        if not equals or not name or name in found:
            twice = f"; {name!r} is given twice" if name in found else ""
            raise ValueError(f"--column is {text!r}: give NAME=KIND, as zip=category{twice}")
        found[name] = kind
    return found


def hidden(text: str) -> tuple[int, ...]:
    """Return the sizes in ``128,64``; none for ``none``."""
    if text.strip().lower() == "none":
        return ()
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"--hidden is {text!r}: give sizes such as 128,64, or none")
    return tuple(map(int, sizes))


def folder(option: str, text: str | None) -> Path | None:
    """Return the folder that an option names, if it is given."""
    if text is not None and not text.strip():
        raise ValueError(f"--{option} is {text!r}: give a folder's name")
    return None if text is None else Path(text)


def layers(text: str) -> tuple[int, ...]:
    """Return the widths in ``784-512-10``: features, hidden units, outputs."""
    widths = text.split("-")
    if len(widths) < 2 or not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise ValueError(f"--layers is {text!r}: give features, units and outputs, as 784-512-10")
    return tuple(map(int, widths))


def batch_size(text: str | None) -> int | str | None:
    """Return the number in ``32``; ``auto`` and None as they are."""
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"--batch-size is {text!r}: give a whole number, or auto") from error


def numbers(option: str, text: str) -> list[float]:
    """Return the numbers in ``0,0.01,0.1``."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--{option} is {text!r}: give a number, or several as 0.1,0.2") from error


def threads(text: str | None) -> list[int] | None:
    """Return the numbers of threads in ``1,2,4``."""
    try:
        several = None if text is None else [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--threads is {text!r}: give a number, or several as 1,2") from error
    return several and [check_threads(n, "--threads") for n in several]


def image_shape(text: str) -> tuple[int, ...] | None:
    """Return the lengths in ``28x28``; None for nothing."""
    lengths = text.lower().split("x")
    if text and not (len(lengths) in (2, 3) and all(x.isdecimal() and int(x) for x in lengths)):
        raise ValueError(f"--image-shape is {text!r}: give HEIGHTxWIDTH, as 28x28, or 32x32x3")
    return tuple(map(int, lengths)) if text else None


def require_writable(path: Path, *sources: str) -> None:
    """Raise an error now rather than after the training, or than write over a source."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; give a file's name")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is no plain file; give another name")
    for source in sources:
        same = path.exists() and os.path.exists(source) and path.samefile(source)
        if same or path == Path(source):
            raise ValueError(f"{path}: would be written over {source}; give another --output")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path}: can't be written to")
    try:
        atomic.try_to_write(path)
    except OSError as error:
        raise type(error)(f"{path}: can't be written ({error.strerror or error})") from error


#: Endings of files that hold studies.
STUDIES = (".db", ".sqlite", ".sqlite3", ".journal", ".jsonl", ".log")

#: What a model file must not be called: it would pass for data, a study, or the picture beside it.
OTHERS = (*readers.ARRAYS, *TABLES, *STUDIES, ".png", ".json", ".txt")


def beside(model_file: Path, ending: str) -> Path:
    """Return the name of a file that goes with a model: m.png for m.safetensors, v1.2.png for v1.2.

    Raises
    ------
    ValueError
        If the model file has the name of another kind of file.
    """
    if model_file.suffix.lower() in OTHERS:
        raise ValueError(f"--output is {model_file}: models are written as .safetensors")
    if model_file.suffix == ".safetensors":
        return model_file.with_suffix(ending)
    return model_file.with_name(model_file.name + ending)


# -- what several commands take, and how they answer ----

DATA_HELP = (
    f"{', '.join(readers.BUNDLED)}; a file {', '.join((*readers.ARRAYS, *TABLES))}; a folder of "
    "Parquet files; or openml:NAME."
)
Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)]
Test = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="A test set of one's own: nothing is held out of DATA for it."
    ),
]
Dev = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="A development set of one's own: nothing is held out of DATA for it."
    ),
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that train wrote.")]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The column to predict, in a table.")
]
Drop = Annotated[str, typer.Option(metavar="COLUMNS", help="Columns to leave out: a,b,c.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help="What parts the fields of a text file; else a comma."),
]
Decimal = Annotated[
    str, typer.Option(metavar="MARK", help="The decimal mark of a text file's numbers: . or ,")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=KIND",
        help=f"What a column holds, where that is not what is found: {', '.join(KINDS)}; of dates "
        "also date:%d/%m/%Y.",
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N. auto: a GPU if there is one.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="How many threads BLAS computes with; xpnet profile measures it.",
        show_default="BLAS's own",
    ),
]
ACTIVATION_HELP = f"{', '.join(ACTIVATIONS)}; with options as leaky_relu:negative_slope=0.2."
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object, nothing else.")]


def given(ctx: typer.Context) -> list[str]:
    """Return the parameters of a command that are on the command line."""
    found = ((name, ctx.get_parameter_source(name)) for name in ctx.params)
    return [name for name, source in found if source is not None and source.name == "COMMANDLINE"]


def use_threads(ctx: typer.Context, threads: int | None) -> None:
    """Have BLAS compute with so many threads until the command ends; None: with those it has."""
    if threads is not None:
        ctx.with_resource(limit_threads(check_threads(threads, "--threads")))


def error_name(model: Model) -> str:
    """Return what a model's error is called."""
    return "1 - R²" if model.target.task == "regression" else "error"


def write_json(document: dict[str, Any]) -> None:
    """Write one JSON object to standard output; what is infinite or NaN is null, as JSON has it."""
    print(json.dumps(_plain(document), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value, and of the NumPy numbers and arrays in it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
