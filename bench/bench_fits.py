"""Whole fits of the estimators against scikit-learn's: the same data, the same parameters.

Each makes 20 epochs, with all that belongs to a fit. How well they predict is the tests' affair.
"""

import warnings
from typing import Any

import numpy as np
import pytest
from harness import Pace, each_device, each_dtype, note, open_backend, race
from sklearn import __version__, datasets
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

import xpnet as xn

EPOCHS = 20

#: Scikit-learn's data sets, with the parameters that are not the defaults.
FITS: dict[str, dict[str, Any]] = {
    "digits": {},
    "digits, two layers": {"hidden_layer_sizes": (256, 128)},
    "breast_cancer": {},
    "diabetes": {},
}
BATCHES = (32, 200)


class Fit:
    """Makes fits of one kind of estimator."""

    def __init__(self, kind: Any, X: Any, y: Any, device: str | None, **params: Any) -> None:
        where = {} if device is None else {"device": device}
        params |= {"max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "random_state": 0}
        self.model, self.X, self.y = kind(**params, **where), X, y

    def step(self) -> Any:  # noqa: D102
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged by then, of course
            return self.model.fit(self.X, self.y)

    def synchronize(self) -> None:
        """Do nothing: the loss is on the host when a fit returns."""


@each_device
@each_dtype
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", FITS)
def test_fit(benchmark: Any, pace: Pace, name: str, batch: int, dtype: str, device: str) -> None:
    """Race fits."""
    backend = open_backend(device)
    X, y = getattr(datasets, f"load_{name.partition(',')[0]}")(return_X_y=True)
    values = y.dtype.kind == "f"
    X, y = scale(X).astype(dtype), scale(y).astype(dtype) if values else y
    mine, other = (xn.MLPRegressor, MLPRegressor) if values else (xn.MLPClassifier, MLPClassifier)
    params = FITS[name] | {"batch_size": batch}
    samples = EPOCHS * len(X)
    note(benchmark, backend, "fits", net=name, batch=batch, dtype=dtype, samples=samples)
    theirs = {"scikit-learn": Fit(other, X, y, None, **params)}
    race(benchmark, pace, Fit(mine, X, y, device, **params), theirs)
    for found in benchmark.extra_info.get("rivals", {}).values():
        found["version"] = __version__
    assert np.isfinite(Fit(mine, X, y, device, **params).step().loss_)
