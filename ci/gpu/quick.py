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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKER = HERE / "worker.py"


@dataclass(frozen=True)
class Part:
    """Some claims: what they are about, when they run, and in how many seconds at most."""

    about: str
    wave: int
    limit: float


#: Those of a wave run side by side. The first also compiles the kernels for all others; the last
#: two, which watch the device's memory and its speed, have it for themselves.
PARTS = {
    "machine": Part("versions, the device, a kernel compiled and run", 0, 45),
    "kernels": Part("each kernel against the reference, in both precisions", 1, 70),
    "step": Part("steps eager and captured, bit by bit", 1, 70),
    "curves": Part("loss curves on the CPU and on the GPU", 1, 70),
    "memory": Part("out of memory: told, and survived", 1, 70),
    "estimators": Part("estimators with arrays of CuPy and PyTorch", 1, 70),
    "commands": Part("xpnet train, predict, evaluate, profile", 1, 70),
    "replays": Part("1,000 replays without growth of memory", 2, 30),
    "times": Part("step times beside PyTorch, JAX and the products alone", 3, 130),
}

#: Seconds for everything, and for one claim.
WHOLE, ONE_CLAIM = 195.0, 40.0
#: Characters of a figure on the terminal.
SHOWN = 100
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
                env=os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": self.options.scratch},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it and what it starts can be ended together
            )

    def end(self) -> None:
        """End the process and those that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def is_over(self, last: float) -> bool:
        """Look after the process; return whether the part is over. It has to be by ``last``."""
        now = time.monotonic()
        limit = PARTS[self.name].limit
        status = self.process.poll()
        self.book.read()
        claim = self.book.begun(self.name)
        if status is None and (now > last or now - self.began > limit):
            self._break_off("not done when the time was up")
            return True
        if status is None and claim is not None and time.time() - claim["time"] > ONE_CLAIM:
            self._break_off(f"not done within {ONE_CLAIM:g} s")
            return self._goes_on()
        if status is None:
            return False
        if claim is not None:
            self._settle(claim, f"its process ended with {_told(status)}")
        elif len(self.book.settled(self.name)) == self._settled_before:
            self._settle(None, f"its process ended with {_told(status)}: see quick.log")
            return True
        return self._goes_on()

    def _break_off(self, why: str) -> None:
        self.end()
        self.book.read()  # it may have settled its claim at the last moment
        self._settle(self.book.begun(self.name), why)

    def _settle(self, claim: Record | None, why: str) -> None:
        if claim is not None or not self.book.planned(self.name):
            name = claim["claim"] if claim else "the part begins"
            self.book.write(part=self.name, claim=name, held=False, figure=why, seconds=None)
            self.book.read()

    def _goes_on(self) -> bool:
        """Go on behind the claims that are settled; return whether there are none left."""
        settled = self.book.settled(self.name)
        if len(settled) >= len(self.book.planned(self.name)):
            return True
        # A process that lost its first claim may have met what no process gets past.
        alone = len(settled) == self._settled_before + 1 and not settled[-1]["held"]
        self._lost = self._lost + 1 if alone else 0
        if self._lost == MOST_LOST:
            return True
        self.process = self._start()
        return False


def _told(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def run(options: argparse.Namespace, book: Book, log: Path) -> None:
    """Run the parts, wave by wave."""
    last = time.monotonic() + options.limit
    running: list[Running] = []
    try:
        for wave in sorted({PARTS[name].wave for name in options.parts}):
            if time.monotonic() > last:
                break
            names = [name for name in options.parts if PARTS[name].wave == wave]
            print(f"gpu.sh: {', '.join(names)}", file=sys.stderr, flush=True)
            running = [Running(name, book, log, options) for name in names]
            while running:
                time.sleep(0.05)
                running = [part for part in running if not part.is_over(last)]
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


#: What is written of a claim.
WORDS = {True: "held", False: "NOT HELD", None: "not told"}


def table(claims: list[Record], markdown: bool) -> str:
    """Return the table of claims: for people at a terminal, or in Markdown."""
    rows = [[c["part"], c["claim"], WORDS[c["held"]], c["figure"]] for c in claims]
    head = ["part", "claim", "", "figure"]
    if markdown:
        lines = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
        lines.insert(1, ["---"] * 4)
        return "".join(f"| {' | '.join(row)} |\n" for row in lines)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(3)]
    return "".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        + "\n"
        for row in [head, *rows]
    )


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


def write(path: Path, text: str) -> None:
    """Write a file so that there is never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def finish(options: argparse.Namespace, folder: Path, book: Book, seconds: float) -> int:
    """Write the results, show the table, and return the exit status."""
    claims = [claim for name in options.parts for claim in outcome(name, book)]
    held = sum(claim["held"] is True for claim in claims)
    failed = sum(claim["held"] is False for claim in claims)
    facts: Record = next((c["values"] for c in claims if "device" in c.get("values", {})), {})
    where = "DRY RUN on a stand-in: none of this is a figure of a GPU" if options.dry_run else ""
    command = shlex.join(["ci/gpu.sh", "quick", *sys.argv[1:]])
    saved = {"command": command, "dry_run": options.dry_run, "seconds": round(seconds, 1)}
    saved |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "facts": facts, "claims": claims}
    untold = len(claims) - held - failed
    counts = f"{held} claims held, {failed} did not, {untold} could not be told"
    last = f"{counts}, in {seconds:.0f} s"
    told = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    text = "\n".join(
        [f"# `{command}`\n", f"{where}\n" * bool(where) + told, table(claims, True), last]
    )
    write(folder / "quick.json", json.dumps(saved, indent=1) + "\n")
    write(folder / "quick.md", text + "\n")
    print(summary(claims, options.parts))
    print(f"{where}\n" * bool(where) + f"{last}: see {folder / 'quick.md'}", flush=True)
    return 1 if failed else 0


def _broken_off(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


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
    signal.signal(signal.SIGTERM, _broken_off)
    signal.signal(signal.SIGINT, _broken_off)  # also where the shell ignores it, in the background
    began, status = time.monotonic(), 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as options.scratch:
        try:
            run(options, book, log)
        except KeyboardInterrupt:
            print("gpu.sh: broken off; what was settled is kept", file=sys.stderr)
            status = 130
    found = finish(options, folder, book, time.monotonic() - began)
    return status or found


if __name__ == "__main__":
    sys.exit(main())
