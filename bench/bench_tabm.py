"""TabM, ours against the package: one training step, in turns, as ratios to ours.

``products`` are those between hidden layers alone, which no step can do without.
"""

import gc
import warnings
from typing import Any

import numpy as np
import pytest
from harness import Pace, each_device, note, open_backend, race
from tabm_rivals import Ours, Products, Shape, Tabm, make_network

from xpnet.analysis.profiling import flops

SHAPES = {
    "TabM, 16-512-512-512-3": Shape(16, 3),
    "TabM, 100-512-512-512-3": Shape(100, 3),
    "TabM, 16-128-128-128-3": Shape(16, 3, width=128),
}


@each_device
@pytest.mark.parametrize("batch", [32, 256])
@pytest.mark.parametrize("net", SHAPES)
def test_tabm(benchmark: Any, pace: Pace, net: str, batch: int, device: str) -> None:
    """Race at one step in float32."""
    backend, shape = open_backend(device), SHAPES[net]
    gc.collect()
    backend.release_memory()
    network = make_network(shape, "float32", backend)
    about = {"net": net, "batch": batch, "dtype": "float32", "samples": batch}
    note(benchmark, backend, "tabm", flops=batch * flops(network, "training"), **about)
    draw = np.random.default_rng(0)
    x = draw.standard_normal((batch, shape.n_features)).astype("float32")
    y = draw.integers(0, shape.n_classes, batch).astype(np.int32)
    rivals: dict[str, Any] = {"products": Products(network, shape, batch)}
    why = Tabm.why_not(device)
    benchmark.extra_info["absent"] = {"tabm": why} if why else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own affairs
        if not why:
            rivals["tabm"] = Tabm(network, shape, x, y)
        race(benchmark, pace, Ours(network, x, y), rivals)
    for name, found in benchmark.extra_info.get("rivals", {}).items():
        found["version"] = rivals[name].version
