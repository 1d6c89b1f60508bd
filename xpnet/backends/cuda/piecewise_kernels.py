"""The kernels of piecewise-linear encodings on CUDA GPUs: what is launched, see `kernels`."""

from __future__ import annotations

from ..._typing import Array
from ..piecewise_work import PiecewiseWork
from .launch import table_rows, tiles
from .run_kernels import CudaRunKernels, is_stack, member_step, stack_shape


class CudaPiecewiseKernels(CudaRunKernels):
    """The kernels of piecewise-linear encodings, and `CudaRunKernels`."""

    def piecewise_encoding(self, x: Array, work: PiecewiseWork, out: Array) -> None:
        """One pass."""
        step = member_step(out, x)
        if step is None or not is_stack(out):
            super().piecewise_encoding(x, work, out)
            return
        members, n, width = stack_shape(out)
        t = tiles(n, width, 16, members)  # a thread takes one column
        arrays = x, work.order, work.owners, work.counts, work.firsts, work.bins, out
        numbers = n, width, x.shape[-1], work.n_others, len(work.owners), step
        self._launch_each("piecewise_encoding", t, members, x, *arrays, *numbers)

    def piecewise_encoding_backward(
        self, dy: Array, x: Array, work: PiecewiseWork, dx: Array
    ) -> None:
        """One pass."""
        step = member_step(dy, x)
        if step is None or not is_stack(dy, dx):
            super().piecewise_encoding_backward(dy, x, work, dx)
            return
        (members, n, width), m = stack_shape(dy), x.shape[-1]
        t = tiles(n, m, 16, members)
        arrays = dy, x, work.order, work.counts, work.firsts, work.bins, dx
        numbers = n, width, m, work.n_others, len(work.owners), step
        self._launch_each("piecewise_encoding_backward", t, members, dy, *arrays, *numbers)

    def piecewise_embedding(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        out: Array,
    ) -> None:
        """One pass, behind a launch that adds up weights."""
        biases = member_step(out, *_there_are(bias, linear))
        steps = member_step(out, x), member_step(out, weight), biases
        if None in steps or not is_stack(out):
            super().piecewise_embedding(x, weight, bias, linear, work, out)
            return
        (members, n, width), (c, d) = stack_shape(out), bias.shape[-2:]
        n_bins = weight.shape[-2]
        t, columns = tiles(c, d, 16, members), (work.counts, work.firsts)
        arrays, numbers = (weight, bias, *columns, work.sums), (c, d, n_bins, *steps[1:])
        self._launch_each("piecewise_sums", t, members, x, *arrays, *numbers)
        t = tiles(n, width, 16, members)
        given = x, weight, linear, work.sums, work.order, *columns, work.bins, out
        shape = n, width, x.shape[-1], work.n_others, d, n_bins, int(work.relu)
        self._launch_each("piecewise_embedding", t, members, x, *given, *shape, *steps)

    def piecewise_embedding_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        weight: Array,
        bias: Array,
        linear: Array | None,
        work: PiecewiseWork,
        d_weight: Array,
        d_bias: Array,
        d_linear: Array | None,
        dx: Array | None,
    ) -> None:
        """Add up by a block for each bin, then over the bins; one more launch for ∂X."""
        biases, d_biases = _there_are(bias, linear), _there_are(d_bias, d_linear)
        steps = member_step(dy, weight), member_step(dy, *biases), member_step(dy, d_weight)
        every = *steps, member_step(dy, x), member_step(dy, *d_biases)
        parameters = weight, bias, linear
        if None in every or not is_stack(dy, kept, *_there_are(dx)):
            given, written = (dy, kept, x, *parameters, work), (d_weight, d_bias, d_linear, dx)
            super().piecewise_embedding_backward(*given, *written)
            return
        output = kept if work.relu else None
        self._bin_gradients(dy, output, x, work, d_weight, d_bias, d_linear)
        if dx is not None:
            (members, n, width), m = stack_shape(dy), x.shape[-1]
            t, columns = tiles(n, m, 16, members), (work.order, work.counts, work.firsts)
            arrays = dy, output, x, weight, linear, *columns, work.bins, dx
            shape = n, width, m, work.n_others, work.n_dims, len(work.owners)
            numbers = *shape, member_step(dy, x), *steps[:2]
            self._launch_each("piecewise_input_gradient", t, members, dy, *arrays, *numbers)

    def _bin_gradients(
        self,
        dy: Array,
        output: Array | None,
        x: Array,
        work: PiecewiseWork,
        d_weight: Array,
        d_bias: Array,
        d_linear: Array | None,
    ) -> None:
        """∂W, ∂b and ∂a, once all is found to be as the kernels take it."""
        (members, n, width), c, d = stack_shape(dy), len(work.columns), work.n_dims
        columns, n_bins = (work.counts, work.firsts), len(work.owners)
        t = table_rows(work.n_bins + 1, c, d, members)  # a column's bins, and its bias
        step, bias_step = member_step(dy, d_weight), member_step(dy, d_bias)
        given = dy, output, x, work.order, *columns, work.bins
        arrays = *given, work.sums, d_weight, d_bias, d_linear
        shape = n, width, x.shape[-1], work.n_others, d, c, n_bins
        numbers = *shape, member_step(dy, x), step, bias_step
        self._launch_each("piecewise_embedding_backward", t, members, dy, *arrays, *numbers)
        t = tiles(c, d, 16, members)
        sums = work.sums, *columns, d_weight
        self._launch_each("piecewise_sums_backward", t, members, dy, *sums, c, d, n_bins, step)


def _there_are(*arrays: Array | None) -> tuple[Array, ...]:
    return tuple(array for array in arrays if array is not None)
