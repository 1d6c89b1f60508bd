"""Files that are written whole: what they keep of the old one, and what is cleared away."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

import xpnet as xn
from xpnet.files import atomic
from xpnet.files.file_lock import FileLock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, links and locks are POSIX's")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o666, 0o444, 0o755])
def test_a_file_that_is_written_over_keeps_its_mode(tmp_path, umask, before):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(before)
    atomic.write_whole(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", before)


def test_what_is_private_is_never_to_be_read_by_others(tmp_path, umask, monkeypatch):
    """Neither while it is being written."""
    path, seen = tmp_path / "a", []
    path.write_bytes(b"old")
    path.chmod(0o600)
    monkeypatch.setattr(
        atomic.DISK, "write", lambda file, data: seen.append(os.fstat(file.fileno()).st_mode)
    )
    atomic.write_whole(path, b"new")
    assert [stat.S_IMODE(found) for found in seen] == [0o600]


def test_a_link_stays_a_link(tmp_path, umask):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("there/real")
    atomic.write_whole(link, b"new")
    assert (os.readlink(link), target.read_bytes(), mode(target)) == ("there/real", b"new", 0o640)
    assert sorted(os.listdir(tmp_path / "there")) == ["real"]
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_a_link_to_a_file_that_is_not_there_makes_it(tmp_path, umask):
    link = tmp_path / "link"
    link.symlink_to("later")
    atomic.write_whole(link, b"new")
    assert link.is_symlink()
    assert ((tmp_path / "later").read_bytes(), mode(tmp_path / "later")) == (b"new", 0o644)


def test_a_model_that_is_saved_again_keeps_mode_and_link(tmp_path, umask):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, device="cpu")
    path, link = tmp_path / "m.safetensors", tmp_path / "newest"
    net.save(path)
    path.chmod(0o600)
    link.symlink_to(path)
    net.save(link)
    assert (link.is_symlink(), mode(path)) == (True, 0o600)
    assert xn.load(link, device="cpu").n_features == 2


def test_a_group_that_can_t_be_kept_gets_no_rights_of_the_old_one(tmp_path, monkeypatch):
    chown = os.fchown

    def refuse(descriptor, uid, gid):
        if gid != -1:
            raise PermissionError
        chown(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", refuse)
    for before, after in ((0o660, 0o600), (0o664, 0o644), (0o750, 0o700), (0o755, 0o755)):
        path = tmp_path / f"{before:o}"
        path.write_bytes(b"old")
        path.chmod(before)
        atomic.write_whole(path, b"new")
        assert mode(path) == after


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root alone gives files away")
def test_owner_and_group_stay(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    path.chmod(0o4660)
    atomic.write_whole(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode(path)) == (1234, 5678, 0o660)


def test_a_pipe_that_is_called_like_an_unfinished_file_is_let_be(tmp_path):
    pipe = tmp_path / ".m.12345678.unfinished"
    os.mkfifo(pipe)
    atomic.write_whole(tmp_path / "m", b"whole")
    assert pipe.exists()


@pytest.mark.parametrize("function", [lambda p: atomic.write_whole(p, b"x"), atomic.try_to_write])
def test_what_is_no_plain_file_is_not_replaced(tmp_path, function):
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to("loop")
    for path, why in ((pipe, "is no plain file"), (loop, "symbolic link"), (tmp_path, "directory")):
        with pytest.raises(OSError, match=why) as caught:
            function(path)
        assert caught.value.filename == str(path)
    assert sorted(os.listdir(tmp_path)) == ["loop", "pipe"]


def test_names_as_long_as_the_disk_takes_them(tmp_path):
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    for name in ("n" * most, "é" * (most // 2), "𝄞" * (most // 4)):
        path = tmp_path / name
        atomic.try_to_write(path)
        assert not path.exists()
        atomic.write_whole(path, b"whole")
        assert os.listdir(tmp_path) == [name]
        path.unlink()
    for function in (atomic.try_to_write, lambda path: atomic.write_whole(path, b"")):
        with pytest.raises(OSError, match="File name too long"):
            function(tmp_path / ("n" * (most + 1)))
    assert os.listdir(tmp_path) == []


# -- what killed writers leave ----

KILLED = """
import os, signal, sys
from pathlib import Path
from xpnet.files import atomic

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(atomic.DISK, sys.argv[2], die)
atomic.write_whole(Path(sys.argv[1]), b"new")
"""


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["write", "sync", "rename"])
def test_the_next_write_of_a_name_clears_away_what_a_kill_has_left(tmp_path, operation):
    path, other = tmp_path / ("m" * 50), tmp_path / "another"
    for each in (path, other):
        process = subprocess.run([sys.executable, "-c", KILLED, each, operation], check=False)
        assert process.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    atomic.write_whole(path, b"new")
    # Of another name it stays until that is written.
    (left,) = {*os.listdir(tmp_path)} - {path.name}
    assert left.endswith(".unfinished")
    atomic.write_whole(other, b"new")
    assert {*os.listdir(tmp_path)} == {path.name, other.name}


def test_what_another_one_still_writes_is_let_be(tmp_path, monkeypatch):
    """Two writers of one name: each is whole, and the last one stays."""
    path, begun, go_on = tmp_path / "m", threading.Event(), threading.Event()
    write, main = atomic.DISK.write, threading.current_thread()

    def wait(file, data):
        write(file, data)
        if threading.current_thread() is not main:
            begun.set()
            go_on.wait()

    monkeypatch.setattr(atomic.DISK, "write", wait)
    thread = threading.Thread(target=atomic.write_whole, args=(path, b"slow" * 100))
    thread.start()
    begun.wait()
    atomic.write_whole(path, b"quick")
    assert path.read_bytes() == b"quick"
    assert len(os.listdir(tmp_path)) == 2
    go_on.set()
    thread.join()
    assert path.read_bytes() == b"slow" * 100
    assert os.listdir(tmp_path) == ["m"]


def test_one_who_clears_away_may_come_right_after_the_file_is_made(tmp_path, monkeypatch):
    create, taken = atomic.DISK.create, []

    def robbed(path, mode):
        file = create(path, mode)
        if not taken:
            taken.append(path)
            path.unlink()
        return file

    monkeypatch.setattr(atomic.DISK, "create", robbed)
    atomic.write_whole(tmp_path / "m", b"whole")
    assert taken
    assert (tmp_path / "m").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["m"]


def test_where_files_can_t_be_locked_nothing_is_cleared_away(tmp_path, monkeypatch):
    left = tmp_path / ".m.12345678.unfinished"
    left.write_bytes(b"who knows")
    monkeypatch.setattr("xpnet.files.file_lock.fcntl", None)
    atomic.write_whole(tmp_path / "m", b"whole")
    assert left.exists()
    monkeypatch.undo()
    atomic.write_whole(tmp_path / "m", b"whole")
    assert not left.exists()


# -- locks ----


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_holds_no_lock_of_its_parent(tmp_path):
    """Else a child that lives on would keep others out when the parent is killed."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        lock = FileLock(os.dup(file.fileno()))
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)  # until the parent says so
        os._exit(0 if not lock.is_of(path) else 1)
    os.close(read)
    lock.release()
    with FileLock(os.open(path, os.O_RDONLY)) as again:
        assert again.is_of(path)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
