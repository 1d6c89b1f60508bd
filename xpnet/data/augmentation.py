"""Data augmentation: mini-batches changed at random, on the device (notes, chapter 5.2).

Every transform is written in plain ``xp`` code. What it draws is computed from a key of the
mini-batch, as dropout masks are: the same seed gives the same changes on every backend, and a
resumed run goes on with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .._typing import Array, Namespace
from ..backends.arrays import backend_of
from ..backends.protocol import Backend
from ..backends.select import select
from ..checks import check_count, check_fields, check_not_negative, check_positive
from ..randomness import augmentation_keys
from .draws import Draws

#: Into so many equal parts mixup's distribution is cut.
QUANTILES = 4096


class Stage(NamedTuple):
    """What a transform works with besides the batch.

    ``codes``, of shape (features,), says which features are codes of categories; None: none is.
    """

    backend: Backend
    draws: Draws
    height: int
    width: int
    codes: Array | None = None


@dataclass(frozen=True)
class Transform:
    """The base of the transforms."""

    #: Whether it is for images alone.
    of_images: ClassVar[bool] = True

    #: Whether it knows what to do with codes of categories; else they stay what they are.
    knows_codes: ClassVar[bool] = False

    def __call__(self, x: Array, stage: Stage) -> Array:
        """Return a changed batch: images (n, height, width, channels), else (n, 1, 1, features)."""
        raise NotImplementedError


#: From where a pixel is taken: y ← a y + b x + u, x ← c y + d x + v, counted from the centre;
#: each an array (n, 1) or a number.
Affine = tuple[Any, Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Geometric(Transform):
    """The base of transforms that move pixels; several in a row move them once."""

    #: Whether it moves pixels onto pixels, so that none is mixed from its neighbours.
    on_pixels: ClassVar[bool] = False

    def draw(self, n: int, stage: Stage) -> Affine:
        """Draw for each of n images from where its pixels are taken."""
        raise NotImplementedError


@dataclass(frozen=True)
class HorizontalFlip(Geometric):
    """Mirror an image, left for right, with probability p.

    Parameters
    ----------
    p : float
        In [0, 1].
    """

    on_pixels: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is {self.p}: give the probability of a flip, in [0, 1]")

    def draw(self, n: int, stage: Stage) -> Affine:
        """Draw which images to flip."""
        place = stage.draws.uniform(0.0, 1.0, n, 1)
        return 1.0, 0.0, 0.0, 1.0 - 2.0 * (place < self.p).astype(place.dtype), 0.0, 0.0


@dataclass(frozen=True)
class Shift(Geometric):
    """Move an image by whole pixels, at most so many up or down and left or right.

    What comes in at an edge repeats the pixels of the edge.

    Parameters
    ----------
    pixels : int
        1 or more.
    """

    on_pixels: ClassVar[bool] = True

    pixels: int = 2

    def __post_init__(self) -> None:
        check_count(self.pixels, "pixels")

    def draw(self, n: int, stage: Stage) -> Affine:
        """Draw how far to move each image."""
        whole = stage.draws.whole
        down, right = (whole(-self.pixels, self.pixels, n, 1) for _ in range(2))
        return 1.0, 0.0, 0.0, 1.0, -down, -right


@dataclass(frozen=True)
class Rotation(Geometric):
    """Turn an image about its centre by at most so many degrees, either way.

    Parameters
    ----------
    degrees : float
        In (0, 180].
    """

    degrees: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.degrees <= 180:
            raise ValueError(f"degrees is {self.degrees}: give a number in (0, 180]")

    def draw(self, n: int, stage: Stage) -> Affine:
        """Draw how far to turn each image."""
        xp, largest = stage.backend.xp, math.radians(self.degrees)
        angle = stage.draws.uniform(-largest, largest, n, 1)
        cos, sin = xp.cos(angle), xp.sin(angle)
        return cos, sin, -sin, cos, 0.0, 0.0


@dataclass(frozen=True)
class Zoom(Geometric):
    """Make an image larger or smaller about its centre, by a factor from [1 − a, 1 + a).

    Parameters
    ----------
    amount : float
        a, in (0, 1).
    """

    amount: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.amount < 1:
            raise ValueError(f"amount is {self.amount}: give a number in (0, 1)")

    def draw(self, n: int, stage: Stage) -> Affine:
        """Draw each image's factor."""
        shrink = 1.0 / stage.draws.uniform(1.0 - self.amount, 1.0 + self.amount, n, 1)
        return shrink, 0.0, 0.0, shrink, 0.0, 0.0


@dataclass(frozen=True)
class Cutout(Transform):
    """Blank a square out of an image, about a random pixel; part of it may lie outside.

    DeVries & Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    Parameters
    ----------
    size : int
        The square's side in pixels.
    fill : float
        The value that blanks: 0 is the mean of standardised features.
    """

    size: int = 8
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_count(self.size, "size")
        if not math.isfinite(self.fill):
            raise ValueError(f"fill is {self.fill}: give a finite number")

    def __call__(self, x: Array, stage: Stage) -> Array:
        """Return the images with the holes."""
        xp, n = stage.backend.xp, x.shape[0]
        inside = []
        for length in (stage.height, stage.width):
            first = stage.draws.whole(0, length - 1, n, 1) - self.size // 2
            place = xp.arange(length, dtype=x.dtype)
            inside.append((place >= first) & (place < first + self.size))
        hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        return xp.where(hole, x.dtype.type(self.fill), x)


@dataclass(frozen=True)
class GaussianNoise(Transform):
    """Add noise from N(0, σ²) to each feature: x + σ ε.

    Parameters
    ----------
    sigma : float
        σ, 0 or more, in the features' unit.
    """

    of_images: ClassVar[bool] = False

    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_not_negative(self.sigma, "sigma")

    def __call__(self, x: Array, stage: Stage) -> Array:
        """Return the batch with the noise."""
        return x + self.sigma * stage.draws.normal(*x.shape)


@dataclass(frozen=True)
class Mixup(Transform):
    """Mix each example with another one of its batch: λ x + (1 − λ) x', and keep the label of x.

    Zhang, Cissé, Dauphin & Lopez-Paz, "mixup: Beyond empirical risk minimization", ICLR 2018, draw
    λ from Beta(α, α) and mix the labels alike. Where the loss's gradient is linear in the labels,
    as that of each loss here is, drawing λ from Beta(α + 1, α) and leaving the labels alone gives
    the same gradient on average: by the symmetry of the pair, weighing by λ is drawing from
    λ · Beta(α, α), which is Beta(α + 1, α) up to a constant. So labels stay what they are.

    Codes of categories can't be mixed: all those of an example are taken from x with probability λ,
    else from x'. On average that gives the mixed one-hot vectors.

    Parameters
    ----------
    alpha : float
        α above 0: the larger, the more is mixed.
    """

    of_images: ClassVar[bool] = False
    knows_codes: ClassVar[bool] = True

    alpha: float = 0.2

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive(self.alpha, "alpha")

    def __call__(self, x: Array, stage: Stage) -> Array:
        """Return the mixed batch."""
        xp, n = stage.backend.xp, x.shape[0]
        # The batch is shuffled already: going on by a random number of places finds a partner.
        others = (stage.draws.whole(1, max(n - 1, 1), 1) + xp.arange(n)) % n
        partner = xp.take(x, others.astype(np.intp), axis=0)
        place = stage.draws.whole(0, QUANTILES - 1, n).astype(np.intp)
        share = xp.take(_quantiles(self.alpha, stage.backend, x.dtype), place, axis=0)
        mixed = partner + share[:, None, None, None] * (x - partner)
        if stage.codes is None:
            return mixed
        own = (stage.draws.uniform(0.0, 1.0, n) < share)[:, None, None, None]
        return xp.where(stage.codes, xp.where(own, x, partner), mixed)


@lru_cache
def _quantiles(alpha: float, backend: Backend, dtype: Any) -> Array:
    """Return the middles of Beta(α + 1, α)'s parts of equal probability, on the device."""
    from scipy.special import betaincinv

    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return backend.asarray(betaincinv(alpha + 1.0, alpha, middles), dtype)


class Augmentation:
    """Transforms one after another, on the mini-batches of a fit.

    Each mini-batch is changed anew; development and test set, and the training error, are not. The
    codes that a network's `OneHot` and `Embedding` take are left as they are, but for `Mixup`; the
    transforms for images are refused there.

    Parameters
    ----------
    transforms : sequence of Transform
        `HorizontalFlip`, `Shift`, `Rotation`, `Zoom` and `Cutout` for images; `GaussianNoise` and
        `Mixup` for any features. They are done in this order; of those that move pixels, neighbours
        are joined and the pixels interpolated (bilinearly) once.
    image_shape : (height, width) or (height, width, channels)
        How an example's features make an image, row by row.

    Raises
    ------
    TypeError
        If a transform is none.
    ValueError
        If there are none, or some are for images and image_shape is missing, no shape, or smaller
        than a shift.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    >>> Augmentation([HorizontalFlip(p=1.0)], image_shape=(2, 3)).apply(rows)
    array([[3., 2., 1., 6., 5., 4.]])
    >>> noisy = Augmentation([GaussianNoise(0.1)]).apply(rows, random_state=1)
    >>> bool((noisy != rows).all()), noisy.shape
    (True, (1, 6))
    """

    def __init__(
        self, transforms: Sequence[Transform], image_shape: Sequence[int] | None = None
    ) -> None:
        if isinstance(transforms, Transform) or not hasattr(transforms, "__iter__"):
            raise TypeError(f"transforms is {transforms!r}: give a list, as [GaussianNoise(0.1)]")
        if not transforms:
            raise ValueError("transforms is empty: give some, as [GaussianNoise(0.1)]")
        for transform in transforms:
            if not isinstance(transform, Transform):
                call = "; did you mean to call it?"
                hint = call if isinstance(transform, type) else ": give one such as Mixup()"
                raise TypeError(f"{transform!r} is not a transform{hint}")
        self.transforms = tuple(transforms)
        self.image_shape = None if image_shape is None else _check_shape(image_shape)
        for transform in transforms:
            if transform.of_images and self.image_shape is None:
                raise ValueError(f"{transform!r} is for images: give image_shape, as (28, 28)")
            if isinstance(transform, Shift) and transform.pixels >= min(
                (self.image_shape or ())[:2]
            ):
                raise ValueError(f"{transform!r} moves images of shape {self.image_shape} away")

    def __repr__(self) -> str:
        return f"Augmentation({list(self.transforms)}, image_shape={self.image_shape})"

    def check(self, n_features: int, code_columns: Sequence[int] = ()) -> None:
        """Raise a ValueError if features, of which some are codes, are no images of this shape."""
        shape = self.image_shape
        images = next((repr(t) for t in self.transforms if t.of_images), "")
        if images and code_columns:
            shown = ", ".join(map(str, code_columns[:4]))
            more = f" and {len(code_columns) - 4} more" if len(code_columns) > 4 else ""
            raise ValueError(
                f"{images} is for images, and there are codes of categories in columns "
                f"{shown}{more}: leave one of the two out"
            )
        if shape is not None and math.prod(shape) != n_features:
            raise ValueError(
                f"image_shape is {shape}, which makes {math.prod(shape)} features, and X has "
                f"{n_features}: give the shape that an example's features have as an image"
            )

    def apply(
        self, X: Any, random_state: int = 0, epoch: int = 0, code_columns: Sequence[int] = ()
    ) -> Array:
        """Return a changed copy of some examples: to look at, or to train on elsewhere.

        Parameters
        ----------
        X : array, shape (n, n_features)
            Floating-point features.
        random_state, epoch : int
            What the changes are computed from: each pair gives others.
        code_columns : sequence of int
            The columns that hold codes of categories; in a fit the network says which.

        Raises
        ------
        TypeError, ValueError
            If X is no floating-point array (n, n_features), does not suit image_shape, or lacks a
            column of codes.
        """
        if getattr(getattr(X, "dtype", None), "kind", None) != "f" or X.ndim != 2:
            what = f"{getattr(X, 'dtype', type(X).__name__)} of shape {np.shape(X)}"
            raise TypeError(f"X is {what}: give an array (n, n_features) of floating-point numbers")
        self.check(X.shape[1], code_columns)
        backend = backend_of(X, select("cpu"))
        with backend.active():
            key = backend.asarray(augmentation_keys(random_state, epoch, 1)[0])
            codes = mark_columns(X.shape[1], code_columns, backend)
            return self.change(X, key, backend, codes)

    def change(self, x: Array, key: Array, backend: Backend, codes: Array | None = None) -> Array:
        """Return a changed copy of a mini-batch.

        Parameters
        ----------
        x : array, shape (n, n_features)
            On the device of the backend; nothing is checked here.
        key : array, uint64, shape (1,)
            64 bits of this mini-batch, on the device.
        backend : Backend
            Where to compute.
        codes : array of bool, shape (n_features,), or None
            Which features are codes of categories, as `mark_columns` says; there are no images
            then.
        """
        n, n_features = x.shape
        height, width, *_ = self.image_shape or (1, 1)
        if codes is not None:
            height = width = 1
        stage = Stage(backend, Draws(backend.xp, key, x.dtype), height, width, codes)
        images = x.reshape(n, height, width, n_features // (height * width))
        for moving, group in groupby(self.transforms, lambda t: isinstance(t, Geometric)):
            if moving:
                images = _move_pixels(images, list(group), stage)  # type: ignore[arg-type]
                continue
            for transform in group:
                changed = transform(images, stage)
                if codes is not None and not transform.knows_codes:
                    changed = backend.xp.where(codes, images, changed)
                images = changed
        return images.reshape(n, n_features)


def mark_columns(n: int, columns: Sequence[int], backend: Backend) -> Array | None:
    """Return which of n columns are named, as truth values on the device; None if none is.

    Raises
    ------
    TypeError, ValueError
        If there is no such column.
    """
    given = [check_count(column, "a column of codes", 0) for column in columns]
    if max(given, default=0) >= n:
        raise ValueError(f"a column of codes is {max(given)}, and X has {n}: give 0 to {n - 1}")
    return backend.asarray(np.isin(np.arange(n), given)) if given else None


def _move_pixels(images: Array, transforms: Sequence[Geometric], stage: Stage) -> Array:
    """Take each pixel from where the transforms, one after another, say; mix it from four."""
    xp, (n, height, width, channels) = stage.backend.xp, images.shape
    place = xp.arange(height * width, dtype=images.dtype)
    row = xp.floor(place / width)
    middle = (height - 1) / 2, (width - 1) / 2
    y, x = row - middle[0], place - row * width - middle[1]
    a, b, c, d, u, v = _joined([transform.draw(n, stage) for transform in transforms])
    # Beyond an edge the pixel of the edge goes on.
    down = _held(xp, y * a + x * b + (u + middle[0]), height - 1)
    right = _held(xp, y * c + x * d + (v + middle[1]), width - 1)
    pixels, first = images.reshape(-1, channels), xp.arange(n)[:, None] * (height * width)

    def at(rows: Array, columns: Array) -> Array:
        chosen = (rows * width + columns).astype(np.intp) + first
        return xp.take(pixels, chosen, axis=0)

    if all(transform.on_pixels for transform in transforms):
        return at(xp.floor(down + 0.5), xp.floor(right + 0.5)).reshape(images.shape)
    top, left = xp.floor(down), xp.floor(right)
    bottom, right_of = xp.minimum(top + 1, height - 1), xp.minimum(left + 1, width - 1)
    lower, later = (down - top)[..., None], (right - left)[..., None]
    above = at(top, left) * (1 - later) + at(top, right_of) * later
    below = at(bottom, left) * (1 - later) + at(bottom, right_of) * later
    return (above * (1 - lower) + below * lower).reshape(images.shape)


def _held(xp: Namespace, place: Array, last: int) -> Array:
    return xp.minimum(xp.maximum(place, 0.0), float(last))


def _joined(maps: Sequence[Affine]) -> Affine:
    """Return the map that does all of them: a pixel is taken through the last one first."""
    a, b, c, d, u, v = maps[0]
    for e, f, g, h, s, t in maps[1:]:
        u, v = a * s + b * t + u, c * s + d * t + v
        a, b, c, d = a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h
    return a, b, c, d, u, v


def _check_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if not hasattr(shape, "__iter__"):
        raise TypeError(f"image_shape is {shape!r}: give (height, width) or (…, channels)")
    sizes = tuple(check_count(size, "a length in image_shape") for size in shape)
    if len(sizes) not in (2, 3):
        raise ValueError(f"image_shape is {sizes}: give (height, width) or (…, channels)")
    return sizes
