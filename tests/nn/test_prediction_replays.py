"""Predictions that are captured by batch size: they are those of a network that computes each."""

import logging
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.capture import CAPTURED, WARM_UP
from xpnet.nn.categories import code_columns
from xpnet.nn.prediction_replays import MOST_ROWS, MOST_SIZES

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "ci" / "gpu"))

from training import STEPS

X = np.random.default_rng(0).standard_normal((203, 12)).astype(np.float32)
LAYERS = [xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(9), xn.Tanh()]
LAYERS += [xn.Linear(4)]

#: Calls of a size until the first that is replayed: one alone, some to warm up, one to capture.
BEFORE = 1 + WARM_UP + 1


class Eager(StrictBackend):
    """The stand-in without graphs."""

    def replay(self, function, state=(), fresh=tuple):
        return function


def network(backend, layers=LAYERS, loss="softmax_cross_entropy", **options):
    return xn.Network(layers, loss=loss, n_features=12, device=backend, **options)


def host(backend, answers):
    return np.array(backend.to_host(answers))


def ask(net, x, **options):
    return host(net.backend, net.predict_proba(x, **options))


def given(backend, x):
    return backend.asarray(np.ascontiguousarray(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STEPS)
def test_replayed_predictions_have_the_bits_of_eager_ones(name, dtype, caplog):
    layers, loss, _, _ = STEPS[name]
    found = []
    with caplog.at_level(logging.DEBUG, "xpnet"):
        for backend in (StrictBackend(), Eager()):
            net, x = network(backend, layers, loss, dtype=dtype), X.copy()
            for column, size in code_columns(net.layers, 12).items():
                x[:, column] = np.random.default_rng(column).integers(-1, size + 1, len(x))
            parts = [x[i : i + n] for i in range(0, 60, 10) for n in (1, 10)]
            found.append([host(backend, net.predict(given(backend, part))) for part in parts])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert caplog.messages == [CAPTURED] * 2
    assert found[0][0].dtype == found[1][0].dtype


@pytest.mark.parametrize("each", [False, True], ids=["mean", "each member"])
@pytest.mark.parametrize("kind", ["networks", "shared weights"])
def test_replayed_predictions_of_members(kind, each):
    layers, options = LAYERS, {"members": 3}
    if kind == "shared weights":
        layers = [xn.EnsembleLinear(8, members=3), xn.ReLU(), xn.EnsembleLinear(4, members=3)]
        options = {}
    found = []
    for backend in (StrictBackend(), Eager()):
        net = network(backend, layers, **options)
        calls = [ask(net, given(backend, X[i : i + 7]), members=each) for i in range(8)]
        found.append([*calls, host(backend, net.predict_std(given(backend, X[:7])))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_size_is_captured_when_it_comes_again(strict):
    net = network(strict)
    for n in range(1, 40):  # each once
        net.predict(given(strict, X[:n]))
    assert (strict.captures, strict.replays) == (0, 0)
    for _ in range(BEFORE):
        net.predict(given(strict, X[:64]))
    assert (strict.captures, strict.replays) == (1, 1)  # the graph is tried once
    for _ in range(10):
        net.predict(given(strict, X[:64]))
    assert (strict.captures, strict.replays) == (1, 11)


def test_a_few_sizes_stay_captured(strict):
    net = network(strict)
    net.passes.reserve(100, training=False)
    sizes = range(1, MOST_SIZES + 2)
    for n in sizes:
        for _ in range(BEFORE):
            net.predict(given(strict, X[:n]))
    before = strict.captures, strict.replays
    assert before == (len(sizes), len(sizes))
    for n in sizes[1:]:
        net.predict(given(strict, X[:n]))
    assert strict.replays == before[1] + MOST_SIZES
    net.predict(given(strict, X[:1]))  # the first has made room for the last
    assert (strict.captures, strict.replays) == (before[0], before[1] + MOST_SIZES)


def test_large_batches_are_not_captured(strict):
    net = network(strict)
    x = given(strict, np.resize(X, (MOST_ROWS + 1, 12)))
    for _ in range(2 * BEFORE):
        net.predict(x)
    assert strict.captures == 0


def test_thousands_of_replays_take_no_memory(strict):
    net, x = network(strict), given(strict, X[:5])
    for _ in range(BEFORE):
        net.predict(x)
    before = strict.taken
    for _ in range(2000):
        net.predict(x)
    assert strict.taken == before


def test_answers_are_the_caller_s(strict):
    net, eager = network(strict), network(Eager())
    parts = [X[i : i + 5] for i in range(10)]
    answers = [net.predict_proba(given(strict, part)) for part in parts]
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_array_equal(host(strict, answer), ask(eager, part))
    assert strict.replays


def test_features_are_read_and_never_written(strict):
    net = network(strict, [xn.Tanh(), xn.Linear(4)])
    parts = [given(strict, X[i : i + 5]) for i in range(10)]
    for part in parts:
        net.predict(part)
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(host(strict, part), X[i : i + 5])


def change(how, net):
    """Change what predictions rest on; of a network that captures and one that does not alike."""
    backend = net.backend
    with backend.active():
        if how == "parameters":
            net.parameters *= 1.5
        if how == "statistics":
            net.statistics += 0.25
    if how == "load_state":
        net.load_state({name: array * 0.75 for name, array in net.state().items()})
    if how == "initialize":
        net.initialize()
    if how == "training":
        y = np.arange(60) % 4
        xn.Trainer(net).fit(X[:60], y, batch_size=20, epochs=2, validation_data=(X[:5], y[:5]))
    if how == "larger batches":
        net.predict(given(backend, X))
    if how == "let go":
        net.passes.let_go()


@pytest.mark.parametrize(
    "how",
    [
        *("parameters", "statistics", "load_state", "initialize"),
        *("training", "larger batches", "let go"),
    ],
)
def test_what_changes_in_between_counts(how):
    found = []
    for backend in (StrictBackend(), Eager()):
        net = network(backend)
        answers = [ask(net, given(backend, X[:5])) for _ in range(BEFORE + 2)]
        change(how, net)
        answers += [ask(net, given(backend, X[i : i + 5])) for i in range(BEFORE + 2)]
        found.append(answers)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_graphs_stay_when_weights_are_written(strict):
    net = network(strict)
    for i in range(20):
        if i > BEFORE:
            change("parameters", net)
        net.predict(given(strict, X[:5]))
    assert strict.captures == 1


@pytest.mark.parametrize("p", [0.2, 0.4], ids=["in place", "with options of its own"])
def test_a_member_that_is_replaced_counts(p):
    found = []
    for backend in (StrictBackend(), Eager()):
        layers = [xn.Linear(8), xn.ReLU(), xn.Dropout((0.1, 0.2)), xn.Linear(4)]
        trainer = xn.Trainer(network(backend, layers, members=2))
        layers[2] = xn.Dropout(p)
        other = xn.Trainer(network(backend, layers, random_state=9))
        answers = []
        for i in range(2 * BEFORE + 4):
            if i == BEFORE + 2:
                trainer.replace(1, other)
            answers.append(ask(trainer.network, given(backend, X[:5]), members=True))
        found.append(answers)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found[0][-1][1] != found[0][0][1]).any()


def test_each_thread_has_graphs_of_its_own(strict):
    net, eager = network(strict), network(Eager())
    expected = [ask(eager, X[i : i + 5]) for i in range(12)]
    wrong, turns = [], threading.Lock()

    def predict():
        for i in range(12):
            with turns:  # the stand-in notes one graph at a time
                found = ask(net, given(strict, X[i : i + 5]))
            if not np.array_equal(found, expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert strict.captures == 3


def test_a_thread_s_graphs_end_with_it(strict):
    net = network(strict)
    taken = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: [ask(net, X[:5]) for _ in range(8)])
        thread.start()
        thread.join()
        taken.append(strict.taken)
    assert strict.captures == 3
    assert taken == taken[:1] * 3


def test_a_callback_predicts_while_steps_are_replayed():
    found = []
    for backend in (StrictBackend(), Eager()):
        trainer, answers = xn.Trainer(network(backend)), []

        class Ask(xn.Callback):
            def on_step_end(self, trainer, n, answers=answers):
                answers.append(ask(trainer.network, X[:5]))

        trainer.fit(X[:60], np.arange(60) % 4, batch_size=5, epochs=2, callbacks=[Ask()])
        found.append([*answers, host(backend, trainer.network.parameters)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@dataclass(eq=False)
class Peeking(xn.Layer):
    """A layer that looks at its input on the host, which no graph can."""

    def forward(self, x, b):
        float(x.sum())
        self.kernels.xp.copyto(b.y, x)
        return b.y

    def backward(self, dy, b):
        return dy


@dataclass(eq=False)
class Drawing(Peeking):
    """A layer that predicts something else each time, by what only Python knows."""

    def forward(self, x, b):
        self.calls = getattr(self, "calls", 0) + 1
        self.kernels.xp.multiply(x, float(self.calls), out=b.y)
        return b.y


@pytest.mark.parametrize("kind", [Peeking, Drawing])
def test_a_layer_that_can_t_be_captured_predicts_all_the_same(kind, caplog):
    found = []
    with caplog.at_level(logging.WARNING, "xpnet"):
        for backend in (StrictBackend(), Eager()):
            net = network(backend, [xn.Linear(8), kind(), xn.Linear(4)])
            found.append([ask(net, X[i : i + 5]) for i in range(10)])
    assert len(caplog.messages) == 1
    assert "runs kernel by kernel" in caplog.messages[0]
    if kind is Peeking:
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


class Dropping(StrictBackend):
    """Its graphs leave one operation out."""

    left_out = 0

    def capture(self, function, *arrays):
        replay, result = super().capture(function, *arrays)
        self.operations = replay.args[0].operations
        del self.operations[self.left_out % len(self.operations)]
        return replay, result


def test_a_graph_that_leaves_something_out_is_not_used(caplog):
    """Each operation in turn, on the same row all the time: whatever is left over would do."""
    count, i = 1, 0
    state = network("cpu").state()
    draw = np.random.default_rng(1)  # or batch norm would multiply by 1
    state = {
        k: draw.uniform(0.5, 1.5, a.shape).astype(a.dtype) - (a.ndim > 1) for k, a in state.items()
    }
    eager = network(Eager())
    eager.load_state(state)
    expected = ask(eager, X[:1])
    while i < count:
        backend = Dropping()
        backend.left_out = i
        caplog.clear()
        with caplog.at_level(logging.WARNING, "xpnet"):
            net = network(backend)
            net.load_state(state)
            for _ in range(BEFORE + 2):
                np.testing.assert_array_equal(ask(net, X[:1]), expected)
        assert any("computes something else" in message for message in caplog.messages), i
        count, i = len(backend.operations) + 1, i + 1
    assert count > 5


class Full(StrictBackend):
    """There is no room for what a graph reads."""

    def hold(self, array):
        raise MemoryError("no room")


def test_without_room_for_a_graph_predictions_go_on():
    net, eager = network(Full()), network(Eager())
    for i in range(8):
        np.testing.assert_array_equal(ask(net, X[i : i + 5]), ask(eager, X[i : i + 5]))
    assert net.backend.captures == 0


def test_evaluation_is_replayed_too():
    found = []
    for backend in (StrictBackend(), Eager()):
        net = network(backend)
        found.append([net.evaluate(X, np.arange(len(X)) % 4) for _ in range(8)])
    assert found[0] == found[1]


def test_on_a_cpu_nothing_is_kept():
    net = network("cpu")
    expected = net.predict_proba(X)
    for _ in range(BEFORE + 2):
        np.testing.assert_array_equal(net.predict_proba(X), expected)
