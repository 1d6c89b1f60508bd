"""`TabularClassifier` and `TabularRegressor`: raw tables by scikit-learn's interface."""

import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from raw_tables import (
    BOTH,
    IRIS,
    LABELS,
    LENGTHS,
    NAMES,
    PLAIN,
    RED,
    SPECIES,
    N,
    fitted,
    of_arrow,
    quick,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet as xn
from xpnet import TabularClassifier, TabularRegressor
from xpnet.recipes.recipes import Asked
from xpnet.recipes.settings import Settings
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.frames import dataset_of

# -- scikit-learn's rules ----


@parametrize_with_checks(
    [
        kind(
            recipe="plain",
            hidden=(32,),
            epochs=30,
            learning_rate=0.01,
            dtype="float64",
            random_state=0,
            device="cpu",
        )
        for kind in (TabularClassifier, TabularRegressor)
    ]
)
def test_scikit_learn_s_checks(estimator, check):
    run(check, estimator)


#: Checks that give objects or gaps: tables, which pyarrow reads.
OF_TABLES = ("check_dtype_object", "check_estimators_pickle")


def run(check, estimator):
    if check.func.__name__ in OF_TABLES:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [quick(kind, epochs=60, learning_rate=0.02, dtype="float64") for kind in LABELS]
)
def test_scikit_learn_s_checks_of_folds_and_members(estimator, check):
    run(check, estimator)


@BOTH
def test_both_are_of_the_library(kind):
    assert getattr(xn, kind.__name__) is kind
    tags = get_tags(kind()).input_tags
    assert (tags.allow_nan, tags.string, tags.categorical, tags.sparse) == (True,) * 3 + (False,)


@BOTH
def test_parameters_stay_as_they_are_given(kind):
    settings, drop = {"dropout": [0.1]}, ["a"]
    model = kind(settings=settings, drop=drop, hidden=[4])
    assert model.settings is settings
    assert model.drop is drop
    copy = clone(model.set_params(members=3))
    assert copy.get_params() == model.get_params()


def test_pipelines_searches_and_validation():
    pipe = make_pipeline(FunctionTransformer(), quick())
    assert cross_val_score(pipe, IRIS, SPECIES, cv=2).min() > 0.6
    grid = {"members": [2, 4], "settings": [None, {"dropout": 0.1}]}
    found = GridSearchCV(quick(), grid, cv=2).fit(IRIS, SPECIES)
    assert found.best_estimator_.model_.network.members == found.best_params_["members"]


@pytest.mark.slow
def test_several_processes():
    scores = [cross_val_score(quick(), IRIS, SPECIES, cv=2, n_jobs=jobs) for jobs in (1, 2)]
    np.testing.assert_array_equal(*scores)


def test_threads_may_fit_and_predict_at_once():
    model = fitted()
    expected = model.predict_proba(IRIS)
    with ThreadPoolExecutor(4) as pool:
        for p in pool.map(lambda _: model.predict_proba(IRIS), range(20)):
            np.testing.assert_array_equal(p, expected)
        for other in pool.map(lambda _: fitted(), range(3)):
            np.testing.assert_array_equal(other.predict_proba(IRIS), expected)


@BOTH
def test_pickles_and_joblib(kind, tmp_path):
    model = fitted(kind)
    joblib.dump(model, tmp_path / "m")
    for other in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "m")):
        np.testing.assert_array_equal(other.predict(IRIS), model.predict(IRIS))
        assert str(other.plan_) == str(model.plan_)
        assert other.history_.rows == model.history_.rows


# -- it is the command line's training ----


@BOTH
@pytest.mark.parametrize("recipe", ["auto", "realmlp", "plain"])
def test_it_is_the_experiment_of_the_recipe(kind, recipe):
    options = {"hidden": 8, "epochs": 3, "random_state": 5, "device": "cpu"}
    model = kind(recipe, **options).fit(IRIS, LABELS[kind])
    task = {TabularClassifier: "multiclass", TabularRegressor: "regression"}[kind]
    experiment = Experiment.prepare(
        dataset_of(IRIS, LABELS[kind]),
        Settings(hidden=(8,), epochs=3, seed=5, task=task),
        "cpu",
        dev=recipe != "plain",
        test=False,
        recipe=Asked(recipe, ["hidden", "epochs"]),
    )
    experiment.run()
    np.testing.assert_array_equal(model.predict(IRIS), experiment.model.predict(IRIS))
    assert model.temperature_ == experiment.temperature
    assert model.best_epoch_ == experiment.best_epoch
    assert model.plan_ == experiment.plan


def test_auto_trains_members_on_folds_and_calibrates():
    model = quick(folds=None, members=None).fit(IRIS, SPECIES)
    settings = model.plan_.settings
    assert settings.folds == settings.members == model.model_.network.members >= 5
    assert len(model.best_epoch_) == settings.members
    assert model.temperature_ > 0
    assert len(model.history_) == 4
    assert model.device_ == "cpu"


def test_the_plain_recipe_holds_nothing_out():
    model = TabularClassifier(**PLAIN).fit(IRIS, SPECIES)
    assert "dev_loss" not in model.history_.columns
    assert (model.best_epoch_, model.temperature_) == (None, None)
    held = TabularClassifier(**PLAIN, settings={"patience": 2}).fit(IRIS, SPECIES)
    assert "dev_loss" in held.history_.columns


@BOTH
def test_a_development_set_of_ones_own_takes_the_place_of_folds(kind):
    y = LABELS[kind]
    model = quick(kind, folds=None).fit(IRIS[::2], y[::2], X_val=IRIS[1::2], y_val=y[1::2])
    assert model.plan_.settings.folds is None
    told = model.model_.training
    assert told["sets"]["dev"]["data"] == "X_val"
    losses = [rows["dev_loss"] for rows in model.history_.rows]
    if kind is TabularRegressor:  # of classes the best epoch is that of the least error
        np.testing.assert_array_equal(model.best_epoch_, 1 + np.argmin(losses, axis=0))
    with pytest.raises(ValueError, match="folds and X_val are given"):
        quick(kind).fit(IRIS, y, X_val=IRIS[:9], y_val=y[:9])
    with pytest.raises(ValueError, match="X_val is given and no y_val"):
        quick(kind, folds=None).fit(IRIS, y, X_val=IRIS[:9])


def test_the_seed_says_all():
    one, two, other = (fitted(random_state=seed).predict_proba(IRIS) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    states = [np.random.RandomState(3) for _ in range(2)]
    np.testing.assert_array_equal(*(fitted(random_state=s).predict_proba(IRIS) for s in states))
    fitted(random_state=None)


def test_the_plan_is_shown(capsys):
    model = fitted(verbose=1)
    told = capsys.readouterr().out
    assert str(model.plan_) in told
    assert re.search(r"^hidden +8 +set by hand$", told, re.MULTILINE)
    assert "epoch 4: train_loss" in told


def test_time_may_be_limited(capsys):
    model = fitted(epochs=100_000, time_limit=0.3, verbose=1)
    assert re.search(r"time has decided: 2 networks of 100000 epochs", model.time_reason_)
    assert model.time_reason_ in capsys.readouterr().out
    made = {step.name: step for step in model.plan_.steps}["epochs"]
    assert made.value == model.plan_.settings.epochs < 100_000
    assert made.why == "for the time that there is"
    assert len(model.history_) < 50_000
    assert fitted(time_limit=1000).time_reason_ == ""


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("parametrization", "ntk", "a"),
        ("scaling", "mean", "median "),
        ("monitor", "loss", ["error"]),
    ],
)
def test_settings_of_some_words_are_these(name, good, bad):
    assert getattr(fitted(settings={name: good}).plan_.settings, name) == good
    with pytest.raises(ValueError, match=rf"^{name} is .*: give one of "):
        fitted(settings={name: bad})


def test_callbacks_are_called():
    rows = []
    fitted(callbacks=[lambda trainer, row: rows.append(row["epoch"])])
    assert rows == [1, 2, 3, 4]


# -- labels ----


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (NAMES[SPECIES], "U"),
        (NAMES[SPECIES].astype(object), "O"),
        (SPECIES - 1, "i"),
        (SPECIES.astype(np.float32) * 2, "f"),
        (SPECIES == 1, "b"),
        ([*NAMES[SPECIES]], "O"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_come_back_as_they_were_given(labels, dtype):
    model = quick(epochs=40).fit(IRIS, labels)
    assert model.classes_.dtype.kind == dtype
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    found = model.predict(IRIS)
    assert found.dtype == model.classes_.dtype
    assert (found == np.asarray(labels)).mean() > 0.8
    assert model.score(IRIS, labels) == (found == np.asarray(labels)).mean()
    p = model.predict_proba(IRIS)
    assert p.shape == model.predict_std(IRIS).shape == (150, len(model.classes_))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], found)
    np.testing.assert_array_equal(model.predict_log_proba(IRIS), np.log(p))


def test_labels_of_pandas():
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    y = pd.Series(NAMES[SPECIES], name="species").astype("category")
    model = fitted(epochs=40).fit(IRIS, y)
    assert [*model.classes_] == [*NAMES]
    assert model.score(IRIS, y) > 0.8


def test_several_outputs():
    X, Y = IRIS[:, :2], IRIS[:, 2:]
    model = quick(TabularRegressor, epochs=30).fit(X, Y)
    assert model.n_outputs_ == 2
    assert model.predict(X).shape == model.predict_std(X).shape == Y.shape
    assert model.score(X, Y) > 0.5
    one = quick(TabularRegressor, epochs=30)
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        one.fit(X, Y[:, :1])
    assert one.predict(X).shape == (150,)


def test_columns_of_labels_are_for_several_classifiers():
    Y = np.stack([SPECIES == 0, SPECIES == 1], axis=1) * 1
    with pytest.raises(ValueError, match=r"Multioutput target data is not supported.*MultiOutputC"):
        quick().fit(IRIS, Y)
    found = MultiOutputClassifier(quick()).fit(IRIS, Y)
    assert found.predict(IRIS).shape == Y.shape


def test_the_spread_is_that_of_the_members():
    model = fitted(TabularRegressor)
    network, features = model.model_.network, model.model_.prepare(IRIS)
    scales = model.model_.target.scales  # before the mean is clamped to the range of the labels
    each = [scales.restore(network.member(i).predict(features)[:, None])[:, 0] for i in range(2)]
    np.testing.assert_allclose(model.predict_std(IRIS), np.std(each, axis=0), rtol=1e-4, atol=1e-6)
    for one in (TabularRegressor(**PLAIN), quick(TabularRegressor, members=1)):
        with pytest.raises(ValueError, match="is one network, not several"):
            one.fit(IRIS, LENGTHS).predict_std(IRIS)


# -- little data ----


@pytest.mark.parametrize("n", [3, 4, 5, 20])
@BOTH
def test_few_rows(kind, n):
    rows = np.random.default_rng(n).permutation(150)[:n]
    y = {TabularClassifier: SPECIES[rows] == 1, TabularRegressor: IRIS[rows, 3]}[kind]
    y[:2] = y.min(), y.max()
    if (y[:2] == y[0]).all():
        y[1] = not y[0]
    model = quick(kind).fit(IRIS[rows, :3], y)
    assert np.isfinite(model.predict_std(IRIS[:, :3])).all()


@pytest.mark.parametrize("recipe", ["auto", "realmlp", "plain"])
@pytest.mark.parametrize("n", [5, 30])
def test_a_class_with_a_single_row(recipe, n):
    y = np.array(["usual"] * n)
    y[2] = "rare"
    model = TabularClassifier(recipe, epochs=3, random_state=0, device="cpu").fit(IRIS[:n], y)
    assert [*model.classes_] == ["rare", "usual"]
    assert model.predict_proba(IRIS[:n]).shape == (n, 2)


@pytest.mark.parametrize("y", [[0.0] * 11 + [1.0], [0.0] * 6 + [1.0] * 6, [*range(12)]], ids=str)
def test_values_of_which_most_are_the_same(y):
    quick(TabularRegressor, folds=None, members=None).fit(IRIS[::12][:12], y)


def test_columns_with_nothing_in_them(pa):
    X = np.c_[IRIS, np.ones(150), np.full(150, np.nan)]
    model = quick(epochs=30, settings={"learning_rate": 0.03}).fit(X, SPECIES)
    assert model.n_features_in_ == 6
    assert model.score(X, SPECIES) > 0.9
    constant = TabularClassifier(epochs=20, random_state=0, device="cpu")
    p = constant.fit(np.ones((40, 2)), np.arange(40) % 4 == 0).predict_proba(np.ones((1, 2)))
    np.testing.assert_allclose(p, [[0.75, 0.25]], atol=0.1)


def test_noise_is_not_taken_for_much():
    generator = np.random.default_rng(0)
    X, y, later = generator.normal(size=(60, 5)), np.arange(60) % 2, generator.normal(size=(99, 5))
    p = TabularClassifier(random_state=0, device="cpu", epochs=20).fit(X, y).predict_proba(later)
    assert -np.log(p).mean() < np.log(2) + 0.2


@BOTH
@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (IRIS[:1], [1], "n_samples = 1"),
        (IRIS[:2], [0, 1], "n_samples = 2"),
        (IRIS, np.ones(150, int), "(one class only|1 in every row)"),
        (IRIS, None, "requires y to be passed"),
        (IRIS, SPECIES[:9], "inconsistent numbers of samples"),
        (np.where(IRIS == 5.1, np.inf, IRIS), SPECIES, "NaN or infinite"),
        (IRIS[:, 0], SPECIES, "Reshape your data"),
        (IRIS[:0], SPECIES[:0], "0 sample"),
        (IRIS * 1j, SPECIES, "Complex data not supported"),
        ([[1, 2], [3]], [0, 1], "rows of one length"),
    ],
    ids=str,
)
def test_data_that_are_refused(kind, X, y, message):
    with pytest.raises(ValueError, match=message):
        quick(kind).fit(X, y)


def test_other_data_that_are_refused(pa):
    with pytest.raises(TypeError, match="Sparse data was passed"):
        quick().fit(sparse.csr_array(IRIS), SPECIES)
    with pytest.raises(ValueError, match="Unknown label type"):
        quick().fit(IRIS, LENGTHS)
    with pytest.raises(ValueError, match="no column of the data is left"):
        quick().fit(of_arrow({"id": [f"number {i}" for i in range(N)]}), RED)
    with pytest.raises(ValueError, match="give numbers"):
        quick(TabularRegressor).fit(IRIS, NAMES[SPECIES])
    with pytest.raises(ValueError, match="drop names all columns of X: leave one at least"):
        quick(drop=["x0", "x1", "x2", "x3"]).fit(IRIS, SPECIES)
    days = np.arange(N).astype("datetime64[D]")
    with pytest.raises(ValueError, match=r"y holds dates .* give numbers, as of days"):
        quick(TabularRegressor).fit(IRIS, days)
    with pytest.raises(ValueError, match="y holds durations"):
        quick(TabularRegressor).fit(IRIS, days - days[0])
    with pytest.raises(ValueError, match="y holds strings and the classes are numbers"):
        fitted().score(IRIS, NAMES[SPECIES])
    for kind in LABELS:
        with pytest.raises(NotFittedError):
            kind().predict(IRIS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recipe": "best"}, ValueError, "recipe is 'best': give one of plain"),
        ({"members": 0}, ValueError, "'members' parameter of TabularClassifier must be"),
        ({"folds": 1}, ValueError, "'folds' parameter"),
        ({"hidden": 0}, ValueError, "'hidden' parameter"),
        ({"hidden": [8, "x"]}, TypeError, "hidden is 'x': give a whole number"),
        ({"learning_rate": 0}, ValueError, "'learning_rate' parameter"),
        ({"batch_size": "all"}, ValueError, "'batch_size' parameter"),
        ({"loss": "huber"}, ValueError, "loss is 'huber': give one of"),
        ({"time_limit": 0}, ValueError, "'time_limit' parameter"),
        ({"dtype": "float16"}, ValueError, "'dtype' parameter"),
        ({"device": "gpu"}, ValueError, "device"),
        ({"settings": [1]}, ValueError, "'settings' parameter"),
        ({"settings": {"width": 3}}, ValueError, "a name in settings is 'width': give one of hid"),
        ({"settings": {"seed": 3}}, ValueError, "settings has 'seed': give random_state"),
        ({"settings": {"members": 3}}, ValueError, "members is given as a parameter and in set"),
        ({"settings": {"dropout": "no"}}, TypeError, "dropout is 'no': give several"),
        ({"settings": {"dropout": 2.0}}, ValueError, "2.0"),
        ({"settings": {"keep_best": 1}}, TypeError, "keep_best is 1: give True or False"),
        ({"settings": {"clip": "3"}}, TypeError, "clip is '3': give a number"),
        ({"settings": {"scaling": "max"}}, ValueError, "'max': give one of mean, median"),
        ({"settings": {"activation": None}}, TypeError, "activation is None: give text"),
        ({"settings": {"image_shape": (2, 0)}}, ValueError, "image_shape is 0"),
        ({"folds": None, "settings": {"folds": 1}}, ValueError, "folds is 1: give 2 or more"),
        ({"batch_size": None, "settings": {"batch_size": "x"}}, ValueError, "or 'auto'"),
        ({"random_state": "x"}, ValueError, "'random_state' parameter"),
        ({"columns": {"x0": "colour"}}, ValueError, "colour"),
    ],
    ids=str,
)
def test_parameters_that_are_refused_leave_the_estimator_as_it_was(pa, options, error, message):
    model = fitted()
    before = dict(model.__dict__)
    model.set_params(**options)
    with pytest.raises(error, match=message):
        model.fit(IRIS, SPECIES)
    assert {**model.__dict__} == before | options
    model.predict(IRIS)


def test_settings_reach_the_network():
    model = fitted(settings={"activation": "tanh", "embedding": "", "folds": None}, folds=None)
    names = [type(layer).__name__ for layer in model.model_.network.layers]
    assert "Tanh" in names
    assert "PiecewiseLinearEmbedding" not in names
    assert model.plan_.settings.folds is None
    assert {"activation", "embedding", "folds"} <= {*model.plan_.given}


def test_what_is_held_out_of_one_class_calibrates_nothing():
    y = np.arange(20) == 3
    model = quick().fit(IRIS[:20], y)
    assert model.temperature_ is None


def test_a_batch_size_of_the_recipe_s_own_fits_few_rows_without_a_word():
    fitted = quick().fit(IRIS[60:69], SPECIES[60:69] + np.arange(9) % 2)
    assert fitted.plan_.settings.batch_size == 5  # as many as a member is trained on
    with pytest.warns(UserWarning, match="batch_size is 99 and"):
        quick(batch_size=99).fit(IRIS[60:69], SPECIES[60:69] + np.arange(9) % 2)
