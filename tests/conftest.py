"""One harness: the same tests on every backend there is."""

import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from strict import StrictBackend

import xpnet.backends.select
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.protocol import Backend
from xpnet.backends.select import select, why_no_cuda, why_not_compiled


def pytest_sessionstart() -> None:
    """Let Ctrl-C be heard where the shell ignores it: for what runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: Doctests that measure time.
SLOW_DOCTESTS = ("xpnet.analysis.profiling.profile",)

#: Doctests that need pyarrow, which not everybody has installed.
ARROW_DOCTESTS = (
    "xpnet.tabular.formats.opening.open_table",
    "xpnet.tabular.formats.source.aligned",
    "xpnet.tabular.formats.folders.common_type",
    "xpnet.tabular.estimators.TabularRegressor",
)

#: Doctests that need Optuna.
OPTUNA_DOCTESTS = ("xpnet.search.studies.load_study",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the doctests that are slow, or need what may lack: they can't do it themselves."""
    arrow, optuna = find_spec("pyarrow") is not None, find_spec("optuna") is not None
    for item in items:
        if item.name in SLOW_DOCTESTS:
            item.add_marker("slow")
        if item.name in ARROW_DOCTESTS and not arrow:
            item.add_marker(pytest.mark.skip("pyarrow is not installed (extra 'files')"))
        if item.name in OPTUNA_DOCTESTS and not optuna:
            item.add_marker(pytest.mark.skip("Optuna is not installed (extra 'tune')"))
    if told := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests with another name in each process: {', '.join(told[:3])}")


def pytest_collection_finish() -> None:
    """Spare each collection of garbage the walk through all the tests that pytest has found."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let all of it go, for whoever goes on in this process."""
    gc.unfreeze()


#: What a quick test may start, since it runs once for all tests: compilers, what Python's
#: `platform`, NumPy and joblib ask for the processor, Matplotlib for fonts, and CuPy for libraries.
ONCE = {"cc", "gcc", "g++", "uname", "lscpu", "fc-list", "ldconfig", "system_profiler"}


def _start(self: subprocess.Popen[Any], args: Any, *rest: Any, **options: Any) -> None:
    program = args.split()[0] if isinstance(args, str) else os.fspath(args[0])
    if Path(program).name not in ONCE:
        _refuse()
    _popen(self, args, *rest, **options)


def _refuse(*_: Any) -> None:
    pytest.fail("a test that starts processes is to be marked slow")


_popen = subprocess.Popen.__init__


@pytest.fixture(autouse=True)
def few_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let only tests that are marked slow start processes."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("slow") is None:
            patch.setattr(subprocess.Popen, "__init__", _start)
            patch.setattr(BaseProcess, "start", _refuse)
            patch.setattr(os, "fork", _refuse, raising=False)
            patch.setattr(os, "system", _refuse)
        yield


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """Let no test change for the others how Ctrl-C and SIGTERM are met."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture
def pa() -> Any:
    """Return pyarrow, which reads tables."""
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")


@pytest.fixture
def pd(pa: Any) -> Any:
    """Return pandas, where its frames are taken as tables."""
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> StrictBackend:
    """CuPy's stand-in: fresh, its counters at zero, not active.

    The library finds it as the CUDA device on which its arrays lie.
    """
    stand_in = StrictBackend()

    def found(device: Any = "auto", **options: Any) -> Backend:
        return stand_in if device == stand_in.device else select(device, **options)

    monkeypatch.setattr(xpnet.backends.select, "select", found)
    return stand_in


def _numpy(request: pytest.FixtureRequest) -> Backend:
    return NumpyBackend()


def _numba(request: pytest.FixtureRequest) -> Backend:
    why = why_not_compiled()
    if why is not None:
        pytest.skip(f"compiled kernels: {why}")
    return select("cpu")


def _strict(request: pytest.FixtureRequest) -> Backend:
    return request.getfixturevalue("strict")


def _cupy(request: pytest.FixtureRequest) -> Backend:
    why = why_no_cuda()
    if why is not None:
        pytest.skip(f"CUDA: {why}")
    return select("cuda")


BACKENDS = {"numpy": _numpy, "numba": _numba, "strict": _strict, "cupy": _cupy}

#: What a test may ask for beyond those, by parametrising `device` indirectly.
SPECIAL = {"lagging": lambda request: StrictBackend(late=True)}


@pytest.fixture(params=list(BACKENDS))
def device(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn: NumPy, the same with Numba, CuPy's stand-in, and CuPy on a GPU.

    None is active, as for a user: what is called from outside has to see to that by itself.
    """
    return (BACKENDS | SPECIAL)[request.param](request)


@pytest.fixture
def backend(device: Backend) -> Iterator[Backend]:
    """Each backend in turn, active: for tests of what is called inside the library."""
    with device.active():
        yield device
