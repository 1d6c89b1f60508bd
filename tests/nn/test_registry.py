"""Layers, losses, optimisers, initialisers and schedules of a user's own, from name to file."""

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Literal, Optional

import numpy as np
import pytest
import safetensors.numpy
from hostile import rewrite

import xpnet as xn
from xpnet.registry import Registered, Registry, UnknownNameError, describe

# -- classes as users write them, in a module without quoted annotations ----


@dataclass(eq=False)
class Bent(xn.Layer):
    """y = x where it is positive, else x times the slope of the kind."""

    slopes: tuple[float, ...] = (0.1, 0.5)
    which: Literal["first", "last"] = "first"
    note: Optional[str] = None  # noqa: UP045 - users write it too

    def buffers(self, new, x, overwrite, needs_dx):
        rows = {name: new.rows(name, self.n_inputs) for name in ("y", "slope")}
        return SimpleNamespace(**rows)

    def forward(self, x, b):
        xp = self.kernels.xp
        slope = self.slopes[0 if self.which == "first" else -1]
        xp.greater(x, 0.0, out=b.slope)
        xp.multiply(b.slope, 1.0 - slope, out=b.slope)
        xp.add(b.slope, slope, out=b.slope)
        xp.multiply(x, b.slope, out=b.y)
        return b.y

    def backward(self, dy, b):
        self.kernels.xp.multiply(dy, b.slope, out=dy)
        return dy


@dataclass(eq=False)
class Factor(xn.Layer):
    """y = x · diag(w): a layer with parameters."""

    start: float = 1.0

    def weight_shapes(self):
        return {"weight": (self.n_inputs,)}

    def initial(self, name, generator):
        return self.start

    def buffers(self, new, x, overwrite, needs_dx):
        rows = {name: new.rows(name, self.n_inputs) for name in ("y", "product")}
        return SimpleNamespace(x=None, **rows)

    def forward(self, x, b):
        b.x = x
        self.kernels.xp.multiply(x, self.parameters["weight"][..., None, :], out=b.y)
        return b.y

    def backward(self, dy, b):
        xp, weight = self.kernels.xp, self.parameters["weight"][..., None, :]
        xp.multiply(dy, b.x, out=b.product)
        xp.sum(b.product, axis=-2, out=self.gradients["weight"])
        xp.multiply(dy, weight, out=dy)
        return dy


@dataclass(frozen=True)
class Quartic(xn.Loss):
    """Σ c (z − y)⁴, averaged."""

    of_classes: ClassVar[bool] = False

    factor: float = 1.0

    def compute(self, k, z, y, example_weight, b):
        xp = k.xp
        xp.subtract(z, y, out=b.dz)
        xp.multiply(b.dz, b.dz, out=b.terms)
        xp.multiply(b.dz, b.terms, out=b.dz)
        xp.multiply(b.dz, 4.0 * self.factor, out=b.dz)
        xp.multiply(b.dz, example_weight, out=b.dz)
        xp.multiply(b.terms, b.terms, out=b.terms)
        xp.multiply(b.terms, self.factor, out=b.terms)
        xp.multiply(b.terms, example_weight, out=b.terms)
        xp.sum(b.terms, axis=(-2, -1), out=b.loss)

    def decide(self, xp, z):
        return z

    def error_sum(self, xp, z, y):
        return xp.sum(xp.square(z - y, dtype=np.float64), axis=(-2, -1))


@dataclass(frozen=True)
class TwoRates(xn.Optimizer):
    """p ← p − α (g + c m), where m adds up the gradients."""

    share: float = 0.1

    def update(self, k, p, g, moments, scalars, scratch, n_weights):
        xp, change = k.xp, scratch[0]
        xp.add(moments[0], g, out=moments[0])
        xp.multiply(moments[0], self.share, out=change)
        xp.add(change, g, out=change)
        xp.multiply(change, scalars[0], out=change)
        xp.subtract(p, change, out=p)


@dataclass(frozen=True)
class Spread(xn.Initializer):
    """Evenly spread numbers."""

    most: float = 0.3

    def standard_deviation(self, n_inputs, n_outputs):
        return self.most / 3**0.5

    def draw(self, generator, n_inputs, n_outputs):
        return generator.uniform(-self.most, self.most, (n_outputs, n_inputs))


@dataclass(frozen=True)
class Halving(xn.Schedule):
    start: float
    steps: Sequence[int] = (7,)

    def __call__(self, step, epoch):
        return self.start / 2 ** sum(step >= s for s in self.steps)


@dataclass(frozen=True)
class Warm(xn.Schedule):
    """A schedule of schedules."""

    then: xn.Schedule
    steps: int = 3

    def __call__(self, step, epoch):
        return min(1.0, (step + 1) / self.steps) * self.then(step, epoch)


LAYERS = [
    xn.Linear(6, init=Spread(0.5)),
    Bent((0.2, 0.3), "last", "n"),
    xn.BatchNorm(),
    Factor(0.9),
    xn.Dropout(0.1),
    xn.Linear(2, init="spread"),
]
RATE = Warm(Halving(0.02, (4, 9)), steps=5)


def network(device="cpu", layers=LAYERS, loss=Quartic(0.5), **options):
    return xn.Network(layers, loss=loss, n_features=3, device=device, **options)


def data(n=47):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, np.stack([X[:, 0] * X[:, 1], X.sum(axis=1)], axis=1)


def trainer(device, optimizer=None):
    return xn.Trainer(network(device), optimizer or TwoRates(RATE, share=0.2), l2=0.01)


def assert_same(one, two):
    assert one.config() == two.config()
    for name, value in one.state().items():
        np.testing.assert_array_equal(two.state()[name], value, err_msg=name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# -- they train, and are kept ----


def test_their_gradients_are_right(device):
    net = network(device, dtype="float64")
    X, y = data(7)
    assert xn.check_gradients(net, X, y) < 1e-6


def test_they_train_alike_everywhere(device):
    X, y = data()
    here, there = trainer(device), trainer("cpu")
    before = here.network.evaluate(X, y)["loss"]
    for each in (here, there):
        each.fit(X, y, batch_size=10, epochs=4)
    assert here.network.evaluate(X, y)["loss"] < 0.8 * before
    for name, value in there.network.state().items():
        np.testing.assert_allclose(here.network.state()[name], value, rtol=1e-3, atol=1e-4)


def test_they_train_in_several_members(device):
    net = network(device, members=2)
    X, y = data(10)
    x, labels = net.prepare(X, y)
    several = xn.Trainer(net, TwoRates(0.01))
    with net.backend.active():
        first = net.backend.to_host(several.step(x, labels)).copy()
        for _ in range(5):
            last = net.backend.to_host(several.step(x, labels))
    assert first.shape == (2,)
    assert (last < first).all()


def test_a_file_gives_the_same_bits(device, path):
    here = trainer(device)
    here.fit(*data(), batch_size=10, epochs=1)
    here.network.save(path)
    again = xn.load(path, device=device)
    assert_same(here.network, again)
    assert repr(again) == repr(here.network)
    assert type(again.layers[1]) is Bent
    assert again.layers[1].slopes == (0.2, 0.3)
    assert again.loss == Quartic(0.5)
    assert again.layers[0].init == Spread(0.5)
    again.save(path.with_name("again"))
    assert path.read_bytes() == path.with_name("again").read_bytes()


def test_a_loaded_network_trains_on_with_the_same_bits(device, path):
    X, y = data()
    net = network(device)
    net.save(path)
    again = xn.load(path, device=device)
    for each in (net, again):
        xn.Trainer(each, TwoRates(0.01)).fit(X, y, batch_size=10, epochs=2)
    assert_same(net, again)


@pytest.mark.parametrize(
    "keep",
    [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deepcopy", "copy", "pickle"],
)
def test_a_copy_has_the_same_bits(device, keep):
    here = trainer(device)
    here.fit(*data(), batch_size=10, epochs=1)
    again = keep(here.network)
    assert_same(here.network, again)
    assert again.loss == here.network.loss
    assert again.layers[1] is not here.network.layers[1]
    again.load_state({name: value * 0 for name, value in again.state().items()})
    assert any(value.any() for value in here.network.state().values())


@pytest.mark.parametrize("rate", [RATE, lambda step, epoch: 0.02 / (step + 1), 0.01])
def test_a_fit_that_goes_on_has_the_same_bits(device, tmp_path, rate):
    X, y = data()
    optimizer = TwoRates(rate)
    whole, cut, resumed = (trainer(device, optimizer) for _ in range(3))
    options = {"batch_size": 10, "shuffle": True}
    whole.fit(X, y, epochs=5, **options)

    def end(trainer, row):
        if trainer.epochs == 2:
            trainer.interrupt()

    folder = tmp_path / "run"
    cut.fit(X, y, epochs=5, callbacks=[end], checkpoint=xn.Checkpoints(folder, every=3), **options)
    resumed.fit(X, y, epochs=5, checkpoint=xn.Checkpoints(folder), resume=True, **options)
    assert cut.steps < resumed.steps == whole.steps
    assert_same(whole.network, resumed.network)
    for mine, other in zip(whole.moments, resumed.moments, strict=True):
        to_host = whole.backend.to_host
        np.testing.assert_array_equal(to_host(mine), to_host(other))


@pytest.mark.parametrize(
    ("optimizer", "loss", "message"),
    [
        (TwoRates(Halving(0.01), share=0.3), Quartic(), "optimizer.share is 0.3 here and 0.1"),
        (TwoRates(Halving(0.02)), Quartic(), "optimizer.learning_rate.start is 0.02 here"),
        (TwoRates(Halving(0.01)), Quartic(2.0), "network.loss is .*factor.* here"),
        (xn.SGD(Halving(0.01)), Quartic(), 'optimizer.kind is "SGD" here'),
    ],
)
def test_a_run_with_other_options_is_another_run(tmp_path, optimizer, loss, message):
    X, y = data()
    first = xn.Trainer(network(loss=Quartic()), TwoRates(Halving(0.01)))
    first.fit(X, y, epochs=1, checkpoint=tmp_path / "run")
    other = xn.Trainer(network(loss=loss), optimizer)
    with pytest.raises(ValueError, match=message):
        other.fit(X, y, epochs=2, checkpoint=tmp_path / "run", resume=True)


def test_estimators_keep_schedules(tmp_path):
    X, y = data()
    model = xn.MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", max_iter=3, random_state=0, device="cpu"
    )
    model.set_params(learning_rate=RATE)
    with pytest.warns(UserWarning, match="not converged|Maximum iterations"):
        model.fit(X, y)
    model.save(tmp_path / "model")
    again = xn.MLPRegressor.load(tmp_path / "model", device="cpu")
    assert again.learning_rate == RATE
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert pickle.loads(pickle.dumps(model)).learning_rate == RATE


def test_estimators_name_a_schedule_that_is_missing(tmp_path, monkeypatch):
    X, y = data()
    model = xn.MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", max_iter=3, random_state=0, device="cpu"
    )
    with pytest.warns(UserWarning, match="not converged|Maximum iterations"):
        model.set_params(learning_rate=RATE).fit(X, y)
    model.save(tmp_path / "model")
    forget(monkeypatch, xn.Schedule, "Halving")
    with pytest.raises(xn.ModelFileError, match=r"model: the schedule 'Halving' is not defined"):
        xn.MLPRegressor.load(tmp_path / "model", device="cpu")


def test_a_model_of_the_command_line_reads_networks_with_a_regression_of_one_s_own(path):
    net = network()
    net.save(path)
    X, _ = data()
    np.testing.assert_array_equal(xn.load_model(path, device="cpu").predict(X), net.predict(X))


# -- names ----


def test_a_loss_is_known_by_its_name():
    assert network(loss="quartic").loss == Quartic()
    assert network(loss="quartic").config()["loss"] == "quartic"
    assert network(loss=Quartic(2)).config()["loss"] == {"type": "quartic", "factor": 2}
    assert network(loss=xn.MeanSquaredError()).config()["loss"] == "mean_squared_error"


@pytest.mark.parametrize("loss", ["hinge", None, 3, Quartic, ["quartic"], ""])
def test_an_unknown_loss_is_told_which_ones_there_are(loss):
    names = "softmax_cross_entropy, sigmoid_cross_entropy, mean_squared_error, .*quartic"
    with pytest.raises(ValueError, match=rf"loss is .*: give one of {names}"):
        network(loss=loss)


def test_an_unknown_initialiser_is_told_which_ones_there_are():
    with pytest.raises(ValueError, match=r"init is 'glorot': give one of auto, .*spread"):
        xn.Linear(3, init="glorot")


def test_the_library_s_own_are_known():
    assert list(xn.Loss.registry.own)[:5] == [
        "softmax_cross_entropy",
        "sigmoid_cross_entropy",
        "mean_squared_error",
        "half_squared_error",
        "poisson_deviance",
    ]
    assert {"he", "xavier", "lecun", "normal", "zeros"} <= xn.Initializer.registry.own.keys()
    assert {"sgd", "momentum", "rmsprop", "adam"} <= xn.Optimizer.registry.own.keys()
    assert {"Cosine", "Piecewise"} <= xn.Schedule.registry.own.keys()
    assert {"Linear", "BatchNorm", "ReLU"} <= xn.Layer.registry.own.keys()
    assert "quartic" not in xn.Loss.registry.own


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (xn.Layer, "Linear"),
        (xn.Loss, "MeanSquaredError"),
        (xn.Optimizer, "Adam"),
        (xn.Optimizer, "ADAM"),
        (xn.Initializer, "He"),
        (xn.Schedule, "Cosine"),
    ],
)
def test_the_library_s_names_are_taken(base, name):
    before = dict(base.registry)
    with pytest.raises(TypeError, match=rf"test_registry.{name} would be the .*xpnet has itself"):
        type(name, (base,), {"__module__": __name__})
    assert dict(base.registry) == before


def test_a_constructor_by_hand_is_refused():
    with pytest.raises(TypeError, match=r"ByHand defines __init__: make it a dataclass"):

        class ByHand(xn.Layer):
            def __init__(self, factor=2.0):
                self.factor = factor


def test_slots_are_no_constructor_by_hand():
    @dataclass(frozen=True, slots=True)
    class Slotted(xn.Schedule):
        rate: float = 0.1

        def __call__(self, step, epoch):
            return self.rate

    assert xn.Schedule.registry["Slotted"] is Slotted
    assert xn.Schedule.registry.build({"type": "Slotted", "rate": 0.5}) == Slotted(0.5)


def test_what_is_abstract_has_no_name():
    class Half(xn.Layer):
        def forward(self, x, b):
            return x

    assert "Half" not in xn.Layer.registry
    assert "Layer" not in xn.Layer.registry
    with pytest.raises(TypeError, match="abstract"):
        Half()


# -- names taken twice: a registry apart, for these stay known ----


@pytest.fixture
def base():
    @dataclass(frozen=True)
    class Thing(Registered):
        registry: ClassVar[Registry] = Registry("thing")

    return Thing


def define(base, module, qualname="Cube", **fields):
    body = {"__module__": module, "__qualname__": qualname, "__annotations__": fields}
    return dataclass(frozen=True)(type(qualname.rpartition(".")[2], (base,), body))


def test_two_of_one_name_can_be_used_and_not_be_kept(base):
    one, two = define(base, "red.shapes"), define(base, "blue")
    assert one() != two()
    assert "Cube" not in base.registry
    assert list(base.registry) == []
    for cls in (one, two):
        with pytest.raises(TypeError, match=r"a file can't name (red.shapes|blue).Cube: the thing"):
            describe(cls())
    with pytest.raises(UnknownNameError, match=r"red.shapes.Cube and blue.Cube are both called"):
        base.registry.build({"type": "Cube"})


def test_a_class_that_is_defined_anew_takes_the_old_one_s_place(base):
    old, new = define(base, "__main__"), define(base, "__main__", size=int)
    assert base.registry["Cube"] is new
    assert describe(old()) == {"type": "Cube"}
    assert base.registry.build(describe(new(3))) == new(3)


def test_a_class_within_a_function_makes_room(base):
    first = define(base, "red", "f.<locals>.Cube")
    second = define(base, "red", "f.<locals>.Cube")
    third = define(base, "blue", "g.<locals>.Cube")
    assert base.registry["Cube"] is third
    for cls in (first, second):  # it is not what a file would be read as
        with pytest.raises(TypeError, match=r"red.f.<locals>.Cube: the thing 'Cube' is also blue"):
            describe(cls())
    assert describe(third()) == {"type": "Cube"}


def test_nothing_is_kept_under_a_name_that_an_instance_does_not_have(base):
    first = define(base, "red", "f.<locals>.Cube")
    define(base, "red", "f.<locals>.Cube")
    with pytest.raises(TypeError, match="a file can't name"):
        describe(first())


# -- options ----


@dataclass(frozen=True)
class Odd(xn.Schedule):
    number: int = 1
    maybe: float | None = None
    several: tuple[int | str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    items: list[bool] = field(default_factory=list)
    kind: Literal["a", 2] = "a"
    inner: xn.Schedule | float = 0.5
    words: Sequence["str"] = ()
    nested: tuple[tuple[int, ...], ...] = ()
    either: tuple[int, ...] | tuple[str, ...] = ()

    def __call__(self, step, epoch):
        return 0.0


@pytest.mark.parametrize(
    "thing",
    [
        Odd(),
        Odd(-3, 0.5, (1, "b"), (3, 4), [True, False], 2, xn.Cosine(0.1), ("x",), ((1,), (2, 3))),
        Odd(maybe=2, either=("a",), inner=Warm(Warm(xn.Constant(0.1)))),
        Odd(maybe=np.float32(0.5), number=np.int64(3)),
    ],
)
def test_options_come_back(thing):
    data = describe(thing)
    assert json.loads(json.dumps(data)) == data
    again = xn.Schedule.registry.build(data)
    assert again == thing
    assert describe(again) == data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 1.0),
        ("number", True),
        ("number", 2**60),
        ("number", None),
        ("maybe", "x"),
        ("maybe", float("nan")),
        ("maybe", float("inf")),
        ("maybe", np.ones(2)),
        ("several", (1.5,)),
        ("several", "abc"),
        ("pair", (1, 2.0, 3.0)),
        ("items", [1]),
        ("kind", "b"),
        ("kind", 2.0),
        ("inner", lambda step, epoch: 0.1),
        ("inner", xn.Adam()),
        ("words", {"a": 1}),
        ("nested", (1,)),
        ("either", (1, "a")),
    ],
)
def test_an_option_that_no_file_can_hold_is_refused(name, value):
    with pytest.raises(TypeError, match=rf"a file can't hold {name} of .*Odd, .*annotated"):
        describe(Odd(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 1.0),
        ("number", True),
        ("number", 2**60),
        ("maybe", "x"),
        ("several", [1.5]),
        ("several", "abc"),
        ("pair", [1]),
        ("items", [[]]),
        ("kind", "b"),
        ("kind", True),
        ("words", [None]),
        ("words", {"a": 1}),
        ("nested", [1]),
        ("either", [1, "a"]),
        ("surprise", 1),
        ("__class__", "os"),
        ("formula", "x"),
    ],
)
def test_a_file_s_option_that_no_class_takes_is_refused(name, value):
    with pytest.raises(TypeError, match=rf"{name} is .*, which no Odd takes"):
        xn.Schedule.registry.build({"type": "Odd", name: value})


@dataclass(eq=False)
class Keeping(Bent):
    """A layer with options of which no file could know."""

    seen: list = field(default_factory=list)
    hook: Callable[[], None] = print
    unknown: "Nowhere" = None  # noqa: F821 - a name that only type checkers know


def test_what_no_file_can_hold_trains_and_is_copied_and_says_so_when_it_is_kept(tmp_path):
    X, y = data()
    net = network(layers=[xn.Linear(4), Keeping(), xn.Linear(2)])
    fit = xn.Trainer(net, TwoRates(0.01)).fit
    fit(X, y, batch_size=10, epochs=1)
    assert copy.deepcopy(net).layers[1].hook is print
    message = r"a file can't hold seen of .*Keeping, \[\], annotated list"
    with pytest.raises(TypeError, match=message):
        net.save(tmp_path / "net")
    with pytest.raises(TypeError, match=message):
        fit(X, y, epochs=1, checkpoint=tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_an_annotation_that_says_nothing_is_told():
    @dataclass(frozen=True)
    class Vague(xn.Schedule):
        rate: "Nowhere" = 0.1  # noqa: F821 - a name that only type checkers know

        def __call__(self, step, epoch):
            return 0.1

    with pytest.raises(TypeError, match=r"hold rate of .*Vague, 0.1, annotated Nowhere"):
        describe(Vague())


def test_an_option_by_the_name_of_the_entry_for_the_name():
    @dataclass(frozen=True)
    class Typed(xn.Schedule):
        type: str = "x"

        def __call__(self, step, epoch):
            return 0.1

    with pytest.raises(TypeError, match=r"a file can't hold the option type of .*Typed: rename it"):
        describe(Typed())


# -- files that name what is not there ----


def forget(monkeypatch, base, name):
    """Let a class be unknown for a test, as where its module is not imported."""
    monkeypatch.delitem(base.registry._classes, name)


@pytest.mark.parametrize(
    ("base", "name", "what"),
    [
        (xn.Layer, "Bent", "the layer 'Bent'"),
        (xn.Loss, "quartic", "the loss 'quartic'"),
        (xn.Initializer, "spread", "the initialiser 'spread'"),
    ],
)
@pytest.mark.parametrize("load", [xn.load, xn.load_model])
def test_a_file_with_a_class_that_is_missing_names_it(path, monkeypatch, base, name, what, load):
    network().save(path)
    forget(monkeypatch, base, name)
    reason = f"{what} is not defined here: import the module that defines it, then load again"
    with pytest.raises(xn.ModelFileError) as caught:
        load(path, device="cpu")
    assert str(caught.value) == f"{path}: {reason}"


def test_a_name_that_two_have_is_told(path, monkeypatch):
    network().save(path)
    both = {"a.Bent": Bent, "b.Bent": type("Other", (Bent,), {"__module__": "b"})}
    monkeypatch.setitem(xn.Layer.registry._classes, "Bent", both)
    with pytest.raises(xn.ModelFileError, match=r"Bent and .*Other are both called 'Bent'"):
        xn.load(path, device="cpu")


def changed(path, change):
    """Change the description of a file's network."""
    network().save(path)
    content = path.read_bytes()
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    document = json.loads(head["__metadata__"]["xpnet"])
    change(document["network"])
    rewrite(path, safetensors.numpy.load(content), document)


def in_layer(index, **options):
    return lambda told: told["layers"][index].update(options)


def in_network(**options):
    return lambda told: told.update(options)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (in_layer(1, type="os"), "the layer 'os' is not defined here"),
        (in_layer(1, type="os.system"), "the layer 'os.system' is not defined here"),
        (in_layer(1, type="Quartic"), "the layer 'Quartic' is not defined here"),
        (in_layer(1, type="TwoRates"), "the layer 'TwoRates' is not defined here"),
        (in_layer(1, type="Activation"), "the layer 'Activation' is not defined here"),
        (in_layer(1, type=3), "type is 3, and no name"),
        (in_layer(1, type={}), "type is {}, and no name"),
        (in_layer(1, type="x" * 10**5), "the layer 'xxx"),
        (in_layer(0, init={"name": "adam"}), "the initialiser 'adam' is not defined here"),
        (in_layer(0, init={"name": "spread", "most": "1"}), "most is '1', which no Spread takes"),
        (in_layer(0, init={"most": 0.5}), "can't be built"),
        (in_layer(1, slopes=["0.1"]), "slopes is ['0.1'], which no Bent takes"),
        (in_layer(1, which="both"), "which is 'both', which no Bent takes"),
        (in_layer(1, note={"type": "os"}), "which no Bent takes"),
        (in_layer(1, kernels=1), "kernels is 1, which no Bent takes"),
        (in_network(loss="os"), "the loss 'os' is not defined here"),
        (in_network(loss={"type": "Bent"}), "the loss 'Bent' is not defined here"),
        (in_network(loss={"type": "quartic"}), "an option is missing"),
        (in_network(loss={"type": "quartic", "factor": 1.0}), "an option is missing"),
        (
            in_network(loss={"type": "quartic", "factor": [2.0]}),
            "factor is [2.0], which no Quartic",
        ),
        (in_network(loss={"type": "quartic", "name": "x"}), "name is 'x', which no Quartic"),
        (in_network(loss={"factor": 2.0}), "can't be built"),
        (in_network(loss=None), "can't be built"),
    ],
)
def test_a_hostile_file_is_refused(path, change, reason):
    changed(path, change)
    before = set(sys.modules)
    with pytest.raises(xn.ModelFileError) as caught:
        xn.load(path, device="cpu")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 700
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", ["evil_module", "evil_module.Layer", "evil_module:Layer"])
def test_nothing_is_imported_for_a_file(path, tmp_path, monkeypatch, name):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('run')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    changed(path, in_layer(1, type=name))
    with pytest.raises(xn.ModelFileError, match="is not defined here: import the module"):
        xn.load(path, device="cpu")
    assert "evil_module" not in sys.modules


@pytest.mark.slow
def test_in_another_process_an_import_is_what_it_takes(path):
    net = network()
    net.save(path)
    pickled = path.with_name("net.pickle")
    pickled.write_bytes(pickle.dumps(net))
    X = path.with_name("X.npy")
    np.save(X, data()[0])
    load = f"xn.load({str(path)!r}, device='cpu')"
    code = f"""
import numpy as np, xpnet as xn
try:
    {load}
except xn.ModelFileError as error:
    print(error)
import test_registry
X = np.load({str(X)!r})
expected = {load}.predict(X)
np.save({str(X)!r}, expected)
"""
    root = Path(__file__).parent
    paths = [root, root.parent, root.parent.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    expected = net.predict(np.load(X))
    empty = path.with_name("empty")  # where Python starts, it imports what lies there
    empty.mkdir()

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            cwd=empty,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "is not defined here: import the module that defines it" in run(code)
    np.testing.assert_array_equal(np.load(X), expected)
    # A pickle imports by itself, as pickles do.
    assert "Bent(" in run(
        f"import pickle; print(pickle.load(open({str(pickled)!r}, 'rb')).layers[1])"
    )
