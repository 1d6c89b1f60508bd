"""What is learnt from the training rows before the network sees them, and undone after it.

`Features` turns raw columns into numbers of a common scale; `Target` turns labels into what a loss
takes, and back. Both are learnt from training data alone and travel in the model file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .validation import CHUNK, as_array, describe_columns
from .validation import is_frame as is_frame

#: More different strings in one column than this, and it is taken for names or numbers of rows.
MOST_CATEGORIES = 1000


class Features:
    """From raw columns to features: standardise numbers, one-hot encode strings, fill gaps.

    An array of numbers is standardised column by column, but for one that looks like pixels or
    counts (`share_a_unit`), whose columns share one mean and one deviation: a pixel that is seldom
    lit must not weigh the more for it. In a data frame numbers are standardised, strings and
    categories become one column for each category, and what is missing is filled: with the mean
    for numbers, with none of the categories for strings; where training rows had gaps, a further
    column says where.

    Attributes
    ----------
    names : list of str or None
        A frame's numeric columns; None for an array.
    mean, scale : numpy.ndarray
        Of the numeric columns, from the training rows; a constant column has scale 1.
    gaps : list of int
        Which numeric columns had gaps.
    categories : dict of str to list
        The categories of each other column; None stands for a gap.
    """

    def __init__(
        self,
        names: list[str] | None,
        mean: Any,
        scale: Any,
        gaps: list[int],
        categories: dict[str, list[str | None]],
    ) -> None:
        self.names = names
        self.mean, self.scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        self.gaps, self.categories = gaps, categories

    @classmethod
    def learn(cls, rows: Any) -> Features:
        """Learn from training rows.

        Raises
        ------
        TypeError
            If an array holds no numbers, or a frame's column neither numbers nor strings.
        ValueError
            If values are NaN (in an array) or infinite, or too large to standardise, or a column
            has too many categories.
        """
        if not is_frame(rows):
            _require_finite(rows)
            if share_a_unit(rows):
                whole = np.ones(rows.shape[1])
                mean, scale = float(rows.mean()), float(rows.std()) or 1.0
                return cls(None, mean * whole, scale * whole, [], {})
            return cls(None, *_mean_and_deviation(rows, "X"), [], {})
        rows = _with_names(rows)
        names = [c for c in rows.columns if _is_number(rows[c])]
        numbers = _numbers(rows, names)
        known = np.where(np.isnan(numbers), 0.0, numbers)
        counts = np.maximum((~np.isnan(numbers)).sum(axis=0), 1)
        with np.errstate(over="ignore"):
            mean = known.sum(axis=0) / counts
        filled = np.where(np.isnan(numbers), mean, numbers)
        gaps = [int(i) for i in np.flatnonzero(np.isnan(numbers).any(axis=0))]
        others = [c for c in rows.columns if not _is_number(rows[c])]
        categories = {c: _categories(rows[c]) for c in others}
        deviation = _deviation(filled)
        _require_standardisable(filled, mean, deviation, "the data", names)
        return cls(names, mean, deviation, gaps, categories)

    @property
    def n_features(self) -> int:
        """Number of features that the network gets."""
        return len(self.mean) + len(self.gaps) + sum(map(len, self.categories.values()))

    def transform(self, rows: Any, dtype: Any) -> np.ndarray[Any, Any]:
        """Return features, shape (n, n_features), of raw rows.

        Raises
        ------
        TypeError, ValueError
            If the rows are not of the kind that was learnt from; the message says what differs.

        Warns
        -----
        UserWarning
            If a column holds categories that training rows did not have: none is set for them.
        """
        if self.names is None:
            return self._transform_array(rows, dtype)
        if not is_frame(rows):
            raise TypeError(
                "the model was trained on a table with named columns: give such a table"
            )
        rows = _with_names(rows)
        missing = [c for c in (*self.names, *self.categories) if c not in rows.columns]
        if missing:
            raise ValueError(f"the data has no column {', '.join(map(repr, missing))}")
        for name in self.names:
            if not _is_number(rows[name]):
                rows[name] = _as_numbers(rows[name])
        numbers = _numbers(rows, self.names)
        absent = np.isnan(numbers)
        blocks = [(np.where(absent, self.mean, numbers) - self.mean) / self.scale]
        blocks.append(absent[:, self.gaps].astype(np.float64))
        blocks += [_one_hot(rows[c], c, known) for c, known in self.categories.items()]
        with np.errstate(over="ignore"):
            features = np.concatenate(blocks, axis=1).astype(dtype)
        self._require_no_overflow(features, numbers)
        return features

    def _transform_array(self, rows: Any, dtype: Any) -> np.ndarray[Any, Any]:
        rows = as_array(rows, "the data")
        _require_finite(rows)
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"the data has {rows.shape[1]} features and the model takes {len(self.mean)}"
            )
        features = np.empty(rows.shape, dtype)
        # In float64, if only by parts: a mean may dwarf what varies round it.
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            with np.errstate(over="ignore"):
                features[part] = (rows[part] - self.mean) / self.scale
            self._require_no_overflow(features[part], rows[part])
        return features

    def _require_no_overflow(
        self, features: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any]
    ) -> None:
        """Raise a ValueError if numbers lie so far from those learnt from that they are infinite.

        Parameters
        ----------
        features : array
            What they became; columns beyond theirs are 0 and 1.
        numbers : array
            The raw ones, with NaN where one was missing.
        """
        bad = np.flatnonzero(~np.isfinite(features).all(axis=0))
        if len(bad):
            column, largest = bad[0], float(np.nanmax(np.abs(numbers[:, bad[0]])))
            raise ValueError(
                f"column {_called(column, self.names)} of the data has values up to "
                f"{largest:.3g}, too far from those of the training: correct them, or leave them "
                "out"
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Features:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        count = _scaled(config["mean"], config["scale"])
        found = cls(**config)
        names, gaps, categories = found.names, found.gaps, found.categories
        _require_list(gaps, (int,), "gaps")
        if any(not 0 <= place < count for place in gaps):
            raise ValueError(f"gaps are {gaps!r:.100}, of {count} columns")
        if names is not None:
            _require_list(names, (str,), "names")
        if len(names or []) != (0 if names is None else count):
            raise ValueError(f"there are {len(names or [])} names of {count} columns")
        if type(categories) is not dict or categories.keys() & set(names or []):
            raise TypeError("categories are no dict of further columns")
        if names is None and (gaps or categories):
            raise ValueError("an array has neither gaps nor categories")
        for column, known in categories.items():
            _require_list(known, (str, type(None)), f"the categories of {column!r}")
        return found

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        return {
            "names": self.names,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "gaps": self.gaps,
            "categories": self.categories,
        }


class Target:
    """From labels to what a loss takes, and from predictions back to labels.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
        What is to be predicted.
    classes : list or None
        The labels in order, for classification.
    mean, scale : list of float
        For regression: of each column of the training labels, which are standardised by them.
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
        mean: Sequence[float] = (0.0,),
        scale: Sequence[float] = (1.0,),
        n_outputs: int = 1,
    ) -> None:
        self.task, self.classes = task, classes
        self.mean, self.scale = list(mean), list(scale)
        self.n_outputs = len(classes) if task == "multiclass" and classes else n_outputs

    @classmethod
    def learn(cls, y: np.ndarray[Any, Any], task: str | None = None) -> Target:
        """Infer the task, if none is given, and learn the classes.

        Raises
        ------
        ValueError
            If y holds NaN, infinite values or gaps, one class only, or does not fit the task.
        """
        y = _labels(y)
        task = task or infer_task(y)
        if task not in cls.TASKS:
            raise ValueError(f"task is {task!r}: give one of {', '.join(cls.TASKS)}")
        if task == "regression":
            if y.dtype.kind not in "fiub":
                raise ValueError("the target holds text: a regression needs numbers")
            if (y == y[0]).all():
                raise ValueError(f"the target is {np.ravel(y)[0]} in every row: nothing to learn")
            return cls(task, n_outputs=y.shape[1] if y.ndim == 2 else 1)
        if y.ndim != 1:
            raise ValueError(f"the target has shape {y.shape}: {task} needs one label for each row")
        classes = _plain(np.unique(y))
        if len(classes) == 1:
            raise ValueError(f"the target has one class only ({classes[0]}): nothing to learn")
        if task == "binary" and len(classes) != 2:
            raise ValueError(f"the task is binary and the target has {len(classes)} classes")
        return cls(task, classes)

    def standardise(self, y: np.ndarray[Any, Any]) -> None:
        """Take mean and scale from a regression's training labels.

        Raises
        ------
        ValueError
            If they are too large for that.
        """
        mean, scale = _mean_and_deviation(y.reshape(len(y), -1), "the target")
        self.mean, self.scale = mean.tolist(), scale.tolist()

    @property
    def loss(self) -> str:
        """The loss that fits the task."""
        return self.LOSSES[self.task]

    def encode(self, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return labels as the loss takes them.

        Raises
        ------
        ValueError
            If y has labels that training did not know.
        """
        y = _labels(y)
        if self.classes is None:
            if y.dtype.kind not in "fiub":
                raise ValueError("the target holds text: the model predicts numbers")
            rows = y.reshape(len(y), -1)
            if rows.shape[1] != self.n_outputs:
                raise ValueError(
                    f"the target has {rows.shape[1]} columns and the model predicts "
                    f"{self.n_outputs}: give as many"
                )
            rows = (rows - np.array(self.mean)) / np.array(self.scale)
            return np.asarray(rows.reshape(y.shape))
        codes = {label: code for code, label in enumerate(self.classes)}
        labels = _plain(y)
        unknown = sorted({str(label) for label in labels if label not in codes})
        if unknown:
            raise ValueError(
                f"the target has labels that the model does not know: {', '.join(unknown[:5])}; "
                f"it knows {', '.join(map(str, self.classes[:20]))}"
            )
        return np.array([codes[label] for label in labels], dtype=np.int32)

    def decode(self, predictions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return predictions of the network as labels."""
        if self.classes is None:
            # In float64: the mean may dwarf what varies round it.
            rows = predictions.reshape(len(predictions), -1).astype(np.float64)
            rows = rows * np.array(self.scale) + np.array(self.mean)
            return np.asarray(rows.reshape(predictions.shape))
        return np.asarray(np.array(self.classes)[predictions])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        count = _scaled(config["mean"], config["scale"])
        found = cls(**config)
        classes, task, n_outputs = found.classes, found.task, found.n_outputs
        if type(task) is not str or task not in cls.TASKS:
            raise ValueError(f"its task is {task!r:.100}")
        if type(n_outputs) is not int or n_outputs < 1 or found.config() != config:
            raise TypeError(f"it has {config.get('n_outputs')!r:.100} outputs, or an entry lacks")
        if task == "regression":
            if classes is not None or count != n_outputs:
                raise ValueError(f"{n_outputs} outputs have {count} scales, or classes")
            return found
        _require_list(classes, (str, int, float, bool), "classes")
        if classes is None or len(classes) < 2 or (task == "binary" and len(classes) > 2):
            raise ValueError(f"there are {len(classes or [])} classes for a {task} task")
        # What becomes other values in an array would be predicted as these.
        array = np.array(classes)
        if array.dtype.kind not in "biufU" or [*map(type, _plain(array))] != [*map(type, classes)]:
            raise TypeError(f"classes are {classes!r:.100}: give all of one kind")
        if _plain(array) != classes:
            raise ValueError(f"classes are {classes!r:.100}: give all of one kind")
        return found

    def config(self) -> dict[str, Any]:
        """Return the target for a model file, JSON-ready."""
        return {
            "task": self.task,
            "classes": self.classes,
            "mean": self.mean,
            "scale": self.scale,
            "n_outputs": self.n_outputs,
        }


def _require_list(values: Any, kinds: tuple[type, ...], what: str) -> None:
    """Raise a TypeError or ValueError if a file does not give a list of different values."""
    if type(values) is not list or any(type(value) not in kinds for value in values):
        raise TypeError(f"{what} are {values!r:.100}")
    if len(set(values)) < len(values):
        raise ValueError(f"{what} are {values!r:.100}: one stands there twice")


def _scaled(mean: Any, scale: Any) -> int:
    """Return how many means and deviations a file gives, or raise a TypeError or ValueError."""
    for values in (mean, scale):
        numbers = type(values) is list and all(type(v) in (int, float) for v in values)
        if not (numbers and all(math.isfinite(v) and float(v) == v for v in values)):
            raise TypeError(f"means and scales are {values!r:.100}")
    if len(mean) != len(scale) or any(v <= 0 for v in scale):
        raise ValueError(f"{len(mean)} means have {len(scale)} scales, or one that is not positive")
    return len(mean)


def check_rows(rows: Any) -> None:
    """Raise a TypeError or ValueError if raw rows hold what can't be learnt from.

    Parameters
    ----------
    rows : array or data frame
        All the rows there are, so that the message counts them all.
    """
    if not is_frame(rows):
        _require_finite(rows)
    else:
        numeric = [c for c in rows.columns if _is_number(rows[c])]
        _numbers(rows, numeric)
        for name in rows.columns.difference(numeric):
            _refuse_slips(rows[name])


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
        is_class = n_classes <= 10 and bool((y == np.floor(y)).all())
    else:
        is_class = True
    if not is_class:
        return "regression"
    return "binary" if n_classes <= 2 else "multiclass"


def share_a_unit(rows: np.ndarray[Any, Any]) -> bool:
    """Return whether an array looks like pixels or counts, whose columns share a unit.

    So do 16 columns or more of whole numbers from 0 to 255, where at least half of the columns
    reach half of the largest number.

    Examples
    --------
    >>> share_a_unit(np.random.default_rng(0).integers(0, 17, (100, 64)))
    True
    >>> share_a_unit(np.random.default_rng(0).normal(size=(100, 64)))
    False
    """
    if rows.shape[1] < 16 or rows.min() < 0 or rows.max() > 255:
        return False
    if rows.dtype.kind == "f" and not (rows == np.floor(rows)).all():
        return False
    largest = rows.max(axis=0)
    return bool(np.mean(largest >= 0.5 * largest.max()) >= 0.5)


def _labels(y: Any) -> np.ndarray[Any, Any]:
    """Return labels as an array of numbers, booleans or strings, with none missing."""
    y = np.asarray(y)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind not in "fiubUO":
        raise ValueError(f"the target has dtype {y.dtype}: give numbers or strings")
    _require_complete(y)
    return np.asarray(y.astype(str) if y.dtype.kind == "O" else y)


def _require_complete(y: np.ndarray[Any, Any]) -> None:
    """Raise a ValueError if labels are missing, NaN or infinite."""
    if y.dtype.kind == "f":
        bad = int((~np.isfinite(y)).sum())
        what = "NaN or infinite"
    elif y.dtype.kind == "O":
        bad = sum(label is None or label != label for label in y.ravel())
        what = "missing"
    else:
        return
    if bad:
        values = "1 value that is" if bad == 1 else f"{bad} values that are"
        raise ValueError(f"the target has {values} {what}: remove those rows")


def _plain(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return an array's elements as Python's own numbers and strings, as JSON has them."""
    return values.tolist()  # type: ignore[no-any-return]


def _with_names(rows: Any) -> Any:
    """Return a frame whose columns' names are strings, all different."""
    rows = rows.set_axis([str(c) for c in rows.columns], axis=1)
    if not rows.columns.is_unique:
        raise ValueError("the data has two columns of the same name: rename one")
    return rows


def _is_number(column: Any) -> bool:
    """Return whether a frame's column holds numbers; raise a TypeError if neither that nor text."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiub":
        return True
    if kind in "Mm":
        raise TypeError(
            f"column {column.name!r} holds dates or times: turn them into numbers first"
        )
    return False


def _numbers(rows: Any, names: list[str]) -> np.ndarray[Any, Any]:
    """Return a frame's numeric columns as one float64 array, with NaN where a value is missing."""
    numbers = rows[names].to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.isinf(numbers).sum(axis=0)
    if infinite.any():
        raise ValueError(f"the data has {describe_columns(infinite, names)}: replace them")
    return numbers  # type: ignore[no-any-return]


def _require_finite(rows: Any) -> None:
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"the data has dtype {rows.dtype}: text where numbers belong")
    if rows.ndim != 2:
        raise ValueError(f"the data has shape {rows.shape}: give (examples, features)")
    if rows.dtype.kind == "f":
        counts = (~np.isfinite(rows)).sum(axis=0)
        if counts.any():
            raise ValueError(f"the data has {describe_columns(counts)}: remove or replace them")


def _deviation(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each column's standard deviation, and 1 for a constant one."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = rows.std(axis=0, dtype=np.float64)
    # A constant column's deviation need not come out as 0: its mean is rounded.
    size = np.abs(rows).max(axis=0) if len(rows) else scale
    return np.where(scale <= 1e-12 * size, 1.0, scale)


def _mean_and_deviation(
    rows: np.ndarray[Any, Any], what: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return each column's mean and standard deviation, once they are found to be finite."""
    with np.errstate(over="ignore"):
        mean, scale = rows.mean(axis=0, dtype=np.float64), _deviation(rows)
    _require_standardisable(rows, mean, scale, what)
    return mean, scale


def _require_standardisable(
    rows: np.ndarray[Any, Any],
    mean: np.ndarray[Any, Any],
    scale: np.ndarray[Any, Any],
    what: str,
    names: Sequence[str] | None = None,
) -> None:
    """Raise a ValueError if a column's values are so large that its mean or scale is not finite."""
    bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(scale)))
    if len(bad):
        column, largest = bad[0], float(np.abs(rows[:, bad[0]]).max())
        raise ValueError(
            f"column {_called(column, names)} of {what} has values up to {largest:.3g}, too large "
            "to standardise: scale it, or leave it out"
        )


def _called(column: int, names: Sequence[str] | None) -> str:
    """Return what a column is called, by its name where it has one."""
    return str(column) if names is None else repr(names[column])


def _as_numbers(column: Any) -> Any:
    """Return a column that pandas took for text as numbers; a TypeError says what is none."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    stray = column[numbers.isna() & column.notna()]
    if len(stray):
        raise TypeError(
            f"column {column.name!r} holds text where numbers belong: {len(stray)} values such as "
            f"{stray.iloc[0]!r}"
        )
    return numbers


def _refuse_slips(column: Any) -> None:
    """Raise a TypeError if a column of strings is mostly numbers: then the others are slips."""
    import pandas as pd

    numbers = pd.to_numeric(column.dropna().astype(str), errors="coerce")
    if 0.5 < numbers.notna().mean() < 1.0:
        _as_numbers(column)


def _text(column: Any) -> np.ndarray[Any, Any]:
    """Return a column's values as strings, None where one is missing; 1.0 is "1", as 1 is."""
    missing = column.isna().to_numpy()
    whole = getattr(column.dtype, "kind", "O") == "f"
    texts = [
        None if gone else str(int(value)) if whole and value == int(value) else str(value)
        for value, gone in zip(column, missing, strict=True)
    ]
    return np.array(texts, dtype=object)


def _categories(column: Any) -> list[str | None]:
    values = set(_text(column))
    found: list[str | None] = sorted(v for v in values if v is not None)
    if len(found) > MOST_CATEGORIES:
        raise ValueError(
            f"column {column.name!r} has {len(found)} different strings, more than "
            f"{MOST_CATEGORIES}: drop it, or turn it into numbers or fewer categories"
        )
    return [*found, None] if None in values else found


def _one_hot(column: Any, name: str, known: list[str | None]) -> np.ndarray[Any, Any]:
    text = _text(column)
    unknown = {v for v in text if v is not None} - set(known)
    if unknown:
        warnings.warn(
            f"column {name!r} holds categories that training did not have, such as "
            f"{min(unknown)!r}: none is set for them",
            UserWarning,
            stacklevel=4,
        )
    return np.stack([text == category for category in known], axis=1).astype(np.float64)
