"""Many networks in one step, against a step of each, JAX's ``vmap``, and the products alone.

All contestants train k networks on one batch that they share, in turns; a ratio is the other's time
over ours. ``one by one`` steps one network k times, which thereby stays in the cache. ``products``
are a step's products, all members' in one call each.
"""

import gc
import warnings
from typing import Any

import pytest
from harness import (
    Pace,
    each_device,
    every,
    make_data,
    make_network,
    note,
    open_backend,
    race,
    work,
)
from rivals import OF_MEMBERS, Ours, make_task, try_out


@each_device
@pytest.mark.parametrize("dtype", ["float32"])
@pytest.mark.parametrize("members", [8, 32])
@pytest.mark.parametrize("batch", [1, 8, 32, 128, 256])
@pytest.mark.parametrize("net", ["64-128-128-10"])
def test_members(
    benchmark: Any, pace: Pace, net: str, batch: int, members: int, dtype: str, device: str
) -> None:
    """Race on k networks."""
    backend = open_backend(device)
    gc.collect()
    backend.release_memory()
    about = {key: members * value for key, value in work(net, batch, dtype).items()}
    name = f"{members} of {net}"
    about |= {"net": name, "batch": batch, "dtype": dtype, "samples": members * batch}
    note(benchmark, backend, "members", **about)
    widths, norm = every(net)
    network = make_network(widths, norm, dtype, backend, members)
    task = make_task(network, norm, *make_data(widths, batch, dtype), rate=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own affairs
        rivals, absent = try_out(network, task, OF_MEMBERS)
        benchmark.extra_info["absent"] = absent
        race(benchmark, pace, Ours(network, task), rivals)
    for name, found in benchmark.extra_info.get("rivals", {}).items():
        found["version"] = rivals[name].version
