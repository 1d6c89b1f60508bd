"""What users call a metric: names, scikit-learn's scorers and functions, as `Measure`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import HostArray
from ..checks import check_flag
from ..nn.metrics import accuracy
from .measures import (
    COLUMNS,
    ColumnMeasure,
    Measure,
    Predictions,
    Probabilities,
    Score,
    ScoredMeasure,
)


@dataclass(frozen=True)
class Metric:
    """A function as a metric, for `Trainer.fit` and `tune`, that says what it needs.

    A function of (y, predictions), the name of one of scikit-learn's scorers and a scorer are
    metrics as they are; this is for functions of probabilities, or with another direction than
    their names tell.

    Parameters
    ----------
    function : function of (y, predicted)
        Returns a number; y are the labels as they were given, (n,) or (n, q).
    needs : {"predictions", "probabilities"}
        What it gets: what `Network.predict` returns, or `Network.predict_proba`.
    greater_is_better : bool or None
        Which way is better, for a search. None: as for the function alone: less, unless its name
        ends in "_score" or is "accuracy", or it has an attribute of this name.

    Raises
    ------
    TypeError, ValueError
        If the function can't be called, or an option is not as it must be.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> brier = Metric(lambda y, p: np.mean((y - p) ** 2), needs="probabilities")
    >>> X = np.random.default_rng(0).normal(size=(80, 2)); y = (X[:, 0] > 0) * 1
    >>> net = xn.Network([xn.Linear(1)], loss="sigmoid_cross_entropy", n_features=2, device="cpu")
    >>> data = {"validation_data": (X[60:], y[60:]), "metrics": {"brier": brier, "auc": "roc_auc"}}
    >>> history = xn.Trainer(net, xn.Adam(0.1)).fit(X[:60], y[:60], batch_size=20, epochs=9, **data)
    >>> history["dev_brier"][-1] < history["dev_brier"][0], history["dev_auc"][-1] > 0.9
    (True, True)
    """

    function: Callable[[Any, Any], float]
    needs: str = "predictions"
    greater_is_better: bool | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function is {self.function!r}: give a function of (y, predicted)")
        if self.needs not in ("predictions", "probabilities"):
            raise ValueError(f"needs is {self.needs!r}: give 'predictions' or 'probabilities'")
        if self.greater_is_better is not None:
            check_flag(self.greater_is_better, "greater_is_better")


def as_metric(given: Any, classes: Any = None) -> Measure:
    """Return a figure that networks are measured by.

    Parameters
    ----------
    given : str, function or Measure
        "error": the share of wrong classes, or of a regression 1 − R²; "loss": the mean loss; a
        name of one of scikit-learn's scorers, as "roc_auc", "f1_macro" or "neg_log_loss"; a scorer,
        a function of (estimator, X, y) as ``sklearn.metrics.make_scorer`` returns it, of which more
        is better; a function of (y, predictions), of which less is better, unless its name ends in
        "_score" or is "accuracy", or an attribute ``greater_is_better`` says otherwise; a `Metric`.
    classes : array or None
        The labels of the classes, by number, in which scorers and functions get y and predictions;
        None: these numbers.

    Raises
    ------
    TypeError, ValueError
        If it is no metric, or scikit-learn has none of that name.

    Examples
    --------
    >>> as_metric("error").column, as_metric("roc_auc").minimize
    ('dev_error', False)
    """
    if isinstance(given, Measure):
        return given
    labels = None if classes is None else np.asarray(classes)
    if isinstance(given, str):
        if given in COLUMNS:
            return ColumnMeasure(given, True, COLUMNS[given])
        score = _of_function(accuracy) if given == "accuracy" else _of_scorer(_scorer(given))
        return ScoredMeasure(given, False, score=score, classes=labels)
    if isinstance(given, Metric):
        score = _of_function(given.function, given.needs == "probabilities")
        greater = given.greater_is_better
        greater = _is_greater(given.function) if greater is None else greater
        return ScoredMeasure(_name(given.function), not greater, score=score, classes=labels)
    if not callable(given):
        raise TypeError(
            f"metric is {given!r}: give 'error', 'loss', the name of one of scikit-learn's "
            "scorers, or a function of (y, predictions)"
        )
    if _takes_estimator(given):
        name = _name(getattr(given, "_score_func", given))
        return ScoredMeasure(name, False, score=_of_scorer(given), classes=labels)
    score, minimize = _of_function(given), not _is_greater(given)
    return ScoredMeasure(_name(given), minimize, score=score, classes=labels)


def as_metrics(given: Any) -> dict[str, Measure]:
    """Return what is measured after each epoch, by name: of ``Trainer.fit(metrics=…)``.

    Raises
    ------
    TypeError, ValueError
        If it is no dict, a name is none or taken, or a value is no metric.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"metrics is {given!r:.100}: give a dict, as {{'auc': 'roc_auc'}}")
    for name in given:
        if not isinstance(name, str) or not name:
            raise TypeError(f"metrics has the name {name!r:.100}: give text, as 'auc'")
        if name in COLUMNS:
            raise ValueError(f"metrics has the name {name!r}: dev_{name} is measured anyway")
    return {name: as_metric(metric) for name, metric in given.items()}


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _is_greater(function: Any) -> bool:
    """Return whether more of what a function returns is better."""
    name = _name(function)
    greater = getattr(function, "greater_is_better", name.endswith("_score") or name == "accuracy")
    return bool(greater)


def _scorer(name: str) -> Any:
    """Return scikit-learn's scorer of that name, or raise a ValueError."""
    from sklearn.metrics import get_scorer, get_scorer_names

    names = get_scorer_names()
    if name not in names:
        import difflib

        close = difflib.get_close_matches(name, [*COLUMNS, *names], 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"metric is {name!r}: give 'error', 'loss', or a name that "
            f"sklearn.metrics.get_scorer_names() has, as 'roc_auc' or 'r2'{hint}"
        )
    return get_scorer(name)


def _of_scorer(scorer: Any) -> Score:
    # There are as many examples as labels; what has been said of them is there already.
    return lambda y, said: scorer(said, np.zeros((len(y), 1)), y)


def _of_function(function: Any, probabilities: bool = False) -> Score:
    if not probabilities:
        return lambda y, said: function(y, said.decided)

    def score(y: HostArray, said: Predictions) -> float:
        if not isinstance(said, Probabilities):
            raise TypeError("it needs probabilities, and the loss knows none")
        return float(function(y, said.p))

    return score


def _takes_estimator(function: Any) -> bool:
    """Return whether a function is a scorer of (estimator, X, y)."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins, which have none
        return False
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(p.kind in positional and p.default is p.empty for p in given) == 3
