"""The notes, chapter by chapter: what each claims, through the library; where it slips, both ways.

The notes put examples in columns, the library in rows. What stands here for the notes is plain
NumPy in their columns (x, y); the library gets the same data in rows (X, Y). "The page's" is the
notes' version where it is wrong: each such version is written out and shown to miss the truth,
which is a difference quotient, a closed form or the formula itself.
"""

import inspect
import math

import numpy as np
import pytest
from oracle import Alone, gradients, on_host
from pages import (
    FUNCTIONS,
    START,
    Spy,
    assert_apart,
    assert_close,
    assert_same,
    computed,
    cost,
    cross_entropy,
    data,
    descend,
    drawn,
    each,
    fitted,
    forward,
    gradient,
    log_loss,
    logistic,
    network,
    plain,
    recursion,
    rule,
    sigmoid,
    slopes,
    slopes_in,
    softmax,
    updates_so_far,
    values,
)

import xpnet as xn
from xpnet.analysis import propagation

# -- the chapters ----


class TestChapter1LogisticRegression:
    """a = σ(wᵀx + b) is P(y = 1 | x); the log-loss is minimised by gradient descent."""

    def test_cost_and_gradient_are_means_over_the_examples(self, backend):
        """1.1.1 divides dw and db by m, the number of features."""
        X, y = data()
        value, d = computed(logistic(backend), X, y)
        found = np.append(d["0.weight"], d["0.bias"])
        assert value == pytest.approx(log_loss(START, X.T, y), rel=1e-13)
        assert_close(found, gradient(START, X.T, y))
        assert_close(found, slopes(lambda p: log_loss(p, X.T, y), START), 1e-9)
        n, m = X.shape
        assert_apart(found, gradient(START, X.T, y) * n / m, 0.1)

    def test_training_is_gradient_descent(self, device):
        X, y = data()
        options = {"batch_size": 11, "epochs": 20}
        found = fitted(device, xn.SGD(0.3), X, y, **options)
        right = descend(START, X.T, y, plain(0.3), **options)
        page = descend(START, X.T, y, plain(0.3 * 11 / 3), **options)
        assert_close(found, right)
        assert_apart(found, page, 0.1)

    def test_the_cost_that_is_told_is_the_current_one(self, device):
        """1.1.1 prints costs[i − 1] when costs[i] is the newest."""
        X, y = data()
        costs, p = [], START
        for _ in range(5):
            costs.append(log_loss(p, X.T, y))
            p = p - 0.5 * gradient(p, X.T, y)
        page = [costs[: i + 1][i - 1] for i in range(5)]
        told = []
        net = logistic(device)
        history = xn.Trainer(net, xn.SGD(0.5)).fit(
            X, y, batch_size=11, epochs=5, callbacks=[lambda t, row: told.append(row["train_loss"])]
        )
        assert_close(told, costs)
        assert_close(history["train_loss"], costs)
        assert page[1:] == costs[:-1]
        assert_apart(told, page, 1e-3)
        assert net.evaluate(X, y)["loss"] == pytest.approx(log_loss(p, X.T, y), rel=1e-13)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(
        ("z", "y", "loss", "dz"),
        [(1e4, 1, 0, 0), (1e4, 0, 1e4, 1), (-1e4, 1, 1e4, -1), (-1e4, 0, 0, 0)],
    )
    def test_the_log_loss_is_finite_for_every_logit(self, device, z, y, loss, dz, dtype):
        """1.1.1 computes it from a: exp(−z) overflows, and log(0) is multiplied by 0 or not."""
        with np.errstate(all="ignore"):
            a = sigmoid(np.array(z, dtype))
            page = -(y * np.log(a) + (1 - y) * np.log(1 - a))
        assert not np.isfinite(page)
        net = logistic(device, np.array([1.0, 0.0]), dtype=dtype)
        found = net.evaluate([[z]], [y])["loss"]
        assert found == pytest.approx(loss, rel=1e-6)
        trained = xn.Trainer(net, xn.SGD(1e-30)).step([[z]], [y])
        assert float(device.to_host(trained)) == found
        assert_close(gradients(net)["0.bias"], dz, 1e-6)

    def test_a_prediction_is_1_unless_a_is_below_one_half(self, device):
        net = logistic(device, np.array([1.0, 0.0]))
        z = np.array([-2.0, -1e-9, 0.0, 1e-9, 3.0])
        assert_close(net.predict_proba(z[:, None]), sigmoid(z), 1e-14)
        predicted = net.predict(z[:, None])
        np.testing.assert_array_equal(predicted, [0, 0, 1, 1, 1])
        y = np.array([0, 1, 1, 0, 1])
        # The notes' accuracy, 100 − 100 mean |ŷ − y|, in per cent.
        assert xn.accuracy(y, predicted) == pytest.approx(1 - np.abs(predicted - y).mean()) == 0.6
        assert net.evaluate(z[:, None], y)["error"] == pytest.approx(0.4)


class TestChapter2HiddenLayer:
    """ŷ = g²(C g¹(Bx + b) + c), and the gradient of its cost by the chain rule."""

    @each(["tanh", "relu"])
    def test_forward_and_backward(self, backend, name):
        """2.1 ends with ∂F/∂B = δ² xᵀ; its own summary has δ¹ xᵀ."""
        X, Y = data(k=2)
        x, y, names = X.T, Y.T, [name, "sigmoid"]
        # As many hidden units as outputs: only so has the page's product B's shape at all.
        net = network(backend, [xn.Linear(2), FUNCTIONS[name][0], xn.Linear(2)])
        state = drawn(net)
        (z1, _), (_, a1, a2), (_, C) = forward(state, x, names)
        assert_close(net.predict_proba(X).T, a2)
        delta2 = a2 - y
        delta1 = FUNCTIONS[name][2](z1, C.T @ delta2)
        right = [delta1 @ x.T, delta1.sum(axis=1), delta2 @ a1.T, delta2.sum(axis=1)]
        found = computed(net, X, Y)[1]
        assert_same(found, {k: d / 11 for k, d in zip(state, right, strict=True)})
        assert_same(found, slopes_in(state, lambda s: cost(s, x, y, names)), 1e-8)
        assert_apart(found["0.weight"], delta2 @ x.T / 11, 0.05)

    @each(["sigmoid", "tanh", "leaky_relu"])
    def test_a_broadcast_function_s_differential_is_diagonal(self, backend, name):
        """Lemma 2.2: unit j of the output moves with unit j of z alone."""
        z = np.array([-1.5, 0.4, 2.0, -0.1])
        found = jacobian(backend, FUNCTIONS[name][0], z)
        np.testing.assert_array_equal(found[~np.eye(4, dtype=bool)], 0)
        one_by_one = [slopes(FUNCTIONS[name][1], np.array([v]))[0, 0] for v in z]
        assert_close(np.diag(found), one_by_one, 1e-8)

    @each(["tanh", "relu"])
    def test_zero_weights_never_leave_zero(self, device, name):
        """2.3.1: δ¹ is 0 as C is, and ∂C is 0 as a¹ is. Small random weights do learn."""
        X, y = data(40)
        ends = {}
        for init in ("zeros", "normal"):
            layers = [xn.Linear(5, init=init), FUNCTIONS[name][0], xn.Linear(1, init=init)]
            net = network(device, layers)
            xn.Trainer(net, xn.SGD(1.0)).fit(X, y, batch_size=10, epochs=100)
            ends[init] = net.state(), len(np.unique(net.predict_proba(X)))
        state, outputs = ends["zeros"]
        for parameter in ("0.weight", "0.bias", "2.weight"):
            np.testing.assert_array_equal(state[parameter], 0)
        assert outputs == 1
        state, outputs = ends["normal"]
        # They start at 0.01.
        assert min(np.abs(state[k]).max() for k in ("0.weight", "2.weight")) > 0.3
        assert outputs > 10


def jacobian(backend, layer, z):
    """Return ∂yᵢ/∂zⱼ of a layer at one z (m,), from its backward pass.

    m examples, all of them z, get the unit vectors as gradients of the output.
    """
    alone = Alone(backend, [layer], len(z), len(z))
    y = alone.forward(np.tile(z, (len(z), 1)))
    assert (y == y[0]).all()
    return alone.backward(np.eye(len(z)))


class TestChapter22ActivationFunctions:
    """Sigmoid, tanh, (leaky) ReLU and softmax, each with its differential."""

    @each(FUNCTIONS)
    def test_value_and_differential(self, backend, name):
        layer, g, differential = FUNCTIONS[name]
        z = np.array([-1.5, 0.4, 2.0, -0.1, 0.7])
        assert_close(Alone(backend, [layer], 1, 5).forward(z[None])[0], g(z), 1e-14)
        found = jacobian(backend, layer, z)
        assert_close(found, np.stack([differential(z, e) for e in np.eye(5)], axis=1), 1e-14)
        assert_close(found, slopes(g, z), 1e-9)

    @pytest.mark.parametrize(("layer", "slope"), [(xn.ReLU(), 0.0), (xn.LeakyReLU(0.1), 0.1)])
    def test_at_the_kink_the_left_hand_slope_is_taken(self, backend, layer, slope):
        """There is no derivative at 0. The notes take that of the right, 1: a choice, no slip."""
        assert_close(jacobian(backend, layer, np.zeros(2)), slope * np.eye(2), 0)

    def test_the_softmax_jacobian_has_a_minus(self, backend):
        """2.2.4's last line has Sⁱ(δᵢⱼ + Sʲ), though the line above it has the minus."""
        z = np.array([0.3, -1.2, 0.8, 0.1])
        s = softmax(z)
        found = jacobian(backend, xn.Softmax(), z)
        assert_close(found, s[:, None] * (np.eye(4) - s), 1e-14)
        assert_close(found, slopes(softmax, z), 1e-9)
        # The outputs add up to 1 whatever z is, so each column of the Jacobian adds up to 0.
        assert_close(found.sum(axis=0), 0, 1e-14)
        assert_apart(found, s[:, None] * (np.eye(4) + s), 0.1)

    def test_a_hidden_softmax_multiplies_by_its_jacobian(self, backend):
        X, Y = data(k=1)
        names = ["softmax", "sigmoid"]
        net = network(backend, [xn.Linear(4), xn.Softmax(), xn.Linear(1)])
        state = drawn(net)
        found = computed(net, X, Y)[1]
        assert_same(found, slopes_in(state, lambda s: cost(s, X.T, Y.T, names)), 1e-9)
        _, (x, s, a), (_, C) = forward(state, X.T, names)
        v = C.T @ (a - Y.T)
        right, page = (s * (v + sign * (s * v).sum(axis=0)) @ x.T / len(X) for sign in (-1, 1))
        assert_close(found["0.weight"], right)
        assert_apart(found["0.weight"], page, 0.02)


class TestChapter3DeepNetwork:
    """L layers: δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ through the differential of gˡ, whichever gˡ is."""

    STACKS = (
        ("relu",),
        ("tanh", "tanh"),
        ("relu", "relu", "relu"),
        ("tanh", "relu", "softmax", "leaky_relu", "sigmoid"),
    )

    @pytest.mark.parametrize("hidden", STACKS, ids="-".join)
    @each(["sigmoid", "softmax"])
    def test_gradients_are_the_recursion_s(self, backend, hidden, name):
        """2.3.2's text has ReLU where its code has tanh: any is allowed, in each layer."""
        layers = [layer for g in hidden for layer in (xn.Linear(4), FUNCTIONS[g][0])]
        loss = f"{name}_cross_entropy"
        net = network(backend, [*layers, xn.Linear(3)], loss=loss)
        state, names = drawn(net), [*hidden, name]
        X, Y = data(k=3)
        labels = Y if name == "sigmoid" else np.arange(11) % 3
        y = Y.T if name == "sigmoid" else np.eye(3)[labels].T
        value, found = computed(net, X, labels)
        assert value == pytest.approx(cost(state, X.T, y, names), rel=1e-12)
        assert_same(found, recursion(state, X.T, y, names))
        assert_same(found, slopes_in(state, lambda s: cost(s, X.T, y, names)), 1e-7)
        tanh = recursion(state, X.T, y, ["tanh"] * len(hidden) + [name])
        if set(hidden) != {"tanh"}:
            assert_apart(found["0.weight"], tanh["0.weight"], 1e-3)

    def test_the_cost_s_arguments_have_an_order(self, device):
        """3.1.1 calls its cost with output and labels swapped: log(0), or no number at all."""
        X, Y = data(k=1)
        net = network(device, [xn.Linear(4), xn.Tanh(), xn.Linear(1)])
        a = forward(drawn(net), X.T, ["tanh", "sigmoid"])[1][-1]
        assert net.evaluate(X, Y)["loss"] == pytest.approx(cross_entropy(a, Y.T, "sigmoid"))
        with np.errstate(all="ignore"):
            assert not np.isfinite(cross_entropy(Y.T, a, "sigmoid"))
        with pytest.raises(ValueError, match="labels other than 0 and 1"):
            net.evaluate(X, a.T)
        with pytest.raises(ValueError, match=r"X has shape \(11, 1\): the network takes"):
            net.evaluate(Y, X)

    def test_what_was_trained_is_there_afterwards(self, device):
        """3.1.1's model returns nothing: weights and costs are lost."""
        X, Y = data(k=1)
        net = network(device, [xn.Linear(4), xn.Tanh(), xn.Linear(1)])
        history = xn.Trainer(net, xn.SGD(0.1)).fit(X, Y, batch_size=11, epochs=3)
        a = forward(net.state(), X.T, ["tanh", "sigmoid"])[1][-1]
        assert_close(net.predict_proba(X), a[0])
        now = net.evaluate(X, Y)["loss"]
        assert len(history) == 3
        assert history["train_loss"][0] > history["train_loss"][-1] > now


class TestChapter4Partition:
    """Training, development and test set; the error on them; the verdict and what to try next."""

    @pytest.mark.parametrize(
        ("n", "sizes"), [(1000, [600, 200, 200]), (10_000, [6000, 2000, 2000]),
                         (10_001, [9801, 100, 100]), (50_000, [49_000, 500, 500])],
    )  # fmt: skip
    def test_sizes(self, device, n, sizes):
        """60/20/20 up to 10⁴ examples, 98/1/1 above."""
        X = device.asarray(np.arange(n)[:, None])
        assert [len(y) for _, y in xn.partition(X, X[:, 0])] == sizes

    def test_every_example_is_in_one_part(self, device):
        """4.0.1's ``x.all() == parts.all()`` compares two truth values: it passes for anything."""
        X = np.random.default_rng(0).normal(size=(200, 3))
        y = np.arange(200)
        parts = xn.partition(device.asarray(X), device.asarray(y), random_state=1)
        rows, labels = (np.concatenate([device.to_host(p[i]) for p in parts]) for i in (0, 1))
        assert sorted(labels) == [*range(200)]
        np.testing.assert_array_equal(rows, X[labels])  # each with its own label
        assert not np.array_equal(labels, y)
        # The page's assertion holds for a "partition" that lost all but one example, too.
        lost = np.repeat(X[:1], 200, axis=0)
        assert X.all() == lost.all()
        assert sorted(lost[:, 0]) != sorted(X[:, 0])

    def test_strata_on_request(self, device):
        y = np.repeat([0, 1], [950, 50])
        for _, labels in xn.partition(device.asarray(y[:, None]), device.asarray(y), stratify=True):
            assert device.to_host(labels).mean() == pytest.approx(0.05, abs=0.005)

    def test_the_error_counts_what_is_wrong(self, backend):
        """The page has ε = 1 where y = ŷ, which is the accuracy."""
        y, predicted = np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, 0, 2])
        page = np.mean(y == predicted)
        found = xn.error_rate(backend.asarray(y), backend.asarray(predicted))
        assert found == np.mean(y != predicted) == pytest.approx(0.2)
        assert page == pytest.approx(xn.accuracy(y, predicted)) == pytest.approx(0.8)

    @pytest.mark.parametrize(
        ("train", "dev", "verdict"),
        [
            # With ε = 1 %: E(X) < ε and E(D) up to 10 ε.
            (0.002, 0.08, "high variance"),
            # E(X) about E(D), from 10 ε on.
            (0.20, 0.21, "high bias"),
            # 10 ε up to E(X), and E(D) far above that.
            (0.15, 0.45, "high bias and high variance"),
            # Both below ε.
            (0.004, 0.006, "neither"),
        ],
    )
    def test_the_verdict(self, train, dev, verdict):
        assert xn.diagnose(train, dev, target=0.01).verdict == verdict

    def test_the_optimal_error_need_not_be_zero(self):
        """Remark 4.1 takes it for granted; where nobody can do better, there is no bias."""
        assert xn.diagnose(0.15, 0.155).verdict == "high bias"
        assert xn.diagnose(0.15, 0.155, optimal_error=0.15).verdict == "neither"

    def test_what_to_try_in_the_notes_order(self):
        """First bias, until it is gone; only then variance."""
        bias, variance = xn.diagnose(0.2, 0.2).advice, xn.diagnose(0.0, 0.2).advice
        assert [word.split()[-1] for word in bias] == ["network", "training", "architecture"]
        assert variance[0] == "more data"
        assert "regularisation" in variance[1]
        assert xn.diagnose(0.2, 0.9).advice == bias
        assert xn.diagnose(0.0, 0.0).advice == ()


class TestChapter5L2:
    """J + λ/2n Σ ‖W‖² over the weights of all layers, which adds λ/n W to their gradients."""

    def test_the_step_is_down_the_regularised_cost(self, device):
        X, Y = data(k=1)
        names = ["tanh", "relu", "sigmoid"]
        net = network(device, [xn.Linear(4), xn.Tanh(), xn.Linear(3), xn.ReLU(), xn.Linear(1)])
        before = drawn(net)

        def regularised(state):
            squares = sum((value**2).sum() for k, value in state.items() if "weight" in k)
            return cost(state, X.T, Y.T, names) + 0.9 / 22 * squares

        assert xn.check_gradients(net, X, Y, l2=0.9) < 1e-7
        xn.Trainer(net, xn.SGD(0.1), l2=0.9).step(X, Y)
        found = {k: (before[k] - after) / 0.1 for k, after in net.state().items()}
        assert_same(found, slopes_in(before, regularised), 1e-8)
        bare = recursion(before, X.T, Y.T, names)
        pull = {k: 0.9 / 11 * before[k] if "weight" in k else 0 for k in before}
        assert_same(found, {k: bare[k] + pull[k] for k in before})

    def test_lambda_is_chosen_on_the_development_set(self, device):
        """Steps i to vi: train for each, choose by E(D), and look at the test set once."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(150, 30))
        y = (X[:, 0] + 0.8 * rng.normal(size=150) > 0) * 1.0
        train, dev, test = xn.partition(X, y)
        net = network(device, [xn.Linear(40), xn.Tanh(), xn.Linear(1)], 30)
        lambdas, fit = (0.0, 1.0, 5.0, 25.0), {"batch_size": 30, "epochs": 30}
        choice = xn.choose_l2(net, train, dev, test, l2=lambdas, optimizer=xn.Adam(0.01), **fit)
        by_train, by_dev = (
            min(choice.rows, key=lambda row: (row[f"{part}_error"], row[f"{part}_loss"]))["l2"]
            for part in ("train", "dev")
        )
        assert choice.l2 == by_dev > 0
        assert by_train == 0  # what fits the training set best is no regularisation at all
        assert choice.test == net.evaluate(*test)

    def test_a_number_of_epochs_is_an_int(self, device):
        """5.0.1 has num_iters=1e4 by default, which its range() refuses."""
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            range(1e4)
        trainer = xn.Trainer(logistic(device))
        with pytest.raises(TypeError, match=r"epochs is 10000\.0: give a whole number"):
            trainer.fit(*data(), batch_size=11, epochs=1e4)
        assert trainer.steps == 0
        assert type(inspect.signature(xn.Trainer.fit).parameters["epochs"].default) is int
        trainer.fit(*data(), batch_size=11, epochs=np.int64(3))
        assert trainer.epochs == 3


class TestChapter51Dropout:
    """Inverted dropout: a ⊙ D / p, D = 1 with the keep probability p; `Dropout` takes 1 − p."""

    @staticmethod
    def masks(device, drop, steps, n=40, m=30, row=None, **options):
        """Return what dropout makes of the same input in each step, (steps, n, m)."""
        spy = Spy()
        net = network(device, [xn.Dropout(drop), spy, xn.Linear(1)], m, **options)
        X = np.ones((n, m)) if row is None else np.tile(row, (n, 1))
        fit = {"batch_size": n, "epochs": steps, "monitor": 0}
        xn.Trainer(net, xn.SGD(1e-30)).fit(X, np.arange(n) % 2, **fit)
        return np.array(spy.seen)

    @pytest.mark.parametrize("drop", [0.25, 0.5, 0.75])
    def test_mean_and_variance(self, device, drop):
        """E = a and Var = a² (1 − p)/p, unit by unit, within five standard errors."""
        # Dropping half of them gives squares that are all a²: rounding is all their spread then.
        a, keep = np.array([-2.0, -0.5, 0.1, 1.0, 3.0]), 1 - drop
        seen = self.masks(device, drop, 5, 2000, 5, row=a).reshape(-1, 5)
        np.testing.assert_allclose(seen[seen != 0], np.tile(a / keep, (10_000, 1))[seen != 0])
        variance = a**2 * (1 - keep) / keep
        fourth = a**4 * (keep * (1 / keep - 1) ** 4 + 1 - keep)
        squares = (seen - a) ** 2
        for found, expected, spread in [
            (seen.mean(axis=0), a, variance),
            (squares.mean(axis=0), variance, np.maximum(0, fourth - variance**2)),
        ]:
            assert (np.abs(found - expected) <= 5 * np.sqrt(spread / 10_000) + 1e-12).all()

    def test_each_step_has_a_mask_of_its_own(self, device):
        """5.1.1 sets the seed where it draws: one mask for ever, and half the units never live."""

        def page():
            return np.random.default_rng(1).random((40, 30)) < 0.5

        steps = 12
        frozen = np.array([page() for _ in range(steps)])
        fresh, again, other = (
            self.masks(device, 0.5, steps, random_state=seed) != 0 for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(fresh, again)
        for i in range(steps):
            assert (fresh[i] != other[i]).mean() > 0.4
            assert all((fresh[i] != fresh[j]).mean() > 0.4 for j in range(i))
        assert (frozen == frozen[0]).all()
        assert 0.4 < (~frozen.any(axis=0)).mean() < 0.6
        assert (~fresh.any(axis=0)).mean() < 0.01

    def test_each_layer_has_a_probability_of_its_own(self, device):
        """The input layer included; and layers do not share masks."""
        spies = Spy(), Spy()
        X, y = np.ones((100, 50)), np.arange(100) % 2
        layers = [xn.Dropout(0.2), spies[0], xn.Linear(50, init="zeros", bias=True), xn.Sigmoid()]
        net = network(device, [*layers, xn.Dropout(0.5), spies[1], xn.Linear(1)], 50)
        xn.Trainer(net, xn.SGD(1e-30)).step(X, y)
        first, second = (spy.seen[0] != 0 for spy in spies)
        assert first.mean() == pytest.approx(0.8, abs=0.03)
        assert second.mean() == pytest.approx(0.5, abs=0.04)
        # Independent of one another: both live as often as the product says.
        assert (first & second).mean() == pytest.approx(0.4, abs=0.04)

    def test_backward_has_the_mask_and_the_scale_of_forward(self, device):
        X, Y = data(k=1)
        below, above = Spy(), Spy()
        layers = [xn.Linear(6), xn.Tanh(), below, xn.Dropout(0.5), above, xn.Linear(1)]
        net = network(device, layers)
        state = drawn(net)
        xn.Trainer(net, xn.SGD(1e-30)).step(X, Y)
        mask = above.seen[0] / below.seen[0]
        assert_close(np.unique(mask), [0, 2])
        assert_close(below.back[0], above.back[0] * mask)

        x, C = X.T, state["5.weight"]
        a1 = np.tanh(state["0.weight"] @ x + state["0.bias"][:, None])
        delta2 = sigmoid(C @ (a1 * mask.T) + state["5.bias"]) - Y.T
        masked, bare = ((C.T @ delta2) * d * (1 - a1**2) @ x.T / 11 for d in (mask.T, 1))
        found = gradients(net)["0.weight"]
        assert_close(found, masked)
        assert_apart(found, bare, 0.05)
        assert xn.check_gradients(net, X, Y) < 1e-7

    def test_prediction_drops_nothing(self, device):
        X, Y = data(k=1)
        without = network(device, [xn.Linear(4), xn.Tanh(), xn.Linear(1)])
        drops = [xn.Dropout(0.5), xn.Linear(4), xn.Tanh(), xn.Dropout(0.9), xn.Linear(1)]
        net = network(device, drops)
        state = drawn(without)
        renamed = {"0": "1", "2": "4"}
        net.load_state({renamed[key[0]] + key[1:]: value for key, value in state.items()})
        np.testing.assert_array_equal(net.predict_proba(X), without.predict_proba(X))
        assert net.evaluate(X, Y) == without.evaluate(X, Y)


class TestChapter52DataAugmentation:
    """Related examples out of those there are; the page leaves the chapter to be written."""

    def test_it_makes_new_examples_in_every_epoch(self, device):
        X = device.asarray(np.random.default_rng(0).normal(size=(5, 12)))
        augmentation = xn.Augmentation([xn.Shift(1), xn.GaussianNoise(0.1)], image_shape=(3, 4))
        seen = [device.to_host(augmentation.apply(X, epoch=e)) for e in (0, 1, 0)]
        assert (seen[0] != seen[1]).any(axis=1).all()
        np.testing.assert_array_equal(seen[0], seen[2])

    def test_it_helps_where_the_label_does_not_change(self, device):
        """Is the bar of a small image upright or level? Seen at few places, asked for at all."""

        def bars(places):
            X = np.zeros((2 * len(places), 8, 8))
            for i, place in enumerate(places):
                X[2 * i, :, place], X[2 * i + 1, place, :] = 1, 1
            return X.reshape(len(X), 64), np.tile([0, 1], len(places))

        X, y = bars([3, 4])
        errors = []
        for augmentation in (None, xn.Augmentation([xn.Shift(3)], image_shape=(8, 8))):
            net = network(
                device, [xn.Linear(32), xn.ReLU(), xn.Linear(2)], 64, loss="softmax_cross_entropy"
            )
            xn.Trainer(net, xn.Adam(0.01)).fit(
                X, y, batch_size=4, epochs=300, augmentation=augmentation
            )
            errors.append(net.evaluate(*bars(range(1, 7)))["error"])
        assert errors[0] >= 0.25
        assert errors[1] <= 0.05


class TestChapter53EarlyStopping:
    """Stop before the variance grows: at the least error on the development set."""

    def test_it_ends_with_the_weights_of_the_least_development_loss(self, device):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(80, 20))
        y = (X[:, 0] + rng.normal(size=80) > 0) * 1.0
        dev = X[40:], y[40:]
        stopping, histories, losses = xn.EarlyStopping(patience=10), [], []
        for callbacks in ([], [stopping]):
            net = network(device, [xn.Linear(50), xn.Tanh(), xn.Linear(1)], 20)
            trainer = xn.Trainer(net, xn.Adam(0.01))
            fit = {"batch_size": 10, "epochs": 60, "validation_data": dev}
            histories.append(trainer.fit(X[:40], y[:40], callbacks=callbacks, **fit))
            losses.append(net.evaluate(*dev)["loss"])
        least = 1 + int(np.argmin(histories[0]["dev_loss"]))
        assert least < 40  # else there would be nothing to show
        assert (stopping.best_epoch, stopping.stopped_epoch) == (least, least + 10)
        assert losses[1] == pytest.approx(min(histories[0]["dev_loss"]))
        assert losses[0] > 1.5 * losses[1]  # longer training is worse
        assert histories[0]["train_loss"][-1] < histories[1]["train_loss"][-1]


class TestChapter6Initialisation:
    """The second moment of the weights decides whether a layer keeps the scale of its input."""

    @pytest.mark.parametrize(
        ("init", "activation", "expected"),
        [
            (xn.He(), xn.ReLU(), 2 / 300),
            ("auto", xn.ReLU(), 2 / 300),
            ("auto", xn.LeakyReLU(0.5), 2 / (1.25 * 300)),
            (xn.LeCun(), xn.Tanh(), 1 / 300),
            (xn.Xavier(), xn.Tanh(), 2 / (300 + 200)),
            ("auto", xn.Tanh(), 2 / (300 + 200)),
            ("auto", xn.Sigmoid(), 2 / (300 + 200)),
        ],
        ids=str,
    )
    def test_second_moments(self, device, init, activation, expected):
        """The page wants 1/m for ReLU; 1/m, or 2/(m_in + m_out), is for tanh and sigmoid."""
        net = network(device, [xn.Linear(200, init=init), activation, xn.Linear(1)], 300)
        found = (net.state()["0.weight"] ** 2).mean()
        # Five standard errors of 60 000 squares.
        assert abs(found - expected) <= 5 * expected * math.sqrt(2 / 60_000)
        if isinstance(activation, xn.ReLU):
            assert_apart(found, 1 / 300, 0.9 / 300)

    @pytest.mark.parametrize("depth", [1, 3])
    @pytest.mark.parametrize(
        ("init", "activation", "per_layer"),
        [
            (xn.He(), xn.ReLU(), 1.0),
            ("auto", xn.ReLU(), 1.0),
            # The page's second moment for ReLU is that of LeCun.
            (xn.LeCun(), xn.ReLU(), 0.5),
            # At inputs as small as these tanh is the identity.
            (xn.LeCun(), xn.Tanh(), 1.0),
            (xn.Xavier(), xn.Tanh(), 1.0),
            (xn.He(), xn.Tanh(), 2.0),
        ],
        ids=str,
    )
    def test_what_a_layer_makes_of_the_scale(self, device, init, activation, per_layer, depth):
        layers = [layer for _ in range(depth) for layer in (xn.Linear(400, init=init), activation)]
        net = network(device, layers, 400, loss="mean_squared_error")
        X = 0.01 * np.random.default_rng(0).standard_normal((300, 400))
        found = (net.predict(X) ** 2).mean() / (X**2).mean()
        assert found == pytest.approx(per_layer**depth, rel=0.1 * depth)

    @pytest.mark.slow
    def test_through_twenty_layers(self):
        """What the chapter calls vanishing and exploding, and what keeps the scale."""
        last = {
            (row["activation"], str(row["init"])): row["activations"][-1]
            for row in propagation.study(width=200, depth=20)
        }
        assert last["relu", "Normal(sigma=0.01)"] < 1e-15
        assert last["tanh", "Normal(sigma=0.01)"] < 1e-10
        assert last["relu", "Normal(sigma=0.1)"] == pytest.approx(1.0, rel=0.6)  # m σ² = 2: He's
        assert last["relu", "He(slope=0.0)"] == pytest.approx(1.0, rel=0.6)
        assert last["tanh", "Xavier()"] > 0.1
        # The page's second moment, 1/m, is Xavier's where layers are equally wide.
        assert last["relu", "Xavier()"] == pytest.approx(2.0**-10, rel=0.6)


class TestChapter61GradientChecking:
    """‖F − ∇f‖ / (‖F‖ + ‖∇f‖) with two-sided differences F."""

    @staticmethod
    def product_and_gradient(x):
        """Return the page's f(x) = x₁ x₂ … xₙ, and its gradient by leaving one out at a time."""
        return np.prod(x), np.array([np.prod(np.delete(x, i)) for i in range(len(x))])

    def test_the_product_function(self):
        x = np.array([1.5, -2.0, 0.5, 3.0])
        value, gradient = self.product_and_gradient(x)
        h = 1e-6
        steps = h * np.eye(4)
        F = np.array([(np.prod(x + e) - np.prod(x - e)) / (2 * h) for e in steps])
        formula = np.linalg.norm(F - gradient) / (np.linalg.norm(F) + np.linalg.norm(gradient))
        found = xn.check_gradients(np.prod, x, gradient)
        assert found == pytest.approx(formula, rel=1e-6, abs=1e-12)
        assert found < 1e-8
        # Its value divided by x is the gradient as well; the value alone is not.
        assert xn.check_gradients(np.prod, x, value / x) < 1e-8
        assert xn.check_gradients(np.prod, x, np.full(4, value)) > 0.1

    def test_two_sides_are_better_than_one(self):
        """The limit's first form has an error of the order of ε, the second one of ε²."""
        x, h = np.array([1.5, -2.0, 0.5, 3.0]), 1e-3
        f = lambda x: np.exp(x).prod()  # noqa: E731
        gradient = np.full(4, f(x))
        one_sided = np.array([(f(x + e) - f(x)) / h for e in h * np.eye(4)])
        size = np.linalg.norm(one_sided) + np.linalg.norm(gradient)
        assert np.linalg.norm(one_sided - gradient) / size > 1e-4
        assert xn.check_gradients(f, x, gradient, epsilon=h) < 1e-6

    def test_a_network_s_backward_pass(self, device):
        X, Y = data(k=1)
        net = network(device, [xn.Linear(4), xn.BatchNorm(), xn.Tanh(), xn.Linear(1)])
        drawn(net)
        assert xn.check_gradients(net, X, Y, l2=0.5) < 1e-7

    def test_float32_rounds_by_more_than_the_difference(self, device):
        X, Y = data(k=1)
        with pytest.raises(ValueError, match="because float32 rounds"):
            xn.check_gradients(network(device, [xn.Linear(1)], dtype="float32"), X, Y)


class TestChapter7MiniBatches:
    """⌈n/b⌉ mini-batches an epoch, cut anew from the shuffled data set; an update for each."""

    @staticmethod
    def spied(device, X, y, batch_size, epochs, optimizer=None, l2=0.0):
        """Return the batches (x, y) that each epoch had, in columns, and trainer and history."""
        spy = Spy()
        net = network(device, [spy, xn.Linear(1)], X.shape[1])
        net.load_state({"1.weight": START[None, : X.shape[1]], "1.bias": START[-1:]})
        trainer = xn.Trainer(net, optimizer or xn.SGD(1e-30), l2)
        history = trainer.fit(X, y, batch_size=batch_size, epochs=epochs)
        label = dict(zip(map(tuple, X), y, strict=True))
        seen = [(rows.T, np.array([label[tuple(row)] for row in rows])) for rows in spy.seen]
        batches = math.ceil(len(y) / batch_size)
        assert len(seen) == batches * epochs == trainer.steps
        return [seen[s : s + batches] for s in range(0, len(seen), batches)], trainer, history

    @pytest.mark.parametrize(("n", "b"), [(50, 16), (48, 16), (7, 1), (50, 50)])
    def test_every_epoch_has_the_whole_set_in_a_fresh_order(self, device, n, b):
        """7.5.1 binds x and y, the data set's names, to each batch: epoch 2 has the last one."""
        X, y = np.arange(n)[:, None], np.arange(n) % 2
        epochs = self.spied(device, X, y, b, 4)[0]
        sizes = [*[b] * (n // b), *([n % b] if n % b else [])]
        orders = [[int(i) for x, _ in epoch for i in x[0]] for epoch in epochs]
        assert [[len(labels) for _, labels in epoch] for epoch in epochs] == [sizes] * 4
        assert [sorted(order) for order in orders] == [list(range(n))] * 4
        assert len({tuple(order) for order in [*orders, range(n)]}) == 5

        x, rng, page = X.T, np.random.default_rng(0), []
        for _ in range(4):
            order = rng.permutation(x.shape[1])
            batches = [x[:, order[s : s + b]] for s in range(0, len(order), b)]
            page.append(0)
            for x in batches:
                page[-1] += x.shape[1]
        assert page == [n] + [sizes[-1]] * 3

    @pytest.mark.parametrize("b", [1, 4, 11])
    def test_each_batch_is_a_step_down_its_own_regularised_cost(self, device, b):
        """With λ/|batch|; 7.5.1 never uses its λ. b = 1 is stochastic, b = n batch descent."""
        X, y = data()
        epochs, trainer, _ = self.spied(device, X, y, b, 3, xn.SGD(0.2), l2=0.4)
        ends = {}
        for l2 in (0.4, 0.0):
            p = START
            for x, labels in (batch for epoch in epochs for batch in epoch):
                pull = l2 / len(labels) * np.append(p[:-1], 0)
                p = p - 0.2 * (gradient(p, x, labels) + pull)
            ends[l2] = p
        state = trainer.network.state()
        found = np.append(state["1.weight"], state["1.bias"])
        assert_close(found, ends[0.4])
        assert_apart(found, ends[0.0], 1e-2)

    def test_an_epoch_s_cost_is_the_mean_over_its_examples(self, device):
        """7.5.1 adds the batches' means up, so that its cost grows with their number."""
        X, y = data()
        (epoch,), _, history = self.spied(device, X, y, 4, 1)
        page = sum(log_loss(START, *batch) for batch in epoch)
        assert history["train_loss"][0] == pytest.approx(log_loss(START, X.T, y), rel=1e-12)
        assert page > 2.5 * history["train_loss"][0]

    def test_t_counts_updates(self, device):
        """Chapter 7's t = i + k, epoch plus batch, gives a number to several updates."""
        found = []

        class Count(xn.Callback):
            def on_step_end(self, trainer, n):
                found.append(trainer.steps)

        X, y = data()
        trainer = xn.Trainer(logistic(device), xn.SGD(0.1))
        trainer.fit(X, y, batch_size=4, epochs=3, callbacks=[Count()])
        epochs_and_batches = [(i, k) for i in range(3) for k in (1, 2, 3)]
        assert found == [updates_so_far(i, k, 3) for i, k in epochs_and_batches] == [*range(1, 10)]
        assert [i + k for i, k in epochs_and_batches] == [1, 2, 3, 2, 3, 4, 3, 4, 5]


class TestChapter71WeightedAverages:
    """The mean of the last k, and V ← βV + (1 − β)x with a correction for its start at 0."""

    X = np.random.default_rng(0).normal(3.0, 1.0, (30, 2))

    def after(self, average, backend, t):
        for x in self.X[:t]:
            average.update(backend.asarray(x))
        return backend.to_host(average.value)

    @pytest.mark.parametrize("t", [1, 4, 30])
    def test_the_mean_of_the_last_k(self, backend, t):
        found = self.after(xn.SimpleMovingAverage(4), backend, t)
        assert_close(found, self.X[max(t - 4, 0) : t].mean(axis=0))

    @pytest.mark.parametrize("t", [1, 2, 30])
    def test_the_corrected_average_is_the_weighted_mean(self, backend, t):
        """Σ βʲ x_{t−j} / Σ βʲ, as remark 7.1 ends; its recursion, fed back, is not that."""
        beta = 0.8
        weights = beta ** np.arange(t)[::-1]
        expected = weights @ self.X[:t] / weights.sum()
        assert_close(self.after(xn.ExponentialMovingAverage(beta), backend, t), expected)
        bare = xn.ExponentialMovingAverage(beta, bias_correction=False)
        assert_close(self.after(bare, backend, t), expected * (1 - beta**t))
        page = 0.0
        for i, x in enumerate(self.X[:t], start=1):
            page = (beta * page + (1 - beta) * x) / (1 - beta**i)
        if t > 1:
            assert_apart(expected, page, 0.5)

    def test_it_is_an_average_of_the_weights_too(self, device):
        X, y = data(40)
        net, seen = logistic(device), []
        keep = xn.Callback()
        keep.on_step_end = lambda trainer, n: seen.append(values(trainer.network))
        average = xn.WeightAverage(xn.ExponentialMovingAverage(0.7))
        history = xn.Trainer(net, xn.SGD(0.5)).fit(
            X, y, batch_size=4, epochs=2, validation_data=(X, y), callbacks=[keep, average]
        )
        weights = 0.7 ** np.arange(20)[::-1]
        assert_close(values(net), weights @ np.array(seen) / weights.sum())
        assert history["dev_loss"][-1] == pytest.approx(log_loss(values(net), X.T, y))


class TestChapter72Momentum:
    """Steps along V, where V ← βV + (1 − β)∂J from V = 0."""

    def test_v_is_the_weighted_sum_of_the_gradients(self, device):
        """7.1's and 7.5.1's recursion divides what recurs by 1 − βᵗ; only a copy may be."""
        X, y = data(20)
        beta, past, page = 0.8, [], np.zeros(4)
        net = logistic(device)
        trainer = xn.Trainer(net, xn.Momentum(0.3, beta=beta))
        for t in range(1, 7):
            p, batch = values(net), slice(3 * (t - 1), 3 * t)
            past.append(gradient(p, X[batch].T, y[batch]))
            trainer.step(X[batch], y[batch])
            v = (p - values(net)) / 0.3
            weighted = [(1 - beta) * beta**j * g for j, g in enumerate(reversed(past))]
            assert_close(v, np.sum(weighted, axis=0))
            page = (beta * page + (1 - beta) * past[-1]) / (1 - beta**t)
        assert_apart(v, page, 0.1)
        # Nor is it the corrected average itself: chapter 7.2 has no correction.
        assert_apart(v, v / (1 - beta**6), 0.01)


class TestChapter73RMSProp:
    """Steps of α ∂J / (√S + ε), where S ← βS + (1 − β)(∂J)² from S = 0."""

    def test_eps_stands_outside_the_root(self, device):
        """The text of 7.3 has it inside, the code of 7.5.1 outside."""
        X, y = data()
        options, usual = {"batch_size": 4, "epochs": 3}, (0.05, 0.0, 0.9, 0.1, False)
        found = fitted(device, xn.RMSProp(0.05, beta=0.9, eps=0.1), X, y, **options)
        assert_close(found, descend(START, X.T, y, rule(*usual), **options))
        page = descend(START, X.T, y, rule(*usual, inside=True), **options)
        assert_apart(found, page, 0.01)


#: What the pages do instead: 7.5.1's code, 7.4's text, and 7.2's t, epoch plus batch.
SLIPS = {
    "corrected_averages_recur": ({"fed_back": True}, {}),
    "eps_inside_the_root": ({"inside": True}, {}),
    "another_t": ({}, {"count": lambda i, k, batches: i + k}),
}


class TestChapter74Adam:
    """Steps of α V̂ / (√Ŝ + ε): momentum and RMSProp together, each with its bias corrected."""

    @each(SLIPS)
    def test_it_is_kingma_and_ba_s(self, device, name):
        slip, count = SLIPS[name]
        X, y = data()
        options, usual = {"batch_size": 4, "epochs": 3}, (0.05, 0.9, 0.99, 0.01)
        found = fitted(device, xn.Adam(*usual), X, y, **options)
        assert_close(found, descend(START, X.T, y, rule(*usual), **options))
        page = descend(START, X.T, y, rule(*usual, **slip), **options, **count)
        assert_apart(found, page, 0.01)

    def test_the_averages_of_a_constant_are_the_constant(self, device):
        """So each step is α long. The page's second V is (β + 1 − β)/(1 − β²) of it: five times."""
        # σ(z) is 0 to the last digit, so the gradient is −(x, 1) wherever w goes.
        start, x = np.array([0.0, 0.0, 0.0, -1e4]), np.array([2.0, -3.0, 0.5])
        net = logistic(device, start)
        trainer = xn.Trainer(net, xn.Adam(0.01))
        right, page = (rule(0.01, 0.9, 0.999, fed_back=slip) for slip in (False, True))
        good = bad = start
        for t in range(1, 6):
            trainer.step(x[None], [1])
            g = -np.append(x, 1)
            good, bad = right(good, g, t, 0), page(bad, g, t, 0)
            assert_close(values(net)[:3], 0.01 * t * np.sign(x), 1e-8)
            assert_close(values(net), good, 1e-10)
        assert_apart(values(net), bad, 0.01)


#: The schedule, and the rate of epoch i.
DECAYS = {
    "inverse_time": (xn.InverseTime(0.5, decay=0.7), lambda i: 0.5 / (1 + 0.7 * i)),
    "exponential": (xn.Exponential(0.5, decay=0.7), lambda i: 0.5 * 0.7**i),
    "root": (xn.InverseSquareRoot(0.5, scale=0.9), lambda i: 0.45 / math.sqrt(i + 1)),
    "by_hand": (xn.Piecewise(0.5, (1, 3), (0.3, 0.1)), lambda i: [0.5, 0.3, 0.3, 0.1][i]),
}


class TestChapter75Decays:
    """The rate falls from epoch to epoch, by one of three formulas or by hand."""

    @each(DECAYS)
    def test_the_rate_of_each_epoch_is_applied(self, device, name):
        """In 7.5.1 the names it is computed from are not defined."""
        schedule, rate = DECAYS[name]
        X, y = data()
        options = {"batch_size": 4, "epochs": 4}
        net = logistic(device)
        history = xn.Trainer(net, xn.SGD(schedule)).fit(X, y, shuffle=False, **options)
        assert_close(history["learning_rate"], [rate(i) for i in range(4)], 1e-15)
        found = values(net)
        assert_close(found, descend(START, X.T, y, lambda p, g, t, i: p - rate(i) * g, **options))
        constant = descend(START, X.T, y, plain(0.5), **options)
        assert_apart(found, constant, 0.01)

    def test_one_over_the_root_is_defined_at_the_first_epoch(self):
        """The page's η/√i is not; the same rates, one epoch earlier, are."""

        def page(i):
            return 0.9 / math.sqrt(i) * 0.5

        with pytest.raises(ZeroDivisionError):
            page(0)
        schedule = xn.InverseSquareRoot(0.5, scale=0.9)
        found = [schedule(step=0, epoch=float(i)) for i in range(20)]
        assert found[0] == 0.45
        assert_close(found, [page(i + 1) for i in range(20)], 1e-15)

    def test_by_hand(self, device):
        """The page names it; here it is a schedule of steps, or whoever sets the rate."""
        X, y = data()
        options = {"batch_size": 4, "epochs": 4, "shuffle": False}

        def lower(trainer, row):
            if row["epoch"] == 2:
                trainer.learning_rate = 0.05

        runs = []
        for rate, callbacks in ((xn.Piecewise(0.5, (2,), (0.05,)), []), (0.5, [lower])):
            net = logistic(device)
            xn.Trainer(net, xn.SGD(rate)).fit(X, y, callbacks=callbacks, **options)
            runs.append(values(net))
        options.pop("shuffle")
        rates = [0.5, 0.5, 0.05, 0.05]
        expected = descend(START, X.T, y, lambda p, g, t, i: p - rates[i] * g, **options)
        for found in runs:
            assert_close(found, expected)


class TestChapter8HyperParameters:
    """Random points rather than a grid, on the scale that suits: any interval, and 1 − β."""

    def test_a_log_scale_of_any_interval(self):
        """8.0.1 draws 10^(p·r), r in [0, 1): only intervals that end at 1, by the sign of p."""
        rates = xn.log_uniform(3e-4, 0.2)
        drawn = [d["rate"] for d in xn.random_draws({"rate": rates}, 3000, random_state=1)]
        assert 3e-4 <= min(drawn) < 4e-4
        assert 0.15 < max(drawn) <= 0.2
        # As many in each third of the logarithm's range.
        thirds = np.log(np.array(drawn) / 3e-4) / math.log(0.2 / 3e-4) * 3
        assert np.bincount(thirds.astype(int)).min() > 900
        r = np.random.default_rng(0).random(3000)
        for p in (-4, -3.5, -1, 2):
            page = 10 ** (p * r)
            assert np.mean((page < 3e-4) | (page > 0.2)) > 0.15

    def test_evenly_drawn_points_lie_in_the_last_decade(self):
        """Why a log scale: of [0.0001, 1] nine in ten are above 0.1."""
        even = np.array([d["x"] for d in xn.random_draws({"x": xn.uniform(1e-4, 1.0)}, 2000)])
        scaled = np.array([d["x"] for d in xn.random_draws({"x": xn.log_uniform(1e-4, 1.0)}, 2000)])
        assert np.mean(even > 0.1) == pytest.approx(0.9, abs=0.03)
        assert np.mean(scaled > 0.1) == pytest.approx(0.25, abs=0.03)

    def test_beta_by_how_far_it_is_from_one(self):
        """Remark 8.1: 0.999 averages over 1000 values, 0.9995 over 2000."""
        betas = xn.one_minus_log_uniform(0.9, 0.999).grid(3)
        np.testing.assert_allclose(1 / (1 - np.array(betas)), [10, 100, 1000], rtol=1e-9)

    def test_random_points_try_more_values_of_each_than_a_grid(self):
        space = {"rate": xn.log_uniform(1e-4, 1.0), "beta": xn.one_minus_log_uniform(0.9, 0.999)}
        on_grid, at_random = xn.grid(space, 4), xn.random_draws(space, 16)
        assert len(on_grid) == len(at_random) == 16
        for name in space:
            assert len({point[name] for point in on_grid}) == 4
            assert len({point[name] for point in at_random}) == 16


class TestChapter9BatchNorm:
    """γ x̂ + β with x̂ = (x − μ)/√(σ² + ε), before the activation: its statistics and its slope."""

    EPS = 0.1

    @staticmethod
    def batch(n=6, m=3):
        return 2 + 1.5 * np.random.default_rng(9).standard_normal((n, m))

    def alone(self, backend, gamma, beta, n=6, eps=EPS, **options):
        alone = Alone(backend, [xn.BatchNorm(eps=eps, **options)], n, len(gamma))
        alone.load({"1.weight": np.asarray(gamma), "1.bias": np.asarray(beta)})
        return alone

    def normalise(self, x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + self.EPS)

    def test_gamma_and_beta_can_undo_it(self, backend):
        """γ = √(σ² + ε) and β = μ give x back; the page's last line but one has x − μ_β."""
        x = self.batch()
        mu, sigma = x.mean(axis=0), np.sqrt(x.var(axis=0) + self.EPS)
        found = self.alone(backend, sigma, mu).forward(x)
        assert_close(found, x)
        assert_apart(found, x - mu, 1)
        # The notes leave ε out of γ, which does where ε is next to nothing.
        assert_close(self.alone(backend, x.std(axis=0), mu, eps=1e-14).forward(x), x)

    def test_beta_and_gamma_are_the_new_mean_and_deviation(self, backend):
        x, gamma, beta = self.batch(), np.array([0.5, -2.0, 3.0]), np.array([4.0, 0.0, -1.0])
        found = self.alone(backend, gamma, beta, eps=1e-14).forward(x)
        assert_close(found.mean(axis=0), beta)
        assert_close(found.var(axis=0), gamma**2)
        # With an ε that counts the variance is a little less.
        found, variance = self.alone(backend, gamma, beta).forward(x), x.var(axis=0)
        assert_close(found.var(axis=0), gamma**2 * variance / (variance + self.EPS))

    def test_a_bias_under_it_is_idle(self, backend):
        """So β takes its place and `Linear` leaves it out, but not on the output layer."""
        layers = [xn.Linear(4), xn.BatchNorm(), xn.Tanh(), xn.Linear(1)]
        assert {"0.bias", "3.bias"} & network(backend, layers).state().keys() == {"3.bias"}
        # Nothing is imposed: whoever wants it on the output layer puts it there.
        last = network(backend, [xn.Linear(4), xn.Tanh(), xn.Linear(1), xn.BatchNorm()]).state()
        assert "2.bias" not in last
        assert last["3.weight"].shape == (1,)

        net = network(backend, [xn.Linear(4, bias=True), *layers[1:]])
        state = drawn(net)
        before, d = computed(net, *data())
        assert_close(d["0.bias"], 0, 1e-13)
        net.load_state(state | {"0.bias": state["0.bias"] + 5})
        assert computed(net, *data())[0] == pytest.approx(before, abs=1e-12)

    def jacobians(self, backend, x):
        """Return ∂x̂ₐ/∂x_b of each feature, (m, N, N), from the backward kernel."""
        xp, (n, m) = backend.xp, x.shape
        inverse = backend.asarray(1 / np.sqrt(x.var(axis=0, keepdims=True) + self.EPS))
        found = np.empty((m, n, n))
        for a in range(n):
            dy = np.zeros((n, m))
            dy[a] = 1
            d_gamma, d_beta, row = (xp.zeros((1, m), np.float64) for _ in range(3))
            x_hat, dx = backend.asarray(self.normalise(x)), xp.zeros((n, m), np.float64)
            one, dy = xp.ones((1, m), np.float64), backend.asarray(dy)
            backend.kernels.batch_norm_backward(
                dy, dy, x_hat, one, inverse, d_gamma, d_beta, row, dx
            )
            found[:, a] = on_host(backend, dx).T
        return found

    def test_the_lemma_in_full(self, backend):
        """∂x̂ₐ/∂x_b = (δₐ_b − 1/N − x̂ₐ x̂_b/N)/√(σ² + ε), all N × N of them, for each feature.

        Lemma 9.2 writes one factor as x without an example beside x_λ, the example to differentiate
        by. Taken for that x_λ its product is x̂_b², and with λ taken for the example j₀ it is x̂ₐ²:
        neither is the derivative. Lemmas 9.3 and 9.4, differentials of mean and variance, are.
        """
        x = self.batch(n=4)
        found = self.jacobians(backend, x)
        for i, z in enumerate(x.T):
            n, mu, root = len(z), z.mean(), np.sqrt(z.var() + self.EPS)
            x_hat, delta = (z - mu) / root, np.eye(len(z))
            a, b = x_hat[:, None], x_hat[None, :]
            assert_close(found[i], (delta - 1 / n - a * b / n) / root, 1e-14)
            assert_close(found[i], slopes(self.normalise, z), 1e-9)
            d_mean, d_variance = np.full(n, 1 / n), 2 / n * (z - mu)
            by_parts = delta - d_mean - np.outer((z - mu) / (2 * root**2), d_variance)
            assert_close(found[i], by_parts / root, 1e-14)
            for page in ((delta - 1 / n - b * b / n) / root, (delta - 1 / n - a * a / n) / root):
                assert_apart(found[i], page, 0.1)
            # ε belongs under the root here too, and in x̂.
            bare = (z - mu) / z.std()
            assert_apart(found[i], (delta - 1 / n - np.outer(bare, bare) / n) / z.std(), 1e-3)

    def test_the_whole_backward_pass(self, backend):
        X, Y = data(k=1)
        layers = [xn.Linear(4), xn.BatchNorm(eps=self.EPS), xn.Tanh(), xn.Linear(1)]
        net = network(backend, layers)
        state = drawn(net)

        def normalised(s):
            z = s["1.weight"] * self.normalise(X @ s["0.weight"].T) + s["1.bias"]
            a = sigmoid(np.tanh(z) @ s["3.weight"].T + s["3.bias"])
            return cross_entropy(a.T, Y.T, "sigmoid")

        found = computed(net, X, Y)[1]
        trained = {key: value for key, value in state.items() if "running" not in key}
        assert_same(found, slopes_in(trained, normalised), 1e-8)

    def test_prediction_uses_running_statistics(self, device):
        """Averages over the batches of training, the variance unbiased; the notes give no code."""
        layers = [xn.BatchNorm(momentum=0.3, eps=self.EPS), xn.Linear(1)]
        net = network(device, layers, loss="mean_squared_error")
        net.load_state(net.state() | {"1.weight": np.ones((1, 3)), "1.bias": np.zeros(1)})
        trainer = xn.Trainer(net, xn.SGD(1e-30))
        mean, variance = np.zeros(3), np.ones(3)
        for seed, n in enumerate((6, 4, 5)):
            X = 3 + data(n, seed=seed)[0]
            trainer.step(X, np.arange(n))
            mean = 0.7 * mean + 0.3 * X.mean(axis=0)
            variance = 0.7 * variance + 0.3 * X.var(axis=0, ddof=1)
        expected = ((X - mean) / np.sqrt(variance + self.EPS)).sum(axis=1)
        found = net.predict(X)
        assert_close(found, expected)
        # An example's prediction does not depend on its company: one alone is as good.
        assert_close([net.predict(row[None])[0] for row in X], found)
        assert_apart(found, self.normalise(X).sum(axis=1), 1)
