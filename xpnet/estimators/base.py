"""What `MLPClassifier` and `MLPRegressor` share: inputs, the fit, and what users look at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
)

from .._typing import Array
from ..backends.select import resolve_device, to_host
from ..data.arrays import prepare_weights
from ..interrupts import defer_sigint
from ..nn.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from ..nn.layers import BatchNorm, Dropout, Layer, Linear
from ..nn.network import Network
from ..optim.optimizers import SGD, Adam, Optimizer, RMSProp
from ..train.fit import FitOptions
from ..train.history import DivergedError
from ..train.trainer import Trainer
from .convergence import INTERRUPTED, Convergence, fit_lbfgs, is_finite, penalty
from .inputs import Preparing, weights_of
from .weights import Weights

ACTIVATIONS: dict[str, type[Layer] | None] = {
    "identity": None,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
}


#: What is written epoch by epoch.
CURVES = (
    *("loss_curve_", "best_loss_"),
    *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
)


def _closed(low: float, high: float | None, closed: str = "left", kind: type = Real) -> Interval:
    return Interval(kind, low, high, closed=closed)


class Scored:
    """`score` for arrays of any kind; scikit-learn's own takes NumPy's alone."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of a classifier, R² of a regressor.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.
        y : array-like
            What is right.
        sample_weight : array-like, shape (n,), or None
            How much each example counts.
        """
        predicted = to_host(self.predict(X))  # type: ignore[attr-defined]
        return self._measure(  # type: ignore[attr-defined,no-any-return]
            to_host(y), predicted, to_host(sample_weight)
        )


class MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Weights, Preparing):
    """What both estimators share."""

    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", _closed(1, None, kind=Integral)],
        "activation": [StrOptions({*ACTIVATIONS}), list, tuple],
        "solver": [StrOptions({"adam", "sgd", "rmsprop", "lbfgs"})],
        "alpha": [_closed(0, None)],
        "batch_size": [StrOptions({"auto"}), _closed(1, None, kind=Integral)],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
        "learning_rate_init": [_closed(0, None, "neither")],
        "power_t": [_closed(0, None)],
        "max_iter": [_closed(1, None, kind=Integral)],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [_closed(0, None)],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [_closed(0, 1, "both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [_closed(0, 1)],
        "beta_1": [_closed(0, 1)],
        "beta_2": [_closed(0, 1)],
        "epsilon": [_closed(0, None, "neither")],
        "n_iter_no_change": [_closed(1, None, kind=Integral), Options(Real, {math.inf})],
        "max_fun": [_closed(1, None, kind=Integral)],
        "batch_norm": ["boolean"],
        "dropout": [_closed(0, 1)],
        "input_dropout": [_closed(0, 1)],
        "callbacks": [list, tuple, None],
        "device": [str, HasMethods(["asarray", "to_host"])],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    # -- what differs ----

    def _encode(self, y: np.ndarray[Any, Any], learn: bool) -> np.ndarray[Any, Any]:
        """Check labels, learn what they are if that is not known, return them for the loss."""
        raise NotImplementedError

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        """Return the score of predictions, on the host."""
        raise NotImplementedError

    # -- the fit ----

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Fit the network to data.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            NumPy, CuPy, SciPy's sparse matrices, data frames, or what has DLPack.
        y : array-like, shape (n,) or (n, n_outputs)
            Class labels, or values.
        sample_weight : array-like, shape (n,), or None
            How much each example counts.
        X_val, y_val : array-like or None
            A validation set of your own: scores and losses on it are kept for each epoch, and with
            ``early_stopping`` it takes the place of a part of the training data.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If data or a parameter is not as it must be, or the weights turn infinite.

        Warns
        -----
        ConvergenceWarning
            If it ran for `max_iter` epochs and had not converged.
        UserWarning
            If Ctrl-C ended it; the estimator is fitted as far as it came.
        """
        self._validate_params()
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither")
        first = not (self.warm_start and hasattr(self, "network_"))
        with self._all_or_nothing(first):
            X, y = self._prepare(X, y, reset=first)
            self._fit(X, y, sample_weight, (X_val, y_val), first)
        return self

    @contextmanager
    def _all_or_nothing(self, first: bool) -> Iterator[None]:
        """Leave the estimator as it was if a fit is refused or fails: what was fitted stays.

        ``first`` says that the fit makes a new network; the one before it is not written to.
        """
        before = dict(self.__dict__)
        for name in CURVES:
            if isinstance(before.get(name), list):
                before[name] = list(before[name])
        undo = None if first else _snapshot(self.network_, before.get("_optimizer"))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            if undo is not None:
                undo()
            raise

    def _fit(
        self,
        X: Any,
        y: np.ndarray[Any, Any],
        sample_weight: Any,
        validation: tuple[Any, Any],
        first: bool,
        incremental: bool = False,
    ) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver == "lbfgs":
            self._check_lbfgs(validation)
        codes = self._encode(y, learn=first and not incremental)
        weights = weights_of(len(y), sample_weight)
        seed = self._seed()
        X, y, codes, weights, validation = self._split(X, y, codes, weights, validation, seed)
        # Ctrl-C while the network is made would leave no estimator: it waits for the first step.
        with ExitStack() as until_all_is_there:
            until_all_is_there.enter_context(defer_sigint())
            if first:
                self._build(X, seed)
            else:
                self._require_same()
            network = self.network_
            x, labels = network.prepare(X, codes)
            weights = self._weigh_classes(y, weights, incremental)
            if weights is not None:
                weights = prepare_weights(weights, x.shape[0], network.backend, network.dtype)
            begin = until_all_is_there.close
            if self.solver == "lbfgs":
                self._fit_lbfgs(x, labels, weights, begin)
            else:
                self._fit_by_steps(x, labels, weights, validation, incremental, begin)
        if not is_finite(network):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    def _weigh_classes(self, y: np.ndarray[Any, Any], weights: Any, incremental: bool) -> Any:
        """Return the weights of training examples, with those of their classes."""
        return weights

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        listed = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if not all(isinstance(s, Integral) and not isinstance(s, bool | np.bool_) for s in listed):
            raise TypeError(f"hidden_layer_sizes is {sizes!r}: give whole numbers, as in (100, 50)")
        if any(size <= 0 for size in listed):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {listed}.")
        return [int(size) for size in listed]

    def _kinds(self, n: int) -> list[type[Layer] | None]:
        """Return the activation of each hidden layer."""
        if isinstance(self.activation, str):
            return [ACTIVATIONS[self.activation]] * n
        named = all(isinstance(name, str) and name in ACTIVATIONS for name in self.activation)
        if not named or len(self.activation) != n:
            raise ValueError(
                f"activation is {self.activation!r} and there are {n} hidden layers: give one name "
                f"or one for each, out of {', '.join(ACTIVATIONS)}"
            )
        return [ACTIVATIONS[name] for name in self.activation]

    def _layers(self) -> list[Layer]:
        """Return the network's layers, as the parameters describe them."""
        sizes = self._sizes()
        layers: list[Layer] = [Dropout(self.input_dropout)] if self.input_dropout else []
        for size, kind in zip(sizes, self._kinds(len(sizes)), strict=True):
            layers.append(Linear(size))
            layers += [BatchNorm()] if self.batch_norm else []
            layers += [kind()] if kind is not None else []
            layers += [Dropout(self.dropout)] if self.dropout else []
        return [*layers, Linear(self._loss_name()[1])]

    def _require_same(self) -> None:
        """Raise if the network that training is to go on with is not what is described now."""
        network = self.network_
        what = {
            "layers": (_told(self._layers()), _told(network.layers)),
            "loss": (self._loss_name()[0], network.loss.name),
            "dtype": (self.dtype or network.dtype.name, network.dtype.name),
        }
        for name, (wanted, there) in what.items():
            if wanted != there:
                raise ValueError(
                    f"{name}: training goes on with {there}, and the parameters say {wanted} now: "
                    "set them back, or fit anew with warm_start=False"
                )

    def _build(self, X: Any, seed: int) -> None:
        """Make the network, and all that is written by epochs."""
        loss, self.n_outputs_, self.out_activation_ = self._loss_name()
        layers = self._layers()
        self.network_ = Network(
            layers,
            loss=loss,
            n_features=self.n_features_in_,
            device=resolve_device(self.device, X),
            dtype=self.dtype or X.dtype.name,
            random_state=seed,
        )
        self.n_layers_ = len(self._sizes()) + 2
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        self._optimizer = None
        for name in (*CURVES, "_kept"):  # L-BFGS has none; moments of another network don't fit
            self.__dict__.pop(name, None)

    def _begin_curves(self) -> None:
        """Set what is written epoch by epoch, where an earlier fit has not."""
        fresh: tuple[tuple[str, Any], ...] = (
            ("loss_curve_", []),
            ("best_loss_", None if self.early_stopping else math.inf),
            ("validation_scores_", None),
            ("validation_loss_curve_", None),
            ("best_validation_score_", -math.inf if self.early_stopping else None),
        )
        for name, value in fresh:
            self.__dict__.setdefault(name, value)

    def _check_lbfgs(self, validation: tuple[Any, Any]) -> None:
        if self.dropout or self.input_dropout or self.batch_norm:
            raise ValueError(
                "solver='lbfgs' wants one cost for the same weights each time, and dropout and "
                "batch norm give another one for each batch: take solver='adam'"
            )
        given = {"callbacks": self.callbacks, "X_val": validation[0] is not None}
        given["a schedule as learning_rate"] = callable(self.learning_rate)
        for name, value in given.items():
            if value:
                raise ValueError(
                    f"solver='lbfgs' makes no epochs, so {name} would do nothing: leave it out, or "
                    "take solver='adam'"
                )

    def _fit_lbfgs(
        self, x: Array, labels: Array, weights: Array | None, begin: Callable[[], None]
    ) -> None:
        self.n_iter_, self.loss_, converged, message = fit_lbfgs(
            self.network_,
            x,
            labels,
            weights,
            l2=self.alpha,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=bool(self.verbose),
            begin=begin,
        )
        if message == INTERRUPTED:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=4)
        elif not converged:
            warnings.warn(
                f"lbfgs failed to converge after {self.n_iter_} iteration(s): {message}. Increase "
                "the number of iterations or scale the data",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                UserWarning,
                stacklevel=5,
            )
        return min(int(self.batch_size), n)

    def _make_optimizer(self) -> Optimizer:
        rate = self.learning_rate_init
        if callable(self.learning_rate):
            rate = self.learning_rate
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum)
            return SGD(rate, self.momentum, nesterov)
        if self.solver == "rmsprop":
            return RMSProp(rate, self.beta_2, self.epsilon)
        return Adam(rate, self.beta_1, self.beta_2, self.epsilon)

    def _fit_by_steps(
        self,
        x: Array,
        labels: Array,
        weights: Array | None,
        validation: Any,
        incremental: bool,
        begin: Callable[[], None],
    ) -> None:
        network, n = self.network_, x.shape[0]
        self._begin_curves()
        batch_size = self._batch_size(n)
        if not incremental or self._optimizer is None:
            self._optimizer = Trainer(network, self._make_optimizer())
            self._resume(self._optimizer, incremental)
        self._optimizer.l2 = float(self.alpha)
        mean_weight = 1.0 if weights is None else float(weights.mean())
        score, dev = self._judge(validation)
        convergence = Convergence(
            self,
            score,
            by_score=self.early_stopping,
            # Each batch has the whole L2 term, over the sum of its weights.
            penalty=lambda: penalty(
                network, float(self.alpha), n / math.ceil(n / batch_size) * mean_weight
            ),
            n_examples=n,
        )
        self.n_iter_ = 0
        try:
            begin()
            self._optimizer.fit_prepared(
                x,
                labels,
                weights,
                dev,
                FitOptions(
                    batch_size=batch_size,
                    epochs=1 if incremental else self.max_iter,
                    callbacks=[convergence, *(self.callbacks or ())],
                    shuffle=self.shuffle,
                    monitor=0,
                ),
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=4)
        except DivergedError as error:
            self._report_divergence(error)
        else:
            if self.n_iter_ == self.max_iter and not (convergence.converged or incremental):
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        self._no_improvement_count = convergence.without
        if self.early_stopping:
            with network.backend.active():
                convergence.restore_best(network)

    def _report_divergence(self, error: DivergedError) -> None:
        """Raise, unless there are best weights to go back to."""
        if not (self.early_stopping and self.n_iter_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed: {error}"
            ) from error
        for curve in (self.loss_curve_, self.validation_scores_, self.validation_loss_curve_):
            if curve is not None:
                curve.append(math.nan)
        warnings.warn(
            f"{error}. With early stopping the weights of the best epoch are kept",
            ConvergenceWarning,
            stacklevel=5,
        )

    def _judge(self, validation: Any) -> tuple[Any, Any]:
        """Return what computes the score of an epoch, and the validation set on the device."""
        if validation is None:
            return None, None
        X, y, codes, weights = validation
        if self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        dev = self.network_.prepare(X, codes)
        plain = weights is None and self.network_.loss.of_classes

        def score(row: dict[str, float]) -> float:
            if plain:
                return 1.0 - row["dev_error"]
            return self._measure(y, to_host(self._predict(X)), weights)

        return score, dev

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    # -- prediction ----

    def _predict(self, X: Any) -> Any:
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        """Predict labels or values.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.

        Returns
        -------
        array, shape (n,) or (n, n_outputs)
            Where X lives; labels that CuPy can't hold, such as strings, come as NumPy's.
        """
        check_is_fitted(self, "network_")
        return self._predict(self._admit_features(X, reset=False))

    def transform(self, X: Any) -> Any:
        """Return the outputs of the last hidden layer: features that the network has learnt.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.

        Returns
        -------
        array, shape (n, hidden_layer_sizes[-1]), where X lives
            The features themselves if there is no hidden layer.
        """
        check_is_fitted(self, "network_")
        X = self._admit_features(X, reset=False)
        layers = self.network_.layers
        if sum(isinstance(layer, Linear) for layer in layers) == 1:
            return X
        return self.network_.activations(X, [len(layers) - 2])[0]

    @property
    def _n_features_out(self) -> int:
        *_, last = (layer for layer in self.network_.layers if isinstance(layer, Linear))
        return last.n_inputs

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _snapshot(network: Network, trainer: Trainer | None) -> Callable[[], None]:
    """Return what puts a network, and what trained it, back to where they are now."""
    names = ("steps", "epochs", "optimizer")
    with network.backend.active():
        arrays = [network.parameters, network.statistics, *(trainer.moments if trainer else ())]
        copies = [array.copy() for array in arrays]
        counters = {name: getattr(trainer, name) for name in names} if trainer else {}

    def undo() -> None:
        with network.backend.active():
            for array, copy in zip(arrays, copies, strict=True):
                array[...] = copy
        for name, value in counters.items():
            setattr(trainer, name, value)

    return undo


def _told(layers: list[Layer]) -> str:
    """Return what tells one architecture from another: kinds of layers, sizes, probabilities."""
    numbers = [getattr(layer, "n_outputs", getattr(layer, "p", "")) for layer in layers]
    return ", ".join(
        f"{type(layer).__name__}({x})" for layer, x in zip(layers, numbers, strict=True)
    )
