"""Factors of single parameters: on what they are updated by, their rate and their decay."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._typing import Array, HostArray
from ..checks import check_not_negative, check_positive
from ..nn.network import Network
from ..optim.optimizers import Optimizer

#: Factors by patterns of parameters' names, as ``{"*.bias": 0.1}``.
ByPattern: TypeAlias = Mapping[str, float]


class Factor(NamedTuple):
    """A parameter's factors.

    Attributes
    ----------
    scale : float
        s where the network holds s θ and the optimiser updates θ: see `Layer.update_scales`.
    rate : float
        Of the learning rate.
    decay : float
        Of the decoupled weight decay, on top of that of the rate.
    """

    scale: float
    rate: float
    decay: float


class Factors:
    """The factors of a network's parameters, for those whose optimiser updates them.

    Parameters
    ----------
    network : Network
        Whose parameters they are of.
    optimizer : Optimizer
        What updates them.
    rate, decay : mapping of str to float, or None
        As `Trainer` takes them.

    Attributes
    ----------
    rate, decay : dict
        What was given.
    each : dict of str to Factor
        By the name of the parameter.
    changed : dict of str to dict
        Those that are not as without factors, likewise.
    arrays : tuple of array, shape (P,)
        What `Optimizer.update` takes: none if all are as without factors. Members share them.
    given : tuple
        What it is given after all else: nothing, or these arrays.

    Raises
    ------
    TypeError, ValueError
        If a factor is no finite number that is 0 or more, a pattern fits no parameter, or the
        optimiser can't take them.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        rate: ByPattern | None = None,
        decay: ByPattern | None = None,
    ) -> None:
        slices = network.buffers.slices
        self.rate = _checked(rate, slices, "rate_factors")
        self.decay = _checked(decay, slices, "decay_factors")
        if self.decay and not optimizer.decays:
            raise ValueError(
                f"decay_factors are given, and {type(optimizer).__name__} has no weight decay of "
                "its own: give AdamW or Lion; l2 is of all weights alike"
            )
        scales = _scales(network)
        self.each: dict[str, Factor] = {}
        self.changed: dict[str, dict[str, float]] = {}
        for name, part in slices.items():
            usual = Factor(1.0, 1.0, float(part.start < network.n_weights))
            factor = self.each[name] = Factor(
                scales.get(name, usual.scale),
                _last_that_fits(self.rate, name, usual.rate),
                _last_that_fits(self.decay, name, usual.decay),
            )
            if factor != usual:
                both = zip(Factor._fields, factor, usual, strict=True)
                self.changed[name] = {kind: mine for kind, mine, other in both if mine != other}
        self.arrays: tuple[Array, ...] = ()
        if self.changed:
            self.arrays = self._on_device(network, slices)
            self.check(optimizer)
        self.given = (self.arrays,) if self.arrays else ()

    def _on_device(self, network: Network, slices: Mapping[str, slice]) -> tuple[Array, ...]:
        """Return the arrays: of the gradient, of what changes, and of the decay."""
        functions: Sequence[Callable[[Factor], float]] = (
            lambda f: f.scale,
            lambda f: f.scale * f.rate,
            lambda f: f.rate * f.decay,
        )
        arrays = []
        for function in functions:
            array: HostArray = np.empty(network.n_parameters)
            for name, part in slices.items():
                array[part] = function(self.each[name])
            arrays.append(network.backend.asarray(array, network.dtype))
        return tuple(arrays)

    def check(self, optimizer: Optimizer) -> None:
        """Raise an error if an optimiser can't take factors where there are some."""
        if not self.arrays:
            return
        cls = type(optimizer)
        if "factors" not in inspect.signature(cls.update).parameters:
            raise TypeError(
                f"{cls.__name__} has an update of its own, which takes no factors, and there are "
                f"{self._why()}: give the update an argument factors, as in Optimizer.update"
            )
        if optimizer.rule is not None:
            try:
                optimizer.rule.with_factors(optimizer.decays)
            except SyntaxError as error:
                raise TypeError(f"{cls.__name__}: {error}") from error

    def _why(self) -> str:
        """Return in words where factors come from."""
        scaled = [name for name, changed in self.changed.items() if "scale" in changed]
        given = [f"{kind}_factors" for kind in ("rate", "decay") if getattr(self, kind)]
        return " and ".join([*given, *([f"a scale of {', '.join(scaled)}"] if scaled else [])])

    @property
    def options(self) -> dict[str, Any]:
        """What a `Trainer` with the same ones is given."""
        return {"rate_factors": self.rate, "decay_factors": self.decay}

    def n_scratch(self, optimizer: Optimizer) -> int:
        """Return how many arrays of scratch the optimiser takes with them."""
        rule = optimizer.rule
        if not self.arrays or rule is None:
            return optimizer.n_scratch
        return rule.with_factors(optimizer.decays).registers_for(optimizer.options)

    def require_same(self, other: Factors) -> None:
        """Raise a ValueError if another network's are not the same: members share them."""
        for name, factor in self.each.items():
            if other.each[name] != factor:
                raise ValueError(
                    f"the factors of {name} are {other.each[name]}, and {factor} in the network: "
                    "members share them"
                )


def _scales(network: Network) -> dict[str, float]:
    """Return what the layers say of their parameters, by name."""
    found = {}
    for layer in network.layers:
        for name, scale in layer.update_scales().items():
            what = f"the scale of {layer.index}.{name}"
            if name not in layer.parameters:
                names = ", ".join(layer.parameters)
                raise ValueError(f"{what} is given, and {type(layer).__name__} has {names}")
            found[f"{layer.index}.{name}"] = check_positive(scale, what)
    return found


def _checked(given: ByPattern | None, names: Mapping[str, slice], what: str) -> dict[str, float]:
    """Return factors by pattern, or raise an error."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} is {given!r:.100}: give a dict, as {{'*.bias': 0.1}}")
    for pattern in given:
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern of {what} is {pattern!r:.100}: give text, as '*.bias'")
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"{what} has {pattern!r:.100}, which fits no parameter: they are {', '.join(names)}"
            )
    return {p: check_not_negative(f, f"{what}[{p!r}]") for p, f in given.items()}


def _last_that_fits(factors: Mapping[str, float], name: str, otherwise: float) -> float:
    """Return the factor of the last pattern that fits a name."""
    fitting = [factor for pattern, factor in factors.items() if fnmatchcase(name, pattern)]
    return fitting[-1] if fitting else otherwise
