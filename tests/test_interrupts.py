"""Ctrl-C that is held back: it comes, but not in the midst of what it would break."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from xpnet.backends.select import why_not_compiled
from xpnet.interrupts import defer_sigint


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_comes_after_all_is_done():
    done = []

    def work():
        press()
        press()
        with defer_sigint():
            press()
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        defer_sigint()(work)()
    assert done
    with pytest.raises(KeyboardInterrupt):
        press()


def test_nothing_comes_if_nothing_was_pressed():
    before = signal.getsignal(signal.SIGINT)
    assert defer_sigint()(divmod)(7, 2) == (3, 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_stays_one():
    with pytest.raises(ValueError, match="mine"), defer_sigint():
        raise ValueError("mine")

    def work():
        press()
        raise ValueError("mine")

    with pytest.raises(KeyboardInterrupt) as raised:
        defer_sigint()(work)()
    assert isinstance(raised.value.__context__, ValueError)


def test_who_listens_hears_it_once(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    try:
        with defer_sigint():
            press()
            assert not heard
        assert heard == [True]
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_it_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with defer_sigint():
            press()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_use_it():
    found = []
    thread = threading.Thread(target=lambda: found.append(defer_sigint()(max)(1, 2)))
    thread.start()
    thread.join()
    assert found == [2]


FIT = """
import signal, sys, warnings
import numpy as np
import xpnet as xn

X, y = np.random.default_rng(0).standard_normal((50, 4)), np.arange(50) % 2

def fit():
    net = xn.Network([xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Linear(2)],
                     loss="softmax_cross_entropy", n_features=4, device="cpu")
    return xn.Trainer(net).fit(X, y, batch_size=10, epochs=2)
"""

IMPORT = """
class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.types":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Presses())
"""

COMPILE = """
from numba.core.dispatcher import Dispatcher
begun, broken, compile = [], [], Dispatcher.compile

def pressed(self, *arguments):
    begun.append(self)
    try:
        if len(begun) == 3:
            signal.raise_signal(signal.SIGINT)
        return compile(self, *arguments)
    except KeyboardInterrupt:
        broken.append(self)
        raise

Dispatcher.compile = pressed
"""

END = """
try:
    fit()
except KeyboardInterrupt:
    print("pressed")
print(fit()["train_loss"][-1] < 2)
"""


@pytest.mark.slow
@pytest.mark.skipif(why_not_compiled() is not None, reason=f"{why_not_compiled()}")
@pytest.mark.parametrize(
    "script",
    [FIT + IMPORT + END, FIT + COMPILE + END + "assert len(begun) > 3 and not broken\n"],
    ids=["import", "compile"],
)
def test_numba_works_after_ctrl_c_in_its_midst(script, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["pressed", "True"]), done.stderr
