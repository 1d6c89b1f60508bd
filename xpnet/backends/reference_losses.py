"""The reference kernels of the losses: the value, a scalar, and its gradient for the logits z.

Each is Σ example_weight · (loss of an example): ``example_weight`` is 1/n, a number, or an array
(…, n, 1) of weights that add up to 1. Members may share y and the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from .output_losses import OutputLoss
from .reference_sums import SumKernels
from .work import LossBuffers, SoftmaxBuffers, Weighing


class LossKernels(SumKernels):
    """The reference kernels for losses; see `reference.Kernels`."""

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
        """−Σ t log softmax(z) with t = (1 − ε) onehot(y) + ε/m, for integers y (n,) or (k, n).

        dz = (softmax(z) − t) · example_weight; ε is ``smoothing``, a number or an array (k, 1, 1).
        """
        smooth = not isinstance(smoothing, float) or smoothing > 0
        xp, row, other, terms = self.xp, work.row, work.other, work.terms
        xp.equal(y[..., None], work.classes, out=work.hot)
        self.max_features(z, row)
        xp.subtract(z, row, out=dz)
        xp.multiply(dz, work.hot, out=terms)
        self.sum_features(terms, other)
        if smooth:
            xp.multiply(other, 1.0 - smoothing, out=other)
            self.sum_features(dz, row)
            xp.multiply(row, smoothing / z.shape[-1], out=row)
            xp.add(other, row, out=other)
        xp.exp(dz, out=dz)
        self.sum_features(dz, row)
        xp.divide(dz, row, out=dz)
        if smooth:
            xp.multiply(work.hot, 1.0 - smoothing, out=terms, dtype=terms.dtype)
            xp.subtract(dz, terms, out=dz)
            xp.subtract(dz, smoothing / z.shape[-1], out=dz)
        else:
            xp.subtract(dz, work.hot, out=dz)
        xp.multiply(dz, example_weight, out=dz)
        xp.log(row, out=row)
        xp.subtract(row, other, out=row)
        self._add_up(row, example_weight, loss)

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
        """Σ of the losses of each output, by a row of `output_losses.OUTPUT_LOSSES`.

        ``options`` are the values of the row's options.
        """
        xp, arrays = self.xp, {"z": z, "y": y, "dz": dz, "term": work.terms}
        row.program(options).run(xp, self.erf, arrays, work.registers, work.mask)
        self.sum_features(work.terms, work.row)
        self._add_up(work.row, example_weight, loss)
        xp.multiply(dz, example_weight, out=dz)

    def _add_up(self, row: Array, example_weight: Any, loss: Array) -> None:
        """Loss = Σ example_weight · row; the row is used up."""
        self.xp.multiply(row, example_weight, out=row)
        self.xp.sum(row, axis=(-2, -1), out=loss)

    def normalize_weights(self, weights: Array, l2: Any, work: Weighing) -> None:
        """Share = w / Σ w and decay = λ / Σ w for weights w (n, 1); both 0 if all weights are.

        ``work`` holds ``example_weight`` (n, 1), and ``total``, ``safe`` and ``decay`` (1, 1). If k
        members have weights each, all have one more axis before these; if they have a λ each,
        ``l2`` and ``decay`` are (k, 1, 1).
        """
        xp = self.xp
        self.sum_examples(weights, work.total)
        xp.maximum(work.total, float(np.finfo(work.total.dtype).tiny), out=work.safe)
        xp.divide(weights, work.safe, out=work.example_weight)
        xp.copyto(work.decay, work.total)
        xp.sign(work.decay, out=work.decay)
        xp.multiply(work.decay, l2, out=work.decay)
        xp.divide(work.decay, work.safe, out=work.decay)
