"""Throughput by batch size: the judgement on made-up times, the measuring by a made-up clock."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.analysis import profile_result, profiling
from xpnet.analysis.profile_result import Profile, Row, Series
from xpnet.backends.select import select
from xpnet.throughput import measuring, timing
from xpnet.throughput.contention import Contention
from xpnet.throughput.measuring import Feeding, choose, product_rate, sweep, time_rounds
from xpnet.throughput.timing import (
    Round,
    Timing,
    candidates,
    crossover,
    host_shares,
    knee,
    launch_bound,
)
from xpnet.train import step_scalars

POWERS = [2**i for i in range(12)]


def timed(n, seconds, spread=0.0, host=None, rounds=16):
    """Return a timing that may be wrong by a share."""
    low, high = seconds * (1 - spread), seconds * (1 + spread)
    host = seconds if host is None else host
    return Timing(n, seconds, low, high, host, rounds, (low, seconds, high))


# -- the judgement ----


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 8),  # each doubling doubles the speed
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),  # none gains anything
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.3, 16: 4.7}, 8),  # 3.08 at 4, 3.48 at 8
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.4, 16: 5.5}, 4),  # 3.08 at 4, 3.33 at 8, 2.91 at 16
        ({1: 1.0, 2: 1.01, 4: 4.0, 8: 4.5}, 2),  # 1.98 at 2, though 4 is slow
        ({7: 1.0}, 7),
    ],
)
def test_the_knee_is_the_smallest_with_nine_tenths_of_the_best(seconds, expected):
    assert knee([timed(n, t) for n, t in seconds.items()]).batch_size == expected


def test_a_larger_batch_is_ahead_only_beyond_the_noise():
    times = [timed(8, 1.0), timed(16, 1.7)]  # 8 and 9.4 samples/s
    assert knee(times).batch_size == 16
    noisy = [replace(t, least=0.9 * t.seconds, most=1.1 * t.seconds) for t in times]
    assert knee(noisy).batch_size == 8
    # Whichever of the two is uncertain.
    assert knee([noisy[0], times[1]]).batch_size == 8
    assert knee([times[0], noisy[1]]).batch_size == 8


def test_the_more_rounds_the_surer_a_time():
    draw = np.random.default_rng(0)
    rounds = [Round(1 + abs(noise), 1.0) for noise in draw.normal(size=4000)]
    spreads = [Timing.of(8, rounds[:n]).spread for n in (40, 4000)]
    assert spreads[0] > 2 * spreads[1] > 0


def test_the_interval_holds_the_fast_decile_in_nine_of_ten_cases():
    draw = np.random.default_rng(1)
    true = np.quantile(1 + draw.exponential(size=10**6), timing.FAST)
    found = [Timing.of(1, [Round(t, t) for t in 1 + draw.exponential(size=40)]) for _ in range(500)]
    assert 0.85 <= np.mean([t.least <= true <= t.most for t in found]) <= 0.98


def test_however_large_the_noise_the_knee_has_four_fifths_of_the_best_speed():
    times = [timed(8, 1.0, spread=0.9, rounds=5), timed(16, 1.2, spread=0.9, rounds=5)]
    assert knee(times).batch_size == 16
    assert knee([times[0], replace(times[1], seconds=1.7)]).batch_size == 8


def test_one_disturbed_size_does_not_move_the_knee():
    times = [timed(n, 0.001 + n / 40_000) for n in POWERS]
    before = knee(times).batch_size
    for i, t in enumerate(times):
        if t.batch_size != before:
            disturbed = [
                *times[:i],
                replace(t, seconds=3 * t.seconds, most=4 * t.most),
                *times[i + 1 :],
            ]
            assert knee(disturbed).batch_size == before


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, {1: 3.0, 2: 3.0, 4: 3.0, 8: 3.0}, 4),
        ({1: 1.0, 2: 2.0}, {1: 0.5, 2: 0.5}, 1),
        ({1: 1.0, 2: 2.0}, {1: 3.0, 2: 3.0}, None),
        ({1: 4.0, 2: 2.0, 4: 4.0}, {1: 3.0, 2: 3.0, 4: 3.0}, 4),  # from there on, not before
        ({1: 1.0, 2: 2.0}, {1: 0.5, 2: 2.5}, None),
        ({1: 9.0, 2: 9.0}, {2: 3.0, 4: 3.0}, 2),  # sizes that both have
        ({1: 9.0}, {2: 3.0}, None),
        ({}, {2: 3.0}, None),
    ],
)
def test_the_crossover_is_where_the_others_begin_to_be_quicker(cpu, gpu, expected):
    ours, theirs = ([timed(n, t) for n, t in times.items()] for times in (cpu, gpu))
    assert crossover(ours, theirs) == expected


def test_a_crossover_is_claimed_only_beyond_the_noise():
    cpu = [timed(n, t) for n, t in ((1, 1.0), (2, 3.2), (4, 6.0))]
    gpu = [timed(n, 3.0) for n in (1, 2, 4)]
    assert crossover(cpu, gpu) == 2
    assert crossover(cpu, [replace(t, least=2.7, most=3.3) for t in gpu]) == 4


def test_where_the_device_works_by_itself_launching_counts_until_it_is_hidden():
    # 100 µs to issue a step, and 1 µs for each example on the device, at the same time.
    times = [timed(n, max(1e-4, 1e-6 * n), host=1e-4) for n in POWERS]
    np.testing.assert_allclose(host_shares(times), [min(1, 100 / n) for n in POWERS])
    assert launch_bound(times) == 128


def test_where_the_host_waits_its_part_is_the_time_of_the_shortest_step():
    times = [timed(n, 1e-4 + 1e-6 * n) for n in POWERS]
    np.testing.assert_allclose(host_shares(times)[1:], [102 / (100 + n) for n in POWERS[1:]])
    assert launch_bound(times) == 32


@pytest.mark.parametrize("seconds", [3e-5, 3e-4])
def test_a_single_example_may_take_another_way(seconds):
    times = [timed(n, 1e-4 + 1e-6 * n) for n in POWERS]
    others = host_shares(times)[1:]
    times[0] = timed(1, seconds)
    assert host_shares(times)[1:] == others
    assert 0 < host_shares(times)[0] <= 1
    assert launch_bound(times) == 32
    assert host_shares(times[:1]) == [1.0]


def test_noise_in_small_batches_does_not_hide_that_they_are_launch_bound():
    times = [timed(n, 1e-4 + 1e-6 * n) for n in POWERS]
    times[2] = timed(4, 3e-4)
    assert launch_bound(times) == 32
    assert launch_bound([timed(8, 1e-3, host=1e-4)]) == 0


def test_a_disturbed_large_batch_is_not_taken_for_launch_bound():
    times = [timed(n, 1e-4 + 1e-6 * n) for n in POWERS]
    large = times[-1]
    times[-1] = replace(large, least=0.99 * large.seconds, most=4 * large.seconds)
    assert launch_bound(times) == 32
    # Nor if its quickest round was as quick as the host.
    times[-1] = replace(large, least=1e-4, most=4 * large.seconds)
    assert launch_bound(times) == 32


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, [1]), (7, [7]), (319, [8]), (320, [8, 16]), (10**6, [8, 16, 32, 64, 128, 256, 512, 1024])],
)
def test_candidates_leave_enough_updates(n, expected):
    assert candidates(n) == expected


# -- the measuring ----


class Later:
    """True from the n-th call on."""

    def __init__(self, n):
        self.left = n

    def __call__(self):
        self.left -= 1
        return self.left < 0


class Bench:
    """A machine with a clock of its own.

    The host issues a step in ``host`` seconds; the device, if it works by itself, then takes
    ``device(n)`` seconds, and holds so many steps in its queue.
    """

    def __init__(self, device, host=0.0, queue=0, room=None, noise=()):
        self.device, self.host, self.queue, self.room = device, host, queue, room
        self.noise = iter(noise)
        self.now = 100.0
        self.due = []
        self.prepared, self.resets = [], 0

    def clock(self):
        return self.now

    def prepare(self, n):
        self.prepared.append(n)
        if self.room is not None and n > self.room:
            raise MemoryError(f"no room for {n}")

        def step():
            self.now += self.host
            busy = max(self.now, self.due[-1] if self.due else 0.0)
            self.due.append(busy + self.device(n) * next(self.noise, 1.0))
            if len(self.due) > self.queue:
                self.now = max(self.now, self.due[-1 - self.queue])

        return step

    def wait(self):
        self.now = max(self.now, self.due[-1])
        self.due.clear()

    def full(self, error):
        return isinstance(error, MemoryError)

    def reset(self):
        self.resets += 1

    def memory(self):
        return 10 * self.prepared[-1]


def linear(fixed, each):
    return lambda n: fixed + each * n


@pytest.mark.parametrize("queue", [0, 4, 1000])
def test_a_step_s_time_and_the_host_s(queue):
    bench = Bench(linear(0, 1e-3), host=2e-4, queue=queue)
    rounds = time_rounds(bench.prepare(1), bench.wait, bench.clock)
    found = Timing.of(1, rounds)
    # In turns, or the device's time alone with the host's first step before it.
    assert found.seconds == pytest.approx(1.2e-3)
    assert found.host_seconds == pytest.approx(1.2e-3 if queue == 0 else 2e-4)


def test_a_full_queue_does_not_count_as_the_host_s_time():
    bench = Bench(linear(1e-4, 0), host=1e-5, queue=6)
    found = Timing.of(1, time_rounds(bench.prepare(1), bench.wait, bench.clock))
    assert found.host_seconds == pytest.approx(1e-5)
    # Beside the first launch of a round, for which the device has to wait.
    assert found.seconds == pytest.approx(1e-4 + 1e-5 / 5, rel=0.001)


def test_rounds_are_long_enough_for_the_clock():
    bench = Bench(linear(1e-6, 0))
    time_rounds(bench.prepare(1), bench.wait, bench.clock)
    spent = bench.now - 100.0
    assert spent >= measuring.ROUNDS * measuring.ROUND


def test_a_sweep_finds_the_times_and_the_memory():
    bench = Bench(linear(1e-4, 1e-5))
    found = sweep(bench, [1, 4, 16], 1e9, clock=bench.clock)
    assert found.ended == "sizes"
    assert found.refused is None
    assert [t.batch_size for t in found.timings] == [1, 4, 16]
    np.testing.assert_allclose([t.seconds for t in found.timings], [1.1e-4, 1.4e-4, 2.6e-4])
    assert found.memory == [10, 40, 160]


def test_rounds_of_a_size_are_spread_over_the_sweep_until_there_are_enough():
    bench = Bench(linear(1e-4, 1e-5))
    found = sweep(bench, [1, 4, 16], 1e9, clock=bench.clock)
    passes = measuring.ENOUGH_ROUNDS // measuring.ROUNDS
    assert bench.prepared == [1, 4, 16] * passes
    assert {t.rounds for t in found.timings} == {measuring.ENOUGH_ROUNDS}


def test_a_round_of_steps_that_got_stuck_is_cut_short():
    """Threads that spin make steps of 0.1 ms take a second each: one is enough to see it."""
    bench = Bench(linear(1e-4, 0), noise=[1, 1, *[1e4] * 100])
    rounds = time_rounds(bench.prepare(1), bench.wait, bench.clock, until=100.5)
    assert bench.now - 100.0 == pytest.approx(1.0, rel=0.001)
    assert [r.seconds for r in rounds] == pytest.approx([1.0])


@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0])
def test_a_sweep_ends_when_its_time_is_up(seconds):
    bench = Bench(linear(1e-4, 1e-5))
    found = sweep(bench, [2**i for i in range(40)], seconds, clock=bench.clock)
    assert found.ended == "time"
    assert bench.now - 100.0 <= seconds
    # The next size would not have fitted in.
    largest = found.timings[-1]
    assert measuring.ROUNDS * 4 * largest.seconds > (measuring.FIRST_PASS - 0.5) * seconds


def test_the_first_size_is_measured_however_little_time_there_is():
    bench = Bench(linear(10.0, 0))
    found = sweep(bench, [1, 2], 0.1, clock=bench.clock)
    assert [t.batch_size for t in found.timings] == [1]
    assert found.ended == "time"


def test_a_sweep_ends_where_memory_does_and_goes_on_below():
    bench = Bench(linear(1e-4, 1e-5), room=20)
    found = sweep(bench, POWERS, 1e9, clock=bench.clock)
    assert (found.ended, found.refused) == ("memory", 32)
    assert [t.batch_size for t in found.timings] == [1, 2, 4, 8, 16]
    assert len(found.memory) == 5
    assert bench.resets == 1
    assert {t.rounds for t in found.timings} == {measuring.ENOUGH_ROUNDS}


def test_memory_may_not_suffice_for_anything():
    bench = Bench(linear(1e-4, 0), room=0)
    found = sweep(bench, POWERS, 1.0, clock=bench.clock)
    assert (found.timings, found.ended, found.refused) == ([], "memory", 1)


def test_another_error_is_no_end_of_memory():
    bench = Bench(lambda n: 1e-3 / (n != 4))
    with pytest.raises(ZeroDivisionError):
        sweep(bench, POWERS, 1e9, clock=bench.clock)


@pytest.mark.parametrize(
    ("after", "expected", "ended"),
    [(0, [], "stopped"), (2, [1, 2], "stopped"), (5, [1, 2, 4], "sizes")],
)
def test_a_sweep_that_is_stopped_keeps_what_it_has(after, expected, ended):
    bench = Bench(linear(1e-4, 0))
    stop = Later(after)
    found = sweep(bench, [1, 2, 4], 1e9, clock=bench.clock, stop=stop)
    assert found.ended == ended  # that is, why there is no larger size
    assert [t.batch_size for t in found.timings] == expected
    assert len(bench.prepared) == after


def test_noise_does_not_move_the_choice():
    draw = np.random.default_rng(0)
    quiet = Bench(linear(5e-4, 1e-5))
    expected = choose(quiet, 10**6, 20, clock=quiet.clock).batch_size
    for _ in range(20):
        # A third of the steps takes up to twice as long.
        noise = np.where(draw.random(10**5) < 0.3, 1 + draw.random(10**5), 1.0)
        bench = Bench(linear(5e-4, 1e-5), noise=noise)
        found = choose(bench, 10**6, 20, clock=bench.clock)
        assert expected / 2 <= found.batch_size <= expected


def test_the_choice_is_the_knee_and_says_so():
    bench = Bench(linear(1e-4, 1e-5))
    found = choose(bench, 10**6, 20, clock=bench.clock)
    # n / (100 + 10 n) µs: 71 % of the best at 32 … 93 % at 128; of 1024's 99 %.
    assert found.batch_size == 128
    assert found.reason == (
        "batch size 128: the smallest of 8 to 1024 with at least 90% of the best speed "
        "(92,754 of 99,033 samples/s, at 1,024)"
    )
    assert [t.batch_size for t in found.timings] == [8, 16, 32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("fixed", "n", "epochs"), [(1e-6, 1000, 1), (1e-4, 10**5, 20), (0.1, 10**6, 100)]
)
def test_the_choice_is_quick(fixed, n, epochs):
    bench = Bench(linear(fixed, 0))
    choose(bench, n, epochs, clock=bench.clock)
    spent = bench.now - 100.0
    fit = epochs * n / 8 * fixed
    # Beside the first look, which is that of a few steps.
    looked = (measuring.WARM_UP + measuring.ROUNDS) * max(fixed, 2 * measuring.ROUND)
    assert spent - 2 * looked <= min(1.0, max(0.1, fit / 20))


def test_with_few_examples_there_is_nothing_to_measure():
    bench = Bench(linear(1.0, 0))
    found = choose(bench, 100, 20, clock=bench.clock)
    assert (found.batch_size, found.timings, bench.prepared) == (8, [], [])
    assert found.reason == "batch size 8: 100 examples make 13 updates in an epoch"


def test_a_choice_without_memory_takes_the_smallest():
    bench = Bench(linear(1.0, 0), room=0)
    found = choose(bench, 10_000, 20, clock=bench.clock)
    assert found.batch_size == 8
    assert "no memory" in found.reason


@pytest.mark.parametrize(
    ("small", "large", "best", "expected"),
    [(1e9, 9e9, 1e9, {256}), (1e10, 4e10, 4e10, {256, 512, 1024}), (9e9, 5e9, 9e9, {256, 512})],
)
def test_the_rate_of_products(small, large, best, expected):
    """256, 512, … until a product takes 10 ms; the best of them counts."""
    now, sizes = [0.0], set()

    def matmul(a, b, out):
        sizes.add(len(a))
        now[0] += 2.0 * len(a) ** 3 / (small if len(a) == 256 else large)

    backend = SimpleNamespace(
        xp=SimpleNamespace(arange=np.arange, sin=np.sin, empty_like=np.empty_like, matmul=matmul),
        synchronize=lambda: None,
        is_out_of_memory=lambda error: isinstance(error, MemoryError),
    )
    assert product_rate(backend, np.float32, lambda: now[0]) == pytest.approx(best)
    assert sizes == expected


def test_a_disturbed_product_is_measured_again():
    """All but the last pass find a tenth of the machine's rate."""
    now, done = [0.0], []

    def matmul(a, b, out):
        done.append(len(a))
        disturbed = done.count(256) <= 2 * (measuring.WARM_UP + measuring.FEW_ROUNDS)
        now[0] += 2.0 * len(a) ** 3 / (1e9 if disturbed else 1e10)

    backend = SimpleNamespace(
        xp=SimpleNamespace(arange=np.arange, sin=np.sin, empty_like=np.empty_like, matmul=matmul),
        synchronize=lambda: None,
        is_out_of_memory=lambda error: False,
    )
    assert product_rate(backend, np.float32, lambda: now[0]) == pytest.approx(1e10)


@pytest.mark.slow
def test_products_that_do_not_fit_end_the_search_for_the_best():
    small, tiny = StrictBackend(memory=3 * 2**20), StrictBackend(memory=1000)
    with small.active():
        assert product_rate(small, np.float32) > 0
    with tiny.active(), pytest.raises(MemoryError):
        product_rate(tiny, np.float32)


# -- batches of a data set ----


def fed(backend, n, rows=10):
    """Return the batches that a function is fed with in two steps."""
    x = backend.asarray(np.arange(rows * 2, dtype=np.float32).reshape(rows, 2))
    y = backend.asarray(np.arange(rows, dtype=np.int32))
    batches = []

    def work(x, y):
        batches.append((backend.to_host(x).copy(), backend.to_host(y).copy()))

    with backend.active():
        step = Feeding(lambda: (work, None), x, y, backend).prepare(n)
        step()
        step()
    return batches


@pytest.mark.parametrize("n", [1, 7, 25])
def test_batches_are_rows_with_their_labels(device, n):
    for x, y in fed(device, n):
        assert x.shape == (n, 2)
        np.testing.assert_array_equal(x[:, 0], 2 * y)


def test_smaller_batches_lie_in_the_memory_of_larger_ones(strict):
    x, y = strict.asarray(np.zeros((10, 2))), strict.asarray(np.zeros(10))
    with strict.active():
        bench = Feeding(lambda: (lambda x, y: None, None), x, y, strict)
        bench.prepare(1000)
        taken = strict.taken
        bench.prepare(500)
        assert strict.taken < taken + 1000 * 8  # the indices alone
        bench.reset()
        assert strict.taken < 1000


def test_the_host_s_memory_is_not_used_up(monkeypatch):
    cpu = select("cpu")
    x, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int32)
    bench = Feeding(lambda: (lambda x, y: None, None), x, y, cpu)
    monkeypatch.setattr(type(cpu), "memory_free", lambda self: 12 * 600)
    bench.prepare(100)
    bench.prepare(600)
    with pytest.raises(MemoryError):
        bench.prepare(1300)


def test_what_is_held_is_counted_once():
    network = net()
    trainer = xn.Trainer(network, xn.Adam())
    few = measuring._held(network.backend, (trainer, trainer, network))
    flat = network.parameters.nbytes
    # Parameters, gradients, two moments, scratch, and the three that are put by.
    tables = step_scalars.PLAN * (2 * 4 + 8 + 8)
    assert 8 * flat + tables <= few <= 8 * flat + tables + 2000
    trainer.step(np.zeros((64, 4)), np.zeros(64, int))
    assert measuring._held(network.backend, trainer) - few >= 64 * (16 + 3) * 4


# -- what backends say of their memory ----


def test_what_means_out_of_memory(device):
    assert device.is_out_of_memory(MemoryError("too much"))
    assert not device.is_out_of_memory(ValueError("out of memory"))


def test_cuda_s_own_errors_may_mean_out_of_memory_too():
    cupy = pytest.importorskip("cupy")
    from xpnet.backends.cuda.cupy_backend import CupyBackend

    errors = {
        cupy.cuda.memory.OutOfMemoryError(1, 2, 3): True,
        cupy.cuda.runtime.CUDARuntimeError(2): True,
        cupy.cuda.runtime.CUDARuntimeError(1): False,
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"): True,
    }
    for error, expected in errors.items():
        assert CupyBackend.is_out_of_memory(None, error) == expected


def test_the_host_s_free_memory(monkeypatch):
    cpu = select("cpu")
    assert cpu.memory_taken() is None
    free = cpu.memory_free()
    assert free is None or free > 2**20

    def refuse(*_, **__):
        raise OSError("no such file")

    monkeypatch.setattr("builtins.open", refuse)
    assert cpu.memory_free() is None


# -- the profile ----


@pytest.fixture(autouse=True)
def peak(monkeypatch):
    """Spare the profiles of small networks the measuring of large products."""
    monkeypatch.setattr(profiling, "product_rate", lambda *_: 1e11)


LAYERS = (xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.1), xn.Linear(3))


def net(layers=LAYERS, loss="softmax_cross_entropy", device="cpu", **options):
    return xn.Network(layers, loss=loss, n_features=4, device=device, **options)


def quick(network, *data, **options):
    options = {
        "batch_sizes": [2, 8, 32],
        "seconds": 0.05,
        "devices": ["cpu"],
        "threads": 1,
    } | options
    return xn.profile(network, *data, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_profile_on_every_backend(device, loss, dtype):
    found = quick(net(loss=loss, dtype=dtype), devices=[device])
    assert [(s.device, s.mode) for s in found.series] == [
        (device.device, "training"),
        (device.device, "prediction"),
    ]
    for series in found.series:
        assert series.rows[0].batch_size == 2
        for row in series.rows:
            assert 0 < row.seconds_least <= row.seconds <= row.seconds_most
            assert row.seconds <= row.seconds_q1 <= row.seconds_median <= row.seconds_q3
            assert row.samples_per_second == pytest.approx(row.batch_size / row.seconds)
            assert 0 < row.host_share <= 1
            assert row.memory > 0
            each = profiling.flops(net(), series.mode)
            assert row.flops == pytest.approx(each * row.samples_per_second)
            assert row.product_share == pytest.approx(row.flops / series.product_rate)
    assert found.crossovers == {}
    assert found.advice


@pytest.mark.slow
def test_a_profile_measures_the_rate_of_products(monkeypatch):
    asked = []
    monkeypatch.setattr(profiling, "product_rate", lambda *given: asked.append(given) or 5e9)
    found = quick(net(dtype="float64"), batch_sizes=[2])
    assert [(given[0].device, given[1]) for given in asked] == [("cpu", np.float64)]
    assert {series.product_rate for series in found.series} == {5e9}


@pytest.mark.slow
def test_a_profile_leaves_the_network_as_it_is(device):
    network = net(device=device)
    xn.Trainer(network).step(np.ones((4, 4)), np.array([0, 1, 2, 0]))
    before = {k: v.copy() for k, v in network.state().items()}
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002 - nobody else's numbers either
    quick(network, devices=[device])
    for name, array in network.state().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(np.random.get_state()[1], np_state)  # noqa: NPY002


@pytest.mark.slow
def test_a_profile_of_two_backends(strict):
    found = quick(net(), devices=["cpu", strict], batch_sizes=[2], prediction=False)
    assert [s.device for s in found.series] == ["cpu", "cuda:0"]
    assert [s.memory_of for s in found.series] == ["arrays", "pool"]
    assert set(found.crossovers) == {"training"}


@pytest.mark.slow
def test_a_profile_where_memory_ends():
    small = StrictBackend(memory=1_500_000)
    found = quick(
        net(), devices=[small], batch_sizes=None, seconds=1e9, prediction=False, stop=Later(60)
    )
    (series,) = found.series
    assert series.ended == "memory"
    assert series.refused is not None
    assert series.rows[-1].batch_size == series.refused // 2
    assert f"{series.refused:,} don't" in " ".join(found.advice)


def test_all_parts_of_a_profile_share_the_time_that_is_left(monkeypatch):
    """Whatever lies between the sweeps, as products and what is compiled, they have less for it.

    But the last ones are measured, too.
    """
    now, shares = [0.0], []

    def spent(*_):
        now[0] += 2.0
        return 1e11

    def swept(bench, sizes, seconds, **_):
        shares.append(seconds)
        now[0] += seconds
        return measuring.Sweep([], [], "time", None, Contention("none", 0.0))

    monkeypatch.setattr(profiling, "product_rate", spent)
    monkeypatch.setattr(profiling, "sweep", swept)
    monkeypatch.setattr(profiling, "check_threads", lambda n: n)
    quick(net(), seconds=20.0, threads=[1, 2], clock=lambda: now[0])
    assert shares == pytest.approx([4.25, 4.25, 3.25, 3.25])
    assert now[0] == pytest.approx(19.0)
    quick(net(), seconds=1.0, threads=[1, 2], clock=lambda: now[0])
    assert shares[4:] == pytest.approx([0.95 / 8] * 4)


@pytest.mark.slow
def test_what_is_compiled_is_no_part_of_a_sweep(monkeypatch):
    begun = []
    made = profiling._bench

    def noted(*given):
        bench = made(*given)
        prepare = bench.prepare
        monkeypatch.setattr(bench, "prepare", lambda n: begun.append(n) or prepare(n))
        return bench

    def swept(bench, sizes, seconds, **_):
        assert begun == [2, 8, 32]
        return measuring.Sweep([], [], "time", None, Contention("none", 0.0))

    monkeypatch.setattr(profiling, "_bench", noted)
    monkeypatch.setattr(profiling, "sweep", swept)
    quick(net(), prediction=False)


@pytest.mark.slow
def test_a_profile_that_is_stopped_has_what_was_measured():
    found = quick(net(), seconds=1e9, stop=Later(4))
    assert [(s.mode, s.ended) for s in found.series] == [("training", "stopped")]
    assert [row.batch_size for row in found.series[0].rows] == [2, 8]
    assert quick(net(), stop=lambda: True).series == []


@pytest.mark.slow
def test_a_profile_tells_what_it_is_at():
    told = []
    quick(net(), watch=told.append, batch_sizes=[2], prediction=False)
    assert told[:2] == [
        "cpu, 1 thread: the rate of large products",
        "cpu, training, 1 thread: batches of 2",
    ]


@pytest.mark.slow
def test_a_profile_of_the_user_s_data(device):
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(20, 4)), draw.integers(0, 3, 20)
    found = quick(net(), X, y, devices=[device], batch_sizes=[2, 64])  # more than there are
    assert found.series[0].rows[0].batch_size == 2
    sparse = pytest.importorskip("scipy.sparse")
    assert quick(net(), sparse.csr_array(X), y, batch_sizes=[2]).series[0].rows


CAUSES = ("none", "others", "hypervisor", "own threads", "unknown")


@pytest.mark.slow
def test_a_profile_can_be_written_as_json_and_drawn(tmp_path):
    found = quick(net())
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["format"] == profile_result.FORMAT
    assert document["network"] == "4-16-3"
    assert document["series"][0]["rows"][0]["batch_size"] == 2
    assert document["series"][0]["rows"][0]["sure"] in (True, False)
    assert document["series"][0]["contention"]["cause"] in CAUSES
    found.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_which_batch_sizes_are_tried():
    def sizes(**options):
        told = []
        quick(net(), batch_sizes=None, watch=told.append, seconds=1e9, **options)
        of = {"training": [], "prediction": []}
        for text in told:
            mode, _, n = text.removeprefix("cpu, ").partition(", 1 thread: batches of ")
            if n and int(n) not in of[mode]:
                of[mode].append(int(n))
        return of

    # Batch norm takes two examples at least.
    assert sizes(max_batch=10) == {"training": [2, 4, 8], "prediction": [1, 2, 4, 8]}
    assert sizes(max_batch=2, prediction=False) == {"training": [2], "prediction": []}
    assert sizes(max_batch=1, training=False) == {"training": [], "prediction": [1]}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seconds": 0}, ValueError, "seconds is 0: give a finite number above 0"),
        ({"seconds": float("inf")}, ValueError, "seconds is inf"),
        (
            {"training": False, "prediction": False},
            ValueError,
            "training and prediction are both False",
        ),
        ({"batch_sizes": []}, ValueError, "there is none to try"),
        ({"batch_sizes": [1]}, ValueError, "a batch size is 1: give 2 or more"),
        ({"batch_sizes": 32}, TypeError, "batch_sizes is 32: give several"),
        ({"batch_sizes": [2.5]}, TypeError, "a batch size is 2.5: give a whole number"),
        ({"batch_sizes": [64], "max_batch": 32}, ValueError, "there is none to try"),
        ({"max_batch": 1}, ValueError, "max_batch is 1: give 2 or more"),
        ({"devices": []}, ValueError, "devices is []: there is none to measure"),
        ({"devices": ["tpu"]}, ValueError, "device is 'tpu'"),
        ({"y": [0, 1]}, ValueError, "y is given and X is not"),
        ({"X": np.zeros((3, 5))}, ValueError, "the network takes (examples, 4)"),
        ({"X": np.zeros((3, 4)), "y": [0, 1, 3]}, ValueError, "labels from 0 to 3"),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error) as caught:
        quick(net(), **options)
    assert message in str(caught.value)


def test_flops_count_three_products_for_a_layer_and_two_for_the_first():
    weights = [4 * 16, 16 * 8, 8 * 3]
    layers = [xn.Dropout(0.1), xn.Linear(16), xn.ReLU(), xn.Linear(8), xn.Tanh(), xn.Linear(3)]
    training = 2 * (2 * weights[0] + 3 * weights[1] + 3 * weights[2])
    assert profiling.flops(net(layers), "training") == training
    assert profiling.flops(net(layers), "prediction") == 2 * sum(weights)
    # An input that is normalised first needs the gradient of its scale.
    normed = [xn.BatchNorm(), xn.Linear(3)]
    assert profiling.flops(net(normed), "training") == 3 * 2 * 4 * 3
    assert profiling.flops(net(normed, members=5), "training") == 5 * 3 * 2 * 4 * 3


@pytest.mark.slow
def test_members_are_profiled_together():
    found = quick(net(members=3))
    assert found.network == "3 of 4-16-3"
    assert found.n_parameters == 3 * net().n_parameters
    assert [series.mode for series in found.series] == ["training", "prediction"]
    assert found.series[0].rows[0].flops > 0


@pytest.mark.slow
def test_no_share_of_the_peak_is_above_one(monkeypatch):
    """Not even where the rate of products was measured on a machine that did nothing for us."""
    asked = []
    monkeypatch.setattr(profiling, "product_rate", lambda *given: asked.append(given) or 1e3)
    found = quick(net(), batch_sizes=[2, 8])
    assert len(asked) == 2
    shares = [row.product_share for s in found.series for row in s.rows]
    assert max(shares) == 1.0
    rates = [row.flops for s in found.series for row in s.rows]
    assert {s.product_rate for s in found.series} == {max(rates)}


# -- the advice ----


def series(device, seconds, mode="training", ended="sizes", refused=None):
    """Return a series with given times by batch size."""
    times = [timed(n, t) for n, t in seconds.items()]
    shares, bound = host_shares(times), launch_bound(times)
    rows = [
        Row(
            *(t.batch_size, t.seconds, t.least, t.most, t.rounds, t.rate, share),
            *("launch" if t.batch_size <= bound else "compute", 1e9, 0.5, 1000),
            *(t.least, t.most, t.seconds, True),
        )
        for t, share in zip(times, shares, strict=True)
    ]
    best = knee(times).batch_size if times else None
    return Series(device, device, mode, rows, 2e9, "pool", ended, refused, best)


@pytest.mark.parametrize(("again", "peak"), [(9e8, 1e9), (4e9, 4e9)])
def test_a_peak_below_a_row_s_rate_is_measured_again(again, peak):
    """If it still is, the row's rate is the peak."""
    low = [replace(s, product_rate=5e8) for s in (CPU, series("cpu", {2: 1.0}, "prediction"))]
    settled = profile_result.with_peak(low, lambda: again)
    assert {s.product_rate for s in settled} == {peak}
    assert {row.product_share for s in settled for row in s.rows} == {1e9 / peak}


def test_a_peak_above_all_rows_is_left_alone():
    def refuse():
        raise AssertionError("measured again")

    (settled,) = profile_result.with_peak([CPU], refuse)
    assert settled.product_rate == CPU.product_rate
    assert profile_result.with_peak([], refuse) == []


CPU = series("cpu", {n: 1e-4 + 1e-5 * n for n in POWERS})
GPU = series("cuda:0", {n: 1e-3 + 1e-7 * n for n in POWERS}, ended="memory", refused=4096)


def advice(*found):
    several = len(found) > 1
    crossovers = {"training": profile_result.crossover(list(found), "training")} if several else {}
    return profile_result.advise(Profile("4-3", 15, "float32", list(found), crossovers))


def test_advice_says_which_size_and_why():
    first, warning = advice(CPU)
    assert first == (
        "training: use batches of 128 on cpu, the smallest with at least 90% of the best speed "
        "(92,754 of 99,514 samples/s, at 2,048); up to 4 it is launch-bound, and further examples "
        "are nearly free"
    )
    assert "fewer updates" in warning
    assert "throughput is not accuracy" in warning


def test_advice_takes_the_quicker_device_and_names_the_crossover_and_what_fits():
    told = advice(CPU, GPU)
    assert told[0].startswith("training: use batches of 2,048 on cuda:0, the quickest")
    assert told[1] == "training: cuda:0 is quicker than cpu from 128 on"
    assert told[2] == ("training: batches of 2,048 fit into the memory of cuda:0, and 4,096 don't")


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        ({1: 2.0, 2: 2.0}, {1: 1.0, 2: 1.0}, "cuda:0 is quicker than cpu at every batch size"),
        ({1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.0}, "cuda:0 is never clearly quicker than cpu"),
    ],
)
def test_advice_where_there_is_no_crossover(cpu, gpu, expected):
    told = advice(series("cpu", cpu), series("cuda:0", gpu))
    assert told[1] == f"training: {expected}"


def test_advice_says_where_the_speed_may_still_grow():
    growing = series("cpu", {1: 1.0, 2: 1.0, 4: 1.0}, ended="time")
    assert "a larger one may be quicker still" in advice(growing)[0]
    assert "a larger one" not in advice(replace(growing, ended="memory", refused=8))[0]


def test_advice_without_measurements():
    nothing = series("cpu", {}, ended="memory", refused=1)
    assert advice(nothing)[0] == "training: not one batch size was measured"
    assert advice(series("cpu", {8: 1.0}))[0] == (
        "training: use batches of 8 on cpu, the only size that was measured"
    )
    assert advice() == []


def test_advice_warns_of_fewer_updates_only_for_training():
    told = advice(series("cpu", {1: 1.0, 2: 1.0}, mode="prediction"))
    assert "updates" not in " ".join(told)


DISTURBED = Contention("others", 0.4, 0.2, 2, 1.1, 0.9, 0.0)


def test_who_disturbed_is_told_first_and_once():
    quiet = replace(CPU, contention=Contention("none", 0.01))
    assert advice(quiet) == advice(CPU)
    mild = replace(DISTURBED, lost=0.2, others=0.5)
    told = advice(replace(CPU, contention=mild), replace(GPU, contention=DISTURBED))
    assert told[0].startswith("other processes take about one of two cores, and 40% of")
    assert told[1:] == advice(CPU, GPU)


def test_advice_names_the_sizes_that_are_unsure():
    rows = [replace(row, sure=row.batch_size < 1024) for row in CPU.rows]
    told = advice(replace(CPU, rows=rows))[0]
    assert "; unsure, for the times contradict each other or vary: 1,024, 2,048" in told
    assert "unsure" not in advice(CPU)[0]


def test_a_knee_within_the_noise_is_told_as_such():
    noisy = [timed(8, 1.0, spread=0.2), timed(16, 1.7, spread=0.2)]
    chosen = knee(noisy)
    assert "not, beyond the noise, below 90%" in timing.in_words(chosen, noisy[1])
