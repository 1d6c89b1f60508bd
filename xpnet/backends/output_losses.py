"""The losses of one output at a time, a row each: from its lines come the kernels of every backend.

The lines are scalar code (see `expressions`) over the output ``z`` and the target ``y``. They give
the loss, ``term``, and its derivative with respect to z, ``dz``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from .expressions import Code, Program


@dataclass(frozen=True, eq=False)
class OutputLoss:
    """The loss of one output.

    Parameters
    ----------
    name : str
        What its kernel is called.
    source : str
        The lines.
    options : tuple of str
        Numbers that they find.
    exponent : str
        If it is given, the lines find ``e``, its exponential: NumPy computes several of these at
        once, which a compiled loop does not.

    Raises
    ------
    SyntaxError
        If the lines are no such code, or write to something else than ``dz`` and ``term``.
    """

    name: str
    source: str
    options: tuple[str, ...] = ()
    exponent: str = ""
    code: Code = field(init=False, repr=False)

    def __post_init__(self) -> None:
        first = f"e = exp({self.exponent})" if self.exponent else ""
        object.__setattr__(self, "code", self.code_after(first))
        if self.code.written != ("dz", "term"):
            raise SyntaxError(f"the loss {self.name!r} has to write dz and term")

    def code_after(self, first: str) -> Code:
        """Return the code, with another line for what comes first."""
        lines = [line.strip() for line in self.source.splitlines()]
        return Code("\n".join([first, *lines]), ("z", "y", "dz", "term"), (), self.options)

    @lru_cache  # noqa: B019 - of rows there are few, and they stay
    def program(self, options: tuple[float, ...]) -> Program:
        """Return the operations over whole arrays, for the options' values."""
        return self.code.program(**dict(zip(self.options, options, strict=True)))


OUTPUT_LOSSES = {
    row.name: row
    for row in (
        OutputLoss(
            "sigmoid_cross_entropy",
            """
            dz = where(z < 0, e, 1) / (1 + e) - y
            term = maximum(z, 0) - z * y + log1p(e)
            """,
            exponent="-abs(z)",
        ),
        OutputLoss(
            "squared_error",
            """
            d = z - y
            dz = 2 * scale * d
            term = scale * (d * d)
            """,
            options=("scale",),
        ),
        OutputLoss(
            "poisson",
            """
            dz = e - y
            term = (log(maximum(y, 1e-37)) - z) * y + dz
            """,
            exponent="z",
        ),
        OutputLoss(
            "huber",
            """
            d = z - y
            dz = maximum(minimum(d, delta), -delta)
            term = dz * (d - 0.5 * dz)
            """,
            options=("delta",),
        ),
        OutputLoss(
            "quantile",
            """
            d = z - y
            dz = 0.5 * sign(d) + (0.5 - q)
            term = dz * d
            """,
            options=("q",),
        ),
    )
}
