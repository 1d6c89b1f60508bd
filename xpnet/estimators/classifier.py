"""`MLPClassifier`: scikit-learn's interface, its parameters and more, on CPU or GPU."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from ..backends.arrays import NUMPY, backend_of, to_host
from ..nn.loss import Loss
from ..nn.losses import SigmoidCrossEntropy
from ..nn.stacks import units_for
from .base import MLP, Output
from .class_weights import is_balanced, weigh
from .inputs import plain_labels
from .labels import Classes
from .parameters import find_loss, keep


class MLPClassifier(ClassifierMixin, MLP):
    """A multilayer perceptron for classes, with scikit-learn's interface, on CPU or GPU.

    Every parameter, method and fitted attribute of scikit-learn 1.9's ``MLPClassifier`` is here, in
    the same place and meaning; what there is more comes at the end. NumPy arrays are trained on the
    GPU if there is one; CuPy arrays on their own device, and predictions come back there.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default (100,)
        Units of each hidden layer.
    activation : str, activation, or list of them
        Of the hidden layers, or one for each: "identity", "logistic", a name that the library knows
        ("relu", "tanh", "leaky_relu", …), or an instance as ``LeakyReLU(0.2)``.
    solver : str or Optimizer
        "adam", "sgd", "rmsprop" with the parameters below; another name that the library knows,
        with its own defaults at the rate `learning_rate_init`; an instance as ``RMSProp(0.01)``,
        taken as it is. "lbfgs" is SciPy's, on the host, for small data.
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
        How much the examples of a class count: 1 for those that a dict does not name. For columns
        of 0 and 1 a list with a dict for each. "balanced" makes up for how often classes occur in
        the examples that are trained on; `partial_fit` does not know that.
    callbacks : list or None
        `xpnet.Callback` or functions of (trainer, row); with members losses and errors in a row are
        lists.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where to train. "auto": where X lives; NumPy data on a GPU if there is one.
    dtype : {"float32", "float64"} or None
        The precision; None: that of X.
    loss : {"softmax_cross_entropy", "sigmoid_cross_entropy"}, loss of classes or None
        What to minimise. None: sigmoid cross-entropy for two classes and for columns of 0 and 1,
        softmax cross-entropy for more classes.
    members : int or None
        How many networks k to train in one step and average, a deep ensemble: `predict_proba` is
        the mean of their probabilities, `predict_std` the standard deviation. Member i is the
        estimator with seed ``random_state`` + i: it has its own initial weights, batches and
        validation set, ends its training by itself, and keeps its own best weights. None or 1: one
        network. "lbfgs" trains one member after another.

        For members, `alpha`, `learning_rate_init`, `power_t`, `tol`, `momentum`, `beta_1`,
        `beta_2`, `epsilon`, `dropout`, `input_dropout` and `random_state` may be sequences of k
        numbers, and `learning_rate` one of k schedules: a value for each. (Where one member drops
        units and another does not, that one has a layer that drops nothing.)
    recipe : {"auto", "realmlp", "tabm", "plain"} or None
        How the network is made and trained; None: as scikit-learn does it, by the parameters. With
        a recipe each parameter that has its default value is not set, and the recipe, which takes
        the number of examples and classes into account, says what holds; one that has another value
        holds itself. ``plan_`` tells what that comes to. Constants learnt from X standardise its
        columns within the network, so X may be raw.

        - "auto" trains on folds, of which each member holds one out, and averages; on what was held
          out the epochs are chosen and the probabilities calibrated. With ``early_stopping``,
          ``X_val`` or ``members=1`` there are no folds.
        - "realmlp" is RealMLP-TD-S (Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024), "tabm" TabM
          (Gorishniy, Kotelnikov & Babenko, ICLR 2025). A fifth of the
          examples, or a `validation_fraction` given by hand, is held out for the best epoch.
        - "plain" is ReLU and Adam, with nothing held out.

        Examples that are held out count alike in scores and for the best epoch, whatever their
        weights, but for those of weight 0. A `solver` given by hand makes the optimiser by the
        parameters alone, without the recipe's rate and schedule. "lbfgs", `warm_start`,
        `partial_fit`, sparse X, an activation that is no name and values for each member are
        refused. "tabm" has no ``coefs_``.

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
    plan_, temperature_
        With a recipe: its settings, each step with its reason; what the logits were divided by to
        calibrate them, or None.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.

    With members the arrays of ``coefs_`` and ``intercepts_`` have one more axis, the first, (k,
    inputs, outputs) and (k, outputs). What a fit has told, ``loss_``, ``best_loss_``, ``t_`` and
    ``best_validation_score_``, are lists with a figure for each member, and the curves lists of k
    lists, as long as each was trained; ``n_iter_`` is that of the member that was trained longest.
    ``member(i)`` is one of them as an estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((20,), max_iter=300, learning_rate_init=0.01, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    >>> model.predict_proba(X[:2]).shape
    (2, 3)

    Five networks in one step, their mean, and how far they lie apart: one kind of iris is easy to
    tell, the other two are not.

    >>> model = MLPClassifier((20,), members=5, max_iter=500, learning_rate_init=0.01,
    ...                       random_state=0).fit(X, y)
    >>> spread = model.predict_std(X)
    >>> spread.shape, bool(spread[50:].mean() > 3 * spread[:50].mean())
    ((150, 3), True)
    >>> model.member(2).get_params()["random_state"]
    2

    A recipe: what is set by hand stays, here the width and the number of epochs.

    >>> model = MLPClassifier((32, 32), max_iter=20, recipe="auto", random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.network_.members, model.plan_.settings.activation
    (True, 5, 'selu')
    >>> model.plan_.steps[0].name, model.plan_.steps[0].why
    ('scaling', 'quartiles: far values have no part in the scale')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [str, Loss, None],
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
        loss: Any = None,
        members: int | None = None,
        recipe: str | None = None,
    ) -> None:
        keep(self, locals())

    @property
    def _labels(self) -> Classes:
        return Classes(self.classes_, self._multilabel)

    def _learn_labels(self, y: Any, classes: Any = None) -> None:
        self.classes_, self._multilabel = Classes.learn(y, classes)

    def _output(self, loss: Loss | None = None) -> Output:
        two = self._multilabel or len(self.classes_) <= 2
        name = "sigmoid_cross_entropy" if two else "softmax_cross_entropy"
        given = self.loss if loss is None else loss
        loss = find_loss(name if given is None else given, of_classes=True)
        sigmoid = isinstance(loss, SigmoidCrossEntropy)
        if self._multilabel and not sigmoid:
            raise ValueError(
                f"loss is {given!r} and y has columns of 0 and 1: give "
                "'sigmoid_cross_entropy', or leave it out"
            )
        n = len(self.classes_)
        n_outputs = n if self._multilabel else units_for(loss, n)
        return Output(loss, n_outputs, "logistic" if sigmoid else "softmax")

    def _weigh_classes(self, codes: np.ndarray[Any, Any], weights: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return weights
        if incremental and is_balanced(self.class_weight):
            raise ValueError(
                "class_weight='balanced' needs all labels at once and is not supported for "
                "partial_fit: compute_class_weight('balanced', classes=classes, y=y) on a sample "
                "of the labels gives weights to pass as a dict"
            )
        of_class = weigh(self.class_weight, self._labels, codes)
        return of_class if weights is None else weights * of_class

    def _measure(self, y: Any, predicted: Any, sample_weight: Any) -> float:
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.
        y : array-like, shape (n,) or (n, n_classes)
            Their labels.
        sample_weight : array-like, shape (n,), or None
            How much each example counts.
        """
        predicted, weights = map(to_host, (self.predict(X), sample_weight))
        y = plain_labels(y, of_classes=True)
        self._labels.require_kind(y)
        return self._measure(y, predicted, weights)

    def predict_proba(self, X: Any, *, members: bool = False) -> Any:
        """Return the probability of each class: with members, the mean of theirs.

        Those of a row alone and of the same row in a batch may differ in the last bits.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Examples.
        members : bool
            Each member's own probabilities, on a first axis.

        Returns
        -------
        array, shape (n, n_classes), where X lives
            In the order of ``classes_``.
        """
        X = self._checked(X, members)
        p = self.network_.predict_proba(X, members=members)
        return self._labels.probabilities(p, members)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of the probability of each class; see `predict_proba`."""
        p = self.predict_proba(X)
        backend = backend_of(p, NUMPY)
        with backend.active():
            return backend.xp.log(p)

    @available_if(lambda self: self._goes_on())
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
        classes = plain_labels(classes, of_classes=True, what="classes")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if not (first or classes is None or np.array_equal(self.classes_, unique_labels(classes))):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        self._partial_fit(X, y, sample_weight, classes)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
