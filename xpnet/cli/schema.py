"""What a table's columns hold, and what becomes of them, as ``xpnet train`` shows it."""

from __future__ import annotations

from rich.console import Console

from ..tabular import readers
from ..tabular.columns.kinds import written
from ..tabular.columns.schema import Column
from ..tabular.experiment import Experiment
from ..tabular.formats.source import TextOptions
from ..tabular.kept_apart import plan_alike
from ..tabular.loading import Plan
from . import console, options
from .resume import Run


def columns_of(experiment: Experiment) -> list[dict[str, str]]:
    """Return name, kind, and what became of each column of a table; none of an array's."""
    features, target = experiment.model.features, experiment.model.target
    became = {} if features is None else features.became()
    schema = experiment.dataset.schema
    rows = [] if schema is None else [(c, became[c.name]) for c in schema.columns]
    if rows and target.column is not None:
        rows.append((target.column, f"the target: {target.task}"))
    return [_row(column, what) for column, what in rows]


def show(run: Run, out: Console, as_json: bool) -> None:
    """Show what a table's columns hold, without training."""
    plan = readers.plan(run.data, run.target, run.drop, kinds=run.kinds, text=run.text)
    rows = [_row(column, column.fate) for column in plan.schema.columns]
    if plan.target is not None:
        rows.append(_row(plan.target, "the target"))
    sets = {
        part: {"data": source, "examples": _count(plan, source, run.text)}
        for part, source in run.sets.items()
    }
    if as_json:
        options.write_json({"data": run.data, "columns": rows, "sets": sets})
        return
    console.print_columns(out, rows, every=True)
    for part, told in sets.items():
        out.print(f"{told['data']}: {told['examples']:,} {part} examples, of these columns")


def _count(plan: Plan, source: str, text: TextOptions) -> int:
    """Return how many rows a set has that a plan's schema reads, or raise an error."""
    own = plan_alike(plan.source.name, source, plan.schema, plan.target, text)
    return sum(len(rows) for rows, _ in own.chunks())


def _row(column: Column, what: str) -> dict[str, str]:
    how = f", as {written(column.pattern)}" if column.pattern else ""
    return {"column": column.name, "kind": f"{column.kind}{how}", "became": what}
