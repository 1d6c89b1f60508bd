"""What the library claims of a GPU, tried in four minutes: a table of claims, held or not.

::

    ci/gpu.sh quick                        # all parts
    ci/gpu.sh quick step times             # some of them, as after mending what failed
    ci/gpu.sh quick --dry-run              # without a GPU: on a stand-in, with small arrays

Each part runs in a process of its own, under a limit of its own, and those that measure no time run
side by side. A claim that fails, hangs or takes the whole process with it costs that claim alone:
the part goes on behind it in a new process. Claims are written down as they are settled, to
``quick.jsonl``, and what the processes say to ``quick.log``; at the end stand ``quick.json`` and
the table, ``quick.md``. All go to bench/results/, or $OUT if set; those of a dry run, which are no
figures of a GPU, to a temporary folder.

The exit status is 0 if all claims held, 1 if one did not, 2 for a wrong command.

Needs the standard library alone, so that nothing which is missing can break it.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKER = HERE / "worker.py"

sys.path.append(str(ROOT / "bench"))

from results import markdown as as_markdown  # noqa: E402 - it is found only now
from results import write  # noqa: E402


@dataclass(frozen=True)
class Part:
    """Some claims: the file they are in, what they are about, when they run, seconds at most."""

    module: str
    about: str
    wave: int
    limit: float


#: Those of a wave run side by side. The first also compiles the kernels for all others; the last
#: two, which watch the device's memory and its speed, have it for themselves.
PARTS = {
    "machine": Part("checks", "versions, the device, a kernel compiled and run", 0, 45),
    "kernels": Part("checks", "each kernel against the reference, in both precisions", 1, 60),
    "step": Part("training", "steps eager and captured, bit by bit", 1, 60),
    "curves": Part("training", "loss curves on the CPU and on the GPU", 1, 60),
    "predictions": Part("predictions", "few rows again and again: captured, as on the CPU", 1, 60),
    "members": Part("members", "many networks in one step: each as alone, one graph", 1, 60),
    "memory": Part("memory", "out of memory: told, and survived", 1, 60),
    "estimators": Part("use", "estimators with arrays of CuPy and PyTorch", 1, 60),
    "tables": Part("use", "bins, calibration, and tables trained by recipes", 1, 60),
    "commands": Part("use", "xpnet train, predict, evaluate, profile", 1, 60),
    "compiling": Part("times", "what times is to race against, compiled ahead", 1, 60),
    "replays": Part("memory", "1,000 replays without growth of memory", 2, 25),
    "times": Part("times", "steps and predictions beside PyTorch, JAX and the products", 3, 130),
}

#: Seconds for everything, and for one claim.
WHOLE, ONE_CLAIM = 195.0, 40.0
#: Characters of a line on the terminal: the whole of it is in the files.
SHOWN = 160
#: Processes that may lose their first claim, one after the other, before a part is given up.
MOST_LOST = 5
#: What a worker leaves with when the device is of no more use to its process.
SICK = 3

Record = dict[str, Any]


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    lines = [f"  {name:<11} {part.about}, {part.limit:g} s" for name, part in PARTS.items()]
    parser = argparse.ArgumentParser(
        prog="ci/gpu.sh quick",
        description="Try what the library claims of a GPU, and write a table of claims.",
        epilog="\n".join(["parts:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="which parts (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="on a stand-in, without a GPU")
    parser.add_argument(
        "--limit", type=float, default=WHOLE, help=f"seconds for all (default: {WHOLE:g})"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to write")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    if not options.limit > 0:
        parser.error(f"--limit is {options.limit:g}: give seconds above 0")
    # On a stand-in nothing hurries, and the machine may be a slow one.
    options.slack = 20 if options.dry_run else 1
    options.limit *= options.slack
    options.parts = [name for name in PARTS if name in options.parts or not options.parts]
    return options


def place(options: argparse.Namespace) -> Path:
    """Return the folder for the results, made if need be."""
    named = options.out or os.environ.get("OUT")
    if not named:
        named = tempfile.mkdtemp() if options.dry_run else ROOT / "bench" / "results"
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Book:
    """The claims as they stand in the file that the workers write to, each one a line."""

    path: Path
    records: list[Record] = field(default_factory=list)
    _read: int = 0

    def read(self) -> None:
        """Read the whole lines that have come since."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self.records += [json.loads(line) for line in whole.splitlines()]

    def write(self, **record: Any) -> None:
        """Write a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def planned(self, part: str) -> list[str]:
        """Return a part's claims, as far as it has said which there are."""
        plans = [r["claims"] for r in self.records if r["part"] == part and "claims" in r]
        return list(plans[0]) if plans else []

    def begun(self, part: str) -> Record | None:
        """Return the claim that a part is at, if it is at one."""
        of_part = [r for r in self.records if r["part"] == part and "claim" in r]
        return of_part[-1] if of_part and "held" not in of_part[-1] else None

    def settled(self, part: str) -> list[Record]:
        """Return those that are settled."""
        return [r for r in self.records if r["part"] == part and "held" in r]


class Running:
    """A part at work, in one process after the other."""

    def __init__(self, name: str, book: Book, log: Path, options: argparse.Namespace) -> None:
        self.name, self.book, self.log, self.options = name, book, log, options
        self._lost = 0
        self.began, self.process = time.monotonic(), self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        done = len(self.book.settled(self.name))
        command = [sys.executable, str(WORKER), self.name, str(self.book.path)]
        command += [f"--skip={done}", *["--dry-run"] * self.options.dry_run]
        self._settled_before = done
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # it and what it starts can be ended together
            )

    def _environment(self) -> dict[str, str]:
        """Return what the workers are told; what they compile they leave to each other."""
        scratch = self.options.scratch
        return {
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": scratch,
            "JAX_COMPILATION_CACHE_DIR": str(Path(scratch) / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def end(self) -> None:
        """End the process and those that it started, if there are any left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # One that is stuck in the driver can't be waited for.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)

    def is_over(self, last: float) -> bool:
        """Look after the process; return whether the part is over. It has to be by ``last``."""
        now, slack = time.monotonic(), self.options.slack
        status = self.process.poll()
        self.book.read()
        claim = self.book.begun(self.name)
        if status is None and (now > last or now - self.began > slack * PARTS[self.name].limit):
            self._break_off(None, "not done when the time was up")
            return True
        if status is None and claim is not None and time.time() - claim["time"] > slack * ONE_CLAIM:
            self._break_off(False, f"not done within {slack * ONE_CLAIM:g} s")
            return self._goes_on()
        if status is None:
            return False
        self.end()  # it may have left others behind
        unsettled = len(self.book.settled(self.name)) == self._settled_before
        if claim is not None or unsettled:
            self._settle(claim, False, f"its process ended with {_told(status)}: see quick.log")
        return self._goes_on()

    def _break_off(self, held: bool | None, why: str) -> None:
        self.end()
        self.book.read()  # it may have settled its claim at the last moment
        self._settle(self.book.begun(self.name), held, why)

    def _settle(self, claim: Record | None, held: bool | None, why: str) -> None:
        """Settle a claim for a process that could not; without one, that which comes next."""
        settled = self.book.settled(self.name)
        missing = self.book.planned(self.name)[len(settled) :]
        if settled and not missing:
            return
        name = claim["claim"] if claim else next(iter(missing), "the part begins")
        self.book.write(part=self.name, claim=name, held=held, figure=why, seconds=None)
        self.book.read()

    def _goes_on(self) -> bool:
        """Go on behind the claims that are settled; return whether there are none left."""
        settled = self.book.settled(self.name)
        if len(settled) >= len(self.book.planned(self.name)):
            return True
        # A process that lost its first claim may have met what no process gets past.
        alone = len(settled) == self._settled_before + 1 and settled[-1]["held"] is False
        self._lost = self._lost + 1 if alone else 0
        if self._lost == MOST_LOST:
            return True
        self.process = self._start()
        return False


def _told(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def run(options: argparse.Namespace, book: Book, log: Path, after: Callable[[], Any]) -> None:
    """Run the parts, wave by wave, and call something after each wave."""
    last = time.monotonic() + options.limit
    running: list[Running] = []
    try:
        for wave in sorted({PARTS[name].wave for name in options.parts}):
            if time.monotonic() > last:
                break
            names = [name for name in options.parts if PARTS[name].wave == wave]
            print(f"gpu.sh: {', '.join(names)}", file=sys.stderr, flush=True)
            for name in names:
                running.append(Running(name, book, log, options))
            while running:
                time.sleep(0.05)
                running = [part for part in running if not part.is_over(last)]
            after()
    finally:
        for part in running:
            part.end()
        book.read()


def outcome(name: str, book: Book) -> list[Record]:
    """Return a part's claims, those that were not reached too."""
    settled = book.settled(name)
    missing = book.planned(name)[len(settled) :]
    absent = {"part": name, "held": None, "figure": "not reached"}
    if not settled and not missing:
        missing = ["the part begins"]
    return [*settled, *(absent | {"claim": claim} for claim in missing)]


#: What stands above the table of a dry run.
DRY = "DRY RUN on a stand-in: none of this is a figure of a GPU."
#: What is written of a claim.
WORDS = {True: "held", False: "NOT HELD", None: "not told"}


def table(claims: list[Record], markdown: bool) -> str:
    """Return the table of claims: for people at a terminal, or in Markdown."""
    rows = [[c["part"], c["claim"], WORDS[c["held"]], c["figure"]] for c in claims]
    head = ["part", "claim", "", "figure"]
    if markdown:
        return as_markdown([[c.replace("|", "\\|") for c in row] for row in [head, *rows]], left=4)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(3)]
    lines = [
        [*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]] for row in [head, *rows]
    ]
    return "".join(f"{'  '.join(line)[:SHOWN].rstrip()}\n" for line in lines)


def summary(claims: list[Record], parts: list[str]) -> str:
    """Return what a short table leaves out: of a part whose claims all held, how many they are."""
    shown: list[Record] = []
    for name in parts:
        of_part = [c for c in claims if c["part"] == name]
        if name == "kernels" and len(of_part) > 1:
            held = [c for c in of_part if c["held"]]
            of_part = [c for c in of_part if not c["held"]]
            figure = f"{len(held)} of {len(held) + len(of_part)}"
            row = {"part": name, "claim": "kernels that agree", "held": not of_part}
            of_part.insert(0, row | {"figure": figure})
        shown += of_part
    return table(shown, markdown=False)


def save(options: argparse.Namespace, folder: Path, book: Book, began: float) -> list[Record]:
    """Write the results as they stand; return the claims."""
    claims = [claim for name in options.parts for claim in outcome(name, book)]
    facts: Record = next((c["values"] for c in claims if "device" in c.get("values", {})), {})
    command = shlex.join(["ci/gpu.sh", "quick", *sys.argv[1:]])
    head = {"command": command, "dry_run": options.dry_run, "facts": facts}
    head |= {"date": time.strftime("%Y-%m-%d", time.gmtime())}
    head |= {"seconds": round(time.monotonic() - began, 1)}
    told = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    told = f"{DRY}\n\n" * options.dry_run + told
    text = "\n".join([f"# `{command}`\n", told, table(claims, markdown=True), counts(claims)])
    write(folder / "quick.json", json.dumps(head | {"claims": claims}, indent=1) + "\n")
    write(folder / "quick.md", text + "\n")
    return claims


def counts(claims: list[Record]) -> str:
    """Return how many claims held, did not, and could not be told."""
    held, failed, untold = (sum(c["held"] is word for c in claims) for word in (True, False, None))
    return f"{held} claims held, {failed} did not, {untold} could not be told"


def _broken_off(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def interruptions(handler: Any) -> Iterator[None]:
    """Meet Ctrl-C and SIGTERM with a handler meanwhile, also where the shell ignores them."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = options_of(arguments)
    try:
        folder = place(options)
        book, log = Book(folder / "quick.jsonl"), folder / "quick.log"
        for path in (book.path, log):
            path.write_bytes(b"")
    except OSError as error:
        print(f"gpu.sh: {error.filename} can't be written: {error.strerror}", file=sys.stderr)
        return 2
    began, status = time.monotonic(), 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as options.scratch:
        try:
            with interruptions(_broken_off):
                run(options, book, log, lambda: save(options, folder, book, began))
        except KeyboardInterrupt:
            print("gpu.sh: broken off; what was settled is kept", file=sys.stderr)
            status = 130
    with interruptions(signal.SIG_IGN):
        claims = save(options, folder, book, began)
    print(summary(claims, options.parts))
    print(f"{DRY}\n" * options.dry_run + f"{counts(claims)}: see {folder / 'quick.md'}", flush=True)
    return status or int(any(claim["held"] is False for claim in claims))


if __name__ == "__main__":
    sys.exit(main())
