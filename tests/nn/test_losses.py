"""Losses: value and gradient, at moderate and at huge logits, and what goes with each loss."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracle import on_host
from sklearn.metrics import mean_pinball_loss, mean_poisson_deviance

import xpnet as xn
from xpnet.backends.output_losses import OutputLoss
from xpnet.nn.buffers import Workspace
from xpnet.nn.loss import Loss
from xpnet.nn.losses import Huber, MeanSquaredError, Quantile, SoftmaxCrossEntropy

LOSSES = Loss.registry.own

DTYPES = ["float32", "float64"]

#: The backend is the same for all of a test's examples; nothing is timed.
property_test = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def gradient_of(loss, kernels, z, y, buffers, weights=None):
    """Have a loss computed, and return its gradient."""
    loss.compute(kernels, z, y, 1 / z.shape[-2] if weights is None else weights, buffers)
    return buffers.dz


def measure(backend, name, z, y, dtype="float64", **options):
    """Return a loss's value and gradient for logits and labels on the host."""
    n, m = np.shape(z)
    loss = LOSSES[name](**options)
    dtype = np.dtype(dtype)
    targets = backend.asarray(loss.targets(np.asarray(y), m, dtype))
    b = loss.buffers(Workspace(backend, (), dtype, n).allocator("loss", n), m)
    # Not only must the result be finite: nothing may overflow on the way.
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        dz = gradient_of(loss, backend.kernels, backend.asarray(np.array(z, dtype)), targets, b)
    assert dz.dtype == b.loss.dtype == dtype
    return float(on_host(backend, b.loss)), on_host(backend, dz)


def assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# -- moderate logits: the formulas of the notes, written down naively in float64 ----


def naive_softmax(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    hot = np.eye(z.shape[1])[y]
    return -np.log((p * hot).sum(axis=1)).mean(), (p - hot) / len(z)


def naive_sigmoid(z, y):
    a = 1 / (1 + np.exp(-z))
    return -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum() / len(z), (a - y) / len(z)


def naive_square(z, y):
    return ((z - y) ** 2).sum() / len(z), 2 * (z - y) / len(z)


@st.composite
def logits(draw, least_outputs=1):
    shape = draw(st.tuples(st.integers(1, 6), st.integers(least_outputs, 5)))
    return draw(arrays(np.float64, shape, elements=st.floats(-15, 15)))


@property_test
@given(z=logits(least_outputs=2), seed=st.integers(0, 999))
def test_softmax_cross_entropy_is_its_formula(backend, z, seed):
    y = np.random.default_rng(seed).integers(z.shape[1], size=len(z))
    loss, dz = measure(backend, "softmax_cross_entropy", z, y)
    expected, gradient = naive_softmax(z, y)
    assert_close(loss, expected, 1e-12)
    assert_close(dz, gradient, 1e-13)


@property_test
@given(z=logits(), seed=st.integers(0, 999))
def test_sigmoid_cross_entropy_is_its_formula(backend, z, seed):
    y = np.random.default_rng(seed).integers(2, size=z.shape)
    loss, dz = measure(backend, "sigmoid_cross_entropy", z, y)
    expected, gradient = naive_sigmoid(z, y)
    # log(1 − a) loses digits as a nears 1: at z = 15 the naive formula itself is off by 1e-10.
    assert_close(loss, expected, 1e-9)
    assert_close(dz, gradient, 1e-13)


@property_test
@given(z=logits(), seed=st.integers(0, 999))
def test_squared_error_is_its_formula(backend, z, seed):
    y = np.random.default_rng(seed).standard_normal(z.shape)
    loss, dz = measure(backend, "mean_squared_error", z, y)
    expected, gradient = naive_square(z, y)
    assert_close(loss, expected, 1e-13)
    assert_close(dz, gradient, 1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_float32_is_float64_rounded(backend, name):
    rng = np.random.default_rng(0)
    z = (4 * rng.standard_normal((50, 3))).astype("float32")
    y = {
        "softmax_cross_entropy": rng.integers(3, size=50),
        "sigmoid_cross_entropy": rng.integers(2, size=(50, 3)),
        "mean_squared_error": rng.standard_normal((50, 3)).astype("float32"),
        "half_squared_error": rng.standard_normal((50, 3)).astype("float32"),
        "poisson_deviance": rng.integers(4, size=(50, 3)),
        "huber": rng.standard_normal((50, 3)).astype("float32"),
        "quantile": rng.standard_normal((50, 3)).astype("float32"),
    }[name]
    loss, dz = measure(backend, name, z, y, "float32")
    exact, gradient = measure(backend, name, z, y, "float64")
    assert loss == pytest.approx(exact, rel=1e-6)
    np.testing.assert_allclose(dz, gradient, rtol=1e-5, atol=1e-8)


@property_test
@given(z=logits(), seed=st.integers(0, 999))
def test_half_the_squared_error_is_half(backend, z, seed):
    y = np.random.default_rng(seed).standard_normal(z.shape)
    loss, dz = measure(backend, "half_squared_error", z, y)
    expected, gradient = naive_square(z, y)
    assert_close(loss, expected / 2, 1e-13)
    assert_close(dz, gradient / 2, 1e-13)


@property_test
@given(z=logits(), seed=st.integers(0, 999))
def test_poisson_is_half_its_deviance(backend, z, seed):
    z = z / 3
    y = np.random.default_rng(seed).integers(4, size=z.shape)
    loss, dz = measure(backend, "poisson_deviance", z, y)
    deviance = mean_poisson_deviance(y.ravel(), np.exp(z).ravel()) * z.shape[1]
    assert_close(loss, deviance / 2, 1e-10)
    assert_close(dz, (np.exp(z) - y) / len(z), 1e-12)


@property_test
@given(z=logits(), seed=st.integers(0, 999), delta=st.floats(0.1, 5))
def test_huber_is_its_formula(backend, z, seed, delta):
    y = np.random.default_rng(seed).standard_normal(z.shape)
    loss, dz = measure(backend, "huber", z, y, delta=delta)
    d = np.abs(z - y)
    terms = np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))
    assert_close(loss, terms.sum() / len(z), 1e-12)
    assert_close(dz, np.clip(z - y, -delta, delta) / len(z), 1e-13)


@property_test
@given(z=logits(), seed=st.integers(0, 999), q=st.floats(0.05, 0.95))
def test_quantile_is_the_pinball_loss(backend, z, seed, q):
    y = np.random.default_rng(seed).standard_normal(z.shape)
    loss, dz = measure(backend, "quantile", z, y, q=q)
    expected = mean_pinball_loss(y.ravel(), z.ravel(), alpha=q) * z.shape[1]
    assert_close(loss, expected, 1e-12)
    assert_close(dz, np.where(z > y, 1 - q, -q) / len(z), 1e-13)


@property_test
@given(z=logits(least_outputs=2), seed=st.integers(0, 999), smoothing=st.floats(0, 0.99))
def test_smoothed_labels_are_mixed_with_all_alike(backend, z, seed, smoothing):
    m = z.shape[1]
    y = np.random.default_rng(seed).integers(m, size=len(z))
    loss, dz = measure(backend, "softmax_cross_entropy", z, y, label_smoothing=smoothing)
    target = (1 - smoothing) * np.eye(m)[y] + smoothing / m
    logs = z - z.max(axis=1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
    assert_close(loss, -(target * logs).sum() / len(z), 1e-11)
    assert_close(dz, (np.exp(logs) - target) / len(z), 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["huber", "quantile"])
def test_errors_that_are_huge_stay_finite(backend, name, dtype):
    loss, dz = measure(backend, name, [[1e30], [-1e30]], [0, 0], dtype)
    assert loss == pytest.approx({"huber": 1e30, "quantile": 0.5e30}[name], rel=1e-6)
    np.testing.assert_allclose(dz, [[0.5], [-0.5]] if name == "huber" else [[0.25], [-0.25]])


@pytest.mark.parametrize("name", ["huber", "quantile", "mean_squared_error"])
def test_what_is_no_number_stays_none(backend, name):
    z, y = backend.asarray(np.array([[np.nan]])), backend.asarray(np.zeros((1, 1)))
    loss = LOSSES[name]()
    b = loss.buffers(Workspace(backend, (), np.dtype(float), 1).allocator("loss", 1), 1)
    with backend.active():
        dz = on_host(backend, gradient_of(loss, backend.kernels, z, y, b))
    assert np.isnan([dz.item(), on_host(backend, b.loss).item()]).all()


def gradient_error(loss, n_outputs=3):
    rng = np.random.default_rng(3)
    net = xn.Network(
        [xn.Linear(6), xn.Tanh(), xn.Linear(n_outputs)],
        loss=loss,
        n_features=4,
        device="cpu",
        dtype="float64",
    )
    y = rng.integers(n_outputs, size=12) if net.loss.of_classes else rng.normal(size=(12, 3))
    return float(xn.check_gradients(net, rng.normal(size=(12, 4)), y))


@pytest.mark.parametrize(
    "loss", [Huber(0.7), Quantile(0.8), SoftmaxCrossEntropy(label_smoothing=0.2)], ids=repr
)
def test_gradients_are_derivatives(loss):
    assert gradient_error(loss) < 1e-6


@pytest.mark.parametrize(
    "loss",
    [Huber(0.7), Quantile(0.8), SoftmaxCrossEntropy(label_smoothing=0.2), *LOSSES],
    ids=repr,
)
def test_members_and_weights(backend, loss):
    """Several networks' losses at once are each one's; a weight counts as repetitions."""
    rng = np.random.default_rng(1)
    k, n, m = 3, 6, 4
    loss = LOSSES[loss]() if isinstance(loss, str) else loss
    z, y = rng.normal(size=(k, n, m)), rng.integers(2, size=(n, m)).astype(float)
    y = y[:, 0] if loss.name == "softmax_cross_entropy" else y
    targets = backend.asarray(loss.targets(y, m, np.dtype(float)))
    weights = backend.asarray(np.array([[0.1], [0.3], [0.2], [0.2], [0.0], [0.2]]))

    def run(z, leading_shape):
        workspace = Workspace(backend, leading_shape, np.dtype(float), n)
        b = loss.buffers(workspace.allocator("loss", n), m)
        dz = gradient_of(loss, backend.kernels, backend.asarray(z), targets, b, weights)
        return on_host(backend, b.loss), on_host(backend, dz)

    found = run(z, (k,))
    for i in range(k):
        expected = run(z[i], ())
        assert_close(found[0][i], expected[0], 1e-13)
        assert_close(found[1][i], expected[1], 1e-14)


def weighed(backend, name, z, y, weights):
    """Return a weighted loss's value and gradient, by the trainer's way."""
    loss, kernels = LOSSES[name](), backend.kernels
    n, m = z.shape
    b = loss.buffers(Workspace(backend, (), np.dtype(float), n).allocator("loss", n), m)
    empty = {k: backend.xp.empty((1, 1)) for k in ("total", "safe", "decay")}
    work = SimpleNamespace(example_weight=backend.xp.empty((n, 1)), **empty)
    kernels.normalize_weights(backend.asarray(np.array(weights, float)[:, None]), 0.5, work)
    targets = backend.asarray(loss.targets(np.asarray(y), m, np.dtype(float)))
    dz = gradient_of(loss, kernels, backend.asarray(z), targets, b, work.example_weight)
    decay = on_host(backend, work.decay).item()
    return float(on_host(backend, b.loss)), on_host(backend, dz), decay


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_is_a_number_of_repetitions(backend, name):
    rng = np.random.default_rng(0)
    z, y, weights = rng.normal(size=(6, 2)), rng.integers(2, size=(6, 2)), [0, 1, 3, 2, 0, 1]
    y = y[:, 0] if name == "softmax_cross_entropy" else y
    loss, dz, decay = weighed(backend, name, z, y, weights)
    again = np.repeat(np.arange(6), weights)
    expected, gradient = measure(backend, name, z[again], y[again])
    assert loss == pytest.approx(expected, rel=1e-13)
    together = np.zeros_like(z)
    np.add.at(together, again, gradient)
    assert_close(dz, together, 1e-14)
    assert decay == pytest.approx(0.5 / 7)


def test_a_batch_without_weight_has_no_gradient(backend):
    loss, dz, decay = weighed(
        backend, "mean_squared_error", np.ones((3, 1)), np.zeros(3), [0, 0, 0]
    )
    assert (loss, decay) == (0.0, 0.0)
    assert not dz.any()


def test_sigmoid_of_one_output_is_softmax_of_two(backend):
    # log σ(z) is the log of softmax((0, z))₁: two kernels, one value.
    z = np.array([[-30.0], [-2.0], [0.0], [0.7], [40.0]])
    y = np.array([0, 1, 1, 0, 1])
    loss, dz = measure(backend, "sigmoid_cross_entropy", z, y)
    both = np.hstack([np.zeros_like(z), z])
    expected, gradient = measure(backend, "softmax_cross_entropy", both, y)
    assert loss == pytest.approx(expected, rel=1e-14)
    assert_close(dz[:, 0], gradient[:, 1], 1e-15)


# -- huge logits: the page's code gives log(0) or an overflow here ----

HUGE_SIGMOID = [
    # z, y, loss and gradient, by hand: log(1 + exp(−|z|)) is 0 to all digits here.
    (1e4, 1, 0.0, 0.0),
    (1e4, 0, 1e4, 1.0),
    (-1e4, 0, 0.0, 0.0),
    (-1e4, 1, 1e4, -1.0),
    (1e30, 0, 1e30, 1.0),
    (-1e30, 1, 1e30, -1.0),
    (0.0, 1, np.log(2), -0.5),
    (0.0, 0, np.log(2), 0.5),
    # exp(−30) is below float32's rounding of 1, yet it is the loss: log1p keeps it.
    (30.0, 1, np.exp(-30.0), -np.exp(-30.0)),
    (-30.0, 0, np.exp(-30.0), np.exp(-30.0)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("z", "y", "loss", "dz"), HUGE_SIGMOID)
def test_sigmoid_cross_entropy_of_huge_logits(backend, z, y, loss, dz, dtype):
    found, gradient = measure(backend, "sigmoid_cross_entropy", [[z]], [y], dtype)
    assert found == pytest.approx(loss, rel=1e-6, abs=1e-37)
    # The gradient is a difference, σ(z) − y: right to the rounding of 1, and finite.
    assert gradient[0, 0] == pytest.approx(dz, rel=1e-6, abs=float(np.finfo(dtype).eps))


HUGE_SOFTMAX = [
    # One-hot dominance: one logit is above all others.
    ([1e4, 0.0, -1e4], 0, 0.0, [0, 0, 0]),
    ([1e4, 0.0, -1e4], 1, 1e4, [1, -1, 0]),
    ([1e4, 0.0, -1e4], 2, 2e4, [1, 0, -1]),
    # Huge and equal: the differences are 0, so it is as if all were 0.
    ([1e4, 1e4, 1e4], 1, np.log(3), [1 / 3, -2 / 3, 1 / 3]),
    ([-1e4, -1e4, -1e4], 1, np.log(3), [1 / 3, -2 / 3, 1 / 3]),
    ([1e30, 1e30], 0, np.log(2), [-0.5, 0.5]),
    ([1e4, 1e4, -1e4], 0, np.log(2), [-0.5, 0.5, 0]),
    ([1e4, 1e4, -1e4], 2, 2e4 + np.log(2), [0.5, 0.5, -1]),
    ([1e30, -1e30], 1, 2e30, [1, -1]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("z", "y", "loss", "dz"), HUGE_SOFTMAX)
def test_softmax_cross_entropy_of_huge_logits(backend, z, y, loss, dz, dtype):
    found, gradient = measure(backend, "softmax_cross_entropy", [z], [y], dtype)
    assert found == pytest.approx(loss, rel=1e-6, abs=1e-37)
    np.testing.assert_allclose(gradient[0], dz, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_one_hopeless_example_among_many(backend, name, dtype):
    """A batch with both kinds of logits: the mean is that of float64, and the others count on."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((32, 3))
    z[5] = [1e4, -1e4, 0]
    y = rng.integers(3, size=32)
    y[5] = 1
    if name == "sigmoid_cross_entropy":
        y = np.eye(3)[y]
        terms = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
        expected = terms.sum() / 32
    else:
        shifted = z - z.max(axis=1, keepdims=True)
        expected = (
            np.log(np.exp(shifted).sum(axis=1)) - np.take_along_axis(shifted, y[:, None], 1)[:, 0]
        ).mean()
    loss, dz = measure(backend, name, z, y, dtype)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(dz).all()
    assert (np.abs(dz).sum(axis=1) > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_probabilities_of_huge_logits(backend, loss, dtype):
    z = np.array(
        [[1e4, -1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [0, 0, 0], [3, -2, 0.5]], dtype
    )
    # With the identity as data, the logits are Wᵀ.
    net = xn.Network(
        [xn.Linear(3, bias=False)], loss=loss, n_features=5, device=backend, dtype=dtype
    )
    net.load_state({"0.weight": z.T})
    p = net.predict_proba(np.eye(5, dtype=dtype))
    assert p.shape == (5, 3)
    assert p.dtype == dtype
    assert ((p >= 0) & (p <= 1)).all()
    rounding = 4 * np.finfo(dtype).eps
    if loss == "softmax_cross_entropy":
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=rounding)
        expected = np.exp(z.astype("float64") - z.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
    else:
        e = np.exp(-np.abs(z.astype("float64")))
        expected = np.where(z >= 0, 1, e) / (1 + e)
    np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-37)


@property_test
@given(z=arrays(np.float32, (4, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_whatever_the_logits_nothing_is_nan(backend, z):
    y = np.array([0, 1, 2, 0])
    for name, labels in [("softmax_cross_entropy", y), ("sigmoid_cross_entropy", np.eye(3)[y])]:
        loss, dz = measure(backend, name, z, labels, "float32")
        assert np.isfinite(loss)
        assert loss >= 0
        assert np.isfinite(dz).all()
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            probabilities = LOSSES[name]().probabilities(backend.kernels, backend.asarray(z.copy()))
        assert np.isfinite(on_host(backend, probabilities)).all()


# -- what goes with a loss ----


def decided(backend, name, z):
    return on_host(backend, LOSSES[name]().decide(backend.xp, backend.asarray(np.array(z))))


def test_decide(backend):
    z = [[0.1, 2.0, -1.0], [5.0, -5.0, 4.9], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(decided(backend, "softmax_cross_entropy", z), [1, 0, 0])
    np.testing.assert_array_equal(
        # σ(z) ≥ 1/2 where z ≥ 0
        decided(backend, "sigmoid_cross_entropy", z),
        [[1, 1, 0], [1, 0, 1], [1, 1, 1]],
    )
    np.testing.assert_array_equal(decided(backend, "mean_squared_error", z), z)


@pytest.mark.parametrize(
    ("name", "z", "y", "error_sum", "error_count"),
    [
        ("softmax_cross_entropy", [[2, 1], [0, 3], [1, 0]], [0, 0, 0], 1, 3),
        ("sigmoid_cross_entropy", [[2], [-1], [0.5], [-3]], [1, 1, 0, 0], 2, 4),
        # Of several answers an example has right all or none.
        ("sigmoid_cross_entropy", [[2, -1], [-1, -1], [3, 3]], [[1, 0], [1, 1], [1, 0]], 2, 3),
        # Σ (z − y)² = 1 + 4, and around the mean 2 of y it is 1 + 0 + 1.
        ("mean_squared_error", [[1], [3], [1]], [1, 2, 3], 5, 2),
        ("huber", [[1], [3], [1]], [1, 2, 3], 5, 2),
        # Half of Σ |y − z| = 1 + 2, and around the median 2 of y half of 1 + 0 + 7.
        ("quantile", [[1], [3], [7]], [1, 2, 9], 1.5, 4),
    ],
)
def test_mistakes(backend, name, z, y, error_sum, error_count):
    loss = LOSSES[name]()
    z = np.array(z, np.float64)
    targets = backend.asarray(loss.targets(np.array(y), z.shape[1], z.dtype))
    found = on_host(backend, loss.error_sum(backend.xp, backend.asarray(z), targets))
    assert float(found) == error_sum
    assert loss.error_count(backend.xp, targets) == error_count


def test_error_is_the_share_of_wrong_examples(backend):
    """The notes' chapter 4 has ε = 1 where y = ŷ: that is the accuracy."""
    net = xn.Network(
        [xn.Linear(2, bias=False)], loss="softmax_cross_entropy", n_features=4, device=backend
    )
    z = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    net.load_state({"0.weight": np.ascontiguousarray(z.T)})
    assert net.evaluate(np.eye(4), [0, 0, 1, 1])["error"] == 0.25
    assert net.evaluate(np.eye(4), [0, 0, 1, 0])["error"] == 0.0


def test_squared_error_has_no_probabilities(backend):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, device=backend)
    with pytest.raises(ValueError, match="mean_squared_error has no probabilities: use predict"):
        net.predict_proba(np.zeros((1, 2)))


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [7, 10])
def test_a_quantile_s_error_is_its_share_of_the_best_constant_s_loss(backend, n, q):
    draw = np.random.default_rng(0)
    y, z = draw.standard_normal((2, n, 1))
    loss = Quantile(q)
    targets = backend.asarray(loss.targets(y, 1, y.dtype))
    total = float(on_host(backend, loss.error_sum(backend.xp, backend.asarray(z), targets)))
    # One of the values is the best constant; D² of scikit-learn 1.7 compares with another one.
    constants = (mean_pinball_loss(y, np.full_like(y, c), alpha=q) for c in y[:, 0])
    expected = mean_pinball_loss(y, z, alpha=q) / min(constants)
    assert total / loss.error_count(backend.xp, targets) == pytest.approx(expected, rel=1e-12)


def test_a_quantile_is_learnt(backend):
    y = np.random.default_rng(0).exponential(size=(1000, 1))
    net = xn.Network([xn.Linear(1, bias=True)], loss=Quantile(0.8), n_features=1, device=backend)
    trainer = xn.Trainer(net, xn.SGD(xn.Exponential(1.0, decay=0.99, per="step")))
    for _ in range(500):
        trainer.step(np.zeros((1000, 1)), y)
    predicted = float(net.predict(np.zeros((1, 1)))[0])
    assert predicted == pytest.approx(np.quantile(y, 0.8), abs=0.03)


# -- options ----


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (Huber, {"delta": 0.0}, ValueError, "delta is 0.0: give a finite number above 0"),
        (Huber, {"delta": "wide"}, TypeError, "delta is 'wide': give a number"),
        (Huber, {"beta": 1.0}, TypeError, "'beta'"),
        (Quantile, {"q": 1.0}, ValueError, "q is 1.0: give a number between 0 and 1"),
        (Quantile, {"q": float("nan")}, ValueError, "q is nan: give a number between 0 and 1"),
        (Quantile, {"delta": 1.0}, TypeError, "'delta'"),
        (SoftmaxCrossEntropy, {"label_smoothing": 1.0}, ValueError, r"give a number in \[0, 1\)"),
        (SoftmaxCrossEntropy, {"label_smoothing": -0.1}, ValueError, r"give a number in \[0, 1\)"),
        (SoftmaxCrossEntropy, {"label_smoothing": True}, TypeError, "give a number"),
    ],
)
def test_a_bad_option_is_refused(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**options)


class OwnLogCosh(MeanSquaredError):
    """A user's own, of one output at a time."""

    @property
    def rule(self):
        return LOG_COSH


LOG_COSH = OutputLoss(
    "own_log_cosh",
    """
    dz = tanh(z - y)
    term = abs(z - y) + log1p(exp(-2 * abs(z - y))) - log(2 + 0 * z)
    """,
)


def test_a_loss_may_be_a_row_of_its_own(backend):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(2, 5, 3))
    loss = OwnLogCosh()
    b = loss.buffers(Workspace(backend, (), z.dtype, 5).allocator("loss", 5), 3)
    dz = gradient_of(loss, backend.kernels, backend.asarray(z), backend.asarray(y), b)
    assert_close(on_host(backend, b.loss), np.log(np.cosh(z - y)).sum() / 5, 1e-12)
    assert_close(on_host(backend, dz), np.tanh(z - y) / 5, 1e-13)


def test_a_loss_with_neither_row_nor_compute_is_told(backend):
    class Neither(MeanSquaredError):
        row = ""

    with pytest.raises(NotImplementedError, match="Neither has neither a row nor a compute"):
        Neither().compute(backend.kernels, None, None, 1.0, None)


@pytest.mark.parametrize("source", ["dz = z - y", "term = z", "dz = z\nterm = y\ny = z"])
def test_a_row_that_is_no_loss_is_refused(source):
    with pytest.raises(SyntaxError, match="has to write dz and term"):
        OutputLoss("wrong", source)


# -- labels ----


@pytest.mark.parametrize(
    ("name", "y", "n_outputs", "expected"),
    [
        ("softmax_cross_entropy", [0, 2, 1], 3, [0, 2, 1]),
        ("softmax_cross_entropy", [0.0, 2.0, 1.0], 3, [0, 2, 1]),
        ("softmax_cross_entropy", [[0], [2], [1]], 3, [0, 2, 1]),
        ("softmax_cross_entropy", [True, False, True], 2, [1, 0, 1]),
        ("sigmoid_cross_entropy", [0, 1, 1], 1, [[0], [1], [1]]),
        ("sigmoid_cross_entropy", [True, False], 1, [[1], [0]]),
        ("sigmoid_cross_entropy", [[0, 1], [1, 1]], 2, [[0, 1], [1, 1]]),
        ("mean_squared_error", [0.5, -1], 1, [[0.5], [-1]]),
        ("mean_squared_error", [[1, 2, 3]], 3, [[1, 2, 3]]),
    ],
)
def test_labels_are_stored_as_the_kernels_take_them(name, y, n_outputs, expected):
    found = LOSSES[name]().targets(np.array(y), n_outputs, np.dtype("float32"))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == ("int32" if name == "softmax_cross_entropy" else "float32")
    assert found.flags.c_contiguous


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "y", "n_outputs", "message"),
    [
        (
            "softmax_cross_entropy",
            [0, 3],
            3,
            r"labels from 0 to 3: a network with 3 outputs needs labels 0 to 2: numpy.unique",
        ),
        ("softmax_cross_entropy", [-1, 1], 3, "labels from -1 to 1"),
        ("softmax_cross_entropy", [1, 2], 2, "labels from 1 to 2"),
        ("softmax_cross_entropy", [True, False], 1, "labels from 0 to 1"),
        ("softmax_cross_entropy", [0.5, 1], 3, "labels that are not whole numbers"),
        ("softmax_cross_entropy", [NAN, 1], 3, "labels that are not whole numbers"),
        ("softmax_cross_entropy", [INF, 1], 3, "labels that are not whole numbers"),
        (
            "softmax_cross_entropy",
            [[0, 1], [1, 0]],
            2,
            r"y has shape \(2, 2\): softmax_cross_entropy needs integer labels of shape \(2,\)",
        ),
        ("softmax_cross_entropy", ["cat", "dog"], 2, "y has dtype .*needs integer labels"),
        ("sigmoid_cross_entropy", [0, 2, 2], 1, "2 labels other than 0 and 1, such as 2"),
        ("sigmoid_cross_entropy", [-1, 1], 1, "1 labels other than 0 and 1, such as -1"),
        ("sigmoid_cross_entropy", [0, 0.3], 1, "such as 0.3"),
        # Rounded to float32 they would be 0 and 1.
        ("sigmoid_cross_entropy", [1e-60, 1], 1, "such as 1e-60"),
        ("sigmoid_cross_entropy", [0, 1 + 1e-12], 1, "other than 0 and 1"),
        ("sigmoid_cross_entropy", [0, NAN], 1, "NaN or infinite, the first in row 1"),
        ("sigmoid_cross_entropy", ["yes", "no"], 1, "y has dtype .*needs numbers"),
        (
            "sigmoid_cross_entropy",
            [0, 1],
            3,
            r"y has shape \(2,\): the network has 3 outputs, so .* needs shape \(2, 3\)$",
        ),
        (
            "sigmoid_cross_entropy",
            [[0, 1]],
            1,
            r"y has shape \(1, 2\): .* needs shape \(1, 1\) or \(1,\)",
        ),
        ("mean_squared_error", [[[1.0]]], 1, r"y has shape \(1, 1, 1\)"),
        ("mean_squared_error", [INF, NAN, 0], 1, "2 values that are NaN or infinite.* row 0"),
        # Finite in float64, infinite in the network's float32.
        ("mean_squared_error", [0, 1e300], 1, r"up to 1e\+300, too large for float32"),
        ("mean_squared_error", [1j], 1, "y has dtype complex128"),
        ("mean_squared_error", [None, 1.0], 1, "y has dtype object"),
    ],
)
def test_bad_labels_are_refused_with_the_reason(name, y, n_outputs, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name]().targets(np.array(y), n_outputs, np.dtype("float32"))


@pytest.mark.parametrize("name", ["cross_entropy", "", None, "Softmax_cross_entropy"])
def test_an_unknown_loss_is_refused(name):
    with pytest.raises(ValueError, match=r"loss is .*: give one of softmax_cross_entropy, "):
        xn.Network([xn.Linear(1)], loss=name, n_features=2, device="cpu")


@pytest.mark.parametrize(
    ("layer", "loss"),
    [(xn.Softmax(), "softmax_cross_entropy"), (xn.Sigmoid(), "sigmoid_cross_entropy")],
)
def test_a_loss_that_would_be_applied_twice_is_refused(layer, loss):
    with pytest.raises(ValueError, match=r"the last layer is .* leave the last .* out"):
        xn.Network([xn.Linear(2), layer], loss=loss, n_features=2, device="cpu")
