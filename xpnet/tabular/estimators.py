"""`TabularClassifier` and `TabularRegressor`: a raw table, by scikit-learn's interface."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_array, column_or_1d

from ..backends.arrays import to_host
from ..data.labels import class_array
from ..estimators.inputs import plain_labels
from ..estimators.labels import Classes
from .estimator_base import Tabular
from .target import Target

Array = np.ndarray[Any, Any]


class TabularClassifier(ClassifierMixin, Tabular):
    """Classes from a raw table: what ``xpnet train`` does, with scikit-learn's interface.

    Rows may hold numbers, text, dates and gaps; nothing has to be prepared. The recipe says how
    networks are made and trained, by what is known of the data: "auto" trains several, each on all
    folds but one, embeds numbers by their bins, keeps the best epoch of each, and calibrates their
    mean on what was held out.

    Parameters
    ----------
    recipe : {"auto", "realmlp", "tabm", "plain"}
        Says all that is not set by hand; ``print(model.plan_)`` shows what it said, and why.
    hidden : int, array-like of int, or None
        Units of each hidden layer. None, here and below: the recipe decides.
    members : int or None
        How many networks are trained at once, whose mean predicts.
    folds : int or None
        How many folds the rows are cut into, of which each member is trained on all but one.
    epochs : int or None
        How often to go through the rows, at most.
    batch_size : int, "auto" or None
        Rows in a mini-batch; "auto" measures which is fast.
    learning_rate : float or None
        The highest rate of the schedule.
    loss : str or None
        By name, with options as ``"softmax_cross_entropy:label_smoothing=0.1"``.
    settings : dict or None
        Other settings of ``xpnet train`` by name, as ``{"activation": "mish", "dropout": 0.1,
        "optimizer": "adamw:weight_decay=0.01", "patience": 10}``; ``{"folds": None}`` turns folds
        off.
    time_limit : float or None
        Seconds that the training may take: of fewer networks or epochs, if need be, and then the
        seed alone does not say what comes of it.
    columns : dict or None
        What some columns hold, where that is not what is found: ``{"zip": "category"}``; of dates
        also ``"date:%d/%m/%Y"``. An array's columns are called x0, x1, …
    drop : list of str
        Columns to leave out.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where to train. "auto": a GPU if there is one.
    dtype : {"float32", "float64"}
        The precision.
    random_state : int, RandomState or None
        The seed of the first member's weights, batches and dropout, and of the folds; member i has
        it plus i. The same int, the same networks.
    callbacks : list or None
        `xpnet.Callback` or functions of (trainer, row).
    verbose : int or bool
        Whether to print the plan, and the losses of each epoch.

    Attributes
    ----------
    classes_ : array
        The labels.
    model_ : Model
        Networks, and what is before and after them.
    plan_ : Plan
        What was done, and why: ``print(model.plan_)``.
    history_ : History
        Losses and errors by epochs.
    best_epoch_ : int, list of int, or None
        The epoch whose weights were kept, of members that of each.
    temperature_ : float or None
        What logits were divided by in calibration.
    time_reason_ : str
        What was shortened to keep within `time_limit`, if anything was.
    device_ : str
        Where the networks live.
    n_features_in_, feature_names_in_
        As in scikit-learn; columns that are left out count.

    Notes
    -----
    A table's columns are known by name: rows to predict may have them in another order, and others
    beside them. Predictions are NumPy's arrays, on the host. The members' spread is that of a deep
    ensemble: Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty
    estimation using deep ensembles", NeurIPS 2017. Of columns of 0 and 1 as labels each needs a
    classifier of its own, as `sklearn.multioutput.MultiOutputClassifier` makes them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TabularClassifier(members=2, folds=2, epochs=8, random_state=0, device="cpu")
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    >>> model.predict_proba(X[:2]).shape, model.n_features_in_
    ((2, 3), 4)
    >>> print(str(model.plan_).partition("input_scale")[0])
    recipe 'auto'
    members           2       set by hand
    folds             2       set by hand
    epochs            8       set by hand
    scaling           median  quartiles: far values have no part in the scale
    clip              3.0     a smooth clip, x/√(1 + (x/3)²): nor do they reach far
    """

    classes_: Array

    def _learn_labels(self, y: Any) -> tuple[Array, str]:
        labels = plain_labels(y, of_classes=True)
        labels = _one_column(np.asarray(to_host(labels)))
        check_array(labels, dtype=None, ensure_2d=False, input_name="y")
        self.classes_, multilabel = Classes.learn(labels)
        if multilabel:
            raise ValueError(
                f"y has shape {labels.shape}: Multioutput target data is not supported; give one "
                "column of labels, or fit sklearn.multioutput.MultiOutputClassifier"
            )
        return labels, "binary" if len(self.classes_) <= 2 else "multiclass"

    def _adopt(self, target: Target) -> None:
        if target.classes is None:
            raise ValueError("it predicts values: TabularRegressor loads it")
        self.classes_ = class_array(target.classes)

    def predict(self, X: Any) -> Array:
        """Return the predicted labels, of the mean of members.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit, with or without further columns.

        Returns
        -------
        array, shape (n,)
            Of `classes_`.
        """
        features = self._features(X)
        found: Array = self.classes_[to_host(self.model_.network.predict(features))]
        return found

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, of members the mean of theirs.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit.

        Returns
        -------
        array, shape (n, n_classes)
            In the order of `classes_`.
        """
        features = self._features(X)
        p = to_host(self.model_.network.predict_proba(features))
        found: Array = Classes(self.classes_, False).probabilities(p)
        return found

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class; see `predict_proba`."""
        with np.errstate(divide="ignore"):
            found: Array = np.log(self.predict_proba(X))
        return found

    def predict_std(self, X: Any) -> Array:
        """Return how far the members lie apart: the standard deviation of their probabilities.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit.

        Returns
        -------
        array, shape (n, n_classes)
            In the order of `classes_`.

        Raises
        ------
        ValueError
            If this is one network.
        """
        found: Array = Classes(self.classes_, False).spread(self._spread(X))
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit.
        y : array-like, shape (n,)
            Their labels.
        sample_weight : array-like, shape (n,), or None
            How much each row counts.
        """
        predicted, weights = self.predict(X), to_host(sample_weight)
        labels = plain_labels(y, of_classes=True)
        Classes(self.classes_, False).require_kind(labels)
        return float(accuracy_score(labels, predicted, sample_weight=weights))


class TabularRegressor(RegressorMixin, Tabular):
    """Values from a raw table: what ``xpnet train`` does, with scikit-learn's interface.

    As `TabularClassifier`, which says what the parameters and the other attributes are. "auto"
    trains several networks, each on all folds but one, and keeps the best epoch of each; values
    are standardised for the training, and predictions clamped to the range of the labels.

    Parameters
    ----------
    recipe, hidden, members, folds, epochs, batch_size, learning_rate
        See `TabularClassifier`.
    loss : str or None
        By name, with options: "mean_squared_error", "huber:delta=1", "quantile:q=0.9",
        "poisson_deviance".
    settings, time_limit, columns, drop, device, dtype, random_state, callbacks, verbose
        See `TabularClassifier`.

    Attributes
    ----------
    n_outputs_ : int
        How many values are predicted of a row.

    Examples
    --------
    Numbers with gaps, dates and words, as they come:

    >>> rows = [{"day": f"2024-{1 + i % 12:02d}-15", "shop": "NSEW"[i % 4],
    ...          "staff": None if i % 9 == 0 else i % 7} for i in range(120)]
    >>> sales = [10.0 + i % 12 + 3 * (i % 4) for i in range(120)]
    >>> model = TabularRegressor(members=2, folds=2, random_state=0, device="cpu")
    >>> model.fit(rows, sales).score(rows, sales) > 0.8
    True
    >>> model.predict(rows[:3]).shape, [*model.feature_names_in_]
    ((3,), ['day', 'shop', 'staff'])
    >>> bool((model.predict_std(rows[:3]) >= 0).all())
    True
    """

    n_outputs_: int

    def _learn_labels(self, y: Any) -> tuple[Array, str]:
        labels = _one_column(np.asarray(to_host(plain_labels(y, of_classes=False))))
        if labels.dtype.kind in "UT":
            raise ValueError(f"y holds text, as {labels.flat[0]!r:.50}: give numbers")
        if labels.dtype.kind in "mM":
            kind = "dates" if labels.dtype.kind == "M" else "durations"
            raise ValueError(f"y holds {kind} (dtype {labels.dtype}): give numbers, as of days")
        kept = None if labels.dtype.kind in "biuf" else np.float64
        labels = check_array(labels, dtype=kept, ensure_2d=False, input_name="y")
        self.n_outputs_ = 1 if labels.ndim == 1 else labels.shape[1]
        return labels, "regression"

    def _adopt(self, target: Target) -> None:
        if target.classes is not None:
            raise ValueError("it predicts classes: TabularClassifier loads it")
        self.n_outputs_ = target.n_outputs

    def predict(self, X: Any) -> Array:
        """Return the predicted values, of members their mean.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit, with or without further columns.

        Returns
        -------
        array of float64, shape (n,) or (n, n_outputs_)
            In the units of the labels.
        """
        features = self._features(X)
        return self.model_.target.decode(to_host(self.model_.network.predict(features)))

    def predict_std(self, X: Any) -> Array:
        """Return how far the members lie apart: the standard deviation of their values.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit.

        Returns
        -------
        array, shape (n,) or (n, n_outputs_)
            In the units of the labels.

        Raises
        ------
        ValueError
            If this is one network.
        """
        spread = self._spread(X)
        scale: Array = self.model_.target.scales.scale.reshape(spread.shape[1:])
        return spread * scale

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², of several outputs the mean of theirs.

        Parameters
        ----------
        X : data frame, table, array or list, n rows
            As those of the fit.
        y : array-like, shape (n,) or (n, n_outputs_)
            Their values.
        sample_weight : array-like, shape (n,), or None
            How much each row counts.
        """
        predicted, weights = self.predict(X), to_host(sample_weight)
        values = plain_labels(y, of_classes=False)
        return float(r2_score(values, predicted, sample_weight=weights))


def _one_column(labels: Array) -> Array:
    """Return labels of a single column as an array (n,), with scikit-learn's warning."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return np.asarray(column_or_1d(labels, warn=True))
    return labels
