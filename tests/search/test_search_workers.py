"""Which processes are alive: by their beats, and on this machine by looking."""

import gc
import subprocess
import sys
import threading
import weakref

import pytest

from xpnet.search import workers
from xpnet.search.workers import Pulse, Watch, is_gone, this_process

needs_proc = pytest.mark.skipif(
    workers._machine() is None, reason="the system does not tell of processes"
)


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_who_beats_is_alive_however_long_nobody_looked():
    clock = Clock()
    watch = Watch(10, clock)
    for beat in range(5):
        assert watch.is_alive("a", {"beat": beat})
        clock.now += 1000


def test_who_is_silent_for_the_time_of_grace_is_dead_until_it_beats_again():
    clock = Clock()
    watch = Watch(10, clock)
    assert watch.is_alive("a", {"beat": 1})
    clock.now += 9.9
    assert watch.is_alive("a", {"beat": 1})
    assert watch.is_alive("b", {"beat": 1})  # seen for the first time
    clock.now += 0.2
    assert not watch.is_alive("a", {"beat": 1})
    assert watch.is_alive("b", {"beat": 1})
    assert watch.is_alive("a", {"beat": 2})


def test_who_has_said_that_it_ends_is_dead():
    assert not Watch(10).is_alive("a", None)


@needs_proc
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"pid": 2**22 + 1}, True),
        ({"started": "1"}, True),  # another process has its number now
        ({"pid": 2**22 + 1, "machine": "elsewhere"}, False),  # nobody can know
        ({"pid": 2**22 + 1, "machine": None}, False),
        ({"pid": 2**22 + 1, "started": None}, False),
    ],
)
def test_who_has_gone_from_this_machine_is_dead_at_once(changes, expected):
    process = this_process() | changes
    assert is_gone(process) is expected
    assert Watch(10).is_alive("a", process | {"beat": 1}) is not expected


@needs_proc
@pytest.mark.slow
def test_a_killed_process_is_gone_before_its_parent_asks():
    code = "import sys; from xpnet.search.workers import *; print(this_process(), flush=True); "
    code += "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        told = eval(process.stdout.readline())
        assert told["pid"] == process.pid
        assert not is_gone(told)
        process.kill()
        while not is_gone(told):
            pass
    assert is_gone(told)


def test_a_system_that_tells_nothing_leaves_it_to_the_beats(monkeypatch):
    monkeypatch.setattr(workers, "_machine", lambda: None)
    assert not is_gone(this_process() | {"pid": 2**22 + 1})


class Beating:
    """What beats, and tells of it."""

    def __init__(self, fails=False):
        self.beats, self.fails = threading.Semaphore(0), fails

    def beat(self):
        self.beats.release()
        if self.fails:
            raise OSError("the storage can't be reached")


@pytest.mark.parametrize("fails", [False, True])
def test_a_pulse_goes_on_until_it_is_stopped_whatever_fails(fails):
    beating = Beating(fails)
    pulse = Pulse(beating.beat, 0.001)
    for _ in range(3):
        assert beating.beats.acquire(timeout=60)
    pulse.stop()
    pulse.stop()
    assert not pulse._thread.is_alive()
    # What failed was no beat.
    assert pulse.is_late() is fails or not fails


def test_a_pulse_is_late_before_the_first_call_and_after_a_long_silence(monkeypatch):
    beating = Beating()
    pulse = Pulse(beating.beat, 1000)
    assert pulse.is_late()
    pulse.call()
    assert not pulse.is_late()
    later = workers.time.monotonic() + 2001
    monkeypatch.setattr(workers.time, "monotonic", lambda: later)
    assert pulse.is_late()
    monkeypatch.undo()
    pulse.stop()


def test_a_pulse_ends_with_its_object():
    beating = Beating()
    pulse, gone = Pulse(beating.beat, 0.001), weakref.ref(beating)
    assert beating.beats.acquire(timeout=60)
    del beating
    while gone() is not None:  # a call may hold it just now
        gc.collect()
    pulse._thread.join(60)
    assert not pulse._thread.is_alive()
