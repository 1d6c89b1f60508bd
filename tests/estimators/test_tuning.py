"""`tune`: it trains what `fit` trains, nothing is learnt from what is held out, and its end."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

import xpnet as xn
from xpnet import MLPClassifier, MLPRegressor
from xpnet.estimators.estimator_subject import EstimatorSubject
from xpnet.estimators.function_subject import FunctionSubject
from xpnet.estimators.held_out import hold_out, joined, taken
from xpnet.estimators.tuning import _halving
from xpnet.search import groups
from xpnet.search.random_study import RandomStudy
from xpnet.search.studies import make_study
from xpnet.search.trials import State

X, SPECIES = datasets.load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
VALUES = X @ [1.0, -1.0, 0.5, 2.0] + np.random.default_rng(0).normal(size=150)
WEIGHTS = np.arange(150) % 4 + 0.5
PLAIN = {"batch_size": 30, "max_iter": 6, "random_state": 3, "device": "cpu"}

SPACE = {
    "learning_rate_init": xn.log_uniform(1e-3, 1e-1),
    "alpha": xn.log_uniform(1e-4, 1),
}


@pytest.fixture(autouse=True)
def _random_studies(monkeypatch):
    """Let settings be drawn at random, whether Optuna is installed or not."""

    def make(space, limit, minimize, seed, *, storage, name, about, resume):
        return RandomStudy(space, limit, minimize, seed, storage, about=about, resume=resume)

    monkeypatch.setattr("xpnet.estimators.tuning.make_study", make)


def classifier(**options):
    return MLPClassifier((8,), **{**PLAIN, **options})


def subject(model, X=X, y=NAMES, weights=None, **options):
    return EstimatorSubject(model, X, y, weights, lambda n, labels: hold_out(n, labels, **options))


def trained(candidate):
    """Return the network of a candidate after its epochs, on its data."""
    data = candidate.data
    candidate.trainer.fit(
        *data.train,
        batch_size=candidate.batch_size,
        epochs=candidate.epochs,
        sample_weight=data.sample_weight,
        monitor=0,
    )
    return candidate.trainer.network


def fitted(model, *data, **options):
    """Return the network of an estimator that is trained for all of its epochs."""
    last = model[-1] if isinstance(model, Pipeline) else model
    last.set_params(tol=0, n_iter_no_change=np.inf, early_stopping=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*data, **options)
    return last.network_


#: What an estimator may be set to, by a search or from the start.
SETTINGS = {
    "rate": {"learning_rate_init": 0.02},
    "alpha": {"alpha": 3.0},
    "layers": {"hidden_layer_sizes": (7, 5), "activation": "tanh"},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1},
    "batch norm": {"batch_norm": True},
    "sgd": {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
    "adam": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6},
    "rmsprop": {"solver": "rmsprop"},
    "an instance": {"solver": xn.AdamW(0.01)},
    "schedule": {"learning_rate": xn.Exponential(0.01, 0.9)},
    "batch": {"batch_size": 11},
    "auto": {"batch_size": "auto"},
    "epochs": {"max_iter": 3},
    "seed": {"random_state": 9},
    "float32": {"dtype": "float32"},
    "not used": {"early_stopping": True, "tol": 1.0, "n_iter_no_change": 1},
}


@pytest.mark.parametrize("given", ["by the search", "from the start"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("kind", "y"), [(MLPClassifier, NAMES), (MLPRegressor, VALUES)])
def test_a_candidate_is_the_training_that_fit_makes(kind, y, setting, given):
    model = kind(hidden_layer_sizes=(8,), **PLAIN)
    own = {} if given == "by the search" else setting
    made = subject(clone(model).set_params(**own), y=y, fraction=0.3)
    examples, _ = made.held_out.pairs[0]
    candidate = made.candidate(setting if given == "by the search" else {})
    expected = fitted(clone(model).set_params(**setting), X[examples], y[examples])
    tolerance = 1e-5 if setting.get("dtype") else 1e-12
    found = trained(candidate)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.parameters, expected.parameters, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.statistics, expected.statistics, rtol=0, atol=tolerance)


def test_repeats_differ_in_their_seeds():
    made = subject(classifier())
    for repeat in (0, 2):
        network = made.candidate({}, repeat).trainer.network
        assert network.seeds == (3 + repeat,)
    assert subject(classifier(random_state=None)).candidate({}).trainer.network.seeds == (0,)


@pytest.mark.parametrize("class_weight", ["balanced", {"setosa": 5}])
@pytest.mark.parametrize("folds", [None, 3])
def test_weights_of_examples_and_classes_count(class_weight, folds):
    made = subject(classifier(), weights=WEIGHTS, folds=folds)
    setting = {"class_weight": class_weight}
    for fold, (examples, held_out) in enumerate(made.held_out.pairs):
        candidate, model = made.candidate(setting, fold), classifier(**setting)
        model.set_params(random_state=3 + fold)
        data, rows = candidate.data, slice(None)
        if folds:
            rows, own = data.folds[fold]
            np.testing.assert_array_equal(data.dev[0][own], X[held_out])
        expected = fitted(model, X[examples], NAMES[examples], sample_weight=WEIGHTS[examples])
        candidate.trainer.fit(
            data.train[0][rows],
            data.train[1][rows],
            batch_size=candidate.batch_size,
            epochs=candidate.epochs,
            sample_weight=data.sample_weight[rows],
            monitor=0,
        )
        found = candidate.trainer.network.parameters
        np.testing.assert_allclose(found, expected.parameters, rtol=0, atol=1e-12)


def test_candidates_that_differ_in_numbers_share_their_data():
    made = subject(classifier())
    settings = [{"alpha": 1.0}, {"dropout": 0.2, "learning_rate_init": 0.1}, {"max_iter": 2}]
    assert len({id(made.candidate(setting).data) for setting in settings}) == 1
    keys = {groups.key(made.candidate({"dropout": 0.1, "alpha": a})) for a in (0.1, 1.0)}
    assert len(keys) == 1


# -- pipelines ----


class Marked(TransformerMixin, BaseEstimator):
    """Keeps what it has been fitted to."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y=None):
        self.seen.append((np.asarray(X), np.asarray(y)))
        return self

    def transform(self, X):
        return np.asarray(X)


@pytest.mark.parametrize("folds", [None, 3])
def test_transformers_learn_from_training_rows_alone(folds):
    model = make_pipeline(StandardScaler(), Marked(), PCA(2), classifier())
    made = subject(model, folds=folds)
    setting = {"pca__n_components": 3, "mlpclassifier__alpha": 0.5}
    Marked.seen.clear()
    candidates = [made.candidate(setting, fold) for fold in range(made.n_folds)]
    assert len(Marked.seen) == made.n_folds
    assert {id(c.data) for c in candidates} == {id(candidates[0].data)}
    data = candidates[0].data
    for fold, (examples, held_out) in enumerate(made.held_out.pairs):
        before = make_pipeline(StandardScaler(), PCA(3)).fit(X[examples])
        np.testing.assert_allclose(
            Marked.seen[fold][0], StandardScaler().fit_transform(X[examples])
        )
        assert Marked.seen[fold][1].tolist() == NAMES[examples].tolist()
        own = data.folds[fold] if folds else (slice(None), slice(None))
        for part, rows, own_rows in zip(
            (data.train, data.dev), own, (examples, held_out), strict=True
        ):
            np.testing.assert_allclose(part[0][rows], before.transform(X[own_rows]))
            assert part[1][rows].tolist() == SPECIES[own_rows].tolist()


def test_transformers_are_fitted_once_for_settings_alike():
    made = subject(make_pipeline(Marked(), PCA(2), classifier()))
    Marked.seen.clear()
    kept = [
        made.candidate({"pca__n_components": n, "mlpclassifier__alpha": alpha})
        for n, alpha in [(2, 0.1), (3, 0.1), (2, 0.2), (3, 0.2)]
    ]
    assert len(Marked.seen) == 2
    assert [c.trainer.network.n_features for c in kept] == [2, 3, 2, 3]
    assert kept[0].data is kept[2].data is not kept[1].data


def test_a_step_may_be_searched():
    made = subject(Pipeline([("scale", StandardScaler()), ("net", classifier())]))
    scaled = made.candidate({"scale": StandardScaler(with_std=False)}).data
    plain = made.candidate({"scale": "passthrough"}).data
    examples, _ = made.held_out.pairs[0]
    np.testing.assert_allclose(scaled.train[0], X[examples] - X[examples].mean(axis=0))
    np.testing.assert_array_equal(plain.train[0], X[examples])


def test_folds_that_come_out_in_different_widths_are_refused():
    codes = np.arange(30)[:, None] % 15
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), classifier())
    with pytest.raises(ValueError, match=r"the folds have .* features after what comes before"):
        subject(model, codes, np.arange(30) % 2, folds=5)


def test_tables_of_text_go_through_a_pipeline():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"kind": NAMES, "size": X[:, 0]})
    before = OneHotEncoder(categories=[np.unique(NAMES), np.unique(X[:, 0])], sparse_output=False)
    model = make_pipeline(before, classifier(max_iter=30))
    found = xn.tune(
        model, table, NAMES, {"mlpclassifier__learning_rate_init": xn.log_uniform(0.01, 0.1)},
        trials=3, folds=2, metric="accuracy", refit=False,
    )  # fmt: skip
    assert found.best.value > 0.9


# -- the search and its end ----


def test_the_best_is_trained_anew_on_all_examples_for_its_best_epochs():
    seen = []
    found = xn.tune(classifier(), X, NAMES, SPACE, trials=8, halving=False, watch=seen.append)
    assert [t.number for t in found.trials] == [*range(8)]
    assert sorted(t.number for t in seen) == [*range(8)]
    assert {t.state for t in found.trials} == {State.COMPLETE}
    best = found.best
    assert best.value == min(t.value for t in found.trials)
    assert 1 <= best.best_epoch <= 6
    expected = classifier(**best.setting, max_iter=best.best_epoch)
    network = fitted(expected, X, NAMES)
    np.testing.assert_allclose(found.model.network_.parameters, network.parameters, atol=1e-12)
    assert found.model.predict(X).tolist() == expected.predict(X).tolist()
    assert found.model.get_params()["callbacks"] is None
    assert found.default == {"learning_rate_init": 0.001, "alpha": 0.0001}
    assert str(best.number) in str(found)
    again = xn.tune(classifier(), X, NAMES, SPACE, trials=8, halving=False)
    assert [t.setting for t in again.trials] == [t.setting for t in found.trials]
    assert [t.value for t in again.trials] == pytest.approx([t.value for t in found.trials])


def test_a_trial_has_the_value_that_its_training_alone_has():
    found = xn.tune(
        classifier(), X, NAMES, SPACE,
        trials=5, metric="neg_log_loss", halving=False, refit=False, members=3,
    )  # fmt: skip
    (examples, held_out), = hold_out(150, SPECIES, seed=0).pairs  # fmt: skip
    for trial in found.trials:
        values = []
        for epochs in range(1, 7):
            model = classifier(**trial.setting, max_iter=epochs)
            fitted(model, X[examples], NAMES[examples])
            values.append(-log_loss(NAMES[held_out], model.predict_proba(X[held_out])))
        assert trial.value == pytest.approx(max(values), abs=1e-9)
        assert trial.best_epoch == 1 + np.argmax(values)


def test_folds_are_judged_by_their_mean():
    found = xn.tune(
        make_pipeline(StandardScaler(), classifier()), X, NAMES,
        {"mlpclassifier__alpha": xn.log_uniform(1e-3, 1)},
        trials=2, folds=3, metric="neg_log_loss", halving=False,
    )  # fmt: skip
    pairs = hold_out(150, SPECIES, folds=3, seed=0).pairs
    for trial in found.trials:
        means = []
        for epochs in range(1, 7):
            figures = []
            for fold, (examples, held_out) in enumerate(pairs):
                model = make_pipeline(
                    StandardScaler(), classifier(random_state=3 + fold, max_iter=epochs)
                )
                model.set_params(**trial.setting)
                fitted(model, X[examples], NAMES[examples])
                p = model.predict_proba(X[held_out])
                figures.append(-log_loss(NAMES[held_out], p))
            means.append(np.mean(figures))
        assert trial.value == pytest.approx(max(means), abs=1e-9)
    assert found.model[-1].network_.n_features == 4


def test_a_set_of_ones_own_is_what_is_measured_on():
    own = X[::3] + 0.1, NAMES[::3]
    found = xn.tune(
        classifier(), X, NAMES, {"alpha": xn.log_uniform(0.1, 1)},
        trials=1, X_val=own[0], y_val=own[1], metric="neg_log_loss", halving=False,
        sample_weight=WEIGHTS,
    )  # fmt: skip
    trial = found.best
    model = classifier(**trial.setting, max_iter=trial.best_epoch)
    fitted(model, X, NAMES, sample_weight=WEIGHTS)
    value = log_loss(own[1], model.predict_proba(own[0]))
    assert trial.value == pytest.approx(-value, abs=1e-9)
    both = clone(model)
    weights = np.concatenate([WEIGHTS, np.ones(50)])
    fitted(
        both, np.concatenate([X, own[0]]), np.concatenate([NAMES, own[1]]), sample_weight=weights
    )
    parameters = found.model.network_.parameters
    np.testing.assert_allclose(parameters, both.network_.parameters, atol=1e-12)


def test_several_are_kept_as_members():
    found = xn.tune(
        classifier(), X, NAMES, SPACE | {"batch_size": xn.choice([30, 50])}, trials=10, keep=3
    )
    model, best = found.model, found.best
    ranked = [
        t for t in found.study.best() if t.setting["batch_size"] == best.setting["batch_size"]
    ]
    assert model.members == 3
    assert model.network_.seeds == (3, 4, 5)
    assert model.get_params()["callbacks"] is None
    for i, trial in enumerate(ranked[:3]):
        stopped = trial.state is State.STOPPED
        epochs = best.best_epoch if stopped else trial.best_epoch
        alone = classifier(**trial.setting, random_state=3 + i, max_iter=epochs)
        expected = fitted(alone, X, NAMES).parameters
        np.testing.assert_allclose(model.network_.parameters[i], expected, atol=1e-12)
    assert model.predict_proba(X).shape == (150, 3)


def test_those_with_and_without_a_momentum_are_not_kept_together():
    """By itself a momentum of 0 turns Nesterov's look-ahead off, which members share."""
    model, space = classifier(solver="sgd"), {"momentum": xn.choice([0.0, 0.9]), **SPACE}
    with pytest.warns(UserWarning, match="keep is 12, and the architecture"):
        found = xn.tune(model, X, NAMES, space, trials=12, keep=12, halving=False)
    assert {trial.setting["momentum"] for trial in found.trials} == {0.0, 0.9}
    assert {*found.model.momentum} == {found.best.setting["momentum"]}
    assert 1 < found.model.members < 12


def test_seeds_that_were_searched_are_those_of_the_members():
    space = {"random_state": xn.int_uniform(0, 10**6)}
    found = xn.tune(classifier(), X, NAMES, space, trials=4, keep=3, halving=False)
    expected = [trial.setting["random_state"] for trial in found.study.best()[:3]]
    assert [*found.model.network_.seeds] == expected


@pytest.mark.parametrize("model", [classifier(), None])
def test_what_was_found_is_kept_if_training_anew_goes_wrong(model, monkeypatch):
    def fail(*args, **kwargs):
        raise FloatingPointError("the loss turned NaN")

    monkeypatch.setattr("xpnet.estimators.tuning.retrain", fail)
    model, y, space = (model, NAMES, SPACE) if model else (make_trainer, SPECIES, RATES)
    with pytest.warns(UserWarning, match="not trained anew, .* the loss turned NaN"):
        found = xn.tune(model, X, y, space, trials=3)
    assert found.model is None
    assert found.best.value is not None


def test_time_that_is_up_ends_the_search():
    found = xn.tune(classifier(), X, NAMES, SPACE, trials=10**6, seconds=0.5, refit=False)
    assert found.reason == "the time was up"
    assert 1 < len(found.trials) < 10**6


def test_fewer_than_asked_for_are_kept_with_a_warning():
    space = {"hidden_layer_sizes": xn.choice([(3,), (4,)]), "alpha": xn.log_uniform(1e-3, 1)}
    with pytest.warns(UserWarning, match="keep is 5, and the architecture .* has [1-4] that"):
        found = xn.tune(classifier(), X, NAMES, space, trials=4, keep=5, halving=False)
    alike = [
        found.best.setting["hidden_layer_sizes"] == t.setting["hidden_layer_sizes"]
        for t in found.trials
    ]
    assert len(found.model.network_.seeds) == sum(alike)


@pytest.mark.parametrize(
    ("kind", "y", "metric"),
    [
        (MLPClassifier, NAMES, "f1_macro"),
        (MLPRegressor, VALUES, "r2"),
        (MLPRegressor, VALUES, "error"),
    ],
)
def test_a_space_of_its_own_needs_nobody_to_think(kind, y, metric):
    model = kind(max_iter=27, device="cpu", dtype="float32")
    found = xn.tune(model, X, y, trials=12, metric=metric)
    names = "hidden_layer_sizes", "learning_rate_init", "alpha", "dropout", "batch_size"
    assert {*found.best.setting} == {*names}
    assert found.model.batch_size == 32
    assert found.model.score(X, y) > 0.7


def test_the_space_leaves_alone_what_the_model_says():
    model = make_pipeline(classifier(solver=xn.AdamW(0.01)))
    found = xn.tune(model, X, NAMES, trials=2, refit=False)
    names = "hidden_layer_sizes", "alpha", "dropout"
    assert {*found.best.setting} == {f"mlpclassifier__{name}" for name in names}
    model = classifier(learning_rate=xn.Exponential(0.01, 0.9), batch_size="auto")
    found = xn.tune(model, X, NAMES, trials=1, refit=False)
    assert "learning_rate_init" not in found.best.setting
    assert found.best.setting["batch_size"] == 32


def test_labels_are_the_users_in_metrics():
    def share_of_setosa(y, predicted):
        assert {*y} == {*NAMES}
        return (predicted == "setosa").mean()

    found = xn.tune(
        classifier(), X, NAMES, SPACE, trials=2, metric=share_of_setosa, refit=False, halving=False
    )
    assert 0 <= found.best.value <= 1
    two = np.where(SPECIES == 1, "yes", "no")
    found = xn.tune(classifier(), X, two, SPACE, trials=2, metric="roc_auc", halving=False)
    (examples, held_out), = hold_out(150, (two == "yes") * 1, seed=0).pairs  # fmt: skip
    model = classifier(**found.best.setting, max_iter=found.best.best_epoch)
    fitted(model, X[examples], two[examples])
    expected = roc_auc_score(two[held_out] == "yes", model.predict_proba(X[held_out])[:, 1])
    assert found.best.value == pytest.approx(expected)


@pytest.mark.parametrize("folds", [None, 2])
@pytest.mark.parametrize("y", ["labels", "classes", "columns", "counts"])
@pytest.mark.parametrize("kind", ["sparse", "float32", "list"])
def test_data_may_come_as_for_fit(kind, y, folds):
    features = {"sparse": sparse.csr_array(X), "float32": X.astype("f"), "list": X.tolist()}[kind]
    labels = {
        "labels": np.stack([SPECIES == 0, X[:, 0] > 5.5], axis=1) * 1,
        "classes": NAMES.tolist(),
        "columns": np.stack([VALUES, X[:, 0]], axis=1),
        "counts": SPECIES,
    }[y]
    model, metric = classifier(), "accuracy"
    if y in ("columns", "counts"):
        loss = "poisson" if y == "counts" else "squared_error"
        model, metric = MLPRegressor(loss, (8,), **PLAIN), "neg_mean_absolute_error"
    options = {"trials": 2, "folds": folds, "halving": False, "metric": metric}
    found = xn.tune(model, features, labels, SPACE, **options)
    values = np.asarray(labels)
    strata = SPECIES if y == "classes" else None
    own = {"folds": folds} if folds else {}
    expected = []
    for fold, (examples, held_out) in enumerate(hold_out(150, strata, **own, seed=0).pairs):
        alone = clone(model).set_params(**found.best.setting, random_state=3 + fold)
        scores = []
        for epochs in range(1, 7):
            alone.set_params(max_iter=epochs)
            fitted(alone, taken(features, examples), values[examples])
            said = alone.predict(taken(features, held_out))
            if metric == "accuracy":
                scores.append(xn.accuracy(values[held_out], said))
            else:
                scores.append(-np.abs(values[held_out] - said).mean())
        expected.append(scores)
    assert found.best.value == pytest.approx(np.mean(expected, axis=0).max(), abs=1e-6)
    assert np.shape(found.model.predict(features)) == values.shape


@pytest.mark.parametrize("kind", [sparse.coo_matrix, sparse.coo_array, sparse.csc_array])
def test_sparse_features_of_any_format_go_through_a_pipeline(kind):
    X_positive = kind(np.abs(X))
    np.testing.assert_allclose(taken(X_positive, np.array([3, 1])).toarray(), np.abs(X[[3, 1]]))
    found = xn.tune(make_pipeline(MaxAbsScaler(), classifier()), X_positive, NAMES,
                    {"mlpclassifier__alpha": SPACE["alpha"]}, trials=2)  # fmt: skip
    assert found.model.predict(np.abs(X)).shape == (150,)


def test_tables_with_other_columns_do_not_go_below_one_another():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=[*"abcd"])
    assert joined([table, table[[*"dcba"]]])["a"].tolist() == 2 * table["a"].tolist()
    for other in (table.rename(columns={"a": "e"}), X):
        with pytest.raises(ValueError, match="the tables have columns"):
            joined([table, other])


def test_tables_and_their_columns_are_taken():
    pandas = pytest.importorskip("pandas")
    table, labels = (
        pandas.DataFrame(X, columns=[*"abcd"]),
        pandas.Series(NAMES, index=range(9, 159)),
    )
    for folds, given in ((None, False), (3, False), (None, True)):
        found = []
        for features, y in ((table, labels), (X, NAMES)):
            own = {"X_val": features[::3], "y_val": y[::3]} if given else {"folds": folds}
            found.append(xn.tune(classifier(), features, y, SPACE, trials=2, halving=False, **own))
        one, other = found
        assert [t.value for t in one.trials] == [t.value for t in other.trials]
        assert one.model.feature_names_in_.tolist() == [*"abcd"]


@pytest.mark.parametrize("options", [{}, {"folds": 2}, {"folds": 2, "metric": "f1_macro"}])
def test_what_lies_on_a_device_stays_there(strict, options, monkeypatch):
    monkeypatch.setattr(type(strict), "__deepcopy__", lambda self, memo: self, raising=False)
    on_host = xn.tune(classifier(), X, NAMES, SPACE, trials=3, keep=2, **options)
    X_there = strict.asarray(X)
    there = xn.tune(classifier(device=strict), X_there, NAMES, SPACE, trials=3, keep=2, **options)
    assert [t.value for t in there.trials] == pytest.approx([t.value for t in on_host.trials])
    assert there.model.predict(X).tolist() == on_host.model.predict(X).tolist()


def test_the_verdict_compares_with_the_models_own_parameters():
    model = classifier(learning_rate_init=1e-4)
    space = {"learning_rate_init": xn.log_uniform(1e-2, 1e-1)}
    found = xn.tune(model, X, NAMES, space, trials=4, metric="loss", repeats=3, refit=False)
    assert found.verdict.worth
    assert len(found.verdict.default) == len(found.verdict.best) == 3
    assert found.model is None


def test_ctrl_c_ends_the_search_with_what_there_is():
    def interrupt(trial):
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Search interrupted by user"):
        found = xn.tune(classifier(), X, NAMES, SPACE, trials=40, members=2, watch=interrupt)
    assert found.reason == "it was interrupted"
    assert found.model is None
    assert found.best.value is not None


def test_a_study_goes_on_with_the_same_data_alone(tmp_path):
    where = {"storage": tmp_path / "iris.study.jsonl", "refit": False}
    first = xn.tune(classifier(), X, NAMES, SPACE, trials=3, **where)
    more = xn.tune(classifier(), X, NAMES, SPACE, trials=5, resume=True, **where)
    assert [t.setting for t in more.trials[:3]] == [t.setting for t in first.trials]
    assert len(more.trials) == 5
    changed = X.copy()
    changed[0, 0] += 1
    for other, message in (
        ({"X": changed}, "data is"),
        ({"y": np.roll(NAMES, 1)}, "data is"),
        ({"sample_weight": WEIGHTS}, "data is"),
        ({"validation_fraction": 0.3}, "held_out is"),
        ({"metric": "loss"}, "metric is 'error' there, and 'loss'"),
        ({"model": classifier(max_iter=7)}, "model.max_iter is 6 there, and 7"),
        ({"space": SPACE | {"dropout": xn.uniform(0, 0.5)}}, "dropout"),
        ({"halving": xn.Halving(6, 2)}, r"halving is \[3, 1, 2\] there, and \[2, 2, 3\]"),
    ):
        given = {"model": classifier(), "X": X, "y": NAMES, "space": SPACE, "trials": 6, **other}
        with pytest.raises(ValueError, match=message):
            xn.tune(**given, resume=True, **where)
    # Where it is computed is no matter, and what is searched has no value of the model's.
    elsewhere = classifier(alpha=7.0, verbose=False, device="auto")
    assert len(xn.tune(elsewhere, X, NAMES, SPACE, trials=5, resume=True, **where).trials) == 5


def test_a_trial_that_can_not_be_made_fails_with_its_reason():
    space = {"alpha": xn.choice([-1.0, 0.1]), "learning_rate_init": xn.log_uniform(1e-3, 1e-2)}
    found = xn.tune(classifier(), X, NAMES, space, trials=6, refit=False, halving=False)
    states = {(t.setting["alpha"], t.state) for t in found.trials}
    assert states == {(-1.0, State.FAILED), (0.1, State.COMPLETE)}
    assert all("alpha" in t.reason for t in found.trials if t.state is State.FAILED)


def test_halving_knows_how_many_epochs_a_trial_may_have():
    space = SPACE | {"max_iter": xn.int_uniform(2, 27)}
    found = xn.tune(classifier(), X, NAMES, space, trials=9, refit=False)
    rungs = {epochs for trial in found.trials for epochs in trial.reports}
    assert rungs == {3, 9}
    assert max(trial.epochs for trial in found.trials) <= 27


def test_folds_of_uneven_sizes_are_one_batch_each_without_a_word():
    model = classifier(batch_size="auto")
    found = xn.tune(model, X[:100], NAMES[:100], SPACE, trials=2, folds=3, halving=False)
    assert {len(examples) for examples, _ in hold_out(100, SPECIES[:100], folds=3).pairs} > {66}
    assert {t.state for t in found.trials} == {State.COMPLETE}


@pytest.mark.parametrize("resume", [True, "auto"])
def test_optuna_proposes_and_keeps_the_study(tmp_path, monkeypatch, resume):
    pytest.importorskip("optuna")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setattr("xpnet.estimators.tuning.make_study", make_study)
    space = SPACE | {
        "hidden_layer_sizes": xn.choice([(4,), (6, 4)]),
        "solver": xn.choice(["adam", "sgd"]),
        "momentum": xn.when("solver", ["sgd"], xn.one_minus_log_uniform(0.5, 0.99)),
    }
    where = {"storage": tmp_path / "iris.study.db", "name": "iris"}
    first = xn.tune(classifier(), X, NAMES, space, trials=4, refit=False, **where).trials
    found = xn.tune(classifier(), X, NAMES, space, trials=8, keep=2, resume=resume, **where)
    assert [t.setting for t in found.trials[:4]] == [t.setting for t in first]
    assert len(found.trials) == 8
    assert all(("momentum" in t.setting) is (t.setting["solver"] == "sgd") for t in found.trials)
    assert {type(t.setting["hidden_layer_sizes"]) for t in found.trials} == {tuple}
    assert found.model.predict(X).shape == (150,)
    with pytest.raises(FileExistsError):
        xn.tune(classifier(), X, NAMES, space, trials=8, **where)
    with pytest.raises(ValueError, match="data is"):
        xn.tune(classifier(), X + 1, NAMES, space, trials=8, resume=True, **where)


# -- functions ----


def make_trainer(setting):
    net = xn.Network(
        [xn.Linear(setting.get("units", 5)), xn.Tanh(), xn.Linear(3)],
        loss="softmax_cross_entropy",
        n_features=4,
        device="cpu",
        dtype="float64",
        random_state=2,
    )
    return xn.Trainer(net, xn.Adam(setting.get("rate", 0.01)), l2=0.1, clip_norm=1.0)


EPOCHS = xn.int_uniform(6, 12)
RATES = {"rate": xn.log_uniform(1e-3, 1e-1)}


def test_a_function_makes_networks():
    space = RATES | {"units": xn.choice([5, 7]), "batch_size": xn.choice([20, 40])}
    found = xn.tune(make_trainer, X, SPECIES, space, trials=6, epochs=4, halving=False)
    best = found.best
    trainer = make_trainer(best.setting)
    trainer.fit(
        X, SPECIES, batch_size=best.setting["batch_size"], epochs=best.best_epoch, monitor=0
    )
    np.testing.assert_allclose(found.model.parameters, trainer.network.parameters, atol=1e-12)
    assert {t.epochs for t in found.trials} == {4}


def test_networks_of_a_function_are_kept_as_members():
    space = RATES | {"units": xn.choice([5, 7])}
    found = xn.tune(make_trainer, X, SPECIES, space, trials=8, epochs=3, batch_size=50, keep=2,
                    halving=False)  # fmt: skip
    alike = [t for t in found.study.best() if t.setting["units"] == found.best.setting["units"]]
    assert found.model.seeds == (2, 3)
    trainer = make_trainer(alike[0].setting)
    trainer.fit(X, SPECIES, batch_size=50, epochs=alike[0].best_epoch, monitor=0)
    found_first = found.model.member(0).parameters
    np.testing.assert_allclose(found_first, trainer.network.parameters, atol=1e-12)


def test_folds_of_a_function_differ_in_their_seeds():
    made = FunctionSubject(
        make_trainer, X, SPECIES, None, lambda n, y: hold_out(n, y, folds=3), 50, 4, [{}]
    )
    assert [made.candidate({}, i).trainer.network.seeds for i in range(3)] == [(2,), (3,), (4,)]
    one, other = (made.candidate({}, i).trainer for i in (0, 1))
    assert (one.l2, one.clip_norm) == (other.l2, other.clip_norm) == (0.1, 1.0)
    found = xn.tune(make_trainer, X, SPECIES, RATES, trials=3, folds=3, epochs=3, repeats=2)
    assert found.model.seeds == (2,)
    assert len(found.verdict.default) == 2


def given_weights(setting):
    trainer = make_trainer(setting)
    trainer.network.parameters[...] = 0.25
    return trainer


@pytest.mark.parametrize("function", [make_trainer, given_weights])
def test_weights_that_a_function_gives_stay_with_other_seeds(function):
    made = FunctionSubject(
        function, X, SPECIES, None, lambda n, y: hold_out(n, y, folds=3), 50, 4, [{}]
    )
    one, other = (made.candidate({}, i).trainer.network for i in (0, 1))
    assert other.seeds == (3,)
    alike = np.array_equal(one.parameters, other.parameters)
    assert alike is (function is given_weights)


def test_epochs_that_a_condition_leaves_open_are_as_many_as_for_all():
    space = {"long": xn.choice([True, False]), "epochs": xn.when("long", [True], EPOCHS)}
    made = FunctionSubject(make_trainer, X, SPECIES, None, hold_out, 50, 20, [{}])
    assert _halving(True, made, space).epochs == 20
    assert _halving(True, made, {"epochs": EPOCHS}).epochs == 12


# -- bad input ----


def trained_before(setting):
    trainer = make_trainer(setting)
    trainer.step(X, SPECIES)
    return trainer


def members(setting):
    return xn.Trainer(xn.Network([xn.Linear(3)], loss="softmax_cross_entropy", n_features=4,
                                 device="cpu", members=2))  # fmt: skip


MODEL = classifier()
SHARED = make_trainer({}).network


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (LogisticRegression(), {}, TypeError, "model is LogisticRegression.*give an MLPClassifier"),
        (make_pipeline(PCA(), LogisticRegression()), {}, TypeError, "a Pipeline that ends in one"),
        (MLPClassifier, {}, TypeError, "MLPClassifier"),
        (3, {}, TypeError, "model is 3"),
        (classifier(solver="lbfgs"), {}, ValueError, "solver is 'lbfgs', which a search can't"),
        (classifier(solver="sgd", learning_rate="adaptive"), {}, ValueError, "is 'adaptive'"),
        (classifier(shuffle=False), {}, ValueError, "shuffle is False"),
        (classifier(warm_start=True), {}, ValueError, "warm_start is True"),
        (classifier(members=5), {}, ValueError, r"members is 5, .*tune\(keep=k\)"),
        (classifier(callbacks=[print]), {}, ValueError, "callbacks is"),
        (classifier(alpha=-1.0), {}, ValueError, "alpha"),
        (MODEL, {"space": {"alhpa": SPACE["alpha"]}}, ValueError, "'alhpa'.*mean alpha"),
        (make_pipeline(MODEL), {}, ValueError, "'learning_rate_init'.*mean mlpclassifier__"),
        (MODEL, {"space": {}}, ValueError, "space is {}"),
        (MODEL, {"space": {"alpha": 0.1}}, TypeError, "alpha"),
        (MODEL, {"metric": "roc_auc"}, ValueError, "metric 'roc_auc' can't be measured"),
        (MODEL, {"metric": "no_such"}, ValueError, "metric is 'no_such'"),
        (MODEL, {"folds": 60}, ValueError, "folds is 60 and class"),
        (MODEL, {"X_val": X}, ValueError, "X_val and y_val belong together"),
        (MODEL, {"X_val": X, "y_val": NAMES, "folds": 3}, ValueError, "X_val and folds"),
        (MODEL, {"X_val": X[:4], "y_val": NAMES}, ValueError, "inconsistent"),
        (MODEL, {"X_val": X[:0], "y_val": NAMES[:0]}, ValueError, "X_val and y_val have no ex"),
        (MODEL, {"X_val": X[:4, :3], "y_val": NAMES[:4]}, ValueError, "X_val does not go with X"),
        (MODEL, {"X": X[:99], "y": NAMES[:99], "X_val": X, "y_val": NAMES}, ValueError,
         r"y_val has labels that y does not have: \['virginica'\]"),
        (MODEL, {"X_val": X, "y_val": SPECIES}, ValueError, "y_val has labels that y does not"),
        (MODEL, {"folds": GroupKFold(3)}, ValueError, r"folds is GroupKFold.*X, y, groups\)"),
        (MLPRegressor(**PLAIN), {"y": VALUES, "folds": StratifiedKFold(3)}, ValueError,
         "folds is StratifiedKFold.*can't split the 150 examples"),
        (MODEL, {"watch": 3}, TypeError, "watch is 3"),
        (MODEL, {"refit": "no"}, TypeError, "refit is 'no'"),
        (MODEL, {"sample_weight": WEIGHTS[:9]}, ValueError, "sample_weight"),
        (MODEL, {"trials": 0}, ValueError, "trials is 0"),
        (MODEL, {"trials": 2.5}, TypeError, "trials is 2.5"),
        (MODEL, {"keep": 0}, ValueError, "keep is 0"),
        (MODEL, {"repeats": 1}, ValueError, "repeats is 1"),
        (MODEL, {"random_state": -1}, ValueError, "random_state is -1"),
        (MODEL, {"halving": "yes"}, TypeError, "halving is 'yes'"),
        (MODEL, {"members": 0}, ValueError, "members is 0"),
        (MODEL, {"seconds": -1}, ValueError, "seconds is -1"),
        (MODEL, {"epochs": 5}, ValueError, "epochs is 5, and the model has max_iter"),
        (MODEL, {"batch_size": 5}, ValueError, "batch_size is 5, and the model has batch_size"),
        (MODEL, {"y": NAMES[:9]}, ValueError, "inconsistent"),
        (MODEL, {"y": VALUES}, ValueError, "Unknown label type"),
        (make_trainer, {"y": SPECIES, "space": None}, ValueError, "space is None"),
        (make_trainer, {"y": SPECIES, "batch_size": 0}, ValueError, "batch_size is 0"),
        (make_trainer, {"y": SPECIES, "space": {"epochs": xn.int_uniform(1, 3)}, "epochs": 2},
         ValueError, "epochs is 2, and the space has it too"),
        (make_trainer, {"y": SPECIES, "space": RATES | {"epochs": xn.choice(["few", 3])}},
         TypeError, "epochs is 'few'"),
        (lambda s: xn.Trainer(SHARED), {"y": SPECIES, "members": 1}, RuntimeError,
         "a network that it had returned before"),
        (lambda s: s, {"y": SPECIES}, TypeError, "the function has returned {'learning_rate"),
        (trained_before, {"y": SPECIES}, ValueError, "has made 1 updates"),
        (members, {"y": SPECIES}, ValueError, "a search takes a single network"),
        (lambda s: make_trainer({"rate": s["alpha"]}), {"y": SPECIES, "repeats": 2}, ValueError,
         "repeats compares .* KeyError: 'alpha'"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_refused(model, options, error, message):
    given = {"X": X, "y": NAMES, "space": SPACE, "trials": 2, **options}
    with pytest.raises(error, match=message):
        xn.tune(model, **given)
