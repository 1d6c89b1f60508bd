"""A search over the settings of a training, and the training anew of the best of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .._typing import HostArray
from ..backends.protocol import Backend
from ..data.augmentation import Augmentation
from ..data.folds import check_folds, fold_of_each
from ..nn.stacking import can_be_stacked, stack
from ..recipes.settings import Settings
from ..recipes.specs import told
from ..search.candidates import Candidate, Data
from ..search.default_spaces import array_space, table_space
from ..search.distributions import Choice, Distribution, choice
from ..search.space import Space, conditions
from ..search.trials import Setting, Trial
from ..train.callback import Callback
from ..train.history import DivergedError
from ..train.measures import Measure, Predictions, ScoredMeasure
from ..train.metrics import as_metric
from ..warning import warn
from .dataset import Dataset
from .experiment import Experiment

#: What a search may vary of `Settings`; of what is NAME:KEY=VALUE also NAME.KEY.
VARIED = (
    *("hidden", "activation", "batch_norm", "dropout", "input_dropout", "l2", "clip_norm"),
    *("optimizer", "learning_rate", "schedule", "batch_size", "augment"),
)

#: Of which settings options may be varied by themselves, as "optimizer.beta_1".
WITH_OPTIONS = ("activation", "optimizer", "schedule", "loss")


def vary(settings: Settings, setting: Mapping[str, Any]) -> Settings:
    """Return settings with the values that a search gives some of them.

    Parameters
    ----------
    settings : Settings
        What holds for the others.
    setting : mapping
        Values by name: one of `VARIED`, or NAME.KEY for an option of what NAME says.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> found = vary(Settings(), {"optimizer": "sgd", "optimizer.momentum": 0.9, "dropout": 0.5})
    >>> found.optimizer, found.dropout
    ('sgd:momentum=0.9', (0.5,))
    """
    plain = {name: value for name, value in setting.items() if "." not in name}
    for name in plain:
        if name not in VARIED:
            raise ValueError(f"{name!r} is nothing that is searched: give {', '.join(VARIED)}")
    if isinstance(plain.get("dropout"), int | float):
        plain["dropout"] = (float(plain["dropout"]),)
    settings = replace(settings, **plain)
    for name, value in setting.items():
        of, dot, key = name.partition(".")
        if dot:
            text = getattr(settings, of, None)
            if of not in WITH_OPTIONS or text is None:
                raise ValueError(f"{name!r} is nothing that is searched: {of!r} has no options")
            text += f"{',' if ':' in text else ':'}{key}={told(value)}"
            settings = replace(settings, **{of: text})
    return settings


def metric_of(experiment: Experiment, name: str) -> Measure:
    """Return a metric, which measures the values of a regression in their own units.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    found, target = as_metric(name), experiment.model.target
    if not isinstance(found, ScoredMeasure) or target.classes is not None:
        return found
    score, decode = found.score, target.decode

    def in_units(y: HostArray, said: Predictions) -> float:
        return score(decode(y), Predictions(decode(said.decided), None))

    return replace(found, score=in_units)


@dataclass(eq=False)
class TableSubject:
    """Makes networks for a data set of settings: what a search over `Settings` trains.

    Attributes
    ----------
    experiment : Experiment
        The training of the default setting. The data are parted and prepared once, as it has them,
        and its epochs are those of all.
    data : Data
        What networks are trained and measured on: training and development set, or the folds of
        both together.
    """

    experiment: Experiment
    data: Data
    _augmentations: dict[str, Augmentation | None] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        dataset: Dataset,
        settings: Settings,
        device: str | Backend,
        folds: int | None = None,
    ) -> TableSubject:
        """Part the data and learn the preprocessing.

        It is learnt from the training set; with folds from all that is not the test set, at once:
        which categories there are, and the scales, are then known of what a fold holds out.

        Parameters
        ----------
        dataset, settings, device
            As for `Experiment.prepare`; the settings hold for all that is not searched.
        folds : int or None
            Into how many folds training and development set are cut, 2 or more; None: networks are
            measured on the development set.

        Raises
        ------
        TypeError, ValueError
            As for `Experiment.prepare`, and if there are too few examples for the folds.
        """
        experiment = Experiment.prepare(dataset, settings, device, dev=folds is None)
        experiment.settings = replace(experiment.settings, epochs=experiment.epochs)
        train = experiment.parts["train"]
        if folds is None:
            return cls(experiment, Data(train.data, experiment.parts["dev"].data))
        target = experiment.model.target
        labels = None if target.classes is None else np.asarray(train.labels)
        labels = labels if labels is None or labels.ndim == 1 else None
        n = len(train.labels)
        check_folds(folds, n, labels, target.classes)
        held = fold_of_each(n, folds, labels, settings.seed)
        cut = [(np.flatnonzero(held != i), np.flatnonzero(held == i)) for i in range(folds)]
        return cls(experiment, Data(train.data, train.data, folds=cut))

    @property
    def n_folds(self) -> int:
        """How many networks a setting is judged by."""
        return 1 if self.data.folds is None else len(self.data.folds)

    def settings(self, setting: Setting) -> Settings:
        """Return the settings of a training that a setting of the search comes to."""
        base = self.experiment.settings
        if base.loss is None and any(name.startswith("loss.") for name in setting):
            base = replace(base, loss=self.experiment.model.network.loss.name)
        return vary(base, setting)

    def variant(self, setting: Setting, repeat: int = 0) -> Experiment:
        """Return the training that a setting comes to; ``repeat`` is added to its seed."""
        settings = self.settings(setting)
        return self.experiment.variant(replace(settings, seed=settings.seed + repeat))

    def candidate(self, setting: Setting, repeat: int = 0) -> Candidate:
        """Return what a setting comes to; see `Subject`."""
        made = self.variant(setting, repeat)
        # One object for all that are alike: by it candidates are known to go together.
        augmentation = self._augmentations.setdefault(made.settings.augment, made.augmentation)
        return Candidate(made.trainer, self.data, made.batch_size, made.epochs, augmentation)

    def metric(self, name: str) -> Measure:
        """Return what a search goes by.

        Raises
        ------
        ValueError
            If there is no such metric, or it is not defined for what is held out.
        """
        found, folds = metric_of(self.experiment, name), self.data.folds
        rows = None if folds is None else [held_out for _, held_out in folds]
        loss = self.experiment.model.network.loss
        found.require_defined(loss, self.data.dev[1], rows)
        return found

    def default_space(self, fixed: Collection[str] = ()) -> dict[str, Distribution]:
        """Return what is searched in if nobody says, but for what is fixed."""
        experiment = self.experiment
        space_for = array_space if experiment.dataset.schema is None else table_space
        space = space_for(len(experiment.parts["train"].labels))
        left_out = {*fixed, *([] if experiment.settings.hidden else ["dropout"])}
        return {name: _named(d) for name, d in space.items() if name not in left_out}

    def check(self, space: Space) -> None:
        """Raise a ValueError if no network can be made of a value of a space, beside the defaults.

        Of a range both ends are tried, of choices all.
        """
        for name, distribution in space.items():
            beside = {c.name: c.values[0] for c in conditions(distribution)}
            head, dot, _ = name.partition(".")
            if dot and head in space:
                beside.setdefault(head, space[head].grid(1)[0])
            for value in distribution.grid(2):
                try:
                    self.candidate(beside | {name: value})
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{name} = {told(value)}: {error}") from error

    def with_dev(self) -> TableSubject:
        """Return the same with all examples but those of the test set to train on.

        What is learnt of them before the network is learnt anew.
        """
        if self.data.folds is not None:
            return self
        own = self.experiment
        device = own.model.network.backend
        made = Experiment.prepare(own.dataset, own.settings, device, dev=False)
        return TableSubject(made, Data(made.parts["train"].data, made.parts["train"].data))


def _named(distribution: Distribution) -> Distribution:
    """Return a distribution whose options have the command line's names."""
    if not isinstance(distribution, Choice):
        return distribution
    return choice({told(option): option for option in distribution.grid(1)})


def retrain(
    subject: TableSubject,
    trials: Sequence[Trial],
    keep: int = 1,
    study: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Experiment:
    """Train the best setting anew, on training and development set together.

    Each network is trained for as many epochs as were best in the search, at the rates that it had
    there.

    Parameters
    ----------
    subject : TableSubject
        What was searched for.
    trials : sequence of Trial
        Those that have a value, the best first. One whose training diverges is passed over, with a
        warning.
    keep : int
        How many networks the model has, whose mean predicts: of the best trials that can be members
        of one network with the best, with seeds from the settings' on; fewer if there are fewer.
    study : mapping or None
        What the model is to remember of the search, JSON-ready; the trials' numbers are added.
    callbacks : sequence of Callback
        As for `Trainer.fit`.

    Returns
    -------
    Experiment
        With the trained model, a training set that holds the development set as well, and no
        development set.

    Raises
    ------
    ValueError
        If there is no trial.
    DivergedError
        If the training diverged for every trial.
    """
    if not trials:
        raise ValueError("no trial has a value: there is nothing to train anew")
    everything, failure = subject.with_dev(), None
    kept: list[tuple[Trial, Experiment]] = []
    for trial in trials:
        made = everything.variant(trial.setting, repeat=len(kept))
        if kept and not can_be_stacked([kept[0][1].model.network, made.model.network]):
            continue
        made.epochs = trial.best_epoch or made.epochs
        try:
            made.run(callbacks)
        except DivergedError as error:
            failure = error
            warn(f"trial {trial.number} diverged when it was trained anew, and is left out")
            continue
        kept.append((trial, made))
        if len(kept) == keep:
            break
    if failure is not None and not kept:
        raise failure
    return _united(everything.experiment.epochs, kept, study or {})


def _united(
    epochs: int, kept: Sequence[tuple[Trial, Experiment]], study: Mapping[str, Any]
) -> Experiment:
    """Return the first experiment with a model of the networks of all, that says where it is from.

    ``epochs`` are those of the search, which its rates go by.
    """
    found = kept[0][1]
    settings = replace(found.settings.at_rates_of(epochs, found.batches), epochs=found.epochs)
    if len(kept) > 1:
        found.model.network = stack([made.model.network for _, made in kept])
        settings = replace(settings, members=len(kept))
    found.settings = settings
    found.model.training = found.model.training | {
        "settings": asdict(settings),
        "study": {**study, "trials": [_remembered(trial) for trial, _ in kept]},
    }
    return found


def _remembered(trial: Trial) -> dict[str, Any]:
    """Return what a model is to remember of a trial."""
    setting = {name: told(value) for name, value in trial.setting.items()}
    return {
        "number": trial.number,
        "value": trial.value,
        "epochs": trial.best_epoch,
        "setting": setting,
    }
