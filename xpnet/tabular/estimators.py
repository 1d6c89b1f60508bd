"""`TabularClassifier` and `TabularRegressor`: a raw table, by scikit-learn's interface."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from ..backends.arrays import to_host
from ..data.labels import class_array
from ..estimators.fitting import all_or_nothing
from ..estimators.inputs import plain_labels
from ..estimators.labels import Classes
from ..estimators.parameters import keep, seeds_of
from ..recipes.recipes import Asked, Plan
from ..train.history import History, mean_of
from . import estimator_files
from .columns.schema import Schema
from .estimator_rows import as_rows, known_rows, learn_columns
from .estimator_settings import OWN, settings_of
from .experiment import Experiment
from .frames import dataset_of
from .model import Model

Array = np.ndarray[Any, Any]

#: With fewer rows none can be held out.
FEWEST = 3


class Tabular(BaseEstimator):
    """What both estimators share."""

    n_features_in_: int
    model_: Model
    plan_: Plan | None
    history_: History
    _columns: list[str] | None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "recipe": [str],
        "hidden": ["array-like", Interval(Integral, 1, None, closed="left"), None],
        "members": [Interval(Integral, 1, None, closed="left"), None],
        "folds": [Interval(Integral, 2, None, closed="left"), None],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "loss": [str, None],
        "settings": [dict, None],
        "columns": [dict, None],
        "drop": ["array-like"],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64"})],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        recipe: str = "auto",
        *,
        hidden: Any = None,
        members: int | None = None,
        folds: int | None = None,
        epochs: int | None = None,
        batch_size: Any = None,
        learning_rate: float | None = None,
        loss: str | None = None,
        settings: dict[str, Any] | None = None,
        columns: dict[str, str] | None = None,
        drop: Any = (),
        device: str = "auto",
        dtype: str = "float32",
        random_state: Any = None,
        callbacks: Any = None,
        verbose: Any = 0,
    ) -> None:
        keep(self, locals())

    # -- what differs ----

    def _learn_labels(self, y: Any) -> tuple[Array, str]:
        """Learn what the labels are; return them as an array, and the task."""
        raise NotImplementedError

    def _adopt(self, target: Any) -> None:
        """Take what a model knows of the labels."""
        raise NotImplementedError

    # -- the fit ----

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn columns, preprocessing and networks from a table; no test set is held out of it.

        Parameters
        ----------
        X : data frame, table, array or list, shape (n, n_features)
            The rows: of pandas, Polars or Arrow, NumPy's or CuPy's arrays, lists of rows or of
            dicts. Numbers, text, dates, times, truth values and gaps are told apart as ``xpnet
            train`` does it; an index of pandas is left out.
        y : array-like, shape (n,) or (n, k)
            Class labels; values, of one or several outputs.
        X_val, y_val : as X and y, or None
            A development set of your own, for the best epoch and the calibration: no rows of X are
            held out then, for folds or else.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If data or a parameter is not as it must be, or there is nothing to learn: one class,
            values or columns that are all the same. The estimator stays as it was then.
        DivergedError
            If the loss turns infinite, of members that of each.
        KeyboardInterrupt
            At Ctrl-C: the estimator stays as it was.
        ImportError
            If rows are no array of finite numbers, and pyarrow is not installed.
        """
        self._validate_params()
        with all_or_nothing(self, first=True):
            self._fit(X, y, X_val, y_val)
        return self

    def _fit(self, X: Any, y: Any, X_val: Any, y_val: Any) -> None:
        if y is None:  # scikit-learn's own words, which its checks look for
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        rows = as_rows(X)
        learn_columns(self, rows)
        labels, task = self._learn_labels(y)
        check_consistent_length(rows, labels)
        if (n := len(labels)) < FEWEST:
            raise ValueError(f"X has too few rows (n_samples = {n}): give {FEWEST} or more")
        fixed = {"seed": seeds_of(self, None)[0], "dtype": self.dtype, "task": task}
        settings, given = settings_of({n: getattr(self, n) for n in OWN}, self.settings, **fixed)
        if X_val is not None and settings.folds is not None:
            raise ValueError("folds and X_val are given: what is held out is one of both")
        asked = Asked(self.recipe, given)
        kept = (None if X_val is None else as_rows(X_val, "X_val")), y_val
        data = dataset_of(rows, labels, *kept, kinds=self.columns, drop=[*self.drop])
        experiment = Experiment.prepare(data, settings, self.device, None, False, asked)
        experiment.release_rows()
        if self.verbose:
            print(experiment.plan)
        callbacks: list[Any] = [*(self.callbacks or ()), *([_tell] if self.verbose else [])]
        experiment.run(callbacks)
        self._take(experiment)

    def _take(self, experiment: Experiment) -> None:
        """Take what was trained."""
        self.model_, self.plan_ = experiment.model, experiment.plan
        self.history_ = experiment.trainer.history
        self.best_epoch_, self.temperature_ = experiment.best_epoch, experiment.temperature

    # -- prediction ----

    @property
    def device_(self) -> str:
        """Where the networks live."""
        return self.model_.network.backend.device

    def _features(self, X: Any) -> Array:
        """Return the features of rows, as the networks take them."""
        check_is_fitted(self)
        schema: Schema | None = getattr(self.model_.features, "schema", None)
        return self.model_.prepare(known_rows(self, schema, X))

    def _spread(self, X: Any) -> Array:
        """Return the standard deviation between members, as the networks have it."""
        features = self._features(X)
        if self.model_.network.members is None:
            name = type(self).__name__
            raise ValueError(f"this {name} is one network, not several: fit it with members=k")
        spread: Array = to_host(self.model_.network.predict_std(features))
        return spread

    # -- kept ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file, as ``xpnet train`` does.

        `load`, `xpnet.load_model` and ``xpnet predict`` read it; parameters and names of columns
        stand in it as well.

        Warns
        -----
        UserWarning
            If a parameter can't be written, such as a callback: `load` gives its default.
        """
        check_is_fitted(self)
        estimator_files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a fitted estimator from a file that `save` or ``xpnet train`` wrote.

        What a fit has told, as its history and plan, is not in it.

        Parameters
        ----------
        path : path
            The file.
        device : {"auto", "cpu", "cuda", "cuda:N"}
            Where its networks are to live.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is not a whole model file, or one that predicts values instead of classes, or the
            reverse.
        """
        return estimator_files.load(cls, path, device)

    # -- what scikit-learn asks ----

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _tell(trainer: Any, row: dict[str, Any]) -> None:
    """Print the figures of an epoch, of members their mean."""
    names = [n for n in ("train_loss", "dev_loss", "dev_error") if n in row]
    figures = ", ".join(f"{name} {mean_of(row[name]):.5g}" for name in names)
    print(f"epoch {row['epoch']}: {figures}")


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
    scaling           median  far values have no part in the scale
    clip              3.0     nor in the rest: x/√(1 + (x/3)²)
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

    def _adopt(self, target: Any) -> None:
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
    settings, columns, drop, device, dtype, random_state, callbacks, verbose
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
        kept = None if labels.dtype.kind in "biuf" else np.float64
        labels = check_array(labels, dtype=kept, ensure_2d=False, input_name="y")
        self.n_outputs_ = 1 if labels.ndim == 1 else labels.shape[1]
        return labels, "regression"

    def _adopt(self, target: Any) -> None:
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
