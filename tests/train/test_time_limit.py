"""A fit that ends when its time is up."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.train import time_limit


@pytest.fixture
def clock(monkeypatch):
    """Move the clock on by a second with each look at it."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: float(next(ticks)))


def trainer(members=None):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, device="cpu",
                     members=members)  # fmt: skip
    return xn.Trainer(net)


def data(n=40):
    X = np.random.default_rng(0).normal(size=(n, 2))
    return X, X.sum(axis=1)


@pytest.mark.parametrize("members", [None, 3])
def test_it_ends_after_the_first_step_that_is_over_time(clock, members):
    one = trainer(members)
    history = one.fit(*data(), batch_size=10, epochs=100, callbacks=[xn.TimeLimit(6.0)])
    assert one.steps == 7  # from the end of the first one on there are 6 s
    assert history.stopped
    assert history.reason == "the time of 6 s is up"
    assert len(history) == 2


def test_each_fit_has_all_of_it(clock):
    one, limit = trainer(), xn.TimeLimit(3.0)
    for fits in (1, 2):
        one.fit(*data(), batch_size=10, epochs=100, callbacks=[limit])
        assert one.steps == 4 * fits


def test_enough_time_changes_nothing(clock):
    one, other = trainer(), trainer()
    one.fit(*data(), batch_size=10, epochs=5, callbacks=[xn.TimeLimit(1e6)])
    other.fit(*data(), batch_size=10, epochs=5)
    assert not one.history.stopped
    np.testing.assert_array_equal(one.network.parameters, other.network.parameters)


def test_the_best_epoch_is_kept_of_those_that_there_was_time_for(clock):
    one, stopping = trainer(), xn.EarlyStopping(100)
    callbacks = [xn.TimeLimit(9.0), stopping]
    one.fit(*data(), batch_size=10, epochs=99, validation_data=data(20), callbacks=callbacks)
    losses = one.history["dev_loss"]
    assert stopping.best_epoch == 1 + int(np.argmin(losses))
    measured = one.network.evaluate(*data(20))["loss"]
    assert measured == pytest.approx(min(losses))


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_time(seconds):
    with pytest.raises(ValueError, match="seconds is"):
        xn.TimeLimit(seconds)


def test_no_number():
    with pytest.raises(TypeError, match="seconds is '9'"):
        xn.TimeLimit("9")
