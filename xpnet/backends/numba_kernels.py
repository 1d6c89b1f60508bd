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
from . import (
    numba_categories,
    numba_dense,
    numba_ensemble,
    numba_periodic,
    numba_piecewise,
    numba_rows,
)
from . import numba_loops as loops
from .activations import IDENTITY, ROWS, ActivationSpec
from .blas import SMALL_PRODUCT, blas, host, matmul
from .dense_stack import DenseStack
from .numba_rows import for_activation
from .numba_transpose import transpose
from .numpy_backend import LARGE_MATRIX, MANY_PRODUCTS, NumpyKernels, Turning
from .output_losses import OutputLoss
from .piecewise_work import PiecewiseWork
from .reference_sums import host_erf
from .updates import Update
from .work import CategoryWork, ColumnWork, DropoutWork, LossBuffers, RunningLoss, SoftmaxBuffers

#: The activations that loops compute, each way.
FORWARD = frozenset(name for name, row in ROWS.items() if not row.forward.functions)
BACKWARD = frozenset(name for name, row in ROWS.items() if not row.backward.functions)

#: From so many classes on NumPy finds the largest logit faster than a loop does.
MANY_CLASSES = 64

#: Up to so many numbers a loop computes a softmax before NumPy has called anything.
FEW_NUMBERS = 256


def why_unavailable() -> str | None:
    """Return why compiled kernels are not to be used, in a few words; None if they are."""
    disabled = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return "NUMBA_DISABLE_JIT is set" if disabled else None


class NumbaKernels(NumpyKernels):
    """NumPy's kernels, but for those that compiled loops do in fewer passes over memory.

    The loops go through all members in one call.
    """

    fusible: ClassVar[frozenset[str]] = frozenset(ROWS) - {"identity"}
    fuses_dropout: ClassVar[bool] = True
    turns_quickly: ClassVar[bool] = True
    most_rows: ClassVar[int] = 256
    most_rows_of_functions: ClassVar[int] = 16
    compiler: ClassVar[str] = f"Numba {numba.__version__}"

    def __init__(self, xp: Namespace) -> None:
        super().__init__(xp)
        self.erf = _erf

    @property
    def most_rows_alone(self) -> int:
        """More would be too long for Ctrl-C to wait for."""
        return numba_dense.AT_ONCE if blas().splits else 0

    def dense_stack(
        self, x: Array, parameters: Array, statistics: Array, stack: DenseStack, out: Array
    ) -> bool:
        """One call."""
        return numba_dense.go_through(x, parameters, statistics, stack, out)

    def softmax(self, z: Array, row: Array, out: Array) -> None:
        """One pass of few numbers; else one before exp, and one after it."""
        if z.ndim > 3:  # networks of members: a loop knows one axis before the rows
            super().softmax(z, row, out)
            return
        if z.size <= FEW_NUMBERS:
            loops.softmax(z, out)
            return
        if z.shape[-1] < MANY_CLASSES:
            loops.subtract_max(z, out)
        else:
            self.max_features(z, row)
            host.subtract(z, row, out=out)
        host.exp(out, out=out)
        loops.divide_by_sum(out)

    def weight_gradient(self, dy: Array, x: Array, out: Array) -> None:
        """δᵀ X; for one example the outer product, for which BLAS takes many times as long."""
        if dy.shape[-2] == 1:
            loops.outer(dy, x, out)
        elif dy.size * x.shape[-1] <= SMALL_PRODUCT:
            host.matmul(dy.swapaxes(-1, -2), x, out=out)
        else:
            matmul(dy.swapaxes(-1, -2), x, out)

    def _turn(self, a: Array, out: Array) -> None:
        """aᵀ, square by square."""
        transpose(a, out)

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
        if bias is None:
            super().linear(x, weight_t, bias, out, activation, z)
            return
        done = activation if z is None and activation.name in FORWARD else IDENTITY
        before = out if z is None else z
        size, n = weight_t.size, x.shape[-2]
        many = size >= LARGE_MATRIX or n * size >= MANY_PRODUCTS
        if many and self._turning(n, weight_t) is Turning.BATCH:
            turned = self._turned_product(x, weight_t, before)
            loop = for_activation(loops.transposed_bias_activation, done.name)
            loop(turned, bias, done.option, before)
        else:
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
        if d_bias is None:
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
        if activation.name not in BACKWARD:
            self.activation_backward(activation, kept, dy)
            activation = IDENTITY
        arrays = x_hat, gamma, inverse_deviation, d_gamma, d_beta, dx
        loop = for_activation(loops.normalise_back, activation.name)
        loop(dy, kept, activation.option, activation.scale, *arrays)

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
            # A Python number above 2⁶³ would be taken for another type than one below.
            first = np.uint64(salt) if isinstance(salt, int) else salt
            loops.drop_in_place(out, key, first, threshold)

    def running_average(
        self, average: Array, value: Array, scale: float, fraction: float, row: Array
    ) -> None:
        """One pass."""
        loops.average(average, value, scale, fraction)

    def dropout(self, x: Array, key: Array, threshold: Any, work: DropoutWork, out: Array) -> None:
        """One pass for the bits, one for the mask and the output."""
        loops.draw(work.counters, key, work.bits)
        loops.drop(x, work.bits, threshold, work.mask, out)

    def one_hot(self, x: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        numba_categories.one_hot(x, work.source, work.columns, work.sizes, out)

    def embedding(self, x: Array, weight: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        tables = work.source, work.columns, work.sizes, work.starts
        numba_categories.embedding(x, weight, *tables, out)

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """One pass over the batch, behind one that writes zeros."""
        tables = work.columns, work.sizes, work.starts
        numba_categories.embedding_backward(dy, x, *tables, d_weight)

    def piecewise_encoding(self, x: Array, work: PiecewiseWork, out: Array) -> None:
        """One pass."""
        columns = work.order, work.counts, work.firsts, work.bins
        numba_piecewise.piecewise_encoding(x, *columns, out)

    def piecewise_encoding_backward(
        self, dy: Array, x: Array, work: PiecewiseWork, dx: Array
    ) -> None:
        """One pass."""
        columns = work.order, work.counts, work.firsts, work.bins
        numba_piecewise.piecewise_encoding_backward(dy, x, *columns, dx)

    def piecewise_embedding(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        out: Array,
    ) -> None:
        """One pass, behind one over the weights."""
        columns = work.order, work.counts, work.firsts, work.bins
        given = bias[..., :0, :] if linear is None else linear
        arrays = x, weight, bias, given, work.sums
        numba_piecewise.piecewise_embedding(*arrays, *columns, work.relu, out)

    def piecewise_embedding_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        d_weight: Array,
        d_bias: Array,
        d_linear: Array | None,
        dx: Array | None,
    ) -> None:
        """One pass over the batch between two over the weights; one more for ∂X."""
        columns = work.order, work.counts, work.firsts, work.bins
        written = d_weight, d_bias, d_bias[..., :0, :] if d_linear is None else d_linear
        arrays = dy, kept, x, work.sums
        numba_piecewise.piecewise_embedding_backward(*arrays, *columns, work.relu, *written)
        if dx is not None:
            given = bias[..., :0, :] if linear is None else linear
            numba_piecewise.piecewise_input_gradient(dy, x, weight, given, *columns, dx)

    def periodic(
        self,
        x: Array,
        frequencies: Array,
        phases: Array | None,
        work: ColumnWork,
        scaled: Array,
        values: Array,
        angle: Array,
        out: Array,
    ) -> None:
        """One pass in float32; NumPy's cosines are as fast in float64."""
        columns = work.order[work.n_others :]
        if out.dtype.char != "f":
            super().periodic(x, frequencies, phases, work, scaled, values, angle, out)
        elif phases is None:
            numba_periodic.pairs(x, columns, frequencies, values, out)
        else:
            arrays = frequencies, phases, values, angle, out
            numba_periodic.with_phases(x, columns, *arrays, angle is not out)

    def periodic_backward(
        self,
        dy: Array,
        y: Array,
        angle: Array,
        values: Array,
        frequencies: Array,
        scaled: Array,
        d_frequencies: Array,
        d_phases: Array | None,
        d_values: Array | None,
    ) -> None:
        """One pass."""
        of_values = values if d_values is None else d_values, d_values is not None
        if d_phases is None:
            numba_periodic.pairs_backward(dy, y, values, frequencies, d_frequencies, *of_values)
        else:
            gradients = d_frequencies, d_phases, *of_values
            numba_periodic.with_phases_backward(dy, angle, values, frequencies, *gradients)

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
        if bias is None and activation is not IDENTITY:
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
        if d_bias is not None and dx is dy:
            loop = for_activation(numba_ensemble.member_affine_backward, activation.name)
            loop(dy, kept, *arrays, d_bias, activation.option, activation.scale)
        elif d_bias is None and activation is IDENTITY:
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
        smoothing: Any = 0.0,
    ) -> None:
        """One pass before exp, one after it."""
        if z.shape[-1] < MANY_CLASSES:
            loops.subtract_row_max(z, y, work.other, dz)
        else:
            self.max_features(z, work.row)
            loops.subtract_row(z, y, work.row, work.other, dz)
        if not isinstance(smoothing, float) or smoothing:
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
        if row.calls:
            arrays = {"z": z, "y": y, "dz": dz, "term": work.terms}
            row.program_of_calls(options).run(np, self.erf, arrays, work.registers, work.mask)
        weights = self._shared_by(z, example_weight)
        numba_rows.output_loss_loop(row)(z, y, options, work.terms, dz, *weights, loss)

    def _shared_by(self, z: Array, example_weight: Any) -> tuple[Array, float]:
        """Return an array (n, 1) and a number whose product is each example's share."""
        if isinstance(example_weight, float):
            ones = self._ones.get(key := (z.shape[-2], 1, z.dtype.char))
            return self._of_ones(*key) if ones is None else ones, example_weight
        return example_weight, 1.0

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """One pass."""
        loops.decay(g, p, factor)

    def update(
        self,
        row: Update,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        options: tuple[Any, ...],
        scratch: Sequence[Array],
        n_decayed: int = 0,
        factors: Sequence[Array] = (),
    ) -> None:
        """One pass; where members share all numbers, their buffers are gone through as one."""
        arrays = [p, g, *moments, *factors]
        if scalars[0].ndim == 1:
            numbers = tuple([scalar.item() for scalar in scalars]) + options
            if not (n_decayed or factors) and p.ndim > 1:
                arrays = [a.reshape(-1) for a in arrays]
        else:
            numbers = (*scalars, *options)
        if not n_decayed:
            numba_rows.update_loop(row, False)(*arrays, numbers)
            return
        undecayed = numbers[: len(row.scalars)] + options
        numba_rows.update_loop(row, True)(*[a[..., :n_decayed] for a in arrays], numbers)
        numba_rows.update_loop(row, False)(*[a[..., n_decayed:] for a in arrays], undecayed)

    def observe(self, loss: Array, n: int, work: RunningLoss) -> None:
        """One call."""
        loops.observe(loss, n, work.total, work.steps, work.finite)


def _erf(x: Array, out: Array) -> None:
    """Write the error function."""
    whole = x.ndim == 2 or (x.ndim == 3 and x.flags.c_contiguous and out.flags.c_contiguous)
    if whole and x.dtype.char == out.dtype.char == "f":
        loops.erf(x, out)
    else:
        host_erf(x, out)
