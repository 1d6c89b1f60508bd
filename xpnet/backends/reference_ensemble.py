"""The reference kernels of members that share weights: each scales and shifts its own rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .._typing import Array
from .activations import IDENTITY, ActivationSpec
from .reference_sums import SumKernels


def by_member(x: Array, members: int) -> Array:
    """Return a view (…, k, n, m) of rows (…, k n, m), of which those of member 0 come first."""
    *leading_shape, rows, m = x.shape
    return x.reshape(*leading_shape, members, rows // members, m)


def _given(x: Array, rows: Array, members: int) -> Array:
    """Return x by member: all have the same where it has fewer rows than there are."""
    return by_member(x, members) if x.shape == rows.shape else x[..., None, :, :]


def _each_network(*arrays: Array | None) -> Iterator[tuple[Array, ...]]:
    """Yield the arrays of one network after the other, the first of which has two axes."""
    first = arrays[0]
    if first is None or first.ndim == 2:
        yield arrays  # type: ignore[misc]
        return
    for i in range(len(first)):
        yield from _each_network(*(None if array is None else array[i] for array in arrays))


class EnsembleKernels(SumKernels):
    """The reference kernels of members that share weights; see `reference.Kernels`.

    A batch of n examples has k n rows: all examples for member 0, then all for member 1, and so on.
    """

    activation: Callable[..., None]
    activation_backward: Callable[..., None]
    linear: Callable[..., None]
    linear_backward: Callable[..., None]

    def repeat_rows(self, x: Array, factor: float | None, members: int, out: Array) -> None:
        """Write x (…, n, m) once for each member to ``out`` (…, k n, m), times a factor if any."""
        rows, given = by_member(out, members), x[..., None, :, :]
        if factor is None:
            self.xp.copyto(rows, given)
        else:
            self.xp.multiply(given, factor, out=rows)

    def member_affine(
        self,
        x: Array,
        scale: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
        z: Array | None = None,
    ) -> None:
        """f(x ∘ s_k + b_k) for each member k.

        x (…, k n, m) has rows of each member, or x (…, n, m) is the same for all; ``scale`` and
        ``bias`` have shape (…, k, m). If there is an array ``z``, f's input is written to it too.
        """
        xp, before, k = self.xp, out if z is None else z, scale.shape[-2]
        rows = by_member(before, k)
        given = rows if x is before else _given(x, out, k)
        xp.multiply(given, scale[..., None, :], out=rows)
        if bias is not None:
            xp.add(rows, bias[..., None, :], out=rows)
        self.activation(activation, before, out)

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
        """δ = dy · f', ∂s_k = Σ δ ∘ x and ∂b_k = Σ δ over a member's rows, ∂x = δ ∘ s_k.

        Where all members take the same x, ∂x is the sum over them. ``kept`` is as for
        `activation_backward`. ``dy`` is used up, and ``dx`` may be dy. ``scratch``, as dy, may be
        x, if that is not needed any more; ∂x is computed only if ``dx`` is given.
        """
        xp, k = self.xp, scale.shape[-2]
        self.activation_backward(activation, kept, dy)
        delta, product = by_member(dy, k), by_member(scratch, k)
        given = product if x is scratch else _given(x, dy, k)
        if d_bias is not None:
            self.sum_examples(delta, d_bias[..., None, :])
        xp.multiply(delta, given, out=product)
        self.sum_examples(product, d_scale[..., None, :])
        if dx is None:
            return
        shared = x.shape != dy.shape
        rows = delta if dx is dy else product if shared else by_member(dx, k)
        xp.multiply(delta, scale[..., None, :], out=rows)
        if shared:
            xp.sum(rows, axis=-3, out=dx)

    def member_linear(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        out: Array,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """f(X_k W_kᵀ + b_k) for each member k, x and ``out`` as in `member_affine`.

        ``weight`` has shape (…, k, n_outputs, n_inputs), ``bias`` (…, k, n_outputs).
        """
        for given, w, b, rows in _each_network(x, weight, bias, out):
            each = by_member(rows, len(w))
            own = given if len(given) != len(rows) else by_member(given, len(w))
            shift = None if b is None else b[:, None, :]
            self.linear(own, w.swapaxes(-1, -2), shift, each, activation)

    def member_linear_backward(
        self,
        dy: Array,
        kept: Array,
        x: Array,
        weight: Array,
        d_weight: Array,
        d_bias: Array | None,
        dx: Array | None,
        scratch: Array,
        activation: ActivationSpec = IDENTITY,
    ) -> None:
        """∂W_k = δᵀ X_k, ∂b_k = Σ δ, ∂X_k = δ W_k: the sum of them where all have the same x.

        δ = dy · f', with ``kept`` as for `activation_backward`. ``dx`` as x may be ``scratch``,
        which has a row for each of dy, or None where ∂X is not needed. ``dy`` is used up.
        """
        networks = _each_network(dy, kept, x, weight, d_weight, d_bias, dx, scratch)
        for delta, f, given, w, d_w, d_b, total, rows in networks:
            k = len(w)
            each, at, own = by_member(delta, k), by_member(f, k), given
            if len(given) == len(delta):
                own = by_member(given, k)
            d_b = None if d_b is None else d_b[:, None, :]
            d_own = None if dx is None else by_member(rows, k)
            self.linear_backward(each, at, own, w, d_w, d_b, d_own, activation)
            if dx is not None and dx is not scratch:
                self.xp.sum(d_own, axis=-3, out=total)
