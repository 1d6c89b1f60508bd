"""The CPU's kernels where Numba is installed (``pip install 'xpnet[jit]'``).

Products stay with NumPy, and so do exp, tanh and their like, of which NumPy computes several at
once: an activation with such functions is computed by its `Program`, behind the loop that would
compute it. The machine code of the loops is kept on disk: only the first run on a machine waits for
the compiler.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numba
import numpy as np

from .._typing import Array, Namespace
from . import numba_loops as loops
from .activations import IDENTITY, ROWS, ActivationSpec
from .numba_loops import for_activation
from .numpy_backend import NumpyKernels
from .reference import host_erf

#: The activations that loops compute, each way.
FORWARD = frozenset(name for name, row in ROWS.items() if not row.forward.functions)
BACKWARD = frozenset(name for name, row in ROWS.items() if not row.backward.functions)

#: From so many classes on NumPy finds the largest logit faster than a loop does.
MANY_CLASSES = 64


def why_unavailable() -> str | None:
    """Return why compiled kernels are not to be used, in a few words; None if they are."""
    disabled = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return "NUMBA_DISABLE_JIT is set" if disabled else None


def _in_loop(activation: ActivationSpec, z: Array | None) -> ActivationSpec:
    """Return what of an activation the loop before it computes: all, or nothing."""
    return activation if z is None and activation.name in FORWARD else IDENTITY


class NumbaKernels(NumpyKernels):
    """NumPy's kernels, but for those that compiled loops do in fewer passes over memory.

    What has leading axes (members) goes to the reference, but for the optimisers.
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
            super().weight_gradient(dy, x, out)

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
        done, before = _in_loop(activation, z), out if z is None else z
        self.product(x, weight_t, before)
        for_activation(loops.bias_activation, done.name)(before, bias, done.option)
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
        if d_bias is not None and activation is not IDENTITY and dy.ndim == 2:
            if activation.name not in BACKWARD:
                self.activation_backward(activation, kept, dy)
                activation = IDENTITY
            loop = for_activation(loops.bias_activation_backward, activation.name)
            loop(dy, kept, activation.option, activation.scale, d_bias)
            d_bias, activation = None, IDENTITY
        super().linear_backward(dy, kept, x, weight, d_weight, d_bias, dx, activation)

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
            np.copyto(x_hat, x)
        loops.moments(x_hat, mean, variance)
        np.add(variance, eps, out=inverse_deviation)
        np.sqrt(inverse_deviation, out=inverse_deviation)
        np.reciprocal(inverse_deviation, out=inverse_deviation)
        done, before = _in_loop(activation, z), out if z is None else z
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
        if dy.ndim == 2:
            if activation.name not in BACKWARD:
                self.activation_backward(activation, kept, dy)
                activation = IDENTITY
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
            np.copyto(out, x)
        done = _in_loop(activation, None)
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

    def dropout(
        self, x: Array, key: Array, threshold: int, work: SimpleNamespace, out: Array
    ) -> None:
        """One pass for the bits, one for the mask and the output."""
        if x.ndim != 2:
            super().dropout(x, key, threshold, work, out)
            return
        loops.draw(work.counters, key, work.bits)
        loops.drop(x, work.lanes, threshold, 65536 / (65536 - threshold), work.mask, out)

    def softmax_cross_entropy(
        self, z: Array, y: Array, example_weight: Any, work: SimpleNamespace, dz: Array, loss: Array
    ) -> None:
        """One pass before exp, one after it."""
        if z.ndim != 2:
            super().softmax_cross_entropy(z, y, example_weight, work, dz, loss)
            return
        if z.shape[1] < MANY_CLASSES:
            loops.subtract_row_max(z, y, work.other, dz)
        else:
            self.max_features(z, work.row)
            loops.subtract_row(z, y, work.row, work.other, dz)
        np.exp(dz, out=dz)
        loops.softmax_cross_entropy_backward(
            dz, y, work.other, *self._shared_by(z, example_weight), loss
        )

    def sigmoid_cross_entropy(
        self, z: Array, y: Array, example_weight: Any, work: SimpleNamespace, dz: Array, loss: Array
    ) -> None:
        """One pass before exp, one after it."""
        if z.ndim != 2:
            super().sigmoid_cross_entropy(z, y, example_weight, work, dz, loss)
            return
        loops.minus_abs(z, dz)
        np.exp(dz, out=dz)
        np.log1p(dz, out=work.terms)
        loops.log_loss(z, y, dz, work.terms, *self._shared_by(z, example_weight), loss)

    def squared_error(
        self,
        z: Array,
        y: Array,
        example_weight: Any,
        scale: float,
        work: SimpleNamespace,
        dz: Array,
        loss: Array,
    ) -> None:
        """One pass."""
        if z.ndim != 2:
            super().squared_error(z, y, example_weight, scale, work, dz, loss)
            return
        loops.squares(z, y, scale, dz, *self._shared_by(z, example_weight), loss)

    def _shared_by(self, z: Array, example_weight: Any) -> tuple[Array, float]:
        """Return an array (n, 1) and a number whose product is each example's share."""
        if isinstance(example_weight, float):
            return self._of_ones(len(z), 1, z.dtype), example_weight
        return example_weight, 1.0

    # One pass each; several networks' buffers are gone through as one, but where a factor differs.

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """One pass."""
        if g.ndim == 1:
            loops.decay(g, p, factor if isinstance(factor, float) else factor.item())
        else:
            super().add_decay(g, p, factor, scratch)

    def sgd(self, p: Array, g: Array, rate: Array, scratch: Array) -> None:
        """One pass."""
        loops.sgd(_flat(p), _flat(g), rate)

    def sgd_momentum(
        self,
        p: Array,
        g: Array,
        v: Array,
        rate: Array,
        momentum: float,
        nesterov: bool,
        scratch: Array,
    ) -> None:
        """One pass."""
        loops.sgd_momentum(_flat(p), _flat(g), _flat(v), rate, momentum, nesterov)

    def momentum(
        self, p: Array, g: Array, v: Array, rate: Array, beta: float, scratch: Array
    ) -> None:
        """One pass."""
        loops.momentum(_flat(p), _flat(g), _flat(v), rate, beta)

    def rmsprop(
        self, p: Array, g: Array, s: Array, rate: Array, beta: float, eps: float, scratch: Array
    ) -> None:
        """One pass."""
        loops.rmsprop(_flat(p), _flat(g), _flat(s), rate, beta, eps)

    def adam(
        self,
        p: Array,
        g: Array,
        v: Array,
        s: Array,
        rate: Array,
        correction: Array,
        beta_1: float,
        beta_2: float,
        eps: float,
        scratch: Array,
    ) -> None:
        """One pass."""
        flat = _flat(p), _flat(g), _flat(v), _flat(s)
        loops.adam(*flat, rate, correction, beta_1, beta_2, eps)

    def observe(self, loss: Array, n: int, work: SimpleNamespace) -> None:
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


def _flat(array: Array) -> Array:
    """Return a contiguous buffer (…, P) as one row."""
    return array if array.ndim == 1 else array.reshape(-1)
