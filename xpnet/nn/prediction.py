"""Prediction: a network's outputs for as many examples as there are, brought to where they live."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike
from ..backends.arrays import backend_of, from_dlpack
from ..backends.memory import explain
from ..backends.protocol import Backend
from ..checks import check_flag
from ..data.arrays import check_features
from ..locks import PATIENCE, ForkSafeLock
from .buffers import FlatBuffers, Workspace
from .few_rows import FewRows
from .loss import Loss
from .members import alone
from .passes import Bounds, Passes, clamp
from .prepared import PreparedPredictor


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
    buffers : FlatBuffers
        The network's arrays.

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
        buffers: FlatBuffers,
    ) -> None:
        self._passes, self._loss, self._backend = passes, passes.loss, backend
        self._alone = alone(loss)
        self._n_features, self._n_outputs = widths[0], widths[-1]
        k, leading_shape = passes.members, buffers.leading_shape
        self._leading_shape, self._dtype = leading_shape, buffers.dtype
        self._few_rows = FewRows(passes, buffers, backend, self._n_features, self._n_outputs)
        #: The axes of members, which have weights of their own or share them.
        self._members = leading_shape if k is None else (*leading_shape, k)
        each = max(widths[:-1]) * math.prod(self._members)
        self.chunk = max(1, min(8192, 2**22 // each))
        self._local = threading.local()

    def __call__(self, members: bool = False) -> PreparedPredictor:
        """Return what answers again and again, of the mean or of each member.

        Raises
        ------
        TypeError, ValueError
            If members is no truth value, or members are asked for and there are none.
        """
        return PreparedPredictor(self, self._backend, self.each_member(members))

    def each_member(self, wanted: bool) -> bool:
        """Return whether members' own predictions are wanted, which only members have."""
        if check_flag(wanted, "members") and not self._members:
            raise ValueError(
                "this is one network, not several: build it with members=k or EnsembleLinear layers"
            )
        return wanted

    def take_loss(self, loss: Loss) -> None:
        """Go on with another loss of the same kind, as it was described."""
        self._loss, self._alone = self._passes.loss, alone(loss)

    def _checked(self, X: ArrayLike) -> Array:
        return check_features(X, self._backend, self._n_features, self._dtype)

    def _in_chunks(
        self, X: ArrayLike, compute: Callable[[Array], Sequence[Array]], axis: int
    ) -> list[Array]:
        """Return what is computed from so many examples at a time, joined along their axis."""
        x, chunk, join = self._checked(X), self.chunk, self._backend.xp.concatenate
        try:
            pieces = [compute(x[start : start + chunk]) for start in range(0, x.shape[0], chunk)]
            if len(pieces) == 1:
                return [*pieces[0]]
            return [join(found, axis=axis) for found in zip(*pieces, strict=True)]
        except Exception as error:
            what, advice = "prediction", "Try fewer examples at a time"
            explain(self._backend, error, what, advice, self._passes.let_go)
            raise

    def _of_logits(
        self, X: ArrayLike, compute: Callable[[Array], Sequence[Array]], axis: int
    ) -> list[Array]:
        """Return what is computed from the logits, which it may use up."""
        z = self._few_rows.logits(X, self.chunk)
        if z is None:
            return self._in_chunks(X, lambda x: compute(self._logits(x)), axis)
        return [*compute(z)]

    @property
    def _turn(self) -> threading.RLock:
        """A lock of the thread's own, for which a fork in another thread waits."""
        turn: ForkSafeLock | None = getattr(self._local, "turn", None)
        if turn is None:
            turn = self._local.turn = ForkSafeLock(PATIENCE)
        return turn.lock

    def _logits(self, x: Array) -> Array:
        """Return the network's outputs for a chunk, shape (…, n, n_outputs)."""
        z = self._few_rows.logits(x, self.chunk)
        if z is None:
            with self._turn:
                z = self._passes.predict(x).copy()
        return z

    def logits(self, x: Array) -> Array:
        """Return the network's outputs for prepared features, (…, n, n_outputs), on the device."""
        starts = range(0, x.shape[0], self.chunk)
        pieces = [self._logits(x[start : start + self.chunk]) for start in starts]
        return self._backend.xp.concatenate(pieces, axis=-2)

    def decide(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the predictions, of the mean or of each member, where X lives."""
        axis = len(self._members) * members
        (found,) = self._of_logits(X, lambda z: [self._decided(z, members)], axis)
        return self._give_back(found, X, members)

    def probabilities(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the probabilities of the classes, the mean or each member's, where X lives."""

        def compute(z: Array) -> list[Array]:
            p = self._loss.probabilities(self._backend.kernels, z)
            return [p if members else self._mean(p)]

        (found,) = self._of_logits(X, compute, len(self._members) * members)
        return self._give_back(found, X, members)

    def both(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return the predictions and the probabilities of the classes, of one way through."""

        def compute(z: Array) -> list[Array]:
            decided = self._decided(z.copy())
            return [decided, self._mean(self._loss.probabilities(self._backend.kernels, z))]

        decided, p = self._of_logits(X, compute, 0)
        return self._give_back(decided, X), self._give_back(p, X)

    def spread(self, X: ArrayLike) -> Array:
        """Return the standard deviation between the members' probabilities, or values."""
        xp = self._backend.xp

        def compute(z: Array) -> list[Array]:
            if self._loss.has_probabilities:
                values = self._loss.probabilities(self._backend.kernels, z)
            else:
                values = self._loss.decide(xp, z)
            return [xp.std(values, axis=self._axes)]

        (found,) = self._of_logits(X, compute, 0)
        return self._give_back(found, X)

    def _decided(self, z: Array, members: bool = False) -> Array:
        """Return the predictions from logits, which are used up."""
        xp, loss = self._backend.xp, self._loss
        if members or not self._members:
            return loss.decide(xp, z)
        if not loss.has_probabilities:
            return self._mean(loss.decide(xp, z))
        return loss.choose(xp, self._mean(loss.probabilities(self._backend.kernels, z)))

    def _mean(self, values: Array) -> Array:
        """Return the mean of the members' values; NumPy's own takes three times as long of few."""
        if not self._members:
            return values
        total: Array = values.sum(axis=self._axes)
        total /= math.prod(self._members)
        return total

    @property
    def _axes(self) -> tuple[int, ...]:
        """The members' axes."""
        return tuple(range(len(self._members)))

    def outputs(self, X: ArrayLike, layers: Sequence[int] | None) -> list[Array]:
        """Return the outputs of layers, where X lives; of all for None."""
        wanted = self._passes.places(layers)
        found = self._in_chunks(X, lambda x: self._passes.one_by_one(x, wanted), -2)
        return [self._bring(output, X) for output in found]

    def evaluate(self, x: Array, y: Array, bounds: Bounds | None = None) -> dict[str, Any]:
        """Return loss and error on a prepared data set: the host waits at the end alone.

        Of members each is a list. With bounds, from the host, they are of clamped outputs.
        """
        xp, chunk, n = self._backend.xp, self.chunk, x.shape[0]
        sums, bounds = xp.zeros((2, *self._leading_shape), np.float64), self._on_device(bounds)
        for start in range(0, n, chunk):
            rows, labels = x[start : start + chunk], y[start : start + chunk]
            with self._turn:
                loss, errors = self._passes.evaluate(rows, labels, bounds)
                sums[0] += loss * float(rows.shape[0])
                sums[1] += errors
        total, errors = self._backend.to_host(sums)
        counts = [loss.error_count(xp, y) for loss in self._alone]
        return {
            "loss": (total / n).tolist(),
            "error": (errors / (counts if len(counts) > 1 else counts[0])).tolist(),
        }

    def evaluate_mean(self, x: Array, y: Array, bounds: Bounds | None = None) -> dict[str, float]:
        """Return loss and error of what the members' mean says of a prepared data set.

        With bounds, from the host, they are of the mean clamped to them.
        """
        chunk, n = self.chunk, x.shape[0]
        sums, bounds = self._backend.xp.zeros(2, np.float64), self._on_device(bounds)
        for start in range(0, n, chunk):
            labels = y[start : start + chunk]
            self._add_up(self._logits(x[start : start + chunk]), labels, bounds, sums)
        return self._means(sums, y)

    def evaluate_logits(self, z: Array, y: Array, bounds: Bounds | None = None) -> dict[str, float]:
        """Return what `evaluate_mean` does, of the members' logits (…, n, n_outputs) themselves."""
        sums = self._backend.xp.zeros(2, np.float64)
        self._add_up(z, y, self._on_device(bounds), sums)
        return self._means(sums, y)

    def _add_up(self, z: Array, labels: Array, bounds: Bounds | None, sums: Array) -> None:
        """Add the sums of losses and errors of the members' mean to ``sums``, (2,)."""
        xp, loss = self._backend.xp, self._alone[0]
        while z.ndim > 2:
            z = loss.average(xp, z)
        z, rows = clamp(xp, z, bounds), z.shape[0]
        new = Workspace(self._backend, (), self._dtype, rows).allocator("loss", rows)
        buffers = loss.buffers(new, self._n_outputs)
        loss.compute(self._backend.kernels, z, labels, 1.0 / rows, buffers)
        sums[0] += buffers.loss * float(rows)
        sums[1] += loss.error_sum(xp, z, labels)

    def _means(self, sums: Array, y: Array) -> dict[str, float]:
        total, errors = self._backend.to_host(sums).tolist()
        count = self._alone[0].error_count(self._backend.xp, y)
        return {"loss": total / len(y), "error": errors / count}

    def _on_device(self, bounds: Bounds | None) -> Bounds | None:
        if bounds is None:
            return None
        low, high = (self._backend.asarray(bound, self._dtype) for bound in bounds)
        return low, high

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
