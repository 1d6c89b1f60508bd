"""Products whose factors are rounded to bfloat16, which tensor cores multiply fastest.

Parameters, moments, activations, gradients and sums stay in float32. A bfloat16 number is the upper
half of a float32 one: 8 bits of mantissa, and all of its range, so that small gradients need no
scaled loss, as they do in float16 (Kalamkar et al., "A study of BFLOAT16 for deep learning
training", 2019).
"""

from __future__ import annotations

import numpy as np

from ..._typing import Array
from .kernels import CudaKernels
from .launch import flat
from .run_kernels import member_step, stack_shape


class Bfloat16Kernels(CudaKernels):
    """The CUDA kernels, with float32 products of rounded factors."""

    def multiply(self, a: Array, b: Array, out: Array) -> bool:
        """Write a b, rounded where both lie without gaps."""
        if out.dtype.char != "f":
            return super().multiply(a, b, out)
        low_a, low_b = self._rounded(a), self._rounded(b)
        if low_a is None or low_b is None:
            return super().multiply(a, b, out)
        return super().multiply(low_a, low_b, out)

    def _rounded(self, x: Array) -> Array | None:
        """Return x in bfloat16, its bits as integers, laid out as x is; None if x has gaps.

        Between one member's matrix and the next there may be other numbers.
        """
        turned = member_step(x, x) is None
        rows = x.swapaxes(-1, -2) if turned else x
        step = member_step(rows, rows)
        if step is None or x.dtype.char != "f":
            return None
        members, n, m = stack_shape(rows)
        low = self.xp.empty(rows.shape, np.uint16)
        t = flat(n * m, rows.itemsize, members)
        self._launch_each("to_bfloat16", t, members, rows, rows, low, n * m, step)
        return low.swapaxes(-1, -2) if turned else low
