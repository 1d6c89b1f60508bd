"""The critical batch size: exact estimates, sums that can be done by hand, and a real training."""

import json
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

import xpnet as xn
from xpnet.analysis import gradient_noise, noise_result
from xpnet.analysis.noise_result import KEPT, averages, critical, estimate, soonest, with_noise
from xpnet.analysis.profile_result import Profile, Row, Series
from xpnet.randomness import Purpose, generator
from xpnet.train.fit_data import FitData

RNG = np.random.default_rng(0)


def squares(gradients, order, part, count):
    """Return the mean |gᵢ|² of parts of gradients (n, P) in an order, and |ḡ|²."""
    parts = gradients[order[: part * count]].reshape(count, part, -1).mean(axis=1)
    return (parts**2).sum(axis=1).mean(), (parts.mean(axis=0) ** 2).sum()


# -- the estimates ----


@pytest.mark.parametrize(("part", "count"), [(1, 2), (1, 6), (2, 2), (2, 3), (3, 2)])
def test_over_all_orders_of_six_examples_the_estimates_are_exact_in_the_mean(part, count):
    gradients = RNG.normal(size=(6, 4)) + 0.7
    found = [
        estimate(*squares(gradients, np.array(order), part, count), part, count, 6)
        for order in permutations(range(6))
    ]
    noise, square = np.mean(found, axis=0)
    centred = gradients - gradients.mean(axis=0)
    np.testing.assert_allclose(noise, (centred**2).sum() / 5, rtol=1e-12)
    np.testing.assert_allclose(square, (gradients.mean(axis=0) ** 2).sum(), rtol=1e-12)


def test_of_linear_regression_the_estimates_are_those_of_the_closed_formula():
    # x ~ N(0, I), y = xᵀw* + σε, δ = w − w*: g = x (xᵀδ − σε), so that G = δ, E xxᵀδδᵀxxᵀ is
    # |δ|² I + 2 δδᵀ, and tr Σ = (d + 1) |δ|² + d σ².
    delta, sigma, (draws, part, count) = np.array([0.5, -1.0, 0.3, 0.0, 0.2]), 0.8, (20_000, 3, 4)
    x = RNG.normal(size=(draws, part * count, 5))
    g = x * (x @ delta - sigma * RNG.normal(size=x.shape[:2]))[..., None]
    parts = g.reshape(draws, count, part, 5).mean(axis=2)
    given = (parts**2).sum(axis=-1).mean(axis=-1), (parts.mean(axis=1) ** 2).sum(axis=-1)
    for found, expected in zip(
        estimate(*given, part, count, math.inf),
        (6 * delta @ delta + 5 * sigma**2, delta @ delta),
        strict=True,
    ):
        error = found.std() / np.sqrt(draws)
        assert abs(found.mean() - expected) < 4 * error
        assert error < 0.02 * expected  # it could have been told from another one
    biased = given[1].mean()  # what |ḡ|² alone would say
    assert biased > 1.5 * (delta @ delta)


def test_averages_begin_without_a_bias():
    np.testing.assert_allclose(averages(np.full((5, 2), 3.0)), 3.0)
    np.testing.assert_allclose(averages(np.array([1.0, 2.0])), [1.0, (KEPT + 2) / (KEPT + 1)])


@pytest.mark.parametrize("batch_size", [1, 32, 4096])
def test_where_the_noise_scale_stays_it_is_the_critical_batch(batch_size):
    sizes = np.geomspace(1.0, 1e-6, 10)[:, None]
    found, error = critical(50.0 * sizes, 2.0 * sizes, batch_size)
    np.testing.assert_allclose(found, 25.0)
    np.testing.assert_allclose(error, 0.0, atol=1e-12)


def test_where_it_grows_the_critical_batch_is_the_mean_over_the_progress():
    """N is 10, then 30: steps with batch 10 make 1/2 and 1/4 of the progress of the best ones."""
    noise, gradient = np.repeat([[10.0], [30.0]], 5000, axis=0), np.ones((10_000, 1))
    found, _ = critical(noise, gradient, 10)
    np.testing.assert_allclose(found, (10 / 2 + 30 / 4) / (1 / 2 + 1 / 4), rtol=1e-3)


@pytest.mark.parametrize(("scale", "n"), [(100, 2**30), (100, 1024), (1000, 2**30), (5, 1024)])
def test_the_interval_covers_what_is_right(scale, n):
    """Gradients of 16 batches of 64 with |G|² = 1, tr Σ = scale: 95 % of the intervals hold it."""
    trials, moments, size = 300, 40, 20
    draw = RNG.normal(size=(trials, moments, 16, size)) * np.sqrt(scale / 64 / size)
    if n == 1024:  # the parts are all that there are
        draw -= draw.mean(axis=2, keepdims=True)
    parts = draw + 1 / np.sqrt(size)
    given = (parts**2).sum(axis=-1).mean(axis=-1), (parts.mean(axis=2) ** 2).sum(axis=-1)
    noise, gradient = estimate(*given, 64, 16, n)
    found, error = critical(noise.T, gradient.T, 64)
    assert abs(np.median(found) / scale - 1) < 0.05
    held = np.mean(abs(found - scale) < 1.96 * error)
    assert 0.9 < held < 0.99


def test_a_gradient_that_is_not_told_from_none_has_no_critical_batch():
    signs = np.where(np.arange(20) % 2, 1.0, -1.0)[:, None]
    found, error = critical(np.ones((20, 1)), 0.1 * signs, 32)
    assert np.isnan(found).all()
    assert np.isnan(error).all()


def test_the_error_of_two_moments_is_that_of_their_difference():
    """Σ/E is 5 and 20/3, G²/E is 1/2 and 1/3: N is 14, and the sums are ±2 off that."""
    found, error = critical(np.array([[10.0], [20.0]]), np.ones((2, 1)), 10)
    np.testing.assert_allclose((found, error), [[14.0], [4 / (5 / 6)]])
    found, _ = critical(np.array([[10.0], [30.0]]), np.ones((2, 1)), 10)  # 50/3, with error 80/9
    assert np.isnan(found).all()


# -- gradients of a network ----


def regression(n=320, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.5 * draw.normal(size=n)


def linear(**options):
    given = {"n_features": 3, "device": "cpu", "dtype": "float64"}
    return xn.Network([xn.Linear(1)], loss="half_squared_error", **{**given, **options})


def classes(n=256):
    draw = np.random.default_rng(1)
    X = draw.normal(size=(n, 6))
    return X, (X[:, 0] * X[:, 1] > 0) + (X[:, 2] > 0.5)


def small(*more, **options):
    layers = [xn.Linear(8), *more, xn.Tanh(), xn.Linear(3)]
    given = {"n_features": 6, "device": "cpu", "dtype": "float64", **options}
    return xn.Network(layers, loss="softmax_cross_entropy", **given)


STILL = xn.SGD(1e-12)


def each_gradient(net, X, y):
    """Return the gradient of each example, (n, P), one at a time."""
    x, labels = net.prepare(X, y)
    found = []
    for i in range(len(x)):
        net.passes.loss_and_gradient(x[i : i + 1], labels[i : i + 1])
        found.append(net.gradients.copy())
    return np.array(found)


@pytest.mark.parametrize("net", [linear(), small()], ids=["regression", "classes"])
def test_parts_of_all_examples_say_what_single_ones_do(net):
    X, y = regression() if net.n_outputs == 1 else classes()
    gradients = each_gradient(net.clone(), X, y)
    square = (gradients.mean(axis=0) ** 2).sum()
    noise = ((gradients - gradients.mean(axis=0)) ** 2).sum() / (len(y) - 1)
    found = xn.critical_batch_size(net, X, y, optimizer=STILL, steps=200, batch_size=16)
    assert found.critical_batch == pytest.approx(noise / square, rel=0.05)
    low, high = found.interval
    assert low < noise / square < high
    assert high - low < 0.2 * noise / square


def meter_of(net, X, y, optimizer, l2=0.0, part=16):
    """Return a meter on a trainer that has made two steps, and the trainer."""
    trainer = xn.Trainer(net, optimizer, l2)
    data = FitData(*net.prepare(X, y))
    plan = gradient_noise._Plan(len(y), 2 * part, part, len(y) // part, 9, 1)
    meter = gradient_noise._Meter(data, plan, l2, lambda: False, lambda: False)
    for _ in range(2):
        trainer.step(X[:32], y[:32])
    with trainer.backend.active():
        meter.on_fit_begin(trainer, None, 1)
    return meter, trainer


@pytest.mark.parametrize("optimizer", [xn.SGD(0.1), xn.Adam(0.01), xn.Adagrad(0.01)], ids=str)
@pytest.mark.parametrize("l2", [0.0, 3.0])
def test_what_is_measured_is_what_single_examples_say(optimizer, l2):
    X, y = classes()
    meter, trainer = meter_of(small(), X, y, optimizer, l2)
    found = meter._measure(trainer)
    net = trainer.network
    gradients = each_gradient(net, X, y)
    gradients[:, : net.n_weights] += l2 / 32 * net.parameters[: net.n_weights]
    if gradient_noise.is_preconditioned(optimizer):
        moment = trainer.update_step.moments[optimizer.rule.moments.index("s")]
        gradients = gradients / moment**0.25
    order = generator(0, Purpose.NOISE, 2).permutation(len(y))
    np.testing.assert_allclose(found[:, 0], squares(gradients, order, 16, 16), rtol=1e-9)


def test_a_parameter_that_never_had_a_gradient_has_no_part():
    X, y = classes()
    X[:32, 3] = 0.0  # in the steps that are made; later it has one, and its moment is 0
    meter, trainer = meter_of(small(dtype="float32"), X, y, xn.Adam(0.01))
    found = meter._measure(trainer)
    assert ((found > 0) & (found < 1e6)).all()


def test_each_part_has_a_mask_of_its_own():
    meter, trainer = meter_of(small(xn.Dropout(0.5)), *classes(), xn.SGD(0.1))
    compute, keys = meter._cost.loss_and_gradient, []

    def watched(*given):
        keys.append(int(trainer.network.step_key[..., 0]))
        return compute(*given)

    meter._cost.loss_and_gradient = watched
    meter._measure(trainer)
    assert len({*keys}) == 16


def test_the_batch_size_is_none_that_batch_norm_refuses():
    noise, gradient = np.full((9, 1), 0.5), np.ones((9, 1))
    about = {"trained_with": 8, "n_examples": 100, "preconditioned": False}
    about |= {"steps": 9, "ended": "steps", "at": []}
    sizes = [noise_result.conclude(noise, gradient, about, n, False).batch_size for n in (1, 2)]
    assert sizes == [1, 2]


@pytest.mark.parametrize(
    "more", [(xn.BatchNorm(),), (xn.Dropout(0.5),), ()], ids=["norm", "dropout", "plain"]
)
def test_measuring_leaves_the_training_as_it_is(more, monkeypatch):
    trainers = []

    class Kept(xn.Trainer):
        def __init__(self, *given):
            super().__init__(*given)
            trainers.append(self)

    monkeypatch.setattr(gradient_noise, "Trainer", Kept)
    X, y = classes()
    net = small(*more)
    found = xn.critical_batch_size(net, X, y, batch_size=32, optimizer=xn.Adam(0.01), steps=24)
    assert found.steps == 24
    alone = xn.Trainer(net.clone(), xn.Adam(0.01))
    alone.fit(X, y, batch_size=32, epochs=3, monitor=0)
    for name in ("parameters", "statistics"):
        ours, theirs = (getattr(t.network, name) for t in (trainers[0], alone))
        np.testing.assert_array_equal(ours, theirs)


def test_the_network_is_left_alone_and_the_same_again():
    X, y = classes()
    net = small(xn.BatchNorm())
    xn.Trainer(net).fit(X, y, epochs=1)
    before = [net.parameters.copy(), net.statistics.copy(), net.gradients.copy()]
    first, second = (xn.critical_batch_size(net, X, y, steps=40) for _ in range(2))
    for now, then in zip([net.parameters, net.statistics, net.gradients], before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert first == second
    assert first != xn.critical_batch_size(small(xn.BatchNorm(), random_state=1), X, y, steps=40)


@pytest.mark.parametrize(
    ("optimizer", "l2"),
    [(xn.SGD(0.1), 0.0), (xn.Adam(0.01), 0.5), (xn.Adam((0.01, 0.02, 0.01)), (0.0, 1.0, 2.0))],
    ids=["SGD", "Adam", "own numbers"],
)
def test_a_member_has_what_its_network_has_alone(optimizer, l2):
    X, y = classes()
    options = {"steps": 30, "batch_size": 32}
    net = small(members=3, random_state=5)
    found = xn.critical_batch_size(net, X, y, optimizer=optimizer, l2=l2, **options)
    alone = []
    for i in range(3):
        rate = optimizer.learning_rate
        own = replace(optimizer, learning_rate=rate[i] if isinstance(rate, tuple) else rate)
        own_l2 = l2[i] if isinstance(l2, tuple) else l2
        one = small(random_state=5 + i)
        one = xn.critical_batch_size(one, X, y, optimizer=own, l2=own_l2, **options)
        assert one.members is None
        alone.append(one.critical_batch)
    np.testing.assert_allclose(found.members, alone, rtol=1e-6)
    assert found.critical_batch == pytest.approx(np.median(alone), rel=1e-6)


def test_equal_weights_change_nothing_and_others_do():
    X, y = classes()
    net, options = small(), {"steps": 30, "l2": 1.0}
    plain = xn.critical_batch_size(net, X, y, **options)
    same = xn.critical_batch_size(net, X, y, sample_weight=np.ones(len(y)), **options)
    assert same.critical_batch == pytest.approx(plain.critical_batch, rel=1e-9)
    draw = np.random.default_rng(0).exponential(size=len(y)) ** 2
    uneven = xn.critical_batch_size(net, X, y, sample_weight=draw, **options)
    assert uneven.critical_batch > 1.2 * plain.critical_batch  # some examples count for many


@pytest.mark.parametrize("optimizer", [xn.SGD(0.1), xn.Adam(0.01)], ids=["SGD", "Adam"])
def test_another_device_finds_the_same_with_one_copy_to_the_host_a_moment(optimizer, strict):
    X, y = classes()
    options = {"steps": 20, "optimizer": optimizer, "batch_size": 32}
    there = xn.critical_batch_size(small(xn.Dropout(0.2), device=strict), X, y, **options)
    here = xn.critical_batch_size(small(xn.Dropout(0.2)), X, y, **options)
    np.testing.assert_allclose(there.noise_scale, here.noise_scale, rtol=1e-6)
    meter, trainer = meter_of(small(device=strict), X, y, optimizer)
    before = strict.transfers
    with strict.active():
        meter._measure(trainer)
    assert strict.transfers == before + 1


def test_members_that_share_weights_are_one_training():
    X, y = classes()
    layers = [xn.EnsembleLinear(8, members=4), xn.ReLU(), xn.EnsembleLinear(3, members=4)]
    net = xn.Network(layers, loss="softmax_cross_entropy", n_features=6, device="cpu")
    found = xn.critical_batch_size(net, X, y, steps=20)
    assert found.members is None
    assert found.critical_batch > 1


@pytest.mark.parametrize(("n", "batch"), [(4, 1), (9, 1), (40, 5)])
def test_few_examples_do(n, batch):
    X, y = regression(n)
    found = xn.critical_batch_size(linear(), X, y, optimizer=xn.SGD(0.05), steps=60)
    assert (found.trained_with, found.n_examples, found.steps) == (batch, n, 60)
    assert 1 <= found.batch_size <= n


def test_a_batch_of_all_examples_does_too():
    X, y = regression(40)
    found = xn.critical_batch_size(linear(), X, y, batch_size=40, steps=20)
    assert found.trained_with == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "steps"),
        ({"seconds": 0}, "seconds"),
        ({"batch_size": 41}, "batch_size is 41 and there are 40 examples: give at most 40"),
        ({"batch_size": 0}, "batch_size"),
        ({"l2": -1.0}, "l2"),
        ({"sample_weight": [1.0]}, "sample_weight has shape"),
    ],
)
def test_wrong_options(options, message):
    X, y = regression(40)
    with pytest.raises(ValueError, match=message):
        xn.critical_batch_size(linear(), X, y, **options)


def test_wrong_data_and_networks():
    X, y = regression(3)
    with pytest.raises(ValueError, match="there are 3 examples: gradient noise needs at least 4"):
        xn.critical_batch_size(linear(), X, y)
    X, y = classes(7)
    with pytest.raises(ValueError, match="needs at least 8 with batch norm"):
        xn.critical_batch_size(small(xn.BatchNorm()), X, y)
    with pytest.raises(ValueError, match="X has"):
        xn.critical_batch_size(linear(), X, y)
    with pytest.raises(TypeError, match="give a Network"):
        xn.critical_batch_size("net", X, y)
    with pytest.raises(TypeError, match="optimi"):
        xn.critical_batch_size(small(), X, y, optimizer="sgd")


def test_members_have_no_weights_of_their_own():
    X, y = classes()
    with pytest.raises(ValueError, match=r"sample_weight has shape \(2, 256\): give one for each"):
        xn.critical_batch_size(small(members=2), X, y, sample_weight=np.ones((2, len(y))))


def test_one_that_diverges_says_so():
    X, y = regression()
    with pytest.raises(xn.DivergedError):
        xn.critical_batch_size(linear(), X * 1e3, y, optimizer=xn.SGD(1e3), steps=400)


def test_it_ends_when_time_is_up_or_somebody_says_so():
    X, y = regression()
    ticks = iter(range(10_000))
    found = xn.critical_batch_size(linear(), X, y, seconds=6.5, clock=lambda: next(ticks))
    assert found.ended == "time"
    # At a moment every fourth or so of 160 steps: from the fourth on it is asked what time it is.
    assert len(found.at) == 10
    asked = iter([False] * 29 + [True])
    found = xn.critical_batch_size(linear(), X, y, stop=lambda: next(asked))
    assert (found.ended, found.steps) == ("stopped", 30)


def test_one_that_is_stopped_at_once_has_nothing_to_say():
    X, y = regression()
    with pytest.raises(ValueError, match=r"measured 1 of 4 times when it was stopped"):
        xn.critical_batch_size(linear(), X, y, stop=lambda: True)


def test_a_training_has_at_most_twenty_epochs_and_four_hundred_steps():
    X, y = regression(80)
    assert xn.critical_batch_size(linear(), X, y).steps == 160  # eight batches of ten
    assert xn.critical_batch_size(linear(), X, y, batch_size=2).steps == 400


# -- what is said ----

NOISE = xn.GradientNoise(
    critical_batch=100.0,
    interval=(80.0, 121.0),
    batch_size=128,
    preconditioned=True,
    steps=400,
    trained_with=128,
    n_examples=5000,
    ended="steps",
    at=[1, 11],
    noise_scale=[20.0, None],
)


def series(times, mode="training", device="cpu"):
    rows = [
        Row(n, t, t, t, 5, n / t, 0.1, "compute", 1.0, 0.5, 1, t, t, t, True)
        for n, t in times.items()
    ]
    return Series(device, device, mode, rows, 1.0, "arrays", "sizes", None, max(times))


def test_the_soonest_batch_weighs_steps_against_their_time():
    # 1 s each, whatever the batch: the largest. Time that grows with the batch: the smallest.
    assert soonest(NOISE, [series({1: 1.0, 100: 1.0, 5000: 1.0})]) == (5000, "cpu")
    assert soonest(NOISE, [series({1: 1.0, 100: 100.0, 1000: 1000.0})]) == (1, "cpu")
    # 1 s and a hundredth for each example: (1 + n/100)(1 + 100/n) is least at 100, 4.06 at 128
    # and 4.20 at 64: as good.
    affine = {2**i: 1 + 2**i / 100 for i in range(5, 12)}
    assert soonest(NOISE, [series(affine)]) == (64, "cpu")
    faster = series({n: t / 3 for n, t in affine.items()}, device="cuda:0")
    assert soonest(NOISE, [series(affine), faster]) == (64, "cuda:0")
    assert soonest(NOISE, [series({8192: 1.0})]) is None  # more than there are
    assert soonest(NOISE, [series(affine, mode="prediction")]) is None
    both = series({64: 1.0, 128: 0.1})
    unsure = replace(both, rows=[both.rows[0], replace(both.rows[1], sure=False)])
    assert soonest(NOISE, [both]) == (128, "cpu")
    assert soonest(NOISE, [unsure]) == (64, "cpu")
    assert soonest(replace(NOISE, critical_batch=None, interval=None), [series(affine)]) is None


def test_a_profile_says_it_and_writes_it():
    plain = Profile("4-3", 15, "float32", [series({64: 1.0, 128: 1.1})], advice=["first"])
    assert plain.as_dict()["noise"] is None
    found = with_noise(plain, NOISE)
    assert found.advice[0] == "first"
    assert "critical batch by gradient noise is about 100 (80 to 120, from 400" in found.advice[1]
    assert "batches of 128 on cpu reach a given loss the soonest" in found.advice[2]
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["noise"]["critical_batch"] == 100.0
    assert document["noise"]["noise_scale"] == [20.0, None]


def test_one_that_can_not_be_told_is_said_in_words():
    told = str(replace(NOISE, critical_batch=None, interval=None))
    assert "too large to be told from 5,000 examples" in told
    cut = str(replace(NOISE, ended="time"))
    assert "from 400 steps with batches of 128, ended early)" in cut
    assert "about 3.4 (3.0 to 12," in str(replace(NOISE, critical_batch=3.44, interval=(3.0, 12)))


@pytest.mark.parametrize(
    ("scale", "n", "expected"),
    [(100.0, 5000, 128), (90.0, 5000, 64), (1e6, 5000, 4096), (0.01, 5000, 1), (100.0, 60, 32)],
)
def test_the_size_to_take_is_a_power_of_two_that_there_are_examples_for(scale, n, expected):
    about = {"preconditioned": False, "steps": 5, "trained_with": 32, "n_examples": n}
    about |= {"ended": "steps", "at": [1, 2, 3, 4, 5]}
    gradient = np.ones((5, 1))
    found = noise_result.conclude(scale * gradient, gradient, about, 1, False)
    assert found.batch_size == expected
    assert found.noise_scale == pytest.approx([scale] * 5)
