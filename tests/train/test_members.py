"""A member is a network: of k in one step each becomes what it becomes alone.

A case is a function of ``own``, which takes a number for each member and returns all of them for
the network with members, or one for a network alone.
"""

from dataclasses import MISSING, fields

import numpy as np
import pytest

import xpnet as xn
from xpnet.nn.activations import Elementwise
from xpnet.nn.layer import Layer
from xpnet.nn.loss import Loss
from xpnet.optim.optimizers import Optimizer

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


def codes(own, *layers):
    return case(own, [*layers, xn.Linear(3)], codes=(1, 3))


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
    "all": lambda own: plain(
        own,
        *(xn.BatchNorm(), xn.ReLU(), xn.Dropout(own(0.1, 0.5, 0.3))),
        loss=xn.SoftmaxCrossEntropy(own(0.1, 0.0, 0.2)),
        optimizer=xn.AdamW(own(0.01, 0.02, 0.03), own(0.9, 0.8, 0.5), weight_decay=0.1),
        l2=own(0.0, 0.1, 3.0),
        clip_norm=own(0.1, 1e6, 0.5),
    ),
}

CASES = {
    f"{kind}: {name}": made
    for kind, cases in {
        "layer": layer_cases(),
        "loss": loss_cases(),
        "optimiser": optimizer_cases(),
        "trainer": TRAINERS,
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
    each = np.array([getattr(one, ask)(X) for one in alone])
    assert_close(getattr(net, ask)(X, members=True), each, dtype, ask)
    assert_close(getattr(net, ask)(X), each.mean(axis=0), dtype, f"the mean of {ask}")
    assert_close(net.predict_std(X), each.std(axis=0), dtype, "predict_std")
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


def train(together, alone, coded, dtype, sizes=SIZES):
    """Train with members and without, and compare the losses, and at the end all else."""
    net = together.network
    for step, n in enumerate(sizes):
        X, y = data(net, coded, max(n, net.min_batch), step)
        losses = host(net, together.step(X, y))
        assert losses.shape == (K,)
        for i, one in enumerate(alone):
            assert_close(losses[i], host(net, one.step(X, y)), dtype, f"loss of {i}, step {step}")
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
