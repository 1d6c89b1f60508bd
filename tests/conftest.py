"""One harness: the same tests on every backend there is."""

from collections.abc import Iterator

import pytest

from xpnet.backend import Backend, select, why_no_cuda


def _numpy() -> Backend:
    return select("cpu")


def _cupy() -> Backend:
    why = why_no_cuda()
    if why is not None:
        pytest.skip(f"CUDA: {why}")
    return select("cuda")


BACKENDS = {"numpy": _numpy, "cupy": _cupy}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn: NumPy, and CuPy where there is a GPU."""
    found = BACKENDS[request.param]()
    with found.active():
        yield found
