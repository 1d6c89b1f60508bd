"""The claims about predictions: captured as eager, as on the CPU, by the weights as they are."""

import logging
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from checks import CROSS_ENTROPY, DTYPES, relative
from claim import Claim, Outcome, told
from device import Gpu, uncaptured
from training import STEPS

import xpnet as xn
from xpnet.backends.capture import CAPTURED
from xpnet.nn.categories import code_columns

#: How often a size is asked for: it is captured the fourth time.
CALLS = 8
#: How far apart CPU and GPU may be.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}

N_FEATURES = 12
LAYERS = [xn.Linear(64), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(32), xn.GELU()]
LAYERS += [xn.Linear(4)]


def predictions(device: Gpu) -> Iterator[Claim]:
    """Predict few rows again and again, on the CPU and on the device, captured and eager."""
    for rows in (1, 10, 100):
        for dtype in DTYPES:
            yield f"{rows} rows as on the CPU, {dtype}", partial(_as_on_cpu, device, rows, dtype)
    yield "members' mean, and each", partial(_members, device)
    yield "what is trained in between counts", partial(_trained, device)
    yield "two threads at once", partial(_threads, device)
    yield "1,000 predictions take no memory", partial(_memory, device)
    for name in STEPS:
        for dtype in DTYPES:
            yield f"captured and eager: {name}, {dtype}", partial(_captured, device, name, dtype)


@lru_cache
def _backends(device: Gpu) -> tuple[Any, Any]:
    """Return one that captures, and one that does not."""
    return device.repeating(lambda replay: replay), device.repeating(uncaptured)


def _features(rows: int = 60) -> Any:
    return np.random.default_rng(rows).standard_normal((rows, N_FEATURES)).astype(np.float32)


def _pair(device: Gpu, dtype: str, **options: Any) -> tuple[Any, Any]:
    """Return the same trained network on the CPU and on the device."""
    options |= {"loss": CROSS_ENTROPY, "n_features": N_FEATURES, "dtype": dtype}
    here = xn.Network(LAYERS, device="cpu", **options)
    X = _features()
    xn.Trainer(here, xn.Adam(0.01)).fit(X, (X[:, 0] > 0) * 1, batch_size=20, epochs=3)
    there = here.clone(_backends(device)[0])
    there.load_state(here.state())
    return here, there


def _ask(net: Any, rows: int, **options: Any) -> list[Any]:
    """Return predictions of so many rows, others each time; they come to the host at the end."""
    draw = np.random.default_rng(rows)
    parts = [draw.standard_normal((rows, N_FEATURES)).astype(np.float32) for _ in range(CALLS)]
    answers = [net.predict_proba(net.backend.asarray(part), **options) for part in parts]
    return [np.array(net.backend.to_host(answer)) for answer in answers]


def _judged(found: Any, expected: Any, dtype: str, lines: list[str], graphs: int) -> Outcome:
    apart, limit = max(map(relative, found, expected)), ROUNDING[dtype]
    told_of = [line for line in lines if "can't be captured" in line]
    count = lines.count(CAPTURED)
    figure = f"{apart:.1e} apart, at most {limit:.0e}; {count} graphs"
    return apart < limit and count == graphs and not told_of, "; ".join([figure, *told_of])


def _as_on_cpu(device: Gpu, rows: int, dtype: str) -> Outcome:
    here, there = _pair(device, dtype)
    with told(logging.DEBUG) as lines:
        found = _ask(there, rows)
    return _judged(found, _ask(here, rows), dtype, lines, 1)


def _members(device: Gpu) -> Outcome:
    here, there = _pair(device, "float32", members=3)
    with told(logging.DEBUG) as lines:
        found = [*_ask(there, 10), *_ask(there, 10, members=True)]
    expected = [*_ask(here, 10), *_ask(here, 10, members=True)]
    return _judged(found, expected, "float32", lines, 1)


def _trained(device: Gpu) -> Outcome:
    """Predict, train both networks' weights further by the same numbers, and predict again."""
    here, there = _pair(device, "float32")
    with told(logging.DEBUG) as lines:
        found = _ask(there, 10)
        with there.backend.active():
            there.parameters *= 1.25
            there.statistics += 0.5
        found += _ask(there, 10)
    expected = _ask(here, 10)
    here.parameters *= 1.25
    here.statistics += 0.5
    return _judged(found, [*expected, *_ask(here, 10)], "float32", lines, 1)


def _threads(device: Gpu) -> Outcome:
    """Predict in two threads; on the stand-in, which notes one graph at a time, in turns."""
    here, there = _pair(device, "float32")
    found: dict[int, Any] = {}

    def ask(rows: int) -> None:
        found[rows] = _ask(there, rows)

    with told(logging.DEBUG) as lines:
        threads = [threading.Thread(target=ask, args=(rows,)) for rows in (3, 5)]
        for thread in threads:
            thread.start()
            if device.dry:
                thread.join()
        for thread in threads:
            thread.join()
    expected = [*_ask(here, 3), *_ask(here, 5)]
    return _judged([*found[3], *found[5]], expected, "float32", lines, 2)


def _memory(device: Gpu) -> Outcome:
    _, there = _pair(device, "float32")
    x, count = there.backend.asarray(_features(10)), device.size(1000, 50)
    with told(logging.DEBUG) as lines:
        for _ in range(2 * CALLS):
            last = there.predict_proba(x)
        before = device.used(), device.free()
        for _ in range(count):
            last = there.predict_proba(x)
        sound = bool(np.isfinite(there.backend.to_host(last)).all())
        after = device.used(), device.free()
    pool, lost = after[0] - before[0], before[1] - after[1]
    figure = f"{count} predictions: arrays grew by {pool} bytes, the device lost {lost}"
    # Others are at work on the device beside this part: what they take is not held against it.
    return CAPTURED in lines and pool <= 0 and sound, figure


def _captured(device: Gpu, name: str, dtype: str) -> Outcome:
    """Predict by each stack of layers that `training` trains."""
    layers, loss, _, _ = STEPS[name]
    found = []
    with told(logging.DEBUG) as lines:
        for backend in _backends(device):
            options = {"n_features": N_FEATURES, "device": backend, "dtype": dtype}
            net, x = xn.Network(layers, loss=loss, **options), _features()
            for column, size in code_columns(net.layers, N_FEATURES).items():
                x[:, column] = np.random.default_rng(column).integers(-1, size + 1, len(x))
            parts = [backend.asarray(x[i : i + 10]) for i in range(CALLS)]
            answers = [net.predict(part) for part in parts]
            found.append([np.array(backend.to_host(answer)) for answer in answers])
    same = all(map(np.array_equal, *found))
    told_of = [line for line in lines if "can't be captured" in line]
    apart, graphs = max(map(relative, *found)), lines.count(CAPTURED)
    figure = "the same bits" if same else f"{apart:.1e} apart"
    return same and graphs == 1 and not told_of, "; ".join([f"{figure}, {graphs} graphs", *told_of])
