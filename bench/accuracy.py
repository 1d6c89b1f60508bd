r"""How well everyone predicts: real tables, everyone's defaults, the same rows, no tuning.

::

    python bench/accuracy_sets.py fetch SETS      # once; needs the network
    python bench/accuracy.py run --folder SETS --out runs.jsonl --rival-python ../torch/bin/python
    python bench/accuracy.py run --folder SETS --out runs.jsonl --sets adult --rivals plain,mlp
    python bench/accuracy.py report runs.jsonl --into bench/results

A run is a set, a seed and a rival. The seed splits the rows 80/20, by class where there are
classes, and is the rival's own; everyone gets the same two files, and one thread. Each rival has a
process of its own; those on PyTorch run in the interpreter that ``--rival-python`` names. Runs are
added to the file one by one: what is there already is not run again, so that the command goes on
where it was broken off; what failed is tried again.

The sets that are left aside for the last measure come with ``--final`` alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import accuracy_rivals as rivals
import accuracy_sets as sets
import numpy as np
from accuracy_report import CLASSES, Run, Table, read_runs, write_report
from run import THREADS

SEEDS, TEST = (0, 1, 2), 0.2
#: Of the largest absolute errors so much is left out for the trimmed error.
TRIM = 0.01
HERE = Path(__file__).resolve().parent


def split(X: Any, y: Any, task: str, seed: int) -> tuple[Any, Any, Any, Any]:
    """Return the training rows and the test rows, and their targets: X, X_test, y, y_test."""
    from sklearn.model_selection import train_test_split

    by = y if task == CLASSES else None
    return tuple(train_test_split(X, y, test_size=TEST, stratify=by, random_state=seed))


def measures(task: str, y: Any, found: Any) -> dict[str, float]:
    """Return the figures of what a rival said of the test rows.

    Classes: ``error`` (the share of wrong ones) and ``log_loss``. Values: ``rmse``,
    ``unexplained`` (1 − R²), ``mae``, and ``trimmed_rmse``, without the hundredth of the rows whose
    errors are largest.
    """
    if task == CLASSES:
        return _of_classes(np.asarray(y, "U"), found)
    errors = np.abs(np.asarray(y, float) - found["predicted"])
    kept = np.sort(errors)[: max(1, round((1 - TRIM) * len(errors)))]
    square = float(np.mean(errors**2))
    return {
        "rmse": square**0.5,
        "unexplained": square / float(np.var(np.asarray(y, float))),
        "mae": float(np.mean(errors)),
        "trimmed_rmse": float(np.mean(kept**2)) ** 0.5,
    }


def _of_classes(y: Any, found: Any) -> dict[str, float]:
    """As scikit-learn's log-loss has it, no probability is below float64's epsilon."""
    p = np.asarray(found["probabilities"], float)
    p = np.clip(p / p.sum(axis=1, keepdims=True), np.finfo(float).eps, 1.0)
    order = {str(name): i for i, name in enumerate(found["classes"])}
    own = p[np.arange(len(y)), [order[name] for name in y]]
    return {
        "error": float(np.mean(found["predicted"] != y)),
        "log_loss": float(-np.mean(np.log(own))),
    }


class Worker:
    """A rival in a process of its own, which does one job after the other; a folder for its files.

    It may take so many seconds for a job.
    """

    def __init__(self, rival: str, python: str, place: Path, limit: float | None = None) -> None:
        self.place, self.words = place, place / "stderr"
        self.command = [python, str(HERE / "accuracy_rivals.py"), rival, str(limit or 0.0)]
        self.process: subprocess.Popen[str] | None = None

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return what the rival says of a job; "failed" says why it could not do it.

        A process that has died is told with its last words; the next job starts it anew.
        """
        if self.process is None:
            try:
                self.process = self._start()
            except OSError as error:
                return {"failed": f"{self.command[0]} can't be started: {error.strerror}"}
        try:
            print(json.dumps(job), file=self.process.stdin, flush=True)
            return dict(json.loads(self.process.stdout.readline()))
        except (BrokenPipeError, ValueError):
            return {"failed": self._died()}

    def _start(self) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
        with self.words.open("w", encoding="utf-8") as words:
            return subprocess.Popen(
                self.command,
                env=os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
            )

    def _died(self) -> str:
        status = self.close()
        said = self.words.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1] if said else f"exit status {status}"

    def close(self) -> int:
        """End the process; return its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        return process.returncode


def run_one(worker: Worker, rival: str, name: str, seed: int, folder: Path | None) -> Run:
    """Give a rival the files of a split; return what came of it."""
    about = sets.named(name)
    X, y, task = sets.load(name, folder)
    X, X_test, y, y_test = split(X, y, task, seed)
    run = Run(name, seed, rival, task, {"train": len(X), "test": len(X_test)}, about.heavy)
    X.join(y).to_csv(worker.place / "train.csv", index=False)
    X_test.join(y_test).to_csv(worker.place / "test.csv", index=False)
    files = {"train": "train.csv", "test": "test.csv", "out": "found.npz"}
    job = {key: str(worker.place / file) for key, file in files.items()}
    said = worker.do(job | {"task": task, "target": about.target, "seed": seed})
    run.failed = said.get("failed")
    if run.failed is None:
        with np.load(job["out"]) as found:
            run.figures = measures(task, y_test.to_numpy(), found)
        run.seconds, run.versions = said["seconds"], said["versions"]
    return run


def run_all(options: argparse.Namespace) -> int:
    """Run what is not in the file yet, rival after rival."""
    done = {run.key for run in read_runs(options.out) if run.failed is None}
    splits = [(name, seed) for seed in options.seeds for name in options.sets]
    failed = 0
    for rival in options.rivals:
        left = [(name, seed) for name, seed in splits if (name, seed, rival) not in done]
        python = str(options.rival_python if rival in rivals.ELSEWHERE else sys.executable)
        with tempfile.TemporaryDirectory() as place:
            worker = Worker(rival, python, Path(place), options.limit)
            for name, seed in left:
                failed += _run_and_keep(worker, rival, name, seed, options).failed is not None
            worker.close()
    return 1 if failed else 0


def _run_and_keep(
    worker: Worker, rival: str, name: str, seed: int, options: argparse.Namespace
) -> Run:
    start = time.perf_counter()
    run = run_one(worker, rival, name, seed, options.folder)
    with options.out.open("a", encoding="utf-8") as file:
        file.write(run.as_line())
    seconds = time.perf_counter() - start
    _tell(f"{rival}, {name}, seed {seed}: {run.told()} ({seconds:.0f} s)")
    return run


def _tell(text: str) -> None:
    print(f"accuracy.py: {text}", file=sys.stderr, flush=True)


# -- the command ----


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run rivals on sets, and add the results to a file")
    run.add_argument("--folder", type=Path, help=f"of the sets (default: ${sets.FOLDER})")
    run.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines")
    run.add_argument("--sets", type=_names, metavar="NAMES", help="as adult,wine (default: all)")
    run.add_argument("--final", action="store_true", help="the sets that are left aside, instead")
    run.add_argument(
        "--rivals",
        type=_rivals,
        default=tuple(rivals.RIVALS),
        metavar="NAMES",
        help=f"some of {', '.join(rivals.RIVALS)}, or {rivals.RECIPE}NAME (default: all)",
    )
    run.add_argument("--seeds", type=_seeds, default=SEEDS, help="as 0,1,2 (the default)")
    run.add_argument(
        "--rival-python",
        type=Path,
        default=Path(sys.executable),
        metavar="PYTHON",
        help="the interpreter with PyTorch, pytabkit and tabm (default: this one)",
    )
    run.add_argument("--limit", type=float, metavar="SECONDS", help="give a run up after so long")
    report = commands.add_parser("report", help="make tables of such files")
    report.add_argument("files", type=Path, nargs="+", metavar="FILE")
    report.add_argument("--reference", default="plain", help="whose error is 1 (default: plain)")
    report.add_argument("--rivals", type=_rivals, metavar="NAMES", help="only these")
    report.add_argument(
        "--common", action="store_true", help="only sets and seeds that all have run"
    )
    report.add_argument("--into", type=Path, metavar="DIR", help="also write JSON and Markdown")
    options = parser.parse_args(arguments)
    if options.command == "run":
        _choose_sets(options, run)
    return options


def _choose_sets(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Take the sets that are wanted; small ones come first."""
    known = [each.name for each in (sets.FINAL if options.final else sets.SETS)]
    for name in options.sets or ():
        if name not in known:
            hint = ""
            if name in [each.name for each in sets.FINAL]:
                hint = ": it is left aside for the last measure (--final)"
            parser.error(f"{name!r} is none of the sets {', '.join(known)}{hint}")
    try:
        paths = {name: sets.named(name).path(options.folder) for name in options.sets or known}
    except sets.SetError as error:
        parser.error(str(error))
    for path in paths.values():
        if not path.exists():
            parser.error(f"{path} isn't there: `accuracy_sets.py fetch FOLDER` brings it")
    options.sets = sorted(paths, key=lambda name: paths[name].stat().st_size)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _rivals(text: str) -> tuple[str, ...]:
    for name in _names(text):
        try:
            rivals.named(name)
        except KeyError:
            known = ", ".join(rivals.RIVALS)
            raise argparse.ArgumentTypeError(
                f"{name!r} is none of {known}, nor {rivals.RECIPE}NAME"
            ) from None
    return _names(text)


def _seeds(text: str) -> tuple[int, ...]:
    for number in _names(text):
        if not number.isdecimal():
            raise argparse.ArgumentTypeError(f"{number!r} is no seed: give whole numbers from 0")
    return tuple(map(int, _names(text)))


def main(arguments: list[str] | None = None) -> int:
    """Run, or report; return the exit status."""
    options = options_of(arguments)
    if options.command == "run":
        return run_all(options)
    runs = _latest(run for file in options.files for run in read_runs(file))
    runs = [run for run in runs if options.rivals is None or run.rival in options.rivals]
    if not runs:
        print("accuracy.py: there are no runs in these files", file=sys.stderr)
        return 2
    print(write_report(Table(runs, options.reference, options.common), runs, options.into))
    return 0


def _latest(runs: Iterable[Run]) -> list[Run]:
    """Return one run of each set, seed and rival: the last that came to an end, if one did."""
    found: dict[Any, Run] = {}
    for run in runs:
        if run.failed is None or run.key not in found:
            found[run.key] = run
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
