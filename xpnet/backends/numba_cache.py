"""The machine code of compiled loops on disk. What fails there costs time, and nothing else.

Numba's own cache raises whatever comes of a file that is cut or of a full disk, out of the call
that compiles. It loads code that a disk has damaged, and of two processes that fill it at once one
may leave its code where the other's is looked for.
"""

from __future__ import annotations

import pickle
from hashlib import sha256
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

from ..warning import warn

#: The bytes of a checksum, with which each file ends.
CHECKSUM = sha256().digest_size


def keep_on_disk(dispatcher: Any) -> None:
    """Have a function's machine code kept on disk, if there is a folder for it."""
    try:
        dispatcher._cache = KernelCache(dispatcher.py_func)
    except Exception as error:  # no folder can be written to, or the source can't be read
        _warn("kept on disk", "set NUMBA_CACHE_DIR to a folder that can be written to", error)


class KernelCache(FunctionCache):
    """Numba's cache of a function, without which all goes on if it can't be read or written."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        impl = self._impl
        stamp = impl.locator.get_source_stamp()
        self._cache_file = _CheckedFile(self.cache_path, impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature; None if there is nothing that can be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # pickle raises whatever the bytes have it do
            self._replace(error)
        return None

    def _replace(self, error: Exception) -> None:
        """Begin the function's files anew."""
        try:
            self.flush()
        except Exception:  # a folder stands in a file's place, or nothing can be written
            self.disable()
        self._warn("read from", error)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, if that can be."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self.disable()
            self._warn("kept in", error)

    def _warn(self, what: str, error: Exception) -> None:
        advice = "if this comes again, remove that folder or set NUMBA_CACHE_DIR to another one"
        _warn(f"{what} {self.cache_path}", advice, error)


class _CheckedFile(IndexDataCacheFile):
    """Numba's files of a function; they say whose code they hold, and end with a checksum."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (key, data))

    def load(self, key: Any) -> Any:
        found = super().load(key)
        # Of two processes that write at once, one may leave its code under the other's name.
        return found[1] if found is not None and found[0] == key else None

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return data + sha256(data).digest()

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            data = file.read()
        if sha256(data[:-CHECKSUM]).digest() != data[-CHECKSUM:]:
            raise ValueError(f"{name} has not the bytes that were written")
        return pickle.loads(data)


_warned: set[str] = set()


def _warn(what: str, advice: str, error: Exception) -> None:
    """Say once in a process what can't be done with the kernels, and what to do about it."""
    if not _warned:
        _warned.add(what)
        why = " ".join(f"{type(error).__name__}: {error}".split())
        message = (
            f"compiled kernels can't be {what} ({why}): they are compiled anew, which takes some "
            f"seconds; {advice}"
        )
        warn(message)
