"""Columns of numbers as waves of learnt frequencies, each behind a linear layer of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.activations import (
    IDENTITY,
    NO_WORK,
    ActivationSpec,
    ActivationWork,
    activation_work,
    specify,
)
from ..backends.reference import Kernels
from ..backends.work import ColumnWork
from ..checks import check_count, check_flag, check_positive
from .layer import Allocator, LayerBuffers
from .numeric_columns import NumericColumns

_NO_WORK: Final = cast(ColumnWork, None)
_RELU: Final = specify("relu")


@dataclass
class PeriodicBuffers(LayerBuffers):
    """The buffers: x is the input, by reference; dx its gradient, if that is needed.

    A row for each column of each example have ``values``, the numbers themselves; ``angle``, what
    waves are made of; ``waves``, the cosines and sines; ``rows``, the embeddings; and the
    gradients.
    """

    x: Array = NO_ARRAY
    dx: Array | None = None
    work: ColumnWork = _NO_WORK
    scaled: Array = NO_ARRAY
    values: Array = NO_ARRAY
    waves: Array = NO_ARRAY
    angle: Array = NO_ARRAY
    rows: Array = NO_ARRAY
    d_values: Array | None = None
    d_waves: Array = NO_ARRAY
    d_rows: Array = NO_ARRAY
    relu_work: ActivationWork = NO_WORK


@dataclass(eq=False)
class PeriodicEmbedding(NumericColumns[PeriodicBuffers]):
    """Numbers as waves of learnt frequencies, cos 2πwx and sin 2πwx, and a layer for each column.

    The output has the other columns, in their order, and then for each column x that is embedded,
    in the order in which they are given, ``n_dims`` numbers: relu(W [cos 2πwx, sin 2πwx] + b), with
    w, W and b of the column's own. So a network sees steps and bends that one standardised number
    hides from it (Gorishniy, Rubachev & Babenko, "On embeddings for numerical features in tabular
    deep learning", NeurIPS 2022: PLR).

    With ``phase=True, dense=True, relu=False`` it is (x, W cos(2πwx + a) + b), the PBLD form of
    RealMLP (Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024), which takes
    ``n_dims=4, n_frequencies=16, frequency_scale=0.1``.

    The parameters are ``frequencies`` and ``phases`` (c, k), ``weight`` (c, d, 2 k), or (c, d, k)
    with phases, and ``bias`` (c, d), for c columns and k frequencies; d is n_dims, or one less if
    it is dense. If they are shared, ``weight`` has shape (d, 2 k) and ``bias`` (d,). Weight decay
    and L2 apply to the weight alone: towards 0 they would draw the frequencies away from what they
    have been chosen for.

    Parameters
    ----------
    columns : sequence of int
        Which columns, counted from 0. They should be of like scale, as standardised ones are.
    n_dims : int
        How many numbers a column becomes.
    n_frequencies : int
        k, how many waves of each column there are.
    frequency_scale : float
        σ: the first frequencies are N(0, σ²), cut off at ±3 σ. It matters more than the others:
        the larger it is, the finer the steps that are seen, and the sooner noise is learnt.
    relu : bool
        Whether the layer ends with a ReLU.
    phase : bool
        Whether to have cosines alone, each with a learnt phase, in place of cosines and sines.
        Phases start from U(−π, π).
    dense : bool
        Whether each column's numbers begin with the column itself; it counts among n_dims.
    shared : bool
        Whether all columns share W and b ("lite"; Gorishniy et al., "TabR", ICLR 2024). Both start
        from U(−1/√m_in, 1/√m_in), m_in the number of waves, shared or not.

    Raises
    ------
    TypeError, ValueError
        If columns is no sequence of different whole numbers, 0 or more; n_dims or n_frequencies is
        no whole number or less than 1, n_dims less than 2 where it is dense; frequency_scale is not
        a finite number above 0; or another is neither True nor False. Within a network: if the
        input lacks a column, or there are more than 2²⁴ outputs.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.PeriodicEmbedding((0, 2), 4, 16), xn.Linear(1)], n_features=3,
    ...                  loss="mean_squared_error", device="cpu")
    >>> {name: array.shape for name, array in net.state().items()}
    {'0.weight': (2, 4, 32), '0.frequencies': (2, 16), '0.bias': (2, 4), '1.weight': (1, 9), \
'1.bias': (1,)}
    """

    n_dims: int = 24
    n_frequencies: int = 48
    frequency_scale: float = 0.01
    relu: bool = True
    phase: bool = False
    dense: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("relu", "phase", "dense", "shared"):
            setattr(self, name, check_flag(getattr(self, name), name))
        self.n_dims = check_count(self.n_dims, "n_dims", 1 + self.dense)
        self.n_frequencies = check_count(self.n_frequencies, "n_frequencies")
        self.frequency_scale = check_positive(self.frequency_scale, "frequency_scale")

    @property
    def block_widths(self) -> Sequence[int]:
        """How many outputs each column becomes: n_dims."""
        return [self.n_dims] * len(self.columns)

    @property
    def _n_waves(self) -> int:
        return self.n_frequencies * (1 if self.phase else 2)

    @property
    def _n_computed(self) -> int:
        """How many of a column's outputs are computed."""
        return self.n_dims - self.dense

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return W's shape."""
        shape = self._n_computed, self._n_waves
        return {"weight": shape if self.shared else (len(self.columns), *shape)}

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of frequencies, phases and b."""
        c = len(self.columns)
        shapes: dict[str, tuple[int, ...]] = {"frequencies": (c, self.n_frequencies)}
        if self.phase:
            shapes["phases"] = c, self.n_frequencies
        return shapes | {"bias": (self._n_computed,) if self.shared else (c, self._n_computed)}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return initial values; each array is drawn from a stream of its own."""
        shape = (self.weight_shapes() | self.other_shapes())[name]
        for_frequencies, for_phases, for_bias = generator.spawn(3)
        if name == "frequencies":
            return self.frequency_scale * _cut_off(for_frequencies, shape)
        if name == "phases":
            return for_phases.uniform(-math.pi, math.pi, shape)
        bound = 1.0 / math.sqrt(self._n_waves)
        return (for_bias if name == "bias" else generator).uniform(-bound, bound, shape)

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        p, g = self.parameters, self.gradients
        self._frequencies, self._d_frequencies = p["frequencies"], g["frequencies"]
        self._phases, self._d_phases = p.get("phases"), g.get("phases")
        self._weight, self._d_weight = p["weight"], g["weight"]
        self._bias, self._d_bias = p["bias"], g["bias"]
        if self.shared:
            self._bias, self._d_bias = self._bias[..., None, :], self._d_bias[..., None, :]
        f = _RELU if self.relu else IDENTITY
        #: What is computed along with the linear layers, and what behind them.
        self._fused: ActivationSpec = f if f.name in kernels.fusible else IDENTITY
        self._apart: ActivationSpec = IDENTITY if self._fused is f else f

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> PeriodicBuffers:
        """Return y and what the way back needs; the input is kept by reference."""
        b, rows = self.inference_buffers(new, x, overwrite), new.times(len(self.columns)).rows
        b.angle = rows("angle", self.n_frequencies)
        b.d_rows = rows("d_rows", self._n_computed)
        b.d_waves = rows("d_waves", self._n_waves)
        if needs_dx:
            b.dx, b.d_values = new.rows("dx", self.n_inputs), rows("d_values", 1)
        return b

    def inference_buffers(
        self, new: Allocator, x: Array | None, overwrite: bool
    ) -> PeriodicBuffers:
        """Return y and what it is made of."""
        rows = new.times(len(self.columns)).rows
        scaled = new.row("scaled", len(self.columns) * self.n_frequencies)
        waves = rows("waves", self._n_waves)
        programs = self._apart.forward, self._apart.backward
        return PeriodicBuffers(
            y=new.rows("y", self.n_outputs),
            work=self.column_work(new),
            scaled=scaled.reshape(*self._frequencies.shape),
            values=rows("values", 1),
            angle=waves if self.phase else rows("angle", self.n_frequencies),
            waves=waves,
            rows=rows("rows", self._n_computed),
            relu_work=activation_work(lambda *a: rows(a[0], self._n_computed, a[1]), *programs),
        )

    def forward(self, x: Array, b: PeriodicBuffers) -> Array:
        """f(W waves + b) of each column, behind the columns that are passed on."""
        kernels = self.kernels
        b.x = x
        kernels.periodic(
            x, self._frequencies, self._phases, b.work, b.scaled, b.values, b.angle, b.waves
        )
        if self.shared:
            kernels.linear(b.waves, self._weight.swapaxes(-1, -2), self._bias, b.rows, self._fused)
        else:
            kernels.member_linear(b.waves, self._weight, self._bias, b.rows, self._fused)
        kernels.activation(self._apart, b.rows, b.rows, b.relu_work)
        kernels.place_blocks(x, b.values, b.rows, b.work, b.y)
        return b.y

    def backward(self, dy: Array, b: PeriodicBuffers) -> Array | None:
        """∂W and ∂b as in `Linear`, from each column's examples; then those of the waves."""
        kernels = self.kernels
        kernels.take_blocks(dy, b.work, b.d_rows)
        kernels.activation_backward(self._apart, b.rows, b.d_rows, b.relu_work)
        self._linear_backward(b)
        kernels.periodic_backward(
            b.d_waves,
            b.waves,
            b.angle,
            b.values,
            self._frequencies,
            b.scaled,
            self._d_frequencies,
            self._d_phases,
            b.d_values,
        )
        if b.dx is not None and b.d_values is not None:
            kernels.embedded_columns_backward(dy, b.d_values, b.work, self.dense, b.dx)
        return b.dx

    def _linear_backward(self, b: PeriodicBuffers) -> None:
        """∂W, ∂b, and the gradients of the waves."""
        arrays = b.d_rows, b.rows, b.waves, self._weight, self._d_weight, self._d_bias, b.d_waves
        if self.shared:
            self.kernels.linear_backward(*arrays, self._fused)
        else:
            self.kernels.member_linear_backward(*arrays, b.d_waves, self._fused)


def _cut_off(generator: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Return numbers from N(0, 1), of which those beyond ±3 are drawn anew."""
    numbers = generator.standard_normal(shape)
    while (beyond := np.abs(numbers) > 3).any():
        numbers[beyond] = generator.standard_normal(int(beyond.sum()))
    return numbers
