"""Members that are not trained, while the others are: they stay as they are, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._typing import Array, HostArray
from ..backends.protocol import Backend


class Freezing:
    """Holds members of a network as they are, through updates of all.

    An update computes all members alike. Those that are not trained are then put back from copies,
    over the flat buffers, by a mask on the device. While all are trained there are no copies, and
    nothing is put back.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    members : int or None
        How many there are; one network, None, can't be frozen.
    statistics : array, shape (k, S)
        What the way forward writes.
    updated : sequence of array, shape (k, P)
        What the update writes.

    Attributes
    ----------
    active : array of bool of NumPy, shape (k,)
        Which members are trained; set it by `set_active`, which writes into it.
    some : bool
        Whether some are not.
    """

    def __init__(
        self, backend: Backend, members: int | None, statistics: Array, updated: Sequence[Array]
    ) -> None:
        self._backend, self._arrays = backend, [statistics, *updated]
        count = 1 if members is None else members
        self.active: HostArray = np.ones(count, np.bool_)
        self.some = False
        self._frozen = backend.xp.zeros((count, 1), np.bool_)
        self._loss = backend.xp.zeros(count, statistics.dtype)
        self._copies: list[Array] = []

    def set_active(self, active: HostArray) -> None:
        """Train these members alone from now on; the others stay as they are now."""
        self.active[...] = active
        self.some = not self.active.all()
        self._frozen[...] = self._backend.asarray(~self.active[:, None])
        self.hold()

    def thaw(self, i: int) -> None:
        """Train a member again; the others' copies stay what they are put back from."""
        self.active[i] = True
        self.some = not self.active.all()
        self._frozen[i] = False

    def freeze(self, members: Sequence[int]) -> None:
        """Train these members no longer."""
        active = self.active.copy()
        active[list(members)] = False
        self.set_active(active)

    def hold(self) -> None:
        """Take the frozen members as they are now for what they stay."""
        if not self.some:
            return
        xp = self._backend.xp
        if not self._copies:
            self._copies = [xp.empty_like(array) for array in self._arrays]
        for copy, array in zip(self._copies, self._arrays, strict=True):
            xp.copyto(copy, array)

    def release(self) -> None:
        """Train all members again; steps that were captured must be forgotten as well."""
        if self.some:
            self.set_active(np.ones_like(self.active))
        self._copies = []

    # -- within a step ----

    def counted(self, loss: Array) -> Array:
        """Return the losses (k,) of a batch, 0 for frozen members, whose statistics go back."""
        xp = self._backend.xp
        xp.copyto(self._loss, loss)
        xp.copyto(self._loss, 0.0, where=self._frozen[:, 0])
        self._backend.kernels.put_back(self._arrays[0], self._copies[0], self._frozen)
        return self._loss

    def put_back(self) -> None:
        """Put back what the update has made of frozen members."""
        for array, copy in zip(self._arrays[1:], self._copies[1:], strict=True):
            self._backend.kernels.put_back(array, copy, self._frozen)
