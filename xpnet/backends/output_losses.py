"""The losses of one output at a time, a row each: from its lines come the kernels of every backend.

The lines are scalar code (see `expressions`) over the output ``z`` and the target ``y``. They give
the loss, ``term``, and its derivative with respect to z, ``dz``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from inspect import cleandoc

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
    calls : str
        Lines that come first, for calls of functions such as exp: NumPy computes several numbers at
        once, which a compiled loop does not. They may write to ``dz`` and ``term`` alone; the other
        lines find there what these have written.

    Raises
    ------
    SyntaxError
        If the lines are no such code, or write to something else than ``dz`` and ``term``.
    """

    name: str
    source: str
    options: tuple[str, ...] = ()
    calls: str = ""
    code: Code = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", self._code(self.calls, self.source))
        if self.code.written != ("dz", "term"):
            raise SyntaxError(f"the loss {self.name!r} has to write dz and term")

    def _code(self, *sources: str) -> Code:
        lines = "\n".join(map(cleandoc, sources))
        return Code(lines, ("z", "y", "dz", "term"), (), self.options)

    @cached_property
    def after_calls(self) -> Code:
        """The code without the calls."""
        return self._code(self.source)

    @lru_cache  # noqa: B019 - of rows there are few, and they stay
    def program(self, options: tuple[float, ...]) -> Program:
        """Return the operations over whole arrays, for the options' values."""
        return self.code.program(**dict(zip(self.options, options, strict=True)))

    @lru_cache  # noqa: B019
    def program_of_calls(self, options: tuple[float, ...]) -> Program:
        """Return those of the calls; no more scratch than `program` takes."""
        return self._code(self.calls).program(**dict(zip(self.options, options, strict=True)))


OUTPUT_LOSSES = {
    row.name: row
    for row in (
        OutputLoss(
            "sigmoid_cross_entropy",
            """
            e = dz
            dz = where(z < 0, e, 1) / (1 + e) - y
            term = maximum(z, 0) - z * y + term
            """,
            calls="""
            dz = exp(-abs(z))
            term = log1p(dz)
            """,
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
            dz = dz - y
            term = (term - z) * y + dz
            """,
            calls="""
            dz = exp(z)
            term = log(maximum(y, 1e-37))
            """,
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
