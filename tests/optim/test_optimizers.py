"""Optimisers: one table of them through the same tests, and what is particular to each."""

from dataclasses import FrozenInstanceError, dataclass, fields

import numpy as np
import pytest
from oracle import draw_state, on_host

import xpnet as xn
from xpnet.backends.updates import Update
from xpnet.optim.optimizers import Optimizer

OPTIMIZERS = Optimizer.registry.own

# -- the optimisers again, in plain NumPy, from the notes' and the papers' formulas ----


def plain_sgd(p, gradient, steps, alpha):
    for _ in range(steps):
        p = p - alpha * gradient(p)
    return p


def plain_sgd_momentum(p, gradient, steps, alpha, mu, nesterov=False):
    v = np.zeros_like(p)
    for _ in range(steps):
        g = gradient(p)
        v = mu * v + g
        p = p - alpha * (g + mu * v if nesterov else v)
    return p


def plain_momentum(p, gradient, steps, alpha, beta):
    v = np.zeros_like(p)
    for _ in range(steps):
        v = beta * v + (1 - beta) * gradient(p)
        p = p - alpha * v
    return p


def plain_rmsprop(p, gradient, steps, alpha, beta, eps, inside=False):
    s = np.zeros_like(p)
    for _ in range(steps):
        g = gradient(p)
        s = beta * s + (1 - beta) * g**2
        p = p - alpha * g / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)
    return p


def plain_adam(
    p, gradient, steps, alpha, beta_1, beta_2, eps, inside=False, fed_back=False, count=None
):
    """Adam, or the pages' slips: ε inside the root, the corrected averages fed back, another t."""
    v, s = np.zeros_like(p), np.zeros_like(p)
    for step in range(steps):
        t = step + 1 if count is None else count(step)
        g = gradient(p)
        v, s = beta_1 * v + (1 - beta_1) * g, beta_2 * s + (1 - beta_2) * g**2
        v_hat, s_hat = v / (1 - beta_1**t), s / (1 - beta_2**t)
        if fed_back:
            v, s = v_hat, s_hat
        p = p - alpha * v_hat / (np.sqrt(s_hat + eps) if inside else np.sqrt(s_hat) + eps)
    return p


def plain_adamw(p, gradient, steps, alpha, beta_1, beta_2, eps, decay):
    v, s = np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p)
        v, s = beta_1 * v + (1 - beta_1) * g, beta_2 * s + (1 - beta_2) * g**2
        v_hat, s_hat = v / (1 - beta_1**t), s / (1 - beta_2**t)
        p = p - alpha * decay * WEIGHTS(p) * p
        p = p - alpha * v_hat / (np.sqrt(s_hat) + eps)
    return p


def plain_nadam(p, gradient, steps, alpha, beta_1, beta_2, eps, psi):
    v, s, product = np.zeros_like(p), np.zeros_like(p), 1.0
    for t in range(1, steps + 1):
        g = gradient(p)
        v, s = beta_1 * v + (1 - beta_1) * g, beta_2 * s + (1 - beta_2) * g**2
        now, following = (beta_1 * (1 - 0.5 * 0.96 ** (i * psi)) for i in (t, t + 1))
        product *= now
        step = (1 - now) / (1 - product) * g + following / (1 - product * following) * v
        p = p - alpha * step / (np.sqrt(s / (1 - beta_2**t)) + eps)
    return p


def plain_adagrad(p, gradient, steps, alpha, eps):
    s = np.zeros_like(p)
    for _ in range(steps):
        g = gradient(p)
        s = s + g**2
        p = p - alpha * g / (np.sqrt(s) + eps)
    return p


def plain_lion(p, gradient, steps, alpha, beta_1, beta_2, decay):
    v = np.zeros_like(p)
    for _ in range(steps):
        g = gradient(p)
        p = p - alpha * (np.sign(beta_1 * v + (1 - beta_1) * g) + decay * WEIGHTS(p) * p)
        v = beta_2 * v + (1 - beta_2) * g
    return p


def WEIGHTS(p):
    """Return 1 where a parameter decays, as `minimise` and the trainer's test have it."""
    return np.arange(p.shape[-1]) < {4: 3, 26: 20}.get(p.shape[-1], 0)


#: Name: the optimiser, the same in plain NumPy, and a rate and number of steps for Rosenbrock.
TABLE = {
    "sgd": (xn.SGD(0.02), lambda *a: plain_sgd(*a, 0.02), 1e-3, 20_000),
    "sgd_momentum": (
        xn.SGD(0.02, momentum=0.9),
        lambda *a: plain_sgd_momentum(*a, 0.02, 0.9),
        5e-4,
        5_000,
    ),
    "nesterov": (
        xn.SGD(0.02, momentum=0.9, nesterov=True),
        lambda *a: plain_sgd_momentum(*a, 0.02, 0.9, nesterov=True),
        5e-4,
        5_000,
    ),
    "momentum": (
        xn.Momentum(0.1, beta=0.9),
        lambda *a: plain_momentum(*a, 0.1, 0.9),
        5e-3,
        5_000,
    ),
    "rmsprop": (
        xn.RMSProp(0.01, beta=0.9, eps=1e-8),
        lambda *a: plain_rmsprop(*a, 0.01, 0.9, 1e-8),
        1e-3,
        5_000,
    ),
    "adam": (
        xn.Adam(0.05, beta_1=0.9, beta_2=0.99, eps=1e-8),
        lambda *a: plain_adam(*a, 0.05, 0.9, 0.99, 1e-8),
        2e-2,
        5_000,
    ),
    "adamw": (
        xn.AdamW(0.05, beta_1=0.9, beta_2=0.99, eps=1e-8, weight_decay=1e-2),
        lambda *a: plain_adamw(*a, 0.05, 0.9, 0.99, 1e-8, 1e-2),
        2e-2,
        5_000,
    ),
    "nadam": (
        xn.NAdam(0.05, beta_1=0.9, beta_2=0.99, eps=1e-8, momentum_decay=0.01),
        lambda *a: plain_nadam(*a, 0.05, 0.9, 0.99, 1e-8, 0.01),
        2e-2,
        5_000,
    ),
    "adagrad": (
        xn.Adagrad(0.5, eps=1e-10),
        lambda *a: plain_adagrad(*a, 0.5, 1e-10),
        0.5,
        20_000,
    ),
    "lion": (
        xn.Lion(0.01, beta_1=0.9, beta_2=0.99, weight_decay=1e-2),
        lambda *a: plain_lion(*a, 0.01, 0.9, 0.99, 1e-2),
        3e-4,
        20_000,
    ),
}

each_optimizer = pytest.mark.parametrize("name", TABLE)


def minimise(backend, optimizer, start, gradient, steps, dtype="float64"):
    """Run an optimiser over flat arrays as `Trainer` does, with the gradient from the host."""
    xp = backend.xp
    p = backend.asarray(np.array(start, dtype))
    g, scratch = xp.zeros_like(p), [xp.empty_like(p) for _ in range(optimizer.n_scratch)]
    moments = [xp.zeros_like(p) for _ in range(optimizer.n_moments)]
    row = xp.empty(len(optimizer.scalars(0, 0.0)), p.dtype)
    scalars = [row[i : i + 1] for i in range(len(row))]
    for step in range(steps):
        xp.copyto(g, backend.asarray(gradient(on_host(backend, p)).astype(dtype)))
        xp.copyto(row, backend.asarray(np.array(optimizer.scalars(step, 0.0), dtype)))
        n_weights = int(WEIGHTS(p).sum())
        optimizer.update(backend.kernels, p, g, moments, scalars, scratch, n_weights)
    return on_host(backend, p)


def parabola(p):
    """Return the gradient of Σ cᵢ (pᵢ − aᵢ)² / 2, with curvatures from 0.5 to 8."""
    return np.array([0.5, 1.0, 3.0, 8.0]) * (p - np.array([1.0, -2.0, 0.5, 3.0]))


def rosenbrock(p):
    """Return the gradient of (1 − x)² + 100 (y − x²)²."""
    x, y = p
    return np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])


# -- every optimiser ----


@each_optimizer
def test_update_is_its_formula(backend, name):
    optimizer, plain, _, _ = TABLE[name]
    start = np.array([0.0, 0.3, -1.0, 2.0])
    for steps in (1, 2, 30):
        found = minimise(backend, optimizer, start, parabola, steps)
        np.testing.assert_allclose(found, plain(start, parabola, steps), rtol=0, atol=1e-12)


@each_optimizer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minimises_a_parabola(backend, name, dtype):
    optimizer = TABLE[name][0]
    # Rates that shrink, because RMSProp's steps do not shrink with the gradient.
    rate = xn.Exponential(optimizer.learning_rate, decay=0.998, per="step")
    optimizer = type(optimizer)(**{**arguments(optimizer), "learning_rate": rate})
    found = minimise(backend, optimizer, np.zeros(4), parabola, 3000, dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [1.0, -2.0, 0.5, 3.0], atol=0.02)


@each_optimizer
def test_minimises_rosenbrock(backend, name):
    optimizer, _, rate, steps = TABLE[name]
    optimizer = type(optimizer)(**{**arguments(optimizer), "learning_rate": rate})
    found = minimise(backend, optimizer, [-1.2, 1.0], rosenbrock, steps)
    np.testing.assert_allclose(found, [1.0, 1.0], atol=0.03)


@each_optimizer
def test_leading_axes_are_free(backend, name):
    """Three networks' parameters (3, P) are updated as each one's alone."""
    optimizer = TABLE[name][0]
    starts = np.random.default_rng(0).standard_normal((3, 4))
    together = minimise(backend, optimizer, starts, parabola, 10)
    for i, start in enumerate(starts):
        alone = minimise(backend, optimizer, start, parabola, 10)
        np.testing.assert_allclose(together[i], alone, rtol=0, atol=1e-15)


@each_optimizer
def test_gradients_are_left_as_they_were(backend, name):
    optimizer = TABLE[name][0]
    xp = backend.xp
    p, g = backend.asarray(np.ones(4)), backend.asarray(np.arange(4.0))
    moments = [xp.zeros_like(p) for _ in range(optimizer.n_moments)]
    scalars = [backend.asarray(np.array([v])) for v in optimizer.scalars(0, 0.0)]
    scratch = [xp.empty_like(p) for _ in range(optimizer.n_scratch)]
    optimizer.update(backend.kernels, p, g, moments, scalars, scratch, 3)
    np.testing.assert_array_equal(on_host(backend, g), np.arange(4.0))


@each_optimizer
def test_numbers_depend_on_nothing_but_the_step_and_epoch(name):
    optimizer = TABLE[name][0]
    rate = xn.Exponential(0.1, decay=0.9, per="step")
    for one in (optimizer, type(optimizer)(**{**arguments(optimizer), "learning_rate": rate})):
        forth = [one.scalars(step, step / 3) for step in range(20)]
        back = [one.scalars(step, step / 3) for step in reversed(range(20))]
        assert forth == back[::-1]
        assert len({len(scalars) for scalars in forth}) == 1
        assert all(type(v) is float for scalars in forth for v in scalars)


@each_optimizer
def test_an_optimiser_is_a_frozen_description(name):
    optimizer = TABLE[name][0]
    with pytest.raises(FrozenInstanceError):
        optimizer.learning_rate = 1.0
    assert type(optimizer)(**arguments(optimizer)) == optimizer


def arguments(optimizer):
    return {f.name: getattr(optimizer, f.name) for f in fields(optimizer)}


@each_optimizer
def test_trainer_counts_updates_and_keeps_moments_over_epochs(backend, name):
    """The whole of `Trainer.fit` against its plain counterpart on the network's gradients.

    Three epochs of three batches are nine updates: t runs from 1 to 9. The notes' t = i + k, epoch
    plus batch, would give 1, 2, 3, 2, 3, 4, 3, 4, 5. Moments begun anew in each epoch would show
    too.
    """
    optimizer, plain, _, _ = TABLE[name]
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((11, 3)), rng.standard_normal((11, 2))
    net, other = (
        xn.Network(
            [xn.Linear(4), xn.Tanh(), xn.Linear(2)],
            loss="mean_squared_error",
            n_features=3,
            device=backend,
            dtype="float64",
        )
        for _ in range(2)
    )
    net.load_state(draw_state(net, 1))
    start = on_host(backend, net.parameters)
    trainer = xn.Trainer(net, optimizer)
    trainer.fit(X, Y, batch_size=4, epochs=3, shuffle=False)
    assert trainer.steps == 9

    batches = iter([slice(0, 4), slice(4, 8), slice(8, 11)] * 3)

    def gradient(p):
        other.parameters[...] = backend.asarray(p)
        batch = next(batches)
        other.passes.loss_and_gradient(*other.prepare(X[batch], Y[batch]))
        return on_host(backend, other.gradients)

    expected = plain(start, gradient, 9)
    np.testing.assert_allclose(on_host(backend, net.parameters), expected, rtol=0, atol=1e-12)


# -- L2 ----


def test_l2_pulls_at_weights_alone(backend):
    """λ/n W is added to the gradient of W, not to that of biases, γ or β (notes, chapter 5)."""
    layers = [xn.Linear(4, bias=True), xn.BatchNorm(), xn.Sigmoid(), xn.Linear(2)]
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    ends = []
    for l2 in (0.0, 0.7):
        net = xn.Network(
            layers, loss="mean_squared_error", n_features=3, device=backend, dtype="float64"
        )
        start = draw_state(net, 2)
        net.load_state(start)
        xn.Trainer(net, xn.SGD(0.1), l2=l2).step(X, Y)
        ends.append(net.state())
    for name, without in ends[0].items():
        pull = 0.1 * 0.7 / 5 * start[name] if name in ("0.weight", "3.weight") else 0.0
        np.testing.assert_allclose(ends[1][name], without - pull, atol=1e-14, err_msg=name)


# -- Adam and its relatives ----


def test_adam_s_first_step_is_the_rate_times_the_sign(backend):
    """v̂ = g and ŝ = g² then, so p moves by −α g / (|g| + ε), whatever the betas."""
    g = np.array([1e-3, -2.0, 40.0, -1e6])
    for beta_1, beta_2 in [(0.9, 0.999), (0.0, 0.0), (0.99, 0.9)]:
        adam = xn.Adam(0.01, beta_1=beta_1, beta_2=beta_2)
        moved = minimise(backend, adam, np.zeros(4), lambda p: g, 1)
        np.testing.assert_allclose(moved, -0.01 * g / (np.abs(g) + 1e-8), rtol=1e-12)
        np.testing.assert_allclose(moved, -0.01 * np.sign(g), rtol=2e-5)


def test_the_raw_averages_recur(backend):
    """Remark 7.1's formula, read as a recursion, feeds the corrected average back: another path."""
    optimizer = xn.Adam(0.05, beta_1=0.9, beta_2=0.99)
    start, usual = np.zeros(4), (0.05, 0.9, 0.99, 1e-8)
    found = minimise(backend, optimizer, start, parabola, 20)
    np.testing.assert_allclose(found, plain_adam(start, parabola, 20, *usual), rtol=0, atol=1e-13)
    fed_back = plain_adam(start, parabola, 20, *usual, fed_back=True)
    assert np.abs(found - fed_back).max() > 0.01


def test_averages_of_a_constant_are_the_constant(backend):
    # The correction takes the zero start out, so a constant gradient gives steps of one size.
    for steps in (1, 2, 10, 100):
        g = np.array([0.5, -3.0])
        moved = minimise(backend, xn.Adam(0.01), np.zeros(2), lambda p, g=g: g, steps)
        np.testing.assert_allclose(moved, -0.01 * steps * np.sign(g), rtol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "plain"),
    [
        (
            xn.RMSProp(0.05, beta=0.9, eps=0.2),
            lambda *a, **k: plain_rmsprop(*a, 0.05, 0.9, 0.2, **k),
        ),
        (
            xn.Adam(0.05, beta_1=0.9, beta_2=0.99, eps=0.2),
            lambda *a, **k: plain_adam(*a, 0.05, 0.9, 0.99, 0.2, **k),
        ),
    ],
    ids=["rmsprop", "adam"],
)
def test_eps_stands_outside_the_root(backend, optimizer, plain):
    """The notes' text has √(S + ε); Kingma & Ba, and the notes' code, have √S + ε."""
    found = minimise(backend, optimizer, np.zeros(4), parabola, 20)
    np.testing.assert_allclose(found, plain(np.zeros(4), parabola, 20), rtol=0, atol=1e-13)
    assert np.abs(found - plain(np.zeros(4), parabola, 20, inside=True)).max() > 0.01


def test_adam_with_another_count_would_show(backend):
    """What the trainer's test relies on: t = epoch + batch leads elsewhere."""
    usual = (0.05, 0.9, 0.99, 1e-8)
    right = plain_adam(np.zeros(4), parabola, 9, *usual)
    notes = plain_adam(np.zeros(4), parabola, 9, *usual, count=lambda i: i // 3 + i % 3 + 1)
    assert np.abs(right - notes).max() > 0.01
    found = minimise(backend, xn.Adam(*usual), np.zeros(4), parabola, 9)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_a_gradient_of_zero_moves_nothing(backend, name, dtype):
    # 0 / (√0 + ε): no NaN.
    start = np.array([1.0, -2.0])
    found = minimise(backend, TABLE[name][0], start, np.zeros_like, 3, dtype)
    np.testing.assert_array_equal(found, start)  # two parameters: none of them decays


def test_momentum_is_sgd_with_momentum_at_another_rate(backend):
    start = np.zeros(4)
    one = minimise(backend, xn.Momentum(0.1, beta=0.9), start, parabola, 25)
    two = minimise(backend, xn.SGD(0.1 * (1 - 0.9), momentum=0.9), start, parabola, 25)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "optimizer", [xn.SGD(0.02), xn.SGD(0.02, momentum=0.0), xn.Momentum(0.02, beta=0.0)]
)
def test_no_momentum_is_gradient_descent(backend, optimizer):
    found = minimise(backend, optimizer, np.zeros(4), parabola, 10)
    expected = plain_sgd(np.zeros(4), parabola, 10, 0.02)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_adam_s_numbers():
    rate, correction = xn.Adam(0.1, beta_1=0.5, beta_2=0.75).scalars(1, 0.0)
    # t = 2
    assert rate == pytest.approx(0.1 / (1 - 0.25))
    assert correction == pytest.approx(1 / np.sqrt(1 - 0.5625))
    # Far along, both corrections are gone.
    assert xn.Adam(0.1).scalars(10**6, 0.0) == pytest.approx((0.1, 1.0))


# -- the others ----


@pytest.mark.parametrize(("beta", "psi"), [(0.9, 0.004), (0.999, 0.1), (0.99, 0.0), (0.0, 0.004)])
def test_nadam_s_product_is_the_product_of_its_momenta(beta, psi):
    optimizer = xn.NAdam(beta_1=beta, momentum_decay=psi)
    momenta = beta * (1 - 0.5 * 0.96 ** (psi * np.arange(1, 5001)))
    for t, expected in enumerate(np.cumprod(momenta), 1):
        if t in (1, 2, 3, 10, 300, 5000):
            assert optimizer._product(t) == pytest.approx(expected, rel=1e-12, abs=1e-17)
    assert optimizer.scalars(10**9, 0.0)[0] == pytest.approx(
        2e-3 * (1 - beta * (1 if psi else 0.5))
    )


@pytest.mark.parametrize(
    "optimizer", [xn.AdamW(0.1, weight_decay=0.5), xn.Lion(0.1, weight_decay=0.5)]
)
@pytest.mark.parametrize("members", [None, 3])
def test_decoupled_decay_is_of_weights_alone(backend, optimizer, members):
    """Without a gradient W shrinks by 1 − α λ in each step; biases, γ and β stay."""
    layers = [xn.Linear(4, bias=True), xn.BatchNorm(), xn.Tanh(), xn.Linear(2)]
    many = {} if members is None else {"members": members}
    net = xn.Network(
        layers, loss="mean_squared_error", n_features=3, device=backend, dtype="float64", **many
    )
    xp, scratch = backend.xp, [backend.xp.empty_like(net.parameters) for _ in range(2)]
    net.parameters[...] = start = 1.0
    moments = [xp.zeros_like(net.parameters) for _ in range(optimizer.n_moments)]
    scalars = [backend.asarray(np.array([v])) for v in optimizer.scalars(0, 0.0)]
    net.gradients[...] = 0.0
    buffers = net.parameters, net.gradients, moments, scalars, scratch
    for _ in range(2):
        optimizer.update(backend.kernels, *buffers, net.n_weights)
    found = on_host(backend, net.parameters)
    assert found.shape == (*net.leading_shape, net.n_parameters)
    np.testing.assert_allclose(found[..., : net.n_weights], start * (1 - 0.1 * 0.5) ** 2)
    np.testing.assert_array_equal(found[..., net.n_weights :], start)


class SignDescent(xn.Optimizer):
    """A user's own."""

    def update(self, k, p, g, moments, scalars, scratch, n_weights):
        k.xp.sign(g, out=scratch[0])
        k.xp.multiply(scratch[0], scalars[0], out=scratch[0])
        k.xp.subtract(p, scratch[0], out=p)


def test_an_optimiser_may_give_its_own_update(backend):
    found = minimise(backend, SignDescent(0.01), np.zeros(4), parabola, 50)
    np.testing.assert_allclose(found, 0.5 * np.sign([1.0, -2.0, 0.5, 3.0]), atol=1e-12)


SIGN = Update("own_sign", "v = beta * v + g\np = p - rate * sign(v)", ("v",), options=("beta",))


@dataclass(frozen=True)
class SignMomentum(xn.Optimizer):
    """A user's own row."""

    beta: float = 0.5

    @property
    def rule(self):
        return SIGN


def test_or_a_row_of_its_own(backend):
    found = minimise(backend, SignMomentum(0.01), np.zeros(4), parabola, 50)
    np.testing.assert_allclose(found, 0.5 * np.sign([1.0, -2.0, 0.5, 3.0]), atol=1e-12)


def test_one_that_gives_neither_is_told(backend):
    with pytest.raises(NotImplementedError, match="Optimizer has neither a row nor an update"):
        minimise(backend, xn.Optimizer(0.01), np.zeros(4), parabola, 1)


@pytest.mark.parametrize("source", ["p = p - g\nv = v", "p = p", "p = where(g > 0, p, g)\nv = g"])
def test_a_row_that_is_no_update_is_refused(source):
    with pytest.raises(SyntaxError, match="has to write p and all moments"):
        Update("wrong", source, ("v",) if "where" in source else ("v", "s"))


# -- arguments ----


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_a_bad_rate_is_refused(kind, rate):
    with pytest.raises(ValueError, match=r"learning_rate is .*: give a finite number above 0"):
        kind(rate)


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (xn.SGD, "momentum", 1.1, r"give a number in \[0, 1\]"),
        (xn.SGD, "momentum", -0.1, r"give a number in \[0, 1\]"),
        (xn.SGD, "nesterov", True, "needs a momentum above 0"),
        (xn.Momentum, "beta", 1.0, r"give a number in \[0, 1\)"),
        (xn.RMSProp, "beta", -0.5, r"give a number in \[0, 1\)"),
        (xn.RMSProp, "eps", 0.0, "give a finite number above 0"),
        (xn.Adam, "beta_1", 1.0, r"give a number in \[0, 1\)"),
        (xn.Adam, "beta_2", 2.0, r"give a number in \[0, 1\)"),
        (xn.Adam, "beta_2", float("nan"), r"give a number in \[0, 1\)"),
        (xn.Adam, "eps", -1e-8, "give a finite number above 0"),
        (xn.Adam, "eps", float("inf"), "give a finite number above 0"),
        (xn.AdamW, "weight_decay", -0.1, "give a finite number, 0 or more"),
        (xn.AdamW, "beta_1", 1.0, r"give a number in \[0, 1\)"),
        (xn.NAdam, "momentum_decay", -0.1, "give a finite number, 0 or more"),
        (xn.NAdam, "beta_2", 1.0, r"give a number in \[0, 1\)"),
        (xn.Adagrad, "eps", 0.0, "give a finite number above 0"),
        (xn.Lion, "beta_2", 1.0, r"give a number in \[0, 1\)"),
        (xn.Lion, "weight_decay", float("nan"), "give a finite number, 0 or more"),
    ],
)
def test_a_bad_value_is_refused(kind, name, value, message):
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        kind(**{name: value})


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_an_option_that_it_does_not_have_is_refused_by_name(kind):
    with pytest.raises(TypeError, match="'dampening'"):
        kind(0.1, dampening=0.5)


@pytest.mark.parametrize("optimizer", ["adam", xn.Adam, 0.1])
def test_trainer_wants_an_optimiser(optimizer):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, device="cpu")
    with pytest.raises(TypeError, match=r"optimizer is .*: give one such as Adam"):
        xn.Trainer(net, optimizer)


def test_names():
    assert {name: kind().__class__ for name, kind in OPTIMIZERS.items()} == {
        "sgd": xn.SGD,
        "momentum": xn.Momentum,
        "rmsprop": xn.RMSProp,
        "adagrad": xn.Adagrad,
        "adam": xn.Adam,
        "adamw": xn.AdamW,
        "nadam": xn.NAdam,
        "lion": xn.Lion,
    }


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf"), None, "fast", [0.1, 0.2]])
def test_a_schedule_that_gives_no_rate_is_told(rate):
    with pytest.raises(ValueError, match=r"gives the rate .* at step 3, epoch 1\.5"):
        xn.SGD(lambda step, epoch: rate).rate(3, 1.5)
