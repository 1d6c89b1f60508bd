"""Members that share weights: `EnsembleLinear`, its loss, its predictions, one of them alone."""

import pickle

import numpy as np
import pytest
from oracle import draw_state, gradients, on_host
from scipy import special

import xpnet as xn
from xpnet.analysis.profiling import flops

DTYPES = ["float32", "float64"]
K = 3


def layers(*, last=None, activation=None, dropout=0.0):
    """Return a stack in which a plain layer comes before the members, and one between them."""
    f = activation or xn.Tanh()
    dropped = [xn.Dropout(dropout)] if dropout else []
    return [
        *(xn.Linear(5), f, xn.EnsembleLinear(6, K), f, *dropped, xn.Linear(4), f),
        *(xn.EnsembleLinear(5, K), f, last or xn.EnsembleLinear(2, K, shared=False)),
    ]


def network(backend, stack, loss="mean_squared_error", random=True, **options):
    arguments = {"n_features": 4, "dtype": "float64", "device": backend}
    net = xn.Network(stack, loss=loss, **(arguments | options))
    if random:  # also of r, s and the biases
        net.load_state(draw_state(net, 7, 0.5))
    return net


def data(n=11, loss="mean_squared_error", n_outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    if loss == "softmax_cross_entropy":
        return x, rng.integers(n_outputs, size=n)
    if loss == "sigmoid_cross_entropy":
        return x, rng.integers(2, size=(n, n_outputs))
    return x, rng.uniform(0.1, 2, (n, n_outputs))


each_loss = pytest.mark.parametrize(
    "loss",
    [
        *("softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"),
        *("poisson_deviance", "huber", "quantile"),
    ],
)

# -- forward and backward ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_it_is_its_definition(backend, shared, bias, dtype):
    """The first layer has one row of each example, the next ones have a row for each member."""
    kind = {"members": K, "shared": shared, "bias": bias}
    net = network(backend, [xn.EnsembleLinear(6, **kind), xn.EnsembleLinear(2, **kind)])
    net = network(backend, net.layers, dtype=dtype)
    x, p = data()[0].astype(dtype), net.state()
    z = on_host(backend, net.forward(backend.asarray(x)))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert z.shape == (K * 11, 2)
    for k in range(K):
        a = x
        for layer in "01":
            w = p[f"{layer}.weight"]
            r, s = (p[f"{layer}.{name}"][k] if shared else 1 for name in "rs")
            a = ((a * r) @ (w if shared else w[k]).T) * s
            a = a + p[f"{layer}.bias"][k] if bias else a
        np.testing.assert_allclose(z[k * 11 : (k + 1) * 11], a, rtol=tolerance, atol=tolerance)


STACKS = {
    "shared": layers(),
    "first": [xn.EnsembleLinear(5, K), xn.ReLU(), xn.EnsembleLinear(2, K)],
    "gelu": layers(activation=xn.GELU()),
    "separate first": [xn.Linear(5), xn.EnsembleLinear(4, K, shared=False), xn.Linear(2)],
    "no bias": [xn.EnsembleLinear(5, K, bias=False), xn.ReLU(), xn.EnsembleLinear(2, K, False)],
    "no bias apart": [xn.Linear(3), xn.EnsembleLinear(2, K, shared=False, bias=False)],
    "one member": [xn.Linear(3), xn.EnsembleLinear(5, 1), xn.Tanh(), xn.EnsembleLinear(2, 1)],
    "one member apart": [xn.Linear(3), xn.EnsembleLinear(2, 1, shared=False)],
    "batch norm before": [xn.Linear(5), xn.BatchNorm(), xn.ReLU(), xn.EnsembleLinear(2, K)],
    "one input": [xn.Linear(1), xn.EnsembleLinear(1, K), xn.Tanh(), xn.EnsembleLinear(2, K, False)],
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
@each_loss
def test_gradients(backend, stack, loss):
    net = network(backend, stack, loss)
    assert xn.check_gradients(net, *data(7, loss)) < 1e-6


@pytest.mark.parametrize("n", [1, 2])
def test_gradients_of_few_examples(backend, n):
    assert xn.check_gradients(network(backend, STACKS["shared"]), *data(n)) < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_is_as_the_reference(device, dtype):
    stack = layers(activation=xn.ReLU(), dropout=0.3)
    fused, plain = (network(device, stack, dtype=dtype) for _ in range(2))
    plain = xn.Network(
        stack, loss="mean_squared_error", n_features=4, dtype=dtype, device="cpu", fused=False
    )
    plain.load_state(fused.state())
    X, Y = data()
    for n in (11, 3, 11):
        losses = [xn.Trainer(net).step(X[:n], Y[:n]) for net in (fused, plain)]
        assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    for name, value in plain.state().items():
        limit = 2e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(fused.state()[name], value, limit, limit, err_msg=name)


# -- the loss: the mean of the members' losses ----


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_mean_of_the_members_losses(backend, loss, weighted):
    """Compared with each member as a network of its own; and so are the gradients of W."""
    net = network(backend, layers(), loss)
    x, y = net.prepare(*data(11, loss))
    weight = np.random.default_rng(1).uniform(0.1, 1, (11, 1))
    weight = backend.asarray(weight / weight.sum()) if weighted else None
    found = on_host(backend, net.passes.loss_and_gradient(x, y, weight))
    found_gradients = gradients(net)
    losses, expected = [], 0.0
    for k in range(K):
        alone = net.member(k)
        losses.append(float(on_host(backend, alone.passes.loss_and_gradient(x, y, weight))))
        state = net.state()
        scale = state["6.s"][k][:, None] * state["6.r"][k]
        expected = expected + gradients(alone)["6.weight"] * scale / K
    assert found == pytest.approx(np.mean(losses), rel=1e-12)
    assert len(set(losses)) == K
    np.testing.assert_allclose(found_gradients["6.weight"], expected, rtol=1e-10, atol=1e-12)
    if not weighted and loss != "quantile":  # which is linear but for its kink
        loss_of_the_mean = net.evaluate(*data(11, loss))["loss"]
        assert found > loss_of_the_mean + 1e-6


def test_labels_of_a_short_batch_behind_a_long_one(backend):
    used, fresh = (network(backend, layers(), "softmax_cross_entropy") for _ in range(2))
    X, y = data(9, "softmax_cross_entropy")
    used.passes.loss_and_gradient(*used.prepare(X, y))
    short = X[5:], y[5:]
    for net in (used, fresh):
        net.passes.loss_and_gradient(*net.prepare(*short))
    np.testing.assert_array_equal(*(on_host(backend, net.gradients) for net in (used, fresh)))


def test_weights_in_fit_count_as_copies_of_examples(device):
    X, Y = data(8)
    once, twice = (network(device, layers()) for _ in range(2))
    weights, rows = [2.0, *[1.0] * 7], [0, *range(8)]
    xn.Trainer(once, xn.SGD(0.1)).fit(X, Y, batch_size=8, epochs=1, sample_weight=weights)
    xn.Trainer(twice, xn.SGD(0.1)).fit(X[rows], Y[rows], batch_size=9, epochs=1)
    for name, value in once.state().items():
        np.testing.assert_allclose(twice.state()[name], value, rtol=1e-9, atol=1e-12)


def test_micro_batches_give_the_same_step(device):
    X, Y = data(12)
    whole, parts = (network(device, layers()) for _ in range(2))
    xn.Trainer(whole).fit(X, Y, batch_size=12, epochs=2)
    xn.Trainer(parts).fit(X, Y, batch_size=12, epochs=2, micro_batches=3)
    for name, value in whole.state().items():
        np.testing.assert_allclose(parts.state()[name], value, rtol=1e-9, atol=1e-9)


def test_each_member_has_dropout_masks_of_its_own(device):
    net = network(device, [xn.EnsembleLinear(64, K), xn.ReLU(), xn.Dropout(0.5), xn.Linear(64)])
    state = {name: np.zeros_like(value) for name, value in net.state().items()}
    state |= {"0.bias": np.ones((K, 64)), "3.weight": np.eye(64)}
    net.load_state(state)
    with device.active():
        out = on_host(device, net.forward(device.asarray(np.zeros((20, 4))), training=True))
    masks = out.reshape(K, 20, 64) != 0
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert 0.4 < (masks[a] == masks[b]).mean() < 0.6


def test_decay_applies_to_the_weights_alone():
    net = network("cpu", [xn.EnsembleLinear(6, K), xn.EnsembleLinear(2, K, shared=False)])
    assert net.n_weights == 6 * 4 + K * 2 * 6
    assert net.n_parameters == net.n_weights + K * (4 + 6 + 6) + K * 2


def test_a_step_s_operations_are_those_of_all_members():
    net = network("cpu", STACKS["first"])
    between = 4 * 5 + 5 * 2  # of an example's row
    assert flops(net, "prediction") == 2 * K * between
    assert flops(net, "training") == 3 * 2 * K * between
    net = network("cpu", STACKS["separate first"])
    assert flops(net, "training") == 2 * (2 * 4 * 5 + 3 * K * (5 * 4 + 4 * 2))


# -- predictions ----


@each_loss
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_predictions_are_of_the_average(backend, loss, n_outputs):
    n_outputs += loss == "softmax_cross_entropy"
    net = network(backend, layers(last=xn.EnsembleLinear(n_outputs, K)), loss)
    X, y = data(30, loss, n_outputs)
    x = backend.asarray(X)
    alone = [net.member(k) for k in range(K)]
    each = np.stack([on_host(backend, one.predict(x)) for one in alone])
    np.testing.assert_allclose(on_host(backend, net.predict(x, members=True)), each, rtol=1e-12)
    found, error = on_host(backend, net.predict(x)), net.evaluate(X, y)["error"]
    if not net.loss.of_classes:
        np.testing.assert_allclose(found, each.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(on_host(backend, net.predict_std(x)), each.std(axis=0), 1e-9)
        return
    p = np.stack([on_host(backend, one.predict_proba(x)) for one in alone])
    mean = p.mean(axis=0)
    np.testing.assert_allclose(on_host(backend, net.predict_proba(x, members=True)), p, 1e-12)
    np.testing.assert_allclose(on_host(backend, net.predict_proba(x)), mean, rtol=1e-12)
    np.testing.assert_allclose(on_host(backend, net.predict_std(x)), p.std(axis=0), 1e-7, 1e-9)
    if loss == "softmax_cross_entropy":
        np.testing.assert_array_equal(found, mean.argmax(axis=1))
        assert error == pytest.approx((found != y).mean())
    else:
        np.testing.assert_array_equal(found, mean >= 0.5)
        assert error == pytest.approx((found.reshape(y.shape) != y).any(axis=1).mean())


def test_the_average_is_not_the_decision_of_most():
    """Two members say 1 with little confidence, one says 0 with much."""
    net = network("cpu", [xn.EnsembleLinear(2, K, shared=False)], "softmax_cross_entropy")
    bias = np.array([[0.0, 0.1], [0.0, 0.1], [5.0, 0.0]])
    net.load_state({"0.weight": np.zeros((K, 2, 4)), "0.bias": bias})
    x = np.zeros((1, 4))
    assert net.predict(x, members=True).T.tolist() == [[1, 1, 0]]
    assert net.predict(x).tolist() == [0]


def test_evaluate_s_loss_is_that_of_what_is_predicted(backend):
    X, y = data(30, "softmax_cross_entropy")
    net = network(backend, layers(), "softmax_cross_entropy")
    p = net.predict_proba(X)
    log_loss = -np.log(p[np.arange(30), y]).mean()
    assert net.evaluate(X, y)["loss"] == pytest.approx(log_loss, rel=1e-12)
    X, y = data(30, "sigmoid_cross_entropy")
    net = network(backend, layers(), "sigmoid_cross_entropy")
    p = net.predict_proba(X)
    log_loss = -(special.xlogy(y, p) + special.xlogy(1 - y, 1 - p)).sum(axis=1).mean()
    assert net.evaluate(X, y)["loss"] == pytest.approx(log_loss, rel=1e-12)
    X, y = data(30)
    net = network(backend, layers())
    squares = ((net.predict(X) - y) ** 2).sum(axis=1)
    found = net.evaluate(X, y)
    assert found["loss"] == pytest.approx(squares.mean(), rel=1e-12)
    rest = ((y - y.mean(axis=0)) ** 2).sum()
    assert found["error"] == pytest.approx(squares.sum() / rest, rel=1e-12)
    net = network(backend, layers(), "poisson_deviance")
    mean = net.predict(X)
    deviance = mean - y * np.log(mean) + special.xlogy(y, y) - y
    assert net.evaluate(X, y)["loss"] == pytest.approx(deviance.sum(axis=1).mean(), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_the_average_of_members_that_are_sure_is_finite(loss, dtype):
    net = network("cpu", [xn.EnsembleLinear(2, 2, shared=False)], loss, dtype=dtype)
    bias = np.array([[-500.0, 500.0], [-400.0, 600.0]], dtype)
    net.load_state({"0.weight": np.zeros((2, 2, 4), dtype), "0.bias": bias})
    x = np.zeros((1, 4), dtype)
    y = [0] if loss == "softmax_cross_entropy" else [[1, 0]]
    found = net.evaluate(x, y)
    assert 400 < found["loss"] < 1300
    assert found["error"] == 1


def test_many_examples_in_several_chunks(backend):
    net = network(backend, layers())
    X = data(23)[0]
    whole, each = net.predict(X), net.predict(X, members=True)
    net.predictor.chunk = 5
    np.testing.assert_allclose(net.predict(X), whole, rtol=1e-12)
    np.testing.assert_allclose(net.predict(X, members=True), each, rtol=1e-12)


def test_activations_have_an_axis_of_members_behind_the_first(backend):
    net = network(backend, layers())
    found = net.activations(data(9)[0])
    assert [a.shape for a in found[:2]] == [(9, 5), (9, 5)]
    assert [a.shape[:2] for a in found[2:]] == [(K, 9)] * 7
    net.predictor.chunk = 4
    for a, b in zip(net.activations(data(9)[0]), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(found[-1], net.predict(data(9)[0], members=True), rtol=1e-12)


def test_a_loss_of_one_s_own_averages_the_outputs():
    class Twice(xn.MeanSquaredError):
        def decide(self, xp, z):
            return 2 * z

    net = network("cpu", layers(), Twice())
    X = data()[0]
    np.testing.assert_allclose(net.predict(X), net.predict(X, members=True).mean(axis=0))


# -- one member alone ----


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_a_member_alone_predicts_what_it_does_among_the_others(backend, stack):
    net = network(backend, stack)
    X, Y = data()
    xn.Trainer(net).fit(X, Y, batch_size=4, epochs=2)
    each = net.predict(X, members=True)
    for k in range(len(each)):
        alone = net.member(k - len(each))
        assert not any(isinstance(layer, xn.EnsembleLinear) for layer in alone.layers)
        np.testing.assert_allclose(alone.predict(X), each[k], rtol=1e-10, atol=1e-12)


def test_there_is_no_such_member():
    net = network("cpu", layers())
    with pytest.raises(IndexError, match="there is no member 3: there are 3, 0 to 2"):
        net.member(3)
    with pytest.raises(TypeError, match=r"a member is 0\.5: give a whole number"):
        net.member(0.5)


# -- networks of ensembles, with members=K ----


@pytest.mark.parametrize("own_batches", [False, True])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
def test_several_ensembles_at_once_are_each_what_it_is_alone(backend, loss, own_batches):
    stack = layers(activation=xn.ReLU(), dropout=0.3)
    together = network(backend, stack, loss, members=2, random=False)
    X, y = data(24, loss)
    x, labels = together.prepare(X, y)
    halves = [(x[:12], labels[:12]), (x[12:], labels[12:])]
    if own_batches:
        with backend.active():
            batch = [backend.xp.stack(arrays) for arrays in zip(*halves, strict=True)]
    else:
        batch, halves = halves[0], [halves[0]] * 2
    with backend.active():
        losses = on_host(backend, together.passes.loss_and_gradient(*batch))
    for i, half in enumerate(halves):
        alone = network(backend, stack, loss, random_state=i, random=False)
        with backend.active():
            loss_alone = on_host(backend, alone.passes.loss_and_gradient(*half))
        assert losses[i] == pytest.approx(float(loss_alone), rel=1e-12)
        found, expected = (on_host(backend, net.gradients) for net in (together, alone))
        np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-12)
        member = together.member(i)
        np.testing.assert_allclose(member.predict(X), alone.predict(X), rtol=1e-12)
    each = together.predict(X, members=True)
    assert each.shape[:3] == (2, K, 24)
    if loss == "mean_squared_error":
        np.testing.assert_allclose(together.predict(X), each.mean(axis=(0, 1)), rtol=1e-12)


# -- initial values ----


def test_initial_values_are_tabm_s():
    stack = [xn.EnsembleLinear(200, 8), xn.EnsembleLinear(50, 8), xn.EnsembleLinear(3, 8, False)]
    net = network("cpu", stack, n_features=100, random=False)
    p = net.state()
    assert set(np.unique(p["0.r"])) == {-1.0, 1.0}
    assert abs(p["0.r"].mean()) < 0.15  # five standard deviations
    assert all((p[name] == 1).all() for name in ("1.r", "0.s", "1.s"))
    for layer, m in (("0", 100), ("1", 200), ("2", 50)):
        bound = 1 / np.sqrt(m)
        for name in ("weight", "bias"):
            value = p[f"{layer}.{name}"]
            assert abs(value).max() <= bound
            assert abs(value).max() > 0.9 * bound
    assert all((p[name] == p[name][0]).all() for name in ("0.bias", "1.bias"))
    assert len(np.unique(p["2.bias"])) == 8 * 3
    assert len(np.unique(p["2.weight"])) == 8 * 3 * 50
    signs = np.sign(p["0.weight"][:8])  # r, b and W come from streams of their own
    assert abs((signs * p["0.r"]).mean()) < 0.2
    assert abs(np.corrcoef(p["0.bias"][0], p["0.weight"].ravel()[:200])[0, 1]) < 0.4


def test_an_initialiser_s_weights_come_with_biases_of_zero():
    stack = [xn.EnsembleLinear(50, K, init="he"), xn.EnsembleLinear(2, K, False, init=xn.Normal(3))]
    p = network("cpu", stack, random=False).state()
    assert not any(p[name].any() for name in ("0.bias", "1.bias"))
    assert p["0.weight"].std() == pytest.approx(np.sqrt(2 / 4), rel=0.3)
    assert p["1.weight"].std() == pytest.approx(3, rel=0.2)
    linear = network("cpu", [xn.Linear(50, init="he")], random=False).state()
    np.testing.assert_array_equal(p["0.weight"], linear["0.weight"])


def test_initial_values_are_the_same_on_each_device_and_of_each_seed_others(backend):
    here, there = (network(d, layers(), random=False).state() for d in (backend, "cpu"))
    other = network("cpu", layers(), random=False, random_state=1).state()
    for name, value in here.items():
        np.testing.assert_array_equal(value, there[name])
    assert all((other[name] != here[name]).any() for name in ("2.r", "2.bias", "2.weight"))


# -- files ----


def test_save_load_pickle_and_clone(backend, tmp_path):
    net = network(backend, layers())
    net.save(tmp_path / "net.safetensors")
    X = data()[0]
    for again in (xn.load(tmp_path / "net.safetensors", backend), pickle.loads(pickle.dumps(net))):
        assert repr(again.layers) == repr(net.layers)
        np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-12)
        assert again.config() == net.config()
    names = {name for name in net.state() if name[0] in "28"}
    assert names == {"2.weight", "2.r", "2.s", "2.bias", "8.weight", "8.bias"}
    fresh = network(backend, layers(), random=False)
    for name, value in net.clone().state().items():
        np.testing.assert_array_equal(value, fresh.state()[name])


@pytest.mark.parametrize(("name", "shape"), [("0.r", (2, 4)), ("0.s", (K, 5)), ("0.bias", (6,))])
def test_a_file_with_other_shapes_is_refused(tmp_path, name, shape):
    net = network("cpu", [xn.EnsembleLinear(6, K), xn.Linear(2)])
    before, state = net.state(), net.state()
    state[name] = np.ones(shape)
    with pytest.raises(xn.ModelFileError, match=name):
        net.load_state(state)
    for key, value in before.items():
        np.testing.assert_array_equal(net.state()[key], value)


# -- what is refused ----


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: xn.EnsembleLinear(0), ValueError, "n_outputs is 0: give 1 or more"),
        (lambda: xn.EnsembleLinear(3, members=0), ValueError, "members is 0: give 1 or more"),
        (lambda: xn.EnsembleLinear(3, members=-2), ValueError, "members is -2"),
        (lambda: xn.EnsembleLinear(3, members=2.5), TypeError, "members is 2.5"),
        (lambda: xn.EnsembleLinear(3, shared=1), TypeError, "shared is 1: give True or False"),
        (lambda: xn.EnsembleLinear(3, bias=None), TypeError, "bias is None: give True or False"),
        (lambda: xn.EnsembleLinear(3, init="hee"), ValueError, "init is 'hee': give one of auto"),
        (
            lambda: network("cpu", [xn.EnsembleLinear(3, 4), xn.Tanh(), xn.EnsembleLinear(2, 5)]),
            ValueError,
            "one EnsembleLinear has members=4 and one behind it members=5: give all .* the same",
        ),
        (
            lambda: network("cpu", [xn.EnsembleLinear(3, 4), xn.BatchNorm(), xn.Linear(2)]),
            ValueError,
            "BatchNorm behind EnsembleLinear would mix the members' rows",
        ),
        (
            lambda: network("cpu", [xn.Linear(2)]).predict(np.zeros((1, 4)), members=True),
            ValueError,
            "this is one network, not several",
        ),
        (
            lambda: network("cpu", [xn.Linear(2)]).predict_std(np.zeros((1, 4))),
            ValueError,
            "this is one network, not several",
        ),
    ],
)
def test_what_is_refused_and_how(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_in_two_networks_is_a_description_in_both():
    """Which layer comes first is a matter of the network: what is given stays as it is."""
    first, second = xn.EnsembleLinear(4, K), xn.EnsembleLinear(2, K)
    both = network("cpu", [first, second])
    alone = network("cpu", [second])
    assert [layer.expands for layer in both.layers] == [True, False]
    assert alone.layers[0].expands
    assert alone.predict(np.zeros((3, 4)), members=True).shape == (K, 3, 2)
