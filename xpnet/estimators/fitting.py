"""An estimator's fit: data, network, and the training by steps or by L-BFGS; all of it or nothing.

The functions read an estimator's parameters and write its fitted attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._typing import Array
from ..backends.arrays import resolve_device, to_host
from ..checks import all_finite
from ..data.arrays import prepare_weights
from ..interrupts import defer_sigint
from ..nn.network import Network
from ..nn.snapshots import restore, snapshot, weights_of
from ..train.fit import FitOptions
from ..train.history import DivergedError
from ..train.trainer import Trainer
from ..warning import warn
from . import parameters
from .convergence import Convergence, penalty
from .files import COUNTERS, take_moments
from .inputs import Part, check_data, check_weights, hold_out, require_score
from .lbfgs import INTERRUPTED, check_lbfgs, fit_lbfgs
from .parameters import Estimator

#: What is written epoch by epoch.
CURVES = (
    *("loss_curve_", "best_loss_"),
    *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
)

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed"
)


@contextmanager
def all_or_nothing(estimator: Estimator, first: bool) -> Iterator[None]:
    """Leave the estimator as it was if a fit is refused or fails: what was fitted stays.

    ``first`` says that the fit makes a new network; the one before it is not written to.
    """
    before = dict(estimator.__dict__)
    for name in CURVES:
        if isinstance(before.get(name), list):
            before[name] = list(before[name])
    undo = None if first else _undo(estimator.network_, before.get("_optimizer"))
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        if undo is not None:
            undo()
        raise


def _undo(network: Network, trainer: Trainer | None) -> Callable[[], None]:
    """Return what puts a network, and what trained it, back to where they are now."""
    arrays = [*weights_of(network), *(trainer.moments if trainer else ())]
    with network.backend.active():
        copies = snapshot(arrays)
    counters = {name: getattr(trainer, name) for name in COUNTERS} if trainer else {}

    def undo() -> None:
        with network.backend.active():
            restore(arrays, copies)
        for name, value in counters.items():
            setattr(trainer, name, value)

    return undo


def fit(
    estimator: Estimator,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation: tuple[Any, Any] = (None, None),
    *,
    first: bool,
    incremental: bool = False,
) -> None:
    """Fit to checked data: a new network if it is the ``first`` time, else the one there is."""
    e = estimator
    if e.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if e.solver == "lbfgs":
        check_lbfgs(e, validation)
    if first and not incremental:
        e._learn_labels(y)
    elif e.warm_start:
        e._labels.require_all(y)
    seed = parameters.seed_of(e)
    data = Part(X, y, e._labels.encode(y), check_weights(len(y), sample_weight))
    data, dev = _validation(e, data, validation, seed)
    if dev is not None and e.early_stopping:
        require_score(dev, e._labels)
    # Ctrl-C while the network is made would leave no estimator: it waits for the first step.
    with ExitStack() as until_all_is_there:
        until_all_is_there.enter_context(defer_sigint())
        if first:
            _build(e, data.X, seed)
        else:
            _require_same(e)
        network = e.network_
        x, labels = network.prepare(data.X, data.codes)
        weights = e._weigh_classes(data.codes, data.weights, incremental)
        if weights is not None:
            weights = prepare_weights(weights, x.shape[0], network.backend, network.dtype)
        begin = until_all_is_there.close
        if e.solver == "lbfgs":
            _fit_by_lbfgs(e, x, labels, weights, begin)
        else:
            _fit_by_steps(e, x, labels, weights, dev, incremental, begin)
    with network.backend.active():
        finite = all_finite(network.parameters, network.backend.xp)
    if not finite:
        raise ValueError(f"{NOT_FINITE}.")


def _validation(
    e: Estimator, data: Part, given: tuple[Any, Any], seed: int
) -> tuple[Part, Part | None]:
    """Return what is trained on and the validation set: as given, or out of the data, or none."""
    if given[0] is not None:
        X, y = check_data(e, *given, reset=False)
        return data, Part(X, y, e._labels.encode(y), None)
    if e.early_stopping and e.solver != "lbfgs":
        return hold_out(data, e._labels, e.validation_fraction, seed)
    return data, None


def _build(e: Estimator, X: Any, seed: int) -> None:
    """Make the network, and forget all that was written by epochs."""
    output = e._output()
    e.n_outputs_, e.out_activation_ = output.n_outputs, output.activation
    e.network_ = Network(
        parameters.layers_of(e, output.n_outputs),
        loss=output.loss,
        n_features=e.n_features_in_,
        device=resolve_device(e.device, X),
        dtype=e.dtype or X.dtype.name,
        random_state=seed,
    )
    e.n_layers_ = len(parameters.sizes_of(e)) + 2
    e.n_iter_ = e.t_ = e._no_improvement_count = 0
    e._optimizer = None
    for name in (*CURVES, "_kept"):  # L-BFGS has none; moments of another network don't fit
        e.__dict__.pop(name, None)


def _require_same(e: Estimator) -> None:
    """Raise if the network that training is to go on with is not what is described now."""
    network, output = e.network_, e._output()
    layers = parameters.layers_of(e, output.n_outputs)
    what = {
        "layers": (_described(layers), _described(network.layers)),
        "loss": (_described([output.loss]), _described([network.loss])),
        "dtype": (e.dtype or network.dtype.name, network.dtype.name),
    }
    for name, (wanted, there) in what.items():
        if wanted != there:
            raise ValueError(
                f"{name}: training goes on with {there}, and the parameters say {wanted} now: "
                "set them back, or fit anew with warm_start=False"
            )


def _described(things: Any) -> str:
    """Return what tells layers or losses from others: their kinds, and what they are set to."""
    found = []
    for thing in things:
        kind, settings = parameters.settings_of(thing)
        # A network decides these itself, by what comes after the layer.
        told = [f"{k}={v!r}" for k, v in settings.items() if k not in ("bias", "init")]
        found.append(f"{getattr(thing, 'name', kind)}({', '.join(told)})")
    return ", ".join(found)


def _fit_by_lbfgs(
    e: Estimator, x: Array, labels: Array, weights: Array | None, begin: Callable[[], None]
) -> None:
    e.n_iter_, e.loss_, converged, message = fit_lbfgs(
        e.network_,
        x,
        labels,
        weights,
        l2=e.alpha,
        max_iter=e.max_iter,
        max_fun=e.max_fun,
        tol=e.tol,
        verbose=bool(e.verbose),
        begin=begin,
    )
    if message == INTERRUPTED:
        warn("Training interrupted by user.")
    elif not converged:
        warn(
            f"lbfgs failed to converge after {e.n_iter_} iteration(s): {message}. Increase "
            "the number of iterations or scale the data",
            ConvergenceWarning,
        )


def _fit_by_steps(
    e: Estimator,
    x: Array,
    labels: Array,
    weights: Array | None,
    dev: Part | None,
    incremental: bool,
    begin: Callable[[], None],
) -> None:
    network, n = e.network_, x.shape[0]
    _begin_curves(e)
    batch_size = parameters.batch_size_of(e, n)
    if not incremental or e._optimizer is None:
        e._optimizer = Trainer(network, parameters.optimizer_of(e))
        take_moments(e, e._optimizer, incremental)
    e._optimizer.l2 = float(e.alpha)
    mean_weight = 1.0 if weights is None else float(weights.mean())
    convergence = Convergence(
        e,
        None if dev is None else _scorer(e, dev),
        by_score=e.early_stopping,
        # Each batch has the whole L2 term, over the sum of its weights.
        penalty=lambda: penalty(
            network, float(e.alpha), n / math.ceil(n / batch_size) * mean_weight
        ),
        n_examples=n,
    )
    e.n_iter_ = 0
    prepared = None if dev is None else network.prepare(dev.X, dev.codes)
    try:
        begin()
        e._optimizer.fit_prepared(
            x,
            labels,
            weights,
            prepared,
            FitOptions(
                batch_size=batch_size,
                epochs=1 if incremental else e.max_iter,
                callbacks=[convergence, *(e.callbacks or ())],
                shuffle=e.shuffle,
                monitor=0,
            ),
        )
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    except DivergedError as error:
        _report_divergence(e, error)
    else:
        if e.early_stopping and not _has_best(e):
            raise ValueError(
                "Predictions for the validation set were infinite after every epoch: there is no "
                "best one. Its features may be far from those that are trained on"
            )
        if e.n_iter_ == e.max_iter and not (convergence.converged or incremental):
            warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )
    e._no_improvement_count = convergence.without
    if e.early_stopping:
        with network.backend.active():
            convergence.restore_best(network)


def _begin_curves(e: Estimator) -> None:
    """Set what is written epoch by epoch, where an earlier fit has not."""
    fresh: tuple[tuple[str, Any], ...] = (
        ("loss_curve_", []),
        ("best_loss_", None if e.early_stopping else math.inf),
        ("validation_scores_", None),
        ("validation_loss_curve_", None),
        ("best_validation_score_", -math.inf if e.early_stopping else None),
    )
    for name, value in fresh:
        e.__dict__.setdefault(name, value)


def _scorer(e: Estimator, dev: Part) -> Callable[[dict[str, float]], float]:
    """Return what gives the score of an epoch on the validation set."""
    if e.validation_scores_ is None:
        e.validation_scores_, e.validation_loss_curve_ = [], []
    plain = dev.weights is None and e.network_.loss.of_classes

    def score(row: dict[str, float]) -> float:
        if plain:
            return 1.0 - row["dev_error"]
        predicted = to_host(e._predict(dev.X))
        if not (e.network_.loss.of_classes or all_finite(predicted)):
            return -math.inf
        with np.errstate(over="ignore"):  # of squares, which make it −∞ as well
            return float(e._measure(dev.y, predicted, dev.weights))

    return score


def _has_best(e: Estimator) -> bool:
    """Return whether an epoch had a score, so that its weights may be the best."""
    return e.best_validation_score_ is not None and math.isfinite(e.best_validation_score_)


def _report_divergence(e: Estimator, error: DivergedError) -> None:
    """Raise, unless there are best weights to go back to."""
    if not (e.early_stopping and e.n_iter_ and _has_best(e)):
        raise ValueError(f"{NOT_FINITE}: {error}") from error
    for curve in (e.loss_curve_, e.validation_scores_, e.validation_loss_curve_):
        if curve is not None:
            curve.append(math.nan)
    warn(f"{error}. With early stopping the weights of the best epoch are kept", ConvergenceWarning)
