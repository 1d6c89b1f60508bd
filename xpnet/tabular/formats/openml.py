"""Data sets of OpenML's, which scikit-learn fetches and keeps."""

from __future__ import annotations

import re
from typing import Any

from ..dataset import DataError, arrow_for
from .source import Source, as_data_errors

#: What sources begin with.
PREFIX = "openml:"

#: The first scikit-learn that asks where OpenML is: those before ask a host that is gone.
OLDEST = (1, 9)


def open_openml(source: str) -> Source:
    """Return a data set of OpenML's as a source, ``openml:NAME`` or ``openml:NAME@VERSION``.

    Raises
    ------
    DataError
        If there is no such name, or it can't be fetched.
    ImportError
        If scikit-learn is too old for that, or pandas or pyarrow is not installed.
    """
    pa = arrow_for(source)
    bunch = fetch(source)
    with as_data_errors(source, "a table"):
        table = pa.Table.from_pandas(bunch.frame, preserve_index=False)
    # Several targets are a frame, and have no name.
    return Source.in_memory(source, table, getattr(bunch.target, "name", None))


def fetch(source: str) -> Any:
    """Return what scikit-learn fetches: its ``frame`` has all columns, of its ``target`` too.

    Raises
    ------
    DataError, ImportError
        As `open_openml` does.
    """
    name, _, version = source.removeprefix(PREFIX).partition("@")
    if not name or (version and not version.isdecimal()):
        raise DataError(f"{source}: give a name and if need be a version, as openml:titanic@1")
    from sklearn import __version__, datasets

    require_new(source, __version__)
    which = int(version) if version else "active"
    try:
        return datasets.fetch_openml(name, version=which, as_frame=True, parser="auto")
    except ImportError as error:
        raise ImportError(f"{source}: OpenML needs pandas: pip install 'xpnet[openml]'") from error
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: can't be fetched ({reason})") from error


def require_new(source: str, version: str) -> None:
    """Raise an ImportError if a version of scikit-learn is too old.

    Examples
    --------
    >>> require_new("openml:iris", "1.8.2")
    Traceback (most recent call last):
    ImportError: openml:iris: needs scikit-learn 1.9 or newer, and here is 1.8.2: ...
    """
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise ImportError(
            f"{source}: needs scikit-learn {needed} or newer, and here is {version}: older ones "
            f"ask a host that OpenML has left; pip install 'scikit-learn>={needed}'"
        )
