"""Features that need none of scikit-learn's checks, and that all others still go through them."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris

import xpnet as xn
from xpnet.estimators import inputs

X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def model():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        params = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0, "device": "cpu"}
        return xn.MLPClassifier(**params).fit(X, Y)


@pytest.fixture
def checks(monkeypatch):
    """Count how often scikit-learn is asked."""
    asked, check = [], inputs.validate_data

    def counting(*args, **options):
        asked.append(args)
        return check(*args, **options)

    monkeypatch.setattr(inputs, "validate_data", counting)
    return asked


READY = [
    X,
    X[:1],
    np.asfortranarray(X),
    X[::2, ::-1],
    X.astype(np.float32),
    np.where(X > 4, 1e200, X),
]


@pytest.mark.parametrize("rows", READY)
def test_finite_floats_are_taken_at_once(model, checks, rows):
    assert model.predict(rows).shape == (len(rows),)
    assert not checks


@pytest.mark.parametrize(
    "rows",
    [
        X.astype(int),
        X.astype(">f8"),
        X.astype(np.longdouble),
        X.astype(object),
        X.tolist(),
        np.ma.array(X),
    ],
    ids=["ints", "big-endian", "long", "objects", "list", "masked"],
)
def test_others_are_checked(model, checks, rows):
    assert model.predict_proba(rows).shape == (len(rows), 3)
    assert checks


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.where(X > 4, np.nan, X), "Input X contains NaN.\nMLPClassifier does not accept"),
        (np.where(X > 4, -np.inf, X), "Input X contains infinity"),
        (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features as input"),
        (X[:0], r"Found array with 0 sample\(s\)"),
        (X[0], "Expected 2D array, got 1D array instead"),
        (X[None], "Found array with dim 3"),
    ],
)
def test_what_is_wrong_is_told_in_scikit_learn_s_words(model, rows, message):
    with pytest.raises(ValueError, match=message):
        model.predict(rows)


def test_columns_that_had_names_are_asked_for():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    model = xn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=1, tol=0, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(pd.DataFrame(X, columns=[*"abcd"]), Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
