"""Columns of categories: codes that become one-hot vectors or learnt embeddings in the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.reference import Kernels
from ..backends.work import CategoryWork
from ..checks import check_count, check_several
from . import initializers
from .embedded_columns import EmbeddedColumns
from .initializers import Initializer, Normal
from .layer import Allocator, Layer, LayerBuffers

#: Up to so many, float32 tells the codes apart.
MOST_CATEGORIES = 2**24

#: Columns, each with its number of categories.
Coded = tuple[tuple[int, int], ...]

_NO_WORK: Final = cast(CategoryWork, None)


@dataclass
class CategoryBuffers(LayerBuffers):
    """The buffers: x is the input, by reference; dx its gradient, if that is needed."""

    x: Array = NO_ARRAY
    dx: Array | None = None
    work: CategoryWork = _NO_WORK


@dataclass(eq=False)
class CategoryLayer(EmbeddedColumns[CategoryBuffers]):
    """The base of `OneHot` and `Embedding`: other columns are passed on, then comes a block each.

    Raises
    ------
    TypeError, ValueError
        If columns is no dict of columns and numbers of categories, nor pairs of these; a column is
        negative or named twice, or has no category or more than 2²⁴.
    """

    with_fewer: ClassVar[str] = "columns of many categories are for Embedding, with few n_dims"

    columns: Mapping[int, int] | Coded

    def __post_init__(self) -> None:
        self.columns = _check_columns(self.columns)

    @property
    def _coded(self) -> Coded:
        return cast(Coded, self.columns)

    @property
    def _n_dims(self) -> int:
        """Outputs of each column, or 0: one for each category."""
        return 0

    @property
    def code_columns(self) -> dict[int, int]:
        """The columns of codes, each with its number of categories."""
        return dict(self._coded)

    @property
    def embedded(self) -> tuple[int, ...]:
        """The columns of codes, in the order of their blocks."""
        return tuple(column for column, _ in self._coded)

    @property
    def block_widths(self) -> Sequence[int]:
        """How many outputs each column becomes."""
        return [self._n_dims or size for _, size in self._coded]

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> CategoryBuffers:
        """Return y, dx if it is needed, and what the kernels work with."""
        y, dx = new.rows("y", self.n_outputs), new.rows("dx", self.n_inputs) if needs_dx else None
        arrays = y.dtype, new.rows, new.constant
        work = CategoryWork(self._coded, self.n_inputs, self._n_dims, *arrays)
        return CategoryBuffers(y=y, dx=dx, work=work)

    def backward(self, dy: Array, b: CategoryBuffers) -> Array | None:
        """∂X: what belongs to columns that were passed on, and zero for codes."""
        if b.dx is not None:
            self.kernels.other_columns_backward(dy, b.work, b.dx)
        return b.dx


@dataclass(eq=False)
class OneHot(CategoryLayer):
    """Categories as one-hot vectors, made of their codes in the batch.

    A data set of 100,000 rows and a column of 990 categories then holds 100,000 numbers for it, not
    99 million. The output has the other columns, in their order, and then for each column of codes,
    in the order in which they are given, as many as there are categories: 1 for the category, 0 for
    the others.

    A code is one of the numbers 0, 1, 2, … below the number of categories; all zeros stand for any
    other number, as −1, which says that no category is known. What changes numbers, such as
    `Dropout` or `BatchNorm`, belongs behind this layer. An `Embedding` of other columns had better
    follow it: no gradient is then computed for this one.

    Parameters
    ----------
    columns : dict, or sequence of (int, int)
        For each column of codes, counted from 0, its number of categories.

    Raises
    ------
    TypeError, ValueError
        If columns is no dict of columns and numbers of categories, nor pairs of these; a column is
        negative or named twice, or has no category or more than 2²⁴.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.OneHot({0: 3}), xn.Linear(1)], loss="mean_squared_error",
    ...                  n_features=2, device="cpu")
    >>> net.activations([[2, 0.5], [-1, 0.7]], layers=[0])[0]
    array([[0.5, 0. , 0. , 1. ],
           [0.7, 0. , 0. , 0. ]], dtype=float32)
    """

    of_input_alone: ClassVar[bool] = True

    def forward(self, x: Array, b: CategoryBuffers) -> Array:
        """Write the other columns, then the one-hot vectors."""
        self.kernels.one_hot(x, b.work, b.y)
        return b.y


@dataclass(eq=False)
class Embedding(CategoryLayer):
    """Categories as learnt vectors, looked up by their codes: for columns of many categories.

    The output has the other columns, in their order, and then for each column of codes, in the
    order in which they are given, ``n_dims`` numbers: the row of a table that belongs to the
    category. Codes are as for `OneHot`: any number that is none of 0, 1, 2, … below the number of
    categories gives zeros, and learns nothing.

    The parameter ``weight`` (N, n_dims) has the columns' tables one below another. Weight decay and
    L2 leave it alone, as they do biases: where a category's gradient is zero in most batches, an
    optimiser that scales gradients, as Adam does, would make large steps of even a small λ, and
    bring rare categories to zero. So do Gorishniy et al., "Revisiting deep learning models for
    tabular data", NeurIPS 2021, with those of their transformer.

    Parameters
    ----------
    columns : dict, or sequence of (int, int)
        For each column of codes, counted from 0, its number of categories.
    n_dims : int
        How many numbers a category becomes.
    init : str or Initializer
        The tables' first values, as for `Linear`; m_in is n_dims. "auto": N(0, 1), as in PyTorch
        and in RealMLP (Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024), so
        that they have the scale of standardised numbers beside them.

    Raises
    ------
    TypeError, ValueError
        If columns is no dict of columns and numbers of categories, nor pairs of these; a column is
        negative or named twice, or has no category or more than 2²⁴; n_dims is no whole number or
        less than 1; or init is not known.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Embedding({0: 3, 2: 500}, 4), xn.Linear(1)], n_features=3,
    ...                  loss="mean_squared_error", device="cpu")
    >>> net.state()["0.weight"].shape, net.layers[1].n_inputs
    ((503, 4), 9)
    """

    n_dims: int
    init: str | Initializer = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.n_dims = check_count(self.n_dims, "n_dims")
        if not (isinstance(self.init, str) and self.init == "auto"):
            self.init = initializers.resolve(self.init)

    @property
    def _n_dims(self) -> int:
        return self.n_dims

    @property
    def _n_rows(self) -> int:
        return sum(size for _, size in self._coded)

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs."""
        if self.init == "auto":
            self.init = Normal(1.0)
        return super().build(index, n_inputs, following)

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of the tables."""
        return {"weight": (self._n_rows, self.n_dims)}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return the tables' first values."""
        return initializers.resolve(self.init).draw(generator, self.n_dims, self._n_rows)

    def check_initial(self) -> None:
        """Raise an error if the first values can't be drawn."""
        initializers.check_scale(self.init, self.n_dims, self._n_rows)

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        self._weight, self._d_weight = self.parameters["weight"], self.gradients["weight"]

    def forward(self, x: Array, b: CategoryBuffers) -> Array:
        """Write the other columns, then the embeddings."""
        b.x = x
        self.kernels.embedding(x, self._weight, b.work, b.y)
        return b.y

    def backward(self, dy: Array, b: CategoryBuffers) -> Array | None:
        """∂W: the sum of δ over each category's examples. ∂X as for `OneHot`."""
        self.kernels.embedding_backward(dy, b.x, b.work, self._d_weight)
        return super().backward(dy, b)


def code_columns(layers: Sequence[Layer], n_features: int) -> dict[int, int]:
    """Return which of a network's inputs are codes, each with its number of categories.

    Examples
    --------
    >>> import xpnet as xn
    >>> layers = [xn.OneHot({0: 3}), xn.Embedding({1: 90}, 4), xn.Linear(1)]
    >>> net = xn.Network(layers, loss="mean_squared_error", n_features=4, device="cpu")
    >>> code_columns(net.layers, 4)
    {0: 3, 2: 90}
    """
    inputs: Sequence[int] = range(n_features)  # that the next layer's first columns are
    found: dict[int, int] = {}
    for layer in layers:
        found |= {inputs[j]: k for j, k in layer.code_columns.items() if j < len(inputs)}
        inputs = [inputs[j] for j in layer.passed_columns if j < len(inputs)]
    return found


def _check_columns(columns: Any) -> Coded:
    """Return columns with their numbers of categories as pairs, or raise an error."""
    example = "{3: 12, 4: 990}"
    several = columns.items() if isinstance(columns, Mapping) else columns
    found: dict[int, int] = {}
    for pair in check_several(several, "columns", example):
        if not hasattr(pair, "__len__") or len(pair) != 2:
            raise TypeError(
                f"columns has {pair!r:.100}: give each column with its number of categories, as "
                f"{example}"
            )
        column = check_count(pair[0], "a column", 0)
        size = check_count(pair[1], f"the number of categories of column {column}")
        if column in found:
            raise ValueError(f"columns has {column} twice: give each column once")
        if size > MOST_CATEGORIES:
            raise ValueError(
                f"column {column} has {size:,} categories: give at most {MOST_CATEGORIES:,}, whose "
                "codes float32 can tell apart"
            )
        found[column] = size
    if not found:
        raise ValueError(f"columns is empty: give some, as {example}")
    return tuple(found.items())
