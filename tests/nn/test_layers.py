"""Layers: activations, batch norm, linear and dropout layers, and how they share memory."""

import itertools

import numpy as np
import pytest
from oracle import Alone, draw_state, gradients, on_host
from scipy import special

import xpnet as xn
from xpnet.nn import activations
from xpnet.nn.layer import Layer

DTYPES = ["float32", "float64"]

EVERY_LAYER = {
    "linear": xn.Linear(4),
    "batch_norm": xn.BatchNorm(),
    "dropout": xn.Dropout(0.5),
    "one_hot": xn.OneHot({1: 3}),
    "embedding": xn.Embedding({2: 5}, 2),
    "piecewise_encoding": xn.PiecewiseLinearEmbedding({2: (-1.0, 0.0, 1.0)}),
    "piecewise_embedding": xn.PiecewiseLinearEmbedding({2: (-1.0, 0.0, 1.0)}, 2, relu=True),
    "ensemble": xn.EnsembleLinear(4, 3),
    "scale": xn.Scale(),
    "periodic": xn.PeriodicEmbedding((1, 3), 3, 4),
    "repeated": xn.RepeatedColumns((3, 0, 1)),
    "pbld": xn.PeriodicEmbedding((2, 0), 3, 4, relu=False, phase=True, dense=True),
    **{name: make() for name, make in activations.ACTIVATIONS.items()},
}

each_layer = pytest.mark.parametrize("layer", EVERY_LAYER.values(), ids=EVERY_LAYER)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


# -- activations ----


def plain_sigmoid(z):
    # exp never sees a positive number, so nothing overflows.
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def plain_softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def jacobian_of_softmax(z):
    s = plain_softmax(z)
    return np.diag(s) - np.outer(s, s)


def plain_softplus(z):
    return np.logaddexp(0, z)


def gelu_tanh(z):
    """Return the value and the derivative; beyond ±30 the tanh is ±1."""
    c = np.clip(z, -30, 30)
    t = np.tanh(np.sqrt(2 / np.pi) * (c + 0.044715 * c**3))
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * c**2)
    return 0.5 * z * (1 + t), 0.5 * (1 + t) + 0.5 * c * (1 - t**2) * slope


def mish_derivative(z):
    t = np.tanh(plain_softplus(z))
    return t + np.clip(z, -800, 800) * (1 - t**2) * plain_sigmoid(z)


def silu_derivative(z):
    s = plain_sigmoid(z)
    return s + np.clip(z, -800, 800) * s * (1 - s)


def gelu_derivative(z):
    c = np.clip(z, -40, 40)
    return special.ndtr(z) + c * np.exp(-(c**2) / 2) / np.sqrt(2 * np.pi)


def selu(z):
    return 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))


def selu_derivative(z):
    below = 1.6732632423543772 * np.exp(np.minimum(z, 0))
    return 1.0507009873554805 * np.where(z > 0, 1, below)


#: Plain formula and Jacobian of those that PyTorch has taken from papers.
FORMULAS = {
    "gelu": (lambda z: z * special.ndtr(z), lambda z: np.diag(gelu_derivative(z))),
    "gelu_tanh": (lambda z: gelu_tanh(z)[0], lambda z: np.diag(gelu_tanh(z)[1])),
    "silu": (lambda z: z * plain_sigmoid(z), lambda z: np.diag(silu_derivative(z))),
    "mish": (lambda z: z * np.tanh(plain_softplus(z)), lambda z: np.diag(mish_derivative(z))),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.diag(np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    ),
    "selu": (selu, lambda z: np.diag(selu_derivative(z))),
    "softplus": (plain_softplus, lambda z: np.diag(plain_sigmoid(z))),
    "smooth_clip": (
        lambda z: z / np.hypot(1, z / 3),
        lambda z: np.diag(1 / np.hypot(1, z / 3) ** 3),
    ),
}

#: Name: layer, plain formula, and the Jacobian for one example z (m,).
ACTIVATIONS = {
    "sigmoid": (
        xn.Sigmoid(),
        plain_sigmoid,
        lambda z: np.diag(plain_sigmoid(z) * (1 - plain_sigmoid(z))),
    ),
    "tanh": (xn.Tanh(), np.tanh, lambda z: np.diag(1 / np.cosh(z) ** 2)),
    "relu": (xn.ReLU(), lambda z: np.where(z > 0, z, 0), lambda z: np.diag(z > 0)),
    "leaky_relu": (
        xn.LeakyReLU(0.2),
        lambda z: np.where(z > 0, z, 0.2 * z),
        lambda z: np.diag(np.where(z > 0, 1, 0.2)),
    ),
    "leaky_relu_0": (
        xn.LeakyReLU(0.0),
        lambda z: np.where(z > 0, z, 0),
        lambda z: np.diag(z > 0),
    ),
    "softmax": (xn.Softmax(), plain_softmax, jacobian_of_softmax),
    **{
        name: (make(), *FORMULAS[name])
        for name, make in activations.ACTIVATIONS.items()
        if name in FORMULAS
    },
    "elu_1.5": (
        xn.ELU(1.5),
        lambda z: np.where(z > 0, z, 1.5 * np.expm1(np.minimum(z, 0))),
        lambda z: np.diag(np.where(z > 0, 1, 1.5 * np.exp(np.minimum(z, 0)))),
    ),
    "smooth_clip_0.5": (
        xn.SmoothClip(0.5),
        lambda z: z / np.hypot(1, z / 0.5),
        lambda z: np.diag(1 / np.hypot(1, z / 0.5) ** 3),
    ),
}


def test_every_activation_has_a_formula():
    assert activations.ACTIVATIONS.keys() <= ACTIVATIONS.keys()


each_activation = pytest.mark.parametrize(
    ("layer", "formula", "jacobian"), ACTIVATIONS.values(), ids=ACTIVATIONS
)


@pytest.mark.parametrize("dtype", DTYPES)
@each_activation
def test_activation_is_its_formula(backend, layer, formula, jacobian, dtype):
    z = (3 * np.random.default_rng(0).standard_normal((9, 5))).astype(dtype)
    y = Alone(backend, [layer], 9, 5, dtype).forward(z)
    assert y.dtype == dtype
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(y, formula(z.astype("float64")), rtol=tolerance, atol=tolerance)


@each_activation
def test_activation_turns_the_gradient_by_its_jacobian(backend, layer, formula, jacobian):
    rng = np.random.default_rng(1)
    z, dy = 2 * rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    alone = Alone(backend, [layer], 6, 5)
    alone.forward(z)
    expected = np.stack([jacobian(z[i]).T @ dy[i] for i in range(6)])
    np.testing.assert_allclose(alone.backward(dy), expected, rtol=1e-12, atol=1e-13)


def test_softmax_backward_has_a_minus(backend):
    # The notes' last line has Sⁱ(δᵢⱼ + Sʲ): the two differ by far more than rounding.
    rng = np.random.default_rng(2)
    z, dy = rng.standard_normal((1, 4)), rng.standard_normal((1, 4))
    alone = Alone(backend, [xn.Softmax()], 1, 4)
    s = alone.forward(z)[0]
    dz = alone.backward(dy)[0]
    np.testing.assert_allclose(dz, (np.diag(s) - np.outer(s, s)) @ dy[0], rtol=0, atol=1e-14)
    assert np.abs(dz - (np.diag(s) + np.outer(s, s)) @ dy[0]).max() > 0.01
    # A softmax's outputs add up to one whatever z is, so no dz changes all of them alike.
    assert abs(dz.sum()) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
@each_activation
def test_activation_of_extreme_inputs(backend, layer, formula, jacobian, dtype):
    """Values and gradients stay finite and right, and nothing overflows on the way."""
    info = np.finfo(dtype)
    half = float(info.max) / 2
    z = np.array(
        [
            [0.0, -0.0, 1.0],
            [1e4, -1e4, 0.0],
            [half, -half, 0.0],
            [1e4, 1e4, 1e4],
            [-half, -half, -half],
            [info.tiny, -info.tiny, info.smallest_subnormal],
            [88.7, -88.7, 710.0],
        ],
        dtype,
    )
    alone = Alone(backend, [layer], len(z), 3, dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        y = alone.forward(z)
    with np.errstate(over="ignore"):
        expected = formula(z.astype("float64"))
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(alone.backward(np.ones_like(z))).all()


@each_activation
@pytest.mark.parametrize("place", ["written over its input", "first in the network"])
def test_activation_gives_the_same_wherever_it_stands(backend, layer, formula, jacobian, place):
    z = np.random.default_rng(3).standard_normal((5, 4))
    if place == "first in the network":
        net = network(backend, [layer, xn.Linear(1)])
        net.load_state({"1.weight": np.ones((1, 4)), "1.bias": np.zeros(1)})
        y = on_host(backend, net.forward(backend.asarray(z), training=True))[:, 0]
        expected = formula(z).sum(axis=1)
    else:
        y = Alone(backend, [layer], 5, 4).forward(z)
        expected = formula(z)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)


def test_relu_passes_nothing_back_at_the_kink(backend):
    z = np.array([[0.0, -0.0, 1e-30, -1e-30]])
    for layer, expected in [(xn.ReLU(), [0, 0, 1, 0]), (xn.LeakyReLU(0.1), [0.1, 0.1, 1, 0.1])]:
        alone = Alone(backend, [layer], 1, 4)
        alone.forward(z)
        np.testing.assert_array_equal(alone.backward(np.ones((1, 4)))[0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [1e-10, 0.5, 3.0, 1e10])
def test_smooth_clip_ends_at_its_limit(backend, limit, dtype):
    z = np.array([[1e30, -1e30, 0.0, 1e-20 * limit]], dtype)
    y = Alone(backend, [xn.SmoothClip(limit)], 1, 4, dtype).forward(z)
    np.testing.assert_allclose(y, [[limit, -limit, 0.0, 1e-20 * limit]], rtol=1e-6)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_smooth_clip_wants_a_limit(limit):
    with pytest.raises(ValueError, match=f"limit is {limit}: give a finite number above 0"):
        xn.SmoothClip(limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_ignores_what_is_added_to_all(backend, dtype):
    z = np.random.default_rng(4).integers(-3, 4, (5, 4)).astype(dtype)
    alone = Alone(backend, [xn.Softmax()], 5, 4, dtype)
    # Whole numbers: z + 4096 is exact in float32 too.
    np.testing.assert_array_equal(alone.forward(z), alone.forward(z + 4096))


# -- batch norm ----


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_batch_norm_backward_is_the_lemma(backend, n, eps):
    """Per feature ∂x̂_a/∂x_b = (δ_ab − 1/N − x̂_a x̂_b / N) / √(σ² + ε), written out."""
    rng = np.random.default_rng(n)
    x, dy = rng.standard_normal((n, 3)), rng.standard_normal((n, 3))
    gamma, beta = rng.standard_normal(3), rng.standard_normal(3)
    sigma = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / sigma
    alone = Alone(backend, [xn.BatchNorm(eps=eps)], n, 3)
    alone.load({"1.weight": gamma, "1.bias": beta})
    np.testing.assert_allclose(alone.forward(x), gamma * x_hat + beta, rtol=0, atol=1e-13)

    dx = alone.backward(dy)
    for j in range(3):
        a = x_hat[:, j]
        jacobian = (np.eye(n) - 1 / n - np.outer(a, a) / n) / sigma[j]
        np.testing.assert_allclose(dx[:, j], jacobian.T @ (gamma[j] * dy[:, j]), atol=1e-12)
    d = gradients(alone.net)
    np.testing.assert_allclose(d["1.weight"], (dy * x_hat).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(d["1.bias"], dy.sum(axis=0), atol=1e-12)


def test_the_lemma_is_the_derivative():
    """The Jacobian above against differences of the formula, without the library."""
    x, eps, step = np.array([0.3, -1.0, 2.0, 0.5]), 0.1, 1e-6

    def normalise(x):
        return (x - x.mean()) / np.sqrt(x.var() + eps)

    x_hat = normalise(x)
    jacobian = (np.eye(4) - 1 / 4 - np.outer(x_hat, x_hat) / 4) / np.sqrt(x.var() + eps)
    for b, e in enumerate(np.eye(4)):
        difference = (normalise(x + step * e) - normalise(x - step * e)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, b], difference, rtol=0, atol=1e-9)


def test_batch_norm_normalises(backend):
    x = 5 + 3 * np.random.default_rng(5).standard_normal((200, 4))
    y = Alone(backend, [xn.BatchNorm(eps=1e-12)], 200, 4).forward(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, atol=1e-9)


def test_gamma_and_beta_can_undo_it(backend):
    """With γ = √(σ² + ε) and β = μ batch norm is the identity (notes, chapter 9)."""
    x = 5 + 3 * np.random.default_rng(6).standard_normal((20, 4))
    alone = Alone(backend, [xn.BatchNorm(eps=0.3)], 20, 4)
    alone.load({"1.weight": np.sqrt(x.var(axis=0) + 0.3), "1.bias": x.mean(axis=0)})
    np.testing.assert_allclose(alone.forward(x), x, rtol=0, atol=1e-12)


def test_running_statistics_are_of_all_batches(backend):
    rng = np.random.default_rng(7)
    batches = [2 + rng.standard_normal((n, 3)) for n in (6, 4, 2)]
    alone = Alone(backend, [xn.BatchNorm(momentum=0.25)], 6, 3)
    mean, variance = np.zeros(3), np.ones(3)
    for x in batches:
        alone.forward(x)
        mean = 0.75 * mean + 0.25 * x.mean(axis=0)
        variance = 0.75 * variance + 0.25 * x.var(axis=0, ddof=1)
    state = alone.net.state()
    np.testing.assert_allclose(state["1.running_mean"], mean, rtol=1e-13)
    np.testing.assert_allclose(state["1.running_var"], variance, rtol=1e-13)
    predicted = alone.forward(batches[0], training=False)
    expected = (batches[0] - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-12)
    # Prediction looks at the statistics and leaves them alone.
    np.testing.assert_array_equal(alone.net.state()["1.running_mean"], state["1.running_mean"])
    np.testing.assert_array_equal(alone.net.state()["1.running_var"], state["1.running_var"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_of_a_constant_feature(backend, dtype):
    # The variance is 0: only ε stands between it and a division by zero.
    x = np.repeat([[3.0, -2.0]], 4, axis=0).astype(dtype)
    alone = Alone(backend, [xn.BatchNorm()], 4, 2, dtype)
    np.testing.assert_allclose(alone.forward(x), 0, atol=1e-3)
    assert np.isfinite(alone.backward(np.ones((4, 2)))).all()


# -- linear layers ----


def test_linear_is_its_formula(backend):
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    w, b = rng.standard_normal((3, 4)), rng.standard_normal(3)
    alone = Alone(backend, [xn.Linear(3)], 6, 4)
    alone.load({"1.weight": w, "1.bias": b})
    np.testing.assert_allclose(alone.forward(x), x @ w.T + b, rtol=0, atol=1e-13)
    np.testing.assert_allclose(alone.backward(dy), dy @ w, rtol=0, atol=1e-13)
    d = gradients(alone.net)
    np.testing.assert_allclose(d["1.weight"], dy.T @ x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(d["1.bias"], dy.sum(axis=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("following", "bias", "has"),
    [
        ([xn.BatchNorm()], None, False),
        ([xn.BatchNorm(), xn.ReLU()], None, False),
        ([xn.BatchNorm()], True, True),
        ([xn.ReLU()], None, True),
        ([xn.ReLU(), xn.BatchNorm()], None, True),
        ([xn.ReLU()], False, False),
        ([], None, True),
    ],
)
def test_linear_has_no_idle_bias_unless_told(backend, following, bias, has):
    net = network(backend, [xn.Linear(3, bias=bias), *following, xn.Linear(2)])
    assert ("0.bias" in net.state()) is has


def test_a_bias_under_batch_norm_is_idle(backend):
    # Why it is left out: the mean takes it away again, and its gradient is nothing but rounding.
    net = network(backend, [xn.Linear(3, bias=True), xn.BatchNorm(), xn.Tanh(), xn.Linear(2)])
    state = draw_state(net, 0)
    net.load_state(state)
    rng = np.random.default_rng(9)
    x, y = net.prepare(rng.standard_normal((8, 4)), rng.standard_normal((8, 2)))
    before = float(on_host(backend, net.passes.loss_and_gradient(x, y)))
    d = gradients(net)
    assert np.abs(d["0.bias"]).max() < 1e-14 < 1e-3 < np.abs(d["0.weight"]).max()
    net.load_state(state | {"0.bias": state["0.bias"] + 10})
    assert float(on_host(backend, net.passes.loss_and_gradient(x, y))) == pytest.approx(
        before, abs=1e-11
    )


@pytest.mark.parametrize(
    "first", [[], [xn.Dropout(0.5)], [xn.Tanh()]], ids=["nothing", "dropout", "tanh"]
)
def test_nobody_computes_the_gradient_of_the_network_s_input(backend, monkeypatch, first):
    """The first layer with parameters is not asked for dx, and layers before it for nothing."""
    wanted, backwards = [], []
    real_buffers, real_backward = xn.Linear.buffers, xn.Linear.backward

    def buffers(self, new, x, overwrite, needs_dx):
        wanted.append(needs_dx)
        b = real_buffers(self, new, x, overwrite, needs_dx)
        assert (b.dx is not None) is needs_dx
        return b

    def backward(self, dy, b):
        dx = real_backward(self, dy, b)
        backwards.append(dx is not None)
        return dx

    def refuse(self, dy, b):
        pytest.fail("a layer before the first parameters was run backward")

    monkeypatch.setattr(xn.Linear, "buffers", buffers)
    monkeypatch.setattr(xn.Linear, "backward", backward)
    for layer in first:
        monkeypatch.setattr(type(layer), "backward", refuse)
    net = network(backend, [*first, xn.Linear(3), xn.Sigmoid(), xn.Linear(2)])
    net.passes.loss_and_gradient(*net.prepare(np.ones((2, 4)), np.ones((2, 2))))
    assert wanted == [False, True]
    assert backwards == [True, False]


# -- dropout ----


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_drops_its_share_and_keeps_the_mean(backend, p, dtype):
    n, m = 200, 50
    y = Alone(backend, [xn.Dropout(p)], n, m, dtype).forward(np.ones((n, m)))
    alive = y != 0
    # Those that live are all scaled by 1 / (1 − p); p is held in steps of 2⁻¹⁶.
    np.testing.assert_allclose(y[alive], 1 / (1 - p), rtol=1e-3)
    deviation = np.sqrt(p * (1 - p) / (n * m))
    assert abs(alive.mean() - (1 - p)) <= 5 * deviation
    assert abs(y.mean() - 1) <= 5 * deviation / (1 - p) + 1e-3 * p


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_dropout_drops_the_gradient_alike(backend, p):
    rng = np.random.default_rng(10)
    x, dy = rng.uniform(1, 2, (9, 7)), rng.standard_normal((9, 7))
    alone = Alone(backend, [xn.Dropout(p)], 9, 7)
    mask = alone.forward(x) / x
    np.testing.assert_allclose(alone.backward(dy), dy * mask, rtol=1e-14)
    assert 0 < (mask == 0).sum() < mask.size


def test_prediction_drops_nothing(backend):
    x = np.random.default_rng(11).standard_normal((6, 5))
    alone = Alone(backend, [xn.Dropout(0.9)], 6, 5)
    np.testing.assert_array_equal(alone.forward(x, training=False), x)


def test_dropout_s_mask_is_fresh_in_each_step_and_layer_and_the_seed_s_alone(backend):
    """The notes' chapter 5.1.1 sets the seed inside: one mask for ever."""

    def masks(seed):
        layers = [xn.Dropout(0.5), xn.Linear(64), xn.Dropout(0.5), xn.Linear(64)]
        net = network(backend, layers, n_features=64, random_state=seed)
        trainer = xn.Trainer(net, xn.SGD(1e-12))
        found = []
        for _ in range(3):
            # The identity through an identity: what comes out shows both masks.
            net.load_state(
                {"1.weight": np.eye(64), "1.bias": np.zeros(64)}
                | {"3.weight": np.eye(64), "3.bias": np.zeros(64)}
            )
            trainer.step(np.ones((32, 64)), np.zeros((32, 64)))
            d = gradients(net)
            found += [d["1.weight"], d["3.weight"]]
        return found

    first, again, other = masks(0), masks(0), masks(1)
    assert len(first) == 6
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    for i, mask in enumerate(first):
        assert all((mask != earlier).any() for earlier in first[:i])


def test_dropout_s_masks_differ_between_seeds_and_replicas_in_one_step(backend):
    def mask(seed):
        net = network(
            backend,
            [xn.Dropout(0.5), xn.Linear(2)],
            n_features=64,
            members=2,
            random_state=seed,
        )
        net.parameters[...] = 1.0
        # Each output is the number of inputs that live, times two, plus one.
        return on_host(backend, net.forward(backend.asarray(np.ones((32, 64))), training=True))

    one, other = mask(0), mask(1)
    assert one.shape == (2, 32, 2)
    for a, b in [(one, other), (one[0], one[1])]:
        assert (a != b).mean() > 0.5


# -- sharing memory ----


@each_layer
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_layer_writes_over_the_caller_s_data(backend, layer, dtype):
    rng = np.random.default_rng(12)
    X, Y = rng.standard_normal((12, 4)).astype(dtype), rng.standard_normal((12, 2)).astype(dtype)
    net = network(backend, [layer, xn.Linear(2)], dtype=dtype)
    x, y = backend.asarray(X.copy()), backend.asarray(Y.copy())
    trainer = xn.Trainer(net)
    net.forward(x, training=True)
    net.forward(x)
    net.passes.loss_and_gradient(x, y)
    trainer.step(x, y)
    trainer.fit(x, y, batch_size=12, epochs=2, shuffle=False, validation_data=(x, y))
    net.predict(x)
    net.evaluate(x, y)
    np.testing.assert_array_equal(on_host(backend, x), X)
    np.testing.assert_array_equal(on_host(backend, y), Y)


#: Batch norm can't stand behind members that share weights.
NEIGHBOURS = sorted({*itertools.product(EVERY_LAYER, repeat=2)} - {("ensemble", "batch_norm")})


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_no_layer_writes_over_what_its_neighbour_needs(backend, first, second):
    """Every pair of neighbours, each with the memory it would have alone.

    The layers' own arrays are made anew for each call: a stack where nothing is shared gives the
    gradients that a stack where it is must give too.
    """
    layers = [xn.Linear(4), EVERY_LAYER[first], EVERY_LAYER[second], xn.Linear(2)]
    shared = network(backend, layers)
    apart = network(backend, layers)
    for layer in apart.layers:
        _share_nothing(layer)
    state = draw_state(shared, 13)
    rng = np.random.default_rng(13)
    X, Y = rng.standard_normal((6, 4)), rng.standard_normal((6, 2))
    for net in (shared, apart):
        net.load_state(state)
        net.passes.loss_and_gradient(*net.prepare(X, Y))
    theirs = gradients(apart)
    for name, ours in gradients(shared).items():
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=1e-14, err_msg=name)
    assert any(np.abs(value).max() > 1e-3 for value in theirs.values())


def _share_nothing(layer):
    """Make a layer keep its hands off its neighbours' arrays: it is shown none but copies."""
    kind = type(layer)

    def buffers(new, x, overwrite, needs_dx):
        return kind.buffers(layer, new, None, False, needs_dx)

    def forward(x, b):
        return kind.forward(layer, x.copy(), b).copy()

    def backward(dy, b):
        dx = kind.backward(layer, dy.copy(), b)
        return None if dx is None else dx.copy()

    layer.buffers, layer.forward, layer.backward = buffers, forward, backward


def test_a_short_batch_after_a_long_one(backend):
    """Both use the same memory; what the longer one left there must not show."""
    layers = [xn.Linear(5), xn.BatchNorm(), xn.ReLU(), xn.Linear(3), xn.Softmax(), xn.Linear(2)]
    rng = np.random.default_rng(14)
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    used, fresh = network(backend, layers), network(backend, layers)
    state = draw_state(used, 14)
    used.load_state(state)
    used.passes.loss_and_gradient(*used.prepare(X, Y))
    used.load_state(state)
    fresh.load_state(state)
    losses = [net.passes.loss_and_gradient(*net.prepare(X[:4], Y[:4])) for net in (used, fresh)]
    assert on_host(backend, losses[0]) == on_host(backend, losses[1])
    expected = gradients(fresh)
    for name, value in gradients(used).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_leading_axes_are_free(backend):
    """Three networks in one, with weights (3, out, in), compute what each computes alone."""
    layers = [
        xn.Linear(6),
        xn.BatchNorm(),
        xn.ReLU(),
        xn.Linear(5),
        xn.Sigmoid(),
        xn.Linear(5),
        xn.Softmax(),
        xn.Linear(5),
        xn.LeakyReLU(),
        xn.Linear(4),
        xn.Tanh(),
        xn.Linear(3),
    ]
    together = network(backend, layers, loss="softmax_cross_entropy", members=3)
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((7, 4)), rng.integers(3, size=7)
    losses = on_host(backend, together.passes.loss_and_gradient(*together.prepare(X, y)))
    assert losses.shape == (3,)
    assert len(set(losses)) == 3
    for i in range(3):
        single = network(backend, layers, loss="softmax_cross_entropy")
        single.parameters[...] = together.parameters[i]
        loss = on_host(backend, single.passes.loss_and_gradient(*single.prepare(X, y)))
        assert losses[i] == pytest.approx(float(loss), rel=1e-13)
        for ours, theirs in [
            (together.gradients, single.gradients),
            (together.statistics, single.statistics),
        ]:
            np.testing.assert_allclose(
                on_host(backend, ours)[i], on_host(backend, theirs), rtol=0, atol=1e-14
            )


# -- descriptions ----


@pytest.mark.parametrize(
    "layer",
    [
        *EVERY_LAYER.values(),
        xn.Linear(3, bias=False, init="xavier"),
        xn.Linear(3, bias=True, init=xn.Normal(0.1)),
        xn.Linear(3, init=xn.He(slope=0.2)),
        xn.BatchNorm(momentum=0.5, eps=1e-2),
        xn.OneHot([(2, 3), (0, 2)]),
        xn.Embedding({2: 3, 0: 2}, 4, init=xn.Normal(0.1)),
        xn.EnsembleLinear(3, 5, shared=False, bias=False, init=xn.He()),
        xn.PeriodicEmbedding([2, 0], 4, 16, 0.1, relu=False, phase=True, dense=True),
        xn.SmoothClip(0.7),
    ],
    ids=repr,
)
def test_config_makes_the_layer_again(layer):
    again = Layer.registry.build(layer.config())
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    assert again.config() == layer.config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xn.Linear(0), "n_outputs is 0: give 1 or more"),
        (lambda: xn.Linear(-3), "n_outputs is -3: give 1 or more"),
        (lambda: xn.Linear(3, init="hee"), "init is 'hee': give one of auto, normal, he"),
        (lambda: xn.BatchNorm(momentum=0.0), r"momentum is 0.0: give a number in \(0, 1\]"),
        (lambda: xn.BatchNorm(momentum=1.1), "momentum is 1.1"),
        (lambda: xn.BatchNorm(momentum=float("nan")), "momentum is nan"),
        (lambda: xn.BatchNorm(eps=0.0), "eps is 0.0: give a finite number above 0"),
        (lambda: xn.BatchNorm(eps=float("inf")), "eps is inf"),
        (lambda: xn.Dropout(1.0), r"p is 1.0: give the probability of dropping, in \[0, 1\)"),
        (lambda: xn.Dropout(-0.1), "p is -0.1"),
        (lambda: xn.Dropout(float("nan")), "p is nan"),
        (lambda: xn.LeakyReLU(1.0), r"negative_slope is 1.0: give a number in \[0, 1\)"),
        (lambda: xn.LeakyReLU(-0.1), "negative_slope is -0.1"),
    ],
)
def test_a_bad_value_is_refused_with_what_to_give(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("n_outputs", [2.0, "2", None, True])
def test_linear_wants_a_whole_number(n_outputs):
    with pytest.raises(TypeError, match=r"n_outputs is .*: give a whole number"):
        xn.Linear(n_outputs)


def test_linear_takes_numpy_s_whole_numbers():
    assert xn.Linear(np.int64(3)).config()["n_outputs"] == 3


def test_given_layers_stay_plain_and_serve_two_networks(backend):
    layers = [xn.Linear(3), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.5), xn.Linear(2)]
    before = list(map(repr, layers))
    one = network(backend, layers)
    two = network(backend, [*layers, xn.Tanh(), xn.Linear(1)], n_features=7)
    assert list(map(repr, layers)) == before
    assert all(not layer.parameters and layer.n_inputs == 0 for layer in layers)
    assert not any(a is b for a in layers for b in [*one.layers, *two.layers])
    assert one.state()["0.weight"].shape == (3, 4)
    assert two.state()["0.weight"].shape == (3, 7)
    kept = one.state()
    two.load_state(draw_state(two, 0))
    for name, value in one.state().items():
        np.testing.assert_array_equal(value, kept[name])


@each_layer
def test_a_setting_is_fixed_once_the_layer_is_in_a_network(layer):
    net = network("cpu", [layer, xn.Linear(3)])
    before = net.config()
    for name in layer.config().keys() - {"type"}:
        with pytest.raises(AttributeError, match=f"{name} of a .* can't be changed within a net"):
            setattr(net.layers[0], name, 0.3)
    net.layers[0].note = "what is no setting can be"
    assert net.config() == before


def test_one_layer_object_twice_in_a_network_is_two_layers(backend):
    layer = xn.Linear(4)
    net = network(backend, [layer, xn.Tanh(), layer])
    state = net.state()
    assert (state["0.weight"] != state["2.weight"]).any()


def test_a_layer_of_one_s_own(backend):
    """The contract in the module's docstring is enough to add a layer."""

    class Square(Layer):
        keeps_output = False

        def buffers(self, new, x, overwrite, needs_dx):
            b = super().buffers(new, x, False, needs_dx)
            b.x = new.rows("x", self.n_inputs)
            return b

        def forward(self, x, b):
            xp = self.kernels.xp
            xp.copyto(b.x, x)
            xp.multiply(x, x, out=b.y)
            return b.y

        def backward(self, dy, b):
            xp = self.kernels.xp
            xp.multiply(b.x, 2.0, out=b.scratch)
            xp.multiply(dy, b.scratch, out=dy)
            return dy

    net = network(backend, [xn.Linear(3), Square(), xn.Tanh(), xn.Linear(2)])
    rng = np.random.default_rng(16)
    X, Y = rng.standard_normal((5, 4)), rng.standard_normal((5, 2))
    assert xn.check_gradients(net, X, Y) < 1e-7
