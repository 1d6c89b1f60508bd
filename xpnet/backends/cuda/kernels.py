"""The kernels of CUDA GPUs: what is launched in place of the reference, with which arguments.

What they compute is in ``cuda/``; `_cuda` says how threads lie over it. The fused kernels take
contiguous arrays with two axes, examples and features; what has more (members) goes to the
reference, but for what runs over whole buffers, and for codes of categories, where each network has
a launch.
"""

from __future__ import annotations

from typing import ClassVar

from ..._typing import Array
from ..activations import IDENTITY, KINDS, ActivationSpec, ActivationWork
from ..reference_categories import each_network
from ..work import CategoryWork, DropoutWork
from .launch import flat, members_to_add_up, table_rows, tiles, tiles_to_add_up
from .run_kernels import CudaRunKernels, is_dense, is_matrix


def _coded(activation: ActivationSpec) -> tuple[int, float, float]:
    """Return what a kernel's activation is made from, but for its mask."""
    return KINDS[activation.name], activation.option, activation.scale


def _hidden(activation: ActivationSpec) -> tuple[Array | None, int, int]:
    """Return key, salt and threshold of an activation's mask; without one, no key."""
    if activation.mask is None:
        return None, 0, 0
    key, salt, threshold = activation.mask
    return key, salt - (salt >> 63 << 64), threshold  # the same bits, with a sign


class CudaKernels(CudaRunKernels):
    """The kernels of layers that CUDA kernels do in a launch or two, and `CudaRunKernels`."""

    fusible: ClassVar[frozenset[str]] = frozenset(KINDS) - {"identity"}
    fuses_dropout: ClassVar[bool] = True

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
        """Product; then b and f in one pass."""
        if bias is None or not is_matrix(out, bias, *(() if z is None else (z,))):
            super().linear(x, weight_t, bias, out, activation, z)
            return
        self.product(x, weight_t, out)
        self._bias_activation(out, bias, z, out, activation)

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
        if d_bias is not None and is_matrix(dy, kept):
            self._bias_activation_backward(dy, kept, d_bias, activation)
            d_bias, activation = None, IDENTITY
        super().linear_backward(dy, kept, x, weight, d_weight, d_bias, dx, activation)

    def multiply(self, a: Array, b: Array, out: Array) -> bool:
        """Write a b in a way that a graph can capture; return False where that can't be done."""
        return self._multiply(a, b, out)

    def product(self, x: Array, weight_t: Array, out: Array) -> None:
        """X Wᵀ, in a way that a graph can capture."""
        if not self.multiply(x, weight_t, out):
            super().product(x, weight_t, out)

    def weight_gradient(self, dy: Array, x: Array, out: Array) -> None:
        """δᵀ X, in a way that a graph can capture."""
        if not self.multiply(dy.swapaxes(-1, -2), x, out):
            super().weight_gradient(dy, x, out)

    def input_gradient(self, dy: Array, weight: Array, out: Array) -> None:
        """δ W, in a way that a graph can capture."""
        if not self.multiply(dy, weight, out):
            super().input_gradient(dy, weight, out)

    def activation(
        self, activation: ActivationSpec, z: Array, out: Array, work: ActivationWork | None = None
    ) -> None:
        """One pass."""
        known = activation.name != "identity" and (activation.mask is None or z.ndim == 2)
        if known and is_dense(z, out):
            self._bias_activation(z, None, None, out, activation)
        else:
            super().activation(activation, z, out, work)

    def activation_backward(
        self,
        activation: ActivationSpec,
        kept: Array,
        dy: Array,
        work: ActivationWork | None = None,
    ) -> None:
        """One pass."""
        if activation is not IDENTITY and is_dense(dy, kept):
            self._bias_activation_backward(dy, kept, None, activation)
        else:
            super().activation_backward(activation, kept, dy, work)

    def sum_examples(self, x: Array, out: Array) -> None:
        """One pass by many blocks, however few the columns."""
        if is_matrix(x):
            self._bias_activation_backward(x, None, out, IDENTITY)
        else:
            super().sum_examples(x, out)

    def _bias_activation(
        self,
        x: Array,
        bias: Array | None,
        z: Array | None,
        out: Array,
        activation: ActivationSpec,
    ) -> None:
        shape = _folded(x)
        t = tiles(*shape, x.itemsize)
        numbers = *shape, t.wide, *_coded(activation), *_hidden(activation)
        self._launch("bias_activation", t, x, x, bias, z, out, *numbers)

    def _bias_activation_backward(
        self, dy: Array, kept: Array | None, total: Array | None, activation: ActivationSpec
    ) -> None:
        shape = _folded(dy)
        t = (tiles if total is None else tiles_to_add_up)(*shape, dy.itemsize)
        work = self._launcher.workspace() if total is not None else None
        numbers = *shape, t.wide, *_coded(activation), work
        self._launch("bias_activation_backward", t, dy, dy, kept, total, *numbers)

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
        """One launch for a short batch; else one for the statistics and one for the rest."""
        if not is_matrix(x):
            super().batch_norm(
                x, gamma, beta, eps, mean, variance, inverse_deviation, x_hat, out, activation, z
            )
            return
        shape, kind = x.shape, (*_coded(activation), *_hidden(activation))
        t, work = tiles_to_add_up(*shape, x.itemsize), self._launcher.workspace()
        arrays = x, gamma, beta, mean, variance, inverse_deviation, x_hat, z, out
        self._launch("batch_norm", t, x, *arrays, *shape, t.wide, float(eps), *kind, work)
        if t.grid[1] > 1:
            t = tiles(*shape, x.itemsize)
            given = x, gamma, beta, mean, inverse_deviation
            self._launch("normalise", t, x, *given, x_hat, z, out, *shape, t.wide, *kind)

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
        """One launch for a short batch; else one for f' and the sums and one for ∂x."""
        arrays = dy, kept, x_hat, gamma, inverse_deviation, d_gamma, d_beta
        if not is_matrix(dy):
            super().batch_norm_backward(*arrays, row, dx, activation)
            return
        shape, kind = dy.shape, _coded(activation)
        t, work = tiles_to_add_up(*shape, dy.itemsize), self._launcher.workspace()
        self._launch("batch_norm_backward", t, dy, *arrays, dx, *shape, t.wide, *kind, work)
        if t.grid[1] > 1:
            t = tiles(*shape, dy.itemsize)
            self._launch("normalise_backward", t, dy, *arrays, dx, *shape, t.wide, *kind)

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
        if not is_matrix(x):
            super().batch_norm_inference(x, gamma, beta, eps, mean, variance, row, out, activation)
            return
        t = tiles(*x.shape, x.itemsize)
        numbers = *x.shape, t.wide, float(eps), *_coded(activation)[:2]
        self._launch("standardise", t, x, x, gamma, beta, mean, variance, out, *numbers)

    def running_average(
        self, average: Array, value: Array, scale: float, fraction: float, row: Array
    ) -> None:
        """One pass."""
        if is_matrix(average):
            self._pass("running_average", average, value, float(scale), float(fraction))
        else:
            super().running_average(average, value, scale, fraction, row)

    # -- dropout ----

    def dropout(self, x: Array, key: Array, threshold: int, work: DropoutWork, out: Array) -> None:
        """One pass, bits included."""
        if not is_matrix(x):
            super().dropout(x, key, threshold, work, out)
            return
        (n, words), m = work.counters.shape, x.shape[1]
        numbers = n, words, m, threshold, 65536 / (65536 - threshold)
        t = tiles(n, words, 16)  # a thread takes one word
        self._launch("dropout", t, x, x, work.counters, key, work.mask, out, *numbers)

    # -- categories ----

    def one_hot(self, x: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        networks = [*each_network(x, out)]
        if not all(is_matrix(*arrays) for arrays in networks):
            super().one_hot(x, work, out)
            return
        for x, out in networks:
            t = tiles(*out.shape, 16)  # a thread takes one column
            sizes = *out.shape, x.shape[1], work.n_others
            self._launch("one_hot", t, x, x, work.source, work.categories, out, *sizes)

    def embedding(self, x: Array, weight: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        networks = [*each_network(x, weight, out)]
        if not all(is_matrix(*arrays) for arrays in networks):
            super().embedding(x, weight, work, out)
            return
        tables = work.source, work.sizes, work.starts
        for x, weight, out in networks:
            sizes = *out.shape, x.shape[1], work.n_others, work.n_dims
            t = tiles(*out.shape, 16)
            self._launch("embedding", t, x, x, weight, *tables, out, *sizes)

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """One launch: a block looks through the batch for the examples of a category."""
        networks = [*each_network(dy, x, d_weight)]
        if not all(is_matrix(*arrays) for arrays in networks):
            super().embedding_backward(dy, x, work, d_weight)
            return
        count, largest = len(work.coded), max(size for _, size in work.coded)
        t = table_rows(largest, count, work.n_dims)
        tables = work.columns, work.sizes, work.starts
        for dy, x, d_weight in networks:
            sizes = *dy.shape, x.shape[1], work.n_others, work.n_dims, count
            self._launch("embedding_backward", t, x, dy, x, *tables, d_weight, *sizes)

    # -- members that share weights ----

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
        others = [array for array in (scale, bias, out, z) if array is not None]
        if not is_matrix(x, *others):
            super().member_affine(x, scale, bias, out, activation, z)
            return
        (rows, m), (k, _) = out.shape, scale.shape
        t = tiles(rows, m, x.itemsize)
        numbers = rows, m, rows // k, len(x), t.wide, *_coded(activation), *_hidden(activation)
        self._launch("member_affine", t, x, x, scale, bias, z, out, *numbers)

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
        """One pass; one more where all members take the same x."""
        if not is_matrix(dy, kept, x, scale, d_scale):
            rest = d_bias, dx, scratch, activation
            super().member_affine_backward(dy, kept, x, scale, d_scale, *rest)
            return
        (rows, m), k = dy.shape, len(scale)
        t = members_to_add_up(rows // k, m, k, dy.itemsize)
        numbers = rows, m, rows // k, len(x), t.wide, *_coded(activation)
        arrays = dy, kept, x, scale, d_scale, d_bias
        self._launch("member_affine_backward", t, dy, *arrays, *numbers)
        if dx is not None and dx is not dy:
            t = flat(dx.size, dx.itemsize)
            self._launch("sum_members", t, dy, dy, dx, dx.size, rows // len(dx))


def _folded(x: Array) -> tuple[int, int]:
    """Return the shape of an array (…, n, m) as one matrix of rows."""
    m = x.shape[-1]
    return x.size // max(m, 1), m
