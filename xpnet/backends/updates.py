"""The optimisers' updates, a row each: from its lines come the kernels of every backend.

The lines are scalar code (see `expressions`) over the parameter ``p``, its gradient ``g`` and the
optimiser's moments, which are zero at the start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from inspect import cleandoc
from typing import Any

from .._typing import Array
from .expressions import Code, Program

#: What a row with factors reads beside the gradient, for each parameter: see `Update.with_factors`.
FACTORS = ("g_factor", "step_factor", "decay_factor")


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
    factors : tuple of str
        Arrays that it only reads: none, or `FACTORS`.

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
    factors: tuple[str, ...] = ()
    code: Code = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arrays = "p", "g", *self.moments, *self.factors
        code = Code(self.source, arrays, self.scalars, self.options)
        object.__setattr__(self, "code", code)
        if code.written != ("p", *self.moments) or self.program((0.5,) * len(self.options)).masks:
            raise SyntaxError(f"the update {self.name!r} has to write p and all moments, no masks")

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return *self.code.arrays, *self.scalars

    @cached_property
    def n_registers(self) -> int:
        """How many arrays of scratch the update takes as operations over whole arrays.

        Options that are arrays may take more: see `registers_for`.
        """
        return self.program((0.5,) * len(self.options)).n_registers

    @lru_cache  # noqa: B019 - of rows there are few, and they stay
    def program(self, options: tuple[float | None, ...]) -> Program:
        """Return the operations over whole arrays, for the options' values.

        None stands for one that members have each of their own: it is found among the arrays.
        """
        given = dict(zip(self.options, options, strict=True))
        own = tuple(name for name, value in given.items() if value is None)
        code = self.code if not own else self._code_with(own)
        return code.program(**{name: x for name, x in given.items() if x is not None})

    def _code_with(self, own: tuple[str, ...]) -> Code:
        """Return the code with some options as scalars."""
        options = tuple(name for name in self.options if name not in own)
        return Code(self.source, self.code.arrays, (*self.scalars, *own), options)

    def program_for(self, options: tuple[Any, ...]) -> Program:
        """Return `program` for options of which some may be arrays."""
        if all(isinstance(option, float) for option in options):
            return self.program(options)
        return self.program(tuple(o if isinstance(o, float) else None for o in options))

    def options_per_member(self, options: tuple[Any, ...]) -> dict[str, Array]:
        """Return those options that are arrays, by their names."""
        given = zip(self.options, options, strict=True)
        return {name: value for name, value in given if not isinstance(value, float)}

    def registers_for(self, options: tuple[Any, ...]) -> int:
        """Return how many arrays of scratch `program_for` takes."""
        return self.program_for(options).n_registers

    def named(
        self,
        p: Array,
        g: Array,
        moments: Sequence[Array],
        scalars: Sequence[Array],
        factors: Sequence[Array] = (),
    ) -> dict[str, Array]:
        """Return the arrays and scalars by the names that the lines have for them."""
        return dict(zip(self._names, (p, g, *moments, *factors, *scalars), strict=True))

    @cache  # noqa: B019 - of rows there are few, and they stay
    def with_factors(self, decays: bool = False) -> Update:
        """Return the row with an array of factors for each of three things.

        The gradient is multiplied by ``g_factor``, and what p changes by then by ``step_factor``.
        If it decays, p is first multiplied by 1 − (1 − ``keep``) · ``decay_factor``, where ``keep``
        is one more scalar.

        With ``g_factor`` and ``step_factor`` s, p = s θ moves as if θ were updated by the row.

        Raises
        ------
        SyntaxError
            If the row has not one line ``p = p - …``, or reads p elsewhere: what p is multiplied by
            would then change what it does.

        Examples
        --------
        >>> print(UPDATES["sgd_momentum"].with_factors().source)
        scaled_g = g * g_factor
        v = momentum * v + scaled_g
        p = p - step_factor * (rate * v)
        """
        source = re.sub(r"\bg\b", "scaled_g", cleandoc(self.source))
        change = r"^p = p - (.+)$"
        source, lines = re.subn(change, r"p = p - step_factor * (\1)", source, flags=re.MULTILINE)
        if lines != 1 or len(re.findall(r"\bp\b", source)) != 2:
            raise SyntaxError(f"the update {self.name!r} takes no factors: write 'p = p - …', once")
        source, name, scalars = f"scaled_g = g * g_factor\n{source}", self.name, self.scalars
        if decays:
            source = f"p = p * (1 - (1 - keep) * decay_factor)\n{source}"
            name, scalars = f"decayed_{name}", (*scalars, "keep")
        parts = self.moments, scalars, self.options, FACTORS
        return Update(f"{name}_by_factors", source, *parts)


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
