"""The notes' mathematics in plain NumPy, for the tests to compare with; and what they share.

Examples stand in columns, as in the notes: x, y. What the library gets is the same in rows: X, Y.
"""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from oracle import draw_state, gradients, on_host

import xpnet as xn

# -- what stands for the notes ----


def slopes(f, x, h=1e-6):
    """Return ∂f/∂x by two-sided differences: the axes of f's value, then those of x."""
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    columns = [(f(x + e) - f(x - e)) / (2 * h) for e in steps]
    return np.stack(columns, axis=-1).reshape(*np.shape(columns[0]), *x.shape)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=0)


def softmax_differential(z, v):
    s = softmax(z)
    return s * v - (s * v).sum(axis=0) * s


#: Name: the layer, g(z), and the differential dg_z(v); features along the first axis.
FUNCTIONS = {
    "sigmoid": (xn.Sigmoid(), sigmoid, lambda z, v: sigmoid(z) * (1 - sigmoid(z)) * v),
    "tanh": (xn.Tanh(), np.tanh, lambda z, v: (1 - np.tanh(z) ** 2) * v),
    "relu": (xn.ReLU(), lambda z: np.maximum(0, z), lambda z, v: (z >= 0) * v),
    "leaky_relu": (
        xn.LeakyReLU(0.1),
        lambda z: np.maximum(0.1 * z, z),
        lambda z, v: np.where(z < 0, 0.1, 1) * v,
    ),
    "softmax": (xn.Softmax(), softmax, softmax_differential),
}


def forward(state, x, names):
    """Return z and a of all layers, from a[0] = x on, and the weights; names are activations."""
    w = [value for name, value in state.items() if name.endswith("weight")]
    b = [value[:, None] for name, value in state.items() if name.endswith("bias")]
    z, a = [], [x]
    for w_l, b_l, name in zip(w, b, names, strict=True):
        z.append(w_l @ a[-1] + b_l)
        a.append(FUNCTIONS[name][1](z[-1]))
    return z, a, w


def cross_entropy(a, y, name):
    """Return the cost of the outputs a of a sigmoid (the log-loss) or of a softmax."""
    others = (1 - y) * np.log(1 - a) if name == "sigmoid" else 0
    return -(y * np.log(a) + others).sum() / y.shape[1]


def cost(state, x, y, names):
    """Return the cost of the network's outputs."""
    return cross_entropy(forward(state, x, names)[1][-1], y, names[-1])


def slopes_in(state, f):
    """Return the slopes of f(state) in each of its arrays."""
    return {k: slopes(lambda v, k=k: f(state | {k: v}), array) for k, array in state.items()}


def recursion(state, x, y, names):
    """Return the gradients by chapter 3's δ, from the last layer to the first."""
    z, a, w = forward(state, x, names)
    n, delta, found = x.shape[1], a[-1] - y, []
    for layer in reversed(range(len(w))):
        found = [delta @ a[layer].T / n, delta.sum(axis=1) / n, *found]
        if layer:
            delta = FUNCTIONS[names[layer - 1]][2](z[layer - 1], w[layer].T @ delta)
    return dict(zip(state, found, strict=True))


def log_loss(p, x, y):
    """Return logistic regression's cost for p, that is w with b at its end, by its definition."""
    a = sigmoid(p[:-1] @ x + p[-1])
    return -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))


def gradient(p, x, y):
    """Return its gradient, the mean over the examples."""
    d = sigmoid(p[:-1] @ x + p[-1]) - y
    return np.append(x @ d, d.sum()) / len(y)


def updates_so_far(i, k, batches):
    """Return t, the number of the update with batch k (from 1) of epoch i (from 0)."""
    return i * batches + k


def plain(alpha):
    return lambda p, g, t, i: p - alpha * g


def rule(alpha, beta_1, beta_2, eps=1e-8, corrected=True, fed_back=False, inside=False):
    """Return Adam's update for `descend`; with β₁ = 0 and nothing corrected it is RMSProp's.

    Or one of the pages': the corrected averages fed back into the recursion, ε inside the root.
    """
    v = s = 0.0

    def update(p, g, t, i):
        nonlocal v, s
        v, s = beta_1 * v + (1 - beta_1) * g, beta_2 * s + (1 - beta_2) * g**2
        v_hat, s_hat = (v / (1 - beta_1**t), s / (1 - beta_2**t)) if corrected else (v, s)
        if fed_back:
            v, s = v_hat, s_hat
        return p - alpha * v_hat / (np.sqrt(s_hat + eps) if inside else np.sqrt(s_hat) + eps)

    return update


def descend(p, x, y, update, *, batch_size, epochs, count=updates_so_far):
    """Return p after chapter 7's loop on logistic regression, in batches as they lie.

    ``update(p, g, t, i)`` makes the update t, in epoch i.
    """
    batches = math.ceil(len(y) / batch_size)
    for i in range(epochs):
        for k in range(1, batches + 1):
            batch = slice((k - 1) * batch_size, k * batch_size)
            g = gradient(p, x[:, batch], y[batch])
            p = update(p, g, count(i, k, batches), i)
    return p


# -- the library's side ----


def data(n=11, m=3, k=None, seed=0):
    """Return features (n, m) and labels (n,) or (n, k), of both kinds in each column."""
    rng = np.random.default_rng(seed)
    X, noise = rng.standard_normal((n, m)), rng.standard_normal((n, k or 1))
    Y = (X[:, :1] + noise > 0).astype(float)
    return X, Y if k else Y[:, 0]


def network(device, layers, n_features=3, loss="sigmoid_cross_entropy", **options):
    options = {"dtype": "float64"} | options
    return xn.Network(layers, loss=loss, n_features=n_features, device=device, **options)


def drawn(net, seed=0):
    """Give a network random values everywhere, biases too, and return them."""
    state = draw_state(net, seed, scale=0.7)
    net.load_state(state)
    return state


def computed(net, X, Y):
    """Return the cost that the library computes for a batch, and its gradients."""
    value = float(on_host(net.backend, net.passes.loss_and_gradient(*net.prepare(X, Y))))
    return value, gradients(net)


START = np.array([0.4, -0.8, 0.3, 0.1])


def logistic(device, p=START, **options):
    """Return logistic regression as a network, with the weights and bias p."""
    net = network(device, [xn.Linear(1)], len(p) - 1, **options)
    state = {"0.weight": p[None, :-1], "0.bias": p[-1:]}
    net.load_state({name: value.astype(net.dtype) for name, value in state.items()})
    return net


def values(net):
    state = net.state()
    return np.append(state["0.weight"], state["0.bias"])


def fitted(device, optimizer, X, y, l2=0.0, **fit):
    """Return the weights and bias of a logistic regression that was fitted from START."""
    net = logistic(device)
    xn.Trainer(net, optimizer, l2).fit(X, y, **({"shuffle": False} | fit))
    return values(net)


@dataclass(eq=False)
class Spy(xn.Layer):
    """Passes all on, and keeps copies of what went by in training: forward and backward."""

    seen: list = field(default_factory=list)
    back: list = field(default_factory=list)

    def buffers(self, new, x, overwrite, needs_dx):
        return SimpleNamespace(y=x)

    def forward(self, x, b):
        self.seen.append(np.array(x.get() if hasattr(x, "get") else x))
        return x

    def infer(self, x, b):
        return x

    def backward(self, dy, b):
        self.back.append(np.array(dy.get() if hasattr(dy, "get") else dy))
        return dy


def assert_close(found, expected, atol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def assert_apart(found, wrong, by):
    """Require that a wrong version is one by far: no rounding explains the difference."""
    assert np.abs(np.asarray(found) - wrong).max() > by


def assert_same(found, expected, atol=1e-12):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=atol, err_msg=key)


def each(table):
    """Parametrise by a table's keys."""
    return pytest.mark.parametrize("name", table)
