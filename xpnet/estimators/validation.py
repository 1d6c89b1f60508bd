"""What is held out of the examples, or given, to judge an estimator by while it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from .._typing import HostArray
from ..backends.arrays import to_host
from ..checks import all_finite
from ..data.batches import take_rows
from .inputs import Part, check_data
from .labels import Classes, Values
from .parameters import Estimator


class Sets(NamedTuple):
    """The examples of a fit.

    Attributes
    ----------
    data : Part
        What is trained on; with `subsets`, all that there is.
    subsets : list of array of int, or None
        The rows that each member is trained on; None: all of them.
    dev : list of Part
        The validation set of each member, or the one that all share, or none.
    dev_subsets : list of array of int, or None
        The rows of `data` that the validation set of each member is; None: it is none of its.
    """

    data: Part
    subsets: list[HostArray] | None
    dev: list[Part]
    dev_subsets: list[HostArray] | None = None

    @property
    def n_examples(self) -> int:
        """How many examples an epoch goes through, of the network that has the most."""
        return len(self.data.codes) if self.subsets is None else max(map(len, self.subsets))


def part_data(
    e: Estimator,
    data: Part,
    given: tuple[Any, Any],
    seeds: Sequence[int],
    members: int | None,
    fraction: float | None,
) -> Sets:
    """Return what is trained on, and the validation sets: as given, or out of the data, or none.

    ``fraction`` is the share of the data that is held out; None: nothing is.

    Raises
    ------
    ValueError
        If there are too few examples.
    """
    if given[0] is not None:
        X, y = check_data(e, *given, reset=False)
        sets = Sets(data, None, [Part(X, y, e._labels.encode(y), None)])
    elif fraction is not None and e.solver != "lbfgs":
        rows = [_hold_out(data, e._labels, fraction, seed) for seed in seeds]
        subsets, held = ([*part] for part in zip(*rows, strict=True))
        dev = [take(data, own) for own in held]
        sets = (
            Sets(data, subsets, dev, held) if members else Sets(take(data, subsets[0]), None, dev)
        )
    else:
        sets = Sets(data, None, [])
    return sets


def require_scores(e: Estimator, sets: Sets) -> None:
    """Raise a ValueError if early stopping has no score to go by, whatever the predictions are."""
    for part in sets.dev:
        _require_score(part, e._labels)


def _hold_out(
    data: Part, labels: Classes | Values, fraction: float, seed: int
) -> tuple[HostArray, HostArray]:
    """Return the rows to train on and those held out; of two classes each has its share."""
    options = {"test_size": fraction, "random_state": seed}
    rows = np.arange(len(data.codes))
    if labels.strata is None:
        train, dev = train_test_split(rows, **options)
    else:
        try:
            # A column of truth values: scikit-learn's messages then call the second class 'True'.
            two = data.codes.astype(bool)[:, None]
            train, dev = train_test_split(rows, stratify=two, **options)
        except ValueError as error:
            raise ValueError(f"{error} ('True' is the class {labels.strata[-1]!r})") from error
    if len(dev) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    return train, dev


def _require_score(dev: Part, labels: Classes | Values) -> None:
    """Raise a ValueError if predictions for a validation set have no score, whatever they are."""
    counted = dev.y if dev.weights is None else dev.y[dev.weights > 0]
    if len(counted) == 0:
        raise ValueError(
            f"sample_weight is zero for all {len(dev.y)} examples of the validation set: increase "
            "validation_fraction, or give X_val and y_val"
        )
    labels.require_score(counted)


def take(data: Part, rows: HostArray) -> Part:
    """Return some of the examples."""
    weights = None if data.weights is None else data.weights[rows]
    return Part(take_rows(data.X, rows), data.y[rows], data.codes[rows], weights)


def make_score(
    e: Estimator, each: Sequence[Estimator], dev: Sequence[Part]
) -> Callable[..., list[float]]:
    """Return what gives the scores of an epoch on the validation sets, by rows of the history."""
    for one in each:
        if one.validation_scores_ is None:
            one.validation_scores_, one.validation_loss_curve_ = [], []
    plain = dev[0].weights is None and e.network_.loss.of_classes

    def score(*rows: dict[str, float]) -> list[float]:
        if plain:
            return [1.0 - row["dev_error"] for row in rows]
        found = _predictions(e, dev)
        sets = dev if len(dev) == len(found) else [dev[0]] * len(found)
        return [_score(e, one, p) for one, p in zip(sets, found, strict=True)]

    return score


def _predictions(e: Estimator, dev: Sequence[Part]) -> list[Any]:
    """Return what each member, or the one network, says of its validation set."""
    if e.network_.members is None:
        return [to_host(e._predict(dev[0].X))]
    if len(dev) == 1:
        return [*to_host(e._predict(dev[0].X, members=True))]
    views = e._optimizer.update_step.one_by_one.views.each
    with e.network_.backend.active():
        found = [view.predictor.decide(part.X) for view, part in zip(views, dev, strict=True)]
    return [to_host(e._labels.decode(predicted)) for predicted in found]


def _score(e: Estimator, dev: Part, predicted: Any) -> float:
    if not (e.network_.loss.of_classes or all_finite(predicted)):
        return -math.inf
    with np.errstate(over="ignore"):  # of squares, which make it −∞ as well
        return float(e._measure(dev.y, predicted, dev.weights))
