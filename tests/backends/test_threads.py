"""How many threads BLAS computes with: limits hold, nest and end, whoever fails."""

import math
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
from strict import StrictBackend

import xpnet as xn
from xpnet.backends import blas as blas_module
from xpnet.backends import threads
from xpnet.backends.blas import Blas, blas, pools_of_numpy
from xpnet.backends.select import select
from xpnet.backends.threads import check_threads, cores, count_threads, limit_threads


def counted():
    """Return the numbers of threads of all BLAS libraries, as threadpoolctl finds them."""
    found = threadpoolctl.threadpool_info()
    return {pool["num_threads"] for pool in found if pool["user_api"] == "blas"}


needs_blas = pytest.mark.skipif(not counted(), reason="a BLAS that does not tell its threads")


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """Have four cores, whatever there is; what BLAS had before comes back afterwards."""
    monkeypatch.setattr(threads, "cores", lambda: 4)
    with threadpoolctl.threadpool_limits(2, "blas"):
        blas.cache_clear()
        yield
    blas.cache_clear()


@needs_blas
@pytest.mark.parametrize("n", [1, 3])
def test_a_limit_holds_within_and_not_after(n):
    with limit_threads(n):
        assert counted() == {n}
        assert count_threads() == n
        assert select("cpu").threads() == n
    assert counted() == {2}


@needs_blas
def test_a_limit_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), limit_threads(1):
        raise ZeroDivisionError
    assert counted() == {2}


@needs_blas
def test_limits_nest():
    with limit_threads(3):
        with limit_threads(1):
            assert counted() == {1}
            with limit_threads(None):
                assert counted() == {1}
            with limit_threads(4):
                assert counted() == {4}
            assert counted() == {1}
        assert counted() == {3}
    assert counted() == {2}


@needs_blas
def test_a_limit_may_be_left_before_one_within_it():
    outer, inner = limit_threads(1), limit_threads(3)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert counted() == {3}
    inner.__exit__(None, None, None)
    assert counted() == {2}


@needs_blas
def test_limits_in_threads_leave_what_there_was_before_all():
    wrong, together = [], threading.Barrier(4)

    def work(n):
        together.wait()
        for _ in range(50):
            with limit_threads(n):
                if not counted() <= {1, 3}:
                    wrong.append(counted())

    workers = [threading.Thread(target=work, args=(n,)) for n in (1, 3, 1, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert counted() == {2}


@needs_blas
def test_a_limit_is_known_to_what_depends_on_it(monkeypatch):
    """On one thread large products are computed in blocks, where BLAS is quick with these."""
    pools = pools_of_numpy()
    if any(pool["internal_api"] != "openblas" for pool in pools):
        pytest.skip("not OpenBLAS")
    names = {pool["architecture"] for pool in pools}
    monkeypatch.setattr(blas_module, "WITH_SMALL_KERNELS", names)
    blas.cache_clear()
    assert blas() == Blas(quick=True, splits=False)
    with limit_threads(1):
        assert blas().splits
    assert not blas().splits


@needs_blas
def test_what_was_set_between_two_limits_comes_back():
    with limit_threads(3):
        pass
    with threadpoolctl.threadpool_limits(1, "blas"):
        with limit_threads(3):
            assert counted() == {3}
        assert counted() == {1}


@needs_blas
def test_limits_change_nothing_but_the_rounding():
    X, y = np.random.default_rng(0).standard_normal((400, 64)), np.arange(400) % 3
    losses = []
    for n in (1, 2):
        net = xn.Network(
            [xn.Linear(128), xn.ReLU(), xn.Linear(3)],
            loss="softmax_cross_entropy",
            n_features=64,
            device="cpu",
            random_state=0,
        )
        with limit_threads(n):
            losses.append(xn.Trainer(net).fit(X, y, batch_size=200, epochs=2)["train_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_blas_that_is_not_known_is_told(monkeypatch):
    nothing = SimpleNamespace(select=lambda **_: SimpleNamespace(lib_controllers=[]))
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", lambda: nothing)
    monkeypatch.setattr(threads, "pools_of_numpy", list)
    assert count_threads() is None
    message = "does not let its threads be counted or limited"
    with pytest.warns(UserWarning, match=message), limit_threads(1):
        pass


@needs_blas
def test_a_blas_that_takes_fewer_is_told(monkeypatch):
    monkeypatch.setattr(threads, "count_threads", lambda: 3)
    with pytest.raises(UserWarning, match="no more than 3 threads: 4 are asked for"):
        limit_threads(4).__enter__()
    assert counted() == {2}


@needs_blas
def test_a_limit_leaves_threadpoolctl_to_other_threads():
    """Of OpenBLAS it hears one thread at a time."""
    with limit_threads(1):
        pass
    found = []

    def limit():
        with threadpoolctl.threadpool_limits(1, "blas"):
            found.append(counted())
        with limit_threads(3):
            found.append(counted())

    worker = threading.Thread(target=limit)
    worker.start()
    worker.join()
    assert found == [{1}, {3}]
    assert counted() == {2}


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "threads is 0: give 1 or more"),
        (-1, ValueError, "threads is -1: give 1 or more"),
        (1.5, TypeError, "threads is 1.5: give a whole number"),
        ("many", TypeError, "threads is 'many': give a whole number"),
        (True, TypeError, "threads is True"),
        (5, ValueError, "threads is 5: this process may use 4 cores; give 1 to 4"),
        (10**6, ValueError, "threads is 1000000: this process may use 4 cores"),
    ],
)
def test_a_wrong_number_of_threads(n, error, message):
    before = counted()
    with pytest.raises(error, match=message), limit_threads(n):
        pass
    assert counted() == before


def test_of_one_core_there_is_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 1)
    with pytest.raises(ValueError, match=r"this process may use one core; give 1$"):
        check_threads(2)


def test_a_gpu_has_no_threads():
    assert StrictBackend().threads() is None


# -- cores ----


def test_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(threads, "_share", lambda *_: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1), (1.0, 1), (1.5, 2), (2.0, 2), (99.0, 3)])
def test_a_share_of_cores_is_rounded_up(monkeypatch, share, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(threads, "_share", lambda *_: share)
    assert cores() == expected


def group(tmp_path, own, files):
    """Return what control groups tell: the share of one, with files of the system's."""
    groups, told = tmp_path / "cgroup", tmp_path / "own"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    if own is not None:
        told.write_text(own)
    return threads._share(groups, told)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        ("0::/a\n", {"other/cpu.max": "50000 100000"}, math.inf),
        ("0::/../a\n", {"cpu.max": "300000 100000"}, 3.0),
        ("4:cpu:/a\n", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        ("4:cpu:/a\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        (None, {}, math.inf),
    ],
)
def test_the_share_of_a_control_group(tmp_path, own, files, expected):
    assert group(tmp_path, own, files) == expected


@pytest.mark.parametrize("method", ["enter", "leave"])
def test_ctrl_c_while_a_limit_comes_or_goes_leaves_what_there_was(monkeypatch, method):
    before = counted()
    apply, pressed = threads._limits._apply, []

    def interrupted():
        if bool(threads._limits._limits) == (method == "enter"):
            pressed.append(signal.raise_signal(signal.SIGINT))
        apply()

    monkeypatch.setattr(threads._limits, "_apply", interrupted)
    monkeypatch.setattr(threads, "_tell_if_fewer", lambda *_: None)
    with pytest.raises(KeyboardInterrupt), limit_threads(1):
        pass
    assert pressed
    assert counted() == before
    assert threads._limits._limits == []
