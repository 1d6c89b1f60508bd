"""`tune`: a search for the hyper-parameters of estimators, pipelines, and networks of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
from sklearn.utils.validation import _num_samples, check_consistent_length

from ..backends.arrays import to_host
from ..checks import check_count, check_flag, check_positive
from ..data.batches import USUAL
from ..optim.optimizers import Optimizer
from ..search.default_spaces import array_space
from ..search.distributions import Distribution
from ..search.halving import Halving
from ..search.result import Tuning
from ..search.search import Search
from ..search.space import check_space, conditions, random_draws
from ..search.studies import make_study
from ..search.trials import Trial
from ..search.verdict import compare
from ..train.measures import Measure
from ..train.metrics import as_metric
from ..train.run_description import describe
from ..warning import warn
from .estimator_subject import EstimatorSubject, last_step
from .function_subject import FunctionSubject
from .held_out import HeldOut, hold_out, joined
from .inputs import check_weights
from .parameters import has_schedule
from .retraining import retrain

#: What a search calls hyper-parameters if nobody says, and an estimator.
NAMES = {
    "hidden": "hidden_layer_sizes",
    "learning_rate": "learning_rate_init",
    "l2": "alpha",
    "dropout": "dropout",
    "batch_size": "batch_size",
}

#: For how many epochs networks of a function are trained if nobody says, as by `Trainer.fit`.
EPOCHS = 20

#: How many settings a function is asked for a network, before the search.
ASKED = 8

#: Why a search has ended by Ctrl-C.
INTERRUPTED = "it was interrupted"

Subject = EstimatorSubject | FunctionSubject


def tune(
    model: Any,
    X: Any,
    y: Any,
    space: Mapping[str, Distribution] | None = None,
    *,
    trials: int = 100,
    members: int = 16,
    seconds: float | None = None,
    X_val: Any = None,
    y_val: Any = None,
    folds: Any = None,
    validation_fraction: float = 0.2,
    metric: Any = "error",
    halving: bool | Halving = True,
    sample_weight: Any = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    storage: Any = None,
    name: str = "xpnet",
    resume: bool | Literal["auto"] = False,
    random_state: int = 0,
    refit: bool = True,
    keep: int = 1,
    repeats: int = 0,
    watch: Callable[[Trial], object] | None = None,
) -> Tuning:
    """Search for hyper-parameters: many trials are trained at a time, as members of one network.

    Optuna (extra ``tune``) proposes what to try; without it settings are drawn at random. Trials
    whose networks differ in numbers alone, as rates, λ and dropout, are trained in one step, and
    the place of one that is stopped goes to the next one at once. Each is trained as it would be
    alone, and is judged by the best of its epochs. The same seed gives the same study.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, Pipeline or function
        An estimator, whose parameters hold where the space has none; `max_iter` is for how many
        epochs a trial is trained at most. `tol`, `n_iter_no_change`, `early_stopping`,
        `validation_fraction` and `verbose` are not used while searching. Or a pipeline that ends in
        one: names are as ``mlpclassifier__alpha``, and what comes before the network may be
        searched too; it learns from training rows alone. Or a function of a setting, a dict, that
        returns a `Trainer` of a new network.
    X, y : array-like, n examples each
        As for `fit` of the model; for a function as for `Trainer.fit`.
    space : dict of str to Distribution, or None
        What is searched in, by parameter. None, for estimators: hidden layers, learning rate,
        alpha and dropout, at a batch size that suits n where the model's is "auto".
    trials : int
        How many settings to try; those of other processes on the same study count.
    members : int
        How many networks to train at once, at most; as many as there are folds, if these are more.
    seconds : float or None
        After how many seconds to end the search.
    X_val, y_val : array-like or None
        A development set to measure on.
    folds : int, sequence of (examples, held_out), splitter of scikit-learn's, or None
        Measure by cross-validation: the mean over the folds.
    validation_fraction : float
        Without either: the share of the examples that is held out, of each class alike.
    metric : str or function
        "error", "loss", the name of one of scikit-learn's scorers, as "roc_auc", a scorer, or a
        function of (y, predictions), less of which is better unless its name ends in "_score", is
        "accuracy", or an attribute ``greater_is_better`` says otherwise.
    halving : bool or Halving
        Whether trials that are behind are stopped early.
    sample_weight : array-like, shape (n,), or None
        How much each example counts in training; those of X_val count 1, when it is trained on.
    batch_size, epochs : int or None
        For a function, where the space has none, as for `Trainer.fit`.
    storage : path, URL, storage of Optuna's, or None
        Where the study is kept: a file, or a database that several processes, on several machines,
        search in together. None: in memory.
    name : str
        The study's name in it.
    resume : bool or "auto"
        Whether to go on with a study that is there: data, space, metric and model must be the same.
        "auto": if there is one, as for several processes that begin at once.
    random_state : int
        The seed of what is proposed and of what is held out. That of the networks is the model's,
        or this one if it has none.
    refit : bool
        Whether to train the best setting anew on all examples, for its best number of epochs.
    keep : int
        How many to train anew: the best trials of the best one's architecture, as members.
    repeats : int
        With how many seeds to compare the best setting with the model's own, for the `verdict`; 0:
        there is none.
    watch : function or None
        Called with each trial that has ended.

    Returns
    -------
    Tuning
        Trials, the best one, and ``model``: an estimator or a pipeline, fitted, or of a function
        the network.

    Raises
    ------
    TypeError, ValueError
        If something is not as it must be: a name that the model does not have, a metric that is
        not defined for what is held out, a study of other data or another space; if no trial has a
        value.

    Warns
    -----
    UserWarning
        If Ctrl-C ended the search, after which nothing is trained anew; if the best setting could
        not be; if there are fewer trials to keep.

    Examples
    --------
    >>> import xpnet as xn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = xn.MLPClassifier((16,), max_iter=20, random_state=0, device="cpu")
    >>> space = {"learning_rate_init": xn.log_uniform(1e-3, 0.1), "alpha": xn.log_uniform(1e-4, 1)}
    >>> found = xn.tune(model, X, y, space, trials=12)
    >>> found.best.value < 0.2, found.model.score(X, y) > 0.8
    (True, True)
    """
    _check(trials, members, seconds, random_state, keep, repeats)
    check_flag(refit, "refit")
    if watch is not None and not callable(watch):
        raise TypeError(f"watch is {watch!r}: give a function of a trial")
    if space is not None:
        check_space(space)
    examples = _gather(X, y, X_val, y_val, sample_weight)
    part = partial(
        hold_out,
        given=examples.n_given,
        folds=folds,
        fraction=validation_fraction,
        seed=random_state,
    )
    if hasattr(model, "fit") or not callable(model):
        _require_none(batch_size=batch_size, max_iter=epochs)
        subject: Subject = EstimatorSubject(model, *examples[:3], part, random_state)
        space = _default_space(subject) if space is None else space
    else:
        if space is None:
            raise ValueError("space is None, and only estimators have a default one: give a space")
        subject = _function_subject(model, examples, part, space, batch_size, epochs, random_state)
    subject.search_in(space)
    _require_known(subject, examples.n_given)
    if repeats:
        _require_default(subject)
    objective = as_metric(metric, subject.classes)
    held_out = [own for _, own in subject.held_out.pairs]
    objective.require_defined(subject.loss, subject.codes, held_out)
    stops = _halving(halving, subject, space)
    study = make_study(
        dict(space),
        trials,
        objective.minimize,
        random_state,
        storage=storage,
        name=name,
        about=_about(subject, space, objective, stops),
        resume=resume,
    )
    search = Search(
        subject, study, objective, members=members, halving=stops, seconds=seconds, watch=watch
    )
    found = _run(search, Tuning(study, objective, default=subject.default(space)))
    if found.reason == INTERRUPTED:
        return found
    if refit:
        found.model = _retrain(subject, [found.best, *study.best()[1:]], keep)
    if repeats:
        both = subject.default(space), found.best.setting
        found.verdict = compare(subject, objective, *both, repeats=repeats, members=members)
    return found


def _check(
    trials: int, members: int, seconds: float | None, random_state: int, keep: int, repeats: int
) -> None:
    """Raise an error if a number is not as it must be, before anything is made."""
    for what, count in {"trials": trials, "members": members, "keep": keep}.items():
        check_count(count, what)
    check_count(random_state, "random_state", 0)
    if seconds is not None:
        check_positive(seconds, "seconds")
    if check_count(repeats, "repeats", 0) == 1:
        raise ValueError("repeats is 1, which tells nothing of noise: give 2 or more, or 0")


def _require_none(**given: Any) -> None:
    """Raise a ValueError if something is given that is a parameter of the model."""
    for name, value in given.items():
        if value is not None:
            what = {"max_iter": "epochs"}.get(name, name)
            raise ValueError(f"{what} is {value}, and the model has {name}: set that")


class Examples(NamedTuple):
    """All examples: features, labels, weights or None; the last ones are those of X_val."""

    X: Any
    y: Any
    weights: Any
    n_given: int


def _gather(X: Any, y: Any, X_val: Any, y_val: Any, sample_weight: Any) -> Examples:
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together: give both, or neither")
    weights = check_weights(_num_samples(y), sample_weight)
    if X_val is None:
        return Examples(X, y, weights, 0)
    n_given = _num_samples(y_val)
    check_consistent_length(X_val, y_val)
    if not n_given:
        raise ValueError("X_val and y_val have no examples: give some, or neither")
    if weights is not None:
        weights = np.concatenate([weights, np.ones(n_given)])
    return Examples(_below(X, X_val, "X"), _below(y, y_val, "y"), weights, n_given)


def _below(given: Any, held_out: Any, name: str) -> Any:
    """Return what is given with what is held out below it."""
    try:
        return joined([given, held_out])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}_val does not go with {name}: {error}") from error


def _require_known(subject: Subject, n_given: int) -> None:
    """Raise a ValueError if y_val has classes that nothing can be learnt of."""
    if subject.classes is None or not n_given:
        return
    unknown = np.setdiff1d(subject.codes[-n_given:], subject.codes[:-n_given])
    if len(unknown):
        raise ValueError(
            f"y_val has labels that y does not have: {subject.classes[unknown].tolist()}"
        )


def _function_subject(
    function: Callable[..., Any],
    examples: Examples,
    part: Callable[..., HeldOut],
    space: Any,
    batch_size: int | None,
    epochs: int | None,
    seed: int,
) -> FunctionSubject:
    for what, given in {"batch_size": batch_size, "epochs": epochs}.items():
        if given is not None and what in space:
            raise ValueError(f"{what} is {given}, and the space has it too: give one of them")
    size = USUAL if batch_size is None else check_count(batch_size, "batch_size")
    epochs = EPOCHS if epochs is None else check_count(epochs, "epochs")
    settings = random_draws(space, ASKED, seed)
    return FunctionSubject(function, *examples[:3], part, size, epochs, settings)


def _require_default(subject: Subject) -> None:
    """Raise a ValueError if there is nothing that the best setting could be compared with."""
    try:
        subject.candidate({})
    except Exception as error:
        raise ValueError(
            "repeats compares the best setting with what the function makes of none, {}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _default_space(subject: Subject) -> dict[str, Distribution]:
    """Return what an estimator is searched in: what its parameters leave open."""
    last, prefix = last_step(subject.model)
    fixed = set()
    if isinstance(last.solver, Optimizer) or has_schedule(last):
        fixed.add("learning_rate")
    if last.batch_size != "auto":
        fixed.add("batch_size")
    space = array_space(subject.held_out.n_examples)
    return {f"{prefix}{NAMES[name]}": of for name, of in space.items() if name not in fixed}


def _halving(given: Any, subject: Subject, space: Mapping[str, Distribution]) -> Halving | None:
    """Return when trials are stopped: by the largest number of epochs that one may have."""
    if given is None or isinstance(given, Halving):
        return given
    if not check_flag(given, "halving"):
        return None
    name = subject.epochs_name
    if name not in space:
        return Halving(subject.epochs)
    rest = [subject.epochs] if [*conditions(space[name])] else []  # where the space has none
    return Halving(max([*(check_count(n, name) for n in space[name].grid(2)), *rest]))


def _run(search: Search, found: Tuning) -> Tuning:
    """Search, and note how it went; Ctrl-C ends it."""
    start = time.perf_counter()
    try:
        search.run()
    except KeyboardInterrupt:
        search.reason = INTERRUPTED
        warn("Search interrupted by user.")
    finally:
        found.study.close()
    found.seconds, found.reason = time.perf_counter() - start, search.reason
    found.epochs = search.epochs
    return found


def _retrain(subject: Subject, trials: list[Trial], keep: int) -> Any:
    """Return the best trained anew; what was found is not to be lost if that goes wrong."""
    try:
        return retrain(subject, trials, keep)
    except (ArithmeticError, MemoryError, ValueError) as error:
        warn(f"the best setting was not trained anew, and the result has no model: {error}")
        return None


def _about(
    subject: Subject,
    space: Mapping[str, Distribution],
    metric: Measure,
    halving: Halving | None,
) -> dict[str, Any]:
    """Return what must be the same for all who share a study."""
    data = [to_host(part) for part in (subject.X, subject.y, subject.sample_weight)]
    return {
        "data": joblib.hash(data),
        "held_out": joblib.hash(subject.held_out.pairs),
        "metric": metric.name,
        "model": describe(subject.description(space)),
        "halving": None if halving is None else [halving.eta, *halving.rungs],
    }
