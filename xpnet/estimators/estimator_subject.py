"""What a search makes networks of: an estimator, or a pipeline that ends in one."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import pairwise
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _num_samples, check_consistent_length

from .._typing import HostArray
from ..search.candidates import Candidate, Data
from ..search.groups import hashable
from ..search.trials import Setting
from ..train.trainer import Trainer
from . import parameters
from .base import MLP
from .class_weights import is_balanced
from .fitting import build
from .held_out import HeldOut, joined, taken
from .inputs import check_data, check_features
from .parameters import Estimator

#: What is trained on: features, and numbers of classes or values.
Pair = tuple[Any, Any]

#: How many data sets are kept for settings to come, where what comes before the network differs.
RECENT = 4

#: Parameters that a search can't follow: which values, and what to do.
REFUSED: tuple[tuple[str, Callable[[Estimator], bool], str], ...] = (
    ("solver", lambda e: isinstance(e.solver, str) and e.solver == "lbfgs", "give 'adam'"),
    (
        "learning_rate",
        lambda e: e.solver == "sgd" and e.learning_rate in ("invscaling", "adaptive"),
        "give 'constant', or a schedule",
    ),
    ("shuffle", lambda e: not e.shuffle, "leave it True"),
    ("warm_start", lambda e: bool(e.warm_start), "leave it False"),
    ("callbacks", lambda e: bool(e.callbacks), "leave it None"),
    ("recipe", lambda e: e.recipe is not None, "leave it None"),
    ("members", lambda e: e.members not in (None, 1), "leave it None, and give tune(keep=k)"),
)


def last_step(model: Any) -> tuple[Estimator, str]:
    """Return the estimator that a model is or ends in, and what its parameters' names begin with.

    Raises
    ------
    TypeError
        If it is no such model.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from xpnet import MLPClassifier
    >>> last_step(make_pipeline(StandardScaler(), MLPClassifier()))
    (MLPClassifier(), 'mlpclassifier__')
    """
    name, last = model.steps[-1] if isinstance(model, Pipeline) else ("", model)
    if not isinstance(last, MLP):
        raise TypeError(
            f"model is {model!r:.200}: give an MLPClassifier or MLPRegressor, a Pipeline that ends "
            "in one, or a function of a setting that returns a Trainer"
        )
    return last, f"{name}__" if name else ""


class EstimatorSubject:
    """An estimator or a pipeline of which a search makes networks.

    A setting's network is trained as `fit` of an estimator with these parameters trains it, for
    `max_iter` epochs: `tol`, `n_iter_no_change`, `early_stopping`, `validation_fraction` and
    `verbose` are not used, since a search has its own best epoch. What comes before it in a
    pipeline learns from the training rows alone, of each fold for itself.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor or Pipeline
        With the parameters that hold where a setting has none.
    X, y : array-like
        All examples, as for `fit`.
    sample_weight : array, shape (n,), or None
        How much each counts.
    held_out : function of (n, labels)
        Returns the `HeldOut`; labels are those to stratify by, or None.
    seed : int
        The networks', if the model has none.

    Attributes
    ----------
    model : object
        A copy of it.
    held_out : HeldOut
        What is held out.
    classes : array or None
        The labels of the classes by number; None: there are values, or columns of 0 and 1.
    codes : array
        The numbers of the examples' classes, or their values.
    loss : Loss
        What networks minimise.
    searched : tuple of str
        The parameters that are searched.

    Raises
    ------
    TypeError, ValueError
        If it is no such model, a parameter is none that a search can follow, or data are not as
        they must be.
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        held_out: Callable[[int, HostArray | None], HeldOut],
        seed: int = 0,
    ) -> None:
        last, self.prefix = last_step(model)
        self.model, self.X, self.y, self.sample_weight = clone(model), X, y, sample_weight
        self.searched: tuple[str, ...] = ()
        if last.random_state is None:
            self.model.set_params(**{f"{self.prefix}random_state": seed})
        last, _ = last_step(self.model)
        last._validate_params()
        check_followed(last)
        self._learn(clone(last))
        strata = None if self.classes is None else self.codes
        self.held_out = held_out(len(self.codes), strata)
        self._data: WeakValueDictionary[Hashable, Data] = WeakValueDictionary()
        self._recent: deque[Data] = deque(maxlen=RECENT)
        self.loss = self.candidate({}).trainer.network.loss

    def _learn(self, last: Estimator) -> None:
        """Learn what the labels are, and check the features where nothing comes before."""
        check_consistent_length(self.X, self.y)
        before = self._has_transformers
        X = np.zeros((_num_samples(self.y), 1)) if before else self.X
        X, y = check_data(last, X, self.y, reset=True)
        self._features = self.X if before else X
        last._learn_labels(y)
        self.codes = last._labels.encode(y)
        params = last.get_params(deep=False)
        self._learnt = {name: value for name, value in vars(last).items() if name not in params}
        several = getattr(last, "_multilabel", False)
        self.classes = None if several else getattr(last, "classes_", None)

    @property
    def _has_transformers(self) -> bool:
        return isinstance(self.model, Pipeline) and len(self.model.steps) > 1

    @property
    def n_folds(self) -> int:
        """How many networks a setting is judged by."""
        return len(self.held_out.pairs)

    @property
    def epochs_name(self) -> str:
        """The hyper-parameter that says for how many epochs a network is trained."""
        return f"{self.prefix}max_iter"

    @property
    def epochs(self) -> int:
        """For how many epochs, where a setting does not say."""
        return int(last_step(self.model)[0].max_iter)

    def search_in(self, space: Mapping[str, Any]) -> None:
        """Take note of what is searched, or raise a ValueError if it is no parameter."""
        known = self.model.get_params()
        for name in space:
            if name not in known:
                close = [other for other in known if other.endswith(f"__{name}")]
                close += difflib.get_close_matches(name, known, 3)
                hint = f"; did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
                raise ValueError(f"space has {name!r}, and the model no such parameter{hint}")
        self.searched = tuple(space)

    def default(self, names: Iterable[str]) -> Setting:
        """Return the values that the model has."""
        params = self.model.get_params()
        return {name: params[name] for name in names}

    def description(self, names: Iterable[str]) -> dict[str, Any]:
        """Return what the model is but for some parameters, and but for where it is computed."""
        left_out = {*names, f"{self.prefix}device", f"{self.prefix}verbose", "memory", "verbose"}
        found = {}
        for name, value in self.model.get_params().items():
            if name not in left_out and name != "steps":
                found[name] = type(value).__name__ if hasattr(value, "get_params") else value
        return {"kind": type(self.model).__name__, **found}

    def with_setting(self, setting: Mapping[str, Any]) -> Any:
        """Return an unfitted copy of the model with a setting's values."""
        return clone(self.model).set_params(**setting)

    def candidate(self, setting: Setting, repeat: int = 0) -> Candidate:
        """Return what a setting comes to; see `Subject`."""
        model = self.with_setting(setting)
        last, _ = last_step(model)
        last._validate_params()
        check_followed(last)
        data = self._data_for(setting, model, last)
        last.__dict__.update(self._learnt, n_features_in_=data.train[0].shape[1])
        seed = parameters.seeds_of(last, parameters.check_members(last))[0] + repeat
        build(last, data.train[0], [seed], None)
        trainer = Trainer(last.network_, parameters.optimizer_of(last), float(last.alpha))
        batch_size = parameters.batch_size_of(last, self.held_out.n_examples)
        return Candidate(trainer, data, batch_size, last.max_iter)

    # -- data ----

    def _data_for(self, setting: Setting, model: Any, last: Estimator) -> Data:
        """Return what networks are trained and measured on: the same of settings alike in that."""
        weighed = f"{self.prefix}class_weight"
        own = {k: v for k, v in setting.items() if k == weighed or not self._is_last(k)}
        key = tuple((name, hashable(value)) for name, value in sorted(own.items()))
        data = self._data.get(key)
        if data is None:
            data = self._data[key] = self._make_data(model, last)
        if data not in self._recent:
            self._recent.append(data)
        return data

    def _is_last(self, name: str) -> bool:
        """Return whether a parameter is one of the network's, not of what comes before it."""
        return name.startswith(self.prefix)

    def _make_data(self, model: Any, last: Estimator) -> Data:
        pairs, codes = self.held_out.pairs, self.codes
        balanced = is_balanced(getattr(last, "class_weight", None))
        if self.held_out.by_folds and not (self._has_transformers or balanced):
            every = np.arange(len(codes))
            all_of_it = self._features, codes
            return Data(all_of_it, all_of_it, self._weights(last, every), pairs)
        parts = [self._part(model, pair) for pair in pairs]
        if not self.held_out.by_folds:
            (train, dev), (examples, _) = parts[0], pairs[0]
            return Data(train, dev, self._weights(last, examples))
        return self._below_one_another(last, parts)

    def _part(self, model: Any, pair: tuple[HostArray, HostArray]) -> tuple[Pair, Pair]:
        """Return what is trained on and what is held out, prepared by what the former has shown."""
        examples, held_out = pair
        train, dev = taken(self._features, examples), taken(self._features, held_out)
        if self._has_transformers:
            before = clone(model[:-1])
            last, _ = last_step(clone(model))
            train = check_features(last, before.fit_transform(train, taken(self.y, examples)), True)
            dev = check_features(last, before.transform(dev), False)
        return (train, self.codes[examples]), (dev, self.codes[held_out])

    def _below_one_another(self, last: Estimator, parts: list[tuple[Pair, Pair]]) -> Data:
        """Return folds that differ in more than their rows as the data of all, one after another.

        Members are trained on rows of one array.
        """
        widths = [train[0].shape[1] for train, _ in parts]
        if len({*widths}) > 1:
            raise ValueError(
                f"the folds have {widths} features after what comes before the network: have it "
                "make the same of each, as with OneHotEncoder(categories=…)"
            )
        sets = [one for part in parts for one in part]
        ends = np.cumsum([0, *(len(codes) for _, codes in sets)])
        rows = [np.arange(a, b) for a, b in pairwise(ends)]
        folds = [*zip(rows[::2], rows[1::2], strict=True)]
        X = joined([X for X, _ in sets])
        data = X, np.concatenate([codes for _, codes in sets])
        weights = None
        if self._weights(last, self.held_out.pairs[0][0]) is not None:
            weights = np.ones(len(data[1]))
            for own, (examples, _) in zip(folds, self.held_out.pairs, strict=True):
                weights[own[0]] = self._weights(last, examples)
        return Data(data, data, weights, folds)

    def _weights(self, last: Estimator, examples: HostArray) -> Any:
        """Return the weights of rows that are trained on, with those of their classes, or None."""
        last.__dict__.update(self._learnt)
        given = None if self.sample_weight is None else self.sample_weight[examples]
        return last._weigh_classes(self.codes[examples], given, False)


def check_followed(last: Estimator) -> None:
    """Raise a ValueError if a parameter has a value that a search can't follow."""
    parameters.check_members(last)
    for name, is_so, advice in REFUSED:
        if is_so(last):
            raise ValueError(
                f"{name} is {getattr(last, name)!r}, which a search can't follow: {advice}"
            )
