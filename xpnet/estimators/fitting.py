"""An estimator's fit: data, network, and the training by steps or by L-BFGS; all of it or nothing.

The functions read an estimator's parameters and write its fitted attributes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._typing import Array
from ..backends.arrays import resolve_device, to_host
from ..checks import all_finite
from ..data.arrays import prepare_weights
from ..interrupts import defer_sigint
from ..nn.layer import Layer
from ..nn.network import Network
from ..nn.snapshots import restore, snapshot, weights_of
from ..train.fit import FitOptions
from ..train.history import DivergedError
from ..train.trainer import Trainer
from ..warning import warn
from . import parameters
from .convergence import NOT_FINITE, Convergence, has_best
from .files import counters_of, set_counters, take_moments
from .inputs import Part, check_weights
from .lbfgs import INTERRUPTED, check_lbfgs, fit_lbfgs
from .members import FIGURES, alone, gather
from .parameters import Estimator
from .validation import Sets, make_score, part_data, require_scores

#: What is written epoch by epoch.
CURVES = (
    *("loss_curve_", "best_loss_"),
    *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
)


#: What a fit by a recipe writes beside that.
OF_RECIPES = ("plan_", "temperature_", "_bounds")


@contextmanager
def all_or_nothing(estimator: Estimator, first: bool) -> Iterator[None]:
    """Leave the estimator as it was if a fit is refused or fails: what was fitted stays.

    ``first`` says that the fit makes a new network; the one before it is not written to.
    """
    before = dict(estimator.__dict__)
    for name in CURVES:
        if name in before:
            before[name] = copy.deepcopy(before[name])
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
    counters = counters_of(trainer) if trainer else {}

    def undo() -> None:
        with network.backend.active():
            restore(arrays, copies)
        if trainer:
            set_counters(trainer, counters)

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
    members = parameters.check_members(e)
    if e.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if e.solver == "lbfgs":
        check_lbfgs(e, validation)
    if first and not incremental:
        e._learn_labels(y)
    elif e.warm_start:
        e._labels.require_all(y)
    seeds = parameters.seeds_of(e, members)
    data = Part(X, y, e._labels.encode(y), check_weights(len(y), sample_weight))
    fraction = e.validation_fraction if e.early_stopping else None
    sets = part_data(e, data, validation, seeds, members, fraction)
    if e.early_stopping:
        require_scores(e, sets)
    # Ctrl-C while the network is made would leave no estimator: it waits for the first step.
    with ExitStack() as until_all_is_there:
        until_all_is_there.enter_context(defer_sigint())
        if first:
            build(e, sets.data.X, seeds, members)
        else:
            _require_same(e, members)
        network, each = e.network_, alone(e, seeds, members)
        for one in each:
            _begin(one)
        x, labels = network.prepare(sets.data.X, sets.data.codes)
        weights = weights_for(e, sets, incremental)
        begin = until_all_is_there.close
        if e.solver == "lbfgs":
            _fit_by_lbfgs(e, each, (x, labels, weights), begin)
        else:
            _fit_by_steps(e, each, (x, labels, weights), sets, incremental, begin)
        gather(e, each)
    with network.backend.active():
        finite = all_finite(network.parameters, network.backend.xp)
    if not finite:
        raise ValueError(f"{NOT_FINITE}.")


def weights_for(e: Estimator, sets: Sets, incremental: bool) -> Array | None:
    """Return the weights of training examples, with those of their classes, or none.

    Where members have examples of their own, each has weights of its own.
    """
    network, data, n = e.network_, sets.data, len(sets.data.codes)
    weights = None
    if sets.subsets is None:
        weights = e._weigh_classes(data.codes, data.weights, incremental)
    elif not (data.weights is None and getattr(e, "class_weight", None) is None):
        weights = np.ones((len(sets.subsets), n))
        for rows, own in zip(sets.subsets, weights, strict=True):
            given = None if data.weights is None else data.weights[rows]
            own[rows] = e._weigh_classes(data.codes[rows], given, incremental)
    if weights is None:
        return None
    to = network.backend, network.dtype, network.members, sets.subsets
    return prepare_weights(weights, n, *to)


def build(e: Estimator, X: Any, seeds: list[int], members: int | None) -> None:
    """Make the network, and forget all that was written by epochs."""
    output = e._output()
    layers = parameters.layers_of(e, output.n_outputs)
    build_of(e, layers, output, X, seeds, members)
    e.n_layers_ = len(parameters.sizes_of(e)) + 2


def build_of(
    e: Estimator, layers: list[Layer], output: Any, X: Any, seeds: list[int], members: int | None
) -> None:
    """Make the network of layers, and forget all that another one was told of."""
    e.n_outputs_, e.out_activation_ = output.n_outputs, output.activation
    e.network_ = Network(
        layers,
        loss=output.loss,
        n_features=e.n_features_in_,
        device=resolve_device(e.device, X),
        dtype=e.dtype or X.dtype.name,
        random_state=seeds if members else seeds[0],
        members=members,
    )
    e._optimizer = None
    # Moments of another network don't fit.
    for name in (*FIGURES, *FIGURES.values(), *OF_RECIPES, "_kept"):
        e.__dict__.pop(name, None)


def _require_same(e: Estimator, members: int | None) -> None:
    """Raise if the network that training is to go on with is not what is described now."""
    network, output = e.network_, e._output()
    layers = parameters.layers_of(e, output.n_outputs)
    what = {
        "layers": (_described(layers), _described(network.layers)),
        "loss": (_described([output.loss]), _described([network.loss])),
        "dtype": (e.dtype or network.dtype.name, network.dtype.name),
        "members": (members, network.members),
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


def _begin(one: Estimator) -> None:
    """Set the figures that go on from an earlier fit, where there was none."""
    for name in ("t_", "_no_improvement_count"):
        one.__dict__.setdefault(name, 0)
    one.n_iter_ = 0


#: What is trained on, on the device: features, labels, and weights or None.
Prepared = tuple[Array, Array, Array | None]


def _fit_by_lbfgs(
    e: Estimator, each: Sequence[Estimator], prepared: Prepared, begin: Callable[[], None]
) -> None:
    """Fit by L-BFGS, members one after another: each has line searches of its own."""
    for i, one in enumerate(each):
        if one is not e:
            one.network_ = e.network_.member(i)
        one.n_iter_, one.loss_, converged, message = fit_lbfgs(
            one.network_,
            *prepared,
            l2=float(one.alpha),
            max_iter=one.max_iter,
            max_fun=one.max_fun,
            tol=one.tol,
            verbose=bool(one.verbose),
            begin=begin,
        )
        if one is not e:
            e.network_.copy_arrays(one.network_.parameters, one.network_.statistics, i)
        if message == INTERRUPTED:
            if begin is not _interrupt:
                warn("Training interrupted by user.")
            begin = _interrupt
        elif not converged:
            which = "" if one is e else f" member {i}"
            warn(
                f"lbfgs failed to converge{which} after {one.n_iter_} iteration(s): {message}. "
                "Increase the number of iterations or scale the data",
                ConvergenceWarning,
            )


def _interrupt() -> None:
    """Keep a member from being trained after Ctrl-C."""
    raise KeyboardInterrupt


def _fit_by_steps(
    e: Estimator,
    each: Sequence[Estimator],
    prepared: Prepared,
    sets: Sets,
    incremental: bool,
    begin: Callable[[], None],
) -> None:
    network, n = e.network_, sets.n_examples
    for one in each:
        _begin_curves(one)
    batch_size = parameters.batch_size_of(e, n)
    if not incremental or e._optimizer is None:
        e._optimizer = Trainer(network, parameters.optimizer_of(e))
        take_moments(e, e._optimizer, incremental)
    e._optimizer.l2 = parameters.numbers_of(e.alpha)
    mean_weights = _mean_weights(sets, prepared[2])
    convergence = Convergence(
        e,
        each,
        make_score(e, each, sets.dev) if sets.dev else None,
        by_score=e.early_stopping,
        # Each batch has the whole L2 term, over the sum of its weights.
        n_penalized=[n / math.ceil(n / batch_size) * mean for mean in mean_weights],
        n_examples=n,
    )
    dev = prepared_dev(network, prepared, sets)
    try:
        begin()
        e._optimizer.fit_prepared(
            *prepared,
            dev,
            FitOptions(
                batch_size=batch_size,
                epochs=1 if incremental else e.max_iter,
                callbacks=[convergence, *(e.callbacks or ())],
                shuffle=e.shuffle,
                monitor=0,
            ),
            sets.subsets,
            sets.dev_subsets,
        )
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    except DivergedError as error:
        for run in convergence.runs:
            if not run.diverged:
                run.diverge(str(error), error)
    else:
        _report_end(e, each, convergence, incremental)
    if e.early_stopping:
        with network.backend.active():
            convergence.restore_best(network)


def prepared_dev(network: Network, prepared: Prepared, sets: Sets) -> tuple[Array, Array] | None:
    """Return the validation set on the device, or what it is taken from for each member."""
    if sets.dev_subsets is not None:
        return prepared[:2]
    return network.prepare(sets.dev[0].X, sets.dev[0].codes) if sets.dev else None


def _mean_weights(sets: Sets, weights: Array | None) -> list[float]:
    """Return the mean weight of the examples of each member, or of all that there are."""
    if weights is None:
        return [1.0]
    if sets.subsets is None:
        return [float(weights.mean())]
    each = zip(to_host(weights), sets.subsets, strict=True)
    return [float(own[rows].mean()) for own, rows in each]


def _report_end(
    e: Estimator, each: Sequence[Estimator], convergence: Convergence, incremental: bool
) -> None:
    """Raise if early stopping has no best weights, and warn of what has not converged."""
    if e.early_stopping and not all(map(has_best, each)):
        raise ValueError(
            "Predictions for the validation set were infinite after every epoch: there is no "
            "best one. Its features may be far from those that are trained on"
        )
    going = [
        str(run.member)
        for one, run in zip(each, convergence.runs, strict=True)
        if one.n_iter_ == e.max_iter and not run.converged
    ]
    if going and not incremental:
        of = "" if each[0] is e else f" of member{'s' * (len(going) > 1)} {', '.join(going)}"
        warn(
            f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
            f"optimization{of} hasn't converged yet.",
            ConvergenceWarning,
        )


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
