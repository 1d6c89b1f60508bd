"""A product, its bias and ReLU in one pass, on a stand-in for cuBLASLt that runs on the host."""

import ctypes
import gc
import logging
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from emulator import EmulatedLauncher, why_no_compiler
from test_cublas import SIZES, WAYS, Array, allocate

import xpnet.backends.cuda.cublas
import xpnet.backends.cuda.cublaslt
from xpnet.backends.activations import IDENTITY, ActivationSpec, Mask
from xpnet.backends.cuda.cublas import Cublas
from xpnet.backends.cuda.cublaslt import MOST_PLANS, EpilogueKernels, Epilogues
from xpnet.backends.cuda.kernels import CudaKernels
from xpnet.backends.reference import Kernels
from xpnet.backends.select import select, why_no_cuda

MASK = Mask(np.array([7], np.uint64), 3, 30_000)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        pytest.skip("no C compiler")
    built = tmp_path_factory.mktemp("cublaslt") / "libcublasLt.so"
    source = Path(__file__).parent / "cublaslt.c"
    subprocess.run([gcc, "-O1", "-shared", "-fPIC", "-o", built, source], check=True)
    return str(built)


WISHES = "none_found", "failure", "swallows_nan", "doubles_bias", "shares_bias"


class Wishes:
    """What the stand-in is told, and what it counts."""

    def __init__(self, path):
        library = ctypes.CDLL(path)
        self._numbers = {
            name: ctypes.c_int.in_dll(library, name) for name in (*WISHES, "live_descriptors")
        }

    def __getattr__(self, name):
        return self._numbers[name].value

    def wish(self, name, value=1):
        self._numbers[name].value = value


@pytest.fixture
def wishes(path):
    gc.collect()  # what is left of other tests must not be let go while descriptors are counted
    wishes = Wishes(path)
    yield wishes
    for name in WISHES:
        wishes.wish(name, 0)


def epilogues(path, captures=lambda: False, **options):
    cublas = Cublas(xpnet.backends.cuda.cublas.load(path), lambda: 2**40, allocate, **options)
    return Epilogues(xpnet.backends.cuda.cublaslt.load(path), cublas, captures)


def problem(size=(5, 3, 4), lay_x=WAYS[0], lay_w=WAYS[0], dtype="f4"):
    """Return x, Wᵀ, b and a result to be written."""
    n, k, m = size
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (1, m)))
    return [lay_x(x), lay_w(w), b, np.full((n, m), np.nan, dtype)]


def placed(array, offset=0):
    """Return a copy that begins so many bytes after a multiple of 256."""
    room = np.empty(array.nbytes + 512, np.uint8)
    first = -room.__array_interface__["data"][0] % 256 + offset
    copy = room[first : first + array.nbytes].view(array.dtype)
    copy = copy.reshape(array.shape, order="C" if array.flags.c_contiguous else "F")
    copy[...] = array
    return copy


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("lay_w", WAYS, ids=["rows", "columns", "a part"])
@pytest.mark.parametrize("lay_x", WAYS, ids=["rows", "columns", "a part"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_is_the_product_the_bias_and_the_activation(path, size, lay_x, lay_w, dtype, relu):
    x, w, b, out = arrays = problem(size, lay_x, lay_w, dtype)
    assert epilogues(path).linear(*map(Array, arrays), relu)
    expected = x @ w + b
    tolerance = 50 * np.finfo(dtype).eps
    expected = np.maximum(expected, 0) if relu else expected
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


def members(size, shared=False, lay_x=WAYS[0], lay_w=WAYS[0], dtype="f4", members=3):
    """Return x, Wᵀ, b and a result of members, whose parameters have a step in a flat buffer."""
    n, k, m = size
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((members, k * m + m + 3)).astype(dtype)
    w, b = flat[:, : k * m].reshape(members, m, k), flat[:, k * m : k * m + m]
    x = rng.standard_normal((n, k) if shared else (members, n, k)).astype(dtype)
    out = np.full((members, n, m), np.nan, dtype)
    return [lay_x(x), w.swapaxes(-1, -2), b[:, None], out]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("lay_x", WAYS, ids=["rows", "columns", "a part"])
@pytest.mark.parametrize("shared", [False, True], ids=["own x", "one x"])
@pytest.mark.parametrize("count", [1, 3, 33])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_is_so_for_each_member(path, size, count, shared, lay_x, dtype, relu):
    x, w, b, out = arrays = members(size, shared, lay_x, dtype=dtype, members=count)
    assert epilogues(path).linear(*map(Array, arrays), relu)
    expected = np.einsum("...ij,...jk->...ik", x, w) + b
    tolerance = 50 * np.finfo(dtype).eps
    expected = np.maximum(expected, 0) if relu else expected
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


def test_a_step_between_members_narrows_the_alignment(path):
    """The stand-in refuses a kernel for boundaries that a member's matrix does not lie on."""
    made = epilogues(path)
    arrays = [*map(Array, map(placed_apart, members((6, 4, 8))))]
    assert made.linear(*arrays, True)
    ((*_, alignments),) = made._plans
    assert alignments[0] == 4
    assert alignments[2] >= 64


def placed_apart(array):
    """Return a copy on a boundary of 256 bytes, with the same strides."""
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    at = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    copy = placed(np.ascontiguousarray(whole).reshape(-1))[at // array.itemsize :]
    return np.lib.stride_tricks.as_strided(copy, array.shape, array.strides)


def test_a_kernel_is_looked_for_once_for_each_shape_and_alignment(path, wishes):
    made = epilogues(path)
    before = wishes.live_descriptors
    x, w, b, out = map(placed, problem((6, 4, 8)))
    for _ in range(3):
        assert made.linear(*map(Array, (x, w, b, out)), True)
    one = wishes.live_descriptors - before
    assert one == 4  # the operation and three layouts: what was searched with is gone
    other = placed(2 * b)
    assert made.linear(*map(Array, (x, w, other, out)), True)  # another bias, by the same kernel
    np.testing.assert_allclose(out, np.maximum(x @ w + other, 0), rtol=1e-5, atol=1e-5)
    assert wishes.live_descriptors - before == 4
    assert made.linear(*map(Array, (placed(x, 4), w, b, out)), True)
    assert made.linear(*map(Array, (placed(np.asfortranarray(x)), w, b, out)), True)
    np.testing.assert_allclose(out, np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-5)
    assert wishes.live_descriptors - before == 4 * 3
    del made
    gc.collect()
    assert wishes.live_descriptors == before


@pytest.mark.parametrize("why", [1, 2, 3, 4])
def test_where_no_kernel_is_found_none_is_looked_for_again(path, wishes, caplog, why):
    made = epilogues(path)
    known, others = ([*map(Array, problem((n, 4, 8)))] for n in (6, 7))
    assert made.linear(*known, True)
    wishes.wish("none_found", why)
    assert made.linear(*known, True)
    for _ in range(2):
        assert not made.linear(*others, True)
    wishes.wish("none_found", 0)
    assert not made.linear(*others, True)
    assert [record.getMessage() for record in caplog.records] == (
        ["cuBLASLt failed at a search: status 7 CUBLAS_STATUS_INVALID_VALUE"] * (why == 4)
    )


def test_within_a_capture_no_kernel_is_looked_for(path, wishes):
    made = epilogues(path, captures=lambda: True)
    before = wishes.live_descriptors
    arrays = [*map(Array, problem())]
    assert not made.linear(*arrays, True)
    assert wishes.live_descriptors == before
    made._captures = lambda: False
    assert made.linear(*arrays, True)
    made._captures = lambda: True
    assert made.linear(*arrays, True)


def test_a_capture_takes_the_kernel_of_what_was_copied_for_it(path, wishes):
    """The arrays before may have lain on narrower boundaries than the copies, but not on wider."""
    made = epilogues(path)
    x, w, b, out = map(placed, problem((6, 4, 8)))

    def linear(offset, n=6):
        out[...] = np.nan
        return made.linear(*map(Array, (placed(x[:n], offset), w, b, out[:n])), True)

    wishes.wish("none_found", 1)
    assert not linear(4)
    wishes.wish("none_found", 0)
    assert linear(16)
    made._captures = lambda: True
    assert not linear(8)
    assert not linear(0, n=5)
    assert np.isnan(out).all()
    assert linear(0)
    np.testing.assert_allclose(out, np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-6)


def test_each_thread_has_its_own_and_too_many_are_let_go(path, wishes, monkeypatch):
    made = epilogues(path)
    before = wishes.live_descriptors
    both = threading.Barrier(2)  # or the second might get the number of the first

    def work():
        arrays = [*map(Array, problem())]  # of its own: a kernel's trial looks at its result
        both.wait()
        made.linear(*arrays, True)
        both.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wishes.live_descriptors == before + 8
    monkeypatch.setattr(xpnet.backends.cuda.cublaslt, "MOST_PLANS", 10)
    for n in range(1, 30):
        assert made.linear(*map(Array, map(placed, problem((n, 3, 4)))), True)
    assert wishes.live_descriptors <= before + 4 * 11
    made._captures = lambda: True
    assert made.linear(*map(Array, map(placed, problem((21, 3, 4)))), True)
    assert not made.linear(*map(Array, map(placed, problem((5, 3, 4)))), True)
    assert MOST_PLANS > 500


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w, b, out: (x[:, ::2], w[::2], b, out),
        lambda x, w, b, out: (x[:3], w, b, np.asfortranarray(out[:3])),
        lambda x, w, b, out: (x.astype("f8"), w, b, out),
        lambda x, w, b, out: (x, w, b.astype("f8"), out),
        lambda x, w, b, out: (*(a.astype("f2") for a in (x, w, b)), out.astype("f2")),
        lambda x, w, b, out: (x[:0], w, b, out[:0]),
        lambda x, w, b, out: (x[:, :0], w[:0], b, out),
    ],
    ids=["gaps", "columns out", "two dtypes", "another bias", "halves", "no rows", "no sums"],
)
def test_what_it_can_t_take_is_left_alone(path, wrong):
    arrays = wrong(*problem((5, 4, 3)))
    before = arrays[-1].copy()
    assert not epilogues(path).linear(*map(Array, arrays), True)
    np.testing.assert_array_equal(arrays[-1], before)


def test_tf32_is_asked_for_as_for_products(path):
    made = epilogues(path, tf32=True)
    arrays = [*map(Array, problem())]
    assert made.linear(*arrays, True)
    assert [key[1].sums for key in made._plans] == [77]


def test_a_failure_is_logged_once_and_the_product_left_to_others(path, wishes, caplog):
    caplog.set_level(logging.INFO)
    made = epilogues(path)
    wishes.wish("failure", 15)
    arrays = problem()
    arrays[-1][...] = 0  # what the trial on NaN would see
    for _ in range(2):
        assert not made.linear(*map(Array, arrays), True)
    assert [record.getMessage() for record in caplog.records] == [
        "cuBLASLt failed at a product of (5, 3, 4): status 15 CUBLAS_STATUS_NOT_SUPPORTED"
    ]


# -- the kernel that uses it ----


class Shown:
    """NumPy, whose arrays show themselves as CuPy's do where cuBLASLt is called."""

    def __init__(self, epilogues):
        self.epilogues, self.calls = epilogues, []

    def linear(self, x, weight_t, bias, out, relu):
        self.calls.append(relu)
        return self.epilogues.linear(*map(Array, (x, weight_t, bias, out)), relu)


def kernels(path):
    shown = Shown(epilogues(path))
    made = EpilogueKernels(np, EmulatedLauncher(), None, shown)
    made.prove(lambda x: x)
    shown.calls.clear()
    return made, shown


@pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler()))
@pytest.mark.parametrize(
    "activation",
    [
        IDENTITY,
        ActivationSpec("relu"),
        ActivationSpec("tanh"),
        ActivationSpec("relu", mask=MASK),
    ],
    ids=["identity", "relu", "tanh", "relu and dropout"],
)
@pytest.mark.parametrize("found", [True, False])
def test_a_linear_layer_is_one_pass_where_there_is_a_kernel_for_it(path, wishes, activation, found):
    made, shown = kernels(path)
    wishes.wish("none_found", not found)
    for bias in (False, True):
        x, w, b, out = problem((7, 5, 6))
        expected = out.copy()
        b = b if bias else None
        Kernels(np).linear(x, w, b, expected, activation)
        made._launcher.launches.clear()
        made.linear(x, w, b, out, activation)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    offered = activation.name != "tanh" and activation.mask is None
    assert shown.calls == [activation.name == "relu"] * offered
    passes = [name for name, _, _ in made._launcher.launches]
    assert passes == ["bias_activation"] * (not (offered and found))


@pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler()))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("found", [True, False])
def test_so_is_that_of_all_members(path, wishes, found, shared):
    made, shown = kernels(path)
    wishes.wish("none_found", not found)
    x, w, b, out = members((7, 5, 6), shared)
    expected = out.copy()
    Kernels(np).linear(x, w, b, expected, ActivationSpec("relu"))
    made.linear(x, w, b, out, ActivationSpec("relu"))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert shown.calls == [True]
    passes = [name for name, _, _ in made._launcher.launches]
    assert passes == ["bias_activation"] * (not found)


def test_stacks_that_do_not_suit_are_left_to_the_reference(path):
    made, shown = kernels(path)
    x, w, b, out = members((3, 4, 5))
    expected = x @ w + b
    gaps = np.zeros((3, 3, 10), "f4")[..., ::2]
    made.linear(x, w, b, gaps)
    np.testing.assert_allclose(gaps, expected, rtol=1e-5, atol=1e-6)
    made.linear(x[None], w[None], b[None], out[None])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert not shown.calls


def test_each_kernel_that_loses_nan_is_left_out(path, wishes, caplog):
    caplog.set_level(logging.INFO)
    made = epilogues(path)
    small, large = ([*map(Array, problem((n, 3, 4)))] for n in (5, 6))
    assert made.linear(*small, True)
    wishes.wish("swallows_nan", 1)
    for _ in range(2):
        assert not made.linear(*large, True)
    assert made.linear(*large, False)
    assert np.isfinite(large[-1]).all()
    assert [record.getMessage() for record in caplog.records] == [
        "cuBLASLt's ReLU makes NaN 0 at a product of (6, 3, 4): it is not used"
    ]


def test_an_epilogue_that_loses_nan_is_not_used(path, wishes, caplog):
    caplog.set_level(logging.INFO)
    wishes.wish("swallows_nan", 1000)
    made, shown = kernels(path)
    assert made._right == {(char, "identity", axes) for char in "fd" for axes in (2, 3)}
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 4
    if why_no_compiler() is None:
        x, w, b, out = problem()
        x[2] = np.nan
        made.linear(x, w, b, out, ActivationSpec("relu"))
        assert np.isnan(out[2]).all()
        assert not shown.calls


def test_an_epilogue_that_errs_is_not_used(path, wishes, caplog):
    wishes.wish("doubles_bias")
    made, _ = kernels(path)
    assert made._right == set()
    assert len(caplog.records) == 8
    assert "cuBLASLt's epilogue (relu, f, 3 axes) errs: it is not used" in caplog.text


def test_an_epilogue_that_errs_for_members_serves_one_network(path, wishes):
    wishes.wish("shares_bias")
    made, _ = kernels(path)
    assert made._right == {(char, name, 2) for char in "fd" for name in ("identity", "relu")}


def test_without_kernels_or_working_descriptors_nothing_is_used(path, wishes, caplog):
    wishes.wish("none_found")
    made, _ = kernels(path)
    assert made._right == set()
    assert not caplog.records

    class Broken:
        def linear(self, *arguments):
            raise xpnet.backends.cuda.cublas.CublasError(
                "cuBLAS failed at describing a product: status 3"
            )

    made = EpilogueKernels(np, None, None, Broken())
    made.prove(lambda x: x)
    assert made._right == set()
    assert "epilogues are not used: cuBLAS failed at describing" in caplog.text


def test_without_memory_nothing_is_used(path, caplog):
    taken = []

    def full(x):
        taken.append(x)
        if len(taken) == 2:
            raise MemoryError("no room")
        return x

    made = EpilogueKernels(np, None, None, Shown(epilogues(path)))
    made.prove(full)
    assert made._right == set()
    assert "epilogues are not used: no room" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w, b: x @ w.reshape(w.shape[::-1]).T + b,
        lambda x, w, b: x @ w + np.resize(b, (len(x), 1)),
        lambda x, w, b: x @ w + b[0, 0],
    ],
    ids=["weights transposed", "bias along the other axis", "first bias for all"],
)
def test_what_is_laid_out_wrongly_is_not_used(wrong):
    class Wrong:
        def linear(self, x, weight_t, bias, out, relu):
            z = wrong(x, weight_t, bias)
            out[...] = np.maximum(z, 0) if relu else z
            return True

    made = EpilogueKernels(np, None, None, Wrong())
    made.prove(lambda x: x)
    assert made._right == set()


def test_all_else_is_the_cuda_kernels():
    own = {name for name in vars(EpilogueKernels) if not name.startswith("_")}
    assert own == {"linear", "prove"}
    assert issubclass(EpilogueKernels, CudaKernels)


def test_a_library_that_lacks_something_is_refused(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        xpnet.backends.cuda.cublaslt.load(str(tmp_path / "nowhere.so"))


@pytest.mark.skipif(why_no_cuda() is not None, reason=f"CUDA: {why_no_cuda()}")
@pytest.mark.parametrize("activation", [IDENTITY, ActivationSpec("relu")], ids=str)
def test_a_gpu_adds_biases_within_its_products(activation):
    """Of ReLU that is not sure: cuBLASLt's may lose NaN."""
    backend = select("cuda")
    x, w, b, _ = problem((256, 784, 512))
    with backend.active():
        arrays = [backend.asarray(array) for array in (x, w, b)]
        out = backend.xp.empty((256, 512), np.float32)
        backend.kernels.linear(*arrays, out, activation)
        expected = np.empty((256, 512), np.float32)
        Kernels(np).linear(x, w, b, expected, activation)
        np.testing.assert_allclose(backend.to_host(out), expected, rtol=1e-4, atol=1e-4)
    if activation is IDENTITY:
        plans = backend.kernels._epilogues._plans
        assert any(plan for key, plan in plans.items() if key[2] == (256, 784, 512))
