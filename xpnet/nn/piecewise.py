"""Columns of numbers as their places among bins: piecewise-linear encodings and embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.piecewise_work import PiecewiseWork
from ..backends.reference import Kernels
from ..checks import check_count, check_fields, check_number, check_several
from ..data.bins import fits
from .embedded_columns import EmbeddedColumns
from .layer import Allocator, LayerBuffers

#: Columns, each with its edges.
Edges = tuple[tuple[int, tuple[float, ...]], ...]

_NO_WORK: Final = cast(PiecewiseWork, None)


@dataclass
class PiecewiseBuffers(LayerBuffers):
    """The buffers: x is the input, by reference; dx its gradient, if that is needed."""

    x: Array = NO_ARRAY
    dx: Array | None = None
    work: PiecewiseWork = _NO_WORK


@dataclass(eq=False, repr=False)
class PiecewiseLinearEmbedding(EmbeddedColumns[PiecewiseBuffers]):
    """Numbers as their places among bins, so that a network can tell thresholds apart.

    A column with the rising edges b₀ < b₁ < … < b_T has T bins. The encoding of a number x has one
    output for each: eₜ = 0 where x lies below the bin, 1 where it lies above, and

        eₜ = (x − bₜ₋₁) / (bₜ − bₜ₋₁)

    within. The first bin goes on below b₀ and the last one above b_T, with the same slope, unless
    ``clamp``. Gorishniy, Rubachev & Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022, equation 1. `piecewise_bins` finds edges.

    With ``n_dims`` each column's encoding becomes that many numbers, by a map of the column's own:

        y = b + a x + Σₜ eₜ Wₜ

    W begins at 0, so that at first y is a linear function of x: so do Gorishniy, Kotelnikov &
    Babenko, "TabM", ICLR 2025 (version B of their package rtdl_num_embeddings 0.0.12). With
    ``linear=False`` there is no a, and W begins at random (version A, the paper of 2022). A ReLU is
    taken of the whole sum. (Version B of the package has it before b + a x is added, where nothing
    would ever get it away from W = 0.)

    The output has the other columns, in their order, and then a block for each column, in the order
    in which they are given. Parameters: ``weight`` (N, n_dims), the columns' bins one below
    another; ``bias`` and ``linear`` (c, n_dims). Weight decay and L2 leave them alone, as those of
    `Embedding`: few examples are in a bin. Without n_dims there are none.

    Parameters
    ----------
    columns : dict, or sequence of (int, sequence of float)
        For each column that is embedded, counted from 0, its edges: at least two, rising.
    n_dims : int or None
        How many numbers a column becomes; None: its encoding.
    linear : bool
        Whether there is a term a x. Without n_dims there is none.
    relu : bool
        Whether a ReLU is taken of the embeddings.
    clamp : bool
        Whether the encoding stays between 0 and 1: the outer bins end at their edges.

    Raises
    ------
    TypeError, ValueError
        If columns is no dict of columns and edges, nor pairs of these; a column is negative or
        named twice; its edges are fewer than two, not finite, don't rise, or lie so near or so far
        from each other that float32 has no number for 1 / (bₜ − bₜ₋₁); n_dims is no whole number or
        less than 1; there is a ReLU and no n_dims; or another option is no flag.

    Examples
    --------
    >>> import xpnet as xn
    >>> places = xn.PiecewiseLinearEmbedding({0: (0.0, 1.0, 3.0)})
    >>> net = xn.Network([places, xn.Linear(1)], loss="mean_squared_error", n_features=2,
    ...                  device="cpu")
    >>> net.activations([[0.5, 7.0], [2.0, 8.0], [4.0, 9.0]], layers=[0])[0]
    array([[7. , 0.5, 0. ],
           [8. , 1. , 0.5],
           [9. , 1. , 1.5]], dtype=float32)
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> embedding = xn.PiecewiseLinearEmbedding(xn.piecewise_bins(X), n_dims=4)
    >>> embedding
    PiecewiseLinearEmbedding(columns=<3 with 48 bins>, n_dims=4, linear=True, relu=False,
                             clamp=False)
    >>> net = xn.Network([embedding, xn.Linear(1)], loss="mean_squared_error", n_features=3,
    ...                  device="cpu")
    >>> {name: array.shape for name, array in net.state().items() if name.startswith("0.")}
    {'0.weight': (48, 4), '0.bias': (3, 4), '0.linear': (3, 4)}
    """

    columns: Mapping[int, Sequence[float]] | Edges
    n_dims: int | None = None
    linear: bool = True
    relu: bool = False
    clamp: bool = False

    def __post_init__(self) -> None:
        self.columns = _check_columns(self.columns)
        check_fields(self)
        if self.n_dims is not None:
            self.n_dims = check_count(self.n_dims, "n_dims", other=", or None")
        elif self.relu:
            raise ValueError("relu is True without n_dims: give n_dims, or no ReLU")

    def __repr__(self) -> str:
        bins = sum(len(edges) - 1 for _, edges in self._edges)
        options = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.init][1:]
        columns = f"columns=<{len(self._edges)} with {bins} bins>"
        return f"{type(self).__name__}({', '.join([columns, *options])})"

    @property
    def _edges(self) -> Edges:
        return cast(Edges, self.columns)

    @property
    def embedded(self) -> tuple[int, ...]:
        """The columns that are embedded, in the order of their blocks."""
        return tuple(column for column, _ in self._edges)

    @property
    def block_widths(self) -> Sequence[int]:
        """How many outputs each column becomes."""
        return [self.n_dims or len(edges) - 1 for _, edges in self._edges]

    @property
    def of_input_alone(self) -> bool:  # type: ignore[override] # others say it of their class
        """Whether there are no parameters."""
        return self.n_dims is None

    @property
    def keeps_output(self) -> bool:  # type: ignore[override] # the same
        """Whether ``backward`` reads the output: for the ReLU."""
        return self.relu

    # -- parameters ----

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of each parameter."""
        if self.n_dims is None:
            return {}
        shapes = {"weight": self._n_bins, "bias": len(self._edges), "linear": len(self._edges)}
        kept = shapes if self.linear else {"weight": self._n_bins, "bias": len(self._edges)}
        return {name: (rows, self.n_dims) for name, rows in kept.items()}

    @property
    def _n_bins(self) -> int:
        return sum(len(edges) - 1 for _, edges in self._edges)

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return the first values: W 0, and a and b from U(−1/√d, 1/√d).

        Without a linear term W and b are from U(−1/√T, 1/√T), where T are the most bins of a
        column.
        """
        if self.linear and name == "weight":
            return 0.0
        shapes = self.other_shapes()
        most = max(len(edges) - 1 for _, edges in self._edges)
        bound = cast(float, self.n_dims if self.linear else most) ** -0.5
        # Each is drawn from the same generator: those before it are drawn again.
        drawn = {n: generator.uniform(-bound, bound, shape) for n, shape in shapes.items()}
        return drawn[name]

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        p, g = self.parameters, self.gradients
        self._linear, self._d_linear = p.get("linear"), g.get("linear")
        if p:
            self._weight, self._d_weight = p["weight"], g["weight"]
            self._bias, self._d_bias = p["bias"], g["bias"]

    # -- passes ----

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> PiecewiseBuffers:
        """Return y, dx if it is needed, and what the kernels work with."""
        y, dx = new.rows("y", self.n_outputs), new.rows("dx", self.n_inputs) if needs_dx else None
        work = PiecewiseWork(
            columns=self.embedded,
            n_inputs=self.n_inputs,
            rows=new.rows,
            constant=new.constant,
            edges=tuple(edges for _, edges in self._edges),
            n_dims=self.n_dims or 0,
            dtype=y.dtype,
            row=new.row,
            clamp=self.clamp,
            relu=self.relu,
            linear=self.linear,
        )
        return PiecewiseBuffers(y=y, dx=dx, work=work)

    def forward(self, x: Array, b: PiecewiseBuffers) -> Array:
        """Write the other columns, then the encodings or embeddings."""
        b.x = x
        if self.n_dims is None:
            self.kernels.piecewise_encoding(x, b.work, b.y)
        else:
            parameters = self._weight, self._bias, self._linear
            self.kernels.piecewise_embedding(x, *parameters, b.work, b.y)
        return b.y

    def backward(self, dy: Array, b: PiecewiseBuffers) -> Array | None:
        """∂W, ∂b and ∂a: sums of δ eₜ, δ and δ x. ∂X: δ times the slope in x's bin."""
        if self.n_dims is not None:
            parameters = self._weight, self._bias, self._linear
            gradients = self._d_weight, self._d_bias, self._d_linear
            given = dy, b.y, b.x, *parameters, b.work
            self.kernels.piecewise_embedding_backward(*given, *gradients, b.dx)
        elif b.dx is not None:
            self.kernels.piecewise_encoding_backward(dy, b.x, b.work, b.dx)
        return b.dx


def _check_columns(columns: Any) -> Edges:
    """Return columns with their edges as pairs, or raise an error."""
    example = "{3: (-1.5, 0.0, 2.5)}"
    several = columns.items() if isinstance(columns, Mapping) else columns
    found: dict[int, tuple[float, ...]] = {}
    for pair in check_several(several, "columns", example):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise TypeError(
                f"columns has {pair!r:.100}: give each column with its edges: {example}"
            )
        column = check_count(pair[0], "a column", 0)
        if column in found:
            raise ValueError(f"columns has {column} twice: give each column once")
        found[column] = _check_edges(pair[1], column)
    if not found:
        raise ValueError(f"columns is empty: give some, as {example}")
    return tuple(found.items())


def _check_edges(edges: Any, column: int) -> tuple[float, ...]:
    """Return a column's edges as floats, or raise an error."""
    name = f"the edges of column {column}"
    several = check_several(edges, name, "(-1.5, 0.0, 2.5)")
    found = tuple(check_number(edge, f"an edge of column {column}") for edge in several)
    if len(found) < 2:
        raise ValueError(
            f"{name} are {found}: give at least two, where its first bin begins and "
            "its last one ends"
        )
    good = fits(np.array(found))
    if not good.all():
        i = int(good.argmin())
        raise ValueError(
            f"{name} go from {found[i]} to {found[i + 1]}: give finite numbers that rise, and are "
            "different in float32"
        )
    return found
