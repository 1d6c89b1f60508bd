"""The same network trained several times: which λ is chosen and how, and learning curves."""

import json

import numpy as np
import pytest

import xpnet as xn
from xpnet.analysis import at_once, room, sweeps
from xpnet.backends.select import select


def blobs(n=240, classes=3, seed=0):
    """Return noisy clusters: easy to learn by heart, hard to get right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    X = rng.normal(size=(classes, 6))[y] + 1.2 * rng.normal(size=(n, 6))
    return X, y


def make(device, hidden=16, **options):
    return xn.Network(
        [xn.Linear(hidden), xn.BatchNorm(), xn.ReLU(), xn.Linear(3)],
        loss="softmax_cross_entropy",
        n_features=6,
        device=device,
        **{"dtype": "float64", "random_state": 4} | options,
    )


FIT = {"batch_size": 16, "epochs": 4}

#: Factors of parameters, the first of which stays as it is, and what decays.
FACTORS = {"rate_factors": {"*.bias": 0.1, "0.weight": 0.0}, "decay_factors": {"*.bias": 2.0}}
DECAYING = xn.AdamW(0.01, weight_decay=0.1)


@pytest.fixture(params=["at once", "one by one"])
def way(request, monkeypatch):
    """All trainings at once, or one after the other since no two have room."""
    if request.param == "one by one":
        monkeypatch.setattr(room, "MOST_BYTES", 0)
    return request.param


@pytest.fixture
def reference():
    """Return the CPU with the reference kernels."""
    return select("cpu", fused=False)


def count_fits(monkeypatch):
    """Return a list that grows by the number of members of each network that is trained."""
    seen, fit = [], xn.Trainer.fit

    def counting(self, *data, **options):
        seen.append(self.network.members)
        return fit(self, *data, **options)

    monkeypatch.setattr(xn.Trainer, "fit", counting)
    return seen


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("loss", ["mean_squared_error", xn.Quantile(0.3)])
def test_an_error_that_is_not_defined_is_refused_before_anything_is_trained(device, n, loss):
    """Of values that are all the same there is no variance to explain, and no loss of a median."""
    X = np.random.default_rng(0).normal(size=(60, 4))
    net = xn.Network([xn.Linear(1)], loss=loss, n_features=4, device=device)
    before = net.state()
    parts = (X, X.sum(axis=1)), (X[:n], np.full(n, 0.1))
    for sweep in (xn.learning_curve, lambda *given: xn.choose_l2(*given, l2=(0, 1))):
        with pytest.raises(ValueError, match=r"all values of dev y are the same: .*Give a larger"):
            sweep(net, *parts)
    for name, array in before.items():
        np.testing.assert_array_equal(net.state()[name], array)


@pytest.mark.usefixtures("way")
class TestChoosingL2:
    values = (0.0, 1.0, 30.0)

    def choose(self, device, parts, **options):
        net = make(device)
        options = {"l2": self.values, "optimizer": xn.Adam(0.01)} | FIT | options
        return net, xn.choose_l2(net, *parts, **options)

    def by_hand(self, device, parts, l2, factors=None):
        net = make(device)
        trainer = xn.Trainer(net, xn.Adam(0.01), l2=l2, rate_factors=factors)
        trainer.fit(*parts[0], validation_data=parts[1], **FIT)
        return net

    @pytest.mark.parametrize("factors", [None, {"*.bias": 0.1, "0.weight": 6.0}])
    def test_it_trains_for_each_from_the_same_start(self, device, factors):
        parts = xn.partition(*blobs())
        _, choice = self.choose(device, parts, rate_factors=factors)
        assert [row["l2"] for row in choice.rows] == [*self.values]
        for row in choice.rows:
            net = self.by_hand(device, parts, row["l2"], factors)
            for name, part in zip(("train", "dev"), parts[:2], strict=True):
                measured = net.evaluate(*part)
                assert row[f"{name}_error"] == measured["error"]
                assert row[f"{name}_loss"] == pytest.approx(measured["loss"], rel=1e-12)

    def test_the_best_on_the_development_set_is_left_in_the_network(self, device):
        parts = xn.partition(*blobs())
        net, choice = self.choose(device, parts)
        ranks = [(row["dev_error"], row["dev_loss"]) for row in choice.rows]
        assert choice.l2 == self.values[ranks.index(min(ranks))]
        winner = self.by_hand(device, parts, choice.l2)
        for name, array in winner.state().items():
            np.testing.assert_allclose(net.state()[name], array, rtol=1e-12)
        assert choice.test == pytest.approx(winner.evaluate(*parts[2]))

    def test_neither_training_nor_test_set_has_a_say(self, device, monkeypatch):
        """The errors on them are turned round: the choice stays."""
        parts = xn.partition(*blobs())
        _, before = self.choose(device, parts)
        evaluate, sizes = xn.Network.evaluate, []
        dev = len(parts[1][1])
        # Parts of different sizes, to know them by.
        parts = [tuple(a[: len(a) - 1] for a in parts[0]), parts[1], parts[2]]
        parts[2] = tuple(a[: len(a) - 7] for a in parts[2])

        def turned(self, X, y):
            sizes.append(len(X))
            measured = evaluate(self, X, y)
            return measured if len(X) == dev else {k: 1.0 - v for k, v in measured.items()}

        monkeypatch.setattr(xn.Network, "evaluate", turned)
        _, after = self.choose(device, parts)
        ranks = [(row["dev_error"], row["dev_loss"]) for row in after.rows]
        assert after.l2 == self.values[ranks.index(min(ranks))]
        assert sizes.count(len(parts[2][1])) == 1  # the test set is looked at once,
        assert sizes[-1] == len(parts[2][1])  # when the choice is made
        assert before.l2 in self.values

    def test_without_a_test_set_there_is_no_test_error(self, device):
        parts = xn.partition(*blobs())
        _, choice = self.choose(device, parts[:2])
        assert choice.test is None

    def test_a_value_whose_training_diverges_is_no_candidate(self, device):
        parts = xn.partition(*blobs())
        # λ/n above 2/rate makes the weights swing up.
        net, choice = self.choose(device, parts, l2=(1e9, 0.0), optimizer=xn.SGD(0.1), epochs=10)
        assert choice.rows[0] == {"l2": 1e9}
        assert choice.l2 == 0.0
        assert np.isfinite(net.evaluate(*parts[1])["loss"])

    def test_if_all_diverge_it_says_so(self, device):
        parts = xn.partition(*blobs())
        with pytest.raises(xn.DivergedError, match="NaN or infinite"):
            self.choose(device, parts, l2=(1e9, 1e10), optimizer=xn.SGD(0.1), epochs=10)

    @pytest.mark.parametrize("bad", ["dev_error", "dev_loss"])
    @pytest.mark.parametrize("place", range(3))
    def test_a_figure_that_is_nan_is_never_the_best(self, monkeypatch, bad, place):
        """Wherever it stands among the others, and whichever of the two figures it is."""
        told = [{"dev_error": 0.3, "dev_loss": 2.0}, {"dev_error": 0.3, "dev_loss": 1.0}]
        told.insert(place, {"dev_error": 0.3, "dev_loss": 0.1} | {bad: np.nan})
        rows = iter(told)
        monkeypatch.setattr(sweeps, "measure", lambda *_: next(rows))
        _, choice = self.choose("cpu", xn.partition(*blobs()), epochs=1)
        assert choice.rows[self.values.index(choice.l2)]["dev_loss"] == 1.0

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_if_no_error_is_finite_it_says_so(self, monkeypatch, value):
        monkeypatch.setattr(sweeps, "measure", lambda *_: {"dev_error": value, "dev_loss": 1.0})
        with pytest.raises(ValueError, match="development error is NaN or infinite for every λ"):
            self.choose("cpu", xn.partition(*blobs()), epochs=1)

    @pytest.mark.parametrize(("cut_at", "tried"), [(1, [0.0]), (2, [0.0]), (3, [0.0, 1.0])])
    def test_a_training_that_was_cut_short_is_the_last_and_no_candidate(
        self, device, way, cut_at, tried
    ):
        """Unless it is the only one; those that were trained at once were all cut."""
        seen = []

        def watch(trainer, row):
            seen.append((trainer.l2, row["l2"]))
            return len(seen) == cut_at

        _, choice = self.choose(device, xn.partition(*blobs()), watch=watch)
        if way == "at once":
            cut_at, tried = 3, [*self.values]
        assert seen == [(value, value) for value in self.values[:cut_at]]
        assert [row["l2"] for row in choice.rows] == tried
        assert choice.l2 in tried

    def test_the_watcher_is_told_as_if_each_was_trained_alone(self, device):
        parts, seen = xn.partition(*blobs()), []

        def watch(trainer, row):
            seen.append(row["l2"])
            alone = xn.Trainer(make(device), xn.Adam(0.01), l2=row["l2"])
            alone.fit(*parts[0], validation_data=parts[1], **FIT)
            assert (trainer.steps, trainer.epochs) == (alone.steps, alone.epochs)
            assert trainer.network.members is None
            for name, values in trainer.network.state().items():
                np.testing.assert_allclose(values, alone.network.state()[name], rtol=1e-11)
            for own, moments in zip(trainer.moments, alone.moments, strict=True):
                own, moments = map(device.to_host, (own, moments))
                np.testing.assert_allclose(own, moments, rtol=1e-9, atol=1e-15)
            for column in ("epoch", "step", "train_loss", "dev_loss", "dev_error"):
                assert trainer.history[column] == pytest.approx(alone.history[column], rel=1e-12)

        self.choose(device, parts, watch=watch)
        assert seen == [*self.values]

    def test_factors_are_those_of_each_alone(self, device):
        parts, seen = xn.partition(*blobs()), []

        def watch(trainer, row):
            alone = xn.Trainer(make(device), DECAYING, l2=row["l2"], **FACTORS)
            alone.fit(*parts[0], **FIT)
            for name, values in trainer.network.state().items():
                np.testing.assert_allclose(values, alone.network.state()[name], rtol=1e-11)
            seen.append((trainer.rate_factors, trainer.decay_factors))

        net, _ = self.choose(device, parts, optimizer=DECAYING, watch=watch, **FACTORS)
        assert seen == [tuple(FACTORS.values())] * 3
        np.testing.assert_array_equal(net.state()["0.weight"], make(device).state()["0.weight"])

    def test_options_go_to_the_fit(self, device):
        stopping = xn.EarlyStopping(1)
        epochs = []
        self.choose(
            device, xn.partition(*blobs()), epochs=100, callbacks=[stopping],
            watch=lambda trainer, row: epochs.append(len(trainer.history)),
        )  # fmt: skip
        assert max(epochs) < 100

    @pytest.mark.parametrize(
        ("l2", "message"),
        [
            ((), r"l2 is \(\)"),
            ((0.1, 0.1), r"l2 is \(0.1, 0.1\): give different values"),
            ((0.1, -1.0), "a value of l2 is -1.0"),
            ((float("inf"),), "a value of l2 is inf"),
        ],
    )
    def test_bad_values(self, l2, message):
        with pytest.raises(ValueError, match=message):
            self.choose("cpu", xn.partition(*blobs()), l2=l2)

    def test_one_value_alone_is_no_choice(self):
        with pytest.raises(TypeError, match=r"l2 is 0\.1: give several values"):
            self.choose("cpu", xn.partition(*blobs()), l2=0.1)

    def test_bad_parts_are_told_by_name(self):
        (X, y), dev, test = xn.partition(*blobs())
        for parts, name in (
            ([(X, y), (dev[0][:, 1:], dev[1]), test], "dev X"),
            ([(X, y), dev, (test[0], test[1][1:])], "test X"),
        ):
            with pytest.raises(ValueError, match=name):
                self.choose("cpu", parts)


class TestAllAtOnce:
    """What is trained at once, and where it is one after the other."""

    def choose(self, device="cpu", values=(0.0, 1.0, 2.0, 3.0), **options):
        net = options.pop("net", None) or make(device)
        return xn.choose_l2(net, *xn.partition(*blobs())[:2], l2=values, **FIT | options)

    def test_all_values_are_members(self, device, monkeypatch):
        seen = count_fits(monkeypatch)
        self.choose(device, callbacks=[xn.EarlyStopping(2)])
        assert seen == [4]

    @pytest.mark.parametrize(
        ("members", "expected"), [(1, [None] * 4), (2, [2, 2]), (3, [2, 2]), (4, [4]), (9, [4])]
    )
    def test_as_many_as_memory_holds(self, monkeypatch, members, expected):
        net = make("cpu")
        n = len(xn.partition(*blobs())[0][1])
        one = room.bytes_of_a_member(net, xn.Adam(), FIT["batch_size"], n)
        monkeypatch.setattr(room, "MOST_BYTES", members * one)
        seen = count_fits(monkeypatch)
        assert [row["l2"] for row in self.choose(net=net).rows] == [0.0, 1.0, 2.0, 3.0]
        assert seen == expected

    def test_half_of_the_device_s_free_memory_is_taken(self, monkeypatch):
        net = make("cpu")
        n = len(xn.partition(*blobs())[0][1])
        one = room.bytes_of_a_member(net, xn.Adam(), FIT["batch_size"], n)
        monkeypatch.setattr(type(net.backend), "memory_free", lambda self: 4 * one)
        seen = count_fits(monkeypatch)
        self.choose(net=net)
        assert seen == [2, 2]

    def test_no_more_than_caches_hold(self, monkeypatch):
        net = make("cpu")
        one = room.bytes_of_a_step(net, xn.Adam(), FIT["batch_size"])
        monkeypatch.setattr(type(net.backend), "quick_bytes", lambda self: 2 * one)
        seen = count_fits(monkeypatch)
        self.choose(net=net)
        assert seen == [2, 2]

    def test_fewer_are_tried_where_memory_was_less_than_it_seemed(self, monkeypatch):
        fit, seen = xn.Trainer.fit, []

        def scarce(self, *data, **options):
            seen.append(self.network.members)
            if (self.network.members or 1) > 1:
                raise xn.OutOfMemoryError("no room")
            return fit(self, *data, **options)

        monkeypatch.setattr(xn.Trainer, "fit", scarce)
        assert len(self.choose().rows) == 4
        assert seen == [4, 2, None, None, None, None]

    def test_a_callback_that_may_not_know_members_sees_one_network(self, monkeypatch):
        losses = []
        seen = count_fits(monkeypatch)
        self.choose(callbacks=[lambda trainer, row: losses.append(row["dev_loss"] * 1.0)])
        assert seen == [None] * 4
        assert len(losses) == 16

    def test_a_layer_of_a_user_s_own_may_not_know_members(self, monkeypatch):
        class Rooted(xn.Tanh):
            pass

        net = xn.Network(
            [xn.Linear(4), Rooted(), xn.Linear(3)],
            loss="softmax_cross_entropy",
            n_features=6,
            device="cpu",
        )
        seen = count_fits(monkeypatch)
        self.choose(net=net)
        assert seen == [None] * 4

    def test_the_batch_size_is_measured_once(self, monkeypatch):
        sizes = []
        self.choose(batch_size="auto", watch=lambda t, row: sizes.append(t.history.batch_size))
        assert len({*sizes}) == 1

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"epochs": [1, 2]}, ValueError, "epochs has 2 values and this is one network"),
            ({"order_seed": [1, 2]}, ValueError, "order_seed has 2 values and this is one network"),
            ({"subsets": [[0], [1]]}, ValueError, "subsets are for members, and this is one"),
            ({"validation_subsets": [[0]]}, ValueError, "validation_subsets are for members"),
            ({"clip_norm": (1.0, 2.0)}, ValueError, "clip_norm has 2 values and this is one net"),
            ({"optimizer": xn.Adam([0.1, 0.2])}, ValueError, "and this is one network"),
            ({"sample_weight": np.ones((2, 144))}, ValueError, r"shape \(2, 144\): give one for"),
            ({"callbacks": 3}, TypeError, "callbacks is 3: give a list"),
            ({"callbacks": [3]}, TypeError, "callback 3: give a Callback or a function"),
            ({"epoch": 3}, TypeError, "epoch is no option of the trainings: .* batch_size, epochs"),
            ({"checkpoint": "run"}, TypeError, "checkpoint can't be given here: .* are of one fit"),
            ({"resume": True}, TypeError, "resume can't be given here"),
            ({"watch": 3}, TypeError, r"watch is 3: give a function of \(trainer, row\)"),
            (
                {"rate_factors": {"7.*": 1.0}},
                ValueError,
                r"rate_factors has '7\.\*', which fits no",
            ),
        ],
    )
    def test_what_members_may_have_is_not_for_what_stands_for_one_network(
        self, options, error, message
    ):
        with pytest.raises(error, match=message):
            self.choose(values=(0.0, 1.0), **options)

    def test_members_are_refused(self):
        net = make("cpu", members=2)
        parts = xn.partition(*blobs())[:2]
        with pytest.raises(ValueError, match="choose_l2 takes a single network"):
            xn.choose_l2(net, *parts, l2=(0, 1))
        with pytest.raises(ValueError, match="learning_curve takes a single network"):
            xn.learning_curve(net, *parts)

    def test_a_learning_curve_refuses_options_before_anything_is_trained(self, tmp_path):
        net, parts = make("cpu"), xn.partition(*blobs())[:2]
        before = net.parameters.copy()
        for options, message in (
            ({"checkpoint": tmp_path / "run"}, "checkpoint can't be given here"),
            ({"epoch": 3}, "epoch is no option of the trainings"),
            ({"watch": "row"}, "watch is 'row': give a function"),
        ):
            with pytest.raises(TypeError, match=message):
                xn.learning_curve(net, *parts, **options)
        np.testing.assert_array_equal(net.parameters, before)
        assert not (tmp_path / "run").exists()


class TestLearningCurve:
    def curve(self, device, parts, **options):
        net = make(device)
        options = {"optimizer": xn.Adam(0.01)} | FIT | options
        return net, xn.learning_curve(net, *parts[:2], **options)

    def test_sizes_and_updates(self, device):
        X, y = blobs(200)
        steps = []
        _, curve = self.curve(
            device, [(X, y), (X, y)], sizes=(0.05, 0.1, 0.5, 1.0), epochs=8, batch_size=20,
            watch=lambda trainer, row: steps.append(trainer.steps),
        )  # fmt: skip
        assert [row["examples"] for row in curve.rows] == [10, 20, 100, 200]
        assert [row["epochs"] for row in curve.rows] == [80, 80, 16, 8]
        assert steps == [80] * 4

    @pytest.mark.parametrize(
        "options", [{}, {"l2": 5.0}, {"rate_factors": {"*.bias": 0.1, "0.weight": 6.0}}]
    )
    def test_the_whole_set_gives_what_a_plain_fit_gives(self, device, options):
        train, dev, _ = xn.partition(*blobs())
        net, curve = self.curve(device, [train, dev], sizes=(0.2, 1.0), **options)
        plain = make(device)
        xn.Trainer(plain, xn.Adam(0.01), **options).fit(*train, **FIT)
        for name, array in plain.state().items():
            np.testing.assert_array_equal(net.state()[name], array)
        assert curve.rows[-1]["examples"] == len(train[1])
        assert curve.rows[-1]["train_error"] == plain.evaluate(*train)["error"]
        assert curve.rows[-1]["dev_loss"] == pytest.approx(plain.evaluate(*dev)["loss"])

    def test_factors_are_those_of_the_trainer(self, device):
        train, dev, _ = xn.partition(*blobs())
        options = {"optimizer": DECAYING, **FACTORS}
        net, _ = self.curve(device, [train, dev], sizes=(0.2, 1.0), **options)
        plain = make(device)
        xn.Trainer(plain, DECAYING, **FACTORS).fit(*train, **FIT)
        for name, array in plain.state().items():
            np.testing.assert_array_equal(net.state()[name], array)

    def test_smaller_sets_are_parts_of_larger_ones_with_their_share_of_each_class(
        self, device, monkeypatch
    ):
        X, y = blobs(300)
        X[:, 0] = np.arange(300)
        seen = []
        fit = xn.Trainer.fit

        def looking(self, X, y, **options):
            seen.append([np.asarray(net.backend.to_host(a)) for a in (X, y)])
            return fit(self, X, y, **options)

        net = make(device)
        monkeypatch.setattr(xn.Trainer, "fit", looking)
        xn.learning_curve(net, (X, y), (X, y), sizes=(0.1, 0.4, 1.0), batch_size=50, epochs=1)
        numbers = [{*rows[:, 0].astype(int)} for rows, _ in seen]
        assert numbers[0] < numbers[1] < numbers[2] == {*range(300)}
        for rows, labels in seen:
            np.testing.assert_array_equal(labels, y[rows[:, 0].astype(int)])
            shares = np.bincount(labels, minlength=3) / len(labels)
            np.testing.assert_allclose(shares, np.bincount(y) / 300, atol=1 / len(labels))

    def test_more_data_help_where_there_is_variance(self, device):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(1000, 20))
        y = (X[:, :3].sum(axis=1) + rng.normal(size=1000) > 0) * 1
        net = xn.Network(
            [xn.Linear(32), xn.ReLU(), xn.Linear(1)],
            loss="sigmoid_cross_entropy",
            n_features=20,
            device=device,
        )
        curve = xn.learning_curve(
            net, *xn.partition(X, y)[:2], sizes=(0.05, 1.0), batch_size=30, epochs=10,
            optimizer=xn.Adam(0.01),
        )  # fmt: skip
        small, whole = curve.rows
        assert small["train_error"] == 0.0
        assert small["dev_error"] > whole["dev_error"] + 0.05
        assert whole["dev_error"] > whole["train_error"] > 0.0

    @pytest.mark.parametrize("rate", [0.01, xn.Exponential(0.01, 0.8)])
    def test_at_once_it_is_what_it_is_one_by_one(self, reference, monkeypatch, rate):
        """Members with unequal parts of the data, and epochs of their own."""
        parts, told, seen = xn.partition(*blobs()), [], count_fits(monkeypatch)
        for share in (2.0, 0.0):
            monkeypatch.setattr(at_once, "LEAST_SHARE", share)
            steps = []
            net, curve = self.curve(
                reference, parts, sizes=(0.1, 0.45, 1.0), optimizer=xn.Adam(rate),
                watch=lambda trainer, row, steps=steps: steps.append(
                    (trainer.steps, trainer.epochs, *trainer.history["learning_rate"])
                ),
            )  # fmt: skip
            told.append((curve.rows, steps, net.parameters))
        assert seen == [None, None, None, 3]
        one_by_one, together = told
        for row, other in zip(one_by_one[0], together[0], strict=True):
            assert row == pytest.approx(other, rel=1e-10)
        for numbers, others in zip(one_by_one[1], together[1], strict=True):
            assert numbers == pytest.approx(others, rel=1e-12)
        np.testing.assert_allclose(one_by_one[2], together[2], rtol=1e-9)

    @pytest.mark.parametrize(
        ("sizes", "expected"), [((0.95, 1.0), [2]), ((0.2, 1.0), [None, None])]
    )
    def test_sizes_that_are_nearly_the_same_are_trained_at_once(self, monkeypatch, sizes, expected):
        seen = count_fits(monkeypatch)
        self.curve("cpu", xn.partition(*blobs()), sizes=sizes)
        assert seen == expected

    def test_regression_needs_no_classes(self, device):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(60, 4))
        y = X.sum(axis=1)
        net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=4, device=device)
        curve = xn.learning_curve(
            net, (X, y), (X, y), sizes=(0.5, 1.0), batch_size=10, epochs=30, optimizer=xn.Adam(0.01)
        )
        assert curve.rows[-1]["dev_error"] < 0.5

    def test_its_rows_are_plain(self, device):
        _, curve = self.curve(device, xn.partition(*blobs()), sizes=(0.5,))
        assert {*json.loads(json.dumps(curve.rows))[0]} == {
            *("examples", "epochs", "train_loss", "train_error", "dev_loss", "dev_error")
        }

    def test_its_picture(self, tmp_path):
        _, curve = self.curve("cpu", xn.partition(*blobs()), sizes=(0.3, 1.0))
        curve.plot(tmp_path / "curve.png", "blobs")
        assert (tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    def test_a_training_that_was_cut_short_is_no_point(self, device):
        seen = []
        _, curve = self.curve(
            device,
            xn.partition(*blobs()),
            watch=lambda trainer, row: seen.append(1) or len(seen) > 2,
        )
        assert (len(seen), len(curve.rows)) == (3, 2)

    def test_sizes_that_come_to_the_same_are_measured_once(self, device):
        _, curve = self.curve(device, xn.partition(*blobs()), sizes=(0.5, 0.501, 1.0))
        assert [row["examples"] for row in curve.rows] == [72, 144]

    def test_a_schedule_is_as_long_as_on_the_whole_set(self, device):
        rates = []

        def watch(trainer, row):
            rates.append(trainer.history["learning_rate"])

        rate = xn.Piecewise(0.01, (2,), (0.001,))
        self.curve(
            device, xn.partition(*blobs()), sizes=(0.25, 1.0), optimizer=xn.Adam(rate), watch=watch
        )
        assert rates[1] == [0.01, 0.01, 0.001, 0.001]
        assert rates[0] == [0.01] * (len(rates[0]) // 2) + [0.001] * (len(rates[0]) // 2)

    def test_so_is_one_of_weight_decay(self, device):
        asked = []

        def decay(step, epoch):
            asked.append(epoch)
            return 0.1

        self.curve(
            device,
            xn.partition(*blobs()),
            sizes=(0.25, 1.0),
            optimizer=xn.AdamW(0.01, weight_decay=decay),
        )
        assert 3 < max(asked) <= 4  # epochs of the whole set, of which there are 4

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sizes": ()}, r"sizes are \(\)"),
            ({"sizes": (0.5, 0.1)}, "give rising shares"),
            ({"sizes": (0.5, 0.5)}, "give rising shares"),
            ({"sizes": (0.0, 1.0)}, "give rising shares"),
            ({"sizes": (0.5, 1.5)}, "give rising shares"),
            (
                {"sizes": (0.001, 1.0)},
                "0.001 of 144 examples is 0, .* give a larger first size",
            ),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"epochs": 0}, "epochs is 0"),
        ],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            self.curve("cpu", xn.partition(*blobs()), **options)
