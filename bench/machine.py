"""What a reader of measured figures needs to know of the machine's software.

Needs the standard library alone.
"""

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str | None:
    """Return an installed package's version; None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def driver() -> str | None:
    """Return the version of NVIDIA's driver, which CUDA does not tell; None if it is unknown."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip().partition("\n")[0] or None
