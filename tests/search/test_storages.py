"""Where studies are kept: what is opened, and what is said of what can't be."""

import json
import sqlite3
import warnings
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="Optuna is not installed (extra 'tune')")

import optuna
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import event

from xpnet.search import storages
from xpnet.search.storages import Journal, is_local, open_storage


@pytest.fixture
def opens():
    """Open storages, which are closed in the end."""
    made = []

    def opens(given, **options):
        made.append(open_storage(given, **options))
        return made[-1]

    yield opens
    for opened in made:
        opened.close()


def begin(opened, name="a"):
    with storages.quiet():
        return opened.create_new_study([StudyDirection.MINIMIZE], name)


def names(opened):
    return [study.study_name for study in opened.get_all_studies()]


@pytest.mark.parametrize(
    "name", ["a.study.db", "a study {x} 50% #1?.db", "a.journal", "a.log", "journal:a.anything"]
)
def test_a_path_is_a_file_that_another_finds(opens, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    begin(opens(name))
    path = tmp_path / name.removeprefix("journal:")
    assert path.exists()
    again = opens(name, reads_only=True)
    assert (names(again), again.where, again.is_shared) == (["a"], str(path), True)
    is_database = path.suffix == ".db"
    assert (storages.engine_of(again.storage) is not None) == is_database


@pytest.mark.parametrize("address", [None, "sqlite://", "sqlite:///:memory:"])
def test_memory_is_nobody_elses(opens, address):
    opened = opens(address)
    assert (opened.where, opened.is_shared) == ("memory", False)
    assert isinstance(opened.storage, InMemoryStorage)


def test_optunas_own_are_taken_as_they_are(opens, tmp_path):
    given = JournalStorage(Journal(tmp_path / "a.journal"))
    assert opens(given).storage is given
    with storages.quiet():
        database = RDBStorage(f"sqlite:///{tmp_path}/a.db")
    opened = opens(database)
    assert storages.engine_of(opened.storage) is database.engine
    assert opened.where == f"sqlite:///{tmp_path}/a.db"
    opened.close()
    assert names(opened) == []  # it is not ours to be closed
    database.engine.dispose()


def test_a_file_at_rest_is_a_single_one(opens, tmp_path):
    opened = opens(tmp_path / "a.study.db")
    begin(opened)
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.study.db"]


@pytest.mark.parametrize("local", [True, False])
def test_only_a_file_on_this_machine_is_written_ahead(opens, tmp_path, monkeypatch, local):
    monkeypatch.setattr(storages, "is_local", lambda path: local)
    opened = opens(tmp_path / "a.study.db")
    begin(opened)
    with storages.engine_of(opened.storage).connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    assert mode == ("wal" if local else "delete")


MOUNTS = """\
22 27 0:21 / / rw,relatime - ext4 /dev/vda rw
23 22 0:22 / /shared rw - nfs4 host:/shared rw
24 23 0:23 / /shared/fast rw master:1 - xfs /dev/vdb rw
25 22 0:24 / /strange rw - fuse.sshfs host:/ rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/a.db", True),
        ("/shared/a.db", False),
        ("/shared/fast/a/b.db", True),
        ("/strange/a.db", False),
    ],
)
def test_what_lies_on_this_machine_is_known_by_its_mounts(tmp_path, path, expected):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert is_local(storages.Path(path), tmp_path / "mountinfo") is expected


# -- what can't be opened ----


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, "storage is 3: give a path, an address or a storage of Optuna's"),
        ("nothing://host/a", ValueError, "nothing://host/a is the address of no database"),
        ("postgresql://u:secret@h:port/a", ValueError, "is the address of no database that"),
        ("mysql+pymysql://u:secret@h/a", ValueError, "the database's driver is missing"),
        ("sqlite:////no/such/folder/a.db", OSError, "unable to open database file"),
        ("/no/such/folder/a.study.db", FileNotFoundError, "/no/such/folder is no folder"),
    ],
)
def test_what_can_t_be_opened_is_told_in_a_line(given, error, message):
    with pytest.raises(error, match=message) as caught:
        open_storage(given)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_can_t_be_reached_is_told_without_the_password():
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    with pytest.raises(
        OSError, match=r"postgresql://me:\*\*\*@127.0.0.1:1/a: .*refused: see that it runs"
    ) as caught:
        open_storage("postgresql://me:secret@127.0.0.1:1/a")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["{}/a.study.db", "{}/a.journal", "sqlite:///{}/a.study.db"])
def test_what_must_be_there_is_not_made(tmp_path, form):
    with pytest.raises(FileNotFoundError, match="there is no study: give the path of one"):
        open_storage(form.format(tmp_path), must_exist=True)
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "a.study.db"
    path.write_text("epoch,loss\n" * 100)
    with pytest.raises(OSError, match=r"a\.study\.db: file is not a database"):
        open_storage(path)
    assert path.read_text() == "epoch,loss\n" * 100


def test_a_read_only_file_can_be_read(opens, tmp_path):
    path = tmp_path / "a.study.db"
    opened = opens(path)
    begin(opened)
    opened.close()
    path.chmod(0o444)
    assert names(opens(path, reads_only=True)) == ["a"]


# -- faults in mid-search ----


def test_a_fault_names_the_storage_and_its_cause(opens, tmp_path):
    opened = opens(tmp_path / "a.study.db")
    study = begin(opened)

    @event.listens_for(storages.engine_of(opened.storage), "before_cursor_execute")
    def fill(connection, cursor, statement, *rest):
        if statement.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(OSError, match=r"a\.study\.db: .*database or disk is full"):
        opened.set_study_user_attr(study, "a", 1)
    assert opened.get_study_user_attrs(study) == {}


def test_a_study_that_somebody_has_deleted_is_told(opens):
    opened = opens(None)
    with pytest.raises(OSError, match="memory: the study is no longer there"):
        opened.get_study_user_attrs(5)


@pytest.mark.parametrize("torn", [b'{"op_code": 2, "wor', b'{"op_code"', b"\0\0\0", b"x" * 10_000])
def test_a_journal_goes_on_after_a_line_that_was_cut_off(opens, tmp_path, torn):
    path = tmp_path / "a.journal"
    begin(opens(path))
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    opened = opens(path)
    begin(opened, "b")
    assert names(opened) == names(opens(path)) == ["a", "b"]
    assert path.read_bytes().startswith(whole)
    assert [*map(json.loads, path.read_bytes().splitlines())]


@pytest.mark.parametrize("line", [b"garbage\n", b"\xf6\x00\xff\n"])
def test_a_damaged_line_in_a_journal_is_named(opens, tmp_path, line):
    path = tmp_path / "a.journal"
    begin(opens(path))
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(OSError, match=r"a\.journal: the journal has a damaged line \("):
        names(opens(path))


def test_a_journal_on_a_full_disk_stays_whole(opens, tmp_path, monkeypatch):
    path = tmp_path / "a.journal"
    opened = opens(path)
    begin(opened)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storages.os, "fsync", fail)
    with pytest.raises(OSError, match=r"a\.journal: No space left on device"):
        begin(opened, "b")
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.journal"]  # the lock is free
    begin(opened, "c")
    assert names(opens(path)) == ["a", "c"]


def test_optuna_is_as_loud_afterwards_as_before(tmp_path):
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        open_storage(tmp_path / "a.study.db").close()
    assert optuna.logging.get_verbosity() == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files here")
def test_what_can_not_be_opened_is_closed(tmp_path):
    path = tmp_path / "a.study.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match="not a database") as told:
        open_storage(path)
    assert told.value.__traceback__ is not None  # which holds what has failed
    held = [file.resolve() for file in Path("/proc/self/fd").iterdir() if file.exists()]
    assert path not in held
