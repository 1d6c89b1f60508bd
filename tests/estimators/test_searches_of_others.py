"""scikit-learn's own searches, and Optuna's, with these estimators: as with any other."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet as xn
from xpnet import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = datasets.load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
VALUES = X @ [1.0, -1.0, 0.5, 2.0] + np.random.default_rng(0).normal(size=150)
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def classifier(**options):
    options = {"max_iter": 15, "learning_rate_init": 0.02, "random_state": 0, **options}
    return MLPClassifier((8,), batch_size=20, device="cpu", **options)


def pipeline(**options):
    return make_pipeline(StandardScaler(), classifier(**options))


#: Name: a search of a pipeline.
SEARCHES = {
    "grid": lambda: GridSearchCV(
        pipeline(),
        {"mlpclassifier__alpha": [1e-3, 10.0], "standardscaler__with_std": [True, False]}, cv=FOLDS,
    ),
    "random": lambda: RandomizedSearchCV(
        pipeline(),
        {"mlpclassifier__alpha": xn.log_uniform(1e-4, 10),
         "mlpclassifier__hidden_layer_sizes": xn.choice([(4,), (8, 4)]),
         "mlpclassifier__learning_rate_init": stats.loguniform(1e-3, 0.1)},
        n_iter=4, cv=FOLDS, random_state=0,
    ),
    "halving, examples": lambda: HalvingRandomSearchCV(
        pipeline(), {"mlpclassifier__alpha": xn.log_uniform(1e-4, 10)},
        n_candidates=4, factor=2, min_resources=36, cv=FOLDS, random_state=0,
    ),
    "halving, epochs": lambda: HalvingRandomSearchCV(
        pipeline(), {"mlpclassifier__alpha": xn.log_uniform(1e-4, 10)},
        resource="mlpclassifier__max_iter", max_resources=12, min_resources=3, factor=2, cv=FOLDS,
        random_state=0,
    ),
    "halving grid": lambda: HalvingGridSearchCV(
        pipeline(), {"mlpclassifier__alpha": [1e-3, 1e-2, 1.0, 10.0]},
        resource="mlpclassifier__max_iter", max_resources=12, min_resources=3, factor=2, cv=FOLDS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", SEARCHES.values(), ids=SEARCHES)
def test_a_search_finds_what_training_by_hand_does(make):
    found = make().fit(X, NAMES)
    assert found.best_score_ > 0.75
    assert set(found.predict(X)) <= {*NAMES}
    if not hasattr(found, "n_resources_") or found.resource != "n_samples":
        resource = {}
        if hasattr(found, "n_resources_"):
            resource = {found.resource: found.n_resources_[-1]}
        by_hand = clone(found.estimator).set_params(**found.best_params_ | resource)
        assert found.best_score_ == pytest.approx(
            cross_val_score(by_hand, X, NAMES, cv=FOLDS).mean()
        )
    best = clone(found.estimator).set_params(**found.best_estimator_.get_params(deep=True))
    mlp, again = found.best_estimator_[-1], clone(best[-1])
    again.fit(StandardScaler(**_scaling(found)).fit_transform(X), NAMES)
    np.testing.assert_array_equal(mlp.coefs_[0], again.coefs_[0])
    if hasattr(found, "n_resources_"):
        assert found.n_resources_ == sorted(found.n_resources_)
        assert found.n_candidates_ == sorted(found.n_candidates_, reverse=True)


def _scaling(found):
    return found.best_estimator_[0].get_params()


def test_a_regressor_is_searched():
    options = {"solver": "lbfgs", "max_iter": 40, "random_state": 0, "device": "cpu"}
    model = MLPRegressor(hidden_layer_sizes=(8,), **options)
    folds = KFold(3, shuffle=True, random_state=0)
    found = GridSearchCV(model, {"alpha": [1e-3, 1e5]}, cv=folds, scoring="r2").fit(X, VALUES)
    assert found.best_params_ == {"alpha": 1e-3}
    assert found.best_score_ > 0.5


def test_what_is_no_parameter_fails_as_with_any_estimator():
    found = GridSearchCV(classifier(), {"alpha": [-1.0, 0.1]}, cv=2)
    with (
        pytest.warns(UserWarning, match="test scores are non-finite"),
        pytest.warns(FitFailedWarning, match=r"\n2 fits failed(.|\n)*'alpha' parameter"),
    ):
        found.fit(X, NAMES)
    assert np.isnan(found.cv_results_["mean_test_score"]).tolist() == [True, False]
    assert found.best_params_ == {"alpha": 0.1}


@pytest.mark.parametrize("pruning", [False, True])
def test_optunas_search_finds_what_training_by_hand_does(pruning):
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    alpha, rate = "mlpclassifier__alpha", "mlpclassifier__learning_rate_init"
    model, alpha = (classifier(), "alpha") if pruning else (pipeline(), alpha)
    rate = "learning_rate_init" if pruning else rate
    space = {
        alpha: optuna.distributions.FloatDistribution(1e-4, 10, log=True),
        rate: optuna.distributions.FloatDistribution(1e-3, 0.1, log=True),
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search = integration.OptunaSearchCV(
            model, space, cv=FOLDS, n_trials=4, study=study, max_iter=5, random_state=0,
            enable_pruning=pruning, error_score="raise",
        )  # fmt: skip
    with warnings.catch_warnings():  # it calls what Optuna has deprecated
        warnings.filterwarnings("ignore", "`optuna.terminator` module", FutureWarning)
        found = search.fit(X, NAMES)
    assert len(found.trials_) == 4
    assert {*found.best_params_} == {alpha, rate}
    assert found.score(X, NAMES) > 0.7
    if not pruning:  # with it an estimator is trained by partial_fit, epoch by epoch
        by_hand = clone(model).set_params(**found.best_params_)
        scores = cross_val_score(by_hand, X, NAMES, cv=FOLDS)
        assert found.best_score_ == pytest.approx(scores.mean())
    again = clone(model).set_params(**found.best_params_).fit(X, NAMES)
    np.testing.assert_array_equal(found.best_estimator_.predict(X), again.predict(X))
