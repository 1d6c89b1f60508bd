"""Whether each fused kernel earns its place: the reference against what a backend has instead.

The kernels are found by looking: every method of `Kernels` that the class of the backend's own
kernels defines anew, or one of its bases does. They race, and a ratio above 1 says that the
backend's own is faster. A kernel that `kernel_cases` makes no arguments for fails.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from harness import BACKENDS, Pace, each_dtype, note, open_backend, race
from kernel_cases import Cases

from xpnet.backends.protocol import Backend
from xpnet.backends.reference import Kernels
from xpnet.backends.select import select, why_no_cuda


def fused(kernels: Kernels) -> list[str]:
    """Return the kernels that are not the reference's."""
    methods = [name for name in dir(Kernels) if callable(getattr(Kernels, name))]
    names = [name for name in methods if not name.startswith("_")]
    return [name for name in names if getattr(type(kernels), name) is not getattr(Kernels, name)]


def implementations(kernels: Kernels, reference: Kernels, name: str) -> dict[str, Any]:
    """Return a kernel by the name of the class that has it; the last one is the backend's own."""
    found = {Kernels.__name__: getattr(reference, name)}
    for kind in reversed(type(kernels).__mro__):
        if name in vars(kind) and kind is not Kernels:
            found[kind.__name__] = vars(kind)[name].__get__(kernels, kind)
    return found


class Runner:
    """A kernel with its arguments, ready to race."""

    def __init__(self, kernel: Callable[..., None], cases: Cases, name: str) -> None:
        self.step = partial(kernel, *getattr(cases, name)())
        self.synchronize = cases.backend.synchronize


def _pairs() -> list[tuple[str, str]]:
    devices = [device for device in BACKENDS if device == "cpu" or why_no_cuda() is None]
    return [(device, name) for device in devices for name in fused(select(device).kernels)]


#: What has no members' axis, or is no kernel of theirs alone.
ALONE = frozenset({"advance", "gather"})

MEMBERS = 32


@each_dtype
@pytest.mark.parametrize("batch", [32, 512, 4096])
@pytest.mark.parametrize(("device", "kernel"), _pairs())
def test_kernel(
    benchmark: Any, pace: Pace, device: str, kernel: str, batch: int, dtype: str
) -> None:
    """Race the implementations of a kernel."""
    _race(benchmark, pace, device, kernel, batch, dtype, None)


@pytest.mark.parametrize("dtype", ["float32"])
@pytest.mark.parametrize("batch", [1, 32, 128])
@pytest.mark.parametrize(("device", "kernel"), [pair for pair in _pairs() if pair[1] not in ALONE])
def test_kernel_of_members(
    benchmark: Any, pace: Pace, device: str, kernel: str, batch: int, dtype: str
) -> None:
    """Race the implementations of a kernel for many networks at once."""
    _race(benchmark, pace, device, kernel, batch, dtype, MEMBERS)


def _race(
    benchmark: Any,
    pace: Pace,
    device: str,
    kernel: str,
    batch: int,
    dtype: str,
    members: int | None,
) -> None:
    backend: Backend = open_backend(device)
    if not hasattr(Cases, kernel):
        pytest.fail(
            f"{type(backend.kernels).__name__} has a {kernel} of its own, which is not measured: "
            f"give Cases in bench/kernel_cases.py a method {kernel} that returns its arguments"
        )
    named = kernel if members is None else f"{kernel}, {members} members"
    samples = batch * (members or 1)
    note(benchmark, backend, "kernels", kernel=named, batch=batch, dtype=dtype, samples=samples)
    reference = select(device, fused=False).kernels
    with backend.active():
        runners = {
            name: Runner(function, Cases(backend, batch, dtype, members), kernel)
            for name, function in implementations(backend.kernels, reference, kernel).items()
        }
        own = runners.pop(list(runners)[-1])
        race(benchmark, pace, own, runners)
