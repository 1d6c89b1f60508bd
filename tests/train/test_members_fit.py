"""Fits of several networks at once: each member ends as its network does alone."""

import contextlib
import json
import re

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.select import select
from xpnet.files import checkpoint_folder
from xpnet.files.checkpoint_folder import HISTORY
from xpnet.train.history import History, MemberEnd, is_row

#: 53 examples in batches of 10: 6 steps an epoch, the last one short.
N, STEPS = 53, 6

RNG = np.random.default_rng(0)
X = RNG.normal(size=(N + 20, 4))
Y = (X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=N + 20) > 0) * 1

#: What a fit measures, but for times.
FIGURES = ("epoch", "step", "learning_rate", "train_loss", "train_error", "dev_loss", "dev_error")


@pytest.fixture
def reference():
    return select("cpu", fused=False)


def of(value, i):
    """Return member i's of what there is for each member, or for all."""
    return value[i] if isinstance(value, list) else value


class Setting:
    """A fit with members, or of one of them alone: lists are what they have of their own."""

    def __init__(self, device, k=3, **options):
        self.device, self.k = device, k
        self.options = {
            "seeds": [3] * k,
            "dropout": 0.2,
            "smoothing": 0.0,
            "optimizer": xn.Adam,
            "rate": 0.02,
            "decay": None,
            "l2": 0.0,
            "clip_norm": None,
            "epochs": 4,
            "patience": None,
            "average": None,
            "dtype": "float64",
            "parametrization": "standard",
            "factors": {},
            "fit": {},
        } | options

    def network(self, i=None):
        """Return the network, or that of member i alone."""
        o = self.options
        pick = (lambda value: value) if i is None else lambda value: of(value, i)
        first = xn.Linear(8, parametrization=o["parametrization"])
        return xn.Network(
            [first, xn.BatchNorm(), xn.ReLU(), xn.Dropout(pick(o["dropout"])), xn.Linear(2)],
            loss=xn.SoftmaxCrossEntropy(label_smoothing=pick(o["smoothing"])),
            n_features=4,
            device=self.device,
            dtype=o["dtype"],
            random_state=pick(o["seeds"]),
            members=self.k if i is None else None,
        )

    def trainer(self, i=None):
        o = self.options
        pick = (lambda value: value) if i is None else lambda value: of(value, i)
        more = {} if o["decay"] is None else {"weight_decay": pick(o["decay"])}
        optimizer = o["optimizer"](pick(o["rate"]), **more)
        numbers = pick(o["l2"]), pick(o["clip_norm"])
        return xn.Trainer(self.network(i), optimizer, *numbers, **o["factors"])

    def fit(self, i=None, more=(), trainer=None, **options):
        """Fit, and return the trainer with its callbacks."""
        o = self.options
        trainer = trainer or self.trainer(i)
        callbacks = []
        if o["average"] is not None:
            callbacks.append(xn.WeightAverage(o["average"]))
        if o["patience"] is not None:
            callbacks.append(xn.EarlyStopping(o["patience"]))
        trainer.watching = callbacks
        given = {
            "batch_size": 10,
            "epochs": o["epochs"] if i is None else of(o["epochs"], i),
            "validation_data": (X[N:], Y[N:]),
            "callbacks": [*callbacks, *more],
        }
        trainer.fit(X[:N], Y[:N], **(given | o["fit"] | options))
        return trainer

    def check(self, together, **options):
        """See that each member is as its network alone."""
        for i in range(self.k):
            check_member(together, i, self.fit(i, **options))


def check_member(together, i, alone, tolerance=1e-12):
    history = together.history.member(i)
    assert len(history) == len(alone.history)
    assert history.columns == alone.history.columns
    for name in FIGURES:
        np.testing.assert_allclose(
            history[name], alone.history[name], rtol=tolerance, atol=tolerance, err_msg=name
        )
        assert [*map(type, history[name])] == [*map(type, alone.history[name])]
    assert (history.stopped, history.reason) == (alone.history.stopped, alone.history.reason)
    check_weights(together, i, alone, tolerance)


def check_weights(together, i, alone, tolerance=1e-12):
    pairs = [
        (together.network.parameters, alone.network.parameters),
        (together.network.statistics, alone.network.statistics),
        *zip(together.moments, alone.moments, strict=True),
    ]
    to_host = together.backend.to_host
    for several, one in pairs:
        np.testing.assert_allclose(
            to_host(several)[i], to_host(one), rtol=tolerance, atol=tolerance
        )


# -- the curve and the weights of each alone ----

OWN = {
    "the same": {},
    "rates": {"rate": [0.01, 0.02, 0.1]},
    "schedules": {"rate": [xn.Cosine(0.1, total=t) for t in (2, 4, 8)]},
    "l2": {"l2": [0.0, 0.1, 2.0]},
    "clipping": {"clip_norm": [0.01, 0.1, 1.0], "optimizer": xn.SGD, "rate": 0.3},
    "dropout": {"dropout": [0.1, 0.3, 0.5]},
    "dropout on a schedule": {"dropout": xn.Cosine(0.6, total=3)},
    "schedules of dropout": {
        "dropout": [xn.Cosine(0.6, total=t) for t in (2, 4, 8)],
        "epochs": [2, 4, 1],
    },
    "schedules of decay": {
        "optimizer": xn.AdamW,
        "decay": [xn.LogCosine(3.0, total=t) for t in (2, 4, 8)],
    },
    "smoothing": {"smoothing": [0.0, 0.1, 0.3]},
    "seeds": {"seeds": [3, 4, 9], "fit": {"shuffle": False}},
    "seeds and order": {"seeds": [3, 4, 9]},
    "sample": {"seeds": [3, 4, 9], "fit": {"monitor": 20}},
    "seeds, patience": {"seeds": [3, 4, 9], "patience": 2, "epochs": 12, "rate": [0.2, 0.05, 0.01]},
    "epochs": {"epochs": [2, 4, 1]},
    "weights": {"fit": {"sample_weight": np.linspace(0.5, 2.0, N)}},
    "accumulation": {"fit": {"micro_batches": 2}},
    "augmentation": {"fit": {"augmentation": xn.Augmentation([xn.GaussianNoise(0.1)])}},
    "patience": {"patience": 2, "epochs": 12, "rate": [0.2, 0.05, 0.01]},
    "patience or epochs": {"patience": 2, "epochs": [9, 3, 12], "rate": [0.2, 0.05, 0.01]},
    "factors": {
        "optimizer": xn.AdamW,
        "rate": [0.01, 0.02, 0.1],
        "parametrization": "ntk",
        "epochs": [2, 4, 1],
        "factors": {"rate_factors": {"*.bias": 0.1, "1.weight": 6}, "decay_factors": {"*": 2}},
    },
    "average": {"average": xn.ExponentialMovingAverage(0.9), "epochs": [3, 2, 4]},
    "average, patience": {
        "average": xn.SimpleMovingAverage(5),
        "patience": 1,
        "epochs": 9,
        "rate": [0.3, 0.05, 0.01],
    },
}


@pytest.mark.parametrize("own", OWN)
def test_a_member_is_the_network_alone(reference, own):
    setting = Setting(reference, **OWN[own])
    together = setting.fit()
    setting.check(together)
    if "patience" in own:
        ends = {end.epoch for end in together.history.ended.values()}
        assert len(ends) > 1  # they do end at different epochs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_member_is_the_network_alone_on_every_backend(device, dtype):
    own = {"rate": [0.01, 0.02, 0.05], "l2": [0.0, 0.1, 1.0], "dropout": [0.1, 0.2, 0.4]}
    setting = Setting(device, dtype=dtype, patience=3, **own)
    together = setting.fit()
    for i in range(3):
        check_member(together, i, setting.fit(i), 1e-12 if dtype == "float64" else 1e-4)


def test_one_member_is_the_network(reference):
    setting = Setting(reference, k=1, patience=1, epochs=9, rate=[0.3])
    together = setting.fit()
    setting.check(together)
    (stopping,), (alone,) = together.watching, setting.fit(0).watching
    for name in ("best", "best_epoch", "stopped_epoch"):
        assert getattr(stopping, name) == [getattr(alone, name)]
    assert together.history.stopped
    assert together.history["train_loss"][0] == [setting.fit(0).history["train_loss"][0]]


def test_figures_of_early_stopping_are_each_member_s(reference):
    setting = Setting(reference, **OWN["patience"])
    (together,) = setting.fit().watching
    for i in range(3):
        (alone,) = setting.fit(i).watching
        for name in ("best", "best_epoch", "stopped_epoch"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name), rel=1e-12)


class Told(xn.Callback):
    """Gives a member its development losses out of a list."""

    def __init__(self, losses, i=None):
        self.losses, self.i = iter(losses), i

    def on_epoch_end(self, trainer, row):
        if self.i is None:
            row["dev_loss"] = next(self.losses)
        else:
            row["dev_loss"][self.i] = next(self.losses)


def test_a_member_whose_figure_is_never_finite_keeps_its_last_weights(reference):
    setting = Setting(reference, epochs=3)
    trainers = []
    for i, harm in ((None, Told([np.nan] * 3, 1)), (1, Told([np.nan] * 3))):
        trainers.append(setting.trainer(i))
        of_whom = " of members 1" if i is None else ""
        with pytest.warns(UserWarning, match=f"^dev_loss{of_whom} was NaN or infinite in every"):
            trainers[-1].fit(
                X[:N],
                Y[:N],
                batch_size=10,
                epochs=3,
                validation_data=(X[N:], Y[N:]),
                callbacks=[harm, xn.EarlyStopping(9)],
            )
    together, alone = trainers
    np.testing.assert_allclose(
        together.network.parameters[1], alone.network.parameters, rtol=1e-12, atol=1e-12
    )


def test_without_the_best_weights_the_last_ones_stay(reference):
    setting = Setting(reference, rate=[0.3, 0.05, 0.01])
    callbacks = [xn.EarlyStopping(1, restore_best=False)]
    together = setting.fit(epochs=8, callbacks=callbacks)
    for i in range(3):
        stopping = xn.EarlyStopping(1, restore_best=False)
        check_member(together, i, setting.fit(i, epochs=8, callbacks=[stopping]))


def test_a_rate_set_by_hand_is_each_member_s(reference, tmp_path):
    class Halve(xn.Callback):
        def on_epoch_end(self, trainer, row):
            rate = trainer.learning_rate
            several = isinstance(rate, list)
            trainer.learning_rate = [r / 2 for r in rate] if several else rate / 2

    setting = Setting(reference, rate=[0.1, 0.05, 0.02])
    together = setting.fit(more=[Halve()])
    for i in range(3):
        check_member(together, i, setting.fit(i, more=[Halve()]))
    with pytest.raises(Crash.Error):
        setting.fit(more=[Halve(), Crash(15)], checkpoint=tmp_path / "run")
    resumed = setting.fit(more=[Halve()], checkpoint=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(together)


def test_a_second_fit_trains_all_again(reference):
    setting = Setting(reference, epochs=[1, 3, 2])
    together = setting.fit()
    setting.fit(trainer=together, epochs=2)
    assert together.history.ended == {}
    assert together.active.all()
    for i, epochs in enumerate((1, 3, 2)):
        losses = np.array(together.history["train_loss"])[:, i]
        assert np.isfinite(losses).all(), epochs


# -- the history ----


def test_the_history_has_a_column_for_each_member(reference):
    history = Setting(reference, epochs=[2, 4, 1], rate=[0.1, 0.2, 0.3]).fit().history
    assert np.array(history["dev_error"]).shape == (4, 3)
    assert history["learning_rate"][0] == [0.1, 0.2, 0.3]
    for name in ("train_loss", "train_error", "dev_loss", "dev_error", "learning_rate"):
        expected = np.arange(1, 5)[:, None] > [2, 4, 1]
        np.testing.assert_array_equal(np.isnan(np.array(history[name])), expected)
    assert history["epoch"] == [1, 2, 3, 4]
    assert [len(history.member(i)) for i in (0, 1, -1)] == [2, 4, 1]
    assert (history.stopped, history.diverged) == (False, ())
    assert json.loads(json.dumps(history.member(1).rows)) == history.member(1).rows


def test_a_member_that_is_not_there_has_no_history(reference):
    history = Setting(reference, epochs=1).fit().history
    with pytest.raises(IndexError, match="there is no member 3: there are 3, 0 to 2"):
        history.member(3)
    with pytest.raises(ValueError, match="the history of one network"):
        history.member(0).member(0)


def test_what_others_add_to_a_row_stays_as_it_is(reference):
    def add(trainer, row):
        row["own"] = [1, 2]

    history = Setting(reference, epochs=1).fit(more=[add]).history
    assert history.member(0)["own"] == [[1, 2]]


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"train_loss": [0.1, float("nan")], "learning_rate": [1.0, 2.0]}, True),
        ({"train_loss": []}, False),
        ({"train_loss": ["0.1"]}, False),
        ({"step": [3, 4]}, True),
        ({"epoch": [3, 4]}, False),
    ],
)
def test_what_a_row_may_hold(change, whole):
    row = dict.fromkeys(("epoch", "step", "learning_rate", "train_loss", "seconds"), 1)
    assert is_row(row | {"samples_per_second": 1.0} | change) is whole


# -- when a member stops ----


class Stop(xn.Callback):
    """Stops members after a step, and keeps what they then are."""

    def __init__(self, step, members, at="on_step_end"):
        self.step, self.members, self.kept = step, members, None
        setattr(self, at, self._stop)

    def _stop(self, trainer, _):
        if trainer.steps == self.step and self.kept is None:
            trainer.stop("enough", self.members)
            arrays = trainer.network.parameters, trainer.network.statistics, *trainer.moments
            self.kept = [np.array(trainer.backend.to_host(array)) for array in arrays]


@pytest.mark.parametrize("optimizer", [xn.SGD, xn.AdamW, xn.Lion])
def test_a_member_that_is_frozen_stays_to_the_last_bit(device, optimizer):
    setting = Setting(device, optimizer=optimizer, l2=0.1)
    together = setting.fit(more=[stop := Stop(8, [0, 2])])
    arrays = together.network.parameters, together.network.statistics, *together.moments
    for array, kept in zip(arrays, stop.kept, strict=True):
        same = (device.to_host(array) == kept).all(axis=-1)
        np.testing.assert_array_equal(same, [True, False, True])


@pytest.mark.parametrize("step", [1, 6, 8, 15])
@pytest.mark.parametrize("average", [None, xn.ExponentialMovingAverage(0.9)])
def test_a_member_may_stop_after_any_step(reference, step, average):
    setting = Setting(reference, average=average)
    together = setting.fit(more=[Stop(step, 1)])
    check_member(together, 1, setting.fit(1, more=[Stop(step, None)]))
    for i in (0, 2):
        check_member(together, i, setting.fit(i))
    end = together.history.ended[1]
    assert (end.epoch, end.step, end.reason) == (-(-step // STEPS), step, "enough")
    assert end.cut
    assert not end.diverged


@pytest.mark.parametrize("step", [6, 12, 24])
def test_a_member_may_stop_after_an_epoch(reference, step):
    setting = Setting(reference, average=xn.ExponentialMovingAverage(0.9))
    together = setting.fit(more=[Stop(step, [-1], "on_epoch_end")])
    check_member(together, 2, setting.fit(2, more=[Stop(step, None, "on_epoch_end")]))
    check_member(together, 0, setting.fit(0))


@pytest.mark.parametrize("at", ["on_step_end", "on_epoch_end"])
def test_with_the_last_member_the_fit_ends(reference, at):
    setting = Setting(reference)
    more = [Stop(6, 1, at), Stop(12, [0, 2], at)]
    together = setting.fit(more=more)
    assert together.steps == 12
    assert together.history.stopped
    assert together.history.reason == "no member is trained any more"
    check_member(together, 0, setting.fit(0, more=[Stop(12, None, at)]))
    assert together.active.all()


def test_what_members_don_t_do_alone_is_not_asked_of_one_network(reference):
    trainer = Setting(reference).fit(0, more=[Stop(8, [0])])
    assert (trainer.steps, trainer.history.reason) == (8, "enough")
    assert trainer.active.tolist() == [True]


def test_callbacks_say_whether_they_know_members():
    assert xn.EarlyStopping.takes_members
    assert xn.WeightAverage.takes_members
    assert not xn.Callback.takes_members


def test_members_are_known_to_be_trained(reference):
    seen = []
    Setting(reference, epochs=[2, 3, 1]).fit(
        more=[lambda trainer, row: seen.append(trainer.active.tolist())]
    )
    assert seen == [[True, True, True], [True, True, False], [False, True, False]]


def test_a_callback_s_own_step_leaves_frozen_members_alone(reference):
    class Own(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 8:
                before = trainer.network.parameters.copy()
                trainer.step(X[:7], Y[:7])
                changed = (trainer.network.parameters != before).any(axis=-1)
                assert changed.tolist() == [True, False, True]

    together = Setting(reference).fit(more=[Stop(7, 1), Own()])
    assert together.steps == 4 * STEPS + 1


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        (3, IndexError, "there is no member 3: there are 3, 0 to 2"),
        ([0, "a"], TypeError, "a member is 'a': give a whole number"),
        (True, TypeError, "a member is True: give a whole number"),
    ],
)
def test_a_member_that_is_not_there_can_t_be_stopped(reference, members, error, message):
    with pytest.raises(error, match=message):
        Setting(reference).trainer().stop("enough", members)


@pytest.mark.parametrize(
    ("i", "epochs", "error", "message"),
    [
        (None, [1, 2], ValueError, "epochs has 2 values and there are 3 members"),
        (None, [1, 2, 0], ValueError, "epochs is 0: give 1 or more"),
        (None, [1, 2, 1.5], TypeError, "epochs is 1.5: give a whole number"),
        (None, "3", TypeError, "epochs is '3': give a whole number"),
        (None, {1, 2, 3}, TypeError, "epochs is {1, 2, 3}: give a list, in the order of the memb"),
        (None, {1: 1, 2: 2, 3: 3}, TypeError, "epochs is {1: 1, 2: 2, 3: 3}: give a list, in the"),
        (None, np.array(3), TypeError, r"epochs is array\(3\): give a whole number"),
        (0, [3], ValueError, "epochs has 1 values and this is one network: give one number$"),
    ],
)
def test_epochs_that_make_no_sense_are_refused(reference, i, epochs, error, message):
    with pytest.raises(error, match=message):
        Setting(reference).fit(i, epochs=epochs)


# -- a member that diverges ----


def test_a_member_may_diverge_in_the_update_after_which_it_is_stopped(reference):
    class Burst(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == 8 and trainer.active[-1]:
                trainer.network.parameters[..., -1, :] = np.inf  # as if by the update
                trainer.stop("enough", members=[len(trainer.active) - 1])

    setting = Setting(reference)
    with pytest.warns(UserWarning, match=r"member 2 has diverged.*step 9.*of step 0"):
        together = setting.fit(more=[Burst()])
    end = together.history.ended[2]
    assert (end.diverged, end.step, end.good_step) == (True, 9, 0)
    assert together.history.diverged == (2,)
    initial = setting.trainer().network.parameters
    np.testing.assert_array_equal(together.network.parameters[2], initial[2])
    for i in (0, 1):
        check_member(together, i, setting.fit(i))


@pytest.mark.parametrize("seeds", [[3, 3, 3], [3, 4, 9]])
def test_a_member_that_diverges_is_put_back_and_the_others_go_on(device, seeds):
    setting = Setting(device, seeds=seeds, optimizer=xn.SGD, rate=[0.1, 1e200, 0.1])
    with pytest.warns(UserWarning, match="member 1 has diverged, and is trained no longer") as told:
        together = setting.fit()
    (message,) = [str(w.message) for w in told]
    found = re.search(r"epoch 1, step (\d+) \(first in the (.*) of layer 4", message)
    assert found, message
    assert "its weights are back at those of step 0. Try a smaller learning rate" in message
    for i in (0, 2):
        check_member(together, i, setting.fit(i))
    with pytest.raises(xn.DivergedError) as alone:
        setting.fit(1)
    end = together.history.ended[1]
    assert together.history.diverged == (1,)
    assert (end.epoch, end.step, end.good_step) == (
        alone.value.epoch,
        alone.value.step,
        alone.value.good_step,
    )
    assert re.findall(r"\(first .*?\);", str(alone.value))[0] in message
    assert len(together.history.member(1)) == 0
    assert np.isnan(np.array(together.history["dev_error"])[:, 1]).all()
    start = setting.network()
    np.testing.assert_array_equal(
        *(device.to_host(net.parameters)[1] for net in (together.network, start))
    )


class Nan(xn.Callback):
    """Sets a weight of members, or of the network alone, to NaN after a step."""

    def __init__(self, step, members=None, at="on_step_end"):
        self.step, self.members = step, members
        setattr(self, at, self._harm)

    def _harm(self, trainer, *_):
        if trainer.steps == self.step:
            for i in self.members or [...]:
                trainer.network.parameters[i] = np.nan


@pytest.mark.parametrize("at", ["on_step_end", "on_epoch_end"])
@pytest.mark.parametrize("step", [3, 6, 24])
@pytest.mark.parametrize(("patience", "seeds"), [(None, [3, 3, 3]), (5, [3, 4, 9])])
def test_a_member_may_diverge_at_any_step(reference, step, at, patience, seeds):
    if at == "on_epoch_end" and step in (3, 24):
        pytest.skip("no epoch ends there, or the fit does")
    setting = Setting(reference, patience=patience, seeds=seeds, rate=[0.01, 0.02, 0.1])
    with pytest.warns(UserWarning, match="member 2 has diverged") as told:
        together = setting.fit(more=[Nan(step, [2], at)])
    assert len(told) == 1
    for i in (0, 1):
        check_member(together, i, setting.fit(i))
    with pytest.raises(xn.DivergedError) as alone:
        setting.fit(2, trainer=(trainer := setting.trainer(2)), more=[Nan(step, None, at)])
    check_member(together, 2, trainer)
    end, error = together.history.ended[2], alone.value
    assert (end.epoch, end.step, end.good_step) == (error.epoch, error.step, error.good_step)


def test_members_diverge_one_after_the_other(reference):
    setting = Setting(reference)
    with (
        pytest.warns(UserWarning, match="has diverged") as told,
        pytest.raises(xn.DivergedError) as raised,
    ):
        setting.fit(trainer=(together := setting.trainer()), more=[Nan(3, [1]), Nan(9, [0, 2])])
    assert [str(w.message)[:21] for w in told] == ["member 1 has diverged", "member 0 has diverged"]
    assert str(raised.value).startswith("all members have diverged, this one last: the loss")
    assert "epoch 2, step 10" in str(raised.value)
    assert (raised.value.epoch, raised.value.step, raised.value.good_step) == (2, 10, 0)
    assert together.history.diverged == (0, 1, 2)
    assert together.steps == 0
    start = setting.network()
    np.testing.assert_array_equal(together.network.parameters, start.parameters)
    assert together.active.all()  # for the next fit


def test_a_single_member_diverges_as_the_network_does(reference):
    setting = Setting(reference, k=1)
    errors = []
    for i, harm in ((None, Nan(9, [0])), (0, Nan(9))):
        with pytest.raises(xn.DivergedError) as raised:
            setting.fit(i, more=[harm])
        errors.append(raised.value)
    assert str(errors[0]) == str(errors[1])
    assert len(errors[0].history) == len(errors[1].history) == 1


def test_the_good_state_is_a_hundred_steps_before_at_most(reference):
    setting = Setting(reference, epochs=40, rate=[0.01, 0.02, 0.01])
    with pytest.warns(UserWarning, match="back at those of step 200"):
        together = setting.fit(more=[Nan(230, [0])])
    with pytest.raises(xn.DivergedError):
        setting.fit(0, trainer=(alone := setting.trainer(0)), more=[Nan(230)])
    check_member(together, 0, alone)
    check_member(together, 1, setting.fit(1))


def test_a_host_that_lags_behind_the_device_puts_the_same_state_back():
    ends = []
    for late in (False, True):
        setting = Setting(StrictBackend(late=late), dtype="float64")
        with setting.device.active(), pytest.warns(UserWarning, match="member 1 has diverged"):
            together = setting.fit(more=[Nan(2, [1])])
        ends.append((bits(together), together.history.ended))
    assert ends[0] == ends[1]


def test_early_stopping_brings_the_best_weights_back_of_all_that_diverged(reference):
    setting = Setting(reference, patience=9, rate=[0.3, 0.01, 0.01])
    for i, harm in ((None, [Nan(14, [0]), Nan(20, [1, 2])]), (0, [Nan(14)])):
        trainer = setting.trainer(i)
        with contextlib.ExitStack() as stack:
            if i is None:
                stack.enter_context(pytest.warns(UserWarning, match="member [01] has diverged"))
            raised = stack.enter_context(pytest.raises(xn.DivergedError, match="brought"))
            setting.fit(i, trainer=trainer, more=harm)
        if i is None:
            together = trainer
            assert str(raised.value).endswith("Early stopping brought each one's best back")
    check_weights(together, 0, trainer)


def test_a_fit_ends_when_the_last_member_diverges_and_others_had_stopped(reference):
    setting = Setting(reference)
    with pytest.warns(UserWarning, match="member 1 has diverged"):
        together = setting.fit(more=[Stop(4, [0, 2]), Nan(9, [1])])
    assert together.history.diverged == (1,)
    assert (together.history.stopped, together.history.reason) == (
        True,
        "no member is trained any more",
    )
    check_member(together, 0, setting.fit(0, more=[Stop(4, None)]))


def test_a_warning_that_is_an_error_leaves_a_good_state(reference):
    setting = Setting(reference)
    with pytest.raises(UserWarning, match="member 1 has diverged"):
        setting.fit(trainer=(together := setting.trainer()), more=[Nan(3, [1])])
    assert np.isfinite(together.network.parameters).all()
    assert together.active.all()


# -- checkpoints ----


class Crash(xn.Callback):
    """Ends the process, so to speak, after a step."""

    class Error(Exception):
        pass

    def __init__(self, step, at="on_step_end"):
        self.step = step
        setattr(self, at, self._crash)

    def _crash(self, trainer, *_):
        if trainer.steps == self.step:
            raise self.Error


def bits(trainer):
    arrays = [trainer.network.parameters, trainer.network.statistics, *trainer.moments]
    arrays += trainer.update_step.rollback.copies
    rows = [[row[name] for name in FIGURES] for row in trainer.history.rows]
    return {
        "arrays": [trainer.backend.to_host(array).tobytes() for array in arrays],
        "rows": repr(rows),
        "history": (trainer.history.stopped, trainer.history.reason, trainer.history.ended),
        "counters": (trainer.steps, trainer.epochs),
        "stopping": [vars(w)["_seen"] for w in trainer.watching if hasattr(w, "_seen")],
    }


CHECKPOINTED = {
    "patience": OWN["patience"],
    "average": OWN["average, patience"],
    "epochs": OWN["epochs"] | {"rate": [0.1, 0.2, 0.3]},
    "seeds": {"seeds": [3, 4, 9], "epochs": [2, 4, 3]},
    "schedules": OWN["schedules"] | {"l2": [0.0, 0.1, 0.2], "clip_norm": [0.1, 1.0, 5.0]},
}


@pytest.mark.parametrize("step", [1, 9, 12, 20])
@pytest.mark.parametrize("own", CHECKPOINTED)
def test_a_fit_that_goes_on_ends_with_the_same_bits(reference, tmp_path, own, step):
    setting = Setting(reference, **CHECKPOINTED[own])
    whole = setting.fit(more=[Stop(4, 1)] if own == "schedules" else [])
    more = [Stop(4, 1)] if own == "schedules" else []
    run = xn.Checkpoints(tmp_path / "run", every=2)
    if step <= whole.steps:
        with pytest.raises(Crash.Error):
            setting.fit(more=[*more, Crash(step)], checkpoint=run)
    resumed = setting.fit(more=more if step < 6 else [], checkpoint=run, resume="auto")
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("step", [4, 8, 14])
def test_a_fit_with_a_member_that_has_diverged_goes_on(reference, tmp_path, step):
    setting = Setting(reference, patience=5)
    with pytest.warns(UserWarning, match="member 1 has diverged"):
        whole = setting.fit(more=[Nan(2, [1])])
    run = xn.Checkpoints(tmp_path / "run", every=1)
    with pytest.warns(UserWarning, match="member 1"), pytest.raises(Crash.Error):
        setting.fit(more=[Nan(2, [1]), Crash(step)], checkpoint=run)
    resumed = setting.fit(checkpoint=run, resume=True)  # and says nothing again
    assert bits(resumed) == bits(whole)
    assert resumed.history.diverged == (1,)


@pytest.mark.parametrize("step", [8, 10, 12, 13])
def test_a_fit_goes_on_in_the_epoch_in_which_a_member_stopped(reference, tmp_path, step):
    setting = Setting(reference, average=xn.SimpleMovingAverage(3))
    whole = setting.fit(more=[Stop(8, 1)])
    run = xn.Checkpoints(tmp_path / "run", every=1)
    with pytest.raises(Crash.Error):
        setting.fit(more=[Stop(8, 1), Crash(step + 1)], checkpoint=run)
    resumed = setting.fit(checkpoint=run, resume=True)
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("step", [4, 6, 9])
def test_a_fit_that_was_interrupted_goes_on(device, tmp_path, step):
    class Interrupt(xn.Callback):
        def on_step_end(self, trainer, n):
            if trainer.steps == step:
                trainer.interrupt()

    setting = Setting(device, epochs=[1, 3, 2], rate=[0.1, 0.2, 0.3])
    whole = setting.fit()
    cut = setting.fit(more=[Interrupt()], checkpoint=tmp_path / "run")
    assert (cut.history.stopped, cut.history.reason) == (True, "it was interrupted")
    resumed = setting.fit(checkpoint=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(whole)


def test_ends_that_no_trainer_wrote_are_refused(reference, tmp_path):
    setting = Setting(reference, epochs=[1, 3, 2])
    setting.fit(epochs=[1, 2, 2], checkpoint=tmp_path / "run")
    path = xn.Checkpoints(tmp_path / "run").files()[0]
    arrays, document = checkpoint_folder.read(path)
    for change in ({"member": 3}, {"member": "0"}, {"epoch": -1}, {"other": 1}):
        changed = json.loads(json.dumps(document))
        changed["trainer"]["fit"]["ended"][0] |= change
        path.write_bytes(checkpoint_folder.encode(arrays, changed))
        with pytest.raises(xn.ModelFileError, match="no run can go on from it"):
            setting.fit(checkpoint=tmp_path / "run", resume=True)


def test_a_fit_whose_members_have_all_ended_stays_so(reference, tmp_path):
    setting = Setting(reference, **OWN["patience"])
    whole = setting.fit(checkpoint=tmp_path / "run")
    again = setting.fit(checkpoint=tmp_path / "run", resume=True)
    assert bits(again) == bits(whole)
    assert whole.history.stopped


def test_more_epochs_are_as_if_they_had_been_asked_for_at_once(reference, tmp_path):
    setting = Setting(reference)
    whole = setting.fit(epochs=[2, 5, 4])
    setting.fit(epochs=[2, 3, 3], checkpoint=tmp_path / "run")
    resumed = setting.fit(epochs=[2, 5, 4], checkpoint=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(whole)
    with pytest.raises(ValueError, match="epochs of member 0 is 3, and in the checkpoint it ended"):
        setting.fit(epochs=[3, 5, 5], checkpoint=tmp_path / "run", resume=True)


def test_a_member_goes_on_from_where_it_ended(reference, tmp_path):
    setting = Setting(reference)
    whole = setting.fit(epochs=[3, 5, 4])
    with pytest.raises(Crash.Error):
        setting.fit(epochs=[2, 5, 4], checkpoint=tmp_path / "run", more=[Crash(13)])
    resumed = setting.fit(epochs=[3, 5, 4], checkpoint=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(whole)


def test_fewer_epochs_than_a_member_has_had_are_refused(reference, tmp_path):
    setting = Setting(reference)
    setting.fit(epochs=3, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"epochs of member 1 is 2, .* epoch 3: give 3 or more"):
        setting.fit(epochs=[4, 2, 4], checkpoint=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rate": [0.1, 0.2, 0.4]}, r"optimizer.learning_rate\[2\] is 0.4 here and 0.3"),
        ({"l2": [0.0, 0.0, 0.1]}, "l2 is"),
        ({"dropout": [0.1, 0.2, 0.3]}, r"network.layers\[3\].p is"),
        ({"seeds": [3, 3, 4]}, r"network.random_state\[2\] is 4 here and 3"),
        ({"clip_norm": [1.0, 2.0, 3.0]}, "clip_norm is"),
    ],
)
def test_another_run_is_refused_with_what_differs(reference, tmp_path, change, what):
    before = {"rate": [0.1, 0.2, 0.3], "epochs": 1}
    Setting(reference, **before).fit(checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=what):
        Setting(reference, **before | change).fit(checkpoint=tmp_path / "run", resume=True)


def test_the_best_checkpoint_is_that_of_the_members_mean(reference, tmp_path):
    history = Setting(reference, epochs=6, rate=0.2).fit(
        checkpoint=xn.Checkpoints(tmp_path / "run", keep=1)
    )
    means = np.mean(history.history["dev_loss"], axis=1)
    best = (int(np.argmin(means)) + 1) * STEPS
    kept = {int(path.stem[5:]) for path in (tmp_path / "run").glob("step-*")}
    assert kept == {best, 6 * STEPS}
    rows = [json.loads(line) for line in (tmp_path / "run" / HISTORY).read_text().splitlines()]
    assert np.array([row["dev_loss"] for row in rows]).shape == (6, 3)


# -- what it costs ----


@pytest.mark.parametrize("stop", [[], [Stop(2, 1)]], ids=["all", "one frozen"])
def test_nothing_leaves_the_device_within_an_epoch(stop):
    backend, found = StrictBackend(), []

    class Count(xn.Callback):
        def on_step_end(self, trainer, n):
            found.append((backend.transfers - backend.captures, backend.allocations))

    setting = Setting(backend, rate=[0.01, 0.02, 0.1], l2=[0.0, 0.1, 0.2], epochs=1)
    setting.fit(more=[*stop, Count()], batch_size=2)
    quiet = np.diff(found, axis=0)[12:-1]  # warmed up, and all rates of the epoch are there
    assert len(quiet) > 10
    assert not quiet.any()


def test_a_step_puts_nothing_back_while_all_are_trained(reference):
    trainer = Setting(reference).trainer()
    freezing = trainer.update_step.freezing
    trainer.step(X[:10], Y[:10])
    assert not freezing.some
    assert not freezing._copies
    freezing.freeze([1])
    assert len(freezing._copies) == 4  # parameters, statistics, two moments
    freezing.release()
    assert not freezing.some
    assert not freezing._copies


def test_the_batch_size_is_measured_with_all_members(reference):
    setting = Setting(reference, epochs=2, rate=[0.01, 0.02, 0.1])
    trainer = setting.trainer()
    before = trainer.network.parameters.copy()
    chosen = trainer.choose_batch_size(X, Y)
    np.testing.assert_array_equal(trainer.network.parameters, before)
    together = setting.fit(batch_size="auto")
    assert together.history.batch_size == chosen.batch_size == 8


# -- a history without a fit ----


def test_history_by_hand():
    rows = [{"epoch": e, "step": e, "train_loss": [e / 2, e / 4]} for e in (1, 2, 3)]
    history = History(rows, members=2, ended={0: MemberEnd(2, 2, "enough", cut=True)})
    assert history.member(0)["train_loss"] == [0.5, 1.0]
    assert history.member(0).reason == "enough"
    assert history.trained(3) == [1]
