"""Factors of single parameters, and layers that scale theirs: NTK parametrisation."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from oracle import draw_state, numbers_in_float64, on_host

import xpnet as xn
from xpnet.backends.cuda.rows import DECAYED
from xpnet.backends.select import select
from xpnet.backends.updates import UPDATES, Update
from xpnet.estimators.function_subject import reseeded
from xpnet.search.candidates import Candidate, Data
from xpnet.search.groups import key

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 5))
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)

#: One of each row of the table, with an ε that makes a difference.
OPTIMIZERS = {
    "sgd": xn.SGD(0.02),
    "sgd_momentum": xn.SGD(0.01, momentum=0.9),
    "nesterov": xn.SGD(0.01, momentum=0.9, nesterov=True),
    "momentum": xn.Momentum(0.05),
    "rmsprop": xn.RMSProp(0.02, eps=1e-2),
    "adagrad": xn.Adagrad(0.1, eps=1e-2),
    "adam": xn.Adam(0.05, eps=1e-2),
    "adamw": xn.AdamW(0.05, eps=1e-2, weight_decay=0.3),
    "nadam": xn.NAdam(0.05, eps=1e-2),
    "lion": xn.Lion(0.01, weight_decay=0.5),
}
FACTORS = {"*.bias": 0.1, "0.weight": 6.0, "*": 1.5, "3.weight": 0.5, "?.bias": 0.25}
DECAYS = {"2.weight": 0.5, "3.*": 2.0, "0.bias": 1.0}

each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def network(device="cpu", parametrization="ntk", dtype="float64", last="zeros", **options):
    ntk = {"parametrization": parametrization}
    layers = [xn.Linear(6, **ntk), xn.Tanh(), xn.BatchNorm(), xn.Linear(2, init=last, **ntk)]
    given = {"n_features": 5, "loss": "mean_squared_error", "device": device, "dtype": dtype}
    return xn.Network(layers, **(given | options))


def factors_of(optimizer):
    return {"rate_factors": FACTORS} | ({"decay_factors": DECAYS} if optimizer.decays else {})


# -- the same again in θ, in plain NumPy: W = s θ ----

SCALES = {"0.weight": 5**-0.5, "3.weight": 6**-0.5}
RATES = {
    "0.weight": 1.5,
    "0.bias": 0.25,
    "2.weight": 1.5,
    "2.bias": 0.25,
    "3.weight": 0.5,
    "3.bias": 0.25,
}
DECAY = {"0.weight": 1.0, "3.weight": 2.0, "3.bias": 2.0, "0.bias": 1.0, "2.weight": 0.5}


def plain(optimizer, gradients, theta, steps):
    """Return θ by name after so many steps, each of one parameter's own rate and decay."""
    o, kind = optimizer, type(optimizer).__name__
    moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in theta.items()}
    product = 1.0
    for t in range(1, steps + 1):
        g_of = gradients(theta)
        if kind == "NAdam":
            now, after = (o.beta_1 * (1 - 0.5 * 0.96 ** (i * o.momentum_decay)) for i in (t, t + 1))
            product *= now
        for name, p in theta.items():
            g, (v, s), rate = g_of[name], moments[name], o.learning_rate * RATES[name]
            p = p * (1 - rate * getattr(o, "weight_decay", 0.0) * DECAY.get(name, 0.0))
            if kind == "SGD":
                v = o.momentum * v + g
                step = g + o.momentum * v if o.nesterov else v
            elif kind == "Momentum":
                step = v = o.beta * v + (1 - o.beta) * g
            elif kind == "RMSProp":
                s = o.beta * s + (1 - o.beta) * g**2
                step = g / (np.sqrt(s) + o.eps)
            elif kind == "Adagrad":
                s = s + g**2
                step = g / (np.sqrt(s) + o.eps)
            elif kind == "Lion":
                step = np.sign(o.beta_1 * v + (1 - o.beta_1) * g)
                v = o.beta_2 * v + (1 - o.beta_2) * g
            else:
                v, s = o.beta_1 * v + (1 - o.beta_1) * g, o.beta_2 * s + (1 - o.beta_2) * g**2
                step = v / (1 - o.beta_1**t)
                if kind == "NAdam":
                    step = (1 - now) / (1 - product) * g + after / (1 - product * after) * v
                step = step / (np.sqrt(s / (1 - o.beta_2**t)) + o.eps)
            moments[name], theta[name] = (v, s), p - rate * step
    return theta


def gradients_in_theta(backend, l2=0.0, clip_norm=None):
    """Return a function of θ for the gradients by name, of what L2 and the limit are of: W."""
    other = network(backend)

    def gradients(theta):
        state = other.state() | {name: p * SCALES.get(name, 1.0) for name, p in theta.items()}
        other.load_state(state)
        other.passes.loss_and_gradient(*other.prepare(X, Y))
        flat = on_host(backend, other.gradients).copy()
        weights = slice(0, other.n_weights)
        flat[weights] += l2 / len(X) * on_host(backend, other.parameters)[weights]
        if clip_norm is not None:
            flat *= min(1.0, clip_norm / np.linalg.norm(flat))
        parts = other.buffers.slices.items()
        return {
            name: flat[part].reshape(theta[name].shape) * SCALES.get(name, 1.0)
            for name, part in parts
        }

    return gradients


@each_optimizer
@pytest.mark.parametrize("limits", [{}, {"l2": 3.0, "clip_norm": 0.4}], ids=["", "l2, clipped"])
def test_it_is_the_update_of_theta(backend, name, limits):
    optimizer, net = OPTIMIZERS[name], network(backend)
    net.load_state(draw_state(net, 3))
    start = {n: net.state()[n] / SCALES.get(n, 1.0) for n in net.buffers.slices}
    trainer = xn.Trainer(net, optimizer, **limits, **factors_of(optimizer))
    for _ in range(10):
        trainer.step(X, Y)
    expected = plain(optimizer, gradients_in_theta(backend, **limits), start, 10)
    for n, p in expected.items():
        found = net.state()[n]
        np.testing.assert_allclose(found, p * SCALES.get(n, 1.0), rtol=0, atol=1e-12, err_msg=n)


@each_optimizer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unfused_the_numbers_are_the_same(backend, name, dtype):
    ends = []
    for device in (backend, select("cpu", fused=False)):
        net = network(device, dtype=dtype)
        net.load_state(draw_state(net, 3))
        trainer = xn.Trainer(net, OPTIMIZERS[name], **factors_of(OPTIMIZERS[name]))
        trainer.fit(X, Y, batch_size=16, epochs=3)
        ends.append(on_host(device, net.parameters))
    tolerance = 1e-12 if dtype == "float64" else 2e-3 if name == "lion" else 1e-4
    np.testing.assert_allclose(*ends, rtol=tolerance, atol=tolerance)


# -- PyTorch's parameter groups, in θ ----


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"momentum", "lion"}))
def test_pytorch_s_parameter_groups(name):
    torch = pytest.importorskip("torch")
    o = OPTIMIZERS[name]
    net = network()
    net.load_state(draw_state(net, 3))
    theta = {
        n: torch.tensor(net.state()[n] / SCALES.get(n, 1.0), requires_grad=True)
        for n in net.buffers.slices
    }
    groups = [
        {
            "params": [p],
            "lr": o.learning_rate * RATES[n],
            "weight_decay": getattr(o, "weight_decay", 0.0) * DECAY.get(n, 0.0),
        }
        for n, p in theta.items()
    ]
    optim, betas = torch.optim, {"betas": (0.9, 0.999), "eps": 1e-2}
    rival = {
        "SGD": lambda: optim.SGD(groups, momentum=o.momentum, nesterov=o.nesterov),
        "RMSProp": lambda: optim.RMSprop(groups, alpha=o.beta, eps=o.eps),
        "Adagrad": lambda: optim.Adagrad(groups, eps=o.eps),
        "Adam": lambda: optim.Adam(groups, **betas),
        "AdamW": lambda: optim.AdamW(groups, **betas),
        "NAdam": lambda: optim.NAdam(groups, momentum_decay=o.momentum_decay, **betas),
    }[type(o).__name__]()
    x, y = torch.tensor(X), torch.tensor(Y)
    trainer = xn.Trainer(net, o, **factors_of(o))
    eps = net.layers[2].eps
    for _ in range(10):
        trainer.step(X, Y)
        with numbers_in_float64():
            rival.zero_grad()
            h = torch.tanh(x @ theta["0.weight"].T / 5**0.5 + theta["0.bias"])
            h = (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + eps)
            h = h * theta["2.weight"] + theta["2.bias"]
            z = h @ theta["3.weight"].T / 6**0.5 + theta["3.bias"]
            (((z - y) ** 2).sum() / len(y)).backward()
            rival.step()
    for n, p in theta.items():
        found = net.state()[n]
        expected = p.detach().numpy() * SCALES.get(n, 1.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10, err_msg=n)


# -- NTK parametrisation ----


def test_initial_weights():
    wide = [xn.Linear(300, parametrization="ntk"), xn.ReLU()]
    last = xn.Linear(2, init="zeros", parametrization="ntk")
    net = xn.Network([*wide, last], loss="mean_squared_error", n_features=400, device="cpu")
    weight = net.state()["0.weight"]
    assert abs(weight.std() * np.sqrt(400) - 1) < 0.01  # not He's √2
    assert not net.state()["2.weight"].any()
    given = xn.Linear(300, init=xn.Normal(0.5), parametrization="ntk")
    net = xn.Network([given], loss="mean_squared_error", n_features=400, device="cpu")
    assert abs(net.state()["0.weight"].std() - 0.5) < 0.01  # of W


def test_the_function_moves_as_much_whatever_the_width():
    """The neural tangent kernel: z changes by about the same in a step of SGD."""
    moved = {}
    for kind in ("ntk", "standard"):
        for width in (64, 4096):
            layers = [xn.Linear(width, init="lecun", parametrization=kind), xn.Tanh()]
            last = xn.Linear(1, parametrization=kind, init="lecun")
            net = xn.Network([*layers, last], loss="mean_squared_error", n_features=5, device="cpu")
            before = net.predict(X)
            xn.Trainer(net, xn.SGD(1e-3)).step(X, X[:, 0] + 3)
            moved[kind, width] = np.abs(net.predict(X) - before).mean()
    assert 0.7 < moved["ntk", 4096] / moved["ntk", 64] < 1.4
    assert moved["standard", 4096] / moved["standard", 64] > 20


def test_gradients_predictions_and_passes_are_of_w(backend):
    standard, ntk = network(backend, "standard"), network(backend)
    ntk.load_state(draw_state(standard, 1))
    standard.load_state(ntk.state())
    np.testing.assert_array_equal(standard.predict(X), ntk.predict(X))
    for net in (standard, ntk):
        net.passes.loss_and_gradient(*net.prepare(X, Y))
    assert (
        on_host(backend, ntk.gradients).tobytes() == on_host(backend, standard.gradients).tobytes()
    )
    assert xn.check_gradients(ntk, X, Y) < 1e-7


def test_files_and_copies(tmp_path):
    net = network()
    xn.Trainer(net, xn.Adam(0.1)).fit(X, Y, epochs=2)
    net.save(tmp_path / "net.safetensors")
    for again in (
        xn.load(tmp_path / "net.safetensors", device="cpu"),
        pickle.loads(pickle.dumps(net)),
    ):
        assert repr(again) == repr(net)
        assert again.layers[0].parametrization == "ntk"
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
    together = xn.stack([network(random_state=3), network(random_state=8)])
    assert together.member(1).layers[3].parametrization == "ntk"
    nets = [
        xn.Network([layer], loss="huber", n_features=2, device="cpu")
        for kind in ("ntk", "standard")
        for layer in [xn.Linear(1, init="lecun", parametrization=kind)]
    ]
    with pytest.raises(ValueError, match="parametrization of layer 0 is 'ntk' in network 0"):
        xn.stack(nets)


def test_the_usual_parametrisation_goes_without_saying():
    layer = xn.Linear(3, init="he")
    assert repr(layer) == "Linear(n_outputs=3, bias=None, init=He(slope=0.0))"
    assert set(layer.config()) == {"type", "n_outputs", "bias", "init"}
    assert xn.Linear(3, parametrization="ntk").config()["parametrization"] == "ntk"


@pytest.mark.parametrize("kind", ["NTK", None, ["ntk"]])
def test_another_parametrisation_is_refused(kind):
    with pytest.raises(ValueError, match=r"parametrization is .*: give 'standard' or 'ntk'"):
        xn.Linear(3, parametrization=kind)


# -- factors ----


def test_factors_of_one_change_nothing(backend):
    """Then there are no arrays, and the kernels are those without."""
    ends = []
    for factors in ({}, {"rate_factors": {"*": 1}, "decay_factors": {"*.bias": 0, "2.*": 0.0}}):
        net = network(backend, "standard", dtype="float32")
        trainer = xn.Trainer(net, xn.AdamW(0.1), **factors)
        assert trainer.update_step.factors.arrays == ()
        trainer.fit(X, Y, batch_size=16, epochs=2)
        ends.append(on_host(backend, net.parameters).tobytes())
    assert ends[0] == ends[1]


@each_optimizer
def test_by_a_factor_of_zero_parameters_stay(backend, name):
    net = network(backend, dtype="float32", last="lecun")
    before = net.state()
    trainer = xn.Trainer(net, OPTIMIZERS[name], rate_factors={"*": 0, "3.*": 1})
    trainer.fit(X, Y, batch_size=16, epochs=2)
    parameters = [n for n in net.state() if "running" not in n]
    same = [n for n in parameters if (net.state()[n] == before[n]).all()]
    assert same == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_biases_decay_where_they_are_told_to(backend):
    """With an ε so large there is nothing else."""
    net = network(backend, "standard", last="lecun")
    net.load_state(draw_state(net, 1))
    start = net.state()
    factors = {"rate_factors": {"3.*": 0.5}, "decay_factors": {"*.bias": 3.0, "0.weight": 0}}
    trainer = xn.Trainer(net, xn.AdamW(0.1, eps=1e200, weight_decay=0.2), **factors)
    trainer.step(X, Y)
    kept = {"0.weight": 1, "0.bias": 0.94, "2.weight": 1, "2.bias": 0.94, "3.weight": 0.99}
    for n, factor in (kept | {"3.bias": 0.97}).items():
        np.testing.assert_allclose(net.state()[n], factor * start[n], rtol=1e-12, err_msg=n)


def test_what_was_given_can_be_read():
    trainer = xn.Trainer(network(), xn.Lion(), rate_factors=FACTORS, decay_factors={"*": 2})
    assert (trainer.rate_factors, trainer.decay_factors) == (FACTORS, {"*": 2.0})
    trainer.rate_factors["*"] = 9.0  # a copy
    assert trainer.rate_factors == FACTORS


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (
            {"rate_factors": {"4.weight": 1.0}},
            ValueError,
            "rate_factors has '4.weight', which fits no parameter: they are 0.weight, 0.bias, "
            "2.weight, 2.bias, 3.weight, 3.bias",
        ),
        ({"decay_factors": {"*.running_var": 1.0}}, ValueError, "which fits no parameter"),
        ({"rate_factors": {"*": -0.1}}, ValueError, r"rate_factors\['\*'\] is -0.1: give a finite"),
        ({"rate_factors": {"*": np.nan}}, ValueError, "is nan: give a finite number, 0 or more"),
        ({"rate_factors": {"*": "0.1"}}, TypeError, "is '0.1': give a number"),
        ({"rate_factors": {0: 0.1}}, TypeError, "a pattern of rate_factors is 0: give text"),
        ({"rate_factors": [0.1]}, TypeError, r"rate_factors is \[0.1\]: give a dict, as"),
    ],
)
def test_what_makes_no_sense_is_refused(factors, error, message):
    with pytest.raises(error, match=message):
        xn.Trainer(network(), xn.AdamW(), **factors)


def test_decay_factors_need_a_decay():
    with pytest.raises(ValueError, match="decay_factors are given, and Adam has no weight decay"):
        xn.Trainer(network(), xn.Adam(), decay_factors={"*.bias": 1.0})


# -- what users define ----


@dataclass(frozen=True)
class Plain(xn.Optimizer):
    def update(self, k, p, g, moments, scalars, scratch, n_weights):
        k.xp.multiply(g, scalars[0], out=scratch[0])
        k.xp.subtract(p, scratch[0], out=p)


@dataclass(frozen=True)
class Factored(Plain):
    def update(self, k, p, g, moments, scalars, scratch, n_weights, factors=()):
        xp, rest = k.xp, scratch[0]
        xp.multiply(g, scalars[0], out=rest)
        for factor in factors[:2]:
            xp.multiply(rest, factor, out=rest)
        xp.subtract(p, rest, out=p)


class Stretched(xn.Optimizer):
    rule = Update("stretched", "p = p - rate * (g + p)")


def test_an_update_of_a_user_s_own(backend):
    ends = []
    for optimizer in (Factored(0.2), xn.SGD(0.2)):
        net = network(backend)
        xn.Trainer(net, optimizer, rate_factors=FACTORS).fit(X, Y, batch_size=16, epochs=2)
        ends.append(on_host(backend, net.parameters))
    np.testing.assert_allclose(*ends, rtol=1e-12, atol=1e-12)
    plain = network(backend, "standard")
    xn.Trainer(plain, Plain(0.2)).step(X, Y)  # without factors it need not know of them


@pytest.mark.parametrize(
    ("optimizer", "parametrization", "factors", "message"),
    [
        (Plain(0.1), "ntk", None, "no factors, and there are a scale of 0.weight, 3.weight: give"),
        (Plain(0.1), "standard", {"*.bias": 0.1}, "no factors, and there are rate_factors: give"),
        (Stretched(0.1), "ntk", None, "'stretched' takes no factors: write 'p = p - …'"),
    ],
)
def test_an_update_that_takes_no_factors_is_refused(optimizer, parametrization, factors, message):
    with pytest.raises(TypeError, match=message):
        xn.Trainer(network(parametrization=parametrization), optimizer, rate_factors=factors)


@dataclass(eq=False)
class Halved(xn.Linear):
    scales: tuple[float, ...] = (0.5,)
    of: str = "weight"

    def update_scales(self):
        return {self.of: self.scales[0]}


def test_a_layer_of_a_user_s_own():
    net = xn.Network([Halved(1)], loss="mean_squared_error", n_features=5, device="cpu")
    factor = xn.Trainer(net).update_step.factors.each["0.weight"]
    assert factor == (0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": (0.0,)}, "the scale of 0.weight is 0.0: give a finite number above 0"),
        ({"of": "gain"}, "the scale of 0.gain is given, and Halved has weight, bias"),
    ],
)
def test_scales_that_make_no_sense_are_refused(given, message):
    net = xn.Network([Halved(1, **given)], loss="mean_squared_error", n_features=5, device="cpu")
    with pytest.raises(ValueError, match=message):
        xn.Trainer(net)


# -- members ----


def of_three(device, **factors):
    """Return a trainer of three members with numbers of their own."""
    rates, betas, decays = (0.01, 0.05, 0.1), (0.9, 0.8, 0.5), (0.0, 0.1, 0.5)
    optimizer = xn.AdamW(rates, beta_1=betas, weight_decay=decays)
    return xn.Trainer(network(device, members=3, last="lecun"), optimizer, **factors)


def one_of(device, i, **factors):
    optimizer = xn.AdamW((0.01, 0.05, 0.1)[i], (0.9, 0.8, 0.5)[i], weight_decay=(0.0, 0.1, 0.5)[i])
    return xn.Trainer(network(device, random_state=i, last="lecun"), optimizer, **factors)


BOTH = {"rate_factors": FACTORS, "decay_factors": DECAYS}


def check(together, i, alone):
    to_host = together.backend.to_host
    several, one = together.network.parameters, alone.network.parameters
    np.testing.assert_allclose(to_host(several)[i], to_host(one), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("subsets", [None, [np.arange(30), np.arange(40), np.arange(5, 28)]])
def test_a_member_is_the_network_alone(device, subsets):
    """Also where they have different numbers of examples, and go on alone."""
    together = of_three(device, **BOTH)
    together.fit(X, Y, batch_size=8, epochs=3, subsets=subsets)
    for i in range(3):
        rows = slice(None) if subsets is None else subsets[i]
        alone = one_of(device, i, **BOTH)
        alone.fit(X[rows], Y[rows], batch_size=8, epochs=3)
        check(together, i, alone)
        taken_out = together.member(i)
        assert taken_out.rate_factors == FACTORS
        for trainer in (taken_out, alone):
            trainer.fit(X, Y, batch_size=8, epochs=2)
        np.testing.assert_allclose(
            *(device.to_host(t.network.parameters) for t in (taken_out, alone)), rtol=1e-9
        )


def test_a_member_that_was_stopped_stays_as_it_is(device):
    together = of_three(device, **BOTH)
    together.fit(X, Y, batch_size=8, epochs=[1, 3, 2])
    for i, epochs in enumerate([1, 3, 2]):
        alone = one_of(device, i, **BOTH)
        alone.fit(X, Y, batch_size=8, epochs=epochs)
        check(together, i, alone)


def test_another_one_in_a_member_s_place(device):
    together, other = of_three(device, **BOTH), one_of(device, 0, **BOTH)
    together.fit(X, Y, batch_size=8, epochs=2)
    together.replace(1, other)
    together.fit(X, Y, batch_size=8, epochs=2)
    other.fit(X, Y, batch_size=8, epochs=2)
    check(together, 1, other)
    unlike = one_of(device, 0, rate_factors=FACTORS | {"*.bias": 0.3}, decay_factors=DECAYS)
    together.replace(1, unlike)  # a later pattern counts: in the end they are the same
    with pytest.raises(ValueError, match=r"the factors of 0\.bias are .*: members share them"):
        together.replace(1, one_of(device, 0, rate_factors=FACTORS | {"0.bias": 0.3}))


def test_copies_of_a_trainer_keep_them():
    trainer = xn.Trainer(network(), xn.Lion(), **BOTH)
    assert reseeded(trainer, 5).decay_factors == DECAYS
    assert trainer.choose_batch_size(X, Y).batch_size


def test_batch_sizes_are_measured_with_them(monkeypatch):
    seen = []

    def factors(self, *_):
        seen.append((self.rate_factors, self.decay_factors))
        raise RuntimeError

    monkeypatch.setattr(xn.Trainer, "step", factors)
    trainer = xn.Trainer(network(), xn.Lion(), **BOTH)
    with pytest.raises(RuntimeError):
        trainer.choose_batch_size(np.tile(X, (100, 1)), np.tile(Y, (100, 1)))
    assert seen == [(FACTORS, DECAYS)]


def test_where_a_member_diverges_is_found_with_them():
    """Its steps are made again, alone: without the factor nothing would go wrong in them."""
    factors = {"rate_factors": {"*.weight": 1e4}}
    options = {"n_features": 5, "loss": "mean_squared_error", "device": "cpu", "dtype": "float64"}
    layers = [xn.Linear(6), xn.ReLU(), xn.Linear(2)]
    alone = xn.Trainer(xn.Network(layers, random_state=1, **options), xn.SGD(0.01), **factors)
    with pytest.raises(xn.DivergedError) as told:
        alone.fit(X, Y, batch_size=8, epochs=5)
    where = str(told.value).partition(";")[0]
    assert "(first in " in where
    several = xn.Network(layers, random_state=0, members=2, **options)
    with pytest.warns(UserWarning, match="member 1 has diverged") as warned:
        xn.Trainer(several, xn.SGD((1e-9, 0.01)), **factors).fit(X, Y, batch_size=8, epochs=5)
    assert where in str(warned[0].message)


def test_members_of_a_search_have_the_same():
    data = Data((X, Y), (X, Y))

    def key_of(**factors):
        return key(Candidate(xn.Trainer(network(), **factors), data, 8, 1))

    assert key_of(rate_factors={"*": 2}) == key_of(rate_factors={"*": 2.0})
    assert key_of(rate_factors={"*": 2}) != key_of()


# -- beneath ----


def test_rows_that_decay_have_kernels():
    optimizers = xn.Optimizer.registry.own.values()
    assert {kind.row for kind in optimizers if kind.decays} == set(DECAYED)


def test_every_row_takes_factors():
    for row in UPDATES.values():
        for decays in (False, True):
            made = row.with_factors(decays)
            assert made.scalars == (row.scalars + ("keep",) * decays)
            assert made is row.with_factors(decays)


def test_slices_are_where_the_layers_look(backend):
    net = network(backend)
    net.parameters[...] = backend.asarray(np.arange(net.n_parameters, dtype="float64"))
    slices = net.buffers.slices
    assert [*slices] == [name for name in net.state() if "running" not in name]
    for name, part in slices.items():
        np.testing.assert_array_equal(
            net.state()[name].ravel(), np.arange(part.start, part.stop), err_msg=name
        )
