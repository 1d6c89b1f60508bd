"""The BLAS that NumPy uses: what it is, and products in the blocks in which it is quick."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np

from .._typing import Array, Namespace
from ..locks import defer_fork

#: NumPy, as an array namespace: its own types know no arrays but its own.
host = cast(Namespace, np)

#: OpenBLAS's kernels with AVX-512, by its names for processors. They have others for products of up
#: to so many multiplications, which take matrices as they lie, on one thread.
WITH_SMALL_KERNELS = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
SMALL_PRODUCT = 10**6

#: Rows or columns of the blocks in which a larger product is computed.
BLOCKS = (128, 64, 32, 16)


class Blas(NamedTuple):
    """How NumPy's BLAS computes.

    Attributes
    ----------
    quick : bool
        Whether it is quick with small products.
    splits : bool
        Whether larger ones gain by being computed as small ones: on one thread.
    """

    quick: bool
    splits: bool


@cache
def blas() -> Blas:
    """Return how NumPy's BLAS computes, as it was when first asked since the last limit."""
    pools = pools_of_numpy()
    quick = any(
        pool["internal_api"] == "openblas" and pool.get("architecture") in WITH_SMALL_KERNELS
        for pool in pools
    )
    return Blas(quick, quick and all(pool["num_threads"] == 1 for pool in pools))


@defer_fork()  # threadpoolctl has locks of its own, and so has its import
def pools_of_numpy() -> list[dict[str, Any]]:
    """Return what threadpoolctl says of NumPy's BLAS."""
    import threadpoolctl

    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    # SciPy may bring another copy, which is loaded sooner or later.
    return [pool for pool in pools if "numpy" in pool["filepath"]] or pools


def describe_blas() -> str:
    """Return which BLAS NumPy uses, what processor for and on how many threads, as far as known."""
    told = []
    for pool in pools_of_numpy():
        name = " ".join(str(pool[k]) for k in ("internal_api", "version") if pool.get(k))
        kind = f" for {pool['architecture']}" if pool.get("architecture") else ""
        told.append(f"{name}{kind} on {threads_in_words(pool['num_threads'])}")
    return " and ".join(told) or "a BLAS that does not tell its threads"


def threads_in_words(n: int | None) -> str:
    """Return a number of threads in words.

    Examples
    --------
    >>> threads_in_words(1), threads_in_words(2)
    ('1 thread', '2 threads')
    """
    return f"{n} thread{'s' * (n != 1)}"


def matmul(a: Array, b: Array, out: Array) -> None:
    """Out ← a b, in blocks of rows or columns where that is faster."""
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if rows * inner * columns <= SMALL_PRODUCT or not blas().splits:
        host.matmul(a, b, out=out)
    elif rows >= columns:
        _by_rows(a, b, out, inner * columns)
    else:
        _by_rows(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out.swapaxes(-1, -2), inner * rows)


def _by_rows(a: Array, b: Array, out: Array, each: int) -> None:
    """Out ← a b, in blocks of rows if they can be small ones; ``each`` is what a row takes."""
    size = next((block for block in BLOCKS if block * each <= SMALL_PRODUCT), 0)
    rows = a.shape[-2]
    whole = rows // size * size if size else 0
    if whole:
        blocks = (
            array[..., :whole, :].reshape(*array.shape[:-2], -1, size, array.shape[-1])
            for array in (a, out)
        )
        first, written = blocks
        host.matmul(first, b[..., None, :, :], out=written)
    if whole < rows:
        host.matmul(a[..., whole:, :], b, out=out[..., whole:, :])
