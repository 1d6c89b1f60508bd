"""What a search goes by: the objective, measured for each member of a network."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._typing import ArrayLike, HostArray
from ..backends.arrays import to_host
from ..data.batches import take_rows
from ..nn.loss import Loss
from ..nn.metrics import accuracy
from ..nn.network import Network

#: The objectives that every row of a history has already, by name: the column.
COLUMNS = {"error": "dev_error", "loss": "dev_loss"}

#: How sure of each label the predictions are for which a metric has to be defined.
SURE = 0.9

#: How far, of the way to their mean, values are off that are nearly right.
NEARLY = 1e-4


class Predictions:
    """What a network has said of a labelled set, as scikit-learn's scorers ask an estimator.

    Parameters
    ----------
    decided : array, shape (n,) or (n, q)
        Labels, or values.
    classes : array or None
        The labels of the classes; of several columns of 0 and 1 such rows. None: they are values.
    """

    def __init__(self, decided: HostArray, classes: HostArray | None) -> None:
        self.decided = decided
        if classes is not None:
            self.classes_ = classes

    def predict(self, X: object) -> HostArray:
        """Return the labels or values."""
        return self.decided

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

        required = TargetTags(required=True)
        if hasattr(self, "classes_"):
            return Tags("classifier", required, classifier_tags=ClassifierTags())
        return Tags("regressor", required, regressor_tags=RegressorTags())


class Probabilities(Predictions):
    """What a network that knows the probabilities of the classes has said."""

    def __init__(
        self, decided: HostArray, classes: HostArray | None, probabilities: HostArray
    ) -> None:
        super().__init__(decided, classes)
        self._probabilities = probabilities

    def predict_proba(self, X: object) -> HostArray:
        """Return the probability of each class, shape (n, m)."""
        return self._probabilities


#: The rows that each is measured on.
Rows = Sequence[HostArray]

#: From labels, and what has been said of them, to a figure.
Score = Callable[[HostArray, Predictions], float]


@dataclass(frozen=True, eq=False)
class Measure:
    """What a search goes by; `as_metric` makes one.

    Attributes
    ----------
    name : str
        What it is called.
    minimize : bool
        Whether less of it is better.
    column : str or None
        The column of the history that holds it; None: it has to be measured.
    """

    name: str
    minimize: bool
    column: str | None = None

    def measure(
        self, network: Network, X: ArrayLike, y: ArrayLike, rows: Rows | None = None
    ) -> list[float]:
        """Return the figure of each member of a network on a labelled set, one of one network.

        Parameters
        ----------
        network : Network
            One, or with members.
        X, y : array-like
            Features and labels, as for `Network.evaluate`, or as `Network.prepare` returned them.
        rows : sequence of array of int, or None
            The rows that each member is measured on; None: all.

        Returns
        -------
        list of float
            NaN where it is not defined, as for predictions that are not finite.

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        raise NotImplementedError

    def require_defined(self, loss: Loss, y: ArrayLike, rows: Rows | None = None) -> None:
        """Raise a ValueError if it can't be measured on labels, however good the predictions are.

        Parameters
        ----------
        loss : Loss
            That of the networks.
        y : array-like
            Labels, as for `Network.evaluate`.
        rows : sequence of array of int, or None
            The rows that each is measured on; None: all.
        """
        labels = _labels(loss, y)
        for own in [np.arange(len(labels))] if rows is None else rows:
            try:
                value = self._of_good_predictions(loss, labels, own)
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f"metric {self.name!r} can't be measured: {error}") from error
            if not math.isfinite(value):
                raise ValueError(
                    f"metric {self.name!r} is not defined for the {len(own)} labels that are held "
                    "out: hold more out, or give another metric"
                )

    def _of_good_predictions(self, loss: Loss, labels: HostArray, own: HostArray) -> float:
        """Return the figure of predictions for some rows that are good, yet not perfect."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ColumnMeasure(Measure):
    """One that every row of a history has: error or loss."""

    column: str = ""

    def measure(
        self, network: Network, X: ArrayLike, y: ArrayLike, rows: Rows | None = None
    ) -> list[float]:
        """Return the figure of each member; see `Measure.measure`."""
        name = self.column.removeprefix("dev_")
        with network.backend.active():
            x, labels = network.prepare(X, y)
            if rows is None:
                value = network.predictor.evaluate(x, labels)[name]
                return [*value] if isinstance(value, list) else [value]
            return [
                one.predictor.evaluate(take_rows(x, own), take_rows(labels, own))[name]
                for one, own in zip(_each(network), rows, strict=True)
            ]

    def _of_good_predictions(self, loss: Loss, labels: HostArray, own: HostArray) -> float:
        some = labels[own]
        explained = self.column == "dev_error" and not loss.of_classes
        return math.nan if explained and bool((some == some[:1]).all()) else 0.0


@dataclass(frozen=True, eq=False)
class ScoredMeasure(Measure):
    """One that is computed of predictions.

    Attributes
    ----------
    score : function of (labels, Predictions)
        What computes it.
    classes : array or None
        The labels of the classes, by number; None: they are these numbers.
    """

    score: Score = field(kw_only=True)
    classes: HostArray | None = None

    def measure(
        self, network: Network, X: ArrayLike, y: ArrayLike, rows: Rows | None = None
    ) -> list[float]:
        """Return the figure of each member; see `Measure.measure`."""
        loss, labels = network.loss, _labels(network.loss, y)
        if rows is None:
            return [self._figure(loss, labels, *said) for said in _said(network, X)]
        with network.backend.active():
            x, _ = network.prepare(X, y)
        return [
            self._figure(loss, labels[own], *_said(one, take_rows(x, own))[0])
            for one, own in zip(_each(network), rows, strict=True)
        ]

    def _figure(
        self, loss: Loss, labels: HostArray, decided: HostArray, p: HostArray | None
    ) -> float:
        """Return the figure of predictions, NaN where it is not defined."""
        if not (np.isfinite(decided).all() and (p is None or np.isfinite(p).all())):
            return math.nan
        try:
            value = self._compute(loss, labels, decided, p)
        except ValueError:  # it does not take such predictions; `require_defined` saw to the labels
            return math.nan
        return value if math.isfinite(value) else math.nan

    def _compute(
        self, loss: Loss, labels: HostArray, decided: HostArray, p: HostArray | None
    ) -> float:
        classes = None
        if loss.of_classes:
            decided = decided.astype(np.int64)
            if labels.ndim == 2:
                classes = np.eye(labels.shape[1], dtype=np.int64)
            elif self.classes is None:
                classes = np.arange(_n_classes(labels) if p is None else p.shape[1])
            else:
                classes = self.classes
                labels, decided = classes[labels], classes[decided]
        said = Predictions(decided, classes) if p is None else Probabilities(decided, classes, p)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not defined, which NaN says
            return float(self.score(labels, said))

    def _of_good_predictions(self, loss: Loss, labels: HostArray, own: HostArray) -> float:
        some, p = labels[own], None
        if not loss.of_classes:
            return self._of_good_values(loss, some)
        if loss.has_probabilities:
            n = _n_classes(labels) if self.classes is None else len(self.classes)
            right = some == 1 if some.ndim == 2 else some[:, None] == np.arange(n)
            p = np.where(right, SURE, (1 - SURE) / (1 if some.ndim == 2 else max(1, n - 1)))
        return self._compute(loss, some, some, p)

    def _of_good_values(self, loss: Loss, values: HostArray) -> float:
        """Return the figure of values halfway from their mean to the right ones.

        Raises
        ------
        ValueError
            If those that are nearly right have the same: it counts which ones are equal.
        """
        mean = values.mean(axis=0)
        good, better = (
            self._compute(loss, values, mean + share * (values - mean), None)
            for share in (0.5, 1 - NEARLY)
        )
        if good == better and not (values == values[:1]).all():
            raise ValueError(
                "it is no better for better predictions of values, as what is for classes: give "
                "one for a regression, as 'r2' or 'neg_mean_absolute_error'"
            )
        return good


def as_metric(given: Any, classes: Any = None) -> Measure:
    """Return what a search goes by.

    Parameters
    ----------
    given : str, function or Measure
        "error": the share of wrong classes, or of a regression 1 − R²; "loss": the mean loss; a
        name of one of scikit-learn's scorers, as "roc_auc", "f1_macro" or "neg_log_loss"; a scorer,
        a function of (estimator, X, y) as ``sklearn.metrics.make_scorer`` returns it, of which more
        is better; a function of (y, predictions), of which less is better, unless its name ends in
        "_score" or is "accuracy", or an attribute ``greater_is_better`` says otherwise.
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
    if not callable(given):
        raise TypeError(
            f"metric is {given!r}: give 'error', 'loss', the name of one of scikit-learn's "
            "scorers, or a function of (y, predictions)"
        )
    if _takes_estimator(given):
        name = _name(getattr(given, "_score_func", given))
        return ScoredMeasure(name, False, score=_of_scorer(given), classes=labels)
    name = _name(given)
    greater = getattr(given, "greater_is_better", name.endswith("_score") or name == "accuracy")
    return ScoredMeasure(name, not greater, score=_of_function(given), classes=labels)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


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


def _of_function(function: Any) -> Score:
    return lambda y, said: function(y, said.decided)


def _takes_estimator(function: Any) -> bool:
    """Return whether a function is a scorer of (estimator, X, y)."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins, which have none
        return False
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(p.kind in positional and p.default is p.empty for p in given) == 3


def _labels(loss: Loss, y: ArrayLike) -> HostArray:
    """Return labels on the host: numbers of classes, or values; one column as (n,)."""
    labels = np.asarray(to_host(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return labels.astype(np.int64) if loss.of_classes else labels


def _n_classes(labels: HostArray) -> int:
    """Return how many classes there are, by their numbers: at least two."""
    return max(2, 1 + int(labels.max(initial=0)))


def _each(network: Network) -> list[Network]:
    """Return copies of the members, or the one network that there is."""
    k = network.members
    return [network] if k is None else [network.member(i) for i in range(k)]


def _said(network: Network, X: ArrayLike) -> list[tuple[HostArray, HostArray | None]]:
    """Return what each member says: its decisions, and its probabilities (n, m) if it has any."""
    loss, several = network.loss, network.members is not None
    known = loss.has_probabilities
    with network.backend.active():
        said = (network.predict_proba if known else network.predict)(X, members=several)
    found = to_host(said)
    if several and network.passes.members is not None:  # those that share weights
        found = found.mean(axis=1)
    each = [*found] if several else [found]
    return [(to_host(loss.choose(np, p)), _of_classes(p)) if known else (p, None) for p in each]


def _of_classes(p: Any) -> HostArray:
    """Return the probability of each class, also where only that of the second one is given."""
    return p if p.ndim == 2 else np.stack([1 - p, p], axis=-1)
