"""Initial weights: their variance, which are chosen, and that precision and device change none."""

import math

import numpy as np
import pytest
from oracle import gradients

import xpnet as xn
from xpnet.nn.initializers import Initializer, resolve
from xpnet.registry import describe

#: Name: an initialiser, and the variance of a weight between m_in inputs and m_out outputs.
VARIANCES = {
    "he": (xn.He(), lambda m_in, m_out: 2 / m_in),
    "he_leaky": (xn.He(slope=0.5), lambda m_in, m_out: 2 / ((1 + 0.5**2) * m_in)),
    "xavier": (xn.Xavier(), lambda m_in, m_out: 2 / (m_in + m_out)),
    "lecun": (xn.LeCun(), lambda m_in, m_out: 1 / m_in),
    "normal": (xn.Normal(0.3), lambda m_in, m_out: 0.3**2),
    "zeros": (xn.Zeros(), lambda m_in, m_out: 0.0),
}

each_initialiser = pytest.mark.parametrize(("init", "variance"), VARIANCES.values(), ids=VARIANCES)


def network(backend, layers, **options):
    arguments = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    return xn.Network(layers, device=backend, **(arguments | options))


@each_initialiser
@pytest.mark.parametrize(("m_in", "m_out"), [(200, 100), (50, 400), (300, 1)])
def test_mean_and_variance(init, variance, m_in, m_out):
    weights = init.draw(np.random.default_rng(0), m_in, m_out)
    assert weights.shape == (m_out, m_in)
    expected = variance(m_in, m_out)
    assert init.standard_deviation(m_in, m_out) == pytest.approx(math.sqrt(expected))
    # Five standard errors: of a mean σ/√n, of a variance σ²√(2/n).
    n = m_in * m_out
    assert abs(weights.mean()) <= 5 * math.sqrt(expected / n)
    assert abs((weights**2).mean() - expected) <= 5 * expected * math.sqrt(2 / n)


@each_initialiser
def test_a_network_s_weights_have_that_variance(backend, init, variance):
    net = network(backend, [xn.Linear(150, init=init), xn.Tanh(), xn.Linear(1)], n_features=120)
    weights = net.state()["0.weight"]
    expected = variance(120, 150)
    assert abs((weights**2).mean() - expected) <= 5 * expected * math.sqrt(2 / weights.size)
    assert weights.any() == (expected > 0)


def test_he_has_twice_the_page_s_variance():
    """The notes' chapter 6 has 1/m for ReLU; He et al. have 2/m, and only that holds the scale."""
    rng = np.random.default_rng(0)
    scales = {}
    for name, init in [("he", xn.He()), ("page", xn.LeCun())]:
        x = rng.standard_normal((100, 300))
        for _ in range(20):
            x = np.maximum(x @ init.draw(rng, 300, 300).T, 0)
        scales[name] = (x**2).mean()
    assert 0.2 < scales["he"] < 5
    assert scales["page"] < 1e-4


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        ([xn.ReLU()], xn.He()),
        ([xn.LeakyReLU(0.2)], xn.He(slope=0.2)),
        ([xn.Tanh()], xn.Xavier()),
        ([xn.Sigmoid()], xn.Xavier()),
        ([xn.Softmax()], xn.Xavier()),
        ([], xn.Xavier()),
        # The activation counts, whatever stands before it.
        ([xn.BatchNorm(), xn.ReLU()], xn.He()),
        ([xn.Dropout(0.5), xn.ReLU()], xn.He()),
        ([xn.BatchNorm(), xn.Dropout(0.5), xn.LeakyReLU(0.3)], xn.He(slope=0.3)),
        ([xn.BatchNorm(), xn.Tanh(), xn.ReLU()], xn.Xavier()),
        # A linear layer right behind another one has no activation to serve.
        ([xn.Linear(3), xn.ReLU()], xn.Xavier()),
        ([xn.BatchNorm()], xn.Xavier()),
    ],
    ids=lambda value: repr(value) if isinstance(value, list) else "",
)
def test_auto_is_what_suits_the_activation_that_follows(backend, following, expected):
    given = [xn.Linear(3), *following]
    chosen = network(backend, given)
    named = network(backend, [xn.Linear(3, init=expected), *following])
    assert given[0].init == "auto"
    np.testing.assert_array_equal(chosen.state()["0.weight"], named.state()["0.weight"])
    assert resolve(chosen.layers[0].init) == expected


def test_a_name_is_an_initialiser(backend):
    for name, kind in Initializer.registry.own.items():
        by_name = network(backend, [xn.Linear(5, init=name)])
        by_object = network(backend, [xn.Linear(5, init=kind())])
        assert by_name.layers[0].init == kind()
        np.testing.assert_array_equal(by_name.state()["0.weight"], by_object.state()["0.weight"])


DEEP = [
    xn.Linear(20),
    xn.BatchNorm(),
    xn.ReLU(),
    xn.Linear(15, bias=True),
    xn.Tanh(),
    xn.Linear(3),
]


def test_both_precisions_start_from_the_same_weights(backend):
    single = network(backend, DEEP, dtype="float32").state()
    double = network(backend, DEEP, dtype="float64").state()
    for name, value in double.items():
        assert single[name].dtype == "float32"
        np.testing.assert_array_equal(single[name], value.astype("float32"), err_msg=name)


def test_every_backend_starts_from_the_same_weights(backend):
    here, cpu = network(backend, DEEP).state(), network("cpu", DEEP).state()
    for name, value in cpu.items():
        np.testing.assert_array_equal(here[name], value, err_msg=name)


def test_all_but_weights_start_plainly(backend):
    for name, value in network(backend, DEEP).state().items():
        if name in ("0.weight", "3.weight", "5.weight"):
            assert len(np.unique(value)) == value.size
        else:
            # γ and the running variance are 1, biases, β and the running mean 0.
            start = 1.0 if name in ("1.weight", "1.running_var") else 0.0
            np.testing.assert_array_equal(value, start, err_msg=name)


def test_weights_depend_on_the_seed_and_the_layer_alone(backend):
    one = network(backend, DEEP, random_state=1).state()
    again = network(backend, DEEP, random_state=1)
    other = network(backend, DEEP, random_state=2).state()
    assert (one["0.weight"] != other["0.weight"]).all()
    np.testing.assert_array_equal(one["5.weight"], again.state()["5.weight"])
    # A wider layer in front leaves the later ones as they were.
    wider = network(backend, [xn.Linear(99), *DEEP[1:3], xn.Linear(15), *DEEP[4:]], random_state=1)
    np.testing.assert_array_equal(one["5.weight"], wider.state()["5.weight"])
    # Two layers of one size are not alike.
    twins = network(backend, [xn.Linear(4), xn.Tanh(), xn.Linear(4)]).state()
    assert (twins["0.weight"] != twins["2.weight"]).all()


def test_initialize_goes_back_to_the_start(backend):
    net = network(backend, DEEP)
    start = net.state()
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    trainer = xn.Trainer(net)
    trainer.step(X, Y)
    moved = net.state()
    assert all((moved[name] != start[name]).any() for name in ("0.weight", "1.running_mean"))
    net.initialize()
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, start[name], err_msg=name)


def test_replicas_have_weights_of_their_own(backend):
    net = network(backend, DEEP, members=3)
    weights = np.array(backend.to_host(net.layers[0].parameters["weight"]))
    assert weights.shape == (3, 20, 4)
    assert len(np.unique(weights)) == weights.size


# -- zero weights ----


@pytest.mark.parametrize("activation", [xn.Tanh(), xn.ReLU()], ids=["tanh", "relu"])
@pytest.mark.parametrize("optimizer", [xn.SGD(0.5), xn.Adam(0.1)], ids=["sgd", "adam"])
def test_zero_weights_with_a_hidden_layer_never_leave_zero(backend, activation, optimizer):
    """The notes' chapter 2.3.1: only the last bias learns, and the network is a constant."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    y = (X[:, 0] > 0.3).astype(int)
    layers = [xn.Linear(5, init="zeros"), activation, xn.Linear(1, init="zeros")]
    net = network(backend, layers, loss="sigmoid_cross_entropy")
    xn.Trainer(net, optimizer).fit(X, y, batch_size=10, epochs=20)
    state = net.state()
    assert not state["0.weight"].any()
    assert not state["0.bias"].any()
    assert not state["2.weight"].any()
    assert state["2.bias"].any()
    assert len(np.unique(net.predict_proba(X))) == 1


def test_zero_weights_behind_sigmoids_stay_all_alike(backend):
    # σ(0) is 1/2, so they do leave zero, but every unit of the hidden layer stays the same one.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    y = (X[:, 0] > 0.3).astype(int)
    layers = [xn.Linear(5, init="zeros"), xn.Sigmoid(), xn.Linear(1, init="zeros")]
    net = network(backend, layers, loss="sigmoid_cross_entropy")
    xn.Trainer(net, xn.SGD(0.5)).fit(X, y, batch_size=10, epochs=20)
    hidden = net.state()["0.weight"]
    assert hidden.any()
    np.testing.assert_allclose(hidden, np.broadcast_to(hidden[0], hidden.shape), atol=1e-12)


def test_zero_weights_without_a_hidden_layer_learn(backend):
    net = network(backend, [xn.Linear(1, init="zeros")], loss="sigmoid_cross_entropy")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 4))
    y = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int)
    xn.Trainer(net, xn.SGD(1.0)).fit(X, y, batch_size=100, epochs=200)
    assert net.evaluate(X, y)["error"] < 0.05


def test_small_random_weights_leave_zero(backend):
    # What the notes do instead: N(0, 0.01²).
    net = network(backend, [xn.Linear(5, init="normal"), xn.Tanh(), xn.Linear(1, init="normal")])
    net.passes.loss_and_gradient(*net.prepare(np.eye(4), np.ones(4)))
    assert all(np.abs(value).max() > 0 for value in gradients(net).values())


# -- descriptions ----


@each_initialiser
def test_config_makes_the_initialiser_again(init, variance):
    config = describe(init)
    assert type(config) is dict
    again = Initializer.registry.build(config)
    assert type(again) is type(init)
    assert again == init


@pytest.mark.parametrize("init", ["glorot", "", None, 3, {"name": "he"}])
def test_an_unknown_name_is_refused(init):
    with pytest.raises(
        ValueError, match=r"init is .*: give one of auto, normal, he, xavier, lecun"
    ):
        resolve(init)


@pytest.mark.parametrize("sigma", [-0.1, math.nan, math.inf])
def test_a_bad_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match=r"sigma is .*: give a finite number, 0 or more"):
        xn.Normal(sigma)
