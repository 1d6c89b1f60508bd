"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.dense_stack import BATCH_NORM, DenseStep
from ..backends.reference import Kernels
from ..checks import check_fields, check_positive
from .layer import Allocator, Layer, LayerBuffers


@dataclass
class BatchNormBuffers(LayerBuffers):
    """Batch norm's buffers: x̂ and ∂x, rows of statistics, and n/(n − 1); prediction has a row."""

    row: Array = NO_ARRAY
    x_hat: Array = NO_ARRAY
    dx: Array = NO_ARRAY
    mean: Array = NO_ARRAY
    variance: Array = NO_ARRAY
    inverse_deviation: Array = NO_ARRAY
    unbiased: float = 1.0


@dataclass(eq=False)
class BatchNorm(Layer[BatchNormBuffers]):
    """Batch normalisation: γ (x − μ) / √(σ² + ε) + β, per feature (notes, chapter 9).

    In training μ and σ² are the batch's own; in prediction they are running averages. The backward
    pass is the notes' lemma 9.2 with its indices put right: per feature,
    ∂x̂_a/∂x_b = (δ_ab − 1/n − x̂_a x̂_b / n) / √(σ² + ε). After Ioffe & Szegedy, "Batch
    normalization", ICML 2015; the running variance is the unbiased one, as there and in PyTorch.

    Parameters
    ----------
    momentum : float
        The fraction in (0, 1] of the running averages that each batch replaces, as in PyTorch
        (Keras gives the fraction that stays).
    eps : float
        ε, above 0.

    Raises
    ------
    ValueError
        If momentum or eps is out of range.
    """

    absorbs_bias: ClassVar[bool] = True
    mixes_examples: ClassVar[bool] = True
    min_batch: ClassVar[int] = 2

    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}: give a number in (0, 1]")
        check_positive(self.eps, "eps")

    @property
    def fuses_activation(self) -> bool:
        """It can."""
        return True

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of γ and β, under PyTorch's names."""
        return {"weight": (self.n_inputs,), "bias": (self.n_inputs,)}

    def statistic_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the running averages, under PyTorch's names."""
        return {"running_mean": (self.n_inputs,), "running_var": (self.n_inputs,)}

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return 1 for γ and the running variance, 0 for β and the running mean."""
        return 1.0 if name in ("weight", "running_var") else 0.0

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        self._gamma, self._beta, self._d_gamma, self._d_beta, self._mean, self._variance = (
            array[..., None, :]
            for array in (
                self.parameters["weight"],
                self.parameters["bias"],
                self.gradients["weight"],
                self.gradients["bias"],
                self.statistics["running_mean"],
                self.statistics["running_var"],
            )
        )

    def dense_steps(self) -> Sequence[DenseStep] | None:
        """γ (x − μ) / √(σ² + ε) + β."""
        names = "weight", "bias", "running_mean", "running_var"
        return [DenseStep(BATCH_NORM, self.n_inputs, names, eps=self.eps)]

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> BatchNormBuffers:
        """Return y, x̂ (over the input where that is free), dx, and rows for the statistics."""
        m = self.n_inputs
        return BatchNormBuffers(
            y=new.rows("y", m),
            x_hat=x if overwrite and x is not None else new.rows("x_hat", m),
            dx=new.rows("dx", m),
            mean=new.row("mean", m),
            variance=new.row("variance", m),
            inverse_deviation=new.row("inverse_deviation", m),
            row=new.row("row", m),
            unbiased=new.n / max(new.n - 1, 1),
        )

    def inference_buffers(
        self, new: Allocator, x: Array | None, overwrite: bool
    ) -> BatchNormBuffers:
        """Return y (over the input where that is free) and a row."""
        return BatchNormBuffers(y=self.output(new, x, overwrite), row=new.row("row", self.n_inputs))

    def forward(self, x: Array, b: BatchNormBuffers) -> Array:
        """Normalise with the batch's statistics and take them into the running averages."""
        k = self.kernels
        k.batch_norm(
            x,
            self._gamma,
            self._beta,
            self.eps,
            b.mean,
            b.variance,
            b.inverse_deviation,
            b.x_hat,
            b.y,
            b.activation,
            b.z,
        )
        k.running_average(self._mean, b.mean, 1.0, self.momentum, b.row)
        k.running_average(self._variance, b.variance, b.unbiased, self.momentum, b.row)
        return b.y

    def infer(self, x: Array, b: BatchNormBuffers) -> Array:
        """Normalise with the running statistics."""
        self.kernels.batch_norm_inference(
            x,
            self._gamma,
            self._beta,
            self.eps,
            self._mean,
            self._variance,
            b.row,
            b.y,
            b.activation,
        )
        return b.y

    def backward(self, dy: Array, b: BatchNormBuffers) -> Array | None:
        """Write ∂γ and ∂β, return ∂x. It uses x̂ up: one backward for each forward."""
        self.kernels.batch_norm_backward(
            dy,
            b.kept,
            b.x_hat,
            self._gamma,
            b.inverse_deviation,
            self._d_gamma,
            self._d_beta,
            b.row,
            b.dx,
            b.activation,
        )
        return b.dx
