"""The network: a stack of layers with a loss, its flat buffers, and the way through them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.memory import explain
from ..backends.reference import IDENTITY, ActivationSpec
from ..backends.select import Backend, backend_of, from_dlpack, select, why_no_cuda
from ..checks import check_count
from ..data.arrays import as_array, check_features, check_lengths
from ..files import safetensors_files
from ..files.safetensors_files import ModelFileError
from ..randomness import Purpose, generator
from .buffers import Workspace, lay_out, view
from .layers import Layer, Linear
from .losses import LOSSES, Loss
from .registry import DTYPES, described, shapes_of


class Network:
    """A feed-forward network: layers in a row, and the loss that they are trained for.

    Parameters
    ----------
    layers : sequence of Layer
        From the input to the output; the last one's outputs are the logits. The layers are copied:
        the ones given stay plain descriptions.
    loss : {"softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", \
            "half_squared_error", "poisson_deviance"}
        What to minimise.
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
        dtype: Any = "float32",
        random_state: int | None = 0,
        fused: bool = True,
        precision: str = "full",
        members: int | None = None,
    ) -> None:
        backend = select(device, fused=fused, precision=precision)
        self._build(layers, backend, loss, n_features, dtype, random_state, members)
        self.initialize()

    @classmethod
    def _blank(cls, layers: Sequence[Layer], backend: Backend, **config: Any) -> Network:
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
        dtype: Any,
        random_state: int | None,
        members: int | None = None,
    ) -> None:
        self.n_features = check_count(n_features, "n_features")
        self.dtype = _check_dtype(dtype)
        self.random_state = _check_seed(random_state)
        self.leading_shape = () if members is None else (check_count(members, "members"),)
        self.loss = _check_loss(loss)
        self.layers = _check_layers(layers, self.loss)
        self.backend = backend
        self.n_outputs = self.n_features
        for index, layer in enumerate(self.layers):
            self.n_outputs = layer.build(index, self.n_outputs, self.layers[index + 1 :])
        self.min_batch = max(layer.min_batch for layer in self.layers)
        with self.backend.active():
            self._allocate()

    # -- memory ----

    def _allocate(self) -> None:
        xp, leading_shape = self.backend.xp, self.leading_shape
        places, size = lay_out(self.layers, "weight_shapes", "other_shapes")
        self.n_parameters = size
        self.n_weights = lay_out(self.layers, "weight_shapes")[1]
        self.parameters = xp.zeros((*leading_shape, size), self.dtype)
        self.gradients = xp.zeros((*leading_shape, size), self.dtype)
        for layer, name, shape, start in places:
            layer.parameters[name] = view(self.parameters, shape, start)
            layer.gradients[name] = view(self.gradients, shape, start)
        places, size = lay_out(self.layers, "statistic_shapes")
        self.statistics = xp.zeros((*leading_shape, size), self.dtype)
        for layer, name, shape, start in places:
            layer.statistics[name] = view(self.statistics, shape, start)
        #: 64 bits that the step's dropout masks are computed from; the trainer sets them.
        self.step_key = xp.zeros(1, np.uint64)
        for layer in self.layers:
            layer.connect(self.random_state, self.step_key)
            layer.bind(self.backend.kernels)
        self._chain = self._fuse()
        trained = [layer.index for layer in self.layers if layer.parameters]
        self._first_trained = trained[0]
        self._workspaces: dict[bool, Workspace] = {}
        self._passes: dict[tuple[int, bool], SimpleNamespace] = {}
        self._trained: SimpleNamespace | None = None
        #: Predictions in several threads take turns: they write into the same static buffers.
        self._turn = threading.RLock()

    def _fuse(self) -> list[tuple[Layer, ActivationSpec]]:
        """Return the layers, but for those that the one before computes as well."""
        chain: list[tuple[Layer, ActivationSpec]] = []
        for layer in self.layers:
            fused = self._fused(*chain[-1], layer) if chain else None
            if fused is None:
                chain.append((layer, IDENTITY))
            else:
                chain[-1] = chain[-1][0], fused
        return chain

    def _fused(
        self, before: Layer, activation: ActivationSpec, layer: Layer
    ) -> ActivationSpec | None:
        """Return what a layer, with its activation so far, computes along with the next one."""
        kernels = self.backend.kernels
        # Several networks at once run on the reference, which gains nothing by it.
        if self.leading_shape or not before.fuses_activation:
            return None
        if activation is IDENTITY:
            spec = layer.activation
            return spec if spec is not None and spec.name in kernels.fusible else None
        mask = layer.mask
        if (
            mask is None
            or activation.name != "relu"
            or activation.mask
            or not kernels.fuses_dropout
        ):
            return None
        return ActivationSpec("relu", mask.scale, mask)

    def initialize(self) -> None:
        """Set all parameters and statistics to their initial values, drawn from `random_state`."""
        with self.backend.active():
            for layer in self.layers:
                for name, array in (layer.parameters | layer.statistics).items():
                    for place in np.ndindex(*self.leading_shape):
                        self._initialize(layer, name, array, place)

    def _initialize(self, layer: Layer, name: str, array: Array, place: tuple[int, ...]) -> None:
        draw = generator(self.random_state, Purpose.WEIGHTS, layer.index, *place)
        value = layer.initial(name, draw)
        if isinstance(value, np.ndarray):
            value = self.backend.asarray(value, self.dtype)
        array[place] = value

    def reserve(self, n: int, training: bool) -> Workspace:
        """Make the workspace large enough for batches of n examples, if it is not; return it."""
        workspace = self._workspaces.get(training)
        if workspace is None or workspace.capacity < n:
            workspace = Workspace(self.backend, self.leading_shape, self.dtype, n)
            self._workspaces[training] = workspace
            self._passes = {key: p for key, p in self._passes.items() if key[1] != training}
            if training:
                self._trained = None  # it would keep the smaller one in memory
        return workspace

    def let_go(self) -> None:
        """Free the buffers for batches; the next batch makes them anew."""
        self._workspaces.clear()
        self._passes.clear()
        self._trained = None

    def _pass(self, n: int, training: bool) -> SimpleNamespace:
        """Return the bound layers and loss buffers for batches of n examples."""
        found = self._passes.get((n, training))
        if found is None:
            if len(self._passes) > 64:  # each holds views alone, but someone may try every size
                self._passes.clear()
            found = self._passes[n, training] = self._bind(n, training)
        return found

    def _bind(self, n: int, training: bool) -> SimpleNamespace:
        workspace = self.reserve(n, training)
        steps = []
        x, overwrite = None, False  # the input is the caller's: the first layer leaves it alone
        for layer, activation in self._chain:
            new = workspace.allocator(str(layer.index), n)
            if training:
                b: Any = layer.buffers(new, x, overwrite, layer.index > self._first_trained)
            else:
                b = layer.inference_buffers(new, x, overwrite)
            b.activation = (
                activation
                if training or activation.mask is None
                else activation._replace(mask=None)
            )
            steps.append((layer, b))
            # What passes its input on does not make it free.
            kept = training and (layer.keeps_output or activation is not IDENTITY)
            overwrite = b.y is not None and not kept and (b.y is not x or overwrite)
            x = b.y
        run = [((s.forward if training else s.infer), b) for s, b in steps]
        back = [(s.backward, b) for s, b in reversed(steps) if s.index >= self._first_trained]
        loss = self.loss.buffers(workspace.allocator("loss", n), self.n_outputs)
        return SimpleNamespace(forward=run, backward=back, loss=loss)

    def clone(self, where: str | Backend | None = None) -> Network:
        """Return an untrained network of the same description, with arrays of its own.

        Parameters
        ----------
        where : {"auto", "cpu", "cuda", "cuda:N"}, Backend or None
            The device that it is to live on; None: on this network's device.
        """
        return Network(
            self.layers,
            loss=self.loss.name,
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
            A static buffer: the next call writes over it.
        """
        bound = self._pass(x.shape[-2], training)
        if training:
            self._trained = bound
        if self.leading_shape and x.ndim == 2:
            x = self.backend.xp.broadcast_to(x, (*self.leading_shape, *x.shape))
        for function, buffers in bound.forward:
            x = function(x, buffers)
        return x

    def backward(self, dz: Array) -> None:
        """Write the gradients of all parameters, from that of the logits.

        Parameters
        ----------
        dz : array, shape (…, n, n_outputs)
            The loss's gradient with respect to the logits of the last `forward` in training. It is
            used up.
        """
        if self._trained is None:
            raise RuntimeError("backward without a forward pass: call forward(x, training=True)")
        for function, buffers in self._trained.backward:
            dz = function(dz, buffers)

    def layer_by_layer(self, n: int) -> SimpleNamespace:
        """Return a training pass over n examples as its parts, for callers that look at each.

        ``forward`` and ``backward`` are lists of (layer, function, buffers): each function takes
        the result of the one before, the first of them a batch and the loss's gradient; ``loss``
        are the loss's buffers.
        """
        bound = self._pass(n, training=True)
        run = {
            way: [(f.__self__, f, b) for f, b in getattr(bound, way)]
            for way in ("forward", "backward")
        }
        return SimpleNamespace(**run, loss=bound.loss)

    def loss_and_gradient(self, x: Array, y: Array, example_weight: Array | None = None) -> Array:
        """Run a batch forward and backward: write `gradients`, return the loss.

        Parameters
        ----------
        x, y : array
            As `forward` and the loss take them, on the device.
        share : array, shape (n, 1), or None
            The examples' weights, which add up to 1; None: each has 1/n.

        Returns
        -------
        array, shape (…)
            The mean loss over the batch, in a static buffer; no L2 term.
        """
        z = self.forward(x, training=True)
        loss = self._pass(x.shape[-2], training=True).loss
        self.backward(self.loss.gradient(self.backend.kernels, z, y, loss, example_weight))
        return loss.loss

    # -- prediction ----

    def _chunk(self) -> int:
        """Return how many examples to predict at once: some 16 MB in the widest layer."""
        widest = max([self.n_features, *(layer.n_inputs for layer in self.layers)])
        return max(1, min(8192, 2**22 // widest))

    def _logits(self, X: Any) -> Array:
        try:
            x = check_features(X, self.backend, self.n_features, self.dtype)
            return self._compute_logits(x)
        except Exception as error:
            what, advice = "prediction", "Try fewer examples at a time"
            explain(self.backend, error, what, advice, self.let_go)
            raise

    def _compute_logits(self, x: Any) -> Array:
        xp, chunk = self.backend.xp, self._chunk()
        z = xp.empty((*self.leading_shape, x.shape[0], self.n_outputs), self.dtype)
        for start in range(0, x.shape[0], chunk):
            part = x[start : start + chunk]
            with self._turn:
                xp.copyto(z[..., start : start + chunk, :], self.forward(part))
        return z

    def _give_back(self, result: Array, X: Any) -> Array:
        """Return a result where X lives; a single output loses its axis."""
        if result.shape[-1] == 1 and result.ndim == 2 + len(self.leading_shape):
            result = result[..., 0]
        return self._bring(result, X)

    def _bring(self, result: Array, X: Any) -> Array:
        """Return a result where X lives."""
        target = backend_of(from_dlpack(X), self.backend)
        return result if target is self.backend else target.asarray(self.backend.to_host(result))

    def predict(self, X: Any) -> Array:
        """Return the predictions for examples.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.

        Returns
        -------
        array, where X lives
            Classes 0 … m−1, shape (n,), for softmax; 0 or 1, shape (n,) or (n, k), for sigmoid;
            values, shape (n,) or (n, k), for regression.

        Raises
        ------
        TypeError, ValueError
            If X has another shape, holds no numbers, or values that are NaN or infinite.
        """
        with self.backend.active():
            return self._give_back(self.loss.decide(self.backend.xp, self._logits(X)), X)

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes for examples.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list.

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
            z = self._logits(X)
            return self._give_back(self.loss.probabilities(self.backend.kernels, z), X)

    def _places(self, layers: Sequence[int] | None) -> Sequence[int]:
        """Return the places of layers, counted from the first one."""
        places = range(len(self.layers))
        try:
            return places if layers is None else [places[i] for i in layers]
        except (IndexError, TypeError) as error:
            raise ValueError(
                f"layers is {layers!r}: give a list of whole numbers from 0 to {len(places) - 1}, "
                "or from -1 down for the last ones"
            ) from error

    def activations(self, X: Any, layers: Sequence[int] | None = None) -> list[Array]:
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
            x = check_features(X, self.backend, self.n_features, self.dtype)
            xp, chunk = self.backend.xp, self._chunk()
            wanted = self._places(layers)
            pieces: dict[int, list[Array]] = {i: [] for i in wanted}
            for start in range(0, x.shape[0], chunk):
                a = x[start : start + chunk]
                a = xp.broadcast_to(a, (*self.leading_shape, *a.shape))
                workspace = Workspace(self.backend, self.leading_shape, self.dtype, a.shape[-2])
                for layer in self.layers:  # one by one: here none is fused with another
                    new = workspace.allocator(str(layer.index), a.shape[-2])
                    b = layer.inference_buffers(new, None, overwrite=False)
                    b.activation = IDENTITY
                    a = layer.infer(a, b)
                    if layer.index in pieces:
                        pieces[layer.index].append(a)
            return [self._bring(xp.concatenate(pieces[i], axis=-2), X) for i in wanted]

    def prepare(self, X: Any, y: Any, name: str = "") -> tuple[Array, Array]:
        """Check a data set and bring it to the device.

        Raises
        ------
        TypeError, ValueError
            If something about it is not as the network needs it.
        """
        with self.backend.active():
            return self._prepare(X, y, name)

    def _prepare(self, X: Any, y: Any, name: str) -> tuple[Array, Array]:
        X, y = as_array(X, f"{name}X"), as_array(y, f"{name}y")
        check_lengths(X, y, name)
        x = check_features(X, self.backend, self.n_features, self.dtype, f"{name}X")
        host = np.asarray(backend_of(y, self.backend).to_host(y))
        return x, self.backend.asarray(
            self.loss.targets(host, self.n_outputs, self.dtype, f"{name}y")
        )

    def holds(self, x: Any, y: Any) -> bool:
        """Return whether a batch is on the device in the types and shapes that `prepare` gives."""
        owns = self.backend.owns
        return (
            owns(x)
            and owns(y)
            and x.dtype == self.dtype
            and x.ndim == 2
            and x.shape[0] > 0
            and x.shape[1] == self.n_features
            and x.flags.c_contiguous
            and y.shape == self.loss.target_shape(x.shape[0], self.n_outputs)
            and y.dtype == self.loss.target_dtype(self.dtype)
            and y.flags.c_contiguous
        )

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
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
            4: ε = 1 where y ≠ ŷ), or for regression the share of variance left, 1 − R².

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        with self.backend.active():
            return self._evaluate(*self.prepare(X, y))

    def _evaluate(self, x: Array, y: Array) -> dict[str, float]:
        """`evaluate` for arrays that have been admitted: the host waits at the end alone."""
        self._require_single("evaluate")
        xp, chunk, n = self.backend.xp, self._chunk(), x.shape[0]
        sums = xp.zeros(2, np.float64)
        for start in range(0, n, chunk):
            rows, labels = x[start : start + chunk], y[start : start + chunk]
            with self._turn:
                z = self.forward(rows)
                buffers = self._pass(z.shape[-2], training=False).loss
                self.loss.gradient(self.backend.kernels, z, labels, buffers)
                sums[0] += buffers.loss * float(z.shape[-2])
                sums[1] += self.loss.error_sum(xp, z, labels)
        loss, error_sum = self.backend.to_host(sums)
        return {"loss": float(loss) / n, "error": float(error_sum) / self.loss.error_count(xp, y)}

    # -- files ----

    def _require_single(self, what: str) -> None:
        if self.leading_shape:
            raise ValueError(
                f"{what} takes a single network; this one has {self.leading_shape[0]} members"
            )

    def name_parameter(self, i: int) -> str:
        """Return where an element of `parameters` belongs: layer, name and index.

        Examples
        --------
        >>> net = Network([Linear(8), Linear(3)], loss="mean_squared_error", n_features=4,
        ...               device="cpu")
        >>> net.name_parameter(33)
        'layer 1 (Linear), weight[0, 1]'
        """
        for layer, name, shape, start in lay_out(self.layers, "weight_shapes", "other_shapes")[0]:
            if start <= i < start + math.prod(shape):
                place = ", ".join(str(k) for k in np.unravel_index(i - start, shape))
                return f"layer {layer.index} ({type(layer).__name__}), {name}[{place}]"
        raise IndexError(f"there is no parameter {i}: there are {self.n_parameters}")

    def config(self) -> dict[str, Any]:
        """Return the architecture as JSON-ready data."""
        return {
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss.name,
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

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of parameters and statistics on the host, by PyTorch's names."""
        self._require_single("state")
        return {k: np.array(self.backend.to_host(v)) for k, v in self._named().items()}

    def load_state(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], source: str = "the given state"
    ) -> None:
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
        with self.backend.active():
            for name, array in named.items():
                array[...] = self.backend.asarray(arrays[name])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, from which `load` makes it again.

        The arrays have PyTorch's names for the same stack, so
        ``torch.nn.Sequential(...).load_state_dict(safetensors.torch.load_file(path))`` takes them.

        Raises
        ------
        OSError
            If the file can't be written.
        ValueError
            If a parameter is NaN or infinite.
        """
        arrays = self.state()
        safetensors_files.require_finite(arrays, str(path))
        safetensors_files.write(path, arrays, {"network": self.config()})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as NumPy arrays: what was trained on CUDA can be loaded anywhere."""
        self._require_single("pickle")
        return _revive, (self.state(), {"network": self.config()}, self.backend.device)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return (
            f"Network([{layers}], loss={self.loss.name!r}, n_features={self.n_features}, "
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
        If it is not a whole model file, or its parts don't fit together.
    """
    arrays, description = safetensors_files.look(path)
    return from_description(arrays, description, device, str(path))


def from_description(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    description: dict[str, Any],
    device: str | Backend,
    source: str,
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
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
        why = safetensors_files.short(repr(error))
        raise ModelFileError(f"{source}: its network can't be built ({why})") from error
    network.load_state(arrays, source)
    return network


def _revive(
    arrays: dict[str, np.ndarray[Any, Any]], description: dict[str, Any], device: str
) -> Network:
    """Build a network again, on its device or, where there is none, on the CPU."""
    backend = select(device if why_no_cuda() is None else "cpu")
    return from_description(arrays, description, backend, "the pickled network")


def check_network(network: Any) -> Network:
    """Return a network, or raise a TypeError if it is none."""
    if not isinstance(network, Network):
        raise TypeError(f"network is {network!r}: give a Network")
    return network


def _check_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        name = "" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: give one of {', '.join(DTYPES)}")
    return np.dtype(name)  # by its name, so in this machine's byte order


def _check_seed(seed: int | None) -> int:
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    return check_count(seed, "random_state", least=0)


def _check_loss(loss: str | Loss) -> Loss:
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}: give one of {', '.join(LOSSES)}")
    return LOSSES[loss]()


def _check_layers(layers: Sequence[Layer], loss: Loss) -> list[Layer]:
    if not hasattr(layers, "__iter__"):
        raise TypeError(f"layers is {layers!r}: give a list such as [Linear(9), ReLU(), Linear(1)]")
    for layer in layers:
        if not isinstance(layer, Layer):
            is_class = isinstance(layer, type)
            hint = "did you mean to call it?" if is_class else "give one such as ReLU()"
            raise TypeError(f"{layer!r} is not a layer: {hint}")
    if not any(isinstance(layer, Linear) for layer in layers):
        raise ValueError("the network has no Linear layer: there is nothing to train")
    if type(layers[-1]).__name__ == loss.output_activation:
        raise ValueError(
            f"the last layer is {loss.output_activation} and {loss.name} applies it too: "
            f"leave the last {loss.output_activation} out (predict_proba gives its values)"
        )
    return [replace(layer) for layer in layers]
