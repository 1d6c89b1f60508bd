"""A folder of checkpoints: files that are whole, checked on reading, the newest and the best kept.

What is in a checkpoint is a tree: dicts and lists of arrays, numbers, strings, booleans and None.
Its arrays become those of a safetensors file, the rest the JSON in its metadata; a checksum is over
both, as in model files. What the tree means is `checkpoints`' business.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.protocol import Backend
from ..warning import warn
from . import atomic, json_tree, safetensors_files
from .append_log import AppendLog
from .file_lock import NamedLock
from .safetensors_files import DamagedFileError, ModelFileError

Arrays = dict[str, np.ndarray[Any, Any]]

#: What a checkpoint is called: `Folder.name`.
_NAMED = re.compile(r"step-\d{9,}\.safetensors")

#: The file by which a process keeps others out, and that of the history.
LOCK, HISTORY = ".xpnet.lock", "history.jsonl"

#: The first version of model files in which a checksum is a must: no checkpoint is older.
WITH_CHECKSUM = 2

#: The tag of an array, beside which stands whether it lived on the device.
ARRAY = "$array"


def pack(tree: Any, backend: Backend) -> tuple[Arrays, Any]:
    """Part a tree into its arrays, on the host, and JSON-ready data with the arrays' names in it.

    Parameters
    ----------
    tree : dict, list, array, number, str, bool or None
        Arrays may live on the backend's device or on the host.
    backend : Backend
        Whose arrays they are.

    Raises
    ------
    TypeError
        If something else is in it; the message says where.

    Examples
    --------
    >>> from xpnet.backends.select import select
    >>> arrays, document = pack({"best": math.inf, "w": [np.ones(2)]}, select("cpu"))
    >>> document
    {'best': {'$float': 'inf'}, 'w': [{'$array': 'w.0', 'device': True}]}
    >>> arrays
    {'w.0': array([1., 1.])}
    """
    arrays: Arrays = {}

    def part(value: Any, name: str) -> Any:
        owned = backend.owns(value)
        if not (owned or isinstance(value, np.ndarray)):
            return None
        arrays[name] = np.asarray(backend.to_host(value) if owned else value)
        return {ARRAY: name, "device": owned}

    return arrays, json_tree.encode(tree, part)


def unpack(arrays: Arrays, document: Any, backend: Backend) -> Any:
    """Return the tree that `pack` parted, its arrays where they lived, in memory of their own."""

    def join(told: dict[str, Any]) -> Array:
        array: Array = np.array(arrays[told[ARRAY]])
        return backend.asarray(array).reshape(array.shape) if told["device"] else array

    return json_tree.decode(document, {ARRAY: join})


def fingerprint(array: Any, backend: Backend) -> str:
    """Return a hash of an array's rows, to know the data again; it looks at some rows at a time."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{np.dtype(array.dtype).str} {tuple(array.shape)}".encode())
    rows = max(1, 2**22 // max(1, math.prod(array.shape[1:])))
    for start in range(0, array.shape[0], rows):
        part = backend.to_host(array[start : start + rows])
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def encode(arrays: Arrays, document: Any) -> bytes:
    """Return the content of a checkpoint's file."""
    return safetensors_files.encode(arrays, {"checkpoint": document})


def read(path: Path) -> tuple[Arrays, Any]:
    """Read a checkpoint: what `pack` returned.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole checkpoint.
    """
    arrays, description = safetensors_files.read(path, oldest=WITH_CHECKSUM)
    if "checkpoint" not in description:
        raise DamagedFileError(f"{path}: a model file, and no checkpoint")
    return arrays, description["checkpoint"]


class Folder:
    """A folder of checkpoints.

    Parameters
    ----------
    path : path
        The folder.
    keep : int
        How many of the newest stay.
    rule : function or None
        What stands for the history's values that are none of JSON's.

    Attributes
    ----------
    history : AppendLog
        A row for each epoch, of all checkpoints.
    """

    def __init__(self, path: Path, keep: int, rule: json_tree.Rule | None = None) -> None:
        self.path, self._keep = path, keep
        self.history = AppendLog(path / HISTORY, rule)
        self._damaged: list[Path] = []
        self._lock: NamedLock | None = None
        self._made = False
        self._last: tuple[int, int] | None = None

    def name(self, step: int) -> str:
        """Return what the checkpoint after so many steps is called."""
        return f"step-{step:09d}.safetensors"

    def files(self) -> list[Path]:
        """Return the checkpoints, newest first.

        Raises
        ------
        OSError
            If there is something that is no folder, or can't be read.
        """
        if not self.path.exists():
            return []
        if not self.path.is_dir():
            raise NotADirectoryError(f"{self.path}: is no folder; give one for checkpoints")
        found = [path for path in self.path.iterdir() if _NAMED.fullmatch(path.name)]
        return sorted(found, key=_step, reverse=True)

    def enter(self, make: bool) -> None:
        """Keep other trainings out, in this process as well, until `leave`.

        Parameters
        ----------
        make : bool
            Whether to make the folder if it is missing.

        Raises
        ------
        BlockingIOError
            If one is at it.
        OSError
            If there is no such folder, or nothing can be written there.

        Warns
        -----
        UserWarning
            If the disk has no locks.
        """
        if make and not self.path.is_dir():
            self.path.mkdir(exist_ok=True)
            self._made = True
        try:
            self._lock = NamedLock(self.path / LOCK)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{self.path}: {error.strerror} writes checkpoints there: wait until it has "
                "ended, or give another folder"
            ) from None
        if not self._lock.is_exclusive:
            message = f"{self.path}: no file can be locked there: let no other training write to it"
            warn(message)

    def require_own(self) -> None:
        """See that others are still kept out, or keep them out again if no other one has begun.

        Raises
        ------
        BlockingIOError
            If another training is at it.
        OSError
            If another one was, or nothing can be written there.
        """
        if self._lock is not None and self._lock.is_held():
            self._lock.touch()
            return
        self._unlock()
        self.enter(make=False)
        files = [path for path in self.files() if path not in self._damaged]
        if files and _identity(files[0]) != self._last:
            self._unlock()
            raise OSError(errno.EBUSY, "another training has begun there")

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def leave(self) -> None:
        """Let others in; a folder that was made for nothing goes."""
        self._unlock()
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    def prepare(self) -> None:
        """See that the folder can be written to; clear away what killed writers have left there.

        Raises
        ------
        OSError
            If nothing can be written there.
        """
        self.require_own()
        atomic.remove_abandoned(self.path, _NAMED)
        atomic.try_to_write(self.path / self.name(0))

    def require_unused(self) -> None:
        """Raise a ValueError if it holds what a run that begins would meet."""
        if files := self.files():
            raise ValueError(
                f"{self.path}: holds checkpoints of a run, the newest {files[0].name}; give "
                "another folder, or resume=True to go on with it"
            )
        if os.path.lexists(self.history.path):
            raise ValueError(
                f"{self.history.path}: is there without a checkpoint that it goes with: move it, "
                "or give another folder"
            )

    def newest(self, tell: bool = True) -> tuple[Path, Arrays, Any] | None:
        """Return the newest whole checkpoint, and its file; None if there is no file at all.

        Parameters
        ----------
        tell : bool
            Whether to warn of damaged ones that were passed over.

        Raises
        ------
        ModelFileError
            If there are files, and none is whole; or the newest one may well be, and can't be read
            by this version, or with this memory.
        OSError
            If it can't be read now.
        """
        self._damaged = []
        reasons = []
        for path in self.files():
            try:
                arrays, document = read(path)
                self._last = _identity(path)
            except (DamagedFileError, FileNotFoundError) as error:
                self._damaged.append(path)
                reasons.append(str(error))
                continue
            if reasons and tell:
                message = f"{'; '.join(reasons)}. Going on from {path}"
                warn(message)
            return path, arrays, document
        if reasons:
            raise ModelFileError(f"{self.path}: no checkpoint is whole: {'; '.join(reasons)}")
        return None

    def write(self, step: int, arrays: Arrays, document: Any, best: str | None) -> Path:
        """Write the checkpoint after a step; once it is whole remove those no longer wanted.

        Parameters
        ----------
        step : int
            How many updates were made.
        arrays, document
            From `pack`.
        best : str or None
            The name of a file that stays, however old it is.

        Raises
        ------
        OSError
            If it can't be written: the older ones are then as they were.
        """
        path = self.path / self.name(step)
        atomic.write_whole(path, encode(arrays, document))
        self._last = _identity(path)
        self._clear(path, best)
        return path

    def _clear(self, newest: Path, best: str | None) -> None:
        """Remove damaged and old files; one that can't be removed now can be next time."""
        damaged = [path for path in self._damaged if path != newest]
        self._damaged = []
        with contextlib.suppress(OSError):
            # Later ones are of this same run: it will come to them, or can go on from them.
            older = [p for p in self.files() if _step(p) <= _step(newest) and p not in damaged]
            for path in (*damaged, *older[self._keep :]):
                if path.name != best:
                    atomic.DISK.remove(path)


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from another one of its name."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _step(path: Path) -> int:
    """Return after how many steps a checkpoint was written."""
    return int(path.stem.removeprefix("step-"))
