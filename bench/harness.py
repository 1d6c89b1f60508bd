"""What the suites share: the nets, the batches, and how a thing is timed."""

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import Any, Protocol

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.protocol import Backend
from xpnet.backends.select import select, why_no_cuda

BATCHES = (1, 8, 32, 128, 512, 2048, 8192)
DTYPES = ("float32", "float64")
BACKENDS = {"cpu": "NumPy", "cuda": "CuPy"}
#: Layer widths, and whether each hidden layer has batch norm.
NETS = {
    "64-128-128-10": ((64, 128, 128, 10), False),
    "64-128-128-10, batch norm": ((64, 128, 128, 10), True),
    "784-512-256-10": ((784, 512, 256, 10), False),
    "784-512-256-10, batch norm": ((784, 512, 256, 10), True),
}

#: What a CPU would take minutes for.
LARGE_NETS = {"4096-4096-4096-1000": ((4096, 4096, 4096, 1000), False)}
LARGE_BATCHES = (65536,)

#: How a GPU may round the factors of products.
ROUNDED = ("tf32", "bfloat16")

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_device = pytest.mark.parametrize("device", BACKENDS)


def each_case(
    batches: Iterable[int] = BATCHES, nets: Iterable[str] = NETS, training: bool = True
) -> pytest.MarkDecorator:
    """Parametrise a test by net and batch; in training, batch norm needs more than one example."""
    pairs = [(net, n) for net in nets for n in batches]
    pairs = [(net, n) for net, n in pairs if n > 1 or not (training and NETS[net][1])]
    return pytest.mark.parametrize(
        ("net", "batch"), pairs, ids=[f"{net}, batch {n}" for net, n in pairs]
    )


def each_place(
    batches: Iterable[int] = BATCHES, nets: Iterable[str] = NETS
) -> pytest.MarkDecorator:
    """Parametrise a test of training by device, net and batch: a GPU has more of both."""
    cases = [("cpu", net, n) for net in nets for n in batches]
    more = [*batches, *LARGE_BATCHES]
    cases += [("cuda", net, n) for net in [*nets, *LARGE_NETS] for n in more]
    cases = [(device, net, n) for device, net, n in cases if n > 1 or not every(net)[1]]
    names = [f"{net}, batch {n}-{device}" for device, net, n in cases]
    return pytest.mark.parametrize(("device", "net", "batch"), cases, ids=names)


def every(net: str) -> tuple[tuple[int, ...], bool]:
    """Return a net's widths and whether it has batch norm."""
    return (NETS | LARGE_NETS)[net]


def work(net: str, batch: int, dtype: str) -> dict[str, float]:
    """Return the floor of a step: its products' operations, and the bytes of one pass for Adam.

    Three products for a layer, two for the first; parameters and both moments are read and
    written, gradients read.
    """
    widths, norm = every(net)
    pairs = [*itertools.pairwise(widths)]
    products = [(2 if i == 0 else 3) * a * b for i, (a, b) in enumerate(pairs)]
    numbers = sum((a + 1) * b for a, b in pairs) + norm * sum(widths[1:-1])
    return {
        "flops": 2.0 * batch * sum(products),
        "bytes": 7.0 * numbers * np.dtype(dtype).itemsize,
    }


def threads() -> int:
    """Return how many threads everyone may use on the CPU, as the environment says to NumPy."""
    said = os.environ.get("OPENBLAS_NUM_THREADS", "")
    return int(said) if said.isdecimal() and said != "0" else os.cpu_count() or 1


def open_backend(device: str, precision: str = "full") -> Backend:
    """Return the backend of a device; skip the test if there is none."""
    if device == "cuda" and why_no_cuda() is not None:
        pytest.skip(f"CUDA: {why_no_cuda()}")
    return select(device, precision=precision)


def note(benchmark: Any, backend: Backend, suite: str, **about: Any) -> None:
    """Say in the benchmark what is timed; ``samples`` are the examples that one call handles."""
    name = BACKENDS[backend.device.partition(":")[0]]
    benchmark.extra_info |= {"suite": suite, "backend": name, "device": backend.describe(), **about}
    named = [f"{about[key]}" for key in ("net", "kernel", "dtype") if key in about]
    benchmark.group = ", ".join([suite, *named, f"batch {about['batch']}"])


def make_trainer(net: str, dtype: str, backend: Backend) -> xn.Trainer:
    """Return a trainer of a ReLU net.

    The rate is too small to change a weight, so that every step does the same work. At a usual
    rate thousands of steps on one batch drive gradients and moments to zero, through denormal
    numbers, which a CPU is slow at.
    """
    widths, norm = every(net)
    return xn.Trainer(make_network(widths, norm, dtype, backend), xn.Adam(learning_rate=1e-12))


def make_network(
    widths: tuple[int, ...],
    norm: bool,
    dtype: str,
    backend: Backend,
    members: int | None = None,
) -> xn.Network:
    """Return a ReLU net for classes, or several at once."""
    layers: list[xn.Layer] = []
    for width in widths[1:-1]:
        layers += [xn.Linear(width), *([xn.BatchNorm()] if norm else []), xn.ReLU()]
    return xn.Network(
        [*layers, xn.Linear(widths[-1])],
        loss="softmax_cross_entropy",
        n_features=widths[0],
        device=backend,
        dtype=dtype,
        members=members,
    )


def make_data(widths: tuple[int, ...], n: int, dtype: str) -> tuple[Any, Any]:
    """Return n examples on the host: normal features, and classes drawn at random."""
    draw = np.random.default_rng(0)
    features = draw.standard_normal((n, widths[0])).astype(dtype)
    return features, draw.integers(0, widths[-1], n).astype(np.int32)


@dataclass(frozen=True)
class Pace:
    """How long to measure, in seconds."""

    warm_up: float = 0.1
    #: A value is the mean over as many calls as take so long, and ends with a wait for the device.
    value: float = 0.02
    case: float = 1.0
    #: For each that runs in a race.
    contestant: float = 0.8
    #: Values at least and at most.
    rounds: tuple[int, int] = (7, 50)

    def calls(self, seconds: float) -> int:
        """Return how many calls of so many seconds make a value."""
        return max(1, math.ceil(self.value / seconds))

    def how_many(self, total: float, round: float) -> int:  # noqa: A002 - it is one
        """Return how many rounds of so many seconds fit into the total."""
        return min(max(self.rounds[0], int(total / round)), self.rounds[1])


QUICK = Pace(warm_up=0.0, value=0.001, case=0.02, contestant=0.02, rounds=(3, 5))


#: Calls after which a step is what it stays: one of ours is captured in the fourth.
WARMED_UP = 5


def warm_up(call: Callable[[], Any], synchronize: Callable[[], None], pace: Pace) -> float:
    """Call until the buffers, kernels and caches are there; return one call's seconds."""
    least, began = math.inf, time.perf_counter()
    for done in range(1000):
        start = time.perf_counter()
        call()
        synchronize()
        now = time.perf_counter()
        least = min(least, now - start)
        if done >= WARMED_UP and now - began > pace.warm_up:
            break
    return least


def measure(
    benchmark: Any, pace: Pace, call: Callable[[], Any], synchronize: Callable[[], None]
) -> None:
    """Time a call. In between two waits the host runs ahead of a GPU, as in `Trainer.fit`."""
    seconds = warm_up(call, synchronize, pace)
    calls = pace.calls(seconds)
    # The last of a round's calls waits for the device.
    waits = cycle([*repeat(lambda: None, calls - 1), synchronize])

    def timed() -> None:
        call()
        next(waits)()

    rounds = pace.how_many(pace.case, calls * seconds)
    benchmark.pedantic(timed, rounds=rounds, iterations=calls, warmup_rounds=1)


class Contestant(Protocol):
    """Who runs in a race: ``step`` may return before the device is done."""

    def step(self) -> Any: ...  # noqa: D102

    def synchronize(self) -> None: ...  # noqa: D102


class Lap:
    """A contestant's turn in a round."""

    def __init__(self, contestant: Contestant, pace: Pace) -> None:
        self.contestant = contestant
        self.seconds = warm_up(contestant.step, contestant.synchronize, pace)
        self.calls = pace.calls(self.seconds)

    def settle(self) -> None:
        """Make a step that is not timed, while caches fill and others' threads go to sleep."""
        if self.calls > 1:
            self.contestant.step()
        self.contestant.synchronize()

    def run(self) -> None:
        """Make the steps that are timed."""
        for _ in range(self.calls):
            self.contestant.step()
        self.contestant.synchronize()

    def time(self) -> float:
        """Return the seconds of one step."""
        self.settle()
        start = time.perf_counter()
        self.run()
        return (time.perf_counter() - start) / self.calls


def race(benchmark: Any, pace: Pace, ours: Contestant, rivals: Mapping[str, Contestant]) -> None:
    """Time ours and the rivals in turns, and note the rivals' times and ratios in the benchmark.

    In each round all have their turn one after the other, so that what slows the machine for a
    while slows all alike; a ratio is taken round by round. Rivals change places from round to
    round. What pytest-benchmark times is ``steps`` of ours, while the rivals' turns are its setup.
    """
    lap, others = Lap(ours, pace), {name: Lap(rival, pace) for name, rival in rivals.items()}
    found: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)

    def rivals_turn() -> None:
        for name in names:
            found[name].append(others[name].time())
        names.append(names.pop(0))
        lap.settle()

    everyone = [lap, *others.values()]
    rounds = pace.how_many(
        pace.contestant * len(everyone), sum(2 * x.calls * x.seconds for x in everyone)
    )
    benchmark.extra_info["steps"] = lap.calls
    benchmark.pedantic(lap.run, setup=rivals_turn, rounds=rounds)
    if benchmark.stats is None:  # it was told not to measure
        return
    own = [seconds / lap.calls for seconds in benchmark.stats.stats.data]
    benchmark.extra_info["rivals"] = {
        name: {
            **spread(seconds),
            "ratio": spread([s / o for s, o in zip(seconds, own, strict=True)]),
        }
        for name, seconds in found.items()
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": q1, "median": median, "q3": q3}
