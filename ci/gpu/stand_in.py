"""The strict stand-in for CuPy in the place of the GPU, for a dry run.

Run as a program it is xpnet's command line on that stand-in: ``python stand_in.py train iris``.
"""

import gc
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / name) for name in (".", "tests", "bench")]

import emulator  # noqa: E402 - it is found only now
from device import Gpu, changed  # noqa: E402
from strict import StrictBackend  # noqa: E402

from xpnet.backends import select as backend  # noqa: E402


class PretendedBackend(StrictBackend):
    """The stand-in as the library opens it: with a device's kernels, or the reference."""

    def __init__(self, ordinal: int = 0, fused: bool = True, precision: str = "full") -> None:
        super().__init__()
        if fused and emulator.why_no_compiler() is None:
            launcher = emulator.CapturedLauncher(self)
            self.kernels = emulator.CudaKernels(self.xp, launcher)

    def memory_taken(self) -> int:
        """Return the bytes that its arrays take."""
        return self.taken


def install() -> None:
    """Let the library find the stand-in where it looks for CuPy's backend."""
    module = types.ModuleType("xpnet.backends.cuda.cupy_backend")
    functions = {
        "CupyBackend": PretendedBackend,
        "why_unavailable": lambda: None,
        "device_count": lambda: 1,
        "compute_capability": lambda ordinal: 90,
        "describe_devices": lambda: [
            {
                "device": "cuda:0",
                "name": "a strict stand-in",
                "memory": 0,
                "compute_capability": "9.0",
            }
        ],
        "versions": lambda: {"cupy": f"none, but NumPy {np.__version__}"},
    }
    for name, value in functions.items():
        setattr(module, name, value)
    sys.modules[module.__name__] = module
    backend.cupy.cache_clear()
    backend.why_no_cuda.cache_clear()


class StandIn(Gpu):
    """The stand-in, with what the claims ask of a machine."""

    dry = True

    def __init__(self) -> None:
        install()
        super().__init__()

    def size(self, full: int, dry: int) -> int:  # noqa: D102 - as in Gpu, here and below
        return dry

    def repeating(self, how: Callable[[Any], Callable[..., Any]]) -> Any:  # noqa: D102
        made: Any = PretendedBackend()
        made.replay = changed(made.replay, how)
        return made

    @contextmanager
    def room(self, nbytes: int) -> Iterator[Any]:  # noqa: D102
        made: Any = self.backend()
        made.memory = made.taken + nbytes
        try:
            yield made
        finally:
            made.memory = None

    def used(self) -> int:  # noqa: D102
        gc.collect()
        return int(self.backend().taken)

    def free(self) -> int:  # noqa: D102
        return -self.used()

    def tensor(self, x: np.ndarray[Any, Any]) -> Any:  # noqa: D102
        import torch

        return torch.from_numpy(x)

    def rival_device(self) -> str:  # noqa: D102
        return "cpu"

    def command(self) -> list[str]:  # noqa: D102
        return [sys.executable, os.path.abspath(__file__)]


if __name__ == "__main__":
    install()
    from xpnet.__main__ import main

    sys.argv[0] = "xpnet"
    main()
