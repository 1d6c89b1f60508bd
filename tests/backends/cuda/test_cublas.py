"""Products by a handle of our own, on a stand-in for cuBLAS that runs on the host."""

import ctypes
import gc
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.cuda.cublas import WORKSPACE, Cublas, CublasError, check, layout, load
from xpnet.backends.select import select, why_no_cuda


class Array(np.ndarray):
    """A NumPy array that shows where its data are as CuPy's does."""

    def __new__(cls, data):
        return data.view(cls)

    data = property(lambda self: SimpleNamespace(ptr=self.__array_interface__["data"][0]))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler")
    built = tmp_path_factory.mktemp("cublas") / "libcublas.so"
    source = Path(__file__).parent / "cublas.c"
    subprocess.run([gcc, "-O1", "-shared", "-fPIC", "-o", built, source], check=True)
    return load(str(built))


def allocate(nbytes):
    data = np.empty(nbytes + 256, np.uint8)
    start = -data.__array_interface__["data"][0] % 256
    return Array(data[start : start + nbytes])


@pytest.fixture
def cublas(library):
    return Cublas(library, lambda: 2**40, allocate)


def turned(x):
    """Return the same matrices, stored by columns."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


def sliced(x):
    """Return the same matrices, as a part of larger ones."""
    whole = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
    whole[..., : x.shape[-1]] = x
    return whole[..., : x.shape[-1]]


WAYS = [lambda x: x, turned, sliced]
SIZES = [(1, 1, 1), (1, 5, 3), (7, 1, 4), (4, 6, 1), (1, 4, 1), (5, 3, 8), (16, 9, 2)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lay_b", WAYS, ids=["rows", "columns", "a part"])
@pytest.mark.parametrize("lay_a", WAYS, ids=["rows", "columns", "a part"])
@pytest.mark.parametrize("stack", [(), (1,), (3,)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products_are_matmul_s(cublas, size, stack, lay_a, lay_b, dtype):
    n, k, m = size
    rng = np.random.default_rng(0)
    a = lay_a(rng.standard_normal((*stack, n, k)).astype(dtype))
    b = lay_b(rng.standard_normal((*stack, k, m)).astype(dtype))
    out = np.full((*stack, n, m), np.nan, dtype)
    assert cublas.multiply(Array(a), Array(b), Array(out))
    tolerance = 50 * np.finfo(dtype).eps
    # By no BLAS: one that looks into the gaps of a part may set the flag of an invalid value.
    expected = np.einsum("...ij,...jk->...ik", a, b)
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


def test_one_matrix_may_serve_a_whole_stack(cublas):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((3, 4, 2))
    out = np.empty((3, 5, 2))
    for first in (a, np.broadcast_to(a, (3, 5, 4))):
        out[...] = np.nan
        assert cublas.multiply(Array(first), Array(b), Array(out))
        np.testing.assert_allclose(out, np.einsum("...ij,...jk->...ik", a, b))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [False, True], ids=["own x", "one x"])
@pytest.mark.parametrize("members", [1, 3, 33])
def test_the_products_of_members_take_what_lies_in_flat_buffers(cublas, members, shared, dtype):
    """Weights and their gradients are a step apart, a batch may be one for all."""
    rng, (n, k, m) = np.random.default_rng(0), (5, 4, 6)
    parameters, gradients = (rng.standard_normal((members, m * k + 7)).astype(dtype) for _ in "pg")
    between = gradients[:, m * k :].copy()
    weight, d_weight = (a[:, : m * k].reshape(members, m, k) for a in (parameters, gradients))
    x = rng.standard_normal((n, k) if shared else (members, n, k)).astype(dtype)
    y, dx = np.empty((members, n, m), dtype), np.empty((members, n, k), dtype)
    dy = rng.standard_normal(y.shape).astype(dtype)
    for a, b, out in (
        (x, weight.swapaxes(1, 2), y),
        (dy.swapaxes(1, 2), x, d_weight),
        (dy, weight, dx),
    ):
        assert cublas.multiply(Array(a), Array(b), Array(out))
        expected = np.einsum("...ij,...jk->...ik", a, b)
        tolerance = 50 * np.finfo(dtype).eps
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(gradients[:, m * k :], between)


def test_members_are_one_product(library):
    calls = []

    class Spy:
        def __getattr__(self, name):
            calls.append(name)
            return getattr(library, name)

    cublas = Cublas(Spy(), lambda: 0, allocate)
    a, b, out = (np.ones(shape) for shape in ((5, 4), (3, 4, 2), (3, 5, 2)))
    cublas.multiply(Array(a), Array(b), Array(out))
    assert [name for name in calls if "Gemm" in name] == ["cublasGemmStridedBatchedEx"]


def test_a_part_of_a_result_is_written_and_nothing_else(cublas):
    rng = np.random.default_rng(0)
    a, b, whole = rng.standard_normal((5, 4)), rng.standard_normal((4, 2)), np.zeros((5, 6))
    assert cublas.multiply(Array(a), Array(b), Array(whole[:, 1:3]))
    np.testing.assert_allclose(whole[:, 1:3], np.einsum("...ij,...jk->...ik", a, b))
    assert not whole[:, [0, 3, 4, 5]].any()


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        (np.ones((4, 6))[:, ::2], np.ones((3, 2)), np.ones((4, 2))),
        (np.ones((4, 3)), np.ones((6, 4))[::2, ::2], np.ones((4, 2))),
        (np.ones((4, 3)), np.ones((3, 2)), np.ones((2, 4)).T),
        (np.ones((4, 3)), np.ones((3, 2), "f4"), np.ones((4, 2))),
        (np.ones((4, 3), int), np.ones((3, 2), int), np.ones((4, 2), int)),
        (np.ones((4, 3), "f2"), np.ones((3, 2), "f2"), np.ones((4, 2), "f2")),
        (np.ones((4, 3), "u2"), np.ones((3, 2), "u2"), np.ones((4, 2), "f8")),
        (np.ones((4, 3), "u2"), np.ones((3, 2), "f4"), np.ones((4, 2), "f4")),
        (np.ones((4, 0)), np.ones((0, 2)), np.ones((4, 2))),
        (np.ones((2, 2, 4, 3)), np.ones((2, 2, 3, 2)), np.ones((2, 2, 4, 2))),
        (np.broadcast_to(np.ones(3), (4, 3)), np.ones((3, 2)), np.ones((4, 2))),
        (np.ones((4, 3))[::-1], np.ones((3, 2)), np.ones((4, 2))),
    ],
    ids=[
        *("gaps", "gaps in both axes", "columns out", "two dtypes", "integers", "halves"),
        *("bfloat16 for float64", "bfloat16 and float32"),
        *("nothing", "two leading axes", "one row for all", "upside down"),
    ],
)
def test_what_cublas_can_t_take_is_left_alone(cublas, a, b, out):
    before = out.copy()
    assert not cublas.multiply(Array(a), Array(b), Array(out))
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("shape", [(5, 1), (1, 5), (1, 1)])
def test_the_stride_of_a_single_row_or_column_says_nothing(shape):
    data = np.zeros(shape)
    for strides in ((8, 8), (800, 8), (8, 800), (0, 8), (8, 0)):
        odd = np.lib.stride_tricks.as_strided(data, shape, strides)
        real = [s for s, length in zip(strides, shape, strict=True) if length > 1]
        if real in ([], [8]):
            assert layout(Array(odd)) is not None, strides


def test_tf32_is_asked_for_in_float32_alone(library):
    seen = []

    class Spy:
        def __getattr__(self, name):
            def call(*arguments):
                seen.append((name, arguments[-2:]))
                return getattr(library, name)(*arguments)

            return call

    fast = Cublas(Spy(), lambda: 0, allocate, tf32=True)
    for dtype in ("f4", "f8"):
        ones = Array(np.ones((2, 2), dtype))
        fast.multiply(ones, ones, Array(np.empty((2, 2), dtype)))
    assert [end for name, end in seen if name == "cublasGemmEx"] == [(77, -1), (70, -1)]


def test_each_stream_and_thread_has_a_handle_of_its_own(library):
    live = ctypes.c_int.in_dll(library, "live_handles")
    gc.collect()
    before, stream = live.value, [1]
    cublas = Cublas(library, lambda: stream[0], allocate)
    ones = Array(np.ones((2, 2)))

    def multiply(cublas):
        for stream[0] in (1, 2, 1):
            assert cublas.multiply(ones, ones, Array(np.empty((2, 2))))

    multiply(cublas)
    assert live.value == before + 2
    thread = threading.Thread(target=multiply, args=(cublas,))
    thread.start()
    thread.join()
    assert live.value == before + 4  # a graph may read a workspace when its thread has ended
    del cublas, thread
    gc.collect()
    assert live.value == before


def test_a_failure_is_told_by_name(cublas, library):
    ones = Array(np.ones((2, 2)))
    cublas.multiply(ones, ones, Array(np.empty((2, 2))))
    library.cublasSetStream_v2(cublas.handle().value, 5)  # takes the workspace away
    with pytest.raises(CublasError, match="a product: status 1 CUBLAS_STATUS_NOT_INITIALIZED"):
        cublas.multiply(ones, ones, Array(np.empty((2, 2))))
    with pytest.raises(CublasError, match=r"status 99$"):
        check(99, "something")


def test_a_library_that_lacks_something_is_refused(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        load(str(tmp_path / "nowhere.so"))


def test_workspaces_are_as_large_as_recommended():
    assert WORKSPACE == 32 * 2**20


def test_precision_changes_nothing_on_the_cpu_and_is_checked():
    assert select("cpu", precision="tf32") is select("cpu")
    with pytest.raises(ValueError, match="precision is 'half': give one of full, tf32, b"):
        select("cpu", precision="half")
    with pytest.raises(ValueError, match="precision is 'half'"):
        xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, precision="half")


@pytest.mark.skipif(why_no_cuda() is not None, reason=f"CUDA: {why_no_cuda()}")
def test_tf32_rounds_factors_and_full_precision_does_not():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((256, 512)), rng.standard_normal((512, 128))
    errors = {}
    for precision in ("full", "tf32"):
        backend = select("cuda", precision=precision)
        with backend.active():
            a, b = backend.asarray(x, np.float32), backend.asarray(w, np.float32)
            out = backend.xp.empty((256, 128), np.float32)
            backend.kernels.product(a, b, out)
        difference = backend.to_host(out) - x @ w
        errors[precision] = np.linalg.norm(difference) / np.linalg.norm(x @ w)
    assert errors["full"] < 1e-6
    assert 1e-5 < errors["tf32"] < 1e-3
