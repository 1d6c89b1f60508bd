"""Steps that are captured as graphs: what is replayed is what would have been computed."""

import itertools
import logging
from functools import partial

import numpy as np
import pytest
from emulator import CapturedLauncher, stand_in, why_no_compiler
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.capture import WARM_UP, CapturedStep
from xpnet.backends.select import select, why_no_cuda
from xpnet.train import step_scalars

X = np.random.default_rng(0).standard_normal((203, 12)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0) + 2 * (X[:, 2] > 0)
W = np.random.default_rng(1).random(len(X)) + 0.5

LAYERS = [xn.Dropout(0.1), xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2)]
LAYERS += [xn.Linear(9), xn.Tanh(), xn.Linear(4)]

OPTIMIZERS = [
    xn.SGD(0.05),
    xn.SGD(0.05, 0.9, nesterov=True),
    xn.Momentum(0.05),
    xn.RMSProp(1e-3),
    xn.Adagrad(1e-2),
    xn.AdamW(xn.Cosine(1e-2, total=4), weight_decay=0.1),
    xn.NAdam(1e-3),
    xn.Lion(1e-3, weight_decay=0.1),
    xn.Adam(xn.Cosine(1e-2, total=4)),
    xn.Adam(xn.Exponential(1e-2, decay=0.999, per="step")),
]


class Eager(StrictBackend):
    """The stand-in without graphs."""

    def replay(self, function, state=(), fresh=tuple):
        return function


def capturing():
    """Return each backend that captures, with one that does the same without."""
    found = [pytest.param(StrictBackend, Eager, id="strict")]
    if why_no_compiler() is None:
        pair = stand_in, partial(stand_in, Eager)
        found.append(pytest.param(*pair, id="fused", marks=pytest.mark.slow))
    if why_no_cuda() is None:
        found.append(pytest.param(lambda: select("cuda"), uncaptured, id="cupy"))
    return found


def uncaptured():
    from xpnet.backends.cuda.cupy_backend import CupyBackend

    class EagerCupy(CupyBackend):
        replay = Eager.replay

    return EagerCupy()


each_pair = pytest.mark.parametrize(("fast", "slow"), capturing())


def network(backend, layers=LAYERS, **options):
    options = {"loss": "softmax_cross_entropy", "n_features": 12, **options}
    return xn.Network(layers, device=backend, **options)


def state(trainer):
    net, host = trainer.network, trainer.backend.to_host
    return [np.array(host(a)) for a in (net.parameters, net.statistics, *trainer.moments)]


def assert_same(a, b):
    for x, y in zip(state(a), state(b), strict=True):
        np.testing.assert_array_equal(x, y)


def both(fast, slow, train, layers=LAYERS, optimizer=OPTIMIZERS[-1], l2=0.1, **options):
    """Return two trainers, trained on a capturing backend and on one that does not capture."""
    trainers = []
    for backend in (fast(), slow()):
        trainer = xn.Trainer(network(backend, layers, **options), optimizer, l2)
        train(trainer)
        trainers.append(trainer)
    return trainers


def epochs(trainer):
    """Return for how long to train: kernels on the host take their time."""
    launcher = getattr(trainer.backend.kernels, "_launcher", None)
    return 2 if isinstance(launcher, CapturedLauncher) else 12


@each_pair
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
def test_a_captured_fit_ends_with_the_bits_of_an_eager_one(fast, slow, optimizer, weights):
    def train(trainer):
        options = {"batch_size": 10, "validation_data": (X[:50], Y[:50])}
        trainer.fit(X, Y, epochs=epochs(trainer), sample_weight=weights, **options)

    trainers = both(fast, slow, train, optimizer=optimizer)
    assert trainers[0].steps == epochs(trainers[0]) * 21
    assert_same(*trainers)
    losses = [trainer.history["train_loss"] for trainer in trainers]
    assert losses[0] == losses[1]


@each_pair
@pytest.mark.parametrize("members", [None, 3])
def test_a_captured_step_sees_dropout_change(fast, slow, members):
    falling = xn.Dropout(xn.Exponential(0.6, decay=0.98, per="step"))
    layers = [falling, xn.Linear(16), xn.BatchNorm(), xn.ReLU(), falling, xn.Linear(4)]

    def train(trainer):
        trainer.fit(X, Y, batch_size=10, epochs=epochs(trainer))

    trainers = both(fast, slow, train, layers=layers, members=members)
    assert_same(*trainers)
    steps, n = trainers[0].steps, members or 1
    expected = round(0.6 * 0.98 ** (steps - 1) * 65536)
    for trainer in trainers:
        held = trainer.backend.to_host(trainer.network.scheduled.array)
        np.testing.assert_array_equal(held.reshape(-1), [expected] * 2 * n)


@each_pair
def test_captured_single_steps_too(fast, slow):
    found = []

    def train(trainer):
        for i in range(30):
            part = slice(7 * i % 150, 7 * i % 150 + (20 if i % 3 else 13))
            found.append(float(trainer.step(X[part], Y[part])))

    assert_same(*both(fast, slow, train))
    assert found[:30] == found[30:]


@each_pair
@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: setattr(trainer, "learning_rate", 0.003),
        lambda trainer: setattr(trainer, "learning_rate", xn.Constant(0.003)),
        lambda trainer: setattr(trainer, "l2", 3.0),
        lambda trainer: setattr(trainer, "optimizer", xn.Adam(1e-3, beta_1=0.5)),
        lambda trainer: trainer.network.passes.reserve(500, training=True),
        lambda trainer: [trainer.step(X[:n], Y[:n]) for n in range(2, 90)],
        lambda trainer: trainer.fit(X[:40], Y[:40], batch_size=20, epochs=3),
        lambda trainer: trainer.network.initialize(),
        lambda trainer: trainer.network.predict(X),
    ],
    ids=["rate", "schedule", "l2", "betas", "buffers", "many sizes", "a fit", "weights", "predict"],
)
def test_what_is_changed_between_steps_counts(fast, slow, change):
    def train(trainer):
        for i in range(12):
            if i == 7:
                change(trainer)
            trainer.step(X[i : i + 20], Y[i : i + 20])

    assert_same(*both(fast, slow, train))


@each_pair
def test_a_rate_that_a_callback_sets_counts(fast, slow):
    def train(trainer):
        def slower(trainer, row):
            trainer.learning_rate = 0.01 / row["epoch"]

        trainer.fit(X, Y, batch_size=20, epochs=4, callbacks=[slower])

    assert_same(*both(fast, slow, train))


@each_pair
def test_a_second_fit_on_other_data_counts(fast, slow):
    def train(trainer):
        trainer.fit(X, Y, batch_size=20, epochs=2)
        trainer.fit(X[:100] * 2, Y[:100], batch_size=20, epochs=2)

    assert_same(*both(fast, slow, train))


@each_pair
@pytest.mark.parametrize(
    "transforms",
    [
        [xn.GaussianNoise(0.1), xn.Mixup(0.2)],
        [xn.Rotation(10), xn.Shift(1), xn.HorizontalFlip()],
        [xn.Zoom(0.1), xn.Cutout(2)],
    ],
    ids=str,
)
def test_features_that_are_augmented(fast, slow, transforms):
    augmentation = xn.Augmentation(transforms, image_shape=(3, 4))

    def train(trainer):
        trainer.fit(X, Y, batch_size=20, epochs=3, augmentation=augmentation)

    trainers = both(fast, slow, train)
    assert_same(*trainers)
    assert getattr(trainers[0].backend, "captures", 1)


@each_pair
def test_features_that_are_codes(fast, slow):
    codes = np.floor(2 * X[:, :3] + 3)  # some are negative, some too large
    x = np.concatenate([codes, X[:, 3:]], axis=1)
    layers = [xn.OneHot({1: 6}), xn.Embedding({0: 7, 1: 20}, 4), *LAYERS]
    mixed = xn.Augmentation([xn.GaussianNoise(0.1), xn.Mixup(0.2)])

    def train(trainer):
        trainer.fit(x[:100], Y[:100], batch_size=20, epochs=1)
        trainer.fit(x[:100], Y[:100], batch_size=20, epochs=1, augmentation=mixed)

    trainers = both(fast, slow, train, layers=layers)
    assert_same(*trainers)
    assert getattr(trainers[0].backend, "captures", 1)


@each_pair
def test_places_among_bins(fast, slow):
    layers = [
        xn.PiecewiseLinearEmbedding({1: (-1.0, 0.0, 1.0)}),
        xn.PiecewiseLinearEmbedding({0: (-0.5, 0.5), 1: (-1.0, 0.2, 1.0)}, 3, relu=True),
        *LAYERS,
    ]

    def train(trainer):
        trainer.fit(X[:100], Y[:100], batch_size=20, epochs=2)

    trainers = both(fast, slow, train, layers=layers)
    assert_same(*trainers)
    assert getattr(trainers[0].backend, "captures", 1)


@each_pair
def test_members_that_share_weights(fast, slow):
    def train(trainer):
        trainer.fit(X, Y, batch_size=20, epochs=2)
        trainer.fit(X, Y, batch_size=20, epochs=2, sample_weight=W, micro_batches=2)

    kind = {"members": 3}
    layers = [
        xn.EnsembleLinear(8, **kind),
        xn.ReLU(),
        xn.Dropout(0.2),
        xn.EnsembleLinear(8, **kind),
    ]
    layers += [xn.Tanh(), xn.EnsembleLinear(4, 3, shared=False)]
    assert_same(*both(fast, slow, train, layers=layers))


@each_pair
def test_features_that_are_streamed(fast, slow):
    sparse = pytest.importorskip("scipy.sparse")

    def train(trainer):
        trainer.fit(sparse.csr_array(np.maximum(X, 0)), Y, batch_size=20, epochs=3)

    assert_same(*both(fast, slow, train))


@each_pair
@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("n", [203, 201])
def test_a_graph_s_memory_stays_when_a_batch_of_another_size_comes(fast, slow, weights, parts, n):
    """The last batch has 3 examples, or 11: one left over would not do for batch norm."""

    def train(trainer):
        w = None if weights is None else weights[:n]
        trainer.fit(X[:n], Y[:n], batch_size=10, epochs=4, sample_weight=w, micro_batches=parts)

    assert_same(*both(fast, slow, train))


@each_pair
def test_single_steps_of_sizes_that_grow(fast, slow):
    def train(trainer):
        trainer.network.passes.reserve(100, training=True)
        for i in range(12):
            n = 50 if i == 8 else 20
            trainer.step(X[i : i + n], Y[i : i + n], W[i : i + n])

    assert_same(*both(fast, slow, train))


@each_pair
def test_labels_with_gaps(fast, slow):
    def train(trainer):
        with trainer.backend.active():
            x, y = trainer.network.prepare(X[:20], Y[:20])
            y = trainer.backend.xp.stack([y, y * 0], 1)[:, 0]
        trainer.told = [float(trainer.step(x, y)) for _ in range(6)]

    trainers = both(fast, slow, train)
    assert trainers[0].told == trainers[1].told


@each_pair
def test_several_networks_at_once(fast, slow):
    def train(trainer):
        for i in range(8):
            trainer.step(X[i : i + 20], Y[i : i + 20])

    assert_same(*both(fast, slow, train, members=3))


@each_pair
def test_a_captured_run_that_diverges_goes_back_as_far(fast, slow):
    def train(trainer):
        trainer.step(X[:20], Y[:20])
        with pytest.raises(xn.DivergedError) as raised:
            trainer.fit(X * 1e30, Y, batch_size=5, epochs=9)
        trainer.told = raised.value.args, raised.value.good_step

    layers = [xn.Linear(16), xn.ReLU(), xn.Linear(4)]
    trainers = both(fast, slow, train, layers, xn.SGD(0.5), 0.0)
    assert_same(*trainers)
    assert trainers[0].told == trainers[1].told


def test_graphs_stay_while_a_callback_makes_steps_of_its_own(strict):
    class OwnStep(xn.Callback):
        def on_step_end(self, trainer, n):
            trainer.step(*own)

    with strict.active():
        own = strict.asarray(X[:7]), strict.asarray(Y[:7], np.int32)
    net = xn.Network([xn.Linear(4)], loss="softmax_cross_entropy", n_features=12, device=strict)
    trainer = xn.Trainer(net)
    trainer.fit(X[:60], Y[:60], batch_size=5, epochs=2, monitor=0, callbacks=[OwnStep()])
    assert (trainer.steps, strict.captures) == (48, 2)
    assert strict.replays == 48 - 1 - 2 * WARM_UP  # one puts the weights by


def test_graphs_are_used():
    strict = StrictBackend()
    trainer = xn.Trainer(network(strict))
    trainer.fit(X, Y, batch_size=10, epochs=12)
    # Whole batches; the short last one; the steps in which the state is put by.
    # And the evaluation after each epoch, which is tried when it comes for the second time.
    assert strict.captures == 3 + 1
    eager = trainer.steps + 12 - strict.replays
    assert eager == strict.captures * WARM_UP + 1


def test_a_fit_s_graphs_and_data_are_let_go(strict):
    trainer = xn.Trainer(network(strict))
    trainer.fit(X, Y, batch_size=10, epochs=4)  # in the end the evaluation has its graph, too
    before = strict.taken
    for _ in range(3):
        trainer.fit(X, Y, batch_size=10, epochs=2)
    assert strict.taken == before


def test_ten_thousand_replays_take_no_memory(strict):
    trainer = xn.Trainer(network(strict, [xn.Linear(4)]), xn.SGD(1e-3))
    with strict.active():
        x, y = trainer.network.prepare(X[:8], Y[:8])
    for _ in range(3000):  # until the steps' numbers are computed for as many steps as ever
        trainer.step(x, y)
    before = strict.taken
    for _ in range(10_000):
        trainer.step(x, y)
    assert strict.taken == before


def test_what_can_t_be_captured_runs_as_ever_and_says_so_once(caplog):
    found = []
    with caplog.at_level(logging.WARNING, "xpnet"):
        for backend in (StrictBackend(captures_products=False), Eager()):
            trainer = xn.Trainer(network(backend), OPTIMIZERS[-1])
            trainer.fit(X, Y, batch_size=10, epochs=6)
            found.append(trainer)
    assert_same(*found)
    assert found[0].backend.captures == 0
    assert len(caplog.messages) == 1
    assert "runs kernel by kernel" in caplog.messages[0]
    assert "when stream is capturing" in caplog.messages[0]


def test_parts_of_what_can_t_be_captured():
    found = []
    for backend in (StrictBackend(captures_products=False), Eager()):
        trainer = xn.Trainer(network(backend))
        trainer.fit(X, Y, batch_size=110, epochs=6, micro_batches=2)
        found.append(trainer)
    assert_same(*found)


class Dropping(StrictBackend):
    """Its graphs leave one operation out, as CUDA 13 does with some copies, without an error."""

    left_out = 0

    def capture(self, function, *arrays):
        replay, result = super().capture(function, *arrays)
        self.operations = replay.args[0].operations
        del self.operations[self.left_out % len(self.operations)]
        return replay, result


class Failing(StrictBackend):
    """Its graphs can be captured and not be launched."""

    def _replay(self, graph):
        raise RuntimeError("cudaErrorGraphExecUpdateFailure")


def trained(backend):
    """Return a trainer after a short fit, at one rate: the fourth step is captured."""
    trainer = xn.Trainer(network(backend), xn.SGD(0.05, 0.9), l2=0.1)
    trainer.fit(X[:120], Y[:120], batch_size=20, epochs=1, sample_weight=W[:120])
    return trainer


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(lambda kind: kind(), id="reference"),
        pytest.param(stand_in, id="fused", marks=pytest.mark.slow),
    ],
)
def test_a_graph_that_leaves_something_out_is_not_used(kind, caplog, monkeypatch):
    """Each operation in turn: it is noticed before the graph is used, and the step is made."""
    # The tables of the steps' numbers are so long that the captured step goes back to their
    # beginning: no operation is without effect.
    monkeypatch.setattr(step_scalars, "PLAN", 4)
    expected, unnoticed = trained(kind(Eager)), []
    for i in itertools.count():
        backend = kind(Dropping)
        backend.left_out = i
        caplog.clear()
        with caplog.at_level(logging.WARNING, "xpnet"):
            trainer = trained(backend)
        assert_same(trainer, expected)
        if not any("computes something else" in message for message in caplog.messages):
            unnoticed.append(i)
        if i == len(backend.operations):
            break
    assert unnoticed == []


def test_a_graph_that_can_t_be_launched_is_not_used(caplog):
    with caplog.at_level(logging.WARNING, "xpnet"):
        assert_same(trained(Failing()), trained(Eager()))
    assert len(caplog.messages) == 1
    assert "cudaErrorGraph" in caplog.messages[0]


def test_a_graph_is_tried_once(strict):
    trained(strict)
    # The first step puts the weights by, the next two warm up, the fourth is tried and computed.
    assert (strict.captures, strict.replays) == (1, 1 + 2)


class Interrupted(StrictBackend):
    """Ctrl-C comes in the first capture."""

    def capture(self, function, *arrays):
        if not self.captures:
            self.captures += 1
            raise KeyboardInterrupt
        return super().capture(function, *arrays)


class Full(StrictBackend):
    """There is no room for what a graph reads."""

    def hold(self, array):
        raise MemoryError("no room")


@pytest.mark.parametrize(
    ("kind", "captures"), [(Interrupted, 2), (Full, 0)], ids=["interrupted", "full"]
)
def test_a_capture_that_does_not_come_about_harms_nothing(kind, captures):
    trainers = []
    for backend in (kind(), Eager()):
        trainer = xn.Trainer(network(backend))
        for i in range(10):
            try:
                trainer.step(X[i : i + 20], Y[i : i + 20])
            except KeyboardInterrupt:
                trainer.step(X[i : i + 20], Y[i : i + 20])
        trainers.append(trainer)
    assert_same(*trainers)
    assert trainers[0].backend.captures == captures


def test_an_error_in_what_is_captured_is_raised_as_it_is():
    strict = StrictBackend()

    def broken(x):
        raise ValueError("broken")

    replay = CapturedStep(strict, broken)

    for _ in range(5):
        with pytest.raises(ValueError, match="broken"), strict.active():
            replay(strict.asarray(X))


def test_a_capture_computes_nothing_and_a_replay_everything(strict):
    xp = strict.xp
    with strict.active():
        total, x = strict.asarray(np.zeros(3)), strict.asarray(np.ones(3))

        def add(x):
            xp.add(total, x, out=total)
            return total

        replay = CapturedStep(strict, add, [total])

        for i in range(1, 8):
            assert replay(x) is total
            np.testing.assert_array_equal(strict.to_host(total), float(i))
        with pytest.raises(RuntimeError, match="not permitted"):
            strict.capture(lambda: strict.to_host(total))
        np.testing.assert_array_equal(strict.to_host(total), 7.0)


def test_the_caller_s_arrays_are_read_and_never_written(strict):
    trainer = xn.Trainer(network(strict))
    with strict.active():
        data = [trainer.network.prepare(X[i : i + 20], Y[i : i + 20]) for i in range(9)]
    before = [[a.data.copy() for a in pair] for pair in data]
    for x, y in data:
        trainer.step(x, y)
    for pair, old in zip(data, before, strict=True):
        for array, was in zip(pair, old, strict=True):
            np.testing.assert_array_equal(array.data, was)
