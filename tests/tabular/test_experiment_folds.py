"""A training on folds: who holds what out, what is measured of it, and what is made of that."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from xpnet.nn.calibration import temperature_of
from xpnet.recipes.recipes import Asked
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.evaluation import measure
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.model import load_model

SMOOTHED = "softmax_cross_entropy:label_smoothing=0.2"


def data(task="multiclass", n=75, noise=0.7):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    said = X[:, 0] + noise * rng.normal(size=n)
    if task == "regression":
        return Dataset("d", X, said)
    return Dataset("d", X, np.digitize(said, [0.0] if task == "binary" else [-0.5, 0.5]))


def prepare(task="multiclass", n=75, noise=0.7, test=False, dev=True, **settings):
    usual = {"hidden": (6,), "epochs": 4, "dtype": "float64", "learning_rate": 0.02}
    made = Settings(**usual | settings)
    return Experiment.prepare(data(task, n, noise), made, "cpu", dev=dev, test=test)


def run(*args, **settings):
    experiment = prepare(*args, **settings)
    experiment.run()
    return experiment


def cross_entropy(logits, labels):
    """Return −log p̄ of each row, of logits (members, n, m), or (members, n, 1) of one class."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    own = log_softmax(logits, axis=-1)[:, np.arange(len(labels)), labels]
    return np.log(len(logits)) - logsumexp(own, axis=0)


def logits_of(network, x):
    """Return what a network, or several that share weights, says before softmax."""
    return network.activations(x, layers=[-1])[0].reshape(-1, len(x), network.n_outputs)


# -- who is trained on what ----


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(("folds", "members"), [(3, 3), (3, None), (4, 2), (2, 5), (3, 1)])
def test_a_member_knows_nothing_of_the_fold_that_it_holds_out(task, folds, members):
    usual = run(task, folds=folds, members=members)
    held, of_each = usual.folds.held, usual.folds.of_each
    assert [*held] == [i % folds for i in range(members or folds)]
    assert np.ptp(np.bincount(of_each, minlength=folds)) <= 1
    for fold in range(folds):
        other = prepare(task, folds=folds, members=members)
        np.testing.assert_array_equal(other.folds.of_each, of_each)
        train, rows = other.parts["train"], of_each == fold
        train.features[rows] = 9.0
        train.labels[rows] = train.labels[rows][::-1]
        other.run()
        for i, own in enumerate(held):
            one, two = usual.model.network.member(i), other.model.network.member(i)
            assert np.array_equal(one.parameters, two.parameters) == (own == fold), (fold, i)


def test_every_row_but_those_of_the_test_set_is_in_a_fold():
    experiment = prepare(n=100, test=True, folds=4)
    assert experiment.sizes() == {"train": 80, "dev": 80, "test": 20}
    assert len(experiment.folds.of_each) == 80
    labels = experiment.parts["train"].labels
    counts = [np.bincount(labels[experiment.folds.of_each == i]) for i in range(4)]
    assert np.ptp(counts, axis=0).max() <= 1


def test_a_development_set_of_one_s_own_is_among_them():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    apart = Dataset("d", X[:30], y[:30], X[50:], y[50:], X[30:50], y[30:50])
    experiment = Experiment.prepare(apart, Settings(folds=5, epochs=1), "cpu")
    assert experiment.sizes() == {"train": 50, "dev": 50, "test": 10}


@pytest.mark.parametrize(
    ("n", "folds", "batch_size", "batches"),
    [(75, 3, 25, 2), (76, 3, 25, 3), (75, 4, 57, 1), (75, 4, 56, 2)],
)
def test_an_epoch_is_as_long_as_that_of_the_member_with_the_most_rows(
    n, folds, batch_size, batches
):
    experiment = run(n=n, folds=folds, batch_size=batch_size, epochs=2)
    assert experiment.batches == batches
    assert experiment.trainer.steps == 2 * batches


@pytest.mark.parametrize("n", [11, 12, 33, 75])
@pytest.mark.parametrize("recipe", ["realmlp", "auto"])
def test_a_recipe_s_batches_are_of_the_rows_that_there_are(n, recipe):
    """Nobody is told of batches that he has not asked for, and a run that goes on has the same."""
    asked = Asked(recipe, ["epochs", "hidden"])
    settings = Settings(epochs=2, hidden=(4,), dtype="float64")
    experiment = Experiment.prepare(data("binary", n), settings, "cpu", test=False, recipe=asked)
    experiment.run()
    assert experiment.trainer.steps == 2 * experiment.batches
    again = Experiment.prepare(data("binary", n), experiment.settings, "cpu", test=False)
    again.run()
    assert (again.batch_size, again.batches) == (experiment.batch_size, experiment.batches)
    both = experiment.model.network, again.model.network
    np.testing.assert_array_equal(both[0].parameters, both[1].parameters)


def test_a_class_of_one_row_is_known_to_every_member():
    rng = np.random.default_rng(0)
    few = Dataset("d", rng.normal(size=(30, 2)), np.arange(30) // 29)
    settings = Settings(folds=3, epochs=2, hidden=(3,), calibrate=True, keep_best=True)
    experiment = Experiment.prepare(few, settings, "cpu", test=False)
    experiment.run()
    assert experiment.sizes() == {"train": 30, "dev": 29}
    assert experiment.trainer.steps == 2 * experiment.batches
    assert np.isfinite(experiment.evaluate()["dev"]["loss"])


def test_more_folds_than_rows():
    with pytest.raises(ValueError, match="folds is 76 and there are 75 rows: give fewer folds"):
        prepare(folds=76)


# -- what is measured ----


@pytest.mark.parametrize("ensemble", [None, 2])
@pytest.mark.parametrize(("folds", "members"), [(3, 3), (4, 2), (2, 5), (3, 1)])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_development_figures_are_of_rows_that_a_member_was_not_trained_on(
    task, folds, members, ensemble
):
    experiment = run(task, folds=folds, members=members, ensemble=ensemble)
    network, (x, y) = experiment.model.network, experiment.parts["train"].data
    losses, said = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for i in reversed(range(members)):  # of several that hold a fold out the first one counts
        rows = experiment.folds.of_each == experiment.folds.held[i]
        logits = logits_of(network.member(i), x[rows])
        if task == "regression":
            said[rows] = logits.mean(axis=0)[:, 0]
            losses[rows] = (said[rows] - y[rows]) ** 2
        else:
            losses[rows] = cross_entropy(logits, y[rows])
            said[rows] = network.member(i).predict(x[rows])
    some = ~np.isnan(losses)
    assert some.sum() == np.isin(experiment.folds.of_each, range(members)).sum()
    found = experiment.evaluate()["dev"]
    assert found["loss"] == pytest.approx(losses[some].mean())
    wrong = said[some] != y[some]
    if task == "regression":
        wrong = (said[some] - y[some]) ** 2 / y[some].var()
    assert found["error"] == pytest.approx(wrong.mean())
    assert experiment.sizes() == {"train": 75, "dev": some.sum()}


def test_of_labels_at_random_nothing_is_known():
    rng = np.random.default_rng(3)
    rows = Dataset("d", rng.normal(size=(300, 6)), rng.permutation(np.arange(300) % 2))
    settings = Settings(folds=5, hidden=(64,), epochs=80, learning_rate=0.02, embedding="piecewise")
    experiment = Experiment.prepare(rows, settings, "cpu", test=False)
    experiment.run()
    found = experiment.evaluate()
    assert found["train"]["error"] < 0.05
    assert found["dev"]["error"] > 0.4
    assert found["dev"]["loss"] > np.log(2)


@pytest.mark.parametrize("monitor", ["loss", "error"])
def test_each_member_keeps_its_best_epoch(monitor):
    settings = {"folds": 3, "epochs": 12, "learning_rate": 0.2, "monitor": monitor}
    experiment = run(keep_best=True, **settings)
    network, (x, y) = experiment.model.network, experiment.parts["train"].data
    assert len({*experiment.best_epoch}) > 1
    assert min(experiment.best_epoch) < 12
    for i, best in enumerate(experiment.best_epoch):
        history = experiment.trainer.history.member(i)
        figures = [*zip(history["dev_error"], history["dev_loss"], strict=True)]
        if monitor == "loss":
            figures = [(loss,) for _, loss in figures]
        assert best == figures.index(min(figures)) + 1
        rows = experiment.folds.of_each == i
        measured = network.member(i).evaluate(x[rows], y[rows])
        assert measured["loss"] == pytest.approx(history["dev_loss"][best - 1])
        shorter = run(**settings | {"epochs": best}).model.network.member(i)
        np.testing.assert_array_equal(network.member(i).parameters, shorter.parameters)


def test_of_epochs_with_the_same_error_the_one_with_the_least_loss_is_kept():
    experiment = run(n=40, noise=0.0, task="binary", epochs=60, keep_best=True, monitor="error")
    history = experiment.trainer.history
    least = np.flatnonzero(np.array(history["dev_error"]) == min(history["dev_error"]))
    assert len(least) > 1
    losses = np.array(history["dev_loss"])
    assert experiment.best_epoch == 1 + least[losses[least].argmin()]
    measured = experiment.model.network.evaluate(*experiment.parts["dev"].data)
    assert measured["loss"] == pytest.approx(losses[least].min())


def test_without_anything_held_out_the_last_epoch_stays():
    kept, plain = (run(dev=False, keep_best=k, calibrate=True) for k in (True, False))
    assert (kept.stopping, kept.best_epoch, kept.temperature) == (None, None, None)
    np.testing.assert_array_equal(kept.model.network.parameters, plain.model.network.parameters)


# -- a member that diverges ----


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_one_that_diverges_is_no_part_of_it(task, tmp_path):
    settings = {"folds": 3, "epochs": 5, "keep_best": True, "calibrate": True, "clamp": True}
    experiment = prepare(task, **settings)
    experiment.trainer.network.parameters[1] = 1e300
    with pytest.warns(UserWarning, match="member 1 has diverged"):
        experiment.run()
    network, (x, y) = experiment.model.network, experiment.parts["train"].data
    assert (network.members, network.seeds, [*experiment.folds.held]) == (2, (0, 2), [0, 2])
    assert len(experiment.best_epoch) == 2
    assert experiment.sizes() == {"train": 75, "dev": 50}
    pairs = [(i, experiment.folds.of_each == fold) for i, fold in enumerate((0, 2))]
    logits = np.concatenate([logits_of(network.member(i), x[rows])[0] for i, rows in pairs])
    labels = np.concatenate([y[rows] for _, rows in pairs])
    found = experiment.evaluate()["dev"]
    if task == "regression":
        bounds = experiment.model.target.output_bounds(network.loss)
        expected = (np.clip(logits, *bounds)[:, 0] - labels) ** 2
    else:
        assert experiment.temperature != 1
        expected = cross_entropy(logits[None], labels)
    assert found["loss"] == pytest.approx(expected.mean())
    other = run(task, **settings)
    if task == "regression":  # what the others become does not depend on it
        for i, j in ((0, 0), (1, 2)):
            both = network.member(i), other.model.network.member(j)
            np.testing.assert_array_equal(both[0].parameters, both[1].parameters)
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", "cpu")
    rows = experiment.dataset.rows
    np.testing.assert_array_equal(again.predict(rows), experiment.model.predict(rows))


# -- labels that are smoothed, and calibration ----


def by_hand(logits, labels):
    """Return the T at which n examples, and one that is wrong, fit best; of logits (k, n, m)."""
    n = len(labels)
    mean = logits.mean(axis=0)
    mean = np.concatenate([np.zeros_like(mean), mean], axis=1) if mean.shape[1] == 1 else mean
    second = mean.argsort(axis=1)[:, -2]

    def loss(log_t):
        z = logits / np.exp(log_t)
        return cross_entropy(z, labels).sum() + cross_entropy(z, second).sum() / n

    tried = np.linspace(-3, 3, 61)
    best = tried[np.argmin([loss(t) for t in tried])]
    found = minimize_scalar(loss, bounds=(best - 0.1, best + 0.1), method="bounded",
                            options={"xatol": 1e-10})  # fmt: skip
    return np.exp(found.x)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize(
    "settings", [{"folds": 3}, {"folds": 3, "ensemble": 2}, {"members": 3}, {}], ids=str
)
def test_the_temperature_is_that_which_fits_what_was_held_out(task, settings):
    settings = {"epochs": 60, "learning_rate": 0.05} | settings
    plain = run(task, **settings)
    experiment = run(task, calibrate=True, **settings)
    before, after = plain.model.network, experiment.model.network
    if "folds" in settings:
        x, y = plain.parts["train"].data
        pairs = [(i, plain.folds.of_each == i) for i in range(3)]
        logits = [logits_of(before.member(i), x[rows]) for i, rows in pairs]
        logits = np.concatenate(logits, axis=1)
        y = np.concatenate([y[rows] for _, rows in pairs])
    else:
        x, y = plain.parts["dev"].data
        logits = before.activations(x, layers=[-1])[0].reshape(-1, len(x), before.n_outputs)
    assert experiment.temperature == pytest.approx(by_hand(logits, y), rel=1e-5)
    assert experiment.temperature > 1.1  # trained for long
    both = (net.activations(x, layers=[-1])[0] for net in (before, after))
    raw, divided = both
    np.testing.assert_allclose(divided, raw / experiment.temperature, rtol=1e-10)
    assert experiment.evaluate()["dev"]["loss"] < plain.evaluate()["dev"]["loss"]
    # The one that is counted as wrong makes it a little less sure than fits best.
    assert experiment.temperature > temperature_of(logits, y, members=True)


def test_probabilities_of_rows_that_nobody_has_seen_are_not_the_worse_for_it():
    losses = []
    for calibrate in (False, True):
        experiment = prepare("binary", n=300, noise=1.5, test=True, folds=4, epochs=60,
                             learning_rate=0.05, calibrate=calibrate)  # fmt: skip
        experiment.run()
        losses.append(experiment.evaluate()["test"]["loss"])
    assert losses[1] < losses[0]


def test_values_are_not_calibrated():
    assert run("regression", folds=3, calibrate=True).temperature is None


def test_of_one_class_no_temperature_is_found():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    apart = Dataset("d", X, y, dev_rows=X[y == 0][:9], dev_target=y[y == 0][:9])
    settings = Settings(epochs=2, calibrate=True)
    experiment = Experiment.prepare(apart, settings, "cpu", test=False)
    experiment.run()
    assert experiment.temperature is None


@pytest.mark.parametrize("settings", [{}, {"members": 2}, {"folds": 3, "calibrate": True}], ids=str)
def test_labels_are_smoothed_in_training_alone(settings, tmp_path):
    experiment = run(n=100, test=True, loss=SMOOTHED, **settings)
    plain = run(n=100, test=True, loss="softmax_cross_entropy", **settings)
    network = experiment.model.network
    assert experiment.trainer.network.loss.label_smoothing == 0.2
    assert network.loss.label_smoothing == 0.0
    assert np.any(plain.model.network.parameters != network.parameters)
    part = experiment.parts["test"]
    logits = network.activations(part.features, layers=[-1])[0].reshape(-1, 20, 3)
    expected = cross_entropy(logits, part.labels).mean()
    found = experiment.evaluate()["test"]
    assert found["loss"] == pytest.approx(expected)
    experiment.model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", "cpu")
    told = measure(again, part.rows, part.target)
    assert told["error"] == pytest.approx(found["error"])
    measured = again.network.predictor.evaluate_mean(*again.network.prepare(*part.data))
    assert measured["loss"] == pytest.approx(expected)
    assert again.network.seeds == network.seeds
    assert again.training["settings"]["loss"] == SMOOTHED


# -- clamped values ----


@pytest.mark.parametrize("folds", [None, 3])
def test_values_are_clamped_to_those_of_the_training(folds):
    settings = {"folds": folds, "epochs": 2, "learning_rate": 3.0}
    plain, clamped = (run("regression", clamp=c, **settings) for c in (False, True))
    y, far = clamped.parts["train"].target, 50.0 * np.random.default_rng(0).normal(size=(40, 4))
    said = [experiment.model.predict(far) for experiment in (plain, clamped)]
    np.testing.assert_allclose(said[1], np.clip(said[0], y.min(), y.max()))
    assert (said[0] != said[1]).any()
    assert clamped.evaluate()["dev"]["loss"] < plain.evaluate()["dev"]["loss"]


def test_classes_are_not_clamped():
    assert run("binary", clamp=True, epochs=1).model.target.clamp is None


# -- other trainings of the same data ----


@pytest.mark.parametrize("settings", [{"folds": 3}, {"folds": 2, "members": 3}, {}], ids=str)
def test_a_variant_is_the_training_of_its_settings(settings):
    changed = {"hidden": (5, 3), "loss": SMOOTHED, "keep_best": True, "seed": 0}
    made = prepare(**settings)
    other = made.variant(replace(made.settings, **changed))
    other.run()
    expected = run(**settings | changed)
    np.testing.assert_array_equal(other.model.network.parameters, expected.model.network.parameters)
    assert other.evaluate() == expected.evaluate()


def test_a_seed_makes_the_run_again():
    settings = {"folds": 3, "keep_best": True, "calibrate": True, "loss": SMOOTHED}
    one, again, other = (run(seed=seed, **settings) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.model.network.parameters, again.model.network.parameters)
    assert one.temperature == again.temperature
    assert one.temperature != other.temperature
    told = json.loads(json.dumps(asdict(one.settings)))
    assert told == json.loads(json.dumps(one.model.training["settings"]))


def biases(network):
    return [network.state()[name] for name in network.state() if name.endswith(".bias")]


def test_the_choice_of_a_penalty_is_at_the_rates_of_the_training():
    experiment = prepare(bias_rate=0.0, loss=SMOOTHED, calibrate=True)
    experiment.choose_l2([0.0, 0.1])
    assert all((bias == 0.0).all() for bias in biases(experiment.model.network))
    assert experiment.model.network.loss.label_smoothing == 0.0
    assert experiment.temperature is not None


def test_so_is_a_learning_curve_and_its_labels_are_smoothed():
    experiment = run(n=200, bias_rate=0.0, loss=SMOOTHED, calibrate=True)
    losses = []

    def watch(trainer, row):
        losses.append(trainer.network.loss.label_smoothing)
        assert all((bias == 0.0).all() for bias in biases(trainer.network))

    rows = experiment.learning_curve(watch=watch).rows
    assert losses == [0.2] * len(rows)


# -- embeddings beside categories ----


@pytest.mark.parametrize("embedding", ["periodic", "piecewise", "piecewise:n_dims=3"])
def test_codes_of_categories_are_where_their_layers_expect_them(embedding, pa):
    rng = np.random.default_rng(0)
    n = 200
    numbers, some = rng.normal(size=n), rng.normal(size=n)
    some[::9] = np.nan
    few = rng.choice(["u", "v", "w"], n)
    table = pa.table({"a": numbers, "few": few, "b": pa.array(some, from_pandas=True),
                      "many": rng.choice([f"k{i}" for i in range(40)], n)})  # fmt: skip
    settings = Settings(embedding=embedding, hidden=(8,), epochs=60, learning_rate=0.02)
    experiment = Experiment.prepare(Dataset("t", table, few == "v"), settings, "cpu")
    network, features = experiment.model.network, experiment.parts["train"].features
    names = [type(layer).__name__ for layer in network.layers]
    before = network.activations(features, layers=[names.index("OneHot") - 1])[0]
    (first, *_) = network.layers[names.index("OneHot")].columns
    codes = features[:, first[0]]
    np.testing.assert_array_equal(before[:, first[0]], codes)
    assert {*codes} == {0.0, 1.0, 2.0}
    experiment.run()
    assert experiment.evaluate()["test"]["error"] == 0.0
