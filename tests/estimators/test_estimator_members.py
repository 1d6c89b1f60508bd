"""Estimators with members: each is the estimator alone; what is said of them, and what is kept."""

import copy
import pickle
import signal
import warnings

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet as xn
from xpnet import MLPClassifier, MLPRegressor
from xpnet.files import safetensors_files
from xpnet.nn.passes import Passes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])

X, SPECIES = datasets.load_iris(return_X_y=True)
X = scale(X)
RNG = np.random.default_rng(0)

#: Labels and values of each kind, for the rows of X.
LABELS = {
    "classes": SPECIES,
    "two classes": np.array(["no", "yes"])[(RNG.random(150) < 0.3 + 0.4 * (X[:, 0] > 0)) * 1],
    "labels": np.stack([SPECIES == 0, X[:, 1] > 0], axis=1) * 1,
    "one class": np.zeros(150, int),
    "values": X @ [1.0, -1.0, 0.5, 2.0] + RNG.normal(size=150),
    "columns": np.stack([X[:, 0] + X[:, 2], RNG.normal(size=150)], axis=1),
    "counts": SPECIES,
}

WEIGHTS = np.arange(150) % 4 + 0.5

#: What is written of a fit.
FIGURES = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_"),
    *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
)


def make(labels, **options):
    """Return an estimator for labels."""
    kind = MLPRegressor if labels in ("values", "columns", "counts") else MLPClassifier
    options = {"hidden_layer_sizes": (6,), "batch_size": 20, "max_iter": 12, **options}
    if labels == "counts":
        options["loss"] = "poisson"
    return kind(**{"members": 3, "random_state": 5, **options})


def alone(model, i, **own):
    """Return the estimator that member i is alone."""
    seed = model.random_state
    seed = seed[i] if isinstance(seed, list) else seed + i
    return clone(model).set_params(members=None, random_state=seed, **own)


def assert_same(member, other):
    """Compare all that was fitted of two estimators."""
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(member, name), getattr(other, name), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max() + 1e-13)
    for name in FIGURES:
        assert hasattr(member, name) == hasattr(other, name), name
        found, expected = getattr(member, name, None), getattr(other, name, None)
        assert (found is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=name)
    for a, b in zip(member.network_.statistics, other.network_.statistics, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    if isinstance(other, MLPClassifier):
        assert member.predict(X).tolist() == other.predict(X).tolist()
    else:
        np.testing.assert_allclose(member.predict(X), other.predict(X), rtol=1e-8, atol=1e-10)
    kept = {"_optimizer", "_kept", "_no_improvement_count"}  # the count is in no file
    assert {*vars(other)} <= {*vars(member)} | kept


# -- a member is the estimator alone ----


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [name for name in LABELS if name != "one class"])
def test_a_member_is_the_estimator_alone(labels, weighted, early_stopping):
    weights = WEIGHTS if weighted else None
    model = make(labels, early_stopping=early_stopping)
    model.fit(X, LABELS[labels], weights)
    for i in range(3):
        assert_same(model.member(i), alone(model, i).fit(X, LABELS[labels], weights))


@pytest.mark.parametrize("state", [None, np.random.RandomState(3), np.int32(4)], ids=str)
def test_a_seed_that_is_drawn_is_each_member_s_to_go_on_from(state):
    model = make("classes", random_state=state, early_stopping=True).fit(X, SPECIES)
    first = model.member(0).random_state
    for i in range(3):
        member = model.member(i)
        assert member.random_state == first + i
        assert_same(member, clone(member).fit(X, SPECIES))


OPTIONS = [
    {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 1},
    {"solver": "rmsprop", "alpha": 0.3},
    {"solver": xn.AdamW(0.01, weight_decay=0.1)},
    {"learning_rate": xn.Cosine(0.01, total=30)},
    {"dropout": 0.3, "input_dropout": 0.1},
    {"batch_norm": True, "activation": "tanh"},
    {"batch_norm": True, "dropout": 0.2, "early_stopping": True, "n_iter_no_change": 2},
    {"hidden_layer_sizes": (), "alpha": 1.0},
    {"hidden_layer_sizes": (5, 4), "activation": ["relu", "tanh"]},
    {"shuffle": False},
    {"batch_size": "auto"},
    {"batch_size": 150, "early_stopping": True},
    {"solver": "lbfgs", "early_stopping": True},
    {"tol": 0.03, "n_iter_no_change": 1, "learning_rate_init": 0.02, "max_iter": 60},
    {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.01, "max_iter": 60},
    {"early_stopping": True, "validation_fraction": 0.3, "alpha": 0.5},
    {"random_state": [7, 7, 2], "early_stopping": True},
]


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("labels", ["two classes", "values"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_so_it_is_whatever_the_options(options, labels):
    model = make(labels, **options).fit(X, LABELS[labels])
    for i in range(3):
        assert_same(model.member(i), alone(model, i).fit(X, LABELS[labels]))


def test_members_end_each_for_itself():
    model = make("two classes", tol=0.02, n_iter_no_change=1, learning_rate_init=0.02, max_iter=80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, LABELS["two classes"])
    epochs = [len(curve) for curve in model.loss_curve_]
    assert len({*epochs}) > 1
    assert model.n_iter_ == max(epochs) < 80
    assert [model.member(i).n_iter_ for i in range(3)] == epochs


@pytest.mark.parametrize("class_weight", ["balanced", {"no": 0.2, "yes": 3.0}])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_classes_have_their_weights(class_weight, early_stopping):
    model = make("two classes", class_weight=class_weight, early_stopping=early_stopping, alpha=0.5)
    y = LABELS["two classes"]
    for weights in (None, WEIGHTS):
        model.fit(X, y, weights)
        for i in range(3):
            assert_same(model.member(i), alone(model, i).fit(X, y, weights))


@pytest.mark.parametrize("labels", ["classes", "values"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_s_own_validation_set_is_for_all(labels, early_stopping):
    y = LABELS[labels]
    order = np.random.default_rng(0).permutation(150)
    train, dev = order[:110], order[110:]
    model = make(labels, early_stopping=early_stopping)
    model.fit(X[train], y[train], X_val=X[dev], y_val=y[dev])
    for i in range(3):
        other = alone(model, i).fit(X[train], y[train], X_val=X[dev], y_val=y[dev])
        assert_same(model.member(i), other)


@BOTH
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_features(kind, layout):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 20)) * (rng.random((300, 20)) < 0.2)
    y = (x.sum(axis=1) > 0) * 1
    for early_stopping in (False, True):
        model = kind(
            hidden_layer_sizes=(6,),
            max_iter=4,
            random_state=0,
            members=2,
            early_stopping=early_stopping,
        )
        dense, thin = (clone(model).fit(data, y) for data in (x, layout(x)))
        np.testing.assert_allclose(thin.predict(layout(x)), dense.predict(x), atol=1e-6)
        np.testing.assert_allclose(thin.transform(layout(x)), dense.transform(x), atol=1e-6)
        np.testing.assert_allclose(thin.loss_, dense.loss_, rtol=1e-6)


# -- going on ----


@pytest.mark.parametrize(
    "options",
    [{}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "invscaling"}],
    ids=str,
)
@pytest.mark.parametrize("labels", ["classes", "values"])
def test_a_warm_start_goes_on_with_each(labels, options):
    y = LABELS[labels]
    model = make(labels, warm_start=True, max_iter=5, **options)
    others = [alone(model, i) for i in range(3)]
    for _ in range(3):
        model.fit(X, y)
        for i, other in enumerate(others):
            assert_same(model.member(i), other.fit(X, y))


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.2},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "again", [lambda model: model, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_partial_fits_go_on_with_each(options, again):
    model = make("classes", **options)
    others = [alone(model, i) for i in range(3)]
    for step in range(5):
        model.partial_fit(X, SPECIES, classes=[0, 1, 2])
        for i, other in enumerate(others):
            assert_same(model.member(i), other.partial_fit(X, SPECIES, classes=[0, 1, 2]))
        if step == 2:
            model = again(model)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_members_that_have_ended_go_on_from_their_own_steps(solver):
    """Without dropout, and in one order: a member's own count of steps is Adam's t."""
    options = {"tol": 0.05, "n_iter_no_change": 1, "learning_rate_init": 0.02, "max_iter": 60}
    model = make("values", solver=solver, shuffle=False, **options).fit(X, LABELS["values"])
    assert len({len(curve) for curve in model.loss_curve_}) > 1
    others = [alone(model, i).fit(X, LABELS["values"]) for i in range(3)]
    for again in (copy.deepcopy(model), model):
        members = [again.member(i) for i in range(3)]
        again.partial_fit(X, LABELS["values"])
        for i, member in enumerate(members):
            other = copy.deepcopy(others[i]).partial_fit(X, LABELS["values"])
            assert_same(again.member(i), other)
            assert_same(member.partial_fit(X, LABELS["values"]), other)


def test_a_member_goes_on_by_itself():
    model = make("classes", dropout=0.1)
    other = alone(model, 1)
    for each in (model, other):
        for _ in range(2):
            each.partial_fit(X, SPECIES, classes=[0, 1, 2])
    before = model.predict_proba(X, members=True)
    member = model.member(1)
    assert_same(member.partial_fit(X, SPECIES), other.partial_fit(X, SPECIES))
    np.testing.assert_array_equal(model.predict_proba(X, members=True), before)
    assert len(model.loss_curve_[1]) == 2


# -- what is said ----


@pytest.mark.parametrize("labels", ["classes", "two classes", "labels", "one class"])
def test_probabilities_are_the_mean_and_classes_those_of_the_mean(labels):
    y = LABELS[labels]
    model = make(labels, max_iter=3).fit(X, y)
    each = model.predict_proba(X, members=True)
    assert each.shape == (3, *model.predict_proba(X).shape)
    for i in range(3):
        np.testing.assert_allclose(each[i], model.member(i).predict_proba(X), atol=1e-12)
    mean = each.mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(X), mean, atol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), mean, atol=1e-12)
    np.testing.assert_allclose(model.predict_std(X), each.std(axis=0), atol=1e-12)
    decided = (mean > 0.5) * 1 if labels == "labels" else model.classes_[mean.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), decided)
    several = model.predict(X, members=True)
    for i in range(3):
        np.testing.assert_array_equal(several[i], model.member(i).predict(X))
    assert model.score(X, y) == np.mean(np.reshape(model.predict(X) == y, (150, -1)).all(axis=1))


@pytest.mark.parametrize("labels", ["values", "columns", "counts"])
def test_values_are_the_mean_and_the_spread_is_there(labels):
    model = make(labels, max_iter=3).fit(X, LABELS[labels])
    each = model.predict(X, members=True)
    for i in range(3):
        np.testing.assert_allclose(each[i], model.member(i).predict(X), atol=1e-12)
    np.testing.assert_allclose(model.predict(X), each.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(model.predict_std(X), each.std(axis=0), atol=1e-12)
    assert model.predict_std(X).shape == LABELS[labels].shape
    assert (model.predict_std(X) > 0).all()


def test_members_are_less_sure_where_there_was_nothing():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(200, 1))
    options = {"activation": "tanh", "max_iter": 200, "learning_rate_init": 0.02}
    model = MLPRegressor(hidden_layer_sizes=(30,), members=8, random_state=0, **options).fit(
        x, np.sin(3 * x[:, 0])
    )
    inside, outside = model.predict_std([[0.0], [0.5]]), model.predict_std([[4.0], [-4.0]])
    assert inside.max() * 5 < outside.min()


@BOTH
def test_members_together_are_better_than_one_on_the_whole(kind):
    x, y = datasets.make_friedman1(400, noise=1.0, random_state=0)
    if kind is MLPClassifier:
        y = (y > np.median(y)) * 1
    model = kind(
        hidden_layer_sizes=(20,), max_iter=150, learning_rate_init=0.01, members=6, random_state=0
    )
    model.fit(x[:200], y[:200])
    each = [model.member(i).score(x[200:], y[200:]) for i in range(6)]
    assert model.score(x[200:], y[200:]) > np.mean(each)


def test_features_of_all_members_stand_side_by_side():
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    model = make("classes", hidden_layer_sizes=(4, 2)).fit(X, SPECIES)
    found = model.transform(X)
    assert found.shape == (150, 6)
    assert len(model.get_feature_names_out()) == 6
    for i in range(3):
        own = model.member(i).transform(X)
        np.testing.assert_allclose(found[:, 2 * i : 2 * i + 2], own, atol=1e-12)
    table = model.set_output(transform="pandas").transform(pd.DataFrame(X).to_numpy())
    assert [*table.columns] == [f"mlpclassifier{i}" for i in range(6)]
    flat = make("classes", hidden_layer_sizes=()).fit(X, SPECIES)
    np.testing.assert_array_equal(flat.transform(X), X)
    assert len(flat.get_feature_names_out()) == 4


@BOTH
def test_arrays_stay_put(kind, device):
    model = kind(hidden_layer_sizes=(8,), max_iter=4, random_state=0, members=2)
    model.fit(device.asarray(X), device.asarray(SPECIES))
    other = kind(hidden_layer_sizes=(8,), max_iter=4, random_state=0, members=2, device="cpu").fit(
        X, SPECIES
    )
    here = device.asarray(X)
    for found, expected in (
        (model.predict(here), other.predict(X)),
        (model.predict(here, members=True), other.predict(X, members=True)),
        (model.predict_std(here), other.predict_std(X)),
        (model.transform(here), other.transform(X)),
    ):
        assert device.owns(found)
        np.testing.assert_allclose(device.to_host(found), expected, atol=1e-9)
    assert model.member(0).network_.backend.device == device.device


def test_weights_have_an_axis_of_members_and_can_be_set():
    model = make("classes", batch_norm=True, hidden_layer_sizes=(6, 5)).fit(X, SPECIES)
    assert [a.shape for a in model.coefs_] == [(3, 4, 6), (3, 6, 5), (3, 5, 3)]
    assert [a.shape for a in model.intercepts_] == [(3, 6), (3, 5), (3, 3)]
    before = model.predict_proba(X, members=True)
    model.coefs_[2] = np.stack([0 * model.coefs_[2][0], *model.coefs_[2][1:]])
    model.intercepts_[2] = np.stack([0 * model.intercepts_[2][0], *model.intercepts_[2][1:]])
    after = model.predict_proba(X, members=True)
    np.testing.assert_allclose(after[0], 1 / 3)
    np.testing.assert_array_equal(after[1:], before[1:])
    with pytest.raises(ValueError, match="coefs_ must have the shapes"):
        model.coefs_ = model.member(0).coefs_


# -- one network is as ever ----


@BOTH
@pytest.mark.parametrize("members", [1, np.int64(1)])
def test_one_member_is_no_ensemble(kind, members):
    one = kind(max_iter=4, members=members, random_state=0).fit(X, SPECIES)
    plain = kind(max_iter=4, random_state=0).fit(X, SPECIES)
    assert one.network_.members is None
    assert one.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(one.predict(X), plain.predict(X))
    assert {*vars(one)} == {*vars(plain)}


# -- members' own numbers ----


@pytest.mark.parametrize(
    "own",
    [
        {"alpha": [0.0, 1.0, 30.0]},
        {"alpha": np.array([0.1, 1.0, 3.0]), "learning_rate_init": (0.001, 0.01, 0.1)},
        {"learning_rate": [xn.Cosine(rate, total=20) for rate in (0.001, 0.01, 0.1)]},
        {"beta_1": [0.5, 0.9, 0.8], "beta_2": (0.9, 0.99, 0.999), "epsilon": [1e-8, 1e-3, 1e-2]},
        {"solver": "sgd", "momentum": [0.1, 0.5, 0.9], "learning_rate_init": [0.1, 0.02, 0.01]},
        {"solver": "sgd", "momentum": [0.0, 0.5, 0.9], "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": [0.2, 0.5, 0.8]},
        {"dropout": [0.1, 0.3, 0.5], "input_dropout": [0.3, 0.2, 0.1]},
        {"tol": [1e-4, 0.3, 10.0], "n_iter_no_change": 2},
        {"solver": "lbfgs", "alpha": [0.1, 1.0, 10.0], "tol": [1e-4, 1e-3, 1e-2]},
        {"alpha": [0.1, 1.0, 3.0], "early_stopping": True},
        {"random_state": [3, 3, 4], "alpha": [0.1, 1.0, 3.0]},
    ],
    ids=str,
)
def test_each_may_have_numbers_of_its_own(own):
    model = make("values", **own)
    again = clone(model)
    for name, value in own.items():
        assert repr(again.get_params()[name]) == repr(value)
    again.fit(X, LABELS["values"])
    several = {k: v for k, v in own.items() if isinstance(v, list | tuple | np.ndarray)}
    several.pop("random_state", None)
    for i in range(3):
        other = alone(model, i, **{name: value[i] for name, value in several.items()})
        member = again.member(i)
        assert_same(member, other.fit(X, LABELS["values"]))
        for name, value in several.items():
            assert getattr(member, name) == value[i]


def test_an_optimiser_s_and_a_loss_s_own_numbers_are_theirs():
    loss = xn.SoftmaxCrossEntropy((0.0, 0.1, 0.3))
    model = make("classes", solver=xn.Adam((0.001, 0.01, 0.02)), loss=loss).fit(X, SPECIES)
    for i, (rate, smoothing) in enumerate(((0.001, 0.0), (0.01, 0.1), (0.02, 0.3))):
        own = {"solver": xn.Adam(rate), "loss": xn.SoftmaxCrossEntropy(smoothing)}
        assert model.member(i).get_params()["solver"] == own["solver"]
        assert_same(model.member(i), alone(model, i, **own).fit(X, SPECIES))


@pytest.mark.parametrize("own", [{"dropout": [0.0, 0.0]}, {"input_dropout": (0.0, 0.0)}])
def test_where_nobody_drops_there_is_no_layer_for_it(own):
    model = make("classes", members=2, **own).fit(X, SPECIES)
    assert not any(isinstance(layer, xn.Dropout) for layer in model.network_.layers)
    other = alone(model, 1, **dict.fromkeys(own, 0.0))
    assert_same(model.member(1), other.fit(X, SPECIES))


# -- what is told ----


def test_those_that_have_not_converged_are_named():
    model = make("values", tol=[10.0, 1e-9, 1e-9], n_iter_no_change=2)
    with pytest.warns(ConvergenceWarning, match=r"\(12\) reached and .* of members 1, 2 hasn't"):
        model.fit(X, LABELS["values"])
    model.set_params(solver="lbfgs", tol=[1e6, 1e-9, 1e-9], max_iter=3)
    with pytest.warns(ConvergenceWarning) as told:
        model.fit(X, LABELS["values"])
    messages = [str(w.message) for w in told if "lbfgs failed" in str(w.message)]
    assert [m.split(" after")[0][-8:] for m in messages] == ["member 1", "member 2"]


def test_verbose_tells_whose_it_is(capsys):
    make("values", members=2, max_iter=2, verbose=True, early_stopping=True).fit(
        X, LABELS["values"]
    )
    out = capsys.readouterr().out
    for i in range(2):
        assert f"Member {i}: Iteration 1, loss = " in out
        assert f"Member {i}: Validation score: " in out


@pytest.mark.parametrize("how", ["fit", "warm start", "partial fit"])
def test_a_member_that_diverges_is_named_and_nothing_is_changed(how):
    model = make("values", solver="sgd", warm_start=how == "warm start")
    before = None
    if how != "fit":
        before = model.fit(X, LABELS["values"]).predict(X, members=True)
        curves = copy.deepcopy(model.loss_curve_)
    model.set_params(learning_rate_init=[0.001, 1e30, 0.001])
    if how == "partial fit":
        model._optimizer = None  # whose rate would go on
    go_on = model.partial_fit if how == "partial fit" else model.fit
    with (
        pytest.warns(UserWarning, match="member 1 has diverged"),
        pytest.raises(ValueError, match=r"non-finite parameter weights.*the loss of member 1"),
    ):
        go_on(X, LABELS["values"])
    if how == "fit":
        assert not [name for name in vars(model) if name.endswith("_")]
    else:
        np.testing.assert_array_equal(model.predict(X, members=True), before)
        assert model.loss_curve_ == curves


def test_with_early_stopping_the_best_weights_of_one_that_diverges_are_kept():
    def burst(trainer, row):
        if row["epoch"] == 4:
            trainer.network.parameters[1] = 1e300

    y = LABELS["two classes"]
    options = {"early_stopping": True, "max_iter": 8, "n_iter_no_change": 20}
    model = make("two classes", callbacks=[burst], **options)
    with (
        np.errstate(all="ignore"),
        pytest.warns(UserWarning, match="member 1 has diverged"),
        pytest.warns(ConvergenceWarning, match="of member 1 turned NaN.*best epoch are kept"),
    ):
        model.fit(X, y)
    for i in (0, 2):
        assert_same(model.member(i), alone(model, i, callbacks=None).fit(X, y))
    assert [len(curve) for curve in model.loss_curve_] == [8, 5, 8]
    assert np.isnan(model.loss_curve_[1][-1])
    assert model.best_validation_score_[1] == np.nanmax(model.validation_scores_[1])
    assert np.isfinite(model.predict_proba(X, members=True)).all()


def test_callbacks_see_rows_of_all_and_may_stop_one():
    rows = []

    def watch(trainer, row):
        rows.append(row)
        if row["epoch"] == 3:
            trainer.stop("enough", members=1)

    model = make("values", callbacks=[watch]).fit(X, LABELS["values"])
    assert [len(curve) for curve in model.loss_curve_] == [12, 3, 12]
    assert all(len(row["train_loss"]) == 3 for row in rows)
    assert_same(
        model.member(1), alone(model, 1, callbacks=None, max_iter=3).fit(X, LABELS["values"])
    )


@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_leaves_fitted_members(early_stopping):
    def press(trainer, row):
        if row["epoch"] == 3:
            signal.raise_signal(signal.SIGINT)

    model = make("values", callbacks=[press], early_stopping=early_stopping)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, LABELS["values"])
    for i in range(3):
        other = alone(model, i, callbacks=None, max_iter=3).fit(X, LABELS["values"])
        assert_same(model.member(i), other)


def test_ctrl_c_in_lbfgs_leaves_later_members_as_they_were_drawn(monkeypatch):
    calls = []

    def press(passes, *arguments):
        calls.append(passes)
        if len({*map(id, calls)}) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(passes, *arguments)

    original = Passes.loss_and_gradient
    monkeypatch.setattr(Passes, "loss_and_gradient", press)
    model = make("values", solver="lbfgs", max_iter=50)
    with pytest.warns(UserWarning, match="Training interrupted by user") as told:
        model.fit(X, LABELS["values"])
    monkeypatch.undo()
    assert sum("interrupted" in str(w.message) for w in told) == 1
    assert_same(model.member(0), alone(model, 0).fit(X, LABELS["values"]))
    assert model.member(2).n_iter_ == 0
    np.testing.assert_array_equal(
        model.member(2).coefs_[0], model.network_.clone().member(2).layers[0].parameters["weight"].T
    )


@pytest.mark.parametrize("how", ["fit", "warm start", "partial fit"])
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_fit_that_fails_leaves_all_members_as_they_were(how, error):
    def go_on(model):
        if how == "partial fit":
            return model.partial_fit(X, SPECIES, classes=[0, 1, 2])
        return model.fit(X, SPECIES)

    def fail(trainer, row):
        raise error("in an epoch")

    model, undisturbed = (make("classes", warm_start=how == "warm start") for _ in range(2))
    for each in (model, undisturbed):
        go_on(each)
    told = copy.deepcopy({name: getattr(model, name, None) for name in FIGURES})
    model.set_params(callbacks=[fail])
    with pytest.raises(error, match="in an epoch"):
        go_on(model)
    model.set_params(callbacks=None)
    assert {name: getattr(model, name, None) for name in FIGURES} == told
    for each in (model, undisturbed):
        go_on(each)
    np.testing.assert_array_equal(
        model.predict_proba(X, members=True), undisturbed.predict_proba(X, members=True)
    )
    assert model.loss_curve_ == undisturbed.loss_curve_


def test_a_score_that_is_nowhere_finite_is_refused():
    far = np.where(np.arange(20)[:, None] < 1, 1e308, X[:20])
    model = make("values", early_stopping=True)
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="infinite after every epoch: there is no best one"),
    ):
        model.fit(X, LABELS["values"], X_val=far, y_val=LABELS["values"][:20])


# -- copies and files ----

COPIES = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "copy": lambda model, path: copy.deepcopy(model),
    "joblib": lambda model, path: joblib.load(joblib.dump(model, path / "m.joblib")[0]),
    "file": lambda model, path: (model.save(path / "m"), type(model).load(path / "m"))[1],
}


@pytest.mark.parametrize("labels", ["two classes", "values"])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_norm": True, "dropout": [0.1, 0.2, 0.3], "early_stopping": True}],
    ids=str,
)
@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_copies_are_the_same(labels, options, again, tmp_path):
    y = LABELS[labels]
    model = make(labels, **options).fit(X, y)
    other = again(model, tmp_path)
    np.testing.assert_array_equal(other.predict_std(X), model.predict_std(X))
    assert other.predict(X).tolist() == model.predict(X).tolist()
    assert other.get_params() == model.get_params()
    for name in FIGURES:
        assert getattr(other, name) == getattr(model, name)
    for i in range(3):
        assert_same(other.member(i), model.member(i))
    other.set_params(early_stopping=False).partial_fit(X, y)  # and it can go on
    assert not np.array_equal(other.coefs_[0], model.coefs_[0])


def test_a_member_can_be_saved_by_itself(tmp_path):
    model = make("two classes", alpha=[0.1, 0.2, 0.3]).fit(X, LABELS["two classes"])
    model.member(2).save(tmp_path / "m")
    again = MLPClassifier.load(tmp_path / "m")
    assert (again.members, again.random_state, again.alpha) == (None, 7, 0.3)
    np.testing.assert_allclose(
        again.predict_proba(X), model.predict_proba(X, members=True)[2], atol=1e-12
    )


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("fitted", {"loss_curve_": [1.0, 2.0, 3.0]}),
        ("fitted", {"loss_curve_": [[1.0], [2.0]]}),
        ("fitted", {"loss_": 3.0}),
        ("fitted", {"_n_iter": [1, 2]}),
        ("fitted", {"t_": [1, 2, "x"]}),
        ("fitted", {"n_iter_": [1, 2, 3]}),
        ("params", {"members": 2}),
        ("params", {"members": None}),
        ("params", {"alpha": [0.1, 0.2]}),
    ],
    ids=str,
)
def test_a_file_that_was_tampered_with_is_refused(part, changes, tmp_path):
    make("classes").fit(X, SPECIES).save(tmp_path / "m")
    arrays, description = safetensors_files.read(tmp_path / "m")
    description["estimator"][part] |= changes
    safetensors_files.write(tmp_path / "m", arrays, description)
    with pytest.raises(xn.ModelFileError, match="no estimator in it can be built"):
        MLPClassifier.load(tmp_path / "m")


# -- scikit-learn ----


@pytest.mark.slow
@parametrize_with_checks(
    [kind(max_iter=100, random_state=0, members=2) for kind in (MLPClassifier, MLPRegressor)]
)
def test_scikit_learn_s_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


class TestNeighbours:
    def test_pipeline_and_grid(self):
        model = make("classes", max_iter=30, learning_rate_init=0.02)
        pipe = make_pipeline(StandardScaler(), model)
        grid = {"mlpclassifier__members": [None, 2, 3], "mlpclassifier__alpha": [0.1, 1.0]}
        found = GridSearchCV(pipe, grid, cv=2).fit(X, SPECIES)
        assert found.best_score_ > 0.8
        members = found.best_params_["mlpclassifier__members"]
        assert found.best_estimator_[-1].network_.members == members
        own = {"mlpclassifier__alpha": [[0.1, 1.0, 3.0], np.array([0.2, 0.3, 0.4])]}
        assert GridSearchCV(pipe, own, cv=2).fit(X, SPECIES).best_score_ > 0.8

    def test_cross_validation_is_that_of_the_means(self):
        model = make("values", members=2)
        scores = cross_val_score(
            model, X, LABELS["values"], cv=[(np.arange(100), np.arange(100, 150))]
        )
        fitted = clone(model).fit(X[:100], LABELS["values"][:100])
        assert scores[0] == fitted.score(X[100:], LABELS["values"][100:])

    def test_calibration(self):
        calibrated = CalibratedClassifierCV(make("classes"), cv=2).fit(X, SPECIES)
        np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)


# -- bad input ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"members": 0}, ValueError, "'members' parameter of MLPClassifier must be an int in"),
        ({"members": -2}, ValueError, "'members' parameter"),
        ({"members": "3"}, ValueError, "'members' parameter .* Got '3'"),
        ({"members": 2.5}, ValueError, "'members' parameter .* Got 2.5"),
        ({"members": True}, TypeError, "members is True: give a whole number"),
        ({"alpha": [0.1, 0.2]}, ValueError, "alpha has 2 values and there are 3 members"),
        ({"alpha": [0.1, -0.2, 0.1]}, ValueError, "'alpha' parameter .* one for each member"),
        ({"alpha": []}, ValueError, "'alpha' parameter"),
        ({"alpha": "0.1"}, ValueError, "'alpha' parameter"),
        ({"alpha": [0.1, 0.2, "x"]}, ValueError, "'alpha' parameter"),
        ({"dropout": [0.1, 0.2, 1.0]}, ValueError, "'dropout' parameter"),
        (
            {"members": None, "alpha": [0.1, 0.2]},
            ValueError,
            "alpha has 2 values and this is one network: give one, or members=2",
        ),
        (
            {"members": 1, "tol": [0.1]},
            ValueError,
            "tol has 1 values and this is one network: give one, without a sequence$",
        ),
        ({"random_state": [1, 2]}, ValueError, "random_state has 2 values and there are 3"),
        ({"random_state": [1, 2, -3]}, ValueError, "'random_state' parameter"),
        (
            {"random_state": 2**32 - 2},
            ValueError,
            "the last of 3 members has 4294967296: give at most 4294967293",
        ),
        ({"solver": "sgd", "momentum": [0.0, 0.9, 0.9]}, ValueError, "nesterov needs a momentum"),
        ({"learning_rate": [0.1, 0.2, 0.3]}, ValueError, "give a schedule for each member; numb"),
        (
            {"learning_rate": [xn.Cosine(0.1, total=9)] * 3, "solver": "lbfgs"},
            ValueError,
            "a schedule as learning_rate would do nothing",
        ),
        (
            {"solver": xn.Adam((0.1, 0.2))},
            ValueError,
            "learning_rate of Adam has 2 values and there are 3 members",
        ),
    ],
    ids=str,
)
def test_bad_parameters_name_what_to_give(options, error, message):
    with pytest.raises(error, match=message):
        make("classes", **options).fit(X, SPECIES)


def test_what_one_network_does_not_have_is_refused():
    model = make("classes", members=None)
    for ask in (lambda: model.predict_std(X), lambda: model.member(0)):
        with pytest.raises(NotFittedError):
            ask()
    model.fit(X, SPECIES)
    for ask in (
        lambda: model.predict_std(X),
        lambda: model.member(0),
        lambda: model.predict(X, members=True),
        lambda: model.predict_proba(X, members=True),
    ):
        with pytest.raises(ValueError, match=r"one network, not several: fit it with members=k"):
            ask()


def test_members_that_are_not_there_are_refused():
    model = make("classes").fit(X, SPECIES)
    with pytest.raises(IndexError, match="there is no member 3: there are 3, 0 to 2"):
        model.member(3)
    with pytest.raises(TypeError, match="a member is '1': give a whole number"):
        model.member("1")
    with pytest.raises(TypeError, match="members is 1: give True or False"):
        model.predict(X, members=1)
    np.testing.assert_array_equal(model.member(-1).coefs_[0], model.member(2).coefs_[0])
    model.set_params(members=2)
    with pytest.raises(ValueError, match="members is 2 now and there are 3: set it back"):
        model.member(0)


@pytest.mark.parametrize("members", [None, 2])
def test_other_members_are_no_warm_start(members):
    model = make("classes", warm_start=True).fit(X, SPECIES).set_params(members=members)
    with pytest.raises(ValueError, match=f"goes on with 3, and the parameters say {members}"):
        model.fit(X, SPECIES)
    model.set_params(warm_start=False).fit(X, SPECIES)
    assert np.shape(model.loss_) == (() if members is None else (members,))
