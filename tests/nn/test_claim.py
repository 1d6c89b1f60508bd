"""A network is trained by one thread at a time: others are refused, and may predict."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import xpnet as xn
from xpnet.estimators.lbfgs import fit_lbfgs

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.integers(2, size=40)

REFUSED = "this network is being trained by another thread.*copy.deepcopy"


@pytest.fixture
def net():
    return xn.Network(
        [xn.Linear(5), xn.BatchNorm(), xn.Tanh(), xn.Linear(2)],
        loss="softmax_cross_entropy",
        n_features=3,
        dtype="float64",
        device="cpu",
    )


@pytest.fixture
def elsewhere():
    """Return what calls a function in another thread, and raises what it raises."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def fit(net, *callbacks):
    return xn.Trainer(net).fit(X, Y, batch_size=10, epochs=2, callbacks=callbacks)


def lbfgs(net):
    x, y = net.prepare(X, Y)
    fit_lbfgs(net, x, y, None, l2=0.0, max_iter=2, max_fun=5, tol=1e-4)


TRAINS = {
    "fit": fit,
    "step": lambda net: xn.Trainer(net).step(X, Y),
    "l-bfgs": lbfgs,
    "gradient check": lambda net: xn.check_gradients(net, X, Y),
    "gradient scales": lambda net: xn.gradient_scales(net, X, Y),
    "initialize": lambda net: net.initialize(),
    "load_state": lambda net: net.load_state(net.state()),
}


@pytest.mark.parametrize("other", TRAINS)
def test_during_a_fit_another_thread_is_refused(net, elsewhere, other):
    same = copy.deepcopy(net)
    fit(same)
    refused = []

    def attempt(trainer, row):
        with pytest.raises(RuntimeError, match=REFUSED):
            elsewhere(TRAINS[other], net)
        refused.append(row["epoch"])

    fit(net, attempt)
    assert refused == [1, 2]
    assert (net.parameters == same.parameters).all()
    elsewhere(TRAINS[other], net)


def test_a_trainer_is_for_one_thread_at_a_time(net, elsewhere):
    def attempt(trainer, row):
        for method in (trainer.step, trainer.fit):
            with pytest.raises(RuntimeError, match=REFUSED):
                elsewhere(method, X, Y)

    assert len(fit(net, attempt)["epoch"]) == 2


@pytest.mark.parametrize("other", TRAINS)
def test_during_a_step_another_thread_is_refused(net, elsewhere, other, monkeypatch):
    compute, refused = net.passes.loss_and_gradient, []

    def attempt(*arrays):
        with pytest.raises(RuntimeError, match=REFUSED):
            elsewhere(TRAINS[other], net)
        refused.append(True)
        return compute(*arrays)

    monkeypatch.setattr(net.passes, "loss_and_gradient", attempt)
    xn.Trainer(net).step(X, Y)
    assert refused == [True]


def test_meanwhile_other_threads_predict_and_train_copies(net, elsewhere):
    def others(trainer, row):
        assert elsewhere(net.predict, X).shape == (40,)
        assert set(elsewhere(net.evaluate, X, Y)) == {"loss", "error"}
        elsewhere(fit, copy.deepcopy(net))
        elsewhere(fit, net.clone())
        assert elsewhere(trainer.choose_batch_size, X, Y).batch_size

    fit(net, others)


@pytest.mark.parametrize("other", TRAINS)
def test_the_thread_itself_may_train_within(net, other):
    fit(net, lambda trainer, row: TRAINS[other](net))


def test_threads_may_take_turns(net, elsewhere):
    mine, other, alone = xn.Trainer(net), xn.Trainer(net), copy.deepcopy(net)
    for _ in range(3):
        mine.step(X, Y)
        elsewhere(other.step, X, Y)
    mine_alone, other_alone = xn.Trainer(alone), xn.Trainer(alone)
    for _ in range(3):
        mine_alone.step(X, Y)
        other_alone.step(X, Y)
    assert (net.parameters == alone.parameters).all()


def stop_by(error):
    def callback(trainer, row):
        raise error

    return callback


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=repr)
def test_a_fit_that_is_broken_off_lets_go_of_it(net, elsewhere, error):
    with pytest.raises(type(error)):
        fit(net, stop_by(error))
    elsewhere(fit, net)


def test_a_fit_that_diverges_lets_go_of_it(net, elsewhere):
    with pytest.raises(xn.DivergedError):
        xn.Trainer(net, xn.SGD(1e300)).fit(X, Y, batch_size=10, epochs=3)
    elsewhere(fit, net)


def test_a_step_that_is_refused_lets_go_of_it(net, elsewhere):
    with pytest.raises(ValueError, match="the network takes"):
        xn.Trainer(net).step(X[:, :2], Y)
    elsewhere(fit, net)
