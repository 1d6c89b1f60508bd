"""What an estimator for tables is asked for: its parameters as settings, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, get_args, get_origin

from ..checks import check_count, check_flag, check_name, check_number, check_several
from ..recipes.settings import Settings
from ..registry import annotations_of

#: The settings that are parameters of their own; None: not set by hand.
OWN = ("hidden", "members", "folds", "epochs", "batch_size", "learning_rate", "loss")

#: Those that others stand for, and that only the command line shows.
ELSEWHERE = {
    "seed": "give random_state",
    "dtype": "give it as the parameter dtype",
    "recipe": "give it as the parameter recipe",
    "task": "the estimator's kind says it",
    "goal": "nothing here goes by it",
}


def settings_of(
    own: Mapping[str, Any], more: Mapping[str, Any] | None, **fixed: Any
) -> tuple[Settings, list[str]]:
    """Return settings, and the names of those that are set by hand.

    Parameters
    ----------
    own : dict
        Of the names in `OWN`: None is not set.
    more : dict or None
        Other settings by name.
    **fixed
        Settings that come from elsewhere, such as the seed.

    Raises
    ------
    TypeError, ValueError
        If there is no such setting, one is given twice, or is not what it must be.

    Examples
    --------
    >>> settings, given = settings_of({"hidden": 64, "members": None}, {"dropout": 0.1}, seed=3)
    >>> settings.hidden, settings.dropout, settings.seed, given
    ((64,), (0.1,), 3, ['hidden', 'dropout'])
    """
    if more is not None and not isinstance(more, Mapping):
        raise TypeError(f"settings is {more!r:.100}: give a dict, as {{'activation': 'mish'}}")
    given = {name: value for name, value in own.items() if value is not None}
    for name, value in (more or {}).items():
        if name in ELSEWHERE:
            raise ValueError(f"settings has {name!r}: {ELSEWHERE[name]}")
        check_name(name, annotations_of(Settings), "a name in settings")
        if name in given:
            raise ValueError(f"{name} is given as a parameter and in settings: leave one out")
        given[name] = value
    checked = {name: check_setting(value, name) for name, value in given.items()}
    return replace(Settings(**fixed), **checked), [*checked]


def check_setting(value: Any, name: str) -> Any:
    """Return the value of a setting as `Settings` has it, or raise a TypeError or ValueError.

    Examples
    --------
    >>> check_setting([64, 32], "hidden"), check_setting(None, "clip")
    ((64, 32), None)
    >>> check_setting("yes", "keep_best")
    Traceback (most recent call last):
    TypeError: keep_best is 'yes': give True or False
    """
    annotation = annotations_of(Settings)[name]
    if get_origin(annotation) is Literal:
        return check_name(value, {choice: choice for choice in get_args(annotation)}, name)
    kinds = str(annotation).split(" | ")
    kinds = [kind.removeprefix("<class '").removesuffix("'>") for kind in kinds]
    if value is None and "None" in kinds:
        return None
    if isinstance(value, str) and "str" in kinds and kinds[0] != "str" and value != "auto":
        raise ValueError(f"{name} is {value!r}: give a whole number, or 'auto'")
    kind = "str" if isinstance(value, str) and "str" in kinds else kinds[0]
    return CHECKS[kind](value, name)


def _check_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r:.100}: give text, as the command line has it")
    return value


def _check_whole(value: Any, name: str) -> int:
    return check_count(value, name, 2 if name == "folds" else 1)


def _check_sizes(value: Any, name: str) -> tuple[int, ...]:
    """Return units of layers, or lengths, as a tuple; one number is a single one."""
    several = [value] if isinstance(value, Integral) else check_several(value, name, "(256, 128)")
    return tuple(check_count(size, name) for size in several)


def _check_shares(value: Any, name: str) -> tuple[float, ...]:
    several = [value] if isinstance(value, float | int) else check_several(value, name, "(0.1,)")
    return tuple(check_number(share, name) for share in several)


#: What values are checked by, by the annotations of `Settings`.
CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "str": _check_text,
    "bool": check_flag,
    "int": _check_whole,
    "float": check_number,
    "tuple[int, ...]": _check_sizes,
    "tuple[float, ...]": _check_shares,
}
