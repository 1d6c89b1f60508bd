"""A factor for each input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.reference import Kernels
from .layer import Allocator, Layer, LayerBuffers


@dataclass
class ScaleBuffers(LayerBuffers):
    """The buffers: x is the input, by reference; ``needs_dx`` says whether anybody reads ∂x."""

    x: Array = NO_ARRAY
    needs_dx: bool = False


@dataclass(eq=False)
class Scale(Layer[ScaleBuffers]):
    """A learnt factor for each input: y = x ∘ s.

    As the first layer, s says how much of each column of a table the network looks at, and with a
    rate several times that of the weights it soon finds out (the scaling layer of RealMLP;
    Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024).

    The parameter ``weight`` (m,) starts at 1. Weight decay and L2 leave it alone: they would draw
    all columns towards 0. ∂s = Σ δ ∘ x over the examples, ∂x = δ ∘ s.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Scale(), xn.Linear(8), xn.Mish(), xn.Linear(1)], n_features=3,
    ...                  loss="mean_squared_error", device="cpu")
    >>> net.state()["0.weight"], net.n_weights
    (array([1., 1., 1.], dtype=float32), 32)
    """

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of s."""
        return {"weight": (self.n_inputs,)}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return 1."""
        return 1.0

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use: as those of one member of one."""
        super().bind(kernels)
        self._s = self.parameters["weight"][..., None, :]
        self._d_s = self.gradients["weight"][..., None, :]

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> ScaleBuffers:
        """Return y and scratch; the input is kept by reference."""
        y, scratch = new.rows("y", self.n_inputs), new.rows("scratch", self.n_inputs)
        return ScaleBuffers(y=y, scratch=scratch, needs_dx=needs_dx)

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> ScaleBuffers:
        """Return y, over the input where that is free."""
        return ScaleBuffers(y=self.output(new, x, overwrite))

    def forward(self, x: Array, b: ScaleBuffers) -> Array:
        """X ∘ s."""
        b.x = x
        self.kernels.member_affine(x, self._s, None, b.y)
        return b.y

    def backward(self, dy: Array, b: ScaleBuffers) -> Array | None:
        """∂s = Σ δ ∘ x, ∂x = δ ∘ s."""
        dx = dy if b.needs_dx else None
        self.kernels.member_affine_backward(dy, dy, b.x, self._s, self._d_s, None, dx, b.scratch)
        return dx
