"""The reference kernels of a run: a batch's rows, what changes from step to step, the losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array
from .reference_sums import SumKernels
from .work import RunningLoss, ScalarTable


class DataKernels(SumKernels):
    """The reference kernels of a run; see `reference.Kernels`."""

    def gather(
        self, order: Array, start: Array, work: Any, pairs: Sequence[tuple[Array, Array]]
    ) -> None:
        """Copy the rows that come next in an order: out[i] = rows[order[start + i]].

        ``pairs`` are arrays and what their rows are copied to, of the same type and one as long as
        the other. ``order`` and ``start``, of shape (1,), are int64. ``work`` has numbers
        ``counting`` from 0 on, and buffers ``places`` and ``chosen``, each as long as what is
        written at least.

        If k members have an order each, ``order`` (k, n), each output is (k, b, …) and ``chosen``
        has room for k · b numbers. An array with as many axes as its output holds each member's own
        rows, (k, n, …); from any other all members take theirs.
        """
        # `take` of NumPy before 2.5 casts to a narrower type, from 2.5 on to a wider one too.
        for given, out in ((order, work.chosen), *pairs):
            if given.dtype != out.dtype:
                raise TypeError(f"{given.dtype} is gathered, and not cast to {out.dtype}")
        n = pairs[0][1].shape[order.ndim - 1]
        counting, places = work.counting[:n], work.places[:n]
        shape = *order.shape[:-1], n
        chosen = work.chosen[: math.prod(shape)].reshape(*shape)
        self.xp.add(counting, start, out=places)
        self.xp.take(order, places, axis=-1, out=chosen)
        for rows, out in pairs:
            if order.ndim == 1 or rows.ndim < out.ndim:
                self.xp.take(rows, chosen, axis=0, out=out)
            else:
                for i in range(len(out)):
                    self.xp.take(rows[i], chosen[i], axis=0, out=out[i])

    def advance(self, scalar_table: ScalarTable) -> None:
        """Copy a step's row of the tables, and advance to the next; after the last comes the first.

        ``scalar_table.cursor``, int64 of shape (1,), is a row of the tables ``scalars``, ``keys``
        (uint64) and ``starts`` (int64), which is copied to ``row``, ``key`` and ``start``. All have
        two axes. If there are ``thresholds`` (int32), their row is copied to ``threshold``.
        """
        for table, row in (
            (scalar_table.scalars, scalar_table.row),
            (scalar_table.keys, scalar_table.key),
            (scalar_table.starts, scalar_table.start),
        ):
            self.xp.take(table, scalar_table.cursor, axis=0, out=row)
        if (thresholds := scalar_table.thresholds) is not None:
            self.xp.take(thresholds, scalar_table.cursor, axis=0, out=scalar_table.threshold)
        self.xp.add(scalar_table.cursor, 1, out=scalar_table.cursor)
        self.xp.remainder(scalar_table.cursor, len(scalar_table.starts), out=scalar_table.cursor)

    def put_back(self, array: Array, copy: Array, frozen: Array) -> None:
        """Array ← copy, both (k, P), for the networks of k that are frozen: bool, (k, 1)."""
        self.xp.copyto(array, copy, where=frozen)

    def observe(self, loss: Array, n: int, work: RunningLoss) -> None:
        """Add a batch's loss to the epoch's sum, and notice the first one that is not finite.

        ``work`` holds, in float64, ``total`` (Σ n · loss) and ``steps`` (how many steps left it
        finite), and ``finite`` (bool): a sum that is NaN or infinite stays so for the epoch.
        """
        xp = self.xp
        xp.multiply(loss, float(n), out=work.term, dtype=np.float64)
        xp.add(work.total, work.term, out=work.total)
        xp.isfinite(work.total, out=work.finite)
        xp.add(work.steps, work.finite, out=work.steps)
