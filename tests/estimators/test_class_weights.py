"""Weights of classes: which examples have them, in fits of all the data and of batches."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.utils import compute_sample_weight

from xpnet import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.load_iris(return_X_y=True)
#: As `Y`, of other kinds.
KINDS = {
    "numbers": np.arange(3),
    "large numbers": 2**60 + np.arange(3),
    "floats": np.array([-0.5, 0.0, 2.5]) * 2,
    "strings": np.array(["a", "b", "c"]),
    "objects": np.array(["a", "b", "c"], object),
}


def make(**options):
    return MLPClassifier((4,), **{"max_iter": 5, "random_state": 0, "device": "cpu"} | options)


def same(found, expected):
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_class_weights_are_sample_weights():
    some = slice(0, 120)
    x, y = X[some], Y[some]
    balanced = make(class_weight="balanced").fit(x, y)
    same(balanced, make().fit(x, y, (120 / 3 / np.bincount(y))[y]))
    given = make(class_weight={0: 1.0, 1: 2.0, 2: 5.0}).fit(x, y)
    same(given, make().fit(x, y, np.array([1.0, 2.0, 5.0])[y]))
    both = make(class_weight={1: 2.0}).fit(x, y, np.linspace(0, 1, 120))
    same(both, make().fit(x, y, np.linspace(0, 1, 120) * np.where(y == 1, 2.0, 1.0)))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_are_not_named_count_once(kind):
    classes = KINDS[kind]
    y = classes[Y]
    weights = np.where(Y == 1, 10.0, 1.0)
    for name in (classes[1], classes[1:2].tolist()[0]):
        same(make(class_weight={name: 10}).fit(X, y), make().fit(X, y, weights))
    same(make(class_weight={}).fit(X, y), make().fit(X, y, np.ones(150)))


def test_truth_values_are_classes_too():
    weights = np.where(Y > 1, 3.0, 1.0)
    for name in (True, np.True_, 1):
        found = make(class_weight={name: 3}).fit(X, Y > 1)
        same(found, make().fit(X, Y > 1, weights))


@pytest.mark.parametrize("named", [{1: 10}, {0: 10}, {0: 2, 2: 3}])
def test_a_batch_may_lack_any_class(named):
    found, expected = make(class_weight=named), make()
    weights = np.array([named.get(i, 1.0) for i in range(3)])
    for part in (Y > 0, Y < 2, Y == 2, Y == 1, Y >= 0):
        found.partial_fit(X[part], Y[part], classes=[0, 1, 2])
        expected.partial_fit(X[part], Y[part], weights[Y[part]], classes=[0, 1, 2])
    same(found, expected)


def test_a_class_may_be_held_out_as_a_whole():
    """Of several classes the held-out part is random: a rare one may lie in it alone."""
    y = Y.copy()
    y[0] = 3
    seed, codes = 0, y
    while 3 in codes:
        seed += 1
        model, seen = make(early_stopping=True, random_state=seed, max_iter=1), []
        model._weigh_classes = lambda codes, *_, seen=seen: seen.append(codes)
        codes = model.fit(X, y) and seen[0]
    options = {"early_stopping": True, "random_state": seed}
    named = make(class_weight={3: 7.0, 1: 2.0}, **options).fit(X, y)
    same(named, make(class_weight={1: 2.0}, **options).fit(X, y))
    balanced = make(class_weight="balanced", **options).fit(X, y)
    weights = compute_sample_weight("balanced", codes)
    by_hand = dict(zip(codes.tolist(), weights.tolist(), strict=True))
    same(balanced, make(class_weight=by_hand, **options).fit(X, y))


def test_a_warm_start_has_them_too():
    found, expected = make(class_weight={1: 10}, warm_start=True), make(warm_start=True)
    for _ in range(2):
        found.fit(X, Y)
        expected.fit(X, Y, np.where(Y == 1, 10.0, 1.0))
    same(found, expected)


def test_labels_have_class_weights_each():
    y = np.stack([Y == 0, Y == 1, Y < 5], axis=1) * 1
    several = [{1: 3.0}, {0: 2.0, 1: 1.0}, None]
    weights = np.where(y[:, 0], 3.0, 1.0) * np.where(y[:, 1], 1.0, 2.0)
    same(make(class_weight=several).fit(X, y), make().fit(X, y, weights))
    found, expected = make(class_weight=several), make()
    for part in (Y > 0, Y == 1):  # the first column is 0 in both, the second 1 in the last
        found.partial_fit(X[part], y[part], classes=[0, 1, 2])
        expected.partial_fit(X[part], y[part], weights[part], classes=[0, 1, 2])
    same(found, expected)
    balanced = make().fit(X, y, compute_sample_weight("balanced", y))
    same(make(class_weight="balanced").fit(X, y), balanced)
    same(make(class_weight=["balanced"] * 3).fit(X, y), balanced)


@pytest.mark.parametrize("weights", ["balanced", ["balanced", {1: 2.0}]])
def test_balanced_weights_want_all_labels_at_once(weights):
    y = Y if weights == "balanced" else np.stack([Y == 0, Y == 1], axis=1) * 1
    with pytest.raises(ValueError, match=r"'balanced' needs all .* not supported for partial_fit"):
        make(class_weight=weights).partial_fit(X, y, classes=np.unique(y))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({3: 2.0}, ValueError, "class_weight names 3, and the classes are 0, 1, 2: name only"),
        ({"1": 2, 0: 1, "é": 3}, ValueError, "class_weight names '1', 'é', and the classes are 0"),
        ({1: -1.0}, ValueError, r"class_weight\[1\] is -1.0: give a finite number, 0 or more"),
        ({1: np.nan}, ValueError, r"class_weight\[1\] is nan: give a finite number"),
        ({1: "2"}, TypeError, r"class_weight\[1\] is '2': give a number"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "class_weight is .* all of these 150 examples the weight"),
        ([{1: 2.0}], ValueError, "class_weight is a list, and y is one column of classes: give a"),
    ],
    ids=str,
)
def test_weights_that_make_no_sense_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        make(class_weight=weights).fit(X, Y)
    model = make().partial_fit(X, Y, classes=[0, 1, 2]).set_params(class_weight=weights)
    before = model.predict_proba(X)
    with pytest.raises(error, match=message):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({1: 2.0}, ValueError, "class_weight is a dict, and y has 2 columns: give a list with a"),
        ([{1: 2.0}], ValueError, "class_weight is a list of 1, and y has 2 columns: give a list"),
        ([{1: 2.0}, {2: 1}], ValueError, r"class_weight\[1\] names 2, and the classes are 0, 1:"),
        ([{1: 2.0}, 3], TypeError, r"class_weight\[1\] is 3: give a dict with weights by class"),
    ],
    ids=str,
)
def test_weights_of_columns_that_make_no_sense_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        make(class_weight=weights).fit(X, np.stack([Y == 0, Y == 1], axis=1) * 1)


def test_of_many_classes_an_error_names_some():
    y = np.arange(150) // 3
    with pytest.raises(ValueError, match=r"names 99, and the classes are 0, .*, 19 and 30 more: "):
        make(class_weight={99: 1.0}).fit(X, y)
