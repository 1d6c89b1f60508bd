"""The kernels of CUDA GPUs beside the layers': losses, updates, and the data of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from numbers import Real
from typing import Any

import numpy as np

from ..._typing import Array, Namespace
from ..output_losses import OUTPUT_LOSSES, OutputLoss
from ..reference import Kernels
from ..updates import UPDATES, Update
from ..work import LossBuffers, RunningLoss, ScalarTable, SoftmaxBuffers, Weighing
from .launch import ONE_BLOCK, Launcher, Tiles, flat, rows_of, tiles

#: Arrays whose rows one launch gathers: features, labels and weights.
MOST_PAIRS = 3


def is_dense(x: Array, *others: Array) -> bool:
    """Return whether x has no gaps and numbers of the kernels' types, as have others beside it."""
    kind = x.dtype.char
    return kind in "fd" and all(y.dtype.char == kind and y.flags.c_contiguous for y in (x, *others))


def is_matrix(x: Array, *others: Array) -> bool:
    """Return whether the fused kernels take x as a matrix, and others of its type beside it."""
    return x.ndim == 2 and is_dense(x, *others)


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
        self._launcher(name, x.dtype.char == "d", t.grid, t.block, *arguments)

    # -- activations ----

    def softmax(self, z: Array, row: Array, out: Array) -> None:
        """One pass."""
        if is_matrix(z):
            self._launch("softmax", rows_of(*z.shape), z, z, out, *z.shape)
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

    def normalize_weights(self, weights: Array, l2: Any, work: Weighing) -> None:
        """One launch."""
        if not is_matrix(weights) or work.decay.size > 1:
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
