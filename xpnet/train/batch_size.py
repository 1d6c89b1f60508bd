"""Which batch size a fit of a trainer is made with, as it is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .._typing import Array
from ..throughput.measuring import Feeding, choose
from ..throughput.timing import BatchSize

if TYPE_CHECKING:
    from .trainer import Trainer

#: A rate that changes no weight, so that every step does the same work and no number is driven to
#: zero, through denormal ones, which a CPU is slow at.
TINY = 1e-12


def measure_batch_sizes(trainer: Trainer, x: Array, labels: Array, epochs: int) -> BatchSize:
    """Do what `Trainer.choose_batch_size` says, on a prepared data set; copies are timed."""

    def copy() -> tuple[Callable[[Array, Array], Array], Trainer]:
        gentle = replace(trainer.optimizer, learning_rate=TINY)
        options = trainer.update_step.factors.options
        given = trainer.network.clone(), gentle, trainer.l2, trainer.clip_norm
        other = type(trainer)(*given, **options)
        return other.step, other

    bench, requests = Feeding(copy, x, labels, trainer.backend), trainer.requests
    return choose(bench, x.shape[0], epochs, stop=lambda: bool(requests.stop or requests.interrupt))
