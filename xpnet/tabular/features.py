"""From raw rows to numbers of a common scale.

How is learnt from the training part alone, and travels in the model file. Of arrays `ArrayFeatures`
are made, of tables `table_features.TableFeatures`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backends.arrays import NUMPY
from ..data.arrays import as_array, check_finite
from ..data.labels import is_numeric
from ..nn.layer import Layer
from .scaling import Scales, called, require_list, row_chunks, share_a_unit, split
from .schema import Schema

#: What is no number and no text, by the kinds of NumPy's types.
OTHERS = {"c": "complex numbers", "m": "times", "M": "dates", "V": "records"}

#: So far from its value, in its own unit, a column that was constant is told to be no more.
VARIED = 1e-3

Array = np.ndarray[Any, Any]

#: The categories of each column that training did not have.
Unknown = dict[str, set[str]]


class Features(ABC):
    """From raw rows to features: what all kinds of them have in common."""

    scales: Scales

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features that the network gets."""

    @abstractmethod
    def transform(self, rows: Any, dtype: Any) -> Array:
        """Return features, shape (n, n_features), of raw rows.

        Raises
        ------
        TypeError, ValueError
            If the rows are not of the kind that was learnt from; the message says what differs.
        """

    def transform_part(self, rows: Any, dtype: Any, unknown: Unknown) -> Array:
        """Return features of some of the rows; what is to be told of them goes into a dict."""
        return self.transform(rows, dtype)

    @contextmanager
    def telling_unknown(self) -> Iterator[Unknown]:
        """Return a context with such a dict, which warns at its end of what is in it."""
        yield {}

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""

    def layers(self) -> list[Layer]:
        """Return what a network begins with that gets these features."""
        return []

    def became(self) -> dict[str, str]:
        """Return in words what became of each named column."""
        return {}

    @staticmethod
    def learn(rows: Any, schema: Schema | None = None) -> Features:
        """Learn from training rows: an array, or a table.

        Parameters
        ----------
        rows : array or table
            The rows.
        schema : Schema or None
            How a table is read; None: it is learnt from it as well.

        Raises
        ------
        TypeError
            If an array holds no numbers, or a table's column nothing that features are made of.
        ValueError
            If values are NaN (in an array) or infinite, or too large to standardise.
        """
        if isinstance(rows, np.ndarray):
            return ArrayFeatures.learn(rows)
        from .table_features import TableFeatures

        return TableFeatures.learn_table(rows, schema)

    @staticmethod
    def from_config(config: dict[str, Any]) -> Features:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        TypeError, ValueError
            If it does not fit together.
        """
        if config["names"] is None:
            return ArrayFeatures.from_config(config)
        from .table_features import TableFeatures

        return TableFeatures.from_config(config)

    def require_no_overflow(
        self, features: Array, numbers: Array, names: list[str] | None = None
    ) -> None:
        """Raise a ValueError if numbers lie so far from those learnt from that they are infinite.

        Parameters
        ----------
        features : array
            What they became.
        numbers : array
            The raw ones, with NaN where one was missing.
        names : list of str or None
            What the columns are called.
        """
        bad = np.flatnonzero(~np.isfinite(features).all(axis=0))
        if len(bad):
            column, largest = bad[0], float(np.nanmax(np.abs(numbers[:, bad[0]])))
            raise ValueError(
                f"column {called(column, names)} of the data has values up to {largest:.3g}, too "
                "far from those of the training: correct them, or leave them out"
            )


class ArrayFeatures(Features):
    """An array's columns, standardised one by one.

    One that looks like pixels or counts (`share_a_unit`) is an exception: its columns share one
    mean and one deviation, since a pixel that is seldom lit must not weigh the more for it. A
    column that is the same in all training rows counts as that everywhere: what the network makes
    of another value nobody has trained.

    Attributes
    ----------
    scales : Scales
        Of the columns, from the training rows.
    constant : dict of int to float
        The columns that were the same in all training rows, and what these became.
    """

    def __init__(self, scales: Scales, constant: dict[int, float] | None = None) -> None:
        self.scales, self.constant = scales, constant or {}

    @classmethod
    def learn(cls, rows: Array) -> ArrayFeatures:
        """Learn from training rows, shape (n, m)."""
        require_numbers(rows)
        scales = Scales.learn(rows, "X")
        if share_a_unit(rows):
            one, whole = Scales.learn(rows.reshape(-1, 1), "X"), np.ones(rows.shape[1])
            scales = Scales(one.mean * whole, one.scale * whole)
        same = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0))
        values = scales.standardise(split(rows[:1]))[0]
        return cls(scales, {int(column): float(values[column]) for column in same})

    @property
    def n_features(self) -> int:
        """Number of features that the network gets."""
        return len(self.scales.mean)

    def transform(self, rows: Any, dtype: Any) -> Array:
        """Return features, shape (n, n_features), of raw rows; see `Features.transform`.

        Warns
        -----
        UserWarning
            If a column that was the same in all training rows is another: it is taken as the same.
        """
        rows = as_array(rows, "the data")
        require_numbers(rows)
        if rows.shape[1] != self.n_features:
            raise ValueError(
                f"the data has {rows.shape[1]} features and the model takes {self.n_features}"
            )
        features = np.empty(rows.shape, dtype)
        columns, values = [*self.constant], np.array([*self.constant.values()])
        varied = np.zeros(len(columns), np.bool_)
        for part in row_chunks(rows):
            # In float64, if only by parts: a mean may dwarf what varies round it.
            with np.errstate(over="ignore", invalid="ignore"):
                found = self.scales.standardise(split(rows[part]))
                varied |= (np.abs(found[:, columns] - values) > VARIED).any(axis=0)
                found[:, columns] = values
                features[part] = found
            self.require_no_overflow(features[part], rows[part])
        self._tell(np.flatnonzero(varied))
        return features

    def _tell(self, varied: Array) -> None:
        """Warn of columns that were the same in all training rows; pixels often are."""
        if len(varied) and len({*self.scales.scale}) > 1:
            warnings.warn(
                f"column {[*self.constant][varied[0]]} of the data was the same in all training "
                "rows and has other values here: they are not taken into account",
                UserWarning,
                stacklevel=3,
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ArrayFeatures:
        """Return what `config` was called of, from a file that anybody may have written."""
        known = {"names", "mean", "scale", "remainder", "gaps", "categories", "constant"}
        if not {"names", "mean", "scale"} <= config.keys() <= known:
            raise TypeError(f"the features are {[*config]!r:.100}")
        if config.get("gaps") or config.get("categories"):
            raise ValueError("an array has neither gaps nor categories")
        scales, constant = Scales.from_config(config), config.get("constant", [])
        if type(constant) is not list or any(type(pair) is not list for pair in constant):
            raise TypeError(f"constant columns are {constant!r:.100}")
        columns, values = [pair[0] for pair in constant], [pair[-1] for pair in constant]
        require_list(columns, (int,), "constant columns")
        fit = all(len(pair) == 2 and 0 <= pair[0] < len(scales.mean) for pair in constant)
        if not fit or any(type(v) is not float or not np.isfinite(v) for v in values):
            raise ValueError(f"constant columns are {constant!r:.100}, of {len(scales.mean)}")
        return cls(scales, dict(zip(columns, values, strict=True)))

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        constant = [[column, value] for column, value in self.constant.items()]
        return {"names": None, **self.scales.config(), "constant": constant}


def require_numbers(rows: Any) -> None:
    """Raise a TypeError or ValueError if an array is none of finite numbers, (n, m)."""
    if not is_numeric(rows):
        what = OTHERS.get(rows.dtype.kind, "text")
        raise TypeError(f"the data has dtype {rows.dtype}: {what} where numbers belong")
    if rows.ndim != 2:
        raise ValueError(f"the data has shape {rows.shape}: give (examples, features)")
    if rows.dtype.kind == "f":
        check_finite(rows, NUMPY, "the data", rows)
