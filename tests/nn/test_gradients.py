"""Every layer, loss and state of training against two-sided differences; and that this can fail."""

import pickle
import re

import numpy as np
import pytest
from oracle import draw_state, on_host

import xpnet as xn
from xpnet.nn import activations
from xpnet.nn.losses import MeanSquaredError

#: What `check_gradients` promises for a right backward pass.
LIMIT = 1e-7

ACTIVATIONS = {
    "identity": [],
    **{name: [make()] for name, make in activations.ACTIVATIONS.items()},
    "leaky_relu_0.3": [xn.LeakyReLU(0.3)],
    "leaky_relu_0": [xn.LeakyReLU(0.0)],
    "elu_1.5": [xn.ELU(1.5)],
    "smooth_clip_0.5": [xn.SmoothClip(0.5)],
}

#: Loss and number of outputs.
HEADS = [
    ("softmax_cross_entropy", 2),
    ("softmax_cross_entropy", 3),
    ("sigmoid_cross_entropy", 1),
    ("sigmoid_cross_entropy", 2),
    ("mean_squared_error", 1),
    ("mean_squared_error", 2),
    ("half_squared_error", 2),
    ("poisson_deviance", 1),
    ("poisson_deviance", 2),
    ("huber", 2),
    ("quantile", 2),
]

#: Every activation with two losses, and every loss with some activations: neither knows the other.
PAIRS = [
    pytest.param(activation, *head, id=f"{activation}-{'-'.join(map(str, head))}")
    for activation in ACTIVATIONS
    for head in HEADS
    if activation in ("relu", "tanh", "gelu") or head in (HEADS[1], HEADS[5])
]


def build(backend, layers, loss="mean_squared_error", n_outputs=2, seed=0, **options):
    """Return a network of the layers and an output layer, with random values everywhere.

    Biases are random too: where they are zero, a dropped or dead unit has a pre-activation of
    exactly 0, the kink of ReLUs, and there the differences are no derivative.
    """
    net = xn.Network(
        [*layers, xn.Linear(n_outputs)],
        loss=loss,
        n_features=4,
        device=backend,
        dtype="float64",
        **options,
    )
    net.load_state(draw_state(net, seed, scale=0.8))
    return net


def data(net, n=6, seed=0):
    rng = np.random.default_rng((seed, n))
    X = rng.standard_normal((n, net.n_features))
    if net.loss.name == "softmax_cross_entropy":
        return X, rng.integers(net.n_outputs, size=n)
    if net.loss.name == "sigmoid_cross_entropy":
        return X, rng.integers(2, size=(n, net.n_outputs))
    if net.loss.name == "poisson_deviance":
        return X, rng.integers(3, size=(n, net.n_outputs))
    return X, rng.standard_normal((n, net.n_outputs))


def error(net, n=6, seed=0, **options):
    return xn.check_gradients(net, *data(net, n, seed), **options)


@pytest.mark.parametrize("l2", [0.0, 0.7], ids=["no_l2", "l2"])
@pytest.mark.parametrize(("activation", "loss", "n_outputs"), PAIRS)
@pytest.mark.parametrize("norm", [[], [xn.BatchNorm()]], ids=["plain", "batch_norm"])
def test_every_layer_with_every_loss(backend, activation, norm, loss, n_outputs, l2):
    layers = [xn.Linear(5), *norm, *ACTIVATIONS[activation]]
    assert error(build(backend, layers, loss, n_outputs), l2=l2) < LIMIT


@pytest.mark.parametrize("n", [2, 3, 4, 7, 16])
@pytest.mark.parametrize("norm", [[], [xn.BatchNorm()]], ids=["plain", "batch_norm"])
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu_0.3"])
def test_every_batch_size(backend, n, norm, activation):
    layers = [xn.Linear(5), *norm, *ACTIVATIONS[activation]]
    assert error(build(backend, layers, "softmax_cross_entropy"), n) < LIMIT


@pytest.mark.parametrize(("activation", "loss", "n_outputs"), PAIRS)
def test_a_batch_of_one(backend, activation, loss, n_outputs):
    layers = [xn.Linear(5), *ACTIVATIONS[activation]]
    assert error(build(backend, layers, loss, n_outputs), n=1) < LIMIT


@pytest.mark.parametrize("bias", [None, True, False])
@pytest.mark.parametrize("norm", [xn.BatchNorm(), xn.BatchNorm(momentum=1.0, eps=0.1)], ids=repr)
def test_a_bias_under_batch_norm(backend, bias, norm):
    net = build(backend, [xn.Linear(5, bias=bias), norm, xn.Tanh()])
    assert ("0.bias" in net.state()) is (bias is True)
    assert error(net) < LIMIT


STACKS = {
    "logistic_regression": [],
    "three_hidden": [xn.Linear(5), xn.Tanh(), xn.Linear(4), xn.Sigmoid(), xn.Linear(3), xn.Tanh()],
    "deep_relu": [layer for _ in range(6) for layer in (xn.Linear(5), xn.ReLU())],
    "deep_batch_norm": [
        layer for _ in range(4) for layer in (xn.Linear(4), xn.BatchNorm(), xn.LeakyReLU(0.2))
    ],
    "every_layer": [
        xn.Dropout(0.2),
        xn.Linear(6),
        xn.BatchNorm(),
        xn.ReLU(),
        xn.Dropout(0.3),
        xn.Linear(5),
        xn.LeakyReLU(0.1),
        xn.Linear(5, bias=True),
        xn.BatchNorm(eps=1e-2),
        xn.Softmax(),
        xn.Linear(4),
        xn.Tanh(),
        xn.Linear(4),
        xn.Sigmoid(),
    ],
    "two_softmaxes": [xn.Linear(5), xn.Softmax(), xn.Linear(4), xn.Softmax()],
    "linear_twice": [xn.Linear(5), xn.Linear(3)],
    "batch_norm_first": [xn.BatchNorm(), xn.Linear(5), xn.Tanh()],
    "batch_norm_twice": [xn.Linear(5), xn.BatchNorm(), xn.BatchNorm(), xn.Tanh()],
    "batch_norm_after": [xn.Linear(5), xn.Tanh(), xn.BatchNorm()],
    "batch_norm_last": [xn.Linear(5), xn.Tanh(), xn.Linear(3), xn.BatchNorm()],
    "activation_first": [xn.Tanh(), xn.Linear(5), xn.Softmax()],
    "activations_in_a_row": [xn.Linear(5), xn.Tanh(), xn.Sigmoid(), xn.LeakyReLU(0.2)],
    "dropout_before_activation": [xn.Linear(5), xn.Dropout(0.4), xn.Tanh()],
    "dropout_and_batch_norm": [xn.Linear(5), xn.Dropout(0.4), xn.BatchNorm(), xn.Tanh()],
    "activations_of_their_inputs": [xn.Linear(5), xn.GELU(), xn.SiLU(), xn.Mish(), xn.BatchNorm()],
    "between_activations": [xn.Linear(5), xn.Tanh(), xn.GELU("tanh"), xn.Softplus(), xn.SELU()],
    "dropout_and_gelu": [xn.Linear(5), xn.Dropout(0.3), xn.GELU(), xn.Dropout(0.4), xn.Linear(4)],
    "norm_and_silu": [xn.BatchNorm(), xn.SiLU(), xn.BatchNorm(), xn.SiLU(), xn.Linear(4)],
    "narrow": [xn.Linear(1), xn.Tanh(), xn.Linear(1), xn.Sigmoid()],
}


@pytest.mark.parametrize("l2", [0.0, 0.7], ids=["no_l2", "l2"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("stack", STACKS)
def test_stacks(backend, stack, loss, l2):
    net = build(backend, STACKS[stack], loss, n_outputs=3, seed=2)
    assert error(net, n=7, l2=l2) < LIMIT


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (xn.Tanh(), "mean_squared_error"),
        (xn.Sigmoid(), "mean_squared_error"),
        (xn.Softmax(), "mean_squared_error"),
        (xn.LeakyReLU(0.2), "mean_squared_error"),
        (xn.Tanh(), "softmax_cross_entropy"),
        (xn.Tanh(), "sigmoid_cross_entropy"),
        (xn.BatchNorm(), "softmax_cross_entropy"),
        (xn.Dropout(0.3), "mean_squared_error"),
    ],
)
def test_a_last_layer_without_weights(backend, last, loss):
    net = xn.Network(
        [xn.Linear(5), xn.Tanh(), xn.Linear(3), last],
        loss=loss,
        n_features=4,
        device=backend,
        dtype="float64",
    )
    net.load_state(draw_state(net, 1, scale=0.8))
    assert error(net) < LIMIT


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("place", ["input", "hidden", "both"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_dropout(backend, p, place, activation):
    dropout = [xn.Dropout(p)]
    layers = [
        *(dropout if place != "hidden" else []),
        xn.Linear(8),
        *ACTIVATIONS[activation],
        *(dropout if place != "input" else []),
    ]
    net = build(backend, layers)
    X, Y = data(net)
    assert xn.check_gradients(net, X, Y) < LIMIT
    # Something was dropped, or it would be no check of dropout.
    dropped = on_host(backend, net.passes.loss_and_gradient(*net.prepare(X, Y)))
    assert abs(float(dropped) - net.evaluate(X, Y)["loss"]) > 1e-3


@pytest.mark.parametrize(
    "optimizer",
    [
        xn.SGD(0.05),
        xn.SGD(0.05, momentum=0.9, nesterov=True),
        xn.Momentum(0.05),
        xn.RMSProp(0.01),
        xn.Adam(0.01),
    ],
    ids=lambda o: type(o).__name__,
)
def test_between_updates(backend, optimizer):
    """In the midst of training, with moments and running statistics; it goes on undisturbed."""
    ends = []
    for check in (True, False):
        layers = [xn.Linear(6), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), xn.Linear(4), xn.Tanh()]
        net = build(backend, layers, "softmax_cross_entropy", 3, random_state=5)
        X, y = data(net, n=12)
        trainer = xn.Trainer(net, optimizer, l2=0.1)
        for _ in range(3):
            for _ in range(5):
                trainer.step(X, y)
            if check:
                assert xn.check_gradients(net, X, y, l2=0.1) < LIMIT
        ends.append(net.state())
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][name], err_msg=name)


def test_the_check_changes_nothing(backend):
    net = build(backend, STACKS["every_layer"], "softmax_cross_entropy", 3)
    X, y = data(net)
    state, given = net.state(), X.copy()
    xn.check_gradients(net, X, y, l2=0.3)
    np.testing.assert_array_equal(X, given)
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


# -- the check can fail ----


class TanhWithoutItsDerivative(xn.Tanh):
    def backward(self, dy, b):
        return dy


class SigmoidWithHalfOfIt(xn.Sigmoid):
    def backward(self, dy, b):
        self.kernels.xp.multiply(dy, b.y, out=dy)
        return dy


class ReluThatLetsAllThrough(xn.ReLU):
    def backward(self, dy, b):
        return dy


class SoftmaxWithThePagesSign(xn.Softmax):
    """Sⁱ(δᵢⱼ + Sʲ), the notes' last line of chapter 2.2.4."""

    def backward(self, dy, b):
        return b.y * (dy + (dy * b.y).sum(axis=-1, keepdims=True))


class BatchNormOfConstants(xn.BatchNorm):
    """As if μ and σ did not depend on the batch."""

    def backward(self, dy, b):
        super().backward(dy, b)
        return dy * (self.parameters["weight"][..., None, :] * b.inverse_deviation)


class BatchNormWithoutGamma(xn.BatchNorm):
    def backward(self, dy, b):
        dx = super().backward(dy, b)
        self.gradients["weight"][...] = 0.0
        return dx


class LinearWithoutBiasGradient(xn.Linear):
    def backward(self, dy, b):
        dx = super().backward(dy, b)
        self.gradients["bias"][...] = 0.0
        return dx


class LinearDividedByFeatures(xn.Linear):
    """By the number of features instead of examples, as the notes' chapter 1.1.1 does."""

    def backward(self, dy, b):
        dx = super().backward(dy, b)
        for gradient in self.gradients.values():
            gradient *= dy.shape[-2] / self.n_inputs
        return dx


class DropoutThatForgetsItsMask(xn.Dropout):
    def backward(self, dy, b):
        return dy


class ErrorWithoutItsTwo(MeanSquaredError):
    def compute(self, k, z, y, example_weight, b):
        super().compute(k, z, y, example_weight, b)
        b.dz *= 0.5


WRONG = {
    "tanh": [xn.Linear(5), TanhWithoutItsDerivative()],
    "sigmoid": [xn.Linear(5), SigmoidWithHalfOfIt()],
    "relu": [xn.Linear(5), ReluThatLetsAllThrough()],
    "softmax": [xn.Linear(5), SoftmaxWithThePagesSign()],
    "batch_norm": [xn.Linear(5), BatchNormOfConstants(), xn.Tanh()],
    "gamma": [xn.Linear(5), BatchNormWithoutGamma(), xn.Tanh()],
    "bias": [LinearWithoutBiasGradient(5), xn.Tanh()],
    "features": [LinearDividedByFeatures(5), xn.Tanh()],
    "dropout": [xn.Linear(5), DropoutThatForgetsItsMask(0.5)],
}


@pytest.mark.parametrize("layers", WRONG.values(), ids=WRONG)
def test_a_wrong_layer_is_found(backend, layers):
    assert error(build(backend, layers)) > 1e-3


def test_a_wrong_loss_is_found(backend):
    net = build(backend, [xn.Linear(5), xn.Tanh()])
    net.loss = net.passes.loss = ErrorWithoutItsTwo()
    assert error(net) > 1e-3


def test_a_small_fault_in_one_parameter_is_found(backend):
    class OffByLittle(xn.Linear):
        def backward(self, dy, b):
            dx = super().backward(dy, b)
            self.gradients["weight"][0, 0] *= 1.0001
            return dx

    assert error(build(backend, [OffByLittle(5), xn.Tanh()])) > LIMIT


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (("0", "weight", (1, 2)), r"layer 0 \(Linear\), weight\[1, 2\]"),
        (("1", "bias", (3,)), r"layer 1 \(BatchNorm\), bias\[3\]"),
        (("3", "bias", (1,)), r"layer 3 \(Linear\), bias\[1\]"),
    ],
)
def test_the_worst_parameter_is_told_by_layer_and_name(backend, fault, where):
    index, name, place = fault

    net = build(backend, [xn.Linear(5), xn.BatchNorm(), xn.Tanh()])
    first = net.layers[0]
    whole = type(first).backward

    def backward(dy, b):
        whole(first, dy, b)
        net.layers[int(index)].gradients[name][place] += 1.0

    first.backward = backward
    found = error(net)
    assert found > 1e-2
    assert re.fullmatch(rf"{where}: computed \S+, numerical \S+", found.worst)
    computed, numerical = map(float, re.findall(r"(?:computed|numerical) ([^,]+)", found.worst))
    assert computed - numerical == pytest.approx(1.0, abs=1e-4)


def test_every_parameter_has_a_name():
    net = build(xn.backends.select.select("cpu"), [xn.Linear(3), xn.BatchNorm(), xn.Tanh()])
    for key, array in net.buffers.named.items():
        index, name = key.split(".")
        if name.startswith("running"):
            continue
        for place in np.ndindex(array.shape):
            before = net.parameters.copy()
            array[place] += 1.0
            (i,) = np.flatnonzero(net.parameters != before)
            array[place] -= 1.0
            inside = ", ".join(map(str, place))
            assert net.buffers.name_parameter(i).startswith(f"layer {index} (")
            assert net.buffers.name_parameter(i).endswith(f", {name}[{inside}]")
    with pytest.raises(IndexError, match="there are"):
        net.buffers.name_parameter(net.n_parameters)


# -- of any function ----


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock_gradient(x):
    gradient = 0.0 * x
    rise = x[1:] - x[:-1] ** 2
    gradient[:-1] += -400.0 * rise * x[:-1] - 2.0 * (1.0 - x[:-1])
    gradient[1:] += 200.0 * rise
    return gradient


def test_a_function_on_the_device_that_its_argument_lives_on(backend):
    x = backend.asarray(np.array([0.3, -1.2, 2.0, 0.5]))
    before = backend.to_host(x).copy()
    assert xn.check_gradients(rosenbrock, x, rosenbrock_gradient) < LIMIT
    assert xn.check_gradients(rosenbrock, x, rosenbrock_gradient(x)) < LIMIT
    np.testing.assert_array_equal(backend.to_host(x), before)
    wrong = rosenbrock_gradient(x)
    wrong[2] += 1.0
    found = xn.check_gradients(rosenbrock, x, wrong)
    assert found > 1e-4
    assert found.worst.startswith("x[2]: computed ")


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_function_of_a_matrix(order):
    A = np.random.default_rng(0).normal(size=(3, 4))
    x = np.array(A, order=order)
    assert xn.check_gradients(lambda x: (A * x**2).sum(), x, 2 * A * x) < LIMIT
    wrong = 2 * A * x
    wrong[1, 3] = 9.0
    assert "x[1, 3]" in xn.check_gradients(lambda x: (A * x**2).sum(), x, wrong).worst


def test_lists_and_numbers_are_taken():
    assert xn.check_gradients(np.prod, [1, 2, 3], [6, 3, 2]) < LIMIT
    assert xn.check_gradients(lambda x: x**2, 3.0, 6.0) < LIMIT


def test_a_constant_s_gradient_is_zero():
    assert xn.check_gradients(lambda x: 1.0, np.ones(3), np.zeros(3)) == 0.0


def test_the_error_is_a_number_that_travels():
    found = xn.check_gradients(np.prod, [1.0, 2.0], [2.0, 1.0])
    again = pickle.loads(pickle.dumps(found))
    assert (float(again), again.worst) == (float(found), found.worst)
    assert str(found).startswith("relative error ")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.prod, np.ones(3, np.float32), np.ones(3)), ValueError, "x is in float32"),
        (
            (np.prod, np.ones(3), np.ones(3, np.float32)),
            ValueError,
            "the gradient is in float32: .* because float32 rounds",
        ),
        ((np.prod, np.ones(3), np.ones(4)), ValueError, r"x has shape \(3,\), the gradient \(4,\)"),
        ((np.sin, np.ones(3), np.ones(3)), ValueError, r"returned shape \(3,\)"),
        ((3.0, np.ones(3), np.ones(3)), TypeError, "3.0 can't be called"),
    ],
)
def test_what_is_no_function_with_a_gradient_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        xn.check_gradients(*arguments)


@pytest.mark.parametrize(
    ("options", "message"), [({"epsilon": 0.0}, "epsilon is 0.0"), ({"l2": 1.0}, "leave it out")]
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        xn.check_gradients(np.prod, np.ones(2), np.ones(2), **options)


@pytest.mark.parametrize(
    ("loss", "n_outputs"), [("softmax_cross_entropy", 3), ("mean_squared_error", 1)]
)
def test_float32_is_refused_with_the_reason(backend, loss, n_outputs):
    net = xn.Network([xn.Linear(n_outputs)], loss=loss, n_features=4, device=backend)
    with pytest.raises(ValueError, match=r"in float32: .* needs dtype='float64', because float32"):
        error(net)


def test_bad_arguments_are_refused(backend):
    net = build(backend, [xn.Linear(3), xn.Tanh()])
    X, Y = data(net)
    with pytest.raises(ValueError, match="l2 is -1"):
        xn.check_gradients(net, X, Y, l2=-1)
    with pytest.raises(ValueError, match=r"the network takes \(examples, 4\)"):
        xn.check_gradients(net, X[:, :3], Y)


def test_each_member_is_checked(backend):
    net = xn.Network(
        [xn.Linear(3), xn.BatchNorm(), xn.Tanh(), xn.Dropout([0.2, 0.5]), xn.Linear(2)],
        loss="mean_squared_error",
        n_features=4,
        device=backend,
        dtype="float64",
        members=2,
    )
    X, Y = data(net)
    assert xn.check_gradients(net, X, Y, l2=0.3) < 1e-7
    first = net.layers[0]
    whole = type(first).backward

    def backward(dy, b):
        whole(first, dy, b)
        net.layers[4].gradients["bias"][1, 1] += 1.0

    first.backward = backward
    net.passes.let_go()
    found = xn.check_gradients(net, X, Y)
    assert found > 1e-2
    assert found.worst.startswith("member 1, layer 4 (Linear), bias[1]: ")
