"""The CPU's kernels where Numba is installed (``pip install 'xpnet[jit]'``).

Products stay with NumPy, and so do exp, tanh and their like, of which NumPy computes several at
once: an activation with such functions is computed by its `Program`, behind the loop that would
compute it. The machine code of the loops is kept on disk: only the first run on a machine waits for
the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numba
import numpy as np

from .._typing import Array, Namespace
from . import numba_categories, numba_ensemble, numba_rows
from . import numba_loops as loops
from .activations import IDENTITY, ROWS, ActivationSpec
from .numba_rows import for_activation
from .numpy_backend import NumpyKernels, host
from .output_losses import OutputLoss
from .reference_categories import each_network
from .reference_sums import host_erf
from .updates import Update
from .work import CategoryWork, DropoutWork, LossBuffers, RunningLoss, SoftmaxBuffers

#: The activations that loops compute, each way.
FORWARD = frozenset(name for name, row in ROWS.items() if not row.forward.functions)
BACKWARD = frozenset(name for name, row in ROWS.items() if not row.backward.functions)

#: From so many classes on NumPy finds the largest logit faster than a loop does.
MANY_CLASSES = 64


def why_unavailable() -> str | None:
    """Return why compiled kernels are not to be used, in a few words; None if they are."""
    disabled = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return "NUMBA_DISABLE_JIT is set" if disabled else None


class NumbaKernels(NumpyKernels):
    """NumPy's kernels, but for those that compiled loops do in fewer passes over memory.

    What has leading axes (members) goes to the reference, but for the optimisers and for codes of
    categories.
    """

    fusible: ClassVar[frozenset[str]] = frozenset(ROWS) - {"identity"}
    fuses_dropout: ClassVar[bool] = True
    compiler: ClassVar[str] = f"Numba {numba.__version__}"

    def __init__(self, xp: Namespace) -> None:
        super().__init__(xp)
        self.erf = _erf

    def weight_gradient(self, dy: Array, x: Array, out: Array) -> None:
        """δᵀ X; for one example the outer product, for which BLAS takes many times as long."""
        if dy.ndim == 2 and len(dy) == 1:
            loops.outer(dy, x, out)
        else:
            host.matmul(dy.swapaxes(-1, -2), x, out=out)

    def linear(
        self,
        x: Array,
        weight_t: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """Product; then b and f in one pass."""
        if bias is None or out.ndim != 2:
            super().linear(x, weight_t, bias, out, activation, z)
            return
        done = activation if z is None and activation.name in FORWARD else IDENTITY
        before = out if z is None else z
        self.product(x, weight_t, before)
        for_activation(loops.bias_activation, done.name)(before, bias, done.option)
        if done is not activation or activation.mask is not None:
            self._finish(activation, done, before, out)

    def linear_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        weight: Array,
        d_weight: Array,
        d_bias: Array | None,
        dx: Array | None,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """f' and ∂b in one pass; then the products."""
        if activation.name not in BACKWARD:
            self.activation_backward(activation, kept, dy)
            activation = IDENTITY
        if d_bias is None or dy.ndim != 2:
            super().linear_backward(dy, kept, x, weight, d_weight, d_bias, dx, activation)
            return
        if activation is IDENTITY:
            self.sum_examples(dy, d_bias)
        else:
            loop = for_activation(loops.bias_activation_backward, activation.name)
            loop(dy, kept, activation.option, activation.scale, d_bias)
        self.weight_gradient(dy, x, d_weight)
        if dx is not None:
            self.input_gradient(dy, weight, dx)

    def batch_norm(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        eps: float,
        mean: Array,
        variance: Array,
        inverse_deviation: Array,
        x_hat: Array,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """Two passes for the statistics, one for the rest."""
        if x.ndim != 2:
            super().batch_norm(
                x, gamma, beta, eps, mean, variance, inverse_deviation, x_hat, out, activation, z
            )
            return
        if x_hat is not x:
            host.copyto(x_hat, x)
        loops.moments(x_hat, mean, variance)
        host.add(variance, eps, out=inverse_deviation)
        host.sqrt(inverse_deviation, out=inverse_deviation)
        host.reciprocal(inverse_deviation, out=inverse_deviation)
        done = activation if z is None and activation.name in FORWARD else IDENTITY
        before = out if z is None else z
        loop = for_activation(loops.normalise, done.name)
        loop(x_hat, gamma, beta, mean, inverse_deviation, before, done.option)
        self._finish(activation, done, before, out)

    def batch_norm_backward(
        self,
        dy: Array,
        kept: Array,
        x_hat: Array,
        gamma: Array,
        inverse_deviation: Array,
        d_gamma: Array,
        d_beta: Array,
        row: Array,
        dx: Array,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """One pass for f' and the sums, one for ∂x."""
        arrays = x_hat, gamma, inverse_deviation, d_gamma, d_beta
        if activation.name not in BACKWARD:
            self.activation_backward(activation, kept, dy)
            activation = IDENTITY
        if dy.ndim == 2:
            loop = for_activation(loops.normalise_back, activation.name)
            loop(dy, kept, activation.option, activation.scale, *arrays, dx)
        else:
            super().batch_norm_backward(dy, kept, *arrays, row, dx, activation)

    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        eps: float,
        mean: Array,
        variance: Array,
        row: Array,
        out: Array,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """One pass."""
        if x.ndim != 2:
            super().batch_norm_inference(x, gamma, beta, eps, mean, variance, row, out, activation)
            return
        if out is not x:
            host.copyto(out, x)
        done = activation if activation.name in FORWARD else IDENTITY
        loop = for_activation(loops.standardise, done.name)
        loop(out, gamma, beta, eps, mean, variance, done.option)
        self._finish(activation, done, out, out)

    def _finish(
        self, activation: ActivationSpec, done: ActivationSpec, z: Array, out: Array
    ) -> None:
        """Compute what of an activation a loop has left."""
        if done is not activation:
            self.activation(activation, z, out)
        elif activation.mask is not None:
            key, salt, threshold = activation.mask
            loops.drop_in_place(out, key, np.uint64(salt), threshold, activation.mask.scale)

    def running_average(
        self, average: Array, value: Array, scale: float, fraction: float, row: Array
    ) -> None:
        """One pass."""
        if average.ndim == 2:
            loops.average(average, value, scale, fraction)
        else:
            super().running_average(average, value, scale, fraction, row)

    def dropout(self, x: Array, key: Array, threshold: int, work: DropoutWork, out: Array) -> None:
        """One pass for the bits, one for the mask and the output."""
        if x.ndim != 2:
            super().dropout(x, key, threshold, work, out)
            return
        loops.draw(work.counters, key, work.bits)
        loops.drop(x, work.lanes, threshold, 65536 / (65536 - threshold), work.mask, out)

    def one_hot(self, x: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        tables = work.source, work.columns, work.sizes
        for rows, written in each_network(x, out):
            numba_categories.one_hot(rows, *tables, written)

    def embedding(self, x: Array, weight: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        tables = work.source, work.columns, work.sizes, work.starts
        for rows, weights, written in each_network(x, weight, out):
            numba_categories.embedding(rows, weights, *tables, written)

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """One pass over the batch, behind one that writes zeros."""
        tables = work.columns, work.sizes, work.starts
        for delta, rows, written in each_network(dy, x, d_weight):
            numba_categories.embedding_backward(delta, rows, *tables, written)

    def member_affine(
        self,
        x: Array,
        scale: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """One pass."""
        if out.ndim != 2 or (bias is None and activation is not IDENTITY):
            super().member_affine(x, scale, bias, out, activation, z)
        elif bias is None:
            numba_ensemble.member_scale(x, scale, out)
        else:
            done = activation if z is None and activation.name in FORWARD else IDENTITY
            before = out if z is None else z
            loop = for_activation(numba_ensemble.member_affine, done.name)
            loop(x, scale, bias, before, done.option)
            self._finish(activation, done, before, out)

    def member_affine_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        scale: Array,
        d_scale: Array,
        d_bias: Array | None,
        dx: Array | None,
        scratch: Array,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """One pass."""
        if activation.name not in BACKWARD:
            self.activation_backward(activation, kept, dy)
            activation = IDENTITY
        arrays = x, scale, d_scale
        if d_bias is not None and dx is dy and dy.ndim == 2:
            loop = for_activation(numba_ensemble.member_affine_backward, activation.name)
            loop(dy, kept, *arrays, d_bias, activation.option, activation.scale)
        elif d_bias is None and activation is IDENTITY and dy.ndim == 2:
            out = dy if dx is None else dx
            numba_ensemble.member_scale_backward(dy, *arrays, out, out.shape != dy.shape)
        else:
            super().member_affine_backward(dy, kept, *arrays, d_bias, dx, scratch, activation)

    def softmax_cross_entropy(
        self,
        z: Array,
        y: Array,
        example_weight: Any,
        work: SoftmaxBuffers,
        dz: Array,
        loss: Array,
        smoothing: float = 0.0,
    ) -> None:
        """One pass before exp, one after it."""
        if z.ndim != 2:
            super().softmax_cross_entropy(z, y, example_weight, work, dz, loss, smoothing)
            return
        if z.shape[1] < MANY_CLASSES:
            loops.subtract_row_max(z, y, work.other, dz)
        else:
            self.max_features(z, work.row)
            loops.subtract_row(z, y, work.row, work.other, dz)
        if smoothing:
            loops.smooth(dz, smoothing, work.other)
        host.exp(dz, out=dz)
        loops.softmax_cross_entropy_backward(
            dz, y, smoothing, work.other, *self._shared_by(z, example_weight), loss
        )

    def output_loss(
        self,
        row: OutputLoss,
        z: Array,
        y: Array,
        example_weight: Any,
        options: tuple[float, ...],
        work: LossBuffers,
        dz: Array,
        loss: Array,
    ) -> None:
        """NumPy's passes for exp and its like; then one for the rest."""
        if z.ndim != 2:
            super().output_loss(row, z, y, example_weight, options, work, dz, loss)
            return
        if row.calls:
            arrays = {"z": z, "y": y, "dz": dz, "term": work.terms}
            row.program_of_calls(options).run(np, self.erf, arrays, work.registers, work.mask)
        weights = self._shared_by(z, example_weight)
        numba_rows.output_loss_loop(row)(z, y, options, work.terms, dz, *weights, loss)

    def _shared_by(self, z: Array, example_weight: Any) -> tuple[Array, float]:
        """Return an array (n, 1) and a number whose product is each example's share."""
        if isinstance(example_weight, float):
            ones = self._ones.get(key := (len(z), 1, z.dtype.char))
            return self._of_ones(*key) if ones is None else ones, example_weight
        return example_weight, 1.0

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """One pass."""
        if g.ndim == 1:
            loops.decay(g, p, factor if isinstance(factor, float) else factor.item())
        else:
            super().add_decay(g, p, factor, scratch)

    def update(
        self,
        row: Update,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        options: tuple[float, ...],
        scratch: Sequence[Array],
        n_decayed: int = 0,
    ) -> None:
        """One pass; several networks' buffers are gone through as one, unless they decay."""
        arrays = p, g, *moments
        numbers = tuple([scalar.item() for scalar in scalars]) + options
        if not n_decayed:
            flat = arrays if p.ndim == 1 else [a.reshape(-1) for a in arrays]
            numba_rows.update_loop(row, False)(*flat, numbers)
            return
        undecayed = numbers[: len(row.scalars)] + options
        for rows in zip(*(a.reshape(-1, a.shape[-1]) for a in arrays), strict=True):
            numba_rows.update_loop(row, True)(*(a[:n_decayed] for a in rows), numbers)
            numba_rows.update_loop(row, False)(*(a[n_decayed:] for a in rows), undecayed)

    def observe(self, loss: Array, n: int, work: RunningLoss) -> None:
        """One call."""
        if loss.ndim == 0:
            loops.observe(loss, n, work.total, work.steps, work.finite)
        else:
            super().observe(loss, n, work)


def _erf(x: Array, out: Array) -> None:
    """Write the error function."""
    if x.ndim == 2 and x.dtype.char == out.dtype.char == "f":
        loops.erf(x, out)
    else:
        host_erf(x, out)
