"""What the claims ask of the machine, on a GPU; `stand_in.StandIn` has the same without one."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import machine
import numpy as np

from xpnet.backends import select as backend
from xpnet.backends.capture import CapturedStep

#: Whose versions a result needs.
PACKAGES = ("numpy", "scipy", "cupy-cuda13x", "cupy-cuda12x", "torch", "triton", "jax", "jaxlib")
PACKAGES += ("scikit-learn", "nvidia-cublas", "nvidia-cuda-nvrtc")


class Gpu:
    """The first CUDA device.

    Attributes
    ----------
    dry : bool
        Whether this is none.
    """

    dry = False

    def __init__(self) -> None:
        why = backend.why_no_cuda()
        if why is not None:
            raise backend.DeviceError(f"CUDA: {why}; --dry-run takes a stand-in")

    def size(self, full: int, dry: int) -> int:
        """Return how large something is to be: on a stand-in little is enough."""
        return full

    def facts(self) -> dict[str, str]:
        """Return what a reader of the figures needs to know of the machine."""
        found = backend.info()
        (device, *_) = found["devices"]
        memory = f"{device['memory'] / 2**30:.0f} GiB"
        named = f"{device['name']}, {memory}, compute capability {device['compute_capability']}"
        packages = {name: machine.installed(name) for name in PACKAGES}
        return {
            "device": named,
            "driver": machine.driver() or "unknown",
            **found["versions"],
            "python": sys.version.split()[0],
            **{name: number for name, number in packages.items() if number},
        }

    def backend(self, *, fused: bool = True, precision: str = "full") -> Any:
        """Return the library's backend."""
        return backend.select("cuda", fused=fused, precision=precision)

    def repeating(self, how: Callable[[Any], Callable[..., Any]]) -> Any:
        """Return a backend of its own, that replays as ``how`` says of its own way to."""
        from xpnet.backends.cuda.cupy_backend import CupyBackend

        made = CupyBackend()
        made.replay = changed(made.replay, how)
        return made

    @contextmanager
    def room(self, nbytes: int) -> Iterator[Any]:
        """Give a backend on a device with so many bytes left meanwhile; 0: as many as it has."""
        import cupy

        gc.collect()
        pool = cupy.get_default_memory_pool()
        pool.free_all_blocks()
        pool.set_limit(size=pool.used_bytes() + nbytes if nbytes else 0)
        try:
            yield self.backend()
        finally:
            pool.set_limit(size=0)

    def used(self) -> int:
        """Return the bytes of the library's arrays, as far as CuPy's pool knows."""
        import cupy

        gc.collect()
        return int(cupy.get_default_memory_pool().used_bytes())

    def free(self) -> int:
        """Return the bytes that are free on the device, with those that the pool has unused."""
        import cupy

        return int(cupy.cuda.Device().mem_info[0] + cupy.get_default_memory_pool().free_bytes())

    def tensor(self, x: np.ndarray[Any, Any]) -> Any:
        """Return an array as PyTorch's, on the device."""
        import torch

        return torch.from_numpy(x).to("cuda")

    def rival_device(self) -> str:
        """Return where PyTorch and JAX compute."""
        return "cuda"

    def command(self) -> list[str]:
        """Return how to begin the library's command line."""
        return [sys.executable, "-m", "xpnet"]

    def is_sound(self) -> bool:
        """Return whether the device still computes for this process."""
        try:
            made = self.backend(fused=False)
            with made.active():
                return bool(made.xp.ones(3).sum() == 3)
        except Exception:
            return False


def uncaptured(replay: Any) -> Callable[..., Any]:
    """Call a function as it is, each time."""
    return replay.function if isinstance(replay, CapturedStep) else replay  # type: ignore[no-any-return]


def unchecked(replay: Any) -> Callable[..., Any]:
    """Capture, and believe the graph whatever it does."""
    if isinstance(replay, CapturedStep):
        replay._recorder.same = lambda pairs: [*pairs] != []
    return replay  # type: ignore[no-any-return]


def changed(
    replay: Callable[..., Any], how: Callable[[Any], Callable[..., Any]]
) -> Callable[..., Any]:
    """Return what makes a backend's replays and changes each."""
    return lambda *arguments: how(replay(*arguments))
