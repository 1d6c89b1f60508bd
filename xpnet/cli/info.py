"""The command ``xpnet info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..analysis import plots, propagation
from ..recipes.settings import SCHEDULE_EXAMPLES, SCHEDULES, parse_schedule
from . import console, options, system
from .options import Json
from .outputs import draw


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
    out = console.make_console(quiet=as_json)
    drawn = False
    if schedules:
        drawn = _show_schedules(picture, as_json)
    elif initializers:
        drawn = _show_initializers(picture, as_json)
    else:
        found = system.describe()
        if as_json:
            options.write_json(found)
        console.print_pairs(out, system.as_lines(found))
    if drawn:
        out.print()
        out.print(f"saved {picture}")


def _show_schedules(picture: Path | None, as_json: bool) -> bool:
    """Show each schedule's formula and rates over 100 epochs, from 0.1 on; say if it is drawn."""
    found: list[dict[str, Any]] = []
    for name, example in SCHEDULE_EXAMPLES.items():
        schedule = parse_schedule(example, 0.1, epochs=100)
        rates = [schedule(0, float(epoch)) for epoch in range(101)]
        found.append({"schedule": example, "formula": SCHEDULES[name].formula, "rates": rates})
    if as_json:
        options.write_json({"schedules": found})
    else:
        console.make_console(least_width=130).print(console.schedule_table(found))
    if picture is None:
        return False
    panels = []
    for row in found:
        schedule = parse_schedule(row["schedule"], 0.1, epochs=100)
        fine = [schedule(0, epoch) for epoch in np.linspace(0.0, 100.0, 2001)]
        panels.append((row["schedule"], row["formula"], fine))
    return draw(picture, lambda file: plots.schedules(panels, file, 100.0, "epoch"))


def _show_initializers(picture: Path | None, as_json: bool) -> bool:
    """Show how activations fare in 20 layers of 500 units; say if it is drawn."""
    found = propagation.study()
    if as_json:
        options.write_json({"initializers": [row | {"init": str(row["init"])} for row in found]})
    else:
        console.make_console(least_width=110).print(console.propagation_table(found))
    return picture is not None and draw(picture, lambda file: plots.propagation(found, file))
