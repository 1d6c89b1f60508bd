"""What `MLPClassifier` and `MLPRegressor` share: methods that hand over to this package's parts."""

from __future__ import annotations

import os
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..backends.arrays import NUMPY, backend_of
from ..checks import check_flag
from ..nn.loss import Loss
from ..nn.network import Network
from ..train.trainer import Trainer
from . import files, fitting, members, recipe_fit, weights
from .inputs import check_data, check_features
from .labels import Classes, Values
from .parameters import CONSTRAINTS
from .recipe_settings import check_recipe


class Output(NamedTuple):
    """What comes after the hidden layers: loss, units, and scikit-learn's word for what they do."""

    loss: Loss
    n_outputs: int
    activation: str


def _side_by_side(several: Any) -> Any:
    """Return arrays (k, n, m) as one, (n, k · m)."""
    backend = backend_of(several, NUMPY)
    with backend.active():
        return backend.xp.concatenate([*several], axis=-1)


class MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both estimators share."""

    n_features_in_: int
    network_: Network
    loss_curve_: list[Any]
    best_loss_: float | list[float] | None
    validation_scores_: list[Any] | None
    validation_loss_curve_: list[Any] | None
    best_validation_score_: float | list[float] | None
    warm_start: bool
    recipe: str | None
    _optimizer: Trainer | None

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS

    # -- what differs ----

    @property
    def _labels(self) -> Classes | Values:
        """What has been learnt of the labels."""
        raise NotImplementedError

    def _learn_labels(self, y: Any, classes: Any = None) -> None:
        """Learn what the labels are, from them or as it is given."""
        raise NotImplementedError

    def _output(self, loss: Loss | None = None) -> Output:
        """Return what the network ends with; ``loss`` takes the place of the parameter."""
        raise NotImplementedError

    def _weigh_classes(self, codes: Any, sample_weight: Any, incremental: bool) -> Any:
        """Return the weights of training examples, with those of their classes, by number."""
        return sample_weight

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
            NumPy, CuPy, SciPy's sparse matrices, data frames, or what has DLPack. Numbers or truth
            values: dates, text and the like are refused.
        y : array-like, shape (n,) or (n, n_outputs)
            Class labels, or values. Whole numbers, truth values and strings stay what they are.
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
            If data or a parameter is not as it must be, or the weights turn infinite, also those of
            one member; if early stopping has no score to go by, as R² of one value.

        Warns
        -----
        ConvergenceWarning
            If it ran for `max_iter` epochs and had not converged.
        UserWarning
            If Ctrl-C ended it; the estimator is fitted as far as it came. If X holds different
            whole numbers that are the same in `dtype`, or else in float64.
        """
        self._validate_params()
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither")
        if self.recipe is not None:
            check_recipe(self)
        first = not (self.warm_start and hasattr(self, "network_"))
        with fitting.all_or_nothing(self, first):
            X, y = check_data(self, X, y, reset=first)
            if self.recipe is not None:
                recipe_fit.fit(self, X, y, sample_weight, (X_val, y_val))
            else:
                fitting.fit(self, X, y, sample_weight, (X_val, y_val), first=first)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> None:
        first = not hasattr(self, "network_")
        with fitting.all_or_nothing(self, first):
            X, y = check_data(self, X, y, reset=first)
            if first:
                self._learn_labels(y, classes)
            fitting.fit(self, X, y, sample_weight, first=first, incremental=True)

    def _goes_on(self) -> bool:
        """Return that `partial_fit` is there, or raise an AttributeError that says why not."""
        if getattr(self, "recipe", None) is not None:
            raise AttributeError(
                f"partial_fit goes through the data once, and recipe={self.recipe!r} is of a whole "
                "training: use fit, or set recipe=None"
            )
        if getattr(self, "solver", None) == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    # -- prediction ----

    def _predict(self, X: Any, members: bool = False) -> Any:
        return self._labels.decode(self.network_.predict(X, members=members))

    def predict(self, X: Any, *, members: bool = False) -> Any:
        """Predict labels or values: with members, of the mean of what they say.

        Those of a row alone and of the same row in a batch may differ in the last bits.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.
        members : bool
            Each member's own predictions, on a first axis.

        Returns
        -------
        array, shape (n,) or (n, n_outputs)
            Where X lives; labels that CuPy can't hold, such as strings, come as NumPy's. The mean
            is that of the members' probabilities, or of their values.

        Raises
        ------
        ValueError
            If members are asked for, and there is one network.
        """
        return self._predict(self._checked(X, members), members)

    def _checked(self, X: Any, members: bool = False) -> Any:
        """Return examples to predict, checked, by all that there are or by each member."""
        if "network_" not in self.__dict__:
            check_is_fitted(self, "network_")
        if check_flag(members, "members"):
            self._require_members()
        return check_features(self, X, reset=False)

    def _require_members(self) -> None:
        """Raise a ValueError if this is one network."""
        if self.network_.members is None:
            name = type(self).__name__
            raise ValueError(f"this {name} is one network, not several: fit it with members=k")

    def predict_std(self, X: Any) -> Any:
        """Return how far the members lie apart: an uncertainty.

        It is the standard deviation between their probabilities, or values,
        √(Σ (pᵢ − p̄)² / k); Lakshminarayanan et al., "Simple and scalable predictive uncertainty
        estimation using deep ensembles", NeurIPS 2017.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.

        Returns
        -------
        array, where X lives
            In the shape of `predict_proba`, or of a regressor's `predict`.

        Raises
        ------
        ValueError
            If this is one network.
        """
        check_is_fitted(self, "network_")
        self._require_members()
        return self._labels.spread(self.network_.predict_std(self._checked(X)))

    def member(self, i: int) -> Self:
        """Return member i as a fitted estimator of one network: what it would be alone.

        Its `random_state` is the member's seed, its weights and curves are copies, and `fit` or
        `partial_fit` of it leave the others as they are.

        Parameters
        ----------
        i : int
            Which one, counted from 0; −1 is the last.

        Raises
        ------
        ValueError, IndexError
            If this is one network, or has no such member; if parameters say now that there are
            more or fewer.
        """
        check_is_fitted(self, "network_")
        self._require_members()
        found: Self = members.member(self, i)
        found._kept = files.moments_of(self, i)
        return found

    def transform(self, X: Any) -> Any:
        """Return the outputs of the last hidden layer: features that the network has learnt.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.

        Returns
        -------
        array, shape (n, hidden_layer_sizes[-1]), where X lives
            The features themselves if there is no hidden layer. Those of several members stand side
            by side, (n, k · hidden_layer_sizes[-1]).
        """
        X, network = self._checked(X), self.network_
        if self.n_layers_ == 2:
            return X
        found = network.activations(X, [len(network.layers) - 2])[0]
        if (
            network.passes.members is not None
        ):  # which share weights: their rows stand below another
            found = found.reshape(network.passes.members, -1, found.shape[-1])
        return found if found.ndim == 2 else _side_by_side(found)

    @property
    def _n_features_out(self) -> int:
        network = self.network_
        if self.n_layers_ == 2:
            return self.n_features_in_
        several = network.passes.members or len(network.seeds)
        return several * network.layers[-1].n_inputs

    # -- the weights ----

    @property
    def coefs_(self) -> list[np.ndarray[Any, Any]]:
        """Weights of each layer (…, inputs, outputs): read-only copies; assign one or all."""
        return weights.ReadOnlyWeights(self, "coefs_")

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        weights.assign(self, "coefs_", values)

    @property
    def intercepts_(self) -> list[np.ndarray[Any, Any]]:
        """Biases of each layer, under batch norm its β: read-only copies; assign one or all."""
        return weights.ReadOnlyWeights(self, "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        weights.assign(self, "intercepts_", values)

    # -- kept: pickles hold NumPy alone; files are for callers that must not unpickle ----

    def __getstate__(self) -> dict[str, Any]:
        return files.without_trainer(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            self._optimizer = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a safetensors file, which `load` reads.

        The arrays have PyTorch's names; parameters and classes stand in the metadata as JSON.
        `xpnet.load` reads the network alone.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.

        Warns
        -----
        UserWarning
            If a parameter can't be written, such as a callback: `load` gives its default.
        """
        check_is_fitted(self, "network_")
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a fitted estimator from a file that `save` wrote.

        Parameters
        ----------
        path : path
            The file.
        device : {"auto", "cpu", "cuda", "cuda:N"}
            Where its network is to live.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is not a whole file of an estimator of this class.
        """
        return files.load(cls, path, device)

    # -- what scikit-learn asks ----

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.recipe is None
        return tags
