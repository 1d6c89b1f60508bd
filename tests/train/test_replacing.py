"""Members replaced by other networks: each goes on as it does alone, whoever had the place."""

import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
from emulator import stand_in, why_no_compiler
from strict import StrictBackend
from test_members import CASES, build, data, every, host, member

import xpnet as xn
from xpnet.backends.select import select

K = 3

#: What a fit measures, but for times.
FIGURES = ("epoch", "step", "learning_rate", "train_loss", "train_error", "dev_loss", "dev_error")

RNG = np.random.default_rng(0)
N = 53
X = RNG.normal(size=(N + 20, 4))
Y = (X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=N + 20) > 0) * 1


def assert_close(found, expected, tolerance, what):
    """Raise an AssertionError if arrays lie further apart than rounding brings them."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    apart = np.abs(found - expected).max(initial=0.0)
    assert apart <= tolerance * max(np.abs(expected).max(initial=0.0), 1e-3), what  # NaN is not


def assert_same(found, expected, tolerance=1e-12):
    """Raise an AssertionError if a training taken out is not that of the network alone."""
    net = found.network
    for name in ("parameters", "statistics"):
        pair = host(net, getattr(net, name)), host(net, getattr(expected.network, name))
        assert_close(*pair, tolerance, name)
    assert len(found.moments) == len(expected.moments)
    for j, pair in enumerate(zip(found.moments, expected.moments, strict=True)):
        assert_close(*(host(net, array) for array in pair), tolerance, f"moment {j}")
    assert (found.steps, found.epochs) == (expected.steps, expected.epochs)
    assert (found.optimizer, found.l2) == (expected.optimizer, expected.l2)
    assert found.clip_norm == expected.clip_norm
    assert found.network.config() == expected.network.config()
    assert_same_history(found.history, expected.history, tolerance)


def assert_same_history(found, expected, tolerance=1e-12):
    assert len(found) == len(expected)
    assert (found.stopped, found.reason) == (expected.stopped, expected.reason)
    for name in [name for name in FIGURES if name in expected.columns]:
        assert_close(found[name], expected[name], tolerance, name)
        assert [*map(type, found[name])] == [*map(type, expected[name])], name


class Replace(xn.Callback):
    """Puts trainers in members' places after epochs, and keeps what was there."""

    def __init__(self, places):
        self.places, self.left = places, []

    def on_epoch_end(self, trainer, row):
        for i, other in self.places.get(row["epoch"], {}).items():
            self.left.append(trainer.member(i))
            trainer.replace(i, other)


# -- all that a network may be made of ----


#: All but those that differ from "all" of an optimiser in what is one number.
NAMES = [n for n in CASES if not re.match(r"optimiser: \w+, (?!all|rates|schedules)", n)]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_a_place_that_others_had_is_the_network_alone(device, name):
    check_case(device, name, "float64", 1e-12)


@pytest.mark.parametrize("name", ["trainer: all", "layer: deep", "a user's: layer, own"])
def test_in_float32(device, name):
    check_case(device, name, "float32", 2e-5)


def check_case(device, name, dtype, tolerance):
    """Put member i + 1's numbers in place i, after one or two epochs of another network."""
    made = CASES[name]

    def alone(i):
        return build(made, member((i + 1) % K), device, dtype, 20 + i)[0]

    together, coded = build(made, every, device, dtype, [1, 2, 3], K)
    x, y = data(together.network, coded, 45, 0)
    options = {"batch_size": 20, "epochs": 2}
    replace = Replace({1: {0: alone(0)}, 2: {1: alone(1), 2: alone(2)}})
    together.fit(x, y, callbacks=[replace], **options)
    assert together.epochs == 4
    for i in range(K):
        one = alone(i)
        one.fit(x, y, **options)
        found = together.member(i)
        for array in ("parameters", "statistics"):
            pair = (host(found.network, getattr(t.network, array)) for t in (found, one))
            assert_close(*pair, tolerance, array)
        for pair in zip(found.moments, one.moments, strict=True):
            assert_close(*(host(found.network, array) for array in pair), tolerance, "a moment")
        assert (found.steps, found.epochs) == (one.steps, one.epochs)
        assert_same_history(found.history, one.history, tolerance)


# -- one network in many settings ----

#: What members have of their own here, and the newcomers.
OWN = {
    "p": (0.2, 0.4, 0.0),
    "smoothing": (0.0, 0.1, 0.2),
    "rate": (0.02, 0.05, 0.01),
    "beta": (0.9, 0.8, 0.5),
    "l2": (0.0, 0.1, 1.0),
    "clip": (1.0, 0.5, 9.0),
    "seed": (3, 8, 5),
}
NEW = {"p": 0.3, "smoothing": 0.05, "rate": 0.03, "beta": 0.7, "l2": 0.2, "clip": 0.7, "seed": 77}


class Setting:
    """Three members with numbers of their own, and each network alone."""

    def __init__(self, device=None, optimizer=xn.Adam, dtype="float64", own=None, **fit):
        self.device, self.optimizer = device or select("cpu", fused=False), optimizer
        self.dtype, self.own = dtype, OWN | (own or {})
        self.fit_options = {
            "batch_size": 10,
            "epochs": 3,
            "validation_data": (X[N:], Y[N:]),
        } | fit

    def trainer(self, members=None, **numbers):
        """Return a trainer, of members or of one network."""
        o = (self.own if members else NEW) | numbers
        net = xn.Network(
            [xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Dropout(o["p"]), xn.Linear(2)],
            loss=xn.SoftmaxCrossEntropy(label_smoothing=o["smoothing"]),
            n_features=4,
            device=self.device,
            dtype=self.dtype,
            random_state=o["seed"],
            members=members,
        )
        return xn.Trainer(net, self.optimizer(o["rate"], o["beta"]), o["l2"], o["clip"])

    def one(self, i, **numbers):
        """Return the trainer of member i alone."""
        pairs = self.own.items()
        own = {name: v[i] if isinstance(v, (tuple, list)) else v for name, v in pairs}
        return self.trainer(None, **own | numbers)

    def fit(self, trainer, *callbacks, place=None, **options):
        """Fit; of one network with what the place ``place`` has of its own."""
        given = self.fit_options | options
        x, y, rows = X[:N], Y[:N], given.pop("subsets", None)
        weights, held = given.pop("sample_weight", None), given.pop("validation_subsets", None)
        if trainer.network.members is not None:
            own = {"subsets": rows, "validation_subsets": held}
        else:
            own = {}
            if weights is not None and np.ndim(weights) == 2:
                weights = weights[place]
            if rows is not None:
                x, y = x[rows[place]], y[rows[place]]
                weights = None if weights is None else weights[rows[place]]
            if held is not None:
                own["validation_data"] = tuple(a[held[place]] for a in given["validation_data"])
            seed = given.get("order_seed")
            given["order_seed"] = seed[place] if isinstance(seed, list) else seed
        trainer.fit(x, y, sample_weight=weights, callbacks=callbacks, **given | own)
        return trainer


def check(setting, *numbers, epochs=(1, 2, 2), tolerance=1e-12, **options):
    """Replace all members after some epochs, and see that all are as alone."""
    numbers = numbers or ({"seed": 20}, {"seed": 21, "p": 0.0}, {"seed": 22, "rate": 0.001})
    places = {}
    for i, epoch in enumerate(epochs):
        places.setdefault(epoch, {})[i] = setting.trainer(**numbers[i])
    replace = Replace(places)
    together = setting.fit(setting.trainer(K), replace, **options)
    order = [i for _, replaced in sorted(places.items()) for i in replaced]
    for i, left in zip(order, replace.left, strict=True):
        before = setting.fit(setting.one(i), place=i, **options | {"epochs": epochs[i]})
        assert_same(left, before, tolerance)
    for i in range(K):
        one = setting.fit(setting.trainer(**numbers[i]), place=i, **options)
        assert_same(together.member(i), one, tolerance)
        assert_same_predictions(together.network, i, one.network, tolerance)
    return together


def assert_same_predictions(net, i, one, tolerance):
    """Raise an AssertionError if a member does not predict what the network alone does."""
    found, expected = net.predict_proba(X, members=True)[i], one.predict_proba(X)
    assert_close(host(net, found), host(one, expected), 10 * tolerance, "probabilities")
    for name, value in one.evaluate(X, Y).items():
        assert_close(net.evaluate(X, Y)[name][i], value, 10 * tolerance, name)


SUBSETS = [RNG.permutation(N)[:n] for n in (50, 23, 41)]
EQUAL = [RNG.permutation(N)[:40] for _ in range(K)]
HELD = [RNG.permutation(20)[:n] for n in (15, 10, 20)]

#: Options of a fit, and what they say of batches.
FITS = {
    "plain": {},
    "one order for all": {"order_seed": 4},
    "orders": {"order_seed": [4, 9, 2]},
    "no order": {"shuffle": False},
    "subsets": {"subsets": SUBSETS, "validation_subsets": HELD},
    "subsets of one size": {"subsets": EQUAL},
    "one subset": {"subsets": [SUBSETS[0]] * K, "order_seed": 4},
    "weights": {"sample_weight": RNG.uniform(0.5, 2.0, N)},
    "weights of each": {"sample_weight": RNG.uniform(0.5, 2.0, (K, N))},
    "noise": {"augmentation": xn.Augmentation([xn.GaussianNoise(0.3)])},
    "noise alone": {"augmentation": xn.Augmentation([xn.GaussianNoise(0.3)]), "shuffle": False},
    "few are measured": {"monitor": 20},
    "none are measured": {"monitor": 0},
    "few of subsets are measured": {"monitor": 20, "subsets": SUBSETS},
    "micro-batches": {"micro_batches": 2},
    "all": {
        "subsets": SUBSETS,
        "sample_weight": RNG.uniform(0.5, 2.0, (K, N)),
        "order_seed": [4, 9, 2],
        "augmentation": xn.Augmentation([xn.GaussianNoise(0.3)]),
        "monitor": 20,
    },
}


@pytest.mark.parametrize("name", list(FITS))
def test_fits(device, name):
    tolerance = 1e-11 if name == "micro-batches" else 1e-12
    check(Setting(device), tolerance=tolerance, **FITS[name])


@pytest.mark.parametrize("subsets", [None, SUBSETS], ids=["all", "subsets"])
def test_features_in_a_file_give_the_same_bits(tmp_path, subsets):
    np.save(tmp_path / "X.npy", X[:N])
    setting, found = Setting(), []
    for features in (X[:N], np.load(tmp_path / "X.npy", mmap_mode="r")):
        together = setting.trainer(K)
        replace = Replace({1: {0: setting.trainer(seed=20)}, 2: {2: setting.trainer(seed=22)}})
        options = {"batch_size": 10, "epochs": 3, "subsets": subsets, "callbacks": [replace]}
        together.fit(features, Y[:N], **options)
        found.append(together.network.parameters)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("epochs", [(1, 2, 2), (1, 1, 1), (3, 3, 3), (2, 3, 1)])
@pytest.mark.parametrize("seed", [(3, 3, 3), (3, 8, 5)], ids=["one seed", "seeds"])
def test_members_that_shared_their_batches_do_so_no_longer(seed, epochs):
    check(Setting(own={"seed": seed}), epochs=epochs)
    same = [{"seed": 20}, {"seed": 20}, {"seed": 20, "p": 0.1}]
    check(Setting(own={"seed": seed}), *same, epochs=epochs)


SCHEDULES = {
    "epochs": (lambda a: xn.Exponential(a, decay=0.5), (0.02, 0.05, 0.01)),
    "steps": (lambda a: xn.InverseTime(a, 0.3, per="step"), (0.02, 0.05, 0.01)),
    "an epoch's parts": (lambda a: lambda step, epoch: a / (1 + epoch), (0.02, 0.05, 0.01)),
    "steps that there are": (lambda a: lambda step, epoch: TABLE[step] * a, (2.0, 5.0, 1.0)),
}
TABLE = np.linspace(0.01, 0.005, 18)  # 3 epochs of 6 steps


@pytest.mark.parametrize("subsets", [None, EQUAL, SUBSETS], ids=["all", "equal", "unequal"])
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules(name, subsets):
    make, rates = SCHEDULES[name]
    schedules = [make(a) for a in rates]
    new = [{"rate": schedules[(i + 1) % K], "seed": 30 + i} for i in range(K)]
    check(Setting(own={"rate": schedules}, subsets=subsets), *new)


def test_one_schedule_of_all_goes_by_each_member_s_own_epochs():
    shared = {"rate": lambda step, epoch: 0.05 / (1 + epoch + step / 3)}
    check(Setting(own=shared), *({"seed": 30 + i} | shared for i in range(K)))


def test_a_member_that_has_ended_is_asked_for_no_rate():
    rates = [lambda step, epoch, n=n: TABLE[:n][step] for n in (6, 18, 18)]
    together = Setting(own={"rate": rates}, epochs=[1, 3, 3])
    together.fit(together.trainer(K))


@pytest.mark.parametrize("optimizer", [xn.SGD, xn.Momentum, xn.RMSProp])
def test_optimisers(device, optimizer):
    check(Setting(device, optimizer))


def test_a_momentum_of_0_among_others(device):
    setting = Setting(device, xn.SGD, own={"beta": (0.0, 0.9, 0.0)})
    new = [{"seed": 20, "beta": 0.9}, {"seed": 21, "beta": 0.0}, {"seed": 22, "beta": 0.5}]
    replace = Replace({1: dict(enumerate(setting.trainer(**n) for n in new))})
    together = setting.fit(setting.trainer(K), replace)
    for i in range(K):
        one = setting.fit(setting.trainer(**new[i]))
        assert_close(
            host(one.network, together.network.parameters)[i],
            host(one.network, one.network.parameters),
            1e-12,
            "parameters",
        )


# -- numbers of all become numbers of each ----

ONE_FOR_ALL = {"p": 0.3, "smoothing": 0.05, "rate": 0.03, "beta": 0.7, "l2": 0.2, "clip": 0.7}


@pytest.mark.parametrize("name", list(ONE_FOR_ALL))
def test_a_number_of_all_becomes_one_of_each(device, name):
    other = {"p": 0.5, "smoothing": 0.3, "rate": 0.01, "beta": 0.2, "l2": 0.0, "clip": None}
    setting = Setting(device, own=ONE_FOR_ALL)
    new = [{"seed": 20}, {"seed": 21, name: other[name]}, {"seed": 22}]
    together = check(setting, *new)
    found = {
        "p": together.network.layers[3].p,
        "smoothing": together.network.loss.label_smoothing,
        "rate": together.optimizer.learning_rate,
        "beta": together.optimizer.beta_1,
        "l2": together.l2,
        "clip": together.clip_norm,
    }
    one = ONE_FOR_ALL[name]
    expected = (one, math.inf if name == "clip" else other[name], one)
    assert found.pop(name) == expected
    assert not any(isinstance(value, tuple) for value in found.values())


def test_no_largest_norm_becomes_one_of_each(device):
    setting = Setting(device, own={"clip": None})
    check(setting, {"seed": 20, "clip": None}, {"seed": 21, "clip": 0.1}, {"seed": 22, "clip": 0.3})


def test_numbers_of_each_again_and_again(device):
    setting = Setting(device)
    places = {e: {e % K: setting.trainer(seed=e, p=0.1 * (e % 9))} for e in range(1, 12)}
    together = setting.fit(setting.trainer(K), Replace(places))
    for i, e in ((0, 9), (1, 10), (2, 11)):
        one = setting.fit(setting.trainer(seed=e, p=0.1 * (e % 9)))
        assert_same(together.member(i), one)


# -- what users define ----


@dataclass(eq=False)
class Noise(xn.Layer):
    """x plus noise that depends on the seed and the step alone."""

    height: xn.Numbers = 0.1

    def connect(self, seed, key):
        seeds = seed if isinstance(seed, tuple) else (seed,)
        self.scales, self.key = np.reshape(seeds, (-1, 1, 1)) / 100, key

    def bind(self, kernels):
        super().bind(kernels)
        self.heights = np.reshape(self.height, (-1, 1, 1))

    def forward(self, x, b):
        noise = self.heights * self.scales * (self.key.reshape(-1, 1, 1) % np.uint64(1000) / 1000)
        b.y[...] = x + (noise if x.ndim > 2 else noise[0])
        return b.y

    def infer(self, x, b):
        return x

    def backward(self, dy, b):
        return dy


@pytest.mark.parametrize("heights", [0.1, (0.1, 0.2, 0.3)], ids=["one", "each"])
def test_a_layer_that_draws_by_the_seed(heights):
    def trainer(seed, height, members=None):
        layers = [xn.Linear(5), Noise(height), xn.Tanh(), xn.Linear(2)]
        device = select("cpu", fused=False)
        net = xn.Network(
            layers,
            loss="softmax_cross_entropy",
            n_features=4,
            device=device,
            dtype="float64",
            random_state=seed,
            members=members,
        )
        return xn.Trainer(net, xn.SGD(0.1))

    together, options = trainer([1, 2, 3], heights, K), {"batch_size": 10, "epochs": 3}
    places = {1: {0: trainer(50, 0.1)}, 2: {2: trainer(60, 0.5)}}
    together.fit(X, Y, callbacks=[Replace(places)], **options)
    for i, one in ((0, trainer(50, 0.1)), (1, trainer(2, np.resize(heights, K)[1]))):
        one.fit(X, Y, **options)
        assert_close(together.network.parameters[i], one.network.parameters, 1e-12, i)
    one = trainer(60, 0.5)
    one.fit(X, Y, **options)
    assert_close(together.network.parameters[2], one.network.parameters, 1e-12, 2)


def test_callbacks_are_told():
    class Told(xn.Callback):
        def __init__(self):
            self.seen = []

        def on_replace(self, trainer, member):
            self.seen.append((member, trainer.network.seeds[member], trainer.own_epochs[member]))

    setting, told = Setting(), Told()
    old = setting.fit(setting.trainer(seed=21), epochs=2)
    places = {1: {0: setting.trainer(seed=20)}, 2: {2: old}}
    setting.fit(setting.trainer(K), told, Replace(places))
    assert told.seen == [(0, 20, 0), (2, 21, 2)]


# -- when it is done ----


def test_between_fits(device):
    setting = Setting(device)
    together = setting.fit(setting.trainer(K))
    together.replace(-1, setting.trainer())
    assert len(together.history.member(2)) == 0
    assert len(together.history.member(1)) == 3
    setting.fit(together, epochs=2)
    assert_same(together.member(2), setting.fit(setting.trainer(), epochs=2))
    for i in (0, 1):
        one = setting.fit(setting.fit(setting.one(i)), epochs=2)
        assert_same(together.member(i), one)


def test_the_history_of_a_fit_that_is_over_stays_as_it_was_returned():
    setting = Setting(epochs=[1, 3, 2])
    together = setting.trainer(K)
    returned = setting.fit(together).history
    rows, ended = returned.member(0).rows, dict(returned.ended)
    together.replace(0, setting.trainer())
    assert (returned.member(0).rows, returned.ended) == (rows, ended)
    assert 0 in ended
    assert len(together.history.member(0)) == 0
    assert 0 not in together.history.ended


def test_before_the_first_fit_and_before_a_step(device):
    setting = Setting(device)
    together, one = setting.trainer(K), setting.trainer()
    together.replace(1, one)
    for trainer in (together, one):
        trainer.step(X[:9], Y[:9])
        trainer.step(X[:9], Y[:9])
    assert_same(together.member(1), one)
    assert together.learning_rate == [0.02, 0.03, 0.01]


def test_a_member_that_had_its_epochs_is_trained_again(device):
    setting = Setting(device, epochs=[1, 4, 2])
    replace = Replace({3: {0: setting.trainer(seed=20)}, 4: {1: setting.trainer(seed=21)}})
    together = setting.fit(setting.trainer(K), replace)
    for i, seed, epochs in ((0, 20, 1), (1, 21, 4)):
        assert_same(together.member(i), setting.fit(setting.trainer(seed=seed), epochs=epochs))
    assert_same(together.member(2), setting.fit(setting.one(2), epochs=2))
    assert together.epochs == 8
    assert {i: end.epoch for i, end in together.history.ended.items()} == {0: 4, 2: 2}


def test_after_the_last_epoch_the_fit_goes_on():
    setting = Setting(epochs=2)
    replace = Replace({2: {1: setting.trainer()}})
    together = setting.fit(setting.trainer(K), replace)
    assert together.epochs == 4
    assert not together.history.stopped
    assert [len(together.history.member(i)) for i in range(K)] == [2, 2, 2]
    assert {i: end.reason for i, end in together.history.ended.items()} == {0: "", 2: ""}
    assert_same(together.member(1), setting.fit(setting.trainer(), epochs=2))
    assert_same(together.member(0), setting.fit(setting.one(0), epochs=2))


class Stop(xn.Callback):
    """Stops members at a step or after an epoch."""

    def __init__(self, members, *, step=None, epoch=None):
        self.members, self.step, self.epoch = members, step, epoch

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            trainer.stop("enough", self.members)

    def on_epoch_end(self, trainer, row):
        if row["epoch"] == self.epoch:
            trainer.stop("enough", self.members)


@pytest.mark.parametrize("stop", [{"step": 3}, {"step": 6}, {"epoch": 1}], ids=str)
def test_a_member_that_was_stopped_is_trained_again(device, stop):
    setting = Setting(device)
    replace = Replace({1: {0: setting.trainer(seed=20)}, 2: {1: setting.trainer(seed=21)}})
    together = setting.fit(setting.trainer(K), Stop([0, 1], **stop), replace)
    assert {i: e.reason for i, e in together.history.ended.items()} == {0: "", 2: ""}
    for i in (0, 1):
        assert_same(together.member(i), setting.fit(setting.trainer(seed=20 + i)))
    assert_same(together.member(2), setting.fit(setting.one(2)))


@pytest.mark.parametrize("stop", [{"step": 3}, {"epoch": 1}], ids=str)
def test_when_all_are_stopped_a_replacement_goes_on(stop):
    setting = Setting()
    replace = Replace({1: {0: setting.trainer()}})
    together = setting.fit(setting.trainer(K), Stop([0, 1, 2], **stop), replace)
    assert_same(together.member(0), setting.fit(setting.trainer()))
    assert together.history.ended.keys() == {1, 2}
    assert not together.history.stopped


def test_what_is_asked_of_a_newcomer_is_not_asked_of_the_one_before():
    setting = Setting()

    def replace(trainer, row):
        if row["epoch"] == 1:
            trainer.stop("of the one before", 0)
            trainer.replace(0, setting.trainer())
            trainer.replace(1, setting.trainer())
            trainer.stop("of the newcomer", 1)

    together = setting.fit(setting.trainer(K), replace)
    assert together.history.ended[1].reason == "of the newcomer"
    assert len(together.history.member(1)) == 0
    assert_same(together.member(0), setting.fit(setting.trainer()))


def test_a_fit_without_an_end_lasts_as_long_as_its_members_are_replaced():
    setting = Setting(epochs=10**9)
    waiting = [setting.trainer(seed=50 + n) for n in range(5)]
    taken = {}

    def halve(trainer, row):
        for i in trainer.history.trained(row["epoch"]):
            if len(trainer.history.member(i)) < 2 + i:
                continue
            taken[trainer.network.seeds[i]] = trainer.member(i), 2 + i
            if waiting:
                trainer.replace(i, waiting.pop(0))
            else:
                trainer.stop("no more", members=i)

    together = setting.fit(setting.trainer(K), halve)
    assert together.history.reason == "no member is trained any more"
    assert taken.keys() == {*OWN["seed"], *range(50, 55)}
    for seed, (found, epochs) in taken.items():
        one = setting.one(OWN["seed"].index(seed)) if seed < 50 else setting.trainer(seed=seed)
        assert_same(found, setting.fit(one, epochs=epochs))


# -- taken out, and gone on with ----


@pytest.mark.parametrize("subsets", [None, SUBSETS], ids=["all", "subsets"])
def test_a_member_that_is_taken_out_goes_on_alone(device, subsets):
    setting = Setting(device, subsets=subsets)
    together = setting.fit(setting.trainer(K))
    alone = [together.member(i) for i in range(K)]
    setting.fit(together, epochs=2)
    for i in range(K):
        assert_same(together.member(i), setting.fit(alone[i], place=i, epochs=2))


def test_a_member_that_is_taken_out_is_a_copy(device):
    setting = Setting(device)
    together = setting.fit(setting.trainer(K))
    before = host(together.network, together.network.parameters).copy()
    alone = together.member(1)
    setting.fit(alone)
    np.testing.assert_array_equal(host(together.network, together.network.parameters), before)
    assert together.steps == 18
    assert alone.steps == 36


def test_a_training_is_paused_and_goes_on_in_another_place(device):
    setting = Setting(device, epochs=4)
    paused = []

    def pause(trainer, row):
        if row["epoch"] == 2:
            paused.append(trainer.member(1))
            trainer.replace(1, setting.trainer())
        if row["epoch"] == 3:
            trainer.replace(2, paused[0])

    together = setting.fit(setting.trainer(K), pause)
    whole = setting.fit(setting.fit(setting.one(1), epochs=2), epochs=4)
    assert_same(together.member(2), whole)
    assert together.member(2).history["epoch"] == [3, 4, 5, 6]
    assert_same(together.member(1), setting.fit(setting.trainer()))
    other = setting.trainer(K)
    other.replace(0, paused[0])
    assert_same(setting.fit(other).member(0), whole)


def test_one_that_has_made_more_steps_than_all_goes_on(device):
    setting = Setting(device)
    old = setting.fit(setting.trainer(), epochs=9)
    together = setting.trainer(K)
    together.replace(1, old)
    setting.fit(together, Replace({2: {0: old}}))
    setting.fit(old)
    for i in (0, 1):
        assert_same(together.member(i), old)
    assert_same(together.member(2), setting.fit(setting.one(2)))


def test_members_that_ended_apart_go_on_where_each_did(device):
    setting = Setting(device, own={"rate": lambda step, epoch: 0.05 / (1 + epoch)})
    rate = setting.own["rate"]
    together = setting.fit(setting.trainer(K), epochs=[1, 3, 2])
    assert together.own_epochs == [1, 3, 2]
    setting.fit(together, epochs=2)
    for i, epochs in enumerate((1, 3, 2)):
        one = setting.fit(setting.one(i, rate=rate), epochs=epochs)
        assert_same(together.member(i), setting.fit(one, epochs=2))


def test_one_member_is_replaced(device):
    setting = Setting(device, own={name: values[:1] for name, values in OWN.items()})
    together = setting.fit(setting.trainer(1), Replace({2: {0: setting.trainer()}}))
    assert_same(together.member(0), setting.fit(setting.trainer()))


def test_layers_of_shared_weights_are_no_members_of_a_trainer():
    layers = [xn.EnsembleLinear(3, members=2)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=2, device="cpu")
    with pytest.raises(ValueError, match="this is the trainer of one network"):
        xn.Trainer(net).member(0)


# -- what is not finite ----

HUGE = {"rate": 1e300, "clip": None, "l2": 0.0}


def test_a_member_that_has_diverged_is_trained_again(device):
    setting = Setting(device, own={"clip": None, "rate": (0.02, 1e300, 0.01)})
    replace = Replace({2: {1: setting.trainer()}})
    with pytest.warns(UserWarning, match="member 1 has diverged"):
        together = setting.fit(setting.trainer(K), replace)
    assert together.history.diverged == ()
    assert_same(together.member(1), setting.fit(setting.trainer()))
    for i in (0, 2):
        assert_same(together.member(i), setting.fit(setting.one(i)))
    (left,) = replace.left
    assert (left.steps, left.epochs, len(left.history)) == (0, 0, 0)


def own_start(setting, **numbers):
    """Return the error of a network alone, and its trainer."""
    alone = setting.trainer(**HUGE | numbers)
    with pytest.raises(xn.DivergedError) as caught:
        setting.fit(alone)
    return alone, caught.value


@pytest.mark.parametrize("first", [0, 2], ids=["new", "trained before"])
def test_a_newcomer_that_diverges_is_back_at_its_own_start(device, first):
    setting = Setting(device, own={"clip": None})
    newcomers = [setting.trainer(**HUGE | {"seed": 20}) for _ in range(2)]
    for trainer in newcomers:
        if first:
            trainer.learning_rate = 0.01
            setting.fit(trainer, epochs=first)
            trainer.learning_rate = HUGE["rate"]
    newcomer, alone = newcomers
    start = host(newcomer.network, newcomer.network.parameters).copy()
    with pytest.raises(xn.DivergedError) as caught:
        setting.fit(alone)
    error = caught.value
    what, _, rest = str(error).partition(" (first ")
    assert rest  # where it arose is found, and is the same
    told = re.escape(f"member 1 has diverged, and is trained no longer: {what} (first ")
    where = re.escape(rest.partition(";")[0])
    with pytest.warns(UserWarning, match=told + where):
        together = setting.fit(setting.trainer(K), Replace({2: {1: newcomer}}))
    found = host(together.network, together.network.parameters)[1]
    np.testing.assert_array_equal(found, start)
    np.testing.assert_allclose(host(alone.network, alone.network.parameters), start, 1e-12)
    end = together.history.ended[1]
    assert (end.epoch, end.step, end.good_step) == (3, error.step, error.good_step)
    back = together.member(1)
    assert (back.steps, back.epochs) == (alone.steps, alone.epochs)
    for i in (0, 2):
        assert_same(together.member(i), setting.fit(setting.one(i)))


def test_a_newcomer_that_diverges_late_is_back_at_a_good_state_of_its_own():
    def rate(step, epoch):
        return 0.01 if step < 150 else 1e300

    def usual(step, epoch):
        return 0.01

    setting = Setting(own={"clip": None, "rate": usual}, epochs=30)
    newcomer = setting.trainer(rate=rate, clip=None)
    with pytest.warns(UserWarning, match="member 1 has diverged"):
        together = setting.fit(setting.trainer(K), Replace({7: {1: newcomer}}))
    end = together.history.ended[1]
    # Snapshots are taken every 100 steps of all: the place had 42 before.
    assert (end.step, end.good_step) == (152, 100 - 42 + 0)
    alone = setting.trainer(rate=rate, clip=None)
    seen = {}

    def keep(trainer, n):
        seen[trainer.steps] = trainer.network.parameters.copy()

    watch = xn.Callback()
    watch.on_step_end = keep
    with pytest.raises(xn.DivergedError):
        setting.fit(alone, watch)
    np.testing.assert_allclose(together.network.parameters[1], seen[58], 1e-10)


def test_when_all_have_diverged_the_fit_ends_and_places_are_taken_between_fits():
    setting = Setting(own={"clip": None, "rate": (1e300, 1e299, 1e298)})
    together = setting.trainer(K)
    with pytest.raises(xn.DivergedError), pytest.warns(UserWarning, match="has diverged"):
        setting.fit(together)
    for i in range(K):
        together.replace(i, setting.trainer(seed=20 + i, clip=None))
    setting.fit(together)
    for i in range(K):
        assert_same(together.member(i), setting.fit(setting.trainer(seed=20 + i, clip=None)))


# -- those who watch ----


def test_early_stopping_begins_anew_with_a_newcomer(device):
    def watched(trainer, *more, **options):
        stop = xn.EarlyStopping(patience=2)
        return setting.fit(trainer, *more, stop, epochs=14, **options), stop

    setting = Setting(device, own={"rate": (0.3, 0.1, 0.2)})
    replace = Replace({3: {0: setting.trainer(seed=20, rate=0.3)}, 4: {1: setting.trainer()}})
    together, stop = watched(setting.trainer(K), replace)
    for i, one in ((0, setting.trainer(seed=20, rate=0.3)), (1, setting.trainer())):
        alone, alone_stop = watched(one)
        assert_close(
            host(one.network, together.network.parameters)[i],
            host(one.network, alone.network.parameters),
            1e-12,
            "parameters",
        )
        assert_same_history(together.history.member(i), alone.history)
        assert stop.best[i] == pytest.approx(alone_stop.best)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("every_steps", [1, 4])
@pytest.mark.parametrize("kind", [xn.ExponentialMovingAverage(0.9), xn.SimpleMovingAverage(5)])
def test_averages_begin_anew_with_a_newcomer(device, kind, every_steps, first):
    setting = Setting(device, epochs=4)

    def watched(trainer, *more):
        average = xn.WeightAverage(kind, every_steps)
        both = (average, *more) if first else (*more, average)
        return setting.fit(trainer, *both)

    replace = Replace({1: {0: setting.trainer(seed=20)}, 3: {1: setting.trainer(seed=21)}})
    together = watched(setting.trainer(K), replace)
    alone = [setting.trainer(seed=20), setting.trainer(seed=21), setting.one(2)]
    for i, one in enumerate(alone):
        assert_same(together.member(i), watched(one), 1e-11)


# -- what is refused ----


def test_no_other_callback_replaces_a_member():
    setting = Setting()
    names = "on_fit_begin", "on_epoch_begin", "on_step_end", "on_evaluation_begin", "on_fit_end"
    for name in names:
        together, before = setting.trainer(K), []

        def replace(trainer, *_, before=before):
            before.append(trainer.network.parameters.copy())
            trainer.replace(0, setting.trainer())

        watch = xn.Callback()
        setattr(watch, name, replace)
        with pytest.raises(RuntimeError, match=r"can't be replaced now: .* in the on_epoch_end"):
            setting.fit(together, watch)
        np.testing.assert_array_equal(together.network.parameters, before[0])


def test_no_member_is_replaced_while_checkpoints_are_written(tmp_path):
    setting = Setting()
    with pytest.raises(ValueError, match="in a fit that writes checkpoints"):
        setting.fit(
            setting.trainer(K), Replace({1: {0: setting.trainer()}}), checkpoint=tmp_path / "a"
        )


def test_what_was_replaced_between_fits_goes_on_from_checkpoints(tmp_path):
    setting = Setting()

    def made():
        together = setting.trainer(K)
        together.replace(1, setting.fit(setting.trainer(), epochs=5))
        return together

    def interrupt(trainer, row):
        if row["epoch"] == 2:
            trainer.interrupt()

    whole = setting.fit(made())
    setting.fit(made(), interrupt, checkpoint=tmp_path)
    again = setting.fit(made(), checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.network.parameters, whole.network.parameters)
    one = setting.fit(setting.fit(setting.trainer(), epochs=5))
    for trainer in (whole, again):
        assert_same(trainer.member(1), one)
    assert again.own_epochs == whole.own_epochs == [3, 8, 3]


def network(*layers, loss="softmax_cross_entropy", **options):
    given = {"n_features": 4, "device": select("cpu", fused=False), "dtype": "float64"}
    return xn.Network([*layers, xn.Linear(2)], loss=loss, **given | options)


USUAL = (xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3))


def other(*layers, optimizer=None, **options):
    return xn.Trainer(network(*(layers or USUAL), **options), optimizer or xn.Adam(0.1))


REFUSED = {
    "no trainer": (lambda: network(*USUAL), TypeError, "other is Network.*: give a Trainer"),
    "members": (lambda: Setting().trainer(K), ValueError, "takes a single network"),
    "another layer": (
        lambda: other(xn.Linear(8), xn.BatchNorm(), xn.Tanh(), xn.Dropout(0.3)),
        ValueError,
        r"layer 2 is Tanh\(\), and ReLU\(\) in the network: members share their architecture",
    ),
    "another width": (
        lambda: other(xn.Linear(9), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3)),
        ValueError,
        "n_outputs of layer 0 is 9, and 8 in the network: members share it",
    ),
    "more layers": (lambda: other(*USUAL, xn.Linear(2)), ValueError, "the number of layers is 6"),
    "another loss": (
        lambda: other(loss="mean_squared_error"),
        ValueError,
        "the loss is MeanSquaredError",
    ),
    "other features": (lambda: other(n_features=3), ValueError, "n_features is 3, and 4 in the"),
    "another precision": (lambda: other(dtype="float32"), ValueError, "dtype is float32"),
    "another device": (
        lambda: other(device=StrictBackend()),
        ValueError,
        "device is cuda:0, and cpu in the network",
    ),
    "other kernels": (
        lambda: other(device=select("cpu", fused=True)),
        ValueError,
        "the kind of kernels is",
    ),
    "another optimiser": (
        lambda: other(optimizer=xn.SGD(0.1)),
        ValueError,
        r"the optimiser is SGD.*, and Adam.* in the network",
    ),
    "a schedule among numbers": (
        lambda: other(optimizer=xn.Adam(xn.Constant(0.1))),
        ValueError,
        "give all members numbers, or schedules of one kind",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_can_t_have_a_place_is_refused_by_name_and_changes_nothing(name):
    make, error, message = REFUSED[name]
    if name == "other kernels" and not select("cpu").kernels.compiler:
        pytest.skip("there is no compiler")
    setting = Setting()
    together = setting.trainer(K)
    with pytest.raises(error, match=message):
        together.replace(1, make())
    expected = setting.fit(setting.trainer(K))
    found = setting.fit(together)
    np.testing.assert_array_equal(found.network.parameters, expected.network.parameters)
    assert found.network.config() == expected.network.config()


def test_weights_that_are_not_finite_are_refused():
    setting = Setting()
    newcomer = setting.trainer()
    newcomer.network.parameters[3] = np.nan
    with pytest.raises(ValueError, match="has weights that are not finite"):
        setting.trainer(K).replace(0, newcomer)


@pytest.mark.parametrize("call", ["member", "replace"])
def test_a_place_that_is_not_there(call):
    setting = Setting()
    newcomer = [setting.trainer()] if call == "replace" else []
    for i, error, message in (
        (3, IndexError, "there is no member 3: there are 3, 0 to 2"),
        (-4, IndexError, "there is no member -4"),
        (True, TypeError, "a member is True"),
        ("0", TypeError, "a member is '0'"),
    ):
        with pytest.raises(error, match=message):
            getattr(setting.trainer(K), call)(i, *newcomer)
    with pytest.raises(ValueError, match="this is the trainer of one network: it has no members"):
        getattr(setting.trainer(), call)(0, *newcomer)


def test_moments_that_the_network_does_not_keep():
    setting = Setting(optimizer=xn.SGD, own={"beta": 0.0})
    with pytest.raises(ValueError, match="which keeps other moments: give that one the number of"):
        setting.trainer(K).replace(0, setting.trainer(beta=0.9))


# -- on a GPU ----


@pytest.mark.slow
@pytest.mark.skipif(why_no_compiler() is not None, reason=f"the emulator: {why_no_compiler()}")
@pytest.mark.parametrize("name", ["trainer: all", "layer: deep", "optimiser: nadam, all"])
def test_what_was_captured_with_cuda_s_kernels(name):
    check_case(stand_in(), name, "float32", 3e-5)
    check(Setting(stand_in(), dtype="float32"), tolerance=3e-5)


# -- what it costs ----


def test_a_replacement_in_place_captures_nothing_anew(strict):
    setting = Setting(strict, epochs=12, monitor=0, validation_data=None)
    captures = {}

    def note(trainer, row):
        captures[row["epoch"]] = strict.captures

    places = {e: {e % K: setting.trainer(seed=e, p=0.1)} for e in (4, 6, 7, 8, 9, 10)}
    setting.fit(setting.trainer(K), Replace(places), note)
    assert captures[5] > 0
    # The first one makes members count by themselves; from then on nothing is made anew.
    assert captures[8] == captures[12]
    assert strict.replays > 30


def test_a_replacement_in_place_takes_no_memory_that_grows_with_the_network(strict):
    def taken(width):
        layers = [xn.Linear(width), xn.ReLU(), xn.Dropout((0.1,) * K), xn.Linear(2)]
        options = {"n_features": 4, "device": strict, "loss": "softmax_cross_entropy"}
        together = xn.Trainer(xn.Network(layers, members=K, **options), xn.Adam((0.1,) * K))
        layers[2] = xn.Dropout(0.3)
        one = xn.Trainer(xn.Network(layers, random_state=9, **options), xn.Adam(0.2))
        together.fit(X, Y, batch_size=20, epochs=3)
        together.replace(1, one)
        before, transfers = strict.allocations, strict.transfers
        together.replace(1, one)
        return strict.allocations - before, strict.transfers - transfers

    assert taken(5) == taken(500)
    assert taken(5)[1] <= 1
