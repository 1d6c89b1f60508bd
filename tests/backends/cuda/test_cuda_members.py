"""The CUDA kernels for members: all of them in one launch, and each as if it were alone."""

from dataclasses import replace

import numpy as np
import pytest
from emulator import emulated, stand_in, why_no_compiler
from parity import (
    OF_MEMBERS,
    TOGETHER,
    ULPS,
    WORK,
    Draw,
    apart,
    dropout,
    embedding,
    gather_members,
    linear,
    linear_backward,
    members,
    normalize_weights,
    one_hot,
    output_loss,
    piecewise_embedding,
    results,
    softmax_cross_entropy,
    update,
)

import xpnet as xn
from xpnet.backends.activations import ActivationSpec, specify
from xpnet.backends.cuda import launch, run_kernels
from xpnet.backends.cuda.kernels import CudaKernels
from xpnet.backends.output_losses import OUTPUT_LOSSES
from xpnet.backends.reference import Kernels
from xpnet.backends.updates import UPDATES

pytestmark = pytest.mark.skipif(
    why_no_compiler() is not None, reason=f"emulation: {why_no_compiler()}"
)
each_type = pytest.mark.parametrize("dtype", ["float32", "float64"])


def replaced(name):
    """Return whether there is a kernel for members; several sets of such as share weights: none."""
    ours = getattr(CudaKernels, name) is not getattr(Kernels, name)
    return ours and not name.startswith("member_affine")


each_case = pytest.mark.parametrize(
    ("name", "case", "shared"),
    [
        pytest.param(name, case, shared, id=f"{name}-{i}")
        for name, cases in TOGETHER.items()
        if replaced(name)
        for i, (case, shared) in enumerate(cases)
    ],
)


def assert_equal(found, expected, dtype):
    for key, value in expected.items():
        limit = 0.0
        if value.dtype.kind == "f":
            largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
            limit = ULPS * np.finfo(dtype).eps * largest
        np.testing.assert_allclose(found[key], value, rtol=0, atol=limit, err_msg=key)


def compare(kernels, name, case, shape, dtype, changed=lambda arguments: arguments):
    """Compare a kernel of members with the reference."""
    with np.errstate(all="ignore"):
        expected = results(Kernels(np), name, case(Draw(*shape, dtype)))
        found = results(kernels, name, changed(case(Draw(*shape, dtype))))
    assert_equal(found, expected, dtype)


@pytest.mark.parametrize("k", [1, 3, 33])
@each_case
def test_all_members_are_one_launch(name, case, shared, k):
    kernels, alone = emulated().kernels, emulated().kernels
    compare(kernels, name, members(case, shared, k), (6, 5, 9), "float32")
    with np.errstate(all="ignore"):
        results(alone, name, case(Draw(6, 5, 9, "float32")))
    launches, expected = kernels._launcher.launches, alone._launcher.launches
    assert [name for name, _, _ in launches] == [name for name, _, _ in expected]
    # What is the same for all numbers, or for all rows, sees those of all members as one's.
    assert {members for _, (*_, members), _ in launches} <= {1, k}


# -- between fences ----


class Fences:
    """Copies arrays into memory that is full of something else, also between the members' parts."""

    def __init__(self, margin, fence):
        self._margin, self._fence = margin, fence
        self._copies = {}
        self._held = []

    def __call__(self, value):
        if isinstance(value, np.ndarray):
            if id(value) not in self._copies:
                self._copies[id(value)] = value, self._copy(value)
            return self._copies[id(value)][1]
        if isinstance(value, dict):
            return {key: self(each) for key, each in value.items()}
        if isinstance(value, ActivationSpec) and value.mask is not None:
            return replace(value, mask=type(value.mask)(*map(self, value.mask)))
        if isinstance(value, WORK):
            return type(value)(**self(vars(value)))
        if type(value) in (list, tuple):
            return type(value)(map(self, value))
        return value

    def _copy(self, x):
        if x.dtype.kind != "f" or not x.size:
            return x
        reach = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) // x.itemsize
        whole = np.full(reach + 2 * self._margin, self._fence, x.dtype)
        copy = np.lib.stride_tricks.as_strided(whole[self._margin :], x.shape, x.strides)
        copy[...] = x
        is_free = np.ones(len(whole), bool)
        np.lib.stride_tricks.as_strided(
            is_free[self._margin :], x.shape, [s // x.itemsize for s in x.strides]
        )[...] = False
        self._held.append((whole, is_free))
        return copy

    def stand(self):
        """Return whether nothing was written beside the arrays."""
        return all(
            np.array_equal(whole[free], np.full(free.sum(), self._fence), equal_nan=True)
            for whole, free in self._held
        )


@pytest.fixture
def cramped(monkeypatch):
    """Let small arrays take the ways of large ones: several blocks, wide columns, long loops."""
    small = {"LARGE": 1, "ROWS_ALONE": 1, "ROWS_SHARED": 1, "MOST_TILES": 9}
    for name, value in small.items():
        monkeypatch.setattr(launch, name, value)
    cached = [f for f in vars(launch).values() if hasattr(f, "cache_clear")]
    cached.remove(launch.source)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.slow  # takes long
@each_type
@pytest.mark.parametrize("shape", [(40, 70, 33), (129, 2, 1), (300, 8, 4)], ids=str)
@pytest.mark.parametrize(("margin", "fence"), [(32, 77.0), (33, np.nan)])
@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{i}")
        for name in {**TOGETHER, **OF_MEMBERS}
        if replaced(name)
        for i, case in enumerate(
            [members(*pair) for pair in TOGETHER.get(name, ())] + OF_MEMBERS.get(name, [])
        )
    ],
)
@pytest.mark.usefixtures("cramped")
def test_nothing_is_written_beside_a_member_s_part(name, case, margin, fence, shape, dtype):
    fences = Fences(margin, fence)
    compare(emulated(backwards=True).kernels, name, case, shape, dtype, fences)
    assert fences.stand()


def test_fences_notice_what_is_written_between_members():
    fences = Fences(3, 7.0)
    given = apart([np.ones(4), np.ones(4)])
    copy = fences(given)
    assert fences(given) is copy
    copy[...] = 2
    assert fences.stand()
    np.lib.stride_tricks.as_strided(copy, (2, 5), copy.strides)[0, 4] = 0
    assert not fences.stand()


# -- more members than a grid has room for ----


@pytest.mark.parametrize("name", [*TOGETHER])
def test_members_beyond_a_grid_take_another_launch(name, monkeypatch):
    if not replaced(name) or name in ("product", "weight_gradient", "input_gradient"):
        pytest.skip("no kernel of CUDA C++")
    monkeypatch.setattr(run_kernels, "MOST_MEMBERS", 2)
    kernels, (case, shared) = emulated().kernels, TOGETHER[name][-1]
    compare(kernels, name, members(case, shared, 5), (6, 5, 9), "float64")
    grids = [grid for _, grid, _ in kernels._launcher.launches]
    assert [members for *_, members in grids[:3]] in ([2, 2, 1], [1], [])


@pytest.mark.slow
def test_a_hundred_thousand_members():
    kernels, k = emulated().kernels, 100_000
    g, p = (np.ones((k, 3), "f4")[:, :2] for _ in range(2))
    factor = np.arange(k, dtype="f4")[:, None]
    kernels.add_decay(g, p, factor, None)
    np.testing.assert_array_equal(g, 1 + np.broadcast_to(factor, g.shape))
    assert [grid[2] for _, grid, _ in kernels._launcher.launches] == [65535, k - 65535]


def test_rows_and_columns_beyond_a_grid():
    """More rows and columns than blocks may lie along y: they lie along x, or take turns."""
    for n, m in ((2**20, 1), (1, 2**20)):
        for t in (launch.tiles(n, m, 4, 3), launch.tiles_to_add_up(n, m, 4, 3)):
            assert t.grid[1] < 2**16
    kernels = emulated().kernels
    x, out = np.ones((2, 70_000, 1), "f4"), np.empty((2, 1, 1), "f4")
    x[1] = 2
    kernels.sum_examples(x, out)
    assert out.ravel().tolist() == [70_000, 140_000]


# -- what the kernels do not take ----


@pytest.mark.parametrize(
    ("name", "case", "gaps"),
    [
        ("linear", lambda d: linear(d, specify("relu")), "bias"),
        ("linear", lambda d: linear(d, specify("relu")), "out"),
        ("linear_backward", lambda d: linear_backward(d, specify("relu")), "kept"),
        ("linear_backward", lambda d: linear_backward(d, specify("relu")), "d_bias"),
        ("batch_norm", TOGETHER["batch_norm"][1][0], "gamma"),
        ("batch_norm", TOGETHER["batch_norm"][1][0], "mean"),
        ("batch_norm_backward", TOGETHER["batch_norm_backward"][1][0], "d_gamma"),
        ("batch_norm_inference", TOGETHER["batch_norm_inference"][0][0], "variance"),
        ("running_average", TOGETHER["running_average"][0][0], "value"),
        ("dropout", lambda d: dropout(d, 20_000), "x"),
        ("softmax_cross_entropy", lambda d: softmax_cross_entropy(d, 1 / d.n), "y"),
        ("output_loss", lambda d: output_loss(d, OUTPUT_LOSSES["huber"], 1 / d.n), "y"),
        ("normalize_weights", lambda d: normalize_weights(d, d.positive(d.n, 1)), "weights"),
        ("one_hot", one_hot, "x"),
        ("embedding", lambda d: embedding(d, 5), "weight"),
        ("piecewise_embedding", lambda d: piecewise_embedding(d, 5), "linear"),
        ("add_decay", TOGETHER["add_decay"][0][0], "p"),
        ("clip_norm", TOGETHER["clip_norm"][0][0], "g"),
    ],
)
def test_parts_with_gaps_go_to_the_reference(name, case, gaps):
    def with_gaps(arguments):
        given = arguments[gaps]
        wide = np.zeros((*given.shape[:-1], 2 * given.shape[-1]), given.dtype)
        wide[..., ::2] = given
        return arguments | {gaps: wide[..., ::2]}

    compare(emulated().kernels, name, members(case), (6, 5, 4), "float64", with_gaps)


@pytest.mark.parametrize(
    ("changed", "launches"),
    [
        (lambda a: a | {"scalars": [*a["scalars"][:1], np.full((3, 2), 0.5)[:, :1]]}, 0),
        (lambda a: a | {"scalars": [np.full((3, 2), 0.5)[:, :1] for _ in a["scalars"]]}, 1),
        (lambda a: a | {"options": (np.full((3, 1), 0.9, "f4"), 0.99, 1e-3)}, 0),
        (lambda a: a | {"options": (0.9, np.full((6, 1), 0.9)[::2], 1e-3)}, 0),
        (lambda a: a | {"options": (0.9, 0.99, np.array([[0.1], [0.2], [0.3]]))}, 1),
    ],
    ids=["two steps", "a step", "options in float32", "options with gaps", "options of their own"],
)
def test_numbers_of_members(changed, launches):
    def case(d):
        arguments = members(lambda d: update(d, UPDATES["adam"]))(d)
        scratch = [np.empty_like(arguments["p"]) for _ in range(9)]
        return changed(arguments | {"scratch": scratch})

    kernels = emulated().kernels
    compare(kernels, "update", case, (1, 5, 4), "float64")
    assert len(kernels._launcher.launches) == launches


@pytest.mark.parametrize(("shared", "launches"), [(("factors",), 1), ((), 0)])
def test_factors_that_members_share(shared, launches):
    row = UPDATES["adam"].with_factors(decays=True)
    case = members(lambda d: update(d, row), shared)
    kernels = emulated().kernels
    compare(kernels, "update", case, (1, 5, 3), "float64")
    assert len(kernels._launcher.launches) == launches


def test_numbers_of_a_mask_of_another_type_are_refused():
    case = members(lambda d: linear(d, TOGETHER["linear"][3][0](d)["activation"]))
    arguments = case(Draw(4, 3, 2, "float64"))
    mask = arguments["activation"].mask
    for wrong in (
        mask._replace(threshold=mask.threshold.astype(np.int64)),
        mask._replace(salt=np.repeat(mask.salt, 2, axis=0)[::2]),
    ):
        arguments["activation"] = replace(arguments["activation"], mask=wrong)
        with pytest.raises(TypeError, match=r"members have numbers of .*: give a contiguous array"):
            emulated().kernels.linear(**arguments)


def test_orders_of_members_that_do_not_fit_go_to_the_reference():
    kernels = emulated().kernels
    arguments = gather_members(Draw(7, 4, 3, "float32"))
    arguments["order"] = np.repeat(arguments["order"], 2, axis=-1)[:, ::2]
    expected = results(Kernels(np), "gather", gather_members(Draw(7, 4, 3, "float32")))
    assert_equal(results(kernels, "gather", arguments), expected, "float32")
    assert not kernels._launcher.launches


# -- in a network ----

LAYERS = [
    *(xn.Dropout(0.1), xn.Linear(9), xn.BatchNorm(), xn.ReLU(), xn.Dropout([0.3, 0.0, 0.5])),
    *(xn.Linear(8), xn.LeakyReLU(0.1), xn.Linear(7), xn.GELU(), xn.Dropout(0.2)),
    *(xn.Linear(6), xn.ReLU(), xn.Dropout(0.1), xn.Linear(3)),
]


def trainer_of(device, layers=LAYERS, members=3, dtype="float64", **options):
    loss = xn.SoftmaxCrossEntropy(label_smoothing=[0.0, 0.1, 0.2])
    net = xn.Network(layers, loss=loss, n_features=5, device=device, dtype=dtype, members=members)
    optimizer = xn.AdamW([1e-2, 3e-3, 1e-3], beta_1=[0.9, 0.8, 0.0], weight_decay=[0.1, 0.0, 0.2])
    return xn.Trainer(net, optimizer, l2=[1e-3, 0.0, 1e-2], clip_norm=[0.5, 10.0, 0.1])


def batches():
    draw = np.random.default_rng(0)
    X, y = draw.standard_normal((50, 5)), draw.integers(0, 3, 50)
    return [(X[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)] * 3


def test_members_learn_what_they_do_on_the_cpu():
    """With a short batch at the end of each epoch."""
    found, expected = (trainer_of(device) for device in (emulated(), "cpu"))
    for x, y in batches():
        losses = [np.asarray(trainer.step(x, y)) for trainer in (found, expected)]
        np.testing.assert_allclose(*losses, rtol=1e-9)
    nets = found.network, expected.network
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(*(net.statistics for net in nets), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("members", [1, 3, 33])
def test_a_step_of_all_members_is_one_graph_of_the_launches_of_one(members):
    names, captured = [], []
    for count in (None, members):
        device = stand_in()
        layers = [*LAYERS[1:4], xn.Dropout(0.3), *LAYERS[5:]]
        net = xn.Network(
            layers, loss="softmax_cross_entropy", n_features=5, device=device, members=count
        )
        trainer = xn.Trainer(net, clip_norm=1.0, l2=0.1)
        x = device.asarray(np.random.default_rng(0).standard_normal((16, 5)), np.float32)
        y = device.asarray(np.arange(16) % 3, np.int32)
        for _ in range(2):
            trainer.step(x, y)
        launches = device.kernels._launcher.launches
        launches.clear()
        others = device.transfers, device.uploads, device.waits
        allocations = device.allocations
        trainer.step(x, y)
        assert (device.transfers, device.uploads, device.waits) == others
        assert device.allocations == allocations + 1
        names.append([name for name, _, _ in launches])
        for _ in range(8):
            trainer.step(x, y)
        captured.append((device.captures, device.replays > 3))
    assert names[0] == names[1]
    assert "clip" in names[1]
    assert captured == [(1, True)] * 2
