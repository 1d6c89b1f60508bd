"""The path of a mini-batch: every call of the library's that one step of a fit makes, in order.

python bench/path.py              # through the kernels that there are
python bench/path.py --reference  # through the reference
"""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import xpnet as xn

PACKAGE = Path(xn.__file__).parent


def path(fused: bool = True) -> list[tuple[str, str]]:
    """Return file and function of each call between a batch and the next, in the midst of a fit.

    The network is 64-128-128-10 with ReLUs, trained by Adam.
    """
    layers = [xn.Linear(128), xn.ReLU(), xn.Linear(128), xn.ReLU(), xn.Linear(10)]
    net = xn.Network(layers, loss="softmax_cross_entropy", n_features=64, device="cpu", fused=fused)
    trainer = xn.Trainer(net)
    draw = np.random.default_rng(0)
    X, y = draw.standard_normal((320, 64)), draw.integers(0, 10, 320)
    trainer.fit(X, y, batch_size=32, epochs=1, monitor=0)
    calls: list[tuple[str, str]] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_qualname
        # Before 3.12 comprehensions, and what Numba has compiled, are told as calls too.
        if event != "call" or name.endswith("comp>") or file.name == "numba_loops.py":
            return
        if file.is_relative_to(PACKAGE):
            calls.append((str(file.relative_to(PACKAGE)), name))

    sys.setprofile(watch)
    trainer.fit(X, y, batch_size=32, epochs=1, monitor=0)
    sys.setprofile(None)
    # A batch begins where the generator of batches goes on: what comes before and after is none.
    begins = [i for i, (_, name) in enumerate(calls) if name == "Batches.epoch"]
    return calls[begins[4] : begins[5]]


def show(calls: list[tuple[str, str]]) -> str:
    """Return the calls as lines, one for each stay in a file, and what they add up to."""
    stays = [(file, [name for _, name in stay]) for file, stay in groupby(calls, lambda c: c[0])]
    width = max(len(file) for file, _ in stays)
    lines = [f"{file:{width}}  {' · '.join(names)}" for file, names in stays]
    files = len({file for file, _ in calls})
    return "\n".join([*lines, "", f"{len(calls)} calls, {files} files, {len(stays) - 1} changes"])


def main() -> None:
    """Print the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="store_true", help="through the reference kernels")
    print(show(path(fused=not parser.parse_args().reference)))


if __name__ == "__main__":
    main()
