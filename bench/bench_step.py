"""How long one training step takes: `Trainer.step` with Adam, the batch on the device already.

Backends stand side by side, in one group for each net, batch and dtype; without a CUDA GPU theirs
are skipped. The times shown are those of one step, and samples per second are the batch over the
median. On a GPU products of rounded factors stand beside those in full precision.
"""

import math
from typing import Any

import pytest
from harness import (
    LARGE_BATCHES,
    LARGE_NETS,
    ROUNDED,
    Pace,
    each_dtype,
    each_place,
    every,
    make_data,
    make_trainer,
    measure,
    note,
    open_backend,
    work,
)


@each_dtype
@each_place()
def test_step(benchmark: Any, pace: Pace, net: str, batch: int, dtype: str, device: str) -> None:
    """Time steps on one batch."""
    _time(benchmark, pace, net, batch, dtype, device)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("batch", [128, 1024, 8192, *LARGE_BATCHES])
@pytest.mark.parametrize("net", ["784-512-256-10", *LARGE_NETS])
@pytest.mark.parametrize("device", ["cuda"])
def test_rounded_step(
    benchmark: Any, pace: Pace, net: str, batch: int, device: str, precision: str
) -> None:
    """Time steps whose products take rounded factors."""
    _time(benchmark, pace, net, batch, "float32", device, precision)


def _time(
    benchmark: Any,
    pace: Pace,
    net: str,
    batch: int,
    dtype: str,
    device: str,
    precision: str = "full",
) -> None:
    backend = open_backend(device, precision)
    about = work(net, batch, dtype) | {"dtype": dtype if precision == "full" else precision}
    note(benchmark, backend, "step", net=net, batch=batch, samples=batch, **about)
    trainer = make_trainer(net, dtype, backend)
    x, y = trainer.network.prepare(*make_data(every(net)[0], batch, dtype))
    measure(benchmark, pace, lambda: trainer.step(x, y), backend.synchronize)
    assert math.isfinite(float(trainer.step(x, y)))
