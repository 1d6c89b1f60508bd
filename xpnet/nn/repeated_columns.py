"""Some columns of the input a second time, for layers that are to see them beside another form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .._typing import NO_ARRAY, Array
from .layer import Allocator, Layer, LayerBuffers
from .numeric_columns import NumericColumns


@dataclass
class RepeatedBuffers(LayerBuffers):
    """The buffers: dx is the gradient, if it is needed."""

    dx: Array = NO_ARRAY


@dataclass(eq=False)
class RepeatedColumns(NumericColumns[RepeatedBuffers]):
    """All of the input, and then some of its columns once more.

    An embedding behind it then takes the copies, and the numbers themselves stay beside it.

    Parameters
    ----------
    columns : sequence of int
        Which columns, counted from 0.

    Raises
    ------
    TypeError, ValueError
        If columns is no sequence of whole numbers; one is negative or named twice; or there is
        none. Within a network: if the input lacks one, or there are more than 2²⁴ outputs.

    Examples
    --------
    >>> import xpnet as xn
    >>> layers = [xn.RepeatedColumns([1]), xn.PiecewiseLinearEmbedding({2: (0.0, 1.0, 3.0)})]
    >>> net = xn.Network([*layers, xn.Linear(1)], loss="mean_squared_error", n_features=2,
    ...                  device="cpu")
    >>> net.activations([[7.0, 0.5], [8.0, 2.0]], layers=[0, 1])
    [array([[7. , 0.5, 0.5],
           [8. , 2. , 2. ]], dtype=float32), array([[7. , 0.5, 0.5, 0. ],
           [8. , 2. , 1. , 0.5]], dtype=float32)]
    """

    of_input_alone: ClassVar[bool] = True

    @property
    def block_widths(self) -> Sequence[int]:
        """How many more outputs each column is."""
        return [1] * len(self.columns)

    @property
    def n_passed(self) -> int:
        """How many columns come first in the output: all."""
        return self.n_inputs

    @property
    def passed_columns(self) -> Sequence[int]:
        """All of the input, which comes first in the output."""
        return range(self.n_inputs)

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs."""
        n_outputs = super().build(index, n_inputs, following)
        self._runs = self._found_runs()
        return n_outputs

    def _found_runs(self) -> list[tuple[slice, slice]]:
        """Return columns that follow each other: which of the input, and where in the output."""
        found: list[tuple[slice, slice]] = []
        for place, column in enumerate(self.columns, self.n_inputs):
            if found and found[-1][0].stop == column:
                source, copy = found.pop()
                found.append((slice(source.start, column + 1), slice(copy.start, place + 1)))
            else:
                found.append((slice(column, column + 1), slice(place, place + 1)))
        return found

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> RepeatedBuffers:
        """Return y, and dx if it is needed."""
        dx = new.rows("dx", self.n_inputs) if needs_dx else NO_ARRAY
        return RepeatedBuffers(y=new.rows("y", self.n_outputs), dx=dx)

    def forward(self, x: Array, b: RepeatedBuffers) -> Array:
        """Write the input, then its columns again."""
        xp = self.kernels.xp
        xp.copyto(b.y[..., : self.n_inputs], x)
        for source, copy in self._runs:
            xp.copyto(b.y[..., copy], x[..., source])
        return b.y

    def backward(self, dy: Array, b: RepeatedBuffers) -> Array | None:
        """∂X: δ of the input, and that of the columns' copies added to it."""
        if b.dx is NO_ARRAY:
            return None
        xp = self.kernels.xp
        xp.copyto(b.dx, dy[..., : self.n_inputs])
        for source, copy in self._runs:
            own = b.dx[..., source]  # one view: of two CuPy would not know that they are the same
            xp.add(own, dy[..., copy], out=own)
        return b.dx
