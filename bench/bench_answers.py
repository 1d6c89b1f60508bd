"""Predictions against the rest: `Network.predict_proba` and others' in turns, as ratios to ours.

A ratio is a rival's time over ours: above 1 we are faster. Two callers are threads that ask one
network at the same time; they are measured by one caller.
"""

import warnings
from typing import Any

import numpy as np
import pytest
from harness import Pace, make_data, make_network, note, open_backend, race
from predict_rivals import OneCaller, Ours, TwoCallers, line_up

from xpnet import Network

NETS = {"64-128-64-10": (64, 128, 64, 10), "784-512-256-10": (784, 512, 256, 10)}

on_cpu = pytest.mark.parametrize("device", ["cpu"])
each_net = pytest.mark.parametrize("net", NETS)
each_batch = pytest.mark.parametrize("batch", [1, 10, 32, 100, 1000])


def _noted(benchmark: Any, net: str, batch: int, device: str, case: str) -> tuple[Network, Any]:
    """Return a network and examples, and say in the benchmark what they are."""
    backend = open_backend(device)
    about = {"net": f"{net}{case}", "batch": batch, "dtype": "float32", "samples": batch}
    note(benchmark, backend, "answers", **about)
    return make_network(NETS[net], False, "float32", backend), make_data(
        NETS[net], batch, "float32"
    )[0]


def _race(benchmark: Any, pace: Pace, ours: Any, rivals: dict[str, Any]) -> None:
    race(benchmark, pace, ours, rivals)
    for name, found in benchmark.extra_info.get("rivals", {}).items():
        found["version"] = rivals[name].version


@each_batch
@each_net
@on_cpu
def test_answers(benchmark: Any, pace: Pace, net: str, batch: int, device: str) -> None:
    """Race on a batch."""
    network, x = _noted(benchmark, net, batch, device, "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own affairs
        rivals, benchmark.extra_info["absent"] = line_up(network, x)
        for rival in rivals.values():
            np.testing.assert_allclose(rival.step(), network.predict_proba(x), atol=1e-5)
        _race(benchmark, pace, Ours(network, x), rivals)


@each_batch
@each_net
@on_cpu
def test_two_callers(benchmark: Any, pace: Pace, net: str, batch: int, device: str) -> None:
    """Race two threads against one: twice the answers in the same time have ratio 1."""
    network, x = _noted(benchmark, net, batch, device, ", by threads")
    benchmark.extra_info["absent"] = {}
    two = TwoCallers(network, x)
    _race(benchmark, pace, OneCaller(network, x), {two.name: two})
