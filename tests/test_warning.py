"""Warnings name the line that called the library."""

import warnings

import numpy as np
import pytest

import xpnet as xn
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment

X, Y = np.array([[2**53, 1], [2**53 + 1, 2], [2**53 + 2, 3], [5, 4]] * 10), np.arange(40) % 2


def network():
    loss = "softmax_cross_entropy"
    return xn.Network([xn.Linear(2)], loss=loss, n_features=2, device="cpu")


def files(act):
    """Return the files that the warnings of a call name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return {warning.filename for warning in caught}


@pytest.mark.parametrize(
    "act",
    [
        lambda: xn.Trainer(network()).fit(X, Y, batch_size=8, epochs=1),
        lambda: xn.Trainer(network()).fit(X / 2.0**53, Y, batch_size=99, epochs=1),
        lambda: network().evaluate(X, Y),
        lambda: xn.choose_l2(network(), (X, Y), (X, Y), l2=[0.0], epochs=1),
        lambda: xn.MLPClassifier(max_iter=1).fit(X, Y),
        lambda: xn.MLPClassifier(max_iter=1).partial_fit(X, Y, classes=[0, 1]),
        lambda: xn.MLPClassifier(max_iter=1, solver="lbfgs").fit(X, Y),
        lambda: xn.MLPClassifier(max_iter=1, batch_size=99).fit(X / 2.0**53, Y),
    ],
    ids=["fit", "batch", "evaluate", "choose_l2", "estimator", "partial_fit", "lbfgs", "clipped"],
)
def test_arrays(act):
    assert files(act) == {__file__}


def test_tables(pa):
    rows = pa.table({"c": [*"uv"] * 20, "x": np.sin(np.arange(40)), "y": Y})
    made: list[Experiment] = []
    settings = Settings(hidden=(2,), epochs=1)
    prepare = lambda: made.append(Experiment.prepare(Dataset("d", rows, Y), settings, "cpu"))  # noqa: E731
    assert files(prepare) == {__file__}  # y is among the features
    model, others = made[0].model, rows.set_column(0, "c", pa.array(["z"] * 40))
    assert files(lambda: model.predict(others)) == {__file__}
    assert files(lambda: model.predict_proba(others)) == {__file__}
    assert files(lambda: [*model.answers([others])]) == {__file__}
