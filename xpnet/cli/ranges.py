"""What ``xpnet tune --set`` says: ranges of hyper-parameters, as text, become a space."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..checks import check_name
from ..nn.activations import ACTIVATIONS
from ..nn.loss import Loss
from ..optim.optimizers import Optimizer
from ..recipes import specs
from ..recipes.settings import SCHEDULES, Settings
from ..search.distributions import (
    Distribution,
    choice,
    int_uniform,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from ..search.space import check_space, when
from ..tabular.tuning import VARIED, WITH_OPTIONS
from .training_options import READERS

#: What stands for the space that is searched where nothing is said.
DEFAULT = "default"

#: The scales of a range, by what stands before it.
SCALES: dict[str, Callable[[float, float], Distribution]] = {
    "": uniform,
    "log": log_uniform,
    "1-log": one_minus_log_uniform,
}

#: How one of several values is read, where `READERS` does not say it.
VALUES: dict[str, Callable[[str], Any]] = {
    "batch_norm": lambda text: {"true": True, "false": False}[text],
    "batch_size": int,
    **dict.fromkeys(("input_dropout", "l2", "clip_norm", "learning_rate"), float),
}

#: Of which there are ranges; of the others there are choices alone.
NUMBERS = ("dropout", "input_dropout", "l2", "clip_norm", "learning_rate", "batch_size")

#: What NAME of NAME.KEY stands for.
KINDS: dict[str, Mapping[str, Any]] = {
    "activation": ACTIVATIONS,
    "optimizer": Optimizer.registry,
    "schedule": SCHEDULES,
    "loss": Loss.registry,
}

EXAMPLE = "learning_rate=log:1e-4:0.1 or hidden=64|256,128"


class Asked(NamedTuple):
    """A text of ``--set`` in its parts: a name, its range, and conditions, as others' values."""

    text: str
    name: str
    range: str
    conditions: dict[str, str]


def space_of(
    texts: Sequence[str],
    settings: Settings,
    default: Mapping[str, Distribution],
    fixed: Collection[str] = (),
) -> dict[str, Distribution]:
    """Return the space that several texts describe.

    Parameters
    ----------
    texts : sequence of str
        ``NAME=RANGE``, or ``NAME=RANGE if OTHER=VALUE|VALUE``, or ``default`` for the default
        space, whose ranges others may change. Of numbers a range is ``A:B``, evenly spread, or
        ``log:A:B``, or ``1-log:A:B`` for what is near 1; of whatever there is, ``A|B|C`` are
        choices. An option of what NAME stands for is NAME.KEY, as ``optimizer.beta_1``: it is there
        where NAME has one of the values that know it.
    settings : Settings
        What holds for all that is not searched.
    default : mapping
        The default space.
    fixed : collection of str
        What is given by an option of its own.

    Raises
    ------
    ValueError
        If one can't be understood or is given twice: the message has its text.

    Examples
    --------
    >>> found = space_of(["hidden=64|256,128", "l2=log:1e-6:1"], Settings(), {})
    >>> found["hidden"].options, found["l2"].grid(3)
    (((64,), (256, 128)), [1e-06, 0.001, 1.0])
    """
    space = dict(default) if DEFAULT in texts else {}
    asked = [_read(text) for text in texts if text != DEFAULT]
    for i, one in enumerate(asked):
        if one.name in [before.name for before in asked[:i]]:
            raise ValueError(f"--set {one.text}: {one.name} is given twice")
        if one.name in fixed:
            option = f"--{one.name.replace('_', '-')}"
            raise ValueError(f"--set {one.text}: {option} is given as well; give one of them")
    # What others ask for stands before them.
    for one in sorted(asked, key=lambda one: ("." in one.name) + 2 * len(one.conditions)):
        space.pop(one.name, None)
        try:
            space[one.name] = _distribution(one, space, settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"--set {one.text}: {error}") from error
    check_space(space)
    return space


def _read(text: str) -> Asked:
    """Return the parts of a text."""
    given, *more = re.split(r"\s+if\s+", text.strip())
    found = [re.fullmatch(r"([\w.-]+)\s*=\s*(.*\S)", part) for part in (given, *more)]
    if None in found:
        raise ValueError(f"--set is {text!r}: give NAME=RANGE, as {EXAMPLE}")
    pairs = [(part[1].replace("-", "_"), part[2]) for part in found if part is not None]
    (name, spread), conditions = pairs[0], dict(pairs[1:])
    head, dot, _ = name.partition(".")
    if name not in VARIED and not (dot and head in WITH_OPTIONS):
        raise ValueError(f"--set {text}: {_not_searched(name)}")
    return Asked(text, name, spread, conditions)


def _not_searched(name: str) -> str:
    """Return why a name is none of those that can be searched."""
    if name in ("epochs", "patience"):
        return f"{name} is not searched: the best epoch of each training is found without"
    close = difflib.get_close_matches(name, VARIED, 1)
    hint = f"did you mean {close[0]}?" if close else f"give one of {', '.join(VARIED)}"
    options = ", or an option as optimizer.beta_1" if not close else ""
    return f"{name} is nothing that is searched: {hint}{options}"


def _distribution(asked: Asked, space: dict[str, Distribution], settings: Settings) -> Distribution:
    head, dot, key = asked.name.partition(".")
    if not dot:
        found = _spread(asked.name, asked.range, asked.name in NUMBERS, VALUES.get(asked.name))
    else:
        found = _spread(asked.name, asked.range, True, None)
        names = _names_with(head, key, space, settings)
        if names is not None and head not in asked.conditions:
            found = when(head, names, found)
    for other, values in reversed(asked.conditions.items()):
        if other not in space:
            raise ValueError(f"{other} is not searched: it can be no condition")
        found = when(other, [_reader(other)(value) for value in values.split("|")], found)
    return found


def _names_with(
    head: str, key: str, space: dict[str, Distribution], settings: Settings
) -> list[str] | None:
    """Return which of the values of NAME have an option KEY; None: all, or NAME is not searched.

    Raises
    ------
    ValueError
        If none has it.
    """
    fixed = getattr(settings, head)
    values = [fixed] if head not in space else space[head].grid(1)
    kinds = KINDS[head]
    if head == "loss" and fixed is None:  # what fits the task is not known yet
        return None
    classes = {value: check_name(value.partition(":")[0], kinds, head) for value in values}
    known = [value for value, cls in classes.items() if key in _options(cls)]
    if not known:
        there = dict.fromkeys(option for cls in classes.values() for option in _options(cls))
        raise ValueError(
            f"{' or '.join(values)} has no option {key}; there are {', '.join(there) or 'none'}"
        )
    return None if len(known) == len(values) else known


def _options(cls: Any) -> list[str]:
    """Return the options that a text gives a class; its rate comes from elsewhere."""
    return [name for name in specs.option_names(cls) if name not in ("learning_rate", "initial")]


def _reader(name: str) -> Callable[[str], Any]:
    """Return what reads one value of a hyper-parameter."""
    read = VALUES.get(name) or READERS.get(name) or str

    def checked(text: str) -> Any:
        try:
            return read(text.strip())
        except KeyError as error:
            raise ValueError(f"{text!r} is neither true nor false") from error
        except ValueError as error:
            kind = "whole number" if read is int else "number" if read is float else None
            raise ValueError(f"{text!r} is no {kind}" if kind else str(error)) from error

    return checked


def _spread(name: str, text: str, is_number: bool, kind: Any) -> Distribution:
    """Return a range of numbers, or choices."""
    if not is_number or "|" in text or ":" not in text:
        read = _reader(name)
        texts = [part.strip() for part in text.split("|")]
        if not all(texts):
            raise ValueError(f"there is an empty value in {text!r}: give them as A|B|C")
        values = {part: read(part) for part in texts}
        if len(values) < len(texts):
            raise ValueError("a value is given twice")
        return choice(values)
    scale, ends = _ends(text)
    if kind is int:
        if scale:
            raise ValueError(f"of whole numbers give choices, as 32|64|128, or A:B; not {scale}:")
        return int_uniform(*map(_reader(name), ends))
    low, high = (_number(end) for end in ends)
    return SCALES[scale](low, high)


def _ends(text: str) -> tuple[str, list[str]]:
    """Return the scale of a range and its two ends."""
    parts = [part.strip() for part in text.split(":")]
    scale = parts.pop(0) if not _is_number(parts[0]) and parts[0] else ""
    if scale not in SCALES:
        raise ValueError(f"there is no scale {scale!r}: give A:B, log:A:B or 1-log:A:B")
    if len(parts) != 2 or not all(parts):
        example = f"{scale}:A:B" if scale else "A:B"
        raise ValueError(f"a range has two ends: give {example}")
    return scale, parts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    if not _is_number(text):
        raise ValueError(f"{text!r} is no number")
    return float(text)
