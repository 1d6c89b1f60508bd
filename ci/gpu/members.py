"""The claims about many networks in one step: each is what it is alone, and a step is one graph."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from checks import DTYPES, relative
from claim import CannotTellError, Claim, Outcome, told
from device import Gpu, uncaptured

import xpnet as xn
from xpnet.backends.capture import CAPTURED

#: What members have of their own: one value each.
DROPPED, SMOOTHING = (0.1, 0.3, 0.0, 0.5), (0.0, 0.1, 0.0, 0.2)
RATES, BETAS = (3e-3, 1e-3, 1e-2, 3e-4), (0.9, 0.8, 0.9, 0.0)
L2, LIMITS = (0.0, 0.01, 0.1, 0.0), (1.0, 5.0, 0.5, 1e6)
COUNT = len(RATES)

#: How far apart the curves of a member and of the network alone may be.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}

N_FEATURES, BATCH = 12, 32


def members(device: Gpu) -> Iterator[Claim]:
    """Compare members with networks alone, captured with eager, and products one by one."""
    for dtype in DTYPES:
        yield f"a member is the network alone, {dtype}", partial(_alone, device, dtype)
    for dtype in DTYPES:
        yield f"a step of all members is one graph, {dtype}", partial(_graph, device, dtype)
    for precision, limit in (("full", 2e-6), ("tf32", 2e-3), ("bfloat16", 2e-2)):
        for shared in (False, True):
            what = "a batch for all" if shared else "batches of their own"
            yield (
                f"members' products in precision {precision}, {what}",
                partial(_products, device, precision, limit, shared),
            )
    yield "members' biases are added within their products", partial(_epilogues, device)


def _trainer(backend: Any, dtype: str, member: int | None = None) -> Any:
    """Return the trainer of all members, or of one of them alone."""

    def own(values: tuple[float, ...]) -> Any:
        return values if member is None else values[member]

    hidden = [xn.Linear(32), xn.BatchNorm(), xn.ReLU(), xn.Dropout(own(DROPPED))]
    layers = [*hidden, xn.Linear(16), xn.GELU(), xn.Dropout(0.2), xn.Linear(4)]
    options = {"n_features": N_FEATURES, "device": backend, "dtype": dtype}
    options |= {"members": COUNT, "random_state": 5} if member is None else {}
    options |= {} if member is None else {"random_state": 5 + member}
    loss = xn.SoftmaxCrossEntropy(own(SMOOTHING))
    optimizer = xn.AdamW(own(RATES), beta_1=own(BETAS), weight_decay=0.01)
    net = xn.Network(layers, loss=loss, **options)
    return xn.Trainer(net, optimizer, l2=own(L2), clip_norm=own(LIMITS))


def _curve(trainer: Any, steps: int) -> Any:
    """Return the losses of each step; every fifth batch is a short one."""
    draw, losses = np.random.default_rng(0), []
    for i in range(steps):
        n = BATCH if i % 5 < 4 else BATCH // 4
        x = draw.standard_normal((n, N_FEATURES))
        y = (x[:, 0] * x[:, 1] > 0) + 2 * (x[:, 2] > 0)
        losses.append(np.array(trainer.backend.to_host(trainer.step(x, y))))
    return np.array(losses)


def _alone(device: Gpu, dtype: str) -> Outcome:
    backend, steps = device.backend(), device.size(40, 10)
    together = _curve(_trainer(backend, dtype), steps)
    alone = [_curve(_trainer(backend, dtype, i), steps) for i in range(COUNT)]
    apart = max(float(np.max(np.abs(together[:, i] / curve - 1))) for i, curve in enumerate(alone))
    limit = ROUNDING[dtype]
    return apart < limit, f"{COUNT} curves are {apart:.1e} apart, at most {limit:.0e}"


def _graph(device: Gpu, dtype: str) -> Outcome:
    """Train captured and eager: the same bits, and a graph for each size of a batch."""
    steps, found = device.size(40, 20), []
    with told(logging.DEBUG) as lines:
        for how in (lambda replay: replay, uncaptured):
            backend = device.repeating(how)
            trainer = _trainer(backend, dtype)
            losses = _curve(trainer, steps)
            arrays = trainer.network.parameters, trainer.network.statistics, *trainer.moments
            found.append([losses, *(np.array(backend.to_host(array)) for array in arrays)])
    same = all(map(np.array_equal, *found))
    graphs = lines.count(CAPTURED)
    refused = [line for line in lines if "can't be captured" in line]
    apart = max(map(relative, *found))
    figure = f"{graphs} graphs for 2 sizes of a batch, {apart:.1e} apart"
    return same and 0 < graphs <= 4 and not refused, "; ".join([figure, *refused])


def _products(device: Gpu, precision: str, limit: float, shared: bool) -> Outcome:
    """Multiply by weights that lie in a flat buffer of each member's, forward and backward."""
    backend, draw = device.backend(precision=precision), np.random.default_rng(0)
    k, n, m = 5, device.size(256, 16), device.size(512, 24)
    flat = draw.standard_normal((k, m * m + 3)).astype(np.float32)
    x, dy = (draw.standard_normal((k, n, m)).astype(np.float32) for _ in range(2))
    x = x[0] if shared else x
    host = flat[:, : m * m].reshape(k, m, m)
    kernels, found = backend.kernels, []
    with backend.active():
        weight = backend.asarray(flat)[:, : m * m].reshape(k, m, m)
        d_weight = backend.xp.zeros(flat.shape, np.float32)[:, : m * m].reshape(k, m, m)
        a, d = backend.asarray(x), backend.asarray(dy)
        out, dx = (backend.xp.empty((k, n, m), np.float32) for _ in range(2))
        kernels.product(a, weight.swapaxes(-1, -2), out)
        kernels.weight_gradient(d, a, d_weight)
        kernels.input_gradient(d, weight, dx)
        found = [np.array(backend.to_host(array.copy())) for array in (out, d_weight, dx)]
    x, dy, host = (array.astype(np.float64) for array in (x, dy, host))
    expected = x @ host.swapaxes(-1, -2), dy.swapaxes(-1, -2) @ x, dy @ host
    apart = max(map(relative, found, expected))
    return apart < limit, f"relative error {apart:.1e}, at most {limit:.0e}"


def _epilogues(device: Gpu) -> Outcome:
    kernels = device.repeating(lambda replay: replay).kernels
    right = getattr(kernels, "_right", None)
    if right is None:
        raise CannotTellError(f"{type(kernels).__name__} has no products with biases")
    several = sorted(f"{name} in float{32 if c == 'f' else 64}" for c, name, n in right if n == 3)
    return bool(several), ", ".join(several) or "cuBLASLt has none that are right"
