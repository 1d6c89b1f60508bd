"""From an array to features: its columns, standardised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends.arrays import NUMPY
from ...data.arrays import as_array, check_finite
from ...data.labels import is_numeric
from ...data.scaling import USUAL, Scales, Scaling, row_chunks, share_a_unit, split
from ...warning import warn
from .base import Array, Features

#: What is no number and no text, by the kinds of NumPy's types.
OTHERS = {"c": "complex numbers", "m": "times", "M": "dates", "V": "records"}

#: So far from its value, in its own unit, a column that was constant is told to be no more.
VARIED = 1e-3


#: What a file tells of them.
KNOWN = ("names", "mean", "scale", "remainder", "constant", *Scaling.KEYS)


class ArrayFeatures(Features):
    """An array's columns, standardised one by one.

    One that looks like pixels or counts (`share_a_unit`) is an exception: its columns share one
    mean and one deviation, whatever the `Scaling`, since a pixel that is seldom lit must not weigh
    the more for it. A column that is the same in all training rows counts as that everywhere: what
    the network makes of another value nobody has trained.

    Attributes
    ----------
    scales : Scales
        Of the columns, from the training rows.
    constant : dict of int to float
        The columns that were the same in all training rows, and what these became.
    shares_a_unit : bool
        Whether the columns do; if that is not given, whether several have the same scale.
    """

    def __init__(
        self,
        scales: Scales,
        constant: dict[int, float] | None = None,
        shares_a_unit: bool | None = None,
    ) -> None:
        self.scales, self.constant = scales, constant or {}
        if shares_a_unit is None:
            alike = len({*scales.scale}) == len({*scales.mean}) == 1
            shares_a_unit = len(scales.mean) > 1 and alike
        self.shares_a_unit = shares_a_unit

    @classmethod
    def learn(cls, rows: Array, scaling: Scaling = USUAL) -> ArrayFeatures:
        """Learn from training rows, shape (n, m)."""
        require_numbers(rows)
        scales, shared = Scales.learn_array(rows, scaling), share_a_unit(rows)
        same = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0))
        values = scales.standardise(split(rows[:1]))[0]
        return cls(scales, {int(column): float(values[column]) for column in same}, shared)

    @property
    def n_features(self) -> int:
        """Number of features that the network gets."""
        return len(self.scales.mean)

    @property
    def numbers(self) -> Sequence[int]:
        """The columns that differ; none of pixels and counts, which share a unit."""
        if self.shares_a_unit:
            return []
        return [j for j in range(self.n_features) if j not in self.constant]

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
            warn(
                f"column {[*self.constant][varied[0]]} of the data was the same in all training "
                "rows and has other values here: they are not taken into account"
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ArrayFeatures:
        """Return what `config` was called of, from a file that anybody may have written."""
        before: dict[str, Any] = {"gaps": [], "categories": {}}  # files of before have these
        strange = {k for k, v in config.items() if k not in KNOWN and v != before.get(k)}
        if strange:
            raise TypeError(f"the features have {sorted(strange)!r:.100}")
        scales = Scales.from_config(config)
        if "constant" not in config:
            return cls(scales)
        pairs = config["constant"]
        if type(pairs) is not list or not pairs or any(type(p) is not list for p in pairs):
            raise TypeError(f"constant columns are {pairs!r:.100}")
        if any([*map(type, pair)] != [int, float] for pair in pairs):
            raise TypeError(f"constant columns are {pairs!r:.100}")
        constant = dict(pairs)
        within = all(0 <= column < len(scales.mean) for column in constant)
        if not within or len(constant) < len(pairs) or not np.isfinite([*constant.values()]).all():
            raise ValueError(f"constant columns are {pairs!r:.100}, of {len(scales.mean)}")
        return cls(scales, constant)

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        constant = [[column, value] for column, value in self.constant.items()]
        more = {"constant": constant} if constant else {}
        return {"names": None, **self.scales.config(), **more}


def require_numbers(rows: Any) -> None:
    """Raise a TypeError or ValueError if an array is none of finite numbers, (n, m)."""
    if not is_numeric(rows):
        what = OTHERS.get(rows.dtype.kind, "text")
        raise TypeError(f"the data has dtype {rows.dtype}: {what} where numbers belong")
    if rows.ndim != 2:
        raise ValueError(f"the data has shape {rows.shape}: give (examples, features)")
    if rows.dtype.kind == "f":
        check_finite(rows, NUMPY, "the data", rows)
