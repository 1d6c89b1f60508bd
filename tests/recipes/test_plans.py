"""Recipes: what they set, what stays as it was given, and that all of it can be trained."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from xpnet.recipes.facts import Facts
from xpnet.recipes.recipes import RECIPES, Asked, Step
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.model import load_model

TASKS = ("binary", "multiclass", "regression")
NAMES = {f.name for f in fields(Settings)}

every = pytest.mark.parametrize("recipe", RECIPES)
each_task = pytest.mark.parametrize("task", TASKS)


def facts(task="binary", n=1000, n_columns=8, **more):
    return Facts(task, n, n_columns, **more)


def plan(recipe, given=(), known=None, one_training=False, **settings):
    return Asked(recipe, given, one_training).plan(known or facts(), Settings(**settings))


# -- what is planned ----


@every
@each_task
@pytest.mark.parametrize("n", [2, 7, 8, 31, 64, 1000, 20_001, 10**5 + 1, 10**6, 10**9])
@pytest.mark.parametrize(
    "more", [{}, {"pixels": True}, {"own_dev": True}, {"one_training": True}], ids=str
)
def test_a_plan_is_of_settings_each_with_a_reason(recipe, task, n, more):
    asked = Asked(recipe, one_training=more.get("one_training", False))
    found = asked.plan(facts(task, n, **more), Settings())
    names = [step.name for step in found.steps]
    assert len({*names}) == len(names)
    assert {*names} <= NAMES
    assert all(step.why for step in found.steps)
    expected = asdict(Settings()) | {s.name: s.value for s in found.steps} | {"recipe": recipe}
    assert asdict(found.settings) == expected
    made = found.settings
    assert made.batch_size is None or 1 <= made.batch_size <= 256
    assert made.epochs is None or made.epochs >= 1
    if made.folds is not None:
        assert 2 <= made.folds <= max(n, 2)
        assert made.folds * made.batch_size >= 2
    for layer in made.make_layers(3):
        assert layer.config()
    made.make_optimizer(made.epochs or 1, 7)


def test_plain_sets_nothing():
    assert plan("plain").settings == Settings()
    assert plan("plain").steps == ()


@every
@each_task
def test_what_is_given_stays(recipe, task):
    of_recipe = [step.name for step in plan(recipe, known=facts(task)).steps]
    for name in of_recipe:
        found = plan(recipe, [name], facts(task))
        assert getattr(found.settings, name) == getattr(Settings(), name)
        assert name not in [step.name for step in found.steps]
        assert found.given == (name,)
    found = plan(recipe, of_recipe, facts(task), epochs=3)
    assert found.steps == ()
    assert found.settings == Settings(recipe=recipe, epochs=3)


def test_what_is_given_beside_settings_is_no_part_of_a_plan():
    found = plan("auto", ["data", "hidden", "quiet", "recipe"])
    assert found.given == ("hidden",)
    assert "set by hand" in str(found)


def test_a_plan_is_of_what_the_training_has_become():
    before = plan("auto", ["epochs"], epochs=50)
    after = before.at(replace(before.settings, members=3, batch_size=5))
    values = {step.name: step.value for step in after.steps}
    assert (values["members"], values["batch_size"], after.given) == (3, 5, ("epochs",))
    assert [step.why for step in after.steps] == [step.why for step in before.steps]
    later = after.at(replace(after.settings, members=2, epochs=7), "there is no time")
    whys = {step.name: (step.value, step.why) for step in later.steps}
    assert whys["members"] == (2, "there is no time")
    assert whys["epochs"] == (7, "there is no time")
    assert later.given == ()
    assert whys["folds"][1] != "there is no time"


def test_there_is_no_such_recipe():
    with pytest.raises(ValueError, match="recipe is 'best': give one of plain, realmlp"):
        Asked("best")


def test_a_development_set_of_one_s_own_leaves_no_folds():
    made = plan("auto", known=facts(own_dev=True)).settings
    assert made.folds is None
    assert made.members > 1
    assert made.calibrate


def test_one_training_is_of_one_network():
    made = plan("auto", one_training=True).settings
    assert (made.folds, made.members) == (None, None)


def test_pixels_are_not_embedded():
    assert plan("auto", known=facts(pixels=True)).settings.embedding == ""
    assert plan("tabm", known=facts(pixels=True)).settings.embedding == ""
    assert plan("auto").settings.embedding.startswith("piecewise")


@pytest.mark.parametrize("own_dev", [False, True])
def test_more_rows_have_fewer_members(own_dev):
    sizes = (100, 20_000, 20_001, 100_000, 100_001, 500_000, 500_001, 10**8)
    made = [plan("auto", known=facts(n=n, own_dev=own_dev)).settings for n in sizes]
    found = [settings.members or 1 for settings in made]
    assert found == sorted(found, reverse=True)
    assert found[-1] == 1
    assert found[0] > 4


#: Rows, and what "auto" makes of them: networks, folds, bins of numbers (0: none), epochs.
BY_ROWS = [
    (100, 5, 5, (0, 8), 46),  # 7 batches of 16: 322 updates
    (999, 5, 5, (0, 15), 20),
    (1000, 5, 5, (15, 15), 20),
    (3072, 5, 5, (48, 48), 27),  # 12 batches of 256: 324 updates
    (50_000, 5, 5, (48, 48), 20),
    (50_001, 3, 5, (48, 48), 20),
    (200_001, 2, 5, (48, 48), 20),
    (1_000_001, None, None, (48, 48), 20),
]


@pytest.mark.parametrize(("n", "members", "folds", "bins", "epochs"), BY_ROWS)
def test_auto_goes_by_the_number_of_rows(n, members, folds, bins, epochs):
    for task, most in zip(("binary", "regression"), bins, strict=True):
        made = plan("auto", known=facts(task, n)).settings
        assert (made.members, made.folds, made.epochs) == (members, folds, epochs)
        assert made.embedding == (f"piecewise:n_bins={most},n_dims=4" if most else "")
        assert (made.monitor, made.bias_std) == ("loss", 0.0)


def test_few_rows_have_two_folds_at_least():
    for n in range(2, 40):
        made = plan("auto", known=facts(n=n)).settings
        assert 2 <= made.folds <= n
        assert made.members >= 2


def test_a_step_is_a_plain_fact():
    assert Step("epochs", 3, "so") == Step("epochs", 3, "so")


# -- what comes of it ----


def data(task, n=110, outputs=1):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, n))
    b[::6] = np.nan
    c, d = rng.choice(["u", "v", "w"], n), rng.choice([f"k{i}" for i in range(5)], n)
    said = a + (c == "v") + 0.3 * rng.normal(size=n)
    if task == "binary":
        target = np.where(said > 0, "yes", "no")
    elif task == "multiclass":
        target = np.array(["r", "s", "t"])[np.digitize(said, [0.0, 0.8])]
    else:
        target = said if outputs == 1 else np.stack([said, -2 * a], axis=1)
    table = pa.table({"a": a, "c": c, "b": pa.array(b, from_pandas=True), "d": d})
    return Dataset("t", table, target)


#: In place of hundreds of epochs of wide networks.
SHORT = {"epochs": 3, "hidden": (8, 8)}


def trained(recipe, task, outputs=1, dataset=None, **settings):
    made = Settings(**SHORT | settings)
    asked = Asked(recipe, [*SHORT, *settings])
    dataset = data(task, outputs=outputs) if dataset is None else dataset
    experiment = Experiment.prepare(dataset, made, "cpu", recipe=asked)
    experiment.run()
    return experiment


@every
@pytest.mark.parametrize(("task", "outputs"), [*((t, 1) for t in TASKS), ("regression", 2)])
def test_each_is_trained_on_a_table_with_categories_and_gaps(recipe, task, outputs, tmp_path):
    experiment = trained(recipe, task, outputs)
    found, rows = experiment.evaluate(), experiment.dataset.rows
    assert all(np.isfinite(part["loss"]) for part in found.values())
    assert [*found] == ["train", "dev", "test"]
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", "cpu")
    np.testing.assert_array_equal(again.predict(rows), experiment.model.predict(rows))
    assert again.training["settings"]["recipe"] == recipe
    part = experiment.parts["test"]
    predictor, prepared = again.network.predictor, again.network.prepare(*part.data)
    bounds = again.target.output_bounds(again.network.loss)
    measured = predictor.evaluate_mean(*prepared, bounds)
    if again.network.members is None:
        measured = again.network.predictor.evaluate(*prepared, bounds)
    assert measured["loss"] == pytest.approx(found["test"]["loss"])


def columns_of_a_kind(kind, n=60):
    """Return two columns of one kind alone, and the classes that the first of them tells."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rng = np.random.default_rng(1)
    y = np.arange(n) % 2
    rows = {
        "texts": np.stack([np.where(y, "a", "b"), rng.choice([*"cde"], n)]),
        "booleans": np.stack([rng.permuted(y) > 0, rng.random(n) > 0.5]),
        "dates": np.stack([y * 200, rng.integers(0, 9, n)]).astype("datetime64[D]"),
        "numbers": np.stack([y + rng.normal(0, 0.1, n), rng.normal(size=n)]),
        "two values": np.stack([y * 3.0, rng.integers(0, 2, n)]),
        "a column": y[None] + rng.normal(0, 0.1, (1, n)),
    }[kind]
    return pa.table({"uv"[i]: column for i, column in enumerate(rows)}), y


@every
@pytest.mark.parametrize(
    "kind", ["texts", "booleans", "dates", "numbers", "two values", "a column"]
)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_tables_of_one_kind_of_columns(recipe, kind, task, tmp_path):
    table, y = columns_of_a_kind(kind)
    target = y if task == "binary" else np.linspace(0, 0.1, len(y)) + y
    made = Settings(**SHORT, task=task)
    dataset = Dataset("d", table, target)
    experiment = Experiment.prepare(dataset, made, "cpu", recipe=Asked(recipe, [*SHORT, "task"]))
    experiment.run()
    assert all(np.isfinite(part["loss"]) for part in experiment.evaluate().values())
    experiment.model.save(tmp_path / "m")
    found = load_model(tmp_path / "m", "cpu").predict(table)
    np.testing.assert_array_equal(found, experiment.model.predict(table))


@every
@each_task
def test_settings_come_back_from_a_file(recipe, task):
    experiment = Experiment.prepare(
        data(task), Settings(**SHORT), "cpu", recipe=Asked(recipe, [*SHORT])
    )
    told = json.loads(json.dumps(experiment.model.training["settings"]))
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    assert Settings(**tuples) == experiment.settings
    again = Experiment.prepare(data(task), Settings(**tuples), "cpu")
    again.run()
    experiment.run()
    both = again.model.network, experiment.model.network
    np.testing.assert_array_equal(both[0].parameters, both[1].parameters)
    assert again.evaluate() == experiment.evaluate()


@every
def test_a_seed_makes_it_again(recipe):
    one, again, other = (trained(recipe, "binary", seed=seed) for seed in (0, 0, 1))
    rows = one.dataset.rows
    p = [experiment.model.predict_proba(rows) for experiment in (one, again, other)]
    np.testing.assert_array_equal(p[0], p[1])
    assert np.abs(p[0] - p[2]).max() > 1e-6


@pytest.mark.parametrize("recipe", ["realmlp", "auto"])
@each_task
@pytest.mark.parametrize("n", [8, 9, 11, 16, 30])
def test_few_rows_are_enough(recipe, task, n):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 3))
    y = X[:, 0] - X[:, 1] if task == "regression" else np.arange(n) % (2 if task == "binary" else 3)
    few = Dataset("d", X, y, test_rows=X, test_target=y)
    made = Settings(**SHORT, task=task)
    experiment = Experiment.prepare(few, made, "cpu", recipe=Asked(recipe, [*SHORT, "task"]))
    experiment.run()
    assert all(np.isfinite(part["loss"]) for part in experiment.evaluate().values())


@each_task
def test_pixels(task):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 17, (80, 20))
    y = X.mean(axis=1) if task == "regression" else X[:, 0] % (2 if task == "binary" else 3)
    experiment = trained("auto", task, dataset=Dataset("d", X, y))
    assert "embedding" not in [step.name for step in experiment.plan.steps]
    assert np.isfinite(experiment.evaluate()["dev"]["loss"])


@pytest.mark.parametrize("recipe", ["realmlp", "auto"])
def test_what_is_easy_is_learnt(recipe):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    easy = Dataset("d", X, (X[:, 0] > 0) * 1)
    experiment = Experiment.prepare(
        easy, Settings(epochs=40), "cpu", recipe=Asked(recipe, ["epochs"])
    )
    experiment.run()
    found = experiment.evaluate()["test"]
    assert found["error"] <= 0.1
    assert found["loss"] < 0.35


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", None), ("adamw", 0.04), ("adam", 0.04)])
def test_another_optimiser_has_its_own_rate(optimizer, rate):
    """0.04, and NTK, are made for Adam: SGD would hardly learn by them."""
    settings = Settings(optimizer=optimizer)
    found = Asked("auto", ["optimizer"]).plan(Facts("binary", 1000, 5), settings).settings
    assert found.learning_rate == rate
    assert found.parametrization == ("standard" if rate is None else "ntk")
    assert found.optimizer == optimizer
