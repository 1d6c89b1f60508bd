"""The kernels of CUDA GPUs: what is launched in place of the reference, with which arguments.

What they compute is in the ``.cu`` files; `launch` says how threads lie over it. The fused kernels
take contiguous arrays with two axes, examples and features, or with members before these; what
lies in a flat buffer of each member's (weights, biases, gradients, statistics) has a step from one
to the next. All members are computed in one launch.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..._typing import Array
from ..activations import IDENTITY, KINDS, ActivationSpec, ActivationWork
from ..work import CategoryWork, ColumnWork, DropoutWork
from .launch import flat, members_to_add_up, table_rows, tiles, tiles_to_add_up
from .piecewise_kernels import CudaPiecewiseKernels
from .run_kernels import (
    folded,
    is_dense,
    is_matrix,
    is_stack,
    member_step,
    stack_shape,
)


def _coded(activation: ActivationSpec) -> tuple[int, float]:
    """Return what a kernel's activation is made from, but for its mask."""
    return KINDS[activation.name], activation.option


def _hidden(activation: ActivationSpec) -> tuple[Array | int | None, ...]:
    """Return a mask's keys and their step, its salts and thresholds; without one, no keys."""
    if activation.mask is None:
        return None, 0, None, 0, None, 0
    key, salt, threshold = activation.mask
    return *_keys(key), *_own_integer(salt, "u8"), *_own_integer(threshold, "i4")


def _dropped(activation: ActivationSpec) -> tuple[Array | None, int]:
    """Return the thresholds of an activation's mask: what lives is scaled by them."""
    mask = activation.mask
    return (None, 0) if mask is None else _own_integer(mask.threshold, "i4")


def _keys(key: Array) -> tuple[Array, int]:
    """Return the keys of a step, and the step from one to the next: members may share one."""
    return key, int(key.size > 1)


def _own_integer(x: Any, kind: str) -> tuple[Array | None, int]:
    """Return an array with a number for each member, if there is one, and a number.

    Raises
    ------
    TypeError
        If the array is of another type than kernels take.
    """
    if isinstance(x, int):
        return None, x - (x >> 63 << 64)  # the same bits, with a sign
    if x.dtype.str[1:] != kind or not x.flags.c_contiguous:
        raise TypeError(f"members have numbers of {x.dtype}: give a contiguous array of {kind}")
    return x, 0


class CudaKernels(CudaPiecewiseKernels):
    """The kernels of layers that CUDA kernels do in a launch or two, and those of its bases."""

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
        step = None if bias is None else member_step(out, bias)
        if step is None or not is_stack(out, *(() if z is None else (z,))):
            super().linear(x, weight_t, bias, out, activation, z)
            return
        self.product(x, weight_t, out)
        self._bias_activation(out, bias, step, z, out, activation)

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
        step = None if d_bias is None else member_step(dy, d_bias)
        if step is not None and is_stack(dy, kept):
            self._bias_activation_backward(dy, kept, d_bias, step, activation)
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
        known = activation.name != "identity" and (activation.mask is None or z.ndim in (2, 3))
        if known and is_dense(z, out):
            self._bias_activation(z, None, 0, None, out, activation)
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
            self._bias_activation_backward(dy, kept, None, 0, activation)
        else:
            super().activation_backward(activation, kept, dy, work)

    def sum_examples(self, x: Array, out: Array) -> None:
        """One pass by many blocks, however few the columns."""
        step = member_step(x, out)
        if step is not None and is_stack(x):
            self._bias_activation_backward(x, None, out, step, IDENTITY)
        else:
            super().sum_examples(x, out)

    def _bias_activation(
        self,
        x: Array,
        bias: Array | None,
        step: int,
        z: Array | None,
        out: Array,
        activation: ActivationSpec,
    ) -> None:
        alike = bias is None and activation.mask is None
        members, n, m = (1, *folded(x)) if alike else stack_shape(x)
        t = tiles(n, m, x.itemsize, members)
        numbers = n, m, t.wide, step, *_coded(activation), *_hidden(activation)
        self._launch_each("bias_activation", t, members, x, x, bias, z, out, *numbers)

    def _bias_activation_backward(
        self,
        dy: Array,
        kept: Array | None,
        total: Array | None,
        step: int,
        activation: ActivationSpec,
    ) -> None:
        dropped = _dropped(activation)
        alike = total is None and dropped[0] is None
        members, n, m = (1, *folded(dy)) if alike else stack_shape(dy)
        t = (tiles if total is None else tiles_to_add_up)(n, m, dy.itemsize, members)
        work = self._launcher.workspace() if total is not None else None
        numbers = n, m, t.wide, step, *_coded(activation), *dropped, work
        self._launch_each("bias_activation_backward", t, members, dy, dy, kept, total, *numbers)

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
        step, statistics = member_step(x, gamma, beta), (mean, variance, inverse_deviation)
        if step is None or not is_stack(x, *statistics, x_hat, out, *(() if z is None else (z,))):
            super().batch_norm(x, gamma, beta, eps, *statistics, x_hat, out, activation, z)
            return
        (members, *shape), kind = stack_shape(x), (*_coded(activation), *_hidden(activation))
        t = tiles_to_add_up(*shape, x.itemsize, members)
        arrays = x, gamma, beta, *statistics, x_hat, z, out
        numbers = *shape, t.wide, step, float(eps), *kind, self._launcher.workspace()
        self._launch_each("batch_norm", t, members, x, *arrays, *numbers)
        if t.grid[1] > 1:
            t = tiles(*shape, x.itemsize, members)
            given = x, gamma, beta, mean, inverse_deviation, x_hat, z, out
            self._launch_each("normalise", t, members, x, *given, *shape, t.wide, step, *kind)

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
        step = member_step(dy, gamma, d_gamma, d_beta)
        if step is None or not is_stack(dy, kept, x_hat, inverse_deviation, dx):
            super().batch_norm_backward(*arrays, row, dx, activation)
            return
        (members, *shape), kind = stack_shape(dy), (*_coded(activation), *_dropped(activation))
        t = tiles_to_add_up(*shape, dy.itemsize, members)
        numbers = *shape, t.wide, step, *kind, self._launcher.workspace()
        self._launch_each("batch_norm_backward", t, members, dy, *arrays, dx, *numbers)
        if t.grid[1] > 1:
            t = tiles(*shape, dy.itemsize, members)
            numbers = *shape, t.wide, step, *kind
            self._launch_each("normalise_backward", t, members, dy, *arrays, dx, *numbers)

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
        steps = member_step(x, gamma, beta), member_step(x, mean, variance)
        if None in steps or not is_stack(x, out):
            super().batch_norm_inference(x, gamma, beta, eps, mean, variance, row, out, activation)
            return
        members, n, m = stack_shape(x)
        t = tiles(n, m, x.itemsize, members)
        arrays = x, gamma, beta, mean, variance, out
        numbers = n, m, t.wide, *steps, float(eps), *_coded(activation)
        self._launch_each("standardise", t, members, x, *arrays, *numbers)

    def running_average(
        self, average: Array, value: Array, scale: float, fraction: float, row: Array
    ) -> None:
        """One pass."""
        step = member_step(value, average)
        if step is None or not is_stack(value):
            super().running_average(average, value, scale, fraction, row)
            return
        members, _, m = stack_shape(value)
        t, arrays = flat(m, value.itemsize, members), (average, value)
        numbers = float(scale), float(fraction), m, step
        self._launch_each("running_average", t, members, value, *arrays, *numbers)

    # -- dropout ----

    def dropout(self, x: Array, key: Array, threshold: Any, work: DropoutWork, out: Array) -> None:
        """One pass, bits included."""
        counters, (keys, key_step) = work.counters, _keys(key)
        step = member_step(counters, counters)
        if step is None or not is_stack(x, work.mask, out):
            super().dropout(x, key, threshold, work, out)
            return
        (members, n, m), words = stack_shape(x), counters.shape[-1]
        thresholds, common = _own_integer(threshold, "i4")
        t = tiles(n, words, 16, members)  # a thread takes one word
        arrays = x, counters, keys, thresholds, work.mask, out
        numbers = n, words, m, step, key_step, common
        self._launch_each("dropout", t, members, x, *arrays, *numbers)

    # -- categories ----

    def one_hot(self, x: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        step = member_step(out, x)
        if step is None or not is_stack(out):
            super().one_hot(x, work, out)
            return
        members, n, width = stack_shape(out)
        t = tiles(n, width, 16, members)  # a thread takes one column
        numbers = n, width, x.shape[-1], work.n_others, step
        arrays = x, work.source, work.categories, out
        self._launch_each("one_hot", t, members, x, *arrays, *numbers)

    def embedding(self, x: Array, weight: Array, work: CategoryWork, out: Array) -> None:
        """One pass."""
        steps = member_step(out, x), member_step(out, weight)
        if None in steps or not is_stack(out):
            super().embedding(x, weight, work, out)
            return
        members, n, width = stack_shape(out)
        t = tiles(n, width, 16, members)
        arrays = x, weight, work.source, work.sizes, work.starts, out
        numbers = n, width, x.shape[-1], work.n_others, work.n_dims, *steps
        self._launch_each("embedding", t, members, x, *arrays, *numbers)

    def embedding_backward(self, dy: Array, x: Array, work: CategoryWork, d_weight: Array) -> None:
        """One launch: a block looks through the batch for the examples of a category."""
        steps = member_step(dy, x), member_step(dy, d_weight)
        if None in steps or not is_stack(dy):
            super().embedding_backward(dy, x, work, d_weight)
            return
        (members, n, width), count = stack_shape(dy), len(work.coded)
        t = table_rows(max(size for _, size in work.coded), count, work.n_dims, members)
        arrays = dy, x, work.columns, work.sizes, work.starts, d_weight
        numbers = n, width, x.shape[-1], work.n_others, work.n_dims, count, *steps
        self._launch_each("embedding_backward", t, members, dy, *arrays, *numbers)

    # -- columns of numbers ----

    def periodic(
        self,
        x: Array,
        frequencies: Array,
        phases: Array | None,
        work: ColumnWork,
        scaled: Array,
        values: Array,
        angle: Array,
        out: Array,
    ) -> None:
        """One pass."""
        steps = member_step(out, x), member_step(out, frequencies)
        phase_step = 0 if phases is None else member_step(out, phases)
        if None in (*steps, phase_step) or not is_stack(out, values, angle):
            rest = work, scaled, values, angle, out
            super().periodic(x, frequencies, phases, *rest)
            return
        (members, rows, _), k = stack_shape(out), frequencies.shape[-1]
        sines = None if phases is None or angle is out else angle
        t = tiles(rows, k, 16, members)  # a thread takes one frequency
        numbers = rows, k, x.shape[-2], x.shape[-1], work.n_others, *steps, phase_step
        arrays = x, work.order, frequencies, phases, values, sines, out
        self._launch_each("periodic", t, members, out, *arrays, *numbers)

    def periodic_backward(
        self,
        dy: Array,
        y: Array,
        angle: Array,
        values: Array,
        frequencies: Array,
        scaled: Array,
        d_frequencies: Array,
        d_phases: Array | None,
        d_values: Array | None,
    ) -> None:
        """One pass; one more for the gradient of the numbers."""
        steps = member_step(dy, d_frequencies), member_step(dy, frequencies)
        phase_step = 0 if d_phases is None else member_step(dy, d_phases)
        if None in (*steps, phase_step) or not is_stack(dy, y, angle, values):
            rest = scaled, d_frequencies, d_phases, d_values
            super().periodic_backward(dy, y, angle, values, frequencies, *rest)
            return
        (members, rows, _), (c, k) = stack_shape(dy), frequencies.shape[-2:]
        waves, n = (dy, y, None if d_phases is None else angle), rows // c
        t = members_to_add_up(n, k, c, 16)
        arrays, numbers = (values, d_frequencies, d_phases), (rows, k, n)
        steps_of_sums = steps[0], phase_step
        self._launch_each(
            "periodic_backward", t, members, dy, *waves, *arrays, *numbers, *steps_of_sums
        )
        if d_values is not None:
            t = flat(rows, 16, members)
            arguments = *waves, frequencies, d_values, *numbers, steps[1]
            self._launch_each("periodic_values_backward", t, members, dy, *arguments)

    def place_blocks(
        self, x: Array, values: Array, rows: Array, work: ColumnWork, out: Array
    ) -> None:
        """One pass."""
        step = member_step(out, x)
        if step is None or not is_stack(out, values, rows):
            super().place_blocks(x, values, rows, work, out)
            return
        members, n, width = stack_shape(out)
        t = tiles(n, width, 16, members)  # a thread takes one column
        wide = (width - work.n_others) // len(work.columns)
        sizes = n, width, x.shape[-1], work.n_others, wide, rows.shape[-1]
        arrays = x, values, rows, work.order, out
        self._launch_each("place_blocks", t, members, x, *arrays, *sizes, step)

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
        kind = *_coded(activation), *_dropped(activation)
        numbers = rows, m, rows // k, len(x), t.wide, *kind
        arrays = dy, kept, x, scale, d_scale, d_bias
        self._launch("member_affine_backward", t, dy, *arrays, *numbers)
        if dx is not None and dx is not dy:
            t = flat(dx.size, dx.itemsize)
            self._launch("sum_members", t, dy, dy, dx, dx.size, rows // len(dx))
