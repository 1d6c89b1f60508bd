"""A machine whose scheduler takes processors away: a clock of its own, and benches that run on it.

It has two cores. A step's work is the main thread's alone up to some batch size, and from there on
that of two BLAS threads, which get on only while both have a core and otherwise spin, as OpenBLAS's
do. Whatever else wants to run takes a core for a few milliseconds at a time.
"""

import bisect
from itertools import accumulate

import numpy as np

from xpnet.throughput.contention import MachineTime, ThreadTime

CORES = 2


class Schedule:
    """Who runs when: for each slice of time its end, and how fast each of two threads gets on.

    ``others`` is how many other threads are always ready. Each of the ready threads gets its turn,
    in an order that is drawn, for 1.5 to 4 ms: with one other and two BLAS threads each has two
    thirds of a core; the main thread alone shares one for a part of the time, until the scheduler
    moves it.
    """

    def __init__(self, seed, others):
        self._draw, self._others = np.random.default_rng(seed), others
        self._ends, self._slices = {1: [0.0], 2: [0.0]}, {1: [(True, True)], 2: [(True, True)]}

    def at(self, now, threads):
        """Return the end of the slice at a time, and whether main and second thread run in it."""
        ends, slices = self._ends[threads], self._slices[threads]
        while ends[-1] <= now:
            more = self._more(threads)
            lengths = self._draw.uniform(1.5e-3, 4e-3, len(more))
            ends.extend(accumulate(lengths[1:], initial=ends[-1] + lengths[0]))
            slices.extend(more)
        i = bisect.bisect_right(ends, now)
        return ends[i], slices[i]

    def _more(self, threads):
        if self._others == 0:
            return [(True, True)] * 64
        if threads == 1 and self._others < CORES:
            # Its own core, mostly; now and then the other's for a while.
            shared = [(bool(i % 2), False) for i in range(self._draw.integers(2, 20))]
            return [(True, False)] * 30 + shared
        ready, slices = threads + self._others, []
        for _ in range(32):
            turns = self._draw.permutation(ready)
            pairs = [turns[[i, (i + 1) % ready]] for i in range(ready)]
            slices += [(0 in pair, threads == 2 and 1 in pair) for pair in pairs]
        return slices


class Machine:
    """A clock, `throughput.contention.Clock`, and the bench that `sweep` times by it.

    Parameters
    ----------
    seconds : function
        What a step on n examples takes, undisturbed.
    seed, others : int
        As `Schedule` takes them.
    threaded_from : int
        From this batch size on two threads work; None: never.
    jitter : float
        By up to this share a step takes longer for no reason.
    knows : bool
        Whether this platform counts a thread's processor time.
    """

    def __init__(self, seconds, seed=0, others=0, threaded_from=None, jitter=0.04, knows=True):
        self._seconds, self._threaded_from, self._jitter = seconds, threaded_from, jitter
        self._schedule, self._draw = Schedule(seed, others), np.random.default_rng((seed, 1))
        self._others, self._knows = others, knows
        self.now = self.ran = self.second_ran = self.busy = 0.0
        self.prepared = []
        self._noise = iter(())

    def __call__(self):
        return self.now

    def thread(self):
        return ThreadTime(self.ran, 0) if self._knows else None

    def machine(self):
        if not self._knows:
            return None
        own = self.ran + self.second_ran
        return MachineTime(self.now, own, self.busy, 0.0, None, CORES)

    def prepare(self, n):
        self.prepared.append(n)
        seconds = self._seconds(n)
        threads = 1 if self._threaded_from is None or n < self._threaded_from else 2
        return lambda: self._work(seconds * (1 + self._jitter * self._next()), threads)

    def wait(self):
        pass

    def full(self, error):
        return False

    def reset(self):
        pass

    def memory(self):
        return 1

    def _next(self):
        for number in self._noise:
            return number
        self._noise = iter(self._draw.random(4096).tolist())
        return next(self._noise)

    def _work(self, left, threads):
        while left > 0:
            end, (main, second) = self._schedule.at(self.now, threads)
            together = main and (second or threads == 1)
            spent = min(left, end - self.now) if together else end - self.now
            self.now += spent
            self.ran += spent * main
            self.second_ran += spent * second * (threads == 2)
            self.busy += spent * min(CORES, main + second * (threads == 2) + self._others)
            left = left - spent if together else left
            if left < 1e-12:
                break
