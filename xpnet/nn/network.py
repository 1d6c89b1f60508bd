"""The network: a stack of layers with a loss, its flat buffers, and the way through them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

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
from ..files.safetensors_files import ModelFileError
from ..registry import UnknownNameError
from . import losses
from .buffers import FlatBuffers
from .claim import Claim
from .description import check_dtype, check_layers, check_seed, described, shapes_of
from .layer import Layer
from .loss import Loss
from .passes import Passes
from .prediction import Predictor


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
    random_state : int or None
        The seed of initial weights, mini-batches and dropout masks. None draws one, which is then
        found in the attribute ``random_state``.
    fused : bool
        False: the reference kernels everywhere.
    precision : {"full", "tf32", "bfloat16"}
        On a GPU, faster products of float32 numbers whose factors are rounded, to 10 bits of
        mantissa or to 7; see `select`. Elsewhere it changes nothing.
    members : int or None
        Train so many networks at once, with weights of shape (members, out, in) and initial
        weights of their own, on the same mini-batches: `forward`, `backward` and `Trainer.step`
        then return a leading axis. For hyper-parameter search; `Trainer.fit`, `evaluate` and
        `save` take a single network.

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
        The way through them, over static buffers, and predictions by way of it.
    claim : Claim
        Held by the thread that trains it.

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
        random_state: int | None = 0,
        fused: bool = True,
        precision: str = "full",
        members: int | None = None,
    ) -> None:
        backend = select(device, fused=fused, precision=precision)
        self._build(layers, backend, loss, n_features, dtype, random_state, members)
        self.initialize()

    @classmethod
    def _blank(
        cls,
        layers: Sequence[Layer],
        backend: Backend,
        loss: Loss,
        n_features: int,
        dtype: DTypeLike,
        random_state: int,
    ) -> Network:
        """Return a network of a description as `config` gives it, with zeros for arrays."""
        network = cls.__new__(cls)
        network._build(layers, backend, loss, n_features, dtype, random_state)
        return network

    def _build(
        self,
        layers: Sequence[Layer],
        backend: Backend,
        loss: str | Loss,
        n_features: int,
        dtype: DTypeLike,
        random_state: int | None,
        members: int | None = None,
    ) -> None:
        self.n_features = check_count(n_features, "n_features")
        self.dtype = check_dtype(dtype)
        self.random_state = check_seed(random_state)
        self.leading_shape = () if members is None else (check_count(members, "members"),)
        self.loss = losses.resolve(loss)
        self.layers = check_layers(layers, self.loss)
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
        #: 64 bits that the step's dropout masks are computed from; the trainer sets them.
        self.step_key = backend.xp.zeros(1, np.uint64)
        for layer in self.layers:
            layer.connect(self.random_state, self.step_key)
            layer.bind(backend.kernels)
        self.passes = Passes(self.layers, self.n_outputs, self.loss, backend, lead, dtype)
        widths = [self.n_features, *(layer.n_inputs for layer in self.layers), self.n_outputs]
        self.predictor = Predictor(self.passes, self.loss, backend, widths, lead, dtype)

    def initialize(self) -> None:
        """Set all parameters and statistics to their initial values, drawn from `random_state`."""
        with self.claim, self.backend.active():
            self.buffers.initialize(self.random_state)

    def clone(self, where: str | Backend | None = None) -> Network:
        """Return an untrained network of the same description, with arrays of its own.

        Parameters
        ----------
        where : {"auto", "cpu", "cuda", "cuda:N"}, Backend or None
            The device that it is to live on; None: on this network's device.
        """
        return Network(
            self.layers,
            loss=self.loss,
            n_features=self.n_features,
            device=self.backend if where is None else where,
            dtype=self.dtype,
            random_state=self.random_state,
        )

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
            A static buffer: the next call writes over it. Where members share weights, as in
            `EnsembleLinear`, each has n rows, those of member 0 first.
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

    def predict(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the predictions for examples.

        Those of a row alone and of the same row in a batch may differ in the last bits.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.
        members : bool
            Whether to return each member's, with one more axis, the first. False: those of the
            average of the members' probabilities, or of their values.

        Returns
        -------
        array, where X lives
            Classes 0 … m−1, shape (n,), for softmax; 0 or 1, shape (n,) or (n, k), for sigmoid;
            values, shape (n,) or (n, k), for regression.

        Raises
        ------
        TypeError, ValueError
            If X has another shape, holds no numbers, or values that are NaN or infinite; or if
            there are no members.
        """
        with self.backend.active():
            return self.predictor.decide(X, members)

    def predict_proba(self, X: ArrayLike, members: bool = False) -> Array:
        """Return the probabilities of the classes for examples.

        Those of a row alone and of the same row in a batch may differ in the last bits.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.
        members : bool
            Whether to return each member's, with one more axis, the first. False: their average.

        Returns
        -------
        array, where X lives
            Shape (n, m) for softmax; P(y = 1), shape (n,) or (n, k), for sigmoid.

        Raises
        ------
        TypeError, ValueError
            As for `predict`; also for a network trained on the mean squared error.
        """
        with self.backend.active():
            return self.predictor.probabilities(X, members)

    def predict_std(self, X: ArrayLike) -> Array:
        """Return how far members are apart: the standard deviation of what they predict.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.

        Returns
        -------
        array, where X lives
            Of probabilities, in the shape that `predict_proba` has; or of values, in that of
            `predict`, for regression.

        Raises
        ------
        TypeError, ValueError
            As for `predict`; also if the network has no members.
        """
        with self.backend.active():
            return self.predictor.deviation(X)

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
            For each of the layers an array (n, m_l); the last layer's are the logits. Where members
            have outputs of their own, their axis is the first one.

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

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
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
            all values are the same. Where members share weights, both are of what `predict` and
            `predict_proba` return, the members' average; training makes the mean of their losses
            small, which is larger.

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        with self.backend.active():
            self.require_single("evaluate")
            return self.predictor.evaluate(*self.prepare(X, y))

    # -- files ----

    def require_single(self, what: str) -> None:
        """Raise a ValueError if these are several networks, which something does not take."""
        if self.leading_shape:
            raise ValueError(
                f"{what} takes a single network; this one has {self.leading_shape[0]} members"
            )

    def config(self) -> Tree:
        """Return the architecture as JSON-ready data.

        Raises
        ------
        TypeError
            If a file can't hold an option of a layer or of the loss.
        """
        return {
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss.config(),
            "n_features": self.n_features,
            "dtype": self.dtype.name,
            "random_state": self.random_state,
        }

    def _named(self) -> dict[str, Array]:
        """Return parameters and statistics by PyTorch's names for the same stack."""
        return {
            f"{layer.index}.{name}": array
            for layer in self.layers
            for name, array in (layer.parameters | layer.statistics).items()
        }

    def state(self) -> dict[str, HostArray]:
        """Return copies of parameters and statistics on the host, by PyTorch's names."""
        self.require_single("state")
        return {k: np.array(self.backend.to_host(v)) for k, v in self._named().items()}

    def load_state(self, arrays: Mapping[str, HostArray], source: str = "the given state") -> None:
        """Set parameters and statistics from host arrays, as `state` returns them.

        Raises
        ------
        ModelFileError
            If names, shapes or dtype are not this network's, a value is not finite, or a variance
            negative; nothing is changed then.
        """
        named = self._named()
        shapes = {name: tuple(array.shape) for name, array in named.items()}
        arrays = safetensors_files.check_arrays(arrays, shapes, self.dtype, source)
        for name, array in arrays.items():
            if name.endswith("running_var") and (array < 0).any():
                raise ModelFileError(f"{source}: {name} holds negative variances")
        with self.claim, self.backend.active():
            for name, held in named.items():
                held[...] = self.backend.asarray(arrays[name])

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

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy as NumPy arrays: what was trained on CUDA can be loaded anywhere."""
        self.require_single("pickle")
        layers = [replace(layer) for layer in self.layers]
        config = {name: getattr(self, name) for name in _PICKLED}
        return _revive, (self.state(), layers, config, self.backend.device)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        loss = self.loss if fields(self.loss) else self.loss.name
        return (
            f"Network([{layers}], loss={loss!r}, n_features={self.n_features}, "
            f"device={self.backend.device!r}, dtype={self.dtype.name!r})"
        )


def load(path: str | os.PathLike[str], device: str | Backend = "auto") -> Network:
    """Read a network from a file that `Network.save` or ``xpnet train`` wrote.

    A file from ``xpnet train`` also holds how raw columns become features; `xpnet.load_model` reads
    both. The network alone takes features that are prepared already.

    Parameters
    ----------
    path : path
        The file.
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        Where the network is to live, wherever it was trained.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole model file, its parts don't fit together, or it has a layer, loss or
        initialiser that nobody has defined: import the module that does, then load again.
    """
    arrays, description = safetensors_files.look(path)
    return from_description(arrays, description, device, str(path))


def from_description(
    arrays: Mapping[str, HostArray], description: Tree, device: str | Backend, source: str
) -> Network:
    """Build a network from a model file's arrays and description."""
    backend = select(device)
    if "checkpoint" in description:
        raise ModelFileError(f"{source}: a checkpoint, and no model: fit(resume=True) takes it up")
    try:
        layers, config = described(description["network"])
        # Before anything is allocated: a few bytes of JSON may claim a network of any size.
        shapes = shapes_of([replace(layer) for layer in layers], config["n_features"])
        arrays = safetensors_files.check_arrays(arrays, shapes, np.dtype(config["dtype"]), source)
        network = Network._blank(layers, backend, **config)
        if network.config() != description["network"]:
            raise ValueError("an option is missing, or stands there as no file has it")
    except ModelFileError:
        raise
    except UnknownNameError as error:
        raise ModelFileError(f"{source}: {error}, then load again") from error
    except (
        *(LookupError, TypeError, ValueError, AttributeError),
        *(ArithmeticError, MemoryError),
    ) as error:
        why = safetensors_files.short(repr(error))
        raise ModelFileError(f"{source}: its network can't be built ({why})") from error
    network.load_state(arrays, source)
    return network


#: What a pickle holds beside the layers and their arrays.
_PICKLED = ("loss", "n_features", "dtype", "random_state")


def _revive(
    arrays: dict[str, HostArray], layers: list[Layer], config: Tree, device: str
) -> Network:
    """Build a network again, on its device or, where there is none, on the CPU."""
    backend = select(device if why_no_cuda() is None else "cpu")
    network = Network._blank(layers, backend, **config)
    network.load_state(arrays, "the pickled network")
    return network


def check_network(network: object) -> Network:
    """Return a network, or raise a TypeError if it is none."""
    if not isinstance(network, Network):
        raise TypeError(f"network is {network!r}: give a Network")
    return network
