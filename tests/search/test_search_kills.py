"""A search by several processes that are killed: a handful of ``ci/search_kills.py``."""

import os

import pytest

pytest.importorskip("optuna", reason="Optuna is not installed (extra 'tune')")

from ci.search_kills import Search


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize("name", ["a.study.db", "a.journal"])
def test_kills_lose_nothing(tmp_path, name):
    search = Search(str(tmp_path / name), tmp_path, 24)
    search.start(3)
    kills = 0
    while kills < 4 and search.kill_one(0.3):
        kills += 1
    search.wait()
    counts = search.check()
    assert counts["complete"] + counts["stopped"] + counts["failed"] == 24
