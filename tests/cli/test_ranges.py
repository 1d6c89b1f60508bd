"""Ranges of hyper-parameters as text."""

import pytest

import xpnet as xn
from xpnet.cli.ranges import space_of
from xpnet.cli.trials import space_table
from xpnet.recipes.settings import Settings
from xpnet.search.space import describe


def space(*texts, settings=None, default=None, fixed=()):
    return space_of(texts, settings or Settings(), default or {}, fixed)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("learning_rate=0.001:0.1", "learning_rate", xn.uniform(0.001, 0.1)),
        ("learning-rate = log:1e-4 : 0.1", "learning_rate", xn.log_uniform(1e-4, 0.1)),
        ("l2=1-log:0:0.9", "l2", xn.one_minus_log_uniform(0, 0.9)),
        ("l2=-1:1", "l2", xn.uniform(-1, 1)),
        ("dropout=0:0.5", "dropout", xn.uniform(0, 0.5)),
        ("dropout=0|0.2,0.5", "dropout", xn.choice({"0": (0.0,), "0.2,0.5": (0.2, 0.5)})),
        (
            "hidden=none|64|256, 128",
            "hidden",
            xn.choice({"none": (), "64": (64,), "256, 128": (256, 128)}),
        ),
        ("batch_size=16:64", "batch_size", xn.int_uniform(16, 64)),
        ("batch_size=16|64", "batch_size", xn.choice({"16": 16, "64": 64})),
        ("batch_norm=true|false", "batch_norm", xn.choice({"true": True, "false": False})),
        ("clip_norm=5", "clip_norm", xn.choice({"5": 5.0})),
        (
            "activation=relu|leaky_relu:negative_slope=0.2",
            "activation",
            xn.choice(["relu", "leaky_relu:negative_slope=0.2"]),
        ),
        (
            "schedule=constant|cosine:warm_up=5",
            "schedule",
            xn.choice(["constant", "cosine:warm_up=5"]),
        ),
        (
            "optimizer.beta_2=1-log:0.9:0.999",
            "optimizer.beta_2",
            xn.one_minus_log_uniform(0.9, 0.999),
        ),
        ("loss.label_smoothing=0:0.2", "loss.label_smoothing", xn.uniform(0, 0.2)),
    ],
)
def test_ranges(text, name, expected):
    assert space(text) == {name: expected}


def test_conditions():
    found = space(
        "optimizer.momentum=0:0.9",
        "dropout=0:0.5 if hidden=64|256,128",
        "optimizer=adam|sgd",
        "hidden=none|64|256,128",
    )
    assert [*found] == ["optimizer", "hidden", "optimizer.momentum", "dropout"]
    assert found["optimizer.momentum"] == xn.when("optimizer", ["sgd"], xn.uniform(0, 0.9))
    assert found["dropout"] == xn.when("hidden", [(64,), (256, 128)], xn.uniform(0, 0.5))


def test_an_option_that_all_values_know_has_no_condition():
    found = space("optimizer=adam|adamw", "optimizer.beta_1=0.8:0.9")
    assert found["optimizer.beta_1"] == xn.uniform(0.8, 0.9)
    found = space("optimizer.beta=0.8:0.9", settings=Settings(optimizer="momentum"))
    assert found["optimizer.beta"] == xn.uniform(0.8, 0.9)


def test_the_default_space_and_more():
    default = {"l2": xn.uniform(0, 1), "hidden": xn.choice([(4,)])}
    assert space("default", default=default) == default
    found = space("l2=0:2", "default", "dropout=0:0.5 if hidden=4", default=default)
    assert found == {
        "hidden": default["hidden"],
        "l2": xn.uniform(0, 2),
        "dropout": xn.when("hidden", [(4,)], xn.uniform(0, 0.5)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--set is '': give NAME=RANGE, as learning_rate=log:1e-4:0.1 or hidden=64|256,128"),
        ("l2", "--set is 'l2': give NAME=RANGE"),
        ("l2=", "--set is 'l2=': give NAME=RANGE"),
        ("learning_rat=1:2", "is nothing that is searched: did you mean learning_rate?"),
        ("seed=1:2", "seed is nothing that is searched: give one of hidden, activation, "),
        ("epochs=1:9", "epochs is not searched: the best epoch of each training is found without"),
        ("foo.bar=1:2", "foo.bar is nothing that is searched"),
        ("l2=log:0:1", "--set l2=log:0:1: low is 0.0: give a number above 0, where logs are"),
        ("l2=1-log:0.5:1", "high is 1.0: give a number in [0, 1)"),
        ("l2=1:0", "low is 1.0, high is 0.0: give low below high"),
        ("l2=0:inf", "high is inf: give a number up to"),
        ("l2=log:1", "a range has two ends: give log:A:B"),
        ("l2=1:", "a range has two ends: give A:B"),
        ("l2=:1", "a range has two ends: give A:B"),
        ("l2=1:2:3", "a range has two ends: give A:B"),
        ("l2=ln:1:2", "there is no scale 'ln': give A:B, log:A:B or 1-log:A:B"),
        ("l2=1:b", "'b' is no number"),
        ("l2=a|b", "'a' is no number"),
        ("l2=1||2", "there is an empty value in '1||2': give them as A|B|C"),
        ("l2=1|1", "a value is given twice"),
        ("hidden=8:64", "--hidden is '8:64': give sizes such as 128,64, or none"),
        ("batch_size=log:8:64", "of whole numbers give choices, as 32|64|128, or A:B; not log:"),
        ("batch_size=8.5|9", "'8.5' is no whole number"),
        ("batch_size=auto|9", "'auto' is no whole number"),
        ("batch_norm=yes|no", "'yes' is neither true nor false"),
        ("optimizer.momentum=0:1", "adam has no option momentum; there are beta_1, beta_2, eps"),
        ("optimizer.learning_rate=0:1", "adam has no option learning_rate"),
        ("l2=0:1 if hidden=4", "hidden is not searched: it can be no condition"),
    ],
)  # fmt: skip
def test_what_is_no_range(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("--set ")


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="--set l2=0:2: l2 is given twice"):
        space("l2=0:1", "l2=0:2")
    with pytest.raises(ValueError, match="--learning-rate is given as well; give one of them"):
        space("learning_rate=0:1", fixed=["learning_rate"])
    with pytest.raises(ValueError, match="adm"):
        space("optimizer=adm|sgd", "optimizer.momentum=0:1")
    with pytest.raises(ValueError, match="asks for 'hidden', whose value is"):
        space("hidden=4|8", "l2=0:1 if hidden=5")


@pytest.mark.parametrize(
    "texts",
    [
        ["l2=log:1e-06:1", "dropout=0:0.5"],
        ["hidden=none|256,128", "dropout=0:0.5 if hidden=256,128"],
        ["optimizer=adam|sgd", "optimizer.momentum=1-log:0.5:0.99 if optimizer=sgd"],
        ["batch_size=8:64"],
        ["hidden=none|8", "optimizer=adam|sgd", "l2=0:1 if hidden=8 if optimizer=sgd"],
    ],
)
def test_a_space_is_shown_in_the_words_that_it_is_given_in(texts):
    found = space(*texts)
    table = space_table(found)
    shown = [
        f"{name}={told}"
        for name, told in zip(*(column.cells for column in table.columns), strict=True)
    ]
    assert describe(space(*shown)) == describe(found)
    assert shown == texts
