"""What ``xpnet tune`` does: the search, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from rich.console import Console

from ..search.distributions import Distribution
from ..search.search import Search
from ..search.space import describe, encode
from ..search.studies import make_study, why_no_optuna
from ..search.study import Study
from ..search.trials import State, Trial
from ..search.verdict import Verdict, compare
from ..tabular.experiment import Experiment
from ..tabular.tuning import TableSubject, metric_of, retrain
from ..train.measures import Measure
from . import console, options
from .introduction import introduce_data
from .outputs import draw, save_model
from .resume import Run
from .schema import columns_of
from .search_plan import Files, Plan, command_to_go_on, json_ready
from .trials import Objective, TrialReporter, best_table, counted, space_table, varies

#: So many trials stand in the table of the best.
SHOWN = 10

#: What a part of the data is called that was trained on.
UNITED = "train + dev"


@dataclass(eq=False)
class SearchRun:
    """A search, and what is made of it.

    Attributes
    ----------
    out : rich.console.Console
        Where it is shown.
    run : Run
        The data and the settings.
    plan : Plan
        What is wanted.
    files : Files
        What it writes.
    subject : TableSubject
        What is searched for.
    space : dict of str to Distribution
        What is searched in.
    metric : Measure
        What it goes by.
    study : Study
        Where its trials are.
    """

    out: Console
    run: Run
    plan: Plan
    files: Files
    subject: TableSubject
    space: Mapping[str, Distribution]
    metric: Measure
    objective: Objective = field(init=False)
    study: Study = field(init=False)
    _name: str = field(init=False)

    def __post_init__(self) -> None:
        model = self.subject.experiment.model
        is_error = self.metric.column == "dev_error"
        name = options.error_name(model) if is_error else self.metric.name
        self.objective = Objective(name, is_error, self.metric.minimize)
        self._name = self.plan.name or self.subject.experiment.dataset.name
        self.study = self._open()

    def _open(self) -> Study:
        """Return the study, or say how to go on with one that should not be there."""
        try:
            return make_study(
                dict(self.space),
                self.plan.trials,
                self.metric.minimize,
                self.run.settings.seed,
                storage=self.plan.storage or self.files.study,
                name=self._name,
                about=self._about(),
                resume=self.plan.goes_on,
            )
        except FileExistsError as error:
            raise FileExistsError(
                f"{self.files.study}: holds a study; go on with {command_to_go_on()}, or give "
                "another --output"
            ) from error

    def _about(self) -> dict[str, Any]:
        """Return what must be the same for all who take part in the study."""
        experiment = self.subject.experiment
        return {
            "data": experiment.model.training["fingerprint"],
            **({"sets": sets} if (sets := experiment.dataset.sets()) else {}),
            "settings": json_ready(asdict(experiment.settings)),
            "folds": self.plan.folds,
            "objective": self.metric.name,
            "halving": self.plan.eta if self.plan.halving else None,
        }

    def carry_out(self, ctrl_c: console.CtrlC) -> dict[str, Any]:
        """Search, and make what is wanted of it; return what came of it, as JSON."""
        self.introduce()
        try:
            result = self.described() | self.search(ctrl_c)
            if not self.plan.worker:
                result |= self.finish(ctrl_c)
        except OSError as error:  # of the study, or of the model: as of a full disk
            raise type(error)(f"{error}; go on with: {command_to_go_on()}") from error
        ended = sum(trial["state"] != State.RUNNING for trial in result["trials"])
        result |= {"resume": None, "interrupted": ctrl_c.pressed}
        if ended < self.plan.trials:  # for want of time, or others still train some
            result["resume"] = command_to_go_on()
            outlet = console.make_console(stderr=self.out.quiet)
            outlet.print(f"go on with: {result['resume']}")
        return result

    def introduce(self) -> None:
        """Say what is searched in, and on what."""
        out, experiment = self.out, self.subject.experiment
        introduce_data(out, experiment, self.run.device)
        on = "the development set" if self.plan.folds is None else f"{self.plan.folds} folds"
        halving = self.plan.successive_halving(experiment.epochs)
        rungs = [] if halving is None else [*map(str, halving.rungs)]
        early = f" (those behind end after {' or '.join(rungs)})" if rungs else ""
        out.print(
            f"{self.plan.trials:,} trials of {experiment.epochs} epochs{early}, "
            f"by {self.objective.name} on {on}"
        )
        out.print(f"the study is kept in {self.study.where}")
        out.print()
        console.print_columns(out, columns_of(experiment))
        out.print(space_table(self.space))
        out.print()

    def search(self, ctrl_c: console.CtrlC) -> dict[str, Any]:
        """Search; show and return what was found."""
        before, began = self.study.trials(), time.monotonic()
        if before:
            self.out.print(f"the study goes on: {counted(before)}")
            self.out.print()
        reporter = TrialReporter(self.out, self.space, self.objective, self.plan.trials, before)
        search = Search(
            self.subject,
            self.study,
            self.metric,
            members=self.plan.members,
            halving=self.plan.successive_halving(self.subject.experiment.epochs),
            seconds=self.plan.seconds,
            watch=reporter.watch,
        )
        ctrl_c.stops(search.stop)
        with reporter.shown():
            search.run()
        ctrl_c.stops(lambda reason: None)
        seconds, found = time.monotonic() - began, self.study.trials()
        if reporter.has_written:
            self.out.print()
        if search.reason:
            self.out.print(f"{search.reason}: the search ends here")
        self.out.print(f"{counted(found)}; {search.epochs:,} epochs in {seconds:.1f} s")
        return {
            "trials": [self._row(trial) for trial in found],
            "reason": search.reason,
            "epochs": search.epochs,
            "seconds": seconds,
        }

    def _row(self, trial: Trial) -> dict[str, Any]:
        """Return a trial as JSON."""
        return {
            "number": trial.number,
            "setting": encode(self.space, trial.setting),
            "state": trial.state.value,
            "value": trial.value,
            "best_epoch": trial.best_epoch,
            "epochs": trial.epochs,
            "reason": trial.reason,
        }

    def described(self) -> dict[str, Any]:
        """Return what the search is of, as JSON."""
        experiment = self.subject.experiment
        return {
            "data": experiment.dataset.name,
            "device": experiment.model.network.backend.device,
            "task": experiment.model.target.task,
            "examples": {k: len(p.labels) for k, p in experiment.parts.items()},
            "sets": experiment.dataset.sets(),
            "columns": columns_of(experiment),
            "objective": self.metric.name,
            "minimize": self.metric.minimize,
            "folds": self.plan.folds,
            "space": describe(self.space),
            "study": {"name": self._name, "where": self.study.where},
        }

    def finish(self, ctrl_c: console.CtrlC) -> dict[str, Any]:
        """Train the best anew, save and measure it; show and return what came of it."""
        ranked = [trial for trial in self.study.best() if trial.state is not State.RUNNING]
        failed = [trial for trial in self.study.trials() if trial.state is State.FAILED]
        if len(failed) >= self.plan.trials:
            raise ValueError(
                f"all {len(failed):,} trials have failed; the last one: {failed[-1].reason}"
            )
        if not ranked:
            self.out.print("no trial has come to a figure: there is nothing to save")
            return {"best": None, "model": None}
        self.out.print()
        table = best_table(ranked[:SHOWN], self.space, self.objective)
        console.print_whole(self.out, table)
        experiment = self._retrain(ranked)
        save_model(experiment, self.run, self.files.model)
        result = {"best": self._row(ranked[0]), "model": str(self.files.model)}
        result |= self._evaluate(experiment)
        self.out.print()
        self.out.print(f"saved {self.files.model}")
        result |= self._judge(ranked[0], ctrl_c) | self._draw(ctrl_c)
        if ctrl_c.pressed:
            self.out.print(f"{ctrl_c.reason}: the rest was left out")
        return result

    def _retrain(self, ranked: list[Trial]) -> Experiment:
        reporter = console.Reporter(self.out, self.objective.name, rows=False)
        study = {"name": self._name, "objective": self.metric.name}
        try:
            # Those that were stopped early were worse than others, and are for want of any other.
            complete = [trial for trial in ranked if trial.state is State.COMPLETE]
            return retrain(self.subject, complete or ranked, self.plan.keep, study, [reporter])
        finally:
            reporter.close()

    def _evaluate(self, experiment: Experiment) -> dict[str, Any]:
        """Measure the model, and show it."""
        model, study = experiment.model, experiment.model.training["study"]
        numbers = [str(trial["number"]) for trial in study["trials"]]
        what = f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(numbers)}"
        epochs = ", ".join(str(trial["epochs"]) for trial in study["trials"])
        unit = "epoch" if epochs == "1" else "epochs"
        self.out.print()
        self.out.print(f"{what} trained anew on {UNITED}, for {epochs} {unit}")
        if len(numbers) < self.plan.keep:
            n, wanted = len(numbers), self.plan.keep
            self.out.print(f"--keep is {wanted}: of that architecture {n} came to the end")
        errors = experiment.evaluate()
        sizes = {name: len(part.labels) for name, part in experiment.parts.items()}
        named = {UNITED if name == "train" else name: found for name, found in errors.items()}
        sizes = {UNITED if name == "train" else name: n for name, n in sizes.items()}
        self.out.print()
        self.out.print(console.results_table(named, options.error_name(model), sizes))
        return {"settings": model.training["settings"], "results": named} | self._score(experiment)

    def _score(self, experiment: Experiment) -> dict[str, Any]:
        """Measure what the search goes by on the test set, if it is not there already."""
        if self.metric.column is not None:
            return {}
        own = metric_of(experiment, self.metric.name)  # by the scales that it has learnt
        values = own.measure(experiment.model.network, *experiment.parts["test"].data)
        told = console.mean_and_spread(values) if len(values) > 1 else f"{values[0]:.5g}"
        each = " of each network" if len(values) > 1 else ""
        self.out.print(f"test {self.metric.name}{each}: {told}")
        return {"test": {self.metric.name: values if len(values) > 1 else values[0]}}

    def _judge(self, best: Trial, ctrl_c: console.CtrlC) -> dict[str, Any]:
        """Say whether the search was worth it, unless Ctrl-C ends it."""
        if not self.plan.repeats or ctrl_c.pressed:
            return {"verdict": None}
        self.out.print()
        with console.status(self.out) as say:
            say(f"training the best setting and the default {self.plan.repeats} times each")
            try:
                ctrl_c.stops(_break_off)
                found = self._compare(best)
            except KeyboardInterrupt:
                return {"verdict": None}
            finally:
                ctrl_c.stops(lambda reason: None)
        self.out.print(f"verdict: {found}.")
        told = {"worth": found.worth, "sentence": found.sentence, "p": found.p}
        return {"verdict": told | {"default": found.default, "best": found.best}}

    def _compare(self, best: Trial) -> Verdict:
        members = self.plan.members
        return compare(self.subject, self.metric, {}, best.setting, self.plan.repeats, members)

    def _draw(self, ctrl_c: console.CtrlC) -> dict[str, Any]:
        """Draw the study by Optuna's plots, if it is installed; say and return what is saved."""
        if ctrl_c.pressed or why_no_optuna() is not None:
            return {"pictures": []}
        from ..search import pictures

        # Of what has a single value there is nothing to see.
        space = {name: d for name, d in self.space.items() if varies(d)}
        trials = [_of(trial, space) for trial in self.study.trials()]
        options = space, trials, self.metric.minimize
        saved = []
        self.out.print()
        if sum(trial.state is State.COMPLETE for trial in trials) < pictures.FEWEST:
            self.out.print("no pictures: too few trials were trained to the end")
            return {"pictures": []}
        for kind, path in self.files.pictures.items():
            one = partial(pictures.draw_one, kind, *options, objective=self.objective.name)
            if draw(path, one):
                saved.append(str(path))
        self.out.print(f"saved {', '.join(saved)}")
        return {"pictures": saved}


def _of(trial: Trial, space: Mapping[str, Distribution]) -> Trial:
    """Return a trial with values of a smaller space."""
    return replace(trial, setting={n: v for n, v in trial.setting.items() if n in space})


def _break_off(reason: str) -> None:
    raise KeyboardInterrupt
