"""Things on the command line, NAME or NAME:KEY=VALUE,…: what is named, with its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeVar

from ..checks import check_name

T = TypeVar("T")

#: How the values of options are read, by the annotation of the field; others stay text. On the
#: command line a number is one for all members.
READERS: dict[str, Any] = {
    "float": float,
    "Numbers": float,
    "Rates": float,
    "int": int,
    "bool": {"true": True, "false": False}.get,
}


def make(text: str, kinds: Mapping[str, Callable[..., T]], what: str, **given: Any) -> T:
    """Return what a text describes.

    Parameters
    ----------
    text : str
        NAME or NAME:KEY=VALUE,…
    kinds : dict of str to class
        The known names; the options of a class are its fields, as a dataclass, but for those that a
        `functools.partial` has set.
    what : str
        What it is, for messages.
    **given
        Options that are not for the text to give.

    Raises
    ------
    ValueError
        If the name is not known, an option is none of its, or a value out of range.

    Examples
    --------
    >>> from xpnet.optim.optimizers import Optimizer
    >>> make("rmsprop:beta=0.8", Optimizer.registry, "optimizer", learning_rate=0.01)
    RMSProp(learning_rate=0.01, beta=0.8, eps=1e-08)
    >>> make("sgd:beta=0.8", Optimizer.registry, "optimizer", learning_rate=0.01)
    Traceback (most recent call last):
    ValueError: optimizer is 'sgd:beta=0.8': beta is no option of it; there are momentum, nesterov
    """
    name, _, rest = text.partition(":")
    kind = check_name(name, kinds, what)
    try:
        return kind(**given, **read_options(rest, kind, given))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {text!r}: {error}") from error


def read_options(text: str, kind: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class that a text KEY=VALUE,… gives, or raise a ValueError."""
    known = _known(kind)
    names = [name for name in known if name not in given]
    options = {}
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in names:
            raise ValueError(f"{name} is no option of it; there are {', '.join(names) or 'none'}")
        annotation: Any = known[name]
        read = READERS.get(getattr(annotation, "__name__", annotation), str)
        options[name] = read(value)
        if options[name] is None:
            raise ValueError(f"{name} is {value!r}: give true or false")
    return options


def told(value: Any) -> str:
    """Return the value of a setting as the command line has it.

    Examples
    --------
    >>> [told(value) for value in ((256, 128), (), True, 0.001, "relu", None)]
    ['256,128', 'none', 'true', '0.001', 'relu', 'none']
    """
    if isinstance(value, tuple | list):
        return ",".join(map(told, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def option_names(kind: Callable[..., Any]) -> list[str]:
    """Return the names of the options that a text may give a class."""
    return [*_known(kind)]


def _known(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of a class with their annotations, but for those that are set already."""
    cls = kind.func if isinstance(kind, partial) else kind
    given = kind.keywords if isinstance(kind, partial) else {}
    found = fields(cls) if is_dataclass(cls) else ()
    return {f.name: f.type for f in found if f.init and f.name not in given}
