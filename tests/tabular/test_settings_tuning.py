"""A search over settings: what it trains, and the best of it trained anew."""

import numpy as np
import pytest
from sklearn.metrics import root_mean_squared_error

import xpnet as xn
from xpnet.recipes.settings import Settings
from xpnet.recipes.specs import told
from xpnet.search import groups
from xpnet.search.trials import State, Trial
from xpnet.tabular import readers
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.tuning import TableSubject, retrain, vary

SMALL = Settings(hidden=(8,), epochs=3, dtype="float64")


def iris():
    return readers.read("iris", None, training=True)


@pytest.fixture(scope="module")
def subject():
    return TableSubject.prepare(iris(), SMALL, "cpu")


@pytest.fixture(scope="module")
def of_values():
    data = readers.read("diabetes", None, training=True)
    return TableSubject.prepare(data, SMALL, "cpu")


def trial(number, epoch=2, **setting):
    return Trial(number, setting, State.COMPLETE, 0.1, epoch, 3)


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "expected"),
        [
            ({}, {}),
            ({"hidden": (64, 32), "l2": 0.5}, {"hidden": (64, 32), "l2": 0.5}),
            ({"dropout": 0.5}, {"dropout": (0.5,)}),
            ({"dropout": (0.5, 0.1)}, {"dropout": (0.5, 0.1)}),
            ({"optimizer.beta_1": 0.8}, {"optimizer": "adam:beta_1=0.8"}),
            (
                {"optimizer.momentum": 0.8, "optimizer.nesterov": True, "optimizer": "sgd"},
                {"optimizer": "sgd:momentum=0.8,nesterov=true"},
            ),
            (
                {"activation": "leaky_relu:negative_slope=0.1", "schedule.warm_up": 2.0},
                {"activation": "leaky_relu:negative_slope=0.1", "schedule": "constant:warm_up=2.0"},
            ),
        ],
    )
    def test_values_of_a_search_take_the_place_of_others(self, setting, expected):
        assert vary(Settings(), setting) == Settings(**expected)

    @pytest.mark.parametrize("name", ["epochs", "seed", "rate", "hidden.units", "loss.delta", "."])
    def test_what_is_not_searched(self, name):
        with pytest.raises(ValueError, match="is nothing that is searched"):
            vary(Settings(), {name: 1})

    def test_what_a_value_is_called(self):
        values = (64,), (), False, None, 0.5, "relu", [1, 2]
        assert [told(v) for v in values] == ["64", "none", "false", "none", "0.5", "relu", "1,2"]


class TestCandidates:
    @pytest.mark.parametrize(
        "setting",
        [
            {},
            {"hidden": (6, 4), "dropout": 0.25, "batch_norm": True, "l2": 0.1},
            {"optimizer": "sgd", "optimizer.momentum": 0.9, "learning_rate": 0.05},
            {"schedule": "cosine", "batch_size": 16, "clip_norm": 1.0, "activation": "tanh"},
            {"loss.label_smoothing": 0.1, "input_dropout": 0.1, "augment": "noise:0.1"},
        ],
    )
    def test_each_is_the_training_of_its_settings(self, subject, setting):
        made = subject.candidate(setting)
        expected = Experiment.prepare(iris(), subject.settings(setting), "cpu")
        expected.run()
        history = made.trainer.fit(
            *made.data.train,
            batch_size=made.batch_size,
            epochs=made.epochs,
            validation_data=made.data.dev,
            augmentation=made.augmentation,
        )
        assert history["dev_loss"] == expected.trainer.history["dev_loss"]
        np.testing.assert_array_equal(
            made.trainer.network.parameters, expected.trainer.network.parameters
        )

    def test_a_repeat_differs_in_its_seed_alone(self, subject):
        first, second, again = (subject.candidate({}, repeat) for repeat in (0, 1, 1))
        assert [c.trainer.network.seeds for c in (first, second)] == [(0,), (1,)]
        assert (first.trainer.network.parameters != second.trainer.network.parameters).any()
        np.testing.assert_array_equal(
            second.trainer.network.parameters, again.trainer.network.parameters
        )
        assert first.data is second.data

    def test_those_that_are_alike_go_together(self, subject):
        augmented = {"augment": "noise:0.1"}
        keys = [
            groups.key(subject.candidate(setting))
            for setting in (
                {"learning_rate": 0.1},
                {"l2": 0.1},
                augmented,
                augmented | {"l2": 1.0},
                {"hidden": (4,)},
            )
        ]
        assert [keys.index(key) for key in keys] == [0, 0, 2, 2, 4]

    def test_members_may_differ_in_all_numbers_of_the_default_space(self, subject):
        space = subject.default_space()
        assert groups.shared_names(subject, space) == {"hidden"}

    def test_epochs_do_not_depend_on_what_is_searched(self):
        found = TableSubject.prepare(iris(), Settings(hidden=(4,)), "cpu")
        epochs = found.experiment.epochs
        assert epochs == 250
        assert found.candidate({"batch_size": 8}).epochs == epochs

    def test_a_bad_value_is_refused(self, subject):
        with pytest.raises(ValueError, match="no hidden layer to drop from"):
            subject.candidate({"hidden": (), "dropout": 0.5})


class TestFolds:
    @pytest.mark.parametrize("name", ["iris", "diabetes"])
    def test_each_example_but_those_of_the_test_set_is_held_out_once(self, name):
        data = readers.read(name, None, training=True)
        found = TableSubject.prepare(data, SMALL, "cpu", folds=4)
        n = len(found.experiment.parts["train"].labels)
        plain = Experiment.prepare(data, SMALL, "cpu").parts
        assert n == len(plain["train"].labels) + len(plain["dev"].labels)
        assert found.n_folds == len(found.data.folds) == 4
        assert sorted(np.concatenate([held for _, held in found.data.folds])) == [*range(n)]
        for train, held in found.data.folds:
            assert sorted([*train, *held]) == [*range(n)]
        np.testing.assert_array_equal(found.experiment.parts["test"].target, plain["test"].target)

    def test_classes_have_their_share_of_each(self):
        found = TableSubject.prepare(iris(), SMALL, "cpu", folds=5)
        labels = found.data.train[1]
        counts = [np.bincount(labels[held]) for _, held in found.data.folds]
        assert np.ptp(counts, axis=0).max() <= 1

    def test_too_few_examples(self):
        with pytest.raises(ValueError, match="folds is 99 and class setosa has 40 examples"):
            TableSubject.prepare(iris(), SMALL, "cpu", folds=99)


class TestSpace:
    def test_what_is_fixed_is_not_searched(self, subject):
        assert [*subject.default_space()] == [
            *("hidden", "learning_rate", "l2", "dropout", "batch_size")
        ]
        assert [*subject.default_space(["l2", "hidden", "seed"])] == [
            *("learning_rate", "dropout", "batch_size")
        ]

    def test_there_is_nothing_to_drop_from_without_hidden_layers(self):
        found = TableSubject.prepare(iris(), Settings(hidden=(), epochs=1), "cpu")
        assert "dropout" not in found.default_space(["hidden"])

    def test_options_are_called_as_on_the_command_line(self, subject):
        hidden = subject.default_space()["hidden"]
        assert hidden.names == tuple(map(told, hidden.options))
        subject.check(subject.default_space())

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            ({"optimizer": xn.choice(["adam", "adm"])}, "optimizer = adm: optimizer is 'adm'"),
            ({"dropout": xn.uniform(0, 1.5)}, "dropout = 1.5: dropout.s p is 1.5"),
            ({"learning_rate": xn.uniform(-1, 1)}, "learning_rate = -1.0: "),
            ({"batch_size": xn.int_uniform(0, 4)}, "batch_size = 0: batch_size is 0"),
            ({"augment": xn.choice(["", "flip"])}, "augment = flip: .*--image-shape"),
            (
                {
                    "optimizer": xn.choice(["adam", "sgd"]),
                    "optimizer.momentum": xn.when("optimizer", ["sgd"], xn.uniform(0, 2)),
                },
                "optimizer.momentum = 2.0: ",
            ),
        ],
    )
    def test_values_of_which_no_network_can_be_made(self, subject, space, message):
        with pytest.raises(ValueError, match=message):
            subject.check(space)


class TestMetric:
    def test_of_a_regression_in_its_own_units(self, of_values):
        metric = of_values.metric("neg_root_mean_squared_error")
        experiment = of_values.experiment
        dev, model = experiment.parts["dev"], experiment.model
        (found,) = metric.measure(model.network, *dev.data)
        predicted = model.target.decode(model.network.predict(dev.features))
        assert found == pytest.approx(-root_mean_squared_error(dev.target, predicted))

    def test_of_classes(self, subject):
        metric = subject.metric("f1_macro")
        assert not metric.minimize
        (found,) = metric.measure(subject.experiment.model.network, *subject.data.dev)
        assert 0 <= found <= 1

    def test_one_that_is_not_defined(self, subject, of_values):
        with pytest.raises(ValueError, match="metric is 'f2'"):
            subject.metric("f2")
        with pytest.raises(ValueError, match="'roc_auc' can't be measured"):
            of_values.metric("roc_auc")


class TestRetraining:
    def test_it_is_the_training_on_all_but_the_test_set(self, subject):
        setting = {"learning_rate": 0.02, "schedule": "cosine", "l2": 0.1}
        found = retrain(subject, [trial(4, 2, **setting)])
        assert {k: len(p.labels) for k, p in found.parts.items()} == {"train": 120, "test": 30}
        settings = Settings(**vars(SMALL) | setting | {"schedule": "cosine:total=3", "epochs": 2})
        assert found.settings == settings
        alone = Experiment.prepare(iris(), settings, "cpu", dev=False)
        alone.run()
        np.testing.assert_array_equal(
            found.model.network.parameters, alone.model.network.parameters
        )

    def test_with_folds_too(self):
        by_folds = TableSubject.prepare(iris(), SMALL, "cpu", folds=3)
        plain = TableSubject.prepare(iris(), SMALL, "cpu")
        one, other = (retrain(s, [trial(0, l2=0.1)]) for s in (by_folds, plain))
        np.testing.assert_array_equal(one.model.network.parameters, other.model.network.parameters)

    def test_the_model_says_where_it_is_from(self, subject, tmp_path):
        found = retrain(subject, [trial(4, 2, hidden=(4,))], study={"name": "s"})
        found.model.save(tmp_path / "m.safetensors")
        told_there = xn.load_model(tmp_path / "m.safetensors", "cpu").training
        assert told_there["trained_on"] == ["train", "dev"]
        assert told_there["settings"]["hidden"] == [4]
        assert told_there["study"] == {
            "name": "s",
            "trials": [{"number": 4, "value": 0.1, "epochs": 2, "setting": {"hidden": "4"}}],
        }

    def test_a_file_that_says_so_otherwise_is_refused(self, subject, tmp_path):
        found = retrain(subject, [trial(0)]).model
        found.training["trained_on"] = "train"
        found.save(tmp_path / "m.safetensors")
        with pytest.raises(xn.ModelFileError, match="what it was trained on is 'train'"):
            xn.load_model(tmp_path / "m.safetensors", "cpu")

    def test_the_best_that_go_together_are_the_members_of_one(self, subject):
        trials = [
            trial(3, 2, hidden=(8,), l2=0.1),
            trial(1, 1, hidden=(4,)),
            trial(0, 3, hidden=(8,), batch_size=16),
            trial(2, 1, hidden=(8,), optimizer="sgd"),
        ]
        found = retrain(subject, trials, keep=2)
        network = found.model.network
        assert network.members == found.settings.members == 2
        assert network.seeds == (0, 1)
        assert [t["number"] for t in found.model.training["study"]["trials"]] == [3, 0]
        first = retrain(subject, trials[:1])
        np.testing.assert_array_equal(network.member(0).parameters, first.model.network.parameters)
        assert retrain(subject, trials, keep=9).model.network.members == 3
        assert retrain(subject, trials[1:2], keep=9).model.network.members is None

    def test_its_error_is_that_of_their_mean(self, subject):
        found = retrain(subject, [trial(0), trial(1, l2=1.0)], keep=2)
        errors = found.evaluate()
        assert [*errors] == ["train", "test"]
        X, y = found.parts["test"].data
        mean = found.model.network.predict_proba(X, members=True).mean(axis=0)
        assert errors["test"]["error"] == pytest.approx((mean.argmax(axis=1) != y).mean())

    def test_one_that_diverges_is_passed_over(self, subject):
        wild = trial(0, 3, optimizer="sgd", learning_rate=1e200)
        with pytest.warns(UserWarning, match="trial 0 diverged when it was trained anew"):
            found = retrain(subject, [wild, trial(1)])
        assert [t["number"] for t in found.model.training["study"]["trials"]] == [1]
        with pytest.warns(UserWarning, match="trial 0"), pytest.raises(xn.DivergedError):
            retrain(subject, [wild])

    def test_without_trials(self, subject):
        with pytest.raises(ValueError, match="no trial has a value"):
            retrain(subject, [])

    def test_a_test_set_that_is_kept_apart_stays_so(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
        data = Dataset("d", X[:40], y[:40], X[40:], y[40:])
        found = retrain(TableSubject.prepare(data, SMALL, "cpu"), [trial(0)])
        assert {k: len(p.labels) for k, p in found.parts.items()} == {"train": 40, "test": 20}
