"""Members one by one: each as a network of its own, over the arrays that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._typing import Array, HostArray
from ..data.batches import take_rows
from .buffers import FlatBuffers, Workspace
from .description import check_layers
from .layer import Fill
from .members import member_of
from .network import Network
from .passes import Passes
from .prediction import Predictor


class MemberView:
    """Member i of a network, over the same parameters, gradients and statistics.

    What is written here is written there: nothing is copied.

    Parameters
    ----------
    network : Network
        With members.
    i : int
        Which one.

    Attributes
    ----------
    parameters, gradients, statistics : array, shape (P,)
        Views of the network's flat buffers.
    step_key : array, uint64, shape (1,)
        A view of the network's.
    passes, predictor : Passes, Predictor
        The way through the member alone.
    """

    leading_shape: tuple[int, ...] = ()
    members = None

    def __init__(self, network: Network, i: int) -> None:
        self.backend, self.dtype, self.min_batch = network.backend, network.dtype, network.min_batch
        self.n_weights = network.n_weights
        flat = network.parameters, network.gradients, network.statistics
        self.parameters, self.gradients, self.statistics = views = [array[i] for array in flat]
        self.step_key = network.step_key[i, 0]
        loss = member_of(network.loss, i)
        layers = check_layers([member_of(layer, i) for layer in network.layers], loss)
        width = network.n_features
        for index, layer in enumerate(layers):
            width = layer.build(index, width, layers[index + 1 :])
        buffers = FlatBuffers(layers, self.backend, (), self.dtype, views)
        network.scheduled.of_member(layers, i)
        for layer in layers:
            layer.connect(network.seeds[i], self.step_key)
            layer.bind(self.backend.kernels)
        widths = [*(layer.n_inputs for layer in layers), width]
        self.passes = Passes(layers, width, loss, self.backend, (), self.dtype)
        self.predictor = Predictor(self.passes, loss, self.backend, widths, buffers)


class MemberWorkspace(Workspace):
    """A workspace that members use in turn; what is filled once and for all each has of its own."""

    def __init__(self, shared: Workspace, i: int) -> None:
        super().__init__(shared.backend, (), shared.dtype, shared.capacity)
        self._shared, self._i = shared, i

    def array(
        self,
        owner: str,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike | None,
        fill: Fill | None,
    ) -> Array:
        """Return the owner's array of that name, made at the first call."""
        owner = owner if fill is None else f"{owner}{_mark(self._i)}"
        return self._shared.array(owner, name, shape, dtype, fill)


def _mark(i: int) -> str:
    """Return what the owner's name ends with of an array that member i has of its own."""
    return f" of member {i}"


class MemberViews:
    """All members of a network one by one, in one workspace.

    Parameters
    ----------
    network : Network
        With members.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.each = [MemberView(network, i) for i in range(len(network.seeds))]
        self._workspaces: dict[bool, Workspace] = {}

    def renew(self, i: int) -> None:
        """Look at the network that has member i's place now."""
        self.each[i] = MemberView(self._network, i)
        for training, shared in self._workspaces.items():
            shared.drop(_mark(i))
            self.each[i].passes.adopt(MemberWorkspace(shared, i), training)

    def reserve(self, n: int, training: bool) -> None:
        """Make the workspace large enough for batches of n examples, if it is not."""
        if training in self._workspaces and self._workspaces[training].capacity >= n:
            return
        net = self._network
        shared = self._workspaces[training] = Workspace(net.backend, (), net.dtype, n)
        for i, view in enumerate(self.each):
            view.passes.adopt(MemberWorkspace(shared, i), training)
        if training:  # what was captured with the smaller one is bound to it
            net.passes.generation += 1

    def evaluate(self, x: Array, y: Array, rows: Sequence[HostArray]) -> dict[str, Any]:
        """Return loss and error of each member on rows of its own of a prepared data set."""
        found = [
            predictor.evaluate(take_rows(x, chosen), take_rows(y, chosen))
            for predictor, chosen in zip(self.predictors(max(map(len, rows))), rows, strict=True)
        ]
        return {name: [measured[name] for measured in found] for name in found[0]}

    def predictors(self, n: int) -> list[Predictor]:
        """Return what predicts for each member alone, ready for up to n examples."""
        self.reserve(min(n, self.each[0].predictor.chunk), training=False)
        return [view.predictor for view in self.each]
