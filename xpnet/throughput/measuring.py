"""Measuring: the time of work on a batch at many batch sizes, and the choice of one for a fit.

What is timed is any function of a batch; `profiling` and `Trainer.choose_batch_size` bring theirs.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from .._typing import NO_ARRAY, Array
from ..backends.protocol import Backend
from ..backends.threads import count_threads
from ..data.batches import GatherWorkspace
from ..data.streaming import Streamed
from .contention import SYSTEM, Clock, Contention, as_clock, judge
from .timing import (
    BatchSize,
    Round,
    Timing,
    candidates,
    doubtful,
    fastest,
    in_words,
    knee,
    undisturbed,
)

#: What tells the time: a clock of the system's, or a function that returns seconds.
AnyClock = Clock | Callable[[], float]

#: A round of steps is at least so many seconds long, so that looking at the clock does not count.
#: Not more: others take a processor away for milliseconds at a time, and rounds fit in between.
ROUND = 0.0005

#: Rounds of a size in one visit, how many are enough, and how many where they leave a doubt.
ROUNDS, ENOUGH_ROUNDS, MOST_ROUNDS = 5, 40, 400

#: A visit ends after so many seconds, and so many rounds: long ones had better be spread over time.
PATIENCE, FEW_ROUNDS = 0.05, 2

#: Steps that warm up: the first one of all allocates.
WARM_UP = 2

#: The host's own time is taken over the first steps of a round: a device's queue holds the launches
#: of so many, while behind a full queue the host would wait for the device.
ISSUED = 4

#: The part of a sweep's time that its first pass may take.
FIRST_PASS = 0.6

#: Rows of the square matrices whose products are timed, up to one that takes so many seconds; how
#: often they are gone over, and for how many seconds at most.
PRODUCT_SIZES, LONG_PRODUCT = (256, 512, 1024, 2048, 4096, 8192), 0.01
PRODUCT_PASSES, PRODUCT_SECONDS = 3, 1.0

#: Seconds that `choose` may take: at least, at most, and as a share of the fit's.
CHOICE_SECONDS, CHOICE_SHARE = (0.1, 1.0), 0.05


def time_rounds(
    step: Callable[[], object],
    wait: Callable[[], object],
    clock: AnyClock = SYSTEM,
    count: int = ROUNDS,
    known: float = math.inf,
    until: float = math.inf,
) -> list[Round]:
    """Time a step, warmed up, in rounds of several, each ended by a wait for the device.

    Parameters
    ----------
    step, wait : function
        Issues the work; waits until it is done.
    clock : Clock or function
        Returns the time in seconds.
    count : int
        How many rounds; fewer of long ones.
    known : float
        What a step takes in seconds, where it was timed before.
    until : float
        By the clock: no second round begins after it.

    Returns
    -------
    list of Round
    """
    clock, least = as_clock(clock), known
    for _ in range(WARM_UP if known == math.inf else 1):
        began = clock()
        step()
        wait()
        least = min(least, clock() - began)
    steps = max(1, math.ceil(ROUND / max(least, 1e-9)))
    rounds: list[Round] = []
    end = clock() + PATIENCE
    while not rounds or (
        len(rounds) < count and clock() < (until if len(rounds) < FEW_ROUNDS else min(end, until))
    ):
        rounds.append(_round(step, wait, clock, steps))
    return rounds


def _round(
    step: Callable[[], object], wait: Callable[[], object], clock: Clock, steps: int
) -> Round:
    """Time several steps; fewer if they take far longer than was thought."""
    before = clock.thread()
    began = issued = clock()
    first = 0
    while first < min(steps, ISSUED):
        step()
        first, issued = first + 1, clock()
        if issued - began > PATIENCE:
            steps = first
    for _ in range(steps - first):
        step()
    last = clock()
    wait()
    ended = clock()
    after = clock.thread()
    processor = None
    if before is not None and after is not None and before.switches == after.switches:
        # Of nothing at all: this system counts in coarser steps than rounds are long.
        processor = (after.seconds - before.seconds) / steps or None
    whole = ended - began
    waited = (ended - last) / whole if whole > 0 else 0.0
    return Round(whole / steps, (issued - began) / first, processor, waited)


class Bench(Protocol):
    """What `sweep` times: `Feeding` a function with batches, or a stand-in."""

    def prepare(self, n: int) -> Callable[[], object]:
        """Return a step on a batch of n examples; raise what `full` knows if there is no room."""

    def wait(self) -> None:
        """Wait until the steps are done."""

    def full(self, error: Exception) -> bool:
        """Return whether an error says that memory is used up."""

    def reset(self) -> None:
        """Free the memory of all steps."""

    def memory(self) -> int:
        """Return the bytes taken at the present size."""


@dataclass(frozen=True)
class Sweep:
    """What `sweep` found.

    Attributes
    ----------
    timings : list of Timing
        One for each size, rising.
    memory : list of int
        The bytes taken at each size.
    ended : {"sizes", "memory", "time", "stopped"}
        Why there is no larger one.
    refused : int or None
        The first batch size for which memory did not suffice.
    contention : Contention
        What others took meanwhile.
    """

    timings: list[Timing]
    memory: list[int]
    ended: str
    refused: int | None
    contention: Contention


def sweep(
    bench: Bench,
    sizes: Iterable[int],
    seconds: float,
    *,
    clock: AnyClock = SYSTEM,
    stop: Callable[[], bool] = lambda: False,
    seen: Callable[[int], object] = lambda n: None,
) -> Sweep:
    """Time batches of rising sizes until memory or time is used up; then go over them again.

    All sizes have their rounds spread over the time, in several passes. What leaves a doubt has
    more of them: rounds that differ, or a size that contradicts others.

    Parameters
    ----------
    bench : Bench
        What to time.
    sizes : iterable of int
        Batch sizes, rising. The first one is tried in any case.
    seconds : float
        How long the whole may take. A size that would take longer than is left is left out.
    clock : Clock or function
        Returns the time in seconds.
    stop : function
        Returns True to end the sweep after the present size.
    seen : function
        Called with each batch size before it is timed.
    """
    visits = _Visits(bench, seconds, as_clock(clock), stop, seen)
    memory, refused = visits.climb(sizes)
    if refused is not None:
        bench.reset()  # here, for the error and what it held on to are gone
    visits.repeat()
    return Sweep(visits.timings(), memory, visits.ended, refused, visits.contention())


class _Visits:
    """A sweep under way: the rounds of each size so far, and the time that is left."""

    def __init__(
        self,
        bench: Bench,
        seconds: float,
        clock: Clock,
        stop: Callable[[], bool],
        seen: Callable[[int], object],
    ) -> None:
        self._bench, self._seconds, self._clock = bench, seconds, clock
        self._stop, self._seen, self._began = stop, seen, clock()
        self._machine = clock.machine()
        self.rounds: dict[int, list[Round]] = {}
        self.ended = "sizes"

    def climb(self, sizes: Iterable[int]) -> tuple[list[int], int | None]:
        """Visit sizes until something ends it; return the memory at each, and one without room."""
        memory: list[int] = []
        for n in sizes:
            if self._stop():
                self.ended = "stopped"
            elif self._late(n, FIRST_PASS * self._seconds):
                self.ended = "time"
            else:
                try:
                    self._visit(n)
                except Exception as error:
                    if not self._bench.full(error):
                        raise
                    self.ended = "memory"
                    return memory, n
            if self.ended != "sizes":
                break
            memory.append(self._bench.memory())
        return memory, None

    def repeat(self) -> None:
        """Visit the same sizes again and again, as far as the time goes and more rounds help."""
        again = list(self.rounds)
        while again:
            for n in again:
                if self._stop():
                    return
                if not self._late(n, self._seconds):
                    self._visit(n)
            again = [n for n in self._open() if not self._late(n, self._seconds)]

    def timings(self) -> list[Timing]:
        """Return what the rounds add up to so far."""
        return [Timing.of(n, found) for n, found in self.rounds.items()]

    def contention(self) -> Contention:
        """Return what others took so far: the mean over the sizes, whose steps differ so much."""
        lost, kept = [], []
        for t in self.timings():
            found = self.rounds[t.batch_size]
            lost.append(1 - t.seconds / float(np.mean([r.seconds for r in found])))
            told = [(r.processor, r.seconds) for r in found if r.processor is not None]
            if told:
                ran, spent = np.sum(told, axis=0)
                kept.append(1 - float(ran / spent))
        share = max(float(np.mean(kept)), 0.0) if kept else None
        return judge(float(np.mean(lost or 0.0)), share, self._machine, self._clock.machine())

    def _open(self) -> list[int]:
        """Return the sizes that want more rounds."""
        doubts = doubtful(self.timings())
        enough = {n: MOST_ROUNDS if n in doubts else ENOUGH_ROUNDS for n in self.rounds}
        return [n for n, found in self.rounds.items() if len(found) < enough[n]]

    def _visit(self, n: int) -> None:
        self._seen(n)
        known = min((r.seconds for r in self.rounds.get(n, ())), default=math.inf)
        step, end = self._bench.prepare(n), self._began + self._seconds
        found = time_rounds(step, self._bench.wait, self._clock, ROUNDS, known, end)
        self.rounds.setdefault(n, []).extend(found)

    def _late(self, n: int, limit: float) -> bool:
        """Return whether a visit would end after a limit, by the time of n or of a smaller size.

        A size that was visited takes what it usually took, others' share included. One that was not
        is hoped to go undisturbed: else others would keep the sweep from ever seeing it.
        """
        if not self.rounds:
            return False
        if n in self.rounds:
            step = float(np.median([r.seconds for r in self.rounds[n]]))
        else:
            largest = max(self.rounds)
            step = Timing.of(largest, self.rounds[largest]).seconds * n / largest
        needed = ROUNDS * ROUND + (WARM_UP + FEW_ROUNDS) * step + min(ROUNDS * step, PATIENCE)
        return self._clock() - self._began + needed > limit


class Feeding:
    """Feeds a function with batches of a data set, gathered as `Batches` gathers them.

    Parameters
    ----------
    make : function
        Returns the function of (x, y) to time, and the object whose arrays it works on.
    x, y : array
        A data set, as `Network.prepare` returns it; a batch may be larger than it.
    backend : Backend
        Where they live, and what to call ``active``.
    """

    def __init__(
        self,
        make: Callable[[], tuple[Callable[[Array, Array], object], object]],
        x: Array,
        y: Array,
        backend: Backend,
    ) -> None:
        self._make, self._x, self._y, self.backend = make, x, y, backend
        self.wait = backend.synchronize
        self.full = backend.is_out_of_memory
        self._forget()

    def reset(self) -> None:
        """Free the memory of all steps."""
        self._forget()
        gc.collect()  # a network's layers and buffers know each other
        self.backend.release_memory()

    def _forget(self) -> None:
        self._rows: Any = None
        self._labels: Array = NO_ARRAY
        self._made: tuple[Callable[[Array, Array], object], object] | None = None
        self._capacity = 0

    def prepare(self, n: int) -> Callable[[], object]:
        """Return a step on a batch of n examples."""
        xp, x, y, gather = self.backend.xp, self._x, self._y, self.backend.kernels.gather
        streamed = isinstance(x, Streamed)
        if n > self._capacity:
            self._make_room(n)
            shape = n, *x.shape[1:]
            self._rows = (self.backend.stage if streamed else xp.empty)(shape, x.dtype)
            self._labels = xp.empty((n, *y.shape[1:]), y.dtype)
        if self._made is None:
            self._made = self._make()
        work, held, labels = self._made[0], self._rows, self._labels[:n]
        # Its own generator: nothing random in a training run comes to depend on a timing.
        order = np.random.default_rng(0).integers(0, x.shape[0], n)
        first = self.backend.asarray(np.zeros(1, np.int64))
        at = self.backend.asarray(order), first, GatherWorkspace(self.backend, n)

        def step() -> None:
            rows = held.send(n, partial(cast(Streamed, x).write, order)) if streamed else held[:n]
            gather(*at, [(y, labels)] if streamed else [(y, labels), (x, rows)])
            work(rows, labels)

        return step

    def _make_room(self, n: int) -> None:
        """Free what is too small; raise a MemoryError where n examples would not fit.

        Only where the backend knows what is free: the host's memory is better not used up to see.
        """
        free = self.backend.memory_free()
        if free is not None and self._capacity and self.memory() * (n / self._capacity - 1) > free:
            raise MemoryError(f"batches of {n} need more than the {free:,} bytes that are free")
        self._rows, self._labels = None, NO_ARRAY
        self._capacity = n
        self.backend.release_memory()

    def memory(self) -> int:
        """Return the bytes of the device's memory pool, or else of the arrays that are held."""
        self.backend.release_memory()
        taken = self.backend.memory_taken()
        return (
            taken
            if taken is not None
            else _held(self.backend, (self._made, self._rows, self._labels))
        )


def _held(backend: Backend, thing: object) -> int:
    """Return the bytes of all arrays that are reached from an object, each counted once."""
    found: dict[int, int] = {}
    seen = {id(backend), id(backend.kernels)}  # which others share
    pending: list[Any] = [thing]
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType)):
            continue
        seen.add(id(one))
        if backend.owns(one):
            while getattr(one, "base", None) is not None and backend.owns(one.base):
                one = one.base
            found[id(one)] = one.nbytes
        elif isinstance(one, dict):
            pending += one.values()
        elif isinstance(one, (list, tuple)):
            pending += one
        else:
            pending += vars(one).values() if hasattr(one, "__dict__") else ()
    return sum(found.values())


def product_rate(
    backend: Backend, dtype: Any, clock: AnyClock = SYSTEM, limit: float = PRODUCT_SECONDS
) -> float:
    """Return the machine's rate of products, in floating-point operations per second.

    That of the best of square matrices of 256, 512, … rows, up to those whose product takes 10 ms
    or that don't fit: 2 m³ operations each. They are gone over a few times, for as many seconds as
    the limit has.
    """
    clock = as_clock(clock)
    best, began = 0.0, clock()
    for _ in range(PRODUCT_PASSES):
        for size in PRODUCT_SIZES:
            if best and clock() - began > limit:
                return best
            try:
                seconds = _product_seconds(backend, size, dtype, clock)
            except Exception as error:
                if not best or not backend.is_out_of_memory(error):
                    raise
                break
            best = max(best, 2.0 * size**3 / seconds)
            if seconds > LONG_PRODUCT:
                break
    return best


def _product_seconds(backend: Backend, size: int, dtype: Any, clock: Clock) -> float:
    """Return the seconds of a product of square matrices, undisturbed."""
    xp = backend.xp
    # Not all the same number: some devices are quicker with that.
    a = xp.sin(xp.arange(size * size, dtype=dtype)).reshape(size, size)
    out = xp.empty_like(a)
    rounds = time_rounds(partial(xp.matmul, a, a, out=out), backend.synchronize, clock)
    return max(min(undisturbed(rounds)), 1e-12)


def choose(
    bench: Bench,
    n: int,
    epochs: int,
    *,
    clock: AnyClock = SYSTEM,
    stop: Callable[[], bool] = lambda: False,
) -> BatchSize:
    """Choose the batch size for a fit: the knee among the `candidates`, measured quickly.

    It takes a twentieth of the time that the fit would take with the smallest batch, but at least
    0.1 s, and at most 1 s.
    """
    sizes = candidates(n)
    smallest, largest = sizes[0], sizes[-1]
    if smallest == largest:
        why = f"{n:,} examples make {math.ceil(n / smallest)} updates in an epoch"
        return BatchSize(smallest, f"batch size {smallest}: {why}", [])
    try:
        first = Timing.of(smallest, time_rounds(bench.prepare(smallest), bench.wait, clock))
    except Exception as error:
        if not bench.full(error):
            raise
        return BatchSize(smallest, f"batch size {smallest}: there is no memory to try others", [])
    whole = epochs * n / smallest * first.seconds
    seconds = min(max(CHOICE_SHARE * whole, CHOICE_SECONDS[0]), CHOICE_SECONDS[1])
    found = sweep(bench, sizes, seconds, clock=clock, stop=stop)
    timings = found.timings or [first]
    chosen, best = knee(timings), fastest(timings)
    among = f" of {smallest} to {timings[-1].batch_size}"
    reason = f"batch size {chosen.batch_size}: {in_words(chosen, best, among)}"
    disturbed = found.contention.in_words(count_threads())
    reason += f"; {disturbed}" if disturbed else ""
    return BatchSize(chosen.batch_size, reason, timings)
