"""How long one training step takes: `Trainer.step` with Adam, the batch on the device already.

Backends stand side by side, in one group for each net, batch and dtype; without a CUDA GPU theirs
are skipped. The times shown are those of one step, and samples per second are the batch over the
median.
"""

import math
from typing import Any

from harness import (
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
    backend = open_backend(device)
    about = work(net, batch, dtype)
    note(benchmark, backend, "step", net=net, batch=batch, dtype=dtype, samples=batch, **about)
    trainer = make_trainer(net, dtype, backend)
    x, y = trainer.network.admit(*make_data(every(net)[0], batch, dtype))
    measure(benchmark, pace, lambda: trainer.step(x, y), backend.synchronize)
    assert math.isfinite(float(trainer.step(x, y)))
