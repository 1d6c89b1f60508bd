"""A member is a network: of k in one step each becomes what it becomes alone.

A case is a function of ``own``, which takes a number for each member and returns all of them for
the network with members, or one for a network alone.
"""

import copy
import pickle
from dataclasses import MISSING, dataclass, fields

import numpy as np
import pytest

import xpnet as xn
from xpnet.nn.activations import Elementwise
from xpnet.nn.layer import Layer
from xpnet.nn.loss import Loss
from xpnet.optim.optimizers import Optimizer
from xpnet.train.run_description import describe, differences

SEEDS = (11, 4, 7)
K = len(SEEDS)

#: Relative to the largest number in an array.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

#: Long and short batches in turn; the longest more than once, for it to be replayed.
SIZES = (9, 4, 9, 1, 9, 9)


def every(*numbers):
    """Take all members' numbers."""
    return numbers


def member(i):
    """Return what takes member i's number."""
    return lambda *numbers: numbers[i]


def case(own, layers, *, loss=None, optimizer=None, n_features=4, codes=(), **trainer):
    """Return how a network and its trainer are made."""
    if optimizer is None:
        optimizer = xn.Adam(own(0.01, 0.02, 0.03))
    network = {"layers": layers, "loss": loss or "softmax_cross_entropy", "n_features": n_features}
    return network, {"optimizer": optimizer, **trainer}, codes


# -- layers ----


def plain(own, *layers, **options):
    return case(own, [xn.Linear(6), *layers, xn.Linear(3)], **options)


def periodic(**options):
    return xn.PeriodicEmbedding((3, 1), 4, 5, 0.5, **options)


def codes(own, *layers):
    return case(own, [*layers, xn.Linear(3)], codes=(1, 3))


#: Three schedules of dropout.
FALLING = [xn.Cosine(0.6, total=total) for total in (1, 2, 5)]

CONSTANTS = xn.Standardize([0.1, -0.3, 0.0, 0.5], [0.7, 2.0, 0.0, 1.0])

AMONG_BINS = xn.PiecewiseLinearEmbedding({1: (-1.0, 0.2, 1.0), 0: (-0.5, 0.5)}, 3, relu=True)

#: Layers in the places where they may stand.
LAYERS = {
    "Linear": lambda own: case(own, [xn.Linear(5), xn.Linear(3, bias=False)]),
    "one Linear": lambda own: case(own, [xn.Linear(3)]),
    "BatchNorm": lambda own: plain(own, xn.BatchNorm()),
    "BatchNorm and an activation": lambda own: plain(own, xn.BatchNorm(0.3, 1e-3), xn.SiLU()),
    "BatchNorm first": lambda own: case(own, [xn.BatchNorm(), xn.Linear(3)]),
    "BatchNorm last": lambda own: case(own, [xn.Linear(3), xn.BatchNorm()]),
    "Dropout": lambda own: plain(own, xn.Dropout(0.4)),
    "Dropout of each its own": lambda own: plain(own, xn.Dropout(own(0.1, 0.5, 0.0))),
    "Dropout behind ReLU": lambda own: plain(own, xn.ReLU(), xn.Dropout(0.3)),
    "Dropout of each its own behind ReLU": lambda own: plain(
        own, xn.ReLU(), xn.Dropout(own(0.0, 0.5, 0.2))
    ),
    "Dropout of each its own behind BatchNorm": lambda own: plain(
        own, xn.BatchNorm(), xn.ReLU(), xn.Dropout(own(0.7, 0.5, 0.2))
    ),
    "Dropout on a schedule": lambda own: plain(own, xn.Dropout(xn.Cosine(0.6, total=2))),
    "Dropout on a schedule of each its own": lambda own: plain(own, xn.Dropout(own(*FALLING))),
    "Dropout on a schedule behind ReLU": lambda own: plain(
        own, xn.BatchNorm(), xn.ReLU(), xn.Dropout(xn.Exponential(0.6, 0.9, per="step"))
    ),
    "Dropout on a schedule of each its own behind ReLU": lambda own: plain(
        own, xn.ReLU(), xn.Dropout(own(*FALLING))
    ),
    "Dropout first": lambda own: case(own, [xn.Dropout(own(0.1, 0.2, 0.6)), xn.Linear(3)]),
    "two Dropouts": lambda own: plain(
        own, xn.Dropout(own(0.1, 0.2, 0.3)), xn.Tanh(), xn.Dropout(0.5)
    ),
    "an activation first": lambda own: case(own, [xn.Tanh(), xn.Linear(3)]),
    "an activation and Dropout first": lambda own: case(
        own, [xn.ReLU(), xn.Dropout(own(0.1, 0.2, 0.6)), xn.Linear(3)]
    ),
    "an activation last": lambda own: case(own, [xn.Linear(3), xn.Tanh()]),
    "Softmax": lambda own: plain(own, xn.Softmax()),
    "Softmax first": lambda own: case(own, [xn.Softmax(), xn.Linear(3)]),
    "OneHot": lambda own: codes(own, xn.OneHot({1: 4, 3: 2})),
    "OneHot and Embedding": lambda own: codes(own, xn.OneHot({3: 5}), xn.Embedding({1: 5}, 2)),
    "OneHot and Dropout": lambda own: codes(own, xn.OneHot({3: 5}), xn.Dropout(own(0.1, 0.5, 0.9))),
    "Embedding": lambda own: codes(own, xn.Embedding({1: 5, 3: 4}, 3), xn.Linear(4), xn.ReLU()),
    "Embedding and BatchNorm": lambda own: codes(own, xn.Embedding({1: 5}, 3), xn.BatchNorm()),
    "Embedding behind OneHot": lambda own: codes(
        own, xn.OneHot({1: 5}), xn.ReLU(), xn.Embedding({2: 4}, 2)
    ),
    # What ReLU has set to zero is the category 0.
    "Embedding behind Linear": lambda own: plain(own, xn.ReLU(), xn.Embedding({0: 3, 4: 2}, 2)),
    "OneHot behind Linear": lambda own: plain(own, xn.ReLU(), xn.OneHot({2: 3})),
    "PiecewiseLinearEmbedding": lambda own: case(own, [AMONG_BINS, xn.Dropout(0.2), xn.Linear(3)]),
    "an encoding and PiecewiseLinearEmbedding": lambda own: case(
        own,
        [xn.PiecewiseLinearEmbedding({2: (-1.0, 0.0, 1.0)}), xn.Tanh(), AMONG_BINS, xn.Linear(3)],
    ),
    "PiecewiseLinearEmbedding behind Linear": lambda own: plain(
        own, xn.Tanh(), AMONG_BINS, xn.PiecewiseLinearEmbedding({3: (-0.1, 0.0, 0.3)})
    ),
    "EnsembleLinear": lambda own: case(
        own,
        [
            *(xn.Linear(5), xn.EnsembleLinear(6, members=2), xn.ReLU()),
            *(xn.Dropout(own(0.1, 0.5, 0.3)), xn.EnsembleLinear(3, members=2, shared=False)),
        ],
    ),
    "Scale": lambda own: plain(own, xn.Scale(), xn.ReLU()),
    "Scale first": lambda own: case(own, [xn.SmoothClip(), xn.Scale(), xn.Linear(3)]),
    "Standardize first": lambda own: case(own, [CONSTANTS, xn.SmoothClip(), xn.Linear(3)]),
    "Standardize behind Linear": lambda own: plain(
        own, xn.Standardize([0.1] * 6, [0.5] * 6), xn.ReLU()
    ),
    "Scale among members that share weights": lambda own: case(
        own, [xn.EnsembleLinear(6, members=2), xn.Scale(), xn.EnsembleLinear(3, members=2)]
    ),
    "PeriodicEmbedding": lambda own: case(own, [periodic(), xn.Linear(3)]),
    "PeriodicEmbedding, PBLD": lambda own: case(
        own, [xn.Scale(), periodic(relu=False, phase=True, dense=True), xn.Linear(3)]
    ),
    "PeriodicEmbedding, shared": lambda own: plain(own, xn.Tanh(), periodic(shared=True)),
    "PeriodicEmbedding behind Linear": lambda own: plain(own, periodic(phase=True), xn.BatchNorm()),
    "RepeatedColumns": lambda own: case(
        own, [xn.RepeatedColumns((3, 0, 1)), xn.Dropout(own(0.1, 0.5, 0.3)), xn.Linear(3)]
    ),
    "RepeatedColumns and an embedding of the copies": lambda own: case(
        own, [xn.RepeatedColumns((1, 3)), xn.PeriodicEmbedding((4, 5), 3, 5), xn.Linear(3)]
    ),
    "RepeatedColumns behind Linear": lambda own: plain(own, xn.RepeatedColumns((5, 0)), xn.ReLU()),
    "deep": lambda own: plain(
        own,
        *(xn.BatchNorm(), xn.ReLU(), xn.Dropout(own(0.1, 0.5, 0.3)), xn.Linear(7), xn.GELU()),
        *(xn.Dropout(0.2), xn.Linear(5), xn.BatchNorm(), xn.LeakyReLU(0.1), xn.Linear(5)),
    ),
}

#: What a layer is given that has to be given something.
ARGUMENTS = {"GELU tanh": lambda own: plain(own, xn.GELU("tanh"))}


def layer_cases():
    """Return the cases of all layers of the library: those without one stand between two Linear."""
    cases = LAYERS | ARGUMENTS
    for name, cls in Layer.registry.own.items():
        needs = [f.name for f in fields(cls) if f.init and f.default is MISSING]
        if name not in cases and not needs and cls is not Elementwise:
            cases[name] = lambda own, cls=cls: plain(own, cls())
    return cases


# -- losses ----

#: Losses with options, where the defaults say little.
LOSSES = {
    "softmax_cross_entropy": lambda own: xn.SoftmaxCrossEntropy(own(0.0, 0.1, 0.3)),
    "one smoothing": lambda own: xn.SoftmaxCrossEntropy(0.2),
    "huber": lambda own: xn.Huber(0.7),
    "quantile": lambda own: xn.Quantile(0.8),
}


def loss_cases():
    """Return the cases of all losses of the library."""
    losses = {name: lambda own, cls=cls: cls() for name, cls in Loss.registry.own.items()} | LOSSES
    return {
        name: lambda own, loss=loss: plain(own, xn.Tanh(), loss=loss(own))
        for name, loss in losses.items()
    }


# -- optimisers ----

#: Members' own values of the options that optimisers have.
OWN = {
    "learning_rate": (0.003, 0.01, 0.02),
    "momentum": (0.5, 0.9, 0.0),
    "beta": (0.9, 0.5, 0.0),
    "beta_1": (0.9, 0.5, 0.0),
    "beta_2": (0.99, 0.9, 0.999),
    "eps": (1e-8, 1e-3, 1e-2),
    "weight_decay": (0.0, 0.1, 2.0),
    "momentum_decay": (4e-3, 0.0, 0.1),
}


def options_of(cls):
    """Return the options of an optimiser that are numbers."""
    return [f.name for f in fields(cls) if f.init and f.type != "bool"]


def optimizer_cases():
    """Return for each optimiser of the library: own rates, own schedules, all its numbers own."""
    optimizers = {}
    for name, cls in Optimizer.registry.own.items():
        options = options_of(cls)
        optimizers |= {
            name: lambda own, cls=cls: cls(0.01),
            f"{name}, rates": lambda own, cls=cls: cls(own(*OWN["learning_rate"])),
            f"{name}, schedules": lambda own, cls=cls: cls(
                own(*(xn.InverseTime(0.02, decay, per="step") for decay in (0.0, 0.5, 2.0)))
            ),
            f"{name}, all": lambda own, cls=cls, options=options: cls(
                **{option: own(*OWN[option]) for option in options}
            ),
        }
        for option in options[1:]:
            optimizers[f"{name}, {option}"] = lambda own, cls=cls, option=option: cls(
                0.01, **{option: own(*OWN[option])}
            )
    optimizers |= {
        "nesterov": lambda own: xn.SGD(own(0.01, 0.1, 0.02), own(0.5, 0.9, 0.7), nesterov=True),
        "functions": lambda own: xn.Adam(own(*(lambda t, e, a=a: a / (1 + t) for a in (1, 2, 3)))),
        "one function": lambda own: xn.Adam(lambda step, epoch: 0.1 / (1 + step)),
    }
    return {
        name: lambda own, make=make: plain(own, xn.Tanh(), optimizer=make(own))
        for name, make in optimizers.items()
    }


# -- what the trainer adds ----

NORM = [xn.BatchNorm(), xn.Tanh()]

TRAINERS = {
    "l2": lambda own: plain(own, *NORM, l2=0.3),
    "l2 of each its own": lambda own: plain(own, *NORM, l2=own(0.0, 0.1, 3.0)),
    "clip_norm": lambda own: plain(own, *NORM, clip_norm=0.3),
    "clip_norm of each its own": lambda own: plain(own, *NORM, clip_norm=own(0.1, 1e6, 0.5)),
    "decay on a schedule": lambda own: plain(
        own, *NORM, optimizer=xn.AdamW(0.02, weight_decay=xn.Exponential(5.0, 0.8, per="step"))
    ),
    "decay on a schedule of each its own": lambda own: plain(
        own, *NORM, optimizer=xn.Lion(own(0.01, 0.02, 0.03), weight_decay=own(*FALLING))
    ),
    "all": lambda own: plain(
        own,
        *(xn.BatchNorm(), xn.ReLU(), xn.Dropout(own(0.1, 0.5, 0.3))),
        loss=xn.SoftmaxCrossEntropy(own(0.1, 0.0, 0.2)),
        optimizer=xn.AdamW(own(0.01, 0.02, 0.03), own(0.9, 0.8, 0.5), weight_decay=0.1),
        l2=own(0.0, 0.1, 3.0),
        clip_norm=own(0.1, 1e6, 0.5),
    ),
}


# -- a user's own ----


@dataclass
class WavyBuffers(xn.LayerBuffers):
    slope: object = None
    height: object = None


@dataclass(eq=False)
class Wavy(xn.Layer):
    """x + a sin x."""

    height: xn.Numbers = 0.5

    def buffers(self, new, x, overwrite, needs_dx):
        return WavyBuffers(
            y=new.rows("y", self.n_inputs),
            slope=new.rows("slope", self.n_inputs),
            height=new.numbers("height", self.height),
        )

    def forward(self, x, b):
        xp = self.kernels.xp
        xp.cos(x, out=b.slope)
        xp.multiply(b.slope, b.height, out=b.slope)
        xp.add(b.slope, 1.0, out=b.slope)
        xp.sin(x, out=b.y)
        xp.multiply(b.y, b.height, out=b.y)
        xp.add(b.y, x, out=b.y)
        return b.y

    def backward(self, dy, b):
        self.kernels.xp.multiply(dy, b.slope, out=dy)
        return dy


@dataclass(frozen=True)
class Hyperbolic(xn.MeanSquaredError):
    """w² (√(1 + (z − y)²) − 1), whose predictions are w z."""

    weight: xn.Numbers = 1.0

    def compute(self, k, z, y, example_weight, b):
        xp, factor = k.xp, self.weight * self.weight * example_weight
        xp.subtract(z, y, out=b.dz)
        xp.multiply(b.dz, b.dz, out=b.terms)
        xp.add(b.terms, 1.0, out=b.terms)
        xp.sqrt(b.terms, out=b.terms)
        xp.divide(b.dz, b.terms, out=b.dz)
        xp.multiply(b.dz, factor, out=b.dz)
        xp.subtract(b.terms, 1.0, out=b.terms)
        xp.multiply(b.terms, factor, out=b.terms)
        xp.sum(b.terms, axis=(-2, -1), out=b.loss)

    def decide(self, xp, z):
        return z * self.weight

    def error_count(self, xp, y):
        return self.weight * super().error_count(xp, y)


@dataclass(frozen=True)
class SignOfMean(xn.Optimizer):
    """p ← p − α sign(v) with v ← β v + (1 − β) g."""

    beta: xn.Numbers = 0.9

    def update(self, k, p, g, moments, scalars, scratch, n_weights):
        xp, v, rest = k.xp, moments[0], scratch[0]
        xp.multiply(v, self.beta, out=v)
        xp.multiply(g, 1 - self.beta, out=rest)
        xp.add(v, rest, out=v)
        xp.sign(v, out=rest)
        xp.multiply(rest, scalars[0], out=rest)
        xp.subtract(p, rest, out=p)


USERS = {
    "layer": lambda own: plain(own, Wavy(0.3)),
    "layer, own": lambda own: plain(own, Wavy(own(0.3, 0.1, 1.0))),
    "layer first, own": lambda own: case(own, [Wavy(own(0.3, 0.1, 1.0)), xn.Linear(3)]),
    "loss": lambda own: plain(own, loss="hyperbolic"),
    "loss, own": lambda own: plain(own, loss=Hyperbolic(own(0.5, 1.0, 2.0))),
    "optimiser": lambda own: plain(own, optimizer=SignOfMean(0.01)),
    "optimiser, own": lambda own: plain(
        own, optimizer=SignOfMean(own(0.01, 0.02, 0.03), own(0.1, 0.5, 0.9))
    ),
}

CASES = {
    f"{kind}: {name}": made
    for kind, cases in {
        "layer": layer_cases(),
        "loss": loss_cases(),
        "optimiser": optimizer_cases(),
        "trainer": TRAINERS,
        "a user's": USERS,
    }.items()
    for name, made in cases.items()
}


# -- the harness ----


def data(net, coded, n, seed):
    """Return a batch that a network takes, with codes of categories in some columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, net.n_features))
    for column in coded:
        X[:, column] = rng.integers(-1, 6, n)
    if net.loss.target_shape(n, net.n_outputs) == (n,):
        return X.astype(net.dtype), rng.integers(0, net.n_outputs, n).astype(np.int32)
    return X.astype(net.dtype), rng.integers(0, 2, (n, net.n_outputs)).astype(net.dtype)


def host(net, array):
    return np.asarray(net.backend.to_host(array))


def assert_close(found, expected, dtype, what):
    """Raise an AssertionError if arrays lie further apart than rounding brings them."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    apart = np.abs(found - expected).max(initial=0.0)
    assert apart <= TOLERANCE[dtype] * np.abs(expected).max(initial=0.0), what  # NaN is not


def assert_same_state(together, alone, dtype):
    """Raise an AssertionError if members are not what the networks alone are."""
    net = together.network
    for i, one in enumerate(alone):
        for name in ("parameters", "gradients", "statistics"):
            pair = host(net, getattr(net, name))[i], host(net, getattr(one.network, name))
            assert_close(*pair, dtype, f"{name} of member {i}")
        # Without momentum SGD keeps none.
        for j, (found, expected) in enumerate(zip(together.moments, one.moments, strict=False)):
            assert_close(host(net, found)[i], host(net, expected), dtype, f"moment {j} of {i}")


def assert_same_predictions(net, alone, X, y, dtype):
    """Raise an AssertionError if predictions are not those of the networks alone."""
    proba = net.loss.has_probabilities
    ask = "predict_proba" if proba else "predict"
    # A network of layers that share weights has members itself.
    inner = any(isinstance(layer, xn.EnsembleLinear) for layer in net.layers)
    each = np.array([getattr(one, ask)(X, members=inner) for one in alone])
    axes = (0, 1) if inner else 0
    assert_close(getattr(net, ask)(X, members=True), each, dtype, ask)
    assert_close(getattr(net, ask)(X), each.mean(axis=axes), dtype, f"the mean of {ask}")
    assert_close(net.predict_std(X), each.std(axis=axes), dtype, "predict_std")
    for place, found in enumerate(net.activations(X)):
        expected = np.array([one.activations(X, [place])[0] for one in alone])
        assert_close(found, expected, dtype, f"outputs of layer {place}")
    found = net.evaluate(X, y)
    for key in ("loss", "error"):
        expected = [one.evaluate(X, y)[key] for one in alone]
        assert isinstance(found[key], list)
        assert_close(found[key], expected, dtype, key)


def build(made, own, device, dtype, seed, members=None):
    """Return a trainer of a case."""
    network, trainer, coded = made(own)
    net = xn.Network(**network, device=device, dtype=dtype, random_state=seed, members=members)
    return xn.Trainer(net, **trainer), coded


def both(made, device, dtype):
    """Return the trainer of a network with members, and those of the networks alone."""
    together, coded = build(made, every, device, dtype, list(SEEDS), K)
    alone = [build(made, member(i), device, dtype, seed)[0] for i, seed in enumerate(SEEDS)]
    return together, alone, coded


def train(together, alone, coded, dtype, sizes=SIZES, own=False):
    """Train with members and without, and compare the losses, and at the end all else.

    Members share the batches, or each has its own.
    """
    net, members = together.network, len(alone)
    for step, n in enumerate(sizes):
        drawn = [data(net, coded, max(n, net.min_batch), step + 99 * i) for i in range(members)]
        X, y = drawn[0]
        if own:
            X, y = (net.backend.asarray(np.stack(one)) for one in zip(*drawn, strict=True))
        losses = host(net, together.step(X, y))
        assert losses.shape == (members,)
        for i, one in enumerate(alone):
            expected = host(net, one.step(*drawn[i if own else 0]))
            assert_close(losses[i], expected, dtype, f"loss of {i}, step {step}")
    assert_same_state(together, alone, dtype)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", list(CASES))
def test_a_member_is_the_network_alone(device, name, dtype):
    together, alone, coded = both(CASES[name], device, dtype)
    net = together.network
    assert net.seeds == SEEDS
    assert_same_state(together, alone, dtype)
    train(together, alone, coded, dtype)
    X, y = data(net, coded, 20, 99)
    assert_same_predictions(net, [one.network for one in alone], X, y, dtype)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("optimiser")])
def test_a_member_is_the_network_alone_on_a_batch_of_its_own(device, name):
    together, alone, coded = both(CASES[name], device, "float64")
    train(together, alone, coded, "float64", own=True)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", ["trainer: all", "trainer: l2", "loss: huber"])
def test_weights_of_examples(device, name, own, dtype):
    together, alone, coded = both(CASES[name], device, dtype)
    net, rng = together.network, np.random.default_rng(0)
    for step, n in enumerate((9, 4, 9, 9, 9)):
        X, y = data(net, coded, n, step)
        weights = rng.integers(0, 4, (K, n) if own else n) + 0.5
        losses = host(net, together.step(X, y, weights))
        for i, one in enumerate(alone):
            expected = host(net, one.step(X, y, weights[i] if own else weights))
            assert_close(losses[i], expected, dtype, f"loss of {i}, step {step}")
    assert_same_state(together, alone, dtype)


def test_every_class_of_the_library_has_a_case():
    found = set()
    for made in CASES.values():
        network, trainer, _ = made(every)
        loss = network["loss"]
        found |= {type(layer) for layer in network["layers"]}
        found |= {Loss.registry[loss] if isinstance(loss, str) else type(loss)}
        found |= {type(trainer["optimizer"])}
    for kind in (Layer, Loss, Optimizer):
        missing = set(kind.registry.own.values()) - found - {Elementwise}
        assert not missing, f"give {missing} a case"


# -- one out of many, and many out of one ----

DEEP = CASES["trainer: all"]


def trained(device, dtype="float64"):
    """Return a trainer of members that has made some steps."""
    together, coded = build(DEEP, every, device, dtype, list(SEEDS), K)
    for step in range(3):
        together.step(*data(together.network, coded, 9, step))
    return together


def going_on(together, network, i):
    """Return a trainer of a network that goes on as member i."""
    one = xn.Trainer(network, **DEEP(member(i))[1])
    one.steps = together.steps
    for mine, all_of_them in zip(one.moments, together.moments, strict=True):
        with network.backend.active():
            mine[...] = all_of_them[i]
    return one


def test_a_member_goes_on_alone(device):
    together = trained(device)
    alone = [going_on(together, together.network.member(i), i) for i in range(K)]
    train(together, alone, (), "float64")


def test_networks_that_were_trained_go_on_as_members(device):
    before = trained(device)
    nets = [before.network.member(i) for i in range(K)]
    alone = [going_on(before, net, i) for i, net in enumerate(nets)]
    together = xn.Trainer(xn.stack(nets), **DEEP(every)[1])
    together.steps = before.steps
    for mine, theirs in zip(together.moments, before.moments, strict=True):
        with device.active():
            mine[...] = theirs
    train(together, alone, (), "float64")


def assert_equal(found, expected):
    """Raise an AssertionError if two networks are not the same to the last bit."""
    assert found.config() == expected.config()
    assert repr(found) == repr(expected)
    for name, array in expected.state().items():
        np.testing.assert_array_equal(found.state()[name], array)


def test_members_stacked_again_are_what_they_were(device):
    net = trained(device).network
    again = xn.stack([net.member(i) for i in range(K)])
    assert_equal(again, net)
    assert again.layers[3].p == (0.1, 0.5, 0.3)
    assert again.loss.label_smoothing == (0.1, 0.0, 0.2)
    for i in range(K):
        assert_equal(again.member(i), net.member(i))
        assert again.member(i).layers[3].p == (0.1, 0.5, 0.3)[i]


def test_what_all_share_is_one_number_again(device):
    net = trained(device).network
    twice = xn.stack([net.member(1), net.member(1)])
    assert twice.layers[3].p == 0.5
    assert twice.seeds == (4, 4)


def test_copies_have_all_members(device, tmp_path):
    net, path = trained(device).network, tmp_path / "net.safetensors"
    net.save(path)
    assert_equal(xn.load(path, device=device), net)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert_equal(other.clone(device), net.clone())  # the stand-in's come back on the CPU
        for i in range(K):
            np.testing.assert_array_equal(other.member(i).parameters, host(net, net.parameters)[i])
    untrained = build(DEEP, every, device, "float64", list(SEEDS), K)[0].network
    assert_equal(net.clone(), untrained)
    other = build(DEEP, every, device, "float64", [1, 2, 3], K)[0].network
    other.load_state(net.state())
    assert_close(host(other, other.parameters), host(net, net.parameters), "float64", "parameters")


def test_a_copy_of_a_member_is_its_own(device):
    net = trained(device).network
    alone, before = net.member(0), net.state()
    with device.active():
        alone.parameters[...] = 0.0
        alone.statistics[...] = 0.0
    assert_equal(net.member(0), net.member(0))
    for name, array in net.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_one_member_is_the_network_alone(device):
    def own(*numbers):
        return [numbers[1]]

    for name in ("trainer: all", "optimiser: adamw, all", "layer: Dropout of each its own"):
        together, coded = build(CASES[name], own, device, "float64", [4], 1)
        alone = build(CASES[name], member(1), device, "float64", 4)[0]
        train(together, [alone], coded, "float64")
        assert together.network.parameters.shape[0] == 1
        X, y = data(together.network, coded, 20, 99)
        assert_same_predictions(together.network, [alone.network], X, y, "float64")


@pytest.mark.parametrize("fused", [False, True])
def test_fused_or_not(fused):
    made = CASES["layer: deep"]
    _, alone, coded = both(made, "cpu", "float64")
    network, trainer, _ = made(every)
    net = xn.Network(
        **network, device="cpu", dtype="float64", random_state=SEEDS, members=K, fused=fused
    )
    train(xn.Trainer(net, **trainer), alone, coded, "float64")


def test_members_of_one_seed_are_one_network_many_times(device):
    net = trained(device).network
    same = xn.stack([net.member(2)] * 2)
    trainer = xn.Trainer(same, xn.Adam(0.01))
    trainer.step(*data(same, (), 9, 0))
    first, second = host(same, same.parameters)
    np.testing.assert_array_equal(first, second)


# -- seeds ----


@pytest.mark.parametrize(
    ("random_state", "seeds"),
    [
        (5, (5, 6, 7)),
        (np.int32(5), (5, 6, 7)),
        ([9, 0, 9], (9, 0, 9)),
        ((9, np.int64(0), 9), (9, 0, 9)),
        (np.array([9, 0, 9]), (9, 0, 9)),
        (range(3), (0, 1, 2)),
        (2**70, (2**70, 2**70 + 1, 2**70 + 2)),
    ],
)
def test_seeds(random_state, seeds):
    net = build(DEEP, every, "cpu", "float32", random_state, K)[0].network
    assert net.seeds == seeds
    assert all(type(seed) is int for seed in net.seeds)
    assert net.random_state == list(seeds)
    for i, seed in enumerate(seeds):
        assert net.member(i).random_state == seed
        alone = build(DEEP, member(i), "cpu", "float32", seed)[0].network
        assert_equal(net.member(i), alone)


def test_a_seed_is_drawn_for_none():
    nets = [build(DEEP, every, "cpu", "float32", None, K)[0].network for _ in range(2)]
    first = nets[0].seeds[0]
    assert nets[0].seeds == (first, first + 1, first + 2)
    assert nets[0].seeds != nets[1].seeds


# -- what is set between steps ----

CHANGES = {
    "rates": lambda trainer, own: setattr(trainer, "learning_rate", own(0.1, 0.2, 0.3)),
    "one rate": lambda trainer, own: setattr(trainer, "learning_rate", 0.1),
    "schedules": lambda trainer, own: setattr(
        trainer, "learning_rate", own(*(xn.InverseTime(0.1, d, "step") for d in (0.1, 1.0, 2.0)))
    ),
    "one schedule": lambda trainer, own: setattr(trainer, "learning_rate", xn.InverseTime(0.2)),
    "numbers": lambda trainer, own: setattr(
        trainer, "optimizer", xn.Adam(0.01, own(0.5, 0.9, 0.8), own(0.99, 0.9, 0.5))
    ),
    "one number": lambda trainer, own: setattr(trainer, "optimizer", xn.Adam(0.01, 0.7)),
    "l2": lambda trainer, own: setattr(trainer, "l2", own(0.0, 0.1, 1.0)),
    "one l2": lambda trainer, own: setattr(trainer, "l2", 0.3),
    "no l2": lambda trainer, own: setattr(trainer, "l2", 0.0),
    "clip_norm": lambda trainer, own: setattr(trainer, "clip_norm", own(0.1, 0.2, 9.0)),
    "one clip_norm": lambda trainer, own: setattr(trainer, "clip_norm", 0.1),
    "no clip_norm": lambda trainer, own: setattr(trainer, "clip_norm", None),
}


def test_what_is_set_between_steps_is_heard_and_moments_are_kept(device):
    made = TRAINERS["l2"]
    together, alone, coded = both(made, device, "float64")
    names = list(CHANGES)
    # To and fro between what is shared and what each has of its own.
    for name in (*names, *reversed(names), *names[::2], *names[1::2]):
        CHANGES[name](together, every)
        for i, one in enumerate(alone):
            CHANGES[name](one, member(i))
        found = together.learning_rate
        expected = [one.learning_rate for one in alone]
        assert found == (expected if isinstance(found, list) else expected[0])
        train(together, alone, coded, "float64", sizes=(9, 4, 9))


def test_numbers_that_are_set_leave_no_arrays_behind(device):
    together = build(TRAINERS["l2"], every, device, "float64", 0, K)[0]
    x, y = data(together.network, (), 9, 0)
    for i in range(20):
        together.l2 = (0.1 * i, 0.2, 0.3)
        together.step(x, y)
    assert len(together.update_step._numbers._columns) <= 2


# -- what is refused ----


def small(*layers, **options):
    """Return a network of two members."""
    given = {"loss": "softmax_cross_entropy", "n_features": 4, "device": "cpu", "members": 2}
    return xn.Network([*layers, xn.Linear(3)], **given | options)


def single(**options):
    return small(members=None, **options)


X, Y = np.random.default_rng(0).standard_normal((12, 4)), np.arange(12) % 3

OF, BENDS = {"loss": "huber", "n_features": 4, "device": "cpu"}, (xn.ReLU(), xn.Tanh())

REFUSED = {
    "no members": (lambda: small(members=0), ValueError, "members is 0: give 1 or more"),
    "fewer": (lambda: small(members=-1), ValueError, "members is -1: give 1 or more"),
    "a flag": (lambda: small(members=True), TypeError, "members is True: give a whole number"),
    "a string": (lambda: small(members="3"), TypeError, "members is '3': give a whole number"),
    "a fraction": (lambda: small(members=2.0), TypeError, "members is 2.0: give a whole number"),
    "too many": (lambda: small(members=10**12), ValueError, "give at most 1,048,576"),
    "too few seeds": (
        lambda: small(random_state=[1]),
        ValueError,
        "random_state has 1 seeds and there are 2 members",
    ),
    "no seeds": (lambda: small(random_state=[]), ValueError, r"random_state is \[\]: give one"),
    "a seed of one network": (
        lambda: single(random_state=[1]),
        TypeError,
        r"random_state is \[1\]: give a whole number",
    ),
    "seeds without an order": (
        lambda: small(random_state={1, 2}),
        TypeError,
        "random_state is {1, 2}: give a list, in the order of the members",
    ),
    "a seed that is none": (
        lambda: small(random_state=[1, None]),
        TypeError,
        "random_state is None: give a whole number",
    ),
    "a seed below 0": (
        lambda: small(random_state=[1, -1]),
        ValueError,
        "random_state is -1: give 0 or more",
    ),
    "seeds with two axes": (
        lambda: small(random_state=np.ones((2, 1), int)),
        TypeError,
        r"random_state is array\(\[1\]\): give a whole number",
    ),
    "an array without axes": (
        lambda: small(random_state=np.array(3)),
        TypeError,
        r"random_state is array\(3\): give a whole number",
    ),
    "bytes": (lambda: small(random_state=b"12"), TypeError, "random_state is b'12'"),
    "a member that is a slice": (
        lambda: small().member(slice(1)),
        TypeError,
        "a member is slice",
    ),
    "a member that is a flag": (lambda: small().member(True), TypeError, "a member is True"),
    "a member below": (lambda: small().member(-3), IndexError, "there is no member -3"),
    "networks that are none": (lambda: xn.stack(3), TypeError, "networks is 3: give a list"),
    "one network in place of several": (
        lambda: xn.stack(single()),
        TypeError,
        "networks is Network.*: give a list",
    ),
    "no networks": (lambda: xn.stack([]), ValueError, "networks is empty: give one or more"),
    "strings": (lambda: xn.stack(["a"]), TypeError, "network is 'a': give a Network"),
    "members stacked": (
        lambda: xn.stack([small(), small()]),
        ValueError,
        r"stack takes a single network; this one has 2 members: .* network\.member\(0\)",
    ),
    "other precisions": (
        lambda: xn.stack([single(), single(dtype="float64")]),
        ValueError,
        "dtype is float32 in network 0 and float64 in network 1: members share it",
    ),
    "other activations": (
        lambda: xn.stack([xn.Network([xn.Linear(3), bend, xn.Linear(2)], **OF) for bend in BENDS]),
        ValueError,
        r"layer 1 is ReLU\(\) in network 0 and Tanh\(\) in network 1: members share their arch",
    ),
    "other losses": (
        lambda: xn.stack([single(), single(loss="mean_squared_error")]),
        ValueError,
        "the loss is .* in network 0 and .* in network 1",
    ),
    "other features": (
        lambda: xn.stack([single(), single(n_features=3)]),
        ValueError,
        "n_features is 4 in network 0 and 3 in network 1",
    ),
    "nesterov without momentum": (
        lambda: xn.SGD(0.1, [0.9, 0.0], nesterov=True),
        ValueError,
        "nesterov needs a momentum above 0",
    ),
    "a row's option": (
        lambda: _own_row([0.5, 1.0]),
        TypeError,
        r"delta is \(0\.5, 1\.0\), one for each member: give one",
    ),
    "the rate of several": (
        lambda: xn.Adam([0.1, 0.2]).rate(0, 0.0),
        TypeError,
        r"learning_rate is \(0\.1, 0\.2\), one for each member",
    ),
    "a user's own number for each": (
        lambda: xn.Network(
            [Wavy([0.1, 0.2]), xn.Linear(3)], loss="softmax_cross_entropy", n_features=4
        ),
        ValueError,
        "height of Wavy has 2 values, for so many members, and this is one network",
    ),
    "a user's own that is no number": (
        lambda: xn.Network([Wavy("a"), xn.Linear(3)], loss="softmax_cross_entropy", n_features=4),
        TypeError,
        "height of Wavy is 'a': give a number",
    ),
    "members of one network": (
        lambda: single().predict(X, members=True),
        ValueError,
        "this is one network, not several",
    ),
    "what is no flag": (lambda: small().predict(X, members=1), TypeError, "members is 1: give"),
    "the spread of one network": (
        lambda: single().predict_std(X),
        ValueError,
        "this is one network, not several",
    ),
}


def _own_row(deltas):
    @dataclass(frozen=True)
    class OwnHuber(xn.Huber):
        delta: xn.Numbers = 1.0

    return OwnHuber(deltas)


@pytest.mark.parametrize("what", list(REFUSED))
def test_bad_input_is_refused_by_name(what):
    call, error, message = REFUSED[what]
    with pytest.raises(error, match=message):
        call()


#: Where a number for each member may stand, by the name that a message gives it.
PLACES = {
    "p": lambda value: small(xn.Dropout(value)),
    "label_smoothing": lambda value: small(loss=xn.SoftmaxCrossEntropy(value)),
    "l2": lambda value: xn.Trainer(small(), l2=value),
    "clip_norm": lambda value: xn.Trainer(small(), clip_norm=value),
    "learning_rate": lambda value: xn.Trainer(small(), xn.Adam(value)),
    "momentum": lambda value: xn.Trainer(small(), xn.SGD(0.1, value)),
    "beta": lambda value: xn.Trainer(small(), xn.Momentum(0.1, value)),
    "beta_2": lambda value: xn.Trainer(small(), xn.Adam(0.1, beta_2=value)),
    "eps": lambda value: xn.Trainer(small(), xn.Adagrad(0.1, value)),
    "weight_decay": lambda value: xn.Trainer(small(), xn.Lion(0.1, weight_decay=value)),
    "momentum_decay": lambda value: xn.Trainer(small(), xn.NAdam(0.1, momentum_decay=value)),
}

BAD = {
    "too few": [0.1],
    "too many": [0.1, 0.2, 0.3],
    "none": [],
    "no axis": np.array(0.1),
    "two axes": np.full((2, 1), 0.1),
    "nested": [[0.1, 0.2]],
    "strings": ["a", "b"],
    "a string": "ab",
    "bytes": b"12",
    "flags": [True, False],
    "None inside": [0.1, None],
    "NaN": [0.1, float("nan")],
    "infinite": [float("inf"), 0.1],
    "negative": [0.1, -0.1],
    "no order": {0.1, 0.2},
    "a dict": {0: 0.1, 1: 0.2},
}


@pytest.mark.parametrize("bad", list(BAD))
@pytest.mark.parametrize("name", list(PLACES))
def test_a_number_for_each_member_is_refused_by_name(name, bad):
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b.*(is|has) .*: give "):
        PLACES[name](BAD[bad])


@pytest.mark.parametrize("name", list(PLACES))
def test_a_number_for_each_member_may_be_in_any_sequence(name):
    for value in ([0.1, 0.2], (0.1, 0.2), np.array([0.1, 0.2]), (x for x in (0.1, 0.2))):
        made = PLACES[name](value)
        holders = [made]
        if isinstance(made, xn.Trainer):
            holders += [made.optimizer]
        else:
            holders += [made.loss, *made.layers]
        (found,) = [getattr(h, name) for h in holders if isinstance(getattr(h, name, 0), tuple)]
        assert found == (0.1, 0.2)
        assert {type(number) for number in found} == {float}


def test_an_optimiser_of_members_is_a_value():
    first, second = xn.Adam([1, 2], np.array([0.5, 0.9])), xn.Adam((1.0, 2.0), [0.5, 0.9])
    assert first == second
    assert hash(first) == hash(second)
    assert repr(first) == (
        "Adam(learning_rate=(1.0, 2.0), beta_1=(0.5, 0.9), beta_2=0.999, eps=1e-08)"
    )


def test_numpy_s_numbers_are_numbers_in_a_step():
    given = xn.SGD(0.1, np.float64(0.9)), xn.Adam(0.1, np.float32(0.5)), xn.SGD(0.1, np.float64(0))
    for optimizer in given:
        assert {type(option) for option in optimizer.options} <= {float}
    assert given[-1].n_moments == 0


def test_what_a_user_s_class_annotates_otherwise_is_shared():
    @dataclass(eq=False)
    class Scaled(xn.ReLU):
        scales: float | tuple[float, ...] = 1.0
        ratio: "xn.Numbers" = 1.0

    one = xn.Network(
        [xn.Linear(2), Scaled((0.5, 2.0))], loss="mean_squared_error", n_features=2, device="cpu"
    )
    assert one.layers[1].scales == (0.5, 2.0)
    many = xn.Network(
        [xn.Linear(2), Scaled((0.5, 2.0, 3.0), [1.0, 2.0])],
        loss="mean_squared_error",
        n_features=2,
        device="cpu",
        members=2,
    )
    assert many.member(1).layers[1].scales == (0.5, 2.0, 3.0)
    assert many.member(1).layers[1].ratio == 2.0


SET = {
    "one rate": ("learning_rate", [0.1], "learning_rate of Adam has 1 values"),
    "three rates": ("learning_rate", [0.1, 0.2, 0.3], "learning_rate of Adam has 3 values"),
    "no rates": ("learning_rate", [], r"learning_rate is \[\]"),
    "two kinds": ("learning_rate", [0.1, xn.Constant(0.1)], "schedules of one kind"),
    "numbers": ("optimizer", xn.Adam(0.1, [0.1, 0.2, 0.3]), "beta_1 of Adam has 3 values"),
    "l2": ("l2", [0.1, 0.2, 0.3], "l2 has 3 values"),
    "clip_norm": ("clip_norm", [0.1, 0.0], "clip_norm is 0"),
}


@pytest.mark.parametrize("what", list(SET))
def test_what_is_refused_between_steps_changes_nothing(what):
    name, value, message = SET[what]
    trainers = [xn.Trainer(small(), xn.Adam([0.1, 0.2]), (0.1, 0.2)) for _ in range(2)]
    for trainer in trainers:
        trainer.step(X, Y)
    with pytest.raises(ValueError, match=message):
        setattr(trainers[0], name, value)
    losses = [trainer.step(X, Y) for trainer in trainers]
    np.testing.assert_array_equal(*losses)
    assert trainers[0].learning_rate == [0.1, 0.2]
    assert trainers[0].optimizer == trainers[1].optimizer


def test_a_checkpoint_tells_members_numbers_apart():
    first, second = describe(xn.Adam([0.1, 0.2])), describe(xn.Adam([0.1, 0.3]))
    assert [*differences(first, second)] == [
        "learning_rate[1] is 0.2 here and 0.3 in the checkpoint"
    ]
    schedules = xn.Adam([xn.InverseTime(0.1), xn.InverseTime(0.2)])
    assert [*differences(describe(schedules), describe(schedules))] == []
    assert describe(schedules)["learning_rate"][1]["initial"] == 0.2
