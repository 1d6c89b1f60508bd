"""The parts of a folder: which files they are, and how their columns go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..dataset import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: What a folder of a table of another kind holds, and that kind: its files are not all of it, and
#: not all of them are of it.
LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}

#: How Hive writes a key that is missing.
NO_KEY = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file.

    Attributes
    ----------
    path : path
        Where it is.
    name : str
        What messages call it.
    keys : dict of str to (str or None)
        The values that folders above it give to columns, as ``year=2024`` does; text, whatever it
        looks like.
    """

    path: Path
    name: str
    keys: dict[str, str | None] = field(default_factory=dict)


def find_parts(folder: Path, source: str) -> list[Part]:
    """Return the files in a folder and those below it, in the order of their names.

    What begins with "." or "_" is none, as Spark's ``_SUCCESS``.

    Raises
    ------
    DataError
        If there are none, or it is a table of Delta Lake's or Hudi's.
    """
    found = [*_below(folder, source, {})]
    if not found:
        raise DataError(f"{source}: there is no Parquet file in this folder")
    return found


def _below(folder: Path, source: str, keys: dict[str, str | None]) -> Iterator[Part]:
    for path in sorted(folder.iterdir()):
        if kind := LOGS.get(path.name):
            raise DataError(
                f"{source}: is a table of {kind}, whose files are not all of one state: write it "
                "as plain Parquet"
            )
        name, equals, value = path.name.partition("=")
        if path.name.startswith(".") or (path.name.startswith("_") and not equals):
            continue
        below = f"{source.rstrip('/')}/{path.name}"
        if not path.is_dir():
            yield Part(path, below, keys)
            continue
        key = {unquote(name): None if value == NO_KEY else unquote(value)} if equals else {}
        yield from _below(path, below, keys | key)


@dataclass
class Joined:
    """The columns of several parts.

    Attributes
    ----------
    types : dict of str to pyarrow.DataType
        Of each column a type that holds what all parts have.
    faults : dict of str to str
        For each column that can't be read from all parts, what is wrong with it.
    """

    types: dict[str, pa.DataType]
    faults: dict[str, str]


def join_schemas(parts: Sequence[Part], schemas: Sequence[pa.Schema]) -> Joined:
    """Return the columns of several parts, by name: wherever they stand in each.

    Whole numbers, floats and decimals, dates and times take the type that holds what all parts
    have, and of text that is text. A column that some parts lack is at fault, and so is one whose
    types no other holds.
    """
    import pyarrow as pa

    first: dict[str, tuple[Part, Any]] = {}
    joined = Joined({}, {})
    for part, schema in zip(parts, schemas, strict=True):
        keys = {key: pa.string() for key in part.keys if key not in schema.names}
        for name, kind in [*zip(schema.names, schema.types, strict=True), *keys.items()]:
            began, other = first.setdefault(name, (part, kind))
            try:
                joined.types[name] = common_type(joined.types.get(name, kind), kind)
            except pa.ArrowException:
                joined.faults.setdefault(
                    name,
                    f"column {name!r} is {other} in {began.name} and {kind} in {part.name}: write "
                    "both of one type",
                )
    for part, schema in zip(parts, schemas, strict=True):
        for name in first.keys() - {*schema.names, *part.keys}:
            joined.faults.setdefault(
                name,
                f"{part.name} has no column {name!r}, which {first[name][0].name} has: write it "
                "into all parts, or leave it out",
            )
    return joined


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of two.

    Raises
    ------
    pyarrow.ArrowException
        If there is none.

    Examples
    --------
    >>> import pyarrow as pa
    >>> common_type(pa.int32(), pa.float32()), common_type(pa.large_string(), pa.string())
    (DataType(double), DataType(string))
    """
    import pyarrow as pa

    if one.equals(other):
        return one
    if _holds_text(one) and _holds_text(other):
        return pa.string()
    schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
    found = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    if pa.types.is_decimal(found) and found.bit_width == 128:
        return pa.decimal128(38, found.scale)  # what Arrow finds is too narrow for whole numbers
    if pa.types.is_floating(found) and (pa.types.is_decimal(one) or pa.types.is_decimal(other)):
        return pa.float64()
    if _holds_text(one) != _holds_text(other) and pa.null() not in (one, other):
        raise pa.ArrowTypeError(f"{one} and {other}")
    return found


def _holds_text(kind: pa.DataType) -> bool:
    """Return whether values of a type are strings, maybe each kept once."""
    from pyarrow import types

    from ..columns.tables import is_text

    return is_text(kind.value_type if types.is_dictionary(kind) else kind)
