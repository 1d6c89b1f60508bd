"""The suites' options, and what a saved benchmark says of the machine."""

import os
from typing import Any

import harness
import machine
import pytest

from xpnet.backends import select as backend

#: What is kept of what pytest-benchmark knows of the CPU.
CPU = ("brand_raw", "arch", "count", "hz_advertised_friendly", "l2_cache_size", "l3_cache_size")
#: What the suites run on, if it is installed.
PACKAGES = (
    "xpnet",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "tabm",
    "jax",
    "scikit-learn",
    "onnxruntime",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what run.py passes on."""
    group = parser.getgroup("xpnet's benchmarks")
    group.addoption("--quick", action="store_true", help="a few small cases, hardly measured")
    group.addoption("--device", choices=list(harness.BACKENDS), help="only this one")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a device that is not there."""
    if config.getoption("--device") == "cuda" and backend.why_no_cuda() is not None:
        raise pytest.UsageError(f"--device is cuda, but CUDA: {backend.why_no_cuda()}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --quick and --device leave out."""
    wanted: dict[str, tuple[Any, ...]] = {}
    if config.getoption("--quick"):
        wanted |= {"batch": (32,), "dtype": ("float32",)}
    if config.getoption("--device"):
        wanted |= {"device": (config.getoption("--device"),)}
    items[:] = [
        item
        for item in items
        if all(
            value in wanted[name]
            for name, value in item.callspec.params.items()  # type: ignore[attr-defined]
            if name in wanted
        )
    ]


@pytest.fixture
def pace(request: pytest.FixtureRequest) -> harness.Pace:
    """How long to measure."""
    return harness.QUICK if request.config.getoption("--quick") else harness.Pace()


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what a reader of the numbers needs, and leave out the names that a host goes by."""
    for name in ("node", "release"):
        machine_info.pop(name, None)
    cpu = machine_info.get("cpu") or {}
    machine_info["cpu"] = {name: cpu[name] for name in CPU if name in cpu}
    machine_info["cores"] = os.cpu_count()
    machine_info["threads"] = harness.threads()
    machine_info["blas"] = _blas()
    cuda = backend.info()
    machine_info["cuda"], machine_info["devices"] = cuda["cuda"], cuda["devices"]
    versions = {name: machine.installed(name) for name in PACKAGES}
    if cuda["devices"]:
        versions |= cuda["versions"] | {"nvidia_driver": machine.driver()}
    machine_info["versions"] = {name: found for name, found in versions.items() if found}


def _blas() -> str | None:
    """Return NumPy's BLAS in words, if threadpoolctl is here to ask."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    words = "{internal_api} {version} ({architecture}), threads: {num_threads}"
    pools = [p for p in threadpool_info() if p["user_api"] == "blas" and "numpy" in p["filepath"]]
    return "; ".join(words.format_map({"architecture": "?"} | pool) for pool in pools) or None
