"""What is said before a training: where it runs, on what, and what is trained."""

from __future__ import annotations

from rich.console import Console

from ..backends.select import explain
from ..tabular.experiment import Experiment
from .resume import Run


def introduce_data(out: Console, experiment: Experiment, device: str) -> None:
    """Say which device and why, and which data there are."""
    network, target = experiment.model.network, experiment.model.target
    out.print(explain(network.backend, device))
    classes = f" with {network.n_outputs} classes" if target.task == "multiclass" else ""
    inferred = "" if experiment.settings.task else " (inferred; --task sets it)"
    files = {name: f" ({source})" for name, source in experiment.dataset.apart.items()}
    sizes = " + ".join(
        f"{len(p.labels):,} {name}{files.get(name, '')}" for name, p in experiment.parts.items()
    )
    out.print(f"{experiment.dataset.name}: {sizes} examples, {target.task}{classes}{inferred}")


def introduce(out: Console, experiment: Experiment, run: Run) -> None:
    """Say which device and why, and what is trained on what."""
    introduce_data(out, experiment, run.device)
    network = experiment.model.network
    widths = "-".join(
        map(str, [network.n_features, *experiment.settings.hidden, network.n_outputs])
    )
    name, each = f"network {widths}", ""
    if network.members is not None:
        first, last = network.seeds[0], network.seeds[-1]
        name, each = f"{network.members} networks {widths}", f" each, seeds {first} to {last}"
    out.print(
        f"{name}, {network.n_parameters:,} parameters{each}, "
        f"{experiment.settings.optimizer}, batches of {experiment.batch_size}, "
        f"{experiment.epochs} epochs"
    )
    if experiment.batch_size_reason:
        out.print(experiment.batch_size_reason)
    if run.begun is not None:
        out.print(f"going on from {run.begun.file}, {run.begun.epoch} epochs made")
        if run.begun.epoch == experiment.epochs:
            fixed = experiment.settings.depends_on_epochs()
            more = "" if fixed else "; --epochs may be larger"
            out.print(f"all {experiment.epochs} epochs are made{more}")
    out.print()
