"""The network: a stack of layers with a loss, its flat buffers, and the way through them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._typing import Array, ArrayLike, HostArray, Tree
from ..backends.arrays import backend_of
from ..backends.protocol import Backend
from ..backends.select import select, why_no_cuda
from ..checks import check_count
from ..data.arrays import as_array, check_features, check_lengths
from ..data.whole_numbers import warn_of_merged
from ..files import safetensors_files
from . import losses
from .buffers import FlatBuffers
from .claim import Claim
from .description import check_dtype, check_layers
from .extraction import extract
from .layer import Layer
from .loss import Loss
from .members import (
    check_own_numbers,
    leading_shape,
    on_device,
    resolve_seeds,
)
from .passes import Passes
from .prediction import Predictor
from .scheduled_numbers import ScheduledNumbers


class Network:
    """A feed-forward network: layers in a row, and the loss that they are trained for.

    Parameters
    ----------
    layers : sequence of Layer
        From the input to the output; the last one's outputs are the logits. The layers are copied:
        the ones given stay plain descriptions.
    loss : {"softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", \
            "half_squared_error", "poisson_deviance", "huber", "quantile"} or Loss
        What to minimise: a name, also that of a `Loss` of one's own, or such an object.
    n_features : int
        Number of inputs.
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        Where the network lives. "auto" takes a CUDA device if there is one.
    dtype : {"float32", "float64"}
        The precision of everything.
    random_state : int, sequence of int, or None
        The seed of initial weights, mini-batches and dropout masks. None draws one, which is then
        found in ``random_state``.
    fused : bool
        False: the reference kernels everywhere.
    precision : {"full", "tf32", "bfloat16"}
        On a GPU, faster products of float32 numbers whose factors are rounded, to 10 bits of
        mantissa or to 7; see `select`. Elsewhere it changes nothing.
    members : int or None
        Train so many networks k at once, whose arrays have one more axis, the first: an ensemble,
        folds, or a search. Each becomes what it becomes when it is trained alone. Member i has
        seed ``random_state`` + i, or the i-th of k seeds. Dropout's p and label smoothing may be k
        numbers. Predictions are of the members' mean.

    Attributes
    ----------
    parameters, gradients, statistics : array, shape (…, P)
        Flat buffers of all layers: weights first, then the other parameters; running statistics
        apart. Write into them, never rebind them.
    n_weights : int
        How many elements of `parameters` are weights, which L2 applies to.
    layers : list of Layer
        The network's own layers, whose arrays are views of the flat buffers.
    passes, predictor : Passes, Predictor
        The way through them, over static buffers, and predictions by way of it. Called, as
        ``net.predictor()``, it returns a `PreparedPredictor` for callers that ask again and again.
    scheduled : ScheduledNumbers
        What of layers changes from step to step; the trainer sets it.
    claim : Claim
        Held by the thread that trains it.
    members : int or None
        How many networks these are; None: one, without an axis for it.
    seeds : tuple of int
        The seed of each member; of one network its own.

    Raises
    ------
    TypeError, ValueError
        If the description makes no sense; the message says what to give.
    DeviceError
        If a CUDA device is asked for and there is none.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Linear(8), xn.ReLU(), xn.Linear(3)],
    ...                  loss="softmax_cross_entropy", n_features=4, device="cpu")
    >>> net.n_parameters
    67
    >>> net.predict(np.zeros((2, 4)))
    array([0, 0])
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        loss: str | Loss,
        n_features: int,
        device: str | Backend = "auto",
        dtype: DTypeLike = "float32",
        random_state: int | Sequence[int] | None = 0,
        fused: bool = True,
        precision: str = "full",
        members: int | None = None,
    ) -> None:
        backend = select(device, fused=fused, precision=precision)
        self._build(layers, backend, loss, n_features, dtype, random_state, members)
        self.initialize()

    @classmethod
    def blank(cls, layers: Sequence[Layer], backend: Backend, **config: Any) -> Network:
        """Return a network of a description as `config` gives it, with zeros for arrays."""
        network = cls.__new__(cls)
        network._build(layers, backend, **config)
        return network

    def _build(
        self,
        layers: Sequence[Layer],
        backend: Backend,
        loss: str | Loss,
        n_features: int,
        dtype: DTypeLike,
        random_state: int | Sequence[int] | None,
        members: int | None = None,
    ) -> None:
        self.n_features = check_count(n_features, "n_features")
        self.dtype = check_dtype(dtype)
        self.leading_shape = leading_shape(members)
        self.members = self.leading_shape[0] if self.leading_shape else None
        self.random_state, self.seeds = resolve_seeds(random_state, self.members)
        self.loss = losses.resolve(loss)
        self.layers = check_layers(layers, self.loss)
        for thing in (*self.layers, self.loss):
            check_own_numbers(thing, self.members)
        self.backend, self.claim = backend, Claim()
        self.n_outputs = self.n_features
        for index, layer in enumerate(self.layers):
            self.n_outputs = layer.build(index, self.n_outputs, self.layers[index + 1 :])
        if not any(layer.weight_shapes() or layer.other_shapes() for layer in self.layers):
            raise ValueError("no layer has parameters, as Linear has: there is nothing to train")
        self.min_batch = max(layer.min_batch for layer in self.layers)
        with self.backend.active():
            self._allocate()

    def _allocate(self) -> None:
        backend, lead, dtype = self.backend, self.leading_shape, self.dtype
        self.buffers = FlatBuffers(self.layers, backend, lead, dtype)
        self.parameters, self.gradients = self.buffers.parameters, self.buffers.gradients
        self.statistics = self.buffers.statistics
        self.n_parameters, self.n_weights = self.buffers.n_parameters, self.buffers.n_weights
        #: 64 bits of each member, for its dropout masks of a step; the trainer sets them.
        self.step_key = backend.xp.zeros((*lead, 1, 1) if lead else 1, np.uint64)
        self.scheduled = ScheduledNumbers.at_start(self.layers, backend, lead)
        for layer in self.layers:
            layer.connect(self.seeds if lead else self.seeds[0], self.step_key)
            layer.bind(backend.kernels)
        loss = on_device(self.loss, backend, dtype, 1, 1)
        self.passes = Passes(self.layers, self.n_outputs, loss, backend, lead, dtype)
        widths = [self.n_features, *(layer.n_inputs for layer in self.layers), self.n_outputs]
        self.predictor = Predictor(self.passes, self.loss, backend, widths, self.buffers)

    def initialize(self) -> None:
        """Set all parameters and statistics to their initial values, drawn from `random_state`."""
        with self.claim, self.backend.active():
            self.buffers.initialize(self.seeds)

    def clone(self, where: str | Backend | None = None) -> Network:
        """Return an untrained network of the same description, with arrays of its own.

        Parameters
        ----------
        where : {"auto", "cpu", "cuda", "cuda:N"}, Backend or None
            The device that it is to live on; None: on this network's device.
        """
        device = self.backend if where is None else where
        return Network(self.layers, device=device, **self._options())

    def member(self, i: int) -> Network:
        """Return a copy of member i as a network of its own, also where members share weights.

        Parameters
        ----------
        i : int
            Which one, counted from 0; −1 is the last.

        Raises
        ------
        ValueError, IndexError
            If this is one network, or has no such member.

        Examples
        --------
        >>> import xpnet as xn
        >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=4,
        ...                  device="cpu", random_state=5, members=3)
        >>> net.parameters.shape, net.member(1).parameters.shape, net.member(1).random_state
        ((3, 5), (5,), 6)
        """
        self.predictor.each_member(True)
        return extract(self, i)

    def copy_arrays(self, parameters: Array, statistics: Array, place: Any = ...) -> None:
        """Copy the device's parameters and statistics, of all members or one."""
        with self.backend.active():
            self.parameters[place], self.statistics[place] = parameters, statistics

    # -- the way of a mini-batch ----

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the logits of a batch.

        Parameters
        ----------
        x : array, shape (n, n_features)
            On the network's device, in its dtype: nothing is checked here.
        training : bool
            With dropout and the batch's own statistics, and ready for `backward`.

        Returns
        -------
        array, shape (…, n, n_outputs)
            A static buffer: the next call writes over it.
        """
        return self.passes.forward(x, training)

    def backward(self, dz: Array) -> None:
        """Write the gradients of all parameters, from that of the logits.

        Parameters
        ----------
        dz : array, shape (…, n, n_outputs)
            The loss's gradient with respect to the logits of the last `forward` in training. It is
            used up.
        """
        self.passes.backward(dz)

    # -- prediction ----

    def predict(self, X: ArrayLike, *, members: bool = False) -> Array:
        """Return the predictions for examples; with members, of the mean of what they say.

        Those of a row alone and of the same row in a batch may differ in the last bits.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.
        members : bool
            Each member's own predictions, on a first axis.

        Returns
        -------
        array, where X lives
            Classes 0 … m−1, shape (n,), for softmax; 0 or 1, shape (n,) or (n, q), for sigmoid;
            values, shape (n,) or (n, q), for regression. Members' mean is that of their
            probabilities, or of their values.

        Raises
        ------
        TypeError, ValueError
            If X has another shape, holds no numbers, or values that are NaN or infinite.
        """
        with self.backend.active():
            return self.predictor.decide(X, self.predictor.each_member(members))

    def predict_proba(self, X: ArrayLike, *, members: bool = False) -> Array:
        """Return the probabilities of the classes for examples; with members, their mean.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.
        members : bool
            Each member's own probabilities, on a first axis.

        Returns
        -------
        array, where X lives
            Shape (n, m) for softmax; P(y = 1), shape (n,) or (n, q), for sigmoid.

        Raises
        ------
        TypeError, ValueError
            As for `predict`; also for a network trained on the mean squared error.
        """
        with self.backend.active():
            return self.predictor.probabilities(X, self.predictor.each_member(members))

    def predict_std(self, X: ArrayLike) -> Array:
        """Return how far the members' predictions lie apart: an uncertainty.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.

        Returns
        -------
        array, where X lives
            The standard deviation between the members, in the shape of `predict_proba`, or of
            `predict` for regression: √(Σ (pᵢ − p̄)² / k).

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if this is one network.
        """
        self.predictor.each_member(True)
        with self.backend.active():
            return self.predictor.spread(X)

    def activations(self, X: ArrayLike, layers: Sequence[int] | None = None) -> list[Array]:
        """Return the outputs of layers for examples, as in prediction.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.
        layers : sequence of int, or None
            Which ones, by their places in `layers`, −1 for the last; None: all.

        Returns
        -------
        list of array, where X lives
            For each of the layers an array (n, m_l); the last layer's are the logits.

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if there is no such layer.
        """
        with self.backend.active():
            return self.predictor.outputs(X, layers)

    def prepare(self, X: ArrayLike, y: ArrayLike, name: str = "") -> tuple[Array, Array]:
        """Check a data set and bring it to the device.

        Raises
        ------
        TypeError, ValueError
            If something about it is not as the network needs it.
        """
        with self.backend.active():
            given, X, y = X, as_array(X, f"{name}X"), as_array(y, f"{name}y")
            check_lengths(X, y, name)
            x = check_features(X, self.backend, self.n_features, self.dtype, f"{name}X")
            host = np.asarray(backend_of(y, self.backend).to_host(y))
            targets = self.loss.targets(host, self.n_outputs, self.dtype, f"{name}y")
            warn_of_merged(given, self.dtype, f"{name}X")
            return x, self.backend.asarray(targets)

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Return the loss and the error on a data set, as in prediction.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            Features.
        y : array-like
            Labels, as for training.

        Returns
        -------
        dict
            "loss": the mean loss. "error": the share of examples with a wrong class (notes, chapter
            4: ε = 1 where y ≠ ŷ), or for regression the share of variance left, 1 − R²; NaN where
            all values are the same. Of members both are lists, with the figure of each; of those
            that share weights, both are of their average, which is what the network predicts.

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        with self.backend.active():
            return self.predictor.evaluate(*self.prepare(X, y))

    # -- files ----

    def require_single(self, what: str) -> None:
        """Raise a ValueError if these are several networks, which something does not take."""
        if self.leading_shape:
            raise ValueError(
                f"{what} takes a single network; this one has {self.members} members: give one of "
                "them, as network.member(0)"
            )

    def config(self) -> Tree:
        """Return the architecture as JSON-ready data.

        Raises
        ------
        TypeError
            If a file can't hold an option of a layer or of the loss.
        """
        config = {
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss.config(),
            "n_features": self.n_features,
            "dtype": self.dtype.name,
            "random_state": self.random_state,
        }
        return config if self.members is None else {**config, "members": self.members}

    def state(self) -> dict[str, HostArray]:
        """Return copies of parameters and statistics on the host, by PyTorch's names."""
        return {k: np.array(self.backend.to_host(v)) for k, v in self.buffers.named.items()}

    def load_state(self, arrays: Mapping[str, HostArray], source: str = "the given state") -> None:
        """Set parameters and statistics from host arrays, as `state` returns them.

        Raises
        ------
        ModelFileError
            If names, shapes or dtype are not this network's, a value is not finite, or a variance
            negative; nothing is changed then.
        """
        with self.claim, self.backend.active():
            self.buffers.load(arrays, source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, from which `load` makes it again.

        The arrays have PyTorch's names for the same stack, so
        ``torch.nn.Sequential(...).load_state_dict(safetensors.torch.load_file(path))`` takes them.

        Raises
        ------
        OSError
            If the file can't be written.
        TypeError
            If a file can't hold an option of a layer or of the loss.
        ValueError
            If a parameter is NaN or infinite.
        """
        arrays = self.state()
        safetensors_files.require_finite(arrays, str(path))
        safetensors_files.write(path, arrays, {"network": self.config()})

    def _options(self) -> Tree:
        """Return what the network was built with, but for layers and device."""
        names = "loss", "n_features", "dtype", "random_state", "members"
        return {name: getattr(self, name) for name in names}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy as NumPy arrays: what was trained on CUDA can be loaded anywhere."""
        layers = [replace(layer) for layer in self.layers]
        return _revive, (self.state(), layers, self._options(), self.backend.device)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        loss = self.loss if fields(self.loss) else self.loss.name
        return (
            f"Network([{layers}], loss={loss!r}, n_features={self.n_features}, "
            f"device={self.backend.device!r}, dtype={self.dtype.name!r}"
            f"{'' if self.members is None else f', members={self.members}'})"
        )


def _revive(
    arrays: dict[str, HostArray], layers: list[Layer], config: Tree, device: str
) -> Network:
    """Build a pickled network again, on its device or, where there is none, on the CPU."""
    backend = select(device if why_no_cuda() is None else "cpu")
    network = Network.blank(layers, backend, **config)
    network.load_state(arrays, "the pickled network")
    return network


def check_network(network: object) -> Network:
    """Return a network, or raise a TypeError if it is none."""
    if not isinstance(network, Network):
        raise TypeError(f"network is {network!r}: give a Network")
    return network
