"""What a search goes by: columns of the history, scorers of scikit-learn's, functions."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import make_classification, make_multilabel_classification

import xpnet as xn
from xpnet.train.measures import Measure
from xpnet.train.metrics import as_metric

RNG = np.random.default_rng(0)
X, Y3 = make_classification(120, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
Y2 = (Y3 > 0) * 1
VALUES = X @ RNG.standard_normal(6) + RNG.standard_normal(120)
LABELS = np.array(["ant", "bee", "cow"])

#: Name: the loss, its outputs, and labels.
TASKS = {
    "softmax": ("softmax_cross_entropy", 3, Y3),
    "softmax of two": ("softmax_cross_entropy", 2, Y2),
    "sigmoid": ("sigmoid_cross_entropy", 1, Y2),
    "values": ("mean_squared_error", 1, VALUES),
    "several values": ("mean_squared_error", 2, np.stack([VALUES, -2 * VALUES], axis=1)),
}


def network(task, members=None):
    """Return a network that has been trained a little, and its labels."""
    loss, n_outputs, y = TASKS[task]
    net = xn.Network(
        [xn.Linear(8), xn.ReLU(), xn.Linear(n_outputs)],
        loss=loss,
        n_features=6,
        device="cpu",
        dtype="float64",
        members=members,
    )
    xn.Trainer(net, xn.Adam(0.01)).fit(X, y, batch_size=16, epochs=3, monitor=0)
    return net, y


def alone(net):
    return [net] if net.members is None else [net.member(i) for i in range(net.members)]


def two_columns(p):
    return p if p.ndim == 2 else np.stack([1 - p, p], axis=1)


#: A scorer's name: what it is of a network's labels and predictions, for some tasks.
SCORERS = {
    "accuracy": (sk.accuracy_score, "predict", ("softmax", "sigmoid")),
    "f1_macro": (
        lambda y, p: sk.f1_score(y, p, average="macro"),
        "predict",
        ("softmax", "sigmoid", "softmax of two"),
    ),
    "roc_auc": (lambda y, p: sk.roc_auc_score(y, p[:, 1]), "proba", ("sigmoid", "softmax of two")),
    "roc_auc_ovr": (lambda y, p: sk.roc_auc_score(y, p, multi_class="ovr"), "proba", ("softmax",)),
    "neg_log_loss": (lambda y, p: -sk.log_loss(y, p), "proba", ("softmax", "sigmoid")),
    "r2": (sk.r2_score, "predict", ("values", "several values")),
    "neg_mean_absolute_error": (lambda y, p: -sk.mean_absolute_error(y, p), "predict", ("values",)),
}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, (*_, tasks) in SCORERS.items() for task in tasks]
)
def test_a_scorer_gives_what_its_function_does(name, task, members):
    function, said, _ = SCORERS[name]
    net, y = network(task, members)
    metric = as_metric(name)
    metric.require_defined(net.loss, y)
    expected = [
        function(y, one.predict(X) if said == "predict" else two_columns(one.predict_proba(X)))
        for one in alone(net)
    ]
    assert metric.measure(net, X, y) == pytest.approx(expected, abs=1e-12)
    assert (metric.name, metric.minimize, metric.column) == (name, False, None)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["error", "loss"])
def test_error_and_loss_are_those_of_the_history(name, task, members):
    net, y = network(task, members)
    metric = as_metric(name)
    metric.require_defined(net.loss, y)
    history = xn.Trainer(net).fit(X, y, epochs=1, validation_data=(X, y), monitor=0)
    found = history.rows[-1][metric.column]
    assert metric.minimize
    assert metric.measure(net, X, y) == pytest.approx([found] if members is None else found)


@pytest.mark.parametrize("name", ["error", "loss", "f1_macro"])
@pytest.mark.parametrize("members", [None, 2])
def test_members_are_measured_on_rows_of_their_own(name, members):
    net, y = network("softmax", members)
    rows = [np.arange(0, 50), np.arange(50, 120)[::-1]][: members or 1]
    metric = as_metric(name)
    expected = [
        metric.measure(one, X[own], y[own])[0] for one, own in zip(alone(net), rows, strict=True)
    ]
    assert metric.measure(net, X, y, rows) == pytest.approx(expected, abs=1e-12)


def test_what_has_been_prepared_is_measured_alike():
    for task in TASKS:
        net, y = network(task, 2)
        prepared = net.prepare(X, y)
        for name in ("error", "loss", "f1_macro" if net.loss.of_classes else "r2"):
            metric = as_metric(name)
            assert metric.measure(net, *prepared) == pytest.approx(metric.measure(net, X, y))


def test_several_labels_of_an_example_are_measured():
    features, y = make_multilabel_classification(100, 6, n_classes=2, random_state=0)
    layers = [xn.Linear(8), xn.ReLU(), xn.Linear(2)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=6, device="cpu", members=2)
    for name, function in {
        "roc_auc": lambda one: sk.roc_auc_score(y, one.predict_proba(features)),
        "f1_micro": lambda one: sk.f1_score(y, one.predict(features), average="micro"),
    }.items():
        metric = as_metric(name)
        metric.require_defined(net.loss, y)
        assert metric.measure(net, features, y) == pytest.approx([*map(function, alone(net))])


def test_members_that_share_weights_are_measured_by_their_mean():
    layers = [xn.EnsembleLinear(8, members=4), xn.ReLU(), xn.EnsembleLinear(3, members=4)]
    options = {"loss": "softmax_cross_entropy", "n_features": 6, "device": "cpu"}
    for members in (None, 2):
        net = xn.Network(layers, **options, members=members)
        for name in ("neg_log_loss", "accuracy"):
            of_mean = [as_metric(name).measure(one, X, Y3)[0] for one in alone(net)]
            assert as_metric(name).measure(net, X, Y3) == pytest.approx(of_mean, abs=1e-6)
        errors = as_metric("error").measure(net, X, Y3)
        assert as_metric("accuracy").measure(net, X, Y3) == pytest.approx([1 - e for e in errors])


def test_scorers_and_functions_get_the_labels_of_the_classes():
    net, y = network("softmax")
    got = []

    def share_of_cows(y, predicted):
        got.append(set(y) | set(predicted))
        return (predicted == "cow").mean()

    metric = as_metric(share_of_cows, classes=LABELS)
    assert metric.measure(net, X, y) == [(net.predict(X) == 2).mean()]
    assert got == [{"ant", "bee", "cow"}]
    assert (metric.name, metric.minimize) == ("share_of_cows", True)
    two, y = network("sigmoid")
    scorer = sk.make_scorer(sk.f1_score, pos_label="ant")
    metric = as_metric(scorer, classes=LABELS[:2])
    metric.require_defined(two.loss, y)
    assert metric.measure(two, X, y) == [sk.f1_score(y, two.predict(X), pos_label=0)]
    assert (metric.name, metric.minimize) == ("f1_score", False)


def test_a_class_that_nobody_has_among_what_is_held_out_is_known():
    net, _ = network("softmax")
    few = Y3 < 2
    p = net.predict_proba(X[few])
    metric = as_metric(
        sk.make_scorer(sk.log_loss, response_method="predict_proba", labels=[0, 1, 2])
    )
    metric.require_defined(net.loss, Y3)
    expected = sk.log_loss(Y3[few], p, labels=[0, 1, 2])
    assert metric.measure(net, X[few], Y3[few]) == pytest.approx([expected])


class LessIsMore:
    greater_is_better = True

    def __call__(self, y, predictions):
        return -float(np.abs(y - predictions).mean())


@pytest.mark.parametrize(
    ("function", "minimize"),
    [
        (sk.mean_absolute_error, True),
        (sk.r2_score, False),
        (xn.accuracy, False),
        (xn.error_rate, True),
        (LessIsMore(), False),
        (lambda y, p: 0.0, True),
    ],
)
def test_functions_say_which_way_is_better(function, minimize):
    assert as_metric(function).minimize is minimize


def test_a_metric_stays_what_it_is():
    metric = as_metric("error")
    assert isinstance(metric, Measure)
    assert as_metric(metric) is metric


def test_what_is_not_defined_is_nan():
    net, y = network("values")
    net.parameters[...] = math.nan
    assert math.isnan(as_metric("r2").measure(net, X, y)[0])
    net, y = network("values", 2)
    net.parameters[1] = 1e200
    found = as_metric("neg_mean_squared_error").measure(net, X, y)
    assert math.isfinite(found[0])
    assert math.isnan(found[1])
    # Predictions below 0, which that metric does not take.
    net, y = network("values")
    assert math.isnan(as_metric("neg_mean_poisson_deviance").measure(net, X, np.abs(y) + 1)[0])


@pytest.mark.parametrize(
    ("given", "task", "rows", "message"),
    [
        ("roc_auc", "softmax", None, "metric 'roc_auc' can't be measured: multi_class must be"),
        ("roc_auc", "sigmoid", Y2 == 1, "metric 'roc_auc' is not defined for the .* held out"),
        ("roc_auc", "values", None, "metric 'roc_auc' can't be measured"),
        ("accuracy", "values", None, "metric 'accuracy' can't be measured: .* give one for a regr"),
        ("rand_score", "values", None, "'rand_score' can't be measured: .*'r2' or 'neg_mean_abs"),
        (xn.accuracy, "values", None, "'accuracy' can't be measured: it is no better for better"),
        ("r2", "values", np.arange(120) < 1, "metric 'r2' is not defined for the 1 labels"),
        ("error", "values", np.arange(120) < 1, "metric 'error' is not defined for the 1 labels"),
        ("neg_mean_poisson_deviance", "values", None, "can't be measured"),
        (lambda y, p: p.no_such_thing, "values", None, "'<lambda>' can't be measured: .*no_such"),
        (lambda y, p: math.nan, "values", None, "'<lambda>' is not defined"),
        (lambda y, p: "good", "values", None, "'<lambda>' can't be measured: .*float"),
    ],
)
def test_what_labels_can_not_be_measured_by_is_refused(given, task, rows, message):
    net, y = network(task)
    own = None if rows is None else [np.arange(120), np.flatnonzero(rows)]
    with pytest.raises(ValueError, match=message):
        as_metric(given).require_defined(net.loss, y, own)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("eror", ValueError, "metric is 'eror': give .* did you mean error"),
        ("dev_error", ValueError, "metric is 'dev_error'"),
        ("roc_acu", ValueError, "did you mean roc_auc"),
        (3, TypeError, "metric is 3: give"),
        (None, TypeError, "metric is None"),
    ],
)
def test_what_is_no_metric_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        as_metric(given)
