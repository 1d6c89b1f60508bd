"""What a training is set to: what is made of it, and what it becomes in a file."""

import json
from dataclasses import asdict

import pytest

import xpnet as xn
from xpnet.recipes.settings import Settings


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", "constant"),
        ("cosine", "cosine:total=30"),
        ("cosine:per=step", "cosine:per=step,total=120"),
        ("cosine:total=9", "cosine:total=9"),
        ("log-cosine", "log-cosine:total=30"),
        ("one-cycle:warm_up=0.2,per=step", "one-cycle:warm_up=0.2,per=step,total=120"),
        ("flat-cosine:flat=0.7,total=9", "flat-cosine:flat=0.7,total=9"),
    ],
)
def test_rates_that_no_longer_depend_on_the_epochs(schedule, expected):
    settings = Settings(schedule=schedule)
    fixed = settings.at_rates_of(30, 4)
    assert fixed.schedule == expected
    before, after = settings.make_optimizer(30, 4), fixed.make_optimizer(7, 9)
    for step in range(0, 120, 7):
        assert before.rate(step, step / 4) == after.rate(step, step / 4)


def test_a_file_keeps_all_of_them():
    settings = Settings(hidden=(3, 2), dropout=(0.1, 0.2), image_shape=(4, 4), clip=3.0, folds=3,
                        embedding="piecewise", keep_best=True, members=2)  # fmt: skip
    told = json.loads(json.dumps(asdict(settings)))
    again = Settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in told.items()})
    assert again == settings
    assert again.make_layers(2)[0].n_outputs == 3


def test_the_last_layer_may_begin_in_another_way():
    layers = Settings(hidden=(4, 3), last_init="zeros", bias_std=1.0).make_layers(2)
    linear = [layer for layer in layers if isinstance(layer, xn.Linear)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=5, device="cpu")
    state = net.state()
    *hidden, last = (str(net.layers.index(layer)) for layer in net.layers if layer.parameters)
    assert len(linear) == 3
    assert not state[f"{last}.weight"].any()
    assert not state[f"{last}.bias"].any()
    assert all(state[f"{i}.weight"].all() and state[f"{i}.bias"].all() for i in hidden)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_an_ensemble_shares_all_but_its_last_layer(hidden):
    layers = Settings(hidden=hidden, ensemble=5).make_layers(2)
    linear = [layer for layer in layers if isinstance(layer, xn.EnsembleLinear)]
    assert [layer.shared for layer in linear] == [True] * len(hidden) + [False]
    assert {layer.members for layer in linear} == {5}
    assert not any(isinstance(layer, xn.Linear) for layer in layers)


def test_factors_are_of_biases_and_of_scales_wherever_they_are():
    layers = [xn.OneHot({1: 3}), xn.Scale(), xn.Linear(4), xn.BatchNorm(), xn.Linear(1)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=2, device="cpu")
    settings = Settings(bias_rate=0.1, input_scale_rate=6.0)
    assert settings.rate_factors(net.layers) == {"*.bias": 0.1, "1.weight": 6.0}
    assert Settings(input_scale_rate=6.0).rate_factors([xn.Linear(2)]) == {}
    assert Settings().rate_factors(net.layers) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"last_init": "ones"}, "init is 'ones'"),
        ({"parametrization": "mup"}, "parametrization is 'mup'"),
        ({"ensemble": 0}, "members is 0"),
    ],
)
def test_of_bad_ones_no_layers_are_made(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings).make_layers(2)


def test_an_unknown_embedding_is_told_of():
    with pytest.raises(ValueError, match="embedding is 'waves'"):
        Settings(embedding="waves").make_embedding(None)
