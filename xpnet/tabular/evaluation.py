"""Figures of a model on labelled rows, by scikit-learn's metrics on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn.metrics import error_rate, unexplained_variance
from .dataset import some_rows
from .model import Model


def measure(model: Model, rows: Any, labels: Any) -> dict[str, Any]:
    """Return what there is to say of a model's predictions.

    Parameters
    ----------
    model : Model
        The model.
    rows : array or data frame, n rows
        Raw rows.
    labels : array, shape (n,) or (n, k)
        What is right.

    Returns
    -------
    dict
        For classes: "error", "classes", "confusion_matrix" (a row for each true class) and
        "per_class" (precision, recall, F1 score, support). For a regression:
        "unexplained_variance" (1 − R²) and "r2", which are None where all labels are the same,
        "root_mean_squared_error" and "mean_absolute_error", infinite where float64 does not hold
        them. Of a model with members these are of their mean, and "members" holds a dict with
        "error" or "unexplained_variance" of each. Where the target clamps predictions all are of
        clamped ones.

    Raises
    ------
    TypeError, ValueError
        If rows or labels are not of the kind that the model was trained on.
    """
    right, network, own = model.target.encode(labels), model.network, []
    parts, predicted = model.prepare_all(some_rows(rows)), []
    for part in parts:
        predicted.append(np.asarray(network.predict(part)))
        if network.members is not None:
            own.append(np.asarray(network.predict(part, members=True)))
    measured = _measure(model, right, np.concatenate(predicted))
    if own:
        name = "unexplained_variance" if model.target.classes is None else "error"
        each = [_measure(model, right, said)[name] for said in np.concatenate(own, axis=1)]
        measured["members"] = {name: each}
    return measured


def _measure(model: Model, right: Any, predicted: Any) -> dict[str, Any]:
    if model.target.classes is None:
        predicted = model.target.clamp_values(predicted)
        return _regression(right, predicted, model.target.scales.scale)
    return _classification(right, predicted, model.target.classes)


def _regression(right: Any, predicted: Any, scale: Any) -> dict[str, Any]:
    """Return the figures of standardised values: of their differences, means have no part in it."""
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    # In units of the largest scale, or of the largest value: squares of 1e200 are no numbers.
    values = [y.astype(np.float64) * (scale / scale.max()) for y in (right, predicted)]
    largest = max(1.0, *(abs(y).max() for y in values))
    right, predicted = (y / largest for y in values)
    varied = bool((right != right[0]).any())
    # A figure that no float64 holds is infinite, and said to be so.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        unexplained = unexplained_variance(right, predicted) if varied else None
        errors = (f(right, predicted) for f in (root_mean_squared_error, mean_absolute_error))
        squared, absolute = (float(error * scale.max() * largest) for error in errors)
    return {
        "unexplained_variance": unexplained,
        "r2": None if unexplained is None else 1.0 - unexplained,
        "root_mean_squared_error": squared,
        "mean_absolute_error": absolute,
    }


def _classification(right: Any, predicted: Any, classes: list[Any]) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    codes = range(len(classes))
    figures = precision_recall_fscore_support(right, predicted, labels=codes, zero_division=0.0)
    names = ("precision", "recall", "f1-score", "support")
    return {
        "error": error_rate(right, predicted),
        "classes": classes,
        "confusion_matrix": confusion_matrix(right, predicted, labels=codes).tolist(),
        "per_class": {
            str(label): {n: float(f[i]) for n, f in zip(names, figures, strict=True)}
            for i, label in enumerate(classes)
        },
    }
