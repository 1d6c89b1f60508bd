"""Products in blocks, and matrices that are turned around for them: the same numbers come out."""

import numpy as np
import pytest

from xpnet.backends import blas, numpy_backend
from xpnet.backends.numpy_backend import NumpyBackend, Room, Turning
from xpnet.backends.select import select, why_not_compiled

numba_kernels = None
if why_not_compiled() is None:
    from xpnet.backends import numba_kernels

QUICK = blas.Blas(quick=True, splits=True)


@pytest.fixture(params=[2_000, 10_000])
def small(request, monkeypatch):
    """Have products of more multiplications than that computed in blocks, whatever the BLAS."""
    for module in (blas, numpy_backend):
        monkeypatch.setattr(module, "blas", lambda: QUICK)
        monkeypatch.setattr(module, "SMALL_PRODUCT", request.param)
    return request.param


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("leading_shape", [(), (3,)])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(70, 9, 5), (5, 9, 70), (64, 3, 40), (33, 1, 33), (2000, 1, 1)]
)
def test_a_product_in_blocks_is_the_product(
    small, rows, inner, columns, turned, leading_shape, shared
):
    def drawn(name, n, m, leading_shape):
        a = draw.standard_normal((*leading_shape, *((m, n) if name in turned else (n, m))))
        return a.swapaxes(-1, -2) if name in turned else a

    draw = np.random.default_rng(0)
    a = drawn("a", rows, inner, () if shared else leading_shape)
    b = drawn("b", inner, columns, leading_shape)
    room = np.full((*leading_shape, rows * columns + 3), np.nan)
    out = room[..., : rows * columns].reshape(*leading_shape, rows, columns)
    blas.matmul(a, b, out)
    np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-12)
    assert np.isnan(room[..., rows * columns :]).all()


def test_blas_is_asked_once_and_is_quick_only_if_it_splits():
    assert blas.blas() is blas.blas()
    assert blas.blas().quick or not blas.blas().splits


def test_of_a_blas_that_does_not_tell_nothing_is_split(monkeypatch):
    monkeypatch.setattr(blas, "pools_of_numpy", list)
    assert blas.blas.__wrapped__() == blas.Blas(quick=False, splits=False)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({"internal_api": "openblas", "architecture": "SkylakeX", "num_threads": 1}, QUICK),
        (
            {"internal_api": "openblas", "architecture": "SkylakeX", "num_threads": 2},
            blas.Blas(quick=True, splits=False),
        ),
        (
            {"internal_api": "openblas", "architecture": "Haswell", "num_threads": 1},
            blas.Blas(quick=False, splits=False),
        ),
        ({"internal_api": "mkl", "num_threads": 1}, blas.Blas(quick=False, splits=False)),
    ],
    ids=["AVX-512", "two threads", "AVX2", "MKL"],
)
def test_which_blas_is_quick(monkeypatch, pool, expected):
    monkeypatch.setattr(blas, "pools_of_numpy", lambda: [pool])
    assert blas.blas.__wrapped__() == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading_shape", [(), (3,)])
@pytest.mark.parametrize(("n", "m", "m_out"), [(12, 40, 50), (20, 30, 9), (100, 17, 23)])
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_product_with_something_turned_around_is_the_product(
    small, monkeypatch, name, n, m, m_out, leading_shape, dtype
):
    if name == "numba" and why_not_compiled() is not None:
        pytest.skip(f"compiled kernels: {why_not_compiled()}")
    for module in filter(None, (numpy_backend, numba_kernels)):
        monkeypatch.setattr(module, "MANY_PRODUCTS", 0)
    kernels = (NumpyBackend() if name == "numpy" else select("cpu")).kernels
    monkeypatch.setattr(type(kernels), "turns_quickly", True)
    draw = np.random.default_rng(0)
    x = draw.standard_normal((*leading_shape, n, m)).astype(dtype)
    weight_t = draw.standard_normal((*leading_shape, m_out, m)).astype(dtype).swapaxes(-1, -2)
    bias = draw.standard_normal((*leading_shape, 1, m_out)).astype(dtype)
    expected = Turning.BATCH if n * (m + m_out) < m * m_out else Turning.WEIGHT
    if expected is Turning.WEIGHT and 16 * m * m_out > small:
        expected = Turning.NOTHING
    assert kernels._turning(n, weight_t) is expected
    out = np.empty((*leading_shape, n, m_out), dtype)
    kernels.linear(x, weight_t, bias, out)
    limit = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, x @ weight_t + bias, rtol=0, atol=limit * np.abs(out).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (8, 40), (37, 45), (3, 33, 17)], ids=str)
def test_transposing_moves_every_element_and_no_other(shape, dtype):
    if why_not_compiled() is not None:
        pytest.skip(f"compiled kernels: {why_not_compiled()}")
    from xpnet.backends.numba_transpose import transpose

    a = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    out = np.full((*shape[:-2], shape[-1], shape[-2]), -1, dtype)
    transpose(a, out)
    np.testing.assert_array_equal(out, a.swapaxes(-1, -2))


def test_room_is_handed_out_again_and_grows():
    room = Room(np.dtype("f4"))
    small, other = room.view((2, 3)), room.view((6,))
    assert room.view((2, 3)) is small
    assert np.shares_memory(small, other)
    large = room.view((5, 5))
    assert large.shape == (5, 5)
    assert np.shares_memory(room.view((2, 3)), large)
