"""Training on every backend: its numbers, its costs, its randomness, and what it refuses."""

import copy
import pickle
import re
import tracemalloc
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from pages import Spy
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.capture import WARM_UP
from xpnet.backends.select import select, why_no_cuda, why_not_compiled
from xpnet.nn.metrics import error_rate, unexplained_variance

DTYPES = ["float32", "float64"]


def problem(loss, n=50, n_outputs=3, seed=0):
    """Return features (n, 4) and labels that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    scores = X @ rng.standard_normal((4, n_outputs)) + 0.1 * rng.standard_normal((n, n_outputs))
    if loss == "softmax_cross_entropy":
        return X, scores.argmax(axis=1)
    if loss == "sigmoid_cross_entropy":
        return X, (scores > 0).astype(np.int64)
    return X, scores


@dataclass(frozen=True)
class Scenario:
    """Something to train: a network of 4 features and 3 outputs, a loss and an optimiser.

    Of the features some may be codes of categories.
    """

    layers: tuple[xn.Layer, ...]
    loss: str = "softmax_cross_entropy"
    optimizer: xn.Optimizer = field(default_factory=lambda: xn.Adam(0.01))
    l2: float = 0.0
    codes: tuple[int, ...] = ()

    def problem(self, n=50, seed=0):
        """Return features, some rounded to codes from about −3 to 6, and labels."""
        X, y = problem(self.loss, n, seed=seed)
        for column in self.codes:
            X[:, column] = np.floor(2 * X[:, column] + 2)
        return X, y

    def trainer(self, device, **options):
        options = {"loss": self.loss, "n_features": 4, "device": device} | options
        return xn.Trainer(xn.Network(self.layers, **options), self.optimizer, self.l2)


def with_activation(activation):
    return (xn.Linear(6), activation, xn.Linear(3))


SMALL = with_activation(xn.Tanh())

EVERYTHING = Scenario(
    (
        xn.Dropout(0.1),
        xn.Linear(8),
        xn.BatchNorm(),
        xn.ReLU(),
        xn.Dropout(0.2),
        xn.Linear(6),
        xn.Tanh(),
        xn.Linear(3),
    ),
    l2=0.1,
)

SCENARIOS = {
    "sigmoid": Scenario(with_activation(xn.Sigmoid())),
    "tanh": Scenario(with_activation(xn.Tanh())),
    "relu": Scenario(with_activation(xn.ReLU())),
    "leaky_relu": Scenario(with_activation(xn.LeakyReLU(0.1))),
    "softmax": Scenario(with_activation(xn.Softmax())),
    "sigmoid_cross_entropy": Scenario(SMALL, loss="sigmoid_cross_entropy"),
    "mean_squared_error": Scenario(SMALL, loss="mean_squared_error"),
    "sgd": Scenario(SMALL, optimizer=xn.SGD(0.1)),
    "sgd with momentum": Scenario(SMALL, optimizer=xn.SGD(0.1, momentum=0.9)),
    "nesterov": Scenario(SMALL, optimizer=xn.SGD(0.1, momentum=0.9, nesterov=True)),
    "momentum": Scenario(SMALL, optimizer=xn.Momentum(0.1)),
    "rmsprop": Scenario(SMALL, optimizer=xn.RMSProp(0.01)),
    "a schedule": Scenario(SMALL, optimizer=xn.Adam(xn.Cosine(0.01, total=3, warm_up=1))),
    "l2": Scenario(SMALL, l2=0.5),
    "one layer": Scenario((xn.Linear(3),)),
    "no bias": Scenario((xn.Linear(6, bias=False), xn.ReLU(), xn.Linear(3, bias=False))),
    "batch norm": Scenario((xn.Linear(6), xn.BatchNorm(), xn.ReLU(), xn.Linear(3))),
    "batch norm first": Scenario((xn.BatchNorm(), xn.Linear(3))),
    "batch norm after": Scenario((xn.Linear(6), xn.ReLU(), xn.BatchNorm(), xn.Linear(3))),
    "dropout": Scenario((xn.Linear(6), xn.ReLU(), xn.Dropout(0.3), xn.Linear(3))),
    "input dropout": Scenario((xn.Dropout(0.2), xn.Linear(3))),
    "one hot": Scenario((xn.OneHot({1: 4}), xn.Linear(6), xn.ReLU(), xn.Linear(3)), codes=(1,)),
    "embedding": Scenario((xn.Embedding({3: 4, 0: 5}, 2), xn.Linear(3)), l2=0.1, codes=(0, 3)),
    "many categories": Scenario((xn.Embedding({2: 1500}, 3), xn.Linear(3)), codes=(2,)),
    "codes one after the other": Scenario(
        (
            xn.OneHot({1: 4}),
            xn.Embedding({0: 5}, 2),
            xn.Embedding({1: 3}, 1),
            xn.BatchNorm(),
            xn.Dropout(0.1),
            xn.Linear(3),
        ),
        codes=(0, 1, 3),
    ),
    "places among bins": Scenario(
        (
            xn.PiecewiseLinearEmbedding({1: (-1.0, 0.0, 1.0)}),
            xn.PiecewiseLinearEmbedding({0: (-0.5, 0.5), 2: (-1.0, 0.2, 1.0)}, 3, relu=True),
            xn.Tanh(),
            xn.PiecewiseLinearEmbedding({1: (-0.5, 0.1, 0.5)}, 2, linear=False, clamp=True),
            xn.Linear(3),
        ),
        l2=0.1,
    ),
    "ensemble": Scenario(
        (
            xn.EnsembleLinear(6, members=3),
            xn.ReLU(),
            xn.Dropout(0.2),
            xn.EnsembleLinear(5, members=3),
            xn.GELU(),
            xn.Linear(3),
        ),
        l2=0.1,
    ),
    "standardize": Scenario((xn.Standardize([0.2] * 4, [1.5] * 4), xn.SmoothClip(), xn.Linear(3))),
    "repeated": Scenario(
        (xn.RepeatedColumns((3, 0)), xn.Linear(5), xn.RepeatedColumns((1,)), xn.Linear(3))
    ),
    "scale": Scenario((xn.SmoothClip(), xn.Scale(), xn.Linear(6), xn.Mish(), xn.Linear(3))),
    # Shared: CuPy's own product of stacks of matrices, which the reference calls, copies them.
    "periodic": Scenario(
        (xn.PeriodicEmbedding((3, 0, 1), 4, 6, shared=True), xn.Linear(3)), l2=0.1
    ),
    "periodic with phases": Scenario(
        (
            xn.PeriodicEmbedding(
                (0, 1, 2, 3), 3, 4, 0.1, False, phase=True, dense=True, shared=True
            ),
            xn.Linear(6),
            xn.PeriodicEmbedding((5, 1), 4, 3, shared=True),
            xn.Linear(3),
        )
    ),
    "everything": EVERYTHING,
}

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def results(scenario, device, dtype):
    """Return all that a run gives: curves, state, predictions and errors, on the host."""
    trainer = scenario.trainer(device, dtype=dtype)
    data, dev = scenario.problem(), scenario.problem(n=20, seed=1)
    # 50 examples in batches of 16: the last one of each epoch has 2.
    history = trainer.fit(*data, batch_size=16, epochs=3, validation_data=dev)
    found = {
        key: history[key]
        for key in ("learning_rate", "train_loss", "train_error", "dev_loss", "dev_error")
    }
    net = trainer.network
    found |= net.state() | net.evaluate(*dev) | {"predictions": net.predict(dev[0])}
    if scenario.loss != "mean_squared_error":
        found["probabilities"] = net.predict_proba(dev[0])
    return found


def assert_same(found, expected, tolerance=0.0):
    """Require the same arrays by the same names, to the bit if there is no tolerance."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@each_scenario
def test_every_backend_gives_the_reference_s_numbers(device, scenario, dtype):
    found = results(scenario, device, dtype)
    expected = results(scenario, select("cpu", fused=False), dtype)
    # The stand-in runs the same kernels through NumPy; others may add up in another order.
    tolerance = 0 if isinstance(device, StrictBackend) else 1e-4 if dtype == "float32" else 1e-10
    assert_same(found, expected, tolerance)


@each_scenario
def test_training_learns(device, scenario):
    trainer = scenario.trainer(device)
    loss = trainer.fit(*scenario.problem(), batch_size=10, epochs=20)["train_loss"]
    assert loss[-1] < 0.9 * loss[0]


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_predictions_come_back_where_the_data_lives(device, loss):
    net = Scenario(SMALL, loss=loss).trainer(device).network
    host, _ = problem(loss)
    there = device.asarray(host)
    for method in (net.predict, net.predict_proba):
        assert isinstance(method(host), np.ndarray)
        assert device.owns(method(there))
        np.testing.assert_array_equal(device.to_host(method(there)), method(host))
        np.testing.assert_array_equal(method(host.tolist()), method(host))


def test_a_network_on_the_cpu_takes_data_from_the_device(strict):
    X, y = problem("softmax_cross_entropy")
    net = Scenario(SMALL).trainer("cpu").network
    given = strict.asarray(X)
    found = net.predict(given)
    assert strict.owns(found)
    np.testing.assert_array_equal(found.get(), net.predict(X))
    assert net.evaluate(given, strict.asarray(y)) == net.evaluate(X, y)


def test_the_training_loss_is_the_mean_over_the_examples_before_their_updates(device):
    X, y = problem("mean_squared_error")
    trainer = Scenario(SMALL, loss="mean_squared_error", optimizer=xn.SGD(1e-30)).trainer(device)
    history = trainer.fit(X, y, batch_size=16, epochs=1)
    # The rate changes nothing, so batches of 16, 16, 16 and 2 must add up to the whole.
    assert history["train_loss"][0] == pytest.approx(trainer.network.evaluate(X, y)["loss"], 1e-6)


@pytest.mark.parametrize(("monitor", "measured"), [(0, False), (10, True), (50, True)])
def test_the_training_error_is_measured_where_asked_for(device, monitor, measured):
    trainer = Scenario(SMALL).trainer(device)
    X, y = problem("softmax_cross_entropy")
    history = trainer.fit(X, y, epochs=1, batch_size=25, monitor=monitor)
    assert ("train_error" in history.rows[0]) is measured
    if measured:
        # Of ten examples the error is a whole number of tenths.
        count = history["train_error"][0] * monitor
        assert count == pytest.approx(round(count))
    else:
        with pytest.raises(KeyError, match=r"'train_error' was not measured; there are .*loss"):
            history["train_error"]


# -- what a step costs the device ----


def counted(strict):
    """Return what the stand-in has counted; an upload's own array is no allocation of its own."""
    names = ("transfers", "uploads", "waits", "hidden_copies")
    return {name: getattr(strict, name) for name in names} | {
        "allocations": strict.allocations - strict.uploads
    }


def without_uploads(counts):
    """Leave out uploads: the rates of the steps ahead go to the device every so many steps."""
    return {name: count for name, count in counts.items() if name != "uploads"}


class Bill(xn.Callback):
    """Notes the stand-in's counters after each step, a list for each epoch."""

    def __init__(self, strict):
        self.strict, self.epochs = strict, [[]]

    def on_step_end(self, trainer, n):
        self.epochs[-1].append(counted(self.strict))

    def on_epoch_end(self, trainer, row):
        self.epochs.append([])


@each_scenario
def test_steps_cost_no_transfer_wait_allocation_or_copy_and_hardly_an_upload(strict, scenario):
    bill = Bill(strict)
    data, dev = scenario.problem(n=121), scenario.problem(n=20, seed=1)
    # 61 steps an epoch, or 60 where batch norm has a batch of one merged: the weights are put by
    # in the second epoch, and both have a batch of another size at their end.
    trainer = scenario.trainer(strict)
    trainer.fit(*data, batch_size=2, epochs=2, validation_data=dev, callbacks=[bill])
    assert trainer.steps > 100
    for steps in bill.epochs[:2]:
        assert len(steps) >= 60
        # Repeated work is captured in the step after its warm-up, which takes memory once.
        costs = [without_uploads(step) for step in steps[WARM_UP + 2 :]]
        assert [cost for cost in costs if cost != costs[0]] == []
        assert steps[-1]["uploads"] - steps[0]["uploads"] < 10
    assert strict.hidden_copies == 0


def costs(scenario, batch_size):
    strict = StrictBackend()
    scenario.trainer(strict).fit(*scenario.problem(), batch_size=batch_size, epochs=2)
    return without_uploads(counted(strict))


@pytest.mark.parametrize("name", ["everything", "mean_squared_error", "sigmoid_cross_entropy"])
def test_a_fit_s_costs_don_t_grow_with_the_number_of_batches(name):
    assert costs(SCENARIOS[name], batch_size=2) == costs(SCENARIOS[name], batch_size=25)


@each_scenario
def test_a_step_on_device_arrays_makes_nothing_but_the_loss_it_returns(strict, scenario):
    trainer = scenario.trainer(strict)
    with strict.active():
        x, y = trainer.network.prepare(*scenario.problem())
    for _ in range(WARM_UP + 2):
        trainer.step(x, y)
    before = counted(strict)
    for _ in range(3):
        loss = trainer.step(x, y)
    assert counted(strict) == before | {"allocations": before["allocations"] + 3}
    assert strict.owns(loss)
    assert loss.shape == ()


@pytest.mark.parametrize(
    ("y", "uploads"),
    [
        pytest.param(lambda y: y.astype(np.int32), 0, id="as the network holds them"),
        pytest.param(lambda y: y, 1, id="wider integers"),
        pytest.param(lambda y: y.astype(np.float64), 1, id="floats"),
        pytest.param(lambda y: y[:, None], 1, id="a column"),
    ],
)
def test_a_step_checks_and_converts_other_labels(strict, y, uploads):
    trainer = Scenario(SMALL, optimizer=xn.SGD(1e-30)).trainer(strict)
    X, labels = problem("softmax_cross_entropy")
    x, given = strict.asarray(X, np.float32), strict.asarray(y(labels))
    trainer.step(x, given)  # the rates of the next steps go to the device here
    before = strict.uploads
    loss = float(trainer.step(x, given))
    assert strict.uploads == before + uploads
    assert loss == pytest.approx(trainer.network.evaluate(X, labels)["loss"], 1e-6)


class Peaks(xn.Callback):
    """Notes how many bytes each step took at its peak beyond what it found."""

    def __init__(self):
        self.steps = []
        self.before = None

    def on_step_end(self, trainer, n):
        if self.before is not None:
            self.steps.append(tracemalloc.get_traced_memory()[1] - self.before)
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]

    def on_epoch_end(self, trainer, row):
        self.before = None


def peak_of_a_warm_step(scenario, batch_size):
    trainer = scenario.trainer("cpu")
    peaks = Peaks()
    data = scenario.problem(n=4 * batch_size)
    tracemalloc.start()
    try:
        trainer.fit(*data, batch_size=batch_size, epochs=2, monitor=0, callbacks=[peaks])
    finally:
        tracemalloc.stop()
    return max(peaks.steps[3:])


@each_scenario
def test_a_warm_step_on_numpy_takes_no_memory_that_grows_with_the_batch(scenario):
    embeds = any(isinstance(layer, xn.Embedding) for layer in scenario.layers)
    if embeds and (why := why_not_compiled()):
        pytest.skip(f"the gradient of an embedding takes memory where it is not compiled: {why}")
    # Even one column of these batches has more elements than the buffers through which NumPy
    # converts types (8192 elements, up to 64 KiB), so those are the same for both. One over three
    # arrays with gaps takes 96 KiB.
    few, many = (peak_of_a_warm_step(scenario, size) for size in (10_000, 20_000))
    assert many - few < 4_000
    assert many < 101_000


# -- what is random ----


def watched(device, layers, X, y, fits=({},), **options):
    """Return what a spy among the layers saw, a list for each epoch, at a rate that is nothing."""
    spy = next(layer for layer in layers if isinstance(layer, Spy))
    options = {"loss": "mean_squared_error", "n_features": X.shape[1]} | options
    trainer = xn.Trainer(xn.Network(layers, device=device, **options), xn.SGD(1e-30))
    ends = [0]

    def count(trainer, row):
        ends.append(len(spy.seen))

    for fit in fits:
        trainer.fit(X, y, monitor=0, callbacks=[count], **fit)
    return [spy.seen[a:b] for a, b in pairwise(ends)]


def drawn(device, n, *fits, norm=False, **options):
    """Return which examples of n each batch of each epoch had."""
    layers = [Spy(), *([xn.BatchNorm()] if norm else []), xn.Linear(1)]
    X = np.column_stack([np.arange(n), np.ones(n)])
    epochs = watched(device, layers, X, np.arange(n) % 2, fits, **options)
    return [[batch[:, 0].astype(int).tolist() for batch in epoch] for epoch in epochs]


def flat(epoch):
    return [i for batch in epoch for i in batch]


def sizes(epoch):
    return [len(batch) for batch in epoch]


def test_the_same_seed_gives_the_same_bits(device):
    assert_same(*(results(EVERYTHING, device, "float32") for _ in range(2)))


def final_state(device, **options):
    trainer = EVERYTHING.trainer(device, **options)
    trainer.fit(*problem(EVERYTHING.loss), batch_size=16, epochs=1)
    return trainer.network.state()


def test_another_seed_gives_another_run(device):
    first, second = (final_state(device, random_state=seed) for seed in (0, 1))
    for name in first:
        assert not np.array_equal(first[name], second[name])


def test_no_seed_draws_one_that_gives_the_run_again(device):
    nets = [EVERYTHING.trainer(device, random_state=None).network for _ in range(2)]
    assert nets[0].random_state != nets[1].random_state
    assert_same(*(final_state(device, random_state=nets[0].random_state) for _ in range(2)))


@pytest.mark.parametrize("seed", [0, 7])
def test_batches_are_the_same_in_both_precisions_and_on_every_backend(device, seed):
    fit = {"batch_size": 8, "epochs": 3}
    found = [drawn(device, 50, fit, random_state=seed, dtype=dtype) for dtype in DTYPES]
    assert found[0] == found[1] == drawn("cpu", 50, fit, random_state=seed)


def test_batches_differ_from_seed_to_seed(device):
    fit = {"batch_size": 8, "epochs": 1}
    assert drawn(device, 50, fit) != drawn(device, 50, fit, random_state=1)


# -- mini-batches ----


def test_every_example_comes_once_an_epoch_in_a_fresh_order(device):
    epochs = drawn(device, 50, {"batch_size": 16, "epochs": 4})
    assert [sizes(epoch) for epoch in epochs] == [[16, 16, 16, 2]] * 4
    orders = [flat(epoch) for epoch in epochs]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in [*orders, range(50)]}) == 5


def test_a_fit_is_a_step_for_each_batch_drawn(device):
    X, y = problem("softmax_cross_entropy")
    fitted, stepped = (Scenario(SMALL).trainer(device) for _ in range(2))
    fitted.fit(X, y, batch_size=16, epochs=2)
    for epoch in drawn(device, 50, {"batch_size": 16, "epochs": 2}):
        for batch in epoch:
            stepped.step(X[batch], y[batch])
    assert_same(fitted.network.state(), stepped.network.state())


@pytest.mark.parametrize(
    ("n", "batch_size", "norm", "expected"),
    [
        pytest.param(50, 50, False, [50], id="one batch of all"),
        pytest.param(5, 1, False, [1] * 5, id="batches of one"),
        pytest.param(48, 16, False, [16] * 3, id="no rest"),
        pytest.param(33, 16, False, [16, 16, 1], id="a rest of one"),
        pytest.param(33, 16, True, [16, 17], id="a rest of one is merged for batch norm"),
        pytest.param(34, 16, True, [16, 16, 2], id="a rest of two is not"),
        pytest.param(5, 2, True, [2, 3], id="batches of two"),
        pytest.param(2, 2, True, [2], id="two examples"),
    ],
)
def test_batches_have_these_sizes(device, n, batch_size, norm, expected):
    fit = {"batch_size": batch_size, "epochs": 2}
    epochs = drawn(device, n, fit, norm=norm)
    assert [sizes(epoch) for epoch in epochs] == [expected] * 2
    assert [sorted(flat(epoch)) for epoch in epochs] == [list(range(n))] * 2


def test_a_batch_size_above_the_number_of_examples_warns_and_takes_all(device):
    with pytest.warns(UserWarning, match="batch_size is 64 and there are 50 examples") as caught:
        epochs = drawn(device, 50, {"batch_size": 64, "epochs": 2})
    assert [sizes(epoch) for epoch in epochs] == [[50]] * 2
    # The warning points to the line that called fit.
    assert [w.filename for w in caught] == [__file__]


def test_without_shuffling_the_order_is_the_given_one(device):
    epochs = drawn(device, 20, {"batch_size": 8, "epochs": 2, "shuffle": False})
    assert epochs == [[[*range(8)], [*range(8, 16)], [*range(16, 20)]]] * 2


def test_a_second_fit_goes_on_where_the_first_one_ended(device):
    once = drawn(device, 50, {"batch_size": 16, "epochs": 4})
    twice = drawn(device, 50, {"batch_size": 16, "epochs": 1}, {"batch_size": 16, "epochs": 3})
    assert twice == once


def test_two_fits_are_one_long_one(device):
    data = problem(EVERYTHING.loss)
    once, twice = (EVERYTHING.trainer(device) for _ in range(2))
    expected = once.fit(*data, batch_size=16, epochs=3)
    first, second = (twice.fit(*data, batch_size=16, epochs=k) for k in (1, 2))
    for key in ("epoch", "step", "train_loss", "train_error"):
        assert first[key] + second[key] == expected[key]
    assert_same(twice.network.state(), once.network.state())
    assert (twice.epochs, twice.steps) == (3, 12)


# -- dropout ----


def masks(device, p, n=40, m=64, steps=20, dtype="float32", **options):
    """Return what dropout makes of ones, (steps, n, m)."""
    layers = [xn.Dropout(p), Spy(), xn.Linear(1)]
    fits = [{"batch_size": n, "epochs": steps}]
    epochs = watched(
        device, layers, np.ones((n, m)), np.arange(n) % 2, fits, dtype=dtype, **options
    )
    return np.array([batch for epoch in epochs for batch in epoch])


def bound(share, count):
    """Return five standard deviations of a share of ``count`` independent answers."""
    return 5 * np.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_its_share_and_the_mean(device, p):
    seen = masks(device, p)
    kept = seen != 0
    np.testing.assert_allclose(seen[kept], 1 / (1 - p), 1e-4)
    for axes in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):  # all; each feature, example and step
        share = kept.mean(axis=axes)
        count = kept.size / share.size
        np.testing.assert_allclose(share, 1 - p, atol=bound(p, count))
    assert seen.mean() == pytest.approx(1, abs=bound(p, kept.size) / (1 - p))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_every_step_has_a_mask_of_its_own(device, p):
    kept = masks(device, p) != 0
    for first, second in pairwise(kept):
        share = p**2 + (1 - p) ** 2  # two independent masks agree so often
        assert (first == second).mean() == pytest.approx(share, abs=bound(share, first.size))


def test_every_layer_has_masks_of_its_own(device):
    spies = Spy(), Spy()
    layers = [xn.Dropout(0.5), spies[0], xn.Linear(64), xn.Dropout(0.5), spies[1], xn.Linear(1)]
    watched(device, layers, np.ones((40, 64)), np.arange(40) % 2, [{"batch_size": 40, "epochs": 5}])
    first, second = (np.array(spy.seen) != 0 for spy in spies)
    assert second.mean() == pytest.approx(0.5, abs=bound(0.5, second.size))
    assert (first == second).mean() == pytest.approx(0.5, abs=bound(0.5, first.size))


def test_masks_are_the_same_in_both_precisions_and_on_every_backend(device):
    found = [masks(device, 0.3, steps=3, dtype=dtype) != 0 for dtype in DTYPES]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], masks("cpu", 0.3, steps=3) != 0)
    assert not np.array_equal(found[0], masks(device, 0.3, steps=3, random_state=1) != 0)


def test_prediction_drops_nothing(device):
    layers = [xn.Dropout(0.5), xn.Linear(6), xn.Tanh(), xn.Dropout(0.5), xn.Linear(3)]
    X, y = problem("softmax_cross_entropy")
    trainer = Scenario(tuple(layers)).trainer(device)
    trainer.fit(X, y, batch_size=16, epochs=1)
    plain = Scenario(SMALL).trainer(device).network
    with device.active():
        plain.parameters[...] = trainer.network.parameters
    np.testing.assert_array_equal(trainer.network.predict_proba(X), plain.predict_proba(X))
    assert trainer.network.evaluate(X, y) == plain.evaluate(X, y)


# -- a loss that is not finite ----

DIVERGING = {
    "sgd": xn.SGD(1e25),
    "momentum": xn.Momentum(1e25),
    "nesterov": xn.SGD(1e25, momentum=0.9, nesterov=True),
    "rmsprop": xn.RMSProp(1e25),
    "adam": xn.Adam(1e25),
    "adamw": xn.AdamW(1e25),
    "nadam": xn.NAdam(1e25),
    "adagrad": xn.Adagrad(1e25),
    "lion": xn.Lion(1e25),
}

everywhere = pytest.mark.parametrize(
    "device", ["numpy", "strict", "lagging", "cupy"], indirect=True
)
each_diverging = pytest.mark.parametrize("optimizer", DIVERGING.values(), ids=DIVERGING)

REGRESSION = Scenario((xn.Linear(6), xn.ReLU(), xn.Linear(3)), loss="mean_squared_error")


def diverging(device, optimizer):
    scenario = Scenario(REGRESSION.layers, loss=REGRESSION.loss, optimizer=optimizer)
    return scenario.trainer(device), problem(REGRESSION.loss)


@everywhere
@each_diverging
def test_a_loss_that_is_not_finite_stops_the_fit_and_brings_the_weights_back(device, optimizer):
    trainer, data = diverging(device, optimizer)
    start = trainer.network.state()
    message = (
        r"NaN or infinite in epoch 1, step [2-5] \(first in .*, (in|by the update of) step \d\); "
        r"the weights are back at those of step 0\."
    )
    with pytest.raises(xn.DivergedError, match=message) as caught:
        trainer.fit(*data, batch_size=10, epochs=3)
    assert caught.value.good_step == 0
    assert f"step {caught.value.step} (" in str(caught.value)
    assert caught.value.epoch == 1
    assert caught.value.history.rows == []
    assert_same(trainer.network.state(), start)


class Keep(xn.Callback):
    """Keeps the network's state after some update."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            self.state = trainer.network.state()


@everywhere
def test_the_weights_come_back_from_the_last_time_they_were_put_by(device):
    # 70 steps an epoch. The 286th update is the one too many, so the 287th loss, in epoch 5, is the
    # first to be infinite. A host that lags hears of it after step 300, when they are put by again.
    rate = xn.Piecewise(1e-3, boundaries=(285,), rates=(1e25,), per="step")
    scenario = Scenario(REGRESSION.layers, REGRESSION.loss, xn.SGD(rate))
    trainer, keep = scenario.trainer(device), Keep(200)
    with pytest.raises(xn.DivergedError) as caught:
        trainer.fit(*problem(REGRESSION.loss, n=70), batch_size=1, epochs=9, callbacks=[keep])
    error = caught.value
    assert (error.epoch, error.step, error.good_step) == (5, 287, 200)
    assert [row["epoch"] for row in error.history.rows] == [1, 2, 3, 4]
    assert trainer.history is error.history
    assert_same(trainer.network.state(), keep.state)


@everywhere
@each_diverging
def test_training_goes_on_after_a_smaller_rate(device, optimizer):
    trainer, data = diverging(device, optimizer)
    with pytest.raises(xn.DivergedError):
        trainer.fit(*data, batch_size=10, epochs=3)
    # Adagrad remembers the gradients from before for ever.
    trainer.learning_rate = 1e-1 if isinstance(trainer.optimizer, xn.Adagrad) else 1e-3
    loss = trainer.fit(*data, batch_size=10, epochs=20)["train_loss"]
    assert loss[-1] < 0.9 * loss[0]


@everywhere
@pytest.mark.parametrize(
    "rate",
    [
        pytest.param(1e38, id="a number"),
        pytest.param(lambda step, epoch: [1e38][int(epoch)], id="a function of this epoch alone"),
    ],
)
def test_an_infinite_last_update_is_noticed(device, rate):
    # The one loss of the fit is finite; the update from it is not.
    trainer, (X, y) = diverging(device, xn.SGD(rate))
    start = trainer.network.state()
    with pytest.raises(xn.DivergedError, match=r"a smaller learning rate \(it was 1e\+38\)"):
        trainer.fit(X, 1e4 * y, batch_size=50, epochs=1)
    assert_same(trainer.network.state(), start)


@everywhere
def test_a_step_that_diverged_does_not_spoil_the_next_fit(device):
    trainer, (X, y) = diverging(device, xn.SGD(1e-2))
    state = trainer.network.state()
    assert not np.isfinite(float(trainer.step(X, 1e30 * y)))
    trainer.network.load_state(state)
    assert np.isfinite(trainer.fit(X, y, batch_size=10, epochs=1)["train_loss"]).all()


# -- callbacks, stopping, and the rate ----


class Log(xn.Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []

    def on_fit_begin(self, trainer, batches, epochs):
        self.lines.append(f"begin {len(batches)} batches of {batches.n}, {epochs} epochs")

    def on_step_end(self, trainer, n):
        self.lines.append(f"step {trainer.steps} with {n}")

    def on_epoch_end(self, trainer, row):
        self.lines.append(f"epoch {row['epoch']} of {len(trainer.history)}")

    def on_fit_end(self, trainer, history):
        self.lines.append(f"end after {len(history)}")


def test_callbacks_are_told_what_happens_in_order(device):
    log, epochs = Log(), []
    trainer = Scenario(SMALL).trainer(device)
    history = trainer.fit(
        *problem("softmax_cross_entropy"),
        batch_size=30,
        epochs=2,
        callbacks=[log, lambda trainer, row: epochs.append(row)],
    )
    assert log.lines == [
        "begin 2 batches of 50, 2 epochs",
        *("step 1 with 30", "step 2 with 20", "epoch 1 of 1"),
        *("step 3 with 30", "step 4 with 20", "epoch 2 of 2"),
        "end after 2",
    ]
    assert epochs == history.rows
    assert not history.stopped
    assert history["step"] == [2, 4]
    assert len(history) == 2


class StopAt(xn.Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            trainer.stop()


def test_stop_ends_the_fit_after_the_present_step(device):
    trainer = Scenario(SMALL).trainer(device)
    log, data = Log(), problem("softmax_cross_entropy")
    history = trainer.fit(*data, batch_size=10, epochs=9, callbacks=[StopAt(8), log])
    assert history.stopped
    assert history["step"] == [5, 8]
    assert log.lines[-3:] == ["step 8 with 10", "epoch 2 of 2", "end after 2"]
    # The loss of the epoch begun is the mean over the batches that there were.
    assert 0.1 < history["train_loss"][1] < history["train_loss"][0]
    again = trainer.fit(*data, batch_size=10, epochs=1)
    assert not again.stopped
    assert again["epoch"] == [3]


def test_stop_after_an_epoch_ends_the_fit_there(device):
    trainer = Scenario(SMALL).trainer(device)
    data = problem("softmax_cross_entropy")

    def stop(trainer, row):
        if row["epoch"] == 2:
            trainer.stop()

    history = trainer.fit(*data, batch_size=10, epochs=9, callbacks=[stop])
    assert history.stopped
    assert history["step"] == [5, 10]


def test_the_rate_can_be_changed_by_hand_between_epochs(device):
    states = []

    def freeze(trainer, row):
        states.append(trainer.network.state())
        trainer.learning_rate = 1e-30

    trainer = Scenario(SMALL, optimizer=xn.SGD(0.1)).trainer(device)
    start = trainer.network.state()
    history = trainer.fit(
        *problem("softmax_cross_entropy"), epochs=2, batch_size=10, callbacks=[freeze]
    )
    assert history["learning_rate"] == [0.1, 1e-30]
    for name in start:
        assert not np.array_equal(states[0][name], start[name])
    assert_same(states[1], states[0])
    assert trainer.learning_rate == 1e-30
    with pytest.raises(ValueError, match="learning_rate is -1"):
        trainer.learning_rate = -1


def test_the_rate_can_be_changed_by_hand_within_an_epoch(device):
    class Freeze(Keep):
        def on_step_end(self, trainer, n):
            super().on_step_end(trainer, n)
            if trainer.steps == self.step:
                trainer.learning_rate = 1e-30

    freeze = Freeze(2)
    trainer = Scenario(SMALL, optimizer=xn.SGD(0.1)).trainer(device)
    trainer.fit(*problem("softmax_cross_entropy"), epochs=1, batch_size=10, callbacks=[freeze])
    assert_same(trainer.network.state(), freeze.state)


def descend(X, y, rates, l2=0.0):
    """Return W and b of a linear regression after full-batch descent from zero."""
    W, b = np.zeros((y.shape[1], X.shape[1])), np.zeros(y.shape[1])
    for rate in rates:
        d = 2 * (X @ W.T + b - y) / len(X)
        W, b = W - rate * (d.T @ X + l2 / len(X) * W), b - rate * d.sum(axis=0)
    return W, b


@pytest.mark.parametrize("l2", [0.0, 20.0])
def test_l2_pulls_at_the_weights_alone(device, l2):
    X, y = problem("mean_squared_error")
    layers = (xn.Linear(3, init="zeros"),)
    trainer = Scenario(layers, "mean_squared_error", xn.SGD(0.1), l2).trainer(
        device, dtype="float64"
    )
    trainer.fit(X, y, batch_size=50, epochs=5)
    W, b = descend(X, y, [0.1] * 5, l2)
    np.testing.assert_allclose(trainer.network.state()["0.weight"], W, 1e-9, 1e-12)
    np.testing.assert_allclose(trainer.network.state()["0.bias"], b, 1e-9, 1e-12)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        pytest.param(0.1, [0.1, 0.1, 0.1, 0.1], id="constant"),
        pytest.param(xn.Exponential(0.1, decay=0.5), [0.1, 0.05, 0.025, 0.0125], id="exponential"),
        pytest.param(xn.InverseTime(0.1), [0.1, 0.05, 0.1 / 3, 0.025], id="inverse time"),
        pytest.param(xn.Piecewise(0.1, (1, 3), (0.2, 0.3)), [0.1, 0.2, 0.2, 0.3], id="by hand"),
        pytest.param(lambda step, epoch: 0.1 / (1 + step), [0.1, 0.05, 0.1 / 3, 0.025], id="own"),
        pytest.param(
            lambda step, epoch: [0.1, 0.2, 0.2, 0.3][int(epoch)], [0.1, 0.2, 0.2, 0.3], id="list"
        ),
    ],
)
def test_a_schedule_sets_the_rate_of_each_update(device, schedule, rates):
    X, y = problem("mean_squared_error")
    scenario = Scenario((xn.Linear(3, init="zeros"),), "mean_squared_error", xn.SGD(schedule))
    trainer = scenario.trainer(device, dtype="float64")
    history = trainer.fit(X, y, batch_size=50, epochs=4)
    assert history["learning_rate"] == pytest.approx(rates, 1e-12)
    W, b = descend(X, y, rates)
    state = trainer.network.state()
    np.testing.assert_allclose(state["0.weight"], W, 1e-9, 1e-12)
    np.testing.assert_allclose(state["0.bias"], b, 1e-9, 1e-12)


@dataclass(frozen=True)
class Noting(xn.SGD):
    """Notes the rate that reaches the device for each update: an optimiser as users may write."""

    rates: list = field(default_factory=list)

    def update(self, k, p, g, moments, scalars, scratch, n_weights):
        self.rates.append(float(scalars[0][0]))
        super().update(k, p, g, moments, scalars, scratch, n_weights)


@pytest.mark.parametrize("batches", [1, 3, 49])
def test_a_schedule_by_epoch_changes_between_epochs_alone(device, batches):
    asked, following = [], []

    def schedule(step, epoch):
        asked.append((step, epoch))
        return 0.1 * 0.5 ** int(epoch)

    def note(trainer, row):
        following.append(trainer.learning_rate)

    optimizer = Noting(schedule)
    trainer = Scenario(SMALL, optimizer=optimizer).trainer(device, dtype="float64")
    X, _ = problem("softmax_cross_entropy", n=2 * batches)
    trainer.fit(X, np.arange(len(X)) % 2, batch_size=2, epochs=3, callbacks=[note])
    assert optimizer.rates == [0.1] * batches + [0.05] * batches + [0.025] * batches
    # Between two epochs the rate of the next update is the next epoch's.
    assert following == [0.05, 0.025, 0.0125]
    # Nobody asks what the rate will be after the fit, but for what was noted last.
    assert max(asked) <= (3 * batches, 3.0)


# -- several networks at once ----

NORMED = Scenario(
    (xn.Linear(6), xn.BatchNorm(), xn.ReLU(), xn.Linear(5), xn.Tanh(), xn.Linear(3)), l2=0.1
)


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"]
)
def test_replicas_are_networks_of_their_own(device, loss):
    scenario = Scenario(NORMED.layers, loss=loss, l2=0.1)
    together = scenario.trainer(device, dtype="float64", members=3)
    alone = [scenario.trainer(device, dtype="float64") for _ in range(3)]
    for r, one in enumerate(alone):
        with device.active():
            one.network.parameters[...] = together.network.parameters[r]

    def host(array):
        return np.array(device.to_host(array))

    starts = host(together.network.parameters)
    assert not np.allclose(starts[0], starts[1])
    X, y = problem(loss)
    for n in (50, 20, 50):
        losses = host(together.step(X[:n], y[:n]))
        assert losses.shape == (3,)
        for r, one in enumerate(alone):
            assert losses[r] == pytest.approx(float(one.step(X[:n], y[:n])), 1e-12)
            for name in ("gradients", "parameters", "statistics"):
                found = host(getattr(together.network, name))[r]
                expected = host(getattr(one.network, name))
                np.testing.assert_allclose(found, expected, 1e-11, 1e-12, err_msg=name)
    predicted = host(together.network.predict(X, members=True))
    for r, one in enumerate(alone):
        np.testing.assert_allclose(predicted[r], host(one.network.predict(X)), 1e-11, 1e-12)


def test_replicas_have_dropout_masks_of_their_own(device):
    spy = Spy()
    layers = [xn.Linear(64), xn.Dropout(0.5), spy, xn.Linear(1)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device=device, members=2)
    trainer = xn.Trainer(net)
    trainer.step(np.ones((40, 4)), np.ones(40))
    first, second = spy.seen[0] != 0
    assert (first == second).mean() == pytest.approx(0.5, abs=bound(0.5, first.size))


# -- fused kernels against the reference ----


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@each_scenario
def test_fused_kernels_give_the_reference_s_numbers(where, scenario):
    if where == "cuda" and why_no_cuda() is not None:
        pytest.skip(f"CUDA: {why_no_cuda()}")
    assert_same(
        *(results(scenario, select(where, fused=f), "float64") for f in (True, False)), 1e-10
    )


# -- evaluation ----


@pytest.fixture
def trained(device):
    """Return a function that trains a network for a loss and returns it with its data."""

    def train(loss, n=50, n_outputs=3):
        layers = (xn.Linear(6), xn.BatchNorm(), xn.Tanh(), xn.Linear(n_outputs))
        trainer = Scenario(layers, loss=loss, optimizer=xn.Adam(0.02)).trainer(
            device, dtype="float64"
        )
        data = problem(loss, n, n_outputs)
        trainer.fit(*data, batch_size=25, epochs=2)
        return trainer.network, *data

    return train


def test_the_error_of_classes_is_the_share_that_is_wrong(trained):
    net, X, y = trained("softmax_cross_entropy")
    p = net.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(net.predict(X), p.argmax(axis=1))
    found = net.evaluate(X, y)
    assert found["error"] == pytest.approx(error_rate(y, net.predict(X)))
    assert 0 < found["error"] < 1
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(50), y]).mean(), 1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_the_error_of_yes_or_no_is_the_share_with_any_wrong_answer(trained, k):
    net, X, y = trained("sigmoid_cross_entropy", n_outputs=k)
    y = y[:, 0] if k == 1 else y
    p = net.predict_proba(X)
    assert p.shape == y.shape
    np.testing.assert_array_equal(net.predict(X), p >= 0.5)
    found = net.evaluate(X, y)
    assert found["error"] == pytest.approx(error_rate(y, net.predict(X)))
    assert 0 < found["error"] < 1
    assert found["loss"] == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).sum() / 50, 1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_the_error_of_values_is_the_unexplained_variance(trained, k):
    net, X, y = trained("mean_squared_error", n_outputs=k)
    y = y[:, 0] if k == 1 else y
    predicted = net.predict(X)
    assert predicted.shape == y.shape
    found = net.evaluate(X, y)
    assert found["error"] == pytest.approx(unexplained_variance(y, predicted), 1e-9)
    assert found["loss"] == pytest.approx(((y - predicted) ** 2).sum() / 50, 1e-9)


def test_more_examples_than_are_predicted_at_once(trained):
    net, X, y = trained("softmax_cross_entropy", n=9000)
    assert net.predictor.chunk < 9000
    halves = [net.predict(X[part]) for part in (slice(4500), slice(4500, None))]
    np.testing.assert_array_equal(net.predict(X), np.concatenate(halves))
    parts = [net.evaluate(X[i::2], y[i::2]) for i in (0, 1)]
    for key, value in net.evaluate(X, y).items():
        assert value == pytest.approx((parts[0][key] + parts[1][key]) / 2, 1e-9)


# -- the door ----

X, Y = problem("softmax_cross_entropy")
REAL = problem("mean_squared_error", n_outputs=1)[1]


def spoilt(*places, value=np.nan):
    bad = X.copy()
    for place in places:
        bad[place] = value
    return bad


#: Case: features, the error, and its message.
BAD_FEATURES = {
    "one NaN": (
        spoilt((7, 2)),
        ValueError,
        r"X has 1 value that is NaN or infinite, in column 2 \(1\): remove",
    ),
    "NaN and infinities": (
        spoilt((0, 1), (9, 1), (4, 3), value=-np.inf),
        ValueError,
        r"X has 3 values that are NaN or infinite, in columns 1 \(2\), 3 \(1\)",
    ),
    "text": (X.astype(str), TypeError, r"X has dtype <U\d+: give an array of numbers"),
    "objects": (X.astype(object), TypeError, "X has dtype object"),
    "complex numbers": (X + 1j, TypeError, "X has dtype complex128"),
    "too many features": (
        np.ones((50, 5)),
        ValueError,
        r"X has shape \(50, 5\): the network takes \(examples, 4\)",
    ),
    "one axis": (np.ones(4), ValueError, r"X has shape \(4,\): .*; one example is .*X.reshape"),
    "three axes": (np.ones((50, 4, 1)), ValueError, r"X has shape \(50, 4, 1\)"),
    "no rows": (np.ones((0, 4)), ValueError, "X has no rows: give at least one example"),
    "rows of different lengths": (
        [[1.0, 2.0], [3.0]],
        ValueError,
        "X is not a rectangular array of numbers",
    ),
    "a number": (3.0, (TypeError, ValueError), "X "),
}

#: The doors by which features come in, and how their name is told.
DOORS = {
    "fit": (lambda trainer, X, y: trainer.fit(X, y), ""),
    "validation": (
        lambda trainer, X_dev, y: trainer.fit(X, Y, validation_data=(X_dev, y), batch_size=50),
        "dev ",
    ),
    "step": (lambda trainer, X, y: trainer.step(X, y), ""),
    "evaluate": (lambda trainer, X, y: trainer.network.evaluate(X, y), ""),
    "predict": (lambda trainer, X, y: trainer.network.predict(X), ""),
    "predict_proba": (lambda trainer, X, y: trainer.network.predict_proba(X), ""),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", BAD_FEATURES)
def test_bad_features_are_refused_at_every_door(device, door, case):
    given, error, message = BAD_FEATURES[case]
    enter, prefix = DOORS[door]
    trainer = Scenario(SMALL).trainer(device)
    with pytest.raises(error, match=f"^{prefix}{message}"):
        enter(trainer, given, Y[: len(given)] if hasattr(given, "__len__") else Y)


@pytest.mark.parametrize("door", ["fit", "step", "evaluate", "predict"])
def test_features_that_are_on_the_device_are_checked_there(device, door):
    trainer = Scenario(SMALL).trainer(device)
    given = device.asarray(spoilt((7, 2)))
    with pytest.raises(ValueError, match=r"X has 1 value that is NaN or infinite, in column 2"):
        DOORS[door][0](trainer, given, device.asarray(Y))


#: Case: the loss, labels, the error, and its message.
BAD_LABELS = {
    "too few": ("softmax_cross_entropy", Y[:-1], ValueError, "X has 50 rows and y has 49"),
    "a number": ("softmax_cross_entropy", 1, (TypeError, ValueError), "y "),
    "text": (
        "softmax_cross_entropy",
        Y.astype(str),
        ValueError,
        r"y has dtype <U\d+: softmax_cross_entropy needs integer",
    ),
    "a row each": (
        "softmax_cross_entropy",
        np.eye(3)[Y],
        ValueError,
        r"y has shape \(50, 3\): softmax_cross_entropy needs integer labels of shape \(50,\)",
    ),
    "above the classes": (
        "softmax_cross_entropy",
        Y + 1,
        ValueError,
        "y has labels from 1 to 3: a network with 3 outputs needs labels 0 to 2",
    ),
    "negative": ("softmax_cross_entropy", Y - 1, ValueError, "y has labels from -1 to 1"),
    "not whole": ("softmax_cross_entropy", Y + 0.5, ValueError, "y has labels that are not whole"),
    "NaN for a class": (
        "softmax_cross_entropy",
        np.where(Y == 1, np.nan, Y),
        ValueError,
        "y has labels that are not whole",
    ),
    "not yes or no": (
        "sigmoid_cross_entropy",
        2 * (Y[:, None] == [0, 1, 2]),
        ValueError,
        "y has 50 labels other than 0 and 1, such as 2: .* needs 0 or 1",
    ),
    "NaN for a value": (
        "mean_squared_error",
        np.where(np.arange(150).reshape(50, 3) == 11, np.nan, 1.0),
        ValueError,
        "y has 1 value that is NaN or infinite, the first in row 3",
    ),
    "one value each for three outputs": (
        "mean_squared_error",
        REAL[:, 0],
        ValueError,
        r"y has shape \(50,\): the network has 3 outputs, so .* needs shape \(50, 3\)",
    ),
    "complex": ("mean_squared_error", np.ones((50, 3)) * 1j, ValueError, "y has dtype complex"),
    "None": ("mean_squared_error", np.full((50, 3), None), ValueError, "y has dtype object"),
}


@pytest.mark.parametrize("door", ["fit", "step", "evaluate"])
@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_are_refused_at_every_door(device, door, case):
    loss, y, error, message = BAD_LABELS[case]
    with pytest.raises(error, match=f"^{message}"):
        DOORS[door][0](Scenario(SMALL, loss=loss).trainer(device), X, y)


def test_bad_labels_of_the_development_set_are_told_as_such(device):
    with pytest.raises(ValueError, match=r"^dev y has labels from 1 to 3"):
        Scenario(SMALL).trainer(device).fit(X, Y, validation_data=(X, Y + 1), batch_size=50)
    with pytest.raises(ValueError, match=r"^dev X has 50 rows and dev y has 49"):
        Scenario(SMALL).trainer(device).fit(X, Y, validation_data=(X, Y[1:]), batch_size=50)


def network(layers=SMALL, **options):
    arguments = {"loss": "softmax_cross_entropy", "n_features": 4, "device": "cpu"}
    return xn.Network(layers, **(arguments | options))


def fit(y=Y, loss="softmax_cross_entropy", layers=SMALL, **options):
    return Scenario(layers, loss=loss).trainer("cpu").fit(X, y, **options)


NORM = (xn.Linear(6), xn.BatchNorm(), xn.Linear(3))

#: Case: what is done, the error, and its message.
REFUSED = {
    "one class": (lambda: fit(0 * Y + 2), ValueError, r"y has one class only \(2\)"),
    "one value": (
        lambda: fit(np.ones((50, 3)), "mean_squared_error"),
        ValueError,
        r"y has one value only \(1\)",
    ),
    "batches of none": (lambda: fit(batch_size=0), ValueError, "batch_size is 0: give 1 or more"),
    "negative batches": (lambda: fit(batch_size=-1), ValueError, "batch_size is -1"),
    "half batches": (lambda: fit(batch_size=2.5), TypeError, "batch_size is 2.5: give a whole"),
    "true batches": (lambda: fit(batch_size=True), TypeError, "batch_size is True"),
    "no epochs": (lambda: fit(epochs=0), ValueError, "epochs is 0: give 1 or more"),
    "half an epoch": (lambda: fit(epochs=0.5), TypeError, "epochs is 0.5"),
    "a negative monitor": (lambda: fit(monitor=-1), ValueError, "monitor is -1: give 0 or more"),
    "batch norm of one": (
        lambda: fit(layers=NORM, batch_size=1),
        ValueError,
        "batch_size is 1: batch norm needs at least 2 examples in a batch",
    ),
    "a step of one with batch norm": (
        lambda: Scenario(NORM).trainer("cpu").step(X[:1], Y[:1]),
        ValueError,
        "the batch has 1 example: batch norm needs at least 2",
    ),
    "validation data in one piece": (
        lambda: fit(validation_data=X),
        (TypeError, ValueError),
        "validation_data",
    ),
    "a callback that can't be called": (
        lambda: fit(callbacks=["print"]),
        TypeError,
        "callback 'print'",
    ),
    "a callback's class": (lambda: fit(callbacks=[Log]), TypeError, "callback <class"),
    "epochs of more members than there are": (
        lambda: Scenario(SMALL).trainer("cpu", members=2).fit(X, Y, epochs=[1, 2, 3]),
        ValueError,
        "epochs has 3 values and there are 2 members",
    ),
    "a member that is not there": (
        lambda: network(members=2).member(2),
        IndexError,
        "there is no member 2: there are 2, 0 to 1",
    ),
    "a member of one network": (
        lambda: network().member(0),
        ValueError,
        "this is one network, not several",
    ),
    "seeds of other members": (
        lambda: network(members=3, random_state=[1, 2]),
        ValueError,
        "random_state has 2 seeds and there are 3 members",
    ),
    "numbers of other members": (
        lambda: xn.Trainer(network(members=3), l2=[0.1, 0.2]),
        ValueError,
        "l2 has 2 values and there are 3 members",
    ),
    "numbers of members of one network": (
        lambda: xn.Trainer(network(), xn.Adam([0.1, 0.2])),
        ValueError,
        "learning_rate of Adam has 2 values, for so many members, and this is one network",
    ),
    "schedules of two kinds": (
        lambda: xn.Adam([xn.Constant(0.1), xn.InverseTime(0.1)]),
        ValueError,
        "schedules of one kind",
    ),
    "probabilities of values": (
        lambda: network(loss="mean_squared_error").predict_proba(X),
        ValueError,
        "mean_squared_error has no probabilities: use predict",
    ),
    "an unknown loss": (
        lambda: network(loss="hinge"),
        ValueError,
        "loss is 'hinge': give one of softmax_cross_entropy, sigmoid_cross_entropy, mean",
    ),
    "an unknown dtype": (
        lambda: network(dtype="float16"),
        ValueError,
        "dtype is 'float16': give one of float32, float64",
    ),
    "a dtype that is none": (lambda: network(dtype="single life"), ValueError, "dtype is 'single"),
    "no dtype": (lambda: network(dtype=None), ValueError, "dtype is None"),
    "an unknown device": (
        lambda: network(device="gpu"),
        ValueError,
        "device is 'gpu': give 'auto', 'cpu', 'cuda' or 'cuda:N'",
    ),
    "a device's number": (lambda: network(device=0), TypeError, "device is 0"),
    "no device": (lambda: network(device=None), TypeError, "device is None"),
    "an unknown init": (
        lambda: xn.Linear(3, init="random"),
        ValueError,
        "init is 'random': give one of auto, normal, he",
    ),
    "a layer's class": (
        lambda: network([xn.Linear(6), xn.ReLU, xn.Linear(3)]),
        TypeError,
        "is not a layer: did you mean to call it",
    ),
    "a layer's name": (
        lambda: network([xn.Linear(3), "relu"]),
        TypeError,
        "'relu' is not a layer: give one such as ReLU",
    ),
    "no layers": (lambda: network([]), ValueError, "no layer has parameters"),
    "nothing to train": (lambda: network([xn.ReLU()]), ValueError, "no layer has parameters"),
    "softmax twice": (
        lambda: network([xn.Linear(3), xn.Softmax()]),
        ValueError,
        "the last layer is Softmax and softmax_cross_entropy applies it too: leave the last",
    ),
    "sigmoid twice": (
        lambda: network([xn.Linear(3), xn.Sigmoid()], loss="sigmoid_cross_entropy"),
        ValueError,
        "the last layer is Sigmoid and sigmoid_cross_entropy applies it too",
    ),
    "no features": (lambda: network(n_features=0), ValueError, "n_features is 0"),
    "half a feature": (lambda: network(n_features=1.5), TypeError, "n_features is 1.5"),
    "a negative seed": (lambda: network(random_state=-1), ValueError, "random_state is -1"),
    "a generator as seed": (
        lambda: network(random_state=np.random.default_rng(0)),
        TypeError,
        "random_state is Generator",
    ),
    "no members": (lambda: network(members=0), ValueError, "members is 0"),
    "an optimiser's name": (
        lambda: xn.Trainer(network(), "adam"),
        TypeError,
        r"optimizer is 'adam': give one such as Adam\(",
    ),
    "an optimiser's class": (lambda: xn.Trainer(network(), xn.Adam), TypeError, "optimizer is <"),
    "a negative l2": (lambda: xn.Trainer(network(), l2=-0.1), ValueError, "l2 is -0.1"),
    "an l2 that is NaN": (lambda: xn.Trainer(network(), l2=np.nan), ValueError, "l2 is nan"),
    "a callback alone": (
        lambda: xn.Trainer(network()).fit(np.eye(4), [0, 1, 2, 0], callbacks=xn.EarlyStopping(2)),
        TypeError,
        "callbacks is .*: give a list",
    ),
}


@pytest.mark.parametrize(("do", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(do, error, message):
    with pytest.raises(error, match=message):
        do()


def test_what_is_refused_changes_nothing(device):
    trainer = EVERYTHING.trainer(device)
    start = trainer.network.state()
    for bad in ({"batch_size": 1}, {"epochs": 0}, {"validation_data": (X, Y - 1)}):
        with pytest.raises(ValueError, match=r"^(batch_size|epochs|(dev )?y) "):
            trainer.fit(X, Y, **bad)
    assert (trainer.steps, trainer.epochs, trainer.history.rows) == (0, 0, [])
    assert_same(trainer.network.state(), start)


# -- devices ----


@pytest.mark.skipif(why_no_cuda() is None, reason="there is a GPU")
@pytest.mark.parametrize("where", ["cuda", "cuda:1"])
def test_cuda_without_a_gpu_is_refused_with_the_reason(where):
    message = f"device is '{where}', but CUDA: {why_no_cuda()}. Use device='cpu' or 'auto'"
    with pytest.raises(xn.DeviceError, match=re.escape(message)):
        network(device=where)


def test_auto_takes_what_there_is():
    net = network(device="auto")
    assert net.backend.device == ("cuda:0" if why_no_cuda() is None else "cpu")
    assert xn.Trainer(net).fit(X, Y, epochs=1, batch_size=25)["epoch"] == [1]


#: What users call, and what is to make the device current by itself.
ENTRIES = {
    "prepare": lambda net: net.prepare(X, Y),
    "initialize": lambda net: net.initialize(),
    "load_state": lambda net: net.load_state(net.state()),
    "predict": lambda net: net.predict(X),
    "predict_proba": lambda net: net.predict_proba(X),
    "evaluate": lambda net: net.evaluate(X, Y),
    "Trainer": xn.Trainer,
    "step": lambda net: xn.Trainer(net).step(X, Y),
    "fit": lambda net: xn.Trainer(net).fit(X, Y, batch_size=25),
    "check_gradients": lambda net: xn.check_gradients(net, X[:5], Y[:5]),
}


@pytest.mark.parametrize("enter", ENTRIES.values(), ids=ENTRIES)
def test_what_users_call_makes_the_device_current_and_quiet(device, enter):
    # Outputs so large that NumPy would warn of an overflow in e to their power.
    net = network([xn.Sigmoid(), *SMALL], device=device, dtype="float64")
    with device.active():
        net.parameters[...] = 1e3
    enter(net)


def stop_and_fail(trainer, row):
    trainer.stop()
    raise RuntimeError("a callback's own fault")


def test_a_stop_does_not_outlive_its_fit():
    trainer = Scenario(SMALL).trainer("cpu")
    with pytest.raises(RuntimeError, match="own fault"):
        trainer.fit(X, Y, batch_size=10, callbacks=[stop_and_fail])
    history = trainer.fit(X, Y, batch_size=10, epochs=2)
    assert len(history) == 2
    assert not history.stopped


def test_a_stop_at_the_very_end_has_stopped_nothing():
    trainer = Scenario(SMALL).trainer("cpu")
    history = trainer.fit(X, Y, batch_size=10, epochs=2, callbacks=[lambda t, row: t.stop()])
    assert (len(history), history.stopped) == (1, True)
    history = trainer.fit(X, Y, batch_size=10, epochs=1, callbacks=[lambda t, row: t.stop()])
    assert (len(history), history.stopped) == (1, False)


# -- the batch size that is measured ----


def state_of(trainer):
    """Return copies of all that a fit reads and writes."""
    net = trainer.network
    arrays = [net.parameters, net.gradients, net.statistics, net.step_key, *trainer.moments]
    return [trainer.steps, trainer.epochs, *(trainer.backend.to_host(a).copy() for a in arrays)]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["everything", "l2", "mean_squared_error", "a schedule"])
def test_a_fit_with_auto_is_the_fit_with_the_number_chosen(device, scenario):
    scenario = SCENARIOS.get(scenario, EVERYTHING)
    X, y = scenario.problem(n=400)
    automatic = scenario.trainer(device)
    history = automatic.fit(X, y, batch_size="auto", epochs=3)
    assert history.batch_size in (8, 16)
    plain = scenario.trainer(device)
    expected = plain.fit(X, y, batch_size=history.batch_size, epochs=3)
    assert expected.batch_size == history.batch_size
    for found, wanted in zip(state_of(automatic), state_of(plain), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert history["train_loss"] == expected["train_loss"]


@pytest.mark.slow
def test_choosing_leaves_the_trainer_and_its_network_as_they_are(device):
    X, y = problem("softmax_cross_entropy", n=400)
    trainer = EVERYTHING.trainer(device)
    trainer.fit(X, y, batch_size=50, epochs=1)
    before, history = state_of(trainer), trainer.history
    chosen = trainer.choose_batch_size(X, y)
    assert chosen.timings[0].batch_size == 8
    assert chosen.reason.startswith(f"batch size {chosen.batch_size}: ")
    for found, wanted in zip(state_of(trainer), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert trainer.history is history


def test_auto_says_what_it_chose(caplog):
    X, y = problem("softmax_cross_entropy", n=30)
    with caplog.at_level("INFO", logger="xpnet"):
        xn.Trainer(network()).fit(X, y, batch_size="auto", epochs=1)
    (record,) = caplog.records
    assert record.name == "xpnet.train.fit"
    assert record.getMessage() == "batch size 8: 30 examples make 4 updates in an epoch"


@pytest.mark.parametrize(("n", "expected"), [(2, 2), (7, 7), (8, 8), (100, 8)])
def test_auto_takes_small_batches_of_few_examples(n, expected):
    X, y = problem("softmax_cross_entropy", n=n)
    y = np.arange(n) % 3
    assert xn.Trainer(network()).fit(X, y, batch_size="auto", epochs=1).batch_size == expected


@pytest.mark.slow
def test_auto_takes_sparse_features_augmentation_and_weights():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem("softmax_cross_entropy", n=400)
    for features in (X, sparse.csr_array(X)):
        options = {"sample_weight": np.ones(400), "epochs": 1}
        if features is X:
            options["augmentation"] = xn.Augmentation([xn.GaussianNoise(0.1)])
        history = xn.Trainer(network()).fit(features, y, batch_size="auto", **options)
        assert history.batch_size in (8, 16)


def test_another_word_for_a_batch_size_is_refused():
    with pytest.raises(ValueError, match="batch_size is 'large': give a whole number, or 'auto'"):
        fit(batch_size="large")


@pytest.mark.slow
def test_auto_where_memory_ends_takes_the_smallest(monkeypatch):
    X, y = problem("softmax_cross_entropy", n=400)
    trainer = xn.Trainer(network())

    def full(self, where=None):
        raise MemoryError

    monkeypatch.setattr(xn.Network, "clone", full)
    assert trainer.fit(X, y, batch_size="auto", epochs=1).batch_size == 8


def test_a_twin_has_arrays_of_its_own_and_the_same_beginning(device):
    trainer = EVERYTHING.trainer(device)
    network = trainer.network
    clone = network.clone()
    assert clone.backend is network.backend
    assert clone.config() == network.config()
    start = clone.state()
    for name, array in network.state().items():
        np.testing.assert_array_equal(start[name], array)
    trainer.step(*(a[:10] for a in problem(EVERYTHING.loss)))
    for name, array in clone.state().items():
        np.testing.assert_array_equal(start[name], array)
    assert network.clone("cpu").backend.device == "cpu"


def test_a_larger_workspace_takes_the_place_of_the_smaller_one():
    X, y = problem("softmax_cross_entropy", n=400)
    trainer = xn.Trainer(network())
    trainer.step(X[:10], y[:10])
    trainer.network.passes.reserve(100, training=True)
    with pytest.raises(RuntimeError, match="backward without a forward pass"):
        trainer.network.backward(None)
    trainer.step(X[:100], y[:100])


# -- what a trainer does not take ----


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (xn.SGD(0.1), xn.Adam()),
        (xn.SGD(0.1), xn.Momentum()),
        (xn.SGD(0.1), xn.SGD(0.1, momentum=0.9)),
        (xn.Adam(), xn.SGD()),
        (xn.Adam(), "adam"),
    ],
    ids=str,
)
def test_an_optimiser_of_another_kind_is_refused(backend, first, second):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device=backend)
    trainer = xn.Trainer(net, first)
    with pytest.raises(TypeError, match="give one that goes on with the moments of"):
        trainer.optimizer = second
    assert trainer.optimizer is first
    trainer.optimizer = replace(first, learning_rate=0.3)
    trainer.step(np.ones((4, 3)), np.arange(4.0))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_trainer_is_not_copied(way):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device="cpu")
    with pytest.raises(TypeError, match="a Trainer can't be copied or pickled: copy or pickle its"):
        way(xn.Trainer(net))


def test_a_fit_s_augmentation_is_fixed(backend):
    class Switch(xn.Callback):
        def on_fit_begin(self, trainer, batches, epochs):
            batches.augmentation = None

    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device=backend)
    noise = xn.Augmentation([xn.GaussianNoise(0.1)])
    with pytest.raises(AttributeError, match="augmentation"):
        xn.Trainer(net).fit(
            np.ones((4, 3)),
            np.arange(4.0),
            batch_size=2,
            augmentation=noise,
            callbacks=[Switch()],
        )


def test_data_for_which_there_is_no_memory_are_told_in_a_step(strict):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=3, device=strict)
    trainer = xn.Trainer(net)
    strict.memory = strict.taken
    with pytest.raises(xn.OutOfMemoryError, match="training on batches of 400 examples"):
        trainer.step(np.ones((400, 3)), np.arange(400.0))
