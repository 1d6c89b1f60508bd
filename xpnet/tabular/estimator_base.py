"""What `TabularClassifier` and `TabularRegressor` share: the fit, the rows, and the files."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..backends.arrays import to_host
from ..estimators.fitting import all_or_nothing
from ..estimators.parameters import keep, seeds_of
from ..recipes.recipes import Asked, Plan
from ..train.history import History, mean_of
from . import estimator_files
from .columns.schema import Schema
from .dataset import Dataset
from .estimator_rows import as_rows, known_rows, learn_columns
from .estimator_settings import OWN, settings_of
from .experiment import Experiment
from .frames import dataset_of
from .model import Model
from .target import Target
from .time_budget import within

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
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
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
        time_limit: float | None = None,
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

    def _adopt(self, target: Target) -> None:
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
        kept = (None if X_val is None else as_rows(X_val, "X_val")), y_val
        data = dataset_of(rows, labels, *kept, kinds=self.columns, drop=[*self.drop])
        experiment = self._prepare(data, task)
        if self.verbose:
            print(experiment.plan, experiment.time_reason, sep="\n")
        callbacks: list[Any] = [*(self.callbacks or ()), *([_tell] if self.verbose else [])]
        experiment.run(callbacks)
        self._take(experiment)

    def _prepare(self, data: Dataset, task: str) -> Experiment:
        """Return the training that the parameters ask for."""
        fixed = {"seed": seeds_of(self, None)[0], "dtype": self.dtype, "task": task}
        settings, given = settings_of({n: getattr(self, n) for n in OWN}, self.settings, **fixed)
        if "dev" in data.kept() and settings.folds is not None:
            raise ValueError("folds and X_val are given: what is held out is one of both")
        asked = Asked(self.recipe, given)
        found = Experiment.prepare(data, settings, self.device, None, False, asked)
        found.release_rows()
        return found if self.time_limit is None else within(found, float(self.time_limit))

    def _take(self, experiment: Experiment) -> None:
        """Take what was trained."""
        self.model_, self.plan_ = experiment.model, experiment.plan
        self.history_ = experiment.trainer.history
        self.time_reason_ = experiment.time_reason
        self.best_epoch_, self.temperature_ = experiment.best_epoch, experiment.temperature

    # -- prediction ----

    @property
    def device_(self) -> str:
        """Where the networks live."""
        return self.model_.network.backend.device

    def _features(self, X: Any) -> Array:
        """Return the features of rows, as the networks take them."""
        if "model_" not in self.__dict__:
            check_is_fitted(self)
        schema: Schema | None = getattr(self.model_.features, "schema", None)
        return self.model_.prepare(known_rows(self, schema, X))

    def _spread(self, X: Any) -> Array:
        """Return the standard deviation between members, as the networks have it."""
        features = self._features(X)
        if len(self.model_.network.seeds) == 1:
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
