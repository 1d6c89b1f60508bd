"""Centres and scales that columns are standardised by, and what of them a file may say.

Numbers of any type are held as `DoubleDouble`: a float64, and what it leaves over of whole numbers
beyond 2⁵³ and of long doubles. So what is subtracted and what varies round it keep all their
digits, be they 1.7e18 ± 10, and columns are brought to a size near 1 before anything is squared, be
they near 1e-200 or 1e300.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import check_name, check_positive
from ..warning import warn
from .arrays import CHUNK, ELEMENTS
from .labels import is_whole
from .quantiles import spread

Array = np.ndarray[Any, Any]

#: What a float64 leaves over of a mean is kept from this share of the deviation on: what is less
#: would not show in a float32.
NEGLIGIBLE = 1e-6


class DoubleDouble(NamedTuple):
    """Numbers as the sum of two float64 each, the first of which is the nearest one.

    Attributes
    ----------
    high : array
        The numbers, rounded.
    low : array or None
        What that left over; None: nothing.
    """

    high: Array
    low: Array | None

    def chunks(self) -> Iterator[DoubleDouble]:
        """Go through the rows, some of them at a time."""
        for chunk in row_chunks(self.high):
            yield DoubleDouble(self.high[chunk], None if self.low is None else self.low[chunk])

    def minus(self, mean: Array, remainder: Array | None = None) -> Array:
        """Return the numbers less a mean, and a remainder of it, in float64."""
        found = self.high - mean
        if self.low is not None:
            found += self.low
        if remainder is not None:
            found -= remainder
        return found


def split(values: Array) -> DoubleDouble:
    """Return numbers of any type as `DoubleDouble`.

    Examples
    --------
    >>> high, low = split(np.array([2**60 + 1, 7]))
    >>> high == 2.0**60, low
    (array([ True, False]), array([1., 0.]))
    """
    with np.errstate(over="ignore"):  # long doubles may be larger: that is refused where it matters
        high = values.astype(np.float64, copy=False)
    if values.dtype.itemsize <= (4 if values.dtype.kind in "iu" else 8):
        return DoubleDouble(high, None)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            return DoubleDouble(high, (values - high).astype(np.float64))
    if not np.size(high) or np.abs(high).max() < 2.0**53:
        return DoubleDouble(high, None)
    low = (values >> 32).astype(np.float64) * 2.0**32 - high
    return DoubleDouble(high, low + (values & 0xFFFFFFFF))


def noise_of(dtype: Any) -> float:
    """Return how far apart, as a share of the largest, values of a constant column may lie.

    In floating point that is four times the distance from 1 to the next number of the type, or of
    float64 for a smaller one: so much may come of the order in which a few numbers are added.

    Parameters
    ----------
    dtype : numpy.dtype, or one of pandas'
        Of the column.
    """
    if dtype.kind != "f":
        return 0.0
    wide = isinstance(dtype, np.dtype) and dtype.itemsize > 8  # pandas' own have float64 at most
    return 4 * float(np.finfo(dtype if wide else np.float64).eps)


def row_chunks(rows: Array) -> Iterator[slice]:
    """Return slices of an array's rows that need little memory each."""
    step = max(1, min(CHUNK, ELEMENTS // max(1, rows.shape[1])))
    return (slice(start, start + step) for start in range(0, len(rows), step))


@dataclass(frozen=True)
class Scaling:
    """How numbers are brought to a common scale.

    Parameters
    ----------
    centre : {"mean", "median"}
        "mean": less the mean, over the standard deviation. "median": less the median, over the
        quartile range q75 − q25, which far values have no part in; where that is 0, or no more than
        rounding beside the largest number, over half of the range from the least to the largest.
    clip : float or None
        c > 0 of a smooth clip afterwards, x/√(1 + (x/c)²), which lies between −c and c; None: none.
        Both together, with c = 3, are those of RealMLP (Holzmüller, Grinsztajn & Steinwart, "Better
        by default", NeurIPS 2024).

    Raises
    ------
    TypeError, ValueError
        If one is not as it must be.

    Examples
    --------
    >>> rows = np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    >>> scales = Scales.learn(rows, "X", Scaling("median", clip=3.0))
    >>> scales.mean, scales.scale
    (array([3.]), array([2.]))
    >>> scales.standardise(split(rows)).round(2).T
    array([[-0.95, -0.49,  0.  ,  0.49,  3.  ]])
    """

    centre: str = "mean"
    clip: float | None = None

    #: What a file tells of it, where it is not the usual one.
    KEYS: ClassVar[tuple[str, ...]] = ("centre", "clip")

    #: In words, what becomes of a number.
    WORDS: ClassVar[dict[str, str]] = {
        "mean": "standardised",
        "median": "less the median, over the quartile range",
    }

    def __post_init__(self) -> None:
        check_name(self.centre, self.WORDS, "centre")
        if self.clip is not None:
            check_positive(self.clip, "clip")

    @property
    def words(self) -> str:
        """What becomes of a number, in words."""
        clipped = "" if self.clip is None else f", smoothly clipped at {self.clip:g}"
        return self.WORDS[self.centre] + clipped

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scaling:
        """Return what `config` was called of, from a file that anybody may have written."""
        centre, clip = config.get("centre", "mean"), config.get("clip")
        found = cls(centre, clip) if type(clip) in (float, type(None)) else None
        if found is None or found.config() != {k: config[k] for k in cls.KEYS if k in config}:
            raise TypeError(f"numbers are scaled by {centre!r:.50} and {clip!r:.50}")
        return found

    def config(self) -> dict[str, Any]:
        """Return what is not usual about it, JSON-ready."""
        centre = {} if self.centre == "mean" else {"centre": self.centre}
        return centre if self.clip is None else centre | {"clip": float(self.clip)}


#: How numbers are scaled if nobody says.
USUAL = Scaling()


def smooth_clip(values: Array, limit: float) -> Array:
    """Return x/√(1 + (x/c)²) of each x, with c for the limit; however large x is."""
    shares = values / limit
    return values / np.hypot(1.0, shares)


class Scales:
    """Each column's mean and standard deviation, or what else `Scaling` says.

    Attributes
    ----------
    mean, scale : array of float64, shape (m,)
        Means, and deviations; or medians and quartile ranges. Of a column that is constant but for
        noise (`noise_of`): 1, or how far its values lie apart if that is more, so that the noise is
        at most 1 too.
    remainder : array of float64, shape (m,), or None
        What the means lack of the true ones, where it shows.
    scaling : Scaling
        What they are, and whether numbers are clipped.
    """

    def __init__(
        self, mean: Any, scale: Any, remainder: Any = None, scaling: Scaling = USUAL
    ) -> None:
        self.scaling = scaling
        self.mean, self.scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        self.remainder = None if remainder is None else np.asarray(remainder, np.float64)
        # Where differences might be infinite on the way: all is made smaller, and then larger.
        huge = self.scale > 2.0**1000
        self._less = np.where(huge, 2.0**-4, 1.0) if huge.any() else None

    @classmethod
    def learn(cls, rows: Array, what: str, scaling: Scaling = USUAL) -> Scales:
        """Learn from an array (n, m) of numbers, which are finite.

        Raises
        ------
        ValueError
            If numbers are too large for float64.

        Examples
        --------
        >>> scales = Scales.learn(np.array([[1e-200], [3e-200]]), "X")
        >>> scales.mean, scales.scale
        (array([2.e-200]), array([1.e-200]))
        """
        chunks = lambda: (split(rows[chunk]) for chunk in row_chunks(rows))  # noqa: E731
        return cls.learn_parts(chunks, noise_of(rows.dtype), what, scaling=scaling)

    @classmethod
    def learn_array(cls, rows: Array, scaling: Scaling = USUAL) -> Scales:
        """Learn from an array (n, m) of numbers, whose columns may be pixels or counts.

        Such columns (`share_a_unit`) share one mean and one deviation, whatever the `Scaling`.
        """
        if not share_a_unit(rows):
            return cls.learn(rows, "X", scaling)
        one, whole = cls.learn(rows.reshape(-1, 1), "X"), np.ones(rows.shape[1])
        return cls(one.mean * whole, one.scale * whole)

    @classmethod
    def learn_parts(
        cls,
        chunks: Callable[[], Iterable[DoubleDouble]],
        noise: Any,
        what: str,
        names: Sequence[str] | None = None,
        bounds: tuple[Array, Array] | None = None,
        scaling: Scaling = USUAL,
    ) -> Scales:
        """Learn from rows, chunk by chunk; NaN stands for a gap, which is filled with the centre.

        Parameters
        ----------
        chunks : function
            Returns the chunks, as often as it is called.
        noise : float or array, shape (m,)
            From `noise_of`, of each column.
        what, names
            What the rows and their columns are called in messages.
        bounds : pair of arrays, shape (m,), or None
            The least and the largest of each column, if they are known already.
        scaling : Scaling
            What is learnt.

        Raises
        ------
        ValueError
            If numbers are too large for float64.

        Warns
        -----
        UserWarning
            If a quartile range is rounding noise beside the largest number, as where gaps are
            filled with 1e20: all but the far ones then count as the same.
        """
        least, most = bounds or _bounds(chunk.high for chunk in chunks())
        _require_finite(least, most, what, names)
        centre = np.nan_to_num(least / 2 + most / 2)
        largest = np.nan_to_num(np.maximum(np.abs(least), np.abs(most)))
        eps = np.finfo(np.float64).eps
        reach = np.nan_to_num(np.maximum(most - centre, centre - least)) + eps * largest
        # A power of two, so that no digit is lost; where it is cut off, squares are still fine.
        unit = np.ldexp(1.0, -np.clip(np.frexp(reach)[1], -1000, 1000))
        moments = _moments if scaling.centre == "mean" else _quartiles
        share = noise * largest * unit
        mean, apart, scale = moments(lambda: (c.minus(centre) * unit for c in chunks()))
        constant, none = ~(apart > share), ~(scale > share)
        if scaling.centre == "median":
            _tell_of_dwarfed(chunks, np.flatnonzero(none & ~constant), what, names)
            scale = np.where(none, apart / 2, scale)
        spread = np.fmax(1.0, np.where(constant, apart, 0.0) / unit)  # NaN: nothing but gaps
        tiny, huge = np.nextafter(0.0, 1.0), np.finfo(np.float64).max
        with np.errstate(over="ignore"):  # quartiles may lie further apart than a float64 can tell
            scale = np.where(constant, spread, np.clip(scale / unit, tiny, huge))
        mean, remainder = _two_sum(centre, mean / unit)
        remainder[np.abs(remainder) <= NEGLIGIBLE * scale] = 0.0
        return cls(mean, scale, remainder if remainder.any() else None, scaling)

    def standardise(self, numbers: DoubleDouble) -> Array:
        """Return numbers less the mean, over the deviation, in float64; clipped if they are."""
        mean, scale = self.mean, self.scale
        if (less := self._less) is not None:
            mean, scale = mean * less, scale * less
            low = None if numbers.low is None else numbers.low * less
            numbers = DoubleDouble(numbers.high * less, low)
        found = numbers.minus(mean, self.remainder)
        found /= scale
        clip = self.scaling.clip
        return found if clip is None else smooth_clip(found, clip)

    def restore(self, standardised: Array) -> Array:
        """Return numbers that were standardised, not clipped, in float64.

        The mean may dwarf the others.
        """
        mean, scale, less = self.mean, self.scale, self._less
        if less is not None:
            mean, scale = mean * less, scale * less
        found = standardised.astype(np.float64) * scale
        if self.remainder is not None:
            found += self.remainder
        found += mean
        return found if less is None else found / less

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scales:
        """Return what `config` was called of, from a file that anybody may have written.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it does not fit together.
        """
        mean, scale, remainder = config["mean"], config["scale"], config.get("remainder")
        for values in (mean, scale, *([] if remainder is None else [remainder])):
            kinds = {*map(type, values)} if type(values) is list else {None}
            fit = kinds <= {int, float} and np.isfinite(np.array(values, np.float64)).all()
            if not fit or (int in kinds and any(float(v) != v for v in values)):
                raise TypeError(f"means and scales are {values!r:.100}")
            if len(values) != len(mean):
                raise ValueError(f"{len(mean)} means have {len(values)} scales")
        if scale and min(scale) <= 0:
            raise ValueError("a scale is not positive")
        return cls(mean, scale, remainder, Scaling.from_config(config))

    def config(self) -> dict[str, Any]:
        """Return all of it for a model file, JSON-ready."""
        found = {"mean": self.mean.tolist(), "scale": self.scale.tolist()}
        remainder = {} if self.remainder is None else {"remainder": self.remainder.tolist()}
        return {**found, **remainder, **self.scaling.config()}


def _bounds(chunks: Iterable[Array]) -> tuple[Array, Array]:
    """Return the least and the largest number of each column; NaN where there is none."""
    bounds = [(np.fmin.reduce(chunk), np.fmax.reduce(chunk)) for chunk in chunks]
    lows, highs = zip(*bounds, strict=True)
    return np.fmin.reduce(lows), np.fmax.reduce(highs)


def _moments(chunks: Callable[[], Iterable[Array]]) -> tuple[Array, Array, Array]:
    """Return each column's mean, the distance of its least from its largest, and its deviation.

    Gaps count as the mean.
    """
    lows, highs, n = [], [], 0
    total: Any = 0.0
    known: Any = 0
    for values in chunks():
        lows.append(np.fmin.reduce(values))
        highs.append(np.fmax.reduce(values))
        gaps = np.isnan(values)
        values[gaps] = 0.0
        total, known, n = total + values.sum(axis=0), known + (~gaps).sum(axis=0), n + len(values)
    mean = total / np.maximum(known, 1)
    squares: Any = 0.0
    for values in chunks():
        values -= mean
        values[np.isnan(values)] = 0.0
        squares = squares + np.einsum("ij,ij->j", values, values)
    return mean, np.fmax.reduce(highs) - np.fmin.reduce(lows), np.sqrt(squares / n)


def _quartiles(chunks: Callable[[], Iterable[Array]]) -> tuple[Array, Array, Array]:
    """Return each column's median, the distance of its least from its largest, and quartile range.

    Gaps have no part in it.
    """
    median, between, whole = spread(chunks())
    return np.nan_to_num(median), whole, between


def _tell_of_dwarfed(
    chunks: Callable[[], Iterable[DoubleDouble]],
    columns: Array,
    what: str,
    names: Sequence[str] | None,
) -> None:
    """Warn if quartiles of some columns differ, though not beside their largest numbers.

    What is rounding beside the median too is no difference.
    """
    if not len(columns):
        return
    found = spread(chunk.high[:, columns] for chunk in chunks())
    apart = found.quartile_range
    dwarfed = columns[apart > noise_of(np.dtype(np.float64)) * (np.abs(found.median) + apart)]
    if len(dwarfed):
        warn(
            f"column {called(dwarfed[0], names)} of {what} has numbers so far from the others that "
            "these count as the same beside them: if they stand for gaps, leave these empty"
        )


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the sum of two float64, and what its rounding left over."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _require_finite(least: Array, most: Array, what: str, names: Sequence[str] | None) -> None:
    """Raise a ValueError if a column's numbers are infinite as float64."""
    bad = np.flatnonzero(np.isinf(least) | np.isinf(most))
    if len(bad):
        raise ValueError(
            f"column {called(bad[0], names)} of {what} has values beyond "
            f"{np.finfo(np.float64).max:.3g}, too large for float64: scale it, or leave it out"
        )


def share_a_unit(rows: Array) -> bool:
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
    if not is_whole(rows):
        return False
    largest = rows.max(axis=0)
    return bool(np.mean(largest >= 0.5 * largest.max()) >= 0.5)


def called(column: int, names: Sequence[str] | None) -> str:
    """Return what a column is called, by its name where it has one."""
    return str(column) if names is None else repr(names[column])


def require_list(values: Any, kinds: tuple[type, ...], what: str) -> None:
    """Raise a TypeError or ValueError if a file does not give a list of different values."""
    if type(values) is not list or any(type(value) not in kinds for value in values):
        raise TypeError(f"{what} are {values!r:.100}")
    if len(set(values)) < len(values):
        raise ValueError(f"{what} are {values!r:.100}: one stands there twice")
