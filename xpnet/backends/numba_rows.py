"""Compiled loops for the rows of a table: a loop is written once, with a function that rows give.

Numba keeps machine code on disk under a function's name, its line and the time when its file was
last written. So each row's loop is a function of its own, whose name has the row's and a hash of
the code that the row gives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import cache
from inspect import cleandoc
from types import FunctionType
from typing import Any

from . import numba_loops as loops
from .activations import ROWS
from .expressions import Code
from .numba_loops import sign_of
from .numba_members import inlined, network_loop
from .output_losses import OutputLoss
from .updates import Update

#: What scalar code may call.
_NAMES = {
    **{name: getattr(math, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sqrt")},
    "erf": math.erf,
    "sign_of": sign_of,
}


def specialised(
    template: Callable[..., Any], row: str, liberties: tuple[str, ...] = (), **functions: str
) -> Callable[..., Any]:
    """Return a loop, compiled with a row's functions in place of the globals of these names.

    Parameters
    ----------
    template : function
        The loop, as plain Python.
    row : str
        The row's name.
    liberties : tuple of str
        As for `numba_members.network_loop`.
    **functions : str
        The source of each function, as `Code.to_python` gives it.
    """
    given = {name: scalar_function(name, source) for name, source in functions.items()}
    digest = _digest("\n".join(functions.values()))
    name = f"{template.__name__}_{row}_{digest}"
    code = template.__code__.replace(co_name=name)
    function = FunctionType(code, {**template.__globals__, **given}, name)
    function.__qualname__, function.__module__ = name, template.__module__
    function.__annotations__ = template.__annotations__
    return network_loop(function, *liberties)


def scalar_function(name: str, source: str) -> Callable[..., Any]:
    """Return a compiled function of numbers: it becomes a part of each loop that calls it."""
    found: dict[str, Any] = dict(_NAMES)
    exec(compile(source, __file__, "exec"), found)
    own = found[name]
    # Code from the disk and one's own are linked by name: what differs is called differently.
    own.__qualname__ = f"{name}_{_digest(source)}"
    function: Callable[..., Any] = inlined(own)
    return function


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


# -- the tables' loops ----


@cache
def for_activation(template: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a loop that calls ``forward`` and ``backward``, for a row of the activations."""
    called = [way for way in ("forward", "backward") if way in template.__code__.co_names]
    sources = {way: getattr(ROWS[name], way).to_python(way) for way in called}
    return specialised(template, name, **sources)


@cache
def update_loop(row: Update, decays: bool) -> Callable[..., None]:
    """Return the loop of an update over p, g, moments, factors, and scalars and options in a tuple.

    If it decays, p is first multiplied by one more scalar.
    """
    scalars = (*row.scalars, "keep") if decays else row.scalars
    source = f"p = keep * p\n{cleandoc(row.source)}" if decays else row.source
    code = Code(source, row.code.arrays, (), (*scalars, *row.options))
    template = (loops.FACTORED_LOOPS if row.factors else loops.UPDATE_LOOPS)[len(row.moments)]
    return specialised(template, row.name, _update=code.to_python("_update"))


@cache
def output_loss_loop(row: OutputLoss) -> Callable[..., None]:
    """Return the loop of a loss, for what comes after its calls."""
    source = row.after_calls.to_python("_output_loss")
    return specialised(loops.output_loss, row.name, ("reassoc",), _output_loss=source)
