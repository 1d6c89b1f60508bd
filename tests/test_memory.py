"""Running out of memory: what is told, and that all goes on after it."""

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.backend import select, why_no_cuda

X = np.random.default_rng(0).standard_normal((4000, 12)).astype(np.float32)
Y = (X[:, 0] > 0) * 1


def trainer(backend, width=64):
    layers = [xn.Linear(width), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=12, device=backend)
    return xn.Trainer(net)


def test_a_batch_that_does_not_fit_is_told_and_a_smaller_one_trains():
    small = StrictBackend(memory=800_000)
    ours = trainer(small)
    before = np.array(small.to_host(ours.network.parameters))
    taken = small.taken
    message = (
        r"cuda:0 ran out of memory in training on batches of 4,000 examples "
        r"\(897 parameters, float32\): out of memory allocating [\d,]+ bytes. "
        r"Try a smaller batch_size, or dtype='float32'"
    )
    with pytest.raises(xn.OutOfMemoryError, match=message) as raised:
        ours.fit(X, Y, batch_size=4000, epochs=1)
    assert isinstance(raised.value, MemoryError)
    np.testing.assert_array_equal(small.to_host(ours.network.parameters), before)
    assert ours.steps == 0
    assert small.taken < taken + X.nbytes + 100_000
    ours.fit(X, Y, batch_size=100, epochs=1, monitor=0)
    assert ours.steps == 40


def test_a_single_step_that_does_not_fit():
    small = StrictBackend(memory=600_000)
    ours = trainer(small)
    with pytest.raises(xn.OutOfMemoryError, match="training on batches of 4,000 examples"):
        ours.step(X, Y)
    assert ours.steps == 0
    assert np.isfinite(float(ours.step(X[:50], Y[:50])))


def test_a_prediction_that_does_not_fit():
    small = StrictBackend(memory=300_000)
    net = trainer(small).network
    with pytest.raises(xn.OutOfMemoryError, match=r"memory in prediction: .* Try fewer examples"):
        net.predict(X)
    assert net.predict(X[:100]).shape == (100,)


def test_other_errors_are_as_they_were():
    ours = trainer(select("cpu"))

    def broken(trainer, row):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ours.fit(X, Y, epochs=1, callbacks=[broken])


@pytest.mark.skipif(why_no_cuda() is not None, reason=f"CUDA: {why_no_cuda()}")
def test_a_gpu_that_is_full():
    backend = select("cuda")
    ours = trainer(backend, width=2**20)
    x = np.zeros((2**20, 12), np.float32)  # a hidden layer would take 4 TB
    with pytest.raises(xn.OutOfMemoryError, match=r"batches of 1,048,576 examples .* allocating"):
        ours.step(x, np.arange(len(x)) % 2)
    assert np.isfinite(float(ours.step(X[:50], Y[:50])))
