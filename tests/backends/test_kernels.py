"""Kernels that a backend has in place of the reference: each computes what the reference does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from emulator import overriding
from parity import (
    ACTIVATION_SPECS,
    CASES,
    OF_MEMBERS,
    TOGETHER,
    Draw,
    alone,
    compare,
    members,
    on_device,
    replaced,
    results,
    together,
)
from scipy import special

import xpnet as xn
from xpnet.backends.activations import specify
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.output_losses import OUTPUT_LOSSES
from xpnet.backends.reference import Kernels
from xpnet.backends.select import select, why_not_compiled
from xpnet.backends.updates import UPDATES

SHAPES = [(1, 1, 1), (1, 7, 4), (5, 3, 9), (40, 300, 130), (300, 20, 33), (129, 2, 1), (30, 1, 5)]


each_backend = pytest.mark.parametrize("backend", overriding().values(), ids=overriding())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("backend", "name", "case"),
    [
        pytest.param(backend, name, case, id=f"{where}-{name}-{i}")
        for where, backend in overriding().items()
        for name in replaced(backend)
        for i, case in enumerate(CASES.get(name, [None]))
    ],
)
def test_a_replaced_kernel_computes_what_the_reference_does(backend, name, case, shape, dtype):
    assert case is not None, f"give {name} a case"
    if name == "batch_norm_backward" and shape[0] == 1:
        pytest.skip("batch norm needs two examples")
    compare(backend, name, case, shape, dtype)


#: Fewer: with members a kernel does the same to each.
SHAPES_OF_MEMBERS = [(1, 7, 4), (5, 3, 9), (40, 70, 33), (129, 2, 1), (30, 260, 150)]

each_case_of_members = pytest.mark.parametrize(
    ("name", "case", "shared"),
    [
        pytest.param(name, case, shared, id=f"{name}-{i}")
        for name, cases in TOGETHER.items()
        for i, (case, shared) in enumerate(cases)
    ],
)


each_shape_of_members = pytest.mark.parametrize("shape", SHAPES_OF_MEMBERS, ids=str)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_shape_of_members
@pytest.mark.parametrize(
    ("backend", "name", "case"),
    [
        pytest.param(backend, name, case, id=f"{where}-{name}-{i}")
        for where, backend in overriding().items()
        for name in replaced(backend)
        for i, case in enumerate(
            [members(*pair) for pair in TOGETHER.get(name, ())] + OF_MEMBERS.get(name, [])
        )
    ],
)
def test_a_kernel_computes_for_members_what_the_reference_does(backend, name, case, shape, dtype):
    if name == "batch_norm_backward" and shape[0] == 1:
        pytest.skip("batch norm needs two examples")
    compare(backend, name, case, shape, dtype)


@each_shape_of_members
@each_case_of_members
def test_the_reference_computes_for_members_what_it_does_for_each(name, case, shared, shape):
    each = alone(case, Draw(*shape, "float64"), 3, shared)
    arguments = together(alone(case, Draw(*shape, "float64"), 3, shared), shared)
    with np.errstate(all="ignore"):
        found = results(Kernels(np), name, arguments)
        expected = [results(Kernels(np), name, own) for own in each]
    for key in expected[0].keys() - {*shared}:
        one = np.stack([own[key] for own in expected])
        np.testing.assert_allclose(found[key].reshape(one.shape), one, rtol=1e-12, atol=1e-12)


@each_backend
def test_something_is_replaced(backend):
    assert len(replaced(backend)) > 3


def test_the_reference_joins_nothing():
    assert Kernels.fusible == frozenset()
    assert not Kernels.fuses_dropout


@pytest.mark.parametrize("activation", ACTIVATION_SPECS[1:], ids=lambda activation: activation.name)
def test_a_curve_s_way_back_is_its_derivative(backend, activation):
    z = np.linspace(-2, 2, 40).reshape(4, 10) + 0.01
    step = 1e-6

    def bent(z):
        out = backend.asarray(z.copy())
        backend.kernels.activation(activation, out, out)
        return backend.to_host(out).copy()

    dy = backend.asarray(np.ones_like(z))
    kept = bent(z) if activation.row.derivative_from == "output" else z
    backend.kernels.activation_backward(activation, backend.asarray(kept), dy)
    slopes = (bent(z + step) - bent(z - step)) / (2 * step)
    np.testing.assert_allclose(backend.to_host(dy), slopes, atol=1e-8)


@pytest.mark.parametrize("name", ["linear", "batch_norm_inference"])
@pytest.mark.parametrize("activation", ACTIVATION_SPECS, ids=lambda activation: activation.name)
@each_backend
def test_what_is_no_number_stays_none(backend, activation, name):
    arguments = CASES[name][ACTIVATION_SPECS.index(activation)](Draw(4, 3, 3, "float32"))
    arguments["x"][1, 1] = np.nan
    arguments = {k: on_device(backend, v) for k, v in arguments.items()}
    with backend.active():
        getattr(backend.kernels, name)(**arguments)
    out = backend.to_host(arguments["out"])
    assert np.isnan(out[1]).any()
    assert np.isfinite(out[[0, 2, 3]]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(50, 40), (2, 25, 40), (2000,)], ids=str)
@each_backend
def test_erf_is_the_error_function(backend, shape, dtype):
    x = np.linspace(-6, 6, 2000).reshape(shape).astype(dtype)
    x.flat[:6] = 0.0, -0.0, 1e4, -1e4, 1e-30, np.nan
    given = backend.asarray(x)
    with backend.active():
        out = backend.xp.empty_like(given)
        backend.kernels.erf(given, out=out)
    expected = special.erf(x.astype("float64"))
    limit = np.finfo(dtype).eps
    np.testing.assert_allclose(backend.to_host(out), expected, rtol=2 * limit, atol=0)


# -- which layers are joined ----


class Doubled(xn.Tanh):
    """An activation with a rule of its own."""

    def forward(self, x, b):
        y = super().forward(x, b)
        y *= 2
        return y


class Watched(xn.Linear):
    """A linear layer that does something more."""

    def forward(self, x, b):
        self.seen = super().forward(x, b)
        return self.seen


class Renamed(xn.ReLU):
    """Only another name."""


class Doubling:
    """A rule that comes from beside the layers."""

    def forward(self, x, b):
        self.kernels.activation(specify("tanh"), x, b.y)
        b.y *= 2
        return b.y


class Mixed(Doubling, xn.Tanh):
    """An activation with a rule of its own, which it does not define itself."""


class Curved(Doubling, xn.Tanh):
    """One that says, wrongly but by itself, what the layer before may compute."""

    activation = xn.Tanh.activation


class Heir(Mixed):
    """Only another name, again."""


@pytest.mark.parametrize(
    ("layers", "joined"),
    [
        ([xn.Linear(3), xn.ReLU()], ["relu"]),
        ([xn.Linear(3), xn.BatchNorm(), xn.LeakyReLU(0.2)], ["identity", "leaky_relu"]),
        ([xn.Linear(3), xn.Tanh(), xn.Sigmoid()], ["tanh", "identity"]),
        ([xn.Linear(3), xn.Dropout(0.5), xn.ReLU()], ["identity"] * 3),
        ([xn.Linear(3), xn.Softmax()], ["identity"] * 2),
        ([xn.Linear(3), xn.GELU(), xn.BatchNorm(), xn.GELU("tanh")], ["gelu", "gelu_tanh"]),
        ([xn.Linear(3), xn.SiLU(), xn.Dropout(0.3)], ["silu", "identity"]),
        ([xn.ReLU(), xn.Linear(3), Renamed()], ["identity", "relu"]),
        ([xn.Linear(3, bias=False), xn.ReLU()], ["identity"] * 2),
        ([xn.Linear(3), Doubled()], ["identity"] * 2),
        ([Watched(3), xn.ReLU()], ["identity"] * 2),
        ([xn.Linear(3), Mixed()], ["identity"] * 2),
        ([xn.Linear(3), Heir()], ["identity"] * 2),
    ],
    ids=str,
)
def test_an_activation_is_joined_to_what_can_compute_it(layers, joined):
    why = why_not_compiled()
    if why is not None:
        pytest.skip(f"compiled kernels: {why}")
    options = {"loss": "mean_squared_error", "n_features": 4, "random_state": 0}
    fused, plain = (
        xn.Network([*layers, xn.Linear(1)], device="cpu", fused=fused, **options)
        for fused in (True, False)
    )
    assert [activation.name for _, activation in fused.passes.plan] == [*joined, "identity"]
    assert [activation.name for _, activation in plain.passes.plan] == ["identity"] * (
        len(layers) + 1
    )
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    np.testing.assert_allclose(fused.predict(x), plain.predict(x), rtol=1e-5, atol=1e-6)
    for a, b in zip(fused.activations(x), plain.activations(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(fused.activations(x)) == len(layers) + 1


class Forgetful(xn.Dropout):
    """Dropout with a rule of its own."""

    def forward(self, x, b):
        return self.infer(x, b)


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([xn.Linear(30), xn.ReLU(), xn.Dropout(0.3)], 1),
        ([xn.Linear(30), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), xn.Linear(30)], 3),
        ([xn.Linear(30), xn.ReLU(), xn.Dropout(0.3), xn.Dropout(0.2)], 2),
        ([xn.Linear(30), xn.ReLU(), xn.Dropout(0.3), xn.ReLU()], 2),
        ([xn.Linear(30), xn.ReLU(), xn.BatchNorm(), xn.Dropout(0.3)], 3),
        ([xn.Linear(30), xn.LeakyReLU(0.1), xn.Dropout(0.3)], 2),
        ([xn.Linear(30), xn.Dropout(0.3), xn.ReLU()], 3),
        ([xn.Linear(30, bias=False), xn.ReLU(), xn.Dropout(0.3)], 3),
        ([xn.Linear(30), xn.ReLU(), Forgetful(0.3)], 2),
        ([xn.Dropout(0.3), xn.Linear(30), xn.ReLU(), xn.Dropout(0.0)], 2),
    ],
    ids=str,
)
@each_backend
def test_dropout_behind_a_relu_is_joined_and_draws_the_same_mask(backend, layers, left):
    options = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    plain = xn.Network([*layers, xn.Linear(1)], device="cpu", fused=False, **options)
    joined = plain.clone(backend)
    drops = backend.kernels.fuses_dropout
    assert len(plain.passes.plan) == len(layers) + 1
    assert len(joined.passes.plan) == (left if drops else len(layers)) + 1
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 1))
    x[3] = 0  # z = b = 0 at first: a ReLU's edge
    for net in (plain, joined):
        trainer = xn.Trainer(net, xn.SGD(0.05))
        for _ in range(5):
            trainer.step(x, y)
    found = backend.to_host(joined.parameters)
    np.testing.assert_allclose(found, plain.parameters, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(joined.predict(x), plain.predict(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(joined.predict(x), joined.predict(x))


def test_who_says_so_by_himself_is_joined():
    layers = [xn.Linear(3), Curved(), xn.Linear(1)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device="cpu")
    fusible = net.backend.kernels.fusible
    assert len(net.passes.plan) == (2 if fusible else 3)


def test_options_of_a_class_reach_the_classes_beside():
    class Noted:
        def __init_subclass__(cls, note="", **options):
            super().__init_subclass__(**options)
            cls.note = note

    class Own(xn.ReLU, Noted, note="mine"):
        pass

    assert Own.note == "mine"


@each_backend
def test_two_activations_in_a_row_train_as_one_by_one(backend):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 1))
    layers = [xn.Linear(6), xn.Tanh(), xn.Sigmoid(), xn.Linear(5), xn.ReLU(), xn.ReLU()]
    layers += [xn.BatchNorm(), xn.LeakyReLU(0.3), xn.Tanh(), xn.Linear(1)]
    nets = [
        xn.Network(
            layers, loss="mean_squared_error", n_features=4, dtype="float64", device="cpu", **option
        )
        for option in ({}, {"fused": False})
    ]
    nets[0] = nets[0].clone(backend)
    for net in nets:
        trainer = xn.Trainer(net, xn.SGD(0.01))
        for _ in range(5):
            trainer.step(x, y)
    found, expected = (net.backend.to_host(net.parameters) for net in nets)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@each_backend
def test_several_networks_at_once_are_joined_as_one_is(backend):
    layers = [xn.Linear(3), xn.ReLU(), xn.Linear(1)]
    options = {"loss": "mean_squared_error", "n_features": 4, "device": backend}
    one, several = xn.Network(layers, **options), xn.Network(layers, members=2, **options)
    plans = [[activation for _, activation in net.passes.plan] for net in (one, several)]
    assert plans[0] == plans[1]


def test_unfused_is_the_reference():
    assert type(select("cpu", fused=False).kernels) is Kernels


@pytest.mark.slow
@each_backend
def test_long_sums_keep_their_digits(backend):
    n, m = 200_000, 3
    rng = np.random.default_rng(0)
    dy = (rng.random((n, m)) + 100).astype(np.float32)
    y, x = np.ones_like(dy), np.ones((n, 1), np.float32)
    total, weights = np.empty((1, m), np.float32), np.empty((m, 1), np.float32)
    mean, variance, inverse = (np.empty((1, m), np.float32) for _ in range(3))
    arrays = [dy, y, x, np.ones((m, 1), np.float32), weights, total]
    expected = dy.astype(np.float64)
    kernels = backend.kernels
    with backend.active():
        arrays = [backend.asarray(a) for a in arrays]
        x_hat = arrays[0].copy()
        statistics = [backend.asarray(a) for a in (mean, variance, inverse)]
        ones, zeros = backend.xp.ones_like(statistics[0]), backend.xp.zeros_like(statistics[0])
        kernels.batch_norm(x_hat, ones, zeros, 1e-5, *statistics, x_hat, x_hat.copy())
        kernels.linear_backward(*arrays, None, specify("relu"))
    found = [backend.to_host(a) for a in (arrays[5], *statistics[:2])]
    # BLAS adds up as it likes; a loop from the first to the last is wrong by 1e-3.
    np.testing.assert_allclose(found[0][0], expected.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[1][0], expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[2][0], expected.var(axis=0), rtol=1e-4)


# -- where Numba is, but can't be used ----


def elsewhere(code, **environment):
    """Run code in another process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


WHY = (
    "import xpnet.backends.select as b; print(b.why_not_compiled(), type(b.select('cpu').kernels))"
)


@pytest.mark.slow
def test_numba_can_be_switched_off():
    pytest.importorskip("numba")
    assert "NUMBA_DISABLE_JIT is set" in elsewhere(WHY, NUMBA_DISABLE_JIT="1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("raise ImportError('no llvmlite', name='llvmlite')", "can't be imported (no llvmlite)"),
        ("raise AttributeError('np.foo')", "can't be imported (np.foo)"),
        ("raise ModuleNotFoundError('No module', name='numba')", "is not installed"),
    ],
)
def test_a_numba_that_is_broken_is_left_out(tmp_path, module, why):
    (tmp_path / "numba.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found = elsewhere(WHY, PYTHONPATH=path)
    assert f"Numba {why}" in found
    assert "NumpyKernels" in found


LOOPS = """
import numpy as np
from xpnet.backends import numba_rows
from xpnet.backends.output_losses import OUTPUT_LOSSES
from xpnet.backends.updates import UPDATES
z, loss, hits, misses = np.ones((3, 2), "f4"), np.zeros((), "f4"), 0, 0
calls = []
for row in UPDATES.values():
    arrays = [np.ones(3, "f4") for _ in row.code.arrays]
    for decays in (False, True):
        numbers = (0.5,) * (len(row.scalars) + decays + len(row.options))
        calls.append((numba_rows.update_loop(row, decays), (*arrays, numbers)))
for row in OUTPUT_LOSSES.values():
    options = (0.5,) * len(row.options)
    arguments = z, z, options, z.copy(), z.copy(), z[:, :1].copy(), 1.0, loss
    calls.append((numba_rows.output_loss_loop(row), arguments))
for loop, arguments in calls:
    loop(*arguments)
    hits += sum(loop.stats.cache_hits.values())
    misses += sum(loop.stats.cache_misses.values())
print(hits, misses)
"""


@pytest.mark.slow
def test_the_machine_code_of_each_row_s_loop_is_found_again(tmp_path):
    pytest.importorskip("numba")
    count = 2 * len(UPDATES) + len(OUTPUT_LOSSES)
    assert elsewhere(LOOPS, NUMBA_CACHE_DIR=str(tmp_path)) == f"0 {count}"
    assert elsewhere(LOOPS, NUMBA_CACHE_DIR=str(tmp_path)) == f"{count} 0"


def test_without_a_folder_for_machine_code_it_is_made_each_time(monkeypatch):
    numba = pytest.importorskip("numba")
    from xpnet.backends import numba_members

    plain = numba.njit

    def njit(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(function, **options)

    monkeypatch.setattr(numba, "njit", njit)
    assert numba_members.compiled(lambda x: x + 1)(2) == 3


def test_each_thread_has_scratch_of_its_own():
    kernels = NumpyBackend().kernels
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(kernels._scratch, (4, 5), np.dtype("f4")).result()
    here = kernels._scratch((4, 5), np.dtype("f4"))
    assert not np.shares_memory(here, there)
    assert np.shares_memory(here, kernels._scratch((3, 2), np.dtype("f4")))
