"""Figures of predictions: what a search or early stopping goes by, of each member of a network."""

from __future__ import annotations

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
from ..nn.member_views import MemberViews
from ..nn.network import Network
from ..nn.prediction import Predictor

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
    """What a network that knows the probabilities of the classes has said.

    Attributes
    ----------
    p : array
        The probabilities as `Network.predict_proba` gives them.
    """

    def __init__(self, decided: HostArray, classes: HostArray | None, p: HostArray) -> None:
        super().__init__(decided, classes)
        self.p = p

    def predict_proba(self, X: object) -> HostArray:
        """Return the probability of each class, shape (n, m)."""
        return _of_classes(self.p)


#: The rows that each is measured on.
Rows = Sequence[HostArray]

#: From labels, and what has been said of them, to a figure.
Score = Callable[[HostArray, Predictions], float]


@dataclass(frozen=True, eq=False)
class Measure:
    """A figure that networks are measured by; `as_metric` makes one.

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
        self,
        network: Network,
        X: ArrayLike,
        y: ArrayLike,
        rows: Rows | None = None,
        views: MemberViews | None = None,
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
        views : MemberViews or None
            The members one by one, if they are there; None: for rows of their own they are copied.

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
            if not self._tried(loss, labels, own, judges=True):
                raise ValueError(
                    f"metric {self.name!r} is not defined for the {len(own)} labels that are held "
                    "out: hold more out, or give another metric"
                )

    def is_defined(self, loss: Loss, y: ArrayLike, rows: Rows | None = None) -> bool:
        """Return whether it is a number on labels; it need not tell good predictions from others.

        Raises
        ------
        ValueError
            If it does not take such labels, or their predictions.
        """
        labels = _labels(loss, y)
        every = [np.arange(len(labels))] if rows is None else rows
        return all(self._tried(loss, labels, own, judges=False) for own in every)

    def _tried(self, loss: Loss, labels: HostArray, own: HostArray, judges: bool) -> bool:
        """Return whether it is a number for good predictions, or raise a ValueError."""
        try:
            return math.isfinite(self._of_good_predictions(loss, labels, own, judges))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"metric {self.name!r} can't be measured: {error}") from error

    def _of_good_predictions(
        self, loss: Loss, labels: HostArray, own: HostArray, judges: bool
    ) -> float:
        """Return the figure of predictions for some rows that are good, yet not perfect.

        If it ``judges`` predictions, it has to tell those from better ones.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ColumnMeasure(Measure):
    """One that every row of a history has: error or loss."""

    column: str = ""

    def measure(
        self,
        network: Network,
        X: ArrayLike,
        y: ArrayLike,
        rows: Rows | None = None,
        views: MemberViews | None = None,
    ) -> list[float]:
        """Return the figure of each member; see `Measure.measure`."""
        name = self.column.removeprefix("dev_")
        with network.backend.active():
            x, labels = network.prepare(X, y)
            if rows is None:
                value = network.predictor.evaluate(x, labels)[name]
                return [*value] if isinstance(value, list) else [value]
            return [
                one.evaluate(take_rows(x, own), take_rows(labels, own))[name]
                for one, own in zip(_each(network, views, rows), rows, strict=True)
            ]

    def _of_good_predictions(
        self, loss: Loss, labels: HostArray, own: HostArray, judges: bool
    ) -> float:
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
        self,
        network: Network,
        X: ArrayLike,
        y: ArrayLike,
        rows: Rows | None = None,
        views: MemberViews | None = None,
    ) -> list[float]:
        """Return the figure of each member; see `Measure.measure`."""
        loss, labels = network.loss, _labels(network.loss, y)
        with network.backend.active():
            if rows is None:
                return [self._figure(loss, labels, *said) for said in _said(network, X)]
            x, _ = network.prepare(X, y)
            each = zip(_each(network, views, rows), rows, strict=True)
            said = [_said_by(one, loss, take_rows(x, own)) for one, own in each]
        found = zip(said, rows, strict=True)
        return [self._figure(loss, labels[own], *each) for each, own in found]

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
                classes = np.arange(_n_classes(labels) if p is None else _of_classes(p).shape[1])
            else:
                classes = self.classes
                labels, decided = classes[labels], classes[decided]
        said = Predictions(decided, classes) if p is None else Probabilities(decided, classes, p)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not defined, which NaN says
            return float(self.score(labels, said))

    def _of_good_predictions(
        self, loss: Loss, labels: HostArray, own: HostArray, judges: bool
    ) -> float:
        some, p = labels[own], None
        if not loss.of_classes:
            return self._of_good_values(loss, some, judges)
        if loss.has_probabilities:
            n = _n_classes(labels) if self.classes is None else len(self.classes)
            right = some == 1 if some.ndim == 2 else some[:, None] == np.arange(n)
            p = np.where(right, SURE, (1 - SURE) / (1 if some.ndim == 2 else max(1, n - 1)))
            if some.ndim == 1 and len(loss.target_shape(1, 1)) == 2:  # as of one output
                p = p[:, 1]
        return self._compute(loss, some, some, p)

    def _of_good_values(self, loss: Loss, values: HostArray, judges: bool) -> float:
        """Return the figure of values halfway from their mean to the right ones.

        Raises
        ------
        ValueError
            If those that are nearly right have the same, and it is to judge them: it counts which
            ones are equal.
        """
        mean = values.mean(axis=0)
        good, better = (
            self._compute(loss, values, mean + share * (values - mean), None)
            for share in (0.5, 1 - NEARLY)
        )
        if judges and good == better and not (values == values[:1]).all():
            raise ValueError(
                "it is no better for better predictions of values, as what is for classes: give "
                "one for a regression, as 'r2' or 'neg_mean_absolute_error'"
            )
        return good


def _labels(loss: Loss, y: ArrayLike) -> HostArray:
    """Return labels on the host: numbers of classes, or values; one column as (n,)."""
    labels = np.asarray(to_host(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return labels.astype(np.int64) if loss.of_classes else labels


def _n_classes(labels: HostArray) -> int:
    """Return how many classes there are, by their numbers: at least two."""
    return max(2, 1 + int(labels.max(initial=0)))


def _each(network: Network, views: MemberViews | None, rows: Rows) -> list[Predictor]:
    """Return what predicts for each member, or for the one network that there is."""
    if network.members is None:
        return [network.predictor]
    if views is not None:
        return views.predictors(max(map(len, rows)))
    return [network.member(i).predictor for i in range(network.members)]


#: Decisions, and what `Network.predict_proba` gives, if there are probabilities.
Said = tuple[HostArray, HostArray | None]


def _said(network: Network, X: ArrayLike) -> list[Said]:
    """Return what each member says."""
    loss, several = network.loss, network.members is not None
    if not several:
        return [_said_by(network.predictor, loss, X)]
    predictor, known = network.predictor, loss.has_probabilities
    found = to_host((predictor.probabilities if known else predictor.decide)(X, True))
    if network.passes.members is not None:  # those that share weights
        found = found.mean(axis=1)
    return [_decided(loss, p) for p in found]


def _said_by(predictor: Predictor, loss: Loss, X: ArrayLike) -> Said:
    """Return what one network says, or the mean of members that share weights."""
    known = loss.has_probabilities
    return _decided(loss, to_host((predictor.probabilities if known else predictor.decide)(X)))


def _decided(loss: Loss, said: HostArray) -> Said:
    if not loss.has_probabilities:
        return said, None
    return to_host(loss.choose(np, said)), said


def _of_classes(p: Any) -> HostArray:
    """Return the probability of each class, also where only that of the second one is given."""
    return p if p.ndim == 2 else np.stack([1 - p, p], axis=-1)
