"""The kernels of CUDA GPUs beside the layers': losses, updates, and the data of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from ..._typing import Array, Namespace
from ..output_losses import OUTPUT_LOSSES, OutputLoss
from ..reference import Kernels
from ..updates import Update
from ..work import LossBuffers, RunningLoss, ScalarTable, SoftmaxBuffers, Weighing
from .launch import MOST_MEMBERS, ONE_BLOCK, Launcher, Tiles, flat, flat_to_add_up, rows_of, tiles
from .rows import UPDATE_ROWS

#: Arrays whose rows one launch gathers: features, labels and weights.
MOST_PAIRS = 3


def is_dense(x: Array, *others: Array) -> bool:
    """Return whether x has no gaps and numbers of the kernels' types, as have others beside it."""
    kind = x.dtype.char
    if kind not in "fd" or not x.flags.c_contiguous:
        return False
    for y in others:  # noqa: SIM110 - it takes half the time of `all`
        if y.dtype.char != kind or not y.flags.c_contiguous:
            return False
    return True


def is_stack(x: Array, *others: Array) -> bool:
    """Return whether the fused kernels take x as a matrix, or as one of each member.

    The same goes for others of its type beside it.
    """
    return x.ndim in (2, 3) and is_dense(x, *others)


def is_matrix(x: Array, *others: Array) -> bool:
    """Return whether x is one matrix that the fused kernels take, and others of its type."""
    return x.ndim == 2 and is_dense(x, *others)


def stack_shape(x: Array) -> tuple[int, int, int]:
    """Return how many members an array (…, n, m) is of, n and m."""
    return x.shape if x.ndim == 3 else (1, *x.shape)  # type: ignore[return-value]


def member_step(x: Array, *arrays: Array, axes: int = 2) -> int | None:
    """Return how many elements of arrays lie between the beginnings of two members' parts.

    Parameters
    ----------
    x : array
        Of the type that they have to have.
    *arrays : array
        With so many axes, which all members share, or one more. A part has no gaps.
    axes : int
        The axes of a part.

    Returns
    -------
    int or None
        0 where there is one part; None where they differ, or are nothing for the kernels.
    """
    kind = x.dtype.char
    for array in arrays:
        if array.ndim != axes or array.dtype.char != kind or not array.flags.c_contiguous:
            return _common_step(kind, arrays, axes)
    return 0  # as for one network, which is not to be slowed


def _common_step(kind: str, arrays: Sequence[Array], axes: int) -> int | None:
    steps = []
    for array in arrays:
        whole = array.ndim == axes
        part = array if whole or array.ndim != axes + 1 else array[0]
        if array.dtype.char != kind or part.ndim != axes or not part.flags.c_contiguous:
            return None
        steps.append(0 if whole or len(array) == 1 else array.strides[0] // array.itemsize)
    return steps[0] if steps == steps[:1] * len(steps) else None


#: An array with a number for each member, which kernels take where there is one, and a number.
OwnNumber: TypeAlias = tuple[Array | None, float]


def own_number(x: Any, dtype: DTypeLike, count: int) -> OwnNumber | None:
    """Return what kernels take for a number, or an array of so many; None if it is no such."""
    if type(x) is float or isinstance(x, Real):
        return None, float(x)
    fits = x.dtype == dtype and x.size == count and x.flags.c_contiguous
    return (x, 1.0) if fits else None


class _Pair(NamedTuple):
    """An array whose rows are gathered, where to, and whether each member has rows of its own."""

    rows: Array
    out: Array
    own: bool

    @property
    def n(self) -> int:
        """How many rows there are, of each member."""
        return int(self.rows.shape[self.own])

    @property
    def units(self) -> tuple[int, int]:
        """Of how many units a row is, the largest that it divides into, and their bytes."""
        size = self.rows.nbytes // math.prod(self.rows.shape[: 1 + self.own])
        unit = next(u for u in (16, 8, 4, 2, 1) if size % u == 0)
        return size // unit, unit

    def fits(self, n: int, written: tuple[int, ...]) -> bool:
        """Return whether `gather` takes n rows, of which so many are written to out."""
        rows, out, members = self.rows, self.out, written[:-1] if self.own else ()
        shapes = rows.shape == (*members, n, *out.shape[len(written) :])
        alike = out.dtype == rows.dtype and shapes and out.shape[: len(written)] == written
        return bool(alike and rows.flags.c_contiguous and out.flags.c_contiguous and rows.size)


def folded(x: Array) -> tuple[int, int]:
    """Return the shape of an array (…, n, m) as one matrix of rows."""
    m = x.shape[-1]
    return x.size // max(m, 1), m


def _flat_shape(x: Array) -> tuple[int, int]:
    """Return how many members an array (…, P) is of, and P."""
    return (len(x) if x.ndim == 2 else 1), x.shape[-1]


@lru_cache
def _tiny(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).tiny)


class CudaRunKernels(Kernels):
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
        self._launcher(name, x.dtype.char == "d", (*t.grid, 1), t.block, *arguments)

    def _launch_each(self, name: str, t: Tiles, members: int, x: Array, *arguments: Any) -> None:
        """Launch a kernel of x's type for each member, all in one go if CUDA has room for them."""
        double, first = x.dtype.char == "d", 0
        while members - first > MOST_MEMBERS:
            self._launcher(name, double, (*t.grid, MOST_MEMBERS), t.block, *arguments, first)
            first += MOST_MEMBERS
        self._launcher(name, double, (*t.grid, members - first), t.block, *arguments, first)

    # -- activations ----

    def softmax(self, z: Array, row: Array, out: Array) -> None:
        """One pass."""
        if is_dense(z, out) and z.ndim > 1:
            shape = folded(z)
            self._launch("softmax", rows_of(*shape), z, z, out, *shape)
        else:
            super().softmax(z, row, out)

    # -- losses ----

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
        """One launch."""
        step = member_step(y, y, axes=1) if y.dtype.char == "i" else None
        own = own_number(smoothing, z.dtype, loss.size)
        name = "softmax_cross_entropy"
        if own is None or not self._loss(name, z, y, step, example_weight, own, dz, loss):
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
        step = member_step(z, y) if OUTPUT_LOSSES.get(row.name) is row else None
        numbers = tuple(map(float, options))
        if not self._loss(row.name, z, y, step, example_weight, numbers, dz, loss):
            super().output_loss(row, z, y, example_weight, options, work, dz, loss)

    def _loss(
        self,
        name: str,
        z: Array,
        y: Array,
        y_step: int | None,
        example_weight: Any,
        options: tuple[Any, ...],
        dz: Array,
        loss: Array,
    ) -> bool:
        """Launch a loss; return False if the arrays are nothing for it."""
        shared = isinstance(example_weight, Real)
        weight_step = 0 if shared else member_step(z, example_weight)
        if y_step is None or weight_step is None or not is_stack(z, dz, loss):
            return False
        weight = (None, float(example_weight)) if shared else (example_weight, 1.0)
        members, n, m = stack_shape(z)
        steps, work = (y_step, weight_step), self._launcher.workspace()
        arguments = z, y, *weight, *options, dz, loss, n, m, *steps, work
        self._launch_each(name, rows_of(n, m, members), members, z, *arguments)
        return True

    def normalize_weights(self, weights: Array, l2: Any, work: Weighing) -> None:
        """One launch."""
        arrays = weights, work.example_weight, work.total, work.safe, work.decay
        own = own_number(l2, weights.dtype, work.decay.size)
        if own is None or not is_stack(*arrays):
            super().normalize_weights(weights, l2, work)
            return
        members, n, _ = stack_shape(weights)
        numbers = *own, n, work.decay.size // members, _tiny(weights.dtype)
        self._launch_each("normalize_weights", ONE_BLOCK, members, weights, *arrays, *numbers)

    # -- one update over the flat buffers ----

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """One pass."""
        (members, size), step = _flat_shape(g), member_step(g, g, p, axes=1)
        own = own_number(factor, g.dtype, 1) or own_number(factor, g.dtype, members)
        if own is None or step is None:
            super().add_decay(g, p, factor, scratch)
            return
        numbers = *own, size, step, int(own[0] is not None and own[0].size > 1)
        t = flat(size, g.itemsize, members)
        self._launch_each("add_decay", t, members, g, g, p, *numbers)

    def clip_norm(self, g: Array, limit: Any, norm: Array, scratch: Array) -> None:
        """One pass for the norm, and one for what is too long."""
        (members, size), step = _flat_shape(g), member_step(g, g, axes=1)
        own = own_number(limit, g.dtype, members)
        if own is None or step is None or not is_dense(norm) or not size:
            super().clip_norm(g, limit, norm, scratch)
            return
        t, work = flat_to_add_up(size, g.itemsize, members), self._launcher.workspace()
        self._launch_each("clip_factor", t, members, g, g, norm, *own, size, step, work)
        t = flat(size, g.itemsize, members)
        self._launch_each("clip", t, members, g, g, norm, size, step)

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
        """One pass, for a row of the table, or one of its with factors that members share."""
        (members, size), step = _flat_shape(p), member_step(p, *scalars, axes=1)
        own = [own_number(option, np.float64, members) for option in options]
        known = UPDATE_ROWS.get(row.name) is row and is_dense(p, g, *moments, *factors)
        shared = all(factor.ndim == 1 for factor in factors)
        if not (known and shared) or step is None or None in own:
            super().update(row, p, g, moments, scalars, options, scratch, n_decayed, factors)
            return
        changing = scalars if n_decayed or factors else (*scalars, None)
        numbers = *chain.from_iterable(own), n_decayed, size, step  # type: ignore[arg-type]
        t, arrays = flat(size, p.itemsize, members), (p, g, *moments, *factors)
        self._launch_each(row.name, t, members, p, *arrays, *changing, *numbers)

    # -- data, and a run's bookkeeping ----

    def gather(
        self, order: Array, start: Array, work: Any, pairs: Sequence[tuple[Array, Array]]
    ) -> None:
        """One launch for three arrays, in the largest units that their rows divide into."""
        several = order.ndim == 2
        ours = [_Pair(rows, out, several and rows.ndim == out.ndim) for rows, out in pairs]
        n, written = ours[0].n, ours[0].out.shape[: order.ndim]
        known = all(a.dtype.str[1:] == "i8" and a.flags.c_contiguous for a in (order, start))
        fits = order.ndim < 3 and order.size and order.shape[:-1] == written[:-1]
        if not (known and fits and all(pair.fits(n, written) for pair in ours)):
            super().gather(order, start, work, pairs)
            return
        for first in range(0, len(ours), MOST_PAIRS):
            self._gather(order, start, n, ours[first : first + MOST_PAIRS], written)

    def _gather(
        self, order: Array, start: Array, n: int, pairs: list[_Pair], written: tuple[int, ...]
    ) -> None:
        members, count = written if order.ndim == 2 else (1, *written)
        units = [pair.units for pair in pairs]
        t = tiles(count, max(many for many, _ in units), 16, members)
        across = t.block[0]
        t = t._replace(grid=(sum(-(-many // across) for many, _ in units), t.grid[1]))
        taken = [
            (pair.rows, pair.out, *unit, n * pair.own)
            for pair, unit in zip(pairs, units, strict=True)
        ]
        none = [(None, None, 0, 1, 0)] * (MOST_PAIRS - len(pairs))
        arguments = order, start, count, order.shape[-1], n, *chain.from_iterable([*taken, *none])
        self._launch_each("gather", t, members, pairs[0][0], *arguments)

    def advance(self, scalar_table: ScalarTable) -> None:
        """One launch."""
        b = scalar_table
        tables = b.scalars, b.row, b.keys, b.key, b.starts, b.start, b.thresholds, b.threshold
        n_thresholds = 0 if b.threshold is None else b.threshold.size
        sizes = *b.scalars.shape, b.key.size, b.start.size, n_thresholds
        self._launch("advance", ONE_BLOCK, b.row, b.cursor, *tables, *sizes)

    def observe(self, loss: Array, n: int, work: RunningLoss) -> None:
        """One launch."""
        arrays = work.total, work.steps, work.finite
        if is_dense(loss) and all(array.flags.c_contiguous for array in arrays):
            self._launch("observe", ONE_BLOCK, loss, loss, float(n), *arrays, loss.size)
        else:
            super().observe(loss, n, work)
