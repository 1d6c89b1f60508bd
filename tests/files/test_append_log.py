"""A file that only grows: what a mark holds comes back, whatever was written beyond it."""

import errno
import json
import math
import os

import pytest

from xpnet.files import atomic
from xpnet.files.append_log import AppendLog

ROWS = [{"epoch": i, "loss": 1 / (i + 3), "error": [math.nan, 0.5][i % 2]} for i in range(6)]


def same(found, expected):
    return json.dumps(found) == json.dumps(expected)  # NaN is equal to NaN there


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def marks(path):
    """Return the marks before each row of a log, and the one at its end."""
    log = AppendLog(path)
    found = [log.mark()]
    for n in range(1, len(ROWS) + 1):
        log.extend_to(ROWS[:n])
        found.append(log.mark())
    return found


@pytest.mark.parametrize("n", range(len(ROWS) + 1))
def test_any_mark_can_be_gone_on_from(path, marks, n):
    log = AppendLog(path)
    rows, whole = log.read(marks[n])
    assert whole
    assert same(rows, ROWS[:n])
    log.extend_to([*rows, {"other": 1}])
    assert same(AppendLog(path).read(log.mark())[0], [*ROWS[:n], {"other": 1}])
    assert len(path.read_bytes().splitlines()) == n + 1  # what lay beyond is gone


def test_no_row_no_file(path):
    log = AppendLog(path)
    log.extend_to([])
    assert AppendLog(path).read(log.mark()) == ([], True)
    assert not path.exists()


def test_what_is_added_costs_nothing_of_what_is_there(path, monkeypatch):
    log, written = AppendLog(path), []
    log.extend_to(ROWS * 1000)
    write = atomic.DISK.write
    monkeypatch.setattr(
        atomic.DISK, "write", lambda file, data: (written.append(len(data)), write(file, data))
    )
    log.extend_to(ROWS * 1000 + ROWS[:1])
    assert written == [len(json.dumps(ROWS[0] | {"error": {"$float": "nan"}})) + 1]


@pytest.mark.parametrize("operation", ["reopen", "write", "sync"])
def test_after_an_error_it_is_as_before(path, marks, monkeypatch, operation):
    log = AppendLog(path)
    rows, _ = log.read(marks[-1])

    def fail(*arguments):
        if operation == "write":
            arguments[0].write(arguments[1][:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.DISK, operation, fail)
        with pytest.raises(OSError, match="No space left"):
            log.extend_to([*rows, {"more": 1}])
    assert log.mark() == marks[-1]
    assert AppendLog(path).read(marks[-1])[1]
    log.extend_to([*rows, {"more": 2}])
    assert same(AppendLog(path).read(log.mark()), [[*ROWS, {"more": 2}], True])


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda text: text[:-5], 5),
        (lambda text: b"", 0),
        (lambda text: text.replace(b'"epoch": 3', b'"epoch": 8'), 6),
        (lambda text: text.replace(b'"epoch": 3', b'"epoch: 3'), 3),
        (lambda text: text.replace(b'"epoch": 3', b'"epoch": NaN'), 3),
        (lambda text: text.replace(b"\n", b"", 3), 0),
        (lambda text: b"\xff" + text, 0),
        (lambda text: b"[" * 10**5 + b"\n" + text, 0),
        (lambda text: b"1" * 2**21 + text, 0),
    ],
    ids=["cut", "empty", "changed", "no JSON", "NaN", "one line", "no text", "deep", "long"],
)
def test_damage_is_told_and_what_can_be_read_is_kept(path, marks, damage, left):
    path.write_bytes(damage(path.read_bytes()))
    log = AppendLog(path)
    rows, whole = log.read(marks[-1])
    assert (len(rows), whole) == (left, False)
    # And it goes on from what is there.
    log.extend_to([*rows, {"more": 1}])
    assert AppendLog(path).read(log.mark())[1]


def test_a_file_that_is_gone(path, marks):
    path.unlink()
    assert AppendLog(path).read(marks[-1]) == ([], False)


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 20)])
def test_what_is_cut_meanwhile_is_written_anew(path, harm):
    log = AppendLog(path)
    log.extend_to(ROWS[:4])
    harm(path)
    log.extend_to(ROWS)
    assert same(AppendLog(path).read(log.mark()), [ROWS, True])


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[3].update(later=1.0),
        lambda rows: rows.pop(0),
        lambda rows: rows.insert(0, {"first": 1}),
        lambda rows: rows.clear(),
        lambda rows: rows.__setitem__(slice(None), [{"new": i} for i in range(4)]),
    ],
    ids=["filled in", "shifted", "inserted", "cleared", "others"],
)
def test_records_that_were_changed(path, change):
    log, rows = AppendLog(path), [dict(row) for row in ROWS[:4]]
    log.extend_to(rows)
    change(rows)
    rows.append({"more": 1})
    log.extend_to(rows)
    assert same(AppendLog(path).read(log.mark()), [rows, True])


def test_a_line_has_the_bounds_that_reading_has(path, monkeypatch):
    monkeypatch.setattr("xpnet.files.append_log.MOST_BYTES", 100)
    log = AppendLog(path)
    with pytest.raises(ValueError, match="it has 113 bytes, more than 100"):
        log.extend_to([{"text": "x" * 100}])
    assert not path.exists()


@pytest.mark.parametrize("mark", [{}, {"lines": -1}, {"lines": "3"}, {"lines": 1.0}])
def test_what_is_no_mark(path, marks, mark):
    with pytest.raises((KeyError, TypeError, ValueError)):
        AppendLog(path).read(mark)
