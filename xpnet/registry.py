"""Classes by name: which ones a file may name, and which options it may give them.

Layers, losses, optimisers, initialisers and schedules are dataclasses, whose fields are their
options. The base class of each kind keeps a `Registry`, which a subclass enters by being defined:
the library's own and a user's alike. A file holds a name and options; whoever reads it looks the
name up and checks each option by the annotation of its field. Nothing is imported for a file.

An option may be an int, float, bool, str, None, a `Literal`, a tuple, list or sequence of those,
another registered object, or a union of them.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, fields
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from weakref import WeakKeyDictionary

import numpy as np

T = TypeVar("T")

#: Whole numbers in a file go as far as a float knows them apart.
LARGEST = 2**53


class UnknownNameError(KeyError):
    """No class has a name, or more than one: the message says what to do."""

    def __str__(self) -> str:
        return str(self.args[0])


class _UnfitError(Exception):
    """A value is not what an annotation says."""


class Registry(Mapping[str, type[T]]):
    """The classes of a kind by the names that files give them; not the abstract ones.

    Two classes of a user's may have the same name; only a file can't tell them apart, so neither is
    written or read. A class that is defined anew takes the place of the old one, and so does any
    that follows one defined within a function.

    Parameters
    ----------
    kind : str
        What they are, for messages: "layer".
    key : str
        What a file calls the entry that holds the name.
    spell : function
        Returns the name of a class.
    """

    def __init__(
        self,
        kind: str,
        key: str = "type",
        spell: Callable[[type[Any]], str] = lambda cls: cls.__name__,
    ) -> None:
        self.kind, self.key, self._spell = kind, key, spell
        self._classes: dict[str, dict[str, type[T]]] = {}

    def add(self, cls: type[T]) -> None:
        """Take in a class.

        Raises
        ------
        TypeError
            If one of the library's own has its name.
        """
        name, place = self._spell(cls), _place(cls)
        for other in self._called(name):
            if is_own(other) and _place(other) != place:
                raise TypeError(
                    f"{place} would be the {self.kind} {name!r}, which xpnet has itself: "
                    "give it another name"
                )
        found = self._classes.get(name, {})
        kept = {p: other for p, other in found.items() if not _is_local(other)}
        self._classes[name] = kept | {place: cls}

    def _called(self, name: Any) -> list[type[T]]:
        found = self._classes.get(name, {}) if isinstance(name, str) else {}
        return [cls for cls in found.values() if not inspect.isabstract(cls)]

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of a name.

        Raises
        ------
        UnknownNameError
            If there is none, or more than one.
        """
        found = self._called(name)
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(map(_place, found))
            raise UnknownNameError(
                f"{places} are both called {name!r}: give one of them another name"
            )
        raise UnknownNameError(
            f"the {self.kind} {name!r:.100} is not defined here: import the module that defines it"
        )

    def __iter__(self) -> Iterator[str]:
        """Go through the names that stand for one class."""
        return (name for name in self._classes if len(self._called(name)) == 1)

    def __len__(self) -> int:
        return len([*iter(self)])

    @property
    def own(self) -> dict[str, type[T]]:
        """The library's own classes."""
        return {name: cls for name, cls in self.items() if is_own(cls)}

    def name_of(self, cls: type[T]) -> str:
        """Return the name by which a file can find a class again.

        Raises
        ------
        TypeError
            If the name stands for another class too, or instead.
        """
        name = self._spell(cls)
        found = self._called(name)
        if found != [cls] and (_is_local(cls) or [*map(_place, found)] != [_place(cls)]):
            others = " and ".join(_place(other) for other in found if other is not cls)
            raise TypeError(
                f"a file can't name {_place(cls)}: the {self.kind} {name!r} is also {others}: "
                "give one of them another name"
            )
        return name

    def build(self, data: Any) -> T:
        """Return what `describe` described.

        Raises
        ------
        UnknownNameError
            If the class is not known.
        KeyError, TypeError, ValueError
            If the data are not such a description, or an option is none that the class takes.
        """
        options = dict(data)
        name = options.pop(self.key)
        if not isinstance(name, str):
            raise TypeError(f"{self.key} is {name!r:.100}, and no name")
        return make(self[name], options)


class Registered(ABC):
    """The base of what files name: a direct subclass has a `registry`, in which its own are."""

    registry: ClassVar[Registry[Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Enter the registry.

        Raises
        ------
        TypeError
            If the class has the name of one of the library's own, or a constructor by hand.
        """
        super().__init_subclass__(**options)
        if "__init__" in vars(cls) and "__dataclass_fields__" not in vars(cls):
            raise TypeError(
                f"{_place(cls)} defines __init__: make it a dataclass, whose fields are its "
                "options, and check them in __post_init__"
            )
        if Registered not in cls.__bases__:
            cls.registry.add(cls)


def _place(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def is_own(cls: type[Any]) -> bool:
    """Return whether a class is the library's, and not that of an example in its docstrings."""
    inside = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    module = sys.modules.get(cls.__module__)
    return inside and getattr(module, cls.__name__, None) is cls


def _is_local(cls: type[Any]) -> bool:
    return "<locals>" in cls.__qualname__


# -- options ----


def describe(thing: Registered) -> dict[str, Any]:
    """Return an object as JSON-ready data, from which `Registry.build` makes it again.

    Raises
    ------
    TypeError
        If it can't be: the message says why.

    Examples
    --------
    >>> from xpnet import Initializer, Normal
    >>> describe(Normal(0.1))
    {'name': 'normal', 'sigma': 0.1}
    >>> Initializer.registry.build({"name": "normal", "sigma": 0.1})
    Normal(sigma=0.1)
    """
    cls = type(thing)
    data = {cls.registry.key: cls.registry.name_of(cls)}
    for name, annotation in annotations_of(cls).items():
        value = getattr(thing, name)
        if name in data:
            raise TypeError(f"a file can't hold the option {name} of {_place(cls)}: rename it")
        try:
            data[name] = _encode(value, annotation)
        except _UnfitError as error:
            raise TypeError(
                f"a file can't hold {name} of {_place(cls)}, {value!r:.100}, annotated "
                f"{_text(annotation)}: give finite numbers, flags, strings, None or sequences of "
                "them, annotated as such"
            ) from error
    return data


def make(cls: type[T], options: Mapping[str, Any]) -> T:
    """Return an object with options that a file gave.

    Raises
    ------
    TypeError, ValueError
        If one is none that the class takes.
    """
    return cls(**check_options(cls, options))


def check_options(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the class takes them, once each is what its field's annotation says.

    Raises
    ------
    TypeError
        If one is not.
    """
    annotations, found = annotations_of(cls), {}
    for name, value in options.items():
        try:
            found[name] = _decode(value, annotations.get(name, object))
        except _UnfitError as error:
            raise TypeError(f"{name} is {value!r:.100}, which no {cls.__name__} takes") from error
    return found


#: What `annotations_of` has found.
_found: WeakKeyDictionary[type[Any], dict[str, Any]] = WeakKeyDictionary()


def annotations_of(cls: type[Any]) -> Mapping[str, Any]:
    """Return the annotations of a dataclass's options, evaluated where they stand in quotes."""
    if cls not in _found:
        _found[cls] = {field.name: _annotation(cls, field) for field in fields(cls) if field.init}
    return _found[cls]


def _annotation(cls: type[Any], field: Field[Any]) -> Any:
    owner = next(c for c in cls.__mro__ if field.name in inspect.get_annotations(c))

    def holder() -> None: ...

    holder.__annotations__ = {field.name: field.type}
    try:
        namespace = vars(sys.modules[owner.__module__])
        return get_type_hints(holder, namespace, include_extras=True)[field.name]
    except (NameError, AttributeError, KeyError, SyntaxError, TypeError):
        return field.type  # it says nothing, so there is no value that a file can hold


def _text(annotation: Any) -> str:
    annotation = _bare(annotation)
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _encode(value: Any, annotation: Any) -> Any:
    """Return an option as JSON-ready data; `_decode` makes it again."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no such numbers
        raise _UnfitError
    return _convert(value, annotation, _encode, describe, list)


def _decode(value: Any, annotation: Any) -> Any:
    """Return an option from JSON data, or as it is where it is one already."""
    if isinstance(value, dict):
        for choice in filter(_is_registered, _choices(annotation)):
            value = choice.registry.build(value)
    return _convert(value, annotation, _decode, lambda thing: thing, tuple)


def _convert(
    value: Any,
    annotation: Any,
    convert: Callable[[Any, Any], Any],
    convert_registered: Callable[[Registered], Any],
    sequence: Callable[[Iterable[Any]], Any],
) -> Any:
    """Return a value that is what an annotation says, converted; items are by ``convert``."""
    for choice in _choices(annotation):
        if _is_registered(choice):
            if isinstance(value, choice):
                return convert_registered(value)
        elif (items := _items(value, choice)) is not None:
            with contextlib.suppress(_UnfitError):
                found = [convert(item, inner) for item, inner in items]
                return found if get_origin(choice) is list else sequence(found)
        elif _is_plain(value, choice):
            return value
    raise _UnfitError


def _bare(annotation: Any) -> Any:
    """Return an annotation without its marks."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or what is none alone."""
    annotation = _bare(annotation)
    if get_origin(annotation) not in (Union, UnionType):
        return (annotation,)
    return tuple(choice for inner in get_args(annotation) for choice in _choices(inner))


def _is_registered(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Registered)


def _items(value: Any, annotation: Any) -> list[tuple[Any, Any]] | None:
    """Return the items of a sequence, each with its annotation; None if there is no sequence."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin not in (tuple, list, Sequence) or not isinstance(value, list | tuple) or not inner:
        return None
    if origin is tuple and inner[-1] is not ...:
        return [*zip(value, inner, strict=True)] if len(value) == len(inner) else None
    return [(item, inner[0]) for item in value]


def _is_plain(value: Any, annotation: Any) -> bool:
    """Return whether a value is the number, flag, string or None that an annotation names."""
    kind = type(value)
    if get_origin(annotation) is Literal:
        return any(kind is type(choice) and value == choice for choice in get_args(annotation))
    if kind is int:
        return annotation in (int, float) and abs(value) <= LARGEST
    return kind in (float, bool, str, NoneType) and annotation is kind
