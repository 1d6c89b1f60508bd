"""Kill a training that writes checkpoints, over and over, and see that nothing is lost.

A process trains with all that has a state; it is ended by SIGKILL, at a random moment or at an
operation on its files (also in the middle of a write), and started again, until it is through.
After each kill every checkpoint must be whole, and at the end all bits must be those of a run that
wrote no checkpoints and that nobody disturbed.

In rounds with rivals two processes are started with one folder at the same time, and one of them
is killed: the other one trains, or is told that the folder is taken.

    python ci/kills.py --kills 50 --rivals 50
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import xpnet as xn
from xpnet.files import atomic, checkpoint_folder, safetensors_files

#: Steps between two checkpoints, and epochs, of 7 steps each.
EVERY, EPOCHS = 3, 24

#: The operations of `atomic.Disk`, in the order in which a checkpoint takes them.
OPERATIONS = ("create", "write", "sync", "rename", "sync_folder", "reopen", "remove")

#: How a training ends that finds its folder taken.
REFUSED = 3


# -- the process that is killed ----


class Deadly(atomic.Disk):
    """Ends its own process at the n-th operation: before it, or half-way through a write."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __getattribute__(self, name: str) -> Any:
        function = super().__getattribute__(name)
        return self._counted(function) if name in OPERATIONS else function

    def _counted(self, function: Any) -> Any:
        self._left -= 1
        if self._left:
            return function
        print(function.__name__, flush=True)
        return self._tear if function.__name__ == "write" else self._die

    def _tear(self, file: BinaryIO, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        file.flush()
        self._die()

    def _die(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Slow(xn.Callback):
    """Makes each step last a while, so that a kill hits some moment of the training."""

    def on_step_end(self, trainer: xn.Trainer, n: int) -> None:
        """Wait."""
        time.sleep(0.002)


def train(folder: Path | None, result: Path) -> None:
    """Train, going on if there is something to go on from; write all that is to be compared."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    y = (X[:, 0] * X[:, 1] + 0.5 * rng.normal(size=200) > 0) * 1
    layers = [xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(1)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=6, device="cpu")
    trainer = xn.Trainer(net, xn.Adam(xn.Exponential(0.01, decay=0.999, per="step")), l2=0.1)
    average = xn.WeightAverage(xn.SimpleMovingAverage(4), every=2)
    print("begun", flush=True)
    history = trainer.fit(
        X,
        y,
        batch_size=30,
        epochs=EPOCHS,
        validation_data=(X[:50], y[:50]),
        augmentation=xn.Augmentation([xn.GaussianNoise(0.1)]),
        sample_weight=rng.uniform(0.5, 2, size=200),
        callbacks=[Slow(), average, xn.EarlyStopping(EPOCHS)],
        checkpoint=None if folder is None else xn.Checkpoints(folder, every=EVERY, keep=2),
        resume=False if folder is None else "auto",
    )
    columns = [c for c in history.columns if c not in ("seconds", "samples_per_second")]
    figures = np.array([[row[c] for c in columns] for row in history.rows])
    moments = {f"moment {i}": moment for i, moment in enumerate(trainer.moments)}
    safetensors_files.write(result, net.state() | moments | {"figures": figures}, {})


# -- who kills it ----


class Killer:
    """Starts trainings in a folder and kills them.

    Parameters
    ----------
    home : path
        An empty folder.
    seed : int
        Of the moments.

    Attributes
    ----------
    kills : Counter
        How many, by where they hit: "any moment", or an operation on files.
    rounds : int
        Trainings that were taken to their end, with the right bits.
    refused : int
        Processes that found the folder taken by a rival.
    """

    def __init__(self, home: Path, seed: int) -> None:
        self._home, self._random = home, random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.rounds = self.refused = 0
        self._folder, self._result = home / "run", home / "result"
        began = time.monotonic()
        process = self._start("--result", home / "undisturbed")
        process.communicate()
        if process.returncode:
            raise RuntimeError("the training does not run")
        self._seconds = time.monotonic() - began
        self._expected = (home / "undisturbed").read_bytes()

    def _start(self, *arguments: Any) -> subprocess.Popen[str]:
        environment = dict(os.environ, NUMBA_DISABLE_JIT="1", PYTHONPATH=os.pathsep.join(sys.path))
        command = [sys.executable, __file__, *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def _go_on(self, *arguments: Any) -> subprocess.Popen[str]:
        return self._start("--folder", self._folder, "--result", self._result, *arguments)

    def kill_at_a_moment(self) -> None:
        """Let it train for some time, and kill it."""
        process = self._go_on()
        next(iter(process.stdout or ()))  # it has begun
        time.sleep(self._random.uniform(0, 0.5 * self._seconds))
        process.kill()
        self._look(process, "any moment")

    def kill_at_an_operation(self) -> None:
        """Let it kill itself at one of the next operations on its files."""
        self._look(self._go_on("--die-at", self._random.randrange(1, 60)))

    def _look(self, process: subprocess.Popen[str], where: str = "") -> None:
        """Count the kill, if it came before the end, and see that no checkpoint is broken."""
        self._count(process, where)
        for file in checkpoint_folder.Folder(self._folder, 1).files():
            checkpoint_folder.read(file)
        if self._result.exists():
            self._end()

    def _count(self, process: subprocess.Popen[str], where: str) -> None:
        said = process.communicate()[0].split()
        if process.returncode == -signal.SIGKILL:
            self.kills[where or said[-1]] += 1
        elif process.returncode == REFUSED:
            self.refused += 1
        elif process.returncode:
            raise RuntimeError(f"the training ended with exit code {process.returncode}")

    def start_rivals(self) -> None:
        """Start two at once, kill one of them at some moment, and let the other one go on."""
        rivals = [self._go_on(), self._go_on()]
        for process in rivals:
            next(iter(process.stdout or ()))
        time.sleep(self._random.uniform(0, 0.2 * self._seconds))
        self._random.choice(rivals).kill()
        self._count(rivals[0], "one of two")
        self._look(rivals[1], "one of two")

    def finish(self) -> None:
        """Let it train to its end, unless it is there."""
        if self._folder.exists():
            self._look(self._go_on())

    def _end(self) -> None:
        """Compare the result, and clear the folder for another training."""
        if self._result.read_bytes() != self._expected:
            raise RuntimeError(f"other bits than undisturbed, after {self.kills.total()} kills")
        names = [file.name for file in self._folder.iterdir()]
        known = checkpoint_folder.HISTORY
        if left := [name for name in names if name != known and not name.startswith("step-")]:
            raise RuntimeError(f"left in the folder: {left}")
        self._result.unlink()
        for file in self._folder.iterdir():
            file.unlink()
        self._folder.rmdir()
        self.rounds += 1

    def run(self, kills: int, rivals: int = 0) -> str:
        """Kill so often, half of it at an operation on files; return in words what was seen.

        Then do so for so many rounds with rivals.
        """
        while self.kills.total() < kills:
            if 2 * self.kills["any moment"] <= self.kills.total():
                self.kill_at_a_moment()
            else:
                self.kill_at_an_operation()
        for _ in range(rivals):
            self.start_rivals()
        self.finish()
        told = ", ".join(f"{n} at {where}" for where, n in self.kills.items())
        return (
            f"{self.kills.total()} kills ({told}): no checkpoint broken; {self.rounds} trainings "
            f"ended with the bits of an undisturbed one; {self.refused} rivals were refused"
        )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how many (50)")
    parser.add_argument("--rivals", type=int, default=0, help="rounds with two processes (0)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.result is not None:
        if given.die_at is not None:
            atomic.DISK = Deadly(given.die_at)
        try:
            train(given.folder, given.result)
        except BlockingIOError:
            sys.exit(REFUSED)
        return
    with tempfile.TemporaryDirectory() as home:
        print(Killer(Path(home), given.seed).run(given.kills, given.rivals))


if __name__ == "__main__":
    main()
