"""The elementwise activations: one table, from which every backend's functions come.

A row holds y = f(z) and dy ← dy · f' as scalar code (see `expressions`). From it come the reference
in ``xp``, the Numba loops, the CUDA functions, the layers' options, and the tests. Where a power or
exp would overflow, z is held at a number from which on f and f' change by less than rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from .._typing import Array
from .expressions import Code, Program


class Option(NamedTuple):
    """A number that a row's code takes: its name, default, and which values it may have."""

    name: str
    default: float
    accepts: Callable[[float], bool]
    wanted: str

    def check(self, value: float) -> float:
        """Return a value as a float, or raise a ValueError that says what to give."""
        if not self.accepts(value):
            raise ValueError(f"{self.name} is {value}: give {self.wanted}")
        return float(value)


#: The option of a row that has none: its consumers pass a number to every row.
NO_OPTION = Option("option", 0.0, lambda value: value == 0.0, "0")


@dataclass(frozen=True)
class Row:
    """An elementwise activation.

    Attributes
    ----------
    name : str
        What the command line, estimators and files call it.
    y, dy : str
        Code that gives ``y`` from z; and that gives ``dy`` its product with f', from y or z.
    derivative_from : {"output", "input"}
        Which of them: it is kept from forward to backward.
    formula, source : str
        For people: f(z), and where it is from.
    option : Option
        The number that the code takes, if it takes one.
    initializer : str
        The initial weights that suit the layer before it, by name.
    fuses_dropout : bool
        Whether f' is 0 where y is: then the output says what dropout behind it has dropped.
    """

    name: str
    y: str
    dy: str
    derivative_from: Literal["output", "input"]
    formula: str
    source: str
    option: Option = NO_OPTION
    initializer: str = "he"
    fuses_dropout: bool = False

    @cached_property
    def forward(self) -> Code:
        """The code of f; y may be the memory of z."""
        return Code(self.y, ("z", "y"), (), (self.option.name,), in_place=True)

    @cached_property
    def backward(self) -> Code:
        """The code of dy ← dy · f'."""
        kept = "y" if self.derivative_from == "output" else "z"
        return Code(self.dy, ("dy", kept), (), (self.option.name,))


_SELU, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

_TABLE = (
    Row(
        "identity",
        y="y = z",
        dy="dy = dy",
        derivative_from="output",
        formula="z",
        source="",
        initializer="xavier",
    ),
    Row(
        "relu",
        y="y = maximum(z, 0)",
        dy="dy = where(y > 0, dy, 0)",
        derivative_from="output",
        formula="max(0, z)",
        source="notes, chapter 2.2.3",
        fuses_dropout=True,
    ),
    Row(
        "leaky_relu",
        y="y = maximum(z, negative_slope * z)",
        dy="dy = dy * (negative_slope + (1 - negative_slope) * where(y > 0, 1, 0))",
        derivative_from="output",
        formula="max(z, βz)",
        source="notes, chapter 2.2.3",
        option=Option("negative_slope", 0.01, lambda slope: 0 <= slope < 1, "a number in [0, 1)"),
    ),
    Row(
        "tanh",
        y="y = tanh(z)",
        dy="dy = dy * (1 - y * y)",
        derivative_from="output",
        formula="tanh(z)",
        source="notes, chapter 2.2.2",
        initializer="xavier",
    ),
    Row(
        "sigmoid",
        y="y = 1 / (1 + exp(minimum(-z, 87)))",
        dy="dy = dy * (y * (1 - y))",
        derivative_from="output",
        formula="1 / (1 + exp(−z))",
        source="notes, chapter 2.2.1",
        initializer="xavier",
    ),
    Row(
        "gelu",
        y=f"y = 0.5 * z * (1 + erf({math.sqrt(0.5)!r} * z))",
        dy=f"""
        c = maximum(minimum(z, 13), -13)
        below = 0.5 + 0.5 * erf({math.sqrt(0.5)!r} * c)
        dy = dy * (below + {1 / math.sqrt(2 * math.pi)!r} * c * exp(-0.5 * (c * c)))
        """,
        derivative_from="input",
        formula="z (1 + erf(z / √2)) / 2",
        source='Hendrycks & Gimpel, "Gaussian error linear units", 2016',
    ),
    Row(
        "gelu_tanh",
        y=f"""
        c = maximum(minimum(z, 10), -10)
        t = tanh({math.sqrt(2 / math.pi)!r} * c * (1 + 0.044715 * (c * c)))
        y = 0.5 * z * (1 + t)
        """,
        dy=f"""
        c = maximum(minimum(z, 10), -10)
        t = tanh({math.sqrt(2 / math.pi)!r} * c * (1 + 0.044715 * (c * c)))
        slope = {math.sqrt(2 / math.pi)!r} * c * (1 + {3 * 0.044715!r} * (c * c))
        dy = dy * (0.5 * (1 + t) * (1 + (1 - t) * slope))
        """,
        derivative_from="input",
        formula="z (1 + tanh(√(2/π) (z + 0.044715 z³))) / 2",
        source='Hendrycks & Gimpel, "Gaussian error linear units", 2016',
    ),
    Row(
        "silu",
        y="""
        c = maximum(z, -80)
        y = c / (1 + exp(-c))
        """,
        dy="""
        c = maximum(z, -80)
        s = 1 / (1 + exp(-c))
        dy = dy * (s * (1 + c * (1 - s)))
        """,
        derivative_from="input",
        formula="z / (1 + exp(−z))",
        source='Elfwing, Uchibe & Doya, "Sigmoid-weighted linear units", 2017',
    ),
    Row(
        "mish",
        y="""
        w = exp(minimum(z, 20))
        n = w * (w + 2)
        y = z * (n / (n + 2))
        """,
        dy="""
        c = minimum(z, 20)
        w = exp(c)
        n = w * (w + 2)
        q = n + 2
        dy = dy * (n / q + c * (4 * w * (w + 1) / (q * q)))
        """,
        derivative_from="input",
        formula="z tanh(log(1 + exp(z)))",
        source='Misra, "Mish", BMVC 2020',
    ),
    Row(
        "elu",
        y="y = maximum(z, 0) + alpha * expm1(minimum(z, 0))",
        dy="dy = dy * (minimum(y, 0) + alpha + (1 - alpha) * where(y > 0, 1, 0))",
        derivative_from="output",
        formula="z above 0, α (exp(z) − 1) below",
        source='Clevert, Unterthiner & Hochreiter, "Exponential linear units", ICLR 2016',
        option=Option("alpha", 1.0, lambda alpha: 0 < alpha < math.inf, "a finite number above 0"),
    ),
    Row(
        "selu",
        y=f"y = {_SELU!r} * maximum(z, 0) + {_SELU * _SELU_ALPHA!r} * expm1(minimum(z, 0))",
        dy=f"""
        above = {_SELU * (1 - _SELU_ALPHA)!r} * where(y > 0, 1, 0)
        dy = dy * (minimum(y, 0) + {_SELU * _SELU_ALPHA!r} + above)
        """,
        derivative_from="output",
        formula="1.0507 z above 0, 1.7581 (exp(z) − 1) below",
        source='Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017',
        initializer="lecun",
    ),
    Row(
        "softplus",
        y="y = maximum(z, 0) + log1p(exp(-abs(z)))",
        dy="dy = -(dy * expm1(-y))",
        derivative_from="output",
        formula="log(1 + exp(z))",
        source='Dugas et al., "Incorporating second-order functional knowledge", NIPS 2000',
    ),
    Row(
        "smooth_clip",
        y="""
        c = maximum(minimum(z / limit, 1000000000.0), -1000000000.0)
        y = limit * (c / sqrt(1 + c * c))
        """,
        dy="""
        t = y / limit
        s = maximum(1 - t * t, 0)
        dy = dy * (s * sqrt(s))
        """,
        derivative_from="output",
        formula="z / √(1 + (z / limit)²)",
        source='Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024',
        option=Option("limit", 3.0, lambda limit: 0 < limit < math.inf, "a finite number above 0"),
        initializer="xavier",
    ),
)

#: The table, by the rows' names.
ROWS: dict[str, Row] = {row.name: row for row in _TABLE}

#: What the rows are for compiled code: their places in the table.
KINDS: dict[str, int] = {name: kind for kind, name in enumerate(ROWS)}


class Mask(NamedTuple):
    """What dropout kills, as kernels are told of it that have no work for `Kernels.dropout`.

    Attributes
    ----------
    key : array, uint64, shape (1,), or (k, 1, 1) for k networks at once
        The bits of the step.
    salt : int, or array, uint64, shape (k, 1, 1)
        The bits of the layer: its first counter. From one to the next it is `GAMMA`.
    threshold : int, or array, int32, shape (k, 1, 1)
        The probability of dropping, times 2¹⁶.
    """

    key: Array
    salt: int | Array
    threshold: int | Array

    @property
    def scale(self) -> float | Array:
        """What the living are multiplied by."""
        return 65536 / (65536 - self.threshold)


class ChangingMask(Mask):
    """A mask whose threshold changes from step to step: an array, (1,) of one network."""


@dataclass(frozen=True)
class ActivationSpec:
    """An elementwise activation, as kernels are told of it; `specify` makes it.

    Attributes
    ----------
    name : str
        The row.
    option : float
        The value of the row's option.
    mask : Mask or None
        The dropout behind it, if the row ``fuses_dropout``.
    """

    name: str
    option: float = 0.0
    mask: Mask | None = None

    @cached_property
    def row(self) -> Row:
        """The row of the table."""
        return ROWS[self.name]

    @cached_property
    def scale(self) -> float | Array:
        """What dropout multiplies by what it does not drop."""
        return 1.0 if self.mask is None else self.mask.scale

    def masked(self, mask: Mask | None) -> ActivationSpec:
        """Return the same activation with another dropout behind it, or none."""
        if isinstance(mask, ChangingMask):
            return ChangingSpec(self.name, self.option, mask)
        return ActivationSpec(self.name, self.option, mask)

    def take_member(self, i: int) -> None:
        """Go on with a mask that has another threshold for member i."""
        if self.mask is not None and getattr(self.scale, "ndim", False):
            self.scale[i] = 65536 / (65536 - self.mask.threshold[i])  # type: ignore[index]

    @cached_property
    def forward(self) -> Program:
        """The operations of f over arrays z and y."""
        return self.row.forward.program(**{self.row.option.name: self.option})

    @cached_property
    def backward(self) -> Program:
        """The operations of dy ← dy · f', over dy and what is kept."""
        return self.row.backward.program(**{self.row.option.name: self.option})


class ChangingSpec(ActivationSpec):
    """One with a `ChangingMask`, whose scale is computed anew each time."""

    @property
    def scale(self) -> float | Array:
        """What dropout multiplies by what it does not drop, in this step."""
        return 1.0 if self.mask is None else self.mask.scale


IDENTITY, SIGMOID = ActivationSpec("identity"), ActivationSpec("sigmoid")


def specify(name: str, **options: float) -> ActivationSpec:
    """Return the spec of an activation.

    Raises
    ------
    ValueError
        If there is no such activation, or its option may not have that value.
    TypeError
        If the activation has no such option.

    Examples
    --------
    >>> specify("leaky_relu", negative_slope=0.1)
    ActivationSpec(name='leaky_relu', option=0.1, mask=None)
    """
    if name not in ROWS:
        raise ValueError(f"activation is {name!r}: give one of {', '.join(ROWS)}")
    option = ROWS[name].option
    known = () if option is NO_OPTION else (option.name,)
    for unknown in options.keys() - known:
        has = f"it has {option.name}" if known else "it has none"
        raise TypeError(f"{unknown} is no option of the activation {name}: {has}")
    return ActivationSpec(name, option.check(options.get(option.name, option.default)))


class ActivationWork(NamedTuple):
    """Scratch of a program: arrays as z, and one of bool, or None if it needs none."""

    registers: tuple[Array, ...]
    mask: Array | None


NO_WORK = ActivationWork((), None)


def activation_work(room: Callable[[str, Any], Array], *programs: Program) -> ActivationWork:
    """Return the scratch that suffices for each of some programs.

    ``room(name, dtype)`` returns an array as z, of z's dtype if none is given.
    """
    count = max(program.n_registers for program in programs)
    registers = tuple(room(f"register {i}", None) for i in range(count))
    masks = any(program.masks for program in programs)
    return ActivationWork(registers, room("mask", np.bool_) if masks else None)
