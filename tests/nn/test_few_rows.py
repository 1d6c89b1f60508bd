"""Predictions of few examples, in one call for all layers: the same as of the layers one by one."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.select import why_not_compiled
from xpnet.nn.activations import _MADE
from xpnet.nn.passes import MOST_SIZES

pytestmark = pytest.mark.skipif(why_not_compiled() is not None, reason="no compiled kernels")

RNG = np.random.default_rng(0)
SIZES = (1, 2, 5, 12, 13, 24, 40, 300)


@dataclass(eq=False)
class Doubled(xn.Linear):
    """A layer with a rule of its own, which no kernel knows."""

    def infer(self, x, b):
        y = super().infer(x, b)
        y *= 2.0
        return y


@dataclass(eq=False)
class Masked(xn.Linear):
    """A layer whose rule is that of `Linear`, with other weights than the parameters."""

    def bind(self, kernels):
        super().bind(kernels)
        self._weight_t = self._weight_t * (np.arange(self.n_inputs) % 2)[:, None]


def network(*hidden, loss="softmax_cross_entropy", **options):
    options = {"n_features": 7, "device": "cpu", "dtype": "float64"} | options
    net = xn.Network([*hidden, xn.Linear(3)], loss=loss, **options)
    net.parameters[...] += 0.1 * RNG.standard_normal(net.parameters.shape)
    net.statistics[...] += RNG.random(net.statistics.shape)
    return net


def slowly(net):
    """Return the same network, computed by the reference: layer by layer."""
    same = xn.Network(net.layers, fused=False, device="cpu", **net._options())
    same.load_state(net.state())
    return same


def is_quick(net, n=1):
    quick, X = net.predictor._few_rows, np.ones((n, net.n_features))
    return quick.logits(X, net.predictor.chunk) is not None


def features(n, m=7, dtype=np.float64):
    return RNG.standard_normal((n, m)).astype(dtype)


STACKS = {
    **{name: lambda kind=kind: [xn.Linear(20), kind()] for name, kind in _MADE.items()},
    "batch norm": lambda: [xn.Linear(20), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.5)],
    "first": lambda: [xn.BatchNorm(), xn.LeakyReLU(0.2)],
    "no hidden layer": list,
}


@pytest.mark.parametrize(("dtype", "members"), [("float32", None), ("float64", 3)])
@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_they_are_those_of_the_layers_one_by_one(layers, members, dtype):
    net = network(*layers(), members=members, dtype=dtype)
    slow, close = slowly(net), {"rtol": 1e-4, "atol": 1e-6}
    assert is_quick(net)
    assert not is_quick(slow)
    for n in SIZES:
        X = features(n, dtype=dtype)
        np.testing.assert_allclose(net.predict_proba(X), slow.predict_proba(X), **close)
        assert net.predict_proba(X).dtype == net.dtype


@pytest.mark.parametrize("loss", ["mean_squared_error", "sigmoid_cross_entropy", "quantile"])
def test_of_every_kind_of_output(loss):
    net = network(xn.Linear(9), xn.ReLU(), loss=loss)
    slow, X = slowly(net), features(5)
    assert is_quick(net)
    np.testing.assert_allclose(net.predict(X), slow.predict(X), rtol=1e-12)


def test_members_own_predictions_and_their_spread():
    net = network(xn.Linear(9), xn.ReLU(), members=3)
    slow, X = slowly(net), features(5)
    assert is_quick(net)
    for ask in (lambda n: n.predict_proba(X, members=True), lambda n: n.predict_std(X)):
        np.testing.assert_allclose(ask(net), ask(slow), rtol=1e-10)
    assert (net.predict(X, members=True) == slow.predict(X, members=True)).all()


def test_of_wide_layers_so_many_are_left_to_the_layers_as_would_need_much_memory():
    wide = network(xn.Linear(2**17), xn.ReLU(), dtype="float32")
    assert is_quick(wide, 8)
    assert not is_quick(wide, 9)


def test_no_more_outputs_are_held_at_once_than_of_a_chunk():
    net, X = network(xn.Linear(9), xn.ReLU(), members=2), features(40)
    expected = net.predict_proba(X, members=True)
    net.predictor.chunk = 16
    assert is_quick(net, 16)
    assert not is_quick(net, 17)
    np.testing.assert_allclose(net.predict_proba(X, members=True), expected, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_of_several_networks(n, dtype):
    net = network(xn.EnsembleLinear(9, members=3), xn.ReLU(), members=2, dtype=dtype)
    slow, X = slowly(net), features(n, dtype=dtype)
    for ask in (lambda n: n.predict_proba(X, members=True), lambda n: n.predict_std(X)):
        np.testing.assert_allclose(ask(net), ask(slow), rtol=1e-4, atol=1e-6)
    assert net.predict_proba(X, members=True).shape == (2, 3, n, 3)
    assert (net.predict(X) == slow.predict(X)).all()


@pytest.mark.parametrize(
    "layer",
    [Doubled(4), Masked(4), xn.Softmax(), xn.Scale(), xn.EnsembleLinear(4, members=2)],
    ids=lambda layer: type(layer).__name__,
)
def test_what_the_kernel_does_not_know_is_left_to_the_layers(layer):
    net = network(layer)
    assert not is_quick(net)
    X = features(5)
    np.testing.assert_allclose(net.predict_proba(X), slowly(net).predict_proba(X), rtol=1e-10)


WRITES = {
    "by hand": lambda net: net.parameters.__imul__(1.5),
    "a layer's view": lambda net: net.layers[-1].parameters["weight"].__imul__(2.0),
    "statistics": lambda net: net.statistics.__iadd__(1.0),
    "a step": lambda net: xn.Trainer(net, xn.SGD(1.0)).step(features(9), np.arange(9) % 3),
    "a state": lambda net: net.load_state(network(*STACKS["batch norm"]()).state()),
    "initialize": lambda net: net.initialize(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_predictions_follow_whatever_writes_into_the_network(write):
    net, X = network(*STACKS["batch norm"]()), features(5)
    ask = net.predictor()
    before = ask.predict_proba(X)
    assert (before == net.predict_proba(X)).all()
    write(net)
    now = ask.predict_proba(X)
    assert not np.allclose(now, before)
    assert (now == net.predict_proba(X)).all()
    np.testing.assert_allclose(now, slowly(net).predict_proba(X), rtol=1e-10)
    assert (ask.predict(X) == net.predict(X)).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_predictions_of_its_own(copied):
    net, X = network(*STACKS["batch norm"]()), features(5)
    expected = net.predict_proba(X)
    other = copied(net)
    net.parameters[...] = 0.0
    assert (other.predict_proba(X) == expected).all()


def test_in_a_callback_they_are_of_the_training_so_far():
    net, X, found = network(*STACKS["batch norm"]()), features(30), []

    def look(trainer, row):
        found.append(net.predict_proba(X[:3]))
        np.testing.assert_allclose(found[-1], slowly(net).predict_proba(X[:3]), rtol=1e-10)

    xn.Trainer(net).fit(X, np.arange(30) % 3, batch_size=10, epochs=3, callbacks=[look])
    assert len(found) == 3
    assert not (found[0] == found[2]).any()


@pytest.mark.parametrize("n", [1, 5, 40, 300])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(n, value):
    net, X = network(xn.Linear(9), xn.ReLU()), features(n)
    X[-1, 2] = value
    for ask in (net.predict_proba, net.predictor().predict):
        with pytest.raises(ValueError, match=r"1 value that is NaN or infinite, in column 2"):
            ask(X)


def test_what_is_too_large_for_the_dtype_is_refused_and_what_is_not_is_taken():
    net, X = network(xn.Linear(9), xn.ReLU(), dtype="float32"), features(5)
    X[1, 3] = 1e300
    with pytest.raises(ValueError, match=r"too large for float32, in column 3"):
        net.predict(X)
    assert network(xn.Linear(9)).predict(np.full((2, 7), 1e308)).shape == (2,)


@pytest.mark.parametrize("shape", [(0, 7), (5, 6), (7,), (2, 5, 7)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape|no rows"):
        network(xn.Linear(9)).predict(np.zeros(shape))


GIVEN = {
    "a transpose": lambda X: np.asfortranarray(X),
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "backwards": lambda X: X[::-1].copy()[::-1],
    "float32": lambda X: X.astype(np.float32),
    "big-endian": lambda X: X.astype(">f8"),
    "whole numbers": lambda X: X.astype(np.int16),
    "a list": lambda X: X.tolist(),
    "masked": lambda X: np.ma.masked_array(X),
    "unaligned": lambda X: np.frombuffer(b"_" + X.tobytes(), offset=1).reshape(X.shape),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("n", [3, 40])
def test_features_may_lie_as_they_like(given, n):
    net, X = network(xn.Linear(9), xn.ReLU()), np.round(4 * features(n))
    X.flags.writeable = False
    held = given(X)
    np.testing.assert_allclose(net.predict_proba(held), net.predict_proba(X.copy()), rtol=1e-12)
    assert np.array_equal(held, X)


@pytest.mark.parametrize("layers", [STACKS["batch norm"], STACKS["first"]])
@pytest.mark.parametrize("n", [3, 40])
def test_the_caller_s_features_are_left_alone(layers, n):
    X = features(n)
    before = X.copy()
    network(*layers()).predict(X)
    assert (before == X).all()


@pytest.mark.parametrize("layers", [[xn.Linear(9), xn.ReLU()], [xn.Linear(9), xn.Scale()]])
def test_threads_predict_at_once_and_have_the_same_bits(layers):
    net = network(*layers)
    batches = [features(n) for n in (1, 10, 40, 300) for _ in range(3)]
    expected = [net.predict_proba(X) for X in batches]
    wrong, start = [], threading.Barrier(4)

    def ask(order):
        start.wait()
        for _ in range(20):
            for i in order:
                if not np.array_equal(net.predict_proba(batches[i]), expected[i]):
                    wrong.append(i)

    orders = [RNG.permutation(len(batches)) for _ in range(4)]
    threads = [threading.Thread(target=ask, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_prediction_does_not_wait_for_another_one(monkeypatch):
    net, X = network(xn.Linear(9), xn.Scale()), features(5)
    expected, inside, go = net.predict_proba(X), threading.Event(), threading.Event()
    compute = net.passes.predict

    def slowed(x):
        z = compute(x)
        if threading.current_thread() is thread:
            inside.set()
            go.wait(60)
        return z

    monkeypatch.setattr(net.passes, "predict", slowed)
    found = []
    thread = threading.Thread(target=lambda: found.append(net.predict_proba(X)))
    thread.start()
    inside.wait(60)
    net.predict_proba(-X)  # in the midst of the other
    go.set()
    thread.join()
    assert (found[0] == expected).all()


def test_only_members_have_predictions_of_their_own():
    with pytest.raises(ValueError, match="this is one network, not several"):
        network().predictor(members=True)
    assert network(members=2).predictor(members=True).predict(features(5)).shape == (2, 5)


def test_a_prepared_predictor_of_members_answers_of_each():
    net, X = network(xn.Linear(9), xn.ReLU(), members=3), features(5)
    each, mean = net.predictor(members=True), net.predictor()
    assert (each.predict_proba(X) == net.predict_proba(X, members=True)).all()
    assert (each.predict(X) == net.predict(X, members=True)).all()
    assert (mean.predict_proba(X) == net.predict_proba(X)).all()
    assert each.predict_proba(X).shape == (3, *mean.predict_proba(X).shape)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("members", [None, 3])
def test_decisions_and_probabilities_of_one_way_through(loss, members):
    net, X = network(xn.Linear(9), xn.ReLU(), loss=loss, members=members), features(40)
    decided, p = net.predictor.both(X)
    assert (decided == net.predict(X)).all()
    np.testing.assert_allclose(p, net.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("X", [np.full((2, 7), "1"), np.zeros((2, 7), "m8[s]")], ids=["text", "s"])
def test_what_could_be_made_numbers_and_is_none_is_refused(X):
    with pytest.raises(TypeError, match="dtype"):
        network(xn.Linear(9)).predict(X)


def test_buffers_for_prediction_are_let_go_of_and_are_not_kept_for_every_size():
    passes = network(xn.Linear(9), xn.Scale()).passes
    before = passes.reserve(300, False)
    for n in range(1, 100):
        passes.predict(features(n))
    assert passes.reserve(5, False) is before
    assert len(passes._room(False).bound) <= MOST_SIZES + 1
    passes.let_go()
    assert passes.reserve(5, False) is not before


OTHERS_CODE = """
import sys, numpy as np, xpnet as xn
X = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
for name in sys.argv[1:]:
    net = xn.Network([xn.Linear(20), getattr(xn, name)(), xn.Linear(3)], device="cpu",
                     loss="softmax_cross_entropy", n_features=7)
    slow = xn.Network(net.layers, fused=False, device="cpu", **net._options())
    slow.load_state(net.state())
    np.testing.assert_allclose(net.predict_proba(X), slow.predict_proba(X), atol=1e-6)
"""


@pytest.mark.slow
def test_code_that_another_process_left_is_not_linked_with_one_s_own(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for names in (["ReLU"], ["Tanh", "ReLU"]):
        command = [sys.executable, "-c", OTHERS_CODE, *names]
        subprocess.run(command, env=environment, check=True)
