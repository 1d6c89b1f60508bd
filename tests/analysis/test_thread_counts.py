"""How many threads a profile advises: the judgement on made-up times, and what is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.analysis import plots, profiling, thread_counts
from xpnet.analysis.profile_result import Profile, Row, Series, advise
from xpnet.backends import threads
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.throughput.timing import Timing, knee

SIZES = [2**i for i in range(14)]


def series(n, seconds, peak=1e11, spread=0.0, late=0.0, device="cpu", mode="training"):
    """Return a series with n threads: a step of 1e5 operations for each example.

    ``late`` is by which share of its time the slowest quarter of the rounds takes longer.
    """
    low, high = 1 - spread, 1 + spread + late
    times = [
        Timing(size, t, low * t, high * t, t, 40, (low * t, t, high * t))
        for size, t in seconds.items()
    ]
    rows = [
        Row(
            *(t.batch_size, t.seconds, t.least, t.most, t.rounds, t.rate, 0.5, "compute"),
            *(1e5 * t.rate, 0.5, 1000, t.least, t.most, t.seconds, True),
        )
        for t in times
    ]
    best = knee(times).batch_size if times else None
    return Series(device, device, mode, rows, peak, "arrays", "sizes", None, best, n)


def steps(per_example, fixed=2e-5):
    return {size: fixed + per_example * size for size in SIZES}


ONE = series(1, steps(1e-6))
#: What two cores of their own gain: nothing in small products.
TWO = series(2, {n: 3e-5 + (1e-6 if n < 256 else 0.55e-6) * n for n in SIZES}, peak=1.9e11)
#: Two threads on cores of which others use one.
SPINNING = series(2, {n: t * (30 if n >= 128 else 1) for n, t in steps(1e-6).items()})


def advice(*found):
    return advise(Profile("4-3", 15, "float32", list(found)))


def test_more_threads_are_advised_where_they_gain_more_than_a_tenth():
    assert thread_counts.recommended([ONE, TWO]) is TWO
    first, second, _ = advice(ONE, TWO)
    assert first.startswith("training: use batches of 512 and 2 threads on cpu, ")
    assert second == (
        "training: 2 threads are up to 1.8 times as quick as 1, and quicker from batches of 256 on"
    )


def test_a_size_that_is_unsure_does_not_say_from_where_on_threads_are_quicker():
    rows = [replace(r, seconds=9.0, sure=False) if r.batch_size == 1024 else r for r in TWO.rows]
    _, second, _ = advice(ONE, replace(TWO, rows=rows))
    assert second.endswith("and quicker from batches of 256 on")


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (
            1.08,
            "training: 2 threads reach 1.08 times the speed of 1, too little for ",
        ),
        (1.0, "training: more threads than 1 are no quicker"),
        (0.9, "training: more threads than 1 are no quicker"),
    ],
)
def test_threads_that_gain_nothing_are_not_taken_from_others(gain, words):
    other = series(2, {n: t / gain for n, t in steps(1e-6).items()})
    assert thread_counts.recommended([ONE, other]) is ONE
    first, second, _ = advice(ONE, other)
    assert " and 1 thread on cpu, " in first
    assert second.startswith(words)


def test_within_the_noise_fewer_threads_win():
    faster = {n: t / 1.2 for n, t in steps(1e-6).items()}
    assert thread_counts.recommended([ONE, series(2, faster)]).threads == 2
    unsure = [ONE, series(2, faster, spread=0.5)]
    assert thread_counts.recommended(unsure) is ONE
    assert thread_counts.in_words(unsure) == (
        "training: 2 threads reach 1.20 times the speed of 1, but the times vary too much"
    )


def test_of_many_threads_the_fewest_that_reach_the_best_speed():
    group = [ONE, *(series(n, steps(1e-6 / min(n, 4), 3e-5)) for n in (2, 4, 8))]
    assert thread_counts.recommended(group).threads == 4
    assert "batches of" in thread_counts.in_words(group)
    assert thread_counts.in_words(group).startswith("training: 4 threads are up to 4.0 times")


def test_threads_that_spin_on_shared_cores_are_found_and_told():
    assert thread_counts.slowdown(ONE, SPINNING) == pytest.approx(30)
    assert thread_counts.recommended([ONE, SPINNING]) is ONE
    told = thread_counts.in_words([ONE, SPINNING])
    assert told.startswith("training: 2 threads take 30 times as long as 1 in large products: ")
    assert "--threads 1" in told
    assert "limit_threads(1)" in told
    # With four of them as well.
    group = [ONE, TWO, replace(SPINNING, threads=4)]
    assert thread_counts.recommended(group) is TWO
    told = thread_counts.in_words(group)
    assert "4 threads take 30 times as long as 1" in told
    assert "use 2 threads (--threads 2, " in told


def test_threads_that_spin_a_quarter_of_the_time_are_told_too():
    """In between others leave them the cores: their best times say nothing."""
    at_times = series(2, steps(0.55e-6), late=40.0)
    assert thread_counts.recommended([ONE, at_times]) is ONE
    # Other work delays a single thread too, by as much as it takes the core.
    delayed = series(1, steps(1e-6), late=1.0)
    assert thread_counts.slowdown(delayed, series(2, steps(0.55e-6), late=1.0)) <= 1


def test_that_small_products_gain_nothing_is_no_spinning():
    slow = series(2, {n: t * (3 if n < 256 else 0.9) for n, t in steps(1e-6).items()})
    assert thread_counts.slowdown(ONE, slow) <= thread_counts.SLOWER


def test_spinning_may_leave_time_for_large_products_alone():
    """The sweep ends before its steps are large: one step would take all its time."""
    short = replace(SPINNING, rows=SPINNING.rows[:5], product_rate=1e9)
    assert "2 threads take 100 times as long" in thread_counts.in_words([ONE, short])
    assert thread_counts.recommended([ONE, short]) is ONE


def test_one_number_of_threads_is_not_spoken_of():
    assert "thread" not in " ".join(advice(ONE))
    gpu = replace(series(1, steps(1e-8, 1e-4), device="cuda:0"), threads=None)
    assert "thread" not in " ".join(advice(gpu))


def test_devices_are_compared_by_the_threads_to_use():
    gpu = replace(series(1, steps(0.3e-6, 1e-4), device="cuda:0"), threads=None)
    profile = Profile("4-3", 15, "float32", [ONE, TWO, gpu])
    assert profile.recommended("training") == [TWO, gpu]
    found = advice(ONE, TWO, gpu)
    assert found[0].startswith("training: use batches of ")
    assert " on cuda:0" in found[0]
    assert "thread" not in found[0]
    assert found[1].startswith("training: 2 threads are up to")


def test_nothing_measured_is_no_group():
    assert thread_counts.groups([series(1, {})], "training") == []
    assert advice(series(1, {}), series(2, {}))[0] == "training: not one batch size was measured"


def test_a_picture_has_a_line_for_each_number_of_threads(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    many = [series(n, steps(1e-6 / min(n, 4), 3e-5)) for n in (1, 2, 4, 8, 16, 32)]
    Profile("4-3", 15, "float32", many).plot("p.png")
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    # No more than the fewest, the best and the most.
    assert [label.partition("\n")[0] for label in labels] == [
        f"cpu, {n} thread{'s' * (n > 1)}, training" for n in (1, 4, 32)
    ]
    colours = {line.get_color() for line in drawn[0].axes[0].lines}
    assert len(colours) == 3


# -- the measuring ----


@pytest.fixture(autouse=True)
def quick_products(monkeypatch):
    """Spare the measuring of large products; of four cores, which BLAS has as threads."""
    monkeypatch.setattr(profiling, "product_rate", lambda *_: 1e11)
    for module in (threads, profiling):
        monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.setattr(NumpyBackend, "threads", lambda self: 3)


def net():
    layers = [xn.Linear(3)]
    return xn.Network(layers, loss="softmax_cross_entropy", n_features=4, device="cpu")


def measured(**options):
    options = {"devices": ["cpu"], "batch_sizes": [2], "seconds": 0.01} | options
    return xn.profile(net(), **options)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, [1, 2, 3]), (2, [2]), ([4, 1, 1], [1, 4]), (np.arange(1, 3), [1, 2])],
)
def test_which_threads_are_tried(monkeypatch, given, expected):
    held, limit = [], threads.limit_threads

    def limited(n):
        held.append(n)
        return limit(n)

    monkeypatch.setattr(profiling, "limit_threads", limited)
    monkeypatch.setattr(profiling, "product_rate", lambda *_: 1e15)  # more than any row's
    found = measured(threads=given)
    modes = ("training", "prediction")
    assert [(s.mode, s.threads) for s in found.series] == [(m, n) for n in expected for m in modes]
    assert held == [n for n in expected for _ in range(3)]
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [s["threads"] for s in document["series"]] == [n for n in expected for _ in modes]


def test_a_device_without_threads_is_measured_once():
    found = measured(devices=[StrictBackend()], threads=[1, 2], prediction=False)
    assert [s.threads for s in found.series] == [None]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (0, ValueError, "threads is 0: give 1 or more"),
        ([1, -1], ValueError, "threads is -1: give 1 or more"),
        (5, ValueError, "threads is 5: this process may use 4 cores; give 1 to 4"),
        (1.5, TypeError, "threads is 1.5: give a whole number"),
        ("many", TypeError, "threads is 'many'"),
        ([], ValueError, "there is none to try"),
    ],
)
def test_wrong_threads(given, error, message):
    with pytest.raises(error) as caught:
        measured(threads=given)
    assert message in str(caught.value)
