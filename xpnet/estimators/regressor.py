"""`MLPRegressor`: scikit-learn's interface, its parameters and more, on CPU or GPU."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from ..backends.arrays import to_host
from ..nn.loss import Loss
from ..nn.losses import HalfSquaredError, PoissonDeviance
from .base import MLP, Output
from .inputs import plain_labels
from .labels import Values
from .parameters import find_loss, keep

#: scikit-learn's names of losses.
LOSS_NAMES = {"squared_error": HalfSquaredError, "poisson": PoissonDeviance}


class MLPRegressor(RegressorMixin, MLP):
    """A multilayer perceptron for values, with scikit-learn's interface, on CPU or GPU.

    Every parameter, method and fitted attribute of scikit-learn 1.9's ``MLPRegressor`` is here, in
    the same place and meaning; what there is more comes at the end, as for `MLPClassifier`, whose
    docstring describes parameters and attributes.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, str or loss of values
        What to minimise: 1/2n Σ (ŷ − y)², or half the Poisson deviance of counts, with
        ŷ = exp(network); a name that the library knows, as "mean_squared_error", or an instance.
    hidden_layer_sizes, activation, …
        As for `MLPClassifier`, without `class_weight`. With ``members=k`` `predict` is the mean of
        the k networks' values, and `predict_std` their standard deviation. With a ``recipe`` y is
        standardised for the training, so losses are of that, but for "poisson"; the last layer then
        takes mean and deviation up, and the network's outputs are values. "realmlp" and "auto"
        predict none outside the range of the training values.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", alpha=10, max_iter=2000,
    ...                      random_state=0)
    >>> model.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5
    True

    Eight networks in one step, their mean, and its uncertainty: it grows where there are no data.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(30,), activation="tanh", members=8, batch_size=10,
    ...                      learning_rate_init=0.01, random_state=0).fit(x, np.sin(3 * x[:, 0]))
    >>> inside, outside = model.predict_std([[0.5], [3.0]])
    >>> bool(outside > 5 * inside)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "loss": [str, Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
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
        members: int | None = None,
        recipe: str | None = None,
    ) -> None:
        keep(self, locals())

    @property
    def _labels(self) -> Values:
        return Values(self._width, self.__dict__.get("_bounds"))

    def _learn_labels(self, y: Any, classes: Any = None) -> None:
        self._width = Values.learn(y).width

    def _output(self, loss: Loss | None = None) -> Output:
        given = self.loss if loss is None else loss
        loss = find_loss(given, of_classes=False, named=LOSS_NAMES)
        activation = "exp" if isinstance(loss, PoissonDeviance) else "identity"
        return Output(loss, self._width, activation)

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², the share of the variance that is explained.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.
        y : array-like, shape (n,) or (n, n_outputs)
            Their values.
        sample_weight : array-like, shape (n,), or None
            How much each example counts.
        """
        predicted, weights = map(to_host, (self.predict(X), sample_weight))
        return self._measure(plain_labels(y, of_classes=False), predicted, weights)

    @available_if(lambda self: self._goes_on())
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
        self._partial_fit(X, y, sample_weight)
        return self
