"""How long an epoch takes: `Trainer.fit`, which checks, shuffles, gathers and feeds the data.

The data lie on the host at the start, as a user's do. No errors are measured after the epoch
(``monitor=0``), so it is the time of the training alone.
"""

import math
from typing import Any

from harness import (
    NETS,
    Pace,
    each_case,
    each_device,
    make_data,
    make_trainer,
    measure,
    note,
    open_backend,
)

EXAMPLES = 8192


@each_device
@each_case(batches=(32, 128, 1024))
def test_epoch(benchmark: Any, pace: Pace, net: str, batch: int, device: str) -> None:
    """Time a fit of one epoch."""
    backend = open_backend(device)
    note(benchmark, backend, "epoch", net=net, batch=batch, dtype="float32", samples=EXAMPLES)
    trainer = make_trainer(net, "float32", backend)
    X, y = make_data(NETS[net][0], EXAMPLES, "float32")

    def epoch() -> None:
        trainer.fit(X, y, batch_size=batch, epochs=1, monitor=0)

    measure(benchmark, pace, epoch, backend.synchronize)
    assert math.isfinite(trainer.history["train_loss"][-1])
