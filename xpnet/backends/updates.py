"""The optimisers' updates, a row each: from its lines come the kernels of every backend.

The lines are scalar code (see `expressions`) over the parameter ``p``, its gradient ``g`` and the
optimiser's moments, which are zero at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from .._typing import Array
from .expressions import Code, Program


@dataclass(frozen=True, eq=False)
class Update:
    """An optimiser's update of one parameter.

    Parameters
    ----------
    name : str
        What its kernel is called.
    source : str
        The lines: each moment gets a value, then ``p``.
    moments : tuple of str
        What it remembers of a parameter.
    scalars : tuple of str
        What changes from step to step.
    options : tuple of str
        Numbers that stay the same.

    Raises
    ------
    SyntaxError
        If the lines are no such code, or write to something else than ``p`` and all moments.

    Examples
    --------
    >>> Update("sign_sgd", "p = p - rate * sign(g)").program(()).steps[-1]
    Step(operation='subtract', operands=('p', 0), out='p')
    """

    name: str
    source: str
    moments: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ("rate",)
    options: tuple[str, ...] = ()
    code: Code = field(init=False, repr=False)

    def __post_init__(self) -> None:
        code = Code(self.source, ("p", "g", *self.moments), self.scalars, self.options)
        object.__setattr__(self, "code", code)
        if code.written != ("p", *self.moments) or self.program((0.5,) * len(self.options)).masks:
            raise SyntaxError(f"the update {self.name!r} has to write p and all moments, no masks")

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return *self.code.arrays, *self.scalars

    @cached_property
    def n_registers(self) -> int:
        """How many arrays of scratch the update takes as operations over whole arrays."""
        return self.program((0.5,) * len(self.options)).n_registers

    @lru_cache  # noqa: B019 - of rows there are few, and they stay
    def program(self, options: tuple[float, ...]) -> Program:
        """Return the operations over whole arrays, for the options' values."""
        return self.code.program(**dict(zip(self.options, options, strict=True)))

    def named(
        self, p: Array, g: Array, moments: Sequence[Array], scalars: Sequence[Array]
    ) -> dict[str, Array]:
        """Return the arrays and scalars by the names that the lines have for them."""
        return dict(zip(self._names, (p, g, *moments, *scalars), strict=True))


UPDATES = {
    row.name: row
    for row in (
        Update("sgd", "p = p - rate * g"),
        Update(
            "sgd_momentum",
            """
            v = momentum * v + g
            p = p - rate * v
            """,
            moments=("v",),
            options=("momentum",),
        ),
        Update(
            "nesterov",
            """
            v = momentum * v + g
            p = p - rate * (g + momentum * v)
            """,
            moments=("v",),
            options=("momentum",),
        ),
        Update(
            "momentum",
            """
            v = beta * v + (1 - beta) * g
            p = p - rate * v
            """,
            moments=("v",),
            options=("beta",),
        ),
        Update(
            "rmsprop",
            """
            s = beta * s + (1 - beta) * (g * g)
            p = p - rate * (g / (sqrt(s) + eps))
            """,
            moments=("s",),
            options=("beta", "eps"),
        ),
        Update(
            "adagrad",
            """
            s = s + g * g
            p = p - rate * (g / (sqrt(s) + eps))
            """,
            moments=("s",),
            options=("eps",),
        ),
        Update(
            "adam",
            """
            v = beta_1 * v + (1 - beta_1) * g
            s = beta_2 * s + (1 - beta_2) * (g * g)
            p = p - rate * (v / (sqrt(s) * correction + eps))
            """,
            moments=("v", "s"),
            scalars=("rate", "correction"),
            options=("beta_1", "beta_2", "eps"),
        ),
        Update(
            "nadam",
            """
            v = beta_1 * v + (1 - beta_1) * g
            s = beta_2 * s + (1 - beta_2) * (g * g)
            p = p - (rate * g + ahead * v) / (sqrt(s) * correction + eps)
            """,
            moments=("v", "s"),
            scalars=("rate", "ahead", "correction"),
            options=("beta_1", "beta_2", "eps"),
        ),
        Update(
            "lion",
            """
            p = p - rate * sign(beta_1 * v + (1 - beta_1) * g)
            v = beta_2 * v + (1 - beta_2) * g
            """,
            moments=("v",),
            options=("beta_1", "beta_2"),
        ),
    )
}
