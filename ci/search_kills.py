"""Kill the workers of a search, over and over, and see that no trial is lost or made twice.

Some processes search together in one storage: PostgreSQL, which is started here, a SQLite file or a
journal. They are ended by SIGKILL at random moments and started again, until there were as many
kills as asked for; then the search goes on to its end. After each study every setting must have
been trained to its end, once, nothing may be left running, and there must be exactly as many trials
as the study was to have. What is trained is a stand-in: it sleeps, reports, and ends.

    python ci/search_kills.py --kills 50 --workers 4 --storage postgres

With --apart the processes take each other for those of other machines: who is dead is told by its
silence alone. With --speed nobody is killed, and one worker's trials per second are held beside
those of all.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import pwd
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from optuna.trial import TrialState

from xpnet.search import workers
from xpnet.search.attempts import asked
from xpnet.search.distributions import choice, log_uniform, uniform
from xpnet.search.optuna_study import OptunaStudy
from xpnet.search.space import when
from xpnet.search.storages import open_storage
from xpnet.search.trials import State, Trial

SPACE = {
    "hidden": choice([(64,), (512, 256)]),
    "learning_rate": log_uniform(1e-4, 1),
    "dropout": when("hidden", [(512, 256)], uniform(0, 0.5)),
}

#: What a trial comes to: its number says which.
STATES = (State.COMPLETE, State.STOPPED, State.COMPLETE, State.FAILED)

#: After how many epochs trials are reported.
RUNGS = (1, 3, 9)

#: Seconds without a beat after which a process of another machine is dead.
GRACE = 10.0

fork = multiprocessing.get_context("fork")


# -- the processes that are killed ----


def work(storage: str, name: str, limit: int, log: Path, epoch: float, apart: bool) -> None:
    """Train trials, four at a time, until all of the study have ended."""
    if apart:
        machine = uuid.uuid4().hex
        workers._machine = lambda: machine
    study = OptunaStudy(SPACE, limit, storage=storage, name=name, resume="auto", grace=GRACE)
    running: list[Trial] = []
    while True:
        while len(running) < 4 and (trial := study.ask()) is not None:
            running.append(trial)
        if running:
            train(study, running.pop(0), log, epoch)
        elif study.elsewhere():
            time.sleep(0.05)
        else:
            break
    study.close()


def train(study: OptunaStudy, trial: Trial, log: Path, epoch: float) -> None:
    """Train a trial, and note in a file that its end was told."""
    for epochs in RUNGS:
        time.sleep(epoch * epochs)
        study.report(trial, epochs, 1 / epochs)
        study.reports_at(epochs)
    trial.state, trial.epochs = STATES[trial.number % len(STATES)], RUNGS[-1]
    trial.value = None if trial.state is State.FAILED else 1 / RUNGS[-1]
    study.end(trial)
    if trial.number not in study._lost:  # another has not taken it over
        with open(log, "a") as file:
            file.write(f"{trial.number}\n")


# -- what is killed, and what is found ----


class Search:
    """A study, and the processes that work at it."""

    def __init__(
        self, storage: str, folder: Path, trials: int, epoch: float = 0.002, apart: bool = False
    ) -> None:
        self.name, self.storage, self.trials = uuid.uuid4().hex[:8], storage, trials
        self.log = folder / f"{self.name}.ends"
        self.log.touch()
        self._options = (storage, self.name, trials, self.log, epoch, apart)
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def start(self, count: int = 1) -> None:
        """Start some more processes."""
        for _ in range(count):
            process = fork.Process(target=work, args=self._options)
            process.start()
            self.processes.append(process)

    def kill_one(self, pause: float) -> bool:
        """Kill one of those that are at work, if there are any left, and start another.

        It waits before, so many seconds at most.
        """
        time.sleep(random.uniform(0, pause))
        there = [p for p in self.processes if p.is_alive()]
        if not there:
            return False
        victim = random.choice(there)
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        self.processes.remove(victim)
        if victim.exitcode != -signal.SIGKILL:
            return False  # it had just ended
        self.start()
        return True

    def wait(self) -> None:
        """Wait until all have ended, none of them by an error."""
        for process in self.processes:
            process.join()
            if process.exitcode:
                raise SystemExit(f"a worker ended with {process.exitcode}")

    def check(self) -> Counter[str]:
        """See that nothing is lost, made twice or left running; return what became of trials."""
        study = OptunaStudy(SPACE, self.trials, storage=self.storage, name=self.name, resume=True)
        found = study._known.read()
        settings = asked(found)
        counts = Counter({"asked again": len(found) - len(settings)})
        ends = Counter(map(int, self.log.read_text().split()))
        twice = [number for number, count in ends.items() if count > 1]
        problems = [f"{number} was ended twice" for number in twice]
        problems += [f"{t.number} is {t.state.name}" for t in found if not t.state.is_finished()]
        for setting in settings:
            results = [
                t for t in setting.attempts if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
            ]
            expected = STATES[setting.number % len(STATES)]
            if setting.number < self.trials:
                counts[str(setting.state)] += 1
                if setting.state is not expected:
                    problems.append(f"{setting.number} is {setting.state}, not {expected}")
            if len(results) != (setting.number < self.trials and expected is not State.FAILED):
                problems.append(f"{setting.number} has {len(results)} results")
            if len({repr(t.params) for t in setting.attempts}) != 1:
                problems.append(f"{setting.number} was asked again with another setting")
            counts["beyond the limit"] += setting.number >= self.trials
        if len(study.trials()) != self.trials:
            problems.append(f"there are {len(study.trials())} trials, not {self.trials}")
        study.close()
        if problems:
            raise SystemExit(f"study {self.name} in {self.storage}: " + "; ".join(problems))
        return counts


def kill(storage: str, options: argparse.Namespace, folder: Path) -> None:
    """Kill workers until there were enough kills, in as many studies as it takes."""
    kills, started, counts, studies = 0, time.monotonic(), Counter[str](), 0
    while kills < options.kills:
        search = Search(storage, folder, options.trials, options.epoch, options.apart)
        search.start(options.workers)
        going = True
        while going and kills < options.kills:
            going = search.kill_one(options.pause)
            kills += going
        search.wait()
        counts += search.check()
        studies += 1
        print(f"{kills} kills: study {studies} is whole", flush=True)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    seconds = time.monotonic() - started
    print(f"{kills} kills in {studies} studies of {options.trials} trials, {seconds:.0f} s: {told}")


def speed(storage: str, options: argparse.Namespace, folder: Path) -> None:
    """Tell the trials per second of one worker and of all."""
    rates = {}
    for count in (1, options.workers):
        search = Search(storage, folder, options.trials, options.epoch, options.apart)
        started = time.monotonic()
        search.start(count)
        search.wait()
        rates[count] = options.trials / (time.monotonic() - started)
        search.check()
        print(f"{count} workers: {rates[count]:.1f} trials a second", flush=True)
    print(f"{options.workers} workers: {rates[options.workers] / rates[1]:.2f} times one")


# -- storages ----


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[str]:
    """Yield a storage of a kind, which is there meanwhile."""
    if kind == "postgres":
        with postgres(folder) as address:
            yield address
    else:
        yield str(folder / {"sqlite": "a.study.db", "journal": "a.journal"}[kind])


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start PostgreSQL with a database of its own, heard of in the folder alone."""
    found = shutil.which("initdb") or next(
        iter(sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)), None
    )
    if found is None:
        raise SystemExit("PostgreSQL is not installed: on Debian it is the package postgresql")
    programs, data = Path(found).resolve().parent, folder / "data"
    user = None
    if os.geteuid() == 0:  # it does not run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        folder.chmod(0o755)
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user)

    def run(program: str, *arguments: str) -> None:
        command = [programs / program, "-D", data, *arguments]
        subprocess.run(command, check=True, user=user, cwd=data, stdout=subprocess.DEVNULL)

    run("initdb", "-U", "search", "--auth=trust", "--encoding=UTF8")
    run("pg_ctl", "-w", "-l", f"{data}/log", "-o", f"-k {data} -c listen_addresses=", "start")
    try:
        yield f"postgresql+psycopg2://search@/postgres?host={data}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--storage", choices=("postgres", "sqlite", "journal"), default="postgres")
    parser.add_argument("--trials", type=int, default=100, help="of a study")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between kills, at most")
    parser.add_argument("--epoch", type=float, default=0.002, help="seconds that an epoch takes")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as name:  # what the processes need not import again
        open_storage(Path(name) / "a.study.db").close()
    with tempfile.TemporaryDirectory() as name, opened(options.storage, Path(name)) as storage:
        (speed if options.speed else kill)(storage, options, Path(name))


if __name__ == "__main__":
    main()
