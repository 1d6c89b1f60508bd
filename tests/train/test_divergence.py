"""Trainings that diverge: where it began is told; clipped gradients, against it."""

import math
import re

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
import xpnet.train.divergence
from xpnet.backends.select import select
from xpnet.data.batches import Batches

X = np.random.default_rng(0).standard_normal((90, 4))
Y = X @ np.array([1.0, -2.0, 0.5, 3.0])


def trainer(device, layers=None, optimizer=None, **options):
    layers = layers or [xn.Linear(5), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device=device)
    return xn.Trainer(net, optimizer or xn.SGD(1e-3), **options)


def diverge(ours, x=X, y=Y, **options):
    options = {"batch_size": 10, "epochs": 20, **options}
    with pytest.raises(xn.DivergedError) as raised:
        ours.fit(x, y, **options)
    return raised.value


@pytest.mark.parametrize(
    ("layer", "name", "value", "where"),
    [
        (0, "weight", 3e38, r"in the output of layer [01] \((Linear|ReLU)\), in step 1"),
        (2, "weight", 3e38, r"in the output of layer 2 \(Linear\), in step 1"),
        (2, "bias", 1e30, "in the loss, in step 1"),
        (2, "bias", np.inf, r"in the bias of layer 2 \(Linear\), by the update of step 0"),
    ],
    ids=["first layer", "last layer", "loss", "bias"],
)
def test_where_it_began_is_told(device, layer, name, value, where):
    ours = trainer(device)
    with device.active():
        ours.network.layers[layer].parameters[name][...] = value
        if layer == 0:  # one of two units is positive, which no ReLU hides
            ours.network.layers[layer].parameters[name][1] = -value
    error = diverge(ours)
    message = rf"in epoch 1, step 1 \(first {where}\); the weights are back at those of step 0"
    assert re.search(message, str(error)), str(error)


def test_a_gradient_may_be_where_it_began(device):
    class Steep(xn.Tanh):
        def backward(self, dy, b):
            dy *= 3e38
            dy *= 3e38
            return dy

    layers = [xn.Linear(5), Steep(), xn.Linear(1)]
    error = diverge(trainer(device, layers))
    assert error.step == 2
    assert "(first in the gradient of layer 1 (Steep), in step 1)" in str(error)


@pytest.mark.parametrize("epochs_before", [0, 3])
def test_an_update_may_be_where_it_began(device, epochs_before):
    ours = trainer(device, optimizer=xn.SGD(xn.Piecewise(1e-3, (epochs_before + 1,), (1e38,))))
    if epochs_before:
        ours.fit(X, Y, batch_size=10, epochs=epochs_before)
    error = diverge(ours)
    assert f"of step {9 * (epochs_before + 1) + 1})" in str(error) or "in step" in str(error)
    assert "(first in " in str(error)
    assert ours.steps == error.good_step


def test_what_was_found_does_not_depend_on_the_last_good_state(device):
    """The state may be from an epoch before; the steps since are made again."""
    found = []
    for cut in (4, 9):  # batches in an epoch: 100 steps are many epochs, or few
        size = len(X) // cut
        rate = xn.Piecewise(1e-3, (21,), (1e20,))
        ours = trainer(device, optimizer=xn.SGD(rate))
        error = diverge(ours, batch_size=size, epochs=40)
        assert "(first in" in str(error)
        assert error.step > 21 * (len(X) // size)
        assert error.step - error.good_step <= 101
        found.append(str(error))
    assert len(found) == 2


def test_steps_that_can_t_be_made_again_are_not_searched(device):
    """A rate that a callback set is no function of the step."""
    ours = trainer(device, optimizer=xn.SGD(1e-3))

    def leap(trainer, row):
        if row["epoch"] == 3:
            trainer.learning_rate = 1e30

    with pytest.raises(xn.DivergedError) as raised:
        ours.fit(X, Y, batch_size=10, epochs=20, callbacks=[leap])
    assert raised.value.step > 27
    assert "(first" not in str(raised.value)


@pytest.mark.parametrize(("after", "told"), [(1, True), (12, True), (100, False), (107, False)])
def test_a_step_on_other_data_can_t_be_made_again(device, after, told):
    """What diverges is step 119, and the last good state that of step 100."""

    class OwnStep(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == after:
                trainer.step(X[:5], Y[:5])

    ours = trainer(device, optimizer=xn.SGD(xn.Piecewise(1e-3, (118,), (1e30,), per="step")))
    with pytest.raises(xn.DivergedError) as raised:
        ours.fit(X, Y, batch_size=10, epochs=20, callbacks=[OwnStep()])
    assert (raised.value.step, raised.value.good_step) == (120, 100)
    assert ("(first in the output of layer 2 (Linear), in step 120)" in str(raised.value)) == told


def test_the_batches_of_before_are_found_after_a_step_on_other_data(monkeypatch):
    class OwnStep(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 95:
                trainer.step(X[:5], Y[:5])

    def gather(self, *arguments):
        batch = original(self, *arguments)
        seen.append(batch[1].item())
        return batch

    original, seen = Batches.gather, []
    monkeypatch.setattr(Batches, "gather", gather)
    ours = trainer(select("cpu"), optimizer=xn.SGD(xn.Piecewise(1e-3, (109,), (1e30,), per="step")))
    error = diverge(ours, batch_size=1, callbacks=[OwnStep()])
    assert (error.step, error.good_step) == (111, 100)
    before, since = seen[: 111 - 1], seen[111 - 1 :]
    # Each is gathered twice: layer by layer, and for the step.
    assert since[::2] == before[99:][: len(since[::2])]
    assert since[1::2] == before[99:][: len(since[1::2])]
    assert len(since) > 10


def test_a_divergence_is_looked_into_in_the_fit_after_one_with_other_steps():
    class OwnStep(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 107:
                trainer.step(X[:5], Y[:5])

    rate = xn.Piecewise(1e-3, (118,), (1e30,), per="step")
    ours = trainer("cpu", optimizer=xn.SGD(rate))
    assert "(first in" not in str(diverge(ours, callbacks=[OwnStep()]))
    assert ours.steps == 100
    assert "(first in the output of layer 2 (Linear), in step 120)" in str(diverge(ours))


def test_a_divergence_in_the_first_of_a_callback_s_own_steps_asks_for_no_epoch_before_0():
    class OwnSteps(xn.Callback):
        def on_step_end(self, trainer, n):
            for _ in range(5):
                trainer.step(np.full((3, 4), 1e30), Y[:3])

    rate = xn.SGD(lambda step, epoch: 1e-3 / (1 + math.sqrt(epoch)))
    error = diverge(trainer("cpu", optimizer=rate), callbacks=[OwnSteps()])
    assert (error.step, error.good_step) == (2, 0)


@pytest.mark.parametrize("at", [9, 99, 100, 101])
def test_an_infinite_loss_between_epochs_ends_the_fit(device, at):
    """Be it where weights are put by: those with an infinite loss are not."""

    class OwnStep(xn.Callback):
        def on_epoch_end(self, trainer, row):
            self.kept = trainer.network.parameters.copy()
            if trainer.steps + 1 > at:
                trainer.step(np.full((3, 4), 1e30), Y[:3])

    class Kept(xn.Callback):
        def on_fit_begin(self, trainer, batches, epochs):
            self.weights = {trainer.steps: trainer.network.parameters.copy()}

        def on_step_end(self, trainer, n):
            self.weights[trainer.steps] = trainer.network.parameters.copy()

    ours, kept = trainer(device, [xn.Linear(1)]), Kept()
    with device.active():
        error = diverge(ours, X[:50], Y[:50], batch_size=5, callbacks=[kept, OwnStep()])
        expected = device.to_host(kept.weights[error.good_step])
    assert error.good_step == ours.steps
    assert error.step == -(-at // 10) * 10 + 1
    np.testing.assert_array_equal(device.to_host(ours.network.parameters), expected)


def test_ctrl_c_in_the_search_leaves_the_good_state(device, monkeypatch):
    def press(*arguments):
        if found:
            raise KeyboardInterrupt
        found.append(original(*arguments))
        return found[-1]

    original, found = xpnet.train.divergence._weights, []
    ours = trainer(device, optimizer=xn.SGD(1e30))
    before = np.array(device.to_host(ours.network.parameters))
    monkeypatch.setattr(xpnet.train.divergence, "_weights", press)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, Y, batch_size=10, epochs=9)
    assert ours.steps == 0
    np.testing.assert_array_equal(device.to_host(ours.network.parameters), before)


def test_the_weights_are_those_of_the_good_step(device):
    rate = xn.Piecewise(1e-3, (12,), (1e30,))
    ours, same = (trainer(device, optimizer=xn.SGD(rate)) for _ in range(2))
    error = diverge(ours)
    epochs, rest = divmod(error.good_step, 9)
    assert rest == 1
    same.fit(X, Y, batch_size=10, epochs=epochs)

    class Stop(xn.Callback):
        def on_step_end(self, trainer, n):
            trainer.stop()

    same.fit(X, Y, batch_size=10, epochs=1, callbacks=[Stop()])
    to_host = ours.backend.to_host
    np.testing.assert_array_equal(
        to_host(ours.network.parameters), to_host(same.network.parameters)
    )


def test_it_goes_on_at_a_smaller_rate(device):
    ours = trainer(device, optimizer=xn.SGD(1e30))
    diverge(ours)
    ours.learning_rate = 1e-2
    history = ours.fit(X, Y, batch_size=10, epochs=10)
    assert history["train_loss"][-1] < history["train_loss"][0]


# -- clipping ----


@pytest.mark.parametrize("limit", [0.5, 3.0, 1e6])
def test_a_clipped_gradient_is_pytorch_s(device, limit):
    torch = pytest.importorskip("torch")
    ours = trainer(device, [xn.Linear(3), xn.Tanh(), xn.Linear(1)], xn.SGD(0.1), clip_norm=limit)
    net = ours.network
    layers = torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)
    theirs = torch.nn.Sequential(*layers).float()
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in net.state().items()})
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for i in range(20):
        x, y = X[i : i + 10].astype("f4"), Y[i : i + 10, None].astype("f4")
        ours.step(x, y)
        optimizer.zero_grad()
        ((theirs(torch.from_numpy(x)) - torch.from_numpy(y)) ** 2).mean().backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), limit)
        optimizer.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(net.state()[name], value.numpy(), rtol=2e-4, atol=1e-5)


def test_the_l2_term_is_clipped_too(device):
    ours = trainer(device, [xn.Linear(1)], xn.SGD(1.0), l2=1e6, clip_norm=0.25)
    before = np.array(device.to_host(ours.network.parameters))
    ours.step(X[:10], Y[:10])
    moved = device.to_host(ours.network.parameters) - before
    assert np.linalg.norm(moved) == pytest.approx(0.25, rel=1e-4)


def test_each_of_several_networks_is_clipped_by_itself(device):
    net = xn.Network(
        [xn.Linear(1)], loss="mean_squared_error", n_features=4, device=device, members=3
    )
    with device.active():
        net.parameters[...] = device.asarray(np.array([[1e-3], [1.0], [1e3]]) * np.ones(5), "f4")
    before = np.array(device.to_host(net.parameters))
    xn.Trainer(net, xn.SGD(1.0), clip_norm=0.5).step(X[:10], Y[:10])
    moved = np.linalg.norm(device.to_host(net.parameters) - before, axis=1)
    np.testing.assert_allclose(moved, 0.5, rtol=1e-3)


def test_clipping_keeps_a_training_that_would_explode():
    layers = [xn.Linear(30), xn.ReLU(), xn.Linear(30), xn.ReLU(), xn.Linear(1)]
    options = {"batch_size": 10, "epochs": 30}
    with pytest.raises(xn.DivergedError):
        trainer("cpu", layers, xn.SGD(0.05)).fit(X, 100 * Y, **options)
    kept = trainer("cpu", layers, xn.SGD(0.05), clip_norm=1.0).fit(X, 100 * Y, **options)
    assert kept["train_loss"][-1] < kept["train_loss"][0]


@pytest.mark.parametrize("scale", [1e15, 1e18, 1e25, 1e37])
def test_a_gradient_is_clipped_whose_squares_overflow(device, scale):
    ours = trainer(device, [xn.Linear(1)], xn.SGD(1.0), clip_norm=1.0)
    before = np.array(device.to_host(ours.network.parameters))
    ours.step(X[:10], Y[:10] * scale)
    moved = device.to_host(ours.network.parameters) - before
    assert np.linalg.norm(moved) == pytest.approx(1.0, rel=1e-4)


def test_a_gradient_that_is_not_finite_is_not_hidden(device):
    ours = trainer(device, [xn.Linear(1)], xn.SGD(1.0), clip_norm=1.0)
    with device.active():
        ours.network.parameters[...] = 3e38
    ours.step(X[:10], Y[:10])
    assert np.isnan(device.to_host(ours.network.parameters)).any()


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, np.inf, "1"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises((TypeError, ValueError), match="clip_norm"):
        trainer("cpu", clip_norm=limit)


def test_setting_it_between_steps_counts(strict):
    first, second = trainer(strict), trainer(select("cpu", fused=False))
    for ours in (first, second):
        for i in range(10):
            ours.clip_norm = None if i < 6 else 0.01
            ours.step(X[i : i + 10], Y[i : i + 10])
    assert isinstance(first.backend, StrictBackend)
    np.testing.assert_array_equal(
        strict.to_host(first.network.parameters), second.network.parameters
    )
