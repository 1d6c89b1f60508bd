"""Trainers side by side, in threads and in processes: each gives the bits that it gives alone."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.select import select, why_not_compiled

#: What is trained side by side: seed, hidden units, optimiser, batch size, λ. The wide ones are
#: products of matrices so large that NumPy's kernels compute them by way of scratch memory.
RUNS = {
    "adam": (1, 40, xn.Adam(0.01), 32, 1.0),
    "momentum": (2, 40, xn.Momentum(0.05), 17, 0.0),
    "wide": (1, 3000, xn.RMSProp(0.002), 100, 0.1),
    "as wide": (3, 3000, xn.SGD(0.1), 100, 0.0),
}

KINDS = ["numpy", "numba", "strict"]


def backend_of(kind):
    if kind == "numba" and why_not_compiled() is not None:
        pytest.skip(f"compiled kernels: {why_not_compiled()}")
    return {"numpy": NumpyBackend, "numba": lambda: select("cpu"), "strict": StrictBackend}[kind]()


def train(run: str, kind: str, backend=None, wait=None) -> dict[str, bytes]:
    """Train with everything random that there is; return the bits of what came of it."""
    seed, units, optimizer, batch_size, l2 = RUNS[run]
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 12)).astype("f4")
    y = (X[:, 0] * X[:, 1] > 0) * 1 + (X[:, 2] > 1)
    net = xn.Network(
        [
            xn.Dropout(0.1),
            xn.Linear(units),
            xn.BatchNorm(),
            xn.ReLU(),
            xn.Dropout(0.3),
            xn.Linear(3),
        ],
        loss="softmax_cross_entropy",
        n_features=12,
        device=backend or backend_of(kind),
        random_state=seed,
    )
    trainer = xn.Trainer(net, optimizer, l2=l2)
    noise = xn.Augmentation([xn.GaussianNoise(0.1)])
    callbacks = [] if wait is None else [lambda trainer, row: wait()]
    history = trainer.fit(
        X, y, batch_size=batch_size, epochs=6, validation_data=(X, y), augmentation=noise,
        callbacks=callbacks,
    )  # fmt: skip
    found = {name: array.tobytes() for name, array in net.state().items()}
    for key in ("train_loss", "train_error", "dev_loss"):
        found[key] = np.array(history[key]).tobytes()
    found["predicted"] = np.asarray(net.predict_proba(X)).tobytes()
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [True, False], ids=["one backend", "a backend each"])
def test_threads_do_not_disturb_each_other(kind, shared):
    """The barrier makes them begin, and go from epoch to epoch, together."""
    if kind == "strict" and shared:
        pytest.skip("the stand-in counts whether it is active in one number, for one thread")
    one = backend_of(kind)
    names = [*RUNS, "adam"]  # one of them twice: the same seed at the same time
    alone = {name: train(name, kind, one) for name in RUNS}
    barrier = threading.Barrier(len(names))

    def work(name):
        try:
            barrier.wait()
            return train(name, kind, one if shared else backend_of(kind), barrier.wait)
        except BaseException:
            barrier.abort()  # or the others would wait for ever
            raise

    with ThreadPoolExecutor(len(names)) as pool:
        together = list(pool.map(work, names))
    for name, found in zip(names, together, strict=True):
        assert found == alone[name], name


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_one_network_predicts_in_many_threads(kind):
    rng = np.random.default_rng(0)
    net = xn.Network(
        [xn.Linear(30), xn.BatchNorm(), xn.ReLU(), xn.Linear(3)],
        loss="softmax_cross_entropy",
        n_features=12,
        device=backend_of(kind),
    )
    inputs = [rng.standard_normal((n, 12)) for n in (1, 7, 500, 9000, 33, 7)]
    alone = [net.predict_proba(X).tobytes() for X in inputs]
    barrier = threading.Barrier(len(inputs))

    def work(X):
        barrier.wait()
        return [net.predict_proba(X).tobytes() for _ in range(5)]

    with ThreadPoolExecutor(len(inputs)) as pool:
        for found, expected in zip(pool.map(work, inputs), alone, strict=True):
            assert found == [expected] * 5


def _in_process(job):
    name, kind = job
    return os.getpid(), train(name, kind)


def check_processes(method, kind):
    """Check that workers give what this process gives."""
    alone = {name: train(name, kind) for name in RUNS}  # so what is forked has run before
    jobs = [(name, kind) for name in [*RUNS, "adam"]]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found = list(pool.map(_in_process, jobs))
    assert os.getpid() not in {pid for pid, _ in found}
    for (name, _), (_, bits) in zip(jobs, found, strict=True):
        assert bits == alone[name], name


def check_fork(kind):
    """Check that a forked child goes on with a trainer, and its parent as if there was no child."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 5)), rng.integers(3, size=100)

    def begin():
        net = xn.Network(
            [xn.Linear(8), xn.Tanh(), xn.Linear(3)],
            loss="softmax_cross_entropy",
            n_features=5,
            device=backend_of(kind),
        )
        trainer = xn.Trainer(net)
        trainer.fit(X, y, batch_size=20, epochs=1)
        return trainer

    def go_on(trainer):
        trainer.fit(X, y, batch_size=20, epochs=3)
        return b"".join(array.tobytes() for array in trainer.network.state().values())

    expected = go_on(begin())
    trainer = begin()
    context = multiprocessing.get_context("fork")
    theirs, ours = context.Pipe(duplex=False)
    child = context.Process(target=lambda: ours.send_bytes(go_on(trainer)))
    child.start()
    ours.close()  # so that a child's early end is heard of
    mine = go_on(trainer)
    found = theirs.recv_bytes()
    child.join()
    assert child.exitcode == 0
    assert mine == expected
    assert found == expected


def fresh(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter, into which no other test has brought threads of its own."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", f"from test_workers import *\n{code}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_processes_give_what_one_gives(method, kind):
    backend_of(kind)
    if method == "fork":
        assert fresh(f"check_processes('fork', {kind!r}); print('done')") == "done\n"
    else:
        check_processes(method, kind)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_parent_and_forked_child_train_on_apart(kind):
    backend_of(kind)
    assert fresh(f"check_fork({kind!r}); print('done')") == "done\n"


@pytest.mark.slow
def test_a_process_of_another_hash_seed_gives_the_same():
    """Nothing hangs on the order of a set, or on what else a process has done."""
    code = (
        "import hashlib; found = train('adam', 'numpy');"
        "print(hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest())"
    )
    assert fresh(code, PYTHONHASHSEED="0") == fresh(code, PYTHONHASHSEED="12345")
