"""What a run is set to, as a checkpoint holds it, and in what two runs differ."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from ..files import json_tree


def describe(thing: object) -> object:
    """Return an optimiser, a schedule or the like as JSON-ready data: what it is and is set to.

    Of a function it is the name alone.

    Examples
    --------
    >>> from xpnet.optim.optimizers import SGD
    >>> describe(SGD(0.1))
    {'kind': 'SGD', 'learning_rate': 0.1, 'momentum': 0.0, 'nesterov': False}
    """
    return json_tree.decode(json_tree.encode(thing, _described), {})


def _described(thing: object, name: str) -> object:
    """Return what stands for a thing that is no value, in JSON."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        values = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}
        return json_tree.encode({"kind": type(thing).__name__} | values, _described, name)
    if thing is None or isinstance(thing, bool | int | float | str | list | tuple | dict):
        return None
    if callable(thing) and hasattr(thing, "__qualname__"):
        return f"{thing.__module__}.{thing.__qualname__}"
    text = repr(thing)
    return type(thing).__qualname__ if " at 0x" in text else text


def differences(here: object, there: object, name: str = "") -> Iterator[str]:
    """Yield in words where two settings differ.

    Examples
    --------
    >>> list(differences({"a": {"b": 1, "c": [2]}}, {"a": {"b": 3, "c": [2]}}))
    ['a.b is 1 here and 3 in the checkpoint']
    """
    if isinstance(here, dict) and isinstance(there, dict):
        for key in dict.fromkeys((*here, *there)):
            inner = f"{name}.{key}".lstrip(".")
            yield from differences(here.get(key), there.get(key), inner)
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for i, (mine, other) in enumerate(zip(here, there, strict=True)):
            yield from differences(mine, other, f"{name}[{i}]")
    elif here != there:
        yield f"{name} is {json.dumps(here)} here and {json.dumps(there)} in the checkpoint"
