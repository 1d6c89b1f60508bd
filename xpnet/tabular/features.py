"""From raw columns to numbers of a common scale.

How is learnt from the training part alone, and travels in the model file.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backends.arrays import NUMPY
from ..data.arrays import CHUNK, as_array, check_finite, describe_columns, is_frame
from ..data.labels import is_numeric
from .scaling import (
    called,
    check_scales,
    deviation,
    mean_and_deviation,
    require_list,
    require_standardisable,
    share_a_unit,
)

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
            return cls(None, *mean_and_deviation(rows, "X"), [], {})
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
        spread = deviation(filled)
        require_standardisable(filled, mean, spread, "the data", names)
        return cls(names, mean, spread, gaps, categories)

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
        count = check_scales(config["mean"], config["scale"])
        found = cls(**config)
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
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
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
    if not is_numeric(rows):
        raise TypeError(f"the data has dtype {rows.dtype}: text where numbers belong")
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
