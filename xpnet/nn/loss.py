"""What a loss is: the base of the library's and of users' own."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import numpy as np

from .._typing import Array, DType, HostArray, Namespace, Tree
from ..backends.output_losses import OUTPUT_LOSSES, OutputLoss
from ..backends.reference import Kernels
from ..backends.work import LossBuffers
from ..checks import check_fields, one
from ..data.labels import is_numeric, these_values
from ..registry import Registered, Registry, describe
from .layer import Allocator


@dataclass(frozen=True)
class Loss(Registered):
    """The base of the losses: subclass it, as a frozen dataclass of its options, for one's own.

    `compute` writes the mean loss and its gradient with respect to z; `decide` makes predictions of
    z; `error_sum` over `error_count` is the error that histories and `Network.evaluate` show.
    `targets` checks labels and says how they are stored (together with `target_shape` and
    `target_dtype`): as (n, n_outputs) numbers in the network's dtype, if it is not overridden.
    `probabilities` is for losses that know any, and `buffers` for those that need more room.
    `average` makes one output of several members', where the prediction is not z itself.

    A loss that is defined has a name, by which a `Network` and model files know it: "log_cosh" for
    ``LogCosh``. All its methods run on whichever device the network is on; those that get ``k`` or
    ``xp`` find its array functions there.

    A loss of one output at a time is a row of `output_losses.OUTPUT_LOSSES`, whose options are
    attributes of the same names; another one gives `compute` itself, and the `buffers` for it.

    An option annotated `Numbers` may be a number for each member of a network with members: then
    all methods but `targets` find an array (k, 1, 1) in its place, and `error_count` the number of
    each member in turn. The options of rows are numbers for all members.

    Attributes
    ----------
    name : str
        What a `Network` calls it; the class's name in lower case with underscores, if the class
        gives none.
    output_activation : str
        The layer type that may not come last, because the loss applies it itself.
    of_classes : bool
        Whether labels are classes, not values.
    row : str
        Which row it is; "" if it gives `compute` itself.

    Raises
    ------
    TypeError
        When a class is defined: if the library has a loss of its name, or it has an ``__init__``.

    Examples
    --------
    A loss of one's own, log cosh(z − y) summed over the outputs, with the error of the mean squared
    error; it is used by its name, or with options as an object:

    >>> import os, tempfile
    >>> import numpy as np, xpnet as xn
    >>> @dataclass(frozen=True)
    ... class LogCosh(xn.MeanSquaredError):
    ...     weight: float = 1.0
    ...     def compute(self, k, z, y, example_weight, b):
    ...         xp = k.xp
    ...         xp.subtract(z, y, out=b.dz)
    ...         xp.cosh(b.dz, out=b.terms)
    ...         xp.log(b.terms, out=b.terms)
    ...         xp.multiply(b.terms, self.weight * example_weight, out=b.terms)
    ...         xp.sum(b.terms, axis=(-2, -1), out=b.loss)
    ...         xp.tanh(b.dz, out=b.dz)
    ...         xp.multiply(b.dz, self.weight * example_weight, out=b.dz)
    >>> X = np.random.default_rng(0).normal(size=(100, 3)); y = X.sum(axis=1)
    >>> net = xn.Network([xn.Linear(1)], loss=LogCosh(2.0), n_features=3, device="cpu",
    ...                  dtype="float64")
    >>> xn.check_gradients(net, X[:5], y[:5]) < 1e-7
    True
    >>> history = xn.Trainer(net, xn.Adam(0.1)).fit(X, y, batch_size=20, epochs=30)
    >>> bool(net.evaluate(X, y)["error"] < 0.01)
    True
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.safetensors"))
    ...     xn.load(os.path.join(folder, "net.safetensors"), device="cpu").loss
    LogCosh(weight=2.0)
    >>> xn.Network([xn.Linear(1)], loss="log_cosh", n_features=3, device="cpu").loss
    LogCosh(weight=1.0)
    """

    registry: ClassVar[Registry[Loss]] = Registry("loss", spell=lambda cls: cls.name)

    name: ClassVar[str] = ""
    output_activation: ClassVar[str] = ""
    of_classes: ClassVar[bool] = True
    row: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.rule.options if self.rule else ():
            one(getattr(self, name), name)

    def __init_subclass__(cls, **options: object) -> None:
        """Give the class its name, and enter the registry."""
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        super().__init_subclass__(**options)

    def config(self) -> str | Tree:
        """Return the loss as JSON-ready data: its name, and its options unless all are defaults."""
        data = describe(self)
        is_default = all(getattr(self, f.name) == f.default for f in fields(self) if f.init)
        return self.name if is_default else data

    @classmethod
    def from_config(cls, data: object) -> Loss:
        """Return the loss that `config` described.

        Raises
        ------
        UnknownNameError
            If it has not been defined.
        KeyError, TypeError, ValueError
            If the data are no such description.
        """
        return cls.registry.build({"type": data} if isinstance(data, str) else data)

    @property
    def rule(self) -> OutputLoss | None:
        """The row, if it is one."""
        return OUTPUT_LOSSES.get(self.row)

    def buffers(self, new: Allocator, n_outputs: int) -> LossBuffers:
        """Return the buffers for a batch: dz, the loss, and scratch."""
        buffers = LossBuffers(
            dz=new.rows("dz", n_outputs),
            loss=new.scalar("loss"),
            terms=new.rows("terms", n_outputs),
            row=new.rows("row", 1),
        )
        if self.rule:
            program = self.rule.program(self.options)
            names = [f"register {i}" for i in range(program.n_registers)]
            buffers.registers = [new.rows(name, n_outputs) for name in names]
            buffers.mask = new.rows("mask", n_outputs, np.bool_) if program.masks else None
        return buffers

    @cached_property
    def options(self) -> tuple[float, ...]:
        """The values of the row's options."""
        return tuple(float(getattr(self, name)) for name in self.rule.options) if self.rule else ()

    def target_shape(self, n: int, n_outputs: int) -> tuple[int, ...]:
        """Return the shape of n examples' labels as they are stored."""
        return n, n_outputs

    def target_dtype(self, dtype: DType) -> DType:
        """Return the type of labels as they are stored, for a network in ``dtype``."""
        return dtype

    def targets(self, y: HostArray, n_outputs: int, dtype: DType, name: str = "y") -> HostArray:
        """Check labels on the host and return them as they are stored.

        Raises
        ------
        ValueError
            If they don't fit the loss or the number of outputs; the message says why.
        """
        if not is_numeric(y):
            hint = "; if they are numbers, as y.astype(float)"
            if self.of_classes:
                hint = ": numpy.unique(y, return_inverse=True)[1]"
            raise ValueError(f"{name} has dtype {y.dtype}: {self.name} needs numbers{hint}")
        rows = y.reshape(len(y), 1) if y.ndim == 1 else y
        if rows.ndim != 2 or rows.shape[1] != n_outputs:
            raise ValueError(
                f"{name} has shape {y.shape}: the network has {n_outputs} outputs, "
                f"so {self.name} needs shape ({len(y)}, {n_outputs})"
                + (f" or ({len(y)},)" if n_outputs == 1 else "")
            )
        with np.errstate(over="ignore"):  # what is too large for the dtype counts as infinite
            stored = np.ascontiguousarray(rows, dtype=dtype)
        bad = ~np.isfinite(stored)
        if bad.any():
            if np.isfinite(rows).all():
                raise ValueError(
                    f"{name} has values up to {np.abs(rows).max():g}, too large for {dtype}: scale "
                    "them, or give dtype='float64'"
                )
            raise ValueError(
                f"{name} has {these_values(int(bad.sum()))}, the first in row "
                f"{int(np.argwhere(bad)[0, 0])}: remove or replace them"
            )
        return stored

    def compute(
        self, k: Kernels, z: Array, y: Array, example_weight: Array | float, b: LossBuffers
    ) -> None:
        """Write the loss to ``b.loss`` and its gradient to ``b.dz``.

        Parameters
        ----------
        k : Kernels
            The backend's kernels; ``k.xp`` is its array namespace.
        z : array, shape (…, n, n_outputs)
            The network's output.
        y : array
            The labels as `targets` stored them.
        example_weight : float or array, shape (n, 1)
            How much each example counts; over the batch it adds up to 1.
        b : LossBuffers
            What `buffers` returned: ``dz`` and ``terms`` have the shape of z, ``row`` (…, n, 1),
            ``loss`` (…); what they held before is no matter. Neither z nor y may be
            written to.
        """
        if self.rule is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a row nor a compute")
        k.output_loss(self.rule, z, y, example_weight, self.options, b, b.dz, b.loss)

    def probabilities(self, k: Kernels, z: Array) -> Array:
        """Return what z says of the classes' probabilities; z is used up.

        Raises
        ------
        ValueError
            If the loss knows no probabilities.
        """
        raise ValueError(f"{self.name} has no probabilities: use predict")

    @property
    def has_probabilities(self) -> bool:
        """Whether the loss knows any."""
        return type(self).probabilities is not Loss.probabilities

    def choose(self, xp: Namespace, p: Array) -> Array:
        """Return the predictions from the mean of members' `probabilities`: the likeliest class."""
        return xp.argmax(p, axis=-1)

    @abstractmethod
    def decide(self, xp: Namespace, z: Array) -> Array:
        """Return the predictions, classes or values, from z of shape (…, n, n_outputs)."""

    def outputs_for(self, xp: Namespace, values: Array) -> Array:
        """Return the outputs z of which `decide` makes values: what predictions are clamped by.

        Raises
        ------
        ValueError
            If the loss does not say, as one of classes.
        """
        raise ValueError(f"{self.name} does not say which outputs make a value: don't clamp it")

    def average(self, xp: Namespace, z: Array) -> Array:
        """Return the output that stands for the average of members' predictions.

        What `probabilities` and `decide` make of it is the average of the members' probabilities,
        or values, and the decision on it; `Network.evaluate` computes loss and error from it, where
        members share weights. Here it is the mean of z.

        Parameters
        ----------
        xp : module
            The array namespace.
        z : array, shape (…, k, n, n_outputs)
            The outputs of k members.

        Returns
        -------
        array, shape (…, n, n_outputs)
        """
        return xp.mean(z, axis=-3)

    @abstractmethod
    def error_sum(self, xp: Namespace, z: Array, y: Array) -> Array:
        """Return what a batch adds to the error, before `error_count` divides it: a scalar."""

    def error_count(self, xp: Namespace, y: Array) -> float:
        """Return what the sum of errors is divided by: the number of examples."""
        return float(y.shape[0])
