"""How long one training step takes, on every backend there is.

Run the suite on one BLAS thread, from the repository's root (on a CPU about a minute)::

    OPENBLAS_NUM_THREADS=1 pytest bench

A part of it, and the results as a Markdown table::

    OPENBLAS_NUM_THREADS=1 pytest bench -k "64-128-128-10 and cpu" --benchmark-json=step.json
    python bench/report.py step.json

Backends stand side by side, in one group for each net and batch; without a CUDA GPU theirs are
skipped. `ci/gpu.sh` runs all this on a machine that has one.

What is timed is `Trainer.step`: float32, Adam, the batch on the device already. A round is as many
steps as take some 20 ms, and ends with a wait for the device: in between the host runs ahead of a
GPU, as it does in `Trainer.fit`. The times shown are those of one step, and samples per second are
the batch over the median.
"""

import math
import time
from itertools import cycle, repeat
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.backend import why_no_cuda

BATCHES = (1, 8, 32, 128, 512, 2048, 8192)
NETS = {
    "64-128-128-10": ((64, 128, 128, 10), False),
    "784-512-256-10": ((784, 512, 256, 10), False),
    "784-512-256-10 batch norm": ((784, 512, 256, 10), True),
}
#: Batch norm has nothing to normalise in a batch of one.
CASES = [(net, n) for net, (_, norm) in NETS.items() for n in BATCHES if n > 1 or not norm]
BACKENDS = {"cpu": "NumPy", "cuda": "CuPy"}

ROUND, CASE = 0.02, 2.0  # seconds
ROUNDS = (7, 100)  # at least and at most


def make_trainer(widths: tuple[int, ...], norm: bool, device: str) -> xn.Trainer:
    """Return a trainer of a ReLU net.

    The rate is too small to change a weight, so that every step does the same work. At a usual
    rate thousands of steps on one batch drive gradients and moments to zero, through denormal
    numbers, which a CPU is slow at.
    """
    layers: list[xn.Layer] = []
    for width in widths[1:-1]:
        layers += [xn.Linear(width), *([xn.BatchNorm()] if norm else []), xn.ReLU()]
    net = xn.Network(
        [*layers, xn.Linear(widths[-1])],
        loss="softmax_cross_entropy",
        n_features=widths[0],
        device=device,
        dtype="float32",
    )
    return xn.Trainer(net, xn.Adam(learning_rate=1e-12))


def warm_up(trainer: xn.Trainer, x: Any, y: Any) -> float:
    """Make a few steps until the buffers, kernels and caches are there; return one's seconds."""
    least, began = math.inf, time.perf_counter()
    for done in range(1000):
        start = time.perf_counter()
        trainer.step(x, y)
        trainer.backend.synchronize()
        now = time.perf_counter()
        least = min(least, now - start)
        if done >= 2 and now - began > 0.1:
            break
    return least


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize(("net", "batch"), CASES, ids=[f"{net}, {n}" for net, n in CASES])
def test_step(benchmark: Any, net: str, batch: int, device: str) -> None:
    """Time steps on one batch."""
    if device == "cuda" and why_no_cuda() is not None:
        pytest.skip(f"CUDA: {why_no_cuda()}")
    widths, norm = NETS[net]
    trainer = make_trainer(widths, norm, device)
    backend = trainer.backend
    benchmark.group = f"{net}, batch {batch}"
    benchmark.extra_info |= {
        "net": net,
        "batch": batch,
        "backend": BACKENDS[device],
        "device": backend.describe(),
        "dtype": "float32",
    }
    draw = np.random.default_rng(0)
    features = draw.standard_normal((batch, widths[0]), dtype=np.float32)
    x, y = trainer.network.admit(features, draw.integers(0, widths[-1], batch))

    seconds = warm_up(trainer, x, y)
    steps = max(1, math.ceil(ROUND / seconds))
    rounds = min(max(ROUNDS[0], int(CASE / (steps * seconds))), ROUNDS[1])
    # The last of a round's steps waits for the device.
    waits = cycle([*repeat(lambda: None, steps - 1), backend.synchronize])

    def step() -> None:
        trainer.step(x, y)
        next(waits)()

    benchmark.pedantic(step, rounds=rounds, iterations=steps, warmup_rounds=1)
    assert math.isfinite(float(trainer.step(x, y)))
