"""The kernels of CUDA GPUs: what is launched in place of the reference, with which arguments.

What they compute is in ``cuda/``; `_cuda` says how threads lie over it. The fused kernels take
contiguous arrays with two axes, examples and features; what has more (members) goes to the
reference, but for what runs over whole buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ..._typing import Array, Namespace
from ..activations import IDENTITY, KINDS, ActivationSpec, ActivationWork
from ..output_losses import OUTPUT_LOSSES, OutputLoss
from ..reference import Kernels
from ..updates import UPDATES, Update
from ..work import DropoutWork, LossBuffers, RunningLoss, ScalarTable, SoftmaxBuffers, Weighing
from .launch import ONE_BLOCK, Launcher, Tiles, flat, rows_of, tiles, tiles_to_add_up

#: Arrays whose rows one launch gathers: features, labels and weights.
MOST_PAIRS = 3


def _coded(activation: ActivationSpec) -> tuple[int, float, float]:
    """Return what a kernel's activation is made from, but for its mask."""
    return KINDS[activation.name], activation.option, activation.scale


def _hidden(activation: ActivationSpec) -> tuple[Array | None, int, int]:
    """Return key, salt and threshold of an activation's mask; without one, no key."""
    if activation.mask is None:
        return None, 0, 0
    key, salt, threshold = activation.mask
    return key, salt - (salt >> 63 << 64), threshold  # the same bits, with a sign


def _is_dense(x: Array, *others: Array) -> bool:
    """Return whether x has no gaps and numbers of the kernels' types, as have others beside it."""
    kind = x.dtype.char
    return kind in "fd" and all(y.dtype.char == kind and y.flags.c_contiguous for y in (x, *others))


def is_matrix(x: Array, *others: Array) -> bool:
    """Return whether the fused kernels take x as a matrix, and others of its type beside it."""
    return x.ndim == 2 and _is_dense(x, *others)


def _factor(x: Any) -> tuple[Array | None, float]:
    """Return an array and a number, of which kernels take the array where there is one."""
    return (None, float(x)) if isinstance(x, Real) else (x, 1.0)


def _is_copied(rows: Array, out: Array, n: int, count: int) -> bool:
    """Return whether `gather` takes an array of n rows, of which so many are written to out."""
    fits = out.dtype == rows.dtype and out.shape[1:] == rows.shape[1:]
    dense = rows.flags.c_contiguous and out.flags.c_contiguous
    return bool(fits and dense and rows.size and (len(rows), len(out)) == (n, count))


def _units(rows: Array) -> tuple[int, int]:
    """Return of how many units a row is, the largest that it divides into, and their bytes."""
    size = rows.nbytes // len(rows)
    unit = next(u for u in (16, 8, 4, 2, 1) if size % u == 0)
    return size // unit, unit


@lru_cache
def _tiny(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).tiny)


class CudaKernels(Kernels):
    """The reference kernels, but for those that CUDA kernels do in one launch or two.

    Parameters
    ----------
    xp : module
        Where the arrays come from.
    launcher : Launcher
        What launches the kernels.
    multiply : function of (a, b, out), or None
        Writes the product a b where it can, and says whether it did; what it leaves is the
        namespace's to do. None: all is.
    """

    fusible: ClassVar[frozenset[str]] = frozenset(KINDS) - {"identity"}
    fuses_dropout: ClassVar[bool] = True

    def __init__(
        self,
        xp: Namespace,
        launcher: Launcher,
        multiply: Callable[[Array, Array, Array], bool] | None = None,
    ) -> None:
        super().__init__(xp)
        self._launcher, self._multiply = launcher, multiply or (lambda a, b, out: False)

    def _launch(self, name: str, t: Tiles, x: Array, *arguments: Any) -> None:
        """Launch a kernel of x's type."""
        self._launcher(name, x.dtype.char == "d", t.grid, t.block, *arguments)

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
        if known and _is_dense(z, out):
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
        if activation is not IDENTITY and _is_dense(dy, kept):
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

    # -- activations ----

    def softmax(self, z: Array, row: Array, out: Array) -> None:
        """One pass."""
        if is_matrix(z):
            self._launch("softmax", rows_of(*z.shape), z, z, out, *z.shape)
        else:
            super().softmax(z, row, out)

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

    # -- losses ----

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
        """One launch."""
        if is_matrix(z) and y.dtype.char == "i" and y.flags.c_contiguous:
            options = (smoothing,)
            self._loss("softmax_cross_entropy", z, y, example_weight, options, dz, loss)
        else:
            super().softmax_cross_entropy(z, y, example_weight, work, dz, loss, smoothing)

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
        """One launch, for a row of the table."""
        if is_matrix(z, y) and OUTPUT_LOSSES.get(row.name) is row:
            self._loss(row.name, z, y, example_weight, options, dz, loss)
        else:
            super().output_loss(row, z, y, example_weight, options, work, dz, loss)

    def _loss(
        self,
        name: str,
        z: Array,
        y: Array,
        example_weight: Any,
        options: tuple[float, ...],
        dz: Array,
        loss: Array,
    ) -> None:
        work = self._launcher.workspace()
        numbers = *_factor(example_weight), *map(float, options)
        self._launch(name, rows_of(*z.shape), z, z, y, *numbers, dz, loss, *z.shape, work)

    def normalize_weights(self, weights: Array, l2: float, work: Weighing) -> None:
        """One launch."""
        if not is_matrix(weights):
            super().normalize_weights(weights, l2, work)
            return
        arrays = weights, work.example_weight, work.total, work.safe, work.decay
        numbers = len(weights), float(l2), _tiny(weights.dtype)
        self._launch("normalize_weights", ONE_BLOCK, weights, *arrays, *numbers)

    # -- one update over the flat buffers; several networks' are gone through as one ----

    def _pass(self, name: str, p: Array, *arguments: Any) -> None:
        self._launch(name, flat(p.size, p.itemsize), p, p, *arguments, p.size)

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """One pass."""
        if g.ndim != 1:
            super().add_decay(g, p, factor, scratch)
        else:
            self._pass("add_decay", g, p, *_factor(factor))

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
        """One pass, for a row of the table."""
        if UPDATES.get(row.name) is not row:
            super().update(row, p, g, moments, scalars, options, scratch, n_decayed)
            return
        changing = scalars if n_decayed else (*scalars, None)
        numbers = *map(float, options), n_decayed, p.shape[-1]
        self._pass(row.name, p, g, *moments, *changing, *numbers)

    # -- data, and a run's bookkeeping ----

    def gather(
        self, order: Array, start: Array, work: Any, pairs: Sequence[tuple[Array, Array]]
    ) -> None:
        """One launch for up to three arrays, in the largest units that their rows divide into."""
        n, count = len(pairs[0][0]), len(pairs[0][1])
        known = all(a.dtype.str[1:] == "i8" and a.flags.c_contiguous for a in (order, start))
        fits = known and order.size and all(_is_copied(*pair, n, count) for pair in pairs)
        if not fits or len(pairs) > MOST_PAIRS:
            super().gather(order, start, work, pairs)
            return
        units = [_units(rows) for rows, _ in pairs]
        t = tiles(count, max(many for many, _ in units), 16)
        across = t.block[0]
        grid = sum(-(-many // across) for many, _ in units), t.grid[1]
        arguments: list[tuple[Array | int | None, ...]]
        arguments = [(*pair, *unit) for pair, unit in zip(pairs, units, strict=True)]
        arguments += [(None, None, 0, 1)] * (MOST_PAIRS - len(pairs))
        sizes = count, len(order), n
        flat = chain.from_iterable(arguments)
        self._launch("gather", t._replace(grid=grid), pairs[0][0], order, start, *sizes, *flat)

    def advance(self, scalar_table: ScalarTable) -> None:
        """One launch."""
        b = scalar_table
        tables = b.scalars, b.row, b.keys, b.key, b.starts, b.start
        self._launch("advance", ONE_BLOCK, b.row, b.cursor, *tables, *b.scalars.shape)

    def observe(self, loss: Array, n: int, work: RunningLoss) -> None:
        """One launch."""
        if loss.ndim == 0:
            arrays = work.total, work.steps, work.finite
            self._launch("observe", ONE_BLOCK, loss, loss, float(n), *arrays)
        else:
            super().observe(loss, n, work)


def _folded(x: Array) -> tuple[int, int]:
    """Return the shape of an array (…, n, m) as one matrix of rows."""
    m = x.shape[-1]
    return x.size // max(m, 1), m
