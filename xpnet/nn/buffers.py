"""A network's memory: flat buffers for what is trained, and static workspaces for a batch.

All parameters of a network are one array, all gradients another; layers hold views. So an update
is one kernel, a checkpoint one copy, a gradient check one loop. Weights lie before everything else,
so weight decay applies to a slice.

A workspace holds the activations. It is made once for the largest batch; a shorter batch gets the
first rows of the same arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from .._typing import Array, DType, HostArray
from ..backends.memory import require
from ..backends.protocol import Backend
from ..checks import Numbers
from ..files import safetensors_files
from ..files.safetensors_files import ModelFileError
from ..randomness import Purpose, generator
from .layer import Fill, Layer

#: Where a named array of a layer lies in a flat buffer: layer, name, shape, first element.
Place = tuple[Layer, str, tuple[int, ...], int]


def lay_out(layers: list[Layer], *kinds: str) -> tuple[list[Place], int]:
    """Give each named array of the layers its place in a flat buffer.

    Parameters
    ----------
    layers : list of Layer
        The layers, built.
    *kinds : {"weight_shapes", "other_shapes", "statistic_shapes"}
        Which arrays, in this order: all of the first kind, then all of the second.

    Returns
    -------
    places : list of Place
        The arrays in the buffer's order.
    size : int
        The buffer's length.
    """
    places: list[Place] = []
    size = 0
    for kind in kinds:
        for layer in layers:
            for name, shape in getattr(layer, kind)().items():
                places.append((layer, name, shape, size))
                size += math.prod(shape)
    return places, size


def view(flat: Array, shape: tuple[int, ...], start: int) -> Array:
    """Return the view of a flat buffer (…, P) that holds an array (…, *shape)."""
    return flat[..., start : start + math.prod(shape)].reshape(*flat.shape[:-1], *shape)


class FlatBuffers:
    """The arrays of a network's layers, each kind in one flat buffer.

    Parameters
    ----------
    layers : list of Layer
        Built; they get views of the buffers.
    backend : Backend
        Where the arrays live.
    leading_shape : tuple of int
        (k,) for k networks trained at once, else ().
    dtype : dtype
        The arrays' type.
    given : sequence of array, or None
        Buffers that there are already, in the order below; None: new ones of zeros.

    Attributes
    ----------
    parameters, gradients, statistics : array, shape (…, P)
        The buffers: weights first, then the other parameters; running statistics apart.
    n_weights : int
        How many elements of `parameters` are weights.
    layers, leading_shape, dtype
        As given.
    """

    def __init__(
        self,
        layers: list[Layer],
        backend: Backend,
        leading_shape: tuple[int, ...],
        dtype: DType,
        given: Sequence[Array] | None = None,
    ) -> None:
        self.layers, self._backend = layers, backend
        self.leading_shape, self.dtype = leading_shape, dtype
        self._places, self.n_parameters = lay_out(layers, "weight_shapes", "other_shapes")
        self.n_weights = lay_out(layers, "weight_shapes")[1]
        self._statistic_places, size = lay_out(layers, "statistic_shapes")
        sizes = self.n_parameters, self.n_parameters, size
        if given is None:
            nbytes = sum(sizes) * math.prod(leading_shape) * dtype.itemsize
            require(backend, nbytes, "the network", "Give fewer members, or narrower layers")
        arrays = [self._zeros(size) for size in sizes] if given is None else given
        self.parameters, self.gradients, self.statistics = arrays
        for layer, name, shape, start in self._places:
            layer.parameters[name] = view(self.parameters, shape, start)
            layer.gradients[name] = view(self.gradients, shape, start)
        for layer, name, shape, start in self._statistic_places:
            layer.statistics[name] = view(self.statistics, shape, start)

    def _zeros(self, size: int) -> Array:
        return self._backend.zeros((*self.leading_shape, size), self.dtype)

    def initialize(self, seeds: Sequence[int]) -> None:
        """Set all to the initial values that the layers draw from the seed of each network."""
        for layer in self.layers:
            for name, array in (layer.parameters | layer.statistics).items():
                for place, seed in zip(np.ndindex(*self.leading_shape), seeds, strict=True):
                    draw = generator(seed, Purpose.WEIGHTS, layer.index)
                    value = layer.initial(name, draw)
                    on_host = isinstance(value, np.ndarray)
                    array[place] = self._backend.asarray(value, self.dtype) if on_host else value

    @property
    def named(self) -> dict[str, Array]:
        """Parameters and statistics by PyTorch's names for the same stack."""
        return {
            f"{layer.index}.{name}": array
            for layer in self.layers
            for name, array in (layer.parameters | layer.statistics).items()
        }

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in `parameters`, by its name, layer by layer."""
        places = sorted(self._places, key=lambda place: place[0].index)
        return {
            f"{layer.index}.{name}": slice(start, start + math.prod(shape))
            for layer, name, shape, start in places
        }

    @property
    def starts(self) -> dict[tuple[int, str], int]:
        """Where in its buffer each array begins, by the layer's place and the name."""
        places = [*self._places, *self._statistic_places]
        return {(layer.index, name): start for layer, name, _, start in places}

    def load(self, arrays: Mapping[str, HostArray], source: str) -> None:
        """Set parameters and statistics from host arrays; see `Network.load_state`."""
        named = self.named
        shapes = {name: tuple(array.shape) for name, array in named.items()}
        arrays = safetensors_files.check_arrays(arrays, shapes, self.dtype, source)
        for name, array in arrays.items():
            if name.endswith("running_var") and (array < 0).any():
                raise ModelFileError(f"{source}: {name} holds negative variances")
        for name, held in named.items():
            held[...] = self._backend.asarray(arrays[name])

    def name_parameter(self, i: int) -> str:
        """Return where an element of `parameters` belongs: layer, name and index.

        Examples
        --------
        >>> import xpnet as xn
        >>> net = xn.Network([xn.Linear(8), xn.Linear(3)], loss="mean_squared_error", n_features=4,
        ...                  device="cpu")
        >>> net.buffers.name_parameter(33)
        'layer 1 (Linear), weight[0, 1]'
        """
        for layer, name, shape, start in self._places:
            if start <= i < start + math.prod(shape):
                place = ", ".join(str(k) for k in np.unravel_index(i - start, shape))
                return f"layer {layer.index} ({type(layer).__name__}), {name}[{place}]"
        raise IndexError(f"there is no parameter {i}: there are {self.n_parameters}")


class Workspace:
    """Static arrays for batches of up to ``capacity`` examples.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    lead : tuple of int
        The axes before the examples: (k,) for k networks trained at once, else ().
    dtype : dtype
        The arrays' type where none is given.
    capacity : int
        The largest batch.
    """

    def __init__(
        self, backend: Backend, leading_shape: tuple[int, ...], dtype: DType, capacity: int
    ) -> None:
        self.backend, self.leading_shape, self.dtype, self.capacity = (
            backend,
            leading_shape,
            dtype,
            capacity,
        )
        self._arrays: dict[tuple[str, str, tuple[int, ...]], Array] = {}

    def allocator(self, owner: str, n: int, shared: bool = False, rows_each: int = 1) -> _Allocator:
        """Return what hands ``owner`` its arrays for n examples, of so many rows each.

        All networks may share them.
        """
        return _Allocator(self, owner, n, () if shared else self.leading_shape, rows_each)

    def held(self, owner: str, name: str) -> list[Array]:
        """Return the owner's arrays of a name."""
        return [a for key, a in self._arrays.items() if key[:2] == (owner, name)]

    def drop(self, ending: str) -> None:
        """Let go of the arrays of owners whose names end so."""
        kept = self._arrays.items()
        self._arrays = {key: array for key, array in kept if not key[0].endswith(ending)}

    def array(
        self,
        owner: str,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike | None,
        fill: Fill | None,
    ) -> Array:
        """Return the owner's array of that name and shape, made at the first call."""
        key = owner, name, shape
        if key not in self._arrays:
            if fill is None:
                self._arrays[key] = self.backend.xp.zeros(shape, dtype or self.dtype)
            else:
                self._arrays[key] = self.backend.asarray(fill(shape), dtype or self.dtype)
        return self._arrays[key]


class _Allocator:
    """`layers.Allocator` over a workspace, for one owner and one batch size.

    Attributes
    ----------
    scratch : list of array
        What it handed out without content.
    """

    def __init__(
        self,
        workspace: Workspace,
        owner: str,
        n: int,
        leading_shape: tuple[int, ...],
        rows_each: int,
    ) -> None:
        self._workspace, self._owner, self.n = workspace, owner, n * rows_each
        self._leading_shape, self._rows_each = leading_shape, rows_each
        self.scratch: list[Array] = []

    def times(self, factor: int) -> _Allocator:
        n, rows_each = self.n // self._rows_each, self._rows_each * factor
        made = _Allocator(self._workspace, self._owner, n, self._leading_shape, rows_each)
        made.scratch = self.scratch
        return made

    def rows(
        self, name: str, width: int, dtype: DTypeLike | None = None, fill: Fill | None = None
    ) -> Array:
        w, lead = self._workspace, self._leading_shape
        most = w.capacity * self._rows_each
        whole = w.array(self._owner, name, (*lead, most, width), dtype, fill)
        if not lead or fill is not None:
            part = whole[..., : self.n, :]
        else:
            shape = *lead, self.n, width  # contiguous as a whole: one array for elementwise loops
            part = whole.reshape(-1)[: math.prod(shape)].reshape(*shape)
        if fill is None:
            self.scratch.append(part)
        return part

    def row(self, name: str, width: int) -> Array:
        return self._array(name, 1, width)

    def scalar(self, name: str) -> Array:
        return self._array(name)

    def _array(self, name: str, *shape: int) -> Array:
        shape = *self._leading_shape, *shape
        array = self._workspace.array(self._owner, name, shape, None, None)
        self.scratch.append(array)
        return array

    def constant(self, name: str, value: HostArray) -> Array:
        return self._workspace.array(self._owner, name, value.shape, value.dtype, lambda _: value)

    def numbers(self, name: str, value: Numbers) -> float | Array:
        if not isinstance(value, tuple):
            return value
        column = np.reshape(value, (-1, 1, 1))
        return self._workspace.array(self._owner, name, column.shape, None, lambda _: column)
