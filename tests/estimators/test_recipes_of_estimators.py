"""Estimators with a recipe: what it sets, what stays, and what becomes of it."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

import xpnet as xn
from xpnet import MLPClassifier, MLPRegressor
from xpnet.estimators.recipe_settings import changed, optimizer_for, plan_for
from xpnet.recipes.facts import Facts
from xpnet.recipes.training import Length

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0, "device": "cpu"}
IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
RECIPES = ("plain", "realmlp", "tabm", "auto")

#: What lets a small network learn in few epochs.
QUICK = {"max_iter": 40, "learning_rate_init": 0.03, "batch_size": 20}


def classifier(recipe="realmlp", **options):
    return MLPClassifier(recipe=recipe, **(SMALL | options))


def regressor(recipe="realmlp", **options):
    return MLPRegressor(recipe=recipe, **(SMALL | options))


def kinds(model):
    return [type(layer).__name__ for layer in model.network_.layers]


# -- what is set ----


def plan(model, **facts):
    found = {"task": "multiclass", "n": 1000, "n_columns": 4} | facts
    return plan_for(model, Facts(**found), changed(model), 0)


def test_what_is_not_changed_is_the_recipe_s():
    settings = plan(MLPClassifier(recipe="realmlp")).settings
    assert (settings.hidden, settings.activation, settings.epochs) == ((256,) * 3, "selu", 256)
    assert (settings.l2, settings.learning_rate, settings.batch_size) == (0.0, 0.04, 256)


def test_what_is_changed_stays():
    own = {
        "hidden_layer_sizes": [8, 4],
        "activation": "logistic",
        "alpha": 0.5,
        "batch_size": 32,
        "learning_rate_init": 0.1,
        "max_iter": 7,
        "batch_norm": True,
        "dropout": 0.2,
        "input_dropout": 0.1,
        "n_iter_no_change": 3,
        "members": 4,
        "loss": "softmax_cross_entropy",
    }
    found = plan(MLPClassifier(recipe="auto", **own))
    s = found.settings
    assert (s.hidden, s.activation, s.l2, s.batch_size) == ((8, 4), "sigmoid", 0.5, 32)
    assert (s.learning_rate, s.epochs, s.batch_norm, s.dropout) == (0.1, 7, True, (0.2,))
    assert (s.input_dropout, s.patience, s.members, s.loss) == (0.1, 3, 4, None)
    assert s.parametrization == "ntk"
    assert {"hidden", "l2", "loss", "patience"} <= {*found.given}


def test_the_default_given_by_hand_is_not_changed():
    model = MLPClassifier((100,), "relu", alpha=np.float64(1e-4), members=None, recipe="auto")
    assert changed(model) == {"recipe"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, xn.Adam(xn.LogCosine(0.04, total=3.0), beta_2=0.95)),
        ({"beta_1": 0.8, "momentum": 0.3}, xn.Adam(xn.LogCosine(0.04, total=3.0), 0.8, 0.95)),
        ({"learning_rate_init": 0.1}, xn.Adam(xn.LogCosine(0.1, total=3.0), beta_2=0.95)),
        ({"learning_rate": xn.Cosine(0.1, 9)}, xn.Adam(xn.Cosine(0.1, 9), beta_2=0.95)),
        ({"solver": "sgd"}, xn.SGD(0.001, 0.9, nesterov=True)),
        ({"solver": xn.Lion(0.01)}, xn.Lion(0.01)),
    ],
    ids=str,
)
def test_the_optimiser(options, expected):
    model = MLPClassifier(recipe="realmlp", **options)
    found = optimizer_for(model, plan(model).settings, changed(model), Length(10, 5, 3))
    assert repr(found) == repr(expected)


# -- fits ----


@pytest.mark.parametrize("recipe", RECIPES)
def test_classes(recipe):
    rng = np.random.default_rng(0)
    X = IRIS * 1e4 + rng.normal(size=IRIS.shape)  # raw
    model = classifier(recipe, **QUICK).fit(X, NAMES)
    assert model.score(X, NAMES) > 0.9
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    assert (model.predict(X) == model.classes_[p.argmax(axis=1)]).all()
    assert kinds(model)[0] == "Standardize"
    assert getattr(model.network_.loss, "label_smoothing", 0.0) == 0.0
    assert model.plan_.settings.recipe == recipe
    assert (model.network_.members, model.n_layers_) == (5 if recipe == "auto" else None, 3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_classes_and_their_probabilities(recipe):
    y = NAMES[50:]
    model = classifier(recipe, **QUICK).fit(IRIS[50:], y)
    assert model.predict_proba(IRIS).shape == (150, 2)
    assert model.score(IRIS[50:], y) > 0.85


@pytest.mark.parametrize("recipe", RECIPES)
def test_values_keep_their_unit(recipe):
    """A network that is trained on values in another unit predicts the same, in that unit."""
    y = np.stack([PROGRESS, -3 * PROGRESS + DIABETES[:, 2] * 100], axis=1)
    found = regressor(recipe).fit(DIABETES, y).predict(DIABETES)
    other = regressor(recipe).fit(DIABETES, y * [1e5, 0.5] + [7e6, 3])
    np.testing.assert_allclose(other.predict(DIABETES), found * [1e5, 0.5] + [7e6, 3], rtol=1e-5)
    says = other.network_.predict(DIABETES)  # before they are clamped
    inside = np.clip(says, *other._bounds.reshape(2, 2)) if recipe in ("realmlp", "auto") else says
    np.testing.assert_allclose(other.predict(DIABETES), inside)
    assert regressor(recipe, max_iter=40).fit(DIABETES, y).score(DIABETES, y) > 0.3


def test_values_are_those_of_the_range_seen():
    model = regressor(max_iter=30).fit(DIABETES, PROGRESS)
    far = np.concatenate([DIABETES * 100, DIABETES * -100])
    found = model.predict(far)
    assert (found.min(), found.max()) == (PROGRESS.min(), PROGRESS.max())
    assert model.network_.predict(far).max() > PROGRESS.max()
    assert regressor("plain").fit(DIABETES, PROGRESS).predict(far).max() > PROGRESS.max()


def test_counts_stay_counts():
    counts = np.random.default_rng(0).poisson(np.exp(1 + 20 * DIABETES[:, 2]))
    model = regressor("plain", loss="poisson", max_iter=30).fit(DIABETES, counts)
    assert (model.predict(DIABETES) > 0).all()
    assert model.score(DIABETES, counts) > 0.2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_each_device(device, dtype):
    X = device.asarray(IRIS, dtype)
    model = classifier("auto", device=device, members=2, max_iter=6).fit(X, SPECIES)
    assert model.network_.dtype == dtype
    alike = classifier("auto", device=device, members=2, max_iter=6).fit(X, SPECIES)
    p = model.predict_proba(X)
    np.testing.assert_array_equal(*map(device.to_host, (p, alike.predict_proba(X))))
    y = device.to_host(regressor(device=device).fit(X, SPECIES).predict(X))
    assert ((y >= 0) & (y <= 2)).all()


def test_several_labels_at_once():
    """Whether each of three columns is above its median: no noise that a network might not see."""
    Y = (IRIS[:, :3] > np.median(IRIS[:, :3], axis=0)) * 1
    model = classifier("auto", **QUICK).fit(IRIS, Y)
    assert (model.network_.loss.name, model.temperature_) == ("sigmoid_cross_entropy", None)
    assert (model.predict(IRIS) == Y).mean() > 0.9


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_single_class(recipe):
    model = classifier(recipe).fit(IRIS, np.full(150, "a"))
    assert (model.predict(IRIS) == "a").all()
    assert (model.predict_proba(IRIS) == 1).all()


@pytest.mark.parametrize("recipe", ["plain", "realmlp", "auto"])
def test_weights_count(recipe):
    """Wrong labels don't: neither in the training nor for the best epoch."""
    wrong = np.where(np.arange(150) % 3 == 0, (SPECIES + 1) % 3, SPECIES)
    model = classifier(recipe, **QUICK).fit(IRIS, wrong, (wrong == SPECIES) * 1.0)
    assert model.score(IRIS, SPECIES) > 0.9


def test_classes_have_weights():
    overlap = np.random.default_rng(0).integers(2, size=150)
    heavy = classifier("plain", class_weight={1: 50.0}, **QUICK).fit(IRIS, overlap)
    assert heavy.predict(IRIS).mean() > 0.95


# -- what is held out ----


def test_folds_hold_out_every_row_and_calibrate(monkeypatch):
    seen, fit = [], xn.Trainer.fit_prepared

    def looking(self, *data):
        seen.append((self.rate_factors, data[6]))
        return fit(self, *data)

    monkeypatch.setattr(xn.Trainer, "fit_prepared", looking)
    model = classifier("auto").fit(IRIS, SPECIES)
    ((factors, held),) = seen
    assert sorted(np.concatenate(held)) == [*range(150)]
    assert {*factors.values()} == {0.1, 6.0}
    assert model.temperature_ != 1.0
    assert [*map(len, model.validation_scores_)] == [12] * 5
    assert max(model.best_validation_score_) <= 1.0
    assert (model.n_iter_, model.t_) == (12, [12 * (150 - len(rows)) for rows in held])


@pytest.mark.parametrize(
    ("options", "validation"),
    [
        ({"early_stopping": True}, {}),
        ({}, {"X_val": IRIS[::3], "y_val": SPECIES[::3]}),
        ({"members": 1}, {}),
        ({"early_stopping": True, "members": 3}, {}),
    ],
    ids=["early stopping", "X_val", "one network", "each its own"],
)
def test_without_folds(options, validation):
    model = classifier("auto", **options).fit(IRIS, SPECIES, **validation)
    assert (model.plan_.settings.folds, model.network_.members) in (
        (None, options.get("members", 5)),
        (None, None),
    )
    assert model.temperature_ is not None
    assert model.score(IRIS, SPECIES) > 0.8
    if validation and "members" not in options:
        assert len(model.validation_loss_curve_[0]) == 12


def test_the_best_epoch_is_kept():
    """With a rate that is far too high all epochs but few are bad."""
    given = {"X_val": IRIS[::3], "y_val": SPECIES[::3]}
    model = classifier(learning_rate_init=0.5, max_iter=40).fit(IRIS, SPECIES, **given)
    assert model.score(IRIS[::3], SPECIES[::3]) == pytest.approx(model.best_validation_score_)
    assert (model.best_loss_, len(model.loss_curve_)) == (None, 40)


def test_patience_ends_it():
    model = classifier("plain", max_iter=500, early_stopping=True, n_iter_no_change=2)
    assert model.fit(IRIS, SPECIES).n_iter_ < 500


# -- what is kept ----


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_saved_and_pickled(make, recipe, tmp_path):
    X, y = (IRIS, NAMES) if make is classifier else (DIABETES, PROGRESS)
    model = make(recipe).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    loaded = type(model).load(tmp_path / "model.safetensors", device="cpu")
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X * 3), model.predict(X * 3))
        assert other.get_params() == model.get_params()
    net = xn.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(net.predict(X), model.network_.predict(X))
    assert not hasattr(clone(model), "network_")


def test_a_member_is_an_estimator():
    model = classifier("auto", members=3).fit(IRIS, SPECIES)
    each = np.stack([model.member(i).predict_proba(IRIS) for i in range(3)])
    np.testing.assert_allclose(each.mean(axis=0), model.predict_proba(IRIS), rtol=1e-6)
    np.testing.assert_allclose(each, model.predict_proba(IRIS, members=True), rtol=1e-6)
    by_recipe = classifier("auto").fit(IRIS, SPECIES)
    assert by_recipe.member(4).network_.members is None
    assert by_recipe.predict_std(IRIS).shape == (150, 3)
    assert by_recipe.coefs_[-1].shape == (5, 16, 3)
    assert by_recipe.transform(IRIS).shape == (150, 5 * 16)


def test_members_that_share_weights_have_no_coefs():
    model = classifier("tabm", max_iter=2).fit(IRIS, SPECIES)
    with pytest.raises(AttributeError, match="members share weights here"):
        _ = model.coefs_
    features = model.transform(IRIS)
    assert features.shape == (150, 32 * 16) == (150, len(model.get_feature_names_out()))
    alone = model.network_.member(5)
    last = alone.activations(IRIS, [len(alone.layers) - 2])[0]
    np.testing.assert_allclose(features[:, 5 * 16 : 6 * 16], last, rtol=1e-6)


def test_a_fit_without_it_forgets_it():
    model = regressor().fit(DIABETES, PROGRESS)
    model.set_params(recipe=None, max_iter=500, learning_rate_init=0.01).fit(DIABETES, PROGRESS)
    assert not {"plan_", "_bounds", "temperature_"} & {*vars(model)}
    assert kinds(model) == ["Linear", "ReLU", "Linear"]


def test_a_fit_that_fails_leaves_what_there_was():
    model = classifier().fit(IRIS, SPECIES)
    before = model.predict_proba(IRIS)
    model.set_params(solver="sgd", learning_rate_init=1e300)
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(IRIS, SPECIES)
    np.testing.assert_array_equal(model.predict_proba(IRIS), before)


def test_it_is_told_and_called_back(capsys):
    rows = []
    classifier("auto", members=2, max_iter=3, verbose=True, callbacks=[
        xn.EarlyStopping(9), lambda trainer, row: rows.append(row["epoch"])
    ]).fit(IRIS, SPECIES)  # fmt: skip
    assert rows == [1, 2, 3]
    assert capsys.readouterr().out.count("Member 1: Iteration 3, loss = ") == 1


# -- refused ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "best"}, "recipe"),
        ({"solver": "lbfgs"}, "solver is 'lbfgs', which recipe='realmlp' does not go with: give"),
        ({"learning_rate": "adaptive"}, "learning_rate is 'adaptive', which .*: give a schedule"),
        ({"warm_start": True}, "warm_start is True, which"),
        ({"activation": xn.LeakyReLU(0.2)}, "activation is LeakyReLU.*: give one name for all"),
        ({"activation": ["relu"]}, r"activation is \['relu'\], which"),
        ({"members": 2, "alpha": (0.1, 0.2)}, "alpha has a value for each member, which"),
    ],
)
def test_what_does_not_go_with_it(options, message):
    with pytest.raises(ValueError, match=message):
        classifier(**options).fit(IRIS, SPECIES)


def test_sparse_features_are_refused():
    with pytest.raises(TypeError, match=r"X is sparse, which .* Give X\.toarray\(\), or recipe"):
        classifier().fit(csr_array(IRIS), SPECIES)


def test_it_is_of_a_whole_training():
    with pytest.raises(AttributeError, match="partial_fit"):
        classifier().partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="recipe is 'realmlp', which a search can't follow"):
        xn.tune(classifier(), IRIS, SPECIES, trials=2)
