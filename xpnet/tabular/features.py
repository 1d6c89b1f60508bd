"""From raw columns to numbers of a common scale.

How is learnt from the training part alone, and travels in the model file.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backends.arrays import NUMPY
from ..data.arrays import as_array, check_finite, column_values, describe_columns, is_frame
from ..data.labels import is_numeric, require_utf8, text_of
from .scaling import (
    DoubleDouble,
    Scales,
    called,
    noise_of,
    require_list,
    row_chunks,
    share_a_unit,
    split,
)

#: What is no number and no text, by the kinds of NumPy's types.
OTHERS = {"c": "complex numbers", "m": "times", "M": "dates", "V": "records"}

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
    scales : Scales
        Of the numeric columns, from the training rows.
    gaps : list of int
        Which numeric columns had gaps.
    categories : dict of str to list
        The categories of each other column; None stands for a gap.
    """

    def __init__(
        self,
        names: list[str] | None,
        scales: Scales,
        gaps: list[int],
        categories: dict[str, list[str | None]],
    ) -> None:
        self.names, self.scales = names, scales
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
                one, whole = Scales.learn(rows.reshape(-1, 1), "X"), np.ones(rows.shape[1])
                return cls(None, Scales(one.mean * whole, one.scale * whole), [], {})
            return cls(None, Scales.learn(rows, "X"), [], {})
        rows = _with_names(rows)
        names = [c for c in rows.columns if _is_number(rows[c])]
        numbers = _numbers(rows, names)
        known = set(names)
        noise = np.array([noise_of(dtype) for dtype in rows[names].dtypes])
        scales = Scales.learn_parts(numbers.chunks, noise, "the data", names)
        gaps = [int(i) for i in np.flatnonzero(np.isnan(numbers.high).any(axis=0))]
        categories = {c: _categories(rows[c]) for c in rows.columns if c not in known}
        return cls(names, scales, gaps, categories)

    @property
    def n_features(self) -> int:
        """Number of features that the network gets."""
        return len(self.scales.mean) + len(self.gaps) + sum(map(len, self.categories.values()))

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
        absent = np.isnan(numbers.high)
        with np.errstate(over="ignore"):
            blocks = [np.where(absent, 0.0, self.scales.standardise(numbers))]
        blocks.append(absent[:, self.gaps].astype(np.float64))
        blocks += [_one_hot(rows[c], c, known) for c, known in self.categories.items()]
        with np.errstate(over="ignore"):
            features = np.concatenate(blocks, axis=1).astype(dtype)
        self._require_no_overflow(features, numbers.high)
        return features

    def _transform_array(self, rows: Any, dtype: Any) -> np.ndarray[Any, Any]:
        rows = as_array(rows, "the data")
        _require_finite(rows)
        if rows.shape[1] != len(self.scales.mean):
            raise ValueError(
                f"the data has {rows.shape[1]} features and the model takes {self.n_features}"
            )
        features = np.empty(rows.shape, dtype)
        # In float64, if only by parts: a mean may dwarf what varies round it.
        for part in row_chunks(rows):
            with np.errstate(over="ignore", invalid="ignore"):
                features[part] = self.scales.standardise(split(rows[part]))
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
                f"column {called(column, self.names)} of the data has values up to "
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
        others = {k: v for k, v in config.items() if k not in ("mean", "scale", "remainder")}
        found = cls(scales=Scales.from_config(config), **others)
        count = len(found.scales.mean)
        names, gaps, categories = found.names, found.gaps, found.categories
        require_list(gaps, (int,), "gaps")
        if any(not 0 <= place < count for place in gaps):
            raise ValueError(f"gaps are {gaps!r:.100}, of {count} columns")
        if names is not None:
            require_list(names, (str,), "names")
        if len(names or []) != (0 if names is None else count):
            raise ValueError(f"there are {len(names or [])} names of {count} columns")
        if type(categories) is not dict or categories.keys() & set(names or []):
            raise TypeError("categories are no dict of further columns")
        if names is None and (gaps or categories):
            raise ValueError("an array has neither gaps nor categories")
        for column, known in categories.items():
            require_list(known, (str, type(None)), f"the categories of {column!r}")
        return found

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        return {
            "names": self.names,
            **self.scales.config(),
            "gaps": self.gaps,
            "categories": self.categories,
        }


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
            reject_mistyped_numbers(rows[name])


def _with_names(rows: Any) -> Any:
    """Return a frame whose columns' names are strings, all different."""
    names = [str(c) for c in rows.columns]
    require_utf8(names, "the data has a column named")
    rows = rows.set_axis(names, axis=1)
    if not rows.columns.is_unique:
        raise ValueError("the data has two columns of the same name: rename one")
    return rows


def _is_number(column: Any) -> bool:
    """Return whether a frame's column holds numbers; raise a TypeError if neither that nor text."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiub":
        return True
    if kind in OTHERS:
        raise TypeError(
            f"column {column.name!r} holds {OTHERS[kind]}: turn them into numbers first"
        )
    return False


def _numbers(rows: Any, names: list[str]) -> DoubleDouble:
    """Return a frame's numeric columns, with NaN where a value is missing."""
    high = rows[names].to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.isinf(high).sum(axis=0)
    if infinite.any():
        raise ValueError(f"the data has {describe_columns(infinite, names)}: replace them")
    low = None
    for i, dtype in enumerate(rows[names].dtypes):
        if dtype.kind in "iu" and np.fmax.reduce(np.abs(high[:, i])) >= 2.0**53:
            there = ~np.isnan(high[:, i])
            low = np.zeros(high.shape) if low is None else low
            low[there, i] = split(column_values(rows[names[i]][there])).low
    return DoubleDouble(high, low)


def _require_finite(rows: Any) -> None:
    if not is_numeric(rows):
        what = OTHERS.get(rows.dtype.kind, "text")
        raise TypeError(f"the data has dtype {rows.dtype}: {what} where numbers belong")
    if rows.ndim != 2:
        raise ValueError(f"the data has shape {rows.shape}: give (examples, features)")
    if rows.dtype.kind == "f":
        check_finite(rows, NUMPY, "the data", rows)


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


def reject_mistyped_numbers(column: Any) -> None:
    """Raise a TypeError if a column of strings is mostly numbers: then the others are slips.

    Half a character, which pandas can't make a string of, is a ValueError.
    """
    import pandas as pd

    require_utf8(column.dropna().unique(), f"column {column.name!r} holds")
    numbers = pd.to_numeric(column.dropna().astype(str), errors="coerce")
    if 0.5 < numbers.notna().mean() < 1.0:
        _as_numbers(column)


def _text(column: Any) -> np.ndarray[Any, Any]:
    """Return a column's values as strings, None where one is missing; 1.0 is "1", as 1 is."""
    missing, what = column.isna().to_numpy(), f"column {column.name!r}"
    whole = getattr(column.dtype, "kind", "O") == "f"
    texts = [
        None if gone else text_of(int(value) if whole and value == int(value) else value, what)
        for value, gone in zip(column, missing, strict=True)
    ]
    return np.array(texts, dtype=object)


def _categories(column: Any) -> list[str | None]:
    values = set(_text(column))
    found: list[str | None] = sorted(v for v in values if v is not None)
    require_utf8(found, f"column {column.name!r} holds")
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
