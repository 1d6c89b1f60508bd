"""Estimators with scikit-learn's interface: `MLPClassifier` and `MLPRegressor`.

They take every parameter of scikit-learn's own and more, and train where the arrays live.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from ..backends.select import NUMPY, backend_of
from .base import MLP, Scored


class MLPClassifier(Scored, ClassifierMixin, MLP):
    """A multilayer perceptron for classes, with scikit-learn's interface, on CPU or GPU.

    Every parameter, method and fitted attribute of scikit-learn 1.9's ``MLPClassifier`` is here, in
    the same place and meaning; what there is more comes at the end. NumPy arrays are trained on the
    GPU if there is one; CuPy arrays on their own device, and predictions come back there.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default (100,)
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu", "leaky_relu"} or list of them
        Of the hidden layers, or one for each.
    solver : {"adam", "sgd", "rmsprop", "lbfgs"}
        "lbfgs" is SciPy's, on the host, for small data.
    alpha : float
        λ of the L2 term λ/2n ‖W‖², n the examples of a batch.
    batch_size : int or "auto"
        "auto": 200, or all of a smaller data set.
    learning_rate : {"constant", "invscaling", "adaptive"} or schedule
        For "sgd"; a schedule of `xpnet`, as ``Cosine(1e-3, total=200)``, for every solver but
        "lbfgs", and then `learning_rate_init` is not used.
    learning_rate_init, power_t : float
        The first rate, and p of "invscaling": rate / (t + 1)^p.
    max_iter : int
        Epochs at most; iterations for "lbfgs".
    shuffle : bool
        Whether to shuffle in every epoch.
    random_state : int, RandomState or None
        The seed of weights, batches, dropout and validation set.
    tol, n_iter_no_change : float, int
        It ends when the loss (or the validation score) has not improved by `tol` for more than so
        many epochs.
    verbose : bool
        Whether to print the loss of each epoch.
    warm_start : bool
        Whether a second fit goes on from the weights of the first.
    momentum, nesterovs_momentum : float, bool
        Of "sgd".
    early_stopping, validation_fraction : bool, float
        Whether the score on a part of the data, held out, ends the training; the best weights come
        back.
    beta_1, beta_2, epsilon : float
        Of "adam"; β₂ and ε of "rmsprop" too.
    max_fun : int
        Evaluations at most, of "lbfgs".
    batch_norm : bool
        Batch norm before each hidden activation.
    dropout, input_dropout : float
        Probability of dropping a unit of each hidden layer, and a feature.
    class_weight : dict, list of dict, "balanced" or None
        How much the examples of a class count.
    callbacks : list or None
        `xpnet.Callback` or functions of (trainer, row).
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where to train. "auto": where X lives; NumPy data on a GPU if there is one.
    dtype : {"float32", "float64"} or None
        The precision; None: that of X.

    Attributes
    ----------
    classes_ : array
        The labels.
    network_ : Network
        What was trained.
    coefs_, intercepts_ : list of array
        Weights (inputs, outputs) and biases of each layer, on the host.
    loss_, best_loss_, loss_curve_ : float, float, list of float
        Training loss with the L2 term: of the last epoch, the least, of each epoch.
    validation_scores_, validation_loss_curve_, best_validation_score_
        On the validation set, where there is one.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((20,), max_iter=300, learning_rate_init=0.01, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        batch_norm: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        class_weight: Any = None,
        callbacks: Any = None,
        device: Any = "auto",
        dtype: str | None = None,
    ) -> None:
        _keep(self, locals())

    def _encode(self, y: np.ndarray[Any, Any], learn: bool) -> np.ndarray[Any, Any]:
        if learn:
            self._learn_classes(y, None)
        elif self.warm_start and not self._multilabel:
            self._require_all(unique_labels(y))
        return self._encode_more(y)

    def _learn_classes(self, y: np.ndarray[Any, Any], classes: Any) -> None:
        """Take the classes from the labels, or as they are given."""
        self._multilabel = _is_multilabel(y)
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1])
        else:
            self.classes_ = np.unique(y) if classes is None else unique_labels(classes)

    def _require_all(self, classes: np.ndarray[Any, Any]) -> None:
        if {*classes.tolist()} != {*self.classes_.tolist()}:
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )

    def _encode_more(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        multilabel = _is_multilabel(y)
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(f"`y` has shape {y.shape}, which is not as in the call before")
        if multilabel:
            return np.asarray(y != 0, np.int8)
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return np.searchsorted(self.classes_, y)

    def _loss_name(self) -> tuple[str, int, str]:
        if self._multilabel:
            return "sigmoid_cross_entropy", len(self.classes_), "logistic"
        if len(self.classes_) <= 2:
            return "sigmoid_cross_entropy", 1, "logistic"
        return "softmax_cross_entropy", len(self.classes_), "softmax"

    def _weigh_classes(self, y: np.ndarray[Any, Any], weights: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all labels at once and is not supported for "
                "partial_fit: compute_class_weight('balanced', classes=classes, y=y) on a sample "
                "of the labels gives weights to pass as a dict"
            )
        of_class = compute_sample_weight(self.class_weight, y)
        return of_class if weights is None else weights * of_class

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def _predict(self, X: Any) -> Any:
        codes = self.network_.predict(X)
        if self._multilabel:
            return codes
        if len(self.classes_) == 1:  # nothing else was ever seen
            codes = codes * 0
        backend = backend_of(codes, NUMPY)
        if self.classes_.dtype.kind not in "iufb":  # labels that stay on the host
            return self.classes_[backend.to_host(codes)]
        with backend.active():
            return backend.asarray(self.classes_)[codes]

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.

        Returns
        -------
        array, shape (n, n_classes), where X lives
            In the order of ``classes_``.
        """
        check_is_fitted(self, "network_")
        p = self.network_.predict_proba(self._admit_features(X, reset=False))
        if p.ndim == 2:
            return p
        backend = backend_of(p, NUMPY)
        with backend.active():
            if len(self.classes_) == 1:
                return backend.xp.ones_like(p)[:, None]
            return backend.xp.stack([1 - p, p], axis=1)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of the probability of each class; see `predict_proba`."""
        p = self.predict_proba(X)
        backend = backend_of(p, NUMPY)
        with backend.active():
            return backend.xp.log(p)

    @available_if(lambda self: self._check_solver())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go through the data once, and on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array or None
            All classes that may ever come; needed in the first call.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If the classes are missing in the first call, or other ones later.
        """
        self._validate_params()
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if (
            classes is not None
            and not first
            and not np.array_equal(self.classes_, unique_labels(classes))
        ):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        with self._all_or_nothing(first):
            X, y = self._prepare(X, y, reset=first)
            if first:
                self._learn_classes(y, classes)
            self._fit(X, y, sample_weight, (None, None), first, incremental=True)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(Scored, RegressorMixin, MLP):
    """A multilayer perceptron for values, with scikit-learn's interface, on CPU or GPU.

    Every parameter, method and fitted attribute of scikit-learn 1.9's ``MLPRegressor`` is here, in
    the same place and meaning; what there is more comes at the end, as for `MLPClassifier`, whose
    docstring describes parameters and attributes.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        What to minimise: 1/2n Σ (ŷ − y)², or half the Poisson deviance of counts, with
        ŷ = exp(network).
    hidden_layer_sizes, activation, …
        As for `MLPClassifier`, without `class_weight`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", alpha=10, max_iter=2000,
    ...                      random_state=0)
    >>> model.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        batch_norm: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        callbacks: Any = None,
        device: Any = "auto",
        dtype: str | None = None,
    ) -> None:
        _keep(self, locals())

    def _encode(self, y: np.ndarray[Any, Any], learn: bool) -> np.ndarray[Any, Any]:
        if learn or not hasattr(self, "network_"):
            self._width = _width(y)
        return self._encode_more(y)

    def _encode_more(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if _width(y) != self._width:
            raise ValueError(f"y has {_width(y)} outputs, and there were {self._width} before")
        return y

    def _loss_name(self) -> tuple[str, int, str]:
        if self.loss == "poisson":
            return "poisson_deviance", self._width, "exp"
        return "half_squared_error", self._width, "identity"

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _predict(self, X: Any) -> Any:
        return self.network_.predict(X)

    @available_if(lambda self: self._check_solver())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through the data once, and on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
            The fitted estimator.
        """
        self._validate_params()
        first = not hasattr(self, "network_")
        with self._all_or_nothing(first):
            X, y = self._prepare(X, y, reset=first)
            self._fit(X, y, sample_weight, (None, None), first, incremental=True)
        return self


def _width(y: np.ndarray[Any, Any]) -> int:
    return 1 if y.ndim == 1 else int(y.shape[1])


def _is_multilabel(y: np.ndarray[Any, Any]) -> bool:
    """Return whether labels are columns of 0 and 1; refuse what are no labels."""
    check_classification_targets(y)
    multilabel = str(type_of_target(y, input_name="y")).startswith("multilabel")
    if y.ndim == 2 and not multilabel:
        raise ValueError(
            f"y has shape {y.shape} and holds classes: Multioutput target data is not supported; "
            "give one column of classes, or columns of 0 and 1"
        )
    return multilabel


def _keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """Set the constructor's arguments as attributes, as scikit-learn wants them."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
