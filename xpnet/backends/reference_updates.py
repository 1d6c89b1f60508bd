"""The reference kernels over the flat buffers: decay, clipping, and the optimisers' updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array
from .reference_sums import SumKernels
from .updates import Update


class UpdateKernels(SumKernels):
    """The reference kernels for one update; see `reference.Kernels`.

    p are the parameters and g the gradients, of shape (…, P).
    """

    def add_decay(self, g: Array, p: Array, factor: Any, scratch: Array) -> None:
        """In place: g ← g + factor · p, the gradient of factor/2 · ‖p‖².

        The factor is a number, or an array on the device: (1,), or (k, 1) for k members.
        """
        self.xp.multiply(p, factor, out=scratch)
        self.xp.add(g, scratch, out=g)

    def clip_norm(self, g: Array, limit: Any, norm: Array, scratch: Array) -> None:
        """In place: g ← g · min(1, c / ‖g‖). ``norm`` (…, 2) is scratch, as g is ``scratch``.

        The limit c is a number, or an array (k, 1) of k networks' own.

        ‖g‖ = m ‖g/m‖, where m = max |g|: squares of an exploding gradient would overflow.
        """
        xp = self.xp
        largest, factor = norm[..., :1], norm[..., 1:]
        xp.abs(g, out=scratch)
        xp.max(scratch, axis=-1, keepdims=True, out=largest)
        xp.maximum(largest, float(np.finfo(g.dtype).tiny), out=largest)
        xp.divide(g, largest, out=scratch)
        xp.multiply(scratch, scratch, out=scratch)
        xp.sum(scratch, axis=-1, keepdims=True, out=factor)
        xp.sqrt(factor, out=factor)
        xp.divide(limit, factor, out=factor)  # infinite where g = 0
        xp.divide(factor, largest, out=factor)
        xp.minimum(factor, 1.0, out=factor)
        xp.multiply(g, factor, out=g)

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
        """Update p and the moments, in place, by a row of `updates.UPDATES`.

        ``scalars``, of shape (1,), are the row's, and ``options`` its options' values. Where any of
        k networks has numbers of its own, scalars have shape (k, 1), and options may, in float64.
        ``scratch`` are as many arrays as p as `Update.registers_for` says. If the first
        ``n_decayed`` parameters of each network are to decay, one more scalar follows the row's:
        they are multiplied by it first. ``factors``, of shape (P,) or (k, P), are those that a row
        takes which `Update.with_factors` has made; such a row decays by itself.
        """
        if n_decayed:
            *scalars, keep = scalars
            decayed = p[..., :n_decayed]
            self.xp.multiply(decayed, keep, out=decayed)
        arrays = row.named(p, g, moments, scalars, factors) | row.options_per_member(options)
        row.program_for(options).run(self.xp, self.erf, arrays, scratch)
