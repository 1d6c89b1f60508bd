"""Which format a table has, by its name."""

from __future__ import annotations

from pathlib import Path

from ..dataset import DataError, arrow_for
from .arff import open_arff
from .arrow import open_arrow
from .openml import PREFIX, open_openml
from .parquet import open_parquet
from .source import PLAIN, Source, TextOptions
from .text import SEPARATORS, open_text, text_suffix
from .text_rows import COMPRESSED

ARROW = (".feather", ".arrow", ".ipc")

#: The endings of files with a table.
TABLES = (*SEPARATORS, ".parquet", *ARROW, ".arff")


def format_of(source: str) -> str | None:
    """Return which kind of table a source is, by its name; None if it is none.

    It is one of `TABLES`, or ``openml:``. A folder is one of Parquet files, if its name tells no
    other.

    Examples
    --------
    >>> format_of("t.CSV"), format_of("t.tsv.gz"), format_of("openml:titanic"), format_of("t.npz")
    ('.csv', '.tsv', 'openml:', None)
    """
    if source.startswith(PREFIX):
        return PREFIX
    path = Path(source)
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    suffix = text_suffix(path) or (".arff" if inner.suffix.lower() == ".arff" else None)
    suffix = suffix or path.suffix.lower()
    if suffix in TABLES:
        return suffix
    return ".parquet" if path.is_dir() and suffix not in COMPRESSED else None


def name_of(source: str) -> str:
    """Return what a data set is called that comes from a source.

    Examples
    --------
    >>> name_of("a/t.csv.gz"), name_of("openml:titanic@1")
    ('t', 'titanic')
    """
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX).partition("@")[0]
    path = Path(source)
    return Path(path.stem).stem if path.suffix.lower() in COMPRESSED else path.stem


def open_table(source: str, options: TextOptions = PLAIN) -> Source:
    r"""Return a table, which can be gone through again and again, some rows at a time.

    Parameters
    ----------
    source : str
        A file ``.csv`` or ``.tsv`` (maybe with ``.gz``, ``.bz2`` or ``.zst`` behind), ``.parquet``,
        ``.feather``, ``.arrow``, ``.ipc`` or ``.arff``; a folder of Parquet files; or
        ``openml:NAME``, if need be ``openml:NAME@VERSION``.
    options : TextOptions
        How a text file is written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is not what its name says.
    ImportError
        If pyarrow is not installed, or what OpenML needs.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.csv"
    >>> _ = path.write_text("age,sex\n31,f\n,m\n")
    >>> [chunk.to_pydict() for chunk in open_table(str(path)).chunks()]
    [{'age': ['31', ''], 'sex': ['f', 'm']}]
    """
    kind = format_of(source)
    if kind is None:
        raise DataError(
            f"{source}: give a file ending in {', '.join(TABLES)}, a folder of Parquet files, or "
            "openml:NAME"
        )
    if options != PLAIN and kind not in SEPARATORS:
        raise DataError(f"{source}: --separator and --decimal are for {' and '.join(SEPARATORS)}")
    if kind == PREFIX:
        return open_openml(source)
    path = Path(source)
    if not (path.is_file() or (kind == ".parquet" and path.is_dir())):
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{source}: {what}")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{source}: the file is empty")
    arrow_for(source)
    if kind in SEPARATORS:
        return open_text(path, source, options)
    opener = open_arff if kind == ".arff" else open_arrow if kind in ARROW else open_parquet
    return opener(path, source)
