"""Columns brought to a common scale within the network, by constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._typing import NO_ARRAY, Array
from ..checks import check_number, check_several
from ..data.scaling import Scales, Scaling
from .layer import Allocator, Layer, LayerBuffers


@dataclass
class StandardizeBuffers(LayerBuffers):
    """The buffers: the constants, each of shape (m,)."""

    centre: Array = NO_ARRAY
    factor: Array = NO_ARRAY


@dataclass(eq=False, repr=False)
class Standardize(Layer[StandardizeBuffers]):
    """Each column less a constant, over another one: y = (x − c) / s.

    As the first layer it lets a network take raw columns of a table, and a file of the network says
    how they are scaled. Where s is 0, y is 0: a column that was the same in all that the constants
    were learnt from tells the network nothing. ``SmoothClip()`` behind it keeps far values near.

    The constants are options, as the edges of `PiecewiseLinearEmbedding` are: nothing trains them,
    and members of a network share them. ∂x = δ / s.

    Parameters
    ----------
    centre, scale : sequence of float
        c and s of each column: finite numbers, s 0 or more.

    Raises
    ------
    TypeError, ValueError
        If one is no sequence of such numbers, or they are not as many. Within a network: if these
        are not as many as the inputs.

    Examples
    --------
    >>> import xpnet as xn
    >>> X = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0], [1000.0, 5.0]])
    >>> layer = xn.Standardize.learn(X)
    >>> layer.centre, layer.scale
    ((3.0, 5.0), (2.0, 0.0))
    >>> net = xn.Network([layer, xn.SmoothClip(), xn.Linear(1)], loss="mean_squared_error",
    ...                  n_features=2, device="cpu")
    >>> net.activations(X, layers=[0, 1])[1].round(2).T
    array([[-0.95, -0.49,  0.  ,  0.49,  3.  ],
           [ 0.  ,  0.  ,  0.  ,  0.  ,  0.  ]], dtype=float32)
    """

    of_input_alone: ClassVar[bool] = True

    centre: Sequence[float]
    scale: Sequence[float]

    def __post_init__(self) -> None:
        self.centre, self.scale = (_numbers(self, name) for name in ("centre", "scale"))
        if len(self.centre) != len(self.scale):
            raise ValueError(f"there are {len(self.centre)} centres and {len(self.scale)} scales")
        if any(scale < 0 for scale in self.scale):
            raise ValueError(f"scale has {min(self.scale)}: give numbers that are 0 or more")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<{len(self.centre)} columns>)"

    @classmethod
    def learn(cls, X: Any, centre: str = "median") -> Standardize:
        """Return the layer for columns of which rows are given, such as a training set.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            Finite numbers, on the host.
        centre : {"median", "mean"}
            "median": less the median, over the quartile range, in which far values have no part;
            where that is 0 over half of the whole range. "mean": less the mean, over the standard
            deviation. Columns that look like pixels or counts, 16 or more of whole numbers from 0
            to 255, share one mean and one deviation.

        Raises
        ------
        ValueError
            If numbers are too large for float64, or centre is not known.
        """
        rows = np.asarray(X)
        scales = Scales.learn_array(rows, Scaling(centre))
        varies = rows.min(axis=0) != rows.max(axis=0)
        return cls(scales.mean.tolist(), np.where(varies, scales.scale, 0.0).tolist())

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs.

        Raises
        ------
        ValueError
            If there are more or fewer inputs than constants.
        """
        if n_inputs != len(self.centre):
            raise ValueError(f"{self!r} gets {n_inputs} inputs: give as many constants")
        return super().build(index, n_inputs, following)

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> StandardizeBuffers:
        """Return y, over the input where that is free, and the constants."""
        y = self.output(new, x, overwrite)
        with np.errstate(divide="ignore", over="ignore"):
            factor = 1.0 / np.array(self.scale)
        # What is subtracted differs from x by at least its last digit: no factor is larger.
        factor = np.where(np.array(self.scale) > 0, np.minimum(factor, np.finfo(y.dtype).max), 0.0)
        centre = new.constant("centre", np.array(self.centre, y.dtype))
        return StandardizeBuffers(
            y=y, centre=centre, factor=new.constant("factor", factor.astype(y.dtype))
        )

    def forward(self, x: Array, b: StandardizeBuffers) -> Array:
        """(X − c) / s."""
        xp = self.kernels.xp
        xp.subtract(x, b.centre, out=b.y)
        xp.multiply(b.y, b.factor, out=b.y)
        return b.y

    def backward(self, dy: Array, b: StandardizeBuffers) -> Array:
        """∂X = δ / s."""
        self.kernels.xp.multiply(dy, b.factor, out=dy)
        return dy


def _numbers(layer: Standardize, name: str) -> tuple[float, ...]:
    """Return one of the options as floats, or raise an error."""
    several = check_several(getattr(layer, name), name, "(0.0, 2.5)")
    found = tuple(check_number(number, f"a number of {name}") for number in several)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} has a number that is not finite: give finite ones")
    return found
