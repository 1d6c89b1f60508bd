"""One-hot vectors and embeddings of categories' codes."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from oracle import Alone, draw_state, gradients, on_host
from parity import ODD_CODES

import xpnet as xn
from xpnet.nn.categories import MOST_CATEGORIES, code_columns
from xpnet.nn.layer import Layer

DTYPES = ["float32", "float64"]

#: Of each kind some: a column in the middle, all columns and in another order, many categories.
ONE_HOTS = [xn.OneHot({1: 3}), xn.OneHot({3: 2, 0: 4, 1: 1}), xn.OneHot({2: 70})]
EMBEDDINGS = [
    xn.Embedding({1: 3}, 2),
    xn.Embedding({3: 2, 0: 4, 1: 1}, 3),
    xn.Embedding({0: 3, 1: 4, 2: 2, 3: 5}, 1),
    xn.Embedding({2: 2500}, 5),
]

each_kind = pytest.mark.parametrize("layer", ONE_HOTS + EMBEDDINGS, ids=repr)


def features(columns, n=30, m=4, seed=0, codes=()):
    """Return examples with codes in some columns, from −1 to one too large, and some given ones."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m))
    for column, size in dict(columns).items():
        x[:, column] = rng.integers(size, size=n)
        x[-2:, column] = -1, size
        x[: len(codes), column] = codes
    return x


def plain(layer, x, weight=None):
    """Return the output, example by example; and which rows of the table each one takes."""
    others = [j for j in range(x.shape[1]) if j not in dict(layer.columns)]
    out, taken = [], []
    for example in x:
        blocks, start = [example[others]], 0
        for column, size in layer.columns:
            known = example[column] in range(size)
            if weight is None:
                blocks.append([example[column] == k for k in range(size)])
            else:
                row = start + int(example[column]) if known else None
                blocks.append(np.zeros(weight.shape[1]) if row is None else weight[row])
                taken.append(row)
                start += size
        out.append(np.concatenate(blocks))
    return np.array(out), np.array(taken).reshape(len(x), -1)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


def first_output(backend, net, x):
    """Return what the first layer makes of a batch, whatever is in it."""
    call = net.passes.bind(len(x), training=True).forward[0]
    return on_host(backend, call.function(backend.asarray(x, net.dtype), call.buffers))


# -- forward ----


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_it_is_its_definition(backend, layer, dtype):
    """For codes, and for what is none: nothing is read from beside the tables."""
    net = network(backend, [layer, xn.Linear(1)], dtype=dtype)
    x = features(layer.columns, codes=[0.0, -0.0, 1.0, *ODD_CODES]).astype(dtype)
    weight = net.state().get("0.weight")
    found = first_output(backend, net, x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, plain(layer, x, weight)[0].astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [xn.OneHot({0: 3}), xn.Embedding({0: 3}, 2)], ids=repr)
def test_a_code_is_the_number_to_the_last_bit(backend, layer, dtype):
    near = [np.nextafter(np.array(k, dtype), np.array(to, dtype)) for k in (1, 2) for to in (0, 3)]
    x = np.array([[0], [1], [2], *([v] for v in near), [3]], dtype)
    net = network(backend, [layer, xn.Linear(1)], n_features=1, dtype=dtype)
    known = first_output(backend, net, x).any(axis=1)
    np.testing.assert_array_equal(known, [True] * 3 + [False] * 5)


def test_float32_tells_the_largest_codes_apart(backend):
    size = MOST_CATEGORIES
    net = network(backend, [xn.Embedding({0: size}, 1)], n_features=1, dtype="float32")
    last = np.arange(size - 3, size + 2).reshape(-1, 1)
    net.parameters[-3:] = backend.asarray(np.array([1.0, 2.0, 3.0], np.float32))
    np.testing.assert_array_equal(first_output(backend, net, last)[:, 0], [1, 2, 3, 0, 0])


def test_a_one_hot_vector_and_weights_are_a_table(backend):
    """What an embedding is, by the product that it saves."""
    columns = {0: 3, 2: 4}
    dense = network(backend, [xn.OneHot(columns), xn.Linear(5, bias=False)])
    table = network(backend, [xn.Embedding(columns, 5)])
    state = draw_state(dense, 0)
    state["1.weight"][:, :2] = 0  # what the other columns give
    dense.load_state(state)
    table.load_state({"0.weight": state["1.weight"][:, 2:].T})
    x = features(columns)
    blocks = table.activations(x)[0][:, 2:].reshape(len(x), 2, 5)
    np.testing.assert_allclose(dense.activations(x)[1], blocks.sum(axis=1), rtol=0, atol=1e-12)


# -- backward ----


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_the_way_back(backend, layer, dtype):
    alone = Alone(backend, [layer], 30, 4, dtype)
    draw, tolerance = np.random.default_rng(1), 1e-5 if dtype == "float32" else 1e-13
    # The second batch has fewer categories than the first one: what is left of that is zero.
    for n in (30, 4):
        x = features(layer.columns, n, seed=n)
        y = alone.forward(x)
        dy = draw.standard_normal(y.shape)
        dx, d = alone.backward(dy), gradients(alone.net)
        expected = np.zeros_like(x)
        others = [j for j in range(4) if j not in dict(layer.columns)]
        expected[:, others] = dy[:, : len(others)]
        np.testing.assert_allclose(dx, expected, rtol=tolerance, atol=tolerance)
        if isinstance(layer, xn.OneHot):
            continue
        weight = alone.net.state()["1.weight"]
        _, taken = plain(layer, x, weight)
        total = np.zeros(weight.shape)
        blocks = dy[:, len(others) :].reshape(n, -1, layer.n_dims)
        for rows, block in zip(taken, blocks, strict=True):
            for row, part in zip(rows, block, strict=True):
                if row is not None:
                    total[row] += part
        np.testing.assert_allclose(d["1.weight"], total, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_sums_keep_their_digits(backend, dtype):
    n, rng = 200_000, np.random.default_rng(0)
    net = network(backend, [xn.Embedding({0: 2}, 3)], n_features=1, dtype=dtype)
    x, dy = rng.integers(2, size=(n, 1)), (rng.random((n, 3)) + 100).astype(dtype)
    call = net.passes.bind(n, training=True).forward[0]
    call.function(backend.asarray(x, dtype), call.buffers)
    call.layer.backward(backend.asarray(dy.copy()), call.buffers)
    expected = np.stack([dy[x[:, 0] == k].sum(axis=0, dtype=np.float64) for k in (0, 1)])
    np.testing.assert_allclose(gradients(net)["0.weight"], expected, rtol=1e-5)


def test_a_gradient_has_the_same_bits_each_time(backend):
    columns = {0: 5, 1: 3000}
    net = network(backend, [xn.Embedding(columns, 4), xn.Linear(1)], dtype="float32")
    batch = net.prepare(features(columns, 700), np.ones(700))
    found = []
    for _ in range(3):
        net.passes.loss_and_gradient(*batch)
        found.append(gradients(net)["0.weight"])
    for again in found[1:]:
        np.testing.assert_array_equal(again, found[0])


STACKS = {
    "one hot": [xn.OneHot({0: 3, 1: 2})],
    "embedding": [xn.Embedding({0: 3, 1: 2}, 2)],
    "all are codes": [xn.Embedding({0: 3, 1: 2, 2: 4, 3: 5}, 3)],
    "one hot, then embedding": [xn.OneHot({1: 2}), xn.Embedding({0: 3, 2: 4}, 2)],
    "embedding, then one hot": [xn.Embedding({0: 3}, 2), xn.OneHot({0: 2})],
    "embedding, then embedding": [xn.Embedding({0: 3}, 2), xn.Embedding({0: 2, 1: 4}, 3)],
    "batch norm behind": [xn.Embedding({0: 3}, 2), xn.BatchNorm(), xn.Tanh()],
    "dropout behind": [xn.OneHot({0: 3}), xn.Embedding({0: 2}, 2), xn.Dropout(0.3)],
    "an activation behind": [xn.Embedding({0: 3}, 2), xn.GELU()],
    "linear before": [xn.Linear(5), xn.OneHot({1: 2}), xn.Embedding({2: 3}, 2)],
}
CODES = {0: 3, 1: 2, 2: 4, 3: 5}


@pytest.mark.parametrize("l2", [0.0, 0.7], ids=["", "l2"])
@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_gradients_are_derivatives(backend, layers, l2):
    net = network(backend, [*layers, xn.Linear(5), xn.Tanh(), xn.Linear(2)])
    net.load_state(draw_state(net, 2, scale=0.8))
    x = features({column: CODES[column] for column in range(2 + ("all" in str(layers)))}, 9)
    y = np.random.default_rng(3).standard_normal((9, 2))
    assert xn.check_gradients(net, x, y, l2=l2) < 1e-7


def test_a_wrong_table_s_gradient_is_found(backend):
    class Doubled(xn.Embedding):
        def backward(self, dy, b):
            dx = super().backward(dy, b)
            self.gradients["weight"][0] *= 2.0
            return dx

    net = network(backend, [Doubled({0: 2}, 2), xn.Linear(1)])
    x = features({0: 2}, 9, codes=[0.0])
    found = xn.check_gradients(net, x, x[:, 1])
    assert found > 1e-3
    assert "(Doubled), weight[0, " in found.worst


def test_nothing_goes_back_to_where_nobody_reads_it(backend, monkeypatch):
    """Not to the first layer's input, nor to one-hot vectors before an embedding."""
    net = network(backend, [xn.OneHot({0: 3}), xn.Embedding({0: 2}, 2), xn.Linear(1)])
    calls = net.passes.bind(5, training=True).backward
    assert [call.layer.index for call in calls] == [2, 1]
    assert calls[1].buffers.dx is None


# -- several networks at once ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_axes_are_free(backend, dtype):
    layers = [xn.OneHot({1: 3}), xn.Embedding({0: 3, 1: 40}, 2), xn.Embedding({0: 4}, 3)]
    layers += [xn.Linear(4), xn.Embedding({1: 2}, 2), xn.OneHot({0: 2}), xn.Linear(2)]
    options = {"n_features": 5, "dtype": dtype}
    together = network(backend, layers, members=3, **options)
    X = features({1: 3, 0: 3, 2: 40, 3: 4}, 11, 5)
    y = np.random.default_rng(4).standard_normal((11, 2))
    losses = on_host(backend, together.passes.loss_and_gradient(*together.prepare(X, y)))
    assert len(set(losses)) == 3
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for i in range(3):
        single = network(backend, layers, **options)
        single.parameters[...] = together.parameters[i]
        loss = on_host(backend, single.passes.loss_and_gradient(*single.prepare(X, y)))
        assert losses[i] == pytest.approx(float(loss), rel=tolerance)
        ours, theirs = (on_host(backend, net.gradients) for net in (together, single))
        np.testing.assert_allclose(ours[i], theirs, rtol=tolerance, atol=tolerance)
        predicted = on_host(backend, together.predict(backend.asarray(X), members=True))[i]
        np.testing.assert_allclose(predicted, single.predict(X), rtol=tolerance, atol=tolerance)


def test_a_short_batch_after_a_long_one(backend):
    layers = [xn.Embedding({0: 5}, 2), xn.OneHot({0: 3}), xn.Linear(2)]
    X, y = features({0: 5, 1: 3}, 9), np.random.default_rng(0).standard_normal((9, 2))
    used, fresh = network(backend, layers), network(backend, layers)
    used.passes.loss_and_gradient(*used.prepare(X, y))
    for net in (used, fresh):
        net.passes.loss_and_gradient(*net.prepare(X[:4], y[:4]))
    for name, value in gradients(fresh).items():
        np.testing.assert_array_equal(gradients(used)[name], value, err_msg=name)


# -- training ----


def table(n=600, size=40, seed=0):
    """Return a number, a code, and what is learnt from both: each category has a value."""
    rng = np.random.default_rng(seed)
    values = np.random.default_rng(9).standard_normal(size)
    X = np.stack([rng.standard_normal(n), rng.integers(size, size=n)], axis=1)
    return X, X[:, 0] + 2 * values[X[:, 1].astype(int)]


@pytest.mark.parametrize("layer", [xn.OneHot({1: 40}), xn.Embedding({1: 40}, 4)], ids=repr)
def test_a_table_is_learnt(device, layer):
    layers = [layer, xn.Linear(8), xn.Tanh(), xn.Linear(1)]
    net = network(device, layers, n_features=2, dtype="float32")
    xn.Trainer(net, xn.Adam(0.02)).fit(*table(), batch_size=30, epochs=40)
    assert net.evaluate(*table(200, seed=1))["error"] < 0.1
    assert np.isfinite(net.predict([[0.5, -1.0], [0.5, 40.0], [0.5, 1e30]])).all()
    unknown = net.predict([[0.5, -1.0], [0.5, 40.0], [0.5, 3.5]])
    np.testing.assert_allclose(unknown, unknown[0], rtol=1e-5)


@pytest.mark.parametrize("optimizer", [xn.AdamW(0.01, weight_decay=1.0), xn.Adam(0.01)], ids=repr)
def test_what_is_in_no_batch_stays_as_it_is(device, optimizer):
    """Neither decay nor L2 touches the tables."""
    net = network(device, [xn.Embedding({1: 50}, 3), xn.Linear(1)], n_features=2)
    assert net.n_weights == 4
    before = net.state()
    X, y = table(100)
    xn.Trainer(net, optimizer, l2=10.0).fit(X, y, batch_size=20, epochs=3)
    stays = ~np.isin(np.arange(50), X[:, 1])
    moved = net.state()["0.weight"] != before["0.weight"]
    assert 10 <= stays.sum() < 40
    assert not moved[stays].any()
    assert moved[~stays].all()


def test_what_else_takes_a_network(device):
    X, y = table()
    layers = [xn.Embedding({1: 40}, 4), xn.BatchNorm(), xn.Dropout(0.1), xn.Linear(1)]
    net = network(device, layers, n_features=2, dtype="float32")
    scales = xn.activation_scales(net, X)
    assert len(scales) == 4
    assert len(xn.gradient_scales(net, X, y)) == 1
    parts = xn.partition(X, y, random_state=0)
    options = {"batch_size": 60, "epochs": 2}
    assert xn.choose_l2(net, *parts, l2=(0.0, 1.0), **options).l2 in (0.0, 1.0)
    assert len(xn.learning_curve(net, *parts[:2], sizes=(0.5, 1.0), **options).rows) == 2
    again = net.clone()
    assert again.config() == net.config()
    for same in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for name, value in net.state().items():
            np.testing.assert_array_equal(same.state()[name], value)


def test_a_profile_is_of_codes(device, monkeypatch):
    layers = [xn.OneHot({1: 3}), xn.Embedding({1: 40}, 4), xn.Linear(6), xn.Linear(1)]
    net = network(device, layers, n_features=3)
    seen = []
    real = xn.Network.prepare
    monkeypatch.setattr(
        xn.Network, "prepare", lambda self, X, y: seen.append(X) or real(self, X, y)
    )
    found = xn.profile(net, devices=[device], batch_sizes=[1, 8], seconds=0.05)
    assert found.network == "3-6-1"
    assert {*np.unique(seen[0][:, 1])} == {0.0, 1.0, 2.0}
    assert {*np.unique(seen[0][:, 2])} == {*range(40)}
    assert len(np.unique(seen[0][:, 0])) > 1000


def test_initial_values():
    def weight(**options):
        return network("cpu", [xn.Embedding({0: 3000, 2: 1000}, 16, **options)]).state()["0.weight"]

    usual = weight()
    assert usual.shape == (4000, 16)
    assert abs(usual.mean()) < 0.02
    assert usual.std() == pytest.approx(1.0, rel=0.02)
    for init, sigma in [("lecun", 1 / 4), ("normal", 0.01), (xn.Normal(0.3), 0.3)]:
        assert weight(init=init).std() == pytest.approx(sigma, rel=0.02)
    assert not weight(init="zeros").any()
    assert (usual == weight(init=xn.Normal(1.0))).all()


def test_linear_layers_ask_the_layer_behind_for_their_weights():
    net = network("cpu", [xn.Linear(5), xn.OneHot({1: 3}), xn.ReLU(), xn.Linear(1)])
    assert net.layers[0].init == xn.He()


# -- which inputs are codes ----


class Marked(xn.Tanh):
    """A layer of a user's own that takes a code."""

    @property
    def code_columns(self):
        return {2: 7}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([xn.Linear(1)], {}),
        ([xn.OneHot({3: 2, 1: 4})], {3: 2, 1: 4}),
        ([xn.OneHot({1: 4}), xn.Embedding({1: 5, 0: 2}, 3)], {1: 4, 2: 5, 0: 2}),
        ([xn.Embedding({0: 2}, 3), xn.OneHot({2: 5}), xn.Embedding({1: 3}, 1)], {0: 2, 3: 5, 2: 3}),
        # The second one takes what the first one made.
        ([xn.OneHot({1: 4}), xn.Embedding({3: 2}, 3)], {1: 4}),
        ([xn.Tanh(), xn.OneHot({1: 4})], {}),
        ([xn.OneHot({0: 4}), xn.Dropout(0.1), xn.OneHot({0: 2})], {0: 4}),
        ([xn.OneHot({0: 2}), Marked()], {0: 2, 3: 7}),
    ],
    ids=str,
)
def test_the_inputs_that_are_codes(layers, expected):
    net = network("cpu", [*layers, xn.Linear(1)])
    assert code_columns(net.layers, 4) == expected


# -- descriptions ----


@pytest.mark.parametrize(
    "columns",
    [
        {3: 12, 1: 990},
        [(3, 12), (1, 990)],
        ((3, 12), [1, 990]),
        np.array([[3, 12], [1, 990]]),
        {np.int64(3): np.int32(12), 1: 990},
        {3: 12, 1: 990}.items(),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [xn.OneHot, lambda columns: xn.Embedding(columns, 2)])
def test_columns_come_as_dict_or_pairs(make, columns):
    layer = make(columns)
    assert layer.columns == ((3, 12), (1, 990))
    assert layer.config()["columns"] == [[3, 12], [1, 990]]
    again = Layer.registry.build(layer.config())
    assert (repr(again), again.config()) == (repr(layer), layer.config())


def test_a_file_gives_the_same_bits(device, tmp_path):
    layers = [xn.OneHot({1: 3}), xn.Embedding({2: 5, 0: 4}, 2), xn.Linear(3)]
    net = network(device, layers, dtype="float32")
    X = features({0: 4, 1: 3, 3: 5})
    xn.Trainer(net).fit(X, X[:, :3], batch_size=10, epochs=1)
    net.save(tmp_path / "net")
    again = xn.load(tmp_path / "net", device=device)
    assert again.config() == net.config()
    assert again.state().keys() == {"1.weight", "2.weight", "2.bias"}
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, ValueError, r"columns is empty: give some, as \{3: 12, 4: 990\}"),
        ([], ValueError, "columns is empty"),
        (3, TypeError, r"columns is 3: give several, as \{3: 12"),
        (None, TypeError, "columns is None: give several"),
        ("ab", TypeError, "columns is 'ab': give several"),
        ([3, 4], TypeError, "columns has 3: give each column with its number of categories"),
        ([(3, 4, 5)], TypeError, r"columns has \(3, 4, 5\): give each column with"),
        (["ab"], TypeError, "a column is 'a': give a whole number"),
        ({-1: 3}, ValueError, "a column is -1: give 0 or more"),
        ({1.0: 3}, TypeError, "a column is 1.0: give a whole number"),
        ({True: 3}, TypeError, "a column is True: give a whole number"),
        ({1: 0}, ValueError, "the number of categories of column 1 is 0: give 1 or more"),
        ({1: 2.0}, TypeError, "the number of categories of column 1 is 2.0: give a whole"),
        ({1: 2**24 + 1}, ValueError, "column 1 has 16,777,217 categories: give at most 16,777,216"),
        ([(1, 2), (2, 3), (1, 2)], ValueError, "columns has 1 twice: give each column once"),
    ],
)
@pytest.mark.parametrize("make", [xn.OneHot, lambda columns: xn.Embedding(columns, 2)])
def test_bad_columns_are_refused(make, columns, error, message):
    with pytest.raises(error, match=message):
        make(columns)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_dims": 0}, ValueError, "n_dims is 0: give 1 or more"),
        ({"n_dims": 2.0}, TypeError, "n_dims is 2.0: give a whole number"),
        ({"n_dims": 2, "init": "hee"}, ValueError, "init is 'hee': give one of auto, normal"),
        ({"n_dims": 2, "init": 1.0}, ValueError, "init is 1.0"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        xn.Embedding({0: 2}, **options)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [xn.OneHot({4: 2})],
            "OneHot takes column 4 and its input has 4: give columns from 0 to 3",
        ),
        ([xn.Embedding({9: 2, 0: 3}, 2)], "Embedding takes column 9 and its input has 4"),
        ([xn.OneHot({0: 2}), xn.Embedding({5: 2}, 2)], "takes column 5 and its input has 5"),
        (
            [xn.OneHot({0: 2**24, 1: 2})],
            r"OneHot makes 16,777,220 outputs of 4 inputs, more than 16",
        ),
        ([xn.Embedding({0: 2}, 2**40)], "Embedding makes 1,099,511,627,779 outputs"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_input_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        network("cpu", [*layers, xn.Linear(1)])


def test_one_hot_vectors_alone_can_t_be_trained():
    with pytest.raises(ValueError, match="no layer has parameters"):
        network("cpu", [xn.OneHot({0: 2})])


def test_data_with_gaps_are_refused_as_ever(device):
    net = network(device, [xn.OneHot({0: 2}), xn.Linear(1)])
    for odd in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            net.predict([[odd, 1.0, 2.0, 3.0]])


@pytest.mark.parametrize("second", ONE_HOTS[:2] + EMBEDDINGS[:2], ids=repr)
@pytest.mark.parametrize("first", ONE_HOTS[:2] + EMBEDDINGS[:2], ids=repr)
def test_one_after_the_other_on_codes(backend, first, second):
    """Neighbours don't write over what the other one needs: as if each had a network of its own."""
    net = network(backend, [first, second, xn.Linear(2)])
    net.load_state(draw_state(net, 5))
    passed = [j for j in range(4) if j not in dict(first.columns)]
    sizes = {passed[c]: k for c, k in second.columns if c < len(passed)}
    X = features(sizes | dict(first.columns), 8)
    y = np.random.default_rng(6).standard_normal((8, 2))
    assert xn.check_gradients(net, X, y) < 1e-7
    state, a = net.state(), X
    for layer, name in ((first, "0.weight"), (second, "1.weight")):
        a = plain(layer, a, state.get(name))[0]
    expected = a @ state["2.weight"].T + state["2.bias"]
    np.testing.assert_allclose(net.activations(X)[-1], expected, rtol=0, atol=1e-12)


def test_every_order_of_columns_gives_the_blocks_in_that_order(backend):
    sizes = {0: 2, 1: 3, 2: 4}
    x = features(sizes, 6)
    for order in itertools.permutations(sizes.items()):
        layer = xn.OneHot(order)
        found = first_output(backend, network(backend, [layer, xn.Linear(1)]), x)
        np.testing.assert_array_equal(found, plain(layer, x)[0])
