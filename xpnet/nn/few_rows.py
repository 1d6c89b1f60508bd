"""Prediction of few examples: one call of a kernel for all layers, over the weights as they lie."""

from __future__ import annotations

import numpy as np

from .._typing import Array, ArrayLike
from ..backends.dense_stack import DenseStack, tabulate
from ..backends.protocol import Backend
from .buffers import FlatBuffers
from .members import own_numbers
from .passes import Passes

#: Up to so many numbers may come out of a layer for the examples that are gone through at a time:
#: more are no longer in a near cache, and need memory that the layers one by one don't.
ROOM = 2**20


class FewRows:
    """Predicts few examples where all layers are steps of a dense stack.

    Nothing of the network is copied or prepared, so that predictions follow its parameters whoever
    writes them; and nothing is shared, so that any number of threads may predict at once.

    Parameters
    ----------
    passes : Passes
        The way through the network; a new plan of it means that layers have changed.
    buffers : FlatBuffers
        The network's arrays.
    backend : Backend
        Where it is computed.
    n_features, n_outputs : int
        How many go in and come out.
    """

    def __init__(
        self,
        passes: Passes,
        buffers: FlatBuffers,
        backend: Backend,
        n_features: int,
        n_outputs: int,
    ) -> None:
        self._passes, self._buffers, self._backend = passes, buffers, backend
        self._n_features, self._n_outputs = n_features, n_outputs
        self._plan: object = None
        self._stack: DenseStack | None = None

    def logits(self, X: ArrayLike, most: int) -> Array | None:
        """Return the outputs for ``most`` examples or fewer, (…, n, n_outputs), for the caller.

        None: they are for the layers one by one, or to be refused with an error.
        """
        if type(X) is not np.ndarray or X.ndim != 2:
            return None
        if self._plan is not self._passes.plan:
            self._prepare()
        (n, m), buffers = X.shape, self._buffers
        stack = self._stack
        if stack is None or not n or m != self._n_features or X.dtype.kind not in "fiub":
            return None
        if n > most or not self._takes(n, stack):
            return None
        x = X if X.dtype is buffers.dtype else X.astype(buffers.dtype)
        out = np.empty((*buffers.leading_shape, n, self._n_outputs), buffers.dtype)
        arrays = x, buffers.parameters, buffers.statistics
        return out if self._backend.kernels.dense_stack(*arrays, stack, out) else None

    def _takes(self, n: int, stack: DenseStack) -> bool:
        """Return whether the kernel is faster with so many examples than the layers one by one."""
        kernels = self._backend.kernels
        if min(n, kernels.most_rows) * stack.widest > ROOM:
            return False
        if stack.calls_functions:
            return n <= kernels.most_rows_of_functions
        return n <= kernels.most_rows or n <= kernels.most_rows_alone

    def _prepare(self) -> None:
        """Ask the layers for their steps."""
        plan = self._passes.plan
        self._stack = self._tabulate()
        self._plan = plan

    def _tabulate(self) -> DenseStack | None:
        starts, steps = self._buffers.starts, []
        for layer in self._buffers.layers:
            found = None if own_numbers(layer) else layer.dense_steps()
            if found is None:
                return None
            for step in found:
                steps.append((step, [starts[layer.index, name] for name in step.names]))
        return tabulate(self._n_features, steps) if steps else None
