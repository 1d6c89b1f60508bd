"""What others take: who is named as the cause, and in which words."""

import builtins
import os
import time

import pytest

from xpnet.throughput import contention
from xpnet.throughput.contention import SYSTEM, Contention, MachineTime, as_clock, judge

START = MachineTime(100.0, 5.0, 300.0, 10.0, 0.0, 2)


def after(own, others=0.0, stolen=0.0, load=0.0, busy=True):
    """Return what is counted ten seconds later, by how many cores were used."""
    used = START.busy + 10 * (own + others) if busy else None
    gone = START.stolen + 10 * stolen if busy else None
    return MachineTime(110.0, START.own + 10 * own, used, gone, load, START.cores)


@pytest.mark.parametrize(
    ("lost", "kept", "end", "cause"),
    [
        (0.02, 0.01, after(1.0), "none"),  # a quiet machine
        (0.40, 0.02, after(1.0), "none"),  # noise: nobody is there
        (0.05, 0.00, after(1.0, others=1.0), "none"),  # others that do not disturb
        (0.40, 0.20, after(1.1, others=0.9), "others"),
        (0.40, 0.00, after(1.1, others=0.9), "others"),  # of a thread of BLAS's alone
        (0.40, 0.00, after(1.0, others=0.2), "none"),
        (0.40, 0.02, after(1.0, others=0.4, stolen=0.6), "hypervisor"),
        (0.40, 0.02, after(0.6, others=1.0, stolen=0.4), "others"),  # who take more
        (0.40, 0.30, after(2.0), "own threads"),
        (0.40, 0.30, after(0.6), "unknown"),  # a limit on processor time, say
        # Where the machine's time is not told, the load is.
        (0.40, 0.30, after(1.0, load=2.1, busy=False), "others"),
        (0.40, 0.30, after(0.5, load=0.6, busy=False), "unknown"),
        (0.40, 0.30, after(1.6, load=1.8, busy=False), "unknown"),  # most of the load is its own
        (0.40, 0.30, None, "unknown"),
        (0.40, None, None, "none"),
    ],
)
def test_who_is_the_cause(lost, kept, end, cause):
    found = judge(lost, kept, None if end is None else START, end)
    assert found.cause == cause
    assert (found.lost, found.kept) == (lost, kept)
    told = found.in_words()
    assert bool(told) == (cause != "none")
    assert "\n" not in told


def test_many_idle_cores_are_nobody_s_disturbance():
    start = START._replace(cores=64)
    end = after(1.0, others=20.0)._replace(cores=64)
    assert judge(0.4, 0.0, start, end).cause == "none"


def test_what_others_took_is_counted_in_cores():
    found = judge(0.4, 0.2, START, after(1.1, others=0.9, stolen=0.1))
    assert found.cores == 2
    assert found.own == pytest.approx(1.1)
    assert found.others == pytest.approx(0.9)
    assert found.stolen == pytest.approx(0.1)
    assert found.in_words().startswith("other processes take about one of two cores, and 40% of")


@pytest.mark.parametrize(
    ("cause", "todo"),
    [
        ("others", "end them, or compute on fewer threads"),
        ("hypervisor", "on a machine of your own"),
        ("own threads", "compute on fewer threads"),
        ("unknown", "a limit on processor time"),
    ],
)
def test_each_cause_says_what_to_do(cause, todo):
    found = Contention(cause, 0.4, 0.2, 2, 1.0, 1.0, 0.5)
    assert todo in found.in_words()
    if cause != "own threads":
        assert "fewer threads" not in found.in_words(threads=1)


def test_the_system_s_clock_counts_this_thread_and_this_process():
    wall, begun, before = SYSTEM(), SYSTEM.thread(), SYSTEM.machine()
    while SYSTEM() < wall + 0.03:
        pass
    ended, end = SYSTEM.thread(), SYSTEM.machine()
    assert end.wall > before.wall
    assert end.own - before.own > 0
    assert end.cores >= 1
    if begun is not None:
        assert 0 < ended.seconds - begun.seconds <= SYSTEM() - wall + 1e-3  # two clocks


@pytest.mark.skipif(SYSTEM.thread() is None, reason="this system does not count switches")
def test_a_thread_that_gives_its_processor_up_is_seen():
    before = SYSTEM.thread()
    time.sleep(0.001)
    assert SYSTEM.thread().switches > before.switches


def test_a_platform_may_tell_nothing(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no such file")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(contention, "resource", None)
    for name in ("sched_getaffinity", "getloadavg"):
        monkeypatch.delattr(os, name, raising=False)
    assert SYSTEM.thread() is None
    told = SYSTEM.machine()
    assert (told.busy, told.stolen, told.load) == (None, None, None)
    assert told.cores == os.cpu_count()
    assert judge(0.4, None, told, SYSTEM.machine()).cause == "none"


def test_a_function_of_the_time_is_a_clock_that_knows_no_more():
    clock = as_clock(lambda: 3.0)
    assert (clock(), clock.thread(), clock.machine()) == (3.0, None, None)
    assert as_clock(clock) is clock


def test_only_this_process_s_cores_count(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 40 7 8 5 5 25 0 0\ncpu1 1 1 1 1 1 1 1 1\n"
    )
    ours = open
    monkeypatch.setattr(builtins, "open", lambda path, **options: ours(stat, **options))
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    assert contention._core_seconds([0]) == (1.5, 0.25)
    assert contention._core_seconds([5]) == (None, None)
