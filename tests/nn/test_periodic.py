"""Numbers as waves: what is computed, where it stands, and what is refused."""

import itertools

import numpy as np
import pytest
from oracle import Alone, draw_state, gradients, on_host

import xpnet as xn
from xpnet.nn.layer import Layer
from xpnet.nn.numeric_columns import NumericColumns

#: Every combination of the options that are true or false.
FORMS = [
    dict(zip(("relu", "phase", "dense", "shared"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=4)
]

each_form = pytest.mark.parametrize(
    "form", FORMS, ids=["-".join(k for k, v in form.items() if v) or "none" for form in FORMS]
)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


def plain(layer, x, state):
    """Return the output of an embedding with parameters, number by number."""
    others = [j for j in range(x.shape[1]) if j not in layer.columns]
    blocks = [x[:, others]]
    for i, column in enumerate(layer.columns):
        v = x[:, [column]]
        angle = 2 * np.pi * state["frequencies"][i] * v
        if layer.phase:
            waves = np.cos(angle + state["phases"][i])
        else:
            waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        one = (lambda a: a) if layer.shared else (lambda a, i=i: a[i])
        block = waves @ one(state["weight"]).T + one(state["bias"])
        block = np.maximum(block, 0) if layer.relu else block
        blocks += [v, block] if layer.dense else [block]
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [(1,), (3, 0), (0, 1, 2, 3, 4), (4, 2, 0, 1, 3)], ids=str)
@each_form
def test_it_is_its_formula(backend, form, columns, dtype):
    layer = xn.PeriodicEmbedding(columns, 3, 4, **form)
    alone = Alone(backend, [layer], 7, 5, dtype)
    alone.load(draw_state(alone.net, 3))
    x = np.random.default_rng(0).standard_normal((7, 5)).astype(dtype)
    state = {k[2:]: v.astype("float64") for k, v in alone.net.state().items() if k[0] == "1"}
    near = 1e-4 if dtype == "float32" else 1e-13
    for n in (7, 3):  # a short batch after a long one
        for training in (True, False):
            found = alone.forward(x[:n], training=training)
            np.testing.assert_allclose(found, plain(layer, x[:n], state), rtol=near, atol=near)


@each_form
def test_gradients_are_derivatives(backend, form):
    layers = [xn.PeriodicEmbedding((3, 0, 2), 3, 4, **form), xn.Linear(5), xn.Tanh()]
    behind = [xn.Linear(4), xn.PeriodicEmbedding((1, 3), 2, 3, **form)]
    for stack, l2 in ((layers, 0.7), ([*layers, *behind], 0.0)):
        net = network(backend, [*stack, xn.Linear(2)])
        net.load_state(draw_state(net, 2, scale=0.5))
        rng = np.random.default_rng(3)
        X, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
        assert xn.check_gradients(net, X, y, l2=l2) < 1e-7


def test_a_wrong_frequency_s_gradient_is_found(backend):
    class Doubled(xn.PeriodicEmbedding):
        def backward(self, dy, b):
            dx = super().backward(dy, b)
            self.gradients["frequencies"][0] *= 2.0
            return dx

    net = network(backend, [Doubled((0, 2), 2, 3, 0.3), xn.Linear(1)])
    X = np.random.default_rng(0).standard_normal((9, 4))
    found = xn.check_gradients(net, X, X[:, 1])
    assert found > 1e-3
    assert "(Doubled), frequencies[0, " in found.worst


def test_nothing_goes_back_beyond_the_first_layer(backend):
    first, second = xn.PeriodicEmbedding((0,), 2, 3), xn.PeriodicEmbedding((0,), 2, 3)
    net = network(backend, [first, second, xn.Linear(1)])
    calls = net.passes.bind(5, training=True).backward
    assert [call.buffers.dx is None for call in calls[1:]] == [False, True]
    assert calls[2].buffers.d_values is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", [{}, {"phase": True, "dense": True}, {"shared": True}], ids=str)
def test_leading_axes_are_free(backend, form, dtype):
    layers = [xn.PeriodicEmbedding((2, 0), 3, 4, 0.4, **form), xn.Linear(4), xn.Tanh()]
    layers += [xn.PeriodicEmbedding((1,), 2, 3, 0.4, **form), xn.Linear(2)]
    together = network(backend, layers, members=3, dtype=dtype)
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((11, 4)), rng.standard_normal((11, 2))
    losses = on_host(backend, together.passes.loss_and_gradient(*together.prepare(X, y)))
    assert len(set(losses)) == 3
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for i in range(3):
        single = network(backend, layers, dtype=dtype)
        single.parameters[...] = together.parameters[i]
        loss = on_host(backend, single.passes.loss_and_gradient(*single.prepare(X, y)))
        assert losses[i] == pytest.approx(float(loss), rel=tolerance)
        ours, theirs = (on_host(backend, net.gradients) for net in (together, single))
        np.testing.assert_allclose(ours[i], theirs, rtol=tolerance, atol=tolerance)


def test_waves_are_learnt_that_one_number_hides(device):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 1))
    y = np.sign(np.sin(5 * X[:, 0]))
    errors = []
    for embedding in ([], [xn.PeriodicEmbedding((0,), 8, 16, 0.5)]):
        layers = [*embedding, xn.Linear(16), xn.ReLU(), xn.Linear(1)]
        net = network(device, layers, n_features=1, dtype="float32")
        xn.Trainer(net, xn.Adam(0.01)).fit(X[:400], y[:400], batch_size=50, epochs=30)
        errors.append(net.evaluate(X[400:], y[400:])["error"])
    assert errors[1] < errors[0] / 2


# -- initial values ----


def test_initial_values():
    layer = xn.PeriodicEmbedding(range(40), 10, 50, 0.2, phase=True)
    state = network("cpu", [layer, xn.Linear(1)], n_features=40).state()
    w, phases = state["0.frequencies"], state["0.phases"]
    assert w.std() == pytest.approx(0.2, rel=0.05)
    assert 0.5 < abs(w).max() <= 0.6
    assert phases.min() > -np.pi
    assert phases.max() < np.pi
    assert phases.std() == pytest.approx(2 * np.pi / np.sqrt(12), rel=0.05)
    for name in ("0.weight", "0.bias"):
        assert abs(state[name]).max() <= 1 / np.sqrt(50)
        assert state[name].std() == pytest.approx(2 / np.sqrt(50 * 12), rel=0.1)
    flat = [array.ravel()[:40] for array in state.values()]
    for a, b in itertools.combinations(flat[:4], 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.6


def test_weight_decay_is_for_the_weight_alone():
    net = network("cpu", [xn.PeriodicEmbedding((0, 1), 3, 4, phase=True), xn.Linear(1)])
    assert net.n_weights == 2 * 3 * 4 + 8


# -- descriptions ----


def test_the_columns_that_are_passed_on():
    net = network("cpu", [xn.PeriodicEmbedding((2, 0), 3, 4), xn.OneHot({0: 3}), xn.Linear(1)])
    assert net.layers[0].passed_columns == [1, 3]
    assert isinstance(net.layers[0], NumericColumns)
    from xpnet.nn.categories import code_columns

    assert code_columns(net.layers, 4) == {1: 3}


@pytest.mark.parametrize("columns", [[3, 1], (3, 1), np.array([3, 1]), {3: 9, 1: 9}], ids=str)
def test_columns_come_as_any_sequence(columns):
    layer = xn.PeriodicEmbedding(columns)
    assert layer.columns == (3, 1)
    again = Layer.registry.build(layer.config())
    assert (repr(again), again.config()) == (repr(layer), layer.config())


@each_form
def test_a_file_gives_the_same_bits(device, tmp_path, form):
    net = network(device, [xn.PeriodicEmbedding((3, 0), 3, 4, **form), xn.Linear(2)])
    X = np.random.default_rng(0).standard_normal((30, 4))
    xn.Trainer(net).fit(X, X[:, :2], batch_size=10, epochs=1)
    net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net", device=device)
    assert again.config() == net.config()
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((),), ValueError, r"columns is empty: give some, as \(0, 3\)"),
        ((3,), TypeError, r"columns is 3: give several, as \(0, 3\)"),
        (("ab",), TypeError, "columns is 'ab': give several"),
        (((0, -1),), ValueError, "a column is -1: give 0 or more"),
        (((0, 1.0),), TypeError, "a column is 1.0: give a whole number"),
        (((1, 0, 1),), ValueError, "columns has 1 twice: give each column once"),
        (((1,), 0), ValueError, "n_dims is 0: give 1 or more"),
        (((1,), 3, 0), ValueError, "n_frequencies is 0: give 1 or more"),
        (((1,), 3, 4, 0.0), ValueError, "frequency_scale is 0.0: give a finite number above 0"),
        (((1,), 3, 4, 1.0, 1), TypeError, "relu is 1: give True or False"),
        (((1,), 1, 4, 1.0, True, True, True), ValueError, "n_dims is 1: give 2 or more"),
    ],
    ids=str,
)
def test_bad_options_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        xn.PeriodicEmbedding(*arguments)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            xn.PeriodicEmbedding((0, 4)),
            "PeriodicEmbedding takes column 4 and its input has 4: give columns from 0 to 3",
        ),
        (xn.PeriodicEmbedding((0,), 2**30), "PeriodicEmbedding makes 1,073,741,827 outputs of 4"),
    ],
)
def test_what_does_not_fit_the_input_is_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        network("cpu", [layer, xn.Linear(1)])


def test_gradients_of_all_parameters_are_written(backend):
    """What lay there before leaves no trace."""
    net = network(backend, [xn.PeriodicEmbedding((1, 3), 3, 4, 0.5, phase=True), xn.Linear(2)])
    batch = net.prepare(np.ones((5, 4)), np.ones((5, 2)))
    found = []
    for before in (0.0, np.nan):
        net.gradients[...] = before
        net.passes.loss_and_gradient(*batch)
        found.append(gradients(net))
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)
