"""How long a training step takes on a GPU, beside PyTorch's and JAX's and the products alone.

Everyone takes the same step on the same batch, in turns, in float32 (see bench/rivals.py). Ratios
are taken round by round: a rival's time over ours. The quick rivals come first, for all nets and
batches; `torch.compile` takes a while to compile each. Predictions of few rows race against
PyTorch's, see bench/predict_rivals.py.
"""

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from claim import CannotTellError, Claim, Outcome
from device import Gpu
from harness import Lap, Pace, make_data, make_network, spread
from predict_rivals import Ours as OurAnswers
from predict_rivals import Torch as TorchAnswers
from rivals import Jax, Ours, Products, Torch, TorchCompiled, make_task, try_out

#: Layer widths.
NETS = {
    "64-128-128-10": (64, 128, 128, 10),
    "784-512-256-10": (784, 512, 256, 10),
    "4096-4096-4096-1000": (4096, 4096, 4096, 1000),
}
BATCHES = (128, 1024, 8192)
#: How many rows are predicted at a time.
ROWS = (1, 128)

#: How many times as long a step should take elsewhere: up to a batch of `SMALL`, where launching
#: counts, and above it or in a wide net, where all wait for the same products.
SMALL = 1024
TARGETS = {"torch": (4.0, 1.2), "torch.compile": (1.2, 1.0), "jax": (1.2, 1.2)}
#: How many times as long as its products a step should take at most, for wide nets and batches.
OVER_PRODUCTS, WIDE = 1.15, 2048
#: How many times as long as one a step of so many members should take at most.
MEMBERS, OVER_ONE = 32, 2.0

PACE = Pace(warm_up=0.05, value=0.005, contestant=0.25, rounds=(7, 25))
HURRIED = Pace(warm_up=0.0, value=0.001, contestant=0.01, rounds=(3, 3))


def times(device: Gpu) -> Iterator[Claim]:
    """Time steps of three nets at three batch sizes."""
    for name, claim in _times(device):
        yield name, partial(_without_figures, claim) if device.dry else claim


def _without_figures(claim: Callable[[], Outcome]) -> Outcome:
    """Settle a claim without judging it: on a stand-in a time says nothing."""
    claim()
    return None, "it runs"


def compiling(device: Gpu) -> Iterator[Claim]:
    """Compile what `times` races against, which it finds in their caches then."""
    nets, batches = sizes(device)
    for kind in (TorchCompiled, Jax):
        for batch in batches:
            for name, widths in nets.items():
                yield (
                    f"{kind.name}: {name}, batch {batch}",
                    partial(_compile, device, kind, widths, batch),
                )


def _compile(device: Gpu, kind: Any, widths: tuple[int, ...], batch: int) -> Outcome:
    network = make_network(widths, False, "float32", device.backend())
    task = make_task(network, False, *make_data(widths, batch, "float32"), rate=1e-12)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = replace(task, device=device.rival_device())
        rivals, absent = try_out(network, task, (kind,))
    if not rivals:
        raise CannotTellError(absent[kind.name])
    return True, f"{time.perf_counter() - began:.1f} s"


def sizes(device: Gpu) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """Return the nets' widths and the batches."""
    return ({"8-16-16-4": (8, 16, 16, 4)}, (8,)) if device.dry else (NETS, BATCHES)


def _times(device: Gpu) -> Iterator[Claim]:
    nets, batches = sizes(device)
    cases = [(widths, batch) for batch in batches for widths in nets.values()]
    races: dict[Any, Any] = {}
    for widths, batch in cases:
        name = f"{'-'.join(map(str, widths))}, batch {batch}"
        yield f"{name}: a step", partial(_step, device, races, widths, batch)
        for rival in (Torch.name, Jax.name):
            yield f"{name}: {rival}", partial(_rival, races, widths, batch, rival)
        yield f"{name}: its products", partial(_over_products, races, widths, batch)
    for net, widths in nets.items():
        for rows in ROWS:
            if max(widths) < WIDE:  # where launching counts
                yield f"{net}: a prediction of {rows} rows", partial(_answers, device, widths, rows)
    first, widths = next(iter(nets.items()))
    yield f"{MEMBERS} members of {first}", partial(_members, device, widths)
    for widths, batch in cases:
        name = f"{'-'.join(map(str, widths))}, batch {batch}: {TorchCompiled.name}"
        yield name, partial(_compiled, device, widths, batch)


def run(
    device: Gpu, widths: tuple[int, ...], batch: int, kinds: tuple[Any, ...], products: bool
) -> Any:
    """Let ours and rivals race; return the seconds of each, the ratios to ours, who is absent."""
    backend = device.backend()
    gc.collect()
    backend.release_memory()
    network = make_network(widths, False, "float32", backend)
    task = make_task(network, False, *make_data(widths, batch, "float32"), rate=1e-12)
    # On a stand-in the others compute on the CPU; the products are ours, on the same device.
    rivals, absent = try_out(network, replace(task, device=device.rival_device()), kinds)
    if products:
        rivals[Products.name] = Products(task, backend)
    everyone = {Ours.name: Ours(network, task), **rivals}
    return *race(device, everyone), absent


def race(device: Gpu, everyone: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let ours and others race in turns; return the seconds of each, and the ratios to ours."""
    pace = HURRIED if device.dry else PACE
    laps = {name: Lap(contestant, pace) for name, contestant in everyone.items()}
    total = sum(2 * lap.calls * lap.seconds for lap in laps.values())
    found: dict[str, list[float]] = {name: [] for name in laps}
    order = list(laps)
    for _ in range(pace.how_many(pace.contestant * len(laps), total)):
        for name in order:
            found[name].append(laps[name].time())
        order.append(order.pop(0))
    ours = found[Ours.name]
    ratios = {k: spread([s / o for s, o in zip(v, ours, strict=True)]) for k, v in found.items()}
    return {name: spread(v) for name, v in found.items()}, ratios


def _answers(device: Gpu, widths: tuple[int, ...], rows: int) -> Outcome:
    """Time the probabilities of a batch that lies on the device; there is no target."""
    backend = device.backend()
    network = make_network(widths, False, "float32", backend)
    x, where = make_data(widths, rows, "float32")[0], device.rival_device()
    everyone: dict[str, Any] = {OurAnswers.name: OurAnswers(network, backend.asarray(x))}
    absent = TorchAnswers.why_not(where)
    if absent is None:
        everyone[TorchAnswers.name] = TorchAnswers(network, x, where)
    seconds, ratios = race(device, everyone)
    figure = _figure(seconds[OurAnswers.name]["median"])
    if absent is None:
        theirs, ratio = seconds[TorchAnswers.name]["median"], ratios[TorchAnswers.name]["median"]
        figure += f", {TorchAnswers.name} {_figure(theirs)}: {ratio:.2f} times ours"
    else:
        figure += f", {TorchAnswers.name}: {absent}"
    return True, figure, {"seconds": seconds, "ratios": ratios}


def _figure(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} µs" if seconds < 0.01 else f"{1e3 * seconds:,.1f} ms"


def _step(device: Gpu, races: dict[Any, Any], widths: tuple[int, ...], batch: int) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own affairs
        races[widths, batch] = found = run(device, widths, batch, (Torch, Jax), True)
    ours = found[0][Ours.name]
    figure = f"{_figure(ours['median'])} ({_figure(ours['q1'])} to {_figure(ours['q3'])})"
    return True, figure, {"seconds": found[0], "ratios": found[1], "absent": found[2]}


def _found(races: dict[Any, Any], widths: tuple[int, ...], batch: int, name: str) -> Any:
    """Return seconds and ratios of one in a race that was run."""
    if (widths, batch) not in races:
        raise CannotTellError("there was no race")
    seconds, ratios, absent = races[widths, batch]
    if name in absent:
        raise CannotTellError(absent[name])
    return seconds[name]["median"], ratios[name]


def _rival(races: dict[Any, Any], widths: tuple[int, ...], batch: int, name: str) -> Outcome:
    seconds, ratio = _found(races, widths, batch, name)
    return _against(name, widths, batch, seconds, ratio)


def _against(
    name: str, widths: tuple[int, ...], batch: int, seconds: float, ratio: dict[str, float]
) -> Outcome:
    target = TARGETS[name][batch > SMALL or max(widths) >= WIDE]
    middle = f"{ratio['q1']:.2f} to {ratio['q3']:.2f}"
    figure = f"{_figure(seconds)}, {ratio['median']:.2f} times ours ({middle}); target {target:g}"
    return ratio["median"] >= target, figure, {"ratio": ratio}


def _over_products(races: dict[Any, Any], widths: tuple[int, ...], batch: int) -> Outcome:
    seconds, ratio = _found(races, widths, batch, Products.name)
    over = 1 / ratio["median"]
    figure = f"{_figure(seconds)}, a step takes {over:.2f} times as long"
    if batch >= 8192 and min(widths[:-1]) >= WIDE:
        return over <= OVER_PRODUCTS, f"{figure}; target at most {OVER_PRODUCTS:g}", {"over": over}
    return True, figure, {"over": over}


def _compiled(device: Gpu, widths: tuple[int, ...], batch: int) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        seconds, ratios, absent = run(device, widths, batch, (TorchCompiled,), False)
    name = TorchCompiled.name
    if name in absent:
        raise CannotTellError(absent[name])
    held, figure, values = _against(name, widths, batch, seconds[name]["median"], ratios[name])  # type: ignore[misc]
    return held, f"{figure}; {time.perf_counter() - began:.0f} s in all", values


def _members(device: Gpu, widths: tuple[int, ...]) -> Outcome:
    """Time a step of many networks in one against a step of one."""
    import xpnet as xn

    backend, batch = device.backend(), device.size(256, 8)
    x, y = make_data(widths, batch, "float32")
    pace, laps = HURRIED if device.dry else PACE, []
    layers: list[Any] = []
    for width in widths[1:-1]:
        layers += [xn.Linear(width), xn.ReLU()]
    layers.append(xn.Linear(widths[-1]))
    for count in (MEMBERS, None):
        options = {"loss": "softmax_cross_entropy", "n_features": widths[0], "device": backend}
        more = {} if count is None else {"members": count}
        laps.append(Lap(_Steps(xn.Trainer(xn.Network(layers, **options, **more)), x, y), pace))
    found = [[lap.time() for lap in laps] for _ in range(pace.rounds[0])]
    many, one = (sorted(column)[len(found) // 2] for column in zip(*found, strict=True))
    over = many / one
    figure = (
        f"{_figure(many)}, one alone {_figure(one)}: {over:.2f} times; target at most {OVER_ONE:g}"
    )
    return over <= OVER_ONE, figure, {"many": many, "one": one}


class _Steps:
    """A trainer on one batch."""

    def __init__(self, trainer: Any, x: Any, y: Any) -> None:
        self.trainer, backend = trainer, trainer.backend
        with backend.active():
            self.data = trainer.network.prepare(x, y)
        self.synchronize = backend.synchronize

    def step(self) -> Any:
        """Make one."""
        return self.trainer.step(*self.data)
