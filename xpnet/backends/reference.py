"""The hot operations, once, in plain ``xp`` code: the reference that is right on every backend.

Each kernel writes its result into arrays that it is given (``out`` and friends), so that a
warmed-up training step makes no new ones. A backend may subclass `Kernels` and replace a kernel by
a fused one of the same name and signature; what it must compute is what stands here.

Axes: the last one is features, the one before it examples. Axes before those are free: with
weights of shape (k, out, in) the same code trains k networks at once. ``n`` is the number of
examples in the batch.

Only what NumPy and CuPy both take is used: a ufunc has ``out`` but no ``where``; an operation in
place names the same array object as input and output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .._typing import Array
from ..randomness import GAMMA, MULTIPLIER_1, MULTIPLIER_2
from .activations import (
    IDENTITY,
    NO_WORK,
    ActivationSpec,
    ActivationWork,
    activation_work,
)
from .expressions import Program
from .reference_data import DataKernels
from .reference_dense import DenseKernels
from .reference_ensemble import EnsembleKernels
from .reference_losses import LossKernels
from .reference_periodic import PeriodicKernels
from .reference_piecewise import PiecewiseKernels
from .reference_updates import UpdateKernels
from .work import DropoutWork


def dropout_work(m: int, counters: Array, room: Callable[..., Array]) -> DropoutWork:
    """Return the ``work`` of `Kernels.dropout` for m features, with its counters (…, n, words).

    ``room(name, width, dtype)`` returns an array (…, n, width), of the features' dtype if none is
    given.
    """
    words = counters.shape[-1]
    bits = room("bits", words, np.uint64)
    return DropoutWork(
        counters=counters,
        bits=bits,
        shifted=room("shifted", words, np.uint64),
        lanes=bits.view(np.uint16)[..., :m],
        lives=room("lives", m, np.bool_),
        mask=room("mask", m),
    )


class Kernels(
    DataKernels,
    DenseKernels,
    EnsembleKernels,
    LossKernels,
    PeriodicKernels,
    PiecewiseKernels,
    UpdateKernels,
):
    """The reference kernels over one array namespace.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``.

    Attributes
    ----------
    erf : callable
        Writes the error function of an array to ``out``; whose arrays are not the host's sets it.
    fusible : frozenset of str
        The activations that `linear` and the batch norms compute along with their own output, and
        `linear_backward` and `batch_norm_backward` along with their sums. A network then fuses an
        activation with the layer before it. The reference gains nothing by that, so it has none;
        given an activation it computes the same in more passes.
    fuses_dropout : bool
        Whether they compute dropout behind a ReLU as well.
    compiler : str
        Name and version of what compiled the kernels, if something did.
    """

    fusible: ClassVar[frozenset[str]] = frozenset()
    fuses_dropout: ClassVar[bool] = False
    compiler: ClassVar[str] = ""

    # -- linear layers ----

    def linear(
        self,
        x: Array,
        weight_t: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """f(X Wᵀ + b). ``weight_t`` is Wᵀ (…, in, out), ``bias`` (…, 1, out) or None.

        Members may share ``x`` (n, in). If there is an array ``z``, f's input is written to it as
        well.
        """
        before = out if z is None else z
        self.product(x, weight_t, before)
        if bias is not None:
            self.xp.add(before, bias, out=before)
        self.activation(activation, before, out)

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
        """δ = dy · f', ∂W = δᵀ X, ∂b = Σ δ over the examples, ∂X = δ W.

        ``kept`` is as for `activation_backward`. ``dy`` is used up; ``d_bias`` has shape
        (…, 1, m); ∂X is computed only if ``dx`` is given. Members may share ``x`` (n, in).
        """
        self.activation_backward(activation, kept, dy)
        self.weight_gradient(dy, x, d_weight)
        if d_bias is not None:
            self.sum_examples(dy, d_bias)
        if dx is not None:
            self.input_gradient(dy, weight, dx)

    def product(self, x: Array, weight_t: Array, out: Array) -> None:
        """X Wᵀ."""
        self.xp.matmul(x, weight_t, out=out)

    def weight_gradient(self, dy: Array, x: Array, out: Array) -> None:
        """δᵀ X."""
        self.xp.matmul(dy.swapaxes(-1, -2), x, out=out)

    def input_gradient(self, dy: Array, weight: Array, out: Array) -> None:
        """δ W."""
        self.xp.matmul(dy, weight, out=out)

    # -- activations ----

    def activation(
        self, activation: ActivationSpec, z: Array, out: Array, work: ActivationWork | None = None
    ) -> None:
        """Out ← f(z), and dropout; ``out`` may be z.

        ``work`` is what `activation_work` gives for the activation's programs; without it some is
        found where it is needed. `activation_backward` has the same.
        """
        program = activation.forward
        if activation.name != "identity" or out is not z:
            registers, mask = work or self._work(program, out)
            program.run(self.xp, self.erf, {"z": z, "y": out}, registers, mask)
        if activation.mask is not None:
            key, salt, threshold = activation.mask
            self.dropout(out, key, threshold, self._dropout_work(out, salt), out)

    def activation_backward(
        self,
        activation: ActivationSpec,
        kept: Array,
        dy: Array,
        work: ActivationWork | None = None,
    ) -> None:
        """In place: dy ← dy · f', and dropout's scale.

        ``kept`` is y = f(z), or z: what the activation's ``row.derivative_from`` says.
        """
        program = activation.backward
        if program.steps:
            registers, mask = work or self._work(program, dy)
            program.run(self.xp, self.erf, {"y": kept, "z": kept, "dy": dy}, registers, mask)
        if activation.mask is not None:
            self.xp.multiply(dy, activation.scale, out=dy)

    def _work(self, program: Program, like: Array) -> ActivationWork:
        """Return the scratch of a program over arrays like one."""
        if not program.n_registers and not program.masks:
            return NO_WORK
        return activation_work(partial(self._scratch_like, like), program)

    def _scratch_like(self, like: Array, name: str, dtype: Any) -> Array:
        """Return an array for `_work`; a backend may hand out the same ones again and again."""
        return self.xp.empty(like.shape, dtype or like.dtype)

    def softmax(self, z: Array, row: Array, out: Array) -> None:
        """exp(z) / Σ exp(z) over the features. ``row`` is scratch of shape (…, n, 1)."""
        xp = self.xp
        self.max_features(z, row)
        xp.subtract(z, row, out=out)
        xp.exp(out, out=out)
        self.sum_features(out, row)
        xp.divide(out, row, out=out)

    def softmax_backward(self, y: Array, dy: Array, row: Array, scratch: Array) -> None:
        """In place: dy ← y · (dy − ⟨dy, y⟩), the Jacobian Sⁱ(δᵢⱼ − Sʲ) times dy."""
        xp = self.xp
        xp.multiply(dy, y, out=scratch)
        self.sum_features(scratch, row)
        xp.subtract(dy, row, out=dy)
        xp.multiply(dy, y, out=dy)

    # -- batch norm ----

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
        """x̂ = (x − μ) / √(σ² + ε), out = f(γ x̂ + β), with μ and σ² (biased) of the batch.

        ``x_hat`` may be ``x``; ``out`` is another array. The statistics have shape (…, 1, m). If
        there is an array ``z``, f's input is written to it as well.
        """
        xp, inverse_n = self.xp, 1.0 / x.shape[-2]
        self.sum_examples(x, mean)
        xp.multiply(mean, inverse_n, out=mean)
        xp.subtract(x, mean, out=x_hat)
        xp.multiply(x_hat, x_hat, out=out)
        self.sum_examples(out, variance)
        xp.multiply(variance, inverse_n, out=variance)
        xp.add(variance, eps, out=inverse_deviation)
        xp.sqrt(inverse_deviation, out=inverse_deviation)
        xp.reciprocal(inverse_deviation, out=inverse_deviation)
        xp.multiply(x_hat, inverse_deviation, out=x_hat)
        before = out if z is None else z
        xp.multiply(x_hat, gamma, out=before)
        xp.add(before, beta, out=before)
        self.activation(activation, before, out)

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
        """∂γ = Σ δ x̂, ∂β = Σ δ, ∂x = γ/√(σ²+ε) · (δ − ∂β/n − x̂ ∂γ/n), δ = dy · f'.

        The sums go over the n examples. ``kept`` is as for `activation_backward`. ``dx`` is another
        array than ``dy``; both dy and x̂ are used up. ``row`` is scratch of shape (…, 1, m);
        ``d_gamma`` and ``d_beta`` have shape (…, 1, m).
        """
        xp = self.xp
        self.activation_backward(activation, kept, dy)
        inverse_n = 1.0 / dy.shape[-2]
        xp.multiply(dy, x_hat, out=dx)
        self.sum_examples(dx, d_gamma)
        self.sum_examples(dy, d_beta)
        xp.multiply(d_gamma, inverse_n, out=row)
        xp.multiply(x_hat, row, out=x_hat)
        xp.subtract(dy, x_hat, out=dx)
        xp.multiply(d_beta, inverse_n, out=row)
        xp.subtract(dx, row, out=dx)
        xp.multiply(gamma, inverse_deviation, out=row)
        xp.multiply(dx, row, out=dx)

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
        """f(γ (x − μ) / √(σ² + ε) + β) with given statistics; ``out`` may be ``x``."""
        xp = self.xp
        xp.add(variance, eps, out=row)
        xp.sqrt(row, out=row)
        xp.divide(gamma, row, out=row)
        xp.subtract(x, mean, out=out)
        xp.multiply(out, row, out=out)
        xp.add(out, beta, out=out)
        self.activation(activation, out, out)

    def running_average(
        self, average: Array, value: Array, scale: float, fraction: float, row: Array
    ) -> None:
        """In place: average ← average + fraction · (scale · value − average)."""
        xp = self.xp
        xp.multiply(value, scale, out=row)
        xp.subtract(row, average, out=row)
        xp.multiply(row, fraction, out=row)
        xp.add(average, row, out=average)

    # -- dropout ----

    def dropout(self, x: Array, key: Array, threshold: Any, work: DropoutWork, out: Array) -> None:
        """Inverted dropout: zero elements at random, scale the others up so that the mean stays.

        Element (i, j) lives if the 16-bit lane j mod 4 of mix64(key + counters[i, j div 4]) is at
        least ``threshold``, that is with probability 1 − threshold / 2¹⁶. ``key`` holds the 64 bits
        of this step, so a replayed step sees them change. ``work`` holds the arrays ``counters``,
        ``bits`` and ``shifted`` (uint64), ``lanes`` (the uint16 view of ``bits``), ``lives`` (bool)
        and ``mask``, which `dropout_backward` multiplies by. Of k networks at once ``key`` and, if
        each has its own, ``threshold`` have shape (k, 1, 1).
        """
        xp = self.xp
        bits, shifted = work.bits, work.shifted
        xp.add(work.counters, key, out=bits)
        xp.right_shift(bits, np.uint64(30), out=shifted)
        xp.bitwise_xor(bits, shifted, out=bits)
        xp.multiply(bits, np.uint64(MULTIPLIER_1), out=bits)
        xp.right_shift(bits, np.uint64(27), out=shifted)
        xp.bitwise_xor(bits, shifted, out=bits)
        xp.multiply(bits, np.uint64(MULTIPLIER_2), out=bits)
        xp.right_shift(bits, np.uint64(31), out=shifted)
        xp.bitwise_xor(bits, shifted, out=bits)
        xp.greater_equal(work.lanes, threshold, out=work.lives)
        scale, dtype = 65536 / (65536 - threshold), work.mask.dtype
        scale = dtype.type(scale) if isinstance(scale, float) else scale.astype(dtype)
        xp.multiply(work.lives, scale, out=work.mask)
        xp.multiply(x, work.mask, out=out)

    def _dropout_work(self, x: Array, salt: Any) -> DropoutWork:
        """Return what `dropout` needs for x."""
        xp, (n, m) = self.xp, x.shape[-2:]
        words = -(-m // 4)
        steps = xp.arange(n * words, dtype=np.uint64).reshape(n, words) * np.uint64(GAMMA)
        counters = steps + (np.uint64(salt) if isinstance(salt, int) else salt)

        def room(name: str, width: int, dtype: Any = x.dtype) -> Array:
            return xp.empty((*x.shape[:-1], width), dtype)

        return dropout_work(m, counters, room)

    def dropout_backward(self, dy: Array, work: DropoutWork) -> None:
        """In place: dy ← dy · mask."""
        self.xp.multiply(dy, work.mask, out=dy)
