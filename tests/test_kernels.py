"""Kernels that a backend has in place of the reference: each computes what the reference does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from emulator import stand_in, why_no_compiler

import xpnet as xn
from xpnet._numpy import NumpyBackend
from xpnet.backend import select, why_no_cuda, why_not_compiled
from xpnet.kernels import IDENTITY, Curve, Kernels, Mask, dropout_work

#: Relative to the largest number in an array, in units of the type's precision.
ULPS = 200

CURVES = [IDENTITY, Curve("relu"), Curve("leaky_relu", 0.1), Curve("tanh"), Curve("sigmoid")]
#: ReLU and the dropout behind it, whose salt takes 64 bits.
MASKED = [
    Curve("relu", mask.scale, mask)
    for mask in (Mask(np.array([7], np.uint64), 2**64 - 5, p) for p in (0, 20_000, 65535))
]
SHAPES = [(1, 1, 1), (1, 7, 4), (5, 3, 9), (40, 300, 130), (300, 20, 33), (129, 2, 1), (30, 1, 5)]


def overriding():
    """Return each backend that replaces kernels, by name."""
    found = {"numpy": NumpyBackend()}
    if why_not_compiled() is None:
        found["numba"] = select("cpu")
    if why_no_compiler() is None:
        found["emulated"] = stand_in()
    if why_no_cuda() is None:
        found["cupy"] = select("cuda")
    return found


def replaced(backend):
    """Return the names of the kernels that a backend has in place of the reference's."""
    kind = type(backend.kernels)
    names = (n for n in vars(Kernels) if not n.startswith("_") and callable(getattr(Kernels, n)))
    return [n for n in names if getattr(kind, n) is not getattr(Kernels, n)]


each_backend = pytest.mark.parametrize("backend", overriding().values(), ids=overriding())


class Draw:
    """Draws the arrays of a case: n examples, m features in, k out."""

    def __init__(self, n, m, k, dtype, seed=0):
        self.n, self.m, self.k, self.dtype = n, m, k, np.dtype(dtype)
        self._rng = np.random.default_rng(seed)

    def __call__(self, *shape):
        return self._rng.standard_normal(shape).astype(self.dtype)

    def positive(self, *shape):
        return (self._rng.random(shape) + 0.1).astype(self.dtype)

    def output(self, *shape):
        """As from an activation: many are exactly zero."""
        return np.where(self(*shape) < -0.5, 0, self(*shape)).astype(self.dtype)

    def whole(self, limit, *shape, dtype=np.int32):
        return self._rng.integers(0, limit, shape).astype(dtype)

    def empty(self, *shape):
        return np.full(shape, np.nan, self.dtype)


def loss_work(d):
    return SimpleNamespace(
        row=d.empty(d.n, 1),
        other=d.empty(d.n, 1),
        terms=d.empty(d.n, d.m),
        hot=np.empty((d.n, d.m), bool),
        classes=np.arange(d.m, dtype=np.int32),
    )


def batch_norm(d, curve):
    rows = {name: d.empty(1, d.m) for name in ("mean", "variance", "inverse_deviation")}
    x = d(d.n, d.m)
    return {
        "x": x,
        "gamma": d(1, d.m),
        "beta": d(1, d.m),
        "eps": 1e-3,
        **rows,
        "x_hat": d.empty(d.n, d.m),
        "out": d.empty(d.n, d.m),
        "curve": curve,
    }


def batch_norm_backward(d, curve):
    return {
        "dy": d(d.n, d.m),
        "y": d.output(d.n, d.m),
        "x_hat": d(d.n, d.m),
        "gamma": d(1, d.m),
        "inverse_deviation": d.positive(1, d.m),
        "d_gamma": d.empty(1, d.m),
        "d_beta": d.empty(1, d.m),
        "row": d.empty(1, d.m),
        "dx": d.empty(d.n, d.m),
        "curve": curve,
    }


def batch_norm_inference(d, curve):
    return {
        "x": d(d.n, d.m),
        "gamma": d(1, d.m),
        "beta": d(1, d.m),
        "eps": 1e-3,
        "mean": d(1, d.m),
        "variance": d.positive(1, d.m),
        "row": d.empty(1, d.m),
        "out": d.empty(d.n, d.m),
        "curve": curve,
    }


def linear(d, curve):
    return {
        "x": d(d.n, d.m),
        "weight_t": d(d.k, d.m).T,
        "bias": d(1, d.k),
        "out": d.empty(d.n, d.k),
        "curve": curve,
    }


def linear_backward(d, curve):
    return {
        "dy": d(d.n, d.k),
        "y": d.output(d.n, d.k),
        "x": d(d.n, d.m),
        "weight": d(d.k, d.m),
        "d_weight": d.empty(d.k, d.m),
        "d_bias": d.empty(1, d.k),
        "dx": d.empty(d.n, d.m),
        "curve": curve,
    }


def gather(d, count=None, order=None, arrays=3):
    """Return arguments that take `count` rows from the third place of an order on."""
    count = d.k if count is None else count
    order = d.whole(d.n, count + 4, dtype=np.int64) if order is None else order
    work = SimpleNamespace(counting=np.arange(count + 1), places=np.empty(count + 1, np.int64))
    work.chosen = work.places.copy()
    integers = d.whole(9, d.n, dtype=np.int32), np.zeros(count, np.int32)
    pairs = [(d(d.n, d.m), d.empty(count, d.m)), integers, (d(d.n, 1), d.empty(count, 1))]
    pairs.append((d(d.n, 2), d.empty(count, 2)))
    return {"order": order, "start": np.array([2]), "work": work, "pairs": pairs[:arrays]}


def book(d, width, page):
    """Return three tables of three rows, and where to copy one to."""
    return SimpleNamespace(
        page=np.array([page]),
        numbers=d(3, width),
        row=d.empty(1, width),
        keys=d.whole(2**63, 3, 1, dtype=np.uint64),
        key=np.zeros((1, 1), np.uint64),
        starts=d.whole(9, 3, 1, dtype=np.int64),
        start=np.zeros((1, 1), np.int64),
    )


def softmax(d):
    return {"z": 3 * d(d.n, d.m), "row": d.empty(d.n, 1), "out": d.empty(d.n, d.m)}


def dropout(d, threshold):
    def room(name, width, dtype=None):
        return d.empty(d.n, width) if dtype is None else np.empty((d.n, width), dtype)

    counters = d.whole(2**63, d.n, -(-d.m // 4), dtype=np.uint64)
    return {
        "x": d(d.n, d.m),
        "key": d.whole(2**63, 1, dtype=np.uint64),
        "threshold": threshold,
        "work": dropout_work(d.m, counters, room),
        "out": d.empty(d.n, d.m),
    }


def in_place(arguments, given, written):
    """Return arguments of which one array is written over another."""
    return arguments | {written: arguments[given]}


def softmax_cross_entropy(d, share):
    return {
        "z": 3 * d(d.n, d.m),
        "y": d.whole(d.m, d.n),
        "share": share,
        "work": loss_work(d),
        "dz": d.empty(d.n, d.m),
        "loss": d.empty(),
    }


def log_loss(d, share):
    z = 3 * d(d.n, d.m)
    z[0, 0] = 200.0
    return softmax_cross_entropy(d, share) | {"z": z, "y": d.whole(2, d.n, d.m, dtype=d.dtype)}


def squared_error(d, share):
    return softmax_cross_entropy(d, share) | {"y": d(d.n, d.m), "scale": 0.5}


def poisson(d, share):
    counts = d.whole(4, d.n, d.m, dtype=d.dtype)
    return softmax_cross_entropy(d, share) | {"z": d(d.n, d.m), "y": counts}


def weigh(d, weights):
    names = ("total", "safe", "decay")
    work = SimpleNamespace(share=d.empty(d.n, 1), **{name: d.empty(1, 1) for name in names})
    return {"weights": weights, "l2": 0.3, "work": work}


def moments(d, *names):
    return {name: d.positive(d.m * d.k) for name in ("p", "g", *names)} | {
        "rate": np.array([0.01], d.dtype),
        "scratch": d.empty(d.m * d.k),
    }


def observe(d):
    work = SimpleNamespace(
        total=np.array(3.0), steps=np.array(2.0), term=np.array(0.0), finite=np.array(True)
    )
    return {"loss": np.array(0.5, d.dtype), "n": d.n, "work": work}


#: For each kernel that something replaces: its arguments, in each way there is to call it.
CASES = {
    "sum_examples": [lambda d: {"x": d(d.n, d.m), "out": d.empty(1, d.m)}],
    "sum_features": [lambda d: {"x": d(d.n, d.m), "out": d.empty(d.n, 1)}],
    "max_features": [lambda d: {"x": d(d.n, d.m), "out": d.empty(d.n, 1)}],
    "product": [
        lambda d: {"x": d(d.n, d.m), "weight_t": d(d.k, d.m).T, "out": d.empty(d.n, d.k)},
        lambda d: {"x": d(2, d.n, d.m), "weight_t": d(2, d.m, d.k), "out": d.empty(2, d.n, d.k)},
    ],
    "weight_gradient": [
        lambda d: {"dy": d(d.n, d.k), "x": d(d.n, d.m), "out": d.empty(d.k, d.m)},
        lambda d: {"dy": d(2, d.n, d.k), "x": d(2, d.n, d.m), "out": d.empty(2, d.k, d.m)},
    ],
    "input_gradient": [
        lambda d: {"dy": d(d.n, d.k), "weight": d(d.k, d.m), "out": d.empty(d.n, d.m)},
        lambda d: {"dy": d(2, d.n, d.k), "weight": d(2, d.k, d.m), "out": d.empty(2, d.n, d.m)},
    ],
    "gather": [lambda d, n=n: gather(d, arrays=n) for n in (1, 2, 3, 4)],
    "turn_page": [
        lambda d, width=width, page=page: {"book": book(d, width, page)}
        for width, page in ((1, 0), (2, 1), (300, 2))
    ],
    "linear": [
        *(lambda d, c=c: linear(d, c) for c in CURVES + MASKED),
        lambda d: linear(d, IDENTITY) | {"bias": None},
    ],
    "linear_backward": [
        *(lambda d, c=c: linear_backward(d, c) for c in CURVES + MASKED),
        lambda d: linear_backward(d, Curve("relu")) | {"dx": None},
        lambda d: linear_backward(d, Curve("relu")) | {"d_bias": None},
    ],
    "bend": [
        lambda d, c=c, shape=shape: {"curve": c, "z": d(*shape, d.n, d.m)}
        for c in CURVES + MASKED
        for shape in ((), (2,))
    ],
    "bend_backward": [
        lambda d, c=c, shape=shape: {
            "curve": c,
            "y": d.output(*shape, d.n, d.m),
            "dy": d(*shape, d.n, d.m),
        }
        for c in CURVES + MASKED
        for shape in ((), (2,))
    ],
    "softmax": [softmax, lambda d: in_place(softmax(d), "z", "out")],
    "batch_norm": [
        *(lambda d, c=c: batch_norm(d, c) for c in CURVES + MASKED),
        lambda d: in_place(batch_norm(d, CURVES[1]), "x", "x_hat"),
    ],
    "batch_norm_backward": [lambda d, c=c: batch_norm_backward(d, c) for c in CURVES + MASKED],
    "batch_norm_inference": [
        *(lambda d, c=c: batch_norm_inference(d, c) for c in CURVES),
        lambda d: in_place(batch_norm_inference(d, CURVES[1]), "x", "out"),
    ],
    "running_average": [
        lambda d: {
            "average": d(1, d.m),
            "value": d(1, d.m),
            "scale": 1.5,
            "fraction": 0.1,
            "row": d.empty(1, d.m),
        }
    ],
    "dropout": [
        *(lambda d, p=p: dropout(d, p) for p in (0, 20_000, 65535)),
        lambda d: in_place(dropout(d, 20_000), "x", "out"),
    ],
    "softmax_cross_entropy": [
        lambda d: softmax_cross_entropy(d, 1 / d.n),
        lambda d: softmax_cross_entropy(d, d.positive(d.n, 1)),
        lambda d: softmax_cross_entropy(d, 1 / d.n) | {"y": d.whole(3, d.n) * d.m - d.m // 2},
    ],
    "sigmoid_cross_entropy": [
        lambda d: log_loss(d, 1 / d.n),
        lambda d: log_loss(d, d.positive(d.n, 1)),
    ],
    "squared_error": [
        lambda d: squared_error(d, 1 / d.n),
        lambda d: squared_error(d, d.positive(d.n, 1)),
    ],
    "poisson": [
        lambda d: poisson(d, 1 / d.n),
        lambda d: poisson(d, d.positive(d.n, 1)),
    ],
    "weigh": [
        lambda d: weigh(d, d.positive(d.n, 1)),
        lambda d: weigh(d, np.zeros((d.n, 1), d.dtype)),
    ],
    "add_decay": [
        lambda d: {"g": d(d.m), "p": d(d.m), "factor": 0.3, "scratch": d.empty(d.m)},
        lambda d: {"g": d(d.m), "p": d(d.m), "factor": d(1), "scratch": d.empty(d.m)},
        lambda d: {"g": d(2, d.m), "p": d(2, d.m), "factor": 0.3, "scratch": d.empty(2, d.m)},
    ],
    "clip_norm": [
        lambda d, limit=limit, lead=lead: {
            "g": d(*lead, d.m * d.k),
            "limit": limit,
            "norm": d.empty(*lead, 2),
            "scratch": d.empty(*lead, d.m * d.k),
        }
        for limit in (0.5, 1e6)
        for lead in ((), (2,))
    ],
    "sgd": [lambda d: moments(d)],
    "sgd_momentum": [
        lambda d, nesterov=nesterov: moments(d, "v") | {"momentum": 0.9, "nesterov": nesterov}
        for nesterov in (False, True)
    ],
    "momentum": [lambda d: moments(d, "v") | {"beta": 0.9}],
    "rmsprop": [lambda d: moments(d, "s") | {"beta": 0.9, "eps": 1e-3}],
    "adam": [
        lambda d: (
            moments(d, "v", "s")
            | {
                "correction": np.array([1.3], d.dtype),
                "beta_1": 0.9,
                "beta_2": 0.99,
                "eps": 1e-3,
            }
        )
    ],
    "observe": [
        lambda d: observe(d),
        lambda d: observe(d) | {"loss": np.array(np.nan, d.dtype)},
    ],
}


#: What of a kernel's work others read.
WRITTEN = {
    "work": ("mask", "total", "steps", "finite", "share", "decay"),
    "book": ("page", "row", "key", "start"),
}

EMPTY = SimpleNamespace()


def results(kernels, name, arguments):
    """Return what a kernel has written, by name of the array."""
    getattr(kernels, name)(**arguments)
    found = {k: v for k, v in arguments.items() if hasattr(v, "dtype")}
    for work, names in WRITTEN.items():
        found |= {k: v for k, v in vars(arguments.get(work, EMPTY)).items() if k in names}
    found |= {f"out {i}": out for i, (_, out) in enumerate(arguments.get("pairs", ()))}
    # What is used up may be left in any state.
    used_up = {
        "linear_backward": {"dy"},
        "batch_norm_backward": {"dy", "x_hat", "row"},
        "batch_norm_inference": {"row"},
        "running_average": {"row"},
        "softmax": {"row"},
        "clip_norm": {"norm"},
    }.get(name, set()) | {"scratch"}
    return {k: v for k, v in found.items() if k not in used_up}


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
    ours = all_on_device(backend, case(Draw(*shape, dtype)))
    with np.errstate(all="ignore"):
        expected = results(Kernels(np), name, case(Draw(*shape, dtype)))
        with backend.active():
            found = results(backend.kernels, name, ours)
    for key, value in expected.items():
        actual = np.asarray(backend.to_host(found[key]))
        assert actual.dtype == value.dtype
        limit = 0.0
        if value.dtype.kind == "f":
            largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
            limit = ULPS * np.finfo(dtype).eps * largest
        np.testing.assert_allclose(actual, value, rtol=0, atol=limit, err_msg=key)


def all_on_device(backend, arguments):
    """Return arguments where the backend can take them; what is the same array stays so."""
    moved = {id(v): on_device(backend, v) for v in arguments.values()}
    return {k: moved[id(v)] for k, v in arguments.items()}


def on_device(backend, value):
    """Return an argument where the backend can take it."""
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**{k: on_device(backend, v) for k, v in vars(value).items()})
    if isinstance(value, Curve) and value.mask is not None:
        return value._replace(mask=value.mask._replace(key=backend.asarray(value.mask.key)))
    if type(value) in (list, tuple):
        return [on_device(backend, each) for each in value]
    if isinstance(value, np.ndarray) and not backend.owns(value):
        return backend.asarray(value).reshape(value.shape)  # CuPy gives a scalar an axis
    return value


@each_backend
def test_something_is_replaced(backend):
    assert len(replaced(backend)) > 3


def test_the_reference_joins_nothing():
    assert Kernels.joins == frozenset()
    assert not Kernels.joins_dropout


@pytest.mark.parametrize("curve", CURVES[1:], ids=lambda curve: curve.name)
def test_a_curve_s_way_back_is_its_derivative(backend, curve):
    z = np.linspace(-2, 2, 40).reshape(4, 10) + 0.01
    step = 1e-6

    def bent(z):
        out = backend.asarray(z.copy())
        backend.kernels.bend(curve, out)
        return backend.to_host(out).copy()

    dy = backend.asarray(np.ones_like(z))
    backend.kernels.bend_backward(curve, backend.asarray(bent(z)), dy)
    slopes = (bent(z + step) - bent(z - step)) / (2 * step)
    np.testing.assert_allclose(backend.to_host(dy), slopes, atol=1e-8)


@pytest.mark.parametrize("name", ["linear", "batch_norm_inference"])
@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
@each_backend
def test_what_is_no_number_stays_none(backend, curve, name):
    arguments = CASES[name][CURVES.index(curve)](Draw(4, 3, 3, "float32"))
    arguments["x"][1, 1] = np.nan
    arguments = {k: on_device(backend, v) for k, v in arguments.items()}
    with backend.active():
        getattr(backend.kernels, name)(**arguments)
    out = backend.to_host(arguments["out"])
    assert np.isnan(out[1]).any()
    assert np.isfinite(out[[0, 2, 3]]).all()


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
        self.kernels.tanh(x, b.y)
        b.y *= 2
        return b.y


class Mixed(Doubling, xn.Tanh):
    """An activation with a rule of its own, which it does not define itself."""


class Curved(Doubling, xn.Tanh):
    """One that says, wrongly but by itself, what the layer before may compute."""

    curve = xn.Tanh.curve


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
    assert [curve.name for _, curve in fused._chain] == [*joined, "identity"]
    assert [curve.name for _, curve in plain._chain] == ["identity"] * (len(layers) + 1)
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
    joined = plain.twin(backend)
    drops = backend.kernels.joins_dropout
    assert len(plain._chain) == len(layers) + 1
    assert len(joined._chain) == (left if drops else len(layers)) + 1
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
    joins = net.backend.kernels.joins
    assert len(net._chain) == (2 if joins else 3)


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
    nets[0] = nets[0].twin(backend)
    for net in nets:
        trainer = xn.Trainer(net, xn.SGD(0.01))
        for _ in range(5):
            trainer.step(x, y)
    found, expected = (net.backend.to_host(net.parameters) for net in nets)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@each_backend
def test_several_networks_at_once_are_not_joined(backend):
    layers = [xn.Linear(3), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device=backend, replicas=2)
    assert len(net._chain) == len(layers)


def test_unfused_is_the_reference():
    assert type(select("cpu", fused=False).kernels) is Kernels


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
        kernels.linear_backward(*arrays, None, Curve("relu"))
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


WHY = "import xpnet.backend as b; print(b.why_not_compiled(), type(b.select('cpu').kernels))"


def test_numba_can_be_switched_off():
    pytest.importorskip("numba")
    assert "NUMBA_DISABLE_JIT is set" in elsewhere(WHY, NUMBA_DISABLE_JIT="1")


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


def test_without_a_folder_for_machine_code_it_is_made_each_time(monkeypatch):
    numba = pytest.importorskip("numba")
    from xpnet import _loops

    plain = numba.njit

    def njit(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(function, **options)

    monkeypatch.setattr(numba, "njit", njit)
    assert _loops.compiled(lambda x: x + 1)(2) == 3


def test_each_thread_has_scratch_of_its_own():
    kernels = NumpyBackend().kernels
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(kernels._scratch, 4, 5, np.dtype("f4")).result()
    here = kernels._scratch(4, 5, np.dtype("f4"))
    assert not np.shares_memory(here, there)
    assert np.shares_memory(here, kernels._scratch(3, 2, np.dtype("f4")))
