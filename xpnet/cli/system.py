"""What is installed and found on this machine: backends, devices, versions, BLAS and threads."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .._version import __version__
from ..backends import select as backend
from ..backends.blas import threads_in_words
from ..backends.threads import cores

#: What is told of a library's threads; the architecture is the processor it has code for.
POOL = ("user_api", "internal_api", "version", "architecture", "num_threads")

PACKAGES = ("numpy", "scipy", "scikit-learn", "safetensors", "pandas", "pyarrow", "numba")


def describe() -> dict[str, Any]:
    """Return all that `as_lines` shows, JSON-ready."""
    import threadpoolctl

    pools = [{k: pool.get(k) for k in POOL} for pool in threadpoolctl.threadpool_info()]
    cuda = backend.info()
    return {
        "xpnet": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "cores": cores(),
        "packages": {name: _version(name) for name in PACKAGES},
        "threads": pools,
        "backends": {
            "numpy": f"the CPU, kernels {_compiled()}",
            "cupy": "CUDA" if cuda["cuda"] == "available" else f"not usable: {cuda['cuda']}",
        },
        "cuda": cuda,
    }


def as_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values, in the order in which to show them."""
    lines = [
        ("xpnet", found["xpnet"]),
        ("Python", found["python"]),
        ("platform", found["platform"]),
    ]
    cpus, usable = found["cpus"], found["cores"]
    fewer = f", of which this process may use {usable}" if usable != cpus else ""
    lines.append(("processor", f"{found['processor']}, {cpus} CPU{'s' * (cpus != 1)}{fewer}"))
    lines += [(k, v or "not installed") for k, v in found["packages"].items()]
    for pool in found["threads"]:
        n = pool["num_threads"]
        name = " ".join(pool[k] for k in ("internal_api", "version", "architecture") if pool[k])
        lines.append((pool["user_api"], f"{name}, {threads_in_words(n)}"))
    lines += [(f"backend {name}", state) for name, state in found["backends"].items()]
    lines += [(name.replace("_", " "), v) for name, v in found["cuda"]["versions"].items()]
    for device in found["cuda"]["devices"]:
        size = f"{device['memory'] / 2**30:.0f} GiB"
        capability = f"compute capability {device['compute_capability']}"
        lines.append((device["device"], f"{device['name']}, {size}, {capability}"))
    return lines


def _compiled() -> str:
    """Return whether the CPU's kernels are compiled."""
    why = backend.why_not_compiled()
    return "compiled by Numba" if why is None else f"not compiled: {why}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name; what the system calls it where that is all there is."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
