"""The CUDA program on the host: the same source compiled by g++, threads and all.

`EmulatedLauncher` stands in the place of CuPy's: the same kernels, grids and arguments. So the
kernels' arithmetic, their indices and barriers are tested without a GPU; speed, and what the GPU's
memory does between blocks, are not.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from strict import StrictArray, StrictBackend

from xpnet.backends.cuda.kernels import CudaKernels
from xpnet.backends.cuda.launch import WORKSPACE, definitions, source
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.select import select, why_no_cuda, why_not_compiled

#: Names of the kernels in a program.
KERNELS = re.compile(r"^KERNEL (\w+)\(", re.MULTILINE)

#: -O1 is enough: what takes time is going from thread to thread.
OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-fno-strict-aliasing", "-fsanitize=alignment")

#: What the C++ side returns.
FAILURES = (
    "no failure",
    "there is no such kernel",
    "these are not the kernel's arguments",
    "the block has not the number of threads that it must have",
    "threads of a block wait at different barriers, or some are done",
    "memory is accessed beside the boundary that the width of the access asks for",
)

ENTRY = """
extern "C" int launch(const char* name, const unsigned* grid, const unsigned* block,
                      const char* codes, void** arguments, int backwards) {{
    gridDim = {{grid[0], grid[1], grid[2]}};
    blockDim = {{block[0], block[1], 1}};
    {calls}
    return emulator::UNKNOWN_KERNEL;
}}
"""


def why_no_compiler():
    """Return why nothing can be emulated, in a few words; None if it can."""
    if sys.platform != "linux":
        return "it takes what Linux's C library has"
    return None if shutil.which("g++") else "g++ is not installed"


def program(cuda):
    """Return the C++ of a CUDA program with an entry by name."""
    calls = "\n    ".join(
        f'if (!strcmp(name, "{name}")) '
        f"return emulator::launch(cuda::{name}, codes, arguments, backwards);"
        for name in KERNELS.findall(cuda)
    )
    header = Path(__file__).with_name("emulator.hpp")
    # In a namespace the program's names can't meet those of C's library.
    parts = f'#include "{header}"', "namespace cuda {", cuda, "}", ENTRY.format(calls=calls)
    return "\n".join(parts)


@lru_cache
def compiled(cuda, double):
    """Return the entry of the CUDA program, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        cpp, made, library = (Path(folder, f"program.{end}") for end in ("cpp", "o", "so"))
        cpp.write_text(program(cuda))
        # In two steps, for no sanitiser's library to be linked: the header does what it would.
        for command in (
            ["g++", *OPTIONS, *definitions(double), "-c", cpp, "-o", made],
            # A kernel called like a function of the C library, such as `advance`, is ours.
            ["g++", "-shared", "-Wl,-Bsymbolic", made, "-o", library],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"g++ refuses the CUDA program:\n{done.stderr}")
        return ctypes.CDLL(str(library)).launch


class EmulatedLauncher:
    """An `xpnet.backends.cuda.launch.Launcher` over NumPy's arrays.

    Parameters
    ----------
    backwards : bool
        Whether blocks, and the threads in a block, run from the last to the first.
    cuda : str or None
        The program; None: the library's.

    Attributes
    ----------
    launches : list of (str, tuple, tuple)
        Name, grid and block of each kernel launched so far.
    """

    def __init__(self, backwards=False, cuda=None):
        self.backwards, self.cuda = backwards, cuda or source()
        self.launches = []
        self._workspace = np.zeros(WORKSPACE, np.uint8)

    def __call__(self, name, double, grid, block, *arguments):
        self.launches.append((name, grid, block))
        codes, values = zip(*map(passed, arguments), strict=True)
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        failure = compiled(self.cuda, double)(
            name.encode(),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 2)(*block),
            "".join(codes).encode(),
            pointers,
            int(self.backwards),
        )
        if failure:
            raise RuntimeError(f"{name}: {FAILURES[failure]}")

    def workspace(self):
        return self._workspace


def passed(argument):
    """Return an argument as CuPy passes it, and what kind it is."""
    if argument is None:
        return "p", ctypes.c_void_p(None)
    if isinstance(argument, StrictArray):
        argument = argument.data
    if isinstance(argument, np.ndarray):
        return "p", ctypes.c_void_p(argument.ctypes.data)
    if type(argument) is int:
        if not -(2**63) <= argument < 2**63:
            raise OverflowError(f"a kernel is given {argument}, which has more than 64 bits")
        return "i", ctypes.c_longlong(argument)
    if type(argument) is float:
        return "d", ctypes.c_double(argument)
    raise TypeError(f"a kernel is given a {type(argument).__name__}")


def emulated(**options):
    """Return a backend over NumPy whose kernels are those of a CUDA GPU."""
    return NumpyBackend(CudaKernels(np, EmulatedLauncher(**options)))


class CapturedLauncher(EmulatedLauncher):
    """Launches kernels on a stand-in, or notes them for the graph that is captured there."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __call__(self, *arguments):
        self.device.launch(arguments[0])
        # A graph knows addresses: it does not keep the arrays alive.
        bare = [x.data if isinstance(x, StrictArray) else x for x in arguments]
        self.device.do(lambda: super(CapturedLauncher, self).__call__(*bare))


def stand_in(kind=StrictBackend):
    """Return CuPy's stand-in with the kernels of a CUDA GPU."""
    device = kind()
    device.kernels = CudaKernels(device.xp, CapturedLauncher(device))
    device.kernels.erf = device.erf
    return device


def overriding():
    """Return each backend that replaces kernels, by name."""
    found = {"numpy": NumpyBackend()}
    if why_not_compiled() is None:
        found["numba"] = select("cpu")
    if why_no_compiler() is None:
        found["emulated"] = stand_in()
    if why_no_cuda() is None:
        found["cupy"] = select("cuda")
    return found
