"""Cross-validation: its folds, and each training as it is alone on its folds."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.analysis import cross_validation, room
from xpnet.backends.select import select
from xpnet.data.folds import fold_of_each

FIT = {"batch_size": 16, "epochs": 3, "optimizer": xn.Adam(0.01), "l2": 0.5}


@pytest.fixture
def reference():
    """Return the CPU with the reference kernels."""
    return select("cpu", fused=False)


@pytest.fixture(params=["at once", "one by one"])
def way(request, monkeypatch):
    """All trainings at once, or one after the other since no two have room."""
    if request.param == "one by one":
        monkeypatch.setattr(room, "MOST_BYTES", 0)
    return request.param


def blobs(n=103, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return rng.normal(size=(classes, 6))[y] + 1.2 * rng.normal(size=(n, 6)), y


def make(device, loss="softmax_cross_entropy", outputs=3, **options):
    layers = [xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(outputs)]
    return xn.Network(
        layers, loss=loss, n_features=6, device=device,
        **{"dtype": "float64", "random_state": 7} | options,
    )  # fmt: skip


class TestFolds:
    @pytest.mark.parametrize("n", [10, 11, 103])
    @pytest.mark.parametrize("folds", [2, 3, 10])
    def test_all_are_of_the_same_size_but_for_one(self, n, folds):
        sizes = np.bincount(fold_of_each(n, folds, None, seed=0))
        assert len(sizes) == folds
        assert sizes.max() - sizes.min() <= 1

    @pytest.mark.parametrize("folds", [2, 3, 5])
    def test_each_has_its_share_of_each_class(self, folds):
        labels = np.repeat([5, 1, 9], [60, 31, 8])
        fold = fold_of_each(99, folds, labels, seed=3)
        counts = np.array(
            [[(labels[fold == f] == c).sum() for c in (5, 1, 9)] for f in range(folds)]
        )
        assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
        assert np.ptp(counts.sum(axis=1)) <= 1

    def test_they_depend_on_seed_and_repeat_alone(self):
        first = fold_of_each(50, 5, None, seed=1, repeat=2)
        np.testing.assert_array_equal(first, fold_of_each(50, 5, None, seed=1, repeat=2))
        for seed, repeat in ((1, 3), (2, 2)):
            assert (first != fold_of_each(50, 5, None, seed, repeat)).any()


class TestEachTraining:
    def alone(self, device, X, y, found, i, **options):
        """Train what a row is of, alone on its folds."""
        row = found.rows[i]
        out = found.folds[row["repeat"]] == row["fold"]
        net = make(device, **options | {"random_state": row["seed"]})
        trainer = xn.Trainer(net, FIT["optimizer"], l2=FIT["l2"])
        more = {k: FIT[k] for k in ("batch_size", "epochs")}
        trainer.fit(X[~out], y[~out], validation_data=(X[out], y[out]), **more)
        return net, trainer, out

    def check(self, device, X, y, found, **options):
        for i, row in enumerate(found.rows):
            net, trainer, out = self.alone(device, X, y, found, i, **options)
            for part, mask in (("train", ~out), ("dev", out)):
                measured = net.evaluate(X[mask], y[mask])
                for what, value in measured.items():
                    assert row[f"{part}_{what}"] == pytest.approx(value, rel=1e-10)
            for column in ("train_loss", "train_error", "dev_loss", "dev_error"):
                history = found.histories[i][column]
                assert history == pytest.approx(trainer.history[column], rel=1e-10)
            says = net.predict_proba if net.loss.has_probabilities else net.predict
            np.testing.assert_allclose(
                found.predictions[row["repeat"]][out], says(X[out]), rtol=1e-9, atol=1e-12
            )

    def test_it_is_what_it_is_alone_on_its_folds(self, reference, way):
        X, y = blobs()
        found = xn.cross_validate(make(reference), X, y, folds=4, repeats=2, **FIT)
        assert [(row["repeat"], row["fold"], row["seed"]) for row in found.rows] == [
            (i // 4, i % 4, 7 + i) for i in range(8)
        ]
        assert found.predictions.shape == (2, 103, 3)
        self.check(reference, X, y, found)

    @pytest.mark.parametrize(
        ("loss", "outputs"),
        [
            ("sigmoid_cross_entropy", 1),
            ("sigmoid_cross_entropy", 2),
            ("mean_squared_error", 1),
            ("mean_squared_error", 2),
        ],
    )
    def test_other_losses(self, reference, loss, outputs):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(60, 6))
        y = X[:, :outputs] + 0.3 * rng.normal(size=(60, outputs))
        y = (y > 0) * 1 if loss == "sigmoid_cross_entropy" else y
        y = y[:, 0] if outputs == 1 else y
        options = {"loss": loss, "outputs": outputs}
        found = xn.cross_validate(make(reference, **options), X, y, folds=3, **FIT)
        assert found.predictions.shape == ((1, 60) if outputs == 1 else (1, 60, 2))
        self.check(reference, X, y, found, **options)

    @pytest.mark.parametrize("device", ["numpy", "numba"], indirect=True)
    def test_on_each_backend(self, device):
        X, y = blobs()
        found = xn.cross_validate(make(device), X, y, folds=3, **FIT)
        self.check(device, X, y, found)

    def test_the_network_stays_as_it_is(self, reference):
        net = make(reference)
        before = net.parameters.copy()
        xn.cross_validate(net, *blobs(), folds=3, **FIT)
        np.testing.assert_array_equal(net.parameters, before)

    def test_all_are_trained_at_once(self, reference, monkeypatch):
        seen, fit = [], xn.Trainer.fit

        def counting(self, *data, **options):
            seen.append(self.network.members)
            return fit(self, *data, **options)

        monkeypatch.setattr(xn.Trainer, "fit", counting)
        xn.cross_validate(make(reference), *blobs(), folds=5, repeats=4, **FIT)
        assert seen == [20]

    def test_weights_are_those_of_the_examples(self, reference, monkeypatch):
        X, y = blobs()
        weights = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
        told = []
        for most in (2**31, 0):
            monkeypatch.setattr(room, "MOST_BYTES", most)
            options = FIT | {"sample_weight": weights}
            told.append(xn.cross_validate(make(reference), X, y, folds=3, **options))
        for row, other in zip(told[0].rows, told[1].rows, strict=True):
            assert row == pytest.approx(other, rel=1e-9)

    @pytest.mark.usefixtures("way")
    def test_factors_are_those_of_each_alone(self, reference):
        X, y = blobs()
        factors = {"rate_factors": {"*.bias": 0.1, "0.*": 6}, "decay_factors": {"1.*": 0.5}}
        optimizer = xn.AdamW(0.01, weight_decay=0.1)

        def watch(trainer, row):
            rows = drawn[0] != row["fold"]
            alone = xn.Trainer(make(reference, random_state=row["seed"]), optimizer, **factors)
            alone.fit(X[rows], y[rows], batch_size=16, epochs=3)
            for name, values in trainer.network.state().items():
                np.testing.assert_allclose(values, alone.network.state()[name], rtol=1e-10)

        drawn = np.array([fold_of_each(len(y), 3, y, seed=7)])
        options = {"batch_size": 16, "epochs": 3, "optimizer": optimizer, "watch": watch}
        found = xn.cross_validate(make(reference), X, y, folds=3, **options, **factors)
        np.testing.assert_array_equal(found.folds, drawn)

    def test_callbacks_and_augmentation(self, reference, monkeypatch):
        X, y = blobs()
        told = []
        for most in (2**31, 0):
            monkeypatch.setattr(room, "MOST_BYTES", most)
            options = FIT | {
                "callbacks": [xn.EarlyStopping(1, "train_loss")],
                "augmentation": xn.Augmentation([xn.GaussianNoise(0.1)]),
            }
            told.append(xn.cross_validate(make(reference), X, y, folds=3, **options))
        for row, other in zip(told[0].rows, told[1].rows, strict=True):
            assert row == pytest.approx(other, rel=1e-9)
        assert [*map(len, told[0].histories)] == [*map(len, told[1].histories)]

    @pytest.mark.usefixtures("way")
    def test_networks_that_the_watcher_keeps_stay_those_of_their_folds(self):
        X, y = blobs()
        kept = []
        found = xn.cross_validate(
            make("cpu"),
            X,
            y,
            folds=3,
            watch=lambda trainer, row: kept.append(trainer.network),
            **FIT,
        )
        assert [net.random_state for net in kept] == found.column("seed")
        for fold, net in enumerate(kept):
            out = found.folds[0] == fold
            says = net.predict_proba(X[out])
            np.testing.assert_allclose(says, found.predictions[0][out], rtol=1e-12)

    def test_the_watcher_sees_each_with_its_weights(self, reference):
        X, y, seen = *blobs(), []

        def watch(trainer, row):
            seen.append((row["fold"], trainer.epochs))
            assert trainer.network.evaluate(X, y)["loss"] > 0

        xn.cross_validate(make(reference), X, y, folds=3, watch=watch, **FIT)
        assert seen == [(0, 3), (1, 3), (2, 3)]

    @pytest.mark.usefixtures("way")
    def test_one_that_diverges_is_shown_as_such(self, reference):
        X, y = blobs()
        net = make(reference)
        # Of the fold that trains on it, this example makes the loss infinite.
        rare = xn.Network(
            [xn.Linear(1)], loss="mean_squared_error", n_features=1, device=reference,
            dtype="float64",
        )  # fmt: skip
        x = np.ones((20, 1))
        x[3] = 1e200
        values = np.arange(20.0)
        found = xn.cross_validate(
            rare, x, values, folds=20, optimizer=xn.SGD(0.1), batch_size=19, epochs=3
        )
        gone = [row for row in found.rows if "dev_loss" not in row]
        assert len(gone) == 19
        assert np.isnan(found.error)
        assert str(found).count("the training diverged") == 19
        with pytest.raises(xn.DivergedError):
            xn.cross_validate(
                net, X * 1e200, y, folds=2, optimizer=xn.SGD(1e300), batch_size=16, epochs=3
            )


class TestResult:
    @pytest.fixture
    def found(self, reference):
        return xn.cross_validate(make(reference), *blobs(), folds=3, repeats=2, **FIT)

    def test_means_and_deviations(self, found):
        errors = [row["dev_error"] for row in found.rows]
        losses = [row["dev_loss"] for row in found.rows]
        assert found.error == pytest.approx(np.mean(errors))
        assert found.error_std == pytest.approx(np.std(errors))
        assert found.loss == pytest.approx(np.mean(losses))
        assert found.loss_std == pytest.approx(np.std(losses))
        assert found.column("dev_error") == errors

    def test_predictions_give_the_error_again(self, found):
        y = blobs()[1]
        for repeat in range(2):
            wrong = found.predictions[repeat].argmax(axis=1) != y
            for row in found.rows[3 * repeat : 3 * repeat + 3]:
                out = found.folds[repeat] == row["fold"]
                assert row["dev_error"] == pytest.approx(wrong[out].mean())

    def test_printed_it_is_a_table(self, found):
        lines = str(found).splitlines()
        assert len(lines) == 1 + 6 + 2
        assert len({*map(len, lines)}) == 1
        assert lines[0].split() == [
            *("repeat", "fold", "train_loss", "train_error", "dev_loss", "dev_error")
        ]
        assert lines[-2].split()[-1] == f"{found.error:.2%}"
        assert lines[-1].split()[-1] == f"{found.error_std:.2%}"

    def test_its_picture(self, found, tmp_path):
        found.plot(tmp_path / "folds.png", "blobs")
        assert (tmp_path / "folds.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    def test_an_error_that_is_not_defined_is_nan(self, reference):
        """Leaving one out, there is no variance to explain."""
        X, _ = blobs(12)
        net = make(reference, "mean_squared_error", 1)
        found = xn.cross_validate(net, X, X[:, 0], folds=12, **FIT | {"batch_size": 4})
        assert np.isnan(found.error)
        assert np.isfinite(found.loss)
        assert np.isfinite(found.predictions).all()


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"folds": 1}, "folds is 1: give 2 or more"),
            ({"folds": 0}, "folds is 0: give 2 or more"),
            ({"folds": 104}, "folds is 104 and there are 103 examples: give 103 or fewer"),
            ({"folds": 60}, r"folds is 60 and class \d has \d+ examples: give fewer folds"),
            ({"repeats": 0}, "repeats is 0: give 1 or more"),
            ({"l2": -1.0}, "l2 is -1"),
            ({"optimizer": xn.Adam([0.1, 0.2])}, "and this is one network"),
            ({"callbacks": [xn.EarlyStopping(3)]}, "EarlyStopping watches 'dev_loss', which is"),
            ({"callbacks": [xn.EarlyStopping(3, "dev_error")]}, "judged too well. Watch 'train"),
        ],
    )
    def test_values(self, options, message):
        with pytest.raises(ValueError, match=message):
            xn.cross_validate(make("cpu"), *blobs(), **FIT | options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"folds": 2.5}, "folds is 2.5: give a whole number"),
            ({"validation_data": ([], [])}, "takes no validation_data: each fold is measured on"),
            ({"subsets": []}, "takes no subsets: the folds are"),
            ({"checkpoint": "run"}, "takes no checkpoint"),
            ({"resume": True}, "takes no resume"),
            ({"random_state": 3}, "random_state is no option of the trainings: .* epochs, "),
            ({"watch": 3}, r"watch is 3: give a function of \(trainer, row\)"),
        ],
    )
    def test_types(self, options, message):
        with pytest.raises(TypeError, match=message):
            xn.cross_validate(make("cpu"), *blobs(), **FIT | options)

    def test_members_are_refused(self):
        with pytest.raises(ValueError, match="cross_validate takes a single network"):
            xn.cross_validate(make("cpu", members=3), *blobs())

    def test_no_network(self):
        with pytest.raises(TypeError, match="give a Network"):
            xn.cross_validate("net", *blobs())

    def test_every_option_that_is_not_for_here_is_one_of_fit(self):
        import inspect

        assert {*cross_validation.NOT_HERE} <= {*inspect.signature(xn.Trainer.fit).parameters}
