"""What is said before a training: where it runs, on what, and what is trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from ..backends.select import explain
from ..recipes.showing import table_of
from ..recipes.specs import told
from ..tabular.experiment import Experiment
from . import console, options
from .resume import Run


def introduce_data(out: Console, experiment: Experiment, device: str) -> None:
    """Say which device and why, and which data there are."""
    network, target = experiment.model.network, experiment.model.target
    out.print(explain(network.backend, device))
    classes = f" with {network.n_outputs} classes" if target.task == "multiclass" else ""
    inferred = "" if experiment.settings.task else " (inferred; --task sets it)"
    files = {name: f" ({source})" for name, source in experiment.dataset.apart.items()}
    folds = experiment.settings.folds
    files |= {} if folds is None else {"train": f" (in {folds} folds)"}
    sizes = " + ".join(
        f"{len(p.labels):,} {name}{files.get(name, '')}" for name, p in experiment.parts.items()
    )
    out.print(f"{experiment.dataset.name}: {sizes} examples, {target.task}{classes}{inferred}")


def introduce(out: Console, experiment: Experiment, run: Run) -> None:
    """Say which device and why, and what is trained on what."""
    introduce_data(out, experiment, run.device)
    introduce_training(out, experiment)
    if run.begun is not None:
        out.print(f"going on from {run.begun.file}, {run.begun.epoch} epochs made")
        if run.begun.epoch == experiment.epochs:
            fixed = experiment.settings.depends_on_epochs()
            more = "" if fixed else "; --epochs may be larger"
            out.print(f"all {experiment.epochs} epochs are made{more}")
    out.print()


def introduce_training(out: Console, experiment: Experiment) -> None:
    """Say what is trained, by which recipe, and what time has decided."""
    network, settings = experiment.model.network, experiment.settings
    widths = "-".join(map(str, [network.n_features, *settings.hidden, network.n_outputs]))
    name, each = f"network {widths}", ""
    if network.members is not None:
        first, last = network.seeds[0], network.seeds[-1]
        name, each = f"{network.members} networks {widths}", f" each, seeds {first} to {last}"
    if network.members == 1:
        name, each = f"network {widths}", f", seed {first}"
    out.print(
        f"{name}, {network.n_parameters:,} parameters{each}, "
        f"{settings.optimizer}, batches of {experiment.batch_size}, {_counted(experiment.epochs)}"
    )
    if settings.recipe != "plain":
        out.print(f"recipe {settings.recipe} (--show tells what it does, and why)")
    for reason in (experiment.batch_size_reason, experiment.time_reason):
        if reason:
            out.print(reason)


def show_training(out: Console, experiment: Experiment, run: Run, as_json: bool) -> None:
    """Show what would be trained, and why, without training."""
    rows = plan_rows(experiment)
    if as_json:
        settings = asdict(experiment.settings)
        options.write_json({"data": run.data, "settings": settings, "plan": rows})
        return
    introduce_data(out, experiment, run.device)
    introduce_training(out, experiment)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("setting", "value", "why"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["name"], told(row["value"]), row["why"])
    out.print()
    console.print_whole(out, table)


def plan_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Return each setting that a recipe or the user has set, with its value and the reason."""
    plan = experiment.plan
    return [] if plan is None else [row._asdict() for row in table_of(plan)]


def _counted(epochs: int) -> str:
    return f"{epochs} epoch{'' if epochs == 1 else 's'}"
