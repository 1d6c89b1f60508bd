"""Profiling: throughput by batch size on every backend there is, and what to make of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.blas import threads_in_words
from ..backends.protocol import Backend
from ..backends.select import every, select
from ..backends.threads import check_threads, cores, limit_threads
from ..checks import (
    check_count,
    check_flag,
    check_not_negative,
    check_positive,
    check_several,
)
from ..nn.categories import code_columns
from ..nn.network import Network, check_network
from ..optim.optimizers import Optimizer, check_optimizer
from ..throughput import timing
from ..throughput.contention import SYSTEM, as_clock
from ..throughput.measuring import PRODUCT_SECONDS, AnyClock, Feeding, Sweep, product_rate, sweep
from ..train.batch_size import TINY
from ..train.trainer import Trainer
from . import thread_counts
from .profile_result import Profile, Row, Series, advise, crossover, with_peak

#: Rows of the data that are made up where none are given; fewer of very wide ones.
ROWS, ELEMENTS = 4096, 2**22

#: The part of the time that the rate of large products takes at most, for each number of threads.
PRODUCTS = 0.05

#: So many sizes warm up: with one example the products are others than with several.
WARMED_UP = 3

#: The largest batch that a sweep tries by itself.
LARGEST = 2**24


def profile(
    network: Network,
    X: Any = None,
    y: Any = None,
    *,
    devices: Sequence[str | Backend] | None = None,
    batch_sizes: Sequence[int] | None = None,
    max_batch: int | None = None,
    threads: int | Sequence[int] | None = None,
    seconds: float = 20.0,
    training: bool = True,
    prediction: bool = True,
    optimizer: Optimizer | None = None,
    l2: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[str], object] = lambda text: None,
    clock: AnyClock = SYSTEM,
) -> Profile:
    """Measure throughput by batch size, and say which batch size to use, and how many threads.

    On every backend there is, batches of 1, 2, 4, … examples are timed until memory or time is used
    up; on the CPU with 1, 2, 4, … threads of BLAS. The network itself is not touched: copies of it
    are trained, at a rate that changes nothing.

    Throughput is not accuracy: with larger batches an epoch has fewer updates.

    Parameters
    ----------
    network : Network
        What to profile. Its weights don't matter. Members are profiled together: an example is one
        that all have seen.
    X, y : array-like or None
        The data to make batches of, as `Trainer.fit` takes them; made up where None.
    devices : sequence of str or Backend, or None
        Where; None: on the CPU, and on the first CUDA device if there is one.
    batch_sizes : sequence of int or None
        Which; None: powers of two.
    max_batch : int or None
        The largest of them.
    threads : int, sequence of int, or None
        How many threads BLAS has on the CPU; None: powers of two up to those that it has now, and
        these, but no more than there are cores.
    seconds : float
        How long all may take, roughly: each backend, mode and number of threads gets an equal share
        of what is left.
    training, prediction : bool
        What to time.
    optimizer, l2
        As for `Trainer`.
    stop : function
        Returns True to leave out the rest.
    watch : function
        Called with a few words on what is done next.
    clock : function
        Returns the time in seconds. What others take is known by the system's own clock alone.

    Returns
    -------
    Profile
        A series for each backend, mode and number of threads, and advice.
        ``plot("profile.png")`` draws it.

    Raises
    ------
    TypeError, ValueError
        If data or options are not as they must be.
    DeviceError
        If a device is asked for that is not there.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Linear(8), xn.ReLU(), xn.Linear(3)], loss="softmax_cross_entropy",
    ...                  n_features=4, device="cpu")
    >>> found = profile(net, devices=["cpu"], batch_sizes=[1, 64, 4096], threads=1,
    ...                 seconds=0.5)
    >>> [(series.device, series.mode, series.threads) for series in found.series]
    [('cpu', 'training', 1), ('cpu', 'prediction', 1)]
    >>> found.series[0].knee in (1, 64, 4096)
    True
    """
    check_network(network)
    check_positive(seconds, "seconds")
    optimizer, l2 = check_optimizer(optimizer), check_not_negative(l2, "l2")
    asked = {"training": training, "prediction": prediction}
    modes = [mode for mode, wish in asked.items() if check_flag(wish, mode)]
    if not modes:
        raise ValueError("training and prediction are both False: ask for one")
    sizes = {mode: list(_sizes(network, mode, batch_sizes, max_batch)) for mode in modes}
    X, y = _data(network, X, y)
    network.prepare(X, y)  # refuses what does not fit before anything is timed
    backends = every() if devices is None else _open(devices)
    counts = [_thread_counts(backend, threads) for backend in backends]
    series: list[Series] = []
    # What is left over is for a rate of products that is measured again at the end.
    parts = len(modes) * sum(map(len, counts))
    share = _Shares((1 - PRODUCTS) * seconds, parts, as_clock(clock))

    def measure(backend: Backend, mode: str, n: int | None, rate: float) -> Series:
        where = f"{backend.device}, {mode}{_with_threads(n)}"
        with limit_threads(n):
            bench = _bench(network, mode, backend, X, y, optimizer, l2)
            seen = partial(_tell, watch, where)
            _warm_up(bench, sizes[mode][:WARMED_UP])
            swept = sweep(bench, sizes[mode], share.next(), clock=clock, stop=stop, seen=seen)
            bench.reset()
        return _series(network, mode, backend, swept, rate, n)

    for backend, numbers in zip(backends, counts, strict=True):
        with backend.active():
            for n in numbers:
                if stop():
                    break
                products = partial(_rate, backend, network, n, PRODUCTS * seconds, clock, watch)
                rate = products()
                found = [measure(backend, mode, n, rate) for mode in modes if not stop()]
                series += with_peak(found, products)
    return _conclude(network, modes, series)


def _conclude(network: Network, modes: Sequence[str], series: list[Series]) -> Profile:
    """Return the profile of a network with what follows from its series."""
    several = [mode for mode in modes if len(thread_counts.devices(series, mode)) > 1]
    crossovers = {mode: crossover(series, mode) for mode in several}
    words = "-".join(map(str, widths(network)))
    if network.members is not None:
        words = f"{network.members} of {words}"
    n_parameters = network.n_parameters * len(network.seeds)
    result = Profile(words, n_parameters, network.dtype.name, series, crossovers)
    return replace(result, advice=advise(result))


def widths(network: Network) -> list[int]:
    """Return the number of features and of each linear layer's outputs, as [784, 512, 10]."""
    shapes = [shape for layer in network.layers for shape in layer.weight_shapes().values()]
    return [network.n_features, *(shape[0] for shape in shapes)]


def flops(network: Network, mode: str) -> float:
    """Return the floating-point operations of the matrix products, for one example; of all members.

    A product with a weight matrix makes two for each weight. Prediction has one product for each
    layer; training three, but for the first trained layer, whose input needs no gradient. Members
    that share weights have a product each, and of the first layer three: r needs a gradient.

    Examples
    --------
    >>> import xpnet as xn
    >>> net = xn.Network([xn.Linear(8), xn.ReLU(), xn.Linear(3)], loss="softmax_cross_entropy",
    ...                  n_features=4, device="cpu")
    >>> flops(net, "prediction") == 2 * (4*8 + 8*3), flops(net, "training") == 2 * (2*4*8 + 3*8*3)
    (True, True)
    """
    first = next(layer.index for layer in network.layers if layer.parameters)
    total, rows = 0, 1
    for layer in network.layers:
        rows *= layer.expansion or 1
        shapes = layer.weight_shapes().values()
        # Of a stack of matrices each has the rows of one member.
        weights = sum(math.prod(shape) * (rows if len(shape) == 2 else 1) for shape in shapes)
        without_dx = layer.index == first and "r" not in layer.parameters
        products = 1 if mode == "prediction" else 2 if without_dx else 3
        total += 2 * weights * products
    return float(total * len(network.seeds))


def _open(devices: Any) -> list[Backend]:
    """Return the backends of several devices."""
    several = check_several(devices, "devices", "('cpu', 'cuda')")
    if not len(several):
        raise ValueError(f"devices is {devices!r}: there is none to measure; give 'cpu' or 'cuda'")
    return [select(device) for device in several]


def _thread_counts(backend: Backend, threads: Any) -> Sequence[int | None]:
    """Return the numbers of threads to try, rising; None where that is nothing to set."""
    there = backend.threads()
    if threads is not None:
        several = check_several(threads, "threads", "(1, 2)") if np.iterable(threads) else [threads]
        given = sorted({check_threads(n) for n in several})
        if not given:
            raise ValueError(f"threads is {threads!r}: there is none to try; give 1, or several")
        return given if there is not None else [None]
    if there is None:
        return [None]
    most = min(there, cores())
    return sorted({*(2**i for i in range(most.bit_length())), most})


def _with_threads(n: int | None) -> str:
    """Return what to add of a number of threads, if there is one."""
    return "" if n is None else f", {threads_in_words(n)}"


class _Shares:
    """Deals a time out in equal parts of what those before have left; at least half of an equal."""

    def __init__(self, seconds: float, parts: int, clock: Callable[[], float]) -> None:
        self._clock, self._end, self._parts = clock, clock() + seconds, parts
        self._least = seconds / parts / 2

    def next(self) -> float:
        """Return how many seconds the next part may take."""
        self._parts -= 1
        return max((self._end - self._clock()) / (self._parts + 1), self._least)


def _warm_up(bench: Feeding, sizes: Iterable[int]) -> None:
    """Make steps of these sizes: what is compiled for them counts as no part of a sweep."""
    try:
        for n in sizes:
            bench.prepare(n)()
            bench.wait()
    except Exception as error:
        if not bench.full(error):  # else the sweep says so
            raise


def _tell(watch: Callable[[str], object], where: str, n: int) -> None:
    watch(f"{where}: batches of {n:,}")


def _rate(
    backend: Backend,
    network: Network,
    threads: int | None,
    seconds: float,
    clock: AnyClock,
    watch: Callable[[str], object],
) -> float:
    """Return a machine's rate of large products."""
    watch(f"{backend.device}{_with_threads(threads)}: the rate of large products")
    with limit_threads(threads):
        return product_rate(backend, network.dtype, clock, min(seconds, PRODUCT_SECONDS))


def _sizes(
    network: Network, mode: str, batch_sizes: Sequence[int] | None, max_batch: int | None
) -> Iterable[int]:
    """Return the batch sizes to try, rising."""
    least = network.min_batch if mode == "training" else 1
    most = LARGEST if max_batch is None else check_count(max_batch, "max_batch", least)
    if batch_sizes is None:
        return [2**i for i in range(most.bit_length()) if least <= 2**i <= most]
    several = check_several(batch_sizes, "batch_sizes", "(32, 128, 512)")
    given = sorted({check_count(n, "a batch size", least) for n in several})
    if not given or given[0] > most:
        raise ValueError(f"batch_sizes are {batch_sizes}: there is none to try")
    return [n for n in given if n <= most]


def _data(network: Network, X: Any, y: Any) -> tuple[Any, Any]:
    """Return the data, or some that are made up as the network takes them."""
    draw = np.random.default_rng(0)
    if X is None:
        if y is not None:
            raise ValueError("y is given and X is not: give both, or neither")
        n = max(1, min(ROWS, ELEMENTS // network.n_features))
        X = draw.standard_normal((n, network.n_features), dtype=np.float32)
        for column, size in code_columns(network.layers, network.n_features).items():
            X[:, column] = draw.integers(0, size, n)
    if y is None:
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        shape = network.loss.target_shape(n, network.n_outputs)
        y = draw.integers(0, network.n_outputs if len(shape) == 1 else 2, shape)
    return X, y


def _bench(
    network: Network,
    mode: str,
    backend: Backend,
    X: Any,
    y: Any,
    optimizer: Optimizer,
    l2: float,
) -> Feeding:
    """Return what is timed in a mode: steps of a clone of the network, or its predictions."""
    tiny = replace(optimizer, learning_rate=TINY)

    def train() -> tuple[Callable[[Array, Array], object], object]:
        trainer = Trainer(network.clone(backend), tiny, l2)
        return trainer.step, trainer

    def predict() -> tuple[Callable[[Array, Array], object], object]:
        clone = network.clone(backend)
        return (lambda x, y: clone.predict(x)), clone

    x, labels = network.clone(backend).prepare(X, y)
    return Feeding(train if mode == "training" else predict, x, labels, backend)


def _series(
    network: Network, mode: str, backend: Backend, found: Sweep, rate: float, threads: int | None
) -> Series:
    """Return the rows of a sweep with what follows from them."""
    timings, each = found.timings, flops(network, mode)
    shares, bound = timing.host_shares(timings), timing.launch_bound(timings)
    unsure = timing.unsure(timings)
    rows = [
        Row(
            t.batch_size,
            t.seconds,
            t.quartiles[0],
            t.quartiles[2],
            t.rounds,
            t.rate,
            share,
            "launch" if t.batch_size <= bound else "compute",
            each * t.rate,
            each * t.rate / rate,
            memory,
            t.least,
            t.most,
            t.quartiles[1],
            t.batch_size not in unsure,
        )
        for t, share, memory in zip(timings, shares, found.memory, strict=True)
    ]
    return Series(
        backend.device,
        backend.describe(),
        mode,
        rows,
        rate,
        "arrays" if backend.memory_taken() is None else "pool",
        found.ended,
        found.refused,
        timing.knee(timings).batch_size if timings else None,
        threads,
        found.contention,
    )
