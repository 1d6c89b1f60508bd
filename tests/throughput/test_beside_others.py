"""Batch sizes beside other work: on a machine whose scheduler takes processors away."""

import pytest
from scheduled_machine import Machine

from xpnet.throughput.measuring import choose, sweep, time_rounds
from xpnet.throughput.timing import Round, Timing, contradicted, knee, undisturbed, unsure

SIZES = [2**i for i in range(13)]

#: What a step takes, and from which batch size on two threads of BLAS do it: of 64-128-64-10 and of
#: 784-512-256-10, about, and of the latter on one thread.
SMALL = {"seconds": lambda n: 30e-6 + 0.4e-6 * n, "threaded_from": 64}
LARGE = {"seconds": lambda n: 250e-6 + 8e-6 * n, "threaded_from": 4}
ALONE = {"seconds": lambda n: 250e-6 + 16e-6 * n}


def advised(machine, seconds=1.0):
    """Return the knee that a sweep finds."""
    return knee(sweep(machine, SIZES, seconds, clock=machine).timings).batch_size


def share_within_a_step(network, runs, **options):
    """Return in how many of the runs the knee is that of a quiet machine, or its neighbour."""
    expected = advised(Machine(**network))
    found = [advised(Machine(**network, seed=seed, **options)) for seed in range(runs)]
    return sum(expected / 2 <= n <= 2 * expected for n in found) / runs


@pytest.mark.parametrize("network", [SMALL, LARGE, ALONE], ids=["small", "large", "alone"])
@pytest.mark.parametrize("knows", [True, False])
def test_the_advice_beside_another_process_is_that_of_a_quiet_machine(network, knows):
    assert share_within_a_step(network, 15, others=1, knows=knows) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("network", [SMALL, LARGE, ALONE], ids=["small", "large", "alone"])
@pytest.mark.parametrize("others", [1, 2])
@pytest.mark.parametrize("knows", [True, False])
def test_the_advice_in_hundreds_of_runs(network, others, knows):
    assert share_within_a_step(network, 200, others=others, knows=knows) >= 0.9


def test_a_quiet_machine_gets_no_line_and_a_busy_one_does():
    quiet = [Machine(**LARGE, seed=seed, jitter=0.1) for seed in range(10)]
    assert [sweep(m, SIZES, 1.0, clock=m).contention.in_words() for m in quiet] == [""] * 10
    for seed in range(10):
        busy = Machine(**LARGE, seed=seed, others=1)
        told = sweep(busy, SIZES, 1.0, clock=busy).contention
        assert told.in_words().startswith("other processes take about 0.")
        # Of three threads that take turns on two cores each gets two thirds of one.
        assert told.others == pytest.approx(2 / 3, abs=0.1)


def test_a_long_step_is_timed_by_the_processor_s_time_where_that_is_known():
    """No round of 50 ms is undisturbed beside others that take turns of a few milliseconds."""
    knowing = Machine(lambda n: 0.05, others=3)
    (found,) = sweep(knowing, [8], 2.0, clock=knowing).timings
    assert found.seconds == pytest.approx(0.05, rel=0.05)
    assert found.quartiles[1] > 0.08
    other = Machine(lambda n: 0.05, others=3, knows=False)
    assert sweep(other, [8], 2.0, clock=other).timings[0].seconds > 0.08


def test_the_processor_s_time_does_not_count_where_the_thread_waits():
    asleep = [Round(1.0, 1.0, None)] * 9
    assert undisturbed(asleep) == [1.0] * 9
    # For the device: the host's few moments are not what a step takes.
    assert undisturbed([Round(1.0, 0.1, 0.1, waited=0.9)] * 9) == [1.0] * 9
    assert undisturbed([Round(1.0, 1.0, 0.4, waited=0.0)] * 9) == [0.4] * 9


def test_a_thread_that_gave_its_processor_up_has_the_time_by_the_clock():
    class Sleepy(Machine):
        switches = 0

        def thread(self):
            self.switches += 1
            return super().thread()._replace(switches=self.switches)

    machine = Sleepy(lambda n: 1e-3, others=3)
    rounds = time_rounds(machine.prepare(1), machine.wait, machine)
    assert {r.processor for r in rounds} == {None}


def test_a_coarse_count_of_the_processor_s_time_is_left_alone():
    class Coarse(Machine):
        def thread(self):
            return super().thread()._replace(seconds=0.0)

    machine = Coarse(lambda n: 1e-3)
    (found,) = sweep(machine, [8], 0.5, clock=machine).timings
    assert found.seconds >= 1e-3


# -- what contradicts itself ----


class Stall(Machine):
    """Steps of one size take five times as long, in the first visits."""

    def __init__(self, size, visits, **options):
        super().__init__(lambda n: 1e-4 + 1e-5 * n, **options)
        self.size, self.visits = size, visits

    def prepare(self, n):
        if n != self.size or self.prepared.count(n) >= self.visits:
            return super().prepare(n)
        self.prepared.append(n)
        return lambda: self._work(5 * self._seconds(n), 1)


def test_a_size_that_contradicts_its_neighbours_is_measured_again():
    calm, stalled = Stall(64, 0), Stall(64, 8)  # so long as there are not enough rounds
    found = sweep(stalled, SIZES, 3.0, clock=stalled)
    assert stalled.prepared.count(64) > 8
    assert stalled.prepared.count(32) < stalled.prepared.count(64)
    assert knee(found.timings).batch_size == advised(calm)
    assert unsure(found.timings) == set()


def test_a_size_that_goes_on_contradicting_is_called_unsure():
    stalled = Stall(64, 10**9)
    found = sweep(stalled, SIZES, 3.0, clock=stalled)
    assert unsure(found.timings) == {64}
    assert knee(found.timings).batch_size == advised(Stall(64, 0))


def even(n, seconds, doubt=0.0):
    low, high = seconds * (1 - doubt), seconds * (1 + doubt)
    return Timing(n, seconds, low, high, seconds, 40, (seconds,) * 3)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.0}, set()),
        ({1: 2.0, 2: 1.0, 4: 1.3}, set()),  # one example may take another way
        ({2: 1.5, 4: 1.3, 8: 2.0}, {2}),  # a larger batch takes less
        ({2: 1.4, 4: 1.3, 8: 2.0}, set()),  # hardly
        ({2: 1.0, 4: 2.4, 8: 5.5}, {8}),  # a fall to 73 %
        ({2: 1.0, 4: 4.5, 8: 2.0}, {4}),
    ],
)
def test_what_contradicts(seconds, expected):
    assert contradicted([even(n, t) for n, t in seconds.items()]) == expected


def test_what_is_unsure():
    assert unsure([even(2, 1.0), even(4, 2.8)]) == set()  # 71 % of the best: it may be so
    assert unsure([even(2, 1.0), even(4, 4.5)]) == {4}  # less than half
    assert unsure([even(2, 1.0, doubt=0.2), even(4, 1.9)]) == {2}


# -- the choice for a fit ----


def test_a_fit_s_choice_beside_another_process_is_that_of_a_quiet_machine():
    calm = Machine(**LARGE)
    expected = choose(calm, 10**6, 20, clock=calm).batch_size
    found = []
    for seed in range(20):
        machine = Machine(**LARGE, seed=seed, others=1)
        found.append(choose(machine, 10**6, 20, clock=machine))
    assert sum(expected / 2 <= f.batch_size <= 2 * expected for f in found) >= 18
    assert "; other processes take about 0." in found[0].reason
    assert "processes" not in choose(calm, 10**6, 20, clock=calm).reason
