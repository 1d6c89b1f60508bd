"""Run the suites, and keep their results as JSON and as Markdown in bench/results/.

::

    python bench/run.py
    python bench/run.py --only step,rivals --threads 2

Each suite has a process of its own, in which everyone may use so many threads. The files are named
after the machine's CPU or GPU. What is measured by then is kept if the run is broken off. On a
machine that is shared, ``--passes 2`` helps: a burst of others' work rarely hits a case twice.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import report
from results import ResultError, as_json, kept, read, write

BENCH = Path(__file__).resolve().parent
SUITES = (
    "ceilings",
    "step",
    "epoch",
    "predict",
    "answers",
    "kernels",
    "rivals",
    "members",
    "tabm",
    "fits",
    "estimators",
)
#: What libraries of products and loops read the number of their threads from.
THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: pytest's exit statuses.
FAILED, INTERRUPTED, USAGE, NOTHING_RAN = 1, 2, 4, 5


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="run the benchmarks and keep their results")
    parser.add_argument("--quick", action="store_true", help="a few small cases, hardly measured")
    parser.add_argument(
        "--only",
        type=_suites,
        default=SUITES,
        metavar="SUITES",
        help=f"some of {','.join(SUITES)} (default: all)",
    )
    parser.add_argument(
        "--threads", type=_count, default=1, help="on the CPU, for everyone (default: 1)"
    )
    parser.add_argument(
        "--passes",
        type=_count,
        default=1,
        help="run everything so often, and keep each benchmark's calmest pass (default: 1)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: all there are")
    parser.add_argument(
        "-k", dest="cases", metavar="EXPRESSION", help="only the cases that pytest -k would choose"
    )
    parser.add_argument("--note", default="", help="what else to say of the machine")
    parser.add_argument(
        "-o", "--out", type=Path, default=BENCH / "results", metavar="DIR", help="where to write"
    )
    return parser.parse_args(arguments)


def _suites(text: str) -> tuple[str, ...]:
    names = text.split(",")
    for name in names:
        if name not in SUITES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SUITES)}")
    return tuple(suite for suite in SUITES if suite in names)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def run_suite(suite: str, options: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Run a suite; return pytest's exit status and what is kept of the results, if there are any.

    When this process is interrupted it passes that on, and waits for pytest to save what it has.
    """
    with tempfile.TemporaryDirectory() as folder:
        json_file = Path(folder) / "results.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "no:randomly"]  # cases of a group stand side by side
        # When interrupted it would complain of what has not run.
        command += ["-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"]
        command += [f"bench/bench_{suite}.py", "--benchmark-quiet", f"--benchmark-json={json_file}"]
        command += ["--quick"] * options.quick
        command += [f"--device={options.device}"] if options.device else []
        command += ["-k", options.cases] if options.cases else []
        process = subprocess.Popen(
            command,
            cwd=BENCH.parent,
            env=os.environ | dict.fromkeys(THREADS, str(options.threads)),
            stdout=sys.stderr,
            start_new_session=True,  # Ctrl-C would reach it twice
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.wait()
            except KeyboardInterrupt:  # someone is in a hurry
                process.kill()
            status = INTERRUPTED
        try:
            return status, kept(json.loads(json_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return status, None


def merge(parts: list[dict[str, Any]], note: str) -> dict[str, Any]:
    """Return the suites' results as one, with the calmest pass of each benchmark."""
    machine = parts[0]["machine_info"] | ({"note": note} if note else {})
    found: dict[str, dict[str, Any]] = {}
    for benchmark in sorted((b for part in parts for b in part["benchmarks"]), key=total):
        found.setdefault(benchmark["name"], benchmark)
    names = dict.fromkeys(b["name"] for part in parts for b in part["benchmarks"])
    return parts[0] | {"machine_info": machine, "benchmarks": [found[name] for name in names]}


def total(benchmark: dict[str, Any]) -> float:
    """Return the seconds of a step of all in a race, lest the pass that is best for us be kept."""
    about = benchmark["extra_info"]
    rivals = about.get("rivals", {}).values()
    ours = benchmark["stats"]["median"] / about.get("steps", 1)
    return float(ours + sum(rival["median"] for rival in rivals))


def stem(saved: dict[str, Any], options: argparse.Namespace) -> str:
    """Return the name of the files: machine, threads, and what is special about the run."""
    machine = saved["machine_info"]
    name = (machine.get("cpu") or {}).get("brand_raw") or machine.get("machine") or "cpu"
    if any(b["extra_info"].get("backend") == "CuPy" for b in saved["benchmarks"]):
        name = machine["devices"][0]["name"]
    parts = [name, f"{options.threads} thread{'s' * (options.threads > 1)}"]
    if options.only != SUITES:
        parts += options.only
    if options.cases:
        parts.append(options.cases)
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts + ["quick"] * options.quick).lower())


def main(arguments: list[str] | None = None) -> int:
    """Run the suites; return the exit status: 1 if a benchmark failed, 2 if none could run."""
    options = options_of(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"run.py: {options.out} can't be made: {error.strerror}", file=sys.stderr)
        return 2
    parts, status = [], 0
    for suite in options.only * options.passes:
        print(f"run.py: {suite}", file=sys.stderr)
        found, part = run_suite(suite, options)
        if found == USAGE:
            return 2
        if part is not None:
            parts.append(part)
            saved = merge(parts, options.note)
            unfinished = options.out / f"{stem(saved, options)}-unfinished.json"
            write(unfinished, as_json(saved))
        if found == INTERRUPTED:
            where = f": see {unfinished}" if parts else ""
            print(f"run.py: interrupted; what was measured is kept{where}", file=sys.stderr)
            return 130
        status = 1 if found not in (0, NOTHING_RAN) else status
    if not parts:
        print("run.py: nothing was measured", file=sys.stderr)
        return status or 2
    return finish(unfinished) or status


def finish(unfinished: Path) -> int:
    """Give the JSON its name, write the Markdown beside it and show it; return the exit status."""
    path = unfinished.with_stem(unfinished.stem.removesuffix("-unfinished"))
    try:
        text = report(read(unfinished))
    except ResultError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    unfinished.replace(path)
    write(path.with_suffix(".md"), text)
    print(text)
    print(f"run.py: wrote {path} and {path.with_suffix('.md').name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, signal.default_int_handler)
    sys.exit(main())
