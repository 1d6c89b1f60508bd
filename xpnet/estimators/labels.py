"""Labels: from what a user gives to what a loss takes, and from predictions back to labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from ..backends.arrays import NUMPY, backend_of
from ..data.labels import as_float64, class_codes, is_numeric, kinds_of, named
from ..nn.passes import clamp

Labels = np.ndarray[Any, Any]


class Classes(NamedTuple):
    """The classes of a classifier.

    Attributes
    ----------
    labels : array
        The labels in order; of several columns of 0 and 1 their numbers.
    multilabel : bool
        Whether there are several columns of 0 and 1.
    """

    labels: Labels
    multilabel: bool

    @classmethod
    def learn(cls, y: Labels, classes: Any = None) -> Classes:
        """Take the classes from labels, or as they are given."""
        if is_multilabel(y):
            return cls(np.arange(y.shape[1]), True)
        return cls(_plain(np.unique(y) if classes is None else unique_labels(classes)), False)

    def require_all(self, y: Labels) -> None:
        """Raise a ValueError if labels are not of all classes, each of them."""
        if self.multilabel:
            return
        classes = unique_labels(y)
        if {*classes.tolist()} != {*self.labels.tolist()}:
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.labels}, `y` has {classes}"
            )

    def require_kind(self, y: Any) -> None:
        """Raise a ValueError if labels are numbers and the classes strings, or the reverse."""
        if self.multilabel or issparse(y):
            return
        of_numbers = is_numeric(np.asarray(y)), is_numeric(self.labels)
        if of_numbers[0] != of_numbers[1]:
            kinds = ["numbers" if numeric else "strings" for numeric in of_numbers]
            raise ValueError(
                f"y holds {kinds[0]} and the classes are {kinds[1]}: give labels of that kind"
            )

    def require_score(self, y: Labels) -> None:
        """Do nothing: the accuracy is defined for any labels."""

    def encode(self, y: Labels) -> Labels:
        """Return the numbers of labels' classes, or a ValueError for one that is not known."""
        multilabel = is_multilabel(y)
        if multilabel != self.multilabel or (multilabel and y.shape[1] != len(self.labels)):
            raise ValueError(f"`y` has shape {y.shape}, which is not as in the call before")
        if multilabel:
            return np.asarray(y != 0, np.int8)
        codes, unknown = class_codes(y, self.labels)
        if unknown.any():
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.labels}. 'y' has {unique_labels(y)}."
            )
        return codes

    def decode(self, codes: Any) -> Any:
        """Return the labels of classes' numbers, where these live if they can be held there."""
        if self.multilabel:
            return codes
        if len(self.labels) == 1:  # nothing else was ever seen
            codes = codes * 0
        backend = backend_of(codes, NUMPY)
        if not is_numeric(self.labels):  # labels that stay on the host
            return self.labels[backend.to_host(codes)]
        with backend.active():
            return backend.asarray(self.labels)[codes]

    def probabilities(self, p: Any, members: bool = False) -> Any:
        """Return the probability of each class, from what the network says: of one, or of each.

        With ``members`` p has an axis of them before its own.
        """
        if p.ndim == 2 + members:
            return p
        backend = backend_of(p, NUMPY)
        with backend.active():
            if len(self.labels) == 1:
                return backend.xp.ones_like(p)[..., None]
            return backend.xp.stack([1 - p, p], axis=-1)

    def spread(self, deviation: Any) -> Any:
        """Return the standard deviation of each class's probability, from that of one or of each.

        The probabilities of two classes, p and 1 − p, deviate alike.
        """
        if deviation.ndim == 2:
            return deviation
        backend = backend_of(deviation, NUMPY)
        with backend.active():
            if len(self.labels) == 1:
                return backend.xp.zeros_like(deviation)[:, None]
            return backend.xp.stack([deviation, deviation], axis=1)

    @property
    def strata(self) -> Labels | None:
        """The two classes, each of which has its share in a part; None: parts are random."""
        return None if self.multilabel or len(self.labels) > 2 else self.labels


class Values(NamedTuple):
    """The values of a regressor.

    Attributes
    ----------
    width : int
        In how many columns.
    bounds : array, shape (2 · width,), or None
        The least of each column that predictions may be, and then the largest; None: any.
    """

    width: int
    bounds: Labels | None = None
    strata: None = None

    @classmethod
    def learn(cls, y: Labels) -> Values:
        """Count the columns."""
        return cls(1 if y.ndim == 1 else int(y.shape[1]))

    def require_all(self, y: Labels) -> None:
        """Do nothing: any values will do."""

    def require_score(self, y: Labels) -> None:
        """Raise a ValueError if R² is not defined, for want of different values."""
        if (y == y[0]).all():
            several = f"the same value ({np.ravel(y)[0]:g}) {len(y)} times" if len(y) > 1 else "one"
            raise ValueError(
                f"The validation set holds {several}: R², which is to choose the weights, needs "
                "different values. Increase validation_fraction, or give others as X_val and y_val"
            )

    def encode(self, y: Labels) -> Labels:
        """Return the values, or a ValueError if there are not as many in a row."""
        width = Values.learn(y).width
        if width != self.width:
            raise ValueError(f"y has {width} outputs, and there were {self.width} before")
        return y

    def decode(self, predictions: Any) -> Any:
        """Return predictions as they are, or within the bounds."""
        if self.bounds is None:
            return predictions
        backend = backend_of(predictions, NUMPY)
        with backend.active():
            bounds = backend.asarray(self.bounds, predictions.dtype).reshape(2, self.width)
            return clamp(backend.xp, predictions, (bounds[0], bounds[1]))

    def spread(self, deviation: Any) -> Any:
        """Return standard deviations as they are."""
        return deviation


def _plain(classes: Labels) -> Labels:
    """Return classes in a type that files hold, or raise a ValueError before anything is fitted."""
    if not (is_numeric(classes) or classes.dtype.kind in "UO"):
        raise ValueError(f"y has dtype {classes.dtype}: give labels that are numbers or strings")
    if classes.dtype.kind != "f":
        return classes
    if classes.dtype.itemsize > 8:
        held = as_float64(classes, "y")
        if (held != classes).any():
            raise ValueError(f"y has dtype {classes.dtype}, and labels that float64 does not hold")
        classes = held
    return classes + 0.0  # −0 and 0 are one class, which is 0


def is_multilabel(y: Labels) -> bool:
    """Return whether labels are columns of 0 and 1; refuse what are no labels."""
    if y.dtype.kind == "O":
        types = {*map(type, np.ravel(y).tolist())}
        if not kinds_of(types) <= {"U", "S"}:
            raise ValueError(f"Unknown label type: y holds {named(types)}: give numbers or strings")
    check_classification_targets(y)
    multilabel = str(type_of_target(y, input_name="y")).startswith("multilabel")
    if y.ndim == 2 and not multilabel:
        raise ValueError(
            f"y has shape {y.shape} and holds classes: Multioutput target data is not supported; "
            "give one column of classes, or columns of 0 and 1"
        )
    return multilabel
