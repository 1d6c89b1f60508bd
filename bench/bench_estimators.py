"""Predictions of the estimators against scikit-learn's: the same data, the same parameters.

Both networks have 128 and 64 hidden units and hardly any training, which has no part in the time.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import Pace, each_device, each_dtype, note, open_backend, race
from sklearn import __version__, datasets
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

import xpnet as xn

#: Scikit-learn's data sets, and what is asked of both estimators.
ASKED = {"digits": "predict_proba", "diabetes": "predict"}
BATCHES = (1, 10, 100, 1000)
PARAMS: dict[str, Any] = {"hidden_layer_sizes": (128, 64), "max_iter": 3, "random_state": 0}


class Prediction:
    """Makes predictions of one estimator."""

    def __init__(self, predict: Callable[[Any], Any], X: Any) -> None:
        self.predict, self.X = predict, X

    def step(self) -> Any:  # noqa: D102
        return self.predict(self.X)

    def synchronize(self) -> None:
        """Do nothing: predictions are on the host when they return."""


def fitted(kind: Any, X: Any, y: Any, **more: Any) -> Any:
    """Return a fitted estimator of a kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged by then, of course
        return kind(**PARAMS, **more).fit(X, y)


@each_device
@each_dtype
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", ASKED)
def test_predict(
    benchmark: Any, pace: Pace, name: str, batch: int, dtype: str, device: str
) -> None:
    """Race predictions of so many rows."""
    backend = open_backend(device)
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, values = scale(X).astype(dtype), y.dtype.kind == "f"
    mine, other = (xn.MLPRegressor, MLPRegressor) if values else (xn.MLPClassifier, MLPClassifier)
    rows = np.ascontiguousarray(X[np.resize(np.arange(len(X)), batch)])
    ask = ASKED[name]
    ours = Prediction(getattr(fitted(mine, X, y, device=device), ask), rows)
    theirs = Prediction(getattr(fitted(other, X, y), ask), rows)
    note(benchmark, backend, "estimators", net=name, batch=batch, dtype=dtype, samples=batch)
    race(benchmark, pace, ours, {"scikit-learn": theirs})
    for found in benchmark.extra_info.get("rivals", {}).values():
        found["version"] = __version__
    assert ours.step().shape == theirs.step().shape
