"""What a saved benchmark says of the machine: versions, threads, and the GPU and its driver."""

import os
import shutil
import subprocess
from typing import Any

import numpy as np

import xpnet
from xpnet import backend


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what a reader of the numbers needs, and leave out the names that a host goes by."""
    for name in ("node", "release"):
        machine_info.pop(name, None)
    machine_info["cores"] = os.cpu_count()
    machine_info["blas"] = _blas()
    cuda = backend.info()
    machine_info["cuda"], machine_info["devices"] = cuda["cuda"], cuda["devices"]
    versions = {"xpnet": xpnet.__version__, "numpy": np.__version__}
    if cuda["devices"]:
        versions |= cuda["versions"] | _driver()
    machine_info["versions"] = versions


def _blas() -> str | None:
    """Return NumPy's BLAS in words, if threadpoolctl is here to ask."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    words = "{internal_api} {version}, threads: {num_threads}"
    pools = [words.format_map(p) for p in threadpool_info() if p["user_api"] == "blas"]
    return "; ".join(pools) or None


def _driver() -> dict[str, str]:
    """Return the version of NVIDIA's driver, which CUDA's own numbers do not tell."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return {}
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return {"nvidia_driver": lines[0].strip()} if lines else {}
