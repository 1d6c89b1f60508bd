"""The search: what it trains together, what it stops, and that each trial is the network alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scripted import Blobs, Scripted

import xpnet as xn
from xpnet.analysis.room import bytes_of_a_member
from xpnet.search import groups
from xpnet.search.halving import Halving
from xpnet.search.random_study import RandomStudy
from xpnet.search.runs import Run
from xpnet.search.search import ALL_FAIL, Search
from xpnet.search.stopped import Stopped
from xpnet.search.trials import State
from xpnet.train.metrics import as_metric

RATE, P, UNITS = xn.log_uniform(1e-3, 1e-1), xn.uniform(0, 0.5), xn.choice([4, 8])


def settings(n, units=(8,)):
    """Return n settings that are all different."""
    rates = np.geomspace(1e-3, 1e-1, n)
    return [
        {"rate": float(rate), "p": 0.5 * i / n, "units": units[i % len(units)]}
        for i, rate in enumerate(rates)
    ]


def study_of(n, units=(8,)):
    return Scripted({"rate": RATE, "p": P, "units": UNITS}, settings(n, units))


def alone(subject, setting, epochs, name="dev_loss"):
    """Return the objective after each epoch of networks that are trained alone, one per fold."""
    figures = []
    for fold in range(subject.n_folds):
        made, data = subject.candidate(setting, fold), subject.data
        train, dev = data.train, data.dev
        if data.folds is not None:
            own, held_out = data.folds[fold]
            train, dev = (train[0][own], train[1][own]), (dev[0][held_out], dev[1][held_out])
        history = made.trainer.fit(
            *train, batch_size=made.batch_size, epochs=epochs, validation_data=dev
        )
        figures.append(history[name])
    return np.mean(figures, axis=0)


def search(study, subject=None, **options):
    found = Search(subject or Blobs(), study, as_metric("loss"), **options)
    found.run()
    return found


class TestEachTrialIsTheNetworkAlone:
    @pytest.mark.parametrize("members", [1, 2, 3, 8])
    def test_value_and_epoch(self, members):
        study, subject = study_of(7), Blobs()
        search(study, subject, members=members)
        assert [t.state for t in study.trials()] == [State.COMPLETE] * 7
        for trial in study.trials():
            curve = alone(subject, trial.setting, 6)
            assert trial.value == pytest.approx(min(curve), rel=1e-10)
            assert trial.best_epoch == 1 + np.argmin(curve)
            assert trial.epochs == 6

    def test_trials_that_others_had_the_place_of_before(self):
        study, subject = study_of(9), Blobs()
        for i, setting in enumerate(study._left):
            setting["epochs"] = 2 + 3 * i % 7
        search(study, subject, members=3)
        for trial in study.trials():
            epochs = trial.setting["epochs"]
            assert trial.epochs == epochs
            expected = min(alone(subject, trial.setting, epochs))
            assert trial.value == pytest.approx(expected, rel=1e-10)

    def test_by_folds(self):
        study, subject = study_of(5), Blobs(folds=3)
        search(study, subject, members=6)
        for trial in study.trials():
            curve = alone(subject, trial.setting, 6)
            assert trial.value == pytest.approx(min(curve), rel=1e-10)

    def test_several_architectures(self):
        study, subject = study_of(10, units=(4, 8)), Blobs()
        search(study, subject, members=4, halving=Halving(6, 2))
        assert {t.state for t in study.trials()} == {State.COMPLETE, State.STOPPED}
        for trial in study.trials():
            curve = alone(subject, trial.setting, trial.epochs)
            assert trial.value == pytest.approx(min(curve), rel=1e-10)

    def test_a_metric_that_the_history_does_not_have(self):
        study, subject = study_of(4), Blobs()
        metric = as_metric("balanced_accuracy")
        study.minimize = False
        Search(subject, study, metric, members=4).run()
        made = subject.candidate(study.trials()[2].setting)
        figures = []
        made.trainer.fit(
            *subject.data.train,
            batch_size=16,
            epochs=6,
            callbacks=[lambda t, row: figures.extend(metric.measure(t.network, *subject.data.dev))],
        )
        assert study.trials()[2].value == pytest.approx(max(figures))


class TestHalving:
    def test_those_behind_are_stopped_at_the_rung(self):
        study = study_of(9)
        study.limit = 100  # of which nine are a small share
        search(study, members=9, halving=Halving(6, 3, least=2))
        stopped = [t for t in study.trials() if t.state is State.STOPPED]
        assert len(stopped) == 6
        assert {t.epochs for t in stopped} == {2}
        worst_kept = max(t.reports[2] for t in study.trials() if t.state is State.COMPLETE)
        assert all(t.reports[2] > worst_kept for t in stopped)

    def test_free_places_are_taken_in_the_running_fit(self, monkeypatch):
        fits, fit = [], xn.Trainer.fit
        monkeypatch.setattr(
            xn.Trainer, "fit", lambda self, *a, **k: fits.append(self) or fit(self, *a, **k)
        )
        study = study_of(12)
        search(study, members=4, halving=Halving(6, 2, least=2))
        assert len(study.trials()) == 12
        assert fits[0].network.members == 4
        assert len(fits) < 4
        made = sum(t.epochs for t in study.trials())
        assert made < 12 * 6

    @pytest.mark.parametrize("members", [1, 2])
    def test_one_that_was_stopped_goes_on_when_it_is_among_the_best(self, members):
        rates = [0.05, 0.02, 4e-4, 3e-4, 2e-4, 1e-4]
        study = Scripted({"rate": RATE}, [{"rate": rate} for rate in rates])
        subject = Blobs()
        search(study, subject, members=members, halving=Halving(6, 2, least=3))
        first, second, *_, last = study.trials()
        assert ("stopped", 1, 3) in study.events
        assert ("reopen", 1, 3) in study.events
        assert [t.state for t in (first, second)] == [State.COMPLETE] * 2
        assert last.state is State.STOPPED
        for trial in (first, second):
            curve = alone(subject, trial.setting, 6)
            assert trial.value == pytest.approx(min(curve), rel=1e-10)
            assert trial.epochs == 6

    def test_one_that_went_on_is_stopped_again_when_the_search_ends(self):
        rates = [0.05, 0.02, 4e-4, 3e-4]
        study = Scripted({"rate": RATE}, [{"rate": rate} for rate in rates])
        found = []

        class Stop(xn.Callback):
            takes_members = True

            def on_epoch_end(self, trainer, row):
                if ("reopen", 1, 3) in study.events:
                    found[0].stop("enough")

        found.append(
            Search(
                Blobs(),
                study,
                as_metric("loss"),
                members=1,
                halving=Halving(6, 2, least=3),
                callbacks=[Stop()],
            )
        )
        found[0].run()
        assert study.trials()[1].state is State.STOPPED
        assert not [event for event in study.events if event[0] == "back"]

    def test_memory_of_stopped_runs_is_bounded(self):
        study, halving = study_of(3), Halving(6, 2, least=3)
        runs = [Run(study.ask(), [Blobs().candidate({})]) for _ in range(3)]
        for run in runs:
            run.trial.value, run.trial.epochs, run.trial.state = 0.5, 3, State.STOPPED
            study.report(run.trial, 3, 0.5)
        one = bytes_of_a_member(runs[0].trainers[0].network, xn.Adam(), 1, 1)
        kept = Stopped(study, halving, True, most_bytes=2 * one)
        for run in runs:
            kept.put(run)
        assert [kept.take(), kept.take(), kept.take()] == [runs[1], runs[2], None]

    def test_what_is_far_behind_is_not_kept(self):
        study, halving = study_of(8), Halving(6, 2, least=3)
        runs = [Run(study.ask(), [Blobs().candidate({})]) for _ in range(8)]
        for i, run in enumerate(runs):
            run.trial.value, run.trial.epochs = float(i), 3
            study.report(run.trial, 3, float(i))
        kept = Stopped(study, Halving(6, 4, least=2), True)
        assert [kept.wants(run) for run in runs] == [True] * 4 + [False] * 4
        assert halving.keeps(3.0, study.reports_at(3), True)

    def test_each_rung_is_read_once_to_see_who_goes_on(self):
        study, halving = study_of(8), Halving(6, 4, least=2)
        kept = Stopped(study, halving, True)
        for _ in range(8):
            trial = study.ask()
            trial.epochs, trial.value, trial.state = 2, 0.5 + trial.number, State.STOPPED
            trial.reports[2] = 0.1
            kept.put(Run(trial, [Blobs().candidate({})]))
        read, reports_at = [], study.reports_at
        study.reports_at = lambda rung: read.append(rung) or reports_at(rung)
        assert kept.take() is None
        assert read == [2]


class TestErrors:
    def test_one_right_after_a_trial_s_end_is_heard(self):
        """The trial has ended: it is not given back with those that are in training."""
        study = study_of(5)

        def watch(trial):
            raise KeyboardInterrupt("now")

        with pytest.raises(KeyboardInterrupt, match="now"):
            search(study, members=3, halving=Halving(6, 2), watch=watch)
        ended = {event[1] for event in study.events if event[0] in ("complete", "stopped")}
        back = {event[1] for event in study.events if event[0] == "back"}
        assert len(ended) == 1
        assert ended | back == {0, 1, 2}
        assert not ended & back


class TestGroups:
    def test_what_members_share(self):
        subject = Blobs()
        space = {"rate": RATE, "p": P, "units": UNITS, "batch_size": xn.choice([8, 16])}
        space |= {"l2": xn.uniform(0, 1), "epochs": xn.int_uniform(2, 9)}
        assert groups.shared_names(subject, space) == {"units", "batch_size"}

    def test_what_members_share_beside_a_condition(self):
        class Two(Blobs):
            def candidate(self, setting, repeat=0):
                if ("more" in setting) != (setting["layers"] == 2):
                    raise ValueError("there is none such")
                return super().candidate({"units": setting.get("more", 16)}, repeat)

        space = {"layers": xn.choice([1, 2]), "more": xn.when("layers", [2], UNITS), "p": P}
        assert groups.shared_names(Two(), space) == {"layers", "more"}

    def test_an_end_that_makes_another_network_is_not_what_they_share(self):
        """Dropout of 0 has no layer, and is never drawn of a range."""

        class Bare(Blobs):
            def candidate(self, setting, repeat=0):
                made = super().candidate(setting, repeat)
                if setting["p"] == 0:
                    made.trainer.network.layers = made.trainer.network.layers[:2]
                return made

        assert groups.shared_names(Bare(), {"p": P}) == frozenset()
        assert groups.shared_names(Bare(), {"p": xn.choice([0.0, 0.5])}) == {"p"}

    def test_a_momentum_of_0_goes_apart(self):
        """Such an optimiser keeps no moments, and one with a momentum can't take its place."""

        class ByMomentum(Blobs):
            def candidate(self, setting, repeat=0):
                made = super().candidate({}, repeat)
                sgd = xn.SGD(0.1, momentum=setting.get("momentum", 0.0))
                return replace(made, trainer=xn.Trainer(made.trainer.network, sgd))

        space = {"momentum": xn.choice([0.0, 0.9])}
        assert groups.shared_names(ByMomentum(), space) == {"momentum"}
        assert groups.shared_names(ByMomentum(), space) == {"momentum"}
        study = Scripted({"p": P}, [{"momentum": m} for m in (0.0, 0.0, 0.9, 0.5)])
        search(study, ByMomentum(), members=2)
        assert [t.state for t in study.trials()] == [State.COMPLETE] * 4

    def test_new_ones_are_asked_for_to_fit(self):
        study = study_of(12, units=(4, 8))
        study.limit = 12
        search(study, members=3)
        assert study.fixed[:6] == [None] * 6  # the beginning: three of each
        later = [fixed for fixed in study.fixed[6:] if fixed is not None]
        assert later
        assert all(fixed.keys() == {"units"} for fixed in later)

    @pytest.mark.parametrize(
        ("limit", "members", "freely"), [(8, 8, 8), (12, 8, 8), (20, 8, 10), (100, 8, 16)]
    )
    def test_in_the_beginning_all_architectures_get_their_share(self, limit, members, freely):
        study = study_of(30, units=(4, 8))
        study.limit = limit
        search(study, members=members)
        assert study.fixed[:freely] == [None] * freely
        groups = {t.setting["units"] for t in study.trials()[:freely]}
        assert groups == {4, 8}

    def test_a_beginning_is_as_long_as_memory_holds_its_networks(self, monkeypatch):
        monkeypatch.setattr("xpnet.search.runs.MOST_BYTES", 4)  # of which one network takes more
        study = study_of(30, units=(4, 8))
        study.limit = 100
        found = Search(Blobs(), study, as_metric("loss"), members=4)
        found._runs.group()
        assert study.fixed == [None, *[{"units": 4}] * 3]

    def test_members_all_have_a_largest_norm_or_none_has(self):
        subject = Blobs()
        candidates = [subject.candidate({}) for _ in range(3)]
        for candidate, limit in zip(candidates, (None, 1.0, 2.0), strict=True):
            candidate.trainer.clip_norm = limit
        none, one, two = map(groups.key, candidates)
        assert one == two != none

    def test_members_all_have_numbers_or_schedules_of_one_kind(self):
        def key(p, rate, decay):
            made = Blobs().candidate({})
            net = xn.Network(
                [xn.Linear(4), xn.Dropout(p), xn.Linear(2)],
                loss="softmax_cross_entropy",
                n_features=2,
                device="cpu",
            )
            trainer = xn.Trainer(net, xn.AdamW(rate, weight_decay=decay))
            return groups.key(replace(made, trainer=trainer, data=()))

        numbers = 0.1, 0.01, 0.1
        falling = xn.Cosine(0.4), xn.Cosine(0.01), xn.Cosine(0.1)
        assert key(*numbers) == key(0.2, 0.02, 0.2)
        assert key(*falling) == key(xn.Cosine(0.1), xn.Cosine(0.1), xn.Cosine(0.3, total=4))
        each = [(*numbers[:i], falling[i], *numbers[i + 1 :]) for i in range(3)]
        found = [key(*settings) for settings in (numbers, falling, *each)]
        found += [key(xn.LogCosine(0.4), *falling[1:])]
        assert len({*found}) == len(found)

    def test_a_study_that_goes_on_has_no_beginning(self):
        study = study_of(40, units=(4, 8))
        study._trials = [None] * 50  # of other processes
        found = Search(Blobs(), study, as_metric("loss"), members=4)
        found._runs.group()
        assert study.fixed == [None, *[{"units": 4}] * 3]

    def test_a_setting_of_which_no_network_can_be_made_fails(self):
        study = study_of(5)
        study._left[2]["p"] = 1.5
        watched = []
        search(study, members=2, watch=watched.append)
        failed = study.trials()[2]
        assert failed.state is State.FAILED
        assert "p is 1.5" in failed.reason
        assert sorted(t.number for t in watched) == [0, 1, 2, 3, 4]
        assert sum(t.state is State.COMPLETE for t in study.trials()) == 4

    def test_if_all_fail_it_says_so(self):
        study = study_of(50)
        for setting in study._left:
            setting["p"] = -1.0
        with pytest.raises(ValueError, match=f"the first {ALL_FAIL} trials have failed; .* p is"):
            search(study, members=4)
        assert len(study.trials()) == ALL_FAIL

    def test_members_that_memory_does_not_hold(self, monkeypatch):
        monkeypatch.setattr("xpnet.analysis.room.MOST_BYTES", 0)
        study = study_of(3)
        search(study, members=8)
        assert [t.state for t in study.trials()] == [State.COMPLETE] * 3

    def test_members_that_memory_does_not_hold_after_all(self, monkeypatch):
        fit, seen = xn.Trainer.fit, []

        def scarce(self, *data, **options):
            seen.append(self.network.members)
            if (self.network.members or 1) > 2:
                raise xn.OutOfMemoryError("no room")
            return fit(self, *data, **options)

        monkeypatch.setattr(xn.Trainer, "fit", scarce)
        study, subject = study_of(6), Blobs()
        study.limit = 100
        search(study, subject, members=6)
        assert seen[:2] == [6, 3]
        for trial in study.trials():
            assert trial.value == pytest.approx(min(alone(subject, trial.setting, 6)), rel=1e-10)

    def test_one_that_was_stopped_keeps_its_value_if_memory_does_not_hold_it(self):
        study = RandomStudy({"rate": RATE}, 2, minimize=True, seed=0)
        runs = [Run(trial, [Blobs().candidate({})]) for trial in iter(study.ask, None)]
        found = Search(Blobs(), study, as_metric("loss"), members=2)
        first = runs[0].trial
        first.value, first.best_epoch, first.epochs, first.state = 0.5, 2, 3, State.STOPPED
        study.end(first)
        assert study.reopen(first)
        found._gone_on.add(first.number)
        found._begin_anew(runs, MemoryError("no room"))
        stopped, running = study.trials()
        assert (stopped.state, stopped.value, stopped.epochs) == (State.STOPPED, 0.5, 3)
        assert running.state is State.RUNNING
        assert len(found._runs) == 1


class WithMomentum(Blobs):
    """Networks that are trained with "momentum", of 0 too."""

    def candidate(self, setting, repeat=0):
        made = super().candidate(setting, repeat)
        optimizer = xn.SGD(0.1, momentum=setting["momentum"])
        return replace(made, trainer=xn.Trainer(made.trainer.network, optimizer))


class TestMomentum:
    @pytest.mark.parametrize("folds", [1, 3])
    def test_those_with_none_keep_to_themselves(self, folds):
        momenta = [0.0, 0.0, 0.9, 0.0, 0.5, 0.0]
        space = {"momentum": xn.choice([0.0, 0.5, 0.9])}
        study, subject = (
            Scripted(space, [{"momentum": m} for m in momenta]),
            WithMomentum(folds=folds),
        )
        search(study, subject, members=2 * folds)
        assert [t.state for t in study.trials()] == [State.COMPLETE] * 6
        for trial in study.trials():
            expected = min(alone(subject, trial.setting, 6))
            assert trial.value == pytest.approx(expected, rel=1e-10)


class TestDivergence:
    @pytest.mark.parametrize("members", [1, 3])
    @pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
    def test_a_trial_that_diverges_fails_and_leaves_the_others_alone(self, members):
        study, subject = study_of(5), Blobs()
        study._left[1]["rate"] = study._left[4]["rate"] = 1.7e308
        search(study, subject, members=members)
        for trial in study.trials():
            if trial.number in (1, 4):
                assert trial.state is State.FAILED
                assert trial.reason == "the training diverged in epoch 1"
            else:
                expected = min(alone(subject, trial.setting, 6))
                assert trial.value == pytest.approx(expected, rel=1e-10)

    def test_all_at_once(self):
        study = study_of(4)
        for setting in study._left:
            setting["rate"] = 1.7e308
        with np.errstate(all="ignore"):
            search(study, members=4)
        assert {t.state for t in study.trials()} == {State.FAILED}


class TestTheBestEpoch:
    def test_of_equal_ones_that_with_the_least_loss(self):
        run = Run(study_of(1).ask(), [Blobs().candidate({})])
        figures = [(0.5, 1.0), (0.2, 0.9), (0.2, 0.7), (0.2, 0.8), (0.3, 0.1), (math.nan, 0.0)]
        for value, loss in figures:
            run.add(value, True, loss)
        assert (run.trial.value, run.trial.best_epoch, run.trial.epochs) == (0.2, 3, 6)

    def test_rounding_tells_none_apart(self):
        run = Run(study_of(1).ask(), [Blobs().candidate({})])
        first, second = (0.1 + 0.2 + 0.3) / 3, (0.3 + 0.2 + 0.1) / 3  # 1 in the last bit apart
        assert second < first
        for value, loss in [(first, 0.7), (second, 0.8), (first, 0.7 * (1 - 1e-15)), (first, 0.6)]:
            run.add(value, True, loss)
        assert (run.trial.value, run.trial.best_epoch) == (first, 4)
        run.add(first * (1 - 1e-9), True, 0.9)
        assert run.trial.best_epoch == 5

    @pytest.mark.parametrize("members", [1, 4])
    @pytest.mark.parametrize("metric", ["error", lambda y, said: float((y != said).mean())])
    def test_the_loss_is_that_of_the_development_set(self, members, metric):
        study, subject = study_of(4), Blobs()
        Search(subject, study, as_metric(metric), members=members).run()
        for trial in study.trials():
            errors = alone(subject, trial.setting, 6, "dev_error")
            losses = alone(subject, trial.setting, 6)
            assert trial.value == min(errors)
            assert trial.best_epoch == 1 + min(range(6), key=lambda i: (errors[i], losses[i]))


class TestOtherProcesses:
    def test_it_waits_until_they_have_ended_or_come_back(self, monkeypatch):
        monkeypatch.setattr("xpnet.search.search.PATIENCE", 0.0)
        study, left = study_of(3), [2, 1, 1, 0]
        more = settings(1)

        def elsewhere():
            if len(left) == 2:  # one of them has died
                study._left.extend(more)
            return left.pop(0)

        study.elsewhere = elsewhere
        with pytest.warns(UserWarning, match="2 trials are left to other processes: waiting"):
            search(study, members=2)
        assert len(study.trials()) == 4
        assert left == []

    def test_stop_ends_the_waiting(self, monkeypatch):
        study = study_of(1)
        found = Search(Blobs(), study, as_metric("loss"))
        study.elsewhere = lambda: 1
        monkeypatch.setattr("xpnet.search.search.time.sleep", lambda seconds: found.stop("no more"))
        with pytest.warns(UserWarning, match="waiting"):
            found.run()
        assert found.reason == "no more"


class TestEnds:
    def test_stop_gives_back_what_is_in_training(self):
        study, subject = study_of(6), Blobs(epochs=50)
        stopping = []

        class Stop(xn.Callback):
            takes_members = True

            def on_epoch_end(self, trainer, row):
                if row["epoch"] == 3:
                    stopping[0].stop("Ctrl-C was pressed")

        found = Search(subject, study, as_metric("loss"), members=3, callbacks=[Stop()])
        stopping.append(found)
        found.run()
        assert found.reason == "Ctrl-C was pressed"
        assert [e[0] for e in study.events] == ["back"] * 3

    def test_what_was_given_back_begins_anew(self):
        study, subject = study_of(3), Blobs()
        first = Search(subject, study, as_metric("loss"), members=3)
        first.stop("no")
        first.run()
        assert study.events == []  # nothing was begun
        search(study, subject, members=3)
        assert [t.epochs for t in study.trials()] == [6] * 3

    def test_the_time_is_up(self, monkeypatch):
        now = [0.0]

        def tick():
            now[0] += 1.0
            return now[0]

        monkeypatch.setattr("xpnet.search.search.time.monotonic", tick)
        study = study_of(40)
        found = search(study, Blobs(epochs=1000), members=4, seconds=60.0)
        assert found.reason == "the time was up"
        stopped = [t for t in study.trials() if t.state is State.STOPPED]
        assert len(stopped) == 4
        assert {t.reason for t in stopped} == {"the time was up"}
        assert all(0 < t.epochs < 100 for t in stopped)

    def test_an_error_gives_back_too(self):
        class Broken(xn.Callback):
            takes_members = True

            def on_epoch_end(self, trainer, row):
                raise KeyboardInterrupt

        study = study_of(3)
        with pytest.raises(KeyboardInterrupt):
            Search(Blobs(), study, as_metric("loss"), members=3, callbacks=[Broken()]).run()
        assert sorted(study.events) == [("back", i, 1) for i in range(3)]

    @pytest.mark.parametrize(("name", "value"), [("members", 0), ("members", 1.5), ("seconds", -1)])
    def test_numbers_that_can_t_be(self, name, value):
        with pytest.raises((TypeError, ValueError), match=name):
            Search(Blobs(), study_of(2), as_metric("loss"), **{name: value})
