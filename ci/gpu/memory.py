"""The claims about memory: what a step and a fit leave behind, and what happens without any."""

import logging
import math
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from checks import CROSS_ENTROPY, relative
from claim import Claim, Outcome, told
from device import Gpu
from training import examples

import xpnet as xn
from xpnet.backends.capture import CAPTURED


def replays(device: Gpu) -> Iterator[Claim]:
    """Watch the memory: a step that is replayed takes none, and a fit leaves none behind."""
    yield "1,000 replays take no memory", partial(_replays, device)
    yield "fits leave no memory behind", partial(_fits, device)


def _made(backend: Any, width: int, **options: Any) -> Any:
    layers = [xn.Linear(width), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.1), xn.Linear(4)]
    options = {"loss": CROSS_ENTROPY, "n_features": 12, **options}
    return xn.Trainer(xn.Network(layers, device=backend, **options))


def _replays(device: Gpu) -> Outcome:
    backend, count = device.backend(), device.size(1000, 100)
    trainer = _made(backend, 32)
    X, y = examples(CROSS_ENTROPY)
    with told(logging.DEBUG) as lines, backend.active():
        x, labels = trainer.network.prepare(X[:32], y[:32])
        for _ in range(device.size(3000, 40)):  # until as many numbers are computed ahead as ever
            loss = trainer.step(x, labels)
        float(loss)
        before = device.used(), device.free()
        for _ in range(count):
            loss = trainer.step(x, labels)
        last = float(loss)
        after = device.used(), device.free()
    pool, lost = after[0] - before[0], before[1] - after[1]
    figure = f"{count} steps: arrays grew by {pool} bytes, the device lost {lost}"
    return CAPTURED in lines and pool <= 0 and lost <= 0 and math.isfinite(last), figure


def _fits(device: Gpu) -> Outcome:
    backend = device.backend()
    trainer, (X, y) = _made(backend, 32), examples(CROSS_ENTROPY)
    taken = []
    for _ in range(4):
        trainer.fit(X, y, batch_size=20, epochs=3)
        taken.append(device.used())
    return taken[-1] <= taken[1], f"bytes held after each of four fits: {taken}"


def memory(device: Gpu) -> Iterator[Claim]:
    """Ask for more than the device has: it is told, and nothing is lost by it."""
    yield "the device's own refusal is known", partial(_refusal, device)
    yield "a batch that does not fit is told, and a smaller one trains", partial(_full, device)
    yield "micro_batches='auto' trains on it", partial(_in_micro_batches, device)
    yield "predictions come in smaller pieces", partial(_predictions, device)


def _refusal(device: Gpu) -> Outcome:
    # A GPU is asked itself; the stand-in has to be given an end.
    with device.room(device.size(0, 2**20)) as backend, backend.active():
        try:
            backend.xp.zeros(2**24 if device.dry else 2**42, np.float64)
        except Exception as error:
            figure = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            return backend.is_out_of_memory(error), figure
    return False, "no error was raised"


def _large(device: Gpu) -> tuple[Any, Any, int, int]:
    """Return data, the width of a layer, and how many bytes are too few for all of it at once."""
    n, width = device.size(200_000, 2000), device.size(512, 32)
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, 12)).astype(np.float32)
    return X, (X[:, 0] > 0) * 1 + (X[:, 1] > 0), width, int(n * width * 4 * 1.5)


def _full(device: Gpu) -> Outcome:
    X, y, width, nbytes = _large(device)
    trainer = _made(device.backend(), width)
    with device.room(nbytes):
        try:
            trainer.fit(X, y, batch_size=len(X), epochs=1, monitor=0)
        except xn.OutOfMemoryError as error:
            said = str(error)
        else:
            return False, "no error was raised: was there room for it?"
        history = trainer.fit(X, y, batch_size=len(X) // 50, epochs=1, monitor=0)
    return "batch_size" in said and np.isfinite(history["train_loss"]).all(), said


def _in_micro_batches(device: Gpu) -> Outcome:
    X, y, width, nbytes = _large(device)
    trainer = _made(device.backend(), width)
    with device.room(nbytes), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = trainer.fit(X, y, batch_size=len(X), epochs=1, monitor=0, micro_batches="auto")
    said = [str(w.message) for w in caught if "micro-batches" in str(w.message)]
    return bool(said) and np.isfinite(history["train_loss"]).all(), "; ".join(said) or "not told"


def _predictions(device: Gpu) -> Outcome:
    X, _, width, nbytes = _large(device)
    net = _made(device.backend(), width).network
    expected = net.predict_proba(X)
    device.backend().release_memory()
    with device.room(nbytes):
        found = net.predict_proba(X)
    apart = relative(found, expected)
    return apart < 1e-5, f"{len(X):,} rows, {apart:.1e} apart"
