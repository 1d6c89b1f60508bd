"""What the machine can do at most: its rate of matrix products, and of copying memory.

A step can be no faster than its products at that rate, and one pass over parameters and moments at
that bandwidth: `bench/report.py` says what part of it each step reaches.
"""

from typing import Any

import pytest
from harness import ROUNDED, Pace, each_device, each_dtype, measure, note, open_backend

#: Rows of the square matrices.
SIZE = {"cpu": 2048, "cuda": 8192}
#: Bytes that are read, and as many written: more than any cache has.
COPIED = {"cpu": 2**28, "cuda": 2**31}


@each_device
@each_dtype
def test_product(benchmark: Any, pace: Pace, dtype: str, device: str) -> None:
    """Time the product of two large matrices."""
    _time_product(benchmark, pace, dtype, device)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("device", ["cuda"])
def test_rounded_product(benchmark: Any, pace: Pace, device: str, precision: str) -> None:
    """Time it with rounded factors; the rounding is counted."""
    _time_product(benchmark, pace, "float32", device, precision)


def _time_product(
    benchmark: Any, pace: Pace, dtype: str, device: str, precision: str = "full"
) -> None:
    backend, n = open_backend(device, precision), SIZE[device]
    kind = dtype if precision == "full" else precision
    about = {"flops": 2.0 * n**3, "bytes": 0.0, "dtype": kind}
    note(benchmark, backend, "ceilings", kernel="product", batch=n, samples=1, **about)
    with backend.active():
        xp, product = backend.xp, backend.kernels.product
        # Not all the same number: some devices are quicker with that.
        a = xp.sin(xp.arange(n * n, dtype=dtype)).reshape(n, n)
        out = xp.empty_like(a)
        measure(benchmark, pace, lambda: product(a, a, out), backend.synchronize)


@each_device
@pytest.mark.parametrize("dtype", ["float32"])
def test_copy(benchmark: Any, pace: Pace, dtype: str, device: str) -> None:
    """Time the copying of memory."""
    backend, n = open_backend(device), COPIED[device] // 4
    about = {"flops": 0.0, "bytes": 2.0 * COPIED[device]}
    note(benchmark, backend, "ceilings", kernel="copy", batch=n, dtype=dtype, samples=1, **about)
    with backend.active():
        xp = backend.xp
        a = xp.arange(n, dtype=dtype)
        out = xp.empty_like(a)
        measure(benchmark, pace, lambda: xp.copyto(out, a), backend.synchronize)
