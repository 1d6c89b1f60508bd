"""Piecewise-linear encodings and embeddings of numbers."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from oracle import Alone, draw_state, gradients, on_host

import xpnet as xn
from xpnet.nn.categories import code_columns
from xpnet.nn.layer import Layer

DTYPES = ["float32", "float64"]
EDGES = {3: (-0.5, 0.75), 0: (-1.0, 0.25, 1.5), 2: (-1.5, -1.0, 0.0, 0.125, 2.0)}

ENCODINGS = [
    xn.PiecewiseLinearEmbedding({1: (-1.0, 0.0, 2.0)}),
    xn.PiecewiseLinearEmbedding(EDGES),
    xn.PiecewiseLinearEmbedding(EDGES, clamp=True),
]
EMBEDDINGS = [
    xn.PiecewiseLinearEmbedding({1: (-1.0, 0.0, 2.0)}, 3),
    xn.PiecewiseLinearEmbedding(EDGES, 2, linear=False),
    xn.PiecewiseLinearEmbedding(EDGES, 4, relu=True, clamp=True),
    xn.PiecewiseLinearEmbedding(dict.fromkeys(range(4), (-1.0, 1.0)), 1, linear=False, relu=True),
    xn.PiecewiseLinearEmbedding({2: tuple(np.linspace(-2, 2, 301))}, 2),
]

each_kind = pytest.mark.parametrize("layer", ENCODINGS + EMBEDDINGS, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


def numbers(n=30, m=4, seed=0, edges=EDGES):
    """Return examples, of which some lie on edges and some beside all bins."""
    x = np.random.default_rng(seed).standard_normal((n, m))
    for column, several in dict(edges).items():
        odd = [*several[:6], 9.0, -9.0][: n // 2]
        x[: len(odd), column] = odd
    return x


def encoded(x, edges, clamp):
    """Return a number's encoding by the formula."""
    found = []
    for t, (low, high) in enumerate(itertools.pairwise(edges)):
        e = (x - low) / (high - low)
        if clamp or t > 0:
            e = max(e, 0.0)
        if clamp or t < len(edges) - 2:
            e = min(e, 1.0)
        found.append(e)
    return np.array(found)


def plain(layer, x, state=None):
    """Return the output, example by example."""
    others = [j for j in range(x.shape[1]) if j not in dict(layer.columns)]
    out = []
    for example in x:
        blocks, start = [example[others]], 0
        for j, (column, edges) in enumerate(layer.columns):
            e = encoded(example[column], edges, layer.clamp)
            if layer.n_dims is not None:
                e = e @ state["weight"][start : start + len(e)] + state["bias"][j]
                if layer.linear:
                    e = e + example[column] * state["linear"][j]
                if layer.relu:
                    e = np.maximum(e, 0)
                start += len(edges) - 1
            blocks.append(e)
        out.append(np.concatenate(blocks))
    return np.array(out)


def first_output(backend, net, x):
    """Return what the first layer makes of a batch, whatever is in it."""
    call = net.passes.bind(len(x), training=True).forward[0]
    return on_host(backend, call.function(backend.asarray(x, net.dtype), call.buffers))


# -- forward ----


@each_dtype
@each_kind
def test_it_is_its_definition(backend, layer, dtype):
    net = network(backend, [layer, xn.Linear(1)], dtype=dtype)
    net.load_state(draw_state(net, 1))
    state = {k.removeprefix("0."): v.astype("f8") for k, v in net.state().items() if k[0] == "0"}
    x = numbers(edges=layer.columns).astype(dtype)
    found = first_output(backend, net, x)
    assert found.dtype == dtype
    expected = plain(layer, x.astype("f8"), state)
    limit = {"float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(found, expected, rtol=limit, atol=limit)


@each_dtype
def test_edges_are_compared_in_the_network_s_type(backend, dtype):
    """In float32 0.1 is larger than in float64, and the number on an edge begins a bin."""
    net = network(
        backend,
        [xn.PiecewiseLinearEmbedding({0: (0.0, 0.1, 1.0)}), xn.Linear(1)],
        n_features=1,
        dtype=dtype,
    )
    edge = np.array(0.1, dtype)
    around = [np.nextafter(edge, edge.dtype.type(to)) for to in (0, 1)]
    found = first_output(backend, net, np.array([[around[0]], [edge], [around[1]]], dtype))
    assert found[0, 0] <= 1
    assert found[0, 1] == 0
    np.testing.assert_array_equal(found[1], [1, 0])
    assert found[2, 0] == 1
    assert found[2, 1] > 0


@each_kind
def test_what_is_no_number_stays_none_and_reads_nothing_beside(backend, layer):
    net = network(backend, [layer, xn.Linear(1)])
    net.load_state(draw_state(net, 1))
    x = np.zeros((5, 4))
    x[1] = np.nan
    x[2], x[3] = 1e300, -1e300
    found = first_output(backend, net, x)
    assert np.isnan(found[1]).any()
    assert np.isfinite(found[[0, 2, 3, 4]]).all()


def test_an_encoding_and_weights_are_an_embedding(backend):
    layer = xn.PiecewiseLinearEmbedding(EDGES)
    dense = network(backend, [layer, xn.Linear(5)])
    table = network(backend, [xn.PiecewiseLinearEmbedding(EDGES, 5, linear=False)])
    state = draw_state(dense, 0)
    state["1.weight"][:, :1] = 0  # what the other column gives
    dense.load_state(state)
    bias = np.concatenate([[state["1.bias"]], np.zeros((2, 5))])
    table.load_state({"0.weight": state["1.weight"][:, 1:].T, "0.bias": bias})
    x = numbers()
    blocks = table.activations(x)[0][:, 1:].reshape(len(x), 3, 5)
    np.testing.assert_allclose(dense.activations(x)[1], blocks.sum(axis=1), rtol=0, atol=1e-12)


def test_at_first_version_b_is_linear():
    net = network("cpu", [xn.PiecewiseLinearEmbedding(EDGES, 6), xn.Linear(1)])
    state = net.state()
    assert not state["0.weight"].any()
    for name in ("0.linear", "0.bias"):
        assert 0.3 < np.abs(state[name]).max() <= 6**-0.5
    assert not np.isin(state["0.linear"], state["0.bias"]).any()
    other = network("cpu", [xn.PiecewiseLinearEmbedding(EDGES, 60, linear=False), xn.Linear(1)])
    assert other.state().keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name in ("0.weight", "0.bias"):
        assert 0.45 < np.abs(other.state()[name]).max() <= 0.5
    assert not np.isin(other.state()["0.weight"], other.state()["0.bias"]).any()
    assert net.n_weights == net.layers[1].n_inputs  # neither decay nor L2 touches the others


# -- backward ----

STACKS = {
    "encoding": [xn.Linear(4), ENCODINGS[1]],
    "clamped encoding": [xn.Linear(4), ENCODINGS[2]],
    "embedding": [EMBEDDINGS[0]],
    "version a": [xn.Linear(4), EMBEDDINGS[1]],
    "clamped, with a ReLU": [xn.Linear(4), EMBEDDINGS[2]],
    "all columns": [xn.Linear(4), EMBEDDINGS[3]],
    "many bins": [xn.Linear(4), EMBEDDINGS[4]],
    "encoding, then embedding": [ENCODINGS[0], EMBEDDINGS[1]],
    "embedding, then encoding": [EMBEDDINGS[1], ENCODINGS[0]],
    "a ReLU, then another": [EMBEDDINGS[3], xn.Tanh(), xn.PiecewiseLinearEmbedding(EDGES, 2)],
    "an activation behind": [EMBEDDINGS[2], xn.GELU()],
    "batch norm behind": [xn.Linear(4), EMBEDDINGS[0], xn.BatchNorm(), xn.Tanh()],
    "one hot before": [xn.OneHot({1: 3}), xn.PiecewiseLinearEmbedding({0: (-1.0, 0.0, 1.0)}, 2)],
}


@pytest.mark.parametrize("l2", [0.0, 0.7], ids=["", "l2"])
@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_gradients_are_derivatives(backend, layers, l2):
    net = network(backend, [*layers, xn.Linear(5), xn.Tanh(), xn.Linear(2)])
    net.load_state(draw_state(net, 2, scale=0.8))
    x = np.random.default_rng(1).standard_normal((9, 4))
    x[:, 1] = np.round(x[:, 1])
    y = np.random.default_rng(3).standard_normal((9, 2))
    assert xn.check_gradients(net, x, y, l2=l2) < 1e-7


def test_a_wrong_gradient_of_a_bin_is_found(backend):
    class Halved(xn.PiecewiseLinearEmbedding):
        def backward(self, dy, b):
            dx = super().backward(dy, b)
            self.gradients["weight"][1] *= 0.5
            return dx

    net = network(backend, [Halved({0: (-1.0, 0.0, 1.0)}, 2), xn.Linear(1)])
    net.load_state(draw_state(net, 2))
    x = np.random.default_rng(1).standard_normal((9, 4))
    found = xn.check_gradients(net, x, x[:, 1])
    assert found > 1e-3
    assert "(Halved), weight[1, " in found.worst


def test_on_an_edge_the_slope_is_that_of_the_bin_which_begins(backend):
    alone = Alone(backend, [xn.PiecewiseLinearEmbedding({0: (0.0, 1.0, 3.0)})], 4, 1)
    alone.forward(np.array([[0.0], [1.0], [3.0], [-7.0]]))
    np.testing.assert_array_equal(alone.backward(np.ones((4, 2)))[:, 0], [1, 0.5, 0.5, 1])
    clamped = Alone(backend, [xn.PiecewiseLinearEmbedding({0: (0.0, 1.0)}, clamp=True)], 4, 1)
    clamped.forward(np.array([[0.0], [1.0], [3.0], [-7.0]]))
    np.testing.assert_array_equal(clamped.backward(np.ones((4, 1)))[:, 0], [1, 0, 0, 0])


@each_dtype
def test_long_sums_keep_their_digits(backend, dtype):
    n, rng = 100_000, np.random.default_rng(0)
    layer = xn.PiecewiseLinearEmbedding({0: (0.0, 0.5, 1.0)}, 2)
    net = network(backend, [layer], n_features=1, dtype=dtype)
    x, dy = rng.random((n, 1)).astype(dtype), (rng.random((n, 2)) + 100).astype(dtype)
    call = net.passes.bind(n, training=True).forward[0]
    call.function(backend.asarray(x), call.buffers)
    call.layer.backward(backend.asarray(dy.copy()), call.buffers)
    e = np.clip(np.concatenate([2 * x, 2 * x - 1], axis=1).astype("f8"), 0, 1)
    found = gradients(net)
    np.testing.assert_allclose(found["0.weight"], e.T @ dy, rtol=1e-5)
    np.testing.assert_allclose(found["0.bias"][0], dy.sum(axis=0, dtype="f8"), rtol=1e-5)
    np.testing.assert_allclose(found["0.linear"][0], x[:, 0].astype("f8") @ dy, rtol=1e-5)


def test_a_gradient_has_the_same_bits_each_time(backend):
    net = network(backend, [xn.PiecewiseLinearEmbedding(EDGES, 4), xn.Linear(1)], dtype="float32")
    batch = net.prepare(numbers(700), np.ones(700))
    found = []
    for _ in range(3):
        net.passes.loss_and_gradient(*batch)
        found.append(on_host(net.backend, net.gradients))
    for again in found[1:]:
        np.testing.assert_array_equal(again, found[0])


def test_nothing_goes_back_to_where_nobody_reads_it(backend):
    net = network(backend, [ENCODINGS[0], EMBEDDINGS[1], xn.Linear(1)])
    calls = net.passes.bind(5, training=True).backward
    assert [call.layer.index for call in calls] == [2, 1]
    assert calls[1].buffers.dx is None


# -- several networks at once, and batches of several sizes ----


@each_dtype
def test_leading_axes_are_free(backend, dtype):
    layers = [ENCODINGS[0], EMBEDDINGS[2], xn.Linear(5), xn.PiecewiseLinearEmbedding(EDGES)]
    layers += [xn.PiecewiseLinearEmbedding({1: (-0.1, 0.2)}, 3, linear=False), xn.Linear(2)]
    together = network(backend, layers, members=3, dtype=dtype)
    together.parameters[...] = together.backend.asarray(
        np.random.default_rng(7).standard_normal(together.parameters.shape), dtype
    )
    X, y = numbers(11), np.random.default_rng(4).standard_normal((11, 2))
    losses = on_host(backend, together.passes.loss_and_gradient(*together.prepare(X, y)))
    assert len(set(losses)) == 3
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for i in range(3):
        single = network(backend, layers, dtype=dtype)
        single.parameters[...] = together.parameters[i]
        loss = on_host(backend, single.passes.loss_and_gradient(*single.prepare(X, y)))
        assert losses[i] == pytest.approx(float(loss), rel=tolerance)
        ours, theirs = (on_host(backend, net.gradients) for net in (together, single))
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours[i], theirs, rtol=tolerance, atol=tolerance * scale)
        predicted = on_host(backend, together.predict(backend.asarray(X), members=True))[i]
        expected = single.predict(X)
        np.testing.assert_allclose(predicted, expected, rtol=tolerance, atol=10 * tolerance)


def test_a_short_batch_after_a_long_one(backend):
    layers = [ENCODINGS[0], EMBEDDINGS[2], xn.Linear(2)]
    X, y = numbers(9), np.random.default_rng(0).standard_normal((9, 2))
    used, fresh = network(backend, layers), network(backend, layers)
    used.passes.loss_and_gradient(*used.prepare(X, y))
    for net in (used, fresh):
        net.passes.loss_and_gradient(*net.prepare(X[:4], y[:4]))
    for name, value in gradients(fresh).items():
        np.testing.assert_array_equal(gradients(used)[name], value, err_msg=name)


# -- training ----


@pytest.mark.parametrize("n_dims", [None, 4])
def test_a_threshold_is_learnt_that_a_line_can_t_have(device, n_dims):
    X = np.random.default_rng(0).uniform(-1, 1, (600, 2))
    y = np.where(np.abs(X[:, 0]) < 0.4, 1.0, -1.0) + X[:, 1]
    layer = xn.PiecewiseLinearEmbedding(xn.piecewise_bins(X[:, :1], 12), n_dims)
    errors = []
    for layers in ([layer, xn.Linear(1)], [xn.Linear(1)]):
        net = network(device, layers, n_features=2, dtype="float32")
        xn.Trainer(net, xn.Adam(0.05)).fit(X, y, batch_size=60, epochs=40)
        errors.append(net.evaluate(X, y)["error"])
    assert errors[0] < 0.15
    assert errors[1] > 0.5


def test_what_else_takes_a_network(device):
    X, y = numbers(200), np.arange(200.0)
    layers = [xn.PiecewiseLinearEmbedding(EDGES, 2), xn.Dropout(0.1), xn.Linear(1)]
    net = network(device, layers, dtype="float32")
    assert len(xn.activation_scales(net, X)) == 3
    for same in (net.clone(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same.config() == net.config()
        for name, value in net.state().items():
            np.testing.assert_array_equal(same.state()[name], value)
    trainer = xn.Trainer(net)
    trainer.fit(X, y, batch_size=50, epochs=1, augmentation=xn.Augmentation([xn.GaussianNoise(1)]))


def test_categories_are_found_behind_numbers():
    layers = [xn.PiecewiseLinearEmbedding({0: (0.0, 1.0), 2: (0.0, 1.0)}, 3), xn.OneHot({1: 4})]
    net = network("cpu", [*layers, xn.Linear(1)])
    assert code_columns(net.layers, 4) == {3: 4}


# -- descriptions ----


@pytest.mark.parametrize(
    "columns",
    [
        {3: (0.0, 1.0, 2.5), 1: (-1, 1)},
        [(3, [0, 1, 2.5]), (1, (-1.0, 1.0))],
        {np.int64(3): np.array([0, 1, 2.5]), 1: np.array([-1, 1])},
        {3: [0.0, np.float32(1), 2.5], 1: range(-1, 2, 2)},
    ],
    ids=str,
)
def test_columns_come_as_dict_or_pairs(columns):
    layer = xn.PiecewiseLinearEmbedding(columns, 2, clamp=True)
    assert layer.columns == ((3, (0.0, 1.0, 2.5)), (1, (-1.0, 1.0)))
    assert layer.config()["columns"] == [[3, [0.0, 1.0, 2.5]], [1, [-1.0, 1.0]]]
    again = Layer.registry.build(layer.config())
    assert (repr(again), again.config()) == (repr(layer), layer.config())


def test_a_file_of_many_edges_gives_the_same_bits(tmp_path, device):
    rng = np.random.default_rng(0)
    columns = {j: np.sort(rng.standard_normal(48)).tolist() for j in range(200)}
    layer = xn.PiecewiseLinearEmbedding(columns, 4)
    net = network(device, [layer, xn.Linear(1)], n_features=210, dtype="float32")
    X = rng.standard_normal((30, 210))
    xn.Trainer(net).fit(X, X[:, 0], batch_size=10, epochs=1)
    net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net", device=device)
    assert again.layers[0].columns == layer.columns
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()
    assert len(repr(net)) < 300


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, ValueError, r"columns is empty: give some, as \{3: \(-1.5"),
        (3, TypeError, r"columns is 3: give several, as \{3: "),
        ([3], TypeError, "columns has 3: give each column with its edges"),
        ({-1: (0, 1)}, ValueError, "a column is -1: give 0 or more"),
        ({1.0: (0, 1)}, TypeError, "a column is 1.0: give a whole number"),
        ([(1, (0, 1)), (1, (0, 1))], ValueError, "columns has 1 twice"),
        ({1: 3.0}, TypeError, "the edges of column 1 is 3.0: give several"),
        ({1: (0.0,)}, ValueError, r"the edges of column 1 are \(0.0,\): give at least two"),
        ({1: ()}, ValueError, r"the edges of column 1 are \(\): give at least two"),
        ({1: "ab"}, TypeError, "the edges of column 1 is 'ab'"),
        ({1: (0, "1")}, TypeError, "an edge of column 1 is '1': give a number"),
        ({1: (0, True)}, TypeError, "an edge of column 1 is True: give a number"),
        ({1: (0, None)}, TypeError, "an edge of column 1 is None: give a number"),
        ({1: (0, 2, 1)}, ValueError, "the edges of column 1 go from 2.0 to 1.0: give finite"),
        ({1: (0, 1, 1)}, ValueError, "go from 1.0 to 1.0: give finite numbers that rise"),
        ({1: (0, np.nan)}, ValueError, "go from 0.0 to nan"),
        ({1: (0, np.inf)}, ValueError, "go from 0.0 to inf"),
        ({1: (0, 10**400)}, ValueError, "go from 0.0 to inf"),
        ({1: (1.0, 1.0 + 1e-9)}, ValueError, "different in float32"),
        ({1: (0, 1e-40)}, ValueError, "go from 0.0 to 1e-40"),
        ({1: (-3e38, 3e38)}, ValueError, "different in float32"),
    ],
    ids=str,
)
def test_bad_columns_are_refused(columns, error, message):
    with pytest.raises(error, match=message):
        xn.PiecewiseLinearEmbedding(columns)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_dims": 0}, ValueError, "n_dims is 0: give 1 or more, or None"),
        ({"n_dims": 2.0}, TypeError, "n_dims is 2.0: give a whole number, or None"),
        ({"relu": True}, ValueError, "relu is True without n_dims"),
        ({"n_dims": 2, "relu": 1}, TypeError, "relu is 1: give True or False"),
        ({"n_dims": 2, "linear": "no"}, TypeError, "linear is 'no': give True or False"),
        ({"clamp": None}, TypeError, "clamp is None: give True or False"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        xn.PiecewiseLinearEmbedding({0: (0, 1)}, **options)


def test_what_does_not_fit_the_input_is_refused():
    with pytest.raises(ValueError, match="takes column 4 and its input has 4"):
        network("cpu", [xn.PiecewiseLinearEmbedding({4: (0, 1)}), xn.Linear(1)])
    with pytest.raises(ValueError, match="makes 33,554,435 outputs of 4 inputs, more than"):
        network("cpu", [xn.PiecewiseLinearEmbedding({0: (0, 1)}, 2**25), xn.Linear(1)])
