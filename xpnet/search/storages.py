"""Where a study is kept: a file, a database, a journal in a shared folder, or memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import Pool

from ..plain_text import without_password

#: Seconds that a process waits for another one that writes into a SQLite file.
PATIENCE = 60

#: Seconds after which a lock on a journal is taken from a process that was killed with it.
LOCK_GRACE = 10

#: Kinds of file systems that no other machine writes into.
LOCAL = ("btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")

#: How often a database is opened that others make tables in, and seconds between, at most.
TRIES, PAUSE = 50, 0.2

#: Endings of files that are journals.
JOURNALS = (".journal", ".log")

#: What goes wrong with a storage, and not with what it was asked for.
FAULTS = (
    StorageInternalError,
    SQLAlchemyError,
    OSError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)


@dataclass(frozen=True)
class Opened:
    """A storage, and what it is called.

    Attributes
    ----------
    storage : optuna.storages.BaseStorage
        The storage.
    where : str
        Its name for people: without a password.
    is_shared : bool
        Whether anybody else can have it open.
    is_own : bool
        Whether it was opened here, and is to be closed here.
    """

    storage: BaseStorage
    where: str
    is_shared: bool = True
    is_own: bool = True

    def __getattr__(self, name: str) -> Any:
        """Return a method of the storage, whose faults are told by the storage's name."""
        method = getattr(self.storage, name)

        def call(*values: Any, **options: Any) -> Any:
            with named_faults(self.where):
                return method(*values, **options)

        return call

    def close(self) -> None:
        """Let go of its connections."""
        if not self.is_own:
            return
        self.storage.remove_session()
        engine = engine_of(self.storage)
        if engine is not None:
            engine.dispose()


@contextlib.contextmanager
def named_faults(where: str) -> Iterator[None]:
    """Raise what goes wrong with a storage as an OSError of one line that names it."""
    try:
        yield
    except (UpdateFinishedTrialError, ArgumentError, NoSuchModuleError):
        raise
    except FAULTS as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise  # one of ours, which says it all
        raise OSError(f"{where}: {cause(error)}") from error
    except KeyError as error:
        raise OSError(f"{where}: the study is no longer there") from error


def cause(error: BaseException) -> str:
    """Return the first line of what a database said, or of an error itself."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    error = getattr(error, "orig", None) or error
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"the journal has a damaged line ({error})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def open_storage(given: Any = None, reads_only: bool = False, must_exist: bool = False) -> Opened:
    """Open a storage.

    Parameters
    ----------
    given : None, path, str or optuna.storages.BaseStorage
        None: memory. A path: a SQLite file, or a journal if it ends in .journal or .log or begins
        with "journal:", as for a folder that machines share. A text with "://": the address of a
        database, as "postgresql://user:password@host/database". What else Optuna has comes as it
        is.
    reads_only : bool
        Whether nothing will be written.
    must_exist : bool
        Whether a file must be there, and is not made.

    Raises
    ------
    TypeError
        If it is none of those.
    ValueError
        If it is an address of no kind of storage, or one whose driver is not installed.
    OSError
        If it can't be reached or read.
    """
    if given is None:
        return Opened(InMemoryStorage(), "memory", is_shared=False)
    if isinstance(given, BaseStorage):
        return _as_given(given)
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"storage is {given!r}: give a path, an address or a storage of Optuna's")
    text = os.fspath(given)
    if "://" in text:
        return _open_address(text, reads_only, must_exist)
    path = Path(text.removeprefix("journal:")).absolute()
    if must_exist and not path.exists():
        raise FileNotFoundError(f"{path}: there is no study: give the path of one")
    is_journal = text.startswith("journal:") or path.suffix in JOURNALS
    with named_faults(str(path)):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent} is no folder")
        if is_journal:
            with quiet():
                return Opened(JournalStorage(Journal(path)), str(path))
        address = URL.create("sqlite", database=str(path))
        return Opened(_open_database(address, reads_only), str(path))


def _as_given(storage: BaseStorage) -> Opened:
    engine = engine_of(storage)
    if engine is None:
        return Opened(storage, type(storage).__name__, is_own=False)
    _take_turns(engine)
    where = engine.url.render_as_string(hide_password=True)
    return Opened(get_storage(storage), where, is_own=False)


def _open_address(text: str, reads_only: bool, must_exist: bool) -> Opened:
    where = without_password(text)
    try:
        url = _with_driver(sqlalchemy.engine.make_url(text))
        is_file, file = url.get_backend_name() == "sqlite", url.database or ":memory:"
        if is_file and file == ":memory:":
            return Opened(InMemoryStorage(), "memory", is_shared=False)
        if is_file and must_exist and not Path(file).exists():
            raise FileNotFoundError(f"{where}: there is no study: give the path of one")
        try:
            with named_faults(where):
                return Opened(_open_database(url, reads_only), where)
        except OSError as error:
            raise OSError(f"{error}: see that it runs, and that the address is right") from error
    except ImportError as error:
        raise ValueError(
            f"{where}: the database's driver is missing ({error.__cause__ or error}): install it, "
            "as psycopg2-binary for PostgreSQL"
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ValueError(
            f"{where} is the address of no database that SQLAlchemy knows: give one such as "
            "postgresql://user:password@host/database, or a path"
        ) from None


def _with_driver(url: URL) -> URL:
    """Return an address that names the driver of PostgreSQL that is installed, if it names none.

    Which one is meant then differs between SQLAlchemy's releases.
    """
    for driver in ("psycopg2", "psycopg"):
        if url.drivername == "postgresql" and find_spec(driver) is not None:
            return url.set(drivername=f"postgresql+{driver}")
    return url


def _open_database(url: URL, reads_only: bool) -> BaseStorage:
    is_file = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"pool_pre_ping": True}
    if is_file:
        options = {"connect_args": {"timeout": PATIENCE}}
    # Optuna puts the version of its tables in where braces stand.
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    storage = _with_tables(text, options)
    if is_file and not reads_only:
        if url.database and is_local(Path(url.database)):
            storage.engine.dispose()  # of the connections that were made before
            sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
        _take_turns(storage.engine)
    return get_storage(storage)


def _with_tables(url: str, options: dict[str, Any]) -> RDBStorage:
    """Return a database that has Optuna's tables; others may be about to make them as well."""
    tries = 0
    while True:
        try:
            with quiet(), _closed_after_errors():
                return RDBStorage(url, options)
        except SQLAlchemyError as error:
            tries += 1
            is_race = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not is_race or tries == TRIES:
                raise
            time.sleep(random.uniform(0, PAUSE))


@contextlib.contextmanager
def _closed_after_errors() -> Iterator[None]:
    """Close the connections of a storage that could not be made: nobody else can."""
    made: list[Any] = []
    thread = threading.get_ident()

    def remember(connection: Any, record: object) -> None:
        if threading.get_ident() == thread:
            made.append(connection)

    sqlalchemy.event.listen(Pool, "connect", remember)
    try:
        yield
    except BaseException:
        for connection in made:
            with contextlib.suppress(Exception):
                connection.close()
        raise
    finally:
        sqlalchemy.event.remove(Pool, "connect", remember)


def _write_ahead(connection: Any, record: object) -> None:
    """Have a SQLite file written at a fraction of the cost: no commit waits for the disk.

    What was committed outlives the process; a machine that loses its power may lose the last of it.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def is_local(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether a file is known to lie on this machine's disks, where no other can write it.

    Examples
    --------
    >>> is_local(Path("/a"), Path("/no/such/file"))
    False
    """
    kinds: dict[Path, str] = {}
    with contextlib.suppress(OSError, IndexError, UnicodeError):
        for line in mounts.read_text().splitlines():
            before, _, after = line.partition(" - ")
            kinds[Path(before.split()[4])] = after.split()[0]  # later ones lie over earlier ones
    path = path.resolve()
    return next((kinds[p] in LOCAL for p in (path, *path.parents) if p in kinds), False)


class _Turn(threading.local):
    """Whether a thread's transactions begin by locking a SQLite file."""

    is_taken = False


_turn = _Turn()


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Have transactions of a SQLite file take turns: what one has read is so until it has written.

    Else two processes can both read that a trial has not ended, and both end it: other databases
    lock what they read to write it.
    """
    _turn.is_taken = True
    try:
        yield
    finally:
        _turn.is_taken = False


def _begin(connection: sqlalchemy.Connection) -> None:
    if _turn.is_taken:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _take_turns(engine: Engine) -> None:
    """Let `in_turn` hold for an engine."""
    if engine.dialect.name == "sqlite":
        sqlalchemy.event.listen(engine, "begin", _begin)  # once, however often this is done


def engine_of(storage: BaseStorage) -> Engine | None:
    """Return the engine of a storage that is a database."""
    found = getattr(storage, "_backend", storage)
    return found.engine if isinstance(found, RDBStorage) else None


class Journal(JournalFileBackend):
    """A journal that goes on after its last line was cut off, as by a full disk or a kill.

    Parameters
    ----------
    path : Path
        The file; absolute.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = JournalFileOpenLock(str(path), grace_period=LOCK_GRACE)
        super().__init__(str(path), self._turn)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records: all of them, or after an error none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._turn.acquire()
        try:
            with open(self._path, "r+b", buffering=0) as file:
                end = _whole(file)
                file.truncate(end)
                file.seek(end)
                try:
                    written = file.write(lines.encode())
                    os.fsync(file.fileno())
                    if written != len(lines.encode()):
                        raise OSError("the disk is full")
                except OSError:
                    file.truncate(end)
                    raise
        finally:
            with contextlib.suppress(RuntimeError):  # it was taken for dead
                self._turn.release()


def _whole(file: Any, step: int = 4096) -> int:
    """Return how many bytes of a file are whole lines."""
    end: int = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - step)
        file.seek(start)
        newline: int = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling what it does; its warnings are heard."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
