"""What reading tables costs ``xpnet train`` and ``xpnet predict``: seconds, and memory at most.

    python bench/table_files.py                            # 500,000 x 21 as CSV
    python bench/table_files.py --rows 1000000 --format parquet
    python bench/table_files.py --against ../before        # another source tree, in turns
    python bench/table_files.py --rows 20000000 --memory 0.2 --only predict

The table has 16 columns of floats, four of text with twelve categories each, and a target of two
classes. Each command is a process of its own, with one BLAS thread. Memory is the largest that the
process had resident (RSS), and, of that, what no file backs (RssAnon, looked at every 10 ms): pages
of mapped files are the system's to take back.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Rows that are made at a time.
ROWS = 100_000


def chunk(rows: int, seed: int) -> Any:
    """Return some rows of the table, as Arrow's."""
    import pyarrow as pa

    draw = np.random.default_rng(seed)
    numbers = np.round(draw.normal(size=(rows, 16)), 4)
    codes = draw.integers(0, 12, (rows, 4))
    names = np.array([f"kind_{i}" for i in range(12)])
    score = numbers[:, 0] - numbers[:, 1] + numbers[:, 2] * numbers[:, 3] / 2
    score += (codes[:, 0] - 5.5) * 0.4 + draw.logistic(size=rows)
    columns = {f"x{i}": numbers[:, i] for i in range(16)}
    columns |= {f"c{i}": names[codes[:, i]] for i in range(4)}
    return pa.table(columns | {"y": (score > 0).astype(np.int64)})


def write(path: Path, rows: int) -> None:
    """Write the table as CSV or Parquet."""
    from pyarrow import csv, parquet

    starts = range(0, rows, ROWS)
    parts = (chunk(min(ROWS, rows - start), start) for start in starts)
    first = next(parts)
    kind = parquet.ParquetWriter if path.suffix == ".parquet" else csv.CSVWriter
    with kind(str(path), first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def plain(tree: Path) -> list[str]:
    """Return what keeps a training short; older trees know nothing else."""
    return ["--recipe", "plain"] if (tree / "xpnet" / "recipes").is_dir() else []


def measure(tree: Path, command: list[str], folder: Path) -> dict[str, float]:
    """Run ``xpnet`` of a source tree; return seconds, and MB at most."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1"}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    began, anonymous = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        anonymous = max(anonymous, _anonymous(process.pid))
        time.sleep(0.01)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} of {tree} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rss": usage.ru_maxrss / 1024, "anonymous": anonymous / 1024}


def _anonymous(pid: int) -> int:
    """Return the kilobytes of a process that no file backs; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Read the arguments, and print a line for each command and tree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--against", type=Path, help="another source tree")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", help="GB for train --memory, in this tree alone")
    parser.add_argument("--only", choices=["train", "predict"])
    parser.add_argument("--folder", type=Path, help="where the table goes")
    given = parser.parse_args()
    trees = [Path(__file__).resolve().parents[1]]
    trees += [] if given.against is None else [given.against.resolve()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        table, small = (folder / f"{stem}.{given.format}" for stem in ("table", "small"))
        write(table, given.rows)
        write(small, 2000)
        print(f"{table.name}: {given.rows:,} x 21, {table.stat().st_size / 1e6:,.1f} MB")
        train = ["train", table.name, "--target", "y", "--epochs", "1", "-o", "m"]
        for i, tree in enumerate(trees):
            own = ["train", small.name, *train[2:-1], f"m{i}", *plain(tree)]
            measure(tree, own, folder)  # warms up as well
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(given.rounds):
            for i, tree in enumerate(trees):
                more = ["--memory", given.memory] if given.memory and i == 0 else []
                commands = {
                    "train": [*train[:-1], f"trained{i}", *more, *plain(tree)],
                    "predict": ["predict", f"m{i}", table.name, "-o", "out.csv"],
                }
                for command, words in commands.items():
                    if given.only in (None, command):
                        found.setdefault((command, i), []).append(measure(tree, words, folder))
    results = []
    for (command, i), runs in sorted(found.items()):
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        results.append({"command": command, "tree": "another" if i else "this", **median})
        print(
            f"{command:8} {results[-1]['tree']:8} {median['seconds']:7.2f} s, at most "
            f"{median['rss']:,.0f} MB resident, {median['anonymous']:,.0f} MB of it anonymous"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
