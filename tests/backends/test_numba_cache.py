"""Compiled loops on disk: whatever becomes of the files they are right, and one line says so."""

import errno
import shutil

import numpy as np
import pytest

from xpnet.backends.select import why_not_compiled

if why_not_compiled() is not None:
    pytest.skip(f"compiled kernels: {why_not_compiled()}", allow_module_level=True)

import numba

from xpnet.backends import numba_cache
from xpnet.backends.numba_members import compiled


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Use an empty cache, in a process that has not warned yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba_cache, "_warned", set())
    return tmp_path


def half_of(x, out):
    for i in range(len(x)):
        out[i] = x[i] / 2


def run(dtype="f4"):
    """Halve numbers as a new process would; return whether the code was found on disk."""
    loop = compiled(half_of)
    out = np.zeros(3, dtype)
    loop(np.array([1, 2, 3], dtype), out)
    assert out.tolist() == [0.5, 1, 1.5]
    return sum(loop.stats.cache_hits.values()) == 1


def files(folder, kind):
    found = [*folder.rglob(f"*.{kind}")]
    assert found
    return found


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def lose_the_end(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def put_a_folder_there(path):
    path.unlink()
    path.mkdir()


HARM = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "other bytes": lambda path: path.write_bytes(np.random.default_rng(0).bytes(3000)),
    "zeros at its end": lose_the_end,
    "a wrong byte": flip,
}


def test_code_is_kept(folder):
    assert [run(), run(), run("f8"), run("f8"), run()] == [False, True, False, True, True]


#: A wrong byte in an index makes it another index at worst: what it names says what it is.
BROKEN = [("nbc", harm) for harm in HARM] + [("nbi", harm) for harm in [*HARM][:-1]]


@pytest.mark.parametrize(("kind", "harm"), BROKEN)
def test_a_file_that_is_broken_is_made_anew(folder, kind, harm):
    run()
    [path] = files(folder, kind)
    HARM[harm](path)
    with pytest.warns(UserWarning, match="kernels can't be read from") as told:
        assert not run()
    assert len(told) == 1
    assert str(path.parent) in str(told[0].message)
    assert "remove that folder or set NUMBA_CACHE_DIR" in str(told[0].message)
    assert run()


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_it_goes_on_where_a_file_cannot_be_made_anew(folder, kind):
    run()
    put_a_folder_there(*files(folder, kind))
    with pytest.warns(UserWarning, match="kernels can't be (read|kept)") as told:
        assert not run()
    assert len(told) == 1
    assert not run()  # and says it once


def test_it_goes_on_with_a_full_disk(folder, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba_cache.IndexDataCacheFile, "_open_for_write", full)
    with pytest.warns(UserWarning, match=r"can't be kept in .*No space left on device") as told:
        assert not run()
    assert len(told) == 1
    assert not run()


def test_it_goes_on_where_the_folder_is_gone(folder):
    loop = compiled(half_of)
    [inner] = folder.iterdir()
    shutil.rmtree(inner)
    inner.touch()
    out = np.zeros(1)
    with pytest.warns(UserWarning, match="can't be read from .*Not a directory"):
        loop(np.ones(1), out)
    assert out == 0.5


def test_it_goes_on_where_no_folder_can_be_written_to(monkeypatch):
    def nowhere(self):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(numba.core.caching._CacheLocator, "ensure_cache_path", nowhere)
    with pytest.warns(UserWarning, match="can't be kept on disk .*set NUMBA_CACHE_DIR to a folder"):
        assert not run()
    assert not run()


def test_code_for_other_types_is_not_taken(folder, monkeypatch):
    """Two processes that write at once may leave one's code under the other's name."""
    run("f4")
    [first] = files(folder, "nbc")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder / "other"))
    run("f8")
    [second] = files(folder / "other", "nbc")
    shutil.copy(second, first)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    assert [run("f4"), run("f4")] == [False, True]
