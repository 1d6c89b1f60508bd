"""The claims about the device itself and its kernels; and what all claims compare with."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from claim import Claim, Outcome, told
from device import Gpu

DTYPES = ("float32", "float64")
CROSS_ENTROPY = "softmax_cross_entropy"


def relative(found: Any, expected: Any) -> float:
    """Return ‖found − expected‖ over ‖expected‖, at least the smallest number; NaN if one is."""
    found, expected = (np.asarray(a, np.float64) for a in (found, expected))
    norm = max(float(np.linalg.norm(expected)), np.finfo(np.float64).tiny)
    return float(np.linalg.norm(found - expected)) / norm


# -- the machine ----


def machine(device: Gpu) -> Iterator[Claim]:
    """Find the device, compile and run a kernel, multiply in each precision."""
    yield "the device is found", lambda: (True, device.facts()["device"], device.facts())
    for dtype in DTYPES:
        yield f"a kernel is compiled and runs, {dtype}", partial(_compiles, device, dtype)
    yield "cuBLAS and cuBLASLt are found", partial(_products, device)
    for precision, limit in (("full", 2e-6), ("tf32", 2e-3), ("bfloat16", 2e-2)):
        yield f"products in precision {precision}", partial(_precision, device, precision, limit)


def _compiles(device: Gpu, dtype: str) -> Outcome:
    backend = device.backend()
    seconds = []
    with backend.active():
        x = backend.xp.ones((64, 32), dtype)
        out = backend.xp.zeros((1, 32), dtype)
        for _ in range(2):
            began = time.perf_counter()
            backend.kernels.sum_examples(x, out)
            backend.synchronize()
            seconds.append(time.perf_counter() - began)
    right = bool((backend.to_host(out) == 64).all())
    return right, f"{seconds[0]:.2f} s the first time, {1e6 * seconds[1]:.0f} µs the second"


def _products(device: Gpu) -> Outcome:
    with told() as lines:
        kind = type(device.repeating(lambda replay: replay).kernels).__name__
    return not lines, "; ".join([kind, *lines])


def _precision(device: Gpu, precision: str, limit: float) -> Outcome:
    backend = device.backend(precision=precision)
    draw, n = np.random.default_rng(0), device.size(1024, 48)
    a, b = (draw.standard_normal((n, n)).astype(np.float32) for _ in range(2))
    with backend.active():
        out = backend.xp.empty((n, n), np.float32)
        backend.kernels.product(backend.asarray(a), backend.asarray(b), out)
    apart = relative(backend.to_host(out), a.astype(np.float64) @ b)
    return apart < limit, f"relative error {apart:.1e}, at most {limit:.0e}"


# -- kernels ----


def kernels(device: Gpu) -> Iterator[Claim]:
    """Compare each kernel that the device has of its own, in both precisions."""
    import parity

    for name in parity.replaced(device.backend()):
        together = [parity.members(*pair) for pair in parity.TOGETHER.get(name, ())]
        together += parity.OF_MEMBERS.get(name, [])
        for dtype in DTYPES:
            yield f"{name}, {dtype}", partial(_kernel, device, name, parity.CASES[name], dtype)
            of_members = partial(_kernel, device, name, together, dtype)
            if together:
                yield f"{name} of members, {dtype}", of_members


def _kernel(device: Gpu, name: str, cases: Any, dtype: str) -> Outcome:
    """Compare in each way there is to call it, on one shape."""
    import parity

    shape = (40, 300, 130) if not device.dry else (5, 3, 9)
    furthest = max(parity.compare(device.backend(), name, case, shape, dtype) for case in cases)
    figure = f"{len(cases)} cases, {furthest:.1f} units of precision apart, at most {parity.ULPS}"
    return True, figure, {"units": furthest}
