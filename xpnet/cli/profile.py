"""The command ``xpnet profile``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..analysis.gradient_noise import critical_batch_size
from ..analysis.noise_result import with_noise
from ..analysis.profile_result import Profile
from ..analysis.profiling import profile as measure_profile
from ..backends.select import every, why_no_cuda
from ..backends.threads import limit_threads
from ..checks import check_positive
from ..files import atomic
from ..train.history import DivergedError
from . import console, options, profile_subject, profile_tables, system
from .options import ACTIVATION_HELP, Drop, Target
from .outputs import draw

#: The part of the time that measuring has at least, however long it takes to read MODEL and DATA.
MEASURING = 0.75

#: The part of the time that the critical batch size may take; and where that is too little for the
#: gradients that it takes at least, after how many seconds it is given up.
NOISE_SHARE, NOISE_SECONDS = 0.15, 5.0


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
    activation: Annotated[str | None, typer.Option(help=ACTIVATION_HELP)] = None,
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
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="How many threads BLAS computes with on the CPU; several as 1,2.",
            show_default="1, 2, 4, … up to BLAS's own",
        ),
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="The largest batch to try.")] = None,
    seconds: Annotated[float, typer.Option(help="How long it may take, about.")] = 20.0,
    noise: Annotated[
        bool, typer.Option(help="Of DATA also the critical batch size, by gradient noise.")
    ] = True,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the samples/s into a .png.")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write all of it; -: to the output, alone."),
    ] = None,
) -> None:
    """Measure throughput by batch size on every backend, and say which batch size to use.

    Batches of 1, 2, 4, … are timed until memory or time is used up; on the CPU with 1, 2, 4, …
    threads, of which as many are advised as pay. Throughput is not accuracy:
    with larger batches an epoch has fewer updates. Ctrl-C shows what was measured so far.

    For example: xpnet profile digits.safetensors digits

    Or: xpnet profile --layers 784-512-256-10 --batch-norm --picture profile.png
    """
    began = time.perf_counter()
    counts, seconds = options.threads(threads), check_positive(seconds, "--seconds")
    out = console.make_console(quiet=json_file == "-")
    if (target is not None or drop) and (data if layers is None else model) is None:
        raise ValueError("--target and --drop are for DATA, and none is given: leave them out")
    _check_outputs(picture, json_file, [name for name in (model, data) if name])
    described = {
        "activation": activation,
        "batch_norm": batch_norm or None,
        "dropout": None if dropout is None else tuple(options.numbers("dropout", dropout)),
        "dtype": dtype,
    }
    given = {name: value for name, value in described.items() if value is not None}
    widths = None if layers is None else options.layers(layers)
    subject = profile_subject.find(model, data, widths, given, target, options.split_names(drop))
    why = why_no_cuda()
    noise = noise and subject.y is not None and not (only_prediction and not only_training)
    share = NOISE_SHARE if noise else 0.0
    end = max(began + seconds, time.perf_counter() + MEASURING * seconds)
    seconds = end - time.perf_counter()
    ctrl_c = console.CtrlC()
    with ctrl_c.watched(), console.status(out) as watch:
        members = subject.network.members
        several = "" if members is None else f"{members} members, each of "
        out.print(
            f"{subject.name}: {several}{subject.network.n_parameters:,} parameters, "
            f"{subject.network.dtype.name}{'' if why is None else f'; CUDA: {why}'}"
        )
        out.print()
        found = measure_profile(
            subject.network,
            subject.X,
            subject.y,
            devices=every(device),
            max_batch=max_batch,
            threads=counts,
            seconds=(1 - share) * seconds,
            training=only_training or not only_prediction,
            prediction=only_prediction or not only_training,
            stop=lambda: ctrl_c.pressed,
            watch=watch,
        )
        if noise and not ctrl_c.pressed:
            watch("gradients along a training: the critical batch size")
            end = time.perf_counter() + max(share * seconds, NOISE_SECONDS)
            found = _add_noise(
                found,
                subject,
                share * seconds,
                lambda: ctrl_c.pressed or time.perf_counter() > end,
            )
    _show_profile(out, found, subject.name, picture, json_file, ctrl_c)
    if ctrl_c.pressed:
        sys.exit(ctrl_c.exit_code)


def _add_noise(
    found: Profile, subject: profile_subject.Subject, seconds: float, stop: Callable[[], bool]
) -> Profile:
    """Return a profile with the critical batch size of the subject's training, or why not."""
    best = found.recommended("training")
    threads = next((s.threads for s in best if s.threads is not None), None)
    try:
        with limit_threads(threads):
            noise = critical_batch_size(
                subject.network, subject.X, subject.y, seconds=seconds, stop=stop
            )
    except (ValueError, DivergedError) as error:
        return replace(found, advice=[*found.advice, f"training: no critical batch size: {error}"])
    return with_noise(found, noise)


def _show_profile(
    out: Console,
    found: Profile,
    name: str,
    picture: Path | None,
    json_file: str | None,
    ctrl_c: console.CtrlC,
) -> None:
    """Show a profile, draw it and write it, as asked for."""
    profile_tables.print_profile(out, found)
    if ctrl_c.pressed:
        out.print()
        out.print(f"{ctrl_c.reason}: the rest was left out")
    saved = []
    document = found.as_dict() | {
        "subject": name,
        "interrupted": ctrl_c.pressed,
        "machine": system.describe(),
    }
    if json_file == "-":
        options.write_json(document)
    elif json_file is not None:
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        atomic.write_whole(Path(json_file), text.encode())
        saved.append(json_file)
    if picture is not None and any(series.rows for series in found.series):
        drawn = draw(picture, lambda file: found.plot(file, name))
        saved += [str(picture)] if drawn else []
    if saved:
        out.print()
        out.print(f"saved {' and '.join(saved)}")


def _check_outputs(picture: Path | None, json_file: str | None, sources: list[str]) -> None:
    """Refuse names of files that can't be written, before anything is measured."""
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise ValueError(f"--picture is {picture}: pictures are written as .png")
        options.require_writable(picture, *sources)
    if json_file not in (None, "-"):
        options.require_writable(Path(str(json_file)), *sources)
