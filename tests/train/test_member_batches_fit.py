"""Members with batches, examples and weights of their own: each ends as its network does alone."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.select import select

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


def build(layers, i=None, device=None, loss="softmax_cross_entropy", **options):
    """Return the network, or that of member i alone."""
    alone = layers
    if i is not None:
        alone = [xn.Dropout(of(s.p, i)) if isinstance(s, xn.Dropout) else s for s in layers]
    return xn.Network(
        alone,
        loss=loss,
        n_features=5,
        device=device or select("cpu", fused=False),
        dtype="float64",
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
    for figure in FIGURES:
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
