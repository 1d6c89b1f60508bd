"""Forks while other threads are busy: the children find every lock free, and nothing half-done."""

import os
import signal
import threading
import time
import traceback
import warnings

import numpy as np
import pytest
import threadpoolctl
from test_workers import fresh

import xpnet as xn
from xpnet.backends.select import why_not_compiled
from xpnet.backends.threads import count_threads, limit_threads
from xpnet.locks import PATIENCE, ForkSafeLock, defer_fork

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((300, 20)), RNG.integers(3, size=300)


def in_child(work):
    """Return how a forked child ends, which does some work: 0 if that returns a true value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with other threads about
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(60)  # what hangs must not outlive the test
    code = 2
    try:
        code = 0 if work() else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)


class Busy:
    """A thread that calls a function, in the midst of which it waits until it may go on."""

    def __init__(self, function):
        self._inside, self._go = threading.Event(), threading.Event()
        self._paused = False

        def whole():
            try:
                function()
            finally:
                self._inside.set()  # there is nothing more to wait for

        self._thread = threading.Thread(target=whole)

    def pause(self, until=None):
        """Say that the thread has come to its midst, and wait: for an event, or the block's end."""
        self._paused = True
        self._inside.set()
        (until or self._go).wait()

    def __enter__(self):
        self._thread.start()
        self._inside.wait()
        assert self._paused, "the function has ended, and was never in its midst"
        return self

    def __exit__(self, *_):
        self._go.set()
        self._thread.join()


def network(units=16, hidden=xn.ReLU, **options):
    layers = [xn.Linear(units), hidden(), xn.Linear(units), hidden(), xn.Linear(3)]
    options = {"loss": "softmax_cross_entropy", "n_features": 20, "device": "cpu"} | options
    return xn.Network(layers, **options)


def pausing(passes, name, busy):
    """Have a method of a network's passes pause at the end of its first call."""
    method = getattr(passes, name)

    def paused(*arguments):
        setattr(passes, name, method)
        result = method(*arguments)
        busy.pause()
        return result

    setattr(passes, name, paused)


def check_prediction(fused):
    """Fork while another thread's prediction has written its outputs, and not read them yet.

    With tanh no kernel goes through all layers at once, which would have no buffers.
    """
    net = network(hidden=xn.Tanh, fused=fused)
    expected = net.predict_proba(X)
    busy = Busy(lambda: net.predict_proba(-X))
    pausing(net.passes, "predict", busy)
    with busy:
        assert in_child(lambda: np.array_equal(net.predict_proba(X), expected)) == 0


def check_estimator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = xn.MLPClassifier(max_iter=2, activation="tanh", random_state=0).fit(X, Y)
    expected = clf.predict_proba(X)
    busy = Busy(lambda: clf.predict(-X))
    pausing(clf.network_.passes, "predict", busy)
    with busy:
        assert in_child(lambda: np.array_equal(clf.predict_proba(X), expected)) == 0


def train_on(trainer):
    """Predict and train in a child, with a trainer that there is and with one of its own."""
    net = trainer.network
    net.predict(X)
    trainer.step(X, Y)
    trainer.fit(X, Y, epochs=1)
    xn.Trainer(net).fit(X, Y, epochs=1)
    return np.isfinite(net.evaluate(X, Y)["loss"])


def check_fit():
    """Fork while another thread is between two steps of a fit, and in the midst of one."""
    trainer = xn.Trainer(network())
    busy = Busy(lambda: trainer.fit(X, Y, epochs=1, callbacks=[lambda *_: busy.pause()]))
    with busy:
        assert in_child(lambda: train_on(trainer)) == 0
    busy = Busy(lambda: trainer.fit(X, Y, epochs=1))
    pausing(trainer.network.passes, "loss_and_gradient", busy)
    with busy:
        assert in_child(lambda: train_on(trainer)) == 0
    trainer.fit(X, Y, epochs=1)


def check_callback():
    """Fork in the midst of a fit by the thread that trains."""
    net, ends = network(), []

    def fork(trainer, row):
        ends.append(in_child(lambda: train_on(trainer)))

    xn.Trainer(net).fit(X, Y, epochs=2, callbacks=[fork])
    assert ends == [0, 0]


def check_lock():
    """Let go, in a child, of what was taken before the fork: another thread may take it then."""
    turn = ForkSafeLock(PATIENCE)
    with turn.lock, turn.lock:
        pid = os.fork()
    if not pid:
        signal.alarm(60)
        found = []
        thread = threading.Thread(target=lambda: found.append(turn.lock.acquire(timeout=30)))
        thread.start()
        thread.join()
        os._exit(0 if found == [True] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def check_wait():
    """Fork while another thread is in the midst of what a fork waits for."""
    done, forking = [], threading.Event()
    os.register_at_fork(before=forking.set)

    def work(lock):
        with lock:
            busy.pause(until=forking)
            done.append(True)

    turn = ForkSafeLock(patience=-1)
    for lock in (turn.lock, defer_fork()):
        forking.clear()
        busy = Busy(lambda lock=lock: work(lock))
        with busy:
            assert in_child(lambda: done) == 0
        assert done.pop()


def check_new_lock():
    """Make a lock while a fork waits for another one: it is not taken before the fork."""
    first, made, taken = ForkSafeLock(PATIENCE), threading.Event(), []
    real = first.lock

    def hold():
        with first.lock:
            busy.pause(until=made)
            time.sleep(0.1)  # in which the new one could be taken

    def make():
        while first.lock is real:
            time.sleep(0.001)
        lock = ForkSafeLock(PATIENCE)
        made.set()
        with lock.lock:
            taken.append(True)

    busy, maker = Busy(hold), threading.Thread(target=make)
    with busy:
        maker.start()
        assert in_child(lambda: not taken) == 0
    maker.join()
    assert taken == [True]
    assert in_child(lambda: True) == 0


def check_compilation():
    """Fork while another thread compiles, and compile in the child."""
    from numba.core.dispatcher import Dispatcher

    compiled, forking = Dispatcher.compile, threading.Event()
    os.register_at_fork(before=forking.set)

    def paused(self, *arguments):
        Dispatcher.compile = compiled
        busy.pause(until=forking)
        return compiled(self, *arguments)

    Dispatcher.compile = paused
    busy = Busy(lambda: xn.Trainer(network()).step(X, Y))
    with busy:
        double = network(dtype="float64")
        assert in_child(lambda: train_on(xn.Trainer(double))) == 0


def check_blas(ask):
    """Fork while another thread is amid what threadpoolctl has locks for, and ask in the child."""
    kind, own, forking = threadpoolctl.ThreadpoolController, threading.Lock(), threading.Event()
    asked = kind.__init__
    os.register_at_fork(before=forking.set)

    def locked(*arguments):
        with own:
            return asked(*arguments)

    def paused(*arguments):
        kind.__init__ = locked
        with own:
            busy.pause(until=forking)
            return asked(*arguments)

    kind.__init__ = paused
    busy = Busy(ask)
    with busy:
        assert in_child(ask) == 0


def limit():
    with limit_threads(1):
        return count_threads() == 1


def check_products():
    """Fork again and again while another thread trains, with products that BLAS shares out."""
    trainer, other, end = xn.Trainer(network(256)), network(256), threading.Event()

    def train():
        while not end.is_set():
            trainer.step(X, Y)

    def predict():
        while not end.is_set():
            other.predict(X)

    threads = [threading.Thread(target=work) for work in (train, predict)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert in_child(lambda: train_on(trainer) and len(other.predict(X))) == 0
    finally:
        end.set()
        for thread in threads:
            thread.join()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
COMPILED = why_not_compiled()


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize(
    "check",
    [
        "prediction(True)",
        "prediction(False)",
        "estimator()",
        "fit()",
        "callback()",
        "lock()",
        "wait()",
        "new_lock()",
        "compilation()",
        "blas(count_threads)",
        "blas(limit)",
        "products()",
    ],
)
def test_a_forked_child_finds_all_locks_free(check, tmp_path):
    if check == "compilation()" and COMPILED is not None:
        pytest.skip(f"compiled kernels: {COMPILED}")
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)} if check == "compilation()" else {}
    code = f"from test_locks import *; check_{check}; print('done')"
    assert fresh(code, **environment) == "done\n"
