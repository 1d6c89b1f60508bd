"""Checkpoints: nothing is lost, and a run that goes on ends with the bits of an undisturbed one."""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from strict import StrictBackend

import xpnet as xn
from ci.kills import Killer
from xpnet.backends.select import select
from xpnet.data.batches import Batches
from xpnet.files import atomic, checkpoint_folder
from xpnet.files.checkpoint_folder import HISTORY, pack, unpack
from xpnet.train import checkpoints, fit

#: 53 examples in batches of 10: 6 steps an epoch, the last one short.
N, STEPS = 53, 6


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N + 20, 4))
    y = (X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=N + 20) > 0) * 1
    return X, y


class Slope:
    """A user's own schedule."""

    def __call__(self, step, epoch):
        return 0.02 / (1 + 0.01 * step + 0.1 * epoch)


OPTIMIZERS = {
    "sgd": xn.SGD(xn.Exponential(0.1, decay=0.99, per="step")),
    "nesterov": xn.SGD(xn.Cosine(0.1, total=5), momentum=0.9, nesterov=True),
    "momentum": xn.Momentum(xn.Piecewise(0.1, (2, 4), (0.05, 0.02))),
    "rmsprop": xn.RMSProp(xn.InverseTime(0.01, decay=0.1, per="step")),
    "adam": xn.Adam(Slope()),
    "adam, constant": xn.Adam(0.01),
    "adamw": xn.AdamW(xn.Cosine(0.01, total=5), weight_decay=0.1),
    "adamw, scheduled": xn.AdamW(0.01, weight_decay=xn.LogCosine(0.1, total=5)),
    "nadam": xn.NAdam(0.01),
    "adagrad": xn.Adagrad(0.05),
    "lion": xn.Lion(xn.Exponential(0.003, decay=0.99, per="step"), weight_decay=0.3),
}


class Fit:
    """A training with all that has a state; made anew it is the same again."""

    def __init__(self, device="cpu", average=None, **options):
        self.options = {
            "layers": (8, xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), 5, xn.Tanh(), 1),
            "optimizer": OPTIMIZERS["adam"],
            "l2": 0.1,
            "dtype": "float32",
            "random_state": 3,
            "loss": "sigmoid_cross_entropy",
            "factors": {},
        } | options
        o = self.options
        layers = [xn.Linear(layer) if isinstance(layer, int) else layer for layer in o["layers"]]
        self.net = xn.Network(
            layers,
            loss=o["loss"],
            n_features=4,
            device=device,
            dtype=o["dtype"],
            random_state=o["random_state"],
        )
        self.trainer = xn.Trainer(self.net, o["optimizer"], o["l2"], **o["factors"])
        self.average = xn.WeightAverage(average or xn.ExponentialMovingAverage(0.9), every=2)
        self.stopping = xn.EarlyStopping(3)

    def __call__(self, epochs=5, more=(), **options):
        X, y = data()
        given = {
            "batch_size": 10,
            "epochs": epochs,
            "validation_data": (X[N:], y[N:]),
            "callbacks": [self.average, self.stopping, *more],
            "augmentation": xn.Augmentation([xn.GaussianNoise(0.1), xn.Mixup(0.2)]),
            "sample_weight": np.linspace(0.5, 2.0, N),
        }
        return self.trainer.fit(X[:N], y[:N], **(given | options))

    def bits(self):
        """Return all that a fit leaves, so that equal is equal to the last bit."""
        trainer, to_host = self.trainer, self.trainer.backend.to_host
        arrays = [self.net.parameters, self.net.statistics, *trainer.moments]
        arrays += trainer.update_step.rollback.copies
        with trainer.backend.active():
            arrays += [a.value for a in (self.average.parameters, self.average.statistics)]
        history = trainer.history
        own = [c for c in history.columns if c not in ("seconds", "samples_per_second")]
        return {
            "arrays": [to_host(array).tobytes() for array in arrays],
            "rows": [{c: row[c] for c in own} for row in history.rows],
            "history": (history.stopped, history.reason, history.batch_size, history.columns),
            "counters": (trainer.steps, trainer.epochs, trainer.learning_rate),
            "stopping": (self.stopping.best, self.stopping.best_epoch, self.stopping.stopped_epoch),
        }


class Crash(xn.Callback):
    """Ends the process, so to speak, after a step."""

    class Error(Exception):
        pass

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            raise self.Error


class Interrupt(xn.Callback):
    """Interrupts a fit after a step, as Ctrl-C does."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            trainer.interrupt()


def crash(fit, step, **options):
    with fit.trainer.backend.active(), pytest.raises(Crash.Error):
        fit(more=[Crash(step)], **options)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def steps(folder):
    return [int(name[5:14]) for name in names(folder) if name != HISTORY]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


# -- the same bits ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_fit_that_goes_on_ends_with_the_same_bits(device, folder, optimizer):
    def make():
        return Fit(device, optimizer=OPTIMIZERS[optimizer])

    whole = make()
    whole()
    crash(make(), 16, checkpoint=xn.Checkpoints(folder, every=4))
    # Once more: cut off again, by an interruption in the same epoch.
    again = make()
    again(more=[Interrupt(17)], checkpoint=xn.Checkpoints(folder, every=4), resume=True)
    assert again.trainer.steps == 17
    last = make()
    last(checkpoint=xn.Checkpoints(folder, every=4), resume=True)
    assert last.bits() == whole.bits()


@pytest.mark.parametrize("p", [xn.Cosine(0.5, total=5), xn.Exponential(0.5, 0.9, per="step")])
def test_dropout_on_a_schedule_goes_on_with_the_same_bits(device, folder, p):
    layers = (xn.Dropout(p), 8, xn.BatchNorm(), xn.ReLU(), xn.Dropout(p), 1)
    whole, resumed = Fit(device, layers=layers), Fit(device, layers=layers)
    whole()
    crash(Fit(device, layers=layers), 16, checkpoint=xn.Checkpoints(folder, every=4))
    resumed(checkpoint=xn.Checkpoints(folder, every=4), resume=True)
    assert resumed.bits() == whole.bits()
    other = Fit(device, layers=(xn.Dropout(0.5), *layers[1:]))
    with pytest.raises(ValueError, match=r"layers\[0\].p is 0.5 here and {.*} in the checkpoint"):
        other(checkpoint=xn.Checkpoints(folder, every=4), resume=True)


def test_a_fit_with_factors_that_goes_on_ends_with_the_same_bits(device, folder):
    def make(bias=0.1):
        layers = (xn.Linear(8, parametrization="ntk"), xn.Dropout(0.3), xn.Tanh(), 1)
        factors = {"rate_factors": {"*.bias": bias}, "decay_factors": {"*.bias": 1.0}}
        return Fit(device, layers=layers, optimizer=OPTIMIZERS["adamw"], factors=factors)

    whole = make()
    whole()
    crash(make(), 16, checkpoint=xn.Checkpoints(folder, every=4))
    with pytest.raises(ValueError, match=r"factors\.0\.bias\.rate is 0\.2 here and 0\.1 in the"):
        make(0.2)(checkpoint=folder, resume=True)
    last = make()
    last(checkpoint=xn.Checkpoints(folder, every=4), resume=True)
    assert last.bits() == whole.bits()


@pytest.mark.parametrize("device", ["lagging"], indirect=True)
def test_a_host_that_lags_behind_the_device(device, folder):
    """What is written is what the device has at that step, and not what the host has seen."""
    whole, resumed = Fit(device), Fit(device)
    whole()
    Fit(device)(more=[Interrupt(9)], checkpoint=xn.Checkpoints(folder, every=1))
    resumed(checkpoint=xn.Checkpoints(folder, every=1), resume=True)
    assert resumed.bits() == whole.bits()


@pytest.mark.filterwarnings("ignore:the fit had fewer than 2 steps")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", range(1, 5 * STEPS + 1))
def test_at_every_step_it_can_be_interrupted(folder, step, dtype):
    whole, cut, resumed = (
        Fit(average=xn.SimpleMovingAverage(3), dtype=dtype, optimizer=OPTIMIZERS["nesterov"])
        for _ in range(3)
    )
    whole()
    history = cut(more=[Interrupt(step)], checkpoint=folder)
    assert len(history) == math.ceil(step / STEPS)
    if step < 5 * STEPS:
        # Also where the part of the epoch would have been one epoch too many without progress.
        assert (history.stopped, history.reason) == (True, "it was interrupted")
    assert steps(folder)[-1] == step
    resumed(checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()


@pytest.mark.parametrize("step", [1, 2, 5, 6, 7, 11, 12, 13, 29, 30])
@pytest.mark.parametrize("every", [None, 1, 4, 6, 1000])
def test_after_every_crash_it_goes_on(folder, step, every):
    whole, resumed = Fit(), Fit()
    whole()
    where = xn.Checkpoints(folder, every=every)
    crash(Fit(), step, checkpoint=where)
    assert steps(folder)[-1] < step
    resumed(checkpoint=where, resume=True)
    assert resumed.bits() == whole.bits()


def test_checkpoints_change_nothing(device, folder):
    without, kept = Fit(device), Fit(device)
    without()
    kept(checkpoint=xn.Checkpoints(folder, every=1))
    assert kept.bits() == without.bits()


@pytest.mark.parametrize("epochs", [5, 9])
def test_more_epochs_are_as_if_they_had_been_asked_for_at_once(folder, epochs):
    whole, resumed = Fit(), Fit()
    whole(epochs=epochs)
    Fit()(epochs=3, checkpoint=folder)
    resumed(epochs=epochs, checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()


@pytest.mark.parametrize("kind", [xn.ReLU, xn.Sigmoid])
def test_early_stopping_that_has_stopped_stays_so(folder, kind):
    def make():
        # Noise alone to learn from, and a rate at which the development set suffers soon.
        return Fit(optimizer=xn.Adam(0.3), layers=(30, kind(), 1))

    whole = make()
    history = whole(epochs=60)
    assert history.stopped
    assert history.reason.startswith("no better dev_loss")
    make()(epochs=60, checkpoint=folder)
    for epochs in (60, 90):
        resumed = make()
        told = resumed(epochs=epochs, checkpoint=folder, resume=True)
        assert told.stopped
        assert resumed.bits() == whole.bits()


def test_a_stop_in_the_middle_of_an_epoch_is_for_good(folder, monkeypatch):
    class Stop(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 9:
                trainer.stop("enough")

    written, write = [], checkpoint_folder.Folder.write

    def note(self, step, arrays, document, best):
        written.append((step, document["trainer"]["fit"]["batch"]))
        return write(self, step, arrays, document, best)

    monkeypatch.setattr(checkpoint_folder.Folder, "write", note)
    whole, cut, resumed = Fit(), Fit(), Fit()
    whole(more=[Stop()])
    cut(more=[Stop()], checkpoint=xn.Checkpoints(folder, every=1))
    history = resumed(more=[Stop()], checkpoint=folder, resume=True)
    assert (history.stopped, history.reason, len(history)) == (True, "enough", 2)
    assert resumed.bits() == whole.bits()
    # Nothing was written from which it would have gone on beyond the stop.
    assert max(batch for step, batch in written if step == 9) == 0


@pytest.mark.parametrize(("epochs_before", "good_step"), [(0, 100), (2, 112)])
def test_a_later_divergence_leads_back_to_the_same_state(folder, epochs_before, good_step):
    """States are put by every hundred steps from a fit's beginning on."""
    options = {"callbacks": [], "augmentation": None}

    def make(begun=True):
        blow_up = xn.Piecewise(0.01, (30,), (1e30,))  # after 180 steps
        fit = Fit(optimizer=xn.SGD(blow_up), layers=(8, xn.Tanh(), 1))
        if epochs_before and begun:
            fit(epochs=epochs_before, **options)
        return fit

    def diverge(fit, **more):
        with pytest.raises(xn.DivergedError) as caught:
            fit(epochs=40, **options, **more)
        error, trainer = caught.value, fit.trainer
        arrays = [trainer.network.parameters, *trainer.moments]
        told = (error.epoch, error.step, error.good_step, str(error), trainer.steps)
        return told, [array.tobytes() for array in arrays]

    expected = diverge(make())
    assert expected[0][2] == good_step  # what was put by long before the checkpoint
    make()(epochs=40, checkpoint=folder, **(options | {"callbacks": [Interrupt(150)]}))
    assert diverge(make(begun=False), checkpoint=folder, resume=True) == expected


def test_a_divergence_in_the_epoch_that_goes_on_is_found_at_its_step(folder):
    """Also the steps of the epoch that were made before count."""

    def make():
        # Loss and weights are finite up to step 8; the rate then is beyond all measure.
        fit = Fit(optimizer=xn.SGD(lambda step, epoch: 0.01 if step < 9 else 1e30), layers=(1,))
        return fit, {"callbacks": [], "augmentation": None, "sample_weight": None}

    expected, found = [], []
    for told, options in ((expected, {}), (found, {"checkpoint": folder, "resume": True})):
        fit, own = make()
        if options:
            cut, _ = make()
            cut(checkpoint=folder, **(own | {"callbacks": [Interrupt(8)]}))
        with pytest.raises(xn.DivergedError) as caught:
            fit(**(own | options))
        told += [caught.value.step, caught.value.good_step, str(caught.value)]
    assert found == expected


def test_nothing_is_written_of_a_training_that_has_diverged(folder):
    fit = Fit(optimizer=xn.SGD(lambda step, epoch: 0.01 if step < 9 else 1e30), layers=(1,))
    with pytest.raises(xn.DivergedError):
        fit(callbacks=[], checkpoint=xn.Checkpoints(folder, every=1, keep=99))
    for file in xn.Checkpoints(folder).files():
        assert all(np.isfinite(a).all() for a in checkpoint_folder.read(file)[0].values())


def test_a_second_fit_of_a_trainer_goes_on_in_its_own_epochs(folder, tmp_path):
    whole, cut, resumed = Fit(), Fit(), Fit()
    whole(epochs=2)
    whole(epochs=4)
    cut(epochs=2, checkpoint=tmp_path / "first")
    cut(epochs=4, more=[Interrupt(20)], checkpoint=folder)
    history = resumed(epochs=4, checkpoint=folder, resume=True)
    assert history["epoch"] == [3, 4, 5, 6]
    assert resumed.bits() == whole.bits()


def test_sparse_features(folder):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    X[np.abs(X) < 0.7] = 0.0
    rows = sparse.csr_array(X[:N])

    def fit(epochs=4, **options):
        made = Fit()
        made.trainer.fit(rows, y[:N], batch_size=10, epochs=epochs, **options)
        return made.net.parameters.tobytes()

    expected = fit()
    fit(callbacks=[Interrupt(9)], checkpoint=folder)
    assert fit(checkpoint=folder, resume=True) == expected


def test_a_rate_set_by_hand_stays_set(folder):
    class ByHand(xn.Callback):
        def on_epoch_begin(self, trainer):
            trainer.learning_rate = 0.01 / (trainer.epochs + 1)

    def make():
        return Fit(optimizer=xn.Adam(0.01))

    whole, cut, resumed = make(), make(), make()
    whole(more=[ByHand()])
    cut(more=[ByHand(), Interrupt(9)], checkpoint=folder)
    resumed(more=[ByHand()], checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()


def test_an_epoch_s_time_is_that_of_all_its_parts(folder):
    Fit()(more=[Interrupt(9)], checkpoint=folder)
    (file, *_) = xn.Checkpoints(folder).files()
    before = checkpoint_folder.read(file)[1]["trainer"]["fit"]["seconds"]
    assert before > 0
    history = Fit()(checkpoint=folder, resume=True)
    assert history["seconds"][1] > before
    for row in history.rows:
        assert row["samples_per_second"] == pytest.approx(N / row["seconds"])


@pytest.mark.parametrize("first", [0, 1, 5, 6])
@pytest.mark.parametrize("augmentation", [None, xn.Augmentation([xn.GaussianNoise(1.0)])])
def test_batches_from_the_middle_of_an_epoch(backend, first, augmentation):
    X, y = (backend.asarray(a[:N]) for a in data())
    weights = backend.asarray(np.arange(float(N)).reshape(N, 1))

    def rest(first):
        batches = Batches(
            X, y, 10, backend=backend, seed=1, augmentation=augmentation, weights=weights
        )
        found = []
        for i, (n, *rest) in enumerate(batches.epoch(4, first), first):
            batch = batches.gather(backend.asarray(np.array([10 * i])), n, *rest)
            found.append([backend.to_host(a).tolist() for a in batch])
        return found

    assert rest(first) == rest(0)[first:]
    assert len(rest(first)) == STEPS - first


# -- callbacks ----


class Own(xn.Callback):
    """A user's callback with a state of all kinds."""

    def __init__(self, limit=3):
        self.limit, self.begun, self.epochs_begun = limit, 0, 0
        self.sums, self.seen = None, {"n": 0, "largest": -math.inf, "none": None, "flag": True}

    def on_fit_begin(self, trainer, batches, epochs):
        self.begun += 1

    def on_epoch_begin(self, trainer):
        self.epochs_begun += 1

    def on_step_end(self, trainer, n):
        if self.sums is None:
            self.sums = [trainer.network.parameters * 0.0, np.zeros(2, np.int64)]
        self.sums[0] += trainer.network.parameters
        self.sums[1] += n
        self.seen["n"] += n
        self.seen["largest"] = max(self.seen["largest"], np.float32(trainer.steps % 7))

    def state(self):
        return {
            "settings": {"limit": self.limit},
            "sums": self.sums,
            "seen": self.seen,
            "epochs_begun": self.epochs_begun,
        }

    def load_state(self, trainer, state):
        assert self.begun == 1
        assert trainer.steps > 0
        self.sums, self.seen = state["sums"], state["seen"]
        self.epochs_begun = state["epochs_begun"]

    def bits(self, backend):
        device, host = self.sums
        assert backend.owns(device)
        assert isinstance(host, np.ndarray)
        return backend.to_host(device).tobytes(), host.tolist(), self.seen, self.epochs_begun


def test_a_user_s_own_callback_goes_on(device, folder):
    owns = [Own(), Own(), Own()]
    with device.active():
        Fit(device)(more=[owns[0]])
        Fit(device)(more=[owns[1], Interrupt(9)], checkpoint=folder)
        Fit(device)(more=[owns[2]], checkpoint=folder, resume=True)
    assert owns[2].bits(device) == owns[0].bits(device)
    assert owns[2].epochs_begun == 5  # not again for the one that goes on


class OwnSteps(xn.Callback):
    """Makes a step of its own after some steps."""

    def on_step_end(self, trainer, n):
        if trainer.steps in (2, 9, 15):
            X, y = data(1)
            trainer.step(X[:7], y[:7])


@pytest.mark.parametrize("at", [10, 11, 18])
def test_steps_that_a_callback_makes_are_no_trouble(device, folder, at):
    fits = [Fit(device) for _ in range(3)]
    fits[0](more=[OwnSteps()])
    fits[1](more=[OwnSteps(), Interrupt(at)], checkpoint=folder)
    assert at <= fits[1].trainer.steps < at + STEPS
    fits[2](more=[OwnSteps()], checkpoint=folder, resume=True)
    assert fits[2].trainer.steps == 5 * STEPS + 3
    assert fits[2].bits() == fits[0].bits()


class OwnStepEach(xn.Callback):
    """Makes a step of its own after each of the fit's."""

    def on_step_end(self, trainer, n):
        X, y = data(1)
        trainer.step(X[:7], y[:7])


class OwnStepFirst(OwnStepEach):
    """So that steps are odd whenever someone looks."""

    def on_fit_begin(self, trainer, batches, epochs):
        self.on_step_end(trainer, 0)


def test_every_so_many_steps_is_counted_from_the_run_s_beginning_on(folder):
    options = {"epochs": 3, "checkpoint": xn.Checkpoints(folder, every=4, keep=100)}
    Fit()(more=[Interrupt(9)], **options)
    Fit()(resume=True, **options)
    # After 9 it was interrupted, and the epochs' ends were each the best so far.
    assert steps(folder) == [0, 4, STEPS, 8, 9, 2 * STEPS, 16, 3 * STEPS]


@pytest.mark.parametrize("own", [OwnStepEach, OwnStepFirst])
def test_every_so_many_steps_comes_though_it_is_stepped_over(folder, own):
    Fit()(epochs=3, more=[own()], checkpoint=xn.Checkpoints(folder, every=10, keep=100))
    odd = own is OwnStepFirst
    found = set(steps(folder)) - {2 * STEPS * epoch + odd for epoch in (1, 2, 3)}
    assert found == {i + odd for i in range(0, 6 * STEPS, 10)}


class OwnStepOnce(xn.Callback):
    def on_step_end(self, trainer, n):
        if trainer.steps == 150:
            X, y = data(1)
            trainer.step(X[:7], y[:7])


class SetAnew(xn.Callback):
    def on_epoch_end(self, trainer, row):
        if trainer.steps == 150:
            trainer.l2 = 2 * trainer.l2
            trainer.l2 = trainer.l2 / 2


@pytest.mark.parametrize(("change", "cut"), [(OwnStepOnce, 165), (SetAnew, 150), (SetAnew, 165)])
def test_a_fit_that_goes_on_looks_for_no_divergence_before_a_change(folder, change, cut):
    def fit(*more, **options):
        blow_up = xn.Piecewise(0.01, (30,), (1e30,))  # after 180 steps and the other
        made = Fit(optimizer=xn.SGD(blow_up), layers=(8, xn.Tanh(), 1))
        made(epochs=40, augmentation=None, callbacks=[change(), *more], **options)

    told = []
    fit(Interrupt(cut), checkpoint=folder)
    for options in ({}, {"checkpoint": folder, "resume": True}):
        with pytest.raises(xn.DivergedError) as caught:
            fit(**options)
        told.append((str(caught.value), caught.value.good_step))
    assert told[1] == told[0]
    assert told[0][1] == 100
    assert "(first in" not in told[0][0]


def test_callbacks_without_a_state_may_come_and_go(folder):
    whole, resumed = Fit(), Fit()
    whole()
    Fit()(more=[Interrupt(9), lambda trainer, row: None], checkpoint=folder)
    resumed(callbacks=[xn.Callback(), resumed.average, resumed.stopping], checkpoint=folder,
            resume=True)  # fmt: skip
    assert resumed.bits() == whole.bits()


def test_the_weights_behind_an_average_are_kept_where_they_are_needed_alone(folder):
    Fit()(more=[Interrupt(14)], checkpoint=xn.Checkpoints(folder, keep=9))
    kept = {
        step: len(checkpoint_folder.read(path)[1]["callbacks"][0]["own"])
        for step, path in zip(reversed(steps(folder)), xn.Checkpoints(folder).files(), strict=True)
    }
    assert kept == {14: 0, 12: 2, 6: 2, 0: 0}


@pytest.mark.parametrize(
    ("value", "where"),
    [(object(), "callbacks.2.it"), ([1, {2}], "callbacks.2.it.1"), ({3: 4}, "callbacks.2.it")],
)
def test_a_state_that_can_t_be_written_is_refused_before_the_training(folder, value, where):
    class Odd(xn.Callback):
        def state(self):
            return {"it": value}

    fit = Fit()
    with pytest.raises(TypeError, match=re.escape(f"{where} is ")):
        fit(more=[Odd()], checkpoint=folder)
    assert fit.trainer.steps == 0


# -- what stays ----


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_newest_and_the_best_stay(folder, keep):
    class Told(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["dev_loss"] = [3.0, 1.0, 2.0, math.nan, 4.0, 2.0][trainer.epochs - 1]

    X, y = data()
    options = {"batch_size": 10, "epochs": 6, "validation_data": (X[N:], y[N:])}
    Fit().trainer.fit(
        X[:N], y[:N], callbacks=[Told()], checkpoint=xn.Checkpoints(folder, keep=keep), **options
    )
    newest = list(range(36, 0, -6))[:keep]
    assert steps(folder) == sorted({12, *newest})


def test_without_a_development_set_the_training_loss_says_what_is_best(folder):
    class Told(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["train_loss"] = abs(trainer.epochs - 2)

    fit = Fit()
    fit(validation_data=None, callbacks=[Told()], checkpoint=xn.Checkpoints(folder, keep=1))
    assert steps(folder) == [12, 30]


def test_the_best_is_known_after_going_on(folder):
    class Told(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["dev_loss"] = 1.0 + abs(trainer.epochs - 2)

    where = xn.Checkpoints(folder, keep=1)
    Fit()(epochs=3, callbacks=[Told()], checkpoint=where)
    Fit()(epochs=5, callbacks=[Told()], checkpoint=where, resume=True)
    assert steps(folder) == [12, 30]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        # No loss is smaller than the first epoch's; the fit's beginning and its end always count.
        (None, [0, 6, 12, 18, 24, 30]),
        (4, [0, 4, 6, 8, 12, 16, 20, 24, 28, 30]),
        (6, [0, 6, 12, 18, 24, 30]),
        (100, [0, 6, 30]),
    ],
)
def test_when_one_is_written(folder, every, expected):
    class Told(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["dev_loss"] = float(trainer.epochs)

    Fit()(callbacks=[Told()], checkpoint=xn.Checkpoints(folder, every=every, keep=99))
    assert steps(folder) == expected


def test_what_killed_writers_of_checkpoints_left_is_cleared_away(folder):
    """And nothing else: neither what a user has there, nor what another process writes."""
    folder.mkdir()
    left = [
        folder / f".step-{step:09d}.safetensors.12345678.unfinished"
        for step in (6, 7)  # this run will write the first one, and never the second
    ]
    others = {
        "notes.txt": "mine",
        ".x.unfinished": "mine as well",
        ".model.safetensors.12345678.unfinished": "another one's",
    }
    for name, text in others.items():
        (folder / name).write_text(text)
    for more in ({}, {"resume": True}):
        for path in left:
            path.write_bytes(b"half a check")
        Fit()(epochs=1, checkpoint=folder, **more)
        assert not any(path.exists() for path in left)
        assert {name: (folder / name).read_text() for name in others} == others
        assert {*names(folder)} - {*others} == {
            HISTORY,
            "step-000000000.safetensors",
            "step-000000006.safetensors",
        }


def test_what_newest_tells(folder):
    Fit()(more=[Interrupt(9)], checkpoint=xn.Checkpoints(folder, every=2, keep=5, about={"a": [1]}))
    told = checkpoints.newest(folder)
    assert (told.step, told.epoch, told.every, told.keep, told.about) == (9, 1, 2, 5, {"a": [1]})
    assert told.file == folder / "step-000000009.safetensors"


def test_batch_size_auto_is_measured_once(folder, monkeypatch):
    whole, resumed = Fit(), Fit()
    with monkeypatch.context() as patch:
        patch.setattr(fit.Fit, "_choose_batch_size", lambda *_: 10)
        whole(batch_size="auto")
        Fit()(batch_size="auto", more=[Interrupt(9)], checkpoint=folder)
    monkeypatch.setattr(fit.Fit, "_choose_batch_size", lambda *_: 1 / 0)
    history = resumed(batch_size="auto", checkpoint=folder, resume=True)
    assert history.batch_size == 10
    assert resumed.bits() == whole.bits()


# -- what is refused ----


def test_a_run_does_not_begin_where_there_is_another(folder):
    Fit()(epochs=1, checkpoint=folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"run: holds checkpoints of a run, the newest step-0+6\."):
        Fit()(epochs=1, checkpoint=folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_auto_begins_and_goes_on(folder):
    whole, resumed = Fit(), Fit()
    whole()
    crash(Fit(), 15, checkpoint=folder, resume="auto")
    resumed(checkpoint=folder, resume="auto")
    assert resumed.bits() == whole.bits()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume": True}, FileNotFoundError, "run: there is no checkpoint to go on from"),
        ({"resume": "yes"}, ValueError, "resume is 'yes': give True, False or 'auto'"),
        ({"checkpoint": None, "resume": True}, ValueError, "give checkpoint, the folder"),
        ({"checkpoint": 3}, TypeError, "checkpoint is 3: give a folder, or Checkpoints"),
        ({"checkpoint": ""}, ValueError, "the folder for checkpoints is '': give its name"),
        ({"checkpoint": "", "resume": True}, ValueError, "the folder for checkpoints is ''"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, options, error, message):
    fit = Fit()
    with pytest.raises(error, match=re.escape(message)):
        fit(**({"checkpoint": folder} | options))
    assert fit.trainer.steps == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ValueError, "every is 0: give 1 or more"),
        ({"every": 2.5}, TypeError, "every is 2.5: give a whole number"),
        ({"keep": 0}, ValueError, "keep is 0: give 1 or more"),
        ({"path": ""}, ValueError, "the folder for checkpoints is '': give its name"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        xn.Checkpoints(**{"path": "run"} | options)


X, Y = data()
OTHERS = {
    "units": ({"layers": (9, xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), 5, xn.Tanh(), 1)}, {},
              "network.layers[0].n_outputs is 9 here and 8 in the checkpoint"),
    "dropout": ({"layers": (8, xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.4), 5, xn.Tanh(), 1)}, {},
                "network.layers[3].p is 0.4 here and 0.3 in the checkpoint"),
    "seed": ({"random_state": 4}, {}, "network.random_state is 4 here and 3"),
    "dtype": ({"dtype": "float64"}, {}, 'network.dtype is "float64" here and "float32"'),
    "optimizer": ({"optimizer": xn.RMSProp(Slope())}, {},
                  'optimizer.kind is "RMSProp" here and "Adam" in the checkpoint'),
    "rate": ({"optimizer": xn.Adam(0.5)}, {}, 'optimizer.learning_rate is 0.5 here and "'),
    "beta": ({"optimizer": replace(OPTIMIZERS["adam"], beta_1=0.8)}, {},
             "optimizer.beta_1 is 0.8 here and 0.9"),
    "l2": ({"l2": 0.2}, {}, "l2 is 0.2 here and 0.1 in the checkpoint"),
    "factors": ({"factors": {"rate_factors": {"4.bias": 0.5, "0.weight": 1}}}, {},
                'factors is {"4.bias": {"rate": 0.5}} here and null in the checkpoint'),
    "batch size": ({}, {"batch_size": 11}, "batch_size is 11 here and 10"),
    "order": ({}, {"shuffle": False}, "shuffle is false here and true"),
    "monitor": ({}, {"monitor": 0}, "monitor is 0 here and 10000"),
    "augmentation": ({}, {"augmentation": None}, 'augmentation is null here and "Augmentation('),
    "weights": ({}, {"sample_weight": None}, "the fingerprint of sample_weight is null here"),
    "dev set": ({}, {"validation_data": (X[N:-1], Y[N:-1])}, "the fingerprint of validation X is"),
    "early stopping": ({}, {"callbacks": [xn.WeightAverage(xn.ExponentialMovingAverage(0.9), 2),
                                          xn.EarlyStopping(4)]},
                       "callbacks[1].settings.patience is 4 here and 3 in the checkpoint"),
    "average": ({"average": xn.SimpleMovingAverage(2)}, {},
                'callbacks[0].settings.average.kind is "SimpleMovingAverage" here and "Exp'),
    "callbacks": ({}, {"callbacks": []}, "callbacks is [] here and [{"),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused_with_what_differs(folder, what):
    made, given, message = OTHERS[what]
    Fit()(epochs=1, checkpoint=folder)
    fit = Fit(**made)
    before = fit.net.parameters.copy()
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        fit(checkpoint=folder, resume=True, **given)
    assert "run/step-000000006.safetensors: is of another run: " in str(caught.value)
    assert fit.trainer.steps == 0
    np.testing.assert_array_equal(fit.net.parameters, before)


@pytest.mark.parametrize("changed", ["X", "y"])
def test_other_data_are_refused(folder, changed):
    features, labels = (a[:N].copy() for a in data())
    options = {"batch_size": 10, "epochs": 1, "checkpoint": folder}
    Fit().trainer.fit(features, labels, **options)
    if changed == "X":
        features[7, 2] += 1e-3
    else:
        labels[7] = 1 - labels[7]
    with pytest.raises(ValueError, match=f'the fingerprint of {changed} is "\\w+" here and "'):
        Fit().trainer.fit(features, labels, resume=True, **options)


@pytest.mark.parametrize(("step", "epoch"), [(13, 3), (17, 3), (18, 3), (19, 4)])
def test_fewer_epochs_than_were_begun_are_refused(folder, step, epoch):
    Fit()(more=[Interrupt(step)], checkpoint=folder)
    fit = Fit()
    message = (
        rf"epochs is {epoch - 1}, and .*{step}\.safetensors was written in epoch {epoch}: give "
    )
    message += f"{epoch} or more"
    with pytest.raises(ValueError, match=message):
        fit(epochs=epoch - 1, checkpoint=folder, resume=True)
    assert fit.trainer.steps == 0


def test_another_machine_is_told_of(folder):
    Fit("cpu")(epochs=1, checkpoint=folder)
    other = select("cpu", fused=False)
    if other.describe() == select("cpu").describe():
        other = StrictBackend()
    message = "was written by the CPU with NumPy .* and this is .*: the result may differ in round"
    with pytest.warns(UserWarning, match=message):
        Fit(other)(epochs=2, checkpoint=folder, resume=True)


# -- damaged files ----


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def flip(path, where=-5):
    content = bytearray(path.read_bytes())
    content[where] ^= 16
    path.write_bytes(content)


def change_a_figure(path):
    content = path.read_bytes()
    path.write_bytes(re.sub(rb'(figure\\": 0\.\d)\d', rb"\g<1>7", content, count=1))
    assert path.read_bytes() != content


def put_a_model_there(path):
    Fit().net.save(path)


DAMAGES = {
    cut: "not a whole safetensors file",
    empty: "not a whole safetensors file",
    flip: "altered or damaged since it was written",
    change_a_figure: "altered or damaged since it was written",
    put_a_model_there: "a model file, and no checkpoint",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda function: function.__name__)
def test_a_damaged_checkpoint_is_passed_over(folder, damage):
    whole, resumed = Fit(), Fit()
    whole()
    where = xn.Checkpoints(folder, every=4)
    crash(Fit(), 17, checkpoint=where)
    assert steps(folder)[-2:] == [12, 16]
    damage(folder / "step-000000016.safetensors")
    warning = f"0016.safetensors: {DAMAGES[damage]}.*Going on from .*step-000000012.safetensors"
    with pytest.warns(UserWarning, match=warning):
        resumed(checkpoint=where, resume=True)
    assert resumed.bits() == whole.bits()
    for path in where.files():
        checkpoint_folder.read(path)


def test_damaged_ones_go_when_a_new_one_is_whole(folder):
    crash(Fit(), 17, checkpoint=xn.Checkpoints(folder, every=4))
    flip(folder / "step-000000016.safetensors")
    with pytest.warns(UserWarning, match="Going on from"):
        crash(Fit(), 16, checkpoint=xn.Checkpoints(folder, every=5), resume=True)
    assert 15 in steps(folder)
    assert 16 not in steps(folder)


def test_no_whole_checkpoint_at_all(folder):
    Fit()(epochs=1, checkpoint=folder)
    for path in folder.iterdir():
        flip(path)
    for resume in (True, "auto"):
        with pytest.raises(xn.ModelFileError, match=r"no checkpoint is whole: .*; .*checksum"):
            Fit()(epochs=1, checkpoint=folder, resume=resume)


def rewritten(path, change):
    """Change a checkpoint's description and give it the checksum that goes with it."""
    arrays, document = checkpoint_folder.read(path)
    change(document, arrays)
    path.write_bytes(checkpoint_folder.encode(arrays, document))


@pytest.mark.parametrize(
    "change",
    [
        lambda d, a: d.pop("trainer"),
        lambda d, a: d.pop("best"),
        lambda d, a: d.update(best=[1.0]),
        lambda d, a: d.update(trainer=3),
        lambda d, a: d["trainer"].pop("steps"),
        lambda d, a: d["trainer"].update(steps="many"),
        lambda d, a: d["trainer"].update(epochs=-1),
        lambda d, a: d["trainer"]["weights"]["now"].insert(0, 3),
        lambda d, a: a["trainer.weights.now.0"].fill(math.nan),
        lambda d, a: d["trainer"]["weights"]["now"].pop(),
        lambda d, a: d["trainer"]["weights"].update(snapshot=None),
        lambda d, a: d["trainer"]["fit"].update(more=1),
        lambda d, a: d["trainer"]["fit"].pop("first_step"),
        lambda d, a: d["trainer"]["fit"].update(first_step=10**6),
        lambda d, a: d["trainer"]["fit"].update(first=10**6),
        lambda d, a: d["trainer"]["fit"].update(batch=-1),
        lambda d, a: d["trainer"]["fit"].update(batch=2.5),
        lambda d, a: d["trainer"]["fit"].update(other_examples=None),
        lambda d, a: d["trainer"].pop("unchanged_since"),
        lambda d, a: d["trainer"].update(unchanged_since="long"),
        lambda d, a: a.update({"trainer.weights.now.0": np.zeros(3, np.float32)}),
        lambda d, a: d["trainer"]["weights"]["now"][0].update({"$array": "elsewhere"}),
    ],
)
def test_a_checkpoint_that_no_trainer_wrote(folder, change):
    Fit()(epochs=1, checkpoint=folder)
    rewritten(folder / "step-000000006.safetensors", change)
    fit = Fit()
    before = fit.net.parameters.copy()
    with pytest.raises(xn.ModelFileError, match=r"0006\.safetensors: no run can go on from it"):
        fit(epochs=2, checkpoint=folder, resume=True)
    np.testing.assert_array_equal(fit.net.parameters, before)


def without_checksum(path):
    """Write a checkpoint anew as a file of the first version, which had no checksum."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["xpnet"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del description["sha256"]
    save_file(arrays, path, {"xpnet": json.dumps(description | {"version": 1})})


def test_a_checkpoint_without_a_checksum_is_none(folder):
    Fit()(epochs=1, checkpoint=folder)
    for path in xn.Checkpoints(folder).files():
        without_checksum(path)
    with pytest.raises(xn.ModelFileError, match="format version 1, and files of its kind have 2"):
        Fit()(epochs=2, checkpoint=folder, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda d, a: d["written"].update(about=None),
        lambda d, a: d["written"].update(about="settings"),
        lambda d, a: d["written"].update(keep="\x1b[2J"),
        lambda d, a: d["trainer"].update(epochs="\x1b[2J"),
        lambda d, a: d["trainer"].update(steps=-1),
    ],
)
def test_what_newest_is_told_must_be_as_it_is_written(folder, change):
    Fit()(epochs=1, checkpoint=folder)
    rewritten(folder / "step-000000006.safetensors", change)
    with pytest.raises(xn.ModelFileError, match=r"0006\.safetensors: no run can go on from it"):
        checkpoints.newest(folder)


def test_a_checkpoint_is_no_model(folder):
    Fit()(epochs=1, checkpoint=folder)
    for load in (xn.load, xn.load_model):
        with pytest.raises(xn.ModelFileError, match="a checkpoint, and no model"):
            load(folder / "step-000000006.safetensors", device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        lambda d, a: d["callbacks"].pop(),
        lambda d, a: d["callbacks"][1].pop("best"),
        lambda d, a: a.update({"callbacks.1.weights.0": np.zeros(1, np.float32)}),
        lambda d, a: a.update({"callbacks.0.own.1": np.zeros(1, np.float32)}),
        lambda d, a: a.update({"callbacks.0.parameters.arrays.0": np.zeros(1, np.float32)}),
    ],
)
def test_a_state_that_no_callback_wrote(folder, change):
    Fit()(epochs=1, checkpoint=folder)
    rewritten(folder / "step-000000006.safetensors", change)
    with pytest.raises(xn.ModelFileError, match=r"0006\.safetensors: no run can go on from it"):
        Fit()(epochs=2, checkpoint=folder, resume=True)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_can_t_be_read_now_is_no_damage(folder, monkeypatch, code):
    """It is neither passed over nor removed: it may be whole."""
    Fit()(epochs=2, checkpoint=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(path, oldest):
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("xpnet.files.safetensors_files.look", fail)
        with pytest.raises(OSError, match=re.escape(os.strerror(code))):
            Fit()(epochs=3, checkpoint=folder, resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_checkpoint_of_a_later_version_is_not_written_over(folder, monkeypatch):
    Fit()(epochs=2, checkpoint=folder)
    (newest, *_) = xn.Checkpoints(folder).files()
    with monkeypatch.context() as patch:
        patch.setattr("xpnet.files.safetensors_files.VERSION", 3)
        rewritten(newest, lambda document, arrays: None)
    content = newest.read_bytes()
    with pytest.raises(xn.ModelFileError, match="format version 3, and this xpnet reads 2"):
        Fit()(epochs=3, checkpoint=folder, resume=True)
    assert newest.read_bytes() == content


# -- trees ----


def test_a_tree_comes_back(backend):
    tree = {
        "device": [backend.asarray(np.arange(6.0).reshape(2, 3)), {"x": backend.asarray([1])}],
        "host": np.array([1, 2], np.int16),
        "none": [np.zeros((0, 3), np.float32), np.array(2.5)],
        "floats": [1e-300, math.pi, -math.inf, np.float64(0.1), 1.0, 1],
        "more": {"": "", "b": True, "n": None, "list": [], "dict": {}, "text": "λ"},
    }
    arrays, document = pack(tree, backend)
    back = unpack(arrays, json.loads(json.dumps(document, allow_nan=False)), backend)
    again, same = pack(back, backend)
    assert same == document
    assert {k: (v.dtype, v.shape, v.tolist()) for k, v in again.items()} == {
        k: (v.dtype, v.shape, v.tolist()) for k, v in arrays.items()
    }
    assert backend.owns(back["device"][0])
    assert isinstance(back["host"], np.ndarray)
    assert back["floats"] == tree["floats"]
    assert [type(x) for x in back["floats"]] == [float] * 5 + [int]
    assert math.isnan(unpack(*pack({"x": math.nan}, backend), backend)["x"])
    # Memory of its own: what comes back may be written to.
    back["host"][0] = 9
    assert tree["host"][0] == 1


# -- a disk with faults ----

#: Those that write a file, in their order; those of the history; and that which removes a file.
WHOLE = ("create", "write", "sync", "rename", "sync_folder")
OPERATIONS = (*WHOLE, "reopen", "remove")

#: How many come before the first checkpoint stands: two see that a file can be written at all.
FIRST = 2 + len(WHOLE)


class Faulty(atomic.Disk):
    """Raises an error at some operations, counted from 1; a write gets half-way."""

    def __init__(self, fails, code=errno.ENOSPC):
        self.fails, self.code, self.count, self.failed = fails, code, 0, []

    def __getattribute__(self, name):
        function = super().__getattribute__(name)
        if name not in OPERATIONS:
            return function

        def operation(*arguments):
            self.count += 1
            if not self.fails(self.count, name):
                return function(*arguments)
            self.failed.append(name)
            if name == "write":
                arguments[0].write(arguments[1][:50])
            raise OSError(self.code, os.strerror(self.code))

        return operation


@pytest.fixture
def disk(monkeypatch):
    def put_in(fails, code=errno.ENOSPC):
        faulty = Faulty(fails, code)
        monkeypatch.setattr(atomic, "DISK", faulty)
        return faulty

    return put_in


@pytest.mark.parametrize("operation", WHOLE)
def test_a_file_that_can_t_be_written_leaves_the_old_one(tmp_path, disk, operation):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    disk(lambda n, name: name == operation)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: {str(path)!r}")):
        atomic.write_whole(path, b"new" * 100)
    expected = b"new" * 100 if operation == "sync_folder" else b"old"
    assert path.read_bytes() == expected
    assert names(tmp_path) == ["a"]


def test_a_write_is_flushed_before_it_gets_its_name(tmp_path, disk):
    done = []
    disk(lambda n, name: bool(done.append(name)))
    atomic.write_whole(tmp_path / "a", b"x")
    assert done == list(WHOLE)


CODES = [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EIO, errno.EROFS]


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_the_training_goes_on_without_a_disk(folder, disk, code):
    """It fails from some moment on, in every operation, for ever."""
    whole, kept = Fit(), Fit()
    whole()
    faulty = disk(lambda n, name: n > 40, code)
    message = (
        rf"run \({re.escape(os.strerror(code))}\): the training goes on; the last good one is "
        r".*run/step-(\d+)\.safetensors"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        kept(checkpoint=xn.Checkpoints(folder, every=2))
    assert len(caught) == 1
    assert len(faulty.failed) > 5
    assert kept.bits() == whole.bits()
    (last,) = re.search(message, str(caught[0].message)).groups()
    atomic.DISK = atomic.Disk()
    assert checkpoints.newest(folder).step == int(last)
    resumed = Fit()
    resumed(checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()


@pytest.mark.parametrize("n", range(FIRST + 1, FIRST + 45))
def test_one_fault_costs_one_checkpoint_at_most(folder, disk, n):
    """Once the first checkpoint stands each operation fails in turn."""
    whole, kept = Fit(), Fit()
    whole()
    faulty = disk(lambda i, name: i == n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept(checkpoint=xn.Checkpoints(folder, every=2, keep=2))
    assert len(faulty.failed) == 1
    # That an old file could not be removed is no loss.
    assert len(caught) == (faulty.failed != ["remove"])
    assert kept.bits() == whole.bits()
    found = xn.Checkpoints(folder).files()
    assert [checkpoint_folder.read(path)[1]["trainer"]["steps"] for path in found][:2] == [30, 28]
    assert names(folder) == sorted([HISTORY, *(path.name for path in found)])


def test_old_ones_stay_until_a_new_one_is_whole(folder, disk):
    crash(Fit(), 12, checkpoint=xn.Checkpoints(folder, every=2, keep=2))
    before = names(folder)
    disk(lambda n, name: name == "rename" and n > 8)
    with pytest.warns(UserWarning, match="no checkpoint can be written"):
        Fit()(checkpoint=xn.Checkpoints(folder, every=2, keep=2), resume=True)
    assert names(folder) == before


def test_a_disk_that_fails_again_is_told_of_again(folder, disk):
    disk(lambda n, name: name == "rename" and (30 < n < 45 or n > 80))
    with pytest.warns(UserWarning, match="no checkpoint can be written") as caught:
        Fit()(checkpoint=xn.Checkpoints(folder, every=1))
    assert len(caught) == 2


@pytest.mark.parametrize("n", range(1, FIRST + 1))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_fault_at_the_very_start_is_refused(folder, disk, n, code):
    disk(lambda i, name: i == n, code)
    kind = PermissionError if code == errno.EACCES else OSError
    reason = re.escape(os.strerror(code))
    fit = Fit()
    with pytest.raises(kind, match=rf"run: no checkpoints can be written there \({reason}\)"):
        fit(checkpoint=folder)
    assert fit.trainer.steps == 0


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere" / "run", tmp_path / "file"):
        fit = Fit()
        message = f"{place}: (no checkpoints can be written there|is no folder)"
        with pytest.raises(OSError, match=message):
            fit(checkpoint=place)
        assert fit.trainer.steps == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder):
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(PermissionError, match="no checkpoints can be written there"):
        Fit()(checkpoint=folder)


def test_a_folder_that_vanishes(folder):
    class Vanish(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 9:
                shutil.rmtree(folder)

    whole, kept = Fit(), Fit()
    whole()
    with pytest.warns(UserWarning, match="No such file or directory") as caught:
        kept(more=[Vanish()], checkpoint=xn.Checkpoints(folder, every=2))
    assert len(caught) == 1
    assert kept.bits() == whole.bits()


# -- one folder, one training ----


class Meanwhile(xn.Callback):
    """Calls a function after a step, or at the fit's end."""

    def __init__(self, function, step=None):
        self.function, self.step = function, step

    def on_step_end(self, trainer, n):
        if trainer.steps == self.step:
            self.function()

    def on_fit_end(self, trainer, history):
        if self.step is None:
            self.function()


@pytest.mark.parametrize("resume", [True, "auto", False])
@pytest.mark.parametrize("step", [1, 9, None])
def test_a_second_training_is_refused_while_the_first_one_runs(folder, resume, step):
    refused = []

    def another():
        with pytest.raises(BlockingIOError) as caught:
            Fit()(checkpoint=folder, resume=resume)
        refused.append(str(caught.value))

    whole, kept = Fit(), Fit()
    whole()
    kept(more=[Meanwhile(another, step)], checkpoint=xn.Checkpoints(folder, every=2))
    assert kept.bits() == whole.bits()
    (told,) = refused
    assert told.startswith(f"{folder}: process {os.getpid()} on ")
    assert told.endswith(
        " writes checkpoints there: wait until it has ended, or give another folder"
    )
    # Once it has ended another one may come.
    assert checkpoint_folder.LOCK not in names(folder)
    Fit()(epochs=6, checkpoint=folder, resume=True)


@pytest.mark.parametrize("resume", ["auto", False])
def test_another_one_begins_and_ends_just_before(folder, monkeypatch, resume):
    """What there is to go on from is looked for once others are kept out, and not before."""
    enter = checkpoint_folder.Folder.enter

    def later(self, make):
        monkeypatch.undo()
        crash(Fit(), 9, checkpoint=folder)
        enter(self, make)

    monkeypatch.setattr(checkpoint_folder.Folder, "enter", later)
    whole, fit = Fit(), Fit()
    if resume is False:
        with pytest.raises(ValueError, match=r"holds checkpoints .* step-000000006\.safetensors"):
            fit(checkpoint=folder)
        return
    whole()
    fit(checkpoint=folder, resume=resume)
    assert fit.bits() == whole.bits()


@pytest.mark.parametrize("resume", ["auto", False])
def test_a_fit_that_is_refused_leaves_no_folder(folder, resume):
    fit = Fit()
    with pytest.raises(TypeError, match="micro_batches"):
        fit(checkpoint=folder, resume=resume, micro_batches=1.5)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(TypeError, match="micro_batches"):
        fit(checkpoint=folder, resume=resume, micro_batches=1.5)
    assert names(folder) == []


@pytest.mark.parametrize(
    "end",
    [
        Crash(9),
        Interrupt(9),
        Meanwhile(lambda: (_ for _ in ()).throw(KeyboardInterrupt), 9),
        Meanwhile(lambda: 1 / 0),
    ],
    ids=["error", "interruption", "Ctrl-C", "error at the end"],
)
def test_however_it_ends_another_one_may_come(folder, end):
    with contextlib.suppress(Crash.Error, KeyboardInterrupt, ZeroDivisionError):
        Fit()(more=[end], checkpoint=folder)
    assert checkpoint_folder.LOCK not in names(folder)
    Fit()(checkpoint=folder, resume=True)


def test_a_training_that_is_refused_leaves_no_lock(folder):
    Fit()(epochs=1, checkpoint=folder)
    for more, message in (
        ({"l2": 0.2}, "l2 is 0.2 here"),
        ({"layers": (3, 1)}, "is of another run"),
    ):
        with pytest.raises(ValueError, match=message):
            Fit(**more)(checkpoint=folder, resume=True)
        assert checkpoint_folder.LOCK not in names(folder)


def test_a_lock_that_a_kill_has_left_keeps_nobody_out(folder):
    folder.mkdir()
    (folder / checkpoint_folder.LOCK).write_text("process 1 on another")
    Fit()(epochs=1, checkpoint=folder)
    assert checkpoint_folder.LOCK not in names(folder)


def test_what_another_one_wrote_into_the_lock_is_not_shown(folder):
    def another():
        (folder / checkpoint_folder.LOCK).write_text("process 1 on \x1b[2J")
        with pytest.raises(
            BlockingIOError, match="run: another process writes checkpoints there: wait"
        ):
            Fit()(checkpoint=folder, resume=True)

    Fit()(epochs=1, more=[Meanwhile(another, 1)], checkpoint=folder)


def test_a_disk_without_locks_is_told_of(folder, monkeypatch):
    monkeypatch.setattr("xpnet.files.file_lock.fcntl", None)
    with pytest.warns(UserWarning, match="no file can be locked there: let no other training"):
        Fit()(epochs=1, checkpoint=folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_one_can_go_on_from_where_nothing_can_be_written(folder, disk, monkeypatch, code):
    """A full disk, or one that is read alone: what is there is not lost."""

    def fail(*_):
        raise OSError(code, os.strerror(code))

    whole, resumed, finished = Fit(), Fit(), Fit()
    whole()
    crash(Fit(), 16, checkpoint=xn.Checkpoints(folder, every=4))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    disk(lambda n, name: True, code)
    monkeypatch.setattr(checkpoint_folder, "NamedLock", fail)
    with pytest.warns(UserWarning, match="no checkpoint can be written to .* the training goes on"):
        resumed(checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # Likewise a run that is at its end, of which the model alone is wanted.
    monkeypatch.undo()
    Fit()(checkpoint=folder, resume=True)
    disk(lambda n, name: True, code)
    with pytest.warns(UserWarning, match="no checkpoint can be written"):
        finished(checkpoint=folder, resume=True)
    assert finished.bits() == whole.bits()


def other_run(folder):
    """Train another network there, to its end."""
    Fit(layers=(3, 1))(epochs=2, checkpoint=folder)


def test_a_folder_that_another_one_has_made_anew_is_left_to_it(folder):
    def replace():
        shutil.rmtree(folder)
        other_run(folder)
        before.update({path.name: path.read_bytes() for path in folder.iterdir()})

    before, whole, kept = {}, Fit(), Fit()
    whole()
    with pytest.warns(UserWarning, match=r"\(another training has begun there\): the training g"):
        kept(more=[Meanwhile(replace, 9)], checkpoint=xn.Checkpoints(folder, every=2))
    assert kept.bits() == whole.bits()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / checkpoint_folder.LOCK).unlink(),
        lambda folder: (shutil.rmtree(folder), folder.mkdir()),
    ],
    ids=["no lock", "empty"],
)
def test_a_lock_that_is_gone_is_made_anew(folder, harm):
    def refused():
        with pytest.raises(BlockingIOError):
            Fit()(checkpoint=folder, resume="auto")

    whole, kept, resumed = Fit(), Fit(), Fit()
    whole()
    watch = [Meanwhile(lambda: harm(folder), 9), Meanwhile(refused, 13)]
    kept(more=watch, checkpoint=xn.Checkpoints(folder, every=2))
    assert kept.bits() == whole.bits()
    resumed(checkpoint=folder, resume=True)
    assert resumed.bits() == whole.bits()


def test_a_lock_in_use_looks_new_to_who_clears_old_files_away(folder):
    seen = []

    def age():
        os.utime(folder / checkpoint_folder.LOCK, (0, 0))

    def look():
        seen.append((folder / checkpoint_folder.LOCK).stat().st_mtime)

    Fit()(more=[Meanwhile(age, 1), Meanwhile(look, 7)], checkpoint=folder)
    assert min(seen) > 0


def test_two_that_go_on_without_a_lock_don_t_both_write(folder, monkeypatch):
    """Where no lock could be made at first, it is needed before anything is written."""
    Fit()(epochs=1, checkpoint=folder)
    lock = checkpoint_folder.NamedLock

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unlocked(step, *more):
        """Return watchers of a fit in which the lock can be made from a step on."""
        monkeypatch.setattr(checkpoint_folder, "NamedLock", fail)
        can = Meanwhile(lambda: monkeypatch.setattr(checkpoint_folder, "NamedLock", lock), step)
        return {"more": [can, *more], "checkpoint": where, "resume": True}

    def another():
        with pytest.warns(UserWarning, match="process .* writes checkpoints there") as caught:
            Fit()(**unlocked(22))
        told.append(len(caught))

    where, told = xn.Checkpoints(folder, every=1), []
    whole, first = Fit(), Fit()
    whole()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no checkpoint can be written .*No space left")
        first(**unlocked(8, Meanwhile(another, 20)))
    assert first.bits() == whole.bits()
    assert told == [2]  # of the full disk, and of the other one
    assert steps(folder) == [28, 29, 30]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("there", path)])
def test_a_lock_s_name_that_is_taken(folder, make):
    folder.mkdir()
    make(folder / checkpoint_folder.LOCK)
    with pytest.raises(OSError, match="no checkpoints can be written there"):
        Fit()(checkpoint=folder)
    assert names(folder) == [checkpoint_folder.LOCK]


# -- the history ----


def test_a_row_that_is_filled_in_later_is_kept(folder):
    class Later(xn.Callback):
        def on_epoch_begin(self, trainer):
            if trainer.history.rows:
                trainer.history.rows[-1]["later"] = float(trainer.epochs)

    Fit()(epochs=4, more=[Later()], checkpoint=folder)
    history = Fit()(epochs=4, checkpoint=folder, resume=True)
    assert history["later"][:3] == [1.0, 2.0, 3.0]


def test_rows_that_are_taken_away_are_no_longer_there(folder):
    class Short(xn.Callback):
        def on_epoch_begin(self, trainer):
            del trainer.history.rows[:-1]

    Fit()(epochs=4, more=[Short()], checkpoint=folder)
    history = Fit()(epochs=4, checkpoint=folder, resume=True)
    assert history["epoch"] == [3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"epoch 1: own is {1, 2}: it takes"),
        ({1: 2}, r"epoch 1: own is {1: 2}: it takes"),
        ({"$float": "nan"}, r"epoch 1: own is .*which don't begin with \$"),
        (10**5000, "epoch 1: "),
    ],
    ids=["set", "key", "tag", "digits"],
)
def test_a_row_that_can_t_be_kept_is_refused_after_its_epoch(folder, value, message):
    """Not when the next checkpoint is due, which may be much later."""

    class Own(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["own"] = value

    fit = Fit()
    with pytest.raises((TypeError, ValueError), match=message):
        fit(more=[Own()], checkpoint=xn.Checkpoints(folder, every=10**6))
    assert fit.trainer.epochs == 1


@pytest.mark.parametrize(
    "change", [lambda row: row.pop("train_loss"), lambda row: row.update(step=None)]
)
def test_a_row_without_its_own_figures_is_refused(folder, change):
    class Own(xn.Callback):
        def on_epoch_end(self, trainer, row):
            change(row)

    with pytest.raises(ValueError, match="row of epoch 1: its own figures should be as they were"):
        Fit()(more=[Own()], checkpoint=folder)


def test_a_large_row_comes_back(folder):
    class Large(xn.Callback):
        def on_epoch_end(self, trainer, row):
            row["matrix"] = np.full((300, 300), 1 / 3)

    Fit()(epochs=2, more=[Large()], checkpoint=folder)
    history = Fit()(epochs=2, checkpoint=folder, resume=True)
    assert (np.array(history["matrix"]) == 1 / 3).all()


@pytest.mark.parametrize("line", ["{}", "3", "[]", '{"epoch": "1"}'])
def test_lines_that_are_no_rows(folder, line):
    Fit()(epochs=3, checkpoint=folder)
    lines = (folder / HISTORY).read_text().splitlines(keepends=True)
    (folder / HISTORY).write_text("".join([lines[0], f"{line}\n", lines[2]]))
    with pytest.warns(UserWarning, match="of 3 epochs 1 are in the history"):
        history = Fit()(epochs=4, checkpoint=folder, resume=True)
    assert history["epoch"] == [1, 4]


@pytest.mark.parametrize("harm", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_a_history_that_is_no_file_costs_no_run(folder, harm):
    whole, resumed = Fit(), Fit()
    whole()
    crash(Fit(), 16, checkpoint=folder)
    (folder / HISTORY).unlink()
    harm(folder / HISTORY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        resumed(checkpoint=folder, resume=True)
    assert "of 2 epochs 0 are in the history" in str(caught[0].message)
    assert resumed.bits()["arrays"] == whole.bits()["arrays"]


def test_a_copy_by_hard_links_stays_as_it_was(folder, tmp_path):
    Fit()(epochs=2, checkpoint=folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        os.link(path, copy / path.name)
    Fit()(epochs=4, checkpoint=folder, resume=True)
    for epochs, where in ((3, copy), (5, folder)):
        assert len(Fit()(epochs=epochs, checkpoint=where, resume=True)) == epochs


def test_what_callbacks_and_the_run_tell_is_looked_at_when_a_fit_goes_on(folder):
    Fit()(epochs=1, checkpoint=folder)
    fit = Fit()
    with pytest.raises(TypeError, match=r"written\.about\.x is <object"):
        fit(epochs=2, checkpoint=xn.Checkpoints(folder, about={"x": object()}), resume=True)
    assert fit.trainer.steps == STEPS


def test_a_state_that_can_no_longer_be_written_costs_no_training(folder):
    class Own(xn.Callback):
        late = False

        def state(self):
            return {"n": {1} if self.late else 1}

        def on_epoch_end(self, trainer, row):
            self.late = row["epoch"] > 2

    whole, kept = Fit(), Fit()
    whole()
    with pytest.warns(UserWarning, match=r"no checkpoint can be written .*callbacks.2.n is {1}"):
        kept(more=[Own()], checkpoint=folder)
    assert kept.bits() == whole.bits()


def test_a_checkpoint_s_size_does_not_depend_on_the_epoch(folder):
    net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=1, device="cpu")
    X = np.arange(4.0)[:, None]
    where = xn.Checkpoints(folder, keep=999)
    xn.Trainer(net, xn.SGD(0.01)).fit(X, X[:, 0], epochs=300, checkpoint=where)
    sizes = [path.stat().st_size for path in where.files()]
    assert len(sizes) > 200
    assert max(sizes[:50]) < min(sizes[-50:-10]) + 100  # digits of numbers


def test_a_history_that_was_damaged_costs_no_run(folder):
    whole, resumed = Fit(), Fit()
    whole()
    crash(Fit(), 26, checkpoint=folder)
    lines = (folder / HISTORY).read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    (folder / HISTORY).write_bytes(b"".join(lines[:2]))
    message = r"history.jsonl: altered or damaged .*: of 4 epochs 2 are in the history, and the tr"
    with pytest.warns(UserWarning, match=message):
        resumed(checkpoint=folder, resume=True)
    assert [row["epoch"] for row in resumed.trainer.history.rows] == [1, 2, 5]
    assert resumed.bits()["arrays"] == whole.bits()["arrays"]
    # And from then on it is as it is told.
    Fit()(epochs=6, checkpoint=folder, resume=True)


def test_rows_with_figures_of_one_s_own_come_back(device, folder):
    class Own(xn.Callback):
        def on_epoch_end(self, trainer, row):
            weights = trainer.network.parameters
            row["norm"] = (weights * weights).sum()
            row["both"] = weights[:2]
            row["nothing"] = math.nan

    fit = Fit(device)
    with fit.trainer.backend.active():
        fit(epochs=2, more=[Own()], checkpoint=folder)
    resumed = Fit(device)
    rows = resumed(epochs=2, checkpoint=folder, resume=True).rows
    assert [type(row["norm"]) for row in rows] == [float, float]
    assert [len(row["both"]) for row in rows] == [2, 2]
    assert all(math.isnan(row["nothing"]) for row in rows)


def test_a_history_of_others_is_not_written_over(folder):
    folder.mkdir()
    (folder / HISTORY).write_text("mine")
    with pytest.raises(ValueError, match=r"history\.jsonl: is there without a checkpoint"):
        Fit()(checkpoint=folder)
    assert (folder / HISTORY).read_text() == "mine"
    assert names(folder) == [HISTORY]


def test_another_number_of_threads_is_told(folder):
    with threadpoolctl.threadpool_limits(1, "blas"):
        Fit()(epochs=1, checkpoint=folder)
        Fit()(epochs=2, checkpoint=folder, resume=True)
    with (
        threadpoolctl.threadpool_limits(2, "blas"),
        pytest.warns(UserWarning, match=r"on 1 thread, and this is .* on 2 threads: the result m"),
    ):
        Fit()(epochs=3, checkpoint=folder, resume=True)


# -- costs on a device ----


def test_steps_without_a_checkpoint_copy_nothing_to_the_host(folder):
    def transfers(**options):
        backend = StrictBackend()
        fit = Fit(backend)
        fit(**options)
        return backend.transfers, backend.waits

    class Count(xn.Callback):
        def __init__(self):
            self.found = []

        def on_step_end(self, trainer, n):
            backend = trainer.backend
            # Whether a graph computes what it should is asked once.
            self.found.append(backend.transfers - backend.captures)

    count = Count()
    transfers(more=[count], checkpoint=xn.Checkpoints(folder, every=4))
    # Between two steps of the first epoch; a checkpoint is made after the fourth.
    differences = np.diff(count.found[:6])
    assert differences.tolist()[:3] == [0, 0, 0]
    assert differences[3] > 0
    assert differences[4] == 0


# -- kills ----


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_kills_lose_nothing(tmp_path):
    """A handful; ``python ci/kills.py`` makes 50 of them."""
    killer = Killer(tmp_path, seed=int.from_bytes(os.urandom(2)))
    killer.run(6, rivals=3)
    assert killer.kills.total() >= 6
    assert killer.rounds >= 1
