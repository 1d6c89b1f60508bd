"""Members with batches, examples and weights of their own: each ends as its network does alone."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.select import select
from xpnet.train import given_batch
from xpnet.train.cost import Cost

RNG = np.random.default_rng(1)
N = 165
X = RNG.normal(size=(N, 5))
Y = (X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=N) > 0) * 1
DEV = RNG.normal(size=(40, 5))
DEV_Y = (DEV[:, 0] * DEV[:, 1] > 0) * 1

#: What is as alone, in each row of the history.
FIGURES = ("step", "learning_rate", "train_loss", "train_error", "dev_loss", "dev_error")

PLAIN = [xn.Linear(7), xn.ReLU(), xn.Linear(2)]
NORMED = [xn.Linear(7), xn.BatchNorm(), xn.Tanh(), xn.Dropout(0.3), xn.Linear(6), xn.ReLU()]
NORMED += [xn.Dropout([0.1, 0.2, 0.4]), xn.Linear(2)]


def subset(*sizes, seed=5):
    draw = np.random.default_rng(seed)
    return [draw.permutation(N)[:n] for n in sizes]


#: Numbers of examples at batches of 32: equal, other last batches, merged ones, other numbers of
#: batches, a single one.
SIZES = {
    "equal": (70, 70, 70),
    "last batches differ": (70, 75, 72),
    "one more": (64, 65, 64),
    "other numbers of batches": (33, 150, 100),
    "one batch": (32, 90, 64),
}


def of(value, i):
    return value[i] if isinstance(value, (list, tuple)) else value


def build(layers, i=None, device=None, loss="softmax_cross_entropy", dtype="float64", **options):
    """Return the network, or that of member i alone."""
    alone = layers
    if i is not None:
        alone = [xn.Dropout(of(s.p, i)) if isinstance(s, xn.Dropout) else s for s in layers]
    return xn.Network(
        alone,
        loss=loss,
        n_features=5,
        device=device or select("cpu", fused=False),
        dtype=dtype,
        random_state=[3, 8, 5] if i is None else [3, 8, 5][i],
        **({"members": 3} if i is None else {}) | options,
    )


class Case:
    """A fit of three members, and of each of them alone."""

    def __init__(self, layers=NORMED, optimizer=xn.Adam, rate=0.01, l2=0.0, clip_norm=None, **fit):
        self.layers, self.optimizer, self.rate, self.l2 = layers, optimizer, rate, l2
        self.clip_norm, self.build = clip_norm, fit.pop("build", {})
        self.fit = {"epochs": 4, "batch_size": 32, "validation_data": (DEV, DEV_Y)} | fit

    def trainer(self, i=None):
        rate, l2 = self.rate, self.l2
        if i is not None:
            rate, l2 = of(rate, i), of(l2, i)
        network = build(self.layers, i, **self.build)
        return xn.Trainer(network, self.optimizer(rate), l2, self.clip_norm)

    def together(self, trainer=None, **more):
        trainer = trainer or self.trainer()
        trainer.fit(X, self.build.get("y", Y), **self.fit | more)
        return trainer

    def alone(self, i, trainer=None, **more):
        trainer = trainer or self.trainer(i)
        fit, x, y = self.fit | more, X, Y
        rows = fit.pop("subsets", None)
        weights = fit.pop("sample_weight", None)
        if weights is not None:
            weights = weights[i] if np.ndim(weights) == 2 else weights
        if rows is not None:
            x, y = X[rows[i]], Y[rows[i]]
            weights = None if weights is None else weights[rows[i]]
        held = fit.pop("validation_subsets", None)
        if held is not None:
            fit["validation_data"] = tuple(a[held[i]] for a in fit["validation_data"])
        fit["order_seed"] = of(fit.get("order_seed"), i)
        trainer.fit(x, y, sample_weight=weights, **fit)
        return trainer

    def check(self, tolerance=1e-12, **more):
        together = self.together(**more)
        for i in range(3):
            same(together, i, self.alone(i, **more), tolerance)
        return together


def same(together, i, alone, tolerance=1e-12):
    """Check weights, statistics, moments, steps and the history."""
    step, own = together.update_step, alone.update_step
    pairs = [
        (together.network.parameters[i], alone.network.parameters),
        (together.network.statistics[i], alone.network.statistics),
        *((a[i], b) for a, b in zip(step.moments, own.moments, strict=True)),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, tolerance, tolerance)
    history = together.history.member(i)
    assert step.count - step.idle[i] == own.count
    for figure in [name for name in FIGURES if name in alone.history.columns]:
        expected = alone.history[figure]
        np.testing.assert_allclose(history[figure], expected, tolerance, tolerance, err_msg=figure)


# -- own orders ----


@pytest.mark.parametrize("layers", [PLAIN, NORMED])
def test_each_member_has_its_own_order(layers):
    together = Case(layers).check()
    assert len({*together.network.member(0).predict(DEV).tolist()}) > 1


@pytest.mark.parametrize("order_seed", [4, [4, 4, 4], [7, 2, 7]])
def test_the_seed_of_the_order_may_be_given(order_seed):
    Case(order_seed=order_seed).check()


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({}, True),
        ({"order_seed": 4}, False),
        ({"shuffle": False}, False),
        ({"shuffle": False, "augmentation": xn.Augmentation([xn.GaussianNoise(0.1)])}, True),
        ({"shuffle": False, "subsets": [np.arange(40)] * 3}, False),
        ({"shuffle": False, "subsets": list(np.arange(120).reshape(3, 40))}, True),
    ],
)
def test_members_share_batches_that_are_the_same(options, own):
    class Look(xn.Callback):
        def on_fit_begin(self, trainer, batches, epochs):
            self.own = isinstance(batches.seen(1), list)

    look = Look()
    case = Case(PLAIN, **options)
    together = case.together(callbacks=[look])
    assert look.own is own
    for i in range(3):
        same(together, i, case.alone(i))


def test_one_network_s_order_has_a_seed_of_its_own():
    case = Case(PLAIN)
    first, second, third = (
        case.alone(0, order_seed=s).network.parameters.copy() for s in (None, 3, 4)
    )
    np.testing.assert_array_equal(first, second)  # 3 is its own
    assert not np.array_equal(first, third)


# -- own examples ----


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("layers", [PLAIN, NORMED], ids=["plain", "batch norm and dropout"])
def test_each_member_has_its_own_examples(sizes, layers):
    Case(layers, subsets=subset(*sizes)).check()


UNEQUAL = subset(*SIZES["other numbers of batches"])
WEIGHTS = RNG.uniform(0.0, 2.0, (3, N))
WEIGHTS[1, ::3] = 0.0
FOLDS = np.array_split(np.random.default_rng(2).permutation(40), [13, 20])

CASES = {
    "a schedule by step": {"rate": lambda step, epoch: 0.05 / (1 + step)},
    "a schedule by epoch": {"rate": lambda step, epoch: 0.05 / (1 + epoch)},
    "a schedule for each": {
        "rate": [xn.InverseTime(0.05, 0.3), xn.InverseTime(0.02), xn.InverseTime(0.04)]
    },
    "a rate for each": {"rate": [0.01, 0.002, 0.03]},
    "L2": {"l2": 0.5},
    "λ for each": {"l2": [0.0, 0.5, 2.0]},
    "clipped": {"clip_norm": 0.2},
    "momentum": {"optimizer": lambda rate: xn.SGD(rate, momentum=0.9)},
    "decayed": {"optimizer": lambda rate: xn.AdamW(rate, weight_decay=0.1)},
    "weights": {"sample_weight": WEIGHTS[0]},
    "weights and L2": {"sample_weight": WEIGHTS[0], "l2": 0.5},
    "weights of each": {"sample_weight": WEIGHTS},
    "weights of each, and L2": {"sample_weight": WEIGHTS, "l2": 0.5, "order_seed": 3},
    "weights of each and λ for each": {"sample_weight": WEIGHTS, "l2": [0.0, 0.5, 2.0]},
    "weights and λ for each": {"sample_weight": WEIGHTS[0], "l2": [0.0, 0.5, 2.0]},
    "as they are given": {"shuffle": False},
    "a part of the training error": {"monitor": 29},
    "no training error": {"monitor": 0},
    "folds": {"validation_subsets": FOLDS},
    "in two parts": {"micro_batches": 2, "layers": PLAIN},
    "weights, in two parts": {"micro_batches": 2, "layers": PLAIN, "sample_weight": WEIGHTS},
    "noise": {"augmentation": xn.Augmentation([xn.GaussianNoise(0.3), xn.Mixup()])},
}


@pytest.mark.parametrize("subsets", [None, UNEQUAL], ids=["all", "unequal"])
@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_what_else_there_is_goes_by_each_member_s_own_steps(settings, subsets):
    Case(**settings, subsets=subsets).check()


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mean_squared_error", RNG.normal(size=(N, 2))),
        ("sigmoid_cross_entropy", (RNG.uniform(size=(N, 2)) > 0.5) * 1),
        ("quantile", RNG.normal(size=(N, 2))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_loss_will_do(loss, y):
    def fit(i=None):
        rows = slice(None) if i is None else UNEQUAL[i]
        trainer = xn.Trainer(build(NORMED, i, loss=loss))
        own = {"subsets": UNEQUAL} if i is None else {}
        trainer.fit(X[rows], y[rows], batch_size=32, epochs=3, **own)
        return trainer

    together = fit()
    for i in range(3):
        same(together, i, fit(i))


@pytest.mark.parametrize("first", [xn.Dropout(0.2), xn.BatchNorm(), xn.OneHot({0: 3}), xn.Tanh()])
def test_any_layer_may_come_first(first):
    x = X.copy()
    x[:, 0] = np.arange(N) % 3
    layers = [first, *NORMED]

    def fit(i=None):
        rows = slice(None) if i is None else UNEQUAL[i]
        trainer = xn.Trainer(build(layers, i))
        trainer.step(x[:9], Y[:9])  # shared, in the same workspace
        own = {"subsets": UNEQUAL} if i is None else {}
        trainer.fit(x[rows], Y[rows], batch_size=32, epochs=2, **own)
        return trainer

    together = fit()
    for i in range(3):
        same(together, i, fit(i))


@pytest.mark.parametrize("subsets", [None, UNEQUAL], ids=["all", "unequal"])
def test_a_second_fit_goes_on_with_each_member_s_own_steps(subsets):
    case = Case(rate=lambda step, epoch: 0.05 / (1 + step + epoch), subsets=subsets)
    together = case.together(epochs=[1, 3, 2])
    together = case.together(together, epochs=2)
    together.step(X[:9], Y[:9])
    for i in range(3):
        alone = case.alone(i, epochs=[1, 3, 2][i])
        alone = case.alone(i, alone, epochs=2)
        alone.step(X[:9], Y[:9])
        same(together, i, alone)


def test_losses_count_once_where_memory_does_not_suffice(monkeypatch):
    case, compute, calls = Case(PLAIN, subsets=UNEQUAL), Cost.loss_and_gradient, []

    def refuse(*arrays):
        calls.append(arrays)
        if len(calls) == 3:  # of member 1, in the second step, where members differ
            raise MemoryError
        return compute(*arrays)

    whole = case.together()
    monkeypatch.setattr(Cost, "loss_and_gradient", refuse)
    with pytest.warns(UserWarning, match="2 micro-batches"):
        together = case.together(micro_batches="auto")
    for figure in ("train_loss", "dev_loss"):
        found, expected = together.history[figure], whole.history[figure]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_schedule_is_asked_for_a_member_s_own_steps_alone():
    def table(steps):
        rates = np.linspace(0.1, 0.01, steps)
        return lambda step, epoch: rates[step]

    # 1, 5 and 4 batches in an epoch, and in the second fit plans begin while some wait.
    case = Case(rate=[table(n) for n in (4, 20, 16)], subsets=UNEQUAL, epochs=2)

    def fit(i=None):
        trainer = case.together() if i is None else case.alone(i)
        return case.together(trainer) if i is None else case.alone(i, trainer)

    together = fit()
    for i in range(3):
        same(together, i, fit(i))


def test_each_member_stops_early_on_its_own_fold():
    def fit(i=None):
        stop = xn.EarlyStopping(patience=2, monitor="dev_loss")
        case = Case(rate=0.05, epochs=12, callbacks=[stop], subsets=UNEQUAL)
        case.fit["validation_subsets"] = FOLDS
        return case.together() if i is None else case.alone(i)

    together = fit()
    assert len({len(together.history.member(i)) for i in range(3)}) > 1
    for i in range(3):
        same(together, i, fit(i))


class OwnStep(xn.Callback):
    """Makes a step on other data after the update of a number, of each epoch."""

    def __init__(self, after):
        self.after, self.made = after, 0

    def on_epoch_begin(self, trainer):
        self.made = 0

    def on_step_end(self, trainer, n):
        self.made += 1
        if self.made == self.after:
            trainer.step(DEV[:10], DEV_Y[:10])


def test_a_callback_s_own_step_is_one_of_each_member():
    case = Case(rate=lambda step, epoch: 0.05 / (1 + step + epoch), subsets=UNEQUAL)
    together = case.together(callbacks=[OwnStep(2)])
    same(together, 1, case.alone(1, callbacks=[OwnStep(2)]))
    same(together, 2, case.alone(2, callbacks=[OwnStep(2)]))


class Interrupt(xn.Callback):
    """Interrupts the fit after so many updates."""

    def __init__(self, after):
        self.left = after

    def on_step_end(self, trainer, n):
        self.left -= 1
        if not self.left:
            trainer.interrupt()


@pytest.mark.parametrize("after", [1, 2, 3, 5, 9, 10])
def test_a_fit_goes_on_exactly_from_a_checkpoint(tmp_path, after):
    # 2, 5 and 4 batches: after some updates a member is idle.
    case = Case(subsets=UNEQUAL, order_seed=[1, 2, 3], sample_weight=WEIGHTS)
    whole = case.together()
    case.together(callbacks=[Interrupt(after)], checkpoint=tmp_path)
    again = case.together(checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.network.parameters, whole.network.parameters)
    assert again.update_step.idle == whole.update_step.idle
    for figure in FIGURES:
        np.testing.assert_array_equal(again.history[figure], whole.history[figure])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"order_seed": [1, 2, 4]}, r"order_seed\[2\] is 4 here and 3 in the checkpoint"),
        ({"order_seed": None}, r"order_seed is null here and \[1, 2, 3\] in the checkpoint"),
        ({"subsets": subset(33, 150, 100, seed=6)}, "the fingerprint of subsets is"),
        ({"validation_subsets": None}, "the fingerprint of validation_subsets is"),
        ({"sample_weight": WEIGHTS[::-1]}, "the fingerprint of sample_weight is"),
    ],
)
def test_a_checkpoint_knows_the_members_data_again(tmp_path, other, what):
    settings = {"subsets": UNEQUAL, "order_seed": [1, 2, 3], "sample_weight": WEIGHTS}
    case = Case(**settings, validation_subsets=FOLDS, checkpoint=tmp_path)
    case.together(epochs=1)
    with pytest.raises(ValueError, match=what):
        case.together(resume=True, **other)


# -- features that stay on the host ----


@pytest.mark.parametrize("subsets", [None, UNEQUAL], ids=["all", "unequal"])
@pytest.mark.parametrize("kind", ["sparse", "file"])
def test_features_on_the_host_give_the_same_bits(tmp_path, kind, subsets):
    if kind == "sparse":
        sparse = pytest.importorskip("scipy.sparse")
        held = sparse.csr_array(X)
    else:
        np.save(tmp_path / "X.npy", X)
        held = np.load(tmp_path / "X.npy", mmap_mode="r")
    trainers = []
    for features in (X, held):
        trainer = xn.Trainer(build(NORMED))
        augmentation = xn.Augmentation([xn.GaussianNoise(0.3)])
        options = {"augmentation": augmentation, "sample_weight": WEIGHTS, "subsets": subsets}
        trainer.fit(features, Y, batch_size=32, epochs=2, **options)
        trainers.append(trainer)
    first, second = trainers
    np.testing.assert_array_equal(first.network.parameters, second.network.parameters)
    assert first.history["train_error"] == second.history["train_error"]


# -- a step ----

BATCH, LABELS = RNG.normal(size=(3, 12, 5)), RNG.integers(0, 2, (3, 12))
STEPS = {
    "own": (BATCH, LABELS, None),
    "own, weights of all": (BATCH, LABELS, RNG.uniform(size=12)),
    "own, weights of each": (BATCH, LABELS, RNG.uniform(size=(3, 12))),
    "shared, weights of each": (BATCH[0], LABELS[0], RNG.uniform(size=(3, 12))),
    "shared": (BATCH[0], LABELS[0], None),
}


def own(array, i, axes):
    """Return member i's of an array that has a members' axis, or the array."""
    return array[i] if np.ndim(array) > axes else array


@pytest.mark.parametrize("batch", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("l2", [0.0, 0.5, [0.0, 0.5, 2.0]], ids=["", "λ", "λ for each"])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_step_may_have_a_batch_for_each_member(batch, l2, micro_batches):
    x, y, weights = batch
    case = Case(PLAIN, l2=l2)
    together = case.trainer()
    with together.update_step.accumulation.using(micro_batches):
        losses = [together.step(x, y, weights) for _ in range(3)]
    for i in range(3):
        alone = case.trainer(i)
        mine = own(x, i, 2), own(y, i, 1), own(weights, i, 1)
        found = [float(alone.step(*mine)) for _ in range(3)]
        np.testing.assert_allclose([loss[i] for loss in losses], found, 1e-12)
        np.testing.assert_allclose(
            together.network.parameters[i], alone.network.parameters, 1e-11, 1e-13
        )


def test_a_step_takes_what_is_on_the_device_as_it_is():
    trainer = Case(PLAIN).trainer()
    x, y = BATCH.copy(), LABELS.astype(np.int32)
    assert given_batch.prepare(trainer.update_step, x, y, None)[0] is x
    whole = trainer.step(x, y)
    again = Case(PLAIN).trainer().step(x.tolist(), y.tolist())
    np.testing.assert_array_equal(whole, again)


def test_shared_and_own_batches_take_turns():
    layers = [xn.OneHot({0: 3}), *NORMED]
    x = BATCH.copy()
    x[..., 0] = np.arange(12) % 3
    together, alone = xn.Trainer(build(layers)), xn.Trainer(build(layers, 1))
    for features, labels in ((x[0], LABELS[0]), (x, LABELS), (x[2], LABELS[2]), (x, LABELS)):
        together.step(features, labels)
        alone.step(own(features, 1, 2), own(labels, 1, 1))
    np.testing.assert_allclose(together.network.parameters[1], alone.network.parameters, 1e-12)


# -- what is refused ----


def fit(members=3, **options):
    network = build(PLAIN) if members else build(PLAIN, 0)
    xn.Trainer(network).fit(X, Y, batch_size=32, epochs=1, **options)


def step(x=BATCH, y=LABELS, weights=None, layers=PLAIN):
    xn.Trainer(build(layers)).step(x, y, weights)


ALL = np.arange(N)
REFUSED = {
    "subsets of other members": (
        lambda: fit(subsets=[ALL, ALL]),
        ValueError,
        "subsets has 2 parts and there are 3 members",
    ),
    "subsets of one network": (
        lambda: fit(members=None, subsets=[ALL]),
        ValueError,
        "subsets are for members, and this is one network",
    ),
    "no subsets": (lambda: fit(subsets=5), TypeError, "subsets is 5: give the row numbers"),
    "a row that is not there": (
        lambda: fit(subsets=[ALL, ALL, [0, N]]),
        ValueError,
        r"subsets\[2\] has rows from 0 to 165: there are 165, 0 to 164",
    ),
    "a negative row": (
        lambda: fit(subsets=[ALL, [-1, 3], ALL]),
        ValueError,
        r"subsets\[1\] has rows from -1 to 3",
    ),
    "a row twice": (
        lambda: fit(subsets=[[4, 9, 4], ALL, ALL]),
        ValueError,
        r"subsets\[0\] has row 4 more than once",
    ),
    "an empty subset": (
        lambda: fit(subsets=[ALL, [], ALL]),
        ValueError,
        r"subsets\[1\] is empty",
    ),
    "a mask without rows": (
        lambda: fit(subsets=np.zeros((3, N), bool)),
        ValueError,
        r"subsets\[0\] is empty",
    ),
    "a mask of another length": (
        lambda: fit(subsets=np.ones((3, N - 1), bool)),
        ValueError,
        r"subsets\[0\] has 164 truth values, and there are 165 rows",
    ),
    "fractions": (
        lambda: fit(subsets=[ALL, ALL, [0.5, 1.0]]),
        TypeError,
        r"subsets\[2\] has dtype float64: give row numbers",
    ),
    "a table of rows": (
        lambda: fit(subsets=[ALL, ALL, ALL[None]]),
        ValueError,
        r"subsets\[2\] has shape \(1, 165\)",
    ),
    "one class in a subset": (
        lambda: fit(subsets=[ALL, np.flatnonzero(Y == 1), ALL]),
        ValueError,
        r"y of member 1 has one class only \(1\)",
    ),
    "held-out rows without data": (
        lambda: fit(validation_subsets=[ALL] * 3),
        ValueError,
        "validation_subsets are of validation_data",
    ),
    "held-out rows that are not there": (
        lambda: fit(validation_subsets=[[40]] * 3, validation_data=(DEV, DEV_Y)),
        ValueError,
        r"validation_subsets\[0\] has rows from 40 to 40: there are 40",
    ),
    "order seeds of other members": (
        lambda: fit(order_seed=[1, 2]),
        ValueError,
        "order_seed has 2 values and there are 3 members",
    ),
    "order seeds of one network": (
        lambda: fit(members=None, order_seed=[1]),
        ValueError,
        "order_seed has 1 values and this is one network: give one number$",
    ),
    "no order seed": (
        lambda: fit(order_seed="a"),
        TypeError,
        "order_seed is 'a': give a whole number, or one for each member",
    ),
    "order seeds without an order": (
        lambda: fit(order_seed={1, 2, 3}),
        TypeError,
        "order_seed is {1, 2, 3}: give a list, in the order of the members",
    ),
    "subsets without an order": (
        lambda: fit(subsets={0: [1], 1: [2], 2: [3]}),
        TypeError,
        r"subsets is {.*}: give the row numbers of each of 3 members",
    ),
    "a negative order seed": (lambda: fit(order_seed=-1), ValueError, "order_seed is -1: give 0"),
    "weights of other members": (
        lambda: fit(sample_weight=np.ones((2, N))),
        ValueError,
        r"sample_weight has shape \(2, 165\): give one for each of 165, or \(3, 165\) for members",
    ),
    "weights of members of one network": (
        lambda: fit(members=None, sample_weight=np.ones((3, N))),
        ValueError,
        r"sample_weight has shape \(3, 165\): give one for each of 165$",
    ),
    "no weights of one": (
        lambda: fit(sample_weight=np.ones((3, N)) * [[1], [0], [1]]),
        ValueError,
        "all values of sample_weight of member 1 are zero",
    ),
    "no weights in a subset": (
        lambda: fit(sample_weight=ALL < 9, subsets=[ALL, ALL[9:], ALL]),
        ValueError,
        "all values of sample_weight of member 1 are zero",
    ),
    "batches of other members": (
        lambda: step(BATCH[:2], LABELS[:2]),
        ValueError,
        r"X has shape \(2, 12, 5\): give a batch for each of 3 members, \(3, examples, 5\), or one",
    ),
    "labels for all": (
        lambda: step(y=LABELS[0]),
        ValueError,
        r"X has a batch of 12 examples for each of 3 members and y has shape \(12,\): give labels",
    ),
    "labels of each for shared features": (
        lambda: step(x=BATCH[0]),
        ValueError,
        "X has 12 rows and y has 3",
    ),
    "features of another number": (
        lambda: step(x=BATCH[..., :4]),
        ValueError,
        r"X has shape \(36, 4\): the network takes \(examples, 5\)",
    ),
    "NaN in a batch": (lambda: step(x=BATCH * np.nan), ValueError, "NaN or infinite"),
    "one example": (
        lambda: step(BATCH[:, :1], LABELS[:, :1], layers=NORMED),
        ValueError,
        "the batch has 1 example: batch norm needs at least 2",
    ),
    "weights of another batch": (
        lambda: step(weights=np.ones((3, 11))),
        ValueError,
        r"sample_weight has shape \(3, 11\): give one for each of 12, or \(3, 12\)",
    ),
}


@pytest.mark.parametrize(("do", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_name(do, error, message):
    with pytest.raises(error, match=message):
        do()


@pytest.mark.parametrize("fused", [False, True])
def test_a_momentum_of_0_is_one_of_the_members_own(fused):
    subsets, momenta = subset(33, 150, 100), (0.0, 0.9, 0.5)
    device, fit = select("cpu", fused=fused), {"epochs": 3, "batch_size": 32}
    together = xn.Trainer(build(PLAIN, device=device), xn.SGD(0.05, momentum=momenta))
    together.fit(X, Y, subsets=subsets, **fit)
    for i, (own, momentum) in enumerate(zip(subsets, momenta, strict=True)):
        alone = xn.Trainer(build(PLAIN, i, device=device), xn.SGD(0.05, momentum=momentum))
        alone.fit(X[own], Y[own], **fit)
        found = together.network.parameters[i]
        np.testing.assert_allclose(found, alone.network.parameters, rtol=1e-9, atol=1e-12)


def test_a_batch_size_above_all_members_examples_warns():
    with pytest.warns(UserWarning, match="batch_size is 32 and no member has more than 25 example"):
        Case(subsets=[ALL[:25], ALL[:20], ALL[:25]]).together()
    Case(subsets=[ALL, ALL[:20], ALL]).together()  # of one that has fewer nothing is said


# -- members that end ----


# After 100 updates there is another snapshot: of all together, where some waited.
@pytest.mark.parametrize(
    ("sizes", "from_step"),
    [
        (sizes, step)
        for sizes, steps in {
            (40, 150, 100): (1, 4, 103),
            (150, 40, 100): (1, 4),
            (100, 100, 100): (1, 4, 103),
        }.items()
        for step in steps
    ],
)
def test_a_member_that_diverges_goes_back_as_it_does_alone(sizes, from_step):
    def explodes(step, epoch):
        return 1e200 if step >= from_step else 0.01

    rates = [lambda step, epoch: 0.01, explodes, lambda step, epoch: 0.02]
    options = {"optimizer": xn.SGD, "subsets": subset(*sizes), "epochs": 60, "layers": PLAIN}
    case = Case(**options, rate=rates)
    with pytest.warns(UserWarning, match="member 1 has diverged") as caught:
        together = case.together()
    alone = case.trainer(1)
    with pytest.raises(xn.DivergedError) as error:
        case.alone(1, alone)
    told = str(caught[0].message)
    assert str(error.value).replace("the weights", "its weights") in told
    end = together.history.ended[1]
    assert (end.epoch, end.step) == (error.value.epoch, error.value.step)
    assert end.good_step == error.value.good_step
    same(together, 1, alone)
    for i in (0, 2):
        same(together, i, case.alone(i))


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6])
def test_a_member_that_is_stopped_in_an_epoch_stays_as_it_is(after):
    class Stop(xn.Callback):
        def __init__(self, i):
            self.i, self.made = i, 0

        def on_step_end(self, trainer, n):
            self.made += 1
            if self.made == after:
                trainer.stop("enough", members=self.i)

    # 2, 5 and 4 batches: member 2 may be stopped while another one is idle.
    case = Case(subsets=UNEQUAL)
    together = case.together(callbacks=[Stop(2)])
    alone = case.trainer(2)

    class Own(Stop):
        def on_step_end(self, trainer, n):
            # Alone it makes no step while it would wait.
            self.made += 1
            if self.made == (after if after < 5 else after - 1):
                trainer.stop("enough")

    case.alone(2, alone, callbacks=[Own(2)])
    same(together, 2, alone)
    for i in (0, 1):
        same(together, i, case.alone(i))


def test_a_stop_after_the_last_update_of_all_cuts_nothing_short():
    class Stop(xn.Callback):
        def on_step_end(self, trainer, n):
            alone = trainer.network.members is None
            made = trainer.steps if alone else trainer.update_step.own_counts()[0]
            if made == 2 and trainer.active[0]:
                trainer.stop("enough", members=0)

    # Member 0 has one batch in an epoch, and the others go on.
    case = Case(subsets=UNEQUAL, epochs=2)
    history = case.together(callbacks=[Stop()]).history.member(0)
    alone = case.alone(0, callbacks=[Stop()]).history
    assert (history.stopped, history.reason) == (alone.stopped, alone.reason) == (False, "")


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", [xn.ExponentialMovingAverage(0.9), xn.SimpleMovingAverage(4)])
def test_each_member_s_weights_are_averaged_over_its_own_steps(kind, every):
    def fit(i=None, **options):
        average = xn.WeightAverage(kind, every)
        case = Case(subsets=UNEQUAL, **options)
        callbacks = {"callbacks": [average, xn.EarlyStopping(2, monitor="dev_loss")]}
        return case.together(**callbacks) if i is None else case.alone(i, **callbacks)

    together = fit()
    for i in range(3):
        same(together, i, fit(i))


class StopFirst(xn.Callback):
    """Ends member 0 after an update of the first fit."""

    def on_step_end(self, trainer, n):
        if trainer.steps == 4 and trainer.network.seeds[0] == 3:
            trainer.stop("enough", members=0)


def test_averages_of_a_second_fit_are_over_each_member_s_own_steps(tmp_path):
    case = Case(epochs=1, batch_size=20)

    def first(i=None):
        stop = {"callbacks": [StopFirst()]}
        return case.together(**stop) if i is None else case.alone(i, **stop)

    def second(trainer, i=None, **options):
        options |= {"callbacks": [xn.WeightAverage(xn.ExponentialMovingAverage(0.9), every=3)]}
        return case.together(trainer, **options) if i is None else case.alone(i, trainer, **options)

    together = second(first(), epochs=2)
    for i in range(3):
        same(together, i, second(first(i), i, epochs=2))
    second(first(), checkpoint=tmp_path)
    resumed = second(first(), checkpoint=tmp_path, resume=True, epochs=2)
    np.testing.assert_array_equal(resumed.network.parameters, together.network.parameters)


def test_averages_of_each_member_go_on_from_a_checkpoint(tmp_path):
    def callbacks(*others):
        return [xn.WeightAverage(xn.ExponentialMovingAverage(0.9)), *others]

    case = Case(subsets=UNEQUAL)
    whole = case.together(callbacks=callbacks())
    case.together(callbacks=callbacks(Interrupt(8)), checkpoint=tmp_path)
    again = case.together(callbacks=callbacks(), checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.network.parameters, whole.network.parameters)


# -- what a step costs the device ----


class Bill(xn.Callback):
    """Notes what the stand-in for a device has counted after each step."""

    def __init__(self, strict):
        self.strict, self.steps = strict, []

    def on_step_end(self, trainer, n):
        names = "transfers", "waits", "hidden_copies", "allocations", "uploads"
        counts = {name: getattr(self.strict, name) for name in names}
        # An upload's own array is no allocation of the step's.
        counts["allocations"] -= counts.pop("uploads")
        self.steps.append(counts)


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, [range(4, 40)]),
        ({"sample_weight": WEIGHTS}, [range(4, 40)]),
        ({"micro_batches": 2, "sample_weight": WEIGHTS}, [range(4, 40)]),
        # 25 steps of all, 15 of two, and the others of one.
        ({"subsets": subset(75, 150, 120)}, [range(4, 25), range(29, 40), range(44, 50)]),
        (
            {"subsets": subset(75, 150, 120), "sample_weight": WEIGHTS},
            [range(4, 25), range(29, 40), range(44, 50)],
        ),
    ],
    ids=["all", "weights", "in two parts", "unequal", "unequal, weights"],
)
def test_steps_cost_no_transfer_wait_allocation_or_copy(strict, options, runs):
    bill = Bill(strict)
    size = 3 if "subsets" in options else 2
    trainer = xn.Trainer(build(PLAIN if "micro_batches" in options else NORMED, device=strict))
    fit = {"batch_size": size * options.get("micro_batches", 1), "epochs": 1, "monitor": 0}
    trainer.fit(X, Y, callbacks=[bill], **options | fit)
    for run in runs:
        costs = [bill.steps[i] for i in run if i < len(bill.steps)]
        assert len(costs) > 5
        assert costs.count(costs[0]) == len(costs)


@pytest.mark.parametrize("batch", [STEPS["own"], STEPS["shared"]], ids=["own", "shared"])
def test_a_step_on_the_device_makes_the_losses_it_returns_alone(strict, batch):
    trainer = xn.Trainer(build(NORMED, device=strict))
    x, y, _ = batch
    with strict.active():
        x, y = strict.asarray(x), strict.asarray(y, np.int32)
    for _ in range(4):
        trainer.step(x, y)
    before = strict.allocations
    losses = trainer.step(x, y)
    assert strict.allocations == before + 1
    assert losses.shape == (3,)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_every_backend_gives_the_reference_s_numbers(device, settings):
    case = Case(**settings, subsets=UNEQUAL)
    expected = case.together().network
    case.build = {"device": device}
    found = case.together().network
    host = found.backend.to_host
    np.testing.assert_allclose(host(found.parameters), expected.parameters, 1e-9, 1e-11)
    np.testing.assert_allclose(host(found.statistics), expected.statistics, 1e-9, 1e-11)


def test_float32_is_as_alone_to_its_rounding(device):
    case = Case(subsets=UNEQUAL, sample_weight=WEIGHTS)
    case.build = {"device": device, "dtype": "float32"}
    together = case.together()
    host = together.network.backend.to_host
    for i in range(3):
        alone = case.alone(i)
        found, expected = host(together.network.parameters)[i], host(alone.network.parameters)
        np.testing.assert_allclose(found, expected, 2e-4, 2e-5)
        losses = together.history.member(i)["train_loss"], alone.history["train_loss"]
        np.testing.assert_allclose(*losses, 1e-5)
