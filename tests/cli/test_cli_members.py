"""Ensembles on the command line: trained at once, shown with their spread, used by their mean."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import QUICK, run  # noqa: F401

import xpnet as xn
from xpnet.cli.console import mean_and_spread

pytestmark = pytest.mark.usefixtures("run")


def rows_of(name):
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_ensemble_is_trained_saved_and_shown(run):  # noqa: F811
    code, out, err = run("train", "iris", *QUICK, "--members", "3", "--seed", "5")
    assert (code, err) == (0, "")
    assert "3 networks 4-8-3, 67 parameters each, seeds 5 to 7, adam" in out
    heading, *rows = [line for line in out.splitlines() if re.match(r"epoch |  +[12] ", line)]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert {len(line) for line in (heading, *rows)} == {len(heading)}  # the same width
    assert re.search(r" \d\.\d{3}±\d\.\d{3} +\d+\.\d%±\d+\.\d% ", rows[0])
    assert "loss of each member   error of each" in out
    assert "saved iris.safetensors and iris.png" in out
    model = xn.load_model("iris.safetensors", device="cpu")
    assert (model.network.members, model.network.seeds) == (3, (5, 6, 7))
    assert model.training["settings"]["members"] == 3


def test_each_member_is_the_model_with_its_seed_but_for_the_parts(run):  # noqa: F811
    """With the same parts of the data, which come from --seed."""
    run("train", "iris", *QUICK, "--members", "2", "--dtype", "float64", "-q")
    run("train", "iris", *QUICK, "--dtype", "float64", "-q", "-o", "one.safetensors")
    first = xn.load("iris.safetensors", device="cpu").member(0).state()
    alone = xn.load("one.safetensors", device="cpu").state()
    for name, array in alone.items():
        np.testing.assert_allclose(first[name], array, rtol=1e-9, atol=1e-12)


def test_its_figures_are_of_the_mean_and_of_each(run):  # noqa: F811
    code, out, _ = run("train", "wine", *QUICK, "--members", "4", "--json", "--patience", "1")
    assert code == 0
    result = json.loads(out)
    test = result["results"]["test"]
    assert len(test["members"]["loss"]) == len(test["members"]["error"]) == 4
    assert test["loss"] <= np.mean(test["members"]["loss"])  # the loss is convex
    assert len(result["best_epoch"]) == 4
    assert len(result["history"][0]["dev_loss"]) == 4
    measured = json.loads(run("evaluate", "wine.safetensors", "wine", "--json")[1])
    assert measured["error"] == pytest.approx(test["error"])
    assert measured["members"]["error"] == pytest.approx(test["members"]["error"])
    _, out, _ = run("evaluate", "wine.safetensors", "wine")
    assert "error of each of 4 members   " + mean_and_spread(test["members"]["error"], True) in out


@pytest.mark.parametrize("data", ["wine", "breast_cancer", "diabetes"])
def test_predictions_are_of_the_mean_with_its_spread_if_asked_for(run, data):  # noqa: F811
    run("train", data, *QUICK, "--members", "3", "-q")
    model = f"{data}.safetensors"
    assert run("predict", model, data, "-o", "plain.csv")[0] == 0
    assert run("predict", model, data, "-o", "std.csv", "--std")[0] == 0
    plain, spread = rows_of("plain.csv"), rows_of("std.csv")
    assert [*spread[0]] == [*plain[0], "std"]
    assert [{k: v for k, v in row.items() if k != "std"} for row in spread] == plain
    found = xn.load_model(model, device="cpu")
    features = found.prepare(xn.tabular.readers.read(data, None, labels=False).rows)
    says = found.network.predict if data == "diabetes" else found.network.predict_proba
    std = says(features, members=True).std(axis=0)
    if data == "diabetes":
        std = std * found.target.scales.scale
    elif std.ndim == 2:
        std = std[np.arange(len(std)), found.network.predict(features)]
    np.testing.assert_allclose([float(row["std"]) for row in spread], std, rtol=1e-4, atol=1e-7)


def test_the_spread_of_several_values(tmp_path):
    scales = xn.data.scaling.Scales([0, 1], [2, 10])
    net = xn.Network(
        [xn.Linear(2)], loss="mean_squared_error", n_features=3, device="cpu", members=4
    )
    model = xn.Model(net, None, xn.tabular.target.Target("regression", None, scales, 2))
    X = np.ones((5, 3))
    answer = next(model.answers([X], spread=True))
    expected = net.predict(X, members=True).std(axis=0) * [2, 10]
    np.testing.assert_allclose(answer.spread, expected, rtol=1e-5)


def test_a_member_that_diverges_is_named_and_left_out(run, monkeypatch):  # noqa: F811
    initialize = xn.Network.initialize

    def spoilt(self):
        initialize(self)
        if self.members:
            self.parameters[1, 0] = 3e38  # its products are too large

    monkeypatch.setattr(xn.Network, "initialize", spoilt)
    code, out, err = run("train", "iris", *QUICK, "--members", "3", "--patience", "9")
    assert code == 0
    assert err.startswith("note: member 1 has diverged, and is trained no longer: the loss turned")
    assert re.search(r"^ +1 \d\.\d{3}±\d\.\d{3} ", out, re.MULTILINE)
    assert "members that diverged, left out: 1\n" in out
    assert "the members' weights are those of epochs 2, 2\n" in out
    assert "nan" not in out
    assert xn.load("iris.safetensors", device="cpu").seeds == (0, 2)


def test_a_run_with_members_goes_on(run):  # noqa: F811
    options = ["iris", "--hidden", "8", "--device", "cpu", "--members", "3", "--batch-norm"]
    run("train", *options, "--epochs", "6", "-o", "whole.safetensors")
    assert run("train", *options, "--epochs", "4", "--checkpoint", "run")[0] == 0
    code, out, err = run("train", "--resume", "run", "--epochs", "6", "-o", "on.safetensors")
    assert (code, err) == (0, "")
    assert "4 epochs made" in out
    whole, on = (xn.load(name, device="cpu") for name in ("whole.safetensors", "on.safetensors"))
    np.testing.assert_array_equal(on.parameters, whole.parameters)


def test_a_batch_size_is_measured_with_members(run):  # noqa: F811
    code, _, err = run("train", "iris", *QUICK, "--members", "2", "--batch-size", "auto")
    assert (code, err) == (0, "")


def test_members_are_profiled_together(run):  # noqa: F811
    run("train", "iris", *QUICK, "--members", "3", "-q")
    options = ["--seconds", "0.2", "--max-batch", "4", "--device", "cpu"]
    code, out, err = run("profile", "iris.safetensors", "iris", *options)
    assert (code, err) == (0, "")
    assert "iris.safetensors on iris: 3 members, each of 67 parameters" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--members", "0"], "--members is 0: give 1 or more, or leave it out"),
        (["--members", "-2"], "--members is -2: give 1 or more"),
        (["--members", "2", "--l2", "0,1"], "--l2 has 2 values: --members goes with one training"),
        (["--members", "2", "--learning-curve"], "--learning-curve: --members goes with one"),
    ],
)
def test_bad_options(run, options, message):  # noqa: F811
    code, _, err = run("train", "iris", *QUICK, *options)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_one_member_is_one_network(run):  # noqa: F811
    code, out, err = run("train", "iris", *QUICK, "--members", "1", "-o", "one.safetensors")
    assert (code, err) == (0, "")
    assert "network 4-8-3, 67 parameters, adam" in out
    run("train", "iris", *QUICK, "-q")
    found, alone = (Path(name).read_bytes() for name in ("one.safetensors", "iris.safetensors"))
    assert found == alone


def test_one_network_has_no_spread(run):  # noqa: F811
    run("train", "iris", *QUICK, "-q")
    code, _, err = run("predict", "iris.safetensors", "iris", "--std")
    assert code == 2
    assert "--std is for models with members, and iris.safetensors is one network" in err


@pytest.mark.parametrize(
    ("values", "percent", "told"),
    [
        ([0.0, 0.0], False, "0.000±0.000"),
        ([0.1, 0.3], True, "20.0%±10.0%"),
        ([12.0, 13.0], False, "12.50±0.50"),
        ([1e6, 3e6], False, "2000000±1000000"),
        ([np.nan, 0.5], False, "0.500±0.000"),
        ([np.nan, np.inf], False, "nan"),
    ],
)
def test_means_with_their_spread(values, percent, told):
    assert mean_and_spread(values, percent) == told
