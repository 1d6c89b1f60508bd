"""Ours against the rest: one training step, all contestants in turns, as ratios to ours.

A ratio is a rival's time over ours: above 1 we are faster. ``products`` are a step's matrix
products alone, so its ratio is below 1 and says what part of the step they are. Who is not
installed, can't do it or fails is left out by name.
"""

import gc
import warnings
from typing import Any

import pytest
from harness import (
    BATCHES,
    Pace,
    each_case,
    each_device,
    each_place,
    every,
    make_data,
    make_network,
    note,
    open_backend,
    race,
    work,
)
from rivals import Ours, make_task, try_out

NAMES = ("64-128-128-10", "784-512-256-10", "784-512-256-10, batch norm")


def _race(benchmark: Any, pace: Pace, net: str, batch: int, dtype: str, device: str) -> None:
    backend = open_backend(device)
    gc.collect()
    backend.release_memory()  # of the race before: PyTorch and JAX keep theirs
    about = work(net, batch, dtype)
    note(benchmark, backend, "rivals", net=net, batch=batch, dtype=dtype, samples=batch, **about)
    widths, norm = every(net)
    network = make_network(widths, norm, dtype, backend)
    task = make_task(network, norm, *make_data(widths, batch, dtype), rate=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own affairs
        rivals, absent = try_out(network, task)
        benchmark.extra_info["absent"] = absent
        race(benchmark, pace, Ours(network, task), rivals)
    versions = {name: rival.version for name, rival in rivals.items()}
    for name, found in benchmark.extra_info.get("rivals", {}).items():
        found["version"] = versions[name]


@pytest.mark.parametrize("dtype", ["float32"])
@each_place(BATCHES, NAMES)
def test_rivals(benchmark: Any, pace: Pace, net: str, batch: int, dtype: str, device: str) -> None:
    """Race on a net in float32."""
    _race(benchmark, pace, net, batch, dtype, device)


@each_device
@pytest.mark.parametrize("dtype", ["float64"])
@each_case((32, 512), NAMES)
def test_rivals_float64(
    benchmark: Any, pace: Pace, net: str, batch: int, dtype: str, device: str
) -> None:
    """Race on a net in float64, at fewer sizes."""
    _race(benchmark, pace, net, batch, dtype, device)
