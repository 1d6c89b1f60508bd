"""Prediction: a network's outputs for as many examples as there are, brought to where they live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, DType
from ..backends.arrays import backend_of, from_dlpack
from ..backends.memory import explain
from ..backends.protocol import Backend
from ..data.arrays import check_features
from ..locks import PATIENCE, ForkSafeLock
from .buffers import Workspace
from .loss import Loss
from .members import alone
from .passes import Passes


class Predictor:
    """Computes what a network says of examples, so many at a time.

    Parameters
    ----------
    passes : Passes
        The way through the network.
    loss : Loss
        What goes with its outputs, as it was described.
    backend : Backend
        Where it is computed.
    widths : sequence of int
        How many features go into each layer, and how many come out of the last one.
    leading_shape : tuple of int
        (k,) for k networks at once, else ().
    dtype : dtype
        The network's.

    Attributes
    ----------
    chunk : int
        How many examples are computed at once: some 16 MB in the widest layer.
    """

    def __init__(
        self,
        passes: Passes,
        loss: Loss,
        backend: Backend,
        widths: Sequence[int],
        leading_shape: tuple[int, ...],
        dtype: DType,
    ) -> None:
        self._passes, self._loss, self._backend = passes, passes.loss, backend
        self._alone = alone(loss)
        self._n_features, self._n_outputs = widths[0], widths[-1]
        k, self._leading_shape, self._dtype = passes.members, leading_shape, dtype
        #: The axes of members, which have weights of their own or share them.
        self._members = leading_shape if k is None else (*leading_shape, k)
        each = max(widths[:-1]) * math.prod(self._members)
        self.chunk = max(1, min(8192, 2**22 // each))
        #: Predictions in several threads take turns: they write into the same static buffers.
        self._turn = ForkSafeLock(PATIENCE)

    def logits(self, X: ArrayLike) -> Array:
        """Return the network's outputs for examples, shape (…, n, n_outputs)."""
        try:
            return self._logits(self._checked(X))
        except Exception as error:
            what, advice = "prediction", "Try fewer examples at a time"
            explain(self._backend, error, what, advice, self._passes.let_go)
            raise

    def _checked(self, X: ArrayLike) -> Array:
        return check_features(X, self._backend, self._n_features, self._dtype)

    def _logits(self, x: Array) -> Array:
        xp, chunk = self._backend.xp, self.chunk
        z = xp.empty((*self._members, x.shape[0], self._n_outputs), self._dtype)
        for start in range(0, x.shape[0], chunk):
            part = x[start : start + chunk]
            with self._turn.lock:
                xp.copyto(z[..., start : start + chunk, :], self._passes.predict(part))
        return z

    def decide(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the predictions, of the mean or of each member, where X lives."""
        return self._give_back(self._decided(self.logits(X), members), X, members)

    def probabilities(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the probabilities of the classes, the mean or each member's, where X lives."""
        p = self._loss.probabilities(self._backend.kernels, self.logits(X))
        return self._give_back(p if members else self._mean(p), X, members)

    def both(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return the predictions and the probabilities of the classes, of one way through."""
        z = self.logits(X)
        decided = self._decided(z.copy())
        p = self._mean(self._loss.probabilities(self._backend.kernels, z))
        return self._give_back(decided, X), self._give_back(p, X)

    def spread(self, X: ArrayLike) -> Array:
        """Return the standard deviation between the members' probabilities, or values."""
        xp, z = self._backend.xp, self.logits(X)
        if self._loss.has_probabilities:
            values = self._loss.probabilities(self._backend.kernels, z)
        else:
            values = self._loss.decide(xp, z)
        return self._give_back(xp.std(values, axis=self._axes), X)

    def _decided(self, z: Array, members: bool = False) -> Array:
        """Return the predictions from logits, which are used up."""
        xp, loss = self._backend.xp, self._loss
        if members or not self._members:
            return loss.decide(xp, z)
        if not loss.has_probabilities:
            return self._mean(loss.decide(xp, z))
        return loss.choose(xp, self._mean(loss.probabilities(self._backend.kernels, z)))

    def _mean(self, values: Array) -> Array:
        """Return the mean of the members' values."""
        return self._backend.xp.mean(values, axis=self._axes) if self._members else values

    @property
    def _axes(self) -> tuple[int, ...]:
        """The members' axes."""
        return tuple(range(len(self._members)))

    def outputs(self, X: ArrayLike, layers: Sequence[int] | None) -> list[Array]:
        """Return the outputs of layers, where X lives; of all for None."""
        x, chunk, wanted = self._checked(X), self.chunk, self._passes.places(layers)
        pieces = [
            self._passes.one_by_one(x[start : start + chunk], wanted)
            for start in range(0, x.shape[0], chunk)
        ]
        join = self._backend.xp.concatenate
        return [self._bring(join(found, axis=-2), X) for found in zip(*pieces, strict=True)]

    def evaluate(self, x: Array, y: Array) -> dict[str, Any]:
        """Return loss and error on a prepared data set: the host waits at the end alone.

        Of members each is a list.
        """
        xp, chunk, n = self._backend.xp, self.chunk, x.shape[0]
        sums = xp.zeros((2, *self._leading_shape), np.float64)
        for start in range(0, n, chunk):
            rows, labels = x[start : start + chunk], y[start : start + chunk]
            with self._turn.lock:
                loss, errors = self._passes.evaluate(rows, labels)
                sums[0] += loss * float(rows.shape[0])
                sums[1] += errors
        total, errors = self._backend.to_host(sums)
        counts = [loss.error_count(xp, y) for loss in self._alone]
        return {
            "loss": (total / n).tolist(),
            "error": (errors / (counts if len(counts) > 1 else counts[0])).tolist(),
        }

    def evaluate_mean(self, x: Array, y: Array) -> dict[str, float]:
        """Return loss and error of what the members' mean says of a prepared data set."""
        xp, chunk, n, loss = self._backend.xp, self.chunk, x.shape[0], self._alone[0]
        sums = xp.zeros(2, np.float64)
        for start in range(0, n, chunk):
            z, labels = self._logits(x[start : start + chunk]), y[start : start + chunk]
            for _ in self._members:
                z = loss.average(xp, z)
            rows = z.shape[0]
            new = Workspace(self._backend, (), self._dtype, rows).allocator("loss", rows)
            buffers = loss.buffers(new, self._n_outputs)
            loss.compute(self._backend.kernels, z, labels, 1.0 / rows, buffers)
            sums[0] += buffers.loss * float(rows)
            sums[1] += loss.error_sum(xp, z, labels)
        total, errors = self._backend.to_host(sums).tolist()
        return {"loss": total / n, "error": errors / loss.error_count(xp, y)}

    def _give_back(self, result: Array, X: ArrayLike, members: bool = False) -> Array:
        """Return a result, of each member if so, where X lives; a single output loses its axis."""
        axes = len(self._members) * members + 2
        if result.shape[-1] == 1 and result.ndim == axes:
            result = result[..., 0]
        return self._bring(result, X)

    def _bring(self, result: Array, X: ArrayLike) -> Array:
        """Return a result where X lives."""
        target = backend_of(from_dlpack(X), self._backend)
        return result if target is self._backend else target.asarray(self._backend.to_host(result))
