"""From labels to what a loss takes, and from predictions back to labels.

It is learnt from the training part alone, and travels in the model file.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..data.labels import (
    as_labels,
    class_array,
    class_codes,
    is_numeric,
    is_whole,
    require_utf8,
    these_values,
)
from ..data.scaling import Scales, require_list, split
from ..nn.loss import Loss
from ..nn.stacks import losses_for, units_for
from ..warning import warn
from .columns.kinds import GAPS
from .columns.schema import Column

Array = np.ndarray[Any, Any]


class Target:
    """From labels to what a loss takes, and from predictions back to labels.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
        What to predict.
    classes : list or None
        The labels in order, for classification.
    scales : Scales
        For regression: of the training labels' columns, which are standardised by them.
    column : Column or None
        How labels are read, if they are a table's.
    clamp : pair of array of float64, shape (n_outputs,), or None
        For regression: the least and the largest value of each output, to which predictions are
        clamped; None: they are not. Labels never are.

    Examples
    --------
    >>> y = np.array([2.0, 4.0, 9.0])
    >>> target = Target.learn(y, "regression"); target.standardise(y); target.clamp_to(y)
    >>> target.decode(np.array([-9.0, 0.0, 9.0]))
    array([2., 5., 9.])
    """

    TASKS: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    LOSSES: ClassVar[dict[str, str]] = {
        "binary": "sigmoid_cross_entropy",
        "multiclass": "softmax_cross_entropy",
        "regression": "mean_squared_error",
    }

    def __init__(
        self,
        task: str,
        classes: list[Any] | None = None,
        scales: Scales | None = None,
        n_outputs: int = 1,
        column: Column | None = None,
        clamp: tuple[Any, Any] | None = None,
    ) -> None:
        self.task, self.classes, self.column = task, classes, column
        self.scales = Scales(np.zeros(n_outputs), np.ones(n_outputs)) if scales is None else scales
        self.n_outputs = len(classes) if task == "multiclass" and classes else n_outputs
        self.clamp = None if clamp is None else self._checked(clamp)

    def _checked(self, clamp: tuple[Any, Any]) -> tuple[Array, Array]:
        """Return the bounds of predictions, or raise an error."""
        if self.classes is not None:
            raise ValueError(f"the task is {self.task}: values alone are clamped, no classes")
        if len(clamp) != 2:
            raise ValueError(f"clamp is {clamp!r:.100}: give the least and the largest")
        low, high = (np.array(bound, np.float64) for bound in clamp)
        if low.shape != (self.n_outputs,) or high.shape != low.shape:
            raise ValueError(f"clamp is {clamp!r:.100}: give two numbers for each output")
        if not np.isfinite([low, high]).all() or (low > high).any():
            raise ValueError(f"clamp is {clamp!r:.100}: give the least, and then the largest")
        return low, high

    @classmethod
    def learn(
        cls, y: np.ndarray[Any, Any], task: str | None = None, column: Column | None = None
    ) -> Target:
        """Infer the task, if none is given, and learn the classes.

        Raises
        ------
        ValueError
            If y holds NaN, infinite values or gaps, one class only, or does not fit the task.
        """
        given, y = np.asarray(y), as_labels(y, "the target")
        task = task or infer_task(y)
        if task not in cls.TASKS:
            raise ValueError(f"task is {task!r}: give one of {', '.join(cls.TASKS)}")
        if task == "regression":
            if not is_numeric(y):
                raise ValueError("the target holds text: a regression needs numbers")
            if (y == y[0]).all():
                raise ValueError(f"the target is {np.ravel(y)[0]} in every row: nothing to learn")
            return cls(task, n_outputs=y.shape[1] if y.ndim == 2 else 1, column=column)
        if y.ndim != 1:
            raise ValueError(f"the target has shape {y.shape}: {task} needs one label for each row")
        _require_exact(y, given)
        classes = _plain(np.unique(y + 0.0 if y.dtype.kind == "f" else y))  # -0.0 is 0.0
        require_utf8(classes if y.dtype.kind == "U" else (), "the target has the label")
        if len(classes) == 1:
            raise ValueError(f"the target has one class only ({classes[0]}): nothing to learn")
        if task == "binary" and len(classes) != 2:
            raise ValueError(f"the task is binary and the target has {len(classes)} classes")
        _tell_of_classes(classes, y)
        return cls(task, classes, column=column)

    def standardise(self, y: np.ndarray[Any, Any]) -> None:
        """Take mean and scale from a regression's training labels.

        Raises
        ------
        ValueError
            If they are too large for that.
        """
        y = as_labels(y, "the target")
        self.scales = Scales.learn(y.reshape(len(y), -1), "the target")

    def clamp_to(self, y: np.ndarray[Any, Any]) -> None:
        """Clamp predictions to the range of a regression's training labels from now on.

        A network may be far off where rows are far from those of the training, and squares of that
        outweigh all else.
        """
        rows = as_labels(y, "the target").reshape(len(y), -1)
        self.clamp = self._checked((rows.min(axis=0), rows.max(axis=0)))

    def clamp_values(self, standardised: Array) -> Array:
        """Return a network's values, standardised as they are, clamped: shape (…,) or (…, q)."""
        if self.clamp is None:
            return standardised
        return np.clip(standardised, *self._standardised_clamp())

    def output_bounds(self, loss: Loss) -> tuple[Array, Array] | None:
        """Return what a network's outputs z are clamped to, each (n_outputs,); None: nothing.

        Loss and error that are measured on such outputs are those of the clamped predictions.

        Raises
        ------
        ValueError
            If the loss does not say what outputs make a value.
        """
        if self.clamp is None:
            return None
        low, high = self._standardised_clamp()
        return loss.outputs_for(np, low), loss.outputs_for(np, high)  # type: ignore[return-value]

    def _standardised_clamp(self) -> Array:
        """Return the bounds as the loss has labels, (2, n_outputs)."""
        return self.scales.standardise(split(np.stack(self.clamp)))  # type: ignore[arg-type]

    @property
    def loss(self) -> str:
        """The loss that fits the task, if none is asked for."""
        return self.LOSSES[self.task]

    @property
    def losses(self) -> dict[str, type[Loss]]:
        """The losses that can be asked for."""
        return losses_for(of_classes=self.classes is not None)

    def units(self, loss: Loss) -> int:
        """Return how many outputs a network with a loss needs, or raise a ValueError."""
        return self.n_outputs if self.classes is None else units_for(loss, len(self.classes))

    def encode(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return labels as the loss takes them.

        Raises
        ------
        ValueError
            If y has labels that training did not know, or too far from those that it did.
        """
        given, y = np.asarray(y), as_labels(y, "the target")
        if self.classes is None:
            if not is_numeric(y):
                raise ValueError("the target holds text: the model predicts numbers")
            rows = y.reshape(len(y), -1)
            if rows.shape[1] != self.n_outputs:
                raise ValueError(
                    f"the target has {rows.shape[1]} columns and the model predicts "
                    f"{self.n_outputs}: give as many"
                )
            with np.errstate(over="ignore"):
                found = self.scales.standardise(split(rows)).reshape(y.shape)
            if bad := int(np.isinf(found).sum()):
                raise ValueError(
                    f"the target has {these_values(bad, 'too far from those of the training')}: "
                    "correct them, or leave those rows out"
                )
            return found
        _require_exact(y, given)
        if y.size != len(y):
            columns = y.size // len(y)
            raise ValueError(
                f"the target has {columns} columns and the model predicts one class: give one "
                "label for each row"
            )
        codes, unknown = class_codes(y.reshape(len(y)), class_array(self.classes))
        if unknown.any():
            strange = sorted({str(label) for label in _plain(y[unknown])})
            raise ValueError(
                f"the target has labels that the model does not know: {', '.join(strange[:5])}; "
                f"it knows {', '.join(map(str, self.classes[:20]))}"
            )
        return codes.astype(np.int32)

    def decode(self, predictions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return predictions of the network as labels, clamped if they are to be."""
        if self.classes is None:
            rows = self.scales.restore(predictions.reshape(len(predictions), -1))
            if self.clamp is not None:
                rows = np.clip(rows, *self.clamp)
            return rows.reshape(predictions.shape)
        return np.asarray(class_array(self.classes)[predictions])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        apart = ("mean", "scale", "remainder", "column", "clamp")
        others = {k: v for k, v in config.items() if k not in apart}
        column = Column.from_config(config["column"]) if "column" in config else None
        clamp = _clamp_of(config["clamp"]) if "clamp" in config else None
        found = cls(scales=Scales.from_config(config), column=column, clamp=clamp, **others)
        count = len(found.scales.mean)
        classes, task, n_outputs = found.classes, found.task, found.n_outputs
        if type(task) is not str or task not in cls.TASKS:
            raise ValueError(f"its task is {task!r:.100}")
        if type(n_outputs) is not int or n_outputs < 1 or found.config() != config:
            raise TypeError(f"it has {config.get('n_outputs')!r:.100} outputs, or an entry lacks")
        if task == "regression":
            if classes is not None or count != n_outputs:
                raise ValueError(f"{n_outputs} outputs have {count} scales, or classes")
            return found
        require_list(classes, (str, int, float, bool), "classes")
        if classes is None or len(classes) < 2 or (task == "binary" and len(classes) > 2):
            raise ValueError(f"there are {len(classes or [])} classes for a {task} task")
        # What becomes other values in an array would be predicted as these.
        array = class_array(classes)
        if array.dtype.kind not in "biufU" or [*map(type, _plain(array))] != [*map(type, classes)]:
            raise TypeError(f"classes are {classes!r:.100}: give all of one kind")
        if _plain(array) != classes:
            raise ValueError(f"classes are {classes!r:.100}: give all of one kind")
        return found

    def config(self) -> dict[str, Any]:
        """Return the target for a model file, JSON-ready."""
        column = {} if self.column is None else {"column": self.column.config()}
        clamp = {} if self.clamp is None else {"clamp": [bound.tolist() for bound in self.clamp]}
        return {
            "task": self.task,
            "classes": self.classes,
            **self.scales.config(),
            "n_outputs": self.n_outputs,
            **column,
            **clamp,
        }


def _clamp_of(told: Any) -> tuple[list[float], list[float]]:
    """Return the bounds of predictions that a file tells of, or raise a TypeError."""
    pair = type(told) is list and [*map(type, told)] == [list, list]
    if not pair or any(type(value) is not float for bound in told for value in bound):
        raise TypeError(f"predictions are clamped to {told!r:.100}")
    low, high = told
    return low, high


def infer_task(y: np.ndarray[Any, Any]) -> str:
    """Return the task that labels look like.

    Text and booleans are classes. So are whole numbers, if there are at most 20 different ones, or
    at most 100 and 50 rows or more for each; whole numbers in floating point, if there are at most
    10. All else is regression.

    Examples
    --------
    >>> infer_task(np.array(["no", "yes", "no"])), infer_task(np.array([0.5, 1.5, 2.0]))
    ('binary', 'regression')
    """
    if y.ndim == 2 and y.shape[1] > 1:
        return "regression"
    n_classes = len(np.unique(y))
    if y.dtype.kind in "iu":
        is_class = n_classes <= max(20, min(100, len(y) // 50))
    elif y.dtype.kind == "f":
        is_class = n_classes <= 10 and is_whole(y)
    else:
        is_class = True
    if not is_class:
        return "regression"
    return "binary" if n_classes <= 2 else "multiclass"


def _tell_of_classes(classes: list[Any], y: np.ndarray[Any, Any]) -> None:
    """Warn of classes that look like gaps, or like no classes at all."""
    for label in classes:
        if label in GAPS:
            count = int((y == label).sum())
            told = f"the target has the class {label!r}, in {count} of {len(y)} rows: if it means "
            warn(f"{told}that the label is missing leave those out")
    if len(classes) > max(20, len(y) / 2):
        warn(
            f"the target has {len(classes)} classes in {len(y)} rows, as {classes[0]!r}: hardly "
            "any two rows have the same; is it the column to predict?"
        )


def _require_exact(y: np.ndarray[Any, Any], given: np.ndarray[Any, Any]) -> None:
    """Raise a ValueError if labels are others than those that were given."""
    if is_numeric(y) and y.dtype != given.dtype and np.any(given != y):
        kind = f"dtype {given.dtype}" if given.dtype != object else "numbers of several types"
        raise ValueError(
            f"the target has {kind}, and labels that float64 does not hold: give "
            "classes as text or whole numbers, as numpy.unique(y, return_inverse=True)[1]"
        )


def _plain(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return an array's elements as Python's own numbers and strings, as JSON has them."""
    return values.tolist()  # type: ignore[no-any-return]
