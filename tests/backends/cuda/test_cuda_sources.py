"""The CUDA program, checked without a GPU: compiled as for one, and run on the host.

Its kernels' parity with the reference is in test_kernels.py, case by case; here they run in the
ways that small arrays on a quiet path don't take.
"""

import re
import threading
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emulator import KERNELS, EmulatedLauncher, emulated, overriding, stand_in, why_no_compiler
from parity import (
    CASES,
    ULPS,
    Draw,
    embedding_backward,
    gather,
    on_device,
    piecewise_embedding_backward,
    results,
    softmax_cross_entropy,
    squared_error,
)

import xpnet as xn
from xpnet.backends.activations import ActivationSpec, Mask
from xpnet.backends.cuda import launch
from xpnet.backends.cuda.kernels import CudaKernels
from xpnet.backends.cuda.launch import MOST_BLOCKS, definitions, source
from xpnet.backends.reference import Kernels
from xpnet.backends.updates import UPDATES

nvrtc = None
try:
    from cupy.cuda import nvrtc

    nvrtc.getVersion()
    WHY_NO_NVRTC = None
except Exception as error:  # CuPy's own, where the library is missing
    WHY_NO_NVRTC = f"NVRTC: {' '.join(str(error).split())[:100]}"

needs_nvrtc = pytest.mark.skipif(WHY_NO_NVRTC is not None, reason=WHY_NO_NVRTC or "")
needs_compiler = pytest.mark.skipif(
    why_no_compiler() is not None, reason=f"emulation: {why_no_compiler()}"
)
each_type = pytest.mark.parametrize("dtype", ["float32", "float64"])

# -- compiled for a GPU ----

#: What CuPy adds to the options of a RawModule, and what makes the assembler report.
CUPY_OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
REPORT = "--ptxas-options=-v"


@lru_cache
def built(code, arch, options=()):
    """Return a program's log, its PTX and its machine code as NVRTC makes them."""
    program = nvrtc.createProgram(code, "program.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", *CUPY_OPTIONS, REPORT, *options))
        log = nvrtc.getProgramLog(program)
        return SimpleNamespace(
            log=log, ptx=nvrtc.getPTX(program).decode(), cubin=nvrtc.getCUBIN(program)
        )
    except nvrtc.NVRTCError as error:
        raise AssertionError(f"{error}:\n{nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


def troubles(log):
    """Return what is wrong with each kernel: the assembler tells of memory where registers ran out.

    A stack frame is what an array that could not be held in registers is kept in.
    """
    found = [line for line in log.splitlines() if "warning" in line.lower()]
    name = None
    for line in log.splitlines():
        name = match[1] if (match := re.search(r"entry function '(\w+)'", line)) else name
        counts = re.findall(r"(\d+) bytes (stack frame|spill stores|spill loads)", line)
        found += [f"{name}: {count} bytes of {what}" for count, what in counts if int(count)]
    return found


@needs_nvrtc
@each_type
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_the_program_compiles_without_warnings_and_spills(arch, dtype):
    found = built(source(), arch, definitions(dtype == "float64"))
    assert set(re.findall(r"entry function '(\w+)'", found.log)) == set(KERNELS.findall(source()))
    assert troubles(found.log) == []
    assert found.cubin[:4] == b"\x7fELF"


@needs_nvrtc
def test_spills_and_warnings_would_be_noticed():
    hoards = """
    extern "C" __global__ void __launch_bounds__(1024, 2) hoard(double* x) {
        double all[64];
        int unused;
        #pragma unroll
        for (int k = 0; k < 64; k++) all[k] = x[k * 1024 + threadIdx.x];
        __syncthreads();
        #pragma unroll
        for (int k = 0; k < 64; k++) x[k * 1024 + 1023 - threadIdx.x] = all[63 - k] * all[k];
    }"""
    found = "\n".join(troubles(built(hoards, "sm_90").log))
    assert "hoard" in found
    assert "spill" in found
    assert "warning" in found


@needs_nvrtc
def test_float32_stays_float32():
    # But for the numbers that a launch brings, and what is only added up.
    ptx = built(source(), "sm_90", definitions(double=False)).ptx
    assert "sqrt.rn.ftz.f32" in ptx
    doubles = {}
    for name, body in re.findall(r"\.entry (\w+)\((.*?)^}", ptx, re.DOTALL | re.MULTILINE):
        doubles[name] = len(re.findall(r"\b(?:mul|div|fma|sqrt|rcp)\.(?:\w+\.)*f64", body))
    assert {name for name, count in doubles.items() if count} == {"observe"}


@needs_nvrtc
@each_type
def test_memory_is_moved_in_128_bits(dtype):
    ptx = built(source(), "sm_90", definitions(dtype == "float64")).ptx
    adam = re.search(r"\.entry adam\(.*?^}", ptx, re.DOTALL | re.MULTILINE)[0]
    vector = {"float32": "v4.f32|v4.b32", "float64": "v2.f64|v2.b64"}[dtype]
    assert len(re.findall(rf"ld\.global\.({vector})", adam)) >= 4
    assert len(re.findall(rf"st\.global\.({vector})", adam)) >= 3


@needs_nvrtc
@each_type
def test_sums_over_blocks_are_counted_between_fences(dtype):
    # By one thread, between barriers of its block: the host can't show what a GPU does without.
    ptx = built(source(), "sm_90", definitions(dtype == "float64")).ptx
    found = re.findall(r"\b(bar|barrier|membar|fence|atom)\.\w", ptx)
    counts = [i for i, name in enumerate(found) if name == "atom"]
    assert len(counts) >= 7
    for i in counts:
        before, fence, _, another, after = found[i - 2 : i + 3]
        assert {before, after} <= {"bar", "barrier"}
        assert {fence, another} <= {"membar", "fence"}


def test_the_source_is_plain_text():
    # CuPy writes it to a file in the locale's encoding.
    assert source().isascii()
    assert len(KERNELS.findall(source())) > 15


# -- how threads lie over a matrix ----

SIZES = (0, 1, 2, 3, 10, 128, 257, 4096, 65_537, 2**20, 2**33 + 1)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("n", SIZES)
def test_tiles_are_what_a_gpu_and_the_workspace_can_take(n, m):
    for itemsize, members in product((4, 8), (1, 2, 32, 256, 257, 600, 2**17)):
        shapes = [
            launch.tiles(n, m, itemsize, members),
            launch.tiles_to_add_up(n, m, itemsize, members),
            launch.rows_of(n, m, members),
            launch.flat_to_add_up(n * m, itemsize, members),
            launch.flat(n * m, itemsize, members),
            launch.table_rows(n, m, itemsize, members),
        ]
        for (over, rows), (across, down), _ in shapes:
            assert 1 <= over < 2**31
            assert 1 <= rows < 2**16
            assert across * down == launch.THREADS
            assert across & (across - 1) == 0
        for (over, rows), (across, _), _ in shapes[1:4]:
            blocks = members * over * rows
            assert rows == 1 or blocks <= MOST_BLOCKS
            assert rows == 1 or 4 * MOST_BLOCKS + blocks * left_by(across) <= launch.WORKSPACE


def left_by(across):
    """Return how much a block may leave in the workspace: a loss takes a number from each."""
    return 40 * across if across <= 32 else 8


# -- run on the host ----


class Fenced(Draw):
    """Arrays between fences: a kernel that reads beside them gets NaN, or a write is seen.

    With a margin that is no multiple of 16 bytes they begin beside the boundaries of 16 bytes.
    """

    def __init__(self, *shape_and_type, margin, fence):
        super().__init__(*shape_and_type)
        self.margin, self.fence, self.held = margin, fence, []

    def __call__(self, *shape):
        return self._fenced(super().__call__(*shape))

    def positive(self, *shape):
        return self._fenced(super().positive(*shape))

    def output(self, *shape):
        return self._fenced(super().output(*shape))

    def empty(self, *shape):
        return self._fenced(super().empty(*shape))

    def _fenced(self, x):
        whole = np.full(x.size + 2 * self.margin, self.fence, x.dtype)
        inside = whole[self.margin : -self.margin]
        inside[:] = x.ravel()
        self.held.append(whole)
        return inside.reshape(x.shape)

    def is_whole(self):
        """Return whether all fences stand."""
        fences = [fence for x in self.held for fence in (x[: self.margin], x[-self.margin :])]
        return all(
            np.array_equal(fence, np.full_like(fence, self.fence), equal_nan=True)
            for fence in fences
        )


def askew(x):
    """Return a copy that begins beside a boundary of 16 bytes, unless an element takes so many."""
    whole = np.empty(x.size + 1, x.dtype)
    whole[1:] = x.ravel()
    return whole[1:].reshape(x.shape)


@pytest.fixture
def cramped(monkeypatch):
    """Let small arrays take the ways of large ones: several blocks, wide columns, long loops."""
    small = {"LARGE": 1, "ROWS_ALONE": 1, "ROWS_SHARED": 1, "MOST_TILES": 3}
    for name, value in small.items():
        monkeypatch.setattr(launch, name, value)
    cached = [f for f in vars(launch).values() if hasattr(f, "cache_clear") and f is not source]
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def replaced():
    """Return the names of the kernels that a GPU has in place of the reference's."""
    return [n for n in CASES if getattr(CudaKernels, n) is not getattr(Kernels, n)]


def assert_equal(found, expected, dtype):
    for key, value in expected.items():
        limit = 0.0
        if value.dtype.kind == "f":
            largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
            limit = ULPS * np.finfo(dtype).eps * largest
        np.testing.assert_allclose(found[key], value, rtol=0, atol=limit, err_msg=key)


each_case = pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(n, case, id=f"{n}-{i}") for n in replaced() for i, case in enumerate(CASES[n])],
)


@pytest.mark.slow  # takes long
@needs_compiler
@each_type
@pytest.mark.parametrize(
    "shape",
    [(40, 300, 128), (300, 20, 33), (129, 2, 1)],
    ids=str,
)
@pytest.mark.parametrize(("margin", "fence"), [(32, 77.0), (33, np.nan)])
@each_case
@pytest.mark.usefixtures("cramped")
def test_large_arrays_backwards(name, case, margin, fence, shape, dtype):
    draw = Fenced(*shape, dtype, margin=margin, fence=fence)
    with np.errstate(all="ignore"):
        expected = results(Kernels(np), name, case(Draw(*shape, dtype)))
        found = results(emulated(backwards=True).kernels, name, case(draw))
    assert_equal(found, expected, dtype)
    assert draw.is_whole()


SUMS = ["sum_examples", "linear_backward", "batch_norm", "batch_norm_backward"]
SUMS += ["softmax_cross_entropy", "output_loss", "clip_norm"]


@pytest.mark.slow
@needs_compiler
@each_type
@pytest.mark.parametrize("name", [*SUMS, "embedding_backward", "piecewise_embedding_backward"])
@pytest.mark.usefixtures("cramped")
def test_sums_are_the_same_in_every_order_to_the_last_bit(name, dtype):
    shape = (2, 1025, 9) if name == "clip_norm" else (700, 20, 9)
    found = []
    for backwards in (False, True):
        backend = emulated(backwards=backwards)
        launcher = backend.kernels._launcher
        for _ in range(2):
            found.append(results(backend.kernels, name, CASES[name][0](Draw(*shape, dtype))))
            assert not launcher.workspace()[: 4 * MOST_BLOCKS].any()
        grids = [grid for _, grid, _ in launcher.launches]
        assert any(across * down > 1 for across, down, _ in grids)
    for other in found[1:]:
        for key, value in found[0].items():
            np.testing.assert_array_equal(other[key], value, err_msg=key)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", [*SUMS, "softmax"])
@pytest.mark.usefixtures("cramped")
def test_more_work_than_blocks_and_more_blocks_than_one_adds_up_in_one_go(name):
    by_rows = "z" in CASES[name][0](Draw(2, 2, 2, "float64"))
    shape = (600, 257, 2) if by_rows else (100, 1025, 1025)
    kernels = emulated().kernels
    expected = results(Kernels(np), name, CASES[name][0](Draw(*shape, "float64")))
    found = results(kernels, name, CASES[name][0](Draw(*shape, "float64")))
    assert_equal(found, expected, "float64")
    (_, blocks, _), (_, down) = kernels._launcher.launches[0][1:]
    assert blocks * down < 600 if by_rows else blocks > down


@needs_compiler
@each_type
def test_every_mask_is_the_reference_s_to_the_last_element(dtype):
    case = CASES["dropout"][1](Draw(500, 511, 1, dtype))
    expected = results(Kernels(np), "dropout", case)
    assert (case["work"].lanes == case["threshold"]).any()  # neither side of the edge
    found = results(emulated().kernels, "dropout", CASES["dropout"][1](Draw(500, 511, 1, dtype)))
    np.testing.assert_array_equal(found["mask"], expected["mask"])
    np.testing.assert_array_equal(found["out"], expected["out"])


@each_type
@pytest.mark.parametrize("m", [511, 512])
@pytest.mark.parametrize("where", overriding().values(), ids=overriding())
def test_so_is_a_mask_that_is_joined(where, m, dtype):
    mask = Mask(np.array([7], np.uint64), 2**64 - 5, 20_000)
    z = np.ones((500, m), dtype)
    work = Kernels(np)._dropout_work(z, mask.salt)
    expected = np.empty_like(z)
    Kernels(np).dropout(z, mask.key, mask.threshold, work, expected)
    assert (work.lanes == mask.threshold).any()
    x, w, b = np.zeros((500, 2), dtype), np.zeros((2, m), dtype), np.ones((1, m), dtype)
    with where.active():
        activation = on_device(where, ActivationSpec("relu", mask=mask))
        *given, out = (where.asarray(a) for a in (x, w, b, z))
        where.kernels.linear(*given, out, activation)
    np.testing.assert_array_equal(where.to_host(out), expected)


@needs_compiler
@pytest.mark.usefixtures("cramped")
def test_float32_keeps_its_digits():
    kernels, n, m = emulated().kernels, 20_000, 3
    x = (1000 + np.random.default_rng(0).standard_normal((n, m))).astype(np.float32)
    mean, variance, inverse, total = (np.empty((1, m), np.float32) for _ in range(4))
    ones, zeros = np.ones((1, m), np.float32), np.zeros((1, m), np.float32)
    statistics = mean, variance, inverse
    kernels.batch_norm(x, ones, zeros, 1e-5, *statistics, np.empty_like(x), np.empty_like(x))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean[0], exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance[0], exact.var(axis=0), rtol=1e-5)
    kernels.sum_examples(x, total)
    np.testing.assert_allclose(total[0], exact.sum(axis=0), rtol=1e-6)


@needs_compiler
@each_type
def test_no_examples_are_no_trouble(dtype):
    kernels, d = emulated().kernels, Draw(0, 6, 5, dtype)
    for name in (
        "activation",
        "dropout",
        "softmax",
        "batch_norm_inference",
        "gather",
        "sum_examples",
        "one_hot",
        "embedding",
        "piecewise_encoding",
        "piecewise_encoding_backward",
        "piecewise_embedding",
        "periodic",
        "place_blocks",
    ):
        draw = Draw(3, 2, 1, dtype)
        arguments = CASES[name][-1](d) if name != "gather" else gather(draw, 0)
        found = results(kernels, name, arguments)
        if name == "sum_examples":
            assert (found["out"] == 0).all()
    losses = [case for name in ("softmax_cross_entropy", "output_loss") for case in CASES[name]]
    for case in losses:
        arguments = case(Draw(1, 6, 5, dtype))
        name = "output_loss" if "row" in arguments else "softmax_cross_entropy"
        arguments |= {k: arguments[k][:0] for k in ("z", "y", "dz")}
        assert results(kernels, name, arguments | {"example_weight": d.positive(0, 1)})["loss"] == 0
    assert (results(kernels, "embedding_backward", embedding_backward(d, 3))["d_weight"] == 0).all()
    arguments = piecewise_embedding_backward(d, 3)
    found = results(kernels, "piecewise_embedding_backward", arguments)
    for name in ("d_weight", "d_bias", "d_linear"):
        assert (found[name] == 0).all()
    arguments = CASES["linear_backward"][1](d)
    found = results(kernels, "linear_backward", arguments)
    assert (found["d_bias"] == 0).all()
    assert (found["d_weight"] == 0).all()
    kernels.update(UPDATES["sgd"], d(0), d(0), [], [d(1)], (), [d(0)])


@needs_compiler
@pytest.mark.parametrize("width", [1, 3, 4])
def test_rows_are_never_gathered_from_beside_the_array(width):
    draw = Fenced(5, width, 1, "float32", margin=64, fence=np.nan)
    rows, out = draw(5, width), draw.empty(4, width)
    order = draw.whole(1, 6, dtype=np.int64)
    order[...] = [2, 5, -1, 2**40, 2, 3]
    for start, expected in ((1, [4, 0, 4, 2]), (4, [2, 3, 3, 3]), (-2, [2, 2, 2, 4])):
        emulated().kernels.gather(order, np.array([start]), None, [(rows, out)])
        np.testing.assert_array_equal(out, rows[expected])
    assert draw.is_whole()


@needs_compiler
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8", "i8", "c16"])
@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3), (9, 4), (9, 16)], ids=str)
def test_rows_of_any_type_are_gathered(shape, dtype):
    draw = np.random.default_rng(0)
    rows, indices = draw.integers(0, 99, shape).astype(dtype), draw.permutation(9)[:7]
    wide = draw.integers(0, 99, (9, 4 * 33)).astype("i4")  # more units than lie across a block
    for given in (rows, askew(rows)):
        pairs = [
            (taken, askew(np.zeros((7, *taken.shape[1:]), taken.dtype)))
            for taken in (given, wide, given)
        ]
        emulated().kernels.gather(indices, np.array([0]), None, pairs)
        for taken, out in pairs:
            np.testing.assert_array_equal(out, taken[indices])


@needs_compiler
def test_what_the_kernels_do_not_take_goes_to_the_reference():
    kernels, d = emulated().kernels, Draw(5, 4, 3, "float32")
    rows, order = d(8, 4), np.array([0, 7, 3, 1])
    arguments, wide = gather(d, 2, order, arrays=0), np.zeros((2, 8), "f4")
    arguments["pairs"] = pairs = [(rows[:, ::2], np.zeros((2, 2), "f4")), (rows, wide[:, ::2])]
    for pair in pairs:
        kernels.gather(**arguments | {"pairs": [pair]})
        np.testing.assert_array_equal(pair[1], pair[0][[3, 1]])
        pair[1][...] = 0
    kernels.gather(**arguments)
    for taken, out in pairs:
        np.testing.assert_array_equal(out, taken[[3, 1]])
    out = np.zeros((2, 4), "f4")
    kernels.gather(**arguments | {"order": np.repeat(order, 2)[::2], "pairs": [(rows, out)]})
    np.testing.assert_array_equal(out, rows[[3, 1]])
    for wrong in (
        {"order": order.astype(np.int32)},
        {"pairs": [(rows, np.zeros((2, 4)))]},
        {"pairs": [(rows.astype("f8"), out)]},
    ):
        with pytest.raises(TypeError, match="cast"):
            kernels.gather(**arguments | wrong)
    for wrong in ([(rows, pairs[0][1])], [(rows, out), (rows, out[:1])]):
        with pytest.raises(ValueError, match="take"):
            kernels.gather(**arguments | {"pairs": wrong})
    assert not kernels._launcher.launches
    arguments = squared_error(d, 0.2)
    expected = results(Kernels(np), "output_loss", arguments)["dz"].copy()
    found = results(kernels, "output_loss", arguments | {"y": arguments["y"].astype("float64")})
    np.testing.assert_allclose(found["dz"], expected, rtol=1e-6)
    arguments = softmax_cross_entropy(d, 0.2)
    expected = results(Kernels(np), "softmax_cross_entropy", arguments)["dz"].copy()
    arguments["y"] = arguments["y"].astype(np.int64)
    found = results(kernels, "softmax_cross_entropy", arguments)
    np.testing.assert_allclose(found["dz"], expected, rtol=1e-6)
    x, total = d(6, 8)[:, ::2], d.empty(1, 4)
    kernels.sum_examples(x, total)
    np.testing.assert_allclose(total, x.sum(axis=0, keepdims=True), rtol=1e-5)
    assert kernels._launcher.launches == []


@needs_compiler
@pytest.mark.parametrize(
    ("name", "case", "gaps"),
    [
        ("linear", 1, "bias"),
        ("linear_backward", 1, "kept"),
        ("activation_backward", 2, "kept"),
        ("softmax_cross_entropy", 0, "y"),
        ("output_loss", 0, "y"),
        ("output_loss", 2, "z"),
        ("batch_norm", 0, "x"),
        ("batch_norm_backward", 0, "dy"),
        ("batch_norm_inference", 0, "x"),
        ("dropout", 1, "x"),
        ("one_hot", 0, "x"),
        ("embedding", 1, "weight"),
        ("embedding_backward", 1, "dy"),
        ("piecewise_encoding", 0, "x"),
        ("piecewise_encoding_backward", 0, "dx"),
        ("piecewise_embedding", 1, "bias"),
        ("piecewise_embedding_backward", 1, "d_weight"),
        ("periodic", 0, "frequencies"),
        ("periodic", 1, "x"),
        ("periodic_backward", 3, "y"),
        ("place_blocks", 1, "rows"),
        ("softmax", 0, "z"),
        ("normalize_weights", 0, "weights"),
    ],
)
def test_arrays_with_gaps_go_to_the_reference(name, case, gaps):
    def arguments():
        return CASES[name][case](Draw(6, 5, 3, "float64"))

    given = arguments()
    given[gaps] = np.repeat(given[gaps], 2, axis=-1)[..., ::2]
    assert not given[gaps].flags.c_contiguous
    with np.errstate(invalid="ignore"):
        expected = results(Kernels(np), name, arguments())
        found = results(emulated().kernels, name, given)
    assert_equal(found, expected, "float64")


@needs_compiler
@each_type
@pytest.mark.parametrize("number", [0.25, np.float32(0.25), np.float64(0.25), 1, np.int64(1)])
def test_a_number_of_any_type_is_a_number(number, dtype):
    kernels, d = emulated().kernels, Draw(6, 4, 3, dtype)
    arguments = squared_error(d, number)
    expected = results(Kernels(np), "output_loss", squared_error(Draw(6, 4, 3, dtype), number))
    assert_equal(results(kernels, "output_loss", arguments), expected, dtype)
    g, p = d(20), d(20)
    expected = g + p * p.dtype.type(number)
    kernels.add_decay(g, p, number, d.empty(20))
    np.testing.assert_allclose(g, expected, rtol=1e-6, atol=1e-6)


@needs_compiler
@pytest.mark.usefixtures("cramped")
def test_moments_of_numbers_whose_squares_are_infinite():
    kernels, d = emulated().kernels, Draw(70, 20, 3, "float32")
    arguments = CASES["batch_norm"][0](d)
    arguments["x"][...] = 1e25
    found = results(kernels, "batch_norm", arguments)
    np.testing.assert_allclose(found["mean"], 1e25, rtol=1e-6)
    np.testing.assert_allclose(found["variance"], 0, atol=1e38)
    assert np.isfinite(found["out"]).all()


@needs_compiler
def test_beyond_the_reach_of_32_bits():
    rows = np.zeros((2**31 + 8, 1), np.uint8)  # memory that is touched nowhere else
    rows[-3:, 0] = 1, 2, 3
    out = np.zeros((4, 1), np.uint8)
    order = np.array([2**31 + 7, 0, 2**31 + 5, 2**31 + 6])
    emulated().kernels.gather(order, np.array([0]), None, [(rows, out)])
    assert out.ravel().tolist() == [3, 0, 1, 2]


# -- in a network ----

LAYERS = [
    *(xn.Linear(9), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3)),
    *(xn.Linear(8), xn.LeakyReLU(0.1), xn.Linear(7), xn.Tanh(), xn.Dropout(0.2)),
    *(xn.Linear(6), xn.Sigmoid(), xn.Linear(5), xn.ReLU(), xn.Dropout(0.1)),
]


def trained(device, loss, outputs, optimizer):
    draw = np.random.default_rng(0)
    X, y = draw.standard_normal((50, 5)), draw.integers(0, 2, 50)
    net = xn.Network(
        [*LAYERS, xn.Linear(outputs)], loss=loss, n_features=5, device=device, dtype="float64"
    )
    trainer = xn.Trainer(net, optimizer=optimizer, l2=1e-3)
    history = trainer.fit(X, y, batch_size=16, epochs=3, sample_weight=1.0 + (y == 0))
    return history["train_loss"], net.predict(X)


@needs_compiler
@pytest.mark.parametrize(
    ("loss", "outputs"),
    [("softmax_cross_entropy", 2), ("sigmoid_cross_entropy", 1), ("mean_squared_error", 1)],
)
@pytest.mark.parametrize(
    "optimizer", [xn.Adam(), xn.RMSProp(), xn.SGD(0.1, momentum=0.9, nesterov=True)], ids=repr
)
def test_a_network_learns_the_same(loss, outputs, optimizer):
    device = emulated()
    losses, predictions = trained(device, loss, outputs, optimizer)
    expected = trained("cpu", loss, outputs, optimizer)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-9)
    np.testing.assert_allclose(predictions, expected[1], rtol=1e-9, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("weights", [None, np.linspace(1, 2, 32)])
def test_a_batch_is_gathered_in_one_launch(weights):
    device = stand_in()
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=5, device=device)
    X = np.random.default_rng(0).standard_normal((32, 5))
    options = {"batch_size": 8, "epochs": 2, "monitor": 0, "sample_weight": weights}
    xn.Trainer(net).fit(X, X[:, 0], **options)
    names = [name for name, _, _ in device.kernels._launcher.launches]
    assert names.count("gather") == names.count("adam") == 8 + device.captures  # each is tried once


@needs_compiler
def test_a_warm_step_makes_the_loss_it_returns_and_takes_few_launches():
    device = stand_in()
    draw = np.random.default_rng(0)
    layers = [*LAYERS, xn.Linear(3)]
    net = xn.Network(layers, loss="softmax_cross_entropy", n_features=5, device=device)
    trainer = xn.Trainer(net)
    x = device.asarray(draw.standard_normal((16, 5)), np.float32)
    y = device.asarray(draw.integers(0, 3, 16), np.int32)
    for _ in range(2):
        trainer.step(x, y)
    launches = device.kernels._launcher.launches
    launches.clear()
    allocations, others = device.allocations, (device.uploads, device.hidden_copies)
    trainer.step(x, y)
    assert device.allocations == allocations + 1
    assert (device.uploads, device.hidden_copies) == others
    # Dropout behind a ReLU is a part of what computes that.
    forward = [
        "batch_norm",
        *2 * ["running_average"],
        *2 * ["bias_activation"],
        "dropout",
        *3 * ["bias_activation"],
    ]
    backward = [*5 * ["bias_activation_backward"], "batch_norm_backward"]
    names = [name for name, _, _ in launches]
    assert names == ["advance", *forward, "softmax_cross_entropy", *backward, "observe", "adam"]


@needs_compiler
@pytest.mark.parametrize("members", [None, 2])
def test_a_warm_step_on_codes_makes_nothing_else(members):
    device = stand_in()
    layers = [xn.OneHot({1: 3}), xn.Embedding({0: 4, 1: 50}, 2), xn.Linear(1)]
    options = {"n_features": 4, "device": device, "members": members}
    trainer = xn.Trainer(xn.Network(layers, loss="mean_squared_error", **options))
    x, y = device.asarray(np.ones((6, 4)), np.float32), device.asarray(np.ones((6, 1)), np.float32)
    for _ in range(2):
        trainer.step(x, y)
    launches = device.kernels._launcher.launches
    launches.clear()
    allocations, uploads = device.allocations, device.uploads
    trainer.step(x, y)
    assert device.allocations == allocations + 1
    assert device.uploads == uploads
    names = [name for name, _, _ in launches]
    for name in ("one_hot", "embedding", "embedding_backward"):
        assert names.count(name) == 1


@needs_compiler
@pytest.mark.parametrize("members", [None, 2])
def test_a_warm_step_on_places_among_bins_makes_nothing_else(members):
    device = stand_in()
    layers = [
        xn.PiecewiseLinearEmbedding({1: (0.0, 1.0, 2.0)}),
        xn.PiecewiseLinearEmbedding({0: (0.0, 1.0), 3: (0.0, 0.5, 3.0)}, 2, relu=True),
        xn.Linear(1),
    ]
    options = {"n_features": 4, "device": device, "members": members}
    trainer = xn.Trainer(xn.Network(layers, loss="mean_squared_error", **options))
    x, y = device.asarray(np.ones((6, 4)), np.float32), device.asarray(np.ones((6, 1)), np.float32)
    for _ in range(2):
        trainer.step(x, y)
    launches = device.kernels._launcher.launches
    launches.clear()
    allocations, uploads = device.allocations, device.uploads
    trainer.step(x, y)
    assert device.allocations == allocations + 1
    assert device.uploads == uploads
    names = [name for name, _, _ in launches if name.startswith("piecewise")]
    forward = ["piecewise_encoding", "piecewise_sums", "piecewise_embedding"]
    assert names == [*forward, "piecewise_embedding_backward", "piecewise_sums_backward"]


@needs_compiler
@pytest.mark.parametrize("members", [None, 2])
def test_a_warm_step_on_waves_makes_nothing_else(members):
    device = stand_in()
    options = {"phase": True, "dense": True, "shared": True}
    layers = [xn.PeriodicEmbedding((2, 0), 3, 4), xn.Linear(5)]
    layers += [xn.PeriodicEmbedding((1, 3), 3, 4, **options), xn.Linear(1)]
    kind = {"n_features": 4, "device": device, "members": members}
    trainer = xn.Trainer(xn.Network(layers, loss="mean_squared_error", **kind))
    x, y = device.asarray(np.ones((6, 4)), np.float32), device.asarray(np.ones((6, 1)), np.float32)
    for _ in range(2):
        trainer.step(x, y)
    launches = device.kernels._launcher.launches
    launches.clear()
    allocations, uploads = device.allocations, device.uploads
    trainer.step(x, y)
    assert device.allocations == allocations + 1
    assert device.uploads == uploads
    names = [name for name, _, _ in launches]
    for name in ("periodic", "periodic_backward", "place_blocks"):
        assert names.count(name) == 2
    assert names.count("periodic_values_backward") == 1


@needs_compiler
def test_a_warm_step_of_members_that_share_weights_makes_nothing_else():
    device = stand_in()
    kind = {"members": 3}
    layers = [
        xn.EnsembleLinear(8, **kind),
        xn.ReLU(),
        xn.Dropout(0.2),
        xn.EnsembleLinear(2, **kind),
    ]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device=device)
    trainer = xn.Trainer(net)
    x, y = device.asarray(np.ones((6, 4)), np.float32), device.asarray(np.ones((6, 2)), np.float32)
    for _ in range(2):
        trainer.step(x, y)
    launches = device.kernels._launcher.launches
    launches.clear()
    allocations, others = device.allocations, (device.uploads, device.hidden_copies)
    trainer.step(x, y)
    assert device.allocations == allocations + 1
    assert (device.uploads, device.hidden_copies) == others
    passes = [*4 * ["member_affine"], "squared_error", *4 * ["member_affine_backward"]]
    assert [name for name, _, _ in launches] == ["advance", *passes, "observe", "adam"]


# -- the emulation itself ----

FOLDER = Path(launch.__file__).parent

SILENT = """
KERNEL silent(real* x, index n, double factor) {
    real* all = reinterpret_cast<real*>(shared_memory());
    all[place()] = x[place()];
    BARRIER
    x[place()] = all[THREADS - 1 - place()] * real(factor);
}
"""


READS = """
KERNEL reads(const real* p, real* out, index n) {
    const Vec<2> found = *reinterpret_cast<const Vec<2>*>(p + n);
    if (place() == 0) out[0] = found.v[0] + found.v[1];
}
"""


def turned(barrier, backwards=False, block=(256, 1), arguments=(1, 2.0)):
    cuda = FOLDER.joinpath("common.cu").read_text() + SILENT.replace("BARRIER", barrier)
    x = np.arange(256.0)
    EmulatedLauncher(backwards, cuda)("silent", True, (1, 1, 1), block, x, *arguments)
    return x


@needs_compiler
def test_the_emulation_runs_what_is_right():
    np.testing.assert_array_equal(turned("__syncthreads();"), 2 * np.arange(256.0)[::-1])


@needs_compiler
@pytest.mark.parametrize("backwards", [False, True])
def test_a_missing_barrier_is_noticed(backwards):
    assert np.isnan(turned("", backwards)).any()


@needs_compiler
@pytest.mark.parametrize(
    "barrier",
    [
        "if (place() < 8) return;\n__syncthreads();",
        "if (place() < 8) __syncthreads();",
        "if (place() < 8) {\n__syncthreads();\n} else {\n__syncthreads();\n}",
    ],
)
def test_threads_that_part_at_a_barrier_are_noticed(barrier):
    with pytest.raises(RuntimeError, match="silent: threads of a block wait at different"):
        turned(barrier)


@needs_compiler
@pytest.mark.parametrize("start", [0, 1, 2, 4])
def test_a_misaligned_access_is_noticed(start):
    cuda = FOLDER.joinpath("common.cu").read_text() + READS
    x, out = np.zeros(64), np.zeros(1)
    x = x[x.ctypes.data // 8 % 2 :]  # from a boundary of 16 bytes
    x[start : start + 2] = 1, 2
    launch = EmulatedLauncher(cuda=cuda)
    if start % 2:
        with pytest.raises(RuntimeError, match="reads: memory is accessed beside the boundary"):
            launch("reads", True, (1, 1, 1), (256, 1), x, out, start)
    else:
        launch("reads", True, (1, 1, 1), (256, 1), x, out, start)
        assert out[0] == 3


@needs_compiler
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"arguments": (1.0, 2.0)}, RuntimeError, "not the kernel's arguments"),
        ({"arguments": (1,)}, RuntimeError, "not the kernel's arguments"),
        ({"arguments": (1, np.float32(2))}, TypeError, "is given a float32"),
        ({"block": (128, 1)}, RuntimeError, "number of threads"),
    ],
)
def test_wrong_launches_are_noticed(given, error, message):
    with pytest.raises(error, match=message):
        turned("__syncthreads();", **given)


# -- CuPy's part ----


@pytest.fixture
def launcher(monkeypatch):
    """CuPy's launcher, with what it takes of CuPy in our hands."""
    module = pytest.importorskip(
        "xpnet.backends.cuda.cupy_backend", reason="CuPy can't be imported", exc_type=ImportError
    )
    stream = SimpleNamespace(ptr=7, is_capturing=lambda: False)
    launcher = module.CupyLauncher()
    launcher.stream, launcher.built, launcher.calls = stream, [], []

    def raw_module(code, options):
        def get_function(name):
            launcher.built.append((name, options))
            return SimpleNamespace(kernel=lambda *call: launcher.calls.append((name, *call)))

        return SimpleNamespace(get_function=get_function)

    streams = SimpleNamespace(
        get_current_stream=lambda: stream, Stream=SimpleNamespace(ptds=SimpleNamespace(ptr=2))
    )
    fake = SimpleNamespace(RawModule=raw_module, cuda=streams, zeros=np.zeros)
    monkeypatch.setattr(module, "cupy", fake)
    return launcher


def test_numbers_have_the_widths_that_kernels_expect():
    scalar = pytest.importorskip(
        "cupy._core._scalar", reason="CuPy can't be imported", exc_type=ImportError
    )
    # What CuPy makes of Python's numbers on the way to a kernel: `index` and double.
    assert scalar.CScalar(3).dtype == np.int64
    assert scalar.CScalar(2**40).dtype == np.int64
    assert scalar.CScalar(0.5).dtype == np.float64


def test_a_kernel_is_built_once_for_each_type(launcher):
    for double in (False, True, False):
        launcher("sgd", double, (1, 1), (256, 1), "x", 3)
    assert launcher.calls == 3 * [("sgd", (1, 1), (256, 1), ("x", 3))]
    assert [(name, options[1]) for name, options in launcher.built] == [
        ("sgd", "-DREAL=float"),
        ("sgd", "-DREAL=double"),
    ]


def test_each_stream_has_a_workspace_of_its_own(launcher):
    first = launcher.workspace()
    assert first.nbytes == launch.WORKSPACE
    assert launcher.workspace() is first
    launcher.stream.ptr = 8
    assert launcher.workspace() is not first
    launcher.stream.ptr = 2  # the handle of every thread's own default stream
    found = [launcher.workspace()]
    other = threading.Thread(target=lambda: found.append(launcher.workspace()))
    other.start()
    other.join()
    assert found[0] is not found[1]


def test_a_workspace_is_not_made_by_a_graph(launcher):
    launcher.stream.is_capturing = lambda: True
    with pytest.raises(RuntimeError, match="has to have run on this stream"):
        launcher.workspace()
    launcher.stream.is_capturing = lambda: False
    made = launcher.workspace()
    launcher.stream.is_capturing = lambda: True
    assert launcher.workspace() is made


@needs_compiler
@pytest.mark.parametrize("able", [True, False])
def test_products_go_where_a_graph_can_capture_them(able):
    seen = []

    def multiply(a, b, out):
        seen.append((a.shape, b.shape, out.shape))
        if able:
            np.matmul(a, b, out=out)
        return able

    kernels = CudaKernels(np, EmulatedLauncher(), multiply)
    d = Draw(5, 4, 3, "float64")
    x, w, dy, y = d(5, 4), d(3, 4), d(5, 3), d.empty(5, 3)
    dw, dx = d.empty(3, 4), d.empty(5, 4)
    kernels.linear(x, w.T, None, y)
    kernels.linear_backward(dy, y, x, w, dw, None, dx)
    assert seen == [((5, 4), (4, 3), (5, 3)), ((3, 5), (5, 4), (3, 4)), ((5, 3), (3, 4), (5, 4))]
    for found, expected in ((y, x @ w.T), (dw, dy.T @ x), (dx, dy @ w)):
        np.testing.assert_allclose(found, expected)
