"""Early stopping and averages of the weights: when, which weights, and what they leave alone."""

import numpy as np
import pytest

import xpnet as xn


def make(device, **options):
    """Return a small network with statistics, and data that it can't learn by heart at once."""
    net = xn.Network(
        [xn.Linear(8), xn.BatchNorm(), xn.Tanh(), xn.Linear(1)],
        loss="sigmoid_cross_entropy",
        n_features=3,
        device=device,
        dtype="float64",
        **options,
    )
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    return net, X, (X[:, 0] + rng.normal(size=40) > 0) * 1


def state(net):
    return np.concatenate([net.backend.to_host(a) for a in (net.parameters, net.statistics)])


class Told(xn.Callback):
    """Gives each epoch a development loss out of a list, and keeps the weights it belongs to."""

    def __init__(self, losses):
        self.losses, self.states = losses, []

    def on_epoch_end(self, trainer, row):
        row["dev_loss"] = self.losses[len(self.states)]
        self.states.append(state(trainer.network))


class Steps(xn.Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        self.states = []

    def on_step_end(self, trainer, n):
        self.states.append(state(trainer.network))


def fit(net, X, y, callbacks, epochs, **options):
    trainer = xn.Trainer(net, xn.Adam(0.05))
    options = {"batch_size": 10, "validation_data": (X[:20], y[:20])} | options
    return trainer.fit(X, y, epochs=epochs, callbacks=callbacks, **options)


# -- steps of their own ----


class OwnStep(xn.Callback):
    """Makes a step on other data, after some of the fit's."""

    def __init__(self, data, after):
        self.data, self.after, self.made = data, after, 0

    def on_step_end(self, trainer, n):
        self.made += 1
        if self.made in self.after:
            trainer.step(*self.data)


@pytest.mark.parametrize("after", [(1,), (3,), (1, 2, 5)])
def test_a_callback_s_own_step_leaves_the_batches_as_they_are(device, after):
    net, X, y = make(device)
    other, _, _ = make(device)
    own = X[:7] + 1, y[:7]
    trainer, same = (xn.Trainer(each, xn.Adam(0.05)) for each in (net, other))
    options = {"batch_size": 12, "epochs": 2, "shuffle": False}
    history = trainer.fit(X, y, callbacks=[OwnStep(own, after)], **options)
    made, to_host = 0, device.to_host
    for loss in history["train_loss"]:
        losses, sizes = [], []
        for start in range(0, 40, 12):
            batches = [(X[start : start + 12], y[start : start + 12])]
            made += 1
            if made in after:
                batches.append(own)
            losses += [to_host(same.step(*batch)) for batch in batches]
            sizes += [len(batch[0]) for batch in batches]
        assert loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-9)
    np.testing.assert_allclose(state(net), state(other), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("after", [(1,), (4,), (1, 2, 3, 4, 5)])
def test_a_callback_s_own_step_leaves_the_schedule_of_the_epochs_alone(after):
    net, X, y = make("cpu")
    table = [0.1, 0.01]  # who asks for a third epoch gets an error
    for rate in (xn.Piecewise(0.1, (1,), (0.01,)), lambda step, epoch: table[int(epoch)]):
        trainer = xn.Trainer(net.clone(), xn.SGD(rate))
        own = [OwnStep((X[:7], y[:7]), after)]
        history = trainer.fit(X, y, batch_size=10, epochs=2, callbacks=own)
        assert history["learning_rate"] == table
        assert trainer.steps == 8 + len(after)


def test_an_average_takes_in_steps_that_are_stepped_over():
    net, X, y = make("cpu")
    average = xn.WeightAverage(xn.SimpleMovingAverage(100), every=2)
    own = OwnStep((X[:7], y[:7]), range(100))
    xn.Trainer(net, xn.SGD(0.01)).fit(X, y, batch_size=4, callbacks=[average, own], epochs=1)
    # It looks after steps 1, 3, …, 19.
    assert average.parameters.count == 9


# -- early stopping ----


@pytest.mark.parametrize(
    ("losses", "options", "best", "stopped"),
    [
        ([5, 4, 3, 4, 4, 4], {"patience": 3}, 3, 6),
        ([5, 4, 3, 4, 4, 2, 3, 3, 3], {"patience": 3}, 6, 9),
        ([5, 4, 3, 4], {"patience": 1}, 3, 4),
        ([5, 5, 5], {"patience": 2}, 1, 3),  # no worse is no better
        ([5, 4.6, 4.2, 3.8, 3.9], {"patience": 4, "min_improvement": 0.5}, 3, None),
        ([5, 4.6, 4.2, 3.8, 3.9], {"patience": 2, "min_improvement": 1.0}, 1, 3),
        ([5, 4, 3, 2, 1], {"patience": 2}, 5, None),
        ([5, 4, 6], {"patience": 2}, 2, None),
        ([float("inf"), float("nan"), 7, 8, 9], {"patience": 2}, 3, 5),
    ],
)
def test_it_stops_after_its_patience_and_brings_the_best_back(
    device, losses, options, best, stopped
):
    net, X, y = make(device)
    told, stopping = Told(losses), xn.EarlyStopping(**options)
    history = fit(net, X, y, [told, stopping], epochs=len(losses))
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, stopped)
    assert stopping.best == losses[best - 1]
    assert len(history) == (stopped or len(losses))
    np.testing.assert_array_equal(state(net), told.states[best - 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("restore_best", [True, False])
def test_a_figure_that_is_never_finite_chooses_nothing(device, value, restore_best):
    net, X, y = make(device)
    told, stopping = Told([value] * 9), xn.EarlyStopping(2, restore_best=restore_best)
    with pytest.warns(UserWarning, match="dev_loss was NaN or infinite in every epoch: the last w"):
        history = fit(net, X, y, [told, stopping], epochs=9)
    assert (stopping.best_epoch, stopping.best, len(history)) == (0, float("inf"), 3)
    assert history.reason == "no finite dev_loss"
    np.testing.assert_array_equal(state(net), told.states[-1])


@pytest.mark.parametrize("place", range(4))
def test_nan_is_never_the_best(device, place):
    losses = [3.0, 2.0, 4.0]
    losses.insert(place, float("nan"))
    net, X, y = make(device)
    told, stopping = Told(losses), xn.EarlyStopping(4)
    fit(net, X, y, [told, stopping], epochs=4)
    assert stopping.best == 2.0
    np.testing.assert_array_equal(state(net), told.states[losses.index(2.0)])


def of_values(device):
    """Return a network for a regression."""
    return xn.Network(
        [xn.Linear(1)], loss="mean_squared_error", n_features=3, device=device, dtype="float64"
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1])
@pytest.mark.parametrize("n", [1, 7])
def test_an_error_that_is_not_defined_is_refused_before_anything_is_trained(device, value, n):
    """Of values that are all the same there is no variance to explain."""
    _, X, y = make(device)
    net, dev = of_values(device), (X[:n], np.full(n, value))
    before = state(net)
    with pytest.raises(ValueError, match="watches 'dev_error', and all values that it is measured"):
        fit(net, X, y, [xn.EarlyStopping(monitor="dev_error")], epochs=2, validation_data=dev)
    with pytest.raises(ValueError, match=r"watches 'train_error', and .* or watch a loss"):
        fit(net, X, y, [xn.EarlyStopping(monitor="train_error")], epochs=2, monitor=1)
    np.testing.assert_array_equal(state(net), before)
    history = fit(net, X, y, [xn.EarlyStopping()], epochs=2, validation_data=dev)
    assert history.undefined == ("dev_error",)
    assert np.isnan(history["dev_error"]).all()
    assert np.isfinite(history["dev_loss"]).all()


def test_errors_of_classes_are_always_defined(device):
    net, X, _ = make(device)
    stopping = xn.EarlyStopping(monitor="dev_error")
    dev = X[:3], np.zeros(3)
    history = fit(net, X, (X[:, 0] > 0) * 1, [stopping], epochs=2, validation_data=dev)
    assert (history.undefined, stopping.best) == ((), min(history["dev_error"]))


def test_it_says_why_it_stopped(device):
    net, X, y = make(device)
    history = fit(net, X, y, [Told([1, 2, 3, 4]), xn.EarlyStopping(2)], epochs=4)
    assert history.stopped
    assert history.reason == "no better dev_loss since epoch 1"


def test_it_may_leave_the_last_weights(device):
    net, X, y = make(device)
    told = Told([1, 2, 3])
    fit(net, X, y, [told, xn.EarlyStopping(2, restore_best=False)], epochs=3)
    np.testing.assert_array_equal(state(net), told.states[-1])


def test_the_best_comes_back_however_the_fit_ends(device):
    net, X, y = make(device)
    told = Told([3, 1, 2])

    def interrupt(trainer, row):
        if row["epoch"] == 3:
            trainer.stop("enough")

    history = fit(net, X, y, [told, interrupt, xn.EarlyStopping(9)], epochs=20)
    assert (len(history), history.reason) == (3, "enough")
    np.testing.assert_array_equal(state(net), told.states[1])


def test_the_best_comes_back_when_the_loss_diverges(device):
    net, X, y = make(device)
    told = Told([3, 1, 2, 4, 5])
    trainer = xn.Trainer(net, xn.SGD(xn.Piecewise(0.1, (4,), (1e300,))))
    with pytest.raises(xn.DivergedError, match="Early stopping brought those of epoch 2 back"):
        trainer.fit(
            X, y, batch_size=10, epochs=20, validation_data=(X, y),
            callbacks=[told, xn.EarlyStopping(9)],
        )  # fmt: skip
    np.testing.assert_array_equal(state(net), told.states[1])


def test_a_loss_that_diverges_at_once_has_no_best(device):
    net, X, y = make(device)
    trainer = xn.Trainer(net, xn.SGD(1e300))
    with pytest.raises(xn.DivergedError) as found:
        trainer.fit(
            X, y, batch_size=10, epochs=2, validation_data=(X, y), callbacks=[xn.EarlyStopping(9)]
        )
    assert "Early stopping" not in str(found.value)


def test_each_fit_begins_anew(device):
    net, X, y = make(device)
    stopping = xn.EarlyStopping(2)
    fit(net, X, y, [Told([1, 2, 3]), stopping], epochs=3)
    told = Told([9, 8, 7])
    fit(net, X, y, [told, stopping], epochs=3)
    assert (stopping.best, stopping.stopped_epoch) == (7, None)
    np.testing.assert_array_equal(state(net), told.states[-1])


@pytest.mark.parametrize("monitor", ["dev_loss", "dev_error", "train_loss", "train_error"])
def test_it_watches_what_is_measured(device, monitor):
    net, X, y = make(device)
    stopping = xn.EarlyStopping(3, monitor)
    history = fit(net, X, y, [stopping], epochs=8)
    assert stopping.best == min(history[monitor])
    assert stopping.best_epoch == 1 + int(np.argmin(history[monitor]))


@pytest.mark.parametrize(
    ("monitor", "options", "message"),
    [
        ("dev_loss", {"validation_data": None}, "give validation_data"),
        (
            "train_error",
            {"monitor": 0},
            "watches 'train_error', and .* measures train_loss, d",
        ),
        ("accuracy", {}, "watches 'accuracy'"),
        ("dev_accuracy", {}, r"measures [a-z_, ]+: give it as one of metrics$"),
        ("epoch", {}, "watches 'epoch'"),
    ],
)
def test_what_is_not_measured_is_refused_before_anything_is_trained(
    device, monitor, options, message
):
    net, X, y = make(device)
    before = state(net)
    with pytest.raises(ValueError, match=message):
        fit(net, X, y, [xn.EarlyStopping(monitor=monitor)], epochs=2, **options)
    np.testing.assert_array_equal(state(net), before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, ValueError, "patience is 0: give 1 or more"),
        ({"patience": 1.5}, TypeError, "patience is 1.5"),
        ({"min_improvement": -1}, ValueError, "min_improvement is -1"),
    ],
)
def test_bad_options_of_early_stopping(options, error, message):
    with pytest.raises(error, match=message):
        xn.EarlyStopping(**options)


# -- averages of the weights ----


@pytest.mark.parametrize(
    "average", [xn.ExponentialMovingAverage(0.9), xn.SimpleMovingAverage(3), None]
)
def test_after_a_fit_the_network_holds_the_average_of_its_weights(device, average):
    net, X, y = make(device)
    steps = Steps()
    fit(net, X, y, [steps, xn.WeightAverage(average)], epochs=3)
    expected = (
        xn.ExponentialMovingAverage(0.999)
        if average is None
        else type(average)(*([3] if isinstance(average, xn.SimpleMovingAverage) else [0.9]))
    )
    for weights in steps.states:
        expected.update(weights)
    assert len(steps.states) == 12
    np.testing.assert_allclose(state(net), expected.value, rtol=1e-12)
    assert not np.allclose(state(net), steps.states[-1], rtol=1e-3)


def test_training_goes_on_with_the_weights_themselves(device):
    runs = []
    for more in ([], [xn.WeightAverage(xn.ExponentialMovingAverage(0.5))]):
        net, X, y = make(device)
        steps = Steps()
        fit(net, X, y, [*more, steps], epochs=3)
        runs.append(np.array(steps.states))
    np.testing.assert_array_equal(*runs)


def test_the_average_is_what_is_judged(device):
    net, X, y = make(device)
    history = fit(net, X, y, [xn.WeightAverage()], epochs=3)
    assert net.evaluate(X[:20], y[:20])["loss"] == pytest.approx(history["dev_loss"][-1], rel=1e-14)


def test_early_stopping_keeps_the_average_of_the_best_epoch(device):
    net, X, y = make(device)
    told, average = Told([3, 1, 2, 2]), xn.WeightAverage(xn.ExponentialMovingAverage(0.8))
    fit(net, X, y, [told, xn.EarlyStopping(2), average], epochs=4)
    np.testing.assert_array_equal(state(net), told.states[1])
    assert not np.array_equal(state(net), told.states[3])


def test_it_may_look_at_some_steps_alone(device):
    net, X, y = make(device)
    steps = Steps()
    average = xn.WeightAverage(xn.SimpleMovingAverage(100), every=5)
    fit(net, X, y, [steps, average], epochs=3)
    assert average.parameters.count == 2
    np.testing.assert_allclose(state(net), np.mean([steps.states[4], steps.states[9]], axis=0))


def test_before_its_first_look_it_leaves_the_weights_alone(device):
    net, X, y = make(device)
    steps = Steps()
    with pytest.warns(UserWarning, match="fewer than 1000 steps: no weights were averaged"):
        fit(net, X, y, [steps, xn.WeightAverage(every=1000)], epochs=2)
    np.testing.assert_array_equal(state(net), steps.states[-1])


def test_each_fit_has_an_average_of_its_own(device):
    net, X, y = make(device)
    average = xn.WeightAverage(xn.SimpleMovingAverage(1000))
    fit(net, X, y, [average], epochs=2)
    steps = Steps()
    fit(net, X, y, [steps, average], epochs=2)
    np.testing.assert_allclose(state(net), np.mean(steps.states, axis=0), rtol=1e-12)


def test_averaging_costs_no_transfer_and_no_upload(strict):
    costs = []
    for callbacks in ([], [xn.WeightAverage()]):
        net, X, y = make(strict)
        before = strict.transfers, strict.uploads
        fit(net, X, y, callbacks, epochs=3)
        costs.append((strict.transfers - before[0], strict.uploads - before[1]))
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"average": 0.9}, TypeError, "average is 0.9: give one as ExponentialMovingAverage"),
        ({"every": 0}, ValueError, "every is 0"),
    ],
)
def test_bad_options_of_averaging(options, error, message):
    with pytest.raises(error, match=message):
        xn.WeightAverage(**options)
