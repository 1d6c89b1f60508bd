"""The way through a network: which layers are fused, and the buffers of each batch size."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .._typing import Array, ArrayLike, DType, Namespace
from ..backends.activations import IDENTITY, ActivationSpec
from ..backends.protocol import Backend
from ..backends.reference_ensemble import by_member
from ..backends.work import LossBuffers
from .buffers import Workspace
from .layer import Layer, LayerBuffers
from .loss import Loss
from .members import own_numbers
from .prediction_replays import PredictionReplays
from .repetition import Repetition

#: Batch sizes whose buffers are kept: each holds views alone, but a caller may try every size.
MOST_SIZES = 64


Forward = Callable[[Array, LayerBuffers], Array]


class Call(NamedTuple):
    """What a pass calls: a layer's forward or backward, with its buffers."""

    layer: Layer
    function: Forward
    buffers: LayerBuffers


class Bound(NamedTuple):
    """What a pass over n examples calls, one after the other, and the buffers of its loss.

    Where an example has a row for each member, so have its labels, by a ``repetition``. The
    ``scratch`` is what the layers write into.
    """

    forward: list[Call]
    backward: list[Call]
    loss: LossBuffers
    repetition: Repetition | None
    scratch: Sequence[Array]


class Room:
    """A workspace and what is bound to it, by the number of examples and of the input's axes."""

    def __init__(self, backend: Backend) -> None:
        self.workspace: Workspace | None = None
        self.bound: dict[tuple[int, int], Bound] = {}
        self.replays = PredictionReplays(backend)


def through(calls: list[Call], x: Array) -> Array:
    """Return what comes out of calls, one after the other."""
    for _, function, buffers in calls:
        x = function(x, buffers)
    return x


#: The least and the largest that outputs may be, each of shape (n_outputs,).
Bounds = tuple[Array, Array]


def clamp(xp: Namespace, z: Array, bounds: Bounds | None) -> Array:
    """Return outputs held between bounds, if there are any."""
    return z if bounds is None else xp.minimum(xp.maximum(z, bounds[0]), bounds[1])


class Passes:
    """Forward and backward passes of layers, over static buffers.

    Parameters
    ----------
    layers : list of Layer
        Built, with their arrays in place.
    n_outputs : int
        Number of the last one's outputs.
    loss : Loss
        What is computed from the last one's output.
    backend : Backend
        Where it is computed.
    leading_shape : tuple of int
        (k,) for k networks at once, else ().
    dtype : dtype
        The type of all buffers.

    Attributes
    ----------
    members : int or None
        How many rows of the output an example has, of members that share weights; None: there are
        no members, and it has one.
    generation : int
        How often the buffers for training were made anew: a captured step is bound to those that
        it was captured with.
    """

    def __init__(
        self,
        layers: list[Layer],
        n_outputs: int,
        loss: Loss,
        backend: Backend,
        leading_shape: tuple[int, ...],
        dtype: DType,
    ) -> None:
        self._layers, self._n_outputs, self.loss, self._backend = layers, n_outputs, loss, backend
        self._leading_shape, self._dtype = leading_shape, dtype
        self.plan = self._fuse()
        expansions = [layer.expansion for layer in layers if layer.expansion is not None]
        self.members = math.prod(expansions) if expansions else None
        self._first_trained = next(layer.index for layer in layers if layer.parameters)
        #: For training; each thread that predicts has others of its own.
        self._training, self._local = Room(backend), threading.local()
        self._trained: Bound | None = None
        self.generation = 0

    # -- which layers are fused ----

    def _fuse(self) -> list[tuple[Layer, ActivationSpec]]:
        """Return the layers, but for those that the one before computes as well."""
        plan: list[tuple[Layer, ActivationSpec]] = []
        for layer in self._layers:
            fused = self._fused(*plan[-1], layer) if plan else None
            if fused is None:
                plan.append((layer, IDENTITY))
            else:
                plan[-1] = plan[-1][0], fused
        return plan

    def _fused(
        self, before: Layer, activation: ActivationSpec, layer: Layer
    ) -> ActivationSpec | None:
        """Return what a layer, with its activation so far, computes along with the next one."""
        kernels = self._backend.kernels
        if not before.fuses_activation:
            return None
        if activation is IDENTITY:
            spec = layer.activation
            return spec if spec is not None and spec.name in kernels.fusible else None
        mask = layer.mask
        fuses = kernels.fuses_dropout and activation.row.fuses_dropout
        if mask is None or activation.mask or not fuses:
            return None
        return activation.masked(mask)

    # -- buffers ----

    def _room(self, training: bool) -> Room:
        """Return the room for training, or the thread's own for prediction."""
        if training:
            return self._training
        room: Room | None = getattr(self._local, "room", None)
        if room is None:
            room = self._local.room = Room(self._backend)
        return room

    def reserve(self, n: int, training: bool) -> Workspace:
        """Make the workspace large enough for batches of n examples, if it is not; return it."""
        workspace = self._room(training).workspace
        if workspace is None or workspace.capacity < n:
            workspace = Workspace(self._backend, self._leading_shape, self._dtype, n)
            self.adopt(workspace, training)
        return workspace

    def adopt(self, workspace: Workspace, training: bool) -> None:
        """Use a workspace from now on, in place of the one before; in prediction in this thread."""
        room = self._room(training)
        room.workspace = workspace
        room.bound.clear()
        room.replays.clear()
        if training:
            self._trained = None  # it would keep the smaller one in memory
            self.generation += 1

    def held(self, layer: int, name: str) -> list[Array]:
        """Return the arrays that a layer's buffers for training hold under a name, whole."""
        workspace = self._training.workspace
        return [] if workspace is None else workspace.held(str(layer), name)

    def take_member(self, i: int) -> None:
        """Go on with layers that have another network's options for member i, in place."""
        for _, activation in self.plan:
            activation.take_member(i)

    def rebuild(self, loss: Loss) -> None:
        """Begin anew with layers that were bound anew, and with a loss."""
        self.loss, self.plan = loss, self._fuse()
        self.let_go()

    def let_go(self) -> None:
        """Free the buffers for batches; the next batch makes them anew."""
        self._training, self._local = Room(self._backend), threading.local()
        self._trained = None
        self.generation += 1

    def bind(self, n: int, training: bool, axes: int = 2) -> Bound:
        """Return what a pass over n examples calls; with three axes each member has its own."""
        room = self._room(training)
        found = room.bound.get((n, axes))
        if found is None:
            if len(room.bound) > MOST_SIZES:
                room.bound.clear()
            found = self._bind(n, training, axes)  # which may make the workspace anew
            room.bound[n, axes] = found
        return found

    def _bind(self, n: int, training: bool, axes: int) -> Bound:
        workspace = self.reserve(n, training)
        steps: list[tuple[Layer, LayerBuffers]] = []
        scratch: list[Array] = []
        given: dict[int, Array] = {}
        shared = axes == 2 and bool(self._leading_shape)
        x, overwrite = None, False  # the input is the caller's: the first layer leaves it alone
        rows_each = 1
        for layer, activation in self.plan:
            alone = shared and layer.of_input_alone and not own_numbers(layer)
            new = workspace.allocator(str(layer.index), n, alone, rows_each)
            if shared and not alone:
                shared = False
                if not layer.takes_shared_input:
                    given[layer.index] = x = new.rows("given", layer.n_inputs)
            if training:
                b = layer.buffers(new, x, overwrite, layer.index > self._first_trained)
            else:
                b = layer.inference_buffers(new, x, overwrite)
            dropped = activation.mask is not None and not training
            b.activation = activation.masked(None) if dropped else activation
            wants_input = training and activation.row.derivative_from == "input"
            factor = layer.expansion or 1
            b.z = new.times(factor).rows("z", b.y.shape[-1]) if wants_input else None
            rows_each *= factor
            b.kept = b.z if wants_input else b.y
            steps.append((layer, b))
            scratch += new.scratch
            fused = activation is not IDENTITY
            kept = training and (layer.keeps_output or (fused and not wants_input))
            # What passes its input on does not make it free.
            overwrite = b.y is not None and not kept and (b.y is not x or overwrite)
            x = b.y
        forward = [
            Call(s, self._giving(given.get(s.index), s.forward if training else s.infer), b)
            for s, b in steps
        ]
        trained = [(s, b) for s, b in reversed(steps) if s.index >= self._first_trained]
        backward = [Call(s, s.backward, b) for s, b in trained]
        # In prediction the loss is that of the members' average.
        new = workspace.allocator("loss", n, rows_each=rows_each if training else 1)
        loss, repetition = self.loss.buffers(new, self._n_outputs), None
        if training and rows_each > 1:
            repetition = Repetition(new, self.loss, self._n_outputs, self._dtype, rows_each)
        return Bound(forward, backward, loss, repetition, scratch)

    def _giving(self, copies: Array | None, function: Forward) -> Forward:
        """Return a layer's way forward, from what members share by way of a copy for each."""
        if copies is None:
            return function

        def forward(x: Array, b: LayerBuffers) -> Array:
            self._backend.xp.copyto(copies, x)
            return function(copies, b)

        return forward

    # -- the way of a mini-batch ----

    def holds(self, x: ArrayLike, y: ArrayLike) -> bool:
        """Return whether a batch is on the device, in the types and shapes of prepared data."""
        owns = self._backend.owns
        return (
            owns(x)
            and owns(y)
            and x.dtype == self._dtype
            and x.shape[:-2] in ((), self._leading_shape)
            and x.ndim > 1
            and x.shape[-2] > 0
            and x.shape[-1] == self._layers[0].n_inputs
            and x.flags.c_contiguous
            and y.shape == (*x.shape[:-2], *self.loss.target_shape(x.shape[-2], self._n_outputs))
            and y.dtype == self.loss.target_dtype(self._dtype)
            and y.flags.c_contiguous
        )

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the logits of a batch; see `Network.forward`."""
        bound = self.bind(x.shape[-2], training, x.ndim)
        if training:
            self._trained = bound
        return through(bound.forward, x)

    def backward(self, dz: Array) -> None:
        """Write the gradients of all parameters, from that of the logits; it is used up."""
        if self._trained is None:
            raise RuntimeError("backward without a forward pass: call forward(x, training=True)")
        for _, function, buffers in self._trained.backward:
            dz = function(dz, buffers)

    def loss_and_gradient(self, x: Array, y: Array, example_weight: Array | None = None) -> Array:
        """Run a batch forward and backward: write `gradients`, return the loss.

        Parameters
        ----------
        x, y : array
            As `forward` and the loss take them, on the device.
        example_weight : array, shape (n, 1), or None
            The examples' weights, which add up to 1; None: each has 1/n.

        Returns
        -------
        array, shape (…)
            The mean loss over the batch, in a static buffer; no L2 term.
        """
        n, axes = x.shape[-2], x.ndim
        bound = self._trained = self._training.bound.get((n, axes)) or self.bind(n, True, axes)
        for _, function, buffers in bound.forward:
            x = function(x, buffers)
        if bound.repetition is not None:
            y, example_weight = bound.repetition(self._backend.kernels, y, example_weight)
        share = 1.0 / x.shape[-2] if example_weight is None else example_weight
        self.loss.compute(self._backend.kernels, x, y, share, bound.loss)
        dz = bound.loss.dz
        for _, function, buffers in bound.backward:
            dz = function(dz, buffers)
        return bound.loss.loss

    def predict(self, x: Array) -> Array:
        """Return the logits of a batch in prediction, (…, n, m): with an axis for members.

        That is one more than `forward` has, where an example has rows of each. A size that comes
        again is replayed, where the backend can.
        """
        bound = self.bind(x.shape[-2], training=False, axes=x.ndim)
        replays = self._room(training=False).replays
        z = replays(partial(through, bound.forward), x, bound.scratch)
        return z if self.members is None else by_member(z, self.members)

    def evaluate(self, x: Array, y: Array, bounds: Bounds | None = None) -> tuple[Array, Array]:
        """Return a batch's mean loss, and what it adds to the error, as in prediction.

        Where members share weights both are of the average of their predictions. With bounds they
        are of outputs that are clamped to them.
        """
        z = self.predict(x)
        if self.members is not None:
            z = self.loss.average(self._backend.kernels.xp, z)
        z = clamp(self._backend.xp, z, bounds)
        buffers = self.bind(x.shape[-2], training=False).loss
        self.loss.compute(self._backend.kernels, z, y, 1.0 / x.shape[-2], buffers)
        return buffers.loss, self.loss.error_sum(self._backend.xp, z, y)

    def places(self, layers: Sequence[int] | None) -> Sequence[int]:
        """Return the places of layers, counted from the first one."""
        places = range(len(self._layers))
        try:
            return places if layers is None else [places[i] for i in layers]
        except (IndexError, TypeError) as error:
            raise ValueError(
                f"layers is {layers!r}: give a list of whole numbers from 0 to {len(places) - 1}, "
                "or from -1 down for the last ones"
            ) from error

    def one_by_one(self, x: Array, layers: Sequence[int]) -> list[Array]:
        """Return the outputs of layers, none fused with another, as in prediction."""
        a = self._backend.xp.zeros((*self._leading_shape, *x.shape[-2:]), self._dtype)
        self._backend.xp.copyto(a, x)
        workspace = Workspace(self._backend, self._leading_shape, self._dtype, x.shape[-2])
        found, members = [], None
        for layer in self._layers:
            new = workspace.allocator(str(layer.index), x.shape[-2], rows_each=members or 1)
            b = layer.inference_buffers(new, None, overwrite=False)
            b.activation, b.z = IDENTITY, None
            a = layer.infer(a, b)
            members = layer.expansion or members
            found.append(a if members is None else by_member(a, members))
        return [found[i] for i in layers]
