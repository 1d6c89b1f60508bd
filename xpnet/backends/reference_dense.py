"""The reference of what predicts few examples: a stack of dense layers, from end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from .._typing import Array, Namespace
from .activations import ROWS, ActivationSpec
from .dense_stack import ABSENT, ACTIVATION, BATCH_NORM, DenseStack

_NAMES = tuple(ROWS)


class DenseKernels:
    """The part of `reference.Kernels` that goes through a stack of dense layers.

    Attributes
    ----------
    most_rows, most_rows_of_functions : int
        Up to how many examples `dense_stack` is faster than the layers one by one; and where an
        activation calls exp or its like.
    most_rows_alone : int
        The first one where BLAS has one thread, as the kernel has; else 0.
    """

    xp: Namespace
    product: Callable[..., None]
    activation: Callable[..., None]
    batch_norm_inference: Callable[..., None]
    # Nothing is gained by the reference.
    most_rows: ClassVar[int] = 0
    most_rows_of_functions: ClassVar[int] = 0

    @property
    def most_rows_alone(self) -> int:
        """0: nothing is gained by the reference."""
        return 0

    def dense_stack(
        self, x: Array, parameters: Array, statistics: Array, stack: DenseStack, out: Array
    ) -> bool:
        """Go through a stack of dense layers in prediction; return whether x is finite.

        ``x`` has shape (n, m), ``parameters`` and ``statistics`` are the flat buffers (…, P), and
        ``out`` has shape (…, n, k). What is in ``out`` is of no use if x is not finite.
        """
        xp, lead = self.xp, out.shape[:-1]
        a = xp.empty((*lead, x.shape[-1]), x.dtype)
        a[...] = x
        for row, option in zip(stack.table.tolist(), stack.options.tolist(), strict=True):
            operation, m_in, m_out, *places = row
            if operation == ACTIVATION:
                self.activation(ActivationSpec(_NAMES[places[0]], option), a, a)
            elif operation == BATCH_NORM:
                held = parameters, parameters, statistics, statistics
                gamma, beta, mean, variance = (
                    _row(flat, at, m_out) for flat, at in zip(held, places, strict=True)
                )
                scratch = xp.empty_like(gamma)
                self.batch_norm_inference(a, gamma, beta, option, mean, variance, scratch, a)
            else:
                at, bias_at = places[:2]
                weight = parameters[..., at : at + m_in * m_out]
                weight = weight.reshape(*weight.shape[:-1], m_out, m_in)
                z = xp.empty((*lead, m_out), x.dtype)
                self.product(a, weight.swapaxes(-1, -2), z)
                if bias_at != ABSENT:
                    xp.add(z, _row(parameters, bias_at, m_out), out=z)
                a = z
        out[...] = a
        return bool(xp.isfinite(x).all())


def _row(flat: Array, at: int, width: int) -> Array:
    """Return (…, 1, width) of a flat buffer."""
    return flat[..., None, at : at + width]
