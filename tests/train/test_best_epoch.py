"""The best epoch by any figure: metrics in the history, and early stopping that goes by them."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

import xpnet as xn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = (X[:, 0] + RNG.normal(size=90) > 0) * 1
Y3 = np.digitize(X[:, 0] + RNG.normal(size=90), [-0.6, 0.6])
VALUES = X @ RNG.normal(size=4) + RNG.normal(size=90)

#: Name: the loss, its outputs, labels, and metrics with what they are of labels and a network.
TASKS = {
    "sigmoid": (
        "sigmoid_cross_entropy",
        1,
        Y,
        {
            "auc": ("roc_auc", lambda y, net, x: sk.roc_auc_score(y, net.predict_proba(x))),
            "mean": (
                xn.Metric(lambda y, p: p.mean() + p.ndim, needs="probabilities"),
                lambda y, net, x: net.predict_proba(x).mean() + 1,
            ),
        },
    ),
    "softmax": (
        "softmax_cross_entropy",
        3,
        Y3,
        {
            "f1": (
                lambda y, said: sk.f1_score(y, said, average="macro"),
                lambda y, net, x: sk.f1_score(y, net.predict(x), average="macro"),
            ),
            "last": (
                xn.Metric(lambda y, p: p[:, 2].mean(), "probabilities"),
                lambda y, net, x: net.predict_proba(x)[:, 2].mean(),
            ),
        },
    ),
    "values": (
        "mean_squared_error",
        1,
        VALUES,
        {
            "mae": (
                sk.mean_absolute_error,
                lambda y, net, x: sk.mean_absolute_error(y, net.predict(x)),
            )
        },
    ),
}

each_task = pytest.mark.parametrize("task", TASKS)


def make(task, device="cpu", members=None):
    loss, n_outputs, y, metrics = TASKS[task]
    layers = [xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.1), xn.Linear(n_outputs)]
    options = {"n_features": 4, "device": device, "dtype": "float64", "members": members}
    return xn.Network(layers, loss=loss, **options), y, metrics


class Keep(xn.Callback):
    """Keeps the weights of each epoch, as they are measured."""

    def __init__(self):
        self.nets = []

    def on_epoch_end(self, trainer, row):
        net = trainer.network
        copy = net.clone()
        copy.copy_arrays(net.parameters, net.statistics)
        self.nets.append(copy)


def fit(net, y, metrics, epochs=3, callbacks=(), **options):
    options = {"validation_data": (X[60:], y[60:]), "batch_size": 20} | options
    given = {name: metric for name, (metric, _) in metrics.items()}
    trainer = xn.Trainer(net, xn.Adam(0.02))
    return trainer.fit(X[:60], y[:60], epochs=epochs, callbacks=callbacks, metrics=given, **options)


@each_task
@pytest.mark.parametrize("average", [False, True])
def test_a_metric_is_a_column_of_what_the_network_predicts(task, device, average):
    net, y, metrics = make(task, device)
    keep = Keep()
    averages = [xn.WeightAverage(xn.ExponentialMovingAverage(0.9))] if average else []
    history = fit(net, y, metrics, callbacks=[*averages, keep])
    for name, (_, of) in metrics.items():
        expected = [of(y[60:], one, X[60:]) for one in keep.nets]
        assert history[f"dev_{name}"] == pytest.approx(expected)
        assert len({*expected}) > 1
        assert f"dev_{name}" in history.columns


@each_task
@pytest.mark.parametrize("subsets", [False, True])
def test_members_have_figures_of_their_own(task, device, subsets):
    net, y, metrics = make(task, device, members=3)
    keep, options = Keep(), {}
    rows = [np.arange(30)] * 3
    if subsets:
        rows = [np.arange(0, 20), np.arange(10, 30), np.arange(5, 30, 2)]
        options["validation_subsets"] = rows
    history = fit(net, y, metrics, callbacks=[keep], **options)
    for name, (_, of) in metrics.items():
        expected = [
            [of(y[60:][own], one.member(i), X[60:][own]) for i, own in enumerate(rows)]
            for one in keep.nets
        ]
        np.testing.assert_allclose(history[f"dev_{name}"], expected)
        assert history.member(1)[f"dev_{name}"] == [own[1] for own in history[f"dev_{name}"]]


def test_members_that_share_weights_are_measured_by_their_mean():
    layers = [xn.EnsembleLinear(8, members=4), xn.ReLU(), xn.EnsembleLinear(1, 4, shared=False)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=4, device="cpu")
    history = fit(net, Y, TASKS["sigmoid"][3])
    assert history["dev_auc"][-1] == sk.roc_auc_score(Y[60:], net.predict_proba(X[60:]))


# -- early stopping by them ----


class Told(xn.Callback):
    """Gives each epoch figures out of lists, and keeps the weights that they belong to."""

    def __init__(self, **columns):
        self.columns, self.weights = columns, []

    def on_epoch_end(self, trainer, row):
        row |= {name: values[len(self.weights)] for name, values in self.columns.items()}
        self.weights.append(trainer.network.parameters.copy())


LOSSES = [9, 8, 7, 6, 8, 8]


@pytest.mark.parametrize(
    ("options", "figures", "best", "stopped"),
    [
        ({"mode": "max"}, [1, 2, 3, 2, 2, 2], 3, 6),
        ({"mode": "max"}, [-5, -4, -6, -7, -7, -3], 2, 5),
        ({"mode": "max", "min_improvement": 0.5}, [1, 1.4, 1.2, 1.3, 2, 2], 1, 4),
        ({"mode": "max"}, [math.nan, math.inf, 2, 3, 4, 4], 2, 5),
        ({"mode": "min"}, [3, 2, 2, 2, 2, 2], 2, 5),
        ({"ties": "last"}, [3, 2, 2, 2, 2, 2], 5, 5),  # none of them is an improvement
        ({"ties": "last"}, [3, 2, 4, 2, 4, 2], 4, 5),
        ({"ties": "last", "mode": "max"}, [0, 1, 1, 0.5, 1, 1], 5, 5),
        ({"ties": "loss"}, [3, 2, 2, 2, 2, 2], 4, 5),
        ({"ties": "loss"}, [3, 2, 4, 1, 1, 4], 4, None),
        ({"ties": "last", "min_improvement": 0.5}, [3, 2, 1.9, 2, 2, 2], 5, 5),
        ({"ties": "last"}, [math.inf, math.inf, 2, 3, 3, 3], 3, 6),
    ],
)
def test_the_best_epoch_by_a_metric(options, figures, best, stopped):
    net, y, metrics = make("values")
    stopping = xn.EarlyStopping(patience=3, monitor="dev_mae", **options)
    told = Told(dev_mae=figures, dev_loss=LOSSES)
    history = fit(net, y, metrics, 6, [told, stopping])
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, stopped)
    assert stopping.best == figures[best - 1]
    np.testing.assert_array_equal(net.parameters, told.weights[best - 1])
    if stopped is not None and stopped < 6:
        assert history.reason == f"no better dev_mae since epoch {stopped - 3}"


def test_members_stop_each_by_its_own_metric():
    net, y, metrics = make("values", members=2)
    stopping = xn.EarlyStopping(2, "dev_mae", mode="max", ties="loss")
    figures = [[1, 1], [2, 0], [2, 1], [2, 3], [2, 3], [1, 3]]
    losses = [[9, 1], [9, 1], [8, 0], [1, 1], [9, 1], [9, 0]]
    fit(net, y, metrics, 6, [Told(dev_mae=figures, dev_loss=losses), stopping])
    assert stopping.best_epoch == [4, 3]
    assert stopping.stopped_epoch == [4, 3]


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("ties", ["first", "last", "loss"])
@pytest.mark.parametrize("members", [None, 2])
def test_it_goes_on_exactly_from_a_checkpoint(tmp_path, cut, ties, members):
    def stopping():
        return xn.EarlyStopping(3, "dev_auc", mode="max", ties=ties)

    def run(epochs, **options):
        net, y, metrics = make("sigmoid", members=members)
        watch, by_name = stopping(), {"auc": metrics["auc"]}
        history = fit(net, y, by_name, epochs, [watch], checkpoint=tmp_path / "run", **options)
        return net, watch, history

    net, y, metrics = make("sigmoid", members=members)
    whole = stopping()
    expected = fit(net, y, {"auc": metrics["auc"]}, 6, [whole])
    run(cut)
    resumed, watch, history = run(6, resume=True)
    np.testing.assert_array_equal(resumed.parameters, net.parameters)
    assert (watch.best, watch.best_epoch) == (whole.best, whole.best_epoch)
    assert history["dev_auc"] == expected["dev_auc"]
    with pytest.raises(ValueError, match=r"metrics\.auc is \"f1\" here and \"roc_auc\" in the ch"):
        fit(make("sigmoid", members=members)[0], Y, {"auc": ("f1", None)}, 8, [stopping()],
            checkpoint=tmp_path / "run", resume=True)  # fmt: skip


def test_settings_that_are_usual_are_not_in_a_checkpoint():
    usual = xn.EarlyStopping().state()
    assert {*usual["settings"]} == {"patience", "monitor", "min_improvement", "restore_best"}
    assert "loss" not in usual
    other = xn.EarlyStopping(mode="max", ties="loss").state()
    assert (other["settings"]["mode"], other["settings"]["ties"]) == ("max", "loss")


# -- what is refused ----


@pytest.mark.parametrize(
    ("metrics", "options", "error", "message"),
    [
        ("roc_auc", {}, TypeError, "metrics is 'roc_auc': give a dict"),
        ({3: "roc_auc"}, {}, TypeError, "metrics has the name 3"),
        ({"loss": "roc_auc"}, {}, ValueError, "'loss': dev_loss is measured anyway"),
        ({"auc": "roc_acu"}, {}, ValueError, "did you mean roc_auc"),
        ({"auc": 3}, {}, TypeError, "metric is 3"),
        ({"auc": "roc_auc"}, {"validation_data": None}, ValueError, "give that too"),
        ({"auc": "r2", "b": lambda y, p: "x"}, {}, ValueError, "'<lambda>' can't be measured"),
    ],
)
def test_metrics_that_are_none_are_refused_before_anything_is_trained(
    metrics, options, error, message
):
    net, y, _ = make("sigmoid")
    before = net.parameters.copy()
    options = {"validation_data": (X[60:], y[60:])} | options
    with pytest.raises(error, match=message):
        xn.Trainer(net).fit(X[:60], y[:60], metrics=metrics, epochs=1, **options)
    np.testing.assert_array_equal(net.parameters, before)


def test_probabilities_of_values_are_refused():
    net, y, _ = make("values")
    metric = xn.Metric(lambda y, p: 0.0, needs="probabilities")
    with pytest.raises(ValueError, match="needs probabilities, and the loss knows none"):
        fit(net, y, {"p": (metric, None)})


def test_a_metric_that_is_not_defined_is_nan_and_not_watched():
    net, _, metrics = make("sigmoid")
    dev = X[60:], np.ones(30)
    history = fit(net, Y, metrics, validation_data=dev)
    assert history.undefined == ("dev_auc",)
    assert np.isnan(history["dev_auc"]).all()
    with pytest.raises(ValueError, match="watches 'dev_auc', and all values"):
        fit(net, Y, metrics, validation_data=dev, callbacks=[xn.EarlyStopping(monitor="dev_auc")])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "up"}, "mode is 'up': give one of min, max"), ({"ties": 1}, "ties is 1: give one")],
)
def test_modes_and_ties_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        xn.EarlyStopping(**options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"function": 3}, TypeError),
        ({"function": max, "needs": "logits"}, ValueError),
        ({"function": max, "greater_is_better": "yes"}, TypeError),
    ],
)
def test_a_metric_that_is_none_is_refused(options, error):
    with pytest.raises(error):
        xn.Metric(**options)
