"""The estimators: scikit-learn's rules, its results, its neighbours, and what is more."""

import copy
import pickle
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet as xn
from xpnet import MLPClassifier, MLPRegressor
from xpnet.files import safetensors_files
from xpnet.nn.activations import ACTIVATIONS
from xpnet.nn.losses import Huber, MeanSquaredError, PoissonDeviance, SoftmaxCrossEntropy
from xpnet.nn.passes import Passes
from xpnet.optim.optimizers import Optimizer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])

NO_EQUIVALENCE = {
    "batch_norm": "the batch's statistics count examples, whatever their weights",
    "dropout": "a mask belongs to a row of the batch: a repeated example has several",
    "recipe": "a repeated example may be in several folds, and counts for quartiles",
}


def expected_failures(estimator):
    """Return the checks that can't pass, each with the reason."""
    for option, reason in NO_EQUIVALENCE.items():
        if getattr(estimator, option):
            return {
                f"check_sample_weight_equivalence_on_{kind}_data": reason
                for kind in ("dense", "sparse")
            }
    if isinstance(estimator, MLPClassifier):
        return {
            "check_class_weight_classifiers": "where no example of the heavy class lies, the "
            "network's answer is free: 86 % fall to it, and the check wants 87 %"
        }
    return {}


def checked(*several):
    """Return a decorator: scikit-learn's checks of both estimators, with some options each."""
    estimators = [
        kind(max_iter=100, random_state=0, **options)
        for kind in (MLPClassifier, MLPRegressor)
        for options in several
    ]
    return parametrize_with_checks(estimators, expected_failed_checks=expected_failures)


@checked({})
def test_scikit_learn_s_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.slow
@checked(
    {"batch_norm": True},
    {"dropout": 0.1},
    {"recipe": "auto", "hidden_layer_sizes": (16,), "members": 2},
)
def test_scikit_learn_s_checks_with_options_of_our_own(estimator, check):
    if estimator.recipe is not None and check.func.__name__ == "check_class_weight_classifiers":
        pytest.xfail("what is held out counts alike for all classes, in the best epoch too")
    test_scikit_learn_s_checks(estimator, check)


# -- the same as scikit-learn's ----


@pytest.mark.parametrize(
    ("ours", "theirs"), [(MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)]
)
def test_every_parameter_of_theirs_has_the_same_place_and_default(ours, theirs):
    mine, other = ours().get_params(), theirs().get_params()
    assert {k: mine[k] for k in other} == other
    order = [*mine]
    assert [k for k in order if k in other] == [*other]
    import inspect

    for name, parameter in inspect.signature(theirs).parameters.items():
        assert inspect.signature(ours).parameters[name].kind == parameter.kind


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)]
)
def test_fitted_attributes_are_theirs(ours, theirs, solver, early_stopping):
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)
    options = {
        "hidden_layer_sizes": (7, 5),
        "solver": solver,
        "early_stopping": early_stopping,
        "max_iter": 8,
        "random_state": 0,
    }
    mine, other = ours(**options).fit(X, y), theirs(**options).fit(X, y)
    for name, value in vars(other).items():
        if not name.endswith("_") or name.startswith("_"):
            continue
        assert hasattr(mine, name), name
        found = getattr(mine, name)
        if name in ("coefs_", "intercepts_"):
            assert [a.shape for a in found] == [a.shape for a in value]
        elif isinstance(value, list):
            assert isinstance(found, list)
            assert abs(len(found) - len(value)) <= 1
        elif name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
            assert found == value
        else:
            assert (found is None) == (value is None), name
    assert get_tags(mine).input_tags == get_tags(other).input_tags


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_predictions_are_their_formula_of_the_same_weights(activation):
    """Their network, with our weights put in."""
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)
    options = {"hidden_layer_sizes": (6, 4), "activation": activation, "random_state": 0}
    mine = MLPClassifier(max_iter=5, **options).fit(X, y)
    other = TheirClassifier(max_iter=1, **options).fit(X, y)
    other.coefs_, other.intercepts_ = mine.coefs_, mine.intercepts_
    np.testing.assert_allclose(mine.predict_proba(X), other.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(mine.predict_log_proba(X), other.predict_log_proba(X), atol=1e-9)
    assert mine.score(X, y) == other.score(X, y)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd"},
        {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e6, "n_iter_no_change": 1},
        {"solver": "adam"},
        {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9},
        {"solver": "lbfgs"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "values", "counts"])
def test_a_fit_is_theirs_from_the_same_weights(options, weighted, kind):
    """Step by step, where nothing is random: the same weights, batches and losses."""
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)[:90:3]
    y = {
        "classes": np.arange(30) % 3,
        "two classes": np.arange(30) % 2,
        "labels": np.stack([np.arange(30) % 2, np.arange(30) % 3 == 0], axis=1) * 1,
        "values": X @ [1.0, -1.0, 0.5, 2.0] + 1,
        "counts": np.arange(30) % 5,
    }[kind]
    ours, theirs = (
        (MLPRegressor, TheirRegressor)
        if kind in ("values", "counts")
        else (MLPClassifier, TheirClassifier)
    )
    options = {
        "hidden_layer_sizes": (6,),
        "activation": "tanh",
        "shuffle": False,
        "batch_size": 7,
        "alpha": 0.3,
        "warm_start": True,
        "random_state": 0,
        "tol": 1e-9,
        **options,
    }
    if kind == "counts":
        options["loss"] = "poisson"
    weights = {"sample_weight": np.arange(30) % 4 + 0.5} if weighted else {}
    mine, other = ours(max_iter=1, **options).fit(X, y), theirs(max_iter=1, **options).fit(X, y)
    mine.coefs_, mine.intercepts_ = other.coefs_, other.intercepts_
    for model in (mine, other):
        model.set_params(max_iter=6)
        model.fit(X, y, **weights)
    # Where they have √v + ε in Adam, here it is √v̂ + ε; L-BFGS adds rounding up.
    tolerance = 1e-10 if options["solver"] == "sgd" else 1e-5
    for found, expected in zip(
        mine.coefs_ + mine.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(mine.predict(X), other.predict(X), atol=tolerance)
    # Their loss has each batch's own L2 term, ours that of the weights at the epoch's end.
    assert mine.loss_ == pytest.approx(other.loss_, rel=0.15)


@pytest.mark.parametrize(
    ("ours", "theirs", "load", "tolerance"),
    [
        (MLPClassifier, TheirClassifier, datasets.load_breast_cancer, 0.02),
        (MLPRegressor, TheirRegressor, datasets.load_diabetes, 0.05),
    ],
)
def test_as_good_as_theirs(ours, theirs, load, tolerance):
    X, y = load(return_X_y=True)
    X = scale(X)
    y = scale(y) if ours is MLPRegressor else y
    scores = [
        np.mean(cross_val_score(kind(max_iter=200, alpha=1.0, random_state=0), X, y, cv=3))
        for kind in (ours, theirs)
    ]
    assert scores[0] > scores[1] - tolerance


# -- stopping ----


class TestStopping:
    X, y = datasets.make_classification(200, 10, random_state=0)

    def test_too_few_epochs_warn(self):
        with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
            MLPClassifier(max_iter=3).fit(self.X, self.y)

    def test_no_improvement_ends_it(self):
        model = MLPClassifier(max_iter=500, tol=0.1, n_iter_no_change=4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(self.X, self.y)
        assert model.n_iter_ < 100
        best = int(np.argmin(model.loss_curve_))
        assert model.best_loss_ == model.loss_curve_[best]
        assert model.n_iter_ == len(model.loss_curve_)

    def test_a_held_out_part_ends_it_and_the_best_weights_come_back(self):
        model = MLPClassifier(
            max_iter=300, early_stopping=True, n_iter_no_change=5, random_state=3, tol=0
        ).fit(self.X, self.y)
        assert model.best_validation_score_ == max(model.validation_scores_)
        assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
        assert model.best_loss_ is None

    @pytest.mark.parametrize("norm", [False, True])
    def test_the_model_is_that_of_its_best_epoch(self, norm):
        X, y = datasets.make_classification(300, 20, n_informative=3, flip_y=0.3, random_state=0)
        seen = []
        model = MLPClassifier(
            (50,), batch_norm=norm, learning_rate_init=0.05, max_iter=30, n_iter_no_change=30,
            early_stopping=True, random_state=0,
            callbacks=[lambda trainer, row: seen.append(trainer.network.predict_proba(X))],
        ).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])  # fmt: skip
        best = int(np.argmax(model.validation_scores_))
        assert best < 29  # the last epoch is not the best, or nothing would be tested
        assert model.score(X[200:], y[200:]) == model.best_validation_score_
        np.testing.assert_array_equal(model.predict_proba(X)[:, 1], seen[best])

    def test_a_warm_start_that_never_gets_better_keeps_the_first_fit_s_best(self):
        X, y = datasets.make_classification(300, 20, n_informative=3, flip_y=0.3, random_state=0)
        model = MLPClassifier(
            (50,), early_stopping=True, warm_start=True, random_state=0, max_iter=40,
            n_iter_no_change=100, learning_rate_init=0.01,
        )  # fmt: skip
        for _ in range(2):
            model.fit(X[:250], y[:250], X_val=X[250:], y_val=y[250:])
            assert model.score(X[250:], y[250:]) == model.best_validation_score_
        assert len(model.validation_scores_) == 80

    @pytest.mark.parametrize("columns", [(), (2,)])
    def test_a_validation_set_without_a_score_is_refused_before_anything_is_trained(self, columns):
        """R² of one row, or of one value, would choose weights by NaN or 0: those of no epoch."""
        X = np.random.default_rng(0).normal(size=(60, 3))
        y = np.broadcast_to((X[:, 0] > 0) * 1.0, (*columns, 60)).T
        model = MLPRegressor(early_stopping=True, random_state=0, max_iter=2).fit(X, y)
        before = vars(model).copy()
        seen = []
        model.callbacks = [lambda trainer, row: seen.append(row)]
        zeros = np.where(np.arange(60) < 1, y.T, 0.1).T
        given = {"X_val": X[:1], "y_val": y[:1]}, {"X_val": X[:9], "y_val": 0 * y[:9] + 0.1}
        for fit in (
            lambda: model.fit(X, zeros),
            lambda: model.fit(X, y, X[:, 0] > 0),
            *(lambda given=given: model.fit(X, y, **given) for given in given),
        ):
            with pytest.raises(ValueError, match=r"The validation set holds .*one|the same value"):
                fit()
        assert seen == []
        assert vars(model) == before | {"callbacks": model.callbacks}
        model.set_params(early_stopping=False, callbacks=None)
        assert model.fit(X, y, **given[1]).validation_loss_curve_

    def test_a_validation_set_that_counts_nothing_is_refused(self):
        model = MLPClassifier(early_stopping=True, random_state=0, max_iter=2)
        held = []
        model._measure = lambda y, predicted, weights: held.append(weights) or 0.5
        model.fit(self.X, self.y, np.arange(200.0))
        del model._measure
        weights = np.where(np.isin(np.arange(200), held[0]), 0.0, 1.0)
        with pytest.raises(ValueError, match="sample_weight is zero for all 20 examples of"):
            model.fit(self.X, self.y, weights)

    @pytest.mark.parametrize("loss", ["squared_error", "poisson"])
    def test_scores_that_are_not_finite_choose_nothing(self, loss):
        X = np.random.default_rng(0).normal(size=(60, 3))
        far = np.where(np.arange(20)[:, None] < 1, 1e308, X[:20])
        y = (X[:, 0] > 0) * 1.0
        model = MLPRegressor(loss, early_stopping=True, random_state=0, max_iter=30)
        with (
            pytest.raises(ValueError, match="infinite after every epoch: there is no best one"),
            np.errstate(all="ignore"),
        ):
            model.fit(X, y, X_val=far, y_val=y[:20])
        model.early_stopping = False
        with np.errstate(all="ignore"):
            model.fit(X, y, X_val=far, y_val=y[:20])
        assert {*model.validation_scores_} == {-np.inf}

    @pytest.mark.parametrize("place", range(3))
    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_nan_is_no_better_than_any_score(self, place, value):
        scores = [0.2, 0.4, 0.3]
        scores.insert(place, value)
        told, seen = iter(scores), []
        model = MLPRegressor(
            early_stopping=True, max_iter=4, random_state=0,
            callbacks=[lambda trainer, row: seen.append(trainer.network.predict(self.X))],
        )  # fmt: skip
        model._measure = lambda *_: next(told)
        model.fit(self.X, self.X[:, 0])
        assert model.best_validation_score_ == 0.4
        np.testing.assert_array_equal(model.predict(self.X), seen[scores.index(0.4)])

    def test_a_rare_class_of_several_is_no_obstacle_to_holding_out(self):
        y = self.y.copy()
        y[0] = 7
        model = MLPClassifier(max_iter=2, early_stopping=True, random_state=0).fit(self.X, y)
        assert model.predict_proba(self.X).shape[1] == len(np.unique(y))

    def test_of_two_classes_each_has_its_share_held_out(self):
        y = (np.arange(200) % 10 == 0) * 1
        X = np.random.default_rng(0).normal(size=(200, 2))
        held = []
        model = MLPClassifier((2,), max_iter=1, early_stopping=True, random_state=0)
        model._measure = lambda y, predicted, weights: held.append(y) or 0.5
        model.fit(X, y, sample_weight=np.ones(200))
        assert (len(held[0]), held[0].sum()) == (20, 2)
        y[1:] = 0
        with pytest.raises(ValueError, match=r"only 1 member.*'True' is the class"):
            model.fit(X, y)

    def test_class_weights_are_no_part_of_the_score(self):
        options = {"max_iter": 3, "random_state": 0, "class_weight": {0: 1, 1: 100}}
        y = (self.y == self.y[0]) * 1
        model = MLPClassifier(early_stopping=True, **options)
        seen = []
        measure = model._measure
        model._measure = lambda y, p, weights: seen.append(weights) or measure(y, p, weights)
        model.fit(self.X, y, sample_weight=np.linspace(0, 1, len(y)))
        assert max(w.max() for w in seen) <= 1

    def test_one_s_own_validation_set(self):
        X, y, X_val, y_val = self.X[:150], self.y[:150], self.X[150:], self.y[150:]
        model = MLPClassifier(
            max_iter=80, early_stopping=True, n_iter_no_change=80, random_state=0
        ).fit(X, y, X_val=X_val, y_val=y_val)
        assert model.t_ == 150 * model.n_iter_  # nothing was held out of the training data
        assert model.score(X_val, y_val) == pytest.approx(model.best_validation_score_)
        plain = MLPClassifier(max_iter=20, random_state=0).fit(X, y, X_val=X_val, y_val=y_val)
        assert len(plain.validation_loss_curve_) == len(plain.loss_curve_) == 20
        assert plain.score(X_val, y_val) == pytest.approx(plain.validation_scores_[-1])

    @BOTH
    @pytest.mark.parametrize("warm_start", [False, True])
    def test_a_validation_set_may_lack_a_class(self, kind, warm_start):
        X, y = self.X, self.y
        model = kind(max_iter=3, random_state=0, warm_start=warm_start)
        for _ in range(2):
            model.fit(X, y, X_val=X[y == 0], y_val=y[y == 0])
        assert len(model.validation_loss_curve_) == (6 if warm_start else 3)

    def test_a_validation_set_of_another_width_is_refused(self):
        with pytest.raises(ValueError, match="y has 2 outputs, and there were 1 before"):
            MLPRegressor(max_iter=2).fit(
                self.X, self.y, X_val=self.X, y_val=np.stack([self.y, self.y], axis=1)
            )

    def test_adaptive_rates_fall(self):
        rates = []
        model = MLPClassifier(
            solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, tol=0.1,
            n_iter_no_change=2, random_state=0, max_iter=200,
            callbacks=[lambda trainer, row: rates.append(row["learning_rate"])],
        )  # fmt: skip
        model.fit(self.X, self.y)
        steps = sorted({*rates}, reverse=True)
        np.testing.assert_allclose(np.array(steps[:-1]) / steps[1:], 5.0)
        assert rates[-1] <= 1e-6 < 5 * rates[-1]

    def test_ctrl_c_leaves_a_fitted_estimator(self):
        def press(trainer, row):
            if row["epoch"] == 3:
                signal.raise_signal(signal.SIGINT)

        assert threading.current_thread() is threading.main_thread()
        model = MLPClassifier(max_iter=50, random_state=0, callbacks=[press])
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            model.fit(self.X, self.y)
        assert len(model.loss_curve_) == 3
        assert model.score(self.X, self.y) > 0.5

    @BOTH
    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    @pytest.mark.parametrize(
        ("owner", "place"),
        [(xn.Network, "initialize"), (xn.Network, "prepare"), (Passes, "bind")],
    )
    def test_ctrl_c_before_the_first_step_leaves_one_too(
        self, kind, solver, owner, place, monkeypatch
    ):
        def press(one, *arguments, **options):
            monkeypatch.setattr(owner, place, original)
            signal.raise_signal(signal.SIGINT)
            return original(one, *arguments, **options)

        original = getattr(owner, place)
        monkeypatch.setattr(owner, place, press)
        model = kind(solver=solver, max_iter=50, random_state=0)
        try:
            with pytest.warns(UserWarning, match="Training interrupted by user"):
                model.fit(self.X, self.y)
        except KeyboardInterrupt:
            pytest.fail("it was not caught")
        assert model.n_iter_ == 0
        assert np.isfinite(model.score(self.X, self.y))
        with pytest.raises(KeyboardInterrupt):  # it is heard again
            signal.raise_signal(signal.SIGINT)

    @BOTH
    def test_ctrl_c_in_lbfgs_keeps_the_last_whole_iteration(self, kind, monkeypatch):
        calls = []

        def press(network, *arguments):
            calls.append(network)
            if len(calls) == 30:
                signal.raise_signal(signal.SIGINT)
            return original(network, *arguments)

        original = xn.nn.passes.Passes.loss_and_gradient
        monkeypatch.setattr(xn.nn.passes.Passes, "loss_and_gradient", press)
        model = kind(solver="lbfgs", max_iter=500, tol=0, random_state=0)
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            model.fit(self.X, self.y)
        assert 0 < model.n_iter_ < 30
        broken_off = model.predict(self.X)
        monkeypatch.undo()
        whole = kind(solver="lbfgs", max_iter=model.n_iter_, tol=0, random_state=0)
        np.testing.assert_allclose(broken_off, whole.fit(self.X, self.y).predict(self.X))

    def test_weights_that_turn_infinite_are_refused(self):
        model = MLPRegressor(solver="sgd", learning_rate_init=1e6, max_iter=50, random_state=0)
        with pytest.raises(ValueError, match=r"non-finite parameter weights.*smaller learning"):
            model.fit(1e3 * self.X, self.X[:, 0])

    def test_verbose_tells(self, capsys):
        MLPClassifier(max_iter=2, verbose=True, early_stopping=True).fit(self.X, self.y)
        out = capsys.readouterr().out
        assert "Iteration 1, loss = " in out
        assert "Validation score: " in out


# -- more than theirs ----


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "rmsprop"},
        {"activation": "leaky_relu"},
        {"activation": ["tanh", "relu"]},
        {"batch_norm": True},
        {"dropout": 0.2, "input_dropout": 0.1},
        {"learning_rate": xn.Cosine(0.01, total=40)},
        {"dtype": "float32"},
        {"callbacks": [xn.WeightAverage(xn.ExponentialMovingAverage(0.9))]},
    ],
    ids=lambda options: "+".join(options),
)
def test_options_of_our_own_learn(kind, options):
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)
    options = {
        "hidden_layer_sizes": (16, 8),
        "learning_rate_init": 0.01,
        "batch_size": 20,
    } | options
    model = kind(max_iter=40, random_state=0, **options).fit(X, y)
    assert model.score(X, y) > 0.85


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_known_activation_is_taken_by_name_and_as_an_instance(name):
    X, y = datasets.load_iris(return_X_y=True)
    options = {"hidden_layer_sizes": (5, 4), "max_iter": 2, "random_state": 0}
    given = ACTIVATIONS[name]()
    for activation in (name, given, [given, name]):
        model = MLPClassifier(activation=activation, **options).fit(X, y)
        found = [layer for layer in model.network_.layers if not isinstance(layer, xn.Linear)]
        assert [*map(repr, found)] == [repr(given)] * (0 if name == "identity" else 2)


def test_an_activation_is_as_it_is_set_and_a_copy_in_each_layer():
    X, y = datasets.load_iris(return_X_y=True)
    given = xn.LeakyReLU(0.3)
    model = MLPClassifier((5, 4), given, max_iter=2, warm_start=True, random_state=0).fit(X, y)
    found = [layer for layer in model.network_.layers if isinstance(layer, xn.LeakyReLU)]
    assert [layer.negative_slope for layer in found] == [0.3, 0.3]
    assert len({*map(id, (given, *found))}) == 3
    model.fit(X, y).set_params(activation=xn.LeakyReLU(0.1))
    with pytest.raises(ValueError, match=r"layers: .*0\.3.* now"):
        model.fit(X, y)


@pytest.mark.parametrize("name", Optimizer.registry.own)
def test_any_known_optimiser_is_taken_by_name_and_as_an_instance(name):
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)
    options = {"max_iter": 20, "random_state": 0}
    named = MLPClassifier(solver=name, learning_rate_init=0.02, **options).fit(X, y)
    assert type(named._optimizer.optimizer) is Optimizer.registry.own[name]
    assert named._optimizer.learning_rate == pytest.approx(0.02)
    given = Optimizer.registry.own[name](0.01)
    model = MLPClassifier(solver=given, **options).fit(X, y)
    assert model._optimizer.optimizer == given
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert clone(model).get_params()["solver"] == given


@pytest.mark.parametrize(
    ("kind", "loss", "name", "activation"),
    [
        (MLPRegressor, "squared_error", "half_squared_error", "identity"),
        (MLPRegressor, "mean_squared_error", "mean_squared_error", "identity"),
        (MLPRegressor, MeanSquaredError(), "mean_squared_error", "identity"),
        (MLPRegressor, "huber", "huber", "identity"),
        (MLPRegressor, Huber(0.5), "huber", "identity"),
        (MLPRegressor, PoissonDeviance(), "poisson_deviance", "exp"),
        (MLPClassifier, "softmax_cross_entropy", "softmax_cross_entropy", "softmax"),
        (MLPClassifier, None, "sigmoid_cross_entropy", "logistic"),
        (MLPClassifier, SoftmaxCrossEntropy(), "softmax_cross_entropy", "softmax"),
    ],
)
def test_losses_are_taken_by_name_and_as_instances(kind, loss, name, activation, tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    X, y = scale(X[:100]), np.array(["no", "yes"])[y[:100]] if kind is MLPClassifier else y[:100]
    model = kind(loss=loss, max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert (model.network_.loss.name, model.out_activation_) == (name, activation)
    assert model.score(X, y) > 0.8
    model.save(tmp_path / "m")
    again = kind.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.loss == loss
    if kind is MLPClassifier:
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
        assert model.predict_proba(X).shape == (100, 2)


def test_columns_of_labels_want_their_own_loss():
    X, y = datasets.make_multilabel_classification(random_state=0)
    with pytest.raises(ValueError, match="y has columns of 0 and 1: give 'sigmoid_cross_entropy'"):
        MLPClassifier(loss="softmax_cross_entropy").fit(X, y)
    assert MLPClassifier(loss="sigmoid_cross_entropy", max_iter=2).fit(X, y).n_outputs_ == 5


def test_each_names_the_losses_for_its_labels():
    X, y = datasets.load_diabetes(return_X_y=True)
    with pytest.raises(
        ValueError, match="give one of softmax_cross_entropy, sigmoid_cross_entropy"
    ):
        MLPClassifier(loss=MeanSquaredError()).fit(X, y > 100)
    for loss in ("huge", "softmax_cross_entropy", SoftmaxCrossEntropy()):
        with pytest.raises(ValueError, match="give one of squared_error, poisson, mean_squared_er"):
            MLPRegressor(loss).fit(X, y)


def test_layers_are_as_told():
    model = MLPClassifier(
        (4, 3), ["tanh", "identity"], batch_norm=True, dropout=0.25, input_dropout=0.5, max_iter=1
    )
    model.fit(*datasets.load_iris(return_X_y=True))
    names = [type(layer).__name__ for layer in model.network_.layers]
    hidden = ["Linear", "BatchNorm", "Tanh", "Dropout", "Linear", "BatchNorm", "Dropout"]
    assert names == ["Dropout", *hidden, "Linear"]


def test_transform_is_the_last_hidden_layer():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5, 3), "tanh", max_iter=5, random_state=0).fit(X, y)
    a = X
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        a = np.tanh(a @ weights + bias)
    np.testing.assert_allclose(model.transform(X), a, rtol=1e-12)
    flat = MLPClassifier((), max_iter=5).fit(X, y)
    np.testing.assert_array_equal(flat.transform(X), X)


def test_units_have_names_in_a_table(tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((3,), max_iter=2).set_output(transform="pandas").fit(X, y)
    names = ["mlpclassifier0", "mlpclassifier1", "mlpclassifier2"]
    assert [*model.transform(X).columns] == names
    model.save(tmp_path / "m.st")
    again = MLPClassifier.load(tmp_path / "m.st", device="cpu")
    assert [*again.transform(X).columns] == names


# -- where arrays live ----


@BOTH
def test_arrays_stay_put(kind, device):
    X, y = datasets.load_iris(return_X_y=True)
    X = scale(X)
    here, labels = device.asarray(X), device.asarray(y)
    model = kind(hidden_layer_sizes=(8,), max_iter=10, random_state=0).fit(here, labels)
    assert model.network_.backend.device == device.device
    predicted = model.predict(here)
    assert device.owns(predicted)
    assert device.owns(model.transform(here))
    assert all(isinstance(a, np.ndarray) for a in model.coefs_)
    on_host = kind(hidden_layer_sizes=(8,), max_iter=10, random_state=0, device="cpu").fit(X, y)
    np.testing.assert_allclose(device.to_host(predicted), on_host.predict(X), atol=1e-9)
    assert model.score(here, labels) == pytest.approx(on_host.score(X, y), abs=1e-9)
    assert model.n_features_in_ == 4
    if kind is MLPClassifier:
        for name in ("predict_proba", "predict_log_proba"):
            found = getattr(model, name)(here)
            assert device.owns(found)
            np.testing.assert_allclose(device.to_host(found), getattr(on_host, name)(X), atol=1e-9)
    with pytest.raises(ValueError, match="3 features"):
        model.predict(here[:, :3])


@BOTH
def test_what_was_fitted_on_a_device_predicts_anywhere(kind, strict, monkeypatch):
    X, y = datasets.load_iris(return_X_y=True)
    model = kind(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(
        strict.asarray(X), strict.asarray(y)
    )
    expected = strict.to_host(model.predict(strict.asarray(X)))
    again = pickle.loads(pickle.dumps(model))  # where there is no GPU
    assert again.network_.backend.device == "cpu"
    np.testing.assert_allclose(again.predict(X), expected, atol=1e-9)


def test_labels_that_the_device_can_t_hold_come_as_numpy_s(device):
    X, y = datasets.load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = MLPClassifier((8,), max_iter=5).fit(device.asarray(X), names)
    assert {*model.predict(device.asarray(X))} <= {"a", "b", "c"}


@BOTH
def test_tensors_of_pytorch_are_taken(kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'oracle')")
    X, y = datasets.load_iris(return_X_y=True)
    options = {"max_iter": 5, "random_state": 0}
    one = kind(**options).fit(torch.tensor(X), torch.tensor(y))
    two = kind(**options).fit(X, y)
    found = one.predict(torch.tensor(X))
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, two.predict(X))
    assert one.score(torch.tensor(X), torch.tensor(y)) == two.score(X, y)


@BOTH
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_features_give_what_dense_ones_give(kind, solver, layout):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 20)) * (rng.random((3000, 20)) < 0.2)
    y = (X.sum(axis=1) > 0) * 1
    options = {"hidden_layer_sizes": (6,), "max_iter": 4, "solver": solver, "random_state": 0}
    dense, thin = kind(**options).fit(X, y), kind(**options).fit(layout(X), y)
    np.testing.assert_allclose(thin.predict(layout(X)), dense.predict(X), atol=1e-6)
    np.testing.assert_allclose(thin.transform(layout(X)), dense.transform(X), atol=1e-6)
    assert thin.loss_ == pytest.approx(dense.loss_, rel=1e-6)


def test_a_sparse_matrix_never_becomes_dense_as_a_whole():
    import tracemalloc

    X = sparse.random(20_000, 2_000, 0.001, "csr", np.float32, np.random.default_rng(0))
    y = np.arange(20_000) % 2
    tracemalloc.start()
    try:
        MLPClassifier((4,), max_iter=1, random_state=0, device="cpu").fit(X, y).predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 20_000 * 2_000 * 4


@BOTH
def test_float32_stays_float32(kind):
    X, y = datasets.load_iris(return_X_y=True)
    model = kind(max_iter=3).fit(X.astype(np.float32), y)
    assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype(np.float32)}
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert kind(max_iter=3).fit(X, y).coefs_[0].dtype == np.float64
    assert kind(max_iter=3, dtype="float32").fit(X, y).coefs_[0].dtype == np.float32


# -- copies and files ----


@BOTH
@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "dropout": 0.1}], ids=str)
@pytest.mark.parametrize(
    "again",
    [
        lambda model, path: pickle.loads(pickle.dumps(model)),
        lambda model, path: copy.deepcopy(model),
        lambda model, path: (joblib.dump(model, path / "m.joblib"), joblib.load(path / "m.joblib"))[
            1
        ],
        lambda model, path: (model.save(path / "m.st"), type(model).load(path / "m.st"))[1],
    ],
    ids=["pickle", "copy", "joblib", "file"],
)
def test_copies_are_the_same(kind, options, again, tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    model = kind(
        hidden_layer_sizes=(6, 5), max_iter=5, random_state=0, early_stopping=True, **options
    ).fit(X, y)
    other = again(model, tmp_path)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert other.get_params() == model.get_params()
    for name in ("loss_curve_", "validation_scores_", "n_iter_", "t_", "best_validation_score_"):
        assert getattr(other, name) == getattr(model, name)
    other.set_params(early_stopping=False).partial_fit(X, y)  # and it can go on
    assert not np.array_equal(other.coefs_[0], model.coefs_[0])


@BOTH
def test_training_goes_on_from_a_pickle_as_without(kind):
    X, y = datasets.load_iris(return_X_y=True)
    classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    straight, broken = (
        kind(hidden_layer_sizes=(6,), batch_size=20, dropout=0.2, random_state=0) for _ in range(2)
    )
    for i in range(6):
        straight.partial_fit(X, y, **classes)
        broken.partial_fit(X, y, **classes)
        if i == 2:
            broken = pickle.loads(pickle.dumps(broken))
    for a, b in zip(straight.coefs_, broken.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": "invscaling"},
        {"learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
        {"learning_rate": xn.Cosine(0.1, 30)},
    ],
    ids=str,
)
def test_rates_go_on_from_a_pickle_as_without(options):
    X, y = datasets.load_iris(return_X_y=True)
    straight = MLPClassifier((6,), solver="sgd", batch_size=20, random_state=0, **options)
    broken = copy.deepcopy(straight)
    for i in range(8):
        straight.partial_fit(X, y, classes=[0, 1, 2])
        broken.partial_fit(X, y, classes=[0, 1, 2])
        if i in (2, 5):
            broken = copy.deepcopy(broken)
    np.testing.assert_array_equal(straight.coefs_[0], broken.coefs_[0])
    assert straight._optimizer.learning_rate == broken._optimizer.learning_rate
    assert straight._optimizer.learning_rate != straight.learning_rate_init


def test_partial_fits_of_any_size_have_their_rates():
    X, y = datasets.load_iris(return_X_y=True)
    options = {
        "hidden_layer_sizes": (5,), "solver": "sgd", "learning_rate": "invscaling",
        "learning_rate_init": 0.2, "shuffle": False, "random_state": 0,
    }  # fmt: skip
    mine, other = MLPClassifier(**options), TheirClassifier(**options)
    for model in (mine, other):
        model.partial_fit(X, y, classes=[0, 1, 2])
    mine.coefs_, mine.intercepts_ = other.coefs_, other.intercepts_
    mine._optimizer.moments[0][...] = other._optimizer.velocities[0].flat[0] * 0
    for velocity in other._optimizer.velocities:
        velocity[...] = 0
    for n in (150, 40, 7, 90):
        for model in (mine, other):
            model.partial_fit(X[:n], y[:n])
    for a, b in zip(mine.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_what_is_set_between_partial_fits_counts():
    X, y = datasets.load_iris(return_X_y=True)
    options = {"solver": "sgd", "learning_rate_init": 0.02, "random_state": 0}
    models = [MLPClassifier((5,), alpha=0.0, **options) for _ in range(2)]
    for model in models:
        model.partial_fit(X, y, classes=[0, 1, 2])
    models[1].set_params(alpha=100.0)
    for model in models:
        for _ in range(20):
            model.partial_fit(X, y)
    free, held = (sum((w**2).sum() for w in model.coefs_) for model in models)
    assert held < 0.1 * free


def test_adaptive_rates_fall_in_partial_fits():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier(
        (5,), solver="sgd", learning_rate="adaptive", tol=1.0, n_iter_no_change=2, random_state=0
    )
    for _ in range(20):
        model.partial_fit(X, y, classes=[0, 1, 2])
    # None of the first three is better by 1, nor are any of the three after that, and so on.
    assert model._optimizer.learning_rate == pytest.approx(1e-3 / 5**5)


# -- what is refused leaves what was there ----


@pytest.mark.parametrize(
    ("fit", "params"),
    [
        ({"sample_weight": np.full(150, np.nan)}, {}),
        ({"sample_weight": np.zeros(150)}, {}),
        ({"sample_weight": -np.ones(150)}, {"early_stopping": True}),
        ({}, {"callbacks": [3]}),
        ({}, {"batch_norm": True, "batch_size": 1}),
        ({}, {"solver": "lbfgs", "dropout": 0.1}),
        ({}, {"hidden_layer_sizes": (10.5,)}),
        ({}, {"class_weight": {7: 1.0}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("fitted", [False, True])
def test_a_refused_fit_leaves_the_estimator_as_it_was(fit, params, fitted):
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5,), max_iter=30, random_state=0)
    before = model.fit(X, y).predict_proba(X) if fitted else None
    model.set_params(**params)
    with pytest.raises((TypeError, ValueError)):
        model.fit(X[:, :2], y, **fit)
    if fitted:
        np.testing.assert_array_equal(model.predict_proba(X), before)
    else:
        assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("how", ["warm start", "partial fit"])
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(how, error, early_stopping):
    X, y = datasets.load_iris(return_X_y=True)
    partial = how == "partial fit"
    early_stopping = early_stopping and not partial
    options = {"max_iter": 5, "random_state": 0, "early_stopping": early_stopping}
    model, undisturbed = (MLPClassifier((5,), warm_start=True, **options) for _ in range(2))

    def go_on(model):
        return model.partial_fit(X, y, classes=[0, 1, 2]) if partial else model.fit(X, y)

    for _ in range(2):
        go_on(model)
        go_on(undisturbed)

    class Failing(xn.Callback):
        def on_epoch_end(self, trainer, row):
            raise error("in an epoch")

    told = copy.deepcopy({k: v for k, v in vars(model).items() if k.endswith("_")})
    told = {k: v for k, v in told.items() if not isinstance(v, np.ndarray | xn.Network)}
    model.set_params(callbacks=[Failing()])
    with pytest.raises(error, match="in an epoch"):
        go_on(model)
    model.set_params(callbacks=None)
    assert {k: vars(model)[k] for k in told} == told
    for each in (model, undisturbed):
        go_on(each)
    np.testing.assert_array_equal(model.predict_proba(X), undisturbed.predict_proba(X))
    assert model.loss_curve_ == undisturbed.loss_curve_


@pytest.mark.parametrize("how", ["warm start", "partial fit"])
def test_a_fit_that_diverges_leaves_the_weights_there_were(how):
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5,), solver="sgd", warm_start=True, max_iter=5, random_state=0)
    before = model.fit(X, y).predict_proba(X)
    curve = [*model.loss_curve_]
    model.set_params(learning_rate_init=1e30, batch_size=20)
    with pytest.raises(ValueError, match="non-finite"):
        (model.fit if how == "warm start" else model.partial_fit)(X * 1e200, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.loss_curve_ == curve


def test_a_warm_start_that_diverges_at_once_keeps_the_best_there_was():
    X, y = datasets.load_iris(return_X_y=True)
    options = {"early_stopping": True, "warm_start": True, "max_iter": 5, "random_state": 0}
    model = MLPClassifier((5,), solver="sgd", **options)
    before = model.fit(X, y).predict_proba(X)
    model.set_params(learning_rate_init=1e38, batch_size=20)
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(X * 1e200, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    "params",
    [
        {"hidden_layer_sizes": (7,)}, {"activation": "tanh"}, {"dropout": 0.5},
        {"input_dropout": 0.5}, {"batch_norm": True}, {"dtype": "float32"},
    ],
    ids=str,
)  # fmt: skip
def test_another_architecture_is_no_warm_start(params):
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5,), max_iter=2, warm_start=True, random_state=0).fit(X, y)
    model.set_params(**params)
    with pytest.raises(ValueError, match=r"training goes on with .*, and the parameters say"):
        model.fit(X, y)
    model.set_params(warm_start=False).fit(X, y)


def test_another_loss_is_no_warm_start():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPRegressor(max_iter=2, warm_start=True).fit(X, y).set_params(loss="poisson")
    with pytest.raises(ValueError, match="goes on with half_squared_error"):
        model.fit(X, y)


@pytest.mark.parametrize(
    ("params", "fit"),
    [
        ({"callbacks": [print]}, {}),
        ({"learning_rate": xn.Cosine(0.1, 30)}, {}),
        ({}, {"X_val": np.zeros((1, 4)), "y_val": [1]}),
    ],
)
def test_lbfgs_says_what_it_can_t_do(params, fit):
    X, y = datasets.load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"solver='lbfgs' makes no epochs, so .* would do nothing"):
        MLPClassifier(solver="lbfgs", **params).fit(X, y, **fit)


def test_predictions_in_several_threads_are_those_of_one():
    X, y = datasets.load_digits(return_X_y=True)
    model = MLPClassifier((256,), max_iter=2, random_state=0).fit(X, y)

    def all_of_it(_):
        return model.predict_proba(X), model.transform(X), model.network_.evaluate(X, y)

    expected, hidden, judged = all_of_it(0)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(all_of_it, range(30))]
    for p, h, j in found:
        np.testing.assert_array_equal(p, expected)
        np.testing.assert_array_equal(h, hidden)
        assert j == judged


# -- files ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_iter_no_change", np.inf), ("alpha", np.float32(0.1)), ("callbacks", []),
        ("hidden_layer_sizes", (5,)), ("activation", ["tanh"]), ("hidden_layer_sizes", [5]),
        ("learning_rate", xn.Cosine(0.01, 30)), ("solver", xn.RMSProp(0.01, 0.8)),
        ("solver", xn.Adam(xn.Cosine(0.01, 30))), ("class_weight", {0: 1.0, 1: 2.0, 2: 0.5}),
        ("hidden_layer_sizes", np.array([5])), ("random_state", 3), ("dtype", "float32"),
    ],
    ids=str,
)  # fmt: skip
def test_a_file_gives_each_parameter_as_it_was(name, value, tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier(**{"hidden_layer_sizes": (5,), "max_iter": 2, name: value}).fit(X, y)
    model.save(tmp_path / "m.st")
    again = MLPClassifier.load(tmp_path / "m.st", device="cpu")
    found = getattr(again, name)
    assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
    assert isinstance(found, tuple) == isinstance(value, tuple)
    assert again.loss_curve_ == model.loss_curve_


def test_a_file_gives_activations_as_they_were(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    given = [xn.LeakyReLU(0.2), "relu", xn.Tanh()]
    MLPClassifier((5, 4, 3), given, max_iter=2).fit(X, y).save(tmp_path / "m.st")
    slope, name, tanh = MLPClassifier.load(tmp_path / "m.st", device="cpu").activation
    assert (slope.negative_slope, name, type(tanh)) == (0.2, "relu", xn.Tanh)


def test_curves_that_are_not_finite_can_be_written(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)

    def press(trainer, n):
        signal.raise_signal(signal.SIGINT)

    class Press(xn.Callback):
        on_step_end = staticmethod(press)

    model = MLPClassifier(early_stopping=True, callbacks=[Press()], random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.best_validation_score_ == -np.inf
    model.set_params(callbacks=None).save(tmp_path / "m.st")
    assert MLPClassifier.load(tmp_path / "m.st").best_validation_score_ == -np.inf


def test_a_file_holds_labels_of_any_kind(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = MLPClassifier(max_iter=3).fit(X, names)
    model.save(tmp_path / "m.safetensors")
    again = MLPClassifier.load(tmp_path / "m.safetensors", device="cpu")
    assert [*again.classes_] == ["a", "b", "c"]
    assert again.score(X, names) == model.score(X, names)
    assert xn.load(tmp_path / "m.safetensors", device="cpu").n_outputs == 3


@pytest.mark.parametrize(
    "pair",
    [
        np.array([0.0, 1.0], np.longdouble),
        np.array([0.0, 1.0], np.float16),
        np.array([2**63, 2**64 - 1], np.uint64),
        np.array([2**53, 2**53 + 1]),
        np.array([5, 6], ">i4"),
        np.array([False, True]),
        np.array(["a", "\ud800"]),
        np.array(["a", "b"], "T"),
    ],
    ids=lambda pair: str(pair.dtype),
)
def test_labels_of_every_type_come_back_from_a_file_as_they_were(pair, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = MLPClassifier((8,), max_iter=100, learning_rate_init=0.05, random_state=0)
    y = pair[(X[:, 0] > 0).astype(int)]
    model.fit(X, y).save(tmp_path / "m")
    again = MLPClassifier.load(tmp_path / "m")
    before, after = model.predict(X), again.predict(X)
    assert (before.dtype, before.tolist()) == (after.dtype, after.tolist())
    assert {*after.tolist()} == {*pair.tolist()}
    classes = np.array(pair.tolist()) if pair.dtype.kind == "T" else pair
    first = MLPClassifier((8,)).partial_fit(X, y, classes=classes)
    first.save(tmp_path / "m")
    assert MLPClassifier.load(tmp_path / "m").classes_.tolist() == model.classes_.tolist()


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("M8[D]", ValueError, "y has dtype datetime64.D.: give labels that are numbers or strings"),
        ("m8[s]", ValueError, "y has dtype timedelta64.s.: give labels that are numbers or str"),
        (complex, ValueError, "Complex data not supported"),
        ("S1", TypeError, "bytes is not supported"),
        ("O", ValueError, "Unknown label type: y holds Fraction: give numbers or strings"),
    ],
)
def test_labels_that_no_file_holds_are_refused_before_the_fit(dtype, error, message):
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    y = y * np.full(20, Fraction(1)) if dtype == "O" else y.astype(dtype)
    with pytest.raises(error, match=message):
        MLPClassifier().fit(X, y)


def test_long_doubles_are_fitted_as_float64(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.longdouble)
    model = MLPRegressor(max_iter=3).fit(X, X[:, 0])
    assert model.network_.dtype == np.float64
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(MLPRegressor.load(tmp_path / "m").predict(X), model.predict(X))


def test_a_file_holds_the_columns_names(tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    X, y = datasets.load_iris(return_X_y=True, as_frame=True)
    model = MLPClassifier(max_iter=3).fit(X, y)
    model.save(tmp_path / "m.safetensors")
    again = MLPClassifier.load(tmp_path / "m.safetensors", device="cpu")
    assert [*again.feature_names_in_] == [*X.columns]
    assert again.score(X, y) == model.score(X, y)


def test_parameters_come_back_as_they_were(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    model = MLPClassifier((4, 3), ["tanh", "relu"], class_weight=weights, max_iter=1).fit(X, y)
    model.save(tmp_path / "m.st")
    again = MLPClassifier.load(tmp_path / "m.st", device="cpu")
    assert again.class_weight == weights
    assert again.hidden_layer_sizes == (4, 3)
    again.set_params(warm_start=True).fit(X, y)


@BOTH
@pytest.mark.parametrize("first", [{"solver": "lbfgs"}, {"early_stopping": True}, {}], ids=str)
@pytest.mark.parametrize("then", [{"solver": "lbfgs"}, {"early_stopping": True}, {}], ids=str)
def test_a_warm_start_may_go_on_in_another_way(kind, first, then):
    X, y = datasets.load_iris(return_X_y=True)
    plain = {"solver": "adam", "early_stopping": False}
    model = kind(hidden_layer_sizes=(4,), max_iter=4, warm_start=True, random_state=0)
    model.set_params(**plain | first).fit(X, y)
    model.set_params(**plain | then).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert model.score(X, y) > -10


def test_parameters_may_change_after_a_fit():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((4, 3), max_iter=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    model.set_params(hidden_layer_sizes=(9,), activation="tanh", solver="lbfgs")
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.transform(X).shape == (150, 3)
    assert len(model.get_feature_names_out()) == 3


def test_what_can_t_be_written_is_told(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier(max_iter=1, callbacks=[print]).fit(X, y)
    with pytest.warns(UserWarning, match="callbacks is .* can't be written"):
        model.save(tmp_path / "m.safetensors")
    assert MLPClassifier.load(tmp_path / "m.safetensors").callbacks is None


def test_files_of_something_else_are_refused(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    MLPClassifier(max_iter=1).fit(X, y).save(tmp_path / "c.st")
    with pytest.raises(xn.ModelFileError, match="holds MLPClassifier, not MLPRegressor"):
        MLPRegressor.load(tmp_path / "c.st")
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2)
    net.save(tmp_path / "n.st")
    with pytest.raises(xn.ModelFileError, match="holds no estimator"):
        MLPRegressor.load(tmp_path / "n.st")
    with pytest.raises(NotFittedError):
        MLPRegressor().save(tmp_path / "x.st")


def numbers(values, dtype):
    return {"array": values, "dtype": dtype}


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("fitted", {"classes_": None}),
        ("fitted", {"_multilabel": None}),
        ("fitted", {"n_features_in_": None}),
        ("fitted", {"n_features_in_": 7}),
        ("fitted", {"_multilabel": "yes"}),
        ("fitted", {"_multilabel": True}),
        ("fitted", {"classes_": "abc"}),
        ("fitted", {"classes_": 3}),
        ("fitted", {"classes_": numbers(["a", "b"], "<U1")}),
        ("fitted", {"classes_": numbers([[1], [2], [3]], "<i8")}),
        ("fitted", {"classes_": numbers([1, 2, 3], "i4,f8")}),
        ("fitted", {"classes_": numbers([1, 2, 3], "(1000000000,)f8")}),
        ("fitted", {"classes_": numbers([1, 2, 3], "V1000000000")}),
        ("fitted", {"classes_": numbers([1, 2, 3], "f8,,(((")}),
        ("fitted", {"classes_": numbers(10**400, "<f8")}),
        ("fitted", {"classes_": numbers([1, 2, 3], "<M8[s]")}),
        ("fitted", {"loss_curve_": "abc"}),
        ("fitted", {"loss_curve_": [[], [3, 4]]}),
        ("fitted", {"predict": 3}),
        ("params", {"alpha": {"schedule": "Cosine", "values": {}}}),
        ("params", {"alpha": {"schedule": "os", "values": {}}}),
        ("params", {"alpha": {"float": "much"}}),
        ("params", {"alhpa": 3}),
    ],
    ids=str,
)
def test_a_file_that_was_tampered_with_is_refused(part, changes, tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    file = tmp_path / "m.st"
    MLPClassifier((5,), max_iter=1).fit(X, np.array([*"abc"])[y]).save(file)
    arrays, description = safetensors_files.read(file)
    described = description["estimator"][part]
    for name, value in changes.items():
        described.pop(name, None)
        if value is not None:
            described[name] = value
    safetensors_files.write(file, arrays, description)
    with pytest.raises(
        xn.ModelFileError,
        match=r"m\.st: (no estimator in it can be built|the schedule 'os' is not defined)",
    ):
        MLPClassifier.load(file)


def test_long_strings_may_be_named_and_are_as_long_as_they_are(tmp_path):
    X, y = datasets.load_iris(return_X_y=True)
    file = tmp_path / "m.st"
    MLPClassifier((5,), max_iter=1).fit(X, np.array([*"abc"], "<U1000")[y]).save(file)
    assert MLPClassifier.load(file).classes_.tolist() == [*"abc"]


def test_weights_can_be_set_and_are_never_changed_unseen():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1.0
    model.coefs_ = [0 * w for w in model.coefs_]
    model.intercepts_ = [0 * b for b in model.intercepts_]
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3)
    with pytest.raises(ValueError, match="coefs_ must have the shapes"):
        model.coefs_ = [np.zeros((2, 2))]
    weights = np.arange(15.0).reshape(5, 3)
    model.coefs_[1] = weights
    np.testing.assert_array_equal(model.coefs_[1], weights)
    model.intercepts_[0] = np.ones(5)
    np.testing.assert_array_equal(model.intercepts_[0], np.ones(5))
    assert type(pickle.loads(pickle.dumps(model.coefs_))) is list


def test_a_list_of_weights_that_was_kept_sets_its_own_alone():
    X, y = datasets.load_iris(return_X_y=True)
    model = MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
    kept = model.intercepts_
    model.intercepts_[0] = np.ones(5)
    kept[1] = np.full(3, 2.0)
    np.testing.assert_array_equal(model.intercepts_[0], np.ones(5))
    np.testing.assert_array_equal(model.intercepts_[1], np.full(3, 2.0))
    with pytest.raises(ValueError, match="read-only"):
        kept[1][0] = 5.0
    with pytest.raises(ValueError, match="must have the shapes"):
        kept[1] = np.zeros(7)
    np.testing.assert_array_equal(kept[1], np.full(3, 2.0))


# -- scikit-learn's neighbours ----


class TestNeighbours:
    X, y = datasets.load_iris(return_X_y=True)

    def test_pipeline_and_grid(self):
        pipe = make_pipeline(StandardScaler(), MLPClassifier(max_iter=15, random_state=0))
        grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__hidden_layer_sizes": [(5,), 9]}
        found = GridSearchCV(pipe, grid, cv=2).fit(self.X, self.y)
        assert found.best_score_ > 0.5

    @pytest.mark.slow
    def test_cross_validation_in_two_processes(self):
        model = MLPClassifier(max_iter=5, random_state=0)
        alone = cross_val_score(model, self.X, self.y, cv=2)
        np.testing.assert_array_equal(cross_val_score(model, self.X, self.y, cv=2, n_jobs=2), alone)

    def test_columns(self):
        pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
        table = pd.DataFrame({"n": self.X[:, 2], "s": np.where(self.y == 0, "u", "v")})
        columns = ColumnTransformer([("a", StandardScaler(), ["n"]), ("b", OneHotEncoder(), ["s"])])
        model = make_pipeline(columns, MLPClassifier(max_iter=150, random_state=0))
        assert model.fit(table, self.y).score(table, self.y) > 0.85

    def test_calibration_importance_and_transformed_targets(self):
        model = MLPClassifier(max_iter=10, random_state=0)
        calibrated = CalibratedClassifierCV(model, cv=2).fit(self.X, self.y)
        np.testing.assert_allclose(calibrated.predict_proba(self.X).sum(axis=1), 1.0)
        found = permutation_importance(model.fit(self.X, self.y), self.X, self.y, n_repeats=2)
        assert found.importances.shape == (4, 2)
        regressor = TransformedTargetRegressor(
            MLPRegressor(max_iter=100, random_state=0), transformer=StandardScaler()
        )
        assert regressor.fit(scale(self.X), self.y).score(scale(self.X), self.y) > 0.5

    def test_clone_and_pictures(self):
        model = MLPClassifier(activation=["tanh"], callbacks=[print])
        assert clone(model).get_params() == model.get_params()
        assert "MLPClassifier" in model._repr_html_()

    def test_random_search_with_our_distributions(self):
        from sklearn.model_selection import RandomizedSearchCV

        space = {"alpha": xn.log_uniform(1e-4, 1.0), "beta_2": xn.one_minus_log_uniform(0.9, 0.999)}
        found = RandomizedSearchCV(
            MLPClassifier(max_iter=5), space, n_iter=3, cv=2, random_state=0
        ).fit(self.X, self.y)
        assert 1e-4 <= found.best_params_["alpha"] <= 1.0


# -- bad input ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swosh"}, "leaky_relu"),
        ({"solver": "adagard"}, "rmsprop"),
        ({"activation": ["relu", "relu"]}, "there are 1 hidden layers: give one name"),
        ({"activation": ["swosh"]}, "out of identity, logistic"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes must be > 0"),
        ({"alpha": -1}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"learning_rate": "fast"}, "invscaling"),
        ({"device": "tpu"}, "give 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"dtype": "float16"}, "float32"),
        ({"class_weight": "even"}, "balanced"),
        ({"solver": "lbfgs", "dropout": 0.1}, "take solver='adam'"),
        ({"momentum": 1.5, "solver": "sgd"}, "momentum"),
        ({"loss": "mean_squared_error"}, "give one of softmax_cross_entropy, sigmoid_cross"),
        ({"loss": 3}, "loss"),
        ({"loss": "sigmoid_cross_entropy"}, "there are 3 classes.*give 'softmax_cross_entropy'"),
        (
            {"solver": xn.Adam(), "learning_rate": xn.Cosine(0.1, total=9)},
            "has a learning rate of its own",
        ),
    ],
    ids=str,
)
def test_bad_parameters_name_what_to_give(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(*datasets.load_iris(return_X_y=True))


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda m, X, y: m.fit(X, y, X_val=X), "X_val and y_val belong together"),
        (lambda m, X, y: m.fit(X, y, X_val=X, y_val=y + 1), "classes not in"),
        (lambda m, X, y: m.fit(X, y, X_val=X[:, :2], y_val=y), "2 features"),
        (lambda m, X, y: m.fit(X, y, np.ones(3)), "sample_weight"),
        (lambda m, X, y: m.fit(X, y, -np.ones(150)), "sample_weight has values from -1"),
        (lambda m, X, y: m.fit(X, y, np.zeros(150)), "zero"),
        (lambda m, X, y: m.fit(X, X[:, 0]), "continuous"),
        (lambda m, X, y: m.fit(X, np.stack([y, y], axis=1)), "Multioutput"),
        (lambda m, X, y: m.partial_fit(X, y), "classes must be passed on the first call"),
        (
            lambda m, X, y: m.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(
                X, y, classes=[0, 1]
            ),
            "is not the same as on last call",
        ),
        (lambda m, X, y: m.partial_fit(X, y, classes=[0, 1]), "classes not in"),
    ],
)
def test_bad_data(fit, message):
    X, y = datasets.load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        fit(MLPClassifier(max_iter=2), X, y)


def test_counts_below_zero_are_refused():
    X, y = datasets.load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="below 0"):
        MLPRegressor("poisson", max_iter=2).fit(X, y - 100)
